from __future__ import annotations

import numpy as np
import pytest

from cathoscope.core.errors import MeasurementError
from cathoscope.xanes import line_steps
from cathoscope.xanes.line_steps import compress, fit_compressed
from cathoscope.xanes.line_tables import LineGrid, model_basis, plan_fit
from cathoscope.xanes.whiteline import WhiteLineFlag, fit_white_line

NAMES = ("white_line_energy", "white_line_energy_std", "flag", "reduced_chi2", "parameters")


@pytest.fixture(scope="module", params=["low_noise", "high_noise"])
def spectra(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def low_plan(low_noise):
    return plan_fit(energy=low_noise.energy, noise_std=low_noise.noise_std)


@pytest.fixture(scope="module")
def low_z(low_noise, low_plan):
    return compress(low_plan, low_noise.values)


def test_compression_is_the_projection_and_keeps_a_bad_spectrum_to_itself(low_noise, low_plan, low_z):
    np.testing.assert_allclose(low_z, low_noise.values @ low_plan.projector, rtol=1e-4, atol=1e-3)
    values = low_noise.values[:5].copy()
    values[2, 60] = np.nan
    z = compress(low_plan, values)
    assert np.isnan(z[2]).any()
    np.testing.assert_array_equal(np.delete(z, 2, axis=0), np.delete(low_z[:5], 2, axis=0))


@pytest.mark.parametrize(("window", "largest"), [((-12.0, 6.0), 1.1), (None, 1.03)])
def test_the_fit_comes_close_to_the_cramer_rao_bound_with_true_uncertainties(spectra, window, largest):
    grid = LineGrid(with_slope=window is None)
    plan = plan_fit(energy=spectra.energy, noise_std=spectra.noise_std, window=window, grid=grid)
    fit = fit_compressed(plan, compress(plan, spectra.values))
    assert fit.good.mean() > 0.999
    error, std = (fit.white_line_energy - spectra.maximum)[fit.good], fit.white_line_energy_std[fit.good]
    assert np.sqrt(np.mean(error**2)) < largest * spectra.bound
    assert abs(error.mean()) < 0.2 * spectra.bound
    assert np.std(error / std) == pytest.approx(1.0, abs=0.05)
    assert fit.reduced_chi2[fit.good].mean() == pytest.approx(1.0, abs=0.03)


def test_stored_steps_end_where_the_direct_fit_ends(low_noise):
    grid = LineGrid(with_slope=True)
    plan = plan_fit(energy=low_noise.energy, noise_std=low_noise.noise_std, n_components=28, window=None, grid=grid)
    values = low_noise.values[:400]
    stored = fit_compressed(plan, compress(plan, values))
    direct = fit_white_line(spectra=values, energy=low_noise.energy, noise_std=low_noise.noise_std)
    apart = (stored.white_line_energy - direct.white_line_energy) / direct.white_line_energy_std
    assert np.abs(apart).max() < 0.5
    assert np.sqrt(np.mean(apart**2)) < 0.1
    np.testing.assert_allclose(stored.white_line_energy_std, direct.white_line_energy_std, rtol=0.05)
    difference = np.abs(stored.parameters - direct.parameters) / direct.parameters.std(axis=0)
    assert np.median(difference, axis=0).max() < 0.1


def test_correlated_noise_is_whitened(truth, low_noise):
    rng = np.random.default_rng(31)
    n = low_noise.energy.size
    noise = 0.01
    covariance = noise**2 * 0.6 ** np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    clean = truth.curve(low_noise.energy, truth.parameters_of(8348.8, 0.7))
    values = clean + rng.normal(size=(3000, n)) @ np.linalg.cholesky(covariance).T
    pulls = []
    for stated in ({"covariance": covariance}, {"noise_std": np.full(n, noise)}):
        plan = plan_fit(energy=low_noise.energy, **stated)
        fit = fit_compressed(plan, compress(plan, values))
        pulls.append(np.std((fit.white_line_energy - 8348.8) / fit.white_line_energy_std))
    assert pulls[0] == pytest.approx(1.0, abs=0.06)
    assert pulls[1] > 1.4


def test_a_factor_on_the_noise_is_the_noise_stated_larger(low_noise, low_plan, low_z):
    n = 300
    other = plan_fit(energy=low_noise.energy, noise_std=3.0 * low_noise.noise_std)
    larger = fit_compressed(other, compress(other, low_noise.values[:n]))
    for scale in (9.0, np.full(n, 9.0)):
        scaled = fit_compressed(low_plan, low_z[:n], noise_scale=scale)
        np.testing.assert_allclose(scaled.white_line_energy, larger.white_line_energy, atol=1e-3)
        np.testing.assert_allclose(scaled.white_line_energy_std, larger.white_line_energy_std, rtol=1e-3)
        np.testing.assert_allclose(scaled.reduced_chi2, larger.reduced_chi2, rtol=0.02, atol=0.01)


def test_a_turned_basis_changes_nothing(low_noise, low_plan, low_z):
    basis = model_basis(energy=low_noise.energy, noise_std=low_noise.noise_std)
    turn = np.linalg.qr(np.random.default_rng(32).normal(size=(16, 16)))[0]
    plan = plan_fit(energy=low_noise.energy, noise_std=low_noise.noise_std, basis=basis @ turn)
    turned = fit_compressed(plan, compress(plan, low_noise.values[:300]))
    plain = fit_compressed(low_plan, low_z[:300])
    np.testing.assert_allclose(turned.white_line_energy, plain.white_line_energy, atol=2e-4)
    np.testing.assert_allclose(turned.white_line_energy_std, plain.white_line_energy_std, rtol=1e-3)


def test_a_basis_that_lacks_the_model_costs_precision_but_no_truth(truth, low_noise):
    # half of the directions are those of measured spectra in another range
    rng = np.random.default_rng(33)
    model = model_basis(energy=low_noise.energy, noise_std=low_noise.noise_std, n_components=8)
    basis = np.linalg.qr(np.concatenate([model, rng.normal(size=(61, 4))], axis=1))[0]
    plan = plan_fit(energy=low_noise.energy, noise_std=low_noise.noise_std, basis=basis)
    assert plan.n_components == 12
    fit = fit_compressed(plan, compress(plan, low_noise.values))
    pull = ((fit.white_line_energy - low_noise.maximum) / fit.white_line_energy_std)[fit.good]
    assert np.std(pull) == pytest.approx(1.0, abs=0.06)
    assert abs(np.mean(pull)) < 0.25


def test_another_edge_is_the_same_fit_elsewhere(low_noise, low_plan, low_z):
    shift = 6539.0 - 8332.8
    plan = plan_fit(energy=low_noise.energy + shift, noise_std=low_noise.noise_std)
    assert plan.edge_energy == 6539.0
    elsewhere = fit_compressed(plan, compress(plan, low_noise.values[:200]))
    np.testing.assert_allclose(
        elsewhere.white_line_energy - shift, fit_compressed(low_plan, low_z[:200]).white_line_energy, atol=1e-3
    )


def test_results_do_not_depend_on_the_batch(spectra):
    plan = plan_fit(energy=spectra.energy, noise_std=spectra.noise_std)
    z = compress(plan, spectra.values[:1500])
    whole = fit_compressed(plan, z)
    parts = [fit_compressed(plan, z[a:b]) for a, b in ((0, 1), (1, 38), (38, 1500))]
    for name in NAMES:
        np.testing.assert_array_equal(
            np.concatenate([getattr(part, name) for part in parts]), getattr(whole, name), err_msg=name
        )


def test_spectra_without_a_white_line_have_a_reason(truth, low_noise, low_plan, low_z):
    z = np.repeat(low_z[:1], 6, axis=0)
    energy = low_noise.energy
    z[0] = np.nan
    z[1] = np.inf
    z[2] = -low_z[0]  # upside down
    z[3] = np.random.default_rng(34).normal(size=16)  # noise
    z[4] = truth.curve(energy, truth.parameters_of(8343.0, 0.7)) @ low_plan.projector
    fit = fit_compressed(low_plan, z)
    expected = [WhiteLineFlag.NON_FINITE] * 2 + [WhiteLineFlag.NO_EDGE] * 2 + [WhiteLineFlag.AT_LIMIT]
    assert list(fit.flag[:5]) == expected
    assert fit.good[5]
    assert np.isnan(fit.white_line_energy[[0, 1, 3]]).all()
    dip = truth.curve(energy, np.array([0.1, 0.0, 0.7, -0.3, 8342.0, 8348.5, 2.6])) @ low_plan.projector
    assert fit_compressed(low_plan, dip[None]).flag[0] in (WhiteLineFlag.NO_MAXIMUM, WhiteLineFlag.NO_CONVERGENCE)


def test_noise_alone_has_no_edge(low_plan):
    z = np.random.default_rng(35).normal(size=(3000, 16))
    assert np.all(fit_compressed(low_plan, z).flag == WhiteLineFlag.NO_EDGE)
    assert not np.all(fit_compressed(low_plan, z, minimum_significance=1.0).flag == WhiteLineFlag.NO_EDGE)


def test_the_kernels_do_compiled_what_they_do_in_python(low_plan, low_z, monkeypatch):
    some = low_z[:4]
    compiled = fit_compressed(low_plan, some)
    for name, kernel in vars(line_steps).copy().items():
        if hasattr(kernel, "py_func"):
            monkeypatch.setattr(line_steps, name, kernel.py_func)
    plain = fit_compressed(low_plan, some)
    for name in NAMES:
        np.testing.assert_allclose(getattr(plain, name), getattr(compiled, name), rtol=1e-3, err_msg=name)


def test_what_does_not_fit_the_plan_is_refused(low_noise, low_plan, low_z):
    with pytest.raises(MeasurementError, match="energies of the plan"):
        compress(low_plan, low_noise.values[:, 1:])
    with pytest.raises(MeasurementError, match="coefficients"):
        fit_compressed(low_plan, low_z[:, 1:])
    with pytest.raises(MeasurementError, match="noise scale"):
        fit_compressed(low_plan, low_z[:5], noise_scale=np.ones(4))
