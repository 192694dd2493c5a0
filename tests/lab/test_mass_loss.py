"""Steps of mass loss on curves of closed form, on noise, and on measured records."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cathoscope.core.errors import MeasurementError
from cathoscope.io import open_raw
from cathoscope.lab.mass_loss import (
    MassLossChoices,
    MassLossStep,
    heating_ramp,
    mass_curve,
    oxygen_limits,
    oxygen_lost,
    steps_of,
    without_blank,
)

RAMP = np.arange(25.0, 300.0, 1 / 12)
MIDDLE, WIDTH, LOSS, DRIFT = 147.0, 6.0, 1.6, 0.002  # C, K, per cent, per cent per K


def mass(temperature: np.ndarray) -> np.ndarray:
    """A logistic step on a line."""
    drift = DRIFT * (temperature - RAMP[0])
    return 100 - LOSS / (1 + np.exp(-(temperature - MIDDLE) / WIDTH)) - drift


def only_step(noise: float, seed: int) -> MassLossStep:
    values = 0.12 * (mass(RAMP) + noise * np.random.default_rng(seed).standard_normal(RAMP.size))
    (step,) = steps_of(mass_curve(RAMP, values, start=12.0), seed=seed)
    return step


def test_the_tangent_of_a_logistic_step_meets_the_line_two_widths_before_its_middle() -> None:
    # slope -L/(4 w) at half the loss: the tangent has climbed L/2 after 2 w
    step = only_step(0.0, 0)
    assert step.onset.value == pytest.approx(MIDDLE - 2 * WIDTH, abs=0.02)
    assert step.steepest.value == pytest.approx(MIDDLE, abs=0.01)
    assert step.rate.value == pytest.approx(LOSS / (4 * WIDTH) + DRIFT, rel=2e-3)
    assert step.loss.value == pytest.approx(LOSS, rel=0.02)
    assert step.first_deflection.value < step.onset.value


def test_uncertainties_of_onset_and_steepest_place_are_those_of_repetitions() -> None:
    found = [only_step(0.01, seed) for seed in range(36)]
    for name, true in (("onset", MIDDLE - 2 * WIDTH), ("steepest", MIDDLE)):
        pulls = np.array([(getattr(one, name).value - true) / getattr(one, name).total for one in found])
        assert abs(pulls.mean()) < 4 / np.sqrt(36)
        assert 0.7 < pulls.std() < 1.4


def test_a_step_after_a_stated_baseline_that_is_steep_with_another_step_is_there() -> None:
    """The line through the tail of the first step, drawn on over the second one, loses more than that does."""
    first, second = (1 / (1 + np.exp(-(RAMP - middle) / width)) for middle, width in ((150.0, 5.0), (240.0, 12.0)))
    values = 100 - 6 * first - 3 * second + 0.01 * np.random.default_rng(1).standard_normal(RAMP.size)
    found = steps_of(mass_curve(RAMP, values), MassLossChoices(baseline=(150.0, 190.0)))
    assert [round(one.steepest.value, -1) for one in found] == [150.0, 240.0]


def test_a_record_of_noise_has_no_step() -> None:
    for seed in range(8):
        drift = 100 - 0.002 * (RAMP - RAMP[0]) + 0.02 * np.random.default_rng(seed).standard_normal(RAMP.size)
        assert steps_of(mass_curve(RAMP, drift), seed=seed) == ()


def test_two_steps_are_told_apart_and_ordered() -> None:
    later = 7 * (1 - np.exp(-np.exp((RAMP - 255) / 18)))
    noise = 0.005 * np.random.default_rng(3).standard_normal(RAMP.size)
    first, second = steps_of(mass_curve(RAMP, mass(RAMP) - later + noise))
    assert first.steepest.value < second.begin
    assert second.steepest.value == pytest.approx(255, abs=0.5)


def test_a_blank_takes_the_buoyancy_off() -> None:
    buoyancy = 0.0001 * (RAMP - RAMP[0])
    clean = without_blank(RAMP, 12 + buoyancy, RAMP, 50 + buoyancy)
    np.testing.assert_allclose(clean, 12, rtol=1e-12)
    with pytest.raises(MeasurementError, match="does not span"):
        without_blank(RAMP, 12 + buoyancy, RAMP[:900], buoyancy[:900])


def test_the_ramp_is_found_between_a_hold_and_cooling() -> None:
    hold, cooling = np.full(500, 25.0) + 0.05 * np.sin(np.arange(500)), np.linspace(300, 40, 900)
    ramp = heating_ramp(np.concatenate([hold, RAMP, cooling]))
    assert 495 <= ramp.start <= 515
    assert ramp.stop == pytest.approx(500 + RAMP.size, abs=2)
    with pytest.raises(MeasurementError, match="no heating ramp"):
        heating_ramp(hold)


def test_oxygen_by_the_molar_mass() -> None:
    # all of the oxygen of O2 in one gram formula
    assert oxygen_lost(loss=100 * 31.998 / 97.28, loss_std=0.0, formula_mass=97.28).value == pytest.approx(2.0)
    lost = oxygen_lost(loss=5.0, loss_std=0.05, formula_mass=90.0, formula_mass_std=0.9)
    assert lost.std / lost.value == pytest.approx(0.01 * np.sqrt(2))
    assert oxygen_limits(lithium=0.0) == pytest.approx((2 / 3, 1.0))  # MO2 to M3O4, to MO
    assert oxygen_limits(lithium=0.2) == pytest.approx((0.4, 0.8))


def test_lengths_that_differ_are_refused() -> None:
    with pytest.raises(MeasurementError, match="differ in length"):
        mass_curve(RAMP, RAMP[:-1])
    with pytest.raises(MeasurementError, match="not positive"):
        mass_curve(RAMP, -RAMP)


def test_a_measured_oxide_that_does_not_decompose_has_no_step(data_folder: Path) -> None:
    data = open_raw(data_folder / "lab" / "tga-ms-linio2" / "mp2028_281122_LNO+C.txt")
    temperature, weight = data["sample_temperature"].values, data["sample_mass"].values
    ramp = heating_ramp(temperature)
    assert steps_of(mass_curve(temperature[ramp], weight[ramp])) == ()
