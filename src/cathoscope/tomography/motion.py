"""How far an image has moved, sub-pixel: every projection of a scan registered against a model of it.

A projection is compared with a short sum of model images seen through a motion,

    model(row, column) = sum_k w_k C_k(r, c) + delta dC/dtheta(r, c),
    r = middle_row + (row - middle_row - v) / M,    c = middle_column + (column - middle_column - u) / M,

by Gauss-Newton steps. The shifts u and v belong to one projection; the magnification M, the weights w_k and the angle
offset delta to the whole scan. The projection itself is never interpolated, so its noise stays white. Both sides pass
the same band-pass (the difference of two Gaussians): it takes off what a wrong beam intensity, a background or a slow
change of the chemistry across the object would feign, and the frequencies that interpolation gets wrong. The model
passes it once, before it is interpolated: a shift and a convolution can change places, and so can a magnification and
one that is M times as wide, so the projection passes a band-pass M times as wide as the model's. Pixels are weighted
by the transmission, to which the number of photons is proportional.

The normal equations have the shape of an arrow: one block of two per projection, bordered by the scan's own
parameters, and are solved by the Schur complement.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve1d, spline_filter1d

from cathoscope.tomography.series_kernels import filter_all, sum_all

FloatArray = NDArray[np.floating]
Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_NARROW, WIDE = 0.8, 2.0  # standard deviations in px of the two Gaussians of the band-pass
_REACH = 4.0  # standard deviations at which they are cut off: at 3, widths would not follow a scale within 1 %
_AT_ONCE = 32  # projections that a model is made of at a time
_LOCAL = 2  # parameters of one projection: column shift, row shift
_SHARED = 2  # of the scan besides the weights: logarithm of the magnification, angle offset
_LEAST_TRANSMISSION = 0.02
_TELLING = 6  # projections that tell how the band-pass correlates noise
_LARGEST_STEP = 1.0  # px, and of the other parameters in the unit of a shift at the rim
_STILL, _STILL_SHARED = 1e-3, 1e-4  # px, at the rim of the view: steps that are no more worth taking
_LARGEST_MISFIT = 3.0  # of a projection, in units of the median: beyond, it is rejected


@dataclass(frozen=True)
class Motion:
    """How one scan shows the model.

    Attributes
    ----------
    column_shift, row_shift
        u and v in px, ``[projection]``.
    magnification
        M, relative to the model.
    angle_offset
        Of the whole scan against the model, rad.
    weight
        w_k of the model's components, ``[component]``.
    usable
        Projections that take part, ``[projection]``.
    """

    column_shift: Float64Array
    row_shift: Float64Array
    magnification: float
    angle_offset: float
    weight: Float64Array
    usable: BoolArray


@dataclass(frozen=True)
class Registration:
    """The motion of one scan and how well it is known.

    Attributes
    ----------
    motion
        As found.
    column_variance, row_variance
        Of the shifts at the stated magnification and angle offset, px², ``[projection]``.
    shared_covariance
        Of (column modes are not in it) the logarithm of the magnification and the angle offset in rad, ``[2, 2]``;
        zero where held.
    weight_variance
        Of the first component's weight.
    noise
        Standard deviation of the optical depth where the beam is open, from the misfit.
    misfit
        Root mean square misfit of every projection over ``noise``, ``[projection]``.
    steps
        Gauss-Newton steps taken.
    converged
        Whether the last step was below 1e-3 px, and 1e-4 px at the rim for the scan's parameters.
    """

    motion: Motion
    column_variance: Float64Array
    row_variance: Float64Array
    shared_covariance: Float64Array
    weight_variance: float
    noise: float
    misfit: Float64Array
    steps: int
    converged: bool

    def with_variance(self, factor: float) -> Registration:
        """The same with all variances times ``factor``."""
        return replace(
            self,
            column_variance=self.column_variance * factor,
            row_variance=self.row_variance * factor,
            shared_covariance=self.shared_covariance * factor,
            weight_variance=self.weight_variance * factor,
            noise=self.noise * factor**0.5,
        )


@dataclass(frozen=True)
class Model:
    """Component images that scans are registered against.

    Attributes
    ----------
    coefficient
        Cubic spline coefficients of the band-passed components and, last, of the first one's derivative with respect
        to the angle (1/rad), ``[component + 1, projection, row, column]``.
    plain
        The first component as it is, ``[projection, row, column]``: the optical depth by which pixels are weighted.
    middle
        Row and column of the optical axis in px.
    wide
        Standard deviation in px of the wider Gaussian of the band-pass.
    """

    coefficient: Float32Array
    plain: Float32Array
    middle: tuple[float, float]
    wide: float

    @property
    def components(self) -> int:
        """Their number, the derivative not counted."""
        return len(self.coefficient) - 1


def spline_coefficients(images: FloatArray) -> Float32Array:
    """Coefficients of the interpolating cubic spline along the last two axes, mirrored at the rim."""
    result = np.empty(images.shape, dtype=np.float32)
    _filter_splines(images, result)
    return result


def _filter_splines(images: FloatArray, result: Float32Array) -> None:
    spline_filter1d(images, order=3, axis=-1, output=result, mode="mirror")
    spline_filter1d(result, order=3, axis=-2, output=result, mode="mirror")


def model_of(components: Float32Array, angle: Float64Array, middle: tuple[float, float], wide: float = WIDE) -> Model:
    """Model of component images ``[component, projection, row, column]`` at ascending ``angle`` (rad)."""
    coefficient = np.empty((len(components) + 1, *components.shape[1:]), dtype=np.float32)
    # a few projections at a time: several times the components would be the largest thing in memory
    for start in range(0, len(angle), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        images = [*(one[part] for one in components), _change_with_angle(components[0], angle, part)]
        everywhere = np.ones(len(images[0]), dtype=bool)
        for one, result in zip(images, coefficient[:, part], strict=True):
            _filter_splines(band_passed(one, everywhere, wide), result)
    return Model(coefficient, components[0], middle, wide)


def _change_with_angle(images: Float32Array, angle: Float64Array, part: slice) -> Float32Array:
    """Derivative of some of the images with respect to the angle (1/rad)."""
    first, last = max(part.start - 1, 0), part.stop + 1
    change = np.gradient(images[first:last], angle[first:last], axis=0)
    return np.asarray(change[part.start - first : part.stop - first], dtype=np.float32)


def band_passed(images: FloatArray, usable: BoolArray, wide: float = WIDE, scale: float = 1.0) -> Float32Array:
    """Images ``[projection, row, column]`` after the band-pass, ``scale`` times as wide; zero where not ``usable``."""
    result = np.empty(images.shape, dtype=np.float32)
    filters = gaussian_taps(_NARROW, scale), gaussian_taps(wide, scale)
    filter_all(np.ascontiguousarray(images, dtype=np.float32), usable, *filters, result)
    return result


def register_scan(
    depth: Float32Array,
    model: Model,
    start: Motion,
    angle_difference: Float64Array,
    *,
    free: tuple[bool, bool] = (True, True),
    steps: int = 12,
) -> Registration:
    """Register the projections of one scan, ``[projection, row, column]``, against a model of them.

    Parameters
    ----------
    depth
        Optical depth; projections that are not ``start.usable`` are not looked at.
    model, start
        What is compared, and where to begin: within about two pixels of the truth.
    angle_difference
        Angle of each projection minus the model's, rad, ``[projection]``.
    free
        Whether the magnification and the angle offset are found, or kept as in ``start``.
    steps
        The largest number of Gauss-Newton steps.
    """
    motion, converged, taken = start, False, 0
    seen = band_passed(depth, start.usable, model.wide, motion.magnification)
    sums = _normal_equations(seen, model, motion, angle_difference)
    radius = 0.25 * (depth.shape[1] + depth.shape[2])
    while taken < steps and not converged:
        step_local, step_shared = _arrow_step(sums, motion.usable, free, radius)
        motion = _stepped(motion, step_local, step_shared)
        local = float(np.sqrt(np.mean(step_local[motion.usable] ** 2))) if motion.usable.any() else 0.0
        converged = local < _STILL and float(np.abs(step_shared[:_SHARED]).max()) * radius < _STILL_SHARED
        taken += 1
        if not converged:  # else the sums are those of a point too near to tell from this one
            if free[0]:
                seen = band_passed(depth, start.usable, model.wide, motion.magnification)
            sums = _normal_equations(seen, model, motion, angle_difference)
    passed = _noise_passed(model, motion)
    return _judged(sums, motion, free, Course(taken, converged, model.wide, passed))


def gaussian_taps(std: float, scale: float = 1.0) -> Float32Array:
    """Weights of a sampled Gaussian of standard deviation ``std * scale`` px; their sum is 1.

    Their number depends on ``std`` alone: it must not jump where ``scale`` passes a limit.
    """
    reach = int(np.ceil(_REACH * std))
    weight = np.exp(-0.5 * (np.arange(-reach, reach + 1) / (std * scale)) ** 2)
    return np.asarray(weight / weight.sum(), dtype=np.float32)


@dataclass(frozen=True)
class Course:
    """How a registration went: steps taken, whether they came to an end, the band-pass, and `_noise_passed`."""

    steps: int
    converged: bool
    wide: float
    passed: tuple[float, float, float]


@dataclass(frozen=True)
class _Sums:
    """Normal equations of every projection, misfit and its number of degrees of freedom."""

    normal: Float64Array
    gradient: Float64Array
    square: Float64Array
    count: Float64Array


def _normal_equations(seen: Float32Array, model: Model, motion: Motion, angle_difference: Float64Array) -> _Sums:
    n_projections, size = seen.shape[0], _LOCAL + _SHARED + model.components
    sums = _Sums(
        np.zeros((n_projections, size, size)),
        np.zeros((n_projections, size)),
        np.zeros(n_projections),
        np.zeros(n_projections),
    )
    place = np.stack([motion.column_shift, motion.row_shift, motion.angle_offset + angle_difference], axis=1)
    sum_all(
        seen,
        (model.coefficient, model.plain),
        (model.middle[0], model.middle[1], motion.magnification),
        place,
        (motion.weight, motion.usable),
        (sums.normal, sums.gradient, sums.square, sums.count),
    )
    return sums


def _arrow_step(
    sums: _Sums, usable: BoolArray, free: tuple[bool, bool], radius: float
) -> tuple[Float64Array, Float64Array]:
    """Step of the projections' shifts ``[projection, 2]`` and of the scan's parameters, of limited length."""
    free_shared = np.concatenate([np.array(free), np.ones(sums.gradient.shape[1] - _LOCAL - _SHARED, dtype=bool)])
    shared, inverse = _schur(sums, usable, free_shared)
    border = sums.normal[:, :_LOCAL, _LOCAL:]
    limit = np.full(shared.size, np.inf)
    limit[:_SHARED] = _LARGEST_STEP / radius
    shared = np.clip(shared, -limit, limit)
    local = np.einsum("pij,pj->pi", inverse, sums.gradient[:, :_LOCAL] - border @ shared)
    return np.clip(local, -_LARGEST_STEP, _LARGEST_STEP), shared


def _schur(sums: _Sums, usable: BoolArray, free: BoolArray) -> tuple[Float64Array, Float64Array]:
    """Step of the scan's parameters (zero where held), and the inverted blocks of the projections."""
    reduced, right, inverse = _reduced(sums, usable)
    shared = np.zeros(free.size)
    kept = np.ix_(free, free)
    shared[free] = np.linalg.pinv(reduced[kept], hermitian=True, rcond=1e-12) @ right[free]
    return shared, inverse


