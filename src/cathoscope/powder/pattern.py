"""A calculated pattern: the sum of the peaks of all reflections, and its derivatives with respect to all parameters.

    grid = grid_of(x)                                                  # once for a pattern
    phase = TofReflections(area, position, alpha, beta, sigma2, gamma)  # arrays or duals of one length
    y = summed(grid=grid, reflections=[phase, another])                 # an array, or a Dual if any column is one

``y`` is a density: the area of a reflection is in units of the pattern times us (time of flight) or times degrees
(constant wavelength), so that a pattern of counts per us has areas of counts. Nothing is cut: see `grid`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.dual import Dual, Graded, slope_of, value_of
from cathoscope.powder.grid import NODES, Grid
from cathoscope.powder.pattern_kernels import add_tof, sweep
from cathoscope.powder.profile_tof import LORENTZ_SIGN, LorentzPart

Array = NDArray[np.float64]

LEAST_SIGMA2 = 1e-3
"""Variances of the Gaussian part below this (us^2) count as this: a peak of no width is on no point."""


@dataclass(frozen=True)
class TofReflections:
    """Reflections of one phase in one bank of time of flight; columns (n,) are arrays or duals.

    Attributes
    ----------
    area
        Pattern units times us.
    position
        Time of flight, us.
    alpha, beta
        Rise and decay of the pulse, 1/us.
    sigma2
        Variance of the Gaussian part, us^2.
    gamma
        Full width of the Lorentzian part, us; below 0 counts as 0.
    lorentz
        The convolution, or what GSAS-II computes.
    """

    area: Graded
    position: Graded
    alpha: Graded
    beta: Graded
    sigma2: Graded
    gamma: Graded
    lorentz: LorentzPart = "exact"


def summed(*, grid: Grid, reflections: TofReflections | Sequence[TofReflections]) -> Graded:
    """The pattern (m,) of one or several phases at the points of ``grid``; a Dual if any column is one.

    Only parameters that a phase depends on cost time.

    Raises
    ------
    MeasurementError
        If a column has a value that is no number, or pulses with a rise or decay that is not above 0.
    """
    phases = [reflections] if isinstance(reflections, TofReflections) else list(reflections)
    parameters = max((_parameters(one) for one in phases), default=0)
    values, slopes = np.zeros(grid.x.size), np.zeros((grid.x.size, parameters))
    for one in phases:
        table, per_parameter = _table(one, parameters)
        active = np.flatnonzero(np.any(per_parameter != 0, axis=(0, 1)))
        sums = np.zeros((grid.x.size + NODES * grid.parent.size, 1 + active.size))
        add_tof(
            grid.intervals,
            LORENTZ_SIGN[one.lorentz],
            table,
            np.ascontiguousarray(per_parameter[:, :, active]),
            sums,
        )
        sweep(grid.parent, grid.down, grid.leaf, grid.spread, sums)
        values += sums[: grid.x.size, 0]
        slopes[:, active] += sums[: grid.x.size, 1:]
    return Dual(values, slopes) if parameters else values


def _columns(reflections: TofReflections) -> tuple[Graded, ...]:
    one = reflections
    return one.area, one.position, one.alpha, one.beta, one.sigma2, one.gamma


def _parameters(reflections: TofReflections) -> int:
    """How many parameters the derivatives of its columns are with respect to."""
    return max(one.parameters if isinstance(one, Dual) else 0 for one in _columns(reflections))


def _table(reflections: TofReflections, parameters: int) -> tuple[Array, Array]:
    """Columns side by side [n, 6], and their derivatives [n, 6, P]."""
    columns = _columns(reflections)
    count = max(value_of(one).size for one in columns)
    table = np.stack([np.broadcast_to(value_of(one), (count,)) for one in columns], axis=1)
    slopes = np.stack([np.broadcast_to(slope_of(one, parameters), (count, parameters)) for one in columns], axis=1)
    _check(table)
    for column, least in ((4, LEAST_SIGMA2), (5, 0.0)):
        slopes[table[:, column] < least, column] = 0.0
        table[:, column] = np.maximum(table[:, column], least)
    return table, slopes


def _check(table: Array) -> None:
    names = ("area", "position", "alpha", "beta", "sigma2", "gamma")
    bad = ~np.isfinite(table)
    bad[:, 2:4] |= ~(table[:, 2:4] > 0)
    if np.any(bad):
        row, column = np.argwhere(bad)[0]
        raise MeasurementError(
            f"the {names[column]} of a reflection is out of range",
            expected="a finite number" if column not in (2, 3) else "a pulse that rises and decays: above 0",
            found=f"{table[row, column]:g} at the position {table[row, 1]:g}",
            cure="check the numbers of the bank, and that the refinement has not run away",
        )
