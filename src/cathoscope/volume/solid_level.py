"""The grey level of crack-free solid, along the radius of a particle: the reference that grey-level porosity rests on.

A per cent in this level is a per cent of porosity, absolute; the mean of all solid, or the maximum of the histogram, is
several per cent low, because cracks near the resolution lower the grey value of much of a particle. So: what is darker
than the level in a smoothed volume is flagged as crack, and the level is the mean of the rest, farther than two voxels
from anything flagged. Averaging what was selected for being bright would be biased: noise that lowers a voxel removes
its neighbourhood, and a relative 0.3 % of the level remains. Therefore the noise is split [1]_: with n' of the
covariance of the noise n but independent of it, the volumes g + a n' and g - n' / a have independent noise. Cracks are
flagged in the first, averages are taken in the second.

References
----------
.. [1] A. Neufeld, A. Dharamshi, L. L. Gao, D. Witten, J. Mach. Learn. Res. 25 (2024) 57 (data thinning).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import edt  # type: ignore[import-not-found, import-untyped, unused-ignore]
import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfftn, rfftn
from scipy.ndimage import gaussian_filter

from cathoscope.core.errors import MeasurementError

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
VoxelSize = tuple[float, float, float]

SPLIT = 0.7  # a: the flagging volume has 1.22 times the noise, the averaged one 1.74 times
_LAGS = 3  # voxels over which the noise is correlated, at most
_WHITE = 0.03  # correlation of neighbours below which the noise counts as white
_CROP = 128  # voxels along the edges of the part in which the noise is measured
_SMOOTHING = 1.5  # voxels
_DEPTH = 3.5  # standard deviations of the smoothed noise below the level: a crack
_AWAY, _FARTHER = 2.0, 3.5  # voxels from anything flagged; the second for the plateau
_KNOTS = (1, 2, 3, 5, 8)  # numbers of radii between which the level is linear
_CLASSES = 40  # classes of the radius
_BLOCK = 8  # voxels along the edges of blocks whose means tell how independent voxels are
_SUPPORT = 0.8  # of the mean share of crack-free solid: radii with less are left out
_LEAST = 200  # voxels of crack-free solid, at least


class SplitGrey(NamedTuple):
    """Two volumes of the same object with independent noise: one to select in, one to average.

    ``smooth_noise`` is the standard deviation of the noise of `smoothed_grey` of the first; ``voxel_size`` that of
    both, um (z, y, x).
    """

    select: Float32Array
    average: Float32Array
    smooth_noise: float
    voxel_size: VoxelSize


@dataclass(frozen=True)
class SolidLevel:
    """Grey level of crack-free solid along the relative radius.

    Attributes
    ----------
    radius
        Knots, relative (0 centre, 1 surface), [knot]; the level is linear between them.
    level
        Grey value there, [knot].
    covariance
        Of ``level``, [knot, knot].
    systematic
        Change of the level with the distance kept from cracks, beyond what noise explains; grey value.
    noise
        Standard deviation of a voxel's noise, grey value.
    used
        Share of the interior that the level rests on.
    """

    radius: Float64Array
    level: Float64Array
    covariance: Float64Array
    systematic: float
    noise: float
    used: float

    def at(self, relative_radius: Float32Array) -> Float32Array:
        """The level (grey value) at relative radii of any shape."""
        if self.radius.size == 1:
            return np.full(np.shape(relative_radius), self.level[0], dtype=np.float32)
        return np.interp(relative_radius, self.radius, self.level).astype(np.float32)

    def shares(self, relative_radius: Float32Array, weight: Float64Array) -> Float64Array:
        """Sum of ``weight`` by the knot it hangs on: the derivative of sum(weight level(radius)) by ``level``, [knot].

        Both arguments are of one shape (n,).
        """
        return _hats(np.asarray(relative_radius, dtype=np.float64), self.radius, weight)


def _hats(radius: Float64Array, knots: Float64Array, weight: Float64Array) -> Float64Array:
    """Sums of ``weight`` times the linear interpolation's hat functions, [knot]."""
    if knots.size == 1:
        return np.array([weight.sum()])
    place = np.clip(np.interp(radius, knots, np.arange(knots.size)), 0, knots.size - 1)
    low = np.minimum(place.astype(np.int64), knots.size - 2)
    part = place - low
    sums = np.bincount(low, weight * (1 - part), minlength=knots.size)
    return np.asarray(sums + np.bincount(low + 1, weight * part, minlength=knots.size), dtype=np.float64)


