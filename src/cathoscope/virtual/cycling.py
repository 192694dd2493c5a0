"""How a secondary particle cracks when it is charged and discharged: boundary by boundary, cycle by cycle.

Lithium taken out shrinks the grains against each other, and the more nickel they hold the more. Every boundary between
two grains wears out under that stress (fatigue, Palmgren and Miner's sum of damage), the sooner the weaker it is:

    dD/dn  = (1 + wetting W) (1 + sharing O) / L,        the boundary opens where D = 1
    L      = life (Ni(core) / Ni(r))^exponent E^(1/modulus) / load
    w(n)   = opening exp(spread z) (1 - exp(-(n - n₁) / growth)),  cut at the widest sheet that grains allow

n is the number of cycles, n₁ that at which the boundary opens; E (standard exponential) and z (normal, cut at 3) come
from the hash of the two grains and the seed that `cracks` uses, so that lives follow Weibull's law, cracks never close
and nothing jumps. W is 1 where electrolyte reaches the boundary: through cracks and pores connected with the outside.
O is the share of open ones among the boundaries that it meets: what they no longer carry, it carries. ``load`` belongs
to the particle (its current follows from an estimate of its volume).

Grains stay where they are and a crack takes its volume from them: the envelope keeps its volume.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import inf
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

from cathoscope.core.errors import CathoscopeError
from cathoscope.virtual.boundaries import BoolArray, FloatArray, Network, boundary_network, wetted
from cathoscope.virtual.cracks import _mixed, _uniform
from cathoscope.virtual.grains import Grains
from cathoscope.virtual.near import Near, Shares, shares_of, widest_opening
from cathoscope.virtual.particle import LARGEST_CRACK

_LOAD = 6  # kind of random numbers, beside those of `grains` and `cracks`
_RANGES = {
    "life": (1e-3, inf),
    "modulus": (0.2, 20.0),
    "exponent": (0.0, 20.0),
    "wetting": (0.0, 1e3),
    "sharing": (0.0, 1e3),
    "opening": (0.0, inf),
    "spread": (0.0, 1.0),
    "growth": (0.1, inf),
    "variation": (0.0, 0.5),
    "layer": (0.0, inf),
    "outer_layer": (0.0, inf),
}


@dataclass(frozen=True)
class CyclingLaw:
    """Parameters of the law; lengths are um, times cycles.

    Attributes
    ----------
    life, modulus
        Characteristic life of a dry boundary in the core, and Weibull's modulus of the lives.
    exponent
        Of the stress, which is proportional to the local share of nickel.
    wetting, sharing
        What electrolyte, and open neighbours, add to the rate of damage.
    opening, spread, growth
        Median final opening, standard deviation of its logarithm, and cycles in which it grows to 1 - 1/e of it.
    variation
        Standard deviation of the logarithm of the load from particle to particle.
    layer, outer_layer
        Thickness of the layer of decomposed electrolyte per square root of cycles on walls that electrolyte reaches,
        and on the outer surface.

    Raises
    ------
    CathoscopeError
        If a value is impossible.
    """

    life: float
    modulus: float
    exponent: float = 2.0
    wetting: float = 0.0
    sharing: float = 0.0
    opening: float = 0.08
    spread: float = 0.25
    growth: float = 8.0
    variation: float = 0.04
    layer: float = 0.001
    outer_layer: float = 0.01

    def __post_init__(self) -> None:
        defaults = {entry.name: entry.default for entry in fields(self)}
        for name, (least, largest) in _RANGES.items():
            value = getattr(self, name)
            if not least <= value <= largest or value == inf:
                raise CathoscopeError(
                    f"the cycling law's {name} is out of range",
                    expected=f"{least:g} or more" if largest == inf else f"{least:g} to {largest:g}",
                    found=str(value),
                    cure=f"{name}={defaults[name]}" if isinstance(defaults[name], float) else f"{name}=10",
                )


L_CYCLING = CyclingLaw(life=94.0, modulus=2.0, sharing=8.0, wetting=0.5, opening=0.112)
"""Cadiou's low-gradient particle: fatigue; few boundaries open at first, and what opens loads the others."""

H_CYCLING = CyclingLaw(life=40.0, modulus=0.6, wetting=2.0, opening=0.0653, growth=2.0)
"""Cadiou's high-gradient particle: many weak boundaries open at once, electrolyte enters and weakens the others."""


class State(NamedTuple):
    """A particle after some cycles.

    Attributes
    ----------
    cycle
        Number of cycles.
    porosity
        Share of the envelope's volume that is not oxide.
    open_share
        Share of the boundaries' area that has cracked.
    wetted_share
        Share of the area of open boundaries and pores that electrolyte reaches.
    wetted_area
        Outer surface, both walls of open boundaries that electrolyte reaches, and walls of pores that it reaches, um².
    loose_grains
        Grains all of whose boundaries have cracked.
    attached_share
        Share of the oxide's volume in the largest group of grains that closed boundaries hold together.
    """

    cycle: float
    porosity: float
    open_share: float
    wetted_share: float
    wetted_area: float
    loose_grains: int
    attached_share: float


