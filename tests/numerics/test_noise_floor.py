from __future__ import annotations

import numpy as np
import pytest

from cathoscope.numerics.noise_floor import noise_scale_of, separable_noise, singular_value_floor


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
