"""What an export leaves on disk when all goes well, and when it does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import zarr

from cathoscope.core.errors import CathoscopeError, StudyError
from cathoscope.core.parallel import Resources, Silent
from cathoscope.core.schema import dataset, label
from cathoscope.core.study import Study
from cathoscope.io import export_hdf5, export_powder
from cathoscope.io import export_study as module
from cathoscope.io.export_study import FORMS, Choice, export_study
from cathoscope.io.export_target import refuse_existing, temperature_names, whole
from cathoscope.io.export_volume import Volume, volumes_of
from tests.io.export_studies import coefficient_arrays, study_of, tomography_arrays, xanes_arrays


class Watched(Silent):
    """Keeps what a person would see."""

    def __init__(self) -> None:
        self.tasks: list[tuple[str, int]] = []
        self.done = 0
        self.remarks: list[str] = []

    def start(self, label: str, total: int, unit: str) -> None:
        self.tasks.append((label, total))

    def advance(self, units: int = 1) -> None:
        self.done += units

    def remark(self, text: str) -> None:
        self.remarks.append(text)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    path = tmp_path_factory.mktemp("whole") / "study.zarr"
    bulk = dataset([label("edge_step", np.ones(3), ("spectrum",))])
    return study_of(path, rod=xanes_arrays(), tomo=tomography_arrays(), bulk=bulk, sums=coefficient_arrays()[0])


def export(study: Study, folder: Path, choice: Choice, *, overwrite: bool = False) -> list[Path]:
    return export_study(study, folder, choice, overwrite=overwrite, resources=Resources(), progress=Silent())


def test_measurements_without_volumes_are_left_out_unless_named(study: Study, tmp_path: Path) -> None:
    written = export(study, tmp_path, Choice("tiff", arrays=("attenuation",)))
    # the coefficients of sums are summed up, because attenuation is named
    assert {path.parent.name for path in written} == {"rod", "sums", "tomo"}
    with pytest.raises(StudyError, match="bulk holds no array with voxels"):
        export(study, tmp_path, Choice("tiff", ("bulk",)))


def test_names_that_are_not_there_are_named_with_those_that_are(study: Study, tmp_path: Path) -> None:
    with pytest.raises(CathoscopeError, match="there is no measurement rodd") as raised:
        export(study, tmp_path, Choice(measurements=("rodd",)))
    assert "bulk, rod, sums, tomo" in str(raised.value)
    with pytest.raises(CathoscopeError, match="unknown form of export") as raised:
        Choice("vtk")
    assert all(form in str(raised.value) for form in FORMS)
    with pytest.raises(StudyError, match="no results yet"):
        export(Study.create(tmp_path / "empty.zarr"), tmp_path, Choice())


def test_an_earlier_export_is_refused_before_anything_is_written(study: Study, tmp_path: Path) -> None:
    choice = Choice("tiff", ("rod",), ("particle_mask",))
    first = export(study, tmp_path, choice)
    first[0].unlink()
    with pytest.raises(CathoscopeError, match="an earlier export is there") as raised:
        export(study, tmp_path, choice)
    assert "particle_mask_02_180C.tif" in str(raised.value)
    assert "--overwrite" in str(raised.value)
    assert not first[0].exists()


@pytest.mark.parametrize("form", [form for form in FORMS if form not in export_powder.FORMS])
def test_an_export_is_replaced_whole_or_not_at_all(
    study: Study, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stamps() -> dict[Path, int]:
        return {path: path.stat().st_ino for path in written}

    choice = Choice(form, ("sums",), ("attenuation",))
    written = export(study, tmp_path, choice)
    first = stamps()
    assert export(study, tmp_path, choice, overwrite=True) == written
    second = stamps()
    assert second != first
    begun = []

    def fail(*arguments: object, **keywords: object) -> None:
        begun.extend(path.name for path in tmp_path.rglob(".*.part"))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "run_slabs", fail)
    with pytest.raises(StudyError, match="the export could not be written") as raised:
        export(study, tmp_path, choice, overwrite=True)
    assert begun == [f".{written[0].name}.part"]
    assert "No space left" in str(raised.value)
    assert stamps() == second
    assert [path.name for path in tmp_path.rglob(".*")] == []


def test_what_a_kill_left_behind_is_replaced(study: Study, tmp_path: Path) -> None:
    part = tmp_path / "tomo" / ".attenuation.ome.zarr.part"
    part.mkdir(parents=True)
    (part / "rubbish").touch()
    (path,) = export(study, tmp_path, Choice("ome-zarr", ("tomo",)))
    assert not part.exists()
    assert not (path / "rubbish").exists()


def _interrupted(target: Path) -> None:
    with whole(target) as path:
        path.write_text("other")
        raise KeyboardInterrupt


def test_nothing_is_under_the_name_before_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "folder" / "file.h5"
    with whole(target) as path:
        path.write_text("half")
        assert not target.exists()
    assert target.read_text() == "half"
    with pytest.raises(KeyboardInterrupt):
        _interrupted(target)
    assert [file.name for file in target.parent.iterdir()] == ["file.h5"]
    assert target.read_text() == "half"
    with pytest.raises(CathoscopeError, match="an earlier export"):
        refuse_existing([target])


def test_a_place_that_cannot_be_written_is_named(study: Study, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StudyError, match="could not be written"):
        export(study, tmp_path / "file", Choice("hdf5", ("tomo",)))


def test_progress_counts_every_slab_and_says_when_memory_is_short(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched()
    arguments = {"overwrite": True, "resources": Resources(), "progress": watched}
    export_study(study, tmp_path, Choice("hdf5", ("rod", "tomo")), **arguments)  # type: ignore[arg-type]
    assert [task[0] for task in watched.tasks] == ["export rod.h5", "export tomo.h5"]
    assert watched.done == sum(task[1] for task in watched.tasks)
    assert watched.remarks == []
    monkeypatch.setattr(module, "bytes_per_row", lambda volume, n_channels: 1e9)
    export_study(study, tmp_path, Choice("hdf5", ("tomo",)), **arguments)  # type: ignore[arg-type]
    (remark,) = watched.remarks
    assert "--memory 8.0GB" in remark


@pytest.mark.parametrize("form", ["ome-zarr", "tiff", "hdf5"])
def test_voxels_of_unknown_size_claim_no_unit(tmp_path: Path, form: str) -> None:
    bare = tomography_arrays().drop_vars(["z", "y", "x"])
    (path,) = export(study_of(tmp_path / "s.zarr", bare=bare), tmp_path / "out", Choice(form))
    if form == "ome-zarr":
        image: Any = zarr.open_group(path, mode="r").attrs["ome"]
        assert image["multiscales"][0]["axes"][0] == {"name": "z", "type": "space"}
    elif form == "tiff":
        with tifffile.TiffFile(path) as file:
            assert "unit" not in (file.imagej_metadata or {})
    else:
        with h5py.File(path) as file:
            assert "voxel_size_um" not in file["attenuation"].attrs
            assert list(file) == ["attenuation", "entry"]
            assert list(file["entry/attenuation"]) == ["attenuation"]
            assert list(file["entry/attenuation"].attrs["axes"]) == [".", ".", "."]


def test_arrays_with_different_coordinates_do_not_share_a_file(tmp_path: Path) -> None:
    odd = study_of(tmp_path / "s.zarr", rod=tomography_arrays())
    (volume,) = volumes_of(odd, "rod", ["attenuation"])
    moved = {dim: where + 1 for dim, where in volume.position.items()}
    other = Volume(**{**vars(volume), "name": "edge_jump", "position": moved})
    (output,) = export_hdf5.outputs([volume, other], tmp_path)
    with pytest.raises(CathoscopeError, match="edge_jump of rod has another z"), output.opened(tmp_path / "f.h5"):
        pass


def test_files_sort_as_measured(study: Study) -> None:
    (volume,) = volumes_of(study, "rod", ["attenuation"])
    again = Volume(**{**vars(volume), "temperatures": np.array([25.0, 250.0, 25.0])})
    assert temperature_names(again) == ["_01_25C", "_02_250C", "_03_25C"]


def test_forms_agree_with_each_other(study: Study, tmp_path: Path) -> None:
    (image,) = export(study, tmp_path, Choice("ome-zarr", ("tomo",)))
    (stack,) = export(study, tmp_path, Choice("tiff", ("tomo",)))
    np.testing.assert_array_equal(zarr.open_array(image / "0", mode="r")[...], tifffile.imread(stack))
