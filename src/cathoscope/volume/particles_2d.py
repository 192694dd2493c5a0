"""Particles of a section with many of them: found, closed over cracks, told from gaps, separated where they touch.

The image is smoothed no more than it takes to tell oxide from its surroundings. Cracks that reach a particle's surface
are closed before touching particles are divided (see `parts_2d`), and once more in each particle alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, sqrt
from typing import Any

import cc3d
import edt  # type: ignore[import-not-found]
import fill_voids  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.spread import robust_std
from cathoscope.volume.parts_2d import divided
from cathoscope.volume.section_image import (
    BoolArray,
    Float32Array,
    LabelArray,
    Levels,
    checked_image,
    checked_pixel,
    closed_mask,
    grey_levels,
    require_bright,
)

_SMOOTHINGS = (0.7, 1.0, 1.5, 2.2, 3.2, 4.5)  # px
_CALM = 0.12  # width of the oxide's level over the contrast, at which noise does not make particles
_SPECK = 0.03  # of the smallest particle's diameter squared: larger parts may be splinters of a broken one
_FLAT_SHARE = 2e-3  # of an image that is one value along its border, which is no chance
_CLOSING = 0.12  # of the diameter of typical particles: radius over which cracks are closed before they are divided
_OWN_CLOSING, _WIDER = 0.13, 0.25  # the same of each particle's own diameter, and once more to see what it matters


@dataclass(frozen=True)
class ParticleMap:
    """Particles of an image [row, column].

    Attributes
    ----------
    labels
        Number of the particle at every pixel, the largest being 1, cracks and hollows included; 0 between them.
    wider
        The same closed over wider cracks.
    bright
        Pixels of oxide, of the smoothed image.
    field
        Pixels that show something: a tomogram or a mosaic has corners that do not.
    cut
        Of each particle, whether the border of the field cuts it.
    levels
        Grey levels.
    smoothing
        Of the image before it was divided, px.
    """

    labels: LabelArray
    wider: LabelArray
    bright: BoolArray
    field: BoolArray
    cut: BoolArray
    levels: Levels
    smoothing: float

    @property
    def count(self) -> int:
        """Number of particles."""
        return int(self.cut.size)


def find_particles(
    image: NDArray[Any],
    *,
    pixel: float,
    smallest_diameter: float,
    crack_width: float | None = None,
    field: BoolArray | None = None,
) -> ParticleMap:
    """Find the particles of a section.

    Parameters
    ----------
    image
        Grey, [row, column], oxide bright.
    pixel
        um.
    smallest_diameter
        um; smaller ones are left out.
    crack_width
        Widest crack that reaches a particle's surface, um; a quarter of the typical diameter, if not given.
    field
        Pixels that show something; found by their constant value, if not given.

    Raises
    ------
    MeasurementError
        If the image is blank, saturated or inverted, the sizes are absurd, or there is no particle.
    """
    grey, edge = checked_image(image), checked_pixel(pixel)
    smallest = smallest_diameter / edge
    _require_size(smallest_diameter, smallest, grey.shape)
    field = field_of(grey) if field is None else field & np.isfinite(grey)
    smoothing, levels = _smoothing(grey, field)
    require_bright(np.where(field, grey, levels.dark).astype(np.float32), levels)
    bright = (ndimage.gaussian_filter(grey, smoothing) > levels.threshold) & field
    bright &= ~_specks(bright, _SPECK * smallest**2)
    reach = 0.5 * crack_width / edge if crack_width is not None else _CLOSING * _typical(bright, smallest)
    joined = closed_mask(bright, max(reach, 1.0))
    pieces = divided(joined)
    labels = _each_closed(pieces, bright, _OWN_CLOSING, reach if crack_width is not None else None)
    wider = _each_closed(pieces, bright, _WIDER, None)
    labels, wider, area = _sorted(labels, wider, pi / 4 * smallest**2)
    if not area.size:
        raise MeasurementError(
            "there is no particle in the image",
            expected=f"bright particles of {smallest_diameter:g} um or more, {smallest:.0f} pixels",
            found=f"{float(bright.mean()):.1%} of the pixels are bright",
            cure="set a smaller smallest_particle, or check the size of the pixels",
        )
    return ParticleMap(labels, wider, bright, field, _cut(labels, field, area.size), levels, smoothing)


def field_of(image: Float32Array) -> BoolArray:
    """Where the image shows something: all but what has one value and is joined to the border."""
    rim = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    values, counts = np.unique(rim, return_counts=True)
    blank = np.zeros(image.shape, dtype=np.bool_)
    for value in values[counts > 0.02 * rim.size]:
        same = np.asarray(image == value)
        # of grey noise few pixels have many equal neighbours
        lonely = ndimage.uniform_filter(same.astype(np.float32), 5) < 0.99
        if (same & ~lonely).mean() > _FLAT_SHARE:
            blank |= same & ndimage.binary_dilation(same & ~lonely, iterations=3)
    return ~blank


def _require_size(smallest: float, in_pixels: float, shape: tuple[int, ...]) -> None:
    if not 3 <= in_pixels <= max(shape):
        raise MeasurementError(
            "the smallest particle does not fit the size of the pixels",
            expected=f"3 to {max(shape)} pixels",
            found=f"{smallest:g} um, which is {in_pixels:.3g} pixels",
            cure="check pixel_size and smallest_particle",
        )


def _smoothing(grey: Float32Array, field: BoolArray) -> tuple[float, Levels]:
    """The weakest smoothing at which the oxide's level is narrow, else that of the narrowest; and the levels."""
    shown = grey if field.all() else np.where(field, grey, np.median(grey[field])).astype(np.float32)
    found: list[tuple[float, float, Levels]] = []
    problem: MeasurementError | None = None
    for smoothing in _SMOOTHINGS:
        try:
            levels = grey_levels(shown, blur=smoothing)
        except MeasurementError as error:
            problem = error
            continue
        smooth = ndimage.gaussian_filter(shown, smoothing)[field]
        width = robust_std(smooth[smooth > levels.threshold] - levels.solid)
        found.append((width / (levels.solid - levels.dark), smoothing, levels))
        if found[-1][0] < _CALM:
            return smoothing, levels
    if not found and problem is not None:
        raise problem
    _, smoothing, levels = min(found, key=lambda one: one[0])
    return smoothing, levels


