"""Compiled passes over the blocks of 4 x 4 x 4 voxels that a surface given by its depth runs through.

The depth is known at half as many points along each axis (`coarse`) and linear between them; beyond the first and the
last point it continues flat. Away from the surface all that is asked of it is constant, so that nine tenths of a volume
need not be looked at: `kind` [block] says which. What is kept of voxels in blocks near the surface is packed in one
line, in raster order.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from cathoscope.volume.sheetness_kernels import add_pair, mirrored, weigh

BLOCK, _SHIFT = 4, 2  # voxels along the edges of a block, and its binary logarithm
OUTSIDE, NEAR, INSIDE = 0, 1, 2
SLAB = 32  # planes that are worked on at a time


@njit(cache=True, nogil=True)
def kinds_of_blocks(coarse, below, above, kind):  # type: ignore[no-untyped-def]
    """Whether blocks are all deeper than ``below`` (INSIDE), all higher than ``above`` (OUTSIDE), or NEAR."""
    n_z, n_y, n_x = coarse.shape
    half = BLOCK // 2
    for i in range(kind.shape[0]):
        for j in range(kind.shape[1]):
            for k in range(kind.shape[2]):
                low, high = coarse[half * i, half * j, half * k], coarse[half * i, half * j, half * k]
                for z in range(half * i, min(half * i + half, n_z)):
                    for y in range(half * j, min(half * j + half, n_y)):
                        for x in range(half * k, min(half * k + half, n_x)):
                            low, high = min(low, coarse[z, y, x]), max(high, coarse[z, y, x])
                kind[i, j, k] = INSIDE if low > below else (OUTSIDE if high < -above else NEAR)


@njit(cache=True, nogil=True)
def halve(field, found):  # type: ignore[no-untyped-def]
    """Means of 2 x 2 x 2 points; an odd end repeats its last point."""
    n_z, n_y, n_x = field.shape
    for z in range(found.shape[0]):
        for y in range(found.shape[1]):
            for x in range(found.shape[2]):
                total = np.float32(0)
                for k in range(8):
                    a, b, c = 2 * z + (k >> 2), 2 * y + ((k >> 1) & 1), 2 * x + (k & 1)
                    total += field[min(a, n_z - 1), min(b, n_y - 1), min(c, n_x - 1)]
                found[z, y, x] = total / np.float32(8)


@njit(cache=True, nogil=True)
def blocks_holding(place, largest, found):  # type: ignore[no-untyped-def]
    """``found`` becomes 1 for blocks with a voxel of at most ``largest``, else 0."""
    found[:] = 0
    for z in range(place.shape[0]):
        for y in range(place.shape[1]):
            row = found[z >> _SHIFT, y >> _SHIFT]
            for x in range(place.shape[2]):
                if place[z, y, x] <= largest:
                    row[x >> _SHIFT] = 1


@njit(cache=True, nogil=True)
def smooth_where(source, blocks, halves, target):  # type: ignore[no-untyped-def]
    """Smooth a volume [z, y, x] in the blocks that are 1; ``blocks`` as of `smooth_and_pack`, ``target`` a volume."""
    nz, ny, nx = source.shape
    work, longer = np.empty((ny, nx), dtype=np.float32), np.empty(nx + 2 * halves[2].size, dtype=np.float32)
    for z in range(nz):
        i = z >> _SHIFT
        smooth_blocks(source, (z, 0, nz), (blocks[0][i], blocks[1][i]), halves, (work, longer), target[z])


@njit(cache=True, nogil=True)
def blocks_around(chosen, reach, found):  # type: ignore[no-untyped-def]
    """``found`` becomes 1 within ``reach`` (z, y, x) blocks of those of ``chosen`` that are 1, else 0."""
    n_z, n_y, n_x = chosen.shape
    found[:] = 0
    for i in range(n_z):
        for j in range(n_y):
            for k in range(n_x):
                if chosen[i, j, k] == 1:
                    found[
                        max(i - reach[0], 0) : i + reach[0] + 1,
                        max(j - reach[1], 0) : j + reach[1] + 1,
                        max(k - reach[2], 0) : k + reach[2] + 1,
                    ] = 1


@njit(cache=True, nogil=True)
def _run(row, at):  # type: ignore[no-untyped-def]
    """Begin and end of the next run of ones in a row of blocks."""
    while at < row.size and row[at] != 1:
        at += 1
    end = at
    while end < row.size and row[end] == 1:
        end += 1
    return at, end


@njit(cache=True, nogil=True)
def _voxels_of(row):  # type: ignore[no-untyped-def]
    """Number of voxels along a row in the blocks that are 1, if all are whole."""
    count = 0
    for k in range(row.size):
        if row[k] == 1:
            count += BLOCK
    return count


@njit(cache=True, nogil=True)
def depth_at(coarse, z, y, x):  # type: ignore[no-untyped-def]
    """Depth of a voxel."""
    n_z, n_y, n_x = coarse.shape
    near, far = np.float32(0.75), np.float32(0.25)
    a, b = z >> 1, min(max((z >> 1) + 2 * (z & 1) - 1, 0), n_z - 1)
    c, d = y >> 1, min(max((y >> 1) + 2 * (y & 1) - 1, 0), n_y - 1)
    e, f = x >> 1, min(max((x >> 1) + 2 * (x & 1) - 1, 0), n_x - 1)
    first = near * (near * coarse[a, c, e] + far * coarse[a, d, e]) + far * (
        near * coarse[b, c, e] + far * coarse[b, d, e]
    )
    second = near * (near * coarse[a, c, f] + far * coarse[a, d, f]) + far * (
        near * coarse[b, c, f] + far * coarse[b, d, f]
    )
    return near * first + far * second


@njit(cache=True, nogil=True)
def depth_row(coarse, place, ends, line, row):  # type: ignore[no-untyped-def]
    """Depth of the voxels ``ends`` (first, end) of the row ``place`` (z, y), to ``row``; ``line`` [n_x + 2] is room."""
    n_z, n_y, n_x = coarse.shape
    near, far = np.float32(0.75), np.float32(0.25)
    z, y = place
    a, b = z >> 1, min(max((z >> 1) + 2 * (z & 1) - 1, 0), n_z - 1)
    c, d = y >> 1, min(max((y >> 1) + 2 * (y & 1) - 1, 0), n_y - 1)
    first, last = max((ends[0] >> 1) - 1, 0), min(((ends[1] - 1) >> 1) + 1, n_x - 1)
    for x in range(first, last + 1):
        low = near * coarse[a, c, x] + far * coarse[a, d, x]
        line[x + 1] = near * low + far * (near * coarse[b, c, x] + far * coarse[b, d, x])
    if first == 0:
        line[0] = line[1]
    if last == n_x - 1:
        line[n_x + 1] = line[n_x]
    for x in range(ends[0], ends[1]):
        row[x] = near * line[(x >> 1) + 1] + far * line[(x >> 1) + 2 * (x & 1)]


@njit(cache=True, nogil=True)
def smooth_blocks(source, planes, blocks, halves, room, target):  # type: ignore[no-untyped-def]
    """Smooth the voxels of one plane that lie in the blocks of ``blocks``, to ``target`` [y, x].

    ``planes`` are the plane, the first one in ``source``, and how many there are in all; ``blocks`` the blocks [y, x]
    and those beside them that the filter reaches; ``halves`` as of `sheetness_kernels.smooth_plane`; ``room`` a plane,
    and a row with twice the reach along x.
    """
    z, offset, depth = planes
    chosen, beside = blocks
    kz, ky, kx = halves
    work, row = room
    ny, nx = target.shape
    reach = kx.size - 1
    for y in range(ny):
        at, end = _run(beside[y >> _SHIFT], 0)
        while at < end:
            a, b = at << _SHIFT, min(end << _SHIFT, nx)
            weigh(source[z - offset, y, a:b], kz[0], work[y, a:b])
            for t in range(1, kz.size):
                below, over = mirrored(z - t, depth) - offset, mirrored(z + t, depth) - offset
                add_pair(source[below, y, a:b], source[over, y, a:b], kz[t], work[y, a:b])
            at, end = _run(beside[y >> _SHIFT], end)
    for y in range(ny):
        at, end = _run(chosen[y >> _SHIFT], 0)
        while at < end:
            a, b = at << _SHIFT, min(end << _SHIFT, nx)
            c, d = max(a - reach, 0), min(b + reach, nx)
            middle = row[reach + c : reach + d]
            weigh(work[y, c:d], ky[0], middle)
            for t in range(1, ky.size):
                add_pair(work[mirrored(y - t, ny), c:d], work[mirrored(y + t, ny), c:d], ky[t], middle)
            for x in range(reach - a):
                row[reach - 1 - x] = row[reach + mirrored(-1 - x, nx)]
            for x in range(b + reach - nx):
                row[reach + nx + x] = row[reach + mirrored(nx + x, nx)]
            weigh(row[reach + a : reach + b], kx[0], target[y, a:b])
            for t in range(1, kx.size):
                add_pair(row[reach + a - t : reach + b - t], row[reach + a + t : reach + b + t], kx[t], target[y, a:b])
            at, end = _run(chosen[y >> _SHIFT], end)


@njit(cache=True, nogil=True)
def _parts_of_plane(coarse, z, wide, room, plane):  # type: ignore[no-untyped-def]
    """Parts of the voxels of a plane within the surface, across an axis, in the blocks ``wide`` [y, x]."""
    line, row = room
    half = np.float32(0.5)
    ny, nx = plane.shape
    for y in range(ny):
        at, end = _run(wide[y >> _SHIFT], 0)
        while at < end:
            a, b = at << _SHIFT, min(end << _SHIFT, nx)
            depth_row(coarse, (z, y), (a, b), line, row)
            for x in range(a, b):
                plane[y, x] = min(max(row[x] + half, np.float32(0)), np.float32(1))
            at, end = _run(wide[y >> _SHIFT], end)


@njit(cache=True, nogil=True)
def _fill_away(kind, filled, row):  # type: ignore[no-untyped-def]
    """Set a row to 1 in blocks that lie INSIDE, to 0 in those OUTSIDE, where they are not ``filled`` so already."""
    at = 0
    while at < kind.size:
        end = at + 1
        while end < kind.size and kind[end] == kind[at] and filled[end] == filled[at]:
            end += 1
        if kind[at] != NEAR and kind[at] != filled[at]:
            row[at << _SHIFT : end << _SHIFT] = np.float32(1) if kind[at] == INSIDE else np.float32(0)
        at = end


@njit(cache=True, nogil=True)
def shares_within(coarse, blocks, halves, room, share):  # type: ignore[no-untyped-def]
    """``share`` [z, y, x] becomes what of each voxel, blurred by the filters ``halves``, lies within the surface.

    ``blocks`` are `kind`, the blocks around those NEAR that the filter reaches in a plane, those in all directions, and
    the kinds for which ``share`` was told before, NEAR for none.
    ``room`` [SLAB + twice the reach along z, y, x].
    """
    kind, beside, wide, filled = blocks
    nz, ny, nx = share.shape
    reach = halves[0].size - 1
    line, row = np.empty(coarse.shape[2] + 2, dtype=np.float32), np.empty(nx, dtype=np.float32)
    work, longer = np.empty((ny, nx), dtype=np.float32), np.empty(nx + 2 * halves[2].size, dtype=np.float32)
    for first in range(0, nz, SLAB):
        low, high = max(first - reach, 0), min(first + SLAB + reach, nz)
        for z in range(low, high):
            _parts_of_plane(coarse, z, wide[z >> _SHIFT], (line, row), room[z - low])
        for z in range(first, min(first + SLAB, nz)):
            i = z >> _SHIFT
            for y in range(ny):
                _fill_away(kind[i, y >> _SHIFT], filled[i, y >> _SHIFT], share[z, y])
            smooth_blocks(room, (z, low, nz), (kind[i], beside[i]), halves, (work, longer), share[z])


@njit(cache=True, nogil=True)
def depths(coarse, depth):  # type: ignore[no-untyped-def]
    """Write the depth of every voxel to ``depth`` [z, y, x]."""
    line = np.empty(coarse.shape[2] + 2, dtype=np.float32)
    for z in range(depth.shape[0]):
        for y in range(depth.shape[1]):
            depth_row(coarse, (z, y), (0, depth.shape[2]), line, depth[z, y])


@njit(cache=True, nogil=True)
def smooth_and_pack(grey, kind, blocks, halves, packed, deep):  # type: ignore[no-untyped-def]
    """Smooth a volume whose solid is 1: pack what is NEAR, and of what is INSIDE sum up what is above 1.

    ``blocks`` are 1 where they are not OUTSIDE, and those around that the filter reaches in a plane. ``deep`` becomes
    the number of voxels above 1 and the sum of squares of what they are above it.
    """
    nz, ny, nx = grey.shape
    work, longer = np.empty((ny, nx), dtype=np.float32), np.empty(nx + 2 * halves[2].size, dtype=np.float32)
    plane = np.empty((ny, nx), dtype=np.float32)
    deep[:] = 0.0
    n = 0
    for z in range(nz):
        i = z >> _SHIFT
        smooth_blocks(grey, (z, 0, nz), (blocks[0][i], blocks[1][i]), halves, (work, longer), plane)
        for y in range(ny):
            for k in range(kind.shape[2]):
                kept = kind[i, y >> _SHIFT, k]
                for x in range(k << _SHIFT, min((k + 1) << _SHIFT, nx) if kept != OUTSIDE else 0):
                    if kept == NEAR:
                        packed[n] = plane[y, x]
                        n += 1
                    elif plane[y, x] > 1:
                        deep[0] += 1.0
                        deep[1] += (plane[y, x] - np.float32(1)) ** 2
    return n


@njit(cache=True, nogil=True)
def residuals(smooth, share, surface, halves, layers, found, sums):  # type: ignore[no-untyped-def]
    """What packed values ``smooth`` are above those of the ``share``, smoothed as they are; to ``found``, packed.

    ``surface`` are the coarse depth, the kinds of blocks and those around that the filter reaches in a plane. Number
    and squares of what is positive are added to ``sums`` [layer, 2], by layers of depth: ``layers`` are the least depth
    that counts and the width of a layer.
    """
    coarse, kind, beside = surface
    least, width = layers
    nz, ny, nx = share.shape
    work, longer = np.empty((ny, nx), dtype=np.float32), np.empty(nx + 2 * halves[2].size, dtype=np.float32)
    line, row = np.empty(coarse.shape[2] + 2, dtype=np.float32), np.empty(nx, dtype=np.float32)
    plane = np.empty((ny, nx), dtype=np.float32)
    last, n = sums.shape[0] - 1, 0
    for z in range(nz):
        i = z >> _SHIFT
        smooth_blocks(share, (z, 0, nz), (kind[i], beside[i]), halves, (work, longer), plane)
        for y in range(ny):
            at, end = _run(kind[i, y >> _SHIFT], 0)
            while at < end:
                a, b = at << _SHIFT, min(end << _SHIFT, nx)
                depth_row(coarse, (z, y), (a, b), line, row)
                for x in range(a, b):
                    residual = smooth[n] - plane[y, x]
                    found[n] = residual
                    n += 1
                    if row[x] >= least and residual > 0:
                        layer = min(int(row[x] / width), last)
                        sums[layer, 0] += 1.0
                        sums[layer, 1] += residual * residual
                at, end = _run(kind[i, y >> _SHIFT], end)


@njit(cache=True, nogil=True)
def mark_dark(residual, surface, layers, limit, dark):  # type: ignore[no-untyped-def]
    """Set ``dark`` [z, y, x] near the surface where packed residuals are below minus the ``limit`` [layer].

    ``surface`` and ``layers`` as of `residuals`.
    """
    coarse, kind, _ = surface
    least, width = layers
    nz, ny, nx = dark.shape
    line, row = np.empty(coarse.shape[2] + 2, dtype=np.float32), np.empty(nx, dtype=np.float32)
    last, n = limit.size - 1, 0
    for z in range(nz):
        for y in range(ny):
            blocks = kind[z >> _SHIFT, y >> _SHIFT]
            at, end = _run(blocks, 0)
            while at < end:
                a, b = at << _SHIFT, min(end << _SHIFT, nx)
                depth_row(coarse, (z, y), (a, b), line, row)
                for x in range(a, b):
                    deep = row[x] >= least
                    dark[z, y, x] = deep and -residual[n] > limit[min(int(row[x] / width), last)]
                    n += 1
                at, end = _run(blocks, end)


@njit(cache=True, nogil=True)
def _places_near(coarse, kind, shape, band):  # type: ignore[no-untyped-def]
    """Voxels (n, 3) of at most ``band`` depth, without those at the faces of the field."""
    line, row = np.empty(coarse.shape[2] + 2, dtype=np.float32), np.empty(shape[2], dtype=np.float32)
    places, count = np.empty((4096, 3), dtype=np.int32), 0
    for z in range(1, shape[0] - 1):
        for y in range(1, shape[1] - 1):
            blocks = kind[z >> _SHIFT, y >> _SHIFT]
            if len(places) < count + _voxels_of(blocks):
                more = np.empty((2 * len(places) + shape[2] + BLOCK, 3), dtype=np.int32)
                more[:count] = places[:count]
                places = more
            at, end = _run(blocks, 0)
            while at < end:
                a, b = max(at << _SHIFT, 1), min(end << _SHIFT, shape[2] - 1)
                depth_row(coarse, (z, y), (a, b), line, row)
                for x in range(a, b):
                    if abs(row[x]) <= band:
                        places[count, 0], places[count, 1], places[count, 2] = z, y, x
                        count += 1
                at, end = _run(blocks, end)
    return places[:count]


@njit(cache=True, nogil=True)
def surface_columns(coarse, kind, shape, band, edges):  # type: ignore[no-untyped-def]
    """Voxels (n, 3) of at most ``band`` depth, the normals of the depth there in indices per length, and the depth.

    ``shape`` are the voxels of the field, ``edges`` those of a voxel (z, y, x). Voxels at the faces of the field are
    left out.
    """
    places = _places_near(coarse, kind, shape, band)
    count = len(places)
    start, normal, at = np.empty((count, 3)), np.empty((count, 3)), np.empty(count)
    for i in range(count):
        z, y, x = places[i, 0], places[i, 1], places[i, 2]
        g0 = (depth_at(coarse, z + 1, y, x) - depth_at(coarse, z - 1, y, x)) / (2 * edges[0])
        g1 = (depth_at(coarse, z, y + 1, x) - depth_at(coarse, z, y - 1, x)) / (2 * edges[1])
        g2 = (depth_at(coarse, z, y, x + 1) - depth_at(coarse, z, y, x - 1)) / (2 * edges[2])
        length = max(np.sqrt(g0 * g0 + g1 * g1 + g2 * g2), 1e-6)
        start[i, 0], start[i, 1], start[i, 2] = z, y, x
        normal[i, 0], normal[i, 1], normal[i, 2] = (
            g0 / (length * edges[0]),
            g1 / (length * edges[1]),
            g2 / (length * edges[2]),
        )
        at[i] = depth_at(coarse, z, y, x)
    return start, normal, at
