"""Figures of powder patterns: all of them against temperature, and observed beside calculated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from numpy.typing import NDArray

from cathoscope.report.figures import diffraction_axis as spacing_axis
from cathoscope.report.figures.reading import temperature_name
from cathoscope.report.names import names_along
from cathoscope.report.numbers import count_text
from cathoscope.report.powder import (
    along_temperature,
    at_place,
    bank_names,
    clearest_bank,
    evenly,
    is_powder,
    kind_of,
    percent_words,
    phase_names,
    refined,
    telling_places,
    transitions,
)
from cathoscope.report.style import COLOURS, DOUBLE_COLUMN, Panel, add_colour_bar, new_figure, sequential_colours

Floats = NDArray[np.float64]

_FEWEST = 4  # temperatures of a map
_MOST_BANKS = 4
_CURVES = ("observed", "calculated", "background", "difference")
_TRIED = 60  # temperatures that tell where patterns change


def map_panel(data: xr.Dataset) -> Panel | None:
    """All patterns of a series against temperature, whole and where they change most (Hou, Fig. 3a, b)."""
    if not is_powder(data) or refined(data).size < _FEWEST:
        return None
    bank = clearest_bank(data)
    whole, closer = _ranges(data, bank, refined(data))
    figure = new_figure(width=DOUBLE_COLUMN, height=84)
    ratios = {"height_ratios": [1.0, 0.05 + 0.05 * data.sizes["phase"]], "width_ratios": [1.6, 1.0]}
    upper, lower = figure.subplots(2, 2, sharex="col", gridspec_kw=ratios)
    shown = [_draw_map(axes, data, bank, range_) for axes, range_ in zip(upper, (whole, closer), strict=True)]
    for axes in lower:
        spacing_axis.tick_strip(axes, data, bank)
        axes.set_xlabel(spacing_axis.SPACING_LABEL)
    lower[1].set_yticks([])
    lower[1].locator_params(axis="x", nbins=5)
    upper[0].set_ylabel("temperature (°C)")
    upper[1].tick_params(labelleft=False)
    add_colour_bar(shown[0], list(upper), "root of the intensity")
    lines = " White lines: onset and end of the transition." if transitions(data) else ""
    marks = " Triangles: peaks that no phase explains." if spacing_axis.unexplained(data, bank).size else ""
    caption = (
        f"Patterns of bank {bank_names(data)[bank]} at {count_text(refined(data).size, 'temperature')}, above the "
        "background of the refinements, whole and where they change most; colours go with the square root of the "
        "intensity over its highest. Small ticks on the left: temperatures that were measured. Below: reflections of "
        f"each phase where it is first seen.{lines}{marks}"
    )
    return Panel("patterns-map", "Patterns against temperature", caption, figure)


def _ranges(
    data: xr.Dataset, bank: int, places: Sequence[int] | NDArray[np.int64]
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Spacings from the first to the last peak, and those of a closer look."""
    some = [int(places[one]) for one in evenly(len(places), _TRIED)]
    d = spacing_axis.spacings(data, bank, some[0])
    patterns = np.array([spacing_axis.signal(data, bank, place) for place in some])
    whole = spacing_axis.peak_range(d, patterns)
    return whole, spacing_axis.closer_range(d, patterns, whole)


def _draw_map(axes: Axes, data: xr.Dataset, bank: int, range_: tuple[float, float]) -> ScalarMappable:
    """One map; temperatures that were not refined stay empty."""
    temperature = np.asarray(data["temperature"].values, np.float64)
    edges = spacing_axis.pixels_between(*range_)
    rows = np.array(
        [
            spacing_axis.on_grid(
                spacing_axis.spacings(data, bank, place), spacing_axis.signal(data, bank, place), edges
            )
            for place in range(temperature.size)
        ]
    )
    top = float(np.nanmax(rows)) if np.isfinite(rows).any() else 1.0
    image = np.sqrt(np.clip(rows / max(top, 1e-300), 0.0, 1.0))
    middle = 0.5 * (temperature[1:] + temperature[:-1])
    borders = np.concatenate([[temperature[0]], middle, [temperature[-1]]])
    half = 0.5 * float(np.diff(temperature).min())
    borders += np.concatenate([[-half], np.zeros(middle.size), [half]])
    colours = sequential_colours("magma")
    shown = axes.pcolormesh(edges, borders, image, cmap=colours, vmin=0, vmax=1, rasterized=True)
    for _, *ends in transitions(data):
        for end in ends:
            if np.isfinite(end.value):
                axes.axhline(end.value, color="white", linewidth=0.7, linestyle=(0, (4, 2)))
    axes.set_xlim(*range_)
    axes.set_ylim(borders[0], borders[-1])
    axes.set_yticks(temperature, minor=True)
    spacing_axis.mark_unexplained(axes, spacing_axis.unexplained(data, bank))
    return shown