@dataclass(frozen=True, eq=False)
class CycledParticle:
    """A particle and what every cycle does to its boundaries.

    Attributes
    ----------
    grains, network, law
        The particle, its boundaries, and the law.
    load
        Of this particle, relative to the mean.
    cycles
        Up to which it was followed.
    opened
        Cycle at which each face cracks, infinite for one that does not, (face,).
    final_opening
        Of each face, um, (face,).
    wet_faces, wet_voids
        Cycle from which electrolyte reaches each face and void, infinite if never, (face,), (void,).
    """

    grains: Grains
    network: Network
    law: CyclingLaw
    load: float
    cycles: int
    opened: FloatArray
    final_opening: FloatArray
    wet_faces: FloatArray
    wet_voids: FloatArray

    def openings(self, cycle: float) -> FloatArray:
        """Opening (um) of every face after ``cycle`` cycles, (face,); 0 if closed."""
        self._require(cycle)
        age = np.maximum(cycle - self.opened, 0.0)
        return np.asarray(self.final_opening * -np.expm1(-age / self.law.growth))

    def layers(self, cycle: float) -> tuple[FloatArray, FloatArray, float]:
        """Thickness (um) of the layer on the walls of every face, of every round pore, and on the outer surface."""
        self._require(cycle)
        faces = self.law.layer * np.sqrt(np.maximum(cycle - self.wet_faces, 0.0))
        of_void = self.law.layer * np.sqrt(np.maximum(cycle - self.wet_voids, 0.0))
        of_hole = np.append(of_void, 0.0)[self.network.void_of_hole]
        return faces, of_hole, self.law.outer_layer * float(np.sqrt(cycle))

    def shares(self, near: Near, cycle: float, *, layers: bool = False) -> Shares:
        """What voxels contain after ``cycle`` cycles; ``layers`` puts the decomposed electrolyte in."""
        faces = self.network.faces if near is self.network.near else self.network.faces_of(near)
        return shares_of(near, faces, self.openings(cycle), self.layers(cycle) if layers else None)

    def porosity(self, cycle: float) -> float:
        """Share of the envelope's volume that is not oxide, by all voxels of the network's grid."""
        near = self.network.near
        return 1 - float(self.shares(near, cycle).solid.sum(dtype=np.float64) / near.envelope.sum(dtype=np.float64))

    def state(self, cycle: float) -> State:
        """Everything that is counted over the whole particle."""
        network, opened = self.network, self.openings(cycle) > 0
        reached = wetted(network, opened)
        free = np.where(opened, network.area, network.web_area)
        wet = 2 * float(free[reached.faces].sum()) + float(network.void_area[reached.voids].sum())
        loose, attached = _contacts_left(network, opened)
        return State(
            cycle=float(cycle),
            porosity=self.porosity(cycle),
            open_share=float(network.area[opened].sum() / network.area.sum()),
            wetted_share=wet / max(2 * float(free.sum()) + float(network.void_area.sum()), 1e-300),
            wetted_area=network.outer_area + wet,
            loose_grains=loose,
            attached_share=attached,
        )

    def _require(self, cycle: float) -> None:
        if not 0 <= cycle <= self.cycles:
            raise CathoscopeError(
                "the particle was not followed to this cycle",
                expected=f"0 to {self.cycles}",
                found=f"{cycle:g}",
                cure="cycle_particle with more cycles",
            )


def cycle_particle(grains: Grains, law: CyclingLaw, *, cycles: int, network: Network | None = None) -> CycledParticle:
    """Follow a particle through ``cycles`` cycles; the same grains and law always give the same.

    ``network`` is that of ``grains`` if it is known already.

    Raises
    ------
    CathoscopeError
        If cycles are negative, or voids are too wide for the grains.
    """
    if cycles < 0:
        raise CathoscopeError("a particle cannot be cycled backwards", found=str(cycles), cure="cycles=35")
    if law.opening > widest_opening(grains):
        raise CathoscopeError(
            "the cracks are too wide for the grains",
            expected=f"at most {widest_opening(grains):.3g} um",
            found=f"opening {law.opening:g} um",
            cure=f"opening={0.6 * widest_opening(grains):.2g}, or larger grains",
        )
    network = boundary_network(grains) if network is None else network
    rng = np.random.default_rng(np.random.SeedSequence((grains.seed, _LOAD)))
    load = float(np.exp(law.variation * np.clip(rng.standard_normal(), -LARGEST_CRACK, LARGEST_CRACK)))
    uniform, normal = drawn(grains, network)
    life = _lives(grains, network, law, uniform) / load
    final = np.minimum(law.opening * np.exp(law.spread * normal), widest_opening(grains))
    opened, wet_faces, wet_voids = _follow(network, law, life, cycles)
    return CycledParticle(grains, network, law, load, cycles, opened, final, wet_faces, wet_voids)


