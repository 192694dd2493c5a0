"""A single particle as a cell: what to set before it is cycled, and what disturbed it when it was."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.schema import dataset, label
from cathoscope.flow.graph import RAW, Context, Step
from cathoscope.flow.sections import MeasurementSection
from cathoscope.flow.steps import cell_courses
from cathoscope.flow.steps.cycling import CHOICES, CURVES, SPECIFIC, TABLE, cell_of_scan, curves, cycles, specific_of
from cathoscope.flow.steps.particle_plan import particle_of, plan_of_section
from cathoscope.lab.disturbances import Disturbance, disturbances_of, used_cycles
from cathoscope.lab.particle_cell import rate_from_current
from cathoscope.numerics.estimate import Estimate

KINDS = ("jump", "short", "electrolyte loss")
_SCALARS = (
    "particle_volume",
    "particle_mass",
    "lithium_capacity",
    "planned_capacity",
    "planned_current",
    "planned_duration",
)
PLAN = (
    *(f"{name}{end}" for name in _SCALARS for end in ("", "_std")),
    *("charge_limit", "time_limit", "row_time", "largest_offset"),
)
DISTURBED = ("cycle_used", *(f"disturbance_{part}" for part in ("record", "cycle", "time", "size", "kind")))
RATE = ("measured_rate", "measured_rate_std")


def plan(context: Context) -> xr.Dataset:
    """Mass, capacity, current, duration and limits for a particle of this size."""
    found, volume = plan_of_section(particle_of(context.section))
    estimates = (volume, found.mass, found.theoretical, found.capacity, found.current, found.duration)
    arrays = []
    for name, one in zip(_SCALARS, estimates, strict=True):
        arrays.append(label(name, np.float64(one.value), ()))
        arrays.append(label(f"{name}_std", np.float64(one.total), (), std_source="stated"))
    arrays += [label(name, np.float64(getattr(found, name)), ()) for name in PLAN[len(arrays) :]]
    arrays[0].attrs["remarks"] = list(found.remarks)
    arrays[8].attrs |= {"rate": found.rate, "window": list(found.window)}
    return dataset(arrays)


def disturbances(context: Context) -> xr.Dataset:
    """Jumps, shorts and loss of electrolyte, and the cycles that are left; every other keeps its place and a reason."""
    section, names = context.section, context.raw.coords["record"].attrs["names"]
    beam = particle_of(section).beam
    used = np.zeros(context.data["cell_capacity"].shape, dtype=np.bool_)
    most = float(context.data["charge_limit"])
    found: list[tuple[int, Disturbance]] = []
    reasons: list[list[int | str]] = []
    for (place,), scan in sorted(context.raw.scans.items()):
        record, one, _ = cell_of_scan(section, scan)
        seen = disturbances_of(record, one, all_lithium=most, beam=beam)
        left = used_cycles(one, seen)
        used[place, : left.used.size] = left.used
        found += [(place, each) for each in seen]
        reasons += [[place, number + 1, "; ".join(why)] for number, why in enumerate(left.reasons) if why]
    coords = {
        "record": context.data["record"],
        "cycle": context.data["cycle"],
        "disturbance": label("disturbance", np.arange(1, len(found) + 1), ("disturbance",)),
    }
    coords["disturbance"].attrs |= {
        "names": [f"{names[place]}, cycle {one.cycle}" for place, one in found],
        "reasons": [one.reason for _, one in found],
    }
    arrays = [label("cycle_used", used, ("record", "cycle"), coords=coords)]
    arrays[0].attrs["reasons"] = reasons
    arrays[0].attrs["remarks"] = _told(context.raw.coords["record"], reasons, used)
    numbers = context.raw.coords["record"].values
    columns = {
        "disturbance_record": np.array([numbers[place] for place, _ in found], dtype=np.int64),
        "disturbance_cycle": np.array([one.cycle for _, one in found], dtype=np.int64),
        "disturbance_time": np.array([one.time for _, one in found], dtype=np.float64),
        "disturbance_size": np.array([one.size for _, one in found], dtype=np.float64),
        "disturbance_kind": np.array([KINDS.index(one.kind) for _, one in found], dtype=np.int64),
    }
    arrays += [label(name, values, ("disturbance",), coords=coords) for name, values in columns.items()]
    arrays[-1].attrs |= {"flag_values": [0, 1, 2], "flag_meanings": "jump short electrolyte_loss"}
    return dataset(arrays)


def _told(record: xr.DataArray, reasons: Sequence[Sequence[int | str]], used: NDArray[np.bool_]) -> list[str]:
    """A line for every cell with cycles that are not used."""
    said = []
    for place, name in enumerate(record.attrs["names"]):
        own = [(one[1], one[2]) for one in reasons if one[0] == place]
        if own:
            kinds = list(dict.fromkeys(str(why).split(":")[0] for _, why in own))
            total = len(own) + int(used[place].sum())
            said.append(f"{name}: {len(own)} of {total} cycles are not used: {', '.join(kinds)}")
    return said


def of_the_mass(context: Context) -> xr.Dataset:
    """Capacity over the mass of the particle, and the rate at which it was cycled."""
    data = context.data
    mass, std = (np.full(data.sizes["record"], float(data[name])) for name in ("particle_mass", "particle_mass_std"))
    coords = {"record": data["record"], "cycle": data["cycle"]}
    found = specific_of(data, mass, std, coords)
    # the uncertainty of the mass is common to all cycles
    expected = Estimate(float(data["planned_capacity"]), 0.0, float(data["planned_capacity_std"]))
    current = np.nanmedian(np.where(np.isfinite(data["cycle_current"]), data["cycle_current"], np.nan), axis=1)
    rates = [rate_from_current(capacity=expected, current=float(one)) for one in current]
    values = [[one.value for one in rates], [one.total for one in rates]]
    return found.merge(
        dataset(
            [
                label(RATE[0], np.array(values[0]), ("record",), coords=coords),
                label(RATE[1], np.array(values[1]), ("record",), coords=coords, std_source="stated"),
            ]
        )
    )


def steps(section: MeasurementSection) -> tuple[Step, ...]:
    """The steps of a measurement of single particles."""
    table = tuple(name for name in TABLE if name != "cycle_used")
    return (
        Step("plan", plan, needs=(), makes=PLAN, choices=("particle_cell",)),
        Step("cycles", cycles, needs=(RAW,), makes=table, choices=CHOICES),
        Step("curves", curves, needs=(RAW, "cell_capacity"), makes=CURVES, choices=CHOICES),
        Step(
            "disturbances",
            disturbances,
            needs=(RAW, "cell_capacity", "charge_limit"),
            makes=DISTURBED,
            choices=CHOICES,
        ),
        Step(
            "specific capacity",
            of_the_mass,
            needs=(
                "cell_capacity",
                "cell_capacity_std",
                "cycle_current",
                "particle_mass",
                "particle_mass_std",
                "planned_capacity",
                "planned_capacity_std",
            ),
            makes=(*SPECIFIC, *RATE),
        ),
        *cell_courses.steps(section),
    )


TARGETS = ("particle_mass",)


def asked_for(section: MeasurementSection) -> tuple[str, ...]:
    """What records give; a particle without files is planned only."""
    if section.files is None and not section.series:
        return ()
    return ("cell_capacity", "curve_voltage", "disturbance_kind", "specific_capacity", *cell_courses.TARGETS)
