"""Figure of how a particle and its magnification change while a series of energies is recorded."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from numpy.typing import NDArray

from cathoscope.report.figures.reading import coordinate, temperature_name, temperatures
from cathoscope.report.style import DOUBLE_COLUMN, Panel, add_figure_legend, new_figure, series_colours

Floats = NDArray[np.float64]

# What the geometry of a series holds.
_NEEDED = (
    "specimen_shift",
    "specimen_shift_std",
    "magnification",
    "magnification_std",
    "vertical_shift",
    "geometry_residual",
)
_LABELS = (
    "drift along x (µm)",
    "drift along y (µm)",
    "drift along z (µm)",
    "magnification − trend (10⁻⁶)",
    "vertical jitter, rms (px)",
    "misfit (noise)",
)


def motion_panel(data: xr.Dataset) -> Panel | None:
    """Drift along x, y and z, magnification, vertical jitter and misfit of every scan; nothing without a series."""
    if not all(name in data and "energy" in data[name].dims for name in _NEEDED):
        return None
    energy = coordinate(data["magnification"], "energy")
    if energy is None or energy.size < 2:
        return None
    names = temperatures(data["magnification"])
    figure = new_figure(width=DOUBLE_COLUMN, height=96)
    grid = figure.subplots(2, 3, sharex=True)
    for index, (name, colour) in enumerate(zip(names, series_colours(len(names)), strict=True)):
        _draw_scans(grid, data, energy, index, {"color": colour, "label": temperature_name(name) or "scan"})
    for axes, label in zip(grid.ravel(), _LABELS, strict=True):
        axes.set_ylabel(label)
    for axes in grid[1]:
        axes.set_xlabel("energy (eV)")
    add_figure_legend(figure, grid[0, 0])
    return Panel("motion", "Motion and magnification", _caption(data), figure)


def _draw_scans(grid: NDArray[Any], data: xr.Dataset, energy: Floats, index: int, style: dict[str, Any]) -> None:
    """All quantities of one temperature."""
    line: dict[str, Any] = {"fmt": "o-", "markersize": 2, "linewidth": 0.6, "elinewidth": 0.6, **style}
    drift, std = (_of(data, name, index) for name in ("specimen_shift", "specimen_shift_std"))
    for axis in range(3):
        grid[0, axis].errorbar(energy, drift[:, axis], yerr=np.nan_to_num(std[:, axis]), **line)
    _draw_magnification(grid[1, 0], data, energy, index, line)
    jitter, misfit = (_of(data, name, index) for name in ("vertical_shift", "geometry_residual"))
    for axes, values in ((grid[1, 1], np.sqrt(np.mean(jitter**2, axis=1))), (grid[1, 2], misfit)):
        axes.plot(energy, values, "o-", markersize=2, linewidth=0.6, **style)


def _draw_magnification(axes: Axes, data: xr.Dataset, energy: Floats, index: int, line: dict[str, Any]) -> None:
    """What is left of the magnification after its straight line in the energy, which would hide all else."""
    values, std = (_of(data, name, index) for name in ("magnification", "magnification_std"))
    known = np.isfinite(values)
    if known.sum() < 3:
        return
    trend = np.polynomial.Polynomial.fit(energy[known], values[known], 1)
    axes.errorbar(energy, 1e6 * (values - trend(energy)), yerr=1e6 * np.nan_to_num(std), **line)


def _of(data: xr.Dataset, name: str, index: int) -> Floats:
    array = data[name]
    return np.asarray(
        (array.isel(temperature=index) if "temperature" in array.dims else array).values, dtype=np.float64
    )


def _caption(data: xr.Dataset) -> str:
    drift, std, magnification, misfit = (data[name].values for name in (*_NEEDED[:3], _NEEDED[-1]))
    if not np.isfinite(drift).any():
        return "No scan could be placed."
    return (
        f"Displacement of the particle in every scan against the reference of its series (largest "
        f"{np.nanmax(np.abs(drift)):.2g} µm, median standard uncertainty {np.nanmedian(std):.1g} µm); magnification "
        f"without its straight line in the energy (whole range {np.nanmin(magnification):.5f} to "
        f"{np.nanmax(magnification):.5f}); root mean square of the vertical shifts of single projections; and by how "
        "much the aligned projections differ from the common model, in units of the noise (median "
        f"{np.nanmedian(misfit):.2f})."
    )
