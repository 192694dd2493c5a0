"""Size, aspect and direction of the grains of a section, and how they are arranged in the particle.

A section shows an aspect that is not the grain's own. A spheroid of aspect q whose axis makes the angle b with the
normal of the plane shows q / sqrt(q² cos² b + sin² b), between 1 and q. Cut at random (a long grain is hit more often
when it stands up) spheroids show q / h on average, h = (q + asinh(w) / w) / 2, w = sqrt(q² - 1): never more than 2,
however long they are. Only rods that lie in the plane, as radial ones do in a section through the particle's centre,
show their own aspect.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import asinh, cos, pi, sin, sqrt
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.estimate import Estimate
from cathoscope.volume.grains import GrainMap
from cathoscope.volume.section_image import BoolArray, FloatArray, LabelArray, checked_pixel

Arrangement = Literal["gravel", "undecided", "rod"]

_FEWEST_PIXELS = 30
_FEWEST_GRAINS = 5
_DRAWS = 400
_ROD_ALIGNMENT, _GRAVEL_ALIGNMENT, _ROD_ASPECT = 0.5, 0.35, 2.0


@dataclass(frozen=True)
class GrainTable:
    """One row per grain, of those of 30 pixels or more; lengths um.

    Attributes
    ----------
    number
        Label.
    area
        um².
    aspect
        Long over short axis of the ellipse of the same second moments.
    direction
        Of the long axis, from the column's direction (x) towards that of the rows (y), rad, 0 to pi.
    angle
        Between the long axis and the radius through the grain's centre, rad, 0 to pi / 2.
    y, x
        Centre, from the first pixel's centre.
    on_rim
        Whether the outer surface bounds the grain, which may have been rounded or broken there.
    """

    number: NDArray[np.int64]
    area: FloatArray
    aspect: FloatArray
    direction: FloatArray
    angle: FloatArray
    y: FloatArray
    x: FloatArray
    on_rim: BoolArray


@dataclass(frozen=True)
class GrainArrangement:
    """How grains lie in a section.

    Attributes
    ----------
    alignment
        Mean of cos 2 angle, weighted by area: 1 along the radius, 0 random, -1 along the surface.
    aspect
        Mean aspect in the section, weighted by area.
    diameter
        Mean diameter of the disk of a grain's area, um, each grain counted once.
    kind
        "rod", "gravel" or "undecided", see `arrangement_of`.
    table
        The grains.
    """

    alignment: Estimate
    aspect: Estimate
    diameter: Estimate
    kind: Arrangement
    table: GrainTable


def grain_table(labels: LabelArray, particle: BoolArray, *, centre: tuple[float, float], pixel: float) -> GrainTable:
    """Shape and direction of every grain of 30 pixels or more; ``centre`` is the particle's (row, column), px."""
    edge = checked_pixel(pixel)
    count = np.bincount(labels.ravel())
    number = np.flatnonzero(count >= _FEWEST_PIXELS)
    number = number[number > 0]
    rows, columns = np.nonzero(labels)
    mine = labels[rows, columns]
    n = np.maximum(count, 1).astype(np.float64)
    row, column = (np.bincount(mine, at, count.size) / n for at in (rows, columns))
    down, across = rows - row[mine], columns - column[mine]
    # a pixel is a square, not a point: 1/12 on the diagonal
    yy, xx = (np.bincount(mine, part, count.size) / n + 1 / 12 for part in (down**2, across**2))
    xy = np.bincount(mine, down * across, count.size) / n
    root = np.sqrt((yy - xx) ** 2 + 4 * xy**2)
    long, short = 0.5 * (yy + xx + root), np.maximum(0.5 * (yy + xx - root), 1 / 12)
    direction = 0.5 * np.arctan2(2 * xy, xx - yy) % pi
    radius = np.arctan2(row - centre[0], column - centre[1])
    between = np.abs((direction - radius + pi / 2) % pi - pi / 2)
    surface = ndimage.binary_dilation(~np.pad(particle, 1), iterations=3)[1:-1, 1:-1]
    rim = np.bincount(mine, surface[rows, columns], count.size) > 0
    return GrainTable(
        number,
        np.asarray(count[number] * edge**2, dtype=np.float64),
        np.asarray(np.sqrt(long / short)[number], dtype=np.float64),
        direction[number],
        between[number],
        row[number] * edge,
        column[number] * edge,
        rim[number],
    )


