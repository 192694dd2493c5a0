"""The recipe that a newcomer starts from."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from cathoscope.core.errors import RecipeError
from cathoscope.flow.check import check_recipe
from cathoscope.flow.recipe import load_recipe
from cathoscope.flow.starter import STARTER_RECIPE

RecipeWriter = Callable[..., Path]
LAB = ("balance", "heat", "solution", "contents")
CELLS = ("cells", "particle", "spectra")


def uncommented() -> str:
    """The starter recipe with every commented key and table switched on, explanations left out."""
    switched_on = re.sub(r"^# (?=\[|[a-z_]+ = )", "", STARTER_RECIPE, flags=re.MULTILINE)
    # Tables of the optional part stand behind the series in the text; TOML does not mind.
    return switched_on


def test_it_is_valid_as_it_stands(write_recipe: RecipeWriter) -> None:
    recipe = load_recipe(write_recipe(STARTER_RECIPE))
    assert list(recipe.model.measurement) == ["gravel"]


def test_every_line_that_is_commented_out_is_valid_too(write_recipe: RecipeWriter) -> None:
    recipe = load_recipe(write_recipe(uncommented()))
    others = ("pillar", "map", "powder", "frames", "neutrons", *LAB, *CELLS, "again")
    assert list(recipe.model.measurement) == ["gravel", *others]
    assert {section.technique for section in recipe.model.measurement.values()} == {
        "xanes-tomography",
        "tomography",
        "spectromicroscopy",
        "xas",
        "xanes-imaging",
        "diffraction",
        "mass-loss",
        "calorimetry",
        "uv-vis",
        "elements",
        "cycling",
        "particle-cell",
        "impedance",
    }


def test_the_choices_it_shows_are_the_defaults(write_recipe: RecipeWriter) -> None:
    plain = load_recipe(write_recipe(STARTER_RECIPE)).model.measurement["gravel"]
    shown = load_recipe(write_recipe(uncommented())).model.measurement["gravel"]
    assert shown.tomography == plain.tomography
    powder = load_recipe(write_recipe(uncommented())).model.measurement["powder"].xas
    assert (powder.calibration, powder.edge) == (plain.xas.calibration, plain.xas.edge)


def test_checking_it_says_which_files_to_bring(write_recipe: RecipeWriter) -> None:
    with pytest.raises(RecipeError, match="no such file") as caught:
        check_recipe(load_recipe(write_recipe(STARTER_RECIPE)))
    assert "gravel_025C" in str(caught.value)
