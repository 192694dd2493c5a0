"""What the cycles of one cell tell: retention, change of regime, wandering of end points, rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.core.schema import dataset, label, spec_of
from cathoscope.flow.graph import Context, Step
from cathoscope.flow.sections import MeasurementSection
from cathoscope.lab.regimes import Regimes, regimes_of
from cathoscope.lab.retention import Rate, rates_of, retention_of, slippage_of

Floats = NDArray[np.float64]

RETENTION = ("capacity_retention", "capacity_retention_std")
REGIMES = (
    *("regime_change", "regime_change_low", "regime_change_high", "regime_kind", "regime_curve"),
    *("slope_before", "slope_before_std", "slope_after", "slope_after_std"),
)
SLIPPAGE = (
    *("charge_end", "discharge_end"),
    *(f"{name}_slippage{end}" for name in ("charge", "discharge") for end in ("", "_std")),
)
RATES = tuple(f"rate_{part}" for part in ("current", "multiple", "capacity", "spread", "share", "first", "last"))
KINDS = ("unknown", "one line", "smooth curve", "rise then fade", "knee", "easing", "fade then rise", "rise changes")
_MOST_CYCLES = 400  # of which a change of regime is looked for; more are thinned out


def formation_of(section: MeasurementSection) -> int:
    """First cycles that tell no course; of a single particle all count."""
    stated = section.cycling.formation
    return stated if stated is not None else (0 if section.technique == "particle-cell" else 1)


def reference_of(section: MeasurementSection) -> int:
    """Cycle whose capacity is 1."""
    return section.cycling.reference or formation_of(section) + 1


def used_capacity(data: xr.Dataset) -> Floats:
    """Capacities of cycles that are used, Ah, [record, cycle]; NaN elsewhere."""
    return np.where(data["cycle_used"].values, data["cell_capacity"].values, np.nan)


def retention(context: Context) -> xr.Dataset:
    """Capacity as a share of that of the reference cycle."""
    data = context.data
    cycle, capacity = data["cycle"].values, used_capacity(data)
    std = np.asarray(data["cell_capacity_std"].values)
    reference, remarks = reference_of(context.section), []
    values, spread = np.full(capacity.shape, np.nan), np.full(capacity.shape, np.nan)
    for place, name in enumerate(data["record"].attrs["names"]):
        if not np.isfinite(capacity[place]).any():
            continue
        try:
            found = retention_of(cycle, capacity[place], std[place], reference=reference)
            values[place], spread[place] = found.value, found.std
        except MeasurementError:
            remarks.append(
                f"{name}: cycle {reference} is not there, or not used: nothing to hold its capacities against"
                f" (cycling.reference = {_first(cycle, capacity[place])})"
            )
    if not np.isfinite(values).any():
        raise MeasurementError(
            f"no cell has the reference cycle {reference}",
            where=context.name,
            found="; ".join(remarks),
            cure="state another one, such as  cycling.reference = 1",
        )
    coords = {"record": data["record"], "cycle": data["cycle"]}
    arrays = [
        label(RETENTION[0], values, ("record", "cycle"), coords=coords),
        label(RETENTION[1], spread, ("record", "cycle"), coords=coords, std_source="counting"),
    ]
    arrays[0].attrs |= {"reference": reference, "remarks": remarks}
    return dataset(arrays)


def _first(cycle: Floats, capacity: Floats) -> int:
    known = cycle[np.isfinite(capacity)]
    return int(known[0]) if known.size else 1


def regimes(context: Context) -> xr.Dataset:
    """Where the course of the retention changes, and its slopes; a cell with few cycles has none."""
    data = context.data
    cycle = np.asarray(data["cycle"].values, np.float64)
    value = np.asarray(data["capacity_retention"].values)
    level = context.section.cycling.level
    coords = {"record": data["record"], "cycle": data["cycle"]}
    table = {name: np.full(value.shape[0], np.nan) for name in REGIMES if name not in ("regime_kind", "regime_curve")}
    kind, curve, remarks = np.zeros(value.shape[0], dtype=np.int16), np.full(value.shape, np.nan), []
    for place, name in enumerate(data["record"].attrs["names"]):
        rows = np.flatnonzero(np.isfinite(value[place]) & (cycle > formation_of(context.section)))
        rows = rows[:: max(1, -(-rows.size // _MOST_CYCLES))]
        try:
            found = regimes_of(cycle[rows], value[place][rows], level=level)
        except MeasurementError as error:
            remarks.append(f"{name}: {error.problem} ({error.found})")
            continue
        _fill(table, place, found)
        kind[place] = KINDS.index(found.kind or ("smooth curve" if found.verdict == "smooth curve" else "one line"))
        curve[place] = np.interp(cycle, cycle[rows], found.curve, left=np.nan, right=np.nan)
        if found.verdict == "change or smooth curve":
            remarks.append(f"{name}: whether its course changes at once or bit by bit cannot be told")
    arrays = [
        label(name, values, ("record",), coords=coords, std_source="fit covariance" if name.endswith("_std") else None)
        for name, values in table.items()
    ]
    arrays.append(label("regime_kind", kind, ("record",), coords=coords))
    arrays[-1].attrs |= {"flag_values": list(range(len(KINDS))), "flag_meanings": " ".join(_joined(KINDS))}
    arrays.append(label("regime_curve", curve, ("record", "cycle"), coords=coords))
    arrays[0].attrs |= {"remarks": remarks, "level": level}
    return dataset(arrays)


def _joined(words: Sequence[str]) -> list[str]:
    """Names of flags, which have no blanks."""
    return [word.replace(" ", "_") for word in words]


def _fill(table: Mapping[str, Floats], place: int, found: Regimes) -> None:
    if found.change is not None:
        for name, value in zip(("", "_low", "_high"), found.change, strict=True):
            table[f"regime_change{name}"][place] = value
    for name, slope in (("before", found.before), ("after", found.after)):
        table[f"slope_{name}"][place], table[f"slope_{name}_std"][place] = slope.value, slope.std


def slippage(context: Context) -> xr.Dataset:
    """Ends of charge and discharge since the first cycle, and how far they move per cycle."""
    data = context.data
    both = [np.asarray(data[name].values) for name in ("charge_capacity", "discharge_capacity")]
    # charge that a disturbance let pass is not known: what comes after cannot be counted from the first cycle
    known = np.isfinite(both[0]) & np.isfinite(both[1]) & np.asarray(data["cycle_used"].values, dtype=bool)
    ends = np.full((2, *known.shape), np.nan)
    slips = np.full((4, known.shape[0]), np.nan)
    remarks = []
    for place, name in enumerate(data["record"].attrs["names"]):
        if not known[place].any():
            continue
        first = int(np.argmax(known[place]))
        gaps = np.flatnonzero(~known[place, first:])
        rows = slice(first, first + int(gaps[0]) if gaps.size else None)
        if gaps.size and known[place, first + int(gaps[0]) :].any():
            last = int(data["cycle"].values[rows][-1])
            remarks.append(f"{name}: ends are followed up to cycle {last}, the next is not used")
        skip = max(formation_of(context.section) - first, 0)
        try:
            found = slippage_of(both[0][place, rows], both[1][place, rows], skip=skip)
        except MeasurementError as error:
            remarks.append(f"{name}: {error.problem} ({error.found})")
            continue
        ends[0, place, rows], ends[1, place, rows] = found.charge_end, found.discharge_end
        slips[:, place] = *found.charge_slip[:2], *found.discharge_slip[:2]
    coords = {"record": data["record"], "cycle": data["cycle"]}
    arrays = [
        label(name, values, ("record", "cycle"), coords=coords) for name, values in zip(SLIPPAGE, ends, strict=False)
    ]
    for name, values in zip(SLIPPAGE[2:], slips, strict=True):
        source = "scatter" if name.endswith("_std") else None
        arrays.append(label(name, values, ("record",), coords=coords, std_source=source))
    arrays[0].attrs["remarks"] = remarks
    return dataset(arrays)


def rates(context: Context) -> xr.Dataset:
    """Stretches of cycles at one current."""
    data = context.data
    capacity, current = used_capacity(data), np.asarray(data["cycle_current"].values)
    one_c = current_of_1c(context.section, data)
    cycle = data["cycle"].values
    found = [
        rates_of(cycle, current[place], capacity[place], one_c=one_c[place] if np.isfinite(one_c[place]) else None)
        for place in range(capacity.shape[0])
    ]
    return _rate_table(data, found)


def current_of_1c(section: MeasurementSection, data: xr.Dataset) -> Floats:
    """Current of 1C of every cell, A; NaN where it is not stated."""
    if section.particle_cell is not None and "planned_capacity" in data:
        return np.full(data.sizes["record"], float(data["planned_capacity"]))
    if section.cycling.one_c is None or "cell_mass" not in data:
        return np.full(data.sizes["record"], np.nan)
    return np.asarray(1e-6 * section.cycling.one_c * data["cell_mass"].values)


def _rate_table(data: xr.Dataset, found: Sequence[Sequence[Rate]]) -> xr.Dataset:
    most = max(1, *(len(one) for one in found))
    fields = ("current", "rate", "capacity", "spread", "share", "first", "last")
    coords = {"record": data["record"], "rate_step": label("rate_step", np.arange(1, most + 1), ("rate_step",))}
    arrays = []
    for name, key in zip(RATES, fields, strict=True):
        values = np.full((len(found), most), np.nan)
        for place, rates_found in enumerate(found):
            values[place, : len(rates_found)] = [getattr(one, key) for one in rates_found]
        if spec_of(name).kind == "i":
            values = np.nan_to_num(values).astype(np.int64)
        arrays.append(label(name, values, ("record", "rate_step"), coords=coords))
    return dataset(arrays)


def steps(section: MeasurementSection) -> tuple[Step, ...]:
    """Steps on the table of cycles."""
    capacity = ("cell_capacity", "cell_capacity_std", "cycle_used")
    return (
        Step("retention", retention, needs=capacity, makes=RETENTION, choices=("technique", "cycling")),
        Step("regimes", regimes, needs=RETENTION[:1], makes=REGIMES, choices=("technique", "cycling")),
        Step(
            "slippage",
            slippage,
            needs=("charge_capacity", "discharge_capacity", "cycle_used"),
            makes=SLIPPAGE,
            choices=("technique", "cycling"),
        ),
        Step(
            "rates",
            rates,
            needs=("cell_capacity", "cycle_current", "cycle_used"),
            makes=RATES,
            choices=("technique", "cycling"),
            optional=("cell_mass", "planned_capacity"),
        ),
    )


TARGETS = ("capacity_retention", "regime_change", "charge_slippage", "rate_capacity")
