"""Tomography: from counts to geometry, noise and volumes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.core.parallel import SLAB_ROWS, row_slabs, run_slabs, shortage
from cathoscope.core.schema import dataset, label
from cathoscope.core.study import NewArray, chunk_shape
from cathoscope.flow.graph import RAW, Context, Step
from cathoscope.flow.raw import RawMeasurement, ScanIndex
from cathoscope.flow.recipe import TomographySection
from cathoscope.flow.steps.opening import pixel_size_of
from cathoscope.tomography.align import AxisEstimate, rotation_axis_from_centre_of_mass, rotation_axis_from_mirror
from cathoscope.tomography.correct import (
    bad_pixels_from_flats,
    beam_intensity_from_open_columns,
    fill_bad_pixels,
    open_columns_from_transmission,
    optical_depth_from_transmission,
    stripes_removed,
    transmission_from_counts,
    zingers_removed,
)
from cathoscope.tomography.reconstruct import Plan, noise_std_from_half_sets, plan_reconstruction, reconstruct

Floats = NDArray[np.float32]

# Rows read beyond a block on either side, so that filters over neighbouring rows see their neighbours.
_HALO = 2
# Flats are judged against a wider neighbourhood, in blocks of fixed size.
_FLAT_ROWS = 64
_FLAT_HALO = 16


def _with_halo(rows: slice, n_rows: int, halo: int) -> tuple[slice, slice]:
    """Rows to read for ``rows``, and where ``rows`` lie among them."""
    start, stop = max(rows.start - halo, 0), min(rows.stop + halo, n_rows)
    return slice(start, stop), slice(rows.start - start, rows.stop - start)


def _blocks(rows: slice, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, rows.stop)) for start in range(rows.start, rows.stop, size))


def transmission_of_rows(
    scan: xr.Dataset, rows: slice, bad: NDArray[np.bool_], section: TomographySection
) -> tuple[Floats, Floats]:
    """Transmission [projection, row, column] and open-beam counts [row, column] of some rows.

    The rows are read at once but corrected in blocks of ``SLAB_ROWS``, because what counts as a zinger
    depends on the block: a result must not depend on how many rows the memory allows.
    """
    n_rows = _n_rows(scan)
    wide, _ = _with_halo(rows, n_rows, _HALO)
    frames = {
        name: np.asarray(scan[name][:, wide].values, dtype=np.float32)
        for name in ("counts", "flat_counts", "dark_counts")
    }
    transmission, open_counts = [], []
    for block in _blocks(rows, SLAB_ROWS):
        around, inner = _with_halo(block, n_rows, _HALO)
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
    return _optical_depth(transmission, open_counts, beam)


def _optical_depth(transmission: Floats, open_counts: Floats, beam: NDArray[np.float64]) -> Floats:
    depth, _ = optical_depth_from_transmission(
        transmission=transmission / beam.astype(np.float32)[:, None, None], open_counts=np.maximum(open_counts, 1.0)
    )
    return depth


def _n_rows(scan: xr.Dataset) -> int:
    return int(scan.sizes["row"])


def _n_columns(scan: xr.Dataset) -> int:
    return int(scan.sizes["column"])


# -- bad pixels ----------------------------------------------------------------------------------


def bad_pixels(context: Context) -> xr.Dataset:
    """Dead, hot and unstable pixels, from flats and darks of the first scan at every temperature."""
    raw = context.raw
    conditions = [dim for dim in raw.dims if dim == "temperature"]
    shape = (*(raw.coords[dim].size for dim in conditions), _n_rows(raw.first), _n_columns(raw.first))
    mask = np.zeros(shape, dtype=bool)
    context.progress.start(f"{context.name}: bad pixels", int(np.prod(shape[:-2])), "temperatures")
    for condition in np.ndindex(shape[:-2]):
        scans = [scan for index, scan in sorted(raw.scans.items()) if index[: len(condition)] == condition]
        if scans and "flat_counts" in scans[0].variables:
            for rows in _blocks(slice(0, shape[-2]), _FLAT_ROWS):
                mask[(*condition, rows)] = _bad_pixels_of_rows(scans[0], rows)
        context.progress.advance()
    context.progress.finish()
    return dataset([label("bad_pixel_mask", mask, (*conditions, "row", "column"), coords=raw.coords)])


def _bad_pixels_of_rows(scan: xr.Dataset, rows: slice) -> NDArray[np.bool_]:
    wide, inner = _with_halo(rows, _n_rows(scan), _FLAT_HALO)
    mask = bad_pixels_from_flats(
        flat=np.asarray(scan["flat_counts"][:, wide].values, dtype=np.float32),
        dark=np.asarray(scan["dark_counts"][:, wide].values, dtype=np.float32),
    )
    return np.asarray(mask[inner])


# -- geometry ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ScanGeometry:
    """What the survey of one scan finds: per projection angle, beam and jitter, and the axis by two methods."""

    angle: NDArray[np.float64]
    beam: NDArray[np.float64]
    shift: NDArray[np.float64]
    axis: float
    std: float
    check: float
    remarks: tuple[str, ...]


def survey(context: Context) -> xr.Dataset:
    """Angle, beam intensity, rotation axis and jitter of every scan, from some rows of each."""
    raw = context.raw
    found: dict[ScanIndex, ScanGeometry] = {}
    failed: dict[ScanIndex, str] = {}
    context.progress.start(f"{context.name}: geometry", len(raw.scans), "scans")

    def look(index: ScanIndex) -> None:
        try:
            found[index] = _survey_scan(raw.scans[index], _bad_of(context, index), context.section.tomography)
        except MeasurementError as error:
            failed[index] = error.problem
        context.progress.advance()

    run_slabs(look, sorted(raw.scans), threads=context.resources.threads)
    context.progress.finish()
    set_aside = [raw.put_aside(index, reason) for index, reason in sorted(failed.items())]
    if not found:
        raise MeasurementError("no scan has a usable geometry", where=context.name, found="; ".join(failed.values()))
    return _geometry_dataset(raw, found, set_aside)


def _bad_of(context: Context, index: ScanIndex) -> NDArray[np.bool_]:
    mask = context.data["bad_pixel_mask"]
    return np.asarray(mask[index[: mask.ndim - 2]].values)


def _survey_scan(scan: xr.Dataset, bad: NDArray[np.bool_], section: TomographySection) -> ScanGeometry:
    angle = np.asarray(scan["angle"].values, dtype=np.float64)
    blocks = _survey_blocks(_n_rows(scan), section.survey_rows)
    beam = np.ones(angle.size)
    if "pages" in scan.variables:
        depth = np.concatenate([optical_depth_of_rows(scan, rows, bad, beam, section) for rows in blocks], axis=1)
        return _geometry_of(angle, beam, depth, section)
    pieces = [transmission_of_rows(scan, rows, bad, section) for rows in blocks]
    transmission = np.concatenate([piece[0] for piece in pieces], axis=1)
    open_columns = open_columns_from_transmission(transmission=transmission)
    if section.normalise_beam and open_columns is not None:
        beam = beam_intensity_from_open_columns(transmission=transmission, open_columns=open_columns)
    depth = _optical_depth(transmission, np.concatenate([piece[1] for piece in pieces]), beam)
    return _geometry_of(angle, beam, depth, section)


def _survey_blocks(n_rows: int, wanted: int) -> list[slice]:
    """Blocks of rows spread over the detector; every row is a tomogram of its own, so any will do."""
    if n_rows <= wanted:
        return [slice(0, n_rows)]
    count = max(wanted // SLAB_ROWS, 1)
    starts = np.linspace(0, n_rows - SLAB_ROWS, count).astype(int)
    return [slice(start, start + SLAB_ROWS) for start in starts.tolist()]


# Mirrored projections are compared in this many bands of rows: structure along the axis helps to register them.
_MIRROR_BANDS = 8


def _geometry_of(
    angle: NDArray[np.float64], beam: NDArray[np.float64], depth: Floats, section: TomographySection
) -> ScanGeometry:
    # A stripe is mass that does not move with the sample, and would pull the axis towards it.
    rows = stripes_removed(np.ascontiguousarray(depth.transpose(1, 0, 2)), section.stripes)
    column_sum = rows.sum(axis=0, dtype=np.float64)
    noise = np.broadcast_to(_noise_of_column_sums(column_sum), column_sum.shape)
    mass = _attempt(lambda: rotation_axis_from_centre_of_mass(column_sum=column_sum, angle_deg=angle, std=noise))
    bands = np.stack(
        [
            band.sum(axis=0, dtype=np.float64)
            for band in np.array_split(depth, min(_MIRROR_BANDS, depth.shape[1]), axis=1)
        ]
    )
    mirror = _attempt(lambda: rotation_axis_from_mirror(sinogram=bands, angle_deg=angle))
    chosen, check, std = _choose_axis(mass, mirror)
    remarks = tuple(word for word in (_reason(mass, "centre of mass"), _reason(mirror, "mirrored projections")) if word)
    shift = _jitter_share(chosen, section) * chosen.jitter
    return ScanGeometry(angle, beam, shift, chosen.axis, std, check, remarks)


def _choose_axis(mass: AxisEstimate | str, mirror: AxisEstimate | str) -> tuple[AxisEstimate, float, float]:
    """The estimate to use, the axis of the other one, and the uncertainty.

    The centre of mass uses all projections and is preferred, unless it is not to be trusted (the object leaves
    the view) or disagrees with the mirrored projections, which do not mind a background. Two methods that disagree
    by more than their errors show an error neither knows of: half their difference is then the uncertainty.
    """
    if isinstance(mass, str):
        if isinstance(mirror, str):
            raise MeasurementError(f"no rotation axis: {mass}; {mirror}", cure="fix rotation_axis in the recipe")
        return mirror, np.nan, mirror.std
    if isinstance(mirror, str):
        return mass, np.nan, mass.std
    difference = abs(mass.axis - mirror.axis)
    # A single pair of mirrored projections carries the jitter of two.
    agree = difference < 2.0 * np.sqrt(mass.std**2 + mirror.std**2 + 0.5 * mass.rms**2)
    use_mass = mass.reason is None and (agree or mirror.reason is not None)
    chosen, other = (mass, mirror) if use_mass else (mirror, mass)
    doubtful = not agree and other.reason is None
    return chosen, other.axis, max(chosen.std, 0.5 * difference) if doubtful else chosen.std


def _noise_of_column_sums(column_sum: NDArray[np.float64]) -> NDArray[np.float64]:
    """Noise of each projection's column sums, from their second differences (robust)."""
    second = np.diff(column_sum, n=2, axis=1)
    return np.asarray(1.4826 * np.median(np.abs(second), axis=1, keepdims=True) / np.sqrt(6.0))


