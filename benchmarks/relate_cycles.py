"""Whether the exponent of resistance against surface is found, and whether its intervals hold.

First drawn data: R = r / A at 4 to 12 surfaces with errors in both, with and without a further scatter of R; York's
intervals must hold -1 as often as they say, and a law of another exponent (-0.5) must be told from it. Then the virtual
particles of Cadiou's cells: the true wetted surface of grains in contact, measured with 5 %, and the true resistance,
measured with 0.5 %, must give -1; the surface alone must not, where pieces lose contact; and of a surface known in
cycles 0 and 35 only, with the porosity between, the stated error must hold the true surface.

Run with: python -m benchmarks.relate_cycles [DRAWS, 500 if not given]
"""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from cathoscope.core.errors import MeasurementError
from cathoscope.relate.cycles import Course, areas_from_porosity, power_law
from cathoscope.virtual.cell_health import course_of
from cathoscope.virtual.particle_cell_study import PARTICLE_CELL_PRESETS, ParticleCellPlan

Array = NDArray[np.float64]

LEVELS = (0.6827, 0.95)


def within(inside: float, draws: int, level: float) -> bool:
    """Whether a share of draws is in the 99 % binomial range of a level."""
    low, high = binom.interval(0.99, draws, level)
    return bool(low <= inside * draws <= high)


def drawn(draws: int, points: int, scatter: float, exponent: float) -> list[list[bool]]:
    """Whether the intervals hold -1, [draw][level]."""
    rng = np.random.default_rng(points)
    area = np.geomspace(1.0, 12.0, points)
    found = []
    for _ in range(draws):
        x = area * np.exp(0.05 * rng.standard_normal(points))
        y = area**exponent * np.exp(np.hypot(0.02, scatter) * rng.standard_normal(points))
        one = power_law(x, 0.05 * x, y, 0.02 * y)
        found.append([one.interval(level)[0] <= -1.0 <= one.interval(level)[1] for level in LEVELS])
    return found


def report_drawn(draws: int) -> bool:
    """Print coverage and power of drawn data."""
    held = True
    for points in (4, 8, 12):
        for scatter in (0.0, 0.2):
            inside = np.mean(drawn(draws, points, scatter, -1.0), axis=0)
            other = 1.0 - np.mean(drawn(draws, points, scatter, -0.5), axis=0)[1]
            held &= all(within(share, draws, level) for share, level in zip(inside, LEVELS, strict=True))
            told = ", ".join(f"{100 * level:.0f} %: {100 * one:.1f}" for level, one in zip(LEVELS, inside, strict=True))
            head = f"{points:2} surfaces, further scatter {scatter:.1f}: {told}"
            print(f"{head}; exponent -0.5 told apart: {100 * other:.0f} %")
    return held


def report_virtual(draws: int) -> bool:
    """Print what the virtual particles give."""
    held = True
    for sample in ("L-NMC", "H-NMC"):
        preset = PARTICLE_CELL_PRESETS[f"{sample}-cells"]
        plan = ParticleCellPlan(preset, preset.sizes["small"], seed=1)
        course = course_of(plan.wear((sample, 1)), preset.law.ageing, cycles=45, hours=2.0, temperature=25.0)
        acting = course.area * course.held  # of grains that take part
        resistance = 1.0 / acting
        cycle = np.array([0, 5, 8, 10, 15, 20, 30, 35, 40, 45])
        for words, area in (("surface in contact", acting[cycle]), ("all wetted surface", course.area[cycle])):
            inside, exponents, chances = [], [], []
            rng = np.random.default_rng(1)
            for _ in range(draws):
                x = area * np.exp(0.05 * rng.standard_normal(cycle.size))
                y = resistance[cycle] * np.exp(0.005 * rng.standard_normal(cycle.size))
                one = power_law(x, 0.05 * x, y, 0.005 * y)
                inside.append([one.interval(level)[0] <= -1 <= one.interval(level)[1] for level in LEVELS])
                exponents.append(one.exponent)
                chances.append(one.chance)
            share = np.mean(inside, axis=0)
            told = ", ".join(f"{100 * level:.0f} %: {100 * one:.1f}" for level, one in zip(LEVELS, share, strict=True))
            doubt = float(np.mean(np.array(chances) < 0.05))
            print(f"{sample}, {words}: exponent {np.mean(exponents):.3f}, {told}; misfit told in {100 * doubt:.0f} %")
            if words == "surface in contact":
                held &= all(within(one, draws, level) for one, level in zip(share, LEVELS, strict=True))
        held &= report_between(sample, course.area)
    return held


def report_between(sample: str, area: Array) -> bool:
    """Print how far surfaces between stacks are from the truth, if cracks open as they grow or grow in number."""
    cycle = np.arange(36.0)
    known = Course(np.array([0.0, 35.0]), area[[0, 35]], 0.03 * area[[0, 35]])
    held = True
    for power in (1.0, 1.5, 2.0):
        porosity = 0.02 + 0.2 * ((area[:36] - area[0]) / np.ptp(area[:36])) ** power
        try:
            at, found = areas_from_porosity(known, Course(cycle, porosity, 0.02 * porosity))
        except MeasurementError as error:
            print(error)
            return False
        low, high = np.percentile(found, (2.5, 97.5), axis=0)
        true = area[at.astype(int)]
        inside = float(((low <= true) & (true <= high)).mean())
        worst = float(np.abs(np.log(np.median(found, axis=0) / true)).max())
        held &= inside >= 0.95
        head = f"{sample}, porosity as surface^{power:g}: {100 * inside:.0f} % of the cycles within 95 %"
        print(f"{head}; worst {100 * worst:.0f} %")
    return held


def main() -> int:
    """1 if something does not hold."""
    draws = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    held = report_drawn(draws)
    return 0 if report_virtual(draws) and held else 1


if __name__ == "__main__":
    sys.exit(main())
