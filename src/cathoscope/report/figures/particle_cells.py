"""Figure of single particles as cells: voltage curves, impedance, capacity and resistance, particle by particle."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import PowerNorm

from cathoscope.report.cells import cycles_of, is_cells, is_impedance, is_particle, scale_of, there, used
from cathoscope.report.figures.impedance import ohms
from cathoscope.report.figures.state_curves import ParticleResult
from cathoscope.report.numbers import format_value
from cathoscope.report.style import COLOURS, DOUBLE_COLUMN, Panel, add_colour_bar, new_figure, ordered_colours

Pair = tuple[ParticleResult, ParticleResult]

_MOST_PARTICLES = 4
_MOST_CURVES = 7
_TICKS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


def particle_cells_panel(results: Sequence[ParticleResult]) -> Panel | None:
    """Voltage curves, spectra, and capacity beside resistance of particles that have both (Cadiou, Fig. 4b, c, 5a)."""
    pairs = cells_with_spectra(results)[:_MOST_PARTICLES]
    if not pairs:
        return None
    last = max(float(cycles_of(each.data).max()) for pair in pairs for each in pair)
    colours = ScalarMappable(PowerNorm(0.5, 0, last), ordered_colours())  # early cycles change the most
    figure = new_figure(width=DOUBLE_COLUMN, height=14 + 54 * len(pairs))
    grid = figure.subplots(len(pairs), 3, squeeze=False)
    for row, (cell, spectra) in zip(grid, pairs, strict=True):
        _draw_curves(row[0], cell.data, colours)
        _draw_spectra(row[1], spectra.data, colours)
        _draw_courses(row[2], cell.data, spectra.data)
        row[0].set_title(_name(cell), loc="left")
    ticks = [one for one in _TICKS if one < 0.75 * last]
    bar = {"location": "bottom", "shrink": 0.5, "aspect": 45, "ticks": [*ticks, last], "pad": 0.08 / len(pairs)}
    add_colour_bar(colours, list(grid[:, :2].ravel()), "cycle", **bar)
    caption = (
        "Single particles as cells. Left: voltage against the charge that has passed since each charge (rising) and "
        "discharge (falling) began. Middle: impedance (points) with the fitted circuit (lines), on equal axes. Right: "
        "capacity of discharge, and resistance of charge transfer with its standard uncertainty. Cycles and spectra "
        f"that are not to be used are left out; of the others some are drawn left and middle.{_found_words(pairs)}"
    )
    return Panel("particle-cells", "Particles as cells", caption, figure)


def cells_with_spectra(results: Sequence[ParticleResult]) -> list[Pair]:
    """Records of particles, each with the first impedance of the same particle of the same sample."""
    spectra = [each for each in results if is_impedance(each.data)]
    cells = [each for each in results if is_cells(each.data) and is_particle(each.data) and there(each.data)]
    found = []
    for cell in cells:
        fitting = [each for each in spectra if each.sample == cell.sample and _number(each) == _number(cell)]
        if fitting:
            found.append((cell, fitting[0]))
    return found


def _number(result: ParticleResult) -> str:
    """Number of the particle; nothing where the recipe states none and the measurement's name stands for it."""
    return result.particle if result.particle.isdigit() else ""


def _name(result: ParticleResult) -> str:
    return f"{result.sample}, particle {_number(result)}" if _number(result) else result.sample


def _spread(places: Sequence[int]) -> list[int]:
    """All of a few places, some of many, the first and the last among them."""
    few = np.unique(np.linspace(0, len(places) - 1, min(len(places), _MOST_CURVES)).round().astype(int))
    return [places[one] for one in few] if len(places) else []


def _draw_curves(axes: Axes, data: xr.Dataset, colours: ScalarMappable) -> None:
    scale = scale_of(np.asarray(data["cell_capacity"].values), "Ah")
    place = there(data)[0]
    if "curve_voltage" in data:
        good = set(cycles_of(data)[data["cycle_used"].values[place]])
        known = [at for at, cycle in enumerate(data["curve"].values) if float(cycle) in good]
        for at in _spread(known):
            for way in (0, 1):
                charge, voltage = (data[f"curve_{one}"].values[place, at, way] for one in ("charge", "voltage"))
                colour = colours.to_rgba(float(data["curve"].values[at]))  # type: ignore[arg-type]
                axes.plot(scale.factor * charge, voltage, color=colour, linewidth=0.9)
    axes.set_xlabel(f"charge ({scale.unit})")
    axes.set_ylabel("voltage (V)")


