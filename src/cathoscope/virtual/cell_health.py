"""What cracks, layers and time do to a cell: its `Health` in every cycle, from the grains of one particle.

The boundaries of the particle crack as in `cycling`. From its grains alone follow

    f     = 1 - 3/2 <cos² (c, radius)>        share of lithium's diffusivity that is left along the radius
    A(u)  = outer surface + both walls of every boundary that electrolyte reaches
    H(u)  = share of the oxide that electrons still reach

after an age of u cycles at the mean load. f is 1 where all planes of lithium lie along the radius, and 1/2 where they
are random: what an effective medium of grains that conduct in planes alone has exactly. Electrolyte creeps along a
boundary from a part of its life on, before the crack is wide enough to be seen. In an electrode electrons come through
the outer surface, so oxide is lost that hangs together with no grain there; on the tip of a probe it is all that has
come off the largest piece. Particles of an electrode carry different loads l: an age is u = l n, and means are taken.

Oxide is lost in two ways more. On wetted surface a layer grows that takes no lithium, and lithium's sites go where
oxygen has left along the planes, which leads outside from those grains only that reach the outer surface (a share S of
the oxide, nearly all of radial rods):

    δ    = rate sqrt(h(T) t),                V(lost) = sum over surface of δ(its own time in the electrolyte)
    left = 1 - S (1 - exp(-rate h(T) t)),    h = exp(-E/R (1/T - 1/298 K)) with its own rate and E each

What is left are spheres of radius L = 3 V / A.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, special
from scipy.sparse import csgraph

from cathoscope.physics.kinetics import GAS_CONSTANT, ZERO_CELSIUS
from cathoscope.virtual.boundaries import Network, boundary_network, wetted
from cathoscope.virtual.cycling import CycledParticle, CyclingLaw, cycle_particle
from cathoscope.virtual.grains import Grains

Array = NDArray[np.float64]

_QUANTILES = 15  # loads that stand for all particles of an electrode
_FURTHER = 3  # times as far as asked for, at most
_COARSE = 0.25  # of the grain size: spacing of the network's grid


@dataclass(frozen=True)
class Ageing:
    """Constants of ageing; lengths um, times hours or cycles as said.

    Attributes
    ----------
    hairline
        Share of a boundary's life after which electrolyte creeps along it.
    entering
        Cycles in which electrolyte enters what has opened to 1 - 1/e.
    layer, layer_activation
        Thickness after one hour at 25 degC, um, and its activation energy, kJ/mol.
    oxygen, oxygen_activation
        Rate of the loss of oxygen at 25 degC, per hour, and its activation energy, kJ/mol.
    film
        Resistance of a layer of 1 um, ohm m2.
    spread
        Standard deviation of the logarithm of the loads of an electrode's particles; 0 for a single one.
    """

    hairline: float = 0.2
    entering: float = 2.0
    layer: float = 4e-4
    layer_activation: float = 50.0
    oxygen: float = 3e-5
    oxygen_activation: float = 130.0
    film: float = 0.3
    spread: float = 0.0


@dataclass(frozen=True, eq=False)
class Wear:
    """What cycles do to one particle, by its age in cycles at the mean load, (age,).

    Attributes
    ----------
    age
        Cycles, from 0 in even steps.
    area
        Of all surface that electrolyte reaches, um2.
    held
        Share of the oxide that electrons reach.
    volume
        Of the oxide, um3.
    openness, outer
        f and S of the module's docstring.
    """

    age: Array
    area: Array
    held: Array
    volume: float
    openness: float
    outer: float


@dataclass(frozen=True, eq=False)
class Course:
    """A cell's oxide against the number of cycles n = 0, 1, ..., (cycle,).

    Attributes
    ----------
    area
        Wetted surface of one particle, um2.
    held
        Share of the oxide that electrons reach.
    contact
        Share that takes part: held, not turned into the layer, and with its oxygen.
    length
        Radius of a grain as electrolyte reaches it, um.
    layer
        Mean thickness of the layer, um.
    """

    area: Array
    held: Array
    contact: Array
    length: Array
    layer: Array


def openness_from_axes(*, cosine_squared: float) -> float:
    """f = 1 - 3/2 <cos²>: lithium's diffusivity along the radius over that along its planes.

    <cos²> is the mean square of the cosine between c and the radius. Exact where it is 0 (planes along the radius) and
    1/3 (random: an effective medium of grains with diffusivities D, D, 0 has D/2); a line between and beyond, to 0.
    """
    return max(1.0 - 1.5 * cosine_squared, 0.0)


def mean_cosine_squared(grains: Grains, volume: Array) -> float:
    """Mean over the ``volume`` (grain,) of cos² between c and the radius."""
    radial = grains.positions / np.linalg.norm(grains.positions, axis=1, keepdims=True)
    square = np.sum(grains.c_axis * radial, axis=1) ** 2
    return float(np.average(square[: volume.size], weights=volume))


def misfit(grains: Grains, network: Network) -> float:
    """Root mean square over the boundaries of sin(c, c'): how differently the two grains shrink.

    Lattices shrink and grow differently along c and across it; grains with one c fit in every state of charge.
    """
    one, other = grains.c_axis[network.pairs].transpose(1, 0, 2)
    return float(np.sqrt(np.average(1.0 - np.sum(one * other, axis=1) ** 2, weights=network.area)))


def wear_of(
    grains: Grains, law: CyclingLaw, hairline: float, *, cycles: int, electrode: bool, network: Network | None = None
) -> Wear:
    """Follow a particle to an age of ``cycles``; ``electrode`` says where electrons come from (module's docstring)."""
    spacing = _COARSE * grains.design.grain_size
    network = boundary_network(grains, spacing=spacing) if network is None else network
    # what is followed further only tells which boundaries electrolyte creeps along
    particle = cycle_particle(
        grains, law, cycles=min(int(np.ceil(cycles / hairline)), _FURTHER * cycles), network=network
    )
    age = np.arange(cycles + 1, dtype=np.float64)
    area = np.array([wetted_area(particle, particle.opened * hairline <= one) for one in age])
    held = np.array([_held(network, particle.opened <= one, electrode=electrode) for one in age])
    volume = float(network.grain_volume.sum())
    openness = openness_from_axes(cosine_squared=mean_cosine_squared(grains, network.grain_volume))
    outer = _held(network, np.ones(network.count, dtype=np.bool_), electrode=True)
    return Wear(age, area, held, volume, openness, outer)


def wetted_area(particle: CycledParticle, opened: NDArray[np.bool_]) -> float:
    """Outer surface and all walls that electrolyte reaches, um2, if the faces ``opened`` let it pass."""
    network = particle.network
    reached = wetted(network, opened)
    walls = 2.0 * float(np.where(opened, network.area, network.web_area)[reached.faces].sum())
    return network.outer_area + walls + float(network.void_area[reached.voids].sum())


def _held(network: Network, opened: NDArray[np.bool_], *, electrode: bool) -> float:
    """Share of the oxide in pieces that reach the outer surface, or in the largest piece."""
    volume, pairs = network.grain_volume, network.pairs
    closed = pairs[~opened]
    links = sparse.coo_array((np.ones(len(closed), bool), closed.T), shape=(volume.size, volume.size))
    piece = csgraph.connected_components(links, directed=False)[1]
    of_piece = np.bincount(piece, volume)
    if not electrode:
        return float(of_piece.max() / volume.sum())
    outside = np.unique(piece[pairs[network.at_surface].ravel()])
    return float(of_piece[outside].sum() / volume.sum())


def course_of(
    wear: Wear, ageing: Ageing, *, cycles: int, hours: float, temperature: float, load: float = 1.0
) -> Course:
    """A cell of such particles through ``cycles`` of ``hours`` each at ``temperature`` (degC).

    ``load`` of the cell multiplies that of all its particles.
    """
    number = np.arange(cycles + 1, dtype=np.float64)
    quantile = special.ndtri((np.arange(_QUANTILES) + 0.5) / _QUANTILES) if ageing.spread > 0 else np.zeros(1)
    age = number[:, None] * load * np.exp(ageing.spread * quantile)
    held = np.interp(age, wear.age, wear.held).mean(axis=1)
    area = entered(np.interp(age, wear.age, wear.area).mean(axis=1), ageing.entering)
    rate = ageing.layer * np.sqrt(faster(ageing.layer_activation, temperature) * hours)  # um per root of cycles
    fresh = np.diff(area, prepend=0.0)
    lost = rate * np.convolve(fresh, np.sqrt(number))[: number.size]
    exposed = ageing.oxygen * faster(ageing.oxygen_activation, temperature) * hours * number
    contact = held * np.exp(-lost / wear.volume) * (1.0 + wear.outer * np.expm1(-exposed))
    return Course(area, held, contact, 3.0 * wear.volume / area, lost / area)


def faster(activation: float, temperature: float) -> float:
    """exp(-E/R (1/T - 1/298.15 K)): how much faster than at 25 degC; E in kJ/mol, temperature in degC."""
    inverse = 1.0 / 298.15 - 1.0 / (temperature + ZERO_CELSIUS)
    return float(np.exp(1e3 * activation / GAS_CONSTANT * inverse))


def entered(area: Array, cycles: float) -> Array:
    """Surface that electrolyte has entered: what opens is filled to 1 - 1/e after ``cycles``, (cycle,)."""
    if cycles <= 0:
        return area
    number = np.arange(area.size)
    fresh = np.diff(area, prepend=0.0)
    fresh[0] = 0.0
    return np.asarray(area[0] + np.convolve(fresh, -np.expm1(-number / cycles))[: area.size])
