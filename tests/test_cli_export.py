"""``cathoscope export`` as a person types it, and back again with ``start``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from cathoscope.cli import app
from cathoscope.core.study import Study
from tests.io.export_studies import PIXEL, study_of, tomography_arrays, xanes_arrays

SHAPE = (8, 8, 8)


def cathoscope_command(*words: object, code: int = 0) -> Result:
    """Run a command and check how it ends."""
    result = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    arrays = xanes_arrays(shape=SHAPE)[["attenuation", "particle_mask", "white_line_mean"]]
    return study_of(tmp_path_factory.mktemp("cli") / "study.zarr", rod=arrays, tomo=tomography_arrays(shape=SHAPE)).path


def test_without_options_the_usual_arrays_are_written_beside_the_study(study: Path) -> None:
    output = cathoscope_command("export", study).output
    folder = study.with_name("study-ome-zarr")
    there = sorted(str(path.relative_to(folder)) for path in folder.glob("*/*"))
    assert there == ["rod/attenuation.ome.zarr", "rod/particle_mask.ome.zarr", "tomo/attenuation.ome.zarr"]
    assert all(f"wrote {folder / name}" in output for name in there)
    assert "export attenuation.ome.zarr: 2 slabs in" in output
    again = cathoscope_command("export", study, code=2).output
    assert "an earlier export is there" in again
    assert "--overwrite" in again


def test_measurement_and_array_choose(study: Path, tmp_path: Path) -> None:
    words = ("export", study, "-o", tmp_path, "--as", "tiff", "--measurement", "rod")
    cathoscope_command(*words, "--array", "particle_mask", "--array", "attenuation", "--memory", "200MB")
    names = sorted(path.name for path in tmp_path.glob("rod/*"))
    assert names == [
        "attenuation_01_25C.tif",
        "attenuation_02_180C.tif",
        "particle_mask_01_25C.tif",
        "particle_mask_02_180C.tif",
    ]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--array", "atenuation"), 2, "attenuation, particle_mask"),
        (("--array", "white_line_mean", "--measurement", "rod"), 2, "has no voxels (z, y, x)"),
        (("--measurement", "rods"), 2, "rod, tomo"),
        (("--as", "vtk"), 2, "ome-zarr or tiff or hdf5 or txm-sandbox"),
        (("--as", "txm-sandbox", "--measurement", "tomo"), 2, "no attenuation at several energies"),
        (("--memory", "2"), 2, "4GB"),
        (("--memory", "2MB"), 2, "the memory budget is too small"),
    ],
)
def test_mistakes_say_what_is_there(study: Path, tmp_path: Path, words: tuple[str, ...], code: int, said: str) -> None:
    assert said in cathoscope_command("export", study, "-o", tmp_path, *words, code=code).output
    assert list(tmp_path.iterdir()) == []


def test_a_study_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert "there is no study here" in cathoscope_command("export", tmp_path / "nothing.zarr", code=4).output


@pytest.mark.parametrize(("form", "file"), [("tiff", "tomo/attenuation.tif"), ("hdf5", "tomo.h5")])
def test_a_recipe_starts_from_an_exported_volume(study: Path, tmp_path: Path, form: str, file: str) -> None:
    cathoscope_command("export", study, "-o", tmp_path, "--as", form, "--measurement", "tomo")
    recipe = tmp_path / "again.toml"
    recipe.write_text(
        "[sample.tomo]\n"
        '[measurement.again]\nsample = "tomo"\ntechnique = "tomography"\n'
        f'start = {{ attenuation = "{file}" }}\npixel_size = "{PIXEL} um"\n'
    )
    cathoscope_command("run", recipe, "--no-report", "--threads", "1")
    found = Study(tmp_path / "again.zarr").read("result", "again", ["attenuation"])["attenuation"]
    expected = tomography_arrays(shape=SHAPE)["attenuation"]
    np.testing.assert_array_equal(found.values, expected.values)
    np.testing.assert_allclose(np.diff(found["x"].values), PIXEL)
