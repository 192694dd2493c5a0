from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.estimate import Estimate
from cathoscope.numerics.trend import FAMILIES, Points, Trend, place_of_equal, points_of, trends

LINEAR, EXPONENTIAL, POWER, SIGMOID = FAMILIES
CYCLE = np.array([0.0, 5, 10, 15, 20, 25, 30, 35, 42])


def saturating(cycle: np.ndarray) -> np.ndarray:
    """Porosity of a particle that cracks early."""
    return 0.03 + 0.2 * (1 - np.exp(-cycle / 8))


def accelerating(cycle: np.ndarray) -> np.ndarray:
    """Porosity of a particle that cracks late."""
    return 0.03 + 0.0119 * np.expm1(0.06 * cycle)


def drawn(law, seed: int, tau: float = 0.01, std: float = 0.008) -> Points:
    rng = np.random.default_rng(seed)
    particle = rng.permutation(np.arange(CYCLE.size) % 5)
    y = law(CYCLE) + tau * rng.standard_normal(5)[particle] + std * rng.standard_normal(CYCLE.size)
    return points_of(CYCLE, y, std, list(particle))


def only(points: Points, family) -> Trend:
    return trends(points, (family,))[0]


def covers(hits: int, count: int) -> bool:
    """Whether so many of ``count`` 68 % intervals may hold the truth, in 99 of 100 tests."""
    return bool(binom.ppf(0.005, count, 0.68) <= hits <= binom.ppf(0.995, count, 0.68))


def test_a_line_is_the_weighted_least_squares_line() -> None:
    points = points_of([0, 1, 2, 5], [1.0, 2.9, 5.2, 11.0], [0.1, 0.2, 0.1, 0.3])
    found = only(points, LINEAR)
    exact = found.tau == 0
    coefficient, covariance = np.polyfit(points.x / 5, points.y, 1, w=1 / points.std, cov="unscaled")
    np.testing.assert_allclose(found.coefficient[exact][0], coefficient[::-1], rtol=1e-9)
    np.testing.assert_allclose(found.covariance[exact][0], covariance[::-1, ::-1], rtol=1e-9)


def test_the_interval_of_a_single_particle_is_the_normal_one() -> None:
    """Its deviation is part of its curve, so the profile likelihood is a parabola."""
    found = only(points_of(np.arange(12.0), 2.0 + 0.5 * np.arange(12.0), 0.1, ["a"] * 12), LINEAR)
    assert math.isnan(found.particle_std)
    value, low, high = found.at(5.5, level=0.682689)
    assert value == pytest.approx(4.75, abs=1e-9)
    assert (high - value, value - low) == pytest.approx([0.1 / math.sqrt(12)] * 2, rel=1e-4)


@pytest.mark.parametrize(
    ("law", "name"),
    [
        (saturating, "exponential"),
        (lambda c: 0.02 + 0.004 * c, "linear"),
        (lambda c: 0.02 + 0.2 / (1 + np.exp(-(c - 21) / 3)), "sigmoid"),
    ],
)
def test_the_family_that_made_the_values_is_found(law, name: str) -> None:
    fitted = trends(drawn(law, 1, tau=0.0, std=0.002))
    assert fitted[0].family.name == name
    np.testing.assert_allclose(fitted[0].curve(CYCLE), law(CYCLE), atol=0.006)


def test_families_with_more_numbers_than_points_allow_are_not_chosen() -> None:
    fitted = trends(points_of([0, 10, 20, 35], [0.03, 0.1, 0.15, 0.2], 0.01))
    assert [one.family.name for one in fitted if math.isfinite(one.aicc)] == []
    fitted = trends(points_of([0, 10, 20, 30, 35], [0.03, 0.1, 0.15, 0.18, 0.2], 0.01))
    assert fitted[0].family.name == "linear"


@pytest.mark.parametrize("law", [saturating, accelerating])
def test_intervals_hold_the_truth_as_often_as_stated(law) -> None:
    true = float(law(np.array(35.0)))
    level = float(law(np.array(24.0)))
    at, met, errors = 0, 0, []
    for seed in range(60):
        found = only(drawn(law, seed), EXPONENTIAL)
        value, low, high = found.at(35)
        at += low <= true <= high
        errors.append(value - true)
        place = place_of_equal(found, Estimate(level))
        assert place is not None
        met += place.low <= 24.0 <= place.high
    assert covers(at, 60)
    assert covers(met, 60)
    assert abs(np.mean(errors)) < 3 * np.std(errors) / math.sqrt(60)


def test_the_scatter_of_particles_is_found() -> None:
    tau = np.array([only(drawn(saturating, seed), EXPONENTIAL).particle_std for seed in range(40)])
    assert math.sqrt(np.mean(tau**2)) == pytest.approx(0.01, rel=0.3)


def test_two_curves_meet_where_they_do_and_nowhere_else() -> None:
    first, second = (only(drawn(law, 3, tau=0.0, std=0.002), EXPONENTIAL) for law in (accelerating, saturating))
    # 0.0119 expm1(0.06 c) = 0.2 (1 - exp(-c / 8)) at c = 48.0
    meeting = place_of_equal(first, second, within=(5, 60), level=0.95)
    assert meeting is not None
    assert meeting.low < 48.0 < meeting.high
    assert meeting.high - meeting.low < 6
    assert place_of_equal(first, second, within=(10, 35)) is None


def test_an_end_that_the_data_do_not_bound_is_infinite() -> None:
    found = only(drawn(saturating, 2), EXPONENTIAL)
    reached = place_of_equal(found, Estimate(0.228, 0.02), within=(0, 42))
    assert reached is not None
    assert reached.high == math.inf
    assert place_of_equal(found, Estimate(0.5)) is None


@pytest.mark.parametrize(
    ("x", "y", "std"), [([0, 1], [1, 2], 0.1), ([0, 1, 2], [1, np.nan, 2], 0.1), ([0, 1, 2], [1, 2, 3], 0.0)]
)
def test_values_that_make_no_series_are_refused(x, y, std) -> None:
    with pytest.raises(MeasurementError, match="make no series"):
        points_of(x, y, std)


def test_particles_must_be_named_for_all_and_places_be_a_range() -> None:
    with pytest.raises(MeasurementError, match="make no series"):
        points_of([0, 1, 2], [1, 2, 3], 0.1, ["a", "b"])
    with pytest.raises(MeasurementError, match="no range"):
        place_of_equal(only(drawn(saturating, 1), LINEAR), Estimate(0.1), within=(3, 3))
