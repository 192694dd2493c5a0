"""OLE2 containers (MS-CFB): small streams by olefile, large ones located in the file so that they stay there.

A container is a file system in a file: storages (directories) hold streams (files), a stream is a
chain of sectors of 512 or 4096 bytes, and the file allocation table (FAT) says which sector comes
next. Streams below 4096 bytes share one stream, the mini stream, in sectors of 64 bytes with a
table of their own. Source: Microsoft, [MS-CFB] Compound File Binary File Format, sections 2.1 to 2.6.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import olefile

from cathoscope.core.errors import MeasurementError
from cathoscope.io.lazy import COPY_AGAIN

_HEADER_BYTES = 512
# What is read at once: the directory, the table of the mini stream and the mini stream; or one stream of header values.
_LARGEST_TABLE = 2**24
_LARGEST_CONTENT = 2**20
_UNKNOWN_SIZE = olefile.olefile.UNKNOWN_SIZE
_OleFileError = olefile.olefile.OleFileError


@dataclass(frozen=True)
class Extents:
    """Where the bytes of a stream lie: pieces, one after the other, each at an offset in the file."""

    offsets: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]

    @property
    def size(self) -> int:
        """Number of bytes."""
        return int(self.lengths.sum())

    def part(self, start: int, stop: int) -> Extents:
        """Where the bytes ``start`` to ``stop`` (excluded) of the stream lie."""
        begins = np.cumsum(self.lengths) - self.lengths
        low, high = np.maximum(begins, start), np.minimum(begins + self.lengths, stop)
        kept = high > low
        return Extents((self.offsets + low - begins)[kept], (high - low)[kept])

    def within(self, file_size: int) -> Extents:
        """The pieces as far as a file of that size holds them."""
        lengths = np.clip(file_size - self.offsets, 0, self.lengths)
        return Extents(self.offsets[lengths > 0], lengths[lengths > 0])

    def read(self, file: BinaryIO) -> bytes:
        """The bytes; fewer if the file has become shorter."""
        pieces = []
        for offset, length in zip(self.offsets.tolist(), self.lengths.tolist(), strict=True):
            file.seek(offset)
            pieces.append(file.read(length))
        return b"".join(pieces)


class _SectorTable:
    """Sector after sector, which one comes next, followed in runs of neighbours."""

    def __init__(self, links: Any) -> None:
        # No copy and no wider numbers: the table of a file of 20 GB has five million entries.
        self.links = np.asarray(links, dtype=np.uint32)
        broken = self.links != np.arange(1, self.links.size + 1, dtype=np.uint32)
        broken[-1:] = True
        self.run_ends = np.flatnonzero(broken)

    def extents(self, first: int, size: int, sector_size: int) -> Extents:
        """Offsets, counted from sector 0, of ``size`` bytes; fewer where the chain leaves the table."""
        offsets, lengths = [], []
        left = size
        while left > 0 and 0 <= first < self.links.size:
            end = int(self.run_ends[np.searchsorted(self.run_ends, first)])
            length = min(left, (end - first + 1) * sector_size)
            offsets.append(first * sector_size)
            lengths.append(length)
            left -= length
            first = int(self.links[end])
        return Extents(np.array(offsets, dtype=np.int64), np.array(lengths, dtype=np.int64))


class Container(olefile.OleFileIO):  # type: ignore[misc]
    """An open container, of which no more than a bounded part is ever in memory."""

    def _open(self, start: int, size: int = _UNKNOWN_SIZE, force_FAT: bool = False) -> Any:
        # Through this method olefile reads all that it reads behind the header and the FAT.
        if size == _UNKNOWN_SIZE:
            self._check_chain(start)
        elif size > _LARGEST_TABLE:
            raise _OleFileError(f"a stream of {size} bytes where a table of sectors is expected")
        return super()._open(start, size, force_FAT)

    def _check_chain(self, sector: int) -> None:
        for _ in range(_LARGEST_TABLE // self.sectorsize):
            if not 0 <= sector < len(self.fat):
                return
            sector = self.fat[sector]
        raise _OleFileError("the directory's chain of sectors does not end")

    def entry(self, name: str) -> Any:
        """Directory entry of the stream ``name``, as "storage/stream" in any case; None if there is none."""
        node = self.root
        for part in name.lower().split("/"):
            node = node.kids_dict.get(part)
            if node is None:
                return None
        return node if node.entry_type == olefile.STGTY_STREAM else None

    def content(self, name: str) -> bytes:
        """The bytes of a stream of at most 1 MiB, as many as the file holds; none if there is no such stream."""
        entry = self.entry(name)
        if entry is None:
            return b""
        if entry.size > _LARGEST_CONTENT:
            raise _OleFileError(f"{name} has {entry.size} bytes, too many for header values")
        return bytes(self._open(entry.isectStart, entry.size).read())

    def numbers(self, name: str, dtype: str) -> npt.NDArray[Any]:
        """A stream as numbers of ``dtype``; an incomplete last one is left out."""
        content, size = self.content(name), np.dtype(dtype).itemsize
        return np.frombuffer(content[: len(content) // size * size], dtype=dtype)

    def integer(self, name: str) -> int | None:
        """The first int32 of a stream; None if there is none."""
        found = self.numbers(name, "<i4")
        return int(found[0]) if found.size else None

    def text(self, name: str) -> str:
        """The printable characters of a stream up to its first zero byte."""
        begin = self.content(name).partition(b"\0")[0].decode("ascii", errors="replace")
        return "".join(character for character in begin if character.isprintable()).strip()

    def extents(self, entry: Any) -> Extents:
        """Where the stream of a directory entry lies; shorter than ``entry.size`` where the file lacks the rest."""
        if entry.size >= self.minisectorcutoff:
            return self._in_sectors(entry.isectStart, entry.size)
        table, stream = self._mini
        found = table.extents(entry.isectStart, entry.size, self.minisectorsize)
        parts = [stream.part(offset, offset + n) for offset, n in zip(found.offsets, found.lengths, strict=True)]
        nothing = np.zeros(0, np.int64)
        return Extents(
            np.concatenate([nothing, *(part.offsets for part in parts)]),
            np.concatenate([nothing, *(part.lengths for part in parts)]),
        )

    def _in_sectors(self, first: int, size: int) -> Extents:
        found = self._table.extents(first, min(size, self._filesize), self.sectorsize)
        # The header takes the place of one sector.
        return Extents(found.offsets + self.sectorsize, found.lengths).within(self._filesize)

    @cached_property
    def _table(self) -> _SectorTable:
        return _SectorTable(self.fat)

    @cached_property
    def _mini(self) -> tuple[_SectorTable, Extents]:
        self.loadminifat()
        return _SectorTable(self.minifat), self._in_sectors(self.root.isectStart, self.root.size)


@contextmanager
def open_container(path: Path) -> Iterator[Container]:
    """The container ``path``, open for reading.

    Raises
    ------
    MeasurementError
        If it is damaged, or a read inside the ``with`` block fails.
    """
    with path.open("rb") as file:
        defect = _header_defect(file.read(_HEADER_BYTES), path.stat().st_size)
    if defect is not None:
        raise damaged(path, defect)
    try:
        with Container(str(path)) as container:
            yield container
    # What olefile and the struct and array modules below it raise on damaged content.
    except (OSError, ValueError, IndexError, RecursionError, struct.error) as error:
        raise damaged(path, str(error) or type(error).__name__) from error


def begins_as_container(path: Path) -> bool:
    """Whether the file has the signature of a container."""
    with path.open("rb") as file:
        return bool(file.read(len(olefile.MAGIC)) == olefile.MAGIC)


def damaged(path: Path, found: str) -> MeasurementError:
    """The error that names a damaged container and what was found in it."""
    return MeasurementError(
        "the OLE2 container is truncated or damaged",
        where=path,
        expected="a complete OLE2 container",
        found=found.splitlines()[0],
        cure=COPY_AGAIN,
    )


def _header_defect(header: bytes, file_size: int) -> str | None:
    """Why the header cannot be followed, or not without reading far more than a table of sectors; None if it can."""
    if not header.startswith(olefile.MAGIC):
        return f"a file that begins with {header[:8]!r}"
    if len(header) < _HEADER_BYTES:
        return f"{len(header)} bytes, less than a header"
    shift, mini_shift = struct.unpack_from("<HH", header, 30)
    if shift not in (9, 12) or mini_shift != 6:
        return f"sectors of 2^{shift} and 2^{mini_shift} bytes, where 2^9 or 2^12 and 2^6 are allowed"
    (n_table_sectors,) = struct.unpack_from("<I", header, 44)
    # Each sector of the table has an entry of four bytes for each of the sectors it covers.
    needed = file_size // 2 ** (2 * shift - 2) + 1
    if n_table_sectors > 2 * needed + 109:
        return f"{n_table_sectors} sectors of allocation table for a file of {file_size} bytes"
    return None
