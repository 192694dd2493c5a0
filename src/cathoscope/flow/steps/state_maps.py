"""State of charge or valence of every voxel and of the particle, from the white line and a scale that the recipe gives.

The mean state is the state of the mean white line: the scale is a straight line.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import xarray as xr

from cathoscope.core.parallel import row_slabs
from cathoscope.core.schema import dataset, label
from cathoscope.flow.graph import Context, Step
from cathoscope.flow.raw import ScanIndex
from cathoscope.flow.sections import MeasurementSection
from cathoscope.flow.state_sections import StateSection
from cathoscope.flow.steps.statistics import systematic_errors
from cathoscope.flow.steps.voxels import Unit, Voxels
from cathoscope.xanes.heterogeneity import MeasuredMap
from cathoscope.xanes.state import valence_line_from_standards
from cathoscope.xanes.state_map import Outside, StateScale, scale_from_end_points, scale_from_standards, state_of_map
from cathoscope.xanes.whiteline import WhiteLineFlag

_MAPS = ("white_line_energy", "white_line_energy_std", "white_line_flag")
_NUMBERS = ("white_line_mean", "white_line_mean_std", "white_line_width", "white_line_width_std")
_UNSTATED = "no uncertainty of {} is stated: that of the scale is not in the mean state"


class WhiteLineVoxels(Voxels):
    """Voxels whose white line is known; their spectra need not be there."""

    @cached_property
    def source(self) -> xr.DataArray:
        """The map of the white line."""
        return self.context.data["white_line_energy"]


def scale_of(section: StateSection) -> tuple[StateScale, list[str]]:
    """The scale that a recipe gives, and remarks on it.

    Raises
    ------
    MeasurementError
        If energies hardly depend on the state, as far as their uncertainties tell.
    """
    if section.discharged is None or section.charged is None:
        energy, valence = np.array(list(section.standards.values()), dtype=np.float64).T
        std = None if section.standards_std is None else np.full(energy.size, section.standards_std)
        line = valence_line_from_standards(edge_energy=energy, valence=valence, edge_std=std)
        return scale_from_standards(line), list(line.remarks)
    scale = scale_from_end_points(
        discharged=section.discharged,
        charged=section.charged,
        discharged_std=section.discharged_std or 0.0,
        charged_std=section.charged_std or 0.0,
    )
    stated = {"discharged": section.discharged_std, "charged": section.charged_std}
    unknown = [name for name, std in stated.items() if std is None]
    return scale, [_UNSTATED.format(" and of ".join(unknown))] if unknown else []


def state_map(context: Context) -> None:
    """State of every good voxel, never cut at the limits, and the part of its uncertainty that is its own."""
    voxels = WhiteLineVoxels(context)
    scale, _ = scale_of(context.section.state)
    value, std = scale.quantity, f"{scale.quantity}_std"
    described = voxels.new(
        value,
        ancillary_variables=std,
        zero=scale.zero,
        slope=scale.slope,
        covariance=scale.covariance.tolist(),
        scatter=scale.scatter,
        limits=list(scale.limits),
    )
    context.work.prepare([described, voxels.new(std, std_source="fit covariance")], voxels.source.coords)

    def fill(unit: Unit) -> None:
        """State of the voxels of one slab."""
        condition, rows = unit
        found = state_of_map(_slab(context.data, condition, rows), scale)
        context.work.store(value, (*condition, rows), found.value.astype(np.float32))
        context.work.store(std, (*condition, rows), found.statistical_std.astype(np.float32))

    voxels.fill(_words(scale), fill)


def _slab(data: xr.Dataset, condition: ScanIndex, rows: slice) -> MeasuredMap:
    """White line of some rows; a slab without any good voxel is a map, too."""
    energy, std, flag = (np.asarray(data[name][condition].isel(z=rows).values) for name in _MAPS)
    good = (flag == WhiteLineFlag.GOOD) & np.isfinite(energy) & np.isfinite(std)
    return MeasuredMap(energy.astype(np.float64), std.astype(np.float64), good)


def _words(scale: StateScale) -> str:
    return scale.quantity.replace("_", " ")


def mean_state(context: Context) -> xr.Dataset:
    """Mean and spread of the state at every temperature, and a remark on voxels beyond the limits of the scale."""
    data = context.data
    scale, remarks = scale_of(context.section.state)
    name, steep = scale.quantity, abs(scale.slope)
    line, line_std, width, width_std = (np.asarray(data[number].values, dtype=np.float64) for number in _NUMBERS)
    mean = state_of_map(MeasuredMap(line, line_std, np.isfinite(line)), scale)
    slope_share = float(np.sqrt(scale.covariance[1, 1])) / steep
    values = {
        f"{name}_mean": mean.value,
        f"{name}_mean_std": mean.std,
        f"{name}_width": width / steep,
        # the slope is common to all voxels: it widens or narrows their spread
        f"{name}_width_std": np.hypot(width_std, width * slope_share) / steep,
    }
    outside = _outside(context, scale)
    dims, coords = tuple(map(str, data["white_line_mean"].dims)), data["white_line_mean"].coords
    arrays = [
        label(key, value, dims, coords=coords, std_source="scatter" if key.endswith("_std") else None)
        for key, value in values.items()
    ]
    arrays[0].attrs["remarks"] = remarks + [
        f"{_words(scale)}{_place(data, condition)}: {found.remark}"
        for condition, found in outside.items()
        if found.remark is not None
    ]
    arrays[0].attrs["outside_share"] = [
        (found.below + found.above) / found.count if found.count else 0.0 for found in outside.values()
    ]
    return dataset(arrays)


def _outside(context: Context, scale: StateScale) -> dict[ScanIndex, Outside]:
    """How many voxels of every temperature lie beyond the limits."""
    data = context.data
    line = data["white_line_energy"]
    conditions = list(np.ndindex(line.shape[:-3]))
    bytes_per_row = 100.0 * line.sizes["y"] * line.sizes["x"]
    slabs = row_slabs(line.sizes["z"], bytes_per_row=bytes_per_row, resources=context.resources)
    context.progress.start(f"{context.name}: mean {_words(scale)}", len(conditions), "temperatures")
    found = {}
    for condition in conditions:
        common = float(np.sqrt(sum(error.std**2 for error in systematic_errors(data, condition))))
        parts = [state_of_map(_slab(data, condition, rows), scale, calibration_std=common).outside for rows in slabs]
        found[condition] = _added(parts)
        context.progress.advance()
    context.progress.finish()
    return found


def _added(parts: list[Outside]) -> Outside:
    return Outside(
        below=sum(part.below for part in parts),
        above=sum(part.above for part in parts),
        significantly_below=sum(part.significantly_below for part in parts),
        significantly_above=sum(part.significantly_above for part in parts),
        count=sum(part.count for part in parts),
    )


def _place(data: xr.Dataset, condition: ScanIndex) -> str:
    return f" at {float(data['temperature'][condition[0]]):g} C" if condition else ""


def steps(section: MeasurementSection) -> tuple[Step, ...]:
    """Map and mean of the state, where the recipe gives a scale.

    Raises
    ------
    MeasurementError
        If the scale cannot be used: better now than when all else is done.
    """
    name = section.state.quantity
    if name is None:
        return ()
    scale_of(section.state)
    numbers = tuple(f"{name}_{number}" for number in ("mean", "mean_std", "width", "width_std"))
    return (
        Step("state map", state_map, needs=_MAPS, makes=(name, f"{name}_std"), choices=("state",)),
        Step(
            "mean state",
            mean_state,
            needs=(*_MAPS, *_NUMBERS),
            optional=("energy_offset_std",),
            makes=numbers,
            choices=("state",),
        ),
    )


def asked_for(section: MeasurementSection) -> tuple[str, ...]:
    """The state and its mean, where the recipe gives a scale."""
    name = section.state.quantity
    return () if name is None else (name, f"{name}_mean")
