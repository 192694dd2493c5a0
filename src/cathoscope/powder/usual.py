"""What is refined where nobody says otherwise, and patterns ready for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cathoscope.core.bank import Bank
from cathoscope.core.errors import MeasurementError
from cathoscope.powder.background import Scale, chebyshev_basis
from cathoscope.powder.crystallite import Crystallite, numbers_of
from cathoscope.powder.model import EFFECTS, Pattern, model_of, spacings_of
from cathoscope.powder.priors import usual_priors
from cathoscope.powder.profile_tof import LorentzPart
from cathoscope.powder.start import stated_parameters
from cathoscope.powder.strategy import GROUPS, Plan
from cathoscope.powder.ties import Ties, resolved_ties, shared_ties

Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
Range = tuple[float, float, str]
"""Two places in a pattern and their unit: "A" of spacings, "us" of time of flight, "deg" of two theta."""

USUAL_STAGES: tuple[tuple[str, ...], ...] = (
    ("*.scale", "*.background.*"),
    ("cells",),
    ("widths", "*.zero"),
    ("displacements", "positions"),
)
"""Scales and backgrounds, then cells, then widths and the zero of every bank, then displacements and positions."""

_FEWEST = 10  # points beyond those that a background takes


@dataclass(frozen=True)
class PatternChoices:
    """What of a pattern is used, and what is under its peaks.

    Attributes
    ----------
    range
        Points that are used; all if None.
    excluded
        Points that are not.
    background, scale
        Number of Chebyshev polynomials, and on which scale they are even.
    lorentz, table, effects
        As of a `Pattern`; displacements of the sample only at a constant wavelength.
    """

    range: Range | None = None
    excluded: tuple[Range, ...] = ()
    background: int = 12
    scale: Scale = "linear"
    lorentz: LorentzPart = "exact"
    table: str = "sears1992"
    effects: tuple[str, ...] = field(default=())


def pattern_of(
    bank: Bank, x: ArrayLike, y: ArrayLike, std: ArrayLike, choices: PatternChoices | None = None
) -> Pattern:
    """A measured pattern ready for refinement; its name is that of the bank.

    Parameters
    ----------
    x, y, std
        Place (us or deg), intensity and its standard uncertainty, (m,). Points without a value or with an uncertainty
        that is not above zero are not used; what follows the last finite place is left out.

    Raises
    ------
    MeasurementError
        If too few points are left for the background.
    """
    choices = choices or PatternChoices()
    place = np.asarray(x, dtype=np.float64)
    place = place[: int(np.isfinite(place).sum())]
    value, error = (np.asarray(one, dtype=np.float64)[: place.size] for one in (y, std))
    with np.errstate(invalid="ignore"):
        used = np.isfinite(value) & np.isfinite(error) & (error > 0)
    used &= within(bank, place, choices.range)
    for one in choices.excluded:
        used &= ~within(bank, place, one, otherwise=False)
    if np.count_nonzero(used) < choices.background + _FEWEST:
        raise MeasurementError(
            f"too few points of {bank.name} can be used",
            expected=f"{choices.background + _FEWEST} or more",
            found=f"{np.count_nonzero(used)} of {place.size}",
            cure="check the range, the excluded parts and the uncertainties of the file",
        )
    ends = place[used][[0, -1]]
    basis = chebyshev_basis(
        x=np.clip(place, *ends), count=choices.background, span=(float(ends[0]), float(ends[1])), scale=choices.scale
    )
    effects = tuple(one for one in choices.effects if bank.kind == "cw" or one == EFFECTS[0])
    safe = np.where(used, error, 1.0)
    return Pattern(bank.name, bank, place, value, safe, used, basis, choices.lorentz, choices.table, effects)


def within(bank: Bank, x: Array, places: Range | None, otherwise: bool = True) -> BoolArray:
    """Which points lie in a range; all, or as ``otherwise`` says, where there is none or its unit is not the bank's."""
    if places is None or places[2] == ("us" if bank.kind == "cw" else "deg"):
        return np.full(x.size, otherwise)
    low, high, unit = places
    if unit == "A":
        at = np.full(x.size, np.nan)
        sound = x > (bank.values["zero"] if bank.kind == "cw" else 0.0)
        at[sound] = spacings_of(bank, x[sound])
    else:
        at = x
    with np.errstate(invalid="ignore"):
        return np.asarray((at >= low) & (at <= high))


def usual_ties(phases: Sequence[Crystallite], own: Ties | None = None) -> Ties:
    """Those of atoms that share a place, with ``own`` ties before them."""
    ties: Ties = {}
    for phase in phases:
        free = {f"{phase.phase.name}.{name}" for name in numbers_of(phase)}
        shared = shared_ties(phase.phase).items()
        ties |= {name: tie for name, tie in shared if name in free and free.issuperset(tie[1])}
    return resolved_ties(ties | (own or {}))


def usual_plan(phases: Sequence[Crystallite]) -> Plan:
    """The plan of a refinement of which nothing is said."""
    more = tuple(name for phase in phases for name in more_numbers(phase))
    last = (*USUAL_STAGES[-1], *more)
    return Plan(stages=(*USUAL_STAGES[:-1], last), ties=usual_ties(phases), priors=usual_priors(phases))


def more_numbers(phase: Crystallite) -> tuple[str, ...]:
    """Numbers of texture and extinction that a phase has because they were asked for."""
    choices, name = phase.choices, phase.phase.name
    chosen = ["march"] if choices.march_axis is not None else []
    chosen += ["extinction"] if choices.extinction else []
    chosen += list(phase.harmonics.names) if phase.harmonics is not None else []
    return tuple(f"{name}.{one}" for one in chosen)


def for_phases(
    plan: Plan, patterns: Sequence[Pattern], phases: Sequence[Crystallite], start: Mapping[str, float]
) -> Plan:
    """A plan for some of its phases, perhaps with other models of size: names that there are not are left out.

    ``start`` are numbers to start from; scales and backgrounds among them fit themselves.
    """
    model = model_of(patterns, phases)
    numbers = stated_parameters(model).numbers
    own = tuple(name for name in plan.own if name.partition(".")[2] in numbers)
    known = {*numbers, *own}
    ties = {name: tie for name, tie in (plan.ties or {}).items() if name in known and known.issuperset(tie[1])}
    stages = tuple(tuple(one for one in stage if _names_any(one, known)) for stage in plan.stages)
    fixed = {name: value for name, value in start.items() if name in known and not _fits_itself(name)}
    return replace(plan, own=own, ties=ties, stages=tuple(stage for stage in stages if stage), start=fixed)


def _names_any(pattern: str, known: Iterable[str]) -> bool:
    return pattern in GROUPS or any(fnmatchcase(name, pattern) for name in known)


def _fits_itself(name: str) -> bool:
    return name.endswith(".scale") or ".background." in name
