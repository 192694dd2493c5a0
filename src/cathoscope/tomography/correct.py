"""From detector counts to optical depth: dark, flat, drift of the beam, bad pixels, zingers and stripes."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, median_filter

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.spread import MAD_TO_STD, SECOND_DIFFERENCE, robust_std_about_median
from cathoscope.tomography.pixel_kernels import (
    deviation_from_neighbours,
    fill_from_neighbours,
    fill_stack,
    remove_zingers,
)

FloatArray = NDArray[np.floating]
Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_BAD_PIXEL_SIGMA = 8.0
_DEAD_FRACTION = 0.2
_OPEN_COLUMN_SIGMA = 5.0
_UNEVEN_FLATS = 0.02
_FEWEST_OPEN_COLUMNS = 4
_STRIPE_REACH = 4  # columns on either side
_STRIPE_SIGMA = 5.0
_ALONE_WITHIN, _ALONE_RATIO = 6, 2.0  # a stripe stands out from the columns this far to either side
_MIRROR_RATIO, _MOTION = 0.3, 2.0  # see _rim_that_stands_still

StripeMethod = Literal["none", "gain", "sorting", "all"]


def transmission_from_counts(
    *,
    counts: FloatArray,
    flat: FloatArray,
    dark: FloatArray,
) -> Float32Array:
    r"""Transmission, ``[projection, row, column]`` float32.

    .. math:: T = \frac{N - \bar D}{\bar F - \bar D}

    Parameters
    ----------
    counts, flat, dark
        Detector counts ``[projection | flat | dark, row, column]``.

    Raises
    ------
    MeasurementError
        If shapes differ or the flats are nowhere above the darks. Single pixels without beam become nan.
    """
    _check_frames(counts, flat, dark)
    dark_level = np.asarray(dark, dtype=np.float64).mean(axis=0)
    open_beam = np.asarray(flat, dtype=np.float64).mean(axis=0) - dark_level
    if not (open_beam > 0).any():
        raise MeasurementError(
            "the flats hold no beam",
            expected="flat counts above the dark counts",
            found=f"largest flat minus dark {np.nanmax(open_beam):g} counts",
            cure="name other flats, or set this scan aside",
        )
    factor = np.full(open_beam.shape, np.nan, dtype=np.float32)
    np.divide(1.0, open_beam, out=factor, where=open_beam > 0, casting="same_kind")
    transmission = counts.astype(np.float32)
    transmission -= dark_level.astype(np.float32)
    transmission *= factor
    return transmission


def open_columns_from_transmission(*, transmission: FloatArray) -> BoolArray | None:
    """Columns at the left and right rim that no projection shows the sample in, ``[column]``, or None.

    The open beam of a projection is the brighter of its two rims. A column is open when it is darker than that by
    no more than noise and uneven flats explain (5 standard deviations, at least 2 %) in 99 % of the projections. At
    least 4 open columns must touch a rim. None means that the sample fills the view; a sample that does so with
    equal thickness at both rims at every angle cannot be told from open beam.

    Parameters
    ----------
    transmission
        ``[projection, row, column]``; a common factor per projection does not matter.
    """
    profile = _median(np.asarray(transmission, dtype=np.float64), 1)
    n_columns, rim = profile.shape[1], _FEWEST_OPEN_COLUMNS
    left_level = _median(profile[:, :rim], 1)
    level = np.maximum(left_level, _median(profile[:, -rim:], 1))[:, None]
    # second differences, so that slopes of the sample do not count as noise
    noise = MAD_TO_STD * np.nanmedian(np.abs(np.diff(profile / level, n=2, axis=1))) / SECOND_DIFFERENCE
    tolerance = max(_OPEN_COLUMN_SIGMA * float(noise), _UNEVEN_FLATS)
    covered = np.mean(~(profile >= (1.0 - tolerance) * level), axis=0) > 0.01
    open_columns = np.zeros(n_columns, dtype=bool)
    if not covered.any():
        return ~open_columns
    left, right = int(np.argmax(covered)), int(np.argmax(covered[::-1]))
    # next to the sample lie columns that its thinner parts cross in some rows only: the outer half is safe
    left, right = (max(width // 2, rim) if width >= rim else 0 for width in (left, right))
    open_columns[:left] = True
    open_columns[n_columns - right :] = right > 0
    return open_columns if open_columns.any() else None


def beam_intensity_from_open_columns(*, transmission: FloatArray, open_columns: BoolArray) -> Float64Array:
    """Open-beam intensity of each projection relative to the flats, ``[projection]``.

    The median transmission over the open columns, so zingers and the rim of the sample do not count.

    Raises
    ------
    MeasurementError
        If no column is open, or a projection has no intensity above zero there.
    """
    open_columns = np.asarray(open_columns, dtype=bool)
    if open_columns.shape != transmission.shape[2:] or not open_columns.any():
        raise MeasurementError(
            "no open beam to take the intensity from",
            expected=f"a mask of {transmission.shape[2]} columns with at least one open",
            found=f"mask of shape {open_columns.shape} with {int(open_columns.sum())} open",
        )
    intensity = _median(np.asarray(transmission[:, :, open_columns], dtype=np.float64), (1, 2))
    if not (intensity > 0).all():
        lost = np.flatnonzero(~(intensity > 0))
        raise MeasurementError(
            "projections without beam",
            found=f"{lost.size} of {intensity.size}, the first is projection {lost[0]}",
            cure="set these projections aside",
        )
    return intensity


def bad_pixels_from_flats(*, flat: FloatArray, dark: FloatArray) -> BoolArray:
    """Dead, hot and unstable pixels, ``[row, column]``.

    Dead: flat minus dark below a fifth of its local median or not finite. Hot: dark above its local median by
    more than 8 robust standard deviations of all pixels. Unstable: variance over at least 5 flats more than 8
    standard deviations of a variance estimate above what pixels of that brightness have; the expected variance
    is the frames' own median ratio of variance to signal, which is the gain for counting noise.
    """
    flat = np.asarray(flat, dtype=np.float64)
    dark_level = np.asarray(dark, dtype=np.float64).mean(axis=0)
    open_beam = flat.mean(axis=0) - dark_level
    finite = np.isfinite(open_beam)
    bad = ~finite | (open_beam < _DEAD_FRACTION * _local_median(open_beam)) | (open_beam <= 0)
    excess = dark_level - _local_median(dark_level)
    spread = MAD_TO_STD * np.nanmedian(np.abs(excess))
    # integer counts can make the spread of the darks exactly zero
    floor = max(float(spread), 1e-3 * float(np.nanmedian(open_beam)) / _BAD_PIXEL_SIGMA, 1e-12)
    bad |= excess > _BAD_PIXEL_SIGMA * floor
    n_flats = flat.shape[0]
    if n_flats >= 5:
        # the brightness of whole frames may drift between flats; that is not the pixel's doing
        frame = np.nanmedian(flat, axis=(1, 2), keepdims=True)
        variance = np.var(flat * (np.nanmean(frame) / frame), axis=0, ddof=1)
        ratio = variance / np.where(open_beam > 0, open_beam, np.nan)
        # the median of a chi-square variable with m degrees of freedom is about m (1 - 2 / (9 m))**3
        degrees = n_flats - 1
        gain = np.nanmedian(ratio) / (1.0 - 2.0 / (9.0 * degrees)) ** 3
        bad |= ratio > gain * (1.0 + _BAD_PIXEL_SIGMA * np.sqrt(2.0 / degrees))
    return np.asarray(bad, dtype=bool)


def _median(values: Float64Array, axis: int | tuple[int, ...]) -> Float64Array:
    """Median without NaN; where there is none to leave out, the library's plain one takes a tenth of the time."""
    plain = bool(np.isfinite(values).all())
    return np.asarray(np.median(values, axis=axis) if plain else np.nanmedian(values, axis=axis))


