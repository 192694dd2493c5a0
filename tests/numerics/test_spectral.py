"""Coefficients and spectra: one undoes the other, noise becomes white, energies that were not measured stay out."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cathoscope.numerics.spectral import expansion_of, measured_energies, weights_of

Floats = NDArray[np.float64]

N_ENERGIES = 12


def stored(seed: int, size: int, lost: int, absent: int) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Vectors and noise as a study holds them: ``lost`` energies not measured, ``absent`` vectors not there."""
    rng = np.random.default_rng(seed)
    measured = np.ones(N_ENERGIES, dtype=bool)
    measured[rng.permutation(N_ENERGIES)[:lost]] = False
    noise = np.where(measured, rng.uniform(0.02, 0.2, N_ENERGIES), np.nan)
    vectors = np.full((size + absent, N_ENERGIES), np.nan)
    vectors[:, measured] = 0.0
    vectors[:size, measured] = np.linalg.qr(rng.standard_normal((int(measured.sum()), size)))[0].T
    return vectors, noise, measured


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), size=st.integers(1, 6), lost=st.integers(0, 5), absent=st.integers(0, 2))
def test_weights_whiten_and_undo_the_expansion(seed: int, size: int, lost: int, absent: int) -> None:
    vectors, noise, measured = stored(seed, size, lost, absent)
    weights, expansion = weights_of(vectors, noise), expansion_of(vectors, noise)
    np.testing.assert_array_equal(measured_energies(vectors, noise), measured)
    for one in (weights, expansion):
        assert one.shape == vectors.shape
        assert not one[:, ~measured].any()
        assert not one[size:].any()
    there = np.diag(np.arange(size + absent) < size)
    np.testing.assert_allclose((weights * np.nan_to_num(noise) ** 2) @ weights.T, there, atol=1e-12)
    np.testing.assert_allclose(expansion @ weights.T, there, atol=1e-12)


def test_a_spectrum_of_the_vectors_comes_back_and_noise_gets_unit_variance() -> None:
    vectors, noise, _ = stored(1, 3, 2, 1)
    weights, expansion = weights_of(vectors, noise), expansion_of(vectors, noise)
    spectrum = 0.7 * expansion[0] - 2.0 * expansion[2]
    np.testing.assert_allclose(weights @ spectrum, [0.7, 0.0, -2.0, 0.0], atol=1e-12)
    drawn = np.random.default_rng(2).standard_normal((40_000, N_ENERGIES)) * np.nan_to_num(noise)
    found = np.cov(drawn @ weights.T, rowvar=False)
    np.testing.assert_allclose(found, np.diag([1.0, 1.0, 1.0, 0.0]), atol=0.03)


def test_an_energy_without_noise_or_without_any_vector_was_not_measured() -> None:
    vectors, noise = np.full((2, 4), 0.5), np.array([0.1, np.nan, 0.1, 0.1])
    vectors[:, 3] = 0.0
    np.testing.assert_array_equal(measured_energies(vectors, noise), [True, False, True, False])
