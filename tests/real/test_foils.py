"""Nickel foils of three beamlines: one element, one spectrum, whatever the monochromator says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.signal import find_peaks

from cathoscope.io import open_raw
from cathoscope.physics.edges import FOIL_ENERGY
from cathoscope.xanes.edge import FoilCalibration, calibration_shift_from_foil

FOILS = ("xas-nifoil-nsls/Nifoil.prj", "xas-nifoil-nsls/Nifoil_QAS.prj", "xas-larch/ni_metal_rt.xdi")


def recorded(file: Path) -> tuple[np.ndarray, np.ndarray]:
    data = open_raw(file)
    energy, absorption = data["scan_energy"].values[0], data["absorption"].values[0]
    known = np.isfinite(energy) & np.isfinite(absorption)
    return energy[known], absorption[known]


@pytest.fixture(scope="module")
def calibrations(data_folder: Path) -> list[FoilCalibration]:
    spectra = [recorded(data_folder / "xas" / file) for file in FOILS]
    return [calibration_shift_from_foil(energy=e, absorption=mu, element="Ni") for e, mu in spectra]


def test_first_maxima_agree_and_lie_below_the_table(calibrations: list[FoilCalibration]) -> None:
    first = np.array([one.first_maximum for one in calibrations])
    assert np.ptp(first) < 0.4
    below = FOIL_ENERGY["Ni"] - first
    assert ((below > 1.1) & (below < 1.5)).all()


def test_later_maxima_agree_after_calibration(calibrations: list[FoilCalibration]) -> None:
    later = np.array([one.later_maxima for one in calibrations])
    assert (np.ptp(later, axis=0) < 0.3).all()
    assert not any(one.remarks for one in calibrations)


@pytest.mark.parametrize("file", FOILS)
def test_maxima_are_where_bare_differences_have_them(file: str, data_folder: Path) -> None:
    """Slopes over 2 eV, without kernel or spline, have a maximum within 0.5 eV of each that is reported."""
    energy, absorption = recorded(data_folder / "xas" / file)
    found = calibration_shift_from_foil(energy=energy, absorption=absorption, element="Ni")
    middles = np.arange(8325.0, 8352.0, 0.1)
    slopes = np.interp(middles + 1.0, energy, absorption) - np.interp(middles - 1.0, energy, absorption)
    maxima = middles[find_peaks(slopes, prominence=0.02 * slopes.max())[0]]
    for distance in (0.0, *found.later_maxima):
        assert np.abs(maxima - found.first_maximum - distance).min() < 0.5
