"""Differences of maps: Monte Carlo with noise and a real displacement, and false discoveries counted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import fourier_shift, gaussian_filter
from scipy.special import erfc

from cathoscope.core.errors import MeasurementError
from cathoscope.core.rooms import FileRoom
from cathoscope.xanes.difference import changed_voxels, difference_map, distribution_of_difference
from cathoscope.xanes.distribution import Systematic
from cathoscope.xanes.heterogeneity import measured_map
from tests.xanes.test_distribution import INSIDE, SHAPE, coloured, is_calibrated, noisy_map


def displaced(field, shift):
    """A periodic field moved by a part of a voxel, exactly."""
    return np.fft.ifftn(fourier_shift(np.fft.fftn(field), shift)).real


def pair(seed, *, registration=0.0, std=0.25, halves=True):
    """True change inside the mask, and the difference map of two noisy maps, the second displaced by chance."""
    rng = np.random.default_rng(seed)
    before = 0.5 * coloured(rng, SHAPE, 1.5)
    after = before - 1.0 + 0.3 * coloured(rng, SHAPE, 1.5)
    moved = displaced(after, rng.normal(size=3) * registration)
    maps = [noisy_map(rng, truth, std=np.full(SHAPE, std), halves=halves) for truth in (before, moved)]
    found = difference_map(first=maps[0], second=maps[1], registration_std=(registration,) * 3)
    return (after - before)[INSIDE], found


@pytest.fixture(scope="module", params=[0.0, 0.3])
def repeats(request):
    """Pairs of true change and what is found of it, with and without an error of the registration."""
    pairs = (pair(seed, registration=request.param) for seed in range(50))
    return [(truth, distribution_of_difference(found)) for truth, found in pairs]


def test_mean_change_is_calibrated(repeats):
    assert is_calibrated([(found.mean - truth.mean()) / found.mean_total_std for truth, found in repeats])


def test_width_of_the_changes_is_calibrated(repeats):
    pulls = [(found.variance - truth.var()) / found.variance_std for truth, found in repeats]
    ratios = [found.variance / truth.var() for truth, found in repeats]
    assert np.mean(ratios) == pytest.approx(1.0, abs=3 * np.std(ratios) / np.sqrt(50))
    assert abs(np.mean(pulls)) < 3 / np.sqrt(50)
    assert 0.7 < np.std(pulls) < 1.2


@pytest.mark.parametrize("halves", [True, False])
def test_voxels_of_a_displaced_map_are_calibrated(halves):
    squares = []
    for seed in range(25):
        truth, found = pair(seed, registration=0.4, std=0.03, halves=halves)
        # the displacement alone is ten times the noise
        value, std, total = found.measured.value[:], found.measured.std[:], found.std[:]
        assert np.nanmedian(found.registration_std) > 1.5 * np.median(std[INSIDE])
        squares.append(np.mean(((value[INSIDE] - truth) / total[INSIDE]) ** 2))
    # one displacement for all voxels of a map: the mean square scatters with it
    assert np.mean(squares) == pytest.approx(1.0, abs=3 * np.std(squares) / np.sqrt(25))
    assert np.std(squares) / np.sqrt(25) < 0.2


def test_noise_does_not_pass_for_a_gradient():
    rng = np.random.default_rng(0)
    for halves in (True, False):
        flat = noisy_map(rng, np.zeros(SHAPE), noise_blur=2 / np.sqrt(8 * np.log(2)), halves=halves)
        found = difference_map(first=flat, second=flat, registration_std=(1.0, 1.0, 1.0))
        naive = np.mean([np.gradient(flat.value, axis=axis)[INSIDE].std() ** 2 for axis in range(3)]) * 3
        assert np.mean(found.registration_std[INSIDE] ** 2) < 0.3 * naive


def test_gradient_along_one_axis_counts_for_that_axis_only():
    ramp = np.broadcast_to(0.2 * np.arange(12.0)[:, np.newaxis, np.newaxis], (12, 12, 12))
    std, good = np.full(ramp.shape, 1e-6), np.ones(ramp.shape, dtype=bool)
    measured = measured_map(value=ramp, std=std, good=good, halves=(ramp, ramp))
    for axis, expected in ((0, 0.1), (1, 0.0), (2, 0.0)):
        sigma = np.zeros(3)
        sigma[axis] = 0.5
        found = difference_map(first=measured, second=measured, registration_std=sigma)
        np.testing.assert_allclose(found.registration_std, expected, atol=1e-9)
        assert found.registration_of_mean == pytest.approx(expected)
        assert found.registration_variance == pytest.approx(0.0, abs=1e-9)


def test_slabs_are_the_whole(monkeypatch, tmp_path):
    """Cut anywhere, and with room in a file, the same comes out."""
    rng = np.random.default_rng(2)
    for halves in (True, False):
        maps = [noisy_map(rng, coloured(rng, SHAPE, 1.5), halves=halves) for _ in range(2)]
        given = {"first": maps[0], "second": maps[1], "registration_std": (0.2, 0.3, 0.1)}
        whole = difference_map(**given)
        with monkeypatch.context() as patch:
            patch.setattr("cathoscope.xanes.difference._ROWS", 5)
            patch.setattr("cathoscope.xanes.difference._VOXELS", 1)
            cut = difference_map(**given, new_room=lambda shape: FileRoom(tmp_path / "room", shape))
        np.testing.assert_allclose(cut.registration_std[:], whole.registration_std[:], rtol=1e-6)
        np.testing.assert_array_equal(cut.significance[3:9], cut.significance[:][3:9])
        for name in ("of_mean", "variance", "variance_std"):
            assert getattr(cut, f"registration_{name}") == pytest.approx(getattr(whole, f"registration_{name}"))


def test_common_errors_lower_the_significance_only():
    rng = np.random.default_rng(1)
    maps = [noisy_map(rng, truth * np.ones(SHAPE)) for truth in (0.0, 1.0)]
    plain = difference_map(first=maps[0], second=maps[1])
    common = difference_map(first=maps[0], second=maps[1], systematic=[Systematic("drift", 0.5, shared=False)])
    np.testing.assert_array_equal(plain.std[:], common.std[:])
    expected = plain.measured.value[:] / np.hypot(plain.std[:], 0.5)
    np.testing.assert_allclose(common.significance[:][INSIDE], expected[INSIDE])
    assert np.isnan(common.significance[:][~INSIDE]).all()
    assert distribution_of_difference(common).systematic_std == pytest.approx(0.5)


def test_false_changes_stay_below_their_share():
    false, shares, falls = [], [], []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        changed = gaussian_filter(rng.standard_normal(SHAPE), 2) > 0.05
        maps = [noisy_map(rng, truth, std=np.full(SHAPE, 0.2)) for truth in (np.zeros(SHAPE), -1.0 * changed)]
        significance = difference_map(first=maps[0], second=maps[1]).significance[:]
        found = changed_voxels(significance=significance, good=INSIDE, false_share=0.1)
        voxels = np.abs(significance) >= found.threshold
        assert found.share == pytest.approx(voxels.sum() / INSIDE.sum())
        false.append(np.sum(voxels & ~changed) / max(voxels.sum(), 1))
        shares.append(found.share / changed[INSIDE].mean())
        falls.append(found.share_down / found.share)
        assert found.share == pytest.approx(found.share_up + found.share_down)
    assert np.mean(falls) > 0.95
    # the bound of the procedure is the false share times the share of unchanged voxels
    assert 0.02 < np.mean(false) < 0.1
    assert np.mean(shares) > 0.8


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-6, 6), min_size=1, max_size=12), st.floats(0.01, 0.5))
def test_threshold_is_that_of_the_step_up_procedure(size, share):
    values = np.array([*size, np.nan])
    found = changed_voxels(significance=values, good=np.isfinite(values), false_share=share)
    probability = erfc(np.abs(size) / np.sqrt(2))
    # by the definition: the largest k of which k probabilities lie below k share / n
    best = max((k for k in range(len(size) + 1) if np.sum(probability <= share * k / len(size)) >= k), default=0)
    changed = np.sum(probability <= share * best / len(size)) if best else 0
    assert found.share == pytest.approx(changed / len(size))
    assert np.sum(np.abs(size) >= found.threshold) == changed


def test_no_change_has_no_voxels():
    found = changed_voxels(significance=np.zeros((3, 3)), good=np.ones((3, 3), dtype=bool))
    assert found.share == 0.0
    assert np.isinf(found.threshold)


def test_wrong_grids_and_errors_are_refused():
    rng = np.random.default_rng(0)
    first = noisy_map(rng, np.zeros(SHAPE))
    small = measured_map(value=np.zeros((4, 4, 4)), std=np.ones((4, 4, 4)), good=np.ones((4, 4, 4)))
    with pytest.raises(MeasurementError, match="not on one grid"):
        difference_map(first=first, second=small)
    for sigma in ((0.1, 0.1), (0.1, -0.1, 0.1), (0.1, np.nan, 0.1)):
        with pytest.raises(MeasurementError, match="registration error"):
            difference_map(first=first, second=first, registration_std=sigma)
    with pytest.raises(MeasurementError, match="share"):
        changed_voxels(significance=np.zeros(3), good=np.ones(3, dtype=bool), false_share=1.0)
    with pytest.raises(MeasurementError, match="no voxel"):
        changed_voxels(significance=np.full(3, np.nan), good=np.zeros(3, dtype=bool))
