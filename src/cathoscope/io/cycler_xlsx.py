"""Workbooks of battery cyclers (``.xlsx``): LAND, Arbin, Neware, and any sheet with such names.

Schema
------
As `cycler_table`: ``elapsed_time``, ``cell_voltage``, ``cell_current`` (point), and where a sheet has them
``cell_charge``, ``cell_energy``, ``cell_temperature``, ``file_cycle``, ``file_step`` (point); other numbers are
``other_column`` (other, point).

Uncertainties
-------------
None are stored in the files.

Metadata
--------
As `cycler_table`.

File structure
--------------
A ZIP archive of XML (ECMA-376): ``xl/workbook.xml`` lists the sheets, ``xl/sharedStrings.xml`` has the texts, each
sheet its rows of cells, whose values are numbers, places in the list of texts, or texts. The first sheet whose names
have a time and a voltage is read, with the sheets behind it that have the same names, as programs write that split long
records. A sheet is taken as a text with tabs between its cells and read as `cycler_table` reads it.
"""

from __future__ import annotations

import html
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import xarray as xr

from cathoscope.core.errors import MeasurementError
from cathoscope.io.archive import ZIP, BrokenArchive, member, open_archive
from cathoscope.io.cycler_names import is_cycler_heading, meanings_of
from cathoscope.io.cycler_table import table_dataset, with_units
from cathoscope.io.cycler_text import TextTable, find_heading, not_a_table, table_below
from cathoscope.io.lazy import COPY_AGAIN

_WORKBOOK = "xl/workbook.xml"
_TEXTS = "xl/sharedStrings.xml"
_MOST_BYTES = 2**30
_MOST_COLUMNS = 200
_MOST_HEAD_ROWS = 60
_SHEET = re.compile(r"<sheet\b([^>]*)>")
_RELATION = re.compile(r"<Relationship\b([^>]*)>")
_ROW = re.compile(r"<row\b([^>]*?)(?:/>|>(.*?)</row>)", re.DOTALL)
_CELL = re.compile(r"<c\b([^>]*?)(?:/>|>(.*?)</c>)", re.DOTALL)
_PLAIN_CELL = re.compile(
    r'<c r="([A-Z]{1,3})\d+"(?: s="\d+")?(?: t="(\w+)")?>\s*(?:<v>([^<]*)</v>|<is><t>([^<]*)</t></is>)\s*</c>'
)
_VALUE = re.compile(r"<v\b[^>]*>([^<]*)</v>")
_TEXT = re.compile(r"<t\b[^>]*?(?:/>|>([^<]*)</t>)")
_ITEM = re.compile(r"<si\b[^>]*?(?:/>|>(.*?)</si>)", re.DOTALL)
_PLACE = re.compile(r"\br=\"([A-Z]{1,3})(\d{1,7})\"")
_ROW_NUMBER = re.compile(r"\br=\"(\d{1,7})\"")
_KIND = re.compile(r"\bt=\"(\w+)\"")


@dataclass(frozen=True)
class Sheet:
    """A sheet as text.

    Parameters
    ----------
    name
        As the workbook calls it.
    content
        Its cells with tabs between them, a line for each row of the sheet, those that are not stored as blank lines.
    """

    name: str
    content: bytes


def recognise_xlsx(path: Path) -> str | None:
    """None if the file is a workbook with a sheet that names a time and a voltage, else the reason why not."""
    try:
        with path.open("rb") as file:
            if file.read(len(ZIP)) != ZIP:
                return "the file does not begin as a ZIP archive"
        with open_archive(path) as archive:
            if _WORKBOOK not in archive.namelist():
                return f"the archive has no {_WORKBOOK}"
            for sheet in _sheets(archive, _MOST_HEAD_ROWS):
                if find_heading(sheet.content, is_cycler_heading):
                    return None
    except (BrokenArchive, OSError) as error:
        return f"the workbook cannot be read: {error}"
    return "no row of any sheet names a time and a voltage"


def open_xlsx(paths: Sequence[Path], angle_range: tuple[float, float] | None = None) -> xr.Dataset:
    """The workbook ``paths[0]`` (see the module's docstring).

    Parameters
    ----------
    paths
        The file.
    angle_range
        Not used: there are no projections.

    Raises
    ------
    MeasurementError
        If the workbook is damaged, or its table is no good; see `cycler_table`.
    """
    table = with_units(read_workbook(paths[0], is_cycler_heading))
    return table_dataset(table, meanings_of(table.names), "row", format="cycler_xlsx")


def read_workbook(path: Path, is_heading: Callable[[Sequence[str]], bool]) -> TextTable:
    """The table of a workbook: that of the first sheet with a heading, and of those behind it with the same.

    Raises
    ------
    MeasurementError
        If the workbook is damaged or has no such sheet.
    """
    try:
        with open_archive(path) as archive:
            sheets = list(_sheets(archive))
    except BrokenArchive as error:
        raise MeasurementError(
            "the workbook is truncated or damaged", where=path, expected="a workbook", found=str(error), cure=COPY_AGAIN
        ) from error
    found = [(sheet, heading) for sheet in sheets if (heading := find_heading(sheet.content, is_heading))]
    if not found:
        raise not_a_table(path, f"sheets {', '.join(sheet.name for sheet in sheets) or 'none'}")
    first, heading = found[0]
    alike = [(sheet, other) for sheet, other in found[1:] if other[3] == heading[3]]
    content = first.content + b"".join(sheet.content[other[1] :] for sheet, other in alike)
    table = table_below(path, content, heading)
    if alike:
        names = ", ".join(sheet.name for sheet in (first, *(sheet for sheet, _ in alike)))
        table.remarks.append(f"sheets {names} are one record; rows are counted on")
    elif len(sheets) > 1:
        table.remarks.append(f"of {len(sheets)} sheets {first.name} is read")
    return table