def fill_bad_pixels(image_stack: FloatArray, mask: BoolArray) -> Float32Array:
    """Replace pixels of ``mask`` ``[row, column]`` and non-finite ones in ``[image, row, column]``.

    The value is the median of the good pixels among the 8 neighbours of the same image, or the nearest good
    pixel where there is none. The input is not changed.

    Raises
    ------
    MeasurementError
        If shapes differ or an image has no good pixel.
    """
    if image_stack.ndim != 3 or image_stack.shape[1:] != mask.shape:
        raise MeasurementError(
            "the mask does not fit the images", expected=f"mask of shape {image_stack.shape[1:]}", found=f"{mask.shape}"
        )
    filled = image_stack.astype(np.float32)
    lost = np.zeros(len(filled), dtype=np.int8)
    fill_stack(filled, mask, lost)
    if (lost == 2).any():
        raise MeasurementError("an image has no good pixel", cure="set this projection aside")
    for index in np.flatnonzero(lost == 1):
        _fill_islands(filled[index], mask | ~np.isfinite(filled[index]))
    return filled


def zingers_removed(*, counts: FloatArray, threshold_sigma: float = 8.0, gain: float = 1.0) -> tuple[Float32Array, int]:
    """Counts without single bright pixels, and how many were replaced.

    A pixel more than ``threshold_sigma`` above the median of its 3 x 3 neighbourhood in the same frame is
    replaced by that median. The standard deviation is the larger of counting noise, ``sqrt(gain * median)``, and the
    frame's own robust scatter about the local median, so structure of the sample is not taken for zingers.

    Parameters
    ----------
    counts
        ``[frame, row, column]``.
    threshold_sigma
        In standard deviations.
    gain
        Counts per detected photon.
    """
    cleaned = counts.astype(np.float32)
    # a bright pixel is one whose neighbours are not bright: edges rise over several pixels
    n_replaced = int(remove_zingers(cleaned, threshold_sigma, gain))
    return cleaned, n_replaced


