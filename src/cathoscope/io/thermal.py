"""Records of balances and calorimeters: which column is what, their units, and the labelled Dataset."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.errors import CathoscopeError, MeasurementError
from cathoscope.core.schema import dataset, label
from cathoscope.core.units import convert
from cathoscope.io.lazy import COPY_AGAIN

Floats = NDArray[np.float64]
Up = Literal["endothermic", "exothermic"]

FEWEST_POINTS = 5
_NOMINAL_MASS = 100.0  # mg, of records in per cent alone
_UNIT = re.compile(r"[\[(/]\s*\(?([^\[\]()]+?)\)?\s*[\])]?\s*$")
_DEGREES = re.compile(r"^[^A-Za-z]*[Cc]$")
_HEAT_UNITS = {"mw": 1.0, "w": 1e3, "uw": 1e-3, "µw": 1e-3}
_PER_MASS = re.compile(r"^(m|u|µ)?w/(m|k)?g$", re.IGNORECASE)
_TO_MW_PER_MG = {"w/g": 1.0, "mw/mg": 1.0, "mw/g": 1e-3, "w/kg": 1e-3, "w/mg": 1e3}

# Names of the schema and the words by which programs call them, the most particular first.
_ROLES: tuple[tuple[str, tuple[re.Pattern[str], ...]], ...] = (
    ("elapsed_time", (re.compile(r"^(?:time|t)(?![a-z])", re.IGNORECASE),)),
    (
        "sample_temperature",
        (
            re.compile(r"^sample\s*temp", re.IGNORECASE),
            re.compile(r"^ts(?![a-z])", re.IGNORECASE),
            re.compile(r"^temp(?:erature)?(?![a-z])", re.IGNORECASE),
            re.compile(r"^T(?=\s*[\[(/])"),
        ),
    ),
    (
        "sample_mass",
        (
            re.compile(r"^(?:unsubtracted\s+)?(?:sample\s+)?(?:weight|mass)(?!\s*loss)", re.IGNORECASE),
            re.compile(r"^tga?(?![a-z])", re.IGNORECASE),
            re.compile(r"^m(?=\s*[\[(/])"),
        ),
    ),
    ("heat_flow", (re.compile(r"^(?:unsubtracted\s+)?heat\s*flow(?!\s*cal)", re.IGNORECASE), re.compile(r"^dsc\b"))),
)


@dataclass(frozen=True)
class ThermalTable:
    """What a file of a balance or calorimeter holds.

    Attributes
    ----------
    headings
        Of the columns, with their units.
    values
        Numbers, [row, column].
    metadata
        Words of the header.
    mass
        Of the sample by the header, mg.
    up
        What a rising heat flow means by the header.
    remarks
        What was noticed and repaired.
    """

    headings: tuple[str, ...]
    values: Floats
    metadata: Mapping[str, str] = field(default_factory=dict)
    mass: float | None = None
    up: Up | None = None
    remarks: tuple[str, ...] = ()


def roles_of(headings: Sequence[str]) -> dict[str, int]:
    """Columns by their names in the schema."""
    found: dict[str, int] = {}
    for name, patterns in _ROLES:
        for pattern in patterns:
            of = [
                k for k, heading in enumerate(headings) if pattern.search(heading.strip()) and k not in found.values()
            ]
            if of:
                found[name] = of[0]
                break
    return found


def is_thermal(headings: Sequence[str]) -> bool:
    """Whether columns are those of a balance or calorimeter: a temperature, and a mass or heat flow."""
    found = roles_of(headings)
    return "sample_temperature" in found and bool({"sample_mass", "heat_flow"} & set(found))


def thermal_dataset(table: ThermalTable, path: Path) -> xr.Dataset:
    """The record in the units of the schema.

    Raises
    ------
    MeasurementError
        If temperature, or both mass and heat flow are missing, there are too few rows, or a unit is unknown.
    """
    roles = roles_of(table.headings)
    if "sample_temperature" not in roles or not {"sample_mass", "heat_flow"} & set(roles):
        raise MeasurementError(
            "this is no record of a balance or calorimeter",
            where=path,
            expected="columns of temperature and of mass or heat flow, with names",
            found=", ".join(table.headings) or "columns without names",
            cure="write a line of names above the numbers, such as  time (min),temperature (C),mass (mg)",
        )
    remarks = list(table.remarks)
    values = _sound_rows(table.values, sorted(roles.values()), path, remarks)
    arrays = {name: _converted(name, values[:, k], table, k, path, remarks) for name, k in roles.items()}
    metadata: dict[str, Any] = {"metadata": dict(table.metadata)} if table.metadata else {}
    if table.mass is not None:
        metadata["sample_mass_stated"] = table.mass
    labelled = [label(name, array, ("point",)) for name, array in arrays.items()]
    return dataset(labelled, source=str(path.absolute()), format="thermal", remarks=remarks, **metadata)


def _sound_rows(values: Floats, columns: list[int], path: Path, remarks: list[str]) -> Floats:
    """Rows whose numbers are all finite; how many are not is a remark."""
    good = np.isfinite(values[:, columns]).all(axis=1)
    if not good.all():
        remarks.append(f"{np.count_nonzero(~good)} of {good.size} rows have no number and are left out")
    if np.count_nonzero(good) < FEWEST_POINTS:
        raise MeasurementError(
            "the record is too short",
            where=path,
            expected=f"{FEWEST_POINTS} rows of numbers or more",
            found=str(np.count_nonzero(good)),
            cure=COPY_AGAIN,
        )
    return values[good]


def unit_of(heading: str) -> str:
    """The unit in a heading such as ``Time (min)``, ``Ts [°C]`` or ``Mass/%``; empty without one."""
    match = _UNIT.search(heading.strip())
    return match[1].strip() if match else ""


def _converted(name: str, values: Floats, table: ThermalTable, column: int, path: Path, remarks: list[str]) -> Floats:
    unit = unit_of(table.headings[column])
    try:
        if name == "elapsed_time":
            return values * convert(1.0, unit or "min", "time")
        if name == "sample_temperature":
            return values if _DEGREES.match(unit) or not unit else values + convert(0.0, unit, "temperature")
        if name == "sample_mass":
            return _mass(values, unit, table.mass, remarks)
        return _heat_flow(values, unit, table, remarks)
    except CathoscopeError as error:
        raise MeasurementError(
            f"the unit of {table.headings[column]!r} is not known",
            where=path,
            expected=error.expected,
            found=repr(unit),
            cure="correct the name of the column",
        ) from error


def _mass(values: Floats, unit: str, stated: float | None, remarks: list[str]) -> Floats:
    if unit != "%":
        return values * convert(1.0, unit or "mg", "mass")
    if stated is None:
        remarks.append(f"the file has per cent alone: {_NOMINAL_MASS:g} mg are taken; what is relative is not touched")
    return values / 100.0 * (stated or _NOMINAL_MASS)


def _heat_flow(values: Floats, unit: str, table: ThermalTable, remarks: list[str]) -> Floats:
    if table.up is None:
        remarks.append("the file does not say whether exothermic is up: endothermic is taken")
    sign = -1.0 if table.up == "exothermic" else 1.0
    plain = unit.replace(" ", "").lower()
    if _PER_MASS.match(plain) and plain in _TO_MW_PER_MG:
        if table.mass is None:
            raise CathoscopeError("no mass", expected="the mass of the sample in the header, for a heat flow per mass")
        return sign * values * _TO_MW_PER_MG[plain] * table.mass
    if plain and plain not in _HEAT_UNITS:
        raise CathoscopeError("no power", expected="mW, W, uW, W/g or mW/mg")
    return sign * values * _HEAT_UNITS.get(plain, 1.0)
