"""Openings, area and volume of cracks, also of those thinner than a voxel.

At every point of a medial sheet (`sheetness.find_sheets`) the missing grey value is integrated along the normal,
w = integral (I_s - I) dn / (I_s - I_v), with the levels I_s of solid and I_v of void. Blur spreads the deficit but does
not change its integral, so w does not depend on the resolution, as a threshold's does; the window need only hold it: it
reaches three standard deviations of the blur beyond both faces. It ends earlier at the brightest place before another
crack or a larger pore. Then the sum of w dA over a sheet is its volume, and each deficit is counted once.

At the rim of a crack blur lets w fall to zero over a few voxels. The opening that a point stands for is therefore the
mean W = sum(w^4) / sum(w^3) of the sheet around it, to which the rim adds little, and the area that it stands for is
dA w / W: the area of a crack is the one with which its opening makes its volume. With powers freed of the noise sigma,
w^3 - 3 w sigma^2 and w^4 - 6 w^2 sigma^2 + 3 sigma^4, W is not drawn to widths that are large by chance.

Where several sheets meet the ray along one normal misses part of the pore, so the volume of cracks is also summed voxel
by voxel over all that the windows sweep, each voxel once; both sums are stated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.estimate import Estimate
from cathoscope.volume import cracks_kernels as kernels
from cathoscope.volume.sheetness import FloatArray, Sheets

_STEP = 0.5  # voxels, between samples along the normal
_SPREAD = 1.0  # voxels, from the middle ray to those around
_TAILS = 3.0  # standard deviations of the blur that the window reaches beyond the faces
_OWN = 2.0  # voxels from the middle within which sheet voxels are the sheet itself
_RADIUS = 5.0  # voxels, over which the opening is a mean
_WIDEST = 8.0  # voxels
_AREA_BIAS = 0.04  # relative

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Shares of the area at which `CrackTotals.openings` are stated."""


class Levels(NamedTuple):
    """Grey values of solid and of void, and their standard uncertainties."""

    solid: float
    void: float
    solid_std: float = 0.0
    void_std: float = 0.0

    @property
    def contrast(self) -> float:
        """Solid less void."""
        return self.solid - self.void


@dataclass(frozen=True)
class CrackMap:
    """Width of the cracks at the points of their medial sheets.

    Attributes
    ----------
    sheets
        The points; some of those given may be missing, where no width can be told.
    width
        (n,), um: integral along the normal; noise can make it negative.
    std
        (n,), um: its standard uncertainty by noise. Neighbours within two voxels share much of their noise.
    systematic
        (n,), um: by the uncertainty of the levels, common to all points.
    opening
        (n,), um: mean opening of the sheet around the point, its rim left out.
    area
        (n,), um²: one side of the crack, for which the point stands; a rim's points stand for little.
    filled
        (n,), bool: the ray does not leave the pores, as where sheets meet; the width is the mean of the sheet around.
    window
        (n,), um: length over which the deficit was integrated.
    swept
        um³: deficit of all voxels within half a window of a point, each counted once.
    levels
        Grey values of solid and void.
    """

    sheets: Sheets
    width: FloatArray
    std: FloatArray
    systematic: FloatArray
    opening: FloatArray
    area: FloatArray
    filled: NDArray[np.bool_]
    window: FloatArray
    swept: Estimate
    levels: Levels


@dataclass(frozen=True)
class CrackTotals:
    """The cracks of a particle as a whole.

    Attributes
    ----------
    area
        um², one side of all medial sheets.
    volume
        um³, by voxels: `CrackMap.swept`. Its systematic part holds, beside that of the levels, half of what
        ``sheet_volume`` differs by.
    sheet_volume
        um³, sum of widths times areas of the sheets; low by a few per cent where many sheets meet.
    opening
        um, mean over the area: volume over area.
    density
        1/um, area over volume of the particle; None if that is not known.
    openings
        um, quantiles of the opening over the area, at `QUANTILES`.
    sheets, points
        How many connected sheets, and how many points on them.
    filled
        Share of the area whose width was taken from the sheet around.
    """

    area: Estimate
    volume: Estimate
    sheet_volume: Estimate
    opening: Estimate
    density: Estimate | None
    openings: FloatArray
    sheets: int
    points: int
    filled: float


