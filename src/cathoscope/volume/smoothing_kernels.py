"""Compiled smoothing of volumes that are even but for a thin part of them, such as the share of an envelope."""

from __future__ import annotations

import numpy as np
from numba import njit

from cathoscope.volume.sheetness_kernels import _add, _mirrored, _weigh

BLOCK_Z, BLOCK_Y, BLOCK_X = 8, 8, 16
REACH = 8  # voxels that a filter may reach, at most: no farther than the next block
_EVEN = 2e-6  # difference of values that counts as none: what 32 bits leave of a sum of weights of 1


@njit(cache=True, nogil=True)
def _levels_of_blocks(field, level, even):  # type: ignore[no-untyped-def]
    """First value of each block, and whether all its values are that one."""
    even[:] = True
    for z in range(field.shape[0]):
        k = z // BLOCK_Z
        for y in range(field.shape[1]):
            j, row = y // BLOCK_Y, field[z, y]
            for i in range(even.shape[2]):
                start, stop = i * BLOCK_X, min((i + 1) * BLOCK_X, row.size)
                if z % BLOCK_Z == 0 and y % BLOCK_Y == 0:
                    level[k, j, i] = row[start]
                if even[k, j, i]:
                    first, farthest = level[k, j, i], np.float32(0.0)
                    for x in range(start, stop):
                        farthest = max(farthest, abs(row[x] - first))
                    even[k, j, i] = farthest <= _EVEN


@njit(cache=True, nogil=True)
def _needed_blocks(level, even, needed):  # type: ignore[no-untyped-def]
    """Blocks in which a filter finds more than one value: they and all around are not of one level."""
    nz, ny, nx = level.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                here = level[z, y, x]
                found = False
                for a in range(max(z - 1, 0), min(z + 2, nz)):
                    for b in range(max(y - 1, 0), min(y + 2, ny)):
                        for c in range(max(x - 1, 0), min(x + 2, nx)):
                            found |= not even[a, b, c] or abs(level[a, b, c] - here) > _EVEN
                needed[z, y, x] = found


@njit(cache=True, nogil=True)
def _run(row, start):  # type: ignore[no-untyped-def]
    """The next blocks of a row that are True: the first and the one after the last."""
    first = start
    while first < row.size and not row[first]:
        first += 1
    last = first
    while last < row.size and row[last]:
        last += 1
    return first, last


@njit(cache=True, nogil=True)
def _widened(needed, target):  # type: ignore[no-untyped-def]
    """``target`` [row]: ``needed`` and the block on either side."""
    for x in range(needed.size):
        target[x] = needed[x] or (x > 0 and needed[x - 1]) or (x + 1 < needed.size and needed[x + 1])


@njit(cache=True, nogil=True)
def _smooth_across(source, z, half, rows, work):  # type: ignore[no-untyped-def]
    """``work`` [y, x] becomes plane ``z`` smoothed along z, where ``rows`` [block, block] say."""
    nz, ny, nx = source.shape
    for y in range(ny):
        first, last = _run(rows[y // BLOCK_Y], 0)
        while first < last:
            a, b = first * BLOCK_X, min(last * BLOCK_X, nx)
            _weigh(source[z, y, a:b], half[0], work[y, a:b])
            for t in range(1, half.size):
                below, above = source[_mirrored(z - t, nz), y, a:b], source[_mirrored(z + t, nz), y, a:b]
                _add(below, above, half[t], work[y, a:b])
            first, last = _run(rows[y // BLOCK_Y], last)


@njit(cache=True, nogil=True)
def _smooth_row(work, y, half, run, line, target):  # type: ignore[no-untyped-def]
    """Smooth row ``y`` of ``work`` along y and x in the columns ``run``, to ``target`` [x]; ``line`` is room."""
    ny, nx = work.shape
    along_y, along_x = half
    reach = along_x.size - 1
    a, b = run
    low, high = max(a - reach, 0), min(b + reach, nx)
    middle = line[reach + low : reach + high]
    _weigh(work[y, low:high], along_y[0], middle)
    for t in range(1, along_y.size):
        _add(work[_mirrored(y - t, ny), low:high], work[_mirrored(y + t, ny), low:high], along_y[t], middle)
    for x in range(reach):
        if a == 0:
            line[x] = line[reach + _mirrored(x - reach, nx)]
        if b + reach > nx:
            line[reach + nx + x] = line[reach + _mirrored(nx + x, nx)]
    _weigh(line[reach + a : reach + b], along_x[0], target[a:b])
    for t in range(1, along_x.size):
        _add(line[reach + a - t : reach + b - t], line[reach + a + t : reach + b + t], along_x[t], target[a:b])


@njit(cache=True, nogil=True)
def smooth_uneven(source, kernels, target):  # type: ignore[no-untyped-def]
    """Write ``source`` [z, y, x] smoothed to ``target``: what is of one level farther than a filter reaches is copied.

    ``kernels`` are the halves of three symmetric filters (z, y, x) of sum 1, from their centre outwards; they reach
    `REACH` voxels at most.
    """
    nz, ny, nx = source.shape
    shape = (nz - 1) // BLOCK_Z + 1, (ny - 1) // BLOCK_Y + 1, (nx - 1) // BLOCK_X + 1
    level, even, needed = np.empty(shape, np.float32), np.empty(shape, np.bool_), np.empty(shape, np.bool_)
    _levels_of_blocks(source, level, even)
    _needed_blocks(level, even, needed)
    wide, rows = np.empty(shape[1:], np.bool_), np.empty(shape[1:], np.bool_)
    work, line = np.empty((ny, nx), np.float32), np.empty(nx + 2 * REACH, np.float32)
    for z in range(nz):
        k = z // BLOCK_Z
        if z % BLOCK_Z == 0:
            for j in range(shape[1]):
                _widened(needed[k, j], wide[j])
            for j in range(shape[1]):
                for i in range(shape[2]):
                    rows[j, i] = wide[j, i] or (j > 0 and wide[j - 1, i]) or (j + 1 < shape[1] and wide[j + 1, i])
        _smooth_across(source, z, kernels[0], rows, work)
        for y in range(ny):
            j = y // BLOCK_Y
            for i in range(shape[2]):
                if not needed[k, j, i]:
                    target[z, y, i * BLOCK_X : min((i + 1) * BLOCK_X, nx)] = level[k, j, i]
            first, last = _run(needed[k, j], 0)
            while first < last:
                run = first * BLOCK_X, min(last * BLOCK_X, nx)
                _smooth_row(work, y, (kernels[1], kernels[2]), run, line, target[z, y])
                first, last = _run(needed[k, j], last)
