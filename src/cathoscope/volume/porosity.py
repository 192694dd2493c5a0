"""Porosity from grey levels: cracks narrower than a voxel count with the volume that they have.

The share of solid in a voxel is f = (I - I_v) / (I_s - I_v); blur moves it between voxels and keeps its sum. The
porosity of a region is 1 - sum(f) / sum(e), e being the share of a voxel within the outer surface, blurred as the
volume is: so what the blur and partial volume of the outer surface take away is no porosity. I_s is that of crack-free
solid along the radius (`solid_level`), the surface is that of `envelope`. The porosity by a threshold, with its band,
stands beside.

Limits: blur symmetric and of at most two voxels (standard deviation); grey values linear in the share of solid; solid
that is five voxels or more from cracks on all sides, somewhere. Where no radius has any, a change of composition cannot
be told from a web of fine cracks: the level is continued from the nearest radius that has some.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.estimate import Estimate
from cathoscope.volume.envelope import Envelope, Surface, fit_envelope, halved
from cathoscope.volume.particle import signed_depth
from cathoscope.volume.porosity_kernels import count_above, joined_shares, mean_level, region_sums, scale_both
from cathoscope.volume.radii import radius_unit, relative_radius, whole_numbers
from cathoscope.volume.segment import GreyLevels, grey_levels, require_volume
from cathoscope.volume.solid_level import (
    OUT,
    SPLIT,
    SolidLevel,
    SplitGrey,
    classes_of,
    crack_free_uniform,
    interior_of,
    noise_covariance,
    of_unknown_composition,
    solid_level,
    split_grey,
)

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
VoxelSize = tuple[float, float, float]

_RIM = 4.0  # voxels below the surface that its blur darkens
_REACH = 4.5  # voxels above the surface over which it spreads oxide
_OUTSIDE = 6.0  # voxels from the mask beyond which there is nothing but void
_VOID = 1000  # voxels of void from which its level is taken, at least
_WIDEST_BLUR = 2.0  # voxels


@dataclass(frozen=True)
class SolidShare:
    """Share of solid of every voxel of a particle, and of its envelope.

    Attributes
    ----------
    solid
        f, [z, y, x]; with the volume's noise, so also below 0 and above 1. 0 far outside.
    surface
        The outer surface, from which ``envelope`` and ``depth`` come.
    radius
        Relative, as `radii.whole_numbers`: 0 at the centre of volume, 1 at the surface, [z, y, x].
    within
        Voxels that hold anything of the particle, blur included, [z, y, x].
    solid_level, void_level
        Grey values of solid along the radius, and of void.
    blur
        Standard deviation, um.
    surface_error
        Mean outward error of the surface, um: value 0.
    noise
        Standard deviation of a sum of ``solid`` over n voxels, by noise, over the square root of n.
    above
        How many of the lower limit of the threshold, the threshold and its upper limit the volume exceeds, [z, y, x].
    voxel_size
        um, (z, y, x).
    """

    solid: Float32Array
    surface: Surface
    radius: NDArray[np.uint16]
    within: BoolArray
    solid_level: SolidLevel
    void_level: Estimate
    blur: float
    surface_error: Estimate
    noise: float
    above: NDArray[np.uint8]
    voxel_size: VoxelSize

    @cached_property
    def envelope(self) -> Float32Array:
        """e, [z, y, x], 0 to 1; kept from when it is asked for until this record goes."""
        return self.surface.share()

    @cached_property
    def depth(self) -> Float32Array:
        """Signed distance from the outer surface, um, positive inside, [z, y, x]; kept as ``envelope`` is."""
        depth = self.surface.depth()
        depth *= np.float32(float(np.prod(self.voxel_size)) ** (1 / 3))
        return depth


class Porosity(NamedTuple):
    """Pore over envelope of a region.

    ``grey`` is the porosity from grey levels; ``threshold`` that from a threshold, whose systematic part is half of its
    band, which reaches from ``threshold_low`` to ``threshold_high``. ``envelope_volume`` and ``pore_volume`` are um³.
    """

    grey: Estimate
    threshold: Estimate
    threshold_low: float
    threshold_high: float
    envelope_volume: Estimate
    pore_volume: Estimate


def solid_share(
    volume: Float32Array,
    particle: BoolArray,
    *,
    voxel_size: VoxelSize,
    levels: GreyLevels | None = None,
    reference: SolidLevel | Literal["unknown"] | None = None,
    seed: int = 0,
    overwrite: bool = False,
) -> SolidShare:
    """Share of solid and of envelope in every voxel of one particle.

    Parameters
    ----------
    volume
        Grey values [z, y, x], solid bright.
    particle
        Outer mask, see `particle.outer_mask`. A particle that fills the field has no surface in it: a region.
    levels
        Of the volume; None: found in it. Needed for a volume that is solid nearly everywhere.
    reference
        Level of crack-free solid from elsewhere; None: found in the particle, and at radii where cracks leave none of
        it free that of solid beside; "unknown": found, and it may be another there.
    seed
        Of the random numbers that split the noise.
    overwrite
        Whether the share of solid may be written over the volume, which saves its memory.

    Raises
    ------
    MeasurementError
        If no crack-free solid is left, the mask does not fit, or the blur is wider than two voxels.
    """
    require_volume(volume, voxel_size)
    _require_particle(volume, particle)
    volume = np.ascontiguousarray(volume, dtype=np.float32)
    levels = grey_levels(volume) if levels is None else levels
    unit = float(np.prod(voxel_size)) ** (1 / 3)
    depth = signed_depth(particle, voxel_size)
    radii = relative_radius(depth, particle, voxel_size)
    place, radius, start = classes_of(radii, depth > _RIM * unit), whole_numbers(radii), halved(depth)
    del radii
    void = _void_level(volume, depth < -_OUTSIDE * unit, levels)
    del depth
    covariance = _noise(volume, place, radius, levels.solid, voxel_size)
    above = np.empty(volume.shape, dtype=np.uint8)
    count_above(volume, (levels.low, levels.threshold, levels.high), above)
    split = split_grey(volume, covariance, voxel_size=voxel_size, seed=seed, overwrite=overwrite)
    del volume
    white = float(np.sqrt(covariance[3, 3, 3]))
    if isinstance(reference, SolidLevel):
        level = reference
    else:
        level = solid_level(split, place, radius, levels.solid, white, levels.threshold)
        level = of_unknown_composition(level) if reference and level.supported != (0.0, 1.0) else level
    law = (level.radius / radius_unit(radius), level.level, void.value)
    contrast = mean_level(radius, place < OUT, law[:2]) - void.value
    del place
    scale_both(split.select, split.average, radius, law)
    envelope = _envelope(split, start, particle, voxel_size)
    within = envelope.surface.depth() > -_REACH
    joined_shares(split.select, split.average, SPLIT, within, split.select)
    noise = float(np.sqrt(max(covariance.sum(), 0.0)) / contrast)
    return SolidShare(
        split.select,
        envelope.surface,
        radius,
        within,
        level,
        void,
        envelope.surface.blur * unit,
        Estimate(0.0, envelope.std * unit, envelope.systematic * unit),
        noise,
        above,
        voxel_size,
    )


def evened(
    volume: Float32Array,
    particle: BoolArray,
    composition: Sequence[tuple[float, float]],
    *,
    void: float,
    voxel_size: VoxelSize,
) -> Float32Array:
    """The volume as it were of a particle of one composition, [z, y, x].

    ``composition`` holds relative radii (0 centre, 1 surface) and relative grey levels of crack-free solid over
    ``void`` there, linear between them: what is known of the particle from elsewhere, such as a profile by electrons.
    """
    radii, levels = np.array(sorted(composition), dtype=np.float64).T
    if np.ptp(levels) == 0:
        return volume
    radius = relative_radius(signed_depth(particle, voxel_size), particle, voxel_size)
    factor = np.interp(radius, radii, levels / levels[-1]).astype(np.float32)
    return np.asarray(np.float32(void) + (volume - np.float32(void)) / factor, dtype=np.float32)


def _require_particle(volume: Float32Array, particle: BoolArray) -> None:
    """Refuse masks of another shape, or empty ones."""
    if particle.shape != volume.shape or particle.dtype != np.bool_ or not particle.any():
        raise MeasurementError(
            "the mask of the particle does not fit the volume",
            expected=f"bool of shape {volume.shape}, True somewhere",
            found=f"{particle.dtype} of shape {particle.shape}, {np.count_nonzero(particle)} voxels True",
            cure="particle = outer_mask(volume > grey_levels(volume).threshold, voxel_size=...).particle",
        )


def _void_level(volume: Float32Array, outside: BoolArray, levels: GreyLevels) -> Estimate:
    """Mean grey value far outside the particle, with the scatter of octants of the field as its uncertainty."""
    if np.count_nonzero(outside) < _VOID:
        return Estimate(levels.void, levels.void_spread / np.sqrt(_VOID))
    values = volume[outside & (volume < levels.threshold)]
    parts = np.array_split(values, 16)
    means = [float(part.mean(dtype=np.float64)) for part in parts]
    return Estimate(float(values.mean(dtype=np.float64)), float(np.std(means, ddof=1) / np.sqrt(len(means))))


def _noise(
    volume: Float32Array, place: NDArray[np.uint8], radius: NDArray[np.uint16], start: float, voxel_size: VoxelSize
) -> Float64Array:
    """Autocovariance of the noise in crack-free solid."""
    calm = crack_free_uniform(interior_of(volume, place, radius, voxel_size=voxel_size), start, 2.0)
    if np.count_nonzero(calm) < 200:
        raise MeasurementError(
            "no solid far from cracks is left to measure the noise and the solid's grey level in",
            expected="200 voxels of crack-free solid or more, 4 voxels below the surface",
            found=f"{np.count_nonzero(calm)}",
            cure="a finer voxel; or check that the mask and the volume belong together",
        )
    return noise_covariance(volume, calm, float(volume[calm].mean(dtype=np.float64)))


def _envelope(scaled: SplitGrey, start: Float32Array, particle: BoolArray, voxel_size: VoxelSize) -> Envelope:
    """The outer surface, or none where the particle fills the field."""
    if particle.all():
        unit = float(np.prod(voxel_size)) ** (1 / 3)
        shape = particle.shape[0], particle.shape[1], particle.shape[2]
        return Envelope(Surface(np.full_like(start, 100), 1.0, np.asarray(voxel_size) / unit, shape), 1.0, 0.0, 0.0)
    found = fit_envelope(scaled.select, scaled.average, start, voxel_size)
    if found.surface.blur > _WIDEST_BLUR:
        raise MeasurementError(
            "the blur is too wide for the voxels",
            expected=f"a standard deviation of at most {_WIDEST_BLUR:g} voxels at the outer surface",
            found=f"{found.surface.blur:.2g} voxels",
            cure="bin the volume by two along each axis",
        )
    return found


def porosity(share: SolidShare, region: BoolArray | None = None) -> Porosity:
    """Porosity of a particle, or of its part within ``region`` [z, y, x].

    Raises
    ------
    MeasurementError
        If the region holds nothing of the particle.
    """
    inside = share.within if region is None else share.within & region
    return _porosity(share, _sums(share, inside, np.array([-np.inf, np.inf]))[0])


def porosity_against_radius(share: SolidShare, edges: Float64Array) -> list[Porosity]:
    """Porosity of shells between ``edges`` of the relative radius, 0 to 1; the outermost holds the blurred surface."""
    ends = np.array(edges, dtype=np.float64)
    ends[-1] = np.inf
    return [_porosity(share, sums) for sums in _sums(share, share.within, ends)]


class _Sums(NamedTuple):
    """Sums over the voxels of a region.

    ``voxels`` is their number, and ``deep`` of those below the surface; ``envelope`` and ``solid`` sum(e) and sum(f);
    ``surface`` the area in voxels; ``missing`` sum((1 - f) / contrast); ``above`` the deep voxels above the three
    thresholds; ``hats`` sum(f / contrast) by the knots of the solid's level.
    """

    voxels: float
    envelope: float
    solid: float
    surface: float
    missing: float
    deep: float
    above: Float64Array
    hats: Float64Array


def _sums(share: SolidShare, inside: BoolArray, edges: Float64Array) -> list[_Sums]:
    """What is summed ``inside``, by shells between ``edges`` of the relative radius."""
    level, unit = share.solid_level, radius_unit(share.radius)
    found = np.zeros((edges.size - 1, 9 + level.radius.size))
    fields = (share.solid, share.envelope, share.depth, share.radius)
    law = (level.radius / unit, level.level - share.void_level.value, share.blur)
    region_sums(fields, share.above, inside, np.round(edges / unit, 6), law, found)
    found[:, 3] /= share.blur / float(np.prod(share.voxel_size)) ** (1 / 3) * np.sqrt(2 * np.pi)
    return [_Sums._make((*row[:6].tolist(), row[6:9], row[9:])) for row in found]


def _porosity(share: SolidShare, sums: _Sums) -> Porosity:
    """Porosity from the sums over a region."""
    if not sums.envelope > 0.5:
        raise MeasurementError(
            "the region holds nothing of the particle",
            expected="a region that overlaps the outer mask",
            found=f"{sums.voxels:.0f} voxels",
            cure="box_region(...) or ball_region(...) of volume/regions.py",
        )
    filled = sums.solid / sums.envelope
    std, systematic = _uncertainty(share, sums)
    voxel = float(np.prod(share.voxel_size))
    surface = _surface_error(share, sums)
    volume = Estimate(voxel * sums.envelope, voxel * surface[0], voxel * surface[1])
    pore = Estimate((1 - filled) * volume.value, std * volume.value, systematic * volume.value)
    middle, *ends = (float(1 - number / max(sums.deep, 1)) for number in sums.above)
    low, high = sorted(ends)
    grey, threshold = Estimate(1 - filled, std, systematic), Estimate(middle, 0.0, (high - low) / 2)
    return Porosity(grey, threshold, low, high, volume, pore)


def _surface_error(share: SolidShare, sums: _Sums) -> tuple[float, float]:
    """Statistical and systematic uncertainty of the sum of the envelope's shares: area times that of the surface."""
    unit = float(np.prod(share.voxel_size)) ** (1 / 3)
    error = share.surface_error
    return sums.surface * error.std / unit, sums.surface * error.systematic / unit


def _uncertainty(share: SolidShare, sums: _Sums) -> tuple[float, float]:
    """Statistical and systematic uncertainty of 1 - sum(f) / sum(e).

    d(phi) = sum(f d(I_s) / (I_s - I_v)) / sum(e), and with the surface (1 - phi) d(sum(e)) / sum(e); the void's level
    enters with sum(1 - f), which is the pores and the field around the particle.
    """
    slope = sums.hats / sums.envelope
    level = float(slope @ share.solid_level.covariance @ slope)
    surface_std, surface_systematic = _surface_error(share, sums)
    filled = sums.solid / sums.envelope
    void = sums.missing / sums.envelope * share.void_level.std
    noise = share.noise * np.sqrt(sums.voxels) / sums.envelope
    std = np.sqrt(level + (filled * surface_std / sums.envelope) ** 2 + void**2 + noise**2)
    dark = slope.sum() * share.solid_level.systematic
    unknown = 0.0 if share.solid_level.unknown is None else float(np.linalg.norm(slope * share.solid_level.unknown))
    systematic = np.sqrt(dark**2 + unknown**2 + (filled * surface_systematic / sums.envelope) ** 2)
    return float(std), float(systematic)
