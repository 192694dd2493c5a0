"""Figures of powder diffraction that show several samples: numbers against temperature, patterns beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from cathoscope.report.figures import diffraction_axis as spacing_axis
from cathoscope.report.figures.diffraction_curves import (
    axes_grid,
    draw_curve,
    fit_limits,
    is_series,
    legend_above,
)
from cathoscope.report.figures.state_curves import ParticleResult
from cathoscope.report.powder import (
    Curve,
    at_place,
    bank_names,
    curve_of,
    edges_of,
    is_powder,
    phase_names,
    refined,
    title_of,
    transitions,
)
from cathoscope.report.style import COLOURS, DOUBLE_COLUMN, MARKERS, Panel, axis_label, new_figure

_OF_FIRST = ("antisite", "domain_size", "domain_aspect", "microstrain")
_MOST_BANKS = 2


def names_of(results: Sequence[ParticleResult]) -> list[str]:
    """What tells measurements apart: the sample, and the measurement where a sample has several."""
    samples = [each.sample for each in results]
    return [each.sample if samples.count(each.sample) == 1 else each.particle for each in results]


def _look(results: Sequence[ParticleResult], number: int) -> tuple[str, str]:
    """Colour of the sample, and a marker of the measurement's own."""
    samples = list(dict.fromkeys(each.sample for each in results))
    return COLOURS[samples.index(results[number].sample) % len(COLOURS)], MARKERS[number % len(MARKERS)]


def series_panel(results: Sequence[ParticleResult]) -> Panel | None:
    """Cells, shares, mixing and domains of several samples against temperature (Hou, Fig. 3d to i)."""
    usable = [each for each in results if is_series(each.data)]
    if len(usable) < 2:
        return None
    wanted = _wanted(usable)
    figure, grid = axes_grid(len(wanted))
    for axes, (quantity, phase) in zip(grid, wanted, strict=True):
        curves: list[Curve] = []
        for number, (each, name) in enumerate(zip(usable, names_of(usable), strict=True)):
            curve = _curve(each, quantity, phase)
            if curve is not None:
                draw_curve(axes, curve, _look(usable, number), name)
                curves.append(curve)
        fit_limits(axes, curves)
        words, unit = title_of(quantity)
        axes.set_ylabel(axis_label(f"{words}, {phase}", unit))
        axes.set_xlabel("temperature (°C)")
        _mark_transitions(axes, usable)
    legend_above(figure, grid)
    caption = (
        "Refined numbers of the samples with their standard uncertainties; pale: hardly determined. Bands along the "
        f"upper rim: from onset to end of the change.{_transition_words(usable)}"
    )
    return Panel("diffraction-samples", "Heated powders side by side", caption, figure)


def _wanted(results: Sequence[ParticleResult]) -> list[tuple[str, str]]:
    """Quantities and phases that are drawn: edges of all phases, the share of what forms, sites and domains."""
    phases = list(dict.fromkeys(name for each in results for name in phase_names(each.data)))
    found: list[tuple[str, str]] = []
    for phase in phases:
        for each in results:
            if phase in phase_names(each.data):
                found += [(edge, phase) for edge in edges_of(each.data, phase_names(each.data).index(phase))]
    found += [("weight_fraction", phases[-1])] if len(phases) > 1 else []
    found += [(name, phases[0]) for name in _OF_FIRST]
    return [
        (name, phase)
        for name, phase in dict.fromkeys(found)
        if any(_curve(each, name, phase) is not None for each in results)
    ]


def _curve(result: ParticleResult, quantity: str, phase: str) -> Curve | None:
    names = phase_names(result.data)
    return curve_of(result.data, quantity, names.index(phase)) if phase in names else None


def _mark_transitions(axes: Axes, results: Sequence[ParticleResult]) -> None:
    """Bands along the upper rim, one row for each measurement."""
    left, right = axes.get_xlim()
    for number, each in enumerate(results):
        colour, _ = _look(results, number)
        top = 1.0 - 0.02 * number
        for _, onset, end in transitions(each.data):
            low, high = np.clip(np.nan_to_num([onset.value, end.value], nan=left, neginf=left), left, right)
            axes.axvspan(low, high, top - 0.015, top, color=colour, linewidth=0, alpha=0.8)
    axes.set_xlim(left, right)


def _transition_words(results: Sequence[ParticleResult]) -> str:
    words = [
        f" {name}: {' and '.join(phases)} from {onset.words} to {end.words}."
        for each, name in zip(results, names_of(results), strict=True)
        for phases, onset, end in transitions(each.data)
    ]
    return "".join(words)


