"""Cycle by cycle: wetted surface, resistance of charge transfer, capacity and isolated oxide of cycled particles."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import cc3d
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.core.schema import dataset, label
from cathoscope.flow.relations import Gathered, Member, Relation
from cathoscope.numerics.estimate import Estimate
from cathoscope.relate.cycles import (
    Course,
    Explained,
    Power,
    areas_from_porosity,
    capacity_explained,
    exponent_between,
    loss_by_isolation,
    polarisation_from_resistance,
    power_law,
    power_of_draws,
    share_of_fall,
)

Floats = NDArray[np.float64]

_AREA = ("wetted_surface", "solid_surface", "envelope_volume", "solid_fraction")
_VERDICTS = ("explains", "explains_in_part", "does_not_explain", "not_known")
_ENOUGH, _NOTHING = 0.8, 0.2  # of the change of ln R
_DIGITS = re.compile(r"(\d+)$")


@dataclass(eq=False)
class Cycled:
    """What is known of one particle, or of one sample's cells if particles are not told."""

    name: str
    sample: str
    resistance: Course | None = None
    porosity: Course | None = None
    areas: dict[float, Estimate] = field(default_factory=dict)
    isolated: dict[float, Estimate] = field(default_factory=dict)
    capacity: Course | None = None
    polarisation: Course | None = None
    current: float = np.nan


@dataclass(frozen=True, eq=False)
class Found:
    """What follows for one particle; arrays by cycle."""

    power: Power | None
    direct: Estimate
    share: Estimate
    area: Course | None
    product_scatter: float
    explained: Explained | None
    isolated: Estimate
    verdict: int


def cycles(gathered: Gathered) -> xr.Dataset | None:
    """Every particle with impedance and a capacity, or a surface: what explains what."""
    known = _collected(gathered)
    samples = list(dict.fromkeys(one.sample for one in known.values()))
    usable = [one for one in known.values() if one.resistance is not None and _has_more(one)]
    usable.sort(key=lambda one: (samples.index(one.sample), one.name))
    if not usable:
        return None
    return _arrays(usable, [_found(gathered, one) for one in usable])


def _has_more(one: Cycled) -> bool:
    return bool(one.capacity or one.porosity or one.areas)


def _collected(gathered: Gathered) -> dict[str, Cycled]:
    found: dict[str, Cycled] = {}
    for member in gathered.members:
        if member.technique == "relation":
            continue
        name = member.sample if member.particle is None else f"{member.sample}-{member.particle}"
        one = found.setdefault(name, Cycled(name, member.sample))
        for take in (_take_resistance, _take_series, _take_area, _take_capacity):
            take(gathered, member, one)
    return found


def _take_resistance(gathered: Gathered, member: Member, one: Cycled) -> None:
    if {"transfer_resistance", "impedance_used"} <= set(member.data):
        data = member.data
        used = np.asarray(data["impedance_used"].values) & (np.asarray(data["transfer_resistance"].values) > 0)
        if used.sum() >= 2 and one.resistance is None:
            one.resistance = _course(data, "transfer_resistance", used)


def _course(data: xr.Dataset, name: str, used: NDArray[np.bool_]) -> Course:
    values, std = (np.asarray(data[each].values, np.float64)[used] for each in (name, f"{name}_std"))
    return Course(np.asarray(data["cycle"].values, np.float64)[used], values, std)


def _take_series(gathered: Gathered, member: Member, one: Cycled) -> None:
    if "porosity_trend" in member.data and "cycle" in member.data["porosity_trend"].dims:
        used = np.asarray(member.data["porosity_trend"].values) > 0
        one.porosity = _course(member.data, "porosity_trend", used)


