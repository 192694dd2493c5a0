"""Shifts of projections split into rotation axis, displacement of the specimen and jitter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]
Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Split:
    """Shifts of one scan split into causes, px.

    Attributes
    ----------
    offset, offset_std
        Rotation axis from the detector's middle.
    displacement, displacement_std
        Of the specimen along x, y and z, ``[3]``.
    jitter, vertical
        What is left of each projection, after Wiener's share, ``[projection]``.
    """

    offset: float
    offset_std: float
    displacement: Float64Array
    displacement_std: Float64Array
    jitter: Float64Array
    vertical: Float64Array


@dataclass(frozen=True)
class Shifts:
    """Column shifts from the detector's middle and row shifts of one scan in px, and variances, ``[projection]``."""

    column: Float64Array
    row: Float64Array
    column_variance: Float64Array
    row_variance: Float64Array
    usable: BoolArray


def split_shifts(shifts: Shifts, angle: Float64Array, magnification: float, *, jitter: bool = True) -> Split:
    r"""Least squares of ``column = a + M (x cos(angle) + y sin(angle)) + jitter`` and ``row = M z + vertical``.

    Every usable projection counts alike, so that the jitter contains no constant, cosine or sine of the angle, and
    the vertical jitter no constant: those modes are a move of the axis or of the specimen. The uncertainties are
    those of the measured shifts. The noise's share of the jitter is taken off (`wiener_share`); without ``jitter``
    all of it. Angles in rad.
    """
    usable = shifts.usable
    design = np.stack([np.ones_like(angle), magnification * np.cos(angle), magnification * np.sin(angle)], axis=1)
    inverse = np.linalg.pinv(design[usable])
    modes = inverse @ shifts.column[usable]
    modes_variance = (inverse**2) @ shifts.column_variance[usable]
    height = float(shifts.row[usable].mean())
    height_std = float(np.sqrt(shifts.row_variance[usable].sum())) / int(usable.sum())
    left = np.where(usable, shifts.column - design @ modes, 0.0)
    above = np.where(usable, shifts.row - height, 0.0)
    return Split(
        offset=float(modes[0]),
        offset_std=float(np.sqrt(modes_variance[0])),
        displacement=np.array([modes[1], modes[2], height / magnification]),
        displacement_std=np.sqrt(np.array([*modes_variance[1:], height_std**2])),
        jitter=left * (wiener_share(left[usable], shifts.column_variance[usable]) if jitter else 0.0),
        vertical=above * (wiener_share(above[usable], shifts.row_variance[usable]) if jitter else 0.0),
    )


def wiener_share(values: FloatArray, variance: FloatArray) -> float:
    """Share of scattered values that their noise does not explain: applied as a factor it leaves the least error."""
    power = float(np.mean(np.square(values)))
    return max(0.0, 1.0 - float(np.mean(variance)) / power) if power > 0 else 0.0


def linear_law(
    values: Float64Array, variance: Float64Array, energy: FloatArray, nuisance: FloatArray
) -> tuple[Float64Array, Float64Array]:
    """Values made linear in the energy, ``[energy]``, and their standard uncertainties.

    ``nuisance`` ``[energy, pattern]`` are the weights of the chemistry's components relative to the first: a
    component that looks like a magnified first one is told from a magnification only by its spectrum. Weighted least
    squares; where the misfit is larger than the variances explain, the uncertainties grow with it.
    """
    distance = np.asarray(energy, dtype=np.float64) - float(np.mean(energy))
    line = np.stack([np.ones_like(distance), distance / max(float(np.abs(distance).max()), 1e-30)], axis=1)
    design = np.concatenate([line, nuisance - nuisance.mean(axis=0)], axis=1)
    root = 1.0 / np.sqrt(variance)
    inverse = np.linalg.pinv(design * root[:, None])
    solution = inverse @ (values * root)
    freedom = values.size - design.shape[1]
    misfit = float(np.sum(((values - design @ solution) * root) ** 2)) / max(freedom, 1)
    covariance = (inverse @ inverse.T)[:2, :2] * max(1.0, misfit)
    return line @ solution[:2], np.sqrt(np.einsum("ei,ij,ej->e", line, covariance, line))
