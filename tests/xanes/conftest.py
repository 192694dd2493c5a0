"""Spectra with a known white-line maximum, written out from the equations, not with the code under test."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.optimize import brentq

from cathoscope.xanes.line_calibration import calibrate
from cathoscope.xanes.line_steps import compress
from cathoscope.xanes.line_tables import basis_with_data, plan_fit
from tests.xanes.shoulder import NOISE, shoulder_spectra

EDGE_WIDTH, LINE_WIDTH, LINE_HEIGHT, EDGE_DISTANCE = 2.0, 2.6, 0.9, 6.5
OFFSET, SLOPE, MIDDLE = 0.1, -5e-4, 8330.0


def energies() -> np.ndarray:
    """61 energies from 8320 to 8380 eV, 0.5 eV apart over the white line."""
    return np.concatenate([np.linspace(8320, 8342, 14), np.arange(8343, 8359.25, 0.5), np.linspace(8361, 8380, 14)])


def curve(energy: np.ndarray, parameters: np.ndarray) -> np.ndarray:
    """Offset, slope, jump, amplitude, edge energy, line centre, line width -> spectra."""
    offset, slope, jump, amplitude, edge, centre, width = np.asarray(parameters, dtype=float).T[..., np.newaxis]
    return (
        offset
        + slope * (energy - MIDDLE)
        + jump * (0.5 + np.arctan((energy - edge) / EDGE_WIDTH) / np.pi)
        + amplitude * np.exp(-((energy - centre) ** 2) / (2 * width**2))
    )


def maximum_of(parameters: np.ndarray) -> float:
    """Energy of the highest point by bisection on a numerical derivative of the curve."""

    def derivative(energy: float) -> float:
        step = 1e-3
        return float(curve(np.array([energy + step]), parameters)[0] - curve(np.array([energy - step]), parameters)[0])

    return float(brentq(derivative, parameters[5] - 1.5, parameters[5] + 1.5, xtol=1e-10))


def parameters_of(maximum: float, jump: float) -> np.ndarray:
    """Parameters whose curve has its maximum at ``maximum``."""

    def at(centre: float) -> np.ndarray:
        return np.array([OFFSET, SLOPE, jump, LINE_HEIGHT * jump, centre - EDGE_DISTANCE, centre, LINE_WIDTH])

    centre = brentq(lambda centre: maximum_of(at(centre)) - maximum, maximum - 1.0, maximum + 1.0, xtol=1e-9)
    return at(centre)


def cramer_rao_bound(parameters: np.ndarray, energy: np.ndarray, noise_std: np.ndarray) -> float:
    """Least standard deviation of an unbiased estimate of the maximum, all derivatives numerical."""
    steps = np.array([1e-4, 1e-5, 1e-4, 1e-4, 1e-3, 1e-3, 1e-3])
    jacobian, gradient = [], []
    for k, step in enumerate(steps):
        up, down = parameters.copy(), parameters.copy()
        up[k] += step
        down[k] -= step
        jacobian.append((curve(energy, up) - curve(energy, down)) / (2 * step) / noise_std)
        gradient.append((maximum_of(up) - maximum_of(down)) / (2 * step))
    information = np.array(jacobian) @ np.array(jacobian).T
    # unit diagonal first: the parameters differ by orders of magnitude
    scale = np.sqrt(np.diag(information))
    reduced = np.array(gradient) / scale
    return float(np.sqrt(reduced @ np.linalg.solve(information / np.outer(scale, scale), reduced)))


@dataclass(frozen=True)
class Spectra:
    """Noisy spectra and the truth about them."""

    energy: np.ndarray
    values: np.ndarray
    noise_std: np.ndarray  # [energy], of the mean spectrum
    maximum: np.ndarray
    bound: float  # root mean square of the Cramer-Rao bounds


def noisy_spectra(photons: float, count: int, seed: int) -> Spectra:
    """Optical depths from Poisson counts through and beside the sample."""
    rng = np.random.default_rng(seed)
    energy = energies()
    # the maximum shifts with the line at fixed distances, so few truths serve many spectra
    kinds = [(m, j) for m in np.linspace(8347, 8350.5, 36) for j in np.linspace(0.5, 0.9, 5)]
    shapes = np.array([parameters_of(*kind) for kind in kinds])
    clean = curve(energy, shapes)
    noise = np.sqrt((np.exp(clean) + 1) / photons)
    bounds = [cramer_rao_bound(shapes[k], energy, noise[k]) for k in range(0, len(kinds), 6)]
    chosen = rng.integers(len(kinds), size=count)
    through = rng.poisson(photons * np.exp(-clean[chosen]))
    beside = rng.poisson(photons, size=through.shape)
    return Spectra(
        energy,
        (-np.log(through / beside)).astype(np.float32),
        np.sqrt((np.exp(clean).mean(axis=0) + 1) / photons),
        np.array([kind[0] for kind in kinds])[chosen],
        float(np.sqrt(np.mean(np.square(bounds)))),
    )


@pytest.fixture(scope="session")
def low_noise() -> Spectra:
    """40 000 photons a pixel."""
    return noisy_spectra(40_000, 6000, 11)


@pytest.fixture(scope="session")
def high_noise() -> Spectra:
    """1 600 photons a pixel."""
    return noisy_spectra(1_600, 6000, 12)


@pytest.fixture(scope="session")
def truth() -> SimpleNamespace:
    """The functions above, for tests that make their own spectra."""
    return SimpleNamespace(
        energies=energies,
        curve=curve,
        maximum_of=maximum_of,
        parameters_of=parameters_of,
        edge_width=EDGE_WIDTH,
        middle=MIDDLE,
    )


@pytest.fixture(scope="module")
def bins(truth):
    """Plan, coefficients of bins of 64 voxels over 3 eV, and their true maxima."""
    rng = np.random.default_rng(41)
    clean, maxima = shoulder_spectra(truth, rng.uniform(8347.3, 8350.3, 800))
    noisy = clean + rng.normal(0.0, NOISE / 8, clean.shape)
    energy = truth.energies()
    noise = np.full(energy.size, NOISE)
    basis = basis_with_data(energy=energy, noise_std=noise, spectra=noisy)
    plan = plan_fit(energy=energy, noise_std=noise, basis=basis)
    return plan, compress(plan, noisy), maxima


@pytest.fixture(scope="module")
def calibration(bins):
    return calibrate(bins[0], bins[1], noise_scale=1 / 64)


@pytest.fixture(scope="module")
def voxels(truth, bins):
    """Coefficients of single voxels of the same sample, and their true maxima."""
    rng = np.random.default_rng(42)
    clean, maxima = shoulder_spectra(truth, rng.uniform(8347.4, 8350.2, 3000))
    return compress(bins[0], clean + rng.normal(0.0, NOISE, clean.shape)), maxima
