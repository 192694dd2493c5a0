"""Slices of a FIB/SEM: TIFF images with the block of text in which the microscope's program keeps its settings.

Schema
------
``pages`` (page, row, column), lazy, by rising number of the slice; ``slice_number`` and ``slice_depth`` (um, nominal)
of every page, and ``page_cycle`` where the files say after which cycle of the battery they were taken.

Uncertainties
-------------
None are stored in the files.

Metadata
--------
Attributes ``pixel_size`` and ``thickness`` (um; thickness only where stated), ``stage`` (x, y of the first slice, um),
``maker``, ``format``, ``source``, ``n_files``, ``files`` and ``remarks``.

File structure
--------------
TIFF as in `stacks`. Tag 34118 (Zeiss): pairs of lines, a key in capitals and ``Name = value unit``. Tags 34680 and
34682 (FEI, Thermo Fisher): sections in brackets and lines ``Key=value`` in SI units. The number of the slice, its
place, thickness and cycle are read where they are; else the number is the last one in the file's name, or its place.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.core.schema import label
from cathoscope.io.stacks import _warnings_of_tifffile, natural_order, open_tiff, recognise_tiff

ZEISS, FEI = (34118,), (34680, 34682)
_TO_UM = {"pm": 1e-6, "nm": 1e-3, "um": 1.0, "µm": 1.0, "μm": 1.0, "mm": 1e3, "cm": 1e4, "m": 1e6}
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_CYCLE = re.compile(rf"cycles?\s*[-_=:#]?\s*({_NUMBER})", re.IGNORECASE)
_SAME = 1e-3  # relative difference below which two pixel sizes are the same
_MOST_NAMED = 5


@dataclass(frozen=True)
class TextBlock:
    """Entries of the block by lower-case key, each with its line, counted from 1."""

    path: Path
    maker: str
    entries: dict[str, tuple[str, int]]

    def length(self, *keys: str, si: bool = False) -> float | None:
        """The first of ``keys`` that is there, as um; with ``si`` a bare number is in metres.

        Raises
        ------
        MeasurementError
            If it is no positive or negative length, naming file and line.
        """
        for key in keys:
            if key in self.entries:
                text, line = self.entries[key]
                match = re.fullmatch(rf"({_NUMBER})\s*([a-zµμ]*)", text.strip())
                unit = match.group(2) or ("m" if si else "") if match else ""
                if match is None or unit not in _TO_UM:
                    raise self.mistake(key, "is no length", "a number and nm, um or mm", text, line)
                return float(match.group(1)) * _TO_UM[unit]
        return None

    def mistake(self, key: str, problem: str, expected: str, found: str, line: int) -> MeasurementError:
        """What is wrong with an entry."""
        return MeasurementError(
            f"{key} {problem}",
            where=f"{self.path}, line {line} of its text block",
            expected=expected,
            found=found[:60] or "nothing",
            cure="export the image again from the microscope's program",
        )


@dataclass(frozen=True)
class SliceHeader:
    """What one file says; lengths um, None where it does not say it."""

    path: Path
    maker: str
    pixel_size: float | None
    slice_number: int | None = None
    depth: float | None = None
    thickness: float | None = None
    cycle: float | None = None
    stage: tuple[float, float] | None = None


def recognise_fibsem_tiff(path: Path) -> str | None:
    """None if the file is a TIFF with a microscope's block of text, else why it is not one."""
    reason = recognise_tiff(path)
    if reason is not None:
        return reason
    try:
        return (
            None if _text_of(path) else "it has no block of text of an electron microscope (tags 34118, 34680, 34682)"
        )
    except MeasurementError:
        return "its tags cannot be read"


def recognise_plain_tiff(path: Path) -> str | None:
    """None if the file is a TIFF without a microscope's block of text, else why it is not one."""
    reason = recognise_tiff(path)
    if reason is not None:
        return reason
    try:
        return "it has a block of text of an electron microscope" if _text_of(path) else None
    except MeasurementError:  # its reader says what is damaged
        return None


def _text_of(path: Path) -> tuple[str, str] | None:
    """Maker and text of the block."""
    try:
        with _warnings_of_tifffile(), tifffile.TiffFile(path) as file:
            tags = file.pages.first.tags
            for maker, codes in (("Zeiss", ZEISS), ("FEI", FEI)):
                for code in codes:
                    tag = tags.get(code)
                    if tag is not None and tag.count > 8:
                        file.filehandle.seek(tag.valueoffset)
                        data = file.filehandle.read(tag.valuebytecount)
                        return maker, data.decode("cp1252", errors="replace").rstrip("\0")
    except Exception as error:  # tifffile raises errors of many kinds on damaged files
        raise MeasurementError(
            "the TIFF file is damaged or cannot be read", where=path, found=str(error).split("\n", 1)[0]
        ) from error
    return None


