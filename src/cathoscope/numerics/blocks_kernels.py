"""Compiled sums over a volume and the same one shifted."""

from __future__ import annotations

from numba import njit


@njit(cache=True, nogil=True)
def lagged_product(volume, mask, shift):  # type: ignore[no-untyped-def]
    """Sum of the products of all voxels with those a shift (z, y, x) away, not below zero, and the masked pairs."""
    total, pairs = 0.0, 0
    nz, ny, nx = volume.shape
    for z in range(nz - shift[0]):
        for y in range(ny - shift[1]):
            one, other = volume[z, y], volume[z + shift[0], y + shift[1]]
            inside, also = mask[z, y], mask[z + shift[0], y + shift[1]]
            for x in range(nx - shift[2]):
                total += one[x] * other[x + shift[2]]
                pairs += inside[x] & also[x + shift[2]]
    return total, pairs
