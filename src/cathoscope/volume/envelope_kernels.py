"""Compiled passes over a surface given by its depth: refinement, what is dark below it, samples along its normals."""

from __future__ import annotations

import numpy as np
from numba import njit

FAST = {"contract", "reassoc"}


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


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def tail_sums(grey, model, columns, law, used, shift, profile):  # type: ignore[no-untyped-def]
    """Trilinear samples of ``grey`` - ``model`` along ``columns`` = (start, direction, depth): their weighted sums.

    ``law`` are the depths (m,) of the samples and their weights (m,). ``shift`` (n,) becomes the weighted sum of each
    column, ``profile`` (m,) the sum over the columns ``used``. Beyond the field as `sample_columns`.
    """
    start, direction, depth = columns
    steps, weights = law
    n_z, n_y, n_x = grey.shape
    plane = n_y * n_x
    first, second = grey.reshape(grey.size), model.reshape(model.size)
    profile[:] = 0.0
    for i in range(start.shape[0]):
        total = 0.0
        for j in range(steps.size):
            step = steps[j] - depth[i]
            # a little before the last voxel, so that the next one is in the field
            z = min(max(start[i, 0] + step * direction[i, 0], 0.0), n_z - 1.0001)
            y = min(max(start[i, 1] + step * direction[i, 1], 0.0), n_y - 1.0001)
            x = min(max(start[i, 2] + step * direction[i, 2], 0.0), n_x - 1.0001)
            k, m, q = np.int64(z), np.int64(y), np.int64(x)
            a, b, c = np.float32(z - k), np.float32(y - m), np.float32(x - q)
            p = k * plane + m * n_x + q
            v00, v01 = first[p] - second[p], first[p + 1] - second[p + 1]
            p += n_x
            v10, v11 = first[p] - second[p], first[p + 1] - second[p + 1]
            p += plane
            w10, w11 = first[p] - second[p], first[p + 1] - second[p + 1]
            p -= n_x
            w00, w01 = first[p] - second[p], first[p + 1] - second[p + 1]
            v00, v10 = v00 + c * (v01 - v00), v10 + c * (v11 - v10)
            w00, w10 = w00 + c * (w01 - w00), w10 + c * (w11 - w10)
            low, high = v00 + b * (v10 - v00), w00 + b * (w10 - w00)
            value = low + a * (high - low)
            total += weights[j] * value
            if used[i]:
                profile[j] += value
        shift[i] = total


@njit(cache=True, nogil=True)
def add_columns(start, shift, whole, sums, counts):  # type: ignore[no-untyped-def]
    """Add the shifts of the columns ``whole`` to ``sums``, and their number to ``counts``, on the half grid."""
    for i in range(shift.size):
        if whole[i]:
            z, y, x = int(start[i, 0]) >> 1, int(start[i, 1]) >> 1, int(start[i, 2]) >> 1
            sums[z, y, x] += shift[i]
            counts[z, y, x] += 1.0


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
