from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cathoscope.core.errors import MeasurementError
from cathoscope.xanes import line_response
from cathoscope.xanes.line_calibration import CalibratedLines, apply_calibration, calibrate, maximum_of_spectra
from cathoscope.xanes.line_combination import calibrated_fit, with_joint_errors
from cathoscope.xanes.line_response import response_of_fit, shared_over_noise, with_artefacts
from cathoscope.xanes.line_steps import compress, fit_compressed
from cathoscope.xanes.whiteline import WhiteLineFlag
from tests.xanes.shoulder import NOISE, shoulder_spectra


def test_corrected_fits_err_by_as_much_as_they_say_in_every_state(bins, calibration, voxels):
    plan, z, _ = bins
    single, true = voxels
    # a calibration that is off: what noise and shape do to its fits has to come back from the response
    off = replace(calibration, coefficients=calibration.coefficients + np.eye(calibration.coefficients.size)[0] * 0.04)
    off = with_joint_errors(plan, off, z)
    response = response_of_fit(plan, off, z)
    lines, flag = calibrated_fit(plan, off, single)
    energy, std = response.corrected(lines.energy), lines.std
    good = flag == WhiteLineFlag.GOOD
    assert good.mean() > 0.97
    for part in np.array_split(np.argsort(true), 3):
        pull = ((energy - true) / std)[part][good[part]]
        assert abs(pull.mean()) < 0.2
        assert pull.std() == pytest.approx(1.0, abs=0.1)
    assert np.polyfit(true[good], energy[good], 1)[0] == pytest.approx(1.0, abs=0.03)
    # the highest point, which is right, takes part of the fit's 0.04 eV back
    assert np.all(np.abs(response.bias - 0.02) < 0.03)


def test_skew_errors_of_mean_zero_are_no_bias(bins, calibration, monkeypatch):
    """The mean of many voxels counts, and their spread: both are right if the mean error is taken off."""
    rng = np.random.default_rng(55)

    def skew_fit(plan, calibration, noisy, *, noise_scale):
        true = maximum_of_spectra(calibration.maximum, noisy.mean(axis=0)[None]).energy
        error = rng.exponential(0.3, len(noisy)) - 0.3
        error[:5] = 40.0  # failed fits that were not flagged
        std = np.full(len(noisy), 0.3)
        lines = CalibratedLines(true + error, std, std, std, np.zeros(len(noisy), bool))
        return lines, np.zeros(len(noisy), np.int8)

    monkeypatch.setattr(line_response, "calibrated_fit", skew_fit)
    response = response_of_fit(bins[0], calibration, bins[1])
    assert np.abs(response.bias.mean()) < 0.012
    assert np.all(np.abs(response.bias) < 4 * response.bias_std)


def test_the_order_of_groups_is_no_source_of_bias(truth, bins, calibration):
    """Bins of one state whose highest points scatter: groups of high and low ones are no different states."""
    plan = bins[0]
    rng = np.random.default_rng(51)
    clean, maxima = shoulder_spectra(truth, [8348.5])
    artefact = rng.normal(0.0, 0.5 * NOISE, (240, clean.shape[1]))
    response = response_of_fit(plan, calibration, compress(plan, clean + artefact))
    spectra = compress(plan, clean + rng.normal(0.0, NOISE, (1500, clean.shape[1])))
    lines, _ = calibrated_fit(plan, calibration, spectra)
    energy = response.corrected(lines.energy)
    assert np.median(energy) == pytest.approx(maxima[0], abs=0.02)


def test_what_halves_agree_on_is_an_artefact_and_noise_is_none(truth, bins, calibration):
    plan = bins[0]
    rng = np.random.default_rng(52)
    clean, _ = shoulder_spectra(truth, rng.uniform(8347.6, 8350.0, 4000))
    noise = rng.normal(0.0, np.sqrt(2.0) * NOISE, (2, *clean.shape))
    quiet = with_artefacts(plan, calibration, tuple(compress(plan, clean + n) for n in noise), noise_scale=2.0)
    erring = clean + rng.normal(0.0, 5.0 * NOISE, clean.shape)
    halves = tuple(compress(plan, erring + n) for n in noise)
    loud = with_artefacts(plan, calibration, halves, noise_scale=2.0)
    # without noise the artefact is what fit and highest point differ by
    z = compress(plan, erring)
    fit = apply_calibration(calibration, fit_compressed(plan, z)).energy
    difference = maximum_of_spectra(calibration.maximum, z).energy - fit
    low, high = np.nanpercentile(difference, [15.87, 84.13])
    assert quiet.artefact_std < 0.1 * loud.artefact_std
    assert np.hypot(loud.artefact_std, loud.tau) == pytest.approx((high - low) / 2, rel=0.1)
    joint = with_joint_errors(plan, calibration, bins[1]).joint
    flagged = [
        np.mean(calibrated_fit(plan, one, (halves[0] + halves[1]) / 2)[1] == WhiteLineFlag.MIXED)
        for one in (replace(bare, joint=joint) for bare in (calibration, loud))
    ]
    assert flagged[1] < 0.1 * flagged[0]