def relative_radius(depth: Float32Array, particle: BoolArray, voxel_size: VoxelSize) -> Float32Array:
    """r / (r + depth), r the distance from the centre of volume: 0 at the centre, 1 at the surface and outside."""
    axes = [
        np.arange(n, dtype=np.float32) * np.float32(edge) for n, edge in zip(particle.shape, voxel_size, strict=True)
    ]
    counts = [np.count_nonzero(particle, axis=tuple(set(range(3)) - {k})) for k in range(3)]
    centre = [float(count @ axis / count.sum()) for count, axis in zip(counts, axes, strict=True)]
    z, y, x = ((axis - np.float32(c)) ** 2 for axis, c in zip(axes, centre, strict=True))
    r = np.sqrt(z[:, None, None] + y[None, :, None] + x[None, None, :])
    return np.asarray(r / np.maximum(r + np.maximum(depth, 0), 1e-6), dtype=np.float32)


def split_grey(volume: Float32Array, covariance: Float64Array, *, voxel_size: VoxelSize, seed: int = 0) -> SplitGrey:
    """Two volumes of independent noise, g + a n' and g - n' / a with a = 0.7.

    Parameters
    ----------
    covariance
        Of the noise at lags -3 to 3 voxels, [7, 7, 7], in squared grey values; see `noise_covariance`.
    """
    white = np.random.default_rng(seed).standard_normal(volume.shape, dtype=np.float32)
    centre = float(covariance[_LAGS, _LAGS, _LAGS])
    relative = np.abs(covariance) / max(centre, 1e-300)
    relative[_LAGS, _LAGS, _LAGS] = 0.0
    if relative.max() < _WHITE:
        noise = np.float32(np.sqrt(centre)) * white
    else:
        from scipy.signal import oaconvolve  # takes long to load, and white noise needs none

        noise = oaconvolve(white, _root(covariance), mode="same").astype(np.float32)
    smooth = float(np.sqrt(1 + SPLIT**2) * np.std(smoothed_grey(noise, voxel_size)))
    return SplitGrey(volume + np.float32(SPLIT) * noise, volume - noise / np.float32(SPLIT), smooth, voxel_size)


def _root(covariance: Float64Array) -> Float32Array:
    """Kernel that gives white noise this covariance: the square root of its spectrum, [15, 15, 15]."""
    size = 2 * (2 * _LAGS + 1) + 1
    grid = np.zeros((size,) * 3)
    grid[: 2 * _LAGS + 1, : 2 * _LAGS + 1, : 2 * _LAGS + 1] = covariance
    grid = np.roll(grid, (-_LAGS,) * 3, axis=(0, 1, 2))
    power = np.fft.fftn(grid).real
    return np.fft.fftshift(np.fft.ifftn(np.sqrt(np.maximum(power, 0))).real).astype(np.float32)


