from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cathoscope.tomography import series_kernels
from cathoscope.tomography.motion import (
    WIDE,
    Motion,
    band_passed,
    gaussian_taps,
    model_of,
    register_scan,
    spline_coefficients,
)
from cathoscope.tomography.series_kernels import accumulate

# (x, y, z, width, optical depth) of Gaussian blobs, px
BLOBS = (
    (5.0, -4.0, 2.0, 2.6, 0.5),
    (-7.0, 3.0, -5.0, 2.0, 0.6),
    (1.0, 7.0, 6.0, 3.0, 0.4),
    (-3.0, -6.0, 1.0, 2.2, 0.5),
)
SIZE = 42
MIDDLE = (0.5 * (SIZE - 1), 0.5 * (SIZE - 1))


def projections(angle, *, column=0.0, row=0.0, magnification=1.0, blobs=BLOBS, size=SIZE):
    """Optical depth of blobs in closed form: a magnified projection is as thick as it was."""
    theta = np.broadcast_to(angle, np.shape(angle))[:, None, None]
    middle = 0.5 * (size - 1)
    across = (np.arange(size)[None, None, :] - middle - np.reshape(column, (-1, 1, 1))) / magnification
    up = (np.arange(size)[None, :, None] - middle - np.reshape(row, (-1, 1, 1))) / magnification
    total = np.zeros((theta.shape[0], size, size))
    for x, y, z, width, depth in blobs:
        distance = (across - x * np.cos(theta) - y * np.sin(theta)) ** 2 + (up - z) ** 2
        total += depth * np.exp(-distance / (2 * width**2))
    return total.astype(np.float32)


def still(count, **changes):
    motion = Motion(np.zeros(count), np.zeros(count), 1.0, 0.0, np.ones(1), np.ones(count, dtype=bool))
    return replace(motion, **changes)


@pytest.fixture(scope="module")
def angle():
    return np.linspace(0.0, np.pi, 40)


@pytest.fixture(scope="module")
def model(angle):
    return model_of(projections(angle)[None], angle, MIDDLE)


def test_every_part_of_a_motion_is_found(angle, model):
    rng = np.random.default_rng(0)
    column, row = rng.uniform(-1.5, 1.5, (2, angle.size))
    scan = 1.3 * projections(angle, column=column, row=row, magnification=1.003)
    found = register_scan(scan, model, still(angle.size), np.zeros(angle.size))
    assert found.converged
    assert found.motion.usable.all()
    np.testing.assert_allclose(found.motion.column_shift, column, atol=0.004)
    np.testing.assert_allclose(found.motion.row_shift, row, atol=0.004)
    # interpolation between pixels makes the model a trifle smaller, alike for all scans
    alike = register_scan(projections(angle, column=column, row=row), model, still(angle.size), np.zeros(angle.size))
    assert found.motion.magnification / alike.motion.magnification == pytest.approx(1.003, abs=5e-6)
    assert alike.motion.magnification == pytest.approx(1.0, abs=1.5e-4)
    assert found.motion.angle_offset == pytest.approx(0.0, abs=2e-4)
    assert found.motion.weight[0] == pytest.approx(1.3, rel=2e-3)


def test_an_angle_offset_is_found(angle, model):
    found = register_scan(projections(angle + 0.004), model, still(angle.size), np.zeros(angle.size))
    # the change with the angle is a difference over two steps of 4.6 deg
    assert found.motion.angle_offset == pytest.approx(0.004, rel=0.05)
    np.testing.assert_allclose(found.motion.column_shift, 0.0, atol=0.004)


def test_known_angles_are_no_motion(angle, model):
    difference = np.random.default_rng(1).uniform(-0.01, 0.01, angle.size)
    scan = projections(angle + difference)
    found = register_scan(scan, model, still(angle.size), difference, free=(False, False))
    ignorant = register_scan(scan, model, still(angle.size), np.zeros(angle.size), free=(False, False))
    assert np.abs(found.motion.column_shift).max() < 0.1 * np.abs(ignorant.motion.column_shift).max()


def test_uncertainties_are_those_of_repeated_scans(angle, model):
    rng = np.random.default_rng(2)
    clean = projections(angle, column=0.4, row=-0.3, magnification=1.001)
    pulls, scale = [], []
    for _ in range(12):
        noisy = clean + 0.01 * np.exp(0.5 * clean) * rng.standard_normal(clean.shape, dtype=np.float32)
        found = register_scan(noisy, model, still(angle.size), np.zeros(angle.size))
        pulls.append((found.motion.column_shift - 0.4) / np.sqrt(found.column_variance))
        pulls.append((found.motion.row_shift + 0.3) / np.sqrt(found.row_variance))
        scale.append((np.log(found.motion.magnification) - np.log(1.001)) / np.sqrt(found.shared_covariance[0, 0]))
        assert found.noise == pytest.approx(0.01, rel=0.05)
    assert abs(np.mean(pulls)) < 0.1
    assert np.std(pulls) == pytest.approx(1.0, abs=0.1)
    assert np.sqrt(np.mean(np.square(scale))) == pytest.approx(1.0, abs=0.5)


