"""What a mask, a field and a voxel must be before anything is measured on them."""

from __future__ import annotations

from math import isfinite

import numpy as np
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError

BoolArray = NDArray[np.bool_]

# um; a beam of electrons or X-rays and a particle of a battery are between them
SMALLEST_EDGE, LARGEST_EDGE = 1e-4, 100.0
_LARGEST_RATIO = 10.0  # of two edges of a voxel


def checked_voxel(voxel_size: tuple[float, float, float]) -> tuple[float, float, float]:
    """Edges z, y, x of a voxel (um) as numbers.

    Raises
    ------
    MeasurementError
        If they are not three edges between 0.1 nm and 0.1 mm, within a factor of ten of one another.
    """
    edges = tuple(float(edge) for edge in voxel_size)
    sensible = len(edges) == 3 and all(isfinite(edge) and SMALLEST_EDGE <= edge <= LARGEST_EDGE for edge in edges)
    if not sensible or max(edges) > _LARGEST_RATIO * min(edges):
        raise MeasurementError(
            "the size of the voxels cannot be",
            expected="three edges z, y, x in um, from 0.0001 to 100, within a factor of 10 of one another",
            found=str(tuple(voxel_size)),
            cure="voxel_size=(0.019, 0.0135, 0.0135) is a voxel of 19 x 13.5 x 13.5 nm",
        )
    return edges[0], edges[1], edges[2]


def checked_mask(name: str, mask: NDArray[np.generic], like: NDArray[np.generic] | None = None) -> BoolArray:
    """A mask [z, y, x] as booleans, of the shape of ``like`` if that is given.

    Raises
    ------
    MeasurementError
        If it is not a volume of 0 and 1, has no voxel set, or has another shape.
    """
    found = np.asarray(mask)
    if found.ndim != 3 or found.size == 0:
        raise MeasurementError(
            f"the mask '{name}' is no volume", expected="three axes z, y, x", found=f"shape {found.shape}"
        )
    if like is not None and found.shape != like.shape:
        raise MeasurementError(
            f"the mask '{name}' has another shape than what it belongs to",
            expected=f"shape {like.shape}",
            found=f"shape {found.shape}",
        )
    if found.dtype != np.bool_:
        if not np.all((found == 0) | (found == 1)):
            raise MeasurementError(
                f"the mask '{name}' is not made of 0 and 1",
                expected="booleans",
                found=f"{found.dtype} from {found.min()} to {found.max()}",
                cure=f"compare it with a threshold or a label first, as in {name} == 1",
            )
        found = found == 1
    if not found.any():
        raise MeasurementError(
            f"the mask '{name}' is empty",
            expected="at least one voxel",
            found=f"none of {found.size}",
            cure="check the threshold, and that solid is bright",
        )
    return np.ascontiguousarray(found)
