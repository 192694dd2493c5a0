"""Figures of calorimetry, and of activation energies from several heating rates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from numpy.typing import NDArray

from cathoscope.core.units import ZERO_CELSIUS
from cathoscope.report.figures.mass_loss import TEMPERATURE
from cathoscope.report.heating import (
    in_order,
    is_calorimetry,
    is_mass_loss,
    is_unlevel,
    pair,
    rapid_step,
    reactions_of,
    record_names,
)
from cathoscope.report.names import names_along
from cathoscope.report.numbers import format_value
from cathoscope.report.style import (
    COLOURS,
    DOUBLE_COLUMN,
    MARKERS,
    Panel,
    add_figure_legend,
    add_legend,
    new_figure,
    series_colours,
)

Floats = NDArray[np.float64]

_MOST_POINTS = 4000
_LONGEST_WORDS = 3


def heat_panel(data: xr.Dataset) -> Panel | None:
    """Heat flow against temperature with baselines, onsets and peaks of all effects (Hou, Fig. S12b)."""
    if not is_calorimetry(data):
        return None
    names = record_names(data)
    colours = COLOURS[:1] if len(names) == 1 else series_colours(len(names))
    effects = names_along(data["effect_enthalpy"], "effect") if "effect_enthalpy" in data else []
    figure = new_figure(width=DOUBLE_COLUMN, height=74)
    axes = figure.subplots()
    shift = _shift(data)
    for place, (row, colour) in enumerate(zip(in_order(data), colours, strict=True)):
        draw_heat(axes, data, row, colour, (names[row], place * shift))
        for column, effect in enumerate(effects):
            last = place == len(names) - 1
            _draw_marks(axes, data, (row, column), (colour, place * shift), effect if last else "")
    axes.set_xlabel(TEMPERATURE)
    axes.set_ylabel(heat_words([data]) + (", shifted" if shift else ""))
    axes.margins(x=0.01)
    add_figure_legend(figure, axes)
    return Panel("heat", "Heat on heating", _heat_caption(data, names, effects), figure)


def _shift(data: xr.Dataset) -> float:
    """By which records lie above each other."""
    if data.sizes["record"] < 2:
        return 0.0
    flow = np.asarray(data["heat_flow"].values, np.float64) / masses_of(data)[:, None]
    return float(0.9 * np.nanmax(np.nanquantile(flow, 0.998, axis=1) - np.nanquantile(flow, 0.002, axis=1)))


def heat_of(data: xr.Dataset, row: int) -> tuple[Floats, Floats]:
    """Temperatures and heat flows of a record, thinned for drawing by means of neighbours."""
    x, y = (np.asarray(data[name].values[row], np.float64) for name in ("sample_temperature", "heat_flow"))
    there = np.isfinite(x) & np.isfinite(y)
    step = max(1, int(there.sum()) // _MOST_POINTS)
    n = int(there.sum()) // step * step
    x, y = (one[there][:n].reshape(-1, step).mean(axis=1) for one in (x, y))
    return x, y / masses_of(data)[row]


def knows_masses(data: xr.Dataset) -> bool:
    """Whether the mass of every sample that is used is known, so that heat flows can be shown per gram."""
    masses = data["heat_flow"].attrs.get("masses") or [None] * data.sizes["record"]
    used = np.isfinite(data["heat_flow"].values).any(axis=1)
    return all(mass is not None for mass, one in zip(masses, used, strict=True) if one)


def masses_of(data: xr.Dataset) -> Floats:
    """Masses by which heat flows are divided, mg, [record]: mW/mg is W/g; ones where a mass is not known."""
    if not knows_masses(data):
        return np.ones(data.sizes["record"])
    masses = data["heat_flow"].attrs["masses"]
    return np.array([1.0 if mass is None else mass for mass in masses], dtype=np.float64)


def heat_words(found: Sequence[xr.Dataset]) -> str:
    """Label of the axis of heat flow: per gram where all masses are known."""
    return f"heat flow ({'W/g' if all(map(knows_masses, found)) else 'mW'}), endothermic up"


def draw_heat(axes: Axes, data: xr.Dataset, row: int, colour: Any, look: tuple[str | None, float]) -> None:
    """One record with the baselines below its effects; ``look`` is its name and by how much it is shifted."""
    words, shift = look
    x, y = heat_of(data, row)
    axes.plot(x, y + shift, color=colour, linewidth=0.8, label=words)
    if "heat_baseline" in data:
        celsius, base = (
            np.asarray(data[name].values[row], np.float64) for name in ("sample_temperature", "heat_baseline")
        )
        there = np.isfinite(base)
        below = base[there] / masses_of(data)[row] + shift
        axes.plot(celsius[there], below, color="0.4", linewidth=0.7, linestyle=(0, (4, 2)))


def _draw_marks(axes: Axes, data: xr.Dataset, place: tuple[int, int], look: tuple[Any, float], words: str) -> None:
    """Onset (a stroke) and peak (a marker) of an effect."""
    (colour, shift), (row, column) = look, place
    x, y = heat_of(data, row)
    if x.size < 2:
        return
    for name, marker in (("effect_onset", "|"), ("effect_peak", MARKERS[column % len(MARKERS)])):
        value, _ = pair(data, name, place)
        if np.isfinite(value):
            order = np.argsort(x)
            height = float(np.interp(value, x[order], y[order])) + shift
            label = f"peak, {words}" if words and marker != "|" else None
            if marker == "|":
                label = "onset" if words and column == 0 else None
            look_of = {"color": "black", "markersize": 10.0} if marker == "|" else {"color": colour, "markersize": 4.5}
            axes.plot([value], [height], marker, markerfacecolor="white", zorder=4, label=label, **look_of)


def _heat_caption(data: xr.Dataset, names: list[str], effects: list[str]) -> str:
    if not effects:
        return "Heat flow into the sample. No heat effect is stated in the recipe."
    found = []
    for column, effect in enumerate(effects):
        for row in in_order(data)[:_LONGEST_WORDS]:
            onset, peak, heat = (pair(data, f"effect_{one}", (row, column)) for one in ("onset", "peak", "enthalpy"))
            if np.isfinite(heat[0]):
                head = f"{effect}, {names[row]}" if len(names) > 1 else effect
                energy = "" if is_unlevel(data, row, column) else f", {format_value(*heat, 'J/g')}".replace("-", "−")
                places = f"onset {format_value(*onset, 'degC')}, peak {format_value(*peak, 'degC')}"
                found.append(f"{head}: {places}{energy}")
    return (
        "Heat flow into the sample; dashed, the baselines between the limits of the effects. "
        f"{'; '.join(found)}." + (" All records in the table." if len(names) > _LONGEST_WORDS else "")
    )


def energies_panel(data: xr.Dataset) -> Panel | None:
    """Kissinger's line and activation energies against conversion."""
    if "kissinger_energy" not in data or not np.isfinite(data["kissinger_energy"].values).any():
        return None
    figure = new_figure(width=DOUBLE_COLUMN, height=66)
    left, right = figure.subplots(1, 2)
    found = []
    for number, (place, name) in enumerate(reactions_of(data)):
        energy = pair(data, "kissinger_energy", place)
        if np.isfinite(energy[0]):
            _draw_line(left, data, place, COLOURS[number], name)
            _draw_conversion(right, data, place, COLOURS[number], name)
            found.append(f"{name + ': ' if name else ''}{format_value(*energy, 'kJ/mol')}")
    left.set_xlabel("1000 / T of the peak (1/K)")
    left.set_ylabel("ln(β / T²), β in K/min")
    right.set_xlabel("conversion")
    right.set_ylabel("activation energy (kJ/mol)")
    add_legend(left)
    add_legend(right)
    caption = (
        "Left: heating rate β over the squared temperature of the peak, and Kissinger's line through the rates. Right: "
        "energy at each conversion by Kissinger, Akahira and Sunose (filled) and by Friedman (open); bars are σ by the "
        f"scatter about the lines. One reaction has one energy. Kissinger: {'; '.join(found)}."
    )
    return Panel("activation", "Activation energies", caption, figure)


