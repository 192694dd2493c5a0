r"""Half cycles of a record: stretches of one sign of the current, with the rests and interruptions within them.

A row stands for half the time to either neighbour, so that a half cycle has the charge :math:`Q = \sum I_i w_i`, the
energy :math:`E = \sum V_i I_i w_i` and the mean voltage E / Q. When a current was switched between two rows is known
within their distance h only: this gives Q the standard uncertainty :math:`I h/\sqrt{12}` at either end, beside the
noise of the current, :math:`\sigma_I \sqrt{\sum w_i^2}`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.lab.record import SECONDS_PER_HOUR, Array, Record, Rows, rest_level_of
from cathoscope.numerics.spread import SECOND_DIFFERENCE, robust_std

_INTERRUPTION = 0.02  # of a typical half cycle: less charge than this does not divide one
_NOTHING = 1e-4  # of a typical half cycle: less is noise of a rest
_AT_LIMIT = 0.03  # of the range of voltage: an end so near the usual one is the end of a half cycle, however short
_OTHER_WAY = 0.7  # share of the charge whose voltage goes against the current, from which the sign is wrong
_OUTER = 0.25  # of the range of voltage: the parts between which it swings
_GAP = 20.0  # times the usual step of time


@dataclass(frozen=True, eq=False)
class HalfCycles:
    """Charges and discharges in order of time; all arrays are ``[half]``.

    Attributes
    ----------
    first, stop
        Rows of the record; ``stop`` is the row after the last.
    sign
        1 for a charge, -1 for a discharge.
    charge, noise_std, edge_std
        Charge passed, Ah, above zero; its standard uncertainty by the noise of the current, and ``[half, 2]`` by the
        unknown time of the switch at the beginning and at the end.
    counted
        The same charge as the instrument counts it; NaN without a counter.
    energy
        Wh, above zero.
    duration
        Time under current, s.
    begin_voltage, end_voltage, high, low
        Of the first and the last row, and the largest and the smallest under current, V.
    joined
        Whether the half cycle begins right where the one before ends, without a rest.
    rest_level
        Currents up to this, A, were taken for rest.
    resolution
        Smallest step of the current in the file, A.
    remarks
        Of the record, and what was noticed here.
    """

    first: Rows
    stop: Rows
    sign: NDArray[np.int8]
    charge: Array
    noise_std: Array
    edge_std: Array
    counted: Array
    energy: Array
    duration: Array
    begin_voltage: Array
    end_voltage: Array
    high: Array
    low: Array
    joined: NDArray[np.bool_]
    rest_level: float
    resolution: float
    remarks: tuple[str, ...]

    @property
    def charge_std(self) -> Array:
        """Standard uncertainty of the charge, Ah."""
        return np.asarray(np.sqrt(self.noise_std**2 + (self.edge_std**2).sum(axis=1)))

    @property
    def mean_voltage(self) -> Array:
        """Energy over charge, V."""
        return ratio_of(self.energy, self.charge)

    @property
    def mean_current(self) -> Array:
        """Charge over the time under current, A, above zero."""
        return ratio_of(self.charge * SECONDS_PER_HOUR, self.duration)


class Runs(NamedTuple):
    """Rows of one sign of the current; sign 0 is rest."""

    first: Rows
    stop: Rows
    sign: NDArray[np.int8]


class _Sums(NamedTuple):
    """Running sums over the rows before each row, ``[row + 1]``."""

    charge: Array
    energy: Array
    time: Array
    squares: Array


def ratio_of(over: Array, under: Array) -> Array:
    """Quotient; NaN where both are nought."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(over / under)


