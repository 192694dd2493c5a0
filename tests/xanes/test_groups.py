"""Means of groups: closed forms, and an uncertainty that holds."""

from __future__ import annotations

import numpy as np
import pytest

from cathoscope.core.errors import MeasurementError
from cathoscope.xanes.groups import means_of_groups


def test_means_and_pooled_scatter_are_the_closed_forms() -> None:
    found = means_of_groups(values=[1.0, 3.0, 10.0, 14.0, 7.0], std=np.full(5, 0.1), keys=["a", "a", "b", "b", "c"])
    assert found.keys == ("a", "b", "c")
    np.testing.assert_allclose(found.mean, [2.0, 12.0, 7.0])
    pooled = np.sqrt((2 * 1.0 + 2 * 4.0) / 2)
    assert found.scatter == pytest.approx(pooled)
    np.testing.assert_allclose(found.mean_std, pooled / np.sqrt([2, 2, 1]))
    difference, std = found.difference("b", "a")
    assert difference == pytest.approx(10.0)
    assert std == pytest.approx(pooled)
    assert found.difference("b", "b") == (0.0, 0.0)


def test_without_repeats_the_stated_uncertainty_holds_and_it_is_a_lower_limit() -> None:
    alone = means_of_groups(values=[1.0, 2.0], std=[0.3, 0.3], keys=["a", "b"])
    np.testing.assert_allclose(alone.mean_std, 0.3)
    assert np.isnan(alone.scatter)
    equal = means_of_groups(values=[1.0, 1.0], std=[0.3, 0.3], keys=["a", "a"])
    np.testing.assert_allclose(equal.mean_std, 0.3 / np.sqrt(2))


def test_values_that_are_missing_do_not_count() -> None:
    found = means_of_groups(values=[1.0, np.nan, np.nan], std=[0.1, np.nan, np.nan], keys=["a", "a", "b"])
    np.testing.assert_array_equal(found.count, [1, 0])
    np.testing.assert_array_equal(found.mean, [1.0, np.nan])
    np.testing.assert_allclose(found.mean_std, [0.1, np.nan])


def test_pulls_of_differences_have_width_one() -> None:
    rng = np.random.default_rng(41)
    keys = np.repeat(np.arange(12), 3).tolist()
    pulls = []
    for _ in range(600):
        found = means_of_groups(values=rng.normal(5.0, 0.4, 36), std=np.full(36, 0.01), keys=keys)
        difference, std = found.difference(3, 0)
        pulls.append(difference / std)
    # Student's t with 24 degrees of freedom has the width sqrt(24 / 22)
    assert abs(np.mean(pulls)) < 0.13
    assert np.std(pulls) == pytest.approx(np.sqrt(24 / 22), abs=0.1)


def test_lengths_that_differ_are_refused() -> None:
    with pytest.raises(MeasurementError, match="do not match"):
        means_of_groups(values=[1.0, 2.0], std=[0.1, 0.1], keys=["a"])
