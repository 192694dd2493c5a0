"""Mean, width and shape of maps with coloured noise: Monte Carlo with known truth, brute force and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from cathoscope.core.errors import MeasurementError
from cathoscope.xanes.density import binned_map, shape_of_map
from cathoscope.xanes.distribution import Systematic, distribution_of_map
from cathoscope.xanes.heterogeneity import MeasuredMap, NoiseCorrelation, measured_map, noise_correlation
from cathoscope.xanes.whiteline import white_line_statistics

SHAPE = (22, 22, 22)
PLACE = np.indices(SHAPE) - 10.5
# an ellipsoid with a hollow core
INSIDE = (PLACE[0] / 10.5) ** 2 + (PLACE[1] / 10) ** 2 + (PLACE[2] / 9) ** 2 < 1
INSIDE &= np.sum(PLACE**2, axis=0) > 4
# noise that grows towards one side
STD = 0.3 * (1 + 0.04 * PLACE[0])


def coloured(rng, shape, blur):
    """A random field of variance one, white noise blurred by a Gaussian (periodic)."""
    impulse = np.zeros(shape)
    impulse[tuple(size // 2 for size in shape)] = 1.0
    power = np.sum(gaussian_filter(impulse, blur, mode="wrap") ** 2)
    return gaussian_filter(rng.standard_normal(shape), blur, mode="wrap") / np.sqrt(power)


def noisy_map(rng, truth, *, std=STD, inside=INSIDE, noise_blur=0.8, stated=1.0, halves=True) -> MeasuredMap:
    """Two halves of a map with independent coloured noise, and their mean; the noise is ``stated`` times the true."""
    first, second = (truth + np.sqrt(2) * std * coloured(rng, truth.shape, noise_blur) for _ in range(2))
    std = np.broadcast_to(stated * np.asarray(std), truth.shape)
    return measured_map(value=(first + second) / 2, std=std, good=inside, halves=(first, second) if halves else None)


def is_calibrated(pull):
    return abs(np.mean(pull)) < 0.2 and abs(np.std(pull) - 1.0) < 0.2


@pytest.fixture(scope="module")
def repeats():
    """Pairs of the true values inside the mask and what is found of them."""
    pairs = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        truth = 8348.0 + 0.5 * coloured(rng, SHAPE, 1.3)
        pairs.append((truth[INSIDE], distribution_of_map(noisy_map(rng, truth))))
    return pairs


def test_mean_of_the_particle_is_calibrated(repeats):
    assert is_calibrated([(found.mean - truth.mean()) / found.mean_std for truth, found in repeats])


def test_mean_of_the_material_is_calibrated(repeats):
    assert is_calibrated([(found.mean - 8348.0) / found.mean_material_std for _, found in repeats])


def test_width_is_calibrated_and_free_of_noise(repeats):
    assert is_calibrated([(found.width - truth.std()) / found.width_std for truth, found in repeats])
    bias = np.mean([found.width / truth.std() - 1 for truth, found in repeats])
    assert abs(bias) < 0.01
    assert np.mean([found.observed_width / truth.std() for truth, found in repeats]) > 1.1


def test_variance_of_the_material_is_calibrated(repeats):
    assert is_calibrated([(found.variance_material - 0.25) / found.variance_material_std for _, found in repeats])
    mean = np.mean([found.variance_material for _, found in repeats])
    assert mean == pytest.approx(0.25, abs=3 * np.std([found.variance for _, found in repeats]) / np.sqrt(100))


def test_observed_variance_minus_noise_is_calibrated(repeats):
    pull = [(found.variance_from_noise - truth.var()) / found.variance_from_noise_std for truth, found in repeats]
    assert is_calibrated(pull)


def test_both_variances_and_both_halves_agree_within_their_noise(repeats):
    assert is_calibrated([found.discrepancy for _, found in repeats])
    assert is_calibrated([found.halves_difference for _, found in repeats])
    assert np.mean([found.noise_scale for _, found in repeats]) == pytest.approx(1.0, abs=0.01)


def test_independent_voxels_follow_from_the_blur(repeats):
    # white noise blurred by s has the correlation exp(-r^2 / (4 s^2)): a Gaussian blur of the mask sums it up
    def voxels_per_value(blur):
        summed = gaussian_filter(INSIDE.astype(float), np.sqrt(2) * blur, mode="constant", truncate=6)
        return (4 * np.pi * blur**2) ** 1.5 * summed[INSIDE].mean()

    count = INSIDE.sum()
    of_noise = np.mean([count / found.independent_noise for _, found in repeats])
    assert of_noise == pytest.approx(voxels_per_value(0.8), rel=0.1)
    of_values = np.median([count / found.independent_values for _, found in repeats])
    assert of_values == pytest.approx(voxels_per_value(1.3), rel=0.15)


def test_wrongly_stated_noise_is_found_and_the_width_keeps():
    rng = np.random.default_rng(5)
    truth = 0.5 * coloured(rng, SHAPE, 1.3)
    found = distribution_of_map(noisy_map(rng, truth, stated=0.6))
    assert found.noise_scale == pytest.approx(1 / 0.6, rel=0.1)
    assert found.discrepancy < -3
    assert abs(found.width - truth[INSIDE].std()) < 3 * found.width_std
    # the part of the noise that was not stated passes for true variance
    hidden = np.mean(STD[INSIDE] ** 2) * (1 - 0.6**2)
    assert found.variance_from_noise - found.variance == pytest.approx(hidden, rel=0.2)


def test_without_halves_the_stated_noise_serves():
    rng = np.random.default_rng(6)
    truth = 0.5 * coloured(rng, SHAPE, 1.3)
    found = distribution_of_map(noisy_map(rng, truth, halves=False))
    assert found.variance == found.variance_from_noise
    assert np.isnan(found.discrepancy)
    assert abs(found.width - truth[INSIDE].std()) < 3 * found.width_std


def test_independent_voxels_give_the_textbook_statistics():
    rng = np.random.default_rng(9)
    measured = noisy_map(rng, 0.5 * rng.standard_normal(SHAPE), noise_blur=0.0, halves=False)
    found = distribution_of_map(measured, noise=NoiseCorrelation(np.ones((1, 1, 1)), 1.0))
    simple = white_line_statistics(
        white_line_energy=measured.value, white_line_energy_std=measured.std, good=measured.good
    )
    assert found.mean == pytest.approx(simple.mean)
    assert found.width == pytest.approx(simple.width, rel=1e-3)
    assert found.mean_material_std == pytest.approx(simple.mean_std, rel=0.15)
    assert found.variance_material_std / (2 * found.width) == pytest.approx(simple.width_std, rel=0.15)
    assert found.mean_std == pytest.approx(np.sqrt(np.mean(measured.std[INSIDE] ** 2) / found.count))


def test_uniform_particle_has_no_width():
    pulls = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        found = distribution_of_map(noisy_map(rng, np.full(SHAPE, 8347.8)))
        pulls.append(found.variance / found.variance_std)
        assert found.width < 3.5 * np.sqrt(found.variance_std)
        assert found.width_std > 0
    assert is_calibrated(pulls)


def test_variances_equal_the_sums_over_all_pairs():
    rng = np.random.default_rng(7)
    shape = (4, 5, 4)
    good = rng.random(shape) < 0.7
    value, std = rng.normal(size=shape), rng.uniform(0.1, 0.3, shape)
    halves = (value + rng.normal(size=shape) * std, value - rng.normal(size=shape) * std)
    measured = measured_map(value=value, std=std, good=good, halves=halves)
    noise = noise_correlation(measured)
    found = distribution_of_map(measured, noise=noise)
    place = np.argwhere(good)
    lag = place[np.newaxis] - place[:, np.newaxis] + np.array(noise.correlation.shape) // 2
    inside = np.all((lag >= 0) & (lag < noise.correlation.shape), axis=2)
    rho = np.where(inside, noise.correlation[tuple(np.where(inside[..., np.newaxis], lag, 0).transpose(2, 0, 1))], 0.0)
    covariance = noise.scale**2 * std[good][:, np.newaxis] * rho * std[good]
    deviation = value[good] - value[good].mean()
    count = len(place)
    assert found.mean_std**2 == pytest.approx(covariance.sum() / count**2, rel=1e-4)
    assert found.variance_std**2 == pytest.approx(4 * deviation @ covariance @ deviation / count**2, rel=1e-4)
    products = [half[good] - half[good].mean() for half in halves]
    assert found.variance == pytest.approx(np.mean(products[0] * products[1]))
    of_noise = 2 * np.trace(covariance @ covariance) / count**2
    expected = (found.variance - found.variance_from_noise) / np.sqrt(of_noise)
    assert found.discrepancy == pytest.approx(expected, rel=1e-4)


def test_random_and_systematic_errors_of_a_mean_add_in_quadrature():
    rng = np.random.default_rng(8)
    cold = noisy_map(rng, np.full(SHAPE, 8350.0))
    terms = (Systematic("foil", 0.2), Systematic("drift", 0.03, shared=False))
    first = distribution_of_map(cold, systematic=terms)
    assert first.mean_total_std == pytest.approx(np.sqrt(first.mean_std**2 + 0.2**2 + 0.03**2))


@pytest.mark.parametrize("blur", [0.0, 1.0])
def test_shape_without_noise_is_nearer_to_the_truth(blur):
    ratios, pulls = [], []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        field = coloured(rng, SHAPE, 1.0)
        truth = 0.5 * field if seed % 2 else 0.4 * np.exp(0.7 * field)
        measured = noisy_map(rng, truth, std=np.full(SHAPE, 0.3), noise_blur=blur)
        found = distribution_of_map(measured)
        shape = shape_of_map(measured, found, replicates=20)
        step = shape.value[1] - shape.value[0]
        edges = np.append(shape.value - step / 2, shape.value[-1] + step / 2)
        actual = np.histogram(truth[INSIDE], edges)[0] / INSIDE.sum() / step
        ratios.append(np.abs(shape.density - actual).sum() / np.abs(shape.measured - actual).sum())
        pulls.append((shape.mean - found.mean) / found.width_std)
        assert shape.reached
        assert shape.density.sum() * step == pytest.approx(1.0)
        assert shape.measured.sum() * step == pytest.approx(1.0)
        # within a standard uncertainty by the rule at which it stops
        assert shape.width**2 <= found.variance + found.variance_std
        assert shape.width > found.width - found.width_std
        assert shape.resolution < 0.3
    assert np.mean(ratios) < 0.6
    assert np.max(np.abs(pulls)) < 1.0


def test_two_states_hidden_by_noise_come_apart():
    rng = np.random.default_rng(1)
    truth = 0.6 * np.sign(coloured(rng, SHAPE, 0.7))
    measured = noisy_map(rng, truth, std=np.full(SHAPE, 0.45), noise_blur=0.0)
    shape = shape_of_map(measured, distribution_of_map(measured))
    middle = np.abs(shape.value) < 0.15

    def valley(density):
        return density[middle].min() / density.max()

    assert valley(shape.measured) > 0.7
    assert valley(shape.density) < 0.3
    modes = [shape.value[sign * shape.value > 0][shape.density[sign * shape.value > 0].argmax()] for sign in (-1, 1)]
    np.testing.assert_allclose(modes, [-0.6, 0.6], atol=0.15)


def test_uncertainty_of_the_shape_is_its_scatter():
    densities, stds = [], []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        measured = noisy_map(rng, 0.5 * coloured(rng, SHAPE, 1.0), std=np.full(SHAPE, 0.3))
        shape = shape_of_map(measured, distribution_of_map(measured), replicates=20)
        grid = np.linspace(-0.9, 0.9, 7)
        densities.append(np.interp(grid, shape.value, shape.density))
        stds.append(np.interp(grid, shape.value, shape.density_std))
    ratio = np.mean(stds) / np.std(densities, axis=0).mean()
    assert ratio == pytest.approx(1.0, abs=0.25)


def test_no_spread_means_a_narrow_shape():
    rng = np.random.default_rng(2)
    measured = noisy_map(rng, np.full(SHAPE, 8348.0), std=np.full(SHAPE, 0.3), noise_blur=0.0)
    found = distribution_of_map(measured)
    shape = shape_of_map(measured, found, replicates=2)
    assert shape.width < 0.4 * found.observed_width
    assert shape.width <= np.hypot(found.width, np.sqrt(found.variance_std)) or not shape.reached


def test_blur_of_a_bin_is_a_probability_and_cells_count_all_values():
    rng = np.random.default_rng(3)
    values, std = rng.normal(size=500), rng.uniform(0.1, 0.5, 500)
    everywhere = np.ones(500, dtype=bool)
    binned = binned_map(measured_map(value=values, std=std, good=everywhere), step=0.2)
    assert binned.counts.sum() == 500
    np.testing.assert_array_equal(
        np.bincount(binned.cells(values, std), minlength=binned.counts.size), binned.counts.ravel()
    )
    assert binned.outside == 0
    np.testing.assert_allclose(binned.std.mean(), std.mean(), rtol=0.02)
    blur = binned.blur().reshape(binned.middle.size, binned.std.size, -1)
    inner = len(blur) // 2
    np.testing.assert_allclose(blur[inner].sum(axis=1), 1.0, atol=1e-3)
    spread = np.sum(blur[inner] * (binned.middle - binned.middle[inner]) ** 2, axis=1)
    np.testing.assert_allclose(spread, binned.std**2 + 0.2**2 / 12, rtol=0.02)


def test_values_that_cannot_count_are_left_out_and_too_few_refused():
    value, std = np.zeros((3, 3, 3)), np.ones((3, 3, 3))
    value[0, 0, 0], std[1, 1, 1], std[2, 2, 2] = np.nan, 0.0, np.nan
    half = np.zeros((3, 3, 3))
    half[0, 1, 0] = np.inf
    measured = measured_map(value=value, std=std, good=np.ones((3, 3, 3)), halves=(half, np.zeros((3, 3, 3))))
    assert measured.count == 23
    with pytest.raises(MeasurementError, match="too few voxels"):
        measured_map(value=value, std=std, good=np.zeros((3, 3, 3)))
    with pytest.raises(MeasurementError, match="do not match"):
        measured_map(value=value, std=std[0], good=np.ones((3, 3, 3)))
