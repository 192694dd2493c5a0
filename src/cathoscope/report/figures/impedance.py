"""Figures of impedance: Nyquist and Bode with fit and residuals, relaxation times, the gate, the interface."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from numpy.typing import NDArray

from cathoscope.report.cells import Scale, is_impedance
from cathoscope.report.names import names_along
from cathoscope.report.style import COLOURS, DOUBLE_COLUMN, SINGLE_COLUMN, Panel, new_figure, series_colours

Floats = NDArray[np.float64]

_MOST_SPECTRA = 8
_CHARACTERS = {SINGLE_COLUMN: 58, DOUBLE_COLUMN: 120}  # in a line of a legend
_OHMS = ((1e9, "GΩ"), (1e6, "MΩ"), (1e3, "kΩ"), (1.0, "Ω"), (1e-3, "mΩ"))
_FARADS = ((1.0, "F"), (1e3, "mF"), (1e6, "µF"), (1e9, "nF"), (1e12, "pF"), (1e15, "fF"))


def ohms(values: Floats) -> Scale:
    """A unit of resistance in which the largest value is between 1 and 1000."""
    largest = _largest(values)
    factor, unit = next(((1 / size, unit) for size, unit in _OHMS if largest >= size), (1e3, "mΩ"))
    return Scale(factor, unit)


def farads(values: Floats) -> Scale:
    """A unit of capacitance in which the largest value is at least 1."""
    largest = _largest(values)
    return Scale(*next(((factor, unit) for factor, unit in _FARADS if largest * factor >= 1), _FARADS[-1]))


def _largest(values: Floats) -> float:
    known = np.abs(values[np.isfinite(values)])
    return float(known.max()) if known.size else 1.0


def shown_cycles(data: xr.Dataset) -> list[int]:
    """Places of the spectra that figures show: all of a few, some of many, evenly."""
    known = np.flatnonzero(np.isfinite(data["impedance_real"].values).any(axis=1))
    few = np.unique(np.linspace(0, known.size - 1, min(known.size, _MOST_SPECTRA)).round().astype(int))
    return [int(one) for one in known[few]]


def spectrum_name(data: xr.Dataset, place: int) -> str:
    """``cycle 12``."""
    return f"cycle {float(data['cycle'].values[place]):g}"


def nyquist_panel(data: xr.Dataset) -> Panel | None:
    """Imaginary against real part with the fit (Cadiou, Fig. 4c), and what the fit leaves."""
    if not is_impedance(data):
        return None
    places = shown_cycles(data)
    z, fit = (
        np.asarray(data[f"{one}_real"].values) + 1j * data[f"{one}_imaginary"].values
        for one in ("impedance", "impedance_fit")
    )
    scale = ohms(np.abs(z[places]))
    figure = new_figure(width=DOUBLE_COLUMN, height=80)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    colours = series_colours(len(places))
    residual = 100 * (z - fit) / np.abs(z)
    for place, colour in zip(places, colours, strict=True):
        one, line = scale.factor * z[place], scale.factor * fit[place]
        left.plot(
            one.real, -one.imag, "o", color=colour, markersize=2.6, markeredgewidth=0, label=spectrum_name(data, place)
        )
        left.plot(line.real, -line.imag, color=colour, linewidth=0.9)
        frequency = data["frequency"].values[place]
        right.plot(frequency, residual[place].real, "o", color=colour, markersize=2.0, markeredgewidth=0)
        right.plot(
            frequency,
            residual[place].imag,
            "s",
            color=colour,
            markersize=2.0,
            markerfacecolor="none",
            markeredgewidth=0.6,
        )
    left.set_aspect("equal", adjustable="datalim")
    left.set_xlabel(f"Re Z ({scale.unit})")
    left.set_ylabel(f"−Im Z ({scale.unit})")
    right.axhline(0, color="0.6", linewidth=0.5)
    right.set_xscale("log")
    right.set_xlabel("frequency (Hz)")
    right.set_ylabel("residual (% of the modulus)")
    _legend_above(figure, left)
    circuit = names_along(data["circuit_criterion"], "circuit")[0]
    caption = (
        f"Impedance (points) with the circuit {circuit} (lines){_some_words(data, places)}. Right: measured minus "
        f"fitted over the modulus, filled the real, open the imaginary part.{_outcome_words(data)}"
    )
    return Panel("nyquist", "Impedance spectra", caption, figure)


def _legend_above(figure: Figure, axes: Axes) -> None:
    """Names of the spectra above everything, in as many lines as they need."""
    handles, names = axes.get_legend_handles_labels()
    room = _CHARACTERS[DOUBLE_COLUMN if figure.get_figwidth() > 1.5 * SINGLE_COLUMN / 25.4 else SINGLE_COLUMN]
    columns = max(1, min(len(names), 8, room // (max(map(len, names), default=1) + 5)))
    figure.legend(
        handles, names, loc="outside upper center", ncols=columns, markerscale=1.4, handlelength=1.0, handletextpad=0.4
    )


def _some_words(data: xr.Dataset, places: list[int]) -> str:
    total = int(np.isfinite(data["impedance_real"].values).any(axis=1).sum())
    return "" if len(places) == total else f", {len(places)} of {total} spectra"


def _outcome_words(data: xr.Dataset) -> str:
    words = [word.replace("_", " ") for word in str(data["circuit_outcome"].attrs.get("flag_meanings", "")).split()]
    flags = [words[int(one)] for one in data["circuit_outcome"].values[:, 0]]
    found = [f"{flags.count(word)} {word}" for word in words if word in flags]
    return f" Fits: {', '.join(found)}."


def bode_panel(data: xr.Dataset) -> Panel | None:
    """Modulus and phase against frequency with the fit."""
    if not is_impedance(data):
        return None
    places = shown_cycles(data)
    scale = ohms(np.hypot(data["impedance_real"].values, data["impedance_imaginary"].values)[places])
    figure = new_figure(width=DOUBLE_COLUMN, height=66)
    left, right = figure.subplots(1, 2)
    for place, colour in zip(places, series_colours(len(places)), strict=True):
        frequency = data["frequency"].values[place]
        z, fit = (
            data[f"{one}_real"].values[place] + 1j * data[f"{one}_imaginary"].values[place]
            for one in ("impedance", "impedance_fit")
        )
        left.loglog(
            frequency,
            scale.factor * np.abs(z),
            "o",
            color=colour,
            markersize=2.4,
            markeredgewidth=0,
            label=spectrum_name(data, place),
        )
        left.loglog(frequency, scale.factor * np.abs(fit), color=colour, linewidth=0.9)
        right.semilogx(frequency, -np.degrees(np.angle(z)), "o", color=colour, markersize=2.4, markeredgewidth=0)
        right.semilogx(frequency, -np.degrees(np.angle(fit)), color=colour, linewidth=0.9)
    left.set_ylabel(f"|Z| ({scale.unit})")
    left.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    left.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    left.yaxis.set_minor_formatter(NullFormatter())
    right.set_ylabel("−phase (°)")
    for axes in (left, right):
        axes.set_xlabel("frequency (Hz)")
        _decades(axes)
    _legend_above(figure, left)
    caption = f"Modulus and phase of the impedance (points) with the fitted circuit (lines){_some_words(data, places)}."
    return Panel("bode", "Modulus and phase", caption, figure)


def _decades(axes: Axes) -> None:
    axes.xaxis.set_major_locator(LogLocator(numticks=7))
    axes.xaxis.set_minor_formatter(NullFormatter())


def interface_panel(data: xr.Dataset) -> Panel | None:
    """Charge-transfer resistance and capacitance against cycle; what is not to be used is open."""
    if not is_impedance(data) or data.sizes["cycle"] < 2:
        return None
    resistance = np.asarray(data["transfer_resistance"].values, np.float64)
    if not np.isfinite(resistance).any():
        return None
    specific = "specific_resistance" in data
    figure = new_figure(width=DOUBLE_COLUMN, height=62)
    grid = np.ravel(figure.subplots(1, 3 if specific else 2))
    ohm, farad = ohms(resistance), farads(np.asarray(data["layer_capacitance"].values))
    _against_cycle(grid[0], data, "transfer_resistance", ohm.factor, (COLOURS[0], "o", ""))
    grid[0].set_ylabel(f"charge-transfer resistance ({ohm.unit})")
    _against_cycle(grid[1], data, "layer_capacitance", farad.factor, (COLOURS[1], "o", "Hsu, Mansfeld"))
    _against_cycle(grid[1], data, "layer_capacitance_brug", farad.factor, (COLOURS[2], "s", "Brug"))
    grid[1].set_ylabel(f"double-layer capacitance ({farad.unit})")
    grid[1].legend(loc="best")
    if specific:
        values = np.asarray(data["specific_resistance"].values)
        own = ohms(values)
        _against_cycle(grid[2], data, "specific_resistance", own.factor, (COLOURS[0], "o", ""))
        grid[2].set_ylabel(f"area-specific resistance ({own.unit} cm²)")
    for axes in grid:
        axes.set_xlabel("cycle")
        axes.set_ylim(bottom=0)
    arc = data["impedance_used"].attrs.get("arc", ["R0", "R1", "CPE1"])
    area = _area_words(data) if specific else ""
    caption = (
        f"Resistance {arc[1]} and capacitance of {arc[2]} against cycle with standard uncertainties by the covariance "
        "of the fit. Open: not to be used, since the spectrum does not pass the Kramers-Kronig gate or a parameter is "
        f"not determined.{area}"
    )
    return Panel("interface", "The interface against cycle", caption, figure)


def _against_cycle(axes: Axes, data: xr.Dataset, name: str, factor: float, look: tuple[str, str, str]) -> None:
    colour, marker, words = look
    cycle, used = np.asarray(data["cycle"].values, np.float64), data["impedance_used"].values
    value, std = factor * np.asarray(data[name].values), factor * np.asarray(data[f"{name}_std"].values)
    axes.errorbar(
        cycle[used], value[used], np.nan_to_num(std[used]), fmt=marker, color=colour, label=words, elinewidth=0.9
    )
    left = ~used & np.isfinite(value) & (value < 3 * np.nanmax(value[used], initial=0.0))
    axes.plot(cycle[left], value[left], marker, color=colour, markerfacecolor="none", markeredgewidth=0.8)
    axes.margins(x=0.05)


def _area_words(data: xr.Dataset) -> str:
    area, std = (float(np.nanmean(data[f"electrode_area{end}"].values)) for end in ("", "_std"))
    relative = 100 * std / area if area else 0.0
    more = f" ± {relative:.2g} %, which all points share and the bars leave out" if std > 0 else ""
    return f" Wetted surface: {area:.4g} µm²{more}."


def relaxation_panel(data: xr.Dataset) -> Panel | None:
    """Distribution of relaxation times of every spectrum."""
    if "relaxation_density" not in data or not np.isfinite(data["relaxation_density"].values).any():
        return None
    places = shown_cycles(data)
    time = np.asarray(data["relaxation_time"].values)
    density, std = (np.asarray(data[f"relaxation_density{end}"].values) for end in ("", "_std"))
    inside = _measured_times(data, time)
    scale = ohms(density[places][:, inside])
    figure = new_figure(width=SINGLE_COLUMN, height=66)
    axes = figure.subplots()
    for place, colour in zip(places, series_colours(len(places)), strict=True):
        value, spread = scale.factor * density[place], scale.factor * std[place]
        axes.fill_between(time, np.maximum(value - spread, 0), value + spread, color=colour, alpha=0.2, linewidth=0)
        axes.semilogx(time, value, color=colour, linewidth=1.0, label=spectrum_name(data, place))
    axes.set_xlim(time[inside][0], time[inside][-1])
    top = scale.factor * np.nanmax(density[places][:, inside])
    axes.set_ylim(0, 1.1 * top)
    axes.set_xlabel("relaxation time (s)")
    axes.set_ylabel(f"γ ({scale.unit} per natural logarithm)")
    if len(places) > 1:
        _legend_above(figure, axes)
    caption = (
        "Distribution of relaxation times, within the times that the frequencies reach: the area under a peak is the "
        f"resistance of a process{_some_words(data, places)}. Bands: standard uncertainty. A rise towards the right "
        "end is diffusion, or a process slower than was measured."
    )
    return Panel("relaxation-times", "Relaxation times", caption, figure)


def _measured_times(data: xr.Dataset, time: Floats) -> NDArray[np.bool_]:
    frequency = np.asarray(data["frequency"].values)
    low, high = (1.0 / (2 * np.pi * float(way(frequency))) for way in (np.nanmax, np.nanmin))
    inside = (time >= low) & (time <= high)
    return np.asarray(inside if inside.sum() > 2 else np.ones(time.size, dtype=np.bool_))


def gate_panel(data: xr.Dataset) -> Panel | None:
    """What the chain of resistor-capacitor pairs leaves of every spectrum, and the drift of its sweep."""
    if not is_impedance(data) or not np.isfinite(data["gate_noise"].values).any():
        return None
    places = shown_cycles(data)
    figure = new_figure(width=DOUBLE_COLUMN, height=60)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    for place, colour in zip(places, series_colours(len(places)), strict=True):
        frequency = data["frequency"].values[place]
        for name, marker, fill in (("real", "o", colour), ("imaginary", "s", "none")):
            values = 100 * np.asarray(data[f"gate_residual_{name}"].values[place])
            words: dict[str, Any] = {"label": spectrum_name(data, place)} if name == "real" else {}
            left.semilogx(
                frequency,
                values,
                marker,
                color=colour,
                markersize=2.2,
                markerfacecolor=fill,
                markeredgewidth=0.5,
                **words,
            )
    left.axhline(0, color="0.6", linewidth=0.5)
    left.set_xlabel("frequency (Hz)")
    left.set_ylabel("residual (% of the modulus)")
    cycle, passed = np.asarray(data["cycle"].values, np.float64), data["gate_passed"].values
    drift, std = (100 * np.asarray(data[f"spectrum_drift{end}"].values) for end in ("", "_std"))
    right.errorbar(cycle[passed], drift[passed], std[passed], fmt="o", color=COLOURS[2], label="passed", elinewidth=0.9)
    right.errorbar(
        cycle[~passed], drift[~passed], std[~passed], fmt="X", color=COLOURS[1], label="not passed", elinewidth=0.9
    )
    right.axhline(0, color="0.6", linewidth=0.5)
    right.set_xlabel("cycle")
    right.set_ylabel("drift during the sweep (%)")
    right.legend(loc="best")
    right.margins(x=0.06)
    _legend_above(figure, left)
    caption = (
        "The Kramers-Kronig gate: measured minus a chain of resistor-capacitor pairs over the modulus, filled the "
        "real, open the imaginary part; right, the growth of the impedance during each sweep, fitted beside the chain. "
        "A spectrum passes if neither its drift nor the likeness of neighbouring residuals is more than chance."
    )
    return Panel("gate", "Kramers-Kronig gate", caption, figure)
