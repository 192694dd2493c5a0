"""The balance of oxygen: honest intervals, seldom a false contradiction, wrong lithium and wrong scales found.

Studies are drawn of an oxide whose charges balance at every temperature: a mass curve, white lines at four temperatures
on a scale from two standards, and refined occupancies at twelve. `python -m benchmarks.relate_oxygen` prints coverage,
pulls, alarms and what is found of a wrong scale or content of lithium; under a minute.

`python -m benchmarks.relate_oxygen STUDY.zarr ...` compares what the balance, the white line and the occupancies of
analysed virtual studies say with their truth.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from scipy.stats import binom

from cathoscope.core.study import Study
from cathoscope.numerics.estimate import Estimate
from cathoscope.relate.multiple_tests import holm
from cathoscope.relate.oxygen import (
    Balance,
    Course,
    at_temperatures,
    balance_of,
    lost_from_valence,
    oxygen_per_metal,
    start_discrepancy,
    with_thermometer,
)
from cathoscope.xanes.state import valence_line_from_standards

_STUDIES = 1000
_SHARES = {"Ni": 0.82, "Mn": 0.06, "Co": 0.12}
_LITHIUM, _LITHIUM_STD = 0.3, 0.02
_SLOPE, _ZERO = 1.77, 8344.33  # eV per valence, and at valence 0
_STANDARDS, _STANDARDS_STD = np.array([2.0, 3.0, 4.0]), 0.1
_LINE_STD, _MASS_STD, _OCCUPANCY_STD, _THERMOMETER = 0.025, 5e-4, 0.03, 2.0
_LOOKED_AT = np.array([25.0, 150.0, 200.0, 250.0])
_PATTERNS = np.array([25.0, 80.0, 120.0, 140.0, 150.0, 160.0, 175.0, 190.0, 200.0, 220.0, 235.0, 250.0])
_FINE = np.arange(26.0, 320.0)


def _lost(temperature: np.ndarray) -> np.ndarray:
    """True oxygen lost: two steps."""
    first, second = ((1 + np.exp(-(temperature - middle) / 8)) ** -1 for middle in (150.0, 215.0))
    return 0.12 * first + 0.35 * second


def _valence(lost: np.ndarray) -> np.ndarray:
    """Of nickel, by the charges."""
    return (2 * (2 - lost) - _LITHIUM - 4 * _SHARES["Mn"] - 3 * _SHARES["Co"]) / _SHARES["Ni"]


def _by_mass(rng: np.random.Generator) -> Course:
    off = _THERMOMETER * rng.standard_normal()
    # half the variance of a thermometer is that of its whole scale, half is each place's own: a smooth one here
    own = np.interp(_FINE, np.arange(0.0, 351.0, 50.0), _THERMOMETER * rng.standard_normal(8))
    value = _lost(_FINE + np.sqrt(0.5) * (off + own)) + _MASS_STD * rng.standard_normal(_FINE.size)
    course = Course("balance", _FINE, value, np.full(_FINE.size, _MASS_STD), np.zeros((0, _FINE.size)))
    return with_thermometer(course, _THERMOMETER)


def _by_valence(rng: np.random.Generator, error: float) -> tuple[Course, Estimate]:
    """White lines on a scale whose slope the analysis has wrong by the factor ``error``; and the valence before."""
    edges = _ZERO + _SLOPE * error * _STANDARDS + _STANDARDS_STD * rng.standard_normal(3)
    line = valence_line_from_standards(edge_energy=edges, valence=_STANDARDS, edge_std=np.full(3, _STANDARDS_STD))
    seen = _ZERO + _SLOPE * _valence(_lost(_LOOKED_AT)) + _LINE_STD * rng.standard_normal(4)
    per_line = float(lost_from_valence(change=1.0, nickel=_SHARES["Ni"])) / line.slope
    std = np.full(3, abs(per_line) * _LINE_STD)
    factor = float(np.sqrt(line.covariance[1, 1])) / line.slope
    course = Course("white line", _LOOKED_AT[1:], per_line * (seen[1:] - seen[0]), std, std[None], factor)
    valence = (seen[0] - line.intercept) / line.slope
    (zero, both), (_, slope) = line.covariance
    own = np.sqrt(zero + 2 * valence * both + valence**2 * slope + line.scatter**2) / line.slope
    return with_thermometer(course, 0.0), Estimate(valence, _LINE_STD / line.slope, float(own))


def _by_occupancies(rng: np.random.Generator) -> Course:
    value = _lost(_PATTERNS) + _OCCUPANCY_STD * rng.standard_normal(_PATTERNS.size)
    std = np.full(_PATTERNS.size - 1, _OCCUPANCY_STD)
    return Course("occupancies", _PATTERNS[1:], value[1:] - value[0], std, std[None])


def _study(rng: np.random.Generator, *, scale: float = 1.0, lithium: float = _LITHIUM) -> tuple[Balance, Estimate]:
    """Analysed with a scale that is wrong by a factor, and with another content of lithium."""
    line, valence = _by_valence(rng, scale)
    courses = [at_temperatures(one, _LOOKED_AT[1:]) for one in (_by_mass(rng), line, _by_occupancies(rng))]
    content = Estimate(lithium + _LITHIUM_STD * rng.standard_normal(), _LITHIUM_STD)
    return balance_of(courses), start_discrepancy(lithium=content, nickel_valence=valence, shares=_SHARES)


def _holds(what: str, inside: int, count: int, expected: float) -> bool:
    """Print how often, and whether that is in the 99 % range of what is expected."""
    low, high = binom.interval(0.99, count, expected)
    print(f"{what}: {inside} of {count} = {100 * inside / count:.1f} % (99 % range {low:.0f} to {high:.0f})")
    return bool(low <= inside <= high)


def drawn() -> bool:
    """Coverage and alarms where all is right; what is found of what is wrong."""
    rng = np.random.default_rng(3)
    found = [_study(rng) for _ in range(_STUDIES)]
    pull = np.array([(one.lost - _lost(one.temperature)) / one.std for one, _ in found])
    print("all probes right")
    held = True
    for place, t in enumerate(_LOOKED_AT[1:]):
        z = pull[:, place]
        print(f"  {t:g} degC: pull {z.mean():+.2f}, width {z.std():.2f}")
        held &= _holds("    68 %", int(np.sum(np.abs(z) < 1)), z.size, 0.6827)
        held &= _holds("    95 %", int(np.sum(np.abs(z) < 1.96)), z.size, 0.95)
    held &= _holds("  contradiction told", sum(one.probability < 0.05 for one, _ in found), len(found), 0.05)
    alarms = sum(bool(min(holm([each.probability for each in one.each])) < 0.05) for one, _ in found)
    _holds("  a probe said to differ (Holm)", alarms, len(found), 0.05)
    held &= alarms <= binom.interval(0.99, len(found), 0.05)[1]
    start = np.array([one.value / one.total for _, one in found])
    print(f"  charges before: pull {start.mean():+.2f}, width {start.std():.2f}")
    held &= _holds("    beyond two sigma", int(np.sum(np.abs(start) > 1.96)), start.size, 0.05)
    return held & _wrong_scales(rng) & _wrong_lithium(rng)


def _wrong_scales(rng: np.random.Generator) -> bool:
    """Whether a scale 1.4 times too steep and more is found in nine of ten studies."""
    held = True
    for scale in (1.2, 1.4, 1.7, 2.0):
        found = [_study(rng, scale=scale) for _ in range(100)]
        told = [one for one, _ in found if one.probability < 0.05]
        odd = sum(max(one.each, key=lambda each: each.rest).name == "white line" for one in told)
        factor = np.mean([one.each[1].factor for one, _ in found])
        print(
            f"scale {scale:g} times too steep: contradiction in {len(told)} %, laid to the white line in {odd} %, ",
            end="",
        )
        print(f"which finds {factor:.2f} of the others (true {1 / scale:.2f})")
        held &= scale < 1.4 or odd >= 90
    return held


def _wrong_lithium(rng: np.random.Generator) -> bool:
    """Whether 0.2 lithium too much are found in nine of ten studies."""
    held = True
    for lithium in (0.4, 0.5, 0.6):
        found = [_study(rng, lithium=lithium) for _ in range(100)]
        seen = sum(abs(one.value) > 2 * one.total for _, one in found)
        missed = np.mean([one.value for _, one in found])
        print(f"lithium {lithium:g} for {_LITHIUM:g}: charges before do not balance in {seen} %, by {missed:+.3f} O")
        held &= lithium < 0.5 or seen >= 90
    return held


def against_truth(places: list[str]) -> None:
    """Every probe of analysed virtual studies against what it should find."""
    for place in places:
        study = Study.open(Path(place))
        for name in study.measurements("result"):
            if name in study.measurements("truth"):
                _compare(study, name)


def _compare(study: Study, name: str) -> None:
    arrays = set(study.arrays("result", name)) & set(study.arrays("truth", name))
    if "oxygen_content" in arrays:
        found, true = (study.read(kind, name).load() for kind in ("result", "truth"))
        t = found["temperature"].values
        value, std = (found[f"oxygen_content{end}"].values[0] for end in ("", "_std"))
        right = np.interp(t, true["temperature"].values, true["oxygen_content"].values[0])
        _show(name, "balance", right - value, std)
    if "white_line_mean" in arrays:
        found, true = (
            study.read(kind, name, ["white_line_mean"]).load()["white_line_mean"] for kind in ("result", "truth")
        )
        std = study.read("result", name, ["white_line_mean_std"])["white_line_mean_std"].values
        per_line = -0.5 * _SHARES["Ni"] / _SLOPE
        steps = [(one.values[1:] - one.values[0]) * per_line for one in (found, true)]
        _show(name, "white line", steps[0] - steps[1], np.hypot(std[1:], std[0]) * abs(per_line))
    if "oxygen_occupancy" in arrays and "oxygen_occupancy_std" in study.arrays("result", name):
        _compare_occupancies(study, name)


def _compare_occupancies(study: Study, name: str) -> None:
    found, true = (study.read(kind, name).load() for kind in ("result", "truth"))
    for column, structure in enumerate(("layered", "spinel")):
        exchanged = structure == "layered"
        values = [
            oxygen_per_metal(
                structure=structure,
                occupancy=one["oxygen_occupancy"].values[:, column],
                antisite=one["antisite"].values[:, column],
                exchanged=exchanged,
            )
            for one in (found, true)
        ]
        std = 2 * found["oxygen_occupancy_std"].values[:, column]
        _show(name, f"oxygen per metal of the {structure}", values[0] - values[1], std)


def _show(name: str, what: str, error: np.ndarray, std: np.ndarray) -> None:
    pull = error / std
    known = np.isfinite(pull)
    if known.sum() > 1:
        print(f"{name}, {what}: {known.sum()} values, mean error {error[known].mean():+.4f}, ", end="")
        print(f"pull {pull[known].mean():+.2f}, width {pull[known].std():.2f}")


def main() -> int:
    """1 if drawn studies are not as they must be."""
    if len(sys.argv) > 1 and sys.argv[0].endswith("relate_oxygen.py"):
        against_truth(sys.argv[1:])
        return 0
    return 0 if drawn() else 1


if __name__ == "__main__":
    sys.exit(main())
