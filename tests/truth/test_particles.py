"""Small virtual particles, from raw files through the recipe to maps, against their truth."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cathoscope.core.parallel import Resources, Silent
from cathoscope.core.study import Study
from cathoscope.flow.compare import Comparison, compare
from cathoscope.flow.recipe import load_recipe
from cathoscope.flow.run import run
from cathoscope.virtual.microscope import Optics
from cathoscope.virtual.particle import GRAVEL, ROD
from cathoscope.virtual.particle_presets import Experiment, ParticlePreset, Size
from cathoscope.virtual.particle_study import Plan, simulate_heating
from cathoscope.virtual.recipe_outline import recipe_text
from cathoscope.virtual.txm import TxmOptions

SIZE = Size(columns=40, rows=40, projections=64, energies=30, cells=24)
DESIGNS = {
    "rod": replace(ROD, diameter=4.8, core_radius=1.0, grain_size=0.7),
    "gravel": replace(GRAVEL, diameter=4.8, core_radius=1.0, grain_size=0.7),
}
QUIET = TxmOptions.ideal(photons=50_000)


def analysed(folder: Path, sample: str, experiment: Experiment, *temperatures: float, choices: str = "") -> Study:
    """A study of one particle, simulated and run; ``choices`` are further lines of the recipe."""
    preset = ParticlePreset("a small particle", {sample: DESIGNS[sample]}, {"tiny": SIZE}, 7.6, temperatures)
    study = Study.create(folder / "study.zarr")
    with study.locked():
        made = simulate_heating(
            study, Plan(replace(preset, experiment=experiment), SIZE, 7), resources=Resources(threads=2)
        )
    recipe = folder / "study.toml"
    recipe.write_text(recipe_text("tiny", 7, made) + choices, encoding="utf-8")
    outcome = run(load_recipe(recipe), study.path, resources=Resources(threads=2), progress=Silent())
    assert not outcome.failed
    return study


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return analysed(tmp_path_factory.mktemp("particles"), "gravel", Experiment(), 25.0, 150.0)


@pytest.fixture(scope="module")
def ideal(tmp_path_factory: pytest.TempPathFactory) -> Study:
    experiment = Experiment(optics=Optics.ideal(), options=QUIET)
    energies = '\n[measurement.rod-1.tomography]\nreconstruct = "energies"\n'
    return analysed(tmp_path_factory.mktemp("ideal"), "rod", experiment, 25.0, choices=energies)


def rows_of(study: Study) -> dict[tuple[str, str], Comparison]:
    return {(row.measurement, row.array): row for row in compare(study)}


def test_the_particle_is_found_where_it_is(study: Study) -> None:
    result, truth = study.read("result", "gravel-1"), study.truth("gravel-1")
    found, true = result["particle_mask"].values, truth["particle_mask"].values
    assert 2 * (found & true).sum() / (found.sum() + true.sum()) > 0.95
    assert abs(rows_of(study)["gravel-1", "edge_jump"].bias) < 0.002  # 1/um, of 0.06


def test_without_noise_and_motion_only_discretisation_is_left(ideal: Study) -> None:
    """Two independent programs, forward and back: interior and total agree, and what is left are sharp rims."""
    found, true = (
        data["attenuation"].values.astype(float) for data in (ideal.read("result", "rod-1"), ideal.truth("rod-1"))
    )
    inside = true > 0.98 * true.max(axis=(2, 3, 4), keepdims=True)
    assert np.count_nonzero(inside) > 10_000
    assert found[inside].mean() / true[inside].mean() == pytest.approx(1.0, abs=0.005)
    assert found.sum() / true.sum() == pytest.approx(1.0, abs=0.005)
    assert np.corrcoef(found.ravel(), true.ravel())[0, 1] > 0.98


def test_the_mean_white_line_is_found_within_its_uncertainty(study: Study) -> None:
    result, truth = study.read("result", "gravel-1"), study.truth("gravel-1")
    error = (result["white_line_mean"] - truth["white_line_mean"]).values
    assert (np.abs(error) < 3 * result["white_line_mean_std"].values).all()
    assert (np.abs(error) < 0.1).all()
    assert np.diff(result["white_line_mean"].values) == pytest.approx(np.diff(truth["white_line_mean"].values), abs=0.1)


def test_the_geometry_of_the_series_is_found(study: Study) -> None:
    """Targets of the method: axis 0.05 px, drift 0.05 px, jitter 0.1 px, magnification 2e-5."""
    rows, pixel = rows_of(study), SIZE.grid(7.6).pixel_size
    assert rows["gravel-1", "rotation_axis"].rmse < 0.05
    assert rows["gravel-1", "specimen_shift"].rmse < 0.05 * pixel
    assert rows["gravel-1", "projection_shift"].rmse < 0.1
    assert rows["gravel-1", "vertical_shift"].rmse < 0.1
    assert rows["gravel-1", "magnification"].rmse < 2e-5


def test_voxels_err_by_as_much_as_they_say(study: Study) -> None:
    row = rows_of(study)["gravel-1", "white_line_energy"]
    assert row.pull_mean == pytest.approx(0.0, abs=0.2)
    assert row.pull_width == pytest.approx(1.0, abs=0.2)
    assert float(study.read("result", "gravel-1")["untrusted_share"].max()) < 0.2


def test_the_foil_gives_back_the_error_of_the_energy(study: Study) -> None:
    row = rows_of(study)["foil", "energy_shift"]
    assert row.n == 2
    assert abs(row.bias) < 0.03
    assert row.pull_mean is not None
    assert abs(row.pull_mean) < 3


def test_comparing_the_truth_with_itself_is_exact(study: Study, tmp_path: Path) -> None:
    copy = Study.create(tmp_path / "study.zarr")
    shutil.copytree(study.path / "truth", copy.path / "truth", dirs_exist_ok=True)
    for name in copy.measurements("truth"):
        copy.write("result", name, copy.truth(name).load())
    rows = compare(copy)
    assert {"white_line_energy", "spinel_fraction", "edge_jump", "porosity"} <= {row.array for row in rows}
    assert "grain_label" not in {row.array for row in rows}  # numbers of grains are names
    assert all(row.bias == 0 and row.rmse == 0 for row in rows)
