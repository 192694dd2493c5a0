"""Compiled sums over regions and shells of a particle, in one pass over its volume."""

from __future__ import annotations

import numpy as np
from numba import njit

_FARTHEST = 6.0  # blurs from the surface at which its share is nothing


@njit(cache=True, nogil=True)
def _place(knots, value):  # type: ignore[no-untyped-def]
    """Index of the knot below a value, and the part of the way to the next; beyond the ends those of the ends."""
    if knots.size == 1 or value <= knots[0]:
        return 0, 0.0
    k = 0
    while k < knots.size - 2 and value > knots[k + 1]:
        k += 1
    return k, min((value - knots[k]) / (knots[k + 1] - knots[k]), 1.0)


@njit(cache=True, nogil=True)
def region_sums(fields, above, inside, edges, law, sums):  # type: ignore[no-untyped-def]
    """Add up what porosity needs of the voxels ``inside``, to ``sums`` [shell, 9 + knot].

    ``fields`` are shares of solid f and of envelope, depth and radius; ``above`` three masks; ``edges`` [shell + 1] of
    the radius; ``law`` knots, contrast c there, blur. The sums are: number, envelope, f, exp(-(depth / blur)^2 / 2),
    (1 - f) / c, depth > 0, the masks where depth > 0, and f / c by the knots it hangs on.
    """
    f_all, e_all, d_all, r_all = fields[0].ravel(), fields[1].ravel(), fields[2].ravel(), fields[3].ravel()
    first, second, third, within = above[0].ravel(), above[1].ravel(), above[2].ravel(), inside.ravel()
    knots, contrasts, blur = law
    for i in range(within.size):
        radius = r_all[i]
        if not within[i] or radius < edges[0] or radius > edges[edges.size - 1]:
            continue
        shell = 0
        while shell < sums.shape[0] - 1 and radius >= edges[shell + 1]:
            shell += 1
        row, f, depth = sums[shell], float(f_all[i]), float(d_all[i])
        k, part = _place(knots, radius)
        contrast = contrasts[k] if part == 0.0 else (1 - part) * contrasts[k] + part * contrasts[k + 1]
        row[0] += 1.0
        row[1] += e_all[i]
        row[2] += f
        if abs(depth) < _FARTHEST * blur:
            row[3] += np.exp(-0.5 * (depth / blur) ** 2)
        row[4] += (1.0 - f) / contrast
        if depth > 0:
            row[5] += 1.0
            row[6] += first[i]
            row[7] += second[i]
            row[8] += third[i]
        row[9 + k] += (1.0 - part) * f / contrast
        if part > 0.0:
            row[10 + k] += part * f / contrast


@njit(cache=True, nogil=True)
def _level(radius, knots, levels):  # type: ignore[no-untyped-def]
    """Linear between the knots, as `numpy.interp`."""
    last = knots.size - 1
    if last == 0 or radius <= knots[0]:
        return levels[0]
    if radius >= knots[last]:
        return levels[last]
    k = 0
    while radius >= knots[k + 1]:
        k += 1
    return (levels[k + 1] - levels[k]) / (knots[k + 1] - knots[k]) * (radius - knots[k]) + levels[k]


@njit(cache=True, nogil=True)
def shares_of_solid(values, radius, within, law, share):  # type: ignore[no-untyped-def]
    """``share`` becomes (value - void) / (level - void) of the voxels ``within``, 0 elsewhere; all [z, y, x].

    ``law`` are knots of the radius, levels there, and void. ``share`` may be ``values``.
    """
    knots, levels, void = law[0], law[1], np.float32(law[2])
    grey, r_all, used, out = values.ravel(), radius.ravel(), within.ravel(), share.ravel()
    for i in range(grey.size):
        if used[i]:
            out[i] = (grey[i] - void) / (np.float32(_level(r_all[i], knots, levels)) - void)
        else:
            out[i] = np.float32(0)


@njit(cache=True, nogil=True)
def scale_both(first, second, radius, law):  # type: ignore[no-untyped-def]
    """As `shares_of_solid` of two volumes of the same place, in place and everywhere."""
    knots, levels, void = law[0], law[1], np.float32(law[2])
    one, other, r_all = first.ravel(), second.ravel(), radius.ravel()
    for i in range(one.size):
        contrast = np.float32(_level(r_all[i], knots, levels)) - void
        one[i] = (one[i] - void) / contrast
        other[i] = (other[i] - void) / contrast


@njit(cache=True, nogil=True)
def mean_level(radius, inside, law):  # type: ignore[no-untyped-def]
    """Mean of the levels of the voxels ``inside``; ``law`` are knots and levels."""
    total, count = 0.0, 0
    r_all, used = radius.ravel(), inside.ravel()
    for i in range(used.size):
        if used[i]:
            total += float(np.float32(_level(r_all[i], law[0], law[1])))
            count += 1
    return total / max(count, 1)
