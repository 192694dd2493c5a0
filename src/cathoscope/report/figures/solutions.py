"""Figures of solutions: absorption spectra with their band, and what elemental analysis finds."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from cathoscope.report.dissolution import band_words, is_content, is_light, metals_of, with_std
from cathoscope.report.names import names_along
from cathoscope.report.numbers import format_value
from cathoscope.report.style import COLOURS, DOUBLE_COLUMN, Panel, add_legend, new_figure

WAVELENGTH = "wavelength (nm)"
_MOST = len(COLOURS)


def light_panel(data: xr.Dataset) -> Panel | None:
    """Absorbance of solutions against wavelength, the band shaded (Hou, Fig. 5b)."""
    if not is_light(data):
        return None
    names = names_along(data["net_absorbance"], "spectrum")
    figure = new_figure(height=64)
    axes = figure.subplots()
    for row, name in list(enumerate(names))[:_MOST]:
        draw_spectrum(axes, data, row, COLOURS[row], name)
    finish_spectra(axes, data)
    add_legend(axes)
    value, std = with_std(data, "band_absorbance")
    found = [f"{name} {format_value(value[row], std[row], '1')}" for row, name in enumerate(names)]
    told = "; ".join(found[:_MOST])
    caption = (
        f"Absorbance (decadic) less that of the blank where there is one. Shaded: {band_words(data)}, of which the "
        f"mean is: {told}.{_saturated_words(data)}"
    )
    return Panel("absorbance", "Absorbance of solutions", caption, figure)


def draw_spectrum(axes: Axes, data: xr.Dataset, row: int, colour: str, words: str, style: str = "-") -> None:
    """One spectrum; saturated points are pale."""
    x, net, raw = (
        np.asarray(data[name].values[row], np.float64) for name in ("wavelength", "net_absorbance", "absorbance")
    )
    there = np.isfinite(x) & np.isfinite(net)
    dark = raw > data["net_absorbance"].attrs.get("saturated", np.inf)
    axes.plot(x[there], np.where(dark, np.nan, net)[there], style, color=colour, label=words)
    axes.plot(x[there], np.where(dark, net, np.nan)[there], style, color=colour, alpha=0.35)


def finish_spectra(axes: Axes, data: xr.Dataset) -> None:
    """The band, and the labels of the axes."""
    low, high = data["net_absorbance"].attrs.get("band", (np.nan, np.nan))
    axes.axvspan(low, high, color="0.93", linewidth=0, zorder=0)
    axes.axhline(0, color="0.7", linewidth=0.5, zorder=0.5)
    axes.set_xlabel(WAVELENGTH)
    axes.set_ylabel("absorbance")
    axes.margins(x=0.01)


def _saturated_words(data: xr.Dataset) -> str:
    share = np.asarray(data["band_saturated"].values, np.float64)
    names = [name for name, one in zip(names_along(data["band_saturated"], "spectrum"), share, strict=True) if one > 0]
    return f" Pale, and only lower bounds, where next to no light came through: {', '.join(names)}." if names else ""


def contents_panel(data: xr.Dataset) -> Panel | None:
    """Shares of the metals and lithium per metal of every specimen."""
    if not is_content(data) or not np.isfinite(data["metal_share"].values).any():
        return None
    names, elements = names_along(data["metal_share"], "specimen"), names_along(data["metal_share"], "element")
    lithium = with_std(data, "lithium_per_metal")
    has_lithium = bool(np.isfinite(lithium[0]).any())
    figure = new_figure(width=DOUBLE_COLUMN, height=24 + 8 * len(names))
    grid = figure.subplots(1, 2 if has_lithium else 1, squeeze=False, sharey=True)[0]
    value, std = with_std(data, "metal_share")
    places = np.arange(len(names), dtype=np.float64)
    left = np.zeros(len(names))
    for number, k in enumerate(metals_of(data)):
        width = np.nan_to_num(value[:, k])
        grid[0].barh(places, width, left=left, height=0.6, color=COLOURS[number], alpha=0.85, label=elements[k])
        left += width
        grid[0].errorbar(left, places, xerr=np.nan_to_num(std[:, k]), fmt="none", ecolor="black", elinewidth=0.8)
    grid[0].set_yticks(places, names)
    grid[0].invert_yaxis()
    grid[0].set_xlim(0, 1.02)
    grid[0].set_xlabel("share in the transition metals")
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=len(labels))
    if has_lithium:
        grid[1].errorbar(lithium[0], places, xerr=np.nan_to_num(lithium[1]), fmt="o", color="black")
        grid[1].set_xlabel("lithium per metal")
        grid[1].set_xlim(left=0)
        grid[1].grid(axis="y", color="0.9", linewidth=0.5)
    caption = (
        "Left: shares of the transition metals by atoms, with the standard uncertainty of each at its end. Right: "
        "lithium per metal. Volumes and dilutions cancel."
    )
    return Panel("contents", "Elemental analysis", caption, figure)
