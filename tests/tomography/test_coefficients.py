from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.spectral import expansion_of, weights_of
from cathoscope.tomography import coefficients as module
from cathoscope.tomography.coefficients import (
    accumulate,
    basis_from_samples,
)
from cathoscope.tomography.reconstruct import (
    BATCH,
    odd_projections,
    plan_reconstruction,
    reconstruct,
    reconstruct_halves,
)

N_ENERGIES = 30
ENERGY = np.linspace(8330.0, 8370.0, N_ENERGIES)
ANGLE_DEG = np.arange(60) * 3.0
AXIS = 15.2


def spectra(kinds):
    """Smooth, different spectra, ``[kind, energy]``."""
    place = np.linspace(8338.0, 8358.0, kinds)[:, None]
    return 0.5 + np.arctan((ENERGY - 8345.0) / 3.0) / np.pi + np.exp(-(((ENERGY - place) / 4.0) ** 2))


def noise_law(seed=0):
    return 0.05 * np.random.default_rng(seed).uniform(0.6, 1.6, N_ENERGIES)


def basis_of(samples, noise, sample_noise=None, **options):
    sample_noise = noise if sample_noise is None else sample_noise
    return basis_from_samples(samples, energy=ENERGY, noise_std=noise, sample_noise=sample_noise, **options)


@pytest.mark.parametrize("rank", [1, 2, 4])
@pytest.mark.parametrize("pixelwise", [False, True])
def test_as_many_spectra_are_found_as_there_are(rank, pixelwise):
    rng = np.random.default_rng(rank)
    noise, share = noise_law(), rng.uniform(0.0, 1.0, (500, rank))
    level = rng.uniform(0.3, 1.0, (500, 1)) if pixelwise else np.full((1, 1), 0.5)
    sample_noise = level * noise * np.linspace(0.9, 1.1, N_ENERGIES)
    samples = share @ spectra(rank) + sample_noise * rng.standard_normal((500, N_ENERGIES))
    basis = basis_of(samples, noise, sample_noise if pixelwise else sample_noise[0])
    assert basis.rank_of_noise_floor == rank == basis.vectors.shape[1]
    assert basis.noise_scale == pytest.approx(1.0, abs=0.03)
    # the spectra lie in the basis to a tenth of the noise of a voxel
    whitened = spectra(rank) / noise
    outside = whitened - whitened @ basis.vectors @ basis.vectors.T
    assert np.sqrt(np.mean(outside**2)) < 0.1


def test_noise_alone_has_no_rank():
    noise, constant = noise_law(), np.ones((N_ENERGIES, 1))
    for seed in range(30):
        samples = noise * np.random.default_rng(seed).standard_normal((200, N_ENERGIES))
        basis = basis_of(samples, noise, always=constant)
        assert basis.rank_of_noise_floor == 0
        np.testing.assert_allclose(basis.vectors, constant / np.sqrt(N_ENERGIES), atol=1e-12)
    with pytest.raises(MeasurementError, match="no spectrum rises above the noise"):
        basis_of(samples, noise)


def test_noise_stated_too_small_is_noticed_and_not_taken_for_spectra():
    rng = np.random.default_rng(4)
    noise = noise_law()
    samples = rng.uniform(0, 1, (500, 2)) @ spectra(2) + 1.4 * noise * rng.standard_normal((500, N_ENERGIES))
    basis = basis_of(samples, noise)
    assert basis.rank_of_noise_floor == 2
    assert basis.noise_scale == pytest.approx(1.4, rel=0.03)


def test_spectra_asked_for_lie_in_an_orthonormal_basis():
    rng = np.random.default_rng(5)
    noise = noise_law()
    samples = rng.uniform(0, 1, (300, 4)) @ spectra(4) + 0.3 * noise * rng.standard_normal((300, N_ENERGIES))
    wanted = np.stack([1 / noise, (ENERGY - 8350) / noise, 2 / noise], axis=1)
    free = basis_of(samples, noise, 0.3 * noise)
    for options, size in (({}, 6), ({"largest": 5}, 4), ({"largest": 1}, 2)):
        basis = basis_of(samples, noise, 0.3 * noise, always=wanted, **options)
        # the third wanted spectrum is no new direction
        assert basis.vectors.shape == (N_ENERGIES, size)
        assert basis.rank_of_noise_floor == 4
        np.testing.assert_allclose(basis.vectors.T @ basis.vectors, np.eye(size), atol=1e-12)
        np.testing.assert_allclose(basis.vectors @ (basis.vectors.T @ wanted), wanted, rtol=1e-9)
    limited = basis_of(samples, noise, 0.3 * noise, largest=2)
    np.testing.assert_allclose(np.abs(np.sum(limited.vectors * free.vectors[:, :2], axis=0)), 1.0, rtol=1e-9)


