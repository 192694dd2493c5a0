"""Links between HDF5 files, followed even where the files have been moved since.

A beamline writes a master file whose links name the detector's files in a folder beside it. Who copies the files
rarely keeps the folder, and HDF5 then reports a missing object, or fills a virtual dataset with zeros.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import h5py

from cathoscope.io.hdf5_tree import small_value, unit_of
from cathoscope.io.lazy import hdf5_file

_DEEPEST_LINK = 16
_MOST_CHILDREN = 1000


@dataclass(frozen=True)
class Place:
    """Where a dataset really is: a file, and a path in it that no external link crosses."""

    file: Path
    name: str


@dataclass
class MasterFile:
    """A file, and what its links were found to lead to.

    Parameters
    ----------
    path
        The file, absolute.
    remarks
        What a person should know, in the order it was noticed.
    moved
        Files that lie elsewhere than their link says: what the link says to where it is.
    missing
        Names that lead to a missing file, as the link names it.
    linked
        Other files that something was taken from.
    """

    path: Path
    remarks: list[str] = field(default_factory=list)
    moved: dict[str, Path] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    linked: set[Path] = field(default_factory=set)

    def locate(self, name: str) -> Place | None:
        """Where ``name`` is, every link followed; None if there is nothing, and in ``missing`` if a file is not."""
        place = Place(self.path, name)
        for _ in range(_DEEPEST_LINK):
            step = _first_link(place)
            if not isinstance(step, tuple):
                return step
            stored, inside = step
            file = find_linked_file(place.file.parent, stored) if stored else place.file
            if file is None:
                self.missing[name] = stored
                return None
            if stored and file != place.file.parent / stored:
                self.moved[stored] = file
            place = Place(file, inside)
        return None

    def scalar(self, name: str) -> tuple[Any, str | None] | None:
        """One number or text with its unit; None if there is none."""
        place = self.locate(name)
        if place is None:
            return None
        with hdf5_file(place.file) as file:
            found = file[place.name]
            if not isinstance(found, h5py.Dataset) or found.size != 1:
                return None
            value = small_value(found)
            return None if value is None else (value, unit_of(found))

    def number(self, name: str) -> tuple[float, str | None] | None:
        """One number with its unit; None if there is none."""
        found = self.scalar(name)
        if found is None or isinstance(found[0], (str, bool, list)):
            return None
        return float(found[0]), found[1]


def _first_link(place: Place) -> Place | tuple[str, str] | None:
    """Follow ``place`` up to its first link: (file named or "", path there); the place itself if there is none."""
    parts = [part for part in place.name.split("/") if part not in ("", ".")]
    with hdf5_file(place.file) as file:
        group: Any = file
        for k, part in enumerate(parts):
            name = part.encode(errors="surrogateescape")
            if not isinstance(group, h5py.Group) or not group.id.links.exists(name):
                return None
            kind = group.id.links.get_info(name).type
            if kind == h5py.h5l.TYPE_HARD:
                group = group[part]
            elif kind == h5py.h5l.TYPE_SOFT:
                target = group.id.links.get_val(name).decode(errors="replace")
                above = "" if target.startswith("/") else "/".join(parts[:k])
                return "", "/".join([above, target, *parts[k + 1 :]])
            elif kind == h5py.h5l.TYPE_EXTERNAL:
                stored, target = (text.decode(errors="replace") for text in group.id.links.get_val(name))
                return stored, "/".join([target, *parts[k + 1 :]])
            else:
                return None
    return Place(place.file, "/" + "/".join(parts))


def find_linked_file(folder: Path, stored: str) -> Path | None:
    """The file that a link names: as the link says, else by its name in ``folder``, else in one folder below.

    Parameters
    ----------
    folder
        Where the file with the link lies.
    stored
        The file as the link names it, relative to ``folder`` or absolute, with slashes or backslashes.
    """
    if os.path.isfile(folder / stored):
        return folder / stored
    name = re.split(r"[\\/]", stored)[-1]
    if name in ("", ".", ".."):
        return None
    if os.path.isfile(folder / name):
        return folder / name
    try:
        below = sorted(entry.path for entry in os.scandir(folder) if entry.is_dir())
    except OSError:
        return None
    found = [Path(path) / name for path in below if os.path.isfile(Path(path) / name)]
    # where several files have this name, nothing tells which of them is meant
    return found[0] if len(found) == 1 else None


def groups_of(parent: h5py.Group) -> Iterator[tuple[str, h5py.Group]]:
    """Names and groups in a group (its first thousand members), those in other files left out."""
    for name in islice(parent, _MOST_CHILDREN):
        # A name that cannot be printed is damaged, and could not be written into remarks.
        if not isinstance(name, str) or not name.isprintable():
            continue
        kind = parent.id.links.get_info(name.encode()).type
        if kind == h5py.h5l.TYPE_EXTERNAL:
            continue
        child = parent[name] if kind == h5py.h5l.TYPE_HARD else _behind_soft_link(parent, name)
        if isinstance(child, h5py.Group):
            yield name, child


def _behind_soft_link(parent: h5py.Group, name: str) -> Any:
    try:
        return parent.get(name)
    except (OSError, RuntimeError):  # a link that leads in a circle, or into a damaged file
        return None


def absent_sources(found: h5py.Dataset, folder: Path) -> list[str]:
    """Files that a virtual dataset in ``folder`` needs and HDF5 will not find.

    HDF5 gives fill values for them without a word. It looks where the dataset says, and for an absolute path
    beside the file too.
    """
    if not found.is_virtual:
        return []
    names = {source.file_name for source in found.virtual_sources()} - {"."}
    return sorted(
        name
        for name in names
        # A name with % stands for a numbered series.
        if "%" not in name
        and not os.path.isfile(folder / name)
        and not (os.path.isabs(name) and os.path.isfile(folder / Path(name).name))
    )


def link_remarks(master: MasterFile) -> list[str]:
    """Files that links of the master name and that lie elsewhere or are missing, each once."""
    first: dict[str, str] = {}
    count: dict[str, int] = {}
    names: list[bytes] = []

    def note(name: bytes, info: Any) -> None:
        """Keep the name of a link to another file."""
        # Nothing here may raise: h5py makes of it an error that is none.
        if info.type == h5py.h5l.TYPE_EXTERNAL:
            names.append(name)

    with hdf5_file(master.path) as file:
        file.id.links.visit(note, info=True)
        for name in names:
            stored = file.id.links.get_val(name)[0].decode(errors="replace")
            first.setdefault(stored, "/" + name.decode(errors="replace"))
            count[stored] = count.get(stored, 0) + 1
    remarks = [
        f"{stored} is not where the link says; {os.path.relpath(found, master.path.parent)} is used"
        for stored, found in sorted(master.moved.items())
    ]
    return remarks + [
        f"{stored} is missing ({count[stored]} link(s), the first {first[stored]}); the images do not need it"
        for stored in sorted(first)
        if find_linked_file(master.path.parent, stored) is None
    ]
