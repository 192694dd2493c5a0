"""Geometry of a whole series of scans of one specimen, one scan per energy, solved once and consistently.

A point (x, y, z) of the specimen, in px of the detector at magnification 1, is seen in projection p at energy e at

    column = axis_e + jitter_ep + M_e ((x + dx_e) cos(theta_ep) + (y + dy_e) sin(theta_ep))
    row    = middle + vertical_ep + M_e (z + dz_e),      theta_ep = recorded angle + angle offset_e

with the magnification M about the middle of the detector (the axis is the magnified one). What no measurement can
tell is fixed by convention: the displacements of the series have mean zero; the jitter contains no constant, cosine
or sine of the angle and the vertical jitter no constant (they would be a move of the axis or of the specimen); the
logarithms of the magnification keep the mean of the values given, or have mean zero; angle offsets have mean zero.

Every projection is registered against mean projections of the series (`motion`), from a binned survey to the full
detector; the motion of the mean itself comes from its consistency as a tomogram (`series_common`); the shifts are then
split into their causes (`series_split`). What differs between energies beyond their strength, the chemistry, is
described by more components of the mean. It cannot be told from a motion by a single scan where it looks like one: a
rim that absorbs more looks like a larger specimen. A band-pass keeps to sharp structure, which chemistry has less of;
the rest is estimated in the volume and taken off, and what may be left of it is stated (`series_chemistry`); a
magnification that is estimated is held to a line in energy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.core.parallel import Progress, Silent
from cathoscope.tomography.motion import Motion, Registration
from cathoscope.tomography.series_chemistry import ChemistryFree, chemistry_free
from cathoscope.tomography.series_common import CommonMotion, common_motion
from cathoscope.tomography.series_levels import (
    Passed,
    Scan,
    component_weights,
    finer,
    first_motions,
    pass_over,
)
from cathoscope.tomography.series_scans import Scans, common_angles, read_scans
from cathoscope.tomography.series_split import Shifts, Split, linear_law, split_shifts

FloatArray = NDArray[np.floating]
Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_SURVEY_PASSES = 2
_TINY = 1e-12  # optical depth; simulated data may have no noise at all
_LEAST_USABLE = 0.5  # of the projections of a scan
_LARGEST_MISFIT = 4.0  # of a scan over its own noise, relative to the median of the series
_LARGEST_LEVERAGE = 0.9  # of a scan on the components that it is compared with
_LEAST_SIGNIFICANCE = 5.0  # of the weight of the mean image in a scan
_LARGEST_SCALE = 0.02  # by which a magnification may differ from its start


@dataclass(frozen=True)
class SeriesOptions:
    """How a series is solved.

    Attributes
    ----------
    binning
        Pixels of the detector that are averaged along each axis; as many as leave at most 256 columns if None.
    components
        Images that a series is a sum of: 1 without chemistry, 2 or 3 with it.
    iterations
        Passes at the final resolution, 1 or more; one more where magnifications are held to a line.
    magnification
        "given": the values given are held; "estimate": every energy's is found.
    law
        Of estimated magnifications: "linear" in the energy (where energies are given), or "free".
    angle_offset
        Whether the angle offset of each energy is found, or zero. Chemistry that is not symmetric about the axis
        feigns a turn, so leave it unless the stage is known to slip.
    jitter
        Whether projections move; without, only the scans do.
    energy
        Of the scans in eV; an estimated magnification can be held to a line only where given.
    """

    binning: int | None = None
    components: int = 2
    iterations: int = 1
    magnification: Literal["estimate", "given"] = "given"
    law: Literal["linear", "free"] = "linear"
    angle_offset: Literal["estimate", "given"] = "given"
    jitter: bool = True
    energy: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("binning", "components", "iterations"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise MeasurementError(f"the {name} of a series are too few", expected="1 or more", found=str(value))


@dataclass(frozen=True)
class SeriesGeometry:
    """Geometry of a series; lengths in px of the detector, nan for a scan that is not used.

    Attributes
    ----------
    rotation_axis, rotation_axis_std
        Column of the rotation axis, ``[energy]``.
    magnification, magnification_std
        ``[energy]``; the uncertainty is zero where the magnification was given.
    specimen_shift, specimen_shift_std
        Displacement of the specimen along x, y, z, ``[energy, 3]``, of mean zero.
    angle_offset, angle_offset_std
        Deg, to be added to the recorded angles, ``[energy]``, of mean zero.
    projection_shift, vertical_shift
        Jitter along columns and rows, ``[energy, projection]``; zero for projections that are not usable.
    projection_shift_std, vertical_shift_std
        Of the jitter as measured, ``[energy, projection]``.
    usable
        Projections that fit the others, ``[energy, projection]``.
    residual
        Misfit after registration over the noise of the optical depth, ``[energy]``: 1 where nothing is left.
    binning
        Of the final pass.
    reason
        Why a scan is not used, or should be looked at, ``[energy]``; None for one that is fine.
    remarks
        About the series as a whole.
    """

    rotation_axis: Float64Array
    rotation_axis_std: Float64Array
    magnification: Float64Array
    magnification_std: Float64Array
    specimen_shift: Float64Array
    specimen_shift_std: Float64Array
    angle_offset: Float64Array
    angle_offset_std: Float64Array
    projection_shift: Float64Array
    vertical_shift: Float64Array
    projection_shift_std: Float64Array
    vertical_shift_std: Float64Array
    usable: BoolArray
    residual: Float64Array
    binning: int
    reason: tuple[str | None, ...]
    remarks: tuple[str, ...]

    @property
    def rejected(self) -> NDArray[np.int64]:
        """Number of projections that are not usable, ``[energy]``."""
        return np.asarray(np.sum(~self.usable, axis=1))


@dataclass(frozen=True)
class _Start:
    """What the caller knows: axis in px, magnification, and energies in eV or None; all ``[energy]``."""

    axis: Float64Array
    magnification: Float64Array
    energy: Float64Array | None


def solve_series(
    depth: Callable[[int], FloatArray],
    *,
    angle_deg: FloatArray,
    n_energies: int,
    axis: ArrayLike,
    magnification: ArrayLike | None = None,
    options: SeriesOptions | None = None,
    progress: Progress | None = None,
) -> SeriesGeometry:
    """Geometry of all scans of a series.

    Parameters
    ----------
    depth
        Optical depth ``[projection, row, column]`` of a scan by its number. Asked for once where the scans have at
        most 64 columns, and are then held; else 2 + ``iterations`` times, and only bins of 64 columns are held. It
        may raise MeasurementError: that scan is then named and not used.
    angle_deg
        Recorded angles in deg in any order, ``[projection]`` or ``[energy, projection]``; nan for projections that
        a scan does not have. Scans may differ by half a step.
    n_energies
        Number of scans.
    axis
        Column of the rotation axis to begin with, ``[energy]`` or one number. Used only where the specimen leaves the
        field of view.
    magnification
        Relative to that of ``pixel size``; 1 if None, ``[energy]``.
    options, progress
        How it is solved, and who watches.

    Raises
    ------
    MeasurementError
        If angles, axis or magnification do not fit each other, or no scan can be used.
    """
    options, progress = options or SeriesOptions(), progress or Silent()
    angles = common_angles(angle_deg, n_energies)
    start = _start(n_energies, axis, magnification, options.energy)
    scans = read_scans(depth, angles, options.binning, progress)
    course = _registered(scans, start, options, progress)
    return _assembled(scans, course, start, options)


def _start(count: int, axis: ArrayLike, magnification: ArrayLike | None, energy: tuple[float, ...] | None) -> _Start:
    given = {"axis": axis, "magnification": 1.0 if magnification is None else magnification, "energy": energy}
    values: dict[str, Float64Array] = {}
    for name, value in given.items():
        if value is None:
            continue
        array = np.asarray(value, dtype=np.float64)
        if array.shape not in ((), (count,)) or (name == "magnification" and not (array > 0).all()):
            raise MeasurementError(
                f"the {name} does not fit the series",
                expected=f"one number, or one for each of {count} scans",
                found=f"shape {array.shape}, values from {np.min(array, initial=np.inf):g}",
            )
        values[name] = np.array(np.broadcast_to(array, (count,)))
    return _Start(values["axis"], values["magnification"], values.get("energy"))


@dataclass(frozen=True)
class _Solved:
    """Registrations of the last pass, with what it left, and uncertainties of the logarithms of magnification."""

    found: list[Registration | None]
    motions: list[Motion | None]
    components: Float32Array
    log_std: Float64Array

    @property
    def weights(self) -> Float64Array:
        """Of the components in every scan, ``[energy, component]``, nan without a scan."""
        nothing = np.full(len(self.components), np.nan)
        return np.stack([nothing if motion is None else motion.weight for motion in self.motions])


def _registered(scans: Scans, start: _Start, options: SeriesOptions, progress: Progress) -> _Solved:
    """From the first guess at the survey's resolution to the last pass at the final one."""
    angle, free = np.deg2rad(scans.angles.common), _free(options)
    linear = free[0] and options.law == "linear" and start.energy is not None
    passes = 1 + options.iterations + linear
    progress.start("geometry of the series", passes * len(scans.held), "scans")
    passed = _surveyed(scans, start, options)
    level, read = scans.final, _counted(scans.at(scans.final), progress)
    variance = _log_variance(passed.found)
    passed = pass_over(read, passed.motions, angle, level, None, free)
    for iteration in range(options.iterations + linear):
        if linear and iteration == options.iterations and start.energy is not None:
            passed, variance = _on_a_line(passed, variance, start.energy)
            free = (False, free[1])
        before = passed.components
        passed = _weeded(scans, pass_over(read, passed.motions, angle, level, before, free))
        variance = _log_variance(passed.found) if free[0] or options.magnification == "given" else variance
    passed = _with_leverage(passed)
    if free[0]:
        variance = _log_variance(passed.found)
    progress.finish()
    return _Solved(passed.found, passed.motions, passed.components, np.sqrt(variance))