def test_too_few_bins_say_nothing(bins, calibration):
    plan, z, _ = bins
    assert response_of_fit(plan, calibration, z[:8]) is None
    few = with_artefacts(plan, calibration, (z[:4], z[:4]))
    assert few == calibration


def test_a_slab_without_voxels_or_without_a_line_says_nothing_of_artefacts(bins, calibration):
    plan, z, _ = bins
    nothing = np.empty((0, z.shape[1]), dtype=np.float32)
    noise = np.random.default_rng(53).standard_normal((2, 300, z.shape[1])).astype(np.float32)
    for halves in ((nothing, nothing), (z * np.nan, z), (z, z * np.nan), (np.zeros_like(z),) * 2, tuple(noise)):
        assert with_artefacts(plan, calibration, halves) == calibration
    assert response_of_fit(plan, calibration, nothing) is None
    lines, flag = calibrated_fit(plan, calibration, nothing)
    assert lines.energy.shape == lines.std.shape == flag.shape == (0,)


def test_voxels_that_one_half_does_not_know_change_nothing(truth, bins, calibration):
    plan = bins[0]
    rng = np.random.default_rng(54)
    clean, _ = shoulder_spectra(truth, rng.uniform(8347.6, 8350.0, 300))
    erring = clean + rng.normal(0.0, 5.0 * NOISE, clean.shape)
    odd, even = (compress(plan, erring + rng.normal(0.0, NOISE, clean.shape)) for _ in range(2))
    lost_odd, lost_even = (np.concatenate([half, half]) for half in (odd, even))
    lost_odd[300:450], lost_even[450:] = np.nan, np.nan
    expected = with_artefacts(plan, calibration, (odd, even))
    found = with_artefacts(plan, calibration, (lost_odd, lost_even))
    assert expected.artefact_std > 0.02
    assert (found.tau, found.artefact_std) == (expected.tau, expected.artefact_std)


def test_an_uncalibrated_fit_has_no_artefacts_to_share(bins):
    plan, z, _ = bins
    none = calibrate(plan, z[:5], noise_scale=1 / 64)
    assert none.order == "none"
    for half in (z, z[:0]):
        assert with_artefacts(plan, none, (half, half)) == none


def test_halves_of_different_voxels_are_refused(bins, calibration):
    plan, z, _ = bins
    for other in (z[:1], z[:90], z[:0]):  # one alone would be held against all
        with pytest.raises(MeasurementError, match="same voxels"):
            with_artefacts(plan, calibration, (z, other))


@pytest.mark.parametrize("share", [0.0, 0.15, 1.0])
def test_what_halves_share_is_found_where_spectra_have_nothing(share):
    rng = np.random.default_rng(56)
    directions = np.linalg.qr(rng.standard_normal((12, 12)))[0]
    signal = 30.0 * rng.standard_normal((4000, 3)) @ directions[:, :3].T
    rare = 5.0 * (rng.random((4000, 1)) < 0.05) * directions[:, 3]  # a spectrum that the directions do not hold
    common = signal + rare + np.sqrt(share) * rng.standard_normal((4000, 12))
    odd, even = common + np.sqrt(2.0) * rng.standard_normal((2, 4000, 12))
    odd[7] = np.nan
    assert shared_over_noise(odd, even, directions[:, :3]) == pytest.approx(share, rel=0.06, abs=0.03)
    assert shared_over_noise(odd, even, directions) == 0.0
    assert shared_over_noise(odd[7:8], even[7:8], directions[:, :3]) == 0.0
