"""Bulk spectra and images at two energies: what is drawn is what was found, for one spectrum and for many."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import norm, t

from cathoscope.report.figures import bulk, combination, groups, imaging, panels_of, panels_without_layout, valence
from cathoscope.report.figures.bulk import EDGES, spectrum_colours
from cathoscope.report.figures.valence import confidence_band
from cathoscope.report.style import Panel, figure_bytes, journal_style

Results = Callable[[str], xr.Dataset]
Captions = Callable[[xr.Dataset], Iterator[tuple[str, str]]]
Drawn = Callable[[str], list[Panel]]
MAKERS = {
    "bulk-spectra": bulk.spectra_panel,
    "bulk-edges": bulk.edges_panel,
    "edge-groups": groups.groups_panel,
    "valence": valence.valence_panel,
    "combination-fit": combination.combination_fit_panel,
    "combination-weights": combination.combination_weights_panel,
    "optical-depth-jump": imaging.jump_panel,
    "optical-depth": imaging.energy_images_panel,
}
BULK = ("xas", "xas, one", "xas, many", "xas, no foil", "xas, no fit", "xas, groups")
UNITS = re.compile(
    r"\((eV|µm|V)\)$|^(normalised absorption|residual|valence|weight of the component|optical depth"
    r"|number of the spectrum)$"
)


def panels(data: xr.Dataset) -> dict[str, Panel]:
    return {panel.key: panel for panel in panels_without_layout(data)}


def panel_of(data: xr.Dataset, key: str) -> Panel:
    """One figure, without the others."""
    with journal_style():
        panel = MAKERS[key](data)
    assert panel is not None
    assert panel.key == key
    return panel


def words(figure: Figure) -> list[str]:
    """Every text of a figure, legends included."""
    texts = [text for axes in figure.axes for text in axes.texts]
    texts += [text for legend in figure.legends for text in legend.get_texts()]
    return [text.get_text() for text in texts]


def points(axes: Axes, marker: str, colour: str | None = None) -> set[tuple[float, float]]:
    """Every point drawn with a marker, in one colour if it is named."""
    lines = [line for line in axes.get_lines() if line.get_marker() == marker and colour in (None, line.get_color())]
    return {(round(float(x), 6), round(float(y), 6)) for line in lines for x, y in line.get_xydata()}


@pytest.mark.parametrize(
    ("technique", "keys"),
    [
        ("xas", {"bulk-spectra", "bulk-edges", "valence", "combination-fit", "combination-weights"}),
        ("xas, one", {"bulk-spectra", "bulk-edges"}),
        ("xas, many", {"bulk-spectra", "bulk-edges", "valence", "combination-fit", "combination-weights"}),
        ("xas, no foil", {"bulk-spectra", "bulk-edges"}),
        ("xas, no fit", {"bulk-spectra", "bulk-edges", "combination-weights"}),
        ("xas, groups", {"bulk-spectra", "bulk-edges", "edge-groups"}),
        ("xanes-imaging", {"optical-depth-jump", "optical-depth"}),
    ],
)
def test_each_measurement_has_its_figures(technique: str, keys: set[str], drawn: Drawn) -> None:
    assert {panel.key for panel in drawn(technique)} == keys


@pytest.mark.parametrize("technique", [*BULK, "xanes-imaging"])
def test_axes_name_their_quantity_and_unit_and_captions_have_values(technique: str, drawn: Drawn) -> None:
    for panel in drawn(technique):
        labels = [text for axes in panel.figure.axes for text in (axes.get_xlabel(), axes.get_ylabel()) if text]
        assert labels, panel.key
        for text in labels:
            assert UNITS.search(text) or text == "jump of the optical depth at the edge", text
        assert not re.search(r"\bnan\b|\binf\b", panel.caption), panel.caption


@pytest.mark.parametrize("technique", ["xas", "xas, no fit", "xas, groups", "xanes-imaging"])
def test_any_array_may_be_missing(technique: str, result_of: Results, captions_without_an_array: Captions) -> None:
    data = result_of(technique)
    for name, caption in captions_without_an_array(data):
        assert "nan" not in caption, name
    assert panels_of(data[[]]) == []


@pytest.mark.parametrize(
    ("technique", "name", "lost"),
    [
        ("xanes-tomography", "white_line_energy", "white-line-maps"),
        ("xanes-tomography", "white_line_energy_std", "white-line-sigma"),
        ("xanes-tomography", "white_line_flag", "white-line-flags"),
        ("xanes-tomography", "edge_jump", "edge-jump"),
        ("tomography", "attenuation", "attenuation-slices"),
        ("spectromicroscopy", "component_weight", "component-maps"),
        ("spectromicroscopy", "mixture_residual", "mixture-residual"),
        ("xanes-imaging", "optical_depth_jump", "optical-depth-jump"),
        ("xanes-imaging", "optical_depth", "optical-depth"),
    ],
)
@pytest.mark.parametrize("dim", ["spectrum", "temperature"])
def test_an_array_without_the_dims_of_an_image_is_not_drawn_as_one(
    technique: str, name: str, lost: str, dim: str, result_of: Results, drawn: Drawn
) -> None:
    data = result_of(technique)
    series = xr.DataArray(np.ones(2), dims=dim, attrs={"units": "eV"})
    there = data[name].coords.get(dim, xr.DataArray(np.ones(2), dims=dim))
    changed = data.drop_vars(name).assign({name: series.assign_coords({dim: there})})
    assert lost in {panel.key for panel in drawn(technique)}
    assert lost not in panels(changed)


@pytest.mark.parametrize("technique", BULK)
def test_every_spectrum_is_drawn_on_its_energies(technique: str, result_of: Results) -> None:
    data = result_of(technique)
    axes = panel_of(data, "bulk-spectra").figure.axes[0]
    curves = [line for line in axes.get_lines() if line.get_linestyle() == "-"]
    assert len(curves) == data.sizes["spectrum"]
    for index, line in enumerate(curves):
        assert np.array_equal(line.get_xdata(), data["scan_energy"].values[index], equal_nan=True)
        assert np.array_equal(line.get_ydata(), data["normalised_absorption"].values[index], equal_nan=True)


def test_marks_lie_on_the_curves_at_the_edge_and_at_the_white_line(result_of: Results) -> None:
    data = result_of("xas")
    view = panel_of(data, "bulk-spectra").figure.axes[1]
    for name, marker, n in (("half_height_edge", "o", 4), ("white_line_energy", "v", 3)):
        drawn = sorted(points(view, marker))
        found = np.sort(data[name].values[np.isfinite(data[name].values)])
        assert len(drawn) == n
        assert np.allclose([x for x, _ in drawn], found, atol=1e-5)
    heights = np.array([y for _, y in sorted(points(view, "o"))])
    assert np.all((heights > 0.3) & (heights < 0.7))  # half of the height that the curves rise to


def test_a_few_spectra_have_names_in_colours_of_their_own(result_of: Results) -> None:
    panel = panel_of(result_of("xas"), "bulk-spectra")
    assert [f"charge <{i}>" for i in range(4)] + ["half height", "white line"] == words(panel.figure)[-6:]
    colours = [str(line.get_color()) for line in panel.figure.axes[0].get_lines()[:4]]
    assert len(set(colours)) == 4


def test_many_spectra_have_the_colour_of_their_voltage_and_black_without_one(result_of: Results) -> None:
    data = result_of("xas, many")
    look = spectrum_colours(data["normalised_absorption"])
    assert look.label == "voltage (V)"
    assert look.missing == 1
    assert isinstance(look.colours[0], str)
    red = [colour[0] for colour in look.colours[1:]]
    assert red[-1] > red[0]  # cold to hot
    panel = panel_of(data, "bulk-spectra")
    assert "voltage (V)" in [axes.get_ylabel() for axes in panel.figure.axes]
    assert "black where it is not known (1)" in panel.caption
    del data["spectrum"].attrs["labels"]
    assert spectrum_colours(data["normalised_absorption"]).label == "number of the spectrum"


@pytest.mark.parametrize("technique", ["xas", "xas, one", "xas, many", "xas, no foil"])
def test_every_edge_has_its_row_and_its_error_bar(technique: str, result_of: Results) -> None:
    data = result_of(technique)
    figure = panel_of(data, "bulk-edges").figure
    columns = {axes.get_xlabel(): axes for axes in figure.axes}
    for name, title in EDGES.items():
        values = data[name].values
        if not np.isfinite(values).any():
            assert f"{title} (eV)" not in columns
            continue
        axes = columns[f"{title} (eV)"]
        known = np.flatnonzero(np.isfinite(values))
        assert points(axes, "o") == {(round(float(values[row]), 6), float(row)) for row in known}
        assert [text.get_text() for text in axes.texts] == ["–"] * (values.size - known.size)
        std = np.hypot(data[f"{name}_std"].values, np.nan_to_num(data["energy_shift_std"].values))[known]
        ends = [np.ptp(bar.get_segments()[0][:, 0]) for each in axes.containers for bar in each[2]]
        assert np.allclose(ends, 2 * std, rtol=1e-6)
    low, high = figure.axes[0].get_ylim()
    assert low > high  # the first spectrum stands at the top


def test_caption_says_whether_the_energies_are_calibrated(result_of: Results) -> None:
    assert "+1.25 eV added" in panel_of(result_of("xas"), "bulk-spectra").caption
    without = result_of("xas, no foil")
    assert "as recorded (no foil)" in panel_of(without, "bulk-spectra").caption
    assert "there is no foil" in panel_of(without, "bulk-edges").caption


def test_band_is_the_quantile_times_the_uncertainty_of_the_line() -> None:
    covariance = np.array([[4.0, -1.0], [-1.0, 0.5]])
    attrs = {"intercept": 1.0, "slope": 2.0, "covariance": covariance, "scatter": 0.0, "standards": [1, 2, 3, 4]}
    valence = np.array([0.0, 3.0])
    edge, lower, upper = confidence_band(attrs, valence)
    assert np.allclose(edge, [1.0, 7.0])
    sigma = [np.sqrt(np.array([1.0, v]) @ covariance @ np.array([1.0, v])) for v in valence]
    assert np.allclose(upper - edge, norm.ppf(0.975) * np.array(sigma))
    assert np.allclose(edge - lower, upper - edge)
    _, _, wider = confidence_band({**attrs, "scatter": 0.3}, valence)
    assert np.allclose(wider - edge, t.ppf(0.975, 2) * np.array(sigma))


def test_valence_shows_standards_what_the_others_say_of_them_and_the_spectra_in_between(result_of: Results) -> None:
    data = result_of("xas")
    panel = panel_of(data, "valence")
    left, right = panel.figure.axes
    edge = data["integral_edge"].values.round(6)
    assert points(left, "o") == {(float(v), float(e)) for v, e in zip((2, 3, 4), edge, strict=False)}
    assert points(left, "D") == {(2.1, edge[0]), (2.8, edge[1]), (4.15, edge[2])}
    assert points(left, "s") == {(5.0, edge[3])}
    assert points(right, "|", "black") == {(2.0, 0.0), (3.0, 1.0), (4.0, 2.0)}
    assert points(right, "D") == {(2.1, 0.0), (2.8, 1.0), (4.15, 2.0)}
    assert points(right, "s") == {(5.0, 3.0)}
    assert "charge <3> 5.00 ± 0.15" in panel.caption
    assert "Beyond the standards: charge <3>" in panel.caption
    assert "interval is open" in panel.caption
    assert [text.get_text() for text in right.get_yticklabels()] == [f"charge <{i}>" for i in range(4)]


def test_interval_of_a_predicted_spectrum_is_drawn_from_end_to_end(result_of: Results) -> None:
    left = panel_of(result_of("xas"), "valence").figure.axes[0]
    ends = [line.get_xdata() for line in left.get_lines() if len(line.get_xdata()) == 2 and line.get_marker() == "None"]
    assert any(np.allclose(np.sort(np.asarray(each)), [4.7, 5.4]) for each in ends)


def groups_axes(data: xr.Dataset) -> Axes:
    return panel_of(data, "edge-groups").figure.axes[0]


def test_groups_show_their_rise_with_its_error_bar_and_the_reference_at_zero(result_of: Results) -> None:
    data = result_of("xas, groups")
    axes = groups_axes(data)
    rise, std = data["group_edge_rise"].values, data["group_edge_rise_std"].values
    assert points(axes, "o") == {(round(float(rise[row]), 6), float(row)) for row in (1, 3)}
    assert points(axes, "s") == {(0.0, 0.0), (0.0, 2.0)}
    ends = [np.ptp(bar.get_segments()[0][:, 0]) for each in axes.containers for bar in each[2]]
    assert np.allclose(ends, 2 * std[[1, 3]])
    assert [text.get_text() for text in axes.get_yticklabels()] == [
        "NMC0 N/A (2)", "NMC0 4.3 (2)", "NMC1 N/A (2)", "NMC1 4.3 (2)",
    ]  # fmt: skip
    assert axes.get_xlabel() == "rise of the half-height edge (eV)"


def test_single_spectra_scatter_about_the_mean_of_their_group(result_of: Results) -> None:
    for technique, name in (("xas, groups", "group_edge_rise"), ("xas, groups without reference", "group_edge")):
        data = result_of(technique)
        dots = [np.asarray(line.get_xdata()) for line in groups_axes(data).get_lines() if line.get_marker() == "."]
        assert [len(each) for each in dots] == [2] * 4
        assert np.allclose([np.mean(each) for each in dots], data[name].values)
        assert np.allclose([np.ptp(each) for each in dots], np.diff(data["half_height_edge"].values)[::2])


def test_without_a_reference_groups_show_their_mean_edge(result_of: Results) -> None:
    data = result_of("xas, groups without reference")
    axes = groups_axes(data)
    assert axes.get_xlabel() == "mean half-height edge (eV)"
    assert points(axes, "o") == {(round(float(x), 6), float(row)) for row, x in enumerate(data["group_edge"].values)}
    assert not points(axes, "s")


def test_caption_says_what_the_uncertainty_of_a_group_is(result_of: Results) -> None:
    data = result_of("xas, groups")
    caption = panel_of(data, "edge-groups").caption
    assert "scatter of single spectra about the mean of their group, 0.3 eV" in caption
    assert "over the square root of their number" in caption
    assert "minus that of the group with voltage N/A" in caption
    assert "NMC0 4.3 0.80 ± 0.30 eV" in caption
    data["group"].attrs["scatter"] = 0.1  # less than the uncertainty that was stated
    assert "uncertainty of single spectra (0.3 eV, which scatter less)" in panel_of(data, "edge-groups").caption
    data["group"].attrs["scatter"] = np.nan
    assert "no group has two" in panel_of(data, "edge-groups").caption


def test_groups_whose_labels_no_spectrum_has_are_drawn_without_single_spectra(result_of: Results) -> None:
    data = result_of("xas, groups")
    data["spectrum"].attrs["labels"] = {}
    panel = panel_of(data, "edge-groups")
    assert not points(panel.figure.axes[0], ".")
    assert "single spectrum" not in words(panel.figure)


def test_spectra_far_beyond_the_edge_are_shown_about_it(result_of: Results) -> None:
    data = result_of("xas")
    last = np.isfinite(data["scan_energy"].values).sum(axis=1) - 1
    data["scan_energy"].values[np.arange(4), last] = 10185.0
    data["normalised_absorption"].values[np.arange(4), last] = -7.0  # runs away
    panel = panel_of(data, "bulk-spectra")
    for axes in panel.figure.axes[:2]:
        assert axes.get_xlim()[1] < 8850
        assert axes.get_ylim()[0] > -1
    assert "of the 8240 to 10185 eV recorded" in panel.caption
    assert "recorded" not in panel_of(result_of("xas"), "bulk-spectra").caption


def test_curves_that_hide_one_another_have_widths_of_their_own(result_of: Results) -> None:
    def widths(data: xr.Dataset) -> list[float]:
        return [float(line.get_linewidth()) for line in panel_of(data, "bulk-spectra").figure.axes[0].get_lines()[:4]]

    data = result_of("xas")
    assert len(set(widths(data))) == 1
    data["normalised_absorption"].values[3] = data["normalised_absorption"].values[2]
    found = widths(data)
    assert found == sorted(found, reverse=True)
    assert len(set(found)) == 4
    assert "from wide to thin" in panel_of(data, "bulk-spectra").caption


def test_what_is_scaled_to_its_maximum_is_not_called_normalised(result_of: Results) -> None:
    data = result_of("xas")
    data["normalised_absorption"].attrs["remarks"] = ["all 4 spectra: scaled to its maximum: not normalised"]
    panel = panel_of(data, "bulk-spectra")
    assert panel.figure.axes[0].get_ylabel() == "absorption over its maximum"
    assert panel.caption.startswith("Absorption over its maximum")


def test_weights_of_a_spectrum_as_recorded_are_not_called_shares(result_of: Results) -> None:
    data = result_of("xas")
    assert "not shares" not in panel_of(data, "combination-weights").caption
    data["combination_fit"].attrs["of"] = "absorption"
    assert "not shares" in panel_of(data, "combination-weights").caption
    assert panel_of(data, "combination-fit").figure.axes[0].get_ylabel() == "absorption as recorded"


def test_map_says_what_its_noise_is_from_and_what_was_taken_from_it(result_of: Results) -> None:
    data = result_of("xanes-imaging")
    panel = panel_of(data, "optical-depth-jump")
    assert panel.title == "Map of Ni"
    assert "Note: −0.078 to +0.228 optical depth of the empty field" in panel.caption
    assert "0.03, from the counts." in panel.caption
    data["optical_depth_jump_std"].attrs["std_source"] = "scatter"
    assert "0.03, from the scatter of the empty field." in panel_of(data, "optical-depth-jump").caption


def test_a_rim_far_below_does_not_take_the_scale_of_the_map(result_of: Results) -> None:
    data = result_of("xanes-imaging")
    data["optical_depth_jump"].values[0, :20] = -5.0
    low, high = panel_of(data, "optical-depth-jump").figure.axes[0].images[0].get_clim()
    assert (low, high) == pytest.approx((0.0, 0.5))


def test_combination_shows_data_fit_components_and_what_is_left(result_of: Results) -> None:
    data = result_of("xas")
    panel = panel_of(data, "combination-fit")
    above = [axes for axes in panel.figure.axes if axes.get_title()]
    assert [axes.get_title().split(",")[0] for axes in above] == [f"charge <{i}>" for i in (1, 2, 3)]  # the worst
    curve = data["normalised_absorption"].values[1]
    drawn = [np.asarray(line.get_ydata()) for line in above[0].get_lines()]
    assert np.allclose(drawn[0], curve, equal_nan=True)
    assert np.allclose(drawn[1], curve - 0.01, equal_nan=True)
    assert np.allclose(drawn[2] + drawn[3], drawn[1], equal_nan=True)  # the weights add up to 1
    below = next(axes for axes in panel.figure.axes if axes.get_ylabel() == "residual")
    left_over = np.asarray(below.get_lines()[-1].get_ydata())
    assert np.allclose(left_over[np.isfinite(left_over)], 0.01)
    assert {"data", "fit", "NiO", "LiNiO2 & <more>"} <= set(words(panel.figure))


@pytest.mark.parametrize("technique", ["xas", "xas, many", "xas, no fit"])
def test_every_weight_is_drawn_with_its_error(technique: str, result_of: Results) -> None:
    data = result_of(technique)
    axes = panel_of(data, "combination-weights").figure.axes[0]
    drawn = [x for each in axes.containers for x in np.asarray(each[0].get_xdata(), float)]
    assert np.allclose(np.sort(drawn), np.sort(data["component_fraction"].values.ravel()))
    ends = [np.ptp(segment[:, 0]) for each in axes.containers for bar in each[2] for segment in bar.get_segments()]
    assert np.allclose(ends, 2 * 0.03)
    assert len(ends) == data["component_fraction"].size


def test_one_fit_says_its_weights_and_r_factor(result_of: Results) -> None:
    caption = panel_of(result_of("xas, no fit"), "combination-weights").caption
    assert "NiO 0.90 ± 0.03" in caption
    assert "R-factor 0.0001" in caption


def test_map_has_the_jump_the_outlines_and_the_numbers_of_the_particles(result_of: Results) -> None:
    data = result_of("xanes-imaging")
    panel = panel_of(data, "optical-depth-jump")
    axes = panel.figure.axes[0]
    drawn = axes.images[0].get_array()
    assert np.allclose(np.ma.filled(drawn, np.nan), data["optical_depth_jump"].values, equal_nan=True)
    written = {text.get_text(): text.get_position() for text in axes.texts}
    for index in range(3):
        assert written[str(index + 1)] == (data["particle_x"].values[index], data["particle_y"].values[index])
    assert any("µm" in text for text in written)  # scale bar
    outlines = [path for each in axes.collections for path in each.get_paths()]
    vertices = np.concatenate([path.vertices for path in outlines])
    far = [np.hypot(vertices[:, 0] - x, vertices[:, 1] - y).min() for x, y in ((-1.5, 1.0), (2.5, -2.5))]
    assert np.allclose(far, [2.0, 1.4], atol=0.3)  # a pixel and a bit
    assert "3 particles" in panel.caption


def test_numbers_that_would_cover_one_another_are_left_out_and_counted(result_of: Results) -> None:
    data = result_of("xanes-imaging")
    data["particle_x"] = data["particle_x"].copy(data=[-1.5, -1.4, -3.0])
    data["particle_y"] = data["particle_y"].copy(data=[1.0, 1.0, -6.0])
    panel = panel_of(data, "optical-depth-jump")
    assert [text for text in words(panel.figure) if text.isdigit()] == ["1", "3"]
    assert "1 without room" in panel.caption


def test_all_energies_are_shown_on_one_scale(result_of: Results) -> None:
    axes = [each for each in panel_of(result_of("xanes-imaging"), "optical-depth").figure.axes if each.images]
    assert [each.get_title() for each in axes] == ["8324.00 eV", "8354.00 eV"]
    assert len({each.images[0].get_clim() for each in axes}) == 1


# vectors of all figures of a page are compared in test_page
@pytest.mark.parametrize(
    ("technique", "file_format"), [("xas", "pdf"), ("xas, groups", "svg"), ("xanes-imaging", "png")]
)
def test_same_data_give_the_same_bytes(technique: str, file_format: str, result_of: Results) -> None:
    first, second = (panels_of(result_of(technique)) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert figure_bytes(one.figure, file_format) == figure_bytes(other.figure, file_format), one.key
