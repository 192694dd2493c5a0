"""Volumes: sinograms to linear attenuation and its noise, slab by slab."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.parallel import SLAB_ROWS, run_slabs
from cathoscope.core.schema import dataset, label
from cathoscope.core.study import NewArray, chunk_shape
from cathoscope.flow.graph import Context, Step
from cathoscope.flow.raw import RawMeasurement, ScanIndex
from cathoscope.flow.sections import TomographySection
from cathoscope.flow.steps.aligned import NEEDS, OF_SERIES, ScanInputs, placed_sinogram, scan_inputs
from cathoscope.flow.steps.half_sets import matter_in, share_not_shared, some_in_matter, spread_of
from cathoscope.flow.steps.pixels import pixel_size_of
from cathoscope.flow.steps.projections import Floats, n_columns_of, n_rows_of
from cathoscope.flow.steps.reconstruction import Reconstruction, reconstruction_of, slabs_within_memory
from cathoscope.tomography.reconstruct import noise_std_from_half_sets, plan_reconstruction, reconstruct


def noise(context: Context) -> xr.Dataset:
    """Noise of the reconstruction inside the object, from odd against even projections of the middle rows."""
    raw = context.raw
    std = np.full(raw.shape, np.nan)
    samples: dict[ScanIndex, NDArray[np.float32]] = {}
    middle = n_rows_of(raw.first) // 2 // SLAB_ROWS * SLAB_ROWS
    rows = slice(middle, min(middle + SLAB_ROWS, n_rows_of(raw.first)))
    context.progress.start(f"{context.name}: noise", len(raw.scans), "scans")

    def estimate(index: ScanIndex) -> None:
        """Noise of one scan, from halves of its projections."""
        inputs = scan_inputs(context, index)
        if inputs is not None:
            std[index], samples[index] = _noise_of_scan(inputs, rows, context.section.tomography)
        context.progress.advance()

    run_slabs(estimate, sorted(raw.scans), threads=context.resources.threads)
    context.progress.finish()
    spread = std.copy()
    if "energy" in raw.dims:
        for condition in np.ndindex(raw.shape[:-1]):
            there = [index for index in sorted(samples) if index[:-1] == condition]
            for index, share in zip(there, share_not_shared([samples[index] for index in there]), strict=True):
                std[index] *= share
    own = label("attenuation_std", std, raw.dims, coords=raw.coords, std_source="half-set")
    return dataset([own, label("half_set_spread", spread, raw.dims, coords=raw.coords)])


def _noise_of_scan(inputs: ScanInputs, rows: slice, section: TomographySection) -> tuple[float, NDArray[np.float32]]:
    """Spread of half the difference of half-sets in matter, and that of some voxels."""
    placed = placed_sinogram(inputs, rows, section)
    geometry = (inputs.angle, placed.axis, placed.shift, inputs.pixel_size)
    per_row, half_difference = noise_std_from_half_sets(placed.values, *geometry)
    plan = plan_reconstruction(inputs.angle, placed.values.shape[2])
    inside = matter_in(reconstruct(plan, placed.values, placed.axis, placed.shift, inputs.pixel_size))
    spread = float(np.median(per_row)) if inside.all() else spread_of(half_difference[inside])
    return spread, some_in_matter(half_difference, inside)


Unit = tuple[ScanIndex, slice, slice]  # temperature index, energies, rows


def volumes(context: Context) -> None:
    """Linear attenuation of every voxel at every energy and temperature, slab by slab."""
    raw, work = context.raw, context.work
    n_rows, n_columns = n_rows_of(raw.first), n_columns_of(raw.first)
    dims = (*raw.dims, "z", "y", "x")
    shape = (*raw.shape, n_rows, n_columns, n_columns)
    coords = dict(raw.coords) | voxel_coords(raw)
    method = reconstruction_of(context)
    attrs = {"ancillary_variables": "attenuation_std", **method.attributes()}
    work.prepare([NewArray("attenuation", dims, shape, attrs=attrs)], coords)
    units = list(_units(context, method, shape, dims))
    context.progress.start(f"{context.name}: reconstruction", len(units), "slabs")

    def one(unit: Unit) -> None:
        """One slab of some energies, unless a killed run has made it."""
        condition, energies, rows = unit
        key = "-".join(map(str, (*condition, energies.start, rows.start, rows.stop)))
        if not work.is_done(key):
            region = (*condition, energies, rows) if "energy" in raw.dims else (*condition, rows)
            work.store("attenuation", region, _reconstruct_unit(context, raw, unit, method))
            work.mark_done(key)
        context.progress.advance()

    run_slabs(one, units, threads=context.resources.threads)
    context.progress.finish()


def voxel_coords(raw: RawMeasurement) -> dict[str, xr.DataArray]:
    """Positions of the voxels in um, zero on the rotation axis and in the middle row of the detector."""
    size = pixel_size_of(raw)
    n_rows, n_columns = n_rows_of(raw.first), n_columns_of(raw.first)
    middle = raw.first.attrs.get("middle_row", 0.5 * (n_rows - 1))
    across = (np.arange(n_columns) - 0.5 * (n_columns - 1)) * size
    along = (np.arange(n_rows) - middle) * size
    return {name: label(name, values, (name,)) for name, values in (("z", along), ("y", across), ("x", across))}


def _units(context: Context, method: Reconstruction, shape: tuple[int, ...], dims: tuple[str, ...]) -> Iterator[Unit]:
    """Blocks that fill whole chunks of the stored volume and fit the memory budget."""
    n_columns = shape[-1]
    by_energy = "energy" in dims
    n_energies = shape[-4] if by_energy else 1
    block = chunk_shape(dims, shape)[-4] if by_energy else 1
    # the volumes of a block of energies, and the one that is being made
    slabs = slabs_within_memory(context, method, bytes_per_row=4.0 * (block + 2) * n_columns**2)
    for condition in np.ndindex(shape[: len(context.raw.dims) - by_energy]):
        for rows in slabs:
            for start in range(0, n_energies, block):
                yield condition, slice(start, min(start + block, n_energies)), rows


def _reconstruct_unit(context: Context, raw: RawMeasurement, unit: Unit, method: Reconstruction) -> Floats:
    condition, energies, rows = unit
    n_columns = n_columns_of(raw.first)
    by_energy = "energy" in raw.dims
    block = np.full((energies.stop - energies.start, rows.stop - rows.start, n_columns, n_columns), np.nan, np.float32)
    for position, energy in enumerate(range(energies.start, energies.stop)):
        inputs = scan_inputs(context, (*condition, energy) if by_energy else condition)
        if inputs is not None:
            block[position] = method.volume(inputs, placed_sinogram(inputs, rows, context.section.tomography))
    return block if by_energy else block[0]


STEPS = (
    Step(
        "noise",
        noise,
        needs=NEEDS,
        optional=OF_SERIES,
        makes=("attenuation_std", "half_set_spread"),
        choices=("tomography",),
    ),
    Step(
        "reconstruction",
        volumes,
        needs=NEEDS,
        optional=OF_SERIES,
        makes=("attenuation",),
        choices=("tomography",),
    ),
)
