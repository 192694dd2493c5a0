"""Geometry of every scan: angles, beam intensity, rotation axis by two methods, jitter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.core.parallel import SLAB_ROWS, run_slabs
from cathoscope.core.schema import dataset, label
from cathoscope.flow.graph import RAW, Context, Step
from cathoscope.flow.raw import RawMeasurement, ScanIndex
from cathoscope.flow.sections import TomographySection
from cathoscope.flow.steps import doubtful
from cathoscope.flow.steps.projections import (
    Floats,
    at_temperature,
    n_rows_of,
    optical_depth_of_rows,
    optical_depth_of_transmission,
    sinogram_of_depth,
    transmission_of_rows,
)
from cathoscope.numerics.spread import SECOND_DIFFERENCE, robust_std_along
from cathoscope.tomography.align import (
    AxisEstimate,
    AxisMethod,
    axis_or_problem,
    rotation_axis_from_centre_of_mass,
    rotation_axis_from_mirror,
)
from cathoscope.tomography.correct import (
    beam_intensity_from_open_columns,
    open_columns_from_transmission,
)


@dataclass(frozen=True)
class ScanGeometry:
    """What the survey of one scan finds: per projection angle, beam and jitter, and the axis by two methods.

    ``absorption`` is the optical depth summed over the rows looked at, mean of the projections.
    """

    angle: NDArray[np.float64]
    beam: NDArray[np.float64]
    shift: NDArray[np.float64]
    axis: float
    std: float
    check: float
    method: AxisMethod
    remarks: tuple[str, ...]
    absorption: float


@dataclass(frozen=True)
class _Names:
    """What the arrays of a survey are called: of a scan that stands alone, they are final."""

    axis: str = "rotation_axis"
    check: str = "rotation_axis_check"
    shift: str = "projection_shift"


_OF_SERIES = _Names(axis="survey_axis", check="survey_axis_check", shift="survey_shift")


def survey(context: Context) -> xr.Dataset:
    """Angle, beam intensity, rotation axis and jitter of every scan, from some rows of each.

    Scans of several energies are compared with each other, as where their geometry is solved together.
    """
    raw = context.raw
    of_energies = raw.dims[-1:] == ("energy",)
    too_short, remarks = doubtful.cut_short(raw) if of_energies else ({}, [])
    set_aside = [raw.put_aside(index, reason) for index, reason in too_short.items()]
    found, failed = _look_at_all(context, axis_is_wanted="rotation_axis" in context.makes)
    made = _geometry_dataset(raw, _Names(), found, [*set_aside, *failed])
    if of_energies:
        if "beam_intensity" in context.makes:  # else it is fixed in the recipe
            remarks += doubtful.flats_of_another_day(raw, made["beam_intensity"])
        absorption = {index: geometry.absorption for index, geometry in found.items()}
        energy = np.asarray(raw.coords["energy"].values, dtype=np.float64)
        remarks += doubtful.energies_out_of_place(raw, absorption, energy)
        made["angle"].attrs["remarks"] += remarks
    return made


def survey_of_series(context: Context) -> xr.Dataset:
    """As `survey`, for scans whose axes are found together: one that has none by itself may have one among others.

    They are compared with each other where that is done.
    """
    return _geometry_dataset(context.raw, _OF_SERIES, *_look_at_all(context, axis_is_wanted=False))


def _look_at_all(context: Context, *, axis_is_wanted: bool) -> tuple[dict[ScanIndex, ScanGeometry], list[list[str]]]:
    """Geometry of every scan by itself; those that have none are set aside."""
    raw = context.raw
    found: dict[ScanIndex, ScanGeometry] = {}
    failed: dict[ScanIndex, str] = {}
    context.progress.start(f"{context.name}: geometry", len(raw.scans), "scans")

    def look(index: ScanIndex) -> None:
        """Geometry of one scan, or why it has none."""
        try:
            bad, offset = (at_temperature(context, name, index) for name in ("bad_pixel_mask", "stripe_offset"))
            found[index] = _survey_scan(raw.scans[index], bad, offset, context.section.tomography, axis_is_wanted)
        except MeasurementError as error:
            failed[index] = error.problem
        context.progress.advance()

    run_slabs(look, sorted(raw.scans), threads=context.resources.threads)
    context.progress.finish()
    set_aside = [raw.put_aside(index, reason) for index, reason in sorted(failed.items())]
    if not found:
        raise MeasurementError("no scan has a usable geometry", where=context.name, found="; ".join(failed.values()))
    return found, set_aside


def _survey_scan(
    scan: xr.Dataset, bad: NDArray[np.bool_], offset: Floats, section: TomographySection, axis_is_wanted: bool
) -> ScanGeometry:
    """Geometry of one scan; without ``axis_is_wanted`` (the recipe fixes it) an axis that cannot be found is nan."""
    angle = np.asarray(scan["angle"].values, dtype=np.float64)
    blocks = _survey_blocks(n_rows_of(scan), section.survey_rows)
    beam = np.ones(angle.size)
    if "pages" in scan.variables:
        depth = np.concatenate([optical_depth_of_rows(scan, rows, bad, beam, section) for rows in blocks], axis=1)
    else:
        pieces = [transmission_of_rows(scan, rows, bad, section) for rows in blocks]
        transmission = np.concatenate([piece[0] for piece in pieces], axis=1)
        open_columns = open_columns_from_transmission(transmission=transmission)
        if section.normalise_beam and open_columns is not None:
            beam = beam_intensity_from_open_columns(transmission=transmission, open_columns=open_columns)
        depth = optical_depth_of_transmission(transmission, np.concatenate([piece[1] for piece in pieces]), beam)
    # A stripe is mass that does not move with the sample, and would pull the axis towards it.
    sinogram = sinogram_of_depth(depth, np.concatenate([offset[rows] for rows in blocks]), section)
    return _geometry_of(angle, beam, sinogram, section, axis_is_wanted)


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
    angle: NDArray[np.float64],
    beam: NDArray[np.float64],
    sinogram: Floats,
    section: TomographySection,
    axis_is_wanted: bool,
) -> ScanGeometry:
    column_sum = sinogram.sum(axis=0, dtype=np.float64)
    absorption = float(column_sum.sum()) / angle.size
    noise = np.broadcast_to(_noise_of_column_sums(column_sum), column_sum.shape)
    mass = axis_or_problem(lambda: rotation_axis_from_centre_of_mass(column_sum=column_sum, angle_deg=angle, std=noise))
    groups = np.array_split(sinogram, min(_MIRROR_BANDS, len(sinogram)))
    bands = np.stack([group.sum(axis=0, dtype=np.float64) for group in groups])
    mirror = axis_or_problem(lambda: rotation_axis_from_mirror(sinogram=bands, angle_deg=angle))
    remarks = tuple(word for word in (_reason(mass, "centre of mass"), _reason(mirror, "mirrored projections")) if word)
    try:
        chosen, check, std = _choose_axis(mass, mirror)
    except MeasurementError:
        if axis_is_wanted:
            raise
        none = (np.nan, np.nan, np.nan, AxisMethod.NONE)
        return ScanGeometry(angle, beam, np.zeros(angle.size), *none, remarks, absorption)
    shift = _jitter_share(chosen, section) * chosen.jitter
    method = AxisMethod.CENTRE_OF_MASS if chosen is mass else AxisMethod.MIRRORED_PROJECTIONS
    return ScanGeometry(angle, beam, shift, chosen.axis, std, check, method, remarks, absorption)


def _choose_axis(mass: AxisEstimate | str, mirror: AxisEstimate | str) -> tuple[AxisEstimate, float, float]:
    """The estimate to use, the axis of the other one, and the uncertainty.

    The centre of mass uses all projections and is preferred, unless it is not to be trusted (the object leaves
    the view) or disagrees with the mirrored projections, which do not mind a background. Two methods that disagree
    by more than their errors show an error neither knows of: half their difference is then the uncertainty.
    An estimate that distrusts itself is not used alone: how far it is off cannot be known.
    """
    if isinstance(mass, str) or isinstance(mirror, str):
        only = mirror if isinstance(mass, str) else mass
        if isinstance(only, str) or only.reason is not None:
            reasons = "; ".join(each if isinstance(each, str) else str(each.reason) for each in (mass, mirror))
            raise MeasurementError(f"no rotation axis: {reasons}", cure="fix rotation_axis in the recipe")
        return only, np.nan, only.std
    difference = abs(mass.axis - mirror.axis)
    # A single pair of mirrored projections carries the jitter of two.
    agree = difference < 2.0 * np.sqrt(mass.std**2 + mirror.std**2 + 0.5 * mass.rms**2)
    use_mass = mass.reason is None and (agree or mirror.reason is not None)
    chosen, other = (mass, mirror) if use_mass else (mirror, mass)
    doubtful = not agree and (other.reason is None or chosen.reason is not None)
    return chosen, other.axis, max(chosen.std, 0.5 * difference) if doubtful else chosen.std


def _noise_of_column_sums(column_sum: NDArray[np.float64]) -> NDArray[np.float64]:
    """Noise of each projection's column sums, from their second differences (robust)."""
    second = np.diff(column_sum, n=2, axis=1)
    return np.asarray(robust_std_along(second, 1, keepdims=True) / SECOND_DIFFERENCE)


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
    raw: RawMeasurement, names: _Names, found: dict[ScanIndex, ScanGeometry], set_aside: list[list[str]]
) -> xr.Dataset:
    n_projections = max(geometry.angle.size for geometry in found.values())
    long = {name: np.full((*raw.shape, n_projections), np.nan) for name in ("angle", "beam", "shift")}
    short = {name: np.full(raw.shape, np.nan) for name in ("axis", "std", "check")}
    method = np.full(raw.shape, AxisMethod.NONE, dtype=np.int8)
    for index, geometry in found.items():
        method[index] = geometry.method
        for name, values in long.items():
            one = getattr(geometry, name)
            values[index][: one.size] = one
        for name, values in short.items():
            values[index] = getattr(geometry, name)
    arrays = [
        label("angle", long["angle"], (*raw.dims, "projection"), coords=raw.coords),
        label("beam_intensity", long["beam"], (*raw.dims, "projection"), coords=raw.coords),
        label(names.shift, long["shift"], (*raw.dims, "projection"), coords=raw.coords),
        label(names.axis, short["axis"], raw.dims, coords=raw.coords),
        label(f"{names.axis}_std", short["std"], raw.dims, coords=raw.coords, std_source="fit covariance"),
        label(names.check, short["check"], raw.dims, coords=raw.coords),
        label("rotation_axis_method", method, raw.dims, coords=raw.coords),
    ]
    arrays[-1].attrs |= {
        "flag_values": [int(method) for method in AxisMethod],
        "flag_meanings": " ".join(method.name.lower() for method in AxisMethod),
    }
    counts: dict[str, int] = {}
    for geometry in found.values():
        for remark in geometry.remarks:
            counts[remark] = counts.get(remark, 0) + 1
    # On the angles, because they alone can never be fixed in the recipe.
    arrays[0].attrs |= {
        "remarks": [f"{remark} ({count} of {len(found)} scans)" for remark, count in sorted(counts.items())],
        "set_aside": set_aside,
    }
    return dataset(arrays)


STEPS = (
    Step(
        "geometry",
        survey,
        needs=(RAW, "bad_pixel_mask", "stripe_offset"),
        makes=(
            "angle",
            "beam_intensity",
            "projection_shift",
            "rotation_axis",
            "rotation_axis_std",
            "rotation_axis_check",
            "rotation_axis_method",
        ),
        choices=("tomography",),
    ),
)
SERIES_STEPS = (
    Step(
        "survey",
        survey_of_series,
        needs=(RAW, "bad_pixel_mask", "stripe_offset"),
        makes=(
            "angle",
            "beam_intensity",
            "survey_shift",
            "survey_axis",
            "survey_axis_std",
            "survey_axis_check",
            "rotation_axis_method",
        ),
        choices=("tomography",),
    ),
)
FIXABLE = ("rotation_axis", "projection_shift", "beam_intensity")
