"""Mass spectrometers in the gas of a balance: text of Quadera and of other programs with three columns for each ion.

Schema
------
``ion_time`` (s) and ``ion_signal`` (ion, point), each ion at its own times. Coordinate ``ion`` with the attribute
``names`` as the file calls them: a mass over charge, or a gas.

Uncertainties
-------------
None are stored in the files.

Metadata
--------
Attributes ``format``, ``source``, ``remarks``; ``unit`` of the signal.

File structure
--------------
A line of the names of the ions, a line with ``Time``, ``Time Relative [s]`` and the signal for each, rows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from cathoscope.core.errors import MeasurementError
from cathoscope.core.schema import dataset, label
from cathoscope.io.text import NUMBER, no_text, text_head, text_lines

_RELATIVE = re.compile(r"^Time Relative \[(s|ms|min)\]$")
_SECONDS = {"s": 1.0, "ms": 1e-3, "min": 60.0}
_UNIT = re.compile(r"\[(.+)\]")
_FEWEST = 5


def recognise_gas(path: Path) -> str | None:
    """None if the content is text of a mass spectrometer, else the reason why not."""
    try:
        lines = text_head(path)
    except MeasurementError as error:
        return f"{error.problem} ({error.found})"
    except OSError as error:
        return str(error)
    return None if _heading(lines) is not None else "no line of names with Time Relative [s]"


def open_gas(paths: Sequence[Path], angle_range: tuple[float, float] | None = None) -> xr.Dataset:
    """The signals of the file ``paths[0]`` (see the module's docstring).

    Parameters
    ----------
    paths
        The file.
    angle_range
        Not used: there are no projections.

    Raises
    ------
    MeasurementError
        If the file is damaged.
    """
    path = paths[0]
    lines = text_lines(path)
    at = _heading(lines)
    if at is None:
        raise no_text(path, "no line of names with Time Relative [s]")
    headings = lines[at].rstrip("\t").split("\t")
    relative = [k for k, heading in enumerate(headings) if _RELATIVE.match(heading)]
    rows, remarks = _rows(lines, at + 1, [column for k in relative for column in (k, k + 1)], len(headings))
    if len(rows) < _FEWEST:
        raise no_text(path, f"{len(rows)} rows below line {at + 1}")
    values = rows.T.reshape(len(relative), 2, -1)
    seconds = [_SECONDS[_RELATIVE.match(headings[k])[1]] for k in relative]  # type: ignore[index]
    ion = label("ion", np.arange(1, len(relative) + 1), ("ion",))
    ion.attrs["names"] = _names(lines[at - 1] if at else "", len(relative))
    coords = {"ion": ion}
    arrays = [
        label("ion_time", values[:, 0] * np.array(seconds)[:, None], ("ion", "point"), coords=coords),
        label("ion_signal", values[:, 1], ("ion", "point"), coords=coords),
    ]
    unit = _UNIT.search(headings[relative[0] + 1])
    about = {"unit": unit[1] if unit else "as the file has it"}
    return dataset(arrays, source=str(path.absolute()), format="gas", remarks=remarks, **about)


def _heading(lines: Sequence[str]) -> int | None:
    for at, line in enumerate(lines[:60]):
        headings = line.rstrip("\t").split("\t")
        if any(_RELATIVE.match(heading) for heading in headings[:-1]):
            return at
    return None


def _names(line: str, count: int) -> list[str]:
    """Names of the ions, each above its columns."""
    names = [part.strip() for part in line.split("\t") if part.strip()]
    return names if len(names) == count else [str(number + 1) for number in range(count)]


def _rows(lines: Sequence[str], first: int, columns: Sequence[int], width: int) -> tuple[np.ndarray, list[str]]:
    """Some columns of all whole rows; how many are not whole is a remark."""
    found, broken = [], 0
    for line in lines[first:]:
        if not line.strip():
            continue
        parts = line.rstrip("\t").split("\t")
        wanted = [parts[k].strip() for k in columns] if len(parts) == width else []
        if wanted and all(NUMBER.fullmatch(part) for part in wanted):
            found.append([float(part) for part in wanted])
        else:
            broken += 1
    remarks = [f"{broken} of {broken + len(found)} rows are not whole and are left out"] if broken else []
    return np.asarray(found, dtype=np.float64).reshape(-1, len(columns)), remarks
