"""Onsets of mass loss and enthalpies on simulated records: bias and width of their pulls.

python -m benchmarks.lab_heating [--seeds FIRST:LAST]: 1600 records of two steps (a narrow one, and a broad one that
begins on a curved stretch) with white noise, and as many of a heat effect; seeds 0 to 1599, fixed before the first run.
Truths are those of the curves without noise, found on a grid of 1 mK by the definitions of the standards.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np

from cathoscope.lab.calorimetry import heat_effect
from cathoscope.lab.mass_loss import mass_curve, steps_of

RAMP = np.arange(25.0, 300.0, 1 / 12)  # 5 K/min, one point a second
FINE = np.arange(25.0, 300.0, 0.001)
NOISE = 0.02  # per cent of 12 mg: 2.4 ug
QUIET = 25.0  # K


def mass(temperature: np.ndarray) -> np.ndarray:
    """Per cent: a step as of layered to spinel, one as of spinel to rock salt, and a slow loss between."""
    early = 1.6 / (1 + np.exp(-(temperature - 147) / 4))
    late = 7.0 * (1 - np.exp(-np.exp((temperature - 255) / 18)))
    return 100 - early - late - 0.5 * np.clip((temperature - 100) / 100, 0, 1)


def true_onset(low: float, high: float, after: float) -> float:
    """Where the steepest tangent between two temperatures meets the line through the quietest 25 K before it."""
    values, rate = mass(FINE), np.gradient(mass(FINE), FINE)
    steepest = int(np.argmin(np.where((low < FINE) & (high > FINE), rate, np.inf)))
    starts = np.arange(after, FINE[steepest] - QUIET, 0.5)
    first = starts[np.argmin(mass(starts) - mass(starts + QUIET))]
    slope, level = np.polyfit(x := np.linspace(first, first + QUIET, 500), mass(x), 1)
    return float((level - values[steepest] + rate[steepest] * FINE[steepest]) / (rate[steepest] - slope))


def heat(seed: int) -> tuple[float, float]:
    """Pulls of enthalpy and onset of a Gaussian effect of -350 J/g at 210 C."""
    seconds = 8.0 / 5.0 * 60.0
    flow = -350 * 4.0 / (np.sqrt(2 * np.pi) * seconds) * np.exp(-0.5 * ((RAMP - 210) / 8) ** 2) + 2 + 0.01 * RAMP
    flow += 0.02 * np.random.default_rng(seed).standard_normal(RAMP.size)
    found = heat_effect((RAMP - 25) * 12, RAMP, flow, mass=4.0, limits=(160, 260), seed=seed)
    return (found.enthalpy.value + 350) / found.enthalpy.total, (found.onset.value - 194) / found.onset.total


def pulls(seeds: range) -> dict[str, np.ndarray]:
    """Error over uncertainty of every number, by its name."""
    truth = true_onset(120, 170, 30), true_onset(200, 290, 147)
    rows, missed = [], 0
    for seed in seeds:
        noise = NOISE * np.random.default_rng(seed).standard_normal(RAMP.size)
        steps = steps_of(mass_curve(RAMP, mass(RAMP) + noise), seed=seed)
        if len(steps) != 2:
            missed += 1
            continue
        errors = [(step.onset.value - true) / step.onset.total for step, true in zip(steps, truth, strict=True)]
        rows.append([*errors, *heat(seed)])
    print(f"true onsets {truth[0]:.2f} and {truth[1]:.2f} C; records without two steps: {missed} of {len(seeds)}")
    names = ("onset of the narrow step", "onset of the broad step", "enthalpy", "onset of heat")
    return dict(zip(names, np.array(rows).T, strict=True))


def main(arguments: list[str] | None = None) -> int:
    """Print pulls and the time of one record; 1 if a pull misses 0 +- 0.1 or a width of 1 +- 0.1."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", default="0:1600", help="FIRST:LAST")
    first, last = map(int, parser.parse_args(arguments).seeds.split(":"))
    start = time.process_time()
    good = True
    for name, values in pulls(range(first, last)).items():
        error, width = float(values.std() / np.sqrt(values.size)), float(values.std())
        good &= abs(values.mean()) < 0.1 + 2 * error and abs(width - 1) < 0.1 + error
        print(f"  {name}: pull {values.mean():+.3f} +- {error:.3f}, width {width:.3f}")
    print(f"  {(time.process_time() - start) / (last - first) * 1e3:.0f} ms CPU for a record of each")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