def _draw_spectra(axes: Axes, data: xr.Dataset, colours: ScalarMappable) -> None:
    z, fit = (
        data[f"{one}_real"].values + 1j * data[f"{one}_imaginary"].values for one in ("impedance", "impedance_fit")
    )
    chosen = _spread([int(one) for one in np.flatnonzero(data["impedance_used"].values)])
    scale = ohms(np.abs(z[chosen]))
    for place in chosen:
        points, line = scale.factor * z[place], scale.factor * fit[place]
        colour = colours.to_rgba(float(data["cycle"].values[place]))  # type: ignore[arg-type]
        axes.plot(points.real, -points.imag, "o", color=colour, markersize=2.2, markeredgewidth=0)
        axes.plot(line.real, -line.imag, color=colour, linewidth=0.8)
    _square(axes)
    axes.set_xlabel(f"Re Z ({scale.unit})")
    axes.set_ylabel(f"−Im Z ({scale.unit})")


def _square(axes: Axes) -> None:
    """Equal scales from just below zero, where arcs begin."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    side = max(right - left, high - low)
    axes.set_xlim(left, left + side)
    axes.set_ylim(low, low + side)
    axes.set_aspect("equal", adjustable="box")


def _draw_courses(axes: Axes, cell: xr.Dataset, spectra: xr.Dataset) -> None:
    """Capacity at the left axis, resistance at the right one, each in the colour of its axis."""
    scale = scale_of(np.asarray(cell["cell_capacity"].values), "Ah")
    place = there(cell)[0]
    capacity = scale.factor * used(cell, "cell_capacity")[place]
    axes.plot(cycles_of(cell), capacity, "o", color=COLOURS[0], markersize=2.4, markeredgewidth=0)
    good = spectra["impedance_used"].values
    value, std = (np.asarray(spectra[f"transfer_resistance{end}"].values)[good] for end in ("", "_std"))
    unit = ohms(value)
    twin = axes.twinx()
    twin.spines["right"].set_visible(True)
    twin.errorbar(
        cycles_of(spectra)[good], unit.factor * value, unit.factor * np.nan_to_num(std), fmt="s-", color=COLOURS[1],
        markersize=2.6, linewidth=0.6, elinewidth=0.8,
    )  # fmt: skip
    twin.set_ylim(bottom=0)
    axes.set_xlabel("cycle")
    axes.set_ylabel(f"capacity ({scale.unit})", color=COLOURS[0])
    twin.set_ylabel(f"charge-transfer resistance ({unit.unit})", color=COLOURS[1])


def _found_words(pairs: Sequence[Pair]) -> str:
    """The largest capacity and its cycle, and the first and the smallest resistance of every particle."""
    found = []
    for cell, spectra in pairs:
        data, place = cell.data, there(cell.data)[0]
        capacity = used(data, "cell_capacity")[place]
        good = np.flatnonzero(spectra.data["impedance_used"].values)
        if not np.isfinite(capacity).any() or good.size < 2:
            continue
        scale = scale_of(capacity, "Ah")
        best = int(np.nanargmax(capacity))
        first, least = good[0], good[np.nanargmin(spectra.data["transfer_resistance"].values[good])]
        ends = " to ".join(_resistance(spectra.data, int(at)) for at in (first, least))
        found.append(
            f"{_name(cell)}: largest capacity {scale.factor * capacity[best]:.3g} {scale.unit} in cycle "
            f"{cycles_of(data)[best]:g}, resistance from {ends}"
        )
    return f" Found: {'; '.join(found)}." if found else ""


def _resistance(data: xr.Dataset, place: int) -> str:
    value, std = (float(data[f"transfer_resistance{end}"].values[place]) for end in ("", "_std"))
    scale = ohms(np.array([value]))
    return (
        f"{format_value(scale.factor * value, scale.factor * std, scale.unit)} (cycle {data['cycle'].values[place]:g})"
    )
