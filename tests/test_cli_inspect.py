"""``cathoscope formats`` and ``cathoscope inspect`` as a person types them."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner, Result

from cathoscope.cli import app
from cathoscope.io import READERS


def cathoscope_command(*words: object, code: int = 0) -> Result:
    """Run a command and check how it ends."""
    result = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    path = tmp_path / "volume.tif"
    tifffile.imwrite(path, np.arange(24, dtype=np.uint8).reshape(2, 3, 4), photometric="minisblack")
    return path


def test_formats_lists_every_reader() -> None:
    lines = cathoscope_command("formats").output.splitlines()
    for reader in READERS:
        (line,) = [line for line in lines if line.split()[:1] == [reader.name]]
        assert reader.title in line
        assert all(suffix in line for suffix in reader.suffixes)


def test_inspect_says_what_a_file_holds(volume: Path) -> None:
    text = cathoscope_command("inspect", volume).output
    assert f"{volume}  " in text
    assert "TIFF image stack (tiff)" in text
    assert "2 page x 3 row x 4 column, uint8" in text
    assert "16 to 19 in the middle row" in text


def test_every_file_is_described_before_the_command_fails(volume: Path, tmp_path: Path) -> None:
    notes = tmp_path / "notes [draft].md"
    notes.write_text("# Beam time\n")
    result = cathoscope_command("inspect", notes, tmp_path / "absent.h5", volume, code=3)
    assert "text for people (begins: # Beam time)" in result.stdout
    assert "does not exist" in result.stdout
    assert "2 page x 3 row x 4 column" in result.stdout
    assert result.stderr.strip() == "cannot be used: notes [draft].md, absent.h5"


def test_a_reader_that_is_no_reader_is_named(volume: Path) -> None:
    text = cathoscope_command("inspect", volume, "--reader", "tif", code=3).output
    assert "there is no reader 'tif'" in text


def test_inspect_shows_the_tree_of_a_file_nobody_reads(tmp_path: Path) -> None:
    path = tmp_path / "table.h5"
    with h5py.File(path, "w") as file:
        file["a/table"] = np.ones((5, 2))
    text = cathoscope_command("inspect", path, code=3).output
    assert "/a/table  (5, 2) float64" in text


@pytest.mark.parametrize(("command", "words"), [("formats", ["formats"]), ("inspect", ["FILE...", "--reader"])])
def test_help(command: str, words: list[str]) -> None:
    text = cathoscope_command(command, "--help").output
    for word in words:
        assert word in text


def test_inspect_needs_a_file() -> None:
    assert "Missing argument" in cathoscope_command("inspect", code=2).output
