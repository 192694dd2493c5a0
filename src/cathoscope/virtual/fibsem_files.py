"""Slices as the microscope's program writes them: TIFF, 8 bit, with a block of plain text; and truth as HDF5 beside."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import tifffile
from numpy.typing import NDArray

from cathoscope.core.study import write_failure

_TEXT_TAG = 34118  # where this maker keeps its text block
_CENTIMETRE = 3  # unit of resolution
_UM_PER_CM = 1e4


class Header(NamedTuple):
    """What the file of an image says about it: lengths um; ``slice_z`` is nominal; ``note`` is free text."""

    pixel: float
    title: str
    slice_number: int | None = None
    slice_z: float | None = None
    thickness: float | None = None
    cycle: float | None = None
    stage: tuple[float, float] | None = None
    note: str = ""

    def lines(self) -> list[tuple[str, str, str]]:
        """Key, name and value of every entry of the text block."""
        entries = [
            ("AP_IMAGE_PIXEL_SIZE", "Image Pixel Size", f"{1e3 * self.pixel:.4g} nm"),
            ("SV_IMAGE_NAME", "Image Name", self.title),
        ]
        if self.slice_number is not None:
            entries.append(("AP_SLICE_NUMBER", "Slice Number", str(self.slice_number)))
        if self.slice_z is not None:
            entries.append(("AP_SLICE_POSITION", "Slice Position", f"{1e3 * self.slice_z:.6g} nm"))
        if self.thickness is not None:
            entries.append(("AP_SLICE_THICKNESS", "Slice Thickness", f"{1e3 * self.thickness:.4g} nm"))
        if self.cycle is not None:
            entries.append(("SV_USER_TEXT", "User Text", f"cycle {self.cycle:g}"))
        if self.stage is not None:
            entries += [
                (f"AP_STAGE_AT_{axis}", f"Stage at {axis}", f"{value:.4f} um")
                for axis, value in zip("XY", self.stage, strict=True)
            ]
        if self.note:
            entries.append(("SV_NOTE", "Note", self.note))
        return entries

    @property
    def text(self) -> str:
        """The block: two lines for each entry."""
        return "".join(f"{key}\r\n{name} = {value}\r\n" for key, name, value in self.lines())


def eight_bit(image: NDArray[Any], white: float) -> NDArray[np.uint8]:
    """Grey values of an image whose oxide is 1 as 8-bit numbers, the oxide being ``white``; cut at 0 and 255."""
    return np.clip(np.rint(image * white), 0, 255).astype(np.uint8)


def write_image(path: Path, image: NDArray[np.uint8], header: Header) -> None:
    """Write one image (row, column), or slices as the pages of one file; it gets its name when it is whole.

    Raises
    ------
    StudyError
        If it cannot be written.
    """
    text = header.text
    per_cm = _UM_PER_CM / header.pixel
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(
            part,
            image,
            photometric="minisblack",
            description="".join(f"{name} = {value}\n" for _, name, value in header.lines()).replace("µ", "u"),
            metadata=None,
            resolution=(per_cm, per_cm),
            resolutionunit=_CENTIMETRE,
            extratags=[(_TEXT_TAG, 2, 0, text.encode("ascii", "replace").decode() + "\0", True)],
            compression=None,
            software="cathoscope simulate",
        )
        os.replace(part, path)
    except OSError as error:
        raise write_failure(path, error) from error
    finally:
        part.unlink(missing_ok=True)


class Truth(NamedTuple):
    """An array of the truth: values, unit, and what they are."""

    values: Any
    unit: str
    meaning: str


def write_truth_file(path: Path, arrays: Mapping[str, Truth], **attributes: Any) -> None:
    """Write arrays into one HDF5 file, each with the attributes ``units`` and ``long_name``.

    Raises
    ------
    StudyError
        If it cannot be written.
    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(part, "w") as file:
            file.attrs.update(attributes)
            for name, (values, unit, meaning) in arrays.items():
                array = np.asarray(values)
                packed = {"compression": "gzip", "compression_opts": 1} if array.size > 10_000 else {}
                data = file.create_dataset(name, data=array, **packed)
                data.attrs.update({"units": unit, "long_name": meaning})
        os.replace(part, path)
    except OSError as error:
        raise write_failure(path, error) from error
    finally:
        part.unlink(missing_ok=True)
