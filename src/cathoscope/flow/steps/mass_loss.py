"""Records of a balance: blank taken off, mass along a ramp, steps of mass loss, oxygen per formula unit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.core.schema import dataset, label
from cathoscope.flow.graph import RAW, REFERENCES, Context, Step
from cathoscope.flow.raw import in_one_line
from cathoscope.flow.sections import MeasurementSection
from cathoscope.flow.steps import mass_gas, mass_hold
from cathoscope.flow.steps.activation import (
    ENERGIES,
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
from cathoscope.lab.mass_loss import (
    OXYGEN_MASS,
    MassCurve,
    MassLossChoices,
    MassLossStep,
    heating_ramp,
    mass_curve,
    oxygen_limits,
    steps_of,
    without_blank,
)
from cathoscope.lab.particle_cell import Oxide, oxide_of
from cathoscope.numerics.estimate import Estimate

Floats = NDArray[np.float64]

RECORDS = ("elapsed_time", "sample_temperature", "sample_mass")
_CURVES = ("mass_left", "mass_rate", "oxygen_content")
_OF_STEPS = {
    "step_loss": "loss",
    "step_onset": "onset",
    "step_deflection": "first_deflection",
    "step_steepest": "steepest",
    "step_rate": "rate",
}
_LINES: Mapping[str, Callable[[MassLossStep], float]] = {
    "step_begin": lambda step: step.begin,
    "step_end": lambda step: step.end,
    "step_line": lambda step: step.line[0],
    "step_meeting": lambda step: step.line[1] + step.line[0] * step.onset.value,
}
_OF_RECORDS = ("total_loss", "total_oxygen", "rapid_loss_onset", "rapid_loss_deflection")
_SYSTEMATIC = ("step_onset", "rapid_loss_onset")
_START = 5.0  # K, over which the mass at the start is the mean
_DRY = 2.5  # K about the temperature at which the oxide is dry
_MAKES = (
    *names_with_std((*_CURVES, *_OF_STEPS, "step_oxygen", *_OF_RECORDS)),
    *(f"{name}_systematic" for name in _SYSTEMATIC),
    *("step_begin", "step_end", "step_line", "step_meeting", "heating_rate", "spinel_oxygen", "rock_salt_oxygen"),
)


def balance(context: Context) -> xr.Dataset:
    """All records of the balance, less the blank if there is one."""
    data = labelled_records(context.raw, RECORDS)
    blank, remarks, aside = context.section.mass_loss.blank, [], []
    if blank is None:
        remarks.append("no blank is taken off: buoyancy is taken for a gain of mass (mass_loss.blank)")
    else:
        empty = open_beside(context, blank, "mass_loss.blank", ("sample_temperature", "sample_mass"))
        drift = known(*(np.asarray(empty[name].values, np.float64) for name in RECORDS[1:]))
        ramp = heating_ramp(drift[0])
        mass = np.array(data["sample_mass"].values)
        for place in sorted(context.raw.scans):
            try:
                mass[place] = _less(data, place[0], (drift[0][ramp], drift[1][ramp]))
            except MeasurementError as error:
                mass[place] = np.nan
                aside.append(context.raw.put_aside(place, f"mass_loss.blank: {in_one_line(error)}"))
        data = data.assign(sample_mass=data["sample_mass"].copy(data=mass))
        _require_some(context, aside)
    data["elapsed_time"].attrs |= {"remarks": remarks, "set_aside": aside}
    return data


def _less(data: xr.Dataset, row: int, blank: tuple[Floats, Floats]) -> Floats:
    """Mass of a record less the blank; what lies beside the blank's ramp is that of its ends."""
    temperature, mass = (np.asarray(data[name].values[row], np.float64) for name in RECORDS[1:])
    good = np.isfinite(temperature) & np.isfinite(mass)
    ramp = heating_ramp(temperature[good])
    without_blank(temperature[good][ramp], mass[good][ramp], *blank)  # refuses a blank that is too short
    order = np.argsort(blank[0], kind="stable")
    mass[good] -= np.interp(temperature[good], blank[0][order], blank[1][order] - blank[1][order[0]])
    return mass


def _require_some(context: Context, aside: Sequence[Sequence[str]]) -> None:
    if not context.raw.scans:
        found = "\n            ".join(f"{file}: {reason}" for file, reason, _ in aside)
        raise MeasurementError("no record can be used", where=context.name, found=found)


@dataclass(frozen=True, eq=False)
class _Loss:
    """Curve and steps of one record; ``rapid`` is the place of the step of rapid loss, ``start_std`` is in per cent."""

    curve: MassCurve
    steps: tuple[MassLossStep, ...]
    rapid: int | None
    rate: float
    start_std: float


