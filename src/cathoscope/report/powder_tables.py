"""Tables and first numbers of powder diffraction, as the supplement of a paper has them: 2.84003(9)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.report.figures.reading import temperature_name
from cathoscope.report.names import names_along
from cathoscope.report.numbers import Row, count_text, format_value, plain_number
from cathoscope.report.powder import (
    QUANTITIES,
    along_temperature,
    bank_names,
    curve_of,
    curves_of,
    edges_of,
    evenly,
    is_powder,
    kind_of,
    phase_names,
    telling_places,
    title_of,
    transitions,
)
from cathoscope.report.tables import Column, Table

Floats = NDArray[np.float64]

_MOST_ROWS = 24
_SITE_COLUMNS = {"site_occupancy": ("occupancy", "1"), "site_displacement": ("U", "A2")}
_DOMAINS = ("domain", "microstrain")  # without a value where the uncertainty is larger than it
_HEADLINES = ("lattice_a", "lattice_c", "antisite", "domain_size", "domain_aspect")


def powder_tables(data: xr.Dataset) -> list[Table]:
    """Every table of powder diffraction that the arrays allow."""
    if not is_powder(data):
        return []
    made = [_quality_table(data), *(_phase_table(data, number) for number in range(data.sizes["phase"]))]
    made += [_sites_table(data), _transition_table(data), _models_table(data), _unexplained_table(data)]
    return [table for table in made if table is not None]


def _temperatures(data: xr.Dataset) -> list[str]:
    """Names of the rows, one for each temperature."""
    values = np.asarray(along_temperature(data)["temperature"].values, np.float64)
    return [temperature_name(float(value)) if np.isfinite(value) else "pattern" for value in values]


def _shown(data: xr.Dataset) -> tuple[int, ...]:
    """Rows on the page: an even choice and the telling ones."""
    n = len(_temperatures(data))
    return tuple(sorted({*evenly(n, _MOST_ROWS - 2), *telling_places(data)}))


def _notes(data: xr.Dataset) -> tuple[str, ...]:
    n = len(_temperatures(data))
    more = (f"{len(_shown(data))} of {n} temperatures; the CSV file beside this page has all",)
    return more if len(_shown(data)) < n else ()


def _quality_table(data: xr.Dataset) -> Table:
    """Residuals, goodness of fit, number of points and how it ended, by temperature."""
    full = along_temperature(data)
    columns = []
    for row, name in enumerate(bank_names(data)):
        values = 100 * np.asarray(full["rwp"].values[:, row], np.float64)
        columns.append(
            Column("rwp", f"Rwp of {name} (%)", "1", tuple(values.tolist()), csv_name=f"{name} rwp %", digits=3)
        )
    gof = tuple(np.asarray(full["goodness_of_fit"].values, np.float64).tolist())
    columns.append(Column("goodness_of_fit", "GOF", "1", gof, csv_name="goodness of fit", digits=4))
    if "misfit_widening" in full:
        wider = np.nan_to_num(np.asarray(full["misfit_widening"].values, np.float64), nan=1.0)
        largest = tuple(wider.max(axis=1, initial=1.0).tolist())
        name = "largest σ over that of counting"
        columns.append(Column("misfit_widening", name, "1", largest, csv_name="largest sigma over counting", digits=3))
    free = np.isfinite(np.asarray(full["refined_number"].values, np.float64)).sum(axis=1).astype(float)
    points = np.isfinite(np.asarray(full["diffraction_fit"].values)).sum(axis=(1, 2)).astype(float)
    columns.append(Column("", "numbers refined", "1", tuple(free.tolist()), csv_name="numbers refined", is_count=True))
    columns.append(Column("", "points", "1", tuple(points.tolist()), csv_name="points", is_count=True))
    flags = np.asarray(full["refinement_flag"].values, int)
    words = str(full["refinement_flag"].attrs.get("flag_meanings", "")).split()
    ended = tuple(words[flag] if flag < len(words) else str(flag) for flag in flags)
    notes = (*_notes(data), _method_words(data))
    names = tuple(_temperatures(data))
    covers = ("phase_present", "bank_weight_fraction", "refined_number", *_empty_arrays(data))
    return Table(
        "refinements",
        "Refinements",
        "temperature",
        names,
        tuple(columns),
        ended,
        notes,
        rows=_shown(data),
        covers=covers,
    )


def _empty_arrays(data: xr.Dataset) -> list[str]:
    """Arrays by phase without a single value: there is nothing to say of them."""
    small = [str(name) for name, array in data.data_vars.items() if "phase" in array.dims and "point" not in array.dims]
    return [name for name in small if data[name].dtype.kind == "f" and not np.isfinite(data[name].values).any()]


def _method_words(data: xr.Dataset) -> str:
    """What was done, for the methods section of a paper."""
    groups = data["phase"].attrs.get("space_groups", [])
    phases = [f"{name} ({group})" for name, group in zip(phase_names(data), groups, strict=False)]
    gof = np.atleast_1d(np.asarray(data["goodness_of_fit"].values, np.float64))
    kind = {True: "time-of-flight", False: "constant-wavelength"}
    kinds = sorted({kind[bool(np.isfinite(row).any())] for row in _tof_rows(data)})
    series = (
        ". Each pattern starts where its neighbour ended, up and down, and the better end is kept"
        if gof.size > 1
        else ""
    )
    return (
        f"{kind_of(data)} of {' and '.join(kinds)} patterns ({', '.join(bank_names(data))}) at "
        f"{count_text(int(np.isfinite(gof).sum()), 'temperature')}. "
        f"Phases: {', '.join(phases) or 'as stated'}{series}. "
        "Rwp = √(Σ w (y − y_c)² / Σ w y²), GOF = √(χ² / (points − numbers)); uncertainties in brackets are one σ of "
        "the last digits, of counting, widened by GOF or by local misfit (sandwich over blocks of a few peak widths), "
        "whichever is more; without brackets: fixed"
    )


def _tof_rows(data: xr.Dataset) -> list[Floats]:
    """Times of flight of every bank; NaN of a bank with a constant wavelength."""
    if "tof" not in data:
        return [np.full(1, np.nan)] * data.sizes["bank"]
    values = np.asarray(data["tof"].values, np.float64)
    return list(np.moveaxis(values, -2, 0))


def _phase_table(data: xr.Dataset, number: int) -> Table | None:
    """Everything that is known of a phase, by temperature."""
    name = phase_names(data)[number]
    columns = []
    for quantity in QUANTITIES:
        curve = curve_of(data, quantity, number)
        usual = not quantity.startswith("lattice_") or quantity in edges_of(data, number)
        if curve is not None and usual:
            words, unit = title_of(quantity)
            told = ~(quantity.startswith(_DOMAINS) & (np.nan_to_num(curve.std) > np.abs(curve.values)))
            values, sigma = (np.where(told, one, np.nan).tolist() for one in (curve.values, np.nan_to_num(curve.std)))
            columns.append(Column(quantity, words, unit, tuple(values), tuple(sigma), brackets=True))
    if not columns or all(column.array == "weight_fraction" for column in columns):
        return None
    group = data["phase"].attrs.get("space_groups", [])
    title = f"Phase {name}" + (f", {group[number]}" if number < len(group) else "")
    covers = ("lattice_angle", "lattice_b", "lattice_c", "weight_fraction_trend")
    names = tuple(_temperatures(data))
    return Table(
        f"phase-{name}",
        title,
        "temperature",
        names,
        tuple(columns),
        notes=_notes(data),
        rows=_shown(data),
        covers=covers,
    )


def _sites_table(data: xr.Dataset) -> Table | None:
    """Positions, occupancies and displacements of the sites; on the page at telling temperatures."""
    if "site_position" not in data or "site" not in data.coords:
        return None
    full, rows = along_temperature(data), _site_rows(data)
    columns = []
    for at, axis in enumerate("xyz"):
        columns.append(_site_column(full, ("site_position", axis, "1"), rows, at))
    columns += [_site_column(full, (name, *words), rows) for name, words in _SITE_COLUMNS.items()]
    times, labels = _temperatures(data), data["site"].attrs["labels"]
    names = [f"{times[t]}, {phase_names(data)[p]} {labels[p][s]}" for t, p, s in rows]
    telling = set(telling_places(data))
    shown = tuple(n for n, (t, p, s) in enumerate(rows) if t in telling)
    covers = ("site_tensor",)
    notes = ("First, most mixed and last temperature; the CSV file beside this page has all",) if len(times) > 3 else ()
    return Table("sites", "Sites", "site", tuple(names), tuple(columns), notes=notes, rows=shown, covers=covers)


def _site_rows(data: xr.Dataset) -> list[tuple[int, int, int]]:
    """Temperature, phase and site of every row: those of phases that were refined."""
    there = np.isfinite(along_temperature(data)["site_occupancy"].values)
    labels = data["site"].attrs["labels"]
    return [(t, p, s) for t, p, s in np.argwhere(there).tolist() if s < len(labels[p])]


def _site_column(
    data: xr.Dataset, what: tuple[str, str, str], rows: Sequence[tuple[int, int, int]], axis: int | None = None
) -> Column:
    """One number of all sites."""
    name, words, unit = what
    values, std = (np.asarray(data[f"{name}{end}"].values, np.float64) for end in ("", "_std"))
    if axis is not None:
        values, std = values[..., axis], std[..., axis]
    taken = tuple(float(values[row]) for row in rows)
    sigma = tuple(float(np.nan_to_num(std[row])) for row in rows)
    return Column(name, words, unit, taken, sigma, csv_name=words, brackets=True)


def _transition_table(data: xr.Dataset) -> Table | None:
    """Onset and end of the change of every phase with their intervals, and the expansion of its edges."""
    if "transition_onset" not in data:
        return None
    columns = []
    for which in ("onset", "end"):
        for part, words in (("", which), ("_low", f"{which}, from"), ("_high", f"{which}, to")):
            values = np.asarray(data[f"transition_{which}{part}"].values, np.float64)
            name = f"transition_{which}{part}"
            columns.append(Column(name, words, "degC", tuple(values.tolist()), digits=5))
    for at, edge in enumerate("abc"):
        values, std = (1e6 * data[f"thermal_expansion{end}"].values[:, at] for end in ("", "_std"))
        wanted = [f"lattice_{edge}" in edges_of(data, number) for number in range(data.sizes["phase"])]
        values = np.where(wanted, values, np.nan)
        sigma = tuple(np.nan_to_num(std).tolist())
        words = f"expansion of {edge} (10⁻⁶/K)"
        csv_name = f"thermal_expansion_{edge} (1e-6/K)"
        columns.append(Column("thermal_expansion", words, "1", tuple(values.tolist()), sigma, csv_name, brackets=True))
    if all(column.is_empty for column in columns):
        return None
    notes = ("Onset and end: 5 % and 95 % of the change of the weight fraction, with 68 % intervals",)
    return Table(
        "transition", "Transition and expansion", "phase", tuple(phase_names(data)), tuple(columns), notes=notes
    )


def _models_table(data: xr.Dataset) -> Table | None:
    """Models of size and strain compared."""
    if "size_model_bic" not in data or not np.isfinite(data["size_model_bic"].values).any():
        return None
    values = np.asarray(data["size_model_bic"].values, np.float64)
    names = names_along(data["size_model_bic"], "size_model")
    columns = [
        Column("size_model_bic", f"ΔBIC, {name}", "1", tuple(values[number].tolist()), csv_name=name, digits=4)
        for number, name in enumerate(phase_names(data))
    ]
    words = tuple("best" if (values[:, row] == 0).any() else "" for row in range(len(names)))
    notes = ("Above the best; a difference of less than 2 tells nothing, one above 10 decides",)
    return Table("size-models", "Models of size and strain", "model", tuple(names), tuple(columns), words, notes)


def _unexplained_table(data: xr.Dataset) -> Table | None:
    """Peaks that no phase explains."""
    if "unexplained_spacing" not in data or not data.sizes.get("unexplained"):
        return None
    titles = {
        "unexplained_spacing": ("d (Å)", 5),
        "unexplained_strength": ("area / σ", 3),
        "unexplained_temperature": ("strongest at (°C)", 4),
    }
    columns = [
        Column(name, title, "1", tuple(np.asarray(data[name].values, np.float64).tolist()), digits=digits)
        for name, (title, digits) in titles.items()
    ]
    count = tuple(np.asarray(data["unexplained_count"].values, np.float64).tolist())
    columns.append(Column("unexplained_count", "temperatures", "1", count, is_count=True))
    banks = tuple(bank_names(data)[int(bank) - 1] for bank in data["unexplained_bank"].values)
    names = tuple(str(number + 1) for number in range(len(banks)))
    return Table(
        "unexplained",
        "Peaks that no phase explains",
        "peak",
        names,
        tuple(columns),
        banks,
        words_from="unexplained_bank",
    )


def powder_numbers(data: xr.Dataset) -> list[Row]:
    """The first numbers of powder diffraction: transition, first cells and domains, residuals, what is left."""
    if not is_powder(data):
        return []
    rows = []
    for names, onset, end in transitions(data):
        rows.append(Row(f"{' and '.join(names)}: onset", onset.words))
        rows.append(Row(f"{' and '.join(names)}: end", end.words))
    for quantity in _HEADLINES:
        for curve in curves_of(data, quantity):
            if (
                quantity == "lattice_a"
                or quantity in edges_of(data, curve.number)
                or not quantity.startswith("lattice")
            ):
                rows += _first_row(data, quantity, curve.number)
    return rows + _quality_rows(data) + _left_rows(data)


def _first_row(data: xr.Dataset, quantity: str, number: int) -> list[Row]:
    """A quantity where the phase is first determined."""
    curve = curve_of(data, quantity, number)
    if curve is None or not curve.determined.any():
        return []
    place = int(np.flatnonzero(curve.determined)[0])
    at = _temperatures(data)[place]
    words, unit = title_of(quantity)
    value = format_value(float(curve.values[place]), float(curve.std[place]), unit)
    return [Row(f"{words}, {curve.phase}{', ' + at if at != 'pattern' else ''}", value)]


def _quality_rows(data: xr.Dataset) -> list[Row]:
    """Residual and goodness of fit, as a range, and how many were not refined well."""
    rwp, gof = 100 * np.asarray(data["rwp"].values, np.float64), np.asarray(data["goodness_of_fit"].values, np.float64)
    rows = [Row(name, _range(values)) for name, values in (("Rwp (%)", rwp), ("GOF", gof)) if np.isfinite(values).any()]
    flags = np.atleast_1d(data["refinement_flag"].values)
    words = str(data["refinement_flag"].attrs.get("flag_meanings", "")).split()
    bad = [f"{int((flags == flag).sum())} {words[flag]}" for flag in range(1, len(words)) if (flags == flag).any()]
    return [*rows, *([Row("refinements", ", ".join([f"{int((flags == 0).sum())} converged", *bad]))] if bad else [])]


def _range(values: Floats) -> str:
    """Lowest and highest finite value."""
    finite = values[np.isfinite(values)]
    low, high = (plain_number(float(f"{one:.3g}")) for one in (finite.min(), finite.max()))
    return low if low == high else f"{low} to {high}"


def _left_rows(data: xr.Dataset) -> list[Row]:
    """Peaks without a phase, and the best model of size."""
    rows = []
    if data.sizes.get("unexplained"):
        rows.append(Row("peaks that no phase explains", str(data.sizes["unexplained"])))
    if "size_model_bic" in data:
        names = names_along(data["size_model_bic"], "size_model")
        for number, phase in enumerate(phase_names(data)):
            values = np.asarray(data["size_model_bic"].values[number], np.float64)
            if np.isfinite(values).any():
                order = np.argsort(np.nan_to_num(values, nan=np.inf))
                second = f" ({names[order[1]]} {values[order[1]]:.0f} above)" if order.size > 1 else ""
                rows.append(Row(f"best model of size, {phase}", f"{names[order[0]]}{second}"))
    return rows
