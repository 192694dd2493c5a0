"""Levels, background, charging and curtains of one slice, each against what was put in."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from cathoscope.core.errors import MeasurementError
from cathoscope.volume.fibsem_correction import (
    Curtains,
    RoughLevels,
    SliceLevels,
    charging_mixture,
    charging_of,
    curtain_statistics,
    curtains_of,
    fit_levels,
    flattened,
    plane,
    rough_levels,
    smoothed_levels,
)
from cathoscope.volume.fibsem_outline import find_outline

ROWS, COLUMNS = 120, 112


def scene(seed: int) -> np.ndarray:
    """A disc of oxide with cracks 4 px wide, not blurred; outside 0.1, cracks 0.3."""
    y, x = np.arange(ROWS)[:, None] - 60.0, np.arange(COLUMNS) - 55.0
    body = np.where(np.hypot(y, x) < 46, 1.0, 0.1)
    angle = np.random.default_rng(seed).uniform(0, np.pi, 3)
    for a in angle:
        crack = (np.abs(np.cos(a) * x + np.sin(a) * y - 5) < 2) & (np.hypot(y, x) < 40)
        body[crack] = 0.3
    return body


def recorded(clean: np.ndarray, seed: int, *, gain: float = 160.0, offset: float = 12.0) -> np.ndarray:
    """With gain, offset, a background of 10 % down the image, and noise."""
    field = 1 + 0.05 * np.linspace(-1, 1, ROWS)[:, None]
    noise = 0.05 * np.random.default_rng(seed).standard_normal(clean.shape)
    return gain * (clean * field + noise) + offset


NO_MIXTURE = np.zeros(6)


def test_planes_are_those_of_gain_offset_and_background() -> None:
    errors = []
    for seed in range(6):
        gain, offset = 150.0 + 5 * seed, 8.0 + seed
        raw = recorded(scene(seed), seed, gain=gain, offset=offset)
        rough = rough_levels(raw)
        assert rough.solid - rough.outside == pytest.approx(0.9 * gain, rel=0.08)
        outline = find_outline(((raw - rough.outside) / (rough.solid - rough.outside)).astype(np.float32), 0.3)
        found = fit_levels(raw, outline, rough, NO_MIXTURE, noise=0.05)
        assert found.seen
        assert found.outside[0] == pytest.approx(0.1 * gain + offset, abs=0.5)
        assert found.solid[1] == pytest.approx(0.05 * gain, rel=0.25)
        errors.append((found.solid[0] - gain - offset) / (0.9 * gain * found.std))
        flat = flattened(raw, found)
        assert flat[scene(seed) == 1].mean() == pytest.approx(1, abs=0.006)
    assert np.sqrt(np.mean(np.square(errors))) < 2.5


def test_voids_without_charging_make_none() -> None:
    """Solid chosen for not being faint is too bright beside voids, whose blur makes it faint: by 0.006 at 2.5 px."""
    rng, scenes = np.random.default_rng(3), []
    y, x = np.indices((160, 160)) - 79.5
    for _ in range(4):
        solid = np.clip(64.5 - np.hypot(y, x), 0, 1)
        for _ in range(14):
            (row, column), size = rng.uniform(-42, 42, 2), rng.uniform(3, 6)
            solid = solid * (1 - np.clip(size - np.hypot(y - row, x - column), 0, 1))
        grey = (gaussian_filter(solid, 0.7) + 0.1 * rng.standard_normal(solid.shape)).astype(np.float32)
        scenes.append((grey, find_outline(grey, 0.25)))
    mixture = charging_mixture(scenes, noise=0.1)
    even = SliceLevels(np.zeros(3), np.array([1.0, 0, 0]), 1.0, 0.01, 0.1, True)
    added = [charging_of(grey, even, mixture)[grey > 0.6].mean() for grey, _ in scenes]
    assert np.mean(added) < 0.003


def test_levels_of_slices_without_solid_are_those_of_neighbours() -> None:
    seen = SliceLevels(np.array([10.0, 0, 0]), np.array([110.0, 10, 0]), 1.0, 0.01, 0.05, True)
    unseen = SliceLevels(np.array([12.0, 0, 0]), np.array([500.0, 0, 0]), 1.0, 0.01, 0.05, False)
    found = smoothed_levels([unseen, seen, seen, unseen])
    np.testing.assert_allclose(found[0].solid, [112, 10, 0], atol=1e-6)
    np.testing.assert_allclose(found[1].solid, [110, 10, 0], atol=1e-6)
    with pytest.raises(MeasurementError, match="enough solid"):
        smoothed_levels([unseen, unseen])
    with pytest.raises(MeasurementError, match="turns the contrast"):
        flattened(np.ones((20, 20)), SliceLevels(np.zeros(3), np.array([1.0, 2, 0]), 0.0, 0.01, 0.05, True))


def test_charging_beside_voids_is_taken_off() -> None:
    clean = (scene(1) - 0.1) / 0.9
    is_open = clean < 0.6
    # another law than the dictionary's: a Gaussian of 4 px and a tail of 15 px towards later pixels
    near = 2 * gaussian_filter(is_open.astype(float), 4.0)
    tail = np.zeros_like(near)
    for column in range(1, COLUMNS):
        tail[:, column] = tail[:, column - 1] * np.exp(-1 / 15) + (1 - np.exp(-1 / 15)) * near[:, column]
    true = 0.1 * (near + tail) / 2
    image = clean * (1 + true) + 0.04 * np.random.default_rng(2).standard_normal(clean.shape)
    image = image.astype(np.float32)
    outline = find_outline(image, 0.3)
    mixture = charging_mixture([(image, outline)], noise=0.05)
    assert (mixture >= 0).all()
    rough = RoughLevels(0.0, 1.0, True)
    levels = fit_levels(image, outline, rough, mixture, noise=0.05)
    flat = flattened(image, levels)
    solid = (clean == 1) & (gaussian_filter(is_open.astype(float), 1.0) < 0.4)
    left = flat / (1 + charging_of(flat, levels, mixture)) - 1
    assert abs(left[solid].mean()) < 0.01
    assert gaussian_filter(np.where(solid, left, 0), 3)[solid].std() < 0.6 * true[solid].std()


def test_curtains_are_found_and_pores_do_not_ring() -> None:
    rng = np.random.default_rng(5)
    clean = np.ones((200, 160))
    clean[:10] = 0
    clean[60:75, 40:90] = 0.2
    start = 0.05 * gaussian_filter(rng.standard_normal(160), 1.2) * np.sqrt(2 * np.sqrt(np.pi) * 1.2)
    again = 0.05 * gaussian_filter(rng.standard_normal(160), 1.2) * np.sqrt(2 * np.sqrt(np.pi) * 1.2)
    rows = np.arange(200)[:, None]
    true = start * np.exp(-np.maximum(rows - 10, 0) / 90)
    below = (np.arange(160) >= 40) & (np.arange(160) < 90) & (rows >= 75)
    true = np.where(below, again * np.exp(-(rows - 75) / 90), true) * (clean == 1)
    image = (clean * (1 + true) + 0.06 * rng.standard_normal(clean.shape)).astype(np.float32)
    outline = find_outline(image, 0.3)
    law = curtain_statistics([(image, outline)], noise=0.06)
    inside = clean == 1
    assert law.spread == pytest.approx(true[inside].std(), rel=0.5)
    assert law.noise == pytest.approx(0.06, rel=0.15)
    found = curtains_of(image, law)
    assert (found - true)[inside].std() < 0.6 * true[inside].std()
    assert (found[clean == 0.2] == 0).mean() > 0.9
    rim = inside & (gaussian_filter(clean, 2) < 0.97)
    assert abs((found - true)[rim].mean()) < 0.01
    assert (curtains_of(image, Curtains(0.0, 1.0, 0.06)) == 0).all()
    nothing = (clean + 0.06 * rng.standard_normal(clean.shape)).astype(np.float32)
    assert curtain_statistics([(nothing, outline)], noise=0.06).spread < 0.012


def test_plane_has_its_values_at_the_faces() -> None:
    found = plane(np.array([10.0, 2.0, -1.0]), (5, 7))
    assert found[0, 0] == pytest.approx(10 - 2 + 1)
    assert found[-1, -1] == pytest.approx(10 + 2 - 1)
    assert found[2, 3] == pytest.approx(10)
