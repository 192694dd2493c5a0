"""Density of the values of a map over their range, the noise removed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from cathoscope.xanes.distribution import Distribution
from cathoscope.xanes.heterogeneity import MapOfRows
from cathoscope.xanes.lags import lag_covariance, mean_variance
from cathoscope.xanes.rows import (
    Array,
    Derived,
    Mask,
    mean_square_in,
    quantiles_of,
    slabs_of,
    stored_values,
    values_in,
)

_NOISE_CLASSES = 8  # groups of voxels of like noise in the deconvolution
_MOST_ITERATIONS = 500
_MOST_CELLS = 1 << 24  # of blocks counted at a time
_CENTRAL = 0.7  # widths about the mean that hold about half of all voxels


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
    measured: MapOfRows, found: Distribution, *, step: float | None = None, replicates: int = 50, seed: int = 0
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
    noise_variance = max(found.observed_width**2 - found.variance, 0.01 * found.observed_width**2)
    scale_of_noise = float(np.sqrt(noise_variance / mean_square_in(measured.std, measured.good)))
    binned = binned_map(measured, scale=scale_of_noise, step=step)
    histograms = _block_histograms(measured, binned, _block_places(measured, found.independent), (replicates, seed))
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
    edges, middle, width
        Of the bins, ``[bin + 1]`` and ``[bin]``; one width for all.
    std
        Root mean square noise of the class, ``[class]``.
    counts
        Number of values, ``[class, bin]``.
    outside
        Values beyond the bins; they are counted in the first or last one.
    scale
        Of the noise over the stated one.
    limits, present
        Noise at which a class ends, and numbers of the classes that hold any values.
    """

    edges: Array
    middle: Array
    width: float
    std: Array
    counts: Array
    outside: int
    scale: float
    limits: Array
    present: NDArray[np.intp]

    def cells(self, values: Array, std: Array) -> NDArray[np.intp]:
        """Which class and bin (``class * bins + bin``) values of a stated noise lie in."""
        place, group = _places(values, self.edges[0], self.width), np.searchsorted(self.limits, std * self.scale)
        inside = np.clip(place, 0, self.middle.size - 1)
        return np.asarray(np.searchsorted(self.present, group) * self.middle.size + inside, dtype=np.intp)

    def blur(self) -> Array:
        """Probability that a true value in the middle of a bin is found in a class's bin, ``[true, class * bins]``."""
        distance = self.edges - self.middle[:, np.newaxis, np.newaxis]
        share = np.diff(ndtr(distance / self.std[:, np.newaxis]), axis=2)
        return np.asarray(share.reshape(self.middle.size, -1), dtype=np.float64)


def _places(values: Array, low: float, width: float) -> NDArray[np.intp]:
    """Number of the bin; below zero or beyond the last outside."""
    return np.asarray(np.floor((values - low) / width), dtype=np.intp)


def binned_map(measured: MapOfRows, *, scale: float = 1.0, step: float | None = None) -> Binned:
    """Values in bins over the middle 99.98 % and two noise widths beyond, in 8 equal classes by their noise.

    The noise is ``scale`` times the stated one.
    """
    good = measured.good
    spread = quantiles_of(stored_values(measured.std, good), np.linspace(0, 1, 2 * _NOISE_CLASSES + 1)) * scale
    median, limits = float(spread[_NOISE_CLASSES]), np.unique(spread[2:-1:2])
    ends = quantiles_of(stored_values(measured.value, good), np.array([1e-4, 1 - 1e-4]))
    low, high = ends + np.array([-2.0, 2.0]) * median
    width = max(median / 3 if step is None else step, (high - low) / 200)
    count = max(int(np.ceil((high - low) / width)), 3)
    edges = low + width * np.arange(count + 1)
    counts, square, outside = np.zeros((limits.size + 1) * count), np.zeros(limits.size + 1), 0
    for rows in slabs_of(good):
        place, std = (
            _places(values_in(measured.value, good, rows), low, width),
            values_in(measured.std, good, rows) * scale,
        )
        group = np.searchsorted(limits, std)
        outside += int(np.sum((place < 0) | (place >= count)))
        counts += np.bincount(group * count + np.clip(place, 0, count - 1), minlength=counts.size)
        square += np.bincount(group, std**2, minlength=square.size)
    table = counts.reshape(-1, count)
    present = np.flatnonzero(table.any(axis=1))
    of_class = np.sqrt(square[present] / table[present].sum(axis=1))
    middle = 0.5 * (edges[1:] + edges[:-1])
    return Binned(edges, middle, width, of_class, table[present], outside, scale, limits, present)


