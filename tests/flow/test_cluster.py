"""Slabs on other processes: the same bytes as alone, whatever dies on the way."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from cathoscope import cli
from cathoscope.core.errors import CathoscopeError, MeasurementError, RecipeError, StudyError
from cathoscope.core.parallel import SLAB_ROWS, Errand, Resources, Silent, row_slabs, run_slabs, slabs_run_by
from cathoscope.core.study import Study, Work
from cathoscope.flow import errands
from cathoscope.flow.cluster import Cluster, read_slurm_jobs, resources_of_cluster, resources_of_worker
from cathoscope.flow.recipe import Recipe, load_recipe
from cathoscope.flow.run import RunOutcome, plan_measurement, run

distributed = pytest.importorskip("distributed", reason="the extra 'cluster' is not installed: ./run cluster")
cloudpickle = pytest.importorskip("cloudpickle")

ResultBytes = Callable[[Path], dict[str, bytes]]
RECIPE = """\
[sample.rod]
[measurement.rod]
sample = "rod"
technique = "tomography"
files = "raw/spheres_025C/fly_scan_id_100127.h5"
tomography = { stripes = "none" }
"""
THINNEST = Resources(most_rows=SLAB_ROWS)
JOBS = 'queue = "cpu"\ncores = 16\nmemory = "64GB"\nwalltime = "02:00:00"\njobs = 3\n'


# -- a cluster of two processes, and what a run alone gives ----------------------------------------


@pytest.fixture(scope="module")
def helped() -> Iterator[Resources]:
    """Two worker processes, forked from one that has loaded the libraries: that is most of what a start costs."""
    import dask

    with dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"}):
        distributed.utils.get_mp_context().set_forkserver_preload(["distributed", "cathoscope.flow.errands"])
        cloudpickle.register_pickle_by_value(sys.modules[__name__])
        with resources_of_cluster("local:2", threads=None, memory=None, progress=Silent()) as resources:
            yield replace(resources, most_rows=SLAB_ROWS)


@pytest.fixture(scope="module")
def recipe(spheres: Path, tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    path = tmp_path_factory.mktemp("recipe") / "study.toml"
    path.write_text(RECIPE, encoding="utf-8")
    return load_recipe(path, data=spheres)


@pytest.fixture(scope="module")
def alone(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study of a run without helpers; not to be changed."""
    study = tmp_path_factory.mktemp("alone") / "study.zarr"
    run(recipe, study, resources=THINNEST, progress=Silent())
    return study


def client_of(resources: Resources) -> Any:
    assert isinstance(resources.helpers, Cluster)
    return resources.helpers.client


def run_helped(recipe: Recipe, study: Path, resources: Resources) -> RunOutcome:
    outcome = run(recipe, study, resources=resources, progress=Silent())
    assert outcome.failed == []
    return outcome


