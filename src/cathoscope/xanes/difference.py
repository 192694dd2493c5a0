"""Change of a map from one condition to another, voxel by voxel on the same material, with its significance."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.special import erfc

from cathoscope.core.errors import MeasurementError
from cathoscope.core.rooms import Room
from cathoscope.xanes.distribution import Distribution, Systematic, distribution_of_map
from cathoscope.xanes.heterogeneity import (
    MapOfRows,
    MeasuredMap,
    NoiseCorrelation,
    StoredMap,
    noise_correlation,
    stored_map,
)
from cathoscope.xanes.rows import Derived, Rowed, slabs_of, values_in

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_SMOOTHING = 1.5
"""Voxels over which the squared gradient is averaged: less and noise rules it, more and it misses the domains' rims."""
_REACH = int(4.0 * _SMOOTHING + 0.5) + 1  # rows beyond a slab on which its smoothed gradients depend
_ROWS, _VOXELS = 16, 1 << 21  # of a slab: at least, and about

NewRoom = Callable[[tuple[int, ...]], Room]
"""Makes room for a map of a shape."""


def in_memory(shape: tuple[int, ...]) -> Room:
    """Room in memory."""
    return np.empty(shape, dtype=np.float32)


@dataclass(frozen=True)
class DifferenceMap:
    """Second minus first map on the same material, unit of the maps; each map is worked out row by row when asked for.

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
    """

    measured: StoredMap
    registration_std: Rowed
    registration_of_mean: float
    registration_variance: float
    registration_variance_std: float
    systematic: tuple[Systematic, ...]

    @property
    def std(self) -> Derived:
        """Noise and registration together, without common errors."""
        return Derived(lambda rows: np.hypot(self.measured.std[rows], self.registration_std[rows]))

    @property
    def significance(self) -> Derived:
        """Difference over its standard uncertainty: noise, registration and common errors in quadrature.

        NaN where it does not count.
        """
        common = sum(term.std**2 for term in self.systematic)
        measured, std = self.measured, self.std

        def rows_of(rows: slice) -> Array:
            """Of some rows."""
            size = measured.value[rows] / np.sqrt(std[rows] ** 2 + common)
            return np.where(measured.good[rows], size, np.nan)

        return Derived(rows_of)


def difference_map(
    *,
    first: MapOfRows,
    second: MapOfRows,
    registration_std: Sequence[float] | None = None,
    systematic: Sequence[Systematic] = (),
    noise: NoiseCorrelation | None = None,
    new_room: NewRoom = in_memory,
) -> DifferenceMap:
    """Difference of two maps of the same material grid with noise, registration and common errors.

    ``variance = std_1^2 + std_2^2 + sum_axis (gradient_axis sigma_axis)^2``, the gradient being that of the second map,
    which was laid over the first. It is a central difference; its square is freed of noise (product of the halves'
    gradients; without halves minus the variance that the stated correlated noise gives it) and averaged over 1.5
    voxels.

    Parameters
    ----------
    first, second
        From ``measured_map`` or ``stored_map``, of one shape. Their noise is independent (different scans).
    registration_std
        Standard uncertainty of the displacement along each axis, voxels; none without it.
    systematic
        Errors common to all voxels that do not cancel between the two.
    noise
        Correlation of the second map's noise, used without halves only; ``noise_correlation`` without it.
    new_room
        Makes room for one map, the standard deviation that the registration gives each voxel.

    Raises
    ------
    MeasurementError
        If shapes differ, or one number of the registration per axis is not given, or too few voxels count in both.
    """
    if first.good.shape != second.good.shape:
        raise MeasurementError(
            "the two maps are not on one grid",
            expected=f"shape {first.good.shape} as the first",
            found=f"{second.good.shape}",
            cure="register the second onto the first and resample it",
        )
    dimension = first.good.ndim
    sigma = np.zeros(dimension) if registration_std is None else np.asarray(registration_std, dtype=np.float64)
    if sigma.shape != (dimension,) or not np.all(sigma >= 0):
        raise MeasurementError(
            "the registration error does not fit the map",
            expected=f"{dimension} numbers, voxels, not below zero",
            found=f"{registration_std}",
        )
    measured = _difference(first, second)
    if not sigma.any():
        none = Derived(lambda rows: np.where(measured.good[rows], 0.0, np.nan))
        return DifferenceMap(measured, none, 0.0, 0.0, 0.0, tuple(systematic))
    if noise is None and second.halves is None:
        noise = noise_correlation(second)
    room = new_room(second.good.shape)
    moments = _fill_registration_std(room, second, measured, sigma, noise)
    return DifferenceMap(measured, room, *moments, tuple(systematic))


