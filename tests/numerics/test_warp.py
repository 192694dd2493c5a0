"""Resampling is exact where a spline is, the same in any slabs, and reads only the rows it needs."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.transform import Similarity
from cathoscope.numerics.warp import cubic_sample, low_sample, sample, spline_coefficients, voxel_positions, warp

SHAPE = (27, 20, 18)
CENTRE = (np.array(SHAPE) - 1) / 2
MAP = Similarity(np.array([1.3, -0.7, 0.4]), np.array([5.0, -2.0, 1.0]), 0.98, CENTRE)
STILL = Similarity(np.zeros(3), np.zeros(3), 1.0, CENTRE)
NOISE = np.random.default_rng(3).normal(size=SHAPE).astype(np.float32)


def polynomial(points: np.ndarray) -> np.ndarray:
    z, y, x = np.moveaxis(points - CENTRE, -1, 0) / 10
    return np.asarray(1 + z - 2 * y + 0.5 * x + z * y - x * y + 0.3 * x * z)


def test_what_is_linear_along_every_axis_comes_out_exactly() -> None:
    places = voxel_positions(range(SHAPE[0]), SHAPE)
    volume = polynomial(places).reshape(SHAPE).astype(np.float32)
    there = MAP.to_moving(places).reshape(*SHAPE, 3)
    expected = polynomial(there)
    deep = np.all((there > 7) & (there < np.array(SHAPE) - 8), axis=-1)  # the mirrored rim has decayed
    for order, tolerance in (("cubic", 1e-4), ("linear", 1e-5)):
        found = warp(volume, MAP, slice(0, SHAPE[0]), order=order)  # type: ignore[arg-type]
        assert deep.sum() > 100
        np.testing.assert_allclose(found[deep], expected[deep], atol=tolerance)


@pytest.mark.parametrize("order", ["cubic", "linear", "nearest"])
def test_no_motion_changes_nothing(order: Any) -> None:
    np.testing.assert_allclose(warp(NOISE, STILL, slice(0, 27), order=order), NOISE, atol=2e-6)


def test_cubic_agrees_with_scipy_and_is_nan_outside() -> None:
    there = MAP.to_moving(voxel_positions(range(SHAPE[0]), SHAPE))
    outside = np.any((there < 0) | (there > np.array(SHAPE) - 1), axis=1).reshape(SHAPE)
    found = warp(NOISE, MAP, slice(0, 27))
    expected = map_coordinates(NOISE.astype(float), there.T, order=3, mode="mirror").reshape(SHAPE)
    np.testing.assert_array_equal(np.isnan(found), outside)
    np.testing.assert_allclose(found[~outside], expected[~outside], atol=3e-6)


@pytest.mark.parametrize("order", ["cubic", "linear", "nearest"])
def test_slabs_have_the_bits_of_the_whole(order: Any) -> None:
    whole = warp(NOISE, MAP, slice(0, 27), order=order)
    for cuts in ((0, 8, 16, 24, 27), (0, 16, 27), (0, 3, 11, 27)):
        parts = [warp(NOISE, MAP, slice(a, b), order=order) for a, b in pairwise(cuts)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_only_rows_that_are_needed_are_read() -> None:
    class Counted:
        shape = (400, 6, 6)
        read: list[slice] = []

        def __getitem__(self, rows: slice) -> np.ndarray:
            self.read.append(rows)
            return np.ones((rows.stop - rows.start, 6, 6), np.float32)

    moving = Counted()
    shifted = Similarity(np.array([100.25, 0.0, 0.0]), np.zeros(3), 1.0, np.array([199.5, 2.5, 2.5]))
    found = warp(moving, shifted, slice(200, 208))
    np.testing.assert_allclose(found, 1.0, atol=1e-6)
    assert len(moving.read) == 1
    assert moving.read[0].stop - moving.read[0].start < 45
    assert np.isnan(warp(moving, shifted, slice(392, 400))).all()


def test_labels_stay_labels_and_missing_voxels_stay_missing() -> None:
    labels = (np.arange(np.prod(SHAPE)).reshape(SHAPE) % 7).astype(np.int32)
    found = warp(labels, MAP, slice(0, 27), order="nearest")
    assert set(np.unique(found[np.isfinite(found)])) <= set(range(7))
    holed = np.full(SHAPE, 2.5, np.float32)
    holed[10:14, 5:9, 5:9] = np.nan
    for order in ("cubic", "nearest"):
        laid = warp(holed, MAP, slice(0, 27), order=order)  # type: ignore[arg-type]
        np.testing.assert_allclose(laid[np.isfinite(laid)], 2.5, atol=1e-5)
        there = np.rint(MAP.to_moving(voxel_positions(range(27), SHAPE))).astype(int).reshape(*SHAPE, 3)
        hole = np.all((there >= (10, 5, 5)) & (there < (14, 9, 9)), axis=-1)
        np.testing.assert_array_equal(np.isnan(laid)[3:-3, 3:-3, 3:-3], hole[3:-3, 3:-3, 3:-3])


def test_gradient_is_the_derivative() -> None:
    coefficients = spline_coefficients(NOISE)
    points = np.random.default_rng(0).uniform(3, 14, (50, 3))
    gradient = np.empty((50, 3), np.float32)
    sample(coefficients, points, gradient)
    for axis in range(3):
        step = 1e-2 * np.eye(3)[axis]
        slope = (sample(coefficients, points + step).astype(float) - sample(coefficients, points - step)) / 2e-2
        np.testing.assert_allclose(gradient[:, axis], slope, atol=2e-3)


def test_kernels_are_the_same_as_python() -> None:
    coefficients = spline_coefficients(NOISE[:6, :5, :4])
    points = np.array([[0.0, 0.0, 0.0], [5.0, 4.0, 3.0], [2.3, 1.7, 2.9], [-0.5, 1.0, 1.0], [1.0, np.nan, 1.0]])
    results = []
    for cubic, low in ((cubic_sample, low_sample), (cubic_sample.py_func, low_sample.py_func)):
        value, gradient = np.empty(5, np.float32), np.empty((5, 3), np.float32)
        cubic(coefficients, points, value, gradient)
        linear, nearest = np.empty(5, np.float32), np.empty(5, np.float32)
        low(coefficients, points, False, linear)
        low(coefficients, points, True, nearest)
        results.append(np.column_stack([value, gradient, linear, nearest]))
    np.testing.assert_allclose(results[0], results[1], atol=1e-6)
    assert np.isnan(results[0][3:, 0]).all()


def test_what_cannot_be_resampled_is_refused() -> None:
    with pytest.raises(MeasurementError, match="only volumes"):
        warp(NOISE[0], MAP, slice(0, 3))
    for rows in (slice(20, 30), slice(5, 5)):
        with pytest.raises(MeasurementError, match="not in the volume"):
            warp(NOISE, MAP, rows)
