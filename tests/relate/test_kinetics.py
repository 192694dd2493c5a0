"""What is found from the release of oxygen: truth where the data hold it, one-sided limits where not, predictions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from cathoscope.relate.kinetics import MODELS, kinetics
from cathoscope.relate.left_out import (
    bounds_of,
    central,
    discrepancy_from_residuals,
    interval_score,
    normal_interval,
    straight_line,
)
from cathoscope.relate.release import levelling, modes_of_particle, responses, stepped_programme
from cathoscope.relate.release_fit import Choices, Heated, contrasts_of, fitted, problem_of, without
from cathoscope.relate.release_table import Ranges

TEMPERATURES = (25.0, 150.0, 165.0, 180.0, 250.0)
ENERGY, DROP, SLOPE = 1.5, 1.9, 0.006
STD = 0.03


def _measured(name: str, release_time: float, rng: np.random.Generator) -> Heated:
    """A particle that is what the model says, without the tables and the eigenmodes' truncation."""
    depth, radius, core = np.linspace(0.15, 1.65, 6), 3.0, 1.2
    modes = modes_of_particle(radius=radius, core=core, skin=0.15)
    programme = stepped_programme(TEMPERATURES, rate=10.0, hold=1200.0, scans=1 / 3)
    found = responses(modes.rate, programme, activation_energy=ENERGY, release_time=[release_time], reference=150.0)[
        :, :, 0
    ]
    drop = DROP * found[:, 0] + SLOPE * found[:, 1]
    spread = (modes.shape @ levelling(modes, 0.8).T).T
    shells = np.array([np.interp(radius - depth, modes.radius, spread @ row) for row in drop])
    common = STD * rng.standard_normal(len(TEMPERATURES))
    mean = 8350.4 - drop @ modes.weight + common
    volume = (radius - depth) ** 2
    profile = 8350.4 - shells + common[:, None]
    own = np.full(profile.shape, STD)
    return Heated(name, mean, np.full(mean.size, STD), depth, volume, profile, own, 0.4, radius, core)


@pytest.fixture(scope="module")
def samples() -> tuple[Heated, Heated]:
    rng = np.random.default_rng(7)
    return _measured("rod", 5.0, rng), _measured("gravel", 2500.0, rng)


_PROGRAMME = stepped_programme(TEMPERATURES, rate=10.0, hold=1200.0, scans=1 / 3)
_COARSE = Ranges(activation_energy=(0.5, 2.5), release_time=(0.1, 1e5), points=(20, 40, 5, 4))
_FEW = Choices(points=350, ranges=_COARSE)


def test_the_truth_is_found_where_it_shows_and_bounded_where_it_does_not(samples: tuple[Heated, Heated]) -> None:
    found = kinetics(samples, TEMPERATURES, _PROGRAMME, _FEW)
    assert found.energy.bounded[0]
    assert 0.6 < found.energy.interval[1, 0] < ENERGY < found.energy.interval[1, 1]
    rod, gravel = found.log_time
    assert gravel.interval[1, 0] < np.log(2500.0) < gravel.interval[1, 1]
    assert rod.bounded == (False, True)  # it has turned before anybody looks
    assert np.log(5.0) < rod.interval[1, 1] < np.log(2500.0)
    assert found.log_path[1].bounded == (True, False)
    assert found.log_path[1].interval[1, 0] < 0.5 * np.log(2500.0 / 5.0)
    assert found.energy_alone[0].bounded[1] is False
    assert found.criterion.shape == (len(MODELS),)
    assert np.argmin(found.criterion) == 0
    scores: dict[str, list[float]] = {"model": [], "line": []}
    for each in found.predictions:
        if each.hold < len(TEMPERATURES) - 1:
            value = samples[each.sample].mean[each.hold]
            for name, (low, high) in (("model", each.interval[1]), ("line", each.straight[1])):
                scores[name].append(float(interval_score(low=low, high=high, value=value, level=0.95)))
    assert np.mean(scores["model"]) < 0.7 * np.mean(scores["line"])


def test_a_hold_that_is_left_out_changes_nothing_by_its_value(samples: tuple[Heated, Heated]) -> None:
    moved = tuple(replace(one, mean=one.mean + np.array([0, 0, 5.0, 0, 0])) for one in samples)
    choices = replace(_FEW, points=60)
    first, second = (fitted(without(problem_of(each, _PROGRAMME, choices), 2)) for each in (samples, moved))
    np.testing.assert_array_equal(first.cube, second.cube)


