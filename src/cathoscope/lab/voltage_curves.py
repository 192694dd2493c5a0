"""Voltage against charge of a half cycle, with few points."""

from __future__ import annotations

import numpy as np

from cathoscope.lab.half_cycles import HalfCycles, row_times, runs_of
from cathoscope.lab.record import SECONDS_PER_HOUR, Array, Record


def curve_of(record: Record, halves: HalfCycles, number: int, *, points: int = 200) -> tuple[Array, Array]:
    """Charge passed (Ah) and voltage (V) along half cycle ``number``, rows under current only, ``[point]``.

    Points are chosen so that neither charge nor voltage changes much from one to the next; none is invented.
    """
    rows = slice(int(halves.first[number]), int(halves.stop[number]))
    time, current, voltage = record.time[rows], record.current[rows], record.voltage[rows]
    runs = runs_of(current, halves.rest_level)
    flowing = np.repeat(runs.sign != 0, runs.stop - runs.first)
    passed = np.cumsum(np.abs(current) * row_times(time, runs) * flowing) / SECONDS_PER_HOUR
    passed, voltage = passed[flowing], voltage[flowing]
    way = _length(passed) + _length(voltage)
    chosen = np.unique(np.searchsorted(way, np.linspace(0.0, way[-1], points)))
    chosen = chosen[chosen < way.size]
    return passed[chosen], voltage[chosen]


def _length(values: Array) -> Array:
    """How far values have gone, up and down, in units of their range."""
    span = float(np.ptp(values)) or 1.0
    return np.concatenate([[0.0], np.cumsum(np.abs(np.diff(values)))]) / span
