"""Polished and etched cross sections of single particles in a scanning electron microscope, with a scale bar.

Etching digs a groove along every boundary between two grains, so that it looks dark; grains of different orientation
differ in brightness. A strip below the image bears a bar and its length as text, burned in as microscopes do it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cathoscope.core.errors import CathoscopeError
from cathoscope.virtual.cracks import nearest_boundary, solid
from cathoscope.virtual.cycling import section_points
from cathoscope.virtual.grains import Grains

FloatArray = NDArray[np.float64]

_ROUND = (1.0, 2.0, 5.0)
_SHARE = 0.22  # of the image's width that the scale bar takes at most
_STRIP = 0.1  # of the image's height
_MARGIN = 1.04  # of the particle's radius, beside it
_CONTRAST = 7  # kind of random numbers, beside those of `grains`, `cracks` and `cycling`
# Rows of five dots, the highest bit left: capitals of a 5 x 7 matrix display.
_GLYPHS = {
    "0": (14, 17, 19, 21, 25, 17, 14),
    "1": (4, 12, 4, 4, 4, 4, 14),
    "2": (14, 17, 1, 2, 4, 8, 31),
    "3": (31, 2, 4, 2, 1, 17, 14),
    "4": (2, 6, 10, 18, 31, 2, 2),
    "5": (31, 16, 30, 1, 1, 17, 14),
    "6": (6, 8, 16, 30, 17, 17, 14),
    "7": (31, 1, 2, 4, 8, 8, 8),
    "8": (14, 17, 17, 14, 17, 17, 14),
    "9": (14, 17, 17, 15, 1, 2, 12),
    ".": (0, 0, 0, 0, 0, 12, 12),
    "µ": (0, 17, 17, 19, 29, 16, 16),
    "m": (0, 0, 26, 21, 21, 21, 21),
    "n": (0, 0, 22, 25, 17, 17, 17),
    " ": (0, 0, 0, 0, 0, 0, 0),
}


@dataclass(frozen=True)
class SectionOptions:
    """The microscope; lengths um, grey levels relative to that of the oxide.

    ``groove`` is how much darker the middle of an etched boundary is, ``groove_width`` the standard deviation of its
    profile; ``grain_contrast`` the standard deviation of the grains' brightness; ``resin`` the level outside, ``void``
    that of cracks and cores; ``blur`` (px) a standard deviation; ``electrons`` are counted per pixel of oxide.
    """

    pixel: float = 0.015
    groove: float = 0.45
    groove_width: float = 0.02
    grain_contrast: float = 0.06
    resin: float = 0.25
    void: float = 0.1
    blur: float = 0.8
    electrons: float = 150.0
    white: float = 170.0

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            above = entry.name in ("pixel", "groove_width", "electrons", "white")
            if not (value > 0 if above else value >= 0) or not np.isfinite(value):
                raise CathoscopeError(
                    f"the microscope's {entry.name} is out of range",
                    expected="more than 0" if above else "0 or more",
                    found=str(value),
                    cure=f"{entry.name}={entry.default}",
                )


class ScaleBar(NamedTuple):
    """Length (um), text, and place in the image: row of the bar's top, first column, length and thickness, px."""

    length: float
    text: str
    row: int
    column: int
    length_px: int
    thickness: int


