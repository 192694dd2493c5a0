from __future__ import annotations

import numpy as np
import pytest

from cathoscope.core.errors import MeasurementError
from cathoscope.tomography import noise as module
from cathoscope.tomography.noise import (
    BLOCK,
    NoiseMap,
    depth_variance_from_counts,
    noise_std_from_variance,
    noise_std_of_aligned,
)
from cathoscope.tomography.reconstruct import plan_reconstruction, reconstruct, reconstruct_halves
from cathoscope.tomography.resample import ScanMotion, aligned_sinogram, rows_needed

N_ROWS, N_COLUMNS, PHOTONS, PIXEL = 32, 64, 3000.0, 0.04
ANGLE_DEG = np.arange(90) * 2.0
PLAN = plan_reconstruction(ANGLE_DEG, N_COLUMNS)
AXIS = 0.5 * (N_COLUMNS - 1)
X = np.arange(N_COLUMNS) - AXIS
RADIUS = np.hypot(X[:, None], X)
RINGS = [np.floor(RADIUS / 6) == k for k in range(5)]


def specimen(how):
    """Optical depth ``[projection, row, column]`` of a smooth cylinder off the axis, 1.8 at most."""
    angle = np.deg2rad(ANGLE_DEG)[:, None]
    column = how.rotation_axis + how.projection_shift[:, None] + how.magnification * 4.0 * np.cos(angle)
    profile = 1.8 * np.exp(-0.5 * ((np.arange(N_COLUMNS) - column) / 10.0) ** 2)
    return np.repeat(profile[:, None], N_ROWS, axis=1)


def counted(depth, repetition):
    """Optical depth from counted photons, once more."""
    counts = np.random.default_rng(repetition).poisson(PHOTONS * np.exp(-depth))
    return -np.log(np.maximum(counts, 1) / PHOTONS).astype(np.float32)


def variance_of(depth, n_flats=10**9):
    flat = np.full(depth.shape[1:], PHOTONS)
    return depth_variance_from_counts(counts=PHOTONS * np.exp(-depth), flat=flat, n_flats=n_flats)


def ratios(found_variance, predicted):
    """Root mean square found over predicted, in rings about the axis."""
    return [np.sqrt(found_variance[:, ring].mean() / np.mean(predicted[:, ring] ** 2)) for ring in RINGS]


