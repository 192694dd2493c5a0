"""Compiled ridge of a distance map and the painting of inscribed balls."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def _neighbour(distance, z, y, x):  # type: ignore[no-untyped-def]
    """Distance at a place, -1 outside the volume."""
    nz, ny, nx = distance.shape
    if 0 <= z < nz and 0 <= y < ny and 0 <= x < nx:
        return distance[z, y, x]
    return np.float32(-1)


@njit(cache=True, nogil=True)
def _crest(distance, place, steps, lengths):  # type: ignore[no-untyped-def]
    """Height of the ridge at a place and how steeply the distance falls off it in the mean over the steps."""
    z, y, x = place
    here = distance[z, y, x]
    highest, fall = here, 0.0
    for k in range(13):
        dz, dy, dx = steps[k, 0], steps[k, 1], steps[k, 2]
        before = _neighbour(distance, z - dz, y - dy, x - dx)
        after = _neighbour(distance, z + dz, y + dy, x + dx)
        if before < 0 or after < 0:  # at the end of the volume: as if mirrored there
            before = after = max(before, after)
            if before < 0:
                before = after = here
        if max(before, after) <= here:
            highest = max(highest, here + np.float32(0.5) * abs(after - before))
        fall += max(here - min(before, after), 0.0) / lengths[k] / 13.0
    return highest, fall


@njit(cache=True, nogil=True)
def _is_level(distance, place, steps):  # type: ignore[no-untyped-def]
    """Axis across the lattice plane through a place in which all neighbours are as high as it; -1 if none is so."""
    z, y, x = place
    here = distance[z, y, x]
    for axis in range(3):
        level = True
        for k in range(13):
            if steps[k, axis] != 0:
                continue
            dz, dy, dx = steps[k, 0], steps[k, 1], steps[k, 2]
            for sign in (-1, 1):
                there = _neighbour(distance, z + sign * dz, y + sign * dy, x + sign * dx)
                level &= there < 0 or there == here
        if level:
            return axis
    return -1


@njit(cache=True, nogil=True)
def mark_ridge(distance, steps, lengths, tolerance, mark):  # type: ignore[no-untyped-def]
    """Set ``mark`` [z, y, x] to 1 where a ball is in no neighbour's ball, else to 0.

    ``distance`` to the nearest voxel outside, 0 there; ``steps`` [13, 3] and their ``lengths``. A ball lies in that of
    a neighbour if the neighbour's radius is larger by the step, less ``tolerance``.
    """
    nz, ny, nx = distance.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                here = distance[z, y, x]
                mark[z, y, x] = here > 0
                for k in range(26 * mark[z, y, x]):
                    sign, step = 1 - 2 * (k & 1), steps[k >> 1]
                    there = _neighbour(distance, z + sign * step[0], y + sign * step[1], x + sign * step[2])
                    if there >= here + lengths[k >> 1] - tolerance:
                        mark[z, y, x] = 0
                        break


@njit(cache=True, nogil=True)
def describe_ridge(distance, places, steps, lengths, found):  # type: ignore[no-untyped-def]
    """Radius, fall and level plane of the ridge at ``places`` [n, 3], into ``found`` [n, 3].

    Along a step on which the distance has its highest value here, it rises and falls like a roof whose crest lies
    |c - a| / 2 above the middle one of a, b, c: the radius is the highest crest. The fall is the slope in the mean over
    the steps: a half off a sheet, 1 off the centre of a ball. The level plane is the axis across it, or -1.
    """
    for n in range(places.shape[0]):
        place = places[n, 0], places[n, 1], places[n, 2]
        found[n, 0], found[n, 1] = _crest(distance, place, steps, lengths)
        found[n, 2] = _is_level(distance, place, steps)


@njit(cache=True, nogil=True)
def paint(places, radii, values, voxel, thickness):  # type: ignore[no-untyped-def]
    """Write the largest of the ``values`` of the balls that cover a voxel; voxels that hold NaN are left alone.

    ``places`` [n, 3], ``radii`` and ``values`` [n] in falling order of the values, so that the first to arrive stays.
    """
    nz, ny, nx = thickness.shape
    hz, hy, hx = voxel
    for n in range(places.shape[0]):
        z, y, x, square = places[n, 0], places[n, 1], places[n, 2], radii[n] ** 2
        reach = int(radii[n] / hz)
        for zz in range(max(z - reach, 0), min(z + reach, nz - 1) + 1):
            left = square - ((zz - z) * hz) ** 2
            wide = int(np.sqrt(max(left, 0.0)) / hy)
            for yy in range(max(y - wide, 0), min(y + wide, ny - 1) + 1):
                rest = left - ((yy - y) * hy) ** 2
                if rest < 0:
                    continue
                long = int(np.sqrt(rest) / hx)
                row = thickness[zz, yy]
                for xx in range(max(x - long, 0), min(x + long, nx - 1) + 1):
                    if row[xx] == 0:
                        row[xx] = values[n]
