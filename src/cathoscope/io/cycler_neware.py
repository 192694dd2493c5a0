"""Neware's binary records: ``.ndax`` archives and ``.nda`` files.

Schema
------
``elapsed_time``, ``cell_voltage``, ``cell_current``, ``cell_charge``, ``cell_energy``, ``cell_temperature`` (where a
probe was read), ``file_cycle``, ``file_step`` (point); further probes are ``other_column`` (other, point). Charge and
energy are counted from zero in each step and are negative on discharge; the vendor's tables of ``.ndax`` have them
without sign. Cycles are the loops of the programme from 1; where the archive says that charges count (``CycleMode`` 1),
the first charge after a discharge begins a cycle.

Uncertainties
-------------
None are stored in the files.

Metadata
--------
Attributes ``format``, ``source``, ``remarks`` and ``metadata``: start, barcode and remark of the test.

File structure
--------------
``.ndax`` is a ZIP archive: ``data.ndc`` has voltage and current of every row, ``data_runInfo.ndc`` time, charge and
energy of some, ``data_step.ndc`` the steps, ``data_AUX_*.ndc`` a probe each (see `cycler_ndc`). ``.nda`` of version
130 has records of 56 bytes where a table in its header says. Other layouts are read by the package fastnda, if it is
installed.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import struct
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.io.archive import ZIP, BrokenArchive, member, open_archive
from cathoscope.io.cycler import Columns, Floats, cycler_dataset
from cathoscope.io.cycler_ndc import AUXILIARY, DATA, RUN, STEPS, Rows, UnknownLayout, records, rows_of
from cathoscope.io.lazy import COPY_AGAIN

_NDA = b"NEWARE"
_MOST_BYTES = 2**31
_NDA_VERSION, _NDA_WIDTH = 130, 56
_VERSION_AT, _TABLE_AT = 14, 18 + 8 * 8
_NDA_RECORD = np.dtype(
    {
        "names": ["mark", "step", "seconds", "ns", "current", "voltage", "charge", "energy", "cycle", "date", "probe"],
        "formats": ["u1", "u1", "<u4", "<u4", "<f4", "<f4", "<f4", "<f4", "<u4", "<u4", "<f4"],
        "offsets": [0, 2, 12, 16, 20, 24, 28, 32, 36, 44, 52],
        "itemsize": _NDA_WIDTH,
    }
)
_MARK = 0x55
_PROBE_OF_TEMPERATURE = "103"
_PROBE_NAME = re.compile(r"data_AUX_(\d+)_\d+_\d+\.ndc")


def recognise_neware(path: Path) -> str | None:
    """None if the file is one of Neware's, by its first bytes or the names in the archive, else the reason why not."""
    try:
        with path.open("rb") as file:
            begin = file.read(len(_NDA))
        if begin == _NDA:
            return None
        if not begin.startswith(ZIP):
            return "the file begins neither with NEWARE nor as a ZIP archive"
        with open_archive(path) as archive:
            inside = set(archive.namelist())
    except (BrokenArchive, OSError) as error:
        return f"the archive cannot be read: {error}"
    return None if "data.ndc" in inside else "the archive has no data.ndc"


def open_neware(paths: Sequence[Path], angle_range: tuple[float, float] | None = None) -> xr.Dataset:
    """The record ``paths[0]`` (see the module's docstring).

    Parameters
    ----------
    paths
        The file.
    angle_range
        Not used: there are no projections.

    Raises
    ------
    MeasurementError
        If the file is damaged, or its layout is not known here and fastnda is not installed.
    """
    path = paths[0]
    remarks: list[str] = []
    try:
        with path.open("rb") as file:
            is_nda = file.read(len(_NDA)) == _NDA
        columns, metadata = _nda(path) if is_nda else _ndax(path, remarks)
    except UnknownLayout as error:
        columns, metadata = _by_fastnda(path, error, remarks), {}
    except (BrokenArchive, OSError) as error:
        raise _damaged(path, str(error)) from error
    return cycler_dataset(columns, path, remarks, format="neware", metadata=metadata)


def _damaged(path: Path, found: str) -> MeasurementError:
    return MeasurementError(
        "the record is truncated or damaged", where=path, expected="a complete file", found=found, cure=COPY_AGAIN
    )


# -- .ndax ------------------------------------------------------------------------------------------


def _ndax(path: Path, remarks: list[str]) -> tuple[Columns, dict[str, Any]]:
    with open_archive(path) as archive:
        names = set(archive.namelist())
        settings = _text(archive, "NdaxConfig.xml")
        test = _text(archive, "TestInfo.xml")
        by_charge = _attribute(settings, "CycleMode") == "1"
        if not {"data_runInfo.ndc", "data_step.ndc"} <= names:
            raise UnknownLayout("an archive without data_runInfo.ndc or data_step.ndc")
        values = records(_member(archive, "data.ndc"), DATA)
        runs = records(_member(archive, "data_runInfo.ndc"), RUN)
        steps = records(_member(archive, "data_step.ndc"), STEPS)
        if not values.size:
            raise _damaged(path, "no row in data.ndc")
        rows = rows_of(values, runs, steps, by_charge)
        probes = {name: records(_member(archive, name), AUXILIARY) for name in sorted(names) if _PROBE_NAME.match(name)}
    remarks.append(
        "the first charge after a discharge begins a cycle, as the archive asks for"
        if by_charge
        else "cycles are the loops of the programme"
    )
    columns = _columns(rows)
    return _with_probes(columns, probes, test, remarks), _metadata(test, rows.started)


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    return member(archive, name, _MOST_BYTES)


