"""Figures of slices after every cycle: pores through the series, porosity against cycle, samples side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from numpy.typing import NDArray

from cathoscope.report.figures.images import draw_image
from cathoscope.report.figures.reading import coordinate, draws
from cathoscope.report.figures.state_curves import ParticleResult
from cathoscope.report.numbers import Row, format_value, plain_number
from cathoscope.report.style import (
    COLOURS,
    DOUBLE_COLUMN,
    MARKERS,
    Panel,
    add_colour_bar,
    add_legend,
    add_legend_above,
    axis_label,
    new_figure,
    sequential_colours,
)

Floats = NDArray[np.float64]

_SHOWN = 5  # slices
_BARS = 12  # of the points, bars that are drawn: those of neighbours are the same
_APART = 2.0  # standard uncertainties by which two samples are told apart


def slices_panel(data: xr.Dataset) -> Panel | None:
    """Pores and outline of a few slices from the first cycle to the last (Cadiou, Fig. 3b, d)."""
    if not all(draws(data, name, "cycle", "y", "x") for name in ("slice_pores", "slice_outline")):
        return None
    cycles, porosity = _along(data, "cycle"), _along(data, "slice_porosity")
    good = np.flatnonzero(np.isfinite(porosity))
    if not good.size:
        return None
    chosen = good[np.unique(np.linspace(0, good.size - 1, min(_SHOWN, good.size)).round().astype(int))]
    figure = new_figure(width=DOUBLE_COLUMN, height=DOUBLE_COLUMN / max(chosen.size, 3) + 6)
    row = list(np.atleast_1d(figure.subplots(1, chosen.size)))
    shown = None
    for axes, index in zip(row, chosen, strict=True):
        pores, outline = (data[name].isel(cycle=int(index)).load() for name in ("slice_pores", "slice_outline"))
        shown = draw_image(
            axes,
            pores.where(outline.values),
            colours=sequential_colours("gray"),
            limits=(0.0, 1.0),
            ticks=False,
            light_bar=True,
        )
        axes.set_facecolor("#5a6b7b")
        _outline(axes, outline)
        axes.set_title(f"cycle {cycles[index]:g}: {100 * porosity[index]:.1f} %", fontsize=7.5)
    if shown is not None:
        add_colour_bar(shown, row, "share of pore", shrink=0.7)
    caption = (
        "Share of pore in slices through the series, white being pore and black oxide, within the outer surface "
        "(line), which is closed over open cracks. Every slice lies deeper than the one before. Above each: its cycle "
        "and the porosity of this very section."
    )
    return Panel("slices", "Slices through the series", caption, figure)


def _outline(axes: Axes, outline: xr.DataArray) -> None:
    """Line along the outer surface."""
    x, y = (coordinate(outline, dim) for dim in ("x", "y"))
    if x is not None and y is not None and outline.values.any() and not outline.values.all():
        axes.contour(x, y, outline.values.astype(float), levels=[0.5], colors=COLOURS[4], linewidths=0.6)


def porosity_panel(data: xr.Dataset) -> Panel | None:
    """Porosity against cycle: of the particle, of its sections, and by a threshold (Cadiou, Fig. 3a, c)."""
    if "porosity_trend" not in data or not draws(data, "porosity", "cycle"):
        return None
    figure = new_figure(width=DOUBLE_COLUMN, height=64)
    left, right = figure.subplots(1, 2, sharey=True)
    _draw_series(left, data, "porosity", COLOURS[0], "particle, each slice")
    _draw_trend(left, data, "porosity_trend", COLOURS[0])
    _mark_asked(left, data)
    left.set_ylabel("porosity")
    _draw_series(right, data, "slice_porosity", COLOURS[1], "section, grey levels")
    _draw_trend(right, data, "slice_porosity_trend", COLOURS[1])
    _draw_series(right, data, "threshold_porosity", COLOURS[6], "section, threshold")
    for axes in (left, right):
        axes.set_xlabel(axis_label("cycle", "1"))
        axes.set_ylim(bottom=0)
        add_legend_above(axes)
    family = str(data["porosity_trend"].attrs.get("family", ""))
    independent = float(data["independent_slices"]) if "independent_slices" in data else np.nan
    caption = (
        "Left: porosity of the whole particle from each slice, every ring of the section standing for a shell; bars "
        "are 68 % intervals, mostly because one section is seen, and neighbouring slices share them (about "
        f"{independent:.1f} independent slices). Line: {family} curve with its 68 % band; cross: what the recipe "
        "asks for. Right: porosity of the very sections, which show the core too large, and the same by a threshold "
        "half-way between void and oxide with its band."
    )
    return Panel("porosity-cycles", "Porosity against cycle", caption, figure)


def _draw_series(axes: Axes, data: xr.Dataset, name: str, colour: str, words: str) -> None:
    """All values as points, with bars at some of them."""
    if name not in data:
        return
    cycle, values, std = _along(data, "cycle"), _along(data, name), _along(data, f"{name}_std")
    axes.plot(cycle, values, linestyle="none", marker="o", markersize=2, color=colour, alpha=0.7)
    some = np.unique(np.linspace(0, cycle.size - 1, min(_BARS, cycle.size)).round().astype(int))
    axes.errorbar(
        cycle[some],
        values[some],
        yerr=std[some],
        fmt="o",
        markersize=3,
        color=colour,
        markerfacecolor="white",
        label=words,
    )


def _draw_trend(axes: Axes, data: xr.Dataset, name: str, colour: str) -> None:
    """The fitted curve with its band."""
    cycle, values, std = _along(data, "cycle"), _along(data, name), _along(data, f"{name}_std")
    axes.plot(cycle, values, color=colour, linewidth=1.2)
    axes.fill_between(cycle, values - std, values + std, color=colour, alpha=0.18, linewidth=0)


def _mark_asked(axes: Axes, data: xr.Dataset) -> None:
    """Where the curve reaches the porosity asked for, with its interval."""
    found = _reached(data)
    if found is None or not np.isfinite(found[1:3]).any():
        return
    level, value, low, high = found
    left, right = axes.get_xlim()
    if not np.isfinite(value):  # beyond what the series tells: it is not reached before the lower end
        axes.annotate("", (right, level), (low, level), arrowprops={"arrowstyle": "->", "color": COLOURS[6]})
        words = f"{100 * level:.3g} % after cycle {low:.0f}"
        axes.plot([low], [level], "|", color=COLOURS[6], label=words)
        return
    axes.set_xlim(right=max(right, value + 0.02 * (right - left)))
    span = np.clip([low, high], *axes.get_xlim())
    axes.errorbar(
        [value],
        [level],
        xerr=[[value - span[0]], [span[1] - value]],
        fmt="x",
        color=COLOURS[6],
        label=f"reaches {100 * level:.3g} %",
    )


def _reached(data: xr.Dataset) -> tuple[float, float, float, float] | None:
    """Porosity asked for, the cycle at which it is reached, and the ends of its interval; None if not asked."""
    names = ("asked_porosity", "cycle_of_porosity", "cycle_of_porosity_low", "cycle_of_porosity_high")
    if not all(name in data for name in names):
        return None
    level, value, low, high = (float(data[name].values) for name in names)
    return level, value, low, high


def series_panel(results: Sequence[ParticleResult]) -> Panel | None:
    """Porosity against cycle of several samples, each particle with its band (Cadiou, Fig. 3)."""
    usable = [each for each in results if "porosity_trend" in each.data]
    if len(usable) < 2:
        return None
    figure = new_figure(width=DOUBLE_COLUMN * 0.62, height=70)
    axes = figure.subplots()
    samples = list(dict.fromkeys(each.sample for each in usable))
    for number, each in enumerate(usable):
        colour = COLOURS[samples.index(each.sample) % len(COLOURS)]
        marker = MARKERS[[other for other in usable if other.sample == each.sample].index(each) % len(MARKERS)]
        cycle, values = _along(each.data, "cycle"), _along(each.data, "porosity")
        axes.plot(cycle, values, linestyle="none", marker=marker, markersize=2, color=colour, alpha=0.6)
        _draw_trend(axes, each.data, "porosity_trend", colour)
        words = f"{each.sample}, particle {each.particle}" if each.particle else each.sample
        _bar(axes, each.data, colour, MARKERS[number % len(MARKERS)], words)
    axes.set_xlabel(axis_label("cycle", "1"))
    axes.set_ylabel("porosity of the particle")
    axes.set_ylim(bottom=0)
    add_legend(axes, loc="upper left")
    caption = (
        "Porosity of whole particles from one slice after every cycle; small points: each slice; lines: curves with "
        "their 68 % bands; large points: the value at the cycle that the recipe asks for."
        f"{_words(usable)}"
    )
    return Panel("porosity-samples", "Porosity of the samples against cycle", caption, figure)


def _bar(axes: Axes, data: xr.Dataset, colour: str, marker: str, words: str) -> None:
    """The value at the cycle asked for."""
    value = _scalars(data, "asked_cycle", "porosity_at_cycle", "porosity_at_cycle_std")
    if value is None:
        axes.plot([], [], color=colour, label=words)
        return
    options: dict[str, Any] = {"fmt": marker, "color": colour, "markerfacecolor": "white", "capsize": 3, "zorder": 4}
    axes.errorbar([value[0]], [value[1]], yerr=[value[2]], label=words, **options)


def _scalars(data: xr.Dataset, *names: str) -> list[float] | None:
    """Numbers of these names; None if one is missing or no number."""
    if not all(name in data for name in names):
        return None
    values = [float(data[name].values) for name in names]
    return values if np.isfinite(values).all() else None


def _words(results: Sequence[ParticleResult]) -> str:
    """Every particle's value, and whether two particles are told apart that are the only ones of their samples."""
    words: list[str] = []
    values: dict[str, list[float]] = {}
    several = len(results) > len({each.sample for each in results})
    for each in results:
        found = _scalars(each.data, "asked_cycle", "porosity_at_cycle", "porosity_at_cycle_std")
        if found is not None:
            values.setdefault(each.sample, found)
            particle = f", particle {each.particle}" if several else ""
            words.append(f" {each.sample}{particle}, cycle {found[0]:g}: {format_value(found[1], found[2], '1')}.")
    pair = list(values.items())[:2]
    if not several and len(pair) == 2 and pair[0][1][0] == pair[1][1][0]:
        (first, one), (second, other) = pair
        difference, std = one[1] - other[1], float(np.hypot(one[2], other[2]))
        told = "are told apart" if abs(difference) > _APART * std else "cannot be told apart"
        by = format_value(difference, std, "1").replace("-", "−")
        words.append(f" {first} minus {second}: {by}; they {told}.")
    return "".join(words)


