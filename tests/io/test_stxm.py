from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cathoscope.core.errors import MeasurementError
from cathoscope.core.schema import require
from cathoscope.io import open_raw, read_spectrum

Writer = Callable[..., Path]
ENERGIES = np.array([700.0, 705.5, 706.0, 710.25])
IMAGES = np.random.default_rng(2).uniform(100, 900, (4, 3, 5)).round(3)


def test_stack_gives_back_what_was_written(write_stxm: Writer) -> None:
    path = write_stxm(ENERGIES, IMAGES, incident=zip(ENERGIES, [900.0, 910, 920, 930], strict=True))
    data = open_raw(path)
    require(data, "image_counts", "incident_counts", "energy", "y", "x")
    np.testing.assert_allclose(data["image_counts"].values, IMAGES, rtol=1e-7)
    np.testing.assert_allclose(data["image_counts"][2, 1:, 3].values, IMAGES[2, 1:, 3], rtol=1e-7)
    np.testing.assert_array_equal(data["incident_counts"].values, [900, 910, 920, 930])
    np.testing.assert_array_equal(data["energy"].values, ENERGIES)
    np.testing.assert_allclose(data["x"].values, [-0.5, -0.25, 0, 0.25, 0.5], atol=1e-12)
    np.testing.assert_allclose(data["y"].values, [-0.25, 0, 0.25], atol=1e-12)
    assert data.attrs["pixel_size"] == pytest.approx(0.25, rel=1e-9)
    assert (data.attrs["centre_x"], data.attrs["centre_y"]) == (100.5, -39.75)
    assert data.attrs["scan_time"] == "2007 December 14 18:52:00"
    assert data.attrs["dwell_ms"] == 0.5
    assert data.attrs["remarks"] == []


def test_energies_of_any_order_and_unit_become_ascending_ev(write_stxm: Writer) -> None:
    order = [2, 0, 3, 1]
    data = open_raw(write_stxm(ENERGIES[order] / 1e3, IMAGES[order], unit="keV"))
    np.testing.assert_allclose(data["energy"].values, np.round(ENERGIES / 1e3, 4) * 1e3, rtol=1e-12)
    np.testing.assert_allclose(data["image_counts"].values, IMAGES, rtol=1e-7)
    assert "incident_counts" not in data
    assert len(data.attrs["remarks"]) == 1


def test_missing_empty_and_surplus_images_are_set_aside_by_name(write_stxm: Writer, tmp_path: Path) -> None:
    path = write_stxm(ENERGIES, IMAGES)
    (tmp_path / "scan_a001.xim").unlink()
    (tmp_path / "scan_a002.xim").write_text("")
    (tmp_path / "scan_a004.xim").write_text("1 2\n")
    data = open_raw(path)
    np.testing.assert_array_equal(data["energy"].values, ENERGIES[[0, 3]])
    np.testing.assert_allclose(data["image_counts"].values, IMAGES[[0, 3]], rtol=1e-7)
    missing, empty, surplus = data.attrs["remarks"]
    assert missing == "scan_a001.xim (705.5 eV) is missing and is set aside"
    assert empty == "scan_a002.xim (706 eV) is empty and is set aside"
    assert surplus == "scan_a004.xim has no energy in the header and is set aside"


def test_incident_spectrum_on_other_energies(write_stxm: Writer) -> None:
    wider = [(690.0, 10.0), (720.0, 40.0)]
    data = open_raw(write_stxm(ENERGIES, IMAGES, incident=wider))
    np.testing.assert_allclose(data["incident_counts"].values, ENERGIES - 680, rtol=1e-12)
    assert "interpolated" in data.attrs["remarks"][0]
    narrower = [(701.0, 10.0), (720.0, 40.0)]
    data = open_raw(write_stxm(ENERGIES, IMAGES, incident=narrower))
    assert "incident_counts" not in data
    assert "set aside" in data.attrs["remarks"][0]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("ScanDefinition = {", "ScanDefinition = 1; Other = {"),
        ("StackAxis", "OtherAxis"),
        ("PAxis", "RAxis"),
        ("(4, 700.0000", "(5, 700.0000"),
        ("(4, 700.0000", "(4, seven"),
        ("(4, 700.0000", "(4, nan"),
        ("(4, 700.0000", "(4, -700.0000"),
        ("(4, 700.0000", "(4, = 700.0000"),
        ('Unit = "eV"', 'Unit = "furlong"'),
        ("Regions = (1,", "Regions = 1; Others = (1,"),
        ("Dwell = 0.5", "Dwell 0.5"),
        ("Dwell = 0.5", "Dwell = " + "{ A = " * 25 + "1;" + "};" * 25),
    ],
)
def test_a_header_that_makes_no_sense_is_refused(write_stxm: Writer, old: str, new: str) -> None:
    path = write_stxm(ENERGIES, IMAGES)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(MeasurementError, match=r"scan.hdr: the header is"):
        open_raw(path)


