"""How a particle has changed from the first temperature on: its size, its pores, its hollow core, and where."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.core.parallel import row_slabs, run_slabs
from cathoscope.core.schema import dataset, label
from cathoscope.core.study import NewArray
from cathoscope.flow.graph import Context, Step
from cathoscope.flow.sections import MeasurementSection, MorphologySection
from cathoscope.flow.steps import morphology, registration
from cathoscope.flow.steps.morphology import grey_volume, voxel_sizes
from cathoscope.flow.steps.registration import placement_of
from cathoscope.numerics.estimate import Estimate
from cathoscope.numerics.warp import warp
from cathoscope.volume.change import (
    VolumeChange,
    VolumeState,
    core_collapse,
    porosity_change,
    relative_volume_change,
    state_of,
)

Floats = NDArray[np.float64]

_SOURCES = ("threshold", "plateau", "surface", "magnification")
_FIRST_OF_ALL = {name: Estimate(1.0) for name in ("relative_volume", "relative_core")} | {
    "porosity_change": Estimate(0.0)
}
_PARTS = ("", "_std", "_systematic")
_NUMBERS = tuple(name + part for name in _FIRST_OF_ALL for part in _PARTS)
_GIVEN = tuple(name + part for name in ("envelope_volume", "porosity", "core_volume") for part in _PARTS)
TARGETS = ("relative_volume", "solid_change")


def changes(context: Context) -> xr.Dataset:
    """Ratios and differences against the first temperature that has a particle; what cancels in them is told apart."""
    data = context.data
    volume = grey_volume(data)
    count = volume.sizes["temperature"]
    numbers = {name: np.full(count, np.nan) for name in (*_NUMBERS, "cancelled_volume_error")}
    parts = np.full((count, len(_SOURCES)), np.nan)
    section = context.section.morphology or MorphologySection()
    first: tuple[int, VolumeState] | None = None
    context.progress.start(f"{context.name}: change of morphology", count, "temperatures")
    for index in range(count):
        state = _state(data, volume, index)
        context.progress.advance()
        if state is None:
            continue
        if first is None:
            first = (index, state)
            parts[index], numbers["cancelled_volume_error"][index] = 0.0, 0.0
            _put(numbers, index, _FIRST_OF_ALL)
            continue
        change = relative_volume_change(first[1], state, magnification_std=section.magnification_std)
        parts[index] = [getattr(change, source) for source in _SOURCES]
        numbers["cancelled_volume_error"][index] = change.cancelled
        _put(numbers, index, _compared(data, first[0], index, change, section.magnification_std))
    context.progress.finish()
    return _dataset(volume, numbers, parts, 0 if first is None else first[0])


def _state(data: xr.Dataset, volume: xr.DataArray, index: int) -> VolumeState | None:
    """Volumes of the particle at one temperature, None where it could not be measured."""
    best = _number(data, "envelope_volume", index)
    if not np.isfinite(best.value):
        return None
    grey = np.asarray(volume[index].values, dtype=np.float32)
    try:
        radius = float(data["closing_radius"][index])
        return state_of(grey, best, voxel_size=voxel_sizes(volume), closing_radius=radius)
    except MeasurementError:  # the threshold's limits leave no particle
        return None


def _number(data: xr.Dataset, name: str, index: int) -> Estimate:
    """A number of one temperature; its standard uncertainty holds both parts."""
    value, total, systematic = (float(data[name + part][index]) for part in _PARTS)
    return Estimate(value, float(np.sqrt(max(total**2 - systematic**2, 0.0))), systematic)


def _compared(
    data: xr.Dataset, first: int, index: int, change: VolumeChange, magnification_std: float
) -> dict[str, Estimate]:
    before, after = ({name: _number(data, name, at) for name in ("porosity", "core_volume")} for at in (first, index))
    found = {
        "relative_volume": Estimate(1 + change.change.value, change.change.std, change.change.systematic),
        "porosity_change": porosity_change(before["porosity"], after["porosity"]),
    }
    if before["core_volume"].value > 0:
        cores = before["core_volume"], after["core_volume"]
        found["relative_core"] = core_collapse(*cores, magnification_std=magnification_std)
    return found


def _put(numbers: dict[str, Floats], index: int, found: dict[str, Estimate]) -> None:
    for name, one in found.items():
        for part, value in zip(_PARTS, (one.value, one.total, one.systematic), strict=True):
            numbers[name + part][index] = value


def _dataset(volume: xr.DataArray, numbers: dict[str, Floats], parts: Floats, first: int) -> xr.Dataset:
    coords = {"temperature": volume["temperature"]}
    sources = label("error_source", np.arange(len(_SOURCES)), ("error_source",))
    sources.attrs["names"] = list(_SOURCES)
    arrays = []
    for name, values in numbers.items():
        std_source = "fit covariance" if name.endswith("_std") else None
        arrays.append(label(name, values, ("temperature",), coords=coords, std_source=std_source))
        if f"{name}_std" in numbers:
            arrays[-1].attrs["ancillary_variables"] = f"{name}_std {name}_systematic"
    if first:
        names = [f"{float(volume['temperature'][at]):g} C" for at in (0, first)]
        arrays[0].attrs["remarks"] = [f"changes are told against {names[1]}: at {names[0]} there are no numbers"]
    both = coords | {"error_source": sources}
    arrays.append(label("relative_volume_error", parts, ("temperature", "error_source"), coords=both))
    return dataset(arrays)


def solid_change(context: Context) -> None:
    """Share of solid of every temperature, laid over the first one, minus that of the first."""
    solid = context.data["solid_fraction"]
    reference = int(context.data["placement_shift"].attrs.get("reference", 0))
    context.work.prepare([NewArray("solid_change", tuple(map(str, solid.dims)), solid.shape, "float32")], solid.coords)
    bytes_per_row = 4.0 * 12 * solid.sizes["y"] * solid.sizes["x"]
    slabs = row_slabs(solid.sizes["z"], bytes_per_row=bytes_per_row, resources=context.resources)
    units = [(index, rows) for index in range(len(solid)) if index != reference for rows in slabs]
    context.progress.start(f"{context.name}: change of the share of solid", len(units), "slabs")

    def one(unit: tuple[int, slice]) -> None:
        """One slab of one temperature, unless a killed run has finished it."""
        index, rows = unit
        key = f"{index}-{rows.start}-{rows.stop}"
        placed = placement_of(context.data, index)
        if placed is not None and not context.work.is_done(key):
            moved = warp(solid[index], placed, rows)
            before = np.asarray(solid[reference].isel(z=rows).values, dtype=np.float32)
            context.work.store("solid_change", (index, rows), moved - before)
            context.work.mark_done(key)
        context.progress.advance()

    run_slabs(one, units, threads=context.resources.threads)
    context.progress.finish()


def steps_on(grey: str, *, registered: bool) -> tuple[Step, ...]:
    """The steps on a volume in which oxide is bright; with their own registration unless there is one already."""
    numbers = Step(
        "change of morphology",
        changes,
        needs=(grey, "closing_radius", *_GIVEN),
        makes=(*_NUMBERS, "relative_volume_error", "cancelled_volume_error"),
        choices=("morphology",),
    )
    needs = ("solid_fraction", "placement_shift", "placement_rotation", "registration_scale", "deformation")
    where = Step("change of solid", solid_change, needs=needs, makes=("solid_change",))
    return (numbers, where) if registered else (registration.STEP_OF_SOLID, numbers, where)


def asked_for(section: MeasurementSection) -> tuple[str, ...]:
    """What the recipe's table asks for: the numbers of every temperature and, where there are several, the changes."""
    of_each = morphology.asked_for(section)
    return (*of_each, *TARGETS) if of_each and len(section.series) > 1 else of_each
