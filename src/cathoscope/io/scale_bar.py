"""The scale bar of a micrograph: its length in pixels, and the length that the text beside it states.

Microscopes write a caption below (or above) the image, on one uniform grey, with a bar and its length. The bar is the
longest uniform horizontal run of what is written there; it may be a ruler with ticks, or be broken by its text. The
text is read character by character: each is scaled to 12 x 8 dots and compared with drawn ones, and of all that reads
as a length the nearest to the bar counts. Where there is no caption, a bar drawn into the image at the lightest or
darkest grey is looked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import hypot, isfinite, sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cathoscope.core.errors import MeasurementError
from cathoscope.io.scale_bar_text import lines_of

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_UNIFORM = 0.55  # of a row's pixels at one grey, in a caption
_FLAT = 5.0  # grey levels of 255 that compression spreads the grey of a caption over
_EXTREME = 0.12  # of the scale, from black or white, where captions are
_ALIKE = 14  # grey levels of 255 that compression may add
_SHORTEST = 0.03  # of the width, of a bar
_DRAWN = 0.1  # share of an image at its lightest or darkest grey, from which that is not what is drawn
_SLIM = 3.0  # length over thickness of a bar, at least
_ALONE = 2.0  # area of a bar with its ticks over that of the bar
_ENDS = 2  # px by which rows of one bar may differ
_UNITS = {"nm": 1e-3, "um": 1.0, "µm": 1.0, "mm": 1e3}
_LENGTH = re.compile(r"(\d+(?:\.\d+)?) ?(nm|um|µm|mm)(?![a-zµ])")


@dataclass(frozen=True)
class ScaleBar:
    """A scale bar.

    Attributes
    ----------
    pixel, pixel_std
        um per pixel and its standard uncertainty: both ends of the bar lie on whole pixels, and ticks at its ends leave
        open where it begins.
    length
        What the bar stands for, um.
    length_px
        Its length, px.
    row, column
        Its first pixel.
    text
        What was read beside it, or given.
    found_by
        How it was found, in words.
    caption
        Row at which the caption begins, and at which it ends; None if the bar is drawn into the image.
    """

    pixel: float
    pixel_std: float
    length: float
    length_px: float
    row: int
    column: int
    text: str
    found_by: str
    caption: tuple[int, int] | None


class _Run(NamedTuple):
    """A bar: rows and columns (stops excluded), whether text breaks it, and width of the ticks at its ends, px."""

    top: int
    bottom: int
    left: int
    right: int
    broken: bool
    tick: float


def read_scale_bar(image: NDArray[Any], *, length: float | None = None) -> ScaleBar:
    """Find the scale bar of an image [row, column] of any grey scale, and read its length.

    ``length`` (um) is taken in place of the text, where that cannot be read.

    Raises
    ------
    MeasurementError
        If there is no bar, or no length is given and none can be read.
    """
    grey = np.asarray(image, dtype=np.float64)
    if grey.ndim != 2 or min(grey.shape, default=0) < 16 or not np.isfinite(grey).all():
        raise MeasurementError(
            "this is no grey image", expected="rows and columns of grey values", found=f"shape {grey.shape}"
        )
    if length is not None and not (isfinite(length) and length > 0):
        raise MeasurementError("the bar's length cannot be", expected="more than 0 um", found=f"{length:g}")
    span = float(np.ptp(grey)) or 1.0
    grey = (grey - grey.min()) * (255 / span)
    caption = caption_rows(grey)
    ink, offset, words = _written(grey, caption)
    bar = _longest_bar(ink)
    if bar is None:
        raise _no_bar(caption)
    text, value = _length_beside(ink, bar) if length is None else (f"{length:g} um, as given", length)
    long, std = _measured(grey[offset : offset + ink.shape[0]], ink, bar)
    pixel = value / long
    return ScaleBar(
        pixel, pixel * std / long, value, long, bar.top + offset, bar.left, text, f"the longest bar {words}", caption
    )


def caption_rows(grey: NDArray[Any]) -> tuple[int, int] | None:
    """First row and stop of the caption at the bottom, or else the top, of an image; None without one."""
    values = np.asarray(grey, dtype=np.float64)
    values = (values - values.min()) * (255 / (float(np.ptp(values)) or 1.0))
    count = int(255 / _FLAT) + 1
    bins = np.clip(values / _FLAT, 0, count - 1).astype(np.int64)
    counts = np.stack([np.bincount(row, minlength=count) for row in bins])
    counts[:, :-1] += counts[:, 1:]  # a grey at the edge of a bin is in two
    for rows in (np.arange(len(bins))[::-1], np.arange(len(bins))):
        common = np.bincount(counts[rows[: max(len(rows) // 50, 3)]].argmax(axis=1)).argmax()
        if min(common, count - 1 - common) > _EXTREME * count:
            continue
        # of noise no row is uniform, of a caption all are; a bar may fill some rows
        uniform = counts[rows, common] >= _UNIFORM * values.shape[1]
        last, missed = -1, 0
        for place, flat in enumerate(uniform[: len(rows) // 2].tolist()):
            last, missed = (place, 0) if flat else (last, missed + 1)
            if missed > max(0.03 * len(rows), 4):
                break
        if last >= 7 and last < len(rows) // 2 - 1:
            first, final = sorted((int(rows[0]), int(rows[last])))
            return first, final + 1
    return None


def _written(grey: FloatArray, caption: tuple[int, int] | None) -> tuple[BoolArray, int, str]:
    """What is written, the row at which that part begins, and where it is in words."""
    if caption is not None:
        strip = grey[caption[0] : caption[1]]
        background = float(np.median(strip))
        far = np.abs(strip - background)
        if far.max() < 4 * _ALIKE:
            return np.zeros(strip.shape, dtype=np.bool_), caption[0], "in the caption"
        return np.asarray(far > 0.5 * float(np.percentile(far[far > _ALIKE], 90))), caption[0], "in the caption"
    drawn = [part if part.mean() < _DRAWN else np.zeros_like(part) for part in (grey >= 250, grey <= 5)]
    bars = [_longest_bar(part) for part in drawn]
    lengths = [0 if bar is None else bar.right - bar.left for bar in bars]
    return np.asarray(drawn[int(np.argmax(lengths))]), 0, "drawn into the image"


def _longest_bar(ink: BoolArray) -> _Run | None:
    """The longest horizontal run of ink that rows next to it share."""
    width = ink.shape[1]
    shortest = max(_SHORTEST * width, 12)
    edges = np.diff(np.pad(ink.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    starts, stops = np.argwhere(edges == 1), np.argwhere(edges == -1)
    runs = [(int(r), int(a), int(b)) for (r, a), (_, b) in zip(starts, stops, strict=True) if b - a >= shortest]
    runs = [run for run in runs if run[2] - run[1] < 0.98 * width]
    grown = [bar for bar in (_grown(run, runs, ink) for run in runs) if bar is not None]
    labels, _ = ndimage.label(ink, structure=np.ones((3, 3)))
    area = np.bincount(labels.ravel())
    # a bar is a shape of its own, but for ticks: not the edge of something dark in the image
    bars = [
        bar
        for bar in grown
        if area[labels[bar.top, bar.left + _ENDS]] < _ALONE * (bar.bottom - bar.top) * (bar.right - bar.left)
    ]
    if not bars:
        return None
    whole = [_with_other_half(bar, bars) for bar in bars]
    return max(whole, key=lambda bar: (bar.right - bar.left, bar.bottom - bar.top))


def _grown(run: tuple[int, int, int], runs: list[tuple[int, int, int]], ink: BoolArray) -> _Run | None:
    """The rows below a run that have the same one; None if they are too many for a bar."""
    row, left, right = run
    rows = {r for r, a, b in runs if abs(a - left) <= _ENDS and abs(b - right) <= _ENDS}
    if row - 1 in rows:
        return None  # begun above
    bottom = row
    while bottom in rows:
        bottom += 1
    if (right - left) < _SLIM * (bottom - row) or bottom - row > 0.5 * ink.shape[0]:
        return None
    ticks = []
    for end, step in ((left, 1), (right - 1, -1)):
        beyond = [r for r in (row - 2, bottom + 1) if 0 <= r < ink.shape[0] and ink[r, end + step]]
        wide = 0
        while beyond and wide < right - left and ink[beyond[0], end + step * wide if wide else end + step]:
            wide += 1
        ticks.append(wide)
    return _Run(row, bottom, left, right, broken=False, tick=float(np.mean(ticks)))


def _with_other_half(bar: _Run, bars: list[_Run]) -> _Run:
    """Two bars on the same rows of the same length, with room for text between, are one."""
    for other in bars:
        same = abs(other.top - bar.top) <= 1 and abs(other.bottom - bar.bottom) <= 1
        long, gap = bar.right - bar.left, other.left - bar.right
        alike = abs((other.right - other.left) - long) <= max(0.1 * long, 2 * _ENDS)
        if same and alike and 0 < gap < 3 * long:
            return _Run(bar.top, bar.bottom, bar.left, other.right, broken=True, tick=max(bar.tick, other.tick))
    return bar


def _measured(grey: FloatArray, ink: BoolArray, bar: _Run) -> tuple[float, float]:
    """Length of a bar in px, from the grey of its ends too, and its standard uncertainty."""
    rows = grey[bar.top : bar.bottom]
    inner, room = slice(bar.left + 3, bar.right - 3), 3
    full = float(np.median(rows[:, inner][ink[bar.top : bar.bottom, inner]]))
    empty = float(np.median(grey[~ink]))
    ends = []
    for stop, outward in ((bar.left, slice(max(bar.left - room, 0), bar.left + room)), (bar.right, None)):
        window = outward or slice(bar.right - room, min(bar.right + room, grey.shape[1]))
        share = np.clip((np.median(rows[:, window], axis=0) - empty) / (full - empty), 0, 1).sum()
        ends.append(window.stop - share if stop == bar.left else window.start + share)
    return float(ends[1] - ends[0]), sqrt(2 / 12 + (bar.tick / 2) ** 2 / 3)


def _length_beside(ink: BoolArray, bar: _Run) -> tuple[str, float]:
    """The text nearest to a bar that is a length, and that length in um."""
    # the bar with its ticks is one connected shape, or two where text breaks it
    labels, _ = ndimage.label(ink, structure=np.ones((3, 3)))
    parts = {int(labels[bar.top, column]) for column in (bar.left + _ENDS, bar.right - 1 - _ENDS)}
    near, read = [], []
    for line in lines_of(ink & ~np.isin(labels, list(parts))):
        for word, left, right, top, bottom in line:
            read.append(word)
            for match in _LENGTH.finditer(word):
                aside = max(bar.left - right, left - bar.right, 0)
                above = max(bar.top - bottom, top - bar.bottom, 0)
                near.append((hypot(aside, above), match.group(0), float(match.group(1)) * _UNITS[match.group(2)]))
    near = [one for one in near if one[2] > 0]
    if not near:
        raise MeasurementError(
            "the length of the scale bar cannot be read",
            expected="a number and a unit beside the bar, such as 5 µm or 200 nm",
            found=f"a bar of {bar.right - bar.left} pixels, and the text {' '.join(read)[:80]!r}",
            cure='say it in the recipe:  scale_bar = "5 um"',
        )
    _, text, value = min(near)
    return text, value


def _no_bar(caption: tuple[int, int] | None) -> MeasurementError:
    found = "no caption" if caption is None else f"a caption in rows {caption[0]} to {caption[1] - 1}, without a bar"
    return MeasurementError(
        "there is no scale bar in the image",
        expected="a horizontal bar in a caption, or drawn into the image in white or black",
        found=found,
        cure='say the size of the pixels in the recipe:  pixel_size = "15 nm"',
    )