def _text(archive: zipfile.ZipFile, name: str) -> str:
    return _member(archive, name).decode("gb18030", errors="replace") if name in archive.namelist() else ""


def _attribute(text: str, name: str) -> str:
    match = re.search(rf'\b{name}="([^"]*)"', text)
    return match.group(1) if match else ""


def _metadata(test: str, started: int) -> dict[str, Any]:
    found = {"started": _attribute(test, "StartTime") or datetime.fromtimestamp(started, UTC).isoformat()}
    found |= {"barcode": _attribute(test, "Barcode"), "comment": _attribute(test, "Remark")}
    return {key: value for key, value in found.items() if value}


def _columns(rows: Rows) -> Columns:
    named = {
        "elapsed_time": rows.time,
        "cell_voltage": rows.voltage,
        "cell_current": rows.current,
        "cell_charge": rows.charge,
        "cell_energy": rows.energy,
        "file_cycle": rows.cycle.astype(np.float64),
        "file_step": rows.step.astype(np.float64),
    }
    return Columns(named, {}, np.arange(1, rows.time.size + 1), "row")


def _with_probes(columns: Columns, probes: dict[str, NDArray[Any]], test: str, remarks: list[str]) -> Columns:
    """The first probe of temperature is that of the cell, others are further columns."""
    named, others = dict(columns.named), dict(columns.others)
    for name, values in probes.items():
        match = _PROBE_NAME.match(name)
        channel = match.group(1) if match else ""
        if values.size != columns.places.size:
            remarks.append(f"{name} has {values.size} values for {columns.places.size} rows and is left out")
            continue
        numbers = _as_floats(values["temperature"])
        kind = re.search(rf'RealChlID="{channel}"\s+ChlType="(\d+)"', test)
        if kind and kind.group(1) == _PROBE_OF_TEMPERATURE and "cell_temperature" not in named:
            named["cell_temperature"] = numbers
        else:
            others[f"probe {channel}"] = numbers
    return Columns(named, others, columns.places, columns.place)


def _as_floats(values: NDArray[Any]) -> Floats:
    with np.errstate(invalid="ignore"):  # a number that is none may be a signalling one
        return values.astype(np.float64)


# -- .nda -------------------------------------------------------------------------------------------


def _nda(path: Path) -> tuple[Columns, dict[str, Any]]:
    if path.stat().st_size > _MOST_BYTES:
        raise _damaged(path, f"{path.stat().st_size} bytes")
    content = path.read_bytes()
    if len(content) < _TABLE_AT + 16:
        raise _damaged(path, f"{len(content)} bytes")
    (version,) = struct.unpack_from("<H", content, _VERSION_AT)
    begin, length = struct.unpack_from("<QQ", content, _TABLE_AT)
    if version != _NDA_VERSION or length % _NDA_WIDTH or not 0 < begin < 2**31 or not length:
        raise UnknownLayout(f"version {version} of .nda, rows of {length} bytes")
    if begin + length > len(content):
        raise _damaged(path, f"{len(content)} of at least {begin + length} bytes")
    rows = np.frombuffer(content, _NDA_RECORD, length // _NDA_WIDTH, begin)
    if (rows["mark"] != _MARK).any():
        raise UnknownLayout("records with other marks")
    # Currents are in mA, charge and energy in mA s and mW s, with their signs.
    named = {
        "elapsed_time": rows["seconds"] + rows["ns"] / 1e9,
        "cell_voltage": _as_floats(rows["voltage"]),
        "cell_current": _as_floats(rows["current"]) / 1e3,
        "cell_charge": _as_floats(rows["charge"]) / 3.6e6,
        "cell_energy": _as_floats(rows["energy"]) / 3.6e6,
        "cell_temperature": _as_floats(rows["probe"]),
        "file_cycle": rows["cycle"] + 1.0,
        "file_step": rows["step"].astype(np.float64),
    }
    return Columns(named, {}, np.arange(1, rows.size + 1), "row"), _metadata("", int(rows["date"][0]))


# -- other layouts ----------------------------------------------------------------------------------

_FASTNDA = (
    ("elapsed_time", "total_time_s", 1.0),
    ("cell_voltage", "voltage_V", 1.0),
    ("cell_current", "current_mA", 1e-3),
    ("cell_charge", "capacity_mAh", 1e-3),
    ("cell_energy", "energy_mWh", 1e-3),
    ("cell_temperature", "aux_temperature_degC", 1.0),
    ("file_cycle", "cycle_count", 1.0),
    ("file_step", "step_index", 1.0),
)


def _by_fastnda(path: Path, layout: UnknownLayout, remarks: list[str]) -> Columns:
    """Columns as the package fastnda reads them."""
    if importlib.util.find_spec("fastnda") is None:
        raise MeasurementError(
            "the layout of this Neware file is not known here",
            where=path,
            expected="version 17 of .ndax, or version 130 of .nda",
            found=str(layout),
            cure="pip install 'cathoscope[formats]', which reads more versions, or export the record as csv",
        ) from layout
    try:
        table = importlib.import_module("fastnda").read(path)
        named = {
            name: np.asarray(table[column].to_numpy(), dtype=np.float64) * factor
            for name, column, factor in _FASTNDA
            if column in table.columns
        }
    except Exception as error:  # whatever it raises on a damaged file
        raise _damaged(path, f"{layout}; fastnda: {error}") from error
    remarks.append(f"read by the package fastnda ({layout})")
    size = next(iter(named.values())).size if named else 0
    return Columns(named, {}, np.arange(1, size + 1), "row")
