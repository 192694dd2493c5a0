"""Arrays of a study read block by block: what a slice needs is decoded, kept for the next one, and nothing else.

A block is what one chunk holds at one place of the axes in front of z, y and x: 8 x 64 x 64 voxels in the layout of a
study. Of a chunk with twenty energies only a part is read and decoded. Blocks are kept until `BLOCK_BYTES` are used.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numcodecs import blosc  # type: ignore[import-untyped]  # it is told of no types
from numpy.typing import NDArray

from cathoscope.core.errors import StudyError
from cathoscope.report.viewer.blosc_kernels import decode_block

Array = NDArray[Any]
Bytes = NDArray[np.uint8]

BLOCK_BYTES = 104 << 20  # one plane across x of 512^3 voxels with its mask and flags
_MOST_CHUNK_BYTES = 512 << 20  # a chunk that says it is larger is refused
_HEADER = 16
_FIRST_READ = 32 << 10  # bytes of a file that are read at once: small chunks whole, of large ones the list of blocks
_LZ4, _SHUFFLED, _STORED, _UNSPLIT = 1, 1, 2, 16
_DTYPES = {"bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "float32", "float64"}
_pool = ThreadPoolExecutor(max_workers=max(2, min(8, os.cpu_count() or 1)), thread_name_prefix="blocks")


@dataclass(frozen=True)
class Layout:
    """How an array lies on disk, as its ``zarr.json`` says; ``version`` changes when another takes its place."""

    folder: Path
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dims: tuple[str, ...]
    dtype: np.dtype[Any]
    fill: float
    separator: str
    attributes: Mapping[str, Any]
    version: tuple[int, int]

    @cached_property
    def key(self) -> tuple[str, tuple[int, int]]:
        """Tells this array from all others, and from those that were in its place."""
        return str(self.folder), self.version

    @cached_property
    def n_voxel_dims(self) -> int:
        """How many of z, y, x the array has, as its last axes."""
        return next((n for n in (3, 2) if self.dims[-n:] == ("z", "y", "x")[-n:]), 0)

    @cached_property
    def n_lead(self) -> int:
        """How many axes stand in front of them."""
        return len(self.shape) - self.n_voxel_dims

    @cached_property
    def block_shape(self) -> tuple[int, ...]:
        """Voxels of a block along the last axes."""
        return self.chunks[self.n_lead :]


@dataclass(frozen=True)
class Combination:
    """An array that is not on disk: ``layout`` summed over its second axis with weights.

    ``weights`` are [place, energy, coefficient], the places being those of the first axis of ``layout``. Its own axes
    are place, energy and those of the voxels.
    """

    layout: Layout
    weights: NDArray[np.float32]

    @property
    def lead_shape(self) -> tuple[int, int]:
        """Number of places and of energies."""
        return int(self.weights.shape[0]), int(self.weights.shape[1])


Stored = Layout | Combination


def layout_of(array: Stored) -> Layout:
    """The layout of what is on disk."""
    return array.layout if isinstance(array, Combination) else array


def read_layout(folder: Path) -> Layout:
    """The layout of the array in ``folder``.

    Raises
    ------
    StudyError
        If its ``zarr.json`` does not describe an array of the kind that a study holds.
    """
    file = folder / "zarr.json"
    try:
        state = file.stat()
        return _parsed(folder, _described(folder, state.st_ino, state.st_mtime_ns), (state.st_ino, state.st_mtime_ns))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise StudyError(
            "this array cannot be shown",
            where=folder,
            expected="an array as cathoscope writes it: zarr v3, Blosc with LZ4",
            found=f"{type(error).__name__}: {error}"[:200],
            cure="compute it again with: cathoscope run RECIPE",
        ) from None


@lru_cache(maxsize=2048)
def _described(folder: Path, inode: int, modified: int) -> Mapping[str, Any]:
    """Content of ``zarr.json``, read again when it changes."""
    described: Mapping[str, Any] = json.loads((folder / "zarr.json").read_text(encoding="utf-8"))
    return described


def _parsed(folder: Path, told: Mapping[str, Any], version: tuple[int, int]) -> Layout:
    grid, keys = told["chunk_grid"], told["chunk_key_encoding"]
    shape = tuple(int(n) for n in told["shape"])
    chunks = tuple(int(n) for n in grid["configuration"]["chunk_shape"])
    codecs = [str(codec["name"]) for codec in told["codecs"]]
    if told["node_type"] != "array" or grid["name"] != "regular" or codecs != ["bytes", "blosc"]:
        raise ValueError(f"{told['node_type']} with codecs {codecs}")
    if keys["name"] != "default" or told["data_type"] not in _DTYPES or told.get("storage_transformers"):
        raise ValueError(f"{told['data_type']} with keys {keys['name']}")
    if len(chunks) != len(shape) or min((*shape, *chunks, 1)) < 0 or 0 in chunks:
        raise ValueError(f"chunks {chunks} of shape {shape}")
    dtype = np.dtype(told["data_type"])
    if math.prod(chunks) * dtype.itemsize > _MOST_CHUNK_BYTES:
        raise ValueError(f"chunks of {math.prod(chunks) * dtype.itemsize} bytes")
    dims = tuple(str(name) for name in told.get("dimension_names") or ())
    if len(dims) != len(shape):
        raise ValueError(f"axes {dims} of shape {shape}")
    separator = str((keys.get("configuration") or {}).get("separator", "/"))
    if separator not in ("/", "."):
        raise ValueError(f"separator {separator!r}")
    attributes = told.get("attributes") or {}
    return Layout(folder, shape, chunks, dims, dtype, float(told["fill_value"]), separator, dict(attributes), version)


class Blocks:
    """Blocks of arrays, the last used ones kept."""

    def __init__(self, most_bytes: int = BLOCK_BYTES) -> None:
        self._most = most_bytes
        self._kept: OrderedDict[tuple[Any, ...], Array] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self._folders: set[str] = set()

    @property
    def bytes_kept(self) -> int:
        """Bytes of the blocks that are kept."""
        return self._bytes

    def region(self, array: Stored, lead: Sequence[int], box: Sequence[slice], *, keep: bool = True) -> Array:
        """Values at one place of the axes in front and in a box of voxels.

        Parameters
        ----------
        lead
            Index along every axis in front of z, y, x.
        box
            First and last voxel along each of the last axes.
        keep
            Whether blocks that had to be read are kept.

        Raises
        ------
        StudyError
            If a chunk is damaged or leads out of the study.
        """
        shape, size = layout_of(array).block_shape, [part.stop - part.start for part in box]
        out = np.empty(size, layout_of(array).dtype)
        ranges = [range(part.start // n, -(-part.stop // n)) for part, n in zip(box, shape, strict=True)]

        def copy(place: tuple[int, ...]) -> None:
            """Put what a block holds of the box into the result."""
            block = self._block(array, tuple(lead), place, keep)
            inner, outer = [], []
            for number, n, part in zip(place, shape, box, strict=True):
                first, last = max(part.start, number * n), min(part.stop, (number + 1) * n)
                inner.append(slice(first - number * n, last - number * n))
                outer.append(slice(first - part.start, last - part.start))
            out[tuple(outer)] = block[tuple(inner)]

        _for_each(copy, list(itertools.product(*ranges)))
        return out

    def everywhere(self, layout: Layout, place: Sequence[int], first: int | None = None) -> Array:
        """Values of one voxel at all places of the axes in front; of an array without voxels all values.

        With ``first`` the first of these axes stays there, and what else lies along it is not looked at.
        """
        n = layout.n_lead
        lead_shape, lead_chunks = layout.shape[:n], layout.chunks[:n]
        voxel = [where // size for where, size in zip(place, layout.block_shape, strict=True)]
        inside = [where % size for where, size in zip(place, layout.block_shape, strict=True)]
        out = np.empty(lead_shape, layout.dtype)
        counts = [range(-(-length // size)) for length, size in zip(lead_shape, lead_chunks, strict=True)]
        if first is not None:
            counts[0] = range(first // lead_chunks[0], first // lead_chunks[0] + 1)

        def copy(numbers: tuple[int, ...]) -> None:
            """Put what a chunk holds of the voxel into the result."""
            at: tuple[Any, ...] = (..., *inside)
            values = self._whole(layout, (*numbers, *voxel))[at]
            where = tuple(
                slice(number * size, min((number + 1) * size, length))
                for number, size, length in zip(numbers, lead_chunks, lead_shape, strict=True)
            )
            out[where] = values[tuple(slice(0, part.stop - part.start) for part in where)]

        _for_each(copy, list(itertools.product(*counts)))
        return out if first is None else out[first]

    def _block(self, array: Stored, lead: tuple[int, ...], place: tuple[int, ...], keep: bool) -> Array:
        layout = layout_of(array)
        key = (layout.key, isinstance(array, Combination), lead, place)
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
                return found
        block = self._combined(array, lead, place) if isinstance(array, Combination) else self._read(array, lead, place)
        if keep:
            self._keep(key, block)
        return block

    def _keep(self, key: tuple[Any, ...], block: Array) -> None:
        with self._lock:
            if key not in self._kept:
                self._kept[key] = block
                self._bytes += block.nbytes
            while self._bytes > self._most and self._kept:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes

    def _read(self, layout: Layout, lead: tuple[int, ...], place: tuple[int, ...]) -> Array:
        chunks = layout.chunks[: len(lead)]
        numbers = tuple(index // size for index, size in zip(lead, chunks, strict=True))
        inside = int(np.ravel_multi_index([i % n for i, n in zip(lead, chunks, strict=True)], chunks)) if lead else 0
        size = math.prod(layout.block_shape) * layout.dtype.itemsize
        with self._opened(layout, (*numbers, *place)) as file:
            if file is None:
                return np.full(layout.block_shape, layout.fill, layout.dtype)
            values = file.part(inside * size, (inside + 1) * size)
        return values.view(layout.dtype).reshape(layout.block_shape)

    def _combined(self, array: Combination, lead: tuple[int, ...], place: tuple[int, ...]) -> Array:
        layout, weights = array.layout, array.weights[lead[0], lead[1]]
        in_front = (lead[0],) if layout.n_lead == 2 else ()
        total = np.zeros(layout.block_shape, np.float32)
        step = layout.chunks[len(in_front)]
        for number in range(-(-weights.size // step)):
            first = tuple(index // n for index, n in zip(in_front, layout.chunks, strict=False))
            chunk = self._whole(layout, (*first, number, *place))
            inside = tuple(index % n for index, n in zip(in_front, layout.chunks, strict=False))
            share = weights[number * step : (number + 1) * step]
            total += np.tensordot(share, chunk[inside][: share.size], axes=1)
        return total

    def _whole(self, layout: Layout, numbers: tuple[int, ...]) -> Array:
        with self._opened(layout, numbers) as file:
            if file is None:
                return np.full(layout.chunks, layout.fill, layout.dtype)
            return file.whole().view(layout.dtype).reshape(layout.chunks)

    def _opened(self, layout: Layout, numbers: tuple[int, ...]) -> _ChunkFile:
        name = layout.separator.join(["c", *map(str, numbers)])
        folder, file = os.path.split(f"{layout.key[0]}{os.sep}{name}")
        if folder not in self._folders:
            self._refuse_links(layout, folder)
        return _ChunkFile(folder, file, math.prod(layout.chunks) * layout.dtype.itemsize)

    def _refuse_links(self, layout: Layout, folder: str) -> None:
        """A study has no links below an array; a foreign one could lead anywhere."""
        while folder != layout.key[0] and folder not in self._folders:
            if os.path.islink(folder):
                raise StudyError("this array leads out of the study", where=layout.folder, cure="remove the link")
            self._folders.add(folder)
            folder = os.path.dirname(folder)


def _for_each(act: Callable[[Any], None], places: Sequence[Any]) -> None:
    """``act`` on every place, on several threads if there are many: decoding does not hold the interpreter."""
    if len(places) < 4:
        for place in places:
            act(place)
        return
    n = min(len(places), 4 * _pool._max_workers)
    shares = [places[start::n] for start in range(n)]

    def several(share: Sequence[Any]) -> None:
        """One thread's share."""
        for place in share:
            act(place)

    for done in [_pool.submit(several, share) for share in shares]:
        done.result()


