"""Neware's records against the tables that the vendor's program makes of them."""

from __future__ import annotations

import importlib.util
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from numpy.typing import ArrayLike

from cathoscope.core.errors import MeasurementError
from cathoscope.io import open_raw
from cathoscope.io.cycler_ndc import cycles_by_charge
from tests.io import specimens_cycler as made

FOLDER = "lab/neware-nmc811-m50t"
LG = "TESTCELL0001-B2-2025-M50T_NewareNDA_Investigation"
# Rows of the vendor's tables (export of BTSDA): row from 0, total time s, voltage mV, current uA, capacity mAs, energy
# mWs, cycle, step of the programme, temperature C. Those of .ndax have no sign of capacity and energy.
TABLES: dict[str, list[tuple[float, ...]]] = {
    f"{LG}.ndax": [
        (0, 0.0, 3587.0, 0.0, 0.0, 0.0, 1, 1, 25.7),
        (11106, 11102.1, 3583.0, 2500025.0, 2905022.0, 9991924.0, 1, 4, 26.1),
        (25915, 25905.0, 3708.6, 5000193.0, 4165128.0, 14872119.0, 2, 9, 26.5),
        (38872, 38856.3, 4187.3, 0.0, 0.0, 0.0, 3, 10, 27.6),
        (69970, 69934.5, 3707.5, 5000124.0, 4300142.0, 15311310.0, 7, 9, 25.3),
        (77744, 77704.2, 2848.9, 0.0, 0.0, 0.0, 7, 12, 24.5),
    ],
    "test_2.ndax": [
        (1, 1.0, 199.6, 0.0, 0.0, 0.0, 1, 1),
        (15509, 15128.5, 2167.2, -79.0, 342.60422, 1077.2231, 1, 4),
        (36187, 33151.8, 3361.3, 317.0, 90.391777, 287.62451, 13, 41),
        (72375, 62722.8, 2995.2, -317.0, 73.27951, 228.2326, 35, 43),
        (97706, 83010.7, 3385.5, 79.0, 346.48419, 1136.65, 52, 37),
        (108562, 93207.6, 3191.5, -317.0, 13.08442, 42.129002, 54, 43),
    ],
    "TestFile.nda": [
        (1, 12.26, 3881.9, 0.0, 0.0, 0.0, 1, 1, 23.2238),
        (2223, 29667.5, 3915.2, 1200478.125, 12869615.0, 46213608.0, 2, 4, 25.1235),
        (3335, 40580.33, 3988.1, -3000295.5, -630078.12, -2528168.5, 2, 7, 24.681),
        (6003, 65827.38, 4130.6, 1200477.75, 17874826.0, 66362580.0, 3, 9, 25.0477),
        (6669, 72373.26, 4158.7, 0.0, 0.0, 0.0, 3, 11, 24.2418),
    ],
}
ROWS = {f"{LG}.ndax": 77745, "test_2.ndax": 108563, "TestFile.nda": 6670}
# The last digit of mAs and mWs that the tables print.
COUNTED = {f"{LG}.ndax": 1.0, "test_2.ndax": 1e-4, "TestFile.nda": 0.5}
SINGLE = 1.2e-7
COLUMNS = ("Total Time", "Voltage(mV)", "Current(uA)", "Capacity(mAs)", "Energy(mWs)", "Cycle Index", "Step Index")


def check_as_printed(data: xr.Dataset, name: str, rows: ArrayLike, columns: list[np.ndarray]) -> None:  # type: ignore[type-arg]
    """Times, cycles and steps are equal, all else within half a printed digit and the tables' single precision."""
    picked = data.isel(point=np.asarray(rows, dtype=int))
    time, voltage, current, charge, energy, cycle, step = columns[:7]
    np.testing.assert_allclose(picked["elapsed_time"].values, time, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(picked["file_cycle"].values, cycle)
    np.testing.assert_array_equal(picked["file_step"].values, step)
    sign = 1.0 if name.endswith(".nda") else np.sign(picked["cell_current"].values)
    printed = [("cell_voltage", voltage, 1e3, 0.1), ("cell_current", current, 1e6, 1.0)]
    printed += [
        ("cell_charge", sign * charge, 3.6e6, COUNTED[name]),
        ("cell_energy", sign * energy, 3.6e6, COUNTED[name]),
    ]
    printed += [("cell_temperature", each, 1.0, 0.1) for each in columns[7:]]
    for array, values, factor, digit in printed:
        wrong = np.abs(picked[array].values * factor - values)
        assert (wrong <= 0.5 * digit + SINGLE * np.abs(values)).all(), f"{array}: {wrong.max()}"


@pytest.mark.parametrize("name", TABLES)
def test_rows_are_those_of_the_vendor_s_table(data_folder: Path, name: str) -> None:
    data = open_raw(data_folder / FOLDER / name)
    assert data.sizes["point"] == ROWS[name]
    rows, *columns = (np.array(column) for column in zip(*TABLES[name], strict=True))
    check_as_printed(data, name, rows, columns)


@pytest.mark.parametrize("name", TABLES)
def test_every_row_is_that_of_the_vendor_s_table(data_folder: Path, name: str) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="the vendor's tables are Parquet, which pyarrow reads")
    table = parquet.read_table((data_folder / FOLDER / name).with_suffix(".parquet"))
    wanted = [*COLUMNS, *(column for column in ("T1", "T1(?)") if column in table.column_names)]
    columns = [table[column].to_numpy() for column in wanted]
    check_as_printed(open_raw(data_folder / FOLDER / name), name, np.arange(ROWS[name]), columns)


