"""Bio-Logic's text exports (``.mpt``): cycling and impedance of EC-Lab.

Schema
------
``elapsed_time``, ``cell_voltage``, ``cell_current``, ``cell_charge``, ``cell_energy``, ``cell_temperature``,
``file_cycle``, ``file_step`` (point), and of impedance ``frequency``, ``impedance_real``, ``impedance_imaginary``,
``sweep`` (point): those the export has. Further columns are ``other_column`` (other, point) with EC-Lab's names.

Uncertainties
-------------
None are stored in the files.

Metadata
--------
Attributes ``format``, ``source``, ``remarks`` and ``metadata``: the technique, start of the acquisition, and the lines
of the header.

File structure
--------------
The first line is ``EC-Lab ASCII FILE``, the second counts the lines of the header; the last of them has the names of
the columns. Fields are separated by tabs; the decimal sign is that of the computer's language. Letters are Latin-1.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import xarray as xr

from cathoscope.core.errors import MeasurementError
from cathoscope.io.cycler import Floats, cycler_dataset
from cathoscope.io.cycler_eclab import eclab_columns
from cathoscope.io.cycler_text import TextTable, decoded, read_content, table_below
from cathoscope.io.lazy import COPY_AGAIN

_SIGNATURE = re.compile(rb"(?:\xef\xbb\xbf)?(?:EC|BT)-Lab ASCII FILE")
_COUNT = re.compile(r"Nb header lines\s*:\s*(\d{1,6})")
_STARTED = re.compile(r"(?:Acquisition|Technique) started on\s*:\s*(.+)")
_SURE_NAMES = frozenset(("time/s", "freq/Hz", "Re(Z)/Ohm", "Ewe/V", "<Ewe>/V"))
_TECHNIQUE_LINE = 3
_TAB = ord("\t")


def recognise_mpt(path: Path) -> str | None:
    """None if the first line is that of EC-Lab's text exports, else the reason why not."""
    try:
        with path.open("rb") as file:
            begin = file.read(64)
    except OSError as error:
        return str(error)
    return None if _SIGNATURE.match(begin) else "the first line is not EC-Lab ASCII FILE"


def open_mpt(paths: Sequence[Path], angle_range: tuple[float, float] | None = None) -> xr.Dataset:
    """The export ``paths[0]`` (see the module's docstring).

    Parameters
    ----------
    paths
        The file.
    angle_range
        Not used: there are no projections.

    Raises
    ------
    MeasurementError
        If there is no table, it is damaged, or it is impedance without its frequencies.
    """
    table = _table(paths[0])
    remarks = list(table.remarks)
    raw = _raw_columns(table, remarks)
    if "Re(Z)/Ohm" in raw and "freq/Hz" not in raw:
        raise MeasurementError(
            "impedance without its frequencies",
            where=f"{table.path}, line {table.heading_line}",
            expected="a column freq/Hz",
            found=", ".join(table.names[:8]),
            cure="export the record again with the column freq/Hz",
        )
    columns = eclab_columns(raw, table.lines, "line", remarks)
    header = [line.strip() for line in table.above if line.strip()]
    metadata = {"technique": table.above[_TECHNIQUE_LINE].strip() if len(table.above) > _TECHNIQUE_LINE else ""}
    started = next((match.group(1).strip() for line in header if (match := _STARTED.match(line))), "")
    metadata |= {"started": started}
    found = {key: value for key, value in metadata.items() if value} | {"comments": header}
    return cycler_dataset(columns, table.path, remarks, format="mpt", metadata=found)


def read_mpt(path: Path) -> dict[str, Floats]:
    """Every column of a text export by EC-Lab's name, as it is printed, shape (n,).

    Raises
    ------
    MeasurementError
        See `open_mpt`.
    """
    return _raw_columns(_table(path), [])


def _table(path: Path) -> TextTable:
    content = read_content(path)
    lines = content.split(b"\n", 2)
    count = _COUNT.match(decoded(lines[1])) if len(lines) > 1 else None
    at = 0
    for number in range(1, int(count.group(1)) + 1 if count else 1):
        end = content.find(b"\n", at)
        if end < 0:
            raise _no_table(path, f"{number - 1} lines of {count.group(1) if count else 0} of the header")
        line, at = content[at:end], end + 1
    names = tuple(name for name in decoded(line).strip("\r\n").split("\t") if name.strip()) if at else ()
    if not _SURE_NAMES & set(names):
        raise _no_table(path, f"{count.group(0) if count else repr(decoded(lines[0])[:40])}, and no names there")
    return table_below(path, content, (int(count.group(1)) if count else 0, at, _TAB, names))


def _no_table(path: Path, found: str) -> MeasurementError:
    return MeasurementError(
        "the export is truncated or damaged",
        where=path,
        expected="a header as long as its second line says, that ends with the names of the columns",
        found=found,
        cure=COPY_AGAIN,
    )


def _raw_columns(table: TextTable, remarks: list[str]) -> dict[str, Floats]:
    raw: dict[str, Floats] = {}
    for position, name in enumerate(table.names[: len(table.starts)]):
        plain = name.replace("μ", "µ").strip()
        raw[plain if plain not in raw else f"{plain} ({position + 1})"], _ = table.checked_numbers(
            position, "line", remarks
        )
    return raw
