"""Compiled sums of the registration: derivatives of every voxel to the motion, their products and scores."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def _derivatives(row, lever, gradient, value):  # type: ignore[no-untyped-def]
    """Derivatives of one voxel to shift, turn (both z, y, x), log scale if there is room, gain and offset."""
    for axis in range(3):
        row[axis] = gradient[axis]
    row[3] = gradient[1] * lever[2] - gradient[2] * lever[1]
    row[4] = gradient[2] * lever[0] - gradient[0] * lever[2]
    row[5] = gradient[0] * lever[1] - gradient[1] * lever[0]
    if row.size == 9:
        row[6] = gradient[0] * lever[0] + gradient[1] * lever[1] + gradient[2] * lever[2]
    row[row.size - 2] = value
    row[row.size - 1] = 1.0


@njit(cache=True, nogil=True)
def accumulate(lever, gradients, values, law, sums, score):  # type: ignore[no-untyped-def]
    """Add up the normal matrix of the mean derivatives, that of the product of both volumes', and the score.

    ``gradients`` [2, n, 3] and ``values`` [2, n] of the fixed and the moved volume, ``law`` = gain, offset and the
    residual from which on Huber's weights fall; ``sums`` [2, p, p] and ``score`` [p] receive the result.
    """
    size = score.size
    gain, offset, limit = law
    first, second, mean = np.empty(size), np.empty(size), np.empty(size)
    for n in range(values.shape[1]):
        if np.isnan(values[1, n]):
            continue
        residual = values[0, n] - gain * values[1, n] - offset
        weight = 1.0 if abs(residual) <= limit else limit / abs(residual)
        _derivatives(first, lever[n], gradients[0, n], (values[0, n] - offset) / gain)
        _derivatives(second, lever[n], gradients[1, n], values[1, n])
        for i in range(size):
            mean[i] = 0.5 * (first[i] + second[i])
        for i in range(size):
            score[i] += weight * mean[i] * residual
            for j in range(i + 1):
                sums[0, i, j] += weight * mean[i] * mean[j]
                sums[1, i, j] += 0.5 * weight * (first[i] * second[j] + second[i] * first[j])
    for i in range(size):
        for j in range(i):
            sums[:, j, i] = sums[:, i, j]


@njit(cache=True, nogil=True)
def weighted_derivatives(lever, gradients, values, law, columns):  # type: ignore[no-untyped-def]
    """Mean derivatives times Huber's weight, ``columns`` [p, n]; zero outside the moving volume."""
    size = columns.shape[0]
    gain, offset, limit = law
    first, second = np.empty(size), np.empty(size)
    for n in range(values.shape[1]):
        columns[:, n] = 0.0
        if np.isnan(values[1, n]):
            continue
        residual = values[0, n] - gain * values[1, n] - offset
        weight = 1.0 if abs(residual) <= limit else limit / abs(residual)
        _derivatives(first, lever[n], gradients[0, n], (values[0, n] - offset) / gain)
        _derivatives(second, lever[n], gradients[1, n], values[1, n])
        for i in range(size):
            columns[i, n] = 0.5 * weight * (first[i] + second[i])
