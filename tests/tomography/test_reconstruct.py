from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from cathoscope.core.errors import MeasurementError
from cathoscope.tomography import reconstruct as module
from cathoscope.tomography.reconstruct import (
    BATCH,
    angular_weights_from_angles,
    noise_std_from_half_sets,
    noise_std_of_rows,
    plan_reconstruction,
    reconstruct,
)

ANGLE_DEG = np.arange(60) * 3.0


def direct_sum(angle_deg, sinogram, rotation_axis, shift, pixel_size):
    """The same filter and weights, every plane wave summed where the pixel is."""
    n_columns = sinogram.shape[1]
    padded = plan_reconstruction(angle_deg, n_columns).padded
    lag = np.arange(padded)
    lag = np.minimum(lag, padded - lag)
    kernel = np.where(lag % 2 == 1, -1.0 / (np.pi * np.maximum(lag, 1)) ** 2, 0.0)
    kernel[0] = 0.25
    wave_number = np.concatenate([np.arange(padded // 2 + 1), np.arange(-padded // 2 + 1, 0)])
    filtered = np.fft.fft(sinogram, padded, axis=1) * np.fft.fft(kernel) / padded
    x = np.arange(n_columns) - 0.5 * (n_columns - 1)
    image = np.zeros((n_columns, n_columns))
    for p, angle in enumerate(np.deg2rad(angle_deg)):
        column = rotation_axis + shift[p] + x[None, :] * np.cos(angle) + x[:, None] * np.sin(angle)
        phase = np.exp(2j * np.pi * wave_number / padded * column[..., None])
        weight = angular_weights_from_angles(angle_deg=angle_deg)[p]
        image += weight * (phase @ filtered[p]).real
    return image / pixel_size


def disk_sinogram(n_columns, rotation_axis, centre, radius, attenuation, shift=0.0, angle_deg=ANGLE_DEG):
    """Mean optical depth over each unit pixel of a disk (lengths in px): differences of the integrated chord."""
    angle = np.deg2rad(angle_deg)[:, None]
    middle = rotation_axis + np.reshape(shift, (-1, 1)) + centre[0] * np.cos(angle) + centre[1] * np.sin(angle)
    edge = np.clip((np.arange(n_columns + 1) - 0.5 - middle) / radius, -1, 1)
    integral = radius**2 * (edge * np.sqrt(1 - edge**2) + np.arcsin(edge))
    return (attenuation * np.diff(integral, axis=1)).astype(np.float32)


@pytest.mark.parametrize("n_columns", [32, 37, 48])
def test_equals_the_direct_sum(n_columns):
    rng = np.random.default_rng(n_columns)
    shift = rng.normal(0, 1, ANGLE_DEG.size)
    axis = 0.5 * n_columns - 1.3
    sinogram = np.stack(
        [
            disk_sinogram(n_columns, axis, (3.0, -4.0), 0.2 * n_columns, 0.05, shift),
            disk_sinogram(n_columns, axis, (-2.0, 5.0), 0.1 * n_columns, 0.1, shift),
            rng.standard_normal((ANGLE_DEG.size, n_columns)).astype(np.float32),
        ]
    )
    volume = reconstruct(plan_reconstruction(ANGLE_DEG, n_columns), sinogram, axis, shift, 0.5)
    for image, rows in zip(volume, sinogram, strict=True):
        expected = direct_sum(ANGLE_DEG, rows.astype(np.float64), axis, shift, 0.5)
        assert np.abs(image - expected).max() < 2e-3 * np.abs(expected).max()


@pytest.mark.parametrize("n_columns", [40, 41])
def test_disk_has_its_attenuation_in_its_place(n_columns):
    n_columns *= 3
    angle = np.arange(240) * 0.75
    pixel_size, radius, centre, axis = 0.04, 24.0, (17.0, -9.0), 0.5 * n_columns + 2.4
    shift = np.random.default_rng(5).uniform(-3, 3, angle.size)
    # the detector sees one pixel of optical depth per pixel of path times 0.04 um
    rows = disk_sinogram(n_columns, axis, centre, radius, 0.9 * pixel_size, shift, angle)
    image = reconstruct(plan_reconstruction(angle, n_columns), rows[None], axis, shift, pixel_size)[0]
    x = np.arange(n_columns) - 0.5 * (n_columns - 1)
    distance = np.hypot(x[None, :] - centre[0], x[:, None] - centre[1])
    # a sharp ramp rings at the sharp rim; a blur of 1.5 px leaves the attenuation
    assert image[distance < radius - 3].mean() == pytest.approx(0.9, rel=0.002)
    assert np.abs(gaussian_filter(image, 1.5)[distance < radius - 6] - 0.9).max() < 0.009
    near = np.where(distance < radius + 6, image, 0.0).astype(np.float64)
    assert near.sum(axis=0) @ x / near.sum() == pytest.approx(centre[0], abs=0.05)
    assert near.sum(axis=1) @ x / near.sum() == pytest.approx(centre[1], abs=0.05)


def test_slices_do_not_depend_on_company_or_threads():
    rng = np.random.default_rng(3)
    sinogram = rng.standard_normal((2 * BATCH, 60, 45)).astype(np.float32)
    plan = plan_reconstruction(ANGLE_DEG, 45)
    whole = reconstruct(plan, sinogram, 21.7, None, 1.0)
    slabs = [sinogram[:BATCH], sinogram[BATCH:]]
    for n_threads in (1, 2):
        with ThreadPoolExecutor(n_threads) as pool:
            parts = list(pool.map(lambda rows: reconstruct(plan, rows, 21.7, None, 1.0), slabs))
        np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("n_columns", [44, 45])
def test_batch_equals_single_slices(n_columns):
    sinogram = np.random.default_rng(4).standard_normal((5, 60, n_columns)).astype(np.float32)
    plan = plan_reconstruction(ANGLE_DEG, n_columns)
    batch = reconstruct(plan, sinogram, 20.2, None, 1.0)
    for k in range(5):
        single = reconstruct(plan, sinogram[k : k + 1], 20.2, None, 1.0)[0]
        assert np.abs(single - batch[k]).max() < 1e-5 * np.abs(batch[k]).max()


@settings(max_examples=10, deadline=None)
@given(a=st.floats(-3, 3), b=st.floats(-3, 3), axis=st.floats(10, 30))
def test_linear(a, b, axis):
    rows = np.random.default_rng(6).standard_normal((2, 60, 40)).astype(np.float32)
    plan = plan_reconstruction(ANGLE_DEG, 40)
    first, second = reconstruct(plan, rows, axis, None, 1.0)
    combined = reconstruct(plan, (a * rows[:1] + b * rows[1:]).astype(np.float32), axis, None, 1.0)[0]
    peak = (abs(a) + abs(b)) * np.abs([first, second]).max() + 1e-6
    assert np.abs(combined - (a * first + b * second)).max() < 1e-5 * peak


def test_opposite_projections_are_mirror_images():
    rows = np.random.default_rng(7).standard_normal((2, 60, 41)).astype(np.float32)
    straight = reconstruct(plan_reconstruction(ANGLE_DEG, 41), rows, 20.0, None, 1.0)
    turned = reconstruct(plan_reconstruction(ANGLE_DEG + 180, 41), rows[:, :, ::-1], 20.0, None, 1.0)
    # the gridding window may end one cell earlier for a mirrored sample: equal to its accuracy, not to rounding
    assert np.abs(turned - straight).max() < 2e-3 * np.abs(straight).max()


def test_kernels_compiled_equal_python(monkeypatch):
    rows = np.random.default_rng(8).standard_normal((3, 4, 9)).astype(np.float32)
    compiled = reconstruct(plan_reconstruction(np.array([0.0, 40.0, 90.0, 130.0]), 9), rows, 4.2, None, 1.0)
    for name in ("_count_samples", "_window", "_fill_samples", "_filtered_samples", "_gather", "_unpack"):
        monkeypatch.setattr(module, name, getattr(module, name).py_func)
    python = reconstruct(plan_reconstruction(np.array([0.0, 40.0, 90.0, 130.0]), 9), rows, 4.2, None, 1.0)
    assert np.abs(python - compiled).max() < 1e-5 * np.abs(compiled).max()


@pytest.mark.parametrize(
    ("angle_deg", "expected_deg"),
    [
        (np.arange(180), np.ones(180)),
        (np.linspace(0, 180, 181), np.r_[0.5, np.ones(179), 0.5]),
        (np.arange(360), np.full(360, 0.5)),
        (np.arange(354) * 0.5, np.r_[1.0, np.full(352, 0.5), 1.0]),
        (np.array([0.0, 10, 30, 60, 100, 140, 160, 170]), np.array([10.0, 15, 25, 35, 40, 30, 15, 10])),
    ],
)
def test_weights_are_half_the_way_to_both_neighbours(angle_deg, expected_deg):
    order = np.random.default_rng(9).permutation(len(angle_deg))
    weight = angular_weights_from_angles(angle_deg=angle_deg[order])
    np.testing.assert_allclose(np.rad2deg(weight), expected_deg[order], atol=1e-5)


def test_noise_of_half_sets_is_the_scatter_between_repetitions():
    rng = np.random.default_rng(10)
    angle, n_columns = np.arange(180) * 1.0, 48
    clean = disk_sinogram(n_columns, 23.5, (2.0, 1.0), 15.0, 0.03, 0.0, angle)
    noisy = (clean + rng.normal(0, 0.05, (16, *clean.shape))).astype(np.float32)
    estimate, difference = noise_std_from_half_sets(noisy, angle, 23.5, None, 1.0)
    volume = reconstruct(plan_reconstruction(angle, n_columns), noisy, 23.5, None, 1.0)
    x = np.arange(n_columns) - 23.5
    centre = np.hypot(x[:, None], x) < 20
    truth = volume.std(axis=0, ddof=1)[centre]
    assert estimate.mean() == pytest.approx(np.sqrt(np.mean(truth**2)), rel=0.05)
    assert difference.shape == volume.shape


def test_noise_of_rows_is_the_width_of_what_lies_within_the_circle():
    rng = np.random.default_rng(11)
    width = np.array([0.02, 0.3, 5.0])
    difference = 0.1 + width[:, None, None] * rng.standard_normal((3, 101, 101))
    expected = noise_std_of_rows(difference=difference)
    np.testing.assert_allclose(expected, width, rtol=0.04)
    # neither the corners nor a few voxels that are far off count
    difference[:, :14, :14] = difference[:, 50, :20] = 1e6
    np.testing.assert_allclose(noise_std_of_rows(difference=difference), expected, rtol=0.01)


def test_what_cannot_be_reconstructed_is_refused():
    plan = plan_reconstruction(ANGLE_DEG, 20)
    rows = np.zeros((2, 60, 20), dtype=np.float32)
    bad = rows.copy()
    bad[1, 7, 3] = np.nan
    for sinogram, axis, shift, pixel_size in (
        (bad, 9.5, None, 1.0),
        (rows[:, :-1], 9.5, None, 1.0),
        (rows, np.nan, None, 1.0),
        (rows, 9.5, np.zeros(3), 1.0),
        (rows, 9.5, None, 0.0),
    ):
        with pytest.raises(MeasurementError):
            reconstruct(plan, sinogram, axis, shift, pixel_size)
    with pytest.raises(MeasurementError):
        plan_reconstruction(np.array([0.0, np.nan]), 20)