def optical_depth_from_transmission(
    *, transmission: FloatArray, open_counts: float | FloatArray, gain: float = 1.0
) -> tuple[Float32Array, int]:
    r"""Optical depth :math:`-\ln T`, float32, and how many pixels were below the floor.

    The floor is the transmission of one detected photon, ``gain / open_counts``; smaller, negative and zero
    transmissions are set to it and counted. Values that are not finite stay nan and are not counted.

    Parameters
    ----------
    transmission
        Any shape.
    open_counts
        Open-beam counts above dark, one number or broadcastable to ``transmission``.
    gain
        Counts per detected photon.
    """
    floor = gain / np.asarray(open_counts, dtype=np.float64)
    transmission = np.asarray(transmission)
    n_clipped = int(np.sum(transmission < floor))
    limited = np.maximum(transmission, floor.astype(np.float32))
    depth = -np.log(limited, dtype=np.float32, casting="same_kind")
    return np.asarray(np.where(np.isfinite(transmission), depth, np.nan), dtype=np.float32), n_clipped


def stripes_removed(sinogram: FloatArray, method: StripeMethod, *, snr: float = 3.0, width: int = 31) -> Float32Array:
    """Optical depth ``[row, projection, column]`` without the stripes that become rings.

    ``"gain"`` takes a stripe for what a wrong pixel gain makes of it, a constant in optical depth (see
    `stripe_offsets_from_sinogram`), and leaves columns without one as they are.
    ``"sorting"`` and ``"all"`` are algorithm 3 and algorithms 6, 5, 4 and 3 of Vo, Atwood and Drakopoulos
    (Opt. Express 26, 28396, 2018), as in algotom, for stripes that vary along the scan. They act on every column and
    flatten an object that is not much wider than ``width``. All but ``"none"`` use medians and are not linear:
    a combination of corrected sinograms is not the corrected combination.

    Parameters
    ----------
    snr
        Ratio above which a column counts as a stripe; ``"all"`` only.
    width
        Columns of the median window of ``"sorting"`` and ``"all"``; wider than the widest stripe.

    Raises
    ------
    MeasurementError
        If the method is unknown.
    """
    if method not in get_args(StripeMethod):
        expected = " or ".join(get_args(StripeMethod))
        raise MeasurementError("unknown stripe removal", expected=expected, found=repr(method))
    cleaned = np.array(sinogram, dtype=np.float32)
    if method == "none":
        return cleaned
    if method == "gain":
        for k, row in enumerate(cleaned):
            cleaned[k] -= stripe_offsets_from_sinogram(sinogram=row)
        return cleaned
    from algotom.prep import removal  # takes a second to load, and few recipes ask for it

    for k, row in enumerate(cleaned):
        if method == "sorting":
            cleaned[k] = removal.remove_stripe_based_sorting(row, size=width, dim=1)
        else:
            cleaned[k] = removal.remove_all_stripe(row, snr=snr, la_size=2 * width + 1, sm_size=width, dim=1)
    return cleaned


def stripe_offsets_from_sinogram(*, sinogram: FloatArray) -> Float32Array:
    r"""Constant that a wrong gain adds to the optical depth of each column, ``[column]``; zero where none is found.

    A sample moves over the columns as it turns, so its deviation from the neighbouring columns has hardly a
    constant part. Columns whose median deviation from the median of their 8 neighbours is above 5 times the
    robust scatter of all such medians are suspects. What of the sample does stand still, the rim of a body of
    revolution about the axis (a centred sphere, a capillary), deviates over several columns and alike on both
    sides of the axis: a suspect is acquitted unless it deviates twice as much as the fourth among its 12
    neighbours, and if its mirror column deviates to the same side by 0.3 of it where something stands still.
    The offset of the others is the median over projections of the deviation from the cubic through the two
    nearest unsuspected columns on either side, in the half of the projections in which those are smoothest. An
    offset counts above 3 times its standard uncertainty.

    Parameters
    ----------
    sinogram
        Optical depth of one row, ``[projection, column]``.
    """
    sinogram = np.ascontiguousarray(sinogram, dtype=np.float32)
    deviation = np.empty_like(sinogram)
    deviation_from_neighbours(sinogram, _STRIPE_REACH, deviation)
    middle = np.median(deviation, axis=0)
    scatter = robust_std_about_median(middle)
    # a median of n values has sqrt(pi / 2 n) times their standard deviation
    own = 1.2533 * MAD_TO_STD * np.median(np.abs(deviation - middle), axis=0) / np.sqrt(len(sinogram))
    suspect = np.abs(middle) > np.maximum(_STRIPE_SIGMA * scatter, 3.0 * own)
    trusted = np.flatnonzero(~suspect)
    offset = np.zeros(sinogram.shape[1], dtype=np.float32)
    for column in np.flatnonzero(suspect & ~_rim_that_stands_still(sinogram, middle)).tolist():
        offset[column] = _offset_of_column(sinogram, column, trusted)
    return offset