def measured_series(n_rows=8, n_columns=32, noise_factor=1.0, seed=6):
    """Sinograms ``[energy, row, projection, column]`` of two kinds of matter, and the noise per energy."""
    rng = np.random.default_rng(seed)
    angle = np.deg2rad(ANGLE_DEG)[:, None]
    column = np.arange(n_columns) - AXIS
    parts = [
        np.exp(-0.5 * ((column - 4 * np.cos(angle - phase)) / 3.0) ** 2) * np.ones((n_rows, 1, 1))
        for phase in (0.0, 2.5)
    ]
    noise = noise_law()
    shape = (N_ENERGIES, n_rows, ANGLE_DEG.size, n_columns)
    clean = np.tensordot(spectra(2).T, np.stack(parts), axes=1)
    return (clean + noise_factor * noise[:, None, None, None] * rng.standard_normal(shape)).astype(np.float32), noise


def basis_of_two_kinds(noise):
    return basis_of(np.random.default_rng(1).uniform(0, 1, (100, 2)) @ spectra(2), noise, 1e-6 * noise)


def compressed_and_volumes(series, weights, pixel_size):
    """Volumes of the coefficients of summed sinograms, and those of every energy."""
    plan = plan_reconstruction(ANGLE_DEG, series.shape[3])
    sums = np.zeros((len(weights), *series.shape[1:]), dtype=np.float32)
    accumulate(sums, series, weights)
    return (np.stack([reconstruct(plan, one, AXIS, None, pixel_size) for one in each]) for each in (sums, series))


def test_coefficients_of_volumes_are_the_volumes_of_coefficients():
    series, noise = measured_series()
    basis = basis_of_two_kinds(noise)
    weights = weights_of(basis.vectors.T, noise)
    compressed, volumes = compressed_and_volumes(series, weights, 0.1)
    expected = np.tensordot(weights, volumes, axes=1)
    assert np.abs(compressed - expected).max() < 2e-6 * np.abs(expected).max()


def test_what_the_basis_leaves_out_is_noise_of_the_predicted_variance():
    # the reconstruction of unit white noise, measured apart, gives the noise of a voxel of unit depth noise
    series, noise = measured_series()
    basis = basis_of_two_kinds(noise)
    compressed, volumes = compressed_and_volumes(series, weights_of(basis.vectors.T, noise), 1.0)
    expanded = np.tensordot(expansion_of(basis.vectors.T, noise).T, compressed, axes=1)
    left = (volumes - expanded) / noise[:, None, None, None]
    unit = np.random.default_rng(8).standard_normal((24, ANGLE_DEG.size, series.shape[3])).astype(np.float32)
    plan = plan_reconstruction(ANGLE_DEG, series.shape[3])
    voxel = reconstruct(plan, unit, AXIS, None, 1.0).std()
    predicted = voxel**2 * (1 - np.sum(basis.vectors**2, axis=1))
    found = np.mean(left**2, axis=(1, 2, 3))
    np.testing.assert_allclose(found / predicted, 1.0, atol=0.1)
    assert np.mean(found / predicted) == pytest.approx(1.0, abs=0.02)
    # nothing of the specimen is in it: its mean over energies does not follow the coefficients
    correlation = np.corrcoef(left.mean(axis=0).ravel(), compressed[0].ravel())[0, 1]
    assert abs(correlation) < 0.02


@pytest.mark.parametrize("n_energies", [1, 4, 7])
def test_sums_do_not_depend_on_how_energies_are_grouped(n_energies):
    rng = np.random.default_rng(9)
    series = rng.standard_normal((N_ENERGIES, 2, 3, 700)).astype(np.float32)
    weights = rng.standard_normal((5, N_ENERGIES))
    whole = np.zeros((5, 2, 3, 700), dtype=np.float32)
    accumulate(whole, series, weights)
    np.testing.assert_allclose(whole, np.tensordot(weights, series, axes=1), atol=2e-5)
    parts = np.zeros_like(whole)
    for start in range(0, N_ENERGIES, n_energies):
        accumulate(parts, series[start : start + n_energies], weights[:, start : start + n_energies])
    np.testing.assert_array_equal(parts, whole)
    if n_energies == 1:
        single = np.zeros_like(whole)
        for sinogram, column in zip(series, weights.T, strict=True):
            accumulate(single, sinogram, column)
        np.testing.assert_array_equal(single, whole)


