from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cathoscope.core.errors import MeasurementError
from cathoscope.xanes import around_maximum, polynomial
from cathoscope.xanes.around_maximum import polynomial_around_maximum
from cathoscope.xanes.polynomial import polynomial_white_line
from cathoscope.xanes.whiteline import WhiteLineFlag

WIDE = (8344.0, 8354.0)
FIELDS = ("white_line_energy", "white_line_energy_std", "flag", "reduced_chi2", "parameters")


@pytest.fixture(scope="module")
def clean(truth):
    """Noise-free spectra, [spectrum, energy]."""
    maxima = np.linspace(8347.0, 8350.5, 8)
    parameters = np.array(
        [truth.parameters_of(m, jump) for m, jump in zip(maxima, np.linspace(0.5, 0.9, 8), strict=True)]
    )
    return truth.curve(truth.energies(), parameters)


def by_numpy(values, energy, window, order, noise):
    """Highest real stationary point or end of numpy's polynomial in the window, of each spectrum."""
    inside = (energy >= window[0]) & (energy <= window[1])
    found = []
    for spectrum in values[:, inside]:
        fit = np.polynomial.Polynomial.fit(energy[inside], spectrum, order, w=1.0 / noise[inside])
        flat = fit.deriv().roots()
        flat = flat[np.isreal(flat)].real
        points = np.array([energy[inside][0], energy[inside][-1], *flat[(flat > window[0]) & (flat < window[1])]])
        found.append(points[np.argmax(fit(points))])
    return np.array(found)


@pytest.mark.parametrize("order", [2, 3, 4])
@pytest.mark.parametrize("window", [WIDE, (8345.5, 8352.0)])
def test_the_maximum_is_that_of_numpys_polynomial(high_noise, order, window):
    values, energy, noise = high_noise.values[:150], high_noise.energy, high_noise.noise_std
    fit = polynomial_white_line(spectra=values, energy=energy, window=window, order=order, noise_std=noise)
    expected = by_numpy(values, energy, window, order, noise)
    found = np.isfinite(fit.white_line_energy)
    assert found.mean() > 0.98
    np.testing.assert_allclose(fit.white_line_energy[found], expected[found], atol=1e-6)


def test_the_top_of_a_parabola_is_exact():
    energy = np.linspace(8340.0, 8360.0, 41)
    top = np.array([8346.3, 8350.0, 8353.8])
    values = 2.0 - 0.01 * (energy - top[:, np.newaxis]) ** 2
    for order in (2, 3, 4):
        fit = polynomial_white_line(spectra=values, energy=energy, window=WIDE, order=order)
        assert fit.good.all()
        np.testing.assert_allclose(fit.white_line_energy, top, atol=1e-6)
        np.testing.assert_allclose(np.max(fit.parameters[:, 0] - 2.0 + 0.01 * (8349.0 - top) ** 2), 0.0, atol=1e-9)
        around = polynomial_around_maximum(
            spectra=values, energy=energy, window=WIDE, order=order, noise_std=np.full(41, 1e-3)
        )
        assert around.good.all()
        np.testing.assert_allclose(around.white_line_energy, top, atol=1e-6)
        np.testing.assert_allclose(around.parameters, [[2.0, -0.02]] * 3, atol=1e-8)


@pytest.mark.parametrize("order", [2, 3, 4])
def test_the_uncertainty_is_the_spread_over_noise(truth, clean, order):
    rng = np.random.default_rng(24)
    window, energy = (8345.0, 8352.5), truth.energies()
    noise_free = polynomial_white_line(spectra=clean[3:4], energy=energy, window=window, order=order)
    for stated in (True, False):
        values = np.repeat(clean[3:4], 4000, axis=0) + rng.normal(0.0, 0.002, size=(4000, clean.shape[1]))
        # the misfit of the shape counts as noise where noise is not stated, so compare with a shape it can follow
        if not stated:
            values += fitted_polynomial(noise_free, energy, window) - clean[3]
        noise = np.full(clean.shape[1], 0.002) if stated else None
        fit = polynomial_white_line(spectra=values, energy=energy, window=window, order=order, noise_std=noise)
        error = fit.white_line_energy - noise_free.white_line_energy
        assert fit.good.all()
        freedom = 15 - order - 1
        width = 1.0 if stated else np.sqrt(freedom / (freedom - 2))
        assert np.std(error / fit.white_line_energy_std) == pytest.approx(width, abs=0.06)
        if not stated:
            assert fit.reduced_chi2.mean() == pytest.approx(0.002**2, rel=0.05)


