"""Figures of sections: grains coloured by their angle to the radius; particles of a mosaic with what they show."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from cathoscope.report.figures.images import draw_image, robust_limits
from cathoscope.report.figures.reading import coordinate, draws
from cathoscope.report.numbers import Row, format_value
from cathoscope.report.style import (
    COLOURS,
    DOUBLE_COLUMN,
    Panel,
    add_colour_bar,
    axis_label,
    mean_line,
    new_figure,
    sequential_colours,
)

_KINDS = {"crack": COLOURS[1], "hollow core": COLOURS[3]}
_FLAGS: tuple[tuple[str, str, Any], ...] = (
    ("neither", COLOURS[2], "-"),
    ("cracked", COLOURS[1], "-"),
    ("hollow", COLOURS[3], "-"),
    ("cut", "white", ":"),
)
_NAMES = {
    "grain_alignment": "alignment of grains with the radius",
    "grain_mean_aspect": "aspect of grains in the section",
    "grain_mean_diameter": "diameter of grains in the section",
    "mean_porosity": "porosity of whole sections",
    "porosity_spread": "its spread between particles",
    "cracked_share": "particles that are cracked",
    "hollow_share": "particles that show a hollow",
}


def grains_panel(data: xr.Dataset) -> Panel | None:
    """The section with its grains by angle to the radius, and the angles' and aspects' distributions."""
    if not draws(data, "grain_label", "y", "x") or "section_image" not in data or "grain_angle" not in data:
        return None
    figure = new_figure(width=DOUBLE_COLUMN, height=64)
    image_axes, grain_axes, plot = figure.subplots(1, 3, width_ratios=(1, 1.15, 0.9))
    image = data["section_image"]
    grey, limits = sequential_colours("gray"), robust_limits(image.values)
    draw_image(image_axes, image, colours=grey, limits=limits, ticks=False, light_bar=True)
    draw_image(grain_axes, image, colours=grey, limits=limits, ticks=False, light_bar=True)
    labels = data["grain_label"]
    angle = np.concatenate([[np.nan], data["grain_angle"].values])[labels.values]
    angle[_between_grains(labels.values)] = np.nan
    shown = labels.astype("float64").copy(data=angle)
    drawn = draw_image(grain_axes, shown, colours=sequential_colours(), limits=(0.0, 90.0), ticks=False, light_bar=True)
    add_colour_bar(drawn, grain_axes, axis_label("angle to the radius", "deg"))
    weights = np.asarray(data["grain_area"].values)
    plot.hist(
        data["grain_angle"].values, bins=np.linspace(0, 90, 19), weights=weights / weights.sum(), color=COLOURS[0]
    )
    plot.axhline(1 / 18, color="0.5", linestyle="--")
    plot.set_xlabel(axis_label("angle to the radius", "deg"))
    plot.set_ylabel("share of the area")
    caption = (
        f"Left: the section. Middle: its {data['grain_area'].size} grains of 30 pixels or more, by the angle of the "
        "long axis to the radius through the grain's centre. Right: share of the area by that angle; dashed: without "
        "any preferred direction. The first row of the image is at the bottom. "
        f"Alignment (1 along the radius, 0 random) {_value(data, 'grain_alignment')}, aspect in the section "
        f"{_value(data, 'grain_mean_aspect')}; a section shows the aspect of grains that lie in its plane only."
    )
    return Panel("grains", "Grains of the section", caption, figure)


def _between_grains(labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Pixels whose right or lower neighbour is of another grain: lines that part them in the figure."""
    line = np.zeros(labels.shape, dtype=np.bool_)
    line[:-1] |= labels[:-1] != labels[1:]
    line[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    return line


def particles_panel(data: xr.Dataset) -> Panel | None:
    """The field with every particle's outline, cracks and hollows."""
    if not draws(data, "particle_label", "y", "x") or "particle_cracked" not in data or "section_image" not in data:
        return None
    image = data["section_image"]
    rows, columns = image.sizes["y"], image.sizes["x"]
    height = float(np.clip(DOUBLE_COLUMN * rows / columns, 50, 170)) + 12
    figure = new_figure(width=DOUBLE_COLUMN, height=height)
    axes = figure.subplots()
    draw_image(
        axes, image, colours=sequential_colours("gray"), limits=robust_limits(image.values), ticks=False, light_bar=True
    )
    kind = data["pore_kind"]
    shown = kind.astype("float64").where(kind > 0)
    colours = ListedColormap([_KINDS["crack"], _KINDS["crack"], _KINDS["hollow core"]])
    draw_image(axes, shown, colours=colours, limits=(0.5, 3.5), ticks=False, light_bar=True)
    _outlines(axes, data)
    handles = [Line2D([], [], color=c if c != "white" else "0.6", linestyle=s, label=n) for n, c, s in _FLAGS]
    axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=len(handles), frameon=False)
    caption = (
        f"{data['particle_area'].size} particles. Outlines: what each shows; red where it is both cracked and hollow. "
        "Filled: cracks (red) and hollow cores. Particles that the border cuts (dotted) are not in the means. "
        "The first row of the image is at the bottom."
    )
    return Panel("section particles", "Particles of the section", caption, figure)


