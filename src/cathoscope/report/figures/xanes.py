"""Figures of the white line: maps, histograms and differences between temperatures, as papers lay them out."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure

from cathoscope.report.figures.images import draw_image, robust_limits
from cathoscope.report.figures.reading import (
    Histogram,
    at,
    bins_of_width,
    busiest_slice,
    common_range,
    draws,
    histogram,
    sizes,
    slabs,
    temperature_name,
    temperatures,
    white_line_slabs,
)
from cathoscope.report.numbers import count_text, format_value
from cathoscope.report.style import (
    COLOURS,
    DOUBLE_COLUMN,
    Panel,
    add_colour_bar,
    axis_label,
    mean_line,
    new_figure,
    sequential_colours,
    series_colours,
    white_line_colours,
)

_STEP = 0.02  # eV, width of the fine bins from which the drawn ones are put together
_PER_ROW = 5


def histograms_of_white_line(data: xr.Dataset) -> list[Histogram]:
    """Fine histogram of the trusted white-line energies at every temperature."""
    n = sizes(data["white_line_energy"], "temperature")[0]
    return [histogram((line for (line,) in white_line_slabs(data, index)), step=_STEP) for index in range(n)]


def white_line_maps_panel(data: xr.Dataset) -> Panel | None:
    """Cross-sections of the white-line energy, one per temperature, on one colour scale."""
    if not draws(data, "white_line_energy", "y", "x"):
        return None
    found = histograms_of_white_line(data)
    if not any(each.total for each in found):
        return None
    limits = common_range(found, tail=0.01)
    energy = data["white_line_energy"]
    slice_index = busiest_slice(data)
    images = [_trusted_slice(data, "white_line_energy", index, slice_index) for index in range(len(found))]
    figure = map_row(images, temperatures(energy), white_line_colours(), limits, "white-line energy (eV)")
    where = f"the slice with the most trusted voxels{_height(energy, slice_index)}" if "z" in energy.dims else "the map"
    caption = (
        f"White-line energy in {where}. Blue is low, red is high; one colour scale, from the 1st to the 99th "
        f"percentile ({limits[0]:.2f} to {limits[1]:.2f} eV). Nothing is drawn outside the particle "
        "and where the fit gave no trusted value."
    )
    return Panel("white-line-maps", "White-line energy, cross-sections", caption, figure)


def _height(array: xr.DataArray, index: int) -> str:
    return f" (z = {float(array['z'][index]):.3g} µm)" if "z" in array.coords else f" (slice {index})"


def _trusted_slice(data: xr.Dataset, name: str, temperature: int, slice_index: int) -> xr.DataArray:
    """One slice [y, x] of an array, NaN where the white line cannot be trusted."""
    image = at(data[name], temperature=temperature, z=slice_index).load().astype(np.float64)
    for trust, good in (("white_line_flag", 0), ("particle_mask", True)):
        if trust in data:
            return image.where(at(data[trust], temperature=temperature, z=slice_index).values == good)
    return image


def map_row(
    images: list[xr.DataArray],
    names: list[float | None],
    colours: Colormap,
    limits: tuple[float, float],
    label: str,
    *,
    light_bar: bool = False,
) -> Figure:
    """Images in rows with a common colour scale, a scale bar each and one colour bar."""
    columns = min(len(images), _PER_ROW)
    rows = -(-len(images) // columns)
    shape = images[0].shape[0] / images[0].shape[1]
    cell = min(150.0 / columns, 62.0)
    width = DOUBLE_COLUMN if columns > 1 else 85.0
    figure = new_figure(width=width, height=rows * (cell * shape + 7) + 3)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.ravel()[len(images) :]:
        axes.set_visible(False)
    for axes, image, name in zip(grid.ravel(), images, names, strict=False):
        shown = draw_image(axes, image, colours=colours, limits=limits, ticks=False, light_bar=light_bar)
        axes.set_title(temperature_name(name))
    add_colour_bar(shown, list(grid.ravel()), label)
    return figure


def _draw_histogram(axes: Axes, each: Histogram, name: str | None, colour: Any) -> None:
    if not each.total:
        return
    density = 100 * each.counts / each.total / np.diff(each.edges)
    axes.stairs(density, each.edges, color=colour, fill=True, alpha=0.18)
    axes.stairs(density, each.edges, color=colour, label=name, linewidth=1.0)
    mean_line(axes, each.mean, colour)


def white_line_difference_panel(data: xr.Dataset) -> Panel | None:
    """Distribution of the change of the white-line energy from each temperature to the next."""
    if not draws(data, "white_line_energy", "temperature", "y", "x") or "white_line_difference" in data:
        return None
    if data["white_line_energy"].sizes["temperature"] < 2:
        return None
    names = temperatures(data["white_line_energy"])
    pairs = [(index, index + 1) for index in range(len(names) - 1)]
    fine = [_difference_histogram(data, *pair) for pair in pairs]
    if not any(each.total for each in fine):
        return None
    figure = new_figure(height=54)
    axes = figure.subplots()
    parts = []
    for each, drawn, (first, second), colour in zip(
        fine, bins_of_width(fine), pairs, series_colours(len(pairs)), strict=True
    ):
        title = f"{temperature_name(names[second])} − {temperature_name(names[first])}"
        _draw_histogram(axes, drawn, title, colour)
        noise = _difference_noise(data, first, second)
        expected = f", of which noise alone would give {noise:.2f} eV" if np.isfinite(noise) else ""
        parts.append(f"{title}: mean {each.mean:+.2f} eV, standard deviation {each.width:.2f} eV{expected}")
    axes.axvline(0, color="0.5", linewidth=0.6)
    low, high = common_range(fine)
    axes.set_xlim(low - 0.1 * (high - low), high + 0.1 * (high - low))
    axes.set_xlabel("change of white-line energy (eV)")
    axes.set_ylabel("voxels (% per eV)")
    axes.legend()
    n = sum(each.total for each in fine)
    caption = (
        f"Change of the white-line energy voxel by voxel, where both temperatures have a trusted value "
        f"({count_text(n, 'pair')}). {'; '.join(parts)}. The volumes were not moved against each other."
    )
    return Panel("white-line-difference", "Change of the white-line energy between temperatures", caption, figure)


def _difference_histogram(data: xr.Dataset, first: int, second: int) -> Histogram:
    both = zip(white_line_slabs(data, first), white_line_slabs(data, second), strict=True)
    return histogram((after - before for (before,), (after,) in both), step=_STEP)


def _difference_noise(data: xr.Dataset, first: int, second: int) -> float:
    """Root mean square of the standard uncertainty of the difference, eV."""
    std = "white_line_energy_std"
    if not draws(data, std, "temperature", "y", "x"):
        return float("nan")
    total, n = 0.0, 0
    both = zip(white_line_slabs(data, first, std), white_line_slabs(data, second, std), strict=True)
    for (before, std_before), (after, std_after) in both:
        variance = std_before.astype(np.float64) ** 2 + std_after.astype(np.float64) ** 2
        usable = np.isfinite(before) & np.isfinite(after) & np.isfinite(variance)
        total, n = total + float(variance[usable].sum()), n + int(usable.sum())
    return float(np.sqrt(total / n)) if n else float("nan")


def white_line_mean_panel(data: xr.Dataset) -> Panel | None:
    """Mean white-line energy against temperature."""
    if not draws(data, "white_line_mean", "temperature") or data["white_line_mean"].sizes["temperature"] < 2:
        return None
    where = np.array([np.nan if name is None else name for name in temperatures(data["white_line_mean"])])
    known = bool(np.isfinite(where).all())
    where = where if known else np.arange(where.size)
    figure = new_figure(height=52)
    axes = figure.subplots()
    mean, std = data["white_line_mean"].values, _values(data, "white_line_mean_std")
    axes.errorbar(where, mean, yerr=std, fmt="o-", color=COLOURS[0])
    axes.margins(x=0.08)
    axes.set_xlabel("temperature (°C)" if known else "condition")
    axes.set_ylabel("mean white-line energy (eV)")
    widths, width_stds = _values(data, "white_line_width"), _values(data, "white_line_width_std")
    parts = []
    for index, value in enumerate(mean):
        text = f"{where[index]:g}{' °C' if known else ''}: {format_value(value, _item(std, index), 'eV')}"
        if widths is not None:
            text += f", width {format_value(widths[index], _item(width_stds, index), 'eV')}"
        parts.append(text)
    caption = (
        "Mean white-line energy of the trusted voxels, with its standard uncertainty; the width is the spread "
        f"between voxels with the noise removed. {'; '.join(parts)}."
    )
    return Panel("white-line-mean", "Mean white-line energy", caption, figure)


def _values(data: xr.Dataset, name: str) -> Any:
    return np.atleast_1d(data[name].values) if name in data else None


def _item(values: Any, index: int) -> float | None:
    return None if values is None else float(values[index])


def white_line_sigma_panel(data: xr.Dataset) -> Panel | None:
    """Cross-sections of the standard uncertainty of the white-line energy."""
    if not all(draws(data, name, "y", "x") for name in ("white_line_energy", "white_line_energy_std")):
        return None
    slice_index = busiest_slice(data)
    names = temperatures(data["white_line_energy"])
    images = [_trusted_slice(data, "white_line_energy_std", index, slice_index) for index in range(len(names))]
    values = np.concatenate([image.values.ravel() for image in images])
    if not np.isfinite(values).any():
        return None
    limits = robust_limits(values, 1.0, 99.0)
    figure = map_row(images, names, sequential_colours(), limits, "σ of white-line energy (eV)")
    source = str(data["white_line_energy_std"].attrs.get("std_source", ""))
    caption = (
        f"Standard uncertainty σ of the white-line energy of each voxel of the same slice, from {source or 'the fit'}; "
        f"median {np.nanmedian(values):.2g} eV."
    )
    return Panel("white-line-sigma", "Uncertainty of the white-line energy", caption, figure)


def edge_jump_panel(data: xr.Dataset) -> Panel | None:
    """Cross-sections of the edge jump, with the outline of the particle."""
    if not draws(data, "edge_jump", "y", "x"):
        return None
    jump = data["edge_jump"]
    line = draws(data, "white_line_energy", "y", "x")
    slice_index = busiest_slice(data) if line and "z" in jump.dims else jump.sizes.get("z", 1) // 2
    images = [at(jump, temperature=index, z=slice_index).load() for index in range(len(temperatures(jump)))]
    limits = robust_limits(np.concatenate([image.values.ravel() for image in images]))
    label = axis_label("edge jump", str(jump.attrs.get("units", "")))
    figure = map_row(images, temperatures(jump), sequential_colours("cividis"), limits, label, light_bar=True)
    masked = draws(data, "particle_mask", "y", "x")
    if masked:
        for index, (axes, image) in enumerate(zip(figure.axes, images, strict=False)):
            _outline(axes, image, at(data["particle_mask"], temperature=index, z=slice_index))
    definition = str(jump.attrs.get("definition", "above minus below the absorption edge"))
    outline = "; the white line encloses the voxels taken as particle" if masked else ""
    caption = f"Edge jump ({definition}) in the same slice{outline}.{_particle_volume(data) if masked else ''}"
    return Panel("edge-jump", "Edge jump and particle", caption, figure)


def _outline(axes: Axes, image: xr.DataArray, mask: xr.DataArray) -> None:
    values = mask.values.astype(np.float64)
    if 0 < values.mean() < 1:
        where = [image[dim].values if dim in image.coords else np.arange(image.sizes[dim]) for dim in image.dims]
        axes.contour(where[1], where[0], values, levels=[0.5], colors="white", linewidths=0.6)


def _particle_volume(data: xr.Dataset) -> str:
    mask = data["particle_mask"]
    names = temperatures(mask)
    counts = [sum(int(piece.sum()) for (piece,) in slabs([mask], temperature=index)) for index in range(len(names))]
    parts = [
        f"{count_text(n, 'voxel')}{' at ' + temperature_name(name) if name is not None else ''}"
        for n, name in zip(counts, names, strict=True)
    ]
    return f" The particle has {', '.join(parts)}."
