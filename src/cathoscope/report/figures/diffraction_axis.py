"""Patterns on an axis of lattice spacings: where they have peaks, where they change, ticks of the reflections."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from numpy.typing import NDArray

from cathoscope.report.powder import along_temperature, at_place, phase_names
from cathoscope.report.style import COLOURS, MARKERS

Floats = NDArray[np.float64]

_PIXELS = 1400
_SIGNAL = 0.1  # of the highest peak: what still is a peak
_ZOOM = 0.16  # of the range, for a closer look
SPACING_LABEL = "lattice spacing d (Å)"


def spacings(data: xr.Dataset, bank: int, place: int) -> Floats:
    """Lattice spacings of the points of a bank (A), by the file of the bank; NaN beyond its last point."""
    return np.asarray(at_place(data, "point_spacing", place)[bank])


def signal(data: xr.Dataset, bank: int, place: int) -> Floats:
    """Observed intensity above the background of the refinement; NaN where it was not refined."""
    seen, background = (at_place(data, f"diffraction_{name}", place)[bank] for name in ("counts", "background"))
    return np.asarray(seen - background)


def on_grid(d: Floats, values: Floats, edges: Floats) -> Floats:
    """Mean of ``values`` at the spacings ``d`` within every pixel; NaN outside of the points."""
    good = np.isfinite(d) & np.isfinite(values)
    if good.sum() < 2:
        return np.full(edges.size - 1, np.nan)
    order = np.argsort(d[good])
    x, y = d[good][order], values[good][order]
    total = np.concatenate([[0.0], np.cumsum(0.5 * (y[1:] + y[:-1]) * np.diff(x))])
    mean = np.diff(np.interp(edges, x, total)) / np.diff(edges)
    return np.where((edges[:-1] >= x[0]) & (edges[1:] <= x[-1]), mean, np.nan)


def pixels_between(low: float, high: float, n: int = _PIXELS) -> Floats:
    """Edges of ``n`` equal pixels."""
    return np.linspace(low, high, n + 1)


def peak_range(d: Floats, patterns: Floats) -> tuple[float, float]:
    """From the first to the last peak of patterns [pattern, point], with a margin; all points if there are none."""
    heights = np.nanmax(patterns, axis=0, initial=0.0, where=np.isfinite(patterns))
    good = np.isfinite(d) & (heights > _SIGNAL * heights.max())
    if good.sum() < 2:
        good = np.isfinite(d)
    low, high = float(d[good].min()), float(d[good].max())
    margin = 0.03 * (high - low)
    return max(low - margin, float(np.nanmin(d))), min(high + margin, float(np.nanmax(d)))


def closer_range(d: Floats, patterns: Floats, whole: tuple[float, float]) -> tuple[float, float]:
    """The part of a range in which patterns [pattern, point] change most, or a single one has most in it."""
    edges = pixels_between(*whole, n=400)
    rows = np.array([on_grid(d, row, edges) for row in patterns])
    rows = rows[np.isfinite(rows).any(axis=1)]
    if not rows.size:
        return whole
    rows = np.nan_to_num(rows)
    weight = rows.std(axis=0) ** 2 if len(rows) > 1 else np.gradient(np.sqrt(np.maximum(rows[0], 0.0))) ** 2
    width = max(8, round(_ZOOM * weight.size))
    start = int(np.argmax(np.convolve(weight, np.ones(width), mode="valid")))
    return float(edges[start]), float(edges[start + width])


def phase_colour(number: int) -> str:
    """Colour of a phase in every figure; vermilion is for the calculated line, black for observed points."""
    chosen = (COLOURS[0], COLOURS[2], COLOURS[3], COLOURS[4], COLOURS[5])
    return chosen[number % len(chosen)]


def phase_look(number: int) -> tuple[str, str]:
    """Colour and marker of a phase in every figure."""
    return phase_colour(number), MARKERS[number % len(MARKERS)]


def reflections(data: xr.Dataset, bank: int, phase: int, place: int | None = None) -> Floats:
    """Where the reflections of a phase lie in a bank (A): at one temperature, else where the phase is there first."""
    rows = np.asarray(along_temperature(data)["reflection_spacing"].values[:, bank, phase], np.float64)
    there = [place] if place is not None else np.flatnonzero(np.isfinite(rows).any(axis=1))[:1]
    row = rows[there].ravel()
    return np.asarray(row[np.isfinite(row)])


def draw_ticks(axes: Axes, found: Floats, number: int, level: tuple[float, float]) -> None:
    """Ticks of one phase between two heights of the axes."""
    options: dict[str, Any] = {"color": phase_colour(number), "linewidth": 0.6}
    axes.vlines(found, *level, **options)


def tick_strip(axes: Axes, data: xr.Dataset, bank: int, place: int | None = None) -> None:
    """A strip with one row of ticks for every phase, named on the left."""
    names = phase_names(data)
    for number in range(len(names)):
        draw_ticks(axes, reflections(data, bank, number, place), number, (-number - 0.8, -number - 0.2))
    axes.set_ylim(-len(names), 0)
    axes.set_yticks([-number - 0.5 for number in range(len(names))], names)
    axes.tick_params(axis="y", length=0)
    for label, number in zip(axes.get_yticklabels(), range(len(names)), strict=True):
        label.set_color(phase_colour(number))


def unexplained(data: xr.Dataset, bank: int) -> Floats:
    """Spacings of the peaks of a bank that no phase explains (A)."""
    if "unexplained_spacing" not in data or not data.sizes.get("unexplained"):
        return np.empty(0)
    here = np.asarray(data["unexplained_bank"].values) == bank + 1
    return np.asarray(data["unexplained_spacing"].values[here], np.float64)


def mark_unexplained(axes: Axes, found: Floats) -> None:
    """Triangles along the upper rim."""
    low, high = axes.get_xlim()
    inside = found[(found > low) & (found < high)]
    if inside.size:
        place = axes.get_xaxis_transform()
        axes.plot(inside, np.full(inside.size, 0.985), "v", color="black", markersize=4, transform=place, clip_on=False)
