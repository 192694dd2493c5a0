"""Volume, surface, mean curvature and Euler number of a mask, from one pass over neighbourhoods of 2 x 2 x 2 voxels.

The surface is Crofton's: twice the number of crossings of straight lines with it per length, in the mean over all
directions. Lines run along the 13 directions between neighbouring voxels; each stands for the part of the sphere that
is nearest to it, whatever the edges of a voxel. Thirteen directions are few for a surface of one orientation (a flat
sheet along the grid reads 7 to 10 % low), so how the normals are spread is unfolded from the 13 counts and the mean is
corrected for what it misses of that spread.

Ohser and Muecklich, Statistical Analysis of Microstructures in Materials Science (2000); Legland, Kieu and Devaux,
Image Anal. Stereol. 26 (2007) 83; unfolding as Richardson, J. Opt. Soc. Am. 62 (1972) 55.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.estimate import Estimate
from cathoscope.volume.checks import checked_mask, checked_voxel
from cathoscope.volume.minkowski_kernels import count_between, count_inside, count_padded
from cathoscope.volume.minkowski_tables import Lattice, crossings, euler, lattice, plane_euler

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
VoxelSize = tuple[float, float, float]

_ROUNDS = 200  # of the unfolding
# What remains wrong of a surface of a single orientation, in the mean over orientations, relative.
_ONE_ORIENTATION = 0.02
# Scatter over places of the grid, in edges of a voxel: of the volume of a body over the root of its surface, of its
# surface over the fourth root, and of its mean curvature; measured on balls of radius 2 to 42.
_VOLUME_SCATTER, _SURFACE_SCATTER, _CURVATURE_SCATTER = 0.33, 0.7, 0.6
# What small balls read too low, times radius over edge squared, relative: surface and mean curvature. Of their volume
# (mean curvature) edge^2 / 12, if a voxel counts as soon as half of it is inside.
_SURFACE_LOSS, _CURVATURE_LOSS, _VOLUME_LOSS = 0.37, 0.2, 1 / 12


class Functionals(NamedTuple):
    """Sizes and shape of the set of voxels, inside the region looked at.

    Attributes
    ----------
    volume
        um3.
    surface
        um2; faces that the end of a region cuts are not counted.
    mean_curvature
        Integral of the mean curvature over the surface, um: 4 pi R of a ball, negative for a void seen from the solid.
    euler
        Parts - tunnels + cavities. A whole number without a region; with one, its density times the region. Gaps and
        walls thinner than a voxel are torn or bridged at random: compare both connectivities.
    region_volume
        Volume looked at, um3; infinite without a region (nothing lies around the volume).
    fabric
        Mean of the products of the components of the surface's unit normals, [3, 3] in z, y, x, of trace 1: a third on
        the diagonal where all orientations are equal, about 0.96 across parallel sheets.
    """

    volume: Estimate
    surface: Estimate
    mean_curvature: Estimate
    euler: float
    region_volume: float
    fabric: FloatArray


class FunctionalCurve(NamedTuple):
    """Functionals of {grey >= level} over levels; arrays of one value a level, units as in `Functionals`."""

    level: FloatArray
    volume: FloatArray
    surface: FloatArray
    mean_curvature: FloatArray
    euler: FloatArray


def functionals(
    mask: BoolArray,
    *,
    voxel_size: VoxelSize,
    region: BoolArray | None = None,
    connectivity: int = 26,
    cut: bool = False,
) -> Functionals:
    """Volume, surface, integral mean curvature and Euler number of a mask.

    Parameters
    ----------
    mask
        The set, bool [z, y, x].
    voxel_size
        Edges of a voxel (um; z, y, x).
    region
        Where to look, bool [z, y, x]: a box, a ball (see `regions`) or a particle. The set is taken to go
        on beyond it in the same way. Without one, nothing is taken to lie around the volume.
    connectivity
        26 (for pores: voxels that share a corner are joined) or 6 (for the solid: only through faces).
    cut
        The volume is cut out of a larger one: its faces, where the mask touches them, are no surface of the mask and
        have no curvature. The Euler number is that of the part that was cut out. Not together with a region.

    Raises
    ------
    MeasurementError
        If the mask is empty, or touches all six ends of the volume and neither ``region`` nor ``cut`` is given.
    """
    voxel, mask = checked_voxel(voxel_size), checked_mask("mask", mask)
    _require_connectivity(connectivity)
    if region is None and not cut:
        _require_room(mask)
    counts, cells = _counts(mask.view(np.uint8), np.uint8(1), region)
    scale, volume = _scale_and_volume(mask, region, cells, voxel)
    found = _assembled(counts, scale, volume, voxel, connectivity)
    if region is not None:
        return found._replace(region_volume=scale * cells * float(np.prod(voxel)))
    if not cut or not _faces(mask):
        return found
    return _assembled(_counts_within(mask), 1.0, volume, voxel, connectivity)._replace(euler=found.euler)


def functionals_curve(
    grey: NDArray[np.floating],
    levels: ArrayLike,
    *,
    voxel_size: VoxelSize,
    region: BoolArray | None = None,
    connectivity: int = 6,
) -> FunctionalCurve:
    """Functionals of {grey >= level}: how much size, surface and connection depend on a threshold.

    Noise makes parts and tunnels of single voxels: smooth the grey volume first if the Euler number is wanted. For the
    pores {grey < level} of a particle, give -grey with the levels -level, ``region`` the particle, and 26.

    Parameters
    ----------
    grey
        Grey volume [z, y, x]; NaN is below every level.
    levels
        Thresholds, rising, in the unit of the grey.
    voxel_size, region, connectivity
        As in `functionals`.

    Raises
    ------
    MeasurementError
        If the volume or the levels are unusable. A level that no voxel reaches gives zeros.
    """
    voxel = checked_voxel(voxel_size)
    _require_connectivity(connectivity)
    values = _checked_grey(grey)
    level = np.atleast_1d(np.asarray(levels, dtype=float))
    if level.size == 0 or not np.all(np.isfinite(level)) or np.any(np.diff(level) <= 0):
        raise MeasurementError("the levels cannot be", expected="rising finite numbers", found=str(level.tolist()))
    rows = []
    for one in level.astype(np.float32):
        counts, cells = _counts(values, one, region)
        scale, volume = _scale_and_volume(values >= one, region, cells, voxel)
        found = _assembled(counts, scale, volume, voxel, connectivity)
        rows.append((found.volume.value, found.surface.value, found.mean_curvature.value, found.euler))
    return FunctionalCurve(level, *np.array(rows).T)


def _counts(values: NDArray[np.generic], level: object, region: BoolArray | None) -> tuple[NDArray[np.int64], int]:
    """Histogram of the 256 neighbourhoods, and how many there are."""
    counts = np.zeros(256, dtype=np.int64)
    if region is None:
        count_padded(values, level, counts)
        return counts, int(counts.sum())
    looked = checked_mask("region", region, like=values)
    count_inside(values, level, looked.view(np.uint8), counts)
    if counts.sum() == 0:
        raise MeasurementError("the region is too thin", expected="two voxels or more each way", found="less")
    return counts, int(counts.sum())


def _faces(mask: BoolArray) -> list[BoolArray]:
    """The ends of a volume that a mask touches, each twice, one copy behind the other, along its axis."""
    ends = ((axis, np.moveaxis(mask, axis, 0)[end]) for axis in range(3) for end in (0, -1))
    return [np.stack([end, end], axis=axis) for axis, end in ends if end.any()]


def _counts_within(mask: BoolArray) -> FloatArray:
    """Histogram of the 256 neighbourhoods without those that lie across a face of the volume.

    Neighbourhoods begin in the middle of the first voxels. In the half of these up to the face the set is taken to be
    as it is in their middle.
    """
    counts, halves = np.zeros(256, dtype=np.int64), np.zeros(256, dtype=np.int64)
    count_between(mask.view(np.uint8), np.uint8(1), counts)
    for face in _faces(mask):
        count_between(face.view(np.uint8), np.uint8(1), halves)
    return np.asarray(counts + 0.5 * halves)


def _scale_and_volume(mask: BoolArray, region: BoolArray | None, cells: int, voxel: VoxelSize) -> tuple[float, float]:
    """Voxels of the region over neighbourhoods counted, and the volume (um3) of the mask in it."""
    if region is None:
        return 1.0, float(np.count_nonzero(mask) * np.prod(voxel))
    return np.count_nonzero(region) / cells, float(np.count_nonzero(mask & region) * np.prod(voxel))


def _assembled(
    counts: NDArray[np.int64] | FloatArray, scale: float, volume: float, voxel: VoxelSize, connectivity: int
) -> Functionals:
    """Functionals from a histogram of neighbourhoods; without uncertainties where there is no surface."""
    grid = lattice(voxel)
    cell, euler_number = float(np.prod(voxel)), scale * float(euler(connectivity) @ counts)
    along = scale * cell * (crossings() @ counts) / grid.line_length
    curvature = 2 * np.pi * scale * float((grid.plane_weight * grid.plane_spacing) @ (plane_euler() @ counts))
    if not along.any():
        nothing = Estimate(0.0)
        return Functionals(Estimate(volume), nothing, nothing, euler_number, np.inf, np.eye(3) / 3)
    share = _unfolded(along, grid)
    surface, fabric = float(share.sum()), (grid.normals.T * share) @ grid.normals / share.sum()
    aligned = float(np.sqrt(1.5 * np.sum((fabric - np.eye(3) / 3) ** 2)))  # 0 to 1
    edge = cell ** (1 / 3)
    size = 3 * volume / surface / edge if volume > 0 else 1.0  # the radius of balls of that surface per volume
    faces = surface / edge**2
    bodies = max(1.0, faces / (4 * np.pi * size**2))  # of that size with that surface: they scatter one by one
    return Functionals(
        Estimate(volume, _VOLUME_SCATTER * faces**0.5 * cell, _VOLUME_LOSS * abs(curvature) * edge**2),
        Estimate(
            surface,
            _SURFACE_SCATTER * (faces * bodies) ** 0.25 * edge**2,
            surface * float(np.hypot(_ONE_ORIENTATION * aligned, _SURFACE_LOSS / size**2)),
        ),
        Estimate(
            curvature,
            _CURVATURE_SCATTER * bodies**0.5 * edge,
            abs(curvature) * float(np.hypot(_ONE_ORIENTATION * aligned, _CURVATURE_LOSS / size**2)),
        ),
        euler_number,
        np.inf,
        fabric,
    )


def _unfolded(along: FloatArray, grid: Lattice) -> FloatArray:
    """Surface (um2) by orientation of its normal, from the crossings per length of the 13 directions.

    Starts from all orientations alike, which it keeps if the counts are those of such a surface, and makes the counts
    likely step by step. Every step keeps the weighted sum of the crossings, so that the total is Crofton's surface over
    its mean response to the orientations found.
    """
    total = 2 * float(grid.line_weight @ along)
    share = np.full(grid.normals.shape[0], total / grid.normals.shape[0])
    weight = grid.line_weight @ grid.response
    for _ in range(_ROUNDS):
        share *= ((grid.line_weight * along / (grid.response @ share)) @ grid.response) / weight
    return share


def _checked_grey(grey: NDArray[np.floating]) -> NDArray[np.float32]:
    values = np.asarray(grey)
    if values.ndim != 3 or values.size == 0 or values.dtype.kind not in "fiu" or not np.isfinite(values).any():
        raise MeasurementError(
            "the grey volume is none",
            expected="finite numbers [z, y, x]",
            found=f"{values.dtype} of shape {values.shape}",
        )
    return np.ascontiguousarray(values, dtype=np.float32)


def _require_connectivity(connectivity: int) -> None:
    if connectivity not in (6, 26):
        raise MeasurementError("no such connectivity", expected="6 or 26", found=str(connectivity))


def _require_room(mask: BoolArray) -> None:
    if all(np.take(mask, end, axis=axis).any() for axis in range(3) for end in (0, -1)):
        raise MeasurementError(
            "the mask touches all six ends of the volume, whose faces would count as its surface",
            expected="room around it, or a region",
            found=f"{np.count_nonzero(mask)} of {mask.size} voxels",
            cure="region=np.ones(mask.shape, dtype=bool)",
        )
