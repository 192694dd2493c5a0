"""The crystals of a heated powder: phases, cells, occupancies and domains from the local states of its particles.

A cell of the transport grid holds the share x1 of its metal as spinel and the rest as layered oxide. With the excess
q of its white line by lithium that is not spread evenly, q = W + s1 x1 + s2 x2 + v - charged line (eV, mean 0),

    layered   a = a(T) + a_spinel x1 + a_charge q,      c = c(T) + c_spinel x1 + c_charge q
    spinel    a = a(T) + later_spinel x2 - coherent (1 - x1)

a(T) and c(T) and all sizes, strains and the mixing are courses of temperature, see `Course`. Oxygen follows from the
mass that `HeatingLaw` says is lost: the first loss turns layered into spinel with as many metals per oxygen as remain,
so that nickel fills part of the lithium site of the spinel; later losses leave empty oxygen sites.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp

import numpy as np
from numpy.typing import NDArray

from cathoscope.core.crystal import Phase, Site
from cathoscope.core.errors import CathoscopeError
from cathoscope.physics.kinetics import ZERO_CELSIUS
from cathoscope.physics.species import atomic_mass
from cathoscope.virtual.diffraction_pattern import Portion
from cathoscope.virtual.diffraction_structure import contents
from cathoscope.virtual.heating import HeatingLaw, State
from cathoscope.virtual.programme import ROOM

Array = NDArray[np.float64]

PHASES = ("layered", "spinel")
_OXYGEN = 15.999  # u
_LEAST_SHARE = 1e-6  # of the metal; a phase with less is not there
_LAYERED_OXYGEN, _SPINEL_OXYGEN = 0.2360, 0.2630  # positions z and x = y = z
_DISPLACEMENT = {"metal": 0.005, "lithium": 0.012, "oxygen": 0.008}  # A^2 at 25 degC
_METALS = ("Ni", "Mn", "Co")


@dataclass(frozen=True)
class Course:
    """A quantity against temperature: start + slope (T - 25) + rise [s(T) - s(25)].

    s(T) = 1 / (1 + exp((middle - T) / width)); ``middle`` in degC, ``width`` in K, ``slope`` per K.
    """

    start: float
    slope: float = 0.0
    rise: float = 0.0
    middle: float = 120.0
    width: float = 12.0

    def __call__(self, temperature: float) -> float:
        """Value at ``temperature`` (degC)."""
        low, high = (1.0 / (1.0 + exp((self.middle - t) / self.width)) for t in (ROOM, temperature))
        return self.start + self.slope * (temperature - ROOM) + self.rise * (high - low)


@dataclass(frozen=True)
class CrystalLaw:
    """How the crystals of one sample depend on temperature and local state; symbols as in the module's first lines.

    Attributes
    ----------
    a, c, spinel_a
        Cells (A) where x1 = q = 0, and of the spinel where x1 = 1 and x2 = 0.
    antisite
        Share of the lithium site of the layered oxide that holds nickel, exchanged for lithium.
    size, aspect, strain
        Domains of the layered oxide across [110] (um), along over across, and full width of delta d / d (1e-6).
    spinel_size, spinel_strain
        Of the spinel, whose domains are isotropic.
    a_spinel, c_spinel, a_charge, c_charge, later_spinel, coherent
        A; A; A/eV; A/eV; A; A.
    lithium
        Per metal of the layered oxide.
    """

    a: Course
    c: Course
    antisite: Course
    size: Course
    aspect: Course
    strain: Course
    spinel_a: Course = Course(8.115, slope=8.9e-5)
    spinel_size: Course = Course(0.030, rise=0.020, middle=185.0, width=18.0)
    spinel_strain: Course = Course(2200.0, rise=-900.0, middle=180.0, width=18.0)
    a_spinel: float = 0.006
    c_spinel: float = -0.06
    a_charge: float = -0.003
    c_charge: float = -0.03
    later_spinel: float = 0.035
    coherent: float = 0.012
    lithium: float = 0.30


GRAVEL_CRYSTAL = CrystalLaw(
    a=Course(2.8240, slope=3.4e-5),
    c=Course(14.440, slope=2.6e-4),
    antisite=Course(0.030, rise=0.020, middle=135.0, width=15.0),
    size=Course(0.080, rise=0.025, middle=110.0, width=18.0),
    aspect=Course(1.0),
    strain=Course(2600.0, rise=700.0, middle=135.0, width=14.0),
)
"""Gravel: c of Hou's text, thermal expansion alone below the transition, isotropic domains that grow."""

