"""Part of a Blosc chunk, without decoding the rest of it: a slice needs one energy of the twenty in a chunk.

The layout is that of Blosc 1 with LZ4 (https://github.com/Blosc/c-blosc, README_CHUNK_FORMAT; LZ4 block format at
https://github.com/lz4/lz4). Every length in a chunk is checked: a damaged or hostile one gives False, never a read
outside of the buffers.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def byte_at(source, place):  # type: ignore[no-untyped-def]
    """A byte as a signed number, so that differences of lengths may be negative."""
    return np.int64(source[place])


@njit(cache=True, nogil=True)
def _repeat(target, written, offset, length):  # type: ignore[no-untyped-def]
    """Copy ``length`` bytes from ``offset`` before ``written``; what is copied may be copied again."""
    if offset == 1:
        target[written : written + length] = target[written - 1]
    elif offset >= length:
        target[written : written + length] = target[written - offset : written - offset + length]
    else:
        for k in range(np.uintp(written), np.uintp(written + length)):
            target[k] = target[k - np.uintp(offset)]


@njit(cache=True, nogil=True)
def _interleave(out, element, target, bytes_):  # type: ignore[no-untyped-def]
    """Put the bytes of a plane where they belong in the elements."""
    place = np.uintp(target)
    for i in range(np.uintp(bytes_.size)):
        out[place] = bytes_[i]
        place += np.uintp(element)


@njit(cache=True, nogil=True)
def decode_lz4(source, first, last, target, wanted):  # type: ignore[no-untyped-def]
    """Decode an LZ4 block ``source[first:last]`` into ``target`` until ``wanted`` bytes are there; whether it could."""
    read, written = first, 0
    while read < last:
        token = byte_at(source, read)
        read += 1
        length = token >> 4
        if length == 15:
            while read < last:
                more = byte_at(source, read)
                read += 1
                length += more
                if more != 255:
                    break
        if read + length > last:
            return False
        length = min(length, wanted - written)
        target[written : written + length] = source[read : read + length]
        written += length
        if written >= wanted:
            return True
        read += length
        if read + 2 > last:
            return False
        offset = byte_at(source, read) + 256 * byte_at(source, read + 1)
        read += 2
        length = token & 15
        if length == 15:
            while read < last:
                more = byte_at(source, read)
                read += 1
                length += more
                if more != 255:
                    break
        if offset == 0 or offset > written:
            return False
        length = min(length + 4, wanted - written)
        _repeat(target, written, offset, length)
        written += length
        if written >= wanted:
            return True
    return written >= wanted


@njit(cache=True, nogil=True)
def _int32(source, place):  # type: ignore[no-untyped-def]
    value = 0
    for k in range(3, -1, -1):
        value = 256 * value + byte_at(source, place + k)
    return value


@njit(cache=True, nogil=True)
def decode_block(source, place, sizes, element, span, out):  # type: ignore[no-untyped-def]
    """Bytes ``span`` of a block of shuffled elements whose streams begin at ``place`` of ``source``; whether it could.

    Parameters
    ----------
    source
        Bytes of a part of a chunk, uint8, [byte].
    place
        Where the first stream's length stands.
    sizes
        Bytes of the block, and number of its streams: that of the bytes of an element, or 1.
    element
        Bytes of an element.
    span
        First and last (exclusive) byte wanted, multiples of ``element``.
    out
        Filled with them, [byte].
    """
    size, streams = sizes
    each, plane = size // streams, size // element
    first, last = span[0] // element, span[1] // element
    # up to the last byte of the last plane if all planes are in one stream
    wanted = last if streams > 1 else (element - 1) * plane + last
    decoded = np.empty(wanted, np.uint8)
    for stream in range(streams):
        if place + 4 > source.size:
            return False
        length = _int32(source, place)
        place += 4
        if place + length > source.size:
            return False
        if length == each:
            bytes_ = source[place : place + length]
        else:
            if not decode_lz4(source, place, place + length, decoded, wanted):
                return False
            bytes_ = decoded
        planes = 1 if streams > 1 else element
        for k in range(planes):
            target = stream if streams > 1 else k
            _interleave(out, element, target, bytes_[k * plane + first : k * plane + last])
        place += length
    return True
