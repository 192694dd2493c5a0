"""X-rays in matter near the nickel K edge.

Attenuation coefficients: Hubbell & Seltzer, *Tables of X-Ray Mass Attenuation Coefficients*, NISTIR 5632 (1995).
Standard atomic weights: Prohaska et al., Pure Appl. Chem. 94, 573 (2022), abridged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import log
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cathoscope.core.errors import CathoscopeError
from cathoscope.physics.edges import K_EDGE

NICKEL_K_EDGE = K_EDGE["Ni"]
"""Energy of the Ni K edge, eV."""

ATOMIC_WEIGHT: Mapping[str, float] = MappingProxyType(
    {"Li": 6.94, "O": 15.999, "Mn": 54.938, "Co": 58.933, "Ni": 58.693},
)
"""Standard atomic weights, g/mol."""


@dataclass(frozen=True)
class MassAttenuation:
    """Two table entries of an element, cm²/g: at 8 and at 10 keV, or, ``at_edge``, just below and above the edge."""

    first: float
    second: float
    at_edge: bool = False


MASS_ATTENUATION: Mapping[str, MassAttenuation] = MappingProxyType(
    {
        "Li": MassAttenuation(0.5054, 0.3395),
        "O": MassAttenuation(11.63, 5.952),
        "Mn": MassAttenuation(273.4, 151.4),
        "Co": MassAttenuation(324.8, 184.1),
        "Ni": MassAttenuation(44.28, 329.4, at_edge=True),
    }
)
"""Entries of the tables at 8 and 10 keV; of nickel at its K edge, below and above."""


def attenuation_ratio_from_energy(*, energy: ArrayLike, reference: float) -> NDArray[np.float64]:
    """Photoabsorption at ``energy`` over that at ``reference`` (both eV), (E / E_ref)^-3.

    The leading term of Victoreen's law (J. Appl. Phys. 20, 1141 (1949)); valid over a few hundred eV
    away from edges of the material.
    """
    return (np.asarray(energy, dtype=np.float64) / reference) ** -3


def mass_fractions_from_formula(*, formula: Mapping[str, float]) -> dict[str, float]:
    """Mass fraction of each element of ``formula``, which holds atoms per formula unit.

    Raises
    ------
    CathoscopeError
        If an element is not in the table, or an amount is negative, or all are zero.
    """
    unknown = sorted(set(formula) - set(ATOMIC_WEIGHT))
    if unknown or min(formula.values(), default=0.0) < 0 or sum(formula.values()) <= 0:
        raise CathoscopeError(
            "not a formula of known elements",
            expected=f"positive amounts of {', '.join(ATOMIC_WEIGHT)}",
            found=str(dict(formula)),
        )
    masses = {element: amount * ATOMIC_WEIGHT[element] for element, amount in formula.items()}
    total = sum(masses.values())
    return {element: mass / total for element, mass in masses.items()}


def nickel_edge_attenuation_from_formula(*, formula: Mapping[str, float], density: float) -> tuple[float, float]:
    """Linear attenuation just below the Ni K edge, and its jump there, both 1/um, at ``density`` in g/cm³.

    mu = density * sum(mass fraction * mass attenuation); coefficients of elements other than nickel are
    interpolated in log-log between 8 and 10 keV. Isolated atoms: no white line, no fine structure.

    Raises
    ------
    CathoscopeError
        As `mass_fractions_from_formula`, and for a density that is not positive.
    """
    if not density > 0:
        raise CathoscopeError("a density must be positive", expected="g/cm³, for example 4.7", found=str(density))
    below = jump = 0.0
    for element, fraction in mass_fractions_from_formula(formula=formula).items():
        entry = MASS_ATTENUATION[element]
        if entry.at_edge:
            below += fraction * entry.first
            jump += fraction * (entry.second - entry.first)
        else:
            slope = log(entry.second / entry.first) / log(10e3 / 8e3)
            below += fraction * entry.first * (NICKEL_K_EDGE / 8e3) ** slope
    per_um = 1e-4  # 1/cm in 1/um
    return density * below * per_um, density * jump * per_um
