"""Single peaks in a recipe: followed along temperature beside the refinement."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cathoscope.core.errors import CathoscopeError
from cathoscope.core.parallel import Resources, Silent
from cathoscope.core.study import Study
from cathoscope.flow.check import check_recipe
from cathoscope.flow.recipe import load_recipe
from cathoscope.flow.run import run
from tests.flow.powders import TRUTH, write_beside, write_pattern

TEMPERATURES = np.arange(30.0, 190.0, 15.0)
LEFT = 1 / (1 + np.exp((TEMPERATURES - 110) / 8))  # of the layered oxide
RECIPE = """\
[sample.a]
[measurement.m]
sample = "a"
technique = "diffraction"
files = "run_*.xye"
instrument = "powgen.instprm"
phases.NMC = "NMC.cif"
diffraction.background = 3
diffraction.direction = "forward"
diffraction.stages = [["*.scale", "*.background.*"]]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("patterns")
    write_beside(path)
    for number, (temperature, left) in enumerate(zip(TEMPERATURES, LEFT, strict=True)):
        cell = {name: TRUTH[name] * (1 + 2e-5 * temperature) for name in ("NMC.a", "NMC.c")}
        scales = {"powgen.NMC.scale": 8000.0 * left, "powgen.spinel.scale": 0.0}
        write_pattern(path / f"run_{number:02d}.xye", temperature, cell | scales, seed=number)
    return path


def test_peaks_are_followed_until_they_go(folder: Path) -> None:
    peaks = 'peaks = { at = ["2.03 A", ["1.42 A", "1.45 A"]], window = "0.09 A" }\n'
    (folder / "study.toml").write_text(RECIPE.replace("diffraction.b", peaks + "diffraction.b"))
    recipe = load_recipe(folder / "study.toml")
    check_recipe(recipe)
    outcome = run(recipe, folder / "study.zarr", resources=Resources(threads=1), progress=Silent())
    assert not outcome.failed
    data = Study(folder / "study.zarr").read("result", "m")

    assert data["peak"].attrs["listed"] == [2.03, 1.42, 1.45]
    assert data["peak"].attrs["groups"] == [1, 2, 2]
    assert data["peak_spacing"].dims == ("temperature", "bank", "peak")
    present = data["peak_present"].values[:, 0, 0]
    assert present[:6].all()
    assert not present[-1]
    spacing, std = (data[f"peak_spacing{end}"].values[:, 0, 0] for end in ("", "_std"))
    a, c = (TRUTH[f"NMC.{name}"] * (1 + 2e-5 * TEMPERATURES) for name in "ac")
    expected = 1 / np.sqrt(4 / 3 / a**2 + 16 / c**2)  # of 104
    np.testing.assert_array_less(np.abs(spacing - expected)[:6], 4 * std[:6])
    area, std = (data[f"peak_area{end}"].values[:, 0, 0] for end in ("", "_std"))
    np.testing.assert_array_less(np.abs(area / area[0] - LEFT), 4 * std / area[0])
    # 5 % and 95 % of a logistic of this middle and width
    onset, end = (data[name].values[0, 0] for name in ("peak_onset", "peak_end"))
    assert onset == pytest.approx(110 - 8 * np.log(19), abs=8)
    assert end == pytest.approx(110 + 8 * np.log(19), abs=8)


@pytest.mark.parametrize(
    ("peaks", "problem"),
    [
        ('peaks = ["2.03"]', "needs a number and a unit"),
        ('peaks = ["45 deg"]', "a lattice spacing is needed"),
        ("peaks = []", "at least 1"),
        ('peaks = { window = "0.05 A" }', "at"),
        ('peaks = ["4.7 A"]', "no bank shows the peak"),
    ],
)
def test_peaks_that_cannot_be(folder: Path, peaks: str, problem: str) -> None:
    (folder / "wrong.toml").write_text(RECIPE.replace("diffraction.b", peaks + "\ndiffraction.b"))
    with pytest.raises(CathoscopeError) as error:
        check_recipe(load_recipe(folder / "wrong.toml"))
    assert problem in str(error.value)
