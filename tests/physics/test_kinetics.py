"""Rates follow Arrhenius, and the temperature of an equilibrium follows van 't Hoff."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import constants

from cathoscope.physics.kinetics import (
    BOLTZMANN,
    ZERO_CELSIUS,
    arrhenius_from_temperature,
    transition_temperature_from_pressure,
)

TEMPERATURES = st.floats(-50, 400)
ENERGIES = st.floats(0, 4)


def test_boltzmanns_constant_is_that_of_codata() -> None:
    assert pytest.approx(constants.k / constants.e, rel=1e-9) == BOLTZMANN
    assert constants.zero_Celsius == ZERO_CELSIUS


@given(TEMPERATURES, ENERGIES, st.floats(1e-6, 1e6))
def test_a_rate_at_its_reference_is_the_stated_one(reference: float, energy: float, value: float) -> None:
    rate = arrhenius_from_temperature(temperature=reference, value=value, reference=reference, activation_energy=energy)
    assert float(rate) == value


@given(TEMPERATURES, TEMPERATURES, ENERGIES, ENERGIES)
def test_a_product_of_rates_has_the_sum_of_the_energies(here: float, reference: float, one: float, two: float) -> None:
    first, second, both = (
        arrhenius_from_temperature(temperature=here, value=value, reference=reference, activation_energy=energy)
        for value, energy in ((2.0, one), (3.0, two), (6.0, one + two))
    )
    assert float(both) == pytest.approx(float(first * second), rel=1e-9)


def test_the_logarithm_of_a_rate_is_a_line_of_slope_minus_energy_over_k_in_inverse_temperature() -> None:
    temperature = np.array([[25.0, 100.0], [150.0, 250.0]])
    rate = arrhenius_from_temperature(temperature=temperature, value=0.02, reference=150.0, activation_energy=1.7)
    assert rate.shape == temperature.shape
    slope = np.polyfit(1 / (temperature.ravel() + ZERO_CELSIUS), np.log(rate.ravel()), 1)[0]
    assert slope == pytest.approx(-1.7 / BOLTZMANN, rel=1e-9)


def test_a_rate_without_an_energy_is_the_same_at_all_temperatures() -> None:
    rate = arrhenius_from_temperature(temperature=[0.0, 500.0], value=3.0, reference=150.0, activation_energy=0.0)
    np.testing.assert_array_equal(rate, 3.0)


def shifted(pressure: float, temperature: float = 140.0, reference: float = 1e-5, enthalpy: float = 3.0) -> float:
    return float(
        transition_temperature_from_pressure(
            pressure=pressure, temperature=temperature, reference=reference, enthalpy=enthalpy
        )
    )


@given(st.floats(0, 300), st.floats(1e-9, 10), st.floats(0.5, 20))
def test_a_transition_at_its_reference_pressure_stays(temperature: float, pressure: float, enthalpy: float) -> None:
    assert shifted(pressure, temperature, pressure, enthalpy) == pytest.approx(temperature, abs=1e-9)


@given(st.floats(1e-8, 1), st.floats(1e-8, 1), st.floats(3, 20))
def test_going_to_another_pressure_and_back_is_nothing(one: float, two: float, enthalpy: float) -> None:
    there = shifted(two, 140.0, one, enthalpy)
    assert shifted(one, there, two, enthalpy) == pytest.approx(140.0, abs=1e-8)


def test_more_oxygen_outside_asks_for_more_heat_and_less_so_the_larger_the_enthalpy() -> None:
    pressures = np.geomspace(1e-8, 1, 9)
    temperatures = transition_temperature_from_pressure(
        pressure=pressures, temperature=140.0, reference=1e-5, enthalpy=5.0
    )
    assert (np.diff(temperatures) > 0).all()
    assert shifted(1.0, enthalpy=3.0) > shifted(1.0, enthalpy=6.0) > 140


def test_the_equilibrium_constant_has_the_slope_of_van_t_hoff() -> None:
    # d ln p / d(1/T) = -H/k along the line of equilibrium
    pressures = np.geomspace(1e-6, 1e-1, 6)
    temperatures = np.array([shifted(pressure, enthalpy=4.0) for pressure in pressures])
    slopes = np.diff(np.log(pressures)) / np.diff(1 / (temperatures + ZERO_CELSIUS))
    np.testing.assert_allclose(slopes, -4.0 / BOLTZMANN, rtol=1e-9)
