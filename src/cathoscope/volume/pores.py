"""What kind of pore: hollow core, void or crack, and how much of each.

A pore voxel belongs to a void if a ball of half the largest crack width fits into the pore around it (opening by
distance transforms); the ball reaches half a voxel into the solid, so that the rim of a void, which no ball of voxels
quite fills, is void too. What is left is crack. On a grid, plates of an odd number of voxels and the next even one have
the same depth: an odd crack width also takes plates that are one voxel wider. Where wide cracks meet, small
balls fit; such islands, too small to be told from a meeting of cracks, are given back.

The hollow core is the part around the particle's centroid whose radial profile says it is one: shell after shell more
than half pore, out to a radius that is a fair share of the particle's. It is cut from cracks and voids that open into
it by an opening with three tenths of that radius, and must be concentric: three quarters of it lie in the ball of its
volume about the particle's centroid. A cluster of voids near the centre does not pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cc3d
import numpy as np
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.estimate import Estimate
from cathoscope.volume.checks import checked_mask, checked_voxel
from cathoscope.volume.reach import opened_with_ball, within_reach

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]
VoxelSize = tuple[float, float, float]

CRACK, VOID, CORE = 1, 2, 3

_CORE_OPENING = 0.3  # of the radius of the core's profile
_LEAST_CORE = 0.15  # of the particle's radius
_CONCENTRIC = 0.75  # share of the core in the ball of its volume about the centroid
_ISLAND = 2.0  # balls of half the crack width that a void holds at least
_SPREAD = 0.25  # by which the crack width is varied, relative
_DIGITAL = 0.3  # standard deviation of where a boundary lies in its voxel, voxel: even, and noise


@dataclass(frozen=True)
class Core:
    """The hollow core.

    Attributes
    ----------
    volume
        um³.
    radius
        um, of the ball of this volume.
    centre
        um: z, y, x from the centre of the first voxel.
    profile_radius
        um, where the radial profile falls below one half.
    """

    volume: Estimate
    radius: Estimate
    centre: FloatArray
    profile_radius: float


@dataclass(frozen=True)
class PoreSplit:
    """Pores by kind.

    Attributes
    ----------
    kind
        [z, y, x], uint8: 0 no pore, `CRACK`, `VOID` or `CORE`.
    crack, void
        um³. Systematic parts: crack width 25 % smaller and larger, and the place of the pores' boundary.
    core
        None if there is no hollow core.
    profile
        Share of pore in concentric shells about the particle's centroid.
    shells
        Outer radii of the shells, um.
    crack_width
        um, the largest width that counts as a crack.
    """

    kind: NDArray[np.uint8]
    crack: Estimate
    void: Estimate
    core: Core | None
    profile: FloatArray
    shells: FloatArray
    crack_width: float


def split_pores(
    pore: NDArray[Any],
    particle: NDArray[Any],
    *,
    voxel_size: VoxelSize,
    crack_width: float,
    boundary_std: float | None = None,
) -> PoreSplit:
    """Tell hollow core, voids and cracks apart.

    Parameters
    ----------
    pore
        [z, y, x], mask of the pores.
    particle
        Mask of the particle with its pores.
    voxel_size
        um, along z, y and x.
    crack_width
        um: pores up to this width are cracks. At least two voxels; the 95 % quantile of the openings is a fair choice
        (`cracks.crack_totals`).
    boundary_std
        um: standard uncertainty of where pores end, by the choice of threshold; a tenth of a voxel if not given.

    Raises
    ------
    MeasurementError
        If masks are no masks, do not belong together or are empty; if voxel size or crack width are impossible.
    """
    edges = np.asarray(checked_voxel(voxel_size))
    whole = checked_mask("particle", particle)
    pores = checked_mask("pore", pore, like=whole)
    voxel = float(edges.prod()) ** (1 / 3)
    size = (3 * float(edges.prod()) * float(whole.sum()) / (4 * np.pi)) ** (1 / 3)
    if not 2 * edges.min() <= crack_width <= size:
        raise MeasurementError(
            "the crack width is out of range",
            expected=f"between two voxels, {2 * edges.min():.3g} um, and the particle's radius, {size:.3g} um",
            found=f"{crack_width:g} um",
            cure=f"crack_width={4 * voxel:.2g}",
        )
    box = _box(whole)
    cut_pores, cut_whole = pores[box] & whole[box], whole[box]
    centre = _middle(cut_whole) * edges
    profile, shells = _profile(cut_pores, cut_whole, centre, edges)
    reach = _core_radius(profile, shells, size)
    kinds = np.zeros(whole.shape, dtype=np.uint8)
    kind = kinds[box]
    kind[:] = cut_pores
    wide = _voids(cut_pores, 0.5 * crack_width, edges)
    core = _core_mask(cut_pores, wide, (centre, edges), reach)
    kind[wide], kind[core] = VOID, CORE
    total, cores = int(np.count_nonzero(cut_pores)), int(np.count_nonzero(core))
    counts = [int(np.count_nonzero(kind == VOID))]
    for share in (1 - _SPREAD, 1 + _SPREAD):
        wide = _voids(cut_pores, 0.5 * share * crack_width, edges)
        counts.append(int(np.count_nonzero(np.greater(wide, core, out=wide))))
    del wide
    shift = 0.1 * voxel if boundary_std is None else boundary_std
    cracks = [total - cores - count for count in counts]
    found = zip((CRACK, VOID, CORE), (cracks, counts, [cores]), strict=True)
    crack, void, hollow = (_volume(cut_pores, kind == one, number, edges, shift) for one, number in found)
    start = np.array([piece.start for piece in box]) * edges
    return PoreSplit(kinds, crack, void, _core(core, hollow, (start, edges), reach), profile, shells, crack_width)


def _voids(pores: BoolArray, ball: float, edges: FloatArray) -> BoolArray:
    """Pores that balls of radius ``ball`` (um) fill, in parts of some size."""
    return _without_islands(_opened(pores, ball, edges) & pores, ball, edges)


def _core_mask(pores: BoolArray, void: BoolArray, frame: tuple[FloatArray, FloatArray], reach: float) -> BoolArray:
    """The hollow core; nothing if the profile has no radius ``reach`` (um), or what is there is no core."""
    centre, edges = frame
    nothing = np.zeros_like(void)
    if reach <= 0:
        return nothing
    middle = _nearest_part(_opened(pores, _CORE_OPENING * reach, edges) & void, centre, edges, 0.5 * reach)
    if middle is None:
        return nothing
    core = _grown(middle, void, _CORE_OPENING * reach, edges)
    return core if _is_concentric(core, centre, edges) else nothing


def _opened(pores: BoolArray, ball: float, edges: FloatArray) -> BoolArray:
    """All that balls of radius ``ball`` cover whose centres are deeper than that in the pores."""
    return opened_with_ball(pores, ball, (edges[0], edges[1], edges[2]))


def _grown(mask: BoolArray, within: BoolArray, way: float, edges: FloatArray) -> BoolArray:
    """``mask`` and the voxels of ``within`` that are in reach of ``way`` (um) and touch it through such voxels."""
    if not mask.any():
        return mask
    near = mask | (within & within_reach(mask, way, (edges[0], edges[1], edges[2])))
    labels = cc3d.connected_components(near, connectivity=26)
    keep = np.zeros(int(labels.max()) + 1, dtype=bool)
    keep[np.unique(labels[mask])] = True
    keep[0] = False
    return np.asarray(keep[labels])


def _without_islands(opened: BoolArray, ball: float, edges: FloatArray) -> BoolArray:
    """Without parts (26 neighbours) smaller than a few balls."""
    least = _ISLAND * 4 / 3 * np.pi * ball**3 / float(edges.prod())
    return np.asarray(cc3d.dust(opened, threshold=int(np.ceil(least)), connectivity=26), dtype=np.bool_)


def _nearest_part(mask: BoolArray, centre: FloatArray, edges: FloatArray, within: float) -> BoolArray | None:
    """The part (26 neighbours) of a mask that comes nearest to ``centre`` (um), if it is ``within`` (um) of it."""
    places = np.argwhere(mask)
    if not len(places):
        return None
    distance = np.linalg.norm(places * edges - centre, axis=1)
    nearest = int(np.argmin(distance))
    if distance[nearest] > within:
        return None
    labels = cc3d.connected_components(mask, connectivity=26)
    return np.asarray(labels == labels[tuple(places[nearest])])


def _is_concentric(core: BoolArray, centre: FloatArray, edges: FloatArray) -> bool:
    """Whether most of a part lies in the ball of its volume about ``centre`` (um)."""
    squared = np.sum((np.argwhere(core) * edges - centre) ** 2, axis=1)
    radius = (3 * float(edges.prod()) * len(squared) / (4 * np.pi)) ** (1 / 3)
    return bool(np.mean(squared <= radius**2) >= _CONCENTRIC)


def _profile(
    pores: BoolArray, whole: BoolArray, centre: FloatArray, edges: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Share of pore in shells one voxel thick about ``centre`` (um), and their outer radii (um)."""
    thickness = float(edges.prod()) ** (1 / 3)
    z, y, x = (((np.arange(n) * edge - at) ** 2) for n, edge, at in zip(whole.shape, edges, centre, strict=True))
    inside, pore = np.zeros(0), np.zeros(0)
    for plane in range(whole.shape[0]):
        shell = (np.sqrt(z[plane] + y[:, None] + x) / thickness).astype(np.int64)
        more = np.bincount(shell[whole[plane]]).astype(np.float64)
        if more.size > inside.size:
            inside, pore = np.pad(inside, (0, more.size - inside.size)), np.pad(pore, (0, more.size - pore.size))
        inside[: more.size] += more
        found = np.bincount(shell[pores[plane]])
        pore[: found.size] += found
    share = np.divide(pore, inside, out=np.zeros_like(pore), where=inside > 0)
    return share, (np.arange(share.size) + 1.0) * thickness


