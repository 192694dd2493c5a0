"""The study: one zarr v3 tree on disk with raw/, result/, truth/ and log/.

``result/`` holds finished arrays only. A step writes into ``log/work/ADDRESS`` slab by slab and moves
its arrays into place when the last slab is done, so a kill at any moment leaves either the old array,
the new one, or a work folder from which the next run goes on.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from zarr.codecs import BloscCodec
from zarr.errors import GroupNotFoundError

from cathoscope.core import locking
from cathoscope.core.errors import StudyError
from cathoscope.core.overview import overview_html, overview_text
from cathoscope.core.schema import SCHEMA, spec_of

FORMAT_VERSION = 1
GROUPS = ("raw", "result", "truth", "log")
AT_INSTRUMENT = "truth/at_instrument"
"""Group of what a perfect analysis would find in noise-free images; ``truth`` itself holds the material."""
# One temperature, a block of energies, and voxels such that a slice and a spectrum both read fast.
_CHUNKS = {"temperature": 1, "cycle": 1, "energy": 20, "row": 64, "z": 8, "y": 64, "x": 64}
_WHOLE = {"record", "condition"}  # numbers of records are few: one chunk each
# One energy of a chunk (128 KB; Blosc multiplies by the type) can be decoded without the other nineteen: four times
# faster slices in the viewer for 2 % more bytes.
_CODEC = BloscCodec(cname="lz4", clevel=5, shuffle="shuffle", typesize=4, blocksize=1 << 15)


def chunk_shape(dims: Sequence[str], shape: Sequence[int]) -> tuple[int, ...]:
    """Chunk of the study's layout for an array of these dims."""
    if _WHOLE & set(dims):
        return tuple(max(1, length) for length in shape)
    return tuple(max(1, min(length, _CHUNKS.get(dim, length))) for dim, length in zip(dims, shape, strict=True))


@dataclass(frozen=True)
class NewArray:
    """An array that a step is going to fill: name, dims, shape, type and attributes."""

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str = "float32"
    attrs: Mapping[str, Any] | None = None