def refinements_panel(data: xr.Dataset) -> Panel | None:
    """Observed, calculated and their difference: first, most mixed and last temperature (Hou, Fig. 3c, S3, S9)."""
    places = telling_places(data) if is_powder(data) else []
    if len(places) < 2:
        return None
    bank = clearest_bank(data)
    figure = _figure_of(data, [(place, bank) for place in places])
    caption = f"{kind_of(data)} of bank {bank_names(data)[bank]} at telling temperatures. {_drawn(data, [bank])}"
    return Panel("refinements", "Observed and calculated patterns", caption, figure)


def banks_panel(data: xr.Dataset) -> Panel | None:
    """The same of every bank at one temperature."""
    places = telling_places(data) if is_powder(data) else []
    if not places or (len(places) > 1 and data.sizes["bank"] == 1):
        return None
    place = places[len(places) // 2]
    fit = at_place(data, "diffraction_fit", place)
    banks = [bank for bank in range(data.sizes["bank"]) if np.isfinite(fit[bank]).any()][:_MOST_BANKS]
    figure = _figure_of(data, [(place, bank) for bank in banks])
    names, at = [bank_names(data)[bank] for bank in banks], temperature_name(_temperature(data, place))
    together = " together" if len(banks) > 1 else ""
    caption = f"{kind_of(data)} of {', '.join(names)}{together}{' at ' + at if at else ''}. {_drawn(data, banks)}"
    return Panel("refinement-banks", "Observed and calculated patterns of the banks", caption, figure)


def _temperature(data: xr.Dataset, place: int) -> float | None:
    """Temperature of a place, None if it is not known."""
    value = float(np.atleast_1d(along_temperature(data)["temperature"].values)[place])
    return value if np.isfinite(value) else None


def _drawn(data: xr.Dataset, banks: Sequence[int]) -> str:
    """What the lines and marks are, and how the phases are described."""
    groups = data["phase"].attrs.get("space_groups", [])
    names = phase_names(data)
    phases = [f"{name} ({group})" for name, group in zip(names, groups, strict=False)] or names
    free = np.isfinite(along_temperature(data)["refined_number"].values).sum(axis=1)
    many = f"{free.max()} numbers" if free.max() == free.min() else f"{free.min()} to {free.max()} numbers"
    marks = any(spacing_axis.unexplained(data, bank).size for bank in banks)
    return (
        "Points: observed; line: calculated, the parts of the phases filled; dashed: background; below, ticks of the "
        "reflections and the difference, drawn to the same scale, whole and in a closer look. "
        f"Phases: {', '.join(phases)}; {many} refined."
        f"{' Triangles: peaks that no phase explains.' if marks else ''}"
    )


def _figure_of(data: xr.Dataset, rows: Sequence[tuple[int, int]]) -> Any:
    """Rows of a refinement, each whole on the left and closer on the right."""
    figure = new_figure(width=DOUBLE_COLUMN, height=14 + 48 * len(rows))
    grid = figure.subplots(len(rows), 2, squeeze=False, gridspec_kw={"width_ratios": [1.6, 1.0]})
    for (place, bank), pair in zip(rows, grid, strict=True):
        whole, closer = _ranges(data, bank, [place])
        for axes, range_ in zip(pair, (whole, closer), strict=True):
            _draw_refinement(axes, data, (place, bank), range_)
        pair[0].set_title(_quality(data, place, bank), loc="left")
        pair[0].set_ylabel("intensity")
        pair[1].locator_params(axis="x", nbins=5)
    for axes in grid[-1]:
        axes.set_xlabel(spacing_axis.SPACING_LABEL)
    pairs = [axes.get_legend_handles_labels() for axes in grid[:, 0]]
    found = {label: handle for handles, labels in pairs for handle, label in zip(handles, labels, strict=True)}
    labels = [*(name for name in phase_names(data) if name in found), *_CURVES]
    handles = [found[label] for label in labels]
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), columnspacing=1.4, handlelength=1.4)
    return figure


