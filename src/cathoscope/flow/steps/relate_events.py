"""Onsets, middles and ends of changes on heating, from every probe, on one axis of temperature; and which are one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import xarray as xr

from cathoscope.core.schema import dataset, label
from cathoscope.flow.relations import Gathered, Member, Relation
from cathoscope.flow.steps.relate_conditions import Conditions, conditions_of, mean_course, typical_record
from cathoscope.relate.events import (
    Difference,
    Energy,
    Event,
    Verdict,
    bracket_of_change,
    difference_of,
    verdicts_of,
)

_COURSES = {"white_line_mean": "white line", "porosity": "porosity", "relative_volume": "volume"}
_SHARES = {"onset": 0.05, "middle": 0.5}
_ALIKE = 1.0  # K between peaks that are one, told under two names
_ONE_SPECIMEN = ("TGA", "DSC", "diffraction")
_TOLD = 0.1  # K by which rates move an event
_SIGNIFICANT = 5.0  # activation energy over its uncertainty


@dataclass(frozen=True)
class Found:
    """An event, what it is called, where it was seen and how it was heated; ``energy`` is its own, if measured."""

    event: Event
    change: str
    kind: str
    sample: str
    probe: str
    conditions: Conditions
    energy: Energy | None = None

    @property
    def name(self) -> str:
        """Of the change and its part."""
        return f"{self.change}, {self.kind}"


def events(gathered: Gathered) -> xr.Dataset | None:
    """Every event of every probe, and every pair that may be one event."""
    found = [*_of_courses(gathered)]
    for member in gathered.members:
        for collect in (_of_diffraction, _of_balance, _of_calorimeter):
            found += collect(gathered, member)
    if len(found) < 2:
        return None
    found.sort(key=lambda one: (list(gathered.samples).index(one.sample), one.probe, one.event.value))
    pairs = [pair for pair in combinations(range(len(found)), 2) if _is_asked(*(found[k] for k in pair))]
    _remark_on_conditions(gathered, found)
    _remark_on_specimens(gathered, found, pairs)
    return dataset([*_event_arrays(found), *(_pair_arrays(gathered, found, pairs) if pairs else ())])


def _is_asked(first: Found, second: Found) -> bool:
    """Two probes of one sample, or one change in two samples; onsets with onsets."""
    if first.kind != second.kind:
        return False
    if first.sample == second.sample:
        return first.probe != second.probe
    return (first.probe, first.change) == (second.probe, second.change)


def _event(conditions: Conditions, place: Sequence[float], definition: str = "share", systematic: float = 0.0) -> Event:
    """An event at ``place``: low, high, and uncertainties below and above; the latter are 0 of a bracket."""
    low, high, below, above = place
    return Event(
        low,
        high,
        below,
        above,
        systematic,
        thermometer=conditions.thermometer,
        thermometer_std=conditions.thermometer_std,
        rates=conditions.rates,
        programme=conditions.programme,
        definition=definition,
    )


def _of_courses(gathered: Gathered) -> Iterator[Found]:
    """Brackets from numbers at few temperatures, means over the particles of a sample."""
    for name, change in _COURSES.items():
        usable = [member for member in gathered.having(name, f"{name}_std") if _is_course(member, name)]
        for sample, technique in dict.fromkeys((one.sample, one.technique) for one in usable):
            members = [one for one in usable if (one.sample, one.technique) == (sample, technique)]
            yield from _of_course(gathered, members, name, change)


def _is_course(member: Member, name: str) -> bool:
    return member.technique != "relation" and member.data[name].dims == ("temperature",)


def _of_course(gathered: Gathered, members: Sequence[Member], name: str, change: str) -> Iterator[Found]:
    temperature, value, std = mean_course(members, name)
    if temperature.size < 2:
        return
    first, probe = members[0], "XANES" if name == "white_line_mean" else "morphology"
    conditions = conditions_of(gathered, replace(first, particle=first.particle or 0))
    if len(members) == 1 and first.particle is not None:
        gathered.remark(f"{change} of {first.sample}: one particle stands for the sample")
    for kind, share in _SHARES.items():
        bracket = bracket_of_change(temperature, value, std, share=share)
        if bracket is None:
            gathered.remark(f"{change} of {first.sample}: no change beyond its uncertainty, or none that goes one way")
            return
        low, high, doubt = bracket
        event = replace(_event(conditions, (low, high, 0.0, 0.0)), doubt=doubt)
        yield Found(event, change, kind, first.sample, probe, conditions)


def _of_diffraction(gathered: Gathered, member: Member) -> Iterator[Found]:
    """Onset, middle and end of the first phase that changes: the others share its change."""
    if "transition_onset" not in member.data:
        return
    data, conditions = member.data, conditions_of(gathered, member)
    for number in range(data.sizes["phase"]):
        if np.isnan(float(data["transition_onset"][number])):
            continue
        names = list(data["phase"].attrs.get("names", ()))
        change = f"{names[number]} phase" if names else "phase"
        for kind in ("onset", "end"):
            event = _event(conditions, _window(data, f"transition_{kind}", number))
            if np.isfinite(event.value):
                yield Found(event, change, kind, member.sample, "diffraction", conditions)
        share, std = (np.asarray(data[f"weight_fraction{end}"].values[:, number], float) for end in ("", "_std"))
        sure = np.isfinite(std) & (std > 0)
        if sure.any():
            filled = np.where(sure, std, std[sure].min())
            bracket = bracket_of_change(data["temperature"].values, share, filled, share=0.5)
            if bracket is not None:
                event = replace(_event(conditions, (*bracket[:2], 0.0, 0.0)), doubt=bracket[2])
                yield Found(event, change, "middle", member.sample, "diffraction", conditions)
        return


def _window(data: xr.Dataset, name: str, number: int) -> tuple[float, float, float, float]:
    """A place with the uncertainties to both sides; a bracket from the last temperature on where it is not reached."""
    value, low, high = (float(data[f"{name}{end}"][number]) for end in ("", "_low", "_high"))
    first, last = (float(np.asarray(data["temperature"].values)[end]) for end in (0, -1))
    if np.isinf(value):
        return (last, np.inf, 0.0, 0.0) if value > 0 else (-np.inf, first, 0.0, 0.0)
    return value, value, value - max(low, first), min(high, last) - value


def _of_balance(gathered: Gathered, member: Member) -> Iterator[Found]:
    """Steps of mass loss of the record at the most usual rate."""
    if "step_onset" not in member.data:
        return
    row, rate = typical_record(member)
    data, conditions = member.data.isel(record=row), conditions_of(gathered, member, rate)
    rapid = float(data["rapid_loss_onset"]) if "rapid_loss_onset" in data else np.nan
    for number in range(data.sizes["loss_step"]):
        step = data.isel(loss_step=number)
        onset = float(step["step_onset"])
        change = "rapid loss of mass" if abs(onset - rapid) < _ALIKE else f"loss of mass {number + 1}"
        for kind, name, definition in (("onset", "step_onset", "tangent"), ("middle", "step_steepest", "steepest")):
            yield from _of_record(member, step, name, (change, kind, definition), conditions)


def _of_record(
    member: Member, data: xr.Dataset, name: str, what: tuple[str, str, str], conditions: Conditions
) -> Iterator[Found]:
    """One temperature with its uncertainties."""
    value, std = (float(data[f"{name}{end}"]) if f"{name}{end}" in data else np.nan for end in ("", "_std"))
    systematic = float(data[f"{name}_systematic"]) if f"{name}_systematic" in data else 0.0
    if np.isfinite(value) and np.isfinite(std):
        change, kind, definition = what
        probe = "TGA" if member.technique == "mass-loss" else "DSC"
        event = _event(conditions, (value, value, std, std), definition, np.nan_to_num(systematic))
        yield Found(event, change, kind, member.sample, probe, conditions, _own_energy(data))


def _own_energy(data: xr.Dataset) -> Energy | None:
    """Measured activation energy of what ``data`` holds."""
    if "kissinger_energy" not in data or data["kissinger_energy"].ndim:
        return None
    value, std = float(data["kissinger_energy"]), float(data["kissinger_energy_std"])
    return Energy(value, value, std) if value > _SIGNIFICANT * std else None


def _of_calorimeter(gathered: Gathered, member: Member) -> Iterator[Found]:
    """Heat effects of the record at the most usual rate; one that has the peak of another is not told again."""
    if "effect_peak" not in member.data:
        return
    row, rate = typical_record(member)
    data, conditions = member.data.isel(record=row), conditions_of(gathered, member, rate)
    names = [str(name) for name in data["effect"].attrs.get("names", range(1, data.sizes["effect"] + 1))]
    seen: list[float] = []
    for number, name in enumerate(names):
        effect = data.isel(effect=number)
        peak = float(effect["effect_peak"])
        if any(abs(peak - other) < _ALIKE for other in seen):
            continue
        seen.append(peak)
        for kind, array, definition in (("onset", "effect_onset", "tangent"), ("middle", "effect_peak", "steepest")):
            yield from _of_record(member, effect, array, (f"heat effect {name}", kind, definition), conditions)


def _remark_on_conditions(gathered: Gathered, found: Sequence[Found]) -> None:
    """What is not stated of how probes were heated, and is taken to be alike or anything."""
    for what, unknown in (
        ("atmosphere", [one.probe for one in found if not one.conditions.atmosphere]),
        ("rate of heating", [one.probe for one in found if not one.conditions.is_rate_known]),
    ):
        if unknown:
            taken = "like that of the others" if what == "atmosphere" else "0.1 to 20 K/min"
            probes = ", ".join(dict.fromkeys(unknown))
            gathered.remark(f"{what} of {probes} is not stated and taken to be {taken}; relate.conditions can say it")


def _remark_on_specimens(gathered: Gathered, found: Sequence[Found], pairs: Sequence[tuple[int, int]]) -> None:
    """A record is that of one specimen: what others of the same sample would say, no interval knows."""
    across = [found[first].probe for first, second in pairs if found[first].sample != found[second].sample]
    single = [probe for probe in dict.fromkeys(across) if probe in _ONE_SPECIMEN]
    if single:
        gathered.remark(
            f"{', '.join(single)}: one specimen of each sample; what differs holds for these; how much others of the "
            "same sample differ is not in the intervals"
        )


def _event_arrays(found: Sequence[Found]) -> list[xr.DataArray]:
    number = label("event", np.arange(1, len(found) + 1), ("event",))
    number.attrs["names"] = [one.name for one in found]
    number.attrs["sample"] = [one.sample for one in found]
    number.attrs["probe"] = [one.probe for one in found]
    number.attrs["atmosphere"] = [one.conditions.atmosphere for one in found]
    events = [one.event for one in found]
    rates = [one.conditions.rates if one.conditions.is_rate_known else (np.nan, np.nan) for one in found]
    columns = {
        "event_temperature": [one.value for one in events],
        "event_temperature_std": [np.nan if one.is_bracket else 0.5 * (one.below + one.above) for one in events],
        "event_temperature_systematic": [float(np.hypot(one.systematic, one.thermometer_std)) for one in events],
        "event_low": [one.low - one.below for one in events],
        "event_high": [one.high + one.above for one in events],
        "event_rate": np.sqrt(np.prod(rates, axis=1)),
    }
    coords = {"event": number}
    arrays = [
        label(name, np.asarray(column), ("event",), coords=coords, std_source="scatter" if "_std" in name else None)
        for name, column in columns.items()
    ]
    bracketed = np.array([one.is_bracket for one in events])
    return [*arrays, label("event_bracketed", bracketed, ("event",), coords=coords)]


def _pair_arrays(
    gathered: Gathered, found: Sequence[Found], pairs: Sequence[tuple[int, int]]
) -> Iterator[xr.DataArray]:
    couples = [(found[first], found[second]) for first, second in pairs]
    differences = [_difference(gathered, *couple) for couple in couples]
    reasons = [one.conditions.unlike(other.conditions) for one, other in couples]
    margin = gathered.choices.same_within
    verdicts, corrected = verdicts_of(differences, [not reason for reason in reasons], margin=margin)
    coords = {"event_pair": label("event_pair", np.arange(1, len(pairs) + 1), ("event_pair",))}
    columns = {
        "event_first": np.array(pairs)[:, 0] + 1,
        "event_second": np.array(pairs)[:, 1] + 1,
        "event_difference": np.array([one.value for one in differences]),
        "event_difference_low": np.array([one.low for one in differences]),
        "event_difference_high": np.array([one.high for one in differences]),
        "event_shift": np.array([np.mean(one.shift) for one in differences]),
        "event_probability": np.array([one.probability for one in differences]),
        "event_corrected": corrected,
        "event_verdict": np.array(verdicts, dtype=np.int8),
    }
    for name, column in columns.items():
        array = label(name, column, ("event_pair",), coords=coords)
        if name == "event_verdict":
            array.attrs |= {
                "flag_values": [int(one) for one in Verdict],
                "flag_meanings": [one.words for one in Verdict],
                "reasons": [
                    reason or _reason(gathered, one)
                    for reason, one in zip(reasons, zip(couples, differences, strict=True), strict=True)
                ],
                "margin": margin,
            }
        yield array


def _energy(gathered: Gathered, first: Found, second: Found) -> Energy:
    return first.energy or second.energy or Energy(*gathered.choices.activation_energy)


def _difference(gathered: Gathered, first: Found, second: Found) -> Difference:
    return difference_of(first.event, second.event, _energy(gathered, first, second))


def _reason(gathered: Gathered, pair: tuple[tuple[Found, Found], Difference]) -> str:
    """What was taken off, and how a bracket limits the answer."""
    (first, second), found = pair
    words = []
    if max(map(abs, found.shift)) >= _TOLD:
        used = _energy(gathered, first, second)
        energy = f"{used.low:.0f} to {used.high:.0f}" if used.high > used.low else f"{used.low:.0f}({used.std:.0f})"
        words.append(f"rates move one event by {found.shift[0]:.1f} to {found.shift[1]:.1f} K for {energy} kJ/mol")
    if first.event.definition != second.event.definition:
        words.append(f"places are by {first.event.definition} and by {second.event.definition}")
    brackets = [one.probe for one in (first, second) if one.event.is_bracket]
    if brackets:
        words.append(f"{' and '.join(brackets)}: only a bracket is known")
    return "; ".join(words)


_OF_RAMPS = ("heating_rate", "rapid_loss_onset", "step_onset", "step_steepest", "effect_onset", "effect_peak")
_OF_PATTERNS = ("transition_onset", "transition_end", "weight_fraction")

EVENTS = Relation(
    "events",
    "Events on heating",
    events,
    (*_OF_PATTERNS, *_OF_RAMPS, "kissinger_energy", *_COURSES),
    ("conditions", "activation_energy", "same_within"),
    ("note",),
)
