"""Cycles of cells: capacities, efficiencies, voltages of every cycle, voltage curves and dQ/dV of some."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.core.schema import dataset, label
from cathoscope.flow.graph import RAW, Context, Step
from cathoscope.flow.sections import MeasurementSection
from cathoscope.flow.steps import cell_conditions, cell_courses
from cathoscope.flow.steps.cell_records import mass_of, reason_of, record_of_scan
from cathoscope.lab.cycles import Cycles, cycles_of_halves
from cathoscope.lab.differential import Differential, differential_of
from cathoscope.lab.half_cycles import HalfCycles, half_cycles_of, resolution_of
from cathoscope.lab.particle_cell import offset_of
from cathoscope.lab.record import Record
from cathoscope.lab.voltage_curves import curve_of
from cathoscope.numerics.estimate import Estimate

Floats = NDArray[np.float64]

_POINTS = 240  # of a voltage curve
_CURVES = 6
_MOST_BINS = 2000
_SWITCHES = 2.0  # standard uncertainties of the times of switches
_AGREES = 0.002  # of the charge, by which a counter that counts the same may differ beyond them
_BINS = 2  # in one standard deviation of the smoothing
_ARRAYS: Mapping[str, Callable[[Cycles], Floats]] = {
    "charge_capacity": lambda one: one.charge,
    "charge_capacity_std": lambda one: one.charge_std,
    "discharge_capacity": lambda one: one.discharge,
    "discharge_capacity_std": lambda one: one.discharge_std,
    "cell_capacity": lambda one: one.capacity,
    "cell_capacity_std": lambda one: one.capacity_std,
    "coulombic_efficiency": lambda one: one.efficiency,
    "coulombic_efficiency_std": lambda one: one.efficiency_std,
    "energy_efficiency": lambda one: one.energy_efficiency,
    "charge_voltage": lambda one: one.charge_voltage,
    "discharge_voltage": lambda one: one.discharge_voltage,
    "polarisation": lambda one: one.polarisation,
    "cycle_current": lambda one: one.discharge_current if one.electrode == "cathode" else one.charge_current,
}
TABLE = (*_ARRAYS, "cycle_used", "current_offset", "current_offset_std")
CURVES = ("curve_voltage", "curve_charge", "differential_capacity", "differential_capacity_std")
CHOICES = ("cycling", "particle_cell")
SPECIFIC = ("cell_mass", "cell_mass_std", "specific_capacity", "specific_capacity_std")


def offset_of_cell(section: MeasurementSection, scan: xr.Dataset) -> Estimate:
    """Current that the instrument shows when none flows, A: nought, stated, or by the rests of the record."""
    stated = section.particle_cell.offset if section.particle_cell is not None else None
    if stated is None:
        return Estimate(0.0)
    if stated != "rests":
        return Estimate(float(stated))
    try:
        return offset_of(record_of_scan(scan), rest_level=section.cycling.rest_level)
    except MeasurementError as error:
        raise MeasurementError(
            f"particle_cell.offset: {error.problem}", expected=error.expected, found=error.found, cure=error.cure
        ) from None


def cell_of_scan(section: MeasurementSection, scan: xr.Dataset) -> tuple[Record, Cycles, Estimate]:
    """Record, cycles and the offset that was taken off its current."""
    offset = offset_of_cell(section, scan)
    record = record_of_scan(scan, offset=offset.value)
    chosen = section.cycling
    halves = half_cycles_of(record, rest_level=chosen.rest_level, turn=chosen.exchanged)
    counted = chosen.charge_from == "counter" or (chosen.charge_from == "auto" and not offset.value and _agree(halves))
    found = cycles_of_halves(halves, chosen.electrode, "counter" if counted else "integration")
    return record, _of_counter(found, record) if counted else found, offset


def _of_counter(found: Cycles, record: Record) -> Cycles:
    """With the uncertainty of a counter, which knows when it switched: the steps in which it is written."""
    step = 0.0 if record.counter is None else resolution_of(record.counter)
    std = step * float(np.sqrt(2 / 12))
    relative = np.hypot(std / found.charge, std / found.discharge)
    charge, discharge = (np.where(np.isfinite(one), std, np.nan) for one in (found.charge, found.discharge))
    return replace(found, charge_std=charge, discharge_std=discharge, efficiency_std=found.efficiency * relative)


def _agree(halves: HalfCycles) -> bool:
    """Whether there is a counter that counts what flows, but for the unknown times of switches.

    It is better than the integral then: the instrument knows when it switched, the rows of its file do not tell.
    """
    apart = np.abs(halves.counted - halves.charge) - _SWITCHES * halves.charge_std
    return bool(np.isfinite(halves.counted).all() and np.median(apart / halves.charge) < _AGREES)


def cycles(context: Context) -> xr.Dataset:
    """Every cycle of every cell; a record without cycles is set aside."""
    raw, aside, remarks = context.raw, [], []
    found: dict[int, tuple[Cycles, Estimate]] = {}
    names = raw.coords["record"].attrs["names"]
    context.progress.start(f"{context.name}: cycles", len(raw.scans), "cells")
    for place in sorted(raw.scans):
        try:
            _, one, offset = cell_of_scan(context.section, raw.scans[place])
            found[place[0]] = one, offset
            remarks += [f"{names[place[0]]}: {remark}" for remark in one.remarks]
        except MeasurementError as error:
            aside.append(raw.put_aside(place, reason_of(error)))
        context.progress.advance()
    context.progress.finish()
    if not found:
        raise MeasurementError("no record has cycles", where=context.name, found="; ".join(one[1] for one in aside))
    return _table(context, found, {"remarks": remarks, "set_aside": aside})


def _table(context: Context, found: Mapping[int, tuple[Cycles, Estimate]], told: Mapping[str, Any]) -> xr.Dataset:
    most = max(one.number.size for one, _ in found.values())
    record = context.raw.coords["record"]
    coords = {"record": record, "cycle": label("cycle", np.arange(1.0, most + 1), ("cycle",))}
    shape, dims = (record.size, most), ("record", "cycle")
    arrays = []
    for name, values_of in _ARRAYS.items():
        values = np.full(shape, np.nan)
        for place, (one, _) in found.items():
            values[place, : one.number.size] = values_of(one)
        arrays.append(
            label(name, values, dims, coords=coords, std_source="counting" if name.endswith("_std") else None)
        )
    used = np.zeros(shape, dtype=np.bool_)
    for place, (one, _) in found.items():
        used[place, : one.number.size] = one.complete
    arrays.append(label("cycle_used", used, dims, coords=coords))
    arrays[-1].attrs["reasons"] = [
        [place, cycle + 1, "incomplete"]
        for place, (one, _) in found.items()
        for cycle in np.flatnonzero(~one.complete).tolist()
    ]
    offset = np.array([[*found[place][1]] if place in found else [np.nan] * 3 for place in range(record.size)])
    arrays.append(label("current_offset", offset[:, 0], ("record",), coords=coords))
    arrays.append(label("current_offset_std", offset[:, 1], ("record",), coords=coords, std_source="scatter"))
    arrays[0].attrs |= dict(told)
    arrays[0].attrs["electrode"] = context.section.cycling.electrode
    return dataset(arrays)


def curves(context: Context) -> xr.Dataset:
    """Voltage against charge and dQ/dV of some cycles, the same of all cells."""
    raw = context.raw
    capacity = context.data["cell_capacity"].values
    chosen = _chosen(context.section, np.isfinite(capacity).sum(axis=1).max(initial=1))
    shape = (capacity.shape[0], len(chosen), 2)
    lines = np.full((2, *shape, _POINTS), np.nan)
    slopes: dict[tuple[int, int, int], Differential] = {}
    remarks: list[str] = []
    names = raw.coords["record"].attrs["names"]
    for (place,), scan in sorted(raw.scans.items()):
        record, found, _ = cell_of_scan(context.section, scan)
        for at, cycle in enumerate(chosen):
            for way in (0, 1):
                half = int(found.half[cycle - 1, way]) if cycle <= found.number.size else -1
                if half < 0:
                    continue
                charge, voltage = curve_of(record, found.halves, half, points=_POINTS)
                lines[0, place, at, way, : charge.size] = voltage
                lines[1, place, at, way, : charge.size] = charge
                try:
                    smoothing = context.section.cycling.smoothing
                    slopes[place, at, way] = differential_of(record, found.halves, half, smoothing=smoothing)
                except MeasurementError as error:
                    told = f"{names[place]}: cycling.smoothing: {error.problem} ({error.found})"
                    remarks += (
                        [told] if not any(one.startswith(f"{names[place]}: cycling.sm") for one in remarks) else []
                    )
    coords = {
        "record": raw.coords["record"],
        "curve": label("curve", np.array(chosen, dtype=np.float64), ("curve",)),
        "direction": label("direction", np.arange(2), ("direction",)),
    }
    dims = ("record", "curve", "direction", "point")
    arrays = [label(name, values, dims, coords=coords) for name, values in zip(CURVES, lines, strict=False)]
    arrays[0].attrs["remarks"] = remarks
    return dataset([*arrays, *_differentials(shape, slopes, coords, context.section.cycling.smoothing)])


def _chosen(section: MeasurementSection, count: int) -> list[int]:
    """Cycles whose curves are kept: those stated, else the first, the last and some between."""
    if section.cycling.curves:
        return sorted(set(section.cycling.curves))
    return [int(one) for one in np.unique(np.linspace(1, max(int(count), 1), _CURVES).round())]


def _differentials(
    shape: tuple[int, ...],
    slopes: Mapping[tuple[int, int, int], Differential],
    coords: Mapping[str, xr.DataArray],
    smoothing: float,
) -> list[xr.DataArray]:
    """All of them on one grid of voltages."""
    if slopes:
        low, high = (way(one.voltage[end] for one in slopes.values()) for way, end in ((min, 0), (max, -1)))
    else:
        low, high = 0.0, 1.0
    step = max(smoothing / _BINS, (high - low) / _MOST_BINS)
    grid = low + step * np.arange(int((high - low) / step) + 1)
    values = np.full((2, *shape, grid.size), np.nan)
    for place, one in slopes.items():
        for row, curve in enumerate((one.value, one.std)):
            values[row][place] = np.interp(grid, one.voltage, curve, left=np.nan, right=np.nan)
    both = {**coords, "voltage_bin": label("voltage_bin", grid, ("voltage_bin",))}
    dims = ("record", "curve", "direction", "voltage_bin")
    found = [
        label(CURVES[2], values[0], dims, coords=both),
        label(CURVES[3], values[1], dims, coords=both, std_source="scatter"),
    ]
    found[0].attrs["smoothing"] = smoothing
    return found


def specific(context: Context) -> xr.Dataset:
    """Capacity over the mass that the recipe states of every cell."""
    record = context.raw.coords["record"]
    masses = [mass_of(context.section, str(name)) for name in record.attrs["names"]]
    mass = np.array([np.nan if one is None else one for one in masses])
    std = np.full(mass.size, context.section.cycling.mass_std or 0.0)
    return specific_of(context.data, mass, std, {"record": record, "cycle": context.data["cycle"]})


def specific_of(data: xr.Dataset, mass: Floats, mass_std: Floats, coords: Mapping[str, xr.DataArray]) -> xr.Dataset:
    """Masses (mg) and capacities over them (mAh/g); the uncertainty of the mass is shared by all cycles of a cell."""
    capacity, std = (np.asarray(data[name].values) for name in ("cell_capacity", "cell_capacity_std"))
    value = 1e6 * capacity / mass[:, None]
    spread = np.hypot(1e6 * std / mass[:, None], value * (mass_std / mass)[:, None])
    dims = ("record", "cycle")
    return dataset(
        [
            label("cell_mass", mass, ("record",), coords=coords),
            label("cell_mass_std", mass_std, ("record",), coords=coords, std_source="stated"),
            label("specific_capacity", value, dims, coords=coords),
            label("specific_capacity_std", spread, dims, coords=coords, std_source="counting"),
        ]
    )


def record_steps() -> tuple[Step, ...]:
    """What every technique with records of cells begins with."""
    return (
        Step("cycles", cycles, needs=(RAW,), makes=TABLE, choices=CHOICES),
        Step("curves", curves, needs=(RAW, "cell_capacity"), makes=CURVES, choices=CHOICES),
    )


def steps(section: MeasurementSection) -> tuple[Step, ...]:
    """The steps of a measurement of cells."""
    found = [*record_steps(), *cell_courses.steps(section), *cell_conditions.steps(section)]
    if section.cycling.mass:
        needs = ("cell_capacity", "cell_capacity_std")
        found.append(Step("specific", specific, needs=needs, makes=SPECIFIC, choices=("cycling",)))
    return tuple(found)


TARGETS = ("cell_capacity", "curve_voltage", *cell_courses.TARGETS, "kept_share")


def asked_for(section: MeasurementSection) -> tuple[str, ...]:
    """Specific capacities where masses are stated, and what is held against another sample."""
    against = cell_conditions.ASKED if section.cycling.against is not None else ()
    return (*(("specific_capacity",) if section.cycling.mass else ()), *against)
