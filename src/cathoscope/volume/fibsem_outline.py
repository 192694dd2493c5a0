"""Outline of the particle in every slice: a closed curve, its centre, and how far the centre may be trusted as a mark.

Rays from the centre meet the outline where the grey value last rises above the outside; a running median along the
angle bridges the notches of open cracks. The radius is r(t) = a_0 + sum(a_m cos m t + b_m sin m t): m = 1 is the
centre. The centre of a body that is no ball wanders from slice to slice, and how much cannot be seen in m = 1, because
drift adds to it; but m = 2 to 6 are free of drift, and a surface that is rough in all directions alike has all of them
(`fibsem_wander`). The ellipticity, m = 2, tells how far the centre may run along a line.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, label, map_coordinates, median_filter

from cathoscope.volume.fibsem_wander import centre_wander, places_in_ball

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_RAYS = 180
_BRIDGED = 11  # rays of the running median
_SMOOTHING = 1.5  # px
_HARMONICS = 6
_USUAL = 4  # parts of the shape, m = 2 and 3, that tell odd outlines
_LEAST_RADIUS = 8.0  # px
_SAMPLES = 0.5  # px along a ray
_FEWEST = 6  # outlines
_ODD = 3.0  # times the usual change of shape along the stack
_ROUNDEST = 0.015  # no particle is rounder, whatever its few sections look like
_FEW = 1.32  # the 68 % quantile of Student's distribution of two degrees of freedom: two numbers tell the ellipticity


class Outline(NamedTuple):
    """Outline of one slice: centre (row, column), px; radius (px) along 180 rays of equal angles [ray]; cosine and
    sine parts of m = 2 to 6, px, [10]. ``whole``: it lies within the field and is large enough.
    """

    centre: tuple[float, float]
    radius: Float64Array
    shape: Float64Array
    whole: bool

    def depth(self, rows: int, columns: int) -> Float32Array:
        """How far (px, along the ray) the pixels of a slice lie within the outline: positive inside, [row, column]."""
        y = np.arange(rows, dtype=np.float32)[:, None] - np.float32(self.centre[0])
        x = np.arange(columns, dtype=np.float32) - np.float32(self.centre[1])
        place = np.arctan2(y, x) * np.float32(_RAYS / (2 * np.pi))
        closed = np.append(self.radius, self.radius[0])
        low = np.mod(place, _RAYS)
        return np.asarray(np.interp(low, np.arange(_RAYS + 1), closed) - np.hypot(x, y), dtype=np.float32)


def find_outline(image: Float32Array, level: float) -> Outline:
    """The outline of the largest body brighter than ``level`` in one slice [row, column].

    ``whole`` is False if there is none, if it is smaller than 8 px across, or if the field cuts it.
    """
    smooth = gaussian_filter(image, _SMOOTHING, mode="nearest")
    nothing = Outline((np.nan, np.nan), np.zeros(_RAYS), np.zeros(2 * (_HARMONICS - 1)), False)
    bodies, count = label(smooth > level)
    if count == 0:
        return nothing
    sizes = np.bincount(bodies.ravel())
    sizes[0] = 0
    body = bodies == int(np.argmax(sizes))
    if sizes.max() < np.pi * _LEAST_RADIUS**2:
        return nothing
    rows, columns = np.nonzero(body)
    centre = np.array([(rows.min() + rows.max()) / 2, (columns.min() + columns.max()) / 2])
    radius = np.zeros(_RAYS)
    smooth = np.where(bodies > 0, smooth, np.minimum(smooth, level)).astype(np.float32)
    for _ in range(3):
        radius = _radii(smooth, centre, level)
        parts = _harmonics(radius)
        centre = centre + np.array([parts[2], parts[1]])
    touches = bool(
        rows.min() <= 1 or columns.min() <= 1 or rows.max() >= image.shape[0] - 2 or columns.max() >= image.shape[1] - 2
    )
    whole = not touches and float(parts[0]) > _LEAST_RADIUS
    return Outline((float(centre[0]), float(centre[1])), radius, parts[3:], whole)


def _radii(smooth: Float32Array, centre: Float64Array, level: float) -> Float64Array:
    """Where each ray last falls through ``level``, px; notches bridged."""
    angle = np.arange(_RAYS) * (2 * np.pi / _RAYS)
    far = float(np.hypot(*smooth.shape))
    along = np.arange(0.0, far, _SAMPLES)
    rows = centre[0] + np.sin(angle)[:, None] * along
    columns = centre[1] + np.cos(angle)[:, None] * along
    grey = map_coordinates(smooth, [rows, columns], order=1, mode="constant", cval=-1e3)
    above = grey > level
    last = above.shape[1] - 1 - np.argmax(above[:, ::-1], axis=1)
    last = np.where(above.any(axis=1), np.minimum(last, above.shape[1] - 2), 0)
    ray = np.arange(_RAYS)
    inner, outer = grey[ray, last], grey[ray, last + 1]
    part = np.clip((inner - level) / np.maximum(inner - outer, 1e-6), 0, 1)
    return np.asarray(median_filter(_SAMPLES * (last + part), _BRIDGED, mode="wrap"))


def _harmonics(radius: Float64Array) -> Float64Array:
    """a_0, a_1, b_1, a_2, b_2, a_3, b_3 of the radius."""
    spectrum = np.fft.rfft(radius) / radius.size
    parts = [spectrum[0].real]
    for m in range(1, _HARMONICS + 1):
        parts += [2 * spectrum[m].real, -2 * spectrum[m].imag]
    return np.array(parts)


class CentreMarks(NamedTuple):
    """Centres of the outlines as marks of position: [slice, 2] (row, column; px), which of them count [slice], and how
    the centre of the body itself wanders: standard deviation of its trend over the stack (px per slice), and covariance
    of those that count beside it, px² [mark, mark]. ``doubt`` [slice], px: further standard deviation of the centres of
    odd outlines, 0 for the others.
    """

    centre: Float64Array
    used: BoolArray
    trend: float
    wander: Float64Array
    doubt: Float64Array


def centre_marks(outlines: list[Outline], *, depth: float | None = None) -> CentreMarks:
    """Which centres count and how much, from the shapes of all outlines, in the order of the slices.

    ``depth`` (px) is the thickness of a slice, if it is known.
    """
    centre = np.array([one.centre for one in outlines])
    mean = np.array([one.radius.mean() for one in outlines])
    used = np.array([one.whole for one in outlines]) & (mean > 0.5 * max(mean.max(initial=0.0), 1e-9))
    if np.count_nonzero(used) < _FEWEST:
        return CentreMarks(centre, np.zeros_like(used), 1.0, np.zeros((0, 0)), np.zeros(len(outlines)))
    index = np.flatnonzero(used)
    shape = np.stack([outlines[n].shape for n in index])
    place, left = _along(index, shape[:, :_USUAL])
    # a crack that lies in the slice and opens to the outside takes a piece of the outline: its centre is off by as much
    size = np.sqrt(np.mean(left**2, axis=1))
    odd = size > _ODD * max(float(np.median(size)), 0.05)
    doubt = np.zeros(len(outlines))
    doubt[index] = np.where(odd, 2 * size, 0.0)
    x, ball = places_in_ball(index, mean[index], depth)
    wander = centre_wander(x, ball, shape, ~odd)
    return CentreMarks(centre, used, _leaning(place, shape, mean[index]), wander, doubt)


def _leaning(place: Float64Array, shape: Float64Array, mean: Float64Array) -> float:
    """Standard deviation of the trend of the centre with the axes of the body, px per slice.

    The axes of an ellipsoid point anywhere: with a_2 = e R (1 - z² / R²) its centre moves by 2 e z, one sigma.
    """
    low = float(mean.min() / mean.max())
    flat = float(np.mean(1 - (place / np.abs(place).max()) ** 2 * (1 - low**2)))
    ellipticity = float(np.sqrt(np.mean(shape[:, :2].mean(axis=0) ** 2))) / (flat * float(mean.max()))
    # R in slices: of a ball, the outermost section of radius r lies at sqrt(R² - r²)
    polar = float(np.abs(place).max()) / np.sqrt(max(1 - low**2, 0.1))
    return float(_FEW * 2 * max(ellipticity, _ROUNDEST) * mean.max() / polar)


def _along(index: NDArray[np.int64], shape: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Place of the slices used from their mean, and what a parabola leaves of their shapes [slice, part].

    The parabola is fitted to the middle of the residuals: odd outlines do not draw it to them.
    """
    place = index - index.mean()
    polynomial = np.polynomial.legendre.legvander(place / np.abs(place).max(), 2)
    weight = np.ones(index.size)
    left = shape
    for _ in range(4):
        root = np.sqrt(weight)[:, None]
        left = shape - polynomial @ np.linalg.lstsq(root * polynomial, root * shape, rcond=None)[0]
        size = np.sqrt(np.mean(left**2, axis=1))
        weight = 1 / (1 + (size / max(float(np.median(size)), 1e-3)) ** 2)
    return place, np.asarray(left)
