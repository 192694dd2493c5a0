"""Sample against sample as the report has it: a table of all comparisons, one figure, sentences."""

from __future__ import annotations

import numpy as np
import xarray as xr

from cathoscope.report.comparisons import (
    NOTHING,
    SAMPLES_DIFFER,
    UNITS_DIFFER,
    Compared,
    comparisons_of,
    joined,
    number,
    scale_of,
)
from cathoscope.report.numbers import count_text, plain_number
from cathoscope.report.style import COLOURS, DOUBLE_COLUMN, Panel, new_figure, unit_text
from cathoscope.report.tables import Column, Table

_MOST_ROWS, _MOST_LINES = 44, 30  # of the figure and of the table on the page
_LEAST = 1e-16  # of a probability that is told
_VERDICTS = ("not distinguishable", "samples differ", "differ")


def sentences(data: xr.Dataset) -> list[str]:
    """How many comparisons there are, how many hold, and for what."""
    rows = comparisons_of(data)
    level = float(data["comparison"].attrs["level"])
    measured = " or ".join(dict.fromkeys(f"{one.kind}s" for one in rows if one.verdict == UNITS_DIFFER))
    parts = (
        (SAMPLES_DIFFER, "that the samples differ, with several particles or cells of each"),
        (UNITS_DIFFER, f"that the very {measured} measured differ, one of each sample"),
    )
    found = {words: sum(one.verdict == verdict for one in rows) for verdict, words in parts}
    told = [f"{count} find {words}" for words, count in found.items() if count] or ["none finds a difference"]
    return [
        f"Of {count_text(len(rows), 'comparison')} of samples at the same conditions, {joined(told)}.",
        "Probabilities are corrected for their number by Holm's rule, so that the chance of any false difference "
        f"among all of them is {100 * level:g} % at most.",
    ]


def tables(data: xr.Dataset) -> list[Table]:
    """Every comparison, clearest first on the page as they come in the list."""
    rows = comparisons_of(data)
    pairs = list(dict.fromkeys(one.samples for one in rows))
    titles = pairs[0] if len(pairs) == 1 else ("first sample", "second sample")
    effects = data["comparison"].attrs["effect_in"]
    one_kind = len(set(effects)) == 1
    effect = f"effect ({'spreads' if effects[0] == 'spread' else 'σ'})" if one_kind else "effect"
    columns = (
        _column(data, "first", titles[0]),
        _column(data, "second", titles[1]),
        _column(data, "difference", "difference"),
        Column("comparison_effect", effect, "1", _values(data, "effect"), digits=2, own_digits=True),
        Column("comparison_corrected", "p", "1", _values(data, "corrected", _LEAST), digits=2, is_chance=True),
        Column("comparison_discovery", "q", "1", _values(data, "discovery", _LEAST), digits=2, csv_only=True),
    )
    words = tuple(_words(one, "" if one_kind else kind) for one, kind in zip(rows, effects, strict=True))
    notes: tuple[str, ...] = (
        "Effect: the difference over the spread between particles or cells (Hedges' g), or, where it says in σ, over "
        "its own standard uncertainty. p is corrected for the number of comparisons by Holm's rule. The CSV file has "
        "q besides, the share of false ones among all differences at least as clear (Benjamini and Hochberg)",
        "What both samples share, such as one foil, is not in the uncertainty of the difference",
    )
    first = f"{pairs[0][0]} − {pairs[0][1]}" if len(pairs) == 1 else "quantity"
    names = tuple(_named(one) + ("" if len(pairs) == 1 else f": {one.samples[0]} − {one.samples[1]}") for one in rows)
    shown = _clearest(rows, _MOST_LINES)
    if len(shown) < len(rows):
        notes += (f"The {len(shown)} clearest of {len(rows)} are shown; all are in samples-comparisons.csv",)
    title = "Every comparison" if len(shown) == len(rows) else "Comparisons"
    return [Table("comparisons", title, first, names, columns, words, notes, rows=shown, words_head="finding")]


def _clearest(rows: list[Compared], most: int) -> tuple[int, ...]:
    """Places of the clearest comparisons, in the order of the list."""
    order = sorted(range(len(rows)), key=lambda row: (rows[row].verdict == NOTHING, rows[row].corrected))
    return tuple(sorted(order[:most]))


