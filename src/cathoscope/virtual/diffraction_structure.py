"""Reflections of a crystal and its structure factors, summed over every atom of the cell.

    F(h) = sum over atoms of occupancy x amplitude x exp(-2 pi^2 U / d^2) exp(2 pi i h x)

with the amplitude b of neutrons in 1e-12 cm, or f0(1/2d) + f' + i f'' of X-rays in electrons. Nothing is reduced by
symmetry: reflections are all integers within a shell, atoms are all images of the sites in the cell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import gemmi
import numpy as np
from numpy.typing import ArrayLike, NDArray

from cathoscope.core.crystal import Phase
from cathoscope.core.errors import CathoscopeError
from cathoscope.physics.neutron import scattering_length

Array = NDArray[np.float64]
Cell = tuple[float, float, float, float, float, float]

KEV_ANGSTROM = 12.398419843
"""Photon energy times wavelength, keV A; CODATA 2018."""

_SAME = 1e-5  # of the cell: images of a site closer than that are one atom
_LARGEST_INDEX = 200


@dataclass(frozen=True)
class Families:
    """Families of equivalent reflections, Friedel's mates included, those that are always extinct left out.

    Attributes
    ----------
    hkl
        One of each family, (n, 3).
    multiplicity
        Number of members, (n,).
    members, first
        All members (total, 3); those of the family i are ``members[first[i] : first[i + 1]]``.
    """

    hkl: NDArray[np.int64]
    multiplicity: NDArray[np.int64]
    members: NDArray[np.int64]
    first: NDArray[np.int64]


def reciprocal_metric(cell: Cell) -> Array:
    """Tensor M (3, 3; 1/A^2) with 1/d^2 = h M h, the inverse of the metric of the cell (A, deg)."""
    edges, angles = np.array(cell[:3]), np.cos(np.deg2rad(cell[3:]))
    cosines = np.array([[1, angles[2], angles[1]], [angles[2], 1, angles[0]], [angles[1], angles[0], 1]])
    return np.asarray(np.linalg.inv(cosines * edges[:, None] * edges))


def cell_volume(cell: Cell) -> float:
    """Volume of a cell, A^3."""
    return float(np.linalg.det(reciprocal_metric(cell)) ** -0.5)


def spacings(hkl: ArrayLike, cell: Cell) -> Array:
    """Lattice spacings d (A) of reflections (n, 3)."""
    indices = np.asarray(hkl, dtype=np.float64)
    return np.asarray(np.einsum("ni,ij,nj->n", indices, reciprocal_metric(cell), indices) ** -0.5)


def axis_cosines(hkl: ArrayLike, axis: tuple[int, int, int], cell: Cell) -> Array:
    """Cosine of the angle between each reflection (n, 3) and the lattice plane normal ``axis``, given as h k l."""
    indices, direction, metric = np.asarray(hkl, dtype=np.float64), np.array(axis, dtype=float), reciprocal_metric(cell)
    along = indices @ metric @ direction
    return np.asarray(along * spacings(indices, cell) / np.sqrt(direction @ metric @ direction))


def operations_of(space_group: str) -> gemmi.GroupOps:
    """Symmetry operations of a Hermann-Mauguin symbol.

    Raises
    ------
    CathoscopeError
        If there is no such group.
    """
    found = gemmi.find_spacegroup_by_name(space_group)
    if found is None:
        raise CathoscopeError("unknown space group", expected='such as "R -3 m:H"', found=repr(space_group))
    return found.operations()


def families(space_group: str, cell: Cell, *, shortest: float, longest: float) -> Families:
    """Families of reflections with ``shortest`` <= d <= ``longest`` (A), by falling spacing.

    Raises
    ------
    CathoscopeError
        If the space group is unknown or the range holds no reflection, or far too many.
    """
    metric = np.linalg.inv(reciprocal_metric(cell))
    largest = np.floor(np.sqrt(np.diag(metric)) / shortest).astype(int)  # |h_i| <= |a_i| / d
    if not 0 < shortest < longest or largest.max() > _LARGEST_INDEX:
        raise CathoscopeError("the range of lattice spacings is impossible", found=f"{shortest:g} to {longest:g} A")
    grids = np.meshgrid(*(np.arange(-n, n + 1) for n in largest), indexing="ij")
    every = np.stack([grid.ravel() for grid in grids], axis=1)
    every = every[np.any(every != 0, axis=1)]
    spacing = spacings(every, cell)
    every = every[(spacing >= shortest) & (spacing <= longest)]
    operations = operations_of(space_group)
    every = every[~operations.systematic_absences(every.astype(np.int32))]
    if not len(every):
        raise CathoscopeError("no reflection in the range", found=f"{shortest:g} to {longest:g} A")
    return _grouped(every, operations, cell)


def _grouped(every: NDArray[np.int64], operations: gemmi.GroupOps, cell: Cell) -> Families:
    """Reflections that the Laue group turns into each other, together."""
    base = 2 * int(np.abs(every).max()) * 2 + 1
    name = np.full(len(every), -1, dtype=np.int64)
    for operation in operations.sym_ops:
        # h x -> h (R x + t): the row of indices is multiplied from the right.
        turned = every @ (np.array(operation.rot) // gemmi.Op.DEN)
        for sign in (1, -1):
            shifted = sign * turned + base // 2
            name = np.maximum(name, (shifted[:, 0] * base + shifted[:, 1]) * base + shifted[:, 2])
    _, family, count = np.unique(name, return_inverse=True, return_counts=True)
    # Within a family the largest name comes first: a fixed choice of the one that stands for all.
    own = ((every[:, 0] + base // 2) * base + every[:, 1] + base // 2) * base + every[:, 2] + base // 2
    order = np.lexsort((-own, family))
    starts = np.concatenate([[0], np.cumsum(count)])
    leaders = every[order[starts[:-1]]]
    rank = np.argsort(-spacings(leaders, cell), kind="stable")
    members = [every[order[starts[i] : starts[i + 1]]] for i in rank]
    first = np.concatenate([[0], np.cumsum(count[rank])])
    return Families(leaders[rank], count[rank], np.concatenate(members), first)


@lru_cache
def images(position: tuple[float, float, float], space_group: str) -> Array:
    """Positions (n, 3) of all images of a place in the cell, each once."""
    found: list[Array] = []
    for operation in operations_of(space_group):
        image = np.mod(operation.apply_to_xyz(list(position)), 1.0)
        apart = [np.abs(np.mod(image - other + 0.5, 1.0) - 0.5).max() for other in found]
        if not apart or min(apart) > _SAME:
            found.append(image)
    return np.array(found)


def contents(phase: Phase) -> Mapping[str, float]:
    """Atoms of each kind in the cell."""
    total: dict[str, float] = {}
    for site in phase.sites:
        count = site.occupancy * len(images(site.position, phase.space_group))
        total[site.species] = total.get(site.species, 0.0) + count
    return total


@dataclass(frozen=True)
class Sums:
    """What a series of temperatures shares: sum of exp(2 pi i h x) over the images of every site, (site, family)."""

    families: Families
    sums: NDArray[np.complex128]


def geometric_sums(phase: Phase, of: Families) -> Sums:
    """Sums over the images of the sites, in the order of the phase's sites; each place is summed once."""
    done: dict[tuple[float, float, float], NDArray[np.complex128]] = {}
    for site in phase.sites:
        if site.position not in done:
            phases = 2j * np.pi * (of.hkl @ images(site.position, phase.space_group).T)
            done[site.position] = np.exp(phases).sum(axis=1)
    return Sums(of, np.array([done[site.position] for site in phase.sites]))


