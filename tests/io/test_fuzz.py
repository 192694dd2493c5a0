"""Damaged files of every format are read, or refused with an error of ours that names the file.

Each reader's cases run in a process of their own, so that one which crashed or never ended would be found and named.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cathoscope.io import READERS
from tests.io.fuzz import MOST_SECONDS
from tests.io.specimens import SPECIMENS

pytest.importorskip("resource", reason="memory is limited with the module resource of Unix")

SEED = 1
CASES = 2000
MOST_RESTARTS = 20
MOST_MEMORY = 130e6  # bytes
ROOT = Path(__file__).parents[2]
# The exit code of a process that reads the cases from a first one on, with a folder for its files.
ReadCases = Callable[[str, int, Path], int]


@pytest.fixture(scope="module")
def read_cases() -> Iterator[ReadCases]:
    with reading_process() as read:
        yield lambda reader, first, folder: read(reader, (first, CASES), SEED, folder)


@contextmanager
def reading_process() -> Iterator[Callable[[str, tuple[int, int], int, Path], int]]:
    """Starts the process that reads; it is asked for cases from a first to a last one (excluded) of a seed."""
    command = [sys.executable, "-W", "error", "-m", "tests.io.fuzz"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None

        def read(reader: str, cases: tuple[int, int], seed: int, folder: Path) -> int:
            print(json.dumps([reader, *cases, seed, str(folder)]), file=server.stdin, flush=True)
            return int(server.stdout.readline())

        yield read


def fuzz(reader: str, folder: Path, read_cases: ReadCases) -> dict[str, Any]:
    """All cases of a reader; after one that ended its process, the rest in a new one."""
    (folder / "files").mkdir()
    first = 0
    ended: list[str] = []
    for _ in range(MOST_RESTARTS):
        (folder / "progress").write_bytes(b"%9d" % first)
        code = read_cases(reader, first, folder)
        if code == 0:
            result: dict[str, Any] = json.loads((folder / "result").read_text())
            return result | {"wrong": ended + result["wrong"]}
        if code > 0:
            raise RuntimeError((folder / "result").read_text())
        case = int((folder / "progress").read_bytes())
        why = signal.Signals(-code).name
        ended.append(f"case {case}: the process was ended by {why} (SIGVTALRM: after {MOST_SECONDS:g} s of CPU time)")
        first = case + 1
    return {"wrong": ended}


@pytest.mark.parametrize("reader", sorted({specimen.reader for specimen in SPECIMENS.values()}))
def test_damaged_files_are_read_or_refused_by_name(reader: str, tmp_path: Path, read_cases: ReadCases) -> None:
    result = fuzz(reader, tmp_path, read_cases)
    assert result["wrong"] == []
    # Damage was done, and some of it where nothing is.
    assert result["counts"]["read"] > 0.01 * CASES
    assert result["counts"]["refused"] > 0.3 * CASES
    assert result["counts"]["read"] + result["counts"]["refused"] == CASES
    assert result["peak"] < MOST_MEMORY


def test_every_reader_is_fuzzed() -> None:
    assert {reader.name for reader in READERS} < {specimen.reader for specimen in SPECIMENS.values()}
