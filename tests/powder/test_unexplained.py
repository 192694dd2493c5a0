"""Peaks that no phase explains."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cathoscope.core.bank import Bank
from cathoscope.numerics.dual import value_of
from cathoscope.powder.crystallite import CrystalliteChoices, crystallite_of
from cathoscope.powder.model import model_of, peaks_of
from cathoscope.powder.profile_tof import tof_profile
from cathoscope.powder.start import parameters_of
from cathoscope.powder.unexplained import Unexplained, full_widths, through_series, unexplained_peaks
from tests.powder.crystals import NMC
from tests.powder.patterns import COPPER, POWGEN, pattern_on

X = np.geomspace(22600 * 1.0, 22600 * 2.3, 2000)
PHASE = crystallite_of(NMC, CrystalliteChoices(size="isotropic"))
LEVEL = 100.0


def left_over(extra: dict[float, float], scale: float = 0.0, seed: int = 1) -> list[Unexplained]:
    """Peaks of given areas (by their place) that nothing explains, and a share of the explained ones."""
    pattern = pattern_on(POWGEN, X)
    model = model_of([pattern], [PHASE])
    values = {name: one.value for name, one in parameters_of(model).numbers.items()} | {"powgen.NMC.scale": 4000.0}
    peaks = value_of(peaks_of(model, 0, values))
    more = scale * peaks
    for d, area in extra.items():
        sigma = float(np.interp(22600 * d, X, full_widths(POWGEN, X))) / 2.355
        more = more + area * np.exp(-0.5 * ((X - 22600 * d) / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))
    std = np.sqrt(LEVEL + peaks)
    noise = np.random.default_rng(seed).standard_normal(X.size) * std
    return unexplained_peaks(replace(pattern, y=LEVEL + peaks + more + noise), more + noise, peaks, std)


def test_a_peak_that_no_phase_has_is_found_at_its_spacing() -> None:
    found = left_over({1.55: 6000.0, 2.2: 8000.0})
    assert sorted(one.spacing for one in found) == pytest.approx([1.55, 2.2], abs=0.002)
    # of a Gaussian on a level, area over uncertainty is area / (level 2 sigma sqrt(pi) steps)^1/2
    for one in found:
        area = 6000.0 if one.spacing < 2 else 8000.0
        sigma, step = np.interp(22600 * one.spacing, X, full_widths(POWGEN, X)) / 2.355, 4.2e-4
        expected = area / np.sqrt(LEVEL * 2 * sigma * np.sqrt(np.pi) * step * 22600 * one.spacing)
        assert one.strength == pytest.approx(expected, rel=0.2)


def test_noise_has_no_peaks() -> None:
    assert [left_over({}, seed=seed) for seed in range(8)] == [[]] * 8


def test_misfit_of_explained_peaks_is_not_listed() -> None:
    assert left_over({}, scale=0.04) == []
    (found,) = left_over({1.55: 6000.0}, scale=0.04)
    assert found.spacing == pytest.approx(1.55, abs=0.002)


@pytest.mark.parametrize(("bank", "x"), [(POWGEN, X[::100]), (COPPER, np.linspace(20.0, 120.0, 40))])
def test_widths_are_those_of_the_profile(bank: Bank, x: np.ndarray) -> None:
    width = full_widths(bank, x)
    assert np.all(width >= 2 * np.gradient(x) - 1e-9)
    if bank is POWGEN:
        fine = np.geomspace(22600 * 1.0, 22600 * 1.0001, 3)
        t = np.linspace(-200, 200, 4001)
        shape = tof_profile(t=t, alpha=0.1325, beta=0.1143, sigma2=170.0, gamma=0.0)
        values = shape[0]
        half = t[values > values.max() / 2]
        assert full_widths(bank, fine)[0] == pytest.approx(np.ptp(half), rel=0.2)


def test_one_peak_through_a_series_is_listed_once() -> None:
    peaks = [
        [[Unexplained(2.000, 6.0)], []],
        [[Unexplained(2.004, 9.0), Unexplained(1.5, 7.0)], [Unexplained(2.004, 5.5)]],
        [[], []],
    ]
    found = through_series(peaks)
    assert [(one.spacing, one.strength, one.where, one.bank, one.count) for one in found] == [
        (2.004, 9.0, 1, 0, 2),
        (1.5, 7.0, 1, 0, 1),
        (2.004, 5.5, 1, 1, 1),
    ]
