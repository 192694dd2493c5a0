"""Compiled counts of the 256 neighbourhoods of 2 x 2 x 2 voxels."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def _bits(rows, level, x):  # type: ignore[no-untyped-def]
    """Which of the four voxels at ``x`` of the rows (z, y), (z, y + 1), (z + 1, y), (z + 1, y + 1) reach the level."""
    code = 0
    for r in range(4):
        if rows[r][x] >= level:
            code |= 1 << (2 * r)
    return code


@njit(cache=True, nogil=True)
def count_padded(values, level, counts):  # type: ignore[no-untyped-def]
    """Add to ``counts`` [256] the neighbourhoods of a volume with nothing around it.

    Bit 4 z + 2 y + x of a neighbourhood is set if its voxel (z, y, x) has at least ``level``. Neighbourhoods that lie
    half outside are counted, their outer voxels not set.
    """
    nz, ny, nx = values.shape
    below = np.empty(nx, dtype=values.dtype)
    below[:] = level - 1
    for z in range(-1, nz):
        for y in range(-1, ny):
            rows = (
                values[z, y] if z >= 0 and y >= 0 else below,
                values[z, y + 1] if z >= 0 and y + 1 < ny else below,
                values[z + 1, y] if z + 1 < nz and y >= 0 else below,
                values[z + 1, y + 1] if z + 1 < nz and y + 1 < ny else below,
            )
            code = 0
            for x in range(nx):
                code = (code >> 1) | (_bits(rows, level, x) << 1)
                counts[code] += 1
                code &= 0b10101010
            counts[code >> 1] += 1


@njit(cache=True, nogil=True)
def count_inside(values, level, region, counts):  # type: ignore[no-untyped-def]
    """As `count_padded`, of the neighbourhoods that lie with all eight voxels in ``region`` (1, 0)."""
    nz, ny, nx = values.shape
    for z in range(nz - 1):
        for y in range(ny - 1):
            rows = values[z, y], values[z, y + 1], values[z + 1, y], values[z + 1, y + 1]
            looked = region[z, y], region[z, y + 1], region[z + 1, y], region[z + 1, y + 1]
            code, first = _bits(rows, level, 0), _bits(looked, 1, 0)
            for x in range(1, nx):
                new, second = _bits(rows, level, x), _bits(looked, 1, x)
                if first == 0b1010101 and second == 0b1010101:
                    counts[code | (new << 1)] += 1
                code, first = new, second


@njit(cache=True, nogil=True)
def count_between(values, level, counts):  # type: ignore[no-untyped-def]
    """As `count_padded`, of the neighbourhoods that lie with all eight voxels in the volume."""
    nz, ny, nx = values.shape
    for z in range(nz - 1):
        for y in range(ny - 1):
            rows = values[z, y], values[z, y + 1], values[z + 1, y], values[z + 1, y + 1]
            code = _bits(rows, level, 0)
            for x in range(1, nx):
                code |= _bits(rows, level, x) << 1
                counts[code] += 1
                code = (code >> 1) & 0b01010101
