"""Compiled sums of the registration: derivatives of every voxel to the motion, their products and scores.

What goes over a volume goes row by row and holds one row: values and gradients are computed where they are used. The
volumes are the splines of the fixed and of the moving one, and the mask; the motion is the matrix and origin that take
a voxel of the fixed volume to where its material lies in the moving one, the voxel about which is turned, and the
matrix that takes a gradient there.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from cathoscope.numerics.warp import cubic_sample

# A cubic spline and its slope at a voxel, from the coefficients before, at and after it.
_VALUE = np.array([1 / 6, 2 / 3, 1 / 6])
_SLOPE = np.array([-0.5, 0.0, 0.5])


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


@njit(cache=True, nogil=True)
def _mirrored(i, size):  # type: ignore[no-untyped-def]
    """Index of a coefficient just beyond the rim."""
    i = abs(i)
    return max(2 * (size - 1) - i, 0) if i >= size else i


@njit(cache=True, nogil=True)
def _line(spline, z, y, sums, line):  # type: ignore[no-untyped-def]
    """Value and derivatives along z, y, x of a spline at all voxels of one line: ``line`` [4, x]; ``sums`` [3, x]."""
    sums[:] = 0.0
    for i in range(3):
        for j in range(3):
            near = spline[_mirrored(z - 1 + i, spline.shape[0]), _mirrored(y - 1 + j, spline.shape[1])]
            value, along_z, along_y = _VALUE[i] * _VALUE[j], _SLOPE[i] * _VALUE[j], _VALUE[i] * _SLOPE[j]
            for x in range(near.size):
                sums[0, x] += value * near[x]
                sums[1, x] += along_z * near[x]
                sums[2, x] += along_y * near[x]
    size = line.shape[1]
    for x in range(size):
        before, after = _mirrored(x - 1, size), _mirrored(x + 1, size)
        for k in range(3):
            line[k, x] = _VALUE[0] * (sums[k, before] + sums[k, after]) + _VALUE[1] * sums[k, x]
        line[3, x] = _SLOPE[2] * (sums[0, after] - sums[0, before])


@njit(cache=True, nogil=True)
def _points(inside, z, y, motion, chosen, points):  # type: ignore[no-untyped-def]
    """Number of the masked voxels of one line, ``chosen`` along x, and where their material lies."""
    count = 0
    matrix, origin = motion[0], motion[1]
    for x in range(inside.size):
        if inside[x]:
            chosen[count] = x
            for axis in range(3):
                points[count, axis] = matrix[axis, 0] * z + matrix[axis, 1] * y + matrix[axis, 2] * x + origin[axis]
            count += 1
    return count


@njit(cache=True, nogil=True)
def fixed_values(spline, mask, first, last, values):  # type: ignore[no-untyped-def]
    """Values at the masked voxels of rows ``first`` to ``last``, in their order."""
    size, done = mask.shape[2], 0
    sums, line = np.empty((3, size)), np.empty((4, size))
    for z in range(first, last):
        for y in range(mask.shape[1]):
            if not mask[z, y].any():
                continue
            _line(spline, z, y, sums, line)
            for x in range(size):
                if mask[z, y, x]:
                    values[done] = line[0, x]
                    done += 1


@njit(cache=True, nogil=True)
def moved_values(spline, mask, first, last, motion, values):  # type: ignore[no-untyped-def]
    """Values where the material of the masked voxels of rows ``first`` to ``last`` lies; NaN outside the volume."""
    size, done = mask.shape[2], 0
    chosen, points, none = np.empty(size, np.int64), np.empty((size, 3)), np.empty((0, 3), np.float32)
    for z in range(first, last):
        for y in range(mask.shape[1]):
            count = _points(mask[z, y], z, y, motion, chosen, points)
            if count:
                cubic_sample(spline, points[:count], values[done : done + count], none)
                done += count


@njit(cache=True, nogil=True)
def _terms(volumes, z, y, motion, gain, buffers, terms):  # type: ignore[no-untyped-def]
    """Number of the masked voxels of one line, and their lever, gradients and values, as `accumulate` takes them."""
    fixed, moving, mask = volumes
    chosen, points, sums, line, slope = buffers
    lever, gradients, values = terms
    centre, pulling = motion[2], motion[3]
    count = _points(mask[z, y], z, y, motion, chosen, points)
    if count == 0:
        return 0
    _line(fixed, z, y, sums, line)
    cubic_sample(moving, points[:count], values[1, :count], slope[:count])
    for n in range(count):
        x = chosen[n]
        values[0, n] = line[0, x]
        for axis in range(3):
            row = motion[0][axis]
            lever[n, axis] = row[0] * (z - centre[0]) + row[1] * (y - centre[1]) + row[2] * (x - centre[2])
            row = pulling[axis]
            gradients[0, n, axis] = row[0] * line[1, x] + row[1] * line[2, x] + row[2] * line[3, x]
            gradients[1, n, axis] = gain * slope[n, axis]
    return count


@njit(cache=True, nogil=True)
def _room(size):  # type: ignore[no-untyped-def]
    """What `_terms` works with and fills, for lines of ``size`` voxels."""
    buffers = (
        np.empty(size, np.int64),
        np.empty((size, 3)),
        np.empty((3, size)),
        np.empty((4, size)),
        np.empty((size, 3), np.float32),
    )
    terms = np.empty((size, 3), np.float32), np.empty((2, size, 3), np.float32), np.empty((2, size), np.float32)
    return buffers, terms


@njit(cache=True, nogil=True)
def accumulate_rows(volumes, rows, motion, law, sums, score):  # type: ignore[no-untyped-def]
    """`accumulate` over the masked voxels of the rows from ``rows[0]`` to ``rows[1]``."""
    mask = volumes[2]
    buffers, terms = _room(mask.shape[2])
    lever, gradients, values = terms
    for z in range(rows[0], rows[1]):
        for y in range(mask.shape[1]):
            n = _terms(volumes, z, y, motion, law[0], buffers, terms)
            if n:
                accumulate(lever[:n], gradients[:, :n], values[:, :n], law, sums, score)


@njit(cache=True, nogil=True)
def derivative_rows(volumes, low, motion, law, columns):  # type: ignore[no-untyped-def]
    """`weighted_derivatives` of a box from the voxel ``low`` on, ``columns`` [p, z, y, x], zero before.

    The box holds all masked voxels of its rows.
    """
    mask = volumes[2]
    buffers, terms = _room(mask.shape[2])
    lever, gradients, values = terms
    found = np.empty((columns.shape[0], mask.shape[2]), np.float32)
    for z in range(columns.shape[1]):
        for y in range(columns.shape[2]):
            n = _terms(volumes, z + low[0], y + low[1], motion, law[0], buffers, terms)
            if n:
                weighted_derivatives(lever[:n], gradients[:, :n], values[:, :n], law, found[:, :n])
            for p in range(columns.shape[0]):
                for k in range(n):
                    columns[p, z, y, buffers[0][k] - low[2]] = found[p, k]