ROD_CRYSTAL = CrystalLaw(
    a=Course(2.8190, slope=3.4e-5, rise=0.0025, middle=112.0),
    c=Course(14.300, slope=2.6e-4, rise=0.100, middle=112.0),
    antisite=Course(0.035, rise=0.050, middle=128.0, width=13.0),
    size=Course(0.075, rise=0.022, middle=115.0, width=14.0),
    aspect=Course(2.0, rise=-0.55, middle=115.0, width=14.0),
    strain=Course(3000.0, rise=900.0, middle=130.0, width=12.0),
    c_spinel=-0.08,
)
"""Rod: a much shorter c that grows beyond thermal expansion, more mixing, domains that get rounder."""


@dataclass(frozen=True)
class Local:
    """Local states of a powder at one temperature (degC): x1, x2 and q (eV) of every cell of its particles, (n,)."""

    temperature: float
    spinel: Array
    later: Array
    charge: Array


def local_states(states: Sequence[Iterator[State]], law: HeatingLaw) -> Iterator[Local]:
    """States of all particles of a powder, temperature after temperature; every cell counts the same."""
    for together in zip(*states, strict=True):
        spinel, later = (np.concatenate([getattr(one, name) for one in together]) for name in ("spinel", "later"))
        line = np.concatenate([one.white_line + one.vacancies for one in together]) - law.charged_line
        charge = line + law.line_of_spinel * spinel + law.line_of_later * later
        # the solver may leave a cell beyond 1 by its tolerance, and no share of metal is negative
        yield Local(together[0].temperature, np.clip(spinel, 0.0, 1.0), later, charge)


@dataclass(frozen=True)
class Crystals:
    """The phases of a powder at one temperature (degC), in the order of `PHASES`; none for a phase that is not there.

    ``found`` holds what a refinement should find, by the names of the schema, two values each.
    """

    temperature: float
    portions: tuple[Portion | None, Portion | None]
    found: Mapping[str, Array]


def crystals(
    local: Local, crystal: CrystalLaw, heating: HeatingLaw, metals: Mapping[str, float], *, classes: int = 1
) -> Crystals:
    """The powder of the states ``local``.

    Parameters
    ----------
    local, crystal, heating
        States and laws.
    metals
        Shares of Ni, Mn and Co.
    classes
        Classes of equal share into which the cells of each phase are sorted by their lattice parameter; 1: each phase
        is homogeneous, with its mean cell. The means are the same for any number.
    """
    portions = _layered(local, crystal, heating, metals, classes), _spinel(local, crystal, heating, metals, classes)
    return Crystals(local.temperature, portions, _found(portions))


def _layered(
    local: Local, crystal: CrystalLaw, heating: HeatingLaw, metals: Mapping[str, float], classes: int
) -> Portion | None:
    share, t = 1.0 - local.spinel, local.temperature
    if share.mean() < _LEAST_SHARE:
        return None
    a = crystal.a(t) + crystal.a_spinel * local.spinel + crystal.a_charge * local.charge
    c = crystal.c(t) + crystal.c_spinel * local.spinel + crystal.c_charge * local.charge
    shares, lattice = distribution(share, np.stack([a, c], axis=1), classes)
    mean = shares @ lattice
    lost = _oxygen_lost(heating.mass_loss(0.0, 0.0, t), metals, crystal.lithium)
    phase = layered_phase(
        metals, mean, lithium=crystal.lithium, antisite=crystal.antisite(t), oxygen=1 - lost / 2, temperature=t
    )
    cells = float(share.mean()) / _metals_of(phase)
    return Portion(phase, cells, crystal.size(t), crystal.aspect(t), crystal.strain(t), shares, lattice)


