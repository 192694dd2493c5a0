"""One particle from its grey volume to all its numbers, in the order in which they need each other.

Porosity and crack widths come from grey values, so cracks thinner than a voxel count. What needs a set of voxels
(connection, paths, surfaces, kinds of pore) takes the voxels that are less than half solid: thinner cracks are not in
it, and the curve over the threshold shows how much that matters.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.estimate import Estimate
from cathoscope.volume.change import core_volume
from cathoscope.volume.connection import (
    ConnectionCurve,
    WettedSurface,
    connection_curve,
    open_to_outside,
    wetted_surface,
)
from cathoscope.volume.cracks import CrackMap, CrackTotals, Levels, crack_totals, crack_widths
from cathoscope.volume.domains import crack_bounded_domains
from cathoscope.volume.geodesic import PathStatistics, path_length, path_statistics, straight_distance
from cathoscope.volume.minkowski import Functionals, functionals
from cathoscope.volume.particle import OuterMask, faces_touched, outer_mask
from cathoscope.volume.pores import CORE, VOID, PoreSplit, split_pores
from cathoscope.volume.porosity import Porosity, SolidShare, evened, porosity, porosity_against_radius, solid_share
from cathoscope.volume.radii import radius_unit, relative
from cathoscope.volume.reach import within_reach
from cathoscope.volume.segment import grey_levels
from cathoscope.volume.sheetness import find_sheets
from cathoscope.volume.solid_level import STEP
from cathoscope.volume.thickness import Thickness, local_thickness, thickness_statistics

Float32Array = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
VoxelSize = tuple[float, float, float]

_CRACK_WIDTH = 4.0  # voxels: what counts as a crack where nothing is stated
SHELLS = np.linspace(0.0, 1.0, 11)
"""Ends of the shells, of the relative radius."""
THRESHOLDS = np.linspace(0.3, 0.7, 17)
"""Shares of solid over which the connection is told."""
NUMBERS = (
    "porosity",
    "threshold_porosity",
    "envelope_volume",
    "solid_surface",
    "wetted_surface",
    "crack_volume",
    "void_volume",
    "core_volume",
    "crack_area",
    "crack_density",
    "mean_opening",
    "pore_thickness",
    "mean_path",
    "longest_path",
)
"""Numbers with uncertainties, by the names of `cathoscope.core.schema`."""
PLAIN_NUMBERS = (
    "closing_radius",
    "solid_noise",
    "pore_evenness",
    "path_tortuosity",
    "open_pore_share",
    "cut_off_share",
    "euler_number",
    "domain_count",
    "isolated_domains",
)
"""Numbers without."""
_LEAST_BLUR = 0.3  # voxels
# Solid that varies beyond noise is remarked where it surely does, and the least that webs would darken it by is not
# small against the uncertainty stated, or against twice its statistical part.
_SURE, _MATTERS = 3.0, 0.75  # standard deviations; of the uncertainty of porosity
_EVERY = 16  # voxels of the interior by which its mean contrast is told
_THINNEST = 0.2  # voxels: below it widths are not known to be unbiased, and artefacts of a reconstruction look alike


UNKNOWN: Literal["unknown"] = "unknown"
Composition = tuple[tuple[float, float], ...] | Literal["unknown"]


@dataclass(frozen=True)
class Choices:
    """What a person may state of a particle: closing radius and crack width in um, None for what suits the data.

    ``composition`` is what is known of grey levels along the radius, see `porosity.evened`; None: where cracks leave no
    solid free it is taken to be like that beside, and a remark says so; `UNKNOWN`: it may be another there.
    """

    closing_radius: float | None = None
    crack_width: float | None = None
    composition: Composition | None = None


@dataclass(frozen=True)
class Morphology:
    """All of one particle; parts that it lacks are None, and ``remarks`` say why.

    Attributes
    ----------
    outer, solid_fraction
        Outer mask; share of solid of every voxel, with the volume's noise, [z, y, x].
    supported
        Relative radii between which there is solid free of cracks to take its level from.
    noise
        Standard deviation of a voxel's noise over the contrast between solid and void.
    porosity, shells
        Of the whole, and in shells of equal relative radius.
    pore
        Voxels within the outer mask that are less than half solid, [z, y, x].
    split, core, cracks, totals
        Kinds of pore; volume of the hollow core by grey values; widths of cracks and what they sum to.
    curve, wetted
        Connection to the outside over the threshold (share of solid); surface that a liquid reaches.
    solid, pore_thickness
        Functionals of the solid (a face of the field that cuts it is no surface); local thickness of cracks and voids.
    path, paths
        Way (um) through the solid to the nearest reached surface, [z, y, x], and its statistics.
    domain_count, isolated_domains
        Crack-bounded domains, and those of them without contact.
    """

    outer: OuterMask
    solid_fraction: Float32Array
    supported: tuple[float, float]
    noise: float
    porosity: Porosity
    shells: list[Porosity]
    pore: BoolArray
    split: PoreSplit | None
    core: Estimate | None
    cracks: CrackMap | None
    totals: CrackTotals | None
    curve: ConnectionCurve
    wetted: WettedSurface | None
    solid: Functionals
    pore_thickness: Thickness | None
    path: Float32Array
    paths: PathStatistics
    domain_count: int
    isolated_domains: int
    remarks: tuple[str, ...]


def quantify(
    volume: Float32Array, *, voxel_size: VoxelSize, choices: Choices | None = None, overwrite: bool = False
) -> Morphology:
    """Everything of the particle in a volume.

    Parameters
    ----------
    volume
        Grey values [z, y, x], solid bright. Of several particles the largest counts.
    voxel_size
        um, (z, y, x).
    choices
        What is stated.
    overwrite
        Whether results may be written over the volume, which saves its memory.

    Raises
    ------
    MeasurementError
        If the volume holds no particle, or no solid by which grey values could be told.
    """
    choices = choices or Choices()
    levels = grey_levels(volume)
    outer = outer_mask(volume > levels.threshold, voxel_size=voxel_size, closing_radius=choices.closing_radius)
    particle, known = outer.particle, choices.composition
    if known is not None and known != UNKNOWN:
        even = evened(volume, particle, known, void=levels.void, voxel_size=voxel_size)
        volume, overwrite = even, overwrite or even is not volume
        del even
        levels = grey_levels(volume)
    unknown = UNKNOWN if known == UNKNOWN else None
    share = solid_share(volume, particle, voxel_size=voxel_size, levels=levels, reference=unknown, overwrite=overwrite)
    del volume
    whole, shells = porosity(share), porosity_against_radius(share, SHELLS)
    remarks = [*_cut(particle), *_webs_unseen(share, whole), *_continued(share, whole, known)]
    filled = _filled(share)
    share = replace(share)  # it forgets its maps of the surface
    pore, curve = particle & (filled < 0.5), connection_curve(filled, particle, THRESHOLDS)
    del filled
    split = _split(pore, particle, voxel_size, choices, remarks)
    core = None if split is None else _core(replace(share), split)
    sought = _sought(replace(share), particle)
    supported, noise = share.solid_level.supported, share.solid_level.noise / _contrast(share)
    del share
    cracks = _cracks(sought, particle, split, voxel_size, remarks)
    fraction = sought.solid
    del sought
    solid = particle & ~pore
    body = functionals(solid, voxel_size=voxel_size, connectivity=6, cut=True)
    domains, isolated = _domains(solid, cracks, voxel_size)
    del solid
    wetted, path, paths = _ways(pore, particle, voxel_size)
    return Morphology(
        outer=outer,
        solid_fraction=fraction,
        supported=supported,
        noise=noise,
        porosity=whole,
        shells=shells,
        pore=pore,
        split=split,
        core=core,
        cracks=cracks,
        totals=None if cracks is None else crack_totals(cracks, particle_volume=whole.envelope_volume),
        curve=curve,
        wetted=wetted,
        solid=body,
        pore_thickness=_thickness(pore, split, voxel_size),
        path=path,
        paths=paths,
        domain_count=domains,
        isolated_domains=isolated,
        remarks=tuple(remarks),
    )


def _contrast(share: SolidShare) -> float:
    """Mean of the solid's level less that of void."""
    return float(share.solid_level.level.mean()) - share.void_level.value


