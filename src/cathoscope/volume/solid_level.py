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

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfftn, next_fast_len, rfftn

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.estimate import Estimate
from cathoscope.volume.radii import Radii, radius_unit, relative
from cathoscope.volume.reach import within_reach
from cathoscope.volume.smoothing import convolved, smoothed, smoothed_in
from cathoscope.volume.solid_level_kernels import keep_away, mark_below

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
VoxelSize = tuple[float, float, float]

SPLIT = 0.7  # a: the flagging volume has 1.22 times the noise, the averaged one 1.74 times
_OWN = 2024  # tells its random numbers from those of others with the same seed
_LAGS = 3  # voxels over which the noise is correlated, at most
_WHITE = 0.03  # correlation of neighbours below which the noise counts as white
_CROP = 128  # voxels along the edges of the part in which the noise is measured
_SMOOTHING = 1.5  # voxels
_DARK = 3.5  # standard deviations of the smoothed noise below the level: a crack, where noise is told from the rest
# The same where the level is told. As averages are taken in other noise, noise that is flagged as a crack costs voxels
# and no bias, and a web of fine cracks that is not flagged darkens the level: sheets of 0.1 voxel are 2.5 deep at a
# noise of 0.08.
_DEPTH = 2.5
# Of what the level gains from the one to the other, how much webs too faint to be seen at all may still darken it:
# over H-NMC of porosity 0.03 (seeds 2000 to 2004) it gains 0.14 %, and is 0.12 % low, scatter 0.06 %.
_UNSEEN = 0.7
_AWAY = 2.0  # voxels from anything flagged
_KNOTS = (1, 2, 3, 5, 8)  # numbers of radii between which the level is linear
_CLASSES, OUT = 40, 255  # classes of the radius, and the class of what lies outside the interior
_ROUNDS = 5
_SETTLED = 1e-3  # standard deviations of the smoothed noise: a change of the level by less is none
_SAMPLE = 3_000_000  # voxels from which quantiles are taken
_BLOCK = 8  # voxels along the edges of blocks whose means tell how independent voxels are
_SUPPORT = 0.8  # of the mean share of crack-free solid: radii with less are left out
_EVEN = Estimate(0.0)
# Where no solid is free of cracks the level is continued. Where its composition is not known, oxide may be up to
# this share of the level brighter or darker: from shell to core of Cadiou's particles it is 4.2 %.
STEP = 0.05
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
        What webs of cracks too faint to be seen may darken it by; grey value.
    noise
        Standard deviation of a voxel's noise, grey value.
    used
        Share of the interior that the level rests on.
    uneven
        By how much what varies beyond noise in that solid darkens it at least, if it is a web of cracks too faint to
        be seen (grey value); grains of several compositions vary, too.
    supported
        Relative radii between which there is crack-free solid; beyond them the level is continued.
    unknown
        By how much the level may be off at a knot that stands for radii to which it is continued, where oxide may be of
        another composition; grey value, 0 elsewhere, [knot]. None: it is of one composition there, or free of cracks.
    """

    radius: Float64Array
    level: Float64Array
    covariance: Float64Array
    systematic: float
    noise: float
    used: float
    uneven: Estimate = _EVEN
    supported: tuple[float, float] = (0.0, 1.0)
    unknown: Float64Array | None = None

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


def split_grey(
    volume: Float32Array, covariance: Float64Array, *, voxel_size: VoxelSize, seed: int = 0, overwrite: bool = False
) -> SplitGrey:
    """Two volumes of independent noise, g + a n' and g - n' / a with a = 0.7.

    Parameters
    ----------
    covariance
        Of the noise at lags -3 to 3 voxels, [7, 7, 7], in squared grey values; see `noise_covariance`.
    overwrite
        Whether the first may be written over the volume.
    """
    # numbers of its own: a virtual volume whose noise is drawn with the same seed must not be split by that very noise
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_OWN,)))
    noise = rng.standard_normal(volume.shape, dtype=np.float32)
    centre = float(covariance[_LAGS, _LAGS, _LAGS])
    relative = np.abs(covariance) / max(centre, 1e-300)
    relative[_LAGS, _LAGS, _LAGS] = 0.0
    if relative.max() < _WHITE:
        noise *= np.float32(np.sqrt(centre))
    else:
        noise = convolved(noise, _root(covariance))
    smooth = float(np.sqrt(1 + SPLIT**2)) * _std(smoothed_grey(noise, voxel_size))
    select = volume if overwrite else np.empty_like(noise)
    for grey, one, average in zip(volume, select, noise, strict=True):
        average *= np.float32(SPLIT)
        shifted = grey + average
        average *= np.float32(-(SPLIT**-2))
        average += grey
        one[:] = shifted
    return SplitGrey(select, noise, smooth, voxel_size)


def _std(volume: Float32Array) -> float:
    """Standard deviation, without an array as large."""
    mean = float(volume.mean(dtype=np.float64))
    square = sum(float(np.sum(np.square(plane - np.float32(mean)), dtype=np.float64)) for plane in volume)
    return float(np.sqrt(square / volume.size))


def _root(covariance: Float64Array) -> Float32Array:
    """Kernel that gives white noise this covariance: the square root of its spectrum, [15, 15, 15]."""
    size = 2 * (2 * _LAGS + 1) + 1
    grid = np.zeros((size,) * 3)
    grid[: 2 * _LAGS + 1, : 2 * _LAGS + 1, : 2 * _LAGS + 1] = covariance
    grid = np.roll(grid, (-_LAGS,) * 3, axis=(0, 1, 2))
    power = np.fft.fftn(grid).real
    return np.fft.fftshift(np.fft.ifftn(np.sqrt(np.maximum(power, 0))).real).astype(np.float32)


def noise_covariance(volume: Float32Array, calm: BoolArray, mean: float = 0.0) -> Float64Array:
    """Autocovariance at lags -3 to 3 voxels of grey values less their mean where nothing but noise is, [7, 7, 7].

    By Fourier transforms, of the 128 voxels around the middle of ``calm``; the last lag counts half.
    """
    window = tuple(_window(calm, axis) for axis in range(3))
    mask = calm[window].astype(np.float64)
    values = (volume[window] - np.float32(mean)).astype(np.float64) * mask
    shape = [next_fast_len(n + 2 * _LAGS, real=True) for n in mask.shape]
    moved = np.arange(-_LAGS, _LAGS + 1)
    near = np.ix_(moved, moved, moved)
    pairs = irfftn(np.abs(rfftn(mask, shape)) ** 2, shape)[near]
    sums = irfftn(np.abs(rfftn(values, shape)) ** 2, shape)[near]
    taper = np.where(np.abs(moved) < _LAGS, 1.0, 0.5)
    weight = taper[:, None, None] * taper[None, :, None] * taper[None, None, :]
    return np.asarray(sums / np.maximum(pairs, 1) * weight)


class Interior(NamedTuple):
    """What lies below the rim of a particle: `smoothed_grey`, relative radius and its class, 255 outside; [z, y, x]."""

    smooth: Float32Array
    radius: Radii
    place: NDArray[np.uint8]
    voxel_size: VoxelSize


def classes_of(radius: Float32Array, inner: BoolArray) -> NDArray[np.uint8]:
    """Classes of the relative radius of voxels of the ``inner`` mask, 255 outside, [z, y, x]."""
    place = np.empty(radius.shape, dtype=np.uint8)
    for plane, deep, target in zip(radius, inner, place, strict=True):
        target[:] = np.minimum((plane * np.float32(_CLASSES)).astype(np.uint8), _CLASSES - 1)
        target[~deep] = OUT
    return place


def interior_of(volume: Float32Array, place: NDArray[np.uint8], radius: Radii, *, voxel_size: VoxelSize) -> Interior:
    """The part of a volume in which the level of the solid is sought."""
    smooth = smoothed_in(volume, place, _CLASSES - 1, _SMOOTHING, _edges(voxel_size))
    return Interior(smooth, radius, place, voxel_size)


def crack_free_uniform(inside: Interior, start: float, away: float) -> BoolArray:
    """Where solid of one level is farther than ``away`` voxels from anything dark; its noise is that of what remains.

    ``start`` is a first guess of the level.
    """
    count, square = 0, 0.0
    for plane, place in zip(inside.smooth, inside.place, strict=True):
        bright = plane[(place != OUT) & (plane > start)] - np.float32(start)
        count, square = count + bright.size, square + float(np.sum(np.square(bright), dtype=np.float64))
    level, spread = start, float(np.sqrt(square / max(count, 1)))
    kept, sums = np.empty(inside.place.shape, dtype=bool), np.empty((_CLASSES, 4))
    for _ in range(_ROUNDS):
        _keep(inside, np.full(_CLASSES, level - _DARK * spread), away, kept, sums)
        count, _, total, square = sums.sum(axis=0)
        if count < _LEAST:
            break
        before, level = level, total / count
        spread = float(np.sqrt(max(square / count - level**2, 0.0)))
        if abs(level - before) < _SETTLED * spread:
            break
    return kept


def crack_free(inside: Interior, deep: float, spread: float, levels: Float64Array) -> tuple[BoolArray, Float64Array]:
    """Where solid is away from anything ``deep`` below its level, and the levels by the radius.

    ``spread``, the unit of ``deep``, is the standard deviation of the noise of the smoothed volume, ``levels`` [class]
    are a first guess.
    Radii with few such voxels are left out: where all solid lies near cracks, what seems to be a lower level is their
    blur.
    """
    total, supported = _numbers(inside.place), np.ones(_CLASSES, dtype=bool)
    kept, sums = np.empty(inside.place.shape, dtype=bool), np.empty((_CLASSES, 4))
    for _ in range(_ROUNDS):
        _keep(inside, levels - deep * spread, _AWAY, kept, sums)
        if sums[:, 0].sum() < _LEAST:
            supported[:] = True
            break
        supported = _supported(total, sums[:, 0])
        knots, fitted, _ = _fit_knots(sums[:, 0] * supported, sums[:, 1], sums[:, 2], spread)
        before, levels = levels, np.interp((np.arange(_CLASSES) + 0.5) / _CLASSES, knots, fitted)
        if np.abs(levels - before).max() < _SETTLED * spread:
            break
    if not supported.all():
        chosen = np.append(supported, np.zeros(OUT + 1 - _CLASSES, dtype=bool))
        for part, plane in zip(kept, inside.place, strict=True):
            part &= chosen[plane]
    return kept, levels


def _numbers(place: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Voxels of every class, [class]."""
    total = sum((np.bincount(plane.ravel(), minlength=OUT + 1) for plane in place), np.zeros(OUT + 1, np.int64))
    return np.asarray(total[:_CLASSES], dtype=np.int64)


