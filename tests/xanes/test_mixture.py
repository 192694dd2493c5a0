from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

from cathoscope.core.errors import MeasurementError
from cathoscope.xanes.absorbance import optical_depth_from_counts
from cathoscope.xanes.mixture import fit_components, singular_spectrum

ENERGY = np.linspace(700.0, 730.0, 60)


def reference_spectra(count: int = 2, distance: float = 1.5) -> np.ndarray:
    """Edges with white lines ``distance`` eV apart, [component, energy]."""
    centres = 708.0 + distance * np.arange(count)
    step = 0.5 + np.arctan(ENERGY - centres[:, None] + 1.0) / np.pi
    return 0.3 * step + np.exp(-0.5 * (ENERGY - centres[:, None]) ** 2)


def noise_of(kind: str, rng: np.random.Generator, pixels: int) -> np.ndarray | None:
    by_energy = np.linspace(1.0, 2.0, ENERGY.size)
    return {
        "unknown": None,
        "by energy": by_energy,
        "by pixel and energy": by_energy * rng.uniform(0.5, 2.0, size=(pixels, 1)),
    }[kind]


@pytest.mark.parametrize("rank", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("kind", ["unknown", "by energy", "by pixel and energy"])
def test_the_number_of_components_is_found(rank, kind):
    counts = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        noise = noise_of(kind, rng, 150)
        std = np.ones(ENERGY.size) if noise is None else noise
        signal = rng.normal(size=(150, rank)) @ rng.normal(size=(rank, ENERGY.size)) * 0.5 * np.atleast_2d(std)[:1]
        result = singular_spectrum(optical_depth=signal + std * rng.normal(size=(150, ENERGY.size)), noise_std=noise)
        counts.append(result.count)
    assert counts == [rank] * 12


def test_the_floor_is_what_noise_alone_stays_below_and_the_noise_is_recovered():
    rng = np.random.default_rng(51)
    largest = []
    for _ in range(200):
        result = singular_spectrum(optical_depth=rng.normal(size=(50, 30)), noise_std=np.ones(30))
        largest.append(result.values[0])
    assert np.mean(np.array(largest) > result.noise_floor[0]) < 0.015
    assert np.max(largest) > 0.95 * result.noise_floor[0]
    # without stated noise the values come out in units of it
    noise = 0.037 * rng.normal(size=(500, 40))
    known = singular_spectrum(optical_depth=noise, noise_std=np.full(40, 0.037))
    found = singular_spectrum(optical_depth=noise)
    np.testing.assert_allclose(found.values, known.values, rtol=0.02)


def test_singular_values_and_spectra_are_those_of_the_whitened_matrix():
    rng = np.random.default_rng(52)
    data = rng.normal(size=(70, 30)) @ np.diag(np.linspace(1, 3, 30))
    noise = np.linspace(0.1, 0.4, 30)
    result = singular_spectrum(optical_depth=data, noise_std=noise)
    _, values, vectors = np.linalg.svd(data / noise, full_matrices=False)
    np.testing.assert_allclose(result.values, values, rtol=1e-10)
    np.testing.assert_allclose(np.abs(result.spectra / noise), np.abs(vectors), atol=1e-9)


def test_spectra_of_a_noisy_mixture_span_the_references():
    rng = np.random.default_rng(53)
    references = reference_spectra()
    data = rng.uniform(0, 1, size=(2000, 2)) @ references + 0.01 * rng.normal(size=(2000, ENERGY.size))
    result = singular_spectrum(optical_depth=data, noise_std=np.full(ENERGY.size, 0.01))
    assert result.count == 2
    basis = np.linalg.qr(result.spectra[:2].T)[0]
    left = references.T - basis @ (basis.T @ references.T)
    assert np.linalg.norm(left) < 0.005 * np.linalg.norm(references)


def test_pixels_with_nan_are_left_out_of_the_singular_spectrum():
    data = np.random.default_rng(54).normal(size=(50, 20))
    with_nan = np.vstack([data, np.full((3, 20), np.nan)])
    result = singular_spectrum(optical_depth=with_nan, noise_std=np.ones(20))
    assert result.pixel_count == 50
    np.testing.assert_array_equal(result.values, singular_spectrum(optical_depth=data, noise_std=np.ones(20)).values)


@pytest.mark.parametrize("background", ["none", "constant", "linear"])
@pytest.mark.parametrize("kind", ["unknown", "by energy", "by pixel and energy"])
def test_noise_free_mixtures_come_back(background, kind):
    rng = np.random.default_rng(55)
    weight = rng.uniform(0, 1, size=(3, 40))
    terms = {"none": 0, "constant": 1, "linear": 2}[background]
    coefficients = rng.normal(size=(terms, 40))
    columns = np.stack([np.ones(60), np.linspace(-1, 1, 60)])[:terms]
    data = weight.T @ reference_spectra(3) + coefficients.T @ columns
    fit = fit_components(
        optical_depth=data,
        references=reference_spectra(3),
        energy=ENERGY,
        noise_std=noise_of(kind, rng, 40),
        background=background,
    )
    np.testing.assert_allclose(fit.weight, weight, atol=1e-9)
    np.testing.assert_allclose(fit.background, coefficients, atol=1e-9)
    np.testing.assert_allclose(fit.residual, 0.0, atol=1e-9)
    assert fit.warnings == ()


@pytest.mark.parametrize("kind", ["unknown", "by energy", "by pixel and energy"])
@pytest.mark.parametrize("non_negative", [True, False])
def test_weights_are_unbiased_and_uncertainties_true(kind, non_negative):
    rng = np.random.default_rng(56)
    weight = rng.uniform(0.5, 1.0, size=(2, 4000))  # far enough from zero for the bound not to act
    noise = noise_of(kind, rng, 4000)
    std = 0.03 * (np.ones(ENERGY.size) if noise is None else noise)
    data = weight.T @ reference_spectra() + 0.8 + std * rng.normal(size=(4000, ENERGY.size))
    fit = fit_components(
        optical_depth=data,
        references=reference_spectra(),
        noise_std=None if noise is None else std,
        background="constant",
        non_negative=non_negative,
    )
    pull = (fit.weight - weight) / fit.weight_std
    width = np.sqrt(57 / 55) if noise is None else 1.0
    np.testing.assert_allclose(pull.mean(axis=1), 0.0, atol=0.065)
    np.testing.assert_allclose(pull.std(axis=1), width, atol=0.05)
    assert fit.reduced_chi2.mean() == pytest.approx(0.03**2 if noise is None else 1.0, rel=0.02)


def test_an_absent_component_is_held_at_zero_in_half_the_pixels_and_its_bias_is_that_of_a_cut_normal():
    rng = np.random.default_rng(57)
    weight = np.stack([np.ones(8000), np.zeros(8000)])
    data = weight.T @ reference_spectra() + 0.05 * rng.normal(size=(8000, ENERGY.size))
    fit = fit_components(
        optical_depth=data, references=reference_spectra(), noise_std=np.full(ENERGY.size, 0.05), non_negative=True
    )
    held = fit.weight[1] == 0
    assert held.mean() == pytest.approx(0.5, abs=0.025)
    free_std = fit.weight_std[1, held][0]
    np.testing.assert_allclose(fit.weight_std[1], free_std)  # a held weight keeps its free uncertainty
    assert fit.weight[1].mean() / free_std == pytest.approx(1 / np.sqrt(2 * np.pi), abs=0.03)
    # with the absent one held, the present one is known better
    assert np.all(fit.weight_std[0, held] < fit.weight_std[0, ~held].min())


@given(seed=st.integers(0, 10_000), count=st.integers(1, 4))
@settings(max_examples=25, deadline=None)
def test_non_negative_weights_are_those_of_an_independent_algorithm(seed, count):
    rng = np.random.default_rng(seed)
    references = reference_spectra(count, distance=0.7)
    data = rng.normal(size=(6, count)) @ references + 0.1 * rng.normal(size=(6, ENERGY.size))
    std = rng.uniform(0.5, 2.0, size=(6, ENERGY.size))
    for noise in (None, std[0], std):
        fit = fit_components(optical_depth=data, references=references, noise_std=noise)
        for pixel in range(6):
            w = np.ones(ENERGY.size) if noise is None else 1 / np.atleast_2d(noise)[pixel if noise is std else 0]
            expected, _ = nnls(references.T * w[:, None], data[pixel] * w)
            np.testing.assert_allclose(fit.weight[:, pixel], expected, atol=1e-8)


def test_a_background_may_be_negative_while_weights_may_not():
    data = 0.5 * reference_spectra()[:1] - 2.0
    fit = fit_components(optical_depth=data, references=reference_spectra(), background="constant")
    np.testing.assert_allclose(fit.weight[:, 0], [0.5, 0.0], atol=1e-9)
    np.testing.assert_allclose(fit.background[:, 0], [-2.0], atol=1e-9)


def test_a_pixel_with_nan_is_nan_and_harms_no_other():
    rng = np.random.default_rng(58)
    data = rng.uniform(0, 1, size=(5, 2)) @ reference_spectra() + 0.01 * rng.normal(size=(5, ENERGY.size))
    for noise in (None, np.full(ENERGY.size, 0.01), np.full(data.shape, 0.01)):
        others = noise if noise is None or noise.ndim == 1 else noise[1:]
        alone = fit_components(optical_depth=data[1:], references=reference_spectra(), noise_std=others)
        bad = data.copy()
        bad[0, 4] = np.nan
        fit = fit_components(optical_depth=bad, references=reference_spectra(), noise_std=noise)
        assert np.isnan(fit.weight[:, 0]).all()
        assert np.isnan(fit.weight_std[:, 0]).all()
        assert np.isnan(fit.residual[0])
        np.testing.assert_allclose(fit.weight[:, 1:], alone.weight, rtol=1e-12)
        assert fit.warnings == ("1 of 5 pixels hold NaN or infinity and were left out.",)


def test_nearly_equal_references_are_warned_about_and_equal_ones_refused():
    data = np.ones((3, ENERGY.size))
    near = fit_components(optical_depth=data, references=reference_spectra(2, distance=0.02))
    assert near.condition_number > 30
    assert "nearly alike" in near.warnings[0]
    far = fit_components(optical_depth=data, references=reference_spectra(2, distance=5.0))
    assert 1 <= far.condition_number < 30
    with pytest.raises(MeasurementError, match="linearly dependent"):
        fit_components(optical_depth=data, references=reference_spectra(2, distance=0.0))
    with pytest.raises(MeasurementError, match="linearly dependent"):
        fit_components(optical_depth=data, references=np.ones((1, ENERGY.size)), background="constant")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"optical_depth": np.ones(60)}, "stack of spectra"),
        ({"references": np.ones((2, 59))}, "do not match the stack"),
        ({"references": np.full((2, 60), np.nan)}, "holds NaN"),
        ({"noise_std": np.ones(59)}, "noise does not match"),
        ({"noise_std": np.zeros(60)}, "not positive"),
        ({"background": "linear"}, "needs the energies"),
        ({"optical_depth": np.ones((3, 2)), "references": np.eye(2)}, "too few energies"),
    ],
)
def test_what_cannot_be_fitted_is_refused(change, words):
    arguments = {"optical_depth": np.ones((3, 60)), "references": reference_spectra()} | change
    with pytest.raises(MeasurementError, match=words):
        fit_components(**arguments)


