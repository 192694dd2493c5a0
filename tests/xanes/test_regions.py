"""Shells of a mask and sums over them: closed forms of a ball, and nothing is lost."""

from __future__ import annotations

import numpy as np
import pytest

from cathoscope.core.errors import MeasurementError
from cathoscope.xanes.regions import shells_of_mask, sums_over_regions


def ball(radius: float, size: int) -> np.ndarray:
    grid = np.indices((size, size, size)) - (size - 1) / 2
    return np.sqrt((grid**2).sum(axis=0)) <= radius


def test_shells_of_a_ball_have_equal_volumes_and_the_depths_of_the_closed_form() -> None:
    mask, voxel = ball(20.0, 45), 0.1
    labels, depth = shells_of_mask(mask=mask, voxel_size=voxel, n_shells=3)
    counts = np.bincount(labels.ravel(), minlength=4)
    assert counts[0] == np.count_nonzero(~mask)
    np.testing.assert_allclose(counts[1:], mask.sum() / 3, rtol=0.1)
    # the outer k thirds of a ball end at the depth R (1 - (1 - k / 3)**(1 / 3))
    expected = 20.0 * voxel * (1.0 - np.cbrt(1.0 - np.arange(4) / 3))
    np.testing.assert_allclose(depth, expected, atol=0.6 * voxel)


def test_the_border_of_the_volume_is_a_surface() -> None:
    labels, _ = shells_of_mask(mask=np.ones((5, 5, 5), dtype=bool), voxel_size=1.0, n_shells=2)
    assert labels[0, 2, 2] == 1
    assert labels[2, 2, 2] == 2


def test_one_shell_is_the_mask() -> None:
    mask = ball(4.0, 11)
    labels, _ = shells_of_mask(mask=mask, voxel_size=1.0, n_shells=1)
    np.testing.assert_array_equal(labels, mask)


def test_an_empty_mask_is_refused() -> None:
    with pytest.raises(MeasurementError, match="no region"):
        shells_of_mask(mask=np.zeros((3, 3, 3), dtype=bool), voxel_size=1.0, n_shells=1)


def test_sums_are_those_of_boolean_indexing_and_nan_does_not_count() -> None:
    rng = np.random.default_rng(5)
    values, labels = rng.normal(size=(4, 5, 6)), rng.integers(0, 4, (4, 5, 6)).astype(np.uint8)
    values[1, 2, 3] = np.nan
    sums, counts = sums_over_regions(values=values, labels=labels, n_regions=3)
    for region in (1, 2, 3):
        inside = values[labels == region]
        assert sums[region - 1] == pytest.approx(np.nansum(inside))
        assert counts[region - 1] == np.isfinite(inside).sum()
    with pytest.raises(MeasurementError, match="do not fit"):
        sums_over_regions(values=values, labels=labels[:2], n_regions=3)
