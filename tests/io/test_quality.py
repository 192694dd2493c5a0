from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from cathoscope.core.errors import MeasurementError, SchemaError
from cathoscope.core.schema import label
from cathoscope.io import open_raw
from cathoscope.io.quality import check_projections, count_invalid, drop_dead_frames

Content = dict[str, Any]
Writer = Callable[..., Path]


def scan(energy: float | None, name: str = "a.h5") -> xr.Dataset:
    data = xr.Dataset(attrs={"source": name})
    return data if energy is None else data.assign_coords(energy=label("energy", np.float64(energy), ()))


def test_a_good_scan_raises_no_remark(write_hdf5: Writer, fxi_content: Content) -> None:
    assert check_projections(open_raw(write_hdf5(fxi_content))) == []


def test_dead_flats_are_counted_and_dropped(write_hdf5: Writer, fxi_content: Content) -> None:
    flats = fxi_content["img_bkg"]
    flats[[1, 3]] = 0
    data = open_raw(write_hdf5(fxi_content))
    assert check_projections(data) == ["flat 2 of 5 is zero", "flat 4 of 5 is zero"]
    kept, remarks = drop_dead_frames(data)
    np.testing.assert_array_equal(kept["flat_counts"].values, flats[[0, 2, 4]])
    assert len(remarks) == 2
    again, remarks = drop_dead_frames(kept)
    assert remarks == []
    assert again.identical(kept)


def test_all_flats_dead_leaves_nothing_to_keep(write_hdf5: Writer, fxi_content: Content) -> None:
    fxi_content["img_bkg"][:] = 0
    data = open_raw(write_hdf5(fxi_content))
    for check in (check_projections, drop_dead_frames):
        with pytest.raises(MeasurementError, match="the flats are zero"):
            check(data)


def test_flats_and_darks_exchanged_or_without_a_number(write_hdf5: Writer, fxi_content: Content) -> None:
    exchanged = fxi_content | {"img_bkg": fxi_content["img_dark"], "img_dark": fxi_content["img_bkg"]}
    with pytest.raises(MeasurementError, match="no brighter than the darks"):
        check_projections(open_raw(write_hdf5(exchanged)))
    empty = fxi_content | {"img_bkg": np.full((1, 6, 8), np.nan)}
    with pytest.raises(MeasurementError, match="median nan in the flats"):
        check_projections(open_raw(write_hdf5(empty)))


def test_a_table_of_something_else_is_refused() -> None:
    with pytest.raises(SchemaError, match="counts is missing"):
        check_projections(xr.Dataset())


def test_little_is_read_of_tall_frames(write_hdf5: Writer, fxi_content: Content) -> None:
    tall = {"img_tomo": np.full((40, 100, 8), 7, np.uint16), "img_bkg": np.full((2, 100, 8), 9, np.uint16)}
    tall["img_dark"] = np.ones((2, 100, 8), np.uint16)
    for name in tall:
        tall[name][:, :42] = tall[name][:, 58:] = np.iinfo(np.uint16).max  # saturated outside the 16 middle rows
    assert check_projections(open_raw(write_hdf5(fxi_content | tall))) == []


def test_invalid_pixels_are_counted_exactly() -> None:
    counts = np.ones((4, 5), np.float32)
    counts[0, :3], counts[1, 0], counts[2, :2] = np.nan, np.inf, 70_000
    assert count_invalid(counts, None) == (4, 0)
    assert count_invalid(counts, 65_535) == (4, 3)
    for dtype in (np.uint8, np.uint16, np.int16):
        integer = np.zeros((3, 3), dtype)
        integer[0, :2] = np.iinfo(dtype).max
        assert count_invalid(integer, None) == (0, 2)
        assert count_invalid(integer, 1) == (0, 2)
