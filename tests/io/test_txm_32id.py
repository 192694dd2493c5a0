"""Data Exchange as APS 32-ID writes it: tomography at one energy, and one view at many energies."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from cathoscope.core.errors import MeasurementError
from cathoscope.core.schema import require
from cathoscope.io.txm import open_data_exchange, recognise_data_exchange

Content = dict[str, Any]
Writer = Callable[..., Path]
START, END = "2026-02-01T10:00:00-0600", "2026-02-01T10:20:00-0600"
RESOLUTION = "measurement/instrument/detection_system/objective/resolution"
N_ENERGIES, ROWS, COLUMNS = 7, 5, 6
ENERGIES_KEV = 8.333 + 0.002 * np.arange(N_ENERGIES)


@pytest.fixture
def acquisition() -> Content:
    """Dates as the beamline writes them: one text of fixed length in a list."""
    return {
        "process/acquisition/start_date": np.array([START.encode()]),
        "process/acquisition/end_date": np.array([END.encode()]),
    }


@pytest.fixture
def energy_scan(acquisition: Content) -> Content:
    """Images of one view, one flat for each energy, five darks."""
    rng = np.random.default_rng(32)
    return acquisition | {
        "exchange/data": rng.integers(500, 60_000, (N_ENERGIES, ROWS, COLUMNS)).astype(np.uint16),
        "exchange/data_white": rng.integers(500, 60_000, (N_ENERGIES, ROWS, COLUMNS)).astype(np.uint16),
        "exchange/data_dark": rng.integers(90, 110, (5, ROWS, COLUMNS)).astype(np.uint16),
        "exchange/energy": ENERGIES_KEV,
    }


def without_unit_remark(remarks: list[str]) -> list[str]:
    return [remark for remark in remarks if "read as keV (the file gives no unit)" not in remark]


def test_a_tomography_scan(write_hdf5: Writer, exchange_content: Content, acquisition: Content) -> None:
    path = write_hdf5(exchange_content | acquisition | {"exchange/energy": np.array([8.35]), RESOLUTION: 0.05998})
    assert recognise_data_exchange(path) is None
    data = open_data_exchange([path])
    require(data, "counts", "flat_counts", "dark_counts", "angle", "energy")
    assert float(data["energy"]) == pytest.approx(8350.0, rel=1e-12)
    np.testing.assert_array_equal(data["angle"].values, exchange_content["exchange/theta"])
    assert (data.attrs["start_date"], data.attrs["end_date"]) == (START, END)
    assert data.attrs["pixel_size"] == pytest.approx(0.05998, rel=1e-12)
    assert without_unit_remark(data.attrs["remarks"]) == []


@pytest.mark.parametrize("theta", [None, 0.0, np.array([12.5]), np.full(N_ENERGIES, 12.5)])
def test_one_view_at_many_energies(write_hdf5: Writer, energy_scan: Content, theta: Any) -> None:
    path = write_hdf5(energy_scan | ({} if theta is None else {"exchange/theta": theta}))
    assert recognise_data_exchange(path) is None
    data = open_data_exchange([path])
    require(data, "image_counts", "flat_counts", "dark_counts", "energy")
    np.testing.assert_array_equal(data["image_counts"].values, energy_scan["exchange/data"])
    np.testing.assert_array_equal(data["flat_counts"].values, energy_scan["exchange/data_white"])
    np.testing.assert_array_equal(data["dark_counts"].values, energy_scan["exchange/data_dark"])
    np.testing.assert_allclose(data["energy"].values, 1000 * ENERGIES_KEV, rtol=1e-14)
    assert data["image_counts"].dtype == np.uint16
    assert (data.attrs["start_date"], data.attrs["end_date"]) == (START, END)
    assert "pixel_size" not in data.attrs
    assert "y" not in data.coords
    assert "angle" not in data.coords
    assert len(data.attrs["remarks"]) == 1
    assert without_unit_remark(data.attrs["remarks"]) == []


@pytest.mark.parametrize(("unit", "factor"), [("keV", 1.0), ("eV", 1000.0)])
def test_energies_with_a_unit_and_positions_with_a_pixel_size(
    write_hdf5: Writer, energy_scan: Content, unit: str, factor: float
) -> None:
    path = write_hdf5(energy_scan | {"exchange/energy": factor * ENERGIES_KEV, RESOLUTION: [0.03]})
    with h5py.File(path, "a") as file:
        file["exchange/energy"].attrs["units"] = unit
    data = open_data_exchange([path])
    np.testing.assert_allclose(data["energy"].values, 1000 * ENERGIES_KEV, rtol=1e-14)
    require(data, "y", "x")
    for name, size in (("y", ROWS), ("x", COLUMNS)):
        positions = data[name].values
        assert positions.sum() == pytest.approx(0.0, abs=1e-12)
        np.testing.assert_allclose(np.diff(positions), np.full(size - 1, 0.03), rtol=1e-12)
    assert data.attrs["remarks"] == []


def test_energies_in_any_order_give_one_dataset(write_hdf5: Writer, energy_scan: Content) -> None:
    order = np.array([3, 0, 6, 1, 5, 2, 4])
    shuffled = {name: energy_scan[name][order] for name in ("exchange/data", "exchange/data_white", "exchange/energy")}
    data = open_data_exchange([write_hdf5(energy_scan | shuffled, "shuffled.h5")])
    whole = open_data_exchange([write_hdf5(energy_scan, "whole.h5")])
    for name in ("image_counts", "flat_counts", "dark_counts", "energy"):
        np.testing.assert_array_equal(data[name].values, whole[name].values)
    part = data["image_counts"][2:5, 1:3]
    np.testing.assert_array_equal(part.values, energy_scan["exchange/data"][2:5, 1:3])
    assert any("sorted by energy" in remark for remark in data.attrs["remarks"])


def test_a_turned_sample_is_a_tomography_scan_whatever_the_energies(write_hdf5: Writer, energy_scan: Content) -> None:
    data = open_data_exchange([write_hdf5(energy_scan | {"exchange/theta": np.arange(N_ENERGIES) * 20.0})])
    assert data["counts"].shape == (N_ENERGIES, ROWS, COLUMNS)
    np.testing.assert_array_equal(data["angle"].values, np.arange(N_ENERGIES) * 20.0)


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("energy", ENERGIES_KEV[:5], "5 energies, 7 flats"),
        ("energy", np.r_[ENERGIES_KEV[:6], ENERGIES_KEV[0]], "8333 eV more than once"),
        ("energy", np.r_[ENERGIES_KEV[:6], np.nan], "numbers above zero"),
        ("energy", np.r_[ENERGIES_KEV[:6], -8.3], "numbers above zero"),
        ("data_white", np.ones((1, ROWS, COLUMNS)), "7 energies, 1 flats"),
        ("data_white", np.ones((N_ENERGIES, ROWS, 3)), "images of different shape"),
        ("data_dark", np.ones((5, ROWS)), "not a stack of images"),
        ("data_dark", np.ones((0, ROWS, COLUMNS)), "data_dark is missing or empty"),
    ],
)
def test_what_does_not_fit_is_an_error(
    write_hdf5: Writer, energy_scan: Content, name: str, value: Any, problem: str
) -> None:
    path = write_hdf5(energy_scan | {f"exchange/{name}": value})
    with pytest.raises(MeasurementError, match=problem) as caught:
        open_data_exchange([path])
    assert "scan.h5" in str(caught.value)


def test_many_large_images_cost_the_memory_of_the_rows_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "large.h5"
    shape = (120, 2048, 2448)  # 1.2 GB, and as much of flats; never written, so the file stays small
    with h5py.File(path, "w") as file:
        for name in ("data", "data_white"):
            file.create_dataset(f"exchange/{name}", shape, "u2", fillvalue=9)
        file.create_dataset("exchange/data_dark", (10, *shape[1:]), "u2")
        file["exchange/energy"] = 8.3 + 0.001 * np.arange(120)[::-1]
    tracemalloc.start()
    try:
        data = open_data_exchange([path])
        _, to_open = tracemalloc.get_traced_memory()
        values = data["image_counts"][:, 100:104].values
        _, to_read = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (values == 9).all()
    assert values.shape == (120, 4, 2448)
    assert to_open < 2e6
    assert to_read < 3.5 * values.nbytes
