"""Two volumes of one particle at several binnings, smoothed, and as splines; large ones are read a few rows at a time.

A volume may be an array or anything that hands out rows, such as an array of the study on the disk: no more than one
copy of it is held, in single precision, and what is made of it takes its place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter, maximum_filter
from skimage.filters import threshold_otsu

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.warp import Lazy, into_coefficients, sample

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_CHUNK = 1 << 18  # voxels whose positions are made at a time
_ROWS = 16  # read at a time; even, so that binning can go slab by slab


@dataclass(frozen=True)
class Level:
    """Both volumes, smoothed, at one binning: the masked voxels of the fixed one and the spline of the moving one.

    ``factor`` voxels of the volume make one of the level along each edge; ``places`` [n, 3] are the masked voxels, with
    the values [n] and gradients [n, 3] of the fixed volume.
    """

    factor: int
    centre: Float64Array
    places: NDArray[np.int32]
    fixed: Float32Array
    fixed_gradient: Float32Array
    coefficients: Float32Array


def lazy_pair(fixed: ArrayLike | Lazy, moving: ArrayLike | Lazy) -> tuple[Lazy, Lazy]:
    """Both volumes as something that has a shape and hands out rows."""
    first, second = (
        cast(Lazy, volume if hasattr(volume, "shape") else np.asarray(volume)) for volume in (fixed, moving)
    )
    return first, second


def rows_of(volume: Lazy, rows: slice) -> Float32Array:
    """Some rows in single precision, zero where there is no value."""
    return np.nan_to_num(np.asarray(volume[rows], dtype=np.float32), posinf=0, neginf=0)


def slabs_of(n_rows: int, size: int = _ROWS) -> Iterator[slice]:
    """All rows, ``size`` at a time."""
    return (slice(start, min(start + size, n_rows)) for start in range(0, n_rows, size))


def loaded(volume: Lazy) -> Float32Array:
    """A copy of a volume as `rows_of` gives it."""
    copy = np.empty(volume.shape, np.float32)
    for rows in slabs_of(len(copy)):
        copy[rows] = rows_of(volume, rows)
    return copy


def smoothed_spline(volume: Lazy, smoothing: float) -> Float32Array:
    """Coefficients of the spline through a volume that a Gaussian has smoothed."""
    copy = loaded(volume)
    gaussian_filter(copy, smoothing, mode="nearest", output=copy)
    return into_coefficients(copy)


def particle_voxels(volume: Lazy, smoothing: float) -> BoolArray:
    """Voxels above Otsu's threshold of the smoothed volume.

    Raises
    ------
    MeasurementError
        If the volume is the same everywhere.
    """
    smooth = loaded(volume)
    gaussian_filter(smooth, smoothing, output=smooth)
    if not np.ptp(smooth) > 0:
        raise MeasurementError("a volume without contrast cannot be registered", found=f"{smooth.flat[0]:g} everywhere")
    return np.asarray(smooth > threshold_otsu(smooth), dtype=np.bool_)  # type: ignore[no-untyped-call]


def with_rim(particle: BoolArray) -> BoolArray:
    """The particle and what lies within 6 % of the edge, or 4 voxels, of it: its surface is most of what is known."""
    margin = max(4, round(0.06 * max(particle.shape)))
    return np.asarray(maximum_filter(particle.view(np.uint8), 2 * margin + 1, mode="constant").view(np.bool_))


def box_of(mask: BoolArray, margin: int = 0) -> tuple[slice, slice, slice]:
    """What holds all voxels of a mask, and a margin around it as far as the volume goes."""
    along = [np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    z, y, x = (
        slice(max(int(there[0]) - margin, 0), min(int(there[-1]) + 1 + margin, size))
        for there, size in zip(along, mask.shape, strict=True)
    )
    return z, y, x


def spread_places(mask: BoolArray, count: int) -> NDArray[np.int64]:
    """Places (n, 3) of about ``count`` voxels of a mask, evenly spread, all if there are fewer than twice as many."""
    step, passed, found = max(int(np.count_nonzero(mask)) // count, 1), 0, []
    for z, plane in enumerate(mask):
        flat = np.flatnonzero(plane)
        chosen = flat[-passed % step :: step]
        passed += flat.size
        found.append(np.stack([np.full(chosen.size, z), *np.divmod(chosen, plane.shape[1])], axis=1))
    return np.concatenate(found)


def binned(volume: Lazy) -> Float32Array:
    """Mean of 2 x 2 x 2 voxels; a last odd plane is doubled."""
    result = np.empty([-(-size // 2) for size in volume.shape], np.float32)
    for rows in slabs_of(volume.shape[0]):
        slab = rows_of(volume, rows)
        even = np.pad(slab, [(0, size % 2) for size in slab.shape], mode="edge")
        z, y, x = (size // 2 for size in even.shape)
        half = rows.start // 2
        result[half : half + z] = even.reshape(z, 2, y, 2, x, 2).mean(axis=(1, 3, 5))
    return result


def middle_of_level(middle: Float64Array, factor: int) -> Float64Array:
    """The middle of the volume in voxels of a level: voxel i is the mean of ``factor`` ones from ``factor i`` on."""
    return (middle - 0.5 * (factor - 1)) / factor


def smoothed_level(
    pair: tuple[Lazy, Lazy], mask: BoolArray, factor: int, middle: Float64Array, smoothing: float
) -> Level:
    """One level of the pyramid; ``smoothing`` is in its voxels, ``middle`` that of the volume in the volume's."""
    first, second = (smoothed_spline(volume, smoothing) for volume in pair)
    places = np.argwhere(mask).astype(np.int32)
    value, gradient = sampled(first, places)
    return Level(factor, middle_of_level(middle, factor), places, value, gradient, second)


def centre_of_mass(volume: Float32Array, smoothing: float) -> Float64Array:
    """Of the particle alone, (z, y, x), voxel."""
    mass = np.where(particle_voxels(volume, smoothing), np.maximum(volume, 0), 0).astype(np.float64)
    total = max(mass.sum(), 1e-300)
    return np.array(
        [np.arange(n) @ mass.sum(axis=tuple({0, 1, 2} - {axis})) / total for axis, n in enumerate(mass.shape)]
    )


def sampled(coefficients: Float32Array, places: NDArray[np.int32]) -> tuple[Float32Array, Float32Array]:
    """Values and gradients of a spline at some voxels."""
    value, gradient = np.empty(len(places), np.float32), np.empty((len(places), 3), np.float32)
    for start in range(0, len(places), _CHUNK):
        part = slice(start, start + _CHUNK)
        value[part] = sample(coefficients, places[part].astype(np.float64), gradient[part])
    return value, gradient
