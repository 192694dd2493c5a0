"""How far sections of rough bodies wander: closed forms of spherical harmonics, and bodies of random plane waves."""

from __future__ import annotations

import numpy as np
from scipy.special import eval_legendre

from cathoscope.volume.fibsem_wander import centre_wander, harmonics_of_degrees, places_in_ball

COUNT, BALL = 60, 80.0


def rough_sections(x: np.ndarray, seed: int, roughness: float) -> np.ndarray:
    """Harmonics m = 1 to 6 (cosine, sine; px) of sections of a ball with waves of 8 to 20 per radian, [section, 12]."""
    rng = np.random.default_rng(seed)
    waves = rng.standard_normal((300, 3))
    waves *= rng.uniform(8, 20, (300, 1)) / np.linalg.norm(waves, axis=1, keepdims=True)
    angle, s = np.arange(64) * (2 * np.pi / 64), np.sqrt(1 - x**2)
    points = np.stack(np.broadcast_arrays(s[:, None] * np.cos(angle), s[:, None] * np.sin(angle), x[:, None]), axis=-1)
    height = np.cos(points @ waves.T + rng.uniform(0, 2 * np.pi, 300)).sum(axis=-1) * np.sqrt(2 / 300) * roughness
    spectrum = np.fft.rfft(s[:, None] + height / s[:, None], axis=1)[:, 1:7] * (2 * BALL / 64)
    return np.stack([spectrum.real, -spectrum.imag], axis=-1).reshape(len(x), -1)


def bent(series: np.ndarray) -> np.ndarray:
    """A series without its line."""
    place = np.linspace(-1, 1, len(series))
    line = np.stack([np.ones(len(series)), place], axis=1)
    return series - line @ np.linalg.lstsq(line, series, rcond=None)[0]


def test_all_orders_of_a_degree_have_its_variance() -> None:
    """Addition theorem: the sum over all orders but m = 0 of the third degree is (1 - P_3²) / s²."""
    x = np.linspace(-0.9, 0.9, 19)
    total = sum(harmonics_of_degrees(x, m)[:, 0] ** 2 for m in range(1, 5))
    np.testing.assert_allclose(total, (1 - eval_legendre(3, x) ** 2) / (1 - x**2), rtol=1e-10)


def test_the_wander_of_centres_is_told_by_the_other_harmonics() -> None:
    """Eight bodies of one law that is in no family: found covariance, and how far their centres do wander."""
    x = np.linspace(-0.85, 0.85, COUNT)
    true, told = [], []
    for seed in range(8):
        parts = rough_sections(x, seed, 0.01)
        parts += 0.03 * np.random.default_rng(100 + seed).standard_normal(parts.shape)
        covariance = centre_wander(x, BALL, parts[:, 2:], np.ones(COUNT, bool))
        true.append(np.mean(bent(parts[:, :2]) ** 2))
        told.append(np.trace(bent(bent(covariance).T)) / COUNT)
    assert 0.75 < np.sqrt(np.mean(told) / np.mean(true)) < 1.35
    assert np.sqrt(max(told) / min(told)) < 1.8


def test_a_smooth_ball_does_not_wander() -> None:
    x = np.linspace(-0.85, 0.85, COUNT)
    noise = 0.05 * np.random.default_rng(3).standard_normal((COUNT, 10))
    assert np.sqrt(np.diag(centre_wander(x, BALL, noise, np.ones(COUNT, bool))).mean()) < 0.05


def test_places_in_a_ball_with_and_without_the_thickness_of_slices() -> None:
    index = np.arange(20, 81)
    radius = np.sqrt(80.0**2 - (1.4 * (index - 47)) ** 2)
    for depth in (1.4, None):
        x, ball = places_in_ball(index, radius, depth)
        np.testing.assert_allclose(x, 1.4 * (index - 47) / 80, atol=1e-6)
        assert abs(ball - 80) < 1e-4
    x, ball = places_in_ball(index, np.full(61, 50.0), None)  # no ball at all
    assert np.isfinite(x).all()
    assert ball >= 50
