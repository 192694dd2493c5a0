"""Distances inside masks of any size, by the exact transform of `edt`, in one thread."""

from __future__ import annotations

from typing import Any

import edt  # type: ignore[import-not-found]
import numpy as np
from numpy.typing import NDArray


def distance_within(mask: NDArray[np.bool_], voxel_size: tuple[float, float, float]) -> NDArray[np.float32]:
    """Distance of the voxels of a mask [z, y, x] to the centre of the nearest one outside of it, 0 there.

    In the unit of ``voxel_size``, the edges z, y, x of a voxel. Faces of the volume are no outside.
    """
    # The transform of whole numbers takes three quarters of the time of that of truth values, and gives the same bits.
    labels = np.ascontiguousarray(mask, dtype=np.bool_).view(np.uint8)
    found: Any = edt.edt(labels, anisotropy=voxel_size, black_border=False, parallel=1)
    return np.asarray(found, dtype=np.float32)
