"""The record of a cycler, checked: time, voltage, current, and the charge that the instrument counts.

A positive current charges the cell. Rows keep the order of the file; what was left out or derived is said in `remarks`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cathoscope.core.errors import MeasurementError

Array = NDArray[np.float64]
Rows = NDArray[np.intp]

SECONDS_PER_HOUR = 3600.0
_NOT_BEGUN_AGAIN = 0.05  # a clock that falls below this share of its reading has begun again
_GAP = 0.5  # decades of current that lie empty between a rest and the slowest rate
_REST_CHARGE = 0.2  # a rest passes at most this share of the charge of a typical stretch of current
_REST_LEVEL = 0.1  # and at most this share of the largest current
_BELOW = 0.1  # without rests in the record, a rest would lie below this share of the lowest current


@dataclass(frozen=True, eq=False)
class Record:
    """One cell's record.

    Attributes
    ----------
    time, voltage, current
        s, V and A, ``[point]``; time does not run back.
    counter
        Charge as the instrument counts it, Ah, ``[point]``; None if it does not.
    remarks
        What was left out, derived or turned.
    """

    time: Array
    voltage: Array
    current: Array
    counter: Array | None = None
    remarks: tuple[str, ...] = ()


def record_of(
    time: ArrayLike,
    voltage: ArrayLike,
    current: ArrayLike | None,
    counter: ArrayLike | None = None,
    *,
    offset: float = 0.0,
) -> Record:
    """A record from the columns of one cell.

    Parameters
    ----------
    time, voltage, current
        s, V and A, ``[point]``. Without a current it is the slope of the counter.
    counter
        Charge as the instrument counts it, Ah, ``[point]``.
    offset
        Current that the instrument shows when none flows, A; it is subtracted.

    Raises
    ------
    MeasurementError
        If columns differ in length, there is one row only, there is neither current nor counter, or time runs back.
    """
    t, v = (np.atleast_1d(np.asarray(one, dtype=np.float64)) for one in (time, voltage))
    count = None if counter is None else np.atleast_1d(np.asarray(counter, dtype=np.float64))
    remarks = []
    known = None if current is None else np.atleast_1d(np.asarray(current, dtype=np.float64))
    if known is None or not np.isfinite(known).any():
        known = _current_from_counter(t, count)
        remarks.append("the current was derived from the charge that the instrument counted")
    if not t.size == v.size == known.size or (count is not None and count.size != t.size):
        raise MeasurementError(
            "columns of a record differ in length",
            expected="one value of time, voltage and current in every row",
            found=f"{t.size}, {v.size} and {known.size}",
        )
    good = np.isfinite(t) & np.isfinite(v) & np.isfinite(known)
    if not good.all():
        remarks.append(f"{int((~good).sum())} of {good.size} rows without a number were left out")
        t, v, known = t[good], v[good], known[good]
        count = None if count is None else count[good]
    if t.size < 2:
        raise MeasurementError(
            "a record of one cell needs several rows", expected="2 rows or more with numbers", found=str(t.size)
        )
    _assert_forward(t)
    return Record(t, v, known - offset if offset else known, count, tuple(remarks))


def pieces_of(time: ArrayLike) -> tuple[slice, ...]:
    """Rows of the records that one file holds: a new one begins where time runs back."""
    t = np.asarray(time, dtype=np.float64)
    cuts = [0, *(int(row) + 1 for row in np.flatnonzero(np.diff(t) < 0)), t.size]
    return tuple(slice(first, last) for first, last in pairwise(cuts))


def _current_from_counter(time: Array, counter: Array | None) -> Array:
    """Slope of the counter, A; where it was set back, that of the row before."""
    if counter is None or counter.size != time.size or time.size < 2 or np.isfinite(counter).sum() < 2:
        raise MeasurementError(
            "the record has no current",
            expected="a column of the current, or the charge that the instrument counted",
            found="neither",
            cure="name the column of the current, with its unit",
        )
    step = np.diff(time)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = np.diff(counter) * SECONDS_PER_HOUR / step
    typical = np.nanquantile(np.abs(slope[np.isfinite(slope)]), 0.9) if np.isfinite(slope).any() else 0.0
    slope[~np.isfinite(slope) | (np.abs(slope) > 20 * typical)] = 0.0
    return np.concatenate([slope[:1], slope])


def _assert_forward(time: Array) -> None:
    back = np.flatnonzero(np.diff(time) < 0)
    if not back.size:
        return
    row = int(back[0])
    span = float(time[: row + 1].max() - time[0])
    again = time[row + 1] - time[0] <= _NOT_BEGUN_AGAIN * span
    raise MeasurementError(
        "two records in one file: time begins again" if again else "time runs back",
        expected="the record of one cell, whose time does not run back",
        found=f"{time[row]:g} s in row {row + 1}, {time[row + 1]:g} s in row {row + 2}; {back.size} such places",
        cure="give every record its own measurement; pieces_of(time) tells their rows"
        if again
        else "sort the rows of the file by time, if they belong to one cell",
    )


def rest_level_of(record: Record) -> float:
    """Largest current, A, that counts as rest: offset and leakage lie below it, every rate above.

    Currents of rests lie apart from those of rates: the level is put into the gap between them, in the middle of the
    logarithm. A group of low currents, below a tenth of the largest, is rest if no stretch of it passes a fifth of the
    charge of a typical stretch of larger ones; a slow rate passes as much. Without such a group the level is a tenth
    of the lowest current.
    """
    size = np.abs(record.current)
    top = float(np.quantile(size, 0.99)) or float(size.max())
    if top == 0:
        return 0.0
    decade = 10
    with np.errstate(divide="ignore"):
        place = np.log10(size / top)
    bins = np.clip(np.floor((place + 6.0) * decade), 0, 6 * decade + 9).astype(np.int64)
    share = np.bincount(bins, minlength=6 * decade + 10) / size.size
    taken = np.flatnonzero(share[1:] >= 0.002) + 1
    if not taken.size:
        taken = np.flatnonzero(share[1:] > 0) + 1
    for at in np.flatnonzero(np.diff(taken) > _GAP * decade)[::-1]:
        low, high = int(taken[at]) + 1, int(taken[at + 1])
        level = float(top * 10 ** ((low + high) / (2 * decade) - 6))
        if low / decade - 6 <= np.log10(_REST_LEVEL) and _passes_little(record, level):
            return level
    return float(top * 10 ** (taken[0] / decade - 6) * _BELOW)


def _passes_little(record: Record, level: float) -> bool:
    """Whether stretches of currents up to ``level`` pass little charge beside stretches above it."""
    resting = np.abs(record.current) <= level
    first = np.concatenate([[0], np.flatnonzero(np.diff(resting)) + 1])
    passed = np.cumsum(record.current * np.gradient(record.time))
    charge = np.maximum.reduceat(passed, first) - np.minimum.reduceat(passed, first)  # to and fro do not cancel
    rest = resting[first]
    above = np.sort(charge[~rest])
    total = np.cumsum(above)
    typical = above[np.searchsorted(total, total[-1] / 2)]
    return bool(charge[rest].max(initial=0.0) < _REST_CHARGE * typical)