def _filled(share: SolidShare) -> Float32Array:
    """Share of solid where the envelope fills a voxel; what it does not fill beside the surface is no pore."""
    filled = np.subtract(np.float32(1), share.envelope)
    filled += share.solid
    return filled


def _domains(solid: BoolArray, cracks: CrackMap | None, voxel_size: VoxelSize) -> tuple[int, int]:
    """Number of domains that cracks bound, and of those without contact."""
    sheets = None if cracks is None else cracks.sheets.mask
    found = crack_bounded_domains(solid, voxel_size=voxel_size, cracks=sheets)
    return found.volume.size, int(found.isolated.sum())


def _core(share: SolidShare, split: PoreSplit) -> Estimate:
    """Volume of the hollow core."""
    return Estimate(0.0) if split.core is None else core_volume(share, split.kind == CORE)


def _ways(
    pore: BoolArray, particle: BoolArray, voxel_size: VoxelSize
) -> tuple[WettedSurface | None, Float32Array, PathStatistics]:
    """Surface that a liquid reaches (None: no voxel is pore); ways through the solid to it, and their statistics."""
    wetted, reached = None, ~particle
    if pore.any():
        joined = open_to_outside(pore, particle)
        wetted = wetted_surface(pore, particle, voxel_size=voxel_size, reached=joined)
        reached |= joined
        del joined
    solid, straight = particle & ~pore, straight_distance(reached, voxel_size=voxel_size)
    path = path_length(solid, reached, voxel_size=voxel_size, straight=straight)
    return wetted, path, path_statistics(path, solid, reached, voxel_size=voxel_size, straight=straight)


