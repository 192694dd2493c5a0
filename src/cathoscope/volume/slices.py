"""One slice of a particle in a FIB/SEM: its outline, its pores, and what they say of the section and of the particle.

How pores are told from oxide stands in `slice_pores`.

The section is no fair sample of the particle: a cut through the middle shows the core too large. If porosity depends
on the relative radius r only, a ring of the section stands for a shell of the particle,

    porosity of the particle = sum(r p) / sum(r) over the pixels of the section, r² = rho² + h²,

h the height of the cut above the middle over the particle's radius. Sums are kept by sector around the centre: how
they scatter is the sampling error of the area fraction (`slice_series`).

References
----------
.. [1] J. Ohser, K. Schladitz, 3D Images of Materials Structures, Wiley-VCH 2009 (area fraction and its variance).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import fill_voids  # type: ignore[import-untyped, unused-ignore]
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.estimate import Estimate
from cathoscope.volume.section_image import checked_pixel, closed_mask
from cathoscope.volume.slice_pores import FEWEST, Flat, Pores, distance, flattened, pores_of

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

SECTORS = 8
_FLOOR_STD = 0.07  # uncertainty of that value, of the oxide's
_EDGE_STD = 0.12  # px, uncertainty of where the edges of wide cracks are
_RIM = 2.5  # px below the outline that its blur darkens
_SHELL = 6.0  # px: the layer below the rim that speaks for it
_PLATEAU = 1.5
_MARGIN = 0.72  # of the way from outside to oxide: above the layer that electrolyte leaves
_BAND = 0.1  # of the contrast on either side of the threshold: its band


@dataclass(frozen=True)
class SliceChoices:
    """What a person may choose.

    Attributes
    ----------
    closing_radius
        Of the outline, um; None: 4 % of the particle's diameter.
    height
        Of the cut above the particle's middle, um.
    region
        Box of interest (top, bottom, left, right), um from the centre of the section, growing with row and column.
    """

    closing_radius: float | None = None
    height: float = 0.0
    region: tuple[float, float, float, float] | None = None


class Threshold(NamedTuple):
    """Porosity of the section by a threshold half-way between void and oxide, and at the ends of its band."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Slice:
    """What one slice says.

    Attributes
    ----------
    outline
        Inside the outer surface, open cracks included, [row, column].
    pore
        Share of pore, [row, column]; 0 outside; with the image's noise near cracks.
    section
        Porosity of this very section.
    particle
        Porosity of the particle from this section; the sampling error is not in it, see `slice_series`.
    region
        Porosity of the part of the section in the region of interest; None without one.
    threshold
        Porosity of the section by a threshold.
    area
        Of the section, um².
    centre
        Of the section, px (row, column).
    sums
        Pore and total by sector, weighted for the section (0) and for the particle (1), [kind, sector, 2].
    rare
        Sampling error of the particle's porosity because wide pores are few; it holds if it exceeds that by sectors.
    unresolved
        Share of the pore area in cracks that are too narrow to show their own grey value.
    oxide, void, floor, noise
        Grey level of oxide in the middle of the image; of the outside, of narrow cracks and standard deviation of the
        noise, these relative to it.
    flags
        Words on what is wrong with the slice; empty if nothing is.
    """

    outline: BoolArray
    pore: Float32Array
    section: Estimate
    particle: Estimate
    region: Estimate | None
    threshold: Threshold
    area: Estimate
    centre: tuple[float, float]
    sums: Float64Array
    rare: float
    unresolved: float
    oxide: float
    void: float
    floor: float
    noise: float
    flags: tuple[str, ...]


