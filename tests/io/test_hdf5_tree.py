from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from cathoscope.core.errors import MeasurementError
from cathoscope.io.hdf5_tree import Entry, entries_of, names_of
from cathoscope.io.lazy import hdf5_file


@pytest.fixture
def nested(tmp_path: Path) -> Path:
    path = tmp_path / "nested.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("a/stack", (6, 7, 8), "u2", chunks=(1, 7, 8))
        file["a/b/number"] = 8.35
        file["a/b/up"] = file["a"]
        file["text"] = "rod"
        file["nothing"] = h5py.Empty("f8")
        file["soft"] = h5py.SoftLink("/a/stack")
        file["broken"] = h5py.ExternalLink("absent.h5", "/entry/data")
    return path


def test_every_dataset_and_link_is_listed_once(nested: Path) -> None:
    with h5py.File(nested) as file:
        entries = {entry.name: entry for entry in entries_of(file)}
        assert len(entries) == len(entries_of(file))
    names = {"/a/stack", "/a/b/number", "/text", "/nothing", "/soft", "/broken"}
    # the group that contains itself is walked a second time from within, and then no more
    assert {name for name in entries if "/up/" not in name} == names
    assert entries["/a/stack"] == Entry("/a/stack", (6, 7, 8), np.dtype("u2"), (1, 7, 8))
    assert entries["/soft"].link == "/a/stack"
    assert entries["/broken"].link == "absent.h5:/entry/data"


def test_the_walk_ends_where_it_is_told(tmp_path: Path) -> None:
    path = tmp_path / "many.h5"
    with h5py.File(path, "w") as file:
        for number in range(50):
            file[f"{number:02d}"] = number
        assert [entry.name for entry in entries_of(file, at_most=7)] == [f"/{number:02d}" for number in range(7)]
        assert names_of(file, at_most=3) == ["00", "01", "02"]
        assert names_of(file) == list(file)


def test_names_that_are_no_text_are_damage(tmp_path: Path) -> None:
    path = tmp_path / "bytes.h5"
    with h5py.File(path, "w") as file:
        h5py.h5g.create(file.id, b"caf\xe9")
    with pytest.raises(MeasurementError, match=r"bytes.h5[\s\S]*0xe9"), hdf5_file(path) as file:
        entries_of(file)
