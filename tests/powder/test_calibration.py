"""Numbers of a diffractometer from a standard: those that made the pattern come back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cathoscope.core.bank import Bank
from cathoscope.core.crystal import Phase, Site
from cathoscope.core.errors import MeasurementError
from cathoscope.powder.calibration import calibrated, calibration_stages, freed_numbers
from cathoscope.powder.crystallite import crystallite_of
from cathoscope.powder.strategy import Plan, refine
from tests.powder.patterns import COPPER, POWGEN, pattern_on, recorded

LAB6 = Phase(
    "LaB6",
    "P m -3 m",
    (4.15691, 4.15691, 4.15691, 90, 90, 90),
    (Site("La", "La", (0, 0, 0), 1.0, 0.005), Site("B", "B", (0.1997, 0.5, 0.5), 1.0, 0.004)),
)
TOF = 22600 * np.geomspace(0.6, 4.3, 1700)
ANGLE = np.linspace(18.0, 145.0, 2600)
KNOWN = {
    "tof": {"difC": 22610.0, "zero": -4.0, "difA": 0.5, "sig1": -120.0, "sig2": 240.0, "alpha": 0.15, "beta0": 0.1},
    "cw": {"zero": 0.02, "W": 50.0, "U": 10.0, "X": 3.0, "axial": 0.02},
}
MADE = {"tof": (POWGEN, TOF, 600.0, 60.0, 400.0), "cw": (COPPER, ANGLE, 0.1, 50.0, 20.0)}


def pulls(kind: str, asked: tuple[str, ...] = (), times: int = 6) -> dict[str, np.ndarray]:
    """Found minus true over the uncertainty, of patterns that differ in their noise; started from other numbers."""
    bank, x, scale, background, counts = MADE[kind]
    standard, found = crystallite_of(LAB6), {}
    numbers = {f"{bank.name}.LaB6.scale": scale, f"{bank.name}.background.0": background}
    known = replace(bank, values={**bank.values, **KNOWN[kind]})
    for seed in range(times):
        made = replace(recorded(pattern_on(bank, x), [standard], numbers, seed=seed, counts=counts), bank=known)
        fit = refine([made], [standard], Plan(stages=calibration_stages([known], asked))).fit
        assert fit.outcome == "converged"
        one = calibrated(known, fit)
        assert one.bank.values["two_theta" if kind == "tof" else "radius"] in (90.0, 200.0)
        for name, std in one.std.items():
            found.setdefault(name, []).append((one.bank.values[name] - bank.values[name]) / std)
    return {name: np.array(values) for name, values in found.items()}


def test_a_time_of_flight_bank_comes_back() -> None:
    found = pulls("tof")
    assert set(found) == {"difC", "zero", "difA", "difB", "sig0", "sig1", "sig2", "alpha", "beta0", "beta1"}
    every = np.array(list(found.values()))
    assert np.abs(every.mean(axis=1)).max() < 1.1  # of six patterns: 0.4
    assert 0.6 < every.std() < 1.3
    assert np.abs(every).max() < 4


def test_a_constant_wavelength_comes_back() -> None:
    found = pulls("cw")
    assert set(found) == {"zero", "U", "V", "W", "X", "axial"}
    every = np.array(list(found.values()))
    assert np.abs(every.mean(axis=1)).max() < 1.1
    assert 0.6 < every.std() < 1.3
    assert np.abs(every).max() < 4


def test_wavelength_and_polarisation_on_request() -> None:
    found = pulls("cw", ("zero", "wavelength", "W", "U", "V", "X", "axial", "polarisation"), times=3)
    assert {"wavelength", "polarisation"} <= set(found)
    assert max(np.abs(one).max() for one in found.values()) < 4


def test_what_is_freed_by_what_the_file_states() -> None:
    assert freed_numbers(COPPER) == (("zero",), ("U", "V", "W", "X"), ("axial",))
    assert freed_numbers(COPPER, ["X", "Y", "wave*"]) == (("wavelength",), ("X", "Y"))
    assert freed_numbers(POWGEN)[0] == ("difC", "zero")
    assert freed_numbers(Bank("b", "tof", "neutron", dict.fromkeys(POWGEN.values, 0.0))) == (("difC", "zero"),)
    with pytest.raises(MeasurementError, match="no number difD"):
        freed_numbers(POWGEN, ["difD"])
    both = calibration_stages([POWGEN, COPPER], ["zero", "difC", "axial"])
    assert both[1] == ("powgen.difC", "powgen.zero", "lab.zero")
    assert both[2] == ("lab.axial",)
    with pytest.raises(MeasurementError, match="no number difC"):
        calibration_stages([COPPER], ["difC"])
