"""Where the rotation axis is and how far each projection jitters, by two independent methods."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter1d

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.spread import SECOND_DIFFERENCE, robust_std

FloatArray = NDArray[np.floating]
Float64Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

_LARGEST_MASS_VARIATION = 0.03
_LARGEST_RIM = 0.05  # optical depth at the rim of the view, relative to the largest
_HUBER_WIDTH = 1.5  # standard deviations beyond which a residual loses weight
_SMOOTHING = 1.0  # px; makes cubic interpolation of noisy profiles exact enough
_LARGEST_GAP_DEG = 6.0  # between a projection and the mirror image it is compared with


class AxisMethod(IntEnum):
    """How a rotation axis was found."""

    NONE = -1
    CENTRE_OF_MASS = 0
    MIRRORED_PROJECTIONS = 1


@dataclass(frozen=True)
class AxisEstimate:
    """Rotation axis of one scan.

    Attributes
    ----------
    axis, std
        Detector column of the axis and its standard uncertainty in px.
    jitter
        Horizontal shift of each projection in px, ``[projection]``; zero where the method gives none.
    rms
        Robust scatter of the fit in px: of the centre of mass about its sinusoid (jitter and noise
        together), or of the single mirror pairs about their common axis.
    noise_rms
        The part of ``rms`` that the stated noise explains, in px; nan where no noise was stated. Correcting
        jitter helps only where ``rms`` is well above it.
    mass_variation
        Standard deviation over mean of the projections' total optical depth; nan where not looked at.
    reason
        Why the estimate should not be trusted, or None.
    """

    axis: float
    std: float
    jitter: Float64Array
    rms: float
    noise_rms: float
    mass_variation: float
    reason: str | None


def axis_or_problem(estimate: Callable[[], AxisEstimate]) -> AxisEstimate | str:
    """What a method finds, or why it finds nothing."""
    try:
        return estimate()
    except MeasurementError as error:
        return error.problem


def rotation_axis_from_centre_of_mass(
    *, column_sum: FloatArray, angle_deg: FloatArray, std: FloatArray | None = None
) -> AxisEstimate:
    r"""Rotation axis from the sinusoid that the centre of mass of the optical depth follows.

    .. math:: m_p = c + A \cos\theta_p + B \sin\theta_p + s_p

    Exact for parallel beams (first-order Helgason-Ludwig condition; Natterer 2001, sec. II.4) if the whole object
    is in view at every angle and the background is zero. Fitted by Huber's M-estimate with his covariance
    (Huber, *Robust Statistics*, 1981, eq. 6.5), so single bad projections do not move the axis. The jitter
    :math:`s_p` is what the sinusoid leaves; a jitter that is itself constant or a sinusoid cannot be told
    from the axis or from the object's position.

    Parameters
    ----------
    column_sum
        Optical depth summed over the detector rows, ``[projection, column]``.
    angle_deg
        Angles in deg, ``[projection]``.
    std
        Standard uncertainty of ``column_sum``, same shape; weights the projections and gives ``noise_rms``.

    Raises
    ------
    MeasurementError
        If shapes differ, fewer than 6 projections are given, or the optical depth does not sum to above zero.
    """
    sums = _checked(column_sum, angle_deg)
    mass, centre, centre_var = _centre_of_mass(sums, std)
    angle = np.deg2rad(np.asarray(angle_deg, dtype=np.float64))
    design = np.stack([np.ones_like(angle), np.cos(angle), np.sin(angle)], axis=1)
    scale = np.ones_like(angle) if std is None else np.sqrt(centre_var / np.mean(centre_var))
    solution, covariance, spread = _huber(design / scale[:, None], centre / scale)
    variation = float(np.std(mass) / np.mean(mass))
    reason = _reason_object_is_cut(sums, variation)
    return AxisEstimate(
        axis=float(solution[0]),
        std=float(np.sqrt(covariance[0, 0])),
        jitter=centre - design @ solution,
        rms=spread,
        noise_rms=float("nan") if std is None else float(np.sqrt(np.mean(centre_var))),
        mass_variation=variation,
        reason=reason,
    )


def rotation_axis_from_mirror(*, sinogram: FloatArray, angle_deg: FloatArray) -> AxisEstimate:
    """Rotation axis from projections half a turn apart, which are mirror images about the axis.

    Each pair is registered to sub-pixel precision on the columns both cover, with free offset and gain, so it
    works when the object is larger than the field of view or the background is not zero. A pair whose angles
    are not exactly 180 deg apart sees the object turned by the gap; nested pairs around the half turn see it
    turned symmetrically, so their shift is linear in the gap to second order, and the gap is extrapolated to zero.
    The uncertainty propagates the residual noise of each registration and is widened where the pairs
    scatter more than that.

    Parameters
    ----------
    sinogram
        Optical depth, ``[row, projection, column]``, or its sum over rows, ``[projection, column]``.
    angle_deg
        Angles in deg, ``[projection]``.

    Raises
    ------
    MeasurementError
        If no two projections are within 6 deg of half a turn apart, or no pair can be registered.
    """
    rows = np.asarray(sinogram, dtype=np.float64)
    rows = rows[None] if rows.ndim == 2 else rows
    _checked(rows.sum(axis=0), angle_deg)
    first, second, gap = _mirror_pairs(np.asarray(angle_deg, dtype=np.float64))
    smooth = gaussian_filter1d(rows, _SMOOTHING, axis=2, mode="nearest")
    found = [_mirror_shift(smooth[:, i], smooth[:, j, ::-1]) for i, j in zip(first, second, strict=True)]
    shift, variance = np.array(found).T
    usable = np.isfinite(shift) & np.isfinite(variance) & (variance > 0)
    if not usable.any():
        raise MeasurementError(
            "no projection resembles the mirror image of the one half a turn away",
            cure="fix rotation_axis in the recipe",
        )
    shift, std, gap = shift[usable], np.sqrt(variance[usable]), gap[usable]
    extrapolated = np.ptp(gap) > 0.1 * _LARGEST_GAP_DEG and gap.size >= 3
    design = np.stack([np.ones_like(gap), gap], axis=1) if extrapolated else np.ones((gap.size, 1))
    solution, residual, covariance = _weighted_least_squares(design, shift, std)
    n_free = gap.size - design.shape[1]
    widening = np.sqrt(max(1.0, float(np.sum((residual / std) ** 2)) / n_free)) if n_free >= 2 else 1.0
    reason = None
    if not extrapolated and np.abs(gap).max() > 0.5:
        reason = f"the nearest mirror pair misses half a turn by {np.abs(gap).max():.1f} deg"
    return AxisEstimate(
        axis=0.5 * (rows.shape[2] - 1 + float(solution[0])),
        std=0.5 * float(np.sqrt(covariance[0, 0])) * float(widening),
        jitter=np.zeros(rows.shape[1]),
        rms=0.5 * float(np.sqrt(np.mean(residual**2))),
        noise_rms=0.5 * float(np.sqrt(np.mean(std**2))),
        mass_variation=float("nan"),
        reason=reason,
    )


def _checked(column_sum: FloatArray, angle_deg: FloatArray) -> Float64Array:
    sums = np.asarray(column_sum, dtype=np.float64)
    angle = np.asarray(angle_deg)
    if sums.ndim != 2 or angle.shape != sums.shape[:1] or angle.size < 6:
        raise MeasurementError(
            "projections and angles do not fit",
            expected="optical depth [..., projection, column] with one angle for each of at least 6 projections",
            found=f"shape {sums.shape} and {angle.size} angles",
        )
    if not (np.isfinite(sums).all() and np.isfinite(angle).all()):
        raise MeasurementError(
            "the optical depth or an angle is not finite",
            found=f"{int(np.sum(~np.isfinite(sums)))} column sums and {int(np.sum(~np.isfinite(angle)))} angles",
            cure="fill bad pixels before looking for the rotation axis",
        )
    return sums


def _centre_of_mass(sums: Float64Array, std: FloatArray | None) -> tuple[Float64Array, Float64Array, Float64Array]:
    column = np.arange(sums.shape[1], dtype=np.float64)
    mass = sums.sum(axis=1)
    if not (mass > 0).all():
        raise MeasurementError(
            "the centre of mass is undefined",
            expected="optical depth that sums to above zero in every projection",
            found=f"{int(np.sum(mass <= 0))} of {mass.size} projections at or below zero",
            cure="check flats and darks, or fix rotation_axis in the recipe",
        )
    centre = sums @ column / mass
    lever = (column - centre[:, None]) / mass[:, None]
    variance = np.zeros_like(mass) if std is None else np.sum((lever * np.asarray(std)) ** 2, axis=1)
    return mass, centre, variance


def _reason_object_is_cut(sums: Float64Array, mass_variation: float) -> str | None:
    """Why the centre of mass is not that of the object, or None."""
    if mass_variation > _LARGEST_MASS_VARIATION:
        return (
            f"the total optical depth varies by {100 * mass_variation:.1f} % over the projections: "
            "the object leaves the field of view or the background is not zero"
        )
    noise = robust_std(np.diff(sums, n=2, axis=1)) / SECOND_DIFFERENCE
    rim = np.maximum(np.abs(sums[:, :2].mean(axis=1)), np.abs(sums[:, -2:].mean(axis=1)))
    allowed = _LARGEST_RIM * float(np.median(sums.max(axis=1))) + 5.0 * noise
    n_cut = int(np.sum(rim > allowed))
    if n_cut > 0.01 * rim.size:
        return f"the object reaches the rim of the field of view in {n_cut} of {rim.size} projections"
    return None


def _huber(design: Float64Array, values: Float64Array) -> tuple[Float64Array, Float64Array, float]:
    """Huber's M-estimate of a linear model: solution, its covariance and the robust residual scatter."""
    n_values, n_parameters = design.shape
    solution = np.linalg.lstsq(design, values, rcond=None)[0]
    tiny = 1e-12 * float(np.abs(values).max()) + 1e-300
    for _ in range(50):
        residual = values - design @ solution
        spread = max(robust_std(residual) * np.sqrt(n_values / (n_values - n_parameters)), tiny)
        root_weight = np.sqrt(np.minimum(1.0, _HUBER_WIDTH * spread / np.maximum(np.abs(residual), tiny)))
        previous = solution
        solution = np.linalg.lstsq(design * root_weight[:, None], values * root_weight, rcond=None)[0]
        if np.abs(solution - previous).max() < 1e-6 * spread:
            break
    residual = values - design @ solution
    score = np.clip(residual, -_HUBER_WIDTH * spread, _HUBER_WIDTH * spread)
    slope = float(np.mean(np.abs(residual) < _HUBER_WIDTH * spread))
    correction = 1.0 + n_parameters / n_values * (1.0 - slope) / slope
    variance = correction**2 * float(np.sum(score**2)) / (n_values - n_parameters) / slope**2
    return (
        np.asarray(solution, dtype=np.float64),
        np.asarray(variance * np.linalg.inv(design.T @ design)),
        float(spread),
    )