def text_block(path: Path) -> TextBlock | None:
    """The entries of a file's block of text; None if it has none.

    Raises
    ------
    MeasurementError
        If the file cannot be read.
    """
    found = _text_of(path)
    if found is None:
        return None
    maker, text = found
    entries = _zeiss(text) if maker == "Zeiss" else _fei(text)
    return TextBlock(path, maker, entries)


def _zeiss(text: str) -> dict[str, tuple[str, int]]:
    """Value and line by key: a line in capitals, then ``Name = value``."""
    entries, key = {}, ""
    for number, line in enumerate(text.splitlines(), 1):
        if re.fullmatch(r"[A-Z0-9_]{4,}", line.strip()) and line.strip()[0].isalpha():
            key = line.strip().lower()
        elif key:
            parts = re.split(r"\s*[=:]\s*", line, maxsplit=1)
            entries[key] = (parts[1].strip() if len(parts) == 2 else "", number)
            key = ""
    return entries


def _fei(text: str) -> dict[str, tuple[str, int]]:
    """Value and line by ``section.key``."""
    entries, section = {}, ""
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith("[") and stripped.endswith("]"):
            section = stripped[1:-1].lower()
        elif "=" in stripped:
            key, value = stripped.split("=", 1)
            entries[f"{section}.{key.strip().lower()}"] = (value.strip(), number)
    return entries


def slice_header(path: Path) -> SliceHeader:
    """What the block of text of one file says about its slice.

    Raises
    ------
    MeasurementError
        If the file has no such block, or an entry is no number; naming file and line.
    """
    block = text_block(path)
    if block is None:
        raise MeasurementError(
            "the TIFF has no block of text of an electron microscope",
            where=path,
            expected="tag 34118, 34680 or 34682",
            cure='say  reader = "tiff"  and  pixel_size  in the recipe',
        )
    header = _of_zeiss(block) if block.maker == "Zeiss" else _of_fei(block)
    if header.pixel_size is not None and not header.pixel_size > 0:
        key = "ap_image_pixel_size" if block.maker == "Zeiss" else "scan.pixelwidth"
        text, line = block.entries.get(key, ("", 0))
        raise block.mistake(key, "is no size of a pixel", "a positive length", text, line)
    return header


def _of_zeiss(block: TextBlock) -> SliceHeader:
    x, y = block.length("ap_stage_at_x"), block.length("ap_stage_at_y")
    return SliceHeader(
        block.path,
        block.maker,
        block.length("ap_image_pixel_size", "ap_pixel_size"),
        _slice_number(block, "ap_slice_number"),
        block.length("ap_slice_position"),
        block.length("ap_slice_thickness"),
        _cycle(block, ("sv_user_text", "sv_note", "sv_image_name")),
        None if x is None or y is None else (x, y),
    )


def _of_fei(block: TextBlock) -> SliceHeader:
    width = block.length("scan.pixelwidth", "escan.pixelwidth", "image.pixelwidth", si=True)
    height = block.length("scan.pixelheight", "escan.pixelheight", "image.pixelheight", si=True)
    if width is not None and height is not None and abs(height - width) > 0.01 * width:
        _, line = block.entries.get("scan.pixelheight", ("", 0))
        found = f"{1e3 * width:.4g} x {1e3 * height:.4g} nm"
        raise block.mistake("PixelHeight", "is not PixelWidth: the pixels are no squares", "squares", found, line)
    x, y = (block.length(f"stage.stage{axis}", si=True) for axis in "xy")
    return SliceHeader(
        block.path,
        block.maker,
        width,
        _slice_number(block, "fibslice.slicenumber", "user.slicenumber"),
        block.length("fibslice.sliceposition", si=True),
        block.length("fibslice.slicethickness", si=True),
        _cycle(block, ("user.usertext", "privatefei.databarlabel", "user.usertextunicode")),
        None if x is None or y is None else (x, y),
    )


def _slice_number(block: TextBlock, *keys: str) -> int | None:
    """As the block says it."""
    for key in keys:
        if key in block.entries:
            text, line = block.entries[key]
            if not re.fullmatch(r"-?\d+", text):
                raise block.mistake(key, "is no number of a slice", "a whole number", text, line)
            return int(text)
    return None


def _cycle(block: TextBlock, keys: Sequence[str]) -> float | None:
    """Number of cycles as a person typed it, ``cycle 35``; else as the file's name has it, ``cycle_0035``."""
    texts = [block.entries[key][0] for key in keys if key in block.entries]
    found = [match for text in (*texts, block.path.stem) if (match := _CYCLE.search(text))]
    return float(found[0].group(1)) if found else None


