"""Change of the white line from temperature to temperature, in every bit of material."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.core.parallel import SLAB_ROWS
from cathoscope.core.rooms import FileRoom, Room
from cathoscope.core.schema import dataset, label
from cathoscope.core.study import NewArray
from cathoscope.flow.graph import Context, Step
from cathoscope.flow.steps.registration import REVERSED, placement_of, voxel_size
from cathoscope.flow.steps.statistics import systematic_errors
from cathoscope.numerics.pyramid import slabs_of
from cathoscope.numerics.warp import PointMap, warp
from cathoscope.xanes.difference import DifferenceMap, changed_voxels, difference_map, distribution_of_difference
from cathoscope.xanes.distribution import Distribution
from cathoscope.xanes.heterogeneity import StoredMap, stored_map
from cathoscope.xanes.whiteline import WhiteLineFlag

Floats = NDArray[np.float64]
Box = tuple[slice, slice, slice]
_MARGIN = 4  # voxels around the particle
_AT_HAND = 60.0  # bytes for a voxel of the box: 34 for two temperatures with their halves, the rest made of them
_BESIDES = 8e8  # bytes: slabs, and spectra of the correlations
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


@dataclass(frozen=True)
class Change:
    """Statistics of one step from a temperature to the next."""

    distribution: Distribution
    changed: float


def differences(context: Context) -> None:
    """Difference maps where the material lay at the first temperature, and their statistics."""
    data = context.data
    count = data.sizes["temperature"]
    steps: dict[int, Change] = {}
    remarks = []
    box, arrays = _box_of(data), _coords(data)
    context.work.prepare(_new_maps(data, arrays), arrays)
    context.progress.start(f"{context.name}: differences", count, "temperatures")
    before = _in_material(context, 0, box)
    context.progress.advance()
    for at in range(1, count):
        after = _in_material(context, at, box)
        try:
            found = _change(context, at, before, after)
            steps[at - 1] = _statistics_of(found)
            _store(context, at - 1, found, box)
        except MeasurementError as error:
            remarks.append(f"no difference map of {_name(data, at - 1)}: {error.problem}")
        before = after
        context.progress.advance()
    context.progress.finish()
    context.work.store_dataset(_numbers(data, steps, arrays, remarks))


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


def _coords(data: xr.Dataset) -> dict[str, xr.DataArray]:
    """The steps of temperature, and where the voxels lie."""
    step = label("step", np.arange(data.sizes["temperature"] - 1), ("step",))
    step.attrs["names"] = [_name(data, number) for number in range(step.size)]
    return {"step": step, **{dim: data[dim] for dim in ("z", "y", "x")}}


def _new_maps(data: xr.Dataset, coords: dict[str, xr.DataArray]) -> list[NewArray]:
    """The maps of all steps, to be filled."""
    shape = tuple(coord.size for coord in coords.values())
    nothing = np.broadcast_to(np.float32(np.nan), shape)
    named = dataset([_labelled(name, nothing, coords) for name in _MAPS])
    return [NewArray(name, tuple(coords), shape, "float32", named[name].attrs) for name in _MAPS]


def _store(context: Context, step: int, found: DifferenceMap, box: Box) -> None:
    """The maps of one step, in the order of their names; what is not stored has no value."""
    good, size = found.measured.good, context.data.sizes
    for rows in slabs_of(box[0].stop, SLAB_ROWS):
        inside = slice(max(rows.start, box[0].start), rows.stop)
        if inside.start >= inside.stop:
            continue
        here = slice(inside.start - box[0].start, inside.stop - box[0].start)
        for name, field in zip(_MAPS, (found.measured.value, found.std, found.significance), strict=True):
            values = np.full((rows.stop - rows.start, size["y"], size["x"]), np.nan, np.float32)
            values[(slice(inside.start - rows.start, None), *box[1:])] = np.where(good[here], field[here], np.nan)
            context.work.store(name, (step, rows), values)


def _room(context: Context, box: Box, name: str) -> Room:
    """Room for a map within the box: in memory, if all that is needed at a time fits into it."""
    shape = tuple(side.stop - side.start for side in box)
    if _AT_HAND * np.prod(shape) + _BESIDES <= context.resources.memory:
        return np.empty(shape, np.float32)
    return FileRoom(context.work.scratch / name, shape)


def _in_material(context: Context, at: int, box: Box) -> StoredMap | None:
    """White-line map of one temperature laid over the first, within the box; None where it cannot be."""
    data = context.data
    placed = placement_of(data, at)
    good = data["white_line_flag"][at].values == WhiteLineFlag.GOOD
    if placed is None or not good.any():
        return None
    names = ["white_line_energy", "white_line_energy_std"]
    fields = [data[name][at] for name in names]
    if "white_line_half" in data:
        fields += [data["white_line_half"][half, at] for half in (0, 1)]
    # the two temperatures of a step are at hand together
    rooms = [_room(context, box, f"{number}-{at % 2}") for number in range(len(fields))]
    if at != data["placement_shift"].attrs.get("reference", 0):
        _lay_over(fields, good, placed, box, rooms)
    else:
        for field, room in zip(fields, rooms, strict=True):
            _lay_down(field, good, box, room)
    laid = np.zeros([side.stop - side.start for side in box], dtype=bool)
    for rows in slabs_of(len(laid)):
        laid[rows] = np.isfinite(rooms[0][rows])
    halves = (rooms[2], rooms[3]) if len(rooms) == 4 else None
    try:
        return stored_map(value=rooms[0], std=rooms[1], good=laid, halves=halves)
    except MeasurementError:  # hardly any voxel can be trusted
        return None


def _lay_down(field: xr.DataArray, good: NDArray[np.bool_], box: Box, room: Room) -> None:
    """A map as it lies: its trusted voxels."""
    for rows in slabs_of(box[0].stop - box[0].start):
        there = slice(box[0].start + rows.start, box[0].start + rows.stop)
        room[rows] = np.where(good[there], field[there].values, np.nan)[(slice(None), *box[1:])]


def _lay_over(
    fields: list[xr.DataArray], good: NDArray[np.bool_], through: PointMap, box: Box, rooms: list[Room]
) -> None:
    """Maps as linear means of their trusted voxels; nan where these have less than half of the weight."""
    # counted from the middle: single precision keeps its digits
    middles = [_middle(field, good) for field in fields]
    known = [
        RowsAtHand(partial(_deviation, field, good, middle), good.shape)
        for field, middle in zip(fields, middles, strict=True)
    ]
    inside = (slice(None), *box[1:])
    for rows in slabs_of(box[0].stop, SLAB_ROWS):
        there = slice(max(rows.start, box[0].start), rows.stop)
        if there.start >= there.stop:
            continue
        here = slice(there.start - box[0].start, there.stop - box[0].start)
        weight = np.nan_to_num(warp(good, through, there, order="linear")[inside])
        for room, middle, deviation in zip(rooms, middles, known, strict=True):
            total = warp(deviation, through, there, order="linear")[inside]
            room[here] = np.where(weight > 0.5, middle + total / np.maximum(weight, 0.5), np.nan)


def _middle(field: xr.DataArray, good: NDArray[np.bool_]) -> float:
    """Median of the trusted voxels."""
    parts = []
    for rows in slabs_of(len(good)):
        values = field[rows].values[good[rows]]
        parts.append(values[np.isfinite(values)])
    known = np.concatenate(parts)
    return float(np.median(known, overwrite_input=True)) if known.size else 0.0


def _deviation(field: xr.DataArray, good: NDArray[np.bool_], middle: float, rows: slice) -> NDArray[np.float32]:
    """Some rows of a map less a value, zero where a voxel is not trusted."""
    values = field[rows].values
    return np.where(good[rows] & np.isfinite(values), values - middle, 0.0).astype(np.float32)


class RowsAtHand:
    """Rows that are asked for one after the other: those that are asked for again are not read again."""

    def __init__(self, read: Callable[[slice], NDArray[np.float32]], shape: tuple[int, ...]) -> None:
        self.shape = shape
        self._read, self._first = read, 0
        self._rows = np.empty((0, *shape[1:]), np.float32)

    def __getitem__(self, rows: slice) -> NDArray[np.float32]:
        """Some rows; those before them are forgotten."""
        last = self._first + len(self._rows)
        if not self._first <= rows.start <= last:
            self._rows, last = self._rows[:0], rows.start
        else:
            self._rows = self._rows[rows.start - self._first :]
        self._first = rows.start
        if rows.stop > last:  # whole chunks of the study
            upto = min(-(-rows.stop // SLAB_ROWS) * SLAB_ROWS, self.shape[0])
            self._rows = np.concatenate([self._rows, self._read(slice(last, upto))])
        return self._rows[: rows.stop - rows.start]


def _change(context: Context, at: int, before: StoredMap | None, after: StoredMap | None) -> DifferenceMap:
    data = context.data
    if before is None or after is None:
        raise MeasurementError("one of the temperatures could not be registered or has no trusted voxels")
    errors = [np.asarray(data["registration_error"][t].values)[REVERSED] / voxel_size(data) for t in (at - 1, at)]
    return difference_map(
        first=before,
        second=after,
        registration_std=np.hypot(*np.nan_to_num(errors)).tolist(),
        systematic=(*systematic_errors(data, (at - 1,)), *systematic_errors(data, (at,))),
        new_room=lambda _: _room(context, _box_of(data), "registration"),
    )


def _statistics_of(found: DifferenceMap) -> Change:
    changed = changed_voxels(significance=found.significance, good=found.measured.good)
    return Change(distribution_of_difference(found), changed.share)


def _name(data: xr.Dataset, step: int) -> str:
    low, high = (float(data["temperature"][at]) for at in (step, step + 1))
    return f"{low:g} to {high:g} C"


def _numbers(
    data: xr.Dataset, steps: dict[int, Change], coords: dict[str, xr.DataArray], remarks: list[str]
) -> xr.Dataset:
    numbers = {name: np.full(coords["step"].size, np.nan) for name in _NUMBERS}
    mean, std = data["white_line_mean"].values, data["white_line_mean_std"].values
    numbers["white_line_shift"], numbers["white_line_shift_std"] = np.diff(mean), np.hypot(std[1:], std[:-1])
    for number, change in steps.items():
        found = change.distribution
        numbers["difference_mean"][number], numbers["difference_mean_std"][number] = found.mean, found.mean_total_std
        numbers["difference_width"][number], numbers["difference_width_std"][number] = found.width, found.width_std
        numbers["changed_share"][number] = change.changed
    arrays = [_labelled(name, values, coords) for name, values in numbers.items()]
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
    return (Step("differences", differences, needs=needs, optional=optional, makes=makes),)