def _take_area(gathered: Gathered, member: Member, one: Cycled) -> None:
    """A volume after some cycles: surface per volume, as stacks hold different parts of a particle."""
    number = _DIGITS.search(member.name)
    if member.technique != "fibsem-stack" or number is None or not set(_AREA) <= set(member.data):
        return
    cycle = float(number.group(1))
    gathered.remark("cycles of stacks are the numbers at the end of their names")
    gathered.remark("isolated oxide is what a stack shows: pieces that join outside of it are taken for isolated")
    area, volume = (_estimate(member.data, name) for name in ("wetted_surface", "envelope_volume"))
    if not np.isfinite(area.value):
        area = _estimate(member.data, "solid_surface")
        gathered.remark(f"{member.name}: no pore is open to the outside, so the surface of all oxide is taken")
    if area.value > area.total:
        one.areas[cycle] = Estimate(area.value / volume.value, area.total / volume.value)
        one.isolated[cycle] = _isolated(member)
    else:
        gathered.remark(f"{member.name}: no surface is sure")


def _estimate(data: xr.Dataset, name: str) -> Estimate:
    std = float(data[f"{name}_std"].values) if f"{name}_std" in data else 0.0
    return Estimate(float(data[name].values), std)


def _isolated(member: Member) -> Estimate:
    """Share of the oxide outside of the largest piece; the threshold a tenth lower and higher is the uncertainty."""
    solid = np.asarray(member.data["solid_fraction"].values)
    shares = []
    for threshold in (0.4, 0.5, 0.6):
        labels = cc3d.connected_components(solid > threshold, connectivity=6)
        sizes = np.bincount(labels.ravel())[1:]
        shares.append(1.0 - float(sizes.max() / sizes.sum()) if sizes.size else np.nan)
    return Estimate(shares[1], 0.5 * abs(shares[2] - shares[0]))


def _take_capacity(gathered: Gathered, member: Member, one: Cycled) -> None:
    if member.technique != "particle-cell" or "cell_capacity" not in member.data:
        return
    data = member.data
    used = np.asarray(data["cycle_used"].isel(record=0).values) & np.isfinite(data["cell_capacity"].values[0])
    if used.sum() < 3:
        return
    one.capacity = _course(data.isel(record=0), "cell_capacity", used)
    polarisation = np.asarray(data["polarisation"].isel(record=0).values, np.float64)[used]
    one.polarisation = Course(one.capacity.cycle, polarisation, np.zeros_like(polarisation))
    one.current = float(np.nanmedian(np.abs(data["cycle_current"].values[0])))


def _found(gathered: Gathered, one: Cycled) -> Found:
    nothing = Estimate(np.nan, np.nan)
    power, area, direct, share, scatter = None, None, nothing, nothing, np.nan
    try:
        if one.resistance is not None:
            power, area, scatter = _exponent(gathered, one, one.resistance)
        direct, share = _between(one, area)
    except MeasurementError as error:
        gathered.remark(f"{one.name}: no exponent: {error.problem}")
    explained = _of_capacity(one)
    return Found(power, direct, share, area, scatter, explained, _of_isolation(one), _verdict(power, share))


def _exponent(gathered: Gathered, one: Cycled, resistance: Course) -> tuple[Power | None, Course | None, float]:
    """Exponent of R against the surface: measured at three cycles or more, or between two by the porosity."""
    if len(one.areas) < 2:
        why = "the surface is known after no cycle" if not one.areas else "the surface is known after one cycle only"
        seen = "; the porosity of slices does not tell how wide cracks are, so it gives no surface"
        gathered.remark(f"{one.name}: {why}{seen if one.porosity is not None else ''}")
        return None, None, np.nan
    cycle = np.array(sorted(one.areas))
    known = Course(
        cycle,
        np.array([one.areas[each].value for each in cycle]),
        np.array([one.areas[each].total for each in cycle]),
    )
    if cycle.size >= 3:
        values, std = resistance.at(cycle)
        there = np.isfinite(values)
        power = power_law(known.value[there], known.std[there], values[there], std[there])
        return power, known, float(np.std(np.log(known.value[there] * values[there])))
    if one.porosity is None:
        gathered.remark(f"{one.name}: two surfaces and no slices between them give an exponent without a test")
        return None, known, np.nan
    at, draws = areas_from_porosity(known, one.porosity)
    area = Course(at, np.median(draws, axis=0), draws.std(axis=0))
    chosen = (resistance.cycle >= at[0]) & (resistance.cycle <= at[-1])
    columns = np.searchsorted(at, resistance.cycle[chosen])
    inside = at[np.minimum(columns, at.size - 1)] == resistance.cycle[chosen]
    columns, rows = columns[inside], np.flatnonzero(chosen)[inside]
    gathered.remark(
        f"{one.name}: the surface is measured after cycles {cycle[0]:g} and {cycle[1]:g}, between them by porosity"
    )
    power = power_of_draws(draws[:, columns], resistance.value[rows], resistance.std[rows])
    return power, area, float(np.std(np.log(area.value[columns] * resistance.value[rows])))