def crack_widths(
    grey: NDArray[Any],
    sheets: Sheets,
    *,
    levels: Levels,
    blur: float = 1.0,
    barrier: NDArray[np.bool_] | None = None,
    widest: float = _WIDEST,
    thinnest: float = 0.0,
) -> CrackMap:
    """Width of every crack at the points of its medial sheet.

    Parameters
    ----------
    grey
        [z, y, x], the volume in which the sheets were found.
    sheets
        From `find_sheets`.
    levels
        Grey values of solid and void. The solid's is that of oxide without cracks: an error of 1 % of the contrast is
        an error of 0.08 voxel in a window of 8.
    blur
        Standard deviation of the point spread, in voxels (cube root of the voxel's volume).
    barrier
        Where rays must not go on (bool): voids, and all outside the particle. The sheets themselves are barriers
        always.
    widest
        Largest width that can be told, in voxels.
    thinnest
        Opening, in voxels, below which points are left out.

    Raises
    ------
    MeasurementError
        If shapes differ, solid is not brighter than void, or blur and widest width are impossible.
    """
    volume = np.ascontiguousarray(grey, dtype=np.float32)
    _require(volume, sheets, levels, barrier, (blur, widest))
    edges = np.asarray(sheets.voxel_size, dtype=np.float64)
    voxel = float(edges.prod()) ** (1 / 3)
    barred = sheets.mask if barrier is None else sheets.mask | barrier
    found = np.empty((len(sheets.points), 3))
    step, tail = _STEP * voxel, _TAILS * blur * voxel
    last = int(np.ceil((0.5 * widest * voxel + tail) / step))
    rays = (step, _SPREAD * voxel, kernels.HEXAGON, tail, last, _OWN / _STEP)
    points, normals = np.ascontiguousarray(sheets.points), np.ascontiguousarray(sheets.normals)
    kernels.widths((volume, barred), (edges, points, normals), (levels.solid, levels.contrast), rays, found)
    lengths = _noise_lengths(normals, edges, _SPREAD * voxel, step)
    width, window, good = found[:, 0].copy(), found[:, 1], found[:, 2] > 0.5
    std = sheets.noise / levels.contrast * np.sqrt(window * lengths)
    mean, opening = _around(sheets, np.where(good, width, 0.0), std, good)
    width[~good] = mean[~good]
    told = np.isfinite(width) & (opening >= thinnest * voxel)
    systematic = np.hypot(levels.solid_std * window, levels.void_std * width) / levels.contrast
    area = sheets.areas * width / opening
    kept = sheets.select(told)
    free = np.zeros(volume.shape, dtype=bool) if barrier is None else barrier
    swept = _swept(volume, free, kept, window[told] / 2, levels)
    return CrackMap(
        sheets=kept,
        width=width[told],
        std=std[told],
        systematic=systematic[told],
        opening=opening[told],
        area=area[told],
        filled=~good[told],
        window=window[told],
        swept=swept,
        levels=levels,
    )