def _member(archive: zipfile.ZipFile, name: str) -> str:
    return member(archive, name, _MOST_BYTES).decode("utf-8", errors="replace")


def _sheets(archive: zipfile.ZipFile, most_rows: int | None = None) -> Iterator[Sheet]:
    """The sheets in the order of the workbook."""
    names = set(archive.namelist())
    targets = _targets(_member(archive, "xl/_rels/workbook.xml.rels")) if "xl/_rels/workbook.xml.rels" in names else {}
    texts = _texts(_member(archive, _TEXTS)) if _TEXTS in names else []
    for attributes in _SHEET.findall(_member(archive, _WORKBOOK)):
        member = targets.get(_attribute(attributes, "r:id"), "")
        if member in names:
            yield Sheet(
                html.unescape(_attribute(attributes, "name")), _as_text(_member(archive, member), texts, most_rows)
            )


def _attribute(attributes: str, name: str) -> str:
    match = re.search(rf'(?:^|\s){name}="([^"]*)"', attributes)
    return match.group(1) if match else ""


def _targets(relations: str) -> dict[str, str]:
    """Path in the archive of each relation."""
    found = {}
    for attributes in _RELATION.findall(relations):
        target = _attribute(attributes, "Target")
        found[_attribute(attributes, "Id")] = target[1:] if target.startswith("/") else f"xl/{target}"
    return found


def _texts(shared: str) -> list[str]:
    return [html.unescape("".join(_TEXT.findall(item))) for item in _ITEM.findall(shared)]


def _as_text(sheet: str, texts: Sequence[str], most_rows: int | None) -> bytes:
    """Cells with tabs between them, every row in the line of its number; all lines have as many cells."""
    rows: list[tuple[int, dict[int, str]]] = []
    for attributes, cells in _ROW.findall(sheet) if most_rows is None else _first(sheet, most_rows):
        stated = _ROW_NUMBER.search(attributes)
        number = int(stated.group(1)) if stated else (rows[-1][0] + 1 if rows else 1)
        if rows and number <= rows[-1][0]:
            raise BrokenArchive(f"row {number} behind row {rows[-1][0]}")
        rows.append((number, _cells(cells, texts)))
    width = max((max(cells, default=0) for _, cells in rows), default=0) + 1
    lines: list[str] = []
    for number, cells in rows:
        if number - len(lines) > 2**20:
            raise BrokenArchive(f"row {number} of {len(rows)} rows")
        lines += [""] * (number - 1 - len(lines))
        lines.append("\t".join(cells.get(k, "") for k in range(width)))
    return ("\n".join(lines) + "\n").encode() if lines else b""


def _first(sheet: str, most_rows: int) -> Iterator[tuple[str, str]]:
    for number, match in enumerate(_ROW.finditer(sheet)):
        if number == most_rows:
            return
        yield match.group(1), match.group(2) or ""


def _cells(row: str, texts: Sequence[str]) -> dict[int, str]:
    """Texts of the cells of a row by the number of their column, from 0."""
    plain = _PLAIN_CELL.findall(row)
    if len(plain) == row.count("<c "):
        # As most programs write them: the place, the style, the kind, one value or text.
        found = ((_column(letters), _as_said(kind, value or text, texts)) for letters, kind, value, text in plain)
        return {column: text for column, text in found if column < _MOST_COLUMNS}
    cells: dict[int, str] = {}
    for attributes, inside in _CELL.findall(row):
        place = _PLACE.search(attributes)
        column = _column(place.group(1)) if place else max(cells, default=-1) + 1
        if column < _MOST_COLUMNS:
            cells[column] = _cell_text(attributes, inside, texts)
    return cells


@lru_cache(maxsize=1024)
def _column(letters: str) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - ord("A") + 1
    return number - 1


def _cell_text(attributes: str, inside: str, texts: Sequence[str]) -> str:
    kind = _KIND.search(attributes)
    if kind and kind.group(1) == "inlineStr":
        return " ".join(html.unescape("".join(_TEXT.findall(inside))).split())
    value = _VALUE.search(inside)
    return _as_said(kind.group(1) if kind else "", value.group(1) if value else "", texts)


def _as_said(kind: str, value: str, texts: Sequence[str]) -> str:
    """The text of a cell: a number, a text, or the place of one in the list of texts."""
    if kind != "s":
        return (
            value
            if value.isascii() and "&" not in value and kind in ("", "n")
            else " ".join(html.unescape(value).split())
        )
    number = value.strip()
    known = number.isascii() and number.isdigit() and len(number) < 10 and int(number) < len(texts)
    return " ".join(texts[int(number)].split()) if known else ""
