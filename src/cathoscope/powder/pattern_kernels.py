"""The compiled sum of peaks over a pattern, with its derivatives."""

from __future__ import annotations

import numpy as np
from numba import njit

from cathoscope.powder.profile_cw_kernels import fill_cw, reach_cw
from cathoscope.powder.profile_tof_kernels import fill_tof, reach_tof
from cathoscope.powder.voigt_kernels import PARTIALS

_NODES = 8  # of cathoscope.powder.grid
_DEEPEST = 64  # levels of a tree


@njit(cache=True, nogil=True)
def _gather(intervals, position, reach, rows, t):  # type: ignore[no-untyped-def]
    """Where one peak is wanted: rows of the table of sums and distances from its position.

    ``reach`` to the left and right: of what is no smooth wing, and of where the wings come from. Returns how many
    points come first, and how many there are with the Chebyshev points of far intervals.
    """
    x, first, last, child, centre, half, nodes = intervals
    left, right, core_left, core_right = reach
    stack, far = np.empty(_DEEPEST, dtype=np.int64), np.empty(first.size, dtype=np.int64)
    stack[0], waiting, points, n_far = 0, 1, 0, 0
    while waiting > 0:
        waiting -= 1
        k = stack[waiting]
        begin, end = centre[k] - half[k] - position, centre[k] + half[k] - position
        gap, distance = max(begin - right, -left - end), max(begin - core_right, -core_left - end)
        if gap >= 0 and distance >= 2 * half[k] and last[k] - first[k] > _NODES // 2:
            far[n_far] = k
            n_far += 1
        elif child[k] == 0:
            for i in range(first[k], last[k]):
                rows[points], t[points] = i, x[i] - position
                points += 1
        else:
            stack[waiting], stack[waiting + 1] = child[k], child[k] + 1
            waiting += 2
    n = points
    for j in range(n_far):
        for i in range(_NODES):
            rows[n], t[n] = x.size + far[j] * _NODES + i, nodes[far[j], i] - position
            n += 1
    return points, n


@njit(cache=True, nogil=True, fastmath={"contract"})
def _accumulate(rows, shape, area, slopes, sums):  # type: ignore[no-untyped-def]
    """Add one peak: area times profile, and the derivatives by the chain rule over its columns."""
    count = slopes.shape[1]
    for i in range(rows.size):
        one = sums[rows[i]]
        one[0] += area * shape[0, i]
        if count > 0:
            a, b, c = shape[0, i], area * shape[1, i], area * shape[2, i]
            d, e, f = area * shape[3, i], area * shape[4, i], area * shape[5, i]
            for p in range(count):
                one[1 + p] += (
                    a * slopes[0, p]
                    + b * slopes[1, p]
                    + c * slopes[2, p]
                    + d * slopes[3, p]
                    + e * slopes[4, p]
                    + f * slopes[5, p]
                )


@njit(cache=True, nogil=True)
def add_tof(intervals, sign, table, slopes, sums):  # type: ignore[no-untyped-def]
    """Add peaks to the sums at points and Chebyshev points.

    ``table`` [peak, 6]: area, position, alpha, beta, sigma2, gamma; ``slopes`` [peak, 6, P] their derivatives;
    ``sums`` [point or Chebyshev point, 1 + P] receives values and derivatives. ``sign`` as in `reach_tof`.
    """
    rows, t = np.empty(sums.shape[0], dtype=np.int64), np.empty(sums.shape[0])
    for r in range(table.shape[0]):
        kind = (table[r, 2], table[r, 3], table[r, 4], table[r, 5], sign)
        left, right = reach_tof(kind)
        near, n = _gather(intervals, table[r, 1], (left, right, 0.0, 0.0), rows, t)
        shape = np.empty((PARTIALS, n))
        fill_tof(t[:n], near, kind, shape)
        _accumulate(rows[:n], shape, table[r, 0], slopes[r], sums)


@njit(cache=True, nogil=True)
def add_cw(intervals, gsas2, table, slopes, sums):  # type: ignore[no-untyped-def]
    """The same at a constant wavelength; ``table`` [peak, 5]: area, position, sigma2, gamma, axial.

    ``slopes`` [peak, 6, P] hold zeros for the sixth column, which these peaks do not have. ``gsas2`` as in `fill_cw`.
    """
    rows, t = np.empty(sums.shape[0], dtype=np.int64), np.empty(sums.shape[0])
    for r in range(table.shape[0]):
        position, kind = table[r, 1], (table[r, 2], table[r, 3], table[r, 4])
        near, n = _gather(intervals, position, reach_cw(position, kind), rows, t)
        shape = np.empty((PARTIALS, n))
        fill_cw(t[:n], near, position, kind, gsas2, shape)
        _accumulate(rows[:n], shape, table[r, 0], slopes[r], sums)


@njit(cache=True, nogil=True, fastmath={"contract"})
def _hand_down(weights, source, target):  # type: ignore[no-untyped-def]
    """Add to one row the rows ``source`` with ``weights``."""
    for j in range(weights.size):
        w = weights[j]
        for p in range(target.size):
            target[p] += w * source[j, p]


@njit(cache=True, nogil=True)
def sweep(parent, down, leaf, spread, sums):  # type: ignore[no-untyped-def]
    """Hand the sums at the Chebyshev points down to smaller intervals, and from the smallest to their points."""
    points = leaf.size
    for k in range(1, parent.size):
        source = sums[points + parent[k] * _NODES : points + (parent[k] + 1) * _NODES]
        for i in range(_NODES):
            _hand_down(down[k, i], source, sums[points + k * _NODES + i])
    for i in range(points):
        _hand_down(spread[i], sums[points + leaf[i] * _NODES : points + (leaf[i] + 1) * _NODES], sums[i])
