"""Slabs of detector rows on threads, within a memory budget, with progress.

A slab is the unit of work, of parallelism, of memory and of resumption. Kernels release the
interpreter lock and never start threads of their own, so one or many threads give the same bits.
Other processes can do the slabs of a step instead: see `Helpers`.
"""

from __future__ import annotations

import _thread
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from cathoscope.core.errors import CathoscopeError

if TYPE_CHECKING:
    from cathoscope.core.study import Work

T = TypeVar("T")

# Slabs start and stop at multiples of this many rows: it is the chunk of the study along z and the
# batch of the reconstruction, so neither the memory setting nor a resumed run can change a result.
SLAB_ROWS = 8


class Progress(Protocol):
    """Whoever wants to know how far a long task is."""

    def start(self, label: str, total: int, unit: str) -> None:
        """Begin a task of ``total`` units."""

    def advance(self, units: int = 1) -> None:
        """Count units as done."""

    def finish(self) -> None:
        """End the task."""

    def remark(self, text: str) -> None:
        """Something a person should read."""


class Silent:
    """A Progress that nobody watches."""

    def start(self, label: str, total: int, unit: str) -> None:
        """Begin."""

    def advance(self, units: int = 1) -> None:
        """Count."""

    def finish(self) -> None:
        """End."""

    def remark(self, text: str) -> None:
        """Say nothing."""


class Runner(Protocol):
    """Whoever calls ``work`` on every slab."""

    def __call__(self, work: Callable[[Any], None], slabs: Sequence[Any], /, *, threads: int) -> None:
        """Return when all slabs are done."""


@dataclass(frozen=True)
class Errand:
    """Where another process finds a step of a run. It plans the measurement itself, so only words travel."""

    recipe: Path
    text: str
    data_folder: Path
    study: Path
    measurement: str
    address: str


class Helpers(Protocol):
    """Processes, here or on other machines, that do slabs for a run."""

    def runner(self, errand: Errand, work: Work, progress: Progress) -> Runner:
        """Runs the slabs of one step, which fills ``work``."""


@dataclass(frozen=True)
class Resources:
    """How much of the machine a run may use: threads, and bytes of memory for the slabs in flight.

    With ``helpers``, threads and memory are those of each of them. ``most_rows`` makes slabs thinner than the memory
    would allow, so that there is work for many helpers; it does not depend on how many there are.
    """

    threads: int = 1
    memory: float = 2e9
    most_rows: int | None = None
    helpers: Helpers | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise CathoscopeError("a run needs at least one thread", found=str(self.threads), cure="--threads 1")
        if self.memory < 1e8:
            raise CathoscopeError(
                "the memory budget is too small", expected="100 MB or more", found=f"{self.memory:.3g} B"
            )


def row_slabs(n_rows: int, *, bytes_per_row: float, resources: Resources, most_rows: int | None = None) -> list[slice]:
    """Rows cut into slabs such that one slab per thread fits the memory budget, of at most ``most_rows``.

    A slab is never thinner than ``SLAB_ROWS`` rows; see `shortage`.
    """
    affordable = int(resources.memory / resources.threads / max(bytes_per_row, 1.0))
    # Every thread should have work, so a generous budget does not make a single slab.
    share = -(-n_rows // resources.threads)
    bounds = [most for most in (resources.most_rows, most_rows) if most is not None]
    rows = max(min(affordable, share, *bounds) // SLAB_ROWS, 1) * SLAB_ROWS
    return [slice(start, min(start + rows, n_rows)) for start in range(0, n_rows, rows)]


def shortage(*, bytes_per_row: float, resources: Resources) -> str | None:
    """What to type if even the thinnest slabs, one per thread, are larger than the memory budget."""
    needed = SLAB_ROWS * bytes_per_row
    if needed * resources.threads <= resources.memory:
        return None
    threads = max(int(resources.memory / needed), 1)
    cure = f"--threads {threads}" if threads < resources.threads else f"--memory {needed / 1e9:.1f}GB"
    return (
        f"the thinnest slabs need {needed / 1e9:.1f} GB on each of {resources.threads} threads, more than the "
        f"{resources.memory / 1e9:.1f} GB allowed; to stay within it: {cure}"
    )


def run_slabs(work: Callable[[T], None], slabs: Sequence[T], *, threads: int) -> None:
    """Call ``work`` on every slab, at most ``threads`` at a time, or as the runner does that `slabs_run_by` names.

    A runner may keep ``work`` and call it after the function that made it has ended, so what it uses must stay open.
    """
    (_RUNNER.get() or run_on_threads)(work, slabs, threads=threads)


_RUNNER: ContextVar[Runner | None] = ContextVar("runner", default=None)


@contextmanager
def slabs_run_by(runner: Runner | None) -> Iterator[None]:
    """Let ``runner`` do what `run_slabs` is asked for in this thread."""
    token = _RUNNER.set(runner)
    try:
        yield
    finally:
        _RUNNER.reset(token)


def run_on_threads(work: Callable[[T], None], slabs: Sequence[T], *, threads: int) -> None:
    """Call ``work`` on every slab, at most ``threads`` at a time.

    The first error, or Ctrl-C, stops the slabs that have not started and is raised after those in
    flight have ended, so that nothing is written behind the caller's back.
    """
    if threads == 1:
        for slab in slabs:
            work(slab)
        return
    crew = _Crew(work, slabs, min(threads, len(slabs)))
    try:
        crew.start()
        while not crew.is_done():
            crew.wait()
    except BaseException:
        crew.stopped = True
        while not crew.is_done():
            crew.wait()
        raise
    if crew.failures:
        raise crew.failures[0]


class _Crew:
    """Threads that take slabs until there are none.

    Ctrl-C is raised in the main thread between any two of its instructions. Within `threading` and
    `concurrent.futures`, which are written in Python, that can leave a lock closed that the workers need, and all
    would wait for ever. So threads are started and waited for by calls that are single instructions, and what is
    shared changes by them too.
    """

    def __init__(self, work: Callable[[T], None], slabs: Sequence[T], size: int) -> None:
        self.size, self.stopped = size, False
        self.failures: list[BaseException] = []
        self._work: Callable[[Any], None] = work
        self._slabs: Sequence[Any] = slabs
        self._next = count()
        self._asked = 0
        self._begun: list[None] = []
        self._ended: list[None] = []
        self._news: SimpleQueue[None] = SimpleQueue()

    def start(self) -> None:
        """Start the threads that are not there yet."""
        while self._asked < self.size and not self.stopped:
            self._asked += 1
            _thread.start_new_thread(self._labour, ())

    def wait(self) -> None:
        """Until a thread has ended, or a while: the news may have come just before an interruption."""
        with suppress(Empty):
            self._news.get(timeout=0.1)

    def is_done(self) -> bool:
        """Whether no slab is being worked on, and none will be."""
        # a thread that begins after the crew was stopped does nothing
        return len(self._ended) == (len(self._begun) if self.stopped else self.size)

    def _labour(self) -> None:
        self._begun.append(None)
        try:
            while not self.stopped and (index := next(self._next)) < len(self._slabs):
                self._work(self._slabs[index])
        except BaseException as error:
            self.failures.append(error)
            self.stopped = True
        finally:
            self._ended.append(None)
            self._news.put(None)
