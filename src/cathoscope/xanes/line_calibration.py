"""Correcting the white-line model's energy scale with the measured spectra's own shapes.

Real white lines are not the model's: fitted energies are compressed or shifted by up to 15 %. Averages over many
voxels have so little noise that the maximum of their spectrum needs no model. Comparing the two over all states
in the sample gives the energy scale of the fit, which then serves every voxel at the voxel's own noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicSpline

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.spread import robust_std_about_median
from cathoscope.xanes.line_interpolation import interpolation_bias
from cathoscope.xanes.line_steps import checked_coefficients, fit_compressed
from cathoscope.xanes.line_tables import FitPlan
from cathoscope.xanes.line_tiles import LANES, padded, tile_product, tiled
from cathoscope.xanes.whiteline import WhiteLineFit

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]

_LEAST_EIGENVALUE = 2.0  # mean square of a component, in units of its noise
_COMPONENTS = (5, 20)
INTERPOLATION_STD = 0.02  # eV: error of a spline's highest point on noise-free nickel spectra in steps of 0.5 eV
_FARTHEST = 5.0  # robust standard deviations beyond which a bin does not count for tau
_LEAST_BINS = 20
_BINS_PER_COEFFICIENT = 15
_LEAST_SPREAD = {0: 0.0, 1: 0.25, 3: 1.0}  # eV between the 2nd and 98th percentile of bins, by order
_DERIVATIVE_LIMITS = (0.4, 2.5)
_SLOPE_ERROR = 0.15  # of uncalibrated fits on real line shapes; stands in where the data do not determine the slope
_HUBER_WIDTH = 1.5
_ORDER_NAMES = {-1: "none", 0: "shift", 1: "line", 3: "cubic"}


@dataclass(frozen=True)
class MaximumPlan:
    """How to find the highest point of spectra given as coefficients.

    Attributes
    ----------
    energy
        Energies among which the highest is looked for, eV, ``[knot]``.
    components
        Orthonormal directions of the coefficients that hold more than noise, ``[K, component]``.
    eigenvalues
        Mean square of the spectra along all principal directions in units of the noise, descending, ``[K]``.
    """

    energy: Float64Array
    components: Float64Array = field(repr=False)
    eigenvalues: Float64Array = field(repr=False)
    knots: Float32Array = field(repr=False)  # spectrum at the knots from coefficients, tiled
    cubic: Float64Array = field(repr=False)  # spline from coefficients, [interval, power (3, 2, 1), K]
    # How far the highest point of the spline lies above that of the curve, at energies of the former, [2, place].
    bias: Float64Array = field(default_factory=lambda: np.zeros((2, 1)), repr=False)


@dataclass(frozen=True)
class SpectrumMaximum:
    """Highest point of each spectrum: energy and standard uncertainty in eV.

    NaN where it lies at an end of the range (``at_end``) or where a coefficient is not finite.
    """

    energy: Float64Array
    std: Float64Array
    at_end: NDArray[np.bool_]


def plan_maximum(plan: FitPlan, z: ArrayLike, *, noise_scale: ArrayLike = 1.0) -> MaximumPlan:
    """Find the subspace that spectra fill beyond their noise, and prepare the search for their highest point.

    Principal directions of ``z`` are kept whose mean square is above twice the noise, at least 5 and at most 20. Give
    spectra of the population, and with the noise, that `maximum_of_spectra` shall treat: each needless direction
    costs precision.

    Parameters
    ----------
    plan
        From `plan_fit`.
    z, noise_scale
        As in `fit_compressed`.

    Raises
    ------
    MeasurementError
        If shapes do not fit, fewer than 20 spectra are finite, or fewer than 4 energies lie where lines may be.
    """
    coefficients, scale = checked_coefficients(plan.n_components, z, noise_scale)
    finite = np.isfinite(coefficients).all(axis=1) & np.isfinite(scale) & (scale > 0)
    if finite.sum() < _LEAST_BINS:
        raise MeasurementError(
            "too few spectra to find what they have in common",
            expected=f"at least {_LEAST_BINS} finite ones",
            found=str(int(finite.sum())),
        )
    scaled = coefficients[finite] / np.sqrt(scale if scale.size == 1 else scale[finite])[:, None]
    moments = np.asarray(scaled.T @ scaled, dtype=np.float64) / scaled.shape[0]
    values, vectors = np.linalg.eigh(moments)
    values, vectors = values[::-1], vectors[:, ::-1]
    n_kept = int(np.clip(np.sum(values > _LEAST_EIGENVALUE), *_COMPONENTS))
    components = vectors[:, :n_kept]
    return _maximum_plan(plan, components, values)


def _maximum_plan(plan: FitPlan, components: Float64Array, eigenvalues: Float64Array) -> MaximumPlan:
    low, high = plan.centre_range
    inside = np.flatnonzero((plan.energy >= low - 1.0) & (plan.energy <= high + 1.0))
    if inside.size < 4:
        raise MeasurementError(
            "too few energies to look for the highest",
            expected=f"at least 4 between {low - 1:g} and {high + 1:g} eV",
            found=str(inside.size),
        )
    shapes = plan.expansion @ components @ components.T
    spline = CubicSpline(plan.energy, shapes, axis=0)
    knots = slice(int(inside[0]), int(inside[-1]) + 1)
    cubic = spline.c[:3, knots.start : knots.stop - 1].transpose(1, 0, 2)
    return MaximumPlan(
        plan.energy[knots], components, eigenvalues, tiled(padded(shapes[knots])), np.ascontiguousarray(cubic)
    )


def maximum_of_spectra(plan: MaximumPlan, z: ArrayLike, *, noise_scale: ArrayLike = 1.0) -> SpectrumMaximum:
    """Energy of the highest point of each spectrum, without a model of its shape.

    The spectrum in the subspace of the plan is interpolated by a cubic spline; the highest knot is found and then the
    maximum next to it. The uncertainty is that of the slope there over the curvature. Where the plan knows the bias of
    the interpolation it is taken off.

    Parameters
    ----------
    plan
        From `plan_maximum`.
    z, noise_scale
        As in `fit_compressed`.

    Raises
    ------
    MeasurementError
        If shapes do not fit.
    """
    n_components = plan.cubic.shape[2]
    coefficients, scale = checked_coefficients(n_components, z, noise_scale)
    if n_components % LANES:
        coefficients = padded(coefficients)
    energy, std = (np.full(coefficients.shape[0], np.nan) for _ in range(2))
    maximum_rows(coefficients, plan.energy, plan.knots, plan.cubic, (energy, std))
    at_end = np.isnan(energy) & np.isfinite(coefficients).all(axis=1)
    return SpectrumMaximum(energy - np.interp(energy, *plan.bias), std * np.sqrt(scale), at_end)


@njit(cache=True, nogil=True, error_model="numpy")
def highest_knot(z, place, n, knots, height):  # type: ignore[no-untyped-def]
    """Index of the highest knot; ``height`` is [knot, padded to LANES, and LANES more for the products]."""
    n_padded = height.size - LANES
    out = height[n_padded:]
    for first in range(0, n_padded, LANES):
        tile_product(knots, first * n, z, place, n, out)
        for j in range(LANES):
            height[first + j] = out[j]


@njit(cache=True, nogil=True, error_model="numpy")
def interval_maximum(z, i, cubic, interval, length):  # type: ignore[no-untyped-def]
    """Place of the maximum in an interval, eV from its left knot, and its variance for unit noise; NaN without one."""
    third = second = first = 0.0
    n = cubic.shape[2]
    for k in range(n):
        third += cubic[interval, 0, k] * z[i, k]
        second += cubic[interval, 1, k] * z[i, k]
        first += cubic[interval, 2, k] * z[i, k]
    root = second * second - 3.0 * third * first
    if not root > 0.0:
        return math.nan, math.nan
    # the root of the slope at which the curvature is negative, in the form that is stable for a small third power
    move = -first / (second - math.sqrt(root)) if second < 0.0 else (-second - math.sqrt(root)) / (3.0 * third)
    curvature = 2.0 * second + 6.0 * third * move
    if not (curvature < 0.0 and 0.0 <= move <= length):
        return math.nan, math.nan
    total = 0.0
    for k in range(n):
        slope = cubic[interval, 2, k] + move * (2.0 * cubic[interval, 1, k] + move * 3.0 * cubic[interval, 0, k])
        total += slope * slope
    return move, total / (curvature * curvature)


@njit(cache=True, nogil=True, error_model="numpy")
def maximum_rows(z, energy, knots, cubic, out):  # type: ignore[no-untyped-def]
    """Energy and its uncertainty for unit noise of the highest point of each row of ``z`` into ``out``."""
    place, std = out
    n, count = z.shape[1], energy.size
    flat = z.ravel()
    height = np.zeros(LANES * ((count + LANES - 1) // LANES) + LANES, dtype=np.float32)
    for i in range(z.shape[0]):
        highest_knot(flat, i * n, n, knots, height)
        best = 0
        for j in range(count):
            if height[j] > height[best]:
                best = j
        if not math.isfinite(height[best]) or best == 0 or best == count - 1:
            continue
        # a local maximum lies on one side of the highest knot
        for interval in (best, best - 1):
            move, variance = interval_maximum(z, i, cubic, interval, energy[interval + 1] - energy[interval])
            if math.isfinite(move):
                place[i], std[i] = energy[interval] + move, math.sqrt(variance)
                break


@dataclass(frozen=True)
class LineCalibration:
    """Energy scale of the fit: energy of the maximum = phi(fitted energy).

    ``phi(x) = x + sum_k coefficients[k] (x - origin)^k`` inside ``valid_range``, continued outside with the mean slope
    inside: the slope at the ends of a cubic is what the data know least.

    Attributes
    ----------
    order
        "cubic", "line", "shift" (slope 1) or "none" (phi(x) = x).
    origin
        Median fitted energy of the bins, eV.
    coefficients, covariance
        Of phi(x) - x, in eV per power of eV.
    valid_range
        2nd and 98th percentile of the fitted energies of the bins, eV.
    tau
        Scatter of shapes at the same fitted energy, eV: what is left between bins beyond their noise.
    scatter
        Robust scatter of the bins about phi, noise included, eV.
    n_bins
        Bins used.
    remarks
        What limits the calibration, for the report.
    maximum
        The search for the highest point of the bins.
    artefact_std
        Scatter of the highest points of voxels that is neither noise nor scatter of shapes, eV: `with_artefacts`.
    joint
        How noise moves fit and highest point of single voxels together: `with_joint_errors`. None: not known.
    """

    order: str
    origin: float
    coefficients: Float64Array
    covariance: Float64Array
    valid_range: tuple[float, float]
    tau: float
    scatter: float
    n_bins: int
    remarks: tuple[str, ...]
    maximum: MaximumPlan = field(repr=False)
    artefact_std: float = 0.0
    joint: JointErrors | None = field(default=None, repr=False)


@dataclass(frozen=True)
class JointErrors:
    """How noise moves the calibrated fit and the highest point of the same spectrum, by energy.

    Attributes
    ----------
    energy
        Mean energy of the calibrated fit, eV, ascending, ``[group]``.
    of_fit, of_maximum
        Standard deviations of the two errors, in units of the uncertainty that the fit states, ``[group]``.
    correlation
        Between the two, ``[group]``.
    """

    energy: Float64Array
    of_fit: Float64Array
    of_maximum: Float64Array
    correlation: Float64Array


@dataclass(frozen=True)
class CalibratedLines:
    """White-line energies on the calibrated scale, eV, ``[spectrum]``.

    ``std`` is the voxel's own: noise (``noise_std``) and scatter of shapes together. ``systematic_std`` is what all
    voxels at this energy share, from the calibration; a mean over many voxels keeps it in full. ``outside`` marks
    energies beyond those of the bins.
    """

    energy: Float64Array
    std: Float64Array
    noise_std: Float64Array
    systematic_std: Float64Array
    outside: NDArray[np.bool_]


def calibrate(plan: FitPlan, z: ArrayLike, *, noise_scale: ArrayLike = 1.0) -> LineCalibration:
    r"""Calibrate the fit with spectra of low noise from the same sample, such as averages over 4 x 4 x 4 voxels.

    Each bin is fitted (x, with :math:`\sigma_x`) and the highest point of its spectrum found without a model
    (t, :math:`\sigma_t`). A polynomial t - x of x, first to third order, is fitted by Huber's M-estimate; the order is
    the highest that the spread of states supports and a Bayesian information criterion prefers, and that keeps phi
    rising everywhere in the range. Scatter beyond noise:
    :math:`\tau^2 = \mathrm{var}(t - \phi) - \mathrm{median}(\sigma_t^2 - \sigma_x^2)`, bins beyond five robust standard
    deviations cut to that; shapes scatter with long tails, which a median would hide. The difference of variances
    is the variance of t - x because the fit is the more efficient of two estimates from the same data (Hausman,
    Econometrica 46, 1251, 1978).

    Parameters
    ----------
    plan
        From `plan_fit`.
    z, noise_scale
        Coefficients of the bins and their noise, as in `fit_compressed`: 1/64 for the mean over 64 independent voxels.

    Raises
    ------
    MeasurementError
        If shapes do not fit.
    """
    coefficients, scale = checked_coefficients(plan.n_components, z, noise_scale)
    fit = fit_compressed(plan, coefficients, noise_scale=scale)
    if fit.good.sum() < _LEAST_BINS:
        everything = _maximum_plan(plan, np.eye(plan.n_components), np.full(plan.n_components, np.nan))
        return _uncalibrated(int(fit.good.sum()), everything)
    good_scale = scale if scale.size == 1 else scale[fit.good]
    maxima = plan_maximum(plan, coefficients[fit.good], noise_scale=good_scale)
    maxima = replace(maxima, bias=interpolation_bias(plan, fit.parameters[fit.good]))
    top = maximum_of_spectra(maxima, coefficients, noise_scale=scale)
    used = fit.good & np.isfinite(top.energy) & (np.abs(top.energy - fit.white_line_energy) < 3.0)
    if used.sum() < _LEAST_BINS:
        return _uncalibrated(int(used.sum()), maxima)
    x = fit.white_line_energy[used]
    noise = np.maximum(top.std[used] ** 2 - fit.white_line_energy_std[used] ** 2, 0.0)
    return calibration_from_pairs(fitted=x, maximum=top.energy[used], variance=noise, search=maxima)


def calibration_from_pairs(
    *, fitted: ArrayLike, maximum: ArrayLike, variance: ArrayLike, search: MaximumPlan
) -> LineCalibration:
    """Calibration from fitted energies, energies of the maximum and the variance of their difference, eV, ``[bin]``.

    ``search`` is how the maxima were found.
    """
    x, difference = np.asarray(fitted, dtype=np.float64), np.asarray(maximum, dtype=np.float64) - np.asarray(fitted)
    noise = np.asarray(variance, dtype=np.float64)
    low, origin, high = (float(q) for q in np.percentile(x, (2, 50, 98)))
    # bins beyond the range would steer the ends of a cubic
    u = np.clip(x - origin, low - origin, high - origin)
    candidates: dict[int, _Polynomial] = {}
    remarks: list[str] = []
    for order, spread in _LEAST_SPREAD.items():
        if high - low < spread or x.size < _BINS_PER_COEFFICIENT * (order + 1):
            remarks.append(
                f"states spread over {high - low:.2f} eV in {x.size} bins: too little for a {_ORDER_NAMES[order]}"
            )
            continue
        found = _robust_polynomial(u, difference, noise, order)
        if not _rises(found.solution, np.linspace(low - origin, high - origin, 101)):
            remarks.append(f"a {_ORDER_NAMES[order]} does not rise everywhere")
            continue
        candidates[order] = found
    if not candidates:
        return _uncalibrated(x.size, search)
    chosen = _preferred(candidates, u, difference)
    best = candidates[chosen]
    residual = difference - u[:, None] ** np.arange(best.solution.size) @ best.solution
    farthest = _FARTHEST * best.scatter
    spread = float(np.sqrt(np.mean(np.clip(residual, -farthest, farthest) ** 2)))
    tau = np.sqrt(max(spread**2 - float(np.median(noise)), 0.0))
    if chosen < 1:
        remarks.append(
            f"the slope of the energy scale is not determined: up to {_SLOPE_ERROR:.0%} of energy differences"
        )
    return LineCalibration(
        _ORDER_NAMES[chosen],
        origin,
        best.solution,
        best.covariance,
        (low, high),
        float(tau),
        best.scatter,
        x.size,
        tuple(remarks),
        search,
    )


def _uncalibrated(n_bins: int, search: MaximumPlan) -> LineCalibration:
    remark = f"{n_bins} bins with a white line are too few to calibrate the energy scale; it is that of the model"
    return LineCalibration(
        "none", np.nan, np.zeros(1), np.zeros((1, 1)), (np.nan, np.nan), 0.0, np.nan, n_bins, (remark,), search
    )


@dataclass(frozen=True)
class _Polynomial:
    """Huber's M-estimate of a polynomial, its covariance, the robust scatter about it and what that is for each bin."""

    solution: Float64Array
    covariance: Float64Array
    scatter: float
    std: Float64Array


