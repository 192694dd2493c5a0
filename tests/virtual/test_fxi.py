from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from cathoscope.core.errors import StudyError
from cathoscope.io.registry import open_raw
from cathoscope.virtual.fxi import FxiLayout, ScanHeader, ScanImages, draw_headers, write_scan
from cathoscope.virtual.txm import Frames

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


ENERGIES, PIXELS = np.array([[8300.0, 8350.0], [8300.2, 8350.2]]), np.array([[0.04, 0.0401], [0.04, 0.0402]])


def test_headers_follow_one_another_and_depend_on_the_random_numbers_alone() -> None:
    first, again, other = (
        draw_headers(ENERGIES, PIXELS, ["cold", "hot"], np.random.default_rng(seed), first_scan_id=7)
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first[0][0].uid != other[0][0].uid
    flat = [header for row in first for header in row]
    assert [header.scan_id for header in flat] == [7, 8, 9, 10]
    assert [header.note for header in flat] == ["cold", "cold", "hot", "hot"]
    assert [header.energy for header in flat] == ENERGIES.ravel().tolist()
    assert [header.pixel_size for header in flat] == PIXELS.ravel().tolist()
    assert len({header.uid for header in flat}) == 4
    assert (np.diff([header.time for header in flat]) > 0).all()


def test_a_layout_writes_what_is_read_as_a_whole_scan(tmp_path: Path) -> None:
    headers = draw_headers(ENERGIES, PIXELS, ["cold", "hot"], np.random.default_rng(1))
    layout = FxiLayout((tmp_path / "cold", tmp_path / "hot"), headers)
    path = layout.path(1, 0)
    path.parent.mkdir()
    frames = Frames(np.linspace(0, 180, 7), COUNTS[:3], COUNTS[3:5])
    with h5py.File(path, "w") as file:
        projections = layout.begin(file, 1, 0, frames)
        for rows in (slice(3, 5), slice(0, 3)):
            projections[:, rows] = COUNTS[:, rows]
    scan, whole = open_raw(path), open_raw(write_scan(tmp_path / "whole", headers[1][0], images()))
    assert scan.drop_attrs().identical(whole.drop_attrs())
    assert {**scan.attrs, "source": ""} == {**whole.attrs, "source": ""}
    assert scan.attrs["pixel_size"] == pytest.approx(0.04)
    assert float(scan.energy) == pytest.approx(8300.2)
    assert scan.attrs["note"] == "hot"
    assert scan.attrs["remarks"] == []
    np.testing.assert_array_equal(scan.counts, COUNTS)
