from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest

from cathoscope.core.errors import MeasurementError
from cathoscope.core.schema import require
from cathoscope.io import open_raw

Content = dict[str, Any]
Writer = Callable[..., Path]


def test_fxi_gives_back_what_was_written(write_hdf5: Writer, fxi_content: Content) -> None:
    path = write_hdf5(fxi_content)
    data = open_raw(path)
    require(data, "counts", "flat_counts", "dark_counts", "angle", "energy")
    for name, source in (("counts", "img_tomo"), ("flat_counts", "img_bkg"), ("dark_counts", "img_dark")):
        np.testing.assert_array_equal(data[name].values, fxi_content[source])
        assert data[name].dtype == np.uint16
    np.testing.assert_array_equal(data["angle"].values, fxi_content["angle"])
    assert float(data["energy"]) == pytest.approx(8350.0, rel=1e-15)
    assert data.attrs == {
        "format": "fxi",
        "source": str(path),
        "pixel_size": pytest.approx(0.02, rel=1e-12),
        "scan_id": 12345,
        "uid": "0f3a",
        "note": "rod, 150 C",
        "scan_time": "2026-02-01 10:00:00",
        "magnification": 325.0,
        "x_ini": 1.5,
        "remarks": [],
    }


@pytest.mark.parametrize("filter_", [hdf5plugin.Blosc(), hdf5plugin.Bitshuffle(), hdf5plugin.Zstd(), hdf5plugin.LZ4()])
def test_compressed_and_older_signed_files(write_hdf5: Writer, fxi_content: Content, filter_: Any) -> None:
    fxi_content["img_tomo"] = (fxi_content["img_tomo"] // 2).astype(np.int16)
    data = open_raw(write_hdf5(fxi_content, chunks=True, compression=filter_))
    np.testing.assert_array_equal(data["counts"][:, 2:4].values, fxi_content["img_tomo"][:, 2:4])


def test_averages_stand_in_for_missing_or_empty_flats(write_hdf5: Writer, fxi_content: Content) -> None:
    for name in ("img_bkg", "img_dark"):
        fxi_content[name + "_avg"] = fxi_content[name].mean(axis=0, dtype=np.float32)[None]
    del fxi_content["img_bkg"]
    fxi_content["img_dark"] = fxi_content["img_dark"][:0]
    data = open_raw(write_hdf5(fxi_content))
    np.testing.assert_array_equal(data["flat_counts"].values, fxi_content["img_bkg_avg"])
    np.testing.assert_array_equal(data["dark_counts"].values, fxi_content["img_dark_avg"])
    assert [remark.split()[0] for remark in data.attrs["remarks"]] == ["/img_bkg", "/img_dark"]


@pytest.mark.parametrize(("change", "n_used"), [(3, 40), (-3, 37)])
def test_angle_a_chunk_longer_or_shorter(write_hdf5: Writer, fxi_content: Content, change: int, n_used: int) -> None:
    fxi_content["angle"] = np.arange(40 + change) * 4.5
    data = open_raw(write_hdf5(fxi_content))
    np.testing.assert_array_equal(data["angle"].values, np.arange(n_used) * 4.5)
    np.testing.assert_array_equal(data["counts"].values, fxi_content["img_tomo"][:n_used])
    assert len(data.attrs["remarks"]) == 1


@pytest.mark.parametrize(
    ("changes", "pixel_size", "n_remarks"),
    [
        ({"Pixel Size": None}, 0.02, 0),
        ({"Pixel Size": "about 20"}, 0.02, 1),
        ({"Pixel Size": "40 nm"}, 0.04, 1),
        ({"Magnification": 0.0}, 0.02, 0),
        ({"Magnification": None, "Pixel Size": None}, None, 0),
        ({"Magnification": "high", "Pixel Size": None}, None, 0),
    ],
)
def test_pixel_size(
    write_hdf5: Writer, fxi_content: Content, changes: Content, pixel_size: float | None, n_remarks: int
) -> None:
    content = {key: value for key, value in (fxi_content | changes).items() if value is not None}
    data = open_raw(write_hdf5(content))
    assert data.attrs.get("pixel_size") == (None if pixel_size is None else pytest.approx(pixel_size, rel=1e-12))
    assert len(data.attrs["remarks"]) == n_remarks


@pytest.mark.parametrize("stored", [8350.0, np.array([8.35]), np.float32(8.35)])
def test_energy_in_ev_or_kev(write_hdf5: Writer, fxi_content: Content, stored: Any) -> None:
    data = open_raw(write_hdf5(fxi_content | {"X_eng": stored}))
    assert float(data["energy"]) == pytest.approx(8350.0, rel=1e-7)


def test_without_energy_there_is_none(write_hdf5: Writer, fxi_content: Content) -> None:
    assert "energy" not in open_raw(write_hdf5(fxi_content | {"X_eng": 0.0}))
    del fxi_content["X_eng"]
    assert "energy" not in open_raw(write_hdf5(fxi_content))


def test_angle_range_of_the_recipe_goes_first(write_hdf5: Writer, fxi_content: Content) -> None:
    data = open_raw(write_hdf5(fxi_content), angle_range=(0, 78))
    np.testing.assert_allclose(data["angle"].values, np.arange(40) * 2.0, rtol=1e-15)
    assert len(data.attrs["remarks"]) == 1
    del fxi_content["angle"]
    assert open_raw(write_hdf5(fxi_content), angle_range=(0, 78)).attrs["remarks"] == []


def test_exchange_gives_back_what_was_written(write_hdf5: Writer, exchange_content: Content) -> None:
    path = write_hdf5(
        exchange_content
        | {
            "exchange/energy": 8.35,
            "exchange/title": "raw",
            "measurement/sample/name": "gravel",
            "measurement/instrument/detection_system/objective/resolution": [0.65],
        }
    )
    with h5py.File(path, "a") as file:
        file["exchange/theta"].attrs["units"] = b"degrees"
    data = open_raw(path)
    require(data, "counts", "flat_counts", "dark_counts", "angle", "energy")
    np.testing.assert_array_equal(data["counts"].values, exchange_content["exchange/data"])
    np.testing.assert_array_equal(data["flat_counts"].values, exchange_content["exchange/data_white"])
    np.testing.assert_array_equal(data["dark_counts"].values, exchange_content["exchange/data_dark"])
    np.testing.assert_array_equal(data["angle"].values, exchange_content["exchange/theta"])
    assert float(data["energy"]) == 8350.0
    assert data.attrs["pixel_size"] == 0.65
    assert (data.attrs["title"], data.attrs["sample_name"]) == ("raw", "gravel")
    assert data.attrs["remarks"] == ["energy 8.35 read as keV (the file gives no unit)"]


def test_exchange_theta_in_radians_by_its_unit(write_hdf5: Writer, exchange_content: Content) -> None:
    degrees = exchange_content["exchange/theta"]
    path = write_hdf5(exchange_content | {"exchange/theta": np.deg2rad(degrees)})
    with h5py.File(path, "a") as file:
        file["exchange/theta"].attrs["units"] = "radians"
    np.testing.assert_allclose(open_raw(path)["angle"].values, degrees, rtol=1e-14)


@pytest.mark.parametrize("change", [{"img_tomo": np.zeros((40, 6))}, {"img_tomo": np.zeros((2, 2, 2), "S3")}])
def test_what_is_no_stack_of_images_is_refused(write_hdf5: Writer, fxi_content: Content, change: Content) -> None:
    with pytest.raises(MeasurementError, match="not a stack of images"):
        open_raw(write_hdf5(fxi_content | change))


def test_a_broken_link_is_a_missing_dataset(write_hdf5: Writer, fxi_content: Content) -> None:
    del fxi_content["img_dark"]
    path = write_hdf5(fxi_content)
    with h5py.File(path, "a") as file:
        file["img_dark"] = h5py.ExternalLink("nowhere.h5", "img_dark")
        for k in range(20):
            file[f"extra_{k}"] = k
    with pytest.raises(MeasurementError, match="/img_dark or /img_dark_avg is missing") as caught:
        open_raw(path)
    assert "and 12 more" in str(caught.value)


def test_tooth(data_folder: Path) -> None:
    data = open_raw(data_folder / "imaging/tooth-dxchange/tooth.h5")
    assert data.attrs["format"] == "data_exchange"
    assert data["counts"].shape == (181, 2, 640)
    assert data["flat_counts"].shape == data["dark_counts"].shape == (10, 2, 640)
    np.testing.assert_allclose(data["angle"].values, np.arange(181) * 180 / 181, rtol=1e-12)
    assert data.attrs["remarks"] == []
    with h5py.File(data_folder / "imaging/tooth-dxchange/tooth.h5") as file:
        np.testing.assert_array_equal(data["counts"][5:9, 1, 100:200].values, file["exchange/data"][5:9, 1, 100:200])
