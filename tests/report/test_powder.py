"""Figures, tables and first numbers of powder diffraction, on results made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from cathoscope.core.schema import dataset, label
from cathoscope.core.study import Study
from cathoscope.report.figures import comparison_panels, diffraction_axis, panels_without_layout
from cathoscope.report.figures.diffraction_patterns import map_panel
from cathoscope.report.figures.diffraction_samples import first_patterns_panel, names_of, series_panel
from cathoscope.report.figures.state_curves import ParticleResult
from cathoscope.report.numbers import numbers_of
from cathoscope.report.powder import curve_of, edges_of, is_powder, telling_places, transitions
from cathoscope.report.powder_tables import powder_numbers, powder_tables
from cathoscope.report.style import Panel, journal_style

TEMPERATURE = np.array([25.0, 100.0, 140.0, 160.0, 180.0, 200.0])
SHARE = np.array([0.0, 0.0, 0.1, 0.5, 0.9, 1.0])
D = np.linspace(1.0, 2.0, 201)
STD = 1e-4


def peak(at: float) -> np.ndarray:
    return np.exp(-0.5 * ((D - at) / 0.01) ** 2)


def pair(name: str, values: np.ndarray, std: np.ndarray | float, coords: dict[str, xr.DataArray]) -> list[xr.DataArray]:
    """A quantity of phases and its uncertainty."""
    dims = ("temperature", "phase")
    wide = np.broadcast_to(np.asarray(std, np.float64), values.shape)
    return [
        label(name, values, dims, coords=coords),
        label(f"{name}_std", wide, dims, coords=coords, std_source="fit covariance"),
    ]


def coordinates() -> dict[str, xr.DataArray]:
    coords = {"temperature": label("temperature", TEMPERATURE, ("temperature",))}
    for dim, names in {"phase": ["old", "new"], "bank": ["wide"], "number": ["old.a"]}.items():
        coords[dim] = label(dim, np.arange(1, len(names) + 1), (dim,))
        coords[dim].attrs["names"] = names
    coords["phase"].attrs["space_groups"] = ["R -3 m:H", "F d -3 m:2"]
    coords["number"].attrs["units_of"] = ["A"]
    coords["edge"] = label("edge", np.arange(3), ("edge",))
    return coords


def results(*, shift: float = 0.0) -> xr.Dataset:
    """A layered phase turns into a cubic one; the cells are off the truth by ``shift`` standard uncertainties."""
    coords = coordinates()
    share = np.stack([1 - SHARE, SHARE], axis=1)
    a = np.stack([2.8 + 1e-5 * TEMPERATURE, 8.1 + 1e-4 * TEMPERATURE], axis=1) + shift * STD
    a[share == 0] = np.nan
    c = np.stack([14.3 + 2e-4 * TEMPERATURE, 8.1 + 1e-4 * TEMPERATURE], axis=1) + shift * STD
    c[share == 0] = np.nan
    arrays = [*pair("lattice_a", a, STD, coords), *pair("lattice_c", c, STD, coords)]
    arrays += pair("weight_fraction", share, np.where((share > 0) & (share < 1), 0.01, np.nan), coords)
    arrays += pair("domain_size", np.where(share > 0, 0.05, np.nan), np.where(share < 0.2, 3.0, 0.002), coords)
    return dataset([*arrays, *pattern_arrays(share, coords), *whole_arrays(coords)])


def pattern_arrays(share: np.ndarray, coords: dict[str, xr.DataArray]) -> list[xr.DataArray]:
    """Two peaks on a flat background of 1, without noise."""
    parts = share[:, None, :, None] * np.stack([peak(1.4), peak(1.6)])[None, None]
    fit, one = 1 + parts.sum(axis=2), np.ones((TEMPERATURE.size, 1, D.size))
    dims = ("temperature", "bank", "point")
    curves = {"counts": fit, "counts_std": 0.1 * one, "fit": fit, "background": one, "difference": 0 * one}
    arrays = [
        label(f"diffraction_{name}", values, dims, coords=coords, std_source="counting" if "_std" in name else None)
        for name, values in curves.items()
    ]
    arrays.append(label("diffraction_part", parts, ("temperature", "bank", "phase", "point"), coords=coords))
    arrays.append(label("point_spacing", D[None], ("bank", "point"), coords=coords))
    spacing = np.where(share > 0, [1.4, 1.6], np.nan)[:, None, :, None]
    arrays.append(label("reflection_spacing", spacing, ("temperature", "bank", "phase", "reflection"), coords=coords))
    arrays.append(label("rwp", 0.02 * one[..., 0], ("temperature", "bank"), coords=coords))
    arrays.append(label("goodness_of_fit", np.ones(TEMPERATURE.size), ("temperature",), coords=coords))
    flags = label("refinement_flag", np.array([0, 0, 1, 0, 0, 0]), ("temperature",), coords=coords)
    numbers = label("refined_number", 2.8 + 0 * TEMPERATURE[:, None], ("temperature", "number"), coords=coords)
    return [*arrays, flags.assign_attrs(flag_meanings="converged bound"), numbers]


def whole_arrays(coords: dict[str, xr.DataArray]) -> list[xr.DataArray]:
    """What a series says as a whole."""
    places = {"onset": (140.0, 138.0, 142.0), "end": (np.inf, 175.0, np.inf)}
    arrays = []
    for which, found in places.items():
        for part, value in zip(("", "_low", "_high"), found, strict=True):
            arrays.append(label(f"transition_{which}{part}", np.full(2, value), ("phase",), coords=coords))
    slope = np.array([[1e-5 / 2.8, np.nan, 2e-4 / 14.3], [1e-4 / 8.1] * 3])
    arrays.append(label("thermal_expansion", slope, ("phase", "edge"), coords=coords))
    arrays.append(
        label("thermal_expansion_std", 0.01 * slope, ("phase", "edge"), coords=coords, std_source="fit covariance")
    )
    more = {"unexplained": label("unexplained", np.array([1]), ("unexplained",))}
    one = {"spacing": 1.8, "strength": 7.0, "temperature": 160.0}
    arrays += [label(f"unexplained_{k}", np.array([v]), ("unexplained",), coords=more) for k, v in one.items()]
    arrays += [label(f"unexplained_{k}", np.array([1]), ("unexplained",), coords=more) for k in ("count", "bank")]
    models = label("size_model", np.arange(1, 4), ("size_model",))
    models.attrs["names"] = ["none", "isotropic", "uniaxial 110"]
    bic = np.array([[500.0, 20.0, 0.0], [np.nan] * 3])
    tried = coords | {"size_model": models}
    return [*arrays, label("size_model_bic", bic, ("phase", "size_model"), coords=tried)]


@pytest.fixture(scope="module")
def panels() -> dict[str, Panel]:
    return {panel.key: panel for panel in panels_without_layout(results())}


def test_every_figure_is_there_that_the_arrays_allow(panels: dict[str, Panel]) -> None:
    expected = {
        "patterns-map",
        "refinements",
        "cells",
        "fractions",
        "domains",
        "expansion",
        "size-models",
        "fit-quality",
    }
    assert set(panels) == expected


def test_the_map_shows_every_temperature_in_its_row(panels: dict[str, Panel]) -> None:
    axes = panels["patterns-map"].figure.axes
    image = axes[0].collections[0].get_array().reshape(TEMPERATURE.size, -1)
    edges = np.linspace(*axes[0].get_xlim(), image.shape[1] + 1)
    column = np.searchsorted(edges, 1.6)
    np.testing.assert_allclose(image[:, column] ** 2, SHARE, atol=0.02)
    assert "Triangles" in panels["patterns-map"].caption


def test_a_temperature_that_was_set_aside_stays_empty() -> None:
    data = results()
    for name in ("diffraction_background", "diffraction_fit", "goodness_of_fit"):
        data[name][2] = np.nan
    with journal_style():
        panel = map_panel(data)
    assert panel is not None
    image = panel.figure.axes[0].collections[0].get_array().reshape(TEMPERATURE.size, -1)
    assert np.isnan(np.ma.filled(image, np.nan)).all(axis=1).tolist() == [False, False, True, False, False, False]


def test_refinements_are_shown_where_they_tell_most(panels: dict[str, Panel]) -> None:
    assert telling_places(results()) == [0, 3, 5]
    titles = [axes.get_title(loc="left") for axes in panels["refinements"].figure.axes]
    assert [title for title in titles if title] == [
        "25 °C  ·  wide  ·  Rwp 2 %  ·  GOF 1  ·  old",
        "160 °C  ·  wide  ·  Rwp 2 %  ·  GOF 1  ·  old 50 wt%, new 50 wt%",
        "200 °C  ·  wide  ·  Rwp 2 %  ·  GOF 1  ·  new",
    ]


def test_values_that_tell_nothing_are_pale_and_set_no_limits(panels: dict[str, Panel]) -> None:
    curve = curve_of(results(), "domain_size", 0)
    assert curve is not None
    assert curve.determined.tolist() == [True, True, True, True, False, False]
    assert curve.there.tolist() == [True, True, True, True, True, False]
    low, high = panels["domains"].figure.axes[0].get_ylim()
    assert 0 < low < 0.05 < high < 0.06


def test_onset_and_end_are_told_with_their_intervals(panels: dict[str, Panel]) -> None:
    ((names, onset, end),) = transitions(results())
    assert names == ["old", "new"]
    assert (onset.words, end.words) == ("140.0 °C (138.0 to 142.0)", "beyond the series")
    assert "old and new from 140.0 °C (138.0 to 142.0) to beyond the series" in panels["fractions"].caption
    rows = {row.name: row.value for row in powder_numbers(results())}
    assert rows["old and new: onset"] == onset.words
    assert rows["a, new, 140 °C"] == "8.11400 ± 0.00010 Å"
    assert rows["refinements"] == "5 converged, 1 bound"
    assert rows["best model of size, old"] == "uniaxial 110 (isotropic 20 above)"


def test_tables_have_brackets_on_the_page_and_digits_in_the_file() -> None:
    tables = {table.key: table for table in powder_tables(results())}
    assert edges_of(results(), 0) == ["lattice_a", "lattice_c"]
    assert edges_of(results(), 1) == ["lattice_a"]
    assert tables["phase-new"].heads == ("temperature", "a (Å)", "weight fraction", "size of domains (µm)")
    assert tables["phase-new"].cells[3] == ("160 °C", "8.11600(10)", "0.500(10)", "0.050(2)")
    assert tables["phase-new"].cells[2][-1] == "–"  # its uncertainty is larger than it
    first = tables["phase-old"].csv().splitlines()[1].split(",")
    assert [float(one) for one in first[1:3]] == [results()["lattice_a"].values[0, 0], STD]
    assert tables["transition"].cells[1][-2:] == ("12.35(12)", "–")
    assert tables["transition"].heads[-2:] == ("expansion of a (10⁻⁶/K)", "expansion of c (10⁻⁶/K)")
    assert tables["size-models"].cells[2] == ("uniaxial 110", "0.0", "best")
    assert tables["unexplained"].cells[0] == ("1", "1.8000", "7.00", "160.0", "1", "wide")


def test_long_series_show_some_rows_and_all_in_the_file() -> None:
    data = results()
    many = data.isel(temperature=np.repeat(np.arange(6), 10))
    many = many.assign_coords(temperature=label("temperature", np.arange(60.0), ("temperature",)))
    table = next(one for one in powder_tables(many) if one.key == "phase-old")
    assert len(table.cells) <= 25
    assert table.cells[0][0] == "0 °C"
    assert len(table.csv().splitlines()) == 61
    assert any("of 60 temperatures" in note for note in table.notes)


def test_errors_over_sigma_are_those_of_the_truth() -> None:
    truth = results()[["lattice_a", "lattice_c", "weight_fraction"]]
    found = {panel.key: panel for panel in comparison_panels(results(shift=2.0), truth)}
    assert set(found) == {"numbers-truth", "numbers-pull"}
    rows = [line.get_xdata() for line in found["numbers-pull"].figure.axes[0].lines[1:]]
    assert [len(row) for row in rows] == [5, 4, 5, 3]  # a of both phases, c of one, share
    np.testing.assert_allclose(np.concatenate(rows), [2.0] * 14 + [0.0] * 3, rtol=1e-6, atol=1e-9)
    assert comparison_panels(results(), truth.isel(phase=[0])) == []


def test_samples_stand_side_by_side() -> None:
    both = [ParticleResult("rod", "rod-a", results()), ParticleResult("gravel", "gravel-a", results(shift=3.0))]
    assert names_of([*both, both[0]]) == ["rod-a", "gravel", "rod-a"]
    with journal_style():
        panel, first = series_panel(both), first_patterns_panel(both)
        assert series_panel(both[:1]) is None
        assert first_patterns_panel(both[:1]) is None
    assert panel is not None
    assert first is not None
    assert "gravel: old and new from 140.0 °C" in panel.caption
    assert [text.get_text() for text in panel.figure.legends[0].get_texts()] == ["rod", "gravel"]
    assert [axes.get_ylabel() for axes in panel.figure.axes][:3] == ["a, old (Å)", "c, old (Å)", "a, new (Å)"]
    assert first.figure.axes[0].get_title(loc="left") == "wide"


def test_a_grid_keeps_the_area_of_a_peak() -> None:
    edges = diffraction_axis.pixels_between(1.2, 1.6, n=37)
    mean = diffraction_axis.on_grid(D, peak(1.4), edges)
    assert mean @ np.diff(edges) == pytest.approx(0.01 * np.sqrt(2 * np.pi), rel=1e-3)
    low, high = diffraction_axis.peak_range(D, np.stack([peak(1.4), peak(1.6)]))
    assert 1.3 < low < 1.4 < 1.6 < high < 1.7
    assert np.isnan(diffraction_axis.on_grid(D, np.full(D.size, np.nan), edges)).all()


def test_a_single_pattern_without_a_temperature() -> None:
    one = results().isel(temperature=3, drop=True).drop_vars([n for n in results() if str(n).startswith("trans")])
    assert is_powder(one)
    keys = {panel.key for panel in panels_without_layout(one)}
    assert keys == {"refinement-banks", "size-models"}
    tables = {table.key: table for table in powder_tables(one)}
    assert tables["phase-new"].cells == (("pattern", "8.11600(10)", "0.500(10)", "0.050(2)"),)


def test_reflections_are_no_numbers_of_the_report(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study.zarr")
    study.write("result", "rod", results())
    numbers = numbers_of(study, "rod")
    assert not {"reflection_spacing", "diffraction_fit"} & {number.array for number in numbers}
    first = next(number for number in numbers if number.array == "lattice_a")
    assert first.place == {"temperature": 25.0, "phase": "old"}
    edges = {number.place["edge"] for number in numbers if number.array == "thermal_expansion"}
    assert edges == {"a", "b", "c"}
