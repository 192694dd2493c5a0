from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cathoscope.core.errors import MeasurementError
from cathoscope.tomography import resample as module
from cathoscope.tomography.reconstruct import plan_reconstruction, reconstruct
from cathoscope.tomography.resample import (
    ScanMotion,
    aligned_sinogram,
    column_noise_factor,
    row_noise_factor,
    rows_needed,
    share_outside,
)

N_ROWS, N_COLUMNS = 32, 48
ANGLE_DEG = np.arange(40) * 4.5


def motion(seed=1, *, axis=22.3, magnification=1.01, shift=(1.3, -0.7, 0.4), jitter=1.0):
    first, second = jitter * np.random.default_rng(seed).standard_normal((2, ANGLE_DEG.size))
    return ScanMotion(axis, magnification, shift, first, second)


def still(axis=0.5 * (N_COLUMNS - 1)):
    return motion(axis=axis, magnification=1.0, shift=(0.0, 0.0, 0.0), jitter=0.0)


def aligned(depth, how, rows=slice(0, N_ROWS)):
    """The detector's rows that are needed, and no others, resampled."""
    seen = rows_needed(how, ANGLE_DEG, rows, N_ROWS)
    return aligned_sinogram(depth[:, seen], how, ANGLE_DEG, first_row=seen.start, rows=rows, n_rows=N_ROWS)


def blob(place, width, how):
    """Projections of a Gaussian blob at (x, y, z), px of the reference, as the moving scan sees them."""
    angle = np.deg2rad(ANGLE_DEG)[:, None]
    x, y, z = (a + d for a, d in zip(place, how.specimen_shift, strict=True))
    column = how.rotation_axis + how.projection_shift[:, None]
    column = column + how.magnification * (x * np.cos(angle) + y * np.sin(angle))
    row = 0.5 * (N_ROWS - 1) + how.vertical_shift[:, None] + how.magnification * z
    width = how.magnification * width
    along = np.exp(-0.5 * ((np.arange(N_COLUMNS) - column) / width) ** 2)
    return np.exp(-0.5 * ((np.arange(N_ROWS) - row) / width) ** 2)[:, :, None] * along[:, None, :]


def test_a_moving_scan_becomes_the_one_without_motion():
    place = (6.0, -4.5, 3.0)
    how = motion()
    expected = blob(place, 1.6, still()).transpose(1, 0, 2)
    result = aligned(blob(place, 1.6, how), how)
    assert result.dtype == np.float32
    # without alignment the difference is as large as the blob
    assert np.abs(blob(place, 1.6, how).transpose(1, 0, 2) - expected).max() > 0.5
    assert np.abs(result - expected).max() < 2e-3


def test_the_reconstruction_is_that_of_the_scan_without_motion():
    how, place = motion(3), (5.0, 7.0, -2.0)
    plan, rows = plan_reconstruction(ANGLE_DEG, N_COLUMNS), slice(8, 16)
    straight = blob(place, 1.6, still())[:, rows].transpose(1, 0, 2)
    volumes = [
        reconstruct(plan, sinogram, 0.5 * (N_COLUMNS - 1), None, 1.0)
        for sinogram in (straight, aligned(blob(place, 1.6, how), how, rows))
    ]
    assert np.abs(volumes[1] - volumes[0]).max() < 5e-3 * volumes[0].max()


def test_waves_keep_their_place_and_height():
    rng = np.random.default_rng(5)
    how = motion(7, jitter=0.4)
    frequency = rng.uniform(-0.2, 0.2, (12, 2))
    phase = rng.uniform(0, 2 * np.pi, (12, ANGLE_DEG.size))

    column = np.arange(N_COLUMNS, dtype=float)

    def field_at(rows, columns):
        """Field of each projection at rows [projection, row] and columns [projection, column]."""
        total = np.zeros((ANGLE_DEG.size, rows.shape[1], columns.shape[1]))
        for (along, across), offset in zip(frequency, phase, strict=True):
            wave = along * rows[:, :, None] + across * columns[:, None, :]
            total += np.cos(2 * np.pi * wave + offset[:, None, None])
        return total

    everywhere = np.zeros((ANGLE_DEG.size, 1))
    depth = field_at(everywhere + np.arange(N_ROWS), everywhere + column)
    angle, middle = np.deg2rad(ANGLE_DEG)[:, None], 0.5 * (N_ROWS - 1)
    dx, dy, dz = how.specimen_shift
    x = column - 0.5 * (N_COLUMNS - 1)
    columns = how.rotation_axis + how.projection_shift[:, None]
    columns = columns + how.magnification * (x + dx * np.cos(angle) + dy * np.sin(angle))
    rows = middle + how.vertical_shift[:, None] + how.magnification * (np.arange(N_ROWS) - middle + dz)
    inner = (slice(6, -6), slice(None), slice(14, -14))
    error = (aligned(depth, how) - field_at(rows, columns).transpose(1, 0, 2))[inner]
    assert np.sqrt(np.mean(error**2)) < 5e-3 * depth.std()


