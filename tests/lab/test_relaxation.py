"""Distributions of relaxation times: closed forms recovered, areas kept, and arcs that another program made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cathoscope.core.errors import MeasurementError
from cathoscope.lab.relaxation import arcs_of_peaks, relaxation_times
from tests.lab.spectra import FREQUENCY, arc, noisy

ALPHA = 0.8


def density_of_arc(time_constant: np.ndarray, resistance: float, tau: float) -> np.ndarray:
    """Of a constant-phase arc, in closed form (Cole and Cole 1941)."""
    x = ALPHA * np.log(time_constant / tau)
    turn = (1.0 - ALPHA) * np.pi
    return np.asarray(resistance / (2 * np.pi) * np.sin(turn) / (np.cosh(x) - np.cos(turn)))


def test_the_density_of_an_arc_is_its_closed_form() -> None:
    found = relaxation_times(frequency=FREQUENCY, impedance=10.0 + arc(FREQUENCY, 80.0, 1e-2, ALPHA))
    inside = (found.time_constant > 1e-5) & (found.time_constant < 10)
    expected = density_of_arc(found.time_constant, 80.0, 1e-2)
    np.testing.assert_allclose(found.density[inside], expected[inside], rtol=0.05, atol=0.01 * expected.max())
    assert found.resistance == pytest.approx(10.0, rel=0.01)
    assert found.polarisation == pytest.approx(80.0, rel=0.005)
    np.testing.assert_allclose(found.fitted, found.spectrum.impedance, rtol=1e-3)


def test_noise_makes_no_peaks_and_the_uncertainty_covers_the_truth() -> None:
    z, pulls, far = 10.0 + arc(FREQUENCY, 80.0, 1e-2, ALPHA), [], 0
    for seed in range(4):
        found = relaxation_times(frequency=FREQUENCY, impedance=noisy(z, 0.005, seed))
        assert len(found.peaks) == 1
        peak = found.peaks[0]
        pulls.append((np.log10(peak.time_constant) + 2) / peak.log_std)
        inside = (found.time_constant > 1e-3) & (found.time_constant < 0.1)
        apart = np.abs(found.density - density_of_arc(found.time_constant, 80.0, 1e-2))
        far += np.count_nonzero(apart[inside] > 3 * found.density_std[inside])
    assert np.abs(pulls).max() < 3
    assert far < 0.1 * 4 * 20


def test_two_processes_share_what_the_spectrum_has() -> None:
    z = 5.0 + arc(FREQUENCY, 30.0, 1e-4, ALPHA) + arc(FREQUENCY, 60.0, 0.1)
    found = relaxation_times(frequency=FREQUENCY, impedance=noisy(z, 0.003, 2))
    assert [round(np.log10(peak.time_constant), 1) for peak in found.peaks] == [-4.0, -1.0]
    for peak, truth in zip(found.peaks, (30.0, 60.0), strict=True):
        assert abs(peak.resistance.value - truth) < 0.03 * truth
    assert sum(peak.resistance.value for peak in found.peaks) == pytest.approx(found.polarisation, rel=1e-9)


def test_a_weak_process_does_not_keep_the_tail_of_a_strong_one() -> None:
    """Without noise; cut at the minimum, the weak one were 5 % too strong."""
    z = 5.0 + arc(FREQUENCY, 80.0, 1e-4, ALPHA) + arc(FREQUENCY, 8.0, 0.05, ALPHA)
    found = relaxation_times(frequency=FREQUENCY, impedance=z, smoothness=1e-9)
    assert len(found.peaks) == 2
    for peak, truth in zip(found.peaks, (80.0, 8.0), strict=True):
        assert abs(peak.resistance.value - truth) < 0.01 * truth
    assert found.peaks[1].resistance.systematic == pytest.approx(0.38, abs=0.05)  # how far the cut is off


def test_less_smoothness_fits_closer() -> None:
    z = noisy(5.0 + arc(FREQUENCY, 30.0, 1e-2, ALPHA), 0.01, 1)
    misfit = []
    for smoothness in (1.0, 1e-2, 1e-4):
        found = relaxation_times(frequency=FREQUENCY, impedance=z, smoothness=smoothness)
        misfit.append(np.sum(np.abs((found.fitted - found.spectrum.impedance) / np.abs(found.spectrum.impedance)) ** 2))
    assert misfit[0] > misfit[1] > misfit[2]


def test_both_ways_to_the_smoothness_agree_where_arcs_are_closed() -> None:
    z = noisy(5.0 + arc(FREQUENCY, 30.0, 1e-2, ALPHA), 0.01, 1)
    found = [relaxation_times(frequency=FREQUENCY, impedance=z, smoothness=way) for way in ("generalised", "parts")]  # type: ignore[arg-type]
    for one in found:
        assert len(one.peaks) == 1
        assert one.peaks[0].resistance.value == pytest.approx(30.0, rel=0.02)


def test_a_capacitor_in_series_is_told_from_the_processes() -> None:
    z = 5.0 + arc(FREQUENCY, 30.0, 1e-3, ALPHA) + 1 / (2j * np.pi * FREQUENCY * 0.1)
    found = relaxation_times(frequency=FREQUENCY, impedance=noisy(z, 0.005, 1), capacitor=True)
    assert found.capacitance == pytest.approx(0.1, rel=0.02)
    assert len(found.peaks) == 1
    assert found.peaks[0].resistance.value == pytest.approx(30.0, rel=0.05)
    without = relaxation_times(frequency=FREQUENCY, impedance=noisy(z, 0.005, 1))
    assert without.capacitance == np.inf
    assert without.polarisation > 100.0


def test_an_arc_that_is_not_closed_has_no_peak() -> None:
    z = noisy(5.0 + arc(FREQUENCY, 1e4, 1e4), 0.005, 1)
    assert relaxation_times(frequency=FREQUENCY, impedance=z).peaks == ()


def test_a_resistor_and_a_short_spectrum_are_refused() -> None:
    with pytest.raises(MeasurementError, match="no relaxation"):
        relaxation_times(frequency=FREQUENCY, impedance=np.full(60, 5.0 + 0j))
    with pytest.raises(MeasurementError, match="too few points"):
        relaxation_times(frequency=[1.0], impedance=[5.0 - 1j])


# What generated the files: R 10 ohm, then arcs with alpha 0.8 (time constant, resistance), noise 0.5 ohm on both parts.
# The folder's authors state 10 ohm, 50 ohm at 1e-4 s and the time constants; the first resistances and the inductor
# are the round numbers that a fit of the very circuit to the files gives (49.96 +- 0.19, 10.04 +- 0.30, ...).
GENERATED = {
    "1ZARC": [(0.1, 50.0)],
    "2ZARC0": [(1e-4, 50.0), (0.1, 10.0)],
    "2ZARC1": [(1e-4, 50.0), (0.1, 20.0)],
    "2ZARC5": [(1e-4, 50.0), (0.1, 200.0)],
}


@pytest.mark.parametrize("name", list(GENERATED))
def test_arcs_that_another_program_made_are_found(name: str, data_folder: Path) -> None:
    table = np.genfromtxt(data_folder / "lab" / "eis-drt-synthetic" / f"{name}.csv", delimiter=",", skip_header=1)
    found = relaxation_times(frequency=table[:, 1], impedance=table[:, 2] + 1j * table[:, 3], weighting="unit")
    arcs = arcs_of_peaks(found, weighting="unit", inductor=name == "1ZARC")
    assert len(found.peaks) == len(GENERATED[name])
    for number, (peak, (tau, resistance)) in enumerate(zip(found.peaks, GENERATED[name], strict=True), start=1):
        assert abs(np.log10(peak.time_constant / tau)) < 0.1
        fitted = arcs.estimate(f"R{number}")
        assert abs(fitted.value - resistance) < 0.05 * resistance
        assert abs(peak.resistance.value - resistance) < 0.05 * resistance
