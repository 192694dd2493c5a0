"""Kernel of `geodesic`: a front that carries, with every distance, the point it is measured from.

Dijkstra's algorithm along the edges of a grid makes oblique paths too long. Here every voxel knows its anchor: the
source voxel, or the corner behind which it lies, to which it is joined by a straight line. Its distance is that of the
anchor plus the Euclidean distance to it (as in Theta*, Nash, Daniel, Koenig and Felner, AAAI 2007), so a straight path
of any direction has its exact length. Whether the anchor sees the voxel is asked of one voxel only: the one a step
back on the line, which was reached before. Voxels wait in buckets of equal distance (Dial, Commun. ACM 12, 632, 1969).
Only voxels that do not see their nearest source are waited for: where no other hole is as near as the source, the way
to it is straight, and a distance transform knows its length. The front starts at their border.

An anchor is one whole number: z, y, x with ``bits`` bits each, and a fourth field that is 1 if it is a corner.
The front is everywhere in the volume at once, so memory decides the speed: voxels are stored in blocks of 2 x 2 x 2,
each with its anchor beside its distance, and a voxel and half of its neighbours are read together.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_BUCKETS = 16  # a power of two; no step is longer than half of them
_NEAR, _TIE = 2, 1e-5  # voxels around where a source is sought; relative: distances that are one


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
def _anchor(source, straight, place, voxel, bits):  # type: ignore[no-untyped-def]
    """Anchor of a voxel that sees its source, at the ``straight`` distance: sought where the distance falls.

    Where it is not found there, between two sources, the voxel is a corner of its own.
    """
    z, y, x = place
    code = (z << (2 * bits)) | (y << bits) | x
    away = straight[z, y, x]
    if away == 0:
        return code
    depth, height, width = source.shape
    a, b = max(z - 1, 0), min(z + 1, depth - 1)
    slope_z = (straight[b, y, x] - straight[a, y, x]) / (max(b - a, 1) * voxel[0])
    a, b = max(y - 1, 0), min(y + 1, height - 1)
    slope_y = (straight[z, b, x] - straight[z, a, x]) / (max(b - a, 1) * voxel[1])
    a, b = max(x - 1, 0), min(x + 1, width - 1)
    slope_x = (straight[z, y, b] - straight[z, y, a]) / (max(b - a, 1) * voxel[2])
    way = away / max(np.sqrt(slope_z**2 + slope_y**2 + slope_x**2), 1e-6)
    to_z, to_y, to_x = (
        z - int(np.rint(way * slope_z / voxel[0])),
        y - int(np.rint(way * slope_y / voxel[1])),
        x - int(np.rint(way * slope_x / voxel[2])),
    )
    for i in range(max(to_z - _NEAR, 0), min(to_z + _NEAR + 1, depth)):
        for j in range(max(to_y - _NEAR, 0), min(to_y + _NEAR + 1, height)):
            for k in range(max(to_x - _NEAR, 0), min(to_x + _NEAR + 1, width)):
                if source[i, j, k]:
                    far = ((i - z) * voxel[0]) ** 2 + ((j - y) * voxel[1]) ** 2 + ((k - x) * voxel[2]) ** 2
                    if abs(np.sqrt(far) - away) <= _TIE * away:
                        return (i << (2 * bits)) | (j << bits) | k
    return (np.int64(1) << (3 * bits)) | code


@njit(cache=True, nogil=True)
def seed_front(masks, straight, room, voxel, bits):  # type: ignore[no-untyped-def]
    """Packed positions and distances of the voxels from which the front goes on to those that see no source.

    ``masks`` [z, y, x] are the source, the solid, and what of the solid is hidden from its source; ``straight`` the
    distances to the source. ``room`` are distance and anchor in blocks: distances become 0 at sources, straight where
    they are seen, inf where they are hidden, and -1 elsewhere.
    """
    source, solid, hidden = masks
    distance, anchor = room
    depth, height, width = source.shape
    blocks = (height + 1) >> 1, (width + 1) >> 1
    front, entry = np.empty(4096, dtype=np.int64), np.empty(4096, dtype=np.float32)
    near = np.empty(width, dtype=np.bool_)
    count = 0
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                known = source[z, y, x] or (solid[z, y, x] and not hidden[z, y, x])
                outside = np.float32(np.inf) if hidden[z, y, x] else np.float32(-1.0)
                distance[_cell(z, y, x, blocks)] = straight[z, y, x] if known else outside
            _beside(hidden, z, y, near)
            if front.size < count + width:
                front, entry = _longer(front, width), _longer(entry, width)
            for x in range(width):
                if near[x] and (source[z, y, x] or (solid[z, y, x] and not hidden[z, y, x])):
                    front[count], entry[count] = (z << (2 * bits)) | (y << bits) | x, straight[z, y, x]
                    anchor[_cell(z, y, x, blocks)] = _anchor(source, straight, (z, y, x), voxel, bits)
                    count += 1
    return front[:count], entry[:count]


@njit(cache=True, nogil=True)
def lengths_of(lines, wide, shape, offset):  # type: ignore[no-untyped-def]
    """Distances less the ``offset``, 0 where that or the distance is negative, at the beginning of their own memory.

    ``lines`` are cells of ``wide`` numbers, of which the first is the distance, in blocks; they become distances in
    raster order of ``shape``. Two planes are read before they are written to: where that is, all has been read.
    """
    depth, height, width = shape
    blocks = (height + 1) >> 1, (width + 1) >> 1
    planes = np.empty((2, height, width), dtype=lines.dtype)
    for z in range(0, depth, 2):
        both = min(2, depth - z)
        for k in range(both):
            for y in range(height):
                for x in range(width):
                    here = lines[wide * _cell(z + k, y, x, blocks)]
                    planes[k, y, x] = max(here - offset, np.float32(0.0))
        first = z * height * width
        lines[first : first + both * height * width] = planes[:both].ravel()


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
def march(room, shape, front, voxel, bits):  # type: ignore[no-untyped-def]
    """Carry the front of `seed_front`, nearest first, through the solid; ``voxel`` holds the edges of a voxel.

    The distances of the front end with one that no path has. Returns the number of voxels that left a bucket, more than
    the voxels reached where some were corrected.
    """
    distance, anchor = room
    depth, height, width = shape
    blocks = (height + 1) >> 1, (width + 1) >> 1
    along_y, along_z = 8 * blocks[1], 8 * blocks[0] * blocks[1]
    hz, hy, hx = voxel
    per_length = np.float32(_BUCKETS / 2) / max(hz, hy, hx)
    low = (1 << bits) - 1
    waiting = np.empty((_BUCKETS, 4096), dtype=np.int64)
    entered = np.empty((_BUCKETS, 4096), dtype=np.float32)
    filled = np.zeros(_BUCKETS, dtype=np.int64)
    queued, popped, bucket, begun = 0, 0, 0, 0
    places, entries = front
    while begun < places.size or queued > 0:
        first = int(entries[begun] * per_length)
        bucket = bucket if queued > 0 else first
        while bucket < first and filled[bucket & (_BUCKETS - 1)] == 0:
            bucket += 1
        if bucket == first:
            place, at_entry = places[begun], entries[begun]
            begun += 1
        else:
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
                qx, inside, other = x - 1, x > 0, cell - 1 if x & 1 else cell - 7
            elif side == 1:
                qx, inside, other = x + 1, x + 1 < width, cell + 7 if x & 1 else cell + 1
            elif side == 2:
                qy, step, inside, other = y - 1, hy, y > 0, cell - 2 if y & 1 else cell - along_y + 2
            elif side == 3:
                qy, step, inside, other = y + 1, hy, y + 1 < height, cell + along_y - 2 if y & 1 else cell + 2
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
