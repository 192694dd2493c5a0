"""Figure of the pores of a particle in space: the particle cut open, and its pores alone in their envelope."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, ListedColormap
from matplotlib.patches import Patch
from numpy.typing import NDArray
from scipy.ndimage import grey_dilation

from cathoscope.report.figures.morphology import KINDS
from cathoscope.report.figures.reading import at, draws, slabs, temperature_name, temperatures
from cathoscope.report.render import Cut, Picture, View, middle_of, render, stride_of, width_needed
from cathoscope.report.style import DOUBLE_COLUMN, Panel, add_scale_bar, new_figure, sequential_colours

_PIXELS = 400
_GHOST = 0.13  # opacity of the envelope in front of the pores
_NAMES = ("solid_fraction", "pore_kind", "envelope_mask")


def network_panel(data: xr.Dataset) -> Panel | None:
    """The first and the last temperature that have a particle, cut open and as a network of pores."""
    if not all(draws(data, name, "z", "y", "x") for name in _NAMES):
        return None
    present = [index for index in range(data["pore_kind"].sizes.get("temperature", 1)) if _has_pores(data, index)]
    if not present:
        return None
    chosen = list(dict.fromkeys((present[0], present[-1])))
    figure = new_figure(width=DOUBLE_COLUMN, height=6 + 76.0 * len(chosen))
    grid = np.atleast_2d(figure.subplots(len(chosen), 2))
    kinds: set[int] = set()
    for row, index in zip(grid, chosen, strict=True):
        kinds |= _draw_row(list(row), data, index)
        row[0].set_ylabel(temperature_name(temperatures(data["pore_kind"])[index]))
    patches = [Patch(color=KINDS[kind][1], label=KINDS[kind][0]) for kind in sorted(kinds)]
    grid[0, 1].legend(handles=patches, loc="upper right", frameon=False)
    caption = (
        "Left: the particle with an octant cut away; the cut faces show the share of oxide. Right: its pores by kind "
        "within the transparent outer surface, the same way round. Pores are the voxels that are less than half oxide, "
        "drawn one voxel wider on every side, so that thin ones are seen."
    )
    return Panel("pore-network", "Pores in space", caption, figure)


def _has_pores(data: xr.Dataset, index: int) -> bool:
    return any(bool((piece > 0).any()) for (piece,) in slabs([data["pore_kind"]], temperature=index))


def _draw_row(row: list[Axes], data: xr.Dataset, index: int) -> set[int]:
    """Both pictures of a temperature; the kinds of pore that are in it."""
    stride = stride_of(tuple(data["pore_kind"].sizes[dim] for dim in "zyx"))
    every = {dim: slice(None, None, stride) for dim in "zyx"}
    read = {name: at(data[name], temperature=index, **every).load() for name in _NAMES}
    solid, kind, envelope = (np.asarray(read[name].values) for name in _NAMES)
    size = float(abs(read["pore_kind"]["x"][1] - read["pore_kind"]["x"][0]))
    width = 1.04 * width_needed(envelope, size, View(), middle_of(envelope))
    view = View(pixels=_PIXELS, width=width, centre=middle_of(envelope))
    oxide = np.clip(solid, 0, 1)
    opened = render(
        oxide, envelope, size, colours=sequential_colours("gray"), limits=(-0.2, 1.2), view=view, cut=Cut("octant")
    )
    _show(row[0], opened.pixels, opened)
    wider = grey_dilation(kind, size=(3, 3, 3)) * envelope
    pores = _whole(wider.astype(np.float32), wider > 0, size, ListedColormap([c for _, c in KINDS.values()]), view)
    ghost = _whole(np.ones(kind.shape, np.float32), envelope, size, sequential_colours("gray"), view)
    _show(row[1], _behind(ghost.pixels, pores.pixels), pores)
    return {int(one) for one in np.unique(kind) if one > 0}


def _whole(value: NDArray[Any], mask: NDArray[Any], size: float, colours: Colormap, view: View) -> Picture:
    """Picture of all of ``mask``, nothing cut away; kinds of pore lie in the middle of their colour."""
    limits = (0.5, len(KINDS) + 0.5)
    return render(value, mask, size, colours=colours, limits=limits, view=view, cut=Cut("nothing"))


def _behind(ghost: NDArray[np.float32], pores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pores seen through a thin veil; [row, column, red green blue alpha]."""
    veil = _GHOST * ghost[..., 3:]
    opacity = veil + (1 - veil) * pores[..., 3:]
    colour = veil * 0.45 + (1 - veil) * pores[..., 3:] * pores[..., :3]
    return np.concatenate([colour / np.maximum(opacity, 1e-6), opacity], axis=-1)


def _show(axes: Axes, pixels: NDArray[np.float32], picture: Picture) -> None:
    half = 0.5 * picture.width
    axes.imshow(pixels, extent=(-half, half, -half, half), interpolation="antialiased")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    add_scale_bar(axes, unit="um")
