"""The scans of a series as the solver reads them: one angle grid, two resolutions, what is wrong with each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.core.parallel import Progress
from cathoscope.tomography.series_levels import Level, Scan, binned_depth, level_of

FloatArray = NDArray[np.floating]
Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_FINAL_COLUMNS, _SURVEY_COLUMNS = 256, 64
_LARGEST_RIM = 0.05  # optical depth at the rim of the view, relative to the largest
_MEMBERS = 8  # every so manieth projection tells the noise
_LEAST_PROJECTIONS = 8
_QUIET, _QUIET_NORMAL = 0.2, 0.25335  # a share of pixels, and what a normal deviate of unit variance stays below in it


@dataclass(frozen=True)
class Angles:
    """The angles that the scans of a series share.

    Attributes
    ----------
    order
        Numbers of the projections by ascending angle, those without any angle left out, ``[member]``.
    common
        Angles in deg, ``[member]``.
    difference
        Of every scan from the common ones, rad, zero where not usable, ``[energy, member]``.
    usable
        Projections whose angle is known and near the common one, ``[energy, member]``.
    n_projections
        Of the scans as recorded.
    """

    order: NDArray[np.int64]
    common: Float64Array
    difference: Float64Array
    usable: BoolArray
    n_projections: int


def common_angles(angle_deg: FloatArray, n_energies: int) -> Angles:
    """The median angle of every projection, and how far scans are off it (half a step at most, else not usable).

    Raises
    ------
    MeasurementError
        If there are too few angles or they are not ``[projection]`` or ``[energy, projection]``.
    """
    given = np.asarray(angle_deg, dtype=np.float64)
    if given.ndim == 1:
        given = np.broadcast_to(given, (n_energies, given.size))
    known = np.isfinite(given).any(axis=0) if given.ndim == 2 else np.zeros(0, dtype=bool)
    if given.ndim != 2 or len(given) != n_energies or known.sum() < _LEAST_PROJECTIONS:
        raise MeasurementError(
            "the angles do not make a series of tomograms",
            expected=f"[projection] or [{n_energies}, projection], {_LEAST_PROJECTIONS} projections or more",
            found=f"shape {given.shape}, {int(known.sum())} projections with an angle",
        )
    common = np.full(known.size, np.inf)
    common[known] = np.nanmedian(given[:, known], axis=0)
    order = np.argsort(common, kind="stable")[: int(known.sum())]
    chosen = common[order]
    off = given[:, order] - chosen
    usable = np.abs(np.nan_to_num(off, nan=np.inf)) <= 0.5 * np.median(np.diff(chosen))
    return Angles(order, chosen, np.where(usable, np.deg2rad(off), 0.0), usable, known.size)


@dataclass
class Scans:
    """A series at its two resolutions; survey scans are held, final ones read again each time.

    Attributes
    ----------
    angles
        Shared by all scans.
    survey, final
        Levels.
    held
        Survey scans, ``[energy]``.
    noise
        Of the optical depth of a final pixel where the beam is open, ``[energy]``.
    reason
        Why a scan is not used or should be looked at, ``[energy]``.
    """

    angles: Angles
    survey: Level
    final: Level
    held: list[Scan | None]
    noise: Float64Array
    reason: list[str | None]
    _read: Callable[[int], FloatArray] = field(repr=False)

    def at(self, level: Level) -> Callable[[int], Scan | None]:
        """Scans at the survey's or the final level; None where one cannot be read."""
        if level.binning == self.survey.binning:
            return lambda energy: self.held[energy]

        def read(energy: int) -> Scan | None:
            """One scan, or None if it was set aside."""
            return None if self.held[energy] is None else _scan(self._read(energy), self.angles, energy, self.final)

        return read

    def drop(self, energy: int, reason: str) -> None:
        """Use a scan no more."""
        self.held[energy] = None
        self.reason[energy] = reason


