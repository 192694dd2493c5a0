"""Figure of cells of several samples: retention side by side, condition by condition (Hou, Fig. 5c and d)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cathoscope.report.cells import condition_names, level_words, reference_words
from cathoscope.report.figures.cycling import _efficiency_axis, draw_retention, ends_words
from cathoscope.report.figures.state_curves import ParticleResult
from cathoscope.report.style import COLOURS, DOUBLE_COLUMN, MARKERS, SINGLE_COLUMN, Panel, new_figure

_MOST = 4  # conditions


def retention_samples_panel(results: Sequence[ParticleResult]) -> Panel | None:
    """Mean retention of several samples, those of one temperature and rate together."""
    usable = [each for each in results if "retention_mean" in each.data]
    samples = list(dict.fromkeys(each.sample for each in usable))
    if len(samples) < 2:
        return None
    conditions = _shared(usable)[:_MOST]
    if not conditions:
        return None
    figure = new_figure(width=DOUBLE_COLUMN if len(conditions) > 1 else SINGLE_COLUMN, height=64)
    grid = np.ravel(figure.subplots(1, len(conditions), squeeze=False))
    for column, (axes, name) in enumerate(zip(grid, conditions, strict=True)):
        drawn = []
        for each in usable:
            if name not in condition_names(each.data):
                continue
            number, place = condition_names(each.data).index(name), samples.index(each.sample)
            draw_retention(
                axes, each.data, number, (COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]), each.sample
            )
            drawn.append((each.data, number, COLOURS[place % len(COLOURS)]))
        axes.set_title(name)
        _efficiency_axis(axes, drawn, last=column == len(conditions) - 1)
    grid[0].set_ylabel("capacity retention (%)")
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(samples))
    first = usable[0].data
    caption = (
        f"Capacity over that of {reference_words(first)} at each temperature and rate: means of the cells of a sample, "
        f"bars are the standard deviation between cells, bands the {level_words(first)} interval of the mean. Small "
        f"points, right axis: mean Coulombic efficiency.{_difference_words(usable)}"
    )
    return Panel("retention", "Retention of the samples", caption, figure)


def _shared(results: Sequence[ParticleResult]) -> list[str]:
    """Conditions of which more than one sample has cells, in order."""
    of: dict[str, set[str]] = {}
    for each in results:
        for name in condition_names(each.data):
            of.setdefault(name, set()).add(each.sample)
    return [name for name, samples in of.items() if len(samples) > 1]


def _difference_words(results: Sequence[ParticleResult]) -> str:
    """Differences between samples at the cycles told, from the measurements that were compared."""
    found = []
    for each in results:
        if "kept_difference" not in each.data:
            continue
        data = each.data
        other = str(data["retention_difference"].attrs.get("against", "the other"))
        for (number, place), value in np.ndenumerate(data["kept_difference"].values):
            if np.isfinite(value):
                low, high = (
                    100 * float(data[f"kept_difference_{end}"].values[number, place]) for end in ("low", "high")
                )
                chance = float(data["kept_probability"].values[number, place])
                where = f"{condition_names(data)[number]}, cycle {data['told'].values[place]:g}"
                size = f"{100 * value:+.2f} % ({ends_words(low, high, 2)}, p {chance:.2g})".replace("-", "−")
                found.append(f"{each.sample} minus {other}, {where}: {size}")
    return f" Found: {'; '.join(found)}." if found else ""