def _preferred(candidates: dict[int, _Polynomial], u: Float64Array, difference: Float64Array) -> int:
    """Order of the least Bayesian information criterion, Huber's loss in units of the scatter about the last one."""
    std = candidates[max(candidates)].std

    def score(order: int) -> float:
        """Criterion of one order; the lower, the better."""
        residual = difference - np.polynomial.polynomial.polyval(u, candidates[order].solution)
        pull = np.abs(residual) / std
        loss = np.where(pull < _HUBER_WIDTH, pull**2, 2.0 * _HUBER_WIDTH * pull - _HUBER_WIDTH**2)
        return float(loss.sum() + (order + 1) * np.log(u.size))

    return min(candidates, key=score)


def _robust_polynomial(u: Float64Array, difference: Float64Array, noise: Float64Array, order: int) -> _Polynomial:
    """Huber's M-estimate of ``difference`` as a polynomial of ``u``, by reweighted least squares, ``[bin]``.

    A bin's variance is that of its ``noise`` and of the scatter beyond it, which is estimated anew in each iteration.
    """
    powers = u[:, None] ** np.arange(order + 1)
    solution = np.linalg.lstsq(powers, difference, rcond=None)[0]
    for _ in range(50):
        residual = difference - powers @ solution
        scatter = robust_std_about_median(residual)
        tau2 = max(scatter**2 - float(np.median(noise)), 0.0)
        std = np.sqrt(np.maximum(noise + tau2, 1e-8))
        pull = residual / std
        weight = np.sqrt(np.minimum(1.0, _HUBER_WIDTH / np.maximum(np.abs(pull), 1e-12))) / std
        previous = solution
        solution = np.linalg.lstsq(powers * weight[:, None], difference * weight, rcond=None)[0]
        if np.abs(solution - previous).max() < 1e-6:
            break
    inverse = np.linalg.pinv((powers * weight[:, None]).T @ (powers * weight[:, None]))
    # sandwich: also right where the scatter is not the same at all energies
    scored = powers * (weight**2 * np.clip(residual, -3 * _HUBER_WIDTH * std, 3 * _HUBER_WIDTH * std))[:, None]
    covariance = inverse @ (scored.T @ scored) @ inverse * u.size / (u.size - order - 1)
    return _Polynomial(np.asarray(solution, np.float64), np.asarray(covariance, np.float64), scatter, std)


