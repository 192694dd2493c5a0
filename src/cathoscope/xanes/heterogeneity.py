"""How a map varies in space: correlation of its noise and of its domains, domain size, profile below the surface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.fft import irfftn, next_fast_len, rfftn
from scipy.ndimage import binary_fill_holes, distance_transform_edt, find_objects

from cathoscope.core.errors import MeasurementError

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_FEWEST_VOXELS = 8
_LEAST_NOISE_CORRELATION = 0.02
"""Where the correlation of noise is taken as ended: the tail of a Gaussian beyond holds 5 % of its sum."""


@dataclass(frozen=True)
class MeasuredMap:
    """A map of one quantity in one particle, ``[z, y, x]`` (or ``[y, x]``), with its noise.

    Attributes
    ----------
    value, std
        The quantity (for example the white-line energy, eV) and the standard uncertainty of each voxel.
    good
        Voxels that count.
    halves
        The same map from two disjoint halves of the projections (odd and even), or None. Their noise is independent,
        what they see is the same.
    """

    value: Array
    std: Array
    good: Mask
    halves: tuple[Array, Array] | None = None

    @property
    def count(self) -> int:
        """Number of voxels that count."""
        return int(self.good.sum())


def measured_map(
    *, value: ArrayLike, std: ArrayLike, good: ArrayLike, halves: tuple[ArrayLike, ArrayLike] | None = None
) -> MeasuredMap:
    """A checked map; voxels without a finite value, uncertainty above zero and finite halves do not count.

    Raises
    ------
    MeasurementError
        If shapes differ or fewer than 8 voxels count.
    """
    values, stds, chosen = np.asarray(value, np.float64), np.asarray(std, np.float64), np.asarray(good, dtype=bool)
    pair = None if halves is None else (np.asarray(halves[0], np.float64), np.asarray(halves[1], np.float64))
    arrays = [values, stds, chosen, *(pair or ())]
    if any(array.shape != values.shape for array in arrays):
        raise MeasurementError(
            "the arrays of a map do not match",
            expected="one shape for values, uncertainties, mask and halves",
            found=", ".join(str(array.shape) for array in arrays),
        )
    chosen = chosen & np.isfinite(values) & np.isfinite(stds) & (stds > 0)
    for half in pair or ():
        chosen &= np.isfinite(half)
    if chosen.sum() < _FEWEST_VOXELS:
        raise MeasurementError(
            "too few voxels for a distribution",
            expected=f"at least {_FEWEST_VOXELS} good voxels with finite values",
            found=str(int(chosen.sum())),
        )
    return MeasuredMap(values, stds, chosen, pair)


@dataclass(frozen=True)
class LagCovariance:
    """Covariance of two fields inside a mask against the shift between them, zero shift in the middle.

    Attributes
    ----------
    covariance
        Mean product of deviations over all pairs of voxels inside the mask, ``[lag z, lag y, lag x]``.
    pairs
        Number of such pairs.
    radius
        Length of each shift, voxels.
    """

    covariance: Array
    pairs: Array
    radius: Array

    @property
    def at_zero(self) -> float:
        """Covariance without shift."""
        return float(self.covariance[tuple(size // 2 for size in self.covariance.shape)])


def lag_covariance(
    *, first: ArrayLike, second: ArrayLike, inside: ArrayLike, maximum_lag: int | None = None
) -> LagCovariance:
    """Covariance function of two fields over the pairs of voxels inside a mask.

    ``C(h) = sum_x w(x) w(x + h) a(x) b(x + h) / sum_x w(x) w(x + h)`` with w the mask, a and b the deviations from the
    means inside; both sums by zero-padded Fourier transforms in single precision; averaged over h and -h. Since the
    means are those of the same voxels, C(h) lies too low by the variance of the mean (see ``mean_variance``).

    Parameters
    ----------
    first, second
        Fields of one shape; two half-set maps for the covariance without noise, one map twice for its own.
    inside
        Voxels that count, boolean, same shape.
    maximum_lag
        Longest shift along each axis, voxels; half of the mask's extent without it.
    """
    mask = np.asarray(inside, dtype=bool)
    box = find_objects(mask.astype(np.int8))[0]
    mask = mask[box]
    deviation = _deviation(np.asarray(first)[box], mask)
    other = deviation if second is first else _deviation(np.asarray(second)[box], mask)
    lags = tuple(min(max(size // 2 if maximum_lag is None else maximum_lag, 1), size - 1) for size in mask.shape)
    weight = mask.astype(np.float32)
    pairs = np.rint(_lag_products(weight, weight, lags))
    products = _lag_products(deviation, other, lags)
    products = 0.5 * (products + np.flip(products))
    covariance = np.where(pairs > 0, products / np.maximum(pairs, 1), 0.0)
    return LagCovariance(covariance, pairs, lag_radius(lags))


def lag_radius(lags: Sequence[int]) -> Array:
    """Length of every shift up to ``lags`` along each axis, voxels."""
    axes = np.meshgrid(*(np.arange(-lag, lag + 1.0) for lag in lags), indexing="ij")
    return np.sqrt(sum((axis**2 for axis in axes), start=np.zeros(axes[0].shape)))


def _deviation(field: NDArray[np.floating], mask: Mask) -> NDArray[np.float32]:
    centred = np.zeros(mask.shape, dtype=np.float32)
    centred[mask] = field[mask] - field[mask].mean(dtype=np.float64)
    return centred


def _lag_products(first: NDArray[np.float32], second: NDArray[np.float32], lags: Sequence[int]) -> Array:
    """``sum_x a(x) b(x + h)`` for shifts up to ``lags`` along each axis."""
    shape = [next_fast_len(size + lag, real=True) for size, lag in zip(first.shape, lags, strict=True)]
    spectrum = rfftn(first, shape)
    other = spectrum if second is first else rfftn(second, shape)
    products = irfftn(np.conj(spectrum) * other, shape)
    for axis, lag in enumerate(lags):
        products = np.take(products, np.arange(-lag, lag + 1), axis=axis, mode="wrap")
    return np.asarray(products, dtype=np.float64)


def radial_average(lagged: LagCovariance, width: float = 1.0) -> tuple[Array, Array, Array]:
    """Radius, covariance and number of pairs in shells of a width (voxels), weighted by pairs; empty ones left out.

    Shells end at the longest shift along the shortest axis, beyond which they are cut.
    """
    shell = np.rint(lagged.radius / width).astype(np.intp).ravel()
    count = int(min((size for size in lagged.pairs.shape if size > 1), default=1) // 2 / width) + 1
    pairs = np.asarray(np.bincount(shell, lagged.pairs.ravel())[:count], dtype=np.float64)
    kept = pairs > 0
    radius = np.bincount(shell, (lagged.pairs * lagged.radius).ravel())[:count][kept] / pairs[kept]
    value = np.bincount(shell, (lagged.pairs * lagged.covariance).ravel())[:count][kept] / pairs[kept]
    return radius, value, pairs[kept]


def mean_variance(lagged: LagCovariance, count: int, *, least: float = 0.0) -> tuple[float, float]:
    """Variance of the mean of a field over its mask, and the radius (voxels) within which its voxels are correlated.

    ``v = sum_h n(h) [C(h) + v] / n^2`` over the shifts shorter than the first at which the shell average of ``C + v``
    is not above ``least`` times that without shift; v inside the brackets undoes the subtraction of the field's own
    mean. The farther shifts, where noise would sum up, are left out; negative lobes behind the first zero
    (ramp-filtered noise) thus lower nothing.
    """
    distance, shells, _ = radial_average(lagged)
    variance, radius = 0.0, 0.5
    for _ in range(4):
        below = np.flatnonzero(shells + variance <= least * (shells[0] + variance))
        radius = max(float(np.rint(distance[below[0]] if below.size else distance[-1] + 1.0)) - 0.5, 0.5)
        near = lagged.radius < radius
        share = float(lagged.pairs[near].sum()) / count**2
        # domains as large as the particle leave nothing to average over: at most half of all pairs are corrected for
        variance = float((lagged.pairs * lagged.covariance)[near].sum()) / count**2 / (1.0 - min(share, 0.5))
        variance = max(variance, 0.0)
    return variance, radius


@dataclass(frozen=True)
class NoiseCorrelation:
    """How the noise of voxels hangs together: covariance ``scale^2 std_i std_j correlation(j - i)``.

    Attributes
    ----------
    correlation
        Against the shift, ``[lag z, lag y, lag x]``, one in the middle.
    scale
        Actual over stated standard deviation of the noise.
    """

    correlation: Array
    scale: float

    @property
    def voxels_per_value(self) -> float:
        """Number of voxels that carry one independent value of noise."""
        return float(self.correlation.sum())


def noise_correlation(measured: MeasuredMap) -> NoiseCorrelation:
    """Correlation and scale of the noise from the difference of the two half-set maps.

    Half the difference of the halves has the noise of the whole and nothing of the particle. Without halves the stated
    uncertainties are believed and the noise is taken as blurred to a resolution (full width at half maximum) of two
    voxels: 27 voxels carry one independent value in three dimensions. Ramp-filtered noise averages out faster.
    """
    if measured.halves is None:
        distance = lag_radius((4,) * measured.value.ndim)
        return NoiseCorrelation(np.exp(-np.log(2.0) / 2.0 * distance**2), 1.0)
    relative = np.zeros_like(measured.value)
    difference = 0.5 * (measured.halves[0] - measured.halves[1])
    relative[measured.good] = difference[measured.good] / measured.std[measured.good]
    lagged = lag_covariance(first=relative, second=relative, inside=measured.good)
    variance, radius = mean_variance(lagged, measured.count, least=_LEAST_NOISE_CORRELATION)
    reach = tuple(min(int(np.ceil(radius)), size // 2) for size in lagged.radius.shape)
    near = tuple(slice(size // 2 - r, size // 2 + r + 1) for size, r in zip(lagged.radius.shape, reach, strict=True))
    kernel = np.where(lagged.radius < radius, lagged.covariance + variance, 0.0)[near]
    total = lagged.at_zero + variance
    if total <= 0:  # the halves are the same map
        return NoiseCorrelation((lagged.radius[near] == 0).astype(np.float64), 0.0)
    return NoiseCorrelation(kernel / total, float(np.sqrt(total)))


def weighted_sum_variance(*, weights: ArrayLike, std: ArrayLike, noise: NoiseCorrelation) -> float:
    """Variance that noise gives ``sum_i w_i x_i``: ``scale^2 sum_ij w_i std_i correlation(j - i) std_j w_j``.

    Voxels of weight zero do not count and may have any ``std``; ``noise`` is that of ``noise_correlation``.
    """
    weight = np.asarray(weights, dtype=np.float64)
    carried = np.where(weight != 0, weight * np.where(weight != 0, np.asarray(std), 0.0), 0.0)
    unit = float(np.abs(carried).max())
    if unit == 0:
        return 0.0
    products = _autoproducts(carried / unit, noise.correlation.shape)
    return max(float((products * noise.correlation).sum()), 0.0) * (unit * noise.scale) ** 2


def product_variance(measured: MeasuredMap, chosen: Mask, noise: NoiseCorrelation) -> float:
    """Variance that noise gives the covariance of the halves over some voxels: ``4 m' C m / n^2``, m the deviations."""
    values = np.where(chosen, measured.value, 0.0)
    deviation = np.where(chosen, values - values[chosen].mean(), 0.0)
    return 4.0 * weighted_sum_variance(weights=deviation / chosen.sum(), std=measured.std, noise=noise)


