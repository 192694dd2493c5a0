"""How a map varies in space: correlation of its noise and of its domains, domain size, profile below the surface."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import edt  # type: ignore[import-not-found, import-untyped, unused-ignore]
import fill_voids  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import binary_fill_holes

from cathoscope.core.errors import MeasurementError
from cathoscope.xanes.lags import lag_covariance, lag_radius, mean_variance, near_products, radial_average
from cathoscope.xanes.rows import (
    Array,
    Derived,
    Mask,
    Rowed,
    covariance_in,
    laid_out,
    mean_in,
    mean_square_in,
    slabs_of,
    values_in,
)

_FEWEST_VOXELS = 8
_LEAST_NOISE_CORRELATION = 0.02
"""Where the correlation of noise is taken as ended: the tail of a Gaussian beyond holds 5 % of its sum."""


class MapOfRows(Protocol):
    """A `MeasuredMap`, or one whose rows are read when they are asked for."""

    @property
    def value(self) -> Rowed:
        """The quantity of each voxel."""

    @property
    def std(self) -> Rowed:
        """Its standard uncertainty."""

    @property
    def good(self) -> Mask:
        """Voxels that count."""

    @property
    def halves(self) -> tuple[Rowed, Rowed] | None:
        """The same from two disjoint halves of the projections."""

    @property
    def count(self) -> int:
        """Number of voxels that count."""


@dataclass(frozen=True)
class StoredMap:
    """A `MeasuredMap` whose values are had a few rows at a time: stored ones, or single precision."""

    value: Rowed
    std: Rowed
    good: Mask
    halves: tuple[Rowed, Rowed] | None = None

    @property
    def count(self) -> int:
        """Number of voxels that count."""
        return int(self.good.sum())


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
    found = stored_map(value=values, std=stds, good=chosen, halves=pair)
    return MeasuredMap(values, stds, found.good, pair)


def stored_map(*, value: Rowed, std: Rowed, good: Mask, halves: tuple[Rowed, Rowed] | None = None) -> StoredMap:
    """The same of maps that are read a few rows at a time, of one shape.

    Raises
    ------
    MeasurementError
        If fewer than 8 voxels count.
    """
    chosen = np.zeros(good.shape, dtype=bool)
    for rows in slabs_of(good):
        stds = np.asarray(std[rows])
        chosen[rows] = good[rows] & np.isfinite(value[rows]) & np.isfinite(stds) & (stds > 0)
        for half in halves or ():
            chosen[rows] &= np.isfinite(half[rows])
    if chosen.sum() < _FEWEST_VOXELS:
        raise MeasurementError(
            "too few voxels for a distribution",
            expected=f"at least {_FEWEST_VOXELS} good voxels with finite values",
            found=str(int(chosen.sum())),
        )
    return StoredMap(value, std, chosen, halves)


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


def noise_correlation(measured: MapOfRows) -> NoiseCorrelation:
    """Correlation and scale of the noise from the difference of the two half-set maps.

    Half the difference of the halves has the noise of the whole and nothing of the particle. Without halves the stated
    uncertainties are believed and the noise is taken as blurred to a resolution (full width at half maximum) of two
    voxels: 27 voxels carry one independent value in three dimensions. Ramp-filtered noise averages out faster.
    """
    if measured.halves is None:
        distance = lag_radius((4,) * measured.good.ndim)
        return NoiseCorrelation(np.exp(-np.log(2.0) / 2.0 * distance**2), 1.0)
    relative = relative_noise(measured)
    lagged = lag_covariance(first=relative, second=relative, inside=measured.good)
    variance, radius = mean_variance(lagged, measured.count, least=_LEAST_NOISE_CORRELATION)
    reach = lagged.within(radius)
    distance = lagged.radius_within(reach)
    kernel = np.where(distance < radius, lagged.covariance_within(reach) + variance, 0.0)
    total = lagged.at_zero + variance
    if total <= 0:  # the halves are the same map
        return NoiseCorrelation((distance == 0).astype(np.float64), 0.0)
    return NoiseCorrelation(kernel / total, float(np.sqrt(total)))


def relative_noise(measured: MapOfRows) -> Derived:
    """Half the difference of the halves, which is as noisy as the whole, over the stated uncertainty."""
    first, second = measured.halves or (measured.value, measured.value)
    good = measured.good

    def rows_of(rows: slice) -> Array:
        """Zero where voxels do not count."""
        difference = 0.5 * (values_in(first, good, rows) - values_in(second, good, rows))
        return laid_out(difference / values_in(measured.std, good, rows), good[rows])

    return Derived(rows_of)


def weighted_sum_variance(*, weights: Rowed, std: Rowed, inside: Mask, noise: NoiseCorrelation) -> float:
    """Variance that noise gives ``sum_i w_i x_i``: ``scale^2 sum_ij w_i std_i correlation(j - i) std_j w_j``.

    Voxels not ``inside`` do not count and may have any weight; ``noise`` is that of ``noise_correlation``.
    """

    def carried(rows: slice) -> Array:
        """Weight times uncertainty of the voxels that count."""
        return values_in(weights, inside, rows) * values_in(std, inside, rows)

    unit = max(float(np.abs(carried(rows)).max()) for rows in slabs_of(inside))
    if unit == 0:
        return 0.0
    scaled = Derived(lambda rows: laid_out(carried(rows) / unit, inside[rows]))
    products = near_products(scaled, inside, noise.correlation.shape)
    return max(float((products * noise.correlation).sum()), 0.0) * (unit * noise.scale) ** 2


def mean_noise_variance(measured: MapOfRows, chosen: Mask, noise: NoiseCorrelation) -> float:
    """Variance that noise gives the mean over some voxels."""
    share = 1.0 / int(chosen.sum())
    weights = Derived(lambda rows: np.full(chosen[rows].shape, share))
    return weighted_sum_variance(weights=weights, std=measured.std, inside=chosen, noise=noise)


def product_variance(measured: MapOfRows, chosen: Mask, noise: NoiseCorrelation) -> float:
    """Variance that noise gives the covariance of the halves over some voxels: ``4 m' C m / n^2``, m the deviations."""
    mean, count = mean_in(measured.value, chosen), int(chosen.sum())
    weights = Derived(lambda rows: (np.asarray(measured.value[rows], dtype=np.float64) - mean) / count)
    return 4.0 * weighted_sum_variance(weights=weights, std=measured.std, inside=chosen, noise=noise)


