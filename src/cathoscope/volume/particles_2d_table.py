"""What is measured of every particle of a section: size, shape, porosity from grey levels, cracks, hollow core.

A pixel that is partly oxide has a grey value in between, so the missing grey, summed over a particle and divided by
that of an empty pixel, is the area of its pores, however fine: a threshold would lose what is finer than a pixel. The
oxide's level is taken from places far from pores in the same particle, that of a void from wide pores. Near the outer
surface the blur mixes the surroundings in; there the porosity is taken to be that of the layer below. Cracks that
reach the surface dim it, so that a threshold finds the outline of a cracked particle too far inside: what lies beyond
is added.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, sqrt
from typing import Any, NamedTuple

import edt  # type: ignore[import-not-found]
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import ndtri
from skimage.measure import perimeter_crofton

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.estimate import Estimate
from cathoscope.numerics.random_effects import Population, population_of
from cathoscope.volume.grains import dark_lines
from cathoscope.volume.particles_2d import ParticleMap
from cathoscope.volume.particles_2d_levels import RIM, View, solid_levels, void_level
from cathoscope.volume.section_image import (
    BoolArray,
    Float32Array,
    FloatArray,
    checked_image,
    checked_pixel,
    difference_noise,
)

CRACK_SHARE = 0.005
"""Share of a section that is crack, from which it counts as cracked."""

_SECTORS = 8
_DARK = 0.5  # missing grey from which a pixel is pore
_CORE_AREA, _CORE_PLACE, _CORE_WIDTH = 0.02, 0.4, 0.14  # of area, of radius, of radius
_LINE_SIGMA = 5.0  # of the lines' own scatter, at which a dark line is a crack
_LINE_SHARE = 0.08  # and of an empty pixel's missing grey
_DEEP = 0.2  # of the radius, how far below the surface a crack reaches at least
_SHORTEST = 0.15  # of the diameter: shorter lines are no cracks
_FARTHEST_RIM = 1.5  # px by which an outline is moved, at most
# Porosity of what an outline leaves out over that of the ring below it: mouths of cracks above all. Over virtual
# mosaics (seeds 40 to 43) 2.0 to 2.7, for diameters from 90 to 25 px.
_RICHER = 2.0


@dataclass(frozen=True)
class SectionedParticles:
    """One row per particle, in the order of the labels; lengths um.

    Attributes
    ----------
    area, diameter, circularity
        Cracks and hollow included; diameter of the disk of that area; 4 pi area over the perimeter squared.
    y, x
        Centre, from the first pixel's centre.
    porosity, porosity_std, porosity_systematic
        Share of the section that is not oxide; its statistical uncertainty; that of the void's level and the outline.
    crack_share, core_share
        The part in cracks and other fine pores, and that in a hollow around the middle.
    cracked, hollow, cut
        Whether cracks take more than 0.5 % of the section; whether there is a hollow; whether the border cuts it.
    solid, void
        Grey levels of the oxide of each particle, and of emptiness.
    pore
        Kind of every pixel of the image: 0 none, 1 crack, 2 hollow.
    """

    area: FloatArray
    diameter: FloatArray
    circularity: FloatArray
    y: FloatArray
    x: FloatArray
    porosity: FloatArray
    porosity_std: FloatArray
    porosity_systematic: FloatArray
    crack_share: FloatArray
    core_share: FloatArray
    cracked: BoolArray
    hollow: BoolArray
    cut: BoolArray
    solid: FloatArray
    void: Estimate
    pore: NDArray[np.uint8]


@dataclass(frozen=True)
class SectionPopulation:
    """What the particles of a field say of all; those that the border cuts are left out.

    Attributes
    ----------
    porosity
        Mean with its statistical and systematic uncertainty.
    porosity_spread
        Standard deviation between particles, that of the measurement taken off.
    members
        Mean, spread, intervals.
    cracked_share, hollow_share
        Shares of the particles, binomial uncertainty.
    """

    porosity: Estimate
    porosity_spread: Estimate
    members: Population
    cracked_share: Estimate
    hollow_share: Estimate


def measure_particles(
    image: NDArray[Any], found: ParticleMap, *, pixel: float, void: float | None = None
) -> SectionedParticles:
    """Table of the particles that `find_particles` found.

    Parameters
    ----------
    image
        Grey, [row, column]: the image in which they were found.
    pixel
        um.
    void
        Grey level of an empty pixel; from wide pores, if not given.

    Raises
    ------
    MeasurementError
        If the image has another shape than the labels.
    """
    grey, edge = checked_image(image), checked_pixel(pixel)
    if grey.shape != found.labels.shape:
        raise MeasurementError(
            "the particles belong to another image", expected=f"shape {found.labels.shape}", found=f"{grey.shape}"
        )
    depth = np.asarray(edt.edt(found.labels, black_border=False), dtype=np.float32)
    empty = void_level(grey, found) if void is None else Estimate(void)
    contrast = found.levels.solid - empty.value
    scale = max(1.2, 0.6 * found.smoothing)
    lines = dark_lines(grey, scale)
    faintest = max(_quiet_level(lines[depth > 2 * RIM]), _LINE_SHARE * contrast)
    smooth = ndimage.gaussian_filter(grey, max(0.7, 0.5 * found.smoothing))
    dark = (smooth < found.levels.solid - _DARK * contrast) & (found.labels > 0)
    line = (lines > faintest) & (depth > RIM)
    views, boxes = [], []
    pore = np.zeros(grey.shape, dtype=np.uint8)
    for number, box in enumerate(ndimage.find_objects(found.labels), start=1):
        wide = (slice(max(box[0].start - 1, 0), box[0].stop + 1), slice(max(box[1].start - 1, 0), box[1].stop + 1))
        added = (found.wider[wide] == number) & (found.labels[wide] == 0)
        views.append(View(found.labels[wide], grey[wide], depth[wide], dark[wide], line[wide], added, number))
        boxes.append(wide)
    levels = np.stack(solid_levels(views, found.levels.solid), axis=1)
    blur = _blur_of_outlines(grey, found, depth)
    marks = _Marks(empty, found.levels.threshold, found.levels.dark, blur)
    rows = [_measured(view, level, marks, edge, pore[at]) for view, level, at in zip(views, levels, boxes, strict=True)]
    table = np.array([row.numbers for row in rows])
    place = (np.array([[part.start for part in at] for at in boxes]) + table[:, 2:4]) * edge
    flags = np.array([(row.cracked, row.hollow) for row in rows], dtype=np.bool_)
    columns = [np.ascontiguousarray(column) for column in table.T]
    return SectionedParticles(
        area=columns[0],
        diameter=np.sqrt(4 * columns[0] / pi),
        circularity=columns[1],
        y=place[:, 0],
        x=place[:, 1],
        porosity=columns[4],
        porosity_std=columns[5],
        porosity_systematic=columns[6],
        crack_share=columns[7],
        core_share=columns[8],
        cracked=flags[:, 0],
        hollow=flags[:, 1],
        cut=found.cut,
        solid=columns[9],
        void=empty,
        pore=pore,
    )


def section_population(table: SectionedParticles) -> SectionPopulation:
    """Mean and spread over the particles that are whole in the field.

    Raises
    ------
    MeasurementError
        If fewer than two are whole.
    """
    whole = ~table.cut & np.isfinite(table.porosity)
    members = population_of(table.porosity[whole], table.porosity_std[whole])
    systematic = float(np.mean(table.porosity_systematic[whole]))
    low, high = members.spread_interval
    shares = []
    for flag in (table.cracked[whole], table.hollow[whole]):
        # one success and one failure more, so that none of few is not taken for never
        share = (flag.sum() + 1) / (flag.size + 2)
        shares.append(Estimate(float(flag.mean()), sqrt(share * (1 - share) / (flag.size + 3))))
    return SectionPopulation(
        Estimate(members.mean, members.mean_std, systematic),
        Estimate(members.spread, 0.5 * (high - low)),
        members,
        shares[0],
        shares[1],
    )


@dataclass(frozen=True)
class _Row:
    numbers: tuple[float, ...]
    cracked: bool
    hollow: bool


def _quiet_level(lines: FloatArray | Float32Array) -> float:
    """Line strength that oxide without cracks does not reach: the lower half of its distribution tells its width."""
    if lines.size == 0:
        return float("inf")
    low, middle = np.percentile(lines, [16, 50])
    return float(middle + _LINE_SIGMA * (middle - low))


class _Marks(NamedTuple):
    """Grey levels of emptiness, of the outlines' threshold and of the surroundings; blur of the outlines, px."""

    empty: Estimate
    threshold: float
    around: float
    blur: float


