"""The figure of groups of spectra: how far the edge of each group lies above that of its reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from cathoscope.report.figures.bulk import EDGES, name_rows, rows_height
from cathoscope.report.figures.reading import draws
from cathoscope.report.groups import Groups, groups_of
from cathoscope.report.numbers import count_text, format_value
from cathoscope.report.style import COLOURS, DOUBLE_COLUMN, Panel, new_figure

_BELOW = 0.3  # of a row, by which single spectra lie below the mean of their group
_MOST_IN_CAPTION = 8
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _Drawn:
    """What the axis shows of every group, and by how much it lies below the mean edge, [group]."""

    value: Floats
    std: Floats
    offset: Floats
    is_rise: bool


def groups_panel(data: xr.Dataset) -> Panel | None:
    """Rise of the mean edge of every group above its reference, or the mean edge if there is none; single spectra."""
    if not draws(data, "group_edge", "group") or not np.isfinite(data["group_edge"].values).any():
        return None
    groups = groups_of(data)
    drawn = _drawn(groups)
    members = groups.members(data)
    figure = new_figure(width=DOUBLE_COLUMN, height=rows_height(len(groups.names)) + 8)
    axes = figure.subplots()
    colours, kinds = _colours(groups)
    _draw_single(axes, data, groups, drawn, members)
    _draw_means(axes, groups, drawn, colours)
    name_rows(axes, [_row_name(groups, index) for index in range(len(groups.names))])
    edge = EDGES.get(groups.edge, "edge")
    axes.set_xlabel(f"rise of the {edge} (eV)" if drawn.is_rise else f"mean {edge} (eV)")
    axes.grid(axis="y", color="0.9", linewidth=0.5)
    axes.set_axisbelow(True)
    figure.legend(handles=_legend(groups, drawn, kinds, bool(members)), loc="outside lower center", ncols=5)
    return Panel("edge-groups", "Edges of groups", _caption(groups, drawn, edge, bool(members)), figure)


def _drawn(groups: Groups) -> _Drawn:
    if np.isfinite(groups.rise).any():
        return _Drawn(groups.rise, groups.rise_std, groups.mean - groups.rise, True)
    return _Drawn(groups.mean, groups.mean_std, np.zeros_like(groups.mean), False)


def _row_name(groups: Groups, index: int) -> str:
    n = groups.count[index]
    return f"{groups.names[index]} ({n})" if n else groups.names[index]


def _colours(groups: Groups) -> tuple[list[str], dict[str, str]]:
    """A colour for each value of the first label, where there is a second that tells its groups apart."""
    first = next(iter(groups.labels.values()), [])
    kinds = list(dict.fromkeys(first))
    if len(groups.labels) < 2 or not 1 < len(kinds) <= len(COLOURS):
        return [COLOURS[0]] * len(groups.names), {}
    of = {kind: COLOURS[index] for index, kind in enumerate(kinds)}
    return [of[kind] for kind in first], of


def _draw_single(axes: Axes, data: xr.Dataset, groups: Groups, drawn: _Drawn, members: list[list[int]]) -> None:
    for row, places in enumerate(members):
        values = np.asarray(data[groups.edge].values[places], np.float64) - drawn.offset[row]
        axes.plot(values, np.full(values.size, row + _BELOW), ".", color="0.5", markersize=3.5, alpha=0.8)


def _draw_means(axes: Axes, groups: Groups, drawn: _Drawn, colours: list[str]) -> None:
    if drawn.is_rise:
        axes.axvline(0, color="0.6", linewidth=0.6)
    for row, (value, std, colour) in enumerate(zip(drawn.value, drawn.std, colours, strict=True)):
        if not np.isfinite(value):
            axes.text(0.5, row, "–", transform=axes.get_yaxis_transform(), ha="center", va="center", color="0.4")
        elif groups.is_reference(row):
            axes.plot([value], [row], "s", color=colour, markerfacecolor="white")
        else:
            error = std if np.isfinite(std) else None
            axes.errorbar([value], [row], xerr=error, fmt="o", color=colour, elinewidth=1.0)


def _legend(groups: Groups, drawn: _Drawn, kinds: dict[str, str], single: bool) -> list[Line2D]:
    def handle(marker: str, colour: Any, face: Any, label: str) -> Line2D:
        """One entry of the legend."""
        return Line2D([], [], linestyle="none", marker=marker, color=colour, markerfacecolor=face, label=label)

    means = [handle("o", colour, colour, kind) for kind, colour in kinds.items()]
    handles = means or [handle("o", COLOURS[0], COLOURS[0], "mean of the group")]
    if drawn.is_rise:
        handles.append(handle("s", "0.3", "white", "reference"))
    return [*handles, *([handle(".", "0.5", "0.5", "single spectrum")] if single else [])]


def _caption(groups: Groups, drawn: _Drawn, edge: str, single: bool) -> str:
    what = (
        f"Mean {edge} of each group of spectra minus that of the group with {groups.against_words}"
        if drawn.is_rise
        else f"Mean {edge} of each group of spectra"
    )
    counts = "; in brackets the number of spectra" if any(groups.count) else ""
    squares = " Open squares are the references, zero by definition." if drawn.is_rise else ""
    dots = " Small dots below are single spectra." if single else ""
    return f"{what}{counts}. {groups.sigma_words}{squares}{dots}{_found(groups, drawn)}"


def _found(groups: Groups, drawn: _Drawn) -> str:
    shown = [
        f"{name} {format_value(float(drawn.value[row]), float(drawn.std[row]), 'eV', digits=2)}"
        for row, name in enumerate(groups.names)
        if np.isfinite(drawn.value[row]) and not groups.is_reference(row)
    ]
    more = len(shown) - _MOST_IN_CAPTION
    rest = f"; and {count_text(more, 'group')} more in the table" if more > 0 else ""
    return f" Found: {'; '.join(shown[:_MOST_IN_CAPTION])}{rest}." if shown else ""
