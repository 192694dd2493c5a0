"""The study remembers which bytes it used."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from cathoscope.core.links import link_file, sampled_digest_of_file

BIG = 64 * 4096 * 4  # four times what the sampled hash reads


def write(path: Path, size: int, seed: int = 0) -> Path:
    path.write_bytes(np.random.default_rng(seed).bytes(size))
    return path


def test_a_link_survives_moving_data_and_recipe_together(tmp_path: Path) -> None:
    before = tmp_path / "before"
    (before / "raw").mkdir(parents=True)
    write(before / "raw" / "scan.h5", 10_000)
    link = link_file(before / "raw" / "scan.h5", before)
    shutil.move(before, tmp_path / "after")
    assert link_file(tmp_path / "after" / "raw" / "scan.h5", tmp_path / "after") == link
    assert link.record() == {
        "path": "raw/scan.h5",
        "size": 10_000,
        "modified_ns": (tmp_path / "after/raw/scan.h5").stat().st_mtime_ns,
        "sampled_hash": link.sampled_hash,
    }


def test_a_file_beside_the_data_folder_is_linked_by_a_relative_path(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    assert link_file(write(tmp_path / "flat.h5", 10), tmp_path / "data").path == "../flat.h5"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nothing"):
        link_file(tmp_path / "nothing.h5", tmp_path)


def test_the_hash_is_of_the_content_only(tmp_path: Path) -> None:
    one, two = write(tmp_path / "one", BIG), write(tmp_path / "two", BIG)
    os.utime(two, (0, 0))
    assert sampled_digest_of_file(one) == sampled_digest_of_file(two)
    assert sampled_digest_of_file(one) != sampled_digest_of_file(write(tmp_path / "three", BIG, seed=1))


@pytest.mark.parametrize("position", [0, 100, -1])
@pytest.mark.parametrize("size", [1, 4096, 5000, BIG])
def test_the_first_and_the_last_block_are_looked_at(tmp_path: Path, size: int, position: int) -> None:
    file = write(tmp_path / "scan", size)
    before = sampled_digest_of_file(file)
    content = bytearray(file.read_bytes())
    content[min(position, size - 1)] ^= 1
    file.write_bytes(content)
    assert sampled_digest_of_file(file) != before


def test_the_size_counts_even_where_the_content_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(bytes(BIG))
    (tmp_path / "long").write_bytes(bytes(BIG + 1))
    assert sampled_digest_of_file(tmp_path / "short") != sampled_digest_of_file(tmp_path / "long")


def test_an_empty_file_has_a_hash(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert sampled_digest_of_file(tmp_path / "empty") == hashlib.sha256(b"0").hexdigest()
