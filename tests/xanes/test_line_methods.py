from __future__ import annotations

import numpy as np
import pytest

from cathoscope.core.errors import MeasurementError
from cathoscope.xanes import around_maximum, line_methods
from cathoscope.xanes.line_methods import METHODS, estimate
from cathoscope.xanes.whiteline import WhiteLineFlag

WIDE = (8344.0, 8354.0)
OTHERS = ("trigonometric", "half height", "centroid")
FIELDS = ("white_line_energy", "white_line_energy_std", "flag", "parameters")


def fit_of(name, measured, **changes):
    arguments = {
        "spectra": measured.values,
        "energy": measured.energy,
        "noise_std": measured.noise_std,
        "window": WIDE,
        "order": 4,
    }
    return estimate(name, **(arguments | changes))


@pytest.mark.parametrize("name", METHODS)
def test_every_method_follows_the_line_and_knows_its_noise(low_noise, name):
    fit = fit_of(name, low_noise)
    assert fit.good.mean() > 0.999
    distance = (fit.white_line_energy - low_noise.maximum)[fit.good]
    where = low_noise.maximum[fit.good] - 8348.75
    assert np.polyfit(where, distance, 1)[0] == pytest.approx(0.0, abs=0.04)
    # what the shape does to the estimate is smooth in the energy of the line; the rest is noise
    smooth = np.polynomial.Polynomial.fit(where, distance, 8)(where)
    assert np.std((distance - smooth) / fit.white_line_energy_std[fit.good]) == pytest.approx(1.0, abs=0.1)
    if METHODS[name].measures == "maximum":
        assert abs(distance.mean()) < 0.02


def test_uncertainties_at_high_noise(high_noise):
    # the crossings of the centroid are no longer linear in the noise there, as its docstring says
    for name, most in {"trigonometric": 1.06, "half height": 1.08, "centroid": 1.3}.items():
        fit = fit_of(name, high_noise)
        error = fit.white_line_energy - high_noise.maximum
        smooth = np.polynomial.Polynomial.fit(high_noise.maximum, error, 4)(high_noise.maximum)
        assert 0.94 < np.std((error - smooth)[fit.good] / fit.white_line_energy_std[fit.good]) < most


def test_trigonometric_recovers_its_own_functions_exactly():
    energy = np.arange(8340.0, 8360.1, 0.5)
    t = (energy - 8349.0) / 5.0
    phases = np.array([[-0.6], [0.0], [0.5]])
    values = 1.0 + 0.1 * t + 0.02 * t**2 + np.cos(2 * np.pi / 3.0 * (t - phases))
    fit = estimate("trigonometric", spectra=values, energy=energy, noise_std=np.full(41, 0.01), window=WIDE)
    fine = np.linspace(-1.0, 1.0, 200_001)
    for k, phase in enumerate(phases):
        curve = 0.1 * fine + 0.02 * fine**2 + np.cos(2 * np.pi / 3.0 * (fine - phase))
        assert fit.white_line_energy[k] == pytest.approx(8349.0 + 5.0 * fine[np.argmax(curve)], abs=2e-4)
    np.testing.assert_allclose(fit.parameters[:, :3], [[1.0, 0.1, 0.02]] * 3, atol=1e-9)
    assert np.all(fit.reduced_chi2 < 1e-15)


def test_half_height_of_a_straight_rise_is_its_middle():
    energy = np.arange(8320.0, 8371.0)
    values = []
    for top in (8348.0, 8349.3, 8350.0):
        rise = np.clip((energy - (top - 16.0)) / 12.0, 0.0, 1.0)  # ends before the parabola of the top begins
        parabola = 0.2 - 0.01 * (energy - top) ** 2
        values.append(0.3 + 2.0 * (rise + np.where(parabola > 0, parabola, 0.0)))
    fit = estimate(
        "half height",
        spectra=np.array(values),
        energy=energy,
        noise_std=np.full(51, 0.001),
        window=(8345.0, 8353.0),
        order=2,
    )
    base, top = fit.parameters.T
    np.testing.assert_allclose(base, 0.3, atol=1e-9)
    assert np.all(np.abs(top - 2.7) < 0.03)
    # the middle between base and top on the straight rise
    expected = np.array([8348.0, 8349.3, 8350.0]) - 16.0 + 12.0 * 0.5 * (top - base) / 2.0
    np.testing.assert_allclose(fit.white_line_energy, expected, atol=1e-6)
    assert fit.good.all()