class _ChunkFile:
    """One chunk on disk; entering gives None where it was never written."""

    def __init__(self, folder: str, name: str, n_bytes: int) -> None:
        self._path = os.path.join(folder, name)
        self._n_bytes = n_bytes
        self._file = -1

    def __enter__(self) -> _ChunkFile | None:
        try:
            self._file = os.open(self._path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StudyError("a chunk cannot be read", where=self._path, found=str(error.strerror)) from None
        return self

    def __exit__(self, *_: object) -> None:
        if self._file >= 0:
            os.close(self._file)

    def part(self, first: int, last: int) -> Bytes:
        """Decoded bytes ``first`` to ``last`` (exclusive)."""
        found = self._partly(first, last)
        return self.whole()[first:last].copy() if found is None else found

    def whole(self) -> Bytes:
        """All decoded bytes."""
        content = os.pread(self._file, os.fstat(self._file).st_size, 0)
        if len(content) < _HEADER or int.from_bytes(content[4:8], "little") != self._n_bytes:
            raise StudyError("a chunk is cut short or damaged", where=self._path, cure="compute the array again")
        try:
            return np.frombuffer(blosc.decompress(content), np.uint8)
        except (RuntimeError, ValueError) as error:
            raise StudyError("a chunk is damaged", where=self._path, found=str(error)) from None

    def _partly(self, first: int, last: int) -> Bytes | None:
        """The same without the rest of the chunk; None where this layout needs all of it."""
        head = os.pread(self._file, _FIRST_READ, 0)
        if len(head) < _HEADER or head[0] != 2:
            return None
        flags, element = head[2], head[3]
        n_bytes, block, _ = np.frombuffer(head[4:_HEADER], "<u4").tolist()
        if n_bytes != self._n_bytes:
            return None
        if flags & _STORED:
            values = np.frombuffer(os.pread(self._file, last - first, _HEADER + first), np.uint8)
            return values if values.size == last - first else None
        plain = flags & ~_UNSPLIT == (_LZ4 << 5) | _SHUFFLED
        if not plain or block == 0 or element == 0 or block % element or first % element or last % element:
            return None
        starts = _block_starts(self._file, head, -(-n_bytes // block))
        if starts is None:
            return None
        out = np.empty(last - first, np.uint8)
        for number, begin, end in _stretches(starts, os.fstat(self._file).st_size, (first // block, -(-last // block))):
            size = min(block, n_bytes - number * block)
            streams = 1 if flags & _UNSPLIT or size < block else element
            span = max(first - number * block, 0), min(last - number * block, size)
            part = out[number * block + span[0] - first : number * block + span[1] - first]
            there = head[begin:end] if end <= len(head) else os.pread(self._file, end - begin, begin)
            content = np.frombuffer(there, np.uint8)
            if size % element or not decode_block(content, 0, (size, streams), element, span, part):
                return None
        return out


def _block_starts(file: int, head: bytes, count: int) -> list[int] | None:
    """Where every block of a chunk begins in its file."""
    size = 4 * count
    content = head[_HEADER : _HEADER + size]
    if len(content) < size:
        content = os.pread(file, size, _HEADER)
    return np.frombuffer(content, "<u4").tolist() if len(content) == size else None


def _stretches(starts: list[int], end: int, wanted: tuple[int, int]) -> Iterator[tuple[int, int, int]]:
    """Number, begin and end in the file of every block wanted; blocks may lie in any order."""
    in_order = sorted({*starts, end})
    for number in range(*wanted):
        begin = starts[number]
        yield number, begin, next((place for place in in_order if place > begin), end)
