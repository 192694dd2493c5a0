from __future__ import annotations

import numpy as np
import pytest

from cathoscope.numerics.noise_floor import (
    noise_apart_from_shared,
    noise_scale_of,
    separable_noise,
    singular_value_floor,
)


@pytest.mark.parametrize("shape", [(400, 30), (30, 400), (60, 60)])
def test_noise_alone_stays_below_the_floor_and_close_to_it(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    largest = [np.linalg.norm(rng.normal(size=shape), 2) for _ in range(300)]
    floor = singular_value_floor(*shape, min(shape))
    assert np.mean(np.array(largest) > floor[0]) <= 0.01
    assert floor[0] < 1.15 * np.median(largest)
    assert (np.diff(floor) < 0).all()


def test_the_scale_of_the_noise_comes_back_beside_components() -> None:
    rng = np.random.default_rng(2)
    found = []
    for _ in range(30):
        signal = sum(100.0 * np.outer(rng.normal(size=300), rng.normal(size=40)) for _ in range(3))
        values = np.linalg.svd(signal + 1.7 * rng.normal(size=(300, 40)), compute_uv=False)
        found.append(noise_scale_of(values, singular_value_floor(300, 40, 40), 300, 40))
    assert np.mean(found) == pytest.approx(1.7, rel=0.01)
    assert np.std(found) < 0.03


def test_a_product_is_separated_exactly() -> None:
    rng = np.random.default_rng(3)
    pixel, energy = rng.uniform(0.5, 2.0, (20, 1)), rng.uniform(0.1, 3.0, 7)
    found = separable_noise(pixel * energy)
    np.testing.assert_allclose(found[0] * found[1], pixel * energy)
    assert np.mean(np.log(found[0])) == pytest.approx(0.0, abs=1e-12)


def noise_with_streaks(strength: float, n_energies: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """Noise [sample, energy] of known spread, plus two patterns that all energies share at ``strength`` of it."""
    rng = np.random.default_rng(11)
    std = rng.uniform(0.5, 3.0, n_energies)
    patterns, spectra = rng.standard_normal((5000, 2)), rng.uniform(0.5, 1.0, (2, n_energies))
    return std * (rng.standard_normal((5000, n_energies)) + strength * patterns @ spectra), std


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
def test_noise_of_energies_leaves_out_what_they_share(strength: float) -> None:
    table, std = noise_with_streaks(strength)
    # 5000 samples tell a spread by the median of absolute values to 1.2 %
    np.testing.assert_allclose(noise_apart_from_shared(table) / std, 1.0, atol=0.05)
    if strength == 1.0:
        assert (np.std(table, axis=0) > 1.15 * std).all()


def test_what_one_energy_has_alone_is_its_noise() -> None:
    table, _ = noise_with_streaks(0.0)
    table[:, 4] *= 40.0
    assert noise_apart_from_shared(table)[4] == pytest.approx(np.std(table[:, 4]), rel=0.05)


def test_of_few_energies_all_is_noise() -> None:
    table, _ = noise_with_streaks(1.0, n_energies=5)
    np.testing.assert_allclose(noise_apart_from_shared(table), np.std(table, axis=0), rtol=0.05)
