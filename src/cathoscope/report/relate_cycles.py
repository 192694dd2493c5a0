"""Surface, resistance and capacity of cycled particles as the report has them: figures, tables, what explains what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import LogLocator, NullFormatter
from numpy.typing import NDArray

from cathoscope.report.numbers import format_value
from cathoscope.report.style import COLOURS, DOUBLE_COLUMN, MARKERS, Panel, add_figure_legend, new_figure
from cathoscope.report.tables import Column, Table

Floats = NDArray[np.float64]

_MEGA, _NANO = 1e-6, 1e9
_SURFACE = "wetted surface over volume (µm⁻¹)"
_OPEN = 100.0  # an exponent known no better than this is not told
_EXPLAINS, _PART, _NOT, _UNKNOWN = range(4)


def _values(data: xr.Dataset, name: str) -> Floats:
    return np.asarray(data[name].values, dtype=np.float64)


def _names(data: xr.Dataset) -> list[str]:
    return [str(one) for one in np.atleast_1d(data["cycled"].attrs["names"])]


def _look(data: xr.Dataset, row: int) -> tuple[str, str]:
    """Colour of the sample, marker of the particle."""
    samples = [str(one) for one in np.atleast_1d(data["cycled"].attrs["samples"])]
    colour = list(dict.fromkeys(samples)).index(samples[row])
    return COLOURS[colour % len(COLOURS)], MARKERS[samples[:row].count(samples[row]) % len(MARKERS)]


def _plain_log(axis: Axis) -> None:
    """Ticks at 1, 2, 5 times powers of ten, as plain numbers."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def panels(data: xr.Dataset) -> list[Panel]:
    """R against the surface with the law, and everything against cycle."""
    found = [_courses_panel(data)]
    return [_law_panel(data), *found] if np.isfinite(_values(data, "cycled_area")).any() else found


def _law_panel(data: xr.Dataset) -> Panel:
    figure = new_figure(width=DOUBLE_COLUMN, height=78)
    left, right = figure.subplots(1, 2)
    for row, name in enumerate(_names(data)):
        one = data.isel(cycled=row)
        look = _look(data, row)
        _draw_law(left, one, look, name)
        _draw_isolated(right, one, look)
    left.set(xscale="log", yscale="log", xlabel=_SURFACE, ylabel="R of charge transfer (MΩ)")
    _plain_log(left.xaxis)
    _plain_log(left.yaxis)
    right.set(xlabel="isolated oxide (%)", ylabel="capacity lost since the peak (%)")
    low = max(right.get_xlim()[1], right.get_ylim()[1])
    right.plot([0, low], [0, low], color="0.6", linewidth=0.7, linestyle=":")
    right.set(xlim=(-0.03 * low, 1.03 * low), ylim=(-0.03 * low, 1.03 * low))
    add_figure_legend(figure, left)
    caption = (
        "Left: resistance of charge transfer against the wetted surface; full symbols: surface of a stack, open ones: "
        "surface between stacks by the porosity of slices, bars 68 %. Dashed: R = r / A from the first stack. "
        "Right: capacity lost since its peak against oxide without contact, after the cycles of stacks; dotted: all "
        "of the loss is isolation."
    )
    return Panel("cycles-law", "Does the surface explain the resistance?", caption, figure)


def _draw_law(axes: Axes, data: xr.Dataset, look: tuple[str, str], name: str) -> None:
    area, std, resistance = (_values(data, one) for one in ("cycled_area", "cycled_area_std", "cycled_resistance"))
    measured = np.isfinite(_values(data, "cycled_measured_area"))
    there = np.isfinite(area) & np.isfinite(resistance)
    if not there.any():
        return
    colour, marker = look
    bars: dict[str, Any] = {"xerr": std[there], "elinewidth": 0.5, "capsize": 0.0}
    axes.errorbar(area[there], _MEGA * resistance[there], fmt=marker, color=colour, mfc="white", mew=0.8, **bars)
    both = there & measured
    axes.plot(area[both], _MEGA * resistance[both], marker, color=colour, label=name)
    first = np.flatnonzero(there)[0]
    reach = np.array([np.min(area[there]), np.max(area[there])])
    axes.plot(
        reach, _MEGA * resistance[first] * area[first] / reach, color=colour, linestyle=(0, (4, 2)), linewidth=0.7
    )


def _draw_isolated(axes: Axes, data: xr.Dataset, look: tuple[str, str]) -> None:
    share, std, lost = _values(data, "cycled_isolated"), _values(data, "cycled_isolated_std"), _lost(data)
    there = np.isfinite(share) & np.isfinite(lost)
    axes.errorbar(100 * share[there], 100 * lost[there], xerr=100 * std[there], fmt=look[1], color=look[0])


def _lost(data: xr.Dataset) -> Floats:
    """Capacity lost since the peak at every cycle after it, straight between cycles that are used."""
    cycle, capacity = _values(data, "cycle"), _values(data, "cycled_capacity")
    known = np.isfinite(capacity)
    if not known.any():
        return np.full(cycle.size, np.nan)
    values = np.interp(cycle, cycle[known], capacity[known])
    lost = 1.0 - values / float(capacity[known].max())
    return np.where(cycle >= float(cycle[known][np.argmax(capacity[known])]), lost, np.nan)


