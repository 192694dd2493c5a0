"""Slabs on other processes and machines, with dask.distributed.

Steps that fill the study slab by slab are shared out; steps that return their arrays run where the run was started.
The scheduler gives the slabs of a worker that died to others. What is finished is on disk, so nothing is lost but
the slabs in flight.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import tempfile
import tomllib
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cathoscope.core.errors import CathoscopeError, RecipeError
from cathoscope.core.parallel import SLAB_ROWS, Errand, Progress, Resources, Runner, run_on_threads
from cathoscope.core.study import Work
from cathoscope.core.units import parse
from cathoscope.flow.errands import do_slab

# Slabs are no thicker on a cluster, so that there are enough of them to share out. Thinner ones would read the same
# chunks of the raw files too often.
MOST_ROWS = 4 * SLAB_ROWS
DEFAULT_MEMORY = 2e9
_PLACES = "local:4, slurm:FILE or tcp://HOST:PORT"
_SECONDS_TO_CONNECT = 20


@dataclass(frozen=True)
class Cluster:
    """Helpers of a run: the workers that a dask scheduler knows."""

    client: Any
    resources: Resources
    threads_here: int
    run: str = field(default_factory=lambda: uuid.uuid4().hex)

    def runner(self, errand: Errand, work: Work, progress: Progress) -> Runner:
        """Runs slabs in memory here, and the slabs that fill ``work`` on the workers."""
        shared = False

        def run(do: Callable[[Any], None], slabs: Sequence[Any], *, threads: int) -> None:
            """Give the slabs of a step to the helpers; smaller work is done here."""
            nonlocal shared
            if shared or not work.is_prepared:
                run_on_threads(do, slabs, threads=self.threads_here)
                return
            shared = True
            for slab, on_disk in self._results(slabs, errand):
                if on_disk:
                    progress.advance()
                else:
                    do(slab)

        return run

    def _results(self, slabs: Sequence[Any], errand: Errand) -> Iterator[tuple[Any, bool]]:
        """Each slab as soon as it is done, and whether it is on disk.

        The first error, or Ctrl-C, takes back the slabs that have not started. Those in flight may still be written;
        whoever writes a slab writes the same bytes.
        """
        from distributed import KilledWorker, as_completed
        from distributed.comm import CommClosedError

        # dask has keywords of the same names, so these are bound beforehand.
        do = partial(do_slab, errand=errand, resources=self.resources, run=self.run)
        futures = self.client.map(do, slabs, pure=False, retries=2)
        slab_of = dict(zip(futures, slabs, strict=True))
        try:
            for future in as_completed(futures):
                result = future.result()
                if isinstance(result, CathoscopeError):
                    raise result
                yield slab_of.pop(future), result
        except KilledWorker as error:
            raise CathoscopeError(
                "workers die at the same slab again and again, most likely for want of memory",
                found=str(error).splitlines()[0],
                cure="give --memory less than a worker has, and run again: finished slabs are kept",
            ) from None
        except (CancelledError, CommClosedError) as error:
            raise CathoscopeError(
                "the cluster is gone", found=str(error)[:200], cure="run again: finished slabs are kept"
            ) from None
        finally:
            for future in slab_of:
                future.release()


@contextmanager
def resources_of_cluster(
    place: str, *, threads: int | None, memory: float | None, progress: Progress
) -> Iterator[Resources]:
    """Start a cluster, or join one, for as long as the context lasts.

    Parameters
    ----------
    place
        ``local:N`` for N processes on this machine, ``slurm:FILE`` for jobs as a TOML file describes them,
        ``tcp://HOST:PORT`` for a dask scheduler that is running.
    threads
        Of each worker of ``local:N``, 1 if None; elsewhere the workers have their own.
    memory
        Of each worker, for slabs in flight; None for 2 GB, or half the memory of a job.

    Raises
    ------
    CathoscopeError
        If ``place`` is none of these, the packages for it are missing, or the scheduler does not answer.
    """
    kind, _, rest = place.partition(":")
    if kind == "local" and re.fullmatch(r"[1-9]\d*", rest):
        opened = _local(int(rest), threads or 1, memory)
    elif kind == "slurm" and rest:
        opened = _slurm(Path(rest), memory, progress)
    elif place.startswith("tcp://"):
        opened = _running(place, memory)
    else:
        raise CathoscopeError(
            "there is no such cluster", expected=_PLACES, found=place or "nothing", cure="--cluster local:4"
        )
    if threads is not None and kind != "local":
        raise CathoscopeError(
            "the workers of this cluster have the threads they were started with",
            found=f"--threads {threads}",
            cure="leave out --threads; set cores in FILE, or start workers with:  dask worker --nthreads",
        )
    with opened as cluster:
        yield replace(cluster.resources, helpers=cluster)


def resources_of_worker(threads: int, memory: float | None) -> Resources:
    """What each worker may use; slabs follow from it, whatever the number of workers."""
    return Resources(threads=threads, memory=memory or DEFAULT_MEMORY, most_rows=MOST_ROWS)


@contextmanager
def _local(processes: int, threads: int, memory: float | None) -> Iterator[Cluster]:
    distributed = _package("distributed")
    # Slabs keep to the memory budget by themselves, so the workers are not watched.
    with (
        tempfile.TemporaryDirectory(prefix="cathoscope-") as scratch,
        distributed.LocalCluster(
            n_workers=processes,
            threads_per_worker=threads,
            processes=True,
            memory_limit=0,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",  # any port: two clusters of one machine do not meet
            silence_logs=logging.ERROR,  # of workers that end with the run
            worker_dashboard_address="127.0.0.1:0",
            local_directory=scratch,
        ) as workers,
        distributed.Client(workers) as client,
    ):
        yield Cluster(client, resources_of_worker(threads, memory), threads_here=processes * threads)


@contextmanager
def _running(address: str, memory: float | None) -> Iterator[Cluster]:
    distributed = _package("distributed")
    cure = f"start them with:  dask scheduler   and, on each machine:  dask worker {address}"
    try:
        client = distributed.Client(address, timeout=_SECONDS_TO_CONNECT)
    except (OSError, ValueError) as error:
        raise CathoscopeError("no scheduler answers", where=address, found=str(error)[:200], cure=cure) from None
    with client:
        try:
            client.wait_for_workers(1, timeout=_SECONDS_TO_CONNECT)
        except TimeoutError:
            raise CathoscopeError("the scheduler has no workers", where=address, cure=cure) from None
        threads = max(client.nthreads().values())
        yield Cluster(client, resources_of_worker(threads, memory), threads_here=_threads_here(threads))


def _threads_here(threads: int) -> int:
    """As many as a worker has, if this machine has them: then slabs in memory fit the same budget."""
    return min(threads, os.cpu_count() or 1)


class SlurmJobs(BaseModel):
    """What one job of the queue gets, and how many there are."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    queue: str
    cores: int = Field(ge=1)
    memory: str
    walltime: str = Field(pattern=r"^(\d+-)?\d{1,2}:\d\d(:\d\d)?$")
    jobs: int = Field(ge=1)
    account: str | None = None
    interface: str | None = None
    prologue: list[str] = []


