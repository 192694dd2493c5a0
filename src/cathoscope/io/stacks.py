"""TIFF image stacks: one file of many pages, or a sequence of files.

Schema
------
``pages`` (page, row, column), lazy, in the file's number type and this machine's byte order. What a page is
(a projection, an energy, a slice) is for the recipe to say.

Uncertainties
-------------
None are stored in the files.

Metadata
--------
Attributes ``format``, ``source`` (the file, or the first of a sequence), ``n_files`` and ``remarks``.

File structure
--------------
TIFF or BigTIFF, either byte order, any compression tifffile can undo. A sequence is sorted
naturally (``p_2`` before ``p_10``). All pages have one shape and number type; a page that differs
from the first page (a preview) is set aside with a remark, a file that differs is an error.
Of an uncompressed page only the rows asked for are read.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
import xarray as xr

from cathoscope.core.errors import MeasurementError
from cathoscope.core.schema import dataset, label
from cathoscope.io.lazy import COPY_AGAIN, PageStack, lazy

_INSTALL_CODECS = "pip install imagecodecs, or save the images without compression"
_MOST_WARNINGS = 5
_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


@dataclass(frozen=True)
class _Page:
    """Where one image is: the page's number in its file, and its offset where it lies there uncompressed."""

    path: Path
    number: int
    offset: int | None


@dataclass(frozen=True)
class _Kind:
    """What all pages of a stack share; ``dtype`` has the file's byte order."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __str__(self) -> str:
        return f"{self.dtype.name} of shape {self.shape}"


class TiffPages(PageStack):
    """Pages of TIFF files as one array."""

    def __init__(self, pages: Sequence[_Page], kind: _Kind) -> None:
        self.pages = tuple(pages)
        self.kind = kind
        self.shape = (len(self.pages), kind.shape[0], kind.shape[1])
        self.dtype = kind.dtype.newbyteorder("=")

    def read_pages(self, numbers: Sequence[int], rows: slice) -> Iterator[npt.NDArray[Any]]:
        """The ``rows`` of the pages ``numbers``; a file is opened once for consecutive pages of it."""
        for path, group in groupby((self.pages[number] for number in numbers), key=lambda page: page.path):
            pages = list(group)
            if all(page.offset is not None for page in pages):
                yield from (self._read_rows(page, rows) for page in pages)
            else:
                yield from (image[rows] for image in _decoded(path, pages, self.kind))

    def _read_rows(self, page: _Page, rows: slice) -> npt.NDArray[Any]:
        n_rows, n_columns = rows.stop - rows.start, self.shape[2]
        start = (page.offset or 0) + rows.start * n_columns * self.dtype.itemsize
        try:
            values = np.fromfile(page.path, self.kind.dtype, count=n_rows * n_columns, offset=start)
            return values.reshape(n_rows, n_columns)
        except (OSError, ValueError) as error:
            raise _unreadable(page.path, error) from error


def _decoded(path: Path, pages: Sequence[_Page], kind: _Kind) -> Iterator[npt.NDArray[Any]]:
    try:
        with _warnings_of_tifffile(), tifffile.TiffFile(path) as file:
            for page in pages:
                yield np.asarray(file.pages[page.number].asarray()).reshape(kind.shape)
    except Exception as error:  # tifffile and its codecs raise errors of many kinds on damaged files
        raise _unreadable(path, error) from error


class _Warnings(logging.Handler):
    """Collects what is logged in the thread that made it."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.thread = threading.get_ident()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the text of a record."""
        if record.thread == self.thread:
            self.texts.append(" ".join(record.getMessage().split()))


@contextmanager
def _warnings_of_tifffile() -> Iterator[list[str]]:
    """What tifffile logs about the file, which would go to the terminal otherwise."""
    handler, logger = _Warnings(), logging.getLogger("tifffile")
    logger.addHandler(handler)
    try:
        yield handler.texts
    finally:
        logger.removeHandler(handler)


def recognise_tiff(path: Path) -> str | None:
    """None if the file begins as a TIFF does, else why it is not one."""
    with path.open("rb") as file:
        begin = file.read(4)
    return None if begin in _SIGNATURES else f"begins with {begin!r}, not as a TIFF"


def natural_order(path: Path) -> tuple[tuple[int, int | str], ...]:
    """Sort key by which ``p_2`` comes before ``p_10``."""
    parts = re.split(r"(\d+)", str(path))
    return tuple((0, int(part)) if part.isdigit() else (1, part) for part in parts if part)


