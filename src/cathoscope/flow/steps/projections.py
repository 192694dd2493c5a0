"""Projections: bad pixels, and counts to optical depth, some rows at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.core.parallel import SLAB_ROWS, row_slabs, run_slabs
from cathoscope.core.schema import dataset, label
from cathoscope.flow.graph import RAW, Context, Step
from cathoscope.flow.raw import ScanIndex
from cathoscope.flow.sections import TomographySection
from cathoscope.io.lazy import hdf5_kept_open
from cathoscope.tomography.correct import (
    bad_pixels_from_flats,
    fill_bad_pixels,
    optical_depth_from_transmission,
    stripe_offsets_from_sinogram,
    stripes_removed,
    transmission_from_counts,
    zingers_removed,
)

Floats = NDArray[np.float32]

# Rows read beyond a block on either side, so that filters over neighbouring rows see their neighbours.
_HALO = 2
# Flats are judged against a wider neighbourhood, in blocks of fixed size.
_FLAT_ROWS = 64
_FLAT_HALO = 16


def with_halo(rows: slice, n_rows: int, halo: int) -> tuple[slice, slice]:
    """Rows to read for ``rows``, and where ``rows`` lie among them."""
    start, stop = max(rows.start - halo, 0), min(rows.stop + halo, n_rows)
    return slice(start, stop), slice(rows.start - start, rows.stop - start)


def blocks_of(rows: slice, size: int) -> Iterator[slice]:
    """``rows`` cut into blocks of ``size``, counted from the first."""
    return (slice(start, min(start + size, rows.stop)) for start in range(rows.start, rows.stop, size))


def transmission_of_rows(
    scan: xr.Dataset, rows: slice, bad: NDArray[np.bool_], section: TomographySection
) -> tuple[Floats, Floats]:
    """Transmission [projection, row, column] and open-beam counts [row, column] of some rows.

    The rows are read at once but corrected in blocks of ``SLAB_ROWS``, because what counts as a zinger
    depends on the block: a result must not depend on how many rows the memory allows.
    """
    n_rows = n_rows_of(scan)
    wide, _ = with_halo(rows, n_rows, _HALO)
    with hdf5_kept_open():
        frames = {
            name: np.asarray(scan[name][:, wide].values, dtype=np.float32)
            for name in ("counts", "flat_counts", "dark_counts")
        }
    transmission, open_counts = [], []
    for block in blocks_of(rows, SLAB_ROWS):
        around, inner = with_halo(block, n_rows, _HALO)
        local = slice(around.start - wide.start, around.stop - wide.start)
        counts, flat, dark = (frame[:, local] for frame in frames.values())
        if section.zinger_sigma > 0:
            counts, _ = zingers_removed(counts=counts, threshold_sigma=section.zinger_sigma)
        divided = transmission_from_counts(counts=counts, flat=flat, dark=dark)
        transmission.append(fill_bad_pixels(divided, bad[around])[:, inner])
        open_beam = flat.mean(axis=0) - dark.mean(axis=0)
        open_counts.append(fill_bad_pixels(open_beam[None], bad[around])[0, inner])
    return np.concatenate(transmission, axis=1), np.concatenate(open_counts)


def optical_depth_of_rows(
    scan: xr.Dataset,
    rows: slice,
    bad: NDArray[np.bool_],
    beam: NDArray[np.float64],
    section: TomographySection,
) -> Floats:
    """Optical depth [projection, row, column] of some rows; ``beam`` is the intensity of each projection."""
    if "pages" in scan.variables:
        return np.asarray(scan["pages"][:, rows].values, dtype=np.float32)
    transmission, open_counts = transmission_of_rows(scan, rows, bad, section)
    return optical_depth_of_transmission(transmission, open_counts, beam)


def optical_depth_of_transmission(transmission: Floats, open_counts: Floats, beam: NDArray[np.float64]) -> Floats:
    """Optical depth [projection, row, column], each projection relative to its own beam intensity."""
    depth, _ = optical_depth_from_transmission(
        transmission=transmission / beam.astype(np.float32)[:, None, None], open_counts=np.maximum(open_counts, 1.0)
    )
    return depth


def n_rows_of(scan: xr.Dataset) -> int:
    """Detector rows of a scan."""
    return int(scan.sizes["row"])


def n_columns_of(scan: xr.Dataset) -> int:
    """Detector columns of a scan."""
    return int(scan.sizes["column"])


def at_temperature(context: Context, name: str, index: ScanIndex) -> NDArray[Any]:
    """Map [row, column] of an array ``name`` that has one for every temperature, for the scan at ``index``."""
    maps = context.data[name]
    return np.asarray(maps[index[: maps.ndim - 2]].values)


def sinogram_of_depth(depth: Floats, offset: Floats, section: TomographySection) -> Floats:
    """Optical depth [row, projection, column] without stripes, from [projection, row, column] and the gain offsets."""
    sinogram = np.ascontiguousarray(depth.transpose(1, 0, 2)) - offset[:, None, :]
    return stripes_removed(sinogram, section.stripes) if section.stripes in ("sorting", "all") else sinogram


def bad_pixels(context: Context) -> xr.Dataset:
    """Dead, hot and unstable pixels, from flats and darks of the first scan at every temperature."""
    raw = context.raw
    conditions = [dim for dim in raw.dims if dim == "temperature"]
    shape = (*(raw.coords[dim].size for dim in conditions), n_rows_of(raw.first), n_columns_of(raw.first))
    mask = np.zeros(shape, dtype=bool)
    context.progress.start(f"{context.name}: bad pixels", int(np.prod(shape[:-2])), "temperatures")
    for condition in np.ndindex(shape[:-2]):
        for index in sorted(raw.scans):
            if index[: len(condition)] == condition and "flat_counts" in raw.scans[index].variables:
                with contextlib.suppress(MeasurementError):  # the survey names and sets aside what cannot be read
                    mask[condition] = _bad_pixels_of_scan(raw.scans[index], shape[-2:])
                    break
        context.progress.advance()
    context.progress.finish()
    return dataset([label("bad_pixel_mask", mask, (*conditions, "row", "column"), coords=raw.coords)])


def _bad_pixels_of_scan(scan: xr.Dataset, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    mask = np.zeros(shape, dtype=bool)
    for rows in blocks_of(slice(0, shape[0]), _FLAT_ROWS):
        mask[rows] = _bad_pixels_of_rows(scan, rows)
    return mask


def _bad_pixels_of_rows(scan: xr.Dataset, rows: slice) -> NDArray[np.bool_]:
    wide, inner = with_halo(rows, n_rows_of(scan), _FLAT_HALO)
    mask = bad_pixels_from_flats(
        flat=np.asarray(scan["flat_counts"][:, wide].values, dtype=np.float32),
        dark=np.asarray(scan["dark_counts"][:, wide].values, dtype=np.float32),
    )
    return np.asarray(mask[inner])


# Stripes are looked for where the sample is thinnest, below the edge, in this many scans per temperature.
_STRIPE_SCANS = 3


def stripe_offsets(context: Context) -> xr.Dataset:
    """What wrong gains add to the optical depth, one map for all energies of a temperature.

    A gain does not depend on the energy. Found apart at every energy, a stripe would be removed at one and missed at
    the next, and leave its mark in the spectra.
    """
    raw = context.raw
    conditions = [dim for dim in raw.dims if dim == "temperature"]
    shape = (*(raw.coords[dim].size for dim in conditions), n_rows_of(raw.first), n_columns_of(raw.first))
    offset = np.zeros(shape, dtype=np.float32)
    wanted = context.section.tomography.stripes == "gain"
    bytes_per_row = 40.0 * max(scan.sizes["projection"] for scan in raw.scans.values()) * shape[-1]
    slabs = row_slabs(shape[-2], bytes_per_row=bytes_per_row, resources=context.resources) if wanted else []
    units = [(condition, rows) for condition in np.ndindex(shape[:-2]) for rows in slabs]
    context.progress.start(f"{context.name}: stripes", len(units), "slabs")

    def look(unit: tuple[ScanIndex, slice]) -> None:
        """Stripe offsets of some rows from the scans in which the sample is thinnest."""
        condition, rows = unit
        found: list[Floats] = []
        for index in sorted(raw.scans):
            if index[: len(condition)] == condition and len(found) < _STRIPE_SCANS:
                with contextlib.suppress(MeasurementError):  # the survey names and sets aside what cannot be read
                    found.append(_stripes_of_rows(context, index, rows))
        if found:
            offset[condition][rows] = np.median(found, axis=0)
        context.progress.advance()

    run_slabs(look, units, threads=context.resources.threads)
    context.progress.finish()
    return dataset([label("stripe_offset", offset, (*conditions, "row", "column"), coords=raw.coords)])


def _stripes_of_rows(context: Context, index: ScanIndex, rows: slice) -> Floats:
    scan, section = context.raw.scans[index], context.section.tomography
    bad, beam = at_temperature(context, "bad_pixel_mask", index), np.ones(scan.sizes["projection"])
    depth = optical_depth_of_rows(scan, rows, bad, beam, section)
    return np.stack([stripe_offsets_from_sinogram(sinogram=depth[:, row]) for row in range(depth.shape[1])])


STEPS = (
    Step("bad pixels", bad_pixels, needs=(RAW,), makes=("bad_pixel_mask",)),
    Step("stripes", stripe_offsets, needs=(RAW, "bad_pixel_mask"), makes=("stripe_offset",), choices=("tomography",)),
)
