"""Figures of bulk spectra: the normalised spectra with their edges, and every edge with its uncertainty."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from cathoscope.report.figures.reading import draws
from cathoscope.report.names import names_along, remarks_of
from cathoscope.report.numbers import count_text, format_value
from cathoscope.report.style import (
    COLOURS,
    DOUBLE_COLUMN,
    Panel,
    add_colour_bar,
    axis_label,
    new_figure,
    ordered_colours,
)

EDGES = {
    "half_height_edge": "half-height edge",
    "derivative_edge": "derivative edge",
    "integral_edge": "integral edge",
    "white_line_energy": "white line",
}
# More spectra than this are told apart by a colour scale, not by a legend.
_MOST_NAMES = len(COLOURS)
# Labels that order spectra, with their unit.
_ORDERINGS = {"voltage": "V", "temperature": "degC", "cycle": "1"}
_BEFORE, _AFTER = 25.0, 60.0  # eV about the edge, the region of the near-edge structure
_WHOLE_BEFORE, _WHOLE_AFTER = 200.0, 400.0  # eV about the edge; far beyond, the normalisation means nothing
_MOST_ROWS = 60  # more spectra than this are rows without a name
_NO_ORDER = "black"  # no colour of the scale
_MOST_VALUES = 6  # of a colour scale with a tick each
_SAME = 0.02  # of an edge step: curves nearer than this hide one another
_WIDEST, _THINNEST = 2.4, 0.7  # points
_MOST_DIGITS = 18  # of all ticks of one narrow axis


@dataclass(frozen=True)
class SpectrumColours:
    """Colour of every spectrum, and the colour scale if there are too many for names."""

    names: list[str]
    colours: list[Any]
    scale: ScalarMappable | None
    label: str
    missing: int
    ticks: tuple[float, ...] = ()

    @property
    def words(self) -> str:
        """What the colours say, if they are a scale."""
        if self.scale is None:
            return ""
        black = f", black where it is not known ({self.missing})" if self.missing else ""
        return f" The colour is the {self.label.partition(' (')[0]}{black}."


def spectrum_colours(array: xr.DataArray) -> SpectrumColours:
    """One colour each for a few spectra; for many a scale of what orders them (voltage, temperature), else of place."""
    names = names_along(array, "spectrum")
    if len(names) <= _MOST_NAMES:
        return SpectrumColours(names, list(COLOURS[: len(names)]), None, "", 0)
    values, label = _ordering(array, len(names))
    known = values[np.isfinite(values)]
    scale = ScalarMappable(Normalize(known.min(), known.max()), ordered_colours())
    drawn = scale.to_rgba(np.nan_to_num(values, nan=known[0]))
    colours: list[Any] = [
        tuple(row) if np.isfinite(value) else _NO_ORDER for row, value in zip(drawn, values, strict=True)
    ]
    distinct = np.unique(known)
    ticks = tuple(distinct.tolist()) if distinct.size <= _MOST_VALUES else ()
    return SpectrumColours(names, colours, scale, label, len(names) - known.size, ticks)


def _ordering(array: xr.DataArray, n: int) -> tuple[NDArray[np.float64], str]:
    labels = array["spectrum"].attrs.get("labels", {}) if "spectrum" in array.coords else {}
    for name, unit in _ORDERINGS.items():
        stated = [value if isinstance(value, int | float) else np.nan for value in labels.get(name, [])]
        values = np.array(stated, np.float64)
        if values.size == n and np.unique(values[np.isfinite(values)]).size > 1:
            return values, axis_label(name, unit)
    return np.arange(1.0, n + 1), "number of the spectrum"


def spectra_panel(data: xr.Dataset) -> Panel | None:
    """Normalised absorption against energy, with the edge at half height and the white line."""
    points = ("spectrum", "point")
    if not all(draws(data, name, *points) for name in ("normalised_absorption", "scan_energy")):
        return None
    energy, curves = data["scan_energy"].values, data["normalised_absorption"].values
    if not (np.isfinite(energy) & np.isfinite(curves)).any():
        return None
    look = spectrum_colours(data["normalised_absorption"])
    near, whole = _near_edge(data, energy)
    figure = new_figure(width=DOUBLE_COLUMN, height=66 + (0 if look.scale else 4.5 * len(look.names) / 2))
    grid = figure.subplots(1, 1, squeeze=False) if near is None else figure.subplots(1, 2, width_ratios=(2, 3))
    views: list[Axes] = list(np.ravel(grid))
    widths = _line_widths(energy, curves, near or whole)
    for axes in views:
        _draw_curves(axes, energy, curves, look, widths)
        axes.locator_params(axis="x", nbins=5 if len(views) > 1 else 10)
    scaled = _scaling(data)
    views[0].set_ylabel("absorption over its maximum" if scaled else "normalised absorption")
    if whole is not None:
        _zoom(views[0], whole, energy, curves)
    marked = _mark_edges(views[-1], data, look)
    if near is not None:
        _zoom(views[-1], near, energy, curves)
    _tell_apart(figure, views, look, marked)
    caption = (
        f"{'Absorption over its maximum' if scaled else 'Normalised absorption'} of "
        f"{count_text(len(look.names), 'spectrum')} against photon energy{_calibration(data)}"
        f"{'; right, the edge' if near is not None else ''}.{_cut_words(whole, energy)} {_mark_words(marked)}"
        f"{look.words}{_same_words(widths)}{scaled}"
    )
    return Panel("bulk-spectra", "Bulk spectra", caption, figure)


def _draw_curves(
    axes: Axes, energy: NDArray[Any], curves: NDArray[Any], look: SpectrumColours, widths: list[float]
) -> None:
    for one, curve, colour, name, width in zip(energy, curves, look.colours, look.names, widths, strict=True):
        axes.plot(one, curve, color=colour, label=short_name(name), linewidth=width)
    axes.set_xlabel("energy (eV)")


def _near_edge(data: xr.Dataset, energy: NDArray[Any]) -> tuple[tuple[float, float] | None, tuple[float, float] | None]:
    """Energies about the edge, and those of the normalisation, each if the spectra go far beyond them."""
    edges = [data[name].values for name in EDGES if draws(data, name, "spectrum")]
    known = np.concatenate([values[np.isfinite(values)] for values in edges]) if edges else np.zeros(0)
    if not known.size:
        return None, None
    first, last = float(np.nanmin(energy)), float(np.nanmax(energy))
    low, high = float(known.min()) - _BEFORE, float(known.max()) + _AFTER
    near = (low, high) if last - first > 1.6 * (high - low) else None
    low, high = max(first, float(known.min()) - _WHOLE_BEFORE), min(last, float(known.max()) + _WHOLE_AFTER)
    return near, (low, high) if last - first > 1.2 * (high - low) else None


def _line_widths(energy: NDArray[Any], curves: NDArray[Any], view: tuple[float, float] | None) -> list[float]:
    """The same width for all, or falling widths where a few curves would hide one another."""
    n = len(curves)
    if not 1 < n <= _MOST_NAMES:
        return [0.9] * n
    low, high = view or (float(np.nanmin(energy)), float(np.nanmax(energy)))
    grid, on_grid = np.linspace(low, high, 200), []
    for one, curve in zip(energy, curves, strict=True):
        known = np.isfinite(one) & np.isfinite(curve)
        inside = known.any()
        on_grid.append(np.interp(grid, one[known], curve[known], np.nan, np.nan) if inside else np.full(200, np.nan))
    apart = np.abs(np.array(on_grid)[:, None] - np.array(on_grid)[None])[np.triu_indices(n, 1)]
    hidden = [bool(each[np.isfinite(each)].max() < _SAME) for each in apart if np.isfinite(each).any()]
    return np.linspace(_WIDEST, _THINNEST, n).tolist() if any(hidden) else [0.9] * n


def _same_words(widths: list[float]) -> str:
    if len(set(widths)) < 2:
        return ""
    return " Curves that lie on one another are drawn from wide to thin."


def _cut_words(whole: tuple[float, float] | None, energy: NDArray[Any]) -> str:
    """Which energies are not shown."""
    if whole is None:
        return ""
    first, last = float(np.nanmin(energy)), float(np.nanmax(energy))
    return f" Shown are {whole[0]:.0f} to {whole[1]:.0f} eV of the {first:.0f} to {last:.0f} eV recorded."


def _zoom(axes: Axes, near: tuple[float, float], energy: NDArray[Any], curves: NDArray[Any]) -> None:
    inside = curves[(energy >= near[0]) & (energy <= near[1])]
    inside = inside[np.isfinite(inside)]
    axes.set_xlim(*near)
    if inside.size:
        margin = 0.05 * max(float(np.ptp(inside)), 1e-9)
        axes.set_ylim(float(inside.min()) - margin, float(inside.max()) + margin)


_MARKS = {"half_height_edge": "o", "white_line_energy": "v"}


def _mark_edges(axes: Axes, data: xr.Dataset, look: SpectrumColours) -> dict[str, int]:
    """Draw the marks on the curves; how many of each kind were drawn."""
    drawn: dict[str, int] = {}
    for name, marker in _MARKS.items():
        if not draws(data, name, "spectrum"):
            continue
        for index, (where, colour) in enumerate(zip(data[name].values, look.colours, strict=True)):
            energy, curve = (data[key].values[index] for key in ("scan_energy", "normalised_absorption"))
            known = np.isfinite(energy) & np.isfinite(curve)
            if not np.isfinite(where) or not known.any():
                continue
            height = float(np.interp(where, energy[known], curve[known]))
            axes.plot([where], [height], marker, color=colour, markeredgecolor="black", markeredgewidth=0.5)
            drawn[name] = drawn.get(name, 0) + 1
    return drawn


def _mark_words(marked: dict[str, int]) -> str:
    words = {"half_height_edge": "Circles: edge at half height", "white_line_energy": "triangles: white line"}
    parts = [f"{words[name]} ({count_text(n, 'spectrum')})" for name, n in marked.items()]
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}." if text else "No edge was found."


def _tell_apart(figure: Figure, views: list[Axes], look: SpectrumColours, marked: dict[str, int]) -> None:
    """Names below the axes, or a colour bar; and what the marks are."""
    marks = {"half_height_edge": "half height", "white_line_energy": "white line"}
    handles: list[Any] = [
        Line2D([], [], linestyle="none", marker=_MARKS[name], color="0.7", markeredgecolor="black", label=marks[name])
        for name in marked
    ]
    if look.scale is not None:
        add_colour_bar(look.scale, views, look.label, **({"ticks": look.ticks} if look.ticks else {}))
    elif len(look.names) > 1:
        handles = [*views[0].get_lines()[: len(look.names)], *handles]
    if handles:
        longest = max(len(str(handle.get_label())) for handle in handles)
        figure.legend(handles=handles, loc="outside lower center", ncols=max(1, min(5, 110 // (longest + 8))))


def _calibration(data: xr.Dataset) -> str:
    """How the energies were calibrated."""
    if not draws(data, "energy_shift", "spectrum"):
        return ""
    shift = data["energy_shift"].values
    std = data["energy_shift_std"].values if "energy_shift_std" in data else np.full(shift.shape, np.nan)
    calibrated = np.isfinite(std)
    if not calibrated.any():
        return ", energies as recorded (no foil)"
    low, high = float(shift[calibrated].min()), float(shift[calibrated].max())
    moved = f"{low:+.2f} eV" if low == high else f"{low:+.2f} to {high:+.2f} eV"
    some = "" if calibrated.all() else f" in {int(calibrated.sum())} of {shift.size}"
    return f", calibrated on a foil{some} ({moved.replace('-', '−')} added)"


def _scaling(data: xr.Dataset) -> str:
    """What the analysis remarked on the normalisation itself."""
    said = [remark for remark in remarks_of(data) if "not normalised" in remark]
    return "".join(f" Note: {remark.rstrip('.')}." for remark in said)


def total_std(data: xr.Dataset, name: str) -> NDArray[np.float64]:
    """Standard uncertainty of an edge, with that of the energy calibration where there is one; NaN if unknown."""
    if not draws(data, f"{name}_std", "spectrum"):
        return np.full(data[name].shape, np.nan)
    std = data[f"{name}_std"]
    shift = data["energy_shift_std"].values if draws(data, "energy_shift_std", "spectrum") else np.zeros(1)
    return np.asarray(np.hypot(std.values, np.nan_to_num(shift)), np.float64)


def edges_panel(data: xr.Dataset) -> Panel | None:
    """Every edge and the white line of every spectrum, with error bars."""
    there = [name for name in EDGES if draws(data, name, "spectrum")]
    shown = [name for name in there if np.isfinite(data[name].values).any()]
    if not shown:
        return None
    look = spectrum_colours(data[shown[0]])
    figure = new_figure(width=DOUBLE_COLUMN, height=rows_height(len(look.names)))
    columns = np.atleast_1d(figure.subplots(1, len(shown), sharey=True))
    parts = []
    for axes, name in zip(columns, shown, strict=True):
        _draw_edges(axes, data[name].values, total_std(data, name), look)
        axes.set_xlabel(f"{EDGES[name]} (eV)")
        parts.append(_edge_words(data, name))
    name_rows(columns[0], look.names)
    without = [EDGES[name] for name in there if name not in shown]
    missing = f" No spectrum has a value of the {' or the '.join(without)}." if without else ""
    dashes = " An en dash stands where a spectrum has no value." if _any_missing(data, shown) else ""
    caption = (
        "Energy of the edge by each definition, and of the white line, one row per spectrum and each on a scale of its "
        f"own; error bars, hidden where smaller than the symbol, are one σ of the fit{_calibrated_too(data)}. "
        f"Found: {'; '.join(parts)}."
        f"{dashes}{missing}{look.words}"
    )
    return Panel("bulk-edges", "Edges and white line", caption, figure)


def _calibrated_too(data: xr.Dataset) -> str:
    if not draws(data, "energy_shift_std", "spectrum"):
        return ""
    known = int(np.isfinite(data["energy_shift_std"].values).sum())
    n = data.sizes["spectrum"]
    if not known:
        return "; how far the energies are off is not known, there is no foil"
    return " and of the calibration on the foil" + ("" if known == n else f", which {known} of {n} have")


def rows_height(n: int) -> float:
    """Height (mm) of a figure with one row for each of ``n`` spectra."""
    return min(220.0, 20 + max(4.0 if n <= _MOST_ROWS else 2.0, 0.0) * max(n, 2))


def name_rows(axes: Axes, names: list[str]) -> None:
    """Names of the rows, the first at the top; numbers alone where there is no room for names."""
    axes.set_ylim(len(names) - 0.4, -0.6)
    if len(names) > _MOST_ROWS:
        axes.set_ylabel("number of the spectrum")
        places = range(0, len(names), 10)
        axes.set_yticks(list(places), [str(place + 1) for place in places])
    else:
        axes.set_yticks(range(len(names)), [short_name(name) for name in names])


def short_name(name: str, most: int = 30) -> str:
    """A name of at most ``most`` characters, with single spaces."""
    name = " ".join(name.split())
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _any_missing(data: xr.Dataset, shown: list[str]) -> bool:
    return any(not np.isfinite(data[name].values).all() for name in shown)


def _draw_edges(axes: Axes, values: NDArray[Any], std: NDArray[Any], look: SpectrumColours) -> None:
    for row, (value, error, colour) in enumerate(zip(values, std, look.colours, strict=True)):
        if np.isfinite(value):
            bar = error if np.isfinite(error) else None
            axes.errorbar([value], [row], xerr=bar, fmt="o", color=colour, elinewidth=1.0)
        else:
            axes.text(0.5, row, "–", transform=axes.get_yaxis_transform(), ha="center", va="center", color="0.4")
    axes.margins(x=0.12)
    _few_ticks(axes)
    axes.grid(axis="y", color="0.9", linewidth=0.5)
    axes.set_axisbelow(True)


def _few_ticks(axes: Axes) -> None:
    """Round ticks, only the outer two where the numbers are too long for more."""
    low, high = sorted(axes.get_xlim())
    ticks = [tick for tick in MaxNLocator(3, steps=[1, 2, 5, 10]).tick_values(low, high) if low <= tick <= high]
    decimals = max(0, -math.floor(math.log10(high - low))) if high > low else 0
    fits = len(ticks) * (5 + decimals) <= _MOST_DIGITS
    axes.set_xticks(ticks if fits or len(ticks) < 3 else [ticks[0], ticks[-1]])


def _edge_words(data: xr.Dataset, name: str) -> str:
    values, std = data[name].values, total_std(data, name)
    finite = np.isfinite(values)
    if finite.sum() == 1:
        place = int(np.argmax(finite))
        return f"{EDGES[name]} {format_value(float(values[place]), float(std[place]), 'eV')}"
    known = std[finite & np.isfinite(std)]
    sigma = f", median σ {np.median(known):.2g} eV" if known.size else ""
    low, high = f"{values[finite].min():.2f}", f"{values[finite].max():.2f}"
    return f"{EDGES[name]} {low if low == high else f'{low} to {high}'} eV{sigma}"
