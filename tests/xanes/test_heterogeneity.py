"""Domain size, depth profile and lag covariances: brute force, fields of known correlation, and Monte Carlo."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from cathoscope.xanes.heterogeneity import (
    correlation_length,
    depth_below_surface,
    measured_map,
    noise_correlation,
    radial_profile,
    weighted_sum_variance,
)
from cathoscope.xanes.lags import lag_covariance, mean_variance, radial_average
from tests.xanes.test_distribution import INSIDE, PLACE, SHAPE, coloured, is_calibrated, noisy_map


def exponential_field(rng, shape, length):
    """A random field of variance one and correlation ``exp(-r / length)`` (periodic)."""
    axes = [np.minimum(np.arange(size), size - np.arange(size)) for size in shape]
    distance = np.sqrt(np.sum(np.array(np.meshgrid(*axes, indexing="ij"), dtype=float) ** 2, axis=0))
    power = np.maximum(np.fft.fftn(np.exp(-distance / length)).real, 0.0)
    return np.fft.ifftn(np.sqrt(power) * np.fft.fftn(rng.standard_normal(shape))).real


def disc(size):
    row, column = np.indices((size, size)) - (size - 1) / 2
    return row**2 + column**2 < (size / 2 - 0.5) ** 2


def test_lag_covariance_is_the_mean_over_all_pairs():
    rng = np.random.default_rng(0)
    good = rng.random((5, 4, 6)) < 0.6
    first, second = rng.normal(size=(2, 5, 4, 6))
    found = lag_covariance(first=first, second=second, inside=good, maximum_lag=2)
    a, b = (np.where(good, field - field[good].mean(), 0.0) for field in (first, second))
    place = np.argwhere(good)
    lag = (place[np.newaxis] - place[:, np.newaxis]).reshape(-1, 3)
    product = 0.5 * (a[good][:, np.newaxis] * b[good] + b[good][:, np.newaxis] * a[good]).ravel()
    for shift in np.ndindex(5, 5, 5):
        chosen = np.all(lag == np.array(shift) - 2, axis=1)
        assert found.pairs[shift] == chosen.sum()
        if chosen.any():
            assert found.covariance[shift] == pytest.approx(product[chosen].mean(), abs=1e-5)
    assert found.at_zero == pytest.approx(np.mean(a[good] * b[good]), rel=1e-5)


def test_shells_hold_all_pairs_up_to_their_radius():
    lagged = lag_covariance(first=PLACE[0], second=PLACE[0], inside=INSIDE, maximum_lag=4)
    radius, _, pairs = radial_average(lagged)
    near = np.rint(lagged.radius) <= 4
    assert pairs.sum() == lagged.pairs[near].sum()
    assert radius[0] == 0
    assert np.all(np.abs(radius - np.arange(5)) < 0.5)


def test_layers_of_one_row_are_maps_of_two_dimensions():
    rng = np.random.default_rng(1)
    flat = coloured(rng, (30, 30), 1.0)
    good = disc(30)
    two = lag_covariance(first=flat, second=flat, inside=good)
    three = lag_covariance(first=flat[np.newaxis], second=flat[np.newaxis], inside=good[np.newaxis])
    np.testing.assert_allclose(three.covariance[0], two.covariance, atol=1e-5)
    assert mean_variance(three, good.sum())[0] == pytest.approx(mean_variance(two, good.sum())[0], rel=1e-4)


def test_variance_of_a_mean_is_that_over_many_fields():
    means, found = [], []
    for seed in range(150):
        field = 3.0 + coloured(np.random.default_rng(seed), (40, 40), 1.5)
        means.append(field[disc(40)].mean())
        lagged = lag_covariance(first=field, second=field, inside=disc(40))
        found.append(mean_variance(lagged, int(disc(40).sum()))[0])
    assert np.mean(found) == pytest.approx(np.var(means), rel=0.2)


def test_noise_correlation_has_the_length_of_its_blur():
    kernels = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        kernels.append(noise_correlation(noisy_map(rng, coloured(rng, SHAPE, 2.0))))
    beside = np.mean(
        [
            kernel.correlation[tuple(size // 2 + (0, 0, 1)[i] for i, size in enumerate(kernel.correlation.shape))]
            for kernel in kernels
        ]
    )
    # exp(-r^2 / (4 s^2)), the kernel cut off by the voxels
    assert beside == pytest.approx(np.exp(-1 / (4 * 0.8**2)), abs=0.03)
    voxels = np.mean([kernel.voxels_per_value for kernel in kernels])
    assert voxels == pytest.approx((4 * np.pi * 0.64) ** 1.5, rel=0.25)
    assert np.mean([kernel.scale for kernel in kernels]) == pytest.approx(1.0, abs=0.02)


def test_stated_noise_without_halves_has_the_resolution_of_two_voxels():
    measured = noisy_map(np.random.default_rng(0), np.zeros(SHAPE), halves=False)
    noise = noise_correlation(measured)
    blur = 2.0 / np.sqrt(8 * np.log(2))
    assert noise.voxels_per_value == pytest.approx((4 * np.pi * blur**2) ** 1.5, rel=0.01)


def test_noise_of_a_weighted_sum_is_calibrated():
    weights = np.where(INSIDE, PLACE[0] + 2.0, 0.0) / INSIDE.sum()
    pulls = []
    for seed in range(80):
        measured = noisy_map(np.random.default_rng(seed), np.zeros(SHAPE))
        noise = noise_correlation(measured)
        variance = weighted_sum_variance(weights=weights, std=measured.std, inside=INSIDE, noise=noise)
        pulls.append(np.sum(weights * measured.value) / np.sqrt(variance))
    assert is_calibrated(pulls)


def test_same_halves_have_no_noise():
    field = coloured(np.random.default_rng(0), SHAPE, 1.0)
    measured = measured_map(value=field, std=np.ones(SHAPE), good=INSIDE, halves=(field, field))
    assert noise_correlation(measured).scale == 0.0
    assert np.isinf(correlation_length(measured).significance)


@pytest.fixture(scope="module")
def lengths():
    """Lengths found in discs of exponential fields of length 1.2 voxels of 0.5 um, with coloured noise."""
    found = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        truth = 0.5 * exponential_field(rng, (80, 80), 1.2)[:60, :60]
        measured = noisy_map(rng, truth, std=np.full((60, 60), 0.3), inside=disc(60), noise_blur=0.7)
        found.append(correlation_length(measured, voxel_size=0.5))
    return found


@pytest.mark.parametrize(
    ("name", "truth"), [("half_width", 0.6 * np.log(2)), ("decay_length", 0.6), ("exponential_length", 0.6)]
)
def test_length_of_an_exponential_field_is_calibrated(lengths, name, truth):
    found = [getattr(one, name) for one in lengths]
    assert is_calibrated([(length.value - truth) / length.std for length in found])
    assert np.mean([length.value for length in found]) == pytest.approx(truth, rel=0.05)
    assert all(one.resolved for one in lengths)


def test_correlation_itself_is_that_of_the_field(lengths):
    shells = min(one.correlation.size for one in lengths)
    mean = np.mean([one.correlation[:shells] for one in lengths], axis=0)
    np.testing.assert_allclose(mean[:8], np.exp(-lengths[0].radius[:8] / 0.6), atol=0.03)
    assert lengths[0].correlation_std[0] == 0.0


def test_length_of_a_particle_in_three_dimensions_is_calibrated():
    pulls = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        truth = 0.5 * exponential_field(rng, (36, 36, 36), 1.2)[:22, :22, :22]
        found = correlation_length(noisy_map(rng, truth))
        pulls.append((found.exponential_length.value - 1.2) / found.exponential_length.std)
    assert abs(np.mean(pulls)) < 3 / np.sqrt(20)
    assert 0.6 < np.std(pulls) < 1.4


@pytest.mark.parametrize("blur", [0.0, 1.5])
def test_noise_alone_has_no_length_however_smooth(blur):
    zeros = 0
    for seed in range(25):
        rng = np.random.default_rng(seed)
        found = correlation_length(
            noisy_map(rng, np.zeros((40, 40)), std=np.full((40, 40), 0.3), inside=disc(40), noise_blur=blur)
        )
        zeros += found.decay_length.value == 0.0 and not found.resolved
    assert zeros >= 24


def test_white_truth_has_less_than_a_voxel():
    rng = np.random.default_rng(0)
    found = correlation_length(noisy_map(rng, rng.normal(size=SHAPE)))
    assert found.resolved
    assert 0 < found.half_width.value < 1
    assert found.exponential_length.value < 0.5


def test_domain_as_large_as_the_particle_is_not_resolved():
    found = correlation_length(noisy_map(np.random.default_rng(0), 0.01 * PLACE[0]))
    gradient = correlation_length(noisy_map(np.random.default_rng(0), 0.5 * PLACE[0]))
    for one in (found, gradient):
        assert not one.resolved or one.decay_length.value > 4


def test_depth_of_a_hollow_ball_is_its_distance_from_the_outside():
    place = np.indices((41, 41, 41)) - 20.0
    radius = np.sqrt(np.sum(place**2, axis=0))
    shell = (radius < 17.5) & (radius > 6)
    depth = depth_below_surface(shell, voxel_size=0.1)
    np.testing.assert_allclose(depth[shell], (17.5 - radius[shell]) * 0.1, atol=0.09)
    assert depth[20, 20, 20] == pytest.approx(1.75, abs=0.1)


def test_depth_counts_the_edge_of_the_volume_as_surface():
    assert depth_below_surface(np.ones((5, 5, 5)))[2, 2].tolist() == [0.5, 1.5, 2.5, 1.5, 0.5]


def test_profile_of_a_core_and_shell_is_calibrated():
    depth = depth_below_surface(np.sum((PLACE / [[[[10.5]]], [[[10]]], [[[9]]]]) ** 2, axis=0) < 1)
    edges = np.array([0.0, 2.0, 4.0, 6.0, 30.0])
    truth_mean = 8348.0 + 0.1 * depth
    mean_pulls, spread_pulls = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        truth = truth_mean + 0.3 * coloured(rng, SHAPE, 1.0)
        found = radial_profile(noisy_map(rng, truth), distance=depth, edges=edges)
        shells = [INSIDE & (depth >= low) & (depth < high) for low, high in pairwise(edges)]
        mean_pulls.append((found.mean - [truth[shell].mean() for shell in shells]) / found.mean_std)
        spread_pulls.append((found.spread - [truth[shell].std() for shell in shells]) / found.spread_std)
    assert is_calibrated(np.ravel(mean_pulls))
    assert is_calibrated(np.ravel(spread_pulls))
    np.testing.assert_array_equal(found.count, [shell.sum() for shell in shells])
    np.testing.assert_allclose(found.distance, [depth[shell].mean() for shell in shells])


def test_shells_without_voxels_are_nan():
    measured = noisy_map(np.random.default_rng(0), np.zeros(SHAPE), halves=False)
    found = radial_profile(measured, distance=np.sqrt(np.sum(PLACE**2, axis=0)), edges=[0.0, 1.0, 8.0, 9.0])
    assert found.count[0] == 0
    assert np.isnan(found.mean[0])
    assert np.isfinite(found.mean[1:]).all()
    assert np.all(found.spread[1:] < 4 * found.spread_std[1:])
