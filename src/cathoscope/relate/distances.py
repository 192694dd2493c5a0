"""Where a voxel is: how far from the outer surface, the middle, cracks that are open to the outside, and voids."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import edt  # type: ignore[import-not-found]
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import binary_fill_holes

from cathoscope.volume.connection import open_to_outside

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

CRACK, VOID, CORE = 1, 2, 3  # kinds of pores
LEAST_VOXELS = 20  # of a kind of pore, fewer may be noise
SURFACE, PORE_CRACK, PORE_VOID, WAY, MIDDLE, TURN = (
    "distance to the outer surface",
    "distance to a connected crack",
    "distance to a void or the core",
    "way through the oxide",
    "distance to the middle",
    "turn of c from the radius",
)
UNITS: Mapping[str, str] = {SURFACE: "um", PORE_CRACK: "um", PORE_VOID: "um", WAY: "um", MIDDLE: "um", TURN: "1"}


def distance_below(inside: ArrayLike, *, voxel: float) -> Array:
    """Distance of every voxel to the outer surface of a mask whose inner holes are filled, um; 0 outside.

    The nearest voxel outside lies half a voxel beyond the surface.
    """
    filled = np.pad(np.asarray(binary_fill_holes(np.asarray(inside, bool))), 1)
    depth = np.asarray(edt.edt(filled), np.float64)[1:-1, 1:-1, 1:-1]
    return np.asarray(np.maximum(depth - 0.5, 0.0) * voxel)


def distance_to(target: ArrayLike, *, voxel: float) -> Array:
    """Distance of every voxel to the surface of the nearest voxel of a mask, um; 0 in it."""
    away = np.asarray(edt.edt(~np.asarray(target, bool)), np.float64)
    return np.asarray(np.maximum(away - 0.5, 0.0) * voxel)


def distance_to_middle(inside: ArrayLike, *, voxel: float) -> Array:
    """Distance of every voxel to the centre of mass of a filled mask, um."""
    filled = np.asarray(binary_fill_holes(np.asarray(inside, bool)))
    return np.asarray(np.sqrt(sum(one**2 for one in _from_middle(filled))) * voxel)


def _from_middle(inside: Mask) -> list[Array]:
    """Steps along z, y and x from the centre of mass, each along its own axis."""
    steps = np.ogrid[tuple(slice(0, size) for size in inside.shape)]
    counts = [inside.sum(axis=tuple(one for one in range(3) if one != axis)) for axis in range(3)]
    middle = [float(np.average(np.arange(count.size), weights=count)) for count in counts]
    return [step - one for step, one in zip(steps, middle, strict=True)]


def turn_from_radius(inside: ArrayLike, grain: ArrayLike, c_axis: ArrayLike) -> Array:
    """sin^2 of the angle between a grain's c and the radius: 1 where lithium's planes lie along it; nan without grain.

    ``grain`` numbers the grains from 1, 0 being none; ``c_axis`` (grain, 3) is along z, y, x.
    """
    filled = np.asarray(binary_fill_holes(np.asarray(inside, bool)))
    radial = _from_middle(filled)
    length = np.sqrt(sum(one**2 for one in radial))
    axes = np.vstack([np.full(3, np.nan), np.asarray(c_axis, np.float64)])
    number = np.asarray(grain)
    number = np.where((number >= 0) & (number < len(axes)), number, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosine = sum(axes[number, one] * radial[one] for one in range(3)) / length
    return np.asarray(1.0 - cosine**2)


def distances(
    inside: ArrayLike, *, voxel: float, pore_kind: ArrayLike | None = None, path_length: ArrayLike | None = None
) -> Iterator[tuple[str, Array]]:
    """All that the arrays of a particle tell of where its voxels are, [z, y, x], one after the other.

    ``inside`` is the particle within its outer surface; ``pore_kind`` as that of morphology. A crack counts if it is
    open to the outside. A kind of pore with fewer than 20 voxels is left out.
    """
    mask = np.asarray(inside, bool)
    yield SURFACE, distance_below(mask, voxel=voxel)
    if pore_kind is not None:
        kind = np.asarray(pore_kind)
        cracks = (kind == CRACK) & np.asarray(open_to_outside((kind > 0) & mask, mask))
        for name, pores in ((PORE_CRACK, cracks), (PORE_VOID, (kind == VOID) | (kind == CORE))):
            if pores.sum() >= LEAST_VOXELS:
                yield name, distance_to(pores, voxel=voxel)
    if path_length is not None:
        way = np.asarray(path_length, np.float64)
        yield WAY, np.where(way > 0, way, np.nan)
    yield MIDDLE, distance_to_middle(mask, voxel=voxel)


def away_from_edges(inside: ArrayLike, pore_kind: ArrayLike | None = None) -> Mask:
    """Voxels that no face of the outer surface or of a pore cuts: the first shell is left out."""
    mask = np.asarray(inside, bool)
    kept = np.asarray(distance_below(mask, voxel=1.0) > 1.0)
    if pore_kind is not None:
        kept &= np.asarray(distance_to(np.asarray(pore_kind) > 0, voxel=1.0) > 1.0)
    return kept
