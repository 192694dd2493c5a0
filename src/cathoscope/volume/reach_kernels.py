"""Compiled marking of all voxels in reach of a mask, row by row."""

from __future__ import annotations

import numpy as np
from numba import njit

_EMPTY, _MIXED, _FULL = 0, 1, 2


@njit(cache=True, nogil=True)
def _add_row(source, target):  # type: ignore[no-untyped-def]
    """target |= source."""
    for x in range(target.size):
        target[x] |= source[x]


@njit(cache=True, nogil=True)
def _kind(row):  # type: ignore[no-untyped-def]
    """Whether all of a row is 0, or all is 1."""
    count = 0
    for x in range(row.size):
        count += row[x]
    return _EMPTY if count == 0 else (_FULL if count == row.size else _MIXED)


@njit(cache=True, nogil=True)
def _among_full(kind, z, y):  # type: ignore[no-untyped-def]
    """Whether the rows before, behind, above and below are full; beyond a face they are."""
    nz, ny = kind.shape
    return (
        (z == 0 or kind[z - 1, y] == _FULL)
        and (z + 1 == nz or kind[z + 1, y] == _FULL)
        and (y == 0 or kind[z, y - 1] == _FULL)
        and (y + 1 == ny or kind[z, y + 1] == _FULL)
    )


@njit(cache=True, nogil=True)
def mark_reach(mask, steps, found):  # type: ignore[no-untyped-def]
    """Set ``found`` to 1 in reach of the voxels of ``mask``, both uint8 [z, y, x].

    ``steps`` [n, 3] are steps along z and y, and how far the ball reaches along x there. Every row of the mask is grown
    along x by all widths, and added to the rows around. Not rows that are full and lie among full ones: what they reach
    is in reach of the rows at the border of these, or in the mask.
    """
    nz, ny, nx = mask.shape
    widest = steps[:, 2].max()
    grown = np.zeros((widest + 1, nx), dtype=np.uint8)
    kind = np.empty((nz, ny), dtype=np.uint8)
    for z in range(nz):
        for y in range(ny):
            kind[z, y] = _kind(mask[z, y])
    for z in range(nz):
        for y in range(ny):
            if kind[z, y] == _EMPTY:
                continue
            row = mask[z, y]
            if kind[z, y] == _FULL and _among_full(kind, z, y):
                found[z, y] = row
                continue
            grown[0] = row
            for w in range(1, min(widest, nx - 1) + 1):
                grown[w] = grown[w - 1]
                _add_row(row[w:], grown[w, : nx - w])
                _add_row(row[: nx - w], grown[w, w:])
            for k in range(steps.shape[0]):
                a, b = z + steps[k, 0], y + steps[k, 1]
                if 0 <= a < nz and 0 <= b < ny:
                    _add_row(grown[min(steps[k, 2], nx - 1)], found[a, b])
