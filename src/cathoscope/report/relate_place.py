"""Chemistry against place as the report has it: curves with bands, tables, where oxygen leaves first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from numpy.typing import NDArray

from cathoscope.report.numbers import format_value
from cathoscope.report.style import (
    COLOURS,
    DOUBLE_COLUMN,
    Panel,
    add_figure_legend,
    axis_label,
    new_figure,
    series_colours,
)
from cathoscope.report.tables import Column, Table

Floats = NDArray[np.float64]

_LEVEL = 0.05
_SHARE = "turn of c from the radius"
_AXES = {_SHARE: "sin² of the angle of c to the radius"}
_TARGETS = {
    "distance to a connected crack": "cracks that are open to the outside",
    "distance to a void or the core": "voids and the core",
}
_DASHES = ("-", "--", ":", "-.")


def _values(data: xr.Dataset, name: str) -> Floats:
    return np.asarray(data[name].values, dtype=np.float64)


def _words(data: xr.Dataset, coordinate: str, attribute: str = "names") -> list[Any]:
    return list(np.atleast_1d(data[coordinate].attrs[attribute]))


def panels(data: xr.Dataset) -> list[Panel]:
    """The first change against every variable, and every temperature against the distance to the surface."""
    found = [_panel_of_change(data)] if "place_sample" in data.coords else []
    states = [row for row in range(data.sizes["case"]) if not bool(data["place_change"].values[row])]
    return [*found, _panel_of_states(data, states)] if states else found


def _panel_of_change(data: xr.Dataset) -> Panel:
    names, units = _words(data, "place"), _words(data, "place", "units_of")
    samples = _words(data, "place_sample")
    members, own = _words(data, "case", "members"), _words(data, "case", "samples")
    change, order = np.asarray(data["place_change"].values), np.asarray(_words(data, "case", "order"))
    rows = np.flatnonzero(change & (order == 0))
    curves = _values(data, "place_curve")[rows]
    shown = [number for number in range(len(names)) if np.isfinite(curves[:, number]).any()]
    columns = min(len(shown), 3)
    figure = new_figure(width=DOUBLE_COLUMN, height=58 * -(-len(shown) // columns) + 8)
    axes = np.atleast_1d(figure.subplots(-(-len(shown) // columns), columns, sharey=True, squeeze=False)).ravel()
    for one in axes[len(shown) :]:
        one.set_axis_off()
    for at, (number, one) in enumerate(zip(shown, axes, strict=False)):
        for row in rows:
            sample = samples.index(own[row])
            before = [each for each in rows if own[each] == own[row] and each < row]
            look = (COLOURS[sample % len(COLOURS)], _DASHES[len(before) % len(_DASHES)])
            _draw(one, data.isel(case=int(row), place=number), look, str(members[row]))
        one.set_xlabel(axis_label(_AXES.get(names[number], names[number]), str(units[number])))
        if at % columns == 0:
            one.set_ylabel("change of the white line (eV)")
    add_figure_legend(figure, axes[0])
    steps = " and ".join(dict.fromkeys(map(str, _words(data, "place_sample", "steps"))))
    caption = (
        f"Change of the white line from {steps} against where a voxel is; lower is more oxygen lost. Bins of equally "
        "many voxels; bands: 68 % of what another particle of the same kind of field could show, with the correlation "
        "of neighbours."
    )
    return Panel("place-change", "Where oxygen leaves first", caption, figure)


def _draw(axes: Axes, data: xr.Dataset, look: tuple[Any, str], name: str) -> None:
    at, mean, std = (_values(data, one) for one in ("place_at", "place_curve", "place_curve_std"))
    known = np.isfinite(at) & np.isfinite(mean)
    if known.any():
        axes.fill_between(at[known], (mean - std)[known], (mean + std)[known], color=look[0], alpha=0.2, linewidth=0)
        axes.plot(at[known], mean[known], color=look[0], linestyle=look[1], label=name)


def _panel_of_states(data: xr.Dataset, rows: Sequence[int]) -> Panel:
    own, members, names = (_words(data, "case", one) for one in ("samples", "members", "names"))
    samples = list(dict.fromkeys(own[row] for row in rows))
    figure = new_figure(width=DOUBLE_COLUMN, height=66)
    axes = np.atleast_1d(figure.subplots(1, len(samples), sharey=True))
    temperatures = [str(names[row]).removeprefix(f"{members[row]}, ") for row in rows]
    distinct = list(dict.fromkeys(temperatures))
    colours = series_colours(len(distinct))
    for row, temperature in zip(rows, temperatures, strict=True):
        one = axes[samples.index(own[row])]
        before = list(dict.fromkeys(each for each, sample in zip(members, own, strict=True) if sample == own[row]))
        place = before.index(members[row])
        look = (colours[distinct.index(temperature)], _DASHES[place % len(_DASHES)])
        _draw(one, data.isel(case=row, place=0), look, temperature if place == 0 else "_")
    for one, sample in zip(axes, samples, strict=True):
        one.set_title(str(sample), loc="left")
        one.set_xlabel(axis_label(str(_words(data, "place")[0]), "um"))
    axes[0].set_ylabel("white line (eV)")
    add_figure_legend(figure, axes[0])
    caption = "White line below the outer surface at every temperature; particles by line style, bands as above."
    return Panel("place-states", "White line against the distance to the outer surface", caption, figure)


def tables(data: xr.Dataset) -> list[Table]:
    """Every map against every variable; on the page the changes."""
    cases, places = _words(data, "case"), _words(data, "place")
    effect = _values(data, "place_effect")
    at = [
        (row, column) for row in range(len(cases)) for column in range(len(places)) if np.isfinite(effect[row, column])
    ]

    def column(name: str) -> tuple[float, ...]:
        """Values in the order of the rows."""
        values = _values(data, name)
        return tuple(float(values[one]) for one in at)

    columns = [
        Column("place_effect", "effect", "eV", column("place_effect"), column("place_effect_std")),
        _chance_column("place_probability", "p", column("place_probability")),
        Column("place_correlation", "r", "1", column("place_correlation"), column("place_correlation_std")),
        Column("place_true_correlation", "r without noise", "1", column("place_true_correlation"), digits=2),
        Column("place_rank_correlation", "r of ranks", "1", column("place_rank_correlation"), digits=2),
        _chance_column("place_rank_probability", "p of ranks", column("place_rank_probability")),
        Column(
            "place_partial_effect",
            "effect, others held",
            "eV",
            column("place_partial_effect"),
            column("place_partial_effect_std"),
        ),
        _chance_column("place_partial_probability", "p, others held", column("place_partial_probability")),
        Column("place_partial_correlation", "r, others held", "1", column("place_partial_correlation"), digits=2),
    ]
    names = tuple(f"{cases[row]}: {places[column]}" for row, column in at)
    change = np.asarray(data["place_change"].values)
    shown = tuple(number for number, (row, _) in enumerate(at) if change[row])
    notes = (
        "effect: what a line through the map rises by from the 10th to the 90th percentile of the variable",
        "p: how often chance makes as steep a line, corrected for the number of variables by Holm",
        "no value with the others held: the variable cannot be told from those above it",
    )
    return [
        Table("place", "Chemistry against place", "map and variable", names, tuple(columns), notes=notes, rows=shown)
    ]


def _chance_column(array: str, title: str, values: tuple[float, ...]) -> Column:
    return Column(array, title, "1", values, digits=2, is_chance=True)


def heads(data: xr.Dataset) -> list[str]:
    """Where oxygen leaves first, one sentence for every sample."""
    if "place_sample" not in data.coords:
        return []
    return [next(_of_sample(data, row)) for row in range(data.sizes["place_sample"])]


def sentences(data: xr.Dataset) -> list[str]:
    """Where oxygen leaves first, for every sample."""
    if "place_sample" not in data.coords:
        return []
    return [text for row in range(data.sizes["place_sample"]) for text in _of_sample(data, row)]


def _of_sample(data: xr.Dataset, row: int) -> Iterator[str]:
    sample, step = (str(_words(data, "place_sample", one)[row]) for one in ("names", "steps"))
    particles = int(_words(data, "place_sample", "particles")[row])
    mean = float(_words(data, "place_sample", "means")[row])
    names = [str(one) for one in _words(data, "place")]
    effect, std, p = (_values(data, f"place_first_{one}")[row] for one in ("effect", "effect_std", "probability"))
    whose = "of one particle (others may differ)" if particles == 1 else f"of {particles} particles"
    head = f"{sample}, {step}, {whose}: the white line moves by {_signed(mean)} eV in the mean"
    apart = np.isfinite(_values(data, "place_first_partial_effect")[row])  # one of those that cannot be told apart
    pulls = np.where(np.isfinite(effect) & apart, np.abs(effect) / std, -1.0)
    best = int(np.argmax(pulls))
    if not p[best] < _LEVEL:
        wide = format_value(effect[best], std[best], "eV").replace("-", "−")
        clearest = f"the clearest difference, with the {names[best]}, is {wide} ({_p(p[best])})"
        yield f"{head}; no place is sure to lose oxygen first: {clearest}."
        return
    more = format_value(abs(effect[best]), std[best], "eV")
    where = _where(names[best], effect[best])
    yield f"{head}; oxygen leaves first {where}: there it falls by {more} more ({_p(p[best])})."
    yield from _held(data, row, sample, names)


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


def _p(value: float) -> str:
    return "p < 0.001" if value < 1e-3 else f"p = {value:.2g}"


def _where(name: str, effect: float) -> str:
    """Where the change is lower: near if it rises with the distance."""
    if name == _SHARE:
        return "in grains whose planes lie " + ("across" if effect > 0 else "along") + " the radius"
    if name == "way through the oxide":
        return "where the way to an open surface is " + ("short" if effect > 0 else "long")
    return ("near " if effect > 0 else "far from ") + _TARGETS.get(name, name.split(" to ", 1)[-1])


def _held(data: xr.Dataset, row: int, sample: str, names: list[str]) -> Iterator[str]:
    """What remains with the other variables held."""
    effect, p = (_values(data, f"place_first_partial_{one}")[row] for one in ("effect", "probability"))
    known = np.flatnonzero(np.isfinite(effect))
    apart = [name for number, name in enumerate(names) if number not in known and _known(data, row, number)]
    sure = [f"{_where(names[one], effect[one])} ({_p(p[one])})" for one in known if p[one] < _LEVEL]
    if known.size > 1:
        words = f"more is lost {_listed(sure)}" if sure else "none of the places is significant by itself"
        yield f"{sample}, each place with the others held: {words}."
    if apart:
        verb = "cannot be told apart from the others: they rise and fall together"
        yield f"{sample}: {_listed(apart)} {verb}."


def _listed(words: list[str]) -> str:
    return " and ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)


def _known(data: xr.Dataset, row: int, number: int) -> bool:
    return bool(np.isfinite(_values(data, "place_first_effect")[row, number]))