def open_tiff(paths: Sequence[Path], angle_range: tuple[float, float] | None = None) -> xr.Dataset:
    """A TIFF stack as a lazy Dataset (see the module's docstring).

    Parameters
    ----------
    paths
        One file, or several, in any order.
    angle_range
        Not used: a TIFF's pages are given their meaning by the recipe.

    Raises
    ------
    MeasurementError
        If a file is damaged, truncated, or its pages differ from those of the first file.
    """
    ordered = sorted((path.absolute() for path in paths), key=natural_order)
    kind, pages, remarks = _pages_of_file(ordered[0])
    for path in ordered[1:]:
        other, more, found = _pages_of_file(path)
        if other != kind:
            raise MeasurementError(
                "the images of a sequence differ",
                where=path,
                expected=f"{kind}, as in {ordered[0].name}",
                found=str(other),
                cure="give one sequence per measurement; check the pattern in the recipe",
            )
        pages += more
        remarks += found
    array = label("pages", lazy(TiffPages(pages, kind)), ("page", "row", "column"))
    return dataset([array], format="tiff", source=str(ordered[0]), n_files=len(ordered), remarks=remarks)


def _pages_of_file(path: Path) -> tuple[_Kind, list[_Page], list[str]]:
    """What the pages of a file share, where they are, and remarks; only headers are read."""
    try:
        with _warnings_of_tifffile() as noticed, tifffile.TiffFile(path) as file:
            kind, pages, remarks = _pages_of_open_file(path, file)
            return kind, pages, remarks + [f"{path.name}: {text}" for text in noticed[:_MOST_WARNINGS]]
    except MeasurementError:
        raise
    except Exception as error:  # tifffile raises errors of many kinds on damaged files
        raise _unreadable(path, error) from error


def _pages_of_open_file(path: Path, file: tifffile.TiffFile) -> tuple[_Kind, list[_Page], list[str]]:
    first = file.pages.first
    if len(first.shape) != 2 or first.dtype is None or first.dtype.kind not in "fiu":
        raise MeasurementError(
            "the TIFF does not hold grey images",
            where=path,
            expected="one number per pixel",
            found=f"{first.dtype} of shape {first.shape}",
            cure="export the stack as 8, 16 or 32 bit grey images",
        )
    # A damaged tag may hold several numbers, or none, where one is due.
    if not all(isinstance(length, int) and length > 0 for length in first.shape):
        raise _unreadable(path, f"images of shape {first.shape}")
    _check_chain(path, file)
    kind = _Kind(first.shape, first.dtype.newbyteorder(file.byteorder))
    images = [page for page in file.pages if (page.shape, page.dtype) == (first.shape, first.dtype)]
    _check_extent(path, images)
    pages = [
        _Page(path, page.index, page.dataoffsets[0] if page.is_final and page.is_contiguous else None)
        for page in images
    ]
    n_other = len(file.pages) - len(images)
    remarks = [f"{path.name}: {n_other} page(s) not {kind} set aside"] if n_other else []
    return kind, _pages_behind_one_header(file, pages, kind) or pages, remarks


def _check_chain(path: Path, file: tifffile.TiffFile) -> None:
    """Each page's header points to the next and the last to 0; tifffile takes a broken chain for the end."""
    position = file.pages.next_page_offset
    with path.open("rb") as raw:
        raw.seek(position or 0)
        pointer = raw.read(file.tiff.offsetsize)
    if position is None or pointer != bytes(file.tiff.offsetsize):
        raise _unreadable(path, f"the header of page {len(file.pages)} lies beyond the end of the file")


def _check_extent(path: Path, images: Sequence[Any]) -> None:
    size = path.stat().st_size
    for page in images:
        ends = [offset + count for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)]
        # A page that lies there uncompressed has all its bytes.
        if page.is_final and page.is_contiguous and sum(page.databytecounts) < page.nbytes:
            raise _unreadable(path, f"page {page.index} has {sum(page.databytecounts)} of {page.nbytes} bytes")
        if not ends or max(ends) > size:
            raise _unreadable(path, f"page {page.index} ends at byte {max(ends, default=0)}, the file at {size}")


def _pages_behind_one_header(file: tifffile.TiffFile, pages: list[_Page], kind: _Kind) -> list[_Page]:
    """Pages of a stack above 4 GB as ImageJ writes it: the header of the first page, then all images in one block."""
    if len(file.pages) != 1 or pages[0].offset is None:
        return []
    series = file.series[0]
    n_pages = int(np.prod(series.shape[:-2]))
    if n_pages == 1 or series.shape[-2:] != kind.shape or series.dataoffset is None:
        return []
    size = int(np.prod(kind.shape)) * kind.dtype.itemsize
    path, start = pages[0].path, series.dataoffset
    if start + n_pages * size > path.stat().st_size:
        raise _unreadable(path, f"{n_pages} images do not fit into the file's {path.stat().st_size} bytes")
    return [_Page(path, 0, start + number * size) for number in range(n_pages)]


def _unreadable(path: Path, found: Exception | str) -> MeasurementError:
    cure = _INSTALL_CODECS if "imagecodecs" in str(found) else COPY_AGAIN
    return MeasurementError(
        "the TIFF file is truncated, damaged or cannot be read",
        where=path,
        expected="a complete TIFF file",
        found=str(found).splitlines()[0] if str(found) else type(found).__name__,
        cure=cure,
    )
