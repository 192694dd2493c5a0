"""`cathoscope doctor`: what is wrong with a machine is said with what to do; the experiment knows its answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cathoscope import doctor
from cathoscope.cli import app
from cathoscope.flow.compare import Comparison


def _of(folder: Path) -> Mapping[str, doctor.Finding]:
    return {finding.what: finding for finding in doctor.examine(folder)}


def test_this_machine_is_fit(tmp_path: Path) -> None:
    found = _of(tmp_path)
    assert {name for name, finding in found.items() if finding.state == "failed"} == set()
    assert found["locks"].words == "two runs on one study are kept apart"


def test_a_data_folder_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CATHOSCOPE_DATA", str(tmp_path / "gone"))
    assert _of(tmp_path)["data"].state == "failed"
    done = CliRunner().invoke(app, ["doctor", str(tmp_path), "--no-experiment"])
    assert done.exit_code == 4
    assert "unset CATHOSCOPE_DATA" in done.output


def test_an_old_package_and_a_missing_one_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["numpy>=99.1", "no-such-package>=1", "scipy>=1.2", 'dask>=99; extra == "cluster"']
    monkeypatch.setattr(doctor.importlib.metadata, "requires", lambda name: wanted)
    words = _of(tmp_path)["packages"].words
    assert "99.1 is needed" in words
    assert "no-such-package is missing" in words
    assert "scipy" not in words
    assert "dask" not in words


@pytest.mark.parametrize(
    ("file", "text", "what", "cure"),
    [
        ("cpu.max", "100000 100000", "threads", "--threads 1"),
        ("memory.max", "2000000000", "memory", "--memory 1.0GB"),
    ],
)
def test_the_limits_of_a_container_count(
    file: str, text: str, what: str, cure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / file).write_text(text)
    monkeypatch.setattr(doctor, "_CGROUP", tmp_path)
    monkeypatch.setattr(doctor.os, "sched_getaffinity", lambda process: {0, 1, 2, 3}, raising=False)
    found = _of(tmp_path)[what]
    assert found.state == "attention"
    assert cure in found.cure


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_ENOUGH_DISK", 1e30)
    assert _of(tmp_path)["disk"].state == "attention"


def test_answers_are_held_against_the_truth() -> None:
    """The experiment itself is what sets the environment up: one that goes wrong there ends the setting up."""
    rows = {answer.array: _row(answer.array, 0.9 * answer.most) for answer in doctor._ANSWERS}
    assert [finding.state for finding in doctor.judged(rows)] == ["ok"] * len(rows)
    rows = {name: replace(row, bias=-2 * row.bias, rmse=2 * row.rmse) for name, row in rows.items()}
    assert [finding.state for finding in doctor.judged(rows)] == ["failed"] * len(rows)


def _row(name: str, error: float) -> Comparison:
    return Comparison("spheres", name, "1", 1, error, error, None, None, "")
