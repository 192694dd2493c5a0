"""Files that lie beside measurements and are none: why they are refused.

Pictures, documents, archives, scan scripts, lists of energies, masks and notes. What a file is follows from its
first bytes and lines, and from its name where several kinds have the same content.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_HEAD = 1 << 20  # bytes that are looked at
_TAIL = 1 << 16
_MOST_KEYS = 20
_EXPORT = "export the image from the instrument's program as 8, 16 or 32 bit grey TIFF"

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$")
_SCAN_COMMANDS = ("collect ", "moveto ", "sete ", "setexp ", "setbinning ")
_SCAN_KEYS = ("VERSION", "ENERGY", "TOMO", "MOSAIC", "NEXPOSURES", "NREPEATSCAN")
_CHECKSUM = re.compile(r"[0-9a-fA-F]{32,128}[ \t]+\S")
_XIM_NAME = re.compile(r"(.+)_a\d+\.xim$", re.IGNORECASE)
_NOTES = ("readme", "provenance", "license", "licence", "notes", "changelog")

# First bytes of files that hold no measurement, and what a person calls them.
_ARCHIVES = {
    b"\x1f\x8b": "a gzip file",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ\0": "an xz file",
    b"7z\xbc\xaf'\x1c": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"\x28\xb5\x2f\xfd": "a zstd file",
}
_TABLES = {
    b"PAR1": "a Parquet table; write it as csv",
    b"MATLAB 5.0 MAT-file": "a MATLAB file; write its table as csv",
    b"\0\1\0\0Standard Jet DB": "an Arbin .res database; export it as csv or xlsx",
    b"\0\1\0\0Standard ACE DB": "an Arbin .res database; export it as csv or xlsx",
}
# What is written somewhere in a ZIP or OLE container, and what it makes of it.
_ZIP_KINDS = {
    b"word/": "a Word document",
    b"xl/": "an Excel workbook; save its table as text",
    b"ppt/": "a PowerPoint presentation",
    b".npy": "numpy arrays (.npz); write them to HDF5 or TIFF",
}
_OLE_KINDS = {
    "WordDocument": "a Word document",
    "Workbook": "an Excel workbook; save its table as text",
    "PowerPoint Document": "a PowerPoint presentation",
}
_OLE_SIGNATURE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


@dataclass(frozen=True)
class _Text:
    """The beginning of a text file; ``whole`` says whether it is all of it."""

    path: Path
    lines: Sequence[str]
    whole: bool

    @property
    def filled(self) -> list[str]:
        """Lines that are not blank."""
        return [line for line in self.lines if line.strip()]


def why_refused(path: Path) -> str | None:
    """Why a file that no reader recognises is no measurement; None if nothing tells.

    At most the first megabyte and the last 64 kB are read.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
        file.seek(max(path.stat().st_size - _TAIL, 0))
        tail = file.read(_TAIL)
    if not head:
        return "it is empty"
    reason = _picture(head) or _document(head, tail)
    if reason is not None:
        return reason
    return _first_reason(path, head, _TEXTS)


def why_unclear(path: Path) -> str | None:
    """Why a file that may be a measurement is not recognised, and what to say in the recipe; None if nothing tells.

    At most the first megabyte is read.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    with path.open("rb") as file:
        return _first_reason(path, file.read(_HEAD), (_two_columns, _json))


def _first_reason(path: Path, head: bytes, kinds: Sequence[Callable[[_Text], str | None]]) -> str | None:
    text = _decoded(head)
    if text is None:
        return None
    read = _Text(path, text.splitlines(), whole=len(head) < _HEAD)
    return next((reason for kind in kinds if (reason := kind(read)) is not None), None)


# -- by the first bytes -----------------------------------------------------------------------------


def _picture(head: bytes) -> str | None:
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        size = _big(head[16:20]), _big(head[20:24])
        return _rendered("PNG", size if head[12:16] == b"IHDR" else None)
    if head.startswith(b"\xff\xd8\xff"):
        return _rendered("JPEG", _jpeg_size(head))
    if head.startswith((b"GIF87a", b"GIF89a")):
        return _rendered("GIF", (int.from_bytes(head[6:8], "little"), int.from_bytes(head[8:10], "little")))
    if head.startswith(b"BM") and head[6:10] == bytes(4):
        return _rendered("BMP", None)
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return _rendered("WebP", None)
    return None


def _rendered(kind: str, size: tuple[int, int] | None) -> str:
    pixels = "" if size is None else f" of {size[0]} x {size[1]} pixels"
    loss = ", compressed with loss" if kind == "JPEG" else ""
    return (
        f"it is a {kind} picture{pixels}, rendered for viewing{loss}: its grey values are not measured ones; {_EXPORT}"
    )


def _jpeg_size(head: bytes) -> tuple[int, int] | None:
    """Columns and rows from the frame header; the segments before it are skipped by their lengths."""
    position = 2
    while position + 9 <= len(head) and head[position] == 0xFF:
        marker = head[position + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return _big(head[position + 7 : position + 9]), _big(head[position + 5 : position + 7])
        position += 2 + max(_big(head[position + 2 : position + 4]), 2)
    return None


def _big(number: bytes) -> int:
    return int.from_bytes(number, "big")


def _document(head: bytes, tail: bytes) -> str | None:
    if head.startswith(b"%PDF"):
        return "it is a PDF document"
    if head.startswith(b"PK\x03\x04"):
        kinds = [kind for mark, kind in _ZIP_KINDS.items() if mark in tail or mark in head[:4096]]
        return f"it is {kinds[0]}" if kinds else "it is a ZIP archive; unpack it"
    if head.startswith(_OLE_SIGNATURE):
        return _container(head + tail)
    if head[257:262] == b"ustar":
        return "it is a tar archive; unpack it"
    named = [name for mark, name in _TABLES.items() if head.startswith(mark)]
    named += [f"{name}; unpack it" for mark, name in _ARCHIVES.items() if head.startswith(mark)]
    return f"it is {named[0]}" if named else None


def _container(content: bytes) -> str | None:
    if "ImageInfo".encode("utf-16-le") in content:
        return None
    for mark, kind in _OLE_KINDS.items():
        if mark.encode("utf-16-le") in content:
            return f"it is {kind}"
    return "it is an OLE container, but not of an Xradia microscope: it has no ImageInfo"


# -- by the first lines -----------------------------------------------------------------------------


def _decoded(head: bytes) -> str | None:
    """Text, or None for binary content."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return head.decode("utf-16", errors="replace")
    if b"\0" in head:
        return None
    text = head.decode("utf-8-sig", errors="replace")
    odd = sum(text.count(chr(code)) for code in range(32) if chr(code) not in "\t\n\r\f\v")
    return None if odd > 0.01 * len(text) else text