def fitted_polynomial(fit, energy, window):
    """The fitted polynomial on the whole axis."""
    inside = energy[(energy >= window[0]) & (energy <= window[1])]
    t = (2 * energy - inside[0] - inside[-1]) / (inside[-1] - inside[0])
    return np.polynomial.polynomial.polyval(t, fit.parameters[0])


@pytest.mark.parametrize("order", [2, 3, 4])
def test_around_the_maximum_the_scale_is_true_and_so_is_the_uncertainty(low_noise, high_noise, order):
    for spectra, most in ((low_noise, 1.05), (high_noise, 1.12)):
        fit = polynomial_around_maximum(
            spectra=spectra.values, energy=spectra.energy, window=WIDE, order=order, noise_std=spectra.noise_std
        )
        assert fit.good.mean() > 0.998
        error = (fit.white_line_energy - spectra.maximum)[fit.good]
        where = spectra.maximum[fit.good] - spectra.maximum.mean()
        slope, offset = np.polyfit(where, error, 1)
        assert abs(slope) < 0.03
        # the shape leaves a smooth error of a few hundredths of an eV, which no uncertainty holds
        assert abs(offset) < {2: 0.16, 3: 0.03, 4: 0.02}[order]
        smooth = np.polynomial.Polynomial.fit(where, error, 8)(where)
        assert 0.95 < np.std((error - smooth) / fit.white_line_energy_std[fit.good]) < most


def test_around_the_maximum_the_energy_does_not_jump_with_the_nearest_energy(truth):
    maxima = np.linspace(8348.0, 8349.0, 41)
    values = truth.curve(truth.energies(), np.array([truth.parameters_of(m, 0.7) for m in maxima]))
    fit = polynomial_around_maximum(
        spectra=values, energy=truth.energies(), window=WIDE, order=3, noise_std=np.full(61, 0.01)
    )
    np.testing.assert_allclose(np.diff(fit.white_line_energy), 0.025, atol=0.004)


def test_flags_say_why():
    energy = np.linspace(8340.0, 8360.0, 41)
    rng = np.random.default_rng(3)
    values = np.stack(
        [
            -((energy - 8345.0) ** 2) / 100,
            -((energy - 8350.0) ** 2) / 100,
            (energy - 8350.0) ** 2 / 100,
            rng.normal(0.0, 0.01, 41),
            np.zeros(41),
            np.full(41, np.nan),
            np.where(energy == 8350.0, np.inf, 0.0),
        ]
    )
    noise, window = np.full(41, 0.01), (8347.0, 8354.0)
    expected = [
        WhiteLineFlag.AT_LIMIT,
        WhiteLineFlag.GOOD,
        WhiteLineFlag.NO_MAXIMUM,
        WhiteLineFlag.NO_MAXIMUM,
        WhiteLineFlag.NO_MAXIMUM,
        WhiteLineFlag.NON_FINITE,
        WhiteLineFlag.NON_FINITE,
    ]
    fit = polynomial_white_line(spectra=values, energy=energy, window=window, order=2, noise_std=noise)
    assert [WhiteLineFlag(flag) for flag in fit.flag] == expected
    assert fit.white_line_energy[0] == 8347.0
    assert np.isnan(fit.white_line_energy_std[[0, 2, 5, 6]]).all()
    around = polynomial_around_maximum(spectra=values, energy=energy, window=window, order=2, noise_std=noise)
    assert not around.good[[0, 2, 3, 4, 5, 6]].any()
    assert around.good[1]
    assert around.flag[0] == WhiteLineFlag.AT_LIMIT
    assert np.all(around.flag[5:] == WhiteLineFlag.NON_FINITE)


