"""Pores in one slice of a FIB/SEM: the share of pore in every pixel, from grey levels taken beside and within cracks.

In such an image the grey value of a void is no constant: the far wall of an inclined crack shines through, and charged
oxide beside a void is brighter. Measured on virtual slices, void levels taken from wide voids give half the porosity of
fine cracks. Therefore the share of pore of a pixel is taken between local levels,

    p = (S - J) / (S - F),        J grey value over that of the oxide (a plane: gain and background),

S the level of the oxide beside the crack, F the level in the middle of the crack where it is wide enough to be seen
there. Narrower cracks take F from the darker of those that are seen, 25 to 45 % of the way from void to oxide:
steep cracks are the narrow and the deep ones. What rests on that choice is `unresolved`, and gives the systematic part.
Pixels farther than two from anything dark count as oxide: noise and charging away from cracks add nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import edt  # type: ignore[import-not-found, import-untyped, unused-ignore]
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.spread import robust_std

Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

FEWEST = 400  # px of oxide from which a level is taken
_SMOOTHING = 1.0  # px, of the image in which cracks are looked for
_LEFT = 0.323  # noise after that smoothing over what it took away, for white noise: 0.282 / 0.872
_SEED, _GROW = 5.0, 3.0  # standard deviations of the smoothed noise below the oxide: a crack, and what belongs to it
_REACH = 2  # px around a crack over which its blur spreads
_CORE = 2.2  # px from the edge of a crack from which its middle is free of that blur
_SHARP = 3.0  # px; narrower cracks may look brighter than they are
_LARGE = 6.0  # px from the edge of a pore: it is wide
_NEAR = 1.2  # px, Gaussian over which a middle speaks for its neighbours
_BESIDE = 2.5  # px, Gaussian over which oxide beside a crack is averaged
_QUANTILE = 0.3  # of the middles' grey values: that of narrow cracks
_NARROW = (0.25, 0.45)  # of the way from void to oxide: where the level of narrow cracks can be


class Flat(NamedTuple):
    """The image over the level of oxide; that level in the middle; noise of a pixel and of the smoothed image."""

    grey: Float64Array
    oxide: float
    noise: float
    smooth_noise: float


class Pores(NamedTuple):
    """Share of pore, that part of it in narrow cracks, pixels that count at all, wide pores, the outer pixels of pores,
    and the level of narrow cracks."""

    share: Float64Array
    narrow: Float64Array
    band: BoolArray
    large: BoolArray
    edge: BoolArray
    floor: float


def distance(mask: BoolArray) -> Float64Array:
    """Distance (px) to the nearest pixel outside ``mask``; the border of the image is none."""
    if mask.all():
        return np.full(mask.shape, float(np.hypot(*mask.shape)))
    found: Any = edt.edt(np.ascontiguousarray(mask), black_border=False, parallel=1)
    return np.asarray(found, dtype=np.float64)


def flattened(grey: Float64Array, depth: Float64Array) -> Flat:
    """The image over a plane through the oxide that is farthest from anything dark."""
    inner = depth > 4
    if np.count_nonzero(inner) < FEWEST:
        raise MeasurementError("the particle is too small in the slice", expected="30 pixels across, or more")
    smooth = ndimage.gaussian_filter(grey, _SMOOTHING)
    down, across = (np.linspace(-1, 1, n) for n in grey.shape)
    basis = np.stack(np.broadcast_arrays(1.0, down[:, None], across[None, :]), axis=-1)
    # what white noise leaves in the smoothed image, by what the smoothing took away
    noise = _LEFT * robust_std((grey - smooth)[inner])
    level = np.full(grey.shape, _mode(smooth[inner]))
    chosen = inner
    for _ in range(6):
        ratio = smooth / level
        middle = _mode(ratio[inner])
        above = ratio[inner & (ratio > middle)]
        spread = max(float(np.quantile(above, 0.68)) - middle, noise / float(np.median(level[inner])))
        dark = ratio < middle - 3 * spread
        away = distance(~dark)
        for far in (4.0, 3.0, 2.0, 1.5, 1.0):
            chosen = inner & (away > far)
            if np.count_nonzero(chosen) > max(FEWEST, 0.08 * np.count_nonzero(inner)):
                break
        if np.count_nonzero(chosen) < 10:
            chosen = inner
        level = basis @ np.linalg.lstsq(basis[chosen], grey[chosen], rcond=None)[0]
    flat = grey / np.maximum(level, 1e-6)
    smooth_noise = float(np.std(ndimage.gaussian_filter(flat, _SMOOTHING)[chosen]))
    return Flat(flat, float(np.median(level[inner])), float(np.std(flat[chosen])), smooth_noise)


def _mode(values: Float64Array) -> float:
    """The most frequent value: peak of a smoothed histogram."""
    low, high = np.quantile(values, [0.02, 0.999])
    if not high > low:
        return float(low)
    count, edges = np.histogram(values, bins=100, range=(low, high))
    at = int(np.argmax(ndimage.gaussian_filter1d(count.astype(np.float64), 3)))
    return float(0.5 * (edges[at] + edges[at + 1]))


def pores_of(flat: Flat, depth: Float64Array, void: float) -> Pores:
    """Share of pore between the local levels of oxide and of cracks."""
    inside = depth > 0
    smooth = ndimage.gaussian_filter(flat.grey, _SMOOTHING)
    dark = _hysteresis(
        inside & (smooth < 1 - _SEED * flat.smooth_noise), inside & (smooth < 1 - _GROW * flat.smooth_noise)
    )
    band = np.asarray(ndimage.binary_dilation(dark, iterations=_REACH)) & inside
    fine = ndimage.gaussian_filter(flat.grey, 0.6)
    lowest = np.maximum(ndimage.minimum_filter(fine, 3), ndimage.minimum_filter(smooth, 5) - 0.1)
    width = distance(dark & (fine < 0.5 * (1 + lowest)))
    core = (width >= _CORE) & (depth > _REACH)
    large = width > _LARGE
    large = np.asarray(ndimage.binary_dilation(large, iterations=int(_LARGE))) if large.any() else large
    ridge = core & ~large & (width >= ndimage.maximum_filter(width, 3))  # one pixel for a pixel of a crack's length
    floor = _floor(smooth[ridge], void)
    brightest = void + _NARROW[1] * (1 - void)
    away, level, sharp = _nearest(core, _average(flat.grey, core, _NEAR)[1], ndimage.maximum_filter(width, 7) >= _SHARP)
    known = away <= _CORE + _REACH
    level = np.where(known, np.where(sharp, level, np.minimum(level, brightest)), floor)
    close, beside = _average(flat.grey, inside & ~np.asarray(ndimage.binary_dilation(dark)), _BESIDE)
    oxide = np.where(close > 0.03, beside, 1.0)
    share = np.where(band, (oxide - flat.grey) / np.maximum(oxide - level, 0.1), 0.0)
    wide = core & known & sharp
    share[wide] = 1.0
    return Pores(
        share,
        np.where(known & sharp, 0.0, share),
        band,
        large & inside,
        (width > 0) & (width < 1.5) & known & sharp,
        floor,
    )


def _nearest(core: BoolArray, level: Float64Array, sharp: BoolArray) -> tuple[Float64Array, Float64Array, BoolArray]:
    """Distance (px) to the nearest middle of a crack, and its level and sharpness, [row, column]."""
    if not core.any():
        return np.full(core.shape, np.inf), level, sharp
    away, (row, column) = ndimage.distance_transform_edt(~core, return_indices=True)
    return np.asarray(away), level[row, column], sharp[row, column]


def _floor(seen: Float64Array, void: float) -> float:
    """Grey level of cracks too narrow to show it: the dark part of the middles of those that show it."""
    low, high = (void + part * (1 - void) for part in _NARROW)
    return float(np.clip(np.quantile(seen, _QUANTILE), low, high)) if seen.size > 20 else high


def _hysteresis(seeds: BoolArray, grown: BoolArray) -> BoolArray:
    """Pieces of ``grown`` that hold a seed."""
    labels = np.asarray(ndimage.label(grown, np.ones((3, 3)))[0])
    keep = np.zeros(int(labels.max(initial=0)) + 1, dtype=bool)
    keep[np.unique(labels[seeds])] = True
    keep[0] = False
    return np.asarray(keep[labels])


def _average(grey: Float64Array, where: BoolArray, sigma: float) -> tuple[Float64Array, Float64Array]:
    """Weight of pixels ``where`` around each pixel, and their mean grey value."""
    weight = ndimage.gaussian_filter(where.astype(np.float64), sigma)
    total = ndimage.gaussian_filter(np.where(where, grey, 0.0), sigma)
    return weight, np.asarray(total / np.maximum(weight, 1e-9))
