"""Figures of a virtual experiment: what was found against what is true."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr
from matplotlib.colors import LogNorm
from numpy.typing import NDArray

from cathoscope.report.figures.diffraction_truth import numbers_pull_panel, numbers_truth_panel
from cathoscope.report.figures.reading import (
    bins_of_width,
    common_range,
    draws,
    histogram,
    sizes,
    slabs,
    white_line_slabs,
)
from cathoscope.report.numbers import count_text
from cathoscope.report.style import COLOURS, Panel, add_colour_bar, add_legend, new_figure

_NAME = "white_line_energy"
_BINS = 60


def _comparable(result: xr.Dataset, truth: xr.Dataset) -> bool:
    both = all(draws(data, _NAME, "y", "x") for data in (result, truth))
    return both and result[_NAME].shape == truth[_NAME].shape


def _pairs(result: xr.Dataset, truth: xr.Dataset) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """True and found white-line energies of trusted voxels, by slabs."""
    for index in range(sizes(result[_NAME], "temperature")[0]):
        found = white_line_slabs(result, index)
        for (line,), (true,) in zip(found, slabs([truth[_NAME]], temperature=index), strict=True):
            usable = np.isfinite(line) & np.isfinite(true)
            yield true[usable].astype(np.float64), line[usable]


def truth_panel(result: xr.Dataset, truth: xr.Dataset) -> Panel | None:
    """Found against true white-line energy, all trusted voxels."""
    if not _comparable(result, truth):
        return None
    ranges = [histogram((pair[side] for pair in _pairs(result, truth)), step=0.02) for side in (0, 1)]
    if not ranges[0].total:
        return None
    low, high = common_range(ranges)
    margin = 0.1 * (high - low)
    edges = np.linspace(low - margin, high + margin, _BINS + 1)
    counts = np.zeros((_BINS, _BINS))
    for true, found in _pairs(result, truth):
        counts += np.histogram2d(true, found, bins=[edges, edges])[0]
    figure = new_figure(height=66)
    axes = figure.subplots()
    image = np.ma.masked_equal(counts.T, 0)
    shown = axes.pcolormesh(edges, edges, image, norm=LogNorm(1, max(counts.max(), 2)), cmap="viridis", rasterized=True)
    axes.plot(edges[[0, -1]], edges[[0, -1]], color=COLOURS[1], linewidth=0.8, linestyle="--")
    axes.set_aspect("equal")
    axes.set_xlabel("true white-line energy (eV)")
    axes.set_ylabel("found white-line energy (eV)")
    add_colour_bar(shown, axes, "voxels")
    caption = (
        f"White-line energy found in {count_text(ranges[0].total, 'trusted voxel')} against the truth of the virtual "
        f"experiment; on the dashed line they are equal. Mean found minus mean true "
        f"{ranges[1].mean - ranges[0].mean:+.3f} eV."
    )
    return Panel("white-line-truth", "White-line energy against the truth", caption, figure)


def pull_panel(result: xr.Dataset, truth: xr.Dataset) -> Panel | None:
    """Distribution of error over sigma, against the normal distribution it should have."""
    if not _comparable(result, truth) or f"{_NAME}_std" not in result:
        return None
    fine = histogram(_pulls(result, truth), step=0.05)
    if not fine.total:
        return None
    drawn = bins_of_width([fine], n_bins=40)[0]
    figure = new_figure(height=54)
    axes = figure.subplots()
    density = drawn.counts / drawn.total / np.diff(drawn.edges)
    axes.stairs(density, drawn.edges, color=COLOURS[0], fill=True, alpha=0.35, label="found")
    reach = max(4.0, *(abs(limit) for limit in common_range([fine])))
    where = np.linspace(-reach, reach, 201)
    normal = np.exp(-(where**2) / 2) / np.sqrt(2 * np.pi)
    axes.plot(where, normal, color=COLOURS[1], label="expected")
    axes.set_xlim(-reach, reach)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("error of white-line energy / σ")
    axes.set_ylabel("share of voxels (per unit)")
    add_legend(axes)
    caption = (
        f"Error of the white-line energy over its stated standard uncertainty σ, {count_text(fine.total, 'voxel')}: "
        f"mean {fine.mean:+.2f}, standard deviation {fine.width:.2f}. An honest σ gives 0 and 1, the orange curve."
    )
    return Panel("white-line-pull", "Are the uncertainties honest?", caption, figure)


def _pulls(result: xr.Dataset, truth: xr.Dataset) -> Iterator[NDArray[np.float64]]:
    for index in range(sizes(result[_NAME], "temperature")[0]):
        found = white_line_slabs(result, index, f"{_NAME}_std")
        true_slabs = slabs([truth[_NAME]], temperature=index)
        for (line, std), (true,) in zip(found, true_slabs, strict=True):
            usable = np.isfinite(line) & np.isfinite(true) & (std > 0)
            yield (line[usable] - true[usable]) / std[usable]


def truth_panels(result: xr.Dataset, truth: xr.Dataset) -> list[Panel]:
    """Every figure that compares a measurement with its truth."""
    makers = (truth_panel, pull_panel, numbers_truth_panel, numbers_pull_panel)
    return [panel for make in makers if (panel := make(result, truth)) is not None]
