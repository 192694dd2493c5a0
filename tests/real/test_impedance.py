"""Measured impedance of solid-state cells with an NCM cathode: gate, distribution, and twins of one record."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cathoscope.io import open_raw
from cathoscope.lab.kramers_kronig import kramers_kronig
from cathoscope.lab.relaxation import relaxation_times

FOLDER = Path("lab") / "eis-ncm-ssb"


def sweeps_of(path: Path) -> list[dict[str, np.ndarray]]:
    """Frequency and impedance of every sweep of a file."""
    data = open_raw(path)
    impedance = data["impedance_real"].values + 1j * data["impedance_imaginary"].values
    numbers = data["sweep"].values
    frequency = data["frequency"].values
    return [
        {"frequency": frequency[numbers == number], "impedance": impedance[numbers == number]}
        for number in np.unique(numbers)
    ]


def test_a_cell_at_rest_passes_the_gate_sweep_after_sweep(data_folder: Path) -> None:
    tests = [kramers_kronig(**sweep) for sweep in sweeps_of(data_folder / FOLDER / "Sample2_PEIS_AtRest.csv")]
    assert len(tests) == 10
    assert all(test.noise < 1e-3 for test in tests)
    assert sum(not test.passes for test in tests) <= 1
    assert all(abs(test.drift.value) < 0.005 for test in tests)
    # A drift of 2 % put on top of the same record is found, and is what it was.
    for sweep in sweeps_of(data_folder / FOLDER / "Sample2_PEIS_AtRest.csv")[:3]:
        along = np.linspace(0.0, 1.0, sweep["frequency"].size)
        drifted = kramers_kronig(frequency=sweep["frequency"], impedance=sweep["impedance"] * (1 + 0.02 * along))
        assert "drifted" in drifted.reasons[0]
        assert drifted.drift.value == pytest.approx(0.02, abs=0.005)


def test_a_cell_near_its_end_of_discharge_is_explained(data_folder: Path) -> None:
    (sweep,) = sweeps_of(data_folder / FOLDER / "PEIS_SSB.mpr")
    gate = kramers_kronig(**sweep)
    found = relaxation_times(**sweep)  # type: ignore[arg-type]
    assert gate.passes
    misfit = np.abs((found.fitted - found.spectrum.impedance) / np.abs(found.spectrum.impedance))
    assert np.median(misfit) < 2 * gate.noise  # no worse than what obeys Kramers-Kronig
    assert 3 <= len(found.peaks) <= 6


def test_record_and_text_of_one_measurement_agree(data_folder: Path) -> None:
    names = ("PEIS_LPSCl_IonBlocking_-25C.mpr", "PEIS_LPSCl_IonBlocking_-25C.txt")
    tests = [kramers_kronig(**sweeps_of(data_folder / FOLDER / name)[0]) for name in names]
    assert tests[0].passes
    assert tests[0].noise == pytest.approx(tests[1].noise, rel=1e-4)