def test_white_noise_gives_the_closed_form():
    variance = np.full((8, ANGLE_DEG.size, N_COLUMNS), 0.09)
    noise = noise_std_from_variance(PLAN, variance, AXIS, None, PIXEL)
    assert noise.std.shape == (1, N_COLUMNS // BLOCK, N_COLUMNS // BLOCK)
    np.testing.assert_allclose(noise.std, 0.3 * np.pi / PIXEL / np.sqrt(12 * ANGLE_DEG.size), rtol=1e-5)


def test_poisson_counts_scatter_as_propagated():
    axis, shift = AXIS + 3.3, np.random.default_rng(1).normal(0, 1, ANGLE_DEG.size)
    how = ScanMotion(axis, 1.0, (0.0, 0.0, 0.0), shift, np.zeros_like(shift))
    depth = specimen(how)
    rows = slice(0, 16)
    volumes, differences = [], []
    for repetition in range(16):
        sinogram = counted(depth, repetition)[:, rows].transpose(1, 0, 2)
        odd, even = reconstruct_halves(PLAN, sinogram, axis, shift, PIXEL)
        volumes.append(odd + even)
        differences.append(odd - even)
    variance = variance_of(depth)[:, rows].transpose(1, 0, 2)
    predicted = noise_std_from_variance(PLAN, variance, axis, shift, PIXEL).full(volumes[0].shape)
    # behind the thickest place the noise is larger by a third
    assert predicted[:, RINGS[0]].mean() > 1.3 * predicted[:, RINGS[4]].mean()
    np.testing.assert_allclose(ratios(np.var(volumes, axis=0, ddof=1), predicted), 1.0, atol=0.03)
    # the half-set differences, without the streaks that all repetitions share
    np.testing.assert_allclose(ratios(np.var(differences, axis=0, ddof=1), predicted), 1.0, atol=0.03)


def test_interpolated_counts_scatter_as_propagated():
    rng, rows = np.random.default_rng(2), slice(8, 24)
    jitter = rng.normal(0, 1, (2, ANGLE_DEG.size))
    how = ScanMotion(AXIS + 2.2, 1.01, (0.7, -0.4, 0.3), *jitter)
    depth = specimen(how)
    seen = rows_needed(how, ANGLE_DEG, rows, N_ROWS)
    volumes = []
    for repetition in range(16):
        sinogram = aligned_sinogram(
            counted(depth, repetition)[:, seen], how, ANGLE_DEG, first_row=seen.start, rows=rows, n_rows=N_ROWS
        )
        volumes.append(reconstruct(PLAN, sinogram, AXIS, None, PIXEL))
    where = {"first_row": seen.start, "rows": rows, "n_rows": N_ROWS}
    noise = noise_std_of_aligned(PLAN, variance_of(depth)[:, seen], how, PIXEL, **where)
    found = np.var(volumes, axis=0, ddof=1)
    np.testing.assert_allclose(ratios(found, noise.full(volumes[0].shape)), 1.0, atol=0.03)
    # interpolation took a tenth of the noise: without its factors the prediction would miss
    still = noise_std_from_variance(PLAN, variance_of(depth)[:, rows].transpose(1, 0, 2), AXIS, None, PIXEL)
    assert noise.std.mean() == pytest.approx(0.93 * still.std.mean(), rel=0.03)


def test_row_noise_follows_the_fraction_of_each_row():
    n = ANGLE_DEG.size
    variance = np.ones((n, N_ROWS, N_COLUMNS))
    std = {}
    for fraction in (0.0, 0.5):
        how = ScanMotion(AXIS, 1.0, (0.0, 0.0, fraction), np.zeros(n), np.zeros(n))
        noise = noise_std_of_aligned(PLAN, variance, how, PIXEL, first_row=0, rows=slice(8, 20), n_rows=N_ROWS)
        assert noise.std.shape[0] == 2
        std[fraction] = noise.std
    np.testing.assert_allclose(std[0.0], np.pi / PIXEL / np.sqrt(12 * n), rtol=1e-5)
    noise = np.random.default_rng(3).standard_normal((n, N_ROWS, N_COLUMNS)).astype(np.float32)
    rows = aligned_sinogram(noise, how, ANGLE_DEG, first_row=0, rows=slice(8, 24), n_rows=N_ROWS)
    np.testing.assert_allclose(std[0.5] / std[0.0], rows.std(), rtol=0.01)


def test_variance_of_the_depth_is_that_of_counts_and_flats():
    rng = np.random.default_rng(4)
    gain, flat, transmission, n_flats = 2.5, 4000.0, 0.3, 4
    counts = gain * rng.poisson(transmission * flat / gain, 200000)
    mean_flat = gain * rng.poisson(flat / gain, (n_flats, 200000)).mean(axis=0)
    found = np.var(-np.log(counts / mean_flat))
    expected = depth_variance_from_counts(
        counts=np.full((1, 1, 1), transmission * flat), flat=np.full((1, 1), flat), n_flats=n_flats, gain=gain
    )
    assert found == pytest.approx(float(expected[0, 0, 0]), rel=0.02)
    dark = depth_variance_from_counts(counts=np.array([[[-3.0]]]), flat=np.ones((1, 1)), n_flats=1)
    assert dark == pytest.approx(2.0)


def test_map_of_every_voxel_is_linear_between_blocks():
    place = (np.arange(4) + 0.5) * BLOCK - 0.5
    coarse = 1.0 + 0.01 * place[:, None] + 0.02 * place
    full = NoiseMap(np.stack([coarse, 2 * coarse]).astype(np.float32), BLOCK, BLOCK).full((12, 30, 32))
    y, x = (np.clip(np.arange(size), place[0], place[-1]) for size in (30, 32))
    expected = 1.0 + 0.01 * y[:, None] + 0.02 * x
    np.testing.assert_allclose(full[:8], np.broadcast_to(expected, (8, 30, 32)), rtol=1e-6)
    np.testing.assert_allclose(full[8:], np.broadcast_to(2 * expected, (4, 30, 32)), rtol=1e-6)
    single = NoiseMap(np.full((1, 1, 1), 3.0, dtype=np.float32), BLOCK, BLOCK).full((2, 5, 5))
    np.testing.assert_array_equal(single, np.full((2, 5, 5), 3.0))


def test_kernel_compiled_equals_python(monkeypatch):
    plan = plan_reconstruction(np.array([0.0, 50.0, 110.0]), 12)
    variance = np.random.default_rng(5).uniform(1, 2, (3, 3, 12))
    compiled = noise_std_from_variance(plan, variance, 5.2, None, 1.0)
    monkeypatch.setattr(module, "_back_project", module._back_project.py_func)
    np.testing.assert_allclose(noise_std_from_variance(plan, variance, 5.2, None, 1.0).std, compiled.std, rtol=1e-6)


def test_what_does_not_fit_is_refused():
    counts, flat = np.ones((3, 4, 5)), np.ones((4, 5))
    n = ANGLE_DEG.size
    how = ScanMotion(AXIS, 1.0, (0.0, 0.0, 0.0), np.zeros(n), np.zeros(n))
    for bad in (
        lambda: depth_variance_from_counts(counts=counts, flat=flat[1:], n_flats=1),
        lambda: depth_variance_from_counts(counts=counts, flat=0 * flat, n_flats=1),
        lambda: depth_variance_from_counts(counts=counts, flat=flat, n_flats=0),
        lambda: noise_std_from_variance(PLAN, np.ones((8, n - 1, N_COLUMNS)), AXIS, None, PIXEL),
        lambda: noise_std_of_aligned(
            PLAN, np.ones((n, 8, 5)), how, PIXEL, first_row=0, rows=slice(0, 8), n_rows=N_ROWS
        ),
    ):
        with pytest.raises(MeasurementError):
            bad()
