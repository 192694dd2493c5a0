"""The relative radius of a particle's voxels, 0 at its centre, 1 at its surface: whole numbers where many are kept."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float32Array = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
VoxelSize = tuple[float, float, float]
Radii = Float32Array | NDArray[np.uint16]

# Parts of a relative radius kept as a whole number: those below an end of ten equal shells stay below it.
_FINEST = 65520


def relative_radius(depth: Float32Array, particle: BoolArray, voxel_size: VoxelSize) -> Float32Array:
    """r / (r + depth), r the distance from the centre of volume: 0 at the centre, 1 at the surface and outside."""
    axes = [
        np.arange(n, dtype=np.float32) * np.float32(edge) for n, edge in zip(particle.shape, voxel_size, strict=True)
    ]
    counts = [np.count_nonzero(particle, axis=tuple(set(range(3)) - {k})) for k in range(3)]
    centre = [float(count @ axis / count.sum()) for count, axis in zip(counts, axes, strict=True)]
    z, y, x = ((axis - np.float32(c)) ** 2 for axis, c in zip(axes, centre, strict=True))
    radius = np.empty(depth.shape, dtype=np.float32)
    for plane, below in enumerate(depth):
        r = np.sqrt(z[plane] + y[:, None] + x)
        radius[plane] = r / np.maximum(r + np.maximum(below, 0), 1e-6)
    return radius


def whole_numbers(radius: Float32Array) -> NDArray[np.uint16]:
    """Relative radii [z, y, x] in units of `radius_unit`, cut off: half the memory, right to 2e-5."""
    kept = np.empty(radius.shape, dtype=np.uint16)
    for plane, target in zip(radius, kept, strict=True):
        target[:] = plane * np.float32(_FINEST)
    return kept


def radius_unit(radius: Radii) -> float:
    """What a 1 in an array of relative radii is: 1, or less where they are `whole_numbers`."""
    return 1.0 if radius.dtype.kind == "f" else 1 / _FINEST


def relative(radius: Radii) -> Float32Array:
    """Relative radii of any shape, whether kept as whole numbers or not."""
    return np.multiply(radius, radius_unit(radius), dtype=np.float32)
