from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from cathoscope.core.errors import MeasurementError
from cathoscope.io.hdf5_links import MasterFile, Place, absent_sources, find_linked_file, groups_of, hdf5_file


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_a_linked_file_is_looked_for_in_this_order(tmp_path: Path) -> None:
    assert find_linked_file(tmp_path, "raw/a.h5") is None
    below = touch(tmp_path / "copy/a.h5")
    assert find_linked_file(tmp_path, "raw/a.h5") == below
    beside = touch(tmp_path / "a.h5")
    assert find_linked_file(tmp_path, "raw/a.h5") == beside
    as_said = touch(tmp_path / "raw/a.h5")
    assert find_linked_file(tmp_path, "raw/a.h5") == as_said
    assert find_linked_file(tmp_path, str(as_said)) == as_said


def test_a_linked_file_is_found_by_name_however_its_folder_is_written(tmp_path: Path) -> None:
    beside = touch(tmp_path / "a.h5")
    for stored in ("/dls/k11/data/a.h5", r"D:\data\a.h5", "../other/a.h5", r"raw\a.h5"):
        assert find_linked_file(tmp_path, stored) == beside


def test_of_two_files_of_one_name_none_is_taken(tmp_path: Path) -> None:
    touch(tmp_path / "one/a.h5")
    touch(tmp_path / "two/a.h5")
    assert find_linked_file(tmp_path, "a.h5") is None


@pytest.mark.parametrize("stored", ["", ".", "raw/", "a\0b", "x" * 5000, "../.."])
def test_a_name_that_is_none_finds_nothing(tmp_path: Path, stored: str) -> None:
    touch(tmp_path / "raw/a.h5")
    assert find_linked_file(tmp_path, stored) is None


def test_a_folder_that_nobody_may_list_has_no_file(tmp_path: Path) -> None:
    assert find_linked_file(tmp_path / "absent", "a.h5") is None


@pytest.fixture
def master(tmp_path: Path) -> MasterFile:
    """A file whose names lead, by links of every kind, to one dataset in another file."""
    with h5py.File(tmp_path / "camera.h5", "w") as file:
        file["g/values"] = np.arange(4)
        file["g/again"] = h5py.SoftLink("values")
    with h5py.File(tmp_path / "master.h5", "w") as file:
        file["here"] = 1.0
        file["here"].attrs["units"] = "mm"
        file["text"] = "words"
        file["list"] = [1, 2]
        file["group/outside"] = h5py.ExternalLink("old/camera.h5", "/g")
        file["absolute"] = h5py.SoftLink("/group/outside/again")
        file["group/relative"] = h5py.SoftLink("outside/values")
        file["circle"] = h5py.SoftLink("/circle")
        file["nowhere"] = h5py.SoftLink("/nothing")
        file["gone"] = h5py.ExternalLink("gone.h5", "/g")
    return MasterFile(tmp_path / "master.h5")


@pytest.mark.parametrize("name", ["/group/outside/values", "group/outside/again", "/absolute", "/group/./relative"])
def test_links_of_every_kind_are_followed(master: MasterFile, name: str) -> None:
    place = master.locate(name)
    assert place == Place(master.path.parent / "camera.h5", "/g/values")
    assert master.moved == {"old/camera.h5": master.path.parent / "camera.h5"}
    assert master.missing == {}


@pytest.mark.parametrize("name", ["/circle", "/nowhere", "/here/below", "/group/absent", "/group/outside/absent"])
def test_a_name_that_leads_nowhere_has_no_place(master: MasterFile, name: str) -> None:
    assert master.locate(name) is None
    assert master.missing == {}


def test_a_missing_file_is_noted_with_the_name_that_leads_to_it(master: MasterFile) -> None:
    assert master.locate("/gone/values") is None
    assert master.missing == {"/gone/values": "gone.h5"}


def test_scalars_with_their_units(master: MasterFile) -> None:
    assert master.scalar("/here") == (1.0, "mm")
    assert master.number("here") == (1.0, "mm")
    assert master.scalar("/text") == ("words", None)
    for name in ("/text", "/list", "/group", "/gone", "/nowhere"):
        assert master.number(name) is None


def test_groups_in_other_files_are_left_out(master: MasterFile) -> None:
    with h5py.File(master.path, "a") as file:
        file["inner"] = h5py.SoftLink("/group")
        file.create_group("\x01unprintable")
    with hdf5_file(master.path) as file:
        assert [name for name, _ in groups_of(file)] == ["group", "inner"]


@pytest.mark.parametrize("absolute", [True, False])
@pytest.mark.parametrize("where", ["as said", "beside", "nowhere"])
def test_sources_are_absent_exactly_where_hdf5_gives_fill_values(tmp_path: Path, absolute: bool, where: str) -> None:
    (tmp_path / "raw").mkdir()
    stored = str(tmp_path / "raw/part.h5") if absolute else "raw/part.h5"
    path = {"as said": tmp_path / "raw/part.h5", "beside": tmp_path / "part.h5"}.get(where)
    if path is not None:
        with h5py.File(path, "w") as file:
            file["v"] = np.arange(1, 5)
    layout = h5py.VirtualLayout((5,), "i8")
    layout[:4] = h5py.VirtualSource(stored, "v", (4,), "i8")
    layout[4:] = h5py.VirtualSource(".", "last", (1,), "i8")
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        file["last"] = [5]
        file.create_virtual_dataset("v", layout, fillvalue=-1)
    with hdf5_file(tmp_path / "virtual.h5") as file:
        filled = bool((file["v"][:4] == -1).all())
        assert file["v"][4] == 5
        assert absent_sources(file["v"], tmp_path) == ([stored] if filled else [])
        assert absent_sources(file["last"], tmp_path) == []
    assert filled == (where == "nowhere" or (where == "beside" and not absolute))


@pytest.mark.parametrize("error", [TypeError(), ValueError("a\nb"), OverflowError("o"), MemoryError(), KeyError("k")])
def test_what_h5py_raises_for_damage_names_the_file(master: MasterFile, error: Exception) -> None:
    with pytest.raises(MeasurementError, match=r"master\.h5"), hdf5_file(master.path):
        raise error