def _keep(inside: Interior, limit: Float64Array, away: float, kept: BoolArray, sums: Float64Array) -> None:
    """Mark what is ``away`` from anything below the ``limit`` [class]; number, radii, values and squares by class."""
    mark_below(inside.smooth, inside.place, limit, kept)
    near = within_reach(kept, away, _edges(inside.voxel_size))
    keep_away(near, inside.place, (inside.radius, inside.smooth), kept, sums)
    sums[:, 1] *= radius_unit(inside.radius)


def smoothed_grey(volume: Float32Array, voxel_size: VoxelSize) -> Float32Array:
    """The volume in which cracks are looked for: a Gaussian of 1.5 voxels, alike in all directions."""
    return smoothed(volume, _widths(voxel_size), truncate=3)


def _widths(voxel_size: VoxelSize) -> tuple[float, ...]:
    """Standard deviations of `smoothed_grey`, in voxels along z, y and x."""
    return tuple(_SMOOTHING / edge for edge in _edges(voxel_size))


def _edges(voxel_size: VoxelSize) -> VoxelSize:
    """Edges of a voxel in voxels: the unit of length is the cube root of its volume."""
    unit = float(np.prod(voxel_size)) ** (1 / 3)
    return voxel_size[0] / unit, voxel_size[1] / unit, voxel_size[2] / unit


