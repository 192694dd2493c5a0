"""The spread of normal noise is found, whatever a few values do."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from cathoscope.numerics.spread import (
    MAD_TO_STD,
    SECOND_DIFFERENCE,
    robust_std,
    robust_std_about_median,
    robust_std_along,
)


def test_factors_are_those_of_normal_noise() -> None:
    assert pytest.approx(1.0 / norm.ppf(0.75), abs=5e-6) == MAD_TO_STD
    assert pytest.approx(np.linalg.norm([1, -2, 1])) == SECOND_DIFFERENCE


def test_noise_is_found_beside_values_far_off() -> None:
    noise = np.random.default_rng(0).normal(0.0, 0.3, 100_001)
    assert robust_std(noise) == pytest.approx(0.3, rel=0.01)
    assert robust_std_about_median(noise + 7.0) == pytest.approx(robust_std(noise), rel=0.01)
    noise[:1000] = 1e9
    assert robust_std(noise) == pytest.approx(0.3, rel=0.03)


def test_along_an_axis_is_row_by_row() -> None:
    values = np.random.default_rng(1).normal(size=(3, 50))
    np.testing.assert_array_equal(robust_std_along(values, 1), [robust_std(row) for row in values])
    assert robust_std_along(values, 1, keepdims=True).shape == (3, 1)
