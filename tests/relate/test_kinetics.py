"""What is found from the release of oxygen: truth where the data hold it, one-sided limits where not, predictions."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import chi2, norm

from cathoscope.physics.kinetics import arrhenius_from_temperature
from cathoscope.relate.kinetics import MODELS, kinetics, shift_of_energy
from cathoscope.relate.left_out import (
    bounds_of,
    central,
    discrepancy_from_residuals,
    interval_score,
    normal_interval,
    straight_line,
)
from cathoscope.relate.release import stepped_programme
from cathoscope.relate.release_fit import Choices, Heated, Problem, contrasts_of, fitted, problem_of, without
from cathoscope.relate.release_table import Ranges

TEMPERATURES = (25.0, 150.0, 160.0, 170.0, 180.0, 200.0)
HOLD, SCANS = 1200.0, 1 / 3
DROP = 1.9
STD = 0.02


def _times_at_reference(energy: float, at: float = 150.0) -> np.ndarray:
    """Time (s) at 150 degC that is worth what passed until the scans begin, are half through and end, (hold, 3).

    Integral of exp[-E/k (1/T - 1/T_ref)] over ramps of 10 K/min (trapezia of 0.02 K) and holds.
    """
    passed, found = 0.0, []
    for before, now in pairwise((25.0, *TEMPERATURES)):
        path = np.linspace(before, now, int((now - before) * 50) + 2)
        speed = arrhenius_from_temperature(temperature=path, value=1.0, reference=at, activation_energy=energy)
        passed += float(np.trapezoid(speed, path)) * 6.0
        found.append(passed + HOLD * speed[-1] * np.array([SCANS, (1 + SCANS) / 2, 1.0]))
        passed = float(found[-1][-1])
    return np.array(found)


def _heated(name: str, radius: float, release_time: float, *, energy: float, seed: int | None) -> Heated:
    """A sphere that oxygen leaves by diffusion alone; Crank, The Mathematics of Diffusion, eqs 6.18 and 6.20.

    Its mean release time is R² / (15 D); without a ``seed`` nothing is wrong with what is measured.
    """
    depth = radius * (np.arange(6) + 0.5) / 7
    n, where = np.arange(1, 600), (radius - depth) / radius
    decay = np.exp(-((np.pi * n) ** 2) * _times_at_reference(energy)[..., None] / (15 * release_time))
    over_scans = np.einsum("hsn,s->hn", decay, np.array([1, 4, 1]) / 6)
    turned = 1 - 6 / np.pi**2 * over_scans @ (1 / n**2)
    waves = 2 / np.pi * (-1.0) ** n / n * np.sin(np.pi * np.outer(where, n)) / where[:, None]
    rng = np.random.default_rng(seed)
    noise = STD * rng.standard_normal((2, turned.size)) if seed is not None else np.zeros((2, turned.size))
    profile = 8350.4 - DROP * (1 + over_scans @ waves.T)
    own = np.full(profile.shape, STD)
    return Heated(
        name=name,
        mean=8350.4 - DROP * turned + noise[0],
        mean_std=np.full(turned.size, STD),
        depth=depth,
        volume=(radius - depth) ** 2,
        profile=profile + noise[0][:, None] + (0 if seed is None else STD * rng.standard_normal(profile.shape)),
        profile_std=own,
        correlation_length=0.01,
        radius=radius,
    )


_PROGRAMME = stepped_programme(TEMPERATURES, rate=10.0, hold=HOLD, scans=SCANS)
_RANGES = Ranges(activation_energy=(0.4, 3.2), release_time=(0.1, 1e6), points=(24, 50, 1, 1))
_FEW = Choices(points=250, ranges=_RANGES)


def _two_spheres(energy: float, seed: int | None) -> tuple[Heated, Heated]:
    """Radii of 2 and 4 um: by diffusion, four times the time."""
    small = _heated("small", 2.0, 1500.0, energy=energy, seed=seed)
    return small, _heated("large", 4.0, 6000.0, energy=energy, seed=None if seed is None else seed + 50)


@pytest.fixture(scope="module")
def spheres() -> Problem:
    """Of two sizes and one chemistry, without skins; the tables serve all that is measured of them."""
    return problem_of(_two_spheres(2.0, None), _PROGRAMME, _FEW)


def _measured(problem: Problem, samples: tuple[Heated, ...]) -> Problem:
    return replace(problem, samples=samples, contrasts=tuple(map(contrasts_of, samples)))


@pytest.mark.parametrize("energy", [1.3, 2.0])
def test_spheres_without_errors_give_the_energy_and_the_times_that_crank_put_in(
    spheres: Problem, energy: float
) -> None:
    found = fitted(_measured(spheres, _two_spheres(energy, None)))
    ratio = (found.log_release_time(1) - found.log_release_time(0)) / 2
    draws = (found.activation_energy, found.log_release_time(0), found.log_release_time(1), ratio)
    for values, truth in zip(draws, (energy, np.log(1500.0), np.log(6000.0), np.log(2.0)), strict=True):
        assert values.std() < 0.1
        assert abs(np.median(values) - truth) < 0.4 * values.std()
    assert bounds_of(draws[0], *_RANGES.activation_energy).bounded == (True, True)
    assert abs(shift_of_energy(found, 250)) < 0.4 * draws[0].std()


def test_errors_of_energies_are_what_their_intervals_say(spheres: Problem) -> None:
    pulls = []
    for seed in range(6):
        found = fitted(_measured(spheres, _two_spheres(1.7, seed))).activation_energy
        pulls.append((found.mean() - 1.7) / found.std())
    low, high = chi2.ppf([0.005, 0.995], len(pulls))
    assert low < np.sum(np.square(pulls)) < high


def test_a_skin_that_is_not_there_moves_the_energy_within_its_interval() -> None:
    choices = replace(_FEW, ranges=replace(_RANGES, points=(24, 50, 4, 1)))
    found = fitted(problem_of(_two_spheres(2.0, None), _PROGRAMME, choices))
    bounds = bounds_of(found.activation_energy, *_RANGES.activation_energy)
    assert bounds.bounded == (True, True)
    assert bounds.interval[1, 0] < 2.0 < bounds.interval[1, 1]


def test_of_what_was_turned_before_only_what_was_expected_of_the_energy_is_known() -> None:
    turned = (_heated("turned", 2.0, 2.0, energy=1.7, seed=None),)
    choices = replace(_FEW, points=1000, expected=(1.8, 0.25))
    found = fitted(problem_of(turned, _PROGRAMME, choices))
    assert found.activation_energy.mean() == pytest.approx(1.8, abs=0.05)
    assert found.activation_energy.std() == pytest.approx(0.25, abs=0.04)
    # it was charged at 25 degC and is not at 150: a lower limit, and no more
    alone = fitted(problem_of(turned, _PROGRAMME, _FEW)).activation_energy
    assert bounds_of(alone, *_RANGES.activation_energy).bounded == (True, False)


@pytest.fixture(scope="module")
def samples() -> tuple[Heated, Heated]:
    """One turned before anybody looks, measured without errors; one is seen on its way."""
    return _heated("rod", 1.0, 5.0, energy=1.7, seed=None), _heated("gravel", 3.0, 2500.0, energy=1.7, seed=8)


def test_what_shows_from_one_side_is_bounded_there_and_what_is_left_out_is_foretold(
    samples: tuple[Heated, Heated],
) -> None:
    ranges = replace(_RANGES, points=(24, 40, 3, 1))
    choices = replace(_FEW, points=150, ranges=ranges, expected=(1.8, 0.4))
    found = kinetics(samples, TEMPERATURES, _PROGRAMME, choices)
    assert found.energy.bounded == (True, True)
    assert found.energy.interval[1, 0] < 1.7 < found.energy.interval[1, 1]
    rod, gravel = found.log_time
    assert gravel.interval[1, 0] < np.log(2500.0) < gravel.interval[1, 1]
    assert rod.bounded == (False, True)
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
    assert np.mean(scores["model"]) < 0.5 * np.mean(scores["line"])


def test_a_hold_that_is_left_out_changes_nothing_by_its_value(samples: tuple[Heated, Heated]) -> None:
    moved = tuple(replace(one, mean=one.mean + np.array([0, 0, 5.0, 0, 0, 0])) for one in samples)
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
    np.testing.assert_array_equal(np.isfinite(contrasts.variance).sum(axis=1), [3, 0, 5, 5, 5, 5])


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
