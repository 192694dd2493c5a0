from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy.interpolate import CubicSpline
from scipy.optimize import minimize_scalar

from cathoscope.xanes.line_calibration import calibrate
from cathoscope.xanes.line_interpolation import interpolation_bias
from cathoscope.xanes.line_steps import compress
from cathoscope.xanes.line_tables import FitPlan, LineGrid, plan_fit


def energies(step: float) -> np.ndarray:
    return np.concatenate(
        [np.arange(8300.0, 8340.0, 5.0), np.arange(8340.0, 8365.0, step), np.arange(8365.0, 8400.0, 5.0)]
    )


def test_the_bias_is_that_of_the_spline_at_any_place_of_the_line(truth) -> None:
    energy = energies(1.0)
    shapes = np.stack([truth.parameters_of(8349.0, 0.7)] * 3)
    table = interpolation_bias(plan_fit(energy=energy, noise_std=np.full(energy.size, 0.01)), shapes)
    for maximum in (8348.13, 8348.5, 8349.37, 8350.0):
        parameters = truth.parameters_of(maximum, 0.7)
        spline = CubicSpline(energy, np.ravel(truth.curve(energy, parameters)))
        top = minimize_scalar(
            lambda e, spline=spline: -spline(e),
            bounds=(maximum - 0.5, maximum + 0.5),
            method="bounded",
            options={"xatol": 1e-8},
        ).x
        assert np.interp(top, *table) == pytest.approx(top - maximum, abs=5e-4)
    assert np.abs(table[1]).max() > 0.003


def test_the_bias_falls_with_a_high_power_of_the_distance_of_energies(truth) -> None:
    shapes = np.stack([truth.parameters_of(8349.0, 0.7)] * 3)
    largest = []
    for step in (1.0, 0.5):
        energy = energies(step)
        table = interpolation_bias(plan_fit(energy=energy, noise_std=np.full(energy.size, 0.01)), shapes)
        inside = (table[0] > 8347.0) & (table[0] < 8352.0)
        largest.append(np.abs(table[1][inside]).max())
    assert largest[0] > 6.0 * largest[1]


@cache
def plan_of(step: float) -> FitPlan:
    """For lines from 8346.5 to 8350.5 eV, where all energies near are ``step`` apart."""
    energy = energies(step)
    few = LineGrid(edge_energy=8333.0, centre_range=(13.5, 17.5))
    return plan_fit(energy=energy, noise_std=np.full(energy.size, 0.01), grid=few)


def largest_bias(step: float, height: float, distance: float, width: float) -> float:
    """Largest difference between energies ``step`` apart, for one line of height, distance to the edge and width."""
    table = interpolation_bias(plan_of(step), [[0.0, 0.0, 0.7, 0.7 * height, 8349.0 - distance, 8349.0, width]])
    return float(np.abs(table[1]).max())


@pytest.mark.parametrize(("width", "expected"), [(LineGrid().width_range[0], 0.0187), (2.6, 0.0040)])
def test_the_bias_is_as_large_as_the_description_says(width: float, expected: float) -> None:
    """With energies 1 eV apart; 0.019 eV for the narrowest line of the grid, 0.004 eV for a usual one."""
    shapes = [(height, distance, width) for height in (0.3, 1.5) for distance in LineGrid().distance_range]
    found = [largest_bias(1.0, *shape) for shape in shapes]
    assert max(found) == pytest.approx(expected, rel=0.01)
    assert min(found) > 0.8 * expected
    assert all(bias > 8.0 * largest_bias(0.5, *shape) for bias, shape in zip(found, shapes, strict=True))


@pytest.mark.parametrize("width", [1.4, 2.6])
def test_the_bias_has_opposite_signs_on_the_two_sides_of_every_energy(width: float) -> None:
    table = interpolation_bias(plan_of(1.0), [[0.0, 0.0, 0.7, 0.6, 8342.5, 8349.0, width]])
    measured = np.arange(8347.0, 8351.0)
    below, above = (np.interp(measured + side, *table) for side in (-0.25, 0.25))
    np.testing.assert_allclose(below, -above, rtol=0.1)
    assert np.all(below > 0.003)


@pytest.mark.parametrize("last", [8345.0, 8346.0])
def test_energies_that_end_at_the_line_leave_no_place_and_no_bias(truth, last: float) -> None:
    energy = np.arange(8320.0, last + 0.5)
    plan = plan_fit(energy=energy, noise_std=np.full(energy.size, 0.01))
    shapes = np.stack([truth.parameters_of(8345.0, 0.7)] * 3)
    np.testing.assert_array_equal(interpolation_bias(plan, shapes), np.zeros((2, 1)))


def test_a_line_too_near_the_last_energy_for_a_place_is_calibrated_all_the_same(truth) -> None:
    """Fits there are good, so their calibration asks for the bias."""
    energy = np.arange(8320.0, 8346.5)
    rng = np.random.default_rng(61)
    parameters = np.stack([truth.parameters_of(m, 0.7) for m in rng.uniform(8344.9, 8345.3, 60)])
    plan = plan_fit(energy=energy, noise_std=np.full(energy.size, 0.001))
    z = compress(plan, truth.curve(energy, parameters) + rng.normal(0.0, 0.001, (60, energy.size)))
    found = calibrate(plan, z)
    np.testing.assert_array_equal(found.maximum.bias, 0.0)
    assert found.order in ("shift", "line")