def _autoproducts(field: Array, shape: Sequence[int]) -> Array:
    """``sum_x f(x) f(x + h)`` on the shifts of an array of odd ``shape``."""
    box = find_objects((field != 0).astype(np.int8))[0]
    cut = field[box].astype(np.float32)
    return _lag_products(cut, cut, [size // 2 for size in shape])


def squared_noise_trace(measured: MeasuredMap, noise: NoiseCorrelation) -> float:
    """Trace of the squared noise covariance C of the good voxels; ``2 tr C^2 / n^2`` is the variance of their mean
    squared noise."""
    squares = np.where(measured.good, np.where(measured.good, measured.std, 0.0) ** 2, 0.0)
    unit = float(squares.max())
    products = _autoproducts(squares / unit, noise.correlation.shape)
    return float((products * noise.correlation**2).sum()) * unit**2 * noise.scale**4


class Length(NamedTuple):
    """A length and its standard uncertainty."""

    value: float
    std: float


@dataclass(frozen=True)
class CorrelationLength:
    """How far the true values of a map hang together, and so how large its domains are.

    Attributes
    ----------
    radius, correlation, correlation_std
        Correlation of the true values against distance, ``[shell]``; the unit of ``voxel_size``.
    half_width
        Distance at which the correlation is one half.
    decay_length
        Distance at which it is 1/e.
    exponential_length
        Length l of ``exp(-r / l)`` fitted to the correlations above 1/5 from one voxel on, its height free: less
        touched by the blur of the instrument, which rounds the top.
    significance
        Covariance of the halves over its uncertainty.
    resolved
        Whether it exceeds 3, and the correlation falls below 1/e inside the map. If not, lengths are zero with std
        NaN (no spread beyond noise), or NaN (domains as large as the map).
    """

    radius: Array
    correlation: Array
    correlation_std: Array
    half_width: Length
    decay_length: Length
    exponential_length: Length
    significance: float
    resolved: bool


def correlation_length(measured: MeasuredMap, *, voxel_size: float = 1.0) -> CorrelationLength:
    """Domain size from the cross-correlation of the two half-set maps, in which noise has no part.

    ``rho(r) = [C(r) + v] / [C(0) + v]``, C the covariance of the halves averaged over directions, v the variance of the
    mean (``mean_variance``). Uncertainties by the jackknife over octants of the particle (ninths in two dimensions) of
    equal numbers of voxels: with m blocks, ``(m - 1)/m`` times the sum of squared deviations, times
    ``(m - 1)/(m - 3)``, the variance of Student's distribution, for so few blocks.

    The resolution of the instrument is not removed: domains smaller than it are seen as large as it, less bright.
    Without halves the map must be free of noise, or its voxels' noise is taken for domains.

    ``voxel_size`` is the edge of a voxel in any unit (um): the unit of the result.
    """
    noise = noise_correlation(measured)
    noise_std = np.sqrt(product_variance(measured, measured.good, noise)) if measured.halves is not None else 0.0
    radius, covariance, rho, lengths = _lengths(measured, measured.good)
    significance = covariance / noise_std if noise_std > 0 else np.inf
    blocks = _block_of_voxel(measured.good)
    left_out = [_lengths(measured, measured.good & (blocks != i)) for i in range(blocks.max() + 1)]
    shells = min(rho.size, *(one[2].size for one in left_out))
    std = _jackknife(np.array([np.append(one[2][:shells], one[3]) for one in left_out]))
    resolved = bool(significance > 3 and np.isfinite(lengths).all())
    if significance <= 3:
        lengths, std[-3:] = np.zeros(3), np.nan
    half, decay, exponential = (
        Length(float(value), float(error))
        for value, error in zip(lengths * voxel_size, std[-3:] * voxel_size, strict=True)
    )
    return CorrelationLength(
        radius[:shells] * voxel_size, rho[:shells], std[:-3], half, decay, exponential, float(significance), resolved
    )


def _lengths(measured: MeasuredMap, inside: Mask) -> tuple[Array, float, Array, Array]:
    """Radius, covariance at zero, correlation against radius, and the three lengths, in voxels."""
    first, second = measured.halves or (measured.value, measured.value)
    lagged = lag_covariance(first=first, second=second, inside=inside)
    variance = mean_variance(lagged, int(inside.sum()))[0]
    radius, shells, pairs = radial_average(lagged, width=0.5)  # finer, as the correlation bends near its top
    rho = (shells + variance) / (shells[0] + variance) if shells[0] > 0 else np.full(shells.size, np.nan)
    lengths = [_crossing(radius, rho, level) for level in (0.5, np.exp(-1.0))]
    return radius, float(shells[0]), rho, np.array([*lengths, _exponential(radius, rho, pairs)])


def _crossing(radius: Array, rho: Array, level: float) -> float:
    """Where the correlation first falls to a level; NaN if it does not. Between shells it decays exponentially."""
    below = np.flatnonzero(rho <= level)
    if not below.size or not np.isfinite(rho).all():
        return np.nan
    i = int(below[0])
    before, after = float(rho[i - 1]), float(rho[i])
    straight = (before - level) / (before - after)
    share = np.log(before / level) / np.log(before / after) if after > 0 else straight
    return float(radius[i - 1] + share * (radius[i] - radius[i - 1]))


def _exponential(radius: Array, rho: Array, pairs: Array) -> float:
    """Length of the exponential through the logarithm of the correlations above 1/5, weighted by pairs."""
    low = np.flatnonzero(~(rho > 0.2))
    last = int(low[0]) if low.size else rho.size
    if last == 0:
        return np.nan
    if last < 3:  # nothing left to fit: the first step alone
        return float((radius[1] - radius[0]) / -np.log(max(rho[1], 1e-3)))
    weight = np.sqrt(pairs[1:last]) * rho[1:last]
    slope = np.polyfit(radius[1:last], np.log(rho[1:last]), 1, w=weight)[0]
    return float(-1.0 / slope) if slope < 0 else np.nan


def _block_of_voxel(good: Mask) -> NDArray[np.intp]:
    """Number of the block of equal size every good voxel lies in: halves along three axes, thirds along two."""
    place = np.argwhere(good)
    pieces = 2 if good.ndim == 3 else 3
    number = np.zeros(len(place), dtype=np.intp)
    for axis in range(good.ndim):  # every block is cut where it has equally many voxels on each side
        piece = np.zeros_like(number)
        for block in np.unique(number):
            chosen = number == block
            order = np.argsort(np.argsort(place[chosen, axis], kind="stable"))
            piece[chosen] = order * pieces // chosen.sum()
        number = number * pieces + piece
    blocks = np.full(good.shape, -1, dtype=np.intp)
    blocks[good] = number
    return blocks


def _jackknife(values: Array) -> Array:
    """Standard uncertainties from values each with one block left out, ``[block, value]``."""
    count = len(values)
    few = (count - 1) / (count - 3)
    variance = few * (count - 1) / count * np.sum((values - values.mean(axis=0)) ** 2, axis=0)
    return np.asarray(np.sqrt(variance))


@dataclass(frozen=True)
class RadialProfile:
    """Mean and spread of a map against depth below the particle's surface, or distance from its middle.

    Attributes
    ----------
    edges, distance
        Limits of the shells and mean distance of their voxels, ``[shell + 1]`` and ``[shell]``.
    count
        Voxels in each shell.
    mean, mean_std
        Mean of each shell and what noise makes of it (correlated noise included); common errors are not in it.
    spread, spread_std
        Standard deviation of the true values in a shell, noise removed, not below zero; its uncertainty.
    """

    edges: Array
    distance: Array
    count: NDArray[np.intp]
    mean: Array
    mean_std: Array
    spread: Array
    spread_std: Array


def depth_below_surface(inside: ArrayLike, *, voxel_size: float = 1.0) -> Array:
    """Distance of every voxel from the outer surface of a mask whose inner holes are filled; zero outside.

    The nearest voxel outside is half a voxel beyond the surface, so half a voxel is taken off.
    """
    filled = np.pad(binary_fill_holes(np.asarray(inside, dtype=bool)), 1)
    depth = distance_transform_edt(filled)[(slice(1, -1),) * filled.ndim]
    distance: Array = np.maximum(depth - 0.5, 0.0) * voxel_size
    return distance


def radial_profile(
    measured: MeasuredMap, *, distance: ArrayLike, edges: ArrayLike, noise: NoiseCorrelation | None = None
) -> RadialProfile:
    """Mean and noise-free spread in shells of distance.

    Spread squared is the covariance of the halves in the shell (observed variance minus mean squared uncertainty
    without halves); uncertainties as in ``distribution_of_map``, from the correlated noise of the shell's voxels.

    ``distance`` is that of every voxel, for example ``depth_below_surface`` of the particle mask (not only of the good
    voxels); ``edges`` limit the shells, ascending. Shells of fewer than 2 voxels are NaN. ``noise`` is that of
    ``noise_correlation``, which is called without it.
    """
    noise = noise or noise_correlation(measured)
    limits, depth = np.asarray(edges, dtype=np.float64), np.asarray(distance, dtype=np.float64)
    rows = []
    for low, high in pairwise(limits):
        chosen = measured.good & (depth >= low) & (depth < high)
        rows.append(_shell(measured, chosen, noise, float(depth[chosen].mean()) if chosen.any() else np.nan))
    columns = np.array(rows).T
    return RadialProfile(limits, columns[0], columns[1].astype(np.intp), *columns[2:])


def _shell(measured: MeasuredMap, chosen: Mask, noise: NoiseCorrelation, distance: float) -> tuple[float, ...]:
    count = int(chosen.sum())
    if count < 2:
        return distance, float(count), np.nan, np.nan, np.nan, np.nan
    values = measured.value[chosen]
    of_mean = weighted_sum_variance(weights=chosen / count, std=measured.std, noise=noise)
    of_product = product_variance(measured, chosen, noise)
    if measured.halves is None:
        variance = float(values.var()) - float(np.mean(measured.std[chosen] ** 2)) + of_mean
    else:
        a, b = (half[chosen] - half[chosen].mean() for half in measured.halves)
        variance = float(np.mean(a * b))
    spread, spread_std = width_with_std(variance, float(np.sqrt(of_product)))
    return distance, float(count), float(values.mean()), float(np.sqrt(of_mean)), spread, spread_std


def width_with_std(variance: float, variance_std: float) -> tuple[float, float]:
    """Root of a variance, not below zero, and the longer of the two ways to one standard uncertainty away."""
    square = max(variance, 0.0)
    lower, width, upper = np.sqrt([max(square - variance_std, 0.0), square, square + variance_std])
    return float(width), float(max(upper - width, width - lower))
