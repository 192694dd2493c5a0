"""The outer mask of a particle, closed under open cracks, and how deep voxels lie in it.

The solid is closed with a ball of radius r: grown by r, then shrunk by r. Cracks and pores narrower than 2 r are
closed, and what is then enclosed is filled. Two to four times the widest crack at the surface is a good r; a larger
ball also fills dents of the surface, a smaller one leaves cracks open. The mask's volume at r / 1.5 and 1.5 r says how
much that choice matters: the plateau, a systematic error.
"""

from __future__ import annotations

from dataclasses import dataclass

import cc3d
import edt  # type: ignore[import-not-found, import-untyped, unused-ignore]
import fill_voids  # type: ignore[import-untyped, unused-ignore]
import numpy as np
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.estimate import Estimate
from cathoscope.volume.closing import EmptyBalls, closed_with_ball, empty_balls
from cathoscope.volume.distance import distance_within
from cathoscope.volume.segment import require_volume

Float32Array = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
VoxelSize = tuple[float, float, float]

_PLATEAU = 1.5  # radii either side of the closing radius at which the plateau is read
_WIDTHS = 3.0  # closing radius over the widest crack at the surface
_LARGEST = 0.25  # closing radius over the radius of the particle, at most
FACES = ("z low", "z high", "y low", "y high", "x low", "x high")


@dataclass(frozen=True)
class OuterMask:
    """What lies within the outer surface of a particle.

    Attributes
    ----------
    particle
        True inside, cracks, pores and hollow core included, [z, y, x].
    closing_radius
        Radius of the ball, um.
    volume
        Of the mask, um³; its systematic part is that of the plateau.
    plateau
        Volumes of the mask, um³, at 1 / 1.5, 1 and 1.5 times the radius.
    """

    particle: BoolArray
    closing_radius: float
    volume: Estimate
    plateau: tuple[float, float, float]


def signed_depth(mask: BoolArray, voxel_size: VoxelSize) -> Float32Array:
    """Distance (um) of voxel centres from the surface of a mask: positive inside, negative outside, [z, y, x].

    The surface is taken half a voxel from the centres beside it. Faces of the field are no surface.
    """
    half = np.float32(0.5 * float(np.prod(voxel_size)) ** (1 / 3))
    mask = np.ascontiguousarray(mask)
    if mask.all() or not mask.any():
        away = np.full(mask.shape, _longest(mask, voxel_size), dtype=np.float32)
    else:  # distances to the other label: both sides in one pass
        away = edt.edt(mask.view(np.uint8) + np.uint8(1), anisotropy=voxel_size, black_border=False, parallel=1)
    away -= half
    return np.asarray(np.negative(away, out=away, where=~mask), dtype=np.float32)


def inner_distance(mask: BoolArray, voxel_size: VoxelSize) -> Float32Array:
    """Distance (um) to the nearest voxel outside ``mask``, 0 there; where all is inside, the diagonal of the field."""
    if mask.all():
        return np.full(mask.shape, _longest(mask, voxel_size), dtype=np.float32)
    return distance_within(mask, voxel_size)


def _longest(mask: BoolArray, voxel_size: VoxelSize) -> float:
    """Diagonal of the field, um."""
    return float(np.linalg.norm(np.multiply(mask.shape, voxel_size)))


def outer_mask(solid: BoolArray, *, voxel_size: VoxelSize, closing_radius: float | None = None) -> OuterMask:
    """The outer mask of one particle.

    Parameters
    ----------
    solid
        True in oxide, [z, y, x]. Only its largest piece and what the closing ties to it count.
    closing_radius
        Of the ball, um; 2 to 4 times the widest crack at the surface. None: three times the widest that closing with
        a quarter of the particle's radius fills, and two voxels at least.

    Raises
    ------
    MeasurementError
        If nothing is solid, all is, or a radius is not positive.
    """
    require_mask(solid, voxel_size)
    if closing_radius is not None and not closing_radius > 0:
        raise MeasurementError(
            "the closing radius is no radius",
            expected="a positive length in um",
            found=f"{closing_radius:g}",
            cure="closing_radius=None chooses one",
        )
    voxel = float(np.prod(voxel_size))
    if closing_radius is None:
        radius, balls, particle = _chosen_closing(solid, voxel_size)
    else:
        radius, balls = float(closing_radius), empty_balls(solid, _PLATEAU * closing_radius, voxel_size)
        particle = _closed(solid, voxel_size, radius, balls)
    smaller, larger = (_closed(solid, voxel_size, radius * factor, balls) for factor in (1 / _PLATEAU, _PLATEAU))
    low, middle, high = (voxel * float(np.count_nonzero(mask)) for mask in (smaller, particle, larger))
    # the two sides are the ends of what one may choose: a uniform spread between them
    systematic = (max(low, middle, high) - min(low, middle, high)) / np.sqrt(12)
    return OuterMask(particle, radius, Estimate(middle, 0.0, float(systematic)), (low, middle, high))


