"""Arrays that stay in their files until a part of them is asked for.

``lazy(HDF5Array(...))`` behaves as a numpy array in an xarray object, but an index such as
``counts[:, 10:30]`` reads that hyperslab and nothing else. A file is opened for each read and
closed again, so arrays may be read from several threads, pickled, and outlive a moved working directory.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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

COPY_AGAIN = "copy the file again from the beamline's storage, or leave it out of the recipe"


@contextmanager
def hdf5_file(path: Path) -> Iterator[h5py.File]:
    """The HDF5 file ``path``, open for reading.

    Raises
    ------
    MeasurementError
        If the file cannot be opened, or a read inside the ``with`` block fails.
    """
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError) as error:
        raise MeasurementError(
            "the HDF5 file is truncated, damaged or cannot be read",
            where=path,
            expected="a complete HDF5 file",
            found=_first_line(error),
            cure=COPY_AGAIN,
        ) from error


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
        with hdf5_file(self.path) as file:
            return np.asarray(file[self.name][key], dtype=self.dtype)


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
        numbers = np.atleast_1d(np.arange(self.shape[0])[page_key])
        rows = np.atleast_1d(np.arange(self.shape[1])[row_key])
        columns = np.arange(self.shape[2])[column_key]
        block = np.empty((len(numbers), len(rows), *np.shape(columns)), self.dtype)
        if block.size:
            start, stop = int(rows.min()), int(rows.max()) + 1
            pages = self.read_pages([int(number) for number in numbers], slice(start, stop))
            for target, page in zip(block, pages, strict=True):
                target[...] = page[rows - start][:, columns]
        return np.asarray(block[_undo_atleast_1d(page_key), _undo_atleast_1d(row_key)])


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


def lazy(array: BackendArray) -> indexing.LazilyIndexedArray:
    """``array`` in the wrapper with which xarray combines indices before anything is read."""
    return indexing.LazilyIndexedArray(array)
