from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cathoscope.core.errors import MeasurementError
from cathoscope.xanes.absorbance import (
    default_windows,
    edge_jump_from_spectra,
    optical_depth_from_counts,
    particle_mask_from_edge_jump,
)

ENERGY = np.arange(8320.0, 8381.0)
PRE, POST = (8320.0, 8330.0), (8360.0, 8380.0)


@given(depth=st.floats(-1.0, 8.0), incident=st.floats(1.0, 1e6))
@settings(max_examples=50, deadline=None)
def test_optical_depth_inverts_the_law_of_beer_and_lambert(depth, incident):
    value, _ = optical_depth_from_counts(counts=[incident * np.exp(-depth)], incident=[incident])
    assert value[0] == pytest.approx(depth, abs=1e-12)


@pytest.mark.parametrize(("incident", "depth"), [(40_000, 0.3), (1_600, 1.5), (60, 0.5)])
def test_uncertainty_of_optical_depth_is_its_spread(incident, depth):
    rng = np.random.default_rng(41)
    counts, open_beam = rng.poisson(incident * np.exp(-depth), 40_000), rng.poisson(incident, 40_000)
    value, std = optical_depth_from_counts(counts=counts, incident=open_beam)
    pull = (value - depth) / std
    assert np.std(pull) == pytest.approx(1.0, abs=0.03)
    # the logarithm of a Poisson variable lies low by half its relative variance
    expected = depth + 0.5 * (np.exp(depth) - 1) / incident
    assert value.mean() == pytest.approx(expected, abs=4 * value.std() / 200 + 2 / incident**1.5)


def test_incident_spectrum_is_laid_along_the_energies_and_its_own_uncertainty_is_used():
    counts = np.full((4, 2, 3), 100.0)
    incident = np.array([100.0, 200.0, 300.0, 400.0])
    depth, std = optical_depth_from_counts(counts=counts, incident=incident, incident_std=np.zeros(4))
    np.testing.assert_allclose(depth, np.broadcast_to(np.log(incident / 100)[:, None, None], (4, 2, 3)))
    np.testing.assert_allclose(std, 0.1)


def test_counts_that_are_not_positive_have_no_optical_depth():
    depth, std = optical_depth_from_counts(counts=[0.0, -3.0, 5.0, 5.0, np.nan], incident=[9.0, 9.0, 0.0, 9.0, 9.0])
    np.testing.assert_array_equal(np.isfinite(depth), [False, False, False, True, False])
    np.testing.assert_array_equal(np.isfinite(std), np.isfinite(depth))
    with pytest.raises(MeasurementError, match="do not match"):
        optical_depth_from_counts(counts=np.ones((4, 2, 3)), incident=np.ones(5))


def test_default_windows_lie_clear_of_the_edge_at_nickel_and_at_iron():
    pre, post = default_windows(energy=ENERGY, edge_energy=8333.0)
    assert pre[0] == 8320.0
    assert pre[1] < 8333.0 - 3.0
    assert post[0] > 8355.0
    assert post[1] == 8380.0
    pre, post = default_windows(energy=np.arange(700.0, 730.3, 0.3), edge_energy=706.8)
    assert pre[1] < 705.5
    assert post[0] > 718.0
    with pytest.raises(MeasurementError, match="below the edge"):
        default_windows(energy=ENERGY, edge_energy=8320.5)
    with pytest.raises(MeasurementError, match="above the edge"):
        default_windows(energy=ENERGY, edge_energy=8333e3)


def test_edge_jump_of_a_step_is_its_height_and_a_slope_adds_slope_times_distance():
    height = np.array([[0.2, 1.0], [-0.5, 0.0]])
    spectra = 0.3 + height[..., None] * (ENERGY > 8340.0)
    jump, std = edge_jump_from_spectra(spectra=spectra, energy=ENERGY, pre_edge=PRE, post_edge=POST)
    np.testing.assert_allclose(jump, height, atol=1e-12)
    np.testing.assert_allclose(std, 0.0, atol=1e-12)
    sloped = spectra - 0.01 * ENERGY
    jump, std = edge_jump_from_spectra(spectra=sloped, energy=ENERGY, pre_edge=PRE, post_edge=POST)
    np.testing.assert_allclose(jump, height - 0.01 * (8370.0 - 8325.0), atol=1e-10)
    np.testing.assert_allclose(std, 0.0, atol=1e-10)