def half_cycles_of(record: Record, *, rest_level: float | None = None, turn: bool | None = None) -> HalfCycles:
    """Half cycles of a record.

    Parameters
    ----------
    rest_level
        Largest current, A, that counts as rest; found from the record if None (`rest_level_of`).
    turn
        Whether to turn the sign of the current; if None it is turned where the voltage says so, with a remark.

    Raises
    ------
    MeasurementError
        If no current flows at all, or one without sign charges and discharges.
    """
    level = rest_level_of(record) if rest_level is None else float(rest_level)
    runs = runs_of(record.current, level)
    sums = _sums_of(record, runs)
    charge = np.diff(sums.charge[np.append(runs.first, runs.stop[-1])])
    if not charge.any():
        raise MeasurementError(
            "no current flows in this record",
            expected=f"currents above {level:g} A, below which all is taken for rest",
            found=f"at most {np.abs(record.current).max():g} A in {np.ptp(record.time):g} s",
            cure="state a lower rest_level, or check the unit of the current",
        )
    begin = record.voltage[runs.first]
    first, last, dropped = _spans(runs, charge, begin, _extremes(record.voltage, runs))
    remarks = list(record.remarks)
    if dropped:
        remarks.append(f"{dropped} interruptions of less than {_INTERRUPTION:.0%} of a half cycle were not counted")
    found = _table(record, runs, sums, first, last)
    found = replace(found, rest_level=level, remarks=(*remarks, *_gap_remarks(record, runs)))
    if found.sign.size == 1:
        _assert_signed(record, found)
    if turn is None and _against(record, found):
        turn, said = True, "the voltage falls while the current is positive: charge and discharge were exchanged"
        found = replace(found, remarks=(*found.remarks, said))
    return replace(found, sign=-found.sign) if turn else found


def runs_of(current: Array, level: float) -> Runs:
    """Stretches of rows with one sign of the current."""
    sign = np.zeros(current.size, dtype=np.int8)
    sign[current > level] = 1
    sign[current < -level] = -1
    edges = np.flatnonzero(np.diff(sign)) + 1
    first = np.concatenate([[0], edges])
    return Runs(first, np.append(edges, current.size), sign[first])


def row_times(time: Array, runs: Runs) -> Array:
    """Time, s, that each row stands for.

    A file is often written in longer steps during rests: a run reaches into its surroundings by no more than half of
    its own step.
    """
    step = np.diff(time)
    before, after = np.concatenate([[0.0], step]) / 2, np.append(step, 0.0) / 2
    at, end = runs.first[1:], runs.stop[:-1] - 1
    alone = (runs.stop - runs.first) == 1
    padded = np.append(step, np.inf)
    before[at] = np.minimum(before[at], np.where(alone[1:], np.inf, padded[at] / 2))
    after[end] = np.minimum(after[end], np.where(alone[:-1], np.inf, padded[end - 1] / 2))
    return np.asarray(before + after)


def _sums_of(record: Record, runs: Runs) -> _Sums:
    weight = row_times(record.time, runs)
    weight *= np.repeat(runs.sign != 0, runs.stop - runs.first)
    charge = record.current * weight / SECONDS_PER_HOUR
    parts = (charge, charge * record.voltage, weight, weight**2)
    return _Sums(*(np.concatenate([[0.0], np.cumsum(part)]) for part in parts))


def _extremes(voltage: Array, runs: Runs) -> Array:
    """Largest voltage of every run, of a discharge the smallest."""
    high, low = (way.reduceat(voltage, runs.first) for way in (np.maximum, np.minimum))
    return np.asarray(np.where(runs.sign < 0, low, high))


