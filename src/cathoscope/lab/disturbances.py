"""What disturbs the cycling of a single particle: electron beam, dendrites, loss of electrolyte; found and labelled.

    jump               the voltage steps within one row at constant current (`voltage_jumps`)
    short              on charge the voltage falls back by more than 8 % of its range and the half cycle is not a usual
                       one: it misses its end, or takes more charge than its neighbours or than all lithium; at rest or
                       on discharge the voltage falls far below its lower limit
    electrolyte loss   from one cycle to the next the capacity falls below 60 % and the resistance at switches of the
                       current rises to more than 2.5 times what both were, and they stay so

Nothing is removed: `used_cycles` says which cycles are left, and why each of the others is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cathoscope.lab.cycles import Cycles
from cathoscope.lab.half_cycles import HalfCycles
from cathoscope.lab.record import Array, Record
from cathoscope.lab.voltage_jumps import SURE, steps_of

Kind = Literal["jump", "short", "electrolyte loss"]

_FALL = 0.08  # of the range of voltage
_NOISE_FALL = 8.0  # times the noise
_MISSED = 0.03  # of the range of voltage, by which a shorted charge stays below its end
_MORE = 1.15  # times the charge of neighbours
_MUCH_MORE = 1.5
_LOSS = 0.85  # Coulombic efficiency of a cycle whose charge went through a short
_COLLAPSE = 0.2  # of the range of voltage, below the lower limit
_FAR = 0.2  # V, at least, below it
_SUDDEN = 0.02  # of a half cycle's rows: a collapse takes no longer
_REAL_FALL = 0.01  # V, at least
_LESS = 0.6  # of the capacity
_RESISTANCE = 2.5  # times what it was
_BEFORE = 5  # cycles that tell what was


@dataclass(frozen=True)
class Disturbance:
    """One disturbance.

    Attributes
    ----------
    kind
        "jump", "short" or "electrolyte loss".
    time, row
        When, s, and the row of the record.
    half
        Number of the half cycle; of that before if it happened at rest; -1 before the first.
    cycle
        Number of the cycle.
    size
        Step or fall of the voltage, V; of a loss of electrolyte the factor of the resistance.
    reason
        What was seen, in words and numbers.
    """

    kind: Kind
    time: float
    row: int
    half: int
    cycle: int
    size: float
    reason: str


@dataclass(frozen=True, eq=False)
class Selection:
    """Cycles that are used, ``[cycle]``, and for each of the others the reasons why not."""

    used: NDArray[np.bool_]
    reasons: tuple[tuple[str, ...], ...]


def disturbances_of(
    record: Record,
    cycles: Cycles,
    *,
    all_lithium: float | None = None,
    beam: Sequence[tuple[float, float]] = (),
    sure: float = SURE,
) -> tuple[Disturbance, ...]:
    """Disturbances in order of time.

    Parameters
    ----------
    record, cycles
        The record and its cycles.
    all_lithium
        Charge that all lithium of the particle holds, Ah, upper end of what is known of it.
    beam
        Times between which the beam was on, s; a jump at one of its ends is said to be.
    sure
        z from which a jump is told.
    """
    found = _shorts(record, cycles, all_lithium)
    found += _losses(record, cycles, [one.cycle for one in found])
    shorted = {one.half: one.row for one in found if one.kind == "short"}
    jumps = _jumps(record, cycles, beam, sure)
    found += [one for one in jumps if one.half not in shorted or one.row < shorted[one.half] - 5]
    return tuple(sorted(found, key=lambda one: one.row))


def used_cycles(
    cycles: Cycles,
    disturbances: Sequence[Disturbance],
    *,
    kinds: Sequence[Kind] = ("jump", "short", "electrolyte loss"),
) -> Selection:
    """Cycles that are complete and free of disturbances of ``kinds``; after a loss of electrolyte none is."""
    reasons: list[list[str]] = [[] if good else ["incomplete"] for good in cycles.complete]
    for one in disturbances:
        if one.kind not in kinds or not 1 <= one.cycle <= len(reasons):
            continue
        reasons[one.cycle - 1].append(f"{one.kind}: {one.reason}")
        if one.kind == "electrolyte loss":
            for later in reasons[one.cycle :]:
                later.append(f"after the loss of electrolyte in cycle {one.cycle}")
    return Selection(np.array([not one for one in reasons], dtype=np.bool_), tuple(tuple(one) for one in reasons))


def _placed(record: Record, cycles: Cycles, row: int, half: int | None = None) -> tuple[float, int, int, int]:
    """Time, row, half cycle and cycle of a row."""
    at = int(np.searchsorted(cycles.halves.first, row, side="right")) - 1 if half is None else half
    cycle = int(np.flatnonzero((cycles.half == at).any(axis=1))[0]) + 1 if at >= 0 else 1
    return float(record.time[row]), int(row), at, cycle


def _jumps(record: Record, cycles: Cycles, beam: Sequence[tuple[float, float]], sure: float) -> list[Disturbance]:
    steps, noise = steps_of(record, cycles.halves.rest_level, sure=sure)
    ends = np.array([end for pair in beam for end in pair])
    found = []
    for step in steps:
        row_time = float(record.time[step.row] - record.time[step.row - 1])
        way = "rises" if step.size > 0 else "falls"
        said = (
            f"the voltage {way} by {1e3 * abs(step.size):.3g} mV ({abs(step.size) / noise:.1f} times its noise) "
            "within one row at constant current"
        )
        if np.isfinite(step.decay):
            said += f", and relaxes in about {step.decay * row_time:.2g} s"
        if ends.size and np.abs(ends - record.time[step.row]).min() <= 2 * row_time:
            said += ", as the beam was switched"
        found.append(Disturbance("jump", *_placed(record, cycles, step.row), step.size, said))
    return found


def _limits(halves: HalfCycles) -> tuple[float, float]:
    """Usual limits of the voltage: where most charges and discharges end."""
    high = halves.high[halves.sign > 0]
    low = halves.low[halves.sign < 0]
    top = float(np.median(high)) if high.size else float(halves.high.max())
    return (float(np.median(low)) if low.size else float(halves.low.min())), top


def _shorts(record: Record, cycles: Cycles, all_lithium: float | None) -> list[Disturbance]:
    halves = cycles.halves
    low, high = _limits(halves)
    span = high - low
    usual = {
        sign: float(np.median(halves.charge[halves.sign == sign])) for sign in (1, -1) if (halves.sign == sign).any()
    }
    found = []
    for half in range(halves.sign.size):
        stop = halves.first[half + 1] if half + 1 < halves.sign.size else record.time.size
        rows = slice(int(halves.first[half]), int(halves.stop[half]))
        case = _collapse(record, slice(rows.start, int(stop)), (low, low - max(_COLLAPSE * span, _FAR)))
        if case is None and halves.sign[half] > 0:
            case = _shorted_charge(record, cycles, half, (span, high, usual[1]), all_lithium)
        if case is not None:
            row, size, said = case
            found.append(Disturbance("short", *_placed(record, cycles, row, half), size, said))
    return found


def _collapse(record: Record, rows: slice, levels: tuple[float, float]) -> tuple[int, float, str] | None:
    """Where the voltage falls suddenly from its lower limit to far below it, for three rows or more."""
    voltage = ndimage.median_filter(record.voltage[rows], 3, mode="nearest")
    low, floor = levels
    below = np.flatnonzero(voltage < floor)
    if below.size < 3:
        return None
    at = int(below[0])
    usual = np.flatnonzero(voltage[:at] >= low)
    if not usual.size or at - int(usual[-1]) > max(3, _SUDDEN * voltage.size):
        return None
    before = float(voltage[max(at - 20, 0) : at + 1].max())
    return (
        rows.start + _begin_of_fall(voltage, at),
        before - float(voltage[below].min()),
        f"the voltage collapses to {voltage[below].min():.2f} V, far below its lower limit",
    )


def _begin_of_fall(voltage: Array, row: int) -> int:
    """First row of the fall that reaches ``row``: the last high point within 20 rows before it."""
    begin = max(row - 20, 0)
    part = voltage[begin : row + 1]
    level = part.max() - 0.1 * (part.max() - part[-1])
    return begin + int(np.flatnonzero(part >= level)[-1]) + 1 if part.size > 1 else row


def _shorted_charge(
    record: Record, cycles: Cycles, half: int, usual: tuple[float, float, float], all_lithium: float | None
) -> tuple[int, float, str] | None:
    """A charge that falls back and does not end as charges do, or that takes more than there is."""
    halves = cycles.halves
    span, high, charge = usual
    rows = slice(int(halves.first[half]), int(halves.stop[half]))
    way = np.sign(record.current[rows.start])  # of the file, which may call it a discharge
    flowing = np.flatnonzero(record.current[rows] * way > halves.rest_level)
    voltage = ndimage.median_filter(record.voltage[rows][flowing], 5, mode="nearest")
    top = np.maximum.accumulate(voltage)
    depth = top - voltage
    fall = float(depth.max())
    place = int(np.argmax(np.abs(cycles.half[:, 0] - half) == 0))
    efficiency = float(cycles.efficiency[place])
    lost = cycles.electrode == "cathode" and np.isfinite(efficiency) and efficiency < _LOSS
    taken = float(halves.charge[half])
    strange = float(halves.high[half]) < high - _MISSED * span or taken > _MORE * charge or lost
    noise = 0.0 if voltage.size < 3 else float(np.median(np.abs(np.diff(voltage))))
    numbers = f"the charge is {taken / charge:.2f} times the usual one, the Coulombic efficiency {efficiency:.2f}"
    least = max(_FALL * span, _NOISE_FALL * noise, _REAL_FALL)
    if fall > least and strange:
        first = int(np.argmax(depth > 0.5 * least))
        row = rows.start + int(flowing[_begin_of_fall(voltage, first)])
        return row, fall, f"the voltage falls by {fall:.2f} V while charge flows in; {numbers}"
    if all_lithium is not None and taken > all_lithium:
        return rows.start, 0.0, f"{taken / all_lithium:.2f} times the charge of all lithium flows in; {numbers}"
    if taken > _MUCH_MORE * charge and lost and place > 0:  # the first charge forms layers too
        return rows.start, 0.0, f"more charge flows in than comes out; {numbers}"
    return None


def resistances_of(record: Record, halves: HalfCycles) -> Array:
    """Resistance, ohm, at the switch that begins each half cycle, ``[half]``.

    Step of the voltage over that of the current; it holds what relaxes within one row. NaN for a half cycle that begins
    with the record.
    """
    first = halves.first
    before = np.maximum(first - 1, 0)
    step = record.current[first] - record.current[before]
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.abs((record.voltage[first] - record.voltage[before]) / step)
    return np.asarray(np.where((first > 0) & (step != 0), found, np.nan))


def _losses(record: Record, cycles: Cycles, shorted: Sequence[int]) -> list[Disturbance]:
    """The first cycle from which capacity and resistance are others; shorted cycles do not tell what was before."""
    if cycles.number.size < 3:
        return []
    each = resistances_of(record, cycles.halves)
    # where the open-circuit voltage is steep its change within a row adds to the step: the smaller one is nearer
    resistance = np.where((cycles.half >= 0) & np.isfinite(each[cycles.half]), each[cycles.half], np.inf).min(axis=1)
    resistance[~np.isfinite(resistance)] = np.nan
    capacity = np.where(np.isin(cycles.number, shorted), np.nan, cycles.capacity)
    for place in range(1, cycles.number.size):
        earlier = slice(max(place - _BEFORE, 0), place)
        before = capacity[earlier], resistance[earlier]
        if np.isnan(capacity[place]) or any(np.isnan(one).all() for one in before):
            continue
        q, r = (float(np.nanmedian(one)) for one in before)
        rest = slice(place, place + 3)
        later, kept = resistance[rest], capacity[rest]
        known = np.isfinite(later) & np.isfinite(kept)
        if known.any() and (kept[known] < _LESS * q).all() and (later[known] > _RESISTANCE * r).all():
            half = int(cycles.half[place][cycles.half[place] >= 0].min())
            row, factor = int(cycles.halves.first[half]), float(resistance[place] / r)
            said = (
                f"the capacity is {capacity[place] / q:.2f} of what it was, the resistance at switches "
                f"{factor:.1f} times, and they stay so"
            )
            return [Disturbance("electrolyte loss", *_placed(record, cycles, row, half), factor, said)]
    return []