def _counted(read: Callable[[int], Scan | None], progress: Progress) -> Callable[[int], Scan | None]:
    """The same scans, each told as it is read: every pass asks once for each."""

    def counted(energy: int) -> Scan | None:
        """One scan."""
        progress.advance()
        return read(energy)

    return counted


def _free(options: SeriesOptions) -> tuple[bool, bool]:
    return options.magnification == "estimate", options.angle_offset == "estimate"


def _surveyed(scans: Scans, start: _Start, options: SeriesOptions) -> Passed:
    """Registered at the survey's resolution; the motions are in pixels of the final one."""
    angle, level, read = np.deg2rad(scans.angles.common), scans.survey, scans.at(scans.survey)
    guess = first_motions(read, start.magnification, angle)
    for energy, motion in enumerate(guess):
        if motion is None and scans.held[energy] is not None:
            scans.drop(energy, "the scan shows nothing")
    if all(motion is None for motion in guess):
        raise MeasurementError(
            "no scan of the series can be used", found="; ".join(sorted(set(map(str, scans.reason))))
        )
    passed = pass_over(read, guess, angle, level, None, _free(options))
    for _ in range(_SURVEY_PASSES):
        count = sum(motion is not None for motion in passed.motions)
        passed = pass_over(read, passed.motions, angle, level, passed.components, _free(options))
        passed = _weeded(scans, passed)
        if sum(motion is not None for motion in passed.motions) < count:
            # what was dropped has pulled the others: once more against a mean without it
            clean = pass_over(read, passed.motions, angle, level, None, _free(options)).components
            passed = _weeded(scans, pass_over(read, passed.motions, angle, level, clean, _free(options)))
    motions = passed.motions
    if sum(motion is not None for motion in motions) > options.components > 1:
        motions = component_weights(read, motions, passed.components[0], level, options.components)
    ratio = level.binning / scans.final.binning
    return replace(passed, motions=[None if motion is None else finer(motion, ratio) for motion in motions])