def read_slurm_jobs(file: Path) -> SlurmJobs:
    """Read and validate the TOML file of ``slurm:FILE``.

    Raises
    ------
    RecipeError
        Naming the key that is wrong, what was expected and what was found.
    """
    try:
        jobs = SlurmJobs.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
        parse(jobs.memory, "memory")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecipeError("the jobs cannot be read", where=file, expected="a TOML file", found=str(error)) from None
    except ValidationError as error:
        first = error.errors()[0]
        raise RecipeError(
            f"{'.'.join(map(str, first['loc']))}: {first['msg']}",
            where=file,
            expected='such as  queue = "cpu", cores = 16, memory = "64GB", walltime = "02:00:00", jobs = 4',
            found=str(first["input"])[:80],
        ) from None
    return jobs


@contextmanager
def _slurm(file: Path, memory: float | None, progress: Progress) -> Iterator[Cluster]:
    jobs = read_slurm_jobs(file)
    distributed = _package("distributed")
    # The other half is for the program, its libraries and the raw files that are being read.
    memory = memory or 0.5 * parse(jobs.memory, "memory")
    with _slurm_cluster(jobs) as workers, distributed.Client(workers.scheduler_address) as client:
        workers.scale(jobs=jobs.jobs)
        progress.remark(f"waiting for the first of {jobs.jobs} jobs in the queue {jobs.queue}")
        client.wait_for_workers(1)
        yield Cluster(client, resources_of_worker(jobs.cores, memory), threads_here=_threads_here(jobs.cores))


def _slurm_cluster(jobs: SlurmJobs) -> AbstractContextManager[Any]:
    options = {"account": jobs.account, "interface": jobs.interface}
    made: AbstractContextManager[Any] = _package("dask_jobqueue").SLURMCluster(
        queue=jobs.queue,
        cores=jobs.cores,
        processes=1,
        memory=jobs.memory,
        walltime=jobs.walltime,
        job_script_prologue=list(jobs.prologue),
        python=sys.executable,
        **{name: value for name, value in options.items() if value is not None},
    )
    return made


def _package(name: str) -> Any:
    """A package of the extra ``cluster``."""
    try:
        return __import__(name)
    except ImportError:
        raise CathoscopeError(
            f"--cluster needs {name.replace('_', '-')}, which is not installed",
            cure="pip install 'cathoscope[cluster]', in a checkout:  ./run cluster",
        ) from None
