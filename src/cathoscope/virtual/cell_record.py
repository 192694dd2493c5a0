"""What a cycler records of a cell: rows by time and steps of voltage, offset of its current, noise, spectra."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cathoscope.virtual.cell import Cell, Health, Points
from cathoscope.virtual.cell_files import CHARGE, DISCHARGE, REST, Rows, Spectrum

_ROUNDING = 1e-6  # of an interval: sums of steps end a little before or after their multiple
_SWITCHING = 1.0  # s from the last row of a step to the first of the next


@dataclass(frozen=True)
class Recorder:
    """A cycler's recording.

    Attributes
    ----------
    interval, step
        Rows are kept every so many seconds, and every so many volts.
    voltage_noise, current_noise
        Standard deviations, V and A.
    offset
        What the instrument adds to every current, A.
    """

    interval: float
    step: float
    voltage_noise: float = 2e-4
    current_noise: float = 0.0
    offset: float = 0.0

    def kept(self, points: Points) -> NDArray[np.intp]:
        """Rows that are kept: the first and last of every step, and where time or voltage enters another cell."""
        edges = np.flatnonzero(np.diff(points.current) != 0)
        moved = np.diff(np.floor(points.time / self.interval + _ROUNDING)) != 0
        moved |= np.diff(np.floor(points.voltage / self.step)) != 0
        return np.unique(np.concatenate([[0, points.time.size - 1], edges, edges + 1, np.flatnonzero(moved) + 1]))

    def record(self, halves: Iterable[tuple[int, Points]], rng: np.random.Generator) -> Rows:
        """Rows of half cycles in order, each with the number of its cycle; their rests are steps of their own."""
        parts, start, step = [], 0.0, 0
        for cycle, points in halves:
            at = self.kept(points)
            current, passed = points.current[at], points.charge[at]
            flows = current != 0
            kind = np.where(flows, CHARGE if points.current[0] > 0 else DISCHARGE, REST)
            steps = step + 1 + (~flows).astype(np.int64)
            beside = np.sign(points.current[0]) * self.offset * points.time[at] / 3600.0  # counted as if it flowed
            charge = np.where(flows, passed + beside, 0.0)
            place = (start + points.time[at], points.voltage[at], current, charge)
            parts.append((*place, np.full(at.size, cycle), steps, kind))
            step += 2
            start += float(points.time[-1]) + _SWITCHING
        time, voltage, current, charge, cycles, steps, kinds = (np.concatenate(one) for one in zip(*parts, strict=True))
        shown = voltage + self.voltage_noise * rng.standard_normal(time.size)
        counted = current + self.offset + self.current_noise * rng.standard_normal(time.size)
        return Rows(time, shown, counted, charge, cycles, steps, kinds.astype(np.int64))


@dataclass(frozen=True)
class Sweep:
    """Frequencies (Hz) from high to low, and the relative noise of an impedance."""

    highest: float
    lowest: float
    points: int
    noise: float = 0.004

    def spectrum(self, cell: Cell, health: Health, rng: np.random.Generator, filling: float = 0.5) -> Spectrum:
        """What it finds of a cell at rest."""
        frequency = np.geomspace(self.highest, self.lowest, self.points)
        true = cell.impedance(frequency, filling, health)
        noise = rng.standard_normal((2, self.points))
        return Spectrum(frequency, true + self.noise * np.abs(true) * (noise[0] + 1j * noise[1]))


def moved(points: Points) -> float:
    """Charge that the current of a half cycle has passed, Ah."""
    return float(points.charge[points.current != 0][-1])


def mean_voltage(points: Points) -> float:
    """Mean over the charge of a half cycle, V; NaN if none was passed."""
    flows = points.current != 0
    passed = float(points.charge[flows][-1])
    return float(np.trapezoid(points.voltage[flows], points.charge[flows])) / passed if passed > 0 else float("nan")
