"""Figures of the lab that show several samples: mass, oxygen, heat, absorbance, what has been dissolved."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cathoscope.report.dissolution import band_words, dissolved_rows, is_content, is_light, ratio_words, with_std
from cathoscope.report.figures.calorimetry import draw_heat, heat_words, knows_masses
from cathoscope.report.figures.diffraction_samples import names_of
from cathoscope.report.figures.mass_loss import TEMPERATURE, draw_curve, draw_limits, draw_mass, draw_onsets
from cathoscope.report.figures.solutions import draw_spectrum, finish_spectra
from cathoscope.report.figures.state_curves import ParticleResult
from cathoscope.report.heating import is_calorimetry, is_mass_loss, pair
from cathoscope.report.names import names_along
from cathoscope.report.numbers import format_value
from cathoscope.report.style import COLOURS, DOUBLE_COLUMN, Panel, add_figure_legend, add_legend, new_figure

_DASHES = ("-", "--", ":", "-.")  # of several solutions of one sample
_TYPICAL = 5.0  # K/min, the rate that is shown where there are several


def _look(results: Sequence[ParticleResult], number: int) -> str:
    """Colour of the sample."""
    samples = list(dict.fromkeys(each.sample for each in results))
    return COLOURS[samples.index(results[number].sample) % len(COLOURS)]


def _row(result: ParticleResult) -> int:
    """The record whose heating rate is nearest to the typical one."""
    rates = np.asarray(result.data["heating_rate"].values, np.float64) if "heating_rate" in result.data else None
    if rates is None or not np.isfinite(rates).any():
        return 0
    return int(np.nanargmin(np.abs(np.log(np.where(rates > 0, rates, np.nan) / _TYPICAL))))


def mass_samples_panel(results: Sequence[ParticleResult]) -> Panel | None:
    """Mass and oxygen of several samples against temperature (Hou, Fig. 5a and S12a)."""
    usable = [each for each in results if is_mass_loss(each.data)]
    if len(usable) < 2:
        return None
    figure = new_figure(width=DOUBLE_COLUMN, height=74)
    left, right = figure.subplots(1, 2, width_ratios=(1.2, 1))
    found = []
    for number, (each, name) in enumerate(zip(usable, names_of(usable), strict=True)):
        row, colour = _row(each), _look(usable, number)
        draw_mass(left, each.data, row, colour, name)
        draw_onsets(left, each.data, row, colour, words=number == 0)
        if np.isfinite(each.data["oxygen_content"].values[row]).any():
            draw_curve(right, each.data, "oxygen_content", row, colour, name)
        onset, first = (pair(each.data, one, (row,)) for one in ("rapid_loss_onset", "rapid_loss_deflection"))
        if np.isfinite(onset[0]):
            words = f"{format_value(*onset, 'degC')} (first deflection {format_value(*first, 'degC')})"
            found.append(f"{name} {words}")
    left.set_ylabel("mass left (wt%)")
    right.set_ylabel("oxygen per formula unit")
    if right.lines:
        draw_limits(right, usable[0].data)
    for axes in (left, right):
        axes.set_xlabel(TEMPERATURE)
        axes.margins(x=0.02)
    add_figure_legend(figure, left)
    onsets = f" Onset of rapid loss by tangents: {'; '.join(found)}." if found else ""
    caption = (
        "Left: mass left on heating, with bands of two σ of the noise; filled, the onset of the rapid loss by tangents "
        "(ISO 11358-1); open, its first deflection (ASTM E2550). Right: oxygen per formula unit, if oxygen is all that "
        f"leaves; dashed, what all spinel and all rock salt of the first sample hold.{onsets}"
    )
    return Panel("mass-samples", "Loss of mass and oxygen, samples side by side", caption, figure)


def heat_samples_panel(results: Sequence[ParticleResult]) -> Panel | None:
    """Heat flow of several samples against temperature (Hou, Fig. S12b)."""
    usable = [each for each in results if is_calorimetry(each.data)]
    if len(usable) < 2:
        return None
    figure = new_figure(height=72)
    axes = figure.subplots()
    per_gram = all(knows_masses(each.data) for each in usable)
    found = []
    for number, (each, name) in enumerate(zip(usable, names_of(usable), strict=True)):
        row = _row(each)
        data = each.data if per_gram else each.data.assign(heat_flow=each.data["heat_flow"].drop_attrs())
        draw_heat(axes, data, row, _look(usable, number), (name, 0.0))
        if "effect_peak" in each.data:
            peaks = [
                f"{effect} {format_value(*pair(each.data, 'effect_peak', (row, column)), 'degC')}"
                for column, effect in enumerate(names_along(each.data["effect_peak"], "effect"))
                if np.isfinite(pair(each.data, "effect_peak", (row, column))[0])
            ]
            found += [f"{name}: {', '.join(peaks)}"] if peaks else []
    axes.set_xlabel(TEMPERATURE)
    axes.set_ylabel(heat_words([each.data for each in usable]))
    axes.margins(x=0.01)
    add_legend(axes)
    told = f" Peaks: {'; '.join(found)}." if found else ""
    caption = f"Heat flow into the samples, of each the record nearest to {_TYPICAL:g} K/min; dashed, baselines.{told}"
    return Panel("heat-samples", "Heat on heating, samples side by side", caption, figure)


def light_samples_panel(results: Sequence[ParticleResult]) -> Panel | None:
    """Absorbance of the solutions of several samples (Hou, Fig. 5b)."""
    usable = [each for each in results if is_light(each.data)]
    if len(usable) < 2:
        return None
    figure = new_figure(height=66)
    axes = figure.subplots()
    found = []
    for number, (each, name) in enumerate(zip(usable, names_of(usable), strict=True)):
        value, std = with_std(each.data, "band_absorbance")
        own = names_along(each.data["net_absorbance"], "spectrum")
        for row, one in enumerate(own):
            words = name if len(own) == 1 else f"{name}, {one}"
            draw_spectrum(axes, each.data, row, _look(usable, number), words, _DASHES[row % len(_DASHES)])
            found.append(f"{words} {format_value(value[row], std[row], '1')}")
    finish_spectra(axes, usable[0].data)
    add_legend(axes)
    caption = (
        f"Absorbance of the solutions less that of the solvent. Mean over {band_words(usable[0].data)} (shaded): "
        f"{'; '.join(found)}."
    )
    return Panel("absorbance-samples", "Absorbance of solutions, samples side by side", caption, figure)


def dissolved_samples_panel(results: Sequence[ParticleResult]) -> Panel | None:
    """Ratios of the dissolved metals of several samples."""
    usable = [each for each in results if is_content(each.data) and dissolved_rows(each.data)]
    if len(usable) < 2:
        return None
    figure = new_figure(height=60)
    axes = figure.subplots()
    elements: list[str] = []
    for each in usable:
        value, _ = with_std(each.data, "element_ratio")
        names = names_along(each.data["element_ratio"], "element")
        row = dissolved_rows(each.data)[0]
        elements += [name for k, name in enumerate(names) if np.isfinite(value[row, k]) and name not in elements]
    width, found = 0.8 / len(usable), []
    for number, (each, name) in enumerate(zip(usable, names_of(usable), strict=True)):
        row, names = dissolved_rows(each.data)[0], names_along(each.data["element_ratio"], "element")
        value, std = with_std(each.data, "element_ratio")
        there = [k for k, one in enumerate(elements) if one in names]
        places = [names.index(elements[k]) for k in there]
        x = np.array(there) + (number - 0.5 * (len(usable) - 1)) * width
        heights, errors = value[row, places], std[row, places]
        axes.bar(x, heights, 0.92 * width, yerr=errors, color=_look(usable, number), label=name, alpha=0.85)
        for at, height in zip(x, heights, strict=True):
            text = (0, 2.5), "offset points", f"{height:.2f}"
            axes.annotate(text[2], (at, height), text[0], textcoords=text[1], ha="center", va="bottom", fontsize=6.5)
        found.append(f"{name} {ratio_words(each.data, row)}")
    axes.set_ylim(0, 1.12 * axes.get_ylim()[1])
    axes.set_xticks(np.arange(len(elements)), elements)
    axes.set_ylabel(f"atoms per {usable[0].data['element_ratio'].attrs.get('relative_to', 'metal')}")
    add_legend(axes)
    caption = f"Atoms of the dissolved metals: {'; '.join(found)}."
    return Panel("dissolved-samples", "Dissolved metals, samples side by side", caption, figure)