def _mean_projections(solved: _Solved) -> Float32Array:
    """Sum of the components with the mean of the scans' weights, ``[projection, row, column]``."""
    mean = np.nanmean(solved.weights, axis=0)
    return np.asarray(np.einsum("k,kprc->prc", mean, solved.components), dtype=np.float32)


def _with_leverage(passed: Passed) -> Passed:
    """Noise and variances of scans that the components partly copy: the misfit of a scan is small by its leverage."""
    weights = {energy: motion.weight for energy, motion in enumerate(passed.motions) if motion is not None}
    matrix = np.stack(list(weights.values()))
    share = np.einsum("ek,kj,ej->e", matrix, np.linalg.pinv(matrix.T @ matrix), matrix)
    factor = dict(zip(weights, 1.0 / (1.0 - np.minimum(share, _LARGEST_LEVERAGE)), strict=True))
    found = [
        one if one is None or energy not in factor or len(factor) == 1 else one.with_variance(float(factor[energy]))
        for energy, one in enumerate(passed.found)
    ]
    return replace(passed, found=found)


def _log_variance(found: list[Registration | None]) -> Float64Array:
    return np.array([np.nan if one is None else one.shared_covariance[0, 0] for one in found])


def _weeded(scans: Scans, passed: Passed) -> Passed:
    """Without the scans that cannot be registered, which are named."""
    misfit = np.array([np.nan if one is None else one.noise for one in passed.found]) / np.maximum(scans.noise, _TINY)
    motions = list(passed.motions)
    kept = [one for one in passed.found if one is not None]
    scale = np.median([one.motion.magnification for one in kept]) if kept else 1.0
    for energy, one in enumerate(passed.found):
        reason = None if one is None else _why_not(one, misfit[energy] / np.nanmedian(misfit), float(scale))
        if reason is not None:
            scans.drop(energy, scans.reason[energy] or reason)  # what was seen at first is the cause
            motions[energy] = None
    if all(motion is None for motion in motions):
        raise MeasurementError(
            "no scan of the series can be used", found="; ".join(sorted(set(map(str, scans.reason))))
        )
    return replace(passed, motions=motions)


