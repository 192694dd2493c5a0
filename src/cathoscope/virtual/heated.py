"""The one state that every instrument sees: a heated particle, evaluated on any slices of a fine grid.

The attenuation of a voxel is a sum over `NODES` spectra at fixed white-line energies, at the begin and at the end of
the series of scans of one temperature; between these the state changes linearly with time:

    mu(x, E) = sum_k [(1 - tau(E)) a_k(x, begin) + tau(E) a_k(x, end)] S_k(E).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from cathoscope.virtual.charged import Sampler, TransportGrid
from cathoscope.virtual.collapse import Deformation, MechanicalLaw
from cathoscope.virtual.cracks import Solid, solid
from cathoscope.virtual.grains import Grains
from cathoscope.virtual.heating import State
from cathoscope.virtual.nickel import (
    HIGHEST_WHITE_LINE,
    LOWEST_WHITE_LINE,
    NODES,
    attenuation_of_nodes,
    two_phase_weights,
)
from cathoscope.virtual.specimen import Grid

Array = NDArray[np.float64]
Image = NDArray[np.float32]

COMPONENTS = 2 * NODES
PHASE_CONTRAST = 0.9  # eV; what remains between the layered and the spinel part of one place
_FIELDS = ("spinel", "later", "white_line")


@dataclass(frozen=True)
class Placement:
    """How the particle lies under the beam: displaced by ``shift`` (x, y, z; um) after ``rotation`` (deg, vector)."""

    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)
    rotation: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def to_particle(self, points: Array) -> Array:
        """Points of the laboratory (n, 3) in the particle's own frame."""
        turn = Rotation.from_rotvec(self.rotation, degrees=True)
        return np.asarray(turn.inv().apply(points - np.array(self.shift)))


@dataclass(frozen=True)
class Instant:
    """A particle at one temperature: fields at begin and end of the scans, shape, place, and density.

    ``density`` is the density of the oxide over that before heating: nickel is neither made nor lost.
    """

    temperature: float
    fields: Sampler
    narrowing: Sampler
    deformation: Deformation
    placement: Placement
    density: float

    def narrowing_at(self, origin: Array) -> Image:
        """Opening of cracks over that before heating, at places (n, 3) before heating."""
        return _narrowing(self.narrowing, origin)


@dataclass(frozen=True)
class Voxels:
    """The voxels of some slices that lie near the particle, n of them.

    Attributes
    ----------
    near
        Where they are, (z, y, x).
    origin
        Where their material was before heating, (n, 3), um.
    filled
        How much of each is oxide and crack, and which grain, (n,).
    fields
        ``spinel``, ``later`` (0 to 1) and ``white_line`` (eV) at the begin of the scans, and the same at their end,
        (n, 6).
    """

    near: NDArray[np.bool_]
    origin: Array
    filled: Solid
    fields: Image

    def on_grid(self, values: NDArray[Any], outside: float = 0) -> NDArray[Any]:
        """``values`` (n, ...) as an array (z, y, x, ...)."""
        volume = np.full((*self.near.shape, *values.shape[1:]), outside, dtype=values.dtype)
        volume[self.near] = values
        return volume


