"""Geometry of all energies of a temperature, solved together."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.core.parallel import SLAB_ROWS, Progress, Silent, run_slabs
from cathoscope.core.schema import dataset, label
from cathoscope.flow.graph import RAW, Context, Step
from cathoscope.flow.raw import RawMeasurement, ScanIndex
from cathoscope.flow.steps import doubtful
from cathoscope.flow.steps.angle_grid import grid_of
from cathoscope.flow.steps.pixels import pixel_size_of
from cathoscope.flow.steps.projections import (
    Floats,
    at_temperature,
    blocks_of,
    n_columns_of,
    n_rows_of,
    optical_depth_of_rows,
    sinogram_of_depth,
)
from cathoscope.tomography.series import SeriesGeometry, SeriesOptions, solve_series

# Projections are binned until a scan has no more columns than this: shifts need no finer pixels.
_LARGEST_COLUMNS = 256
# Memory of the registration of one scan, in units of the scan, and of the program itself. Beside it the solver holds
# every scan of the temperature at the resolution of its survey.
_SCANS_IN_WORK = 18
_SURVEY_COLUMNS = 64
_PROGRAM = 4e8  # bytes
# What is read at once of a scan, bytes of float32 counts.
_READ_AT_ONCE = 5e7
# Images that a series is a sum of: a state of the chemistry beside the mean, and a mixture where there are energies to
# tell it from noise.
_COMPONENTS, _MANY_ENERGIES = 3, 10


_ARRAYS = tuple(field.name for field in fields(SeriesGeometry) if field.name not in ("binning", "reason", "remarks"))
# Share of the work that the survey of a series is, which the solver tells first, and the registration.
_SHARES = (0.1, 0.9)


@dataclass(frozen=True)
class Outcome:
    """What became of one temperature.

    Attributes
    ----------
    energies, geometry
        Indices of the energies that were solved together, and their geometry; None where there is none.
    failed
        Why there is none.
    unfit
        Energies that were set aside, with the reason.
    absorption
        How much the scan of an energy absorbs.
    """

    energies: list[int]
    geometry: SeriesGeometry | None
    failed: str | None
    unfit: dict[int, str]
    absorption: dict[int, float]


class _Counted:
    """What a solver tells of its tasks, as scans of one temperature."""

    def __init__(self, progress: Progress, scans: int) -> None:
        self._progress, self._scans = progress, scans
        self._done = self._told = 0.0
        self._shares = list(_SHARES)
        self._step = 0.0

    def start(self, label: str, total: int, unit: str) -> None:
        """Begin the next of the tasks."""
        self._step = self._shares.pop(0) * self._scans / total if self._shares else 0.0

    def advance(self, units: int = 1) -> None:
        """Count whole scans."""
        self._done = min(self._done + units * self._step, float(self._scans))
        whole = int(self._done + 1e-6) - int(self._told)
        self._told += whole
        self._progress.advance(whole)

    def finish(self) -> None:
        """The next task follows, or the caller ends it."""

    def remark(self, text: str) -> None:
        """Pass it on."""
        self._progress.remark(text)


def solve(context: Context) -> xr.Dataset:
    """Axis, magnification, drift and jitter of every scan, from all energies of its temperature together.

    A temperature that cannot be solved is set aside with its reason, the others go on; one that a killed run has
    solved is not solved again.
    """
    raw = context.raw
    too_short, remarks = doubtful.cut_short(raw)
    set_aside = [raw.put_aside(index, reason) for index, reason in too_short.items()]
    outcomes: dict[ScanIndex, Outcome] = {}
    context.progress.start(f"{context.name}: series geometry", len(raw.scans), "scans")

    def one(condition: ScanIndex) -> None:
        """Geometry of one temperature, or why it has none."""
        key = "-".join(map(str, ("geometry", *condition)))
        note = context.work.note_of(key)
        if note is not None:
            outcomes[condition] = outcome_from(note)
            context.progress.advance(sum(index[:-1] == condition for index in raw.scans))
            return
        outcomes[condition] = _outcome(context, condition)
        context.work.mark_done(key, note_from(outcomes[condition]))

    run_slabs(one, list(np.ndindex(raw.shape[:-1])), threads=_threads(context))
    context.progress.finish()
    remarks += doubtful.flats_of_another_day(raw, context.data["beam_intensity"])
    unfit = {(*at, e): reason for at, one in outcomes.items() for e, reason in one.unfit.items()}
    unfit |= {index: outcomes[index[:-1]].failed or "" for index in raw.scans if outcomes[index[:-1]].geometry is None}
    set_aside += [raw.put_aside(index, reason) for index, reason in sorted(unfit.items())]
    set_aside += _unfit(raw, outcomes, remarks)
    energy = np.asarray(raw.coords["energy"].values, dtype=np.float64)
    absorption = {(*at, e): value for at, one in outcomes.items() for e, value in one.absorption.items()}
    remarks += doubtful.energies_out_of_place(raw, absorption, energy)
    if not raw.scans:
        raise MeasurementError(
            "no scan fits into a series", where=context.name, found="; ".join({r: r for _, r, _ in set_aside})
        )
    return _dataset(raw, outcomes, set_aside, remarks)


def _outcome(context: Context, condition: ScanIndex) -> Outcome:
    """One temperature, solved; once more without the scans that have pulled the others."""
    energies = [index[-1] for index in sorted(context.raw.scans) if index[:-1] == condition]
    if len(energies) < 2:
        return Outcome(energies, None, "it is the only usable scan of its temperature", {}, {})
    absorption: dict[int, float] = {}
    unfit: dict[int, str] = {}
    try:
        progress = _Counted(context.progress, len(energies))
        geometry = _solve_temperature(context, condition, energies, absorption, progress)
        unlike = doubtful.unlike_the_others(geometry)
        if unlike:
            unfit = {energies[at]: reason for at, reason in unlike.items()}
            energies = [e for at, e in enumerate(energies) if at not in unlike]
            geometry = _solve_temperature(context, condition, energies, absorption, Silent())
    except MeasurementError as error:
        return Outcome(energies, None, error.problem, unfit, absorption)
    return Outcome(energies, geometry, None, unfit, absorption)


def note_from(outcome: Outcome) -> str:
    """An outcome as text from which `outcome_from` makes it again, to the bit."""
    geometry = None
    if outcome.geometry is not None:
        values = {field.name: getattr(outcome.geometry, field.name) for field in fields(SeriesGeometry)}
        geometry = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in values.items()}
    return json.dumps({**vars(outcome), "geometry": geometry})


def outcome_from(note: str) -> Outcome:
    """The outcome that `note_from` wrote."""
    content = json.loads(note)
    if content["geometry"] is not None:
        values: dict[str, Any] = {n: np.array(v) if n in _ARRAYS else v for n, v in content["geometry"].items()}
        values |= {name: tuple(values[name]) for name in ("reason", "remarks")}
        content["geometry"] = SeriesGeometry(**values)
    for name in ("unfit", "absorption"):  # keys of JSON are text
        content[name] = {int(energy): value for energy, value in content[name].items()}
    return Outcome(**content)


def _unfit(raw: RawMeasurement, outcomes: dict[ScanIndex, Outcome], remarks: list[str]) -> list[list[str]]:
    """Set aside the scans that a series was solved without; what is said of the others is added to the remarks."""
    set_aside = []
    for condition, one in sorted(outcomes.items()):
        if (geometry := one.geometry) is None:
            continue
        remarks += geometry.remarks
        for e, axis, reason in zip(one.energies, geometry.rotation_axis, geometry.reason, strict=True):
            if not np.isfinite(axis):
                set_aside.append(raw.put_aside((*condition, e), reason or "it does not fit into the series"))
            elif reason is not None:
                remarks.append(f"{doubtful.file_of(raw, (*condition, e))}: {reason}")
    return set_aside


def _solve_temperature(
    context: Context,
    condition: ScanIndex,
    energies: list[int],
    absorption: dict[int, float],
    progress: Progress,
) -> SeriesGeometry:
    """Geometry of the scans of one temperature; how much each absorbs is noted in passing."""
    raw, data = context.raw, context.data
    binning = _binning(raw)
    axis = np.array([float(data["survey_axis"][(*condition, e)]) for e in energies])
    if not np.isfinite(axis).any():
        raise MeasurementError(
            "no scan of this temperature has a rotation axis to begin with",
            where=context.name,
            cure="fix rotation_axis in the recipe",
        )
    axis = np.where(np.isfinite(axis), axis, np.nanmedian(axis))
    grid = grid_of([np.asarray(raw.scans[(*condition, e)]["angle"].values, dtype=np.float64) for e in energies])

    def depth(at: int) -> Floats:
        """Optical depth of one scan on the angles of the series."""
        values = _binned_depth(context, (*condition, energies[at]), binning)
        doubtful.require_open_beam(values)
        absorption[energies[at]] = doubtful.absorption_of(values)
        return grid.laid_on(at, values)

    binned = solve_series(
        _kept(context, depth, len(energies)),
        angle_deg=grid.angle,
        n_energies=len(energies),
        axis=_to_binned(axis, binning),
        magnification=_stated_magnification(context, condition, energies),
        options=_options(context, energies),
        progress=progress,
    )
    return _to_pixels(grid.taken_off(binned), binning)


def _kept(context: Context, depth: Callable[[int], Floats], count: int) -> Callable[[int], Floats]:
    """Scans as they are asked for, kept in memory as far as what is allowed holds them beside the registration."""
    kept: dict[int, Floats] = {}
    allowed = _allowed(context) / _threads(context) - _bytes_in_work(context)

    def read(at: int) -> Floats:
        """One scan, from memory if it is there."""
        if at in kept:
            return kept[at]
        values = depth(at)
        if values.nbytes * (len(kept) + 1) <= allowed:
            kept[at] = values
        return values

    return read


def _threads(context: Context) -> int:
    """Temperatures at a time: as many as there are threads, or as memory allows."""
    at_once = int(_allowed(context) / _bytes_in_work(context))
    return max(1, min(context.resources.threads, at_once))


def _allowed(context: Context) -> float:
    return context.resources.memory - _PROGRAM


def _bytes_in_work(context: Context) -> float:
    """Memory of one temperature being solved, scans that `_kept` keeps left out."""
    raw = context.raw
    bins = max(1, -(-(n_columns_of(raw.first) // _binning(raw)) // _SURVEY_COLUMNS)) ** 2
    return (_SCANS_IN_WORK + raw.shape[-1] / bins) * _bytes_of_scan(context)


def _bytes_of_scan(context: Context) -> float:
    scan, binning = context.raw.first, _binning(context.raw)
    return 4.0 * scan.sizes["projection"] * (n_rows_of(scan) // binning) * (n_columns_of(scan) // binning)


def _binning(raw: RawMeasurement) -> int:
    binning = 1
    while n_columns_of(raw.first) / binning > _LARGEST_COLUMNS:
        binning *= 2
    return binning


def _options(context: Context, energies: list[int]) -> SeriesOptions:
    section = context.section.tomography
    values = context.raw.coords["energy"].values
    return SeriesOptions(
        magnification="estimate" if section.magnification == "estimated" else "given",
        angle_offset="estimate" if section.angle_offset else "given",
        jitter=section.jitter != "none",
        components=_COMPONENTS if len(energies) >= _MANY_ENERGIES else 2,
        energy=tuple(float(values[e]) for e in energies),
    )


def _stated_magnification(context: Context, condition: ScanIndex, energies: list[int]) -> NDArray[np.float64]:
    """Magnification that the files state for each energy, relative to that of the volumes; 1 where they state none."""
    size = pixel_size_of(context.raw)
    if context.section.tomography.magnification != "files":
        return np.ones(len(energies))
    stated = [context.raw.scans[(*condition, e)].attrs.get("pixel_size", size) for e in energies]
    return np.array([size / float(one) for one in stated])


def _binned_depth(context: Context, index: ScanIndex, binning: int) -> Floats:
    """Optical depth [projection, row, column] of one scan, averaged over ``binning`` x ``binning`` pixels."""
    scan, section = context.raw.scans[index], context.section.tomography
    bad, offset = (at_temperature(context, name, index) for name in ("bad_pixel_mask", "stripe_offset"))
    count, n_rows, n_columns = scan.sizes["projection"], n_rows_of(scan), n_columns_of(scan)
    beam = np.asarray(context.data["beam_intensity"][index].values, dtype=np.float64)
    beam = np.array(np.broadcast_to(beam, (count,)) if beam.ndim == 0 else beam[:count])
    unit = max(SLAB_ROWS, binning)  # a bin is not divided between blocks
    at_once = max(int(_READ_AT_ONCE / (4.0 * count * n_columns)) // unit, 1) * unit
    depth = np.empty((count, n_rows // binning, n_columns // binning), dtype=np.float32)
    for rows in blocks_of(slice(0, n_rows), at_once):
        sinogram = sinogram_of_depth(optical_depth_of_rows(scan, rows, bad, beam, section), offset[rows], section)
        depth[:, rows.start // binning : rows.stop // binning] = _binned(sinogram, binning).transpose(1, 0, 2)
    return depth


def _binned(sinogram: Floats, binning: int) -> Floats:
    """[row, projection, column] averaged over rows and columns; rows and columns left over are dropped."""
    if binning == 1:
        return sinogram
    rows, columns = sinogram.shape[0] // binning, sinogram.shape[2] // binning
    cut = sinogram[: rows * binning, :, : columns * binning]
    shape = (rows, binning, sinogram.shape[1], columns, binning)
    return np.asarray(cut.reshape(shape).mean(axis=(1, 4), dtype=np.float32))


def _to_binned(column: NDArray[np.float64], binning: int) -> NDArray[np.float64]:
    """Position of the detector's columns among columns of ``binning`` pixels."""
    return (column - 0.5 * (binning - 1)) / binning


