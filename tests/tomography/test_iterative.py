from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.restoration import denoise_tv_chambolle

from cathoscope.core.errors import MeasurementError
from cathoscope.tomography import iterative as module
from cathoscope.tomography.iterative import (
    TotalVariation,
    alternating_noise_std,
    apply_normal,
    plan_normal,
    reconstruct_cgls,
    reconstruct_tv,
)
from cathoscope.tomography.project import back_project, project, residual_rms
from cathoscope.tomography.reconstruct import BATCH, noise_std_from_half_sets, plan_reconstruction, reconstruct

SIZE, AXIS = 48, 22.9
ALL = np.arange(90) * 2.0
WEDGE = np.arange(70) * 2.0


def two_disks():
    fine = (np.arange(8 * SIZE) + 0.5) / 8 - 0.5 * SIZE
    inside = np.hypot(fine - 2, fine[:, None] + 1) < 16
    inside = inside * (1.0 - 0.5 * (np.hypot(fine - 6, fine[:, None] - 3) < 5))
    return inside.reshape(SIZE, 8, SIZE, 8).mean(axis=(1, 3))


def measured(angle, n_rows, noise, seed=0):
    """Chords of the two disks in closed form, with white noise."""
    theta = np.deg2rad(angle)[:, None]
    clean = np.zeros((angle.size, SIZE))
    for x, y, radius, value in ((2, -1, 16, 1.0), (6, 3, 5, -0.5)):
        edge = np.arange(SIZE + 1)[None, :] - 0.5 - AXIS - x * np.cos(theta) - y * np.sin(theta)
        edge = np.clip(edge / radius, -1, 1)
        clean += value * np.diff(radius**2 * (edge * np.sqrt(1 - edge**2) + np.arcsin(edge)), axis=1)
    noisy = clean + np.random.default_rng(seed).normal(0, noise, (n_rows, *clean.shape))
    return noisy.astype(np.float32)


def error(volume):
    position = np.arange(SIZE) - 0.5 * (SIZE - 1)
    inside = np.hypot(position[:, None], position) < 20
    return np.sqrt(np.mean((volume - two_disks())[:, inside] ** 2))


@pytest.mark.parametrize("size", [32, 33])
def test_normal_operator_is_projection_and_back_projection(size):
    angle = np.sort(np.random.default_rng(1).uniform(0, 177, 80))
    plan = plan_reconstruction(angle, size)
    normal = plan_normal(plan)
    position = np.arange(size) - 0.5 * (size - 1)
    window = np.hypot(position[:, None], position) < 0.25 * size
    noise = np.random.default_rng(2).standard_normal((2, size, size)) * window
    volume = gaussian_filter(noise, (0, 1.5, 1.5)).astype(np.float32)
    rows = project(plan, volume, 0.45 * size, None, 1.0)
    even = normal.even_weight * back_project(plan, rows, 0.45 * size, None, 1.0)
    ramp = reconstruct(plan, rows, 0.45 * size, None, 1.0)
    for transfer, expected in ((normal.even, even), (normal.ramp, ramp)):
        assert np.abs(apply_normal(transfer, volume) - expected).max() < 3e-3 * np.abs(expected).max()


def test_kernel_is_the_sum_of_sinc_and_ramp():
    angle, n = np.array([0.0, 31.0, 90.0, 140.0]), 6
    plan = plan_reconstruction(angle, n)
    normal = plan_normal(plan)
    point = np.zeros((1, n, n), dtype=np.float32)
    point[0, 1, 4] = 1.0
    lag_y, lag_x = np.meshgrid(np.arange(n) - 1, np.arange(n) - 4, indexing="ij")
    theta = np.deg2rad(angle)[:, None, None]
    t = lag_x * np.cos(theta) + lag_y * np.sin(theta)
    weight = plan.angle_weight[:, None, None]
    np.testing.assert_allclose(apply_normal(normal.even, point)[0], weight.mean() * np.sinc(t).sum(axis=0), atol=2e-6)
    ramp = (weight * (0.5 * np.sinc(t) - 0.25 * np.sinc(t / 2) ** 2)).sum(axis=0)
    np.testing.assert_allclose(apply_normal(normal.ramp, point)[0], ramp, atol=2e-6)


def test_largest_eigenvalue():
    normal = plan_normal(plan_reconstruction(WEDGE[::3], 16))
    basis = np.eye(256, dtype=np.float32).reshape(256, 16, 16)
    largest = np.linalg.eigvalsh(apply_normal(normal.ramp, basis).reshape(256, 256)).max()
    assert largest <= normal.largest < 1.06 * largest


