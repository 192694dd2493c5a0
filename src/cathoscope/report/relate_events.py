"""Events on heating as the report has them: one axis of temperature, tables of events and pairs, sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from cathoscope.report.style import COLOURS, DOUBLE_COLUMN, Panel, add_figure_legend, new_figure
from cathoscope.report.tables import Column, Table

Floats = NDArray[np.float64]

_SAME, _DIFFERENT, _OPEN, _OTHER = range(4)
_MARKERS = {"onset": ">", "middle": "o", "end": "<"}
_HEIGHT = 0.5  # of a row, for the bars of all samples
_BEYOND = 12.0  # K that the axis reaches beyond the events, into which open brackets run
_ONE_OR_TWO = {_SAME: "Two probes see one event", _DIFFERENT: "Two events, not one"}
_NARROW = 0.3  # K, intervals below which tenths do not tell the ends apart
_MOST = 6  # pairs told in one sentence


def _values(data: xr.Dataset, name: str) -> Floats:
    return np.asarray(data[name].values, dtype=np.float64)


def _texts(data: xr.Dataset, attribute: str) -> list[str]:
    return [str(one) for one in np.atleast_1d(data["event"].attrs[attribute])]


def _rows(data: xr.Dataset) -> list[tuple[str, str]]:
    """Probe and event, each once; probes in the order of their first event, events by temperature."""
    temperature = _values(data, "event_temperature")
    named = list(zip(_texts(data, "probe"), _texts(data, "names"), strict=True))
    first: dict[Any, float] = {}
    for pair, at in zip(named, temperature, strict=True):
        for key in (pair, pair[0]):
            first[key] = min(first.get(key, np.inf), at)
    order = list(_MARKERS)

    def place(one: tuple[str, str]) -> tuple[Any, ...]:
        """Onset, middle and end of a change that have one bracket stand in this order."""
        kind = _kind(one[1])
        return first[one[0]], one[0], first[one], order.index(kind) if kind in order else len(order)

    return sorted(dict.fromkeys(named), key=place)


def _kind(name: str) -> str:
    return name.rsplit(", ", 1)[-1]


def panels(data: xr.Dataset) -> list[Panel]:
    """All events on one axis of temperature."""
    rows, samples = _rows(data), list(dict.fromkeys(_texts(data, "sample")))
    figure = new_figure(width=DOUBLE_COLUMN, height=22 + 6.2 * len(rows))
    axes = figure.subplots()
    limits = _limits(data)
    named = list(zip(_texts(data, "probe"), _texts(data, "names"), strict=True))
    step = _HEIGHT / max(len(samples), 1)
    told: set[str] = set()
    for k, sample in enumerate(_texts(data, "sample")):
        number = samples.index(sample)
        height = rows.index(named[k]) + (number - 0.5 * (len(samples) - 1)) * step
        _draw(axes, data.isel(event=k), height, (COLOURS[number % len(COLOURS)], 0.8 * step), limits)
        if sample not in told:
            axes.plot([], [], "s", color=COLOURS[number % len(COLOURS)], label=sample)
            told.add(sample)
    for border in (k for k in range(1, len(rows)) if rows[k][0] != rows[k - 1][0]):
        axes.axhline(border - 0.5, color="0.85", linewidth=0.5, zorder=0)
    axes.set_yticks(range(len(rows)), [f"{probe}: {name}" for probe, name in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(*limits)
    axes.set_xlabel("temperature (°C)")
    axes.tick_params(axis="y", length=0)
    add_figure_legend(figure, axes)
    caption = (
        "Onsets (right-pointing), middles (circles) and ends (left-pointing) of what changes on heating, as each probe "
        "sees them. Thick bars: 68 % intervals; thin ones also hold the temperature of the thermometer. Open bars: the "
        "probe looked at a few temperatures, and all that is known is between which of them the event lies. Heating "
        "rates and definitions are as measured; in the table of pairs they are made alike."
    )
    return [Panel("events", "Events on heating", caption, figure)]


def _limits(data: xr.Dataset) -> tuple[float, float]:
    ends = np.concatenate([_values(data, name) for name in ("event_low", "event_high", "event_temperature")])
    known = ends[np.isfinite(ends)]
    return float(known.min()) - _BEYOND, float(known.max()) + _BEYOND


def _draw(axes: Axes, event: xr.Dataset, height: float, look: tuple[str, float], limits: tuple[float, float]) -> None:
    """One event: a marker with bars, or an open bar that runs out of the axes where the bracket is open."""
    colour, thick = look
    low, high = (float(np.clip(float(event[name]), *limits)) for name in ("event_low", "event_high"))
    if bool(event["event_bracketed"]):
        box = Rectangle((low, height - thick / 2), high - low, thick, facecolor="none", edgecolor=colour, linewidth=0.9)
        axes.add_patch(box)
        return
    value, common = float(event["event_temperature"]), float(event["event_temperature_systematic"])
    whole = [value - np.hypot(value - low, common), value + np.hypot(high - value, common)]
    axes.plot(whole, [height] * 2, color=colour, linewidth=0.8, solid_capstyle="butt")
    axes.plot([low, high], [height] * 2, color=colour, linewidth=3.0, solid_capstyle="butt")
    kind = str(event["event"].attrs["names"][int(event["event"]) - 1]).rsplit(", ", 1)[-1]
    axes.plot(
        [value], [height], _MARKERS.get(kind, "o"), color=colour, markersize=4.0, markeredgecolor="white", mew=0.4
    )


def tables(data: xr.Dataset) -> list[Table]:
    """Every event; every pair with its difference, and what is found of it."""
    probes, names, samples = (_texts(data, one) for one in ("probe", "names", "sample"))
    bracketed = data["event_bracketed"].values
    low, high = _values(data, "event_low"), _values(data, "event_high")
    words = tuple(
        f"between {a:g} and {b:g} °C".replace("-inf", "the first").replace("inf", "the last") if open_ else ""
        for a, b, open_ in zip(low, high, bracketed, strict=True)
    )
    shown = np.where(bracketed, np.nan, _values(data, "event_temperature"))
    total = np.hypot(_values(data, "event_temperature_std"), _values(data, "event_temperature_systematic"))
    columns = (
        Column("event_temperature", "temperature", "degC", tuple(shown), tuple(total)),
        Column("event_low", "low", "degC", tuple(low), digits=4),
        Column("event_high", "high", "degC", tuple(high), digits=4),
        Column("event_rate", "heating rate", "K/min", tuple(_values(data, "event_rate")), digits=2),
    )
    titles = tuple(f"{sample}, {probe}: {name}" for sample, probe, name in zip(samples, probes, names, strict=True))
    notes = ("uncertainties hold that of the thermometer; low and high are 68 % without it, or the bracket",)
    events = Table("events", "Events on heating", "event", titles, columns, words, notes)
    return [events, _pair_table(data)] if "event_pair" in data.coords else [events]


def _pair_table(data: xr.Dataset) -> Table:
    columns = tuple(
        Column(name, title, unit, tuple(_values(data, name)), digits=digits)
        for name, title, unit, digits in (
            ("event_difference", "first − second", "K", 4),
            ("event_difference_low", "95 % from", "K", 4),
            ("event_difference_high", "to", "K", 4),
        )
    )
    corrected = tuple(_values(data, "event_corrected"))
    columns += (Column("event_corrected", "corrected probability", "1", corrected, digits=2, is_chance=True),)
    verdict = data["event_verdict"]
    words = tuple(
        f"{_meaning(data, k)}{f' ({reason})' if reason else ''}".replace(" -", " −")
        for k, reason in enumerate(verdict.attrs["reasons"])
    )
    notes = (
        "rates of heating and definitions of the place are made alike, as far as activation energies are known; the "
        "place is where an event is read: by tangents, where it is steepest, or at a share of the whole change",
        f"same: no difference found, and the whole 95 % interval within {verdict.attrs['margin']:g} K; "
        "different: probability below 5 % after Holm's correction for the number of pairs",
    )
    names = tuple(_pair_name(data, k) for k in range(verdict.size))
    return Table(
        "event-pairs",
        "One event or two",
        "pair",
        names,
        columns,
        words,
        notes,
        covers=("event_first", "event_second", "event_shift", "event_probability", "event_verdict"),
        words_head="found",
    )


def _meaning(data: xr.Dataset, pair: int) -> str:
    verdict = data["event_verdict"]
    return str(verdict.attrs["flag_meanings"][int(verdict[pair])])


def _ends(data: xr.Dataset, pair: int) -> tuple[int, int]:
    return int(data["event_first"][pair]) - 1, int(data["event_second"][pair]) - 1


def _pair_name(data: xr.Dataset, pair: int) -> str:
    """``rod: TGA rapid loss, onset – diffraction ...``, or one event of two samples."""
    probes, names, samples = (_texts(data, one) for one in ("probe", "names", "sample"))
    first, second = _ends(data, pair)
    if samples[first] != samples[second]:
        return f"{samples[first]} – {samples[second]}: {probes[first]} {names[first]}"
    return f"{samples[first]}: {probes[first]} {names[first]} – {probes[second]} {names[second]}"


def sentences(data: xr.Dataset) -> list[str]:
    """What is found, in words."""
    if "event_pair" not in data.coords:
        return []
    found = data["event_verdict"].values
    pairs = range(found.size)
    within, across = _sides(data)
    told = [_earlier(data, [k for k in across if found[k] == _DIFFERENT])]
    told.append(_listed(data, "Not distinguishable between samples", [k for k in across if found[k] == _OPEN]))
    margin = f"{data['event_verdict'].attrs['margin']:g} K"
    alike = f"No difference between samples found, and {margin} at most by the interval"
    told.append(_listed(data, alike, [k for k in across if found[k] == _SAME]))
    told += _one_or_two(data, within)
    count = sum(found[k] == _OPEN for k in within)
    if count:
        several = f"{count} pairs" if count > 1 else "one pair"
        told.append(f"Of {several} of events seen by two probes the data do not say whether they are one.")
    reasons = [str(data["event_verdict"].attrs["reasons"][k]) for k in pairs if found[k] == _OTHER]
    told += [f"{reasons.count(one)} pairs are not comparable: {one}." for one in dict.fromkeys(reasons)]
    return [one for one in told if one]


def heads(data: xr.Dataset) -> list[str]:
    """Which sample changes first, and which probes see one event and which two."""
    if "event_pair" not in data.coords:
        return []
    found = data["event_verdict"].values
    within, across = _sides(data)
    told = [_earlier(data, [k for k in across if found[k] == _DIFFERENT]), *_in_short(data, within)]
    return [one for one in told if one]


def _sides(data: xr.Dataset) -> tuple[list[int], list[int]]:
    """Pairs of events of one sample, and those of one event in two samples."""
    samples = _texts(data, "sample")
    across = [k for k in range(data["event_verdict"].size) if len({samples[end] for end in _ends(data, k)}) == 2]
    return [k for k in range(data["event_verdict"].size) if k not in across], across


def _one_or_two(data: xr.Dataset, pairs: Sequence[int]) -> list[str]:
    """Two probes that see one event, and those that see two."""
    found = data["event_verdict"].values
    return [_listed(data, head, [k for k in pairs if found[k] == verdict]) for verdict, head in _ONE_OR_TWO.items()]


def _in_short(data: xr.Dataset, pairs: Sequence[int]) -> list[str]:
    """The same, onsets and middles of all samples together."""
    probes, names, samples = (_texts(data, one) for one in ("probe", "names", "sample"))
    told = []
    for verdict, head in _ONE_OR_TWO.items():
        found: dict[str, list[str]] = {}
        for k in (k for k in pairs if int(data["event_verdict"][k]) == verdict):
            ends = _ends(data, k)
            events = " and ".join(f"{probes[end]} {names[end].rsplit(', ', 1)[0]}" for end in ends)
            found.setdefault(events, []).append(f"{samples[ends[0]]} {_kind(names[ends[0]])}")
        if found:
            parts = [f"{events} ({', '.join(where)})" for events, where in found.items()]
            told.append(f"{head}: {'; '.join(parts)}.")
    return told


def _earlier(data: xr.Dataset, pairs: Sequence[int]) -> str:
    """Which sample changes first, by how much."""
    if not pairs:
        return ""
    probes, names, samples = (_texts(data, one) for one in ("probe", "names", "sample"))
    words = []
    for pair in pairs:
        first, second = _ends(data, pair)
        low, high = (float(data[f"event_difference_{end}"][pair]) for end in ("low", "high"))
        if low + high > 0:
            first, second, low, high = second, first, -high, -low
        by = (
            f"{_kelvin(-high, high - low)} to {_kelvin(-low, high - low)} K"
            if high < 0
            else f"at most {_kelvin(-low)} K"
        )
        words.append(f"{samples[first]} before {samples[second]} by {by} ({probes[first]}: {names[first]})")
    return f"Different between samples (95 % intervals): {'; '.join(words)}."


def _listed(data: xr.Dataset, head: str, pairs: Sequence[int]) -> str:
    if not pairs:
        return ""
    words = [_pair_name(data, k) for k in pairs[:_MOST]]
    more = f"; and {len(pairs) - _MOST} more" if len(pairs) > _MOST else ""
    return f"{head}: {'; '.join(words)}{more}."


def _kelvin(value: float, width: float = 1.0) -> str:
    """A temperature with the decimals that an interval of this width allows."""
    if not np.isfinite(value):
        return "any number of"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value + 0.0:.1f}" if width >= _NARROW else f"{value:.2f}"
