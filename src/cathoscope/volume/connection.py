"""Which pores are open to the outside or lead from face to face, through what, and how much surface is wetted.

Pore voxels connect through faces, edges and corners (26 neighbours), the solid then through faces only (6); transport
codes, and the numbers of TauFactor, let every phase connect through faces. Connection depends more than any other
measure on where the threshold is, so it is given as a curve over the threshold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import cc3d
import numpy as np
from numpy.typing import ArrayLike, NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.estimate import Estimate
from cathoscope.volume.checks import checked_mask, checked_voxel
from cathoscope.volume.connection_kernels import first_connection, levels_of, mark_joined, sizes_over_levels
from cathoscope.volume.distance import distance_within
from cathoscope.volume.minkowski import functionals

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]
VoxelSize = tuple[float, float, float]
Connectivity = Literal[6, 26]
Surface = Callable[[BoolArray, VoxelSize], Estimate]

# In edges of a voxel: twice the distance to the nearest solid voxel's centre is 0.3 too much for slabs, where a path of
# voxels finds the middle, and 0.7 too little for oblique cylinders, where it does not.
_DIAMETER_STD = 0.6


@dataclass(frozen=True)
class ConnectionCurve:
    """Pores over the threshold below which a grey value is pore.

    Attributes
    ----------
    threshold
        Rising, in the unit of the grey values.
    porosity
        Pore over the volume of the particle.
    open_porosity
        The part of it that is joined to the outside.
    """

    threshold: FloatArray
    porosity: FloatArray
    open_porosity: FloatArray

    @property
    def connected(self) -> FloatArray:
        """Share of the pore volume that is open; 1 where there is no pore."""
        nothing = self.porosity == 0
        return np.where(nothing, 1.0, self.open_porosity / np.where(nothing, 1.0, self.porosity))


class WettedSurface(NamedTuple):
    """Surface (um2) that a liquid outside reaches.

    Attributes
    ----------
    envelope
        Of the particle with all pores filled.
    total
        Between solid and liquid: of the particle less its open pores.
    inner
        Between solid and the open pores.
    open_share
        Share of the pore volume that the liquid fills.
    """

    envelope: Estimate
    total: Estimate
    inner: Estimate
    open_share: float


def open_to_outside(pore: BoolArray, particle: BoolArray, *, connectivity: Connectivity = 26) -> BoolArray:
    """The pore voxels that paths of pore voxels join to the outside of the particle, bool [z, y, x].

    Parameters
    ----------
    pore
        Inside the particle, bool [z, y, x].
    particle
        The outer mask, closed over open cracks.
    connectivity
        26, or 6 for steps through faces only.

    Raises
    ------
    MeasurementError
        If a mask is empty, pore lies outside the particle, or the particle fills the whole volume.
    """
    empty, inside = _pore_and_particle(pore, particle, connectivity)
    labels = cc3d.connected_components(empty | ~inside, connectivity=connectivity)
    joined = np.empty(empty.shape, dtype=bool)
    mark_joined(labels, inside, empty, joined)
    return joined


def connection_curve(
    grey: NDArray[np.floating], particle: BoolArray, thresholds: ArrayLike, *, connectivity: Connectivity = 26
) -> ConnectionCurve:
    """Porosity and open porosity for many thresholds at once, darker voxels being pore.

    Voxels enter from dark to bright and are joined to those that entered before, so all thresholds cost one pass.

    Raises
    ------
    MeasurementError
        If grey values are not finite, thresholds do not rise, or the particle is empty or fills the volume.
    """
    values = np.ascontiguousarray(grey)
    inside = _with_outside(checked_mask("particle", particle, values))
    _require_connectivity(connectivity)
    level = np.atleast_1d(np.asarray(thresholds, dtype=np.float64))
    if level.ndim != 1 or not np.isfinite(level).all() or np.any(np.diff(level) <= 0):
        raise MeasurementError("thresholds do not rise", expected="rising finite numbers", found=str(level))
    bad = ~np.isfinite(values)
    if np.any(np.logical_and(bad, inside, out=bad)):
        raise MeasurementError(
            "grey values inside the particle are not finite",
            expected="numbers",
            found=f"{np.count_nonzero(bad)} voxels of NaN or infinity",
        )
    del bad
    group = np.empty(values.shape, dtype=np.uint8 if level.size < 254 else np.uint32)
    counts = np.zeros(level.size + 2, dtype=np.int64)
    levels_of(values, inside, level, group, counts)
    parent = np.empty(values.size + 1, dtype=np.int32 if values.size < np.iinfo(np.int32).max else np.int64)
    joined = sizes_over_levels(group, np.cumsum(counts), parent, connectivity == 26)
    size = np.count_nonzero(inside)
    return ConnectionCurve(level, np.cumsum(counts[:-2]) / size, joined / size)


def through(phase: BoolArray, *, axis: int, connectivity: Connectivity = 6) -> BoolArray:
    """The voxels of a phase that belong to parts reaching from face to face along an axis, bool [z, y, x]."""
    mask = checked_mask("phase", phase)
    _require_connectivity(connectivity)
    labels = cc3d.connected_components(mask, connectivity=connectivity)
    both = np.intersect1d(np.take(labels, 0, axis=axis), np.take(labels, -1, axis=axis))
    chosen = np.zeros(int(labels.max()) + 1, dtype=bool)
    chosen[both] = True
    chosen[0] = False
    found: BoolArray = chosen[labels]
    return found


def percolation(phase: BoolArray, *, axis: int, connectivity: Connectivity = 6) -> float:
    """Share of a phase that belongs to parts reaching from face to face along an axis (0 is z)."""
    return float(through(phase, axis=axis, connectivity=connectivity).sum() / np.count_nonzero(phase))


def percolation_diameter(
    phase: BoolArray, start: BoolArray, end: BoolArray, *, voxel_size: VoxelSize, connectivity: Connectivity = 26
) -> Estimate:
    """Diameter (um) of the largest ball that can be moved within a phase from ``start`` to ``end``.

    Voxels enter from the farthest to the nearest to the edge of the phase, until both ends are joined: the widest path
    between them has its narrowest place there. For a particle the phase is all that is not solid, ``start`` the
    outside and ``end`` a void; for a layer they are two opposite faces. 0 if no path joins them.

    The ball may overlap both ends. The end of the volume is no wall.

    Raises
    ------
    MeasurementError
        If masks are empty or differ in shape.
    """
    mask = checked_mask("phase", phase)
    first, last = checked_mask("start", start, mask), checked_mask("end", end, mask)
    edges = checked_voxel(voxel_size)
    _require_connectivity(connectivity)
    if mask.all():
        raise MeasurementError("the phase has no walls", expected="voxels that do not belong to it", found="none")
    radius = distance_within(mask, edges).ravel()
    place = np.flatnonzero(mask)
    order = place[np.argsort(-radius[place], kind="stable")]
    found = first_connection(order, mask.shape, first.ravel(), last.ravel(), connectivity == 26)
    if found < 0:
        return Estimate(0.0)
    edge = float(np.mean(edges))
    return Estimate(2 * float(radius[order[found]]), 0.0, _DIAMETER_STD * edge)


def crofton(mask: BoolArray, voxel_size: VoxelSize) -> Estimate:
    """Surface (um2) of a mask by `minkowski.functionals`; where a face of the volume cuts it is none."""
    return functionals(mask, voxel_size=voxel_size, cut=True).surface


def wetted_surface(
    pore: BoolArray,
    particle: BoolArray,
    *,
    voxel_size: VoxelSize,
    probe_diameter: float = 0.0,
    surface: Surface = crofton,
    reached: BoolArray | None = None,
) -> WettedSurface:
    """Surface between the solid and a liquid that comes from outside.

    Where the volume cuts the particle, its faces are no surface, and let no liquid in: it enters where the particle's
    own surface lies in the volume.

    Parameters
    ----------
    pore, particle
        As for `open_to_outside`.
    voxel_size
        Edges z, y, x of a voxel, um.
    probe_diameter
        Only pore that a ball of this diameter (um) reaches from outside counts; 0 for all open pore.
    surface
        Surface (um2) of a mask, from mask and voxel size.
    reached
        What `open_to_outside` found of both, if that is known.

    Raises
    ------
    MeasurementError
        As `open_to_outside`, or if the probe's diameter is negative.
    """
    empty, inside = _pore_and_particle(pore, particle, 26)
    edges = checked_voxel(voxel_size)
    if not probe_diameter >= 0:
        raise MeasurementError("no such probe", expected="a diameter of 0 or more, um", found=str(probe_diameter))
    reached = open_to_outside(empty, inside) if reached is None else reached
    if probe_diameter > 0:
        reached = _within_reach(reached, inside, probe_diameter, edges)
    envelope, total = surface(inside, edges), surface(inside & ~reached, edges)
    pores = surface(reached, edges) if reached.any() else Estimate(0.0)
    # outside-pore, outside-solid and pore-solid contacts are each counted in two of the three surfaces
    inner = Estimate(
        max(0.0, 0.5 * (pores.value + total.value - envelope.value)),
        0.5 * float(np.sqrt(pores.std**2 + total.std**2 + envelope.std**2)),
        0.5 * float(np.sqrt(pores.systematic**2 + total.systematic**2)),
    )
    return WettedSurface(envelope, total, inner, float(reached.sum() / empty.sum()))


def _within_reach(pore: BoolArray, particle: BoolArray, diameter: float, edges: VoxelSize) -> BoolArray:
    """The part of the pore that a ball from outside covers, its centre moving where it fits."""
    free = pore | ~particle
    radius = 0.5 * diameter
    centres = distance_within(free, edges) >= radius
    outside_centres = centres & ~particle
    if not outside_centres.any():
        return np.zeros_like(pore)
    labels = cc3d.connected_components(centres, connectivity=26)
    chosen = np.zeros(int(labels.max()) + 1, dtype=bool)
    chosen[labels[outside_centres]] = True
    covered = distance_within(~chosen[labels], edges) < radius
    return covered & pore


def _pore_and_particle(pore: BoolArray, particle: BoolArray, connectivity: Connectivity) -> tuple[BoolArray, BoolArray]:
    """Both masks checked."""
    empty = checked_mask("pore", pore)
    inside = _with_outside(checked_mask("particle", particle, empty))
    _require_connectivity(connectivity)
    if np.any(empty & ~inside):
        raise MeasurementError(
            "pore lies outside the particle",
            expected="pore inside the outer mask only",
            found=f"{np.count_nonzero(empty & ~inside)} voxels outside",
            cure="pore & particle",
        )
    return empty, inside


def _with_outside(particle: BoolArray) -> BoolArray:
    """The mask, if it leaves anything outside."""
    if particle.all():
        raise MeasurementError(
            "the particle fills the whole volume: nothing is outside",
            expected="voxels outside the particle",
            found="none",
            cure="for a piece cut from a particle ask for `percolation` between two faces instead",
        )
    return particle


def _require_connectivity(connectivity: Connectivity) -> None:
    """26 or 6."""
    if connectivity not in (6, 26):  # callers need not be typed
        raise MeasurementError("no such connectivity", expected="26 or 6", found=str(connectivity))
