"""Records of a calorimeter: heat effects between stated temperatures, and energies from several heating rates."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.core.schema import dataset, label
from cathoscope.flow.graph import RAW, REFERENCES, Context, Step
from cathoscope.flow.raw import in_one_line
from cathoscope.flow.sections import MeasurementSection
from cathoscope.flow.steps.activation import (
    ENERGIES,
    FEWEST,
    Course,
    course_of,
    energies_of,
    labelled_energies,
    names_with_std,
    no_course,
    several_files,
    too_few,
)
from cathoscope.flow.steps.lab_records import known, labelled_records, names_of_records, open_beside, rate_of
from cathoscope.lab.calorimetry import HeatEffect, heat_effect
from cathoscope.lab.mass_loss import heating_ramp

Floats = NDArray[np.float64]
_Ramp = tuple[Floats, Floats, Floats, NDArray[np.int64]]

RECORDS = ("elapsed_time", "sample_temperature", "heat_flow")
_END, _FEW = 0.025, 4  # half of the share of the width at a limit in which its slope is taken; points there
_BESIDE_BLANK = 0.01  # share of a record that may lie beyond its blank without a word
_LEVEL = 0.2  # of the height: how far a slope at a limit, held over all of the width, may lead off the baseline
_NUMBERS = {"effect_enthalpy": "enthalpy", "effect_onset": "onset", "effect_peak": "peak", "effect_height": "height"}
_LIMITS_SYSTEMATIC = "uncertainties are those of noise; where the limits of an effect are laid is not in them"


def calorimeter(context: Context) -> xr.Dataset:
    """All records of the calorimeter, less the blank if there is one, endothermic up."""
    data, section = labelled_records(context.raw, RECORDS), context.section.calorimetry
    flow = np.array(data["heat_flow"].values)
    flow = -flow if section.inverted else flow
    remarks: list[str] = []
    aside: list[list[str]] = []
    if section.blank is not None:
        empty = open_beside(context, section.blank, "calorimetry.blank", ("sample_temperature", "heat_flow"))
        celsius, below = known(*(np.asarray(empty[name].values, np.float64) for name in RECORDS[1:]))
        ramp = heating_ramp(celsius)
        order = np.argsort(celsius[ramp], kind="stable")
        temperature = data["sample_temperature"].values
        sign = -1.0 if section.inverted else 1.0
        covered = celsius[ramp][order]
        known_before = np.isfinite(flow)
        flow -= sign * np.interp(temperature, covered, below[ramp][order], left=np.nan, right=np.nan)
        remarks, aside = _beyond_blank(context, known_before & ~np.isfinite(flow), known_before, covered)
    data = data.assign(heat_flow=data["heat_flow"].copy(data=flow))
    remarks += [] if section.effects else ["no heat effect is stated (calorimetry.effects)"]
    data["elapsed_time"].attrs |= {"remarks": remarks, "set_aside": aside}
    data["heat_flow"].attrs["masses"] = [_known_mass(context, row) for row in range(data.sizes["record"])]
    return data


def _known_mass(context: Context, row: int) -> float | None:
    """Of the sample, mg; None where nothing says it."""
    scan = context.raw.scans.get((row,))
    stated = context.section.calorimetry.mass or (None if scan is None else scan.attrs.get("sample_mass_stated"))
    return float(stated) if stated else None


def _beyond_blank(
    context: Context, lost: NDArray[np.bool_], there: NDArray[np.bool_], covered: Floats
) -> tuple[list[str], list[list[str]]]:
    """What is said of records that reach beyond the blank; those of which nothing is left are set aside.

    Raises
    ------
    MeasurementError
        If that is all of them.
    """
    said, aside = [], []
    span = f"calorimetry.blank: the blank runs from {covered[0]:.0f} to {covered[-1]:.0f} C"
    names = [str(name) for name in context.raw.coords["record"].attrs["names"]]
    for (row,) in sorted(context.raw.scans):
        share = float(lost[row].sum() / max(int(there[row].sum()), 1))
        if share == 1.0:
            aside.append(context.raw.put_aside((row,), f"{span}, and the record lies beside it"))
        elif share > _BESIDE_BLANK:
            said.append(f"{names[row]}: {span}; {share:.0%} of the record lie beyond it and are left out")
    if not context.raw.scans:
        raise MeasurementError("no record can be used", where=context.name, found=f"{aside[0][0]}: {aside[0][1]}")
    return said, aside


def _ramp(data: xr.Dataset, row: int) -> _Ramp:
    """Times, temperatures, heat flows along the ramp of a record, by rising temperature, and their places."""
    time, celsius, flow = (np.asarray(data[name].values[row], np.float64) for name in RECORDS)
    good = np.flatnonzero(np.isfinite(time) & np.isfinite(celsius) & np.isfinite(flow))
    if not good.size:
        raise MeasurementError("heat needs times", expected="elapsed times in the file", found="none")
    places = good[heating_ramp(celsius[good])]
    # the temperature jitters where a sensor does; time rises
    places = places[np.argsort(celsius[places], kind="stable")]
    return np.sort(time[places]), celsius[places], flow[places], places


def effects(context: Context) -> xr.Dataset:
    """Enthalpy, onset and peak of every effect of every record; what cannot be measured is told."""
    data, section = context.data, context.section.calorimetry
    names = list(section.effects)
    effect = label("effect", np.arange(1, len(names) + 1), ("effect",))
    effect.attrs |= {"names": names, "limits": [list(limits) for limits in section.effects.values()]}
    table = {(name, part): np.full((data.sizes["record"], len(names)), np.nan) for name in _NUMBERS for part in _PARTS}
    base, unlevel = np.full(data["heat_flow"].shape, np.nan), np.zeros((data.sizes["record"], len(names)), np.bool_)
    rates = np.full(data.sizes["record"], np.nan)
    aside, remarks = [], [_LIMITS_SYSTEMATIC]
    for (row,) in sorted(context.raw.scans):
        file = names_of_records(data)[row]
        try:
            mass, ramp = _mass(context, row), _ramp(data, row)
        except MeasurementError as error:
            aside.append(context.raw.put_aside((row,), in_one_line(error)))
            continue
        rates[row] = _rate(context, row, ramp)
        for column, (name, limits) in enumerate(section.effects.items()):
            try:
                found = heat_effect(*ramp[:3], mass=mass, limits=limits, baseline=section.baseline, seed=row)
            except MeasurementError as error:
                remarks.append(f"{file}: calorimetry.effects.{name}: {error.problem} ({error.found})")
                continue
            _store(table, found, (row, column))
            goes_on = _unlevel(ramp, limits, found)
            unlevel[row, column] = bool(goes_on)
            remarks += [f"{file}: calorimetry.effects.{name}: {told}" for told in goes_on]
            inside = np.flatnonzero((ramp[1] >= limits[0]) & (ramp[1] <= limits[1]))
            base[row, ramp[3][inside[0] : inside[-1] + 1]] = found.baseline
    if not context.raw.scans:
        raise MeasurementError("no record can be used", where=context.name, found=f"{aside[0][0]}: {aside[0][1]}")
    coords = {"record": data["record"], "effect": effect}
    arrays = _labelled(table, coords)
    arrays.append(label("effect_unlevel", unlevel, ("record", "effect"), coords=coords))
    arrays.append(label("heating_rate", rates, ("record",), coords=coords))
    arrays.append(label("heat_baseline", base, ("record", "point"), coords=coords))
    arrays[0].attrs |= {"remarks": remarks, "set_aside": aside}
    return dataset(arrays)


def _unlevel(ramp: _Ramp, limits: tuple[float, float], found: HeatEffect) -> list[str]:
    """Limits at which the heat flow leaves the line between both: heat goes on there."""
    _, celsius, flow, _ = ramp
    width = limits[1] - limits[0]
    middles = limits[0] + _END * width, limits[1] - _END * width
    near = [np.abs(celsius - middle) <= _END * width for middle in middles]
    if min(np.count_nonzero(one) for one in near) < _FEW:
        return []
    slopes = [float(np.polyfit(celsius[one], flow[one], 1)[0]) for one in near]
    chord = float(flow[near[1]].mean() - flow[near[0]].mean()) / (width * (1 - 2 * _END))
    return [
        f"at {limit:g} C the heat flow leaves the baseline by {slope - chord:+.2g} mW/K: the effect goes on or another "
        "begins, and its enthalpy depends on the limits"
        for limit, slope in zip(limits, slopes, strict=True)
        if abs(slope - chord) * width > _LEVEL * abs(found.height.value)
    ]


_PARTS = ("value", "total", "systematic")


def _store(table: dict[tuple[str, str], Floats], found: HeatEffect, place: tuple[int, int]) -> None:
    for name, attribute in _NUMBERS.items():
        for part in _PARTS:
            table[name, part][place] = getattr(getattr(found, attribute), part)


def _labelled(table: dict[tuple[str, str], Floats], coords: dict[str, xr.DataArray]) -> list[xr.DataArray]:
    dims, arrays = ("record", "effect"), []
    for name in _NUMBERS:
        arrays.append(label(name, table[name, "value"], dims, coords=coords))
        arrays.append(label(f"{name}_std", table[name, "total"], dims, coords=coords, std_source="scatter"))
        arrays.append(label(f"{name}_systematic", table[name, "systematic"], dims, coords=coords))
    return arrays


def _mass(context: Context, row: int) -> float:
    """Of the sample, mg.

    Raises
    ------
    MeasurementError
        If neither the recipe nor the file says it.
    """
    stated = _known_mass(context, row)
    if stated is None:  # programs write 0 where nobody typed a mass
        raise MeasurementError(
            "the mass of the sample is neither in the file nor in the recipe", cure='add  calorimetry.mass = "4 mg"'
        )
    return stated


def _rate(context: Context, row: int, ramp: _Ramp) -> float:
    stated, number = context.section.calorimetry.rates, int(context.data["record"].values[row]) - 1
    return stated[number] if number < len(stated) else rate_of(ramp[0], ramp[1])


def activation(context: Context) -> xr.Dataset:
    """Activation energies of every effect from records of three heating rates or more."""
    data = context.data
    rates = np.asarray(data["heating_rate"].values, np.float64)
    found, remarks = [], []
    for column, name in enumerate(data["effect"].attrs["names"]):
        peaks, std = (np.asarray(data[f"effect_peak{end}"].values[:, column], np.float64) for end in ("", "_std"))
        courses = [_course(data, row, column) for row in range(rates.size)]
        found.append(energies_of(rates, peaks, std, courses))
        told = too_few(rates[np.isfinite(peaks)])
        remarks += [f"{name}: {told}"] if told else []
    arrays = labelled_energies(found, data["effect"])
    arrays[0].attrs["remarks"] = remarks
    return dataset(arrays)


def _course(data: xr.Dataset, row: int, column: int) -> Course:
    """Conversion of an effect: heat above the baseline that has flowed, over all of it."""
    limits = data["effect"].attrs["limits"][column]
    time, celsius, flow, base = (np.asarray(data[name].values[row], np.float64) for name in (*RECORDS, "heat_baseline"))
    inside = np.isfinite(base) & (celsius >= limits[0]) & (celsius <= limits[1])
    if not np.isfinite(data["effect_peak"].values[row, column]) or np.count_nonzero(inside) < FEWEST:
        return no_course()
    time, celsius, above = time[inside], celsius[inside], (flow - base)[inside]
    heat = np.concatenate([[0.0], np.cumsum(0.5 * (above[1:] + above[:-1]) * np.diff(time))])
    return course_of(time, celsius, heat / heat[-1])


_MAKES = (
    *names_with_std(_NUMBERS),
    *(f"{name}_systematic" for name in _NUMBERS),
    *("effect_unlevel", "heating_rate", "heat_baseline"),
)


def steps(section: MeasurementSection) -> tuple[Step, ...]:
    """The steps of a measurement with a calorimeter."""
    return (
        Step(
            "calorimeter",
            calorimeter,
            needs=(RAW,),
            optional=(REFERENCES,),
            makes=RECORDS,
            choices=("calorimetry",),
        ),
        Step("heat effects", effects, needs=(RAW, *RECORDS), makes=_MAKES, choices=("calorimetry",)),
        Step(
            "activation",
            activation,
            needs=(*RECORDS, "effect_peak", "effect_peak_std", "heating_rate", "heat_baseline"),
            makes=names_with_std(ENERGIES),
            choices=("calorimetry",),
        ),
    )


TARGETS = ("heat_flow",)


def asked_for(section: MeasurementSection) -> tuple[str, ...]:
    """Effects where the recipe states them, energies where there may be several rates."""
    if not section.calorimetry.effects:
        return ()
    return ("effect_enthalpy", *(("kissinger_energy",) if several_files(section) else ()))
