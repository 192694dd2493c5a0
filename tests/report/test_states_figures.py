"""Figures of the state of charge show the numbers they are given, to scale, and nothing overlaps."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from cathoscope.report.figures import state_curves, states
from cathoscope.report.figures.state_curves import (
    ParticleResult,
    difference_histogram_panel,
    profile_panel,
    sample_mean,
    samples_panel,
    state_histogram_panel,
)
from cathoscope.report.figures.states import (
    difference_maps_panel,
    particle_at,
    particle_panel,
    state_views_panel,
    step_names,
)
from cathoscope.report.render import FLAGGED_GREY, middle_of
from cathoscope.report.style import Panel, freeze_layout, journal_style

N, PIXEL = 20, 0.25
HOT = np.array([25.0, 150.0, 250.0])
VOXEL = ("z", "y", "x")
# Every figure of a measurement, and the arrays that it reads.
MAKERS: dict[Callable[[xr.Dataset], Panel | None], tuple[str, ...]] = {
    state_views_panel: ("white_line_energy", "white_line_flag", "particle_mask"),
    particle_panel: ("white_line_energy", "edge_jump", "white_line_flag", "particle_mask"),
    difference_maps_panel: ("white_line_difference", "white_line_difference_std"),
    state_histogram_panel: (
        "white_line_density", "white_line_true_density", "white_line_true_density_std", "white_line_mean",
        "white_line_mean_std",
    ),
    difference_histogram_panel: (
        "white_line_difference", "difference_mean", "difference_mean_std", "difference_width",
    ),
    profile_panel: ("white_line_profile", "white_line_profile_std", "correlation_length", "correlation_length_std"),
}  # fmt: skip
UNIT = re.compile(r"\((eV|µm|µm⁻¹|°C|% per eV)\)$")


@pytest.fixture(autouse=True)
def _small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(states, "_PIXELS", 40)


def heated(seed: int = 0) -> xr.Dataset:
    """A ball that loses oxidation state in two steps, 5 % of its voxels not trusted."""
    rng = np.random.default_rng(seed)
    where = (np.arange(N) - (N - 1) / 2) * PIXEL
    z, y, x = np.meshgrid(where, where, where, indexing="ij")
    inside = z**2 + y**2 + x**2 < (8.0 * PIXEL) ** 2
    line = np.stack([8350.5 + 0.3 * x, 8349.0 + 0.1 * y, 8348.9 + 0.0 * x]) + 0.05 * rng.standard_normal((3, N, N, N))
    mask = np.broadcast_to(inside, line.shape)
    flag = np.where(mask, np.where(rng.random(line.shape) < 0.05, 3, 0), 100)
    known = flag == 0
    line = np.where(known, line, np.nan)
    change = np.diff(line, axis=0)
    bins = np.arange(8347.0, 8352.0, 0.1)
    bell = np.exp(-(((bins - np.array([[8350.5], [8349.0], [8348.9]])) / 0.3) ** 2) / 2) / (0.3 * np.sqrt(2 * np.pi))
    voxel, condition, curve = ("temperature", *VOXEL), ("temperature",), ("temperature", "energy_bin")
    profile = np.array([[8350.5], [8349.0], [8348.9]]) + 0.1 * np.arange(4)
    arrays: dict[str, Any] = {
        "white_line_energy": (voxel, np.where(flag == 3, 8360.0, line)),
        "white_line_flag": (voxel, flag.astype(np.int8)),
        "particle_mask": (voxel, mask),
        "edge_jump": (voxel, np.where(mask, 0.06, 0.0) + 0.001 * rng.standard_normal(mask.shape)),
        "white_line_mean": (condition, np.nanmean(line, axis=(1, 2, 3))),
        "white_line_mean_std": (condition, [0.01, 0.02, 0.03]),
        "white_line_width": (condition, [0.5, 0.3, 0.2]),
        "white_line_width_std": (condition, [0.01, 0.02, 0.03]),
        "white_line_density": (curve, 0.8 * bell),
        "white_line_true_density": (curve, bell),
        "white_line_true_density_std": (curve, 0.1 * bell),
        "white_line_difference": (("step", *VOXEL), change),
        "white_line_difference_std": (("step", *VOXEL), np.where(np.isfinite(change), 0.1, np.nan)),
        "difference_mean": (("step",), np.nanmean(change, axis=(1, 2, 3))),
        "difference_mean_std": (("step",), [0.02, 0.02]),
        "difference_width": (("step",), [0.4, 0.1]),
        "white_line_profile": (("temperature", "depth"), profile),
        "white_line_profile_std": (("temperature", "depth"), np.full(profile.shape, 0.03)),
        "correlation_length": (condition, [0.9, 0.7, 0.5]),
        "correlation_length_std": (condition, [0.1, 0.05, 0.05]),
    }
    step = ("step", [0, 1], {"names": ["25 to 150 C", "150 to 250 C"]})
    coords: dict[str, Any] = {"temperature": HOT, "z": where, "y": where, "x": where, "energy_bin": bins}
    return xr.Dataset(arrays, coords={**coords, "step": step, "depth": [0.125, 0.375, 0.625, 0.875]})


def drawn(make: Callable[[Any], Panel | None], data: Any) -> Panel:
    with journal_style():
        panel = make(data)
    assert panel is not None
    return panel


@functools.cache
def standard(make: Callable[[Any], Panel | None]) -> Panel:
    """The panel of `heated`, or of `particles` for the samples, made once."""
    return drawn(make, particles() if make is samples_panel else heated())


def test_sections_show_every_trusted_voxel_grey_where_flagged_and_nothing_outside() -> None:
    data = heated()
    panel = standard(state_views_panel)
    cells = np.array(panel.figure.axes[:12]).reshape(4, 3)
    limits = {axes.images[1].get_clim() for axes in cells[1:].ravel()}
    assert len(limits) == 1  # one colour scale for all temperatures
    for column in range(3):
        mask = data["particle_mask"].values[column]
        middle = middle_of(mask)
        for row, axis in enumerate((0, 1, 2), start=1):
            grey, line = cells[row, column].images
            trusted = data["white_line_energy"].where(data["white_line_flag"] == 0).values[column]
            energy = trusted.take(middle[axis], axis=axis)
            section = mask.take(middle[axis], axis=axis)
            np.testing.assert_allclose(line.get_array().filled(np.nan), energy)
            np.testing.assert_array_equal(np.asarray(grey.get_array())[..., 3], section)
            assert (np.asarray(grey.get_array())[..., :3] == FLAGGED_GREY).all()


def test_views_and_sections_share_one_scale_and_the_bar_is_true() -> None:
    panel = standard(state_views_panel)
    cells = np.array(panel.figure.axes[:12]).reshape(4, 3)
    widths = [abs(np.diff(limits)[0]) for axes in cells.ravel() for limits in (axes.get_xlim(), axes.get_ylim())]
    np.testing.assert_allclose(widths, widths[0])
    assert widths[0] > 16 * PIXEL
    for axes in cells[:, 0]:
        (bar,) = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
        (words,) = [text.get_text() for text in axes.texts if "µm" in text.get_text()]
        assert words == f"{bar.get_width():g} µm"
    assert not any(axes.patches for axes in cells[:, 1:].ravel())


def test_the_view_has_the_size_of_the_particle_on_its_axes() -> None:
    panel = standard(state_views_panel)
    image = panel.figure.axes[0].images[0]
    left, right, _, _ = image.get_extent()
    pixels = np.asarray(image.get_array())
    across = (pixels[..., 3].sum(axis=0) > 0).sum() * (right - left) / pixels.shape[1]
    assert across == pytest.approx(16 * PIXEL, abs=0.08 * 16 * PIXEL)
    assert pixels[0, 0, 3] == 0
    # cold is red, heated is blue: mean red against mean blue of the opaque pixels
    reds = [
        float((part[..., 0] - part[..., 2])[part[..., 3] == 1].mean())
        for part in (np.asarray(axes.images[0].get_array()) for axes in panel.figure.axes[:3])
    ]
    assert reds[0] > 0 > max(reds[1:])


def test_share_without_value_is_stated() -> None:
    data = heated()
    flags = data["white_line_flag"].values
    caption = standard(state_views_panel).caption
    for flag, name in zip(flags, ("25 °C", "150 °C", "250 °C"), strict=True):
        assert f"{100 * (flag == 3).sum() / (flag != 100).sum():.2g} % at {name}" in caption


def test_particles_are_sampled_only_if_large(monkeypatch: pytest.MonkeyPatch) -> None:
    data = heated()
    assert particle_at(data, "white_line_energy", 0).voxel_size == pytest.approx(PIXEL)
    monkeypatch.setattr("cathoscope.report.render.MOST_VOXELS", 10**3)
    coarse = particle_at(data, "white_line_energy", 0)
    assert (coarse.stride, coarse.mask.shape) == (2, (10, 10, 10))
    assert coarse.voxel_size == pytest.approx(2 * PIXEL)
    trusted = data["white_line_energy"].where(data["white_line_flag"] == 0).values
    np.testing.assert_array_equal(coarse.value.values, trusted[0, ::2, ::2, ::2].astype(np.float32))
    assert "every 2 voxels" in drawn(state_views_panel, data).caption
    assert "every 2 voxels" in drawn(difference_maps_panel, data).caption


def test_the_particle_shows_its_inside_and_its_state() -> None:
    panel = standard(particle_panel)
    assert [axes.get_ylabel() for axes in panel.figure.axes[2:]] == ["edge jump (µm⁻¹)", "white-line energy (eV)"]
    assert "at 25 °C" in panel.caption
    left, right = (np.asarray(axes.images[0].get_array()) for axes in panel.figure.axes[:2])
    np.testing.assert_array_equal(left[..., 3], right[..., 3])  # the same particle from the same place
    assert np.abs(left[..., 0] - left[..., 2]).max() < 1e-6  # grey for absorption


def test_histogram_lines_are_the_densities_and_marks_the_means() -> None:
    data = heated()
    axes = standard(state_histogram_panel).figure.axes[0]
    lines = [line for line in axes.lines if len(line.get_xdata()) == data.sizes["energy_bin"]]
    for index in range(3):
        thin, thick = lines[2 * index : 2 * index + 2]
        np.testing.assert_allclose(thin.get_ydata(), 100 * data["white_line_density"].values[index])
        np.testing.assert_allclose(thick.get_ydata(), 100 * data["white_line_true_density"].values[index])
        assert thin.get_linewidth() < 0.5 * thick.get_linewidth()
        assert thin.get_color() == thick.get_color()
        band = axes.collections[2 * index].get_paths()[0].vertices
        assert band[:, 1].max() == pytest.approx(110 * data["white_line_true_density"].values[index].max())
    marks = [container for container in axes.containers if isinstance(container, ErrorbarContainer)]
    places = [float(mark.lines[0].get_xdata()[0]) for mark in marks]
    np.testing.assert_allclose(places, data["white_line_mean"].values)
    for mark, std in zip(marks, (0.01, 0.02, 0.03), strict=True):
        bars = mark.lines[2][0]
        assert isinstance(bars, LineCollection)
        assert np.ptp(bars.get_segments()[0][:, 0]) == pytest.approx(2 * std)


def test_difference_maps_are_centred_at_nothing_and_hatched_where_weak() -> None:
    data = heated()
    panel = standard(difference_maps_panel)
    first, second = panel.figure.axes[:2]
    for axes in (first, second):
        low, high = axes.images[1].get_clim()
        assert low == -high
        assert [axes.get_title() for axes in (first, second)] == ["25 to 150 °C", "150 to 250 °C"]
    hatched = [sum(path.vertices.size for path in axes.collections[0].get_paths()) for axes in (second,)]
    assert hatched[0] > 0
    assert not first.collections or sum(p.vertices.size for p in first.collections[0].get_paths()) < hatched[0]
    change = data["white_line_difference"].values
    for index, name in enumerate(step_names(data)):
        known = np.isfinite(change[index])
        share = (np.abs(change[index][known]) >= 0.2).mean()
        assert f"{name}: {100 * share:.0f} %" in panel.caption
    change = data["white_line_difference"]
    for size, is_hatched in ((1.9, True), (2.1, False)):  # in units of sigma, 0.1 eV
        one = data.assign(white_line_difference=change.where(change.isnull(), 0.1 * size))
        cells = drawn(difference_maps_panel, one).figure.axes[:4]
        assert [bool(axes.collections) for axes in cells] == [is_hatched] * 4
    plain = drawn(difference_maps_panel, data.drop_vars("white_line_difference_std"))
    assert "hatched" not in plain.caption
    assert not any(axes.collections for axes in plain.figure.axes[:2])


def test_difference_histogram_counts_every_changed_voxel() -> None:
    data = heated()
    panel = standard(difference_histogram_panel)
    change = data["white_line_difference"].values
    patches = panel.figure.axes[0].patches
    for index in range(2):
        values, edges, _ = patches[2 * index].get_data()  # type: ignore[attr-defined]
        assert np.sum(values * np.diff(edges)) == pytest.approx(100)
        known = change[index][np.isfinite(change[index])]
        expected = np.histogram(known, edges, density=True)[0]
        np.testing.assert_allclose(values, 100 * expected, atol=1e-6)
        assert f"standard deviation {known.std():.2f} eV" in panel.caption
    assert "0.40 eV with the noise removed" in panel.caption


def test_profile_and_correlation_lengths_are_as_stored() -> None:
    data = heated()
    left, right = standard(profile_panel).figure.axes
    curves = [each for each in left.containers if isinstance(each, ErrorbarContainer)]
    for index, curve in enumerate(curves):
        np.testing.assert_allclose(curve.lines[0].get_ydata(), data["white_line_profile"].values[index])
        np.testing.assert_allclose(np.ptp(curve.lines[2][0].get_segments()[0][:, 1]), 0.06)
    (bars,) = [each for each in right.containers if isinstance(each, BarContainer)]
    np.testing.assert_allclose([bar.get_width() for bar in bars], [0.9, 0.7, 0.5])
    assert [label.get_text() for label in right.get_yticklabels()] == ["25 °C", "150 °C", "250 °C"]
    for names in (["correlation_length", "correlation_length_std"], ["white_line_profile", "white_line_profile_std"]):
        assert len(drawn(profile_panel, data.drop_vars(names)).figure.axes) == 1


def particles() -> list[ParticleResult]:
    """Two samples of two particles; one lacks the last temperature."""
    found = []
    for offset, (sample, number) in enumerate(itertools.product(("rod", "gravel"), "12")):
        data = heated(offset)
        data["white_line_mean"] = data["white_line_mean"] + 0.1 * offset
        found.append(ParticleResult(sample, number, data.isel(temperature=slice(0, 2)) if offset == 3 else data))
    return found


def test_samples_show_every_particle_and_the_mean_of_each_sample() -> None:
    results = particles()
    panel = standard(samples_panel)
    for axes, name in zip(panel.figure.axes, ("white_line_mean", "white_line_width"), strict=True):
        points = [each for each in axes.containers if isinstance(each, ErrorbarContainer)]
        assert len(points) == 4
        for each, point in zip(results, points, strict=True):
            np.testing.assert_allclose(point.lines[0].get_ydata(), each.data[name].values)
            temperature = each.data["temperature"].values
            assert np.abs(point.lines[0].get_xdata() - temperature).max() < 10
        means = [line for line in axes.lines if line.get_linestyle() == "-" and len(line.get_xdata()) == 3]
        both = [each.data[name].values for each in results]
        np.testing.assert_allclose(means[0].get_ydata(), (both[0] + both[1]) / 2)
        np.testing.assert_allclose(means[1].get_ydata(), [*(both[2][:2] + both[3]) / 2, both[2][2]])
    mean = sample_mean(results[:2], "white_line_mean")
    difference = abs(float(np.diff([each.data["white_line_mean"].values[0] for each in results[:2]])[0]))
    text = re.search(r"rod \(2 particles, σ from their scatter\): 25 °C ([\d.]+) ± ([\d.]+) eV", panel.caption)
    assert text is not None
    assert float(text[1]) == pytest.approx(float(mean[0]), abs=0.01)
    assert float(text[2]) == pytest.approx(difference / 2, abs=0.006)  # of a mean of two: half their difference


@pytest.mark.parametrize("make", list(MAKERS), ids=lambda make: make.__name__)
def test_what_is_missing_is_left_out(make: Callable[[xr.Dataset], Panel | None]) -> None:
    data = heated().isel(temperature=[1])
    for name in MAKERS[make]:
        with journal_style():
            panel = make(data.drop_vars(str(name)))
        assert panel is None or (panel.caption and "nan" not in panel.caption), name
    with journal_style():
        assert make(data[[]]) is None
        assert make(data[["white_line_energy"]] * np.nan) is None
    assert samples_panel([]) is None


def test_one_temperature_and_many_are_drawn() -> None:
    data = heated()
    one = data.isel(temperature=[0]).drop_dims("step")
    assert len(drawn(state_views_panel, one).figure.axes) == 5  # four cells and the colour bar
    assert drawn(state_histogram_panel, data.isel(temperature=0, drop=True).drop_dims("step"))
    many = xr.concat([data.isel(temperature=[0])] * 8, dim="temperature", data_vars="minimal")
    many = many.assign_coords(temperature=25.0 * np.arange(1, 9))
    panel = drawn(state_views_panel, many)
    titles = [axes.get_title() for axes in panel.figure.axes[:5]]
    assert (titles[0], titles[-1]) == ("25 °C", "200 °C")
    assert "3 of 8 temperatures" in panel.caption


def shown_texts(axes: Axes) -> list[Text]:
    """Texts that are drawn: titles, labels, tick labels within the axes, and what was written inside."""
    found = [*axes.texts, axes.title, axes.xaxis.label, axes.yaxis.label]
    for axis in (axes.xaxis, axes.yaxis):
        found += [tick.label1 for tick in axis._update_ticks() if tick.label1.get_visible()]  # type: ignore[attr-defined]
    legend = axes.get_legend()
    found += legend.get_texts() if legend else []
    return [text for text in found if text.get_text() and text.get_visible()]


@pytest.mark.parametrize("make", [*MAKERS, samples_panel], ids=lambda make: make.__name__)
def test_no_text_overlaps_another_or_leaves_the_figure(make: Callable[[Any], Panel | None]) -> None:
    panel = standard(make)
    freeze_layout(panel.figure)
    renderer = panel.figure.canvas.get_renderer()  # type: ignore[attr-defined]
    texts = [text for axes in panel.figure.axes for text in shown_texts(axes)]
    texts += [text for legend in panel.figure.legends for text in legend.get_texts()]
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in texts]
    whole = panel.figure.bbox
    for words, box in boxes:
        assert min(box.x0, box.y0, whole.x1 - box.x1, whole.y1 - box.y1) >= -1, words
    for (words, one), (others, other) in itertools.combinations(boxes, 2):
        assert not one.padded(-0.5).overlaps(other.padded(-0.5)), (words, others)


@pytest.mark.parametrize("make", [*MAKERS, samples_panel], ids=lambda make: make.__name__)
def test_axes_name_their_quantity_and_unit(make: Callable[[Any], Panel | None]) -> None:
    panel = standard(make)
    labels = [text for axes in panel.figure.axes for text in (axes.get_xlabel(), axes.get_ylabel()) if text]
    assert labels
    assert all(UNIT.search(text) for text in labels), labels
    assert panel.figure.get_figwidth() * 25.4 <= 178.01
    assert state_curves.DOUBLE_COLUMN == 178.0
