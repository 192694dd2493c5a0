"""Kernels of `connection`: voxels that enter one after the other, and the sets they join (union-find).

The last nodes of a forest are not voxels but what voxels may be joined to.
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
def levels_of(values, inside, levels, group, counts):  # type: ignore[no-untyped-def]
    """``group`` becomes the number of the first of the rising ``levels`` above a value, [z, y, x].

    n levels: n for what is above all of them, n + 1 for what is not ``inside``. ``counts`` [n + 2] are those of groups.
    """
    flat, within, out = values.ravel(), inside.ravel(), group.ravel()
    n = levels.size
    for i in range(flat.size):
        k = n + 1
        if within[i]:
            k = 0
            if flat[i] >= levels[n - 1]:
                k = n
            while k < n and flat[i] >= levels[k]:
                k += 1
        out[i] = k
        counts[k] += 1


@njit(cache=True, nogil=True)
def _root(parent, node):  # type: ignore[no-untyped-def]
    """As `root_of` where roots hold the size of their set, negative."""
    while parent[node] >= 0:
        if parent[parent[node]] >= 0:
            parent[node] = parent[parent[node]]
        node = parent[node]
    return node


@njit(cache=True, nogil=True)
def _unite(parent, first, second):  # type: ignore[no-untyped-def]
    """Join two trees, the smaller below the larger."""
    a, b = _root(parent, first), _root(parent, second)
    if a == b:
        return
    if parent[a] > parent[b]:
        a, b = b, a
    parent[a] += parent[b]
    parent[b] = a


@njit(cache=True, nogil=True)
def _unite_around(group, place, level, parent, full):  # type: ignore[no-untyped-def]
    """Join a voxel to those of its 26 or 6 neighbours that entered before, and to the outside (last node)."""
    depth, height, width = group.shape
    outside = np.int64(parent.size - 1)
    z, y, x = place
    voxel = (z * height + y) * width + x
    for dz in range(-1, 2):
        for dy in range(-1, 2):
            for dx in range(-1, 2):
                a, b, c = z + dz, y + dy, x + dx
                if a < 0 or b < 0 or c < 0 or a >= depth or b >= height or c >= width:
                    continue
                if not full and abs(dz) + abs(dy) + abs(dx) > 1:
                    continue
                kind = group[a, b, c]
                other = (a * height + b) * width + c
                if kind == level[1]:
                    _unite(parent, voxel, outside)
                elif kind < level[0] or (kind == level[0] and other < voxel):
                    _unite(parent, voxel, other)


@njit(cache=True, nogil=True)
def sizes_over_levels(group, ends, parent, full):  # type: ignore[no-untyped-def]
    """Voxels joined to the outside after each group of voxels (`levels_of`) has entered.

    ``ends`` are the sums of the numbers of voxels up to each group; ``parent`` is room, one more than voxels.
    """
    _, height, width = group.shape
    n = ends.size - 2
    order, starts = np.empty(ends[n - 1], dtype=parent.dtype), np.zeros(n, dtype=np.int64)
    starts[1:] = ends[: n - 1]
    flat = group.ravel()
    for i in range(flat.size):
        if flat[i] < n:
            order[starts[flat[i]]] = i
            starts[flat[i]] += 1
    parent[parent.size - 1] = -1
    out, first = np.empty(n, dtype=np.int64), 0
    for k in range(n):
        for i in range(first, ends[k]):
            parent[order[i]] = -1
            z, rest = order[i] // (height * width), order[i] % (height * width)
            _unite_around(group, (z, rest // width, rest % width), (k, n + 1), parent, full)
        first = ends[k]
        out[k] = -parent[_root(parent, np.int64(parent.size - 1))] - 1
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
