"""GSAS powder data: text of one or several banks (``.gsa``, ``.fxye``, ``.gss``, ``.raw``).

Schema
------
``diffraction_counts`` and ``diffraction_counts_std`` (bank, point), with ``tof`` (us) or ``two_theta`` (deg), and the
coordinates ``bank`` and, where the header states it, ``temperature``. Banks with fewer points end in NaN. Intensities
of time of flight are per us, at the middle of each bin; those of a constant wavelength are of each point.

Uncertainties
-------------
``diffraction_counts_std``: of the types FXYE, ESD and ALT those of the file; of STD the square root of the counts over
the number of counters, of FXY the square root of the counts, both with a remark. Points whose uncertainty is zero have
no value: NaN.

Metadata
--------
Attributes ``format``, ``source``, ``remarks``, ``metadata`` with the title and the comments.

File structure
--------------
Larson and Von Dreele, GSAS manual, LAUR 86-748 (2004). A title, perhaps the name of an instrument file, comments with
``#``, and for each bank ``BANK number points records BINTYP four numbers TYPE`` with its records. BINTYP ``SLOG``,
``RALF`` and ``CONS`` beyond 180 deg are time of flight, us; ``CONS`` or ``CONST`` centidegrees. TYPE FXYE: place,
intensity, uncertainty in a line; FXY without the last; ESD: five pairs in columns of 8; STD: ten counts in columns of
2 for the number of counters and 6; ALT: four in columns of 8, 7 and 5, times 32, 1000 and 1000. Of time of flight
the place is the left edge of a bin, and the intensity is times its width (as GSAS-II reads it, whatever the header
says). What follows the number of points that the bank states is filling.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.io.lazy import COPY_AGAIN
from cathoscope.io.powder import (
    FEWEST_POINTS,
    NO_UNCERTAINTIES,
    Array,
    Kind,
    PowderFile,
    PowderPattern,
    binned,
    check_increasing,
    powder_dataset,
    std_of_counts,
    temperature_in,
    without_valueless,
)
from cathoscope.io.spectra_text import HEAD_BYTES, check_is_text, numbers_of

_BANK = re.compile(r"BANK\s+\d+\s+\d+\s", re.IGNORECASE)
_MOST_BYTES = 64 * 2**20
_MOST_COMMENTS = 500
_TYPES = ("FXYE", "FXY", "ESD", "STD", "ALT")
_TOF = ("SLOG", "RALF")
_STEPPED = ("CONS", "CONST")
_HALF_TURN = 18_000.0  # centidegrees
_LARGEST = 1e30
_MOST_POINTS = 5_000_000
_STEPPED_TYPES = ("STD", "ESD")
_WIDTHS = {"ESD": (8, 8), "STD": (2, 6), "ALT": (8, 7, 5)}
_FREE = {"FXYE": 3, "FXY": 2}


@dataclass(frozen=True)
class _Bank:
    """A BANK line and its records, each with the number of its line, from 1."""

    number: int
    points: int
    binning: str
    coefficients: tuple[float, ...]
    form: str
    line: int
    name: str
    records: tuple[tuple[int, str], ...]


def recognise_gsas(path: Path) -> str | None:
    """None if one of the first lines is a BANK line, else the reason why not."""
    try:
        with path.open("rb") as file:
            begin = file.read(HEAD_BYTES)
    except OSError as error:
        return str(error)
    if b"\0" in begin:
        return "bytes of a binary file"
    lines = begin.decode("latin-1").splitlines()
    return None if any(_BANK.match(line) for line in lines) else "no line begins with BANK and two numbers"


def open_gsas(paths: Sequence[Path], angle_range: tuple[float, float] | None = None) -> xr.Dataset:
    """The banks of the file ``paths[0]`` (see the module's docstring).

    Parameters
    ----------
    paths
        The file.
    angle_range
        Not used: there are no projections.

    Raises
    ------
    MeasurementError
        If a bank is damaged, truncated, stated twice, or of a type that is not known.
    """
    return powder_dataset(read_gsas(paths[0]), paths[0], "gsas")


def read_gsas(path: Path) -> PowderFile:
    """The same as records.

    Raises
    ------
    MeasurementError
        As `open_gsas`.
    """
    check_is_text(path, _MOST_BYTES)
    try:
        lines = path.read_bytes().decode("latin-1").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    except OSError as error:
        raise MeasurementError("the file cannot be read", where=path, found=str(error)) from error
    banks, comments = _banks(path, lines)
    remarks: list[str] = []
    temperature = temperature_in(comments, remarks)
    patterns = []
    for bank in banks:
        notes: list[str] = []
        patterns.append(_pattern(path, bank, notes))
        remarks += notes if len(banks) == 1 else [f"bank {bank.number}: {note}" for note in notes]
    return PowderFile(tuple(patterns), tuple(comments), temperature, tuple(remarks))


def _banks(path: Path, lines: list[str]) -> tuple[list[_Bank], list[str]]:
    """The banks, and the title and comments that stand before and between them."""
    heads = [k for k, line in enumerate(lines) if _BANK.match(line)]
    if not heads:
        raise MeasurementError(
            "no bank is in the file", where=path, expected="a line BANK", found=f"{len(lines)} lines without one"
        )
    comments = [line.strip() for line in lines[: heads[0]]]
    found: dict[int, _Bank] = {}
    for start, stop in pairwise([*heads, len(lines)]):
        before = lines[start - 1].strip() if start > 1 and len(heads) > 1 else ""
        records = [(k + 1, lines[k]) for k in range(start + 1, stop) if lines[k].strip()]
        comments += [line.strip() for _, line in records if line.startswith("#")]
        records = [(k, line) for k, line in records if not line.startswith("#")]
        bank = _bank(path, (start + 1, lines[start]), before, records)
        if bank.number in found:
            raise MeasurementError(
                f"bank {bank.number} stands twice in the file",
                where=f"{path}, line {bank.line}",
                expected="every bank once",
                found=f"the same number in line {found[bank.number].line}",
                cure="separate the patterns into files, or number the banks",
            )
        found[bank.number] = bank
    told = (comment.lstrip("#").strip() for comment in comments)
    return list(found.values()), [comment for comment in told if comment][:_MOST_COMMENTS]


def _bank(path: Path, head: tuple[int, str], before: str, records: list[tuple[int, str]]) -> _Bank:
    """What a BANK line states; of several banks a comment just before it is the name."""
    line, text = head
    words = text.upper().split()
    form = next((word for word in reversed(words[4:]) if word in _TYPES), "STD")
    binning = words[4] if len(words) > 4 else ""
    coefficients = _numbers(words[5:9])
    needed = {"SLOG": 3, "RALF": 9}.get(binning, 2) if form in _STEPPED_TYPES else 0  # RALF: places must be stated
    number, points = (int(word[:12]) for word in words[1:3])
    if binning not in (*_STEPPED, *_TOF) or len(coefficients) < needed or not FEWEST_POINTS <= points <= _MOST_POINTS:
        raise MeasurementError(
            "the BANK line cannot be followed",
            where=f"{path}, line {line}",
            expected="BANK number points records CONS, SLOG or RALF, four numbers, FXYE, FXY, ESD, STD or ALT",
            found=" ".join(words)[:120],
            cure="write the data as FXYE, which states the place of every point",
        )
    name = before[1:].strip() if before.startswith("#") and not set(":=") & set(before) else ""
    return _Bank(number, points, binning, coefficients, form, line, name or f"bank {number}", tuple(records))


def _numbers(words: Sequence[str]) -> tuple[float, ...]:
    """The finite numbers before the first word that is none."""
    found = []
    for word in words:
        row = numbers_of(word, None, decimal_comma=False)
        if row is None or not np.isfinite(row[0]):
            break
        found.append(row[0])
    return tuple(found)


def _pattern(path: Path, bank: _Bank, remarks: list[str]) -> PowderPattern:
    """The points of a bank in our units."""
    columns, lines = _free(path, bank) if bank.form in _FREE else _fixed(path, bank)
    columns, lines = _counted(path, bank, columns, lines, remarks)
    x, y, std = _values(path, bank, columns, lines)
    if bank.form in ("FXY", "STD"):
        remarks.append(NO_UNCERTAINTIES)
    kind: Kind = "cw" if bank.binning in _STEPPED and x[-1] <= _HALF_TURN else "tof"
    if kind == "tof" and bank.binning in _STEPPED:
        remarks.append("steps of equal size that end beyond 180 deg are taken as time of flight, us")
    check_increasing(x, f"{path}, bank {bank.number}")
    y, std = without_valueless(y, std, remarks)
    if kind == "cw":
        return PowderPattern(bank.number, bank.name, kind, x / 100, y, std)
    middle, width = binned(x)
    return PowderPattern(bank.number, bank.name, kind, middle, y / width, std / width, width)


def _free(path: Path, bank: _Bank) -> tuple[Array, NDArray[np.int64]]:
    """Columns (c, n) of records whose numbers blanks separate, and the line of each point."""
    wanted = _FREE[bank.form]
    rows = [numbers_of(text, None, decimal_comma=False) for _, text in bank.records]
    for (line, text), row in zip(bank.records, rows, strict=True):
        if row is None or len(row) != wanted:
            raise _damaged(path, line, f"{wanted} numbers", text)
    table = np.array(rows, dtype=np.float64).reshape(-1, wanted)
    return table.T, np.array([line for line, _ in bank.records], dtype=np.int64)


def _fixed(path: Path, bank: _Bank) -> tuple[Array, NDArray[np.int64]]:
    """The same of records in columns of fixed width; nothing follows a blank field."""
    widths = _WIDTHS[bank.form]
    ends = np.cumsum(widths)
    points, lines = [], []
    for line, text in bank.records:
        for start in range(0, len(text.rstrip()), int(ends[-1])):
            fields = [text[start + end - width : start + end] for width, end in zip(widths, ends, strict=True)]
            row = [
                _number(field, blank=1.0 if bank.form == "STD" and k == 0 else None) for k, field in enumerate(fields)
            ]
            values = [value for value in row if value is not None]
            if len(values) != len(row):
                raise _damaged(path, line, f"numbers in columns of {' and '.join(map(str, widths))}", text)
            points.append(values)
            lines.append(line)
    return np.array(points, dtype=np.float64).reshape(-1, len(widths)).T, np.array(lines, dtype=np.int64)


def _number(field: str, blank: float | None) -> float | None:
    """The number in a field; None if it holds none."""
    if not field.strip():
        return blank
    row = numbers_of(field, None, decimal_comma=False)
    return row[0] if row is not None and len(row) == 1 else None


def _counted(
    path: Path, bank: _Bank, columns: Array, lines: NDArray[np.int64], remarks: list[str]
) -> tuple[Array, NDArray[np.int64]]:
    """As many points as the bank states; more are filling, or are remarked."""
    found = columns.shape[1]
    if found < bank.points:
        raise MeasurementError(
            f"bank {bank.number} has fewer points than its line states",
            where=f"{path}, line {lines[-1] if found else bank.line}",
            expected=f"{bank.points} points",
            found=f"{found}",
            cure=COPY_AGAIN,
        )
    if np.any(columns[-1, bank.points :] != 0):
        remarks.append(f"{found - bank.points} points more than the BANK line states are left out")
    return columns[:, : bank.points], lines[: bank.points]


def _values(path: Path, bank: _Bank, columns: Array, lines: NDArray[np.int64]) -> tuple[Array, Array, Array]:
    """Places, intensities and uncertainties as the file has them."""
    bad = np.flatnonzero(~np.all(np.abs(columns) < _LARGEST, axis=0))
    if bad.size:
        raise _damaged(path, int(lines[bad[0]]), "finite numbers", str(columns[:, bad[0]]))
    if bank.form == "ALT":
        columns = columns / np.array([[32.0], [1000.0], [1000.0]])
    x = columns[0] if bank.form not in _STEPPED_TYPES else _places(bank)
    if bank.form in ("FXY", "STD"):
        counters = np.maximum(columns[0], 1.0) if bank.form == "STD" else np.ones(bank.points)
        y = columns[1]
        std = std_of_counts(y) / np.sqrt(counters)
        signed, what = y, "counts of zero or more, as the file states no uncertainties"
    else:
        y, std = columns[-2:]
        signed, what = std, "an uncertainty above zero, or zero where there is no value"
    negative = np.flatnonzero(signed < 0)
    if negative.size:
        raise _damaged(path, int(lines[negative[0]]), what, f"{signed[negative[0]]:g}")
    return x, y, std


def _places(bank: _Bank) -> Array:
    """Places of points from the BANK line."""
    k = np.arange(bank.points)
    if bank.binning == "SLOG":
        first, _, step = bank.coefficients[:3]
        with np.errstate(all="ignore"):
            return np.asarray(first * (1 + step) ** k)
    first, step = bank.coefficients[:2]
    return np.asarray(first + step * k)


def _damaged(path: Path, line: int, expected: str, found: str) -> MeasurementError:
    return MeasurementError(
        "a record of the file is damaged",
        where=f"{path}, line {line}",
        expected=expected,
        found=repr(found.strip()[:80]),
        cure=COPY_AGAIN,
    )
