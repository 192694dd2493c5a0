"""Text files of numbers in columns: comments, headings, and the numbers, whatever separates them."""

from __future__ import annotations

import csv
import io
import re
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cathoscope.core.errors import MeasurementError
from cathoscope.io.lazy import COPY_AGAIN
from cathoscope.io.spectra import Floats

HEAD_BYTES = 32_768
COMMENT_SIGNS = frozenset("#%*!")
_MOST_BYTES = 16 * 2**20
_LONGEST_LINE = 65_536
_MOST_ROWS = 500_000
_MOST_COMMENTS = 2000
_MOST_HEADINGS = 50
_LABVIEW_NAME_WIDTH = 21
_SEPARATORS = ("\t", ";", ",", None)
_LISTED_NAME = re.compile(r"(\d+)\) (.+?)(?= \d+\) |$)")


@dataclass(frozen=True)
class TextColumns:
    """What a text file of columns holds.

    Parameters
    ----------
    comments
        Lines that begin with ``#``, ``%``, ``*`` or ``!``, without that sign.
    n_comments_before
        How many of them stand before the numbers.
    headings
        Other lines before the numbers.
    values
        Shape (rows, columns); empty fields are NaN.
    separator
        Between the numbers; None is blanks.
    remarks
        What was repaired.
    """

    comments: tuple[str, ...]
    n_comments_before: int
    headings: tuple[str, ...]
    values: Floats
    separator: str | None
    remarks: tuple[str, ...]


def check_is_text(path: Path, most_bytes: int = _MOST_BYTES) -> None:
    """Refuse what is too large for a text of spectra, or is no text.

    Raises
    ------
    MeasurementError
        Saying which of the two.
    """
    size = path.stat().st_size
    if size > most_bytes:
        raise not_a_table(path, f"{size} bytes, more than the {most_bytes} that spectra as text can have")
    with path.open("rb") as file:
        begin = file.read(HEAD_BYTES)
    if b"\0" in begin:
        raise not_a_table(path, "bytes of a binary file")


def read_head(path: Path) -> list[str]:
    """The complete lines among the first 32 kB of a text."""
    with path.open("rb") as file:
        begin = file.read(HEAD_BYTES)
    lines = list(io.StringIO(begin.decode("utf-8-sig", errors="replace"), newline=None))
    return lines[:-1] if len(begin) == HEAD_BYTES else lines


def read_columns(path: Path) -> TextColumns:
    """The whole file.

    Raises
    ------
    MeasurementError
        If it is no text of columns, or is damaged.
    """
    check_is_text(path)
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            return parse_columns(file, path)
    except OSError as error:
        raise not_a_table(path, str(error)) from error


def not_a_table(path: Path, found: str) -> MeasurementError:
    """Error for a file that is no text of columns."""
    return MeasurementError(
        "not a text of columns of numbers",
        where=path,
        expected="lines of as many numbers each, comments marked with #",
        found=found,
        cure="check the file's name",
    )


def parse_columns(lines: Iterable[str], path: Path) -> TextColumns:
    """Comments, headings and numbers of the lines of a text.

    Numbers begin where two lines that follow each other have as many. A last line that is incomplete is left out.

    Raises
    ------
    MeasurementError
        If a line among the numbers is none, there are none, or a line is longer than 64 kB.
    """
    parser = _Parser(path)
    for line in lines:
        parser.take(line)
    return parser.finish()


class _Parser:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.comments: list[str] = []
        self.n_comments_before = 0
        self.headings: list[str] = []
        self.dialect: tuple[str | None, bool] | None = None
        self.values = array("d")
        self.n_rows = 0
        self.first_row = ""
        self.last_rows = ("", "")
        self.number = 0
        self.bad: tuple[int, str] | None = None

    @property
    def n_columns(self) -> int:
        """Columns of the table so far."""
        return len(self.values) // max(1, self.n_rows)

    def take(self, line: str) -> None:
        """One line of the file."""
        self.number += 1
        if len(line) > _LONGEST_LINE:
            raise not_a_table(self.path, f"line {self.number} has more than {_LONGEST_LINE} characters")
        text = line.strip()
        if not text:
            return
        if self.bad is not None:
            raise self._damaged(*self.bad)
        if text[0] in COMMENT_SIGNS:
            if len(self.comments) < _MOST_COMMENTS:
                self.comments.append(text[1:])
            return
        row = None if self.dialect is None else numbers_of(text, *self.dialect)
        if self.n_rows and row is not None and len(row) == self.n_columns:
            self._add(row, line)
        elif self.n_rows > 1:
            self.bad = (self.number, text)
        else:
            self._begin(line, text)

    def _add(self, row: list[float], line: str) -> None:
        if self.n_rows == _MOST_ROWS:
            raise not_a_table(self.path, f"more than {_MOST_ROWS} lines of numbers")
        self.values.extend(row)
        self.n_rows += 1
        self.last_rows = (self.last_rows[1], line)

    def _begin(self, line: str, text: str) -> None:
        """Take the line as the first of the numbers, or as a heading, as a single line of numbers above it is."""
        if self.n_rows:
            self.headings.append(self.first_row)
            self.values, self.n_rows = array("d"), 0
        self.dialect = _dialect_of(text)
        row = None if self.dialect is None else numbers_of(text, *self.dialect)
        if row is None:
            self.headings = [*self.headings[-_MOST_HEADINGS:], text]
            return
        self.n_comments_before = len(self.comments)
        self.first_row = text
        self._add(row, line)

    def _damaged(self, number: int, text: str) -> MeasurementError:
        return MeasurementError(
            "a line among the numbers is damaged",
            where=f"{self.path}, line {number}",
            expected=f"{self.n_columns} numbers",
            found=repr(text[:80]),
            cure=COPY_AGAIN,
        )

    def finish(self) -> TextColumns:
        """What was read."""
        if not self.n_rows or self.dialect is None:
            raise not_a_table(self.path, repr(self.headings[0][:80]) if self.headings else "no line of numbers")
        remarks = []
        values = np.frombuffer(self.values).reshape(self.n_rows, -1)
        if self.bad is not None:
            remarks.append(f"the last line, {self.bad[0]}, is incomplete and is left out")
        elif self.n_rows > 1 and _is_cut(*self.last_rows):
            values = values[:-1]
            remarks.append(f"the file ends inside its last line, {self.number}, which is left out")
        if self.dialect[1]:
            remarks.append("numbers with a decimal comma were read")
        return TextColumns(
            tuple(self.comments),
            self.n_comments_before,
            tuple(self.headings),
            values,
            self.dialect[0],
            tuple(remarks),
        )


