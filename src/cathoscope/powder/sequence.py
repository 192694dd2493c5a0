"""A series of patterns through temperature: each starts where its neighbour ended, phases come and go.

A phase that need not be there is switched on where the information criterion supports it: twice the gain in likelihood
has to exceed the logarithm of the number of points for every number that the phase frees. A weak phase frees its scale
alone and keeps the cell and widths of its neighbour. The series may be followed up, down, or both ways; then each
pattern keeps the better of its two ends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from cathoscope.core.errors import MeasurementError
from cathoscope.core.parallel import Progress, Silent
from cathoscope.numerics.dual import value_of
from cathoscope.powder.crystallite import Crystallite
from cathoscope.powder.model import Pattern, model_of
from cathoscope.powder.refine import Outcome
from cathoscope.powder.strategy import Plan, Refinement, names_of, prepared, refined_from

Load = Callable[[int], Sequence[Pattern]]
"""The patterns of one temperature, by its number."""

_WEAK = 12.0  # scale over its uncertainty below which a phase frees nothing else
_FOUND: tuple[Outcome, ...] = ("converged", "bound")


@dataclass(frozen=True)
class SequenceChoices:
    """How a series is followed.

    Attributes
    ----------
    optional
        Phases that need not be there.
    direction
        "forward", "backward" or "both".
    """

    optional: tuple[str, ...] = ()
    direction: Literal["forward", "backward", "both"] = "both"


@dataclass(frozen=True, eq=False)
class Member:
    """One pattern, or one temperature, of a series.

    Attributes
    ----------
    refinement
        Where it ended; None if nothing could be made of it.
    present
        Phases that are in it.
    remarks
        Why something is missing or doubtful.
    """

    refinement: Refinement | None
    present: tuple[str, ...]
    remarks: tuple[str, ...]


def follow(
    load: Load,
    count: int,
    phases: Sequence[Crystallite],
    plan: Plan,
    choices: SequenceChoices | None = None,
    progress: Progress | None = None,
) -> list[Member]:
    """Refine a series of ``count`` temperatures.

    A temperature that cannot be refined is set aside with the reason, and the next starts from the last that could.
    """
    choices, progress = choices or SequenceChoices(), progress or Silent()
    ways = {"forward": (1,), "backward": (-1,), "both": (-1, 1)}[choices.direction]
    progress.start("series of patterns", count * len(ways), "patterns")
    runs = []
    for way in ways:
        order = range(count) if way > 0 else range(count - 1, -1, -1)
        found: dict[int, Member] = {}
        seed: dict[str, float] = {}
        for number in order:
            found[number] = _member(load, number, phases, _seeded(plan, seed), choices)
            if (kept := found[number].refinement) is not None and kept.fit.outcome in _FOUND:
                seed |= _to_pass_on(kept)
            progress.advance()
        runs.append(found)
    progress.finish()
    return [_better([run[number] for run in runs]) for number in range(count)]


def _seeded(plan: Plan, seed: dict[str, float]) -> Plan:
    return replace(plan, start={**(plan.start or {}), **seed})


def _to_pass_on(found: Refinement) -> dict[str, float]:
    """What the next pattern starts from: all that was free but scales and backgrounds, which fit themselves."""
    numbers = found.fit.numbers()
    return {name: numbers[name] for name in numbers if not name.endswith(".scale") and ".background." not in name}


def _member(load: Load, number: int, phases: Sequence[Crystallite], plan: Plan, choices: SequenceChoices) -> Member:
    """One temperature: with the optional phases that it supports."""
    try:
        patterns = load(number)
        chosen = [phase for phase in phases if phase.phase.name not in choices.optional]
        found = _refined(patterns, chosen, plan, weak=()) if chosen else None
        for extra in (phase for phase in phases if phase.phase.name in choices.optional):
            new = _with_extra(patterns, chosen, extra, plan)
            if found is None or (new is not None and new.bic < found.bic):
                chosen, found = [*chosen, extra], new
    except MeasurementError as error:
        return Member(None, (), (str(error).splitlines()[0],))
    return Member(found, tuple(phase.phase.name for phase in chosen), found.fit.remarks if found else ())


def _with_extra(
    patterns: Sequence[Pattern], chosen: Sequence[Crystallite], extra: Crystallite, plan: Plan
) -> Refinement | None:
    """With one phase more: all of it, or its scale alone where there is little of it; None where there is none."""
    name = extra.phase.name
    weak = _refined(patterns, [*chosen, extra], plan, weak=(name,))
    scales = [key for key in weak.fit.search.free if key.endswith(f"{name}.scale")]
    strength = [
        float(value_of(weak.fit.values()[key])) / max(weak.fit.std(key, widened=False), 1e-300) for key in scales
    ]
    if not strength or max(strength) <= 0:
        return None
    if max(strength) < _WEAK:
        return weak
    return _refined(patterns, [*chosen, extra], plan, weak=())


def _refined(
    patterns: Sequence[Pattern], phases: Sequence[Crystallite], plan: Plan, *, weak: tuple[str, ...]
) -> Refinement:
    """All stages, without freeing anything but the scale of ``weak`` phases; tried again without seeds if it fails."""
    model = model_of(patterns, phases)
    names = {phase.phase.name for phase in phases}
    start = {key: value for key, value in (plan.start or {}).items() if _known(key, names, patterns)}
    ties = {key: tie for key, tie in (plan.ties or {}).items() if _known(key, names, patterns)}
    own = replace(plan, start=start, ties=ties)
    parameters = prepared(model, own)
    own = replace(own, stages=tuple(_without(names_of(model, parameters, one), weak) for one in plan.stages))
    found = refined_from(model, parameters, own)
    if found.fit.outcome in _FOUND or not start:
        return found
    again = refined_from(model, prepared(model, replace(own, start=None)), own)
    return again if again.fit.chi2 < found.fit.chi2 else found


def _known(name: str, phases: set[str], patterns: Sequence[Pattern]) -> bool:
    """Whether a number is one of these phases or patterns."""
    first = name.split(".")[0]
    if first in phases:
        return True
    second = name.split(".")[1]
    return first in {one.name for one in patterns} and (second in phases or name.count(".") == 1)


def _without(names: tuple[str, ...], weak: tuple[str, ...]) -> tuple[str, ...]:
    """Names without all but the scales of weak phases."""
    return tuple(name for name in names if name.endswith(".scale") or name.split(".")[0] not in weak)


def _better(members: Sequence[Member]) -> Member:
    """The one with the smaller criterion; one that was refined before one that was not."""
    return min(members, key=lambda one: float("inf") if one.refinement is None else one.refinement.bic)
