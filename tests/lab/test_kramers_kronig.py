"""The Kramers-Kronig gate: what obeys passes, what drifted does not, and another program's numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cathoscope.core.errors import MeasurementError
from cathoscope.lab.kramers_kronig import kramers_kronig
from cathoscope.lab.residual_tests import chance_of_neighbours, runs_of_signs
from tests.lab.spectra import FREQUENCY, arc, noisy

Z = 5.0 + arc(FREQUENCY, 30.0, 1e-4, 0.8) + 8.0 * (1 - 1j) / np.sqrt(2 * np.pi * FREQUENCY)
ALONG = np.linspace(0.0, 1.0, FREQUENCY.size)
SEEDS = 60


def test_a_spectrum_that_obeys_passes() -> None:
    clean = kramers_kronig(frequency=FREQUENCY, impedance=Z)
    assert clean.passes
    assert clean.largest_residual < 1e-3
    failed = sum(
        not kramers_kronig(frequency=FREQUENCY, impedance=noisy(Z, 0.005, seed)).passes for seed in range(SEEDS)
    )
    assert failed <= 8  # of 5 % no more than in 99 % of all cases


def test_a_drift_of_the_whole_spectrum_is_found() -> None:
    found = [
        kramers_kronig(frequency=FREQUENCY, impedance=noisy(Z * (1 + 0.08 * ALONG), 0.005, seed)) for seed in range(20)
    ]
    assert not any(test.passes for test in found)
    pulls = [(test.drift.value - 0.08) / test.drift.std for test in found]
    assert abs(np.mean(pulls)) < 0.6
    assert "drifted by +" in found[0].reasons[0]
    assert sum(min(run.chance for run in test.runs) < 0.01 for test in found) < 15  # runs alone miss some
    rising = kramers_kronig(frequency=FREQUENCY, impedance=noisy(Z * (1.08 - 0.08 * ALONG), 0.005, 1), rising=True)
    assert rising.drift.value == pytest.approx(0.08, abs=4 * rising.drift.std)


def test_few_points_suffice() -> None:
    few = slice(None, None, 3)  # 20 points over seven decades
    z = 5.0 + arc(FREQUENCY, 30.0, 1e-3, 0.9)
    drifts = [
        kramers_kronig(frequency=FREQUENCY[few], impedance=noisy(z * (1 + 0.12 * ALONG), 0.003, seed)[few])
        for seed in range(10)
    ]
    assert sum(not test.passes for test in drifts) >= 9
    still = [kramers_kronig(frequency=FREQUENCY[few], impedance=noisy(z, 0.003, seed)[few]) for seed in range(20)]
    assert sum(not test.passes for test in still) <= 3


def test_a_deviation_within_the_tolerance_passes() -> None:
    drifted = Z * (1 + 0.03 * ALONG)
    assert not kramers_kronig(frequency=FREQUENCY, impedance=noisy(drifted, 0.0005, 1)).passes
    assert kramers_kronig(frequency=FREQUENCY, impedance=noisy(drifted, 0.0005, 1), tolerance=0.05).passes


def test_a_single_point_that_is_off_is_told() -> None:
    z = noisy(Z, 0.005, 3)
    z[30] *= 1.05
    found = kramers_kronig(frequency=FREQUENCY, impedance=z)
    assert found.farthest == 30
    assert found.chance_of_point < 1e-6
    kept = np.arange(60) != 30
    without = kramers_kronig(frequency=FREQUENCY[kept], impedance=z[kept])
    assert without.passes
    assert without.chance_of_point > 1e-3


def test_the_noise_is_told() -> None:
    noise = [kramers_kronig(frequency=FREQUENCY, impedance=noisy(Z, 0.01, seed)).noise for seed in range(10)]
    assert np.mean(noise) == pytest.approx(0.01, rel=0.06)


def test_capacitors_and_inductors_obey() -> None:
    omega = 2 * np.pi * FREQUENCY
    cell = 1e-6j * omega + 3.0 + 1 / (1j * omega * 1e-2)
    assert kramers_kronig(frequency=FREQUENCY, impedance=noisy(cell, 0.002, 1)).passes


def test_numbers_of_another_program(data_folder: Path) -> None:
    # impedance.py 1.7.1 with numpy 1.26: linKK(c=0.5, max_M=100, fit_type="complex", add_cap=True).
    table = np.loadtxt(data_folder / "lab" / "eis-impedancepy" / "exampleData.csv", delimiter=",")
    table = table[table[:, 2] < 0]
    found = kramers_kronig(frequency=table[:, 0], impedance=table[:, 1] + 1j * table[:, 2], choice="mu", limit=0.5)
    assert found.pairs == 27
    assert found.mu == pytest.approx(0.3198, abs=5e-5)
    assert found.largest_residual == pytest.approx(0.0036, abs=5e-5)
    assert "0.13 % of the modulus" in found.reasons[0]
    fixed = kramers_kronig(frequency=table[:, 0], impedance=table[:, 1] + 1j * table[:, 2], choice=27)
    assert fixed.mu == found.mu


def test_too_few_points_are_refused() -> None:
    with pytest.raises(MeasurementError, match="too few points"):
        kramers_kronig(frequency=[1.0], impedance=[1 + 0j])
    with pytest.raises(MeasurementError, match="single frequency"):
        kramers_kronig(frequency=np.ones(12), impedance=np.ones(12) - 1j)


def test_runs_are_counted() -> None:
    signs = np.array([1.0, 1, -1, -1, 1, -1])
    runs = runs_of_signs(signs)
    assert (runs.number, runs.expected) == (4, 4.0)
    assert runs.chance == pytest.approx(0.5 + 0.1765, abs=0.01)
    assert runs_of_signs(np.ones(10)).chance == pytest.approx(2.0**-9)


def test_neighbours_of_white_noise_have_uniform_chances() -> None:
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(80, 12)))[0]
    chances = []
    for _ in range(400):
        noise = rng.normal(size=80)
        chances.append(chance_of_neighbours(noise - basis @ (basis.T @ noise), basis))
    counts = np.histogram(chances, bins=5, range=(0, 1))[0]
    assert ((counts - 80) ** 2 / 80).sum() < 13.3  # chi square, 4 degrees of freedom, 99 %
    wave = np.tile(np.sin(np.arange(40) / 3), 2)
    assert chance_of_neighbours(wave - basis @ (basis.T @ wave), basis) < 1e-6