def _block_places(measured: MapOfRows, independent: float) -> list[NDArray[np.intp]]:
    """Number of the cubic block along each axis."""
    dimension = measured.good.ndim
    edge = max(2.0 * (measured.count / independent) ** (1 / dimension), 1.0)
    # fewer than about 20 blocks would leave the bootstrap nothing to draw from
    edge = min(edge, (measured.count / 20) ** (1 / dimension))
    return [(np.arange(size) // max(edge, 1.0)).astype(np.intp) for size in measured.good.shape]


def _central_share_std(measured: MapOfRows, found: Distribution) -> float:
    """Uncertainty of the share of voxels near the mean."""

    def is_near(rows: slice) -> Array:
        """One for the voxels near the mean."""
        values = np.asarray(measured.value[rows], dtype=np.float64)
        return np.asarray(np.abs(values - found.mean) < _CENTRAL * found.observed_width, dtype=np.float64)

    near = Derived(is_near)
    lagged = lag_covariance(first=near, second=near, inside=measured.good)
    return float(np.sqrt(mean_variance(lagged, measured.count)[0]))


def _block_histograms(
    measured: MapOfRows, binned: Binned, places: list[NDArray[np.intp]], draws: tuple[int, int]
) -> Array:
    """Histogram of every set of block weights, ``[set, class * bin]``, of sum one; the first set weighs all alike.

    ``draws`` are the number of further sets and the seed. Blocks are counted layer by layer, for all together have
    more cells than the map has voxels.
    """
    cells, across = binned.counts.size, np.zeros((), dtype=np.intp)
    for place in places[1:]:
        across = across[..., np.newaxis] * (place[-1] + 1) + place
    layers = [
        slice(int(rows[0]), int(rows[-1]) + 1) for rows in np.split(np.arange(places[0].size), _starts(places[0]))
    ]
    numbers = [_numbers_in(measured.good[rows], across) for rows in layers]
    shares = np.random.default_rng(draws[1]).exponential(size=(draws[0] + 1, sum(one.size for one in numbers)))
    shares[0] = 1.0
    weighted, first = np.zeros((len(shares), cells)), 0
    for rows, there in zip(layers, numbers, strict=True):
        each = max(1, _MOST_CELLS // cells)
        for some in (there[start : start + each] for start in range(0, there.size, each)):
            weighted += shares[:, first : first + some.size] @ _counted(measured, binned, rows, across, some)
            first += some.size
    normalised: Array = weighted / weighted.sum(axis=1, keepdims=True)
    return normalised


def _starts(places: NDArray[np.intp]) -> NDArray[np.intp]:
    """Where the number of the block changes."""
    return np.asarray(np.flatnonzero(np.diff(places)) + 1)


def _numbers_in(good: Mask, across: NDArray[np.intp]) -> NDArray[np.intp]:
    """Numbers of the blocks of a layer that hold any voxel."""
    there = np.zeros(int(across.max()) + 1, dtype=bool)
    there[across[good.any(axis=0)]] = True
    return np.flatnonzero(there)


def _counted(
    measured: MapOfRows, binned: Binned, layer: slice, across: NDArray[np.intp], numbers: NDArray[np.intp]
) -> Array:
    """Values of some blocks of a layer, counted in cells, ``[block, class * bin]``."""
    cells, good = binned.counts.size, measured.good
    joint = np.zeros(numbers.size * cells, dtype=np.int64)
    for part in slabs_of(good[layer]):
        rows = slice(layer.start + part.start, layer.start + part.stop)
        number = np.broadcast_to(across, good[rows].shape)[good[rows]]
        cell = binned.cells(values_in(measured.value, good, rows), values_in(measured.std, good, rows))
        block = np.searchsorted(numbers, number)
        if numbers[0] > number.min() or numbers[-1] < number.max():
            chosen = (number >= numbers[0]) & (number <= numbers[-1])
            block, cell = block[chosen], cell[chosen]
        joint += np.bincount(block * cells + cell, minlength=joint.size)
    return joint.reshape(-1, cells).astype(np.float64)


def _start(histograms: Array, binned: Binned) -> Array:
    """Histogram over all classes, blurred by each class's noise: smooth, and wider than the truth."""
    density = histograms @ binned.blur().T + 1e-12
    normalised: Array = density / density.sum(axis=1, keepdims=True)
    return normalised


def _spike(binned: Binned, value: float) -> Array:
    """Histogram to expect where all true values are one."""
    nearest = int(np.argmin(np.abs(binned.middle - value)))
    share = binned.counts.sum(axis=1, keepdims=True) / binned.counts.sum()
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
