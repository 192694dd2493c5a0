"""What a person wants to know about any file: what it is, what it holds, and if it is refused, why.

Arrays are not loaded. Of each one a single row may be read to show the size of its values, and only where the file's
chunks are small, so that memory does not grow with the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import xarray as xr

from cathoscope.core.errors import MeasurementError
from cathoscope.core.schema import SCHEMA
from cathoscope.io.advice import lacks_of, use_of
from cathoscope.io.crystal_sign import recognise_cif
from cathoscope.io.hdf5_tree import Entry, entries_of
from cathoscope.io.instrument import recognise_instrument
from cathoscope.io.lazy import hdf5_file
from cathoscope.io.refused import why_refused, why_unclear
from cathoscope.io.registry import READERS, Reader, open_raw
from cathoscope.io.volumes import recognise_hdf5_volume

_MOST_TREE_LINES = 20
_MOST_SPECTRA = 20
_MOST_FIELDS = 30
# Attributes that have their unit in their name, and how they are shown.
_UNITS = {
    "pixel_size": ("pixel_size", " um"),
    "exposure_s": ("exposure", " s"),
    "flat_exposure_s": ("flat_exposure", " s"),
    "dwell_ms": ("dwell", " ms"),
    "centre_x": ("centre_x", " um"),
    "centre_y": ("centre_y", " um"),
}
_PLAIN_UNITS = ("", "1", "count")  # of numbers that are said without
_LONGEST_TEXT = 200
# Bytes of a chunk or an image that may be read to show a row of it; text takes far more memory than its numbers.
_LARGEST_PIECE = 4_000_000
_LARGEST_TEXT_PIECE = 500_000
_TEXT_FORMATS = ("stxm",)
_SAME_STEP = 1e-3
_NAMED = {reader.name: reader for reader in READERS}
_SIZES = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


@dataclass(frozen=True)
class Description:
    """A file in words.

    Parameters
    ----------
    file
        As it was named.
    size
        Bytes; None where there is no such file.
    reader, title
        The format that was recognised, by its short name and as a person calls it; None if none was.
    rows
        Pairs of a name and what there is to say.
    lacks
        What the file cannot be used for, and why.
    remarks
        What was noticed and repaired.
    tree
        The datasets of an HDF5 file, one a line.
    refused
        Why the file cannot be used; None if it can.
    """

    file: Path
    size: int | None = None
    reader: str | None = None
    title: str | None = None
    rows: tuple[tuple[str, str], ...] = ()
    lacks: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    tree: tuple[str, ...] = ()
    refused: str | None = None

    def lines(self) -> list[str]:
        """The description as lines of text."""
        head = str(self.file) + ("" if self.size is None else f"  {size_text(self.size)}")
        lines = [head + (f"  {self.title} ({self.reader})" if self.reader else "")]
        if self.refused is not None:
            lines += _hanging("refused", self.refused.splitlines())
        width = max((len(name) for name, _ in self.rows), default=0)
        lines += [f"  {name:<{width}}  {text}" for name, text in self.rows]
        lines += _hanging("cannot give", self.lacks) + _hanging("remarks", self.remarks)
        return lines + _hanging("datasets", self.tree)


def _hanging(word: str, texts: Iterable[str]) -> list[str]:
    lines = [f"    {text}" for text in texts]
    return [f"  {word}:", *lines] if lines else []


def describe(path: Path, reader: str | None = None) -> Description:
    """Everything a reader finds out about a file without loading its arrays, or why it is refused.

    Parameters
    ----------
    path
        One file.
    reader
        Name of a reader to use instead of recognising.
    """
    entries = _hdf5_entries(path)
    description = Description(path, path.stat().st_size if path.is_file() else None, tree=tuple(_tree(entries)))
    try:
        data = open_raw(path, reader=reader)
    except MeasurementError as error:
        return _refused(description, error, reader)
    remarks = [str(remark) for remark in data.attrs.get("remarks", ())]
    rows = rows_of(data, remarks, largest_piece=_piece_of(entries))
    description = _with_reader(description, _NAMED.get(str(data.attrs.get("format"))))
    use = use_of(data)
    rows += [("use", use)] if use else []
    return replace(description, rows=tuple(rows), lacks=tuple(lacks_of(data)), remarks=tuple(remarks))


def size_text(size: float) -> str:
    """Bytes as a person says them: 1.26 MB."""
    for factor, unit in _SIZES:
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size:.0f} B"


# -- refusal ----------------------------------------------------------------------------------------


def _with_reader(description: Description, reader: Reader | None) -> Description:
    return description if reader is None else replace(description, reader=reader.name, title=reader.title)


def _refused(description: Description, error: MeasurementError, reader: str | None) -> Description:
    """The reason of the reader that recognises the file; of a file that none recognises, what it is instead."""
    path = description.file
    told = _told(error, path)
    if reader is not None or not path.is_file():
        return replace(description, refused=told)
    try:
        chosen = next((each for each in READERS if each.recognise(path) is None), None)
        reasons = (_beside_a_pattern, why_refused, why_unclear, _unknown_layout)
        instead = None if chosen else next((reason for why in reasons if (reason := why(path))), None)
    except (MeasurementError, OSError):  # the file cannot even be looked at, as the first error says
        return replace(description, refused=told)
    return replace(_with_reader(description, chosen), refused=instead or told)


def _beside_a_pattern(path: Path) -> str | None:
    """What powder diffraction takes beside its patterns."""
    if recognise_instrument(path) is None:
        return "it is instrument parameters of a powder diffractometer; a recipe names them for the pattern's bank"
    if recognise_cif(path) is None:
        return "it is a crystal structure; a recipe names it as a phase of a powder"
    return None


def _unknown_layout(path: Path) -> str | None:
    return f"no known layout of HDF5; {recognise_hdf5_volume(path)}" if h5py.is_hdf5(path) else None


def _told(error: MeasurementError, path: Path) -> str:
    """The error without the name of ``path``, which stands above it."""
    elsewhere = error.where is not None and error.where != str(path) and error.where != str(path.absolute())
    lines = [f"{error.where}: {error.problem}" if elsewhere else error.problem]
    for word, text in (("expected", error.expected), ("found", error.found), ("cure", error.cure)):
        parts = [part.strip() for part in (text or "").splitlines()]
        lines += [f"{word}: {part}" if number == 0 else f"  {part}" for number, part in enumerate(parts)]
    return "\n".join(lines)


# -- rows -------------------------------------------------------------------------------------------


def rows_of(data: xr.Dataset, remarks: list[str], largest_piece: float = 0.0) -> list[tuple[str, str]]:
    """Names and texts that describe a raw Dataset.

    Parameters
    ----------
    data
        As a reader gives it.
    remarks
        A line is added for each array of which a row could not be read.
    largest_piece
        Bytes of the largest chunk of the file: what reading a single number may take.
    """
    rows = []
    for name, array in data.data_vars.items():
        rows.append((str(name), _array_text(array)))
        values = _values_text(array, str(data.attrs.get("format")), largest_piece, remarks)
        rows += [("", values)] if values else []
    coords = {str(name): array for name, array in data.coords.items() if name != "spectrum"}
    rows += [(name, _coordinate_text(array)) for name, array in coords.items()]
    rows += _spectra(data)
    for name, value in data.attrs.items():
        rows += _attribute_rows(str(name), value)
    return rows


def _attribute_rows(name: str, value: Any) -> list[tuple[str, str]]:
    if name in ("remarks", "format", "source") or (name == "n_files" and value == 1):
        return []
    if name.endswith("files") and isinstance(value, (list, tuple)):
        return [(name.replace("_", " "), _short([Path(str(file)).name for file in value]))] if value else []
    if isinstance(value, Mapping):
        return _mapping_rows(value)
    name, unit = _UNITS.get(name, (name, ""))
    return [(name.replace("_", " "), f"{_short(value)}{unit}")]


def _mapping_rows(value: Mapping[str, Any]) -> list[tuple[str, str]]:
    """One row for each field of a header; of the comments each line."""
    rows: list[tuple[str, str]] = []
    for key, field in value.items():
        lines = field if key == "comments" and isinstance(field, list) else [field]
        rows += [(str(key) if number == 0 else "", _short(line)) for number, line in enumerate(lines)]
    hidden = len(rows) - _MOST_FIELDS
    return rows[:_MOST_FIELDS] + ([("", f"and {hidden} more lines")] if hidden > 0 else [])


def _array_text(array: xr.DataArray) -> str:
    shape = " x ".join(f"{length} {dim}" for dim, length in array.sizes.items()) or "one number"
    spec = SCHEMA.get(str(array.name))
    meaning = f"  {spec.meaning}" if spec is not None else ""
    return f"{shape}, {array.dtype}, {size_text(array.nbytes)}{meaning}"


def _values_text(array: xr.DataArray, format_name: str, largest_piece: float, remarks: list[str]) -> str | None:
    """Smallest and largest value of the row in the middle; None where that would cost memory."""
    if array.size == 0 or array.dtype.kind not in "fiu":
        return None
    image = float(np.prod(array.shape[-2:])) * array.dtype.itemsize
    limit = _LARGEST_TEXT_PIECE if format_name in _TEXT_FORMATS else _LARGEST_PIECE
    if max(image, largest_piece) > limit:
        return None
    middle = {dim: length // 2 for dim, length in list(array.sizes.items())[:-1]}
    try:
        row = np.asarray(array.isel(middle).values, dtype=np.float64)
    except MeasurementError as error:
        remarks.append(f"{array.name} cannot be read: {error.problem} ({error.where})")
        return None
    finite = row[np.isfinite(row)]
    missing = f", {row.size - finite.size} not finite" if finite.size < row.size else ""
    if not finite.size:
        return "no number in the middle row"
    where = "in the middle row" if middle else "in all"
    unit = str(array.attrs.get("units", ""))
    unit = "" if unit in _PLAIN_UNITS else f" {unit}"
    return f"{finite.min():.6g} to {finite.max():.6g}{unit} {where}{missing}"


def _coordinate_text(array: xr.DataArray) -> str:
    unit = str(array.attrs.get("units", ""))
    unit = "" if unit == "1" else f" {unit}"
    values = np.atleast_1d(array.values)
    if array.attrs.get("names"):
        return _short(", ".join(map(str, array.attrs["names"])))
    if values.dtype.kind not in "fiu" or values.size == 0:
        return f"{values.size} values"
    if values.size == 1:
        return f"{values.item():.7g}{unit}"
    text = f"{values.size} values, {values.flat[0]:.7g} to {values.flat[-1]:.7g}{unit}"
    return text + (f", {_steps(values)}{unit}" if values.ndim == 1 else "")


def _steps(values: npt.NDArray[Any]) -> str:
    steps = np.diff(values.astype(np.float64))
    if np.ptp(steps) <= _SAME_STEP * np.abs(steps).max():
        return f"step {np.median(steps):.4g}"
    return f"steps {steps.min():.4g} to {steps.max():.4g}, half of them below {np.median(steps):.4g}"


def _spectra(data: xr.Dataset) -> list[tuple[str, str]]:
    """One row for each bulk spectrum: its name, points and energies."""
    if "scan_energy" not in data.variables or "spectrum" not in data.dims:
        return []
    names = data["spectrum"].attrs.get("names", []) if "spectrum" in data.coords else []
    n_spectra = data.sizes["spectrum"]
    rows = []
    for number in range(min(n_spectra, _MOST_SPECTRA)):
        energies = np.asarray(data["scan_energy"].isel(spectrum=number).values, dtype=np.float64)
        energies = energies[np.isfinite(energies)]
        span = f", {energies.min():.7g} to {energies.max():.7g} eV" if energies.size else ""
        name = str(names[number]) if number < len(names) else f"spectrum {number + 1}"
        rows.append((name, f"{energies.size} points{span}"))
    return rows + ([("", f"and {n_spectra - _MOST_SPECTRA} more spectra")] if n_spectra > _MOST_SPECTRA else [])


def _short(value: Any) -> str:
    """A value of the metadata in one line."""
    if isinstance(value, float):
        return f"{value:.7g}"
    if isinstance(value, (list, tuple, np.ndarray)) and len(value) > 6:
        return f"{len(value)} values, {_short(value[0])} to {_short(value[-1])}"
    if isinstance(value, (list, tuple, np.ndarray)):
        return ", ".join(_short(item) for item in value)
    text = " ".join(str(value).split())
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}..."


# -- the tree of an HDF5 file -----------------------------------------------------------------------


def _hdf5_entries(path: Path) -> list[Entry]:
    """What an HDF5 file holds; nothing for other files and for those that cannot be read."""
    try:
        if not path.is_file() or not h5py.is_hdf5(path):
            return []
        with hdf5_file(path) as file:
            return entries_of(file)
    except (MeasurementError, OSError):
        return []


def _piece_of(entries: Sequence[Entry]) -> float:
    """Bytes of the largest chunk; infinite where a link leads to chunks of unknown size."""
    if any(entry.link is not None and ":" in entry.link for entry in entries):
        return float("inf")
    return max((_bytes(entry.chunks, entry) for entry in entries if entry.chunks), default=0.0)


def _bytes(shape: Sequence[int], entry: Entry) -> float:
    return float(np.prod([float(length) for length in shape])) * (entry.dtype.itemsize if entry.dtype else 1)


def _tree(entries: Sequence[Entry]) -> list[str]:
    """The largest arrays and the links, in the order of the file."""
    order = sorted(range(len(entries)), key=lambda k: (entries[k].link is None, -_bytes(entries[k].shape, entries[k])))
    shown = [entries[k] for k in sorted(order[:_MOST_TREE_LINES])]
    width = max((len(entry.name) for entry in shown), default=0)
    lines = [f"{entry.name:<{width}}  {_entry_text(entry)}" for entry in shown]
    hidden = len(entries) - len(shown)
    return lines + ([f"and {hidden} smaller ones"] if hidden else [])


def _entry_text(entry: Entry) -> str:
    if entry.link is not None:
        return f"-> {entry.link}"
    chunks = f", chunks {entry.chunks}" if entry.chunks else ""
    dtype = "of another type" if entry.dtype is None else "text" if entry.dtype.kind in "OSU" else entry.dtype
    return f"{entry.shape if entry.shape else 'one'} {dtype}{chunks}"