def arrange_grains(found: GrainMap, *, pixel: float, seed: int = 0) -> GrainArrangement:
    """Alignment, aspect and size with their uncertainties.

    The statistical part is the scatter of a bootstrap over the grains: what another section of the same kind would
    give. The systematic part is half the difference between the maps with fainter and with stronger boundaries only.

    Raises
    ------
    MeasurementError
        If there are fewer than 5 grains.
    """
    tables = [
        grain_table(labels, found.particle, centre=found.centre, pixel=pixel)
        for labels in (found.labels, found.lower, found.upper)
    ]
    table = tables[0]
    if table.number.size < _FEWEST_GRAINS:
        raise MeasurementError(
            "too few grains",
            expected=f"{_FEWEST_GRAINS} or more of {_FEWEST_PIXELS} pixels",
            found=str(table.number.size),
            cure="use a larger magnification, or give the width of the grooves: groove_width",
        )
    rng = np.random.default_rng(seed)
    drawn = rng.integers(table.number.size, size=(_DRAWS, table.number.size))
    estimates = []
    for column in range(3):
        value, low, high = (_means(one)[column] for one in tables)
        scatter = float(np.std([_means(table, chosen)[column] for chosen in drawn]))
        estimates.append(Estimate(value, scatter, 0.5 * abs(high - low)))
    alignment, aspect, diameter = estimates
    return GrainArrangement(alignment, aspect, diameter, arrangement_of(alignment, aspect), table)


def _means(table: GrainTable, chosen: NDArray[np.int64] | None = None) -> tuple[float, float, float]:
    """Alignment, aspect, and diameter of some grains."""
    pick = np.arange(table.number.size) if chosen is None else chosen
    area = table.area[pick]
    alignment = float(np.average(np.cos(2 * table.angle[pick]), weights=area))
    aspect = float(np.average(table.aspect[pick], weights=area))
    return alignment, aspect, float(np.sqrt(4 * area / pi).mean())


def arrangement_of(alignment: Estimate, aspect: Estimate) -> Arrangement:
    """Rod or gravel, if the numbers say so by two standard uncertainties.

    Rods lie along the radius (alignment above 0.5) and are long (aspect above 2); gravel does not (alignment below
    0.35): sections of cells without any long direction have an aspect of about 1.55 and an alignment of 0.
    """
    if alignment.value - 2 * alignment.total > _ROD_ALIGNMENT and aspect.value - 2 * aspect.total > _ROD_ASPECT:
        return "rod"
    if alignment.value + 2 * alignment.total < _GRAVEL_ALIGNMENT:
        return "gravel"
    return "undecided"


def section_aspect(aspect: float, *, tilt: float) -> float:
    """Aspect that a plane shows of a spheroid of ``aspect``, whose axis makes the angle ``tilt`` (rad) with its normal.

    All parallel sections of a spheroid are similar: where it is cut does not matter.
    """
    return aspect / sqrt((aspect * cos(tilt)) ** 2 + sin(tilt) ** 2)


def mean_section_aspect(aspect: float) -> float:
    """Mean aspect that random planes show of a long spheroid of ``aspect`` (1 or more): never above 2."""
    if aspect < 1:
        raise MeasurementError("only long spheroids are meant", expected="an aspect of 1 or more", found=f"{aspect:g}")
    reach = sqrt(aspect**2 - 1)
    height = 0.5 * (aspect + (asinh(reach) / reach if reach > 1e-6 else 1.0))
    return aspect / height
