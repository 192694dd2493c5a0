"""Kernels of `connection`: voxels that enter one after the other, and the sets they join (union-find).

Volumes are flat; the first ``outside_nodes`` nodes of the forest are not voxels but what voxels may be joined to.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from cathoscope.volume.union_kernels import root_of


@njit(cache=True, nogil=True)
def _joined(parent, size, first, second):  # type: ignore[no-untyped-def]
    """Join two trees, the smaller below the larger; returns the root."""
    a, b = root_of(parent, first), root_of(parent, second)
    if a == b:
        return a
    if size[a] < size[b]:
        a, b = b, a
    parent[b] = a
    size[a] += size[b]
    return a


@njit(cache=True, nogil=True)
def _enter(voxel, shape, entered, outside, full, parent, size):  # type: ignore[no-untyped-def]
    """Join a voxel to its neighbours that have entered, 26 or the 6 of faces, and to the outside (last node)."""
    depth, height, width = shape
    z, rest = voxel // (height * width), voxel % (height * width)
    y, x = rest // width, rest % width
    entered[voxel] = True
    last = parent.size - 1
    for dz in range(-1, 2):
        for dy in range(-1, 2):
            for dx in range(-1, 2):
                if abs(dz) + abs(dy) + abs(dx) == 0 or (not full and abs(dz) + abs(dy) + abs(dx) > 1):
                    continue
                a, b, c = z + dz, y + dy, x + dx
                if a < 0 or b < 0 or c < 0 or a >= depth or b >= height or c >= width:
                    continue
                other = (a * height + b) * width + c
                if outside[other]:
                    _joined(parent, size, voxel, last)
                elif entered[other]:
                    _joined(parent, size, voxel, other)


@njit(cache=True, nogil=True)
def sizes_over_levels(order, ends, shape, room, full):  # type: ignore[no-untyped-def]
    """Voxels joined to the outside after each group of ``order`` has entered; ``ends`` are the groups' ends.

    ``room`` are what is outside, 0, 1, ... and ones, one more than voxels, and False for every voxel: large arrays of
    numpy's lie in large pages, those made here would not.
    """
    outside, parent, size, entered = room
    n = shape[0] * shape[1] * shape[2]
    out = np.empty(ends.size, dtype=np.int64)
    first = 0
    for k in range(ends.size):
        for i in range(first, ends[k]):
            _enter(order[i], shape, entered, outside, full, parent, size)
        first = ends[k]
        out[k] = size[root_of(parent, n)] - 1
    return out


@njit(cache=True, nogil=True)
def first_connection(order, shape, start, end, full):  # type: ignore[no-untyped-def]
    """Position in ``order`` of the voxel by whose entry a voxel of ``start`` is joined to one of ``end``, or -1."""
    n = shape[0] * shape[1] * shape[2]
    parent, size = np.arange(n + 2, dtype=np.int32), np.ones(n + 2, dtype=np.int32)
    entered, nothing = np.zeros(n, dtype=np.bool_), np.zeros(n, dtype=np.bool_)
    for i in range(order.size):
        voxel = order[i]
        _enter(voxel, shape, entered, nothing, full, parent, size)
        if start[voxel]:
            _joined(parent, size, voxel, n)
        if end[voxel]:
            _joined(parent, size, voxel, n + 1)
        if root_of(parent, n) == root_of(parent, n + 1):
            return i
    return -1


@njit(cache=True, nogil=True)
def mark_joined(labels, inside, empty, joined):  # type: ignore[no-untyped-def]
    """Set ``joined`` where a voxel of ``empty`` has the label of one that is not ``inside``; 0 is no label."""
    label, within, pore, out = labels.ravel(), inside.ravel(), empty.ravel(), joined.ravel()
    largest = 0
    for i in range(label.size):
        largest = max(largest, label[i])
    touched = np.zeros(largest + 1, dtype=np.bool_)
    for i in range(label.size):
        if not within[i]:
            touched[label[i]] = True
    touched[0] = False
    for i in range(label.size):
        out[i] = pore[i] and touched[label[i]]
