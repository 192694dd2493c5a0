"""Closing of a mask with a ball of any size: what no such ball, moved about outside of the mask, can reach.

Up to a dozen voxels all voxels in reach of the mask are marked, and then all in reach of those that were not. A larger
ball is moved over every second voxel only. Its surface hardly shows that: between two places it is off by 1 / (2 r) of
a voxel, a fiftieth. That it might stay away from the solid by up to two voxels would show, so at each place c the
largest empty ball is taken, of radius d(c) >= r, which touches the solid. Both d(c) and min over c of
|p - c|^2 - d(c)^2, negative where a ball reaches p, are lower envelopes of parabolas, axis by axis.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cathoscope.volume.closing_kernels import lower_envelope
from cathoscope.volume.reach import within_reach

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
VoxelSize = tuple[float, float, float]

_SMALL = 12.0  # voxels up to which all voxels in reach are marked
_SLACK = 0.08  # voxels by which the ball of one radius, on voxels only, stays away from the solid in the mean


def closed_with_ball(solid: BoolArray, radius: float, voxel_size: VoxelSize) -> BoolArray:
    """A mask [z, y, x] closed with a ball of ``radius`` (um).

    What touches a face of the field goes on beyond it as it is there; void beside it stays void.
    """
    edges = np.asarray(voxel_size, dtype=np.float64)
    margin = np.ceil(radius / edges).astype(int) + 1
    if radius > _SMALL * float(edges.prod()) ** (1 / 3):
        return _not_reached(solid, radius, edges, margin) | solid
    padded = np.pad(solid, [(n, n) for n in margin], mode="edge")
    inner = tuple(slice(n, -n) for n in margin)
    apart = ~within_reach(padded, radius, voxel_size)
    return ~within_reach(apart, radius, voxel_size)[inner] | solid


def _not_reached(solid: BoolArray, radius: float, edges: Float64Array, margin: NDArray[np.int_]) -> BoolArray:
    """Voxels that no ball reaches whose centre is on every second voxel, up to a ``margin`` beyond the field."""
    touching = any(np.take(solid, end, axis=axis).any() for axis in range(3) for end in (0, -1))
    padded = np.pad(solid, [(n, n) for n in margin], mode="edge") if touching else solid
    starts = 0 * margin if touching else -margin
    counts = (np.asarray(solid.shape) + 2 * margin) // 2 + 1
    axes = [edge * (first + 2 * np.arange(n)) for edge, first, n in zip(edges, starts, counts, strict=True)]
    field = _largest_balls(padded, edges, axes, radius)
    for axis, (n, edge) in enumerate(zip(solid.shape, edges, strict=True)):
        field = _along(field, axis, 2 * float(edge), edge * (margin[axis] + np.arange(n)))
    return field > 0


def _largest_balls(solid: BoolArray, edges: Float64Array, axes: list[Float64Array], radius: float) -> Float32Array:
    """-d^2 at the points of ``axes`` (um) with an empty ball of more than ``radius``, inf at others.

    d is the distance to the centre of the nearest voxel of the solid, less the slack that balls of one radius have.
    """
    squares = np.empty((*solid.shape[:2], axes[2].size), dtype=np.float32)
    for plane, found in zip(solid, squares, strict=True):
        line = np.where(plane, np.float32(0), np.float32(np.inf))[None]
        lower_envelope(line, float(edges[2]), axes[2], found[None])
    for axis in (1, 0):
        squares = _along(squares, axis, float(edges[axis]), axes[axis])
    distance = np.sqrt(squares)
    slack = np.float32(_SLACK * float(edges.prod()) ** (1 / 3))
    return np.where(distance > radius, -((distance - slack) ** 2), np.float32(np.inf))


def _along(field: Float32Array, axis: int, spacing: float, places: Float64Array) -> Float32Array:
    """`lower_envelope` along an axis."""
    shape = list(field.shape)
    shape[axis] = places.size
    found = np.empty(shape, dtype=np.float32)
    lower_envelope(np.moveaxis(field, axis, -1), spacing, places, np.moveaxis(found, axis, -1))
    return found
