"""Tables of battery cyclers as text: LAND, Neware, Arbin, Maccor, Battery Data Format, and any with such names.

Schema
------
``elapsed_time``, ``cell_voltage``, ``cell_current`` (point), and where the table has them ``cell_charge``,
``cell_energy``, ``cell_temperature``, ``file_cycle``, ``file_step`` (point). Further columns of numbers are
``other_column`` (other, point); columns of text are left out.

Uncertainties
-------------
None are stored in the files.

Metadata
--------
Attributes ``format``, ``source``, ``remarks`` and ``metadata``: the instrument where names tell it, and the lines above
the table.

File structure
--------------
Lines of any kind, a line of names, and rows of as many fields, separated by tabs, semicolons or commas; a decimal
comma where commas do not separate. Names tell quantity and unit. Times may be ``hours:minutes:seconds``, with days
before them. Charge and energy are what was charged less what was discharged, as the instrument counts, which may begin
anew in each step; without a sign they get that of the current.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.io.cycler import (
    CYCLING,
    STATE_COLUMNS,
    Columns,
    Floats,
    cycler_dataset,
)
from cathoscope.io.cycler_mpt import recognise_mpt
from cathoscope.io.cycler_names import (
    CHARGING,
    CHARGING_ENERGY,
    DISCHARGING,
    DISCHARGING_ENERGY,
    STATE,
    Meaning,
    is_cycler_heading,
    meanings_of,
    units_below,
)
from cathoscope.io.cycler_parse import CLOCK, EMPTY, TEXT
from cathoscope.io.cycler_text import HEAD_BYTES, TextTable, decoded, find_heading, read_content, read_table

Meanings = Mapping[str, tuple[int, Meaning]]
_NEEDED = ("elapsed_time", "cell_voltage", "cell_current")
_PAIRS = (("cell_charge", CHARGING, DISCHARGING), ("cell_energy", CHARGING_ENERGY, DISCHARGING_ENERGY))
# Of a name among the columns, or of a text above them.
_INSTRUMENTS = (
    ("Battery Data Format", ("test_time_second", "test time / s")),
    ("Maccor", ("rec#", "cyc#")),
    ("Arbin", ("data_point", "data point")),
    ("Neware", ("datapoint", "record id", "chg. cap.(ah)")),
    ("LAND", ("channel_index", "testtime/sec", "nominal capacity used to define the c rate")),
)
_LOOKED_BELOW = 4
_MOST_ABOVE = 40
_SAMPLED_ROWS = 50
_WIDEST_STATE = 24


def recognise_cycler_table(path: Path) -> str | None:
    """None if a line of the text names a time and a voltage, else the reason why not."""
    if recognise_mpt(path) is None:
        return "it is an export of EC-Lab"
    try:
        content = read_content(path, HEAD_BYTES)
    except MeasurementError as error:
        return error.found
    heading = find_heading(content, is_cycler_heading)
    if heading is None:
        return "no line names a time and a voltage, or it is a spectrum of impedance"
    return None if _numbers_below(content, heading) else f"no numbers below the names in line {heading[0]}"


def _numbers_below(content: bytes, heading: tuple[int, int, int, tuple[str, ...]]) -> bool:
    """Whether one of the next lines has a number where the time stands."""
    _, begin, separator, names = heading
    place = meanings_of(names)["elapsed_time"][0]
    lines = [line.split(bytes((separator,))) for line in content[begin:].split(b"\n", _LOOKED_BELOW)[:_LOOKED_BELOW]]
    return any(len(fields) > place and any(48 <= byte <= 57 for byte in fields[place][:20]) for fields in lines)


def open_cycler_table(paths: Sequence[Path], angle_range: tuple[float, float] | None = None) -> xr.Dataset:
    """The table ``paths[0]`` (see the module's docstring).

    Parameters
    ----------
    paths
        The file.
    angle_range
        Not used: there are no projections.

    Raises
    ------
    MeasurementError
        If a column is missing, lines are damaged, units change, or the time runs back.
    """
    table = with_units(read_table(paths[0], is_cycler_heading))
    return table_dataset(table, meanings_of(table.names), "line", format="cycler_table")


def table_dataset(table: TextTable, meanings: Meanings, place: str, **attrs: Any) -> xr.Dataset:
    """A table whose columns are known as a labelled Dataset.

    Parameters
    ----------
    table
        Its fields.
    meanings
        Position and meaning of the columns, by role.
    place
        What the table's lines are called: line or row.
    attrs
        Further attributes; ``format`` among them.

    Raises
    ------
    MeasurementError
        See `open_cycler_table`.
    """
    meanings = {role: held for role, held in meanings.items() if held[0] < len(table.starts)}
    _check_needed(table, meanings, place)
    remarks = list(table.remarks)
    table = _without_headings(table, meanings, place, remarks)
    with np.errstate(over="ignore", invalid="ignore"):  # a damaged file may hold any number
        columns = _columns(table, meanings, place, remarks)
    metadata = {"instrument": instrument_of(table), "comments": [line for line in table.above if line.strip(" ,;\t")]}
    metadata = {key: value for key, value in metadata.items() if value}
    return cycler_dataset(columns, table.path, remarks, **attrs, metadata=metadata)


def with_units(table: TextTable) -> TextTable:
    """The table with the units of a row of units below its names, if it has one."""
    if not table.lines.size:
        return table
    row = [decoded(table.field(0, position)) for position in range(len(table.starts))]
    names = units_below(table.names[: len(row)], row)
    if names is None:
        return table
    table.remarks.append("the units are those below the names")
    return replace(table.rows(np.arange(table.lines.size) > 0), names=(*names, *table.names[len(row) :]))


def instrument_of(table: TextTable) -> str:
    """Who wrote the table, by its names or the lines above; empty if that is not known."""
    words = {name.lower() for name in table.names}
    above = " ".join(table.above[:_MOST_ABOVE]).lower()
    for instrument, signs in _INSTRUMENTS:
        if any(sign in words or sign in above for sign in signs):
            return instrument
    return ""


def _check_needed(table: TextTable, meanings: Meanings, place: str) -> None:
    missing = [role for role in _NEEDED if role not in meanings]
    if missing:
        raise MeasurementError(
            f"the table has no {missing[0].replace('_', ' ')}",
            where=f"{table.path}, {place} {table.heading_line}",
            expected="columns of time, voltage and current",
            found=", ".join(table.names),
            cure=STATE_COLUMNS,
        )


def _without_headings(table: TextTable, meanings: Meanings, place: str, remarks: list[str]) -> TextTable:
    """The table without blank rows and repeated headings; refused if a heading has other units."""
    position = meanings["elapsed_time"][0]
    _, states = table.numbers(position)
    kept = states != EMPTY
    for row in np.flatnonzero(states == TEXT)[:_SAMPLED_ROWS]:
        names = [decoded(table.field(int(row), k)) for k in range(len(table.starts))]
        if not is_cycler_heading(names):
            continue
        again = meanings_of(names)
        changed = [role for role in meanings if role in again and _differ(meanings[role], again[role])]
        if changed or set(again) != set(meanings):
            raise MeasurementError(
                "names or units change within the table",
                where=f"{table.path}, {place} {int(table.lines[row])}",
                expected=", ".join(table.names),
                found=", ".join(names),
                cure="give each part a file of its own",
            )
        remarks.append(f"the names stand again in {place} {int(table.lines[row])}")
        kept[row] = False
    kept |= _any_other_filled(table, meanings, ~kept & (states == EMPTY))
    return table if kept.all() else table.rows(kept)


def _any_other_filled(table: TextTable, meanings: Meanings, rows: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Of the ``rows``, those that have a voltage: no blank rows, but rows that lack a time."""
    if not rows.any():
        return rows
    position = meanings["cell_voltage"][0]
    filled = rows.copy()
    for row in np.flatnonzero(rows):
        filled[row] = bool(table.field(int(row), position))
    return filled


def _differ(one: tuple[int, Meaning], other: tuple[int, Meaning]) -> bool:
    return one[0] != other[0] or replace(one[1], unit="") != replace(other[1], unit="")


def _columns(table: TextTable, meanings: Meanings, place: str, remarks: list[str]) -> Columns:
    values = {
        role: _values(table, position, meaning, place, remarks)
        for role, (position, meaning) in meanings.items()
        if role != STATE
    }
    used = {position for role, (position, _) in meanings.items() if role in values or role == STATE}
    _set_signs(table, meanings, values, remarks)
    for role, more, less in _PAIRS:
        if more in values and less in values:
            if role in values:
                used -= {meanings[role][0]}
            values[role] = values[more] - values[less]
    _set_time(meanings["elapsed_time"][1], values, remarks)
    named = {name: values[name] for name in CYCLING if name in values}
    for role, (position, _) in meanings.items():
        if role not in named and role != STATE:
            used -= {position}
    return Columns(named, _others(table, used), table.lines, place)


def _values(table: TextTable, position: int, meaning: Meaning, place: str, remarks: list[str]) -> Floats:
    """A column in the schema's unit; times of a clock are in s whatever the name says."""
    values, states = table.checked_numbers(position, place, remarks)
    if meaning.role == "elapsed_time" and (states == CLOCK).any():
        return values
    if meaning.factor == 1 and meaning.offset == 0:
        return values
    return values * meaning.factor + meaning.offset


def _set_signs(table: TextTable, meanings: Meanings, values: dict[str, Floats], remarks: list[str]) -> None:
    """Discharge is negative: a current without sign by the state of the row, a charge without sign by the current."""
    current = values["cell_current"]
    if not (current < 0).any() and STATE in meanings:
        discharging = _is_discharging(table, meanings[STATE][0])
        if (discharging & (current > 0)).any():
            values["cell_current"] = current = np.where(discharging, -current, current)
            remarks.append(f"the current has no sign: it is negative where {table.names[meanings[STATE][0]]} says so")
    for role in ("cell_charge", "cell_energy"):
        if role in values and _rises_on_discharge(values[role], current):
            values[role] = values[role] * _last_sign(current) + 0.0  # no -0
            if not {CHARGING, DISCHARGING} <= set(values):
                remarks.append(f"{role} of the file has no sign: it has that of the current")


def _rises_on_discharge(counted: Floats, current: Floats) -> bool:
    """Whether a counter grows while the current is negative, as one without a sign does."""
    steps = np.diff(counted)[(current[1:] < 0) & (current[:-1] < 0)]
    return bool((steps > 0).sum() > (steps < 0).sum())


def _is_discharging(table: TextTable, position: int) -> NDArray[np.bool_]:
    words = np.array([table.field(row, position)[:_WIDEST_STATE].lower() for row in range(table.lines.size)])
    known, which = np.unique(words, return_inverse=True)
    says = [word == b"d" or b"dis" in word or b"dch" in word for word in known.tolist()]
    return np.asarray(says, dtype=np.bool_)[which]


def _last_sign(current: Floats) -> Floats:
    """Sign of the current; where none flows, that of the last row where one did."""
    flows = np.nan_to_num(current) != 0
    last = np.maximum.accumulate(np.where(flows, np.arange(current.size), 0))
    return np.sign(np.nan_to_num(current))[last]


def _set_time(meaning: Meaning, values: dict[str, Floats], remarks: list[str]) -> None:
    """Times that begin anew at every step become times since the start."""
    time = values["elapsed_time"]
    back = np.flatnonzero(np.diff(time) < 0) + 1
    if meaning.rank == 0 or not back.size:
        return
    numbers = [values[role] for role in ("file_step", "file_cycle") if role in values]
    if not numbers or not all(any(each[k] != each[k - 1] for each in numbers) for k in back):
        return
    offset = np.zeros(time.size)
    offset[back] = time[back - 1]
    values["elapsed_time"] = time + np.cumsum(offset)
    remarks.append(
        f"the time begins anew {back.size} times, where a step does: the steps are put one after another, "
        "each from the last time of the one before"
    )


def _others(table: TextTable, used: set[int]) -> dict[str, Floats]:
    """Further columns, if most of the first rows have a number there."""
    others: dict[str, Floats] = {}
    head = table.rows(np.arange(table.lines.size) < _SAMPLED_ROWS)
    for position in range(len(table.starts)):
        name = table.names[position]
        if position in used or not name:
            continue
        _, states = head.numbers(position)
        if (states == TEXT).sum() * 2 > states.size or (states == EMPTY).all():
            continue
        others[name if name not in others else f"{name} ({position + 1})"] = table.numbers(position)[0]
    return others
