"""What a refinement says of phases: cells, shares of the mass, occupancies, domains, strain, each with its uncertainty.

Quantities are computed from the refined numbers together with their derivatives, so that uncertainties follow from the
whole covariance (delta method) and are widened by the goodness of fit where that is above 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cathoscope.numerics.dual import Dual, Graded, mapped, slope_of, value_of
from cathoscope.physics.species import species_of
from cathoscope.powder.crystallite import Crystallite
from cathoscope.powder.model import Model, numbers_in
from cathoscope.powder.parameters import Values
from cathoscope.powder.refine import Fit
from cathoscope.powder.strategy import mass_fractions
from cathoscope.powder.structure import canonical_position, volume_from_cell
from cathoscope.powder.symmetry import site_multiplicity

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Found:
    """A quantity, a number or an array, and its standard uncertainty; NaN where it was not refined."""

    value: Array
    std: Array


def found(fit: Fit, quantity: Graded | float) -> Found:
    """A quantity computed from the numbers of a fit, with its uncertainty."""
    value = value_of(quantity)
    if not isinstance(quantity, Dual) or not fit.search.free:
        return Found(value, np.zeros(value.shape))
    slope = quantity.slope
    flat = [fit.std_of(Dual(np.float64(0), one)) for one in slope.reshape(-1, slope.shape[-1])]
    return Found(value, np.asarray(flat, dtype=np.float64).reshape(value.shape))


def phase_quantities(fit: Fit, phase: Crystallite) -> dict[str, Found]:
    """Quantities of one phase by the names of the schema; those of sites are [site] or [site, edge].

    Cells and positions that symmetry fixes have the uncertainty zero. Sizes, strain, antisite and the occupancies of
    oxygen and lithium are there only if something of them was refined, and those of sites only with a structure.
    """
    own = numbers_in("", phase.phase.name, fit.values())
    cell = phase.cell_from(own)
    made: dict[str, Graded | float] = {f"lattice_{name}": cell[k] for k, name in enumerate("abc")}
    made |= {"lattice_angle": cell[3:], "cell_volume": volume_from_cell(cell=cell)}
    if phase.choices.intensities != "structure":
        made |= {name: one for name, one in _domains(own).items() if _is_free(one)}
        return {name: found(fit, one) for name, one in made.items()}
    sites = phase.sites_from(own)
    made |= {"site_occupancy": sites.occupancy, "site_position": sites.position}
    made["site_displacement"] = sites.u_iso
    if sites.u_aniso is not None:
        made["site_tensor"] = sites.u_aniso
    made |= {name: one for name, one in _shares(phase, sites.occupancy).items() if _is_free(one)}
    made |= {name: one for name, one in _domains(own).items() if _is_free(one)}
    out = {name: found(fit, one) for name, one in made.items()}
    isotropic = np.array([site.u_aniso is None for site in phase.phase.sites])
    displacement = out["site_displacement"]
    kept = (np.where(isotropic, one, np.nan) for one in (displacement.value, displacement.std))
    return out | {"site_displacement": Found(*kept)}


def _is_free(quantity: Graded | float) -> bool:
    return isinstance(quantity, Dual) and bool(np.any(quantity.slope != 0))


def _shares(phase: Crystallite, occupancy: Graded) -> dict[str, Graded]:
    """What fills the site of lithium, where lithium fills most of one, and of oxygen."""
    elements = np.array([species_of(site.species).element for site in phase.phase.sites])
    places = [canonical_position(phase.symmetry, site.position) for site in phase.phase.sites]
    made: dict[str, Graded] = {}
    if "O" in elements:
        count = [site_multiplicity(phase.symmetry, site.position) for site in phase.phase.sites]
        weight = np.where(elements == "O", count, 0.0)
        made["oxygen_occupancy"] = mapped(weight / weight.sum(), occupancy)
    stated = np.where(elements == "Li", [site.occupancy for site in phase.phase.sites], -1.0)
    if stated.max() >= 0:
        home = places[int(np.argmax(stated))]
        here = np.array([np.allclose(place, home, atol=1e-4) for place in places])
        for name, element in (("lithium_occupancy", "Li"), ("antisite", "Ni")):
            made[name] = mapped(np.where(here & (elements == element), 1.0, 0.0), occupancy)
    return made


def _domains(own: Values) -> dict[str, Graded | float]:
    """Sizes and strain of crystallites."""
    made: dict[str, Graded | float] = {}
    if "size" in own:
        made["domain_size"] = own["size"]
        if "size_axial" in own:
            made["domain_aspect"] = own["size_axial"] / own["size"]
    if "strain" in own:
        made["microstrain"] = own["strain"]
    return made


def bank_fractions(model: Model, fit: Fit) -> Found:
    """Shares of the mass of the phases by every bank alone, [bank, phase]."""
    parts = [found(fit, mass_fractions(model, number, fit.values())) for number in range(len(model.patterns))]
    return Found(np.stack([one.value for one in parts]), np.stack([one.std for one in parts]))


def weight_fractions(model: Model, fit: Fit) -> Found:
    """Shares of the mass of the phases by all banks together, [phase].

    Every bank has a scale of its own for every phase, so each gives shares of its own. The mean is that of least
    squares with their whole covariance, and what a bank that is far off says more than its uncertainty shows.
    """
    count, phases = len(model.patterns), len(model.phases)
    shares = [mass_fractions(model, number, fit.values()) for number in range(count)]
    if count == 1 or phases == 1:
        return found(fit, shares[0])
    parameters = len(fit.search.free)
    slope = np.concatenate([slope_of(one, parameters)[:-1] for one in shares])
    value = np.concatenate([value_of(one)[:-1] for one in shares])
    known = np.isfinite(np.diag(fit.covariance))
    covariance = slope[:, known] @ fit.covariance[np.ix_(known, known)] @ slope[:, known].T
    design = np.tile(np.eye(phases - 1), (count, 1))
    inverse = np.linalg.pinv(covariance, hermitian=True)
    spread = np.linalg.pinv(design.T @ inverse @ design, hermitian=True)
    to_mean = spread @ design.T @ inverse
    first = Dual(to_mean @ value, to_mean @ slope)
    last = 1.0 - first.sum(axis=0)
    return found(fit, Dual(np.append(first.value, last.value), np.vstack([first.slope, last.slope])))


def refined_numbers(fit: Fit) -> Mapping[str, tuple[float, float]]:
    """Every free number of a fit and its standard uncertainty."""
    values = fit.values()
    return {name: (float(value_of(values[name])), fit.std_of(values[name])) for name in fit.search.free}


def table_of(fit: Fit, names: Sequence[str] = ()) -> str:
    """The refined numbers as lines of text: name, value, standard uncertainty; those of ``names`` only if there are."""
    chosen = {name: one for name, one in refined_numbers(fit).items() if not names or name in names}
    width = max((len(name) for name in chosen), default=0)
    return "\n".join(f"{name:<{width}}  {value:>14.7g}  {std:>10.2g}" for name, (value, std) in chosen.items())
