"""Powders of the virtual diffractometer without their structure: cells, intensities and single peaks come back.

Structure factors, peaks and noise are those of the virtual experiment, which shares no law with the refinement.
"""

from __future__ import annotations

import numpy as np
import pytest

from cathoscope.core.crystal import Phase
from cathoscope.powder.crystallite import CrystalliteChoices, crystallite_of
from cathoscope.powder.extracted import Extracted, extracted_of
from cathoscope.powder.peaks import Group, cut_of, fit_peaks, start_shape
from cathoscope.powder.strategy import Plan, Refinement, refine
from cathoscope.powder.usual import PatternChoices, pattern_of
from cathoscope.virtual.diffraction_banks import DIFFRACTOMETERS
from cathoscope.virtual.diffraction_pattern import Portion, background, bragg, counted, lines_of, sums_for
from cathoscope.virtual.diffraction_powder import starting_phases
from cathoscope.virtual.particle import ROD

LAYERED = starting_phases(ROD.core_composition)[0]
POWGEN = DIFFRACTOMETERS["powgen"]
PORTION = Portion(
    LAYERED, 1 / 3, 0.08, 1.0, 1500.0, np.ones(1), np.array([[LAYERED.cell[0], LAYERED.cell[2]]]), axis=(0, 0, 1)
)
CHOICES = PatternChoices(range=(0.8, 2.6, "A"), background=8)


@pytest.fixture(scope="module")
def recorded() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places, intensity per us and its uncertainty."""
    sums, edges = sums_for(POWGEN, LAYERED), POWGEN.grid()
    expected = bragg(POWGEN, POWGEN.true(0.0), [(PORTION, sums)]) + background(POWGEN)
    gain = 3e5 / expected.max()
    y, std = counted(expected, np.full(expected.size, gain), np.random.default_rng(4))
    width = np.diff(edges)
    return 0.5 * (edges[1:] + edges[:-1]), y / width, std / width


@pytest.fixture(scope="module")
def found(recorded: tuple[np.ndarray, np.ndarray, np.ndarray]) -> Refinement:
    """From a cell that is off by 2e-4 and without atoms."""
    a, c = LAYERED.cell[0] * 1.0002, LAYERED.cell[2] * 0.9998
    bare = Phase("layered", LAYERED.space_group, (a, a, c, 90, 90, 120), ())
    choices = CrystalliteChoices(size="isotropic", strain="isotropic", intensities="pawley")
    pattern = pattern_of(POWGEN.stated, *recorded, CHOICES)
    stages = (("*.background.*",), ("cells",), ("widths",))
    return refine([pattern], [crystallite_of(bare, choices)], Plan(stages=stages))


def test_the_cell_without_a_structure(found: Refinement) -> None:
    assert found.fit.outcome == "converged"
    assert found.fit.gof < 1.3
    for name, true in (("layered.a", LAYERED.cell[0]), ("layered.c", LAYERED.cell[2])):
        assert abs(found.fit.numbers()[name] - true) < 4 * found.fit.std(name)
    for name, true in (("layered.size", 0.08), ("layered.strain", 1500.0)):
        assert abs(found.fit.numbers()[name] - true) < max(4 * found.fit.std(name), 0.05 * true)


def test_intensities_are_those_that_were_put_in(found: Refinement) -> None:
    one: Extracted = extracted_of(found.model, found.fit, "layered")
    lines = lines_of(POWGEN, PORTION, sums_for(POWGEN, LAYERED), apart=False)
    lorentz = np.sin(np.radians(POWGEN.stated.values["two_theta"] / 2)) * lines.spacing**4
    put = lines.area / lorentz  # scale x |F|^2 x multiplicity / V, summed over what lies at one place
    volume = LAYERED.cell[0] ** 2 * LAYERED.cell[2] * np.sqrt(3) / 2
    pulls = []
    for first in np.unique(one.together):
        group = one.together == first
        near = np.abs(lines.spacing / one.spacing[first] - 1) < 4e-4
        if np.abs(one.spacing[group] / one.spacing[first] - 1).max() < 1e-4 and near.sum() >= 1:
            alone = np.abs(one.spacing / one.spacing[first] - 1) < 4e-4
            if alone.sum() == group.sum():
                weight = one.multiplicity[group].sum() / volume
                pulls.append((one.squared[first] * weight - put[near].sum()) / (one.std[first] * weight))
    assert len(pulls) > 20
    assert np.std(pulls) < 1.6
    assert abs(np.mean(pulls)) < 0.8


def test_a_single_peak(recorded: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    """104 stands alone."""
    pattern = pattern_of(POWGEN.stated, *recorded, CHOICES)
    a, c = LAYERED.cell[0], LAYERED.cell[2]
    true = 1 / np.sqrt(4 / 3 / a**2 + 16 / c**2)
    lines = lines_of(POWGEN, PORTION, sums_for(POWGEN, LAYERED), apart=False)
    area = lines.area[np.argmin(np.abs(lines.spacing - true))]
    for free in (False, True):
        cut = cut_of(pattern, Group((round(true, 2),), window=0.03, asymmetry=free))
        fit = fit_peaks(cut, start_shape(cut)[1])
        assert abs(fit.spacing[0, 0] - true) < 4 * fit.spacing[0, 1] < 5e-5 * true
        assert fit.area[0, 0] == pytest.approx(area, rel=0.02)
