"""Figures of the state of charge inside a particle: cut-away views, sections, maps of the change on heating.

They are laid out as papers on heating lay them out: one column per temperature, blue for a low and red for a high
white-line energy (`style.white_line_colours`, which stays readable with every common kind of colour blindness).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.ndimage import binary_closing

from cathoscope.report.figures.images import extent_of, robust_limits, shown_pixels
from cathoscope.report.figures.reading import (
    at,
    common_range,
    coordinate,
    draws,
    slabs,
    temperature_name,
    temperatures,
)
from cathoscope.report.figures.xanes import histograms_of_white_line
from cathoscope.report.render import FLAGGED_GREY, Cut, Picture, View, middle_of, render, stride_of, width_needed
from cathoscope.report.style import (
    DOUBLE_COLUMN,
    SINGLE_COLUMN,
    Panel,
    add_colour_bar,
    add_scale_bar,
    new_figure,
    sequential_colours,
    white_line_colours,
)

_MOST_COLUMNS = 5
_OUTSIDE = 100  # flag of what is not particle
_PIXELS = 400  # of a rendering: 250 per inch at the width of a column
_SECTIONS = {"xy": "z", "xz": "y", "yz": "x"}  # plane and the direction across it
_SIGNIFICANT = 2.0  # standard uncertainties


@dataclass(frozen=True)
class Particle:
    """A particle at one temperature, every ``stride``-th voxel, ``[z, y, x]``; ``value`` is NaN where not trusted."""

    value: xr.DataArray
    mask: NDArray[np.bool_]
    stride: int

    @property
    def voxel_size(self) -> float:
        """Distance of the voxels in um (or voxels, if there are no coordinates)."""
        x = coordinate(self.value, "x")
        return float(abs(x[1] - x[0])) if x is not None and x.size > 1 else float(self.stride)

    @property
    def unit(self) -> str:
        """Unit of `voxel_size`."""
        return "um" if coordinate(self.value, "x") is not None else "px"


def particle_at(data: xr.Dataset, name: str, index: int) -> Particle:
    """The particle at temperature ``index`` with the values of the array ``name``, sampled if it is large."""
    array = data[name]
    stride = stride_of(tuple(array.sizes[dim] for dim in "zyx"))
    every = {dim: slice(None, None, stride) for dim in "zyx"}

    def read(one: str) -> Any:
        """Values of one array at the temperature and the stride that are drawn."""
        return at(data[one], temperature=index, **every).values

    value = at(array, temperature=index, **every).astype(np.float32)
    flag = read("white_line_flag") if "white_line_flag" in data else None
    if "particle_mask" in data:
        mask = np.array(read("particle_mask"), np.bool_)
    else:
        mask = np.isfinite(value.values) if flag is None else flag != _OUTSIDE
    if flag is not None and name == "white_line_energy":
        mask &= flag != _OUTSIDE
        value.values[flag != 0] = np.nan
    value.values[~mask] = np.nan
    return Particle(value, mask, stride)


def _chosen(n: int) -> list[int]:
    """Temperatures that fit side by side: all, or evenly spread ones with the first and the last."""
    return sorted({round(place) for place in np.linspace(0, n - 1, min(n, _MOST_COLUMNS))})


def state_views_panel(data: xr.Dataset) -> Panel | None:
    """Cut-away view and central sections of the white-line energy, one column per temperature (Hou, Fig. 2a-d)."""
    if not draws(data, "white_line_energy", "z", "y", "x"):
        return None
    found = histograms_of_white_line(data)
    names = temperatures(data["white_line_energy"])
    chosen = _chosen(len(names))
    # one particle at a time is in memory: they are looked at here, and read again when they are drawn
    seen = {
        index: sight
        for index in chosen
        if found[index].total and (sight := _sight(particle_at(data, "white_line_energy", index), View()))
    }
    shown = list(seen)
    if not shown:
        return None
    limits = common_range(found, tail=0.01)
    colours, width = white_line_colours(), max(sight.window for sight in seen.values())
    figure = _grid_figure(len(shown), 1 + len(_SECTIONS), extra=14)
    grid = figure.subplots(1 + len(_SECTIONS), len(shown), squeeze=False)
    for column, index in enumerate(shown):
        grid[0, column].set_title(temperature_name(names[index]))
        particle = particle_at(data, "white_line_energy", index)
        draw_view(grid[0, column], particle, colours, limits, width, bar=column == 0)
        for row, across in enumerate(_SECTIONS.values(), start=1):
            draw_section(grid[row, column], particle, across, colours, limits, width, bar=column == 0)
        del particle
    for row, words in enumerate(("cut away", *_SECTIONS)):
        grid[row, 0].text(-0.03, 0.5, words, rotation=90, ha="right", va="center", transform=grid[row, 0].transAxes)
    _bar_below(figure, grid, colours, limits, "white-line energy (eV)")
    left_out = len(names) - len(shown)
    caption = (
        "White-line energy inside the particle: with one octant cut away, and in the sections through its middle "
        "(z upwards in xz and yz; scale bars hold for all). Blue is low, red is high, grey has no trusted value. "
        f"One colour scale, from the 1st to the 99th percentile ({limits[0]:.2f} to {limits[1]:.2f} eV). Cut faces "
        "have the colours of their voxels; the outer surface is shaded and has the colour of the first trusted voxel "
        f"within 3 voxels below it.{_flagged(seen, names)}{_sampled(seen[shown[0]].stride)}"
        f"{f' Not drawn: {left_out} of {len(names)} temperatures.' if left_out else ''}"
    )
    return Panel("state-views", "White-line energy inside the particle", caption, figure)


@dataclass(frozen=True)
class _Sight:
    """What is kept of a particle that is not in memory: the square that holds it, and how much of it has no value."""

    window: float
    grey: float
    stride: int
    limits: tuple[float, float]


def _sight(particle: Particle, view: View) -> _Sight | None:
    """None of a particle that is not there."""
    count = int(np.count_nonzero(particle.mask))
    if not count:
        return None
    known = np.isfinite(particle.value.values)
    grey = 1.0 - np.count_nonzero(particle.mask & known) / count
    limits = robust_limits(particle.value.values, 1.0, 99.0)
    return _Sight(_window(particle, view), grey, particle.stride, limits)


def _window(particle: Particle, view: View) -> float:
    """Width of a square that holds the view and every section."""
    size, middle = particle.voxel_size, middle_of(particle.mask)
    steps = [View(0.0, 0.0), View(90.0, 0.0), View(0.0, 90.0), view]
    return 1.06 * max(width_needed(particle.mask, size, each, middle) for each in steps)


def _grid_figure(columns: int, rows: int, *, extra: float) -> Figure:
    """A figure of square pictures that stand close, as wide as they need but at least one column."""
    cell = min(168.0 / columns, 54.0 if rows < 3 else 42.0)
    figure = new_figure(width=max(columns * cell + 10, SINGLE_COLUMN), height=rows * cell + extra)
    engine: Any = figure.get_layout_engine()
    engine.set(w_pad=0.01, h_pad=0.03, wspace=0.01, hspace=0.01)
    return figure


def _bar_below(figure: Figure, grid: NDArray[Any], colours: Colormap, limits: tuple[float, float], label: str) -> None:
    mappable = ScalarMappable(Normalize(*limits), colours)
    options = {"location": "bottom", "shrink": 0.6, "aspect": 40, "pad": 0.015}
    add_colour_bar(mappable, list(grid.ravel()), label, **options)


def draw_view(
    axes: Axes, particle: Particle, colours: Colormap, limits: tuple[float, float], width: float, *, bar: bool
) -> Picture:
    """Draw the particle with an octant cut away in a square ``width`` wide, with a scale bar if ``bar``."""
    picture = render(
        particle.value.values,
        particle.mask,
        particle.voxel_size,
        colours=colours,
        limits=limits,
        view=View(pixels=_PIXELS, width=width),
        cut=Cut("octant"),
    )
    half = 0.5 * picture.width
    axes.imshow(picture.pixels, extent=(-half, half, -half, half), interpolation="antialiased")
    _bare(axes, particle.unit, bar=bar)
    return picture


def draw_section(
    axes: Axes,
    particle: Particle,
    across: str,
    colours: Colormap,
    limits: tuple[float, float],
    width: float,
    *,
    bar: bool,
) -> None:
    """Draw the section through the middle of the particle across a direction, in a square ``width`` wide."""
    middle = dict(zip("zyx", middle_of(particle.mask), strict=True))
    image = particle.value.isel({across: middle[across]}).transpose(*(dim for dim in "zyx" if dim != across))
    mask = particle.mask.take(middle[across], axis="zyx".index(across))
    extent, _ = extent_of(image)
    options: dict[str, Any] = {"origin": "lower", "extent": extent, "aspect": "equal"}
    grey = np.full((*mask.shape, 4), FLAGGED_GREY)
    grey[..., 3] = mask
    axes.imshow(grey, **options)
    values = np.ma.masked_invalid(shown_pixels(image.values))
    axes.imshow(values, cmap=colours, vmin=limits[0], vmax=limits[1], **options)
    row, column = (_place(image, str(dim), middle[str(dim)]) for dim in image.dims)
    axes.set_xlim(column - 0.5 * width, column + 0.5 * width)
    axes.set_ylim(row - 0.5 * width, row + 0.5 * width)
    _bare(axes, particle.unit, bar=bar)


def _place(image: xr.DataArray, dim: str, index: int) -> float:
    values = coordinate(image, dim)
    return float(index if values is None else values[index])


def _bare(axes: Axes, unit: str, *, bar: bool) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    if bar:
        add_scale_bar(axes, unit=unit)


def _flagged(seen: Mapping[int, _Sight], names: Sequence[float | None]) -> str:
    """How much of the particle is grey."""
    shares = []
    for index, sight in seen.items():
        at_words = f" at {temperature_name(names[index])}" if names[index] is not None else ""
        shares.append(f"{100 * sight.grey:.2g} %{at_words}")
    return f" Without a trusted value: {', '.join(shares)} of the particle."


def _sampled(stride: int) -> str:
    return "" if stride == 1 else f" Of every {stride} voxels along each direction one is drawn."


def particle_panel(data: xr.Dataset) -> Panel | None:
    """Interior morphology and white-line energy of the particle before heating, side by side (Hou, Fig. 1f,g)."""
    if not draws(data, "white_line_energy", "z", "y", "x"):
        return None
    inside = next((name for name in ("edge_jump", "attenuation") if draws(data, name, "z", "y", "x")), None)
    if inside is None or "energy" in data[inside].dims:
        return None
    drawn = {name: _sight(particle_at(data, name, 0), View()) for name in (inside, "white_line_energy")}
    sights = [sight for sight in drawn.values() if sight is not None and sight.grey < 1.0]
    if len(sights) < len(drawn):
        return None
    width = max(sight.window for sight in sights)
    figure = new_figure(width=DOUBLE_COLUMN, height=76)
    grid = figure.subplots(1, 2)
    labels = {"edge_jump": "edge jump (µm⁻¹)", "attenuation": "attenuation (µm⁻¹)"}
    kinds = ((sequential_colours("gray"), labels[inside]), (white_line_colours(), "white-line energy (eV)"))
    for axes, array, sight, (colours, label) in zip(grid, drawn, sights, kinds, strict=True):
        draw_view(axes, particle_at(data, array, 0), colours, sight.limits, width, bar=True)
        add_colour_bar(ScalarMappable(Normalize(*sight.limits), colours), axes, label, shrink=0.7)
    name = temperature_name(temperatures(data["white_line_energy"])[0])
    caption = (
        f"The particle{f' at {name}' if name else ''} with one octant cut away: left its {inside.replace('_', ' ')}, "
        "which shows pores and cracks, right its white-line energy, blue low and red high; grey has no trusted value. "
        f"Colour scales go from the 1st to the 99th percentile.{_sampled(sights[0].stride)}"
    )
    return Panel("particle-views", "The particle inside", caption, figure)


def step_names(data: xr.Dataset) -> list[str]:
    """What every step between temperatures is called, from the attribute ``names`` of ``step``."""
    array = data["white_line_difference"]
    n = array.sizes.get("step", 1)
    stated = np.atleast_1d(array["step"].attrs.get("names", [])) if "step" in array.coords else np.zeros(0)
    if len(stated) != n:
        return [f"step {index + 1}" for index in range(n)]
    return [str(name).replace(" C", " °C").replace("°°", "°") for name in stated]


def difference_maps_panel(data: xr.Dataset) -> Panel | None:
    """Central sections of the change of the white-line energy at every step, hatched where it is not significant."""
    if not has_differences(data):
        return None
    differences, names = data["white_line_difference"], step_names(data)
    shown = [index for index in _chosen(len(names)) if _has_values(differences, index)]
    if not shown:
        return None
    sights = [sight for index in shown if (sight := _sight(_changed(differences, index), View(0.0, 90.0)))]
    reach = max(abs(limit) for sight in sights for limit in sight.limits)
    colours, width = difference_colours(), max(sight.window for sight in sights)
    figure = _grid_figure(len(shown), 2, extra=18)
    grid = figure.subplots(2, len(shown), squeeze=False)
    for column, index in enumerate(shown):
        grid[0, column].set_title(names[index])
        particle = _changed(differences, index)
        for row, across in enumerate(("z", "y")):
            axes = grid[row, column]
            draw_section(axes, particle, across, colours, (-reach, reach), width, bar=column == 0)
            _hatch(axes, data, particle, index, across)
        del particle
    for row, words in enumerate(("xy", "xz")):
        grid[row, 0].text(-0.03, 0.5, words, rotation=90, ha="right", va="center", transform=grid[row, 0].transAxes)
    _bar_below(figure, grid, colours, (-reach, reach), "change of white-line energy (eV)")
    hatched = "white_line_difference_std" in data
    caption = (
        "Change of the white-line energy from each temperature to the next, both volumes moved onto each other, in "
        "the sections through the middle of the particle. Purple fell, orange rose, white stayed, grey has no trusted "
        f"value at both{_sampled(sights[0].stride).rstrip('.').replace(' Of', '; of')}"
        f"{f'; hatched where the change is below {_SIGNIFICANT:g} σ' if hatched else ''}."
        f"{_significant_share(data, shown, names) if hatched else ''}"
    )
    return Panel("difference-maps", "Change of the white-line energy inside the particle", caption, figure)


def difference_colours() -> Colormap:
    """Purple for a fall, orange for a rise, white for no change; unlike the colours of the energy itself."""
    return mpl.colormaps["PuOr_r"].with_extremes(bad=(0.0, 0.0, 0.0, 0.0))


def has_differences(data: xr.Dataset) -> bool:
    """Whether there are changes between temperatures in a volume."""
    name = "white_line_difference"
    return name in data and {"z", "y", "x"} <= set(data[name].dims) <= {"step", "z", "y", "x"}


def _has_values(array: xr.DataArray, step: int) -> bool:
    return any(bool(np.isfinite(piece).any()) for (piece,) in slabs([array], step=step))


def _changed(array: xr.DataArray, step: int) -> Particle:
    """The change at a step; single voxels without a value inside the particle belong to it."""
    stride = stride_of(tuple(array.sizes[dim] for dim in "zyx"))
    value = at(array, step=step, **{dim: slice(None, None, stride) for dim in "zyx"}).astype(np.float32)
    known = np.isfinite(value.values)
    return Particle(value, known | binary_closing(known), stride)


def _hatch(axes: Axes, data: xr.Dataset, particle: Particle, step: int, across: str) -> None:
    """Hatch what has not changed by more than its uncertainty allows to say."""
    if "white_line_difference_std" not in data:
        return
    middle = middle_of(particle.mask)["zyx".index(across)]
    value = particle.value.isel({across: middle})
    place = {dim: slice(None, None, particle.stride) for dim in "zyx"} | {across: middle * particle.stride}
    std = at(data["white_line_difference_std"], step=step, **place).values
    weak = np.isfinite(value.values) & ~(np.abs(value.values) >= _SIGNIFICANT * std)
    if not weak.any() or min(weak.shape) < 2:
        return
    (left, right, bottom, top), _ = extent_of(value)
    rows, columns = ((np.arange(n) + 0.5) / n for n in weak.shape)
    where = left + columns * (right - left), bottom + rows * (top - bottom)
    hatched = axes.contourf(*where, weak.astype(np.float64), levels=[0.5, 1.5], colors="none", hatches=["////"])
    hatched.set_edgecolor("0.25")
    hatched.set_linewidth(0)
    hatched.set_hatch_linewidth(0.5)


def _significant_share(data: xr.Dataset, shown: Iterable[int], names: Sequence[str]) -> str:
    words = []
    for index in shown:
        strong, total = 0, 0
        for value, std in slabs([data["white_line_difference"], data["white_line_difference_std"]], step=index):
            known = np.isfinite(value) & np.isfinite(std)
            total += int(known.sum())
            strong += int((np.abs(value[known]) >= _SIGNIFICANT * std[known]).sum())
        if total:
            words.append(f"{names[index]}: {100 * strong / total:.0f} %")
    return f" Share of voxels changed by {_SIGNIFICANT:g} σ or more: {'; '.join(words)}." if words else ""
