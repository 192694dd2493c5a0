"""Bulk spectra as columns of numbers: beamline ASCII files, plain tables, csv, and JSON with a column map.

Schema
------
As `spectra` states it: ``scan_energy``, ``absorption`` and, where a foil was measured, ``reference_absorption``.

Uncertainties
-------------
None are stored in the files.

Metadata
--------
Attributes ``format`` (``columns``, or ``table`` with a map), ``source``, ``remarks``, ``metadata`` with the comments
of the file, and ``labels`` with the values of the JSON keys that name the spectra.

File structure
--------------
Text: comment lines, perhaps a line of names, and lines of as many numbers each, separated by blanks, tabs, commas or
semicolons. The scans of the APS beamlines 9-BM, 20-BM and 20-ID have the names below ``Column Headings:``, padded to
21 characters, or in a numbered list. Without names there are two columns, energy and absorption, and the energies
are a scan in the hard X-rays.
JSON: an object of lists, lists of lists, or objects of lists; or a list of objects, one for each spectrum.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from cathoscope.core.errors import MeasurementError
from cathoscope.io.lazy import COPY_AGAIN
from cathoscope.io.powder import kinds_stated
from cathoscope.io.spectra import (
    ColumnMap,
    Floats,
    Spectrum,
    bulk_dataset,
    energies_in_ev,
)
from cathoscope.io.spectra_table import (
    ENERGY_NAME,
    Table,
    guess_energy,
    guess_signals,
    measured_absorption,
    spectra_of_table,
)
from cathoscope.io.spectra_text import TextColumns, check_is_text, column_names, parse_columns, read_columns, read_head

STATE_KEYS = "state the keys in the recipe, as the file has them"
_MOST_JSON_BYTES = 4 * 2**20
_MOST_JSON_SPECTRA = 10_000
_OTHER_TEXTS = (
    ("# XDI/", "an XDI file"),
    ("# Athena project", "an Athena project"),
    ("ScanDefinition", "the header of a STXM scan"),
    ("{", "JSON, of which a recipe must state the keys"),
    ("[", "JSON, of which a recipe must state the keys"),
)


def recognise_columns(path: Path) -> str | None:
    """None if the content is columns of which one is an energy and another absorption or detectors, else the reason."""
    try:
        check_is_text(path)
        begin = _begin(path)
        for sign, what in _OTHER_TEXTS:
            if begin.startswith(sign):
                return what
        text = parse_columns(read_head(path), path)
        table = _table(path, text)
        key, reason = guess_energy(table)
        if key is None:
            return _one_column(table) or reason
        if kinds_stated("\n".join((*text.comments, *text.headings))) and not ENERGY_NAME.search(str(key).lower()):
            return "a powder pattern by the words above the numbers"
        guess_signals(table, key)
    except MeasurementError as error:
        return f"{error.problem} ({error.found})"
    except OSError as error:
        return str(error)
    return None


def open_columns(paths: Sequence[Path], angle_range: tuple[float, float] | None = None) -> xr.Dataset:
    """The spectra of the text file ``paths[0]`` (see the module's docstring); the columns are told by their names.

    Parameters
    ----------
    paths
        The file.
    angle_range
        Not used: there are no projections.

    Raises
    ------
    MeasurementError
        If it is no text of columns, is damaged, or it is not clear what the columns are.
    """
    return _open_text(paths[0], ColumnMap(), "columns")


def open_table(path: Path, columns: ColumnMap) -> xr.Dataset:
    """The spectra of a text file or a JSON file, with the columns or keys that ``columns`` states.

    Raises
    ------
    MeasurementError
        If the file is damaged, or has not the columns or keys.
    """
    if _begin(path).startswith(("{", "[")):
        return _open_json(path, columns)
    if columns.labels:
        raise MeasurementError(
            "labels are stated for a file that has no keys",
            where=path,
            expected="JSON",
            found="text",
            cure="leave out the labels",
        )
    return _open_text(path, columns, "table")


def _begin(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(64).decode("utf-8", errors="replace").lstrip("\ufeff \t\r\n")


def _open_text(path: Path, columns: ColumnMap, form: str) -> xr.Dataset:
    text = read_columns(path)
    table = _table(path, text)
    remarks = list(text.remarks)
    spectra = spectra_of_table(table, columns, path.stem, remarks)
    comments = [comment.strip() for comment in text.comments if comment.strip()]
    metadata = {"metadata": {"comments": comments}} if comments else {}
    return bulk_dataset(spectra, path, remarks, format=form, **metadata)


def _table(path: Path, text: TextColumns) -> Table:
    values, names = text.values, column_names(text, ENERGY_NAME)
    # A separator at the end of every line makes an empty column.
    while values.shape[1] > 1 and np.isnan(values[:, -1]).all() and not (names and names[-1]):
        values, names = values[:, :-1], None if names is None else names[:-1]
    numbers = tuple(str(k + 1) for k in range(values.shape[1]))
    if names is None:
        return Table(path, numbers, values, named=False)
    return Table(path, tuple(a or b for a, b in zip(names, numbers, strict=True)), values, named=True)


def _one_column(table: Table) -> str | None:
    return "one column of numbers: a list of energies has no absorption" if table.values.shape[1] == 1 else None


def _open_json(path: Path, columns: ColumnMap) -> xr.Dataset:
    content = _json_content(path)
    signal = columns.absorption or columns.fluorescence or columns.transmitted
    if signal is None or (columns.energy is None and columns.even_energy is None):
        what = "the spectrum" if signal is None else "the energy"
        raise _json_error(path, f"the recipe does not say what is {what}", "a key for it", _keys(content))
    stated = (columns.energy, columns.absorption, columns.i0, columns.transmitted, columns.fluorescence)
    series = {key: _series(path, content, key) for key in (*stated, columns.reference) if key is not None}
    missing = [key for key in columns.labels or () if key not in content]
    if missing:
        raise _json_error(path, f"there is no key {missing[0]!r}", missing[0], _keys(content))
    remarks: dict[str, None] = {}
    spectra = []
    for position, name in enumerate(series[signal]):
        labels = {key: _label(content[key], name, position) for key in columns.labels or ()}
        title = " ".join(str(value) for value in labels.values()) or name or path.stem
        rows = {key: _of_spectrum(path, key, values, name) for key, values in series.items()}
        spectra.append(replace(_json_spectrum(path, columns, rows, title, remarks), labels=labels))
    return bulk_dataset(spectra, path, list(remarks), format="table")


def _json_spectrum(
    path: Path, columns: ColumnMap, rows: Mapping[str, Floats], title: str, remarks: dict[str, None]
) -> Spectrum:
    lengths = {key: values.size for key, values in rows.items()}
    if len(set(lengths.values())) > 1:
        raise _json_error(path, f"the lists of spectrum {title} differ in length", "lists of one length", str(lengths))
    absorption, reference, text = measured_absorption(columns, rows.__getitem__, path)
    remarks[text] = None
    if columns.energy is None:
        return Spectrum(title, columns.even_axis(absorption.size, path), absorption, reference)
    energies, said = energies_in_ev(rows[columns.energy], columns.energy_unit, columns.energy, path)
    remarks.update(dict.fromkeys(said))
    return Spectrum(title, energies, absorption, reference)


def _json_error(path: Path, problem: str, expected: str, found: str) -> MeasurementError:
    return MeasurementError(problem, where=path, expected=expected, found=found, cure=STATE_KEYS)


def _keys(content: Mapping[str, Any]) -> str:
    names = list(content)
    return f"keys {', '.join(names[:20])}{', ...' if len(names) > 20 else ''}"


def _json_content(path: Path) -> dict[str, Any]:
    """The object; a list of objects becomes one object whose values are objects, keyed by the position from 1."""
    check_is_text(path, _MOST_JSON_BYTES)
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise MeasurementError(
            "the JSON file is truncated or damaged", where=path, expected="JSON", found=str(error), cure=COPY_AGAIN
        ) from error
    if isinstance(content, dict):
        return content
    if not isinstance(content, list) or not all(isinstance(item, dict) for item in content):
        raise _json_error(path, "the JSON file has no keys", "an object, or a list of objects", type(content).__name__)
    records: dict[str, Any] = {}
    for position, record in enumerate(content):
        for key, value in record.items():
            records.setdefault(key, {})[str(position + 1)] = value
    return records


def _series(path: Path, content: Mapping[str, Any], key: str) -> dict[str, Floats]:
    """Lists of numbers by the name of the spectrum; one list has the name ""."""
    if key not in content:
        raise _json_error(path, f"there is no key {key!r}", key, _keys(content))
    value = content[key]
    if isinstance(value, list) and value and isinstance(value[0], list):
        value = {str(position + 1): item for position, item in enumerate(value)}
    named = value if isinstance(value, dict) else {"": value}
    if not 0 < len(named) <= _MOST_JSON_SPECTRA:
        raise _json_error(path, f"{key} has no spectra, or too many", f"1 to {_MOST_JSON_SPECTRA}", str(len(named)))
    return {str(name): _numbers(path, key, item) for name, item in named.items()}


def _numbers(path: Path, key: str, value: Any) -> Floats:
    try:
        numbers = np.array(value, dtype=np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise _json_error(path, f"{key} holds what is no number", "lists of numbers", str(error)) from error
    if numbers.ndim != 1 or not isinstance(value, list):
        raise _json_error(path, f"{key} is no list of numbers", "one list for each spectrum", type(value).__name__)
    return numbers


def _of_spectrum(path: Path, key: str, values: Mapping[str, Floats], name: str) -> Floats:
    """The list of a spectrum, or the one list of all."""
    if name in values:
        return values[name]
    if len(values) == 1:
        return next(iter(values.values()))
    raise _json_error(path, f"{key} has no list for spectrum {name}", name, ", ".join(list(values)[:20]))


def _label(value: Any, name: str, position: int) -> Any:
    if isinstance(value, dict):
        value = value.get(name)
    elif isinstance(value, list):
        value = value[position] if position < len(value) else None
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value if isinstance(value, (str, int, float)) or value is None else json.dumps(value)
