"""Exponents of resistance against surface, what capacity goes with, against closed forms and drawn data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.estimate import Estimate
from cathoscope.relate.cycles import (
    Course,
    areas_from_porosity,
    capacity_explained,
    exponent_between,
    loss_by_isolation,
    polarisation_from_resistance,
    power_law,
    power_of_draws,
    share_of_fall,
)

_AREA = np.array([1.0, 1.4, 2.2, 3.1, 5.0, 8.0])


@settings(max_examples=20)
@given(exponent=st.floats(-3, 3), scale=st.floats(0.01, 100), noise=st.floats(1e-3, 0.2))
def test_a_power_law_is_found_exactly(exponent: float, scale: float, noise: float) -> None:
    y = scale * _AREA**exponent
    found = power_law(_AREA, noise * _AREA, y, 0.5 * noise * y)
    assert found.exponent == pytest.approx(exponent, abs=1e-6)
    assert found.scatter == 0
    assert found.chance == pytest.approx(1.0)


def test_york_is_the_least_squares_of_both_errors() -> None:
    """The line that York's steps find is the lowest of the weighted squares, found by another search."""
    rng = np.random.default_rng(4)
    x, y = _AREA * np.exp(0.1 * rng.standard_normal(6)), _AREA**-1.0 * np.exp(0.05 * rng.standard_normal(6))
    sx, sy = np.array([0.3, 0.2, 0.1, 0.3, 0.2, 0.1]), np.array([0.1, 0.3, 0.2, 0.1, 0.2, 0.3])
    found = power_law(x, sx * x, y, sy * y)
    u, v = np.log(x), np.log(y)

    def squares(slope: float) -> float:
        weight = 1 / (sy**2 + slope**2 * sx**2)
        left = v - slope * u
        return float((weight * (left - np.average(left, weights=weight)) ** 2).sum())

    best = minimize_scalar(squares, bounds=(-3, 0), method="bounded", options={"xatol": 1e-10}).x
    assert found.exponent == pytest.approx(best, abs=1e-5)
    # errors in x alone are those in y of the turned line
    turned = power_law(y, sy * y, x, sx * x)
    assert turned.exponent == pytest.approx(1 / found.exponent, rel=1e-6)


def test_intervals_hold_with_and_without_further_scatter() -> None:
    rng = np.random.default_rng(1)
    for scatter in (0.0, 0.3):
        inside = 0
        for _ in range(60):
            x = _AREA * np.exp(0.05 * rng.standard_normal(6))
            y = 10 / _AREA * np.exp(np.hypot(0.03, scatter) * rng.standard_normal(6))
            low, high = power_law(x, 0.05 * x, y, 0.03 * y).interval(0.95)
            inside += low <= -1 <= high
        assert inside >= 51  # 99.9 % of 60 draws at 95 %, from below


def test_two_states_give_exponent_and_share() -> None:
    area = (Estimate(1.0, 0.05), Estimate(3.0, 0.15))
    resistance = (Estimate(90.0, 0.9), Estimate(10.0, 0.1))
    assert exponent_between(area=area, resistance=resistance).value == pytest.approx(-2.0)
    share = share_of_fall(area=area, resistance=resistance)
    assert share.value == pytest.approx(0.5)
    assert share.std == pytest.approx(np.hypot(0.05 * np.sqrt(2), 0.5 * 0.01 * np.sqrt(2)) / np.log(9), rel=1e-6)


def test_surfaces_between_stacks_follow_porosity_and_state_what_is_not_known() -> None:
    cycle = np.arange(0.0, 36.0)
    porosity = Course(cycle, 0.02 + 0.2 * (cycle / 35) ** 2, np.zeros(36))
    known = Course(np.array([0.0, 35.0]), np.array([10.0, 50.0]), np.array([0.0, 0.0]))
    at, draws = areas_from_porosity(known, porosity, draws=60)
    np.testing.assert_array_equal(at, cycle)
    np.testing.assert_allclose(draws[:, [0, -1]], [[10.0, 50.0]] * len(draws))
    assert (np.diff(draws, axis=1) >= -1e-9).all()
    assert draws[:, 17].std() > 1.0  # the law between is not known
    grown, straight = (10 + 40 * (17 / 35) ** (2 * power) for power in (0.4, 1.1))
    assert straight - 1e-6 <= draws[:, 17].min() <= draws[:, 17].max() <= grown + 1e-6
    found = power_of_draws(draws[:, 5:30:5], 100 / draws[:, 5:30:5].mean(axis=0), np.full(5, 0.01))
    assert found.interval()[0] < -1 < found.interval()[1]


def test_polarisation_is_twice_the_drop_when_small_and_grows_as_the_logarithm() -> None:
    small, large = polarisation_from_resistance(resistance=[1e3, 1e12], current=-1e-9)
    assert small == pytest.approx(2e-6, rel=1e-6)
    # R T / F at 25 degC is 25.6926 mV
    assert large == pytest.approx(4 * 0.0256926 * np.log(1e3 / 0.0256926), rel=1e-5)


def test_a_rise_with_resistance_and_a_fade_without() -> None:
    cycle = np.arange(1.0, 41.0)
    polarisation = 0.06 * np.exp(-cycle / 3)
    capacity = 0.4 - 1.0 * polarisation - 0.002 * np.maximum(cycle - 15, 0)
    found = capacity_explained(cycle=cycle, capacity=capacity, polarisation=polarisation)
    assert found.peak == pytest.approx(15, abs=1)
    assert found.of_rise.value == pytest.approx(1.0, abs=1e-6)
    assert abs(found.of_fade.value) < 0.02
    both = capacity_explained(
        cycle=cycle[:20], capacity=0.4 - polarisation[:20] * (cycle[:20] < 99), polarisation=polarisation[:20]
    )
    assert np.isnan(both.of_fade.value)  # nothing fades


def test_isolation_explains_its_share() -> None:
    share = loss_by_isolation(isolated=Estimate(0.05, 0.01), lost=Estimate(0.2, 0.01))
    assert share.value == pytest.approx(0.25)
    assert share.std == pytest.approx(np.hypot(0.05, 0.0125))


def test_what_has_no_exponent_is_refused() -> None:
    with pytest.raises(MeasurementError, match="several points"):
        power_law([1, 2], [0, 0], [1, 2], [0.1, 0.1])
    with pytest.raises(MeasurementError, match="above zero"):
        power_law([1, 2, 0], [0, 0, 0], [1, 2, 3], [0.1, 0.1, 0.1])