def read_scans(depth: Callable[[int], FloatArray], angles: Angles, binning: int | None, progress: Progress) -> Scans:
    """Read every scan once, for the survey, its noise and its rim.

    Raises
    ------
    MeasurementError
        If scans differ in shape or none can be read.
    """
    count = len(angles.usable)
    held: list[Scan | None] = [None] * count
    reason: list[str | None] = [None] * count
    noise = np.full(count, np.nan)
    levels: tuple[Level, Level] | None = None
    progress.start("survey of the series", count, "scans")
    for energy in range(count):
        try:
            values = depth(energy)
            levels = levels or _levels(values, binning)
            _check_shape(values, angles, levels[1])
            held[energy] = _scan(values, angles, energy, levels[0])
        except MeasurementError as error:
            reason[energy] = error.problem
            progress.advance()
            continue
        noise[energy] = _noise(_scan(values, angles, energy, levels[1], every=_MEMBERS))
        if _rim(held[energy]) > _LARGEST_RIM:
            reason[energy] = "the specimen leaves the field of view"
        progress.advance()
    progress.finish()
    if levels is None:
        raise MeasurementError("no scan of the series can be read", found="; ".join(sorted({str(r) for r in reason})))
    return Scans(angles, levels[0], levels[1], held, noise, reason, depth)


def _levels(values: FloatArray, binning: int | None) -> tuple[Level, Level]:
    """Of the survey and of the final pass."""
    rows, columns = values.shape[1:]
    final = binning or -(-columns // _FINAL_COLUMNS)
    coarser = max(1, -(-columns // (final * _SURVEY_COLUMNS)))
    return level_of((rows, columns), final * coarser), level_of((rows, columns), final)


def _check_shape(values: FloatArray, angles: Angles, level: Level) -> None:
    binned = tuple(size // level.binning for size in values.shape[1:])
    if values.ndim != 3 or values.shape[0] > angles.n_projections or binned != level.shape:
        raise MeasurementError(
            "the scan does not fit the series",
            expected=f"[projection, row, column], up to {angles.n_projections} projections",
            found=f"shape {values.shape}",
        )


def _scan(values: FloatArray, angles: Angles, energy: int, level: Level, every: int = 1) -> Scan:
    """A scan by ascending angle; projections that it lacks or that are not finite are zero and not usable."""
    order = angles.order[::every]
    usable = angles.usable[energy, ::every] & (order < len(values))
    depth = np.zeros((order.size, *level.shape), dtype=np.float32)
    depth[usable] = binned_depth(values[order[usable]], level)
    finite = np.isfinite(depth).all(axis=(1, 2))
    depth[~finite] = 0.0
    return Scan(depth, angles.difference[energy, ::every], usable & finite)


def _noise(scan: Scan) -> float:
    """Standard deviation of the optical depth where the beam is open, from fourth differences along rows."""
    image = scan.depth[scan.usable]
    if not image.size:
        return float("nan")
    fourth = np.diff(image, n=4, axis=2) * np.exp(-0.5 * np.maximum(image[:, :, 2:-2], 0.0))
    # the quietest pixels: those beside the specimen, whose own structure is not noise
    return float(np.quantile(np.abs(fourth), _QUIET) / _QUIET_NORMAL / np.sqrt(70.0))


def _rim(scan: Scan | None) -> float:
    """Largest mean optical depth along one of the four rims of the view, relative to the largest anywhere."""
    if scan is None or not scan.usable.any():
        return 0.0
    image = scan.depth[scan.usable]
    largest = float(np.percentile(image, 99.5))
    sides = (
        image[:, :2].mean(axis=1),
        image[:, -2:].mean(axis=1),
        image[..., :2].mean(axis=2),
        image[..., -2:].mean(axis=2),
    )
    # half of the pixels of a side at a quarter of the projections: a noisy pixel says nothing
    highest = max(float(np.percentile(np.percentile(side, 80, axis=1), 75)) for side in sides)
    return highest / largest if largest > 0 else 0.0