def _between(one: Cycled, area: Course | None) -> tuple[Estimate, Estimate]:
    """Exponent and share from the first to the last measured surface."""
    nothing = Estimate(np.nan, np.nan)
    if area is None or one.resistance is None:
        return nothing, nothing
    ends = min(one.areas), max(one.areas)
    values, std = one.resistance.at(np.array(ends))
    if not np.isfinite(values).all():
        return nothing, nothing
    of_area = (one.areas[ends[0]], one.areas[ends[1]])
    of_resistance = (Estimate(float(values[0]), float(std[0])), Estimate(float(values[1]), float(std[1])))
    return (
        exponent_between(area=of_area, resistance=of_resistance),
        share_of_fall(area=of_area, resistance=of_resistance),
    )


def _verdict(power: Power | None, share: Estimate) -> int:
    if power is None or not np.isfinite(share.value):
        return _VERDICTS.index("not_known")
    low, high = power.interval(0.95)
    if low <= -1.0 <= high and share.value + 2 * share.std >= _ENOUGH:
        return _VERDICTS.index("explains")
    return _VERDICTS.index("does_not_explain" if share.value + 2 * share.std < _NOTHING else "explains_in_part")


def _of_capacity(one: Cycled) -> Explained | None:
    if one.capacity is None or one.resistance is None or not np.isfinite(one.current):
        return None
    values, _ = one.resistance.at(one.capacity.cycle)
    there = np.isfinite(values)
    if there.sum() < 5:
        return None
    polarisation = polarisation_from_resistance(resistance=values[there], current=one.current)
    return capacity_explained(
        cycle=one.capacity.cycle[there], capacity=one.capacity.value[there], polarisation=polarisation
    )


def _of_isolation(one: Cycled) -> Estimate:
    """Share of the capacity lost since its peak that isolated oxide gives, at the last stack."""
    nothing = Estimate(np.nan, np.nan)
    if one.capacity is None or len(one.isolated) < 1:
        return nothing
    last, first = max(one.isolated), min(one.isolated)
    at, std = one.capacity.at(last)
    peak = int(np.argmax(one.capacity.value))
    top = one.capacity.value[peak]
    if not np.isfinite(at) or one.capacity.cycle[peak] >= last or at >= top:
        return nothing
    before = one.isolated[first] if first < last else Estimate(0.0)
    gone = Estimate(one.isolated[last].value - before.value, one.isolated[last].total)
    return loss_by_isolation(isolated=gone, lost=Estimate(1.0 - float(at) / float(top), float(std) / float(top)))


def _arrays(known: list[Cycled], found: list[Found]) -> xr.Dataset:
    grid = np.unique(np.concatenate([each.cycle for one in known for each in _courses(one)] + [np.array([0.0])]))
    cycled = label("cycled", np.arange(1, len(known) + 1), ("cycled",))
    cycled.attrs |= {"names": [one.name for one in known], "samples": [one.sample for one in known]}
    coords = {"cycled": cycled, "cycle": label("cycle", grid, ("cycle",))}
    arrays = []
    for name, courses in {
        "cycled_resistance": [one.resistance for one in known],
        "cycled_area": [one.area for one in found],
        "cycled_porosity": [one.porosity for one in known],
        "cycled_capacity": [one.capacity for one in known],
    }.items():
        for suffix in ("", "_std"):
            table = np.array([_on(grid, one, "std" if suffix else "value") for one in courses])
            source = {"std_source": "scatter"} if suffix else {}
            arrays.append(label(f"{name}{suffix}", table, ("cycled", "cycle"), coords=coords, **source))
    for name, dicts in (("cycled_measured_area", "areas"), ("cycled_isolated", "isolated")):
        table = np.full((2, len(known), grid.size), np.nan)
        for row, one in enumerate(known):
            for cycle, value in getattr(one, dicts).items():
                if cycle in grid:
                    table[:, row, np.searchsorted(grid, cycle)] = value.value, value.total
        arrays.append(label(name, table[0], ("cycled", "cycle"), coords=coords))
        arrays.append(label(f"{name}_std", table[1], ("cycled", "cycle"), coords=coords, std_source="threshold"))
    arrays.append(label("polarisation_share", _polarisation(known, grid), ("cycled", "cycle"), coords=coords))
    return dataset([*arrays, *_numbers(found, coords)])