def test_centroid_of_a_triangle_is_that_of_the_triangle():
    energy = np.arange(8320.0, 8380.01, 0.1)
    low, top, high = 8344.0, 8348.0, 8352.0
    edge = np.where(energy < low, 0.0, 1.0) - np.where((energy > high) & (energy < 8357.5), 0.05, 0.0)
    even = edge + np.interp(energy, [low, top, high], [0.0, 1.0, 0.0])
    skew = edge + np.interp(energy, [low, 8346.0, high], [0.0, 1.0, 0.0])
    fit = estimate(
        "centroid",
        spectra=np.array([even, skew]),
        energy=energy,
        noise_std=np.full(energy.size, 1e-4),
        window=(8343.0, 8353.0),
    )
    np.testing.assert_allclose(fit.white_line_energy, [(low + top + high) / 3, (low + 8346.0 + high) / 3], atol=0.02)
    np.testing.assert_allclose(fit.parameters[:, 1], 4.0, atol=0.05)


@pytest.mark.parametrize("name", OTHERS)
def test_uncertainty_is_the_linear_propagation_of_the_noise(low_noise, name):
    """Each energy of one spectrum moved by a little: the root of the summed squares is the stated uncertainty."""
    spectrum, noise = low_noise.values[7].astype(np.float64), low_noise.noise_std
    step = 1e-4 * noise
    moved = np.concatenate([spectrum + np.diag(step), spectrum - np.diag(step), spectrum[np.newaxis]])
    fit = fit_of(name, low_noise, spectra=moved)
    derivative = (fit.white_line_energy[:61] - fit.white_line_energy[61:122]) / 2e-4
    assert fit.white_line_energy_std[-1] == pytest.approx(np.linalg.norm(derivative), rel=2e-3)


@pytest.mark.parametrize("name", METHODS)
def test_flags_say_why_and_neighbours_do_not_matter(high_noise, name):
    values = high_noise.values[:70].astype(np.float64)
    alone = fit_of(name, high_noise, spectra=values)
    values = values.copy()
    bad = [3, 20, 40, 69]
    values[3, 30], values[20] = np.nan, np.inf
    values[40] = np.random.default_rng(5).normal(0.0, high_noise.noise_std)
    values[69] = 0.0
    fit = fit_of(name, high_noise, spectra=values)
    rest = np.setdiff1d(np.arange(70), bad)
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(fit, field)[rest], getattr(alone, field)[rest])
    assert np.all(fit.flag[[3, 20]] == WhiteLineFlag.NON_FINITE)
    assert np.isnan(fit.white_line_energy[[3, 20]]).all()
    assert not fit.good[bad].any()
    part = fit_of(name, high_noise, spectra=values[33:34])
    assert part.white_line_energy[0] == fit.white_line_energy[33]


@pytest.mark.parametrize("name", OTHERS)
def test_spectra_without_a_white_line_are_flagged(truth, high_noise, name):
    rising = (truth.energies() - 8320.0) / 10.0
    fit = fit_of(name, high_noise, spectra=np.stack([rising, -rising]))
    assert not fit.good.any()


def test_compiled_and_python_kernels_agree(monkeypatch, high_noise):
    values = high_noise.values[:3].copy()
    values[1, 40] = np.nan
    for name in ("half height", "centroid"):
        compiled = fit_of(name, high_noise, spectra=values)
        with monkeypatch.context() as patch, np.errstate(all="ignore"):
            for module in (line_methods, around_maximum):
                for label, value in list(vars(module).items()):
                    if hasattr(value, "py_func") and value.py_func.__module__ == line_methods.__name__:
                        patch.setattr(module, label, value.py_func)
            python = fit_of(name, high_noise, spectra=values)
        for field in FIELDS:
            np.testing.assert_allclose(getattr(python, field), getattr(compiled, field), rtol=1e-9, atol=1e-9)


def test_what_cannot_be_done_is_refused(low_noise):
    with pytest.raises(MeasurementError, match="half height"):
        fit_of("parabola", low_noise)
    for name in METHODS:
        with pytest.raises(MeasurementError, match="one noise"):
            fit_of(name, low_noise, noise_std=np.ones((6000, 61)))
        with pytest.raises(MeasurementError, match="too few energies"):
            fit_of(name, low_noise, window=(8349.0, 8349.4))
    with pytest.raises(MeasurementError, match="order"):
        fit_of("half height", low_noise, order=7)
