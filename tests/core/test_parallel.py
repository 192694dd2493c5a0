"""Slabs, threads and the memory budget."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cathoscope.core.errors import CathoscopeError
from cathoscope.core.parallel import SLAB_ROWS, Progress, Resources, Silent, row_slabs, run_slabs


@given(
    n_rows=st.integers(1, 500),
    bytes_per_row=st.floats(0, 1e9),
    threads=st.integers(1, 16),
    memory=st.floats(1e8, 1e11),
)
@settings(max_examples=200, deadline=None)
def test_slabs_tile_the_rows_in_multiples_of_the_block(
    n_rows: int, bytes_per_row: float, threads: int, memory: float
) -> None:
    slabs = row_slabs(n_rows, bytes_per_row=bytes_per_row, resources=Resources(threads, memory))
    rows = np.concatenate([np.arange(n_rows)[slab] for slab in slabs])
    assert rows.tolist() == list(range(n_rows))
    assert all(slab.start % SLAB_ROWS == 0 for slab in slabs)
    thickness = max(slab.stop - slab.start for slab in slabs)
    # One slab per thread fits the budget, unless the thinnest slab does not.
    assert thickness <= SLAB_ROWS or thickness * bytes_per_row * threads <= memory


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
def test_with_memory_to_spare_every_thread_has_work(threads: int) -> None:
    slabs = row_slabs(80, bytes_per_row=1.0, resources=Resources(threads, 1e12))
    assert len(slabs) >= threads


@pytest.mark.parametrize("threads", [0, -1])
def test_no_threads_are_refused(threads: int) -> None:
    with pytest.raises(CathoscopeError, match="at least one thread"):
        Resources(threads=threads)


@pytest.mark.parametrize("memory", [0.0, -1e9, 9.9e7])
def test_too_little_memory_is_refused(memory: float) -> None:
    with pytest.raises(CathoscopeError, match="memory") as caught:
        Resources(memory=memory)
    assert "100 MB" in str(caught.value.expected)


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_every_slab_is_worked_on_once(threads: int) -> None:
    seen: list[int] = []
    run_slabs(seen.append, range(37), threads=threads)
    assert sorted(seen) == list(range(37))


def test_one_thread_keeps_the_order_and_stays_in_the_callers_thread() -> None:
    seen: list[tuple[int, int]] = []
    run_slabs(lambda slab: seen.append((slab, threading.get_ident())), range(5), threads=1)
    assert seen == [(slab, threading.get_ident()) for slab in range(5)]


def test_no_more_threads_than_asked_for_and_all_of_them() -> None:
    # A barrier of three opens only if three slabs are in flight at once.
    barrier = threading.Barrier(3, timeout=20)
    lock = threading.Lock()
    in_flight, most = 0, 0

    def work(_: int) -> None:
        nonlocal in_flight, most
        with lock:
            in_flight += 1
            most = max(most, in_flight)
        barrier.wait()
        with lock:
            in_flight -= 1

    run_slabs(work, range(9), threads=3)
    assert most == 3


def test_no_slabs() -> None:
    run_slabs(pytest.fail, [], threads=1)
    run_slabs(pytest.fail, [], threads=2)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("threads", [1, 2])
def test_the_first_error_stops_what_has_not_started_and_waits_for_what_has(
    threads: int, error: type[BaseException]
) -> None:
    began, ended = [], []

    def work(slab: int) -> None:
        began.append(slab)
        if slab == 2:
            raise error(slab)
        time.sleep(0.002)
        ended.append(slab)

    with pytest.raises(error):
        run_slabs(work, range(100), threads=threads)
    assert sorted(ended) == sorted(set(began) - {2})
    assert len(began) < 100


def test_nobody_need_watch() -> None:
    progress: Progress = Silent()
    progress.start("work", 3, "slabs")
    progress.advance()
    progress.remark("half way")
    progress.finish()


# Runs in a process of its own: an interruption meant for the crew must not meet pytest.
_INTERRUPTED = """
import random, signal, time
from cathoscope.core.parallel import run_on_threads

def interrupt(*_):
    raise KeyboardInterrupt

working = []
def work(slab):
    working.append(slab)
    sum(range(200))
    working.remove(slab)

rng, interrupted, left = random.Random(1), 0, 0
signal.signal(signal.SIGALRM, interrupt)
for _ in range(150):
    try:
        signal.setitimer(signal.ITIMER_REAL, rng.uniform(1e-4, 3e-3))
        run_on_threads(work, range(2000), threads=3)
        time.sleep(0.01)
    except KeyboardInterrupt:
        interrupted += 1
        left = max(left, len(working))
signal.signal(signal.SIGALRM, signal.SIG_IGN)
print(interrupted, left)
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="interrupts itself with a timer of Unix")
def test_an_interruption_at_any_moment_neither_hangs_nor_leaves_work_behind() -> None:
    command = [sys.executable, "-c", _INTERRUPTED]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    interrupted, left = map(int, done.stdout.split())
    assert interrupted > 100
    assert left == 0
