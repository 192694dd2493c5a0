"""One test per mistake of a recipe: it is named with its line, and with what to type instead."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cathoscope.core.errors import MeasurementError, RecipeError
from cathoscope.flow.check import check_recipe
from cathoscope.flow.recipe import RecipeMistakes, load_recipe
from cathoscope.flow.run import plan_measurement

RecipeWriter = Callable[..., Path]

GOOD = """\
[sample.rod]
composition = "LiNiO2"

[measurement.rod]
sample = "rod"
technique = "xanes-tomography"
pixel_size = "20 nm"

[[measurement.rod.series]]
temperature = "25 C"
files = "scans/*.h5"
"""


def line_of(text: str, piece: str) -> int:
    return text[: text.index(piece)].count("\n") + 1


def mistakes(write_recipe: RecipeWriter, text: str) -> list[RecipeError]:
    """The mistakes found on reading ``text``."""
    with pytest.raises(RecipeError) as caught:
        load_recipe(write_recipe(text))
    error = caught.value
    assert error.exit_code == 2
    return error.mistakes if isinstance(error, RecipeMistakes) else [error]


def the_mistake(write_recipe: RecipeWriter, text: str, at: str) -> RecipeError:
    """The only mistake, checked to name the line on which ``at`` stands."""
    (error,) = mistakes(write_recipe, text)
    assert error.where == f"study.toml, line {line_of(text, at)}"
    return error


def test_the_good_recipe_has_no_mistake(write_recipe: RecipeWriter) -> None:
    recipe = load_recipe(write_recipe(GOOD))
    assert recipe.model.measurement["rod"].pixel_size == pytest.approx(0.02)


@pytest.mark.parametrize("name", ["../../home", "a/b", "a\\\\b", "..", ".hidden", "a\\u0000", "x" * 101, ""])
def test_a_name_that_would_leave_the_study(name: str, write_recipe: RecipeWriter) -> None:
    text = GOOD.replace("measurement.rod", f'measurement."{name}"')
    (error,) = mistakes(write_recipe, text)
    assert "folder" in error.problem
    if "\\" not in name:  # lines of keys with escapes are not known
        assert error.where == f"study.toml, line {line_of(text, '[measurement.')}"


def test_names_of_the_field_are_names(write_recipe: RecipeWriter) -> None:
    for name in ("rod 1 (25 °C)", "NMC-811_a+b, 2.5 V", "ром", "x" * 100):
        load_recipe(write_recipe(GOOD.replace("measurement.rod", f'measurement."{name}"')))


# -- keys ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("right", "wrong", "meant"),
    [
        ("pixel_size =", "pixelsize =", "pixel_size"),
        ("technique =", "technik =", "technique"),
        ("composition =", "compostion =", "composition"),
        ("temperature =", "temprature =", "temperature"),
        ("[measurement.rod]", "[measurment.rod]", "measurement"),
    ],
)
def test_a_misspelt_key(write_recipe: RecipeWriter, right: str, wrong: str, meant: str) -> None:
    text = GOOD.replace(right, wrong)
    found = [error for error in mistakes(write_recipe, text) if "unknown key" in error.problem]
    assert [error.cure for error in found] == [f"did you mean {meant}?"]
    assert found[0].where == f"study.toml, line {line_of(text, wrong)}"
    assert meant in str(found[0].expected).split(" or ")


def test_a_misspelt_key_in_a_table_that_is_called_like_a_section(write_recipe: RecipeWriter) -> None:
    text = GOOD.replace("measurement.rod", "measurement.tomography").replace("pixel_size", "pixelsize")
    error = the_mistake(write_recipe, text, "pixelsize")
    assert error.cure == "did you mean pixel_size?"


def test_a_misspelt_choice(write_recipe: RecipeWriter) -> None:
    text = GOOD + "\n[measurement.rod.white_line]\nwindwo = ['8320 eV', '8390 eV']\n"
    error = the_mistake(write_recipe, text, "windwo")
    assert error.cure == "did you mean window?"


def test_a_key_like_no_other_gets_no_suggestion(write_recipe: RecipeWriter) -> None:
    error = the_mistake(write_recipe, GOOD.replace("pixel_size", "q"), "q =")
    assert error.cure is None
    assert "pixel_size" in str(error.expected)


@pytest.mark.parametrize("key", ["sample", "technique"])
def test_a_missing_key(write_recipe: RecipeWriter, key: str) -> None:
    text = "\n".join(line for line in GOOD.splitlines() if not line.startswith(f"{key} ="))
    error = the_mistake(write_recipe, text, "[measurement.rod]")
    assert f"measurement.rod.{key} is missing" in error.problem
    assert key in str(error.cure)


def test_all_mistakes_are_named_at_once(write_recipe: RecipeWriter) -> None:
    text = GOOD.replace("pixel_size", "pixelsize").replace("25 C", "25 F").replace("composition", "compo")
    assert len(mistakes(write_recipe, text)) == 3


# -- values --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("right", "wrong", "words"),
    [
        ('"20 nm"', '"20 furlong"', "unknown unit of length"),
        ('"25 C"', '"25 F"', "unknown unit of temperature"),
        ('"20 nm"', "20", "needs a number and a unit"),
        ('"20 nm"', '"20"', "needs a number and a unit"),
        ('"25 C"', "25.0", "needs a number and a unit"),
        ('"20 nm"', '"-20 nm"', "greater than 0"),
        ('"25 C"', '"-300 C"', "greater than -273.15"),
        ('"xanes-tomography"', '"xanes-tomografy"', "'xanes-tomography'"),
        ('"scans/*.h5"', "[]", "at least 1 item"),
    ],
)
def test_a_wrong_value(write_recipe: RecipeWriter, right: str, wrong: str, words: str) -> None:
    text = GOOD.replace(right, wrong)
    error = the_mistake(write_recipe, text, wrong)
    assert words in error.problem
    assert wrong.strip('"') in str(error.found)


def test_a_unit_that_is_wrong_says_which_are_right(write_recipe: RecipeWriter) -> None:
    assert "nm" in the_mistake(write_recipe, GOOD.replace("20 nm", "20 furlong"), "furlong").problem


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ("edge = { pre_edge = ['8320 eV', '8250 eV'] }", "8320 is not below 8250"),
        ("white_line = { window = ['8390 eV', '8390 eV'] }", "8390 is not below 8390"),
        ("edge = { pre_edge = ['8380 eV', '8420 eV'], post_edge = ['8250 eV', '8320 eV'] }", "must end below"),
        ("rows = [900, 100]", "900 is not below 100"),
        ("rows = [-1, 100]", "greater than or equal to 0"),
        ("tomography = { zinger_sigma = -1.0 }", "greater than or equal to 0"),
        ("tomography = { stripes = 'some' }", "'sorting'"),
        ("angle_range = [0]", "missing"),
    ],
)
def test_a_wrong_choice(write_recipe: RecipeWriter, choices: str, words: str) -> None:
    text = GOOD.replace('pixel_size = "20 nm"', choices)
    assert words in the_mistake(write_recipe, text, choices).problem


def test_the_same_temperature_twice(write_recipe: RecipeWriter) -> None:
    text = GOOD + "\n[[measurement.rod.series]]\ntemperature = '298.15 K'\nfiles = 'warm/*.h5'\n"
    assert "a temperature is given twice" in the_mistake(write_recipe, text, "[measurement.rod]").problem


def test_a_series_without_temperatures(write_recipe: RecipeWriter) -> None:
    text = GOOD + "\n[[measurement.rod.series]]\nfiles = 'warm/*.h5'\n"
    assert "needs its temperature" in the_mistake(write_recipe, text, "[measurement.rod]").problem


@pytest.mark.parametrize("line", ["files = 'a.h5'", "start = { attenuation = 'old.zarr/result/rod' }"])
def test_two_sources_of_one_measurement(write_recipe: RecipeWriter, line: str) -> None:
    text = GOOD.replace('pixel_size = "20 nm"', line)
    assert "exactly one of files, series or start" in the_mistake(write_recipe, text, "[measurement.rod]").problem


def test_no_source_at_all(write_recipe: RecipeWriter) -> None:
    text = GOOD[: GOOD.index("[[")]
    assert "exactly one of files, series or start" in the_mistake(write_recipe, text, "[measurement.rod]").problem


# -- tables --------------------------------------------------------------------------------------


def test_a_sample_that_is_not_there(write_recipe: RecipeWriter) -> None:
    text = GOOD.replace('sample = "rod"', 'sample = "rods"')
    error = the_mistake(write_recipe, text, 'sample = "rods"')
    assert (error.expected, error.cure) == ("rod", "did you mean rod?")


def test_a_recipe_without_samples(write_recipe: RecipeWriter) -> None:
    error = the_mistake(write_recipe, GOOD[GOOD.index("[measurement") :], 'sample = "rod"')
    assert error.expected == "a [sample.NAME] table"
    assert error.cure == "add a table [sample.rod]"


def test_a_sample_declared_twice(write_recipe: RecipeWriter) -> None:
    text = GOOD + "\n[sample.rod]\n"
    (error,) = mistakes(write_recipe, text)
    assert error.problem == "[sample.rod] is declared twice"
    assert error.where == f"study.toml, line {text.count(chr(10))}"
    assert error.found == "the first one on line 1"


@pytest.mark.parametrize("text", ["[sample.rod]\n", "[sample.rod]\n[measurement]\n"])
def test_a_recipe_without_measurements(write_recipe: RecipeWriter, text: str) -> None:
    (error,) = mistakes(write_recipe, text)
    assert "measurement" in error.problem


# -- not a recipe --------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "  \n\n"])
def test_an_empty_recipe(write_recipe: RecipeWriter, text: str) -> None:
    (error,) = mistakes(write_recipe, text)
    assert error.problem == "the recipe is empty"
    assert "cathoscope new" in str(error.cure)


@pytest.mark.parametrize(("text", "line"), [("sample: rod\n", 1), ("a = 1\nb = \n", 2), ("a = 1\na = 2\n", 2)])
def test_a_recipe_that_is_not_toml(write_recipe: RecipeWriter, text: str, line: int) -> None:
    (error,) = mistakes(write_recipe, text)
    assert error.problem.startswith("this is not TOML")
    assert error.where == f"study.toml, line {line}"
    assert error.cure


def test_a_recipe_that_ends_in_the_middle(write_recipe: RecipeWriter) -> None:
    (error,) = mistakes(write_recipe, "a = [1,")
    assert error.problem.startswith("this is not TOML")


def test_a_recipe_that_is_a_directory(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="this is a directory"):
        load_recipe(tmp_path)


def test_a_recipe_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no such recipe") as caught:
        load_recipe(tmp_path / "mine.toml")
    assert caught.value.cure == "make one with: cathoscope new mine.toml"


@pytest.mark.parametrize("content", ["Größe".encode("latin-1"), b"\xff\xfe[\x00s\x00", b"\x89HDF\r\n\x1a\n"])
def test_a_recipe_that_is_not_utf8(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "study.toml").write_bytes(content)
    with pytest.raises(RecipeError, match="cannot be read") as caught:
        load_recipe(tmp_path / "study.toml")
    assert caught.value.expected == "UTF-8 text"


NOT_NEGATIVE = '[measurement.rod.tomography]\nmethod = "tv"\nnon_negative = true\n'


def test_coefficients_have_either_sign(write_recipe: RecipeWriter) -> None:
    error = the_mistake(write_recipe, GOOD + NOT_NEGATIVE, "[measurement.rod]")
    assert "either sign" in error.problem
    assert 'reconstruct = "energies"' in error.problem
    # volumes of every energy may be kept from being negative, a single volume too
    for text in (GOOD + NOT_NEGATIVE + 'reconstruct = "energies"\n', single('"scan.h5"', NOT_NEGATIVE)):
        assert load_recipe(write_recipe(text)).model.measurement["rod"].tomography.non_negative


# -- files ---------------------------------------------------------------------------------------


def single(files: str, choices: str = "") -> str:
    """A recipe of a single scan."""
    return f"""\