def _spinel(
    local: Local, crystal: CrystalLaw, heating: HeatingLaw, metals: Mapping[str, float], classes: int
) -> Portion | None:
    share, t = local.spinel, local.temperature
    if share.mean() < _LEAST_SHARE:
        return None
    a = crystal.spinel_a(t) + crystal.later_spinel * local.later - crystal.coherent * (1 - local.spinel)
    shares, lattice = distribution(share, np.stack([a, a], axis=1), classes)
    later = float(share @ local.later / share.sum())
    first, all_ = (
        _oxygen_lost(heating.mass_loss(1.0, x2, t_), metals, crystal.lithium) for x2, t_ in ((0.0, ROOM), (later, t))
    )
    filled = 4 / (2 - first) - 2
    phase = spinel_phase(
        metals,
        (shares @ lattice)[0],
        lithium=2 * crystal.lithium,
        antisite=filled,
        oxygen=(2 - all_) / (2 - first),
        temperature=t,
    )
    cells = float(share.mean()) / _metals_of(phase)
    return Portion(phase, cells, crystal.spinel_size(t), 1.0, crystal.spinel_strain(t), shares, lattice)


def _oxygen_lost(percent: Array, metals: Mapping[str, float], lithium: float) -> float:
    """Oxygen atoms lost per metal, where ``percent`` of the mass of Li_x M O2 are lost."""
    mass = lithium * atomic_mass(species="Li") + 2 * _OXYGEN
    mass += sum(share * atomic_mass(species=metal) for metal, share in metals.items())
    return float(percent) * mass / (100 * _OXYGEN)


def distribution(weight: Array, lattice: Array, classes: int) -> tuple[Array, Array]:
    """Sort cells of material into classes of equal weight by their second lattice parameter.

    Parameters
    ----------
    weight, lattice
        Of every cell: (n,), 0 or more; (n, 2; A).
    classes
        At most so many.

    Returns
    -------
    Share (k,) and weighted mean lattice (k, 2) of each class. Shares add up to 1 and the mean over the classes is that
    over all cells.

    Raises
    ------
    CathoscopeError
        If nothing weighs anything.
    """
    total = weight.sum()
    if not total > 0:
        raise CathoscopeError("a phase without material has no distribution")
    order = np.argsort(lattice[:, 1], kind="stable")
    below = (np.cumsum(weight[order]) - 0.5 * weight[order]) / total
    index = np.minimum((below * classes).astype(int), classes - 1)
    shares = np.bincount(index, weights=weight[order], minlength=classes) / total
    sums = [np.bincount(index, weights=(weight * edge)[order], minlength=classes) for edge in lattice.T]
    kept = shares > 0
    return shares[kept], np.stack(sums, axis=1)[kept] / (total * shares[kept])[:, None]


def layered_phase(
    metals: Mapping[str, float],
    edges: Array | tuple[float, float],
    *,
    lithium: float,
    antisite: float,
    oxygen: float = 1.0,
    temperature: float = ROOM,
) -> Phase:
    """Li_x M O2 of R-3m whose lithium and nickel have changed places on the share ``antisite`` of the sites."""
    a, c = (float(edge) for edge in edges)
    u = _displacements(temperature)
    sites = [
        Site("Li1", "Li", (0.0, 0.0, 0.5), lithium - antisite, u["lithium"]),
        Site("Ni2", "Ni", (0.0, 0.0, 0.5), antisite, u["lithium"]),
        *(
            Site(f"{metal}1", metal, (0.0, 0.0, 0.0), metals[metal] - (antisite if metal == "Ni" else 0.0), u["metal"])
            for metal in _METALS
        ),
        Site("Li2", "Li", (0.0, 0.0, 0.0), antisite, u["metal"]),
        Site("O1", "O", (0.0, 0.0, _LAYERED_OXYGEN), oxygen, u["oxygen"]),
    ]
    return Phase(PHASES[0], "R -3 m:H", (a, a, c, 90.0, 90.0, 120.0), tuple(sites), "virtual experiment")