def _difference(first: MapOfRows, second: MapOfRows) -> StoredMap:
    def between(before: Rowed, after: Rowed) -> Derived:
        """After minus before."""
        return Derived(lambda rows: np.subtract(after[rows], before[rows], dtype=np.float64))

    halves = None
    if first.halves is not None and second.halves is not None:
        halves = between(first.halves[0], second.halves[0]), between(first.halves[1], second.halves[1])
    return stored_map(
        value=between(first.value, second.value),
        std=Derived(lambda rows: np.hypot(first.std[rows], second.std[rows], dtype=np.float64)),
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


def _part(measured: MapOfRows, rows: slice) -> MeasuredMap:
    """Some rows of a map as arrays."""
    value, std, *halves = (
        np.asarray(field[rows], dtype=np.float64) for field in (measured.value, measured.std, *(measured.halves or ()))
    )
    return MeasuredMap(value, std, measured.good[rows], (halves[0], halves[1]) if halves else None)


def _slabs(shape: tuple[int, ...], halo: int) -> Iterator[tuple[slice, slice, slice]]:
    """Rows of every slab, these with ``halo`` rows around as far as there are any, and where they lie in those."""
    each = max(_ROWS, _VOXELS // int(np.prod(shape[1:])))
    for start in range(0, shape[0], each):
        rows = slice(start, min(start + each, shape[0]))
        around = slice(max(start - halo, 0), min(rows.stop + halo, shape[0]))
        yield rows, around, slice(start - around.start, rows.stop - around.start)


def _squared_gradient(part: MeasuredMap, axis: int, noise: NoiseCorrelation | None) -> tuple[Array, Mask]:
    """Squared gradient along an axis, noise removed, and where it is known."""
    if part.halves is not None:
        (first, known), (second, _) = (_gradient(half, part.good, axis) for half in part.halves)
        return first * second, known
    gradient, known = _gradient(part.value, part.good, axis)
    return gradient**2 - (0.0 if noise is None else _gradient_noise(part, known, axis, noise)), known


def _smoothed(square: Array, known: Mask, overall: float) -> Array:
    """Averaged over near voxels, not below zero; voxels without any known neighbour get the mean over the particle."""
    weight = gaussian_filter(known.astype(np.float64), _SMOOTHING, mode="constant")
    mean = gaussian_filter(np.where(known, square, 0.0), _SMOOTHING, mode="constant")
    smooth = np.divide(mean, weight, out=np.full(weight.shape, overall), where=weight > 1e-3)
    return np.asarray(np.maximum(smooth, 0.0))


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


def _mean_squares(second: MapOfRows, axes: Sequence[int], noise: NoiseCorrelation | None) -> dict[int, float]:
    """Mean over the particle of the squared gradient along each axis, not below zero."""
    sums = {axis: np.zeros(2) for axis in axes}
    for _, around, inner in _slabs(second.good.shape, 1):
        part = _part(second, around)
        for axis in axes:
            square, known = _squared_gradient(part, axis, noise)
            sums[axis] += square[inner][known[inner]].sum(), float(np.count_nonzero(known[inner]))
    return {axis: max(total / count, 0.0) if count else 0.0 for axis, (total, count) in sums.items()}


def _fill_registration_std(
    room: Room, second: MapOfRows, measured: StoredMap, sigma: Array, noise: NoiseCorrelation | None
) -> tuple[float, float, float]:
    """Fill the map of what the registration makes of each voxel; the same for the mean, the spread, and its error.

    One displacement d is drawn for all voxels: it adds ``d^2 var(gradient) + 2 d cov(difference, gradient)`` per axis,
    on average ``sigma^2 var(gradient)`` with the variance ``2 (sigma^2 var)^2 + 4 sigma^2 cov^2``.
    """
    axes = [int(axis) for axis in np.flatnonzero(sigma)]
    overall, sums = _mean_squares(second, axes, noise), np.zeros((sigma.size, 6))
    for rows, around, inner in _slabs(second.good.shape, _REACH):
        part, good = _part(second, around), measured.good[rows]
        change = np.asarray(measured.value[rows], dtype=np.float64)
        variance = np.zeros(good.shape)
        for axis in axes:
            smooth = _smoothed(*_squared_gradient(part, axis, noise), overall[axis])[inner]
            variance += sigma[axis] ** 2 * smooth
            slope, known = _gradient(part.value, part.good, axis)
            both = known[inner] & good
            g, c = slope[inner][both], change[both]
            sums[axis] += g.size, g.sum(), c.sum(), g @ c, good.sum(), smooth[good].sum()
        room[rows] = np.where(good, np.sqrt(variance), np.nan)
    return _registration_moments(sigma, sums)


def _registration_moments(sigma: Array, sums: Array) -> tuple[float, float, float]:
    """Uncertainty of the mean difference, variance added between voxels, and the uncertainty of that.

    ``sums`` [axis, 6]: number of known gradients, of them and of the changes there, of their products; number of voxels
    that count, and of their squared gradients.
    """
    of_mean = spread = uncertain = 0.0
    for axis in np.flatnonzero(sigma):
        known, of_gradients, of_changes, of_products, count, of_squares = sums[axis]
        if not known:
            continue
        mean = of_gradients / known
        variance = max(of_squares / count - mean**2, 0.0)
        covariance = of_products / known - mean * of_changes / known
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
    threshold
        Least significance (absolute) of one that changed; infinite if there are none.
    share, share_up, share_down
        Of the voxels that count: all changed, and those whose value rose or fell.
    false_share
        Share of false ones among them that is expected at most.
    """

    threshold: float
    share: float
    share_up: float
    share_down: float
    false_share: float


def changed_voxels(*, significance: Rowed, good: Mask, false_share: float = 0.05) -> Changed:
    """Voxels whose change is significant, with a bound on the share of false ones among them.

    Two-sided normal probabilities p in ascending order; all up to the last with ``p_k <= false_share k / n`` count as
    changed [1]_. Holds for independent and for positively dependent voxels (smooth noise) [2]_.

    Parameters
    ----------
    significance
        Change over its standard uncertainty, any shape.
    good
        Voxels that count.
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
    count = int(np.count_nonzero(good))
    if count == 0:
        raise MeasurementError("no voxel of the difference counts", expected="voxels good in both maps")
    size, done = np.empty(count), 0
    for rows in slabs_of(good):
        part = np.abs(values_in(significance, good, rows))
        size[done : done + part.size] = part
        done += part.size
    size.sort()
    threshold, up = _threshold(size, false_share), 0
    share = float(count - np.searchsorted(size, threshold)) / count
    for rows in slabs_of(good):
        up += int(np.count_nonzero(values_in(significance, good, rows) >= threshold))
    return Changed(threshold, share, up / count, share - up / count, false_share)


def _threshold(size: Array, false_share: float) -> float:
    """Least of the sizes, which ascend, that passes; infinite if none does."""
    for start in range(0, size.size, _VOXELS):
        part = size[start : start + _VOXELS]
        as_large = size.size - start - np.arange(part.size)
        passing = np.flatnonzero(erfc(part / np.sqrt(2)) <= false_share * as_large / size.size)
        if passing.size:
            return float(part[passing[0]])
    return np.inf