[sample.rod]
[measurement.rod]
sample = "rod"
technique = "tomography"
files = {files}
{choices}
"""


def planning(write_recipe: RecipeWriter, text: str, data: Path) -> RecipeError:
    """The mistake that shows when the files are looked for, on the line of ``at``."""
    recipe = load_recipe(write_recipe(text), data=data)
    with pytest.raises(RecipeError) as caught:
        plan_measurement(recipe, next(iter(recipe.model.measurement)))
    return caught.value


def test_a_file_that_is_not_there(write_recipe: RecipeWriter, spheres: Path) -> None:
    error = planning(write_recipe, single('"raw/spheres_025C/fly_scan_id_7.h5"'), spheres)
    assert error.where == "study.toml, line 5"
    assert error.expected == str(spheres / "raw/spheres_025C/fly_scan_id_7.h5")
    assert "fly_scan_id_100101.h5" in str(error.found)
    assert "and 24 more" in str(error.found)
    assert "--data" in str(error.cure)


def test_a_folder_that_is_not_there(write_recipe: RecipeWriter, spheres: Path) -> None:
    error = planning(write_recipe, single('"raw/gravel/*/scan_*.h5"'), spheres)
    assert error.found == f"in {spheres / 'raw'}: spheres_025C, spheres_150C"


def test_an_empty_data_folder(write_recipe: RecipeWriter, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    assert str(planning(write_recipe, single('"scan.h5"'), tmp_path / "data").found).endswith("nothing")


def test_a_pattern_in_the_series_names_its_own_line(write_recipe: RecipeWriter, spheres: Path) -> None:
    text = GOOD + "\n[[measurement.rod.series]]\ntemperature = '150 C'\nfiles = ['raw/spheres_150C/*.h6']\n"
    text = text.replace("scans/*.h5", "raw/spheres_025C/*01.h5")
    assert planning(write_recipe, text, spheres).where == f"study.toml, line {line_of(text, '*.h6')}"


def test_a_pattern_that_is_none(write_recipe: RecipeWriter, spheres: Path) -> None:
    error = planning(write_recipe, single('"raw/**.h5"'), spheres)
    assert error.problem == "this is not a pattern of files"
    assert error.where == "study.toml, line 5"


def test_a_directory_where_a_file_is_wanted(write_recipe: RecipeWriter, spheres: Path) -> None:
    recipe = load_recipe(write_recipe(single('"raw/spheres_025C"')), data=spheres)
    with pytest.raises(MeasurementError, match="no file can be used") as caught:
        plan_measurement(recipe, "rod")
    assert "directory" in str(caught.value.found)


def test_check_names_the_files_of_all_measurements(write_recipe: RecipeWriter, spheres: Path) -> None:
    second = single('"b.h5"').replace("[sample.rod]\n", "").replace("measurement.rod", "measurement.pillar")
    recipe = load_recipe(write_recipe(single('"a.h5"') + second), data=spheres)
    with pytest.raises(RecipeMistakes) as caught:
        check_recipe(recipe)
    assert [str(error.expected) for error in caught.value.mistakes] == [str(spheres / "a.h5"), str(spheres / "b.h5")]


# -- fixed values and start arrays ---------------------------------------------------------------

SCAN = '"raw/spheres_025C/fly_scan_id_100101.h5"'


@pytest.mark.parametrize("key", ["rotation_axes", "attenuation", "edge_jump"])
def test_a_value_that_cannot_be_fixed(write_recipe: RecipeWriter, spheres: Path, key: str) -> None:
    error = planning(write_recipe, single(SCAN, f"\n[measurement.rod.fix]\n{key} = 3.0"), spheres)
    assert error.problem == f"{key} cannot be fixed"
    assert error.where == "study.toml, line 8"
    assert "rotation_axis" in str(error.expected).split(" or ")


def test_the_wrong_number_of_fixed_values(write_recipe: RecipeWriter, spheres: Path) -> None:
    recipe = write_recipe(scans=(0, 2, 5), choices="fix = { rotation_axis = [3.0, 4.0] }")
    with pytest.raises(RecipeError, match="wrong number of values") as caught:
        plan_measurement(load_recipe(recipe, data=spheres), "spheres")
    assert (caught.value.expected, caught.value.found) == ("one number, or 3", "2")


def test_a_fixed_value_that_is_not_a_number(write_recipe: RecipeWriter) -> None:
    found = mistakes(write_recipe, single(SCAN, "fix = { rotation_axis = 'middle' }"))
    assert {error.where for error in found} == {"study.toml, line 6"}


@pytest.mark.parametrize(
    ("start", "words"),
    [
        ("attenuation = 'nothing.zarr/result/rod'", "no study here"),
        ("attenuation = 'rod'", "no such file"),
        ("attenuation = 'study.zarr/raw/rod'", "not a measurement in a study"),
        ("attenuation = 'study.zarr/result/rod'", "has no"),
        ("edge_jump = 'study.zarr/truth/spheres', attenuation = 'study.zarr/truth/gravel'", "truth/gravel has no"),
        ("rotation_axis_check = 'study.zarr/truth/spheres'", "rotation_axis_check is missing"),
        ("colour = 'study.zarr/truth/spheres'", "unknown array 'colour'"),
    ],
)
def test_a_start_array_that_is_not_there(write_recipe: RecipeWriter, spheres: Path, start: str, words: str) -> None:
    text = f"""\
