"""One refinement from start to end: in stages, with weights from the model, phases that are there or not.

Stages free more and more numbers, scales and background first, then cells, then widths, then what is in the cell: so
that no number has to make up for another one that still is far off. Counting noise is that of what is expected, not of
what was counted: weights of 1/counted draw a pattern to its low points, by half a per cent of the background at 300
counts. So the last stage is repeated with the weights of the calculated pattern.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import log
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.dual import Dual, Graded, value_of
from cathoscope.powder.crystallite import Crystallite
from cathoscope.powder.intensity import mass_shares
from cathoscope.powder.le_bail import has_le_bail, settled
from cathoscope.powder.misfit import with_misfit
from cathoscope.powder.model import (
    Model,
    Pattern,
    background_of,
    extractions_of,
    model_of,
    numbers_in,
    residuals_of,
)
from cathoscope.powder.parameters import Parameter, Parameters, Values, search_of
from cathoscope.powder.pawley import refined_squares, restraints_of, summed_up
from cathoscope.powder.priors import Priors, known_of, zero_priors
from cathoscope.powder.refine import ARRIVED, Fit, Residual, Weighing, refined
from cathoscope.powder.start import parameters_of, with_linear_start
from cathoscope.powder.structure import mass_from_occupancies
from cathoscope.powder.symmetry import site_multiplicity

Array = NDArray[np.float64]

STAGES: tuple[tuple[str, ...], ...] = (
    ("*.scale", "*.background.*"),
    ("cells",),
    ("widths",),
    ("displacements", "positions"),
)
"""What is freed one after the other where a recipe says nothing."""

GROUPS = ("cells", "widths", "positions", "displacements")
"""Words that stand for the numbers of one kind of all phases."""

_CELLS = ("a", "b", "c", "alpha", "beta", "gamma")
_WIDTHS = ("size", "size_axial", "strain", "strain_axial")
_FAINT = 0.02  # of the highest calculated intensity: what a weight is taken from at least
_UNEXPLAINED = 0.2  # of the peaks: measured powders that are well refined leave 0.04 to 0.11
_DOUBT = "cells, phases or the instrument may be wrong"
_LITTLE = 6.0  # uncertainties of its amount: below this a phase may be none, or not where it is looked for
_REWEIGHTED = 2
_PLACING_SIZE, _PLACING_STRAIN = 0.01, 1.2e4  # um, 1e-6: peaks wide enough for cells that are 1 % off
_ROUGH = 0.5  # of its uncertainty: as near as a stage before the last comes to the place of a number
_ROUGHLY = 8  # steps of the stages before the last: while widths are wrong, cells creep towards nothing


@dataclass(frozen=True)
class Plan:
    """How to refine.

    Attributes
    ----------
    stages
        Names or patterns of names, freed one stage after the other; each stage keeps what was free before. ``cells``,
        ``widths``, ``positions`` and ``displacements`` stand for those of all phases.
    ties
        Numbers that follow from others: name to (constant, factors by name).
    start
        Values to start from.
    own
        Numbers of a phase that one bank has for itself, such as ``lab.NMC.a``.
    weights
        "model": counting noise of the calculated pattern; "stated": the uncertainties of the file.
    cycles
        Steps of each stage at most.
    priors
        What is known of numbers before; None: nothing.
    """

    stages: tuple[tuple[str, ...], ...] = STAGES
    ties: Mapping[str, tuple[float, Mapping[str, float]]] | None = None
    start: Mapping[str, float] | None = None
    own: tuple[str, ...] = ()
    weights: Literal["model", "stated"] = "model"
    cycles: int = 60
    priors: Priors | None = None


@dataclass(frozen=True, eq=False)
class Refinement:
    """A refinement that has ended.

    Attributes
    ----------
    model, parameters, fit
        Of what, with which ties, and where it ended.
    std
        Standard uncertainty of the used points of every pattern that the weights were taken from.
    rwp
        Weighted profile residual of every pattern, with the weights of the file.
    bic
        Sum of squares plus the logarithm of the number of points for every free number: smaller is better. A number
        counts by the share of it that patterns tell and not what was known before.
    """

    model: Model
    parameters: Parameters
    fit: Fit
    std: tuple[Array, ...]
    rwp: tuple[float, ...]
    bic: float

    def fractions(self, pattern: int = 0) -> tuple[Array, Array]:
        """Shares of the mass of the phases in one pattern and their standard uncertainties, [phase]."""
        shares = mass_fractions(self.model, pattern, self.fit.values())
        if not isinstance(shares, Dual):
            return value_of(shares), np.zeros(shares.size)
        return shares.value, np.array([self.fit.std_of(shares[k]) for k in range(len(shares))])


def refine(patterns: Sequence[Pattern], phases: Sequence[Crystallite], plan: Plan | None = None) -> Refinement:
    """Refine phases against one or several patterns.

    Raises
    ------
    MeasurementError
        If a phase has no reflection in a pattern, a name is unknown, or the start cannot be calculated.
    """
    plan = plan or Plan()
    model = model_of(patterns, phases)
    found = refined_from(model, prepared(model, plan), plan)
    return replace(found, fit=with_misfit(found.fit, model))


def prepared(model: Model, plan: Plan) -> Parameters:
    """All numbers of a model with what the plan starts from and ties."""
    parameters = with_own(parameters_of(model), plan)
    if plan.start:
        unknown = [name for name in plan.start if name not in parameters.numbers]
        if unknown:
            parameters.named(unknown[:1])
        parameters = with_linear_start(model, parameters.starting(plan.start))
        parameters = parameters.starting(plan.start)
    return with_ties(parameters, plan)


def with_own(parameters: Parameters, plan: Plan) -> Parameters:
    """The same with the numbers of phases that banks have for themselves; they start at those of the phase."""
    numbers = dict(parameters.numbers)
    for name in plan.own:
        bank, _, rest = name.partition(".")
        if rest not in numbers or f"{bank}.{rest.partition('.')[0]}.scale" not in numbers:
            raise MeasurementError(
                f"no bank can have {name} for itself",
                expected="the name of a bank, a dot, and a number of a phase",
                found=name,
            )
        numbers[name] = numbers[rest]
    return replace(parameters, numbers=numbers)


def with_ties(parameters: Parameters, plan: Plan) -> Parameters:
    """The same with the ties of a plan."""
    for name, (constant, factors) in (plan.ties or {}).items():
        parameters = parameters.tied_to(name, factors, constant)
    return parameters


def refined_from(model: Model, parameters: Parameters, plan: Plan, *, near: bool = False) -> Refinement:
    """All stages of a plan, from given numbers; if these are ``near`` the end, so are weights that come from them.

    Where they are not, and the end is doubtful, cells are looked for with wide peaks first, and the better end is kept.
    """
    found = _staged(model, parameters, plan, near=near)
    if near or not (_is_doubtful(found) and set(_group(model, parameters, "cells")) & {*found.fit.search.free}):
        return found
    again = _staged(model, parameters, plan, near=False, placed=True)
    return again if again.fit.chi2 < found.fit.chi2 else found


def _is_doubtful(found: Refinement) -> bool:
    return found.fit.outcome not in ("converged", "bound") or any(one.endswith(_DOUBT) for one in found.fit.remarks)


def _staged(
    model: Model, parameters: Parameters, plan: Plan, *, near: bool = False, placed: bool = False
) -> Refinement:
    """All stages of a plan; cells ``placed`` with wide peaks when they are freed first."""
    weights = _Weights(model, [one.std[one.used] for one in model.patterns])
    priors = plan.priors and {**zero_priors(model.patterns), **plan.priors}
    free = refined_squares(model)
    fit: Fit | None = None
    for number, stage in enumerate(plan.stages):
        free = tuple(dict.fromkeys((*free, *names_of(model, parameters, stage))))
        last = number == len(plan.stages) - 1
        times = _REWEIGHTED if plan.weights == "model" and last else 0
        cycles = plan.cycles if last else min(plan.cycles, _ROUGHLY)
        if placed and number and set(free) & set(_group(model, parameters, "cells")):
            parameters, placed = _placed(parameters, free, weights, priors), False
        fit = _fitted(parameters, free, weights, _Way(cycles, times, near, priors, ARRIVED if last else _ROUGH))
        parameters = parameters.starting(fit.numbers())
    if fit is None:
        raise MeasurementError("a refinement without stages", expected="at least one list of names to free")
    fit = replace(fit, remarks=(*fit.remarks, *_warnings(fit, weights, cold=not near)))
    told = len(free) - known_of(priors, free).share(fit)
    bic = fit.chi2 + told * log(max(fit.points, 2))
    return Refinement(model, parameters, fit, tuple(weights.std), weights.rwp(fit.residuals), bic)


def _warnings(fit: Fit, weights: _Weights, *, cold: bool) -> list[str]:
    """What hints at an end that is not the right one."""
    numbers = fit.numbers()
    left = weights.unexplained(fit.residuals, numbers)
    found = []
    if left > _UNEXPLAINED:
        found.append(f"{100 * left:.0f} % of the peaks are not explained: {_DOUBT}")
    phases = [phase.phase.name for phase in weights.model.phases]
    for name in phases if cold and len(phases) > 1 else ():
        scales = [one for one in fit.search.free if one.endswith(f".{name}.scale")]
        if scales and max(numbers[one] / max(fit.std(one, widened=False), 1e-300) for one in scales) < _LITTLE:
            found.append(f"there is hardly any {name}: {_DOUBT}")
    return found


def _placed(parameters: Parameters, free: Sequence[str], weights: _Weights, priors: Priors | None) -> Parameters:
    """With the cells that wide peaks find, if these fit better: peaks that overlap where they belong lead there.

    A cell that is off by more than the width of a peak is lost otherwise, as no peak touches its own.
    """
    cells = set(_group(weights.model, parameters, "cells"))
    wide = {name: _wide(name, one) for name, one in parameters.numbers.items() if one.positive}
    blurred = parameters.starting({name: value for name, value in wide.items() if value is not None})
    kept = [name for name in free if name in cells or _is_linear(name)]
    fit = _fitted(with_linear_start(weights.model, blurred), kept, weights, _Way(_ROUGHLY, 0, False, priors, _ROUGH))
    moved = parameters.starting({name: value for name, value in fit.numbers().items() if name in cells})
    tries = [with_linear_start(weights.model, one) for one in (parameters, moved)]
    return min(tries, key=weights.misfit)


def _wide(name: str, one: Parameter) -> float | None:
    """A size or a strain that makes peaks wide."""
    kind = name.rsplit(".", 1)[-1]
    if kind in ("size", "size_axial"):
        return min(one.value, _PLACING_SIZE)
    return max(one.value, _PLACING_STRAIN) if kind in ("strain", "strain_axial") else None


def _is_linear(name: str) -> bool:
    return name.endswith(".scale") or ".background." in name


@dataclass
class _Weights:
    """Standard uncertainties of the used points of every pattern: those of the files until they are renewed."""

    model: Model
    std: list[Array]

    def renewed(self, residuals: Sequence[Residual]) -> list[Residual]:
        """The same patterns with the uncertainties of what is calculated; observations that follow them stay."""
        out = list(residuals)
        for number, made in enumerate(self.made(residuals)):
            new = expected_std(self.model.patterns[number], made)
            ratio, self.std[number] = self.std[number] / new, new
            out[number] = Residual(out[number].difference * ratio, out[number].jacobian * ratio[:, None])
        return out

    def made(self, residuals: Sequence[Residual]) -> list[Array]:
        """What is calculated of the used points of every pattern."""
        three = zip(self.model.patterns, residuals, self.std, strict=False)
        return [pattern.y[pattern.used] - one.difference * std for pattern, one, std in three]

    def misfit(self, parameters: Parameters) -> float:
        """Sum of squares that given numbers leave."""
        values = search_of(parameters, ()).values(np.zeros(0))
        return sum(float(np.sum(one.difference**2)) for one in residuals_of(self.model, values, self.std))

    def unexplained(self, residuals: Sequence[Residual], numbers: Values) -> float:
        """What is left of the peaks beyond noise, as root of its square over theirs."""
        left = peaks = 0.0
        for number, (one, std) in enumerate(zip(residuals, self.std, strict=False)):
            pattern = self.model.patterns[number]
            above = pattern.y[pattern.used] - value_of(background_of(self.model, number, numbers))
            left += float(one.difference @ one.difference) - one.difference.size
            peaks += float(np.sum((above / std) ** 2)) - one.difference.size
        return float(np.sqrt(max(left, 0.0) / max(peaks, left, 1e-300)))

    def rwp(self, residuals: Sequence[Residual]) -> tuple[float, ...]:
        """Weighted profile residual of every pattern, with the weights of the file."""
        found = []
        for pattern, made in zip(self.model.patterns, self.made(residuals), strict=True):
            y, std = pattern.y[pattern.used], pattern.std[pattern.used]
            found.append(float(np.sqrt(np.sum(((y - made) / std) ** 2) / np.sum((y / std) ** 2))))
        return tuple(found)


@dataclass(frozen=True)
class _Way:
    """How one stage is searched: steps, how often weights are renewed, whether they fit at the start, what is known."""

    cycles: int
    times: int
    near: bool
    priors: Priors | None
    arrived: float = ARRIVED


def _fitted(parameters: Parameters, free: Sequence[str], weights: _Weights, way: _Way) -> Fit:
    model = weights.model
    restraints = restraints_of(model, {name: one.value for name, one in parameters.numbers.items()})
    known = known_of(way.priors, free)

    def compare(values: Values) -> list[Residual]:
        """All patterns, and what is known before of free intensities and of other numbers."""
        found = residuals_of(model, values, weights.std)
        found += [restraints.residual(values)] if restraints.first else []
        return [*found, known.residual(values)] if known.names else found

    if has_le_bail(model):
        fit = settled(parameters, model, free, compare, way.cycles)
        for _ in range(way.times):
            weights.renewed(fit.residuals)
            fit = settled(parameters.starting(fit.numbers()), model, free, compare, way.cycles)
        return summed_up(fit)
    weighing = Weighing(weights.renewed, way.times, way.near)
    return summed_up(
        refined(search_of(parameters, free), compare, cycles=way.cycles, weighing=weighing, arrived=way.arrived)
    )


def names_of(model: Model, parameters: Parameters, stage: Sequence[str]) -> tuple[str, ...]:
    """Names that a stage frees."""
    found: list[str] = []
    for one in stage:
        if one in GROUPS:
            found += _group(model, parameters, one)
        else:
            found += parameters.named([one])
    return tuple(dict.fromkeys(name for name in found if name not in parameters.ties))


def _group(model: Model, parameters: Parameters, group: str) -> list[str]:
    """Names of one kind of number of all phases."""
    phases = {phase.phase.name for phase in model.phases}
    banks = {pattern.name for pattern in model.patterns}
    parts = {name: name.split(".") for name in parameters.numbers}
    # what a bank has for itself is a number of the phase
    of_phase = {name: part[1:] if part[0] in banks else part for name, part in parts.items()}
    return [name for name, part in of_phase.items() if part[0] in phases and _is_of(group, part[-1], len(part))]


def _is_of(group: str, last: str, depth: int) -> bool:
    """Whether a number of a phase, by the last part of its name and how many parts there are, is of a kind."""
    if group == "cells":
        return depth == 2 and last in _CELLS
    if group == "widths":
        return depth == 2 and (last in _WIDTHS or (last[0] == "S" and last[1:].isdigit()))
    if group == "positions":
        return depth == 3 and last in ("x", "y", "z")
    return depth == 3 and (last == "u" or last.startswith("U"))


def expected_std(pattern: Pattern, made: Array) -> Array:
    """Standard uncertainty of the used points if counting noise is that of the calculated intensities ``made``, [m].

    The file's variance over its intensity is what one count is worth; it is smoothed over neighbours, since both are
    noisy.
    """
    y, variance = pattern.y[pattern.used], pattern.std[pattern.used] ** 2
    sound = y > 0
    if np.count_nonzero(sound) < 0.5 * y.size:
        return np.sqrt(variance)
    worth = np.interp(np.arange(y.size), np.flatnonzero(sound), variance[sound] / y[sound])
    return np.asarray(np.sqrt(worth * np.maximum(made, _FAINT * float(np.median(np.abs(made))))))


def mass_fractions(model: Model, number: int, values: Values) -> Graded:
    """Shares of the mass of the phases in pattern ``number``, [phase]; NaN if one has no structure."""
    pattern = model.patterns[number]
    if extractions_of(model, number):
        return np.full(len(model.phases), np.nan)
    scales: list[float | Dual] = []
    masses: list[float | Dual] = []
    for phase in model.phases:
        own = numbers_in(pattern.name, phase.phase.name, values)
        sites = phase.phase.sites
        scales.append(own["scale"])
        count = [site_multiplicity(phase.symmetry, site.position) for site in sites]
        species = [site.species for site in sites]
        occupancy = phase.sites_from(own).occupancy
        mass = mass_from_occupancies(species=species, multiplicity=count, occupancy=occupancy, masses={})
        masses.append(mass if isinstance(mass, Dual) else float(mass))
    return mass_shares(scales=scales, masses=masses)
