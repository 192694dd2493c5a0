"""Arrays that stay in their files until a part of them is asked for.

``lazy(HDF5Array(...))`` behaves as a numpy array in an xarray object, but an index such as
``counts[:, 10:30]`` reads that hyperslab and nothing else. A file is opened for each read and
closed again, so arrays may be read from several threads, pickled, and outlive a moved working directory.
"""

from __future__ import annotations

import math
import re
import struct
import threading
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401  importing it registers the blosc, bitshuffle, lz4 and zstd filters
import numpy as np
import numpy.typing as npt
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from cathoscope.core.errors import MeasurementError

_HEAP = re.compile(rb"GCOL\x01\0\0\0")
_SEARCHED = 1 << 18
_LARGEST_HEAP = 1 << 20
_LARGEST_CHUNK = 1 << 30
COPY_AGAIN = "copy the file again from the beamline's storage, or leave it out of the recipe"


class _Kept(threading.local):
    """Files that stay open in this thread until `hdf5_kept_open` ends."""

    files: dict[Path, h5py.File] | None = None


_KEPT = _Kept()
_MOST_KEPT = 16  # a file of links may name thousands of others


@contextmanager
def hdf5_kept_open() -> Iterator[None]:
    """Files that `hdf5_file` opens in this thread stay open to its end: to read many small things, open once."""
    if _KEPT.files is not None:
        yield
        return
    _KEPT.files = {}
    try:
        yield
    finally:
        files, _KEPT.files = _KEPT.files, None
        for file in files.values():
            file.close()


@contextmanager
def hdf5_file(path: Path) -> Iterator[h5py.File]:
    """The HDF5 file ``path``, open for reading.

    Raises
    ------
    MeasurementError
        If the file cannot be opened, or a read inside the ``with`` block fails.
    """
    try:
        kept = _KEPT.files
        if kept is not None and path in kept:
            yield kept[path]
            return
        _check_heaps(path)
        if kept is not None and len(kept) < _MOST_KEPT:
            kept[path] = h5py.File(path, "r")
            yield kept[path]
            return
        with h5py.File(path, "r") as file:
            yield file
    except MemoryError as error:
        raise MeasurementError(
            "a dataset takes more memory than there is; if its size makes no sense, the file is damaged",
            where=path,
            expected="a dataset that fits into memory",
            found=_first_line(error),
            cure=COPY_AGAIN,
        ) from error
    # The last three are h5py's words for names, types and shapes that a damaged file states and that are none.
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError) as error:
        raise MeasurementError(
            "the HDF5 file is truncated, damaged or cannot be read",
            where=path,
            expected="a complete HDF5 file",
            found=_first_line(error),
            cure=COPY_AGAIN,
        ) from error


def _check_heaps(path: Path) -> None:
    state = path.stat()
    defect = _heap_defect(path, state.st_size, state.st_mtime_ns)
    if defect is not None:
        raise OSError(defect)


@lru_cache(maxsize=4096)
def _heap_defect(path: Path, size: int, _: int) -> str | None:
    """What is wrong with a heap of texts among the first and last bytes of the file; None if nothing is.

    HDF5 follows a heap from object to object, and for ever where damaged sizes lead it in a circle. Texts of variable
    length are read from these heaps, which lie near the beginning of most files; a damaged one in the middle of a
    large file is not found. Source: HDF5 File Format Specification, section III.E, Global Heap.
    """
    with path.open("rb") as file:
        for start in sorted({0, max(0, size - _SEARCHED)}):
            file.seek(start)
            block = file.read(_SEARCHED)
            for found in re.finditer(_HEAP, block):
                file.seek(start + found.start())
                if _is_broken(file.read(_LARGEST_HEAP)):
                    return f"a damaged heap of texts at byte {start + found.start()}"
    return None