def _specks(mask: BoolArray, smallest: float) -> BoolArray:
    """Parts of fewer pixels than ``smallest``."""
    labels = cc3d.connected_components(mask, connectivity=4)
    few = np.bincount(labels.ravel()) < smallest
    few[0] = False
    return np.asarray(few[labels], dtype=np.bool_)


def _typical(bright: BoolArray, smallest: float) -> float:
    """Diameter, px, of the particles that most of the oxide belongs to."""
    depth = edt.edt(fill_voids.fill(bright), black_border=False)
    peaks = depth[(depth == ndimage.maximum_filter(depth, 5)) & (depth > 0.25 * smallest)]
    return float(2 * np.average(peaks, weights=peaks**2)) if peaks.size else float(smallest)


def _each_closed(pieces: LabelArray, bright: BoolArray, share: float, reach: float | None) -> LabelArray:
    """Every particle closed and filled by itself, so that closing does not bridge the gap to its neighbour; with the
    radius ``reach`` (px), or a ``share`` of its diameter."""
    out = np.zeros_like(pieces)
    for number, box in enumerate(ndimage.find_objects(pieces), start=1):
        mine = pieces[box] == number
        radius = share * sqrt(4 * float(mine.sum()) / pi) if reach is None else reach
        room = int(np.ceil(radius)) + 2
        wide = tuple(slice(max(part.start - room, 0), part.stop + room) for part in box)
        near, lit = pieces[wide], bright[wide]
        whole = fill_voids.fill(closed_mask((near == number) & lit, radius)) & ((near == number) | ~lit | (near == 0))
        part = np.asarray(cc3d.largest_k(np.asarray(whole, dtype=np.bool_), k=1, connectivity=4) > 0)
        target = out[wide]
        target[part & (target == 0) & ((near == 0) | (near == number))] = number
    return out


def _sorted(labels: LabelArray, wider: LabelArray, smallest: float) -> tuple[LabelArray, LabelArray, NDArray[np.int64]]:
    """Numbers from 1 by falling area, without those of fewer pixels than ``smallest``; and their areas in pixels."""
    count = np.bincount(labels.ravel(), minlength=int(wider.max()) + 1)
    count[0] = 0
    order = np.argsort(-count, kind="stable")
    order = order[count[order] >= max(smallest, 1.0)]
    number = np.zeros(count.size, dtype=np.int32)
    number[order] = np.arange(1, order.size + 1)
    return number[labels], number[wider], count[order]


def _cut(labels: LabelArray, field: BoolArray, count: int) -> BoolArray:
    """Whether particles reach the border of the field."""
    edge = ndimage.binary_erosion(field, iterations=2, border_value=0)
    found = np.bincount(labels[~edge], minlength=count + 1) > 0
    return np.asarray(found[1:], dtype=np.bool_)