def squared_noise_trace(measured: MapOfRows, noise: NoiseCorrelation) -> float:
    """Trace of the squared noise covariance C of the good voxels; ``2 tr C^2 / n^2`` is the variance of their mean
    squared noise."""
    good = measured.good
    unit = max(float(values_in(measured.std, good, rows).max()) for rows in slabs_of(good)) ** 2
    squares = Derived(lambda rows: laid_out(values_in(measured.std, good, rows) ** 2 / unit, good[rows]))
    products = near_products(squares, good, noise.correlation.shape)
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


def correlation_length(
    measured: MapOfRows, *, voxel_size: float = 1.0, noise: NoiseCorrelation | None = None
) -> CorrelationLength:
    """Domain size from the cross-correlation of the two half-set maps, in which noise has no part.

    ``rho(r) = [C(r) + v] / [C(0) + v]``, C the covariance of the halves averaged over directions, v the variance of the
    mean (``mean_variance``). Uncertainties by the jackknife over octants of the particle (ninths in two dimensions) of
    equal numbers of voxels: with m blocks, ``(m - 1)/m`` times the sum of squared deviations, times
    ``(m - 1)/(m - 3)``, the variance of Student's distribution, for so few blocks.

    The resolution of the instrument is not removed: domains smaller than it are seen as large as it, less bright.
    Without halves the map must be free of noise, or its voxels' noise is taken for domains.

    ``voxel_size`` is the edge of a voxel in any unit (um): the unit of the result. ``noise`` is that of
    ``noise_correlation``, which is called without it.
    """
    noise = noise or noise_correlation(measured)
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


def _lengths(measured: MapOfRows, inside: Mask) -> tuple[Array, float, Array, Array]:
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