def _upper_levels(inside: Interior, spread: float) -> Float64Array:
    """Level of every class from its brightest voxels: the 95 % quantile less 1.645 standard deviations, [class]."""
    step = max(inside.place.size // _SAMPLE, 1)
    place, values = inside.place.ravel()[::step], inside.smooth.ravel()[::step]
    order = np.argsort(place, kind="stable")
    ends = np.searchsorted(place[order], np.arange(_CLASSES + 1))
    levels = np.full(_CLASSES, -np.inf)
    for k in range(_CLASSES):
        part = values[order[ends[k] : ends[k + 1]]]
        if part.size:
            levels[k] = float(np.quantile(part, 0.95)) - 1.645 * spread
    return levels


def _supported(total: NDArray[np.int64], chosen: Float64Array) -> BoolArray:
    """Classes of the radius with at least 0.8 of the mean share of crack-free voxels, [class]."""
    share = chosen / np.maximum(total, 1)
    return np.asarray(share >= _SUPPORT * chosen.sum() / max(total.sum(), 1), dtype=np.bool_)


def _fit_knots(
    number_of: Float64Array, radii: Float64Array, values: Float64Array, noise: float
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Knots, levels and their covariance for white noise: the number of knots by the Bayesian criterion.

    From number and sums of radii and values by class, [class].
    """
    used = number_of > 0
    count = number_of[used]
    middle, mean = radii[used] / count, values[used] / count
    weight = np.sqrt(count) / max(noise, 1e-12)
    share = np.cumsum(count) - count / 2
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


def solid_level(
    split: SplitGrey, place: NDArray[np.uint8], radius: Radii, start: float, noise: float, threshold: float = -np.inf
) -> SolidLevel:
    """Grey level of crack-free solid along the radius.

    Parameters
    ----------
    split
        The volume with its noise split, see `split_grey`.
    place
        `classes_of` the particle without the rim that the blur of its surface darkens, [z, y, x].
    radius
        See `radii`.
    start
        First guess: the peak of the solid in the histogram.
    noise
        Standard deviation of the volume's noise, grey value.
    threshold
        Between void and solid: a radius whose brightest voxels are below it, as within a hollow core, has no level of
        its own.

    Raises
    ------
    MeasurementError
        If fewer than 200 voxels are free of cracks.
    """
    inside = interior_of(split.select, place, radius, voxel_size=split.voxel_size)
    upper = _upper_levels(inside, split.smooth_noise)
    kept, levels = crack_free(inside, _DEPTH, split.smooth_noise, np.where(upper < threshold, start, upper))
    count = int(np.count_nonzero(kept))
    if count < _LEAST:
        raise _no_reference(count)
    sums = np.empty((_CLASSES, 4))
    keep_away(~kept, inside.place, (radius, split.average), kept, sums)
    sums[:, 1] *= radius_unit(radius)
    knots, level, covariance = _fit_knots(sums[:, 0], sums[:, 1], sums[:, 2], noise * float(np.sqrt(1 + SPLIT**-2)))
    found = SolidLevel(knots, level, covariance, 0.0, noise, count / max(int(np.count_nonzero(place != OUT)), 1))
    uneven = _unevenness(split, radius, kept, found)
    found = replace(found, supported=_supported_radii(inside, sums[:, 0] > 0))
    _, _, inflation = _residual(split.average, radius, kept, found)
    kept = crack_free(inside, _DARK, split.smooth_noise, levels)[0]
    change, variance, _ = _residual(split.average, radius, kept, found)
    # what is free of the darker cracks is free of the fainter ones, or nearly so: the means share their noise
    shared = max(1 - count / max(int(np.count_nonzero(kept)), 1), 0.0)
    systematic = _UNSEEN * float(np.sqrt(max(change**2 - 2 * shared * inflation * variance / count, 0.0)))
    found = replace(found, covariance=covariance * inflation, systematic=systematic, uneven=uneven)
    return found


def _supported_radii(inside: Interior, used: BoolArray) -> tuple[float, float]:
    """Relative radii between which classes are ``used`` [class]; to 0 and 1 if beyond there is no interior to speak of.

    What lies beyond the interior is the rim, and its level is continued of necessity.
    """
    many = _numbers(inside.place) >= _LEAST
    first, last = np.flatnonzero(used)[[0, -1]]
    low = float(first / _CLASSES) if many[:first].any() else 0.0
    return low, float((last + 1) / _CLASSES) if many[last + 1 :].any() else 1.0


def of_unknown_composition(level: SolidLevel) -> SolidLevel:
    """A level with a knot more at each end from which it is continued, where oxide may be of another composition."""
    low, high = ([end] if 0 < end < 1 else [] for end in level.supported)
    last = level.radius.size - 1
    order = [*(0 for _ in low), *range(last + 1), *(last for _ in high)]
    # evenly likely up to the greatest step: this root mean square
    step = STEP / np.sqrt(3) * level.level
    return replace(
        level,
        radius=np.array([*low, *level.radius, *high]),
        level=level.level[order],
        covariance=level.covariance[np.ix_(order, order)],
        unknown=np.array([*(step[0] for _ in low), *np.zeros(last + 1), *(step[-1] for _ in high)]),
    )


def _unevenness(split: SplitGrey, radius: Radii, kept: BoolArray, level: SolidLevel) -> Estimate:
    """Least mean deficit of faint sheets that explains what both volumes, smoothed, have in common in ``kept``.

    Their noise is independent, so that the mean of their product about the level is the variance rho² of the solid
    itself. Sheets at random whose greatest deficit after smoothing is D darken by sqrt(2) rho² / D, and those that are
    not seen have D below `_DEPTH` standard deviations of the noise. Of the 128 voxels around the middle.
    """
    window = tuple(_window(kept, axis) for axis in range(3))
    if not kept[window].any():  # a ring around what is cracked: about any voxel of it
        one = np.flatnonzero(kept)
        places = np.unravel_index(one[one.size // 2], kept.shape)
        window = tuple(_around(int(place), n) for place, n in zip(places, kept.shape, strict=True))
    mask, base = kept[window], level.at(relative(radius[window]))
    first, second = (smoothed_grey(one[window], split.voxel_size) - base for one in (split.select, split.average))
    product = np.where(mask, (first - first[mask].mean()) * (second - second[mask].mean()), 0).astype(np.float64)
    for axis, size in enumerate(product.shape):
        product = np.add.reduceat(product, np.arange(0, size, _BLOCK), axis=axis)
    count = float(np.count_nonzero(mask))
    std = float(np.sqrt(product.size * product.var())) / count
    per_variance = float(np.sqrt(2)) / (_DEPTH * split.smooth_noise)
    return Estimate(per_variance * float(product.sum()) / count, per_variance * std)


def _window(mask: BoolArray, axis: int) -> slice:
    """128 voxels around the middle of what is True."""
    along = np.flatnonzero(mask.any(axis=tuple(set(range(3)) - {axis})))
    return _around(int(along[along.size // 2]) if along.size else 0, mask.shape[axis])


def _around(place: int, size: int) -> slice:
    """128 voxels around one of ``size``."""
    low = max(0, min(place - _CROP // 2, size - _CROP))
    return slice(low, low + _CROP)


def _residual(volume: Float32Array, radius: Radii, kept: BoolArray, level: SolidLevel) -> tuple[float, float, float]:
    """Mean and variance of what is left above a level, and by how much means over blocks scatter too much.

    That is the variance of sums over 8 x 8 x 8 voxels over that of as many independent voxels, at least 1.
    """
    blocks = np.zeros([-(-n // _BLOCK) for n in volume.shape])
    count, square = 0, 0.0
    starts = [np.arange(0, n, _BLOCK) for n in volume.shape[1:]]
    for z, mask in enumerate(kept):
        rest = np.where(mask, volume[z] - level.at(relative(radius[z])), 0).astype(np.float64)
        count, square = count + int(np.count_nonzero(mask)), square + float(np.vdot(rest, rest))
        blocks[z // _BLOCK] += np.add.reduceat(np.add.reduceat(rest, starts[0], axis=0), starts[1], axis=1)
    mean = float(blocks.sum()) / count
    variance = square / count - mean**2
    return mean, variance, max(1.0, float(np.vdot(blocks, blocks)) / max(variance * count, 1e-300))
