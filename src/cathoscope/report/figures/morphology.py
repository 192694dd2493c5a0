"""Figures of morphology: oxide, kinds of pore and ways through the oxide in a slice; porosity over radius, threshold
and temperature."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch
from numpy.typing import NDArray

from cathoscope.report.figures.images import draw_image, robust_limits
from cathoscope.report.figures.reading import at, coordinate, draws, temperature_name, temperatures
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
    series_colours,
)

# Name and colour of the kinds of pore.
KINDS = {1: ("crack", COLOURS[1]), 2: ("void", COLOURS[0]), 3: ("hollow core", COLOURS[3])}
_SERIES = {
    "porosity": "porosity, grey levels",
    "threshold_porosity": "porosity, threshold",
}


def pores_panel(data: xr.Dataset) -> Panel | None:
    """Share of oxide, kinds of pore and way to the surface in the middle slice, first and last temperature."""
    if not all(draws(data, name, "z", "y", "x") for name in ("solid_fraction", "pore_kind", "path_length")):
        return None
    count = data["solid_fraction"].sizes.get("temperature", 1)
    chosen = [0] if count == 1 else [0, count - 1]
    figure = new_figure(width=DOUBLE_COLUMN, height=8 + 60.0 * len(chosen))
    grid = np.atleast_2d(figure.subplots(len(chosen), 3))
    middle = data["solid_fraction"].sizes["z"] // 2
    longest = _longest(data, chosen, middle)
    for row, index in zip(grid, chosen, strict=True):
        slices = {name: at(data[name], temperature=index, z=middle).load() for name in _SLICED}
        _draw_row(list(row), slices, longest)
        row[0].set_ylabel(temperature_name(temperatures(data["solid_fraction"])[index]))
    present = [kind for kind in KINDS if (at(data["pore_kind"], z=middle).values == kind).any()]
    patches = [Patch(color=KINDS[kind][1], label=KINDS[kind][0]) for kind in present]
    if patches:
        grid[0, 1].legend(handles=patches, loc="upper right", frameon=False, labelcolor="white")
    caption = (
        "Middle slice. Left: share of oxide in every voxel, from grey levels; noise reaches below 0 and above 1. "
        "Middle: kinds of pore, of voxels that are less than half oxide within the outer surface (outline). Right: "
        "length of the shortest way through the oxide to the outside or to a pore that is open to it."
    )
    return Panel("pores", "Pores and paths", caption, figure)


_SLICED = ("solid_fraction", "pore_kind", "path_length", "envelope_mask")


def _longest(data: xr.Dataset, chosen: list[int], middle: int) -> float:
    values = np.concatenate([at(data["path_length"], temperature=i, z=middle).values.ravel() for i in chosen])
    return max(robust_limits(values[np.isfinite(values) & (values > 0)])[1], 1e-3)


def _draw_row(row: list[Axes], slices: dict[str, xr.DataArray], longest: float) -> None:
    """One temperature: share of oxide, kinds of pore, way to the surface."""
    grey = sequential_colours("gray")
    shown = draw_image(row[0], slices["solid_fraction"], colours=grey, limits=(-0.2, 1.2), ticks=False, light_bar=True)
    add_colour_bar(shown, row[0], "share of oxide")
    kinds = slices["pore_kind"]
    oxide = slices["solid_fraction"].clip(0, 1)
    draw_image(row[1], oxide, colours=grey, limits=(-0.2, 1.2), ticks=False, light_bar=True)
    colours = ListedColormap([colour for _, colour in KINDS.values()])
    draw_image(row[1], kinds.where(kinds > 0), colours=colours, limits=(0.5, 3.5), ticks=False, light_bar=True)
    _outline(row[1], slices["envelope_mask"])
    path = slices["path_length"]
    way = draw_image(
        row[2],
        path.where(np.isfinite(path) & (path > 0)),
        colours=sequential_colours(),
        limits=(0.0, longest),
        ticks=False,
    )
    add_colour_bar(way, row[2], axis_label("way to an open surface", "um"))


def _outline(axes: Axes, mask: xr.DataArray) -> None:
    """Line along the outer surface."""
    if mask.values.any() and not mask.values.all():
        x, y = (coordinate(mask, dim) for dim in ("x", "y"))
        if x is not None and y is not None:
            axes.contour(x, y, mask.values.astype(float), levels=[0.5], colors="white", linewidths=0.6)


def porosity_panel(data: xr.Dataset) -> Panel | None:
    """Porosity over the radius, share of open pores over the threshold and, where heated, porosity over temperature."""
    if "shell_porosity" not in data or "porosity_curve" not in data:
        return None
    labels = temperatures(data["shell_porosity"])
    heated = len(labels) > 1
    figure = new_figure(width=DOUBLE_COLUMN, height=58)
    axes = list(figure.subplots(1, 2 + heated))
    for index, (label, colour) in enumerate(zip(labels, series_colours(len(labels)), strict=True)):
        _draw_shells(axes[0], _one(data, index), temperature_name(label), colour)
        _draw_open(axes[1], _one(data, index), temperature_name(label), colour)
    axes[0].set_xlabel("radius over that of the surface")
    axes[0].set_ylabel("porosity")
    axes[1].set_xlabel("share of oxide below which a voxel is pore")
    axes[1].set_ylabel("pores open to the outside")
    axes[1].set_ylim(-0.02, 1.02)
    if heated:
        add_legend(axes[0])
        _draw_over_temperature(axes[2], data)
    caption = (
        "Left: porosity of shells of equal width, with 68 % intervals. Next: share of the pore volume that is joined "
        "to the outside, over the threshold that tells pore from oxide; where it is steep, connection cannot be told."
    )
    if heated:
        caption += (
            " Right: porosity of the particle from grey levels with its 68 % interval, by a threshold with its band."
        )
    return Panel("porosity", "Porosity", caption, figure)


def _one(data: xr.Dataset, index: int) -> xr.Dataset:
    return data.isel(temperature=index) if "temperature" in data["shell_porosity"].dims else data


def _draw_shells(axes: Axes, data: xr.Dataset, label: str, colour: object) -> None:
    values, std = (np.asarray(data[name].values) for name in ("shell_porosity", "shell_porosity_std"))
    axes.errorbar(data["shell"].values, values, yerr=std, color=colour, marker="o", markersize=3, label=label)


def _draw_open(axes: Axes, data: xr.Dataset, label: str, colour: object) -> None:
    whole, joined = (np.asarray(data[name].values) for name in ("porosity_curve", "open_porosity_curve"))
    share: NDArray[np.float64] = np.divide(joined, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
    axes.plot(data["threshold"].values, share, color=colour, label=label)


def _draw_over_temperature(axes: Axes, data: xr.Dataset) -> None:
    for (name, words), colour, marker in zip(_SERIES.items(), COLOURS, MARKERS, strict=False):
        values, std = np.asarray(data[name].values), np.asarray(data[f"{name}_std"].values)
        axes.errorbar(data["temperature"].values, values, yerr=std, color=colour, marker=marker, label=words)
    axes.set_xlabel(axis_label("temperature", "degC"))
    axes.set_ylabel("porosity")
    add_legend(axes)
