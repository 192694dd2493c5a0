"""Change of a map from one condition to another, voxel by voxel on the same material, with its significance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter
from scipy.special import erfc

from cathoscope.core.errors import MeasurementError
from cathoscope.xanes.distribution import Distribution, Systematic, distribution_of_map
from cathoscope.xanes.heterogeneity import MeasuredMap, NoiseCorrelation, measured_map, noise_correlation

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_SMOOTHING = 1.5
"""Voxels over which the squared gradient is averaged: less and noise rules it, more and it misses the domains' rims."""


@dataclass(frozen=True)
class DifferenceMap:
    """Second minus first map on the same material, unit of the maps.

    Attributes
    ----------
    measured
        The difference with its noise, and the difference of each half; counts where both maps count.
    registration_std
        What the error of the registration makes of each voxel; one displacement moves all voxels together.
    registration_of_mean, registration_variance, registration_variance_std
        The same for the mean over all voxels; the spread it adds between voxels (variance), and how uncertain that is.
    systematic
        Errors common to all voxels that do not cancel between the maps (energy calibration).
    significance
        Difference over its standard uncertainty: noise, registration and common errors in quadrature. NaN where it
        does not count.
    """

    measured: MeasuredMap
    registration_std: Array
    registration_of_mean: float
    registration_variance: float
    registration_variance_std: float
    systematic: tuple[Systematic, ...]
    significance: Array

    @property
    def std(self) -> Array:
        """Noise and registration together, without common errors."""
        return np.asarray(np.hypot(self.measured.std, self.registration_std))


def difference_map(
    *,
    first: MeasuredMap,
    second: MeasuredMap,
    registration_std: Sequence[float] | None = None,
    systematic: Sequence[Systematic] = (),
    noise: NoiseCorrelation | None = None,
) -> DifferenceMap:
    """Difference of two maps of the same material grid with noise, registration and common errors.

    ``variance = std_1^2 + std_2^2 + sum_axis (gradient_axis sigma_axis)^2``, the gradient being that of the second map,
    which was laid over the first. It is a central difference; its square is freed of noise (product of the halves'
    gradients; without halves minus the variance that the stated correlated noise gives it) and averaged over 1.5
    voxels.

    Parameters
    ----------
    first, second
        From ``measured_map``, of one shape. Their noise is independent (different scans).
    registration_std
        Standard uncertainty of the displacement along each axis, voxels; none without it.
    systematic
        Errors common to all voxels that do not cancel between the two.
    noise
        Correlation of the second map's noise, used without halves only; ``noise_correlation`` without it.

    Raises
    ------
    MeasurementError
        If shapes differ, or one number of the registration per axis is not given, or too few voxels count in both.
    """
    if first.value.shape != second.value.shape:
        raise MeasurementError(
            "the two maps are not on one grid",
            expected=f"shape {first.value.shape} as the first",
            found=f"{second.value.shape}",
            cure="register the second onto the first and resample it",
        )
    dimension = first.value.ndim
    sigma = np.zeros(dimension) if registration_std is None else np.asarray(registration_std, dtype=np.float64)
    if sigma.shape != (dimension,) or not np.all(sigma >= 0):
        raise MeasurementError(
            "the registration error does not fit the map",
            expected=f"{dimension} numbers, voxels, not below zero",
            found=f"{registration_std}",
        )
    measured = _difference(first, second)
    squares = (
        _squared_gradients(second, noise or noise_correlation(second)) if sigma.any() else [np.zeros(())] * dimension
    )
    variance = np.zeros(first.value.shape)
    for axis in range(dimension):
        variance = variance + sigma[axis] ** 2 * squares[axis]
    variance = np.where(measured.good, variance, np.nan)
    common = sum(term.std**2 for term in systematic)
    total = np.where(measured.good, measured.std**2 + variance + common, np.nan)
    of_mean, spread, spread_std = _registration_moments(second, measured, sigma, squares)
    return DifferenceMap(
        measured=measured,
        registration_std=np.sqrt(variance),
        registration_of_mean=of_mean,
        registration_variance=spread,
        registration_variance_std=spread_std,
        systematic=tuple(systematic),
        significance=measured.value / np.sqrt(total),
    )


def _difference(first: MeasuredMap, second: MeasuredMap) -> MeasuredMap:
    halves = None
    if first.halves is not None and second.halves is not None:
        halves = (second.halves[0] - first.halves[0], second.halves[1] - first.halves[1])
    return measured_map(
        value=second.value - first.value,
        std=np.hypot(first.std, second.std),
        good=first.good & second.good,
        halves=halves,
    )


def _gradient(field: Array, good: Mask, axis: int) -> tuple[Array, Mask]:
    """Central difference per voxel along an axis, and where both neighbours count."""
    known = np.where(good, field, 0.0)
    after, before = np.roll(known, -1, axis), np.roll(known, 1, axis)
    both = np.roll(good, -1, axis) & np.roll(good, 1, axis) & good
    # what rolls in from the far side of the array is no neighbour
    both[(slice(None),) * axis + ([0, -1],)] = False
    return np.where(both, 0.5 * (after - before), 0.0), both


def _squared_gradients(measured: MeasuredMap, noise: NoiseCorrelation) -> list[Array]:
    """Squared gradient along each axis, noise removed, averaged over near voxels, not below zero."""
    squares = []
    for axis in range(measured.value.ndim):
        if measured.halves is not None:
            gradients = [_gradient(half, measured.good, axis) for half in measured.halves]
            square, known = gradients[0][0] * gradients[1][0], gradients[0][1]
        else:
            gradient, known = _gradient(measured.value, measured.good, axis)
            square = gradient**2 - _gradient_noise(measured, known, axis, noise)
        weight = gaussian_filter(known.astype(np.float64), _SMOOTHING, mode="constant")
        mean = gaussian_filter(np.where(known, square, 0.0), _SMOOTHING, mode="constant")
        overall = max(float(square[known].mean()), 0.0) if known.any() else 0.0
        # voxels without any known neighbour get the mean over the particle
        smooth = np.divide(mean, weight, out=np.full(weight.shape, overall), where=weight > 1e-3)
        squares.append(np.maximum(smooth, 0.0))
    return squares