class Study:
    """A study on disk; create it with `Study.create` or open it with `Study.open`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path) -> Study:
        """Open the study at ``path``, making it first if nothing is there.

        Raises
        ------
        StudyError
            If something else is there, the place cannot be written, or a link in it leads elsewhere.
        """
        if path.exists() and (not path.is_dir() or any(path.iterdir())) and not (path / "zarr.json").is_file():
            raise StudyError(
                "this is not a study, and it is not empty",
                where=path,
                cure="choose another name with --study",
            )
        _refuse_links(path)
        try:
            root = zarr.open_group(path, mode="a")
            if "format" not in root.attrs:
                root.attrs.update({"format": "cathoscope study", "format_version": FORMAT_VERSION})
            for group in GROUPS:
                root.require_group(group)
        except OSError as error:
            raise write_failure(path, error) from error
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> Study:
        """Open an existing study.

        Raises
        ------
        StudyError
            If there is no study at ``path``, what describes it is damaged, or a newer program wrote it.
        """
        try:
            attrs = dict(zarr.open_group(path, mode="r").attrs)
            version = int(str(attrs.get("format_version", 0)))
        except (GroupNotFoundError, FileNotFoundError, NotADirectoryError):
            inside = sorted(path.glob("*.zarr")) if path.is_dir() else []
            cure = f"name the study in this folder: {inside[0]}" if inside else "make one with: cathoscope run RECIPE"
            raise StudyError("there is no study here", where=path, cure=cure) from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise StudyError(
                "what describes this study is damaged",
                where=path / "zarr.json",
                found=f"{type(error).__name__}: {error}"[:120],
                cure="restore this file from a copy; the arrays beside it are not touched",
            ) from None
        if attrs.get("format") != "cathoscope study":
            raise StudyError("this zarr tree is not a study", where=path, found=str(attrs)[:80])
        if version > FORMAT_VERSION:
            raise StudyError(
                "this study was written by a newer version",
                where=path,
                expected=f"format {FORMAT_VERSION}",
                found=f"format {version}",
                cure="update cathoscope",
            )
        return cls(path)

    @property
    def title(self) -> str:
        """What the recipe calls the study, else the name of its folder."""
        return str(zarr.open_group(self.path, mode="r").attrs.get("title") or self.path.stem)

    def set_title(self, title: str) -> None:
        """Remember what the recipe calls the study."""
        try:
            zarr.open_group(self.path, mode="a").attrs["title"] = title
        except OSError as error:
            raise write_failure(self.path, error) from error

    def __repr__(self) -> str:
        return overview_text(self)

    def _repr_html_(self) -> str:
        return overview_html(self)

    def __getitem__(self, measurement: str) -> xr.Dataset:
        """Results of one measurement, read from disk when their values are asked for.

        Raises
        ------
        StudyError
            If it has none; the message lists the measurements that have.
        """
        there = self.measurements("result")
        if measurement not in there:
            close = get_close_matches(measurement, there, n=1)
            raise StudyError(
                f"there are no results of {measurement!r}",
                where=self.path,
                found=", ".join(there) or "no results yet",
                cure=f"did you mean {close[0]}?" if close else None,
            )
        return self.read("result", measurement)

    # -- reading ---------------------------------------------------------------------------------

    def measurements(self, group: str) -> list[str]:
        """Names of the measurements that have something in ``group``."""
        folder = self.path / group
        if not folder.is_dir():
            return []
        there = (entry.name for entry in folder.iterdir() if (entry / "zarr.json").is_file())
        return sorted(name for name in there if f"{group}/{name}" != AT_INSTRUMENT)

    def arrays(self, group: str, measurement: str) -> list[str]:
        """Names of the arrays of one measurement."""
        folder = self.path / group / measurement
        return sorted(entry.name for entry in folder.glob("*") if (entry / "zarr.json").is_file())

    def read(self, group: str, measurement: str, names: Sequence[str] | None = None) -> xr.Dataset:
        """Arrays of one measurement as a lazily read Dataset.

        Raises
        ------
        StudyError
            If a name is not there; the message lists what is.
        """
        there = self.arrays(group, measurement)
        missing = sorted(set(names or ()) - set(there))
        if missing or not there:
            raise StudyError(
                f"{group}/{measurement} has no {', '.join(missing) or 'arrays'}",
                where=self.path,
                found=", ".join(there) or "nothing",
            )
        data = xr.open_zarr(
            self.path,
            group=f"{group}/{measurement}",
            chunks=None,
            consolidated=False,
            drop_variables=[] if names is None else self._others(group, measurement, names),
        )
        # A coordinate without axes is stored as any other array.
        data = data.set_coords(
            [name for name in data.data_vars if name in SCHEMA and SCHEMA[str(name)].dims == (name,)]
        )
        return data if names is None else data[list(names)]  # type: ignore[no-any-return]

    def truth(self, measurement: str) -> xr.Dataset:
        """What an analysis of a virtual measurement should find: what the instrument could see, else the material."""
        seen = self.measurements(AT_INSTRUMENT)
        material = self.read("truth", measurement)
        return material.assign(self.read(AT_INSTRUMENT, measurement)) if measurement in seen else material

    def _others(self, group: str, measurement: str, names: Sequence[str]) -> list[str]:
        """Arrays that are neither ``names`` nor their coordinates: between two steps they may have old sizes."""
        wanted = set(names)
        for name in names:
            array = zarr.open_array(self.path / group / measurement / name, mode="r")
            wanted |= set(getattr(array.metadata, "dimension_names", None) or ())
        return [name for name in self.arrays(group, measurement) if name not in wanted]

    def attributes(self, group: str, measurement: str, name: str = "") -> dict[str, Any]:
        """Attributes of one measurement, or of one of its arrays; empty if it is not there."""
        try:
            return dict(zarr.open(self.path / group / measurement / name, mode="r").attrs)
        except (FileNotFoundError, GroupNotFoundError):
            return {}

    def address(self, measurement: str, name: str) -> str | None:
        """Address of a finished result, None if there is none."""
        found = self.attributes("result", measurement, name).get("address")
        return None if found is None else str(found)

    # -- writing ---------------------------------------------------------------------------------

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the study for writing.

        Raises
        ------
        StudyError
            If another run holds it.
        """
        with locking.exclusive(self.path / "log" / "lock", what=self.path):
            yield

    def write_raw(self, measurement: str, record: Mapping[str, Any]) -> None:
        """Remember which files a measurement consists of and what they say about themselves."""
        try:
            group = zarr.open_group(self.path / "raw" / measurement, mode="a")
            group.attrs.put(json.loads(json.dumps(dict(record))))
        except OSError as error:
            raise write_failure(self.path, error) from error

    def write(self, group: str, measurement: str, data: xr.Dataset, *, address: str = "") -> None:
        """Write a small Dataset at once, as `Work` does slab by slab."""
        work = Work(self, group, measurement, address or "write")
        work.store_dataset(data)
        work.commit()

    def describe(self, group: str, measurement: str, **attributes: Any) -> None:
        """Keep words about one measurement."""
        try:
            zarr.open_group(self.path / group / measurement, mode="a").attrs.update(attributes)
        except OSError as error:
            raise write_failure(self.path, error) from error

    def remove(self, group: str, measurement: str, name: str) -> None:
        """Delete one array."""
        shutil.rmtree(self.path / group / measurement / name, ignore_errors=True)

    def clear_work(self, keep: Sequence[str] = ()) -> None:
        """Delete what killed runs of other recipes left behind, but for those of the measurements ``keep``.

        Those failed, and go on with their slabs once their files are right again.
        """
        kept = tuple(f"result-{name}-" for name in keep)
        folder = self.path / "log" / "work"
        for entry in list(folder.iterdir()) if folder.is_dir() else ():
            if not entry.name.startswith(kept or ("/",)):
                shutil.rmtree(entry, ignore_errors=True)
        with suppress(OSError):  # what is not empty stays
            folder.rmdir()

    def append_log(self, record: Mapping[str, Any]) -> None:
        """Add one line to ``log/runs.jsonl``."""
        try:
            with (self.path / "log" / "runs.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(record, sort_keys=True) + "\n")
        except OSError as error:
            raise write_failure(self.path, error) from error

    def log(self) -> list[dict[str, Any]]:
        """All lines of the log, oldest first; a line cut short by a kill is left out."""
        file = self.path / "log" / "runs.jsonl"
        records = []
        for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError:
                continue
        return records


class Work:
    """Arrays in the making, under ``log/work/ADDRESS``; see the module's first lines.

    ``allow`` is called before a slab counts as done and before the arrays are put in place; it raises if what they
    were computed from has changed meanwhile.
    """

    def __init__(
        self, study: Study, group: str, measurement: str, address: str, allow: Callable[[], None] = lambda: None
    ) -> None:
        self._study, self._allow = study, allow
        self._target = study.path / group / measurement
        self._attrs = {"address": address} if group == "result" else {}
        self._folder = study.path / "log" / "work" / f"{group.replace('/', '-')}-{measurement}-{address}"
        self._open: dict[str, zarr.Array[Any]] = {}

    @property
    def is_prepared(self) -> bool:
        """Whether the arrays are there, to be filled."""
        return bool(self._open)

    def prepare(self, arrays: Sequence[NewArray], coords: Mapping[Any, xr.DataArray]) -> None:
        """Make the arrays and their coordinates, or go on with those a killed run left.

        Raises
        ------
        StudyError
            If the disk is full or read-only.
        """
        try:
            zarr.open_group(self._folder, mode="a")
            for new in arrays:
                self._open[new.name] = self._array(new)
            used = {dim for new in arrays for dim in new.dims}
            for name, coord in coords.items():
                if set(coord.dims) <= used:
                    self._coordinate(str(name), coord)
        except OSError as error:
            raise write_failure(self._study.path, error) from error

    def _array(self, new: NewArray) -> zarr.Array[Any]:
        if (self._folder / new.name / "zarr.json").is_file():
            return zarr.open_array(self._folder / new.name, mode="r+")
        spec = spec_of(new.name)
        attrs = {"units": spec.unit, "long_name": spec.meaning, **dict(new.attrs or {})}
        if new.name not in new.dims:  # coordinates are shared by all steps of a measurement
            attrs |= self._attrs
        dtype, fill_value = _stored_as(np.dtype(new.dtype))
        return zarr.create_array(
            self._folder / new.name,
            shape=new.shape,
            chunks=chunk_shape(new.dims, new.shape),
            dtype=dtype,
            fill_value=fill_value,
            compressors=_CODEC,
            dimension_names=new.dims,
            attributes=json.loads(json.dumps(attrs)),
        )

    def _coordinate(self, name: str, coord: xr.DataArray) -> None:
        dims = tuple(map(str, coord.dims))
        array = self._array(NewArray(name, dims, coord.shape, str(coord.dtype), coord.attrs))
        array[...] = coord.values

    def is_done(self, slab: str) -> bool:
        """Whether a killed run had finished this slab."""
        return (self._folder / "done" / slab).is_file()

    def store(self, name: str, region: tuple[Any, ...], values: np.ndarray[Any, Any]) -> None:
        """Write ``values`` into a region that no other slab touches, aligned with the chunks."""
        try:
            self._open[name][region or ...] = values
        except OSError as error:
            raise write_failure(self._study.path, error) from error

    def store_dataset(self, data: xr.Dataset) -> None:
        """Prepare and write a whole Dataset at once."""
        new = [
            NewArray(str(name), tuple(map(str, array.dims)), array.shape, str(array.dtype), array.attrs)
            for name, array in data.data_vars.items()
        ]
        self.prepare(new, data.coords)
        for name, array in data.data_vars.items():
            self.store(str(name), (), np.asarray(array.values))

    @property
    def scratch(self) -> Path:
        """Folder for what is needed while a step runs; it goes when the arrays are put in place."""
        folder = self._folder / "scratch"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_failure(self._study.path, error) from error
        return folder

    def mark_done(self, slab: str, note: str = "") -> None:
        """Remember that everything of this slab is on disk; a ``note`` is for the run that goes on after a kill."""
        self._allow()
        folder = self._folder / "done"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{slab}.partial").write_text(note, encoding="utf-8")
            os.replace(folder / f"{slab}.partial", folder / slab)
        except OSError as error:
            raise write_failure(self._study.path, error) from error

    def note_of(self, slab: str) -> str | None:
        """What was noted of a slab; None if it is not done."""
        return (self._folder / "done" / slab).read_text(encoding="utf-8") if self.is_done(slab) else None

    def commit(self) -> None:
        """Move the finished arrays into place, replacing older ones."""
        self._allow()
        try:
            for group in (self._target.parent, self._target):
                zarr.open_group(group, mode="a")
            shutil.rmtree(self._folder / "done", ignore_errors=True)
            for partial in self._folder.rglob("*.partial"):  # of a write that was killed
                partial.unlink(missing_ok=True)
            entries = [entry for entry in sorted(self._folder.iterdir()) if not entry.name.startswith("old-")]
            arrays = [entry for entry in entries if (entry / "zarr.json").is_file()]
            # An array's address says that it is finished, so its coordinates must be there before it.
            for entry in sorted(arrays, key=_has_address):
                self._replace(entry)
            shutil.rmtree(self._folder)
        except OSError as error:
            raise write_failure(self._study.path, error) from error

    def _replace(self, entry: Path) -> None:
        target = self._target / entry.name
        if target.exists():
            old = self._folder / f"old-{entry.name}"
            shutil.rmtree(old, ignore_errors=True)
            os.rename(target, old)
        os.rename(entry, target)


def _has_address(entry: Path) -> bool:
    return "address" in json.loads((entry / "zarr.json").read_text(encoding="utf-8")).get("attributes", {})


def _stored_as(dtype: np.dtype[Any]) -> tuple[str, Any]:
    """Type on disk and what an unwritten element is; text of fixed length is not part of zarr v3."""
    if dtype.kind in "UT":
        return "string", ""
    return str(dtype), np.nan if dtype.kind == "f" else np.zeros((), dtype).item()


def _refuse_links(path: Path) -> None:
    """A study may come from anybody: what is written into it must not end up elsewhere."""
    inside = path.resolve()
    groups = [path / group for group in (*GROUPS, "log/work")]
    entries = [entry for group in groups if group.is_dir() for entry in group.iterdir()]
    for place in (*groups, *entries, *(array for entry in entries if entry.is_dir() for array in entry.iterdir())):
        if place.is_symlink() and not place.resolve().is_relative_to(inside):
            raise StudyError(
                "a link in this study leads out of it, and nothing is written through it",
                where=place,
                found=str(place.resolve()),
                cure="remove the link, or put what it leads to in its place",
            )


def write_failure(path: Path, error: OSError) -> StudyError:
    """The error a person can act on, from what the operating system said."""
    problem, cure = {
        errno.ENOSPC: ("the disk is full", "free some space and run again: finished slabs are kept"),
        errno.EDQUOT: ("the disk quota is used up", "free some space and run again: finished slabs are kept"),
        errno.EROFS: ("the disk is read-only", "choose a place you may write to with --study"),
        errno.EACCES: ("this place may not be written to", "choose a place you may write to with --study"),
    }.get(error.errno or 0, ("the study could not be written", "see the message above"))
    return StudyError(problem, where=path, found=str(error), cure=cure)
