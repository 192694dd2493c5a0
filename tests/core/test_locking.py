"""One run at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cathoscope.core.errors import StudyError
from cathoscope.core.locking import exclusive

HOLD = """
import sys
from pathlib import Path
from cathoscope.core.locking import exclusive
with exclusive(Path(sys.argv[1]), what=Path("study")):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "lock"


def hold_elsewhere(file: Path) -> subprocess.Popen[str]:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def end(holder: subprocess.Popen[str]) -> None:
    with holder:
        holder.send_signal(signal.SIGKILL)


def test_the_second_is_refused_and_told_who_is_first(file: Path) -> None:
    holder = hold_elsewhere(file)
    try:
        with pytest.raises(StudyError) as caught, exclusive(file, what=Path("heated.zarr")):
            pytest.fail("both hold the lock")
    finally:
        end(holder)
    assert caught.value.where == "heated.zarr"
    assert caught.value.found == f"process {holder.pid}"
    assert caught.value.cure is not None


def test_the_lock_of_a_killed_process_is_free(file: Path) -> None:
    end(hold_elsewhere(file))
    with exclusive(file, what=file):
        assert file.read_text() == str(os.getpid())


def test_a_longer_process_number_left_behind_does_not_show_through(file: Path) -> None:
    file.write_text("99999999999999")
    with exclusive(file, what=file):
        assert file.read_text() == str(os.getpid())


def test_the_lock_is_free_after_an_error(file: Path) -> None:
    with pytest.raises(ZeroDivisionError), exclusive(file, what=file):
        raise ZeroDivisionError
    with exclusive(file, what=file):
        pass


def test_a_holder_that_has_not_written_its_number_yet(file: Path) -> None:
    with exclusive(file, what=file):
        os.truncate(file, 0)
        with pytest.raises(StudyError, match="another run") as caught, exclusive(file, what=file):
            pytest.fail("both hold the lock")
    assert caught.value.found is None


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with (
        pytest.raises(StudyError, match="may not be written") as caught,
        exclusive(tmp_path / "no" / "lock", what=tmp_path),
    ):
        pytest.fail("nothing was locked")
    assert "--study" in str(caught.value.cure)