def _courses(one: Cycled) -> list[Course]:
    return [each for each in (one.resistance, one.porosity, one.capacity) if each is not None]


def _on(grid: Floats, course: Course | None, which: str) -> Floats:
    row = np.full(grid.size, np.nan)
    if course is not None:
        row[np.searchsorted(grid, course.cycle)] = getattr(course, which)
    return row


def _polarisation(known: list[Cycled], grid: Floats) -> Floats:
    """Part of the polarisation found that charge transfer gives, at cycles that have both."""
    table = np.full((len(known), grid.size), np.nan)
    for row, one in enumerate(known):
        if one.polarisation is None or one.resistance is None:
            continue
        total = _on(grid, one.polarisation, "value")
        expected = polarisation_from_resistance(resistance=_on(grid, one.resistance, "value"), current=one.current)
        table[row] = expected / total
    return table


def _numbers(found: list[Found], coords: dict[str, xr.DataArray]) -> list[xr.DataArray]:
    nothing = Estimate(np.nan, np.nan)
    estimates = {
        "resistance_exponent": [
            nothing if one.power is None else Estimate(one.power.exponent, one.power.std) for one in found
        ],
        "resistance_exponent_direct": [one.direct for one in found],
        "resistance_explained": [one.share for one in found],
        "rise_explained": [nothing if one.explained is None else one.explained.of_rise for one in found],
        "fade_explained": [nothing if one.explained is None else one.explained.of_fade for one in found],
        "fade_isolated": [one.isolated for one in found],
    }
    arrays = []
    for name, each in estimates.items():
        arrays.append(label(name, np.array([one.value for one in each]), ("cycled",), coords=coords))
        std = np.array([one.total for one in each])
        arrays.append(label(f"{name}_std", std, ("cycled",), coords=coords, std_source="scatter"))
    limits = [(np.nan, np.nan) if one.power is None else one.power.interval(0.95) for one in found]
    plain = {
        "resistance_exponent_low": [one[0] for one in limits],
        "resistance_exponent_high": [one[1] for one in limits],
        "resistance_area_scatter": [one.product_scatter for one in found],
        "resistance_misfit_chance": [np.nan if one.power is None else one.power.chance for one in found],
        "capacity_rise": [np.nan if one.explained is None else one.explained.rise for one in found],
        "capacity_fade": [np.nan if one.explained is None else one.explained.fade for one in found],
        "capacity_peak": [np.nan if one.explained is None else one.explained.peak for one in found],
    }
    arrays += [label(name, np.array(each, np.float64), ("cycled",), coords=coords) for name, each in plain.items()]
    verdict = label("resistance_verdict", np.array([one.verdict for one in found]), ("cycled",), coords=coords)
    verdict.attrs |= {"flag_values": list(range(len(_VERDICTS))), "flag_meanings": " ".join(_VERDICTS)}
    return [*arrays, verdict]


CYCLES = Relation(
    "cycles",
    "Surface, resistance and capacity by cycle",
    cycles,
    (
        *_AREA,
        *("transfer_resistance", "impedance_used", "porosity_trend"),
        *("cell_capacity", "cycle_used", "polarisation", "cycle_current"),
    ),
)