def test_too_few_spectra_have_no_singular_spectrum():
    with pytest.raises(MeasurementError, match="too few spectra"):
        singular_spectrum(optical_depth=np.ones((2, 60)))


@pytest.fixture(scope="module")
def iron_particles(data_folder):
    """Optical depth [pixel, energy] with its noise, energies and component spectra of a measured Fe L-edge stack."""
    folder = data_folder / "imaging/stxm-fe-l-toner/71214078_FigS4"
    if not folder.is_dir():
        pytest.skip(f"the Fe L-edge stack is not at {folder}")
    energy, incident = np.loadtxt(folder / "i0.xsp", unpack=True)
    counts = np.stack([np.loadtxt(path) for path in sorted(folder.glob("*.xim"))])
    depth, std = optical_depth_from_counts(counts=counts, incident=incident, incident_std=np.zeros(incident.size))
    spectra = {name: np.loadtxt(folder / name)[:, 1] for name in ("oxidized.r", "oxidized.t", "reduced.r", "reduced.t")}
    return energy, depth.reshape(len(energy), -1).T, std.reshape(len(energy), -1).T, spectra


def test_measured_components_r_is_t_plus_a_line(iron_particles):
    energy, _, _, spectra = iron_particles
    for name in ("oxidized", "reduced"):
        fit = fit_components(
            optical_depth=spectra[f"{name}.r"][np.newaxis],
            references=spectra[f"{name}.t"][np.newaxis],
            energy=energy,
            background="linear",
        )
        assert fit.weight[0, 0] == pytest.approx(1.0, abs=0.005)
        assert fit.residual[0] < 0.003
        # only t starts from zero: a background has been taken off it
        before_edge = spectra[f"{name}.t"][energy < 705.0].mean()
        assert before_edge < 0.05 * spectra[f"{name}.t"].max()
        assert spectra[f"{name}.r"][energy < 705.0].mean() > 1.0


