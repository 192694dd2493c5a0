"""Tables and first numbers of heating in the lab: steps of mass loss, heat effects, activation energies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from cathoscope.report.heating import (
    is_calorimetry,
    is_hold,
    is_mass_loss,
    is_unlevel,
    pair,
    rapid_step,
    reactions_of,
    record_names,
)
from cathoscope.report.names import names_along
from cathoscope.report.numbers import Row, count_text, format_value
from cathoscope.report.tables import Column, Table

_MOST_ROWS = 6
_STEPS = {
    "step_onset": "onset, tangents",
    "step_deflection": "first deflection",
    "step_steepest": "fastest at",
    "step_rate": "fastest loss",
    "step_loss": "loss",
    "step_oxygen": "oxygen per formula unit",
}
_RECORDS = {
    "rapid_loss_onset": "onset of rapid loss, tangents",
    "rapid_loss_deflection": "its first deflection",
    "total_loss": "loss in all",
    "total_oxygen": "oxygen lost per formula unit",
}
_EFFECTS = {
    "effect_onset": "onset",
    "effect_peak": "peak",
    "effect_enthalpy": "enthalpy",
    "effect_height": "height",
}
_STEP_NOTES = (
    "Onset by tangents (ISO 11358-1): where the tangent of the fastest loss meets the line before the step; first "
    "deflection (ASTM E2550): where the mass leaves that line by four σ of its noise. They are two quantities",
    "σ is that of noise; the calibration of temperature and mass comes on top",
    "Oxygen if oxygen is all that leaves",
)


def heating_tables(data: xr.Dataset) -> list[Table]:
    """Every table of heating in the lab that the arrays allow."""
    made: list[Table | None] = []
    if is_mass_loss(data):
        made += [_steps_table(data), _records_table(data)]
    if is_hold(data):
        made.append(_holds_table(data))
    if is_calorimetry(data):
        made.append(_effects_table(data))
    made += [_energies_table(data)] if "kissinger_energy" in data else []
    return [table for table in made if table is not None]


def _columns(data: xr.Dataset, titles: dict[str, str], places: Sequence[tuple[int, ...]]) -> tuple[Column, ...]:
    columns = []
    for name, title in titles.items():
        values, std = zip(*(pair(data, name, place) for place in places), strict=True) if places else ((), ())
        columns.append(Column(name, title, str(data[name].attrs.get("units", "")), values, std))
    return tuple(columns)


def _steps_table(data: xr.Dataset) -> Table | None:
    onsets = np.asarray(data["step_onset"].values, np.float64)
    places = [(int(row), int(step)) for row, step in np.argwhere(np.isfinite(onsets))]
    if not places:
        return None
    names = record_names(data)
    rapid = [rapid_step(data, row) == step for row, step in places]
    rows = [f"{names[row]}, step {step + 1}" if len(names) > 1 else f"step {step + 1}" for row, step in places]
    covers = ("step_begin", "step_end", "step_line", "step_meeting", "step_onset_systematic")
    words = tuple("rapid loss" if one else "" for one in rapid)
    columns = _columns(data, _STEPS, places)
    return Table("steps", "Steps of mass loss", "step", tuple(rows), columns, words, _STEP_NOTES, covers=covers)


def _records_table(data: xr.Dataset) -> Table:
    names = record_names(data)
    columns = _columns(data, _RECORDS, [(row,) for row in range(len(names))])
    rates = tuple(np.asarray(data["heating_rate"].values, np.float64).tolist())
    columns = (Column("heating_rate", "heating rate", "K/min", rates, digits=3), *columns)
    spinel, salt = (float(data[name].values) for name in ("spinel_oxygen", "rock_salt_oxygen"))
    notes = (_limit_words(spinel, salt),) if np.isfinite(spinel) else ()
    covers = (
        "mass_left",
        "mass_rate",
        "oxygen_content",
        "spinel_oxygen",
        "rock_salt_oxygen",
        "gas_signal",
        "rapid_loss_onset_systematic",
    )
    return Table(
        "records", "Records of the balance", "record", tuple(names), columns, (), notes, covers=(*covers, *_ENERGIES)
    )


_ENERGIES = ("kissinger_energy", "kissinger_factor", "kas_energy", "friedman_energy")


def _limit_words(spinel: float, salt: float) -> str:
    """What the oxygen would be if all were one phase."""
    return f"Per formula unit, all spinel has {spinel:.3f} O and all rock salt {salt:.3f} O"


def _holds_table(data: xr.Dataset) -> Table:
    names = record_names(data)
    places = [(row,) for row in range(len(names))]
    temperature = tuple(np.asarray(data["hold_temperature"].values, np.float64).tolist())
    columns = (
        Column("hold_temperature", "temperature", "degC", temperature, digits=4),
        *_columns(data, {"avrami_exponent": "exponent n", "avrami_rate": "rate k"}, places),
    )
    notes = ["1 − exp(−(k t)ⁿ) of the share of the mass lost in the hold (Avrami), between 5 % and 95 %"]
    if "hold_energy" in data and np.isfinite(data["hold_energy"].values):
        notes.append(f"Activation energy from the rates: {format_value(*pair(data, 'hold_energy'), 'kJ/mol')}")
    return Table("holds", "Holds", "record", tuple(names), columns, (), tuple(notes), covers=("hold_energy",))


def _effects_table(data: xr.Dataset) -> Table | None:
    if "effect_enthalpy" not in data:
        return None
    effects, names = names_along(data["effect_enthalpy"], "effect"), record_names(data)
    limits = data["effect"].attrs.get("limits", [])
    places = [(row, column) for row in range(len(names)) for column in range(len(effects))]
    rows = [f"{effects[column]}, {names[row]}" if len(names) > 1 else effects[column] for row, column in places]
    words = tuple(
        (f"{limits[column][0]:g} to {limits[column][1]:g} °C" if column < len(limits) else "")
        + (", heat flows at a limit: the enthalpy depends on it" if is_unlevel(data, row, column) else "")
        for row, column in places
    )
    notes = (
        "Heat is positive if it is taken up; the integral is over time, above the baseline between the limits of the "
        "remark (ASTM E793); onset by tangents (ISO 11357-1)",
        "σ is that of noise; where the limits are laid, and calibration, come on top",
    )
    covers = (
        "heat_baseline",
        "heating_rate",
        "effect_unlevel",
        *(f"{name}_systematic" for name in _EFFECTS),
        *_ENERGIES,
    )
    return Table(
        "effects", "Heat effects", "effect", tuple(rows), _columns(data, _EFFECTS, places), words, notes, covers=covers
    )


def _energies_table(data: xr.Dataset) -> Table | None:
    """Activation energies by method: one row for each effect and method."""
    reactions = reactions_of(data)
    rows, values, stds, words = [], [], [], []
    for place, name in reactions:
        if not np.isfinite(pair(data, "kissinger_energy", place)[0]):
            continue
        factor = format_value(*pair(data, "kissinger_factor", place), "1")
        found = [("Kissinger", pair(data, "kissinger_energy", place), f"ln(A min) = {factor}")]
        for array, title in (("kas_energy", "Kissinger, Akahira, Sunose"), ("friedman_energy", "Friedman")):
            table = np.asarray(data[array].values[place], np.float64)
            level = int(np.argmin(np.abs(data["conversion"].values - 0.5)))
            if (known := table[np.isfinite(table)]).size:
                told = f"at half conversion; {known.min():.0f} to {known.max():.0f} from 10 to 90 %"
                found.append((title, pair(data, array, (*place, level)), told))
        for title, (value, std), remark in found:
            rows.append(f"{name}, {title}" if name else title)
            values.append(value)
            stds.append(std)
            words.append(remark)
    if not rows:
        return None
    column = Column("kissinger_energy", "activation energy", "kJ/mol", tuple(values), tuple(stds))
    notes = (
        "Slopes of lines through several heating rates, σ by their scatter. Exact for one reaction; energies that "
        "change with conversion say that there are several",
    )
    return Table(
        "energies", "Activation energies", "method", tuple(rows), (column,), tuple(words), notes, covers=_ENERGIES
    )


def heating_numbers(data: xr.Dataset) -> list[Row]:
    """The first numbers of heating: onsets of the rapid loss, oxygen, effects, energies."""
    rows = [*_mass_numbers(data), *_effect_numbers(data)]
    for place, name in reactions_of(data) if "kissinger_energy" in data else ():
        value, std = pair(data, "kissinger_energy", place)
        if np.isfinite(value):
            rows.append(
                Row(
                    f"activation energy{', ' + name if name else ''} (Kissinger)",
                    format_value(value, std, "kJ/mol"),
                    "σ by the scatter about the line",
                )
            )
    return rows


def _mass_numbers(data: xr.Dataset) -> list[Row]:
    if not is_mass_loss(data):
        return []
    names, rows = record_names(data), []
    if not np.isfinite(data["step_onset"].values).any():
        rows.append(Row("steps of mass loss", "none stands out"))
    for row, name in list(enumerate(names))[:_MOST_ROWS]:
        place = f", {name}" if len(names) > 1 else ""
        for array, words in _RECORDS.items():
            value, std = pair(data, array, (row,))
            if np.isfinite(value):
                text = format_value(value, std, str(data[array].attrs["units"]))
                rows.append(Row(words + place, text, "σ of noise and smoothing; not of another specimen"))
    more = len(names) - _MOST_ROWS
    return [*rows, *([Row("further records", count_text(more, "record"))] if more > 0 else [])]


def _effect_numbers(data: xr.Dataset) -> list[Row]:
    if not is_calorimetry(data) or "effect_enthalpy" not in data:
        return []
    names, effects, rows = record_names(data), names_along(data["effect_enthalpy"], "effect"), []
    for row, name in list(enumerate(names))[:_MOST_ROWS]:
        place = f", {name}" if len(names) > 1 else ""
        for column, effect in enumerate(effects):
            for array in ("effect_onset", "effect_peak", "effect_enthalpy"):
                value, std = pair(data, array, (row, column))
                told = array != "effect_enthalpy" or not is_unlevel(data, row, column)
                if np.isfinite(value) and told:
                    text = format_value(value, std, str(data[array].attrs["units"])).replace("-", "−")
                    rows.append(
                        Row(f"{effect}: {_EFFECTS[array]}{place}", text, "σ of noise; not where limits are laid")
                    )
    return rows
