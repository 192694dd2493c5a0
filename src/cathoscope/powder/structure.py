"""What follows from cell and symmetry of a phase: free cell parameters, spacings, reflections, mass, density."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import gemmi
import numpy as np
from numpy.typing import ArrayLike, NDArray

from cathoscope.core.crystal import Phase, Site
from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.dual import Dual, Graded, mapped, stacked, value_of
from cathoscope.physics.species import atomic_mass
from cathoscope.powder.symmetry import (
    LinearRule,
    Symmetry,
    multiplicities,
    orbit,
    representatives,
    site_multiplicity,
    symmetry_of,
)

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

CELL_NAMES = ("a", "b", "c", "alpha", "beta", "gamma")

AVOGADRO = 0.602214076
"""Avogadro constant, 1e24 / mol: u / A^3 to g / cm^3."""

_LENGTH_WITHIN, _ANGLE_WITHIN = 1e-3, 0.05  # relative, degrees: files round


@dataclass(frozen=True, eq=False)
class Reflections:
    """Reflections of a powder, by falling spacing; those of equal spacing that symmetry does not tie stand apart.

    Attributes
    ----------
    hkl
        Indices of one of the equivalents, [n, 3].
    multiplicity
        How many equivalents there are, those of Friedel included, [n].
    """

    hkl: IntArray
    multiplicity: IntArray

    def __len__(self) -> int:
        return len(self.hkl)


def cell_rule(symmetry: Symmetry) -> LinearRule:
    """Which cell parameters are free and how the six follow: "a", "c" of a trigonal cell on hexagonal axes."""
    lengths, angles, equal = _cell_kind(symmetry)
    names = lengths + angles
    matrix = np.zeros((6, len(names)))
    constant = np.zeros(6)
    for row, name in enumerate(CELL_NAMES):
        source = equal.get(name, name)
        if source in names:
            matrix[row, names.index(source)] = 1.0
        else:
            constant[row] = 120.0 if source == "120" else 90.0
    return LinearRule(names, matrix, constant, tuple(CELL_NAMES.index(name) for name in names))


def require_cell(symmetry: Symmetry, cell: Sequence[float]) -> None:
    """Refuse a cell that its space group does not allow.

    Raises
    ------
    MeasurementError
        If a length differs by 0.1 % or an angle by 0.05 deg from what symmetry asks for, or there is no such cell.
    """
    given = np.asarray(cell, dtype=np.float64)
    if given.shape != (6,):
        raise MeasurementError("not a cell", expected="a, b, c, alpha, beta, gamma", found=str(tuple(cell)))
    rule = cell_rule(symmetry)
    asked = value_of(rule.values(rule.free(given)))
    if np.any(np.abs(given - asked) > np.r_[_LENGTH_WITHIN * np.abs(asked[:3]), [_ANGLE_WITHIN] * 3]):
        raise MeasurementError(
            f"the cell contradicts the space group {symmetry.name}",
            expected=", ".join(f"{name} {value:.4f}" for name, value in zip(CELL_NAMES, asked, strict=True)),
            found=", ".join(f"{name} {value:.4f}" for name, value in zip(CELL_NAMES, given, strict=True)),
            cure="check the cell, the symbol and its setting (:H or :R, :1 or :2)",
        )
    cosines = np.cos(np.radians(given[3:]))
    if np.any(given[:3] <= 0) or 1 - cosines @ cosines + 2 * np.prod(cosines) <= 1e-6:
        raise MeasurementError(
            "not a cell", expected="lengths above zero and angles that enclose a volume", found=str(tuple(cell))
        )


def metric_from_cell(*, cell: ArrayLike | Dual) -> Graded:
    """Reciprocal metric A, 1/A^2: 1/d^2 = A0 h^2 + A1 k^2 + A2 l^2 + A3 hk + A4 hl + A5 kl, (6,).

    ``cell`` is a, b, c (A), alpha, beta, gamma (deg), (6,). International Tables for Crystallography B (2008), 1.1.
    """
    edges = cell if isinstance(cell, Dual) else np.asarray(cell, dtype=np.float64)
    a, b, c = edges[0], edges[1], edges[2]
    cosines = np.cos(np.radians(edges[3:]))
    ca, cb, cg = cosines[0], cosines[1], cosines[2]
    unit = 1.0 - ca * ca - cb * cb - cg * cg + 2.0 * (ca * cb * cg)  # (V / abc)^2
    return stacked(
        [
            (1.0 - ca * ca) / (a * a * unit),
            (1.0 - cb * cb) / (b * b * unit),
            (1.0 - cg * cg) / (c * c * unit),
            2.0 * (ca * cb - cg) / (a * b * unit),
            2.0 * (ca * cg - cb) / (a * c * unit),
            2.0 * (cb * cg - ca) / (b * c * unit),
        ]
    )


def volume_from_cell(*, cell: ArrayLike | Dual) -> Graded:
    """Volume of the cell, A^3: abc (1 - cos^2 alpha - cos^2 beta - cos^2 gamma + 2 cos cos cos)^1/2."""
    edges = cell if isinstance(cell, Dual) else np.asarray(cell, dtype=np.float64)
    cosines = np.cos(np.radians(edges[3:]))
    ca, cb, cg = cosines[0], cosines[1], cosines[2]
    volume: Graded = edges[0] * edges[1] * edges[2] * np.sqrt(1.0 - ca * ca - cb * cb - cg * cg + 2.0 * (ca * cb * cg))
    return volume


def spacing_from_metric(*, hkl: ArrayLike, metric: ArrayLike | Dual) -> Graded:
    """Lattice spacings d of reflections (n, 3), A, (n,); ``metric`` as of `metric_from_cell`."""
    spacing: Graded = 1.0 / np.sqrt(mapped(quadratic(hkl), metric))
    return spacing


def quadratic(hkl: ArrayLike) -> Array:
    """h^2, k^2, l^2, hk, hl, kl of indices (..., 3), (..., 6)."""
    h, k, index = np.moveaxis(np.asarray(hkl, dtype=np.float64), -1, 0)
    return np.stack([h * h, k * k, index * index, h * k, h * index, k * index], axis=-1)


def reciprocal_matrix(metric: ArrayLike | Dual) -> Array:
    """The reciprocal metric as a symmetric matrix (3, 3): h G h^T = 1/d^2."""
    a = value_of(metric)
    return np.array([[a[0], a[3] / 2, a[4] / 2], [a[3] / 2, a[1], a[5] / 2], [a[4] / 2, a[5] / 2, a[2]]])


def reflections_between(
    symmetry: Symmetry, cell: Sequence[float], d_min: float, d_max: float, limit: int = 200_000
) -> Reflections:
    """All reflections with d_min <= d <= d_max (A) that symmetry does not extinguish.

    Raises
    ------
    MeasurementError
        If the range holds no spacing, no reflection, or more than ``limit`` of them.
    """
    if not 0 < d_min < d_max:
        raise MeasurementError(
            "no range of spacings", expected="0 < d_min < d_max, A", found=f"d_min {d_min}, d_max {d_max}"
        )
    group = gemmi.find_spacegroup_by_name(symmetry.name)
    if 4 * np.pi / 3 * gemmi.UnitCell(*cell).volume / d_min**3 / (2 * symmetry.order) > limit:
        raise MeasurementError(
            f"more than {limit} reflections above {d_min} A", cure="raise the lower end of the range of the pattern"
        )
    hkl = gemmi.make_miller_array(gemmi.UnitCell(*cell), group, d_min * (1 - 1e-9), d_max * (1 + 1e-9), True)
    if not len(hkl):
        raise MeasurementError(
            f"{symmetry.name} with this cell has no reflection between {d_min:.4g} and {d_max:.4g} A",
            cure="check the cell, the range of the pattern and the calibration of the instrument",
        )
    chosen = representatives(symmetry, hkl)
    spacing = value_of(spacing_from_metric(hkl=chosen, metric=metric_from_cell(cell=cell)))
    order = np.lexsort((*chosen.T[::-1], -np.round(spacing, 10)))
    return Reflections(chosen[order], multiplicities(symmetry, chosen[order]))


def mass_from_occupancies(
    *, species: Sequence[str], multiplicity: ArrayLike, occupancy: ArrayLike | Dual, masses: Mapping[str, float]
) -> Graded:
    """Mass of the content of a cell, u: sum of multiplicity x occupancy x mass; ``masses`` go before the table."""
    weights = np.array([masses.get(one, atomic_mass(species=one)) for one in species])
    return mapped(weights * np.asarray(multiplicity), occupancy)


def cell_mass(phase: Phase) -> float:
    """Mass of the content of the cell of a phase, u."""
    symmetry = symmetry_of(phase.space_group)
    count = [site_multiplicity(symmetry, site.position) for site in phase.sites]
    occupancy = [site.occupancy for site in phase.sites]
    species = [site.species for site in phase.sites]
    return float(value_of(mass_from_occupancies(species=species, multiplicity=count, occupancy=occupancy, masses={})))


def density(phase: Phase) -> float:
    """Density, g/cm^3."""
    return cell_mass(phase) / AVOGADRO / float(value_of(volume_from_cell(cell=phase.cell)))


def shared_positions(symmetry: Symmetry, sites: Sequence[Site]) -> tuple[tuple[int, ...], ...]:
    """Numbers of the sites that lie on one and the same position: mixed sites stand together."""
    groups: dict[bytes, list[int]] = {}
    for number, site in enumerate(sites):
        orbit_start = canonical_position(symmetry, site.position)
        groups.setdefault(orbit_start.tobytes(), []).append(number)
    return tuple(tuple(group) for group in groups.values())


def canonical_position(symmetry: Symmetry, position: ArrayLike) -> Array:
    """The first of the equivalent positions of a site: equal for all of them, to 1e-4."""
    rounded = np.round(orbit(symmetry, position), 4) % 1.0 + 0.0
    first: Array = rounded[np.lexsort(rounded.T[::-1])[0]]
    return first


def _cell_kind(symmetry: Symmetry) -> tuple[tuple[str, ...], tuple[str, ...], dict[str, str]]:
    """Free lengths, free angles, and what the others equal: another one's name, "90" or "120"."""
    right = {"alpha": "90", "beta": "90", "gamma": "90"}
    if symmetry.system == "cubic":
        return ("a",), (), {"b": "a", "c": "a", **right}
    if symmetry.system == "tetragonal":
        return ("a", "c"), (), {"b": "a", **right}
    if symmetry.name.endswith(":R"):
        return ("a",), ("alpha",), {"b": "a", "c": "a", "beta": "alpha", "gamma": "alpha"}
    if symmetry.system in ("trigonal", "hexagonal"):
        return ("a", "c"), (), {"b": "a", **right, "gamma": "120"}
    if symmetry.system == "orthorhombic":
        return ("a", "b", "c"), (), right
    if symmetry.system == "monoclinic":
        free = ("alpha", "beta", "gamma")["abc".index(unique_axis(symmetry))]
        return ("a", "b", "c"), (free,), {name: "90" for name in right if name != free}
    return ("a", "b", "c"), ("alpha", "beta", "gamma"), {}


def unique_axis(symmetry: Symmetry) -> str:
    """The axis of a monoclinic group: that which its twofold axis or mirror keeps or turns round alone."""
    for rotation in symmetry.rotations:
        diagonal = np.diag(rotation)
        if abs(diagonal.sum()) == 1:
            return "abc"[int(np.flatnonzero(diagonal == -diagonal.sum())[0])]
    return "b"
