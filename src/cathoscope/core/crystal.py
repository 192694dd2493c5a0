"""A crystalline phase as files state it: cell, symmetry and sites. What follows from it is computed elsewhere."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Site:
    """One kind of atom on one crystallographic site.

    Attributes
    ----------
    label
        Name of the site, unlike all others of its phase.
    species
        Element, isotope or ion: "Ni", "7Li", "O2-".
    position
        Fractional coordinates.
    occupancy
        Share of the site that this kind of atom fills, 0 to 1.
    u_iso
        Isotropic displacement, A^2.
    u_aniso
        Anisotropic displacement U11, U22, U33, U12, U13, U23, A^2, on the axes of the reciprocal cell; then ``u_iso``
        is not used.
    """

    label: str
    species: str
    position: tuple[float, float, float]
    occupancy: float = 1.0
    u_iso: float = 0.005
    u_aniso: tuple[float, float, float, float, float, float] | None = None


@dataclass(frozen=True)
class Phase:
    """A crystalline phase.

    Attributes
    ----------
    name
        Name in the recipe, unlike all others.
    space_group
        Hermann-Mauguin symbol with its setting, such as "R -3 m:H" or "F d -3 m:2".
    cell
        a, b, c (A), alpha, beta, gamma (deg).
    sites
        Atoms of the asymmetric unit.
    source
        The file it was read from, or where its numbers come from.
    """

    name: str
    space_group: str
    cell: tuple[float, float, float, float, float, float]
    sites: tuple[Site, ...]
    source: str = ""