def _rim_that_stands_still(sinogram: FloatArray, deviation: FloatArray) -> BoolArray:
    """Columns whose constant deviation a centred body explains: broad, or the same on both sides of the axis."""
    n_columns = deviation.size
    size = np.abs(deviation)
    padded = np.pad(size, _ALONE_WITHIN)
    around = np.delete(sliding_window_view(padded, 2 * _ALONE_WITHIN + 1), _ALONE_WITHIN, axis=1)
    broad = size < _ALONE_RATIO * np.sort(around, axis=1)[:, -4]
    # slopes on both sides of a centred body are opposite: their flip correlation peaks at twice its centre
    slope = np.diff(sinogram.mean(axis=0, dtype=np.float64))
    mirror = int(np.argmax(-np.convolve(slope, slope))) + 1 - np.arange(n_columns)
    near = mirror[:, None] + np.array([-1, 0, 1])
    other = np.where((near >= 0) & (near < n_columns), deviation[np.clip(near, 0, n_columns - 1)], 0.0)
    alike = (other * np.sign(deviation)[:, None] > _MIRROR_RATIO * size[:, None]).any(axis=1)
    alike &= np.abs(mirror - np.arange(n_columns)) > 2  # a column next to the axis is its own mirror
    return np.asarray(broad | (alike & _beside_what_stands_still(sinogram, size)), dtype=bool)


def _beside_what_stands_still(sinogram: FloatArray, deviation: FloatArray) -> BoolArray:
    """Columns whose neighbours differ by more than ``deviation`` and more than the sample moves them."""
    level = np.median(sinogram, axis=0)
    motion = sinogram.std(axis=0)
    padded = np.pad(np.stack([level, motion]), ((0, 0), (_STRIPE_REACH, _STRIPE_REACH)), mode="edge")
    around = np.delete(sliding_window_view(padded, 2 * _STRIPE_REACH + 1, axis=1), _STRIPE_REACH, axis=2)
    contrast = around[0].max(axis=1) - around[0].min(axis=1)
    return np.asarray(contrast > np.maximum(deviation, _MOTION * np.median(around[1], axis=1)), dtype=bool)


def _offset_of_column(sinogram: FloatArray, column: int, trusted: NDArray[np.intp]) -> float:
    right = int(np.searchsorted(trusted, column))
    if right < 2 or right > trusted.size - 2:
        return 0.0
    nodes = trusted[right - 2 : right + 2]
    others = sinogram[:, nodes].astype(np.float64)
    lagrange = [np.prod([(column - b) / (a - b) for b in nodes if b != a]) for a in nodes]
    deviation = sinogram[:, column] - others @ np.array(lagrange)
    roughness = np.abs(np.diff(others, axis=1)[:, [0, 2]] / np.diff(nodes)[[0, 2]]).sum(axis=1)
    smooth = deviation[roughness <= np.median(roughness)]
    offset = float(np.median(smooth))
    uncertainty = 1.2533 * MAD_TO_STD * float(np.median(np.abs(smooth - offset))) / np.sqrt(smooth.size)
    return offset if abs(offset) > 3.0 * uncertainty else 0.0


def _check_frames(counts: FloatArray, flat: FloatArray, dark: FloatArray) -> None:
    frames = {"counts": counts, "flat": flat, "dark": dark}
    for name, frame in frames.items():
        if frame.ndim != 3 or frame.shape[0] == 0 or frame.shape[1:] != counts.shape[1:]:
            raise MeasurementError(
                f"the {name} frames do not fit the projections",
                expected=f"[frame, row, column] with at least one frame of {counts.shape[1:]} pixels",
                found=f"shape {frame.shape}",
            )


def _local_median(image: Float64Array) -> Float64Array:
    finite = np.where(np.isfinite(image), image, np.nanmedian(image))
    return np.asarray(median_filter(finite, size=5, mode="mirror"), dtype=np.float64)


def _fill_islands(image: Float32Array, bad: BoolArray) -> None:
    """Fill bad pixels from their neighbours, and those without a good one from the nearest good pixel."""
    alone = np.zeros(bad.shape, dtype=bool)
    fill_from_neighbours(image, bad, alone)
    nearest = distance_transform_edt(bad, return_distances=False, return_indices=True)
    image[alone] = image[nearest[0][alone], nearest[1][alone]]
