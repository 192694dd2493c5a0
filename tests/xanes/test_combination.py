"""Linear combination fits: exact mixtures, other algorithms, bounds, uncertainties and warnings."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import lsq_linear, minimize, nnls

from cathoscope.core.errors import MeasurementError
from cathoscope.xanes.combination import CombinationOptions, fit_combination

AXIS = np.arange(7090.0, 7190.0, 0.5)
ENERGY = np.arange(7100.0, 7180.0, 1.0)
CENTRES = (7118.0, 7121.0, 7124.5)


def shape(energy: np.ndarray, centre: float) -> np.ndarray:
    """Arctangent edge with a white line 6 eV above it."""
    return 0.5 + np.arctan((energy - centre) / 2.0) / np.pi + 0.6 * np.exp(-0.5 * ((energy - centre - 6.0) / 3.0) ** 2)


def library(axis: np.ndarray = AXIS, centres: tuple[float, ...] = CENTRES) -> np.ndarray:
    return np.stack([shape(axis, centre) for centre in centres])


def noisy(weights: list[float], seed: int, std: float = 0.05) -> np.ndarray:
    """A mixture on the energies of the library, so that nothing is interpolated."""
    return weights @ library() + np.random.default_rng(seed).normal(0, std, AXIS.size)


@settings(max_examples=25, deadline=None)
@given(
    weights=st.lists(st.floats(0.05, 2.0), min_size=3, max_size=3),
    shift=st.floats(-1.4, 1.4),
    non_negative=st.booleans(),
)
def test_exact_mixture_and_its_shift_are_recovered(weights: list[float], shift: float, non_negative: bool) -> None:
    spectrum = weights @ library(ENERGY + shift)
    fit = fit_combination(
        spectrum=spectrum,
        energy=ENERGY,
        references=library(),
        reference_energy=AXIS,
        options=CombinationOptions(non_negative=non_negative, max_energy_shift=1.5),
    )
    # what is left is the interpolation of the references
    assert fit.energy_shift == pytest.approx(shift, abs=2e-4)
    np.testing.assert_allclose(fit.weight, weights, atol=3e-3 * sum(weights))
    assert fit.r_factor < 1e-8
    np.testing.assert_allclose(fit.fit, spectrum, atol=1e-3 * sum(weights))


def test_mixture_on_the_energies_of_the_references_is_exact() -> None:
    weights = np.array([0.5, 0.3, 0.2])
    fit = fit_combination(spectrum=weights @ library(), energy=AXIS, references=library())
    np.testing.assert_allclose(fit.weight, weights, atol=1e-11)
    np.testing.assert_allclose(fit.fraction, weights, atol=1e-11)
    assert fit.r_factor < 1e-24
    assert fit.remarks == ()


@pytest.mark.parametrize("seed", range(12))
def test_non_negative_weights_are_those_of_nnls(seed: int) -> None:
    spectrum = noisy([0.02, 0.9, -0.05], seed)
    fit = fit_combination(spectrum=spectrum, energy=AXIS, references=library(), std=0.05)
    expected, residual = nnls(library().T, spectrum)
    np.testing.assert_allclose(fit.weight, expected, atol=1e-9)
    assert fit.r_factor == pytest.approx(residual**2 / np.sum(spectrum**2), rel=1e-9)
    held = [f"reference {k + 1}" for k in np.flatnonzero(expected == 0)]
    assert fit.remarks == ((f"Held at zero: {', '.join(held)}.",) if held else ())


@pytest.mark.parametrize("seed", range(6))
def test_uneven_noise_weights_the_points(seed: int) -> None:
    std = np.linspace(0.02, 0.2, AXIS.size)
    spectrum = noisy([0.4, 0.5, 0.1], seed)
    fit = fit_combination(
        spectrum=spectrum,
        energy=AXIS,
        references=library(),
        std=std,
        options=CombinationOptions(non_negative=False),
    )
    solved = lsq_linear((library() / std).T, spectrum / std)
    np.testing.assert_allclose(fit.weight, solved.x, atol=1e-9)
    assert fit.reduced_chi2 == pytest.approx(2 * solved.cost / (AXIS.size - 3), rel=1e-9)


@pytest.mark.parametrize("non_negative", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_weights_that_sum_to_one_are_those_of_a_general_minimiser(seed: int, non_negative: bool) -> None:
    spectrum, references = noisy([0.02, 1.05, -0.08], seed), library()
    fit = fit_combination(
        spectrum=spectrum,
        energy=AXIS,
        references=references,
        options=CombinationOptions(non_negative=non_negative, sum_to_one=True),
    )
    found = minimize(
        lambda weight: np.sum((weight @ references - spectrum) ** 2),
        np.full(3, 1 / 3),
        jac=lambda weight: 2 * references @ (weight @ references - spectrum),
        bounds=[(0, None) if non_negative else (None, None)] * 3,
        constraints={"type": "eq", "fun": lambda weight: weight.sum() - 1, "jac": lambda _: np.ones(3)},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    assert fit.weight.sum() == pytest.approx(1.0, abs=1e-12)
    np.testing.assert_allclose(fit.weight, found.x, atol=1e-4)
    assert np.sum((fit.fit - spectrum) ** 2) <= found.fun * (1 + 1e-9)


@pytest.mark.parametrize("sum_to_one", [True, False])
def test_covariance_is_that_of_weights_refitted_to_noisy_data(sum_to_one: bool) -> None:
    weights = np.array([0.4, 0.35, 0.25])
    options = CombinationOptions(sum_to_one=sum_to_one, max_energy_shift=0.5)
    random = np.random.default_rng(11)
    fits = [
        fit_combination(
            spectrum=weights @ library(ENERGY) + random.normal(0, 0.005, ENERGY.size),
            energy=ENERGY,
            references=library(),
            reference_energy=AXIS,
            std=0.005,
            options=options,
        )
        for _ in range(600)
    ]
    spread = np.cov(np.array([[*fit.weight, fit.energy_shift] for fit in fits]).T)
    stated = np.mean([fit.covariance for fit in fits], axis=0)
    std = np.sqrt(np.diag(stated))
    # 600 samples know a correlation to 0.04
    np.testing.assert_allclose(spread / np.outer(std, std), stated / np.outer(std, std), atol=0.16)


def test_r_factor_of_one_reference_in_closed_form() -> None:
    spectrum, reference = noisy([0.4, 0.5, 0.3], 3), library()[0]
    fit = fit_combination(spectrum=spectrum, energy=AXIS, references=reference[np.newaxis])
    assert fit.weight[0] == pytest.approx(reference @ spectrum / (reference @ reference), rel=1e-12)
    cosine = reference @ spectrum / np.sqrt((reference @ reference) * (spectrum @ spectrum))
    assert fit.r_factor == pytest.approx(1 - cosine**2, rel=1e-9)


@pytest.mark.parametrize("beyond", [-1.2, 1.2])
def test_shift_ends_at_its_limit_and_says_so(beyond: float) -> None:
    fit = fit_combination(
        spectrum=library(ENERGY + beyond)[0],
        energy=ENERGY,
        references=library()[:1],
        reference_energy=AXIS,
        options=CombinationOptions(max_energy_shift=0.7),
    )
    assert fit.energy_shift == pytest.approx(np.sign(beyond) * 0.7, abs=1e-9)
    assert np.isnan(fit.energy_shift_std)
    assert any("ended at its limit of 0.7 eV" in remark for remark in fit.remarks)


def test_alike_references_are_warned_of_and_distinct_ones_are_not() -> None:
    distinct = fit_combination(spectrum=noisy([0.5, 0.3, 0.2], 1, 0.005), energy=AXIS, references=library())
    references = library(centres=(7118.0, 7118.05, 7124.5))
    alike = fit_combination(
        spectrum=0.5 * references[0] + 0.5 * references[2],
        energy=AXIS,
        references=references,
        names=("A", "B", "C"),
    )
    assert not any("nearly alike" in remark for remark in distinct.remarks)
    assert sum(remark.startswith("A and B are nearly alike") for remark in alike.remarks) == 1
    assert alike.condition_number == pytest.approx(
        np.linalg.cond((references / np.linalg.norm(references, axis=1)[:, np.newaxis]).T), rel=1e-6
    )
    assert alike.correlation[0, 1] < -0.99


def test_points_outside_window_references_or_without_value_are_left_out() -> None:
    spectrum = np.array([0.5, 0.3, 0.2]) @ library(ENERGY)
    spectrum[5] = np.nan
    spectrum[ENERGY > 7150] = 99.0
    fit = fit_combination(
        spectrum=spectrum,
        energy=ENERGY,
        references=library(),
        reference_energy=AXIS,
        options=CombinationOptions(window=(7000.0, 7150.0)),
    )
    used = (ENERGY <= 7150) & np.isfinite(spectrum)
    assert fit.point_count == used.sum()
    assert np.array_equal(np.isfinite(fit.fit), used)
    np.testing.assert_allclose(fit.weight, [0.5, 0.3, 0.2], atol=1e-3)


def test_negative_spectrum_has_no_weights_no_shift_and_no_fractions() -> None:
    fit = fit_combination(
        spectrum=-library(ENERGY)[0],
        energy=ENERGY,
        references=library(),
        reference_energy=AXIS,
        options=CombinationOptions(max_energy_shift=1.0),
    )
    assert (fit.weight.tolist(), fit.energy_shift, fit.r_factor) == ([0.0, 0.0, 0.0], 0.0, 1.0)
    assert np.isnan(fit.fraction).all()
    assert np.isnan(fit.energy_shift_std)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"spectrum": np.ones(3)}, "do not match"),
        ({"spectrum": np.zeros(AXIS.size)}, "zero at every energy"),
        ({"energy": AXIS[::-1]}, "do not ascend"),
        ({"references": np.ones((9, AXIS.size))}, "do not match their energies"),
        ({"references": np.full((1, AXIS.size), np.nan)}, "NaN or infinity"),
        ({"references": np.stack([library()[0], 2 * library()[0]])}, "linearly dependent"),
        ({"references": np.zeros((1, AXIS.size))}, "linearly dependent"),
        ({"reference_energy": AXIS[::-1]}, "do not ascend"),
        ({"reference_energy": AXIS + 1000.0}, "too few points"),
        ({"std": -1.0}, "not positive"),
        ({"std": np.ones(3)}, "does not match the spectrum"),
        ({"names": ("one",)}, "one name per reference"),
        ({"options": CombinationOptions(max_energy_shift=-1.0)}, "negative or infinite"),
        ({"options": CombinationOptions(window=(7100.0, 7101.0))}, "too few points"),
    ],
)
def test_what_cannot_be_fitted_is_refused(changed: dict[str, object], words: str) -> None:
    given_: dict[str, object] = {"spectrum": library()[0], "energy": AXIS, "references": library()}
    with pytest.raises(MeasurementError, match=words):
        fit_combination(**(given_ | changed))  # type: ignore[arg-type]
