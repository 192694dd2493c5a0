"""Curves of the state of charge: histograms with the noise removed, changes, radial profiles, samples side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from numpy.typing import NDArray

from cathoscope.report.figures.reading import (
    Histogram,
    bins_of_width,
    common_range,
    draws,
    histogram,
    slabs,
    temperature_name,
    temperatures,
)
from cathoscope.report.figures.states import has_differences, step_names
from cathoscope.report.numbers import format_value
from cathoscope.report.style import (
    COLOURS,
    DOUBLE_COLUMN,
    MARKERS,
    SINGLE_COLUMN,
    Panel,
    add_figure_legend,
    add_legend_above,
    mean_line,
    new_figure,
    series_colours,
)

Floats = NDArray[np.float64]

_MEASURED, _TRUE = "white_line_density", "white_line_true_density"
_WIDTHS = {_MEASURED: 0.7, _TRUE: 1.7}
_KINDS = {_MEASURED: "thin lines as measured", _TRUE: "thick lines with the noise removed (band: ± 1 σ)"}
_STEP = 0.02  # eV, width of the fine bins from which the drawn ones are put together
_DODGE = 0.014  # of the temperature range, between particles, so that their error bars do not hide each other


@dataclass(frozen=True)
class ParticleResult:
    """The results of one particle of a sample, as the study holds them for one measurement."""

    sample: str
    particle: str
    data: xr.Dataset


def state_histogram_panel(data: xr.Dataset) -> Panel | None:
    """Distribution of the white-line energy per temperature, as measured and with the noise removed (Hou, Fig. 2e)."""
    names = [name for name in (_MEASURED, _TRUE) if _is_curve(data, name, "energy_bin")]
    if not names:
        return None
    energy = np.asarray(data["energy_bin"].values, np.float64)
    conditions = temperatures(data[names[0]])
    curves = {name: _rows(data, name) for name in names}
    spread = _rows(data, f"{_TRUE}_std") if _TRUE in names and f"{_TRUE}_std" in data else None
    top = max(float(np.nanmax(each)) for each in curves.values())
    if spread is not None:
        top = max(top, float(np.nanmax(curves[_TRUE] + spread)))
    top = top if top > 0 else 1.0
    figure = new_figure(height=66)
    axes = figure.subplots()
    for index, (condition, colour) in enumerate(zip(conditions, series_colours(len(conditions)), strict=True)):
        for name in names:
            words = temperature_name(condition) or None if name == names[-1] else None
            axes.plot(energy, curves[name][index], color=colour, linewidth=_WIDTHS[name], label=words)
        if spread is not None:
            low, high = curves[_TRUE][index] - spread[index], curves[_TRUE][index] + spread[index]
            axes.fill_between(energy, np.maximum(low, 0), high, color=colour, alpha=0.22, linewidth=0)
        _mark_mean(axes, data, index, colour, top)
    filled = np.any([(each > 0.004 * top).any(axis=0) for each in curves.values()], axis=0)
    if filled.sum() > 1:
        axes.set_xlim(energy[filled].min(), energy[filled].max())
    axes.set_ylim(0, 1.14 * top)
    axes.set_xlabel("white-line energy (eV)")
    axes.set_ylabel("voxels (% per eV)")
    add_figure_legend(figure, axes)
    kinds = [_KINDS[name] for name in names]
    caption = f"White-line energies of the trusted voxels: {' and '.join(kinds)}.{_means(data)}"
    return Panel("state-histogram", "Distribution of the white-line energy, noise removed", caption, figure)


def _is_curve(data: xr.Dataset, name: str, dim: str) -> bool:
    """Whether there is an array along ``dim``, of one condition or several, with a value and a coordinate."""
    found = draws(data, name, dim) and "energy" not in data[name].dims and dim in data.coords
    return found and bool(np.isfinite(data[name].values).any())


def _rows(data: xr.Dataset, name: str) -> Floats:
    """Values [condition, bin], shares in % for densities."""
    values = np.atleast_2d(np.asarray(data[name].values, np.float64))
    return 100 * values if "density" in name else values


def _mark_mean(axes: Axes, data: xr.Dataset, index: int, colour: Any, top: float) -> None:
    """The mean above the curves, with its standard uncertainty."""
    means = _along(data, "white_line_mean")
    if means is None or index >= means.size or not np.isfinite(means[index]):
        return
    std = _along(data, "white_line_mean_std")
    error = None if std is None else std[index]
    axes.errorbar(means[index], 1.07 * top, xerr=error, fmt="v", color=colour, markersize=4, elinewidth=1.0)


def _along(data: xr.Dataset, name: str) -> Floats | None:
    return np.atleast_1d(np.asarray(data[name].values, np.float64)) if name in data else None


def _means(data: xr.Dataset) -> str:
    means = _along(data, "white_line_mean")
    if means is None:
        return ""
    stds = _along(data, "white_line_mean_std")
    words = []
    for index, (value, name) in enumerate(zip(means, temperatures(data["white_line_mean"]), strict=True)):
        place = f"{temperature_name(name)}: " if name is not None else ""
        words.append(place + format_value(float(value), None if stds is None else float(stds[index]), "eV"))
    return f" Triangles are the means with their standard uncertainty. {'; '.join(words)}."


def difference_histogram_panel(data: xr.Dataset) -> Panel | None:
    """Distribution of the change of the white-line energy at every step (Hou, Fig. 2k,l)."""
    if not has_differences(data):
        return None
    names = step_names(data)
    fine = [histogram(_differences(data, index), step=_STEP) for index in range(len(names))]
    if not any(each.total for each in fine):
        return None
    figure = new_figure(height=60)
    axes = figure.subplots()
    words = []
    for index, (each, drawn, colour) in enumerate(
        zip(fine, bins_of_width(fine), series_colours(len(names)), strict=True)
    ):
        if not each.total:
            continue
        density = 100 * drawn.counts / drawn.total / np.diff(drawn.edges)
        axes.stairs(density, drawn.edges, color=colour, fill=True, alpha=0.18)
        axes.stairs(density, drawn.edges, color=colour, label=names[index], linewidth=1.0)
        mean_line(axes, each.mean, colour)
        words.append(f"{names[index]}: {_difference_words(data, index, each)}")
    axes.axvline(0, color="0.5", linewidth=0.6)
    low, high = common_range(fine)
    axes.set_xlim(min(low - 0.1 * (high - low), 0), max(high + 0.1 * (high - low), 0))
    axes.set_ylim(bottom=0)
    axes.set_xlabel("change of white-line energy (eV)")
    axes.set_ylabel("voxels (% per eV)")
    add_figure_legend(figure, axes)
    caption = (
        "Change of the white-line energy voxel by voxel, from each temperature to the next, both volumes moved onto "
        f"each other; dashed lines are the means of the voxels. {'; '.join(words)}."
    )
    return Panel("difference-histogram", "Distribution of the change of the white-line energy", caption, figure)


def _differences(data: xr.Dataset, step: int) -> Iterator[NDArray[Any]]:
    for (piece,) in slabs([data["white_line_difference"]], step=step):
        yield piece


def _difference_words(data: xr.Dataset, index: int, each: Histogram) -> str:
    means, stds = _along(data, "difference_mean"), _along(data, "difference_mean_std")
    widths = _along(data, "difference_width")
    if means is None:
        text = f"mean {each.mean:+.2f} eV"
    else:
        text = f"mean {format_value(float(means[index]), None if stds is None else float(stds[index]), 'eV')}"
    text += f", standard deviation {each.width:.2f} eV"
    return text + (f", {widths[index]:.2f} eV with the noise removed" if widths is not None else "")


def profile_panel(data: xr.Dataset) -> Panel | None:
    """White-line energy against the depth below the surface, and how far equal states of charge reach."""
    curves, lengths = _is_curve(data, "white_line_profile", "depth"), _has_lengths(data)
    if not (curves or lengths):
        return None
    both = curves and lengths
    figure = new_figure(width=DOUBLE_COLUMN if both else SINGLE_COLUMN, height=62)
    ratios = {"width_ratios": [1.7, 1.0]} if both else {}
    grid = np.atleast_1d(figure.subplots(1, 1 + both, gridspec_kw=ratios))
    words = []
    if curves:
        _draw_profiles(grid[0], data)
        words.append(
            "White-line energy of the trusted voxels against their depth below the surface, with the standard "
            "uncertainty of the mean of each layer."
        )
    if lengths:
        words.append(_draw_lengths(grid[-1], data))
    return Panel("state-profile", "White-line energy from the surface inwards", " ".join(words), figure)


def _draw_profiles(axes: Axes, data: xr.Dataset) -> None:
    depth, profile = np.asarray(data["depth"].values, np.float64), _rows(data, "white_line_profile")
    stds = _rows(data, "white_line_profile_std") if "white_line_profile_std" in data else None
    names = temperatures(data["white_line_profile"])
    for index, (name, colour) in enumerate(zip(names, series_colours(len(names)), strict=True)):
        error = None if stds is None else stds[index]
        words = temperature_name(name) or None
        axes.errorbar(depth, profile[index], yerr=error, fmt="o-", color=colour, label=words, markersize=2.5)
    axes.set_xlim(left=min(0.0, float(np.nanmin(depth))))
    axes.set_xlabel("depth below the surface (µm)")
    axes.set_ylabel("white-line energy (eV)")
    add_legend_above(axes)


def _has_lengths(data: xr.Dataset) -> bool:
    name = "correlation_length"
    return draws(data, name) and "z" not in data[name].dims and bool(np.isfinite(data[name].values).any())


def _draw_lengths(axes: Axes, data: xr.Dataset) -> str:
    """Bars of the correlation length per temperature; what the caption says of them."""
    lengths, stds = np.atleast_1d(data["correlation_length"].values), _along(data, "correlation_length_std")
    names = [temperature_name(name) for name in temperatures(data["correlation_length"])]
    rows = np.arange(lengths.size)
    axes.barh(rows, lengths, xerr=stds, color=series_colours(lengths.size), height=0.62, error_kw={"elinewidth": 0.8})
    axes.set_yticks(rows, [name or "all" for name in names])
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.set_xlabel("correlation length (µm)")
    parts = [
        f"{name + ': ' if name else ''}{format_value(float(length), None if stds is None else float(stds[row]), 'um')}"
        for row, (name, length) in enumerate(zip(names, lengths, strict=True))
    ]
    return f"Correlation length, the distance over which the white-line energy stays alike: {'; '.join(parts)}."


def samples_panel(results: Sequence[ParticleResult]) -> Panel | None:
    """Mean and width of the white line against temperature for the particles of several samples, side by side."""
    usable = [each for each in results if draws(each.data, "white_line_mean", "temperature")]
    usable = [each for each in usable if None not in temperatures(each.data["white_line_mean"])]
    if not usable:
        return None
    wide = any("white_line_width" in each.data for each in usable)
    figure = new_figure(width=DOUBLE_COLUMN if wide else SINGLE_COLUMN, height=66)
    grid = np.atleast_1d(figure.subplots(1, 1 + wide))
    labels = ("mean white-line energy (eV)", "width of the distribution (eV)")
    n_samples = len({each.sample for each in usable})
    handles: dict[str, Any] = {}
    for axes, name, label in zip(grid, ("white_line_mean", "white_line_width"), labels, strict=False):
        handles |= _draw_samples(axes, usable, name)
        axes.set_xlabel("temperature (°C)")
        axes.set_ylabel(label)
        axes.margins(x=0.06)
    if wide:
        grid[1].set_ylim(bottom=0)
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=n_samples, columnspacing=3)
    caption = (
        "Mean white-line energy of the trusted voxels"
        f"{', and its spread between voxels with the noise removed' if wide else ''}, of every particle with its "
        "standard uncertainty; particles stand beside each other. Lines are the means of a sample's particles."
        f"{_sample_words(usable)}"
    )
    return Panel("state-samples", "Samples side by side", caption, figure)


def _draw_samples(axes: Axes, results: Sequence[ParticleResult], name: str) -> dict[str, Any]:
    """Points of every particle and a line per sample; what the legend shows."""
    samples = list(dict.fromkeys(each.sample for each in results))
    where = np.concatenate([each.data["temperature"].values for each in results])
    step = _DODGE * max(float(np.ptp(where)), 1.0)
    handles: dict[str, Any] = {}
    for position, sample in enumerate(samples):
        colour = COLOURS[position % len(COLOURS)]
        particles = [each for each in results if each.sample == sample and name in each.data]
        for number, each in enumerate(particles):
            beside = next(i for i, other in enumerate(results) if other is each) - 0.5 * (len(results) - 1)
            place = each.data["temperature"].values + step * beside
            options: dict[str, Any] = {
                "color": colour,
                "fmt": MARKERS[number % len(MARKERS)],
                "markerfacecolor": "white",
            }
            words = f"{sample}, particle {each.particle}" if each.particle else sample
            values, std = each.data[name].values, _along(each.data, f"{name}_std")
            handles[words] = axes.errorbar(place, values, yerr=std, **options)
        if particles:
            average = sample_mean(particles, name)
            axes.plot(average["temperature"], average, color=colour, linewidth=1.2, zorder=1)
    return handles


def sample_mean(particles: Sequence[ParticleResult], name: str) -> xr.DataArray:
    """Mean over particles of what each has at a temperature, [temperature]; NaN where none has a value."""
    arrays = [each.data[name].reset_coords(drop=True) for each in particles]
    return xr.concat(arrays, dim="particle", join="outer").mean("particle", skipna=True).sortby("temperature")


def _sample_words(results: Sequence[ParticleResult]) -> str:
    """Mean of the particles of each sample, with its uncertainty from their scatter if there are several."""
    words = []
    for sample in dict.fromkeys(each.sample for each in results):
        particles = [each for each in results if each.sample == sample]
        average = sample_mean(particles, "white_line_mean")
        parts = []
        for temperature, mean in zip(average["temperature"].values, average.values, strict=True):
            values = [_value_at(each.data["white_line_mean"], float(temperature)) for each in particles]
            known = np.array([value for value in values if np.isfinite(value)])
            std = float(known.std(ddof=1) / np.sqrt(known.size)) if known.size > 1 else None
            text = format_value(float(mean), std, "eV") if std is not None else f"{mean:.2f} eV"
            parts.append(f"{temperature_name(float(temperature))} {text}")
        count = "1 particle" if len(particles) == 1 else f"{len(particles)} particles, σ from their scatter"
        words.append(f" {sample} ({count}): {', '.join(parts)}.")
    return "".join(words)


def _value_at(array: xr.DataArray, temperature: float) -> float:
    values = array.where(array["temperature"] == temperature, drop=True).values
    return float(values[0]) if values.size else float("nan")
