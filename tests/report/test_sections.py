"""Figures of sections from small made-up results: what they draw, and that they are left out where nothing is."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from cathoscope.core.schema import dataset, label
from cathoscope.report.figures.sections import grains_panel, histograms_panel, particles_panel, section_numbers
from cathoscope.report.style import figure_bytes, journal_style

SIDE = 40


def frame() -> tuple[dict[str, xr.DataArray], np.ndarray, np.ndarray]:
    axis = (np.arange(SIDE) - 19.5) * 0.1
    y, x = np.mgrid[:SIDE, :SIDE]
    return {dim: label(dim, axis, (dim,)) for dim in ("y", "x")}, y, x


def number(name: str, value: float) -> list[xr.DataArray]:
    return [label(name, np.array(value), ()), label(f"{name}_std", np.array(0.1), (), std_source="scatter")]


def etched() -> xr.Dataset:
    coords, y, _ = frame()
    labels = (1 + y // 20).astype(np.int32)
    coords["grain"] = label("grain", np.array([1, 2]), ("grain",))
    arrays = [
        label("section_image", 100.0 + y.astype(np.float32), ("y", "x"), coords=coords),
        label("grain_label", labels, ("y", "x"), coords=coords),
        label("grain_area", np.array([8.0, 8.0]), ("grain",), coords=coords),
        label("grain_angle", np.array([10.0, 80.0]), ("grain",), coords=coords),
        *number("grain_alignment", 0.5),
        *number("grain_mean_aspect", 2.0),
    ]
    return dataset(arrays)


def field() -> xr.Dataset:
    coords, y, x = frame()
    labels = np.zeros((SIDE, SIDE), np.int32)
    for index, (row, column) in enumerate([(10, 10), (10, 30), (30, 10), (32, 36)], start=1):
        labels[np.hypot(y - row, x - column) < 7] = index
    coords["particle"] = label("particle", np.arange(1, 5), ("particle",))
    flags = {"cracked": [1, 0, 1, 0], "hollow": [0, 1, 0, 0], "at_border": [0, 0, 0, 1]}
    columns = {
        "area": np.full(4, 1.5),
        "diameter": np.array([1.4, 1.5, 1.3, 1.2]),
        "porosity": np.array([0.1, 0.2, 0.0, 0.1]),
    }
    arrays = [
        label("section_image", 100.0 + (labels > 0), ("y", "x"), coords=coords),
        label("particle_label", labels, ("y", "x"), coords=coords),
        label("pore_kind", np.where(labels == 1, 1, np.where(labels == 2, 3, 0)), ("y", "x"), coords=coords),
        *[
            label(f"particle_{name}", np.array(value, bool), ("particle",), coords=coords)
            for name, value in flags.items()
        ],
        *[label(f"particle_{name}", value, ("particle",), coords=coords) for name, value in columns.items()],
        label("particle_porosity_std", np.full(4, 0.02), ("particle",), coords=coords, std_source="scatter"),
        *number("mean_porosity", 0.1),
        *number("porosity_spread", 0.05),
    ]
    return dataset(arrays)


def test_grains_are_coloured_by_their_angle() -> None:
    with journal_style():
        panel = grains_panel(etched())
    assert panel is not None
    assert "2 grains" in panel.caption
    assert "0.50 ± 0.10" in panel.caption
    colours = panel.figure.axes[1].images[-1].get_array()
    assert sorted(np.unique(colours.compressed())) == [10.0, 80.0]
    bars = panel.figure.axes[2].patches
    assert sum(bar.get_height() for bar in bars) == pytest.approx(1.0)
    assert figure_bytes(panel.figure, "png", dpi=40)


def test_particles_are_outlined_by_what_they_show() -> None:
    with journal_style():
        panel = particles_panel(field())
    assert panel is not None
    axes = panel.figure.axes[0]
    kinds = axes.images[-1].get_array()
    assert sorted(np.unique(kinds.compressed())) == [1.0, 3.0]
    assert len(axes.collections) == 4  # one outline each
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["neither", "cracked", "hollow", "cut"]


def test_histograms_hold_the_whole_particles() -> None:
    with journal_style():
        panel = histograms_panel(field())
    assert panel is not None
    assert panel.caption.startswith("3 particles")
    assert sum(bar.get_height() for bar in panel.figure.axes[0].patches) == 3
    assert [text.get_text() for text in panel.figure.axes[1].get_legend().get_texts()] == ["mean 0.10 ± 0.10"]


def test_nothing_is_drawn_of_nothing() -> None:
    empty = xr.Dataset()
    assert grains_panel(empty) is particles_panel(empty) is histograms_panel(empty) is None
    assert histograms_panel(field().isel(particle=[3])) is None
    assert section_numbers(empty) == []
    assert [row.value for row in section_numbers(etched())] == ["0.50 ± 0.10", "2.00 ± 0.10"]
