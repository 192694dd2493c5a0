"""Tables and first numbers of impedance: circuits compared, parameters against cycle, processes, the interface."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.report.cells import flag_words, is_impedance
from cathoscope.report.figures.impedance import farads, ohms, spectrum_name
from cathoscope.report.names import names_along
from cathoscope.report.numbers import Row, format_value
from cathoscope.report.tables import Column, Table

Floats = NDArray[np.float64]

_MOST_ROWS = 24


def impedance_tables(data: xr.Dataset) -> list[Table]:
    """Every table of impedance that the arrays allow."""
    if not is_impedance(data):
        return []
    made = [_parameters_table(data), _interface_table(data), _circuits_table(data), _process_table(data)]
    return [table for table in made if table is not None]


def _tuple(values: Floats) -> tuple[float, ...]:
    return tuple(np.asarray(values, np.float64).tolist())


def _medians(values: Floats) -> tuple[float, ...]:
    """Of the spectra, circuit by circuit; NaN of a circuit that fits none."""
    known = [column[np.isfinite(column)] for column in values.T]
    return tuple(float(np.median(one)) if one.size else float("nan") for one in known)


def _names(data: xr.Dataset) -> tuple[str, ...]:
    return tuple(spectrum_name(data, place) for place in range(data.sizes["cycle"]))


def _shown(data: xr.Dataset) -> tuple[int, ...]:
    n = data.sizes["cycle"]
    return tuple(int(one) for one in np.unique(np.linspace(0, n - 1, min(n, _MOST_ROWS)).round()))


def _parameters_table(data: xr.Dataset) -> Table:
    """Parameters of the circuit, spectrum by spectrum."""
    units = data["number"].attrs.get("units_of", [])
    outcomes = flag_words(data["circuit_outcome"])
    columns = []
    for column, (name, unit) in enumerate(zip(names_along(data["circuit_value"], "number"), units, strict=True)):
        value, std = (np.asarray(data[f"circuit_value{end}"].values)[:, column] for end in ("", "_std"))
        title = f"{name} ({unit})" if unit != "1" else name
        columns.append(Column("circuit_value", title, "1", _tuple(value), _tuple(std), csv_name=f"{name} {unit}"))
    misfit = 100 * np.asarray(data["circuit_misfit"].values)[:, 0]
    columns.append(Column("circuit_misfit", "median residual (%)", "1", _tuple(misfit), digits=2, csv_name="misfit %"))
    words = tuple(outcomes[int(one)] for one in data["circuit_outcome"].values[:, 0])
    circuit = names_along(data["circuit_criterion"], "circuit")[0]
    notes = ("Uncertainties by the covariance of the fit; with systematic residuals they are too small.",)
    return Table(
        "circuit", f"Circuit {circuit}", "spectrum", _names(data), tuple(columns), words, notes, rows=_shown(data)
    )


def _interface_table(data: xr.Dataset) -> Table | None:
    """Resistance, capacitances, drift and whether they are used."""
    if not np.isfinite(data["transfer_resistance"].values).any():
        return None
    ohm, farad = (
        ohms(np.asarray(data["transfer_resistance"].values)),
        farads(np.asarray(data["layer_capacitance"].values)),
    )
    rows = [
        ("transfer_resistance", "charge transfer", ohm.factor, ohm.unit),
        ("layer_capacitance", "capacitance, Hsu and Mansfeld", farad.factor, farad.unit),
        ("layer_capacitance_brug", "capacitance, Brug", farad.factor, farad.unit),
        ("layer_exponent", "alpha", 1.0, "1"),
        ("specific_resistance", "area-specific", 1.0, "ohm cm2"),
        ("exchange_current_density", "exchange current density", 1.0, "A/cm2"),
        ("spectrum_drift", "drift", 100.0, "%"),
    ]
    columns = []
    for name, title, factor, unit in rows:
        if name in data:
            value, std = (factor * np.asarray(data[f"{name}{end}"].values) for end in ("", "_std"))
            columns.append(Column(name, title, unit, _tuple(value), _tuple(std)))
    reasons = {float(cycle): str(why) for cycle, why in data["impedance_used"].attrs.get("reasons", [])}
    words = tuple(reasons.get(float(cycle), "") for cycle in data["cycle"].values)
    noise = 100 * np.asarray(data["gate_noise"].values)
    columns.append(Column("gate_noise", "noise (% of the modulus)", "1", _tuple(noise), digits=2, csv_name="noise %"))
    covers = ("gate_passed", "impedance_used", "electrode_area")
    return Table(
        "interface", "Interface", "spectrum", _names(data), tuple(columns), words, rows=_shown(data), covers=covers
    )


def _circuits_table(data: xr.Dataset) -> Table | None:
    """Circuits fitted to the same points: how often each is best, and what came of its fits."""
    names, outcomes = names_along(data["circuit_criterion"], "circuit"), flag_words(data["circuit_outcome"])
    if len(names) < 2:
        return None
    criterion = np.asarray(data["circuit_criterion"].values)
    best = (criterion == 0).sum(axis=0).astype(float)
    columns = (
        Column("circuit_criterion", "best of spectra", "1", _tuple(best), is_count=True, csv_name="best of spectra"),
        Column("", "AICc above the best, median", "1", _medians(criterion), digits=3, csv_name="AICc"),
        Column(
            "",
            "median residual (%)",
            "1",
            _medians(100 * np.asarray(data["circuit_misfit"].values)),
            digits=2,
            csv_name="misfit %",
        ),
    )
    words = []
    for column in range(len(names)):
        flags = [outcomes[int(one)] for one in data["circuit_outcome"].values[:, column]]
        words.append(", ".join(f"{flags.count(word)} {word}" for word in outcomes if word in flags))
    notes = (
        "Of circuits fitted to the same points that with the lowest corrected Akaike criterion describes them best.",
    )
    return Table(
        "circuits",
        "Circuits compared",
        "circuit",
        tuple(names),
        columns,
        tuple(words),
        notes,
        covers=("circuit_outcome",),
    )


def _process_table(data: xr.Dataset) -> Table | None:
    """Peaks of the distributions of relaxation times."""
    if "process_time" not in data or not np.isfinite(data["process_time"].values).any():
        return None
    rows = [(int(a), int(b)) for a, b in np.argwhere(np.isfinite(data["process_time"].values))]
    value, std, systematic = (
        np.array([float(data[f"process_resistance{end}"].values[one]) for one in rows])
        for end in ("", "_std", "_systematic")
    )
    scale = ohms(value)
    time = np.array([float(data["process_time"].values[one]) for one in rows])
    columns = (
        Column("process_time", "time constant", "s", _tuple(time), digits=3),
        Column(
            "process_resistance", "resistance", scale.unit, _tuple(scale.factor * value), _tuple(scale.factor * std)
        ),
        Column(
            "",
            f"tails of neighbours ({scale.unit})",
            "1",
            _tuple(scale.factor * systematic),
            digits=2,
            csv_name="tails",
        ),
    )
    names = tuple(f"{spectrum_name(data, place)}, process {process + 1}" for place, process in rows)
    shown = tuple(range(min(len(rows), _MOST_ROWS)))
    more = (f"{len(shown)} of {len(rows)}; the CSV file beside this page has all",) if len(shown) < len(rows) else ()
    covers = ("process_resistance_systematic",)
    return Table(
        "processes", "Processes by relaxation time", "spectrum", names, columns, notes=more, rows=shown, covers=covers
    )


def impedance_numbers(data: xr.Dataset) -> list[Row]:
    """Resistance of the first and the last spectrum that are used, and how many are."""
    if not is_impedance(data):
        return []
    used = np.flatnonzero(data["impedance_used"].values)
    rows = [Row("spectra used", f"{used.size} of {data.sizes['cycle']}")]
    ohm, farad = (
        ohms(np.asarray(data["transfer_resistance"].values)),
        farads(np.asarray(data["layer_capacitance"].values)),
    )
    for place in dict.fromkeys([*used[:1], *used[-1:]]):
        for name, words, scale in (
            ("transfer_resistance", "charge transfer", ohm),
            ("layer_capacitance", "double layer", farad),
        ):
            value, std = (scale.factor * float(data[f"{name}{end}"].values[place]) for end in ("", "_std"))
            note = "σ of the fit, if the circuit holds"
            rows.append(Row(f"{words}, {spectrum_name(data, int(place))}", format_value(value, std, scale.unit), note))
    return rows
