"""K absorption edges of the transition metals: Bearden & Burr, Rev. Mod. Phys. 39, 125 (1967)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

K_EDGE: Mapping[str, float] = MappingProxyType(
    {
        "Ti": 4966.4,
        "V": 5465.1,
        "Cr": 5989.2,
        "Mn": 6539.0,
        "Fe": 7112.0,
        "Co": 7708.9,
        "Ni": 8332.8,
        "Cu": 8978.9,
        "Zn": 9658.6,
    }
)
"""Energy of the K edge in eV."""

FOIL_ENERGY: Mapping[str, float] = MappingProxyType(
    {
        "Ti": 4966.0,
        "V": 5465.0,
        "Cr": 5989.0,
        "Mn": 6539.0,
        "Fe": 7112.0,
        "Co": 7709.0,
        "Ni": 8333.0,
        "Cu": 8979.0,
        "Zn": 9659.0,
    }
)
"""Energy in eV that beamlines assign to the first derivative maximum of a metal foil: the K edge in whole eV."""


def elements_with_edge_within(*, lowest: float, highest: float) -> tuple[str, ...]:
    """The elements whose K edge lies between two energies (eV)."""
    return tuple(element for element, energy in K_EDGE.items() if lowest < energy < highest)


def k_edge_within(*, lowest: float, highest: float) -> float | None:
    """The one K edge (eV) between two energies (eV); None if there is none, or more than one."""
    within = elements_with_edge_within(lowest=lowest, highest=highest)
    return K_EDGE[within[0]] if len(within) == 1 else None
