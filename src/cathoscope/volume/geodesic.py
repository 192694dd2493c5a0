"""How far oxygen or lithium must go inside the solid to reach a surface: geodesic depth and its tortuosity.

The depth of a point of the oxide is the length of the shortest path within the oxide to the outside or to a pore
that is open to the outside. Closed voids and cracks that end inside are in its way.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.estimate import Estimate
from cathoscope.volume.checks import checked_mask, checked_voxel
from cathoscope.volume.distance import distance_within
from cathoscope.volume.geodesic_kernels import lengths_of, march, path_sums, seed_front

Float32Array = NDArray[np.float32]

# In edges of a voxel: how far the centres of the nearest voxels of a phase lie behind its surface, by counting over
# planes of all directions (0.29) and spheres (0.1 to 0.35); and what is not known of it.
SURFACE_OFFSET, SURFACE_OFFSET_STD = 0.25, 0.12
_BITS = 10  # of a coordinate in 32 bits
_TIE = 1e-6  # relative: distances that are one
_NEVER = np.float32(1e12)  # um: longer than any path
_CELL = np.dtype([("length", np.float32), ("anchor", np.int32)])
_WIDE_CELL = np.dtype([("length", np.float32), ("anchor", np.int64)], align=True)


class PathStatistics(NamedTuple):
    """Depths of a particle.

    Attributes
    ----------
    mean, median, longest
        Length (um) of the shortest paths from all voxels of the solid that a path joins to a surface.
    quantile_90
        Nine of ten voxels are nearer (um).
    tortuosity
        Mean of the length of the path over the straight distance to the nearest surface, solid or not between.
    cut_off
        Share of the solid that no path joins to a surface.
    """

    mean: Estimate
    median: Estimate
    quantile_90: Estimate
    longest: Estimate
    tortuosity: float
    cut_off: float


def path_length(
    solid: NDArray[np.bool_],
    source: NDArray[np.bool_],
    *,
    voxel_size: tuple[float, float, float],
    straight: Float32Array | None = None,
) -> Float32Array:
    """Length of the shortest path through the solid to the nearest surface, at every voxel of the solid.

    Parameters
    ----------
    solid
        Where paths may lead, bool [z, y, x]; they step through faces of voxels (6 neighbours).
    source
        What they lead to, bool [z, y, x]: the outside and the pores open to it, as from `connection.open_to_outside`.
        Solid voxels in it count as source.
    voxel_size
        Edges z, y, x of a voxel, um.
    straight
        `straight_distance` of the source, if it is known.

    Returns
    -------
    float32 [z, y, x]
        Length in um; 0 outside the solid, inf where no path leads to a source. A straight path has its Euclidean
        length; one around obstacles is too long by about 1 % of its bent part. The surface lies `SURFACE_OFFSET`
        of a voxel's edge before the centres of the source's voxels.

    Raises
    ------
    MeasurementError
        If a mask is empty or they differ in shape, or no voxel of one touches the other.
    """
    inside, start = checked_mask("solid", solid), checked_mask("source", source, solid)
    edges = checked_voxel(voxel_size)
    if max(inside.shape) > 1 << 20:
        raise MeasurementError("the volume is too long", expected="below 1048576 voxels", found=str(inside.shape))
    straight = straight_distance(start, voxel_size=edges) if straight is None else straight
    hidden = _hidden(inside & ~start, straight, edges)
    offset = np.float32(SURFACE_OFFSET * np.mean(edges))
    if not hidden.any():
        return np.where(inside, np.maximum(straight - offset, np.float32(0)), np.float32(0))
    wide = max(inside.shape) > 1 << _BITS
    bits = 20 if wide else _BITS
    blocks = int(np.prod([(n + 1) // 2 for n in inside.shape]))
    cells = np.zeros(8 * blocks, dtype=_WIDE_CELL if wide else _CELL)
    room = cells["length"], cells["anchor"]
    step = tuple(np.float32(edge) for edge in edges)
    front, entry = seed_front((start, inside, hidden), straight, room, step, bits)
    if front.size == 0 and np.array_equal(hidden, inside & ~start):
        raise MeasurementError(
            "no voxel of the source touches the solid",
            expected="a surface from which paths start",
            found=f"{start.sum()} voxels of source, {inside.sum()} of solid",
            cure="pass the outside of the particle together with the pores that are open to it",
        )
    del hidden
    order = np.argsort(entry, kind="stable")
    march(room, inside.shape, (front[order], np.append(entry[order], _NEVER)), step, bits)
    del room
    lines = cells.view(np.float32)
    lengths_of(lines, cells.itemsize // 4, inside.shape, offset)
    del lines
    cells.resize(-(-4 * inside.size // cells.itemsize), refcheck=False)
    return cells.view(np.float32)[: inside.size].reshape(inside.shape)


def straight_distance(source: NDArray[np.bool_], *, voxel_size: tuple[float, float, float]) -> Float32Array:
    """Distance (um) of all voxels to the centre of the nearest one of a source, bool [z, y, x], through anything."""
    return _nearest(~source, voxel_size)


def _nearest(mask: NDArray[np.bool_], edges: tuple[float, float, float]) -> Float32Array:
    """Distance (um) of the voxels of a mask to the centre of the nearest one outside of it; 0 there.

    Nothing farther than a voxel from the mask's box is nearest: the rest of the volume need not be looked at.
    """
    box = tuple(
        slice(max(int(at[0]) - 1, 0), int(at[-1]) + 2) if at.size else slice(0, 0)
        for at in (np.flatnonzero(mask.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1)))
    )
    found = np.zeros(mask.shape, dtype=np.float32)
    part = np.ascontiguousarray(mask[box])
    if part.size:
        found[box] = distance_within(part, edges)
    return found


def _hidden(solid: NDArray[np.bool_], straight: Float32Array, edges: tuple[float, float, float]) -> NDArray[np.bool_]:
    """Voxels of the solid with another hole nearer than the source: it may be in the way."""
    if not np.any((straight > 0) & ~solid):  # all that is not solid is source
        return np.zeros_like(solid)
    nearest = _nearest(solid, edges)
    nearest *= np.float32(1 + _TIE)
    return np.asarray(solid & (nearest < straight), dtype=np.bool_)


def path_statistics(
    length: NDArray[np.floating[Any]],
    solid: NDArray[np.bool_],
    source: NDArray[np.bool_],
    *,
    voxel_size: tuple[float, float, float],
    straight: Float32Array | None = None,
) -> PathStatistics:
    """Depths of the solid in numbers, from the map of `path_length` of the same masks.

    The systematic uncertainty is that of where in a voxel the surface is; depths of one particle are not samples, so
    they have no statistical one. The tortuosity is 1 for a solid without obstacles.

    Raises
    ------
    MeasurementError
        If shapes differ or no voxel is joined to a surface.
    """
    inside, start = checked_mask("solid", solid, length), checked_mask("source", source, length)
    edges = checked_voxel(voxel_size)
    edge = float(np.mean(edges))
    systematic = SURFACE_OFFSET_STD * edge
    straight = straight_distance(start, voxel_size=edges) if straight is None else straight
    way = np.ascontiguousarray(length, dtype=np.float32)
    reached = np.empty(np.count_nonzero(inside), dtype=np.float32)
    joined, total, sum_of_lengths, sum_of_ratios = path_sums(
        way, inside, start, straight, np.float32(SURFACE_OFFSET * edge), reached
    )
    if not joined:
        raise MeasurementError(
            "no voxel of the solid is joined to a surface", expected="finite lengths", found=f"{total} infinite"
        )
    quantiles = np.quantile(reached[:joined], (0.5, 0.9, 1.0), overwrite_input=True)
    median, quantile_90, longest = (Estimate(float(q), 0.0, systematic) for q in quantiles)
    return PathStatistics(
        mean=Estimate(sum_of_lengths / joined, 0.0, systematic),
        median=median,
        quantile_90=quantile_90,
        longest=longest,
        tortuosity=sum_of_ratios / joined,
        cut_off=1.0 - joined / total,
    )