def _reduced(sums: _Sums, usable: BoolArray) -> tuple[Float64Array, Float64Array, Float64Array]:
    block = sums.normal[:, :_LOCAL, :_LOCAL] + 1e-12 * np.eye(_LOCAL)
    inverse = np.linalg.inv(block) * usable[:, None, None]
    border = sums.normal[:, :_LOCAL, _LOCAL:]
    gain = np.einsum("pij,pjk->pik", inverse, border)
    corner = sums.normal[usable, _LOCAL:, _LOCAL:].sum(axis=0)
    right = sums.gradient[usable, _LOCAL:].sum(axis=0)
    reduced = corner - np.einsum("pij,pik->jk", border, gain)
    right = right - np.einsum("pij,pi->j", gain, sums.gradient[:, :_LOCAL])
    return np.asarray(reduced), np.asarray(right), np.asarray(inverse)


def _stepped(motion: Motion, local: Float64Array, shared: Float64Array) -> Motion:
    return replace(
        motion,
        column_shift=motion.column_shift + local[:, 0],
        row_shift=motion.row_shift + local[:, 1],
        magnification=motion.magnification * float(np.exp(shared[0])),
        angle_offset=motion.angle_offset + float(shared[1]),
        weight=motion.weight + shared[_SHARED:],
    )