def _spans(runs: Runs, charge: Array, begin: Array, extreme: Array) -> tuple[Rows, Rows, int]:
    """First and last run of each half cycle, and how many interruptions were dropped.

    A short stretch is no interruption, but a half cycle that failed, if it ends where others do, or if after it the
    voltage begins anew.
    """
    flowing = np.flatnonzero(runs.sign)
    dropped = 0
    while True:
        edges = np.flatnonzero(np.diff(runs.sign[flowing])) + 1
        starts = np.concatenate([[0], edges])
        stops = np.append(edges, flowing.size)
        size = np.abs(np.add.reduceat(charge[flowing], starts))
        typical, sign = _typical(size), runs.sign[flowing[starts]]
        ends = sign * np.maximum.reduceat(sign.repeat(stops - starts) * extreme[flowing], starts)
        small = size < _INTERRUPTION * typical
        failed = _at_limit(sign, ends, ~small) | _anew(sign, begin[flowing[starts]], ends, ~small)
        small &= (size < _NOTHING * typical) | ~failed
        if not small.any():
            return flowing[starts], flowing[stops - 1], dropped
        dropped += int(small.sum())
        flowing = flowing[~np.repeat(small, stops - starts)]


def _at_limit(sign: NDArray[np.int8], ends: Array, large: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether a half cycle ends where, or beyond where, large ones of its sign usually do."""
    found = np.zeros(sign.size, dtype=np.bool_)
    both = [ends[large & (sign == one)] for one in (1, -1)]
    if not both[0].size or not both[1].size:
        return found
    high, low = float(np.quantile(both[0], 0.9)), float(np.quantile(both[1], 0.1))
    near = _AT_LIMIT * (high - low)
    return np.where(sign > 0, ends >= high - near, ends <= low + near)


def _anew(sign: NDArray[np.int8], begin: Array, ends: Array, large: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether the half cycle after each goes back over more than half of what that before it went."""
    found = np.zeros(sign.size, dtype=np.bool_)
    way, back = ends[:-2] - begin[:-2], ends[:-2] - begin[2:]
    found[1:-1] = large[:-2] & large[2:] & (sign[:-2] * back > 0.5 * sign[:-2] * way)
    return found


def _typical(size: Array) -> float:
    """The median of charges, weighted with them: small ones do not count."""
    order = np.sort(size)
    total = np.cumsum(order)
    return float(order[np.searchsorted(total, total[-1] / 2)])


def _table(record: Record, runs: Runs, sums: _Sums, first: Rows, last: Rows) -> HalfCycles:
    start, stop = runs.first[first], runs.stop[last]
    sign = runs.sign[first]
    charge, energy, duration, squares = (one[stop] - one[start] for one in sums)
    edge = np.stack([_switch_time(record.time, start), _switch_time(record.time, stop)], axis=1)
    current = np.abs(np.stack([record.current[start], record.current[stop - 1]], axis=1))
    flowing = np.repeat(runs.sign != 0, runs.stop - runs.first)
    cuts = np.stack([start, stop], axis=1).ravel()
    cuts = cuts[:-1] if cuts[-1] == record.time.size else cuts
    high = np.maximum.reduceat(np.where(flowing, record.voltage, -np.inf), cuts)[::2]
    low = np.minimum.reduceat(np.where(flowing, record.voltage, np.inf), cuts)[::2]
    return HalfCycles(
        first=start,
        stop=stop,
        sign=sign,
        charge=sign * charge,
        noise_std=noise_of(record.current[flowing]) * np.sqrt(squares) / SECONDS_PER_HOUR,
        edge_std=current * edge / np.sqrt(12) / SECONDS_PER_HOUR,
        counted=_counted(record, runs, start, stop),
        energy=sign * energy,
        duration=duration,
        begin_voltage=record.voltage[start],
        end_voltage=record.voltage[stop - 1],
        high=high,
        low=low,
        joined=np.concatenate([[False], start[1:] == stop[:-1]]),
        rest_level=0.0,
        resolution=resolution_of(record.current),
        remarks=(),
    )


def _switch_time(time: Array, row: Rows) -> Array:
    """Between which times a current was switched, s: before ``row``, as far as `row_times` allows."""
    inside = np.clip(row, 1, time.size - 1)
    between = time[inside] - time[inside - 1]
    own = np.minimum(time[np.clip(row + 1, 2, time.size - 1)] - time[np.clip(row, 1, time.size - 2)], np.inf)
    before = time[np.clip(row - 1, 1, time.size - 1)] - time[np.clip(row - 2, 0, time.size - 2)]
    width = np.minimum(between, np.maximum(own, before))
    return np.where((row <= 0) | (row >= time.size), 0.0, width)


def noise_of(values: Array) -> float:
    """Standard deviation of the noise of a smooth curve, from its second differences (robust)."""
    if values.size < 3:
        return 0.0
    bend = values[2:] - 2 * values[1:-1] + values[:-2]
    few = bend[:: max(1, bend.size // 20_000)]
    return robust_std(few) / SECOND_DIFFERENCE


def resolution_of(values: Array) -> float:
    """Smallest difference between two values of a file, of a part of its rows."""
    step = np.diff(np.unique(values[:20_000]))
    return float(step[step > 0].min()) if step.size else 0.0


def _counted(record: Record, runs: Runs, start: Rows, stop: Rows) -> Array:
    """Charge by the counter, which may be set back at any step, and may count both ways upwards."""
    if record.counter is None:
        return np.full(start.size, np.nan)
    count = record.counter
    moved = np.diff(count, prepend=count[:1])
    expected = np.abs(record.current) * np.diff(record.time, prepend=record.time[:1]) / SECONDS_PER_HOUR
    back = (np.abs(moved) > 10 * expected + 1e-15) & (np.abs(count) <= 0.05 * np.abs(count - moved) + 2 * expected)
    moved = np.where(back, count, moved)
    moved[~np.repeat(runs.sign != 0, runs.stop - runs.first)] = 0.0
    total = np.concatenate([[0.0], np.cumsum(np.nan_to_num(moved))])
    return np.asarray(np.abs(total[stop] - total[start]))


def _gap_remarks(record: Record, runs: Runs) -> tuple[str, ...]:
    step = np.diff(record.time)
    flowing = np.repeat(runs.sign != 0, runs.stop - runs.first)
    both = flowing[1:] & flowing[:-1]
    if not step[both].sum() > 0:
        return ()
    gaps = both & (step > _GAP * np.median(step[both]))
    lost = float(step[gaps].sum() / step[both].sum())
    if lost < 0.01:
        return ()
    return (f"{int(gaps.sum())} gaps under current hold {lost:.0%} of its time: charge is interpolated there",)


def _ways(record: Record, found: HalfCycles) -> Array:
    """By how much the voltage rises from the first to the last quarter of each half cycle, V."""
    total = np.concatenate([[0.0], np.cumsum(record.voltage)])
    rows = found.stop - found.first
    part = np.maximum(rows // 4, 1)
    late = (total[found.stop] - total[found.stop - part]) / part
    return np.asarray(late - (total[found.first + part] - total[found.first]) / part)


def _against(record: Record, found: HalfCycles) -> bool:
    """Whether the voltage falls where the current says charge."""
    wrong = found.sign * _ways(record, found) < 0
    return bool(found.charge[wrong].sum() > _OTHER_WAY * found.charge.sum())


def _assert_signed(record: Record, found: HalfCycles) -> None:
    """A single half cycle whose voltage sweeps its range up and down is a whole record without sign."""
    rows = np.arange(found.first[0], found.stop[0])
    volts = record.voltage[rows[np.abs(record.current[rows]) > found.rest_level]]
    low, high = (float(one) for one in np.quantile(volts, (0.01, 0.99)))
    outer = _OUTER * (high - low)
    side = (volts > high - outer).astype(np.int8) - (volts < low + outer).astype(np.int8)
    if np.count_nonzero(np.diff(side[side != 0])) >= 2:
        raise MeasurementError(
            "the current has no sign: charge cannot be told from discharge",
            expected="a positive current for charge and a negative one for discharge",
            found=f"one sign only, while the voltage goes up and down between {low:.3g} and {high:.3g} V",
            cure="give the column that names the kind of step, or a signed current",
        )
