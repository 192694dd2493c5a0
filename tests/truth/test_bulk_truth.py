"""Edges of simulated scans with photon noise against the noise-free closed form: bias and spread over fixed seeds."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from cathoscope.virtual.bulk import (
    BulkScan,
    BulkSpectrum,
    BulkTruth,
    bulk_energies,
    bulk_truth,
    foil_spectrum,
    oxide_spectrum,
    record,
)
from cathoscope.xanes.bulk import bulk_edges
from cathoscope.xanes.edge import calibration_shift_from_foil, noise_std_from_differences

Array = NDArray[np.float64]

SEEDS = range(1600)
INCIDENT = 1e6
NAMES = ("edge_step", "half_height_edge", "derivative_edge", "integral_edge", "white_line")
ENERGY = bulk_energies(edge_energy=8344.0)
SHIFTS = 0.5 * np.arange(8)  # eV; no whole number of steps, so that edges lie anywhere between points


@pytest.fixture(scope="module")
def oxides() -> list[tuple[BulkSpectrum, BulkTruth]]:
    spectra = [oxide_spectrum(edge_shift=shift) for shift in SHIFTS]
    return [(one, bulk_truth(spectrum=one, lowest=ENERGY[0], highest=ENERGY[-1])) for one in spectra]


def scan(spectrum: BulkSpectrum, seed: int) -> BulkScan:
    return record(spectrum=spectrum, energy=ENERGY, incident=INCIDENT, rng=np.random.default_rng(seed))


def pulls(oxides: list[tuple[BulkSpectrum, BulkTruth]], seeds: range) -> dict[str, Array]:
    scans = [scan(oxides[seed % len(oxides)][0], seed) for seed in seeds]
    absorption = np.stack([one.absorption for one in scans])
    found = bulk_edges(energy=np.broadcast_to(ENERGY, absorption.shape), absorption=absorption)
    truth = {name: np.array([getattr(oxides[seed % len(oxides)][1], name) for seed in seeds]) for name in NAMES}
    return {name: (getattr(found, name) - truth[name]) / getattr(found, f"{name}_std") for name in NAMES}


def test_edges_and_white_line_are_unbiased_with_honest_sigma(oxides: list[tuple[BulkSpectrum, BulkTruth]]) -> None:
    """The noise is found from each scan, as it is for measured ones."""
    for name, pull in pulls(oxides, SEEDS).items():
        assert np.isfinite(pull).all(), name
        assert abs(pull.mean()) < 0.1, name
        assert pull.std() == pytest.approx(1.0, abs=0.1), name


def test_the_noise_found_from_scans_is_that_of_the_photons(oxides: list[tuple[BulkSpectrum, BulkTruth]]) -> None:
    spectrum, truth = oxides[0]
    scans = [scan(spectrum, seed) for seed in SEEDS[:200]]
    found = np.mean([noise_std_from_differences(energy=ENERGY, absorption=one.absorption) for one in scans], axis=0)
    ratio = found / scans[0].absorption_std
    distance = ENERGY - truth.half_height_edge
    places = {"below": distance < -20.0, "above": distance > 60.0}
    for place, inside in places.items():
        assert ratio[inside].mean() == pytest.approx(1.0, abs=0.03), place
    assert ratio[np.argmin(np.abs(ENERGY - truth.white_line))] == pytest.approx(1.0, abs=0.05)


def first_derivative_maximum(spectrum: BulkSpectrum, resolution: float) -> float:
    """By direct summation of the kernel's derivative with the closed form."""
    z = np.arange(-9.0, 9.0, 0.01)
    kernel = 0.5 * (3.0 - z**2) * np.exp(-0.5 * z**2) / np.sqrt(2.0 * np.pi)
    at = spectrum.edge_energy + np.arange(-6.0, 6.0, 0.005)
    slopes = np.array([0.01 * np.sum(kernel * spectrum.slope(energy - resolution * z)) for energy in at])
    first = int(np.flatnonzero((slopes[1:-1] > slopes[:-2]) & (slopes[1:-1] >= slopes[2:]))[0]) + 1
    return float(at[first])


def test_the_shift_from_a_foil_is_unbiased_with_honest_sigma() -> None:
    foil = foil_spectrum()
    energy = bulk_energies(edge_energy=8333.0)
    truth = 8333.0 - (first_derivative_maximum(foil, 0.9) - 1.3)
    pull = []
    for seed in SEEDS[:400]:
        recorded = record(spectrum=foil, energy=energy, incident=INCIDENT, rng=np.random.default_rng(seed))
        found = calibration_shift_from_foil(energy=energy - 1.3, absorption=recorded.absorption, element="Ni")
        pull.append((found.shift - truth) / found.shift_std)
    assert abs(np.mean(pull)) < 0.15  # three standard errors of 400 seeds
    assert np.std(pull) == pytest.approx(1.0, abs=0.1)


def test_behind_a_sample_of_the_same_metal_the_shift_has_an_honest_sigma(
    oxides: list[tuple[BulkSpectrum, BulkTruth]],
) -> None:
    """The sample takes light above its own edge, some eV above the foil's: without it sigma is a quarter too large."""
    foil, sample = foil_spectrum(), oxides[0][0]
    energy = bulk_energies(edge_energy=8333.0)
    truth = 8333.0 - (first_derivative_maximum(foil, 0.9) - 1.3)
    pull, alone = [], []
    for seed in SEEDS[:400]:
        rng = np.random.default_rng(seed)
        scan = record(spectrum=sample, energy=energy, incident=INCIDENT, rng=rng, foil=foil)
        assert scan.reference_absorption is not None
        curve = {"energy": energy - 1.3, "absorption": scan.reference_absorption, "element": "Ni"}
        found = calibration_shift_from_foil(**curve, sample=scan.absorption)
        pull.append((found.shift - truth) / found.shift_std)
        alone.append((found.shift - truth) / calibration_shift_from_foil(**curve).shift_std)
    assert abs(np.mean(pull)) < 0.15
    assert np.std(pull) == pytest.approx(1.0, abs=0.1)
    assert np.std(alone) < 0.85
