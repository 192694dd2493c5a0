"""A calculated pattern: the sum of the peaks of all reflections, and its derivatives with respect to all parameters.

    grid = grid_of(x)                                                    # once for a pattern
    phase = TofReflections(area, position, alpha, beta, sigma2, gamma)   # arrays or duals of one length
    y = summed(grid=grid, reflections=[phase, another])                  # an array, or a Dual if any column is one

``y`` is a density: the area of a reflection is in units of the pattern times us (time of flight) or times degrees
(constant wavelength), so that a pattern of counts per us has areas of counts. Wings are not cut: see `grid`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.dual import Dual, Graded, slope_of, value_of
from cathoscope.powder.grid import NODES, Grid
from cathoscope.powder.pattern_kernels import add_cw, add_tof, sweep
from cathoscope.powder.profile_cw import AxialLaw
from cathoscope.powder.profile_tof import LORENTZ_SIGN, LorentzPart
from cathoscope.powder.voigt_kernels import PARTIALS

Array = NDArray[np.float64]
Range = tuple[float, float]

_ANY: Range = (-np.inf, np.inf)
_POSITIVE: Range = (0.0, np.inf)


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
        Rise and decay of the pulse, 1/us, above 0.
    sigma2
        Variance of the Gaussian part, us^2; below 1e-3 counts as 1e-3, as a peak of no width is on no point.
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

    ranges: ClassVar[dict[str, Range]] = {
        "area": _ANY,
        "position": _ANY,
        "alpha": _POSITIVE,
        "beta": _POSITIVE,
        "sigma2": _ANY,
        "gamma": _ANY,
    }
    floors: ClassVar[dict[str, float]] = {"sigma2": 1e-3, "gamma": 0.0}


@dataclass(frozen=True)
class CwReflections:
    """Reflections of one phase at one constant wavelength; columns (n,) are arrays or duals.

    K-alpha 2 is a second set of reflections.

    Attributes
    ----------
    area
        Pattern units times deg.
    position
        2 theta, deg, between 0 and 180.
    sigma2
        Variance of the Gaussian part, deg^2; below 1e-7 counts as 1e-7.
    gamma
        Full width of the Lorentzian part, deg; below 0 counts as 0.
    axial
        Axial divergence (S + H) / L, 1; below 0 counts as 0, which is none.
    law
        Of axial divergence: the integral, or GSAS-II's sum, which has no axial below 0.002.
    """

    area: Graded
    position: Graded
    sigma2: Graded
    gamma: Graded
    axial: Graded | float
    law: AxialLaw = "exact"

    ranges: ClassVar[dict[str, Range]] = {
        "area": _ANY,
        "position": (0.0, 180.0),
        "sigma2": _ANY,
        "gamma": _ANY,
        "axial": (-np.inf, 1.0),
    }
    floors: ClassVar[dict[str, float]] = {"sigma2": 1e-7, "gamma": 0.0, "axial": 0.0}


Reflections = TofReflections | CwReflections


def summed(*, grid: Grid, reflections: Reflections | Sequence[Reflections]) -> Graded:
    """The pattern (m,) of one or several phases at the points of ``grid``; a Dual if any column is one.

    A single number may stand for a column of equal ones. Only parameters that a phase depends on cost time.

    Raises
    ------
    MeasurementError
        If a column has a value that is no number or out of its range.
    """
    phases = [reflections] if isinstance(reflections, TofReflections | CwReflections) else list(reflections)
    parameters = max((_parameters(one) for one in phases), default=0)
    values, slopes = np.zeros(grid.x.size), np.zeros((grid.x.size, parameters))
    for one in phases:
        table, per_parameter = _table(one, parameters)
        active = np.flatnonzero(np.any(per_parameter != 0, axis=(0, 1)))
        sums = _sums(grid, one, table, np.ascontiguousarray(per_parameter[:, :, active]))
        values += sums[: grid.x.size, 0]
        slopes[:, active] += sums[: grid.x.size, 1:]
    return Dual(values, slopes) if parameters else values


def _sums(grid: Grid, reflections: Reflections, table: Array, slopes: Array) -> Array:
    """Values and derivatives at the points, [point, 1 + P], and below them what the intervals needed."""
    sums = np.zeros((grid.x.size + NODES * grid.parent.size, 1 + slopes.shape[2]))
    if isinstance(reflections, TofReflections):
        add_tof(grid.intervals, LORENTZ_SIGN[reflections.lorentz], table, slopes, sums)
    else:
        add_cw(grid.intervals, reflections.law == "gsas2", table, slopes, sums)
    sweep(grid.parent, grid.down, grid.leaf, grid.spread, sums)
    return sums


def _columns(reflections: Reflections) -> dict[str, Graded]:
    return {one.name: getattr(reflections, one.name) for one in fields(reflections) if one.name in reflections.ranges}


def _parameters(reflections: Reflections) -> int:
    """How many parameters the derivatives of its columns are with respect to."""
    return max(one.parameters if isinstance(one, Dual) else 0 for one in _columns(reflections).values())


def _table(reflections: Reflections, parameters: int) -> tuple[Array, Array]:
    """Columns side by side [n, c], and their derivatives [n, PARTIALS, P]."""
    columns = _columns(reflections)
    count = max(value_of(one).size for one in columns.values())
    table, slopes = np.empty((count, len(columns))), np.zeros((count, PARTIALS, parameters))
    for k, (name, column) in enumerate(columns.items()):
        table[:, k] = value_of(column)
        slopes[:, k] = slope_of(column, parameters)
        _check(name, table[:, k], reflections.ranges[name], value_of(reflections.position))
        if name in reflections.floors:
            low = table[:, k] < reflections.floors[name]
            table[low, k], slopes[low, k] = reflections.floors[name], 0.0
    return table, slopes


def _check(name: str, column: Array, allowed: Range, position: Array) -> None:
    bad = ~((column > allowed[0]) & (column < allowed[1]))
    if np.any(bad):
        k = int(np.argmax(bad))
        raise MeasurementError(
            f"the {name} of a reflection is out of range",
            expected="a finite number" if allowed == _ANY else f"between {allowed[0]:g} and {allowed[1]:g}",
            found=f"{column[k]:g} at the position {np.broadcast_to(position, column.shape)[k]:g}",
            cure="check the numbers of the bank, and that the refinement has not run away",
        )