def test_how_cycles_count_is_said(data_folder: Path) -> None:
    by_loops, by_charge = (open_raw(data_folder / FOLDER / name) for name in (f"{LG}.ndax", "test_2.ndax"))
    assert by_loops.attrs["remarks"] == ["cycles are the loops of the programme"]
    assert by_charge.attrs["remarks"] == ["the first charge after a discharge begins a cycle, as the archive asks for"]


@pytest.mark.parametrize("write", [made.ndax, made.nda], ids=["ndax", "nda"])
def test_both_forms_tell_the_cell(write: Callable[[Path], list[Path]], tmp_path: Path) -> None:
    data = open_raw(write(tmp_path))
    np.testing.assert_allclose(data["cell_voltage"].values, made.VOLTAGE, rtol=1e-7)
    np.testing.assert_allclose(data["cell_current"].values, made.CURRENT, rtol=1e-7)
    np.testing.assert_array_equal(data["file_step"].values, made.STEP)
    np.testing.assert_array_equal(data["cell_temperature"].values, 25.5)


def test_rows_without_a_record_of_their_time_follow_at_the_last_distance(tmp_path: Path) -> None:
    data = open_raw(made.ndax(tmp_path))
    # Two steps of rows at 0, 10, 20 and 10, 20, 30 s; the second begins where the first ended.
    np.testing.assert_array_equal(data["elapsed_time"].values, [0, 10, 20, 30, 40, 50])
    # Records hold no charge; between them it is the current times the time.
    np.testing.assert_allclose(data["cell_charge"].values * 3.6e6, [0, 0, 10, 0, 0, -10], rtol=1e-6, atol=1e-12)
    assert data["other"].attrs["names"] == ["probe 226"]
    assert data.attrs["metadata"] == {"started": "2025-09-25 13:18:44", "barcode": "ROD"}


def test_a_charge_after_a_discharge_begins_a_cycle() -> None:
    rest, charge, discharge = 4, 1, 2
    kinds = np.array([rest, discharge, rest, charge, rest, charge, discharge, discharge, charge])
    assert cycles_by_charge(kinds).tolist() == [1, 1, 1, 2, 2, 2, 2, 2, 3]


def test_an_unknown_layout_names_the_extra_that_reads_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made.nda(tmp_path)[0]
    path.write_bytes(path.read_bytes().replace(b"\x82\0\x13\0", b"\x1d\0\x13\0"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MeasurementError, match=r"cell\.nda: the layout of this Neware file") as caught:
        open_raw(path)
    assert caught.value.found is not None
    assert "version 29" in caught.value.found
    assert "cathoscope[formats]" in str(caught.value.cure)


def test_an_unknown_layout_is_read_by_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made.nda(tmp_path)[0]
    path.write_bytes(path.read_bytes().replace(b"\x82\0\x13\0", b"\x1d\0\x13\0"))

    class Column:
        def __init__(self, values: ArrayLike) -> None:
            self.values = values

        def to_numpy(self) -> ArrayLike:
            return self.values

    class Table(dict[str, Column]):
        @property
        def columns(self) -> list[str]:
            return list(self)

    columns = {"total_time_s": made.TIME, "voltage_V": made.VOLTAGE, "current_mA": made.CURRENT * 1e3}
    table = Table({name: Column(values) for name, values in columns.items()})
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: True)
    monkeypatch.setattr(importlib, "import_module", lambda _: SimpleNamespace(read=lambda _: table))
    data = open_raw(path)
    np.testing.assert_allclose(data["cell_current"].values, made.CURRENT)
    assert data.attrs["remarks"] == ["read by the package fastnda (version 29 of .nda, rows of 336 bytes)"]


def test_an_archive_that_lacks_a_part_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made.ndax(tmp_path)[0]
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist() if name != "data_runInfo.ndc"}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MeasurementError) as caught:
        open_raw(path)
    assert caught.value.found == "an archive without data_runInfo.ndc or data_step.ndc"


def test_a_cut_record_is_refused(tmp_path: Path) -> None:
    path = made.nda(tmp_path)[0]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(MeasurementError, match=r"cell\.nda: the record is truncated or damaged"):
        open_raw(path)
