"""Tables of cyclers whose columns a person has to name: text or workbook, with a column map of the recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Literal

import xarray as xr

from cathoscope.core.errors import CathoscopeError, MeasurementError, RecipeError
from cathoscope.io.cycler import STATE_COLUMNS
from cathoscope.io.cycler_names import CHARGING, DISCHARGING, Meaning, meanings_of, stated_meaning
from cathoscope.io.cycler_table import table_dataset, with_units
from cathoscope.io.cycler_text import TextTable, find_rows, not_a_table, read_content, read_table, table_below
from cathoscope.io.cycler_xlsx import read_workbook

_ROLES = {
    "time": "elapsed_time",
    "voltage": "cell_voltage",
    "current": "cell_current",
    "charge": "cell_charge",
    "charged": CHARGING,
    "discharged": DISCHARGING,
    "energy": "cell_energy",
    "temperature": "cell_temperature",
    "cycle": "file_cycle",
    "step": "file_step",
}
_SIGNED = ("cell_current", "cell_charge", "cell_energy")
_ZIP = b"PK\x03\x04"


@dataclass(frozen=True)
class CyclerColumns:
    """Which columns of a table of a cycler are what; a column is given by its name or its number from 1.

    Columns that are not stated are told by their names, as far as those are known.

    Parameters
    ----------
    time, voltage, current
        Columns.
    charge
        Charge that has passed, of either sign.
    charged, discharged
        Instead of ``charge``, what was charged and discharged apart.
    energy, temperature, cycle, step
        Columns.
    units
        Unit of a column by its name here, such as ``{"current": "nA"}``; without it that of the heading, else s, V, A,
        Ah, Wh and degC.
    positive
        What a positive current does in the file.

    Raises
    ------
    RecipeError
        If a unit is stated for what is no column here.
    """

    time: str | None = None
    voltage: str | None = None
    current: str | None = None
    charge: str | None = None
    charged: str | None = None
    discharged: str | None = None
    energy: str | None = None
    temperature: str | None = None
    cycle: str | None = None
    step: str | None = None
    units: Mapping[str, str] = field(default_factory=dict)
    positive: Literal["charge", "discharge"] = "charge"

    def __post_init__(self) -> None:
        unknown = sorted(set(self.units) - set(_ROLES))
        if unknown:
            raise RecipeError(
                "a unit is stated for what is no column", expected=" or ".join(_ROLES), found=", ".join(unknown)
            )

    @property
    def stated(self) -> dict[str, str]:
        """Name or number of the column by its role."""
        keys = {each.name: getattr(self, each.name) for each in fields(self) if each.name in _ROLES}
        return {_ROLES[name]: key for name, key in keys.items() if key is not None}


def open_cycler_columns(path: Path, columns: CyclerColumns) -> xr.Dataset:
    """A table of a cycler as `cycler_table` gives it, with the columns that are stated.

    Parameters
    ----------
    path
        Text, or a workbook.
    columns
        What is known.

    Raises
    ------
    MeasurementError
        If there is no such column, or the table is no good.
    """
    with path.open("rb") as file:
        is_workbook = file.read(len(_ZIP)) == _ZIP
    table = with_units(_table(path, columns, is_workbook))
    meanings = dict(meanings_of(table.names))
    for role, key in columns.stated.items():
        position = _position(table, key)
        unit = next(
            (columns.units[name] for name, known in _ROLES.items() if known == role and name in columns.units), None
        )
        try:
            meaning = stated_meaning(role, table.names[position], unit)
        except CathoscopeError as error:
            raise RecipeError(error.problem, where=path, expected=error.expected, found=error.found) from error
        meanings = {known: held for known, held in meanings.items() if held[0] != position}
        meanings[role] = (position, meaning)
    if columns.positive == "discharge":
        meanings = {role: (position, _turned(meaning)) for role, (position, meaning) in meanings.items()}
    return table_dataset(table, meanings, "row" if is_workbook else "line", format="cycler_table")


def _turned(meaning: Meaning) -> Meaning:
    return replace(meaning, factor=-meaning.factor) if meaning.role in _SIGNED else meaning


def _table(path: Path, columns: CyclerColumns, is_workbook: bool) -> TextTable:
    keys = list(columns.stated.values())
    named = [key.casefold() for key in keys if not key.isdecimal()]

    def is_heading(names: Sequence[str]) -> bool:
        """Whether all columns that are stated by name are among ``names``."""
        return set(named) <= {name.casefold() for name in names}

    if named or is_workbook:
        return read_workbook(path, is_heading) if is_workbook else read_table(path, is_heading)
    if not keys:
        raise RecipeError("no column is stated", where=path, expected="time, voltage and current", cure=STATE_COLUMNS)
    content = read_content(path)
    rows = find_rows(content, max(int(key[:6]) for key in keys))
    if rows is None:
        raise not_a_table(path, "no line with as many numbers")
    return table_below(path, content, rows)


def _position(table: TextTable, key: str) -> int:
    """Position of a column by its name, else by its number."""
    names = [name.casefold() for name in table.names]
    if key.casefold() in names:
        return names.index(key.casefold())
    if key.isdecimal() and 1 <= int(key[:6]) <= len(names):
        return int(key[:6]) - 1
    raise MeasurementError(
        "the table has no such column",
        where=f"{table.path}, line {table.heading_line}",
        expected=", ".join(table.names),
        found=key,
        cure=STATE_COLUMNS,
    )
