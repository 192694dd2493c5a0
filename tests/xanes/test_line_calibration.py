from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from cathoscope.core.errors import MeasurementError
from cathoscope.xanes import line_calibration
from cathoscope.xanes.line_calibration import (
    apply_calibration,
    calibrate,
    calibration_from_pairs,
    maximum_of_spectra,
    plan_maximum,
)
from cathoscope.xanes.line_steps import fit_compressed
from cathoscope.xanes.whiteline import WhiteLineFit


def pairs(x, difference, std=0.01, search=None):
    return calibration_from_pairs(fitted=x, maximum=x + difference, variance=np.full(x.size, std**2), search=search)


def fit_of(energy, std=0.05):
    energy = np.asarray(energy, dtype=float)
    empty = np.zeros(energy.size)
    return WhiteLineFit(energy, np.full(energy.size, std), empty.astype(np.int8), empty, np.zeros((energy.size, 7)), ())


def test_the_highest_point_is_that_of_the_spline_through_the_spectrum(bins):
    plan, z, _ = bins
    search = plan_maximum(plan, z, noise_scale=1 / 64)
    found = maximum_of_spectra(search, z[:40])
    spectra = z[:40] @ search.components @ search.components.T @ plan.expansion.T
    fine = np.arange(search.energy[0], search.energy[-1], 1e-3)
    expected = fine[np.argmax(CubicSpline(plan.energy, spectra, axis=1)(fine), axis=1)]
    np.testing.assert_allclose(found.energy, expected, atol=2e-3)


def test_the_highest_point_has_a_true_uncertainty_and_follows_the_maximum(bins, voxels):
    plan, z, maxima = bins
    single, true = voxels
    close = maximum_of_spectra(plan_maximum(plan, z, noise_scale=1 / 64), z, noise_scale=1 / 64)
    np.testing.assert_allclose(close.energy, maxima, atol=0.05)
    found = maximum_of_spectra(plan_maximum(plan, single), single)
    assert np.std((found.energy - true) / found.std) == pytest.approx(1.05, abs=0.1)
    assert np.polyfit(true, found.energy, 1)[0] == pytest.approx(1.0, abs=0.02)


def test_the_highest_point_at_an_end_or_of_nothing_is_told(bins):
    plan, z, _ = bins
    rising = (np.arange(plan.energy.size) * 0.01) @ plan.projector
    found = maximum_of_spectra(
        plan_maximum(plan, np.concatenate([z, np.tile(rising, (50, 1))])), [rising, np.full(plan.n_components, np.nan)]
    )
    assert np.isnan(found.energy).all()
    assert found.at_end.tolist() == [True, False]
    with pytest.raises(MeasurementError, match="too few spectra"):
        plan_maximum(plan, z[:10])


def test_calibration_takes_the_scale_error_of_a_wrong_shape_away(bins, calibration, voxels):
    plan = bins[0]
    z, true = voxels
    fit = fit_compressed(plan, z)
    lines = apply_calibration(calibration, fit)
    assert calibration.order in ("line", "cubic")
    raw, error = fit.white_line_energy - true, lines.energy - true
    assert abs(raw.mean()) > 0.05
    assert abs(np.polyfit(true, fit.white_line_energy, 1)[0] - 1) > 0.015
    assert abs(error.mean()) < 0.02
    assert np.polyfit(true, lines.energy, 1)[0] == pytest.approx(1.0, abs=0.01)
    assert np.std(error / lines.std) == pytest.approx(1.0, abs=0.1)
    assert calibration.tau < 0.02
    assert np.all(np.abs(lines.energy.mean() - true.mean()) < 2 * lines.systematic_std)


def test_a_known_curve_and_scatter_of_shapes_come_back():
    rng = np.random.default_rng(43)
    x = rng.uniform(8347.0, 8351.0, 1500)
    u = x - np.median(x)
    difference = 0.1 + 0.12 * u - 0.02 * u**2 + 0.01 * u**3 + rng.normal(0.0, np.hypot(0.04, 0.02), x.size)
    difference[:15] += 1.5  # bins that went wrong
    found = pairs(x, difference, std=0.02)
    assert found.order == "cubic"
    assert found.tau == pytest.approx(0.04, rel=0.25)
    pull = (found.coefficients - [0.1, 0.12, -0.02, 0.01]) / np.sqrt(np.diag(found.covariance))
    assert np.abs(pull).max() < 4