def _draw_line(axes: Axes, data: xr.Dataset, place: tuple[int, ...], colour: str, name: str) -> None:
    rates = np.asarray(data["heating_rate"].values, np.float64)
    peaks = np.full(rates.size, np.nan)
    for row in range(rates.size):
        if is_mass_loss(data):
            step = rapid_step(data, row)
            peaks[row] = np.nan if step is None else float(data["step_steepest"].values[row, step])
        else:
            peaks[row] = float(data["effect_peak"].values[row, place[0]])
    good = np.isfinite(rates) & np.isfinite(peaks)
    kelvin = peaks[good] + ZERO_CELSIUS
    x, y = 1000.0 / kelvin, np.log(rates[good] / kelvin**2)
    axes.plot(x, y, "o", color=colour, label=name or None)
    constant = data["kissinger_energy"].attrs.get("gas_constant", np.nan)  # without it there are points, and no line
    slope = -pair(data, "kissinger_energy", place)[0] / (1000.0 * constant)
    ends = np.array([x.min(), x.max()])
    axes.plot(ends, y.mean() + slope * (ends - x.mean()), color=colour, linewidth=0.8)


def _draw_conversion(axes: Axes, data: xr.Dataset, place: tuple[int, ...], colour: str, name: str) -> None:
    level = np.asarray(data["conversion"].values, np.float64)
    for array, face, words, offset in (
        ("kas_energy", colour, "KAS", -0.008),
        ("friedman_energy", "white", "Friedman", 0.008),
    ):
        values, std = (np.asarray(data[one].values[place], np.float64) for one in (array, f"{array}_std"))
        there = np.isfinite(values)
        axes.errorbar(
            level[there] + offset,
            values[there],
            yerr=np.nan_to_num(std[there]),
            fmt="o",
            color=colour,
            markerfacecolor=face,
            elinewidth=0.7,
            label=f"{name}, {words}" if name else words,
        )
