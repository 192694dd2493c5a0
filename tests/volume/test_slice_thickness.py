"""Thickness of slices through a body of inclined walls whose heights are known."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from cathoscope.core.errors import MeasurementError
from cathoscope.volume.slice_thickness import SliceThickness, by_walls, evened, slice_thickness


def inclined_walls(z: np.ndarray, *, seed: int = 1) -> np.ndarray:
    """Sections at heights z (px) of a random smooth field cut at 0: walls of all inclinations."""
    rng = np.random.default_rng(seed)
    waves = rng.standard_normal((30, 3)) * 0.25
    phase = rng.uniform(0, 2 * np.pi, 30)
    y, x = np.arange(96)[:, None, None], np.arange(96)[None, :, None]
    made = []
    for height in z:
        field = np.cos(waves[:, 0] * height + waves[:, 1] * y + waves[:, 2] * x + phase).sum(axis=-1)
        made.append(gaussian_filter((field > 0).astype(float), 1.0))
    noise = 0.05 * rng.standard_normal((z.size, 96, 96))
    return (np.stack(made) + noise).astype(np.float32)


def test_uneven_thickness_is_found() -> None:
    steps = 1 + 0.15 * np.random.default_rng(2).standard_normal(40)
    images = inclined_walls(np.cumsum(steps))
    found = slice_thickness(lambda n: images[n], 40)
    true = steps[1:] / steps[1:].mean()
    assert np.corrcoef(found.relative, true)[0, 1] > 0.6
    error = found.relative - true
    assert error.std() < 0.85 * true.std()
    assert 0.5 < error.std() / found.std < 2.0
    assert found.spread == pytest.approx(0.15, rel=0.4)
    assert (found.repeated, found.missing) == ((), ())


def test_missing_and_repeated_slices_are_found() -> None:
    z = np.delete(np.arange(36.0), [10, 11])  # after slice 9 two are missing
    images = inclined_walls(z)
    again = images[19] + 0.01 * np.random.default_rng(1).standard_normal(images[0].shape)
    images = np.insert(images, 20, again, axis=0)
    found = slice_thickness(lambda n: images[n], len(images))
    assert [n for n, _ in found.missing] == [9]
    assert found.missing[0][1] in (1, 2)
    assert found.repeated == (20,)
    assert found.position[-1] == pytest.approx(found.relative.sum())


def test_an_even_grid_of_a_linear_volume_is_exact() -> None:
    place = np.array([0.0, 0.8, 2.1, 2.1, 3.4, 5.0])
    volume = np.broadcast_to(place[:, None, None].astype(np.float32), (6, 4, 5)).copy()
    volume[3] = 99  # at the place of the one before: it does not count
    even = evened(volume, place)
    np.testing.assert_allclose(even[:, 0, 0], np.arange(6), atol=1e-6)
    assert all((b > a).all() for a, b in pairwise(even))
    np.testing.assert_array_equal(evened(volume[:3], np.arange(3.0)), volume[:3])


def test_stacks_without_thickness_are_answered() -> None:
    with pytest.raises(MeasurementError, match="too few slices"):
        slice_thickness(lambda n: np.zeros((40, 40), np.float32), 4)
    with pytest.raises(MeasurementError, match="same image"):
        slice_thickness(lambda n: np.ones((40, 40), np.float32), 12)
    with pytest.raises(MeasurementError, match="positions"):
        evened(np.zeros((3, 4, 4), np.float32), np.array([0.0, 2.0, 1.0]))


def test_walls_tell_thickness_but_not_what_is_missing_or_repeated() -> None:
    found = SliceThickness(np.array([1.0, 1.1, 0.0, 2.0, 0.9]), 0.1, 0.1, 1.5, (3,), ((3, 1),))
    told = by_walls(found, np.array([0.8, np.nan, 0.3, 1.4, 1.2]), np.array([0.03, np.nan, 0.04, 0.05, 0.04]))
    np.testing.assert_array_equal(told.relative, [0.8, 1.1, 0.0, 2.0, 1.2])
    assert told.std == pytest.approx(np.sqrt((0.03**2 + 0.04**2) / 2))
    assert told.spread == pytest.approx(np.hypot(0.2, told.std))
    assert by_walls(found, np.full(5, np.nan), np.full(5, np.nan)) is found
