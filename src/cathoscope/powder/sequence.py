"""A series of patterns through temperature: each starts where its neighbour ended, phases come and go.

A phase that need not be there is switched on where the information criterion supports it: twice the gain in likelihood
has to exceed the logarithm of the number of points for every number that the phase frees. A weak phase frees its scale
alone and keeps the cell and widths of its neighbour. The series may be followed up, down, or both ways; then each
pattern keeps the better of its two ends.

A long series is cut into blocks. The first pattern of every block starts where that of the block before ended; then
blocks and ways do not depend on each other, and may be refined at the same time. Blocks are the same for any number of
threads, and so is the result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import log
from typing import Literal

from cathoscope.core.errors import MeasurementError
from cathoscope.core.parallel import Progress, Silent, run_on_threads
from cathoscope.numerics.dual import value_of
from cathoscope.powder.crystallite import Crystallite
from cathoscope.powder.member import Member, Memory, member_of_text, text_of_member
from cathoscope.powder.model import Model, Pattern, model_of, part_of
from cathoscope.powder.refine import Fit, Outcome
from cathoscope.powder.start import stated_parameters
from cathoscope.powder.strategy import Plan, Refinement, names_of, prepared, refined_from, with_own, with_ties

Load = Callable[[int], Sequence[Pattern]]
"""The patterns of one temperature, by its number."""

_WEAK = 12.0  # scale over its uncertainty below which a phase frees nothing else
_DOUBTFUL = 6.0  # the same, below which a phase has to be needed to stay
_FOUND: tuple[Outcome, ...] = ("converged", "bound")
_BLOCK = 24  # patterns


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


@dataclass(frozen=True)
class Means:
    """What a series is refined with: threads, who is told of the progress, and what remembers finished patterns."""

    threads: int = 1
    progress: Progress = field(default_factory=Silent)
    memory: Memory | None = None


@dataclass(frozen=True)
class _Series:
    """What all patterns of a series share."""

    load: Load
    phases: tuple[Crystallite, ...]
    plan: Plan
    choices: SequenceChoices
    means: Means


@dataclass
class _Chain:
    """Patterns one after the other: which way, which of them, and what is known so far."""

    way: str
    numbers: Sequence[int]
    seed: dict[str, float] = field(default_factory=dict)
    refined: tuple[str, ...] = ()
    found: dict[int, Member] = field(default_factory=dict)


def follow(
    load: Load,
    count: int,
    phases: Sequence[Crystallite],
    plan: Plan,
    choices: SequenceChoices | None = None,
    means: Means | None = None,
) -> list[Member]:
    """Refine a series of ``count`` temperatures.

    A temperature that cannot be refined is set aside with the reason, and the next starts from the last that could.
    ``load`` is called from several threads at a time if there are several.

    Raises
    ------
    MeasurementError
        If a stage or a tie of the plan names nothing that any phase or pattern has.
    """
    series = _Series(load, tuple(phases), plan, choices or SequenceChoices(), means or Means())
    ways = {"forward": (1,), "backward": (-1,), "both": (1, -1)}[series.choices.direction]
    series.means.progress.start("series of patterns", count * len(ways), "patterns")
    ordered = [(f"way{way:+d}", range(count)[::way]) for way in ways]
    anchors = [_Chain(name, numbers[::_BLOCK]) for name, numbers in ordered]
    _run(series, anchors)
    blocks = [
        _from_anchor(anchor, numbers[start : start + _BLOCK])
        for anchor, (_, numbers) in zip(anchors, ordered, strict=True)
        for start in range(0, count, _BLOCK)
    ]
    _run(series, blocks)
    series.means.progress.finish()
    ended = [*anchors, *blocks]
    return [_better([chain.found[number] for chain in ended if number in chain.found]) for number in range(count)]


def _run(series: _Series, chains: Sequence[_Chain]) -> None:
    run_on_threads(lambda chain: _follow_chain(series, chain), chains, threads=series.means.threads)


def _from_anchor(anchors: _Chain, numbers: Sequence[int]) -> _Chain:
    """The rest of a block, from its first pattern."""
    chain = _Chain(anchors.way, numbers[1:])
    _learn(chain, anchors.found[numbers[0]])
    return chain


def _follow_chain(series: _Series, chain: _Chain) -> None:
    """One pattern after the other; what a killed run had finished is not done again."""
    memory = series.means.memory
    for number in chain.numbers:
        key = f"{chain.way}-{number}"
        note = None if memory is None else memory.note_of(key)
        member = _member(series, number, chain) if note is None else member_of_text(note)
        if memory is not None and note is None:
            memory.mark_done(key, text_of_member(member))
        chain.found[number] = member
        _learn(chain, member)
        series.means.progress.advance()


def _learn(chain: _Chain, member: Member) -> None:
    """What the next pattern starts from: all that was free but scales and backgrounds, which fit themselves."""
    if member.fit is not None and member.fit.outcome in _FOUND:
        numbers = member.fit.numbers()
        kept = [name for name in numbers if not name.endswith(".scale") and ".background." not in name]
        chain.seed |= {name: numbers[name] for name in kept}
        chain.refined = _refined_phases(member.fit, member.present)


def _member(series: _Series, number: int, chain: _Chain) -> Member:
    """One temperature: with the optional phases that it supports."""
    try:
        attempt = _attempt(series, model_of(series.load(number), series.phases), chain.seed)
        found, remarks = _with_phases(attempt, chain.refined)
    except MeasurementError as error:
        return Member(None, (), remarks=(" ".join(str(error).split()),))
    if found is None:
        return Member(None, (), remarks=("none of the phases is in it",))
    present = tuple(phase.phase.name for phase in found.model.phases)
    return Member(found.fit, present, found.rwp, found.bic, (*found.fit.remarks, *remarks))


@dataclass(frozen=True)
class _Attempt:
    """Refinements of one temperature: a plan that names all it frees, all phases in its patterns, and a start."""

    series: _Series
    plan: Plan
    model: Model
    seed: Mapping[str, float]

    def refined(self, names: Sequence[str], weak: tuple[str, ...] = ()) -> Refinement:
        """With the phases of these names; of ``weak`` ones only the scale is free."""
        model = part_of(self.model, names)
        stages = [[name for name in stage if _is_free(name, model, weak)] for stage in self.plan.stages]
        return _refined(model, replace(self.plan, stages=tuple(map(tuple, stages))), self.seed)


def _attempt(series: _Series, model: Model, seed: Mapping[str, float]) -> _Attempt:
    """What stages and ties mean is read with all phases, so that a name is no mistake where its phase is absent."""
    parameters = with_ties(with_own(stated_parameters(model), series.plan), series.plan)
    stages = tuple(names_of(model, parameters, stage) for stage in series.plan.stages)
    return _Attempt(series, replace(series.plan, stages=stages), model, seed)


def _with_phases(attempt: _Attempt, before: tuple[str, ...]) -> tuple[Refinement | None, list[str]]:
    """The refinement with the phases that are there, and remarks. ``before``: what was refined of the neighbour."""
    optional = attempt.series.choices.optional
    names = [phase.phase.name for phase in attempt.series.phases]
    chosen = [name for name in names if name not in optional]
    found: Refinement | None = None
    if any(name in optional for name in before):
        found = attempt.refined([name for name in names if name in before])
        if all(_strength(found, name) >= _DOUBTFUL for name in before if name in optional):
            chosen = [name for name in names if name in before]
        else:
            found = None
    if found is None:
        found = attempt.refined(chosen) if chosen else None
    for extra in (name for name in names if name not in chosen):
        together = [name for name in names if name in (*chosen, extra)]
        new = _with_extra(attempt, together, extra)
        if new is not None and (found is None or _supported(new, found)):
            chosen, found = together, new
    if found is not None:
        found = _calmed(attempt, chosen, found)
        chosen, found = _without_needless(attempt, chosen, found)
    refined = () if found is None else _refined_phases(found.fit, chosen)
    weak = [name for name in chosen if name not in refined]
    return found, [f"of {name} there is little: only its amount is refined" for name in weak]


def _without_needless(attempt: _Attempt, chosen: list[str], found: Refinement) -> tuple[list[str], Refinement]:
    """Without optional phases that others, which came later, have made up for."""
    for name in [one for one in chosen if one in attempt.series.choices.optional]:
        rest = [one for one in chosen if one != name]
        if rest and _strength(found, name) < _DOUBTFUL:
            fewer = attempt.refined(rest)
            if not _supported(found, fewer):
                chosen, found = rest, fewer
    return chosen, found


def _calmed(attempt: _Attempt, chosen: Sequence[str], found: Refinement) -> Refinement:
    """With the amount alone of phases that are weak, where the rest of their numbers comes from a neighbour."""
    known = {name.split(".")[0] for name in attempt.seed}
    doubtful = _refined_phases(found.fit, chosen)
    doubtful = tuple(name for name in doubtful if name in known and _strength(found, name) < _WEAK)
    if not doubtful or len(doubtful) == len(chosen):
        return found
    # how much there is, is told best where nothing else of the phase is free
    calm = attempt.refined(chosen, doubtful)
    weak = tuple(name for name in doubtful if _strength(calm, name) < _WEAK)
    if weak != doubtful:
        calm = attempt.refined(chosen, weak) if weak else found
    return found if calm.fit.outcome not in _FOUND and found.fit.outcome in _FOUND else calm


def _supported(more: Refinement, fewer: Refinement) -> bool:
    """Whether a pattern supports what one refinement has more than another.

    What both miss of the pattern is no noise, so the gain counts in units of the mean square that the better one
    leaves.
    """
    points, free = more.fit.points, len(more.fit.search.free) - len(fewer.fit.search.free)
    return (fewer.fit.chi2 - more.fit.chi2) / max(more.fit.gof, 1.0) ** 2 > free * log(max(points, 2))


def _refined_phases(fit: Fit, names: Sequence[str]) -> tuple[str, ...]:
    """Phases of which more than the scale was free."""
    return tuple(name for name in names if any(one.startswith(f"{name}.") for one in fit.search.free))


def _with_extra(attempt: _Attempt, names: Sequence[str], extra: str) -> Refinement | None:
    """With one phase more: all of it, or its scale alone where there is little of it; None where there is none."""
    weak = attempt.refined(names, (extra,))
    strength = _strength(weak, extra)
    if strength <= 0:
        return None
    if strength < _WEAK:
        return weak
    whole = attempt.refined(names)
    return whole if whole.fit.outcome in _FOUND or weak.fit.outcome not in _FOUND else weak


def _strength(found: Refinement, phase: str) -> float:
    """The largest scale of a phase over its uncertainty."""
    values = found.fit.values()
    scales = [name for name in found.fit.search.free if name.endswith(f".{phase}.scale")]
    return max(
        (float(value_of(values[name])) / max(found.fit.std(name, widened=False), 1e-300) for name in scales),
        default=0.0,
    )


def _refined(model: Model, plan: Plan, seed: Mapping[str, float]) -> Refinement:
    """Near its neighbour all at once; in stages where that fails; and without the neighbour where that fails too."""
    ties = {name: tie for name, tie in (plan.ties or {}).items() if all(_known(one, model) for one in (name, *tie[1]))}
    own = tuple(name for name in plan.own if _known(name, model))
    stated = {name: value for name, value in (plan.start or {}).items() if _known(name, model)}
    seeded = stated | {name: value for name, value in seed.items() if _known(name, model)}
    tries = [(seeded, True), (seeded, False)] if seed else []
    best: Refinement | None = None
    for start, at_once in [*tries, (stated, False)]:
        stages = (tuple(name for stage in plan.stages for name in stage),) if at_once else plan.stages
        attempt = replace(plan, start=start, ties=ties, stages=stages, own=own)
        found = refined_from(model, prepared(model, attempt), attempt)
        if found.fit.outcome in _FOUND:
            return found
        if best is None or found.fit.chi2 < best.fit.chi2:
            best = found
    if best is None:
        raise MeasurementError("nothing was refined")
    return best


def _known(name: str, model: Model) -> bool:
    """Whether a number is one of the phases or patterns of a model."""
    phases = {phase.phase.name for phase in model.phases}
    first, _, rest = name.partition(".")
    if first in phases:
        return True
    of_bank = "." not in rest or rest.startswith("background.")
    return first in {one.name for one in model.patterns} and (of_bank or rest.split(".")[0] in phases)


def _is_free(name: str, model: Model, weak: tuple[str, ...]) -> bool:
    """Whether a number that a stage frees is free with these phases: of weak ones only scales are."""
    return _known(name, model) and (name.endswith(".scale") or name.split(".")[0] not in weak)


def _better(members: Sequence[Member]) -> Member:
    """The one with the smaller criterion; one that was refined before one that was not."""
    return min(members, key=lambda one: float("inf") if one.fit is None else one.bic)
