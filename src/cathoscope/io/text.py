"""Text files as instruments write them: encodings, and rows of numbers."""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError

Floats = NDArray[np.float64]

HEAD_BYTES = 32_768
MOST_BYTES = 64 * 2**20
NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


def text_head(path: Path) -> list[str]:
    """The lines at the begin of a text.

    Raises
    ------
    MeasurementError
        If it is no text.
    """
    with path.open("rb") as file:
        return decoded(file.read(HEAD_BYTES), path).splitlines()


def text_lines(path: Path) -> list[str]:
    """All lines of a text.

    Raises
    ------
    MeasurementError
        If it is no text, or larger than one can be.
    """
    if path.stat().st_size > MOST_BYTES:
        raise no_text(path, f"{path.stat().st_size} bytes, more than {MOST_BYTES}")
    try:
        return decoded(path.read_bytes(), path).splitlines()
    except OSError as error:
        raise no_text(path, str(error)) from error


def no_text(path: Path, found: str) -> MeasurementError:
    """Error for a file that is no text of numbers."""
    return MeasurementError(
        "not the text of an instrument",
        where=path,
        expected="names of columns and rows of as many numbers",
        found=found,
        cure="export the record again as text",
    )


def decoded(content: bytes, path: Path) -> str:
    """Text of UTF-16 with its mark, UTF-8, or Western Windows.

    Raises
    ------
    MeasurementError
        If it is no text.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content[: len(content) // 2 * 2].decode("utf-16", errors="replace")
    if b"\0" in content:
        raise no_text(path, "bytes of a binary file")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def numbers_in(line: str, separator: str | None = None) -> list[float] | None:
    """The numbers of a line that has nothing else, a separator at its end left out; None otherwise."""
    parts = [part.strip() for part in line.split(separator)]
    if parts and not parts[-1]:
        parts.pop()
    if not parts or not all(NUMBER.fullmatch(part) for part in parts):
        return None
    return [float(part) for part in parts]


def rows_of(
    lines: Sequence[str], first: int, width: int, remarks: list[str], *, separator: str | None = None
) -> tuple[Floats, int]:
    """Rows of ``width`` numbers from line ``first`` on, and where they end; an unfinished last row is left out."""
    found: list[list[float]] = []
    at = first
    while at < len(lines):
        numbers = numbers_in(lines[at], separator)
        if numbers is None or len(numbers) != width:
            break
        found.append(numbers)
        at += 1
    if found and at == len(lines) - 1 and lines[at].strip():
        remarks.append("the file ends within a row, which is left out: it may have been cut")
        at += 1
    return np.asarray(found, dtype=np.float64).reshape(-1, width), at


def ended_at(lines: Sequence[str], at: int) -> str:
    """Where rows of numbers end, for messages."""
    return f"line {at + 1}: {lines[at].strip()[:60]}" if at < len(lines) else "the end of the file"
