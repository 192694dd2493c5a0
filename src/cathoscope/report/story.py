"""What a study found, in words at the head of its report, most important first; every sentence is made from numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from cathoscope.core.relations import place_of
from cathoscope.core.study import Study
from cathoscope.report.comparisons import (
    NOTHING,
    SAMPLES_DIFFER,
    UNITS_DIFFER,
    Compared,
    amount,
    chance,
    comparisons_of,
    conditions,
    grouped,
    joined,
    placed,
    quantity,
)
from cathoscope.report.doubts import doubts_of
from cathoscope.report.numbers import format_value
from cathoscope.report.relations import RelationPart
from cathoscope.report.summary import MeasurementSummary

_ROOM = 40.0  # degC, below which nothing has been heated
_STATES = ("white_line_mean", "valence_mean", "state_of_charge_mean")
_MOST_CLAUSES = 5
_MOST_ALIKE = 9
_MOST_PLACES = 3
_LONGEST = 900  # letters that another relation may take


@dataclass(frozen=True)
class Point:
    """One thing a reader wants to know, and the answer in whole sentences, or as a list."""

    head: str
    text: str = ""
    items: tuple[str, ...] = ()


def story_of(
    study: Study,
    summaries: Sequence[MeasurementSummary],
    results: dict[str, xr.Dataset],
    parts: Sequence[RelationPart],
) -> tuple[Point, ...]:
    """The summary in words; empty if nothing several measurements tell and nothing is in doubt."""
    rows = _comparisons(study)
    points = [point for pair in dict.fromkeys(one.samples for one in rows) for point in _of_pair(rows, pair)]
    points += _equal_porosity(study)
    points += _of_relations(parts)
    alike = _not_distinguishable([one for one in rows if not one.is_likely])
    points += [alike] if alike else []
    doubts = doubts_of(summaries, results, rows)
    if doubts:
        points.append(Point("Do not trust", items=tuple(f"{_capital(doubt)}." for doubt in doubts)))
    return tuple(replace(point, text=_capital(point.text)) for point in points)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _comparisons(study: Study) -> list[Compared]:
    place = place_of("samples")
    return comparisons_of(study.read("result", place)) if study.arrays("result", place) else []


def _of_pair(rows: Sequence[Compared], samples: tuple[str, str]) -> Iterator[Point]:
    of_pair = [one for one in rows if one.samples == samples]
    several = len({one.samples for one in rows}) > 1
    told = f", {joined(samples)}" if several else ""
    safer = _safer(of_pair)
    if safer:
        yield Point(f"Which sample is safer{told}", safer)
    earlier = _reduced_earlier(of_pair)
    if earlier:
        yield Point(f"Reduced earlier{told}", earlier)
    used = {one.array for one in of_pair if one.safer} if safer else set()
    other = [one for one in of_pair if one.verdict != NOTHING and one.array not in {*used, *_STATES}]
    if other:
        yield Point(f"{'Also different' if safer or earlier else 'Different'}{told}", _clauses(other))
    likely = [one for one in of_pair if one.is_likely]
    if likely:
        rest = "Of differences this clear 5 % at most are expected to be false; that none is cannot be claimed."
        yield Point(f"Likely different, not beyond doubt{told}", f"{_clauses(likely)} {rest}")


def _temperature(one: Compared) -> float | None:
    """The temperature at which a value was taken; None if it is no state at a temperature."""
    found = re.match(r"(-?\d+(?:\.\d+)?) °C", one.place)
    return float(found.group(1)) if found else None


def _is_heated(one: Compared) -> bool:
    temperature = _temperature(one)
    return temperature is None or temperature > _ROOM


def _safer(rows: Sequence[Compared]) -> str:
    """Which sample stands heat better, by how many quantities, and how sure that is."""
    asked = [one for one in rows if one.safer and _is_heated(one)]
    found = [one for one in asked if one.verdict != NOTHING]
    if not asked:
        return ""
    if not found:
        names = list(dict.fromkeys(one.words for one in asked))
        return f"Neither: {joined(rows[0].samples)} are not distinguishable in {joined(names)}."
    votes: dict[str, list[Compared]] = {}
    for one in sorted(found, key=lambda each: (each.verdict, each.corrected)):
        votes.setdefault(one.safe_sample, []).append(one)
    if len(votes) > 1:
        return _divided(votes)
    ((sample, on),) = votes.items()
    other = next(name for name in rows[0].samples if name != sample)
    quantities = {one.array for one in on}
    n, m = len(quantities), len({one.array for one in asked})
    head = f"{sample} stands heat better than {other} in {n} of {m} quantities that bear on it"
    if m == 1:
        head = f"{sample} stands heat better than {other} by the one quantity that bears on it"
    open_ = [one for one in asked if one.array not in quantities]
    rest = "" if n == m else f", and {other} in none ({_few_names(open_)}: not distinguishable)"
    doubtful = [one for one in on if one.doubts]
    doubt = f" Doubts on {_few_names(doubtful)} are below." if doubtful else ""
    return f"{head}{rest}: {_clauses(on)} {_how_sure(on)}{doubt}"


def _divided(votes: dict[str, list[Compared]]) -> str:
    sides = [f"{sample} is the better one by {joined(_names(on))}" for sample, on in votes.items()]
    return f"The probes do not agree: {'; '.join(sides)}. {_clauses([one for on in votes.values() for one in on])}"


def _few_names(rows: Sequence[Compared]) -> str:
    names = _names(rows)
    left = len(names) - _MOST_PLACES
    return joined(names if left <= 1 else [*names[:_MOST_PLACES], f"{left} more"])


def _names(rows: Sequence[Compared]) -> list[str]:
    return list(dict.fromkeys(one.words for one in rows))


def _how_sure(rows: Sequence[Compared]) -> str:
    sure = [one for one in rows if one.verdict == SAMPLES_DIFFER]
    if sure:
        best = min(sure, key=lambda one: one.corrected)
        return (
            f"This holds for the samples: of {best.stands_on}, the {best.words} was measured, and if the samples were "
            f"alike, chance would make any difference this clear in {chance(best.corrected)} of such studies."
        )
    kinds = list(dict.fromkeys(one.kind for one in rows))
    return (
        f"How sure: of each sample one {' or one '.join(kinds)} was measured, and what differs clearly is these; how "
        "much others of the same sample would differ is not known."
    )


def _reduced_earlier(rows: Sequence[Compared]) -> str:
    """The lowest temperature at which one particle state is clearly more reduced, and where they meet again."""
    for array in _STATES:
        of_array = [one for one in rows if one.array == array and (_temperature(one) or 0.0) > _ROOM]
        different = [one for one in of_array if one.verdict != NOTHING]
        if not different:
            continue
        first = min(different, key=lambda one: _temperature(one) or 0.0)
        lower, higher = first.samples if first.value < 0 else first.samples[::-1]
        again = [one for one in of_array if one.verdict == NOTHING]
        tail = f" The two are not distinguishable in {quantity(again)}." if again else ""
        stands = f"; {first.stands_on}" if first.verdict == UNITS_DIFFER else ""
        return (
            f"{lower}: its {first.words} lies lower than that of {higher} ({amount(first)}{stands}). "
            f"This is the lowest temperature of heating at which they differ.{tail}"
        )
    return ""


def _clauses(rows: Sequence[Compared]) -> str:
    """One clause per quantity, the clearest of its conditions with numbers; samples before single particles."""
    groups = sorted(grouped(rows), key=lambda group: group[0].verdict)
    told = []
    for group in groups[:_MOST_CLAUSES]:
        best = min(group, key=lambda one: (one.verdict, one.corrected))
        others = [one.place for one in group if one is not best and one.place][:_MOST_PLACES]
        likewise = f"; likewise {placed(conditions(others)).strip()}" if others else ""
        single = f"; {best.stands_on}" if best.verdict == UNITS_DIFFER else ""
        side = "lower" if best.value < 0 else "higher"
        named = "" if best.words in best.said else f"{best.words} {side} "
        told.append(f"{best.said} ({named}{amount(best)}{single}{likewise})")
    left = len(groups) - len(told)
    more = [f"{left} more {'quantity differs' if left == 1 else 'quantities differ'}"] if left else []
    return f"{'; '.join(told + more)}."


def _equal_porosity(study: Study) -> Iterator[Point]:
    """After how many cycles the denser sample is as porous as the other was before."""
    place = place_of("samples")
    if "equal_cycle" not in study.arrays("result", place):
        return
    data = study.read("result", place)
    for row in range(data.sizes["equal"]):
        first, second = (data["equal"].attrs[key][row] for key in ("first", "second"))
        names = ("after", "porosity", "porosity_std", "cycle", "cycle_low", "cycle_high")
        after, porosity, std, cycle, low, high = (float(data[f"equal_{name}"][row]) for name in names)
        level = format_value(100 * porosity, 100 * std, "1")
        ends = f"68 %: {low:.1f} to {high:.1f}" if np.isfinite(high) else f"68 %: {low:.1f} or later"
        reached = f"reaches it after {cycle:.1f} cycles ({ends})"
        if not np.isfinite(cycle):
            reached = "does not reach it within the cycles that were measured"
            if np.isfinite(low):
                reached += f", but by its uncertainty may after {low:.1f} cycles or later (68 %)"
        text = f"After {after:g} cycles {first} has a porosity of {level} %; {second} {reached}."
        yield Point("Cycles until equal porosity", text)


def _not_distinguishable(rows: Sequence[Compared]) -> Point | None:
    alike = [quantity(group) for group in grouped(one for one in rows if one.verdict == NOTHING)]
    if not alike:
        return None
    left = len(alike) - _MOST_ALIKE
    shown = [*alike[:_MOST_ALIKE], *([f"{left} more"] if left > 0 else [])]
    return Point("Not distinguishable", f"{joined(shown)}.")


def _of_relations(parts: Sequence[RelationPart]) -> Iterator[Point]:
    """What each other relation says for the head of the page, as far as it is short."""
    for part in parts:
        text = ""
        for sentence in part.heads if part.name != "samples" else ():
            if len(text) + len(sentence) > _LONGEST and text:
                break
            text = f"{text} {_capital(sentence)}".strip()
        if text:
            yield Point(part.title, text)