class EtchedSection(NamedTuple):
    """An image with its strip, and the truth of the part above the strip.

    Attributes
    ----------
    image
        8 bit, (row, column), the strip included.
    labels
        Grain + 1 of every pixel, 0 outside, (row, column) without the strip.
    distance
        Of every pixel from the nearest boundary of its grain, um, infinite beyond the grains' reach.
    solid
        Share of every pixel that is oxide.
    bar
        The scale bar.
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.int32]
    distance: FloatArray
    solid: NDArray[np.float32]
    bar: ScaleBar


def etched_section(grains: Grains, options: SectionOptions, *, seed: int, z: float = 0.0) -> EtchedSection:
    """The section of a particle at the height ``z`` (um), etched and imaged.

    Raises
    ------
    CathoscopeError
        If the pixels are too coarse for the grains, or the section misses the particle.
    """
    if abs(z) >= grains.outer.lowest:
        raise CathoscopeError(
            "the section misses the particle",
            expected=f"a height within {grains.outer.lowest:.3g} um of the middle",
            found=f"{z:g} um",
            cure="z=0",
        )
    half = int(np.ceil(_MARGIN * grains.outer.highest / options.pixel))
    axis = np.asarray((np.arange(2 * half) - half + 0.5) * options.pixel, dtype=np.float64)
    points = section_points(z, axis, axis).reshape(-1, 3)
    shape = (axis.size, axis.size)
    filled = solid(grains, points, options.pixel)
    distance, pairs = nearest_boundary(grains, points)
    inside = grains.labels(points)
    contrast = np.random.default_rng(np.random.SeedSequence((grains.seed, _CONTRAST))).standard_normal(grains.count + 1)
    bright = 1 + options.grain_contrast * np.clip(contrast[np.maximum(inside, -1)], -3, 3)
    groove = options.groove * np.exp(-0.5 * (np.where(pairs[:, 1] >= 0, distance, np.inf) / options.groove_width) ** 2)
    within = np.linalg.norm(points, axis=1) < grains.outer_radius(points)
    empty = np.where(within, options.void, options.resin)
    scene = (filled.fraction * bright * (1 - groove) + (1 - filled.fraction) * empty).reshape(shape)
    rng = np.random.default_rng(np.random.SeedSequence((seed, 0)))
    seen = ndimage.gaussian_filter(scene, options.blur)
    grey = rng.poisson(np.maximum(seen, 0) * options.electrons) / options.electrons
    image = np.clip(np.rint(grey * options.white), 0, 255).astype(np.uint8)
    labelled, bar = with_scale_bar(image, options.pixel)
    return EtchedSection(
        labelled,
        np.where(inside >= 0, inside + 1, 0).astype(np.int32).reshape(shape),
        distance.reshape(shape),
        filled.fraction.reshape(shape),
        bar,
    )


def with_scale_bar(image: NDArray[np.uint8], pixel: float) -> tuple[NDArray[np.uint8], ScaleBar]:
    """An image (row, column) with a black strip below that bears a white bar and its length; ``pixel`` is um.

    The bar is the longest of 1, 2 or 5 times a power of ten that takes at most 0.22 of the width, to the nearest pixel.

    Raises
    ------
    CathoscopeError
        If the image is too small to bear it.
    """
    rows, columns = image.shape
    length = _round_length(_SHARE * columns * pixel)
    text = f"{length:g} µm" if length >= 1 else f"{1e3 * length:g} nm"
    height = max(int(_STRIP * rows), 12)
    dots = max((height - 4) // 11, 1)
    drawn = _text(text, dots)
    length_px = round(length / pixel)
    if columns < length_px + 2 * dots or columns < drawn.shape[1] + 2 * dots or length_px < 1:
        raise CathoscopeError(
            "the image is too small for a scale bar", expected="64 pixels or more", found=f"{rows} x {columns}"
        )
    strip = np.zeros((max(height, 12 * dots), columns), dtype=np.uint8)
    strip[dots : dots + drawn.shape[0], 2 * dots : 2 * dots + drawn.shape[1]] = 255 * drawn
    thickness = 2 * dots
    top = dots + drawn.shape[0] + dots
    strip[top : top + thickness, 2 * dots : 2 * dots + length_px] = 255
    return np.vstack([image, strip]), ScaleBar(length, text, rows + top, 2 * dots, length_px, thickness)


def _round_length(most: float) -> float:
    """The largest of 1, 2 and 5 times a power of ten that is at most ``most``."""
    power = 10.0 ** np.floor(np.log10(most))
    return float(max(value * power for value in _ROUND if value * power <= most * (1 + 1e-9)))


def _text(words: str, dots: int) -> NDArray[np.uint8]:
    """A line of text, 1 where ink is, each dot a square of ``dots`` pixels."""
    columns = []
    for letter in words:
        rows = np.array([[(row >> (4 - bit)) & 1 for bit in range(5)] for row in _GLYPHS[letter]], dtype=np.uint8)
        columns.append(np.pad(rows, ((0, 0), (0, 1))))
    return np.asarray(np.kron(np.hstack(columns), np.ones((dots, dots))), dtype=np.uint8)