def _noise_lengths(normals: FloatArray, edges: FloatArray, spread: float, step: float) -> FloatArray:
    """Length (um) over which noise along a bundle of rays is correlated, (n,); the same for normals nearly the same."""
    codes = np.rint(normals * 16).astype(np.int64) + 16
    kinds, which = np.unique((codes[:, 0] * 33 + codes[:, 1]) * 33 + codes[:, 2], return_inverse=True)
    rounded = np.stack([kinds // 1089, kinds // 33 % 33, kinds % 33], axis=1) / 16.0 - 1.0
    rounded /= np.linalg.norm(rounded, axis=1, keepdims=True)
    lengths = np.empty(len(kinds))
    kernels.noise_lengths(edges, rounded, spread, step, kernels.PAIRS, lengths)
    return np.asarray(lengths[which])


def _swept(
    volume: NDArray[np.float32], barrier: NDArray[np.bool_], sheets: Sheets, radii: FloatArray, levels: Levels
) -> Estimate:
    """Deficit (um³) of the voxels within ``radii`` of the points, and its uncertainty by noise and by the levels."""
    edges = np.asarray(sheets.voxel_size, dtype=np.float64)
    found = np.zeros(volume.shape, dtype=bool)
    kernels.sweep(barrier, edges, np.ascontiguousarray(sheets.points), radii, found)
    count, voxel = int(found.sum()), float(edges.prod())
    value = voxel * (count * levels.solid - float(volume[found].sum(dtype=np.float64))) / levels.contrast
    std = voxel * sheets.noise * np.sqrt(count) / levels.contrast
    systematic = np.hypot(levels.solid_std * voxel * count, levels.void_std * value) / levels.contrast
    return Estimate(value, float(std), float(systematic))


def _around(sheets: Sheets, width: FloatArray, std: FloatArray, good: NDArray[np.bool_]) -> tuple[FloatArray, ...]:
    """Mean and contraharmonic mean of the width over the sheet around each point; NaN where neither can be told."""
    edges = np.asarray(sheets.voxel_size, dtype=np.float64)
    voxels = sheets.voxels
    head, after = np.empty(sheets.shape, dtype=np.int32), np.empty(len(voxels), dtype=np.int32)
    kernels.link(voxels, head, after)
    weight = sheets.areas * good
    third = width**3 - 3 * width * std**2
    fourth = width**4 - 6 * width**2 * std**2 + 3 * std**4
    values = np.stack([weight, weight * width, weight * third, weight * fourth], axis=1)
    sums = np.empty_like(values)
    points, normals = np.ascontiguousarray(sheets.points), np.ascontiguousarray(sheets.normals)
    radius = _RADIUS * float(edges.prod()) ** (1 / 3)
    kernels.around((edges, points, normals), (head, after), values, radius, sums)
    known = (sums[:, 1:] > 0).all(axis=1)
    nothing = np.full(len(points), np.nan)
    mean = np.divide(sums[:, 1], sums[:, 0], out=nothing.copy(), where=known)
    return mean, np.divide(sums[:, 3], sums[:, 2], out=nothing, where=known)


def crack_totals(cracks: CrackMap, *, particle_volume: Estimate | None = None) -> CrackTotals:
    """Area, volume, mean opening, density and distribution of openings of all cracks together.

    The area's statistical part holds that neighbours share the noise of rays; its systematic part is 4 %, by which
    areas of small cracks differ from the truth, and half of what would be lost if the limit of detection were a quarter
    higher.

    Parameters
    ----------
    cracks
        From `crack_widths`.
    particle_volume
        um³, for the density.
    """
    sheets = cracks.sheets
    if not len(sheets.points):
        nothing = Estimate(0.0)
        density = None if particle_volume is None else nothing
        return CrackTotals(nothing, nothing, nothing, nothing, density, np.full(5, np.nan), 0, 0, 0.0)
    total, by_sheets = _area(cracks), _volume(cracks)
    area = max(total.value, 1e-300)
    apart = 0.5 * abs(cracks.swept.value - by_sheets.value)
    volume = cracks.swept._replace(systematic=float(np.hypot(cracks.swept.systematic, apart)))
    order = np.argsort(cracks.opening)
    reached = np.cumsum(cracks.area[order]) / area
    return CrackTotals(
        total,
        volume,
        by_sheets,
        _ratio(volume, total),
        None if particle_volume is None else _ratio(total, particle_volume),
        np.interp(QUANTILES, reached, cracks.opening[order]),
        int(sheets.label.max()) + 1,
        len(sheets.points),
        float(cracks.area[cracks.filled].sum()) / area,
    )


def _area(cracks: CrackMap) -> Estimate:
    """One side of all sheets, um²."""
    sheets = cracks.sheets
    value = float(cracks.area.sum())
    voxel = float(np.prod(sheets.voxel_size)) ** (1 / 3)
    # one independent width per hexagon of rays
    shared = np.pi * (_SPREAD * voxel) ** 2
    std = np.sqrt(shared * np.sum(sheets.areas * (cracks.std / cracks.opening) ** 2))
    weak = sheets.strength < 1.25 * sheets.strength.min()
    return Estimate(value, float(std), float(np.hypot(_AREA_BIAS * value, 0.5 * cracks.area[weak].sum())))


def _volume(cracks: CrackMap) -> Estimate:
    """Sum of width times area of the sheets, um³."""
    sheets, levels = cracks.sheets, cracks.levels
    swept = float(np.sum(sheets.areas * cracks.window))
    value = float(np.sum(sheets.areas * cracks.width))
    std = sheets.noise / levels.contrast * np.sqrt(float(np.prod(sheets.voxel_size)) * swept)
    systematic = np.hypot(levels.solid_std * swept, levels.void_std * value) / levels.contrast
    return Estimate(value, float(std), float(systematic))


def _ratio(numerator: Estimate, denominator: Estimate) -> Estimate:
    """A quotient and its uncertainties, for independent errors."""
    value = numerator.value / denominator.value
    std = np.hypot(numerator.std, value * denominator.std) / denominator.value
    systematic = np.hypot(numerator.systematic, value * denominator.systematic) / denominator.value
    return Estimate(value, float(std), float(systematic))


def _require(
    volume: NDArray[np.float32],
    sheets: Sheets,
    levels: Levels,
    barrier: NDArray[np.bool_] | None,
    lengths: tuple[float, float],
) -> None:
    """Refuse what does not belong together."""
    if volume.shape != sheets.shape or (barrier is not None and barrier.shape != sheets.shape):
        raise MeasurementError(
            "the sheets belong to another volume",
            expected=f"grey values and barrier of shape {sheets.shape}",
            found=f"{volume.shape}" + ("" if barrier is None else f" and {barrier.shape}"),
            cure="find_sheets(grey, ...) of this volume",
        )
    if not (levels.contrast > 0 and np.isfinite(levels.contrast)):
        raise MeasurementError(
            "solid must be brighter than void",
            expected="levels.solid > levels.void",
            found=f"solid {levels.solid:g}, void {levels.void:g}",
            cure="invert the volume: -grey",
        )
    if not (0 < lengths[0] <= 20 and 0 < lengths[1] <= 200):
        raise MeasurementError(
            "blur or widest width are out of range",
            expected="blur up to 20 and widest up to 200 voxels, both positive",
            found=f"blur {lengths[0]:g}, widest {lengths[1]:g}",
            cure="blur=1.0, widest=8.0",
        )
