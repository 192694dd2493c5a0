"""Damaged files of every format are read, or refused with an error of ours that names the file.

Each reader's cases run in a process of their own, so that one which crashed or never ended would be found and named.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cathoscope.io import READERS
from tests.io.fuzz import MOST_SECONDS
from tests.io.specimens import SPECIMENS

pytest.importorskip("resource", reason="memory is limited with the module resource of Unix")

SEED = 1
CASES = 1000
# Tables of a dozen columns, which take long to label.
FEWER = dict.fromkeys(("mpr", "mpt", "neware", "cycler_table", "cycler_xlsx"), 150)
# The share of the cases that must be refused; a binary record may hold any number, in columns of any number.
REFUSED = {"mpr": 0.1}
MOST_RESTARTS = 20
MOST_MEMORY = 150e6  # bytes
ROOT = Path(__file__).parents[2]


def fuzz(reader: str, folder: Path) -> dict[str, Any]:
    """All cases of a reader; after one that ended its process, the rest in a new one."""
    (folder / "files").mkdir()
    progress = folder / "progress"
    first = 0
    ended: list[str] = []
    for _ in range(MOST_RESTARTS):
        progress.write_bytes(b"%9d" % first)
        words = [reader, str(first), str(FEWER.get(reader, CASES)), str(SEED), str(folder / "files"), str(progress)]
        command = [sys.executable, "-W", "error", "-m", "tests.io.fuzz", *words]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            result: dict[str, Any] = json.loads(done.stdout)
            return result | {"wrong": ended + result["wrong"]}
        if done.returncode > 0:
            raise RuntimeError(done.stderr)
        case = int(progress.read_bytes())
        why = signal.Signals(-done.returncode).name
        ended.append(f"case {case}: the process was ended by {why} (SIGVTALRM: after {MOST_SECONDS:g} s of CPU time)")
        first = case + 1
    return {"wrong": ended}


@pytest.mark.parametrize("reader", sorted({specimen.reader for specimen in SPECIMENS.values()}))
def test_damaged_files_are_read_or_refused_by_name(reader: str, tmp_path: Path) -> None:
    result = fuzz(reader, tmp_path)
    cases = FEWER.get(reader, CASES)
    assert result["wrong"] == []
    # Damage was done, and some of it where nothing is.
    assert result["counts"]["read"] > 0.01 * cases
    assert result["counts"]["refused"] > REFUSED.get(reader, 0.3) * cases
    assert result["counts"]["read"] + result["counts"]["refused"] == cases
    assert result["peak"] < MOST_MEMORY


def test_every_reader_is_fuzzed() -> None:
    assert {reader.name for reader in READERS} < {specimen.reader for specimen in SPECIMENS.values()}
