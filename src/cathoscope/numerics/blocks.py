"""Blocks of voxels whose sums are nearly independent, and how much of the correlation they miss."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]

_BLOCKS = 8  # along the particle
_SMALLEST_EDGE = 4  # voxels
_END_OF_CORRELATION = 0.05


def blocks_of(places: NDArray[np.int32]) -> tuple[Int64Array, Int64Array]:
    """Number of the block of every voxel (n, 3), without gaps, and the blocks' edges (z, y, x), voxel."""
    low, high = places.min(axis=0), places.max(axis=0)
    edges = np.maximum(-(-(high - low + 1) // _BLOCKS), _SMALLEST_EDGE).astype(np.int64)
    z, y, x = ((places - low) // edges).T
    number = np.unique((z * (_BLOCKS + 1) + y) * (_BLOCKS + 1) + x, return_inverse=True)[1]
    return number.astype(np.int64), edges


def independent_count(residual: Float64Array, block: Int64Array) -> float:
    """Voxels over those that are correlated with one: the variance of sums over blocks over that of the voxels."""
    centred = residual - residual.mean()
    sums = np.bincount(block, weights=centred)
    return residual.size / max(float(np.sum(sums**2)) / max(float(np.sum(centred**2)), 1e-300), 1.0)


def share_within_blocks(residual: Float64Array, places: NDArray[np.int32], edges: Int64Array) -> float:
    """Variance of a sum over blocks, taken as independent, over what it truly is.

    Along each axis the autocorrelation of the residual is summed until it has died out or reaches the length of a
    block: inside blocks of edge b only the share 1 - lag / b of the pairs at each lag is met. 1 for white noise.
    """
    low = places.min(axis=0)
    shape = tuple(places.max(axis=0) - low + 1)
    index = tuple((places - low).T)
    volume, inside = np.zeros(shape, np.float32), np.zeros(shape, bool)
    volume[index], inside[index] = residual - residual.mean(), True
    variance = max(float(np.mean((residual - residual.mean()) ** 2)), 1e-300)
    share = 1.0
    for axis, edge in enumerate(edges):
        along, here = np.moveaxis(volume, axis, 0), np.moveaxis(inside, axis, 0)
        whole, met = 1.0, 1.0
        for lag in range(1, int(edge)):
            pairs = max(int(np.count_nonzero(here[lag:] & here[:-lag])), 1)
            found = float(np.sum(along[lag:] * along[:-lag], dtype=np.float64)) / pairs / variance
            if found < _END_OF_CORRELATION:
                break
            whole += 2 * found
            met += 2 * found * (1 - lag / edge)
        share *= met / whole
    return share
