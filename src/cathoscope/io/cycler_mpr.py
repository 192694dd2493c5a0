"""Bio-Logic's binary records (``.mpr``): cycling and impedance of EC-Lab.

Schema
------
``elapsed_time``, ``cell_voltage``, ``cell_current``, ``cell_charge``, ``cell_energy``, ``file_cycle``, ``file_step``
(point), and of impedance ``frequency``, ``impedance_real``, ``impedance_imaginary``, ``sweep`` (point): those the
record has. Further columns are ``other_column`` (other, point) with EC-Lab's names and units; a column that is not
known is kept as ``column N`` by its number.

Uncertainties
-------------
None are stored in the files.

Metadata
--------
Attributes ``format``, ``source``, ``remarks`` and ``metadata``: technique, start of the acquisition, comment.

File structure
--------------
After a signature of 52 bytes modules follow each other: ``MODULE``, a short and a long name, the length, a version, a
date. A length of 2^32 - 1 means a newer header, in which length and version come 4 and 12 bytes later. The module
``VMP data`` has the number of rows, that of columns and the columns' numbers, and from a byte on that depends on the
version records of one width. Flags share the first byte of a record.
"""

from __future__ import annotations

import datetime
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.io.cycler import Floats, cycler_dataset
from cathoscope.io.cycler_eclab import eclab_columns
from cathoscope.io.cycler_mpr_columns import column_of, places_of, record_width
from cathoscope.io.lazy import COPY_AGAIN

_SIGNATURE = b"BIO-LOGIC MODULAR FILE"
_FIRST_MODULE = 52
_MODULE = b"MODULE"
_OLD_HEADER, _NEW_HEADER = 57, 65
_NEW_MARK = 0xFFFFFFFF
_NEW_VERSIONS = 10  # from this version of the module on columns are counted in two bytes
_FIRST_RECORD = {2: 405, 3: 406, 11: 1007}
_START_IN_LOG = 585
_DAY_ZERO = datetime.datetime(1899, 12, 30)  # noqa: DTZ001  local time of the instrument, as it is stored
_DAYS = (20_000.0, 80_000.0)
_COMMENT_IN_SETTINGS = 7
# First byte of the settings, and the technique that text exports of the same records name.
_TECHNIQUES = {
    4: "Galvanostatic Cycling with Potential Limitation",
    29: "Potentio Electrochemical Impedance Spectroscopy",
    30: "Galvano Electrochemical Impedance Spectroscopy",
    50: "IR compensation (PEIS)",
    118: "Constant Current",
    127: "Modulo Bat",
}
_MOST_BYTES = 2**31


@dataclass(frozen=True)
class Module:
    """A part of the file.

    Parameters
    ----------
    version
        Of its layout.
    content
        Its bytes; fewer than ``length`` where the file was cut.
    length
        Bytes that it should have.
    """

    version: int
    content: memoryview
    length: int


def recognise_mpr(path: Path) -> str | None:
    """None if the file begins as EC-Lab's binary records do, else the reason why not."""
    try:
        with path.open("rb") as file:
            begin = file.read(len(_SIGNATURE))
    except OSError as error:
        return str(error)
    return None if begin == _SIGNATURE else f"the file does not begin with {_SIGNATURE.decode()}"


