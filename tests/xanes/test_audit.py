from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from cathoscope.core.errors import MeasurementError
from cathoscope.xanes.audit import AuditOptions, audit, cramer_rao_bound, spline_maximum, states_from_shapes
from cathoscope.xanes.line_methods import METHODS, estimate
from cathoscope.xanes.whiteline import WhiteLineFit, fit_white_line

WIDE, NARROW = (8344.0, 8354.0), (8345.5, 8352.0)


@pytest.fixture(scope="module")
def shapes(truth):
    """Noise-free spectra in no order, [shape, energy]."""
    return truth.curve(
        truth.energies(), np.array([truth.parameters_of(m, 0.7) for m in (8349.4, 8347.0, 8350.5, 8347.7, 8348.6)])
    )


def report_on(measured, shapes, method, name="tried", **options):
    return audit(
        name=name,
        method=method,
        energy=measured.energy,
        noise_std=measured.noise_std,
        shapes=shapes,
        options=AuditOptions(**options),
    )


def by_name(spectra, name, *, window=WIDE, order=4):
    return lambda values: estimate(
        name, spectra=values, energy=spectra.energy, noise_std=spectra.noise_std, window=window, order=order
    )


def known_fit(truth_of, energy, rng, *, slope=1.0, bias=0.0, std=0.05, stated=0.05, lost=0.0):
    """A method that knows the truth and errs as told."""

    def method(values):
        top = truth_of(values)
        found = 8349.0 + slope * (top - 8349.0) + bias + rng.normal(0.0, std, top.size)
        flag = np.where(rng.random(top.size) < lost, 2, 0).astype(np.int8)
        return WhiteLineFit(found, np.full(top.size, stated), flag, np.ones(top.size), np.zeros((top.size, 0)), ())

    return method


def test_figures_are_those_put_in(truth):
    energy, rng = truth.energies(), np.random.default_rng(1)
    values = np.exp(-((energy - np.linspace(8347.0, 8351.0, 5)[:, np.newaxis]) ** 2) / 18.0)
    noise = np.full(energy.size, 1e-6)

    def truth_of(spectra):
        # nearly noise-free, so the spline finds what the audit calls truth
        return np.array([spline_maximum(energy, spectrum.astype(np.float64)) for spectrum in spectra])

    method = known_fit(truth_of, energy, rng, slope=1.14, bias=0.1, std=0.05, stated=0.04, lost=0.1)
    result = audit(
        name="known",
        method=method,
        energy=energy,
        noise_std=noise,
        shapes=values,
        options=AuditOptions(states=7, spectra=150),
    )
    assert result.slope == pytest.approx(1.14, abs=4 * result.slope_std)
    assert result.slope_std == pytest.approx(0.05 / (np.std(result.truth) * np.sqrt(0.9 * 7 * 150)), rel=0.1)
    np.testing.assert_allclose(result.state_bias, 0.1 + 0.14 * (result.truth - 8349.0), atol=0.02)
    np.testing.assert_allclose(result.state_spread, 0.05, rtol=0.25)
    np.testing.assert_allclose(result.state_std, 0.04)
    assert result.bias == pytest.approx(0.1, abs=0.01)
    expected = np.sqrt(0.05**2 + np.mean(result.state_bias**2))
    assert result.rmse == pytest.approx(expected, rel=0.05)
    assert result.pull_mean == pytest.approx(result.bias / 0.04)
    assert result.failed_share == pytest.approx(0.1, abs=0.03)
    words = " ".join(result.warnings)
    assert "stretches the energy scale by 14 %" in words
    assert "finds no white line in" in words
    assert "uncertainties of" in words


def test_states_move_evenly_and_keep_the_shapes_at_the_ends(truth, shapes):
    energy = truth.energies()
    ordered = shapes[np.argsort([spline_maximum(energy, shape) for shape in shapes])]
    states = states_from_shapes(energy=energy, shapes=ordered, count=9)
    tops = np.array([spline_maximum(energy, state) for state in states])
    np.testing.assert_allclose(tops, np.linspace(tops[0], tops[-1], 9), atol=0.02)
    np.testing.assert_allclose(states[0], ordered[0], atol=1e-12)
    np.testing.assert_allclose(states[-1], ordered[-1], atol=1e-12)
    # the same shape moved is the same shape: the audit's states are the truth's own spectra
    own = truth.curve(energy, np.array([truth.parameters_of(m, 0.7) for m in tops]))
    assert np.abs(states - own).max() < 0.01
    assert states_from_shapes(energy=energy, shapes=ordered[:1], count=9).shape == (1, 61)


def test_the_bound_is_that_of_the_model(truth, low_noise, high_noise):
    shape = truth.curve(truth.energies(), np.array([truth.parameters_of(8348.7, 0.7)]))
    for spectra in (low_noise, high_noise):
        bound = cramer_rao_bound(spectra=shape, energy=spectra.energy, noise_std=spectra.noise_std)
        assert bound[0] == pytest.approx(spectra.bound, rel=0.06)
        twice = cramer_rao_bound(spectra=shape, energy=spectra.energy, noise_std=2 * spectra.noise_std)
        assert twice[0] == pytest.approx(2 * bound[0], rel=1e-3)
    assert np.isnan(cramer_rao_bound(spectra=np.zeros((1, 61)), energy=truth.energies(), noise_std=np.ones(61)))


