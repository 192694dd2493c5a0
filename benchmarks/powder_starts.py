"""Twenty bad starts of one virtual pattern: cells off 1 %, scales off a hundredfold, backgrounds that are wrong."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from cathoscope.powder.strategy import Refinement, refine

STARTS = 20


def start(number: int, cells: dict[str, float], rng: np.random.Generator) -> dict[str, float]:
    """Cells up to 1 % off in every direction, sizes and strains up to fivefold, and linear numbers a hundredfold."""
    found = {
        name: value * (1 + 0.01 * rng.choice([-1.0, 1.0]) * rng.uniform(0.3, 1.0)) for name, value in cells.items()
    }
    if number == 0:
        found = {name: 0.99 * value for name, value in cells.items()}
    widths = {
        f"{phase}.{name}": value for phase in ("layered", "spinel") for name, value in (("size", 0.08), ("strain", 3e3))
    }
    return found | {name: value * 5 ** rng.uniform(-1, 1) for name, value in widths.items()}


def bad_starts(series: Any, phases_and_plan: Callable[[Any], Any]) -> bool:
    """Whether each arrives where the good start does, or says that it did not."""
    phases, plan = phases_and_plan(series)
    number = len(series.patterns) // 2
    patterns, rng = series.patterns[number], np.random.default_rng(5)
    true = {f"{name}.a": float(series.truth("lattice_a", name)[number]) for name in ("layered", "spinel")}
    true |= {"layered.c": float(series.truth("lattice_c", "layered")[number])}
    good = refine(patterns, phases, plan)
    print(f"good start: {good.fit.outcome}, GOF {good.fit.gof:.3f}")
    held, said = True, 0
    for k in range(STARTS):
        began = time.process_time()
        values = start(k, true, rng)
        wrong = {
            f"{series.patterns[0][0].name}.{name}.scale": 10 ** rng.uniform(0, 4) for name in ("layered", "spinel")
        }
        wrong |= {f"{series.patterns[0][0].name}.background.{j}": rng.normal(0, 10) for j in range(3)}
        found = refine(patterns, phases, replace(plan, start={**values, **wrong}))
        seconds = time.process_time() - began
        there = abs(found.fit.chi2 - good.fit.chi2) < 1.0
        told = tells(found)
        said += told and not there
        held &= there or told
        print(
            f"start {k}: {found.fit.outcome}, GOF {found.fit.gof:.3f}, {'arrived' if there else 'elsewhere'}"
            f"{'' if there else ', and says so' if told else ', and DOES NOT SAY SO'}, {seconds:.1f} CPU s"
        )
    return held


def tells(found: Refinement) -> bool:
    """Whether a person is told that this is no end to be trusted."""
    remarks = found.fit.remarks
    return found.fit.outcome not in ("converged", "bound") or any("may be wrong" in one for one in remarks)