def mass_loss(context: Context) -> xr.Dataset:
    """Curves on whole degrees, steps with their onsets, oxygen; a record that shows no ramp is set aside."""
    section, data = context.section.mass_loss, context.data
    found: dict[int, _Loss] = {}
    aside = []
    for (row,) in sorted(context.raw.scans):
        try:
            found[row] = _analysed(context, row)
        except MeasurementError as error:
            aside.append(context.raw.put_aside((row,), in_one_line(error)))
    _require_some(context, aside)
    oxide, remarks = _oxide(context)
    arrays = _Arrays(data["record"], found, oxide)
    remarks += [_MORE.format(names_of_records(data)[row]) for row, one in found.items() if _loses_more(one, oxide)]
    remarks += [remark for row, one in found.items() for remark in _told(names_of_records(data)[row], one)]
    if section.baseline is None and any(len(one.steps) > 1 for one in found.values()):
        remarks.append(
            "steps follow each other: an onset depends on the baseline before it; samples are compared on the same one "
            "(mass_loss.baseline)"
        )
    made = arrays.dataset()
    made["mass_left"].attrs |= {"remarks": remarks, "set_aside": aside}
    return made


def _analysed(context: Context, row: int) -> _Loss:
    section, data = context.section.mass_loss, context.data
    time, temperature, mass = _ramp(data, row, section.range)
    choices = MassLossChoices(section.smoothing, section.quiet, section.smallest_step, section.baseline)
    curve = mass_curve(temperature, mass, choices, start=_dry_mass(temperature, mass, section.dry))
    steps = steps_of(curve, choices, seed=row)
    least = -np.inf if section.rapid_above is None else section.rapid_above
    usable = [place for place, step in enumerate(steps) if step.steepest.value > least]
    rapid = max(usable, key=lambda place: steps[place].loss.value, default=None)
    number = int(data["record"].values[row]) - 1
    stated = section.rates[number] if number < len(section.rates) else float("nan")
    rate = stated if np.isfinite(stated) else rate_of(time, temperature)
    middle, reach = (temperature[0], _START) if section.dry is None else (section.dry, _DRY)
    points = max(int(np.count_nonzero(np.abs(temperature - middle) <= reach)), 1)
    return _Loss(curve, steps, rapid, rate, curve.noise.std * float(np.sqrt(_longer(curve) / points)))


def _longer(curve: MassCurve) -> float:
    """By how much correlation lengthens the variance of a mean of the noise."""
    return (1.0 + curve.noise.correlation) / (1.0 - curve.noise.correlation)


def _ramp(data: xr.Dataset, row: int, limits: tuple[float, float] | None) -> tuple[Floats, Floats, Floats]:
    """Times, temperatures and masses of the ramp of a record; times may be missing."""
    time, temperature, mass = (np.asarray(data[name].values[row], np.float64) for name in RECORDS)
    good = np.isfinite(temperature) & np.isfinite(mass)
    time, temperature, mass = time[good], temperature[good], mass[good]
    ramp = heating_ramp(temperature)
    time, temperature, mass = time[ramp], temperature[ramp], mass[ramp]
    if limits is not None:
        inside = (temperature >= limits[0]) & (temperature <= limits[1])
        time, temperature, mass = time[inside], temperature[inside], mass[inside]
    return time, temperature, mass


def _dry_mass(temperature: Floats, mass: Floats, dry: float | None) -> float | None:
    """Mean mass about the temperature at which the oxide is dry; None without one.

    Raises
    ------
    MeasurementError
        If the record does not reach it.
    """
    if dry is None:
        return None
    near = np.abs(temperature - dry) <= _DRY
    if not near.any():
        raise MeasurementError(
            "the record does not reach mass_loss.dry",
            expected=f"points at {dry:g} C",
            found=f"{temperature[0]:.0f} to {temperature[-1]:.0f} C" if temperature.size else "none",
        )
    return float(mass[near].mean())


def _oxide(context: Context) -> tuple[Oxide | None, list[str]]:
    """Formula of what is heated: that of the section, else that of the sample.

    Raises
    ------
    MeasurementError
        If it is stated and is no formula.
    """
    stated = context.section.mass_loss.formula
    text = stated or str(context.raw.first.attrs.get("composition", ""))
    if not text:
        return None, ["the formula of the sample is not stated: no oxygen from mass (mass_loss.formula)"]
    try:
        oxide = oxide_of(text)
    except MeasurementError as error:
        key = "mass_loss.formula" if stated else f"sample.{context.section.sample}.composition"
        raise MeasurementError(
            f"{key}: {error.problem}", where=context.name, expected=error.expected, found=error.found
        ) from None
    return oxide, list(oxide.remarks)


_MORE = (
    "{}: more mass is lost than all oxygen has: something else leaves, and the oxygen told is not that of the sample"
)