def _judged(sums: _Sums, motion: Motion, free: tuple[bool, bool], course: Course) -> Registration:
    """Variances from the misfit; projections that fit much worse than the others are marked as not usable."""
    usable = motion.usable & (sums.count > 0)
    mean_square = np.where(usable, sums.square / np.maximum(sums.count, 1.0), np.nan)
    typical = float(np.nanmedian(mean_square)) if usable.any() else np.nan
    usable &= np.nan_to_num(mean_square, nan=np.inf) < _LARGEST_MISFIT**2 * typical
    # white noise of unit variance has this variance after the band-pass
    passed = float(np.sum(np.subtract(*_padded_pair(course.wide)) ** 2))
    variance = typical / passed
    free_shared = np.concatenate([np.array(free), np.ones(motion.weight.size, dtype=bool)])
    reduced, _, inverse = _reduced(sums, usable)
    covariance = np.zeros_like(reduced)
    kept = np.ix_(free_shared, free_shared)
    covariance[kept] = np.linalg.pinv(reduced[kept], hermitian=True, rcond=1e-12)
    return Registration(
        motion=replace(motion, usable=usable),
        column_variance=np.where(usable, inverse[:, 0, 0] * variance * course.passed[0], np.nan),
        row_variance=np.where(usable, inverse[:, 1, 1] * variance * course.passed[1], np.nan),
        shared_covariance=covariance[:_SHARED, :_SHARED] * variance * course.passed[2],
        weight_variance=float(covariance[_SHARED, _SHARED]) * variance,
        noise=float(np.sqrt(variance)),
        misfit=np.sqrt(mean_square / typical),
        steps=course.steps,
        converged=course.converged,
    )


