"""Compiled marking of all voxels in reach of a mask, row by row."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def _add_row(source, target):  # type: ignore[no-untyped-def]
    """target |= source."""
    for x in range(target.size):
        target[x] |= source[x]


@njit(cache=True, nogil=True)
def mark_reach(mask, steps, found):  # type: ignore[no-untyped-def]
    """Set ``found`` to 1 in reach of the voxels of ``mask``, both uint8 [z, y, x].

    ``steps`` [n, 3] are steps along z and y, and how far the ball reaches along x there. Every row of the mask is grown
    along x by all widths, and added to the rows around.
    """
    nz, ny, nx = mask.shape
    widest = steps[:, 2].max()
    grown = np.zeros((widest + 1, nx), dtype=np.uint8)
    for z in range(nz):
        for y in range(ny):
            row = mask[z, y]
            if not row.any():
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
