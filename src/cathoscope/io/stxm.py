"""Scanning transmission X-ray microscopy image stacks of the Advanced Light Source (.hdr and .xim).

Schema
------
``image_counts`` (energy, y, x), lazy, float32; ``incident_counts`` (energy) where ``i0.xsp`` lies next to
the header. Coordinates ``energy`` in eV, ascending; ``y`` and ``x`` in um from the centre of the scan, in the
header's order of points (line k of an image is the k-th point of the header's QAxis).
`read_spectrum` gives ``component_spectrum`` (energy).

Uncertainties
-------------
None are stored in the files. Aligned images hold interpolated counts, whose noise is below counting noise.

Metadata
--------
Attributes ``format``, ``source``, ``remarks``, ``scan_id`` (the header's Label), ``scan_time`` (text as the file
has it, local time of the beamline), ``dwell_ms``, ``pixel_size`` (um, where both steps agree), ``centre_x`` and
``centre_y`` (stage position of the scan centre, um), ``files`` (header, images and incident spectrum).

File structure
--------------
``<name>.hdr`` is text: ``ScanDefinition = { ... }`` of ``Name = value;`` entries, where a value is a number, a word,
a text in quotes, a record in braces, or ``(n, item, item, ...)``. ``StackAxis`` has the energies, the one region's
``PAxis`` and ``QAxis`` the positions. Images are ``<name>_a000.xim``, ``_a001``, ..., lines of tab-separated counts.
Spectra (``.xsp``, ``.r``, ``.t``) are text of two columns, energy and value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from cathoscope.core.errors import CathoscopeError, MeasurementError
from cathoscope.core.schema import dataset, label
from cathoscope.core.units import convert
from cathoscope.io.lazy import COPY_AGAIN, PageStack, lazy

INCIDENT_SPECTRUM = "i0.xsp"
_SAME_ENERGY_EV = 1e-3
_SAME_STEP = 1e-3
_KEV_BELOW = 100.0
_DEEPEST_RECORD = 20
_END = "end of the file"
_TOKEN = re.compile(r'\s*(?:"([^"]*)"|([{}();,=])|([^\s{}();,="]+))')

Floats = npt.NDArray[np.float64]


class XimPages(PageStack):
    """Text images of one scan as one array; a page is parsed when it is asked for."""

    def __init__(self, paths: Sequence[Path], shape: tuple[int, int]) -> None:
        self.paths = tuple(path.absolute() for path in paths)
        self.shape = (len(self.paths), *shape)
        self.dtype = np.dtype(np.float32)

    def read_pages(self, numbers: Sequence[int], rows: slice) -> Iterator[npt.NDArray[Any]]:
        """The ``rows`` of the pages ``numbers``."""
        for number in numbers:
            yield _read_xim(self.paths[number], self.shape[1:])[rows]


def _read_xim(path: Path, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    expected = f"{shape[0]} lines of {shape[1]} numbers"
    try:
        lines = path.read_text(encoding="ascii").split("\n")
        with np.errstate(over="ignore"):  # what is too large for float32 is infinite
            image = np.array([line.split() for line in lines if line.strip()], dtype=np.float32)
    except (OSError, ValueError) as error:
        raise MeasurementError(
            "the image is truncated or damaged", where=path, expected=expected, found=str(error), cure=COPY_AGAIN
        ) from error
    if image.shape != shape:
        raise MeasurementError(
            "the image has another shape than the header states",
            where=path,
            expected=expected,
            found=f"numbers of shape {image.shape}",
            cure=COPY_AGAIN,
        )
    return image


def recognise_stxm(path: Path) -> str | None:
    """None if the content is the header of an ALS scan, else why it is not."""
    with path.open("rb") as file:
        begin = file.read(200).lstrip()
    if begin.startswith(b"ScanDefinition"):
        return None
    return "does not begin with ScanDefinition, as a .hdr file does (give the .hdr file, not an .xim)"


def open_stxm(paths: Sequence[Path], angle_range: tuple[float, float] | None = None) -> xr.Dataset:
    """The image stack of the header ``paths[0]`` as a lazy Dataset (see the module's docstring).

    Parameters
    ----------
    paths
        The ``.hdr`` file; images and ``i0.xsp`` are looked for next to it.
    angle_range
        Not used: the sample is not turned.

    Raises
    ------
    MeasurementError
        If the header is damaged or not of an image stack, an energy occurs twice, or no image is there.
    """
    path = paths[0].absolute()
    scan = _scan_definition(path)
    energies = _points(path, scan, "StackAxis", "energy", "eV")
    if energies.min() <= 0:
        raise _damaged(path, f"an energy of {energies.min():g} eV")
    region = _only_region(path, scan)
    x, y = (_points(path, region, axis, "length", "um") for axis in ("PAxis", "QAxis"))
    remarks: list[str] = []
    energies, pages = _present_pages(path, energies, remarks)
    energies, pages = _ascending(path, energies, pages, remarks)
    coords = {
        "energy": label("energy", energies, ("energy",)),
        "y": label("y", y - y.mean(), ("y",)),
        "x": label("x", x - x.mean(), ("x",)),
    }
    stack = lazy(XimPages(pages, (y.size, x.size)))
    arrays = [label("image_counts", stack, ("energy", "y", "x"), coords=coords)]
    incident = _incident_counts(path, energies, remarks)
    if incident is not None:
        arrays.append(label("incident_counts", incident, ("energy",), coords=coords))
    files = [path, *pages] + ([] if incident is None else [path.parent / INCIDENT_SPECTRUM])
    return dataset(arrays, **_metadata(path, scan, x, y), files=list(map(str, files)), remarks=remarks)


def read_spectrum(path: Path) -> xr.DataArray:
    """Spectrum of two text columns, energy and value, as ``component_spectrum`` (energy), ascending, in eV.

    Columns are separated by blanks, tabs, commas or semicolons; lines that begin with ``#``, ``%``,
    ``*`` or ``!`` are comments. Energies that are all below 100 are in keV. Attribute ``remarks``
    says what was repaired.

    Raises
    ------
    MeasurementError
        If the file has not at least two such lines, or an energy occurs twice.
    """
    table = _two_columns(path)
    remarks = []
    energies = table[:, 0]
    if energies.max() < _KEV_BELOW:
        remarks.append(f"energies up to {energies.max():g} read as keV")
        energies = energies * convert(1.0, "keV", "energy")
    order = np.argsort(energies, kind="stable")
    if (np.diff(order) < 0).any():
        remarks.append("energies were not ascending and have been sorted")
    energies = energies[order]
    repeated = np.flatnonzero(np.diff(energies) <= 0)
    if repeated.size:
        raise MeasurementError(
            "an energy occurs twice in the spectrum",
            where=path,
            expected="energies that all differ",
            found=f"{energies[repeated[0]]:.10g} eV more than once",
            cure="delete all but one of its lines",
        )
    coords = {"energy": label("energy", energies, ("energy",))}
    spectrum = label("component_spectrum", table[order, 1], ("energy",), coords=coords)
    spectrum.attrs.update(source=str(path), remarks=remarks)
    return spectrum


def _two_columns(path: Path) -> Floats:
    expected = "two columns of numbers, energy and value"
    try:
        text = path.read_text(encoding="utf-8-sig", errors="strict")
        lines = [re.split(r"[\s,;]+", line.strip()) for line in text.splitlines() if line.strip()]
        table = np.array([line[:2] for line in lines if line[0][:1] not in set("#%*!")], dtype=np.float64)
    except (OSError, ValueError) as error:
        raise MeasurementError(
            "not a spectrum", where=path, expected=expected, found=str(error), cure="check the file's name"
        ) from error
    if table.ndim != 2 or table.shape[0] < 2 or table.shape[1] != 2 or not np.isfinite(table).all():
        raise MeasurementError(
            "not a spectrum",
            where=path,
            expected=expected,
            found=f"numbers of shape {table.shape}" if np.isfinite(table).all() else "NaN or infinity",
            cure="give a text file of at least two lines, comments marked with #",
        )
    return table


def _damaged(path: Path, found: str) -> MeasurementError:
    return MeasurementError(
        "the header is truncated, damaged or not of an image stack",
        where=path,
        expected="ScanDefinition with StackAxis and one region with PAxis and QAxis",
        found=found,
        cure=COPY_AGAIN,
    )


def _scan_definition(path: Path) -> dict[str, Any]:
    try:
        tokens = [match.groups() for match in _TOKEN.finditer(path.read_text(encoding="latin-1"))]
    except OSError as error:
        raise _damaged(path, str(error)) from error
    entries = _Entries(path, tokens).record(end=_END, depth=0)
    scan = entries.pop("ScanDefinition", None)
    if not isinstance(scan, dict):
        raise _damaged(path, "no ScanDefinition record")
    # Time and the like stand beside the scan definition, not in it.
    return {**entries, **scan}


class _Entries:
    """Recursive reader of ``Name = value;`` entries."""

    def __init__(self, path: Path, tokens: list[tuple[Any, ...]]) -> None:
        self.path = path
        self.tokens = iter(tokens)

    def next(self) -> tuple[str, str | None]:
        """Next token as (text, sign): sign is the punctuation mark, the end of the file, or None."""
        quoted, sign, word = next(self.tokens, (None, _END, None))
        return (quoted if quoted is not None else word or ""), sign

    def record(self, end: str, depth: int) -> dict[str, Any]:
        """Entries up to the sign ``end``."""
        entries: dict[str, Any] = {}
        while True:
            name, sign = self.next()
            if sign == end:
                return entries
            if sign == ";":
                continue
            if sign == _END:
                raise _damaged(self.path, "the file ends inside a record")
            if sign is not None or self.next()[1] != "=":
                raise _damaged(self.path, f"no 'Name = value' at {name or sign!r}")
            entries[name] = self.value(*self.next(), depth)

    def value(self, text: str, sign: str | None, depth: int) -> Any:
        """The value that begins with this token."""
        if depth > _DEEPEST_RECORD:
            raise _damaged(self.path, f"records nested deeper than {_DEEPEST_RECORD}")
        if sign == "{":
            return self.record("}", depth + 1)
        if sign == "(":
            return self.sequence(depth + 1)
        if sign is not None:
            raise _damaged(self.path, f"{sign!r} where a value should be")
        try:
            return float(text)
        except ValueError:
            return text

    def sequence(self, depth: int) -> list[Any]:
        """Items of ``(n, item, item, ...)`` without the n, which must be their number."""
        items = []
        while True:
            text, sign = self.next()
            if sign == ")":
                break
            if sign != ",":
                items.append(self.value(text, sign, depth))
        if not items or items[0] != len(items) - 1:
            raise _damaged(self.path, f"a list of {len(items) - 1} items that states {items[:1]}")
        return items[1:]


def _only_region(path: Path, scan: dict[str, Any]) -> dict[str, Any]:
    regions = scan.get("Regions")
    if not isinstance(regions, list) or len(regions) != 1 or not isinstance(regions[0], dict):
        number = len(regions) if isinstance(regions, list) else 0
        raise _damaged(path, f"{number} regions")
    return regions[0]


def _points(path: Path, record: dict[str, Any], axis: str, quantity: str, unit: str) -> Floats:
    """Points of an axis in the schema's unit."""
    found = record.get(axis)
    points = found.get("Points") if isinstance(found, dict) else None
    if not isinstance(found, dict) or not isinstance(points, list) or not points:
        raise _damaged(path, f"no {axis} with Points")
    try:
        values = np.array(points, dtype=np.float64)
        factor = convert(1.0, str(found.get("Unit", unit)), quantity)
    except (ValueError, TypeError, CathoscopeError) as error:
        raise _damaged(path, f"{axis}: {error}".splitlines()[0]) from error
    if not np.isfinite(values).all():
        raise _damaged(path, f"{axis} has points that are not numbers")
    return values * factor


def _present_pages(path: Path, energies: Floats, remarks: list[str]) -> tuple[Floats, list[Path]]:
    """Energies that have an image, with the images; what is missing or empty is set aside with a remark."""
    found = {
        int(match.group(1)): page
        for page in path.parent.iterdir()
        if (match := re.fullmatch(re.escape(path.stem) + r"_a(\d+)\.xim", page.name))
    }
    kept = [k for k in range(energies.size) if k in found and found[k].stat().st_size > 0]
    if not kept:
        raise MeasurementError(
            "no image of this header is next to it",
            where=path,
            expected=f"{path.stem}_a000.xim and so on, one for each of {energies.size} energies",
            found=f"{len(found)} such files that are not empty and have an energy",
            cure="copy the .xim files into the folder of the .hdr file, with the name they had",
        )
    for k in sorted(set(range(energies.size)) - set(kept)):
        name = found[k].name if k in found else f"{path.stem}_a{k:03d}.xim"
        problem = "is empty" if k in found else "is missing"
        remarks.append(f"{name} ({energies[k]:.10g} eV) {problem} and is set aside")
    surplus = sorted(set(found) - set(range(energies.size)))
    remarks += [f"{found[k].name} has no energy in the header and is set aside" for k in surplus]
    return energies[kept], [found[k] for k in kept]


def _ascending(path: Path, energies: Floats, pages: list[Path], remarks: list[str]) -> tuple[Floats, list[Path]]:
    order = np.argsort(energies, kind="stable")
    if (np.diff(order) < 0).any():
        remarks.append("energies were not ascending; the images have been sorted by energy")
    energies, pages = energies[order], [pages[k] for k in order]
    repeated = np.flatnonzero(np.diff(energies) < 1e-6 * energies[1:])
    if repeated.size:
        k = int(repeated[0])
        raise MeasurementError(
            "an energy occurs twice in the stack",
            where=path,
            expected="energies that all differ",
            found=f"{energies[k]:.10g} eV in {pages[k].name} and {pages[k + 1].name}",
            cure="rename or move one of the two images; a missing image is set aside and the rest is used",
        )
    return energies, pages


def _incident_counts(path: Path, energies: Floats, remarks: list[str]) -> Floats | None:
    file = path.parent / INCIDENT_SPECTRUM
    if not file.is_file():
        return None
    spectrum = read_spectrum(file)
    known = spectrum["energy"].values
    if energies[0] < known[0] - _SAME_ENERGY_EV or energies[-1] > known[-1] + _SAME_ENERGY_EV:
        remarks.append(
            f"{file.name} covers {known[0]:.10g} to {known[-1]:.10g} eV, less than the images, and is set aside"
        )
        return None
    nearest = np.abs(energies[:, None] - known[None, :]).min(axis=1)
    if nearest.max() > _SAME_ENERGY_EV:
        remarks.append(f"{file.name} has other energies than the images and is interpolated linearly between its own")
    return np.asarray(np.interp(energies, known, spectrum.values), dtype=np.float64)


def _metadata(path: Path, scan: dict[str, Any], x: Floats, y: Floats) -> dict[str, Any]:
    attributes: dict[str, Any] = {"format": "stxm", "source": str(path)}
    for name, attribute in (("Label", "scan_id"), ("Time", "scan_time"), ("Dwell", "dwell_ms")):
        if isinstance(scan.get(name), (str, float)):
            attributes[attribute] = scan[name]
    attributes.update(centre_x=float(x.mean()), centre_y=float(y.mean()))
    steps = np.abs(np.concatenate([np.diff(x), np.diff(y)]))
    if steps.size and steps.min() > 0 and np.ptp(steps) <= _SAME_STEP * steps.max():
        attributes["pixel_size"] = float(steps.mean())
    return attributes
