"""Regions of a volume as bulk spectra, through the flow."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cathoscope.core.parallel import Resources, Silent
from cathoscope.core.study import Study
from cathoscope.flow.recipe import load_recipe
from cathoscope.flow.run import RunOutcome, run
from tests.conftest import RecipeWriter


def recipe_from(place: Path, shells: int) -> str:
    return f"""
[sample.rod]
[measurement.regions]
sample = "rod"
technique = "xanes-regions"
start = {{ attenuation = "{place}", particle_mask = "{place}" }}
regions.shells = {shells}
"""


def run_text(write: RecipeWriter, text: str, study: Path, **resources: int) -> tuple[RunOutcome, Study]:
    recipe = load_recipe(write(text))
    return run(recipe, study, resources=Resources(**resources), progress=Silent()), Study.open(study)


def test_the_white_line_of_all_particles_is_that_of_the_truth(
    write_recipe: RecipeWriter, spheres: Path, tmp_path: Path
) -> None:
    truth = spheres / "study.zarr" / "truth" / "spheres"
    outcome, study = run_text(write_recipe, recipe_from(truth, 1), tmp_path / "one.zarr", threads=1)
    assert outcome.failed == []
    result = study.read("result", "regions")
    expected = Study.open(spheres / "study.zarr").read("truth", "spheres")
    volume, mask = expected["attenuation"], expected["particle_mask"].values
    mean = np.stack([volume[t].values[:, mask[t]].mean(axis=1, dtype=np.float64) for t in range(len(mask))])
    np.testing.assert_allclose(result["absorption"], mean, rtol=1e-6)
    assert result["spectrum"].attrs["labels"]["temperature"] == expected["temperature"].values.tolist()
    np.testing.assert_allclose(result["white_line_energy"], expected["white_line_mean"], atol=0.15)


def test_shells_share_the_voxels_and_threads_change_nothing(
    write_recipe: RecipeWriter, spheres: Path, tmp_path: Path
) -> None:
    truth = spheres / "study.zarr" / "truth" / "spheres"
    _, one = run_text(write_recipe, recipe_from(truth, 3), tmp_path / "one.zarr", threads=1)
    _, two = run_text(write_recipe, recipe_from(truth, 3), tmp_path / "two.zarr", threads=2)
    first, second = one.read("result", "regions"), two.read("result", "regions")
    assert first["spectrum"].attrs["labels"]["shell"] == [1, 2, 3] * (first.sizes["spectrum"] // 3)
    assert "below the surface" in first["spectrum"].attrs["names"][0]
    for name in first.data_vars:
        np.testing.assert_array_equal(first[name], second[name], err_msg=str(name))