def _to_pixels(geometry: SeriesGeometry, binning: int) -> SeriesGeometry:
    """The same geometry in pixels of the detector."""
    if binning == 1:
        return geometry
    scaled = {
        name: binning * getattr(geometry, name)
        for name in (
            "rotation_axis_std",
            "specimen_shift",
            "specimen_shift_std",
            "projection_shift",
            "vertical_shift",
            "projection_shift_std",
            "vertical_shift_std",
        )
    }
    return replace(geometry, rotation_axis=binning * geometry.rotation_axis + 0.5 * (binning - 1), **scaled)


def _dataset(
    raw: RawMeasurement,
    outcomes: dict[ScanIndex, Outcome],
    set_aside: list[list[str]],
    remarks: list[str],
) -> xr.Dataset:
    size = pixel_size_of(raw)
    solved = {at: (one.energies, one.geometry) for at, one in outcomes.items() if one.geometry is not None}
    longest = max((geometry.projection_shift.shape[1] for _, geometry in solved.values()), default=1)
    pixels: dict[str, tuple[tuple[int, ...], Callable[[SeriesGeometry], NDArray[np.float64]]]] = {
        "rotation_axis": ((), lambda g: g.rotation_axis),
        "rotation_axis_std": ((), lambda g: g.rotation_axis_std),
        "magnification": ((), lambda g: g.magnification),
        "magnification_std": ((), lambda g: g.magnification_std),
        "angle_offset": ((), lambda g: g.angle_offset),
        "angle_offset_std": ((), lambda g: g.angle_offset_std),
        "specimen_shift": ((3,), lambda g: size * g.specimen_shift),
        "specimen_shift_std": ((3,), lambda g: size * g.specimen_shift_std),
        "projection_shift": ((longest,), lambda g: g.projection_shift),
        "vertical_shift": ((longest,), lambda g: g.vertical_shift),
        "geometry_residual": ((), lambda g: g.residual),
    }
    arrays = []
    for name, (more, of) in pixels.items():
        values = np.full((*raw.shape, *more), np.nan)
        for condition, (energies, geometry) in solved.items():
            found = of(geometry)
            for e, one in zip(energies, found, strict=True):
                at: tuple[int | slice, ...] = (*condition, e, *((slice(0, np.size(one)),) if more else ()))
                values[at] = one
        dims = (*raw.dims, *({3: "axis"}.get(n, "projection") for n in more))
        source = "fit covariance" if name.endswith("_std") else None
        arrays.append(label(name, values, dims, coords=raw.coords, std_source=source))
    arrays[0].attrs |= {"set_aside": set_aside, "remarks": list(dict.fromkeys(remarks))}
    return dataset(arrays)


STEP = Step(
    "series geometry",
    solve,
    needs=(RAW, "bad_pixel_mask", "stripe_offset", "beam_intensity", "survey_axis"),
    makes=(
        "rotation_axis",
        "rotation_axis_std",
        "magnification",
        "magnification_std",
        "angle_offset",
        "angle_offset_std",
        "specimen_shift",
        "specimen_shift_std",
        "projection_shift",
        "vertical_shift",
        "geometry_residual",
    ),
    choices=("tomography",),
)