def require_mask(solid: BoolArray, voxel_size: VoxelSize) -> None:
    """Refuse masks without solid or without void."""
    require_volume(np.broadcast_to(np.float32(0), solid.shape), voxel_size)
    share = float(np.count_nonzero(solid) / solid.size)
    if solid.dtype != np.bool_ or not 0 < share < 1:
        raise MeasurementError(
            "there is no particle to find" if share < 1 else "all of the field is solid",
            expected="a mask of bool, solid in a part of the field",
            found=f"{solid.dtype}, {100 * share:.3g} % solid",
            cure="solid = volume > grey_levels(volume).threshold",
        )


def _chosen_closing(solid: BoolArray, voxel_size: VoxelSize) -> tuple[float, EmptyBalls | None, BoolArray]:
    """Radius of the ball, three times the widest crack at the surface; `empty_balls`; the mask closed with it.

    The width is twice the largest depth of the void that a large ball closes.
    """
    edge = max(voxel_size)
    pieces = np.ascontiguousarray(fill_voids.fill(solid))
    size = float(np.count_nonzero(pieces) * np.prod(voxel_size))
    largest = max(_LARGEST * (3 * size / (4 * np.pi)) ** (1 / 3), 2 * edge)
    balls = empty_balls(solid, _PLATEAU * largest, voxel_size)
    closed = _closed(solid, voxel_size, largest, balls)
    outside = ~pieces & closed
    widest = 0.0
    if outside.any():
        # voids that reach the outside; a dent filled by the large ball is wide, but shallow: its depth is small
        widest = 2 * float(np.quantile(inner_distance(outside, voxel_size)[outside], 0.999))
    radius = float(np.clip(_WIDTHS * widest, 2 * edge, largest))
    return radius, balls, closed if radius == largest else _closed(solid, voxel_size, radius, balls)


def _closed(solid: BoolArray, voxel_size: VoxelSize, radius: float, balls: EmptyBalls | None) -> BoolArray:
    """Closing with a ball, enclosed voids filled; the largest piece (6 neighbours) of the result."""
    mask = filled_voids(closed_with_ball(solid, radius, voxel_size, balls))
    if cc3d.connected_components(mask, connectivity=6, return_N=True)[1] == 1:
        return mask
    return np.ascontiguousarray(cc3d.largest_k(mask, k=1, connectivity=6) > 0)


def filled_voids(mask: BoolArray) -> BoolArray:
    """Enclosed voids filled; a void cut by a face counts as enclosed if it is on that face."""
    mask = mask.copy()
    for axis in range(3):
        for end in (0, -1):
            where = [slice(None)] * 3
            where[axis] = slice(0, 1) if end == 0 else slice(-1, None)
            face = np.ascontiguousarray(mask[tuple(where)].squeeze(axis))
            if face.any():
                mask[tuple(where)] = np.expand_dims(fill_voids.fill(face), axis)
    # the filling's axes run the other way round: every later pass over mask and volume at once would leap
    return np.ascontiguousarray(fill_voids.fill(mask, in_place=True), dtype=np.bool_)


def faces_touched(mask: BoolArray) -> tuple[str, ...]:
    """Names of the faces of the field that a mask [z, y, x] touches, of "z low", "z high", "y low", ..."""
    ends = ((axis, end) for axis in range(3) for end in (0, -1))
    return tuple(name for name, (axis, end) in zip(FACES, ends, strict=True) if np.moveaxis(mask, axis, 0)[end].any())
