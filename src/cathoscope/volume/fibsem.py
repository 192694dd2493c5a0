"""A raw FIB/SEM stack to a volume that can be measured: aligned, flattened, and the share of oxide in every voxel.

In this order, each reported apart: rough levels of every slice; repeated and missing slices; drift
(`fibsem_alignment`); levels and background, charging, curtains (`fibsem_correction`); the slices moved back; thickness
(`slice_thickness`); shine-through and layers (`phases`). The share of oxide is bright in solid, as `quantify.quantify`
wants it. One slice is held at a time besides the volumes that are returned, twelve bytes per voxel at most.

Uncertainty of the share of oxide as a whole: what each correction is uncertain by, times how much of the particle it
changes (`Correction`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.core.parallel import Progress, Silent
from cathoscope.numerics.estimate import Estimate
from cathoscope.volume.checks import checked_voxel
from cathoscope.volume.fibsem_alignment import StackDrift, chained_shifts, moved_back, stack_drift
from cathoscope.volume.fibsem_checks import Frames, checked_frames, repeated_frames
from cathoscope.volume.fibsem_correction import (
    Curtains,
    RoughLevels,
    SliceLevels,
    charging_mixture,
    charging_of,
    curtain_statistics,
    curtains_of,
    fit_levels,
    flattened,
    normalised,
    rough_levels,
    smoothed_levels,
)
from cathoscope.volume.fibsem_outline import Outline, find_outline
from cathoscope.volume.fibsem_porosity import Correction, corrections_left, section_porosity
from cathoscope.volume.phases import Phases, phases
from cathoscope.volume.slice_thickness import SliceThickness, by_walls, evened, slice_thickness

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
VoxelSize = tuple[float, float, float]
T = TypeVar("T")

_NOISE = 0.1  # of the contrast, until it is measured
_SAMPLE = 16  # slices from which the whole stack's charging and curtains are taken


@dataclass(frozen=True)
class StackChoices:
    """What a person may state; corrections can be switched off.

    ``drift``: "joint" or "chained" or "none". ``resample``: "auto" fills missing and drops repeated slices only,
    "even" also evens out the thickness found, "never". ``outline``: grey value of the outer surface relative to the
    contrast, above the noise of the outside and below any layer.
    """

    drift: str = "joint"
    resample: str = "auto"
    charging: bool = True
    curtains: bool = True
    outline: float = 0.25

    def __post_init__(self) -> None:
        for name, words in (("drift", ("joint", "chained", "none")), ("resample", ("auto", "even", "never"))):
            if getattr(self, name) not in words:
                raise MeasurementError(
                    f"unknown choice of {name}",
                    expected=" or ".join(words),
                    found=repr(getattr(self, name)),
                    cure=f"{name}={words[0]!r}",
                )
        if not 0.02 <= self.outline <= 0.9:
            raise MeasurementError(
                "the level of the outline is out of range",
                expected="0.02 to 0.9 of the contrast",
                found=f"{self.outline:g}",
                cure="outline=0.25",
            )


@dataclass(frozen=True)
class PreparedStack:
    """A stack that can be measured.

    Attributes
    ----------
    grey
        Aligned and flattened: outside 0, oxide 1; shine-through and layers still in it, [z, y, x].
    solid
        Share of oxide, with noise, [z, y, x]: what `quantify.quantify` takes.
    kind
        `phases.OUTSIDE`, `OXIDE`, `PORE` or `LAYER`, [z, y, x].
    voxel_size
        um, (z, y, x).
    drift, levels, curtains, thickness, phases
        What was found; ``drift`` None where none was asked for, ``thickness`` where there are too few slices.
    porosity
        Share of the volume within the oxide's outline that is not oxide, by sections; see `section_porosity`.
    corrections
        One by one, with what each may leave.
    flags, remarks
        Words for a table, sentences for a person.
    """

    grey: Float32Array
    solid: Float32Array
    kind: NDArray[np.uint8]
    voxel_size: VoxelSize
    drift: StackDrift | None
    levels: tuple[SliceLevels, ...]
    curtains: Curtains
    thickness: SliceThickness | None
    phases: Phases
    porosity: Estimate
    corrections: tuple[Correction, ...]
    flags: tuple[str, ...]
    remarks: tuple[str, ...]


def prepare_stack(
    frames: Frames,
    *,
    voxel_size: VoxelSize,
    choices: StackChoices | None = None,
    progress: Progress | None = None,
) -> PreparedStack:
    """Everything from raw slices to the share of oxide.

    Parameters
    ----------
    frames
        Raw slices in the order of cutting, [slice, row, column]: an array, or a sequence of images that are read when
        they are asked for. Solid is bright; the ion beam runs down the rows, the electrons look towards later slices.
    voxel_size
        um, (slice thickness, row, column).
    choices
        What is stated.
    progress
        Who wants to know how far it is.

    Raises
    ------
    MeasurementError
        If slices differ in size, are empty, constant, saturated, of inverted contrast, or too few; if the voxel cannot
        be, or is given in another order.
    """
    choices, voxel_size = choices or StackChoices(), checked_voxel(voxel_size)
    progress = progress or Silent()
    shape = checked_frames(frames, voxel_size)
    remarks: list[str] = []
    flags: list[str] = []
    kept = repeated_frames(frames, remarks, flags)

    def load(n: int) -> NDArray[Any]:
        """Raw slice n of those kept."""
        return np.asarray(frames[kept[n]])

    rough = stack_levels(_counted(load, len(kept), progress, "levels"), len(kept))
    drifting = _counted(lambda n: normalised(load(n), rough[n]), len(kept), progress, "drift")
    drift = _drift(drifting, len(kept), choices, voxel_size[0] / float(np.sqrt(voxel_size[1] * voxel_size[2])))
    moved = np.zeros((len(kept), 2)) if drift is None else drift.shift
    levels, mixture, curtains = _corrections(_counted(load, len(kept), progress, "corrections"), rough, choices)
    grey = np.empty((len(kept), *shape), dtype=np.float32)
    charge = np.zeros(len(kept))
    raw = _counted(load, len(kept), progress, "moved back")
    for n in range(len(kept)):
        grey[n], charge[n] = _corrected(raw(n), levels[n], mixture, curtains, moved[n])
    thickness = _thickness(grey, choices, remarks, flags)
    if thickness is not None and drift is not None:
        thickness = by_walls(thickness, drift.thickness, drift.thickness_std)
    if thickness is not None and choices.resample != "never":
        grey = _resampled(grey, thickness, choices)
    outlines = [find_outline(image, choices.outline) for image in grey]
    found = phases(grey, outlines, level=choices.outline)
    _remark(found, drift, levels, remarks, flags)
    parts = corrections_left(found, levels, charge, curtains, drift)
    systematic = float(np.sqrt(sum(part.uncertainty**2 for part in parts)))
    porosity = section_porosity(found, outlines, systematic=systematic)
    return PreparedStack(
        grey,
        found.solid,
        found.kind,
        voxel_size,
        drift,
        tuple(levels),
        curtains,
        thickness,
        found,
        porosity,
        tuple(parts),
        tuple(flags),
        tuple(remarks),
    )


def _counted(load: Callable[[int], T], count: int, progress: Progress, words: str) -> Callable[[int], T]:
    """``load``, which tells when it is asked for another slice for the first time."""
    left = set(range(count))
    progress.start(f"slices: {words}", count, "slices")

    def told(n: int) -> T:
        """Slice ``n``."""
        if n in left:
            left.remove(n)
            progress.advance()
            if not left:
                progress.finish()
        return load(n)

    return told


def stack_levels(load: Callable[[int], NDArray[Any]], count: int) -> list[RoughLevels]:
    """Two levels per slice; slices without solid take those of the nearest with some."""
    found = [rough_levels(load(n)) for n in range(count)]
    solid = np.array([one.solid for one in found])
    contrast = np.array([one.solid - one.outside for one in found])
    sound = contrast > 0.6 * np.quantile(contrast, 0.9)
    if not sound.any():
        return found
    near = np.flatnonzero(sound)
    result = []
    for n, one in enumerate(found):
        other = int(near[np.argmin(np.abs(near - n))])
        fits = sound[n] and one.seen
        result.append(one if fits else RoughLevels(one.outside, float(solid[other]), False))
    return result


def _drift(load: Callable[[int], Float32Array], count: int, choices: StackChoices, depth: float) -> StackDrift | None:
    """Drift in the way that was chosen; ``depth`` of a slice, px."""
    if choices.drift == "none" or count < 3:
        return None
    if choices.drift == "joint":
        return stack_drift(load, count, level=choices.outline, depth=depth)
    shift = chained_shifts(load, count)
    unknown, nan = np.full((count, 2), np.nan), float("nan")
    matrices = np.full((2, count, count), np.nan)
    marked = np.zeros(count, dtype=bool)
    thickness = np.full(count - 1, np.nan)
    return StackDrift(
        shift - shift.mean(axis=0), unknown, matrices, (nan, nan), marked, thickness, thickness, nan, nan, nan
    )


def _corrections(
    load: Callable[[int], NDArray[Any]], rough: list[RoughLevels], choices: StackChoices
) -> tuple[list[SliceLevels], Float64Array, Curtains]:
    """Levels of every slice, the mixture of charging, and the curtains' statistics."""
    seen = [n for n, one in enumerate(rough) if one.seen]
    sample = [seen[k] for k in np.unique(np.linspace(0, len(seen) - 1, _SAMPLE).astype(int))] if seen else []

    def outlined(n: int) -> tuple[Float32Array, Outline]:
        """A slice of rough levels and its outline, as it was recorded."""
        image = normalised(load(n), rough[n])
        return image, find_outline(image, choices.outline)

    mixture = charging_mixture([outlined(n) for n in sample], noise=_NOISE)
    if not choices.charging:
        mixture = np.zeros_like(mixture)
    levels = smoothed_levels(
        [fit_levels(load(n), outlined(n)[1], rough[n], mixture, noise=_NOISE) for n in range(len(rough))]
    )
    if not choices.curtains:
        return levels, mixture, Curtains(0.0, 1.0, _NOISE)
    scenes = []
    for n in sample:
        scene = flattened(load(n), levels[n])
        scene = scene / (1 + charging_of(scene, levels[n], mixture))
        scenes.append((scene, find_outline(scene, choices.outline)))
    return levels, mixture, curtain_statistics(scenes, noise=_NOISE)


