"""Onset, end and expansion against curves that are known."""

from __future__ import annotations

from math import log

import numpy as np
import pytest

from cathoscope.powder.transition import expansion_of, step_of

T = np.arange(25.0, 251.0, 5.0)


def step(kind: str, middle: float, width: float) -> np.ndarray:
    z = (T - middle) / width
    if kind == "early":
        return np.exp(-np.exp(-z))
    return 1 / (1 + np.exp(-z)) if kind == "logistic" else 1 - np.exp(-np.exp(z))


PLACES = {"logistic": (-log(19), log(19)), "early": (-1.0972, 2.9702), "late": (-2.9702, 1.0972)}


@pytest.mark.parametrize(("kind", "middle", "width"), [("logistic", 150.0, 6.0), ("early", 150, 9), ("late", 120, 20)])
def test_onset_and_end_are_those_of_the_curve(kind: str, middle: float, width: float) -> None:
    noise = 0.004 * np.random.default_rng(2).standard_normal(T.size)
    found = step_of(T, 0.7 * step(kind, middle, width) + 0.01 + noise, np.full(T.size, 0.004))
    assert found is not None
    assert found.family == kind
    for place, quantile in zip((found.onset, found.end), PLACES[kind], strict=True):
        assert place.low < place.value < place.high
        assert place.high - place.low < 6
        assert abs(place.value - middle - quantile * width) < 2.5 * (place.high - place.low) / 2
    assert found.curve == pytest.approx(0.7 * step(kind, middle, width) + 0.01, abs=0.006)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    truth = 150 - log(19) * 8
    inside = 0
    for seed in range(12):
        noise = 0.01 * np.random.default_rng(seed).standard_normal(T.size)
        found = step_of(T[::2], (0.8 * step("logistic", 150, 8) + noise)[::2], np.full(T[::2].size, 0.01))
        assert found is not None
        inside += found.onset.low <= truth <= found.onset.high
    assert 4 <= inside <= 11  # of 12 at 68 %: outside of this by chance in 2 of 100


def test_a_phase_that_goes_has_a_step_too() -> None:
    found = step_of(T, 1 - 0.9 * step("logistic", 150, 6), np.full(T.size, 0.01))
    assert found is not None
    assert found.onset.value == pytest.approx(150 - 6 * log(19), abs=1)


def test_what_is_not_reached_is_infinite() -> None:
    noise = 0.004 * np.random.default_rng(2).standard_normal(T.size)
    found = step_of(T, 0.7 * step("logistic", 240, 10) + noise, np.full(T.size, 0.004))
    assert found is not None
    assert found.onset.value == pytest.approx(240 - 10 * log(19), abs=4)
    assert found.end.value == np.inf


def test_nothing_happens_where_nothing_changes() -> None:
    rng = np.random.default_rng(4)
    assert step_of(T, 0.2 + 1e-4 * T + 0.01 * rng.standard_normal(T.size), np.full(T.size, 0.01)) is None
    assert step_of(T, np.zeros(T.size), np.full(T.size, np.nan)) is None
    assert step_of(T[:5], T[:5], np.ones(5)) is None


def test_absent_phases_count_as_none_of_it() -> None:
    """Below the onset a phase is not there: zero without an uncertainty."""
    share = 0.7 * step("logistic", 150, 4)
    absent = T < 135
    found = step_of(T, np.where(absent, 0.0, share), np.where(absent, np.nan, 0.005))
    assert found is not None
    assert found.onset.value == pytest.approx(150 - 4 * log(19), abs=1.5)


def test_expansion_is_the_slope_over_the_edge() -> None:
    edge = 2.84 * (1 + 1.2e-5 * (T - 25))
    value, std = expansion_of(T, edge, np.full(T.size, 1e-5))
    assert value == pytest.approx(1.2e-5, rel=1e-6)
    x = T - T.mean()
    assert std == pytest.approx(1e-5 / 2.84 / np.sqrt(np.sum(x**2)), rel=1e-6)
    noise = 1e-4 * np.random.default_rng(0).standard_normal(T.size)
    rough, wide = expansion_of(T, edge + noise, np.full(T.size, 1e-5))
    assert wide == pytest.approx(10 * std, rel=0.3)
    assert abs(rough - value) < 3 * wide
    assert np.isnan(expansion_of(T[:3], edge[:3], np.ones(3))).all()


@pytest.mark.parametrize("every", [2.0, 5.0])
def test_intervals_hold_the_truth_of_a_form_that_is_none_of_theirs(every: float) -> None:
    """Avrami's law with the exponent 1.2: a corner at 138.3 C, and a long end."""
    inside = np.zeros(2)
    for seed in range(8):
        rng = np.random.default_rng([7, seed])
        t = np.arange(25.0 + rng.uniform(0, every), 251.0, every)
        share = -np.expm1(-((np.clip(t - 138.3, 0, None) / 5.5) ** 1.2))
        found = step_of(t, share + 0.01 * rng.standard_normal(t.size), np.full(t.size, 0.01))
        assert found is not None
        true = 138.3 + 5.5 * np.array([-log(0.95), -log(0.05)]) ** (1 / 1.2)
        inside += [place.low <= one <= place.high for place, one in zip((found.onset, found.end), true, strict=True)]
    assert inside.min() >= 4  # of 8 at 68 %: fewer by chance in 6 of 100


def strides(t: np.ndarray) -> np.ndarray:
    """A change that begins at 137 C, rests, and ends at 190 C."""
    return np.interp(t, [25, 137, 145, 170, 190, 250], [0, 0, 0.35, 0.45, 1, 1])


@pytest.mark.parametrize("falls", [False, True])
def test_a_change_in_two_strides_is_followed_as_it_is(falls: bool) -> None:
    """Five per cent are done at 138.1 C, 95 % at 188.2 C; no step of one stride ends there."""
    fine = np.arange(25.0, 251.0, 2.0)
    share = strides(fine) + 0.006 * np.random.default_rng(4).standard_normal(fine.size)
    found = step_of(fine, 1 - share if falls else share, np.full(fine.size, 0.006))
    assert found is not None
    assert found.family == "monotone"
    for place, true in ((found.onset, 137 + 0.05 / 0.35 * 8), (found.end, 170 + 0.5 / 0.55 * 20)):
        assert place.low <= place.value <= place.high
        assert abs(place.value - true) < 1.5
    assert found.curve == pytest.approx(1 - strides(fine) if falls else strides(fine), abs=0.02)


def test_a_change_in_two_strides_that_is_cut_off_is_infinite() -> None:
    fine = np.arange(25.0, 188.0, 2.0)
    share = strides(fine) + 0.006 * np.random.default_rng(4).standard_normal(fine.size)
    found = step_of(fine, share, np.full(fine.size, 0.006))
    assert found is not None
    assert found.end.value == np.inf