def test_without_motion_nothing_changes():
    depth = np.random.default_rng(2).standard_normal((ANGLE_DEG.size, N_ROWS, N_COLUMNS)).astype(np.float32)
    np.testing.assert_array_equal(aligned(depth, still()), depth.transpose(1, 0, 2))


def test_whole_pixels_are_moved_not_interpolated():
    depth = np.random.default_rng(2).standard_normal((ANGLE_DEG.size, N_ROWS, N_COLUMNS)).astype(np.float32)
    n = ANGLE_DEG.size
    how = ScanMotion(0.5 * (N_COLUMNS - 1) + 3, 1.0, (0.0, 0.0, -2.0), np.full(n, 1.0), np.full(n, 4.0))
    result = aligned(depth, how, slice(8, 16))
    np.testing.assert_array_equal(result[:, :, :-4], depth[:, 10:18, 4:].transpose(1, 0, 2))


def test_bits_do_not_depend_on_the_rows_in_company():
    depth = np.random.default_rng(4).standard_normal((ANGLE_DEG.size, N_ROWS, N_COLUMNS)).astype(np.float32)
    how = motion(9, jitter=3.0)
    whole = aligned_sinogram(depth, how, ANGLE_DEG, first_row=0, rows=slice(0, N_ROWS), n_rows=N_ROWS)
    for rows in (slice(0, 8), slice(8, 24), slice(24, 32), slice(13, 14)):
        np.testing.assert_array_equal(aligned(depth, how, rows), whole[rows])


def test_rows_needed_are_those_that_matter():
    rng = np.random.default_rng(6)
    depth = rng.standard_normal((ANGLE_DEG.size, N_ROWS, N_COLUMNS)).astype(np.float32)
    how, rows = motion(11), slice(8, 16)
    seen = rows_needed(how, ANGLE_DEG, rows, N_ROWS)
    reference = aligned(depth, how, rows)
    for row in range(N_ROWS):
        changed = depth.copy()
        changed[:, row] += 1.0
        result = aligned_sinogram(changed, how, ANGLE_DEG, first_row=0, rows=rows, n_rows=N_ROWS)
        assert np.array_equal(result, reference) == (not seen.start <= row < seen.stop)


@settings(max_examples=20, deadline=None)
@given(
    axis=st.floats(-200, 200),
    magnification=st.floats(0.9, 1.1),
    shift=st.tuples(*[st.floats(-300, 300)] * 3),
    value=st.floats(0.01, 3),
)
def test_a_constant_stays_wherever_it_is_read(axis, magnification, shift, value):
    how = motion(axis=axis, magnification=magnification, shift=shift)
    depth = np.full((ANGLE_DEG.size, N_ROWS, N_COLUMNS), value, dtype=np.float32)
    assert np.abs(aligned(depth, how, slice(8, 16)) - np.float32(value)).max() <= 2e-6 * abs(value)


def test_beyond_the_detector_is_its_rim_and_is_counted():
    n = ANGLE_DEG.size
    depth = np.random.default_rng(8).standard_normal((n, N_ROWS, N_COLUMNS)).astype(np.float32)
    how = ScanMotion(0.5 * (N_COLUMNS - 1) - 12.0, 1.0, (0.0, 0.0, 8.0), np.zeros(n), np.zeros(n))
    result = aligned(depth, how)
    np.testing.assert_array_equal(result[:24, :, :12], np.repeat(depth[:, 8:, :1].transpose(1, 0, 2), 12, axis=2))
    np.testing.assert_array_equal(result[24:, :, 12:], np.repeat(depth[:, -1:, :-12].transpose(1, 0, 2), 8, axis=0))
    share = share_outside(how, ANGLE_DEG, rows=slice(0, N_ROWS), n_rows=N_ROWS, n_columns=N_COLUMNS)
    assert share == pytest.approx(1 - 24 / 32 * 36 / 48)
    assert share_outside(still(), ANGLE_DEG, rows=slice(0, 32), n_rows=32, n_columns=N_COLUMNS) == 0