@pytest.mark.parametrize("order", ["shift", "line", "cubic"])
def test_stated_uncertainty_of_the_scale_is_the_spread_over_samples(order, monkeypatch):
    monkeypatch.setattr(line_calibration, "INTERPOLATION_STD", 0.0)
    rng = np.random.default_rng(44)
    spread = {"shift": 0.2, "line": 0.8, "cubic": 3.0}[order]
    errors, stds = [], []
    for _ in range(60):
        x = 8349.0 + spread * rng.uniform(-0.5, 0.5, 300)
        u = x - 8349.0
        true = {"shift": 0.1 + 0 * u, "line": 0.1 + 0.3 * u, "cubic": 0.1 + 0.1 * u + 0.05 * u**3}[order]
        found = pairs(x, true + rng.normal(0.0, 0.03, x.size))
        if found.order == order:
            at = 8349.0
            lines = apply_calibration(found, fit_of([at]))
            errors.append(lines.energy[0] - at - 0.1)
            own = found.covariance[0, 0] if order == "shift" else lines.systematic_std[0] ** 2
            stds.append(np.sqrt(own))
    assert len(errors) > 50
    assert np.std(errors) == pytest.approx(np.mean(stds), rel=0.3)


def test_little_spread_or_few_bins_leave_a_simple_scale_and_say_so():
    rng = np.random.default_rng(45)
    narrow = 8349.0 + rng.normal(0.0, 0.03, 500)
    found = pairs(narrow, 0.1 + rng.normal(0.0, 0.01, 500))
    assert found.order == "shift"
    assert any("slope" in remark for remark in found.remarks)
    far = apply_calibration(found, fit_of([8349.0, 8350.0]))
    assert far.systematic_std[1] == pytest.approx(0.15, abs=0.03)
    assert far.outside.tolist() == [False, True]
    few = pairs(rng.uniform(8347, 8351, 40), rng.normal(0.1, 0.01, 40))
    assert few.order in ("shift", "line")


def test_a_scale_that_turns_back_is_not_used():
    x = np.linspace(8347.0, 8351.0, 400)
    found = pairs(x, -1.4 * (x - 8349.0))
    assert found.order == "shift"
    assert any("does not rise" in remark for remark in found.remarks)


def test_without_bins_the_fit_stands_and_its_systematic_error_is_unknown(bins):
    plan, z, _ = bins
    found = calibrate(plan, z[:5], noise_scale=1 / 64)
    assert found.order == "none"
    fit = fit_compressed(plan, z[:5], noise_scale=1 / 64)
    lines = apply_calibration(found, fit)
    np.testing.assert_array_equal(lines.energy, fit.white_line_energy)
    assert np.isnan(lines.systematic_std).all()


def test_the_calibrated_noise_is_the_slope_of_the_scale_times_that_of_the_fit(calibration):
    x = np.linspace(calibration.valid_range[0] - 1, calibration.valid_range[1] + 1, 60)
    lines = apply_calibration(calibration, fit_of(x))
    up, down = (apply_calibration(calibration, fit_of(x + step)).energy for step in (1e-4, -1e-4))
    np.testing.assert_allclose(lines.noise_std, 0.05 * (up - down) / 2e-4, rtol=1e-3)
    np.testing.assert_allclose(lines.std**2, lines.noise_std**2 + calibration.tau**2)
    assert np.all(np.diff(lines.energy) > 0)
    ends = lines.energy[lines.outside & (x > calibration.valid_range[1])]
    np.testing.assert_allclose(np.diff(ends, n=2), 0.0, atol=1e-9)


def test_the_kernel_does_compiled_what_it_does_in_python(bins, monkeypatch):
    plan, z, _ = bins
    search = plan_maximum(plan, z)
    compiled = maximum_of_spectra(search, z[:3])
    for name, kernel in vars(line_calibration).copy().items():
        if hasattr(kernel, "py_func"):
            monkeypatch.setattr(line_calibration, name, kernel.py_func)
    plain = maximum_of_spectra(search, z[:3])
    np.testing.assert_allclose(plain.energy, compiled.energy, atol=1e-4)
    np.testing.assert_allclose(plain.std, compiled.std, rtol=1e-4)