def _blur_of_outlines(grey: Float32Array, found: ParticleMap, depth: Float32Array) -> float:
    """Standard deviation, px, of the smoothed image's blur, from the mean steepness of the outlines."""
    smooth = ndimage.gaussian_filter(grey, found.smoothing)
    outside = (found.labels == 0) & ndimage.binary_dilation(found.labels > 0) & found.field
    inside = (depth > 0) & (depth <= 1)
    if not outside.any():
        return found.smoothing
    steepness = float(smooth[inside].mean() - smooth[outside].mean())
    return float((found.levels.solid - found.levels.dark) / (sqrt(2 * pi) * max(steepness, 1e-12)))


def _left_out(below: float, solid: float, radius: float, marks: _Marks) -> float:
    """How far, px, the outline of a particle lies inside its surface, if the ring ``below`` has that porosity.

    A step from the surroundings to the mean grey of the ring, blurred, crosses the threshold there; and blur draws in
    an outline of ``radius`` (px) by blur^2 / (2 radius).
    """
    rim = solid - below * (solid - marks.empty.value)
    share = float(np.clip((marks.threshold - marks.around) / max(rim - marks.around, 1e-12), 0.05, 0.95))
    shift = marks.blur * ndtri(share) + marks.blur**2 / (2 * radius)
    return float(np.clip(shift, -_FARTHEST_RIM, _FARTHEST_RIM))