def analyse_slice(image: NDArray[Any], *, pixel_size: float, choices: SliceChoices | None = None) -> Slice:
    """Outline, pores and porosities of one slice.

    Parameters
    ----------
    image
        Grey values [row, column], oxide bright.
    pixel_size
        um.

    Raises
    ------
    MeasurementError
        If the image is blank, saturated or inverted, shows no particle of 20 pixels or more across, or the pixel
        cannot be.
    """
    choices = choices or SliceChoices()
    raw, pixel_size = _checked(image), checked_pixel(pixel_size)
    grey = raw.astype(np.float64)
    cut, oxide, outside = _levels(grey)
    _require_contrast(grey, cut)
    outline, area = _outline(grey, (oxide, outside), pixel_size, choices.closing_radius)
    flags = _flags(raw, outline)
    depth = distance(outline)
    flat = flattened(grey, depth)
    void = outside / flat.oxide
    pores = pores_of(flat, depth, void)
    share = _with_rim(pores.share, depth, outline)
    relative, weight = _shells(outline, depth, choices.height / pixel_size)
    # the mask ends a little inside of the surface: its rim stands for what is beyond
    beyond = area.value / (np.count_nonzero(outline) * pixel_size**2) - 1
    rim = np.where(
        depth <= _RIM, 1 + beyond * np.count_nonzero(outline) / np.count_nonzero(outline & (depth <= _RIM)), 1.0
    )
    sums = _sums(share, outline, rim, rim * weight)
    error = _errors(pores, flat, depth, relative)
    error = error._replace(systematic=float(np.hypot(error.systematic, area.systematic / area.value)))
    section, particle = (float(part[:, 0].sum() / part[:, 1].sum()) for part in sums)
    return Slice(
        outline,
        share.astype(np.float32),
        Estimate(section, *error.of(section)),
        Estimate(particle, *error.of(particle)),
        _of_region(share, outline, choices.region, pixel_size, error),
        _by_threshold(flat.grey, depth, outline, void),
        area,
        _centre(outline),
        sums,
        _rare(pores.large, np.clip(share, 0, 1) * weight, float(weight.sum())),
        error.unresolved,
        flat.oxide,
        void,
        pores.floor,
        flat.noise,
        flags,
    )


def _checked(image: NDArray[Any]) -> NDArray[Any]:
    """Refuse what is no image, or is blank."""
    image = np.asarray(image)
    if image.ndim != 2 or min(image.shape) < 20 or image.dtype.kind not in "fiu":
        raise MeasurementError(
            "this is no slice",
            expected="an image [row, column] of 20 x 20 grey values or more",
            found=f"{image.dtype} of shape {image.shape}",
        )
    if not np.isfinite(image).all():
        raise MeasurementError(
            "the slice holds values that are no numbers",
            expected="finite grey values",
            found=f"{np.count_nonzero(~np.isfinite(image))} pixels without",
        )
    low, high = np.quantile(image, [0.005, 0.995])
    if not high > low:
        raise MeasurementError(
            "the slice is blank", expected="a bright particle on a dark ground", found=f"nearly all pixels {low:g}"
        )
    return image


def _levels(grey: Float64Array) -> tuple[float, float, float]:
    """Threshold, and grey levels of oxide and of what surrounds the particle."""
    cut = float(cast(Any, threshold_otsu)(grey))
    dark = grey[grey <= cut]
    return cut, float(np.median(grey[grey > cut])), float(np.median(dark))