def _rises(solution: Float64Array, u: Float64Array) -> bool:
    derivative = 1.0 + _derivative(solution, u)
    return bool(derivative.min() > _DERIVATIVE_LIMITS[0] and derivative.max() < _DERIVATIVE_LIMITS[1])


def _derivative(solution: Float64Array, u: Float64Array) -> Float64Array:
    return np.asarray(np.polynomial.polynomial.polyval(u, np.polynomial.polynomial.polyder(solution)))


def apply_calibration(calibration: LineCalibration, fit: WhiteLineFit) -> CalibratedLines:
    """Fitted energies on the calibrated scale, with all parts of their uncertainty.

    ``std^2 = (phi' sigma)^2 + tau^2``. ``systematic_std`` is the covariance of phi carried to each energy, and 0.02 eV
    for the interpolation between energies that the highest points of the bins need. Where the data do not determine
    the slope (order "shift"; outside the range) 15 % of the distance is added, the error of uncalibrated fits of
    real lines. NaN without a calibration.
    """
    x, noise = fit.white_line_energy, fit.white_line_energy_std
    if calibration.order == "none":
        nothing = np.full(x.shape, np.nan)
        return CalibratedLines(x.copy(), noise.copy(), noise.copy(), nothing, np.zeros(x.shape, dtype=bool))
    low, high = (end - calibration.origin for end in calibration.valid_range)
    u = x - calibration.origin
    inside = np.clip(u, low, high)
    beyond = u - inside
    powers = np.arange(calibration.coefficients.size)
    mean_slope = (high**powers - low**powers) / (high - low) if high > low else 1.0 * (powers == 1)
    gradient = inside[:, None] ** powers + beyond[:, None] * mean_slope
    slope = 1.0 + np.where(
        beyond == 0.0, _derivative(calibration.coefficients, inside), mean_slope @ calibration.coefficients
    )
    energy = x + gradient @ calibration.coefficients
    undetermined = _SLOPE_ERROR * (u if calibration.order == "shift" else beyond)
    systematic = np.einsum("np,pq,nq->n", gradient, calibration.covariance, gradient) + undetermined**2
    systematic += INTERPOLATION_STD**2
    own = np.abs(slope) * noise
    return CalibratedLines(energy, np.hypot(own, calibration.tau), own, np.sqrt(systematic), beyond != 0.0)
