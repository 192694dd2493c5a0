"""Stacks of slices whose thickness nobody states: refused before anything is computed, with what to type."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cathoscope.flow.recipe import RecipeError, load_recipe
from cathoscope.flow.steps.opening import open_measurement
from cathoscope.flow.steps.pixels import slice_thickness_of
from cathoscope.virtual.fibsem_files import Header, write_image

RECIPE = '[sample.L]\n\n[measurement.a]\nsample = "L"\ntechnique = "fibsem-stack"\nfiles = "*.tif"\n'


def recipe_of(folder: Path, extra: str = "", **stated: float) -> Path:
    """Five slices of a stack, with what their files state, and the recipe."""
    image = np.random.default_rng(0).integers(0, 255, (12, 14), dtype=np.uint8)
    for number in range(5):
        numbers = {name: value * (number if name == "slice_z" else 1) for name, value in stated.items()}
        write_image(folder / f"slice_{number}.tif", image, Header(0.0135, "stack", slice_number=number, **numbers))
    (folder / "study.toml").write_text(RECIPE + extra)
    return folder / "study.toml"


def test_no_thickness_anywhere(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path)
    with pytest.raises(RecipeError) as caught:
        open_measurement(load_recipe(recipe), "a")
    error = caught.value
    assert "thickness of the slices of a" in error.problem
    assert "line 3" in str(error.where)
    assert "5 slices" in str(error.found)
    assert 'slices.thickness = "19 nm"' in str(error.cure)


def test_what_the_error_says_to_type_is_taken(tmp_path: Path) -> None:
    raw = open_measurement(load_recipe(recipe_of(tmp_path, 'slices.thickness = "19 nm"\n')), "a")
    assert slice_thickness_of(raw) == pytest.approx(0.019)


@pytest.mark.parametrize("stated", [{"thickness": 0.02}, {"slice_z": 0.02}])
def test_files_that_state_it_need_no_recipe(tmp_path: Path, stated: dict[str, float]) -> None:
    assert slice_thickness_of(open_measurement(load_recipe(recipe_of(tmp_path, **stated)), "a")) == pytest.approx(0.02)


def test_the_recipe_has_the_last_word(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, 'slices.thickness = "25 nm"\n', thickness=0.02)
    assert slice_thickness_of(open_measurement(load_recipe(recipe), "a")) == pytest.approx(0.025)


def test_a_thickness_without_a_unit(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="needs a number and a unit"):
        load_recipe(recipe_of(tmp_path, "slices.thickness = 19\n"))
