"""Figures of heating on a balance: mass, its slope and oxygen against temperature, the gas, holds."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from numpy.typing import NDArray

from cathoscope.report.heating import in_order, is_hold, is_mass_loss, pair, rapid_step, record_names, tangents_of
from cathoscope.report.names import names_along
from cathoscope.report.numbers import format_value
from cathoscope.report.style import (
    COLOURS,
    DOUBLE_COLUMN,
    Panel,
    add_figure_legend,
    add_legend,
    new_figure,
    series_colours,
)

Floats = NDArray[np.float64]

TEMPERATURE = "temperature (°C)"
LIMITS = {"spinel_oxygen": "all spinel", "rock_salt_oxygen": "all rock salt"}
_MOST_IONS = 7
_GAS_WINDOW = 15  # K
_UNSURE = 2.5  # times the usual uncertainty: slopes that are not shown


def mass_panel(data: xr.Dataset) -> Panel | None:
    """Mass left with both onsets and the tangents of one, slope of the mass, oxygen left (Hou, Fig. 5a, S12a)."""
    if not is_mass_loss(data):
        return None
    names = record_names(data)
    colours = COLOURS[:1] if len(names) == 1 else series_colours(len(names))
    oxygen = bool(np.isfinite(data["oxygen_content"].values).any())
    figure = new_figure(width=DOUBLE_COLUMN, height=72)
    grid = figure.subplots(1, 3 if oxygen else 2, width_ratios=(1.35, 1, 1)[: 3 if oxygen else 2])
    for place, (row, colour) in enumerate(zip(in_order(data), colours, strict=True)):
        draw_mass(grid[0], data, row, colour, names[row])
        draw_onsets(grid[0], data, row, colour, words=place == len(names) - 1)
        grid[1].plot(data["temperature"].values, loss_rate(data, row), color=colour)
        if oxygen:
            draw_curve(grid[2], data, "oxygen_content", row, colour)
    tangents = tangents_of(data, 0) if len(names) == 1 else None
    if tangents is not None:
        for x, y in (tangents.line, tangents.tangent):
            grid[0].plot(x, y, color="0.35", linewidth=0.7, linestyle=(0, (4, 2)))
    grid[0].set_ylabel("mass left (wt%)")
    grid[1].set_ylabel("loss per kelvin (wt%/K)")
    if oxygen:
        grid[2].set_ylabel("oxygen per formula unit")
        draw_limits(grid[2], data)
    for axes in grid:
        axes.set_xlabel(TEMPERATURE)
        axes.margins(x=0.02)
    add_figure_legend(figure, grid[0])
    return Panel("mass-loss", "Mass on heating", _mass_caption(data, names, oxygen), figure)


def draw_curve(axes: Axes, data: xr.Dataset, name: str, row: int, colour: object, words: str | None = None) -> None:
    """A curve against temperature with a band of two standard uncertainties."""
    x, y, std = (
        np.asarray(one, np.float64) for one in (data["temperature"], data[name][row], data[f"{name}_std"][row])
    )
    axes.fill_between(x, y - 2 * std, y + 2 * std, color=colour, alpha=0.25, linewidth=0)
    axes.plot(x, y, color=colour, label=words)


def loss_rate(data: xr.Dataset, row: int) -> Floats:
    """Loss per kelvin, wt%/K; not where it is far less sure than elsewhere: at the ends it has one side only."""
    rate, std = (np.asarray(data[name].values[row], np.float64) for name in ("mass_rate", "mass_rate_std"))
    usual = np.nanmedian(std) if np.isfinite(std).any() else np.nan
    return np.where(std > _UNSURE * usual, np.nan, -rate)


def draw_mass(axes: Axes, data: xr.Dataset, row: int, colour: object, words: str) -> None:
    """Mass left of one record."""
    draw_curve(axes, data, "mass_left", row, colour, words)


def draw_onsets(axes: Axes, data: xr.Dataset, row: int, colour: object, *, words: bool) -> None:
    """Where the rapid loss begins by tangents (filled) and where it is first seen (open)."""
    x, y = (np.asarray(one, np.float64) for one in (data["temperature"].values, data["mass_left"].values[row]))
    there = np.isfinite(y)
    for name, face, title in (
        ("rapid_loss_onset", colour, "onset, tangents (ISO 11358-1)"),
        ("rapid_loss_deflection", "white", "first deflection (ASTM E2550)"),
    ):
        value, std = pair(data, name, (row,))
        if not np.isfinite(value):
            continue
        height = float(np.interp(value, x[there], y[there]))
        if name == "rapid_loss_onset" and (step := rapid_step(data, row)) is not None:
            height = float(data["step_meeting"].values[row, step])  # where the two tangents meet, beside the curve
        marker = "o" if name == "rapid_loss_onset" else "D"
        axes.errorbar(
            [value],
            [height],
            xerr=[np.nan_to_num(std)],
            fmt=marker,
            color=colour,
            markerfacecolor=face,
            markersize=4.5,
            zorder=5,
            label=title if words else None,
        )


def draw_limits(axes: Axes, data: xr.Dataset) -> None:
    """Lines at the oxygen of spinel and of rock salt, with their names; within the frame in any case."""
    for name, words in LIMITS.items():
        value = float(data[name].values)
        if np.isfinite(value):
            axes.axhline(value, color="0.5", linewidth=0.7, linestyle=(0, (4, 2)))
            place = axes.get_yaxis_transform()
            axes.text(0.02, value, words, transform=place, ha="left", va="bottom", color="0.35", fontsize=7)
    low, high = axes.get_ylim()
    axes.set_ylim(low - 0.02 * (high - low), high)


def _mass_caption(data: xr.Dataset, names: list[str], oxygen: bool) -> str:
    found = []
    for row in in_order(data):
        onset, first = (pair(data, one, (row,)) for one in ("rapid_loss_onset", "rapid_loss_deflection"))
        if np.isfinite(onset[0]):
            head = f"{names[row]}: rapid" if len(names) > 1 else "Rapid"
            found.append(
                f"{head} loss from {format_value(*onset, 'degC')} by tangents, first deflection at "
                f"{format_value(*first, 'degC')}"
            )
    onsets = f" {'; '.join(found)}." if found else " No step of rapid loss stands out."
    dashed = " Dashed: the two lines that meet at the onset." if len(names) == 1 and found else ""
    atoms = (
        " Right: oxygen per formula unit, if oxygen is all that leaves; dashed, what all spinel and all rock salt hold."
        if oxygen
        else ""
    )
    curves = "Mass left, of the mass at the start, smoothed, and its slope. Bands: two σ of the noise."
    return f"{curves}{dashed}{atoms}{onsets}"


def gas_panel(data: xr.Dataset) -> Panel | None:
    """Ions of the gas against the temperature of the sample, below the loss of mass."""
    if "gas_signal" not in data or not is_mass_loss(data):
        return None
    names = names_along(data["gas_signal"], "ion")[:_MOST_IONS]
    figure = new_figure(width=DOUBLE_COLUMN, height=86)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(1, 1.6))
    x = np.asarray(data["temperature"].values, np.float64)
    upper.plot(x, loss_rate(data, int(data["gas_signal"].attrs.get("row", 0))), color="black")
    upper.set_ylabel("loss (wt%/K)")
    for number, name in enumerate(names):
        y = np.asarray(data["gas_signal"].values[number], np.float64)
        mean = _running_mean(y)
        reach = np.nanmax(mean) - np.nanmin(mean) if np.isfinite(mean).any() else 0.0
        if reach > 0:
            lower.plot(x, (mean - np.nanmin(mean)) / reach, color=COLOURS[number], label=name, linewidth=0.9)
    lower.set_ylabel("signal, over its reach")
    lower.set_xlabel(TEMPERATURE)
    add_figure_legend(figure, lower)
    caption = (
        "Above: loss of mass per kelvin of the first record that is used. Below: signals of the ions in the gas, means "
        f"over {_GAS_WINDOW} K, each from its lowest (0) to its highest value (1). Oxygen (m/z 32) shows where the "
        "oxide gives it off, m/z 44 carbonate or carbon, m/z 18 water."
    )
    return Panel("gas", "Gas on heating", caption, figure)


def _running_mean(values: Floats) -> Floats:
    """Means over a window of degrees, shorter at the ends; NaN where there is no value."""
    there = np.isfinite(values)
    ones = np.ones(_GAS_WINDOW)
    total = np.convolve(np.where(there, values, 0.0), ones, "same")
    count = np.convolve(there.astype(np.float64), ones, "same")
    return np.where(there, total / np.maximum(count, 1.0), np.nan)


def hold_panel(data: xr.Dataset) -> Panel | None:
    """Conversion in holds, with Avrami's law."""
    if not is_hold(data):
        return None
    names = record_names(data)
    figure = new_figure(height=64)
    axes = figure.subplots()
    for row, (name, colour) in enumerate(zip(names, series_colours(len(names)), strict=True)):
        t, y = (np.asarray(data[one].values[row], np.float64) for one in ("hold_time", "hold_conversion"))
        there = np.isfinite(t) & np.isfinite(y)
        if not there.any():
            continue
        temperature = float(data["hold_temperature"].values[row])
        axes.plot(t[there] / 60, y[there], color=colour, label=f"{name}, {temperature:.0f} °C")
        n, k = (float(data[one].values[row]) for one in ("avrami_exponent", "avrami_rate"))
        axes.plot(t[there] / 60, 1 - np.exp(-((k * t[there]) ** n)), color="black", linewidth=0.7, linestyle=":")
    axes.set_xlabel("time in the hold (min)")
    axes.set_ylabel("share of the loss")
    add_legend(axes)
    caption = (
        "Share of the mass lost in the hold that has been lost, of the smoothed mass. Dotted: 1 − exp(−(k t)ⁿ) with "
        "the exponents and rates of the table."
    )
    return Panel("holds", "Loss in holds", caption, figure)
