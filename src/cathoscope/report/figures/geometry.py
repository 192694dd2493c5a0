"""Figures of the geometry, the beam and the detector that a tomography was reconstructed with."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from cathoscope.report.figures.images import robust_limits, symmetric_limits
from cathoscope.report.figures.reading import at, coordinate, draws, sizes, temperature_name, temperatures
from cathoscope.report.figures.spectra import flag_words
from cathoscope.report.numbers import count_text, format_value
from cathoscope.report.style import (
    COLOURS,
    DOUBLE_COLUMN,
    Panel,
    add_colour_bar,
    add_legend_above,
    new_figure,
    sequential_colours,
    series_colours,
)

# Above this many scans, one line each cannot be told apart any more.
_MOST_LINES = 5


def rotation_axis_panel(data: xr.Dataset) -> Panel | None:
    """Rotation axis of every scan by the method in use and by the other."""
    if not draws(data, "rotation_axis"):
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
        f"Detector column of the rotation axis of {count_text(values.size, 'scan')}, {_origin(data)} (filled, with "
        f"standard uncertainty), and by the other method (open). "
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
    label = ", ".join(text for text in (name, "used") if text)
    axes.errorbar(where, values, yerr=error, fmt="o-", color=colour, label=label, linewidth=0.8)
    if "rotation_axis_check" in data:
        check = np.atleast_1d(at(data["rotation_axis_check"], **place).values)
        label = ", ".join(text for text in (name, "other method") if text)
        axes.plot(where, check, "s", color=colour, markerfacecolor="none", label=label)


def _single_axis_panel(data: xr.Dataset) -> Panel:
    """One scan: the two estimates as two points on one line."""
    value, std = _scalar(data, "rotation_axis"), _scalar(data, "rotation_axis_std")
    check = _scalar(data, "rotation_axis_check")
    figure = new_figure(height=28)
    axes = figure.subplots()
    error = std if np.isfinite(std) else None
    axes.errorbar([value], [1], xerr=error, fmt="o", color=COLOURS[0])
    if np.isfinite(check):
        axes.plot([check], [0], "s", color=COLOURS[1], markerfacecolor="none")
    else:
        axes.text(0.5, 0, "no value", transform=axes.get_yaxis_transform(), ha="center", va="center", color="0.4")
    axes.set_yticks([0, 1], ["other method", "used"])
    axes.set_ylim(-0.6, 1.6)
    axes.locator_params(axis="x", nbins=5)
    axes.set_xlabel("rotation axis (px)")
    stated = format_value(value, std if np.isfinite(std) else None, "px")
    caption = f"Detector column of the rotation axis, {_origin(data)}: {stated}"
    caption += f"; by the other method {check:.2f} px." if np.isfinite(check) else "; the other method gave none."
    return Panel("rotation-axis", "Rotation axis", caption, figure)


_ORIGINS = {
    "centre of mass": "from the centre of mass of the projections",
    "mirrored projections": "from mirrored projections half a turn apart",
}


def _origin(data: xr.Dataset) -> str:
    """Where the rotation axis comes from, with the number of scans where they differ."""
    std, method = data.get("rotation_axis_std"), data.get("rotation_axis_method")
    if std is not None and not np.nan_to_num(std.values, nan=1.0).any():
        return "fixed in the recipe"
    if method is None:
        return "as given"
    names = flag_words(method)
    counts = {_ORIGINS[name]: int((method.values == flag).sum()) for flag, name in names.items() if name in _ORIGINS}
    found = {words: count for words, count in counts.items() if count}
    if len(found) < 2:
        return "".join(found)
    return " and ".join(f"{words} ({count})" for words, count in found.items())


def _scalar(data: xr.Dataset, name: str) -> float:
    return float(data[name].values.ravel()[0]) if name in data else float("nan")


def _agreement(data: xr.Dataset) -> str:
    if "rotation_axis_check" not in data:
        return ""
    difference = (data["rotation_axis_check"] - data["rotation_axis"]).values
    if not np.isfinite(difference).any():
        return ""
    return f"; other minus used {np.nanmean(difference):+.2g} ± {np.nanstd(difference):.2g} px (mean ± spread)"


# Whether the geometry is that of a series.
_JITTER_AGAINST = {True: "the common model of its series", False: "the fitted motion of the centre of mass"}


def jitter_panel(data: xr.Dataset) -> Panel | None:
    """Horizontal shift of every projection; nothing where none was corrected."""
    if not draws(data, "projection_shift", "projection") or not np.nan_to_num(data["projection_shift"].values).any():
        return None
    shift = data["projection_shift"]
    root_mean_square = float(np.sqrt(np.nanmean(shift.values**2))) if np.isfinite(shift.values).any() else np.nan
    caption = (
        f"Horizontal shift of each projection against {_JITTER_AGAINST['specimen_shift' in data]}; "
        f"root mean square {root_mean_square:.2g} px, largest {_largest(shift.values):.2g} px."
    )
    return _against_projection(shift, "jitter", "Jitter of the projections", "horizontal shift (px)", caption)


def beam_panel(data: xr.Dataset) -> Panel | None:
    """Open-beam intensity of every projection; nothing where there is no open beam to see."""
    if not draws(data, "beam_intensity", "projection"):
        return None
    beam = data["beam_intensity"]
    if (np.nan_to_num(beam.values, nan=1.0) == 1.0).all():
        return None
    values = beam.values[np.isfinite(beam.values)]
    change = f"{values.min():.3f} to {values.max():.3f}" if values.size else "unknown"
    caption = (
        f"Intensity of the open beam beside the sample relative to the flats, from {change}; "
        "each projection was divided by it."
    )
    return _against_projection(beam, "beam-intensity", "Beam intensity", "beam intensity (relative)", caption)


def _largest(values: NDArray[Any]) -> float:
    return float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else float("nan")


def detector_panel(data: xr.Dataset) -> Panel | None:
    """Gain errors that would be stripes, and bad pixels, on the detector; nothing where it has neither."""
    if not draws(data, "stripe_offset", "row", "column"):
        return None
    offset = data["stripe_offset"]
    mask = data["bad_pixel_mask"] if draws(data, "bad_pixel_mask", "row", "column") else None
    n_bad = 0 if mask is None else int(mask.values.sum())
    if not n_bad and not offset.values.any():
        return None
    first = at(offset, temperature=0)
    figure = new_figure(width=DOUBLE_COLUMN, height=min(70.0, 34 + 136 * first.shape[0] / first.shape[1]))
    axes = figure.subplots()
    limits = symmetric_limits(first.values[first.values != 0])
    shown = axes.imshow(first.values, cmap="RdBu_r", vmin=limits[0], vmax=limits[1], origin="lower", aspect="auto")
    if mask is not None:
        row, column = np.nonzero(at(mask, temperature=0).values)
        axes.plot(column, row, "x", color="black", markersize=3, label="bad pixel")
    axes.set_xlabel("detector column (px)")
    axes.set_ylabel("detector row (px)")
    for side in (axes.xaxis, axes.yaxis):
        side.set_major_locator(MaxNLocator(8, integer=True))
    add_colour_bar(shown, axes, "added optical depth")
    corrected = offset.values != 0
    crosses = f" Crosses: {count_text(n_bad, 'bad pixel')}, filled from their neighbours." if n_bad else ""
    which = " The first condition is shown." if sizes(offset, "temperature")[0] > 1 else ""
    caption = (
        f"Optical depth that wrong gains of single pixels add to every projection: {100 * corrected.mean():.2g} % of "
        f"the pixels, removed before reconstruction, or each would draw a ring.{crosses}{which}"
    )
    return Panel("detector", "Detector", caption, figure)


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
