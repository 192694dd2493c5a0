"""Figures of linear combinations: data, fit, components and residual, and the weights with their uncertainty."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from cathoscope.report.figures.bulk import name_rows, rows_height
from cathoscope.report.figures.reading import draws
from cathoscope.report.names import names_along
from cathoscope.report.numbers import count_text, format_value, plain_number
from cathoscope.report.style import COLOURS, DOUBLE_COLUMN, MARKERS, Panel, new_figure

_MOST_FITS = 3
_STYLES: tuple[Literal["-", "--", "-.", ":"], ...] = ("-", "--", "-.", ":")
_FIT = "combination_fit"
_CURVES = "component_curve"
_QUANTITIES = {"absorption": "absorption as recorded", "normalised_absorption": "normalised absorption"}


def combination_fit_panel(data: xr.Dataset) -> Panel | None:
    """Data, fit, weighted components and residual of the spectra that are fitted least well."""
    points = ("spectrum", "point")
    if not draws(data, _FIT, *points) or not draws(data, "scan_energy", *points):
        return None
    fitted = str(data[_FIT].attrs.get("of", "normalised_absorption"))
    if not draws(data, fitted, *points):
        return None
    chosen = _least_well_fitted(data)
    names = names_along(data[_FIT], "spectrum")
    figure = new_figure(width=DOUBLE_COLUMN, height=92)
    grid = figure.subplots(2, len(chosen), squeeze=False, sharex="col", height_ratios=(3, 1))
    for (above, below), place in zip(grid.T, chosen, strict=True):
        above.set_title(f"{names[place]}{_r_factor(data, place)}")
        _draw_fit(above, below, data, place, fitted)
        below.locator_params(axis="x", nbins=10 // len(chosen))
    grid[0, 0].set_ylabel(_QUANTITIES.get(fitted, fitted.replace("_", " ")))
    grid[1, 0].set_ylabel("residual")
    figure.legend(handles=_legend(data), loc="outside lower center", ncols=4)
    which = "the spectrum" if len(names) == 1 else "every spectrum"
    if len(chosen) < len(names):
        which = f"every spectrum, the {len(chosen)} of {len(names)} with the largest R-factor"
    caption = (
        f"Linear combination of {_component_words(data)} fitted to {which}: "
        f"{_QUANTITIES.get(fitted, fitted.replace('_', ' '))} (points), fit (black) and each component times its "
        "weight; below, data minus fit. "
        f"R is the sum of squared residuals over the sum of squared data.{_scale_words(fitted)}"
    )
    return Panel("combination-fit", "Linear combination", caption, figure)


def _least_well_fitted(data: xr.Dataset) -> list[int]:
    n = data[_FIT].sizes["spectrum"]
    if n <= _MOST_FITS or not draws(data, "r_factor", "spectrum"):
        return list(range(min(n, _MOST_FITS)))
    worst = np.argsort(-np.nan_to_num(data["r_factor"].values, nan=-1.0), kind="stable")[:_MOST_FITS]
    return sorted(int(place) for place in worst)


def _r_factor(data: xr.Dataset, place: int) -> str:
    if not draws(data, "r_factor", "spectrum"):
        return ""
    rounded = float(f"{float(data['r_factor'][place]):.3g}")
    return f", R = {plain_number(rounded)}"


def _draw_fit(above: Axes, below: Axes, data: xr.Dataset, place: int, fitted: str) -> None:
    energy, values, fit = (data[name].values[place] for name in ("scan_energy", fitted, _FIT))
    above.plot(energy, values, "o", color="0.45", markersize=2.2, markerfacecolor="white", markeredgewidth=0.6)
    above.plot(energy, fit, color="black", linewidth=1.0)
    if draws(data, _CURVES, "spectrum", "component", "point"):
        for index, curve in enumerate(data[_CURVES].values[place]):
            above.plot(energy, curve, color=COLOURS[index % 6], linestyle=_STYLES[index % 4], linewidth=0.9)
    below.axhline(0, color="0.6", linewidth=0.6)
    below.plot(energy, values - fit, ".", color="0.25", markersize=2)
    below.set_xlabel("energy (eV)")
    compared = energy[np.isfinite(fit) & np.isfinite(energy)]
    if compared.size > 1:
        margin = 0.03 * float(np.ptp(compared))
        below.set_xlim(float(compared.min()) - margin, float(compared.max()) + margin)


def _legend(data: xr.Dataset) -> list[Line2D]:
    handles = [
        Line2D([], [], linestyle="none", marker="o", color="0.45", markerfacecolor="white", label="data"),
        Line2D([], [], color="black", label="fit"),
    ]
    if draws(data, _CURVES, "spectrum", "component", "point"):
        for index, name in enumerate(names_along(data[_CURVES], "component")):
            handles.append(Line2D([], [], color=COLOURS[index % 6], linestyle=_STYLES[index % 4], label=name))
    return handles


def _component_words(data: xr.Dataset) -> str:
    for name in (_CURVES, "component_fraction"):
        if name in data and "component" in data[name].dims:
            return ", ".join(names_along(data[name], "component"))
    return "reference spectra"


def _scale_words(fitted: str) -> str:
    """What the weights of a spectrum are that was not normalised."""
    if fitted != "absorption":
        return ""
    return " The spectrum was not normalised, so the weights are amounts in its own units, not shares."


def _source_words(data: xr.Dataset) -> str:
    std = data.get("component_fraction_std")
    source = "" if std is None else str(std.attrs.get("std_source", ""))
    return {"fit covariance": " of the fit", "": ""}.get(source, f" ({source})")


def combination_weights_panel(data: xr.Dataset) -> Panel | None:
    """Weight of every component in every spectrum, with error bars and R-factor."""
    if not draws(data, "component_fraction", "spectrum", "component"):
        return None
    weight = data["component_fraction"]
    if not np.isfinite(weight.values).any():
        return None
    names, components = names_along(weight, "spectrum"), names_along(weight, "component")
    std = data["component_fraction_std"].values if "component_fraction_std" in data else np.full(weight.shape, np.nan)
    rows = components if len(names) == 1 else names
    figure = new_figure(width=DOUBLE_COLUMN, height=rows_height(len(rows)) + (0 if len(names) == 1 else 6))
    axes = figure.subplots()
    _draw_weights(axes, weight.values, std)
    name_rows(axes, rows)
    axes.axvline(0, color="0.6", linewidth=0.6)
    axes.set_xlabel("weight of the component")
    axes.grid(axis="y", color="0.9", linewidth=0.5)
    axes.set_axisbelow(True)
    if len(names) > 1:
        handles = axes.get_legend_handles_labels()[0]
        figure.legend(handles, components, loc="outside upper center", ncols=4)
    which = "the spectrum" if len(names) == 1 else "every spectrum"
    fitted = str(data[_FIT].attrs.get("of", "")) if _FIT in data else ""
    caption = (
        f"Weight of {count_text(len(components), 'component')} in {which}"
        f", with one σ{_source_words(data)}.{_scale_words(fitted)}"
        f"{_weight_words(weight.values, std, components)}{_r_words(data)}"
    )
    return Panel("combination-weights", "Weights of the components", caption, figure)


def _draw_weights(axes: Axes, weight: NDArray[Any], std: NDArray[Any]) -> None:
    n_spectra, n_components = weight.shape
    for index in range(n_components):
        offset = 0.0 if n_spectra == 1 else 0.5 * ((index + 0.5) / n_components - 0.5)
        where = np.array([float(index)]) if n_spectra == 1 else np.arange(n_spectra) + offset
        colour, marker = COLOURS[index % 6], MARKERS[index % len(MARKERS)]
        error = std[:, index] if np.isfinite(std[:, index]).any() else None
        axes.errorbar(weight[:, index], where, xerr=error, fmt=marker, color=colour, label=str(index))


def _weight_words(weight: NDArray[Any], std: NDArray[Any], components: list[str]) -> str:
    if len(weight) > 1:
        return ""
    parts = [
        f"{name} {format_value(float(value), float(error), '1')}"
        for name, value, error in zip(components, weight[0], std[0], strict=True)
    ]
    return f" {'; '.join(parts)}."


def _r_words(data: xr.Dataset) -> str:
    if not draws(data, "r_factor", "spectrum"):
        return ""
    values = data["r_factor"].values[np.isfinite(data["r_factor"].values)]
    if not values.size:
        return ""
    span = f"{values[0]:.2g}" if values.size == 1 else f"{values.min():.2g} to {values.max():.2g}"
    return f" R-factor {span}."
