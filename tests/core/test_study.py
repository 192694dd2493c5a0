"""The study on disk: what is written is read again, and no kill leaves half an array."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from cathoscope.core import study as study_module
from cathoscope.core.errors import SchemaError, StudyError
from cathoscope.core.schema import dataset, label
from cathoscope.core.study import GROUPS, NewArray, Study, Work, chunk_shape, write_failure


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study.create(tmp_path / "heated.zarr")


def volume(seed: int = 0, *, n_z: int = 20) -> xr.Dataset:
    values = np.random.default_rng(seed).normal(size=(n_z, 3, 4)).astype(np.float32)
    coords = {
        name: label(name, np.arange(size, dtype=float), (name,)) for name, size in zip("zyx", values.shape, strict=True)
    }
    std = label("edge_jump_std", np.abs(values), ("z", "y", "x"), coords=coords, std_source="half-set")
    return dataset([label("edge_jump", values, ("z", "y", "x"), coords=coords), std])


def tree(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


# -- layout --------------------------------------------------------------------------------------


@given(st.dictionaries(st.sampled_from(["temperature", "energy", "z", "y", "x", "row"]), st.integers(0, 500)))
@settings(max_examples=50, deadline=None)
def test_a_chunk_is_never_larger_than_the_array_nor_empty(sizes: dict[str, int]) -> None:
    chunk = chunk_shape(list(sizes), list(sizes.values()))
    assert all(1 <= length <= max(size, 1) for length, size in zip(chunk, sizes.values(), strict=True))


def test_a_chunk_of_a_large_series_is_one_temperature_and_some_energies() -> None:
    dims = ("temperature", "energy", "z", "y", "x")
    assert chunk_shape(dims, (7, 80, 512, 512, 512)) == (1, 20, 8, 64, 64)


def test_a_new_study_has_its_groups_and_no_measurements(study: Study) -> None:
    assert {entry.name for entry in study.path.iterdir()} == {*GROUPS, "zarr.json"}
    assert [study.measurements(group) for group in GROUPS] == [[], [], [], []]
    assert study.log() == []


def test_creating_again_keeps_what_is_there(study: Study) -> None:
    study.write("result", "rod", volume())
    before = tree(study.path)
    assert Study.create(study.path).arrays("result", "rod") == ["edge_jump", "edge_jump_std", "x", "y", "z"]
    assert tree(study.path) == before


def test_an_empty_folder_may_become_a_study(tmp_path: Path) -> None:
    assert Study.create(tmp_path).measurements("raw") == []


# -- opening what is not a study -----------------------------------------------------------------


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(StudyError, match="not a study") as caught:
        Study.create(tmp_path)
    assert caught.value.cure is not None
    assert list(tmp_path.iterdir()) == [tmp_path / "thesis.tex"]


def test_a_file_is_not_a_study(tmp_path: Path) -> None:
    file = tmp_path / "heated.zarr"
    file.write_text("hello")
    with pytest.raises(StudyError, match="not a study"):
        Study.create(file)
    with pytest.raises(StudyError, match="no study here"):
        Study.open(file)
    assert file.read_text() == "hello"


@pytest.mark.parametrize("make", [True, False])
def test_a_place_without_a_study(tmp_path: Path, make: bool) -> None:
    place = tmp_path / "heated.zarr"
    if make:
        place.mkdir()
    with pytest.raises(StudyError, match="no study here") as caught:
        Study.open(place)
    assert "cathoscope run" in str(caught.value.cure)


def test_a_zarr_tree_of_someone_else(tmp_path: Path) -> None:
    zarr.open_group(tmp_path / "image.zarr", mode="w", attributes={"multiscales": []})
    with pytest.raises(StudyError, match="not a study"):
        Study.open(tmp_path / "image.zarr")


def test_a_study_of_a_newer_version(study: Study) -> None:
    zarr.open_group(study.path, mode="a").attrs["format_version"] = 99
    with pytest.raises(StudyError, match="newer version") as caught:
        Study.open(study.path)
    assert "99" in str(caught.value.found)


@pytest.mark.parametrize("content", ['{"broken', "", "null", "[]", '{"zarr_format": 3, "node_type": "array"}'])
def test_a_study_whose_description_is_damaged_is_said_in_words(tmp_path: Path, content: str) -> None:
    Study.create(tmp_path / "s.zarr")
    (tmp_path / "s.zarr" / "zarr.json").write_text(content)
    with pytest.raises(StudyError, match=r"damaged|no study here"):
        Study.open(tmp_path / "s.zarr")


# -- reading and writing -------------------------------------------------------------------------


def test_what_is_written_is_read_again(study: Study) -> None:
    study.write("result", "rod", volume(), address="a1")
    found = Study.open(study.path).read("result", "rod")
    for name in ("edge_jump", "edge_jump_std"):
        np.testing.assert_array_equal(found[name], volume()[name])
        assert found[name].dims == ("z", "y", "x")
    assert found["edge_jump"].attrs == {**volume()["edge_jump"].attrs, "address": "a1"}
    assert found["z"].attrs["units"] == "um"
    assert study.address("rod", "edge_jump") == "a1"
    assert study.measurements("result") == ["rod"]


@pytest.mark.parametrize("dtype", ["f4", "f8", "i1", "i8", "bool"])
def test_every_kind_of_number_comes_back_bit_by_bit(study: Study, dtype: str) -> None:
    name = {"f": "edge_jump", "i": "white_line_flag", "b": "particle_mask"}[np.dtype(dtype).kind]
    values = np.random.default_rng(3).integers(0, 2, (9, 70, 3)).astype(dtype)
    if values.dtype.kind == "f":
        values[0, 0] = [np.nan, np.inf, -0.0]
    study.write("truth", "rod", dataset([label(name, values, ("z", "y", "x"))]))
    found = study.read("truth", "rod")[name].values
    assert found.dtype == values.dtype
    assert found.tobytes() == values.tobytes()


def test_a_scalar_without_dims(study: Study) -> None:
    study.write("result", "pillar", dataset([label("rotation_axis", 3.25, ())]))
    assert study.read("result", "pillar")["rotation_axis"].item() == 3.25


def test_names_of_components_are_text(study: Study) -> None:
    weights = label("component_weight", np.ones((2, 1, 1)), ("component", "y", "x"))
    study.write("result", "map", dataset([weights.assign_coords(component=["oxidised", "reduced"])]))
    assert study.read("result", "map")["component"].values.tolist() == ["oxidised", "reduced"]


def test_truth_has_no_address(study: Study) -> None:
    study.write("truth", "rod", volume(), address="a1")
    assert "address" not in study.attributes("truth", "rod", "edge_jump")


def test_only_what_is_asked_for_is_read(study: Study) -> None:
    study.write("result", "rod", volume())
    assert list(study.read("result", "rod", ["edge_jump"]).data_vars) == ["edge_jump"]
    assert list(study.read("result", "rod", []).data_vars) == []


def test_arrays_of_two_sizes_can_be_read_one_after_the_other(study: Study) -> None:
    """Between two steps of a run whose recipe now asks for fewer rows, old and new arrays stand side by side."""
    study.write("result", "rod", volume())
    study.write("result", "rod", volume(1, n_z=5)[["edge_jump"]])
    assert study.read("result", "rod", ["edge_jump"])["edge_jump"].shape == (5, 3, 4)


@pytest.mark.parametrize(("measurement", "found"), [("rod", "edge_jump"), ("gravel", "nothing")])
def test_a_name_that_is_not_there(study: Study, measurement: str, found: str) -> None:
    study.write("result", "rod", volume())
    with pytest.raises(StudyError, match=f"{measurement} has no attenuation") as caught:
        study.read("result", measurement, ["attenuation"])
    assert found in str(caught.value.found)


def test_what_is_not_there_has_neither_attributes_nor_address(study: Study) -> None:
    assert study.attributes("result", "rod", "edge_jump") == {}
    assert study.address("rod", "edge_jump") is None
    study.remove("result", "rod", "edge_jump")


def test_a_removed_array_is_gone_and_the_others_stay(study: Study) -> None:
    study.write("result", "rod", volume())
    study.remove("result", "rod", "edge_jump")
    assert study.arrays("result", "rod") == ["edge_jump_std", "x", "y", "z"]


def test_raw_records_replace_each_other(study: Study) -> None:
    study.write_raw("rod", {"files": ["a"], "note": "old"})
    study.write_raw("rod", {"files": ("b", "c")})
    assert study.attributes("raw", "rod") == {"files": ["b", "c"]}


def test_the_log_keeps_every_line_and_forgives_one_cut_short(study: Study) -> None:
    study.append_log({"run": 1})
    study.append_log({"run": 2})
    with (study.path / "log" / "runs.jsonl").open("a") as file:
        file.write('{"run": 3, "seco')
    assert study.log() == [{"run": 1}, {"run": 2}]


def test_a_locked_study_refuses_a_second_writer(study: Study) -> None:
    with study.locked(), pytest.raises(StudyError, match=f"process {os.getpid()}"), Study.open(study.path).locked():
        pytest.fail("two writers")


# -- work in progress ----------------------------------------------------------------------------

NEW = NewArray("edge_jump", ("z", "y", "x"), (20, 3, 4), attrs={"window": (1.0, 2.0)})


def work_on(study: Study, address: str = "a1") -> Work:
    work = Work(study, "result", "rod", address)
    work.prepare([NEW], volume().coords)
    return work


def test_nothing_shows_before_the_commit(study: Study) -> None:
    work = work_on(study)
    work.store("edge_jump", (slice(0, 20),), volume()["edge_jump"].values)
    assert study.measurements("result") == []
    work.commit()
    np.testing.assert_array_equal(study.read("result", "rod")["edge_jump"], volume()["edge_jump"])
    assert list((study.path / "log" / "work").iterdir()) == []


def test_what_no_slab_has_written_is_not_a_number(study: Study) -> None:
    work = work_on(study)
    work.store("edge_jump", (slice(0, 8),), np.ones((8, 3, 4), np.float32))
    work.commit()
    assert np.isnan(study.read("result", "rod")["edge_jump"][8:]).all()


def test_a_resumed_work_keeps_finished_slabs_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    values = volume()["edge_jump"].values
    slabs = [slice(0, 8), slice(8, 16), slice(16, 20)]

    def fill(study: Study, only: list[slice]) -> Work:
        work = work_on(study)
        for slab in only:
            if not work.is_done(str(slab.start)):
                work.store("edge_jump", (slab,), values[slab])
                work.mark_done(str(slab.start))
        return work

    whole, killed = Study.create(tmp_path / "whole"), Study.create(tmp_path / "killed")
    fill(whole, slabs).commit()
    fill(killed, slabs[:2])  # the process dies here
    again = work_on(killed)
    assert [again.is_done(str(slab.start)) for slab in slabs] == [True, True, False]
    fill(killed, slabs).commit()
    assert tree(killed.path / "result") == tree(whole.path / "result")


def test_another_address_does_not_take_over_unfinished_slabs(study: Study) -> None:
    work_on(study).mark_done("0")
    assert not work_on(study, "a2").is_done("0")


def test_a_kill_between_moving_out_the_old_and_moving_in_the_new(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    study.write("result", "rod", volume(0), address="a1")
    rename = os.rename
    moved = []

    def killed(source: Path, target: Path) -> None:
        moved.append(source)
        if len(moved) == 4:
            raise KeyboardInterrupt
        rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(study_module.os, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            study.write("result", "rod", volume(1), address="a2")
    study.write("result", "rod", volume(1), address="a2")
    fresh = Study.create(study.path.parent / "fresh.zarr")
    fresh.write("result", "rod", volume(1), address="a2")
    assert tree(study.path / "result") == tree(fresh.path / "result")


def test_a_name_that_the_schema_does_not_have(study: Study) -> None:
    with pytest.raises(SchemaError, match="colour"):
        Work(study, "result", "rod", "a1").prepare([NewArray("colour", ("z",), (3,))], {})


# -- disks that do not want ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "problem"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "may not be written"),
        (errno.EIO, "could not be written"),
    ],
)
def test_the_operating_systems_words_become_a_cure(number: int, problem: str) -> None:
    error = write_failure(Path("heated.zarr"), OSError(number, os.strerror(number)))
    assert problem in error.problem
    assert os.strerror(number) in str(error.found)
    assert error.cure


def test_an_error_without_a_number() -> None:
    assert "could not be written" in write_failure(Path("heated.zarr"), OSError("odd")).problem


def refuse(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_every_way_of_writing_says_that_the_disk_is_full(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    work = work_on(study)
    monkeypatch.setattr(zarr.storage.LocalStore, "set", refuse)
    monkeypatch.setattr(zarr.storage.LocalStore, "set_if_not_exists", refuse)
    monkeypatch.setattr(Path, "touch", refuse)
    monkeypatch.setattr(Path, "open", refuse)
    for write in (
        lambda: Study.create(study.path.parent / "other.zarr"),
        lambda: study.write_raw("rod", {}),
        lambda: study.write("result", "rod", volume()),
        lambda: study.append_log({}),
        lambda: work.prepare([NewArray("edge_jump_std", ("z",), (3,))], {}),
        lambda: work.store("edge_jump", (slice(0, 8),), np.ones((8, 3, 4), np.float32)),
        lambda: work.mark_done("0"),
    ):
        with pytest.raises(StudyError, match="the disk is full"):
            write()


def test_a_commit_that_cannot_move_keeps_the_work(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    work = work_on(study)
    work.store("edge_jump", (slice(0, 20),), volume()["edge_jump"].values)
    with monkeypatch.context() as patch:
        patch.setattr(study_module.os, "rename", refuse)
        with pytest.raises(StudyError, match="the disk is full"):
            work.commit()
    work_on(study).commit()
    np.testing.assert_array_equal(study.read("result", "rod")["edge_jump"], volume()["edge_jump"])


def test_metadata_are_json_that_other_programs_read(study: Study) -> None:
    study.write("result", "rod", volume(), address="a1")
    text = json.loads((study.path / "result" / "rod" / "edge_jump" / "zarr.json").read_text())
    assert text["dimension_names"] == ["z", "y", "x"]
    assert text["attributes"]["units"] == "1/um"


def test_a_note_of_a_finished_slab_outlives_a_kill(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study.zarr")
    work = Work(study, "result", "rod", "address")
    assert work.note_of("first") is None
    work.mark_done("first", "what was found: 8350 \N{PLUS-MINUS SIGN} 1")
    again = Work(study, "result", "rod", "address")
    assert again.note_of("first") == "what was found: 8350 \N{PLUS-MINUS SIGN} 1"
    again.mark_done("second")
    assert again.note_of("second") == ""
    assert Work(study, "result", "rod", "another").note_of("first") is None


@pytest.mark.parametrize("place", ["result", "result/rod", "result/rod/attenuation", "log/work"])
def test_nothing_is_written_through_a_link_that_leads_out(place: str, tmp_path: Path) -> None:
    Study.create(tmp_path / "study.zarr")
    outside = tmp_path / "outside"
    outside.mkdir()
    link = tmp_path / "study.zarr" / place
    if link.is_dir():
        shutil.rmtree(link)
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(outside)
    with pytest.raises(StudyError, match="leads out of it"):
        Study.create(tmp_path / "study.zarr")
    assert list(outside.iterdir()) == []


def test_a_study_may_lie_behind_a_link_and_hold_links_to_itself(tmp_path: Path) -> None:
    Study.create(tmp_path / "elsewhere.zarr")
    (tmp_path / "study.zarr").symlink_to(tmp_path / "elsewhere.zarr")
    (tmp_path / "elsewhere.zarr" / "log" / "work").symlink_to(tmp_path / "elsewhere.zarr" / "raw")
    Study.create(tmp_path / "study.zarr")


def test_a_folder_that_holds_a_study_is_not_it_but_says_where_it_is(tmp_path: Path) -> None:
    Study.create(tmp_path / "heated.zarr")
    with pytest.raises(StudyError, match="no study here") as caught:
        Study.open(tmp_path)
    assert str(tmp_path / "heated.zarr") in str(caught.value.cure)
