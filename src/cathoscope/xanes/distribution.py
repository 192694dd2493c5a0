"""Distribution of the white-line energy over a particle: mean, spread and shape, the noise removed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from cathoscope.xanes.heterogeneity import (
    MeasuredMap,
    NoiseCorrelation,
    lag_covariance,
    mean_variance,
    noise_correlation,
    product_variance,
    squared_noise_trace,
    weighted_sum_variance,
    width_with_std,
)

Array = NDArray[np.float64]

_NOISE_CLASSES = 8  # groups of voxels of like noise in the deconvolution
_MOST_ITERATIONS = 500
_CENTRAL = 0.7  # widths about the mean that hold about half of all voxels


@dataclass(frozen=True)
class Systematic:
    """An error that all voxels of a map have in common.

    ``shared`` errors of the same name move every map that lists them the same way (one energy calibration for all
    temperatures) and cancel in a difference; the others are drawn anew for every map (drift between calibrations).
    """

    name: str
    std: float
    shared: bool = True


@dataclass(frozen=True)
class Distribution:
    """Mean and spread of a quantity over a particle, in the unit of the map (eV).

    ``*_std`` is the uncertainty for the very particle measured, whose voxels are all there: noise alone.
    ``*_material_std`` is for the material of which this particle is one sample: it adds that a particle holds few
    independent domains. Below about 30 of them it is too small itself (by a third with 13).

    Attributes
    ----------
    count
        Voxels.
    mean, mean_std, mean_material_std
        Plain mean; statistical uncertainties, without ``systematic``.
    systematic
        Errors common to all voxels.
    observed_width
        Standard deviation of the values as measured, noise included.
    variance, variance_std
        Of the true values in this particle; from the halves where there are any, else from the stated noise. May be
        below zero.
    variance_material, variance_material_std
        Of the true values in the material: more by the variance of a particle's mean.
    variance_from_noise, variance_from_noise_std
        Observed variance minus mean squared uncertainty.
    discrepancy
        Difference of the two variances in units of its uncertainty; NaN without halves. Beyond 3 the
        stated uncertainties are wrong.
    noise_scale
        Actual noise (from the halves) over stated uncertainty; 1 without halves.
    halves_difference
        Difference of the halves' means in units of its uncertainty; NaN without halves.
    independent_noise, independent_values, independent
        Effective number of voxels for the noise, for the true values (NaN if these have no spread or there are no
        halves), and for the values as measured.
    """

    count: int
    mean: float
    mean_std: float
    mean_material_std: float
    systematic: tuple[Systematic, ...]
    observed_width: float
    variance: float
    variance_std: float
    variance_material: float
    variance_material_std: float
    variance_from_noise: float
    variance_from_noise_std: float
    discrepancy: float
    noise_scale: float
    halves_difference: float
    independent_noise: float
    independent_values: float
    independent: float

    @property
    def width(self) -> float:
        """Standard deviation of the true values, not below zero."""
        return float(np.sqrt(max(self.variance, 0.0)))

    @property
    def width_std(self) -> float:
        """Longer of the two ways to the width one standard uncertainty of the variance away."""
        return width_with_std(self.variance, self.variance_std)[1]

    @property
    def systematic_std(self) -> float:
        """Common errors of the mean in quadrature."""
        return float(np.sqrt(sum(term.std**2 for term in self.systematic)))

    @property
    def mean_total_std(self) -> float:
        """Noise and common errors of this particle's mean together."""
        return float(np.hypot(self.mean_std, self.systematic_std))