def _cut(particle: BoolArray) -> list[str]:
    """A remark where the field cuts the particle."""
    faces = faces_touched(particle)
    if not faces:
        return []
    return [
        f"the field cuts the particle ({', '.join(faces)}): all numbers are of the part within; the cut is no surface "
        "and lets nothing in, so what is joined to the outside beyond it counts as closed, and ways may be shorter"
    ]


def _webs_unseen(share: SolidShare, whole: Porosity) -> list[str]:
    """A remark where the solid that the level rests on is not of one grey value, to an extent that matters."""
    contrast = _contrast(share)
    uneven = share.solid_level.uneven
    least = _MATTERS * min(whole.grey.total, 2 * whole.grey.std) * contrast
    if uneven.value < max(_SURE * uneven.std, least):
        return []
    return [
        "solid far from all cracks that are seen varies by more than its noise: cracks too faint to be seen, or grains "
        f"of several compositions; if they are cracks, porosity is too low by {100 * uneven.value / contrast:.2g} % of "
        "the particle at least, and its uncertainty does not say so"
    ]


def _continued(share: SolidShare, whole: Porosity, known: Composition | None) -> list[str]:
    """A remark where the level of the solid is continued to radii that have none free of cracks, if that matters."""
    low, high = share.solid_level.supported
    if known is not None or (low, high) == (0.0, 1.0):
        return []
    unit = radius_unit(share.radius)
    beyond = (share.radius < low / unit) | ((share.radius > high / unit) & (share.radius < 1 / unit))
    part = float(share.envelope[beyond].sum(dtype=np.float64) / share.envelope.sum(dtype=np.float64))
    if STEP * part < whole.grey.total:
        return []
    where = " and ".join([f"below {low:.2f}"] * (low > 0) + [f"above {high:.2f}"] * (high < 1))
    return [
        f"{where} of the radius, in {100 * part:.2g} % of the particle, no solid is free of cracks: it is held to have "
        f"the composition of solid beside. By each per cent that it is brighter, porosity is {part:.2g} points higher, "
        "which its uncertainty does not hold; state what is known: morphology.composition"
    ]


def _split(
    pore: BoolArray, particle: BoolArray, voxel_size: VoxelSize, choices: Choices, remarks: list[str]
) -> PoreSplit | None:
    """Kinds of pore; None where no voxel is pore."""
    if not pore.any():
        remarks.append("no voxel is less than half solid: cracks and voids cannot be told apart")
        return None
    width = choices.crack_width or _CRACK_WIDTH * float(np.prod(voxel_size)) ** (1 / 3)
    return split_pores(pore, particle, voxel_size=voxel_size, crack_width=width)


class _Sought(NamedTuple):
    """What cracks are looked for in: share of solid and its levels, where, and the blur (um)."""

    solid: Float32Array
    levels: Levels
    within: BoolArray
    blur: float
    unit: float

    @property
    def margin(self) -> float:
        """Distance (um) from surfaces within which their blur is no crack."""
        return 2.0 * max(self.blur, _LEAST_BLUR * self.unit)