def _core_radius(profile: FloatArray, shells: FloatArray, size: float) -> float:
    """Radius (um) out to which the shells are more than half pore; 0 if that is no fair share of ``size``."""
    volume = np.diff(shells**3, prepend=0.0)
    # the first shells hold few voxels, so all within a fair share of the radius must be half pore together
    least = int(np.searchsorted(shells, _LEAST_CORE * size)) + 1
    if np.sum((profile * volume)[:least]) < 0.5 * np.sum(volume[:least]):
        return 0.0
    below = np.flatnonzero(profile[least:] < 0.5)
    return float(shells[least + int(below[0]) - 1]) if below.size else float(shells[-1])


def _volume(pores: BoolArray, mask: BoolArray, numbers: list[int], edges: FloatArray, shift: float) -> Estimate:
    """Volume (um³) of a mask; ``shift`` (um) is the uncertainty of where pores end.

    ``numbers`` are those of its voxels, and of other masks that are as good.
    """
    voxel = float(edges.prod())
    counts = [voxel * number for number in numbers]
    area, faces = 0.0, 0
    for axis, edge in enumerate(edges):
        # only where solid begins: the cut between kinds has its own uncertainty
        here, pore = np.moveaxis(mask, axis, 0), np.moveaxis(pores, axis, 0)
        met = int(np.count_nonzero(here[1:] & ~pore[:-1])) + int(np.count_nonzero(here[:-1] & ~pore[1:]))
        # faces of voxels overstate the area of a surface of any direction by one half
        area, faces = area + met * voxel / edge * 2 / 3, faces + met
    std = _DIGITAL * voxel * np.sqrt(faces)
    spread = 0.5 * (max(counts) - min(counts))
    return Estimate(float(counts[0]), float(std), float(np.hypot(spread, area * shift)))


def _core(core: BoolArray, volume: Estimate, frame: tuple[FloatArray, FloatArray], reach: float) -> Core | None:
    """The hollow core, if there is one."""
    if not core.any():
        return None
    start, edges = frame
    centre = start + _middle(core) * edges
    radius = (3 * volume.value / (4 * np.pi)) ** (1 / 3)
    slope = radius / (3 * volume.value)
    return Core(volume, Estimate(radius, slope * volume.std, slope * volume.systematic), centre, reach)


def _middle(mask: BoolArray) -> FloatArray:
    """Mean place of the voxels of a mask (z, y, x), voxels."""
    counts = [np.count_nonzero(mask, axis=tuple({0, 1, 2} - {axis})) for axis in range(3)]
    return np.array([count @ np.arange(count.size) / count.sum() for count in counts])


def _box(mask: BoolArray) -> tuple[slice, slice, slice]:
    """Smallest box around a mask, one voxel wider where there is room."""
    pieces = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        used = np.flatnonzero(mask.any(axis=others))
        pieces.append(slice(max(int(used[0]) - 1, 0), min(int(used[-1]) + 2, mask.shape[axis])))
    return pieces[0], pieces[1], pieces[2]
