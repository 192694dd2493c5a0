"""Absorbance of bands, and formulas from contents of elements."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cathoscope.core.errors import MeasurementError
from cathoscope.lab.composition import formula_of, lithium_removed, ratios_to
from cathoscope.lab.optical import band_absorbance
from cathoscope.numerics.estimate import Estimate

WAVELENGTH = np.arange(250.0, 801.0)


def spectrum(noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """A Gaussian band at 500 nm."""
    random = noise * np.random.default_rng(seed).standard_normal(WAVELENGTH.size)
    return 0.8 * np.exp(-0.5 * ((WAVELENGTH - 500) / 60) ** 2) + random


def test_the_mean_of_a_band_is_its_integral_over_its_width() -> None:
    from math import erf, pi, sqrt

    expected = 0.8 * 60 * sqrt(2 * pi) * erf(100 / 60 / sqrt(2)) / 200
    assert band_absorbance(WAVELENGTH, spectrum()).mean.value == pytest.approx(expected, rel=1e-4)


def test_noise_of_the_mean_is_that_of_repetitions() -> None:
    true = band_absorbance(WAVELENGTH, spectrum()).mean.value
    found = [band_absorbance(WAVELENGTH, spectrum(0.01, seed)).mean for seed in range(200)]
    pulls = np.array([(one.value - true) / one.std for one in found])
    assert abs(pulls.mean()) < 0.25
    assert 0.85 < pulls.std() < 1.15


def test_blank_and_baseline_are_taken_off_and_saturation_is_told() -> None:
    blank = 0.05 + 0.0001 * WAVELENGTH
    clean = band_absorbance(WAVELENGTH, spectrum()).mean.value
    with_blank = band_absorbance(WAVELENGTH, spectrum() + blank, blank=(WAVELENGTH, blank))
    assert with_blank.mean.value == pytest.approx(clean, abs=1e-12)
    lifted = band_absorbance(WAVELENGTH, spectrum() + 0.02, baseline=(750.0, 800.0))
    assert lifted.mean.value == pytest.approx(clean, abs=1e-4)
    assert band_absorbance(WAVELENGTH, 4 * spectrum()).saturated > 0.1
    with pytest.raises(MeasurementError, match="does not span"):
        band_absorbance(WAVELENGTH[200:], spectrum()[200:])


def test_ratios_of_a_dissolved_oxide() -> None:
    # 8.30 : 1.04 : 1.00 atoms, written as masses
    content = {
        "Ni": Estimate(8.30 * 58.6934, 1.0),
        "Co": Estimate(1.04 * 58.933194, 0.5),
        "Mn": Estimate(54.938043, 0.3),
    }
    ratios = ratios_to(content, "Mn")
    assert ratios["Ni"].value == pytest.approx(8.30, rel=1e-4)
    assert ratios["Co"].value == pytest.approx(1.04, rel=1e-4)
    assert ratios["Mn"] == Estimate(1.0, 0.0)
    assert formula_of(content).share["Ni"].value == pytest.approx(8.30 / 10.34, rel=1e-4)


@given(st.floats(0.01, 100), st.floats(0.1, 10), st.floats(0.1, 10))
def test_a_dilution_changes_no_formula(factor: float, nickel: float, cobalt: float) -> None:
    content = {"Li": Estimate(1.0, 0.01), "Ni": Estimate(nickel, 0.02), "Co": Estimate(cobalt, 0.03)}
    thin = {name: Estimate(factor * one.value, factor * one.std) for name, one in content.items()}
    for name, share in formula_of(content).share.items():
        assert formula_of(thin).share[name] == pytest.approx(share, rel=1e-9)
    assert sum(one.value for one in formula_of(content).share.values()) == pytest.approx(1.0)


def test_errors_of_contents_become_errors_of_shares() -> None:
    rng = np.random.default_rng(2)
    true = {"Li": 6.9, "Ni": 46.0, "Co": 6.0, "Mn": 5.5}
    std = {"Li": 0.1, "Ni": 0.5, "Co": 0.1, "Mn": 0.1}
    drawn = [
        formula_of({k: Estimate(v + std[k] * rng.standard_normal(), std[k]) for k, v in true.items()})
        for _ in range(400)
    ]
    exact = formula_of({k: Estimate(v, std[k]) for k, v in true.items()})
    nickel = np.array([one.share["Ni"].value for one in drawn])
    lithium = np.array([one.lithium.value for one in drawn if one.lithium])
    assert exact.lithium is not None
    assert exact.share["Ni"].std == pytest.approx(nickel.std(), rel=0.12)
    assert exact.lithium.std == pytest.approx(lithium.std(), rel=0.12)


def test_lithium_that_was_removed() -> None:
    before = formula_of({"Li": Estimate(6.94, 0.05), "Ni": Estimate(58.69, 0.5)})
    after = formula_of({"Li": Estimate(1.388, 0.02), "Ni": Estimate(58.69, 0.5)})
    assert lithium_removed(before, after).value == pytest.approx(0.8, rel=1e-3)
    with pytest.raises(MeasurementError, match="lithium was not measured"):
        lithium_removed(before, formula_of({"Ni": Estimate(1.0, 0.1)}))
    with pytest.raises(MeasurementError, match="no contents of transition metals"):
        formula_of({"Li": Estimate(1.0, 0.1)})
