"""A phase as a powder holds it: its structure with what symmetry leaves free, and the size, strain and texture of its
crystallites."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cathoscope.core.crystal import Phase, Site
from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.dual import Graded, mapped, stacked, value_of
from cathoscope.powder.parameters import Parameter, Values
from cathoscope.powder.structure import cell_rule, metric_from_cell
from cathoscope.powder.structure_factor import SiteValues
from cathoscope.powder.symmetry import (
    LinearRule,
    Symmetry,
    displacement_rule,
    images,
    position_rule,
    rule_of,
    symmetry_of,
)
from cathoscope.powder.texture import (
    HarmonicBasis,
    harmonic_basis,
    harmonic_terms,
    march_dollase,
    texture_from_harmonics,
)
from cathoscope.powder.width import (
    STEPHENS_TERMS,
    Broadening,
    cosine2_to_axis,
    width_from_size,
    width_from_stephens,
    width_from_strain,
    width_from_uniaxial_size,
    width_from_uniaxial_strain,
)

Array = NDArray[np.float64]
SizeModel = Literal["none", "isotropic", "uniaxial"]
StrainModel = Literal["none", "isotropic", "uniaxial", "stephens"]
Intensities = Literal["structure", "le-bail", "pawley"]

_SIZE, _STRAIN = 0.2, 1000.0  # um, 1e-6: where a refinement starts
_LEAST_U, _MOST_U = -0.02, 0.15  # A^2: beyond these an atom is not there, or the model is wrong
_SIZES, _STRAINS = (1e-3, 10.0), (1.0, 1e5)  # um, 1e-6: narrower or wider peaks tell nothing


@dataclass(frozen=True)
class CrystalliteChoices:
    """How the crystallites of a phase broaden and weigh its reflections.

    Attributes
    ----------
    size, strain
        Models. Uniaxial ones are ellipsoids of revolution about the normal of the planes ``size_axis``/``strain_axis``.
    equivalents
        Whether a uniaxial width is the mean over the equivalents of a reflection, or that of the one that is listed,
        which is what GSAS-II computes.
    march_axis
        Axis of texture by March and Dollase, hkl; None: no such texture.
    harmonics
        Highest degree of spherical harmonics of the texture, 0: none. ``harmonics_psi``: angle between the scattering
        vector and the axis of the sample, deg.
    extinction
        Whether primary extinction weakens strong reflections.
    intensities
        Of reflections: from the structure, or taken from the pattern without one, see `extraction`.
    """

    size: SizeModel = "none"
    size_axis: tuple[int, int, int] = (0, 0, 1)
    strain: StrainModel = "none"
    strain_axis: tuple[int, int, int] = (0, 0, 1)
    equivalents: Literal["average", "representative"] = "average"
    march_axis: tuple[int, int, int] | None = None
    harmonics: int = 0
    harmonics_psi: float = 90.0
    extinction: bool = False
    intensities: Intensities = "structure"


@dataclass(frozen=True, eq=False)
class Crystallite:
    """A phase with its symmetry, choices, and the rules of its cell and sites.

    Attributes
    ----------
    phase, choices
        What is stated.
    symmetry
        Of its space group.
    cell
        Which cell parameters are free.
    positions, displacements
        Of every site: free coordinates; free components of U, None where displacement is isotropic.
    strains
        The 15 coefficients of Stephens' model from the free ones.
    harmonics
        Basis of the texture's harmonics, None without.
    """

    phase: Phase
    choices: CrystalliteChoices
    symmetry: Symmetry
    cell: LinearRule
    positions: tuple[LinearRule, ...]
    displacements: tuple[LinearRule | None, ...]
    strains: LinearRule
    harmonics: HarmonicBasis | None

    def cell_from(self, own: Values) -> Graded:
        """a, b, c, alpha, beta, gamma from the free ones among the numbers of the phase, (6,)."""
        return self.cell.values(stacked([own[name] for name in self.cell.names]))

    def sites_from(self, own: Values) -> SiteValues:
        """Occupancies, positions and displacements of all sites."""
        sites = self.phase.sites
        occupancy = stacked([own[f"{one.label}.occupancy"] for one in sites])
        position = stacked([_ruled(rule, own, one) for one, rule in zip(sites, self.positions, strict=True)], axis=0)
        isotropic = [0.0 if one.u_aniso is not None else own[f"{one.label}.u"] for one in sites]
        if not any(self.displacements):
            return SiteValues(occupancy, position, stacked(isotropic), None)
        tensors = [
            np.zeros(6) if rule is None else _ruled(rule, own, one)
            for one, rule in zip(sites, self.displacements, strict=True)
        ]
        return SiteValues(occupancy, position, stacked(isotropic), stacked(tensors, axis=0))


def crystallite_of(phase: Phase, choices: CrystalliteChoices | None = None) -> Crystallite:
    """A phase ready for refinement.

    Raises
    ------
    MeasurementError
        If the group is unknown, labels of sites are not unlike, harmonics are of an odd degree, or texture or
        extinction is asked for where intensities are free.
    """
    choices = choices or CrystalliteChoices()
    labels = [site.label for site in phase.sites]
    free = choices.intensities != "structure"
    if free and (choices.march_axis is not None or choices.harmonics or choices.extinction):
        raise MeasurementError(
            f"intensities of {phase.name} are free and cannot tell texture or extinction",
            expected="a structure, or no texture and no extinction",
            found=f'intensities = "{choices.intensities}"',
        )
    if len(set(labels)) < len(labels) or not (labels or free):
        raise MeasurementError(
            f"sites of {phase.name} cannot be told apart", expected="one label per site", found=", ".join(labels)
        )
    symmetry = symmetry_of(phase.space_group)
    metric = metric_from_cell(cell=phase.cell)
    stars = np.sqrt(value_of(metric)[:3])
    return Crystallite(
        phase,
        choices,
        symmetry,
        cell_rule(symmetry),
        tuple(position_rule(symmetry, site.position) for site in phase.sites),
        tuple(None if one.u_aniso is None else displacement_rule(symmetry, one.position, stars) for one in phase.sites),
        stephens_rule(symmetry),
        harmonic_basis(symmetry, metric, choices.harmonics) if choices.harmonics else None,
    )


def stephens_rule(symmetry: Symmetry) -> LinearRule:
    """Which of the 15 coefficients S_HKL are free in a Laue class: what its rotations leave unchanged."""
    powers = np.array(STEPHENS_TERMS)
    spread = np.random.default_rng(0).standard_normal((60, 3))
    terms = np.prod(spread[:, None, :] ** powers, axis=-1)
    turned = np.einsum("ni,gij->gnj", spread, symmetry.laue_rotations.astype(np.float64))
    mean = np.mean([np.prod(one[:, None, :] ** powers, axis=-1) for one in turned], axis=0)
    projector = np.linalg.lstsq(terms, mean, rcond=None)[0]
    projector[np.abs(projector) < 1e-9] = 0.0
    return rule_of(projector, np.zeros(len(powers)), tuple("S" + "".join(map(str, one)) for one in STEPHENS_TERMS))


def numbers_of(crystallite: Crystallite) -> dict[str, Parameter]:
    """The numbers of a phase by their names without its own, and where they start; without scales."""
    found = dict(zip(crystallite.cell.names, crystallite.cell.free(crystallite.phase.cell), strict=True))
    numbers = {name: Parameter(float(value)) for name, value in found.items()}
    if crystallite.choices.intensities != "structure":
        return numbers | _widths(crystallite)
    for site, place, tensor in zip(
        crystallite.phase.sites, crystallite.positions, crystallite.displacements, strict=True
    ):
        numbers[f"{site.label}.occupancy"] = Parameter(site.occupancy)
        numbers |= _started(site, place, site.position)
        if tensor is None or site.u_aniso is None:
            numbers[f"{site.label}.u"] = Parameter(site.u_iso, low=_LEAST_U, high=_MOST_U)
        else:
            numbers |= _started(site, tensor, site.u_aniso)
    return numbers | _widths(crystallite) | _weights(crystallite)


def _started(site: Site, rule: LinearRule, values: ArrayLike) -> dict[str, Parameter]:
    return {f"{site.label}.{name}": Parameter(float(x)) for name, x in zip(rule.names, rule.free(values), strict=True)}


def _widths(crystallite: Crystallite) -> dict[str, Parameter]:
    """Numbers of size and strain."""
    choices, numbers = crystallite.choices, dict[str, Parameter]()
    size, strain = (Parameter(start, True, *limits) for start, limits in ((_SIZE, _SIZES), (_STRAIN, _STRAINS)))
    if choices.size != "none":
        numbers |= {"size": size, "size_lorentz": Parameter(1.0, low=0.0, high=1.0)}
    if choices.size == "uniaxial":
        numbers["size_axial"] = size
    if choices.strain in ("isotropic", "uniaxial"):
        numbers |= {"strain": strain, "strain_lorentz": Parameter(1.0, low=0.0, high=1.0)}
    if choices.strain == "uniaxial":
        numbers["strain_axial"] = strain
    if choices.strain == "stephens":
        # the strain that is alike in all directions, to begin with
        metric = value_of(metric_from_cell(cell=crystallite.phase.cell))
        alike = crystallite.strains.free(_isotropic_stephens(metric))
        numbers |= {
            name: Parameter(_STRAIN**2 * float(one)) for name, one in zip(crystallite.strains.names, alike, strict=True)
        }
        numbers["strain_lorentz"] = Parameter(1.0, low=0.0, high=1.0)
    return numbers


def _isotropic_stephens(metric: Array) -> Array:
    """Coefficients of (1/d^2)^2, [15]: then the width of delta d / d is the same for all reflections."""
    squares = {(2, 0, 0): 0, (0, 2, 0): 1, (0, 0, 2): 2, (1, 1, 0): 3, (1, 0, 1): 4, (0, 1, 1): 5}
    out = np.zeros(len(STEPHENS_TERMS))
    for one, i in squares.items():
        for other, j in squares.items():
            powers = tuple(a + b for a, b in zip(one, other, strict=True))
            out[STEPHENS_TERMS.index(powers)] += metric[i] * metric[j]
    return out


def _weights(crystallite: Crystallite) -> dict[str, Parameter]:
    """Numbers of texture and extinction."""
    numbers = dict[str, Parameter]()
    if crystallite.choices.march_axis is not None:
        numbers["march"] = Parameter(1.0, True, 0.05, 20.0)
    if crystallite.harmonics is not None:
        numbers |= {name: Parameter(0.0) for name in crystallite.harmonics.names}
    if crystallite.choices.extinction:
        numbers["extinction"] = Parameter(0.01, True, 1e-8, 1e4)
    return numbers


def broadenings_of(
    crystallite: Crystallite, hkl: NDArray[np.int64], own: Values, *, d: Graded, metric: Graded
) -> list[Broadening]:
    """What size and strain add to the width of reflections (n, 3)."""
    choices, found = crystallite.choices, list[Broadening]()
    if choices.size != "none":
        if choices.size == "isotropic":
            width = width_from_size(d=d, size=own["size"])
        else:
            cosine2 = _cosines(crystallite, hkl, choices.size_axis, metric)
            width = width_from_uniaxial_size(d=d, equatorial=own["size"], axial=own["size_axial"], cosine2=cosine2)
        found.append(Broadening(width, own["size_lorentz"]))
    if choices.strain != "none":
        if choices.strain == "isotropic":
            width = width_from_strain(strain=own["strain"])
        elif choices.strain == "uniaxial":
            cosine2 = _cosines(crystallite, hkl, choices.strain_axis, metric)
            width = width_from_uniaxial_strain(equatorial=own["strain"], axial=own["strain_axial"], cosine2=cosine2)
        else:
            free = stacked([own[name] for name in crystallite.strains.names])
            width = width_from_stephens(d=d, hkl=hkl, coefficients=mapped(crystallite.strains.matrix, free))
        found.append(Broadening(width, own["strain_lorentz"]))
    return found


def _cosines(crystallite: Crystallite, hkl: NDArray[np.int64], axis: tuple[int, int, int], metric: Graded) -> Graded:
    """Squared cosines to an axis of the equivalents (n, g), or of those listed alone (n, 1)."""
    listed = crystallite.choices.equivalents == "representative"
    planes = hkl[:, None, :] if listed else images(crystallite.symmetry, hkl)
    return cosine2_to_axis(hkl=planes, axis=axis, metric=metric)


def texture_of(crystallite: Crystallite, hkl: NDArray[np.int64], own: Values, *, metric: Graded) -> Graded | None:
    """What texture does to the areas of reflections (n, 3); None without texture."""
    choices, found = crystallite.choices, None
    if choices.march_axis is not None:
        found = march_dollase(crystallite.symmetry, hkl, axis=choices.march_axis, ratio=own["march"], metric=metric)
    if crystallite.harmonics is not None:
        terms = harmonic_terms(crystallite.harmonics, hkl, choices.harmonics_psi)
        coefficients = stacked([own[name] for name in crystallite.harmonics.names])
        made = texture_from_harmonics(terms=terms, coefficients=coefficients)
        found = made if found is None else found * made
    return found


def _ruled(rule: LinearRule, own: Values, site: Site) -> Graded:
    """Numbers of a site from the free ones among the numbers of the phase."""
    if not rule.names:
        return rule.constant
    return rule.values(stacked([own[f"{site.label}.{name}"] for name in rule.names]))
