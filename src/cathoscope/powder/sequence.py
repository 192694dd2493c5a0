"""A series of patterns through temperature: each starts where its neighbour ended, phases come and go.

A phase that need not be there is switched on where the information criterion supports it: the gain in the sum of
squares has to exceed the logarithm of the number of points for every number that the phase frees. Whether a refinement
with one phase more is worth a try, the derivatives at the end of the one without say beforehand. A weak phase frees
its scale alone and keeps the cell and widths of its neighbour.

The series is followed up or down, or up and then down again: on the way back patterns whose end is doubtful start once
more, from the other neighbour, and keep the better of their two ends. Doubtful is what did not converge, fits worse
than its neighbours, has a weak phase, or other phases than a neighbour.

A long series is cut into blocks. The first pattern of every block starts where that of the block before ended; then
blocks do not depend on each other, and may be refined at the same time. Blocks are the same for any number of threads,
and so is the result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf, log
from typing import Literal

import numpy as np

from cathoscope.core.errors import MeasurementError
from cathoscope.core.parallel import Progress, Silent, run_on_threads
from cathoscope.numerics.dual import value_of
from cathoscope.powder.crystallite import Crystallite
from cathoscope.powder.evened import evened
from cathoscope.powder.member import Member, Memory, member_of_text, text_of_member
from cathoscope.powder.misfit import with_misfit
from cathoscope.powder.model import Model, Pattern, model_of, part_of
from cathoscope.powder.parameters import Parameter, search_of
from cathoscope.powder.presence import Peaks, gain_at_end, gain_at_start, is_promising, linear_chi2, unit_peaks
from cathoscope.powder.priors import tight_priors
from cathoscope.powder.refine import Outcome
from cathoscope.powder.rivals import gain_of_rivals
from cathoscope.powder.start import stated_parameters
from cathoscope.powder.strategy import Plan, Refinement, names_of, prepared, refined_from, with_own, with_ties

Load = Callable[[int], Sequence[Pattern]]
"""The patterns of one temperature, by its number."""

_WEAK = 8.0  # scale over its uncertainty below which a phase has to be needed, and the rest of it is held near its
# neighbour
_FOUND: tuple[Outcome, ...] = ("converged", "bound")
_LEAST = 3.0  # the same, below which it is not there if it is the only one
_WORSE = 1.05  # times the goodness of fit of a neighbour
_CLEARLY = 10.0  # times the gain that is needed
_FEW = 25  # steps where phases are held, or a neighbour is near
_BLOCK = 24  # patterns


@dataclass(frozen=True)
class SequenceChoices:
    """How a series is followed.

    Attributes
    ----------
    optional
        Phases that need not be there.
    direction
        "forward", "backward", or "both": forward, and backward where that may end elsewhere.
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
    gof: float = inf
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
    Uncertainties of occupancies and displacements are those that neighbours agree on, see `evened`.
    ``load`` is called from several threads at a time if there are several.

    Raises
    ------
    MeasurementError
        If a stage or a tie of the plan names nothing that any phase or pattern has.
    """
    series = _Series(load, tuple(phases), plan, choices or SequenceChoices(), means or Means())
    down = series.choices.direction == "backward"
    found = _followed(series, "way-1" if down else "way+1", range(count)[:: -1 if down else 1])
    if series.choices.direction == "both":
        _follow_back(series, found)
    return evened([found[number] for number in range(count)])


def _followed(series: _Series, way: str, numbers: Sequence[int]) -> dict[int, Member]:
    """All patterns, in blocks: first their first ones, then the rest of each."""
    series.means.progress.start("series of patterns", len(numbers), "patterns")
    anchors = _Chain(way, numbers[::_BLOCK])
    _follow_chain(series, anchors)
    starts = range(0, len(numbers), _BLOCK)
    blocks = [_from_anchor(anchors, numbers[start : start + _BLOCK]) for start in starts]
    run_on_threads(lambda chain: _follow_chain(series, chain), blocks, threads=series.means.threads)
    series.means.progress.finish()
    return {number: member for chain in (anchors, *blocks) for number, member in chain.found.items()}


def _follow_back(series: _Series, found: dict[int, Member]) -> None:
    """Down again: what is doubtful starts from its upper neighbour, too, and the better of two ends is kept."""
    series.means.progress.start("the same downwards", len(found), "patterns")
    chain = _Chain("way-1", ())
    for number in reversed(range(len(found))):
        if chain.seed and _is_doubtful(number, found):
            found[number] = min((found[number], _remembered(series, number, chain)), key=lambda one: one.criterion)
        _learn(chain, found[number])
        series.means.progress.advance()
    series.means.progress.finish()


def _is_doubtful(number: int, found: Mapping[int, Member]) -> bool:
    """Whether another start may end elsewhere; see the first lines."""
    here, beside = found[number], [found[one] for one in (number - 1, number + 1) if one in found]
    if here.fit is None or here.fit.outcome != "converged" or here.weak:
        return True
    others = [one for one in beside if one.fit is not None]
    gof = [one.fit.gof for one in others if one.fit is not None]
    return here.fit.gof > _WORSE * min(gof, default=here.fit.gof) or any(one.present != here.present for one in others)


def _from_anchor(anchors: _Chain, numbers: Sequence[int]) -> _Chain:
    """The rest of a block, from its first pattern."""
    chain = _Chain(anchors.way, numbers[1:])
    _learn(chain, anchors.found[numbers[0]])
    return chain


def _follow_chain(series: _Series, chain: _Chain) -> None:
    """One pattern after the other."""
    for number in chain.numbers:
        chain.found[number] = _remembered(series, number, chain)
        _learn(chain, chain.found[number])
        series.means.progress.advance()


def _remembered(series: _Series, number: int, chain: _Chain) -> Member:
    """One pattern refined, or as a killed run had refined it."""
    memory, key = series.means.memory, f"{chain.way}-{number}"
    note = None if memory is None else memory.note_of(key)
    member = _member(series, number, chain) if note is None else member_of_text(note)
    if memory is not None and note is None:
        memory.mark_done(key, text_of_member(member))
    return member


def _learn(chain: _Chain, member: Member) -> None:
    """What the next pattern starts from: what this one tells, but scales and backgrounds, which fit themselves."""
    if member.fit is None or member.fit.outcome not in _FOUND:
        return
    search, numbers = member.fit.search, member.fit.numbers()
    std = dict(zip(search.free, np.sqrt(np.diag(member.fit.covariance)), strict=True))
    positive = dict(zip(search.free, search.positive, strict=True))
    own = [name for name in search.free if not name.endswith(".scale") and ".background." not in name]
    started = {name: Parameter(numbers[name], bool(positive[name])) for name in own}
    # a number that is less sure than neighbours are alike tells less than the pattern before did
    loose = {name for name, prior in tight_priors(started, own).items() if std[name] > prior.std}
    known = {name for name in own if name.split(".")[0] not in member.weak} - (loose & chain.seed.keys())
    chain.seed |= {name: numbers[name] for name in known}
    chain.refined = tuple(name for name in member.present if name not in member.weak)
    chain.gof = max(member.fit.gof, 1.0)


def _member(series: _Series, number: int, chain: _Chain) -> Member:
    """One temperature: with the optional phases that it supports."""
    try:
        attempt = _attempt(series, model_of(series.load(number), series.phases), chain.seed)
        found = _with_phases(attempt, chain.refined)
        if chain.seed and (found is None or found.whole.fit.gof > _WORSE * chain.gof):
            afresh = _with_phases(replace(attempt, seed={}), ())
            found = min((one for one in (found, afresh) if one), key=lambda one: one.whole.bic, default=None)
    except MeasurementError as error:
        return Member(None, (), remarks=(" ".join(str(error).split()),))
    if found is None:
        return Member(None, (), remarks=("none of the phases is in it",))
    whole, weak = found.whole, found.weak
    remarks = [f"of {name} there is little: all but its amount is held near its neighbour" for name in weak]
    fit = replace(with_misfit(whole.fit, whole.model), residuals=())
    return Member(fit, found.present, whole.rwp, whole.bic, (*fit.remarks, *remarks), weak)


@dataclass(frozen=True, eq=False)
class _Found:
    """A refinement, and which of its phases are weak."""

    whole: Refinement
    weak: tuple[str, ...] = ()

    @property
    def present(self) -> tuple[str, ...]:
        """Phases that are in it."""
        return tuple(phase.phase.name for phase in self.whole.model.phases)

    def strength(self, phase: str) -> float:
        """The largest scale of a phase over its uncertainty."""
        fit = self.whole.fit
        scales = [name for name in fit.search.free if name.endswith(f".{phase}.scale")]
        pairs = ((fit.numbers()[name], max(fit.std(name, widened=False), 1e-300)) for name in scales)
        return max((value / std for value, std in pairs), default=0.0)


@dataclass(frozen=True)
class _Attempt:
    """Refinements of one temperature: a plan that names all it frees, all phases in its patterns, and a start."""

    series: _Series
    plan: Plan
    model: Model
    seed: Mapping[str, float]

    def refined(self, names: Sequence[str], weak: tuple[str, ...] = ()) -> _Found:
        """With the phases of these names; of ``weak`` ones all but the amount is held near where it starts."""
        model = part_of(self.model, names)
        stages = tuple(tuple(name for name in stage if _known(name, model)) for stage in self.plan.stages)
        plan = replace(self.plan, stages=stages)
        if weak:
            numbers = stated_parameters(model).starting({**(plan.start or {}), **self.seed}).numbers
            held = [name for stage in stages for name in stage if name.split(".")[0] in weak]
            priors = {**(plan.priors or {}), **tight_priors(numbers, held, {*held} - {*self.seed})}
            plan = replace(plan, priors=priors, cycles=min(plan.cycles, _FEW))
        return _Found(_refined(model, plan, self.seed, once=bool(weak)), tuple(name for name in names if name in weak))

    def numbers(self) -> dict[str, float]:
        """All numbers before anything is refined."""
        plan = _plan_for(self.model, self.plan, self.seed)
        parameters = with_ties(with_own(stated_parameters(self.model), plan).starting(plan.start or {}), plan)
        values = search_of(parameters, ()).values(np.zeros(0))
        return {name: float(value_of(value)) for name, value in values.items()}


def _attempt(series: _Series, model: Model, seed: Mapping[str, float]) -> _Attempt:
    """What stages and ties mean is read with all phases, so that a name is no mistake where its phase is absent."""
    parameters = with_ties(with_own(stated_parameters(model), series.plan), series.plan)
    stages = tuple(names_of(model, parameters, stage) for stage in series.plan.stages)
    return _Attempt(series, replace(series.plan, stages=stages), model, seed)


def _with_phases(attempt: _Attempt, before: tuple[str, ...]) -> _Found | None:
    """The refinement with the phases that are there. ``before``: what was refined of the neighbour."""
    optional = attempt.series.choices.optional
    names = [phase.phase.name for phase in attempt.series.phases]
    start = unit_peaks(attempt.model, attempt.numbers())
    needed = [name for name in names if name not in optional]
    needed = needed or [min(names, key=lambda one: linear_chi2(attempt.model, start, [one]))]
    likely = _likely(attempt, start, [name for name in names if name in before] or needed)
    found = attempt.refined(likely)
    if likely != needed and any(found.strength(name) < _WEAK for name in likely if name in optional):
        found = attempt.refined(needed)
    for extra in (name for name in names if name not in found.present):
        if _is_worth_a_try(attempt, found.whole, start, extra):
            new = _with_extra(attempt, [name for name in names if name in (*found.present, extra)], extra)
            if new is not None and _supported(new.whole, found.whole):
                found = new
    found = _without_needless(attempt, _calmed(attempt, found))
    alone = found.present[0] if len(found.present) == 1 else ""
    return None if alone in optional and found.strength(alone) < _LEAST else found


def _likely(attempt: _Attempt, start: Peaks, chosen: list[str]) -> list[str]:
    """With phases that are clearly missed at the start, and without those that are not missed there at all.

    A refinement with too few phases, or too many, takes long to find no end.
    """
    names = [phase.phase.name for phase in attempt.series.phases]
    points = sum(int(pattern.used.sum()) for pattern in attempt.model.patterns)

    def is_missed(name: str, times: float) -> bool:
        """Whether the pattern asks for phase ``name`` beside the others, with a gain ``times`` as large as would do."""
        others = [one for one in chosen if one != name]
        gain = gain_at_start(attempt.model, start, others, name)
        return is_promising(gain / times, points, len(attempt.model.patterns))

    for extra in [name for name in names if name not in chosen]:
        if is_missed(extra, _CLEARLY):
            chosen = [name for name in names if name in (*chosen, extra)]
    for name in [one for one in chosen if one in attempt.series.choices.optional]:
        if len(chosen) > 1 and not is_missed(name, 1.0):
            chosen = [one for one in chosen if one != name]
    return chosen


def _is_worth_a_try(attempt: _Attempt, found: Refinement, start: Peaks, extra: str) -> bool:
    """Whether a phase more may be supported."""
    names = [phase.phase.name for phase in found.model.phases]
    counts = found.fit.points, len(found.model.patterns)
    if is_promising(gain_at_start(attempt.model, start, names, extra), *counts):
        return True
    numbers = attempt.numbers() | found.fit.numbers()
    return is_promising(gain_at_end(found, unit_peaks(attempt.model, numbers, [extra]), extra), *counts)


def _without_needless(attempt: _Attempt, found: _Found) -> _Found:
    """Without optional phases that others, which came later, have made up for."""
    for name in [one for one in found.present if one in attempt.series.choices.optional]:
        rest = [one for one in found.present if one != name]
        if rest and found.strength(name) < _WEAK:
            fewer = attempt.refined(rest, tuple(one for one in found.weak if one != name))
            if not _supported(found.whole, fewer.whole):
                found = fewer
    return found


def _calmed(attempt: _Attempt, found: _Found) -> _Found:
    """With phases that are weak held near their neighbour."""
    known = {name.split(".")[0] for name in attempt.seed}
    doubtful = tuple(
        name for name in found.present if name in known and name not in found.weak and found.strength(name) < _WEAK
    )
    if not doubtful or len(doubtful) == len(found.present):
        return found
    # how much there is, is told best where the rest is held
    calm = attempt.refined(found.present, (*found.weak, *doubtful))
    weak = tuple(name for name in calm.weak if calm.strength(name) < _WEAK)
    if weak == found.weak:
        return found
    calm = calm if weak == calm.weak else attempt.refined(found.present, weak)
    worse = calm.whole.fit.outcome not in _FOUND and found.whole.fit.outcome in _FOUND
    return found if worse else calm


def _supported(more: Refinement, fewer: Refinement) -> bool:
    """Whether a pattern supports the phases that one refinement has more than another.

    What both miss of the pattern is no noise, so the gain counts in units of what the better one leaves: of its mean
    square, and of the variance that local misfit gives to how much there is of the phase. It has to be more than what
    cells that are spread would gain, too: see `rivals`.
    """
    told = (more.bic - more.fit.chi2) - (fewer.bic - fewer.fit.chi2)
    gain, unit = fewer.fit.chi2 - more.fit.chi2, _misfit_of_extra(more, fewer)
    if gain / unit <= told:
        return False
    rival, numbers = gain_of_rivals(fewer)
    return (gain - rival) / unit > told - numbers * log(max(fewer.fit.points, 2))


def _extras(more: Refinement, fewer: Refinement) -> list[str]:
    """Names of the phases that only one refinement has."""
    others = {phase.phase.name for phase in fewer.model.phases}
    return [phase.phase.name for phase in more.model.phases if phase.phase.name not in others]


def _misfit_of_extra(more: Refinement, fewer: Refinement) -> float:
    """Variance of the scales of the phases that only one refinement has, over that of counting; the largest of them."""
    names = _extras(more, fewer)
    scales = [one for one in more.fit.search.free if one.endswith(".scale") and one.split(".")[-2] in names]
    fit = with_misfit(more.fit, more.model) if scales else more.fit
    values = fit.values()
    return max([max(fit.gof, 1.0) ** 2, *(fit.widening(values[one]) for one in scales)])


def _with_extra(attempt: _Attempt, names: Sequence[str], extra: str) -> _Found | None:
    """With one phase more, held where there is little of it; None where there is none."""
    weak = attempt.refined(names, (extra,))
    strength = weak.strength(extra)
    if strength <= 0:
        return None
    if strength < _WEAK:
        return weak
    whole = attempt.refined(names)
    return whole if whole.whole.fit.outcome in _FOUND or weak.whole.fit.outcome not in _FOUND else weak


def _refined(model: Model, plan: Plan, seed: Mapping[str, float], *, once: bool = False) -> Refinement:
    """Near its neighbour all at once; in stages where that fails; and without the neighbour where that fails too.

    ``once``: whatever fails, where phases are held that may not be there.
    """
    everything = tuple(name for stage in plan.stages for name in stage)
    at_once = replace(plan, stages=(everything,), cycles=min(plan.cycles, _FEW))
    tries = [(at_once, seed, True), (plan, seed, False), (plan, {}, False)] if seed else [(plan, {}, False)]
    best: Refinement | None = None
    for staged, start, near in tries:
        chosen = _plan_for(model, staged, start)
        found = refined_from(model, prepared(model, chosen), chosen, near=near)
        if once or found.fit.outcome in _FOUND:
            return found
        if best is None or found.fit.chi2 < best.fit.chi2:
            best = found
    if best is None:
        raise MeasurementError("nothing was refined")
    return best


def _plan_for(model: Model, plan: Plan, seed: Mapping[str, float]) -> Plan:
    """What of a plan concerns the phases of a model, starting from a neighbour.

    Sizes and strains are known from the neighbour, too; what else is known stays what it was, so that nothing drifts.
    """
    ties = {name: tie for name, tie in (plan.ties or {}).items() if all(_known(one, model) for one in (name, *tie[1]))}
    own = tuple(name for name in plan.own if _known(name, model))
    start = {name: value for name, value in {**(plan.start or {}), **seed}.items() if _known(name, model)}
    priors = plan.priors and {
        name: replace(prior, value=seed[name]) if prior.relative and name in seed else prior
        for name, prior in plan.priors.items()
    }
    return replace(plan, start=start, ties=ties, own=own, priors=priors)


def _known(name: str, model: Model) -> bool:
    """Whether a number is one of the phases or patterns of a model."""
    phases = {phase.phase.name for phase in model.phases}
    first, _, rest = name.partition(".")
    if first in phases:
        return True
    of_bank = "." not in rest or rest.startswith("background.")
    return first in {one.name for one in model.patterns} and (of_bank or rest.split(".")[0] in phases)
