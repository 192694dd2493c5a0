"""Every technique gets its figures, with units on the axes; what is missing is left out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from cathoscope.core.study import Study
from cathoscope.report.figures import comparison_panels, panels_of, panels_without_layout
from cathoscope.report.figures.geometry import rotation_axis_panel
from cathoscope.report.figures.motion import motion_panel
from cathoscope.report.figures.reading import bins_of_width, busiest_slice, histogram
from cathoscope.report.figures.spectra import flag_panel
from cathoscope.report.figures.spectromicroscopy import components_above_noise
from cathoscope.report.figures.xanes import histograms_of_white_line
from cathoscope.report.style import FILE_FORMATS, Panel, figure_bytes, freeze_layout, journal_style, round_length

Drawn = Callable[[str], list[Panel]]
TOMOGRAPHY = {"attenuation-slices", "rotation-axis", "jitter", "beam-intensity"}
WHITE_LINE = {
    "white-line-maps", "white-line-difference", "white-line-mean", "mean-spectrum",
    "edge-jump", "white-line-sigma", "white-line-flags", "state-views", "particle-views",
}  # fmt: skip
STACK = {"component-maps", "component-spectra", "singular-values", "optical-depth", "mixture-residual"}
UNITLESS = re.compile(
    r"projection|scan|rank|optical depth|amount|voxels|beam intensity \(relative\)|residual|σ$"
    r"|singular value|error of white-line energy / σ|share"
)


@pytest.mark.parametrize(
    ("technique", "keys"),
    [
        ("tomography", TOMOGRAPHY | {"detector"}),
        ("xanes-tomography", TOMOGRAPHY | WHITE_LINE),
        ("spectromicroscopy", STACK),
    ],
)
def test_each_technique_has_its_figures(technique: str, keys: set[str], drawn: Drawn) -> None:
    assert {panel.key for panel in drawn(technique)} == keys


@pytest.mark.parametrize("technique", ["tomography", "xanes-tomography", "spectromicroscopy"])
def test_axes_name_their_quantity_and_unit(technique: str, drawn: Drawn) -> None:
    for panel in drawn(technique):
        labels = [text for axes in panel.figure.axes for text in (axes.get_xlabel(), axes.get_ylabel()) if text]
        assert labels, panel.key
        for text in labels:
            assert re.search(r"\((eV|µm|µm⁻¹|px|°C|% per eV|% of the particle)\)$", text) or UNITLESS.search(text), text


@pytest.mark.parametrize("technique", ["tomography", "xanes-tomography", "spectromicroscopy"])
def test_no_array_is_needed_by_the_figures_of_the_others(
    technique: str,
    result_of: Callable[[str], xr.Dataset],
    captions_without_an_array: Callable[[xr.Dataset], Iterator[tuple[str, str]]],
) -> None:
    data = result_of(technique)
    for name, caption in captions_without_an_array(data):
        assert caption, name
        assert "nan" not in caption, name
    assert panels_of(data[[]]) == []


def test_nothing_trusted_gives_no_map(result_of: Callable[[str], xr.Dataset]) -> None:
    data = result_of("xanes-tomography")
    data["white_line_flag"] = data["white_line_flag"].copy(data=np.ones_like(data["white_line_flag"].values))
    keys = {panel.key for panel in panels_without_layout(data)}
    assert not keys & {"white-line-maps", "white-line-difference", "white-line-sigma"}
    assert "white-line-flags" in keys


def test_drawn_slice_has_the_white_line_of_the_result_and_nothing_where_it_is_not_trusted(
    result_of: Callable[[str], xr.Dataset], drawn: Drawn
) -> None:
    data = result_of("xanes-tomography")
    panel = next(panel for panel in drawn("xanes-tomography") if panel.key == "white-line-maps")
    z = busiest_slice(data)
    for index in range(2):
        drawn = panel.figure.axes[index].images[0].get_array()
        good = data["white_line_flag"].values[index, z] == 0
        assert np.array_equal(~np.ma.getmaskarray(drawn), good)
        assert np.allclose(drawn[good], data["white_line_energy"].values[index, z][good], rtol=0, atol=1e-3)


def test_busiest_slice_has_the_most_trusted_voxels(result_of: Callable[[str], xr.Dataset]) -> None:
    data = result_of("xanes-tomography")
    per_slice = (data["white_line_flag"].values[0] == 0).sum(axis=(1, 2))
    assert per_slice[busiest_slice(data)] == per_slice.max()


def test_histogram_of_slabs_has_the_moments_of_the_whole(result_of: Callable[[str], xr.Dataset]) -> None:
    data = result_of("xanes-tomography")
    for index, found in enumerate(histograms_of_white_line(data)):
        good = data["white_line_energy"].values[index][data["white_line_flag"].values[index] == 0].astype(float)
        assert found.total == good.size
        assert found.mean == pytest.approx(good.mean(), abs=1e-9)
        assert found.width == pytest.approx(good.std(), abs=1e-9)


@given(values=st.lists(st.floats(-50, 50), min_size=1, max_size=200), cut=st.integers(0, 200))
@settings(max_examples=50, deadline=None)
def test_histogram_counts_what_numpy_counts_however_it_is_cut(values: list[float], cut: int) -> None:
    array = np.array(values)
    found = histogram([array[:cut], array[cut:]], step=0.25)
    inside = np.histogram(array, found.edges)[0]
    assert found.total == array.size == inside.sum()
    assert np.array_equal(found.counts, inside)
    assert sum(each.total for each in bins_of_width([found], n_bins=7)) == array.size


def test_flag_counts_add_up(result_of: Callable[[str], xr.Dataset]) -> None:
    data = result_of("xanes-tomography")
    panel = flag_panel(data)
    assert panel is not None
    axes = panel.figure.axes[0]
    flags = data["white_line_flag"].values
    bars = sum(bar.get_width() for bar in axes.patches)
    inside = [flags[index] < 100 for index in range(2)]
    expected = sum(100 * (flags[index][inside[index]] > 0).mean() for index in range(2))
    assert bars == pytest.approx(expected)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["no edge", "no maximum", "no convergence"]


def test_flags_without_meanings_are_numbers(result_of: Callable[[str], xr.Dataset]) -> None:
    data = result_of("xanes-tomography")
    data["white_line_flag"].attrs.clear()
    panel = flag_panel(data)
    assert panel is not None
    assert "flag 1" in [label.get_text() for label in panel.figure.axes[0].get_yticklabels()]


def test_components_are_counted_down_to_the_first_below_the_noise() -> None:
    data = xr.Dataset({"singular_value": ("rank", [9.0, 3.0, 0.9, 1.2]), "noise_floor": ("rank", np.ones(4))})
    assert components_above_noise(data) == 2
    data["singular_value"].attrs["count_above_noise"] = 3
    assert components_above_noise(data) == 3


def test_maps_without_z_are_drawn_too(result_of: Callable[[str], xr.Dataset]) -> None:
    flat = result_of("xanes-tomography").isel(z=8, temperature=0, drop=True)
    names = ["white_line_energy", "white_line_energy_std", "white_line_flag", "particle_mask"]
    keys = {panel.key for panel in panels_without_layout(flat[names])}
    assert keys == {"white-line-maps", "white-line-sigma", "white-line-flags"}


def test_truth_panels_state_the_pull(study: Study) -> None:
    result, truth = study.read("result", "heating"), study.read("truth", "heating")
    panels = {panel.key: panel for panel in comparison_panels(result, truth)}
    assert set(panels) == {"white-line-truth", "white-line-pull"}
    good = result["white_line_flag"].values == 0
    difference = (result["white_line_energy"].values - truth["white_line_energy"].values)[good]
    pull = difference / result["white_line_energy_std"].values[good]
    caption = panels["white-line-pull"].caption
    assert f"mean {pull.mean():+.2f}, standard deviation {pull.std():.2f}" in caption


def laid_out(data: xr.Dataset, number: int) -> Figure:
    """One of a result's figures, as `panels_of` gives it."""
    figure = panels_without_layout(data)[number].figure
    freeze_layout(figure)
    return figure


