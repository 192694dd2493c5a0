"""Phases without a structure in a recipe: cells along temperature and the intensities of their reflections."""

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

GROWN = {25.0: 1.0, 80.0: 1.0012}
BARE = 'phases.NMC = { space_group = "R -3 m:H", cell = [2.843, 2.843, 14.3, 90, 90, 120], intensities = "WAY" }'
HEAD = '[sample.a]\n[measurement.m]\nsample = "a"\ntechnique = "diffraction"\ninstrument = "powgen.instprm"\n'
REST = 'files = "run_*.xye"\ndiffraction.background = 3\n'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("patterns")
    write_beside(path)
    for number, (temperature, factor) in enumerate(GROWN.items()):
        cell = {name: TRUTH[name] * factor for name in ("NMC.a", "NMC.c")}
        scales = {"powgen.NMC.scale": 4000.0, "powgen.spinel.scale": 0.0}
        write_pattern(path / f"run_{number}.xye", temperature, cell | scales, seed=number)
    return path


def analysed(folder: Path, phases: str) -> Study:
    (folder / "study.toml").write_text(HEAD + REST + phases)
    recipe = load_recipe(folder / "study.toml")
    check_recipe(recipe)
    outcome = run(recipe, folder / "study.zarr", resources=Resources(threads=1), progress=Silent())
    assert not outcome.failed
    return Study(folder / "study.zarr")


@pytest.mark.parametrize("way", ["le-bail", "pawley"])
def test_a_cell_alone_is_followed_and_gives_intensities(folder: Path, way: str) -> None:
    data = analysed(folder, BARE.replace("WAY", way)).read("result", "m")
    for name, edge in (("lattice_a", "NMC.a"), ("lattice_c", "NMC.c")):
        expected = np.array([TRUTH[edge] * factor for factor in GROWN.values()])
        pulls = (data[name].values[:, 0] - expected) / data[f"{name}_std"].values[:, 0]
        assert np.abs(pulls).max() < 4
    assert np.isnan(data["weight_fraction"].values).all()
    assert data["phase_present"].values.all()
    assert "site_occupancy" not in data
    intensity, std = data["extracted_intensity"].values, data["extracted_intensity_std"].values
    hkl = data["miller_index"].values[0, 0].tolist()
    here = hkl.index([1, 0, 4])
    both = intensity[:, 0, 0, here]
    assert abs(both[1] - both[0]) < 4 * np.hypot(*std[:, 0, 0, here])  # displacements do not change with the cell
    assert both[0] > 20 * std[0, 0, 0, here]
    assert np.isfinite(intensity[0, 0, 0, : len(hkl)]).sum() >= len(hkl) - 2


@pytest.mark.parametrize(
    ("phases", "problem"),
    [
        ('phases.NMC = { space_group = "R -3 m:H", intensities = "pawley" }', "space_group and cell"),
        (BARE.replace(', intensities = "WAY"', ""), "has no structure"),
        (BARE.replace("WAY", "rietveld"), "le-bail"),
        ('phases.NMC = { file = "NMC.cif", intensities = "pawley", free = ["O1.occupancy"] }', "leave out"),
        (BARE.replace("2.843, 2.843", "2.843, 2.9").replace("WAY", "pawley"), "contradicts the space group"),
        (BARE.replace("R -3 m:H", "R -3 q").replace("WAY", "pawley"), "R -3 q"),
    ],
)
def test_phases_that_cannot_be(folder: Path, phases: str, problem: str) -> None:
    (folder / "wrong.toml").write_text(HEAD + REST + phases)
    with pytest.raises(CathoscopeError) as error:
        check_recipe(load_recipe(folder / "wrong.toml"))
    assert problem in str(error.value)