def distribution_of_map(
    measured: MeasuredMap, *, systematic: Sequence[Systematic] = (), noise: NoiseCorrelation | None = None
) -> Distribution:
    """Mean and noise-free spread of a map with uncertainties that know how many voxels are independent.

    True variance: the covariance of the two half-set maps, in which noise has no part on average. With C the
    covariance of the noise of the whole map, m its deviation from the mean and n the number of voxels, noise gives this
    covariance the variance ``4 m' C m / n^2`` (halves alike: noise covariance 2 C each; the noise in m makes up exactly
    for the product of the two noises). Second estimate: observed variance minus mean squared uncertainty plus variance
    of the mean, of variance ``(4 m' C m - 2 tr C^2) / n^2``. Their difference holds noise only, of variance
    ``2 tr C^2 / n^2``.

    For the material, the variance of a mean is the sum of its lag covariances (``mean_variance``): of the covariance of
    the halves for the mean, and of the field ``(a - mean a)(b - mean b)`` for the variance, which assumes no normal
    distribution.

    Parameters
    ----------
    measured
        From ``measured_map``.
    systematic
        Errors common to all voxels, unit of the map.
    noise
        From ``noise_correlation``, which is called without it.

    Notes
    -----
    Voxels that fit badly but count as good have heavy tails, which enter the variance in full: flag them first.
    Where the halves' fits are biased by their noise, that bias is part of the mean and width.
    """
    noise = noise or noise_correlation(measured)
    good, count = measured.good, measured.count
    values, std = measured.value[good], measured.std[good]
    mean = float(values.mean())
    equal = np.where(good, 1.0 / count, 0.0)
    of_mean = weighted_sum_variance(weights=equal, std=measured.std, noise=noise)
    of_product = product_variance(measured, good, noise)
    of_noise = 2.0 * squared_noise_trace(measured, noise) / count**2
    observed = float(values.var())
    from_noise = observed - float(np.mean(std**2)) + of_mean
    from_noise_std = float(np.sqrt(max(of_product - of_noise, 0.5 * of_noise)))
    material = _material(measured, of_mean)
    noise_variance = noise.scale**2 * float(np.mean(std**2))
    halved = measured.halves is not None
    variance = material.variance if halved else from_noise
    variance_std = float(np.sqrt(of_product)) if halved else from_noise_std
    return Distribution(
        count=count,
        mean=mean,
        mean_std=float(np.sqrt(of_mean)),
        mean_material_std=float(np.sqrt(material.of_mean)),
        systematic=tuple(systematic),
        observed_width=float(np.sqrt(observed)),
        variance=variance,
        variance_std=variance_std,
        variance_material=variance + material.of_values,
        variance_material_std=max(variance_std, float(np.sqrt(material.of_variance))),
        variance_from_noise=from_noise,
        variance_from_noise_std=from_noise_std,
        discrepancy=_pull(variance - from_noise, of_noise) if halved else np.nan,
        noise_scale=noise.scale,
        halves_difference=_pull(material.halves_difference, 4.0 * of_mean) if halved else np.nan,
        independent_noise=min(noise_variance / of_mean, float(count)) if of_mean > 0 else float(count),
        independent_values=material.independent,
        independent=min(observed / material.of_mean, float(count)) if material.of_mean > 0 else float(count),
    )


def _pull(difference: float, variance: float) -> float:
    """A difference in units of its uncertainty; NaN where that is zero."""
    return difference / float(np.sqrt(variance)) if variance > 0 else np.nan


@dataclass(frozen=True)
class _Material:
    of_mean: float
    of_values: float
    of_variance: float
    variance: float
    independent: float
    halves_difference: float


def _material(measured: MeasuredMap, noise_of_mean: float) -> _Material:
    """Variances of mean and variance when domains, too, are drawn by chance; and the covariance of the halves."""
    good, count = measured.good, measured.count
    first, second = measured.halves or (measured.value, measured.value)
    lagged = lag_covariance(first=first, second=second, inside=good)
    of_values = mean_variance(lagged, count)[0]
    a, b = (field[good] - field[good].mean() for field in (first, second))
    product = np.zeros(good.shape)
    product[good] = a * b
    of_variance = mean_variance(lag_covariance(first=product, second=product, inside=good), count)[0]
    variance = float(np.mean(a * b))
    halved = measured.halves is not None
    spread = halved and variance > 0 and of_values > 0
    return _Material(
        of_mean=of_values + (noise_of_mean if halved else 0.0),
        of_values=of_values if halved else max(of_values - noise_of_mean, 0.0),
        of_variance=of_variance,
        variance=variance,
        independent=min(variance / of_values, float(count)) if spread else np.nan,
        halves_difference=float(first[good].mean() - second[good].mean()),
    )


@dataclass(frozen=True)
class Shape:
    """Density of the values of a map over their range, as measured and with the noise removed.

    Attributes
    ----------
    value
        Middles of the bins, unit of the map, ``[bin]``.
    measured, measured_std
        Histogram as density (integral one) and its standard uncertainty, ``[bin]``.
    density, density_std
        The same, noise removed.
    mean, width
        Of ``density``.
    iterations
        Steps of the deconvolution.
    reached
        Whether the width came down to one standard uncertainty above that of the distribution.
    resolution
        Width (standard deviation) that the same steps leave of a single value: finer structure is not resolved.
    outside
        Number of values outside the range of the bins.
    """

    value: Array
    measured: Array
    measured_std: Array
    density: Array
    density_std: Array
    mean: float
    width: float
    iterations: int
    reached: bool
    resolution: float
    outside: int


