"""The balance of oxygen as the report has it: every probe and all together against temperature, tables, sentences."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from numpy.typing import NDArray

from cathoscope.core.brackets import with_uncertainty
from cathoscope.report.numbers import plain_number
from cathoscope.report.style import COLOURS, DOUBLE_COLUMN, MARKERS, SINGLE_COLUMN, Panel, add_figure_legend, new_figure
from cathoscope.report.tables import Column, Table

Floats = NDArray[np.float64]

_DENSE = 60  # temperatures from which on a probe is drawn as a line
_CHANCE = 0.05
_SIGNIFICANT = 2.0  # of what charges before heating lack
_WIDEST = 3  # samples beside each other


def _names(data: xr.Dataset, dim: str) -> list[str]:
    return [str(one) for one in np.atleast_1d(data[dim].attrs["names"])]


def _values(data: xr.Dataset, name: str) -> Floats:
    return np.asarray(data[name].values, dtype=np.float64)


def panels(data: xr.Dataset) -> list[Panel]:
    """Oxygen lost by every probe, and by all together, one axes per sample."""
    samples = _names(data, "oxygen_sample")
    columns = min(len(samples), _WIDEST)
    rows = -(-len(samples) // columns)
    figure = new_figure(width=DOUBLE_COLUMN if columns > 1 else SINGLE_COLUMN, height=14 + 58 * rows)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for place, (axes, sample) in enumerate(zip(grid.flat, samples, strict=False)):
        _draw(axes, data.isel(oxygen_sample=place), _names(data, "oxygen_probe"))
        axes.set_title(sample)
        axes.set_xlabel("temperature (°C)")
    for axes in grid.flat[len(samples) :]:
        axes.set_visible(False)
    for axes in grid[:, 0]:
        axes.set_ylabel("oxygen lost per metal")
    add_figure_legend(figure, grid.flat[0])
    caption = (
        "Oxygen that one formula unit has lost since before heating, as every probe has it at its own rate of heating, "
        "one standard uncertainty; diamonds: all probes together, at the rate and the temperatures of the one with the "
        "fewest. The white line counts the electrons that nickel has taken up, with lithium, manganese and cobalt as "
        "before. Ideal spinel (dashed): what the share of spinel would lack if it were stoichiometric; a model, not in "
        "the joint estimate."
    )
    return [Panel("oxygen", "Balance of oxygen", caption, figure)]


def _draw(axes: Axes, data: xr.Dataset, names: list[str]) -> None:
    temperature = _values(data, "temperature")
    for column, name in enumerate(names):
        value, std = (_values(data, f"oxygen_lost{end}")[column] for end in ("", "_std"))
        there = np.isfinite(value)
        if there.any():
            look = COLOURS[column % len(COLOURS)], MARKERS[column % len(MARKERS)]
            model = not bool(data["oxygen_in_joint"].values[column])
            _draw_probe(axes, (temperature[there], value[there], std[there]), name, look, model)
    joint, std = _values(data, "oxygen_joint"), _values(data, "oxygen_joint_std")
    there = np.isfinite(joint)
    style: dict[str, Any] = {"fmt": "D", "color": "black", "markersize": 4.5, "mfc": "none", "zorder": 5}
    axes.errorbar(temperature[there], joint[there], std[there], label="all together", **style)
    axes.axhline(0.0, color="0.8", linewidth=0.5, zorder=0)


def _draw_probe(
    axes: Axes, points: tuple[Floats, Floats, Floats], name: str, look: tuple[str, str], model: bool
) -> None:
    temperature, value, std = points
    colour, marker = look
    if model:
        axes.plot(temperature, value, "--", color=colour, linewidth=0.9, label=name)
    elif temperature.size >= _DENSE:
        axes.plot(temperature, value, color=colour, label=name)
        axes.fill_between(temperature, value - std, value + std, color=colour, alpha=0.25, linewidth=0)
    else:
        axes.errorbar(temperature, value, std, fmt=marker, color=colour, label=name, capsize=1.5, linewidth=0.9)


def tables(data: xr.Dataset) -> list[Table]:
    """What every probe says where they are compared, and every probe against the others."""
    return [_lost_table(data), _test_table(data)]


def _lost_table(data: xr.Dataset) -> Table:
    samples, probes = _names(data, "oxygen_sample"), _names(data, "oxygen_probe")
    joint, temperature = _values(data, "oxygen_joint"), _values(data, "temperature")
    rows = [(one, at) for one in range(len(samples)) for at in np.flatnonzero(np.isfinite(joint[one]))]
    titles = tuple(f"{samples[one]}, {temperature[at]:g} °C" for one, at in rows)

    def column(name: str, title: str, probe: int | None) -> Column:
        """Of one probe, or of all."""
        value, std = (_values(data, f"{name}{end}") for end in ("", "_std"))
        cells = [(value[one, at], std[one, at]) for one, at in rows] if probe is None else []
        cells = cells or [(value[one, probe, at], std[one, probe, at]) for one, at in rows]
        head = f"{name} {title}" if probe is not None else name
        values, stds = (tuple(float(cell[k]) for cell in cells) for k in range(2))
        return Column(name, title, "1", values, stds, csv_name=head, brackets=True)

    columns = [column("oxygen_compared", probe, number) for number, probe in enumerate(probes)]
    columns.append(column("oxygen_joint", "all together", None))
    notes = ("oxygen lost per metal since before heating, made alike in temperature and rate of heating",)
    return Table(
        "oxygen", "Oxygen lost on heating", "sample", titles, tuple(columns), notes=notes, covers=("oxygen_lost",)
    )


def _test_table(data: xr.Dataset) -> Table:
    samples, probes = _names(data, "oxygen_sample"), _names(data, "oxygen_probe")
    factor = _values(data, "oxygen_factor")
    rows = [(one, k) for one in range(len(samples)) for k in range(len(probes)) if np.isfinite(factor[one, k])]

    def cells(name: str) -> tuple[float, ...]:
        """One number of every probe."""
        return tuple(float(_values(data, name)[row]) for row in rows)

    columns = (
        Column("oxygen_factor", "times the others", "1", cells("oxygen_factor"), cells("oxygen_factor_std")),
        Column("oxygen_probability", "probability", "1", cells("oxygen_probability"), digits=2, is_chance=True),
        Column("oxygen_corrected", "corrected", "1", cells("oxygen_corrected"), digits=2, is_chance=True),
        Column("oxygen_rest", "of the others without it", "1", cells("oxygen_rest"), digits=2, is_chance=True),
    )
    words = tuple("" if bool(data["oxygen_in_joint"].values[row]) else "a model" for row in rows)
    notes = (
        "probability: how often chance alone parts a probe this far from the others; corrected for the number of "
        "probes and samples (Holm)",
        "of the others without it: the probability that the rest agree, which they do from 0.05 on",
    )
    covers = ("oxygen_misfit", "oxygen_degrees", "oxygen_chance", "oxygen_at_start", "oxygen_in_joint")
    names = tuple(f"{samples[one]}, {probes[k]}" for one, k in rows)
    return Table(
        "oxygen-probes", "Every probe against the others", "probe", names, columns, words, notes, covers=covers
    )


def heads(data: xr.Dataset) -> list[str]:
    """Whether the balance is closed, for every sample."""
    probes = _names(data, "oxygen_probe")
    return [
        _agreement(data.isel(oxygen_sample=place), sample, probes)
        for place, sample in enumerate(_names(data, "oxygen_sample"))
    ]


def sentences(data: xr.Dataset) -> list[str]:
    """Whether the probes of a sample agree, which is the odd one, what is lost at last, and the charges before."""
    told = []
    for place, sample in enumerate(_names(data, "oxygen_sample")):
        one = data.isel(oxygen_sample=place)
        told += [_agreement(one, sample, _names(data, "oxygen_probe")), _charges(one, sample)]
    return [one for one in told if one]


def _agreement(data: xr.Dataset, sample: str, names: list[str]) -> str:
    chance, joint = float(data["oxygen_chance"]), _values(data, "oxygen_joint")
    used = [name for name, used in zip(names, data["oxygen_in_joint"].values, strict=True) if used]
    last = int(np.flatnonzero(np.isfinite(joint))[-1])
    lost = with_uncertainty(float(joint[last]), float(_values(data, "oxygen_joint_std")[last]))
    at = f"{float(data['temperature'][last]):g} °C"
    if not chance < _CHANCE:
        return (
            f"{sample}: {_and(used)} agree on the oxygen lost (probability {_chance(chance)}); at {at} it is {lost} "
            "per metal."
        )
    rest = _values(data, "oxygen_rest")
    odd = np.flatnonzero(rest > _CHANCE).tolist()
    words = (
        f"{sample}: {_and(used)} contradict each other (probability {_chance(chance)}); what they say together, {lost} "
        f"oxygen per metal at {at}, is widened and not to be trusted."
    )
    for k in odd:
        factor = with_uncertainty(float(data["oxygen_factor"][k]), float(data["oxygen_factor_std"][k]))
        words += (
            f" Without the {names[k]} the others agree (probability {_chance(float(rest[k]))}); it finds {factor} "
            "times their oxygen over all temperatures."
        )
    return words


def _charges(data: xr.Dataset, sample: str) -> str:
    start, std = float(data["oxygen_at_start"]), float(data["oxygen_at_start_std"])
    if not np.isfinite(start):
        return ""
    found = f"{sample}: before heating, charges ask for {with_uncertainty(2 + start, std)} oxygen per metal"
    if abs(start) < _SIGNIFICANT * std:
        return f"{found}, as the formula has it."
    return f"{found} and not 2: lithium content and scale of the valence do not belong together, or oxygen is missing."


def _and(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _chance(value: float) -> str:
    return plain_number(float(f"{value:.2g}")) if value >= 1e-6 else "below 10⁻⁶"
