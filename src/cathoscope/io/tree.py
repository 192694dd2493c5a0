"""What an HDF5 file holds: its datasets and links, by name, without reading a value."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from cathoscope.core.errors import MeasurementError
from cathoscope.io.lazy import COPY_AGAIN, hdf5_file

_MOST_ENTRIES = 20_000
_DEEPEST_GROUP = 30


@dataclass(frozen=True)
class Entry:
    """A dataset or a link of an HDF5 file.

    ``dtype`` is None where numpy has no equivalent of the stored type; ``link`` is the target of a soft or external
    link, which has neither shape nor type here.
    """

    name: str
    shape: tuple[int, ...] = ()
    dtype: np.dtype[Any] | None = None
    chunks: tuple[int, ...] | None = None
    link: str | None = None


@contextmanager
def unknown_hdf5(path: Path) -> Iterator[h5py.File]:
    """As `hdf5_file`, for walking a file of unknown content, whose names and types may be damaged too.

    Raises
    ------
    MeasurementError
        If the file cannot be opened, or a read inside the ``with`` block fails.
    """
    try:
        with hdf5_file(path) as file:
            yield file
    except (ValueError, TypeError, OverflowError) as error:  # h5py on names, types and shapes that are none
        raise MeasurementError(
            "the HDF5 file is damaged: a name, type or shape in it makes no sense",
            where=path,
            expected="a complete HDF5 file",
            found=str(error).splitlines()[0] if str(error) else type(error).__name__,
            cure=COPY_AGAIN,
        ) from error


def entries_of(group: h5py.Group, at_most: int = _MOST_ENTRIES) -> list[Entry]:
    """The first ``at_most`` datasets and links below ``group``; links are listed, not followed."""
    return list(itertools.islice(_walk(group, set(), _DEEPEST_GROUP), at_most))


def names_of(group: h5py.Group, at_most: int = _MOST_ENTRIES) -> list[str]:
    """The first ``at_most`` names in ``group``; a damaged group may go on for ever."""
    names: list[bytes] = []

    def collect(name: bytes) -> bool | None:
        names.append(name)
        return True if len(names) >= at_most else None

    group.id.links.iterate(collect)
    return [name.decode("utf-8") for name in names]


def _walk(group: h5py.Group, seen: set[tuple[int, int]], depth: int) -> Iterator[Entry]:
    for name in names_of(group):
        path = f"{group.name.rstrip('/')}/{name}"
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            yield Entry(path, link=f"{link.filename}:{link.path}")
            continue
        if isinstance(link, h5py.SoftLink):
            yield Entry(path, link=str(link.path))
            continue
        item = group.get(name)
        if isinstance(item, h5py.Dataset):
            yield Entry(path, item.shape or (), number_type(item), item.chunks)
        elif isinstance(item, h5py.Group) and depth > 0:
            info = h5py.h5o.get_info(item.id)
            if (info.fileno, info.addr) not in seen:  # a group may contain itself
                seen.add((info.fileno, info.addr))
                yield from _walk(item, seen, depth - 1)


def number_type(item: h5py.Dataset) -> np.dtype[Any] | None:
    """The dataset's type, or None where numpy has no equivalent of it."""
    try:
        dtype: np.dtype[Any] = item.dtype
    except (TypeError, ValueError):  # h5py's answer to types such as bit fields, and to damaged ones
        return None
    return dtype
