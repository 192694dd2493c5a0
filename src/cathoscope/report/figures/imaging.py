"""Figures of images at a few energies: optical depth, the jump at the edge, and the particles with their numbers."""

from __future__ import annotations

import re

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from scipy.ndimage import binary_fill_holes

from cathoscope.report.figures.images import draw_image, extent_of, robust_limits
from cathoscope.report.figures.reading import coordinate, draws
from cathoscope.report.figures.spectromicroscopy import FEWEST_ENERGIES
from cathoscope.report.numbers import count_text
from cathoscope.report.style import DOUBLE_COLUMN, SINGLE_COLUMN, Panel, add_colour_bar, new_figure, sequential_colours

_MOST_NUMBERS = 60
# Numbers nearer to each other than this share of the image width would cover one another.
_NEAREST = 0.035
# Percentiles at which the scale of the jump ends: rims without a trusted jump lie far below, particles above.
_DARKEST, _BRIGHTEST = 2.0, 99.9
_STROKE = [withStroke(linewidth=1.6, foreground="black")]


# Where the uncertainty of a pixel comes from, in words.
_SOURCES = {
    "counting": "the counts",
    "scatter": "the scatter of the empty field",
    "half-set": "half of the frames each",
}


def energy_images_panel(data: xr.Dataset) -> Panel | None:
    """Optical depth at each of the few energies, on one grey scale."""
    if not draws(data, "optical_depth", "energy", "y", "x") or data["optical_depth"].sizes["energy"] >= FEWEST_ENERGIES:
        return None
    depth = data["optical_depth"]
    energy = coordinate(depth, "energy")
    images = [depth.isel(energy=index).load() for index in range(depth.sizes["energy"])]
    limits = robust_limits(np.concatenate([image.values.ravel() for image in images]))
    n, shape = len(images), depth.sizes["y"] / depth.sizes["x"]
    width = SINGLE_COLUMN if n == 1 else DOUBLE_COLUMN
    figure = new_figure(width=width, height=min(110.0, (width - 28) / n * shape + 9))
    for axes, image, index in zip(np.atleast_1d(figure.subplots(1, n)), images, range(n), strict=True):
        shown = draw_image(axes, image, colours=sequential_colours("gray"), limits=limits, light_bar=True, ticks=False)
        axes.set_title(f"image {index + 1}" if energy is None else f"{energy[index]:.2f} eV")
    add_colour_bar(shown, figure.axes[:n], "optical depth")
    parts = [f"{axes.get_title()}: {_median(image)}" for axes, image in zip(figure.axes, images, strict=False)]
    caption = (
        f"Optical depth, the logarithm of incident over transmitted intensity, {'on one grey scale ' if n > 1 else ''}"
        f"from {limits[0]:.3g} to {limits[1]:.3g}. Median {'; '.join(parts)}.{_moves(depth)}"
    )
    return Panel("optical-depth", "Optical depth", caption, figure)


def _median(image: xr.DataArray) -> str:
    finite = image.values[np.isfinite(image.values)]
    return f"{np.median(finite):.3g}" if finite.size else "no value"


def _moves(depth: xr.DataArray) -> str:
    said = [str(remark) for remark in depth.attrs.get("remarks", ()) if "moved by" in str(remark)]
    return f" {'; '.join(said)}." if said else ""


