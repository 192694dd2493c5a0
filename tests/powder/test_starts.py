"""Bad starts: cells off by 1 %, scales a hundredfold, backgrounds that are wrong. Each arrives, or says it did not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cathoscope.powder.crystallite import CrystalliteChoices, crystallite_of
from cathoscope.powder.model import Pattern
from cathoscope.powder.strategy import Refinement, refine
from cathoscope.powder.usual import usual_plan
from tests.powder.crystals import NMC, SPINEL
from tests.powder.patterns import POWGEN, pattern_on, recorded

X = np.geomspace(22600 * 1.15, 22600 * 2.6, 300)
PHASES = [crystallite_of(one, CrystalliteChoices(size="isotropic")) for one in (NMC, SPINEL)]
CELLS = {"NMC.a": 2.84, "NMC.c": 14.30, "spinel.a": 8.12}
LINEAR = {"powgen.NMC.scale": 3000.0, "powgen.spinel.scale": 250.0, "powgen.background.0": 150.0}
PLAN = replace(usual_plan(PHASES), stages=(("*.scale", "*.background.*"), ("cells",), ("widths", "powgen.zero")))


def pattern(size: float) -> Pattern:
    """The smaller the domains, the wider the peaks."""
    widths = {"NMC.size": size, "spinel.size": size}
    return recorded(pattern_on(POWGEN, X), PHASES, {**CELLS, **LINEAR, **widths}, seed=5, counts=12.0)


def start(number: int) -> dict[str, float]:
    """Everything wrong, every time otherwise; cells by a whole per cent at least in one direction."""
    rng = np.random.default_rng([7, number])
    off = rng.uniform(-1, 1, len(CELLS))
    off /= np.abs(off).max()
    found = {name: value * (1 + 0.01 * one) for (name, value), one in zip(CELLS.items(), off, strict=True)}
    found |= {name: value * 100 ** rng.uniform(-1, 1) for name, value in LINEAR.items()}
    return found | {"powgen.background.1": 500.0, "NMC.size": 0.2 * 3 ** rng.uniform(-1, 1)}


def is_told(found: Refinement) -> bool:
    """Whether a person is warned of this end."""
    remarks = found.fit.remarks
    return found.fit.outcome not in ("converged", "bound") or any("may be wrong" in one for one in remarks)


@pytest.mark.parametrize(
    ("size", "numbers"), [(0.03, range(10)), (0.3, range(10, 20))], ids=["wide peaks", "narrow peaks"]
)
def test_twenty_bad_starts_arrive_or_say_that_they_did_not(size: float, numbers: range) -> None:
    one = pattern(size)
    good = refine([one], PHASES, replace(PLAN, start={**CELLS, "NMC.size": size, "spinel.size": size}))
    assert good.fit.outcome == "converged"
    assert not is_told(good)
    ends = [refine([one], PHASES, replace(PLAN, start=start(number))) for number in numbers]
    arrived = [abs(end.fit.chi2 - good.fit.chi2) < 1 for end in ends]
    assert all(there or is_told(end) for there, end in zip(arrived, ends, strict=True))
    assert sum(arrived) >= 7
