"""What an image of a section must be before anything is measured on it: one plane, grey, with bright oxide."""

from __future__ import annotations

from math import isfinite
from typing import Any, NamedTuple

import edt  # type: ignore[import-not-found, import-untyped, unused-ignore]
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.spread import MAD_TO_STD, SECOND_DIFFERENCE, robust_std
from cathoscope.volume.checks import LARGEST_EDGE, SMALLEST_EDGE

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
LabelArray = NDArray[np.int32]

_FEWEST = 16  # rows and columns
_SATURATED = 0.02  # share of an image at its highest value that is no chance
_SEPARATION = 1.5  # distance of the two levels over their widths, below which there are no two levels
_LONGEST_FIT = 250_000  # pixels from which levels are found


class Levels(NamedTuple):
    """Grey levels of what is dark and of the oxide, their spread in single pixels, and the threshold between them."""

    dark: float
    solid: float
    noise: float
    threshold: float


def checked_image(image: NDArray[Any]) -> Float32Array:
    """An image [row, column] as 32-bit numbers.

    Raises
    ------
    MeasurementError
        If it is no plane, too small, not finite, blank, or saturated.
    """
    found = np.asarray(image)
    if found.ndim != 2 or min(found.shape, default=0) < _FEWEST:
        raise MeasurementError(
            "this is no image of a section",
            expected=f"two axes row, column of {_FEWEST} pixels or more",
            found=f"shape {found.shape}",
            cure="give one grey image; a colour image is turned into grey by image.mean(axis=-1)",
        )
    values = np.ascontiguousarray(found, dtype=np.float32)
    if not np.isfinite(values).all():
        raise MeasurementError(
            "the image has values that are no numbers",
            expected="finite grey values",
            found=f"{int((~np.isfinite(values)).sum())} of {values.size} are not",
            cure="fill or crop these pixels",
        )
    lowest, highest = float(values.min()), float(values.max())
    if lowest == highest:
        raise MeasurementError("the image is blank", expected="grey values that differ", found=f"{lowest:g} everywhere")
    saturated = float((values == highest).mean())
    if saturated > _SATURATED and np.unique(values).size > 2:
        raise MeasurementError(
            "the image is saturated",
            expected=f"less than {_SATURATED:.0%} of the pixels at the highest grey value",
            found=f"{saturated:.1%} at {highest:g}",
            cure="record with less gain; what is cut off at the top cannot be measured",
        )
    return values


def checked_pixel(pixel: float) -> float:
    """Edge of a pixel, um.

    Raises
    ------
    MeasurementError
        If it is not between 0.1 nm and 0.1 mm.
    """
    value = float(pixel)
    if not (isfinite(value) and SMALLEST_EDGE <= value <= LARGEST_EDGE):
        raise MeasurementError(
            "the size of the pixels cannot be",
            expected=f"{SMALLEST_EDGE:g} to {LARGEST_EDGE:g} um",
            found=f"{value:g} um",
            cure='such as  pixel_size = "15 nm"',
        )
    return value


def grey_levels(image: Float32Array, *, blur: float = 1.5) -> Levels:
    """Levels of dark and bright parts of a smoothed image: medians on either side of Otsu's threshold.

    ``blur`` (px) is the standard deviation of the smoothing that tells the sides apart; ``noise`` is that of single
    pixels, from differences of neighbours.

    Raises
    ------
    MeasurementError
        If there is no contrast, or what is in the image is darker than what is around it.
    """
    smooth = ndimage.gaussian_filter(image, blur)
    step = max(int(np.sqrt(image.size / _LONGEST_FIT)), 1)
    values = smooth[::step, ::step]
    split = float(threshold_otsu(values))  # type: ignore[no-untyped-call]
    dark, solid = values[values <= split], values[values > split]
    low, high = (float(np.median(part)) if part.size else split for part in (dark, solid))
    widths = [robust_std(p - m) for p, m in ((dark, low), (solid, high)) if p.size]
    noise = difference_noise(image)
    if high - low < _SEPARATION * max(sum(widths), 1e-12) or high - low < 0.5 * noise / (2 * blur):
        raise MeasurementError(
            "oxide and surroundings cannot be told apart",
            expected="two grey levels that are further apart than they are wide",
            found=f"{low:.4g} and {high:.4g}, of widths {' and '.join(f'{one:.3g}' for one in widths)}",
            cure="check that the image shows particles, and that its contrast has not been stretched",
        )
    return Levels(low, high, noise, 0.5 * (low + high))


def difference_noise(image: Float32Array) -> float:
    """Standard deviation of the noise of single pixels, from second differences along both axes (median, so that
    edges count little)."""
    across = image[:, 2:] - 2 * image[:, 1:-1] + image[:, :-2]
    down = image[2:] - 2 * image[1:-1] + image[:-2]
    return float(np.mean([MAD_TO_STD * np.median(np.abs(part)) for part in (across, down)]) / SECOND_DIFFERENCE)


def closed_mask(mask: BoolArray, radius: float) -> BoolArray:
    """A mask [row, column] closed with a disk of ``radius`` px; the border of the image is no edge."""
    room = int(np.ceil(radius)) + 2
    near = np.asarray(edt.edt(np.pad(~mask, room, constant_values=True), black_border=False, parallel=1) <= radius)
    inside = np.asarray(edt.edt(near, black_border=False, parallel=1) > radius)
    return np.asarray(inside[room:-room, room:-room] | mask, dtype=np.bool_)


def require_bright(image: Float32Array, levels: Levels) -> None:
    """Refuse a picture of one dark thing in bright surroundings.

    Raises
    ------
    MeasurementError
        If the border of the image is brighter than its middle.
    """
    rows, columns = image.shape
    bright = image > levels.threshold
    middle = bright[rows // 4 : rows - rows // 4, columns // 4 : columns - columns // 4]
    border = np.concatenate([bright[0], bright[-1], bright[:, 0], bright[:, -1]])
    if border.mean() > 0.7 and middle.mean() < border.mean() - 0.2:
        raise MeasurementError(
            "the contrast is inverted: the border of the image is brighter than its middle",
            expected="oxide brighter than what is around it",
            found=f"{border.mean():.0%} of the border bright, {middle.mean():.0%} of the middle",
            cure="invert the grey values: image.max() - image",
        )
