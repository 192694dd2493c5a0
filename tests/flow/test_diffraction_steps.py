"""Powder diffraction from files through the refinement to the study, its export and its report."""

from __future__ import annotations

import csv
from pathlib import Path

import gemmi
import numpy as np
import pytest
import xarray as xr

from cathoscope.core.errors import CathoscopeError, StudyError
from cathoscope.core.parallel import Resources, Silent
from cathoscope.core.study import Study
from cathoscope.flow.recipe import load_recipe
from cathoscope.flow.run import run
from cathoscope.io.crystal_cif import read_cif
from cathoscope.io.export_study import Choice, export_study
from cathoscope.report.figures import panels_without_layout
from cathoscope.report.powder_tables import powder_numbers, powder_tables
from tests.flow.powders import CHEAP, FEW, TRUTH, write_series


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Three temperatures, refined."""
    folder = tmp_path_factory.mktemp("powder")
    write_series(folder, shares=FEW)
    (folder / "study.toml").write_text(CHEAP)
    run(load_recipe(folder / "study.toml"), folder / "study.zarr", resources=Resources(threads=1), progress=Silent())
    return Study.open(folder / "study.zarr")


@pytest.fixture(scope="module")
def data(study: Study) -> xr.Dataset:
    return study.read("result", "rod").load()


def exported(study: Study, folder: Path, form: str, **choice: tuple[str, ...]) -> list[Path]:
    options = {"overwrite": False, "resources": Resources(), "progress": Silent()}
    return export_study(study, folder, Choice(form, **choice), **options)


def test_cells_and_sizes_are_those_that_were_put_in(data: xr.Dataset) -> None:
    grown = 1 + 1.5e-5 * (np.array(list(FEW)) - 25)
    for name, phase, true in (
        ("lattice_a", 0, TRUTH["NMC.a"] * grown),
        ("lattice_c", 0, TRUTH["NMC.c"] * grown),
        ("lattice_a", 1, TRUTH["spinel.a"] * grown),
        ("domain_size", 0, np.full(3, TRUTH["NMC.size"])),
        ("domain_size", 1, np.full(3, TRUTH["spinel.size"])),
    ):
        value, std = (data[f"{name}{end}"].values[:, phase] for end in ("", "_std"))
        there = np.isfinite(value)
        assert there.sum() >= 2
        assert np.abs((value - true)[there] / std[there]).max() < 4


def test_phases_come_where_they_are_there(data: xr.Dataset) -> None:
    share, std = data["weight_fraction"].values, data["weight_fraction_std"].values
    np.testing.assert_allclose(share.sum(axis=1), 1, atol=1e-12)
    assert share[0, 1] == 0
    assert np.isnan(data["lattice_a"].values[0, 1])
    assert np.all(np.diff(share[:, 1]) > 0.2)
    np.testing.assert_allclose(std[1, 0], std[1, 1], rtol=1e-9)
    assert data["refinement_flag"].values.max() == 0


def test_curves_add_up(data: xr.Dataset) -> None:
    parts = data["diffraction_part"].fillna(0).sum("phase").values
    np.testing.assert_allclose(data["diffraction_background"].values + parts, data["diffraction_fit"].values, rtol=2e-6)
    left = data["diffraction_counts"].values - data["diffraction_fit"].values
    np.testing.assert_allclose(data["diffraction_difference"].values, left, atol=1e-3)
    chi = left / data["diffraction_counts_std"].values
    assert np.all(np.abs((chi**2).mean(axis=(1, 2)) - 1) < 0.4)


def test_exported_structures_read_back(study: Study, data: xr.Dataset, tmp_path: Path) -> None:
    files = exported(study, tmp_path / "out", "cif")
    assert len(files) == int(np.isfinite(data["lattice_a"].values).sum())
    first = next(file for file in files if file.name == "NMC_01_25C.cif")
    phase, _ = read_cif(first)
    std = float(data["lattice_a_std"].values[0, 0])
    assert phase.cell[0] == pytest.approx(float(data["lattice_a"].values[0, 0]), abs=0.5 * std)
    assert [site.label for site in phase.sites] == data["site"].attrs["labels"][0]
    text = gemmi.cif.read(str(first)).sole_block().find_value("_cell_length_a")
    assert text.endswith(")")
    assert gemmi.cif.as_number(text) == phase.cell[0]


def test_exported_tables_hold_the_numbers_and_every_point(study: Study, data: xr.Dataset, tmp_path: Path) -> None:
    files = {file.name: file for file in exported(study, tmp_path / "out", "csv")}
    assert set(files) == {"numbers.csv", *(f"pattern_0{n}_{t:g}C_powgen.csv" for n, t in enumerate(FEW, start=1))}
    with files["numbers.csv"].open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["temperature (degC)"]) for row in rows] == list(FEW)
    np.testing.assert_allclose([float(row["NMC.weight_fraction"]) for row in rows], data["weight_fraction"][:, 0])
    assert rows[0]["spinel.lattice_a (A)"] == ""
    assert [row["ended"] for row in rows] == ["converged"] * 3
    with files["pattern_02_140C_powgen.csv"].open() as file:
        points = list(csv.DictReader(file))
    np.testing.assert_allclose(
        [float(point["calculated"]) for point in points], data["diffraction_fit"][1, 0], rtol=1e-7
    )
    assert {"time of flight (us)", "d (A)", "observed_std", "background", "spinel"} <= set(points[0])


def test_an_export_refuses_what_it_cannot_do(study: Study, tmp_path: Path) -> None:
    exported(study, tmp_path / "out", "cif")
    with pytest.raises(CathoscopeError, match="an earlier export"):
        exported(study, tmp_path / "out", "cif")
    with pytest.raises(CathoscopeError, match="writes all of a refinement"):
        exported(study, tmp_path / "out", "csv", arrays=("rwp",))
    with pytest.raises(CathoscopeError, match="no measurement gravel"):
        exported(study, tmp_path / "out", "csv", measurements=("gravel",))
    empty = Study.create(tmp_path / "empty.zarr")
    empty.write("result", "ball", xr.Dataset({"rotation_axis": ((), 3.0)}))
    with pytest.raises(StudyError, match="no refinement of powder patterns"):
        exported(empty, tmp_path / "out", "cif")


def test_the_report_shows_patterns_numbers_and_tables(data: xr.Dataset) -> None:
    panels = {panel.key: panel for panel in panels_without_layout(data)}
    assert {"refinements", "cells", "fractions", "domains", "fit-quality"} <= set(panels)
    titles = [axes.get_title(loc="left") for axes in panels["refinements"].figure.axes]
    assert [title.split("  ·  ")[0] for title in titles if title] == ["25 °C", "140 °C", "180 °C"]
    tables = {table.key: table for table in powder_tables(data)}
    assert {"refinements", "phase-NMC", "phase-spinel", "sites"} <= set(tables)
    cells = dict(zip(tables["phase-NMC"].heads, tables["phase-NMC"].cells[0], strict=True))
    value, std = cells["a (Å)"].rstrip(")").split("(")
    assert float(value) == pytest.approx(float(data["lattice_a"].values[0, 0]), abs=float(data["lattice_a_std"][0, 0]))
    assert 0 < int(std) < 20
    assert {row.name for row in powder_numbers(data)} >= {"a, NMC, 25 °C", "a, spinel, 140 °C", "Rwp (%)", "GOF"}


def test_a_panel_needs_its_arrays(data: xr.Dataset) -> None:
    other = data.drop_vars("diffraction_fit")
    assert powder_tables(other) == powder_numbers(other) == []
    one = data.isel(temperature=[0])
    keys = {panel.key for panel in panels_without_layout(one)}
    assert "refinement-banks" in keys
    assert not keys & {"cells", "fractions", "patterns-map", "refinements"}