def _measured(view: View, level: FloatArray, marks: _Marks, edge: float, pore: NDArray[np.uint8]) -> _Row:
    """One particle; ``pore`` is filled in its place."""
    empty = marks.empty
    mine = view.labels == view.number
    inner = mine & (view.depth > RIM)
    area = float(mine.sum())
    row, column = (float(at.mean()) for at in np.nonzero(mine))
    perimeter = float(perimeter_crofton(np.pad(mine, 2), directions=4))  # type: ignore[no-untyped-call]
    solid, solid_std = level.tolist()
    contrast = solid - empty.value
    core = _core(view, mine, (row, column))
    cracks = _cracks(view, mine & ~core)
    missing = np.where(mine, (solid - view.grey) / contrast, 0.0)
    near = ndimage.binary_dilation(core, iterations=3) & mine
    core_share = float(missing[near & inner].sum()) / area if core.any() else 0.0
    rest = inner & ~near
    band = rest & (view.depth <= 3 * RIM)
    below = float(missing[band].mean()) if band.any() else 0.0
    fine = float(missing[rest].sum() + below * (mine & ~inner).sum()) / area
    # mouths of cracks that the outline leaves out, of a larger particle; half of them is uncertain
    more = perimeter * _left_out(below, solid, sqrt(area / pi), marks) / area
    fine, core_share = (fine + _RICHER * below * more) / (1 + more), core_share / (1 + more)
    added_rim = abs(_RICHER * below - core_share - fine) * abs(more) / 2
    share = core_share + fine
    halo = ndimage.binary_dilation(cracks, iterations=2) & rest
    in_cracks = float(missing[halo].sum()) / area
    outer = float((mine & ~inner).sum()) / area
    # the ring below the surface stands for the rim as well, so that its noise counts twice
    doubled = 2 * outer / area + outer**2 / max(float(band.sum()), 1.0)
    noise = difference_noise(view.grey) / contrast * sqrt(float(inner.sum()) / area**2 + doubled)
    rim = outer * _unevenness(missing, band, (row, column))
    std = sqrt(noise**2 + rim**2 + ((1 - share) * solid_std / contrast) ** 2)
    pore[mine & cracks], pore[mine & core] = 1, 2
    # what a wider closing adds at the surface: cracks that are open there, or hollows of the outline
    added = float(np.where(view.wider, (solid - view.grey) / contrast, 0.0).clip(0).sum()) / area
    systematic = sqrt((abs(share) * empty.total / contrast) ** 2 + added**2 + added_rim**2)
    cracked = bool(in_cracks > CRACK_SHARE and cracks.any())
    sizes = area * (1 + more) * edge**2, 4 * pi * area / perimeter**2, row, column
    numbers = *sizes, share, std, systematic, fine if cracked else in_cracks, core_share, solid
    return _Row(numbers, cracked, bool(core.any()))


