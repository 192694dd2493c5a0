"""Kernels of `multigrid`: groups of voxels and of groups as a sparse network, sweeps over it, and sums of vectors.

A sparse network is ``(start, column, conductance, diagonal)``: the neighbours of node i are ``column[start[i]:start[i +
1]]``. Groups never join parts of a block that do not touch inside it: potential does not leak across thin walls.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from cathoscope.volume.union_kernels import root_of

_CHUNK = 1024


@njit(cache=True, nogil=True)
def group_voxels(network, field, group):  # type: ignore[no-untyped-def]
    """Number the connected parts of every block of 2 x 2 x 2 voxels; returns the blocks [part, 3] they are in."""
    gz, gy, gx, _ = network
    depth, height, width = field.shape
    blocks = np.empty((max(field.size // 4, 8), 3), dtype=np.int16)
    parent = np.empty(8, dtype=np.int64)
    number = np.empty(8, dtype=np.int64)
    group[:] = -1
    count = 0
    for z in range(0, depth, 2):
        for y in range(0, height, 2):
            for x in range(0, width, 2):
                parent[:] = np.arange(8)
                for k in range(8):
                    a, b, c = z + (k >> 2), y + ((k >> 1) & 1), x + (k & 1)
                    if a >= depth or b >= height or c >= width:
                        continue
                    if not k & 4 and a + 1 < depth and gz[a, b, c] > 0:
                        parent[root_of(parent, k)] = root_of(parent, k + 4)
                    if not k & 2 and b + 1 < height and gy[a, b, c] > 0:
                        parent[root_of(parent, k)] = root_of(parent, k + 2)
                    if not k & 1 and c + 1 < width and gx[a, b, c] > 0:
                        parent[root_of(parent, k)] = root_of(parent, k + 1)
                number[:] = -1
                for k in range(8):
                    a, b, c = z + (k >> 2), y + ((k >> 1) & 1), x + (k & 1)
                    if a >= depth or b >= height or c >= width or field[a, b, c] <= 0:
                        continue
                    top = root_of(parent, k)
                    if number[top] < 0:
                        number[top] = count
                        if count == blocks.shape[0]:
                            larger = np.empty((2 * count, 3), dtype=np.int16)
                            larger[:count] = blocks
                            blocks = larger
                        blocks[count, 0], blocks[count, 1], blocks[count, 2] = z >> 1, y >> 1, x >> 1
                        count += 1
                    group[a, b, c] = number[top]
    return blocks[:count].copy()


@njit(cache=True, nogil=True)
def entries_of_voxels(network, group, count):  # type: ignore[no-untyped-def]
    """Conductances between groups of voxels, row after row, not yet summed: ``(start, column, conductance)``."""
    depth, height, width = group.shape
    start = np.zeros(count + 1, dtype=np.int64)
    column, value = np.empty(0, dtype=np.int32), np.empty(0, dtype=np.float32)
    for filling in range(2):
        if filling == 1:
            for i in range(count):
                start[i + 1] += start[i]
            start[0] = start[count]
            column, value = np.empty(start[count], dtype=np.int32), np.empty(start[count], dtype=np.float32)
        for z in range(depth):
            for y in range(height):
                for x in range(width):
                    here = group[z, y, x]
                    if here < 0:
                        continue
                    for axis in range(3):
                        a, b, c = z + (axis == 0), y + (axis == 1), x + (axis == 2)
                        if a == depth or b == height or c == width:
                            continue
                        other, conductance = group[a, b, c], network[axis][z, y, x]
                        if other == here or conductance <= 0:
                            continue
                        if filling == 0:
                            start[here + 1] += 1
                            start[other + 1] += 1
                        else:
                            _put(start, column, value, here, other, conductance)
                            _put(start, column, value, other, here, conductance)
    return _rows(start, count), column, value


@njit(cache=True, nogil=True)
def _rows(start, count):  # type: ignore[no-untyped-def]
    """Starts of the rows after they have been filled from their ends."""
    out = np.empty(count + 1, dtype=np.int64)
    out[0] = 0
    out[:count] = start[1:]
    out[count] = start[0]
    return out


@njit(cache=True, nogil=True)
def _put(start, column, value, row, other, conductance):  # type: ignore[no-untyped-def]
    """Append an entry to a row, from its end downwards."""
    start[row + 1] -= 1
    column[start[row + 1]] = other
    value[start[row + 1]] = conductance


@njit(cache=True, nogil=True)
def entries_of_groups(sparse, group, count):  # type: ignore[no-untyped-def]
    """As `entries_of_voxels`, between groups of nodes of a sparse network."""
    first, neighbour, conductance, _ = sparse
    start = np.zeros(count + 1, dtype=np.int64)
    for i in range(group.size):
        for k in range(first[i], first[i + 1]):
            if group[neighbour[k]] != group[i]:
                start[group[i] + 1] += 1
    for i in range(count):
        start[i + 1] += start[i]
    start[0] = start[count]
    column, value = np.empty(start[count], dtype=np.int32), np.empty(start[count], dtype=np.float32)
    for i in range(group.size):
        for k in range(first[i], first[i + 1]):
            if group[neighbour[k]] != group[i]:
                _put(start, column, value, group[i], group[neighbour[k]], conductance[k])
    return _rows(start, count), column, value


@njit(cache=True, nogil=True)
def merged(start, column, value):  # type: ignore[no-untyped-def]
    """Sum entries of the same row and column; returns new ``(start, column, conductance)``."""
    count = start.size - 1
    seen = np.full(count, -1, dtype=np.int64)
    out = np.zeros(count + 1, dtype=np.int64)
    used = 0
    for i in range(count):
        begin = used
        for k in range(start[i], start[i + 1]):
            j, conductance = column[k], value[k]
            if seen[j] >= begin:
                value[seen[j]] += conductance
            else:
                seen[j] = used
                column[used], value[used] = j, conductance
                used += 1
        out[i + 1] = used
    return out, column[:used].copy(), value[:used].copy()


@njit(cache=True, nogil=True)
def group_nodes(sparse, blocks, group):  # type: ignore[no-untyped-def]
    """Number the connected parts of every block of twice the edge; returns the blocks they are in."""
    start, column, _, _ = sparse
    parent = np.arange(group.size)
    for i in range(group.size):
        for k in range(start[i], start[i + 1]):
            j = column[k]
            if j > i and (
                blocks[i, 0] >> 1 == blocks[j, 0] >> 1
                and blocks[i, 1] >> 1 == blocks[j, 1] >> 1
                and blocks[i, 2] >> 1 == blocks[j, 2] >> 1
            ):
                a, b = root_of(parent, i), root_of(parent, j)
                parent[max(a, b)] = min(a, b)
    count = 0
    out = np.empty_like(blocks)
    for i in range(group.size):
        top = root_of(parent, i)
        if top == i:
            group[i] = count
            out[count] = blocks[i] >> 1
            count += 1
        else:
            group[i] = group[top]
    return out[:count].copy()


@njit(cache=True, nogil=True)
def sweep_down(sparse, right, out):  # type: ignore[no-untyped-def]
    """Gauss-Seidel through the nodes in order, from potential 0."""
    start, column, value, diagonal = sparse
    for i in range(right.size):
        total = right[i]
        for k in range(start[i], start[i + 1]):
            if column[k] < i:
                total += value[k] * out[column[k]]
        out[i] = total / diagonal[i]


@njit(cache=True, nogil=True)
def remainder(sparse, potential, group, coarse):  # type: ignore[no-untyped-def]
    """The upper triangle times the potential, summed over groups."""
    start, column, value, _ = sparse
    coarse[:] = np.float32(0.0)
    for i in range(potential.size):
        total = np.float32(0.0)
        for k in range(start[i], start[i + 1]):
            if column[k] > i:
                total += value[k] * potential[column[k]]
        coarse[group[i]] += total


@njit(cache=True, nogil=True)
def sweep_up(sparse, right, potential):  # type: ignore[no-untyped-def]
    """Gauss-Seidel through the nodes in reverse order."""
    start, column, value, diagonal = sparse
    for i in range(right.size - 1, -1, -1):
        total = right[i]
        for k in range(start[i], start[i + 1]):
            total += value[k] * potential[column[k]]
        potential[i] = total / diagonal[i]


@njit(cache=True, nogil=True)
def currents(sparse, potential, out):  # type: ignore[no-untyped-def]
    """``out`` becomes the matrix times the potential; returns potential . out."""
    start, column, value, diagonal = sparse
    product = 0.0
    for i in range(potential.size):
        total = diagonal[i] * potential[i]
        for k in range(start[i], start[i + 1]):
            total -= value[k] * potential[column[k]]
        out[i] = total
        product += potential[i] * np.float64(total)
    return product


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc"})
def dot(first, second):  # type: ignore[no-untyped-def]
    """Scalar product of two vectors, float32 within 1024 elements, float64 beyond."""
    product = 0.0
    for begin in range(0, first.size, _CHUNK):
        total = np.float32(0.0)
        for i in range(begin, min(begin + _CHUNK, first.size)):
            total += first[i] * second[i]
        product += float(total)
    return product


@njit(cache=True, nogil=True)
def add(factor, step, out):  # type: ignore[no-untyped-def]
    """``out += factor * step``, of vectors."""
    for i in range(out.size):
        out[i] += factor * step[i]


@njit(cache=True, nogil=True)
def renew(factor, step, out):  # type: ignore[no-untyped-def]
    """``out = step + factor * out``, of vectors."""
    for i in range(out.size):
        out[i] = step[i] + factor * out[i]