def spinel_phase(
    metals: Mapping[str, float],
    edge: float,
    *,
    lithium: float,
    antisite: float,
    oxygen: float = 1.0,
    temperature: float = ROOM,
) -> Phase:
    """Li_y Ni_m [M2] O4 of Fd-3m, y = ``lithium`` and m = ``antisite`` on the tetrahedral site."""
    u, edge = _displacements(temperature), float(edge)
    sites = [
        Site("Li1", "Li", (0.125, 0.125, 0.125), lithium, u["lithium"]),
        Site("Ni2", "Ni", (0.125, 0.125, 0.125), antisite, u["lithium"]),
        *(Site(f"{metal}1", metal, (0.5, 0.5, 0.5), metals[metal], u["metal"]) for metal in _METALS),
        Site("O1", "O", (_SPINEL_OXYGEN,) * 3, oxygen, u["oxygen"]),
    ]
    return Phase(PHASES[1], "F d -3 m:2", (edge, edge, edge, 90.0, 90.0, 90.0), tuple(sites), "virtual experiment")


def starting_phases(metals: Mapping[str, float]) -> tuple[Phase, Phase]:
    """What a person knows before a refinement: rounded cells, the lithium that was taken out, places of the oxygen."""
    layered = layered_phase(metals, (2.83, 14.38), lithium=0.30, antisite=0.02)
    spinel = spinel_phase(metals, 8.10, lithium=0.60, antisite=0.05)
    source = "rounded values of charged oxides"
    return _with_oxygen_at(layered, (0.0, 0.0, 0.2375), source), _with_oxygen_at(spinel, (0.2625,) * 3, source)


def _with_oxygen_at(phase: Phase, position: tuple[float, float, float], source: str) -> Phase:
    """The same phase with its oxygen elsewhere and one displacement for all."""
    sites = [replace(site, position=position if site.species == "O" else site.position) for site in phase.sites]
    return replace(phase, sites=tuple(replace(site, u_iso=0.008) for site in sites), source=source)


def _displacements(temperature: float) -> dict[str, float]:
    """Isotropic displacements (A^2), in proportion to the absolute temperature."""
    scale = (temperature + ZERO_CELSIUS) / (ROOM + ZERO_CELSIUS)
    return {kind: value * scale for kind, value in _DISPLACEMENT.items()}


def _metals_of(phase: Phase) -> float:
    """Metal atoms in the cell."""
    return sum(count for species, count in contents(phase).items() if species in _METALS)


def _found(portions: Sequence[Portion | None]) -> dict[str, Array]:
    """What a refinement should find; NaN of a phase that is not there, whose weight fraction is 0."""
    rows = [_numbers(portion) if portion else {} for portion in portions]
    names = next(row for row in rows if row)
    found = {name: np.array([row.get(name, np.nan) for row in rows]) for name in names}
    mass = np.nan_to_num(found.pop("mass"))
    return found | {"weight_fraction": mass / mass.sum()}


def scatter_of(portion: Portion | None) -> tuple[float, float, float]:
    """Share of the metal atoms in a phase, and standard deviations (A) of its a and c over its classes."""
    if portion is None:
        return 0.0, np.nan, np.nan
    away = portion.lattice - portion.shares @ portion.lattice
    a, c = (float(value) for value in np.sqrt(portion.shares @ away**2))
    return portion.cells * _metals_of(portion.phase), a, c


def _numbers(portion: Portion) -> dict[str, float]:
    """Truth of one phase by the names of the schema, and its mass."""
    phase = portion.phase
    filled = {site.label: site.occupancy for site in phase.sites}
    mass = sum(count * atomic_mass(species=species) for species, count in contents(phase).items())
    return {
        "lattice_a": phase.cell[0],
        "lattice_c": phase.cell[2],
        "antisite": filled["Ni2"],
        "oxygen_occupancy": filled["O1"],
        "lithium_occupancy": filled["Li1"],
        "domain_size": portion.size,
        "domain_aspect": portion.aspect,
        "microstrain": portion.strain,
        "mass": portion.cells * mass,
    }
