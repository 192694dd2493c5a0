"""Frames of a full-field microscope: optical depth with its noise, alignment between energies, particles."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from skimage.measure import label as connected_regions
from skimage.measure import regionprops_table
from skimage.registration import phase_cross_correlation

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.spread import robust_std, robust_std_about_median, robust_std_along

Floats = NDArray[np.float64]
Labels = NDArray[np.int32]

# Registration looks at structure between these widths (px): below is noise and the detector's pattern, above the beam.
_FINEST, _COARSEST = 5.0, 40.0
_UPSAMPLING = 20
_FEWEST_COUNTS = 1.0
_TRIMMED = 0.01  # of the pixels, at either end
_SMALLEST_IMAGE = 32
_FEWEST_EMPTY, _ENOUGH_EMPTY, _HUBER_ITERATIONS = 100, 40_000, 12
_FREE_SHARE, _FEWEST_SQUARES = 0.8, 9  # squares of the empty field whose means tell how flat it is


def variance_per_count(*, frames: ArrayLike) -> float:
    """Variance of a count over its mean, from the differences of repeated frames (photon transfer).

    1 for single photons; a camera's gain otherwise. A change of the beam between two frames is removed first, and the
    median makes single outliers harmless.

    Parameters
    ----------
    frames
        Counts, [frame, row, column], at least two frames of the same field.

    Raises
    ------
    MeasurementError
        If there are fewer than two frames, or counts are not finite.
    """
    counts = np.asarray(frames, dtype=np.float64)
    if counts.ndim != 3 or len(counts) < 2 or counts.size == 0:
        raise MeasurementError(
            "noise needs repeated frames", expected="[2 or more, row, column]", found=f"shape {counts.shape}"
        )
    if not np.isfinite(counts).all():
        raise MeasurementError("a frame holds NaN or infinity", expected="counts")
    # outliers must not count for the level: in an uneven beam a wrong level is a difference of its own
    level = np.maximum(_trimmed_mean(counts.reshape(len(counts), -1)), _FEWEST_COUNTS)
    scaled = counts * (level.mean() / level)[:, None, None]
    found = []
    for first, second in pairwise(scaled):
        difference = (second - first) / np.sqrt(np.maximum(first + second, _FEWEST_COUNTS))
        found.append(robust_std_about_median(difference))
    return float(np.mean(np.square(found)))


def _trimmed_mean(values: Floats) -> Floats:
    """Mean of every row without its lowest and its highest values, a share ``_TRIMMED`` of them each, [row]."""
    n_values = values.shape[1]
    cut = int(_TRIMMED * n_values)
    ordered = np.partition(values, (cut, n_values - cut - 1), axis=1)
    return np.asarray(ordered[:, cut : n_values - cut].mean(axis=1))


def optical_depth_from_frames(
    *,
    sample: ArrayLike,
    reference: ArrayLike,
    exposure_ratio: float = 1.0,
    gains: tuple[float, float] = (1.0, 1.0),
) -> tuple[Floats, Floats]:
    """Optical depth ``-ln(<sample> / <reference> / exposure_ratio)`` and its standard deviation.

    ``std^2 = g_s / sum(sample) + g_r / sum(reference)``, g the variance per count (`variance_per_count`).

    Parameters
    ----------
    sample, reference
        Counts with and without the sample, [frame, row, column].
    exposure_ratio
        Exposure time of a sample frame over that of a reference frame.
    gains
        Variance per count of sample and reference.

    Returns
    -------
    tuple
        [row, column] each; NaN where a mean count is not positive.

    Raises
    ------
    MeasurementError
        If shapes differ, there is no frame, or the exposure ratio or a gain is not positive.
    """
    shadow, beam = (np.asarray(frames, dtype=np.float64) for frames in (sample, reference))
    if shadow.ndim != 3 or beam.ndim != 3 or shadow.shape[1:] != beam.shape[1:] or 0 in (*shadow.shape, *beam.shape):
        raise MeasurementError(
            "frames with and without the sample do not match",
            expected="one frame or more of each, [frame, row, column]",
            found=f"shapes {shadow.shape} and {beam.shape}",
        )
    if not all(np.isfinite(value) and value > 0 for value in (exposure_ratio, *gains)):
        raise MeasurementError(
            "the ratio of exposures and the variances per count are positive",
            found=f"{exposure_ratio:g} and {gains[0]:g}, {gains[1]:g}",
        )
    means = shadow.mean(axis=0), beam.mean(axis=0)
    valid = (means[0] > 0) & (means[1] > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = np.where(valid, -np.log(means[0] / means[1] / exposure_ratio), np.nan)
        variance = gains[0] / (means[0] * len(shadow)) + gains[1] / (means[1] * len(beam))
        std = np.where(valid, np.sqrt(variance), np.nan)
    return depth, std


@dataclass(frozen=True)
class ImageShift:
    """Shift (row, column) in px that lays one image on another, and its uncertainty from the four quarters."""

    shift: tuple[float, float]
    std: tuple[float, float]


def image_shift(*, fixed: ArrayLike, moving: ArrayLike) -> ImageShift:
    """Shift to apply to ``moving`` so that it lies on ``fixed``, by cross-correlation of band-passed images.

    The four quarters of the image are registered too; half their spread is the standard uncertainty of the whole, which
    also shows what a shift cannot mend (rotation, scale).

    Parameters
    ----------
    fixed, moving
        Images [row, column] of one shape; NaN counts as the median.

    Raises
    ------
    MeasurementError
        If shapes differ, an image is smaller than 32 by 32 px, or an image has nothing to register.
    """
    given = [np.asarray(image, dtype=np.float64) for image in (fixed, moving)]
    if given[0].ndim != 2 or given[0].shape != given[1].shape or min(given[0].shape) < _SMALLEST_IMAGE:
        raise MeasurementError(
            "the images cannot be registered",
            expected=f"two images of one shape, {_SMALLEST_IMAGE} px or more wide and high",
            found=f"shapes {given[0].shape} and {given[1].shape}",
        )
    images = [_band_passed(image) for image in given]
    rows, columns = images[0].shape
    whole = _correlated(*images)
    quarters = [
        _correlated(*(image[top : top + rows // 2, left : left + columns // 2] for image in images))
        for top in (0, rows - rows // 2)
        for left in (0, columns - columns // 2)
    ]
    spread = robust_std_along(np.array(quarters) - np.median(quarters, axis=0), 0) / 2.0
    return ImageShift((float(whole[0]), float(whole[1])), (float(spread[0]), float(spread[1])))


def _band_passed(image: Floats) -> Floats:
    known = image[np.isfinite(image)]
    if known.size == 0 or np.ptp(known) == 0:
        raise MeasurementError("an image shows nothing to register", found="one value, or none, at all pixels")
    filled = np.where(np.isfinite(image), image, np.median(known))
    return np.asarray(ndimage.gaussian_filter(filled, _FINEST) - ndimage.gaussian_filter(filled, _COARSEST))


def _correlated(fixed: Floats, moving: Floats) -> Floats:
    """Shift (row, column) of ``moving`` onto ``fixed``, found once more where the two overlap.

    The window holds both images in place and thereby draws a shift towards zero; of the remainder this is little.
    """
    rough = np.rint(_correlated_once(fixed, moving)).astype(int)
    if np.any(2 * np.abs(rough) > fixed.shape):
        return rough.astype(np.float64)
    onto, of = (
        [slice(max(s, 0), n + min(s, 0)) for s, n in zip(sign * rough, fixed.shape, strict=True)] for sign in (1, -1)
    )
    return rough + _correlated_once(fixed[tuple(onto)], moving[tuple(of)])


def _correlated_once(fixed: Floats, moving: Floats) -> Floats:
    window = np.outer(np.hanning(fixed.shape[0]), np.hanning(fixed.shape[1]))
    found = cast(Any, phase_cross_correlation)(
        fixed * window, moving * window, upsample_factor=_UPSAMPLING, normalization=None
    )
    return np.asarray(found[0], dtype=np.float64)


def moved_image(*, image: ArrayLike, shift: tuple[float, float] = (0.0, 0.0), scale: float = 1.0) -> Floats:
    """``image`` enlarged by ``scale`` about its middle, then shifted by ``shift`` px; NaN where it has no values.

    Linear interpolation, one pass.

    Raises
    ------
    MeasurementError
        If the scale is not positive.
    """
    values = np.asarray(image, dtype=np.float64)
    if not scale > 0:
        raise MeasurementError("an image is scaled by a positive number", found=f"{scale:g}")
    if shift == (0.0, 0.0) and scale == 1.0:
        return values
    middle = (np.array(values.shape) - 1.0) / 2.0
    offset = middle - (middle + np.array(shift)) / scale
    return np.asarray(ndimage.affine_transform(values, np.full(2, 1.0 / scale), offset, order=1, cval=np.nan))


def jump_from_images(
    *, optical_depth: ArrayLike, std: ArrayLike, below: ArrayLike, above: ArrayLike
) -> tuple[Floats, Floats]:
    """Mean optical depth of the images above the edge minus that of those below, and its standard deviation.

    Parameters
    ----------
    optical_depth, std
        [energy, row, column].
    below, above
        Numbers of the images below and above the edge, one or more each.

    Raises
    ------
    MeasurementError
        If shapes differ, or there is no such image on either side.
    """
    depth, noise = np.asarray(optical_depth, dtype=np.float64), np.asarray(std, dtype=np.float64)
    groups = np.atleast_1d(below).astype(int), np.atleast_1d(above).astype(int)
    numbers = np.concatenate(groups)
    if depth.ndim != 3 or noise.shape != depth.shape:
        raise MeasurementError(
            "optical depth and its noise do not match",
            expected="[energy, row, column] each",
            found=f"shapes {depth.shape} and {noise.shape}",
        )
    if not all(group.size for group in groups) or numbers.min() < 0 or numbers.max() >= len(depth):
        raise MeasurementError(
            "an edge jump needs images below and above the edge",
            expected=f"numbers from 0 to {len(depth) - 1}, one or more on each side",
            found=f"{groups[0].tolist()} below and {groups[1].tolist()} above",
        )
    low, high = (depth[group].mean(axis=0) for group in groups)
    variance = sum((noise[group] ** 2).sum(axis=0) / group.size**2 for group in groups)
    return high - low, np.sqrt(np.asarray(variance))


def empty_field(*, jump: ArrayLike, mask: ArrayLike, degree: int = 2) -> Floats:
    """Jump that an empty field would show, [row, column]: a polynomial surface through what ``mask`` leaves.

    The beam that fell on the sample was not quite that of the reference. Huber's weights (2 standard deviations) keep
    out what of the particles the mask misses.

    Parameters
    ----------
    jump, mask
        [row, column]; NaN where there is no jump.
    degree
        In rows and columns together; 0 is a constant.

    Raises
    ------
    MeasurementError
        If fewer than 100 pixels are empty.
    """
    values = np.asarray(jump, dtype=np.float64)
    rows, columns = np.nonzero(np.isfinite(values) & ~np.asarray(mask, dtype=bool))
    if rows.size < _FEWEST_EMPTY:
        raise MeasurementError(
            "particles fill the image",
            expected=f"{_FEWEST_EMPTY} pixels or more without one",
            found=str(rows.size),
            cure='give a higher edge.threshold, or  imaging.background = "none"',
        )
    # every so many pixels is enough for six numbers
    step = max(rows.size // _ENOUGH_EMPTY, 1)
    rows, columns = rows[::step], columns[::step]
    powers = [(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)]

    def surface(y: Floats, x: Floats) -> list[Floats]:
        """Terms of the polynomial at some places."""
        return [y**i * x**j for i, j in powers]

    scale = [2.0 / max(n - 1, 1) for n in values.shape]
    design = np.stack(surface(rows * scale[0] - 1.0, columns * scale[1] - 1.0), axis=1)
    data, weight = values[rows, columns], np.ones(rows.size)
    for _ in range(_HUBER_ITERATIONS):
        root = np.sqrt(weight)
        coefficients = np.linalg.lstsq(design * root[:, None], data * root, rcond=None)[0]
        misfit = np.abs(data - design @ coefficients)
        limit = 2.0 * robust_std(misfit)
        weight = limit / np.maximum(misfit, limit) if limit > 0 else weight
    grid = np.meshgrid(*(np.arange(n) * s - 1.0 for n, s in zip(values.shape, scale, strict=True)), indexing="ij")
    return np.asarray(sum(c * term for c, term in zip(coefficients, surface(*grid), strict=True)))


@dataclass(frozen=True)
class Particles:
    """Separate particles of a mask, largest first.

    Attributes
    ----------
    labels
        Number of the particle at every pixel, from 1; 0 outside.
    area, diameter
        um², and diameter of the disk of that area, um, [particle].
    row, column
        Centre, px, [particle].
    jump, jump_std
        Mean jump of optical depth and its standard uncertainty, from counting and from how much the mean over such
        an area varies in the empty field beyond its noise, [particle].
    at_border
        Whether the particle touches the border of the image, so that its size is a lower limit, [particle].
    """

    labels: Labels
    area: Floats
    diameter: Floats
    row: Floats
    column: Floats
    jump: Floats
    jump_std: Floats
    at_border: NDArray[np.bool_]


def particles_from_mask(
    *, mask: ArrayLike, jump: ArrayLike, jump_std: ArrayLike, pixel_size: float, smallest_diameter: float
) -> Particles:
    """Connected regions of ``mask`` (corners connect) of at least ``smallest_diameter`` (um).

    Particles that overlap in projection are one region. A region next to pixels without a jump is at the border.

    Parameters
    ----------
    mask, jump, jump_std
        [row, column].
    pixel_size
        um.

    Raises
    ------
    MeasurementError
        If shapes differ or the pixel size is not positive.
    """
    inside, values = np.asarray(mask, dtype=bool), np.asarray(jump, dtype=np.float64)
    variance = np.asarray(jump_std, dtype=np.float64) ** 2
    if inside.ndim != 2 or not values.shape == variance.shape == inside.shape:
        raise MeasurementError(
            "mask, edge jump and its noise do not match",
            expected="[row, column] each",
            found=f"shapes {inside.shape}, {values.shape} and {variance.shape}",
        )
    if not pixel_size > 0:
        raise MeasurementError("a pixel has a positive size", found=f"{pixel_size:g} um")
    labels, table = _labelled(inside, pixel_size, smallest_diameter)
    numbers = np.arange(1, table["area"].size + 1)
    known = np.where(np.isfinite(values), values, 0.0)
    empty = np.where((labels == 0) & ~inside, values, np.nan)
    counting = np.sqrt(np.asarray(ndimage.sum(variance, labels, numbers), dtype=np.float64).reshape(-1)) / table["area"]
    field = np.array([_scatter_of_means(empty, variance, size) for size in np.sqrt(table["area"])])
    outside = np.pad(~np.isfinite(values), 1, constant_values=True)
    beside = ndimage.binary_dilation(outside, np.ones((3, 3), dtype=bool))[1:-1, 1:-1]
    return Particles(
        labels=labels,
        area=table["area"] * pixel_size**2,
        diameter=np.sqrt(4.0 * table["area"] / np.pi) * pixel_size,
        row=table["centroid-0"],
        column=table["centroid-1"],
        jump=np.asarray(ndimage.mean(known, labels, numbers), dtype=np.float64).reshape(-1),
        jump_std=np.hypot(counting, field),
        at_border=np.isin(numbers, labels[beside]),
    )


def _labelled(
    inside: NDArray[np.bool_], pixel_size: float, smallest_diameter: float
) -> tuple[Labels, dict[str, Floats]]:
    """Regions numbered by falling area, and their area and centre in pixels, [particle]."""
    regions = np.asarray(cast(Any, connected_regions)(inside, connectivity=2), dtype=np.int32)
    table = cast(Any, regionprops_table)(regions, properties=("area", "centroid"))
    area = np.asarray(table["area"], dtype=np.float64)
    order = np.argsort(-area, kind="stable")
    order = order[np.sqrt(4.0 * area[order] / np.pi) * pixel_size >= smallest_diameter]
    renumbered = np.zeros(area.size + 1, dtype=np.int32)
    renumbered[order + 1] = np.arange(1, order.size + 1)
    return renumbered[regions], {name: np.asarray(column, dtype=np.float64)[order] for name, column in table.items()}


def _scatter_of_means(field: Floats, variance: Floats, size: float) -> float:
    """Standard deviation of the means over squares of ``size`` px of a field, beyond what their noise makes.

    The field is NaN where it is covered; ``variance`` is that of its noise. Robust against single squares. Where fewer
    than 9 squares are free, of the largest squares of which there are; 0 if there are none at all.
    """
    edge = max(round(size), 1)
    while edge >= 1:
        rows, columns = (n // edge for n in field.shape)
        squares, noise = (
            one[: rows * edge, : columns * edge].reshape(rows, edge, columns, edge) for one in (field, variance)
        )
        free = np.isfinite(squares)
        count = free.sum(axis=(1, 3))
        enough = count > _FREE_SHARE * edge**2
        if np.count_nonzero(enough) >= _FEWEST_SQUARES:
            means = np.where(free, squares, 0.0).sum(axis=(1, 3))[enough] / count[enough]
            of_noise = np.where(free, noise, 0.0).sum(axis=(1, 3))[enough] / count[enough] ** 2
            spread = robust_std_about_median(means)
            return float(np.sqrt(max(spread**2 - float(of_noise.mean()), 0.0)))
        edge //= 2
    return 0.0
