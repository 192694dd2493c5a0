"""One chunk on disk, all of it or a part: a slice needs one energy of the twenty in a chunk.

Blosc decodes both. For a part it is given a small chunk, made of the blocks of the large one that hold it (layout of
Blosc 1: https://github.com/Blosc/c-blosc, README_CHUNK_FORMAT).
"""

from __future__ import annotations

import os
import struct

import numpy as np
from numcodecs import blosc  # type: ignore[import-untyped]  # it is told of no types
from numpy.typing import NDArray

from cathoscope.core.errors import StudyError

Bytes = NDArray[np.uint8]

_HEADER = struct.Struct("<4B3I")  # two versions, flags, bytes of an element; bytes decoded, of a block, in the file
_VERSION, _STORED = 2, 2
_FIRST_READ = 4 << 10  # bytes that hold the header and where the blocks begin
_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


def read_chunk(path: str, n_bytes: int, first: int = 0, last: int | None = None) -> Bytes | None:
    """Decoded bytes ``first`` to ``last`` (exclusive) of a chunk of ``n_bytes``; None where it was never written.

    Raises
    ------
    StudyError
        If the chunk cannot be read, is cut short or damaged.
    """
    last = n_bytes if last is None else last
    try:
        file = os.open(path, _FLAGS)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StudyError("a chunk cannot be read", where=path, found=str(error.strerror)) from None
    try:
        content, skipped = _covering(file, n_bytes, first, last)
    finally:
        os.close(file)
    try:
        values = np.frombuffer(blosc.decompress(_checked(content, n_bytes, last - skipped)), np.uint8)
    except (RuntimeError, ValueError) as error:
        raise StudyError(
            "a chunk is cut short or damaged", where=path, found=str(error), cure="compute the array again"
        ) from None
    # a copy of what is wanted, so that the rest is not kept with it
    return values if values.size == last - first else values[first - skipped : last - skipped].copy()


def _checked(content: bytes, n_bytes: int, wanted: int) -> bytes:
    """``content`` if its header tells the truth about it."""
    if len(content) < _HEADER.size:
        raise ValueError(f"{len(content)} bytes")
    *_, decoded, _, written = _HEADER.unpack_from(content)
    if written > len(content) or not wanted <= decoded <= n_bytes:
        raise ValueError(f"{decoded} bytes in {written}, of which {len(content)} are there")
    return content


def _covering(file: int, n_bytes: int, first: int, last: int) -> tuple[bytes, int]:
    """A chunk that holds what is wanted of the one in the file, and where in that one it begins."""
    size = os.fstat(file).st_size
    if last - first < n_bytes:
        part = _part(file, size, n_bytes, first, last)
        if part is not None:
            return part
    return os.pread(file, size, 0), 0


def _part(file: int, size: int, n_bytes: int, first: int, last: int) -> tuple[bytes, int] | None:
    """The same without the blocks that are not wanted; None where that is not possible."""
    head = os.pread(file, _FIRST_READ, 0)
    if len(head) < _HEADER.size or head[0] != _VERSION:
        return None
    *kind, decoded, block, _ = _HEADER.unpack_from(head)
    if decoded != n_bytes or not 0 < block < n_bytes:
        return None
    if kind[2] & _STORED:
        content = os.pread(file, last - first, _HEADER.size + first)
        return _HEADER.pack(*kind, len(content), min(block, len(content)), _HEADER.size + len(content)) + content, first
    count = -(-n_bytes // block)
    starts = _starts(file, head, count)
    if starts is None:
        return None
    # never the last block alone: Blosc wants a chunk to be at least as long as a block
    begin, end = min(first // block, count - 2), max(-(-last // block), 1)
    wanted = starts[begin:end]
    place, top = min(wanted), max(wanted)
    if top >= size:
        return None
    content = os.pread(file, min((start for start in starts if top < start < size), default=size) - place, place)
    base = _HEADER.size + 4 * len(wanted)
    length = min(end * block, n_bytes) - begin * block
    table = struct.pack(f"<{len(wanted)}I", *(base + start - place for start in wanted))
    return _HEADER.pack(*kind, length, block, base + len(content)) + table + content, begin * block


def _starts(file: int, head: bytes, count: int) -> tuple[int, ...] | None:
    """Where every block of a chunk begins in its file; blocks may lie in any order."""
    table = struct.Struct(f"<{count}I")
    if len(head) < _HEADER.size + table.size:
        head = os.pread(file, _HEADER.size + table.size, 0)
    return table.unpack_from(head, _HEADER.size) if len(head) >= _HEADER.size + table.size else None
