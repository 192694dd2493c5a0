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

    ``fields`` are shares of solid f and of envelope, depth and radius; ``above`` is what `count_above` finds; ``edges``
    [shell + 1] of the radius; ``law`` knots, contrast c there, blur. The sums are: number, envelope, f,
    exp(-(depth / blur)^2 / 2), (1 - f) / c, depth > 0, of these what is above the second, the first and the third
    limit, and f / c by the knots it hangs on.
    """
    f_all, e_all, d_all, r_all = fields[0].ravel(), fields[1].ravel(), fields[2].ravel(), fields[3].ravel()
    limits, within = above.ravel(), inside.ravel()
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
            row[6] += limits[i] >= 2
            row[7] += limits[i] >= 1
            row[8] += limits[i] >= 3
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
def count_above(values, limits, found):  # type: ignore[no-untyped-def]
    """``found`` becomes the number of the three rising ``limits`` that a value exceeds."""
    grey, out = values.ravel(), found.ravel()
    low, middle, high = np.float32(limits[0]), np.float32(limits[1]), np.float32(limits[2])
    for i in range(grey.size):
        out[i] = np.uint8(grey[i] > low) + np.uint8(grey[i] > middle) + np.uint8(grey[i] > high)


@njit(cache=True, nogil=True)
def joined_shares(first, second, split, within, found):  # type: ignore[no-untyped-def]
    """``found`` becomes what a volume was before its noise was split into f + ``split`` n and f - n / ``split``.

    0 where it is not ``within``. ``found`` may be one of the two.
    """
    one, other, used, out = first.ravel(), second.ravel(), within.ravel(), found.ravel()
    weight = np.float32(split * split / (1.0 + split * split))
    for i in range(one.size):
        out[i] = one[i] + weight * (other[i] - one[i]) if used[i] else np.float32(0)


@njit(cache=True, nogil=True)
def scale_both(first, second, radius, law):  # type: ignore[no-untyped-def]
    """Values of two volumes of the same place become (value - void) / (level - void).

    ``law`` are knots of the radius, levels there, and void.
    """
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
