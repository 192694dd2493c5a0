"""Files that change while a study is computed, or between two runs: it is said, and nothing is mixed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cathoscope.core.errors import StudyError
from cathoscope.core.links import FileLink, link_file
from cathoscope.core.parallel import SLAB_ROWS, Errand, Resources, Silent
from cathoscope.core.schema import dataset, label
from cathoscope.core.study import Study, Work
from cathoscope.flow import errands
from cathoscope.flow.recipe import load_recipe
from cathoscope.flow.run import MeasurementOutcome, plan_measurement, run
from cathoscope.flow.sources import SourceChanged, Sources, changes_since
from cathoscope.io import open_raw

RecipeWriter = Callable[..., Path]
ResultBytes = Callable[[Path], dict[str, bytes]]

THINNEST = Resources(most_rows=SLAB_ROWS)  # three slabs
BEFORE = ["bad pixels", "stripes"]  # the geometry is stated
RECIPE = """\
[sample.rod]
[measurement.rod]
sample = "rod"
technique = "tomography"
files = "scan.h5"
tomography = { stripes = "none" }
fix = { rotation_axis = 19.5, projection_shift = 0.0, beam_intensity = 1.0 }
"""


# -- files ----------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "scan.h5"
    path.write_bytes(bytes(range(250)) * 40)
    return path


def test_a_file_that_nobody_wrote_to_is_the_same_wherever_it_was_meanwhile(file: Path) -> None:
    link = link_file(file, file.parent)
    assert link.change() is None
    file.chmod(0o600)
    os.rename(file, file.with_name("away"))
    os.rename(file.with_name("away"), file)
    shutil.copy2(file, file.with_name("copy"))
    os.replace(file.with_name("copy"), file)  # the same bytes of the same time in another place on the disk
    assert link.change() is None


def test_any_writing_makes_another_file_even_of_the_same_size_and_time(file: Path) -> None:
    link, before = link_file(file, file.parent), file.stat()
    content = file.read_bytes()
    file.write_bytes(b"x" + content[1:])
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert "fingerprint" in str(link.change())
    file.write_bytes(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 1))  # it may have been read half written
    assert "10000 bytes" in str(link.change())
    os.truncate(file, 77)
    assert "77 bytes" in str(link.change())
    file.unlink()
    assert "cannot be read" in str(link.change())


def test_a_remembered_link_has_no_file_to_look_at() -> None:
    assert FileLink("raw/a.h5", 1, 2, "h").change() is None


def test_the_refusal_names_file_states_and_cure(file: Path) -> None:
    other = file.with_name("other.h5")
    shutil.copy(file, other)
    sources = Sources((link_file(file, file.parent), link_file(other, file.parent)))
    sources.require_unchanged()
    file.write_bytes(b"new")
    other.unlink()
    with pytest.raises(SourceChanged, match=str(file)) as caught:
        sources.require_unchanged()
    assert "10000 bytes" in str(caught.value.expected)
    assert "3 bytes" in str(caught.value.found)
    assert "1 more" in str(caught.value.found)
    assert "run again" in str(caught.value.cure)
    assert caught.value.exit_code == 3


def test_what_changed_since_the_last_run_is_told_and_what_only_moved_is_not(tmp_path: Path) -> None:
    old = [FileLink(name, 10, 0, f"of {name}").record() for name in ("kept", "moved", "changed", "gone", "left out")]
    (tmp_path / "left out").touch()
    new = [
        FileLink("kept", 10, 5, "of kept"),
        FileLink("elsewhere/moved", 10, 0, "of moved"),
        FileLink("changed", 12, 3_600 * 10**9, "another"),
        FileLink("more", 1, 1, "of more"),
    ]
    changed, gone = changes_since(old, new, tmp_path)
    assert changed.startswith("changed has changed since the last run")
    assert "12 bytes" in changed
    assert gone.startswith("gone of the last run is gone")
    assert changes_since(old, [FileLink(**one) for one in old], tmp_path) == []


# -- work -----------------------------------------------------------------------------------------


def test_what_is_not_allowed_is_neither_done_nor_put_in_place(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study.zarr")

    def refuse() -> None:
        raise SourceChanged("changed")

    work = Work(study, "result", "rod", "a1", refuse)
    work.store_dataset(dataset([label("angle", np.zeros(3), ("projection",))]))
    for attempt in (lambda: work.mark_done("first"), work.commit):
        with pytest.raises(SourceChanged):
            attempt()
    assert not work.is_done("first")
    assert study.measurements("result") == []


# -- runs -----------------------------------------------------------------------------------------


class Meddles(Silent):
    """Does something to the data in the middle of a step."""

    def __init__(self, label: str, units: int, meddle: Callable[[], object]) -> None:
        self.label, self.units, self.meddle = label, units, meddle
        self.armed = False
        self.said: list[str] = []

    def start(self, label: str, total: int, unit: str) -> None:
        self.armed = label.endswith(self.label)

    def advance(self, units: int = 1) -> None:
        self.units -= units if self.armed else 0
        if self.armed and self.units == 0:
            self.meddle()

    def remark(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def data(spheres: Path, tmp_path: Path) -> Path:
    """A folder with one scan."""
    folder = tmp_path / "data"
    folder.mkdir()
    shutil.copy2(spheres / "raw" / "spheres_025C" / "fly_scan_id_100127.h5", folder / "scan.h5")
    return folder


def run_once(recipe: Path, study: Path, data: Path, progress: Silent | None = None) -> MeasurementOutcome:
    loaded = load_recipe(recipe, data=data)
    (outcome,) = run(loaded, study, resources=THINNEST, progress=progress or Silent()).measurements
    return outcome


@pytest.mark.parametrize("way", ["another file", "cut short", "taken away"])
def test_a_file_that_changes_under_a_run_is_named_and_its_slabs_are_refused(
    way: str, data: Path, write_recipe: RecipeWriter, result_bytes: ResultBytes, tmp_path: Path
) -> None:
    recipe, scan, study = write_recipe(RECIPE), data / "scan.h5", tmp_path / "study.zarr"

    def meddle() -> None:
        shutil.copy2(scan, data / "safe.h5")
        if way == "another file":
            shutil.copy(data / "safe.h5", data / "new.h5")
            os.replace(data / "new.h5", scan)
        elif way == "cut short":
            os.truncate(scan, 5_000)
        else:
            scan.unlink()

    progress = Meddles("reconstruction", 1, meddle)
    outcome = run_once(recipe, study, data, progress)
    assert "has changed under the running study" in str(outcome.failure)
    assert "scan.h5" in str(outcome.failure)
    assert outcome.computed == BEFORE
    assert [str(outcome.failure) in text for text in progress.said] == [True]
    assert "attenuation" not in Study.open(study).arrays("result", "rod")
    assert len(list(study.glob("log/work/*/done/*"))) == 1  # the slab of before
    os.replace(data / "safe.h5", scan)
    again = run_once(recipe, study, data)
    assert again.failure is None
    assert again.changed == []
    assert again.cached == BEFORE
    whole = tmp_path / "whole.zarr"
    run_once(recipe, whole, data)
    assert result_bytes(study) == result_bytes(whole)


def test_a_worker_refuses_the_slab_of_a_changed_file_and_the_next_run_tells(
    data: Path, write_recipe: RecipeWriter, tmp_path: Path
) -> None:
    path, study = write_recipe(RECIPE), tmp_path / "study.zarr"
    run_once(path, study, data)
    recipe = load_recipe(path, data=data)
    node = next(one for one in plan_measurement(recipe, "rod").graph.nodes if one.step.name == "reconstruction")
    errand = Errand(path, recipe.text, data, study, "rod", node.address)
    slabs = [((), slice(0, 1), slice(start, start + SLAB_ROWS)) for start in (0, SLAB_ROWS)]
    assert errands.do_slab(slabs[0], errand, THINNEST, "a run with a change") is True
    content = (data / "scan.h5").read_bytes()
    (data / "scan.h5").write_bytes(content[:-1] + b"x")
    assert isinstance(errands.do_slab(slabs[1], errand, THINNEST, "a run with a change"), SourceChanged)
    (changed,) = run_once(path, study, data).changed
    assert changed.startswith("scan.h5 has changed since the last run")
    assert "fingerprint" in changed


def test_a_start_array_that_is_made_anew_under_a_run_is_another_file(
    tmp_path: Path, write_recipe: RecipeWriter
) -> None:
    study = Study.create(tmp_path / "old.zarr")

    def store(value: float) -> None:
        values = np.full((8, 8, 8), value, np.float32)
        study.write("result", "rod", dataset([label("attenuation", values, ("z", "y", "x"))]), address=f"a{value}")

    store(1.0)
    text = '[sample.rod]\n[measurement.rod]\nsample = "rod"\ntechnique = "tomography"\npixel_size = "20 nm"\n'
    start = 'start = { attenuation = "old.zarr/result/rod" }\nmorphology = {}\n'
    recipe = load_recipe(write_recipe(text + start))
    plan = plan_measurement(recipe, "rod")
    plan.sources.require_unchanged()
    store(2.0)
    with pytest.raises(SourceChanged, match="attenuation"):
        plan.sources.require_unchanged()


def test_too_little_memory_keeps_what_is_finished(
    data: Path, write_recipe: RecipeWriter, result_bytes: ResultBytes, tmp_path: Path
) -> None:
    recipe, study = write_recipe(RECIPE), tmp_path / "study.zarr"

    def run_short() -> None:
        raise MemoryError("Unable to allocate 8.00 GiB")

    with pytest.raises(StudyError, match="not enough memory") as caught:
        run_once(recipe, study, data, Meddles("reconstruction", 1, run_short))
    assert "8.00 GiB" in str(caught.value.found)
    assert "less --memory" in str(caught.value.cure)
    assert len(list(study.glob("log/work/*/done/*"))) == 1
    assert run_once(recipe, study, data).cached == BEFORE
    run_once(recipe, tmp_path / "whole.zarr", data)
    assert result_bytes(study) == result_bytes(tmp_path / "whole.zarr")


def test_a_sound_file_is_not_taken_for_a_damaged_one_when_memory_is_short(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = open_raw([data / "scan.h5"])
    monkeypatch.setattr("h5py.Dataset.__getitem__", lambda *_: (_ for _ in ()).throw(MemoryError("short")))
    with pytest.raises(MemoryError, match="short"):
        _ = scan["counts"].values