def open_fibsem_tiff(paths: Sequence[Path], angle_range: tuple[float, float] | None = None) -> xr.Dataset:
    """Slices as a lazy Dataset (see the module's docstring); a file of many pages is a stack from its first page on.

    Parameters
    ----------
    paths
        One file, or several, in any order.
    angle_range
        Not used.

    Raises
    ------
    MeasurementError
        If a file is damaged, a slice is there twice, or sizes differ; naming the file, and the line of its text.
    """
    ordered = sorted((path.absolute() for path in paths), key=natural_order)
    headers = [slice_header(path) for path in ordered]
    pixel = _same_pixel(headers)
    data = open_tiff(ordered)
    headers, numbers = _numbered(headers, data.sizes["page"])
    order = np.argsort(numbers, kind="stable")
    data = data if np.array_equal(order, np.arange(order.size)) else data.isel(page=order)
    headers, numbers = [headers[int(n)] for n in order], numbers[order]
    thickness = next((one.thickness for one in headers if one.thickness), None)
    coords: dict[str, Any] = {"slice_number": label("slice_number", numbers, ("page",))}
    depth = _depths(headers, numbers, thickness)
    if depth is not None:
        coords["slice_depth"] = label("slice_depth", depth, ("page",))
    cycles = [one.cycle for one in headers]
    if any(cycle is not None for cycle in cycles):
        values = np.array([np.nan if cycle is None else cycle for cycle in cycles])
        coords["page_cycle"] = label("page_cycle", values, ("page",))
    attrs: dict[str, Any] = {
        **data.attrs,
        "format": "fibsem_tiff",
        "maker": headers[0].maker,
        "source": str(ordered[0]),
    }
    attrs |= {} if pixel is None else {"pixel_size": pixel}
    attrs |= {} if thickness is None else {"thickness": thickness}
    attrs |= {} if headers[0].stage is None else {"stage": list(headers[0].stage)}
    attrs["files"] = [str(path) for path in ordered]
    attrs["remarks"] = [*data.attrs.get("remarks", ()), *_remarks(numbers)]
    return data.assign_coords(coords).assign_attrs(attrs)


def _same_pixel(headers: Sequence[SliceHeader]) -> float | None:
    """The pixel size of all files."""
    known = [one for one in headers if one.pixel_size]
    for one in known[1:]:
        first = known[0]
        if abs(float(one.pixel_size or 0) / float(first.pixel_size or 1) - 1) > _SAME:
            raise MeasurementError(
                "the pixel sizes of the slices differ",
                where=one.path,
                expected=f"{1e3 * float(first.pixel_size or 0):.5g} nm, as in {first.path.name}",
                found=f"{1e3 * float(one.pixel_size or 0):.5g} nm",
                cure="take all slices at one magnification; leave this one out",
            )
    return known[0].pixel_size if known else None


def _numbered(headers: list[SliceHeader], pages: int) -> tuple[list[SliceHeader], NDArray[np.int64]]:
    """The header of every page and its number: stated, else the last in the file's name, else its place.

    Raises
    ------
    MeasurementError
        If a stated number is there twice, or several files have many pages.
    """
    if len(headers) < pages:
        if len(headers) > 1:
            raise MeasurementError(
                "several files of many slices are given",
                where=headers[1].path,
                expected="one file with all slices, or one file for each slice",
                found=f"{len(headers)} files, {pages} slices",
            )
        return [replace(headers[0], depth=None)] * pages, np.arange(pages) + (headers[0].slice_number or 0)
    stated = [one.slice_number for one in headers]
    if None not in stated:
        numbers = np.array(stated, dtype=np.int64)
        _require_once(numbers, headers)
        return headers, numbers
    named = [re.findall(r"\d+", one.path.stem) for one in headers]
    numbers = np.array([int(found[-1]) if found else -1 for found in named], dtype=np.int64)
    return headers, numbers if np.unique(numbers).size == pages else np.arange(pages)


def _require_once(numbers: NDArray[np.int64], headers: Sequence[SliceHeader]) -> None:
    values, times = np.unique(numbers, return_counts=True)
    if times.max() == 1:
        return
    twice = int(values[np.argmax(times > 1)])
    same = [headers[int(n)].path for n in np.flatnonzero(numbers == twice)]
    raise MeasurementError(
        f"slice {twice} is there twice",
        where=same[1],
        expected="every slice once",
        found=" and ".join(path.name for path in same[:_MOST_NAMED]),
        cure="leave the repeated images out of the pattern in the recipe",
    )


def _depths(
    headers: Sequence[SliceHeader], numbers: NDArray[np.int64], thickness: float | None
) -> NDArray[np.float64] | None:
    """Nominal depth (um) of every slice: as stated, else its number times the thickness; None if neither is known."""
    stated = [one.depth for one in headers]
    if all(depth is not None for depth in stated):
        return np.array(stated, dtype=np.float64)
    return None if thickness is None else (numbers - numbers[0]) * thickness


def _remarks(numbers: NDArray[np.int64]) -> list[str]:
    """Slices that are missing."""
    whole = np.arange(numbers[0], numbers[-1] + 1)
    lost = np.setdiff1d(whole, numbers)
    if not lost.size:
        return []
    names = ", ".join(map(str, lost[:_MOST_NAMED])) + (" and more" if lost.size > _MOST_NAMED else "")
    return [f"{lost.size} of {whole.size} slices are missing: {names}"]
