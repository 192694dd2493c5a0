"""What can go wrong while a study is computed: nothing is lost, and the result is the same bit for bit."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import h5py
import pytest
import zarr

from cathoscope.core.errors import Interrupted, StudyError
from cathoscope.core.parallel import Progress, Resources, Silent
from cathoscope.core.study import Study
from cathoscope.flow import code_hash
from cathoscope.flow.recipe import load_recipe
from cathoscope.flow.run import MeasurementOutcome, run

ResultBytes = Callable[[Path], dict[str, bytes]]
RecipeWriter = Callable[..., Path]

BEFORE_VOLUMES = ["bad pixels", "stripes", "survey", "series geometry", "flats", "spectral survey"]
ALL_STEPS = [
    *BEFORE_VOLUMES,
    "spectral coefficients",
    "edge jump",
    "particle mask",
    "white line",
    "white-line statistics",
    "clusters",
    "mean spectrum",
]
ONE_THREAD = Resources(threads=1)
SCANS = (0, 2, 5, 8, 12, 14, 15, 16, 18, 20, 25, 27, 29)
BAD = (7, 10, 13, 98)


def run_recipe(
    recipe: Path,
    study: Path,
    *,
    data: Path,
    resources: Resources = ONE_THREAD,
    progress: Progress | None = None,
) -> MeasurementOutcome:
    """Run a recipe of one measurement."""
    loaded = load_recipe(recipe, data=data)
    (outcome,) = run(loaded, study, resources=resources, progress=progress or Silent()).measurements
    return outcome


@pytest.fixture
def copy(undisturbed: Path, tmp_path: Path) -> Path:
    """The finished study, to do something to."""
    return Path(shutil.copytree(undisturbed, tmp_path / "study.zarr"))


# -- disks ---------------------------------------------------------------------------------------


class FailingDisk:
    """Refuses to write, from some chunk of some array on, with an error of the operating system."""

    def __init__(self, number: int, *, array: str, chunks: int) -> None:
        self.error = OSError(number, os.strerror(number))
        self.left, self.array = chunks, f"/{array}/c/"
        self.full = chunks == 0

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("set", "set_if_not_exists"):
            monkeypatch.setattr(zarr.storage.LocalStore, name, self.limited(getattr(zarr.storage.LocalStore, name)))

    def limited(self, write: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        async def limited(store: Any, key: str, value: Any) -> None:
            if self.array in f"{store.root}/{key}":
                self.full = self.full or self.left == 0
                self.left -= 1
            if self.full:
                raise self.error
            await write(store, key, value)

        return limited


def test_a_disk_that_fills_up_within_a_step_costs_only_the_slab_it_hit(
    spheres: Path,
    undisturbed: Path,
    result_bytes: ResultBytes,
    write_recipe: RecipeWriter,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe, study = write_recipe(), tmp_path / "study.zarr"
    two = Resources(threads=2)  # three slabs
    with monkeypatch.context() as patch:
        disk = FailingDisk(errno.ENOSPC, array="half_difference", chunks=2)
        disk.install(patch)
        with pytest.raises(StudyError, match="the disk is full") as caught:
            run_recipe(recipe, study, data=spheres, resources=two)
    assert disk.full
    assert "run again" in str(caught.value.cure)
    done = list(study.glob("log/work/*/done/*"))
    assert 1 <= len(done) < 3
    assert not (study / "result" / "spheres" / "spectral_coefficient").exists()
    outcome = run_recipe(recipe, study, data=spheres, resources=two)
    assert outcome.cached == BEFORE_VOLUMES
    assert result_bytes(study) == result_bytes(undisturbed)
    assert not list((study / "log").glob("work/*"))


@pytest.mark.parametrize(("number", "problem"), [(errno.EROFS, "read-only"), (errno.EACCES, "may not be written to")])
def test_a_place_that_may_not_be_written_to(
    spheres: Path,
    write_recipe: RecipeWriter,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    problem: str,
) -> None:
    FailingDisk(number, array="", chunks=0).install(monkeypatch)
    with pytest.raises(StudyError, match=problem) as caught:
        run_recipe(write_recipe(), tmp_path / "study.zarr", data=spheres)
    assert "--study" in str(caught.value.cure)


def test_a_study_whose_disk_became_read_only_still_says_so(
    spheres: Path, copy: Path, write_recipe: RecipeWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("cathoscope.core.locking.os.open", refuse)
    with pytest.raises(StudyError, match="may not be written to"):
        run_recipe(write_recipe(), copy, data=spheres)


# -- stopping and killing ------------------------------------------------------------------------


class StopsAt(Silent):
    """Presses Ctrl-C at some step, after some of its units."""

    def __init__(self, label: str, units: int) -> None:
        self.label, self.units = label, units
        self.armed = False

    def start(self, label: str, total: int, unit: str) -> None:
        self.armed = label.endswith(self.label)

    def advance(self, units: int = 1) -> None:
        if self.armed:
            self.units -= units
            if self.units <= 0:
                raise KeyboardInterrupt


def test_ctrl_c_keeps_finished_slabs_and_the_next_run_ends_the_same(
    spheres: Path,
    undisturbed: Path,
    result_bytes: ResultBytes,
    write_recipe: RecipeWriter,
    tmp_path: Path,
) -> None:
    recipe, study = write_recipe(), tmp_path / "study.zarr"
    resources = Resources(threads=2)
    with pytest.raises(Interrupted, match="stopped") as caught:
        run_recipe(recipe, study, data=spheres, resources=resources, progress=StopsAt("reconstruction", 1))
    assert "with the same result" in str(caught.value.cure)
    assert list(study.glob("log/work/*/done/*"))
    assert Study.open(study).log()[-1]["measurements"] == []
    outcome = run_recipe(recipe, study, data=spheres, resources=resources)
    assert outcome.cached == BEFORE_VOLUMES
    assert result_bytes(study) == result_bytes(undisturbed)


def start_process(recipe: Path, study: Path, data: Path) -> subprocess.Popen[str]:
    # a job that a shell started in the background ignores Ctrl-C, and so would its children
    program = (
        "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
        " runpy.run_module('cathoscope', run_name='__main__')"
    )
    command = [sys.executable, "-c", program, "run", str(recipe), "--study", str(study), "--data", str(data)]
    return subprocess.Popen(
        [*command, "--no-report", "--threads", "2"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )


def wait_for_another_slab(process: subprocess.Popen[str], study: Path) -> None:
    """Returns when the process has finished a slab itself, or has ended."""

    def finished() -> int:
        try:
            return len(list(study.glob("log/work/*/done/*"))) + len(list(study.glob("result/*/spectral_coefficient")))
        except FileNotFoundError:  # a finished step's folder went while it was looked into
            return 0

    before, deadline = finished(), time.monotonic() + 120.0
    while finished() <= before and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)  # a slab takes longer, and who looks all the time takes the processor from who works


def run_with_signal(recipe: Path, study: Path, data: Path, number: signal.Signals) -> tuple[int, str]:
    """Exit code and text of a run that gets a signal after a slab; on a busy machine the run may be the quicker one,
    then once more from the same state."""
    before = study.with_name("before.zarr")
    for _ in range(10):
        if study.exists():
            shutil.copytree(study, before, dirs_exist_ok=True)
        with start_process(recipe, study, data) as process:
            wait_for_another_slab(process, study)
            process.send_signal(number)
            _, text = process.communicate(timeout=60)
        if process.returncode != 0:
            break
        shutil.rmtree(study)
        if before.exists():
            shutil.copytree(before, study)
    return process.returncode, text


def test_a_process_that_is_stopped_and_then_killed_ends_the_same(
    spheres: Path, undisturbed: Path, result_bytes: ResultBytes, write_recipe: RecipeWriter, tmp_path: Path
) -> None:
    recipe, study = write_recipe(), tmp_path / "study.zarr"
    exit_code, text = run_with_signal(recipe, study, spheres, signal.SIGINT)
    assert exit_code == 130
    assert "stopped" in text
    assert "Traceback" not in text
    exit_code, _ = run_with_signal(recipe, study, spheres, signal.SIGKILL)
    assert exit_code == -signal.SIGKILL
    outcome = run_recipe(recipe, study, data=spheres, resources=Resources(threads=2))
    assert outcome.cached[: len(BEFORE_VOLUMES)] == BEFORE_VOLUMES
    assert outcome.computed
    assert outcome.cached + outcome.computed == ALL_STEPS
    assert result_bytes(study) == result_bytes(undisturbed)


def test_two_runs_at_once_on_one_study(spheres: Path, copy: Path, write_recipe: RecipeWriter) -> None:
    before = Study.open(copy).log()
    with Study.open(copy).locked(), pytest.raises(StudyError, match="another run") as caught:
        run_recipe(write_recipe(), copy, data=spheres)
    assert caught.value.exit_code == 4
    assert caught.value.found == f"process {os.getpid()}"
    assert Study.open(copy).log() == before


# -- the machine ---------------------------------------------------------------------------------


def with_memory(resources: Resources, memory: float) -> Resources:
    """A budget below what the command line allows: the thinnest slabs there are."""
    object.__setattr__(resources, "memory", memory)
    return resources


@pytest.mark.parametrize(
    "resources",
    [Resources(threads=2, memory=1e8), with_memory(Resources(threads=1), 1e5)],
    ids=["two threads", "little memory"],
)
def test_the_result_does_not_depend_on_threads_nor_memory(
    spheres: Path,
    undisturbed: Path,
    result_bytes: ResultBytes,
    write_recipe: RecipeWriter,
    tmp_path: Path,
    resources: Resources,
) -> None:
    study = tmp_path / "study.zarr"
    assert run_recipe(write_recipe(), study, data=spheres, resources=resources).failure is None
    assert result_bytes(study) == result_bytes(undisturbed)


# -- bad scans -----------------------------------------------------------------------------------


@pytest.fixture
def damaged(spheres: Path, tmp_path: Path) -> Path:
    """The data with one file truncated, one without beam, one without energy, one with an energy twice."""
    folder = tmp_path / "data"
    shutil.copytree(spheres / "raw" / "spheres_025C", folder / "raw" / "spheres_025C")
    scans = folder / "raw" / "spheres_025C"
    os.truncate(scans / "fly_scan_id_100108.h5", 100_000)
    with h5py.File(scans / "fly_scan_id_100111.h5", "r+") as file:
        file["img_bkg"][...] = 0
    with h5py.File(scans / "fly_scan_id_100114.h5", "r+") as file:
        del file["X_eng"]
    shutil.copy(scans / "fly_scan_id_100115.h5", scans / "fly_scan_id_100199.h5")
    return folder


def test_bad_scans_are_set_aside_by_name_and_the_rest_goes_on(
    damaged: Path, undisturbed: Path, write_recipe: RecipeWriter, tmp_path: Path
) -> None:
    recipe = write_recipe(scans=(*SCANS, *BAD))
    study = tmp_path / "study.zarr"
    first = run_recipe(recipe, study, data=damaged)
    again = run_recipe(recipe, study, data=damaged)
    assert first.failure is None
    assert first.computed == ALL_STEPS
    reasons = dict(first.set_aside)
    assert len(first.set_aside) == 4
    assert "truncated" in reasons["fly_scan_id_100108.h5"]
    assert "flats are zero" in reasons["fly_scan_id_100111.h5"]
    assert "energy" in reasons["fly_scan_id_100114.h5"]
    assert "fly_scan_id_100115.h5 is used" in reasons["fly_scan_id_100199.h5"]
    assert again.cached == ALL_STEPS
    assert again.set_aside == first.set_aside
    record = Study.open(study).attributes("raw", "spheres")
    assert [tuple(entry) for entry in record["set_aside"]] == first.set_aside
    assert len(record["scans"]["energy"]) == len(SCANS)
    line = Study.open(study).read("result", "spheres")["white_line_mean"].item()
    std = Study.open(study).read("result", "spheres")["white_line_mean_std"].item()
    true = Study.open(undisturbed).read("result", "spheres")["white_line_mean"].item()
    assert abs(line - true) < 5 * std + 0.05


# -- what a change touches -----------------------------------------------------------------------


def test_nothing_is_computed_twice(
    spheres: Path, copy: Path, undisturbed: Path, result_bytes: ResultBytes, write_recipe: RecipeWriter
) -> None:
    outcome = run_recipe(write_recipe(), copy, data=spheres)
    assert (outcome.computed, outcome.cached) == ([], ALL_STEPS)
    assert result_bytes(copy) == result_bytes(undisturbed)


@pytest.mark.parametrize(
    ("choices", "computed"),
    [
        ("white_line = { edge_width = '2.5 eV', audit = false }", {"white line", "white-line statistics", "clusters"}),
        ("edge = { minimum_sigma = 6.0 }", {*ALL_STEPS[ALL_STEPS.index("edge jump") :]}),
        ("note = 'rod on its side'", set()),
    ],
)
def test_a_choice_recomputes_what_depends_on_it(
    spheres: Path, copy: Path, write_recipe: RecipeWriter, choices: str, computed: set[str]
) -> None:
    outcome = run_recipe(write_recipe(choices=choices), copy, data=spheres)
    assert outcome.cached == [step for step in ALL_STEPS if step not in computed]
    assert outcome.computed == [step for step in ALL_STEPS if step in computed]
    assert run_recipe(write_recipe(choices=choices), copy, data=spheres).cached == ALL_STEPS


def test_a_comment_in_the_recipe_recomputes_nothing(spheres: Path, copy: Path, write_recipe: RecipeWriter) -> None:
    recipe = write_recipe()
    recipe.write_text("# measured in May\n\n" + recipe.read_text())
    assert run_recipe(recipe, copy, data=spheres).cached == ALL_STEPS


@pytest.mark.parametrize(("edit", "computed"), [("# a comment\n", []), ("\nNEW_CONSTANT = 1\n", ALL_STEPS)])
def test_a_comment_in_the_code_recomputes_nothing_but_code_does(
    spheres: Path,
    copy: Path,
    write_recipe: RecipeWriter,
    monkeypatch: pytest.MonkeyPatch,
    edit: str,
    computed: list[str],
) -> None:
    read = code_hash._source
    caches = (code_hash._digest_of_module, code_hash._imports)
    monkeypatch.setattr(
        code_hash, "_source", lambda name: read(name) + (edit if name == "cathoscope.xanes.whiteline" else "")
    )
    for cache in caches:
        cache.cache_clear()
    outcome = run_recipe(write_recipe(), copy, data=spheres)
    monkeypatch.undo()
    for cache in caches:
        cache.cache_clear()
    # All that imports the edited module is computed again, and nothing before it.
    assert outcome.computed == [step for step in computed if step.startswith("white") or step == "clusters"]


def test_moved_data_recompute_nothing(spheres: Path, copy: Path, write_recipe: RecipeWriter, tmp_path: Path) -> None:
    elsewhere = shutil.copytree(spheres / "raw", tmp_path / "elsewhere" / "raw").parent
    assert run_recipe(write_recipe(), copy, data=Path(elsewhere)).cached == ALL_STEPS


def test_fewer_rows_and_fewer_scans_replace_the_old_arrays_whole(
    spheres: Path, copy: Path, result_bytes: ResultBytes, write_recipe: RecipeWriter, tmp_path: Path
) -> None:
    recipe = write_recipe(scans=(0, 2, 5, 8, 12, 14, 15, 16, 18, 20, 27, 29), choices="rows = [4, 14]")
    assert run_recipe(recipe, copy, data=spheres).failure is None
    assert run_recipe(recipe, tmp_path / "fresh.zarr", data=spheres).failure is None
    assert result_bytes(copy) == result_bytes(tmp_path / "fresh.zarr")


def test_a_measurement_that_left_the_recipe_leaves_the_study(
    spheres: Path, copy: Path, write_recipe: RecipeWriter
) -> None:
    recipe = write_recipe(
        """
        [sample.spheres]
        [measurement.pillar]
        sample = "spheres"
        technique = "tomography"
        files = "raw/spheres_025C/fly_scan_id_100101.h5"
        """
    )
    assert run_recipe(recipe, copy, data=spheres).failure is None
    study = Study.open(copy)
    assert study.measurements("result") == ["pillar"]
    assert study.measurements("raw") == ["pillar"]


def test_a_technique_that_makes_less_leaves_nothing_of_the_other(
    spheres: Path, copy: Path, result_bytes: ResultBytes, write_recipe: RecipeWriter, tmp_path: Path
) -> None:
    recipe = write_recipe(
        """
        [sample.spheres]
        [measurement.spheres]
        sample = "spheres"
        technique = "tomography"
        files = "raw/spheres_025C/fly_scan_id_100101.h5"
        """
    )
    run_recipe(recipe, copy, data=spheres)
    run_recipe(recipe, tmp_path / "fresh.zarr", data=spheres)
    assert result_bytes(copy) == result_bytes(tmp_path / "fresh.zarr")


def test_a_failing_measurement_keeps_no_numbers_of_another_recipe(
    spheres: Path, copy: Path, write_recipe: RecipeWriter
) -> None:
    """A window without energies fails after the reconstruction; the old white line is not the new recipe's."""
    window = "edge = { pre_edge = ['7000 eV', '7100 eV'], post_edge = ['8375 eV', '8405 eV'] }"
    outcome = run_recipe(write_recipe(choices=window), copy, data=spheres)
    assert outcome.failure is not None
    assert "spectral_coefficient" in Study.open(copy).arrays("result", "spheres")
    assert "edge_jump" not in Study.open(copy).arrays("result", "spheres")
    assert "white_line_mean" not in Study.open(copy).arrays("result", "spheres")