def _block_of_voxel(good: Mask) -> NDArray[np.int8]:
    """Number of the block of equal size every good voxel lies in: halves along three axes, thirds along two."""
    pieces = 2 if good.ndim == 3 else 3
    blocks = np.where(good, np.int8(0), np.int8(-1))
    for axis in range(good.ndim):  # every block is cut where it has equally many voxels on each side
        across = tuple(other for other in range(good.ndim) if other != axis)
        counts = [np.asarray(np.sum(blocks == block, axis=across)) for block in range(pieces**axis)]
        for place, layer in enumerate(np.moveaxis(blocks, axis, 0)):
            before = layer.copy()
            for block, along in enumerate(counts):
                chosen = before == block
                rank = np.arange(along[place]) + along[:place].sum()
                layer[chosen] = block * pieces + rank * pieces // along.sum()
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
    return np.asarray(depth_of_rows(inside, voxel_size=voxel_size)[:], dtype=np.float64)


def depth_of_rows(inside: ArrayLike, *, voxel_size: float = 1.0) -> Derived:
    """The same, worked out row by row from the squared distances: half the memory."""
    mask = np.asarray(inside, dtype=bool)
    filled = fill_voids.fill(mask) if mask.ndim == 3 else binary_fill_holes(mask)
    # whole numbers, exact in single precision; of numbers it takes less time than of truth values
    squared = edt.edtsq(np.ascontiguousarray(filled, dtype=np.bool_).view(np.uint8), black_border=True)

    def rows_of(rows: slice) -> Array:
        """Depth of some rows."""
        depth: Array = np.maximum(np.sqrt(squared[rows].astype(np.float64)) - 0.5, 0.0) * voxel_size
        return depth

    return Derived(rows_of)


def radial_profile(
    measured: MapOfRows, *, distance: Rowed, edges: ArrayLike, noise: NoiseCorrelation | None = None
) -> RadialProfile:
    """Mean and noise-free spread in shells of distance.

    Spread squared is the covariance of the halves in the shell (observed variance minus mean squared uncertainty
    without halves); uncertainties as in ``distribution_of_map``, from the correlated noise of the shell's voxels.

    ``distance`` is that of every voxel, for example ``depth_below_surface`` of the particle mask (not only of the good
    voxels); ``edges`` limit the shells, ascending. Shells of fewer than 2 voxels are NaN. ``noise`` is that of
    ``noise_correlation``, which is called without it.
    """
    noise = noise or noise_correlation(measured)
    limits = np.asarray(edges, dtype=np.float64)
    shells = np.full(measured.good.shape, -1, dtype=np.int16)
    for rows in slabs_of(measured.good):
        place = np.searchsorted(limits, np.asarray(distance[rows]), side="right") - 1
        shells[rows] = np.where(measured.good[rows] & (place < limits.size - 1), place, -1)
    found = [_shell(measured, shells == shell, noise, distance) for shell in range(limits.size - 1)]
    columns = np.array(found).T
    return RadialProfile(limits, columns[0], columns[1].astype(np.intp), *columns[2:])


def _shell(measured: MapOfRows, chosen: Mask, noise: NoiseCorrelation, distance: Rowed) -> tuple[float, ...]:
    count = int(chosen.sum())
    middle = mean_in(distance, chosen) if count else np.nan
    if count < 2:
        return middle, float(count), np.nan, np.nan, np.nan, np.nan
    of_mean = mean_noise_variance(measured, chosen, noise)
    of_product = product_variance(measured, chosen, noise)
    if measured.halves is None:
        observed = covariance_in(measured.value, measured.value, chosen)
        variance = observed - mean_square_in(measured.std, chosen) + of_mean
    else:
        variance = covariance_in(*measured.halves, chosen)
    spread, spread_std = width_with_std(variance, float(np.sqrt(of_product)))
    return middle, float(count), mean_in(measured.value, chosen), float(np.sqrt(of_mean)), spread, spread_std


def width_with_std(variance: float, variance_std: float) -> tuple[float, float]:
    """Root of a variance, not below zero, and the longer of the two ways to one standard uncertainty away."""
    square = max(variance, 0.0)
    lower, width, upper = np.sqrt([max(square - variance_std, 0.0), square, square + variance_std])
    return float(width), float(max(upper - width, width - lower))
