"""Large tables of numbers as text: where the heading is, where every field begins and ends, and its number.

Fields are found by numpy, numbers by `cycler_parse`; every row knows the line it stands in.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.io.cycler import LARGEST_BAD_SHARE, Floats, Integers
from cathoscope.io.cycler_parse import EMPTY, NOT_FINITE, TEXT, parse_fields
from cathoscope.io.lazy import COPY_AGAIN

Offsets = NDArray[np.int32]

HEAD_BYTES = 65_536
MOST_BYTES = 2**31 - 2  # offsets fit into 32 bits
_COMPILED_FROM = 100_000  # bytes of a file for which loading the compiled loop pays
_SEPARATORS = "\t;,"
_COMMA, _POINT = ord(","), ord(".")
_MOST_HEAD_LINES = 400
_LINES_ABOVE = 10
_SAMPLED_ROWS = 200
_DECIMAL_COMMA = re.compile(r"\s*[-+]?\d*,\d+(?:[eE][-+]?\d+)?\s*")
_NUMERIC = re.compile(r"\s*\"?[-+\d.,:]*\d[-+\d.,:]*(?:[eE][-+]?\d+)?\"?\s*")
_NO_NUMBERS = frozenset(
    (*(b"nan", b"inf", b"infinity", b"na", b"n/a", b"null", b"none"), *(b"#n/a", b"nan(ind)", b"1.#qnan", b"1.#inf"))
)
_NO_VALUES = frozenset((b"", b"-", b"--", b"---"))


@dataclass(frozen=True, eq=False)
class TextTable:
    """A table of a text file whose fields have been found but not read.

    Parameters
    ----------
    path
        The file.
    names
        Of the columns.
    heading_line
        The line with the names, from 1.
    above
        Lines above it.
    content
        The bytes of the file.
    separator, decimal
        As bytes.
    starts, stops
        Of the fields in ``content``, shape (columns, rows).
    lines
        Line of each row, from 1.
    remarks
        What was noticed and repaired.
    """

    path: Path
    names: tuple[str, ...]
    heading_line: int
    above: tuple[str, ...]
    content: bytes
    separator: int
    decimal: int
    starts: Offsets
    stops: Offsets
    lines: Integers
    remarks: list[str] = field(default_factory=list)

    def numbers(self, position: int) -> tuple[Floats, NDArray[np.uint8]]:
        """Values of a column, NaN where there is no number, and their states (see `cycler_parse`)."""
        starts, stops = self.starts[position], self.stops[position]
        values, states = np.empty(starts.size), np.empty(starts.size, np.uint8)
        parse(self.content, starts, stops, self.decimal, values, states)
        for k in np.flatnonzero(states == TEXT):
            word = self.field(int(k), position).lower().lstrip(b"+-")
            states[k] = NOT_FINITE if word in _NO_NUMBERS else EMPTY if word in _NO_VALUES else TEXT
        return values, states

    def checked_numbers(self, position: int, place: str, remarks: list[str]) -> tuple[Floats, NDArray[np.uint8]]:
        """The same of a column that should hold numbers: words in it are told.

        Raises
        ------
        MeasurementError
            If more than one row in a hundred holds a word.
        """
        values, states = self.numbers(position)
        words = np.flatnonzero(states == TEXT)
        if not words.size:
            return values, states
        row = int(words[0])
        found = f"{self.names[position]!r} is {decoded(self.field(row, position))[:40]!r}"
        where = f"{place} {int(self.lines[row])}"
        if words.size > max(1, LARGEST_BAD_SHARE * states.size):
            raise MeasurementError(
                "a column holds what is no number",
                where=f"{self.path}, {where}",
                expected=f"numbers, with {chr(self.decimal)!r} as decimal sign",
                found=f"{found}; {words.size} of {states.size} rows are so",
                cure="units belong into the line of names; export the table again with one unit in each column",
            )
        remarks.append(f"{found} in {where}, no number ({words.size} such rows)")
        return values, states

    def field(self, row: int, position: int) -> bytes:
        """The bytes of one field, without blanks and quotes around."""
        return self.content[self.starts[position, row] : self.stops[position, row]].strip(b' \t\r"')

    def rows(self, kept: NDArray[np.bool_]) -> TextTable:
        """The rows that are ``kept``."""
        return replace(self, starts=self.starts[:, kept], stops=self.stops[:, kept], lines=self.lines[kept])


def parse(
    content: bytes, starts: Offsets, stops: Offsets, decimal: int, values: Floats, states: NDArray[np.uint8]
) -> None:
    """`parse_fields`, compiled where there is much to do."""
    if len(content) > _COMPILED_FROM:
        from cathoscope.io import cycler_kernels

        cycler_kernels.parse_fields(np.frombuffer(content, np.uint8), starts, stops, decimal, values, states)
    else:
        parse_fields(content, starts.tolist(), stops.tolist(), decimal, values, states)  # type: ignore[no-untyped-call]


def read_content(path: Path, most: int = MOST_BYTES) -> bytes:
    """The bytes of a text as UTF-8 or a one-byte code, with a line feed at the end of every line.

    Raises
    ------
    MeasurementError
        If it is no text, or too large.
    """
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            if size > MOST_BYTES:
                raise not_a_table(path, f"{size} bytes, more than {MOST_BYTES}")
            content = file.read(min(most, size))
    except OSError as error:
        raise not_a_table(path, str(error)) from error
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        content = content[: len(content) // 2 * 2].decode("utf-16", errors="replace").encode()
    content = content.removeprefix(codecs.BOM_UTF8)
    if b"\0" in content[:HEAD_BYTES]:
        raise not_a_table(path, "bytes of a binary file")
    return content if b"\n" in content[:HEAD_BYTES] else content.replace(b"\r", b"\n")


def not_a_table(path: Path, found: str) -> MeasurementError:
    """Error for a file that is no table of a cycler."""
    return MeasurementError(
        "not the table of a battery cycler",
        where=path,
        expected="a line of names with a time, a voltage and a current, and rows of numbers",
        found=found,
        cure="export the record as text with a line of names, or state the columns in the recipe",
    )


def decoded(line: bytes) -> str:
    """Text of a line: UTF-8, else Western."""
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return line.decode("latin-1")


def find_heading(
    content: bytes, is_heading: Callable[[Sequence[str]], bool]
) -> tuple[int, int, int, tuple[str, ...]] | None:
    """Line of the names (from 1), the byte after it, the separator and the names; None if there is no such line."""
    at = 0
    for number in range(1, _MOST_HEAD_LINES + 1):
        end = content.find(b"\n", at)
        if end < 0 or end > HEAD_BYTES:
            return None
        line = decoded(content[at:end]).strip("\r\n ")
        for separator in _SEPARATORS:
            if separator in line:
                names = _split_names(line, separator)
                if is_heading(names):
                    return number, end + 1, ord(separator), names
        at = end + 1
    return None


def find_rows(content: bytes, n_columns: int) -> tuple[int, int, int, tuple[str, ...]] | None:
    """The same for a table without names: before its first line that has a number in each of the first columns.

    The names are the numbers of the columns from 1.
    """
    at = 0
    for number in range(_MOST_HEAD_LINES):
        end = content.find(b"\n", at)
        line = decoded(content[at : end if end >= 0 else HEAD_BYTES]).strip("\r\n")
        for separator in _SEPARATORS:
            fields = line.split(separator)
            if len(fields) >= n_columns and all(_NUMERIC.fullmatch(text) for text in fields[:n_columns]):
                return number, at, ord(separator), tuple(str(k + 1) for k in range(len(fields)))
        if end < 0:
            return None
        at = end + 1
    return None


def _split_names(line: str, separator: str) -> tuple[str, ...]:
    fields = next(csv.reader([line], delimiter=separator), []) if '"' in line else line.split(separator)
    names = [name.strip() for name in fields]
    while names and not names[-1]:
        names.pop()
    return tuple(names)


def read_table(path: Path, is_heading: Callable[[Sequence[str]], bool]) -> TextTable:
    """The table of a text file below the first line that is a heading.

    Raises
    ------
    MeasurementError
        If there is none, if its rows do not belong to the names, or more than one in a hundred is damaged.
    """
    content = read_content(path)
    found = find_heading(content, is_heading)
    if found is None:
        raise not_a_table(path, _first_line(content))
    return table_below(path, content, found)


def _first_line(content: bytes) -> str:
    return repr(decoded(content[:200]).split("\n", 1)[0][:80])


def table_below(path: Path, content: bytes, heading: tuple[int, int, int, tuple[str, ...]]) -> TextTable:
    """The table below a heading as `find_heading` gives it; see `read_table`."""
    line, begin, separator, names = heading
    above = tuple(decoded(text).strip("\r") for text in content[:begin].split(b"\n")[: line - 1])
    decimal = _decimal_sign(content, begin, chr(separator))
    rows = _rows(content, begin, separator)
    table = TextTable(path, names, line, above, content, separator, decimal, *rows.fields(len(names)))
    table = replace(table, lines=table.lines + line)
    if decimal == _COMMA:
        table.remarks.append("numbers with a decimal comma were read")
    return _checked(table, rows, line)


def _decimal_sign(content: bytes, begin: int, separator: str) -> int:
    """Comma if numbers of the first rows have one, which cannot be where commas separate."""
    if separator == ",":
        return _POINT
    head = decoded(content[begin : begin + HEAD_BYTES]).split("\n")[:_SAMPLED_ROWS]
    fields = [text for line in head for text in line.split(separator)]
    return _COMMA if any(_DECIMAL_COMMA.fullmatch(text) for text in fields) else _POINT


@dataclass(frozen=True, eq=False)
class _Rows:
    """Begin and end of every line that is not blank, its number from 1, and the separators in it."""

    begins: Integers
    ends: Integers
    numbers: Integers
    separators: Integers
    first: Integers
    counts: Integers
    complete: bool

    @property
    def usual(self) -> int:
        """How many separators most lines have."""
        sample = self.counts[:1000] if self.counts.size else np.zeros(1, np.int64)
        return int(Counter(sample.tolist()).most_common(1)[0][0])

    def whole(self) -> NDArray[np.bool_]:
        """Lines with as many separators as most, and of these the last only if it is complete."""
        good = self.counts == self.usual
        if good.size > 1 and not self.complete:
            good[-1] = False
        return np.asarray(good)

    def fields(self, n_names: int) -> tuple[Offsets, Offsets, Integers]:
        """Starts and stops of the fields below the names, and the numbers of the lines, of whole lines."""
        good = self.whole()
        usual = self.usual
        if good.all() and self.separators.size == good.size * usual:
            inner = self.separators.reshape(good.size, usual)
        else:
            inner = self.separators[self.first[good][:, None] + np.arange(usual)]
        n_columns = min(usual + 1, n_names)
        starts, stops = np.empty((2, n_columns, inner.shape[0]), np.int32)
        starts[0] = self.begins[good]
        starts[1:] = inner.T[: n_columns - 1] + 1
        stops[:usual] = inner.T[:n_columns]
        stops[usual:] = self.ends[good]
        return starts, stops, self.numbers[good]


def _rows(content: bytes, begin: int, separator: int) -> _Rows:
    buffer = np.frombuffer(content, np.uint8)[begin:]
    ends = np.flatnonzero(buffer == ord("\n"))
    ended = not buffer.size or buffer[-1] == ord("\n")
    if not ended:
        ends = np.append(ends, buffer.size)
    begins = np.append(0, ends[:-1] + 1) if ends.size else ends
    separators = np.flatnonzero(buffer == separator)
    first = _first_in(separators, begins, ends)
    counts = np.diff(np.append(first, separators.size))
    # A line without a separator and with nothing but its end is blank.
    filled = (counts > 0) | (ends - begins > 1)
    numbers = np.flatnonzero(filled) + 1
    complete = ended or _is_complete(content[begin:].rsplit(b"\n", _LINES_ABOVE)[-_LINES_ABOVE:], separator)
    return _Rows(
        begins[filled] + begin,
        ends[filled] + begin,
        numbers,
        separators + begin,
        first[filled],
        counts[filled],
        complete,
    )


def _is_complete(lines: Sequence[bytes], separator: int) -> bool:
    """Whether a last line that does not end has a last field as long as those above it, signs apart.

    A file may be cut inside its last number, which then is another one.
    """
    lengths = [len(line.rpartition(bytes((separator,)))[2].strip(b' \r"').lstrip(b"+-")) for line in lines]
    return len(lengths) < 2 or lengths[-1] >= max(lengths[:-1])


def _first_in(separators: Integers, begins: Integers, ends: Integers) -> Integers:
    """Index of the first separator from the begin of each line on."""
    each, rest = divmod(separators.size, max(1, begins.size))
    if rest == 0 and each:  # all lines alike, if every line has its own
        grid = separators.reshape(-1, each)
        if (grid[:, 0] >= begins).all() and (grid[:, -1] < ends).all():
            return np.arange(0, separators.size, each)
    return np.searchsorted(separators, begins)


def _checked(table: TextTable, rows: _Rows, heading_line: int) -> TextTable:
    """The table with remarks about lines that are no rows; refused if they are many."""
    if table.starts.shape[1] == 0:
        raise not_a_table(table.path, f"no row below the names in line {heading_line}")
    if rows.usual + 1 > len(table.names) and not _blank_behind(table, rows):
        raise _too_many(table, rows)
    bad = ~rows.whole()
    if not bad.any():
        return table
    first, last = int(rows.numbers[np.argmax(bad)]) + heading_line, int(rows.numbers[-1]) + heading_line
    if bad.sum() == 1 and bad[-1]:
        table.remarks.append(f"the last line, {last}, is incomplete and is left out: the file may have been cut")
        return table
    if bad.sum() > max(1, LARGEST_BAD_SHARE * bad.size):
        raise MeasurementError(
            "lines of the table are damaged",
            where=f"{table.path}, line {first}",
            expected=f"{rows.usual + 1} fields in every line",
            found=f"{int(bad.sum())} of {bad.size} lines with another number",
            cure=COPY_AGAIN,
        )
    table.remarks.append(f"{int(bad.sum())} damaged lines are left out, first line {first}")
    return table


def _blank_behind(table: TextTable, rows: _Rows) -> bool:
    """Whether the fields behind the last name are empty, as a separator at the end of lines makes them."""
    good = rows.whole()
    begin = rows.separators[rows.first[good][:20] + len(table.names) - 1]
    return all(
        not table.content[start:stop].strip(b' \t\r;,"')
        for start, stop in zip(begin, rows.ends[good][:20], strict=True)
    )


def _too_many(table: TextTable, rows: _Rows) -> MeasurementError:
    return MeasurementError(
        "the rows have more fields than there are names",
        where=f"{table.path}, line {int(table.lines[0])}",
        expected=f"{len(table.names)} fields",
        found=f"{rows.usual + 1}",
        cure="export the table with semicolons or tabs between the columns, if numbers have a decimal comma"
        if table.separator == _COMMA
        else "add the names that are missing to the line of names",
    )