def _quality(data: xr.Dataset, place: int, bank: int) -> str:
    """Temperature, bank, residual and goodness of fit, shares."""
    gof = float(np.atleast_1d(data["goodness_of_fit"].values)[place])
    rwp = 100 * float(at_place(data, "rwp", place)[bank])
    share = at_place(data, "weight_fraction", place)
    at = temperature_name(_temperature(data, place))
    words = [at, bank_names(data)[bank], f"Rwp {rwp:.3g} %", f"GOF {gof:.3g}"]
    words.append(percent_words(names_along(data["weight_fraction"], "phase"), share))
    return "  ·  ".join(word for word in words if word)


def _draw_refinement(axes: Axes, data: xr.Dataset, at: tuple[int, int], range_: tuple[float, float]) -> None:
    """Points, curves, ticks and difference of one pattern in a range."""
    place, bank = at
    d = spacing_axis.spacings(data, bank, place)
    inside = np.isfinite(d) & (d >= range_[0]) & (d <= range_[1])
    names = ("counts", "fit", "background", "difference")
    seen, fit, background, left = (at_place(data, f"diffraction_{name}", place)[bank][inside] for name in names)
    x, order = d[inside], np.argsort(d[inside])
    x, seen, fit, background, left = (one[order] for one in (x, seen, fit, background, left))
    for number, name in enumerate(phase_names(data)):
        part = at_place(data, "diffraction_part", place)[bank, number][inside][order]
        if np.isfinite(part).any():
            options: dict[str, Any] = {"color": spacing_axis.phase_colour(number), "alpha": 0.3, "linewidth": 0}
            axes.fill_between(x, background, background + part, label=name, **options)
    axes.plot(x, seen, ".", color="black", markersize=1.6, markeredgewidth=0, label="observed", rasterized=True)
    axes.plot(x, fit, color=COLOURS[1], linewidth=0.6, label="calculated")
    axes.plot(x, background, color="0.45", linewidth=0.7, linestyle=(0, (4, 2)), label="background")
    low, high = float(np.nanmin(np.append(seen, background))), float(np.nanmax(np.append(seen, fit)))
    _draw_below(axes, data, at, (low, high), (x, left))
    axes.set_xlim(*range_)
    axes.set_yticks([])
    spacing_axis.mark_unexplained(axes, spacing_axis.unexplained(data, bank))


def _draw_below(
    axes: Axes, data: xr.Dataset, at: tuple[int, int], limits: tuple[float, float], left: tuple[Floats, Floats]
) -> None:
    """Ticks of the phases that are there, and the difference, below the lowest point."""
    (low, high), (x, difference) = limits, left
    unit = 0.055 * (high - low)
    level = low - 0.6 * unit
    for number in range(data.sizes["phase"]):
        found = spacing_axis.reflections(data, at[1], number, at[0])
        if found.size and np.isfinite(at_place(data, "diffraction_part", at[0])[at[1], number]).any():
            spacing_axis.draw_ticks(axes, found, number, (level - 0.8 * unit, level))
            level -= unit
    middle = level - 0.4 * unit - max(float(np.nanmax(difference, initial=0.0)), 0.0)
    axes.axhline(middle, color="0.6", linewidth=0.5)
    axes.plot(x, middle + difference, color="0.3", linewidth=0.5, label="difference")
    axes.set_ylim(middle + min(float(np.nanmin(difference, initial=0.0)), 0.0) - 0.5 * unit, high + unit)
