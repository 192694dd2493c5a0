"""Compiled marching along rays through a smoothed mask, one ray after the other."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

NOTHING, SURFACE, FACE = 0, 1, 2  # what a ray meets first; FACE + 0, 1, 2 is a cut face across z, y, x

BLOCK = 4  # voxels, edge of the blocks whose clearance lets rays take long steps

_HALF = np.float32(0.5)
_BELOW = 3  # voxels below the surface within which it takes its colour
_SKIN = 3  # half voxels that are looked at last
_AMBIENT, _DIFFUSE = 0.5, 0.48  # together below 1, so that a shaded colour is never taken for that of a cut face
_FADING = 0.25  # share of the light lost from the front of the particle to its back
_HIDDEN = 0.65  # share of the light lost where matter is all around, as deep in a pore

Vector = tuple[float, float, float]


class Scene(NamedTuple):
    """What the rays meet, in voxels (z, y, x)."""

    field: NDArray[np.float32]  # smoothed mask, zero along the border, [z, y, x]
    clear: NDArray[np.uint8]  # voxels without particle in every direction from anywhere in a block, [z, y, x] of blocks
    crowding: NDArray[np.float32]  # share of each block that is particle, [z, y, x] of blocks
    solid: NDArray[np.bool_]  # mask, [z, y, x]
    value: NDArray[np.float32]  # NaN where there is none, [z, y, x]
    direction: Vector  # unit vector along the rays
    light: Vector  # unit vector towards the lamp
    cut_at: Vector  # where the cut faces go through
    cut_side: Vector  # +1 or -1: side taken away; 0: the cut does not depend on it
    reach: float  # half the diagonal of the box


@njit(cache=True, nogil=True)
def _point(start, direction, t):  # type: ignore[no-untyped-def]
    return start[0] + t * direction[0], start[1] + t * direction[1], start[2] + t * direction[2]


@njit(cache=True, nogil=True)
def _sample(field, z, y, x):  # type: ignore[no-untyped-def]
    """Trilinear value of ``field`` at a point; zero outside."""
    n_z, n_y, n_x = field.shape
    if not (0.0 <= z < n_z - 1 and 0.0 <= y < n_y - 1 and 0.0 <= x < n_x - 1):
        return np.float32(0.0)
    k, j, i, one = np.uintp(z), np.uintp(y), np.uintp(x), np.uintp(1)
    c, b, a = np.float32(z - k), np.float32(y - j), np.float32(x - i)
    low = field[k, j, i] + a * (field[k, j, i + one] - field[k, j, i])
    high = field[k, j + one, i] + a * (field[k, j + one, i + one] - field[k, j + one, i])
    near = low + b * (high - low)
    low = field[k + one, j, i] + a * (field[k + one, j, i + one] - field[k + one, j, i])
    high = field[k + one, j + one, i] + a * (field[k + one, j + one, i + one] - field[k + one, j + one, i])
    return near + c * (low + b * (high - low) - near)


@njit(cache=True, nogil=True)
def _voxel(shape, z, y, x):  # type: ignore[no-untyped-def]
    """Indices of the voxel around a point, and whether it is in the volume."""
    k, j, i = math.floor(z + 0.5), math.floor(y + 0.5), math.floor(x + 0.5)
    inside = 0 <= k < shape[0] and 0 <= j < shape[1] and 0 <= i < shape[2]
    return int(k), int(j), int(i), inside


@njit(cache=True, nogil=True)
def _is_solid(solid, place):  # type: ignore[no-untyped-def]
    k, j, i, inside = _voxel(solid.shape, place[0], place[1], place[2])
    return inside and solid[k, j, i]


@njit(cache=True, nogil=True)
def _box_interval(shape, start, direction):  # type: ignore[no-untyped-def]
    """Where a ray enters and leaves the volume."""
    first, last = -np.inf, np.inf
    for axis in range(3):
        rate, end = direction[axis], shape[axis] - 1.0
        if abs(rate) < 1e-12:
            if start[axis] < 0.0 or start[axis] > end:
                return 1.0, 0.0
            continue
        one, other = -start[axis] / rate, (end - start[axis]) / rate
        first, last = max(first, min(one, other)), min(last, max(one, other))
    return first, last


@njit(cache=True, nogil=True)
def _cut_interval(cut_at, cut_side, start, direction):  # type: ignore[no-untyped-def]
    """Where a ray enters and leaves what is cut away, and the axis across whose face it leaves."""
    first, last, face = -np.inf, np.inf, -1
    cuts = False
    for axis in range(3):
        side = cut_side[axis]
        if side == 0.0:
            continue
        cuts = True
        rate, gap = side * direction[axis], side * (start[axis] - cut_at[axis])
        if abs(rate) < 1e-12:
            if gap <= 0.0:
                return np.inf, -np.inf, -1
        elif rate > 0.0:
            first = max(first, -gap / rate)
        elif -gap / rate < last:
            last, face = -gap / rate, axis
    if not cuts or first >= last:
        return np.inf, -np.inf, -1
    return first, last, face


@njit(cache=True, nogil=True)
def _step(clear, place):  # type: ignore[no-untyped-def]
    """Voxels from a point where the smoothed mask is zero to the next that has to be looked at."""
    k, j, i = int(max(place[0], 0.0)) // BLOCK, int(max(place[1], 0.0)) // BLOCK, int(max(place[2], 0.0)) // BLOCK
    return max(1.0, float(clear[k, j, i]))


@njit(cache=True, nogil=True)
def _surface(field, solid, start, direction, interval):  # type: ignore[no-untyped-def]
    """Where a ray meets the surface between a point outside and one inside, to 1/64 of their distance."""
    outside, inside = interval
    for _ in range(6):
        middle = 0.5 * (outside + inside)
        place = _point(start, direction, middle)
        if _sample(field, place[0], place[1], place[2]) >= _HALF and _is_solid(solid, place):
            inside = middle
        else:
            outside = middle
    return inside


@njit(cache=True, nogil=True)
def _first_hit(scene, start):  # type: ignore[no-untyped-def]
    """What a ray meets first, and how far along the ray.

    Behind the cut the particle is where the mask itself is too, so that thin cracks stay open.
    """
    field, solid, clear, direction = scene.field, scene.solid, scene.clear, scene.direction
    t, last = _box_interval(field.shape, start, direction)
    cut_from, cut_to, face = _cut_interval(scene.cut_at, scene.cut_side, start, direction)
    behind, before, level_before = False, t, np.float32(0.0)
    while t <= last:
        if not behind and cut_from <= t < cut_to:
            t, before, behind = cut_to, cut_to, True
            if t > last:
                break
            if _is_solid(solid, _point(start, direction, t)):
                return FACE + face, t
        place = _point(start, direction, t)
        level = _sample(field, place[0], place[1], place[2])
        if level >= _HALF and behind and _is_solid(solid, place):
            return SURFACE, _surface(field, solid, start, direction, (before, t))
        if level >= _HALF and not behind:
            return SURFACE, before + (t - before) * (_HALF - level_before) / (level - level_before)
        before, level_before = t, level
        t = t + (_step(clear, place) if level == 0.0 else 1.0)
        if not behind and before < cut_from < t:
            t = cut_from
    return NOTHING, t


@njit(cache=True, nogil=True)
def _normal(field, place, direction):  # type: ignore[no-untyped-def]
    """Unit vector out of the particle, from the slope of the smoothed mask."""
    z, y, x = place
    along_z = _sample(field, z - 2, y, x) - _sample(field, z + 2, y, x)
    along_y = _sample(field, z, y - 2, x) - _sample(field, z, y + 2, x)
    along_x = _sample(field, z, y, x - 2) - _sample(field, z, y, x + 2)
    length = math.sqrt(along_z**2 + along_y**2 + along_x**2)
    if length == 0.0:
        return -direction[0], -direction[1], -direction[2]
    return along_z / length, along_y / length, along_x / length


@njit(cache=True, nogil=True)
def _value_below(solid, value, place, normal):  # type: ignore[no-untyped-def]
    """The first value below the outermost voxels, which are mixed with the outside; else theirs."""
    for step in range(2 * _BELOW + 1):
        half_voxels = step + _SKIN if step + _SKIN <= 2 * _BELOW else 2 * _BELOW - step
        z, y, x = _point(place, normal, -0.5 * half_voxels)
        k, j, i, inside = _voxel(solid.shape, z, y, x)
        if inside and solid[k, j, i] and not np.isnan(value[k, j, i]):
            return value[k, j, i]
    return np.float32(np.nan)


@njit(cache=True, nogil=True)
def _shade(light, normal, distance):  # type: ignore[no-untyped-def]
    """Brightness of the surface: Lambert's law, less with the distance (-1 in front to 1 at the back)."""
    facing = normal[0] * light[0] + normal[1] * light[1] + normal[2] * light[2]
    return (_AMBIENT + _DIFFUSE * max(facing, 0.0)) * (1.0 - _FADING * min(max(0.5 + 0.5 * distance, 0.0), 1.0))