def _why_not(found: Registration, misfit: float, scale: float) -> str | None:
    """Why a scan cannot be used, or None; ``misfit`` is relative to the other scans."""
    motion = found.motion
    if motion.usable.mean() < _LEAST_USABLE:
        return "most of its projections do not fit the series"
    # beside other components the first one's weight is a matter of how they are divided
    if motion.weight.size == 1 and not motion.weight[0] > _LEAST_SIGNIFICANCE * np.sqrt(found.weight_variance):
        return "the scan shows nothing that the others show"
    if misfit > _LARGEST_MISFIT:
        return "the scan does not look like the others"
    if abs(np.log(motion.magnification / scale)) > _LARGEST_SCALE:
        return "its magnification cannot be found"
    return None


def _on_a_line(passed: Passed, variance: Float64Array, energy: Float64Array) -> tuple[Passed, Float64Array]:
    """Magnifications made linear in the energy, and the variances of their logarithms."""
    used = np.array([motion is not None for motion in passed.motions])
    motions = [motion for motion in passed.motions if motion is not None]
    logarithm = np.log([motion.magnification for motion in motions])
    nuisance = np.stack([motion.weight[1:] / motion.weight[0] for motion in motions])
    line, std = linear_law(logarithm, variance[used], energy[used], nuisance)
    straight = iter(np.exp(line).tolist())
    moved = [None if motion is None else replace(motion, magnification=next(straight)) for motion in passed.motions]
    result = np.full(variance.size, np.nan)
    result[used] = std**2
    return replace(passed, motions=moved), result