def shape_of_map(
    measured: MeasuredMap, found: Distribution, *, step: float | None = None, replicates: int = 50, seed: int = 0
) -> Shape:
    """Density of the true values by maximum likelihood, stopped where its width agrees with the one without noise.

    Voxel i is drawn from the density g blurred by its own normal noise of std_i. Expectation maximisation (the
    Richardson-Lucy scheme with a kernel per voxel [1]_) multiplies g by the mean over voxels of
    ``p(x_i | u) / integral p(x_i | u) g(u)``. It starts from the histogram blurred once more by the noise, smooth and
    too wide, and narrows. It is stopped as soon as its variance exceeds that of ``found`` by no more than one
    standard uncertainty: narrower is not demanded by the data, and more steps would grow spikes. Noise is scaled to the
    part of the observed variance that is not true; voxels are grouped into 8 classes of like noise.

    The uncertainty is the scatter over a Bayesian bootstrap of cubic blocks, two correlated lengths wide, with the same
    number of steps: it holds for the material. Blocks are not quite independent of their neighbours, so it is scaled
    by how much too little the share of voxels within 0.7 widths of the mean scatters, against the lag covariance of
    that share. It does not hold the blur of stopping early, which is stated as ``resolution``.

    Parameters
    ----------
    measured, found
        A map and its ``distribution_of_map``.
    step
        Width of a bin; without it a third of the median noise, but at most 200 bins.
    replicates, seed
        Of the bootstrap.

    References
    ----------
    .. [1] W. H. Richardson, J. Opt. Soc. Am. 62 (1972) 55; L. B. Lucy, Astron. J. 79 (1974) 745.
    """
    values, std = measured.value[measured.good], measured.std[measured.good]
    noise_variance = max(found.observed_width**2 - found.variance, 0.01 * found.observed_width**2)
    std = std * np.sqrt(noise_variance / np.mean(std**2))
    binned = bin_values(values, std, step)
    blocks = _blocks(measured, found.independent)
    shares = np.random.default_rng(seed).exponential(size=(replicates + 1, int(blocks.max()) + 1))
    shares[0] = 1.0
    histograms = _block_histograms(binned, blocks, shares)
    blur = binned.blur()
    start = _start(histograms, binned)
    target = max(found.variance, 0.0) + found.variance_std
    density, iterations = _narrowed(start[:1], histograms[:1], blur, binned.middle, target)
    replicated = _iterated(start[1:], histograms[1:], blur, iterations)
    spike = _spike(binned, found.mean)
    single = _iterated(_start(spike, binned), spike, blur, iterations)
    width = binned.middle[1] - binned.middle[0]
    total = histograms.reshape(len(histograms), len(binned.std), -1).sum(axis=1)
    central = np.abs(binned.middle - found.mean) < _CENTRAL * found.observed_width
    scale = _central_share_std(measured, found) / float(total[1:, central].sum(axis=1).std())
    mean, variance = _moments(density[0], binned.middle)
    return Shape(
        value=binned.middle,
        measured=total[0] / width,
        measured_std=scale * total[1:].std(axis=0) / width,
        density=density[0] / width,
        density_std=scale * replicated.std(axis=0) / width,
        mean=mean,
        width=float(np.sqrt(variance)),
        iterations=iterations,
        reached=iterations < _MOST_ITERATIONS,
        resolution=float(np.sqrt(_moments(single[0], binned.middle)[1])),
        outside=binned.outside,
    )


@dataclass(frozen=True)
class Binned:
    """Values counted in bins, apart for every class of like noise.

    Attributes
    ----------
    edges, middle
        Of the bins, ``[bin + 1]`` and ``[bin]``.
    std
        Root mean square noise of the class, ``[class]``.
    cell
        Which class and bin (``class * bins + bin``) every value lies in, ``[value]``.
    outside
        Values beyond the bins; they are counted in the first or last one.
    """

    edges: Array
    middle: Array
    std: Array
    cell: NDArray[np.intp]
    outside: int

    @property
    def counts(self) -> Array:
        """Number of values, ``[class, bin]``."""
        shape = self.std.size, self.middle.size
        return np.bincount(self.cell, minlength=shape[0] * shape[1]).reshape(shape).astype(np.float64)

    def blur(self) -> Array:
        """Probability that a true value in the middle of a bin is found in a class's bin, ``[true, class * bins]``."""
        distance = self.edges - self.middle[:, np.newaxis, np.newaxis]
        share = np.diff(ndtr(distance / self.std[:, np.newaxis]), axis=2)
        return np.asarray(share.reshape(self.middle.size, -1), dtype=np.float64)