@njit(cache=True, nogil=True)
def _openness(crowding, place, normal):  # type: ignore[no-untyped-def]
    """Share of the light that reaches a point of the surface, from how much matter is just above it."""
    z, y, x = _point(place, normal, 0.5 * BLOCK)
    middle = 0.5 * (BLOCK - 1)
    crowded = _sample(crowding, (z - middle) / BLOCK, (y - middle) / BLOCK, (x - middle) / BLOCK)
    return 1.0 - _HIDDEN * min(max(2.0 * (crowded - 0.4), 0.0), 1.0)


@njit(cache=True, nogil=True)
def march(scene, first, right, down, kind, value, shade):  # type: ignore[no-untyped-def]
    """Fill ``kind``, ``value`` and ``shade`` [row, column]: what each ray meets first, its value and brightness.

    The ray of row i and column j goes through ``first + i down + j right``.
    """
    for row in range(kind.shape[0]):
        for column in range(kind.shape[1]):
            start = _point(_point(first, down, row), right, column)
            what, t = _first_hit(scene, start)
            kind[row, column] = what
            if what == NOTHING:
                continue
            place = _point(start, scene.direction, t)
            if what >= FACE:
                k, j, i, _ = _voxel(scene.solid.shape, place[0], place[1], place[2])
                value[row, column] = scene.value[k, j, i]
            else:
                normal = _normal(scene.field, place, scene.direction)
                value[row, column] = _value_below(scene.solid, scene.value, place, normal)
                shade[row, column] = _shade(scene.light, normal, t / scene.reach)
                shade[row, column] *= _openness(scene.crowding, place, normal)
