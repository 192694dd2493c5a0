"""Figure of a heated particle's size, core and pores against the first temperature, and of where oxide came or went."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from cathoscope.report.figures.images import draw_image
from cathoscope.report.figures.reading import at, draws, temperature_name
from cathoscope.report.style import (
    COLOURS,
    DOUBLE_COLUMN,
    MARKERS,
    Panel,
    add_colour_bar,
    add_legend,
    axis_label,
    new_figure,
    sequential_colours,
)

_ASIDE = 2.0  # degC: bars of two numbers do not hide each other
_RATIOS = {"relative_volume": "particle", "relative_core": "hollow core"}


def change_panel(data: xr.Dataset) -> Panel | None:
    """Relative volume of particle and core, change of porosity, and a slice of the change, over temperature."""
    if "relative_volume" not in data or not np.isfinite(data["relative_volume_std"].values).any():
        return None
    largest = _largest_change(data)
    figure = new_figure(width=DOUBLE_COLUMN, height=58)
    axes = list(figure.subplots(1, 2 + (largest is not None)))
    for (name, words), colour, marker in zip(_RATIOS.items(), COLOURS, MARKERS, strict=False):
        if np.isfinite(data[name].values).any():
            _draw(axes[0], data, name, (words, colour, marker))
    axes[0].axhline(1.0, color="grey", linewidth=0.5)
    axes[0].set_ylabel("volume over that at first")
    add_legend(axes[0])
    _draw(axes[1], data, "porosity_change", ("", COLOURS[0], MARKERS[0]))
    axes[1].axhline(0.0, color="grey", linewidth=0.5)
    axes[1].set_ylabel("change of porosity")
    caption = (
        "Left: volume inside the outer surface, and of the hollow core, over that at the first temperature; next: the "
        "porosity minus the first. Thick bars: statistical; thin: with what does not cancel between temperatures, "
        "which for volumes is mostly three times the uncertainty of the magnification."
    )
    if largest is not None:
        _draw_slice(axes[2], largest, _first_temperature(data))
        caption += (
            " Right: change of the share of oxide in the middle slice, laid over the first temperature by the "
            "registration of the particle; red: oxide came, blue: it went."
        )
    return Panel("morphology-change", "Change of size and pores", caption, figure)


def _draw(axes: Axes, data: xr.Dataset, name: str, style: tuple[str, object, str]) -> None:
    """A number with its statistical and its whole uncertainty."""
    words, colour, marker = style
    values, total, systematic = (np.asarray(data[name + part].values) for part in ("", "_std", "_systematic"))
    where = data["temperature"].values + (_ASIDE if name == "relative_core" else 0.0)
    axes.errorbar(where, values, yerr=total, color=colour, marker=marker, markersize=3, label=words)
    statistical = np.sqrt(np.maximum(total**2 - systematic**2, 0.0))
    axes.errorbar(where, values, yerr=statistical, color=colour, linestyle="none", elinewidth=2.2, capsize=0)
    axes.set_xlabel(axis_label("temperature", "degC"))


def _largest_change(data: xr.Dataset) -> xr.DataArray | None:
    """Middle slice of the temperature at which most has changed; None where nothing is known."""
    if not draws(data, "solid_change", "z", "y", "x"):
        return None
    change = data["solid_change"]
    middle = change.sizes["z"] // 2
    slices = [at(change, temperature=index, z=middle).load() for index in range(change.sizes["temperature"])]
    known = [one for one in slices if np.isfinite(one.values).any()]
    return max(known, key=lambda one: float(np.nanmean(np.abs(one.values))), default=None)


def _first_temperature(data: xr.Dataset) -> float:
    """That with which the others are compared: the first that has numbers."""
    known = np.flatnonzero(np.isfinite(data["relative_volume"].values))
    return float(data["temperature"].values[known[0]])


def _draw_slice(axes: Axes, change: xr.DataArray, first: float) -> None:
    image = draw_image(axes, change, colours=sequential_colours("RdBu_r"), limits=(-1.0, 1.0), ticks=False)
    add_colour_bar(image, axes, "change of the share of oxide")
    axes.set_title(f"{temperature_name(float(change['temperature']))} less {temperature_name(first)}")
