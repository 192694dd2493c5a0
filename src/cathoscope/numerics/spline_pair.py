"""Two volumes of one particle at one binning, as splines, compared voxel by voxel at any pose.

Besides the two splines no more than one number for every compared voxel is held at a time: what is compared is computed
anew, a few rows at a time, for every sum.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cathoscope.numerics.grey_comparison import Grey, Moments
from cathoscope.numerics.pyramid import box_of
from cathoscope.numerics.register_kernels import (
    accumulate_rows,
    derivative_rows,
    fixed_values,
    moved_values,
)

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
Box = tuple[slice, slice, slice]
Motion = tuple[Float64Array, Float64Array, Float64Array, Float64Array]

_PART = 1 << 18  # voxels, about, that are compared at a time


@dataclass(frozen=True)
class Pose:
    """Turn matrix for (z, y, x), shift in voxels of some level, scale."""

    turn: Float64Array
    shift: Float64Array
    scale: float = 1.0

    def at(self, factor: float) -> Pose:
        """The pose in voxels of a level that is coarser by ``factor``."""
        return replace(self, shift=self.shift / factor)

    def motion(self, centre: Float64Array) -> Motion:
        """As the kernels take it, about a voxel."""
        matrix = self.scale * self.turn
        # d fixed / d y takes the inverse transpose of the matrix, which is the turn over the scale
        return matrix, centre + self.shift - matrix @ centre, centre, self.turn / self.scale


STILL = Pose(np.eye(3), np.zeros(3))


@dataclass(frozen=True)
class SplinePair:
    """Splines of the fixed and of the moving volume, smoothed, and the voxels of the fixed one that are compared.

    ``factor`` voxels of the volume make one of the pair along each edge, and ``centre`` is the middle of the volume.
    """

    factor: int
    centre: Float64Array
    mask: BoolArray
    fixed: Float32Array
    moving: Float32Array

    @property
    def reach(self) -> float:
        """Farthest that a compared voxel lies from the middle along any axis."""
        along = zip(box_of(self.mask), self.centre, strict=True)
        return float(max(max(abs(part.start - middle), abs(part.stop - 1 - middle)) for part, middle in along))

    def parts(self) -> Iterator[slice]:
        """The rows, a few at a time; those without a voxel to compare are left out."""
        thickness = max(_PART // max(self.mask[0].size, 1), 1)
        for start in range(0, len(self.mask), thickness):
            rows = slice(start, min(start + thickness, len(self.mask)))
            if self.mask[rows].any():
                yield rows

    def values(self, pose: Pose, rows: slice) -> tuple[Float32Array, Float32Array]:
        """Fixed and moved values of the compared voxels of some rows; NaN outside the moving volume."""
        fixed = np.empty(np.count_nonzero(self.mask[rows]), np.float32)
        moved = np.empty_like(fixed)
        fixed_values(self.fixed, self.mask, rows.start, rows.stop, fixed)
        moved_values(self.moving, self.mask, rows.start, rows.stop, pose.motion(self.centre), moved)
        return fixed, moved

    def correlation(self, pose: Pose) -> float:
        """Of the fixed and the moved values."""
        moments = Moments()
        for rows in self.parts():
            moments += Moments.of(*self.values(pose, rows))
        return moments.correlation

    def matched(self, pose: Pose, grey: Grey, huber: float) -> Grey | None:
        """`Grey.matched` of all compared voxels; None if hardly any lies in the moving volume."""
        moments, largest, count = Moments(), 0.0, 0
        left = np.empty(np.count_nonzero(self.mask), np.float32)
        for rows in self.parts():
            fixed, moved = self.values(pose, rows)
            largest = max(largest, float(np.abs(fixed).max()))
            left[count : count + moved.size] = moved
            count += moved.size
            weight = grey.weights(grey.residual(fixed, moved), huber)
            moments += Moments.of(fixed, moved, weight)
        if np.count_nonzero(np.isfinite(left)) < 100:
            return None
        found, count = moments.matched(), 0
        for rows in self.parts():  # moved values make room for what is left of the fixed ones
            fixed = np.empty(np.count_nonzero(self.mask[rows]), np.float32)
            fixed_values(self.fixed, self.mask, rows.start, rows.stop, fixed)
            here = left[count : count + fixed.size]
            here[:] = np.abs(fixed - found.gain * here.astype(np.float64) - found.offset)
            count += fixed.size
        return found.with_spread(left, largest)

    def normal_equations(self, pose: Pose, law: tuple[float, float, float], size: int) -> tuple[Float64Array, ...]:
        """Sums [2, p, p] and score [p] of `register_kernels.accumulate`."""
        sums, score = np.zeros((2, size, size)), np.zeros(size)
        for rows in self.parts():
            whole = rows.start, rows.stop
            accumulate_rows((self.fixed, self.moving, self.mask), whole, pose.motion(self.centre), law, sums, score)
        return sums, score

    def derivatives(self, pose: Pose, law: tuple[float, float, float], box: Box, size: int) -> Float32Array:
        """Weighted derivatives in a box that holds all compared voxels of its rows, [p, z, y, x]; else zero."""
        columns = np.zeros((size, *(part.stop - part.start for part in box)), np.float32)
        volumes, low = (self.fixed, self.moving, self.mask), tuple(part.start for part in box)
        derivative_rows(volumes, low, pose.motion(self.centre), law, columns)
        return columns