def test_kernel_compiled_equals_python(monkeypatch):
    rng = np.random.default_rng(10)
    series, weights = rng.standard_normal((6, 1, 2, 5)).astype(np.float32), rng.standard_normal((3, 6))
    totals = [np.ones((3, 1, 2, 5), dtype=np.float32) for _ in range(2)]
    accumulate(totals[0], series, weights)
    monkeypatch.setattr(module, "_accumulate", module._accumulate.py_func)
    accumulate(totals[1], series, weights)
    np.testing.assert_array_equal(totals[0], totals[1])


def halves_of(sinogram, angle_deg=ANGLE_DEG, shift=None):
    plan = plan_reconstruction(angle_deg, sinogram.shape[2])
    return plan, *reconstruct_halves(plan, sinogram, AXIS, shift, 0.3)


def test_halves_are_what_odd_and_even_projections_contribute():
    rng = np.random.default_rng(11)
    angle = rng.permutation(np.linspace(-20, 157, 61)) + 180.0 * rng.integers(0, 2, 61)
    sinogram = rng.standard_normal((BATCH + 3, 61, 33)).astype(np.float32)
    shift = rng.normal(0, 1, 61)
    plan, odd, even = halves_of(sinogram, angle, shift)
    full = reconstruct(plan, sinogram, AXIS, shift, 0.3)
    assert np.abs(odd + even - full).max() < 1e-5 * np.abs(full).max()
    chosen = odd_projections(angle_deg=angle)
    assert np.array_equal(chosen[np.argsort(angle % 180)], np.arange(61) % 2 == 0)
    for half, kept in ((odd, chosen), (even, ~chosen)):
        alone = np.where(kept[:, None], sinogram, np.float32(0.0))
        assert np.abs(half - reconstruct(plan, alone, AXIS, shift, 0.3)).max() < 1e-5 * np.abs(full).max()


def test_difference_of_the_halves_has_the_noise_of_their_sum():
    noise = np.random.default_rng(12).standard_normal((64, 60, 32)).astype(np.float32)
    _, odd, even = halves_of(noise)
    inner = (slice(None), slice(8, 24), slice(8, 24))
    assert (odd - even)[inner].std() == pytest.approx((odd + even)[inner].std(), rel=0.02)
    assert abs(np.corrcoef(odd[inner].ravel(), even[inner].ravel())[0, 1]) < 0.03


def test_halves_do_not_depend_on_company_or_threads():
    sinogram = np.random.default_rng(13).standard_normal((2 * BATCH, 60, 33)).astype(np.float32)
    plan, odd, even = halves_of(sinogram)
    for n_threads in (1, 2):
        with ThreadPoolExecutor(n_threads) as pool:
            slabs = [sinogram[:BATCH], sinogram[BATCH:]]
            parts = list(pool.map(lambda rows: reconstruct_halves(plan, rows, AXIS, None, 0.3), slabs))
        np.testing.assert_array_equal(np.concatenate([part[0] for part in parts]), odd)
        np.testing.assert_array_equal(np.concatenate([part[1] for part in parts]), even)


def test_what_does_not_fit_is_refused():
    noise, samples = noise_law(), np.random.default_rng(0).standard_normal((50, N_ENERGIES))
    lost = samples.copy()
    lost[2:] = np.nan
    total = np.zeros((2, 1, 4, 5), dtype=np.float32)
    for bad in (
        lambda: basis_of(samples[:, 1:], noise),
        lambda: basis_of(lost, noise),
        lambda: basis_of(samples, np.where(np.arange(N_ENERGIES) == 3, 0.0, noise)),
        lambda: basis_of(samples, noise, noise[1:]),
        lambda: accumulate(total, np.zeros((1, 4, 6), dtype=np.float32), np.ones(2)),
        lambda: accumulate(total, np.zeros((1, 4, 5), dtype=np.float32), np.ones(3)),
        lambda: accumulate(total.astype(np.float64), np.zeros((1, 4, 5), dtype=np.float32), np.ones(2)),
        lambda: halves_of(np.zeros((2, 59, 32), dtype=np.float32)),
    ):
        with pytest.raises(MeasurementError):
            bad()
    usable = samples.copy()
    usable[7, 3] = np.inf
    kept = basis_of(usable, 0.01 * noise)
    assert kept.singular_value == pytest.approx(basis_of(np.delete(samples, 7, axis=0), 0.01 * noise).singular_value)