def _values(data: xr.Dataset, name: str, least: float = -np.inf) -> tuple[float, ...]:
    return tuple(np.maximum(np.asarray(data[f"comparison_{name}"].values, np.float64), least).tolist())


def _column(data: xr.Dataset, name: str, title: str) -> Column:
    std = tuple(np.asarray(data[f"comparison_{name}_std"].values, np.float64).tolist())
    return Column(f"comparison_{name}", title, "1", _values(data, name), std)


def _words(one: Compared, effect_in: str) -> str:
    """Verdict, interval with unit, and what it stands on."""
    scale, unit = scale_of(one)
    low, high = (number(scale * end, scale * (one.ends[1] - one.ends[0])) for end in one.ends)
    interval = f"95 % from {low} to {high}{unit}" if np.isfinite(one.ends).any() else "no interval"
    effect = {"spread": ", effect in spreads", "sigma": ", effect in σ"}.get(effect_in, "")
    return f"{_VERDICTS[one.verdict]}; {interval}; {one.stands_on}{effect}"


def panels(data: xr.Dataset) -> list[Panel]:
    """All differences, each over half its 95 % interval: beyond 1 chance alone is unlikely."""
    rows = comparisons_of(data)
    if len(rows) < 2:
        return []
    shown = [rows[row] for row in _clearest(rows, _MOST_ROWS)]
    figure = new_figure(width=DOUBLE_COLUMN, height=20 + 4.3 * len(shown))
    axes = figure.subplots()
    topics = list(dict.fromkeys(one.topic for one in rows))
    axes.axvspan(-1, 1, color="0.93", linewidth=0)
    axes.axvline(0, color="0.6", linewidth=0.6)
    told: set[str] = set()
    for height, one in enumerate(shown):
        colour = COLOURS[topics.index(one.topic) % len(COLOURS)]
        face = colour if one.verdict == SAMPLES_DIFFER else "white"
        edge = "0.6" if one.verdict == NOTHING else colour
        label = one.topic if one.topic not in told and one.verdict != NOTHING else None
        told |= {one.topic} if label else set()
        place = one.value / (0.5 * (one.ends[1] - one.ends[0]))
        axes.plot([0, place], [height] * 2, color=edge, linewidth=0.8, zorder=1)
        axes.plot([place], [height], "o", markerfacecolor=face, markeredgecolor=edge, markersize=4, label=label)
    axes.set_xscale("symlog", linthresh=1.0, linscale=0.8)
    reach = max(2.0, *(abs(one.value / (0.5 * (one.ends[1] - one.ends[0]))) for one in shown)) * 1.5
    axes.set_xlim(-reach, reach)
    axes.set_yticks(range(len(shown)), [_shortened(_label(one)) for one in shown])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_formatter(lambda value, _: plain_number(value).replace("-", "−"))
    pairs = list(dict.fromkeys(one.samples for one in rows))
    less, more = (f"lower in {pairs[0][0]}", f"higher in {pairs[0][0]}") if len(pairs) == 1 else ("lower", "higher")
    axes.set_xlabel(f"{less}    ←    difference over half of its 95 % interval    →    {more}")
    handles, labels = axes.get_legend_handles_labels()
    if len(labels) > 1:
        figure.legend(handles, labels, loc="outside upper center", ncols=min(len(labels), 6), frameon=False)
    left_out = f" The {len(rows) - len(shown)} least clear are left out." if len(shown) < len(rows) else ""
    caption = (
        "Each difference between two samples over half of its 95 % interval, so that beyond the grey band zero is "
        "outside of the interval; linear up to 1, logarithmic beyond. Filled: the samples differ, after correction for "
        "the number of comparisons. Open and coloured: those particles or powders differ, one of each sample. Open and "
        f"grey: not distinguishable after the correction.{left_out}"
    )
    return [Panel("comparisons", "Sample against sample", caption, figure)]


def _label(one: Compared) -> str:
    return ", ".join(filter(None, (one.words, one.place)))


def _named(one: Compared) -> str:
    """The label with the unit of the values in the row."""
    unit = "Ω" if one.unit == "ohm" else unit_text(one.unit)
    return f"{one.words} ({unit})" + (f", {one.place}" if one.place else "") if unit else _label(one)


def _shortened(text: str) -> str:
    return text if len(text) < 64 else f"{text[:61]}…"