def _is_broken(heap: bytes) -> bool:
    """Whether an object of the heap does not end within it; one that is free states its size with its header."""
    end = int.from_bytes(heap[8:16], "little")
    place = 16
    while place + 16 <= min(end, len(heap)):
        number, size = struct.unpack_from("<H6xQ", heap, place)
        step = 16 + -(-size // 8) * 8 if number else size
        if step < 16 or place + step > end:
            return True
        place += step
    return False


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class HDF5Array(BackendArray):
    """One dataset of an HDF5 file, read hyperslab by hyperslab, in the byte order of this machine.

    Parameters
    ----------
    path, name
        The file and the dataset's path in it.
    shape, dtype
        Of the dataset.
    """

    def __init__(self, path: Path, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.path = path.absolute()
        self.name = name
        self.shape = shape
        self.dtype = dtype.newbyteorder("=")

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER_1VECTOR, self._read_hyperslab
        )

    def _read_hyperslab(self, key: tuple[Any, ...]) -> npt.NDArray[Any]:
        sound = False
        try:
            with hdf5_file(self.path) as file:
                stored = file[self.name]
                sound = math.prod(stored.chunks or ()) * stored.dtype.itemsize <= _LARGEST_CHUNK
                return np.asarray(stored[key], dtype=self.dtype)
        except MeasurementError as error:
            # a sound file must not be set aside because the machine was short of memory for a while
            if sound and isinstance(error.__cause__, MemoryError):
                raise error.__cause__ from None
            raise


class PageStack(BackendArray):
    """Images of one shape, each in a page of its own, as one array (page, row, column).

    Only the pages asked for are opened. Subclasses say how a page is read.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]

    @abstractmethod
    def read_pages(self, numbers: Sequence[int], rows: slice) -> Iterator[npt.NDArray[Any]]:
        """The ``rows`` (start, stop; all columns) of the pages ``numbers``, one after the other."""

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._read_block)

    def _read_block(self, key: tuple[Any, Any, Any]) -> npt.NDArray[Any]:
        page_key, row_key, column_key = key
        numbers = np.atleast_1d(indices_of(page_key, self.shape[0]))
        rows = np.atleast_1d(indices_of(row_key, self.shape[1]))
        columns = indices_of(column_key, self.shape[2])
        block = np.empty((len(numbers), len(rows), *np.shape(columns)), self.dtype)
        if block.size:
            start, stop = int(rows.min()), int(rows.max()) + 1
            pages = self.read_pages([int(number) for number in numbers], slice(start, stop))
            for target, page in zip(block, pages, strict=True):
                target[...] = page[rows - start][:, columns]
        return np.asarray(block[_undo_atleast_1d(page_key), _undo_atleast_1d(row_key)])


def indices_of(key: Any, size: int) -> npt.NDArray[np.int64]:
    """The indices that ``key``, as xarray gives it, picks along an axis of ``size``."""
    return np.arange(*key.indices(size)) if isinstance(key, slice) else np.asarray(key, dtype=np.int64) % size


def _undo_atleast_1d(key: Any) -> Any:
    return 0 if np.ndim(key) == 0 and not isinstance(key, slice) else slice(None)


class JoinedFrames(PageStack):
    """Stacks of images (frame, row, column) of one shape, one after the other; each is read when it is asked for."""

    def __init__(self, stacks: Sequence[xr.DataArray]) -> None:
        self.stacks = tuple(stacks)
        self._starts = np.cumsum([0, *(len(stack) for stack in stacks)])
        rows, columns = stacks[0].shape[1:]
        self.shape = (int(self._starts[-1]), rows, columns)
        self.dtype = np.result_type(*(stack.dtype for stack in stacks))

    def read_pages(self, numbers: Sequence[int], rows: slice) -> Iterator[npt.NDArray[Any]]:
        """The ``rows`` of the frames ``numbers``."""
        for number in numbers:
            which = int(np.searchsorted(self._starts, number, side="right")) - 1
            yield np.asarray(self.stacks[which][number - int(self._starts[which]), rows].values)


class ConvertedArray(BackendArray):
    """An array in another number type; it is converted block by block as it is read."""

    def __init__(self, array: xr.DataArray, dtype: npt.DTypeLike) -> None:
        self.array = array
        self.shape = array.shape
        self.dtype = np.dtype(dtype)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._read_block)

    def _read_block(self, key: tuple[Any, ...]) -> npt.NDArray[Any]:
        chosen = dict(zip(self.array.dims, key, strict=True))
        return np.asarray(self.array.isel(chosen).values, dtype=self.dtype)


def lazy(array: BackendArray) -> indexing.LazilyIndexedArray:
    """``array`` in the wrapper with which xarray combines indices before anything is read."""
    return indexing.LazilyIndexedArray(array)
