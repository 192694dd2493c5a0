"""The command line as a person types it: what it says, what it writes, and how it ends."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import cathoscope
from cathoscope.cli import _what_next, app, main
from cathoscope.core.study import Study

RecipeWriter = Callable[..., Path]


def cathoscope_command(*words: object, code: int = 0) -> Result:
    """Run a command and check how it ends."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


def squeezed(result: Result) -> str:
    """The output on one line, so that wrapping does not matter."""
    return " ".join(result.output.split())


# -- help ----------------------------------------------------------------------------------------


def test_help_says_where_to_start_and_what_the_exit_codes_mean() -> None:
    text = squeezed(cathoscope_command("--help"))
    assert "cathoscope new study.toml" in text
    for command in ("new", "simulate", "check", "run", "compare", "report"):
        assert f" {command} " in text
    for code in ("0 all well", "2 the recipe", "3 a measurement", "4 the study", "130 stopped"):
        assert code in text


def test_without_a_word_the_help_is_shown() -> None:
    assert "cathoscope new study.toml" in squeezed(cathoscope_command(code=2))


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("new", ["commented recipe", "study.toml", "--force"]),
        ("simulate", ["spheres", "--output", "--seed", "small", "truth"]),
        ("check", ["Computes nothing", "--data"]),
        ("run", ["stopped or killed goes on", "--study", "--data", "--threads", "--memory", "4GB", "--no-report"]),
        ("compare", ["truth", "--json"]),
        ("report", ["HTML", "--output", "--memory"]),
    ],
)
def test_the_help_of_a_command_names_what_a_newcomer_needs(command: str, words: list[str]) -> None:
    text = squeezed(cathoscope_command(command, "--help"))
    for word in words:
        assert word in text


def test_the_version() -> None:
    assert cathoscope_command("--version").output.strip() == cathoscope.__version__


def test_a_word_that_is_no_command() -> None:
    assert "No such command" in squeezed(cathoscope_command("analyze", code=2))


def test_the_entry_point_is_the_same_program(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["cathoscope", "--version"])
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 0
    assert capsys.readouterr().out.strip() == cathoscope.__version__


# -- new -----------------------------------------------------------------------------------------


