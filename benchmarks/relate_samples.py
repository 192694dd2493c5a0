"""Are identical samples told apart, and do intervals of differences hold? Drawn numbers, and virtual studies.

Drawn: studies of twelve quantities, 1 to 6 particles of each sample, unequal spreads, a cause that all readings share
and one that each sample has for itself. Held if the chance of any false alarm in a study (Holm) is 5 % or less,
and 68 and 95 % intervals hold no fewer true differences than they say, to 99 % of the binomial law.

Virtual: the same powder in balance, calorimeter and solution, and the same three coin cells' kind, measured twice with
other noise (seeds 1 to 40, two a study), read and analysed as files of two samples. Held alike.

Run with: python -m benchmarks.relate_samples
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from unittest.mock import patch

import numpy as np
import xarray as xr
from scipy import stats

from cathoscope.core.parallel import Resources, Silent
from cathoscope.core.study import Study
from cathoscope.flow.recipe import load_recipe
from cathoscope.flow.relations import Gathered, Member, gathered_members
from cathoscope.flow.run import run
from cathoscope.flow.steps.relate_samples import LEVEL, SAMPLES
from cathoscope.relate.samples import SINGLE, Reading, difference_of, holm_adjusted
from cathoscope.virtual import coin_study, lab_study
from cathoscope.virtual.study import simulate_study

STUDIES, QUANTITIES = 1000, 12
NUMBERS = ((1, 1), (1, 3), (2, 2), (3, 3), (2, 6), (3, 5), (6, 6))
SPREADS = ((0.0, 0.0), (1.0, 1.0), (1.0, 3.0), (3.0, 1.0))
NOISE, SHARED, OWN = 0.5, 2.0, 0.7
PAIRS = 20
_ENDS = {"68 %": 0.6827, "95 %": 0.95}


def readings(rng: np.random.Generator, number: int, spread: float, common: tuple[float, float]) -> list[Reading]:
    """A sample of which each particle departs, is read with noise, and shares two errors."""
    values = rng.normal(0, spread, number) + rng.normal(0, NOISE, number) + sum(common)
    causes = {"foil": SHARED, f"own {common[1]}": OWN}
    return [Reading(float(value), NOISE, causes, unit=f"{place}") for place, value in enumerate(values)]


def drawn(numbers: tuple[int, int], spreads: tuple[float, float]) -> tuple[float, dict[str, float], int]:
    """Share of studies with a false alarm, and of intervals that hold; and how many intervals there were."""
    rng = np.random.default_rng((7, *numbers, *(int(one) for one in spreads)))
    alarms, held = 0, dict.fromkeys(_ENDS, 0)
    for _ in range(STUDIES):
        chances = []
        for _ in range(QUANTITIES):
            foil = rng.normal(0, SHARED)
            sides = [
                readings(rng, number, spread, (foil, rng.normal(0, OWN)))
                for number, spread in zip(numbers, spreads, strict=True)
            ]
            told = difference_of(*sides)
            assert told is not None
            chances.append(told.probability)
            for name, (low, high) in zip(_ENDS, (told.interval, told.wide_interval), strict=True):
                held[name] += low <= 0 <= high
        alarms += bool((holm_adjusted(chances) < LEVEL).any())
    n = STUDIES * QUANTITIES
    return alarms / STUDIES, {name: count / n for name, count in held.items()}, n


@cache
def _track(rate: float, oxygen: float) -> object:
    preset = lab_study.LAB_PRESETS["rod-lab"]
    return _oxide_track(lab_study.LabPlan(preset, preset.sizes["small"], 1), "rod", rate, oxygen)


@cache
def _wear(name: str) -> object:
    preset = coin_study.COIN_PRESETS["rod-cells"]
    return _wear_of_plan(coin_study.CoinPlan(preset, preset.sizes["small"], 1), name)


_oxide_track, _wear_of_plan = lab_study.oxide_track, coin_study.CoinPlan.wear


def analysed(preset: str, seed: int, folder: Path) -> tuple[Member, ...]:
    """A virtual study of the particle of seed 1, measured with the noise of ``seed`` and analysed."""
    with (
        patch.object(lab_study, "oxide_track", lambda plan, name, rate, oxygen: _track(rate, oxygen)),
        patch.object(coin_study.CoinPlan, "wear", lambda plan, name: _wear(name)),
    ):
        simulate_study(preset, size="small", seed=seed, folder=folder, resources=Resources(threads=1))
    recipe = load_recipe(folder / "study.toml")
    run(recipe, folder / "study.zarr", resources=Resources(threads=1), progress=Silent())
    return gathered_members(recipe, Study.open(folder / "study.zarr"), SAMPLES)


def compared(preset: str, pair: int) -> xr.Dataset:
    """Two measurements of one and the same as if of two samples."""
    members: list[Member] = []
    with tempfile.TemporaryDirectory() as scratch:
        for side in (0, 1):
            folder = Path(scratch) / f"{side}"
            members += [
                _as_of_another(one, f"{one.sample}-{side}")
                for one in analysed(preset, 2 * pair + side + 1, folder)
                if one.technique != "relation"
            ]
            choices = load_recipe(folder / "study.toml").model.relate
        names = dict.fromkeys(member.sample for member in members)
        found = SAMPLES.function(Gathered(tuple(members), dict.fromkeys(names), choices, Resources(), Silent()))
    assert found is not None
    return found


def _as_of_another(member: Member, sample: str) -> Member:
    """Loaded, and under another sample's name: what has one name is one measurement, whose errors cancel."""
    data = member.data.load()
    if "spectrum" in data.coords and "names" in data["spectrum"].attrs:
        names = [name.replace(member.sample, sample) for name in data["spectrum"].attrs["names"]]
        data["spectrum"].attrs["names"] = names
    name = member.name.replace(member.sample, sample, 1)
    return Member(name, sample, None, member.technique, member.section, data)


