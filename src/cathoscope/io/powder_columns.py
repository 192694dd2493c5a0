"""Powder patterns as columns of numbers (``.xye``, ``.xy``, ``.dat``).

Schema
------
``diffraction_counts`` and ``diffraction_counts_std`` (bank, point) of one bank, with ``tof`` (us) or ``two_theta``
(deg), and where the header states it the coordinate ``temperature``. Places and intensities are taken as they stand:
such files hold densities at points.

Uncertainties
-------------
``diffraction_counts_std``: the third column; without one the square root of the intensities, with a remark.

Metadata
--------
Attributes ``format``, ``source``, ``remarks``, ``metadata`` with the comments.

File structure
--------------
Comment lines, perhaps a line of names, and two or three numbers in a line: place, intensity, uncertainty. Words of the
header tell what the places are (2theta, TOF); without them places up to 180 that span 2 and more are two theta, places
from 500 on are time of flight.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from cathoscope.core.errors import MeasurementError
from cathoscope.io.powder import (
    FEWEST_POINTS,
    NO_UNCERTAINTIES,
    Array,
    Kind,
    PowderFile,
    PowderPattern,
    check_increasing,
    kinds_stated,
    powder_dataset,
    std_of_counts,
    temperature_in,
    without_valueless,
)
from cathoscope.io.spectra_columns import recognise_columns
from cathoscope.io.spectra_text import TextColumns, check_is_text, parse_columns, read_columns, read_head

_OTHER_PLACES = re.compile(r"\bd[\s_-]?spacing|\bd\s*\(\s*(?:A|Å|ang)|\bq\s*[\[(]\s*(?:1/|A|Å|nm)", re.IGNORECASE)
_HALF_TURN, _LEAST_SPAN, _LEAST_TIME = 180.0, 2.0, 500.0  # deg, deg, us
_FEWEST_SURE = 20  # rows that show a pattern without words
_EVEN = 0.05  # steps are equal to this, as files round
_NAME_THEM = "write a comment above the numbers that says what they are:  # 2theta (deg)  or  # TOF (us)"


def recognise_powder_columns(path: Path) -> str | None:
    """None if the content is columns of a powder pattern and no spectrum, else the reason why not."""
    try:
        check_is_text(path)
        lines = read_head(path)
        if any(line.startswith(("# XDI/", "BANK", "{", "[", "data_")) for line in lines):
            return "a text of another format"
        text = parse_columns(lines, path)
        if text.values.shape[1] not in (2, 3):
            return f"{text.values.shape[1]} columns instead of place, intensity and uncertainty"
        _kind(path, text)
        if not _says(text) and not _looks_like_it(text):
            return "no word of the header says 2theta or TOF, and the numbers are no place, intensity, uncertainty"
        if recognise_columns(path) is None:
            return "a spectrum in columns"
    except MeasurementError as error:
        return f"{error.problem} ({error.found})"
    except OSError as error:
        return str(error)
    return None


def open_powder_columns(paths: Sequence[Path], angle_range: tuple[float, float] | None = None) -> xr.Dataset:
    """The pattern of the file ``paths[0]`` (see the module's docstring).

    Parameters
    ----------
    paths
        The file.
    angle_range
        Not used: there are no projections.

    Raises
    ------
    MeasurementError
        If the file is damaged, or it is not clear what its places are.
    """
    return powder_dataset(read_powder_columns(paths[0]), paths[0], "powder_columns")


def read_powder_columns(path: Path) -> PowderFile:
    """The same as records.

    Raises
    ------
    MeasurementError
        As `open_powder_columns`.
    """
    text = read_columns(path)
    remarks = list(text.remarks)
    if text.values.shape[1] not in (2, 3) or len(text.values) < FEWEST_POINTS:
        raise MeasurementError(
            "the columns are no pattern",
            where=path,
            expected=f"{FEWEST_POINTS} lines or more of place, intensity and uncertainty",
            found=f"{len(text.values)} lines of {text.values.shape[1]} numbers",
            cure="keep these three columns",
        )
    kind = _kind(path, text)
    x, y = text.values[:, 0], text.values[:, 1]
    check_increasing(x, str(path))
    if text.values.shape[1] == 3:
        std = text.values[:, 2]
        _check(path, std, "uncertainties of zero or more")
        y, std = without_valueless(y, std, remarks)
    else:
        _check(path, y, "counts of zero or more, as there is no column of uncertainties")
        std = std_of_counts(y)
        remarks.append(NO_UNCERTAINTIES)
    comments = tuple(line.strip() for line in (*text.comments, *text.headings) if line.strip())
    temperature = temperature_in(comments, remarks)
    return PowderFile((PowderPattern(1, path.stem, kind, x, y, std),), comments, temperature, tuple(remarks))


def _says(text: TextColumns) -> bool:
    return bool(kinds_stated(_header(text)))


def _header(text: TextColumns) -> str:
    return "\n".join((*text.comments[: text.n_comments_before], *text.headings))


def _looks_like_it(text: TextColumns) -> bool:
    """Three columns without names: places in equal or equally growing steps, intensities, and smaller uncertainties."""
    values = text.values
    named = any(len(line.split(text.separator)) == values.shape[1] for line in text.headings)
    if values.shape[1] != 3 or len(values) < _FEWEST_SURE or named:
        return False
    x, y, std = values.T
    steps = np.diff(x)
    with np.errstate(all="ignore"):
        even = any(np.ptp(one) < _EVEN * abs(np.median(one)) for one in (steps, steps / x[:-1]))
        return bool(np.all(steps > 0) and even and np.all(std >= 0) and 0 < np.mean(std) < np.mean(np.abs(y)))


def _kind(path: Path, text: TextColumns) -> Kind:
    """Time of flight or constant wavelength: by the header's words, else by size."""
    words, x = _header(text), text.values[:, 0]
    found = kinds_stated(words)
    if len(found) == 1:
        if found[0] == "cw" and np.nanmax(x) > _HALF_TURN:
            raise _unclear(path, f"two theta up to {np.nanmax(x):g} by the header, beyond 180 deg")
        return found[0]
    if _OTHER_PLACES.search(words):
        raise _unclear(path, "lattice spacings or Q by the header; export the pattern over two theta or time of flight")
    low, high = float(np.nanmin(x)), float(np.nanmax(x))
    if high <= _HALF_TURN and high - low >= _LEAST_SPAN:
        return "cw"
    if low >= _LEAST_TIME:
        return "tof"
    raise _unclear(path, f"{low:g} to {high:g}, which may be two theta, d or Q")


def _unclear(path: Path, found: str) -> MeasurementError:
    return MeasurementError(
        "the places of the points are unclear",
        where=path,
        expected="two theta in deg, or time of flight in us",
        found=found,
        cure=_NAME_THEM,
    )


def _check(path: Path, values: Array, expected: str) -> None:
    """Refuse what is below zero or no number."""
    bad = np.flatnonzero(~(values >= 0) | ~np.isfinite(values))
    if bad.size:
        raise MeasurementError(
            "a value of the pattern cannot be",
            where=f"{path}, row {bad[0] + 1} of the numbers",
            expected=expected,
            found=f"{values[bad[0]]:g}",
            cure="leave the point out, or add a column of uncertainties",
        )
