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
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cathoscope.core.errors import StudyError
from cathoscope.report.viewer.chunk_files import Bytes, read_chunk

Array = NDArray[Any]
_Key = tuple[tuple[Any, ...], tuple[int, ...]]  # an array at one place of the axes in front, and one of its blocks
_Piece = tuple[int, slice, slice]  # along one axis: number of a block, the part of it, where that part goes

BLOCK_BYTES = 88 << 20  # one plane across x of 512^3 voxels with its mask and flags
_MOST_CHUNK_BYTES = 512 << 20  # a chunk that says it is larger is refused
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
    def chunk_bytes(self) -> int:
        """Bytes of a chunk."""
        return math.prod(self.chunks) * self.dtype.itemsize

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
        self._kept: OrderedDict[_Key, Array] = OrderedDict()
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
        layout = layout_of(array)
        out = np.empty([part.stop - part.start for part in box], layout.dtype)
        group, read = (layout.key, isinstance(array, Combination), tuple(lead)), self._reader(array, tuple(lead))
        pieces = [_pieces(part, n) for part, n in zip(box, layout.block_shape, strict=True)]

        def copy(piece: tuple[_Piece, ...]) -> None:
            """Put what a block holds of the box into the result."""
            place, inner, outer = zip(*piece, strict=True)
            out[outer] = self._block((group, place), read, keep)[inner]

        _for_each(copy, list(itertools.product(*pieces)))
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

    def _block(self, key: _Key, read: Callable[[tuple[int, ...]], Array], keep: bool) -> Array:
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
                return found
        block = read(key[1])
        if keep:
            self._keep(key, block)
        return block

    def _keep(self, key: _Key, block: Array) -> None:
        with self._lock:
            if key not in self._kept:
                self._kept[key] = block
                self._bytes += block.nbytes
            while self._bytes > self._most and self._kept:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes

    def _reader(self, array: Stored, lead: tuple[int, ...]) -> Callable[[tuple[int, ...]], Array]:
        """What gives a block of ``array`` at one place of the axes in front."""
        if isinstance(array, Combination):
            return lambda place: self._combined(array, lead, place)
        numbers, inside = [], 0
        for index, n in zip(lead, array.chunks, strict=False):
            numbers.append(index // n)
            inside = inside * n + index % n
        size = math.prod(array.block_shape) * array.dtype.itemsize

        def read(place: tuple[int, ...]) -> Array:
            """A part of a chunk."""
            values = self._bytes_of(array, (*numbers, *place), (inside * size, (inside + 1) * size))
            if values is None:
                return np.full(array.block_shape, array.fill, array.dtype)
            return values.view(array.dtype).reshape(array.block_shape)

        return read

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
        values = self._bytes_of(layout, numbers)
        if values is None:
            return np.full(layout.chunks, layout.fill, layout.dtype)
        return values.view(layout.dtype).reshape(layout.chunks)

    def _bytes_of(self, layout: Layout, numbers: Sequence[int], span: tuple[int, int] | None = None) -> Bytes | None:
        path = f"{layout.key[0]}/{layout.separator.join(['c', *map(str, numbers)])}"
        folder = path.rpartition("/")[0]
        if folder not in self._folders:
            self._refuse_links(layout, folder)
        return read_chunk(path, layout.chunk_bytes, *(span or (0, None)))

    def _refuse_links(self, layout: Layout, folder: str) -> None:
        """A study has no links below an array; a foreign one could lead anywhere."""
        while folder != layout.key[0] and folder not in self._folders:
            if os.path.islink(folder):
                raise StudyError("this array leads out of the study", where=layout.folder, cure="remove the link")
            self._folders.add(folder)
            folder = os.path.dirname(folder)


def _pieces(part: slice, n: int) -> list[_Piece]:
    """Blocks of length ``n`` that a part of an axis touches."""
    found = []
    for number in range(part.start // n, -(-part.stop // n)):
        first, last = max(part.start, number * n), min(part.stop, (number + 1) * n)
        found.append(
            (number, slice(first - number * n, last - number * n), slice(first - part.start, last - part.start))
        )
    return found


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
