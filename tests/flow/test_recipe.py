"""A recipe becomes values in the schema's units; mistakes have tests of their own in tests/mistakes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from cathoscope.core.errors import RecipeError
from cathoscope.core.sample import Sample
from cathoscope.flow.recipe import DATA_VARIABLE, MeasurementSection, RecipeMistakes, load_recipe

RecipeWriter = Callable[..., Path]

TEXT = """\
[study]
title = "Heated"
data = "measured"

[sample.rod]
composition = "LiNiO2"
phases = ["layered", "spinel"]

[measurement.rod]
sample = "rod"
technique = "xanes-tomography"
pixel_size = "20 nm"
rows = [0, 8]
fix = { rotation_axis = 20, projection_shift = [0.0, 0.5] }
edge = { edge_energy = "8.333 keV", pre_edge = ["8.25 keV", "8320 eV"] }

[[measurement.rod.series]]
temperature = "25 C"
files = "a.h5"
[[measurement.rod.series]]
temperature = "423.15 K"
files = ["b.h5", "c/*.h5"]
"""


def test_values_are_in_the_units_of_the_schema(write_recipe: RecipeWriter) -> None:
    section = load_recipe(write_recipe(TEXT)).model.measurement["rod"]
    assert section.pixel_size == pytest.approx(0.02)
    assert section.edge.edge_energy == pytest.approx(8333.0)
    assert section.edge.pre_edge == pytest.approx((8250.0, 8320.0))
    assert [entry.temperature for entry in section.series] == pytest.approx([25.0, 150.0])
    assert [entry.files for entry in section.series] == [["a.h5"], ["b.h5", "c/*.h5"]]
    assert section.rows == (0, 8)
    assert section.fix == {"rotation_axis": 20.0, "projection_shift": [0.0, 0.5]}


def test_samples_are_records(write_recipe: RecipeWriter) -> None:
    assert load_recipe(write_recipe(TEXT)).samples() == {"rod": Sample("rod", "LiNiO2", ("layered", "spinel"))}


def test_values_do_not_change(write_recipe: RecipeWriter) -> None:
    section = load_recipe(write_recipe(TEXT)).model.measurement["rod"]
    with pytest.raises(ValidationError, match="frozen"):
        section.note = "later"


def test_what_is_not_said_has_the_defaults_that_the_starter_recipe_states() -> None:
    section = MeasurementSection(sample="rod", technique="tomography", files=["a.h5"])
    assert section.tomography.zinger_sigma == 8.0
    assert section.tomography.normalise_beam
    assert section.tomography.jitter == "auto"
    assert section.edge.edge_energy is None
    assert section.series == ()


def test_data_lie_where_the_recipe_says_unless_told_otherwise(
    write_recipe: RecipeWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = write_recipe(TEXT)
    assert load_recipe(recipe).data_folder == tmp_path / "measured"
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "environment"))
    assert load_recipe(recipe).data_folder == tmp_path / "environment"
    assert load_recipe(recipe, data=tmp_path / "option").data_folder == tmp_path / "option"


def test_a_data_folder_relative_to_the_recipe_does_not_depend_on_where_one_stands(
    write_recipe: RecipeWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_recipe(TEXT)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert load_recipe(Path("../study.toml")).data_folder == tmp_path / "measured"


def test_a_later_mistake_names_the_line_too(write_recipe: RecipeWriter) -> None:
    recipe = load_recipe(write_recipe(TEXT))
    path = ("measurement", "rod", "series", 1, "files")
    error = recipe.mistake(path, "no such file", cure="look elsewhere")
    assert str(error) == "study.toml, line 22: no such file\n  cure:     look elsewhere"


def test_a_place_that_no_line_holds_names_the_file(write_recipe: RecipeWriter) -> None:
    assert load_recipe(write_recipe(TEXT)).mistake(("start",), "no").where == "study.toml"


def test_mistakes_are_told_one_below_the_other() -> None:
    both = RecipeMistakes([RecipeError("one", where="a"), RecipeError("two", cure="b")])
    assert str(both) == "a: one\ntwo\n  cure:     b"
    assert both.exit_code == 2