def slice_numbers(data: xr.Dataset) -> list[Row]:
    """The first numbers of a series of slices."""
    rows = []
    found = _scalars(data, "asked_cycle", "porosity_at_cycle", "porosity_at_cycle_std")
    if found is not None:
        rows.append(Row(f"porosity of the particle, cycle {found[0]:g}", format_value(found[1], found[2], "1")))
        section = data.get("slice_porosity_trend")
        if section is not None:
            cycle = _along(data, "cycle")
            pair = [
                float(np.interp(found[0], cycle, _along(data, f"slice_porosity_trend{end}"))) for end in ("", "_std")
            ]
            rows.append(Row(f"porosity of the section, cycle {found[0]:g}", format_value(pair[0], pair[1], "1")))
    reached = _reached(data)
    if reached is not None:
        rows.append(Row(f"cycle of {100 * reached[0]:.3g} % porosity", _reached_words(*reached[1:])))
    return rows


def _reached_words(value: float, low: float, high: float) -> str:
    """``42.1 (40.7 to 43.6)``, or that it is not reached."""
    if np.isnan(value):
        return "not reached"
    outside = "earlier than the first slice" if low == -np.inf else "later than the last slice"
    first = outside if np.isinf(value) else plain_number(float(f"{value:.3g}"))
    ends = [plain_number(float(f"{end:.3g}")) if np.isfinite(end) else "beyond the series" for end in (low, high)]
    return f"{first} ({ends[0]} to {ends[1]})"


