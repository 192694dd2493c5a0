"""Figures of cycled cells: retention, cycle by cycle, voltage curves, dQ/dV, change of regime, rates, end points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from cathoscope.report.cells import (
    Scale,
    condition_names,
    cycles_of,
    disturbances,
    is_cells,
    is_particle,
    level_words,
    record_names,
    reference_words,
    scale_of,
    there,
    used,
)
from cathoscope.report.numbers import count_text, format_value
from cathoscope.report.style import COLOURS, DOUBLE_COLUMN, MARKERS, SINGLE_COLUMN, Panel, new_figure, series_colours

Floats = NDArray[np.float64]

_MOST_MARKS = 26  # error bars along a curve
_MOST_NAMES = 8
_MOST_RATES = 12
_MARKS = {"jump": "jump", "short": "short", "electrolyte loss": "loss"}


def retention_panel(data: xr.Dataset) -> Panel | None:
    """Mean retention of the cells of every condition, with its spread and Coulombic efficiency (Hou, Fig. 5c, d)."""
    if "retention_mean" not in data:
        return None
    names, cycle = condition_names(data), cycles_of(data)
    figure = new_figure(width=DOUBLE_COLUMN if len(names) > 1 else SINGLE_COLUMN, height=62)
    grid = np.ravel(figure.subplots(1, len(names), squeeze=False))
    for number, (axes, name) in enumerate(zip(grid, names, strict=True)):
        draw_retention(axes, data, number, (COLOURS[0], MARKERS[0]), "mean, σ between cells")
        _draw_cells(axes, data, number, cycle)
        axes.set_title(name)
        _efficiency_axis(axes, [(data, number, COLOURS[0])], last=number == len(names) - 1)
    grid[0].set_ylabel("capacity retention (%)")
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4)
    caption = (
        f"Capacity over that of {reference_words(data)}: means of {_cells_words(data)}, bars are the standard "
        f"deviation between cells, the band is the {level_words(data)} interval of the mean; thin lines are single "
        f"cells. Small points, right axis: mean Coulombic efficiency.{_kept_words(data)}"
    )
    return Panel("retention", "Capacity retention", caption, figure)


def draw_retention(axes: Axes, data: xr.Dataset, number: int, look: tuple[str, str], label: str) -> None:
    """Mean with bars of the spread at some cycles, and the band of the interval, of one condition."""
    cycle = cycles_of(data)
    mean, spread = (
        100 * np.asarray(data[name].values[number], np.float64) for name in ("retention_mean", "retention_spread")
    )
    low, high = (100 * np.asarray(data[f"retention_mean_{end}"].values[number], np.float64) for end in ("low", "high"))
    known = np.flatnonzero(np.isfinite(mean))
    marked = known[:: 1 + known.size // _MOST_MARKS]
    colour, marker = look
    inside = np.isfinite(low)
    axes.fill_between(cycle[inside], low[inside], high[inside], color=colour, alpha=0.18, linewidth=0)
    axes.errorbar(
        cycle[marked], mean[marked], np.nan_to_num(spread[marked]), fmt=marker, color=colour, markersize=2.8,
        elinewidth=0.8, label=label,
    )  # fmt: skip
    axes.set_xlabel("cycle")


def _draw_cells(axes: Axes, data: xr.Dataset, number: int, cycle: Floats) -> None:
    own = np.flatnonzero(data["condition_of_record"].values == number + 1)
    for count, place in enumerate(own):
        values = 100 * np.asarray(data["capacity_retention"].values[place], np.float64)
        axes.plot(cycle, values, color="0.6", linewidth=0.5, zorder=0, label=None if count else "single cell")


def _efficiency_axis(axes: Axes, of: Sequence[tuple[xr.Dataset, int, str]], *, last: bool) -> None:
    """Mean Coulombic efficiency on an axis at the right, in the upper part."""
    twin = axes.twinx()
    twin.spines["right"].set_visible(True)
    every = []
    for data, number, colour in of:
        values = 100 * np.asarray(data["efficiency_mean"].values[number], np.float64)
        twin.plot(cycles_of(data), values, ".", color=colour, alpha=0.5, markersize=2.2, markeredgewidth=0)
        every.append(values[np.isfinite(values)])
    joined = np.concatenate(every)
    if joined.size:
        typical = np.quantile(joined, [0.05, 0.95])
        spread = max(float(np.ptp(typical)), 0.5)
        twin.set_ylim(typical[1] - 12 * spread, typical[1] + 1.5 * spread)
        ticks = MaxNLocator(2).tick_values(typical[0] - spread, typical[1] + spread)
        twin.set_yticks([one for one in ticks if typical[0] - 1.2 * spread <= one <= typical[1] + 1.4 * spread])
        low, high = axes.get_ylim()
        axes.set_ylim(low, high + 0.12 * (high - low))
    twin.set_ylabel("Coulombic efficiency (%)" if last else "")


def _cells_words(data: xr.Dataset) -> str:
    counts = np.nanmax(data["retention_count"].values, axis=1)
    few, many = int(counts.min()), int(counts.max())
    return count_text(many, "cell") if few == many else f"{few} to {many} cells"


def _kept_words(data: xr.Dataset) -> str:
    """What is left at the cycles told."""
    found = []
    for number, name in enumerate(condition_names(data)):
        for place, told in enumerate(data["told"].values):
            value, std = (float(data[one].values[number, place]) for one in ("kept_share", "kept_share_std"))
            if np.isfinite(value):
                found.append(f"{name}, cycle {told:g}: {format_value(100 * value, 100 * std, '%')}")
    return f" Found: {'; '.join(found[:_MOST_NAMES])}." if found else ""


def cells_panel(data: xr.Dataset) -> Panel | None:
    """Capacity, efficiencies and polarisation of every cell against cycle; cycles that are not used are open."""
    if not is_cells(data):
        return None
    names, places, cycle = record_names(data), there(data), cycles_of(data)
    scale = scale_of(np.asarray(data["cell_capacity"].values), "Ah")
    specific = "specific_capacity" in data and not is_particle(data)
    figure = new_figure(width=DOUBLE_COLUMN, height=104)
    grid = np.ravel(figure.subplots(2, 2, sharex=True))
    rows: tuple[tuple[str, str, float], ...] = (
        ("specific_capacity", "specific capacity (mAh/g)", 1.0)
        if specific
        else ("cell_capacity", f"capacity ({scale.unit})", scale.factor),
        ("coulombic_efficiency", "Coulombic efficiency (%)", 100.0),
        ("energy_efficiency", "energy efficiency (%)", 100.0),
        ("polarisation", "polarisation (V)", 1.0),
    )
    looks = _looks(data, places)
    for axes, (name, words, factor) in zip(grid, rows, strict=True):
        all_values = factor * np.asarray(data[name].values, np.float64)
        good = factor * used(data, name)
        for place in places:
            colour, marker = looks[place]
            axes.plot(cycle, good[place], marker, color=colour, markersize=2.2, label=names[place], markeredgewidth=0)
            left = np.isfinite(all_values[place]) & ~np.isfinite(good[place])
            axes.plot(
                cycle[left],
                all_values[place][left],
                marker,
                color=colour,
                markersize=3.2,
                markerfacecolor="none",
                markeredgewidth=0.7,
            )
        axes.set_ylabel(words)
        _limit(axes, good)
    for axes in grid[2:]:
        axes.set_xlabel("cycle")
    _mark_disturbances(grid[0], data, scale)
    _names_above(figure, grid[0], len(places))
    caption = (
        f"{'Specific capacity' if specific else 'Capacity'}, Coulombic and energy efficiency and polarisation (mean "
        "voltage of charge minus that of discharge) of every cycle. Open: not used, being incomplete or disturbed"
        f"{_beyond_words(data)}.{_disturbed_words(data)}"
    )
    return Panel("cycles", "Cycle by cycle", caption, figure)


def _looks(data: xr.Dataset, places: Sequence[int]) -> dict[int, tuple[str, str]]:
    """Colour of the condition and marker of the cell, or a colour each without conditions."""
    if "condition_of_record" not in data:
        return {place: (COLOURS[number % len(COLOURS)], "o") for number, place in enumerate(places)}
    of = data["condition_of_record"].values
    single = len({int(of[place]) for place in places}) == 1
    found, seen = {}, dict.fromkeys(map(int, of), 0)
    for number, place in enumerate(places):
        condition = int(of[place])
        colour = COLOURS[(number if single else condition - 1) % len(COLOURS)]
        found[place] = (colour, MARKERS[seen[condition] % len(MARKERS)])
        seen[condition] += 1
    return found


def _limit(axes: Axes, values: Floats) -> None:
    """Limits that show the used cycles, single ones that are far off left aside."""
    known = values[np.isfinite(values)]
    if known.size < 3:
        return
    low, middle, high = np.quantile(known, [0.02, 0.5, 0.98])
    reach = max(high - low, 1e-3 * abs(middle)) * 1.5
    inside = known[(known > low - reach) & (known < high + reach)]
    margin = 0.08 * max(float(np.ptp(inside)), 1e-3 * abs(float(middle)))
    axes.set_ylim(inside.min() - margin, inside.max() + 2 * margin)


def _beyond_words(data: xr.Dataset) -> str:
    return "; single values far off lie outside of the frames" if not data["cycle_used"].values.all() else ""


def _mark_disturbances(axes: Axes, data: xr.Dataset, scale: Scale) -> None:
    """Kinds of disturbances above their cycles."""
    seen: set[tuple[int, str]] = set()
    for _, cycle, kind, _ in disturbances(data):
        if (cycle, kind) not in seen:
            seen.add((cycle, kind))
            axes.axvline(cycle, color="0.75", linewidth=0.7, zorder=0)
            axes.annotate(
                _MARKS.get(kind, kind), (cycle, 0.02), xycoords=("data", "axes fraction"), rotation=90, fontsize=6,
                ha="right", va="bottom", color="0.35",
            )  # fmt: skip


def _disturbed_words(data: xr.Dataset) -> str:
    found = disturbances(data)
    if not found:
        return ""
    kinds = [kind for _, _, kind, _ in found]
    words = ", ".join(count_text(kinds.count(kind), kind) for kind in dict.fromkeys(kinds))
    return f" Disturbances are marked: {words.replace('losss', 'losses')}."


def _names_above(figure: Any, axes: Axes, n: int) -> None:
    if 1 < n <= 12:
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=min(n, 4), markerscale=1.6, handletextpad=0.2)


def curves_panel(data: xr.Dataset) -> Panel | None:
    """Voltage against charge of some cycles (Cadiou, Fig. 5a)."""
    if "curve_voltage" not in data or not is_cells(data):
        return None
    places = _one_of_each(data)
    if not places:
        return None
    specific, factor, unit = _charge_axis(data)
    figure = new_figure(width=DOUBLE_COLUMN if len(places) > 1 else SINGLE_COLUMN, height=66)
    grid = np.ravel(figure.subplots(1, len(places), squeeze=False, sharey=True))
    shown: dict[str, Any] = {}
    for axes, place in zip(grid, places, strict=True):
        colours = series_colours(data.sizes["curve"])
        for at, cycle in enumerate(data["curve"].values):
            for way in (0, 1):
                charge = factor[place] * data["curve_charge"].values[place, at, way]
                voltage = data["curve_voltage"].values[place, at, way]
                if np.isfinite(voltage).any():
                    (line,) = axes.plot(charge, voltage, color=colours[at], linewidth=0.9)
                    shown[f"cycle {cycle:g}"] = line
        axes.set_xlabel(f"{'specific charge' if specific else 'charge'} ({unit})")
        axes.set_title(_title(data, place))
    grid[0].set_ylabel("voltage (V)")
    figure.legend(
        shown.values(), shown.keys(), loc="outside upper center", ncols=min(len(shown), 6 if len(places) > 1 else 3)
    )
    caption = (
        "Voltage against the charge that has passed since each charge (rising) and discharge (falling) began, of some "
        f"cycles{_which_words(data, places)}."
    )
    return Panel("voltage-curves", "Voltage curves", caption, figure)


def _one_of_each(data: xr.Dataset) -> list[int]:
    """The first cell of every condition, three at most."""
    places = there(data)
    if "condition_of_record" not in data:
        return places[:3]
    of = data["condition_of_record"].values
    first = {int(of[place]): place for place in reversed(places)}
    return sorted(first.values())[:3]


def _title(data: xr.Dataset, place: int) -> str:
    name = record_names(data)[place]
    if "condition_of_record" not in data or data.sizes["condition"] < 2:
        return name
    return f"{name}, {condition_names(data)[int(data['condition_of_record'].values[place]) - 1]}"


def _which_words(data: xr.Dataset, places: Sequence[int]) -> str:
    return "" if len(places) == len(there(data)) else "; one cell of each condition is shown"


def _charge_axis(data: xr.Dataset) -> tuple[bool, Floats, str]:
    """Whether charges are shown over the mass, by what they are multiplied, [record], and their unit."""
    if "cell_mass" in data and not is_particle(data):
        mass = np.asarray(data["cell_mass"].values, np.float64)
        if np.isfinite(mass[there(data)]).all():
            return True, 1e6 / mass, "mAh/g"
    scale = scale_of(np.asarray(data["cell_capacity"].values), "Ah")
    return False, np.full(data.sizes["record"], scale.factor), scale.unit


def differential_panel(data: xr.Dataset) -> Panel | None:
    """dQ/dV of some cycles with its uncertainty."""
    if "differential_capacity" not in data or not np.isfinite(data["differential_capacity"].values).any():
        return None
    places = _one_of_each(data)
    _, factor, unit = _charge_axis(data)
    figure = new_figure(width=DOUBLE_COLUMN if len(places) > 1 else SINGLE_COLUMN, height=66)
    grid = np.ravel(figure.subplots(1, len(places), squeeze=False))
    shown: dict[str, Any] = {}
    voltage = data["voltage_bin"].values
    for axes, place in zip(grid, places, strict=True):
        colours = series_colours(data.sizes["curve"])
        for at, cycle in enumerate(data["curve"].values):
            for way, sign in ((0, 1.0), (1, -1.0)):
                value = sign * factor[place] * data["differential_capacity"].values[place, at, way]
                std = factor[place] * data["differential_capacity_std"].values[place, at, way]
                if np.isfinite(value).any():
                    (line,) = axes.plot(voltage, value, color=colours[at], linewidth=0.8)
                    axes.fill_between(voltage, value - std, value + std, color=colours[at], alpha=0.25, linewidth=0)
                    shown[f"cycle {cycle:g}"] = line
        axes.axhline(0, color="0.6", linewidth=0.5)
        axes.set_xlabel("voltage (V)")
        axes.set_title(_title(data, place))
        _limit_differential(axes, factor[place] * np.asarray(data["differential_capacity"].values[place]))
    grid[0].set_ylabel(f"dQ/dV ({unit} V⁻¹)")
    figure.legend(
        shown.values(), shown.keys(), loc="outside upper center", ncols=min(len(shown), 6 if len(places) > 1 else 3)
    )
    smoothing = 1e3 * float(data["differential_capacity"].attrs.get("smoothing", 0.005))
    caption = (
        "Differential capacity of charges (above zero) and discharges (below) of some cycles, smoothed by a Gaussian "
        f"of {smoothing:g} mV standard deviation; bands are the standard uncertainty by the noise of the voltage"
        f"{_which_words(data, places)}. Rises at the very ends of the window may lie outside of the frame."
    )
    return Panel("differential-capacity", "Differential capacity", caption, figure)


def _limit_differential(axes: Axes, values: Floats) -> None:
    """Limits by the peaks, without the rims of the window, where the last rows pile up."""
    charge, discharge = (values[:, way][np.isfinite(values[:, way])] for way in (0, 1))
    tops = [1.25 * float(np.quantile(one, 0.99)) if one.size else 0.0 for one in (charge, discharge)]
    if max(tops) > 0:
        axes.set_ylim(-tops[1] or -0.05 * tops[0], tops[0] or 0.05 * tops[1])


def regimes_panel(data: xr.Dataset) -> Panel | None:
    """Retention with the two lines that meet where its course changes."""
    if "regime_change" not in data or not np.isfinite(data["regime_change"].values).any():
        return None
    places = [place for place in there(data) if np.isfinite(data["regime_change"].values[place])][:6]
    names, cycle = record_names(data), cycles_of(data)
    figure = new_figure(width=SINGLE_COLUMN, height=66)
    axes = figure.subplots()
    for number, place in enumerate(places):
        colour = COLOURS[number % len(COLOURS)]
        values = 100 * np.asarray(data["capacity_retention"].values[place])
        axes.plot(cycle, values, "o", color=colour, markersize=2.2, markeredgewidth=0, label=names[place])
        axes.plot(cycle, 100 * np.asarray(data["regime_curve"].values[place]), color=colour, linewidth=1.0)
        change, low, high = (float(data[f"regime_change{end}"].values[place]) for end in ("", "_low", "_high"))
        ends = np.clip([low, high], cycle[0], cycle[-1])
        if len(places) <= 3:
            axes.axvspan(*ends, color=colour, alpha=0.12, linewidth=0)
            axes.axvline(change, color=colour, linewidth=0.7, linestyle=(0, (3, 2)))
    axes.set_xlabel("cycle")
    axes.set_ylabel("capacity retention (%)")
    if len(places) > 1:
        axes.legend(loc="best")
    level = 100 * float(data["regime_change"].attrs.get("level", 0.95))
    caption = (
        f"Capacity over that of {reference_words(data)}, and two lines that meet where its course changes; band: "
        f"{level:g} % interval of that cycle.{_change_words(data, places)}"
    )
    return Panel("regimes", "Change of regime", caption, figure)


def _change_words(data: xr.Dataset, places: Sequence[int]) -> str:
    words, names = str(data["regime_kind"].attrs.get("flag_meanings", "")).split(), record_names(data)
    found = []
    for place in places:
        kind = words[int(data["regime_kind"].values[place])].replace("_", " ")
        value, low, high = (float(data[f"regime_change{end}"].values[place]) for end in ("", "_low", "_high"))
        found.append(f"{names[place]}: {kind} at cycle {value:.1f} ({ends_words(low, high)})")
    return f" Found: {'; '.join(found)}."


def ends_words(low: float, high: float, digits: int = 1) -> str:
    """``9.7 to 10.4``, in words where an end is open."""
    ends = [f"{one:.{digits}f}" if np.isfinite(one) else "open" for one in (low, high)]
    return f"{ends[0]} to {ends[1]}".replace("-", "−")


def slippage_panel(data: xr.Dataset) -> Panel | None:
    """Ends of charge and discharge since the first cycle began."""
    if "charge_end" not in data or not np.isfinite(data["charge_end"].values).any():
        return None
    _, factor, unit = _charge_axis(data)
    figure = new_figure(width=DOUBLE_COLUMN, height=60)
    grid = np.ravel(figure.subplots(1, 2))
    places, names, cycle = there(data), record_names(data), cycles_of(data)
    looks = _looks(data, places)
    for axes, name in zip(grid, ("charge", "discharge"), strict=True):
        for place in places:
            colour, marker = looks[place]
            values = factor[place] * np.asarray(data[f"{name}_end"].values[place])
            axes.plot(cycle, values, marker, color=colour, markersize=2.2, markeredgewidth=0, label=names[place])
        axes.set_xlabel("cycle")
        axes.set_ylabel(f"end of {name} ({unit})")
    _names_above(figure, grid[0], len(places))
    caption = (
        "Charge at the ends of charge and of discharge since the first cycle began: running sums of all charges. What "
        "moves up is charge that does not stay in the electrodes, or an offset of the current."
    )
    return Panel("end-points", "Slippage of end points", caption, figure)


def rates_panel(data: xr.Dataset) -> Panel | None:
    """Capacity of every cycle, and its mean in stretches at one current, in their order."""
    if "rate_capacity" not in data or np.isfinite(data["rate_capacity"].values).sum(axis=1).max(initial=0) < 3:
        return None
    specific, factor, unit = _charge_axis(data)
    places, names, cycle = there(data), record_names(data), cycles_of(data)
    figure = new_figure(width=SINGLE_COLUMN, height=66)
    axes = figure.subplots()
    looks = _looks(data, places)
    capacity = factor[:, None] * used(data, "cell_capacity")
    for place in places:
        colour, marker = looks[place]
        axes.plot(
            cycle, capacity[place], marker, color=colour, markersize=2.6, markerfacecolor="none", markeredgewidth=0.6,
            label=names[place],
        )  # fmt: skip
        first, last, mean = (np.asarray(data[f"rate_{one}"].values[place]) for one in ("first", "last", "capacity"))
        axes.hlines(factor[place] * mean, first - 0.5, last + 0.5, color=colour, linewidth=0.6, alpha=0.6, zorder=1)
    _name_rates(axes, data, capacity)
    axes.set_xlabel("cycle")
    axes.set_ylabel(f"{'specific ' if specific else ''}capacity ({unit})")
    axes.margins(y=0.12)
    _names_above(figure, axes, len(places))
    caption = (
        "Capacity of every cycle that is used (points) and its mean over cycles in a row at one current (lines), with "
        f"the current{_which_rates(data, places)}. A return to the first current tells what is recovered."
    )
    return Panel("rates", "Rate capability", caption, figure)


def _name_rates(axes: Axes, data: xr.Dataset, capacity: Floats) -> None:
    """The rates of the first cell above the points of all cells."""
    place, cycle = there(data)[0], cycles_of(data)
    multiple = bool(np.isfinite(data["rate_multiple"].values).any())
    for step in np.flatnonzero(np.isfinite(data["rate_capacity"].values[place]))[:_MOST_RATES]:
        ends = [float(data[f"rate_{one}"].values[place, step]) for one in ("first", "last")]
        inside = capacity[:, (cycle >= ends[0]) & (cycle <= ends[1])]
        axes.annotate(
            _rate_words(data, place, int(step), multiple), (0.5 * sum(ends), float(np.nanmax(inside))), (0, 5),
            textcoords="offset points", ha="center", fontsize=6,
        )  # fmt: skip


def _which_rates(data: xr.Dataset, places: Sequence[int]) -> str:
    return f" of {record_names(data)[places[0]]}" if len(places) > 1 else ""


def _rate_words(data: xr.Dataset, place: int, step: int, multiple: bool) -> str:
    if multiple:
        return f"{float(data['rate_multiple'].values[place, step]):.2g}C"
    current = np.asarray(data["rate_current"].values)
    scale = scale_of(current, "A")
    return f"{scale.factor * float(current[place, step]):.2g} {scale.unit}"
