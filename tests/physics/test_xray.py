from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import constants

from cathoscope.core.errors import CathoscopeError
from cathoscope.core.units import HC
from cathoscope.physics.xray import (
    ATOMIC_WEIGHT,
    MASS_ATTENUATION,
    attenuation_ratio_from_energy,
    mass_fractions_from_formula,
    nickel_edge_attenuation_from_formula,
)

LAYERED_OXIDE = {"Li": 1.0, "Ni": 0.8, "Mn": 0.1, "Co": 0.1, "O": 2.0}
AMOUNTS = st.fixed_dictionaries({element: st.floats(0.01, 5) for element in ATOMIC_WEIGHT})


def test_hc_is_the_product_of_the_defining_constants() -> None:
    assert pytest.approx(constants.h * constants.c / constants.e * 1e10, rel=1e-14) == HC


def test_attenuation_falls_with_the_third_power_of_energy() -> None:
    ratio = attenuation_ratio_from_energy(energy=[8000.0, 16000.0], reference=8000.0)
    np.testing.assert_allclose(ratio, [1, 1 / 8])


@settings(max_examples=25, deadline=None)
@given(AMOUNTS, st.floats(0.1, 10))
def test_mass_fractions_add_up_and_ignore_the_size_of_the_formula_unit(formula: dict[str, float], by: float) -> None:
    fractions = mass_fractions_from_formula(formula=formula)
    assert sum(fractions.values()) == pytest.approx(1)
    scaled = mass_fractions_from_formula(formula={element: by * amount for element, amount in formula.items()})
    assert scaled == pytest.approx(fractions)


@pytest.mark.parametrize(
    ("element", "elam", "within"),
    # scattering bends the curve of lithium away from a power law
    [("Li", 0.466, 1e-2), ("O", 10.29, 5e-3), ("Mn", 246.1, 5e-3), ("Co", 293.7, 5e-3)],
)
def test_interpolated_coefficients_agree_with_an_independent_table(element: str, elam: float, within: float) -> None:
    # Elam, Ravel & Sieber, Radiat. Phys. Chem. 63, 121 (2002), at 8332 eV, cm²/g
    below, jump = nickel_edge_attenuation_from_formula(formula={element: 1.0}, density=1.0)
    assert below * 1e4 == pytest.approx(elam, rel=within)
    assert jump == 0


def test_nickel_jumps_by_the_table() -> None:
    below, jump = nickel_edge_attenuation_from_formula(formula={"Ni": 1.0}, density=8.908)
    entry = MASS_ATTENUATION["Ni"]
    assert (below + jump) / below == pytest.approx(entry.second / entry.first)
    # Elam et al. give 329.2 and 44.3 cm²/g on the two sides
    assert jump == pytest.approx(8.908 * (329.2 - 44.3) * 1e-4, rel=2e-3)


def test_a_compound_is_the_mass_weighted_mean_of_its_elements() -> None:
    whole = nickel_edge_attenuation_from_formula(formula=LAYERED_OXIDE, density=4.7)
    parts = [
        np.array(nickel_edge_attenuation_from_formula(formula={element: 1.0}, density=4.7 * fraction))
        for element, fraction in mass_fractions_from_formula(formula=LAYERED_OXIDE).items()
    ]
    np.testing.assert_allclose(whole, np.sum(parts, axis=0))


@pytest.mark.parametrize("formula", [{}, {"Ni": -1.0, "O": 2.0}, {"Ni": 0.0}, {"Xx": 1.0}])
def test_what_is_not_a_formula_is_refused(formula: dict[str, float]) -> None:
    with pytest.raises(CathoscopeError, match="not a formula"):
        mass_fractions_from_formula(formula=formula)


def test_a_density_must_be_positive() -> None:
    with pytest.raises(CathoscopeError, match="density"):
        nickel_edge_attenuation_from_formula(formula=LAYERED_OXIDE, density=0.0)
