"""Figures of a scanned image stack: components above the noise, their spectra and maps, what they leave over."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from cathoscope.report.figures.images import draw_image, robust_limits
from cathoscope.report.figures.reading import coordinate, draws
from cathoscope.report.names import names_along
from cathoscope.report.numbers import plain_number
from cathoscope.report.style import (
    COLOURS,
    DOUBLE_COLUMN,
    MARKERS,
    Panel,
    add_colour_bar,
    add_legend,
    new_figure,
    sequential_colours,
)

_MOST_RANKS = 40
_PER_ROW = 3
# Fewer energies than this are images, not a spectrum.
FEWEST_ENERGIES = 4


def optical_depth_panel(data: xr.Dataset) -> Panel | None:
    """Optical depth at the first energy and where the stack absorbs most, and the mean spectrum."""
    if not draws(data, "optical_depth", "energy", "y", "x") or data["optical_depth"].sizes["energy"] < FEWEST_ENERGIES:
        return None
    depth = data["optical_depth"]
    spectrum = _mean_per_energy(depth)
    energy = coordinate(depth, "energy")
    if energy is None or not np.isfinite(spectrum).any():
        return None
    strongest = int(np.nanargmax(spectrum))
    images = [depth.isel(energy=index).load() for index in (0, strongest)]
    limits = robust_limits(np.concatenate([image.values.ravel() for image in images]))
    figure = new_figure(width=DOUBLE_COLUMN, height=56)
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1, 1))
    grey = sequential_colours("gray")
    for axes, image, index in zip((left, middle), images, (0, strongest), strict=True):
        shown = draw_image(axes, image, colours=grey, limits=limits, light_bar=True, ticks=False)
        axes.set_title(f"{energy[index]:.2f} eV")
    add_colour_bar(shown, [left, middle], "optical depth", shrink=0.75)
    right.plot(energy, spectrum, color=COLOURS[0])
    right.set_xlabel("energy (eV)")
    right.set_ylabel("mean optical depth")
    caption = (
        f"Optical depth, the logarithm of incident over transmitted intensity, at the first of {len(energy)} energies "
        f"({energy[0]:.2f} eV) and where the mean over the image is highest ({energy[strongest]:.2f} eV, "
        f"{spectrum[strongest]:.3g}); right, that mean against energy."
    )
    return Panel("optical-depth", "Optical depth", caption, figure)


def _mean_per_energy(depth: xr.DataArray) -> np.ndarray:
    means = []
    for index in range(depth.sizes["energy"]):
        image = np.asarray(depth.isel(energy=index).values, np.float64)
        finite = image[np.isfinite(image)]
        means.append(float(finite.mean()) if finite.size else float("nan"))
    return np.array(means)


def singular_values_panel(data: xr.Dataset) -> Panel | None:
    """Singular values against those that noise alone would give."""
    if not draws(data, "singular_value", "rank"):
        return None
    value = data["singular_value"].values[:_MOST_RANKS]
    rank = np.arange(1, value.size + 1)
    figure = new_figure(height=54)
    axes = figure.subplots()
    axes.semilogy(rank, value, "o-", color=COLOURS[0], linewidth=0.8, label="data")
    if draws(data, "noise_floor", "rank"):
        axes.semilogy(rank, data["noise_floor"].values[:_MOST_RANKS], "--", color=COLOURS[1], label="noise alone")
        add_legend(axes)
    axes.set_xlabel("rank of the component")
    axes.set_ylabel("singular value (noise = 1)")
    n = components_above_noise(data)
    counted = "" if n is None else f" {n} of them stand above it: as many components as these data can tell apart."
    caption = f"Singular values of the spectra of all pixels, and the values that noise alone stays below.{counted}"
    return Panel("singular-values", "Components above the noise", caption, figure)


def components_above_noise(data: xr.Dataset) -> int | None:
    """Number of components the noise allows, as the analysis counted them or from the noise floor."""
    if "singular_value" not in data:
        return None
    stated = data["singular_value"].attrs.get("count_above_noise")
    if stated is not None:
        return int(stated)
    if "noise_floor" not in data:
        return None
    above = data["singular_value"].values > data["noise_floor"].values
    return int(above.size if above.all() else np.argmin(above))  # those before the first below


def component_spectra_panel(data: xr.Dataset) -> Panel | None:
    """Spectra of the components."""
    if not draws(data, "component_spectrum", "component"):
        return None
    spectra = data["component_spectrum"]
    energy = coordinate(spectra, "energy")
    figure = new_figure(height=58)
    axes = figure.subplots()
    for index, name in enumerate(component_names(spectra)):
        values = spectra.isel(component=index).values
        colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
        where = np.arange(values.size) if energy is None else energy
        every = max(1, values.size // 12)
        axes.plot(where, values, color=colour, marker=marker, markevery=every, label=name)
    axes.set_xlabel("energy (eV)" if energy is not None else "image")
    axes.set_ylabel("optical depth of unit amount")
    axes.legend()
    caption = f"Spectra from which the stack was put together: {', '.join(component_names(spectra))}."
    return Panel("component-spectra", "Component spectra", caption, figure)


def component_names(array: xr.DataArray) -> list[str]:
    """Names of the components; numbers become ``component 1``."""
    return names_along(array, "component")


def component_maps_panel(data: xr.Dataset) -> Panel | None:
    """Amount of each component in every pixel, each with its own colour bar."""
    if not draws(data, "component_weight", "component", "y", "x"):
        return None
    weight = data["component_weight"]
    names = component_names(weight)
    columns = min(len(names), _PER_ROW)
    rows = -(-len(names) // columns)
    shape = weight.sizes["y"] / weight.sizes["x"]
    height = rows * (min(130.0 / columns, 62.0) * shape + 8)
    figure = new_figure(width=DOUBLE_COLUMN if columns > 1 else 85.0, height=min(height, 230.0))
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[len(names) :]:
        axes.set_visible(False)
    parts = []
    for index, (axes, name) in enumerate(zip(grid, names, strict=False)):
        image = weight.isel(component=index).load()
        parts.append(_draw_weight(axes, image, name) + _median_sigma(data, index))
    caption = (
        f"Amount of each component in every pixel, by weighted least squares; amounts are in units of the component "
        f"spectra. {'; '.join(parts)}."
    )
    return Panel("component-maps", "Component maps", caption, figure)


def _draw_weight(axes: Axes, image: xr.DataArray, name: str) -> str:
    """Draw one map and say its mean."""
    limits = robust_limits(image.values)
    shown = draw_image(axes, image, colours=sequential_colours(), limits=limits, ticks=False, light_bar=True)
    axes.set_title(name)
    add_colour_bar(shown, axes, "amount")
    finite = image.values[np.isfinite(image.values)]
    return f"{name}: mean {plain_number(float(f'{finite.mean():.3g}'))}" if finite.size else f"{name}: no value"


def _median_sigma(data: xr.Dataset, component: int) -> str:
    if not draws(data, "component_weight_std", "component", "y", "x"):
        return ""
    std = data["component_weight_std"].isel(component=component).values
    finite = std[np.isfinite(std)]
    return f", median σ of a pixel {plain_number(float(f'{np.median(finite):.2g}'))}" if finite.size else ""


def residual_panel(data: xr.Dataset) -> Panel | None:
    """What the mixture leaves unexplained in every pixel."""
    if not draws(data, "mixture_residual", "y", "x"):
        return None
    residual = data["mixture_residual"].load()
    limits = robust_limits(residual.values)
    shape = residual.shape[0] / residual.shape[1]
    figure = new_figure(height=min(100.0, 62 * shape + 8))
    axes = figure.subplots()
    shown = draw_image(axes, residual, colours=sequential_colours("magma"), limits=limits, light_bar=True)
    add_colour_bar(shown, axes, "residual (optical depth)")
    finite = residual.values[np.isfinite(residual.values)]
    typical = f"; median {np.median(finite):.2g}" if finite.size else ""
    caption = (
        f"Root mean square over energy of what the components leave unexplained{typical}. Structure in this map means "
        "that a component is missing or that the images have moved."
    )
    return Panel("mixture-residual", "Residual of the mixture", caption, figure)
