"""Text of balances and calorimeters: TA Instruments, Mettler-Toledo, Netzsch, PerkinElmer, and columns with names.

Schema
------
``elapsed_time``, ``sample_temperature`` and ``sample_mass`` or ``heat_flow`` (point).

Uncertainties
-------------
None are stored in the files.

Metadata
--------
Attributes ``format``, ``source``, ``remarks``, ``metadata`` with the words of the header, and ``sample_mass_stated``.

File structure
--------------
TA: ``Sig1 Time (min)`` and so on, ``StartOfData``, rows; rows that begin with a negative time mark segments. Mettler:
``Curve Name:``, ``Curve Values:``, a line of names, a line of units, rows. Netzsch: ``#KEY:value``, ``##`` with the
names, rows. PerkinElmer: ``Filename:``, and for every segment its title, two lines of names, rows. Columns: a line of
names with units above the numbers. Encodings are UTF-8, UTF-16 with its mark, or that of Western Windows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from cathoscope.core.errors import CathoscopeError, MeasurementError
from cathoscope.core.units import convert
from cathoscope.io.text import NUMBER, ended_at, no_text, numbers_in, rows_of, text_head, text_lines
from cathoscope.io.thermal import FEWEST_POINTS, Floats, ThermalTable, Up, is_thermal, thermal_dataset

_POINTS = re.compile(r"-?[\d.]+\.\d+\.\d+|\d+,\d+")  # with points between thousands, or a decimal comma
_COMMA = re.compile(r"\d,\d")
_NAME = re.compile(r"[A-Za-z]")
_SIGNAL = re.compile(r"^Sig(\d+)\s+(.*\S)")
_SEGMENT_OF_PERKIN = re.compile(r"^\d+\)\s+\S.*\b(?:Isothermal|Scan)\b")
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")


def recognise_thermal(path: Path) -> str | None:
    """None if the content is text of a balance or calorimeter, else the reason why not."""
    try:
        lines = text_head(path)
        if _vendor(lines) is not None:
            return None
        _, names, _ = _names_of_columns(lines)
    except MeasurementError as error:
        return f"{error.problem} ({error.found})"
    except OSError as error:
        return str(error)
    if not names:
        return "no words of TA, Mettler, Netzsch or PerkinElmer, and no names above columns of numbers"
    return None if is_thermal(names) else f"no temperature with a mass or a heat flow, but {', '.join(names)[:80]}"


def open_thermal(paths: Sequence[Path], angle_range: tuple[float, float] | None = None) -> xr.Dataset:
    """The record of the file ``paths[0]`` (see the module's docstring).

    Parameters
    ----------
    paths
        The file.
    angle_range
        Not used: there are no projections.

    Raises
    ------
    MeasurementError
        If the file is damaged or its columns are unclear.
    """
    path = paths[0]
    lines = text_lines(path)
    parse = _vendor(lines) or _columns
    return thermal_dataset(parse(lines, path), path)


_Parser = Callable[[list[str], Path], ThermalTable]


def _vendor(lines: list[str]) -> _Parser | None:
    """Who wrote the text, by its first words."""
    head = lines[:400]
    if any(_SIGNAL.match(line) for line in head):
        return _ta
    if any(line.startswith("Curve Values:") for line in head):
        return _mettler
    if any(line.startswith("##") and ";" in line for line in head) and any(
        line.startswith("#FORMAT:") for line in head
    ):
        return _netzsch
    if head and head[0].startswith("Filename:") and any(_SEGMENT_OF_PERKIN.match(line) for line in head):
        return _perkin
    return None


def _rows(
    lines: Sequence[str], first: int, width: int, path: Path, remarks: list[str], *, separator: str | None = None
) -> tuple[Floats, int]:
    """Rows of ``width`` numbers from line ``first`` on, and where they end; enough of them."""
    values, at = rows_of(lines, first, width, remarks, separator=separator)
    if len(values) < FEWEST_POINTS:
        raise no_text(path, f"{len(values)} rows of {width} numbers, then {ended_at(lines, at)}")
    return values, at


def _ta(lines: list[str], path: Path) -> ThermalTable:
    words = dict(_word(line) for line in lines[:400] if _word(line)[0])
    signals = [match[2] for match in map(_SIGNAL.match, lines[:400]) if match]
    start = next((k for k, line in enumerate(lines) if line.strip() == "StartOfData"), None)
    if start is None:
        raise no_text(path, "no line StartOfData")
    remarks: list[str] = []
    sound = [line for line in lines[start + 1 :] if line.strip()]
    values, at = _rows(sound, 0, len(signals), path, remarks)
    if at < len(sound):
        raise no_text(path, f"line {_line_number(lines, sound[at])}: {sound[at].strip()[:60]}")
    values = values[values[:, 0] >= 0]  # a negative time marks a segment
    size = words.get("Size", "").split()
    mass = _mass_of(size[0], size[1]) if len(size) == 2 else None
    up: Up | None = {"Up": "exothermic", "Down": "endothermic"}.get(words.get("Exotherm", ""))  # type: ignore[assignment]
    return ThermalTable(tuple(map(_readable, signals)), values, words, mass, up, tuple(remarks))


def _line_number(lines: list[str], line: str) -> int:
    return lines.index(line) + 1


def _readable(heading: str) -> str:
    """A heading whose degree sign an old code page has spoilt."""
    return re.sub(r"\((?:[^\x00-\x7f]|\ufffd)+C\)", "(C)", heading)


def _word(line: str) -> tuple[str, str]:
    key, _, value = line.partition("\t")
    return (key.strip(), value.strip()) if value.strip() and not NUMBER.fullmatch(key.strip()) else ("", "")


def _mass_of(value: str, unit: str) -> float | None:
    try:
        mass = convert(float(value), unit, "mass")
    except (ValueError, CathoscopeError):
        return None
    return mass if 0 < mass < 1e9 else None


def _mettler(lines: list[str], path: Path) -> ThermalTable:
    """The first curve of the file; that there are more is a remark."""
    starts = [k for k, line in enumerate(lines) if line.startswith("Curve Values:")]
    first = starts[0]
    if first + 3 >= len(lines):
        raise no_text(path, "the end of the file after Curve Values")
    names, units = lines[first + 1].split(), lines[first + 2].split()
    if len(units) == len(names) - 1:  # the index has no unit
        units = ["", *units]
    kind = " ".join(line.strip() for line in lines[max(0, first - 3) : first])
    headings = [f"{_mettler_name(name, kind)} {unit}".strip() for name, unit in zip(names, units, strict=False)]
    remarks: list[str] = []
    if len(starts) > 1:
        remarks.append(f"the first of {len(starts)} curves is read")
    values, _ = _rows(lines, first + 3, len(names), path, remarks)
    return ThermalTable(tuple(headings), values, {"curve": kind}, None, _mettler_up(lines), tuple(remarks))


def _mettler_name(name: str, kind: str) -> str:
    if name != "Value":
        return name
    return "Heat Flow" if re.search(r"heat\s*flow|dsc", kind, re.IGNORECASE) else "Weight"


def _mettler_up(lines: Sequence[str]) -> Up | None:
    text = "\n".join(lines[:60])
    return "exothermic" if "^exo" in text else "endothermic" if "^endo" in text else None


def _netzsch(lines: list[str], path: Path) -> ThermalTable:
    words = {}
    for line in lines:
        if line.startswith("##"):
            break
        if line.startswith("#") and ":" in line:
            key, _, value = line[1:].partition(":")
            words[key.strip()] = value.strip()
    at = next(k for k, line in enumerate(lines) if line.startswith("##"))
    separator = {"SEMICOLON": ";", "COMMA": ",", "TAB": "\t"}.get(words.get("SEPARATOR", "SEMICOLON"), ";")
    decimal = "," if words.get("DECIMAL", "POINT") == "COMMA" else "."
    headings = tuple(part.strip() for part in lines[at][2:].split(separator))
    if decimal == ",":
        lines = [line.replace(",", ".") for line in lines]
    remarks: list[str] = []
    values, _ = _rows(lines, at + 1, len(headings), path, remarks, separator=separator)
    mass = _mass_of(words.get("SAMPLE MASS /mg", "").replace(",", "."), "mg")
    exo = words.get("EXO", "")
    up: Up | None = {"1": "exothermic", "-1": "endothermic"}.get(exo)  # type: ignore[assignment]
    return ThermalTable(headings, values, words, mass, up, tuple(remarks))


def _perkin(lines: list[str], path: Path) -> ThermalTable:
    """All segments one after the other; the first has the names of all."""
    words = {
        key.strip(): value.strip() for key, _, value in (line.partition(":\t") for line in lines[:40]) if value.strip()
    }
    names: list[str] = []
    pieces: list[Floats] = []
    remarks: list[str] = []
    for at, line in enumerate(lines):
        if not _SEGMENT_OF_PERKIN.match(line) or at + 3 >= len(lines) or not lines[at + 1].startswith("\t"):
            continue
        first = at + 1
        if numbers_in(lines[first]) is None:
            upper, lower = (lines[first + k].split("\t")[1:] for k in (0, 1))
            names = [f"{a.strip()} {b.strip()}".strip() for a, b in zip(upper, lower, strict=False)]
            first += 2
        if not names:
            raise no_text(path, f"no names of columns below line {at + 1}")
        pieces.append(_rows(lines, first, len(names), path, remarks)[0])
    if not pieces or len({piece.shape[1] for piece in pieces}) > 1:
        raise no_text(path, "no segments with their names and numbers")
    size = words.get("Sample Weight", "").split()
    mass = _mass_of(size[0], size[1]) if len(size) == 2 else None
    # the program draws endothermic up, times in minutes, mW and mg
    return ThermalTable(tuple(names), np.concatenate(pieces), words, mass, "endothermic", tuple(remarks))


def _columns(lines: list[str], path: Path) -> ThermalTable:
    at, names, separator = _names_of_columns(lines)
    if not names:
        raise no_text(path, "no names above columns of numbers")
    _check_points(lines[at + 1], at + 2, path)
    if separator != "," and any(_COMMA.search(line) for line in lines[at + 1 : at + 100]):
        lines = [line.replace(",", ".") for line in lines]
    remarks: list[str] = []
    values, end = _rows(lines, at + 1, len(names), path, remarks, separator=separator)
    rest = [line for line in lines[end:] if line.strip()]
    if rest:
        raise no_text(path, f"line {end + 1}: {rest[0].strip()[:60]}")
    comments = [line.strip() for line in lines[:at] if line.strip()]
    metadata = {"comments": "\n".join(comments)} if comments else {}
    return ThermalTable(tuple(names), values, metadata, None, None, tuple(remarks))


def _check_points(line: str, number: int, path: Path) -> None:
    if re.search(r"\d\.\d+\.\d", line):
        raise MeasurementError(
            "numbers have more than one decimal point",
            where=f"{path}, line {number}",
            expected="numbers such as 50.026",
            found=line.strip()[:60],
            cure="a spreadsheet has set points between thousands and lost the decimal one; export the record again",
        )


def _names_of_columns(lines: Sequence[str]) -> tuple[int, list[str], str | None]:
    """Line of the names above the first numbers, the names and what separates them; no names if there are none."""
    for at, line in enumerate(lines[1:200], start=1):
        for separator in ("\t", ";", ","):
            fields = [part.strip() for part in line.split(separator)]
            if len(fields) < 2 or not all(NUMBER.fullmatch(part) or _POINTS.fullmatch(part) for part in fields if part):
                continue
            names = [part.strip() for part in _CONTROLS.sub("", lines[at - 1]).split(separator)]
            if len(names) == len(fields) and any(_NAME.search(name) for name in names):
                return at - 1, names, separator
    return 0, [], None
