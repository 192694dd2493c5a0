"""Change of the white line from temperature to temperature, in every bit of material."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.core.schema import dataset, label
from cathoscope.flow.graph import Context, Step
from cathoscope.flow.steps.registration import REVERSED, placement_of, voxel_size
from cathoscope.flow.steps.statistics import systematic_errors
from cathoscope.numerics.warp import PointMap, warp
from cathoscope.xanes.difference import DifferenceMap, changed_voxels, difference_map, distribution_of_difference
from cathoscope.xanes.distribution import Distribution
from cathoscope.xanes.heterogeneity import MeasuredMap, measured_map
from cathoscope.xanes.whiteline import WhiteLineFlag

Floats = NDArray[np.float64]
_MARGIN = 4  # voxels around the particle
_MAPS = ("white_line_difference", "white_line_difference_std", "white_line_significance")
_NUMBERS = (
    "white_line_shift",
    "white_line_shift_std",
    "difference_mean",
    "difference_mean_std",
    "difference_width",
    "difference_width_std",
    "changed_share",
)


Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Change:
    """Statistics of one step from a temperature to the next."""

    distribution: Distribution
    changed: float


def differences(context: Context) -> xr.Dataset:
    """Difference maps where the material lay at the first temperature, and their statistics."""
    data = context.data
    count = data.sizes["temperature"]
    steps: dict[int, Change] = {}
    remarks = []
    box, maps = _box_of(data), _empty_maps(data)
    context.progress.start(f"{context.name}: differences", count, "temperatures")
    before = _in_material(context, 0, box)
    context.progress.advance()
    for at in range(1, count):
        after = _in_material(context, at, box)
        try:
            found = _change(data, at, before, after)
            steps[at - 1] = _statistics_of(found)
            _keep(found, [values[at - 1][box] for values in maps.values()])
        except MeasurementError as error:
            remarks.append(f"no difference map of {_name(data, at - 1)}: {error.problem}")
        before = after
        context.progress.advance()
    context.progress.finish()
    return _dataset(data, steps, maps, remarks)


def _box_of(data: xr.Dataset) -> Box:
    """Where the particle lies at the first temperature that shows it, with a margin: the rest holds no material."""
    reference = int(data["placement_shift"].attrs.get("reference", 0))
    mask = np.asarray(data["particle_mask"][reference].values)
    box = []
    for axis, size in enumerate(mask.shape):
        along = np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))
        ends = (along[0] - _MARGIN, along[-1] + 1 + _MARGIN) if along.size else (0, size)
        box.append(slice(max(int(ends[0]), 0), min(int(ends[1]), size)))
    return box[0], box[1], box[2]


def _empty_maps(data: xr.Dataset) -> dict[str, NDArray[np.float32]]:
    """Room for the maps of all steps."""
    shape = (data.sizes["temperature"] - 1, *(data.sizes[dim] for dim in ("z", "y", "x")))
    return {name: np.full(shape, np.nan, np.float32) for name in _MAPS}


def _keep(found: DifferenceMap, maps: list[NDArray[np.float32]]) -> None:
    """The maps of one step, in the order of their names."""
    for target, values in zip(
        maps,
        (found.measured.value, np.hypot(found.measured.std, found.registration_std), found.significance),
        strict=True,
    ):
        np.copyto(target, np.where(found.measured.good, values, np.nan))


def _in_material(context: Context, at: int, box: Box) -> MeasuredMap | None:
    """White-line map of one temperature laid over the first, within the box; None where it cannot be."""
    data = context.data
    placed = placement_of(data, at)
    if placed is None or not bool((data["white_line_flag"][at] == WhiteLineFlag.GOOD).any()):
        return None
    moved = at != data["placement_shift"].attrs.get("reference", 0)
    good = data["white_line_flag"][at].values == WhiteLineFlag.GOOD
    values = [data[name][at].values for name in ("white_line_energy", "white_line_energy_std")]
    if "white_line_half" in data:
        values += [data["white_line_half"][half, at].values for half in (0, 1)]
    laid = _laid_over(values, good, placed, box) if moved else [np.where(good, one, np.nan)[box] for one in values]
    halves = (laid[2], laid[3]) if len(laid) == 4 else None
    try:
        return measured_map(value=laid[0], std=laid[1], good=np.isfinite(laid[0]), halves=halves)
    except MeasurementError:  # hardly any voxel can be trusted
        return None


def _laid_over(values: list[Floats], good: NDArray[np.bool_], through: PointMap, box: Box) -> list[Floats]:
    """Maps as linear means of their trusted voxels; nan where these have less than half of the weight."""
    rows, inside = box[0], (slice(None), *box[1:])
    weight = np.nan_to_num(warp(good.astype(np.float32), through, rows, order="linear")[inside])
    laid = []
    for value in values:
        # counted from the middle: single precision keeps its digits
        known = good & np.isfinite(value)
        middle = float(np.median(value[known])) if known.any() else 0.0
        filled = np.where(known, value - middle, 0.0).astype(np.float32)
        total = warp(filled, through, rows, order="linear")[inside]
        laid.append(np.where(weight > 0.5, middle + total / np.maximum(weight, 0.5), np.nan))
    return laid


def _change(data: xr.Dataset, at: int, before: MeasuredMap | None, after: MeasuredMap | None) -> DifferenceMap:
    if before is None or after is None:
        raise MeasurementError("one of the temperatures could not be registered or has no trusted voxels")
    errors = [np.asarray(data["registration_error"][t].values)[REVERSED] / voxel_size(data) for t in (at - 1, at)]
    return difference_map(
        first=before,
        second=after,
        registration_std=np.hypot(*np.nan_to_num(errors)).tolist(),
        systematic=(*systematic_errors(data, (at - 1,)), *systematic_errors(data, (at,))),
    )


def _statistics_of(found: DifferenceMap) -> Change:
    changed = changed_voxels(significance=found.significance)
    return Change(distribution_of_difference(found), changed.share)


def _name(data: xr.Dataset, step: int) -> str:
    low, high = (float(data["temperature"][at]) for at in (step, step + 1))
    return f"{low:g} to {high:g} C"


def _dataset(
    data: xr.Dataset, steps: dict[int, Change], maps: dict[str, NDArray[np.float32]], remarks: list[str]
) -> xr.Dataset:
    count = data.sizes["temperature"] - 1
    step = label("step", np.arange(count), ("step",))
    step.attrs["names"] = [_name(data, number) for number in range(count)]
    numbers = {name: np.full(count, np.nan) for name in _NUMBERS}
    mean, std = data["white_line_mean"].values, data["white_line_mean_std"].values
    numbers["white_line_shift"], numbers["white_line_shift_std"] = np.diff(mean), np.hypot(std[1:], std[:-1])
    for number, change in steps.items():
        found = change.distribution
        numbers["difference_mean"][number], numbers["difference_mean_std"][number] = found.mean, found.mean_total_std
        numbers["difference_width"][number], numbers["difference_width_std"][number] = found.width, found.width_std
        numbers["changed_share"][number] = change.changed
    coords = {"step": step, **{dim: data[dim] for dim in ("z", "y", "x")}}
    arrays = [_labelled(name, values, coords) for name, values in (maps | numbers).items()]
    arrays[0].attrs["remarks"] = remarks
    return dataset(arrays)


def _labelled(name: str, values: NDArray[np.floating], coords: dict[str, xr.DataArray]) -> xr.DataArray:
    dims = ("step", "z", "y", "x") if values.ndim > 1 else ("step",)
    return label(name, values, dims, coords=coords, std_source="fit covariance" if name.endswith("_std") else None)


def steps(*, with_halves: bool) -> tuple[Step, ...]:
    """Differences, their noise from the halves of the projections where these are there apart, else as stated."""
    halves = ("white_line_half",) if with_halves else ()
    needs = (
        "white_line_energy",
        "white_line_energy_std",
        "white_line_flag",
        *halves,
        "white_line_mean",
        "white_line_mean_std",
        "particle_mask",
        "placement_shift",
        "placement_rotation",
        "registration_scale",
        "registration_error",
        "deformation",
    )
    makes = (*_MAPS, *_NUMBERS)
    optional = ("energy_offset_std",)
    return (Step("differences", differences, needs=needs, optional=optional, makes=makes, per_voxel=60.0),)