def _loses_more(one: _Loss, oxide: Oxide | None) -> bool:
    """Whether the loss is more than the oxygen of the formula."""
    if oxide is None:
        return False
    return 100.0 - float(one.curve.smooth[-1]) > 100.0 * OXYGEN_MASS * oxide.amount.get("O", 2.0) / oxide.molar_mass


def _told(name: str, one: _Loss) -> list[str]:
    remarks = []
    if not one.steps:
        remarks.append(f"{name}: no step of mass loss stands out of noise and drift")
    elif one.rapid is None:
        remarks.append(f"{name}: no step has its fastest loss above mass_loss.rapid_above")
    if not np.isfinite(one.rate):
        remarks.append(f"{name}: the heating rate is not known: the file has no times (mass_loss.rates)")
    return remarks


class _Arrays:
    """Results of all records as arrays; NaN where there is none."""

    def __init__(self, record: xr.DataArray, found: Mapping[int, _Loss], oxide: Oxide | None) -> None:
        self.found, self.oxide = found, oxide
        ends = [one.curve.temperature[[0, -1]] for one in found.values()]
        grid = np.arange(np.ceil(min(one[0] for one in ends)), np.floor(max(one[1] for one in ends)) + 0.5)
        count = max(len(one.steps) for one in found.values())
        self.coords = {
            "record": record,
            "temperature": label("temperature", grid, ("temperature",)),
            "loss_step": label("loss_step", np.arange(1, count + 1), ("loss_step",)),
        }
        self.per_loss = float("nan") if oxide is None else oxide.molar_mass / (100.0 * OXYGEN_MASS)

    def _empty(self, *dims: str) -> Floats:
        return np.full(tuple(self.coords[dim].size for dim in dims), np.nan)

    def dataset(self) -> xr.Dataset:
        """All of them."""
        return dataset([*self._curves(), *self._steps(), *self._totals(), *self._limits()])

    def _pair(self, name: str, table: Mapping[str, Floats], dims: tuple[str, ...], source: str) -> list[xr.DataArray]:
        arrays = [label(name, table["value"], dims, coords=self.coords)]
        arrays.append(label(f"{name}_std", table["total"], dims, coords=self.coords, std_source=source))
        if name in _SYSTEMATIC:
            arrays.append(label(f"{name}_systematic", table["systematic"], dims, coords=self.coords))
        return arrays

    def _table(self, of: Mapping[Any, Estimate], *dims: str) -> dict[str, Floats]:
        table = {part: self._empty(*dims) for part in ("value", "total", "systematic")}
        for place, one in of.items():
            for part in table:
                table[part][place] = getattr(one, part)
        return table

    def _curves(self) -> list[xr.DataArray]:
        dims = ("record", "temperature")
        tables = {name: {part: self._empty(*dims) for part in ("value", "total")} for name in _CURVES}
        grid = self.coords["temperature"].values
        for row, one in self.found.items():
            inside = (grid >= one.curve.temperature[0]) & (grid <= one.curve.temperature[-1])
            squares = one.curve.weights.value.multiply(one.curve.weights.value).sum(axis=1)
            std = one.curve.noise.std * np.sqrt(_longer(one.curve) * np.asarray(squares).ravel())
            std = np.hypot(std, one.start_std * one.curve.smooth / 100.0)
            of = {"mass_left": (one.curve.smooth, std), "mass_rate": (one.curve.rate, one.curve.rate_std)}
            for name, curves in of.items():
                for part, values in zip(("value", "total"), curves, strict=True):
                    tables[name][part][row, inside] = np.interp(grid[inside], one.curve.places, values)
        if self.oxide is not None:
            loss = 100.0 - tables["mass_left"]["value"]
            tables["oxygen_content"]["value"] = self.oxide.amount.get("O", 2.0) - self.per_loss * loss
            tables["oxygen_content"]["total"] = self.per_loss * tables["mass_left"]["total"]
        return [one for name in _CURVES for one in self._pair(name, tables[name], dims, "scatter")]

    def _steps(self) -> list[xr.DataArray]:
        dims = ("record", "loss_step")
        places = {(row, k): step for row, one in self.found.items() for k, step in enumerate(one.steps)}
        arrays = []
        for name, part in _OF_STEPS.items():
            arrays += self._pair(
                name, self._table({k: getattr(v, part) for k, v in places.items()}, *dims), dims, "scatter"
            )
        oxygen = {k: self._atoms(step.loss) for k, step in places.items()}
        arrays += self._pair("step_oxygen", self._table(oxygen, *dims), dims, "scatter")
        for name, of in _LINES.items():
            table = self._table({k: Estimate(of(step)) for k, step in places.items()}, *dims)
            arrays.append(label(name, table["value"], dims, coords=self.coords))
        return arrays

    def _atoms(self, loss: Estimate) -> Estimate:
        return Estimate(*(self.per_loss * part for part in loss))

    def _totals(self) -> list[xr.DataArray]:
        total = {(row,): self._lost(one) for row, one in self.found.items()}
        rapid = {(row,): one.steps[one.rapid] for row, one in self.found.items() if one.rapid is not None}
        tables = {
            "total_loss": total,
            "total_oxygen": {k: self._atoms(one) for k, one in total.items()},
            "rapid_loss_onset": {k: step.onset for k, step in rapid.items()},
            "rapid_loss_deflection": {k: step.first_deflection for k, step in rapid.items()},
        }
        dims = ("record",)
        arrays = [
            one for name, of in tables.items() for one in self._pair(name, self._table(of, *dims), dims, "scatter")
        ]
        rate = self._table({(row,): Estimate(one.rate) for row, one in self.found.items()}, *dims)
        return [*arrays, label("heating_rate", rate["value"], dims, coords=self.coords)]

    def _lost(self, one: _Loss) -> Estimate:
        """Loss by the end, per cent."""
        weights, left = one.curve.weights.value[-1], float(one.curve.smooth[-1])
        std = one.curve.noise.std * float(np.sqrt(_longer(one.curve) * weights.multiply(weights).sum()))
        return Estimate(100.0 - left, float(np.hypot(std, one.start_std * left / 100.0)))

    def _limits(self) -> list[xr.DataArray]:
        """Oxygen per formula unit of spinel and rock salt of the same metals and lithium."""
        lost = (np.nan, np.nan) if self.oxide is None else oxygen_limits(lithium=self.oxide.amount["Li"])
        names = ("spinel_oxygen", "rock_salt_oxygen")
        return [label(name, np.float64(2.0 - one), ()) for name, one in zip(names, lost, strict=True)]