def bin_values(values: Array, std: Array, step: float | None = None) -> Binned:
    """Values in bins over the middle 99.98 % and two noise widths beyond, in 8 equal classes by their noise."""
    median = float(np.median(std))
    low, high = np.quantile(values, [1e-4, 1 - 1e-4]) + np.array([-2.0, 2.0]) * median
    width = max(median / 3 if step is None else step, (high - low) / 200)
    count = max(int(np.ceil((high - low) / width)), 3)
    edges = low + width * np.arange(count + 1)
    limits = np.unique(np.quantile(std, np.linspace(0, 1, _NOISE_CLASSES + 1)[1:-1]))
    group = np.searchsorted(limits, std)
    present, group = np.unique(group, return_inverse=True)
    square = np.bincount(group, std**2, minlength=present.size) / np.bincount(group, minlength=present.size)
    place = np.floor((values - low) / width).astype(np.intp)
    outside = int(np.sum((place < 0) | (place >= count)))
    cell = group.astype(np.intp) * count + np.clip(place, 0, count - 1)
    return Binned(edges, 0.5 * (edges[1:] + edges[:-1]), np.sqrt(square), cell, outside)


def _blocks(measured: MeasuredMap, independent: float) -> NDArray[np.intp]:
    """Number of the cubic block that every good voxel lies in."""
    dimension = measured.good.ndim
    edge = max(2.0 * (measured.count / independent) ** (1 / dimension), 1.0)
    # fewer than about 20 blocks would leave the bootstrap nothing to draw from
    edge = min(edge, (measured.count / 20) ** (1 / dimension))
    place = (np.argwhere(measured.good) // max(edge, 1.0)).astype(np.intp)
    number = np.ravel_multi_index(tuple(place.T), tuple(place.max(axis=0) + 1))
    return np.unique(number, return_inverse=True)[1].astype(np.intp)


def _central_share_std(measured: MeasuredMap, found: Distribution) -> float:
    """Uncertainty of the share of voxels near the mean."""
    near = (np.abs(measured.value - found.mean) < _CENTRAL * found.observed_width).astype(np.float32)
    lagged = lag_covariance(first=near, second=near, inside=measured.good)
    return float(np.sqrt(mean_variance(lagged, measured.count)[0]))


def _block_histograms(binned: Binned, blocks: NDArray[np.intp], shares: Array) -> Array:
    """Histogram of every set of block weights, ``[set, class * bin]``, of sum one."""
    cells = binned.std.size * binned.middle.size
    joint = np.bincount(blocks * cells + binned.cell, minlength=shares.shape[1] * cells).reshape(-1, cells)
    weighted = shares @ joint
    normalised: Array = weighted / weighted.sum(axis=1, keepdims=True)
    return normalised


def _start(histograms: Array, binned: Binned) -> Array:
    """Histogram over all classes, blurred by each class's noise: smooth, and wider than the truth."""
    density = histograms @ binned.blur().T + 1e-12
    normalised: Array = density / density.sum(axis=1, keepdims=True)
    return normalised


def _spike(binned: Binned, value: float) -> Array:
    """Histogram to expect where all true values are one."""
    nearest = int(np.argmin(np.abs(binned.middle - value)))
    share = binned.counts.sum(axis=1, keepdims=True) / binned.cell.size
    expected = binned.blur()[nearest].reshape(binned.std.size, -1) * share
    return np.asarray(expected.reshape(1, -1), dtype=np.float64)


def _stepped(density: Array, histograms: Array, blur: Array) -> Array:
    """One step of expectation maximisation for every row."""
    expected = density @ blur
    ratio = np.divide(histograms, expected, out=np.zeros_like(expected), where=expected > 1e-300)
    moved = density * (ratio @ blur.T)
    normalised: Array = moved / moved.sum(axis=1, keepdims=True)
    return normalised


def _narrowed(density: Array, histogram: Array, blur: Array, value: Array, variance: float) -> tuple[Array, int]:
    """Steps until the variance is not above the one given; the density and the number of steps."""
    for iteration in range(_MOST_ITERATIONS):
        if _moments(density[0], value)[1] <= variance:
            return density, iteration
        density = _stepped(density, histogram, blur)
    return density, _MOST_ITERATIONS


def _iterated(density: Array, histograms: Array, blur: Array, iterations: int) -> Array:
    for _ in range(iterations):
        density = _stepped(density, histograms, blur)
    return density


def _moments(density: Array, value: Array) -> tuple[float, float]:
    mean = float(density @ value / density.sum())
    return mean, float(density @ (value - mean) ** 2 / density.sum())