def test_measured_white_line_of_the_oxidized_component_is_higher(iron_particles):
    energy, _, _, spectra = iron_particles
    top = {name: energy[spectra[name].argmax()] for name in ("oxidized.t", "reduced.t")}
    assert top["oxidized.t"] - top["reduced.t"] == pytest.approx(1.5, abs=0.3)


def test_measured_stack_is_two_components_and_a_line(iron_particles):
    energy, depth, std, spectra = iron_particles
    references = np.stack([spectra["oxidized.t"], spectra["reduced.t"]])
    both = fit_components(optical_depth=depth, references=references, energy=energy, noise_std=std, background="linear")
    assert both.warnings == ()
    rms = np.sqrt(np.mean(both.residual**2))
    signal = np.sqrt(np.mean((depth - depth.mean(axis=1, keepdims=True)) ** 2))
    assert rms < 0.025
    assert rms < 0.3 * signal
    # either alone explains less, and in the pixels with most of the other far less
    for k in range(2):
        alone = fit_components(
            optical_depth=depth, references=references[[k]], energy=energy, noise_std=std, background="linear"
        )
        rich = both.weight[1 - k] > np.percentile(both.weight[1 - k], 98)
        assert alone.residual[rich].mean() > 1.5 * both.residual[rich].mean()
    # the incident spectrum was measured elsewhere: an optical depth of about 0.83 beside the particles
    assert np.median(both.background[0]) == pytest.approx(0.83, abs=0.05)


def test_measured_stack_has_components_above_its_noise(iron_particles):
    _, depth, std, _ = iron_particles
    result = singular_spectrum(optical_depth=depth, noise_std=std)
    assert 3 <= result.count < 10  # background and two kinds of iron; drift and alignment add more
    assert result.values[2] > 2 * result.noise_floor[2]
