from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from cathoscope.core.errors import StudyError
from cathoscope.virtual.fxi import ScanHeader, ScanImages, write_scan

HEADER = ScanHeader(100_123, 8350.0, 0.02, "b7c9", 1.7e9, "a note")
COUNTS = np.random.default_rng(3).integers(0, 65536, size=(7, 5, 6)).astype(np.uint16)


def images(blocks: Iterator[tuple[slice, NDArray[np.uint16]]] | None = None) -> ScanImages:
    whole = iter([(slice(0, 4), COUNTS[:4]), (slice(4, 7), COUNTS[4:])])
    return ScanImages(np.linspace(0, 180, 7), blocks or whole, COUNTS[:3], COUNTS[3:5])


def test_the_layout_is_that_of_the_beamline(tmp_path: Path) -> None:
    path = write_scan(tmp_path / "raw", HEADER, images())
    assert path.name == "fly_scan_id_100123.h5"
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["img_tomo"], COUNTS)
        np.testing.assert_array_equal(file["img_bkg"], COUNTS[:3])
        np.testing.assert_array_equal(file["img_dark"], COUNTS[3:5])
        assert {file[name].dtype for name in ("img_tomo", "img_bkg", "img_dark")} == {np.dtype(np.uint16)}
        for name in ("img_bkg", "img_dark"):
            assert file[f"{name}_avg"].shape == (1, 5, 6)
            assert file[f"{name}_avg"].dtype == np.float32
            np.testing.assert_allclose(file[f"{name}_avg"][0], np.mean(file[name][:], axis=0), rtol=1e-6)
        np.testing.assert_array_equal(file["angle"], np.linspace(0, 180, 7))
        assert file["X_eng"][()] == pytest.approx(8.35)
        assert file["Pixel Size"].asstr()[()] == "20nm"
        assert 6500 / file["Magnification"][()] == pytest.approx(20)
        assert file["note"].asstr()[()] == "a note"
        assert file["uid"].asstr()[()] == "b7c9"
        assert file["scan_id"][()] == 100_123
        assert file["scan_time"][()] == 1.7e9
        assert {"x_ini", "y_ini", "z_ini", "r_ini"} <= set(file)


def test_the_same_scan_gives_the_same_bytes(tmp_path: Path) -> None:
    first, again = (write_scan(tmp_path / name, HEADER, images()).read_bytes() for name in ("a", "b"))
    assert first == again


def test_a_scan_that_is_not_finished_leaves_nothing_and_spares_the_old_file(tmp_path: Path) -> None:
    path = write_scan(tmp_path, HEADER, images())
    before = path.read_bytes()

    def stopped() -> Iterator[tuple[slice, NDArray[np.uint16]]]:
        yield slice(0, 4), COUNTS[:4]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_scan(tmp_path, HEADER, images(stopped()))
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == before


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "raw").write_text("a file where a folder should be")
    with pytest.raises(StudyError, match="raw"):
        write_scan(tmp_path / "raw", HEADER, images())