[sample.rod]
[measurement.rod]
sample = "rod"
technique = "xanes-tomography"
start = {{ {start} }}
"""
    error = planning(write_recipe, text, spheres)
    assert words in error.problem
    assert error.where == "study.toml, line 5"
    assert error.expected


def test_a_start_array_from_which_nothing_can_be_made(write_recipe: RecipeWriter, spheres: Path) -> None:
    text = """\
[sample.rod]
[measurement.rod]
sample = "rod"
technique = "xanes-tomography"
start = { edge_jump = 'study.zarr/truth/spheres' }
"""
    error = planning(write_recipe, text, spheres)
    assert "needs raw files" in error.problem
    assert error.where == "study.toml, line 2"


def test_references_that_are_not_there(write_recipe: RecipeWriter, spheres: Path) -> None:
    text = single(SCAN, 'mixture = { references = { oxidised = "oxidised.txt" } }')
    error = planning(write_recipe, text, spheres)
    assert (error.problem, error.where) == ("no such file", "study.toml, line 6")


# -- morphology ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('closing_radius = "0 um"', "greater than 0"),
        ('crack_width = "4 voxels"', "length"),
        ("magnification_std = 0.7", "less than 0.5"),
        ('closing_radus = "0.3 um"', "closing_radius"),
        ("composition = []", "[[0, 1.04]]"),
        ("composition = [[1.2, 1.0]]", "a radius from 0 to 1"),
        ("composition = [[0.5, 0.0]]", "a positive grey level"),
        ("composition = [[0.5, 1.0], 3]", "pairs"),
        ("composition = [[0.5, inf]]", "pairs"),
        ('composition = "none"', '"unknown"'),
    ],
)
def test_a_mistake_in_the_table_of_morphology(write_recipe: RecipeWriter, line: str, words: str) -> None:
    error = the_mistake(write_recipe, f"{GOOD}\n[measurement.rod.morphology]\n{line}\n", line)
    assert words in str(error)
