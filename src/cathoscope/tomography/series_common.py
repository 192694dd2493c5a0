"""What all scans of a series have in common: the motion of their mean, from its consistency as a tomogram.

Registered against each other, scans share one set of mean projections, whose own rotation axis and jitter are still
to be found. The centre of mass of a projection follows a sinusoid, which fixes the slow part of the motion (it is the
first of the moment conditions of Helgason and Ludwig); the rest comes from reprojection: the mean is reconstructed,
projected again, and every projection registered against that, until it is still (projection matching; Dengler,
Ultramicroscopy 30, 337, 1989).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cathoscope.tomography.align import (
    axis_or_problem,
    rotation_axis_from_centre_of_mass,
    rotation_axis_from_mirror,
)
from cathoscope.tomography.motion import Motion, band_passed, model_of, register_scan, spline_coefficients
from cathoscope.tomography.project import project
from cathoscope.tomography.reconstruct import Plan, plan_reconstruction, reconstruct
from cathoscope.tomography.series_kernels import accumulate

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]

_STILL = 0.002  # px, root mean square of the last change
_ROUNDS = 3  # of reprojection where the centre of mass can be trusted
_ROUNDS_WITHOUT_MASS = 25
# What slowly varies with the angle stays as the centre of mass found it, the rest follows from reprojection; measured
# on virtual studies, a quarter of the centre of mass's variance is left.
_MASS_SHARE = 0.25
_VARIANCE_WITHOUT_MASS = 4.0
_TILES = 8  # of the detector, along each edge
_OPEN = 0.02  # of the largest optical depth: the beam beside the object


@dataclass(frozen=True)
class CommonMotion:
    """Motion of the mean projections.

    Attributes
    ----------
    column
        Detector column of the axis and jitter minus the detector's middle, px, ``[projection]``.
    row
        Vertical jitter, px, of mean zero, ``[projection]``.
    column_variance, row_variance
        Of them, px², ``[projection]``.
    axis_std
        Of the axis, which all projections share, px: from what a pixel of the detector shows in all of them.
    rounds
        Rounds of reprojection.
    change
        Root mean square change in the last round, px.
    remark
        Why the centre of mass was not used, or None.
    """

    column: Float64Array
    row: Float64Array
    column_variance: Float64Array
    row_variance: Float64Array
    axis_std: float
    rounds: int
    change: float
    remark: str | None


def common_motion(
    mean: Float32Array, angle_deg: Float64Array, middle: tuple[float, float], start_axis: float
) -> CommonMotion:
    """Motion of the projections ``[projection, row, column]`` of one object at ascending ``angle_deg``.

    ``middle`` is the optical axis (row, column) in px; ``start_axis`` is the column of the rotation axis to begin
    with where neither the centre of mass nor mirrored projections tell one.
    """
    column, row, remark = _first_guess(mean, angle_deg, middle, start_axis)
    plan = plan_reconstruction(angle_deg, mean.shape[2])
    usable = np.ones(len(mean), dtype=bool)
    motion = Motion(column, row, 1.0, 0.0, np.ones(1), usable)
    rounds, change, noise = 0, np.inf, 0.0
    variance = np.zeros((2, len(mean)))
    while rounds < (_ROUNDS if remark is None else _ROUNDS_WITHOUT_MASS) and change > _STILL:
        model = model_of(_reprojected(mean, plan, motion, middle)[None], np.deg2rad(angle_deg), middle)
        found = register_scan(mean, model, motion, np.zeros(len(mean)), free=(False, False), steps=2)
        change = float(np.sqrt(np.mean((found.motion.column_shift - motion.column_shift) ** 2)))
        # a projection that fits badly is moved back rather than lost: it is the mean of many
        kept = found.motion.usable
        motion = replace(
            motion,
            column_shift=np.where(kept, found.motion.column_shift, motion.column_shift),
            row_shift=np.where(kept, found.motion.row_shift, motion.row_shift),
        )
        motion = replace(motion, row_shift=motion.row_shift - motion.row_shift.mean())
        variance, noise = np.stack([found.column_variance, found.row_variance]), found.noise
        rounds += 1
    variance = np.where(np.isfinite(variance), variance, np.nanmax(variance, axis=1, keepdims=True))
    if remark is None:
        variance[0] += _MASS_SHARE * _centre_of_mass_variance(mean, noise)
    else:
        variance *= _VARIANCE_WITHOUT_MASS
    still = moved_back(mean, motion.column_shift, motion.row_shift, middle)
    axis_std = _axis_std(still, _reprojected(mean, plan, motion, middle), remark is None)
    moved = motion.column_shift, motion.row_shift
    return CommonMotion(*moved, variance[0], variance[1], axis_std, rounds, change, remark)


def moved_back(
    images: Float32Array, column: Float64Array, row: Float64Array, middle: tuple[float, float]
) -> Float32Array:
    """Images ``[projection, row, column]`` without their motion (px, ``[projection]``), the axis in the middle."""
    result: Float32Array = np.zeros((1, *images.shape), dtype=np.float32)
    place, everywhere = np.stack([column, row], axis=1), np.ones(len(images), dtype=bool)
    accumulate(spline_coefficients(images), (*middle, 1.0), place, np.ones(1), everywhere, result)
    return np.asarray(result[0])


def _axis_std(still: Float32Array, reprojected: Float32Array, by_mass: bool) -> float:
    """Uncertainty of the axis in px, from the misfit of the reprojection and from what the open beam shows.

    What a pixel of the detector adds to all projections alike, of the flats or a stripe, averages out over pixels and
    not over projections. So the scores of the axis are summed over projections and over tiles of the detector, and
    these taken as independent (White's sandwich).
    """
    everywhere = np.ones(len(still), dtype=bool)
    slope = np.gradient(band_passed(reprojected, everywhere), axis=2)
    score = np.sum(slope * band_passed(still - reprojected, everywhere), axis=0, dtype=np.float64)
    tiles = [tile.sum() for row in np.array_split(score, _TILES) for tile in np.array_split(row, _TILES, axis=1)]
    variance = np.sum(np.square(tiles)) / max(float(np.sum(slope**2, dtype=np.float64)), 1e-300) ** 2
    if by_mass:
        variance += _MASS_SHARE * _pattern_of_mass(still, reprojected)
    return float(np.sqrt(variance))


def _pattern_of_mass(still: Float32Array, reprojected: Float32Array) -> float:
    """Variance of the centre of mass, px², from what the columns show where no projection has the object.

    A reconstruction takes a stripe for a ring, so that the misfit does not show it; the open beam does.
    """
    highest = reprojected.max(axis=0)
    open_beam = highest < _OPEN * highest.max()
    seen = open_beam.sum(axis=0)
    if not seen.any():
        return 0.0
    column = np.sum(np.where(open_beam, still.mean(axis=0, dtype=np.float64), 0.0), axis=0) / np.maximum(seen, 1)
    column = np.where(seen > 0, column - column[seen > 0].mean(), 0.0)
    moment = len(highest) * column * (np.arange(column.size) - 0.5 * (column.size - 1))
    strips = [strip.sum() for strip in np.array_split(moment, 2 * _TILES)]
    mass = float(still.sum(axis=(1, 2), dtype=np.float64).mean())
    return float(np.sum(np.square(strips))) / mass**2 * column.size / int(np.count_nonzero(seen))


def _reprojected(mean: Float32Array, plan: Plan, motion: Motion, middle: tuple[float, float]) -> Float32Array:
    """The mean projections as their own reconstruction shows them, without motion, ``[projection, row, column]``."""
    level = moved_back(mean, np.zeros(len(mean)), motion.row_shift, middle)
    sinogram = np.ascontiguousarray(level.transpose(1, 0, 2))
    axis = float(motion.column_shift.mean())
    volume = reconstruct(plan, sinogram, middle[1] + axis, motion.column_shift - axis, 1.0)
    return np.ascontiguousarray(project(plan, volume, middle[1], None, 1.0).transpose(1, 0, 2))


def _first_guess(
    mean: Float32Array, angle_deg: Float64Array, middle: tuple[float, float], start_axis: float
) -> tuple[Float64Array, Float64Array, str | None]:
    """Column and row motion from the centre of mass, else the axis alone and no jitter; and why."""
    still = np.zeros(len(mean))
    mass = axis_or_problem(lambda: rotation_axis_from_centre_of_mass(column_sum=mean.sum(axis=1), angle_deg=angle_deg))
    if not isinstance(mass, str) and mass.reason is None:
        profile = mean.sum(axis=2, dtype=np.float64)
        row = profile @ np.arange(mean.shape[1]) / profile.sum(axis=1)
        return mass.axis - middle[1] + mass.jitter, row - row.mean(), None
    remark = mass if isinstance(mass, str) else str(mass.reason)
    sinogram = np.ascontiguousarray(mean.transpose(1, 0, 2))
    mirror = axis_or_problem(lambda: rotation_axis_from_mirror(sinogram=sinogram, angle_deg=angle_deg))
    axis = start_axis if isinstance(mirror, str) or mirror.reason is not None else mirror.axis
    return still + axis - middle[1], still, remark


def _centre_of_mass_variance(mean: Float32Array, noise: float) -> Float64Array:
    """Variance of the centre of mass along columns, px², ``[projection]``, from noise where the beam is open."""
    mass = mean.sum(axis=(1, 2), dtype=np.float64)
    column = np.arange(mean.shape[2])
    centre = mean.sum(axis=1, dtype=np.float64) @ column / mass
    power = np.exp(np.clip(mean, 0.0, 4.0)).sum(axis=1, dtype=np.float64)
    spread = np.sum(power * (column - centre[:, None]) ** 2, axis=1) / mass**2
    return np.asarray(noise**2 * spread)
