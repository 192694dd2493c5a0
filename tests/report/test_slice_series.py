"""Figures and first numbers of series of slices."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from cathoscope.core.schema import dataset, label
from cathoscope.report.figures.slice_series import (
    porosity_panel,
    series_panel,
    slice_numbers,
    slices_panel,
    stack_panel,
)
from cathoscope.report.figures.state_curves import ParticleResult
from cathoscope.report.style import journal_style

CYCLE = np.arange(0.0, 46.0, 5.0)


def results(porosity: np.ndarray, *, reached: tuple[float, float, float] = (42.1, 40.7, np.inf)) -> xr.Dataset:
    """What a series of slices makes, of a disk with a hole."""
    coords = {"cycle": label("cycle", CYCLE, ("cycle",))}
    coords |= {dim: label(dim, np.linspace(-4, 4, 40), (dim,)) for dim in ("y", "x")}
    r = np.hypot(coords["y"].values[:, None], coords["x"].values)
    outline = np.broadcast_to(r < 3.5, (CYCLE.size, 40, 40))
    pores = np.stack([np.where(r < 3.5 * np.sqrt(value), 1.0, 0.0) for value in porosity]).astype(np.float32)
    images = {"slice_outline": outline, "slice_pores": pores}
    arrays = [label(name, values, ("cycle", "y", "x"), coords=coords) for name, values in images.items()]
    for name in ("porosity", "slice_porosity", "threshold_porosity", "porosity_trend", "slice_porosity_trend"):
        arrays.append(label(name, porosity, ("cycle",), coords=coords))
        std = label(f"{name}_std", 0.1 * porosity + 0.005, ("cycle",), coords=coords, std_source="scatter")
        arrays.append(std)
    numbers = {"asked_cycle": 35.0, "porosity_at_cycle": float(np.interp(35, CYCLE, porosity)), "asked_porosity": 0.22}
    names = ("cycle_of_porosity", "cycle_of_porosity_low", "cycle_of_porosity_high")
    numbers |= dict(zip(names, reached, strict=True)) | {"independent_slices": 2.4}
    arrays += [label(name, np.float64(value), ()) for name, value in numbers.items()]
    arrays.append(label("porosity_at_cycle_std", np.float64(0.02), (), std_source="fit covariance"))
    return dataset(arrays)


SLOW = results(0.03 + 0.0119 * np.expm1(0.06 * CYCLE))
FAST = results(0.03 + 0.2 * (1 - np.exp(-CYCLE / 8)), reached=(np.nan, np.nan, np.nan))


def test_slices_are_shown_from_the_first_to_the_last() -> None:
    with journal_style():
        panel = slices_panel(SLOW)
        assert slices_panel(SLOW.drop_vars("slice_outline")) is None
        assert slices_panel(SLOW.assign(slice_porosity=SLOW["slice_porosity"] * np.nan)) is None
    assert panel is not None
    titles = [axes.get_title() for axes in panel.figure.axes if axes.get_title()]
    assert titles[0].startswith("cycle 0: 3.0 %")
    assert titles[-1].startswith("cycle 45")
    assert len(titles) == 5


def test_porosity_is_drawn_for_particle_section_and_threshold() -> None:
    with journal_style():
        panel = porosity_panel(SLOW)
        assert porosity_panel(SLOW.drop_vars("porosity_trend")) is None
    assert panel is not None
    labels = [label for axes in panel.figure.axes for label in axes.get_legend_handles_labels()[1]]
    assert {"particle, each slice", "section, grey levels", "section, threshold", "reaches 22 %"} <= set(labels)
    assert "2.4 independent slices" in panel.caption


@pytest.mark.parametrize(
    ("reached", "words"),
    [((49.0, 44.0, np.inf), "reaches 22 %"), ((np.inf, 42.0, np.inf), "22 % after cycle 42")],
)
def test_a_porosity_beyond_the_series_is_drawn(reached: tuple[float, float, float], words: str) -> None:
    with journal_style():
        panel = porosity_panel(results(0.1 + 0.0024 * CYCLE, reached=reached))
    assert panel is not None
    axes = panel.figure.axes[0]
    assert words in axes.get_legend_handles_labels()[1]
    if np.isfinite(reached[0]):
        assert axes.get_xlim()[1] > reached[0]


def test_two_samples_stand_side_by_side_and_are_told_apart() -> None:
    pair = [ParticleResult("L-NMC", "1", SLOW), ParticleResult("H-NMC", "1", FAST)]
    with journal_style():
        panel = series_panel(pair)
        same = series_panel([pair[0], ParticleResult("again", "1", SLOW)])
        assert series_panel(pair[:1]) is None
        several = series_panel([*pair, ParticleResult("L-NMC", "2", SLOW)])
    assert panel is not None
    assert "L-NMC minus H-NMC" in panel.caption
    assert "are told apart" in panel.caption
    assert same is not None
    assert "cannot be told apart" in same.caption
    # particles of a sample are compared all together, elsewhere
    assert several is not None
    assert "told apart" not in several.caption
    assert "L-NMC, particle 2, cycle 35" in several.caption


def test_the_first_numbers_are_those_that_were_asked_for() -> None:
    rows = {row.name: row.value for row in slice_numbers(SLOW)}
    assert "± 0.02" in rows["porosity of the particle, cycle 35"]
    assert "porosity of the section, cycle 35" in rows
    assert rows["cycle of 22 % porosity"] == "42.1 (40.7 to beyond the series)"
    assert {row.name: row.value for row in slice_numbers(FAST)}["cycle of 22 % porosity"] == "not reached"
    assert slice_numbers(SLOW[["porosity"]]) == []


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_a_cycle_beyond_the_series_says_so(value: float) -> None:
    data = results(0.1 + 0.001 * CYCLE, reached=(value, 41.0, np.inf))
    assert "later than the last slice (41 to beyond" in slice_numbers(data)[-1].value


def test_a_cycle_before_the_series_says_so() -> None:
    data = results(0.1 + 0.001 * CYCLE, reached=(-np.inf, -np.inf, 3.0))
    assert slice_numbers(data)[-1].value == "earlier than the first slice (beyond the series to 3)"


def test_a_stack_shows_two_planes_and_its_porosity() -> None:
    coords = {dim: label(dim, np.arange(float(n)), (dim,)) for dim, n in zip("zyx", (9, 12, 14), strict=True)}
    share = label("oxide_share", np.zeros((9, 12, 14), np.float32), ("z", "y", "x"), coords=coords)
    value = label("slice_porosity", np.float64(0.2), ())
    std = label("slice_porosity_std", np.float64(0.01), (), std_source="scatter")
    panel = stack_panel(dataset([share, value, std]))
    assert panel is not None
    assert "9 slices" in panel.caption
    assert "0.200 ± 0.010" in panel.caption
    assert stack_panel(SLOW) is None