def test_conjugate_gradients_reach_the_least_squares_solution():
    n, angle = 8, np.arange(24) * 7.5
    plan = plan_reconstruction(angle, n)
    normal = plan_normal(plan)
    basis = np.eye(n * n, dtype=np.float32).reshape(n * n, n, n)
    matrix = apply_normal(normal.even, basis).reshape(n * n, n * n).astype(np.float64) / normal.even_weight
    sinogram = np.random.default_rng(3).standard_normal((2, angle.size, n)).astype(np.float32)
    data = back_project(plan, sinogram, 3.5, None, 1.0).reshape(2, -1).astype(np.float64)
    found = reconstruct_cgls(normal, sinogram, 3.5, None, 0.5, iterations=60)
    for row in range(2):
        lost = matrix @ (0.5 * found[row].ravel()) - data[row]
        assert np.linalg.norm(lost) < 1e-3 * np.linalg.norm(data[row])


def test_discrepancy_principle_stops_at_the_noise():
    noise = np.array([0.3, 1.0, 0.3])
    sinogram = np.concatenate([measured(ALL, 1, sigma, seed=k) for k, sigma in enumerate(noise)])
    plan = plan_reconstruction(ALL, SIZE)
    normal = plan_normal(plan)
    stopped = reconstruct_cgls(normal, sinogram, AXIS, None, 1.0, iterations=40, noise_std=noise)
    left = residual_rms(sinogram, project(plan, stopped, AXIS, None, 1.0))
    np.testing.assert_allclose(left, noise, rtol=1e-3)
    never = reconstruct_cgls(normal, sinogram, AXIS, None, 1.0, iterations=40)
    assert error(stopped[1:2]) < 0.7 * error(never[1:2])


def test_total_variation_minimises_its_functional():
    sinogram = measured(WEDGE, 1, 0.5)
    plan = plan_reconstruction(WEDGE, SIZE)
    normal = plan_normal(plan)
    filtered = reconstruct(plan, sinogram, AXIS, None, 1.0).astype(np.float64)[0]

    def functional(image):
        distance = apply_normal(normal.ramp, image[None].astype(np.float32))[0]
        down, right = np.diff(image, axis=0, append=image[-1:]), np.diff(image, axis=1, append=image[:, -1:])
        return 0.5 * np.vdot(image, distance) - np.vdot(image, filtered) + 0.2 * np.hypot(down, right).sum()

    choices = TotalVariation(strength=0.5, iterations=120)
    found = reconstruct_tv(normal, sinogram, AXIS, None, 1.0, choices=choices, noise_std=0.4)[0].astype(np.float64)
    least = functional(found)
    rng = np.random.default_rng(4)
    tried = [found + scale * rng.standard_normal(found.shape) for scale in (1e-3, 1e-2)]
    tried += [found + 0.02 * gaussian_filter(rng.standard_normal(found.shape), 3) for _ in range(3)]
    tried += [0.98 * found, 1.02 * found, found + 0.02 * (filtered - found), gaussian_filter(found, 0.4)]
    assert min(functional(image) for image in tried) > least
    coarse = TotalVariation(strength=0.5, iterations=30)
    early = reconstruct_tv(normal, sinogram, AXIS, None, 1.0, choices=coarse, noise_std=0.4)[0].astype(np.float64)
    assert functional(early) - least < 0.01 * (functional(filtered) - least)


def test_proximal_step_equals_an_independent_solver():
    part = two_disks()[16:40, 16:40]
    noisy = (part + np.random.default_rng(5).normal(0, 0.2, part.shape)).astype(np.float32)
    image, dual = np.empty_like(noisy), np.zeros((2, *part.shape), dtype=np.float32)
    module._denoise(noisy, dual, np.float32(0.2), np.float32(-np.inf), 600, image)
    other = denoise_tv_chambolle(noisy.astype(np.float64), weight=0.2, eps=1e-9, max_num_iter=4000)
    # both are iterative; scikit-image converges slowly
    assert np.abs(image - other).max() < 5e-3
    assert image.mean() == pytest.approx(noisy.mean(), rel=1e-4)


def test_no_strength_solves_the_normal_equations():
    sinogram = measured(WEDGE, 2, 0.5)
    normal = plan_normal(plan_reconstruction(WEDGE, SIZE))
    filtered = reconstruct(normal.plan, sinogram, AXIS, None, 1.0)
    choices = TotalVariation(strength=0.0, iterations=60)
    found = reconstruct_tv(normal, sinogram, AXIS, None, 1.0, choices=choices)
    before, after = (np.linalg.norm(apply_normal(normal.ramp, image) - filtered) for image in (filtered, found))
    assert after < 0.1 * before