def test_pure_noise_has_a_white_line_once_in_a_thousand(truth):
    values = np.random.default_rng(4).normal(0.0, 0.01, (4000, 61))
    fit = polynomial_white_line(spectra=values, energy=truth.energies(), window=WIDE, noise_std=np.full(61, 0.01))
    assert fit.good.mean() < 0.003


@pytest.mark.parametrize("method", [polynomial_white_line, polynomial_around_maximum])
def test_results_do_not_depend_on_the_batch_or_the_memory_order(high_noise, method):
    values = high_noise.values[:150].copy()
    values[3, 30] = np.nan
    arguments = {"energy": high_noise.energy, "noise_std": high_noise.noise_std, "window": WIDE}
    whole = method(spectra=values, **arguments)
    parts = [method(spectra=values[a:b], **arguments) for a, b in ((0, 1), (1, 90), (90, 150))]
    turned = method(spectra=np.asfortranarray(values), **arguments)
    for name in FIELDS:
        joined = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(joined, getattr(whole, name))
        np.testing.assert_array_equal(getattr(turned, name), getattr(whole, name))


@given(shift=st.floats(-8000.0, 20000.0), scale=st.floats(1e-3, 1e4), offset=st.floats(-10.0, 10.0))
@settings(max_examples=15, deadline=None)
def test_shifts_scales_and_offsets_do_what_they_should(low_noise, shift, scale, offset):
    values, energy, noise = low_noise.values[:5].astype(float), low_noise.energy, low_noise.noise_std
    window = (WIDE[0] + shift - 0.01, WIDE[1] + shift + 0.01)
    for method in (polynomial_white_line, polynomial_around_maximum):
        plain = method(spectra=values, energy=energy, noise_std=noise, window=WIDE)
        other = method(spectra=(values + offset) * scale, energy=energy + shift, noise_std=noise * scale, window=window)
        np.testing.assert_allclose(other.white_line_energy, plain.white_line_energy + shift, atol=1e-6)
        np.testing.assert_allclose(other.white_line_energy_std, plain.white_line_energy_std, rtol=1e-5)


@pytest.mark.parametrize("module", [polynomial, around_maximum])
def test_compiled_and_python_kernels_agree(monkeypatch, high_noise, module):
    values = high_noise.values[:3].copy()
    values[1, 30] = np.nan
    method = polynomial_white_line if module is polynomial else polynomial_around_maximum
    arguments = {"spectra": values, "energy": high_noise.energy, "noise_std": high_noise.noise_std, "window": WIDE}
    compiled = method(**arguments)
    for name, value in list(vars(module).items()):
        if hasattr(value, "py_func"):
            monkeypatch.setattr(module, name, value.py_func)
    with np.errstate(invalid="ignore", divide="ignore"):
        python = method(**arguments)
    for name in FIELDS:
        np.testing.assert_allclose(getattr(python, name), getattr(compiled, name), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"order": 5}, "order"),
        ({"noise_std": np.ones((3, 61))}, "one noise"),
        ({"noise_std": np.zeros(61)}, "positive"),
        ({"window": (8349.0, 8350.0)}, "too few energies"),
        ({"spectra": np.zeros((3, 60))}, "do not match"),
    ],
)
@pytest.mark.parametrize("method", [polynomial_white_line, polynomial_around_maximum])
def test_what_cannot_be_fitted_is_refused(truth, method, change, words):
    arguments = {
        "spectra": np.zeros((3, 61)),
        "energy": truth.energies(),
        "noise_std": np.ones(61),
        "window": WIDE,
    } | change
    with pytest.raises(MeasurementError, match=words):
        method(**arguments)