def first_patterns_panel(results: Sequence[ParticleResult]) -> Panel | None:
    """The first patterns of several samples on the same bank (Hou, Fig. 1c)."""
    usable = [each for each in results if is_powder(each.data) and refined(each.data).size]
    seen = [name for each in usable for name in bank_names(each.data)]
    banks = [name for name in dict.fromkeys(seen) if len(_with_bank(usable, name)) > 1][-_MOST_BANKS:]
    if not banks:
        return None
    figure = new_figure(width=DOUBLE_COLUMN, height=16 + 50 * len(banks))
    grid = figure.subplots(len(banks), 2, squeeze=False, gridspec_kw={"width_ratios": [1.6, 1.0]})
    for pair, bank in zip(grid, banks, strict=True):
        chosen = _with_bank(usable, bank)
        ranges = _common_ranges(chosen, bank)
        for axes, range_ in zip(pair, ranges, strict=True):
            _draw_first(axes, chosen, bank, range_)
        pair[0].set_title(bank, loc="left")
        pair[0].set_ylabel("intensity (shifted)")
        pair[1].locator_params(axis="x", nbins=5)
    for axes in grid[-1]:
        axes.set_xlabel(spacing_axis.SPACING_LABEL)
    legend_above(figure, [grid[0, 0]])
    caption = (
        "First patterns of the samples above their backgrounds, over their highest points and shifted, whole and in a "
        "closer look. Points: observed; lines: calculated; ticks: reflections."
    )
    return Panel("first-patterns", "First patterns of the samples", caption, figure)


def _with_bank(results: Sequence[ParticleResult], bank: str) -> list[ParticleResult]:
    """One measurement of each sample that has a bank."""
    found: dict[str, ParticleResult] = {}
    for each in results:
        if bank in bank_names(each.data):
            found.setdefault(each.sample, each)
    return list(found.values())


def _common_ranges(results: Sequence[ParticleResult], bank: str) -> list[tuple[float, float]]:
    """The range of the peaks of all samples, and the part of it in which they differ most."""
    data = [each.data for each in results]
    place = [(one, bank_names(one).index(bank), int(refined(one)[0])) for one in data]
    rows = [(spacing_axis.spacings(*each), spacing_axis.signal(*each)) for each in place]
    ends = [spacing_axis.peak_range(d, y[None]) for d, y in rows]
    whole = min(low for low, _ in ends), max(high for _, high in ends)
    edges = spacing_axis.pixels_between(*whole)
    even = [spacing_axis.on_grid(d, y / np.nanmax(y), edges) for d, y in rows]
    return [whole, spacing_axis.closer_range(0.5 * (edges[1:] + edges[:-1]), np.array(even), whole)]


def _draw_first(axes: Axes, results: Sequence[ParticleResult], bank: str, range_: tuple[float, float]) -> None:
    """Patterns of the samples one above the other, with the ticks of their first phases."""
    for number, each in enumerate(results):
        row, place = bank_names(each.data).index(bank), int(refined(each.data)[0])
        d, seen = spacing_axis.spacings(each.data, row, place), spacing_axis.signal(each.data, row, place)
        fit, background = (at_place(each.data, f"diffraction_{name}", place)[row] for name in ("fit", "background"))
        inside = (d >= range_[0]) & (d <= range_[1]) & np.isfinite(fit)
        order = np.argsort(d[inside])
        top, shift = float(np.nanmax(seen)), 1.1 * number
        colour = COLOURS[number % len(COLOURS)]
        points: dict[str, Any] = {"markersize": 1.6, "markeredgewidth": 0, "rasterized": True}
        axes.plot(d[inside][order], seen[inside][order] / top + shift, ".", color="black", **points)
        line = (fit - background)[inside][order] / top + shift
        axes.plot(d[inside][order], line, color=colour, linewidth=0.8, label=each.sample)
        for phase in range(each.data.sizes["phase"]):
            if np.isfinite(at_place(each.data, "diffraction_part", place)[row, phase]).any():
                found = spacing_axis.reflections(each.data, row, phase, place)
                axes.vlines(found, shift - 0.09, shift - 0.03, color=colour, linewidth=0.6)
    axes.set_xlim(*range_)
    axes.set_ylim(-0.12, 1.1 * len(results) + 0.02)
    axes.set_yticks([])