def test_brightness_and_background_are_no_motion(angle, model):
    scan = projections(angle, column=0.7)
    slope = 0.002 * np.arange(SIZE, dtype=np.float32)
    flat, sloping = (
        register_scan(each, model, still(angle.size), np.zeros(angle.size)) for each in (scan, scan + slope + 0.1)
    )
    np.testing.assert_allclose(sloping.motion.column_shift, flat.motion.column_shift, atol=0.01)


def test_a_foreign_projection_is_rejected_and_moves_no_other(angle, model):
    scan = projections(angle, column=0.5)
    good = register_scan(scan, model, still(angle.size), np.zeros(angle.size))
    scan[7] = scan[7, ::-1, ::-1] * np.random.default_rng(3).uniform(0, 3, (SIZE, SIZE))
    found = register_scan(scan, model, still(angle.size), np.zeros(angle.size), free=(False, False))
    assert list(np.flatnonzero(~found.motion.usable)) == [7]
    assert np.isnan(found.column_variance[7])
    others = found.motion.usable
    np.testing.assert_allclose(found.motion.column_shift[others], good.motion.column_shift[others], atol=0.05)


def test_a_second_component_takes_up_what_changes(angle):
    other = projections(angle, blobs=BLOBS[:1])
    model = model_of(np.stack([projections(angle), other]), angle, MIDDLE)
    scan = projections(angle, column=0.3) + 0.4 * projections(angle, column=0.3, blobs=BLOBS[:1])
    found = register_scan(scan, model, still(angle.size, weight=np.array([1.0, 0.0])), np.zeros(angle.size))
    np.testing.assert_allclose(found.motion.weight, [1.0, 0.4], atol=2e-3)
    np.testing.assert_allclose(found.motion.column_shift, 0.3, atol=0.01)


def test_a_scan_is_put_back_to_where_the_model_is(angle):
    rng = np.random.default_rng(4)
    place = rng.uniform(-1.5, 1.5, (angle.size, 2))
    scan = projections(angle, column=place[:, 0], row=place[:, 1], magnification=1.01)
    total = np.zeros((1, *scan.shape), dtype=np.float32)
    usable = np.arange(angle.size) != 3
    accumulate(spline_coefficients(scan), (*MIDDLE, 1.01), place, np.array([2.0]), usable, total)
    np.testing.assert_allclose(total[0, usable], 2 * projections(angle)[usable], atol=2e-3)
    assert not total[0, 3].any()


def test_band_pass_is_the_difference_of_two_gaussians():
    image = np.zeros((1, 41, 41), dtype=np.float32)
    image[0, 20, 20] = 1.0
    passed = band_passed(image, np.ones(1, dtype=bool))[0]
    narrow, wide = gaussian_taps(0.8), gaussian_taps(WIDE)
    expected = np.zeros((41, 41))
    for sign, taps in ((1, narrow), (-1, wide)):
        half = taps.size // 2
        expected[20 - half : 21 + half, 20 - half : 21 + half] += sign * np.outer(taps, taps)
    np.testing.assert_allclose(passed, expected, atol=1e-7)
    assert band_passed(image, np.zeros(1, dtype=bool)).max() == 0


def test_kernels_as_python_do_the_same():
    size = 12
    rng = np.random.default_rng(5)
    coefficient = rng.standard_normal((2, 2, size, size)).astype(np.float32)
    seen = rng.standard_normal((2, size, size)).astype(np.float32)
    place = np.array([[0.6, -7.3, 0.01], [0.2, 0.1, 0.0]])
    filters = gaussian_taps(0.8), gaussian_taps(1.0)
    results = []
    for kernel in (series_kernels.sum_all, series_kernels.sum_all.py_func):
        sums = np.zeros((2, 5, 5)), np.zeros((2, 5)), np.zeros(2), np.zeros(2)
        model = coefficient, np.abs(seen)
        kernel(seen, model, (5.5, 5.5, 1.01), place, (np.ones(1), np.array([True, False])), sums)
        results.append(sums)
    for compiled, python in zip(*results, strict=True):
        np.testing.assert_allclose(compiled, python, rtol=2e-4, atol=2e-3)
    assert results[0][3][1] == 0
    totals = []
    for kernel in (accumulate, accumulate.py_func):
        total = np.zeros((1, 2, size, size), dtype=np.float32)
        kernel(seen, (5.5, 5.5, 1.01), place[:, :2], np.ones(1), np.array([True, False]), total)
        totals.append(total)
    np.testing.assert_allclose(totals[0], totals[1], atol=1e-5)
    outs = [np.empty_like(seen) for _ in range(2)]
    for kernel, out in zip((series_kernels.filter_all, series_kernels.filter_all.py_func), outs, strict=True):
        kernel(seen, np.array([True, False]), *filters, out)
    np.testing.assert_allclose(outs[0], outs[1], atol=1e-5)
