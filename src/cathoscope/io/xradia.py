"""Zeiss/Xradia X-ray microscopes: ``.txrm`` scans of many projections and ``.xrm`` single images.

Schema
------
``counts`` (projection, row, column), lazy, one image stream per projection, of a single image one
projection; where the file embeds its reference ``flat_counts`` (flat, row, column) with one flat.
Coordinates ``angle`` (projection) in deg and, where header or file name tells, the scalar
``energy`` in eV; a remark says which of the two it is from.

Uncertainties
-------------
None are stored in the files. Counting noise follows from the counts and the detector's gain.

Metadata
--------
Attributes ``format``, ``source``, ``remarks``, ``planned_projections`` (for how many images the
header has room), ``frame_kind`` ("sample" or "reference"), and as the file has them ``pixel_size``
(um), ``exposure_s`` (one number, or a list where it differs between images), ``flat_exposure_s``,
``scan_time``, ``binning``, ``objective``, ``sample_name``, ``reference_file``, and from SSRL file
names ``repetition``, ``frame`` and ``n_frames``.

``pixel_size`` is what the header states. At SSRL 6-2c the header repeats one number for all
energies while the zone plate's magnification falls with energy: the true pixel size is
proportional to energy, with a field of view of 36.39296 um at 9000 eV (0.03554 um for
1024 columns). Nothing is rescaled here; images of different energies differ in scale by that ratio.

File structure
--------------
OLE2 container (MS-CFB), little endian. ``ImageData<m>/Image<k>``: image k = 1, 2, ..., a hundred
to a storage, row by row; ``ImageInfo/ImageWidth``, ``ImageHeight``, ``DataType`` (5 uint16,
10 float32), ``NoOfImages``, ``ImagesTaken`` int32; ``ImageInfo/PixelSize`` (um) float32;
``ImageInfo/Angles`` (deg), ``Energy`` (eV, 0 where not recorded), ``ExpTimes`` (s),
``XrayMagnification`` float32, one per image or per planned image; ``ImageInfo/Date`` text;
``ReferenceData/Image``, ``DataType``, ``ExpTime``. Texts end at their first zero byte, what
follows is arbitrary.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from cathoscope.core.errors import MeasurementError
from cathoscope.core.schema import dataset, label
from cathoscope.io.lazy import COPY_AGAIN, PageStack, lazy
from cathoscope.io.ole import Container, Extents, begins_as_container, damaged, open_container
from cathoscope.io.repair import (
    STATE_ANGLES,
    angles_in_degrees,
    angles_of_projections,
    energy_in_ev,
    even_angles,
    length_in_um,
)

_DTYPES: dict[int | None, np.dtype[Any]] = {5: np.dtype("<u2"), 10: np.dtype("<f4")}
_IMAGE = re.compile(r"image([1-9]\d{0,8})")
_PER_IMAGE = ("ImageInfo/Energy", "ImageInfo/XrayMagnification", "ImageInfo/Angles")
_TEXTS = {
    "ImageInfo/ObjectiveName": "objective",
    "SampleInfo/SampleID": "sample_name",
    "ImageInfo/ReferenceFile": "reference_file",
}
# Read-back of a monochromator that stands still; two energies of a scan lie further apart.
_SAME_ENERGY_EV = 0.2
_NAMED_ENERGY_EV = 2.0
_SAME_EXPOSURE = 1e-6

_ENERGY_IN_NAME = re.compile(r"_(\d{3,6}(?:\.\d+)?)_eV(?=[_.]|$)")
_DATE = re.compile(r"(0[1-9]|1[0-2])/(0[1-9]|[12]\d|3[01])/(?:20)?(\d\d) (\d\d:\d\d:\d\d)")


def energy_from_file_name(name: str) -> float | None:
    """Energy in eV that an SSRL file name states, as ``..._08324.0_eV_001of003.xrm``; None without one."""
    found = _ENERGY_IN_NAME.search(name)
    energy = float(found[1]) if found else 0.0
    return energy if energy > 0 else None


@dataclass(frozen=True)
class FrameName:
    """What an SSRL file name tells of its image.

    Parameters
    ----------
    kind
        "reference" (no sample in the beam) or "sample".
    repetition
        Number of the scan's repetition, from ``rep01``.
    frame, n_frames
        Which of how many exposures at one place and energy, from ``001of003``.
    """

    kind: str
    repetition: int | None
    frame: int | None
    n_frames: int | None


def frame_of_file_name(name: str) -> FrameName:
    """What the file name tells of the image; a name of another pattern is a sample without numbers.

    ``rep01_000051_ref_20161456_name_08324.0_eV_001of010.xrm`` is a reference,
    ``rep01_20161456_name_08324.0_eV_001of003.xrm`` a sample.
    """
    repetition = re.match(r"rep(\d{1,9})_", name)
    frame = re.search(r"_(\d{1,9})of(\d{1,9})(?=\.|$)", name)
    return FrameName(
        kind="reference" if "_ref_" in name else "sample",
        repetition=int(repetition[1]) if repetition else None,
        frame=int(frame[1]) if frame else None,
        n_frames=int(frame[2]) if frame else None,
    )


class XradiaImages(PageStack):
    """Image streams of an Xradia file as one array (image, row, column), in the byte order of this machine."""

    def __init__(self, path: Path, images: Sequence[Extents], shape: tuple[int, int], dtype: np.dtype[Any]) -> None:
        self.path = path.absolute()
        self.images = tuple(images)
        self.shape = (len(self.images), *shape)
        self.stored = dtype
        self.dtype = dtype.newbyteorder("=")

    def read_pages(self, numbers: Sequence[int], rows: slice) -> Iterator[npt.NDArray[Any]]:
        """The ``rows`` of the images ``numbers``; the file is opened once."""
        row_bytes = self.shape[2] * self.dtype.itemsize
        shape = (rows.stop - rows.start, self.shape[2])
        try:
            with self.path.open("rb") as file:
                for number in numbers:
                    content = self.images[number].part(rows.start * row_bytes, rows.stop * row_bytes).read(file)
                    if len(content) != shape[0] * row_bytes:
                        raise damaged(self.path, f"image {number + 1} of {self.shape[0]} has become shorter")
                    yield np.frombuffer(content, self.stored).reshape(shape)
        except OSError as error:
            raise damaged(self.path, str(error)) from error


def recognise_xradia(path: Path) -> str | None:
    """None if the content is an Xradia file, else why it is not.

    A damaged OLE2 container counts as one, so that opening it can say what is damaged.
    """
    if not begins_as_container(path):
        return "does not begin as an OLE2 container"
    try:
        with open_container(path) as container:
            storages = sorted(container.root.kids_dict)
    except MeasurementError:
        return None
    if "imageinfo" in storages:
        return None
    return f"an OLE2 container, but without ImageInfo; it holds {', '.join(map(repr, storages[:8])) or 'nothing'}"


@dataclass
class _Scan:
    """One open file while its description is being read."""

    path: Path
    container: Container
    remarks: list[str] = field(default_factory=list)

    def dtype(self, storage: str) -> np.dtype[Any]:
        """Type of the numbers of a storage of the container."""
        code = self.container.integer(f"{storage}/DataType")
        if code in _DTYPES:
            return _DTYPES[code]
        raise MeasurementError(
            f"{storage}/DataType is not known",
            where=self.path,
            expected=" or ".join(f"{known} ({dtype.name})" for known, dtype in _DTYPES.items()),
            found="no such stream" if code is None else str(code),
            cure="save the images as 16 bit integers or 32 bit floats",
        )

    def shape(self) -> tuple[int, int]:
        """Rows and columns of an image."""
        rows, columns = (self.container.integer(f"ImageInfo/Image{side}") for side in ("Height", "Width"))
        if rows is not None and columns is not None and rows > 0 and columns > 0:
            return rows, columns
        raise MeasurementError(
            "the header does not give the size of the images",
            where=self.path,
            expected="positive ImageInfo/ImageHeight and ImageWidth",
            found=f"{rows} and {columns}",
            cure=COPY_AGAIN,
        )

    def floats(self, name: str) -> list[float]:
        """A stream of float32 as the shortest decimals that stand for them (0.3, not 0.30000001192)."""
        return [float(str(value)) for value in self.container.numbers(name, "<f4")]

    def one_per_image(self, name: str, numbers: Sequence[int]) -> list[float]:
        """Of an array over planned images, the values of the images ``numbers``, as far as it goes."""
        values = self.floats(name)
        return [values[number - 1] for number in numbers if number <= len(values)]


def open_xradia(paths: Sequence[Path], angle_range: tuple[float, float] | None = None) -> xr.Dataset:
    """One Xradia file, ``paths[0]``, as a lazy Dataset (see the module's docstring).

    Parameters
    ----------
    paths
        One file.
    angle_range
        First and last angle of the projections in deg, both included; replaces the file's angles.

    Raises
    ------
    MeasurementError
        If the container is damaged, there is no image, an image is cut off, its number type is unknown,
        or the angles of a scan are missing.
    """
    path = paths[0]
    with open_container(path) as container:
        scan = _Scan(path, container)
        shape, dtype = scan.shape(), scan.dtype("ImageInfo")
        entries = _image_entries(scan)
        numbers = list(entries)
        images = [_image(scan, f"Image{number}", entry, shape, dtype) for number, entry in entries.items()]
        angle = _angles(scan, numbers, angle_range)
        n_used = len(numbers) if angle is None else angle.size
        stack = XradiaImages(path, images, shape, dtype)
        arrays = [label("counts", lazy(stack), ("projection", "row", "column"))[:n_used], *_flat(scan, shape)]
        coordinates = {} if angle is None else {"angle": label("angle", angle, ("projection",))}
        energy = _energy(scan)
        if energy is not None:
            coordinates["energy"] = label("energy", np.float64(energy), ())
        attributes = _attributes(scan, numbers)
    return dataset(arrays, **attributes, remarks=scan.remarks).assign_coords(coordinates)


def _image_entries(scan: _Scan) -> dict[int, Any]:
    entries: dict[int, Any] = {}
    for storage, node in scan.container.root.kids_dict.items():
        streams = node.kids_dict if storage.startswith("imagedata") else {}
        entries.update({int(match[1]): streams[name] for name in streams if (match := _IMAGE.fullmatch(name))})
    if not entries:
        planned, taken = (scan.container.integer(f"ImageInfo/{name}") for name in ("NoOfImages", "ImagesTaken"))
        raise MeasurementError(
            "the file holds no image",
            where=scan.path,
            expected="a stream ImageData1/Image1",
            found=f"a header alone (NoOfImages {planned}, ImagesTaken {taken})",
            cure="the exposure was interrupted before its image was saved; leave the file out of the recipe",
        )
    last = max(entries)
    if last > len(entries):
        gaps = (number for number in range(1, last) if number not in entries)
        names = ", ".join(f"Image{number}" for number in islice(gaps, 5))
        scan.remarks.append(f"{last - len(entries)} image(s) before the last are missing: {names}")
    return dict(sorted(entries.items()))


def _image(scan: _Scan, name: str, entry: Any, shape: tuple[int, int], dtype: np.dtype[Any]) -> Extents:
    expected = shape[0] * shape[1] * dtype.itemsize
    extents = scan.container.extents(entry)
    if entry.size == extents.size == expected:
        return extents
    found = f"{entry.size} bytes"
    if extents.size < entry.size:
        found = f"{extents.size} of {entry.size} bytes; the file ends after {scan.path.stat().st_size} bytes"
    raise MeasurementError(
        f"{name} is incomplete" if extents.size < entry.size else f"{name} has another size than the header says",
        where=scan.path,
        expected=f"{shape[0]} rows x {shape[1]} columns of {dtype.name}, {expected} bytes",
        found=found,
        cure=COPY_AGAIN,
    )


def _angles(scan: _Scan, numbers: list[int], angle_range: tuple[float, float] | None) -> npt.NDArray[np.float64] | None:
    if angle_range is not None:
        scan.remarks.append("ImageInfo/Angles is replaced by the recipe's angle_range")
        return even_angles(angle_range, len(numbers))
    values = np.array(scan.one_per_image("ImageInfo/Angles", numbers), dtype=np.float64)
    if not values.size:
        if len(numbers) == 1:
            return None
        raise MeasurementError(
            "ImageInfo/Angles is missing: the angles of the projections are not known",
            where=scan.path,
            expected=f"{len(numbers)} angles",
            found="none",
            cure=STATE_ANGLES,
        )
    values, _ = angles_in_degrees(values, "deg", scan.path)
    values, remarks = angles_of_projections(values, len(numbers), scan.path)
    scan.remarks += remarks
    return values


def _flat(scan: _Scan, shape: tuple[int, int]) -> list[xr.DataArray]:
    """The reference image that the file embeds, as a list of one or none."""
    entry = scan.container.entry("ReferenceData/Image")
    if entry is None:
        return []
    dtype = scan.dtype("ReferenceData")
    if entry.size != shape[0] * shape[1] * dtype.itemsize:
        scan.remarks.append(
            f"ReferenceData/Image has {entry.size} bytes, not {shape[0]} rows x {shape[1]} columns of {dtype.name}, "
            "and is set aside"
        )
        return []
    flat = XradiaImages(scan.path, [_image(scan, "ReferenceData/Image", entry, shape, dtype)], shape, dtype)
    return [label("flat_counts", lazy(flat), ("flat", "row", "column"))]


def _energy(scan: _Scan) -> float | None:
    """Energy in eV by the header, else by the file name, with remarks that say which."""
    stored = [value for value in scan.floats("ImageInfo/Energy") if np.isfinite(value) and value > 0]
    named = energy_from_file_name(scan.path.name)
    if not stored:
        source = f"{named:.10g} eV is from the file name" if named else "is not in the file name either: unknown"
        scan.remarks.append(f"ImageInfo/Energy is not recorded; the energy {source}")
        return named
    if np.ptp(stored) > _SAME_ENERGY_EV:
        scan.remarks.append(f"ImageInfo/Energy varies from {min(stored):.10g} to {max(stored):.10g}; none is taken")
        return None
    energy, remarks = energy_in_ev(float(np.median(stored)), "eV", "ImageInfo/Energy")
    scan.remarks += [*remarks, f"the energy {energy or 0:.10g} eV is from ImageInfo/Energy"]
    if energy is not None and named is not None and abs(energy - named) > _NAMED_ENERGY_EV:
        scan.remarks.append(f"the file name says another energy, {named:.10g} eV")
    return energy


def _attributes(scan: _Scan, numbers: list[int]) -> dict[str, Any]:
    container, frame = scan.container, frame_of_file_name(scan.path.name)
    attributes: dict[str, Any] = {"format": "xradia", "source": str(scan.path), "frame_kind": frame.kind}
    attributes["planned_projections"] = _planned(scan, numbers)
    pixel_size = scan.floats("ImageInfo/PixelSize")
    if pixel_size and length_in_um(pixel_size[0], "um") is not None:
        attributes["pixel_size"] = pixel_size[0]
    attributes.update(_exposures(scan, numbers))
    date = container.text("ImageInfo/Date")
    known = _DATE.match(date)
    attributes["scan_time"] = f"20{known[3]}-{known[1]}-{known[2]} {known[4]}" if known else date
    attributes["binning"] = container.integer("ImageInfo/HorizontalBin")
    attributes.update({attribute: container.text(name) for name, attribute in _TEXTS.items()})
    attributes.update(repetition=frame.repetition, frame=frame.frame, n_frames=frame.n_frames)
    if container.integer("ImageInfo/OriginalDataRefCorrected"):
        scan.remarks.append("the header says that the images have been divided by the reference already")
    return {name: value for name, value in attributes.items() if value is not None and value != ""}


def _planned(scan: _Scan, numbers: list[int]) -> int:
    """For how many images the header has room; a remark where fewer are there."""
    rooms = [scan.container.integer("ImageInfo/NoOfImages") or 0, len(numbers)]
    planned = max(rooms + [scan.container.numbers(name, "<f4").size for name in _PER_IMAGE])
    if planned > len(numbers):
        scan.remarks.append(
            f"the file holds {len(numbers)} of {planned} images that its header has room for: "
            "the scan was interrupted, or the header kept arrays of an earlier one"
        )
    return planned


def _exposures(scan: _Scan, numbers: list[int]) -> dict[str, Any]:
    """Exposure times in s of images and flat, with a remark where they differ."""
    times = _positive(scan, "ImageInfo/ExpTimes", scan.one_per_image("ImageInfo/ExpTimes", numbers))
    flat = _positive(scan, "ReferenceData/ExpTime", scan.floats("ReferenceData/ExpTime")[:1])
    found: dict[str, Any] = {}
    if times:
        found["exposure_s"] = times[0] if len(set(times)) == 1 else times
    if flat:
        found["flat_exposure_s"] = flat[0]
    if times and np.ptp(times + flat) > _SAME_EXPOSURE * max(times + flat):
        scan.remarks.append(f"exposure times differ, from {min(times + flat):.8g} to {max(times + flat):.8g} s")
    return found


def _positive(scan: _Scan, name: str, values: list[float]) -> list[float]:
    wrong = [value for value in values if not (np.isfinite(value) and value > 0)]
    if wrong:
        scan.remarks.append(f"{name} holds {wrong[0]:g}, which is not a time, and is left out")
    return [] if wrong else values