def _mask(text: _Text) -> str | None:
    lines = [line for line in text.lines if line]
    marks = set("".join(lines))
    if not lines or not marks <= set("OX \t") or not marks & set("OX"):
        return None
    return f"it is a mask drawn in text, {len(lines)} x {max(map(len, lines))} characters: no intensities"


def _single_image(text: _Text) -> str | None:
    """An ``.xim`` file; what it shows at which energy is said in its header."""
    if text.path.suffix.lower() != ".xim":
        return None
    match = _XIM_NAME.match(text.path.name)
    stem = match.group(1) if match else text.path.stem
    headers = [path.name for path in text.path.parent.iterdir() if path.suffix.lower() == ".hdr"]
    if f"{stem}.hdr" in headers:
        return f"it is one image of an STXM stack; give the stack's header {stem}.hdr instead"
    beside = f"only {', '.join(sorted(headers)[:3])}" if headers else "no .hdr file"
    return f"it is one image of an STXM stack, whose header {stem}.hdr is not in the folder ({beside})"


def _script(text: _Text) -> str | None:
    lines = text.filled[:200]
    n_commands = sum(line.startswith(_SCAN_COMMANDS) for line in lines)
    n_keys = sum(line.split()[0] in _SCAN_KEYS for line in lines)
    if 2 * n_commands > len(lines) or n_keys >= 4:
        return "it is the script of a scan: what the microscope was told to do, not what it measured"
    return None


def _checksums(text: _Text) -> str | None:
    lines = text.filled
    if not lines or not all(_CHECKSUM.match(line) for line in lines[:50]):
        return None
    return f"it is a list of {_count(text, len(lines))} files and their checksums"


def _toml(text: _Text) -> str | None:
    if text.path.suffix.lower() != ".toml":
        return None
    if any(line.startswith("[measurement.") for line in text.lines):
        return f"it is a recipe; try  cathoscope check {text.path.name}"
    return "it is a TOML file: settings, no measurement"


def _program(text: _Text) -> str | None:
    first = text.lines[0] if text.lines else ""
    if first.startswith("#!"):
        return f"it is a program ({first[2:].strip()[:60]})"
    return "it is a Python program" if text.path.suffix.lower() in (".py", ".ipynb") else None


def _settings(text: _Text) -> str | None:
    lines = text.filled[:100]
    if lines and lines[0].startswith("EC-LAB SETTING FILE"):
        return "it is the settings of EC-Lab, what was to be done; give the record, .mpr or .mpt"
    if len(lines) < 3 or not re.fullmatch(r"\[[^\[\]]+\]", lines[0].strip()):
        return None
    entries = [line for line in lines if re.match(r"\s*[\w() -]+[:=]", line) or line.strip().startswith("[")]
    if 2 * len(entries) <= len(lines):
        return None
    picture = text.path.with_suffix("")
    if text.path.suffix.lower() == ".txt" and picture.is_file():
        return f"it is the list of settings with which {picture.name} was taken"
    return "it is a list of settings in sections, no measurement"


