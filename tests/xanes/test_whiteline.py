from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cathoscope.core.errors import MeasurementError
from cathoscope.xanes.whiteline import (
    WhiteLineFlag,
    WhiteLineOptions,
    fit_white_line,
    noise_std_from_residuals,
    white_line_curve,
    white_line_statistics,
)


@pytest.fixture(scope="module", params=["low_noise", "high_noise"])
def spectra(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def clean(truth):
    """Noise-free spectra, [spectrum, energy], with their parameters and maxima."""
    maxima = np.linspace(8347.0, 8350.5, 8)
    parameters = np.array(
        [truth.parameters_of(m, jump) for m, jump in zip(maxima, np.linspace(0.5, 0.9, 8), strict=True)]
    )
    return parameters, truth.curve(truth.energies(), parameters), maxima


def test_the_fit_reaches_the_cramer_rao_bound_without_bias_and_with_true_uncertainties(spectra):
    fit = fit_white_line(spectra=spectra.values, energy=spectra.energy, noise_std=spectra.noise_std)
    assert fit.good.mean() > 0.999
    error = (fit.white_line_energy - spectra.maximum)[fit.good]
    std = fit.white_line_energy_std[fit.good]
    assert np.sqrt(np.mean(error**2)) < 1.15 * spectra.bound
    assert abs(error.mean()) < 0.2 * spectra.bound
    assert np.std(error / std) == pytest.approx(1.0, abs=0.05)
    assert np.abs(error).max() < 3.0
    assert fit.reduced_chi2[fit.good].mean() == pytest.approx(1.0, abs=0.02)


def test_the_bias_does_not_depend_on_where_the_line_is(low_noise):
    fit = fit_white_line(spectra=low_noise.values, energy=low_noise.energy, noise_std=low_noise.noise_std)
    slope = np.polyfit(low_noise.maximum, fit.white_line_energy, 1)[0]
    slope_std = low_noise.bound / low_noise.maximum.std() / np.sqrt(low_noise.maximum.size)
    assert slope == pytest.approx(1.0, abs=4 * slope_std)


def test_noise_found_from_residuals_is_the_noise_and_gives_true_uncertainties(spectra):
    first = fit_white_line(spectra=spectra.values, energy=spectra.energy)
    noise = noise_std_from_residuals(spectra=spectra.values, energy=spectra.energy, fit=first)
    np.testing.assert_allclose(noise, spectra.noise_std, rtol=0.12)
    assert np.mean(noise / spectra.noise_std) == pytest.approx(1.0, abs=0.02)
    fit = fit_white_line(spectra=spectra.values, energy=spectra.energy, noise_std=noise)
    pull = (fit.white_line_energy - spectra.maximum) / fit.white_line_energy_std
    assert np.std(pull[fit.good]) == pytest.approx(1.0, abs=0.05)


def test_without_stated_noise_the_residual_gives_true_uncertainties_where_noise_is_even(truth, clean):
    # 6000 spectra with the same noise at every energy: the pull is Student-t with 54 degrees of freedom, width 1.019
    rng = np.random.default_rng(21)
    kind = rng.integers(len(clean[2]), size=6000)
    values = clean[1][kind] + rng.normal(0.0, 0.02, size=(6000, clean[1].shape[1]))
    fit = fit_white_line(spectra=values, energy=truth.energies())
    pull = (fit.white_line_energy - clean[2][kind]) / fit.white_line_energy_std
    assert fit.good.all()
    assert np.std(pull) == pytest.approx(np.sqrt(54 / 52), abs=0.04)
    assert np.mean(pull) == pytest.approx(0.0, abs=0.06)
    assert fit.reduced_chi2.mean() == pytest.approx(0.02**2, rel=0.02)


def test_noise_may_differ_from_spectrum_to_spectrum(truth, clean):
    rng = np.random.default_rng(22)
    kind = rng.integers(len(clean[2]), size=4000)
    noise = np.repeat(rng.uniform(0.005, 0.04, size=(4000, 1)), clean[1].shape[1], axis=1)
    values = clean[1][kind] + rng.normal(size=noise.shape) * noise
    fit = fit_white_line(spectra=values, energy=truth.energies(), noise_std=noise)
    pull = (fit.white_line_energy - clean[2][kind]) / fit.white_line_energy_std
    assert np.std(pull[fit.good]) == pytest.approx(1.0, abs=0.05)


def test_parameters_of_noise_free_spectra_come_back(truth, clean):
    expected, values, maxima = clean
    fit = fit_white_line(spectra=values, energy=truth.energies())
    energy = truth.energies()
    expected = expected.copy()
    expected[:, 0] += expected[:, 1] * (energy.mean() - truth.middle)
    # the arctangent of the kernel is good to 3e-8
    np.testing.assert_allclose(fit.parameters, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(fit.white_line_energy, maxima, atol=1e-5)
    np.testing.assert_allclose(white_line_curve(fit.parameters, energy, truth.edge_width), values, atol=1e-6)


def test_the_maximum_is_that_of_the_curve_not_the_centre_of_the_line(truth, clean):
    parameters = clean[0].copy()
    parameters[:, 1] = 0.01
    expected = [truth.maximum_of(p) for p in parameters]
    fit = fit_white_line(spectra=truth.curve(truth.energies(), parameters), energy=truth.energies())
    np.testing.assert_allclose(fit.white_line_energy, expected, atol=1e-5)
    assert np.all(fit.white_line_energy - fit.parameters[:, 5] > 0.1)


def test_pure_noise_has_no_edge():
    values = np.random.default_rng(23).normal(size=(1500, 61))
    energy = np.linspace(8320.0, 8380.0, 61)
    for noise in (None, np.ones(61)):
        fit = fit_white_line(spectra=values, energy=energy, noise_std=noise)
        assert np.count_nonzero(fit.good) == 0
        assert np.mean(fit.flag == WhiteLineFlag.NO_EDGE) > 0.99


def test_an_edge_downwards_is_no_edge(truth, clean):
    fit = fit_white_line(spectra=-clean[1], energy=truth.energies())
    assert not fit.good.any()


def test_a_bad_spectrum_is_flagged_and_harms_no_other(low_noise):
    values = low_noise.values[:40].copy()
    alone = fit_white_line(spectra=values, energy=low_noise.energy, noise_std=low_noise.noise_std)
    values[3, 7], values[20, 0], values[39, 60] = np.nan, np.inf, -np.inf
    fit = fit_white_line(spectra=values, energy=low_noise.energy, noise_std=low_noise.noise_std)
    bad = np.zeros(40, dtype=bool)
    bad[[3, 20, 39]] = True
    assert np.all(fit.flag[bad] == WhiteLineFlag.NON_FINITE)
    assert np.isnan(fit.white_line_energy[bad]).all()
    assert np.isnan(fit.white_line_energy_std[bad]).all()
    np.testing.assert_array_equal(fit.white_line_energy[~bad], alone.white_line_energy[~bad])
    np.testing.assert_array_equal(fit.white_line_energy_std[~bad], alone.white_line_energy_std[~bad])


def test_results_do_not_depend_on_chunks(high_noise):
    values = high_noise.values[:100]
    whole = fit_white_line(spectra=values, energy=high_noise.energy, noise_std=high_noise.noise_std)
    parts = [
        fit_white_line(spectra=values[a:b], energy=high_noise.energy, noise_std=high_noise.noise_std)
        for a, b in ((0, 1), (1, 38), (38, 100))
    ]
    for name in ("white_line_energy", "white_line_energy_std", "flag", "reduced_chi2", "parameters"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(joined, getattr(whole, name))


@given(shift=st.floats(-8000.0, 20000.0), scale=st.floats(1e-3, 1e4))
@settings(max_examples=20, deadline=None)
def test_shifting_energies_shifts_the_result_and_scaling_spectra_does_nothing(low_noise, shift, scale):
    values, energy = low_noise.values[:5].astype(float), low_noise.energy
    for noise in (None, low_noise.noise_std):
        plain = fit_white_line(spectra=values, energy=energy, noise_std=noise)
        other = fit_white_line(
            spectra=values * scale, energy=energy + shift, noise_std=None if noise is None else noise * scale
        )
        np.testing.assert_allclose(other.white_line_energy, plain.white_line_energy + shift, atol=1e-5)
        np.testing.assert_allclose(other.white_line_energy_std, plain.white_line_energy_std, rtol=1e-5)
        np.testing.assert_array_equal(other.flag, plain.flag)


@given(offset=st.floats(-5.0, 5.0), slope=st.floats(-0.005, 0.005))
@settings(max_examples=20, deadline=None)
def test_a_linear_background_moves_the_maximum_only_as_it_moves_the_curve(truth, clean, offset, slope):
    parameters = clean[0][:2].copy()
    parameters[:, 0] += offset
    parameters[:, 1] += slope
    fit = fit_white_line(spectra=truth.curve(truth.energies(), parameters), energy=truth.energies())
    np.testing.assert_allclose(fit.white_line_energy, [truth.maximum_of(p) for p in parameters], atol=1e-4)


def test_a_line_beyond_the_limits_is_flagged(truth, clean):
    narrow = WhiteLineOptions(line_width_limits=(0.5, 2.0), start_line_width=1.5)
    fit = fit_white_line(spectra=clean[1], energy=truth.energies(), options=narrow)
    assert np.all(fit.flag == WhiteLineFlag.AT_LIMIT)
    np.testing.assert_allclose(fit.parameters[:, 6], 2.0, atol=1e-6)


def test_too_few_iterations_are_flagged(truth, clean):
    fit = fit_white_line(spectra=clean[1], energy=truth.energies(), options=WhiteLineOptions(maximum_iterations=1))
    assert np.all(fit.flag == WhiteLineFlag.NO_CONVERGENCE)


def test_a_window_leaves_the_rest_out(low_noise):
    values = low_noise.values[:50].copy()
    window = (8334.0, 8362.0)
    inside = (low_noise.energy >= window[0]) & (low_noise.energy <= window[1])
    cut = fit_white_line(
        spectra=values[:, inside], energy=low_noise.energy[inside], noise_std=low_noise.noise_std[inside]
    )
    values[:, ~inside] = np.nan
    fit = fit_white_line(spectra=values, energy=low_noise.energy, noise_std=low_noise.noise_std, window=window)
    np.testing.assert_array_equal(fit.white_line_energy, cut.white_line_energy)


def test_width_with_the_noise_removed_is_the_true_width_over_many_seeds():
    # 200 samples of 400 voxels, true width 0.5 eV, noise between 0.2 and 0.8 eV
    rng = np.random.default_rng(25)
    widths, width_stds, means, mean_stds = [], [], [], []
    for _ in range(200):
        std = rng.uniform(0.2, 0.8, size=400)
        energy = rng.normal(8349.0, 0.5, size=400) + std * rng.normal(size=400)
        result = white_line_statistics(
            white_line_energy=energy, white_line_energy_std=std, good=np.ones(400, dtype=bool)
        )
        widths.append(result.width)
        width_stds.append(result.width_std)
        means.append(result.mean)
        mean_stds.append(result.mean_std)
    assert np.mean(widths) == pytest.approx(0.5, abs=4 * np.std(widths) / np.sqrt(200))
    assert np.std((np.array(widths) - 0.5) / width_stds) == pytest.approx(1.0, abs=0.15)
    assert np.std((np.array(means) - 8349.0) / mean_stds) == pytest.approx(1.0, abs=0.15)


def test_width_of_equal_voxels_is_hidden_by_its_uncertainty():
    rng = np.random.default_rng(26)
    hidden = []
    for _ in range(200):
        energy = 8349.0 + 0.3 * rng.normal(size=400)
        result = white_line_statistics(
            white_line_energy=energy, white_line_energy_std=np.full(400, 0.3), good=np.ones(400, dtype=bool)
        )
        assert result.width_std > 0
        hidden.append(result.width <= result.width_std)
    # the variance lies within one of its standard deviations above the noise in 84 of 100 samples
    assert np.mean(hidden) == pytest.approx(0.84, abs=0.1)


def test_correlated_voxels_make_the_mean_less_certain_and_bad_ones_do_not_count():
    rng = np.random.default_rng(27)
    energy, good = rng.normal(8349.0, 1.0, size=(10, 10, 10)), rng.random((10, 10, 10)) > 0.3
    energy[~good] = np.nan
    std = np.where(good, 0.1, np.nan)
    alone = white_line_statistics(white_line_energy=energy, white_line_energy_std=std, good=good)
    eighth = white_line_statistics(
        white_line_energy=energy, white_line_energy_std=std, good=good, independent_fraction=1 / 8
    )
    assert alone.count == good.sum()
    assert alone.mean == pytest.approx(np.nanmean(energy))
    assert eighth.mean_std == pytest.approx(alone.mean_std * np.sqrt(8))
    assert eighth.width == alone.width


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"energy": np.arange(60.0)}, "do not match"),
        ({"energy": np.arange(61.0)[::-1]}, "ascend"),
        ({"noise_std": np.zeros(61)}, "positive"),
        ({"noise_std": np.ones(60)}, "noise"),
        ({"window": (10.0, 17.0)}, "too few energies"),
        ({"spectra": np.zeros(61)}, "do not match"),
    ],
)
def test_what_cannot_be_fitted_is_refused(change, words):
    arguments = {"spectra": np.zeros((3, 61)), "energy": np.arange(61.0)} | change
    with pytest.raises(MeasurementError, match=words):
        fit_white_line(**arguments)


def test_what_cannot_be_summarised_is_refused(truth, clean):
    energy = truth.energies()
    with pytest.raises(MeasurementError, match="at least 30"):
        noise_std_from_residuals(spectra=clean[1], energy=energy, fit=fit_white_line(spectra=clean[1], energy=energy))
    for good, fraction in (([True, False], 1.0), ([True, True], 0.0), ([True, True], 1.5)):
        with pytest.raises(MeasurementError, match="independent"):
            white_line_statistics(
                white_line_energy=[1.0, 2.0], white_line_energy_std=[0.1, 0.1], good=good, independent_fraction=fraction
            )
