"""Tables of `benchmarks.summary`: pulls and coverage by quantity over seeds, and identical samples told apart.

Numbers of one seed are not independent (one track, one foil, one calibration), so quantities are counted over seeds,
and the whole is judged by the share of each seed: its mean over seeds, with the 99 % interval that the scatter of
these shares leaves (Student's t, seeds as blocks).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from benchmarks.summary import Compared, Value
from cathoscope.flow.steps.relate_samples import LEVEL
from cathoscope.relate.multiple_tests import holm
from cathoscope.relate.sample_metrics import METRICS
from cathoscope.relate.samples import Difference, Reading, difference_of

Kept = Sequence[tuple[str, int, list[Value], list[Compared]]]

LEVELS = {"68 %": 0.6827, "95 %": 0.95}
_WIDE = 1.959964
_WORDS = {metric.array: metric.words for metric in METRICS} | {
    "metal_share": "share among the metals",
    "lithium_per_metal": "lithium per metal",
    "porosity_at_cycle": "porosity at a cycle",
}
_FEW = 8  # seeds, below which coverage of one quantity says little
_GROUP = 3  # seeds that stand for three particles of one sample


class Held(NamedTuple):
    """One number of one seed: pull, whether its intervals hold the truth."""

    seed: int
    pull: float
    inside: Mapping[str, bool]


def held_of_value(seed: int, one: Value) -> Held | None:
    """A reading against its truth; None where there is no truth or no uncertainty."""
    if one.truth is None or not np.isfinite(one.truth):
        return None
    sigma = one.below if one.truth < one.value else one.above
    if not sigma > 0:
        return None
    pull = (one.value - one.truth) / sigma if np.isfinite(sigma) else 0.0
    return Held(seed, pull, {"68 %": abs(pull) <= 1, "95 %": abs(pull) <= _WIDE})


def held_of_difference(seed: int, one: Compared) -> Held | None:
    """A difference against its truth."""
    if one.truth is None or not np.isfinite(one.truth):
        return None
    ends = {"68 %": one.interval, "95 %": one.wide_interval}
    inside = {level: low <= one.truth <= high for level, (low, high) in ends.items()}
    return Held(seed, (one.value - one.truth) / one.std, inside)


def tables(found: Kept) -> int:
    """Print all of them; 1 if a quantity or the whole lies outside of what chance allows."""
    good = True
    values = _grouped(
        ((part, one.quantity, f"{one.member} {one.place}".strip()), held_of_value(seed, one))
        for part, seed, rows, _ in found
        for one in rows
    )
    differences = _grouped(
        ((part, one.quantity, one.place), held_of_difference(seed, one))
        for part, seed, _, rows in found
        for one in rows
    )
    for title, groups in (("Numbers", values), ("Differences of samples", differences)):
        print(f"\n### {title}\n")
        good &= _print_quantities(groups)
    print("\n### Identical samples\n")
    good &= _identical(found)
    return 0 if good else 1


def _grouped(rows: Iterable[tuple[tuple[str, str, str], Held | None]]) -> dict[tuple[str, str, str], list[Held]]:
    groups: dict[tuple[str, str, str], list[Held]] = {}
    for key, one in rows:
        if one is not None:
            groups.setdefault(key, []).append(one)
    return groups


def _print_quantities(groups: Mapping[tuple[str, str, str], list[Held]]) -> bool:
    """One line per part and quantity, all places together; a place is named where it holds less often than chance."""
    print("| part | quantity | numbers | seeds | pull | 68 % | 95 % | places that miss |")
    print("|---|---|---|---|---|---|---|---|")
    good = True
    for (part, quantity), keys in itertools.groupby(sorted(groups), key=lambda key: key[:2]):
        places = {key[2]: groups[key] for key in keys}
        rows = [one for of in places.values() for one in of]
        missed = [f"{place} {_short(of)}" for place, of in places.items() if _misses(of)]
        seeds = len({one.seed for one in rows})
        pulls = np.array([one.pull for one in rows])
        shares = " | ".join(_share(rows, level) for level in LEVELS)
        pull = f"{pulls.mean():+.2f} ± {pulls.std():.2f}"
        print(
            f"| {part} | {_WORDS.get(quantity, quantity)} | {len(places)} | {seeds} | {pull} | {shares} | "
            f"{'; '.join(missed[:4])}{f'; {len(missed) - 4} more' if len(missed) > 4 else ''} |"
        )
        good &= not missed
    return good & _print_whole(groups)


def _share(rows: Sequence[Held], level: str) -> str:
    return f"{np.mean([one.inside[level] for one in rows]):.3f}"


def _short(rows: Sequence[Held]) -> str:
    pulls = np.array([one.pull for one in rows])
    counts = ", ".join(f"{sum(one.inside[level] for one in rows)}" for level in LEVELS)
    return f"({pulls.mean():+.1f} ± {pulls.std():.1f}; {counts} of {len(rows)})"


def _misses(rows: Sequence[Held]) -> bool:
    """Fewer intervals of one number over seeds hold the truth than the 99 % binomial range allows."""
    n = len(rows)
    return n >= _FEW and any(
        sum(one.inside[name] for one in rows) < stats.binom.ppf(0.005, n, level) for name, level in LEVELS.items()
    )


def _print_whole(groups: Mapping[tuple[str, str, str], list[Held]]) -> bool:
    """Share of intervals that hold, of each part and of all; all numbers of a seed are one block."""
    print("\n| part | seeds | numbers | 68 % | 99 % range | 95 % | 99 % range | told at 99 %: too seldom, too often |")
    print("|---|---|---|---|---|---|---|---|")
    parts = dict.fromkeys(part for part, _, _ in groups)
    good = True
    for part in (*parts, "all"):
        good &= _print_part(part, {key: of for key, of in groups.items() if part in (key[0], "all")})
    return good


def _print_part(part: str, groups: Mapping[tuple[str, str, str], list[Held]]) -> bool:
    rows = [one for of in groups.values() for one in of]
    seeds = sorted({one.seed for one in rows})
    counted = [of for of in groups.values() if len(of) >= _FEW]
    told, good = [], True
    for name, level in LEVELS.items():
        shares = np.array([np.mean([one.inside[name] for one in rows if one.seed == seed]) for seed in seeds])
        low, high = _by_seeds(shares)
        told.append(f"{shares.mean():.3f} | {low:.3f} to {high:.3f}" if shares.size > 2 else f"{shares.mean():.3f} | ")
        good &= not high < level
    sides = [
        sum(_outside(of, name, level, side) for of in counted for name, level in LEVELS.items()) for side in (-1, 1)
    ]
    of = f"{sides[0]}, {sides[1]} of {2 * len(counted)}" if counted else ""
    print(f"| {part} | {len(seeds)} | {len(rows)} | {told[0]} | {told[1]} | {of} |")
    return good


def _by_seeds(shares: np.ndarray) -> tuple[float, float]:
    """99 % interval of the mean over seeds; open for one."""
    if shares.size < 2:
        return -np.inf, np.inf
    reach = stats.t.ppf(0.995, shares.size - 1) * shares.std(ddof=1) / np.sqrt(shares.size)
    return float(shares.mean() - reach), float(shares.mean() + reach)


def _outside(rows: Sequence[Held], name: str, level: float, side: int) -> bool:
    count, n = sum(one.inside[name] for one in rows), len(rows)
    low, high = stats.binom.interval(0.99, n, level)
    return bool(count < low if side < 0 else count > high)


# -- identical samples ----------------------------------------------------------------------------------------------


class _Cell(NamedTuple):
    """What is compared: part, sample, quantity, place, series."""

    part: str
    sample: str
    quantity: str
    place: str
    series: str


def _identical(found: Kept) -> bool:
    """The same sample of two seeds, and of three and three: how many comparisons call them different."""
    of: dict[tuple[str, str], dict[int, dict[_Cell, list[Value]]]] = {}
    for part, seed, values, _ in found:
        for one in values:
            if one.quantity in {metric.array for metric in METRICS}:
                cell = _Cell(part, one.sample, one.quantity, one.place, one.series)
                of.setdefault((part, one.sample), {}).setdefault(seed, {}).setdefault(cell, []).append(one)
    single = list(_compared_seeds(of, 1))
    several = list(_compared_seeds(of, _GROUP))
    print("| compared | studies | comparisons | p below 5 % | called different | studies with a false alarm |")
    print("|---|---|---|---|---|---|")
    good = True
    for words, studies in (("one seed and another, each less its truth", single), ("three seeds and three", several)):
        total, raw, called = sum(len(one) for one in studies), 0, 0
        alarms = 0
        for one in studies:
            chances = [told.probability for told in one]
            raw += sum(chance < LEVEL for chance in chances)
            corrected = holm(chances) if chances else np.zeros(0)
            called += int((corrected < LEVEL).sum())
            alarms += bool((corrected < LEVEL).any())
        share = f"{raw / max(total, 1):.1%}"
        print(f"| {words} | {len(studies)} | {total} | {share} | {called / max(total, 1):.2%} | {alarms} |")
        good &= called <= LEVEL * max(total, 1)
    return good


def _compared_seeds(
    of: Mapping[tuple[str, str], Mapping[int, Mapping[_Cell, list[Value]]]], group: int
) -> Iterator[list[Difference]]:
    """Disjoint pairs of groups of seeds; of single seeds every reading is taken less its truth."""
    for seeds in of.values():
        numbers = sorted(seeds)
        for start in range(0, len(numbers) - 2 * group + 1, 2 * group):
            chosen = numbers[start : start + 2 * group]
            shared = [cell for cell in seeds[chosen[0]] if all(cell in seeds[seed] for seed in chosen)]
            sides = (chosen[:group], chosen[group:])
            told = [one for cell in shared if (one := _difference(seeds, cell, sides)) is not None]
            if told:
                yield told


def _difference(
    seeds: Mapping[int, Mapping[_Cell, list[Value]]], cell: _Cell, sides: tuple[Sequence[int], Sequence[int]]
) -> Difference | None:
    """One comparison of seeds with other seeds; None where a truth is missing or nothing says how sure values are."""
    group = len(sides[0])
    readings = [[_reading(one, seed, group) for seed in side for one in seeds[seed][cell]] for side in sides]
    known = [[one for one in side if one is not None] for side in readings]
    if any(len(a) < len(b) for a, b in zip(known, readings, strict=True)):
        return None
    told = difference_of(*known)
    return told if told is not None and np.isfinite(told.probability) else None


def _reading(one: Value, seed: int, group: int) -> Reading | None:
    """Of another seed, so nothing is shared but what the method has; of groups a seed is a particle."""
    if group == 1 and one.truth is None:
        return None
    causes = {name if name.endswith(": method") else f"{seed} {name}": std for name, std in one.causes.items()}
    shared = float(np.sqrt(sum(std**2 for std in causes.values())))
    ends = None
    if one.below != one.above:
        ends = tuple(float(np.sqrt(max(end**2 - shared**2, 0.0))) for end in (one.below, one.above))
    value = one.value if group > 1 or one.truth is None else one.value - one.truth
    unit = f"seed {seed}" if group > 1 else f"seed {seed} {one.unit}"
    return Reading(value, one.std, causes, ends, unit)  # type: ignore[arg-type]
