"""The valence from the edge: the line through the standards, its band, and what it says of every spectrum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from cathoscope.report.figures.bulk import EDGES, name_rows, rows_height, total_std
from cathoscope.report.figures.reading import draws
from cathoscope.report.names import names_along
from cathoscope.report.numbers import format_value
from cathoscope.report.style import COLOURS, DOUBLE_COLUMN, Panel, new_figure

_LEVEL = 0.95
_LINE_KEYS = ("edge", "intercept", "slope", "covariance", "scatter", "standards", "standard_valences")
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _Standards:
    """Place (from 0), stated valence, and what the others would give each, [standard]."""

    place: NDArray[np.intp]
    stated: Floats
    by_others: Floats


@dataclass(frozen=True)
class _Found:
    """Valence, its uncertainty and the interval of every spectrum, [spectrum]."""

    value: Floats
    std: Floats
    lower: Floats
    upper: Floats


def valence_panel(data: xr.Dataset) -> Panel | None:
    """Standards with their line and its confidence band, and the valence of every spectrum with its interval."""
    if not draws(data, "valence", "spectrum") or not np.isfinite(data["valence"].values).any():
        return None
    attrs = data["valence"].attrs
    if any(key not in attrs for key in _LINE_KEYS) or not draws(data, str(attrs["edge"]), "spectrum"):
        return None
    standards, found = _standards(attrs), _found(data)
    names = names_along(data["valence"], "spectrum")
    figure = new_figure(width=DOUBLE_COLUMN, height=max(76.0, rows_height(len(names)) + 12))
    left, right = figure.subplots(1, 2)
    _draw_line(left, data, standards, found)
    _draw_valences(right, standards, found)
    name_rows(right, names)
    figure.legend(handles=_legend(len(names) > standards.place.size), loc="outside lower center", ncols=4)
    return Panel("valence", "Valence from the edge", _caption(data, standards, found, names), figure)


def _standards(attrs: Mapping[str, Any]) -> _Standards:
    stated = np.asarray(attrs["standard_valences"], np.float64)
    error = np.asarray(attrs.get("left_out_error", np.full(stated.shape, np.nan)), np.float64)
    return _Standards(np.asarray(attrs["standards"], np.intp) - 1, stated, stated + error)


def _found(data: xr.Dataset) -> _Found:
    value, attrs = np.asarray(data["valence"].values, np.float64), data["valence"].attrs
    unknown = np.full(value.shape, np.nan)
    std = data["valence_std"].values if "valence_std" in data else unknown
    lower, upper = (np.asarray(attrs.get(key, unknown), np.float64) for key in ("lower", "upper"))
    return _Found(value, np.asarray(std, np.float64), lower, upper)


def confidence_band(attrs: Mapping[str, Any], valence: Floats) -> tuple[Floats, Floats, Floats]:
    """Edge energy on the line and its 95 % confidence band: edge, lower, upper, eV.

    The half width is ``q sqrt([1, v] C [1, v])`` with the covariance C of intercept and slope; q is Student's for the
    number of standards minus 2 where their scatter widens the line, else that of the normal distribution.
    """
    edge = float(attrs["intercept"]) + float(attrs["slope"]) * valence
    (v_aa, v_ab), (_, v_bb) = np.asarray(attrs["covariance"], np.float64)
    upper_tail, degrees = 0.5 + _LEVEL / 2, len(attrs["standards"]) - 2
    quantile = stdtrit(degrees, upper_tail) if float(attrs["scatter"]) > 0 and degrees > 0 else ndtri(upper_tail)
    half = float(quantile) * np.sqrt(v_aa + 2 * v_ab * valence + v_bb * valence**2)
    return edge, edge - half, edge + half


def _draw_line(axes: Axes, data: xr.Dataset, standards: _Standards, found: _Found) -> None:
    attrs = data["valence"].attrs
    name = str(attrs["edge"])
    edge, std = data[name].values, np.nan_to_num(total_std(data, name))
    limits = _valence_limits(standards, found)
    where = np.linspace(*limits, 101)
    on_line, lower, upper = confidence_band(attrs, where)
    axes.fill_between(where, lower, upper, color=COLOURS[5], alpha=0.3, linewidth=0)
    axes.plot(where, on_line, color=COLOURS[0], linewidth=1.0)
    others = np.setdiff1d(np.flatnonzero(np.isfinite(edge)), standards.place)
    for place in others:
        ends = np.clip([found.lower[place], found.upper[place]], *limits)
        axes.plot(ends, [edge[place]] * 2, color=COLOURS[1], linewidth=0.9)
        axes.plot([found.value[place]], [edge[place]], "s", color=COLOURS[1])
    at = edge[standards.place]
    axes.hlines(at, standards.stated, standards.by_others, color="0.5", linewidth=0.7, linestyle=":")
    axes.plot(standards.by_others, at, "D", color="0.3", markerfacecolor="white")
    axes.errorbar(standards.stated, at, yerr=std[standards.place], fmt="o", color=COLOURS[0])
    shown = np.concatenate([edge[np.isfinite(edge)], on_line[[0, -1]]])
    margin = 0.12 * max(float(np.ptp(shown)), 0.1)
    axes.set_xlim(*limits)
    axes.set_ylim(float(shown.min()) - margin, float(shown.max()) + margin)
    axes.set_xlabel("valence")
    axes.set_ylabel(f"{EDGES[name]} (eV)")


def _valence_limits(standards: _Standards, found: _Found) -> tuple[float, float]:
    """From the lowest to the highest valence there is, with its σ; open intervals end at the frame."""
    spread = np.nan_to_num(found.std)
    all_values = np.concatenate([standards.stated, standards.by_others, found.value - spread, found.value + spread])
    all_values = all_values[np.isfinite(all_values)]
    margin = 0.08 * max(float(np.ptp(all_values)), 0.5)
    return float(all_values.min()) - margin, float(all_values.max()) + margin


def _draw_valences(axes: Axes, standards: _Standards, found: _Found) -> None:
    limits = _valence_limits(standards, found)
    for row in np.flatnonzero(np.isfinite(found.value)):
        colour = COLOURS[0] if row in standards.place else COLOURS[1]
        marker = "o" if row in standards.place else "s"
        if not np.isnan([found.lower[row], found.upper[row]]).any():
            axes.plot(np.clip([found.lower[row], found.upper[row]], *limits), [row, row], color=colour, linewidth=0.6)
        error = found.std[row] if np.isfinite(found.std[row]) else None
        axes.errorbar([found.value[row]], [row], xerr=error, fmt=marker, color=colour, elinewidth=1.6)
    axes.plot(standards.stated, standards.place, "|", color="black", markersize=8)
    axes.plot(standards.by_others, standards.place, "D", color="0.3", markerfacecolor="white")
    axes.set_xlim(*limits)
    axes.set_xlabel("valence")
    axes.grid(axis="y", color="0.9", linewidth=0.5)
    axes.set_axisbelow(True)


def _legend(predicted: bool) -> list[Line2D]:
    shapes = [
        ("o", COLOURS[0], COLOURS[0], "standard"),
        ("|", "black", "black", "stated valence"),
        ("D", "0.3", "white", "standard, from the others"),
    ]
    shapes += [("s", COLOURS[1], COLOURS[1], "spectrum")] if predicted else []
    return [
        Line2D([], [], linestyle="none", marker=marker, color=colour, markerfacecolor=face, label=label)
        for marker, colour, face, label in shapes
    ]


def _caption(data: xr.Dataset, standards: _Standards, found: _Found, names: list[str]) -> str:
    attrs = data["valence"].attrs
    slope = format_value(float(attrs["slope"]), float(attrs.get("slope_std", np.nan)), "eV")
    scatter = float(attrs["scatter"])
    widened = f", which scatter about it by {scatter:.2g} eV beyond their own uncertainty" if scatter > 0 else ""
    text = (
        f"Left: {EDGES[str(attrs['edge'])]} against valence, with the line through {standards.place.size} standards"
        f"{widened} ({slope} per valence), and its 95 % confidence band. Diamonds: what the line through the other "
        "standards gives each. Right: valence of every spectrum from the line; thick bars are one σ, thin lines the "
        "95 % interval."
    )
    open_ends = np.isinf(found.lower) | np.isinf(found.upper)
    if open_ends.any():
        text += " The interval is open where it reaches the frame: the slope is not significant at this level."
    others = [place for place in range(len(names)) if place not in standards.place and np.isfinite(found.value[place])]
    if 0 < len(others) <= 6:
        parts = [f"{names[place]} {format_value(found.value[place], found.std[place], '1')}" for place in others]
        text += f" Found: {'; '.join(parts)}."
    outside = np.flatnonzero(np.asarray(attrs.get("extrapolated", np.zeros(len(names))), bool))
    outside = np.setdiff1d(outside, standards.place)
    if outside.size:
        text += f" Beyond the standards: {', '.join(names[place] for place in outside[:6])}"
        text += f" and {outside.size - 6} more." if outside.size > 6 else "."
    return text
