"""Curves of the other measurements of a sample at the condition shown: patterns, cycles, impedance, heating."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cathoscope.core.errors import CathoscopeError
from cathoscope.report.viewer.library import Library

Floats = NDArray[np.float64]

_MOST_POINTS = 1500
_MOST_LINES = 8


@dataclass(frozen=True)
class Line:
    """One curve: ``style`` is line, thin, points, faint or band (then ``y`` and ``upper`` are its limits).

    Curves of one ``series`` have one colour; without one they take the colours in turn.
    """

    name: str
    x: Floats
    y: Floats
    style: str = "line"
    upper: Floats | None = None
    series: int | None = None

    def record(self) -> dict[str, Any]:
        """For the page, with at most `_MOST_POINTS` points."""
        keep = np.flatnonzero(np.isfinite(self.x) & np.isfinite(self.y))
        keep = keep[:: -(-keep.size // _MOST_POINTS)] if keep.size > _MOST_POINTS else keep
        found: dict[str, Any] = {"name": self.name.replace("_", " "), "style": self.style}
        if self.series is not None:
            found["series"] = self.series
        found |= {"x": self.x[keep].tolist(), "y": self.y[keep].tolist()}
        if self.upper is not None:
            found["upper"] = self.upper[keep].tolist()
        return found


@dataclass(frozen=True)
class Plot:
    """Curves with their axes; ``mark`` is the condition shown, where the axis is that condition."""

    measurement: str
    title: str
    x: tuple[str, str]
    y: tuple[str, str]
    lines: list[Line] = field(default_factory=list)
    mark: float | None = None
    equal: bool = False
    x_log: bool = False

    def record(self) -> dict[str, Any]:
        """For the page."""
        lines = [line.record() for line in self.lines]
        found = {"measurement": self.measurement, "title": self.title, "x": self.x, "y": self.y, "mark": self.mark}
        return {**found, "equal": self.equal, "x_log": self.x_log, "lines": [line for line in lines if line["x"]]}


Conditions = Mapping[str, float]
Make = Callable[[Library, str, Conditions], list[Plot]]


def curves_of(library: Library, measurements: list[str], conditions: Conditions) -> list[dict[str, Any]]:
    """Every plot that the measurements allow, near the conditions (temperature, cycle); damaged arrays are left out."""
    plots = []
    for measurement in measurements:
        for make in _MAKERS:
            try:
                plots += make(library, measurement, conditions)
            except (CathoscopeError, IndexError, ValueError, TypeError):
                continue
    return [record for record in (plot.record() for plot in plots) if record["lines"]]


def _along(library: Library, measurement: str, name: str, dim: str, place: int) -> Floats | None:
    """Values of an array at one place of an axis, all of them where it lacks the axis."""
    found = library.sized(measurement, name)
    if found is None:
        return None
    values, dims = found
    values = np.asarray(values, np.float64)
    return np.take(values, place, dims.index(dim)) if dim in dims else values


def _nearest(library: Library, measurement: str, dim: str, wanted: float | None) -> tuple[int, float | None]:
    """Place and value along an axis nearest to what is wanted; the first if nothing is."""
    values = library.values(measurement, dim)
    if values is None or values.size == 0:
        return 0, None
    numbers = np.atleast_1d(values).astype(np.float64)
    place = 0 if wanted is None or not np.isfinite(numbers).any() else int(np.nanargmin(np.abs(numbers - wanted)))
    return place, float(numbers[place])


def _degrees(value: float | None) -> str:
    return "" if value is None or not np.isfinite(value) else f", {value:g} °C"


def _patterns(library: Library, measurement: str, conditions: Conditions) -> list[Plot]:
    """Observed and calculated pattern of every bank at the nearest temperature."""
    place, degrees = _nearest(library, measurement, "temperature", conditions.get("temperature"))
    seen = _along(library, measurement, "diffraction_counts", "temperature", place)
    if seen is None:
        return []
    named = [("point_spacing", "lattice spacing d", "Å"), ("two_theta", "2θ", "°"), ("tof", "time of flight", "µs")]
    axes = [(_along(library, measurement, name, "temperature", place), words, unit) for name, words, unit in named]
    there = [(x, words, unit) for x, words, unit in axes if x is not None and np.isfinite(x).any()]
    if not there:
        return []
    x, words, unit = there[0]
    names = library.names_along(measurement, "bank", len(seen))
    plots = []
    for bank in range(min(len(seen), 4)):
        title = f"Diffraction{_degrees(degrees)}" + (f", {names[bank]}" if names else "")
        plots.append(
            Plot(
                measurement,
                title,
                (words, unit),
                ("intensity", ""),
                _pattern_lines(library, measurement, place, bank, x, seen),
                x_log=unit != "°",  # most peaks are at small spacings and short times
            )
        )
    return plots


def _pattern_lines(library: Library, measurement: str, place: int, bank: int, x: Floats, seen: Floats) -> list[Line]:
    lines = [Line("observed", x[bank], seen[bank], "points")]
    for name, words, style in (
        ("diffraction_fit", "calculated", "thin"),
        ("diffraction_difference", "difference", "faint"),
    ):
        values = _along(library, measurement, name, "temperature", place)
        if values is not None:
            lines.append(Line(words, x[bank], values[bank], style))
    return lines


def _impedance(library: Library, measurement: str, conditions: Conditions) -> list[Plot]:
    """Nyquist plot of the nearest cycle with the fit."""
    place, cycle = _nearest(library, measurement, "cycle", conditions.get("cycle"))
    real, imaginary = (
        _along(library, measurement, f"impedance_{part}", "cycle", place) for part in ("real", "imaginary")
    )
    if real is None or imaginary is None:
        return []
    factor, unit = scaled(np.hypot(real, imaginary), (("MΩ", 1e-6), ("kΩ", 1e-3), ("Ω", 1.0)))
    lines = [Line("measured", factor * real, -factor * imaginary, "points")]
    fitted = [_along(library, measurement, f"impedance_fit_{part}", "cycle", place) for part in ("real", "imaginary")]
    if fitted[0] is not None and fitted[1] is not None:
        lines.append(Line("fit", factor * fitted[0], -factor * fitted[1]))
    title = "Impedance" + ("" if cycle is None else f", cycle {cycle:g}")
    return [Plot(measurement, title, ("Re Z", unit), ("−Im Z", unit), lines, None, True)]


def scaled(values: Floats, units: tuple[tuple[str, float], ...]) -> tuple[float, str]:
    """Factor and unit, from the coarsest on, in which the largest value is at least 1; else the finest."""
    largest = float(np.nanmax(np.abs(values), initial=0.0))
    return next(((factor, unit) for unit, factor in units if largest * factor >= 1), (units[-1][1], units[-1][0]))


def _cycling(library: Library, measurement: str, conditions: Conditions) -> list[Plot]:
    """Retention against cycle, and the voltage curves of the nearest kept cycle."""
    retention, cycles = library.values(measurement, "capacity_retention"), library.values(measurement, "cycle")
    plots = []
    if retention is not None and cycles is not None:
        names = library.names_along(measurement, "record", len(retention)) or [
            f"cell {i + 1}" for i in range(len(retention))
        ]
        lines = [Line(name, cycles, row, "points") for name, row in zip(names, retention[:_MOST_LINES], strict=False)]
        mean = library.sized(measurement, "retention_mean")
        if mean is not None and mean[0].ndim == 2:
            lines += [Line("mean", cycles, row) for row in mean[0][:_MOST_LINES]]
        plots.append(
            Plot(measurement, "Retention", ("cycle", ""), ("share of the capacity", ""), lines, conditions.get("cycle"))
        )
    place, cycle = _nearest(library, measurement, "curve", conditions.get("cycle"))
    charge, voltage = (_along(library, measurement, name, "curve", place) for name in ("curve_charge", "curve_voltage"))
    if charge is not None and voltage is not None:
        factor, unit = scaled(charge, (("Ah", 1.0), ("mAh", 1e3), ("µAh", 1e6), ("nAh", 1e9), ("pAh", 1e12)))
        lines = [
            Line(words, factor * charge[row, half], voltage[row, half], "line" if half else "faint", series=half)
            for row in range(min(len(charge), _MOST_LINES))
            for half, words in enumerate(("charge", "discharge"))
        ]
        title = "Voltage" + ("" if cycle is None else f", cycle {cycle:g}")
        plots.append(Plot(measurement, title, ("charge passed", unit), ("voltage", "V"), lines))
    return plots


def _against_temperature(library: Library, measurement: str, conditions: Conditions) -> list[Plot]:
    """Numbers along temperature with their uncertainty, and mass and heat flow."""
    plots = []
    for name, title, words, unit in _COURSES:
        values, places = library.values(measurement, name), library.values(measurement, "temperature")
        if values is None or places is None or places.ndim != 1 or places.size < 2 or values.shape[-1:] != places.shape:
            continue
        rows = np.atleast_2d(values.astype(np.float64))[:_MOST_LINES]
        names = library.names_along(measurement, "record", len(rows)) or [""] * len(rows)
        style = "points" if places.size < 40 else "line"
        lines = [Line(each, places, row, style) for each, row in zip(names, rows, strict=True)]
        std = library.values(measurement, f"{name}_std")
        if std is not None and std.shape == values.shape and values.ndim == 1 and places.size < 40:
            lines.insert(0, Line("± σ", places, values - std, "band", values + std))
        plots.append(
            Plot(measurement, title, ("temperature", "°C"), (words, unit), lines, conditions.get("temperature"))
        )
    return plots


_COURSES = (
    ("white_line_mean", "Mean white line", "energy", "eV"),
    ("porosity", "Porosity", "share", ""),
    ("mass_left", "Mass loss", "mass left", "wt%"),
    ("lattice_c", "Lattice", "c", "Å"),
)


def _records(library: Library, measurement: str, conditions: Conditions) -> list[Plot]:
    """Records of one curve each: heat flow, absorbance, bulk spectra."""
    plots = []
    for x_name, y_name, title, x, y in _PAIRS:
        x_values, found = library.values(measurement, x_name), library.sized(measurement, y_name)
        if x_values is None or found is None or x_values.shape != found[0].shape:
            continue
        rows = [np.atleast_2d(np.asarray(values, np.float64)) for values in (x_values, found[0])]
        names = library.names_along(measurement, found[1][0], len(rows[0])) or [""] * len(rows[0])
        lines = [Line(name, one, other) for name, one, other in zip(names, *rows, strict=True)][:_MOST_LINES]
        mark = conditions.get("temperature") if x_name == "sample_temperature" else None
        plots.append(Plot(measurement, title, x, y, lines, mark))
    return plots


_PAIRS = (
    ("sample_temperature", "heat_flow", "Heat flow, endothermic up", ("temperature", "°C"), ("heat flow", "mW")),
    ("wavelength", "net_absorbance", "Solution", ("wavelength", "nm"), ("absorbance", "")),
    ("scan_energy", "normalised_absorption", "Bulk XAS", ("energy", "eV"), ("normalised absorption", "")),
)


def _state(library: Library, measurement: str, conditions: Conditions) -> list[Plot]:
    """Mean spectrum of the particle, and its profile below the surface, at the nearest temperature."""
    place, degrees = _nearest(library, measurement, "temperature", conditions.get("temperature"))
    plots = []
    for name, dim, title, words, unit in (
        ("particle_spectrum", "energy", "Mean spectrum", "energy", "eV"),
        ("white_line_profile", "depth", "White line below the surface", "depth", "µm"),
    ):
        values, x = _along(library, measurement, name, "temperature", place), library.values(measurement, dim)
        if values is None or x is None or values.shape != x.shape:
            continue
        y = ("mean attenuation", "µm⁻¹") if name == "particle_spectrum" else ("energy", "eV")
        lines = [Line("", x, values, "line")]
        std = _along(library, measurement, f"{name}_std", "temperature", place)
        if std is not None:
            lines.insert(0, Line("± σ", x, values - std, "band", values + std))
        mark = conditions.get("energy") if dim == "energy" else None
        plots.append(Plot(measurement, f"{title}{_degrees(degrees)}", (words, unit), y, lines, mark))
    return plots


_MAKERS: tuple[Make, ...] = (_state, _patterns, _cycling, _impedance, _against_temperature, _records)
