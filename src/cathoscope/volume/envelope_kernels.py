"""Samples of a volume along the normals of a surface."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def sample_columns(volume, start, direction, steps):  # type: ignore[no-untyped-def]
    """Trilinear values (n, m) of ``volume`` at ``start`` (n, 3) + ``steps`` (n, m) times ``direction`` (n, 3), voxels.

    Beyond the field the nearest voxels' values hold.
    """
    n_z, n_y, n_x = volume.shape
    out = np.empty(steps.shape, dtype=np.float32)
    for i in range(steps.shape[0]):
        for j in range(steps.shape[1]):
            z = min(max(start[i, 0] + steps[i, j] * direction[i, 0], 0.0), n_z - 1.0)
            y = min(max(start[i, 1] + steps[i, j] * direction[i, 1], 0.0), n_y - 1.0)
            x = min(max(start[i, 2] + steps[i, j] * direction[i, 2], 0.0), n_x - 1.0)
            k, m, q = min(int(z), n_z - 2), min(int(y), n_y - 2), min(int(x), n_x - 2)
            a, b, c = z - k, y - m, x - q
            low = (volume[k, m, q] * (1 - c) + volume[k, m, q + 1] * c) * (1 - b)
            low += (volume[k, m + 1, q] * (1 - c) + volume[k, m + 1, q + 1] * c) * b
            high = (volume[k + 1, m, q] * (1 - c) + volume[k + 1, m, q + 1] * c) * (1 - b)
            high += (volume[k + 1, m + 1, q] * (1 - c) + volume[k + 1, m + 1, q + 1] * c) * b
            out[i, j] = low * (1 - a) + high * a
    return out


@njit(cache=True, nogil=True)
def meets(mask, start, direction, steps):  # type: ignore[no-untyped-def]
    """Whether the voxel nearest to any of the samples of `sample_columns` is True in ``mask``, (n,)."""
    n_z, n_y, n_x = mask.shape
    out = np.zeros(steps.shape[0], dtype=np.bool_)
    for i in range(steps.shape[0]):
        for j in range(steps.shape[1]):
            z = min(max(int(start[i, 0] + steps[i, j] * direction[i, 0] + 0.5), 0), n_z - 1)
            y = min(max(int(start[i, 1] + steps[i, j] * direction[i, 1] + 0.5), 0), n_y - 1)
            x = min(max(int(start[i, 2] + steps[i, j] * direction[i, 2] + 0.5), 0), n_x - 1)
            if mask[z, y, x]:
                out[i] = True
                break
    return out