def _weighted_least_squares(
    design: Float64Array, values: Float64Array, std: Float64Array
) -> tuple[Float64Array, Float64Array, Float64Array]:
    covariance = np.asarray(np.linalg.inv((design / std[:, None] ** 2).T @ design), dtype=np.float64)
    solution = covariance @ design.T @ (values / std**2)
    return solution, values - design @ solution, covariance


def _mirror_pairs(angle_deg: Float64Array) -> tuple[IntArray, IntArray, Float64Array]:
    """Disjoint pairs nearest to half a turn apart, and by how many deg the second exceeds the half turn."""
    gap = np.mod(angle_deg[None, :] - angle_deg[:, None], 360.0) - 180.0
    i, j = np.nonzero(np.triu(np.abs(gap) <= _LARGEST_GAP_DEG, k=1))
    direct = gap[i, j]
    used: set[int] = set()
    chosen = []
    # nested pairs (0, last), (1, last - 1) have the smallest gap that is left when taken in this order
    for k in np.lexsort((i, np.round(np.abs(direct), 6))):
        if i[k] not in used and j[k] not in used:
            used.update((int(i[k]), int(j[k])))
            chosen.append(k)
    if not chosen:
        raise MeasurementError(
            "no two projections are half a turn apart",
            expected=f"two angles within {_LARGEST_GAP_DEG:g} deg of 180 deg apart",
            found=f"angles from {angle_deg.min():g} to {angle_deg.max():g} deg",
            cure="fix rotation_axis in the recipe",
        )
    exact = np.array(chosen)
    # enough pairs at half a turn need no extrapolation, and fewer than three pairs allow none
    near = np.abs(direct[exact]) <= max(0.5, float(np.abs(direct[exact]).min()) + 1e-6)
    if near.sum() >= 6 or exact.size < 3:
        exact = exact[near]
    return i[exact], j[exact], direct[exact]