def _assembled(scans: Scans, solved: _Solved, start: _Start, options: SeriesOptions) -> SeriesGeometry:
    """Common motion added, split into causes, conventions applied, in pixels and the order of the detector."""
    level, angles = scans.final, scans.angles
    axis = float(np.median(start.axis))
    binned_axis = (axis - level.origin[1] - 0.5 * (level.binning - 1)) / level.binning
    common = common_motion(_mean_projections(solved), angles.common, level.middle, binned_axis)
    weights, radians = solved.weights, np.deg2rad(angles.common)
    free = chemistry_free(solved.components, weights[:, 1:] / weights[:, :1], radians, level.middle, common)
    used = np.array([one is not None for one in solved.found])
    relative = np.log([one.motion.magnification if one else np.nan for one in solved.found])
    magnification = np.exp(relative - relative[used].mean() + np.log(start.magnification[used]).mean())
    parts: list[Split | None] = []
    for energy, one in enumerate(solved.found):
        if one is None:
            parts.append(None)
            continue
        theta = radians + angles.difference[energy] + one.motion.angle_offset
        shifts = _shifts(one, common, free, energy)
        parts.append(split_shifts(shifts, theta, float(magnification[energy]), jitter=options.jitter))
    return _geometry(scans, solved, (common, free), magnification, parts)


def _shifts(found: Registration, common: CommonMotion, free: ChemistryFree | None, energy: int) -> Shifts:
    """Shifts of one scan from the detector's middle: its own against the mean, and the mean's as it sees them."""
    motion = found.motion
    feigned = np.zeros(2) if free is None else np.nan_to_num(free.projection_variance[energy])
    return Shifts(
        column=motion.column_shift + motion.magnification * common.column,
        row=motion.row_shift + motion.magnification * common.row,
        column_variance=found.column_variance + common.column_variance + feigned[0],
        row_variance=found.row_variance + common.row_variance + feigned[1],
        usable=motion.usable,
    )


def _geometry(
    scans: Scans,
    solved: _Solved,
    shared: tuple[CommonMotion, ChemistryFree | None],
    magnification: Float64Array,
    parts: list[Split | None],
) -> SeriesGeometry:
    common, free = shared
    size, angles, count = float(scans.final.binning), scans.angles, len(parts)
    modes, modes_std = np.full((count, 4), np.nan), np.full((count, 4), np.nan)
    motion = np.zeros((4, count, angles.n_projections))
    usable = np.zeros((count, angles.n_projections), dtype=bool)
    offset, offset_std, residual = (np.full(count, np.nan) for _ in range(3))
    for energy, (part, one) in enumerate(zip(parts, solved.found, strict=True)):
        if part is None or one is None:
            continue
        modes[energy] = [part.offset, *part.displacement]
        modes_std[energy] = [part.offset_std, *part.displacement_std]
        usable[energy, angles.order] = one.motion.usable
        of_shifts = _shifts(one, common, free, energy)
        std = [np.sqrt(of_shifts.column_variance), np.sqrt(of_shifts.row_variance)]
        motion[:, energy, angles.order] = [part.jitter, part.vertical, *std]
        offset[energy], offset_std[energy] = one.motion.angle_offset, np.sqrt(one.shared_covariance[1, 1])
        residual[energy] = one.noise / max(float(scans.noise[energy]), _TINY)
    if free is not None:
        modes = modes + np.nan_to_num(free.correction)
        modes_std = np.hypot(modes_std, np.nan_to_num(free.std))
    modes[:, 1:] -= np.nanmean(modes[:, 1:], axis=0)
    middle = scans.final.binning * scans.final.middle[1] + scans.final.origin[1] + 0.5 * (scans.final.binning - 1)
    return SeriesGeometry(
        rotation_axis=middle + size * modes[:, 0],
        rotation_axis_std=size * np.hypot(modes_std[:, 0], common.axis_std),
        magnification=magnification,
        magnification_std=magnification * solved.log_std,
        specimen_shift=size * modes[:, 1:],
        specimen_shift_std=size * modes_std[:, 1:],
        angle_offset=np.rad2deg(offset - np.nanmean(offset)),
        angle_offset_std=np.rad2deg(offset_std),
        projection_shift=size * motion[0],
        vertical_shift=size * motion[1],
        projection_shift_std=size * motion[2],
        vertical_shift_std=size * motion[3],
        usable=usable,
        residual=residual,
        binning=scans.final.binning,
        reason=tuple(scans.reason),
        remarks=_remarks(common),
    )


def _remarks(common: CommonMotion) -> tuple[str, ...]:
    if common.remark is None:
        return ()
    return (f"the centre of mass does not tell the axis: {common.remark}; reprojection alone does",)
