"""Figures of single peaks that are followed along temperature without a phase."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from numpy.typing import NDArray

from cathoscope.report.figures.diffraction_curves import axes_grid, legend_above
from cathoscope.report.names import names_along
from cathoscope.report.style import COLOURS, MARKERS, Panel

Floats = NDArray[np.float64]

_FEWEST = 3  # temperatures
_MOST = len(COLOURS)


def peaks_panel(data: xr.Dataset) -> Panel | None:
    """Place, area and width of the listed peaks against temperature, in the bank that shows most of them."""
    if "peak_spacing" not in data or "temperature" not in data["peak_spacing"].dims:
        return None
    if data.sizes["temperature"] < _FEWEST or not data["peak_present"].values.any():
        return None
    bank = int(data["peak_present"].values.sum(axis=(0, 2)).argmax())
    shown = np.flatnonzero(data["peak_present"].values[:, bank].any(axis=0))[:_MOST]
    figure, grid = axes_grid(3)
    labels = ("change of the spacing (10⁻³)", "area over the largest", "full width (10⁻³ of d)")
    for number, peak in enumerate(shown):
        _draw_peak(grid, data, (bank, int(peak)), number)
    for axes, label in zip(grid, labels, strict=True):
        axes.set_xlabel("temperature (°C)")
        axes.set_ylabel(label)
    grid[1].set_ylim(bottom=min(0.0, grid[1].get_ylim()[0]))
    legend_above(figure, grid)
    name = names_along(data["peak_present"], "bank")[bank]
    caption = (
        f"Single peaks of bank {name}, each fitted by itself without a phase, with standard uncertainties; legend: "
        "where the recipe lists them. A peak that does not stand out has no place and no width."
    )
    return Panel("peaks", "Single peaks against temperature", caption, figure)


def _draw_peak(grid: list[Axes], data: xr.Dataset, at: tuple[int, int], number: int) -> None:
    """Place, area and width of one peak."""
    bank, peak = at
    temperature = np.asarray(data["temperature"].values, np.float64)
    spacing, spacing_std = _pair(data, "peak_spacing", at)
    area, area_std = _pair(data, "peak_area", at)
    width, width_std = _pair(data, "peak_width", at)
    seen = data["peak_present"].values[:, bank, peak] & np.isfinite(spacing)
    first, top = spacing[seen][0], np.nanmax(area)
    rows = (
        (np.where(seen, 1e3 * (spacing / first - 1), np.nan), 1e3 * spacing_std / first),
        (area / top, area_std / top),
        (np.where(seen, 1e3 * width / first, np.nan), 1e3 * width_std / first),
    )
    look: dict[str, Any] = {
        "color": COLOURS[number],
        "fmt": MARKERS[number % len(MARKERS)],
        "markersize": 2.6,
        "elinewidth": 0.7,
    }
    for axes, (values, std) in zip(grid, rows, strict=True):
        words = f"{data['peak'].attrs['listed'][peak]:.4g} Å"
        axes.errorbar(temperature, values, yerr=np.nan_to_num(std), label=words, markerfacecolor="white", **look)


def _pair(data: xr.Dataset, name: str, at: tuple[int, int]) -> tuple[Floats, Floats]:
    values, std = (np.asarray(data[f"{name}{end}"].values, np.float64)[:, at[0], at[1]] for end in ("", "_std"))
    return values, std