def _require_contrast(grey: Float64Array, cut: float) -> None:
    """Refuse a dark particle on a bright ground."""
    frame = np.concatenate([grey[:2].ravel(), grey[-2:].ravel(), grey[:, :2].ravel(), grey[:, -2:].ravel()])
    rows, columns = (slice(n // 3, n - n // 3) for n in grey.shape)
    if np.mean(frame > cut) > 0.9 and np.mean(grey[rows, columns] > cut) < 0.5:
        raise MeasurementError(
            "the contrast is inverted: the field around the particle is bright",
            expected="bright oxide on a dark ground",
            found=f"{100 * np.mean(frame > cut):.0f} % of the image's rim is bright",
            cure="turn the grey values round (255 - image) before the analysis",
        )


def _outline(
    grey: Float64Array, levels: tuple[float, float], pixel_size: float, radius: float | None
) -> tuple[BoolArray, Estimate]:
    """Inside the outer surface: oxide closed with a disk, filled, its largest piece; and its area (um²)."""
    oxide, outside = levels
    bright = np.asarray(ndimage.binary_opening(grey > outside + _MARGIN * (oxide - outside)))
    size = int(np.count_nonzero(bright))
    if size < 300:
        raise MeasurementError(
            "no particle is seen in the slice",
            expected="a particle of 20 pixels or more",
            found=f"{size} bright pixels",
        )
    closing = 0.04 * 2 * np.sqrt(size / np.pi) if radius is None else radius / pixel_size
    masks = [_closed(bright, max(closing * factor, 1.5)) for factor in (1 / _PLATEAU, 1.0, _PLATEAU)]
    areas = [float(np.count_nonzero(mask)) * pixel_size**2 for mask in masks]
    # a layer on the surface hides where half of the contrast is, 0 to 0.4 pixels outside of the mask
    edge = 0.2 * np.sqrt(4 * np.pi * areas[1]) * pixel_size
    return masks[1], Estimate(areas[1] + edge, 0.0, float(np.hypot((max(areas) - min(areas)) / np.sqrt(12), edge)))


def _closed(bright: BoolArray, radius: float) -> BoolArray:
    """Closing with a disk, filled; the largest piece."""
    filled = np.asarray(fill_voids.fill(np.ascontiguousarray(closed_mask(bright, radius))), dtype=np.bool_)
    labels, count = ndimage.label(filled)
    sizes = np.bincount(labels.ravel())[1:]
    return np.asarray(labels == 1 + int(np.argmax(sizes)) if count else filled, dtype=np.bool_)


def _flags(raw: NDArray[Any], outline: BoolArray) -> tuple[str, ...]:
    """What is wrong: cut by the image's border, or saturated."""
    flags = []
    touched = [name for name, edge in zip(("top", "bottom", "left", "right"), _edges(outline), strict=True) if edge]
    if touched:
        flags.append(f"cut by the image's border ({', '.join(touched)})")
    inside = raw[outline]
    full = float(np.mean(inside == inside.max()))
    if full > 0.05:
        raise MeasurementError(
            "the slice is saturated: the oxide's grey level cannot be told",
            expected="less than 5 % of the particle at the largest grey value",
            found=f"{100 * full:.0f} % at {inside.max():g}",
            cure="lower the detector's gain or brightness; leave this slice out",
        )
    return (*flags, *((f"{100 * full:.1f} % of the particle saturated",) if full > 0.005 else ()))


def _edges(mask: BoolArray) -> tuple[bool, ...]:
    return tuple(bool(edge.any()) for edge in (mask[0], mask[-1], mask[:, 0], mask[:, -1]))


def _with_rim(share: Float64Array, depth: Float64Array, outline: BoolArray) -> Float64Array:
    """The rim, which the blur of the surface darkens, as porous as the layer below it in the same sector."""
    sector = _sector(outline)
    rim, below = outline & (depth <= _RIM), (depth > _RIM) & (depth <= _SHELL)
    pore = np.bincount(sector[below], share[below], minlength=SECTORS)
    mean = pore / np.maximum(np.bincount(sector[below], minlength=SECTORS), 1)
    return np.where(rim, mean[sector], np.where(outline, share, 0.0))


def _centre(outline: BoolArray) -> tuple[float, float]:
    row, column = np.nonzero(outline)
    return float(row.mean()), float(column.mean())


def _sector(outline: BoolArray) -> NDArray[np.int64]:
    """Number of the sector around the centre, [row, column]."""
    row, column = _centre(outline)
    y, x = np.ogrid[: outline.shape[0], : outline.shape[1]]
    angle = np.arctan2(y - row, x - column) / (2 * np.pi) + 0.5
    return np.minimum((angle * SECTORS).astype(np.int64), SECTORS - 1)


def _shells(outline: BoolArray, depth: Float64Array, height: float) -> tuple[Float64Array, Float64Array]:
    """Relative distance from the particle's middle, and the weight of each pixel for the particle, [row, column]."""
    row, column = _centre(outline)
    y, x = np.ogrid[: outline.shape[0], : outline.shape[1]]
    rho = np.hypot(y - row, x - column)
    above = height / float(np.hypot(np.sqrt(np.count_nonzero(outline) / np.pi), height))
    flat = rho / np.maximum(rho + depth, 1e-9) * np.sqrt(max(1 - above**2, 0.0))
    relative = np.hypot(flat, above)
    return relative, np.where(outline, relative, 0.0)


def _sums(share: Float64Array, outline: BoolArray, *weights: Float64Array) -> Float64Array:
    """Pore and total by sector for each weight, section and particle, [kind, sector, 2]."""
    sector, values = _sector(outline)[outline], share[outline]
    sums = [
        np.stack([np.bincount(sector, each * part, minlength=SECTORS) for part in (values, 1.0)], axis=1)
        for each in (weight[outline] for weight in weights)
    ]
    return np.stack(sums)


def _rare(large: BoolArray, pore: Float64Array, total: float) -> float:
    """Sampling error by the number of wide pores: sqrt(sum(a²)) of their shares of the weight."""
    labels, count = ndimage.label(large & (pore > 0))
    if not count:
        return 0.0
    shares = np.bincount(labels.ravel(), pore.ravel())[1:] / total
    return float(np.sqrt(np.sum(shares**2)))


class _Errors(NamedTuple):
    """Relative uncertainties of an amount of pore, porosity that no crack shows, and the share in narrow cracks."""

    relative: float
    systematic: float
    hidden: float
    unresolved: float

    def of(self, porosity: float) -> tuple[float, float]:
        """Statistical and systematic uncertainty of a porosity."""
        return abs(porosity) * self.relative, float(np.hypot(porosity * self.systematic, self.hidden))


def _errors(pores: Pores, flat: Flat, depth: Float64Array, relative: Float64Array) -> _Errors:
    """Of noise; of the level of narrow cracks, the edges of wide ones, and of cracks too fine to be seen one by one.

    The last make the middle of the particle darker than its outer third.
    """
    inner = depth > _RIM
    total = max(float(pores.share[inner].sum()), 1.0)
    narrow = float(np.clip(pores.narrow[inner].sum() / total, 0.0, 1.0))
    contrast = 1 - pores.floor
    noise = flat.noise / contrast * np.sqrt(np.count_nonzero(pores.band & inner)) / total
    edges = _EDGE_STD * np.count_nonzero(pores.edge & inner) / total
    systematic = np.hypot(narrow * _FLOOR_STD / contrast, edges)
    calm = (depth > _SHELL) & ~pores.band
    outer, middle = calm & (relative > 2 / 3), calm & (relative <= 2 / 3)
    hidden = 0.0
    if min(np.count_nonzero(outer), np.count_nonzero(middle)) > FEWEST:
        darker = float(flat.grey[outer].mean() - flat.grey[middle].mean())
        hidden = max(darker, 0.0) / contrast * np.count_nonzero(middle) / np.count_nonzero(inner)
    return _Errors(float(noise), float(systematic), hidden, narrow)


def _of_region(
    share: Float64Array,
    outline: BoolArray,
    region: tuple[float, float, float, float] | None,
    pixel_size: float,
    error: _Errors,
) -> Estimate | None:
    """Porosity of the part of the section in a box."""
    if region is None:
        return None
    row, column = _centre(outline)
    y, x = np.ogrid[: outline.shape[0], : outline.shape[1]]
    down, across = (y - row) * pixel_size, (x - column) * pixel_size
    box = outline & (down >= region[0]) & (down <= region[1]) & (across >= region[2]) & (across <= region[3])
    if np.count_nonzero(box) < 10:
        raise MeasurementError(
            "the region of interest holds nothing of the particle",
            expected="top, bottom, left, right in um from the centre of the section, such as (-1, 1, -1, 1)",
            found=f"{region}, {np.count_nonzero(box)} pixels of the particle",
        )
    value = float(share[box].mean())
    return Estimate(value, *error.of(value))


def _by_threshold(grey: Float64Array, depth: Float64Array, outline: BoolArray, void: float) -> Threshold:
    """Share of the section below thresholds at 0.5 and 0.5 -+ 0.1 of the contrast."""
    levels = (void + part * (1 - void) for part in (0.5 - _BAND, 0.5, 0.5 + _BAND))
    shares = [_with_rim((grey < level).astype(np.float64), depth, outline)[outline] for level in levels]
    low, middle, high = (float(share.mean()) for share in shares)
    return Threshold(middle, low, high)
