"""Tables: what is in the arrays, an en dash and a reason for what is not, all digits in the CSV; and first numbers."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from cathoscope.core.study import Study
from cathoscope.report import page as page_module
from cathoscope.report.headlines import bulk_numbers, particle_numbers
from cathoscope.report.names import names_along
from cathoscope.report.numbers import Numbers, format_value, numbers_of, write_csv, write_json
from cathoscope.report.page import write_report
from cathoscope.report.tables import NO_VALUE, Column, Table, tables_of

Results = Callable[[str], xr.Dataset]


def table(data: xr.Dataset, key: str) -> Table:
    return next(each for each in tables_of(data) if each.key == key)


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_particle_table_has_a_row_for_each_and_says_what_is_cut(result_of: Results) -> None:
    data = result_of("xanes-imaging")
    found = table(data, "particles")
    assert [row[0] for row in found.cells] == ["1", "2", "3"]
    assert found.heads[1:3] == ("diameter (µm)", "area (µm²)")
    column = found.heads.index("mean jump of optical depth")
    assert [row[column] for row in found.cells] == ["0.500 ± 0.010", NO_VALUE, "0.25 ± 0.02"]
    assert [bool(row[-1]) for row in found.cells] == [False, False, True]
    assert any(note.startswith(NO_VALUE) and "no pixel with a value" in note for note in found.notes)


def test_csv_of_a_table_holds_every_value_and_sigma_exactly(result_of: Results) -> None:
    data = result_of("xanes-imaging")
    rows = rows_of(table(data, "particles").csv())
    assert [float(row["particle_area (um2)"]) for row in rows] == data["particle_area"].values.tolist()
    assert [row["particle_jump"] for row in rows] == ["0.5", "", "0.25"]
    assert [row["particle_jump_std"] for row in rows] == ["0.01", "", "0.02"]


def test_spectra_without_a_white_line_have_a_dash_and_the_reason(result_of: Results) -> None:
    found = table(result_of("xas"), "spectra")
    column = found.heads.index("white line (eV)")
    cells = [row[column] for row in found.cells]
    assert cells[-1] == NO_VALUE
    assert all(re.fullmatch(r"83\d\d\.\d+ ± 0\.0\d+", cell) for cell in cells[:-1])
    assert [note for note in found.notes if "white line" in note and "no edge" in note]


def test_what_no_spectrum_has_is_no_column_but_a_note(result_of: Results) -> None:
    data = result_of("xas, no foil")
    found = table(data, "spectra")
    assert "energy added (eV)" not in found.heads
    assert [note for note in found.notes if note.startswith("No row has a value of energy added")]
    assert [row["energy_shift (eV)"] for row in rows_of(found.csv())] == [""] * 3
    assert "energy added (eV)" in table(result_of("xas"), "spectra").heads


def test_valences_have_their_interval_and_what_is_stated(result_of: Results) -> None:
    cells = table(result_of("xas"), "valence").cells
    assert [row[1] for row in cells] == ["2.00 ± 0.15", "3.00 ± 0.15", "4.00 ± 0.15", "5.00 ± 0.15"]
    assert [row[2] for row in cells] == [
        "standard, stated 2, 95 % from 1.70 to 2.40",
        "standard, stated 3, 95 % interval open",
        "standard, stated 4, 95 % from 3.70 to 4.40",
        "95 % from 4.70 to 5.40, beyond the standards",
    ]


def test_weights_have_a_column_for_each_component(result_of: Results) -> None:
    data = result_of("xas")
    found = table(data, "weights")
    assert found.heads == ("spectrum", "NiO", "LiNiO2 & <more>", "R-factor")
    rows = rows_of(found.csv())
    assert [float(row["NiO"]) for row in rows] == data["component_fraction"].values[:, 0].tolist()
    assert [float(row["LiNiO2 & <more>_std"]) for row in rows] == [0.03] * 4


@pytest.mark.parametrize(
    ("values", "cells"),
    [
        ((12.3456, -0.5), ("12.35", "−0.50")),
        ((0.0, 0.0), ("0", "0")),
        ((1234567.0, 2.0), ("1.235 × 10⁶", "2")),
        ((np.nan, 2.0), (NO_VALUE, "2.000")),
    ],
)
def test_values_without_sigma_line_up(values: tuple[float, ...], cells: tuple[str, ...]) -> None:
    column = Column("particle_x", "x", "um", values, digits=4)
    assert tuple(column.cell(row) for row in range(len(values))) == cells


def test_names_that_repeat_are_told_apart() -> None:
    names = xr.DataArray(np.arange(1, 4), dims="spectrum", attrs={"names": ["a", "b", "a"]})
    array = xr.DataArray(np.zeros(3), dims="spectrum", coords={"spectrum": names})
    assert names_along(array, "spectrum") == ["a #1", "b", "a #3"]
    assert names_along(array.drop_vars("spectrum"), "spectrum") == ["spectrum 1", "spectrum 2", "spectrum 3"]


def test_first_numbers_of_a_few_spectra_are_each_with_its_sigma(result_of: Results) -> None:
    rows = {row.name: row.value for row in bulk_numbers(result_of("xas"))}
    data = result_of("xas")
    sigma = np.hypot(data["integral_edge_std"].values[1], data["energy_shift_std"].values[1])
    assert rows["integral edge, charge <1>"] == format_value(8341.1, float(sigma), "eV")
    assert rows["valence, charge <3>"] == "5.00 ± 0.15"
    assert rows["white line, charge <3>"] == "no value"
    assert rows["weight, NiO, 4 spectra"] == "0.100 to 0.900 (median σ 0.03)"
    one = {row.name: row.value for row in bulk_numbers(result_of("xas, no fit"))}
    assert one["weight, NiO"] == "0.90 ± 0.03"
    assert one["R-factor"] == "0.0001"


def test_first_numbers_of_many_spectra_are_their_range(result_of: Results) -> None:
    rows = {row.name: row.value for row in bulk_numbers(result_of("xas, many"))}
    assert re.fullmatch(r"8340\.70 to 8349\.90 eV \(median σ 0\.03\d\)", rows["integral edge, 24 spectra"])
    assert "white line, 23 of 24 spectra" in rows


def test_groups_have_their_count_mean_and_rise(result_of: Results) -> None:
    data = result_of("xas, groups")
    found = table(data, "groups")
    assert found.heads == (
        "group",
        "spectra",
        "mean half-height edge (eV)",
        "rise against the reference (eV)",
        "remark",
    )
    assert found.cells[0] == ("NMC0 N/A", "2", "8340.20 ± 0.21", "0", "reference")
    assert found.cells[1] == ("NMC0 4.3", "2", "8341.00 ± 0.21", "0.80 ± 0.30", "")
    assert [note for note in found.notes if "group with voltage N/A" in note]
    assert [note for note in found.notes if "over the square root of their number" in note]
    rows = rows_of(found.csv())
    for name in ("group_edge", "group_edge_rise"):
        assert [float(row[f"{name} (eV)"]) for row in rows] == data[name].values.tolist()
        assert [float(row[f"{name}_std (eV)"]) for row in rows] == data[f"{name}_std"].values.tolist()
    assert [row["count"] for row in rows] == ["2"] * 4
    assert [note for note in table(data, "spectra").notes if "scatter by 0.3 eV" in note]


def test_groups_without_a_reference_have_no_rise(result_of: Results) -> None:
    found = table(result_of("xas, groups without reference"), "groups")
    assert found.heads == ("group", "spectra", "mean half-height edge (eV)")
    assert not [note for note in found.notes if "reference" in note]


def test_first_numbers_of_groups_are_their_rises(result_of: Results) -> None:
    rows = {row.name: row.value for row in bulk_numbers(result_of("xas, groups"))}
    assert rows["rise at NMC0 4.3 against N/A"] == "0.80 ± 0.30 eV"
    assert not [name for name in rows if name.startswith("rise at NMC0 N/A")]
    alone = {row.name: row.value for row in bulk_numbers(result_of("xas, groups without reference"))}
    assert alone["mean edge of NMC1 4.3"] == "8342.60 ± 0.21 eV"


def test_spectra_table_says_what_sigma_leaves_out(result_of: Results) -> None:
    words = "that of the energy added comes on top"
    assert [note for note in table(result_of("xas"), "spectra").notes if words in note]
    assert not [note for note in table(result_of("xas, no foil"), "spectra").notes if words in note]


def test_particle_table_says_where_sigma_is_from(result_of: Results) -> None:
    data = result_of("xanes-imaging")
    assert [note for note in table(data, "particles").notes if "scatter of equal areas" in note]
    data["particle_jump_std"].attrs["std_source"] = "counting"
    assert [note for note in table(data, "particles").notes if "from the counts alone" in note]


def test_first_numbers_of_particles(result_of: Results) -> None:
    rows = {row.name: row.value for row in particle_numbers(result_of("xanes-imaging"))}
    assert rows["particles"] == "3 particles, 1 cut by the border"
    assert rows["mean jump of the largest"] == "0.500 ± 0.010"
    assert rows["diameter"].endswith(" µm")


@pytest.fixture
def mixed(tmp_path: Path, result_of: Results) -> Study:
    """A bulk measurement, an imaging one, and one that was refused."""
    study = Study.create(tmp_path / "mixed.zarr")
    bulk = result_of("xas").drop_vars(["combination_fit", "component_curve"])
    study.write("result", "charge", bulk, address="a1")
    study.write("result", "grains", result_of("xanes-imaging"), address="b2")
    study.write_raw("charge", {"technique": "xas", "remarks": ["<b>bold</b>"], "set_aside": [["x.dat", "no energies"]]})
    refused = "chip: no file can be used\n  found:    chip.txrm: 7 projections\n  cure:     measure more"
    recipe = '[measurement.chip]\nsample = "nickel"\ntechnique = "tomography"\nnote = "a chip"\n'
    study.append_log({"recipe": recipe, "measurements": [{"name": "chip", "failure": refused}]})
    return study


def csv_of(numbers: Numbers) -> str:
    file = io.StringIO()
    write_csv(numbers, file)
    return file.getvalue()


def test_numbers_are_keyed_by_the_names_of_the_spectra(mixed: Study, result_of: Results) -> None:
    rows = rows_of(csv_of(numbers_of(mixed, "charge")))
    edges = {row["spectrum"]: float(row["value"]) for row in rows if row["array"] == "integral_edge"}
    expected = result_of("xas")["integral_edge"].values.tolist()
    assert edges == dict(zip([f"charge <{i}>" for i in range(4)], expected, strict=True))
    assert {row["component"] for row in rows if row["array"] == "component_fraction"} == {"NiO", "LiNiO2 & <more>"}
    assert not {row["array"] for row in rows} & {"scan_energy", "absorption", "normalised_absorption"}


def test_numbers_of_groups_are_keyed_by_their_names_and_missing_values_are_empty(
    tmp_path: Path, result_of: Results
) -> None:
    study = Study.create(tmp_path / "s.zarr")
    study.write("result", "volts", result_of("xas, groups without reference"), address="a")
    numbers = numbers_of(study, "volts")
    rows = [row for row in rows_of(csv_of(numbers)) if row["array"] == "group_edge_rise"]
    assert [row["group"] for row in rows] == ["NMC0 N/A", "NMC0 4.3", "NMC1 N/A", "NMC1 4.3"]
    assert {(row["value"], row["sigma"]) for row in rows} == {("", "")}
    assert "nan" not in csv_of(numbers)
    text = io.StringIO()
    write_json(numbers, text)
    records = [each for each in json.loads(text.getvalue()) if each["array"] == "group_edge_rise"]
    assert [(each["value"], each["sigma"]) for each in records] == [(None, None)] * 4


def test_page_has_tables_reasons_and_what_was_refused(
    mixed: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_module, "FILE_FORMATS", ("svg",))
    files = write_report(mixed, tmp_path / "r.html")
    page = files.page.read_text(encoding="utf-8")
    for text in (
        "charge &lt;3&gt;", "LiNiO2 &amp; &lt;more&gt;", "cut by the border", "no pixel with a value",
        "95 % interval open", "x.dat", "no energies", "&lt;b&gt;bold&lt;/b&gt;", "a chip",
        "no file can be used; found: chip.txrm: 7 projections",
    ):  # fmt: skip
        assert text in page, text
    assert "<b>" not in page
    assert "chip: no file" not in page  # the name stands beside it
    assert "measure more" in page.split("</table>", 1)[1]  # the cure stands with the measurement, not in the summary
    assert "particle at border" not in page  # the table of the particles says it
    names = {file.name for file in files.numbers}
    assert {"charge-spectra.csv", "charge-valence.csv", "charge-weights.csv", "grains-particles.csv"} <= names
    assert {file.name for file in files.folder.iterdir()} == names | {file.name for file in files.figures}


def test_a_small_chance_is_below_one_in_a_thousand_on_the_page_and_whole_in_the_file() -> None:
    chance = Column("place_probability", "p", "1", (3e-9, 0.0, 0.0213, 1.0), digits=2, is_chance=True)
    share = Column("comparison_discovery", "q", "1", (1e-9, 0.0, 0.5, 1.0), csv_only=True)
    table = Table("place", "Place", "map", ("a", "b", "c", "d"), (chance, share))
    assert [row[1:] for row in table.cells] == [("< 0.001",), ("< 0.001",), ("0.021",), ("1",)]
    assert table.heads == ("map", "p")
    assert table.csv().splitlines()[:2] == ["map,place_probability,comparison_discovery", "a,3e-09,1e-09"]
    assert "comparison_discovery" in table.arrays
