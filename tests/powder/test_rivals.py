"""A phase that is not there, feigned by spread cells of one that is, and the rival that tells it from a true one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cathoscope.powder.crystallite import CrystalliteChoices, crystallite_of
from cathoscope.powder.model import Pattern
from cathoscope.powder.priors import usual_priors
from cathoscope.powder.rivals import gain_of_rivals
from cathoscope.powder.sequence import SequenceChoices, follow
from cathoscope.powder.strategy import Plan, Refinement, refine
from tests.powder.crystals import NMC, SPINEL
from tests.powder.patterns import COPPER, POWGEN, pattern_on, recorded

X = np.geomspace(22600 * 1.2, 22600 * 2.6, 300)
LAYERED = crystallite_of(NMC, CrystalliteChoices(size="isotropic"))
CUBIC = crystallite_of(SPINEL, CrystalliteChoices(size="isotropic"))
STAGES = (("*.scale", "*.background.*"), ("spinel.a", "spinel.size"))
ALONE = Plan(stages=STAGES, start={"spinel.size": 0.05})
PLAN = Plan(stages=(*STAGES, ("NMC.a", "NMC.c")), start={"spinel.size": 0.05, "NMC.size": 0.08})
TRUTH = {"spinel.size": 0.05, "NMC.size": 0.08, "powgen.background.0": 120.0}


def powder(layered: float, spread: float, seed: int = 2) -> Pattern:
    """Spinel, three quarters of it of a cell smaller and one quarter of a larger one, and some layered oxide."""
    empty = pattern_on(POWGEN, X)
    parts = [
        recorded(
            empty,
            [LAYERED, CUBIC],
            TRUTH | {"spinel.a": 8.12 * (1 + s), "powgen.spinel.scale": 500.0, "powgen.NMC.scale": layered},
            seed=None,
        ).y
        for s in (-spread / 4, 3 * spread / 4)
    ]
    mean = np.average(parts, axis=0, weights=(0.75, 0.25))
    y = np.random.default_rng(seed).poisson(20 * mean) / 20
    return replace(empty, y=y, std=np.sqrt(np.maximum(y, 0.05) / 20))


def both(layered: float, spread: float) -> tuple[Refinement, Refinement]:
    """Refinements without and with the layered oxide."""
    pattern = powder(layered, spread)
    return refine([pattern], [CUBIC], ALONE), refine([pattern], [LAYERED, CUBIC], PLAN)


def test_a_spread_cell_feigns_a_phase_and_its_rival_gains_more() -> None:
    """By the information criterion alone layered oxide were there: it lies where the larger cells are."""
    without, feigned = both(0.0, 0.008)
    assert feigned.bic < without.bic - 10
    gain, numbers = gain_of_rivals(without)
    assert numbers == 2  # of a cubic cell: one edge, larger and smaller
    assert gain > 3 * (without.fit.chi2 - feigned.fit.chi2)


def test_of_what_a_phase_gains_that_is_there_rivals_gain_little() -> None:
    without, found = both(400.0, 0.0)
    assert without.fit.chi2 - found.fit.chi2 > 100
    assert gain_of_rivals(without)[0] < 10


def test_noise_gives_rivals_as_much_as_they_have_numbers() -> None:
    """The mean of chi squared; the gain is what a linear fit with the rivals beside lowers the sum of squares by."""
    found = [refine([powder(0.0, 0.0, seed)], [CUBIC], ALONE) for seed in range(12)]
    assert np.mean([gain_of_rivals(one)[0] for one in found]) == pytest.approx(2, abs=1.5)


def test_a_series_is_not_given_a_phase_that_a_spread_cell_feigns() -> None:
    patterns = [powder(share, 0.008) for share in (400.0, 0.0)]
    choices = SequenceChoices(optional=("NMC", "spinel"))
    found = follow(lambda number: [patterns[number]], 2, [LAYERED, CUBIC], PLAN, choices)
    assert [one.present for one in found] == [("NMC", "spinel"), ("spinel",)]


def test_rivals_at_a_constant_wavelength() -> None:
    """Two edges of two phases; what was known before has no part in them."""
    empty = pattern_on(COPPER, np.arange(17.0, 90.0, 0.1))
    truth = {"NMC.size": 0.08, "spinel.size": 0.05, "lab.NMC.scale": 1.0, "lab.spinel.scale": 0.1}
    pattern = recorded(empty, [LAYERED, CUBIC], truth | {"lab.background.0": 200.0}, seed=1)
    plan = replace(PLAN, stages=(PLAN.stages[0], ("cells",)), priors=usual_priors([LAYERED, CUBIC]))
    gain, numbers = gain_of_rivals(refine([pattern], [LAYERED, CUBIC], plan))
    assert numbers == 6
    assert 0 < gain < 25
