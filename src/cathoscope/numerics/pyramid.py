"""Two volumes of one particle at several binnings, smoothed, and as splines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, maximum_filter
from skimage.filters import threshold_otsu

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.warp import sample, spline_coefficients

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_CHUNK = 1 << 18  # voxels whose positions are made at a time


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


def particle_voxels(volume: Float32Array, smoothing: float) -> BoolArray:
    """Voxels above Otsu's threshold of the smoothed volume.

    Raises
    ------
    MeasurementError
        If the volume is the same everywhere.
    """
    smooth = gaussian_filter(volume, smoothing)
    if not np.ptp(smooth) > 0:
        raise MeasurementError("a volume without contrast cannot be registered", found=f"{smooth.flat[0]:g} everywhere")
    return np.asarray(smooth > threshold_otsu(smooth), dtype=np.bool_)  # type: ignore[no-untyped-call]


def with_rim(particle: BoolArray) -> BoolArray:
    """The particle and what lies within 6 % of the edge, or 4 voxels, of it: its surface is most of what is known."""
    margin = max(4, round(0.06 * max(particle.shape)))
    return np.asarray(maximum_filter(particle.view(np.uint8), 2 * margin + 1, mode="constant"), dtype=np.bool_)


def binned(volume: Float32Array) -> Float32Array:
    """Mean of 2 x 2 x 2 voxels; a last odd plane is doubled."""
    even = np.pad(volume, [(0, size % 2) for size in volume.shape], mode="edge")
    z, y, x = (size // 2 for size in even.shape)
    return np.asarray(even.reshape(z, 2, y, 2, x, 2).mean(axis=(1, 3, 5)), dtype=np.float32)


def smoothed_level(
    pair: tuple[Float32Array, Float32Array], mask: BoolArray, factor: int, middle: Float64Array, smoothing: float
) -> Level:
    """One level of the pyramid; ``smoothing`` is in its voxels, ``middle`` that of the volume in the volume's."""
    first, second = (gaussian_filter(volume, smoothing, mode="nearest") for volume in pair)
    places = np.argwhere(mask).astype(np.int32)
    value, gradient = sampled(spline_coefficients(first), places, np.eye(3), np.zeros(3))
    # voxel i of the level is the mean of `factor` voxels from `factor * i` on
    centre = (middle - 0.5 * (factor - 1)) / factor
    return Level(factor, centre, places, value, gradient, spline_coefficients(second))


def centre_of_mass(volume: Float32Array, smoothing: float) -> Float64Array:
    """Of the particle alone, (z, y, x), voxel."""
    mass = np.where(particle_voxels(volume, smoothing), np.maximum(volume, 0), 0).astype(np.float64)
    total = max(mass.sum(), 1e-300)
    return np.array(
        [np.arange(n) @ mass.sum(axis=tuple({0, 1, 2} - {axis})) / total for axis, n in enumerate(mass.shape)]
    )


def sampled(
    coefficients: Float32Array, places: NDArray[np.int32], matrix: Float64Array, origin: Float64Array
) -> tuple[Float32Array, Float32Array]:
    """Values and gradients of a spline at ``matrix @ place + origin``; NaN and zero outside."""
    value, gradient = np.empty(len(places), np.float32), np.empty((len(places), 3), np.float32)
    for start in range(0, len(places), _CHUNK):
        part = slice(start, start + _CHUNK)
        value[part] = sample(coefficients, places[part] @ matrix.T + origin, gradient[part])
    return value, gradient
