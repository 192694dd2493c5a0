from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import CubicSpline
from scipy.optimize import minimize_scalar

from cathoscope.xanes.line_interpolation import interpolation_bias
from cathoscope.xanes.line_tables import plan_fit


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