def _attempt(estimate: Callable[[], AxisEstimate]) -> AxisEstimate | str:
    try:
        return estimate()
    except MeasurementError as error:
        return error.problem


def _reason(estimate: AxisEstimate | str, method: str) -> str | None:
    problem = estimate if isinstance(estimate, str) else estimate.reason
    return None if problem is None else f"rotation axis by {method}: {problem}"


def _jitter_share(estimate: AxisEstimate, section: TomographySection) -> float:
    """Share of the centre of mass's scatter that is taken for jitter.

    The scatter is jitter and noise together; the part of its variance that the noise does not explain is the
    share that, applied as a correction, leaves the smallest error (Wiener).
    """
    if section.jitter == "none" or (section.jitter == "auto" and estimate.reason is not None):
        return 0.0
    if section.jitter == "centre of mass" or not estimate.rms > 0:
        return 1.0
    return float(max(0.0, 1.0 - (estimate.noise_rms / estimate.rms) ** 2))


def _geometry_dataset(
    raw: RawMeasurement, found: dict[ScanIndex, ScanGeometry], set_aside: list[list[str]]
) -> xr.Dataset:
    n_projections = max(geometry.angle.size for geometry in found.values())
    long = {name: np.full((*raw.shape, n_projections), np.nan) for name in ("angle", "beam", "shift")}
    short = {name: np.full(raw.shape, np.nan) for name in ("axis", "std", "check")}
    for index, geometry in found.items():
        for name, values in long.items():
            one = getattr(geometry, name)
            values[index][: one.size] = one
        for name, values in short.items():
            values[index] = getattr(geometry, name)
    arrays = [
        label("angle", long["angle"], (*raw.dims, "projection"), coords=raw.coords),
        label("beam_intensity", long["beam"], (*raw.dims, "projection"), coords=raw.coords),
        label("projection_shift", long["shift"], (*raw.dims, "projection"), coords=raw.coords),
        label("rotation_axis", short["axis"], raw.dims, coords=raw.coords),
        label("rotation_axis_std", short["std"], raw.dims, coords=raw.coords, std_source="fit covariance"),
        label("rotation_axis_check", short["check"], raw.dims, coords=raw.coords),
    ]
    counts: dict[str, int] = {}
    for geometry in found.values():
        for remark in geometry.remarks:
            counts[remark] = counts.get(remark, 0) + 1
    arrays[3].attrs |= {
        "remarks": [f"{remark} ({count} of {len(found)} scans)" for remark, count in sorted(counts.items())],
        "set_aside": set_aside,
    }
    return dataset(arrays)