def test_two_regions_are_refused(write_stxm: Writer) -> None:
    with pytest.raises(MeasurementError, match="2 regions"):
        open_raw(write_stxm(ENERGIES, IMAGES, regions=2))


def test_oblong_pixels_have_no_single_size(write_stxm: Writer) -> None:
    path = write_stxm(ENERGIES, IMAGES)
    path.write_text(path.read_text().replace("-40.0000, -39.7500, -39.5000", "-40.0, -39.5, -39.0"))
    assert "pixel_size" not in open_raw(path).attrs


@pytest.mark.parametrize("text", ["1 2 3 4 5\n" * 2, "1 2 3\n" * 5, "1 2 3 4 x\n" * 3, "1 2\n1 2 3 4 5\n"])
def test_an_image_of_another_shape_is_named(write_stxm: Writer, tmp_path: Path, text: str) -> None:
    path = write_stxm(ENERGIES, IMAGES)
    (tmp_path / "scan_a001.xim").write_text(text)
    data = open_raw(path)
    np.testing.assert_allclose(data["image_counts"][0].values, IMAGES[0], rtol=1e-7)
    with pytest.raises(MeasurementError, match=r"scan_a001.xim[\s\S]*3 lines of 5 numbers"):
        data["image_counts"].load()


@pytest.mark.parametrize(
    "text", ["7.0E2 1.5\n7.1E2 2.5\n", "# energy, value\n700,1.5,9\n710,2.5,9\n", "700;1.5\n\n710;2.5"]
)
def test_spectrum_of_two_columns(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.t"
    path.write_text(text)
    spectrum = read_spectrum(path)
    require(spectrum.to_dataset(), "component_spectrum", "energy")
    np.testing.assert_array_equal(spectrum["energy"].values, [700, 710])
    np.testing.assert_array_equal(spectrum.values, [1.5, 2.5])
    assert spectrum.attrs["remarks"] == []


def test_spectrum_in_kev_and_descending(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("8.5 3\n8.25 1\n")
    spectrum = read_spectrum(path)
    np.testing.assert_array_equal(spectrum["energy"].values, [8250, 8500])
    np.testing.assert_array_equal(spectrum.values, [1, 3])
    assert len(spectrum.attrs["remarks"]) == 2


@pytest.mark.parametrize(
    "text", ["", "700 1\n", "700\n710\n", "700 1\n710 x\n", "700 nan\n710 1\n", "700 1\n700 2\n", "700 1\n710\n"]
)
def test_what_is_no_spectrum_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.txt"
    path.write_text(text)
    with pytest.raises(MeasurementError, match=r"bad.txt"):
        read_spectrum(path)


def test_a_missing_spectrum_is_named(tmp_path: Path) -> None:
    with pytest.raises(MeasurementError, match=r"nowhere\.xsp"):
        read_spectrum(tmp_path / "nowhere.xsp")


@pytest.fixture
def toner(data_folder: Path) -> Path:
    return data_folder / "imaging/stxm-fe-l-toner"


def test_iron_stack(toner: Path) -> None:
    folder = toner / "71214078_FigS4"
    data: Any = open_raw(folder / "71214078.hdr")
    assert data["image_counts"].shape == (123, 125, 125)
    np.testing.assert_array_equal(data["energy"].values, np.loadtxt(toner / "Energy.txt"))
    assert (float(data["energy"][0]), float(data["energy"][-1])) == (700.0, 730.353)
    assert data.attrs["pixel_size"] == pytest.approx(0.08, rel=1e-9)
    assert data.attrs["remarks"] == []
    np.testing.assert_array_equal(
        data["image_counts"][57].values, np.loadtxt(folder / "71214078_a057.xim", dtype=np.float32)
    )
    np.testing.assert_array_equal(data["incident_counts"].values, np.loadtxt(folder / "i0.xsp")[:, 1])
    for name in ("oxidized.t", "reduced.t", "oxidized.r", "reduced.r"):
        np.testing.assert_array_equal(read_spectrum(folder / name).values, np.loadtxt(folder / name)[:, 1])
