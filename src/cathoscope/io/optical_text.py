"""Absorbance of solutions against wavelength: Cary, Avantes, PerkinElmer Lambda, and columns with names.

Schema
------
``wavelength`` and ``absorbance`` (spectrum, point), by growing wavelength; shorter spectra end in NaN. Coordinate
``spectrum`` with the attribute ``names``.

Uncertainties
-------------
None are stored in the files.

Metadata
--------
Attributes ``format``, ``source``, ``remarks``.

File structure
--------------
Pairs of columns: a line with the names of the samples, perhaps missing, a line of ``Wavelength (nm)`` or ``nm`` and
``Abs``, ``A`` or ``%T`` in turn, rows; what follows the first line without numbers is a log. One wavelength before
several columns is read, too. Avantes: ``Wave;Sample;Dark;Reference``, counts, from which -log10((S - D)/(R - D)) is
made. Transmission in per cent becomes 2 - log10 %T.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from cathoscope.core.errors import MeasurementError
from cathoscope.core.schema import dataset, label
from cathoscope.io.text import Floats, ended_at, no_text, numbers_in, rows_of, text_head, text_lines

_WAVELENGTH = re.compile(r"^(?:wave(?:length)?s?|lambda|λ)?\s*[\[(]?\s*(nm)?\s*[\])]?$", re.IGNORECASE)
_SIGNALS = (
    ("absorbance", re.compile(r"^(?:abs(?:orbance)?|A)(?:\s*[\[(].*[\])])?$", re.IGNORECASE)),
    (
        "transmission",
        re.compile(r"^(?:%\s*T|T\s*[\[(]?\s*%\s*[\])]?|transmittance\s*[\[(]?\s*%\s*[\])]?)$", re.IGNORECASE),
    ),
    ("fluorescence", re.compile(r"^intensity", re.IGNORECASE)),
)
_AVANTES = re.compile(r"^Wave\s*;\s*Sample\s*;\s*Dark\s*;\s*Reference", re.IGNORECASE)
_NO_NAMES = ("Created as New Dataset",)  # what a spectrometer writes in their place
_SEPARATORS = ("\t", ";", ",")
_FEWEST = 5
_HEAD_LINES = 60


def recognise_uv_vis(path: Path) -> str | None:
    """None if the content is text of absorbance against wavelength, else the reason why not."""
    try:
        lines = text_head(path)
    except MeasurementError as error:
        return f"{error.problem} ({error.found})"
    except OSError as error:
        return str(error)
    if _avantes_line(lines) is not None or _heading(lines) is not None:
        return None
    return "no names of wavelength with absorbance, transmission or counts above columns of numbers"


def open_uv_vis(paths: Sequence[Path], angle_range: tuple[float, float] | None = None) -> xr.Dataset:
    """The spectra of the file ``paths[0]`` (see the module's docstring).

    Parameters
    ----------
    paths
        The file.
    angle_range
        Not used: there are no projections.

    Raises
    ------
    MeasurementError
        If the file is damaged, or holds something else than absorption.
    """
    path = paths[0]
    lines = text_lines(path)
    remarks: list[str] = []
    avantes = _avantes_line(lines)
    if avantes is not None:
        spectra = {path.stem: _of_counts(lines, avantes, path, remarks)}
    else:
        spectra = _of_pairs(lines, path, remarks)
    longest = max(len(x) for x, _ in spectra.values())
    table = np.full((2, len(spectra), longest), np.nan)
    for k, (x, y) in enumerate(spectra.values()):
        order = np.argsort(x)
        table[:, k, : x.size] = x[order], y[order]
    spectrum = label("spectrum", np.arange(1, len(spectra) + 1), ("spectrum",))
    spectrum.attrs["names"] = list(spectra)
    dims, coords = ("spectrum", "point"), {"spectrum": spectrum}
    arrays = [
        label(name, values, dims, coords=coords)
        for name, values in zip(("wavelength", "absorbance"), table, strict=True)
    ]
    return dataset(arrays, source=str(path.absolute()), format="uv_vis", remarks=remarks)


def _avantes_line(lines: Sequence[str]) -> int | None:
    return next((k for k, line in enumerate(lines[:_HEAD_LINES]) if _AVANTES.match(line.strip())), None)


def _of_counts(lines: list[str], at: int, path: Path, remarks: list[str]) -> tuple[Floats, Floats]:
    """Wavelength and absorbance from counts of sample, dark and reference."""
    first = next((k for k in range(at + 1, len(lines)) if numbers_in(lines[k], ";")), len(lines))
    values, end = rows_of(lines, first, 4, remarks, separator=";")
    if len(values) < _FEWEST:
        raise no_text(path, f"{len(values)} rows of 4 numbers, then {ended_at(lines, end)}")
    wavelength, sample, dark, reference = values.T
    return wavelength, _absorbance((sample - dark), (reference - dark), remarks)


def _absorbance(through: Floats, incident: Floats, remarks: list[str]) -> Floats:
    """-log10 of the ratio; NaN where there is no light, which is a remark."""
    good = (through > 0) & (incident > 0)
    if not good.all():
        remarks.append(f"{np.count_nonzero(~good)} of {good.size} points have no light and no absorbance")
    return np.asarray(-np.log10(np.divide(through, incident, out=np.full(good.shape, np.nan), where=good)))


def _heading(lines: Sequence[str]) -> tuple[int, str, list[str]] | None:
    """Line of the names of the columns, what separates them, and the names."""
    for at, line in enumerate(lines[:_HEAD_LINES]):
        for separator in _SEPARATORS:
            names = [part.strip() for part in line.split(separator)]
            while names and not names[-1]:
                names.pop()
            if len(names) > 1 and _WAVELENGTH.match(names[0]) and names[0] and _kind(names[1]):
                return at, separator, names
    return None


def _kind(name: str) -> str | None:
    return next((kind for kind, pattern in _SIGNALS if pattern.match(name)), None)


def _of_pairs(lines: list[str], path: Path, remarks: list[str]) -> dict[str, tuple[Floats, Floats]]:
    """Spectra by name; each column of a signal with the wavelengths before it."""
    found = _heading(lines)
    if found is None:
        raise no_text(path, "no names of columns")
    at, separator, names = found
    values, end = rows_of(lines, at + 1, len(names), remarks, separator=separator)
    if len(values) < _FEWEST:
        raise no_text(path, f"{len(values)} rows of {len(names)} numbers, then {ended_at(lines, end)}")
    above = [part.strip() for part in lines[at - 1].split(separator)] if at else []
    spectra: dict[str, tuple[Floats, Floats]] = {}
    wavelength = values[:, 0]
    for k, name in enumerate(names):
        if _WAVELENGTH.match(name):
            wavelength = values[:, k]
            continue
        kind = _kind(name)
        if kind is None or kind == "fluorescence":
            raise MeasurementError(
                f"the column {name!r} is no absorption" + (", but fluorescence" if kind else ""),
                where=f"{path}, line {at + 1}",
                expected="Abs, A or %T",
                found=name,
                cure="export absorbance, or leave the file out",
            )
        signal = (
            values[:, k] if kind == "absorbance" else _absorbance(values[:, k], np.full(len(values), 100.0), remarks)
        )
        spectra[_free_name(_sample(above, k) or path.stem, spectra)] = wavelength, signal
    return spectra


def _sample(above: Sequence[str], column: int) -> str:
    """The name of a sample above its pair of columns."""
    found = next((above[k] for k in (column, column - 1) if 0 <= k < len(above) and above[k]), "")
    return "" if found in _NO_NAMES else found


def _free_name(name: str, taken: dict[str, tuple[Floats, Floats]]) -> str:
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name} {number}"
    return free