def test_contrasts_do_not_see_what_shells_have_in_common(samples: tuple[Heated, Heated]) -> None:
    one = samples[1]
    patchy = one.profile.copy()
    patchy[0, -2:] = np.nan
    patchy[1, 1:] = np.nan
    contrasts = contrasts_of(replace(one, profile=patchy))
    np.testing.assert_allclose(contrasts.basis @ np.ones(one.depth.size), 0.0, atol=1e-10)
    np.testing.assert_array_equal(np.isfinite(contrasts.variance).sum(axis=1), [3, 0, 5, 5, 5])


def test_combinations_of_shells_have_the_variance_that_is_stated(samples: tuple[Heated, Heated]) -> None:
    one, rng = samples[1], np.random.default_rng(5)
    alike = np.exp(-np.abs(one.depth[:, None] - one.depth) / one.correlation_length)
    noise = STD * rng.standard_normal((4000, one.depth.size)) @ np.linalg.cholesky(alike).T
    contrasts = contrasts_of(one)
    seen = np.cov(contrasts.basis[2, :5] @ noise.T)
    np.testing.assert_allclose(np.diag(seen), contrasts.variance[2, :5], rtol=0.12)
    assert np.abs(np.corrcoef(contrasts.basis[2, :5] @ noise.T) - np.eye(5)).max() < 0.08


def test_bounds_tell_on_which_side_nothing_is_known() -> None:
    rng = np.random.default_rng(2)
    both = bounds_of(rng.normal(2.0, 0.2, 4000), 0.0, 4.0)
    assert both.bounded == (True, True)
    np.testing.assert_allclose(both.interval[1], [2 - 0.392, 2 + 0.392], atol=0.03)
    plateau = rng.uniform(0.0, 4.0, 20_000)
    plateau = plateau[rng.random(plateau.size) < norm.cdf((plateau - 1.0) / 0.3)]
    below = bounds_of(plateau, 0.0, 4.0)
    assert below.bounded == (True, False)
    # the likelihood cdf((x - 1) / 0.3) falls to 0.26 of its plateau at 1 - 0.643 * 0.3
    np.testing.assert_allclose(below.interval[:, 0], 1 - 0.643 * 0.3, atol=0.06)
    assert np.isposinf(below.interval[:, 1]).all()
    longer = bounds_of(np.concatenate([plateau, rng.uniform(4.0, 8.0, 8 * plateau.size // 6)]), 0.0, 8.0)
    np.testing.assert_allclose(longer.interval[:, 0], below.interval[:, 0], atol=0.15)
    above = bounds_of(-plateau, -4.0, 0.0)
    np.testing.assert_allclose(above.interval[:, 1], -below.interval[:, 0])
    assert bounds_of(rng.uniform(0, 1, 4000), 0.0, 1.0).bounded == (False, False)


def test_the_score_is_least_for_the_honest_interval() -> None:
    values = np.random.default_rng(1).standard_normal(20_000)
    for level in (0.68, 0.95):
        half = norm.ppf(0.5 + level / 2)
        means = [
            interval_score(low=-part * half, high=part * half, value=values, level=level).mean()
            for part in (0.6, 0.8, 1.0, 1.25, 1.6)
        ]
        assert np.argmin(means) == 2
    assert float(interval_score(low=0.0, high=1.0, value=1.5, level=0.95)) == pytest.approx(1 + 40 * 0.5)


def test_a_straight_line_is_exact_for_one_and_wide_for_a_curve() -> None:
    temperature = [0.0, 50.0, 100.0, 150.0]
    value, std = straight_line(temperature, [1.0, 9.0, 3.0, 4.0], [0.1] * 4, 1)
    assert value == pytest.approx(2.0)
    rate = (2.0**2 / 100 + 1.0**2 / 50) / 2
    assert std == pytest.approx(np.sqrt(2 * 0.05**2 + rate * 25))
    low, high = normal_interval(value, std, 0.95)
    assert high - low == pytest.approx(2 * 1.96 * std, rel=1e-3)


def test_errors_of_measurement_widen_a_prediction() -> None:
    rng = np.random.default_rng(4)
    low, high = central(np.zeros(40_000), 0.5, 0.68, rng)
    assert high - low == pytest.approx(2 * 0.9945 * 0.5, rel=0.02)


def test_the_discrepancy_is_what_residuals_have_too_much() -> None:
    rng = np.random.default_rng(6)
    stds = np.concatenate([np.full(3000, 0.02), np.full(3000, 1.0)])
    residuals = rng.standard_normal(6000) * np.hypot(stds, 0.05)
    assert discrepancy_from_residuals(residuals, stds) == pytest.approx(0.05, rel=0.05)
    assert discrepancy_from_residuals(0.5 * stds, stds) == 0.0
    assert discrepancy_from_residuals(np.zeros(3), np.ones(3)) == 0.0