def _noise_passed(model: Model, motion: Motion) -> tuple[float, float, float]:
    """Variance of column shift, row shift and magnification over what white noise after the band-pass would give.

    The band-pass H correlates the noise: with derivatives g and pixel weights q the variance of a least-squares
    parameter is ``sum((H q g)**2 / q) / sum(q g**2)**2``. The ratio hardly differs between projections: some tell it.
    """
    some = np.flatnonzero(motion.usable)[:: max(1, int(motion.usable.sum()) // _TELLING)]
    if not some.size:
        return (1.0, 1.0, 1.0)
    node = np.array([1.0, 4.0, 1.0]) / 6.0  # the cubic spline at its nodes
    filtered = np.einsum("k,kprc->prc", motion.weight, model.coefficient[:-1, some])
    for axis in (1, 2):
        filtered = convolve1d(filtered, node, axis=axis, mode="mirror")
    everywhere = np.ones(some.size, dtype=bool)
    q = np.maximum(np.exp(-np.maximum(model.plain[some], 0.0)), _LEAST_TRANSMISSION)
    up, along = np.gradient(filtered, axis=(1, 2))
    row, column = (np.arange(size) - middle for size, middle in zip(filtered.shape[1:], model.middle, strict=True))
    slopes = (along, up, along * column + up * row[:, None])
    ratio = [np.sum(band_passed(q * g, everywhere, model.wide) ** 2 / q) / max(np.sum(q * g**2), 1e-30) for g in slopes]
    return (float(ratio[0]), float(ratio[1]), float(ratio[2]))


def _padded_pair(wide: float) -> tuple[Float64Array, Float64Array]:
    """Both filters of the band-pass in two dimensions, on the same support."""
    outer = gaussian_taps(wide).astype(np.float64)
    narrow = gaussian_taps(_NARROW).astype(np.float64)
    narrow = np.pad(narrow, (outer.size - narrow.size) // 2)
    return np.outer(narrow, narrow), np.outer(outer, outer)