def _is_cut(before: str, last: str) -> bool:
    """Whether the last line has no end and its last number fewer characters than the one above it."""
    ends = [re.split(r"[\s,;]+", line.strip())[-1] for line in (before, last)]
    return not last.endswith(("\n", "\r")) and len(ends[1]) < len(ends[0])


def numbers_of(text: str, separator: str | None, decimal_comma: bool) -> list[float] | None:
    """Numbers of a line, empty fields as NaN; None if a field is no number or all are empty."""
    # Python would read 1_000 as a number.
    if "_" in text:
        return None
    fields = (text.replace(",", ".") if decimal_comma else text).split(separator)
    if not any(field.strip() for field in fields):
        return None
    try:
        return [float(field) if field.strip() else np.nan for field in fields]
    except ValueError:
        return None


def _dialect_of(text: str) -> tuple[str | None, bool] | None:
    """Separator, and whether commas are decimal commas, of a line of numbers."""
    for separator in _SEPARATORS:
        if separator is not None and separator not in text:
            continue
        for decimal_comma in (False, True) if "," in text and separator != "," else (False,):
            if numbers_of(text, separator, decimal_comma) is not None:
                return separator, decimal_comma
    return None


def column_names(text: TextColumns, is_heading: re.Pattern[str]) -> tuple[str, ...] | None:
    """Names of the columns, or None.

    They are in a numbered list in the comments, in the lines just before the numbers that are no comments, or in
    a comment of which one name fits ``is_heading``.
    """
    n_columns = text.values.shape[1]
    comments = text.comments[: text.n_comments_before]
    listed = _listed_names(comments, n_columns)
    if listed is not None:
        return listed
    for line in text.headings[-3:]:
        for names in _possible_names(line, n_columns, text.separator):
            if any(is_heading.search(name.lower()) for name in names):
                return names
    if text.headings:
        return _plain_names(text.headings[-1], n_columns, text.separator)
    for line in reversed(comments[-3:]):
        for names in _possible_names(line, n_columns, text.separator):
            if any(is_heading.search(name.lower()) for name in names):
                return names
    return None


def _listed_names(comments: Sequence[str], n_columns: int) -> tuple[str, ...] | None:
    found = {
        int(match.group(1)[:6]): match.group(2)
        for line in comments
        if re.match(r"\s*\d+\)\s", line)
        for match in _LISTED_NAME.finditer(" ".join(line.split()))
    }
    if set(found) != set(range(1, n_columns + 1)):
        return None
    return tuple(_tidy(found[k]) for k in range(1, n_columns + 1))


def _plain_names(line: str, n_columns: int, separator: str | None) -> tuple[str, ...] | None:
    """Names without a known one among them: split as the numbers are, and no number themselves."""
    fields = line.split() if separator is None else next(csv.reader([line], delimiter=separator), [])
    names = tuple(_tidy(name) for name in fields)
    return names if len(names) == n_columns and not any(numbers_of(name, None, False) for name in names) else None


def _possible_names(line: str, n_columns: int, separator: str | None) -> list[tuple[str, ...]]:
    """All ways in which the line splits into as many names as there are columns, the surest first."""
    text = line.strip()
    width = _LABVIEW_NAME_WIDTH
    ways = [
        re.findall(r'"([^"]*)"', text),
        []
        if separator is None or len(text) > csv.field_size_limit()
        else next(csv.reader([text], delimiter=separator), []),
        re.split(r"\s{2,}|\t", text),
        [line[k : k + width] for k in range(0, len(line.rstrip()), width)],
        re.split(r"[\s,;]+", text),
    ]
    return [tuple(_tidy(name) for name in names) for names in ways if len(names) == n_columns]


def _tidy(name: str) -> str:
    return name.strip().strip('"').removesuffix("*").strip()
