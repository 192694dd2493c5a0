"""Oxygen lost on heating by every probe of a sample, and the balance of all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.core.schema import dataset, label
from cathoscope.flow.relations import Gathered, Member, Relation
from cathoscope.flow.steps.relate_conditions import Conditions, conditions_of, mean_course, typical_record
from cathoscope.flow.steps.relate_phases import metals_of_phases
from cathoscope.flow.steps.state_maps import scale_of
from cathoscope.lab.particle_cell import Oxide, oxide_of
from cathoscope.numerics.estimate import Estimate
from cathoscope.relate.events import Energy, shift_by_rates
from cathoscope.relate.multiple_tests import holm
from cathoscope.relate.oxygen import (
    Balance,
    Course,
    Discrepancy,
    against,
    at_temperatures,
    balance_of,
    ideal_spinel_oxygen,
    lost_from_valence,
    moved,
    start_discrepancy,
    with_thermometer,
)
from cathoscope.xanes.state_map import StateScale

Floats = NDArray[np.float64]

_LITHIUM_STD = 0.02  # per metal, where no analysis says it
_FIRST = 10  # places of a balance's record that are the mass before heating
_PROBES = ("balance", "white line", "occupancies", "ideal spinel")


@dataclass(frozen=True)
class Seen:
    """The oxygen of one probe of one sample; a ``model`` is compared and not averaged."""

    course: Course
    conditions: Conditions
    model: bool = False


@dataclass(frozen=True)
class Result:
    """What is found of one sample: as seen, made alike, together."""

    sample: str
    seen: tuple[Seen, ...]
    alike: tuple[Course, ...]
    balance: Balance | None
    each: tuple[Discrepancy, ...]
    start: Estimate | None


def oxygen(gathered: Gathered) -> xr.Dataset | None:
    """The balance of oxygen of every sample of which two probes at least tell it."""
    results = [one for one in (_of_sample(gathered, name) for name in gathered.samples) if one is not None]
    return dataset(_arrays(results)) if results else None


def _of_sample(gathered: Gathered, sample: str) -> Result | None:
    oxide = _oxide(gathered, sample)
    if oxide is None:
        return None
    seen = tuple(_all_seen(gathered, sample, oxide))
    start = _start(gathered, sample, oxide)
    told = [one for one in seen if not one.model]
    if len(told) < 2:
        if told:
            gathered.remark(f"oxygen of {sample}: {told[0].course.name} alone, nothing to balance it with")
        return None
    first = min(told, key=lambda one: one.course.temperature.size)
    alike = tuple(_alike(gathered, one, first) for one in seen)
    alike = tuple(at_temperatures(one, first.course.temperature) for one in alike)
    _remark_on_atmospheres(gathered, sample, told)
    used = [one for one, each in zip(alike, seen, strict=True) if not each.model]
    balance = balance_of(used)
    known = {one.name: one for one in balance.each}
    each = tuple(known.get(one.name) or against(one, used) for one in alike)
    return Result(sample, seen, alike, balance, each, start)


def _oxide(gathered: Gathered, sample: str) -> Oxide | None:
    composition = gathered.samples[sample].composition
    try:
        return oxide_of(composition) if composition else None
    except MeasurementError:
        return None  # a foil or an electrolyte has no balance


def _all_seen(gathered: Gathered, sample: str, oxide: Oxide) -> Iterator[Seen]:
    members = [one for one in gathered.members if one.sample == sample]
    for member in members:
        if "oxygen_content" in member.data:
            yield _by_mass(gathered, member)
            break
    yield from _by_valence(gathered, [one for one in members if _has_white_line(one)], oxide)
    for member in members:
        shares = metals_of_phases(member, oxide)
        if shares is not None:
            conditions = conditions_of(gathered, member)
            yield Seen(shares.course(_PROBES[2]), conditions)
            ideal = ideal_spinel_oxygen(lithium=oxide.amount["Li"])
            yield Seen(shares.spinel_course(_PROBES[3], 2.0 - ideal), conditions, model=True)
            break


def _by_mass(gathered: Gathered, member: Member) -> Seen:
    """Oxygen of the record at the most usual rate, less what it held before heating."""
    row, rate = typical_record(member)
    data = member.data.isel(record=row) if "record" in member.data["oxygen_content"].dims else member.data
    content, std = (np.asarray(data[f"oxygen_content{end}"].values, np.float64) for end in ("", "_std"))
    known = np.isfinite(content) & np.isfinite(std)
    content, std = content[known], std[known]
    before = float(np.median(content[:_FIRST]))
    course = Course(
        _PROBES[0],
        np.asarray(data["temperature"].values, np.float64)[known],
        before - content,
        std,
        np.full((1, content.size), float(np.median(std[:_FIRST]))),
    )
    return Seen(course, conditions_of(gathered, member, rate))


def _has_white_line(member: Member) -> bool:
    return (
        "white_line_mean_std" in member.data
        and member.data["white_line_mean"].dims == ("temperature",)
        and member.data.sizes["temperature"] > 1
    )


def _scale(gathered: Gathered, member: Member) -> StateScale | None:
    """From white line to valence: that of the measurement, else that of all."""
    sections = [member.section.state] if member.section else []
    for section in (*sections, gathered.choices.state):
        if section.quantity == "valence":
            return scale_of(section)[0]
    return None


def _by_valence(gathered: Gathered, members: Sequence[Member], oxide: Oxide) -> Iterator[Seen]:
    """Oxygen by the charge that nickel has taken up, if the recipe has a scale to valence."""
    if not members:
        return
    scale = _scale(gathered, members[0])
    if scale is None:
        gathered.remark(
            f"white line of {members[0].sample}: the recipe has no scale to valence (relate.state.standards), "
            "so it is not in the balance of oxygen"
        )
        return
    temperature, line, std = mean_course(members, "white_line_mean")
    if temperature.size < 2:
        return
    per_line = lost_from_valence(change=1.0, nickel=oxide.amount.get("Ni", 0.0)) / scale.slope
    course = Course(
        _PROBES[1],
        temperature[1:],
        per_line * (line[1:] - line[0]),
        np.abs(per_line) * std[1:],
        np.full((1, line.size - 1), float(np.abs(per_line)) * std[0]),
        factor_std=float(np.sqrt(scale.covariance[1, 1]) / abs(scale.slope)),
    )
    yield Seen(course, conditions_of(gathered, replace(members[0], particle=members[0].particle or 0)))


def _alike(gathered: Gathered, one: Seen, first: Seen) -> Course:
    """A course as it would be at the heating rate of ``first``, with the uncertainty of its thermometer."""
    course = with_thermometer(one.course, one.conditions.thermometer_std)
    if one.conditions.programme == first.conditions.programme:
        return course
    at = float(np.mean(first.course.temperature))
    energy = Energy(*gathered.choices.activation_energy)
    (least, most), _ = shift_by_rates(at, one.conditions.rates, first.conditions.rates, energy)
    return moved(course, least, most) if max(abs(least), abs(most)) > 0 else course


def _remark_on_atmospheres(gathered: Gathered, sample: str, seen: Sequence[Seen]) -> None:
    for one in seen[1:]:
        reason = seen[0].conditions.unlike(one.conditions)
        if reason:
            gathered.remark(
                f"oxygen of {sample}: {seen[0].course.name} and {one.course.name} have {reason}; what parts them may "
                "be that"
            )
    unknown = [one.course.name for one in seen if not one.conditions.is_rate_known]
    if unknown:
        gathered.remark(
            f"oxygen of {sample}: rate of heating of {', '.join(unknown)} is not stated; 0.1 to 20 K/min is allowed for"
        )


def _start(gathered: Gathered, sample: str, oxide: Oxide) -> Estimate | None:
    """Oxygen per metal by the charges before heating less 2, where the valence is known."""
    members = [one for one in gathered.members if one.sample == sample and _has_white_line(one)]
    scale = _scale(gathered, members[0]) if members else None
    if scale is None:
        return None
    _, line, std = mean_course(members, "white_line_mean")
    valence = (line[0] - scale.zero) / scale.slope
    (zero, both), (_, slope) = scale.covariance
    common = np.sqrt(max(zero + 2 * valence * both + valence**2 * slope + scale.scatter**2, 0.0)) / abs(scale.slope)
    number = Estimate(float(valence), float(std[0] / abs(scale.slope)), float(common))
    shares = {name: share for name, share in oxide.amount.items() if name not in ("Li", "O")}
    try:
        return start_discrepancy(lithium=_lithium(gathered, sample, oxide), nickel_valence=number, shares=shares)
    except MeasurementError as error:
        gathered.remark(f"charges of {sample} before heating: {error.problem}")
        return None


def _lithium(gathered: Gathered, sample: str, oxide: Oxide) -> Estimate:
    """Per metal of the charged oxide: by elemental analysis, if the recipe says which specimen it is."""
    for member in gathered.members:
        if member.sample == sample and "lithium_per_metal" in member.data and member.section is not None:
            names = [str(one) for one in member.data["specimen"].attrs.get("names", ())]
            after = member.section.elements.after
            if after in names:
                row = member.data.isel(specimen=names.index(after))
                return Estimate(float(row["lithium_per_metal"]), float(row["lithium_per_metal_std"]))
    gathered.remark(f"lithium of {sample} is that of its formula, ± {_LITHIUM_STD} per metal")
    return Estimate(oxide.amount["Li"], _LITHIUM_STD)


def _arrays(results: Sequence[Result]) -> Iterator[xr.DataArray]:
    names = [name for name in _PROBES if any(name == one.course.name for each in results for one in each.seen)]
    grid = np.unique(np.concatenate([one.course.temperature for each in results for one in each.seen]))
    sample = label("oxygen_sample", np.arange(1, len(results) + 1), ("oxygen_sample",))
    probe = label("oxygen_probe", np.arange(1, len(names) + 1), ("oxygen_probe",))
    sample.attrs["names"], probe.attrs["names"] = [one.sample for one in results], names
    coords = {
        "oxygen_sample": sample,
        "oxygen_probe": probe,
        "temperature": label("temperature", grid, ("temperature",)),
    }
    curves = ("oxygen_sample", "oxygen_probe", "temperature")
    for name in ("oxygen_lost", "oxygen_compared"):
        values, stds = np.full((2, len(results), len(names), grid.size), np.nan)
        for row, each in enumerate(results):
            for course in [one.course for one in each.seen] if name == "oxygen_lost" else each.alike:
                where = np.searchsorted(grid, course.temperature)
                values[row, names.index(course.name), where] = course.lost
                stds[row, names.index(course.name), where] = course.total_std
        yield from _pair(name, values, stds, curves, coords)
    joint, stds = np.full((2, len(results), grid.size), np.nan)
    for row, each in enumerate(results):
        if each.balance is not None:
            where = np.searchsorted(grid, each.balance.temperature)
            joint[row, where], stds[row, where] = each.balance.lost, each.balance.std
    yield from _pair("oxygen_joint", joint, stds, ("oxygen_sample", "temperature"), coords)
    yield from _tests(results, names, coords)


def _pair(
    name: str, values: Floats, stds: Floats, dims: tuple[str, ...], coords: dict[str, xr.DataArray]
) -> Iterator[xr.DataArray]:
    yield label(name, values, dims, coords=coords)
    yield label(f"{name}_std", stds, dims, coords=coords, std_source="fit covariance")


def _tests(results: Sequence[Result], names: Sequence[str], coords: dict[str, xr.DataArray]) -> Iterator[xr.DataArray]:
    """Chi squared of every balance, and every probe against the others."""
    balances = [one.balance for one in results]
    of_sample = {
        "oxygen_misfit": [one.chi2 if one else np.nan for one in balances],
        "oxygen_degrees": np.array([one.degrees if one else 0 for one in balances]),
        "oxygen_chance": [one.probability if one else np.nan for one in balances],
    }
    for name, values in of_sample.items():
        yield label(name, np.asarray(values), ("oxygen_sample",), coords=coords)
    starts = [one.start or Estimate(np.nan, np.nan) for one in results]
    start = np.array([one.value for one in starts]), np.array([one.total for one in starts])
    yield from _pair("oxygen_at_start", *start, ("oxygen_sample",), coords)
    shape = len(results), len(names)
    factor, factor_std, probability, rest = (np.full(shape, np.nan) for _ in range(4))
    joint = np.zeros(shape, dtype=bool)
    for row, each in enumerate(results):
        for one, seen in zip(each.each, each.seen, strict=True):
            column = names.index(one.name)
            factor[row, column], factor_std[row, column] = one.factor, one.factor_std
            probability[row, column], joint[row, column] = one.probability, not seen.model
            rest[row, column] = np.nan if seen.model else one.rest
    dims = ("oxygen_sample", "oxygen_probe")
    yield from _pair("oxygen_factor", factor, factor_std, dims, coords)
    yield label("oxygen_probability", probability, dims, coords=coords)
    tested = np.where(joint, probability, np.nan)  # models are not among what is corrected for
    yield label("oxygen_corrected", holm(tested.ravel()).reshape(shape), dims, coords=coords)
    yield label("oxygen_rest", rest, dims, coords=coords)
    yield label("oxygen_in_joint", joint, dims, coords=coords)


_OF_PHASES = ("weight_fraction", "oxygen_occupancy", "antisite")

OXYGEN = Relation(
    "oxygen",
    "Balance of oxygen",
    oxygen,
    ("oxygen_content", "heating_rate", "white_line_mean", "lithium_per_metal", *_OF_PHASES),
    ("conditions", "activation_energy", "state"),
    ("note", "state", "phases", "elements"),
)
