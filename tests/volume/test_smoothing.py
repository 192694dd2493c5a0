"""Smoothing by planes is scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from cathoscope.volume.smoothing import gaussian_half, smoothed, smoothed_share
from cathoscope.volume.smoothing_kernels import smooth_uneven


@pytest.mark.parametrize(("sigma", "truncate"), [(1.5, 3.0), ((1.0, 0.7, 2.2), 4.0), (4.0, 3.0)])
def test_it_is_a_gaussian_mirrored_at_the_faces(sigma, truncate):
    volume = np.random.default_rng(0).random((9, 17, 12), dtype=np.float32)
    expected = gaussian_filter(volume, sigma, truncate=truncate)
    np.testing.assert_allclose(smoothed(volume, sigma, truncate=truncate), expected, atol=1e-6)
    np.testing.assert_allclose(smoothed(volume, sigma, truncate=truncate, every=4), expected[::4], atol=1e-6)
    room = np.empty_like(volume)
    assert smoothed(volume, sigma, truncate=truncate, target=room) is room
    np.testing.assert_allclose(room, expected, atol=1e-6)


def test_filters_keep_the_mean():
    for sigma in (0.3, 1.0, 5.0):
        half = gaussian_half(sigma)
        assert half[0] + 2 * half[1:].sum() == pytest.approx(1, abs=1e-6)


def share_of_balls() -> np.ndarray:
    """Share of voxels in two overlapping balls, one cut by the field."""
    z, y, x = np.indices((37, 30, 70))
    depths = [
        r - np.sqrt((z - a) ** 2 + (y - b) ** 2 + (x - c) ** 2) for a, b, c, r in ((20, 14, 25, 11), (3, 9, 60, 8))
    ]
    return np.clip(np.maximum(*depths) + 0.5, 0, 1).astype(np.float32)


@pytest.mark.parametrize("sigma", [1.0, (0.6, 1.9, 1.3), (1.9, 1.3, 2.0), 2.6])
def test_a_share_is_smoothed_alike_where_it_changes_and_kept_elsewhere(sigma):
    share = 1 - share_of_balls()
    found = smoothed_share(share, sigma, truncate=4.0)
    np.testing.assert_allclose(found, gaussian_filter(share, sigma, truncate=4.0), atol=2e-6)
    if np.max(sigma) <= 2:
        assert found[36, 28, 69] == 1
    assert found.sum(dtype=float) == pytest.approx(share.sum(dtype=float), rel=1e-6)


def test_uneven_parts_are_found_in_python_too():
    share = share_of_balls()[12:23, 8:17, 5:44]
    halves = tuple(gaussian_half(one, 3.0) for one in (1.0, 0.7, 1.2))
    compiled, plain = np.empty_like(share), np.empty_like(share)
    smooth_uneven(share, halves, compiled)
    smooth_uneven.py_func(share, halves, plain)
    np.testing.assert_allclose(plain, compiled, atol=1e-6)