def test_non_negative():
    normal = plan_normal(plan_reconstruction(ALL, SIZE))
    found = reconstruct_tv(normal, measured(ALL, 1, 1.0), AXIS, None, 1.0, choices=TotalVariation(non_negative=True))
    assert found.min() == 0.0
    assert error(found) < error(reconstruct_tv(normal, measured(ALL, 1, 1.0), AXIS, None, 1.0)) * 1.02


@pytest.mark.parametrize(("angle", "gain"), [(ALL, 0.6), (WEDGE, 0.6), (ALL[::3], 0.5)])
def test_error_is_well_below_that_of_filtered_back_projection(angle, gain):
    sinogram = measured(angle, 2, 1.0)
    normal = plan_normal(plan_reconstruction(angle, SIZE))
    filtered = error(reconstruct(normal.plan, sinogram, AXIS, None, 1.0))
    variation = reconstruct_tv(normal, sinogram, AXIS, None, 1.0)
    assert error(variation) < gain * filtered
    assert error(reconstruct_cgls(normal, sinogram, AXIS, None, 1.0, iterations=30, noise_std=1.0)) < filtered


def test_strength_is_in_units_of_the_noise_and_attenuation_in_per_um():
    sinogram, shift = measured(ALL, 2, 0.4), np.full(ALL.size, 0.5)
    normal = plan_normal(plan_reconstruction(ALL, SIZE))
    for engine in (reconstruct_tv, reconstruct_cgls):
        once = engine(normal, sinogram, AXIS, None, 1.0)
        scaled = engine(normal, 3.0 * sinogram, AXIS - 0.5, shift, 0.1)
        np.testing.assert_allclose(scaled, 30.0 * once, atol=30 * 2e-4 * np.abs(once).max())


def test_alternating_signs_are_the_half_difference():
    sinogram = measured(ALL, 3, 0.4)
    plan = plan_reconstruction(ALL, SIZE)
    expected = noise_std_from_half_sets(sinogram, ALL, AXIS, None, 0.1)[0]
    np.testing.assert_allclose(alternating_noise_std(plan, sinogram, AXIS, None, 0.1), expected, rtol=2e-3)


def test_slices_do_not_depend_on_company_or_threads():
    sinogram = measured(WEDGE, BATCH + 3, 0.4)
    normal = plan_normal(plan_reconstruction(WEDGE, SIZE))
    slabs = [sinogram[:BATCH], sinogram[BATCH:]]
    few = TotalVariation(iterations=5)
    for engine in (
        lambda rows: reconstruct_cgls(normal, rows, AXIS, None, 1.0, iterations=5),
        lambda rows: reconstruct_tv(normal, rows, AXIS, None, 1.0, choices=few),
    ):
        with ThreadPoolExecutor(2) as pool:
            np.testing.assert_array_equal(np.concatenate(list(pool.map(engine, slabs))), engine(sinogram))


def test_empty_slices_stay_empty():
    normal = plan_normal(plan_reconstruction(ALL, SIZE))
    empty = np.zeros((1, ALL.size, SIZE), dtype=np.float32)
    assert not reconstruct_cgls(normal, empty, AXIS, None, 1.0).any()
    assert not reconstruct_tv(normal, empty, AXIS, None, 1.0, choices=TotalVariation(iterations=2)).any()


def test_kernels_compiled_equal_python(monkeypatch):
    angle = np.array([0.0, 40.0, 90.0, 130.0])
    sinogram = np.random.default_rng(8).standard_normal((2, 4, 7)).astype(np.float32)
    few = TotalVariation(iterations=2, non_negative=True)

    def result():
        normal = plan_normal(plan_reconstruction(angle, 7))
        return reconstruct_tv(normal, sinogram, 3.2, None, 1.0, choices=few)

    compiled = result()
    for name in ("_sum_over_angles", "_sum_products", "_denoise", "_primal"):
        monkeypatch.setattr(module, name, getattr(module, name).py_func)
    assert np.abs(result() - compiled).max() < 1e-4 * np.abs(compiled).max()


def test_what_cannot_be_reconstructed_is_refused():
    normal = plan_normal(plan_reconstruction(ALL, 12))
    rows = np.zeros((2, ALL.size, 12), dtype=np.float32)
    for engine in (reconstruct_cgls, reconstruct_tv):
        for sinogram, noise in ((rows[:, 1:], 1.0), (rows * np.nan, 1.0), (rows, np.ones(3)), (rows, -1.0)):
            with pytest.raises(MeasurementError):
                engine(normal, sinogram, 5.5, None, 1.0, noise_std=noise)
    with pytest.raises(MeasurementError):
        reconstruct_cgls(normal, rows, 5.5, None, 1.0, iterations=0)
    for strength, iterations in ((-1.0, 5), (np.nan, 5), (1.0, 0)):
        with pytest.raises(MeasurementError):
            TotalVariation(strength=strength, iterations=iterations)
