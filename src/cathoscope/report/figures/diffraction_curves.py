"""Figures of refined numbers against temperature: cells, shares, sites, domains, quality, expansion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cathoscope.report.figures.diffraction_axis import phase_colour, phase_look
from cathoscope.report.numbers import format_value
from cathoscope.report.powder import (
    Curve,
    bank_names,
    curve_of,
    curves_of,
    edges_of,
    is_powder,
    phase_names,
    refined,
    title_of,
    transitions,
)
from cathoscope.report.style import COLOURS, DOUBLE_COLUMN, MARKERS, Panel, add_legend, axis_label, new_figure

_FEWEST = 3  # temperatures of a curve
_MANY = 30  # points, from which they are drawn small
_SITES = ("antisite", "lithium_occupancy", "oxygen_occupancy")
_DOMAINS = ("domain_size", "domain_aspect", "microstrain")
_WEAK_WORDS = "Bars that leave the frame belong to phases of which there is little."


def is_series(data: xr.Dataset) -> bool:
    """Whether there are enough temperatures for a curve."""
    return is_powder(data) and "temperature" in data["weight_fraction"].dims and refined(data).size >= _FEWEST


def draw_curve(
    axes: Axes, curve: Curve, look: tuple[str, str], words: str | None, determined: NDArray[np.bool_] | None = None
) -> None:
    """Points of a colour and marker with their bars; those that tell little are pale."""
    (colour, marker), size = look, 3.2 if curve.there.sum() < _MANY else 1.8
    sound = curve.determined if determined is None else determined
    for good, alpha in ((sound, 1.0), (curve.there & ~sound, 0.3)):
        if good.any():
            std = np.where(np.isfinite(curve.std[good]), curve.std[good], 0.0)
            axes.errorbar(
                curve.temperature[good],
                curve.values[good],
                yerr=std,
                fmt=marker,
                markersize=size,
                elinewidth=0.7,
                capsize=0 if size < 3 else 1.5,
                color=colour,
                alpha=alpha,
                markerfacecolor="white" if size > 3 else colour,
                label=words if alpha == 1.0 else None,
            )


def fit_limits(axes: Axes, curves: Sequence[Curve]) -> None:
    """Limits by the values that tell something."""
    ends = [
        one
        for curve in curves
        for good in [curve.determined]
        for sign in (-1, 1)
        for one in (curve.values[good] + sign * np.nan_to_num(curve.std[good])).tolist()
    ]
    if ends:
        low, high = min(ends), max(ends)
        margin = 0.08 * (high - low) if high > low else max(0.05 * abs(high), 1e-6)
        axes.set_ylim(low - margin, high + margin)


def mark_transition(axes: Axes, data: xr.Dataset) -> None:
    """A grey band from onset to end of the change of the phases, darker over the intervals of both."""
    left, right = axes.get_xlim()
    for _, onset, end in transitions(data):
        first, last = np.clip(np.nan_to_num([onset.value, end.value], nan=left, neginf=left), left, right)
        axes.axvspan(first, last, color="0.92", linewidth=0, zorder=0)
        for place in (onset, end):
            if np.isfinite(place.value):
                low, high = np.clip(np.nan_to_num([place.low, place.high], neginf=left), left, right)
                axes.axvspan(low, high, color="0.8", linewidth=0, zorder=0.1)
    axes.set_xlim(left, right)


def _transition_words(data: xr.Dataset) -> str:
    """What the grey bands are, with numbers."""
    found = transitions(data)
    if not found:
        return ""
    words = [f"{' and '.join(names)} from {onset.words} to {end.words}" for names, onset, end in found]
    return f" Grey: change of {'; of '.join(words)}, its ends darker over their 68 % intervals."


def legend_above(figure: Figure, grid: Sequence[Axes]) -> None:
    """One legend of all that any of the axes shows, above everything."""
    found: dict[str, Any] = {}
    for axes in grid:
        handles, labels = axes.get_legend_handles_labels()
        found |= dict(zip(labels, handles, strict=True))
    if len(found) > 1:
        options: dict[str, Any] = {"loc": "outside upper center", "ncols": len(found), "columnspacing": 2.0}
        figure.legend(list(found.values()), list(found), **options)


def _finish(figure: Figure, grid: Sequence[Axes], data: xr.Dataset) -> None:
    """Temperature below, the transition behind, a legend above."""
    temperature = np.asarray(data["temperature"].values, np.float64)
    margin = 0.03 * max(float(np.ptp(temperature)), 1.0)
    for axes in grid:
        axes.set_xlim(temperature.min() - margin, temperature.max() + margin)
        axes.set_xlabel("temperature (°C)")
        mark_transition(axes, data)
    legend_above(figure, grid)


def cells_panel(data: xr.Dataset) -> Panel | None:
    """Edges and volume of the cell of every phase against temperature (Hou, Fig. 3d, e)."""
    if not is_series(data):
        return None
    wanted = []
    for number in range(data.sizes["phase"]):
        edges = edges_of(data, number)
        wanted += [(number, name) for name in (*edges, *(["cell_volume"] if len(edges) > 1 else []))]
    if not wanted:
        return None
    figure, grid = axes_grid(len(wanted))
    for axes, (number, name) in zip(grid, wanted, strict=True):
        curve = curve_of(data, name, number)
        if curve is not None:
            draw_curve(axes, curve, phase_look(number), curve.phase)
            fit_limits(axes, [curve])
        words, unit = title_of(name)
        axes.set_ylabel(axis_label(f"{words} of {phase_names(data)[number]}", unit))
    _finish(figure, grid, data)
    caption = (
        "Cells of the phases with standard uncertainties of counting, widened where peaks are missed locally. Pale: "
        f"hardly determined. {_WEAK_WORDS}{_transition_words(data)}"
    )
    return Panel("cells", "Unit cells against temperature", caption, figure)


def axes_grid(n: int) -> tuple[Figure, list[Axes]]:
    """``n`` axes in rows of three at most."""
    columns = n if n < 4 else 2 if n == 4 else 3
    rows = -(-n // columns)
    figure = new_figure(width=DOUBLE_COLUMN if columns > 1 else 100, height=8 + 50 * rows)
    grid = figure.subplots(rows, columns, squeeze=False)
    flat = list(grid.ravel())
    for axes in flat[n:]:
        axes.remove()
    return figure, flat[:n]


def _several_panel(data: xr.Dataset, names: Sequence[str]) -> tuple[Figure, list[Axes]] | None:
    """Axes of quantities with a curve for every phase that has it; None if none has."""
    there = [name for name in names if curves_of(data, name)] if is_series(data) else []
    if not there:
        return None
    figure, grid = axes_grid(len(there))
    for axes, name in zip(grid, there, strict=True):
        curves = curves_of(data, name)
        for curve in curves:
            draw_curve(axes, curve, phase_look(curve.number), curve.phase)
        fit_limits(axes, curves)
        words, unit = title_of(name)
        axes.set_ylabel(axis_label(words, unit))
    _finish(figure, grid, data)
    return figure, grid


def fractions_panel(data: xr.Dataset) -> Panel | None:
    """Weight fractions against temperature with the curve of the transition (Hou, Fig. 3f)."""
    if not is_series(data) or data.sizes["phase"] < 2:
        return None
    figure = new_figure(width=110, height=66)
    axes = figure.subplots()
    for curve in curves_of(data, "weight_fraction"):
        draw_curve(axes, curve, phase_look(curve.number), curve.phase)
        trend = curve_of(data, "weight_fraction_trend", curve.number)
        if trend is not None:
            axes.plot(trend.temperature, trend.values, color=phase_colour(curve.number), linewidth=0.8)
    axes.set_ylim(-0.04, 1.04)
    axes.set_ylabel("weight fraction")
    _finish(figure, [axes], data)
    caption = (
        "Share of the crystalline mass of every phase; a phase that the pattern does not support is zero. Lines: the "
        f"curve of which onset and end are read, 5 % and 95 % of the change.{_transition_words(data)}"
    )
    return Panel("fractions", "Weight fractions against temperature", caption, figure)


def sites_panel(data: xr.Dataset) -> Panel | None:
    """Mixing and occupancies against temperature (Hou, Fig. 3g)."""
    made = _several_panel(data, _SITES)
    if made is None:
        return None
    caption = f"What fills the sites of the phases. Pale: hardly determined. {_WEAK_WORDS}{_transition_words(data)}"
    return Panel("sites", "Mixing and occupancies against temperature", caption, made[0])


def domains_panel(data: xr.Dataset) -> Panel | None:
    """Size, shape and strain of the coherent domains against temperature (Hou, Fig. 3h, i)."""
    made = _several_panel(data, _DOMAINS)
    if made is None:
        return None
    shape = " Length along the axis over that across it: above 1 for rods." if curves_of(data, "domain_aspect") else ""
    caption = (
        "Coherent domains across their axis (Scherrer, K = 1), and the full width of the relative spread of lattice "
        f"spacings (Stokes and Wilson).{shape} Pale: hardly determined. {_WEAK_WORDS}{_transition_words(data)}"
    )
    return Panel("domains", "Size, shape and strain of the domains", caption, made[0])


def quality_panel(data: xr.Dataset) -> Panel | None:
    """Residuals and goodness of fit against temperature."""
    if not is_series(data):
        return None
    figure = new_figure(width=DOUBLE_COLUMN, height=56)
    left, right = figure.subplots(1, 2)
    temperature = np.asarray(data["temperature"].values, np.float64)
    for row, name in enumerate(bank_names(data)):
        values = 100 * np.asarray(data["rwp"].values[:, row], np.float64)
        options = {"marker": MARKERS[row % len(MARKERS)], "linewidth": 0.7, "markersize": 2.4}
        left.plot(temperature, values, color=COLOURS[row % len(COLOURS)], label=name, **options)
    gof = np.asarray(data["goodness_of_fit"].values, np.float64)
    flags = np.asarray(data["refinement_flag"].values)
    right.axhline(1.0, color="0.6", linewidth=0.7)
    right.plot(temperature, gof, color="black", linewidth=0.7)
    words = data["refinement_flag"].attrs.get("flag_meanings", "").split()
    for flag in np.unique(flags[np.isfinite(gof)]):
        here = (flags == flag) & np.isfinite(gof)
        label = words[flag] if flag < len(words) else str(flag)
        style = {"linestyle": "none", "marker": MARKERS[flag % len(MARKERS)], "color": COLOURS[flag % len(COLOURS)]}
        right.plot(temperature[here], gof[here], label=label, markersize=3, **style)
    left.set_ylabel("Rwp (%)")
    left.set_ylim(bottom=0)
    right.set_ylabel("goodness of fit")
    add_legend(left)
    if (flags[np.isfinite(gof)] > 0).any():
        add_legend(right)
    _below([left, right], data)
    caption = (
        "Weighted profile residual of each bank, and goodness of fit, which is 1 where nothing but noise is left; "
        "its marks say how the refinements ended."
    )
    return Panel("fit-quality", "Quality of the refinements", caption, figure)


def _below(grid: Sequence[Axes], data: xr.Dataset) -> None:
    for axes in grid:
        axes.margins(x=0.03)
        axes.set_xlabel("temperature (°C)")
        mark_transition(axes, data)


def expansion_panel(data: xr.Dataset) -> Panel | None:
    """Relative change of the edges of the cells, and the lines whose slope is the expansion."""
    if not is_series(data) or "thermal_expansion" not in data:
        return None
    wanted = [(number, edges_of(data, number)) for number in range(data.sizes["phase"])]
    wanted = [(number, edges) for number, edges in wanted if edges]
    if not np.isfinite(data["thermal_expansion"].values).any() or not wanted:
        return None
    figure, grid = axes_grid(len(wanted))
    words = []
    for axes, (number, edges) in zip(grid, wanted, strict=True):
        words += _draw_expansion(axes, data, number, edges)
        axes.set_ylabel(f"change of {phase_names(data)[number]} (10⁻³)")
        add_legend(axes, loc="best")
    _below(grid, data)
    caption = (
        "Edges of the cells over their first value, and lines through the temperatures off the transition: linear "
        f"expansion {'; '.join(words)}.{_transition_words(data)}"
    )
    return Panel("expansion", "Thermal expansion", caption, figure)


def _draw_expansion(axes: Axes, data: xr.Dataset, number: int, edges: Sequence[str]) -> list[str]:
    """Edges of one phase; what their slopes are."""
    words = []
    for row, name in enumerate(edges):
        curve, place = curve_of(data, name, number), ("lattice_a", "lattice_b", "lattice_c").index(name)
        if curve is None or not curve.determined.any():
            continue
        good = curve.determined
        first = curve.values[good][0]
        change = Curve(
            name, curve.phase, number, curve.temperature, 1e3 * (curve.values / first - 1), 1e3 * curve.std / first
        )
        draw_curve(axes, change, (COLOURS[row], MARKERS[row]), title_of(name)[0], good)
        slope, std = (float(data[f"thermal_expansion{end}"].values[number, place]) for end in ("", "_std"))
        if np.isfinite(slope):
            _draw_slope(axes, data, change, (slope, COLOURS[row]))
            words.append(f"{title_of(name)[0]} of {curve.phase} {format_value(1e6 * slope, 1e6 * std, '1')} · 10⁻⁶/K")
    return words


def _draw_slope(axes: Axes, data: xr.Dataset, change: Curve, line: tuple[float, str]) -> None:
    """The line of an expansion where it was fitted: below the onset, or above the end, of all changes."""
    found = transitions(data)
    below = change.there & (change.temperature < min((onset.low for _, onset, _ in found), default=np.inf))
    above = change.there & (change.temperature > max((end.high for _, _, end in found), default=np.inf))
    part = below if below.sum() > 1 else above
    if part.sum() < 2:
        return
    x, y = change.temperature[part], change.values[part]
    slope, colour = line
    axes.plot(x, y.mean() + 1e3 * slope * (x - x.mean()), color=colour, linewidth=0.9)


def models_panel(data: xr.Dataset) -> Panel | None:
    """Models of size and strain compared (Hou, S11)."""
    if "size_model_bic" not in data or not np.isfinite(data["size_model_bic"].values).any():
        return None
    names = list(data["size_model"].attrs.get("names", []))
    figure = new_figure(width=110, height=14 + 9 * len(names))
    axes = figure.subplots()
    rows = np.arange(len(names))
    phases = [n for n in range(data.sizes["phase"]) if np.isfinite(data["size_model_bic"].values[n]).any()]
    thick = 0.8 / len(phases)
    for at, number in enumerate(phases):
        values = np.asarray(data["size_model_bic"].values[number], np.float64)
        place = rows + thick * (at - 0.5 * (len(phases) - 1))
        axes.barh(place, values, height=0.9 * thick, color=phase_colour(number), label=phase_names(data)[number])
        for y, value in zip(place, values, strict=True):
            axes.text(value, y, f" {value:.0f}" if value > 0 else " best", va="center", fontsize=7)
    axes.set_yticks(rows, names)
    axes.invert_yaxis()
    axes.set_xscale("symlog", linthresh=10)
    axes.set_xlim(0, 4 * max(float(np.nanmax(data["size_model_bic"].values)), 10.0))
    axes.set_xlabel("information criterion (BIC) above the best")
    add_legend(axes, loc="lower right")
    caption = (
        "Bayesian information criterion of each model of size and strain of a phase, summed over a few temperatures, "
        "above that of the best; a difference of less than 2 tells nothing, one above 10 decides. Isotropic strain is "
        "refined with all but none and stephens; the axis of uniaxial sizes is stated as hkl."
    )
    return Panel("size-models", "Which shape of the domains do the patterns support?", caption, figure)
