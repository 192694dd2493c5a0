"""How measurements were heated: rate, atmosphere, state of charge, whose thermometer; and means over particles."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cathoscope.flow.relate_sections import ConditionsSection, RelateSection
from cathoscope.flow.relations import Gathered, Member
from cathoscope.relate.events import mean_of_particles, rate_from_hold

Floats = NDArray[np.float64]

_USUAL_STD = 2.0  # K, of a thermometer
_POSSIBLE_RATES = (0.1, 20.0)  # K/min, where nothing is known
_TYPICAL = 5.0  # K/min: of several records the one nearest to it
_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:°|deg)?[KC]/min")
_HOLD = re.compile(r"holds? of (\d+(?:\.\d+)?)\s*(min|h|s)\b")
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}
_INERT = ("vacuum", "argon", "nitrogen", "helium")
_GASES = (*_INERT, "air", "oxygen")
_ABOUT = 150.0  # degC, at which the rate that a hold stands for is told


@dataclass(frozen=True)
class Conditions:
    """Of one measurement: ``rates`` are the least and the greatest possible (K/min), texts are empty if not stated."""

    atmosphere: str
    charge: str
    rates: tuple[float, float]
    programme: str
    thermometer: str
    thermometer_std: float

    @property
    def is_rate_known(self) -> bool:
        """Whether anything is known of the rate."""
        return self.rates != _POSSIBLE_RATES

    def unlike(self, other: Conditions) -> str:
        """Why what happens under both cannot be compared; empty if it can."""
        if self.charge and other.charge and self.charge != other.charge:
            return f"other state of charge: {self.charge} and {other.charge}"
        if self.atmosphere and other.atmosphere and _kind(self.atmosphere) != _kind(other.atmosphere):
            return f"other atmosphere: {self.atmosphere} and {other.atmosphere}"
        return ""


def _kind(atmosphere: str) -> str:
    return "inert" if atmosphere in _INERT else atmosphere


def conditions_of(gathered: Gathered, member: Member, rate: float = np.nan) -> Conditions:
    """What the recipe says of a measurement, its note, and ``rate`` as its own records have it (K/min)."""
    choices = gathered.choices
    stated = choices.conditions.get(member.name, ConditionsSection())
    note = member.section.note if member.section else ""
    thermometer = thermometer_of(member)
    rates = _rates(stated, choices, note, rate)
    return Conditions(
        atmosphere=(stated.atmosphere or _gas(note)).strip().lower(),
        charge=(stated.charge or "").strip(),
        rates=rates,
        programme=f"{thermometer} {rates[0]:.3g} {rates[1]:.3g}",
        thermometer=thermometer,
        thermometer_std=stated.temperature_std or _USUAL_STD,
    )


def thermometer_of(member: Member) -> str:
    """The instrument, by its technique and by what the name of a measurement has beside sample and particle."""
    own = "" if member.particle is not None else member.name.replace(member.sample, "").strip("-_. ")
    return f"{member.technique} {own}".strip()


def _rates(stated: ConditionsSection, choices: RelateSection, note: str, own: float) -> tuple[float, float]:
    """The recipe, then the records, then the note; a note of holds is of these and not of the ramps between them."""
    if stated.rate is not None:
        return stated.rate, stated.rate
    if stated.hold is not None:
        return _rates_of_hold(stated.hold, choices)
    if np.isfinite(own) and own > 0:
        return own, own
    if held := _HOLD.search(note):
        return _rates_of_hold(float(held[1]) * _SECONDS[held[2]], choices)
    said = _RATE.search(note)
    return (float(said[1]), float(said[1])) if said and float(said[1]) > 0 else _POSSIBLE_RATES


def _rates_of_hold(seconds: float, choices: RelateSection) -> tuple[float, float]:
    """Of the ramps that a hold stands for."""
    if not seconds > 0:
        return _POSSIBLE_RATES
    low, high = (
        rate_from_hold(hold=seconds, temperature=_ABOUT, activation_energy=energy)
        for energy in choices.activation_energy
    )
    return min(low, high), max(low, high)


def _gas(note: str) -> str:
    """The gas that a note names, if it is one."""
    named = [gas for gas in _GASES if re.search(rf"\b{gas}\b", note.lower())]
    return named[0] if len(named) == 1 else ""


def typical_record(member: Member) -> tuple[int, float]:
    """Of several records of a ramp the one whose rate is the most usual, and its rate (K/min); 0 and NaN without."""
    if "heating_rate" not in member.data:
        return 0, float("nan")
    rates = np.atleast_1d(np.asarray(member.data["heating_rate"].values, np.float64))
    usable = np.where(rates > 0, rates, np.nan)
    if not np.isfinite(usable).any():
        return 0, float("nan")
    row = int(np.nanargmin(np.abs(np.log(usable / _TYPICAL))))
    return row, float(rates[row])


def mean_course(members: Sequence[Member], name: str) -> tuple[Floats, Floats, Floats]:
    """Temperatures that all particles have, mean value there, and its uncertainty."""
    common = sorted(set.intersection(*(set(one.data["temperature"].values.tolist()) for one in members)))
    rows = [one.data[[name, f"{name}_std"]].sel(temperature=common) for one in members]
    value, std = ([np.asarray(row[f"{name}{end}"].values, np.float64) for row in rows] for end in ("", "_std"))
    mean, own = mean_of_particles(value, std)
    # what is 1 by definition at the first temperature has no uncertainty there
    smallest = own[own > 0].min(initial=np.inf)
    return np.asarray(common), mean, np.where(own > 0, own, smallest if np.isfinite(smallest) else 0.0)