def jump_panel(data: xr.Dataset) -> Panel | None:
    """Map of the jump of the optical depth at the edge, with outlines and numbers of the particles."""
    if not draws(data, "optical_depth_jump", "y", "x") or data["optical_depth_jump"].ndim != 2:
        return None
    image = data["optical_depth_jump"].load()
    if not np.isfinite(image.values).any():
        return None
    shape = image.shape[0] / image.shape[1]
    figure = new_figure(width=DOUBLE_COLUMN, height=min(150.0, 135.0 * shape + 12))
    axes = figure.subplots()
    limits = robust_limits(image.values, _DARKEST, _BRIGHTEST)
    shown = draw_image(axes, image, colours=sequential_colours("cividis"), limits=limits, light_bar=True)
    add_colour_bar(shown, axes, "jump of the optical depth at the edge")
    outlined = _outline(axes, data, image)
    numbered = _number(axes, data)
    element = str(image.attrs.get("element", ""))
    caption = (
        f"Jump of the optical depth at the {element + ' ' if element else ''}edge "
        f"({image.attrs.get('definition', 'above minus below the edge')}), in proportion to the amount of "
        f"{element or 'the element'} along the beam. The colour scale ends at "
        f"{_short(limits[0])} and {_short(limits[1])}."
        f"{_field(image)}{_outline_words(outlined, numbered)}{_noise(data)}"
    )
    title = f"Map of {element}" if element else "Map of the absorbing element"
    return Panel("optical-depth-jump", title, caption, figure)


def _outline(axes: Axes, data: xr.Dataset, image: xr.DataArray) -> str:
    """Outline the numbered particles, else the mask; what was outlined."""
    for name, words in (("particle_label", "particle"), ("particle_mask", "mask")):
        if not draws(data, name, "y", "x") or data[name].shape != image.shape:
            continue
        inside = binary_fill_holes(np.asarray(data[name].values) > 0)
        if 0 < inside.mean() < 1:
            (left, right, bottom, top), _ = extent_of(image)
            rows, columns = image.shape
            x = left + (np.arange(columns) + 0.5) * (right - left) / columns
            y = bottom + (np.arange(rows) + 0.5) * (top - bottom) / rows
            axes.contour(x, y, inside.astype(np.float32), levels=[0.5], colors="white", linewidths=0.7)
            return words
    return ""


def _number(axes: Axes, data: xr.Dataset) -> tuple[int, int]:
    """Write the number of each particle at its centre, the largest first, where there is room; written and all."""
    if not all(draws(data, name, "particle") for name in ("particle_y", "particle_x")):
        return 0, 0
    x, y = data["particle_x"].values, data["particle_y"].values
    number = coordinate(data["particle_x"], "particle")
    width = abs(float(np.diff(axes.get_xlim())[0]))
    placed: list[int] = []
    for index in range(x.size):
        far = all(np.hypot(x[index] - x[other], y[index] - y[other]) > _NEAREST * width for other in placed)
        if not far or len(placed) == _MOST_NUMBERS or not np.isfinite(x[index] + y[index]):
            continue
        text = str(index + 1 if number is None else number[index])
        drawn = axes.text(x[index], y[index], text, ha="center", va="center", fontweight="bold", color="white")
        drawn.set(path_effects=_STROKE, clip_on=True)
        placed.append(index)
    return len(placed), x.size


def _outline_words(outlined: str, numbered: tuple[int, int]) -> str:
    text = {"particle": " White lines enclose the particles", "mask": " White lines enclose what has an edge"}.get(
        outlined
    )
    if not text:
        return ""
    written, total = numbered
    if not total:
        return f"{text}."
    left_out = "" if written == total else f" ({total - written} without room for theirs)"
    return f"{text}; {count_text(total, 'particle')}, numbered from the largest as in the table{left_out}."


def _noise(data: xr.Dataset) -> str:
    if not draws(data, "optical_depth_jump_std", "y", "x"):
        return ""
    std = data["optical_depth_jump_std"]
    finite = std.values[np.isfinite(std.values)]
    source = str(std.attrs.get("std_source", ""))
    origin = f", from {_SOURCES.get(source, source)}" if source else ""
    return f" Median σ of one pixel {np.median(finite):.2g}{origin}." if finite.size else ""


def _short(value: float) -> str:
    return f"{value:.2g}".replace("-", "−")


def _field(image: xr.DataArray) -> str:
    """What was taken from the jump, as the analysis remarked."""
    said = [re.sub(r"(?<![\w.])-(?=\d)", "−", str(remark).rstrip(".")) for remark in image.attrs.get("remarks", ())]
    return f" Note: {'; '.join(said)}." if said else ""
