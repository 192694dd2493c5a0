"""Grains of a particle that another experiment has mapped: labels of voxels as TIFF, directions of c as a table.

Schema
------
``grain_label`` (z, y, x), the number of the grain at a voxel, 0 outside; ``grain_c_axis`` (grain, axis), unit vectors
along c in x, y, z, for all numbers from 1 to the largest of the table; NaN where the table has none.

Uncertainties
-------------
None: files of this kind have none.

Metadata
--------
Attributes ``format`` and ``source``.

File structure
--------------
Labels: a TIFF stack of whole numbers, a page per slice along z. Directions: comma-separated, a line of the names
``grain,x,y,z``, then a line for each grain; vectors of any length but zero, c and -c being the same.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.core.schema import dataset, label
from cathoscope.io.stacks import open_tiff
from cathoscope.io.text import text_lines

_NAMES = ["grain", "x", "y", "z"]
_LARGEST = 10_000_000  # number of a grain; more is a mistake, and a table of that length would be made


def read_grains(labels: Path, axes: Path) -> xr.Dataset:
    """Both files as one Dataset (see the module's docstring).

    Raises
    ------
    MeasurementError
        If a file cannot be read, labels are not whole numbers, a line of the table is not as it should be, or a grain
        has no direction.
    """
    stack = np.asarray(open_tiff([labels])["pages"].values)
    if stack.dtype.kind not in "iu" or stack.min(initial=0) < 0:
        raise MeasurementError(
            "labels of grains must be whole numbers, 0 outside",
            where=labels,
            expected="0, 1, 2, ...",
            found=f"{stack.dtype}, smallest {stack.min(initial=0):g}",
        )
    directions = _directions(axes)
    used = np.unique(stack[stack > 0])
    told = 1 + np.flatnonzero(np.isfinite(directions[:, 0]))
    unknown = np.setdiff1d(used, told)
    if unknown.size:
        raise MeasurementError(
            f"{unknown.size} of {used.size} grains have no direction",
            where=axes,
            expected=f"a line for each grain of {labels.name}",
            found=f"none for grain {', '.join(map(str, unknown[:5].tolist()))}{', ...' if unknown.size > 5 else ''}",
        )
    coords = {"grain": np.arange(1, len(directions) + 1), "axis": np.arange(3)}
    return dataset(
        [
            label("grain_label", stack.astype(np.int32), ("z", "y", "x")),
            label("grain_c_axis", directions, ("grain", "axis"), coords=coords),
        ],
        format="grain map",
        source=str(axes),
    )


def _directions(path: Path) -> NDArray[np.float64]:
    """Unit vectors (grain, 3) by number."""
    rows = [row for row in csv.reader(text_lines(path)) if any(cell.strip() for cell in row)]
    head = [cell.strip().lower() for cell in rows[0]] if rows else []
    if head != _NAMES:
        raise MeasurementError(
            "this table does not tell directions of grains", where=path, expected="grain,x,y,z", found=",".join(head)
        )
    known: dict[int, NDArray[np.float64]] = {}
    for line, row in enumerate(rows[1:], start=2):
        number, vector = _row(path, line, row)
        if number in known:
            raise MeasurementError(f"grain {number} is there twice", where=f"{path}, row {line}")
        known[number] = vector / np.linalg.norm(vector)
    directions = np.full((max(known, default=0), 3), np.nan)
    for number, vector in known.items():
        directions[number - 1] = vector
    return directions


def _row(path: Path, line: int, row: list[str]) -> tuple[int, NDArray[np.float64]]:
    try:
        number, vector = int(row[0]), np.array([float(cell) for cell in row[1:]], np.float64)
    except (ValueError, IndexError):
        number, vector = 0, np.zeros(0)
    if not (0 < number <= _LARGEST and vector.size == 3 and np.isfinite(vector).all() and vector.any()):
        raise MeasurementError(
            "a grain needs its number and a direction",
            where=f"{path}, row {line}",
            expected=f"a number from 1 to {_LARGEST} and three numbers, not all 0, such as 12,0.1,0.0,0.99",
            found=",".join(row),
        )
    return number, vector
