"""Kernel of `geodesic`: a front that carries, with every distance, the point it is measured from.

Dijkstra's algorithm along the edges of a grid makes oblique paths too long. Here every voxel knows its anchor: the
source voxel, or the corner behind which it lies, to which it is joined by a straight line. Its distance is that of the
anchor plus the Euclidean distance to it (as in Theta*, Nash, Daniel, Koenig and Felner, AAAI 2007), so a straight path
of any direction has its exact length. Whether the anchor sees the voxel is asked of one voxel only: the one a step
back on the line, which was reached before. Voxels wait in buckets of equal distance (Dial, Commun. ACM 12, 632, 1969).

An anchor is one whole number: z, y, x with ``bits`` bits each, and a fourth field that is 1 if it is a corner.
The front is everywhere in the volume at once, so memory decides the speed: voxels are stored in blocks of 2 x 2 x 2,
each with its anchor beside its distance, and a voxel and half of its neighbours are read together.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_BUCKETS = 16  # a power of two; no step is longer than half of them


@njit(cache=True, nogil=True)
def _cell(z, y, x, blocks):  # type: ignore[no-untyped-def]
    """Where a voxel is stored; ``blocks`` are the numbers of blocks along y and x."""
    block = ((z >> 1) * blocks[0] + (y >> 1)) * blocks[1] + (x >> 1)
    return (block << 3) | ((z & 1) << 2) | ((y & 1) << 1) | (x & 1)


@njit(cache=True, nogil=True)
def _beside(solid, z, y, out):  # type: ignore[no-untyped-def]
    """Which voxels of a row share a face with solid."""
    depth, height, width = solid.shape
    row = solid[z, y]
    out[width - 1] = False
    for x in range(width - 1):
        out[x] = row[x + 1]
    for x in range(1, width):
        out[x] |= row[x - 1]
    for a, b in ((z - 1, y), (z + 1, y), (z, y - 1), (z, y + 1)):
        if a < 0 or b < 0 or a == depth or b == height:
            continue
        row = solid[a, b]
        for x in range(width):
            out[x] |= row[x]


@njit(cache=True, nogil=True)
def _longer(array, more):  # type: ignore[no-untyped-def]
    """Copy with twice the room and ``more``."""
    out = np.empty(2 * array.size + more, dtype=array.dtype)
    out[: array.size] = array
    return out


@njit(cache=True, nogil=True)
def _wider(array):  # type: ignore[no-untyped-def]
    """Copy with twice the room in every row."""
    out = np.empty((array.shape[0], 2 * array.shape[1]), dtype=array.dtype)
    out[:, : array.shape[1]] = array
    return out


@njit(cache=True, nogil=True)
def seed_front(source, solid, bits, distance, anchor):  # type: ignore[no-untyped-def]
    """Distance 0 at sources, inf in solid, -1 elsewhere; returns the packed positions of the sources beside solid.

    ``distance`` and ``anchor`` hold blocks; masks are [z, y, x].
    """
    depth, height, width = source.shape
    blocks = (height + 1) >> 1, (width + 1) >> 1
    front = np.empty(4096, dtype=np.int64)
    near = np.empty(width, dtype=np.bool_)
    count = 0
    for z in range(depth):
        for y in range(height):
            start, row = source[z, y], solid[z, y]
            for x in range(width):
                kind = np.float32(0.0) if start[x] else (np.float32(np.inf) if row[x] else np.float32(-1.0))
                distance[_cell(z, y, x, blocks)] = kind
            _beside(solid, z, y, near)
            if front.size < count + width:
                front = _longer(front, width)
            for x in range(width):
                if near[x] and start[x]:
                    front[count] = (z << (2 * bits)) | (y << bits) | x
                    anchor[_cell(z, y, x, blocks)] = front[count]
                    count += 1
    return front[:count]


@njit(cache=True, nogil=True)
def lengths_of(distance, offset, out):  # type: ignore[no-untyped-def]
    """``out`` [z, y, x] becomes the distances less the offset, and 0 where that or the distance is negative."""
    depth, height, width = out.shape
    blocks = (height + 1) >> 1, (width + 1) >> 1
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                out[z, y, x] = max(distance[_cell(z, y, x, blocks)] - offset, np.float32(0.0))


@njit(cache=True, nogil=True)
def _seen(distance, anchor, start, q, v, bits, blocks):  # type: ignore[no-untyped-def]
    """Whether the voxel a step back from ``q`` on the line along ``v`` is solid and itself not behind a corner."""
    vz, vy, vx = v
    longest = max(abs(vz), abs(vy), abs(vx))
    if longest <= 1:
        return True
    scale, half = np.float32(1.0) / np.float32(longest), np.float32(0.5)
    cell = _cell(
        q[0] - int(np.floor(np.float32(vz) * scale + half)),
        q[1] - int(np.floor(np.float32(vy) * scale + half)),
        q[2] - int(np.floor(np.float32(vx) * scale + half)),
        blocks,
    )
    reached = distance[cell]
    if reached <= 0.0 or reached == np.inf:
        return reached >= 0.0
    code = anchor[cell]
    if code >> (3 * bits) == 0:
        return True
    low = (1 << bits) - 1
    return distance[_cell((code >> (2 * bits)) & low, (code >> bits) & low, code & low, blocks)] <= start


@njit(cache=True, nogil=True)
def march(distance, anchor, shape, front, voxel, bits):  # type: ignore[no-untyped-def]
    """Carry the front of `seed_front` through the solid; ``voxel`` holds the edges z, y, x of a voxel.

    Returns the number of voxels that left a bucket, more than the voxels reached where some were corrected.
    """
    depth, height, width = shape
    blocks = (height + 1) >> 1, (width + 1) >> 1
    along_y, along_z = 8 * blocks[1], 8 * blocks[0] * blocks[1]
    hz, hy, hx = voxel
    per_length = np.float32(_BUCKETS / 2) / max(hz, hy, hx)
    low = (1 << bits) - 1
    waiting = np.empty((_BUCKETS, 4096), dtype=np.int64)
    entered = np.empty((_BUCKETS, 4096), dtype=np.float32)
    filled = np.zeros(_BUCKETS, dtype=np.int64)
    queued, popped, bucket = 0, 0, 0
    n_front = front.size
    while n_front > 0 or queued > 0:
        if n_front > 0:
            n_front -= 1
            place, at_entry = front[n_front], np.float32(0.0)
        else:
            while filled[bucket & (_BUCKETS - 1)] == 0:
                bucket += 1
            at = bucket & (_BUCKETS - 1)
            filled[at] -= 1
            queued -= 1
            place, at_entry = waiting[at, filled[at]], entered[at, filled[at]]
        z, y, x = place >> (2 * bits), (place >> bits) & low, place & low
        cell = _cell(z, y, x, blocks)
        here = distance[cell]
        if here != at_entry:  # reached by a shorter path since, and carried on from there
            continue
        popped += 1
        code = anchor[cell]
        az, ay, ax = (code >> (2 * bits)) & low, (code >> bits) & low, code & low
        start = distance[_cell(az, ay, ax, blocks)] if code >> (3 * bits) else np.float32(0.0)
        for side in range(6):
            qz, qy, qx, step = z, y, x, hx
            # across a face of the block the next block, else the other half of this one
            if side == 0:
                qx -= 1
                inside, other = x > 0, cell - 1 if x & 1 else cell - 7
            elif side == 1:
                qx += 1
                inside, other = qx < width, cell + 7 if x & 1 else cell + 1
            elif side == 2:
                qy, step = qy - 1, hy
                inside, other = y > 0, cell - 2 if y & 1 else cell - along_y + 2
            elif side == 3:
                qy, step = qy + 1, hy
                inside, other = qy < height, cell + along_y - 2 if y & 1 else cell + 2
            elif side == 4:
                qz, step = qz - 1, hz
                inside, other = z > 0, cell - 4 if z & 1 else cell - along_z + 4
            else:
                qz, step = qz + 1, hz
                inside, other = qz < depth, cell + along_z - 4 if z & 1 else cell + 4
            if not inside:
                continue
            known = distance[other]
            if known <= here:
                continue
            vz, vy, vx = qz - az, qy - ay, qx - ax
            sz, sy, sx = np.float32(vz) * hz, np.float32(vy) * hy, np.float32(vx) * hx
            found = start + np.sqrt(sz * sz + sy * sy + sx * sx)
            if found >= known:
                continue
            new = code
            if not _seen(distance, anchor, start, (qz, qy, qx), (vz, vy, vx), bits, blocks):
                found = here + step
                if found >= known:
                    continue
                new = (np.int64(1) << (3 * bits)) | place
            distance[other] = found
            anchor[other] = new
            at = max(int(found * per_length), bucket) & (_BUCKETS - 1)
            if filled[at] == waiting.shape[1]:
                waiting, entered = _wider(waiting), _wider(entered)
            waiting[at, filled[at]] = (qz << (2 * bits)) | (qy << bits) | qx
            entered[at, filled[at]] = found
            filled[at] += 1
            queued += 1
    return popped


@njit(cache=True, nogil=True)
def path_sums(length, solid, source, straight, offset, reached):  # type: ignore[no-untyped-def]
    """Collect the finite lengths of the solid that is no source in ``reached``; their number, all, and two sums.

    The sums are those of the lengths, and of (length + ``offset``) over the ``straight`` distance.
    """
    way, inside, start, direct = length.ravel(), solid.ravel(), source.ravel(), straight.ravel()
    count, total, lengths, ratios = 0, 0, 0.0, 0.0
    for i in range(way.size):
        if not inside[i] or start[i]:
            continue
        total += 1
        here = way[i]
        if here < np.inf:
            reached[count] = here
            count += 1
            lengths += here
            ratios += (here + offset) / direct[i]
    return count, total, lengths, ratios