def _corrected(
    raw: NDArray[Any], levels: SliceLevels, mixture: Float64Array, curtains: Curtains, moved: Float64Array
) -> tuple[Float32Array, float]:
    """One slice, flattened, without charging and curtains, moved back; and the mean charging of its oxide."""
    scene = flattened(raw, levels)
    charging = charging_of(scene, levels, mixture)
    bright = scene > 0.6
    mean = float(charging[bright].mean()) if bright.any() else 0.0
    # charging is the oxide's: a voxel that is partly oxide has a part of it
    scene = scene / (1 + charging * np.clip(scene, 0, 1))
    scene = scene / (1 + curtains_of(scene, curtains))
    return (moved_back(scene, moved) if np.any(moved) else scene), mean


def _thickness(
    grey: Float32Array, choices: StackChoices, remarks: list[str], flags: list[str]
) -> SliceThickness | None:
    """Thickness of the slices that hold enough of the particle; others are nominal."""
    outlines = [find_outline(image, choices.outline) for image in grey]
    size = np.array([one.radius.mean() if one.whole else 0.0 for one in outlines])
    useful = np.flatnonzero(size > 0.6 * max(float(size.max()), 1e-9)) if size.any() else np.arange(len(grey))
    first, last = int(useful[0]), int(useful[-1])
    if last - first < 8:
        return None
    shape = grey.shape[1:]

    def within(n: int) -> Float32Array:
        """1 inside the outline."""
        one = outlines[first + n]
        return (one.depth(*shape) > 0).astype(np.float32) if one.whole else np.ones(shape, np.float32)

    found = slice_thickness(lambda n: grey[first + n], last - first + 1, within=within)
    relative = np.ones(len(grey) - 1)
    relative[first:last] = found.relative
    missing = tuple((first + n, k) for n, k in found.missing)
    repeated = tuple(first + n for n in found.repeated)
    for n, k in missing:
        flags.append("missing slice")
        remarks.append(f"after slice {n} about {k} more seem to be missing: neighbours differ as if they were skipped")
    for n in repeated:
        flags.append("repeated slice")
        remarks.append(f"slice {n} shows the same surface as the one before")
    return SliceThickness(relative, found.std, found.spread, found.exponent, repeated, missing)


