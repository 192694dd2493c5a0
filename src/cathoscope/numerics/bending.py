"""Bending energy of displacements on a lattice of control points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]


def stiffness(control: Float64Array) -> Float64Array:
    """Derivative of half the sum of squared second differences, mixed ones twice, along the last three axes."""
    result = np.zeros_like(control)
    for first in range(1, 4):
        for second in range(first, 4):
            factor = 1.0 if first == second else 2.0
            bent = factor * np.diff(np.diff(control, axis=first), axis=second)
            result += _undiff(_undiff(bent, second), first)
    return result


def stiffness_draw(shape: tuple[int, ...], rng: np.random.Generator) -> Float64Array:
    """A random vector whose covariance is the matrix of `stiffness`."""
    drawn = np.zeros(shape)
    for first in range(1, 4):
        for second in range(first, 4):
            size = np.diff(np.diff(np.empty(shape), axis=first), axis=second).shape
            factor = 1.0 if first == second else np.sqrt(2.0)
            drawn += _undiff(_undiff(factor * rng.standard_normal(size), second), first)
    return drawn


def _undiff(values: Float64Array, axis: int) -> Float64Array:
    """Transpose of the first difference."""
    shape = list(values.shape)
    shape[axis] += 1
    result = np.zeros(shape)
    along = np.moveaxis(result, axis, 0)
    along[:-1] -= np.moveaxis(values, axis, 0)
    along[1:] += np.moveaxis(values, axis, 0)
    return result
