"""XDI files: X-ray absorption data interchange, version 1.

Schema
------
As `spectra` states it: ``scan_energy``, ``absorption`` and, with a column ``irefer``, ``reference_absorption``. A
file whose columns are no detectors, such as the normalised spectra that Demeter writes, gives one spectrum for each.

Uncertainties
-------------
None are stored in the files.

Metadata
--------
Attributes ``format``, ``source``, ``remarks``, ``element`` and ``edge`` (Element.symbol, Element.edge), and
``metadata``: every field of the header as text, and the user's ``comments``.

File structure
--------------
Ravel and Newville, J. Phys. Conf. Ser. 712, 012148 (2016). The first line is ``# XDI/1.0``; header lines are
``# Family.name: value``, up to ``# ///``, below which are comments of the user, up to ``# ---``. ``Column.1: energy
eV`` names a column and its unit. Columns ``angle`` are Bragg angles and need Mono.d_spacing in Angstrom.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from cathoscope.core.errors import MeasurementError
from cathoscope.core.units import HC
from cathoscope.io.spectra import STATE_COLUMNS, ColumnMap, Floats, Spectrum, bulk_dataset
from cathoscope.io.spectra_table import Table, spectra_of_table
from cathoscope.io.spectra_text import TextColumns, read_columns

_SIGNATURE = re.compile(r"#\s*XDI/\d")
_FIELD = re.compile(r"\s*(\w+\.\S+?):\s*(.*)")
_DETECTORS = ("i0", "itrans", "ifluor", "irefer")
_SPECTRA = ("mutrans", "mufluor", "murefer", "normtrans", "normfluor", "normrefer")
_DEFINED = frozenset(("energy", "angle", "k", "chi", *_DETECTORS, *_SPECTRA))
_DEGREES = dict.fromkeys(("", "deg", "degree", "degrees"), 1.0) | dict.fromkeys(("rad", "radians"), np.degrees(1.0))
_NO_FOIL = frozenset({"none", "no", "n/a", "empty"})


def recognise_xdi(path: Path) -> str | None:
    """None if the first line is that of an XDI file, else the reason why not."""
    try:
        with path.open("rb") as file:
            begin = file.read(200).decode("utf-8-sig", errors="replace")
    except OSError as error:
        return str(error)
    return None if _SIGNATURE.match(begin) else "the first line is not # XDI/1.0"


def energy_from_bragg_angle(*, angle: Floats, d_spacing: float) -> Floats:
    """Photon energy E = h c / (2 d sin theta) in eV (Bragg, first order).

    Parameters
    ----------
    angle
        Angle theta between beam and lattice planes in deg; outside of 0 to 90 the energy is NaN.
    d_spacing
        Distance d of the lattice planes in Angstrom.
    """
    inside = np.where((angle > 0) & (angle <= 90), angle, np.nan)
    return np.asarray(HC / (2 * d_spacing * np.sin(np.radians(inside))), dtype=np.float64)


def open_xdi(paths: Sequence[Path], angle_range: tuple[float, float] | None = None) -> xr.Dataset:
    """The spectra of the XDI file ``paths[0]`` (see the module's docstring).

    Parameters
    ----------
    paths
        The file.
    angle_range
        Not used: there are no projections.

    Raises
    ------
    MeasurementError
        If the file is damaged, or has neither an absorption nor a pair of detectors.
    """
    path = paths[0]
    text = read_columns(path)
    fields, comments = _header(text)
    remarks = list(text.remarks)
    table, columns = _table(path, text, fields, remarks)
    name = fields.get("sample.name") or path.stem
    spectra = spectra_of_table(table, columns, name, remarks)
    remarks += _foil_remarks(spectra, fields)
    attrs = {
        attribute: fields[key]
        for attribute, key in (("element", "element.symbol"), ("edge", "element.edge"))
        if fields.get(key)
    }
    stated = {match.group(1): match.group(2).strip() for line in text.comments if (match := _FIELD.match(line))}
    metadata = {key: value for key, value in stated.items() if key.lower() in fields} | {"comments": comments}
    return bulk_dataset(spectra, path, remarks, format="xdi", **attrs, metadata=metadata)


def _header(text: TextColumns) -> tuple[dict[str, str], list[str]]:
    """Fields, with names in lower case, and the user's comments."""
    fields: dict[str, str] = {}
    comments: list[str] = []
    in_fields = True
    for line in text.comments[: text.n_comments_before]:
        if line.strip().startswith(("///", "---")):
            in_fields = False
            if line.strip().startswith("---"):
                break
        elif not in_fields:
            comments.append(line.strip())
        elif match := _FIELD.match(line):
            fields[match.group(1).lower()] = match.group(2).strip()
    return fields, comments


def _table(path: Path, text: TextColumns, fields: Mapping[str, str], remarks: list[str]) -> tuple[Table, ColumnMap]:
    """Table with the names of the header, and its energies; angles become energies."""
    n_columns = text.values.shape[1]
    stated = [fields.get(f"column.{k + 1}", "") for k in range(n_columns)]
    if not any(stated):
        stated = text.comments[text.n_comments_before - 1].split() if text.n_comments_before else []
        if len(stated) != n_columns:
            raise _no_columns(path, "no Column.1, and no line of names above the numbers")
        remarks.append("the header names no columns; the names are those of the line above the numbers")
    pairs = [_name_and_unit(words) for words in stated]
    names = tuple(name or str(k + 1) for k, (name, _) in enumerate(pairs))
    units = {name.lower(): unit for name, unit in reversed(pairs)}
    table = Table(path, names, text.values, named=True)
    if "energy" in units:
        return table, ColumnMap(energy="energy", energy_unit={"ev": "eV", "kev": "keV"}.get(units["energy"].lower()))
    if "angle" not in units:
        raise _no_columns(path, f"columns {', '.join(names)}")
    values = np.column_stack([text.values, _energies(path, table.column("angle"), units["angle"], fields, remarks)])
    table = Table(path, (*names, "energy"), values, named=True)
    return table, ColumnMap(energy="energy", energy_unit="eV")


def _name_and_unit(words: str) -> tuple[str, str]:
    """Name and unit of a column; a name that the format does not define may have blanks."""
    first, _, rest = words.partition(" ")
    if first.lower() not in _DEFINED:
        return words, ""
    return first, rest.split("||")[0].strip()


def _energies(path: Path, angles: Floats, unit: str, fields: Mapping[str, str], remarks: list[str]) -> Floats:
    factor = _DEGREES.get(unit.lower())
    if factor is None:
        raise MeasurementError(
            "unknown unit of the angles", where=path, expected="degrees or radians", found=unit, cure=STATE_COLUMNS
        )
    found = fields.get("mono.d_spacing", "none")
    try:
        d_spacing = float(found.split()[0])
    except (ValueError, IndexError):
        d_spacing = 0.0
    if not 0 < d_spacing < np.inf:
        raise MeasurementError(
            "the angles need the spacing of the monochromator's lattice planes",
            where=path,
            expected="Mono.d_spacing in Angstrom",
            found=found,
            cure="write the line # Mono.d_spacing: 3.13555 into the header, with the crystal's value",
        )
    remarks.append(f"energies are from the angle and Mono.d_spacing {d_spacing:g} Angstrom")
    return energy_from_bragg_angle(angle=angles * factor, d_spacing=d_spacing)


def _no_columns(path: Path, found: str) -> MeasurementError:
    return MeasurementError(
        "the file has no energies",
        where=path,
        expected="# Column.1: energy eV, or angle degrees",
        found=found,
        cure="name the columns in the header as XDI wants, or state them in the recipe",
    )


def _foil_remarks(spectra: Sequence[Spectrum], fields: Mapping[str, str]) -> list[str]:
    """A remark where the columns have a foil and the header denies it: both are in the XAS Data Library."""
    said = fields.get("sample.reference", "")
    if said.lower() not in _NO_FOIL or all(spectrum.reference is None for spectrum in spectra):
        return []
    return [f"the header says Sample.reference: {said}, but a column has it; reference_absorption is from that column"]