@pytest.mark.parametrize("stated", [True, False])
def test_uncertainty_of_edge_jump_is_its_spread(stated):
    rng = np.random.default_rng(42)
    noise = np.linspace(0.05, 0.08, 61) if stated else np.full(61, 0.05)
    spectra = 0.7 * (ENERGY > 8340.0) + noise * rng.normal(size=(8000, 61))
    jump, std = edge_jump_from_spectra(
        spectra=spectra, energy=ENERGY, pre_edge=PRE, post_edge=POST, noise_std=noise if stated else None
    )
    assert np.mean(jump) == pytest.approx(0.7, abs=4 * np.std(jump) / np.sqrt(8000))
    # from the scatter: two windows of 11 and 21 energies, of unequal weight, give about 14 degrees of freedom
    width = 1.0 if stated else np.sqrt(14 / 12)
    assert np.std((jump - 0.7) / std) == pytest.approx(width, abs=0.04)


def test_a_nan_spectrum_has_no_edge_jump_and_shapes_are_checked():
    spectra = np.ones((2, 61))
    spectra[0, 3] = np.nan
    jump, std = edge_jump_from_spectra(
        spectra=spectra, energy=ENERGY, pre_edge=PRE, post_edge=POST, noise_std=np.ones(61)
    )
    np.testing.assert_array_equal(np.isnan(jump), [True, False])
    np.testing.assert_array_equal(np.isnan(std), [True, False])
    with pytest.raises(MeasurementError, match="do not match"):
        edge_jump_from_spectra(spectra=spectra[:, 1:], energy=ENERGY, pre_edge=PRE, post_edge=POST)
    with pytest.raises(MeasurementError, match="too few energies above"):
        edge_jump_from_spectra(spectra=spectra, energy=ENERGY, pre_edge=PRE, post_edge=(8379.5, 8390.0))


def test_mask_is_the_particle_with_and_without_threshold():
    rng = np.random.default_rng(43)
    y, x = np.mgrid[:100, :100]
    particle = (x - 50) ** 2 + (y - 45) ** 2 < 30**2
    jump = 0.5 * particle + 0.05 * rng.normal(size=particle.shape)
    for threshold in (None, 0.2):
        mask = particle_mask_from_edge_jump(edge_jump=jump, edge_jump_std=0.05, minimum_sigma=3.0, threshold=threshold)
        assert np.mean(mask == particle) > 0.999
    assert not particle_mask_from_edge_jump(edge_jump=jump, edge_jump_std=0.05, threshold=2.0).any()


@pytest.mark.parametrize("minimum_sigma", [2.0, 3.0, 5.0])
def test_a_map_of_noise_has_no_particle(minimum_sigma):
    for seed in range(20):
        jump = 0.3 * np.random.default_rng(seed).normal(size=(20, 40, 40))
        mask = particle_mask_from_edge_jump(edge_jump=jump, edge_jump_std=0.3, minimum_sigma=minimum_sigma)
        assert not mask.any()


def test_the_mask_never_goes_below_the_least_significance():
    rng = np.random.default_rng(44)
    jump = np.where(rng.random(5000) > 0.5, 1.0, 0.0) + 0.01 * rng.normal(size=5000)
    std = np.where(np.arange(5000) % 2 == 0, 0.01, 0.5)
    mask = particle_mask_from_edge_jump(edge_jump=jump, edge_jump_std=std, minimum_sigma=4.0)
    assert mask.any()
    assert np.all(jump[mask] > 4.0 * std[mask])


def test_nan_is_outside_and_a_map_of_nan_or_of_one_value_is_survived():
    assert not particle_mask_from_edge_jump(edge_jump=np.full(5, np.nan), edge_jump_std=0.1).any()
    jump = np.array([1.0, 1.0, np.nan, 1.0])
    np.testing.assert_array_equal(
        particle_mask_from_edge_jump(edge_jump=jump, edge_jump_std=[0.1, 0.1, 0.1, np.nan]),
        [True, True, False, False],
    )
