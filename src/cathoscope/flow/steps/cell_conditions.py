"""Cells of one temperature and rate as replicates, and two samples compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.core.schema import dataset, label
from cathoscope.flow.beside import BESIDE
from cathoscope.flow.graph import Context, Step
from cathoscope.flow.sections import MeasurementSection
from cathoscope.flow.steps.cell_courses import current_of_1c, formation_of
from cathoscope.lab.replicates import Course, apart_of, compared, course_of, replicates_of

Floats = NDArray[np.float64]

_SAME_TEMPERATURE = 2.0  # K
_SAME_RATE = 1.12
_SAME_CURRENT = 1.4  # where masses are not known, cells differ in their currents
_MEAN = ("retention_mean", "retention_mean_low", "retention_mean_high", "retention_spread", "retention_count")
_FURTHER = {
    "capacity": ("capacity_mean", "capacity_mean_std", "capacity_spread"),
    "efficiency": ("efficiency_mean", "efficiency_mean_std", "efficiency_spread"),
}
KEPT = ("kept_share", "kept_share_std", "kept_share_low", "kept_share_high", "kept_spread", "kept_count")
_AGAINST = (
    *(f"kept_difference{end}" for end in ("", "_low", "_high")),
    *("kept_other", "kept_t", "kept_freedom", "kept_probability"),
    *(f"kept_effect{end}" for end in ("", "_low", "_high")),
)
COMPARED = ("retention_difference", "retention_difference_low", "retention_difference_high", *_AGAINST)
ASKED = ("kept_difference",)


@dataclass(frozen=True)
class Condition:
    """Temperature (degC) and rate of some cells; NaN where they are not known."""

    temperature: float
    rate: float
    unit: str  # of the rate: C, mA/g or A

    @property
    def name(self) -> str:
        """As a person calls it."""
        words = [f"{self.temperature:g} °C"] if np.isfinite(self.temperature) else []
        if np.isfinite(self.rate):
            words.append(
                {"C": f"{self.rate:.2g}C", "mA/g": f"{self.rate:.3g} mA/g"}.get(self.unit, _amperes(self.rate))
            )
        return ", ".join(words) or "all cells"

    def is_like(self, temperature: float, rate: float) -> bool:
        """Whether cells of that temperature and rate belong to it."""
        same = _SAME_CURRENT if self.unit == "A" else _SAME_RATE
        near = np.isnan(self.temperature) == np.isnan(temperature)
        near = near and not abs(self.temperature - temperature) > _SAME_TEMPERATURE
        return bool(near and not abs(np.log(self.rate / rate)) > np.log(same))


def _amperes(current: float) -> str:
    for factor, unit in ((1.0, "A"), (1e3, "mA"), (1e6, "µA"), (1e9, "nA")):
        if factor * current >= 0.5:
            return f"{factor * current:.3g} {unit}"
    return f"{1e12 * current:.3g} pA"


def conditions_of(
    section: MeasurementSection, data: xr.Dataset, temperatures: Sequence[float | None]
) -> tuple[list[Condition], NDArray[np.int64]]:
    """Conditions in order of temperature and rate, and which of them each record has; -1 of one without cycles.

    The rate is that of the median cycle after formation.
    """
    current = np.where(data["cycle_used"].values, data["cycle_current"].values, np.nan)
    there = np.asarray(np.isfinite(current).any(axis=1))
    typical = np.array([_typical(row, formation_of(section)) for row in current])
    one_c = current_of_1c(section, data)
    if np.isfinite(one_c[there]).all():
        rate, unit = typical / one_c, "C"
    elif "cell_mass" in data and np.isfinite(data["cell_mass"].values[there]).all():
        rate, unit = 1e6 * typical / data["cell_mass"].values, "mA/g"
    else:
        rate, unit = typical, "A"
    warm = np.array([np.nan if one is None else one for one in temperatures], dtype=np.float64)
    found: list[list[int]] = []
    for place in np.flatnonzero(there):
        fitting = (
            group
            for group in found
            if Condition(warm[group[0]], rate[group[0]], unit).is_like(warm[place], rate[place])
        )
        group = next(fitting, None)
        if group is None:
            found.append([int(place)])
        else:
            group.append(int(place))
    named = [Condition(float(np.mean(warm[group])), float(np.mean(rate[group])), unit) for group in found]
    order = sorted(range(len(found)), key=lambda one: (np.nan_to_num(named[one].temperature), named[one].rate))
    of = np.full(there.size, -1)
    for number, one in enumerate(order):
        of[found[one]] = number
    return [named[one] for one in order], of


def _typical(current: Floats, formation: int) -> float:
    """Median of the currents after formation, or of all if there are none; NaN without any."""
    later = current[formation:]
    known = later[np.isfinite(later)] if np.isfinite(later).any() else current[np.isfinite(current)]
    return float(np.median(known)) if known.size else float("nan")


def conditions(context: Context) -> xr.Dataset:
    """Mean, spread, number of cells and interval at every cycle and at those told, condition by condition."""
    data, section = context.data, context.section
    temperatures = context.raw.coords["record"].attrs["temperatures"]
    named, of = conditions_of(section, data, temperatures)
    condition = label("condition", np.arange(1, len(named) + 1), ("condition",))
    condition.attrs |= {
        "names": [one.name for one in named],
        "temperatures": [one.temperature if np.isfinite(one.temperature) else None for one in named],
        "rates": [one.rate for one in named],
        "rate_unit": named[0].unit if named else "",
        "level": section.cycling.level,
        "reference": data["capacity_retention"].attrs.get("reference"),
    }
    coords = {"condition": condition, "cycle": data["cycle"], "record": data["record"]}
    arrays = [label("condition_of_record", of + 1, ("record",), coords=coords)]
    arrays += _courses(data, of, len(named), coords, section.cycling.level)
    arrays += _told(data, of, coords, section)
    several = [int((of == number).sum()) for number in range(len(named))]
    arrays[0].attrs["remarks"] = [
        f"{one.name}: a single cell tells nothing of the scatter of cells"
        for one, n in zip(named, several, strict=True)
        if n < 2
    ]
    return dataset(arrays)


def _courses(
    data: xr.Dataset, of: NDArray[np.int64], count: int, coords: Mapping[str, xr.DataArray], level: float
) -> list[xr.DataArray]:
    retention = data["capacity_retention"].values
    means = [course_of(retention[of == number], level=level) for number in range(count)]
    fields = ("mean", "low", "high", "spread", "count")
    dims, arrays = ("condition", "cycle"), []
    for name, field in zip(_MEAN, fields, strict=True):
        values = np.array([getattr(one, field) for one in means])
        arrays.append(label(name, values.astype(np.int64) if field == "count" else values, dims, coords=coords))
    arrays.append(label("retention_mean_std", _std_of(means), dims, coords=coords, std_source="scatter"))
    sources = {"capacity": "specific_capacity", "efficiency": "coulombic_efficiency"}
    for key, names in _FURTHER.items():
        if sources[key] not in data:
            continue
        used = np.where(data["cycle_used"].values, data[sources[key]].values, np.nan)
        more = [course_of(used[of == number], level=level) for number in range(count)]
        arrays.append(label(names[0], np.array([one.mean for one in more]), dims, coords=coords))
        arrays.append(label(names[1], _std_of(more), dims, coords=coords, std_source="scatter"))
        arrays.append(label(names[2], np.array([one.spread for one in more]), dims, coords=coords))
    return arrays


def _std_of(courses: Sequence[Course]) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.array([one.spread / np.sqrt(one.count) for one in courses])


def told_cycles(section: MeasurementSection, data: xr.Dataset, of: NDArray[np.int64]) -> Floats:
    """Cycles at which cells are compared: those stated, else the last that all cells of a condition have."""
    if section.cycling.at:
        return np.array(sorted(set(section.cycling.at)), dtype=np.float64)
    cycle, known = data["cycle"].values, np.isfinite(data["capacity_retention"].values)
    last = [int(np.flatnonzero(row)[-1]) if row.any() else -1 for row in known]
    found = set()
    for number in range(of.max(initial=-1) + 1):
        ends = [last[place] for place in np.flatnonzero(of == number) if last[place] >= 0]
        if ends:
            found.add(float(cycle[min(ends)]))
    return np.array(sorted(found))


def _told(
    data: xr.Dataset, of: NDArray[np.int64], coords: Mapping[str, xr.DataArray], section: MeasurementSection
) -> list[xr.DataArray]:
    told = told_cycles(section, data, of)
    values = _at(data, told)
    count, level = of.max(initial=-1) + 1, section.cycling.level
    table = np.full((5, count, told.size), np.nan)
    cells = np.zeros((count, told.size), dtype=np.int64)
    for number, at in np.ndindex(count, told.size):
        here = values[of == number, at]
        here = here[np.isfinite(here)]
        cells[number, at] = here.size
        if here.size == 1:
            table[0, number, at] = here[0]
        elif here.size > 1:
            one = replicates_of(here, level=level)
            table[:, number, at] = one.mean, one.mean_std, *one.interval, one.spread
    both = {**coords, "told": label("told", told, ("told",))}
    arrays = [
        label(name, value, ("condition", "told"), coords=both, std_source="scatter" if name.endswith("_std") else None)
        for name, value in zip(KEPT[:5], table, strict=True)
    ]
    return [*arrays, label(KEPT[5], cells, ("condition", "told"), coords=both)]


def _at(data: xr.Dataset, told: Floats) -> Floats:
    """Retentions at some cycles, [record, told]; NaN where a cell has none."""
    cycle, retention = data["cycle"].values, data["capacity_retention"].values
    out = np.full((retention.shape[0], told.size), np.nan)
    for place, number in enumerate(told):
        here = np.flatnonzero(cycle == number)
        if here.size:
            out[:, place] = retention[:, here[0]]
    return out


def comparison(context: Context) -> xr.Dataset:
    """Every condition against the same one of another sample: difference, test and size of the effect."""
    own, other = context.data, context.beside
    level, told = context.section.cycling.level, np.asarray(own["told"].values)
    of, of_other = own["condition_of_record"].values - 1, other["condition_of_record"].values - 1
    alike = [_partners(own["condition"], other["condition"], number) for number in range(own.sizes["condition"])]
    cycle = own["cycle"].values
    shape = (len(alike), cycle.size)
    apart = np.full((3, *shape), np.nan)
    table = {name: np.full((len(alike), told.size), np.nan) for name in _AGAINST}
    remarks = []
    theirs = _at(other, cycle)
    for number, partners in enumerate(alike):
        name = own["condition"].attrs["names"][number]
        if len(partners) != 1:
            remarks.append(f"{name}: {context.section.cycling.against} {_none_or_several(other, partners)}")
            continue
        mine, others = own["capacity_retention"].values[of == number], theirs[of_other == partners[0]]
        found = apart_of(mine, others, level=level)
        apart[:, number] = found.difference, found.low, found.high
        for place, at in enumerate(told):
            here = np.flatnonzero(cycle == at)
            if here.size and (np.isfinite(others[:, here[0]]).any() and np.isfinite(mine[:, here[0]]).any()):
                remarks += _one(
                    table, (number, place), (mine[:, here[0]], others[:, here[0]]), level, f"{name}, cycle {at:g}"
                )
    coords = {dim: own[dim] for dim in ("condition", "cycle", "told")}
    arrays = [
        label(name, values, ("condition", "cycle"), coords=coords)
        for name, values in zip(COMPARED, apart, strict=False)
    ]
    arrays += [label(name, values, ("condition", "told"), coords=coords) for name, values in table.items()]
    arrays[0].attrs |= {"remarks": remarks, "against": context.section.cycling.against}
    return dataset(arrays)


def _partners(own: xr.DataArray, other: xr.DataArray, number: int) -> list[int]:
    """Conditions of the other sample that may be the same; several where rates cannot be compared."""
    unit = own.attrs["rate_unit"]
    this = _condition(own, number)
    if other.attrs["rate_unit"] != unit:  # masses are known of one of them only
        this = Condition(this.temperature, float("nan"), unit)
    there = [_condition(other, place) for place in range(other.size)]
    return [place for place, one in enumerate(there) if this.is_like(one.temperature, one.rate)]


def _none_or_several(other: xr.Dataset, partners: Sequence[int]) -> str:
    if not partners:
        return "has no cells at this temperature and rate"
    names = [other["condition"].attrs["names"][place] for place in partners]
    return (
        f"has {' and '.join(names)}, and rates cannot be compared while masses are known of one sample only: "
        "state cycling.mass of both"
    )


def _condition(array: xr.DataArray, number: int) -> Condition:
    warm = array.attrs["temperatures"][number]
    return Condition(float("nan") if warm is None else warm, array.attrs["rates"][number], array.attrs["rate_unit"])


def _one(
    table: Mapping[str, Floats], place: tuple[int, int], cells: tuple[Floats, Floats], level: float, name: str
) -> list[str]:
    """Fill in one comparison; what is to be said if there is none."""
    table["kept_other"][place] = np.nanmean(cells[1])
    table["kept_difference"][place] = np.nanmean(cells[0]) - np.nanmean(cells[1])
    try:
        found = compared(*cells, level=level)
    except MeasurementError as error:
        return [f"{name}: the two samples cannot be compared: {error.problem}"]
    table["kept_difference_low"][place], table["kept_difference_high"][place] = found.interval
    table["kept_t"][place], table["kept_freedom"][place], table["kept_probability"][place] = (
        found.t,
        found.freedom,
        found.p,
    )
    table["kept_effect"][place] = found.effect
    table["kept_effect_low"][place], table["kept_effect_high"][place] = found.effect_interval
    return []


def steps(section: MeasurementSection) -> tuple[Step, ...]:
    """Steps on the retentions of all cells."""
    means = [*_MEAN, "retention_mean_std", *_FURTHER["efficiency"]]
    means += _FURTHER["capacity"] if section.cycling.mass else ()
    more = ("cell_mass", "specific_capacity") if section.cycling.mass else ()
    return (
        Step(
            "conditions",
            conditions,
            needs=("capacity_retention", "cycle_used", "cycle_current", "coulombic_efficiency", *more),
            makes=("condition_of_record", *means, *KEPT),
            choices=("technique", "cycling"),
        ),
        Step(
            "comparison",
            comparison,
            needs=("capacity_retention", "condition_of_record", "kept_share", BESIDE),
            makes=COMPARED,
            choices=("cycling",),
        ),
    )
