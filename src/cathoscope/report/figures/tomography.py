"""Figures of a tomography: the volume."""

from __future__ import annotations

import numpy as np
import xarray as xr

from cathoscope.report.figures.images import draw_image, robust_limits
from cathoscope.report.figures.reading import at, coordinate, draws, temperature_name, temperatures
from cathoscope.report.numbers import plain_number
from cathoscope.report.style import (
    DOUBLE_COLUMN,
    SINGLE_COLUMN,
    Panel,
    add_colour_bar,
    axis_label,
    new_figure,
    sequential_colours,
)

# A section of fewer slices than this is a line, not an image.
_FEWEST_SLICES = 8


def slices_panel(data: xr.Dataset) -> Panel | None:
    """Central slices of the attenuation, across and along the rotation axis."""
    if not draws(data, "attenuation", "z", "y", "x"):
        return None
    chosen, condition = _one_volume(data["attenuation"])
    unit = str(chosen.attrs.get("units", ""))
    across = chosen.isel(z=chosen.sizes["z"] // 2).load()
    along = chosen.isel(y=chosen.sizes["y"] // 2).load()
    limits = robust_limits(np.concatenate([across.values.ravel(), along.values.ravel()]))
    both = along.sizes["z"] >= _FEWEST_SLICES
    share = along.sizes["z"] / across.sizes["y"] if both else 1.0
    width = DOUBLE_COLUMN if both else SINGLE_COLUMN
    figure = new_figure(width=width, height=min(90.0, 16 + 66 * max(1.0, share)))
    panels = list(np.atleast_1d(figure.subplots(1, 1 + both)))
    grey = sequential_colours("gray")
    shown = draw_image(panels[0], across, colours=grey, limits=limits, light_bar=True)
    panels[0].set_title(f"across the axis{_position(across, 'z')}")
    if both:
        draw_image(panels[1], along, colours=grey, limits=limits, light_bar=True)
        panels[1].set_title(f"along the axis{_position(along, 'y')}")
    add_colour_bar(shown, panels, axis_label("attenuation", unit))
    caption = (
        f"Linear attenuation in the central slice{'s across and along the axis' if both else ''} of the volume of "
        f"{' × '.join(str(n) for n in reversed(chosen.shape))} voxels (x, y, z){_voxel(chosen)}{condition}. "
        f"The grey scale ends at the 0.5 and 99.5 percentiles, {limits[0]:.3g} and {limits[1]:.3g} µm⁻¹."
        f"{_noise(data)}"
    )
    return Panel("attenuation-slices", "Attenuation", caption, figure)


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