def test_new_writes_a_recipe_and_never_over_another(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    assert f"cathoscope check {recipe}" in squeezed(cathoscope_command("new", recipe))
    recipe.write_text("my work")
    refused = cathoscope_command("new", recipe, code=2)
    assert "there already" in refused.output
    assert "--force" in refused.output
    assert recipe.read_text() == "my work"
    cathoscope_command("new", recipe, "--force")
    assert "[measurement.gravel]" in recipe.read_text()


def test_new_in_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert "could not be written" in cathoscope_command("new", tmp_path / "no" / "mine.toml", code=2).output


# -- simulate ------------------------------------------------------------------------------------


def test_simulate_tells_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cathoscope.virtual import presets

    few = presets.PRESETS["spheres"]
    short = presets.Preset(few.meaning, few.build, (8300.0, 8349.0, 8380.0), few.windows)
    monkeypatch.setattr(presets, "PRESETS", {"spheres": short})
    monkeypatch.delenv("CATHOSCOPE_DATA", raising=False)
    text = squeezed(cathoscope_command("simulate", "spheres", "-o", tmp_path / "demo", "--size", "tiny"))
    recipe = tmp_path / "demo" / "study.toml"
    assert f"cathoscope run {recipe}" in text
    assert len(list((tmp_path / "demo").glob("raw/*/*.h5"))) == 6
    assert "ready" in cathoscope_command("check", recipe).output


@pytest.mark.parametrize("words", [("cubes",), ("spheres", "--size", "huge")])
def test_simulate_what_is_not_known(tmp_path: Path, words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, ["simulate", *words, "-o", str(tmp_path / "demo")])
    assert result.exit_code != 0
    assert "unknown" in result.output
    assert "expected" in result.output


# -- check and run -------------------------------------------------------------------------------


def single(files: str) -> str:
    return f"""\
[sample.rod]
[measurement.rod]
sample = "rod"
technique = "tomography"
rows = [0, 8]
files = "{files}"
"""


GOOD, ABSENT = single("raw/spheres_025C/fly_scan_id_100101.h5"), single("raw/nothing.h5")


def test_a_recipe_with_a_mistake_ends_with_2_and_its_line(write_recipe: RecipeWriter, spheres: Path) -> None:
    recipe = write_recipe(GOOD.replace("files", "file"))
    for command in ("check", "run"):
        text = cathoscope_command(command, recipe, "--data", spheres, code=2).output
        assert "study.toml, line 6" in text
        assert "did you mean files?" in text
    assert not recipe.with_suffix(".zarr").exists()


def test_a_missing_file_ends_with_2(write_recipe: RecipeWriter, spheres: Path) -> None:
    for command in ("check", "run"):
        assert "no such file" in cathoscope_command(command, write_recipe(ABSENT), "--data", spheres, code=2).output


def test_a_measurement_that_cannot_be_used_ends_with_3(write_recipe: RecipeWriter, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "nothing.h5").write_text("nothing")
    assert "cannot be used: rod" in cathoscope_command("check", write_recipe(ABSENT), code=3).output
    assert "rod: FAILED" in cathoscope_command("run", write_recipe(ABSENT), "--no-report", code=3).output


def test_a_place_that_is_no_study_ends_with_4(write_recipe: RecipeWriter, spheres: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "main.tex").touch()
    words = ("run", write_recipe(GOOD), "--data", spheres, "--study", tmp_path / "thesis")
    assert "not a study" in cathoscope_command(*words, code=4).output


def test_a_study_in_use_ends_with_4(write_recipe: RecipeWriter, spheres: Path, tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study.zarr")
    with study.locked():
        text = cathoscope_command("run", write_recipe(GOOD), "--data", spheres, "--no-report", code=4).output
    assert "another run" in text


def test_a_stopped_run_ends_with_130(
    write_recipe: RecipeWriter, spheres: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    for place in ("cathoscope.flow.run._run_measurement", "cathoscope.flow.recipe._read"):
        with monkeypatch.context() as patch:
            patch.setattr(place, stop)
            text = cathoscope_command("run", write_recipe(GOOD), "--data", spheres, code=130).output
        assert "stopped" in text


@pytest.mark.parametrize("words", [("--memory", "4"), ("--memory", "1MB"), ("--threads", "0")])
def test_resources_that_make_no_sense(write_recipe: RecipeWriter, words: tuple[str, str]) -> None:
    result = CliRunner().invoke(app, ["run", str(write_recipe(GOOD)), *words])
    assert result.exit_code not in (0, 130)
    assert "Traceback" not in result.output
    assert "memory" in result.output or "threads" in result.output


def test_run_tells_what_it_did_and_then_that_nothing_is_left_to_do(write_recipe: RecipeWriter, spheres: Path) -> None:
    words = ("run", write_recipe(GOOD), "--data", spheres, "--no-report", "--memory", "1GB", "--threads", "1")
    assert "rod: 5 steps computed, 0 kept" in cathoscope_command(*words).output
    assert "rod: 0 steps computed, 5 kept" in cathoscope_command(*words).output


# -- compare and report --------------------------------------------------------------------------


@pytest.fixture
def virtual(undisturbed: Path, spheres: Path, tmp_path: Path) -> Path:
    """A finished study with the truth of all thirty energies, of which thirteen were used."""
    study = Path(shutil.copytree(undisturbed, tmp_path / "study.zarr"))
    shutil.copytree(spheres / "study.zarr" / "truth", study / "truth", dirs_exist_ok=True)
    return study


def test_compare_prints_a_table_or_json(virtual: Path) -> None:
    assert "white_line_energy" in cathoscope_command("compare", virtual).output
    rows = {row["array"]: row for row in json.loads(cathoscope_command("compare", virtual, "--json").output)}
    axis = rows["rotation_axis"]
    assert axis["n"] == 13
    assert axis["unit"] == "px"
    assert abs(axis["bias"]) <= axis["rmse"] < 0.5


def test_compare_without_truth_ends_with_4(undisturbed: Path) -> None:
    assert "measured, not simulated" in cathoscope_command("compare", undisturbed, code=4).output


@pytest.mark.parametrize("command", ["compare", "report"])
def test_no_study_ends_with_4(command: str, tmp_path: Path) -> None:
    assert "no study here" in cathoscope_command(command, tmp_path / "nothing.zarr", code=4).output


def test_run_writes_the_report_beside_the_study_and_report_elsewhere(
    write_recipe: RecipeWriter, spheres: Path, tmp_path: Path
) -> None:
    recipe, elsewhere = write_recipe(GOOD), tmp_path / "elsewhere.html"
    assert "report: " in cathoscope_command("run", recipe, "--data", spheres).output
    assert str(elsewhere) in cathoscope_command("report", recipe.with_suffix(".zarr"), "-o", elsewhere).output
    for page in (recipe.with_suffix(".html"), elsewhere):
        text = page.read_text(encoding="utf-8")
        assert text.lower().startswith("<!doctype html>")
        assert "rod" in text
        assert "<script src" not in text


def test_a_simulation_that_nothing_analyses_yet_says_so(tmp_path: Path) -> None:
    recipe = tmp_path / "study.toml"
    recipe.write_text('[study]\ntitle = "x"\n# [measurement.a]\n', encoding="utf-8")
    assert "no technique analyses" in _what_next(recipe)
    recipe.write_text('[measurement.a]\ntechnique = "xas"\n', encoding="utf-8")
    assert "cathoscope run" in _what_next(recipe)