def _along(data: xr.Dataset, name: str) -> Floats:
    """Values along the cycles; NaN where the array is missing."""
    if name not in data.variables:
        return np.full(data.sizes["cycle"], np.nan)
    return np.asarray(data[name].values, dtype=np.float64)


def stack_panel(data: xr.Dataset) -> Panel | None:
    """A corrected stack: share of oxide in the middle slice, and in a plane across all slices."""
    if not draws(data, "oxide_share", "z", "y", "x"):
        return None
    share = data["oxide_share"]
    planes = [share.isel({dim: share.sizes[dim] // 2}).load() for dim in ("z", "y")]
    extent = [abs(float(share[dim][-1] - share[dim][0])) for dim in ("z", "y", "x")]
    height = DOUBLE_COLUMN * 0.42 * max(extent[0], extent[1]) / extent[2] + 14
    figure = new_figure(width=DOUBLE_COLUMN, height=float(np.clip(height, 40, 100)))
    panels, grey = list(figure.subplots(1, 2)), sequential_colours("gray")
    shown = [
        draw_image(axes, plane, colours=grey, limits=(0.0, 1.0), ticks=False, light_bar=True)
        for axes, plane in zip(panels, planes, strict=True)
    ]
    for axes, words in zip(panels, ("middle slice", "across the slices"), strict=True):
        axes.set_title(words)
    add_colour_bar(shown[0], panels, axis_label("share of oxide", "1"))
    words = ""
    if "slice_porosity" in data and "slice_porosity_std" in data:
        found = format_value(float(data["slice_porosity"]), float(data["slice_porosity_std"]), "1")
        words = f" Porosity of the sections together: {found}."
    caption = (
        f"The stack of {share.sizes['z']} slices, aligned and corrected: share of oxide of every voxel, in the middle "
        f"slice and in a plane along the direction of cutting.{words}"
    )
    return Panel("oxide-share", "Stack", caption, figure)
