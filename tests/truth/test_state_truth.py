"""Combinations, valences, means and drifts from virtual spectra: bias, spread and rates over seeds fixed beforehand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm

from cathoscope.virtual.spectra import Spectrum, nickel_spectrum
from cathoscope.xanes.combination import CombinationOptions, fit_combination
from cathoscope.xanes.repeats import drift_of_repeats, merge_repeats
from cathoscope.xanes.state import valence_from_edge, valence_line_from_standards

Array = NDArray[np.float64]

SEEDS = range(1600)
FEWER_SEEDS = range(600)
REFERENCE_ENERGY = np.arange(8300.0, 8420.01, 0.25)
ENERGY = np.concatenate(
    [np.arange(8315.0, 8335.0, 1.5), np.arange(8335.0, 8365.0, 0.5), np.arange(8365.0, 8405.0, 2.0)]
)
NOISE = 0.01
BINOMIAL_Z = 4.0


def species(line_energy: float, height: float = 0.85, asymmetry: float = 0.0) -> Spectrum:
    return nickel_spectrum(jump=1.0, background=0.0, line_energy=line_energy, line_height=height, asymmetry=asymmetry)


SPECIES = (species(8348.5, 0.9), species(8350.5, 0.75, 0.4), species(8352.0, 0.6, 0.1))
WEIGHTS = np.array([0.45, 0.25, 0.3])


def assert_honest(pull: Array) -> None:
    """Every column of errors over uncertainties has no bias and unit width."""
    assert np.abs(pull.mean(axis=0)).max() < 0.1
    np.testing.assert_allclose(pull.std(axis=0), 1.0, atol=0.1)


def assert_rate(count: int, of: int, expected: float) -> None:
    """A count of independent events agrees with its rate within 4 binomial standard deviations."""
    assert abs(count - of * expected) < BINOMIAL_Z * np.sqrt(of * expected * (1 - expected))


@pytest.mark.parametrize(("noise_is_stated", "sum_to_one", "largest"), [(True, False, 1.0), (False, True, 0.0)])
def test_weights_and_shift_are_unbiased_with_honest_sigma(
    noise_is_stated: bool, sum_to_one: bool, largest: float
) -> None:
    references = np.stack([one.attenuation(REFERENCE_ENERGY) for one in SPECIES])
    options = CombinationOptions(sum_to_one=sum_to_one, max_energy_shift=largest)
    pulls = []
    for seed in SEEDS:
        random = np.random.default_rng(seed)
        shift = random.uniform(-0.8, 0.8) * largest
        true = sum(w * one.attenuation(ENERGY + shift) for w, one in zip(WEIGHTS, SPECIES, strict=True))
        fit = fit_combination(
            spectrum=true + random.normal(0, NOISE, ENERGY.size),
            energy=ENERGY,
            references=references,
            reference_energy=REFERENCE_ENERGY,
            std=NOISE if noise_is_stated else None,
            options=options,
        )
        weight_pull = (fit.weight - WEIGHTS) / fit.weight_std
        fraction_pull = (fit.fraction - WEIGHTS) / fit.fraction_std
        shift_pull = [(fit.energy_shift - shift) / fit.energy_shift_std] if largest else []
        pulls.append([*weight_pull, *fraction_pull, *shift_pull])
    assert_honest(np.array(pulls))


def noisy_edges(spectrum: Spectrum, edges: Array, noise: Array) -> tuple[Array, Array]:
    """Edges (eV, relative to ``spectrum``) of noisy spectra [..., point] moved by ``edges``, and their uncertainty.

    The maximum-likelihood shift of the known shape, by three Gauss-Newton steps; its error is that of the noise.
    """
    recorded = np.array([spectrum.moved(edge).attenuation(ENERGY) for edge in edges]) + noise
    found = np.zeros(recorded.shape[:-1])
    for _ in range(3):
        at = ENERGY - found[..., np.newaxis]
        slope = spectrum.slope(at)
        found += -np.sum((recorded - spectrum.attenuation(at)) * slope, axis=-1) / np.sum(slope**2, axis=-1)
    return found, NOISE / np.sqrt(np.sum(slope**2, axis=-1))


@pytest.mark.parametrize("sample", [2.4, 3.3, 4.6])
def test_valence_from_noisy_spectra_is_unbiased_with_an_honest_sigma(sample: float) -> None:
    # one rigid spectrum: its edge moves with valence and nothing else changes
    valence, rise = np.array([2.0, 3.0, 4.0]), 1.5  # eV per valence
    noise = np.stack([np.random.default_rng(seed).normal(0, NOISE, (valence.size + 1, ENERGY.size)) for seed in SEEDS])
    edges, stds = noisy_edges(species(8350.0), rise * (np.append(valence, sample) - 3.0), noise)
    pulls = []
    for edge, std in zip(edges, stds, strict=True):
        line = valence_line_from_standards(edge_energy=8344.0 + edge[:-1], edge_std=std[:-1], valence=valence)
        found = valence_from_edge(edge_energy=8344.0 + edge[-1], edge_std=std[-1], line=line)
        pulls.append((found.valence - sample) / found.valence_std)
    assert_honest(np.array(pulls))


@pytest.mark.parametrize("scatter", [0.0, 0.5])
def test_interval_of_a_valence_covers_the_truth_as_often_as_it_says(scatter: float) -> None:
    valence, std = np.linspace(2.0, 4.0, 6), 0.1
    covered = 0
    for seed in FEWER_SEEDS:
        random = np.random.default_rng(seed)
        true = random.uniform(2.0, 4.0)
        number = np.append(valence, true)
        edge = 6538.0 + 3.5 * number + random.normal(0, np.hypot(std, scatter), number.size)
        line = valence_line_from_standards(edge_energy=edge[:-1], edge_std=np.full(6, std), valence=valence)
        found = valence_from_edge(edge_energy=edge[-1], edge_std=std, line=line)
        covered += int(found.lower[0] <= true <= found.upper[0])
    assert_rate(covered, len(FEWER_SEEDS), 0.95)


def rigid_repeats(seed: int, count: int, *, edge: float = 0.0, height: float = 0.0) -> Array:
    """Noisy repeats of one spectrum whose edge (eV) and white line (per step) change by so much per repeat."""
    random = np.random.default_rng(seed)
    repeats = []
    for number in range(count):
        here = species(8350.0, 0.85 + height * number).attenuation(ENERGY - edge * number)
        repeats.append(here + random.normal(0, NOISE, ENERGY.size))
    return np.stack(repeats)


@pytest.mark.parametrize("noise_is_stated", [True, False])
def test_merged_repeats_are_unbiased_with_an_honest_sigma(noise_is_stated: bool) -> None:
    true = species(8350.0).attenuation(ENERGY)
    std = np.full(ENERGY.size, NOISE) if noise_is_stated else None
    merged = [merge_repeats(spectra=rigid_repeats(seed, 4), std=std) for seed in SEEDS]
    pull = np.array([(one.mean - true) / one.mean_std for one in merged])
    assert_honest(pull[:, :: ENERGY.size // 5])
    false_alarms = sum(int(one.glitch.any()) for one in merged)
    if noise_is_stated:
        # the Bonferroni bound of one in a hundred, and not far below it
        assert 0 < false_alarms < 16 + BINOMIAL_Z * 4
    else:
        assert false_alarms < 2 * 16 + BINOMIAL_Z * 4


@pytest.mark.parametrize("noise_is_stated", [True, False])
def test_drift_alarms_on_unchanging_repeats_at_the_stated_rate(noise_is_stated: bool) -> None:
    level = 0.05
    std = np.full(ENERGY.size, NOISE) if noise_is_stated else None
    alarms, pulls = 0, []
    for seed in FEWER_SEEDS:
        found = drift_of_repeats(spectra=rigid_repeats(seed, 5), energy=ENERGY, std=std, level=level)
        both = (found.edge_energy, found.white_line_height)
        alarms += int(any(one.significant for one in both))
        pulls.append([one.slope / one.slope_std for one in both])
    assert_rate(alarms, len(FEWER_SEEDS), level)
    assert_honest(np.array(pulls))


@pytest.mark.parametrize(("quantity", "true"), [("edge_energy", 0.012), ("white_line_height", 0.006)])
def test_drift_is_found_with_the_power_that_its_sigma_promises(quantity: str, true: float) -> None:
    level, found = 0.01, []
    for seed in FEWER_SEEDS:
        change = {"edge": true} if quantity == "edge_energy" else {"height": true}
        repeats = rigid_repeats(seed, 5, **change)
        drifts = drift_of_repeats(spectra=repeats, energy=ENERGY, std=np.full(ENERGY.size, NOISE), level=level)
        found.append(getattr(drifts, quantity))
    pull = np.array([(one.slope - true) / one.slope_std for one in found])
    assert_honest(pull[:, np.newaxis])
    promised = norm.cdf(true / found[0].slope_std - norm.isf(0.25 * level))
    assert 0.5 < promised < 0.99
    assert_rate(sum(one.significant for one in found), len(found), float(promised))
