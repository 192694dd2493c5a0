"""Kernels of `domains`: a watershed without queue, and what is counted of its labels in one pass each."""

from __future__ import annotations

import numpy as np
from numba import njit

from cathoscope.volume.union_kernels import root_of


@njit(cache=True, nogil=True)
def sorted_down(distance, per_length, levels):  # type: ignore[no-untyped-def]
    """Flat positions of all voxels of positive distance, the farthest first, by counting in ``levels`` steps."""
    flat = distance.ravel()
    starts = np.zeros(levels + 1, dtype=np.int64)
    for i in range(flat.size):
        if flat[i] > 0:
            starts[levels - min(int(flat[i] * per_length), levels - 1)] += 1
    for k in range(levels):
        starts[k + 1] += starts[k]
    order = np.empty(starts[levels], dtype=np.int32)
    for i in range(flat.size):
        if flat[i] > 0:
            k = levels - 1 - min(int(flat[i] * per_length), levels - 1)
            order[starts[k]] = i
            starts[k] += 1
    return order


@njit(cache=True, nogil=True)
def watershed(distance, order, depth, labels):  # type: ignore[no-untyped-def]
    """Label the basins of a distance map whose maxima stand out by ``depth``; returns their number.

    Voxels enter from the farthest to the nearest. One that has neighbours (6) joins the farthest of them; where it
    connects two maxima of which one is less than ``depth`` above it, that one becomes part of the higher. Labels
    ``[z, y, x]`` are 1, 2, ... in the order of falling maxima, and 0 where the distance is 0.
    """
    n_z, n_y, n_x = distance.shape
    plane = n_y * n_x
    flat, parent = distance.ravel(), labels.ravel()
    parent[:] = -1
    roots, peaks, found = np.empty(6, dtype=np.int64), np.empty(1024, dtype=np.int64), 0
    for i in range(order.size):
        here = np.int64(order[i])
        rest = np.uint32(here) % np.uint32(plane)  # divisions of 32 bits take half the time
        x, in_plane = np.int64(rest % np.uint32(n_x)), np.int64(rest)
        count, own, highest, meeting = 0, here, np.float32(-1.0), False
        for side in range(6):
            if side == 0:
                inside, other = x > 0, here - 1
            elif side == 1:
                inside, other = x + 1 < n_x, here + 1
            elif side == 2:
                inside, other = in_plane >= n_x, here - n_x
            elif side == 3:
                inside, other = in_plane < plane - n_x, here + n_x
            elif side == 4:
                inside, other = here >= plane, here - plane
            else:
                inside, other = here < (n_z - 1) * plane, here + plane
            if not inside or parent[other] < 0:
                continue
            root = root_of(parent, other)
            roots[count] = root
            meeting |= root != roots[0]
            count += 1
            if flat[other] > highest:
                highest, own = flat[other], root
        parent[here] = own
        if count == 0:
            if found == peaks.size:
                peaks = np.append(peaks, np.empty_like(peaks))
            peaks[found] = here
            found += 1
        for k in range(count if meeting else 0):
            first, second = root_of(parent, own), root_of(parent, roots[k])
            if first == second:
                continue
            low, high = (first, second) if flat[first] < flat[second] else (second, first)
            if flat[low] - flat[here] < depth:
                parent[low] = high
    return _numbered(parent, peaks[:found])


@njit(cache=True, nogil=True)
def _numbered(parent, peaks):  # type: ignore[no-untyped-def]
    """Turn positions of maxima, of which ``peaks`` are all that there were at any time, into numbers from 1."""
    count = 0
    for peak in peaks:
        if parent[peak] == peak:
            count += 1
            parent[peak] = -count - 1
    for i in range(parent.size):
        at = np.int64(i)
        while parent[at] >= 0:
            at = np.int64(parent[at])
        parent[i] = parent[at]
    for i in range(parent.size):
        parent[i] = -parent[i] - 1
    return count


@njit(cache=True, nogil=True)
def moments(labels, number):  # type: ignore[no-untyped-def]
    """Sums of 1, z, y, x, zz, yy, xx, zy, zx, yx over the voxels of every label, and faces on the volume's rim."""
    out = np.zeros((number + 1, 11))
    depth, height, width = labels.shape
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                label = labels[z, y, x]
                if label == 0:
                    continue
                row = out[label]
                row[0] += 1.0
                row[1] += z
                row[2] += y
                row[3] += x
                row[4] += z * z
                row[5] += y * y
                row[6] += x * x
                row[7] += z * y
                row[8] += z * x
                row[9] += y * x
                if z == 0 or y == 0 or x == 0 or z + 1 == depth or y + 1 == height or x + 1 == width:
                    row[10] += 1.0
    return out


@njit(cache=True, nogil=True)
def common_faces(labels, number):  # type: ignore[no-untyped-def]
    """Faces between two labels: ``(smaller * (number + 1) + larger)`` of each, and 1 to 3 for z to x, signed.

    The sign is positive where the smaller label comes first.
    """
    depth, height, width = labels.shape
    count = 0
    for filling in range(2):
        room = count if filling == 1 else 0
        keys, sides = np.empty(room, dtype=np.int64), np.empty(room, dtype=np.int8)
        count = 0
        for z in range(depth):
            for y in range(height):
                for x in range(width):
                    a = np.int64(labels[z, y, x])
                    if a == 0:
                        continue
                    for axis in range(3):
                        p, q, r = z + (axis == 0), y + (axis == 1), x + (axis == 2)
                        if p == depth or q == height or r == width:
                            continue
                        b = np.int64(labels[p, q, r])
                        if b == 0 or b == a:
                            continue
                        if filling == 1:
                            keys[count] = min(a, b) * (number + 1) + max(a, b)
                            sides[count] = axis + 1 if a < b else -axis - 1
                        count += 1
    return keys, sides