def _resampled(grey: Float32Array, thickness: SliceThickness, choices: StackChoices) -> Float32Array:
    """On an even grid, if that is asked for or slices are missing or repeated."""
    relative = thickness.relative
    if choices.resample == "auto":
        relative = np.ones_like(relative)
        relative[[n - 1 for n in thickness.repeated]] = 0.0
        for n, skipped in thickness.missing:
            relative[n] = skipped + 1
    if np.all(relative == 1):
        return grey
    return evened(grey, np.concatenate([[0.0], np.cumsum(relative)]))


def _remark(
    found: Phases, drift: StackDrift | None, levels: Sequence[SliceLevels], remarks: list[str], flags: list[str]
) -> None:
    """What a person should know of the whole."""
    if drift is not None and not drift.marked.any():
        flags.append("no outline")
        remarks.append("no slice shows the whole outline: slow drift is told from inclined walls alone")
    dark = sum(not one.seen for one in levels)
    if dark:
        remarks.append(f"{dark} slices hold too little solid: their levels are those of their neighbours")
    if found.unseen > 0.1:
        flags.append("backs of pores unseen")
        remarks.append(
            f"{100 * found.unseen:.0f} % of the pores go on beyond the last slice: their shine-through is not known"
        )
    if found.layer.thickness > 0:
        remarks.append(
            f"a layer of {found.layer.thickness:.1f} px lies on the outer surface; layers on inner walls are thinner "
            "than can be seen"
        )