def _mirror_shift(image: Float64Array, mirrored: Float64Array) -> tuple[float, float]:
    """Shift in px of ``image`` relative to ``mirrored``, both ``[row, column]``, and its variance."""
    shift = float(_integer_shift(image, mirrored))
    column = np.arange(image.shape[1], dtype=np.float64)
    spline = CubicSpline(column, mirrored, axis=1)
    slope = spline.derivative()
    margin = 3  # columns whose smoothing reached beyond the detector
    variance = np.nan
    for _ in range(30):
        inside = (column - shift >= margin) & (column - shift <= column[-1] - margin)
        inside[:margin] = inside[-margin:] = False
        if inside.sum() < 8:
            return np.nan, np.nan
        step, variance = _registration_step(image[:, inside], spline, slope, column[inside] - shift)
        shift += float(np.clip(step, -1.0, 1.0))
        if abs(step) < 1e-5:
            return shift, variance
    return np.nan, np.nan


def _registration_step(
    image: Float64Array,
    spline: Callable[[Float64Array], Float64Array],
    slope: Callable[[Float64Array], Float64Array],
    position: Float64Array,
) -> tuple[float, float]:
    """One Gauss-Newton step of shift, offset and gain, and the variance of the shift.

    Both profiles were smoothed by a Gaussian of standard deviation s, which correlates white noise by
    ``exp(-lag**2 / (4 s**2))``; the variance is the sandwich of the normal matrix and that correlation.
    """
    moved = spline(position)
    # the slope of the mean of both profiles: the slope of one alone is correlated with its own noise
    derivative = 0.5 * (slope(position) + np.gradient(image, axis=1))
    design = np.stack([-derivative.ravel(), np.ones(moved.size), moved.ravel()], axis=1)
    normal = np.linalg.pinv(design.T @ design)
    solution = normal @ (design.T @ image.ravel())
    residual = image - (design @ solution).reshape(image.shape)
    lag = np.arange(-6, 7)
    correlated = np.stack(
        [
            _convolved(design[:, k].reshape(image.shape), np.exp(-(lag**2) / (4 * _SMOOTHING**2))).ravel()
            for k in range(3)
        ],
        axis=1,
    )
    noise = float(np.mean(residual**2)) * image.size / max(image.size - 3, 1)
    return float(solution[0]), float((normal @ (design.T @ correlated) @ normal)[0, 0]) * noise


def _convolved(rows: Float64Array, kernel: Float64Array) -> Float64Array:
    return np.stack([np.convolve(row, kernel, mode="same") if row.size >= kernel.size else row for row in rows])


def _integer_shift(image: Float64Array, mirrored: Float64Array) -> int:
    """Whole-pixel shift with the largest correlation coefficient over at least half of the columns."""
    size = image.shape[1]
    best, best_shift = -np.inf, 0
    for shift in range(-(size // 2), size // 2 + 1):
        a = image[:, max(0, shift) : size + min(0, shift)]
        b = mirrored[:, max(0, -shift) : size + min(0, -shift)]
        a, b = a - a.mean(), b - b.mean()
        norm = float(np.sqrt(np.sum(a**2) * np.sum(b**2)))
        correlation = float(np.sum(a * b)) / norm if norm > 0 else -np.inf
        if correlation > best:
            best, best_shift = correlation, shift
    return best_shift
