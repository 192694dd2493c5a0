"""Figures that hold refined numbers of a virtual experiment against what is true."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from numpy.typing import NDArray

from cathoscope.report.figures.diffraction_axis import phase_colour, phase_look
from cathoscope.report.figures.diffraction_curves import axes_grid, draw_curve, fit_limits, legend_above
from cathoscope.report.powder import (
    QUANTITIES,
    along_temperature,
    curve_of,
    edges_of,
    is_powder,
    phase_names,
    refined,
    title_of,
)
from cathoscope.report.style import DOUBLE_COLUMN, Panel, axis_label, new_figure

Floats = NDArray[np.float64]

_SAME = 0.5  # degC
_CELL = ("lattice_a", "lattice_b", "lattice_c")
_REACH = 4.5  # standard uncertainties that are drawn
_FEWEST = 3


def numbers_truth_panel(result: xr.Dataset, truth: xr.Dataset) -> Panel | None:
    """Refined numbers against temperature on the curves that are true."""
    wanted = _compared(result, truth)
    if not wanted or refined(result).size < _FEWEST or "temperature" not in truth.dims:
        return None
    rows: dict[str, list[tuple[str, int]]] = {}
    for name, number in wanted:
        rows.setdefault(f"{name} {number}" if name in _CELL else name, []).append((name, number))
    figure, grid = axes_grid(len(rows))
    for axes, chosen in zip(grid, rows.values(), strict=True):
        _draw(axes, result, truth, chosen)
    legend_above(figure, grid)
    caption = (
        "Refined numbers with their standard uncertainties (points) and the truth of the virtual experiment (lines)."
    )
    return Panel("numbers-truth", "Refined numbers against the truth", caption, figure)


def _compared(result: xr.Dataset, truth: xr.Dataset) -> list[tuple[str, int]]:
    """Quantities with their phases that have both a value and a truth."""
    if not is_powder(result) or truth.sizes.get("phase") != result.sizes["phase"]:
        return []
    found = []
    for name in QUANTITIES:
        for number in range(result.sizes["phase"]):
            usual = name not in _CELL or name in edges_of(result, number)
            if usual and name in truth and curve_of(result, name, number) is not None:
                found.append((name, number))
    return found


def _draw(axes: Axes, result: xr.Dataset, truth: xr.Dataset, chosen: list[tuple[str, int]]) -> None:
    """One quantity: of each phase the points, and the line of the truth."""
    curves = []
    for name, number in chosen:
        curve = curve_of(result, name, number)
        if curve is not None:
            curves.append(curve)
            draw_curve(axes, curve, phase_look(number), curve.phase)
            true = np.asarray(truth[name].values, np.float64)[..., number]
            axes.plot(truth["temperature"].values, true, color=phase_colour(number), linewidth=0.9, zorder=0.5)
    fit_limits(axes, curves)
    words, unit = title_of(chosen[0][0])
    of = f" of {phase_names(result)[chosen[0][1]]}" if chosen[0][0] in _CELL else ""
    axes.set_ylabel(axis_label(f"{words}{of}", unit))
    axes.set_xlabel("temperature (°C)")


def numbers_pull_panel(result: xr.Dataset, truth: xr.Dataset) -> Panel | None:
    """Errors of the refined numbers over their uncertainties."""
    found = {key: pulls for key in _compared(result, truth) if (pulls := _pulls(result, truth, *key)).size}
    if not found:
        return None
    figure = new_figure(width=DOUBLE_COLUMN, height=20 + 5.2 * len(found))
    axes = figure.subplots()
    axes.axvspan(-1, 1, color="0.92", linewidth=0, zorder=0)
    axes.axvline(0, color="0.6", linewidth=0.6, zorder=0.1)
    names = phase_names(result)
    for row, ((_, number), pulls) in enumerate(found.items()):
        spread = 0.3 * np.linspace(-1, 1, pulls.size) if pulls.size > 1 else np.zeros(1)
        colour, marker = phase_look(number)
        axes.plot(np.clip(pulls, -_REACH, _REACH), row + spread, marker, color=colour, markersize=2.2, alpha=0.8)
    axes.set_yticks(range(len(found)), [f"{title_of(name)[0]}, {names[number]}" for name, number in found])
    axes.invert_yaxis()
    axes.set_xlim(-_REACH - 0.2, _REACH + 0.2)
    axes.set_xlabel("error / σ")
    every = np.concatenate(list(found.values()))
    caption = (
        f"Error of {every.size} refined numbers over their stated standard uncertainty σ, the cold temperatures of "
        f"each row on top; two of three belong into the grey band. Mean {every.mean():+.2f}, standard deviation "
        f"{every.std():.2f}; an honest σ gives 0 and 1. Errors beyond {_REACH:g} σ stand at the rim."
    )
    return Panel("numbers-pull", "Are the uncertainties of the refined numbers honest?", caption, figure)


def _pulls(result: xr.Dataset, truth: xr.Dataset, name: str, number: int) -> Floats:
    """Error over uncertainty of a quantity of a phase, where both are known."""
    curve = curve_of(result, name, number)
    if curve is None or "temperature" not in truth.dims:
        return np.empty(0)
    if name == "weight_fraction" and number == 0 and result.sizes["phase"] == 2:
        return np.empty(0)  # the other one's with the sign turned
    there = np.asarray(truth["temperature"].values, np.float64)
    near = np.abs(there[:, None] - curve.temperature).argmin(axis=0)
    true = np.asarray(along_temperature(truth)[name].values, np.float64)[near, number]
    same = np.abs(there[near] - curve.temperature) < _SAME
    good = same & np.isfinite(true) & curve.there & (curve.std > 0)
    return np.asarray((curve.values - true)[good] / curve.std[good])