def test_workers_do_the_slabs_and_the_bytes_are_the_same(
    helped: Resources,
    recipe: Recipe,
    alone: Path,
    result_bytes: ResultBytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done_here: list[str] = []
    monkeypatch.setattr(Work, "mark_done", lambda self, slab, note="": done_here.append(slab))
    outcome = run_helped(recipe, tmp_path / "study.zarr", helped)
    assert "reconstruction" in outcome.measurements[0].computed
    assert done_here == []
    assert result_bytes(tmp_path / "study.zarr") == result_bytes(alone)
    assert not (tmp_path / "study.zarr" / "log" / "work").exists()
    again = run_helped(recipe, tmp_path / "study.zarr", helped)
    assert again.measurements[0].computed == []


def die_once(died: str) -> None:
    """Let the first worker that has written a slab die before it says so."""
    mark_done = Work.mark_done

    def die_or_mark(self: Work, slab: str, note: str = "") -> None:
        try:
            os.close(os.open(died, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            mark_done(self, slab, note)
        else:
            os.kill(os.getpid(), signal.SIGKILL)

    Work.mark_done = die_or_mark  # type: ignore[method-assign]


def test_slabs_of_a_worker_that_dies_are_done_by_others(
    helped: Resources, recipe: Recipe, alone: Path, result_bytes: ResultBytes, tmp_path: Path
) -> None:
    died = tmp_path / "died"
    client_of(helped).run(die_once, str(died))
    run_helped(recipe, tmp_path / "study.zarr", helped)
    assert died.exists()
    assert result_bytes(tmp_path / "study.zarr") == result_bytes(alone)


# Runs in a process of its own, joins the workers, and kills itself after the first slab.
KILLED_RUN = """
import os, signal
from dataclasses import replace
from cathoscope.core.parallel import Silent
from cathoscope.flow.cluster import resources_of_cluster
from cathoscope.flow.recipe import load_recipe
from cathoscope.flow.run import run

class Kills(Silent):
    armed = False
    def start(self, label, total, unit):
        self.armed = label.endswith("reconstruction")
    def advance(self, units=1):
        if self.armed:
            os.kill(os.getpid(), signal.SIGKILL)

with resources_of_cluster(scheduler, threads=None, memory=None, progress=Silent()) as resources:
    run(load_recipe(recipe, data=data), study, resources=replace(resources, most_rows=8), progress=Kills())
"""


def test_a_run_that_is_killed_goes_on_with_the_slabs_that_are_there(
    helped: Resources, recipe: Recipe, alone: Path, result_bytes: ResultBytes, tmp_path: Path
) -> None:
    study = tmp_path / "study.zarr"
    words = {
        "scheduler": client_of(helped).scheduler.address,
        "recipe": recipe.path,
        "data": recipe.data_folder,
        "study": study,
    }
    process = multiprocessing.get_context("forkserver").Process(target=exec, args=(KILLED_RUN, words))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    assert list(study.glob("log/work/*/done/*"))
    outcome = run_helped(recipe, study, helped)
    assert outcome.measurements[0].cached == ["bad pixels", "stripes", "geometry"]
    assert result_bytes(study) == result_bytes(alone)


# -- one process in the place of many -------------------------------------------------------------


def errand_of(recipe: Recipe, study: Path, step: str = "reconstruction") -> Errand:
    (node,) = (node for node in plan_measurement(recipe, "rod").graph.nodes if node.step.name == step)
    return Errand(recipe.path, recipe.text, recipe.data_folder, study, "rod", node.address)


def copy_of(study: Path, folder: Path) -> Path:
    import shutil

    return Path(shutil.copytree(study, folder / "study.zarr"))


def test_a_worker_writes_its_slab_only(recipe: Recipe, alone: Path, tmp_path: Path) -> None:
    study = copy_of(alone, tmp_path)
    slab = ((), slice(0, 1), slice(8, 16))
    errand = errand_of(recipe, study)
    for _ in range(2):  # computed, then found
        assert errands.do_slab(slab, errand, THINNEST, "this run") is True
    (folder,) = study.glob("log/work/*")
    written = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
    kept = study / "result" / "rod"
    assert {name for name in written if name.startswith("attenuation/c/")} == {"attenuation/c/1/0/0"}
    assert not any(name.startswith(("x/", "y/", "z/")) for name in written)
    assert (folder / "attenuation/c/1/0/0").read_bytes() == (kept / "attenuation/c/1/0/0").read_bytes()


def test_a_worker_that_finds_other_files_says_so(recipe: Recipe, alone: Path) -> None:
    errand = replace(errand_of(recipe, alone), address="of other files")
    error = errands.do_slab(None, errand, THINNEST, "other files")
    assert isinstance(error, CathoscopeError)
    assert "other raw files" in str(error)


def test_a_worker_waits_for_the_results_and_then_says_what_it_does_not_see(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errands, "_PATIENCE", 0.0)
    study = Study.create(tmp_path / "study.zarr")
    error = errands.do_slab(None, errand_of(recipe, study.path), THINNEST, "no results")
    assert isinstance(error, StudyError)
    assert "rotation_axis" in str(error.found)


def test_a_step_without_slabs_is_no_errand(recipe: Recipe, alone: Path) -> None:
    error = errands.do_slab(None, errand_of(recipe, alone, "noise"), THINNEST, "no slabs")
    assert isinstance(error, CathoscopeError)
    assert "no slabs" in str(error)


def test_what_is_in_memory_or_not_on_disk_is_done_here(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    def all_but_one(self: Cluster, slabs: Sequence[int], errand: Errand) -> Iterator[tuple[int, bool]]:
        return ((slab, slab != 2) for slab in slabs)

    monkeypatch.setattr(Cluster, "_results", all_but_one)
    done: list[str] = []
    work = SimpleNamespace(is_prepared=False)
    progress = SimpleNamespace(advance=lambda: done.append("advanced"))
    errand = Errand(study.path, "", study.path, study.path, "rod", "address")
    runner = Cluster(None, THINNEST, threads_here=1).runner(errand, work, progress)  # type: ignore[arg-type]
    with slabs_run_by(runner):
        run_slabs(lambda slab: done.append(f"in memory {slab}"), [1], threads=1)
        work.is_prepared = True
        run_slabs(lambda slab: done.append(f"here {slab}"), [1, 2, 3], threads=1)
        run_slabs(lambda slab: done.append(f"later {slab}"), [1], threads=1)
    run_slabs(lambda slab: done.append(f"outside {slab}"), [1], threads=1)
    assert done == ["in memory 1", "advanced", "here 2", "advanced", "later 1", "outside 1"]


def killed_worker() -> Exception:
    return distributed.KilledWorker("slab", SimpleNamespace(address="tcp://10.0.0.2:1"), 3)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (killed_worker, "workers die at the same slab"),
        (lambda: distributed.client.FutureCancelledError("slab", "scheduler-connection-lost"), "the cluster is gone"),
        (lambda: distributed.comm.CommClosedError("no more"), "the cluster is gone"),
        (lambda: MeasurementError("no object in the beam"), "no object in the beam"),
    ],
)
def test_the_first_error_takes_back_the_other_slabs(
    result: Callable[[], Exception], message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    released: list[int] = []

    class Future:
        def __init__(self, slab: int) -> None:
            self.slab = slab

        def result(self) -> object:
            if self.slab == 0:
                return True
            if isinstance(error := result(), MeasurementError):
                return error
            raise error

        def release(self) -> None:
            released.append(self.slab)

    monkeypatch.setattr(distributed, "as_completed", iter)
    client = SimpleNamespace(map=lambda do, slabs, **options: [Future(slab) for slab in slabs])
    errand = Errand(tmp_path, "", tmp_path, tmp_path, "rod", "address")
    results = Cluster(client, THINNEST, threads_here=1)._results([0, 1, 2], errand)
    assert next(results) == (0, True)
    with pytest.raises(CathoscopeError, match=message):
        next(results)
    assert released == [1, 2]


def test_slabs_on_a_cluster_are_thin_and_start_where_they_always_do() -> None:
    slabs = row_slabs(100, bytes_per_row=1.0, resources=resources_of_worker(1, None))
    assert [slab.start for slab in slabs] == [0, 32, 64, 96]
    assert np.concatenate([np.arange(100)[slab] for slab in slabs]).tolist() == list(range(100))


# -- mistakes --------------------------------------------------------------------------------------


def opened(place: str, threads: int | None = None) -> Resources:
    with resources_of_cluster(place, threads=threads, memory=None, progress=Silent()) as resources:
        return resources


@pytest.mark.parametrize("place", ["", "local", "local:0", "local:two", "pbs:jobs.toml", "10.0.0.1:8786"])
def test_a_place_that_is_no_cluster(place: str) -> None:
    with pytest.raises(CathoscopeError, match="no such cluster") as caught:
        opened(place)
    assert "local:4" in str(caught.value)


def test_without_the_packages_the_cure_is_what_to_type(monkeypatch: pytest.MonkeyPatch, recipe: Recipe) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    done = CliRunner().invoke(cli.app, ["run", str(recipe.path), "--cluster", "local:2"])
    assert done.exit_code == 2
    assert "distributed, which is not installed" in done.output
    assert "./run cluster" in done.output


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_scheduler_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cathoscope.flow.cluster._SECONDS_TO_CONNECT", 0.3)
    with pytest.raises(CathoscopeError, match="no scheduler answers") as caught:
        opened("tcp://127.0.0.1:9")
    assert "dask worker tcp://127.0.0.1:9" in str(caught.value.cure)
    with pytest.raises(CathoscopeError, match="were started with"):
        opened("tcp://127.0.0.1:9", threads=3)


# -- jobs of a queue -------------------------------------------------------------------------------


def test_jobs_get_what_the_file_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The class that talks to the queue is replaced; the script that it would hand in is made by the real one."""
    jobqueue = pytest.importorskip("dask_jobqueue.slurm")
    asked: dict[str, Any] = {}

    class Fake:
        scheduler_address = "tcp://10.0.0.1:8786"

        def __init__(self, address: str = "", **options: Any) -> None:
            asked.update(options)

        def __enter__(self) -> Fake:
            return self

        def __exit__(
            self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
        ) -> None:
            asked["closed"] = True

        def wait_for_workers(self, count: int) -> None:
            assert asked["jobs"] >= count

        def scale(self, *, jobs: int) -> None:
            asked["jobs"] = jobs

    monkeypatch.setitem(sys.modules, "dask_jobqueue", SimpleNamespace(SLURMCluster=Fake))
    monkeypatch.setattr(distributed, "Client", Fake)
    file = tmp_path / "jobs.toml"
    file.write_text(JOBS + 'account = "beam"\nprologue = ["module load python"]\n', encoding="utf-8")
    resources = opened(f"slurm:{file}")
    assert (resources.threads, resources.memory) == (16, 32e9)
    assert asked.pop("jobs") == 3
    assert asked.pop("closed")
    script = jobqueue.SLURMJob(scheduler=Fake.scheduler_address, name="slabs", **asked).job_script()
    for line in ("-p cpu", "-A beam", "--cpus-per-task=16", "-t 02:00:00", "--mem=60G"):
        assert f"#SBATCH {line}" in script
    assert "module load python" in script
    assert f"{sys.executable} -m distributed" in script
    assert "--nthreads 16" in script


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (JOBS.replace("jobs = 3", "jobs = 0"), "jobs"),
        (JOBS.replace("cores = 16\n", ""), "cores"),
        (JOBS + 'partition = "cpu"\n', "partition"),
        (JOBS.replace("02:00:00", "two hours"), "walltime"),
        (JOBS.replace("64GB", "64 apples"), "unit of memory"),
        ("queue = cpu", "cannot be read"),
    ],
)
def test_mistakes_in_the_file_of_jobs(text: str, problem: str, tmp_path: Path) -> None:
    file = tmp_path / "jobs.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(CathoscopeError, match=problem):
        read_slurm_jobs(file)
    with pytest.raises(RecipeError, match="cannot be read"):
        read_slurm_jobs(tmp_path / "absent.toml")
