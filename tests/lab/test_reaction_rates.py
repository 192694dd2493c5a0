"""Activation energies against simulated records of known answer and closed forms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cathoscope.core.errors import MeasurementError
from cathoscope.io import open_raw
from cathoscope.lab.mass_loss import mass_curve, steps_of
from cathoscope.lab.reaction_rates import (
    avrami,
    friedman,
    isoconversional,
    kissinger,
    straight_line,
    temperatures_of_conversion,
)
from cathoscope.physics.kinetics import GAS_CONSTANT

RATES = (2.5, 5.0, 10.0, 15.0, 20.0)


def test_kissingers_peaks_give_energy_and_factor_back() -> None:
    # E b / (R T^2) = A exp(-E / R T) solved by bisection
    energy, log_factor = 120e3, 25.0
    peaks = []
    for rate in RATES:
        low, high = 300.0, 1500.0
        for _ in range(80):
            middle = 0.5 * (low + high)
            right = np.exp(log_factor - energy / (GAS_CONSTANT * middle))
            low, high = (middle, high) if energy * rate / (GAS_CONSTANT * middle**2) > right else (low, middle)
        peaks.append(low - 273.15)
    found = kissinger(rates=RATES, peaks=peaks)
    assert found.energy.value == pytest.approx(120.0, rel=1e-9)
    assert found.log_frequency.value == pytest.approx(25.0, rel=1e-9)


def test_errors_of_peaks_become_errors_of_the_energy() -> None:
    rng = np.random.default_rng(1)
    exact = np.array([350.0, 360.0, 370.0, 376.0, 380.0])
    line = straight_line(1000 / (GAS_CONSTANT * (exact + 273.15)), np.log(np.array(RATES) / (exact + 273.15) ** 2))
    residual = np.log(np.array(RATES) / (exact + 273.15) ** 2) - (
        line.intercept.value + line.slope.value * 1000 / (GAS_CONSTANT * (exact + 273.15))
    )
    rates = np.array(RATES) * np.exp(-residual)  # rates of which the peaks lie on the line exactly
    found = [kissinger(rates=rates, peaks=exact + rng.normal(0, 0.5, 5), peaks_std=np.full(5, 0.5)) for _ in range(300)]
    energies, factors = (
        np.array([(getattr(one, name).value, getattr(one, name).std) for one in found])
        for name in ("energy", "log_frequency")
    )
    assert energies[:, 0].mean() == pytest.approx(-line.slope.value, rel=0.02)
    # the larger of scatter and stated error is taken: at least the spread, at most a third more
    assert 0.95 < energies[:, 1].mean() / energies[:, 0].std() < 1.35
    assert 0.95 < factors[:, 1].mean() / factors[:, 0].std() < 1.35


def test_avramis_law_is_found_again() -> None:
    time = np.linspace(1, 4000, 400)
    exponent, rate = avrami(time=time, conversion=1 - np.exp(-((1.2e-3 * time) ** 2.5)))
    assert exponent.value == pytest.approx(2.5, rel=1e-9)
    assert rate.value == pytest.approx(1.2e-3, rel=1e-9)


def test_a_line_needs_three_places() -> None:
    with pytest.raises(MeasurementError, match="a line needs points"):
        kissinger(rates=(5.0, 10.0), peaks=(300.0, 310.0))


def test_simulated_records_of_one_activation_energy(data_folder: Path) -> None:
    """First order, 75 kJ/mol, ln(A min) = 12, as the simulation states."""
    levels = np.array([0.2, 0.5, 0.8])
    peaks, temperatures, speeds = [], [], []
    for rate in RATES:
        data = open_raw(data_folder / "lab" / "kinetics-picnik" / f"E_cnt_{rate:g}.csv")
        temperature, mass = data["sample_temperature"].values, data["sample_mass"].values
        peaks.append(steps_of(mass_curve(temperature, mass))[0].steepest.value)
        done = (mass[0] - mass) / (mass[0] - mass[-1])
        temperatures.append(temperatures_of_conversion(temperature, done, levels))
        speeds.append(np.interp(temperatures[-1], temperature, np.gradient(done, data["elapsed_time"].values / 60)))
    found = kissinger(rates=RATES, peaks=peaks)
    assert found.energy.value == pytest.approx(75.0, abs=0.2)
    assert found.log_frequency.value == pytest.approx(12.0, abs=0.2)
    for one in isoconversional(rates=RATES, temperatures=temperatures):
        assert one.energy.value == pytest.approx(75.0, abs=1.0)
    for one in friedman(speeds=speeds, temperatures=temperatures):
        assert one.energy.value == pytest.approx(75.0, abs=0.1)