def test_the_bound_is_the_uncertainty_of_the_fit(truth, low_noise):
    shapes = truth.curve(truth.energies(), np.array([truth.parameters_of(m, 0.6) for m in (8347.2, 8350.0)]))
    arguments = {"spectra": shapes, "energy": low_noise.energy, "noise_std": low_noise.noise_std}
    np.testing.assert_allclose(
        cramer_rao_bound(**arguments), fit_white_line(**arguments).white_line_energy_std, rtol=1e-3
    )


def test_the_model_fit_passes_at_the_bound(low_noise, shapes):
    result = report_on(
        low_noise,
        shapes,
        lambda values: fit_white_line(spectra=values, energy=low_noise.energy, noise_std=low_noise.noise_std),
    )
    assert result.rmse == pytest.approx(result.bound, rel=0.05)
    assert result.slope == pytest.approx(1.0, abs=4 * result.slope_std)
    assert result.pull_width == pytest.approx(1.0, abs=0.05)
    assert abs(result.pull_mean) < 0.1
    # mixtures of states 3.5 eV apart do not have the model's shape, and their maximum is not half-way
    assert result.mixture.misfit_ratio > 1.5
    assert len(result.warnings) == 1
    assert "half and half" in result.warnings[0]


def test_a_narrow_parabola_is_caught(low_noise, shapes):
    began = time.process_time()
    result = report_on(low_noise, shapes, by_name(low_noise, "polynomial", window=NARROW, order=2), name="polynomial")
    assert time.process_time() - began < 2.0
    assert result.slope > 1.1
    words = " ".join(result.warnings)
    assert '"polynomial" stretches the energy scale by' in words
    assert "off by up to" in words
    assert 'method = "compressed model"' in words
    wide = report_on(low_noise, shapes, by_name(low_noise, "polynomial", order=2), alternative="polynomial", name="p")
    assert any("compresses" in words and 'method = "polynomial"' in words for words in wide.warnings)
    same = report_on(low_noise, shapes, by_name(low_noise, "polynomial", order=2), alternative="p", name="p")
    assert any("another method" in words for words in same.warnings)


def test_another_energy_than_the_maximum_is_no_fault(low_noise, shapes):
    result = report_on(low_noise, shapes, by_name(low_noise, "half height"), measures_maximum=False)
    assert METHODS["half height"].measures == "half height"
    assert -6.0 < result.offset < -4.0
    assert abs(result.bias) < 1e-9
    assert result.slope == pytest.approx(1.0, abs=0.03)
    assert not any("off by up to" in words for words in result.warnings)
    honest = report_on(low_noise, shapes, by_name(low_noise, "half height"))
    assert honest.offset == 0.0
    assert honest.bias == pytest.approx(result.offset)


def test_the_audit_repeats_itself_and_the_mixture_is_the_methods_own(high_noise, shapes):
    method = by_name(high_noise, "polynomial around maximum")
    first, again = (report_on(high_noise, shapes, method, spectra=100) for _ in range(2))
    other = report_on(high_noise, shapes, method, spectra=100, seed=5)
    assert first.rmse == again.rmse
    assert first.rmse != other.rmse
    assert first.mixture == again.mixture
    ends = 0.5 * (first.truth[0] + first.truth[-1] + first.state_bias[0] + first.state_bias[-1])
    assert first.mixture.halfway == pytest.approx(ends)
    clean = method((0.5 * (shapes[1] + shapes[2]))[np.newaxis].astype(np.float32)).white_line_energy[0]
    assert first.mixture.reading == pytest.approx(clean, abs=0.1)
    assert first.mixture.maximum == pytest.approx(clean, abs=0.1)


def test_nothing_found_and_a_single_state_are_said(low_noise, shapes):
    def blind(values):
        fit = by_name(low_noise, "polynomial")(values)
        return replace(fit, flag=np.full(len(values), 2, dtype=np.int8))

    result = report_on(low_noise, shapes, blind)
    assert result.failed_share == 1.0
    assert np.isnan(result.rmse)
    assert any("100 %" in words for words in result.warnings)
    single = report_on(low_noise, shapes[:1], by_name(low_noise, "polynomial"))
    assert np.isnan(single.slope)
    assert single.truth.size == 1
    assert any("too little to see" in words for words in single.warnings)


def test_what_cannot_be_audited_is_refused(low_noise, shapes):
    method = by_name(low_noise, "polynomial")
    with pytest.raises(MeasurementError, match="do not match"):
        report_on(low_noise, shapes[:, 1:], method)
    with pytest.raises(MeasurementError, match="no shape"):
        report_on(low_noise, np.tile(low_noise.energy, (2, 1)), method)
    holed = np.concatenate([shapes, np.full((1, 61), np.nan)])
    assert report_on(low_noise, holed, method).rmse == report_on(low_noise, shapes, method).rmse
