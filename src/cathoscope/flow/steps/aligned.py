"""One scan on its way to a volume: counts to optical depth, and everything geometric in one interpolation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.core.parallel import SLAB_ROWS
from cathoscope.flow.graph import RAW, Context
from cathoscope.flow.raw import ScanIndex
from cathoscope.flow.sections import TomographySection
from cathoscope.flow.steps.pixels import pixel_size_of
from cathoscope.flow.steps.projections import (
    Floats,
    blocks_of,
    n_columns_of,
    n_rows_of,
    optical_depth_of_rows,
    sinogram_of_depth,
    with_halo,
)
from cathoscope.tomography.phase import (
    Propagation,
    blur_length_from_propagation,
    optical_depth_from_transmission,
)
from cathoscope.tomography.resample import ScanMotion, aligned_sinogram, rows_needed

# What every step needs that works on projections, and what only the scans of a series have.
NEEDS = (RAW, "bad_pixel_mask", "stripe_offset", "beam_intensity", "projection_shift", "rotation_axis")
OF_SERIES = ("magnification", "specimen_shift", "vertical_shift", "angle_offset", "flat_offset")

# Rows that phase retrieval reads around a block, in blur lengths and more. Its kernel falls as exp(-r / length), so
# what lies farther away adds at most exp(-7) / 2, 5e-4 of the contrast of the transmission.
_REACH, _LEAST_REACH = 7.0, 8
# Of the detector's width; a retrieval that smooths over more was told a wrong distance.
_LARGEST_BLUR = 0.25


@dataclass(frozen=True)
class ScanInputs:
    """One scan with everything its reconstruction needs; ``motion`` is None for a scan that is no part of a series.

    ``bad``, ``offset`` and ``flat_offset`` are maps of the detector that are read when they are used: some rows of
    them, the first two the same for many scans. With a ``propagation`` the phase is retrieved.
    """

    scan: xr.Dataset
    angle: NDArray[np.float64]
    axis: float
    shift: NDArray[np.float64]
    beam: NDArray[np.float64]
    bad: xr.DataArray
    offset: xr.DataArray
    pixel_size: float
    motion: ScanMotion | None
    propagation: Propagation | None = None
    flat_offset: xr.DataArray | None = None


@dataclass(frozen=True)
class PlacedSinogram:
    """Optical depth [row, projection, column], and where its rotation axis and jitter still have to be looked for."""

    values: Floats
    axis: float
    shift: NDArray[np.float64] | None


def scan_inputs(context: Context, index: ScanIndex) -> ScanInputs | None:
    """Geometry and corrections of one scan; None where there is no usable scan."""
    raw, data = context.raw, context.data
    axis = float(data["rotation_axis"][index])
    if index not in raw.scans or not np.isfinite(axis):
        return None
    scan = raw.scans[index]
    count = scan.sizes["projection"]

    def per_projection(name: str) -> NDArray[np.float64]:
        """An array of the geometry, one value for each projection of the scan."""
        values = np.asarray(data[name][index].values, dtype=np.float64)
        # A value fixed in the recipe holds for every projection.
        return np.array(np.broadcast_to(values, (count,)) if values.ndim == 0 else values[:count], dtype=np.float64)

    size, motion = pixel_size_of(raw), None
    if {"magnification", "specimen_shift", "vertical_shift"} <= set(data):
        x, y, z = (np.asarray(data["specimen_shift"][index].values, dtype=np.float64) / size).tolist()
        motion = ScanMotion(
            rotation_axis=axis,
            magnification=float(data["magnification"][index]),
            specimen_shift=(x, y, z),
            projection_shift=per_projection("projection_shift"),
            vertical_shift=per_projection("vertical_shift"),
        )
    angle = np.asarray(scan["angle"].values, dtype=np.float64)
    if "angle_offset" in data:
        angle = angle + float(data["angle_offset"][index])
    return ScanInputs(
        scan=scan,
        angle=angle,
        axis=axis,
        shift=per_projection("projection_shift"),
        beam=per_projection("beam_intensity"),
        bad=_map_at(context, "bad_pixel_mask", index),
        offset=_map_at(context, "stripe_offset", index),
        pixel_size=size,
        motion=motion,
        propagation=_propagation(scan, size / (motion.magnification if motion else 1.0), context.section.tomography),
        flat_offset=data["flat_offset"][index] if "flat_offset" in data else None,
    )


def _map_at(context: Context, name: str, index: ScanIndex) -> xr.DataArray:
    """Map [row, column] of the detector at the temperature of a scan, not read yet."""
    maps = context.data[name]
    return maps[index[: maps.ndim - 2]]


def _propagation(scan: xr.Dataset, pixel_size: float, section: TomographySection) -> Propagation | None:
    """How the beam of a scan travels, where the recipe asks for phase retrieval."""
    phase = section.phase
    if phase.distance is None or phase.delta_over_beta is None:
        return None
    energy = float(scan["energy"]) if "energy" in scan.variables else phase.energy
    if energy is None:
        raise MeasurementError(
            "phase retrieval needs the photon energy, and the file does not say it",
            where=scan.attrs.get("source"),
            cure='state it in [measurement.NAME.tomography.phase], such as  energy = "8.35 keV"',
        )
    propagation = Propagation(
        delta_over_beta=phase.delta_over_beta,
        distance_mm=1e-3 * phase.distance,
        pixel_size=pixel_size,
        energy=energy,
        discrete=phase.discrete,
    )
    length, width = blur_length_from_propagation(propagation=propagation), n_columns_of(scan) * pixel_size
    if length > _LARGEST_BLUR * width:
        raise MeasurementError(
            "phase retrieval would smooth the whole projection away",
            expected=f"a blur length sqrt(distance delta / mu) below {_LARGEST_BLUR * width:.3g} um",
            found=f"{length:.3g} um at {phase.distance * 1e-3:g} mm, delta / beta {phase.delta_over_beta:g}",
            cure="check distance and delta_over_beta in [measurement.NAME.tomography.phase]",
        )
    return propagation


def sinogram_of_rows(inputs: ScanInputs, rows: slice, section: TomographySection) -> Floats:
    """Optical depth [row, projection, column] of a block of rows as measured: stripes removed, phase retrieved."""
    if inputs.propagation is None:
        return _without_stripes(inputs, rows, section)
    n_rows, reach = n_rows_of(inputs.scan), reach_of(inputs.propagation)
    pieces = []
    # Blocks of fixed place and size: what is asked for together must not change a result.
    for block in blocks_of(slice(rows.start // reach * reach, -(-rows.stop // reach) * reach), reach):
        block = slice(block.start, min(block.stop, n_rows))
        wide, inner = with_halo(block, n_rows, reach)
        depth = _without_stripes(inputs, wide, section).transpose(1, 0, 2)
        retrieved = optical_depth_from_transmission(transmission=np.exp(-depth), propagation=inputs.propagation)
        wanted = slice(max(rows.start, block.start) - block.start, min(rows.stop, block.stop) - block.start)
        pieces.append(retrieved[:, inner][:, wanted].transpose(1, 0, 2))
    return np.ascontiguousarray(np.concatenate(pieces))


def _without_stripes(inputs: ScanInputs, rows: slice, section: TomographySection) -> Floats:
    depth = optical_depth_of_rows(inputs.scan, rows, np.asarray(inputs.bad.values), inputs.beam, section)
    offset = np.asarray(inputs.offset[rows].values)
    if inputs.flat_offset is not None:
        offset = offset + np.asarray(inputs.flat_offset[rows].values)
    return sinogram_of_depth(depth, offset, section)


def reach_of(propagation: Propagation) -> int:
    """Rows around a block that phase retrieval reads, whole slabs: 7 blur lengths and 8 rows more at least."""
    pixels = blur_length_from_propagation(propagation=propagation) / propagation.pixel_size
    return int(-(-(_REACH * pixels + _LEAST_REACH) // SLAB_ROWS)) * SLAB_ROWS


def rows_around(context: Context) -> int:
    """Rows that are read beyond a slab at most, from the first scan and its motion."""
    inputs = next((one for at in sorted(context.raw.scans) if (one := scan_inputs(context, at)) is not None), None)
    if inputs is None:
        return 0
    n_rows = n_rows_of(inputs.scan)
    more = 0 if inputs.propagation is None else 4 * reach_of(inputs.propagation)
    if inputs.motion is not None:
        middle = slice(n_rows // 2, n_rows // 2 + 1)
        seen = rows_needed(inputs.motion, inputs.angle, middle, n_rows)
        more += seen.stop - seen.start + 2 * SLAB_ROWS
    return min(more, n_rows)


def placed_sinogram(inputs: ScanInputs, rows: slice, section: TomographySection) -> PlacedSinogram:
    """Optical depth of a block of rows as a scan without any motion would have measured it.

    Without a motion nothing is interpolated: axis and jitter are phases of the reconstruction.
    """
    if inputs.motion is None:
        return PlacedSinogram(sinogram_of_rows(inputs, rows, section), inputs.axis, inputs.shift)
    n_rows, n_columns = n_rows_of(inputs.scan), n_columns_of(inputs.scan)
    seen = whole_slabs(rows_needed(inputs.motion, inputs.angle, rows, n_rows), n_rows)
    depth = np.ascontiguousarray(sinogram_of_rows(inputs, seen, section).transpose(1, 0, 2))
    values = aligned_sinogram(depth, inputs.motion, inputs.angle, first_row=seen.start, rows=rows, n_rows=n_rows)
    return PlacedSinogram(values, 0.5 * (n_columns - 1), None)


def whole_slabs(rows: slice, n_rows: int) -> slice:
    """``rows`` widened to whole slabs: corrections work in such blocks, and must not depend on what else is read."""
    return slice(rows.start // SLAB_ROWS * SLAB_ROWS, min(-(-rows.stop // SLAB_ROWS) * SLAB_ROWS, n_rows))