def virtual(preset: str, pairs: Sequence[int]) -> Iterator[xr.Dataset]:
    """All pairs of one preset, told as they come."""
    for pair in pairs:
        found = compared(preset, pair)
        false = [_names(found)[row] for row in np.flatnonzero(_alarms(found))]
        print(
            f"{preset}, pair {pair + 1}: {found.sizes['comparison']} comparisons, false: {false or 'none'}", flush=True
        )
        yield found


def _in_range(share: float, level: float, n: int) -> bool:
    low, high = stats.binom.interval(0.99, n, level)
    return bool(low <= share * n <= high)


def _report_virtual(preset: str, found: Sequence[xr.Dataset]) -> bool:
    alarmed = sum(bool(_alarms(one).any()) for one in found)
    names = list(dict.fromkeys(name for one in found for name in _names(one)))
    total, held = 0, dict.fromkeys(_ENDS, 0)
    good = stats.binom.ppf(0.995, len(found), LEVEL) >= alarmed
    for name in names:
        inside = {level: [] for level in _ENDS}
        for one in found:
            if name in _names(one):
                row = one.isel(comparison=_names(one).index(name))
                if (
                    one["comparison"].attrs["kinds"][_names(one).index(name)] == "cell"
                    and row["comparison_scope"] == SINGLE
                ):
                    continue
                for level, ends in zip(_ENDS, (("low", "high"), ("wide_low", "wide_high")), strict=True):
                    low, high = (float(row[f"comparison_{end}"]) for end in ends)
                    inside[level].append(low <= 0 <= high)
        n = len(inside["68 %"])
        if not n:
            continue
        total += n
        text = []
        for level, told in _ENDS.items():
            held[level] += sum(inside[level])
            verdict = "" if _in_range(np.mean(inside[level]), told, n) else " (outside)"
            good &= sum(inside[level]) >= stats.binom.ppf(0.005, n, told)
            text.append(f"{level} held {sum(inside[level])} of {n}{verdict}")
        print(f"  {name}: {', '.join(text)}")
    shares = ", ".join(f"{level} {held[level] / total:.3f}" for level in _ENDS)
    print(f"{preset}: {alarmed} of {len(found)} studies with a false alarm; intervals held {shares} of {total}")
    return bool(good)


def _alarms(found: xr.Dataset) -> np.ndarray:
    """Which comparisons call identical samples different; single cells do differ, which is no false alarm."""
    cells = np.array([kind == "cell" for kind in found["comparison"].attrs["kinds"]])
    return (found["comparison_corrected"].values < LEVEL) & ~(cells & (found["comparison_scope"].values == SINGLE))


def _names(found: xr.Dataset) -> list[str]:
    return list(found["comparison"].attrs["names"])


def main() -> int:
    """Print every case; 1 if alarms are too many or intervals too short."""
    good = True
    for numbers in NUMBERS:
        for spreads in SPREADS:
            if numbers == (1, 1) and any(spreads):
                continue  # of one particle each nothing is said of the samples
            if numbers == (1, 3) and spreads[0] != spreads[1]:
                continue  # said to hold only if both samples scatter alike
            alarms, held, n = drawn(numbers, spreads)
            told = ", ".join(f"{name} {share:.3f}" for name, share in held.items())
            print(
                f"{numbers[0]} and {numbers[1]}, spreads {spreads}: false alarm {alarms:.4f}; held {told}", flush=True
            )
            good &= alarms * STUDIES <= stats.binom.ppf(0.995, STUDIES, LEVEL)
            good &= all(share * n >= stats.binom.ppf(0.005, n, _ENDS[name]) for name, share in held.items())
    for preset in ("rod-lab", "rod-cells"):
        good &= _report_virtual(preset, list(virtual(preset, range(PAIRS))))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
