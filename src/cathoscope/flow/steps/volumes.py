"""Volumes: sinograms to linear attenuation and its noise, slab by slab."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.parallel import SLAB_ROWS, row_slabs, run_slabs, shortage
from cathoscope.core.schema import dataset, label
from cathoscope.core.study import NewArray, chunk_shape
from cathoscope.flow.graph import RAW, Context, Step
from cathoscope.flow.raw import RawMeasurement, ScanIndex
from cathoscope.flow.sections import TomographySection
from cathoscope.flow.steps.pixels import pixel_size_of
from cathoscope.flow.steps.projections import (
    Floats,
    at_temperature,
    n_columns_of,
    n_rows_of,
    optical_depth_of_rows,
    sinogram_of_depth,
)
from cathoscope.tomography.reconstruct import Plan, noise_std_from_half_sets, plan_reconstruction, reconstruct


@dataclass(frozen=True)
class ScanInputs:
    """One scan with everything its reconstruction needs."""

    scan: xr.Dataset
    angle: NDArray[np.float64]
    axis: float
    shift: NDArray[np.float64]
    beam: NDArray[np.float64]
    bad: NDArray[np.bool_]
    offset: Floats
    pixel_size: float


def scan_inputs(context: Context, index: ScanIndex) -> ScanInputs | None:
    """Geometry and corrections of one scan; None where there is no usable scan."""
    raw, data = context.raw, context.data
    axis = float(data["rotation_axis"][index])
    if index not in raw.scans or not np.isfinite(axis):
        return None
    scan = raw.scans[index]
    count = scan.sizes["projection"]

    def per_projection(name: str) -> NDArray[np.float64]:
        values = np.asarray(data[name][index].values, dtype=np.float64)
        # A value fixed in the recipe holds for every projection.
        return np.array(np.broadcast_to(values, (count,)) if values.ndim == 0 else values[:count], dtype=np.float64)

    return ScanInputs(
        scan=scan,
        angle=np.asarray(scan["angle"].values, dtype=np.float64),
        axis=axis,
        shift=per_projection("projection_shift"),
        beam=per_projection("beam_intensity"),
        bad=at_temperature(context, "bad_pixel_mask", index),
        offset=at_temperature(context, "stripe_offset", index),
        pixel_size=pixel_size_of(raw),
    )


def sinogram_of_rows(inputs: ScanInputs, rows: slice, section: TomographySection) -> Floats:
    """Optical depth [row, projection, column] of a block of rows, stripes removed."""
    depth = optical_depth_of_rows(inputs.scan, rows, inputs.bad, inputs.beam, section)
    return sinogram_of_depth(depth, inputs.offset[rows], section)


def noise(context: Context) -> xr.Dataset:
    """Noise of the reconstruction inside the object, from odd against even projections of the middle rows."""
    raw = context.raw
    std = np.full(raw.shape, np.nan)
    middle = n_rows_of(raw.first) // 2 // SLAB_ROWS * SLAB_ROWS
    rows = slice(middle, min(middle + SLAB_ROWS, n_rows_of(raw.first)))
    context.progress.start(f"{context.name}: noise", len(raw.scans), "scans")

    def estimate(index: ScanIndex) -> None:
        inputs = scan_inputs(context, index)
        if inputs is not None:
            std[index] = _noise_of_scan(inputs, rows, context.section.tomography)
        context.progress.advance()

    run_slabs(estimate, sorted(raw.scans), threads=context.resources.threads)
    context.progress.finish()
    return dataset([label("attenuation_std", std, raw.dims, coords=raw.coords, std_source="half-set")])


def _noise_of_scan(inputs: ScanInputs, rows: slice, section: TomographySection) -> float:
    sinogram = sinogram_of_rows(inputs, rows, section)
    per_row, half_difference = noise_std_from_half_sets(
        sinogram, inputs.angle, inputs.axis, inputs.shift, inputs.pixel_size
    )
    plan = plan_reconstruction(inputs.angle, sinogram.shape[2])
    full = reconstruct(plan, sinogram, inputs.axis, inputs.shift, inputs.pixel_size)
    # Noise is larger behind matter, and it is the noise of the matter that counts.
    inside = full > 0.5 * np.percentile(full, 99.5)
    if inside.sum() < _FEWEST_VOXELS:
        return float(np.median(per_row))
    return float(1.4826 * np.median(np.abs(half_difference[inside])))


_FEWEST_VOXELS = 200

Unit = tuple[ScanIndex, slice, slice]  # temperature index, energies, rows


def volumes(context: Context) -> None:
    """Linear attenuation of every voxel at every energy and temperature, slab by slab."""
    raw, work = context.raw, context.work
    n_rows, n_columns = n_rows_of(raw.first), n_columns_of(raw.first)
    dims = (*raw.dims, "z", "y", "x")
    shape = (*raw.shape, n_rows, n_columns, n_columns)
    coords = dict(raw.coords) | _voxel_coords(raw)
    attrs = {"ancillary_variables": "attenuation_std"}
    work.prepare([NewArray("attenuation", dims, shape, attrs=attrs)], coords)
    units = list(_units(context, raw, shape, dims))
    context.progress.start(f"{context.name}: reconstruction", len(units), "slabs")
    plan_of = _plans(context, n_columns)

    def one(unit: Unit) -> None:
        condition, energies, rows = unit
        key = "-".join(map(str, (*condition, energies.start, rows.start, rows.stop)))
        if not work.is_done(key):
            region = (*condition, energies, rows) if "energy" in raw.dims else (*condition, rows)
            work.store("attenuation", region, _reconstruct_unit(context, raw, unit, plan_of))
            work.mark_done(key)
        context.progress.advance()

    run_slabs(one, units, threads=context.resources.threads)
    context.progress.finish()


def _voxel_coords(raw: RawMeasurement) -> dict[str, xr.DataArray]:
    size = pixel_size_of(raw)
    n_rows, n_columns = n_rows_of(raw.first), n_columns_of(raw.first)
    middle = raw.first.attrs.get("middle_row", 0.5 * (n_rows - 1))
    across = (np.arange(n_columns) - 0.5 * (n_columns - 1)) * size
    along = (np.arange(n_rows) - middle) * size
    return {name: label(name, values, (name,)) for name, values in (("z", along), ("y", across), ("x", across))}


def _units(context: Context, raw: RawMeasurement, shape: tuple[int, ...], dims: tuple[str, ...]) -> Iterator[Unit]:
    """Blocks that fill whole chunks of the stored volume and fit the memory budget."""
    n_columns = shape[-1]
    by_energy = "energy" in dims
    n_energies = shape[-4] if by_energy else 1
    block = chunk_shape(dims, shape)[-4] if by_energy else 1
    n_projections = max(scan.sizes["projection"] for scan in raw.scans.values())
    bytes_per_row = 4.0 * (block * n_columns**2 + 8 * n_projections * n_columns)
    warning = shortage(bytes_per_row=bytes_per_row, resources=context.resources)
    if warning:
        context.progress.remark(f"{context.name}: {warning}")
    slabs = row_slabs(shape[-3], bytes_per_row=bytes_per_row, resources=context.resources)
    for condition in np.ndindex(shape[: len(raw.dims) - by_energy]):
        for rows in slabs:
            for start in range(0, n_energies, block):
                yield condition, slice(start, min(start + block, n_energies)), rows


def _reconstruct_unit(context: Context, raw: RawMeasurement, unit: Unit, plan_of: Callable[[bytes], Plan]) -> Floats:
    condition, energies, rows = unit
    n_columns = n_columns_of(raw.first)
    by_energy = "energy" in raw.dims
    block = np.full((energies.stop - energies.start, rows.stop - rows.start, n_columns, n_columns), np.nan, np.float32)
    for position, energy in enumerate(range(energies.start, energies.stop)):
        inputs = scan_inputs(context, (*condition, energy) if by_energy else condition)
        if inputs is not None:
            sinogram = sinogram_of_rows(inputs, rows, context.section.tomography)
            plan = plan_of(inputs.angle.tobytes())
            block[position] = reconstruct(plan, sinogram, inputs.axis, inputs.shift, inputs.pixel_size)
    return block if by_energy else block[0]


def _plans(context: Context, n_columns: int) -> Callable[[bytes], Plan]:
    """Plans by the bytes of their angles; a few are kept, for scans that share their angles."""

    @lru_cache(maxsize=max(2, context.resources.threads))
    def plan_of(angles: bytes) -> Plan:
        return plan_reconstruction(np.frombuffer(angles, dtype=np.float64), n_columns)

    return plan_of


STEPS = (
    Step(
        "noise",
        noise,
        needs=(RAW, "bad_pixel_mask", "stripe_offset", "beam_intensity", "projection_shift", "rotation_axis"),
        makes=("attenuation_std",),
        choices=("tomography",),
    ),
    Step(
        "reconstruction",
        volumes,
        needs=(RAW, "bad_pixel_mask", "stripe_offset", "beam_intensity", "projection_shift", "rotation_axis"),
        makes=("attenuation",),
        choices=("tomography",),
    ),
)