def _markup(text: _Text) -> str | None:
    begin = "".join(text.lines[:5]).lstrip().lower()
    for mark, kind in (("<svg", "an SVG picture"), ("<!doctype html", "an HTML page"), ("<html", "an HTML page")):
        if begin.startswith(mark) or (begin.startswith("<?xml") and mark in begin):
            return f"it is {kind}"
    return "it is an XML file" if begin.startswith("<?xml") else None


def _one_column(text: _Text) -> str | None:
    """A list of energies, as beamlines keep beside a stack."""
    lines = [line.strip() for line in text.filled if not line.lstrip().startswith("#")]
    if len(lines) < 2 or not all(_NUMBER.match(line) for line in lines):
        return None
    numbers = [float(line) for line in lines]
    low, high = min(numbers), max(numbers)
    unit = "eV" if low > 100 and high < 1e5 else "keV" if low > 0.1 and high <= 100 else None
    what = "numbers" if unit is None else f"energies in {unit}, by their size"
    count = _count(text, len(numbers))
    return f"it is one column of {count} {what} ({low:.8g} to {high:.8g}), without anything measured at them"


def _two_columns(text: _Text) -> str | None:
    """A spectrum without names, in energies that no reader takes for hard X-rays."""
    rows = [re.split(r"[\s,;]+", line.strip()) for line in text.filled if line.lstrip()[0] not in "#%*!"]
    if len(rows) < 2 or not all(len(row) == 2 and _NUMBER.match(row[0]) and _NUMBER.match(row[1]) for row in rows):
        return None
    first = [float(row[0]) for row in rows]
    span = f"{_count(text, len(rows))} rows from {min(first):.8g} to {max(first):.8g}"
    if text.path.name == "i0.xsp":
        return f"it is the incident intensity of an STXM stack, {span}; give the .hdr file beside it"
    return (
        f"it is two columns of numbers without names, {span}; if the first is the energy, it can be a component of "
        f'spectromicroscopy:  mixture.references.NAME = "{text.path.name}",  or with names above its columns xas'
    )


def _json(text: _Text) -> str | None:
    """Arrays, of which only the recipe can say what they are."""
    if not text.lines or not text.lines[0].lstrip().startswith(("{", "[")) or not text.whole:
        return None
    try:
        content = json.loads("\n".join(text.lines))
    except (ValueError, RecursionError) as error:
        return None if text.path.suffix.lower() != ".json" else f"it is JSON, truncated or damaged: {error}"
    record = content[0] if isinstance(content, list) and content else content
    if not isinstance(record, dict):
        return "it is JSON without keys, no measurement"
    keys = ", ".join(f"{key} ({_json_kind(value)})" for key, value in list(record.items())[:_MOST_KEYS])
    return (
        f"it is JSON with the keys {keys}; the recipe says which of them is what:  "
        'technique = "xas",  columns = { energy = "KEY", absorption = "KEY", labels = ["KEY"] },  '
        'or  even_energy = ["8330 eV", "0.4 eV", 100]  where there are no energies'
    )


def _json_kind(value: Any) -> str:
    """What a value of JSON is, as "16 x list of 100 numbers"."""
    if isinstance(value, dict):
        inner = {_json_kind(item) for item in list(value.values())[:_MOST_KEYS]}
        return f"{len(value)} x {inner.pop()}" if len(inner) == 1 else f"{len(value)} values"
    if isinstance(value, list):
        inner = {_json_kind(item) for item in value[:_MOST_KEYS]}
        return f"list of {len(value)} {inner.pop()}s" if len(inner) == 1 else f"list of {len(value)}"
    kinds = {str: "text", bool: "true or false", int: "number", float: "number", type(None): "nothing"}
    return kinds[type(value)]


def _note(text: _Text) -> str | None:
    lines = text.filled
    if not lines:
        return "it is a text file with nothing but blanks"
    name = text.path.name.lower()
    if text.path.suffix.lower() in (".md", ".rst") or name.startswith(_NOTES):
        return f"it is text for people ({_beginning(lines[0])})"
    begin = lines[0].lstrip()
    rows = [line for line in lines if _NUMBER.match(re.split(r"[\s,;]+", line.strip())[0])]
    letters = sum(character.isalpha() for line in lines for character in line)
    written = sum(len(line.strip()) for line in lines)
    if begin[0] in "{[@" or len(rows) > 0.2 * len(lines) or 2 * letters < written:
        return None
    return f"it is text for people ({_beginning(begin)})"


def _beginning(line: str) -> str:
    line = " ".join(line.split())
    return f"begins: {line[:60]}{'...' if len(line) > 60 else ''}"


def _count(text: _Text, number: int) -> str:
    return str(number) if text.whole else f"more than {number}"


_TEXTS: tuple[Callable[[_Text], str | None], ...] = (
    _single_image,
    _mask,
    _script,
    _checksums,
    _toml,
    _program,
    _settings,
    _markup,
    _one_column,
    _note,
)
