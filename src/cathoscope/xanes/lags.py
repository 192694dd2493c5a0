"""Covariance of two maps inside a mask against the shift between them.

Fourier transforms are done axis by axis, on a block of columns at a time, and never on more rows or columns than hold
something: nothing is as large as the padded volume.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.fft import fft, ifft, irfft, irfftn, next_fast_len, rfft, rfftn
from scipy.ndimage import find_objects

from cathoscope.xanes.rows import Array, Mask, Rowed, mean_in

Planes = Callable[[slice], NDArray[np.float32]]
"""Rows of a map in three dimensions, ``[row, y, x]``."""

_SPECTRA = 3e8  # bytes of the spectra held at a time; never the memory that is there: results must not depend on it
_ROWS = 16
_NEAR_VOXELS = 1 << 23


@dataclass(frozen=True)
class LagCovariance:
    """Covariance of two fields inside a mask against the shift between them, zero shift in the middle.

    Both are the same for a shift and its opposite, so only shifts along the first axis not below zero are held.

    Attributes
    ----------
    products, counts
        Sum of products of deviations, and number of pairs of voxels inside the mask, ``[lag >= 0, lag, lag]``.
    flat
        Whether the fields have two dimensions; the middle axis is then of length one.
    """

    products: NDArray[np.float32]
    counts: NDArray[np.float32]
    flat: bool = False

    @property
    def lags(self) -> tuple[int, int, int]:
        """Longest shift along each axis, voxels."""
        rows, columns, depth = self.counts.shape
        return rows - 1, columns // 2, depth // 2

    @property
    def covariance(self) -> Array:
        """Mean product of deviations over all pairs of voxels inside the mask, all shifts."""
        return self.covariance_within(self.lags)

    @property
    def pairs(self) -> Array:
        """Number of such pairs, all shifts."""
        return self._whole(self.counts.astype(np.float64))

    @property
    def radius(self) -> Array:
        """Length of each shift, voxels."""
        return self.radius_within(self.lags)

    @property
    def at_zero(self) -> float:
        """Covariance without shift."""
        _, y, x = self.lags
        return float(self.products[0, y, x]) / max(float(self.counts[0, y, x]), 1.0)

    def within(self, radius: float) -> tuple[int, int, int]:
        """Shifts along each axis up to a radius."""
        reach = int(np.ceil(radius))
        return min(reach, self.lags[0]), min(reach, self.lags[1]), min(reach, self.lags[2])

    def covariance_within(self, reach: tuple[int, int, int]) -> Array:
        """Covariance on the shifts up to ``reach`` along each axis."""
        products, counts = (self._near(half, reach).astype(np.float64) for half in (self.products, self.counts))
        return self._whole(np.where(counts > 0, products / np.maximum(counts, 1), 0.0))

    def radius_within(self, reach: tuple[int, int, int]) -> Array:
        """Length of the shifts up to ``reach`` along each axis."""
        return lag_radius((reach[0], *reach[2:]) if self.flat else reach)

    def planes(self, reach: tuple[int, int, int]) -> Iterator[tuple[Array, Array, Array]]:
        """Radius, number of pairs and sum of products, row by row of the shifts; opposite ones count with them."""
        y, x = (np.arange(-lag, lag + 1.0) for lag in reach[1:])
        across = y[:, np.newaxis] ** 2 + x**2
        for row in range(reach[0] + 1):
            times = 1.0 if row == 0 else 2.0
            counts = times * self._near(self.counts, reach)[row].astype(np.float64)
            products = times * self._near(self.products, reach)[row].astype(np.float64)
            yield np.sqrt(row**2 + across), counts, np.where(counts > 0, products, 0.0)

    def _near(self, half: NDArray[np.float32], reach: tuple[int, int, int]) -> NDArray[np.float32]:
        _, y, x = self.lags
        return half[: reach[0] + 1, y - reach[1] : y + reach[1] + 1, x - reach[2] : x + reach[2] + 1]

    def _whole(self, half: Array) -> Array:
        """With the opposite shifts."""
        whole = np.concatenate([np.flip(half[1:]), half])
        return whole[:, 0] if self.flat else whole


def lag_radius(lags: Sequence[int]) -> Array:
    """Length of every shift up to ``lags`` along each axis, voxels."""
    axes = np.meshgrid(*(np.arange(-lag, lag + 1.0) for lag in lags), indexing="ij")
    return np.sqrt(sum((axis**2 for axis in axes), start=np.zeros(axes[0].shape)))


def lag_covariance(*, first: Rowed, second: Rowed, inside: ArrayLike, maximum_lag: int | None = None) -> LagCovariance:
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
        Longest shift along each axis, voxels; half of the mask's shortest extent without it.
    """
    mask = np.asarray(inside, dtype=bool)
    box = find_objects(mask.view(np.int8))[0]
    fields = (
        [_planes_of(first, mask, box)] if second is first else [_planes_of(one, mask, box) for one in (first, second)]
    )
    mask = mask[box]
    lags = [min(max(size // 2 if maximum_lag is None else maximum_lag, 1), size - 1) for size in mask.shape]
    if maximum_lag is None:
        # beyond the shells of whole spheres nothing is asked for
        shortest = min((lag for lag, size in zip(lags, mask.shape, strict=True) if size > 1), default=0)
        lags = [min(lag, shortest + 1) for lag in lags]
    flat = mask.ndim == 2
    if flat:
        mask, lags = mask[:, np.newaxis], [lags[0], 0, lags[1]]
    counts = np.rint(_lag_products([lambda rows: mask[rows].astype(np.float32)], mask.shape, lags))
    return LagCovariance(_lag_products(fields, mask.shape, lags), counts, flat)


def _planes_of(field: Rowed, mask: Mask, box: tuple[slice, ...]) -> Planes:
    """Deviations from the mean inside the mask, zero outside, within a box, in single precision."""
    mean, first, cut = mean_in(field, mask), box[0].start, mask[box]

    def rows_of(rows: slice) -> NDArray[np.float32]:
        """Some rows of the box."""
        there = slice(first + rows.start, first + rows.stop)
        deviation = np.zeros(cut[rows].shape, dtype=np.float32)
        values = np.asarray(field[there])[(slice(None), *box[1:])]
        deviation[cut[rows]] = values[cut[rows]].astype(np.float64) - mean
        return deviation if deviation.ndim == 3 else deviation[:, np.newaxis]

    return rows_of


def _lag_products(fields: Sequence[Planes], shape: Sequence[int], lags: Sequence[int]) -> NDArray[np.float32]:
    """``sum_x [a(x) b(x + h) + b(x) a(x + h)] / 2`` for shifts up to ``lags``, those along the first axis from zero on.

    ``a`` is the first of the fields and ``b`` the last: one field alone is both.
    """
    rows, columns, depth = (next_fast_len(size + lag, real=True) for size, lag in zip(shape, lags, strict=True))
    count = depth // 2 + 1
    each = max(1, int(_SPECTRA / (8.0 * len(fields) * shape[0] * columns)))
    halfway = np.empty((lags[0] + 1, 2 * lags[1] + 1, count), dtype=np.complex64)
    for start in range(0, count, each):
        block = slice(start, min(start + each, count))
        spectra = [_spectrum(field, shape, (columns, depth), block) for field in fields]
        _multiply(spectra, rows, lags[0])
        for row in range(lags[0] + 1):
            halfway[row, :, block] = _around_zero(ifft(spectra[0][row], axis=0), lags[1], 0)
    products = np.empty((lags[0] + 1, 2 * lags[1] + 1, 2 * lags[2] + 1), dtype=np.float32)
    for row in range(lags[0] + 1):
        products[row] = _around_zero(irfft(halfway[row], depth, axis=1), lags[2], 1)
    return products


def _spectrum(field: Planes, shape: Sequence[int], padded: tuple[int, int], block: slice) -> NDArray[np.complex64]:
    """Transform along the last two axes, ``[row, wave number, block of wave numbers]``."""
    spectrum = np.empty((shape[0], padded[0], block.stop - block.start), dtype=np.complex64)
    for start in range(0, shape[0], _ROWS):
        rows = slice(start, min(start + _ROWS, shape[0]))
        along = rfft(field(rows), padded[1], axis=2)[:, :, block]
        spectrum[rows] = fft(along, padded[0], axis=1)
    return spectrum


def _multiply(spectra: Sequence[NDArray[np.complex64]], size: int, lag: int) -> None:
    """Transform along the first axis, multiply, and back; the first spectrum's rows up to ``lag`` hold the result."""
    for start in range(0, spectra[0].shape[1], _ROWS):
        part = slice(start, start + _ROWS)
        whole = [fft(spectrum[:, part], size, axis=0) for spectrum in spectra]
        # the real part alone: the mean over a shift and its opposite
        power = whole[0].real * whole[-1].real + whole[0].imag * whole[-1].imag
        spectra[0][: lag + 1, part] = ifft(power, axis=0)[: lag + 1]


def _around_zero(values: NDArray[np.generic], lag: int, axis: int) -> NDArray[np.generic]:
    """Shifts from ``-lag`` to ``lag`` of a result that begins at zero and wraps around."""
    return np.take(values, np.arange(-lag, lag + 1), axis=axis, mode="wrap")


def near_products(field: Rowed, inside: Mask, shape: Sequence[int]) -> Array:
    """``sum_x f(x) f(x + h)`` on the shifts of an array of odd ``shape``, the field being zero outside of a mask."""
    box = find_objects(inside.view(np.int8))[0]
    reach, size = [length // 2 for length in shape], [side.stop - side.start for side in box]
    each = max(8 * reach[0], _NEAR_VOXELS // max(1, int(np.prod(size[1:]))), 1)
    half = np.zeros((reach[0] + 1, *shape[1:]))
    for start in range(box[0].start, box[0].stop, each):
        stop = min(start + each + reach[0], box[0].stop)
        block = np.asarray(field[slice(start, stop)])[(slice(None), *box[1:])].astype(np.float32)
        half += _autoproducts(block, reach)
        if start + each < box[0].stop:  # pairs among the rows beyond are the next block's
            half -= _autoproducts(block[each:], reach)
    return np.concatenate([np.flip(half[1:]), half])


def _autoproducts(field: NDArray[np.float32], reach: Sequence[int]) -> Array:
    if not field.any():
        return np.zeros((reach[0] + 1, *(2 * lag + 1 for lag in reach[1:])))
    padded = [next_fast_len(size + lag, real=True) for size, lag in zip(field.shape, reach, strict=True)]
    spectrum = rfftn(field, padded)
    products = irfftn(spectrum.real**2 + spectrum.imag**2, padded)[: reach[0] + 1]
    for axis, lag in enumerate(reach[1:], start=1):
        products = _around_zero(products, lag, axis)
    return np.asarray(products, dtype=np.float64)


def radial_average(lagged: LagCovariance, width: float = 1.0) -> tuple[Array, Array, Array]:
    """Radius, covariance and number of pairs in shells of a width (voxels), weighted by pairs; empty ones left out.

    Shells end at the longest shift along the shortest axis, beyond which they are cut.
    """
    longest = min((lag for lag in lagged.lags if lag), default=0)
    count = int(longest / width) + 1
    sums = np.zeros((3, count))
    for radius, pairs, products in lagged.planes(lagged.within(longest + width)):
        shell = np.rint(radius / width).astype(np.intp).ravel()
        for total, weights in zip(sums, (pairs, pairs * radius, products), strict=True):
            total += np.bincount(shell, weights.ravel(), minlength=count)[:count]
    kept = sums[0] > 0
    number, radius, value = sums[:, kept]
    return radius / number, value / number, number


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
        pairs, products = _sums_within(lagged, radius)
        share = pairs / count**2
        # domains as large as the particle leave nothing to average over: at most half of all pairs are corrected for
        variance = products / count**2 / (1.0 - min(share, 0.5))
        variance = max(variance, 0.0)
    return variance, radius


def _sums_within(lagged: LagCovariance, radius: float) -> tuple[float, float]:
    """Number of pairs and sum of products of the shifts shorter than a radius."""
    pairs = products = 0.0
    for distance, number, product in lagged.planes(lagged.within(radius)):
        near = distance < radius
        pairs += float(number[near].sum())
        products += float(product[near].sum())
    return pairs, products
