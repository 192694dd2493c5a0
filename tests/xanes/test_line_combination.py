from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cathoscope.xanes.line_calibration import (
    CalibratedLines,
    JointErrors,
    SpectrumMaximum,
    apply_calibration,
    maximum_of_spectra,
    plan_maximum,
)
from cathoscope.xanes.line_combination import calibrated_fit, combine_with_maximum, mixed_states, with_joint_errors
from cathoscope.xanes.line_steps import compress, fit_compressed
from cathoscope.xanes.whiteline import WhiteLineFlag
from tests.xanes.shoulder import NOISE, shoulder_spectra


@pytest.fixture(scope="module")
def joint(bins, calibration):
    return with_joint_errors(bins[0], calibration, bins[1])


def known(calibration, ratio, correlation):
    """A calibration whose fits err as stated, and whose highest points by ``ratio`` times that."""
    energy = np.array([8347.0, 8352.0])
    errors = JointErrors(energy, np.ones(2), np.full(2, ratio), np.full(2, correlation))
    return replace(calibration, tau=0.06, joint=errors)


@pytest.mark.parametrize(("ratio", "correlation"), [(1.9, 0.5), (1.2, 0.3), (0.8, 0.9)])
def test_the_combination_is_the_best_linear_one_with_true_uncertainties(calibration, ratio, correlation):
    rng = np.random.default_rng(46)
    n, own = 20000, 0.05
    both = np.linalg.cholesky([[1.0, correlation], [correlation, 1.0]]) @ rng.normal(0.0, own, (2, n))
    fit_error = both[0] + rng.normal(0.0, 0.06, n)
    top_error = ratio * both[1] + rng.normal(0.0, 0.02, n)
    stated = np.full(n, own)
    nothing = np.zeros(n)
    lines = CalibratedLines(8349.0 + fit_error, np.hypot(stated, 0.06), stated, nothing, nothing.astype(bool))
    # what a noisy spectrum says of the curvature of its own top counts for nothing
    top = SpectrumMaximum(8349.0 + top_error, rng.exponential(0.05, n), np.zeros(n, dtype=bool))
    told = known(calibration, ratio, correlation)
    found = combine_with_maximum(told, lines, top)
    error = found.energy - 8349.0
    least = 1.0 / np.sum(np.linalg.inv(np.cov([fit_error, top_error])))  # Gauss-Markov, from the errors themselves
    assert np.var(error) == pytest.approx(least, rel=0.01)
    assert np.std(error / found.std) == pytest.approx(1.0, abs=0.03)
    assert 0.0012 < mixed_states(told, lines, top, threshold=3.0).mean() < 0.004  # 0.0027 beyond 3 of a normal law


def test_where_the_scale_of_the_fit_is_not_known_the_highest_point_counts(calibration):
    told = known(calibration, 1.2, 0.3)
    shares, left = [], []
    for unknown in (0.0, 0.1, 10.0):
        one = np.ones(1)
        lines = CalibratedLines(8349.0 * one, 0.08 * one, 0.05 * one, unknown * one, ~one.astype(bool))
        found = combine_with_maximum(told, lines, SpectrumMaximum(8350.0 * one, one, ~one.astype(bool)))
        shares.append(found.energy[0] - 8349.0)
        left.append(found.systematic_std[0])
    assert 0 < shares[0] < shares[1] < shares[2] < 1.0
    assert shares[2] == pytest.approx(1.0, abs=1e-3)
    assert left[1] ** 2 == pytest.approx((1 - shares[1]) ** 2 * (0.1**2 - 0.02**2) + 0.02**2)
    assert left[2] < 0.1


def test_single_voxels_err_as_stated_whatever_their_noise_feigns(joint, bins, voxels):
    z, true = voxels
    lines, flag = calibrated_fit(bins[0], joint, z)
    good = flag == WhiteLineFlag.GOOD
    assert good.mean() > 0.98
    pull = ((lines.energy - true) / lines.std)[good]
    for part in np.array_split(np.argsort(lines.std[good]), 4):
        assert pull[part].std() == pytest.approx(1.0, abs=0.15)
    fit = apply_calibration(joint, fit_compressed(bins[0], z)).energy
    top = maximum_of_spectra(joint.maximum, z).energy
    for alone in (fit, top):
        assert np.std((lines.energy - true)[good]) < 1.02 * np.std((alone - true)[good])


def test_mixtures_of_distant_states_are_told(truth, bins, calibration):
    plan = bins[0]
    rng = np.random.default_rng(47)
    states, _ = shoulder_spectra(truth, [8347.0, 8352.5])
    pure, _ = shoulder_spectra(truth, np.full(300, 8349.0))
    mixture = 0.6 * states[0] + 0.4 * states[1]
    shares = []
    for clean in (pure, np.tile(mixture, (300, 1))):
        z = compress(plan, clean + rng.normal(0.0, NOISE / 3, clean.shape))
        search = plan_maximum(plan, np.concatenate([bins[1][::4], z]), noise_scale=1 / 9)
        told = with_joint_errors(plan, replace(calibration, maximum=search), bins[1], noise_scale=1 / 9)
        lines = apply_calibration(calibration, fit_compressed(plan, z, noise_scale=1 / 9))
        shares.append(mixed_states(told, lines, maximum_of_spectra(search, z), threshold=3.0).mean())
    assert shares[0] < 0.03
    assert shares[1] > 0.8


def test_without_joint_errors_the_fit_stands(bins, calibration, voxels):
    plan, z, _ = bins
    assert with_joint_errors(plan, calibration, z[:8]) == calibration
    lines, flag = calibrated_fit(plan, calibration, voxels[0])
    np.testing.assert_array_equal(lines.energy, apply_calibration(calibration, fit_compressed(plan, voxels[0])).energy)
    assert not (flag == WhiteLineFlag.MIXED).any()