def _unevenness(missing: FloatArray, band: BoolArray, centre: tuple[float, float]) -> float:
    """Error of the mean of what is missing in a ring, from eight parts of it: cracks are few and long."""
    rows, columns = np.nonzero(band)
    if rows.size < _SECTORS**2:
        return 0.0
    sector = ((np.arctan2(rows - centre[0], columns - centre[1]) / (2 * pi) + 0.5) * _SECTORS).astype(np.int64)
    n = np.bincount(sector % _SECTORS, minlength=_SECTORS)
    means = np.bincount(sector % _SECTORS, missing[rows, columns], _SECTORS)[n > 0] / n[n > 0]
    # that of the rim itself and that of the ring it is taken from
    return float(np.std(means)) * sqrt(2 / max(means.size - 1, 1))


def _core(view: View, mine: BoolArray, centre: tuple[float, float]) -> BoolArray:
    """The widest hollow, if it lies around the middle."""
    dark = view.dark & mine
    radius = sqrt(float(mine.sum()) / pi)
    room = np.asarray(edt.edt(np.pad(dark, 1), black_border=False))[1:-1, 1:-1]
    nothing: BoolArray = np.zeros(mine.shape, dtype=np.bool_)
    if room.max(initial=0.0) < max(_CORE_WIDTH * radius, 1.5):
        return nothing
    # opened, so that cracks that start from the hollow are cracks
    opened = np.asarray(edt.edt(~(room >= 0.5 * room.max()), black_border=False)) < 0.5 * room.max()
    parts, count = ndimage.label(opened & dark)
    best, most = nothing, 0.0
    for number in range(1, count + 1):
        part = parts == number
        middle = [float(at.mean()) for at in np.nonzero(part)]
        # a large hollow off the middle is one as well, if it holds the middle
        off = np.hypot(middle[0] - centre[0], middle[1] - centre[1]) - sqrt(float(part.sum()) / pi)
        if part.sum() > most and off < _CORE_PLACE * radius:
            best, most = np.asarray(part, dtype=np.bool_), float(part.sum())
    return best if most > _CORE_AREA * mine.sum() else nothing


def _cracks(view: View, mine: BoolArray) -> BoolArray:
    """Dark lines and other fine pores that are long enough and reach the inside."""
    seen = (view.line | (view.dark & (view.depth > RIM))) & mine
    parts, count = ndimage.label(seen, structure=np.ones((3, 3)))
    least = max(_SHORTEST * 2 * sqrt(float(mine.sum()) / pi), 4.0)
    # a notch of the outline that closing has taken in lies just below it
    deep = max(_DEEP * sqrt(float(mine.sum()) / pi), RIM)
    long = np.zeros(count + 1, dtype=np.bool_)
    for number, box in enumerate(ndimage.find_objects(parts), start=1):
        extent = np.hypot(*(part.stop - part.start for part in box))
        long[number] = extent >= least and view.depth[box][parts[box] == number].max() >= deep
    return np.asarray(long[parts], dtype=np.bool_)
