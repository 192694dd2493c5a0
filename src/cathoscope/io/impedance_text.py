"""Impedance spectra as text: Gamry, ZPlot, CH Instruments, VersaStudio, Autolab, Parstat, PowerSuite, plain columns.

Schema
------
``frequency``, ``impedance_real``, ``impedance_imaginary``, ``sweep`` (point), and where the file has them
``elapsed_time``, ``cell_voltage``, ``cell_current`` (point). Further columns of numbers are ``other_column`` (other,
point). Points stand in the order of the file.

Uncertainties
-------------
None are stored in the files.

Metadata
--------
Attributes ``format``, ``layout``, ``source``, ``remarks``, ``metadata``: the lines above the table.

File structure
--------------
Gamry: ``EXPLAIN``, tables ``ZCURVE`` with a line of names, one of units and lines that begin with a tab; a file may
have several, each a sweep. ZPlot: ``ZPLOT2 ASCII`` and names before ``End Comments``, or ``Z60W Data File`` (Autolab
writes it) and names in quotes. VersaStudio: ``<Segment1>`` with ``Definition=`` before the rows. All others are a line
of names that tell frequency and impedance (both parts, or modulus and phase), then rows; without any names three
columns, of which the first rises or falls over a hundredfold in even ratios. Rows at a frequency of
zero are records of direct current and are left out, with a remark.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import xarray as xr

from cathoscope.core.errors import MeasurementError
from cathoscope.io.cycler import Columns, cycler_dataset, sweeps_of
from cathoscope.io.impedance_names import MODULUS, PHASE, meanings_of
from cathoscope.io.lazy import COPY_AGAIN
from cathoscope.io.spectra_text import HEAD_BYTES, check_is_text

_MOST_ABOVE = 400
_LONGEST_LINE = 20_000
_MOST_METADATA = 60
_BARE_ROWS, _BARE_SPAN = 5, 100.0  # rows of three bare columns, and the ratio of the frequencies, at least
_BARE_STEPS = 2.0  # factor by which the ratios of neighbouring frequencies may differ
_MOST_CELLS = 5_000_000
_ZPLOT, _GAMRY, _VERSASTUDIO = ("ZPLOT2 ASCII", '"Z60W Data File'), "EXPLAIN", "<Application>"
_LINE_ENDS = re.compile(r"\r*\n|\r")
_ZCURVE = re.compile(r"ZCURVE\d*\tTABLE")


@dataclass
class _Table:
    """Names, units and rows of one table, each row with its line from 1."""

    names: list[str]
    units: list[str]
    rows: list[list[str]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    cut: int = 0


@dataclass(frozen=True)
class _Found:
    layout: str
    tables: list[_Table]
    above: list[str]
    remarks: list[str]


def recognise_impedance(path: Path) -> str | None:
    """None if the content is an impedance spectrum as text, else the reason why not."""
    try:
        check_is_text(path)
        with path.open("rb") as file:
            begin = file.read(HEAD_BYTES)
            whole = len(begin) < HEAD_BYTES or begin.lstrip().startswith((b"EXPLAIN", b"<Application>"))
            lines = _lines_of(begin + file.read() if whole else begin)
        _found(lines if whole else lines[:-1], path, head=True)
    except MeasurementError as error:
        return f"{error.problem} ({error.found})"
    except OSError as error:
        return str(error)
    return None


def open_impedance(paths: Sequence[Path], angle_range: tuple[float, float] | None = None) -> xr.Dataset:
    """The spectra of the file ``paths[0]`` (see the module's docstring).

    Parameters
    ----------
    paths
        The file.
    angle_range
        Not used: there are no projections.

    Raises
    ------
    MeasurementError
        If the file has no impedance, is damaged before its end, or has no point at a positive frequency.
    """
    path = paths[0]
    check_is_text(path)
    try:
        lines = _lines_of(path.read_bytes())
    except OSError as error:
        raise MeasurementError("the file cannot be read", where=path, found=str(error)) from error
    found = _found(lines, path)
    remarks = list(found.remarks)
    columns = _joined([_columns(table, path, remarks) for table in found.tables], remarks)
    columns = _at_frequencies(columns, path, remarks)
    metadata = [line.strip() for line in found.above if line.strip()][:_MOST_METADATA]
    return cycler_dataset(columns, path, remarks, format="impedance", layout=found.layout, metadata={"lines": metadata})


def _lines_of(content: bytes) -> list[str]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    return _LINE_ENDS.split(text)


# -- where the tables are -----------------------------------------------------------------------------


def _found(lines: list[str], path: Path, *, head: bool = False) -> _Found:
    """Layout and tables of a text; of its begin alone with ``head``."""
    first = lines[0].strip() if lines else ""
    if first.startswith("EC-Lab ASCII FILE"):
        raise _no_impedance(path, "an export of EC-Lab")
    if first.startswith(_GAMRY):
        return _gamry(lines, path, head)
    if first.startswith(_VERSASTUDIO):
        return _versastudio(lines, path, head)
    return _table(lines, path, "zplot" if first.startswith(_ZPLOT) else "columns", head)


def _no_impedance(path: Path, found: str) -> MeasurementError:
    return MeasurementError(
        "no impedance over frequency",
        where=path,
        expected="columns of frequency and of the real and imaginary part, or modulus and phase, of the impedance",
        found=found,
        cure="name the columns in the line above the numbers:  frequency/Hz, Re(Z)/ohm, Im(Z)/ohm",
    )


def _gamry(lines: list[str], path: Path, head: bool) -> _Found:
    starts = [number for number, line in enumerate(lines) if _ZCURVE.match(line)]
    if not starts:
        raise _no_impedance(path, "a file of Gamry without a table ZCURVE")
    tables = []
    for start in starts:
        names, units = (line.split("\t") for line in [*lines[start + 1 : start + 3], "", ""][:2])
        table = _Table(names, units)
        for number in range(start + 3, len(lines)):
            if not lines[number].startswith("\t") or not lines[number].strip():
                break
            _take(table, lines[number].split("\t"), number, path, last=head or number >= len(lines) - 2)
        tables.append(table)
    return _Found("gamry", _with_impedance(tables, path), lines[: starts[0]][:_MOST_METADATA], [])


def _versastudio(lines: list[str], path: Path, head: bool) -> _Found:
    tables: list[_Table] = []
    table = None
    for number, line in enumerate(lines):
        if line.startswith("Definition="):
            table = _Table([name.strip() for name in line.removeprefix("Definition=").split(",")], [])
            tables.append(table)
        elif line.startswith("<"):
            table = None
        elif table is not None and line.strip():
            _take(table, line.split(","), number, path, last=head or number >= len(lines) - 2)
    known = [table for table in tables if meanings_of(table.names) is not None]
    if not known:
        raise _no_impedance(path, "a file of VersaStudio without a segment of impedance")
    return _Found("versastudio", _with_impedance(known, path), lines[:_MOST_METADATA], [])


def _with_impedance(tables: list[_Table], path: Path) -> list[_Table]:
    kept = [table for table in tables if table.rows and meanings_of(table.names, table.units) is not None]
    if not kept:
        raise _no_impedance(path, f"{len(tables)} tables without rows, or names {', '.join(tables[0].names)[:80]}")
    return kept


def _table(lines: list[str], path: Path, layout: str, head: bool) -> _Found:
    """A line of names and rows, or three bare columns."""
    for number, line in enumerate(lines[:_MOST_ABOVE]):
        for separator in _separators(line):
            names = _split(line, separator)
            if len(names) > 2 and len(line) < _LONGEST_LINE and meanings_of(names) is not None:
                first, step = _first_row(lines, number, len(names))
                if first is None:
                    continue
                table = _Table(names, [])
                _take_rows(table, lines, first, step, path, head)
                if table.rows:
                    return _Found(layout if layout == "zplot" else _maker(lines[0]), [table], lines[:number], [])
    return _bare(lines, path, head)


def _maker(first: str) -> str:
    return "columns" if "," in first or "\t" in first else "named columns"


def _separators(line: str) -> Iterator[str]:
    if '"  ' in line or line.startswith('"  '):
        yield "  "
    for separator in ("\t", ";", ","):
        if separator in line:
            yield separator
    yield "  "
    yield " "


def _split(line: str, separator: str) -> list[str]:
    if separator.strip(" ") or separator == "\t":
        return [part.strip() for part in line.rstrip(separator + " ").split(separator)]
    return re.split(r"\s{2,}" if separator == "  " else r"\s+", line.strip().strip('"').strip())


def _first_row(lines: list[str], heading: int, columns: int) -> tuple[int | None, str]:
    """The line of the first row below a heading, and what separates its numbers; up to three lines lie between."""
    for number in range(heading + 1, min(heading + 5, len(lines))):
        for separator in ("\t", ";", ",", " "):
            fields = _split(lines[number], separator) if separator in lines[number] else []
            if 2 < len(fields) <= columns and sum(_number(one) is not None for one in fields) > 2:
                return number, separator
    return None, ""


def _take_rows(table: _Table, lines: list[str], first: int, separator: str, path: Path, head: bool) -> None:
    for number in range(first, len(lines)):
        if lines[number].strip():
            last = head or not any(line.strip() for line in lines[number + 1 : number + 3])
            _take(table, _split(lines[number], separator), number, path, last=last)
        if head and len(table.rows) > 2:
            return


def _bare(lines: list[str], path: Path, head: bool) -> _Found:
    """Three columns without names: frequency, real and imaginary part."""
    start = next(
        (n for n, line in enumerate(lines[:_MOST_ABOVE]) if line.strip() and line.lstrip()[0] not in "#%*!"), 0
    )
    for separator in ("\t", ";", ",", " "):
        fields = _split(lines[start], separator) if lines and separator in lines[start] else []
        if len(fields) == 3 and all(_number(one) is not None for one in fields):
            break
    else:
        raise _no_impedance(path, f"no names of frequency and impedance; {lines[start][:60]!r}" if lines else "nothing")
    table = _Table(["frequency", "z'", "z''"], [])
    _take_rows(table, lines, start, separator, path, head=False)
    kept = [[_number(one) for one in row[:3]] for row in table.rows]
    values = np.array([[np.nan if one is None else one for one in row] for row in kept if len(row) == 3])
    steps = np.diff(values[:, 0]) if len(values) >= _BARE_ROWS else np.zeros(1)
    positive = len(values) >= _BARE_ROWS and bool(np.all(values[:, 0] > 0))
    if not positive or not (np.all(steps > 0) or np.all(steps < 0)):
        raise _no_impedance(path, "three columns without names, of which the first does not rise or fall throughout")
    steps = np.abs(np.diff(np.log(values[:, 0])))
    even = float(np.mean(np.abs(np.log(steps / np.median(steps))) < np.log(_BARE_STEPS)))
    if steps.sum() < np.log(_BARE_SPAN) or even < 0.85 or np.mean(values[:, 1] > 0) < 0.5:
        raise _no_impedance(path, "three columns without names that do not look like frequency and impedance")
    remark = "the columns have no names: they are taken as frequency (Hz), real and imaginary part (ohm)"
    return _Found("columns without names", [table], lines[:start], [remark])


# -- numbers ------------------------------------------------------------------------------------------


def _number(text: str) -> float | None:
    """A number, with a decimal point or comma; None if it is none."""
    plain = text.strip()
    if not plain or "_" in plain:
        return None
    try:
        return float(plain)
    except ValueError:
        pass
    try:
        return float(plain.replace(",", ".")) if plain.count(",") == 1 else None
    except ValueError:
        return None


def _take(table: _Table, fields: list[str], number: int, path: Path, *, last: bool) -> None:
    """Append a row; one that is damaged is the last, or refused."""
    meanings = meanings_of(table.names, table.units)
    needed = [place for role, (place, _) in (meanings or {}).items() if role in _NEEDED]
    if meanings is not None and any(place >= len(fields) or _number(fields[place]) is None for place in needed):
        if not last:
            raise MeasurementError(
                "a line among the numbers is damaged",
                where=f"{path}, line {number + 1}",
                expected=f"{len(table.names)} numbers",
                found=repr("\t".join(fields)[:80]),
                cure=COPY_AGAIN,
            )
        table.cut = number + 1
        return
    if len(table.rows) * len(table.names) > _MOST_CELLS:
        raise _no_impedance(path, f"more than {_MOST_CELLS} numbers")
    table.rows.append(fields)
    table.lines.append(number + 1)


_NEEDED = ("frequency", "impedance_real", "impedance_imaginary", MODULUS, PHASE)


def _columns(table: _Table, path: Path, remarks: list[str]) -> Columns:
    """The columns of one table by the names of the schema."""
    if table.cut:
        remarks.append(f"the last line, {table.cut}, is incomplete and is left out")
    width = len(table.names)
    values = np.full((width, len(table.rows)), np.nan)
    for k, row in enumerate(table.rows):
        numbers = [_number(one) for one in row[:width]]
        values[: len(numbers), k] = [np.nan if one is None else one for one in numbers]
    roles = meanings_of(table.names, table.units) or {}
    named = {role: values[place] * factor for role, (place, factor) in roles.items() if role not in (MODULUS, PHASE)}
    if "impedance_real" not in named or "impedance_imaginary" not in named:
        modulus, angle = (values[roles[role][0]] * roles[role][1] for role in (MODULUS, PHASE))
        with np.errstate(all="ignore"):
            named["impedance_real"] = modulus * np.cos(np.deg2rad(angle))
            named["impedance_imaginary"] = modulus * np.sin(np.deg2rad(angle))
        used = {place for place, _ in roles.values()}
        remarks.append("real and imaginary part are from modulus and phase")
    else:
        used = {place for role, (place, _) in roles.items() if role not in (MODULUS, PHASE)}
    others = {
        name: values[place]
        for place, name in enumerate(table.names)
        if place not in used and name.strip() and np.isfinite(values[place]).any()
    }
    return Columns(named, others, np.array(table.lines, dtype=np.int64))


def _joined(parts: list[Columns], remarks: list[str]) -> Columns:
    """Tables one after the other, each a sweep or several; what not all have is left out."""
    named = {name: np.concatenate([one.named[name] for one in parts]) for name in _common([one.named for one in parts])}
    others = {
        name: np.concatenate([one.others[name] for one in parts]) for name in _common([one.others for one in parts])
    }
    places = np.concatenate([one.places for one in parts])
    if len(parts) > 1:
        remarks.append(f"the file has {len(parts)} tables of impedance, which are its sweeps")
        named["sweep"] = np.repeat(np.arange(1.0, len(parts) + 1), [one.places.size for one in parts])
    elif "sweep" in named:
        named["sweep"] = np.unique(named["sweep"], return_inverse=True)[1] + 1.0
    time = named.get("elapsed_time")
    if time is not None and not (np.diff(time) >= 0).all():
        others["time of the file"] = named.pop("elapsed_time")
        remarks.append("the time begins anew, or runs back; it is kept as a further column")
    return Columns(named, others, places)


def _common(parts: Sequence[object]) -> list[str]:
    first, *rest = [list(part) for part in parts]  # type: ignore[call-overload]
    return [name for name in first if all(name in other for other in rest)]


def _at_frequencies(columns: Columns, path: Path, remarks: list[str]) -> Columns:
    """Rows with a positive frequency and a finite impedance, and the sweep of each."""
    frequency, real, imaginary = (columns.named[name] for name in _NEEDED[:3])
    below = ~(frequency > 0)
    if below.any():
        remarks.append(f"{int(below.sum())} of {below.size} rows have no frequency above zero and are left out")
    unknown = ~below & ~(np.isfinite(real) & np.isfinite(imaginary) & np.isfinite(frequency))
    if unknown.any():
        remarks.append(f"{int(unknown.sum())} of {below.size} impedances are no numbers and are left out")
    kept = np.flatnonzero(~below & ~unknown)
    if not kept.size:
        raise MeasurementError(
            "no point of the spectrum is at a frequency above zero",
            where=path,
            expected="frequencies in Hz",
            found=f"{frequency.size} rows",
            cure="check which column is the frequency",
        )
    columns = columns.rows(kept)
    if "sweep" not in columns.named:
        columns = Columns(
            {**columns.named, "sweep": sweeps_of(columns.named["frequency"])}, columns.others, columns.places
        )
    if np.mean(columns.named["impedance_imaginary"] > 0) > 0.8:
        remarks.append("the imaginary part is above zero, as of an inductor; some programs write -Im(Z)")
    return columns
