"""Tables and first numbers of cells: cell by cell, replicates, two samples, rates, disturbances, the plan."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.report.cells import (
    condition_names,
    disturbances,
    excluded,
    flag_words,
    is_cells,
    is_particle,
    level_words,
    record_names,
    reference_words,
    scale_of,
    there,
    used,
)
from cathoscope.report.figures.cycling import ends_words
from cathoscope.report.numbers import Row, count_text, format_value, plain_number
from cathoscope.report.tables import Column, Table

Floats = NDArray[np.float64]

_MOST_ROWS = 24
_HOUR = 3600.0


def cell_tables(data: xr.Dataset) -> list[Table]:
    """Every table of cells that the arrays allow."""
    made: list[Table | None] = [_plan_table(data)] if is_particle(data) else []
    if is_cells(data):
        made += [_cells_table(data), _kept_table(data), _comparison_table(data), _regime_table(data), _rate_table(data)]
        made += [_disturbance_table(data), _excluded_table(data), _cycles_table(data)]
    return [table for table in made if table is not None]


def _tuple(values: Floats) -> tuple[float, ...]:
    return tuple(np.asarray(values, np.float64).tolist())


def _charge_columns(data: xr.Dataset, at: Sequence[int], cycle: int) -> list[Column]:
    """Capacity of every cell in one cycle, over its mass where that is known."""
    found = []
    scale = scale_of(np.asarray(data["cell_capacity"].values), "Ah")
    for name, title, factor, unit in (
        ("cell_capacity", "capacity", scale.factor, scale.unit),
        ("specific_capacity", "specific capacity", 1.0, "mAh/g"),
    ):
        if name in data:
            value, std = (factor * np.asarray(data[one].values)[list(at), cycle] for one in (name, f"{name}_std"))
            head = f"{title}, cycle {cycle + 1}"
            found.append(Column(name, head, unit, _tuple(value), _tuple(std), csv_name=f"{name} cycle {cycle + 1}"))
    return found


def _cells_table(data: xr.Dataset) -> Table:
    """One row for each cell."""
    places = there(data)
    reference = int(data["capacity_retention"].attrs.get("reference") or 1) if "capacity_retention" in data else 1
    columns = _charge_columns(data, places, min(reference, data.sizes["cycle"]) - 1)
    counted = used(data, "cell_capacity")[places]
    columns.append(Column("cycle_used", "cycles used", "1", _tuple(np.isfinite(counted).sum(axis=1)), is_count=True))
    for name, title, factor, unit in (
        ("coulombic_efficiency", "Coulombic efficiency", 100.0, "%"),
        ("energy_efficiency", "energy efficiency", 100.0, "%"),
        ("polarisation", "polarisation", 1e3, "mV"),
        ("charge_voltage", "voltage of charge", 1.0, "V"),
        ("discharge_voltage", "voltage of discharge", 1.0, "V"),
    ):
        values = factor * used(data, name)[places]
        middle = np.array([np.median(row[np.isfinite(row)]) if np.isfinite(row).any() else np.nan for row in values])
        columns.append(Column(name, f"median {title}", unit, _tuple(middle), digits=5, csv_name=f"median {title}"))
    slips = np.array([np.abs(data[f"{one}_slippage"].values) for one in ("charge", "discharge")], dtype=np.float64)
    scale = scale_of(slips, "Ah")
    for one in ("charge", "discharge"):
        value, std = (scale.factor * np.asarray(data[f"{one}_slippage{end}"].values)[places] for end in ("", "_std"))
        head = f"end of {one} moves per cycle"
        columns.append(
            Column(f"{one}_slippage", head, scale.unit, _tuple(value), _tuple(std), csv_name=f"{one} slippage")
        )
    names = tuple(record_names(data)[place] for place in places)
    notes = (
        "Medians are over the cycles that are used. σ of a capacity holds noise and times of switches, or the steps of "
        "a counter; not the calibration of the current.",
    )
    covers = (
        "condition_of_record",
        "cell_mass",
        "cell_mass_std",
        "current_offset",
        "charge_capacity",
        "discharge_capacity",
    )
    return Table("cells", "Cells", "cell", names, tuple(columns), notes=notes, covers=covers)


def _pairs(data: xr.Dataset, name: str) -> list[tuple[int, int]]:
    """Conditions and told cycles that have a value."""
    return [(int(a), int(b)) for a, b in np.argwhere(np.isfinite(data[name].values))]


def _row_name(data: xr.Dataset, number: int, place: int) -> str:
    return f"{condition_names(data)[number]}, cycle {float(data['told'].values[place]):g}"


def _kept_table(data: xr.Dataset) -> Table | None:
    """Mean, standard deviation, number of cells and interval at the cycles told."""
    if "kept_share" not in data or not (pairs := _pairs(data, "kept_share")):
        return None

    def column(name: str, title: str) -> Column:
        """One quantity of all rows, in per cent."""
        values = 100 * np.array([float(data[name].values[one]) for one in pairs])
        return Column(name, title, "%", _tuple(values), digits=4)

    cells = _tuple(np.array([float(data["kept_count"].values[one]) for one in pairs]))
    columns = (
        column("kept_share", "mean"),
        column("kept_spread", "standard deviation"),
        Column("kept_count", "cells", "1", cells, is_count=True),
        column("kept_share_low", f"{level_words(data)} from"),
        column("kept_share_high", "to"),
    )
    names = tuple(_row_name(data, *one) for one in pairs)
    notes = (f"Capacity over that of {reference_words(data)}; intervals of the mean are Student's.",)
    return Table("retention", "Capacity kept", "condition", names, columns, notes=notes, covers=("kept_share_std",))


def _comparison_table(data: xr.Dataset) -> Table | None:
    """Two samples: difference, test, size of the effect."""
    if "kept_difference" not in data or not (pairs := _pairs(data, "kept_difference")):
        return None
    against = str(data["retention_difference"].attrs.get("against", "the other sample"))
    rows = (
        ("kept_share", "this sample", 100.0, "%", 4),
        ("kept_other", against, 100.0, "%", 4),
        ("kept_difference", "difference", 100.0, "%", 3),
        ("kept_difference_low", f"{level_words(data)} from", 100.0, "%", 3),
        ("kept_difference_high", "to", 100.0, "%", 3),
        ("kept_t", "Welch t", 1.0, "1", 3),
        ("kept_freedom", "degrees of freedom", 1.0, "1", 3),
        ("kept_effect", "Hedges g", 1.0, "1", 3),
        ("kept_effect_low", "g from", 1.0, "1", 3),
        ("kept_effect_high", "to", 1.0, "1", 3),
    )
    columns = tuple(
        Column(
            name,
            title,
            unit,
            _tuple(factor * np.array([float(data[name].values[one]) for one in pairs])),
            digits=digits,
        )
        for name, title, factor, unit, digits in rows
    )
    names = tuple(_row_name(data, *one) for one in pairs)
    notes = (
        "Difference of the means with its interval by Welch; p is how likely so large a |t| is without a difference; "
        "g is the difference in units of the spread between cells.",
    )
    words = tuple(f"{float(data['kept_probability'].values[one]):.2g}" for one in pairs)
    covers = ("kept_probability",)
    return Table(
        "comparison", f"Against {against}", "condition", names, columns, words, notes, covers=covers, words_head="p"
    )


def _regime_table(data: xr.Dataset) -> Table | None:
    """Course of the retention of every cell."""
    if "regime_kind" not in data:
        return None
    places = [place for place in there(data) if np.isfinite(data["slope_before"].values[place])]
    if not places:
        return None
    words, kinds = flag_words(data["regime_kind"]), data["regime_kind"].values
    level = f"{100 * float(data['regime_change'].attrs.get('level', 0.95)):g} %"
    columns = [
        Column("regime_change", "change at cycle", "1", _tuple(data["regime_change"].values[places]), digits=4),
        *(
            Column(f"regime_change_{end}", title, "1", _tuple(data[f"regime_change_{end}"].values[places]), digits=4)
            for end, title in (("low", f"{level} from"), ("high", "to"))
        ),
    ]
    for part in ("before", "after"):
        value, std = (100 * np.asarray(data[f"slope_{part}{end}"].values)[places] for end in ("", "_std"))
        title = f"slope {part} (% per cycle)"
        columns.append(Column(f"slope_{part}", title, "1", _tuple(value), _tuple(std), csv_name=f"slope_{part} %"))
    names = tuple(record_names(data)[place] for place in places)
    told = tuple(words[int(kinds[place])] for place in places)
    notes = ("A change is told if two lines that meet describe the retention better than one, and than smooth curves.",)
    return Table(
        "regimes", "Course of the retention", "cell", names, tuple(columns), told, notes, words_from="regime_kind"
    )


def _rate_table(data: xr.Dataset) -> Table | None:
    """Stretches of cycles at one current, of all cells."""
    if "rate_capacity" not in data:
        return None
    rows = [(int(a), int(b)) for a, b in np.argwhere(np.isfinite(data["rate_capacity"].values))]
    if len(rows) <= len(there(data)):  # one stretch each
        return None
    current, charge = (
        scale_of(np.asarray(data["rate_current"].values), "A"),
        scale_of(np.asarray(data["rate_capacity"].values), "Ah"),
    )

    def column(name: str, title: str, factor: float = 1.0, unit: str = "1", *, is_count: bool = False) -> Column:
        """One quantity of all stretches."""
        values = factor * np.array([float(data[f"rate_{name}"].values[one]) for one in rows])
        return Column(f"rate_{name}", title, unit, _tuple(values), digits=4, is_count=is_count)

    columns = (
        column("first", "from cycle", is_count=True),
        column("last", "to cycle", is_count=True),
        column("current", "current", current.factor, current.unit),
        column("multiple", "rate (C)"),
        column("capacity", "mean capacity", charge.factor, charge.unit),
        column("spread", "standard deviation between cycles", charge.factor, charge.unit),
        column("share", "over the first", 100.0, "%"),
    )
    names = tuple(f"{record_names(data)[place]}, stretch {step + 1}" for place, step in rows)
    shown = tuple(range(min(len(rows), _MOST_ROWS)))
    more = (f"{len(shown)} of {len(rows)} stretches; the CSV file beside this page has all",)
    return Table("rates", "Rates", "cell", names, columns, notes=more if len(shown) < len(rows) else (), rows=shown)


def _disturbance_table(data: xr.Dataset) -> Table | None:
    """What disturbed single particles, with what was seen."""
    found = disturbances(data)
    if not found:
        return None
    kinds = [kind for _, _, kind, _ in found]
    columns = (
        Column("disturbance_cycle", "cycle", "1", tuple(float(one[1]) for one in found), is_count=True),
        Column(
            "disturbance_time",
            "time (h)",
            "1",
            _tuple(data["disturbance_time"].values / _HOUR),
            digits=5,
            csv_name="time h",
        ),
    )
    names = tuple(f"{record_names(data)[place]}: {kind}" for (place, *_), kind in zip(found, kinds, strict=True))
    covers = ("disturbance_record", "disturbance_size", "disturbance_kind")
    return Table("disturbances", "Disturbances", "cell", names, columns, tuple(one[3] for one in found), covers=covers)


def _excluded_table(data: xr.Dataset) -> Table | None:
    """Cycles that are not used, and why."""
    found = excluded(data)
    if not found:
        return None
    shown = tuple(range(min(len(found), _MOST_ROWS)))
    more = (f"{len(shown)} of {len(found)}; the CSV file beside this page has all",) if len(shown) < len(found) else ()
    columns = (Column("cycle_used", "cycle", "1", tuple(float(one[1]) for one in found), is_count=True),)
    names, words = tuple(one[0] for one in found), tuple(one[2] for one in found)
    return Table("cycles-left-out", "Cycles that are not used", "cell", names, columns, words, more, rows=shown)


_CYCLE_COLUMNS = (
    ("coulombic_efficiency", "Coulombic efficiency", 100.0, "%"),
    ("energy_efficiency", "energy efficiency", 100.0, "%"),
    ("polarisation", "polarisation", 1e3, "mV"),
    ("charge_voltage", "voltage of charge", 1.0, "V"),
    ("discharge_voltage", "voltage of discharge", 1.0, "V"),
    ("capacity_retention", "retention", 100.0, "%"),
)


def _cycles_table(data: xr.Dataset) -> Table:
    """Every cycle of every cell; the page shows a few of the first cell."""
    known = np.isfinite(data["charge_capacity"].values) | np.isfinite(data["discharge_capacity"].values)
    rows = [(int(a), int(b)) for a, b in np.argwhere(known)]
    scale = scale_of(np.asarray(data["cell_capacity"].values), "Ah")
    columns = []
    for name, title in (("charge_capacity", "charge"), ("discharge_capacity", "discharge")):
        value, std = (scale.factor * np.asarray(data[one].values) for one in (name, f"{name}_std"))
        columns.append(Column(name, title, scale.unit, _tuple(_at(value, rows)), _tuple(_at(std, rows))))
    if "specific_capacity" in data:
        value, std = (np.asarray(data[one].values) for one in ("specific_capacity", "specific_capacity_std"))
        columns.append(
            Column("specific_capacity", "specific capacity", "mAh/g", _tuple(_at(value, rows)), _tuple(_at(std, rows)))
        )
    for name, title, factor, unit in _CYCLE_COLUMNS:
        if name in data:
            values = factor * np.asarray(data[name].values, np.float64)
            spread = factor * np.asarray(data[f"{name}_std"].values) if f"{name}_std" in data else None
            columns.append(
                Column(
                    name,
                    title,
                    unit,
                    _tuple(_at(values, rows)),
                    None if spread is None else _tuple(_at(spread, rows)),
                    digits=5,
                )
            )
    names = tuple(f"{record_names(data)[place]}, cycle {cycle + 1}" for place, cycle in rows)
    first = [number for number, (place, _) in enumerate(rows) if place == rows[0][0]]
    shown = tuple(sorted({first[int(one)] for one in np.linspace(0, len(first) - 1, min(len(first), 8)).round()}))
    covers = ("cell_capacity", "charge_end", "discharge_end", "cycle_current", "regime_curve", "cycle_rate", *_COURSES)
    notes = (f"{len(shown)} of {len(rows)} cycles; the CSV file beside this page has all",)
    return Table("cycles", "Cycles", "cycle", names, tuple(columns), notes=notes, rows=shown, covers=covers)


_COURSES = (
    *(f"retention_mean{end}" for end in ("", "_low", "_high")),
    *(f"retention_difference{end}" for end in ("", "_low", "_high")),
    *(
        "retention_spread",
        "retention_count",
        "capacity_mean",
        "capacity_spread",
        "efficiency_mean",
        "efficiency_spread",
    ),
)


def _at(values: Floats, rows: Sequence[tuple[int, int]]) -> Floats:
    return np.array([values[one] for one in rows], dtype=np.float64)


_PLAN = (
    ("particle_volume", "volume", 1.0, "um3"),
    ("particle_mass", "mass", 1e6, "ng"),
    ("planned_capacity", "capacity expected in the window", 1e9, "nAh"),
    ("lithium_capacity", "capacity of all lithium", 1e9, "nAh"),
    ("planned_current", "current to set", 1e12, "pA"),
    ("planned_duration", "charge or discharge at this current", 1 / 60, "min"),
    ("charge_limit", "end as shorted at", 1e9, "nAh"),
    ("time_limit", "end as shorted after", 1 / 60, "min"),
    ("row_time", "a row every", 1.0, "s"),
    ("largest_offset", "offset that moves the efficiency by 1 %", 1e12, "pA"),
)


def _plan_table(data: xr.Dataset) -> Table:
    """The planning sheet of a single particle."""
    names, words = [], []
    for name, title, factor, unit in _PLAN:
        rate = data["planned_current"].attrs.get("rate")
        names.append(f"{title} ({rate:g}C)" if name == "planned_current" and rate else title)
        value = factor * float(data[name])
        if f"{name}_std" in data:
            words.append(format_value(value, factor * float(data[f"{name}_std"]), unit))
        else:
            words.append(f"{plain_number(float(f'{value:.3g}'))} {unit}")
    window = data["planned_current"].attrs.get("window")
    if window:
        names.append("window")
        words.append(f"{window[0]:g} to {window[1]:g} V")
    notes = tuple(str(one) for one in data["particle_volume"].attrs.get("remarks", ()))
    covers = tuple(name for name, *_ in _PLAN)
    return Table(
        "plan",
        "Plan for the particle",
        "what",
        tuple(names),
        (),
        tuple(words),
        notes,
        covers=covers,
        words_head="value",
    )


def cell_numbers(data: xr.Dataset) -> list[Row]:
    """The first numbers of cells, single particles and their plans."""
    rows: list[Row] = []
    if is_particle(data):
        for name, title, factor, unit in (_PLAN[1], _PLAN[2], _PLAN[4]):
            rows.append(Row(title, format_value(factor * float(data[name]), factor * float(data[f"{name}_std"]), unit)))
    if not is_cells(data):
        return rows
    rows += _capacity_rows(data)
    if "kept_share" in data:
        for one in _pairs(data, "kept_share")[:6]:
            value, std, n = (float(data[name].values[one]) for name in ("kept_share", "kept_share_std", "kept_count"))
            sure = (
                "a single cell: σ unknown"
                if n < 2
                else f"σ of the mean of {count_text(int(n), 'cell')}, by their scatter"
            )
            note = f"{sure}; over {reference_words(data)}"
            rows.append(Row(f"kept, {_row_name(data, *one)}", format_value(100 * value, 100 * std, "%"), note))
    rows += _comparison_rows(data)
    return [*rows, *_regime_rows(data), *_disturbed_rows(data)]


def _capacity_rows(data: xr.Dataset) -> list[Row]:
    """Largest capacity of each of a few cells."""
    if "kept_share" in data and len(there(data)) > 4:
        return []
    rows, scale = [], scale_of(np.asarray(data["cell_capacity"].values), "Ah")
    values, std = used(data, "cell_capacity"), np.asarray(data["cell_capacity_std"].values)
    for place in there(data)[:4]:
        if np.isfinite(values[place]).any():
            at = int(np.nanargmax(values[place]))
            text = format_value(
                scale.factor * float(values[place, at]), scale.factor * float(std[place, at]), scale.unit
            )
            note = "σ of noise and switches; not the calibration of the current"
            rows.append(Row(f"largest capacity, {record_names(data)[place]}, cycle {at + 1}", text, note))
    return rows


def _comparison_rows(data: xr.Dataset) -> list[Row]:
    if "kept_difference" not in data:
        return []
    against, rows = data["retention_difference"].attrs.get("against"), []
    for one in _pairs(data, "kept_difference")[:6]:
        value, low, high = (100 * float(data[f"kept_difference{end}"].values[one]) for end in ("", "_low", "_high"))
        if np.isfinite(low):
            text = f"{value:+.2f} % ({ends_words(low, high, 2)})".replace("-", "−")
            chance = float(data["kept_probability"].values[one])
            rows.append(Row(f"more than {against}, {_row_name(data, *one)}", text, f"Welch, p = {chance:.2g}"))
    return rows


def _regime_rows(data: xr.Dataset) -> list[Row]:
    """Change of regime of a few cells."""
    if "regime_change" not in data or len(there(data)) > 4:
        return []
    words, rows = flag_words(data["regime_kind"]), []
    for place in there(data):
        value, low, high = (float(data[f"regime_change{end}"].values[place]) for end in ("", "_low", "_high"))
        if np.isfinite(value):
            kind = words[int(data["regime_kind"].values[place])]
            rows.append(Row(f"{kind}, {record_names(data)[place]}", f"cycle {value:.1f} ({ends_words(low, high)})"))
    return rows


def _disturbed_rows(data: xr.Dataset) -> list[Row]:
    found = disturbances(data)
    if not found:
        return []
    kinds = [kind for _, _, kind, _ in found]
    words = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    return [Row("disturbances", words, f"{count_text(len(excluded(data)), 'cycle')} not used")]