def squared_structure_factors(
    phase: Phase, sums: Sums, *, radiation: Literal["neutron", "xray"], wavelength: float = 0.0
) -> Array:
    """|F|^2 per family, (n,): 1e-24 cm^2 (barn) for neutrons, electrons^2 for X-rays of ``wavelength`` (A).

    Mean over Friedel's mates, as a powder gives. Displacements are isotropic.
    """
    spacing = spacings(sums.families.hkl, phase.cell)
    both = np.zeros((2, spacing.size), dtype=np.complex128)
    for site, sum_ in zip(phase.sites, sums.sums, strict=True):
        if radiation == "neutron":
            amplitude = np.full(spacing.size, 0.1 * scattering_length(site.species), dtype=np.complex128)
        else:
            amplitude = form_factor(site.species, spacing, wavelength)
        weight = site.occupancy * np.exp(-2 * np.pi**2 * site.u_iso / spacing**2) * amplitude
        both += weight * np.array([sum_, sum_.conj()])
    return np.asarray((np.abs(both) ** 2).mean(axis=0))


def form_factor(element: str, spacing: ArrayLike, wavelength: float) -> NDArray[np.complex128]:
    """f0(sin theta / lambda) + f' + i f'' of the neutral atom, electrons; ``spacing`` and ``wavelength`` in A.

    International Tables C (1992), table 6.1.1.4; Cromer and Liberman, J. Chem. Phys. 53, 1891 (1970), as in gemmi.
    """
    atom = gemmi.Element(element)
    table, squared = atom.it92, 0.25 / np.asarray(spacing, dtype=np.float64) ** 2
    f0 = table.c + sum(a * np.exp(-b * squared) for a, b in zip(table.a, table.b, strict=True))
    real, imaginary = gemmi.cromer_liberman(atom.atomic_number, 1000 * KEV_ANGSTROM / wavelength)
    return np.asarray(f0 + real + 1j * imaginary)
