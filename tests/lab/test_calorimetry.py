"""Heat effects of known enthalpy on baselines, and a measured melting."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cathoscope.core.errors import MeasurementError
from cathoscope.io import open_raw
from cathoscope.lab.calorimetry import heat_effect
from cathoscope.lab.mass_loss import heating_ramp

TEMPERATURE = np.linspace(25.0, 300.0, 6000)
TIME = (TEMPERATURE - 25.0) / 5.0 * 60.0  # 5 K/min
MASS, ENTHALPY, MIDDLE, WIDTH = 4.0, -350.0, 210.0, 8.0  # mg, J/g, C, K


def record(noise: float, seed: int = 0) -> np.ndarray:
    """A Gaussian of known area on a line, mW."""
    seconds = WIDTH / 5.0 * 60.0
    peak = ENTHALPY * MASS / (np.sqrt(2 * np.pi) * seconds) * np.exp(-0.5 * ((TEMPERATURE - MIDDLE) / WIDTH) ** 2)
    line = 2.0 + 0.01 * (TEMPERATURE - 25)
    return peak + line + noise * np.random.default_rng(seed).standard_normal(TEMPERATURE.size)


def test_a_gaussian_has_its_area_place_and_onset() -> None:
    found = heat_effect(TIME, TEMPERATURE, record(0.0), mass=MASS, limits=(160.0, 260.0))
    assert found.enthalpy.value == pytest.approx(ENTHALPY, rel=1e-4)
    assert found.peak.value == pytest.approx(MIDDLE, abs=0.01)
    # the tangent of a Gaussian at one sigma crosses zero two sigmas before the middle
    assert found.onset.value == pytest.approx(MIDDLE - 2 * WIDTH, abs=0.1)


def test_uncertainties_are_those_of_repetitions() -> None:
    found = [heat_effect(TIME, TEMPERATURE, record(0.02, k), mass=MASS, limits=(160, 260), seed=k) for k in range(24)]
    for name, true in (("enthalpy", ENTHALPY), ("onset", MIDDLE - 2 * WIDTH), ("peak", MIDDLE)):
        pulls = np.array([(getattr(one, name).value - true) / getattr(one, name).std for one in found])
        assert abs(pulls.mean()) < 0.8
        assert 0.65 < pulls.std() < 1.45


def test_a_step_of_heat_capacity_is_taken_off_by_the_share_that_has_reacted() -> None:
    done = 0.5 * (1 + np.vectorize(__import__("math").erf)((TEMPERATURE - MIDDLE) / WIDTH / np.sqrt(2)))
    flow = record(0.0) - 0.01 * (TEMPERATURE - 25) + 0.5 * done
    sigmoid = heat_effect(TIME, TEMPERATURE, flow, mass=MASS, limits=(160, 260), baseline="sigmoid")
    assert sigmoid.enthalpy.value == pytest.approx(ENTHALPY, rel=1e-3)


def test_limits_outside_the_record_are_refused() -> None:
    with pytest.raises(MeasurementError, match="no heat effect"):
        heat_effect(TIME, TEMPERATURE, record(0.0), mass=MASS, limits=(290.0, 320.0))


def test_the_measured_melting_of_eicosane(data_folder: Path) -> None:
    """Literature: 36.5 C; peak 37.14 C as read from the record by others."""
    data = open_raw(data_folder / "lab" / "dsc-ta-setaram" / "sample_dsc_tainstruments.txt")
    temperature = data["sample_temperature"].values
    ramp = heating_ramp(temperature)
    found = heat_effect(
        data["elapsed_time"].values[ramp], temperature[ramp], data["heat_flow"].values[ramp], mass=9.0, limits=(25, 42)
    )
    assert found.peak.value == pytest.approx(37.14, abs=0.05)
    assert found.onset.value == pytest.approx(35.7, abs=0.3)
    assert 230 < found.enthalpy.value < 290