@dataclass(frozen=True)
class HeatedParticle:
    """A particle through its temperatures, on a grid of voxels.

    ``background`` and ``jump`` (1/um) are the attenuation below the edge of its oxide before heating, and the jump.
    ``scan_times`` holds, for each temperature, ascending energies (eV) and when they are scanned: 0 begin, 1 end.
    """

    grains: Grains
    grid: Grid
    instants: tuple[Instant, ...]
    background: float
    jump: float
    scan_times: tuple[tuple[Array, Array], ...]
    components: int = COMPONENTS

    def slices(self, temperature: int, rows: slice) -> Image:
        """Weights of the components (1/um) in slices ``rows`` at one temperature index: (z, y, x, component)."""
        return self.components_of(temperature, self.voxels(temperature, rows))

    def weights(self, temperature: int, energies: ArrayLike) -> Array:
        """Value of every component's spectrum at ``energies`` (eV), (energy, component)."""
        energies = np.asarray(energies, dtype=np.float64)
        when = np.interp(energies, *self.scan_times[temperature])[:, None]
        spectra = attenuation_of_nodes(energies, background_per_jump=self.background / self.jump)
        return np.concatenate([(1 - when) * spectra, when * spectra], axis=1)

    def components_of(self, temperature: int, voxels: Voxels) -> Image:
        """What `slices` returns, of voxels that are known already."""
        amount = voxels.filled.fraction * np.float32(self.jump * self.instants[temperature].density)
        begin, end = (_spectra_of(voxels.fields[:, 2 + side], voxels.fields[:, side]) for side in (0, 3))
        return voxels.on_grid((np.concatenate([begin, end], axis=1) * amount[:, None]).astype(np.float32))

    def voxels(self, temperature: int, rows: slice) -> Voxels:
        """What fills slices ``rows`` at one temperature index."""
        instant = self.instants[temperature]
        axis, heights = self.grid.positions(self.grid.columns), self.grid.positions(self.grid.rows)[rows]
        z, y, x = np.meshgrid(heights, axis, axis, indexing="ij")
        shift = instant.placement.shift
        reach = self.grains.outer.highest * (1 + abs(instant.deformation.strain)) + self.grid.pixel_size
        near = (x - shift[0]) ** 2 + (y - shift[1]) ** 2 + (z - shift[2]) ** 2 < reach**2
        points = instant.placement.to_particle(np.stack([x[near], y[near], z[near]], axis=1))
        origin = instant.deformation.to_reference(points, self.grains)
        filled = solid(self.grains, origin, self.grid.pixel_size, instant.narrowing_at(origin))
        if instant.deformation.closed > 0:
            sharp = filled.fraction * self._core_correction(instant.deformation, points, origin)
            filled = replace(filled, fraction=sharp.astype(np.float32))
        return Voxels(near, origin, filled, instant.fields.at(origin, filled.label))

    def _core_correction(self, deformation: Deformation, points: Array, origin: Array) -> Array:
        """Share of each voxel outside the core now, over that of the unmoved voxel at its origin.

        Around a core that has closed, material is stretched along the radius, and the rim would look blurred.
        """
        size = self.grid.pixel_size
        radius, before = (np.sqrt(np.einsum("ij,ij->i", places, places)) for places in (points, origin))
        correction = np.ones(len(points))
        close = before < self.grains.core.highest + size
        core = self.grains.core_radius(origin[close])
        now = core * np.cbrt(1 - deformation.closed) * (1 + deformation.strain)
        old = np.clip((before[close] - core) / size + 0.5, 0, 1)
        correction[close] = np.clip((radius[close] - now) / size + 0.5, 0, 1) / np.maximum(old, 1e-6)
        return correction


def _spectra_of(white_line: Image, spinel: Image) -> Array:
    """Weights of the nodes, cut to what the nodes hold."""
    share = np.clip(spinel.astype(np.float64), 0, 1)
    lowest = LOWEST_WHITE_LINE + (1 - share) * PHASE_CONTRAST
    highest = HIGHEST_WHITE_LINE - share * PHASE_CONTRAST
    return two_phase_weights(np.clip(white_line, lowest, highest), share, PHASE_CONTRAST)


def instants_of(
    grains: Grains,
    where: TransportGrid,
    states: Sequence[tuple[State, State]],
    placements: Sequence[Placement],
    law: MechanicalLaw,
    *,
    radial_span: float,
) -> tuple[Instant, ...]:
    """The particle at each temperature from its states at begin and end of the scans.

    The deformation is that of the mean conversion of both.
    """
    made: list[Instant] = []
    amounts: list[float] = []
    for (begin, end), placement in zip(states, placements, strict=True):
        conversion = (begin.spinel + end.spinel) / 2
        narrowing = where.sampler(1 - law.filling * conversion)
        deformation = law.deformation(
            conversion=float(conversion.mean()), radial_span=radial_span, temperature=begin.temperature
        )
        fields = where.sampler(*(getattr(state, name) for state in (begin, end) for name in _FIELDS))
        amounts.append(_amount(grains, where, narrowing) * (1 + deformation.strain) ** 3)
        density = amounts[0] / amounts[-1]
        made.append(Instant(begin.temperature, fields, narrowing, deformation, placement, density))
    return tuple(made)


def _amount(grains: Grains, where: TransportGrid, narrowing: Sampler) -> float:
    """Volume of oxide with cracks as narrow as ``narrowing`` says, in cells of the transport grid."""
    axis, total = where.grid.positions(where.grid.columns), 0.0
    y, x = np.meshgrid(axis, axis, indexing="ij")
    for height in axis:
        points = np.stack([x.ravel(), y.ravel(), np.full(x.size, height)], axis=1)
        points = points[np.einsum("ij,ij->i", points, points) < grains.outer.highest**2]
        if len(points):
            filled = solid(grains, points, where.grid.pixel_size, _narrowing(narrowing, points))
            total += float(filled.fraction.sum(dtype=np.float64))
    return total


def _narrowing(sampler: Sampler, points: Array) -> Image:
    """Opening of cracks at ``points`` (n, 3) over that before heating: smooth, from the grains on both sides."""
    return np.clip(sampler.at(points, np.full(len(points), -1, dtype=np.int32))[:, 0], 0, 1)
