"""Contents of elements in solutions (ICP-MS, ICP-OES) as a table: one row for each solution, or each element of one.

Schema
------
``element_content`` (specimen, element) in mg/L, and ``element_content_std`` where the table has uncertainties.
Coordinates ``specimen`` and ``element`` with the attribute ``names``. Contents below the limit of detection
(``<0.01``) are NaN, with a remark.

Uncertainties
-------------
``element_content_std``: columns such as ``Ni std (mg/L)`` or ``Ni RSD (%)``.

Metadata
--------
Attributes ``format``, ``source``, ``remarks``; ``below_limit``, what stands below the limit of detection.

File structure
--------------
A line of names: that of the solutions (``sample``, ``name``, ``solution``), then elements with their units,
``Ni (mg/L)``, ``Ni 231.604 [ppm]``. Several lines of one element are averaged, with a remark.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import gemmi
import numpy as np
import xarray as xr

from cathoscope.core.errors import MeasurementError
from cathoscope.core.schema import dataset, label
from cathoscope.io.text import Floats, no_text, text_head, text_lines

_PER_LITRE = {"mg/l": 1.0, "ppm": 1.0, "ug/l": 1e-3, "µg/l": 1e-3, "μg/l": 1e-3, "ppb": 1e-3, "g/l": 1e3, "ng/ml": 1e-3}
_PER_LITRE |= {"ug/ml": 1.0, "µg/ml": 1.0, "mg/ml": 1e3, "ng/l": 1e-6, "ppt": 1e-6}
_COLUMN = re.compile(
    r"^(?:\d{1,3}\s*)?(?P<element>[A-Z][a-z]?)(?:\s*\d+(?:\.\d+)?)?(?:\s*(?P<kind>std|sd|rsd|stdev|error))?"
    r"\s*[\[(]\s*(?P<unit>[^\])]+?)\s*[\])]$",
    re.IGNORECASE,
)
_SPECIMEN = re.compile(r"^(?:sample|name|solution|specimen|label)\b", re.IGNORECASE)
_BELOW = re.compile(r"^<\s*(\d*\.?\d+(?:[eE][-+]?\d+)?)$")


class _Column(NamedTuple):
    place: int
    element: str
    uncertainty: bool
    unit: str


def recognise_composition(path: Path) -> str | None:
    """None if the content is a table of contents of elements, else the reason why not."""
    try:
        lines = text_head(path)
        table = list(csv.reader(lines[:1], delimiter=_separator(lines)))
        columns = _columns(table[0]) if table else []
    except MeasurementError as error:
        return f"{error.problem} ({error.found})"
    except (OSError, csv.Error) as error:
        return str(error)
    contents = {one.element for one in columns if not one.uncertainty}
    return None if len(contents) > 1 else "no two columns with names such as Ni (mg/L)"


def open_composition(paths: Sequence[Path], angle_range: tuple[float, float] | None = None) -> xr.Dataset:
    """The contents of the file ``paths[0]`` (see the module's docstring).

    Parameters
    ----------
    paths
        The file.
    angle_range
        Not used: there are no projections.

    Raises
    ------
    MeasurementError
        If a content is no number, or a unit is unknown.
    """
    path = paths[0]
    lines = [line for line in text_lines(path) if line.strip()]
    try:
        table = list(csv.reader(lines, delimiter=_separator(lines)))
    except csv.Error as error:
        raise no_text(path, str(error)) from error
    if len(table) < 2:
        raise no_text(path, "no row below the names")
    columns, names = _columns(table[0]), _names(table)
    elements = list(dict.fromkeys(one.element for one in columns if not one.uncertainty))
    if not elements:
        raise no_text(path, "no column of an element")
    remarks: list[str] = []
    below: list[str] = []
    content = np.full((len(names), len(elements)), np.nan)
    std = np.full_like(content, np.nan)
    for k, element in enumerate(elements):
        of = [one for one in columns if one.element == element]
        values = np.stack([_values(table, one, path, names, below) for one in of if not one.uncertainty])
        if len(values) > 1:
            remarks.append(f"the {len(values)} columns of {element} are averaged")
        content[:, k] = values.mean(axis=0)
        errors = [_uncertainty(table, one, path, names, content[:, k]) for one in of if one.uncertainty]
        if errors:
            std[:, k] = np.sqrt(np.sum(np.square(errors), axis=0)) / len(errors)
    if below:
        remarks.append(f"below the limit of detection: {', '.join(below)}")
    about = {"source": str(path.absolute()), "remarks": remarks, "below_limit": below}
    return _labelled(names, elements, content, std, about)


def _labelled(names: list[str], elements: list[str], content: Floats, std: Floats, about: dict[str, Any]) -> xr.Dataset:
    specimen = label("specimen", np.arange(1, len(names) + 1), ("specimen",))
    element = label("element", np.arange(1, len(elements) + 1), ("element",))
    specimen.attrs["names"], element.attrs["names"] = names, elements
    dims, coords = ("specimen", "element"), {"specimen": specimen, "element": element}
    arrays = [label("element_content", content, dims, coords=coords)]
    if np.isfinite(std).any():
        arrays.append(label("element_content_std", std, dims, coords=coords, std_source="stated"))
    return dataset(arrays, format="icp", **about)


def _separator(lines: Sequence[str]) -> str:
    first = lines[0] if lines else ""
    return max(",;\t", key=first.count)


def _columns(headings: Sequence[str]) -> list[_Column]:
    found = []
    for place, heading in enumerate(headings):
        match = _COLUMN.match(heading.strip())
        if match and gemmi.Element(match["element"]).atomic_number > 0:
            found.append(_Column(place, match["element"], match["kind"] is not None, match["unit"].lower()))
    return found


def _names(table: Sequence[Sequence[str]]) -> list[str]:
    place = next((k for k, heading in enumerate(table[0]) if _SPECIMEN.match(heading.strip())), None)
    rows = table[1:]
    if place is None:
        return [str(number + 1) for number in range(len(rows))]
    return [row[place].strip() if place < len(row) else str(number + 1) for number, row in enumerate(rows)]


def _factor(column: _Column, path: Path) -> float:
    if column.unit not in _PER_LITRE:
        raise MeasurementError(
            f"the unit of the content of {column.element} is not known",
            where=f"{path}, line 1",
            expected=" or ".join(_PER_LITRE),
            found=column.unit,
            cure="state contents of the measured solutions, such as Ni (mg/L)",
        )
    return _PER_LITRE[column.unit]


def _field(row: Sequence[str], column: _Column) -> str:
    return row[column.place].strip() if column.place < len(row) else ""


def _values(table: Sequence[Sequence[str]], column: _Column, path: Path, names: list[str], below: list[str]) -> Floats:
    factor = _factor(column, path)
    found = []
    for number, row in enumerate(table[1:]):
        text = _field(row, column)
        limit = _BELOW.match(text)
        if limit:
            below.append(f"{column.element} of {names[number]} (< {float(limit[1]) * factor:g} mg/L)")
            found.append(np.nan)
            continue
        found.append(factor * _number(text, column, number, path))
    return np.asarray(found, dtype=np.float64)


def _uncertainty(
    table: Sequence[Sequence[str]], column: _Column, path: Path, names: list[str], content: Floats
) -> Floats:
    """Standard uncertainties in mg/L; stated in per cent of the content, or in a unit of contents."""
    if column.unit == "%":
        share = [_number(_field(row, column), column, k, path) for k, row in enumerate(table[1:])]
        return np.asarray(share) / 100.0 * content
    return _values(table, column, path, names, [])


def _number(text: str, column: _Column, number: int, path: Path) -> float:
    try:
        value = float(text) if text else np.nan
    except ValueError:
        value = np.inf
    if np.isinf(value) or value < 0:
        raise MeasurementError(
            f"the content of {column.element} is no content",
            where=f"{path}, line {number + 2}",
            expected="a number of 0 or more, or <LIMIT below the limit of detection",
            found=repr(text),
            cure="correct the table; leave a field empty where nothing was measured",
        )
    return value
