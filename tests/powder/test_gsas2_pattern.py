"""Against a noise-free pattern of GSAS-II 2.0.0 (commit 013259a0): its tables of reflections, and its curve.

Two phases on a POWGEN bank: NMC, size 0.08 um across and 0.15 um along [110], strain 2500e-6; spinel, size 0.03 um,
strain 1000e-6. Columns of the tables: 0-2 hkl, 3 multiplicity, 4 d (A), 5 T (us), 6 sigma2, 7 gamma, 9 F^2,
11 intensity, 12 alpha, 13 beta, 14 wavelength; area is 9 times 11.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from cathoscope.io.instrument import read_banks
from cathoscope.powder.crystallite import CrystalliteChoices, crystallite_of
from cathoscope.powder.extracted import extracted_of
from cathoscope.powder.grid import grid_of
from cathoscope.powder.pattern import TofReflections, summed
from cathoscope.powder.position import spacing_from_tof, tof_from_spacing
from cathoscope.powder.strategy import Plan, refine
from cathoscope.powder.structure import metric_from_cell
from cathoscope.powder.usual import PatternChoices, pattern_of
from cathoscope.powder.width import (
    Broadening,
    cosine2_to_axis,
    tof_shape,
    width_from_size,
    width_from_strain,
    width_from_uniaxial_size,
)
from tests.powder.crystals import NMC, SPINEL

PHASES = ("R_NMC", "R_spinel")


@pytest.fixture(scope="module")
def folder(data_folder: Path) -> Path:
    return data_folder / "diffraction" / "sim-nmc-spinel"


@pytest.fixture(scope="module")
def stored(folder: Path) -> Mapping[str, np.ndarray]:
    with np.load(folder / "gsas2_clean_pattern.npz") as file:
        return {name: file[name] for name in file.files}


def reflections(table: np.ndarray, lorentz: str) -> TofReflections:
    return TofReflections(table[:, 9] * table[:, 11], *(table[:, k] for k in (5, 12, 13, 6, 7)), lorentz=lorentz)


def test_positions_and_widths(folder: Path, stored: Mapping[str, np.ndarray]) -> None:
    values = read_banks(folder / "POWGEN_1066.instprm")[0][1].values
    nmc, spinel = (stored[name] for name in PHASES)
    metric = metric_from_cell(cell=(2.84, 2.84, 14.3, 90, 90, 120))
    listed = cosine2_to_axis(hkl=nmc[:, None, :3], axis=(1, 1, 0), metric=metric)
    reasons = [
        [
            width_from_uniaxial_size(d=nmc[:, 4], equatorial=0.08, axial=0.15, cosine2=listed),
            width_from_strain(strain=2500),
        ],
        [width_from_size(d=spinel[:, 4], size=0.03), width_from_strain(strain=1000)],
    ]
    for table, widths in zip((nmc, spinel), reasons, strict=True):
        shape = tof_shape(values=values, d=table[:, 4], broadenings=[Broadening(width) for width in widths])
        for got, column in zip(shape, (12, 13, 6, 7), strict=True):
            np.testing.assert_allclose(got, table[:, column], rtol=1e-10, err_msg=str(column))
        np.testing.assert_allclose(tof_from_spacing(d=table[:, 4], values=values), table[:, 5], rtol=1e-10)
        np.testing.assert_allclose(spacing_from_tof(tof=table[:, 5], values=values), table[:, 4], rtol=1e-10)
        wavelength = 2 * table[:, 4] * np.sin(np.radians(values["two_theta"] / 2))
        np.testing.assert_allclose(wavelength, table[:, 14], rtol=1e-3)  # GSAS-II takes it from the flight path


def test_curve_with_the_sign_of_gsas2(stored: Mapping[str, np.ndarray]) -> None:
    grid, net = grid_of(stored["x"]), stored["yc"] - stored["yb"]
    got = summed(grid=grid, reflections=[reflections(stored[name], "gsas2") for name in PHASES])
    assert np.abs(got - net).max() < 1e-3 * net.max()
    exact = summed(grid=grid, reflections=[reflections(stored[name], "exact") for name in PHASES])
    assert 0.04 < np.abs(exact - net).max() / net.max() < 0.07


def test_intensities_without_a_structure_are_those_of_gsas2(folder: Path, stored: Mapping[str, np.ndarray]) -> None:
    """Two phases of which cells and widths are known: squared structure factors from the curve, in one unit for all."""
    bank = read_banks(folder / "POWGEN_1066.instprm")[0][1]
    choices = PatternChoices(range=(0.9, 4.0, "A"), background=4, lorentz="gsas2")
    pattern = pattern_of(bank, stored["x"], stored["yc"], np.sqrt(stored["yc"]), choices)
    shapes = {"size": "uniaxial", "size_axis": (1, 1, 0), "equivalents": "representative"}
    phases = [
        crystallite_of(NMC, CrystalliteChoices(**shapes, strain="isotropic", intensities="pawley")),
        crystallite_of(SPINEL, CrystalliteChoices("isotropic", strain="isotropic", intensities="pawley")),
    ]
    start = {"NMC.size": 0.08, "NMC.size_axial": 0.15, "NMC.strain": 2500.0}
    start |= {"spinel.size": 0.03, "spinel.strain": 1000.0}
    plan = Plan(stages=(("*.background.*",),), start=start, weights="stated")
    found = refine([pattern], phases, plan)
    assert found.fit.outcome == "converged"
    assert found.rwp[0] < 0.01
    one, table = extracted_of(found.model, found.fit, "NMC"), stored["R_NMC"]
    there = {(round(row[4], 5), int(row[3])): row[9] for row in table}
    expected = np.array([there[round(d, 5), m] for d, m in zip(one.spacing, one.multiplicity.tolist(), strict=True)])
    strong = (one.squared > 15 * one.std) & (expected > 0)
    unit = np.median(one.squared[strong] / expected[strong])
    assert strong.sum() >= 5
    assert np.median(np.abs(one.squared[strong] / expected[strong] / unit - 1)) < 2e-3
    # those that overlap are as far off as their squares are from being alike, in uncertainties
    assert np.abs((one.squared - unit * expected) / one.std).max() < 2.0