def impulse_response(fraction, along):
    """Weights with which an impulse is read ``fraction`` of a pixel beside it, along rows or columns."""
    depth = np.zeros((ANGLE_DEG.size, N_ROWS, N_COLUMNS), dtype=np.float32)
    depth[:, 15, 23] = 1.0
    shift = np.full(ANGLE_DEG.size, fraction)
    moved = (shift, np.zeros_like(shift)) if along == "columns" else (np.zeros_like(shift), shift)
    result = aligned(depth, ScanMotion(0.5 * (N_COLUMNS - 1), 1.0, (0.0, 0.0, 0.0), *moved))[:, 0].astype(np.float64)
    return result[15] if along == "columns" else result[:, 23]


@pytest.mark.parametrize("fraction", [0.0, 0.13, 0.5, 0.8])
def test_noise_factors_are_those_of_the_weights(fraction):
    assert row_noise_factor(fraction) == pytest.approx(np.sum(impulse_response(fraction, "rows") ** 2), abs=1e-4)
    lag = np.arange(-400, 401)
    ramp = np.where(lag % 2 == 0, 0.0, -1.0 / (np.pi * np.where(lag == 0, 1, lag)) ** 2)
    ramp[400] = 0.25
    filtered = np.convolve(impulse_response(fraction, "columns"), ramp)
    assert column_noise_factor(fraction) == pytest.approx(np.sum(filtered**2) / np.sum(ramp**2), abs=1e-3)


def test_noise_varies_less_than_with_cubic_splines():
    fraction = np.linspace(0, 1, 21)
    # exact cubic splines keep 0.47 of the filtered noise half-way, and 0.76 of white noise
    assert column_noise_factor(fraction).min() > 0.86
    assert row_noise_factor(fraction).min() > 0.86
    for factor in (row_noise_factor, column_noise_factor):
        assert factor(fraction).max() < 1.003
        np.testing.assert_allclose(factor(fraction), factor(1 - fraction), atol=1e-8)


def test_kernels_compiled_equal_python(monkeypatch):
    angle = np.array([0.0, 70.0])
    how = ScanMotion(3.3, 1.05, (0.4, 1.0, -0.3), np.array([0.2, -0.4]), np.array([0.6, 0.1]))
    depth = np.random.default_rng(10).standard_normal((2, 5, 7)).astype(np.float32)

    def result():
        return aligned_sinogram(depth, how, angle, first_row=0, rows=slice(0, 5), n_rows=5)

    compiled = result()
    for name in ("_place", "_runs", "_read_rows", "_read_columns", "_resample"):
        monkeypatch.setattr(module, name, getattr(module, name).py_func)
    assert np.abs(result() - compiled).max() < 3e-6


def test_what_cannot_be_resampled_is_refused():
    depth = np.zeros((ANGLE_DEG.size, N_ROWS, N_COLUMNS), dtype=np.float32)
    zeros = np.zeros(ANGLE_DEG.size)
    for bad in (
        lambda: ScanMotion(np.nan, 1.0, (0.0, 0.0, 0.0), zeros, zeros),
        lambda: ScanMotion(1.0, 0.0, (0.0, 0.0, 0.0), zeros, zeros),
        lambda: ScanMotion(1.0, 1.0, (0.0, 0.0, 0.0), zeros, zeros[1:]),
        lambda: rows_needed(still(), ANGLE_DEG[1:], slice(0, 8), N_ROWS),
        lambda: aligned_sinogram(depth[1:], still(), ANGLE_DEG, first_row=0, rows=slice(0, 8), n_rows=N_ROWS),
        lambda: aligned_sinogram(depth[:, 9:], still(), ANGLE_DEG, first_row=9, rows=slice(8, 16), n_rows=N_ROWS),
    ):
        with pytest.raises(MeasurementError):
            bad()
