"""Figures of a tomography: the volume, and the geometry and beam it was reconstructed with."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from numpy.typing import NDArray

from cathoscope.report.figures.images import draw_image, robust_limits, symmetric_limits
from cathoscope.report.figures.reading import at, coordinate, sizes, temperature_name, temperatures
from cathoscope.report.numbers import count_text, format_value, plain_number
from cathoscope.report.style import (
    COLOURS,
    DOUBLE_COLUMN,
    Panel,
    add_colour_bar,
    add_legend_above,
    axis_label,
    new_figure,
    sequential_colours,
    series_colours,
)

# Above this many scans, one line each cannot be told apart any more.
_MOST_LINES = 5


def slices_panel(data: xr.Dataset) -> Panel | None:
    """Central slices of the attenuation, across and along the rotation axis."""
    if "attenuation" not in data:
        return None
    chosen, condition = _one_volume(data["attenuation"])
    unit = str(chosen.attrs.get("units", ""))
    across = chosen.isel(z=chosen.sizes["z"] // 2).load()
    along = chosen.isel(y=chosen.sizes["y"] // 2).load()
    limits = robust_limits(np.concatenate([across.values.ravel(), along.values.ravel()]))
    share = along.sizes["z"] / across.sizes["y"]
    figure = new_figure(width=DOUBLE_COLUMN, height=min(90.0, 16 + 66 * max(1.0, share)))
    left, right = figure.subplots(1, 2)
    grey = sequential_colours("gray")
    shown = draw_image(left, across, colours=grey, limits=limits, light_bar=True)
    draw_image(right, along, colours=grey, limits=limits, light_bar=True)
    left.set_title(f"across the axis{_position(across, 'z')}")
    right.set_title(f"along the axis{_position(along, 'y')}")
    add_colour_bar(shown, [left, right], axis_label("attenuation", unit))
    caption = (
        f"Linear attenuation in the two central slices of the volume of "
        f"{' × '.join(str(n) for n in reversed(chosen.shape))} voxels (x, y, z){_voxel(chosen)}{condition}. "
        f"The grey scale ends at the 0.5 and 99.5 percentiles, {limits[0]:.3g} and {limits[1]:.3g} µm⁻¹."
        f"{_noise(data)}"
    )
    return Panel("attenuation-slices", "Attenuation, central slices", caption, figure)


def _one_volume(attenuation: xr.DataArray) -> tuple[xr.DataArray, str]:
    """The volume to show (first temperature, last energy) and the words for it."""
    words = []
    if "energy" in attenuation.dims:
        energy = coordinate(attenuation, "energy")
        words.append("the last energy" if energy is None else f"{energy[-1]:.2f} eV")
    if "temperature" in attenuation.dims:
        words.append(temperature_name(temperatures(attenuation)[0]) or "the first condition")
    return at(attenuation, temperature=0, energy=-1), f", at {' and '.join(words)}" if words else ""


def _position(image: xr.DataArray, dim: str) -> str:
    return f", {dim} = {float(image[dim]):.3g} µm" if dim in image.coords else ""


def _voxel(volume: xr.DataArray) -> str:
    x = coordinate(volume, "x")
    return "" if x is None or len(x) < 2 else f" of {abs(x[1] - x[0]) * 1e3:.4g} nm"


def _noise(data: xr.Dataset) -> str:
    """What half-sets of the projections say about the noise of a voxel."""
    std = data.get("attenuation_std")
    if std is None:
        return ""
    chosen = at(std, temperature=0, energy=-1, z=std.sizes.get("z", 1) // 2)
    source = str(std.attrs.get("std_source", ""))
    value = float(np.nanmedian(chosen.values)) if np.isfinite(chosen.values).any() else float("nan")
    return f" Standard uncertainty of one voxel: {plain_number(float(f'{value:.2g}'))} µm⁻¹ ({source})."


def rotation_axis_panel(data: xr.Dataset) -> Panel | None:
    """Rotation axis of every scan by both methods."""
    if "rotation_axis" not in data:
        return None
    axis = data["rotation_axis"]
    if sizes(axis, "temperature", "energy") == (1, 1):
        return _single_axis_panel(data)
    figure = new_figure(width=DOUBLE_COLUMN, height=62)
    axes = figure.subplots()
    names = temperatures(axis)
    for index, (name, colour) in enumerate(zip(names, series_colours(len(names)), strict=True)):
        _draw_axis_series(axes, data, index, temperature_name(name), colour)
    add_legend_above(axes)
    axes.set_xlabel("energy (eV)" if "energy" in axis.dims else "temperature (°C)")
    axes.set_ylabel("rotation axis (px)")
    values = axis.values[np.isfinite(axis.values)]
    caption = (
        f"Detector column of the rotation axis of {count_text(values.size, 'scan')}, from the centre of mass of the "
        f"projections (filled, with standard uncertainty) and by the second method (open). "
        f"Mean {np.mean(values):.3f} px, spread between scans {np.std(values):.2g} px{_agreement(data)}."
        if values.size
        else "No rotation axis could be found."
    )
    return Panel("rotation-axis", "Rotation axis", caption, figure)


def _draw_axis_series(axes: Axes, data: xr.Dataset, index: int, name: str, colour: Any) -> None:
    """Both estimates along energy at one temperature, or along temperature where there is one energy."""
    along = "energy" if "energy" in data["rotation_axis"].dims else "temperature"
    place = {"temperature": index if along == "energy" else slice(index, index + 1)}
    values = np.atleast_1d(at(data["rotation_axis"], **place).values)
    coord = coordinate(at(data["rotation_axis"], **place), along)
    where = np.arange(values.size) if coord is None else coord
    std = data.get("rotation_axis_std")
    error = None if std is None else np.atleast_1d(at(std, **place).values)
    label = ", ".join(text for text in (name, "centre of mass") if text)
    axes.errorbar(where, values, yerr=error, fmt="o-", color=colour, label=label, linewidth=0.8)
    if "rotation_axis_check" in data:
        check = np.atleast_1d(at(data["rotation_axis_check"], **place).values)
        label = ", ".join(text for text in (name, "second method") if text)
        axes.plot(where, check, "s", color=colour, markerfacecolor="none", label=label)


def _single_axis_panel(data: xr.Dataset) -> Panel:
    """One scan: the two estimates as two points on one line."""
    value, std = _scalar(data, "rotation_axis"), _scalar(data, "rotation_axis_std")
    check = _scalar(data, "rotation_axis_check")
    figure = new_figure(height=28)
    axes = figure.subplots()
    error = std if np.isfinite(std) else None
    axes.errorbar([value], [1], xerr=error, fmt="o", color=COLOURS[0])
    axes.plot([check], [0], "s", color=COLOURS[1], markerfacecolor="none")
    axes.set_yticks([0, 1], ["second method", "centre of mass"])
    axes.set_ylim(-0.6, 1.6)
    axes.locator_params(axis="x", nbins=5)
    axes.set_xlabel("rotation axis (px)")
    stated = format_value(value, std if np.isfinite(std) else None, "px")
    caption = f"Detector column of the rotation axis from the centre of mass of the projections, {stated}"
    caption += (
        f", and by the second method, {check:.2f} px." if np.isfinite(check) else "; there is no second estimate."
    )
    return Panel("rotation-axis", "Rotation axis", caption, figure)


def _scalar(data: xr.Dataset, name: str) -> float:
    return float(data[name].values.ravel()[0]) if name in data else float("nan")


def _agreement(data: xr.Dataset) -> str:
    if "rotation_axis_check" not in data:
        return ""
    difference = (data["rotation_axis_check"] - data["rotation_axis"]).values
    if not np.isfinite(difference).any():
        return ""
    return f"; second minus first method {np.nanmean(difference):+.2g} ± {np.nanstd(difference):.2g} px (mean ± spread)"


def jitter_panel(data: xr.Dataset) -> Panel | None:
    """Horizontal shift of every projection."""
    if "projection_shift" not in data:
        return None
    shift = data["projection_shift"]
    root_mean_square = float(np.sqrt(np.nanmean(shift.values**2))) if np.isfinite(shift.values).any() else np.nan
    caption = (
        f"Horizontal shift of each projection against the fitted motion of the centre of mass; "
        f"root mean square {root_mean_square:.2g} px, largest {_largest(shift.values):.2g} px."
    )
    return _against_projection(shift, "jitter", "Jitter of the projections", "horizontal shift (px)", caption)


def beam_panel(data: xr.Dataset) -> Panel | None:
    """Open-beam intensity of every projection."""
    if "beam_intensity" not in data:
        return None
    beam = data["beam_intensity"]
    values = beam.values[np.isfinite(beam.values)]
    change = f"{values.min():.3f} to {values.max():.3f}" if values.size else "unknown"
    caption = (
        f"Intensity of the open beam beside the sample relative to the flats, from {change}; "
        f"each projection was divided by it.{_bad_pixels(data)}"
    )
    return _against_projection(beam, "beam-intensity", "Beam intensity", "beam intensity (relative)", caption)


def _largest(values: NDArray[Any]) -> float:
    return float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else float("nan")


def _bad_pixels(data: xr.Dataset) -> str:
    if "bad_pixel_mask" not in data:
        return ""
    mask = data["bad_pixel_mask"].values
    share = f" ({100 * mask.mean():.2g} %)" if mask.any() else ""
    return f" {count_text(int(mask.sum()), 'bad detector pixel')}{share} were filled from their neighbours."


def _against_projection(array: xr.DataArray, key: str, title: str, quantity: str, caption: str) -> Panel:
    """Lines for a few scans, an image [scan, projection] for many."""
    scans = array.values.reshape(-1, array.shape[-1])
    if len(scans) <= _MOST_LINES:
        figure = new_figure(width=DOUBLE_COLUMN, height=48)
        axes = figure.subplots()
        for scan, colour in zip(scans, series_colours(len(scans)), strict=True):
            axes.plot(np.arange(scan.size), scan, color=colour, linewidth=0.8)
        axes.set_ylabel(quantity)
    else:
        figure = new_figure(width=DOUBLE_COLUMN, height=62)
        axes = figure.subplots()
        centred = key == "jitter"
        limits = symmetric_limits(scans) if centred else robust_limits(scans)
        colours = sequential_colours("RdBu_r" if centred else "viridis")
        shown = axes.imshow(
            np.ma.masked_invalid(scans), aspect="auto", cmap=colours, vmin=limits[0], vmax=limits[1], origin="lower"
        )
        axes.set_ylabel("scan")
        caption += f" One line per scan{', the energies of each temperature in turn' if array.ndim > 2 else ''}."
        add_colour_bar(shown, axes, quantity)
    axes.set_xlabel("projection")
    return Panel(key, title, caption, figure)
