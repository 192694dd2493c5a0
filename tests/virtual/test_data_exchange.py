from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from cathoscope.io.registry import open_raw
from cathoscope.virtual.data_exchange import (
    NANO_CT_ARC,
    NANO_CT_PIXEL,
    NANO_CT_PROJECTIONS,
    DataExchangeLayout,
    ExchangeHeader,
)
from cathoscope.virtual.txm import Frames

COUNTS = np.random.default_rng(3).integers(0, 65536, size=(9, 5, 6)).astype(np.uint16)
HEADER = ExchangeHeader("nano_ct.h5", 8000.0, NANO_CT_PIXEL, "rod", "a rod particle at 25 C")
ANGLES = np.linspace(0, NANO_CT_ARC, 9)


def written(folder: Path, angles: np.ndarray = ANGLES) -> Path:
    layout = DataExchangeLayout((folder,), ((HEADER,),))
    folder.mkdir(exist_ok=True)
    with h5py.File(layout.path(0, 0), "w") as file:
        projections = layout.begin(file, 0, 0, Frames(angles, COUNTS[:3], COUNTS[3:5]))
        projections[:, 2:] = np.resize(COUNTS, (angles.size, 5, 6))[:, 2:]
        projections[:, :2] = np.resize(COUNTS, (angles.size, 5, 6))[:, :2]
    return layout.path(0, 0)


def test_a_scan_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    scan = open_raw(written(tmp_path))
    assert scan.attrs["format"] == "data_exchange"
    assert scan.attrs["remarks"] == []
    np.testing.assert_array_equal(scan.counts, COUNTS)
    np.testing.assert_array_equal(scan.flat_counts, COUNTS[:3])
    np.testing.assert_array_equal(scan.dark_counts, COUNTS[3:5])
    np.testing.assert_array_equal(scan.angle, ANGLES)
    assert float(scan.energy) == pytest.approx(8000)
    assert scan.attrs["pixel_size"] == pytest.approx(0.02)
    assert scan.attrs["sample_name"] == "rod"
    assert scan.attrs["title"] == "a rod particle at 25 C"
    assert scan.attrs["start_date"] == scan.attrs["end_date"]


def test_a_nano_ct_lacks_a_wedge_and_its_angles_are_read_as_degrees(tmp_path: Path) -> None:
    angles = np.linspace(0, NANO_CT_ARC, NANO_CT_PROJECTIONS)
    scan = open_raw(written(tmp_path, angles))
    np.testing.assert_array_equal(scan.angle, angles)
    assert scan.counts.shape == (710, 5, 6)
    assert scan.attrs["remarks"] == []


def test_few_angles_close_to_each_other_are_still_degrees(tmp_path: Path) -> None:
    # Without a unit so many small angles would be taken for radians.
    angles = np.linspace(0, 3, 70)
    np.testing.assert_array_equal(open_raw(written(tmp_path, angles)).angle, angles)


def test_the_layout_is_that_of_the_convention(tmp_path: Path) -> None:
    with h5py.File(written(tmp_path)) as file:
        assert file["implements"].asstr()[()] == "exchange:measurement:process"
        for name in ("data", "data_white", "data_dark"):
            assert file[f"exchange/{name}"].dtype == np.uint16
        assert file["exchange/data"].attrs["axes"] == "theta:y:x"
        assert file["exchange/theta"].attrs["units"] == "degrees"
        energy = file["measurement/instrument/monochromator/energy"]
        assert energy[()] == pytest.approx(8.0)
        assert energy.attrs["units"] == "keV"


def test_the_same_scan_gives_the_same_bytes(tmp_path: Path) -> None:
    assert written(tmp_path / "a").read_bytes() == written(tmp_path / "b").read_bytes()