_COURSES = (
    ("cycled_area", "wetted surface (µm⁻¹)", 1.0),
    ("cycled_resistance", "R of charge transfer (MΩ)", _MEGA),
    ("cycled_capacity", "capacity (nAh)", _NANO),
    ("polarisation_share", "polarisation by transfer (%)", 100.0),
)


def _courses_panel(data: xr.Dataset) -> Panel:
    shown = [one for one in _COURSES if np.isfinite(_values(data, one[0])).any()]
    figure = new_figure(width=DOUBLE_COLUMN, height=52 * -(-len(shown) // 2) + 8)
    grid = np.atleast_1d(figure.subplots(-(-len(shown) // 2), min(len(shown), 2), squeeze=False)).ravel()
    cycle = _values(data, "cycle")
    for axes in grid[len(shown) :]:
        axes.set_axis_off()
    for axes, (name, words, unit) in zip(grid, shown, strict=False):
        for row, particle in enumerate(_names(data)):
            values = unit * _values(data, name)[row]
            there = np.isfinite(values)
            colour, marker = _look(data, row)
            look: dict[str, Any] = {"color": colour, "marker": marker}
            axes.plot(cycle[there], values[there], **look, markersize=2.2, linewidth=0.8, label=particle)
        axes.set(xlabel="cycle", ylabel=words)
        if name in ("cycled_resistance", "cycled_area"):
            axes.set_yscale("log")
            _plain_log(axes.yaxis)
    add_figure_legend(figure, grid[0])
    caption = (
        "Surface, resistance, capacity, and the part of the polarisation that charge transfer gives, by cycle, of "
        "cycles and spectra that are used. Surfaces between stacks follow the porosity of slices."
    )
    return Panel("cycles-courses", "Surface, resistance and capacity by cycle", caption, figure)


def tables(data: xr.Dataset) -> list[Table]:
    """What was found of every particle."""

    def column(name: str, title: str, digits: int = 3) -> Column:
        """A number of every particle, with its uncertainty if it has one."""
        values = tuple(float(one) for one in _values(data, name))
        std = f"{name}_std"
        sigma = tuple(float(one) for one in _values(data, std)) if std in data else None
        return Column(name, title, "1", values, sigma, digits=digits)

    columns = (
        column("resistance_exponent", "exponent of R"),
        column("resistance_exponent_low", "95 % from"),
        column("resistance_exponent_high", "to"),
        column("resistance_exponent_direct", "exponent between stacks"),
        column("resistance_explained", "part of ln R by surface"),
        column("resistance_area_scatter", "scatter of ln R A", 2),
        column("capacity_peak", "cycle of the peak", 2),
        column("rise_explained", "rise with R"),
        column("fade_explained", "fade with R"),
        column("fade_isolated", "fade by isolation"),
    )
    meanings = str(data["resistance_verdict"].attrs["flag_meanings"]).split()
    words = tuple(meanings[int(one)].replace("_", " ") for one in data["resistance_verdict"].values)
    law = ("a resistance r / A has the exponent −1; scatter of ln R A is 0 then",)
    known = np.isfinite(_values(data, "resistance_exponent")).any()
    notes = (
        *(law if known else ("remark: whether the surface explains the resistance",)),
        "rise with R: share of the variance of the rising capacity on a line with the polarisation of charge transfer; "
        "fade with R: what this line gives of the fall after the peak",
    )
    return [Table("cycles", "What explains what", "particle", tuple(_names(data)), columns, words, notes)]


def sentences(data: xr.Dataset) -> list[str]:
    """Does the surface explain the resistance, and what explains the capacity?"""
    each = [_of_particle(data.isel(cycled=row), name) for row, name in enumerate(_names(data))]
    return [text for one in each for text in one]


def heads(data: xr.Dataset) -> list[str]:
    """Does the surface explain the resistance: one sentence for the particles of a sample that agree."""
    samples = [str(one) for one in np.atleast_1d(data["cycled"].attrs["samples"])]
    groups: dict[tuple[str, int], list[int]] = {}
    for row, verdict in enumerate(np.asarray(data["resistance_verdict"].values, int).tolist()):
        groups.setdefault((samples[row], verdict), []).append(row)
    return [_of_sample(data, rows, *key) for key, rows in groups.items()]


def _of_sample(data: xr.Dataset, rows: list[int], sample: str, verdict: int) -> str:
    """What all these particles say, with the range of their numbers."""
    some = [data.isel(cycled=row) for row in rows]
    head = f"{sample}, {len(rows)} particle{'' if len(rows) == 1 else 's'}"
    if verdict == _UNKNOWN:
        reasons = "; ".join(dict.fromkeys(_why_not(one) for one in some))
        return f"{head}: whether the surface explains the resistance cannot be told: {reasons}."
    grown, fallen = zip(*(_factors(one) for one in some), strict=True)
    share = [100 * float(one["resistance_explained"]) for one in some]
    told = {
        _EXPLAINS: "the surface explains the resistance",
        _PART: "the surface that is seen explains the resistance in part",
        _NOT: "the surface that is seen does not explain the resistance",
    }[verdict]
    parts = f"{_span(share, 0)} % of the change of ln R goes with it"
    return f"{head}: {told}: it grew {_span(grown, 1)} times while R fell {_span(fallen, 1)} times; {parts}."


def _span(values: Sequence[float], decimals: int) -> str:
    """``1.0 to 1.4``, or one number where all are alike."""
    low, high = (f"{end + 0.0:.{decimals}f}".replace("-", "−") for end in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def _of_particle(data: xr.Dataset, name: str) -> Iterator[str]:
    yield _law_words(data, name)
    yield from _capacity_words(data, name)


def _law_words(data: xr.Dataset, name: str) -> str:
    verdict = int(data["resistance_verdict"])
    low, high = float(data["resistance_exponent_low"]), float(data["resistance_exponent_high"])
    if verdict == _UNKNOWN:
        return f"{name}: whether the surface explains the resistance cannot be told: {_why_not(data)}."
    share = format_value(float(data["resistance_explained"]), float(data["resistance_explained_std"]), "1")
    exponent = _sign(float(data["resistance_exponent"]))
    interval = f"the exponent of R is {exponent} ({_sign(low)} to {_sign(high)}, 95 %)"
    if not high - low < _OPEN:
        interval = "the surface changed too little to tell an exponent of R"
    grown, fallen = _factors(data)
    moved = f"the wetted surface grew {grown:.1f} times and R fell {fallen:.1f} times between the stacks"
    head = f"{name}: {moved}; {interval}"
    if verdict == _EXPLAINS:
        return f"{head}, as R = r / A has it: the surface explains the resistance (part of ln R: {share})."
    if verdict == _PART:
        kind = "explains the resistance in part" if fallen > grown else "changed more than the resistance"
        return (
            f"{head}: the surface that is seen {kind} (part of ln R: {share}). What is left is another resistance per "
            "area, or surface that is not seen, such as electrolyte in cracks too thin for the instrument."
        )
    return f"{head}: the surface that is seen does not explain the resistance (part of ln R: {share})."


def _sign(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def _factors(data: xr.Dataset) -> tuple[float, float]:
    """Growth of the surface and fall of R between the first and last stack."""
    cycle, area, resistance = (_values(data, one) for one in ("cycle", "cycled_measured_area", "cycled_resistance"))
    at, known = np.flatnonzero(np.isfinite(area)), np.isfinite(resistance)
    values = np.exp(np.interp(cycle[at[[0, -1]]], cycle[known], np.log(resistance[known])))
    return float(area[at[-1]] / area[at[0]]), float(values[0] / values[-1])


def _why_not(data: xr.Dataset) -> str:
    stacks = int(np.isfinite(_values(data, "cycled_measured_area")).sum())
    if stacks == 0 and np.isfinite(_values(data, "cycled_porosity")).any():
        return "slices give a porosity, and the surface of the same porosity depends on how wide cracks are"
    return f"the surface is known after {('no cycle', 'one cycle')[stacks]}" if stacks < 2 else "there is no line"


def _capacity_words(data: xr.Dataset, name: str) -> Iterator[str]:
    rise, fade, peak = (float(data[f"capacity_{one}"]) for one in ("rise", "fade", "peak"))
    if not np.isfinite(peak):
        return
    words = [f"{name}: the capacity rises by {100 * rise:.0f} % to cycle {peak:.0f} and falls by {100 * fade:.0f} %"]
    if np.isfinite(with_rise := float(data["rise_explained"])):
        words.append(f"{100 * with_rise:.0f} % of the variance of the rise goes with the resistance")
    if np.isfinite(with_fade := float(data["fade_explained"])):
        part = f"{100 * with_fade:.0f} ± {max(100 * float(data['fade_explained_std']), 1):.0f} %".replace("-", "−")
        less = " (it went on falling)" if with_fade < 0 else ""
        words.append(f"the resistance{less} gives {part} of the fall")
    if np.isfinite(isolated := float(data["fade_isolated"])):
        std = 100 * float(data["fade_isolated_std"])
        words.append(f"isolated oxide gives {100 * isolated:.0f} ± {max(std, 1):.0f} % of it, at the last stack")
    yield "; ".join(words) + "."
    share = _values(data, "polarisation_share")
    if (known := np.flatnonzero(np.isfinite(share))).size > 1:
        first, last = (int(_values(data, "cycle")[one]) for one in known[[0, -1]])
        yield (
            f"{name}: charge transfer gives {100 * share[known[0]]:.0f} % of the polarisation in cycle {first} and "
            f"{100 * share[known[-1]]:.0f} % in cycle {last}; the rest is contacts, layers and diffusion."
        )
