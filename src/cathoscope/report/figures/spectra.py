"""Figures of the spectra behind the maps: mean spectrum of the particle, and why voxels were not trusted."""

from __future__ import annotations

import numpy as np
import xarray as xr

from cathoscope.report.figures.reading import (
    at,
    coordinate,
    draws,
    slabs,
    temperature_name,
    temperatures,
)
from cathoscope.report.numbers import count_text
from cathoscope.report.style import (
    DOUBLE_COLUMN,
    Panel,
    add_legend,
    add_legend_above,
    axis_label,
    mean_line,
    new_figure,
    series_colours,
)


def mean_spectrum_panel(data: xr.Dataset) -> Panel | None:
    """Mean attenuation of the particle against energy, with the mean white-line energy."""
    if not draws(data, "particle_spectrum", "energy"):
        return None
    spectra = data["particle_spectrum"]
    counts = np.atleast_1d(spectra.attrs.get("voxels", []))
    names = temperatures(spectra)
    energy = coordinate(spectra, "energy")
    figure = new_figure(height=58)
    axes = figure.subplots()
    parts = []
    for index, (name, colour) in enumerate(zip(names, series_colours(len(names)), strict=True)):
        spectrum = at(spectra, temperature=index).values
        where = np.arange(spectrum.size) if energy is None else energy
        label = temperature_name(name)
        axes.plot(where, spectrum, "o-", color=colour, markersize=2, label=label or None, linewidth=0.8)
        mean = _mean_white_line(data, index)
        if np.isfinite(mean):
            mean_line(axes, mean, colour)
        if index < counts.size:
            parts.append(f"{label + ': ' if label else ''}{count_text(int(counts[index]), 'voxel')}")
    axes.set_xlabel("energy (eV)" if energy is not None else "image")
    axes.set_ylabel(axis_label("mean attenuation", str(spectra.attrs.get("units", ""))))
    add_legend(axes)
    marked = "; dashed: mean white-line energy" if "white_line_mean" in data else ""
    of_voxels = f" ({'; '.join(parts)})" if parts else ""
    caption = f"Attenuation averaged over the voxels of the particle{of_voxels}{marked}."
    return Panel("mean-spectrum", "Mean spectrum of the particle", caption, figure)


def _mean_white_line(data: xr.Dataset, temperature: int) -> float:
    if not draws(data, "white_line_mean"):
        return float("nan")
    return float(at(data["white_line_mean"], temperature=temperature).values)


def flag_panel(data: xr.Dataset) -> Panel | None:
    """Voxels by the reason why their white line is not trusted."""
    if not draws(data, "white_line_flag", "y", "x"):
        return None
    flag = data["white_line_flag"]
    names = temperatures(flag)
    counts = [_flag_counts(flag, index) for index in range(len(names))]
    words = flag_words(flag)
    reasons = sorted({value for each in counts for value in each if value != 0 and not _is_outside(words, value)})
    fitted = [sum(n for value, n in each.items() if not _is_outside(words, value)) for each in counts]
    figure = new_figure(width=DOUBLE_COLUMN, height=20 + 7 * max(1, len(reasons)) * max(1, 0.6 * len(names)))
    axes = figure.subplots()
    thickness = 0.8 / len(names)
    for index, (name, colour) in enumerate(zip(names, series_colours(len(names)), strict=True)):
        place = np.arange(len(reasons)) - 0.4 + (index + 0.5) * thickness
        lengths = [100 * counts[index].get(value, 0) / max(fitted[index], 1) for value in reasons]
        axes.barh(place, lengths, thickness * 0.9, color=colour, label=temperature_name(name) or None)
    axes.set_yticks(range(len(reasons)), [words.get(value, f"flag {value}") for value in reasons])
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.set_xlabel("voxels not trusted (% of the particle)")
    add_legend_above(axes)
    caption = f"Why voxels of the particle have no trusted white line. {_flag_sentence(names, counts, fitted)}"
    return Panel("white-line-flags", "Voxels without a trusted white line", caption, figure)


def _flag_sentence(names: list[float | None], counts: list[dict[int, int]], fitted: list[int]) -> str:
    parts = []
    for name, each, n in zip(names, counts, fitted, strict=True):
        good = each.get(0, 0)
        share = f" ({100 * good / n:.1f} %)" if n else ""
        label = f"{temperature_name(name)}: " if name is not None else ""
        parts.append(f"{label}{count_text(good, 'voxel')} of {n} trusted{share}")
    return "; ".join(parts) + "."


def _flag_counts(flag: xr.DataArray, temperature: int) -> dict[int, int]:
    counts: dict[int, int] = {}
    for (values,) in slabs([flag], temperature=temperature):
        for value, n in zip(*np.unique(values, return_counts=True), strict=True):
            counts[int(value)] = counts.get(int(value), 0) + int(n)
    return counts


def flag_words(flag: xr.DataArray) -> dict[int, str]:
    """Meaning of every flag value, from the CF attributes; empty if there are none."""
    values = np.atleast_1d(flag.attrs.get("flag_values", [])).tolist()
    words = str(flag.attrs.get("flag_meanings", "")).split()
    return {int(value): word.replace("_", " ") for value, word in zip(values, words, strict=False)}


def _is_outside(words: dict[int, str], value: int) -> bool:
    """Whether a flag only says that the voxel is not part of the particle."""
    return words.get(value, "").startswith("outside")