def drawn(grains: Grains, network: Network) -> tuple[FloatArray, FloatArray]:
    """The uniform and the cut normal number (face,) that the hash of two grains gives each face, as in `cracks`."""
    uniform, normal = np.empty(network.count), np.empty(network.count)
    _draw(uniform, normal, network.pairs, np.uint64(grains.seed))
    return uniform, normal


@njit(cache=True, nogil=True)
def _draw(uniform, normal, pairs, key):  # type: ignore[no-untyped-def]
    """Fill the two numbers of each of ``pairs`` (n, 2)."""
    for p in range(pairs.shape[0]):
        bits = _mixed(key ^ _mixed(np.uint64(pairs[p, 0]) * np.uint64(4294967296) + np.uint64(pairs[p, 1])))
        second = _mixed(bits)
        value = np.sqrt(-2.0 * np.log(_uniform(second))) * np.cos(2.0 * np.pi * _uniform(_mixed(second)))
        uniform[p], normal[p] = _uniform(bits), min(max(value, -LARGEST_CRACK), LARGEST_CRACK)


def _lives(grains: Grains, network: Network, law: CyclingLaw, uniform: FloatArray) -> FloatArray:
    """Cycles that each dry face lasts beside closed ones, at the mean load, (face,)."""
    composition = grains.design.composition(network.radius / grains.design.radius)["Ni"]
    stress = composition / grains.design.composition(0.0)["Ni"]
    weibull = (-np.log1p(-uniform)) ** (1 / law.modulus)
    return np.asarray(law.life * weibull / np.maximum(stress, 1e-6) ** law.exponent)


def _follow(
    network: Network, law: CyclingLaw, life: FloatArray, cycles: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Cycle at which each face opens, and from which electrolyte reaches each face and void."""
    meets = sparse.csr_array(
        (np.ones(len(network.contacts)), network.contacts.T), shape=(network.count, len(network.junction_radius))
    )
    neighbours = np.maximum(meets @ (meets.T @ np.ones(network.count)) - meets.sum(axis=1), 1.0)
    damage, opened = np.zeros(network.count), np.full(network.count, inf)
    reached = wetted(network, np.isfinite(opened))
    wet_faces = np.where(reached.faces, 0.0, inf)
    wet_voids = np.where(reached.voids, 0.0, inf)
    own = meets.sum(axis=1)
    for cycle in range(cycles):
        is_open = np.isfinite(opened)
        beside = (meets @ (meets.T @ is_open.astype(float)) - own * is_open) / neighbours
        near_liquid = _beside_liquid(meets, reached.faces, network)
        step = (1 + law.wetting * near_liquid) * (1 + law.sharing * beside) / life
        opening = ~is_open & (damage + step >= 1)
        opened[opening] = cycle + (1 - damage[opening]) / step[opening]
        damage += step
        reached = wetted(network, np.isfinite(opened))
        wet_faces = np.where(reached.faces & ~np.isfinite(wet_faces), cycle + 1.0, wet_faces)
        wet_voids = np.where(reached.voids & ~np.isfinite(wet_voids), cycle + 1.0, wet_voids)
    return opened, np.maximum(wet_faces, np.where(network.web_area > 0, 0.0, opened)), wet_voids


def _beside_liquid(meets: sparse.csr_array, wet: BoolArray, network: Network) -> BoolArray:
    """Faces whose rim electrolyte reaches: they meet a wetted face, or the outer surface."""
    at_wet = meets.T @ wet.astype(float) > 0
    return np.asarray((meets @ at_wet.astype(float) > 0) | network.at_surface)


def _contacts_left(network: Network, opened: BoolArray) -> tuple[int, float]:
    """Grains all of whose faces are ``opened``, and the share of volume in the largest group held together."""
    volume = network.grain_volume
    held = network.pairs[~opened]
    links = sparse.coo_array((np.ones(len(held), bool), (held[:, 0], held[:, 1])), shape=(volume.size, volume.size))
    groups = csgraph.connected_components(links, directed=False)[1]
    known, touched = np.zeros(volume.size, dtype=bool), np.zeros(volume.size, dtype=bool)
    known[network.pairs.reshape(-1)] = True
    touched[held.reshape(-1)] = True
    return int(np.count_nonzero(known & ~touched)), float(np.bincount(groups, volume).max() / volume.sum())


def section_points(z: float, columns: FloatArray, rows: FloatArray) -> NDArray[np.float64]:
    """Points (row, column, 3), um, of a plane section at height ``z`` with given ``columns`` (x) and ``rows`` (y)."""
    y, x = np.meshgrid(rows, columns, indexing="ij")
    return np.stack([x, y, np.full_like(x, z)], axis=-1)
