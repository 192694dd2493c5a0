"""Kinetics of oxygen release as the report has it: profiles, what is known of energy and paths, predictions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from numpy.typing import NDArray

from cathoscope.core.units import ZERO_CELSIUS
from cathoscope.report.style import COLOURS, DOUBLE_COLUMN, Panel, new_figure, series_colours
from cathoscope.report.tables import Column, Table

Floats = NDArray[np.float64]

_EV = 96.48533212  # kJ/mol
_DODGE = 0.09  # of the space between two temperatures


def _values(data: xr.Dataset, name: str) -> Floats:
    return np.asarray(data[name].values, dtype=np.float64)


def _names(data: xr.Dataset) -> list[str]:
    return [str(name) for name in np.atleast_1d(data["kinetic_sample"].attrs["names"])]


def panels(data: xr.Dataset) -> list[Panel]:
    """Profiles as measured and modelled; energy against release time; left-out temperatures."""
    return [_profiles(data), _known(data), _left_out(data)]


def _profiles(data: xr.Dataset) -> Panel:
    names, temperatures = _names(data), _values(data, "temperature")
    figure = new_figure(width=DOUBLE_COLUMN, height=66)
    every = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    colours = series_colours(temperatures.size)
    for index, (axes, name) in enumerate(zip(every, names, strict=True)):
        one = data.isel(kinetic_sample=index)
        depth = _values(one, "release_depth")
        for hold, temperature in enumerate(temperatures):
            measured, std = (_values(one, key)[hold] for key in ("release_profile", "release_profile_std"))
            label = f"{temperature:g} °C"
            axes.errorbar(depth, measured, std, fmt="o", color=colours[hold], label=label, elinewidth=0.7)
            axes.plot(depth, _values(one, "release_profile_model")[hold], color=colours[hold])
        axes.set_title(name)
        axes.set_xlabel("depth below the surface (µm)")
    every[0].set_ylabel("white line (eV)")
    handles, labels = every[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=temperatures.size)
    caption = (
        "White line of shells below the surface: points as measured, with the noise and what the sampling of domains "
        "makes of it; lines: the model that is fitted to all samples and temperatures together. An error that all "
        "shells of a temperature have in common is not drawn."
    )
    return Panel("kinetics-profiles", "White line by depth, measured and modelled", caption, figure)


def _known(data: xr.Dataset) -> Panel:
    """Energy against release time of equally likely sets of parameters."""
    names, reference = _names(data), float(data["release_time"].attrs["reference"])
    figure = new_figure(width=DOUBLE_COLUMN, height=62)
    cloud, arrhenius = figure.subplots(1, 2)
    energy, times = _values(data, "energy_draw") / _EV, _values(data, "time_draw")
    for index, name in enumerate(names):
        colour = COLOURS[index % len(COLOURS)]
        cloud.scatter(times[index], energy, s=2.5, color=colour, alpha=0.5, linewidths=0, label=name)
        _rates(arrhenius, energy, times[index], (_values(data, "temperature")[1:], reference), colour)
    cloud.set_xscale("log")
    cloud.set_xlabel(f"mean release time at {reference:g} °C (s)")
    cloud.set_ylabel("activation energy (eV)")
    cloud.legend(loc="upper center", ncols=len(names), markerscale=3, handletextpad=0.2, bbox_to_anchor=(0.5, 1.15))
    arrhenius.set_yscale("log")
    arrhenius.set_xlabel("temperature (°C)")
    arrhenius.set_ylabel("mean release time (s)")
    caption = (
        "Left: activation energies and mean release times that the maps allow, equally likely points; a cloud that "
        "runs to the border is not bounded on that side. Right: release time against temperature (scaled as its "
        "inverse), median with 68 % and 95 % bands of the same points."
    )
    return Panel("kinetics-energy", "Activation energy and release times", caption, figure)


def _rates(axes: Axes, energy: Floats, times: Floats, where: tuple[Floats, float], colour: str) -> None:
    temperatures, reference = where
    grid = np.linspace(temperatures.min(), temperatures.max(), 60)
    inverse = 1 / (grid + ZERO_CELSIUS) - 1 / (reference + ZERO_CELSIUS)
    courses = np.log(times)[:, None] + energy[:, None] / 8.617333262e-5 * inverse
    low, near, middle, far, high = np.exp(np.quantile(courses, [0.025, 0.16, 0.5, 0.84, 0.975], axis=0))
    axes.fill_between(-1 / (grid + ZERO_CELSIUS), low, high, color=colour, alpha=0.15, linewidth=0)
    axes.fill_between(-1 / (grid + ZERO_CELSIUS), near, far, color=colour, alpha=0.3, linewidth=0)
    axes.plot(-1 / (grid + ZERO_CELSIUS), middle, color=colour)
    axes.set_xticks(-1 / (temperatures + ZERO_CELSIUS), [f"{each:g}" for each in temperatures])


def _left_out(data: xr.Dataset) -> Panel:
    names, temperatures = _names(data), _values(data, "temperature")
    figure = new_figure(width=DOUBLE_COLUMN, height=62)
    every = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    places = np.arange(1, temperatures.size)
    for index, (axes, name) in enumerate(zip(every, names, strict=True)):
        one = data.isel(kinetic_sample=index)
        for shift, key, words in ((0.0, "left_out_line", "model"), (1.0, "straight_line", "straight line")):
            colour = COLOURS[int(shift)]
            ends = [_values(one, f"{key}_{end}")[1:] for end in ("wide_low", "low", "high", "wide_high")]
            x = places + (2 * shift - 1) * _DODGE
            axes.vlines(x, ends[0], ends[3], color=colour, linewidth=0.8)
            axes.vlines(x, ends[1], ends[2], color=colour, linewidth=3.0)
            axes.plot(x, _values(one, key)[1:], "_", color=colour, markersize=7, label=words)
        line, std = _values(one, "release_line")[1:], _values(one, "release_line_std")[1:]
        axes.errorbar(places, line, std, fmt="o", color="black", markersize=3, elinewidth=0.7, label="measured")
        axes.set_title(name)
        axes.set_xticks(places, [f"{each:g}" for each in temperatures[1:]])
        axes.set_xlabel("temperature left out (°C)")
        axes.set_xlim(0.5, temperatures.size - 0.5)
    every[0].set_ylabel("mean white line (eV)")
    handles, labels = every[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3)
    caption = (
        "Every temperature was left out of all samples once and predicted from the others: thick bars 68 %, thin bars "
        "95 %. The straight line joins the neighbouring temperatures; its interval is what a curve strays from "
        "chords that stray as the other temperatures do. The last temperature has no neighbour beyond."
    )
    return Panel("kinetics-left-out", "Temperatures left out and predicted", caption, figure)


def tables(data: xr.Dataset) -> list[Table]:
    """What is known of each sample; predictions of left-out temperatures with scores; descriptions compared."""
    return [_samples_table(data), _left_out_table(data), _models_table(data)]


def _column(data: xr.Dataset, name: str, title: str, unit: str, digits: int = 3) -> Column:
    return Column(name, title, unit, tuple(np.ravel(_values(data, name)).tolist()), digits=digits)


def _samples_table(data: xr.Dataset) -> Table:
    reference = float(data["release_time"].attrs["reference"])
    columns = (
        Column("release_time", f"release time at {reference:g} °C", "s", _if_bounded(data, "release_time"), digits=3),
        _column(data, "release_time_wide_low", "95 % from", "s"),
        _column(data, "release_time_wide_high", "to", "s"),
        _column(data, "path_ratio_wide_low", "path over the first, 95 % from", "1"),
        _column(data, "path_ratio_wide_high", "to", "1"),
        _column(data, "release_energy_alone_wide_low", "energy alone, 95 % from", "kJ/mol"),
        _column(data, "release_energy_alone_wide_high", "to", "kJ/mol"),
    )
    words = tuple(_side(data.isel(kinetic_sample=k), "release_time") for k in range(len(_names(data))))
    notes = (
        f"all samples together: activation energy {_range(data, 'release_energy', 1.0)} kJ/mol (95 %)",
        "what is bounded on one side only has its one-sided 95 % limit there, and no value",
    )
    return Table("kinetics", "Release of oxygen", "sample", tuple(_names(data)), columns, words, notes)


def _if_bounded(data: xr.Dataset, name: str) -> tuple[float, ...]:
    """Medians, none where they would tell how far was looked."""
    low, high = _values(data, f"{name}_wide_low"), _values(data, f"{name}_wide_high")
    return tuple(np.where((low > 0) & np.isfinite(high), _values(data, name), np.nan).tolist())


def _side(one: xr.Dataset, name: str) -> str:
    low, high = float(one[f"{name}_wide_low"]), float(one[f"{name}_wide_high"])
    if low <= 0 and not np.isfinite(high):
        return "not known"
    if low <= 0:
        return "turned before it was looked at: an upper limit"
    return "a lower limit" if not np.isfinite(high) else ""


def _left_out_table(data: xr.Dataset) -> Table:
    names, temperatures = _names(data), _values(data, "temperature")
    kept = [(k, t) for k in range(len(names)) for t in range(1, temperatures.size)]

    def column(name: str, title: str, digits: int = 6, std: str = "") -> Column:
        """One array along all rows."""
        values = tuple(float(_values(data, name)[place]) for place in kept)
        sigma = tuple(float(_values(data, std)[place]) for place in kept) if std else None
        return Column(name, title, "eV", values, sigma, digits=digits)

    columns = (
        column("release_line", "measured", std="release_line_std"),
        column("left_out_line", "predicted"),
        column("left_out_line_low", "68 % from"),
        column("left_out_line_high", "to"),
        column("straight_line", "straight line"),
        column("left_out_score_narrow", "score at 68 %", 3),
        column("straight_score_narrow", "straight line's", 3),
        column("left_out_score_wide", "score at 95 %", 3),
        column("straight_score_wide", "straight line's", 3),
    )
    titles = tuple(f"{names[k]}, {temperatures[t]:g} °C" for k, t in kept)
    notes = ("interval scores (width plus 2/alpha times what lies beyond): less is better",)
    return Table("kinetics-left-out", "Temperatures left out", "left out", titles, columns, (), notes)


def _models_table(data: xr.Dataset) -> Table:
    names = tuple(str(name) for name in data["kinetic_model"].attrs["names"])
    column = _column(data, "release_criterion", "AICc", "1", 5)
    notes = ("Akaike's criterion for few data: less is better, by 10 or more beyond doubt",)
    return Table("kinetics-models", "Descriptions compared", "description", names, (column,), (), notes)


def sentences(data: xr.Dataset) -> Sequence[str]:
    """Energy, paths, and how left-out temperatures were predicted, in whole sentences."""
    told = [f"Activation energy of the release of oxygen: {_energy_words(data)}."]
    names = _names(data)
    told += [_path_words(data.isel(kinetic_sample=k), names[k], names[0]) for k in range(1, len(names))]
    told += [_prediction_words(data, hold) for hold in range(1, data.sizes["temperature"] - 1)]
    told.append(_score_words(data))
    best = int(np.argmin(_values(data, "release_criterion")))
    if len(names) > 1:
        told.append(f"Of three descriptions the data ask for {data['kinetic_model'].attrs['names'][best]} (AICc).")
    return [one for one in told if one]


def _range(data: xr.Dataset, name: str, unit: float, level: str = "wide_") -> str:
    low, high = (float(data[f"{name}_{level}{end}"]) / unit for end in ("low", "high"))
    if low > 0 and np.isfinite(high):
        return f"{low:.3g} to {high:.3g}"
    if low > 0:
        return f"above {low:.3g}"
    return f"below {high:.3g}" if np.isfinite(high) else "not known"


def _energy_words(data: xr.Dataset) -> str:
    ranges = [_range(data, "release_energy", unit) for unit in (_EV, 1.0)]
    if ranges[0] == "not known":
        return "the maps do not tell it"
    if np.isfinite(float(data["release_energy_wide_high"])) and float(data["release_energy_wide_low"]) > 0:
        middle = float(data["release_energy"])
        return f"{middle / _EV:.2f} eV ({middle:.0f} kJ/mol), {ranges[0]} eV with 95 %{_shift_words(data)}"
    words = f"{ranges[0]} eV ({ranges[1]} kJ/mol) with 95 %, bounded from one side only"
    return f"{words}: too few temperatures show a sample halfway"


def _shift_words(data: xr.Dataset) -> str:
    shift = float(data["release_energy_shift"]) / _EV
    return (
        f"; of data whose energy is known such a fit finds {abs(shift):.2f} eV too {'much' if shift > 0 else 'little'}"
    )


def _path_words(one: xr.Dataset, name: str, first: str) -> str:
    low, high = float(one["path_ratio_wide_low"]), float(one["path_ratio_wide_high"])
    if low > 0 and np.isfinite(high):
        return (
            f"The path of oxygen out of {name} is {float(one['path_ratio']):.2g} times that out of {first} "
            f"({low:.2g} to {high:.2g} with 95 %)."
        )
    if low > 0:
        return f"The path of oxygen out of {name} is at least {low:.2g} times that out of {first} (95 %)."
    if np.isfinite(high):
        return f"The path of oxygen out of {name} is at most {high:.2g} times that out of {first} (95 %)."
    return f"How the paths of oxygen out of {name} and {first} compare is not known: both turned unseen."


def _prediction_words(data: xr.Dataset, hold: int) -> str:
    parts = []
    for index, name in enumerate(_names(data)):
        one = data.isel(kinetic_sample=index, temperature=hold)
        low, high = float(one["left_out_line_low"]), float(one["left_out_line_high"])
        parts.append(f"{name} {low:.2f} to {high:.2f} eV (68 %), measured {float(one['release_line']):.2f}")
    return f"Left out, {float(data['temperature'][hold]):g} °C is predicted: {'; '.join(parts)}."


def _score_words(data: xr.Dataset) -> str:
    ours, line = (_values(data, f"{name}_score_wide")[:, 1:-1] for name in ("left_out", "straight"))
    if not ours.size:
        return ""
    better = int((ours < line).sum())
    return (
        f"Their mean interval score at 95 % is {ours.mean():.2g} eV against {line.mean():.2g} eV of straight lines "
        f"between neighbours; the model is the better one in {better} of {ours.size}."
    )