def _outlines(axes: Axes, data: xr.Dataset) -> None:
    labels = data["particle_label"]
    x, y = (coordinate(labels, dim) for dim in ("x", "y"))
    if x is None or y is None:
        return
    cut, cracked, hollow = (
        np.asarray(data[f"particle_{name}"].values, dtype=bool) for name in ("at_border", "cracked", "hollow")
    )
    groups = (~cut & ~cracked & ~hollow, ~cut & cracked, ~cut & hollow & ~cracked, cut)
    values = labels.values
    for (_, colour, style), members in zip(_FLAGS, groups, strict=True):
        # neighbours that touch must not melt into one outline: even and odd numbers apart would not suffice
        for number in np.flatnonzero(members) + 1:
            at = np.argwhere(values == number)
            (top, left), (bottom, right) = at.min(axis=0), at.max(axis=0) + 1
            window = slice(max(top - 1, 0), bottom + 1), slice(max(left - 1, 0), right + 1)
            mine = (values[window] == number).astype(float)
            if min(mine.shape) > 1 and mine.min() < 1:
                axes.contour(x[window[1]], y[window[0]], mine, [0.5], colors=colour, linestyles=style, linewidths=0.8)


def histograms_panel(data: xr.Dataset) -> Panel | None:
    """Diameters and porosities of the particles of a field."""
    if "particle_porosity" not in data or "mean_porosity" not in data:
        return None
    whole = ~np.asarray(data["particle_at_border"].values, dtype=bool)
    if whole.sum() < 2:
        return None
    figure = new_figure(width=DOUBLE_COLUMN, height=58)
    sizes, pores, both = figure.subplots(1, 3)
    diameter, porosity, std = (
        np.asarray(data[f"particle_{name}"].values)[whole] for name in ("diameter", "porosity", "porosity_std")
    )
    for axes, values in ((sizes, diameter), (pores, porosity)):
        axes.hist(values, bins=_bins(values), color=COLOURS[0], rwidth=0.94)
        axes.set_ylabel("particles")
        axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.margins(y=0.15)
    sizes.set_xlabel(axis_label("diameter of the section", "um"))
    line = mean_line(pores, float(data["mean_porosity"]), COLOURS[1])
    pores.legend([line], [f"mean {_value(data, 'mean_porosity')}"], loc="lower center", bbox_to_anchor=(0.5, 0.98))
    pores.set_xlabel("porosity")
    both.errorbar(diameter, porosity, yerr=std, fmt="o", markersize=2.5, color=COLOURS[0], linewidth=0.7)
    both.set_xlabel(axis_label("diameter of the section", "um"))
    both.set_ylabel("porosity")
    caption = (
        f"{whole.sum()} particles that are whole in the field: diameters of the disks of their areas (a section off "
        "the middle is smaller than the particle), porosities with 68 % intervals. Dashed: mean "
        f"{_value(data, 'mean_porosity')}; spread between particles, measurement taken off, "
        f"{_value(data, 'porosity_spread')}."
    )
    return Panel("particle histograms", "Sizes and porosities", caption, figure)


def _bins(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """About the square root of the number of values."""
    count = int(np.clip(np.sqrt(values.size) * 1.5, 4, 40))
    return np.linspace(float(values.min()), float(values.max()) + 1e-12, count + 1)


def _value(data: xr.Dataset, name: str) -> str:
    """A number of the data with its uncertainty."""
    std = float(data[f"{name}_std"]) if f"{name}_std" in data else None
    return format_value(float(data[name]), std, str(data[name].attrs.get("units", "1")))


def section_numbers(data: xr.Dataset) -> list[Row]:
    """The first numbers of a section or a mosaic."""
    return [
        Row(words, _value(data, name)) for name, words in _NAMES.items() if name in data and np.isfinite(data[name])
    ]
