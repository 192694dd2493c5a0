"""Smoothing by planes is scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.signal import fftconvolve

from cathoscope.volume.sheetness_kernels import smooth_planes
from cathoscope.volume.smoothing import convolved, gaussian_half, smoothed, smoothed_in


@pytest.mark.parametrize(("sigma", "truncate"), [(1.5, 3.0), ((1.0, 0.7, 2.2), 4.0), (4.0, 3.0)])
def test_it_is_a_gaussian_mirrored_at_the_faces(sigma, truncate):
    volume = np.random.default_rng(0).random((9, 17, 12), dtype=np.float32)
    expected = gaussian_filter(volume, sigma, truncate=truncate)
    np.testing.assert_allclose(smoothed(volume, sigma, truncate=truncate), expected, atol=1e-6)
    np.testing.assert_allclose(smoothed(volume, sigma, truncate=truncate, every=4), expected[::4], atol=1e-6)
    room = np.empty_like(volume)
    assert smoothed(volume, sigma, truncate=truncate, target=room) is room
    np.testing.assert_allclose(room, expected, atol=1e-6)


def test_bands_of_rows_do_not_show():
    volume = np.random.default_rng(1).random((6, 23, 9), dtype=np.float32)
    half = gaussian_half(1.3)
    found = np.empty((3, 3, 23, 9), dtype=np.float32)
    for rows, target in zip((23, 6, 11), found, strict=True):
        smooth_planes(volume, 2, rows, (half, half, half), np.empty((23, 9), dtype=np.float32), target)
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])
    python = np.empty_like(found[0])
    smooth_planes.py_func(volume, 2, 6, (half, half, half), np.empty((23, 9), dtype=np.float32), python)
    np.testing.assert_allclose(python, found[0], rtol=1e-6)


def test_filters_keep_the_mean():
    for sigma in (0.3, 1.0, 5.0):
        half = gaussian_half(sigma)
        assert half[0] + 2 * half[1:].sum() == pytest.approx(1, abs=1e-6)


def test_a_volume_convolved_by_slabs_is_that_convolved_at_once():
    rng = np.random.default_rng(3)
    volume, kernel = rng.random((140, 6, 7), dtype=np.float32), rng.random((15, 3, 5), dtype=np.float32)
    expected = fftconvolve(volume.astype(float), kernel, mode="same")
    np.testing.assert_allclose(convolved(volume, kernel), expected, rtol=1e-5, atol=1e-4)


def test_a_volume_smoothed_where_it_is_asked_for_is_that_smoothed_everywhere():
    rng, edges = np.random.default_rng(4), np.array([1.3, 0.9, 0.9])
    volume, place = rng.random((13, 30, 21), dtype=np.float32), np.full((13, 30, 21), 255, dtype=np.uint8)
    place[3:7, 4:23, 9], place[12, 0, 20] = 7, 3
    found = smoothed_in(volume, place, 7, 1.5, edges)
    whole = gaussian_filter(volume, 1.5 / edges, truncate=3.0)
    np.testing.assert_allclose(found[place <= 7], whole[place <= 7], rtol=1e-5)
    assert not found[:, 28:, :8].any()
