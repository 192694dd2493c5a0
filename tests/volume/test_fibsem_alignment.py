"""Drift of stacks whose bodies are known in closed form: images are evaluated at the displaced points."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from cathoscope.core.errors import MeasurementError
from cathoscope.volume.fibsem_alignment import chained_shifts, moved_back, stack_drift
from cathoscope.volume.fibsem_outline import centre_marks, find_outline

SIZE = 88


def cracked_ellipsoid(shift: np.ndarray, *, seed: int, lean: float = 0.0) -> np.ndarray:
    """Slices of an ellipsoid, leaning by ``lean`` px per slice, with plane cracks that incline to all sides."""
    rng = np.random.default_rng(seed)
    count = len(shift)
    normals = rng.standard_normal((7, 3))
    normals[:, 0] *= 0.6  # cracks that lie in the slice swallow it
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    places = rng.uniform(-20, 20, 7)
    slices = []
    for n in range(count):
        z = 1.4 * (n - (count - 1) / 2)
        y = np.arange(SIZE)[:, None] - (SIZE - 1) / 2 - shift[n, 0]
        x = np.arange(SIZE) - (SIZE - 1) / 2 - shift[n, 1]
        radius = np.sqrt(max(34.0**2 - z**2, 0))
        body = np.clip(radius - np.hypot(y - lean * (n - (count - 1) / 2), x) + 0.5, 0, 1)
        for (a, b, c), place in zip(normals, places, strict=True):
            # half-planes: a crack ends somewhere
            distance = np.abs(a * z + b * y + c * x - place)
            body = np.minimum(body, np.where(b * x - c * y > 0, np.clip(distance - 0.8, 0, 1), 1))
        slices.append(gaussian_filter(body, 0.7))
    noise = 0.06 * rng.standard_normal((count, SIZE, SIZE))
    return (np.stack(slices) + noise).astype(np.float32)


def walk(count: int, seed: int) -> np.ndarray:
    """Drift of 0.8 px per slice, mean 0."""
    steps = 0.8 * np.random.default_rng(seed).standard_normal((count, 2))
    found = np.cumsum(steps, axis=0)
    return found - found.mean(axis=0)


def without_trend(series: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is left of a series without its line, and the slope."""
    place = np.arange(len(series)) - (len(series) - 1) / 2
    slope = place @ series / (place @ place)
    return series - series.mean(axis=0) - np.outer(place, slope), slope


def test_drift_is_found_within_a_fifth_of_a_pixel_and_its_trend_within_its_uncertainty() -> None:
    true = walk(28, 4)
    images = cracked_ellipsoid(true, seed=4)
    found = stack_drift(images, len(images))
    rest, slope = without_trend(found.shift - true)
    assert np.sqrt(np.mean(rest**2)) < 0.2
    assert (np.abs(slope) < 3 * np.array(found.tilt)).all()
    chained, _ = without_trend(chained_shifts(images, len(images)) - true)
    assert np.sqrt(np.mean(rest**2)) < 0.5 * np.sqrt(np.mean(chained**2))
    pull = (found.shift - true) / found.std
    assert np.sqrt(np.mean(pull**2)) < 2.5
    np.testing.assert_allclose(found.shift.mean(axis=0), 0, atol=1e-9)
    assert found.marked.all()


def test_a_leaning_body_is_not_straightened_beyond_its_uncertainty() -> None:
    """An ellipsoid whose axis leans looks like drift: the uncertainty of the trend has to allow for it."""
    true = np.zeros((18, 2))
    images = cracked_ellipsoid(true, seed=5, lean=0.04)
    found = stack_drift(images, len(images))
    _, slope = without_trend(found.shift)
    assert (np.abs(slope) < 3 * np.array(found.tilt)).all()
    assert min(found.tilt) > 0.005


def test_a_still_image_that_is_displaced_comes_back_to_hundredths_of_a_pixel() -> None:
    rng = np.random.default_rng(1)
    spectrum = np.fft.fft2(gaussian_filter(rng.standard_normal((64, 64)), 3, mode="wrap"))
    fy, fx = np.fft.fftfreq(64)[:, None], np.fft.fftfreq(64)
    true = walk(8, 2)
    images = np.stack([np.fft.ifft2(spectrum * np.exp(-2j * np.pi * (fy * s + fx * t))).real for s, t in true])
    images = (images / np.ptp(images) * 3).astype(np.float32)
    found = stack_drift(images, 8, level=50.0)  # nothing is an outline here
    assert not found.marked.any()
    np.testing.assert_allclose(found.shift, true, atol=0.05)
    for image, moved in zip(images, true, strict=True):
        inner = (slice(12, -12),) * 2
        np.testing.assert_allclose(moved_back(image, moved)[inner], moved_back(images[0], true[0])[inner], atol=0.02)


def test_outline_of_a_disc_with_an_open_crack() -> None:
    y, x = np.arange(80)[:, None] - 38.3, np.arange(80) - 41.8
    disc = np.clip(25.5 - np.hypot(y, x), 0, 1)
    disc[36:40, 60:] = 0  # a crack that reaches the outside
    found = find_outline(disc.astype(np.float32), 0.25)
    assert found.centre == pytest.approx((38.3, 41.8), abs=0.1)
    # at a quarter of the contrast a wall blurred by 1.5 px lies 0.67 of it farther out
    assert found.radius.mean() == pytest.approx(25 + 0.67 * 1.5, abs=0.15)
    assert found.whole
    assert found.depth(80, 80)[38, 42] == pytest.approx(26, abs=0.7)
    cut = find_outline(disc[:, :60].astype(np.float32), 0.25)
    assert not cut.whole
    assert not find_outline(np.zeros((40, 40), np.float32), 0.25).whole
    assert not centre_marks([cut] * 8).used.any()


def test_too_few_or_empty_slices_are_answered() -> None:
    with pytest.raises(MeasurementError, match="too few slices"):
        stack_drift(np.zeros((2, 40, 40), np.float32), 2)
    with pytest.raises(MeasurementError, match="nothing that could be aligned"):
        stack_drift(np.zeros((6, 64, 64), np.float32), 6)