@pytest.mark.parametrize("file_format", FILE_FORMATS)
def test_same_data_give_the_same_bytes(file_format: str, result_of: Callable[[str], xr.Dataset]) -> None:
    first, second = (laid_out(result_of("tomography"), 0) for _ in range(2))
    assert figure_bytes(first, file_format) == figure_bytes(second, file_format) == figure_bytes(first, file_format)


def test_settings_of_the_user_stay_and_do_not_matter(result_of: Callable[[str], xr.Dataset], tmp_path: Path) -> None:
    plain = figure_bytes(laid_out(result_of("tomography"), 1), "svg")
    with mpl.rc_context({"font.size": 20, "lines.linewidth": 7}):
        before = dict(mpl.rcParams)
        assert figure_bytes(laid_out(result_of("tomography"), 1), "svg") == plain
        assert dict(mpl.rcParams) == before


@given(limit=st.floats(1e-6, 1e6))
@settings(max_examples=100, deadline=None)
def test_scale_bar_is_round_and_as_long_as_allowed(limit: float) -> None:
    length = round_length(limit)
    assert f"{length:.0e}"[0] in "125"
    assert length <= limit * (1 + 1e-6) < 2.5 * length * (1 + 1e-6) + limit * 1e-6


def test_the_axis_figure_says_which_method_was_used(result_of: Callable[[str], xr.Dataset]) -> None:
    def caption(data: xr.Dataset) -> str:
        with journal_style():
            panel = rotation_axis_panel(data)
        assert panel is not None
        return panel.caption

    assert "mirrored projections" in caption(result_of("tomography"))
    many = caption(result_of("xanes-tomography"))
    assert "centre of mass" in many
    assert "mirrored projections half a turn apart (1)" in many
    fixed = result_of("tomography")
    fixed["rotation_axis_std"] = fixed["rotation_axis_std"] * 0.0
    assert "fixed in the recipe" in caption(fixed)