# -- reconstruction ------------------------------------------------------------------------------


@dataclass(frozen=True)
class ScanInputs:
    """One scan with everything its reconstruction needs."""

    scan: xr.Dataset
    angle: NDArray[np.float64]
    axis: float
    shift: NDArray[np.float64]
    beam: NDArray[np.float64]
    bad: NDArray[np.bool_]
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
        bad=_bad_of(context, index),
        pixel_size=pixel_size_of(raw),
    )


def sinogram_of_rows(inputs: ScanInputs, rows: slice, section: TomographySection) -> Floats:
    """Optical depth [row, projection, column] of a block of rows, stripes removed."""
    depth = optical_depth_of_rows(inputs.scan, rows, inputs.bad, inputs.beam, section)
    sinogram = np.ascontiguousarray(depth.transpose(1, 0, 2))
    return stripes_removed(sinogram, section.stripes)


def noise(context: Context) -> xr.Dataset:
    """Noise of the reconstruction inside the object, from odd against even projections of the middle rows."""
    raw = context.raw
    std = np.full(raw.shape, np.nan)
    middle = _n_rows(raw.first) // 2 // SLAB_ROWS * SLAB_ROWS
    rows = slice(middle, min(middle + SLAB_ROWS, _n_rows(raw.first)))
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
    n_rows, n_columns = _n_rows(raw.first), _n_columns(raw.first)
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
    lengths = {"z": _n_rows(raw.first), "y": _n_columns(raw.first), "x": _n_columns(raw.first)}
    return {
        name: label(name, (np.arange(length) - 0.5 * (length - 1)) * size, (name,)) for name, length in lengths.items()
    }


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
    n_columns = _n_columns(raw.first)
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
    Step("bad pixels", bad_pixels, needs=(RAW,), makes=("bad_pixel_mask",)),
    Step(
        "geometry",
        survey,
        needs=(RAW, "bad_pixel_mask"),
        makes=(
            "angle",
            "beam_intensity",
            "projection_shift",
            "rotation_axis",
            "rotation_axis_std",
            "rotation_axis_check",
        ),
        choices=("tomography",),
    ),
    Step(
        "noise",
        noise,
        needs=(RAW, "bad_pixel_mask", "beam_intensity", "projection_shift", "rotation_axis"),
        makes=("attenuation_std",),
        choices=("tomography",),
    ),
    Step(
        "reconstruction",
        volumes,
        needs=(RAW, "bad_pixel_mask", "beam_intensity", "projection_shift", "rotation_axis"),
        makes=("attenuation",),
        choices=("tomography",),
    ),
)
TARGETS = ("attenuation", "attenuation_std")
FIXABLE = ("rotation_axis", "projection_shift", "beam_intensity")