def _sought(share: SolidShare, particle: BoolArray) -> _Sought:
    """The solid below the blurred surface.

    The solid's grey value may change along the radius, so widths are taken from the share of solid.
    """
    unit = float(np.prod(share.voxel_size)) ** (1 / 3)
    found = _Sought(share.solid, Levels(1.0, 0.0), particle.copy(), share.blur, unit)
    np.logical_and(found.within, share.depth > found.margin, out=found.within)
    contrast = (
        share.solid_level.at(relative(share.radius[found.within][::_EVERY])).astype(np.float64) - share.void_level.value
    )
    error = float(np.hypot(np.sqrt(np.diag(share.solid_level.covariance)).mean(), share.solid_level.systematic))
    levels = Levels(1.0, 0.0, error / float(contrast.mean()), share.void_level.total / float(contrast.mean()))
    return found._replace(levels=levels)


def _cracks(
    sought: _Sought, particle: BoolArray, split: PoreSplit | None, voxel_size: VoxelSize, remarks: list[str]
) -> CrackMap | None:
    """Widths of the cracks below the blurred surface; None where there are none."""
    wide = np.zeros_like(particle) if split is None else split.kind >= VOID
    if wide.any():  # the blurred walls of voids are no cracks
        wide = within_reach(wide, sought.margin + 0.5 * sought.unit, voxel_size)
    within = np.greater(sought.within, wide, out=sought.within)
    try:
        sheets = find_sheets(sought.solid, voxel_size=voxel_size, within=within)
    except MeasurementError as error_of_noise:
        remarks.append(f"no cracks were sought: {error_of_noise.problem}")
        return None
    if not sheets.points.size:
        remarks.append("no crack rises above the noise")
        return None
    blur, barrier = max(sought.blur / sought.unit, _LEAST_BLUR), np.logical_not(particle, out=within)
    barrier |= wide
    del wide
    cracks = crack_widths(sought.solid, sheets, levels=sought.levels, blur=blur, barrier=barrier, thinnest=_THINNEST)
    if not cracks.opening.size:
        remarks.append(f"no crack is wider than {_THINNEST:g} voxels: thinner sheets are rings and streaks as well")
        return None
    return cracks


def _thickness(pore: BoolArray, split: PoreSplit | None, voxel_size: VoxelSize) -> Thickness | None:
    """Local thickness of cracks and voids; the hollow core is no pore in this."""
    if split is None or not (rest := pore & (split.kind != CORE)).any():
        return None
    return thickness_statistics(local_thickness(rest, voxel_size=voxel_size), voxel_size=voxel_size)


def numbers_of(found: Morphology) -> dict[str, Estimate]:
    """The numbers of a particle by the names of `cathoscope.core.schema`."""
    split, totals, wetted = found.split, found.totals, found.wetted
    numbers = {
        "porosity": found.porosity.grey,
        "threshold_porosity": found.porosity.threshold,
        "envelope_volume": found.porosity.envelope_volume,
        "solid_surface": found.solid.surface,
        "mean_path": found.paths.mean,
        "longest_path": found.paths.longest,
    }
    if split is not None:
        numbers |= {"crack_volume": split.crack, "void_volume": split.void}
    if found.core is not None:
        numbers["core_volume"] = found.core
    if totals is not None and totals.density is not None:
        # of the sheets: the swept volume goes on into cracks beyond where they are looked for
        opening = Estimate(*(part / totals.area.value for part in totals.sheet_volume))
        numbers |= {"crack_area": totals.area, "mean_opening": opening, "crack_density": totals.density}
    if wetted is not None:
        numbers["wetted_surface"] = wetted.total
    if found.pore_thickness is not None:
        numbers["pore_thickness"] = found.pore_thickness.mean
    return numbers


def plain_numbers_of(found: Morphology) -> dict[str, float]:
    """Numbers whose uncertainty is not stated: shares, counts and indices."""
    thickness = found.pore_thickness
    return {
        "closing_radius": found.outer.closing_radius,
        "solid_noise": found.noise,
        "open_pore_share": float("nan") if found.wetted is None else found.wetted.open_share,
        "cut_off_share": found.paths.cut_off,
        "path_tortuosity": found.paths.tortuosity,
        "euler_number": found.solid.euler,
        "pore_evenness": float("nan") if thickness is None else thickness.gini,
        "domain_count": float(found.domain_count),
        "isolated_domains": float(found.isolated_domains),
    }
