"""The compiled pixel filters against scipy, numpy and themselves as Python."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import median_filter

from cathoscope.tomography.pixel_kernels import (
    deviation_from_neighbours,
    fill_from_neighbours,
    neighbourhood_median,
    remove_zingers,
)

IMAGES = arrays(np.float32, st.tuples(st.integers(2, 9), st.integers(2, 9)), elements=st.floats(-1e3, 1e3, width=32))


@settings(max_examples=60, deadline=None)
@given(image=IMAGES)
def test_neighbourhood_median_is_that_of_scipy(image: np.ndarray) -> None:
    found = np.empty_like(image)
    neighbourhood_median(image, found)
    np.testing.assert_array_equal(found, median_filter(image, size=3, mode="mirror"))


@settings(max_examples=30, deadline=None)
@given(image=IMAGES, seed=st.integers(0, 1000))
def test_filled_pixels_are_the_median_of_their_good_neighbours(image: np.ndarray, seed: int) -> None:
    bad = np.random.default_rng(seed).random(image.shape) < 0.4
    filled, alone = image.copy(), np.zeros(image.shape, dtype=bool)
    fill_from_neighbours(filled, bad, alone)
    for row, column in np.argwhere(bad):
        window = np.s_[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
        good = image[window][~bad[window]]
        assert alone[row, column] == (good.size == 0)
        if good.size:
            assert filled[row, column] == pytest.approx(np.median(good), rel=1e-6, abs=1e-6)
    np.testing.assert_array_equal(filled[~bad], image[~bad])


@settings(max_examples=30, deadline=None)
@given(image=IMAGES)
def test_deviation_is_from_the_median_of_the_neighbours(image: np.ndarray) -> None:
    found = np.empty_like(image)
    deviation_from_neighbours(image, 4, found)
    for row, column in np.ndindex(image.shape):
        near = min(4, column, image.shape[1] - 1 - column)
        around = np.r_[image[row, column - near : column], image[row, column + 1 : column + near + 1]]
        expected = image[row, column] - np.median(around) if near else 0.0
        assert found[row, column] == pytest.approx(expected, rel=1e-5, abs=1e-3)


def test_a_slope_deviates_nowhere_and_a_wrong_gain_by_itself() -> None:
    slope = np.tile(np.arange(20, dtype=np.float32), (3, 1))
    deviation = np.empty_like(slope)
    deviation_from_neighbours(slope, 4, deviation)
    np.testing.assert_array_equal(deviation, 0.0)
    slope[:, 9] += 0.25
    deviation_from_neighbours(slope, 4, deviation)
    np.testing.assert_array_equal(deviation[:, 9], 0.25)


def test_compiled_and_python_agree() -> None:
    rng = np.random.default_rng(3)
    image = rng.normal(size=(6, 7)).astype(np.float32)
    frames = [rng.poisson(100.0, (3, 6, 7)).astype(np.float32) for _ in range(2)]
    frames[0][1, 2, 3] = 4000.0
    frames[1][...] = frames[0]
    assert remove_zingers(frames[0], 8.0, 1.0) == remove_zingers.py_func(frames[1], 8.0, 1.0) == 1
    np.testing.assert_array_equal(*frames)
    deviations = [np.empty_like(image), np.empty_like(image)]
    deviation_from_neighbours(image, 4, deviations[0])
    deviation_from_neighbours.py_func(image, 4, deviations[1])
    np.testing.assert_array_equal(*deviations)
    compiled, python = np.empty_like(image), np.empty_like(image)
    neighbourhood_median(image, compiled)
    neighbourhood_median.py_func(image, python)
    np.testing.assert_array_equal(compiled, python)

    bad = rng.random(image.shape) < 0.5
    results = []
    for kernel in (fill_from_neighbours, fill_from_neighbours.py_func):
        filled, alone = image.copy(), np.zeros(image.shape, dtype=bool)
        kernel(filled, bad, alone)
        results.append((filled, alone))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])
