"""Closing of a mask with a ball of any size: what no such ball, moved about outside of the mask, can reach.

Up to a dozen voxels all voxels in reach of the mask are marked, and then all in reach of those that were not. A larger
ball is moved over every second voxel only. Its surface hardly shows that: between two places it is off by 1 / (2 r) of
a voxel, a fiftieth. That it might stay away from the solid by up to two voxels would show, so at each place c the
largest empty ball is taken, of radius d(c) >= r, which touches the solid. Both d(c) and min over c of
|p - c|^2 - d(c)^2, negative where a ball reaches p, are lower envelopes of parabolas, axis by axis.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cathoscope.volume.closing_kernels import lower_envelope, mark_untouched
from cathoscope.volume.reach import within_reach

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
VoxelSize = tuple[float, float, float]

_SMALL = 12.0  # voxels up to which all voxels in reach are marked
_SLACK = 0.08  # voxels by which the ball of one radius, on voxels only, stays away from the solid in the mean


class EmptyBalls(NamedTuple):
    """The largest empty ball around each point of a grid of half as many points: its ``radius`` (um), [z, y, x].

    ``margin`` is how many voxels (z, y, x) the grid goes on beyond the field on either side; ``spacing`` that of its
    points, um.
    """

    radius: Float32Array
    margin: NDArray[np.int_]
    spacing: Float64Array


def empty_balls(solid: BoolArray, farthest: float, voxel_size: VoxelSize) -> EmptyBalls | None:
    """What closings of a mask [z, y, x] with balls of up to ``farthest`` (um) have in common; None if they are small.

    The radius is the distance to the centre of the nearest voxel of the solid.
    """
    edges = np.asarray(voxel_size, dtype=np.float64)
    if farthest <= _largest_small(voxel_size):
        return None
    margin = np.ceil(farthest / edges).astype(int) + 1
    touching = any(np.take(solid, end, axis=axis).any() for axis in range(3) for end in (0, -1))
    padded = np.pad(solid, [(n, n) for n in margin], mode="edge") if touching else solid
    starts = 0 * margin if touching else -margin
    counts = (np.asarray(solid.shape) + 2 * margin) // 2 + 1
    axes = [edge * (first + 2 * np.arange(n)) for edge, first, n in zip(edges, starts, counts, strict=True)]
    squares = np.empty((*padded.shape[:2], counts[2]), dtype=np.float32)
    for plane, found in zip(padded, squares, strict=True):
        line = np.where(plane, np.float32(0), np.float32(np.inf))[None]
        lower_envelope(line, float(edges[2]), axes[2], np.inf, found[None])
    for axis in (1, 0):
        squares = _along(squares, axis, float(edges[axis]), axes[axis], np.inf)
    return EmptyBalls(np.sqrt(squares, out=squares), margin, 2 * edges)


def closed_with_ball(
    solid: BoolArray, radius: float, voxel_size: VoxelSize, balls: EmptyBalls | None = None
) -> BoolArray:
    """A mask [z, y, x] closed with a ball of ``radius`` (um).

    What touches a face of the field goes on beyond it as it is there; void beside it stays void. ``balls`` are those of
    `empty_balls` up to this radius or a larger one, if they are known.
    """
    if radius > _largest_small(voxel_size):
        balls = empty_balls(solid, radius, voxel_size) if balls is None else balls
        return solid if balls is None else _not_reached(solid.shape, radius, balls) | solid
    margin = [int(np.ceil(radius / edge)) + 1 for edge in voxel_size]
    padded = np.pad(solid, [(n, n) for n in margin], mode="edge")
    apart = ~within_reach(padded, radius, voxel_size)
    inner = tuple(slice(n, -n) for n in margin)
    return ~within_reach(apart, radius, voxel_size)[inner] | solid


def _largest_small(voxel_size: VoxelSize) -> float:
    """Radius (um) of the largest ball that is tried on every voxel."""
    return _SMALL * float(np.cbrt(np.prod(voxel_size)))


def _not_reached(shape: tuple[int, ...], radius: float, balls: EmptyBalls) -> BoolArray:
    """Voxels that none of the empty balls of more than ``radius`` reaches."""
    slack = np.float32(_SLACK * float(np.prod(balls.spacing / 2)) ** (1 / 3))
    field = np.where(balls.radius > radius, -((balls.radius - slack) ** 2), np.float32(np.inf))
    for axis in range(2):
        spacing = float(balls.spacing[axis])
        # what is not negative stays so: no ball reaches that far
        field = _along(field, axis, spacing, 0.5 * spacing * (balls.margin[axis] + np.arange(shape[axis])), 0.0)
    untouched = np.empty(shape, dtype=bool)
    mark_untouched(field, 0.5 * balls.spacing[2], balls.margin[2], untouched)
    return untouched


def _along(field: Float32Array, axis: int, spacing: float, places: Float64Array, limit: float) -> Float32Array:
    """`lower_envelope` along an axis."""
    shape = list(field.shape)
    shape[axis] = places.size
    found = np.empty(shape, dtype=np.float32)
    lower_envelope(np.moveaxis(field, axis, -1), spacing, places, limit, np.moveaxis(found, axis, -1))
    return found
