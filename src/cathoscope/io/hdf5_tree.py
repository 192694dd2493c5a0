"""What an HDF5 file holds: its datasets and links, by name, and its small values."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import h5py
import numpy as np

from cathoscope.io.repair import plain

LONGEST_TEXT = 1 << 16
_MOST_VALUES = 100
_MOST_ENTRIES = 20_000
_DEEPEST_GROUP = 30


@dataclass(frozen=True)
class Entry:
    """A dataset or a link of an HDF5 file.

    ``dtype`` is None where numpy has no equivalent of the stored type; ``link`` is the target of a soft or external
    link, which has neither shape nor type here. Two names of one dataset have one ``address``.
    """

    name: str
    shape: tuple[int, ...] = ()
    dtype: np.dtype[Any] | None = None
    chunks: tuple[int, ...] | None = None
    link: str | None = None
    address: int | None = field(default=None, compare=False)


def entries_of(group: h5py.Group, at_most: int = _MOST_ENTRIES) -> list[Entry]:
    """The first ``at_most`` datasets and links below ``group``; links are listed, not followed."""
    return list(itertools.islice(_walk(group, set(), _DEEPEST_GROUP), at_most))


def names_of(group: h5py.Group, at_most: int = _MOST_ENTRIES) -> list[str]:
    """The first ``at_most`` names in ``group``; a damaged group may go on for ever."""
    names: list[bytes] = []

    def collect(name: bytes) -> bool | None:
        """Keep a name; True ends the walk when there are enough."""
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
            address = int(h5py.h5o.get_info(item.id).addr)
            yield Entry(path, item.shape or (), number_type(item), item.chunks, address=address)
        elif isinstance(item, h5py.Group) and depth > 0:
            info = h5py.h5o.get_info(item.id)
            if (info.fileno, info.addr) not in seen:  # a group may contain itself
                seen.add((info.fileno, info.addr))
                yield from _walk(item, seen, depth - 1)


def small_value(found: h5py.Dataset) -> str | int | float | bool | list[Any] | None:
    """A number or text, or a few of them; None where the dataset is large or of a type that is neither.

    Other types are never read: HDF5 trusts what a damaged file says of them, and may crash.
    """
    if not _is_small(found.shape, number_type(found)):
        return None
    return plain(found[()])


def attribute_of(item: h5py.Dataset | h5py.Group, name: str) -> str | int | float | bool | list[Any] | None:
    """An attribute as `small_value` gives a dataset; None if there is none."""
    if name not in item.attrs:
        return None
    stored = item.attrs.get_id(name)
    return plain(item.attrs[name]) if _is_small(stored.shape, number_type(stored)) else None


def _is_small(shape: tuple[int, ...] | None, dtype: np.dtype[Any] | None) -> bool:
    if shape is None or dtype is None or not 0 < math.prod(shape) <= _MOST_VALUES or dtype.itemsize > LONGEST_TEXT:
        return False
    return dtype.kind in "fiubS" or h5py.check_string_dtype(dtype) is not None


def number_type(item: h5py.Dataset | h5py.h5a.AttrID) -> np.dtype[Any] | None:
    """The dataset's type, or None where numpy has no equivalent of it."""
    try:
        dtype: np.dtype[Any] = item.dtype
    except (TypeError, ValueError):  # h5py's answer to types such as bit fields, and to damaged ones
        return None
    return dtype


def unit_of(found: h5py.Dataset) -> str | None:
    """What the dataset says its unit is."""
    for name in ("units", "unit"):
        unit = attribute_of(found, name)
        if unit is not None:
            return str(unit) or None
    return None