def open_mpr(paths: Sequence[Path], angle_range: tuple[float, float] | None = None) -> xr.Dataset:
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
        If the file is damaged or has no rows.
    """
    path = paths[0]
    remarks: list[str] = []
    modules = _modules(path)
    raw = _raw_columns(path, modules, remarks)
    n_rows = next(iter(raw.values())).size
    columns = eclab_columns(raw, np.arange(1, n_rows + 1), "row", remarks)
    return cycler_dataset(columns, path, remarks, format="mpr", metadata=_metadata(modules))


def read_mpr(path: Path) -> dict[str, Floats]:
    """Every column of a binary record by EC-Lab's name, as it is stored, shape (n,).

    Raises
    ------
    MeasurementError
        See `open_mpr`.
    """
    return _raw_columns(path, _modules(path), [])


def _damaged(path: Path, found: str) -> MeasurementError:
    return MeasurementError(
        "the record is truncated or damaged",
        where=path,
        expected="a module VMP data with rows and columns",
        found=found,
        cure=COPY_AGAIN,
    )


def _modules(path: Path) -> dict[str, Module]:
    """The modules by their short names, as far as the file goes."""
    if path.stat().st_size > _MOST_BYTES:
        raise _damaged(path, f"{path.stat().st_size} bytes")
    content = memoryview(path.read_bytes())
    modules: dict[str, Module] = {}
    at = _FIRST_MODULE
    while at + _NEW_HEADER <= len(content) and content[at : at + len(_MODULE)] == _MODULE:
        name = bytes(content[at + 6 : at + 16]).decode("latin-1").strip()
        length, version = struct.unpack_from("<II", content, at + 41)
        begin = at + _OLD_HEADER
        if length == _NEW_MARK:
            length, _, version = struct.unpack_from("<III", content, at + 45)
            begin = at + _NEW_HEADER
        modules.setdefault(name, Module(version, content[begin : begin + length], length))
        at = begin + length
    return modules


def _raw_columns(path: Path, modules: dict[str, Module], remarks: list[str]) -> dict[str, Floats]:
    if "VMP data" not in modules:
        raise _damaged(path, f"modules {', '.join(modules) or 'none'}")
    module = modules["VMP data"]
    numbers, n_rows = _head(path, module)
    first, width = _layout(path, module, numbers, n_rows, remarks)
    there = min(n_rows, max(0, len(module.content) - first) // width)
    if there < n_rows:
        remarks.append(f"the file is cut: {there} of {n_rows} rows are there")
    if there == 0:
        raise _damaged(path, f"0 of {n_rows} rows")
    records: NDArray[np.uint8] = np.frombuffer(module.content, np.uint8, there * width, first).reshape(there, width)
    columns = {place.name: column_of(place, records) for place in places_of(numbers, records, remarks)}
    if not columns:
        raise _damaged(path, f"no column that is known in records of {width} bytes")
    return columns


def _head(path: Path, module: Module) -> tuple[tuple[int, ...], int]:
    """Numbers of the columns, and how many rows there should be."""
    counted_in = "<IH" if module.version >= _NEW_VERSIONS else "<IB"
    try:
        n_rows, n_columns = struct.unpack_from(counted_in, module.content)
        numbers = struct.unpack_from(f"<{n_columns}H", module.content, struct.calcsize(counted_in))
    except struct.error as error:
        raise _damaged(path, f"a module VMP data of {len(module.content)} bytes") from error
    if n_rows == 0 or not numbers:
        raise _damaged(path, f"{n_rows} rows of {n_columns} columns")
    return numbers, n_rows


def _layout(path: Path, module: Module, numbers: Sequence[int], n_rows: int, remarks: list[str]) -> tuple[int, int]:
    """First byte of the records and their width, from the module's version or, if that is new, from the columns."""
    first = _FIRST_RECORD.get(module.version)
    if first is not None and module.length > first and (module.length - first) % n_rows == 0:
        return first, (module.length - first) // n_rows
    width = record_width(numbers)
    if width is None or not 0 < width * n_rows < module.length:
        raise _damaged(path, f"{n_rows} rows in {module.length} bytes of version {module.version}")
    remarks.append(f"version {module.version} of the module is not known: records are told from the columns' widths")
    return module.length - width * n_rows, width


def _metadata(modules: dict[str, Module]) -> dict[str, Any]:
    """What the settings and the log say; an absent or short module says nothing."""
    found: dict[str, Any] = {}
    settings = modules["VMP Set"].content if "VMP Set" in modules else memoryview(b"")
    if len(settings) > _COMMENT_IN_SETTINGS:
        found["technique"] = _TECHNIQUES.get(settings[0], f"number {settings[0]}")
        length = settings[_COMMENT_IN_SETTINGS]
        begin = _COMMENT_IN_SETTINGS + 1
        comment = bytes(settings[begin : begin + length]).decode("latin-1").strip("\0 ")
        if comment.isprintable() and comment:
            found["comment"] = comment
    log = modules["VMP LOG"].content if "VMP LOG" in modules else memoryview(b"")
    if len(log) >= _START_IN_LOG + 8:
        (days,) = struct.unpack_from("<d", log, _START_IN_LOG)
        if math.isfinite(days) and _DAYS[0] < days < _DAYS[1]:
            found["started"] = (_DAY_ZERO + datetime.timedelta(days=days)).isoformat(" ", "milliseconds")
    return found
