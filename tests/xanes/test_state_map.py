"""States of voxels from standards and end points, and groups of voxels: closed forms and Monte Carlo."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cathoscope.core.errors import MeasurementError
from cathoscope.xanes.distribution import distribution_of_map
from cathoscope.xanes.heterogeneity import measured_map
from cathoscope.xanes.state import valence_from_edge, valence_line_from_standards
from cathoscope.xanes.state_map import (
    clusters_of_map,
    scale_from_end_points,
    scale_from_standards,
    state_of_map,
)
from tests.xanes.test_distribution import INSIDE, SHAPE, coloured, is_calibrated, noisy_map

VALENCE = np.array([2.0, 2.67, 3.0, 3.6])
EDGE = 8344.0 + 1.6 * VALENCE
EDGE_STD = np.array([0.1, 0.15, 0.1, 0.2])
DEVIATION = np.array([0.05, -0.1, 0.1, 0.0])


def flat_map(energy, std=0.1):
    energy = np.broadcast_to(energy, (3, 3, 3)).astype(float)
    return measured_map(value=energy, std=np.full(energy.shape, std), good=np.ones(energy.shape))


def test_valence_agrees_with_the_line_itself():
    line = valence_line_from_standards(edge_energy=EDGE + DEVIATION, valence=VALENCE, edge_std=EDGE_STD)
    found = state_of_map(flat_map(8348.9), scale_from_standards(line))
    expected = valence_from_edge(edge_energy=8348.9, edge_std=0.1, line=line)
    assert found.quantity == "valence"
    np.testing.assert_allclose(found.value, expected.valence[0])
    np.testing.assert_allclose(found.std, expected.valence_std[0])
    np.testing.assert_allclose(found.statistical_std, 0.1 / line.slope)


def test_scatter_of_the_standards_is_common_to_all_voxels():
    rng = np.random.default_rng(0)
    line = valence_line_from_standards(edge_energy=EDGE + rng.normal(0, 0.3, 4), valence=VALENCE, edge_std=EDGE_STD / 9)
    assert line.scatter > 0
    found = state_of_map(flat_map(8348.9), scale_from_standards(line))
    assert np.all(found.systematic_std > line.scatter / abs(line.slope))
    np.testing.assert_allclose(found.statistical_std, 0.1 / abs(line.slope))


@settings(max_examples=30, deadline=None)
@given(low=st.floats(8300, 8400), step=st.floats(1, 6) | st.floats(-6, -1), state=st.floats(-0.2, 1.2))
def test_state_of_charge_is_the_inverse_of_its_scale(low, step, state):
    scale = scale_from_end_points(discharged=low, charged=low + step, discharged_std=0.05, charged_std=0.08)
    found = state_of_map(flat_map(low + step * state), scale)
    np.testing.assert_allclose(found.value, state, atol=1e-9)
    # derivative to either end point: (state - 1) / step and -state / step
    expected = np.hypot((1 - state) * 0.05, state * 0.08) / abs(step)
    np.testing.assert_allclose(found.systematic_std, expected, atol=1e-9)


def test_errors_shared_by_both_end_points_move_all_states_alike():
    scale = scale_from_end_points(
        discharged=8347.0, charged=8350.5, discharged_std=0.1, charged_std=0.1, covariance=0.01
    )
    for energy in (8347.0, 8348.0, 8351.0):
        np.testing.assert_allclose(state_of_map(flat_map(energy), scale).systematic_std, 0.1 / 3.5)


def test_calibration_of_the_map_is_systematic():
    scale = scale_from_end_points(discharged=8347.0, charged=8349.0, discharged_std=0.0, charged_std=0.0)
    found = state_of_map(flat_map(8348.0, std=0.02), scale, calibration_std=0.1)
    np.testing.assert_allclose(found.systematic_std, 0.05)
    np.testing.assert_allclose(found.statistical_std, 0.01)


def test_voxels_beyond_the_limits_are_counted_even_if_cut():
    energy = np.full((3, 3, 3), 8348.0)
    energy[0, 0], energy[1, 1, 0], energy[2, 2, 2] = 8346.9, 8350.0, np.nan
    scale = scale_from_end_points(discharged=8347.0, charged=8349.0, discharged_std=0.02, charged_std=0.02)
    plain = state_of_map(flat_map(energy), scale)
    cut = state_of_map(flat_map(energy), scale, clip=True)
    assert plain.outside == cut.outside
    assert (plain.outside.below, plain.outside.above, plain.outside.count) == (3, 1, 26)
    assert (plain.outside.significantly_below, plain.outside.significantly_above) == (0, 1)
    assert "3 voxels lie below and 1 above" in plain.outside.remark
    assert np.nanmin(plain.value) < 0
    assert (np.nanmin(cut.value), np.nanmax(cut.value)) == (0.0, 1.0)
    assert np.isnan(cut.value[2, 2, 2])
    assert cut.clipped
    assert state_of_map(flat_map(8348.0), scale).outside.remark is None


def test_scales_without_meaning_are_refused():
    with pytest.raises(MeasurementError, match="hardly depends"):
        scale_from_end_points(discharged=8347.0, charged=8347.3, discharged_std=0.1, charged_std=0.1)
    with pytest.raises(MeasurementError, match="no covariance"):
        scale_from_end_points(discharged=8347.0, charged=8350.0, discharged_std=0.1, charged_std=0.1, covariance=0.02)
    line = valence_line_from_standards(edge_energy=[8340.0, 8340.2], valence=[2.0, 3.0], edge_std=[0.1, 0.1])
    with pytest.raises(MeasurementError, match="hardly depends on the valence"):
        scale_from_standards(line)


def two_states(seed, std_high=0.5):
    """A third of the voxels at 8348.0, the others at 8349.0, each with its own white noise."""
    rng = np.random.default_rng(seed)
    low = rng.random(SHAPE) < 0.35
    truth = np.where(low, 8348.0, 8349.0) + 0.15 * rng.standard_normal(SHAPE)
    std = rng.uniform(0.15, std_high, SHAPE)
    return measured_map(value=truth + std * rng.standard_normal(SHAPE), std=std, good=INSIDE)


def test_two_groups_are_found_with_honest_uncertainties():
    pulls = []
    for seed in range(40):
        measured = two_states(seed)
        found = clusters_of_map(measured, independent=float(measured.count), most=2)
        assert found.mean.size == 2
        mean = (found.mean - [8348.0, 8349.0]) / found.mean_std
        pulls.append([mean, (found.share - [0.35, 0.65]) / found.share_std, (found.width - 0.15) / found.width_std])
    for kind in range(3):
        assert is_calibrated(np.array(pulls)[:, kind].ravel())


def test_one_smooth_distribution_is_one_group():
    """Few domains make bumps: counted as what they are, few independent voxels, they are no groups."""
    groups, naive = [], []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        measured = noisy_map(rng, 0.4 * coloured(rng, SHAPE, 2.0))
        found = distribution_of_map(measured)
        groups.append(clusters_of_map(measured, independent=found.independent, most=2).mean.size)
        naive.append(clusters_of_map(measured, independent=float(found.count), most=2).mean.size)
    assert np.mean(np.equal(groups, 1)) >= 0.9
    assert np.mean(naive) > np.mean(groups) + 0.3