def noise_covariance(residual: Float32Array, calm: BoolArray) -> Float64Array:
    """Autocovariance at lags -3 to 3 voxels of what is left of the grey values where nothing but noise is, [7, 7, 7].

    By Fourier transforms, of the 128 voxels around the middle of ``calm``; the last lag counts half.
    """
    window = []
    for axis in range(3):
        along = np.flatnonzero(calm.any(axis=tuple(set(range(3)) - {axis})))
        middle = int(along[along.size // 2]) if along.size else 0
        low = max(0, min(middle - _CROP // 2, calm.shape[axis] - _CROP))
        window.append(slice(low, low + _CROP))
    mask = calm[tuple(window)].astype(np.float64)
    values = residual[tuple(window)].astype(np.float64) * mask
    shape = [n + 2 * _LAGS for n in mask.shape]
    moved = np.arange(-_LAGS, _LAGS + 1)
    near = np.ix_(moved, moved, moved)
    pairs = irfftn(np.abs(rfftn(mask, shape)) ** 2, shape)[near]
    sums = irfftn(np.abs(rfftn(values, shape)) ** 2, shape)[near]
    taper = np.where(np.abs(moved) < _LAGS, 1.0, 0.5)
    weight = taper[:, None, None] * taper[None, :, None] * taper[None, None, :]
    return np.asarray(sums / np.maximum(pairs, 1) * weight)


def crack_free(
    smooth: Float32Array,
    inner: BoolArray,
    radius: Float32Array,
    start: float,
    away: float,
    *,
    voxel_size: VoxelSize,
    spread: float | None = None,
) -> BoolArray:
    """Where the solid is free of cracks: farther than ``away`` voxels from anything dark, within ``inner``.

    ``smooth`` is the volume after `smoothed_grey`, ``start`` a first guess of the level, ``spread`` the standard
    deviation of the noise of ``smooth``; without it the level is taken as uniform and the noise from what remains.
    Radii with few such voxels are left out: where all solid lies near cracks, what seems to be a lower level is their
    blur.
    """
    values, place = smooth[inner], _classes(radius[inner])
    uniform = spread is None
    if spread is None:
        above = values[values > start] - start
        spread = float(np.sqrt(np.mean(above.astype(np.float64) ** 2))) if above.size else 0.0
        level: Any = np.float32(start)
    else:
        level = _upper_levels(values, place, spread)[place]
    kept = np.zeros(inner.shape, dtype=bool)
    for _ in range(5):
        dark = np.zeros(inner.shape, dtype=bool)
        dark[inner] = values < level - _DEPTH * spread
        distance: Any = np.inf
        if dark.any():
            distance = edt.edt(~dark, anisotropy=_edges(voxel_size), black_border=False, parallel=1)
        kept = inner & (distance > away)
        chosen = kept[inner]
        if np.count_nonzero(chosen) < _LEAST:
            break
        if uniform:
            level = np.float32(values[chosen].mean(dtype=np.float64))
            spread = float(np.std(values[chosen]))
            continue
        chosen &= _supported(place, chosen)[place]
        kept[inner] = chosen
        knots, fitted = _fit_knots(radius[kept], values[chosen], spread)[:2]
        level = np.interp((np.arange(_CLASSES) + 0.5) / _CLASSES, knots, fitted)[place]
    return kept


def smoothed_grey(volume: Float32Array, voxel_size: VoxelSize) -> Float32Array:
    """The volume in which cracks are looked for: a Gaussian of 1.5 voxels, alike in all directions."""
    width = [_SMOOTHING / edge for edge in _edges(voxel_size)]
    return np.asarray(gaussian_filter(volume, width, truncate=3), dtype=np.float32)


def _edges(voxel_size: VoxelSize) -> VoxelSize:
    """Edges of a voxel in voxels: the unit of length is the cube root of its volume."""
    unit = float(np.prod(voxel_size)) ** (1 / 3)
    return voxel_size[0] / unit, voxel_size[1] / unit, voxel_size[2] / unit


def _classes(radius: Float32Array) -> NDArray[np.int64]:
    """Class of a relative radius."""
    return np.clip((radius * _CLASSES).astype(np.int64), 0, _CLASSES - 1)


def _upper_levels(values: Float32Array, place: NDArray[np.int64], spread: float) -> Float64Array:
    """Level of every class from its brightest voxels: the 95 % quantile less 1.645 standard deviations, [class]."""
    order = np.argsort(place, kind="stable")
    ends = np.searchsorted(place[order], np.arange(_CLASSES + 1))
    levels = np.full(_CLASSES, -np.inf)
    for k in range(_CLASSES):
        part = values[order[ends[k] : ends[k + 1]]]
        if part.size:
            levels[k] = float(np.quantile(part, 0.95)) - 1.645 * spread
    return levels


def _supported(place: NDArray[np.int64], chosen: BoolArray) -> BoolArray:
    """Classes of the radius with at least 0.8 of the mean share of crack-free voxels, [class]."""
    total = np.bincount(place, minlength=_CLASSES)
    share = np.bincount(place, chosen, minlength=_CLASSES) / np.maximum(total, 1)
    return np.asarray(share >= _SUPPORT * chosen.mean(), dtype=np.bool_)


def _fit_knots(
    radius: Float32Array, values: Float32Array, noise: float
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Knots, levels and their covariance for white noise: the number of knots by the Bayesian criterion."""
    place = _classes(radius)
    count = np.bincount(place, minlength=_CLASSES).astype(np.float64)
    used = count > 0
    middle = np.bincount(place, radius, minlength=_CLASSES)[used] / count[used]
    mean = np.bincount(place, values, minlength=_CLASSES)[used] / count[used]
    weight = np.sqrt(count[used]) / max(noise, 1e-12)
    share = np.cumsum(count[used]) - count[used] / 2
    best, chosen = np.inf, None
    for number in _KNOTS:
        if number > middle.size:
            break
        # knots at equal numbers of voxels; beyond the last ones the level is continued
        knots = np.unique(np.interp(np.linspace(share[0], share[-1], number), share, middle))
        hats = np.stack([_hats(middle[k : k + 1], knots, np.ones(1)) for k in range(middle.size)])
        design = hats * weight[:, None]
        inverse = np.linalg.pinv(design.T @ design)
        level = inverse @ (design.T @ (mean * weight))
        misfit = float(np.sum((design @ level - mean * weight) ** 2)) + knots.size * np.log(count.sum())
        if misfit < best:
            best, chosen = misfit, (knots, np.asarray(level), np.asarray(inverse, dtype=np.float64))
    if chosen is None:
        raise _no_reference(0)
    return chosen


def _no_reference(count: int) -> MeasurementError:
    """Why there is no solid level."""
    return MeasurementError(
        "no solid far from cracks is left to take the solid's grey level from",
        expected=f"{_LEAST} voxels of crack-free solid or more",
        found=f"{count}",
        cure="a finer voxel, or solid_level=SolidLevel(...) from an uncracked particle of the same scan",
    )


def solid_level(split: SplitGrey, inner: BoolArray, radius: Float32Array, start: float, noise: float) -> SolidLevel:
    """Grey level of crack-free solid along the radius.

    Parameters
    ----------
    split
        The volume with its noise split, see `split_grey`.
    inner
        The particle without the rim that the blur of its surface darkens, [z, y, x].
    radius
        See `relative_radius`.
    start
        First guess: the peak of the solid in the histogram.
    noise
        Standard deviation of the volume's noise, grey value.

    Raises
    ------
    MeasurementError
        If fewer than 200 voxels are free of cracks.
    """
    smooth, size, spread = smoothed_grey(split.select, split.voxel_size), split.voxel_size, split.smooth_noise
    kept = crack_free(smooth, inner, radius, start, _AWAY, voxel_size=size, spread=spread)
    count = int(np.count_nonzero(kept))
    if count < _LEAST:
        raise _no_reference(count)
    values, place = split.average[kept], radius[kept]
    scatter = noise * float(np.sqrt(1 + SPLIT**-2))
    knots, level, covariance = _fit_knots(place, values, scatter)
    residual = (values - np.interp(place, knots, level)).astype(np.float32)
    inflation = _block_inflation(kept, residual)
    farther = crack_free(smooth, inner, radius, start, _FARTHER, voxel_size=size, spread=spread)
    systematic = 0.0
    if np.count_nonzero(farther) >= _LEAST:
        rest = split.average[farther] - np.interp(radius[farther], knots, level)
        change, expected = float(rest.mean()), inflation * float(rest.var()) / rest.size
        systematic = float(np.sqrt(max(change**2 - 2 * expected, 0.0)))
    used = count / max(int(np.count_nonzero(inner)), 1)
    return SolidLevel(knots, level, covariance * inflation, systematic, noise, used)


def _block_inflation(kept: BoolArray, residual: Float32Array) -> float:
    """By how much means over 8 x 8 x 8 voxels scatter more than independent voxels would: variances, at least 1."""
    index = np.argwhere(kept) // _BLOCK
    size = [n // _BLOCK + 1 for n in kept.shape]
    block = (index[:, 0] * size[1] + index[:, 1]) * size[2] + index[:, 2]
    sums = np.bincount(block, residual, minlength=1)
    counts = np.bincount(block, minlength=1)
    expected = float(np.var(residual)) * counts.sum()
    return max(1.0, float(np.sum(sums**2)) / max(float(expected), 1e-300))
