"""A standard in a recipe: from its pattern to a file of the instrument that other recipes can name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cathoscope.core.errors import CathoscopeError, StudyError
from cathoscope.core.parallel import Resources, Silent
from cathoscope.core.study import Study
from cathoscope.flow.check import check_recipe
from cathoscope.flow.recipe import load_recipe
from cathoscope.flow.run import run
from cathoscope.io.crystal_cif_write import written_cif
from cathoscope.io.export_study import Choice, export_study
from cathoscope.io.instrument import read_banks
from cathoscope.io.instrument_gsas2 import written_instprm
from cathoscope.io.powder import PowderPattern
from cathoscope.io.powder_write import written_xye
from cathoscope.powder.crystallite import crystallite_of
from tests.powder.patterns import COPPER, pattern_on, recorded
from tests.powder.test_calibration import LAB6

RECIPE = """\
[sample.standard]
[measurement.lab]
sample = "standard"
technique = "diffraction"
files = "lab6.xye"
instrument = "lab.instprm"
phases.LaB6 = "LaB6.cif"
calibration = CALIBRATION
diffraction.background = 3
"""
OFF = {"zero": 0.03, "W": 55.0, "X": 3.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("standard")
    numbers = {"lab.LaB6.scale": 0.1, "lab.background.0": 50.0}
    empty = pattern_on(COPPER, np.linspace(20.0, 120.0, 1600))
    made = recorded(empty, [crystallite_of(LAB6)], numbers, seed=1, counts=20.0)
    pattern = PowderPattern(1, "lab", "cw", made.x, made.y, made.std)
    (path / "lab6.xye").write_text(written_xye(pattern))
    (path / "LaB6.cif").write_text(written_cif(LAB6))
    (path / "lab.instprm").write_text(written_instprm([replace(COPPER, values={**COPPER.values, **OFF})]))
    return path


def recipe(folder: Path, calibration: str) -> Path:
    path = folder / "study.toml"
    path.write_text(RECIPE.replace("CALIBRATION", calibration))
    return path


def test_from_a_standard_to_an_instrument_file(folder: Path) -> None:
    loaded = load_recipe(recipe(folder, "true"))
    check_recipe(loaded)
    outcome = run(loaded, folder / "study.zarr", resources=Resources(threads=1), progress=Silent())
    assert not outcome.failed
    study = Study(folder / "study.zarr")
    data = study.read("result", "lab")
    names = data["instrument_number"].attrs["names"]
    values, std = (dict(zip(names, data[f"instrument_value{end}"].values[0], strict=True)) for end in ("", "_std"))
    assert {name for name in names if std[name] > 0} == {"zero", "U", "V", "W", "X", "axial"}
    for name in names:
        assert abs(values[name] - COPPER.values[name]) <= 4 * std[name] + 1e-12
    assert data["lattice_a"].values.ravel() == pytest.approx([LAB6.cell[0]], abs=1e-9)

    options = {"overwrite": False, "resources": Resources(), "progress": Silent()}
    (file,) = export_study(study, folder / "out", Choice("instprm"), **options)
    assert file.name == "lab.instprm"
    text = file.read_text()
    assert f"refined: zero {values['zero']:.8g} +- {std['zero']:.2g}" in text
    (bank,) = read_banks(file)[0].values()
    assert {**bank.values} == pytest.approx(values, rel=1e-12)


@pytest.mark.parametrize(("calibration", "problem"), [('["difC"]', "no number difC"), ('{ freed = ["X"] }', "freed")])
def test_calibrations_that_cannot_be(folder: Path, calibration: str, problem: str) -> None:
    with pytest.raises(CathoscopeError) as error:
        check_recipe(load_recipe(recipe(folder, calibration)))
    assert problem in str(error.value)


def test_without_a_calibration_there_is_no_instrument_file(folder: Path) -> None:
    path = recipe(folder, "false")
    path.write_text(path.read_text() + 'diffraction.stages = [["*.scale", "*.background.*"]]\n')
    run(load_recipe(path), folder / "none.zarr", resources=Resources(threads=1), progress=Silent())
    with pytest.raises(StudyError, match="as instprm"):
        export_study(
            Study(folder / "none.zarr"),
            folder / "none",
            Choice("instprm"),
            overwrite=False,
            resources=Resources(),
            progress=Silent(),
        )