def test_what_was_not_corrected_has_no_figure(result_of: Callable[[str], xr.Dataset]) -> None:
    data = result_of("tomography")
    data["projection_shift"] = data["projection_shift"] * 0.0
    data["beam_intensity"] = data["beam_intensity"] * 0.0 + 1.0
    data["stripe_offset"] = data["stripe_offset"] * 0.0
    data["bad_pixel_mask"] = data["bad_pixel_mask"] & False
    assert {panel.key for panel in panels_without_layout(data)} == {"attenuation-slices", "rotation-axis"}


def test_two_slices_are_no_section_along_the_axis(result_of: Callable[[str], xr.Dataset]) -> None:
    data = result_of("tomography").isel(z=slice(0, 2))
    panel = next(panel for panel in panels_without_layout(data) if panel.key == "attenuation-slices")
    assert len(panel.figure.axes) == 2  # the slice and the colour bar
    assert "central slice of" in panel.caption


def test_one_corrected_pixel_has_the_full_colour(result_of: Callable[[str], xr.Dataset]) -> None:
    data = result_of("tomography")
    offset = np.zeros_like(data["stripe_offset"].values)
    offset[3, 2] = -0.03
    data["stripe_offset"] = data["stripe_offset"].copy(data=offset)
    panel = next(panel for panel in panels_without_layout(data) if panel.key == "detector")
    assert panel.figure.axes[0].images[0].get_clim() == pytest.approx((-0.03, 0.03))


def test_an_axis_that_the_other_method_did_not_find_says_so(
    result_of: Callable[[str], xr.Dataset], drawn: Drawn
) -> None:
    data = result_of("tomography")
    assert not next(panel for panel in drawn("tomography") if panel.key == "rotation-axis").figure.axes[0].texts
    data["rotation_axis_check"] = data["rotation_axis_check"] * np.nan
    panel = next(panel for panel in panels_without_layout(data) if panel.key == "rotation-axis")
    assert [text.get_text() for text in panel.figure.axes[0].texts] == ["no value"]
    assert "gave none" in panel.caption


def test_the_motion_of_a_series_is_drawn_with_its_uncertainty() -> None:
    rng = np.random.default_rng(9)
    energy, shape = np.linspace(8300.0, 8400.0, 12), (2, 12)
    dims = ("temperature", "energy")
    drift = rng.normal(0.0, 0.05, (*shape, 3))
    data = xr.Dataset(
        {
            "specimen_shift": ((*dims, "axis"), drift),
            "specimen_shift_std": ((*dims, "axis"), np.full((*shape, 3), 2e-3)),
            "magnification": (dims, 1.0 + 1e-5 * (energy - 8350.0) + 3e-6 * rng.normal(size=shape)),
            "magnification_std": (dims, np.full(shape, 1e-6)),
            "vertical_shift": ((*dims, "projection"), rng.normal(0.0, 0.02, (*shape, 40))),
            "geometry_residual": (dims, np.full(shape, 0.9)),
        },
        coords={"temperature": [25.0, 150.0], "energy": energy},
    )
    with journal_style():
        panel = motion_panel(data)
    assert panel is not None
    axes = panel.figure.axes
    assert len(axes) == 6
    for index in range(3):
        for temperature, container in enumerate(axes[index].containers):
            np.testing.assert_allclose(container.lines[0].get_ydata(), drift[temperature, :, index])
    left = axes[3].containers[0].lines[0].get_ydata()
    assert np.abs(left).max() < 20.0  # the straight line of 1e-3 is gone
    assert np.polyfit(energy, left, 1)[0] == pytest.approx(0.0, abs=1e-9)
    assert f"{np.abs(drift).max():.2g} µm" in panel.caption
    assert motion_panel(data.drop_vars("specimen_shift_std")) is None
