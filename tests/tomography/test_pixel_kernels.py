"""The compiled pixel filters against scipy, numpy and themselves as Python."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import median_filter

from cathoscope.tomography.pixel_kernels import fill_from_neighbours, neighbourhood_median

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


def test_compiled_and_python_agree() -> None:
    rng = np.random.default_rng(3)
    image = rng.normal(size=(6, 7)).astype(np.float32)
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