def activation(context: Context) -> xr.Dataset:
    """Activation energies of the rapid loss from ramps of three heating rates or more."""
    data = context.data
    rates = np.asarray(data["heating_rate"].values, np.float64)
    peaks, std = np.full(rates.size, np.nan), np.full(rates.size, np.nan)
    courses = [no_course()] * rates.size
    for row in range(rates.size):
        onset, onsets = data["rapid_loss_onset"].values[row], data["step_onset"].values[row]
        if not np.isfinite(onset):
            continue
        step = int(np.nanargmin(np.abs(onsets - onset)))
        peaks[row], std[row] = (float(data[f"step_steepest{end}"].values[row, step]) for end in ("", "_std"))
        courses[row] = _course(data, row, step, rates[row])
    arrays = labelled_energies([energies_of(rates, peaks, std, courses)], None)
    told = too_few(rates[np.isfinite(peaks)])
    arrays[0].attrs["remarks"] = [told] if told else []
    return dataset(arrays)


def _course(data: xr.Dataset, row: int, step: int, rate: float) -> Course:
    """Conversion between the begin and the end of a step, on the smoothed curve."""
    temperature, left = known(data["temperature"].values, data["mass_left"].values[row])
    begin, end = (float(data[name].values[row, step]) for name in ("step_begin", "step_end"))
    fine = np.linspace(begin, end, 801)
    mass = np.interp(fine, temperature, left)
    return course_of(60.0 * (fine - begin) / rate, fine, (mass[0] - mass) / (mass[0] - mass[-1]))


def steps(section: MeasurementSection) -> tuple[Step, ...]:
    """The steps that suit the programme: along ramps, or in holds."""
    first = Step("balance", balance, needs=(RAW,), optional=(REFERENCES,), makes=RECORDS, choices=("mass_loss",))
    if section.mass_loss.programme == "hold":
        return (first, *mass_hold.STEPS)
    needs = ("heating_rate", "rapid_loss_onset", "step_onset", "step_begin", "step_end", "mass_left")
    return (
        first,
        Step("mass loss", mass_loss, needs=(RAW, *RECORDS), makes=_MAKES, choices=("mass_loss",)),
        Step(
            "activation",
            activation,
            needs=(*needs, "step_steepest", "step_steepest_std"),
            makes=names_with_std(ENERGIES),
        ),
        *mass_gas.STEPS,
    )


TARGETS = ("sample_mass",)


def asked_for(section: MeasurementSection) -> tuple[str, ...]:
    """What suits the programme; energies where there may be several rates, gas where there is a record of it."""
    if section.mass_loss.programme == "hold":
        return ("avrami_rate", *(("hold_energy",) if several_files(section) else ()))
    rates = ("kissinger_energy",) if several_files(section) else ()
    return ("rapid_loss_onset", *rates, *(("gas_signal",) if section.mass_loss.gas else ()))
