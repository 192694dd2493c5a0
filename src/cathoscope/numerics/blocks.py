"""Blocks of voxels whose sums are nearly independent, and how much of the correlation they miss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cathoscope.numerics.blocks_kernels import lagged_product
from cathoscope.numerics.pyramid import box_of

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

_BLOCKS = 8  # along the particle
_SMALLEST_EDGE = 4  # voxels
_END_OF_CORRELATION = 0.05


@dataclass(frozen=True)
class Blocks:
    """The box around some voxels, cut into blocks: its first voxel, the blocks' edges and their count, (z, y, x)."""

    low: Int64Array
    edges: Int64Array
    counts: Int64Array

    @property
    def count(self) -> int:
        """Number of blocks, those without a voxel among them."""
        return int(np.prod(self.counts))

    def numbers(self, mask: BoolArray, first: Sequence[int] = (0, 0, 0)) -> Int64Array:
        """Block of every masked voxel, in their order, of a box that begins at the voxel ``first``."""
        z, y, x = (
            np.clip((np.arange(size) + begin - low) // edge, 0, count - 1)
            for size, begin, low, edge, count in zip(mask.shape, first, self.low, self.edges, self.counts, strict=True)
        )
        number = (z[:, None, None] * self.counts[1] + y[:, None]) * self.counts[2] + x
        return np.asarray(number[mask], dtype=np.int64)


def blocks_of(mask: BoolArray) -> Blocks:
    """Blocks of 1/8 of the extent of a mask along each axis."""
    box = box_of(mask)
    low, high = np.array([part.start for part in box]), np.array([part.stop - 1 for part in box])
    edges = np.maximum(-(-(high - low + 1) // _BLOCKS), _SMALLEST_EDGE)
    return Blocks(low, edges, (high - low) // edges + 1)


@dataclass(frozen=True)
class BlockSums:
    """Number, sum and sum of squares of the values in every block, ``[3, block]``."""

    sums: Float64Array

    @classmethod
    def of(cls, values: Float64Array, block: Int64Array, count: int) -> BlockSums:
        """Of values whose blocks are given."""
        weights = (None, values, values**2)
        return cls(np.stack([np.bincount(block, weights=one, minlength=count) for one in weights]).astype(np.float64))

    def __add__(self, other: BlockSums) -> BlockSums:
        """Of both together."""
        return BlockSums(self.sums + other.sums)

    @property
    def independent(self) -> float:
        """Values over those that are correlated with one: the variance of sums over blocks over that of the values."""
        number, total, squares = self.sums.sum(axis=1)
        mean = total / number
        of_blocks = float(np.sum((self.sums[1] - mean * self.sums[0]) ** 2))
        of_values = max(float(squares - number * mean**2), 1e-300)
        return float(number) / max(of_blocks / of_values, 1.0)


def share_within_blocks(volume: Float32Array, mask: BoolArray, edges: Int64Array) -> float:
    """Variance of a sum over blocks, taken as independent, over what it truly is.

    Along each axis the autocorrelation of the masked voxels, whose mean is zero and all others of which are zero too,
    is summed until it has died out or reaches the length of a block: inside blocks of edge b only the share 1 - lag / b
    of the pairs at each lag is met. 1 for white noise.
    """
    none = np.zeros(3, dtype=np.int64)
    total, count = lagged_product(volume, mask, none)
    variance = max(total / max(count, 1), 1e-300)
    share = 1.0
    for axis, edge in enumerate(edges):
        whole, met = 1.0, 1.0
        for lag in range(1, int(edge)):
            shift = none.copy()
            shift[axis] = lag
            total, pairs = lagged_product(volume, mask, shift)
            found = total / max(pairs, 1) / variance
            if found < _END_OF_CORRELATION:
                break
            whole += 2 * found
            met += 2 * found * (1 - lag / edge)
        share *= met / whole
    return share