def _gradient_noise(measured: MeasuredMap, known: Mask, axis: int, noise: NoiseCorrelation) -> Array:
    """Variance that noise gives the central difference: ``scale^2 (s_-^2 + s_+^2 - 2 rho(2) s_- s_+) / 4``."""
    std = np.where(measured.good, measured.std, 0.0)
    after, before = np.roll(std, -1, axis), np.roll(std, 1, axis)
    middle = [size // 2 for size in noise.correlation.shape]
    two = list(middle)
    two[axis] += 2
    rho = float(noise.correlation[tuple(two)]) if two[axis] < noise.correlation.shape[axis] else 0.0
    variance = 0.25 * noise.scale**2 * (after**2 + before**2 - 2 * rho * after * before)
    return np.where(known, variance, 0.0)


def _registration_moments(
    second: MeasuredMap, measured: MeasuredMap, sigma: Array, squares: Sequence[Array]
) -> tuple[float, float, float]:
    """Uncertainty of the mean difference, variance added between voxels, and the uncertainty of that.

    One displacement d is drawn for all voxels: it adds ``d^2 var(gradient) + 2 d cov(difference, gradient)`` per axis,
    on average ``sigma^2 var(gradient)`` with the variance ``2 (sigma^2 var)^2 + 4 sigma^2 cov^2``.
    """
    of_mean = spread = uncertain = 0.0
    for axis in map(int, np.flatnonzero(sigma)):
        gradient, known = _gradient(second.value, second.good, axis)
        known = known & measured.good
        if not known.any():
            continue
        mean = float(gradient[known].mean())
        variance = max(float(squares[axis][measured.good].mean()) - mean**2, 0.0)
        change = measured.value[known]
        covariance = float(np.mean((change - change.mean()) * (gradient[known] - mean)))
        of_mean += (sigma[axis] * mean) ** 2
        spread += sigma[axis] ** 2 * variance
        uncertain += 2 * (sigma[axis] ** 2 * variance) ** 2 + 4 * (sigma[axis] * covariance) ** 2
    return float(np.sqrt(of_mean)), float(spread), float(np.sqrt(uncertain))


def distribution_of_difference(difference: DifferenceMap) -> Distribution:
    """Mean and noise-free width of the changes, the spread that registration adds removed.

    As ``distribution_of_map``, with the registration's error of the mean as one more systematic term.
    """
    registration = Systematic("registration", difference.registration_of_mean, shared=False)
    found = distribution_of_map(difference.measured, systematic=(*difference.systematic, registration))
    added, uncertain = difference.registration_variance, difference.registration_variance_std
    return replace(
        found,
        variance=found.variance - added,
        variance_std=float(np.hypot(found.variance_std, uncertain)),
        variance_material=found.variance_material - added,
        variance_material_std=float(np.hypot(found.variance_material_std, uncertain)),
    )


@dataclass(frozen=True)
class Changed:
    """Voxels that changed significantly.

    Attributes
    ----------
    voxels
        Mask of them.
    threshold
        Least significance (absolute) among them; infinite if there are none.
    share, share_up, share_down
        Of the voxels that count: all changed, and those whose value rose or fell.
    false_share
        Share of false ones among them that is expected at most.
    """

    voxels: Mask
    threshold: float
    share: float
    share_up: float
    share_down: float
    false_share: float


def changed_voxels(*, significance: ArrayLike, false_share: float = 0.05) -> Changed:
    """Voxels whose change is significant, with a bound on the share of false ones among them.

    Two-sided normal probabilities p in ascending order; all up to the last with ``p_k <= false_share k / n`` count as
    changed [1]_. Holds for independent and for positively dependent voxels (smooth noise) [2]_.

    Parameters
    ----------
    significance
        Change over its standard uncertainty, any shape; NaN where a voxel does not count.
    false_share
        Expected share of unchanged voxels among those named, above 0 and below 1.

    Raises
    ------
    MeasurementError
        If the share is not between 0 and 1 or no voxel counts.

    References
    ----------
    .. [1] Y. Benjamini, Y. Hochberg, J. R. Stat. Soc. B 57 (1995) 289.
    .. [2] Y. Benjamini, D. Yekutieli, Ann. Stat. 29 (2001) 1165.
    """
    if not 0 < false_share < 1:
        raise MeasurementError(
            "the share of false changes is no share", expected="0 < share < 1", found=str(false_share)
        )
    size = np.asarray(significance, dtype=np.float64)
    counted = np.isfinite(size)
    count = int(counted.sum())
    if count == 0:
        raise MeasurementError("no voxel of the difference counts", expected="voxels good in both maps")
    ordered = np.sort(np.abs(size[counted]))[::-1]
    passing = np.flatnonzero(erfc(ordered / np.sqrt(2)) <= false_share * np.arange(1, count + 1) / count)
    threshold = float(ordered[passing[-1]]) if passing.size else np.inf
    voxels = counted & (np.abs(np.where(counted, size, 0.0)) >= threshold)
    up = float(np.sum(voxels & (size > 0))) / count
    share = float(voxels.sum()) / count
    return Changed(voxels, threshold, share, up, share - up, false_share)
