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


@njit(cache=True, nogil=True)
def refine(coarse, depth, share):  # type: ignore[no-untyped-def]
    """Write ``coarse``, of half as many points along each axis, to ``depth`` [z, y, x], linear between its points.

    The ends continue flat. ``share`` becomes the part of a voxel within a surface of this depth, across an axis.
    """
    n_z, n_y, n_x = coarse.shape
    near, far, half = np.float32(0.75), np.float32(0.25), np.float32(0.5)
    row = np.empty(n_x + 2, dtype=np.float32)
    for z in range(depth.shape[0]):
        a, b = z >> 1, min(max((z >> 1) + 2 * (z & 1) - 1, 0), n_z - 1)
        for y in range(depth.shape[1]):
            c, d = y >> 1, min(max((y >> 1) + 2 * (y & 1) - 1, 0), n_y - 1)
            for x in range(n_x):
                low = near * coarse[a, c, x] + far * coarse[a, d, x]
                row[x + 1] = near * low + far * (near * coarse[b, c, x] + far * coarse[b, d, x])
            row[0], row[n_x + 1] = row[1], row[n_x]
            for x in range(depth.shape[2]):
                here = near * row[(x >> 1) + 1] + far * row[(x >> 1) + 2 * (x & 1)]
                depth[z, y, x] = here
                share[z, y, x] = min(max(here + half, np.float32(0)), np.float32(1))


@njit(cache=True, nogil=True)
def layer_noise(smooth, expected, depth, layers, sums):  # type: ignore[no-untyped-def]
    """Add number and squares of what is brighter than ``expected`` to ``sums`` [layer, 2], by layers of ``depth``.

    ``layers`` are the least depth that counts and the width of a layer.
    """
    least, width = layers
    flat, model, deep = smooth.ravel(), expected.ravel(), depth.ravel()
    last = sums.shape[0] - 1
    for i in range(flat.size):
        residual = flat[i] - model[i]
        if deep[i] >= least and residual > 0:
            layer = min(int(deep[i] / width), last)
            sums[layer, 0] += 1.0
            sums[layer, 1] += residual * residual


@njit(cache=True, nogil=True)
def mark_dark(grey, depth, layers, limit, dark):  # type: ignore[no-untyped-def]
    """Set ``dark`` where the first of two volumes is lower than the second by ``limit`` [layer], see `layer_noise`."""
    least, width = layers
    flat, model, deep, out = grey[0].ravel(), grey[1].ravel(), depth.ravel(), dark.ravel()
    last = limit.size - 1
    for i in range(flat.size):
        out[i] = deep[i] >= least and model[i] - flat[i] > limit[min(int(deep[i] / width), last)]


@njit(cache=True, nogil=True)
def surface_columns(depth, band, edges):  # type: ignore[no-untyped-def]
    """Voxels (n, 3) of at most ``band`` depth, the normals of the depth there in indices per length, and the depth.

    ``edges`` are those of a voxel (z, y, x). Voxels at the faces of the field are left out.
    """
    n_z, n_y, n_x = depth.shape
    places, count = np.empty((4096, 3), dtype=np.int64), 0
    for z in range(1, n_z - 1):
        for y in range(1, n_y - 1):
            row = depth[z, y]
            for x in range(1, n_x - 1):
                if abs(row[x]) > band:
                    continue
                if count == len(places):
                    more = np.empty((2 * count, 3), dtype=np.int64)
                    more[:count] = places
                    places = more
                places[count, 0], places[count, 1], places[count, 2] = z, y, x
                count += 1
    start, normal, at = np.empty((count, 3)), np.empty((count, 3)), np.empty(count)
    for i in range(count):
        z, y, x = places[i, 0], places[i, 1], places[i, 2]
        g0 = (depth[z + 1, y, x] - depth[z - 1, y, x]) / (2 * edges[0])
        g1 = (depth[z, y + 1, x] - depth[z, y - 1, x]) / (2 * edges[1])
        g2 = (depth[z, y, x + 1] - depth[z, y, x - 1]) / (2 * edges[2])
        length = max(np.sqrt(g0 * g0 + g1 * g1 + g2 * g2), 1e-6)
        start[i, 0], start[i, 1], start[i, 2] = z, y, x
        normal[i, 0], normal[i, 1], normal[i, 2] = (
            g0 / (length * edges[0]),
            g1 / (length * edges[1]),
            g2 / (length * edges[2]),
        )
        at[i] = depth[z, y, x]
    return start, normal, at
