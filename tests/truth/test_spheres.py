"""The virtual spheres, from raw files through the recipe to maps, against their truth."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy.ndimage import binary_erosion

from cathoscope.core.parallel import Resources, Silent
from cathoscope.core.study import Study
from cathoscope.flow.compare import Comparison, compare
from cathoscope.flow.recipe import load_recipe
from cathoscope.flow.run import run
from cathoscope.virtual.study import simulate_study


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("spheres")
    recipe = simulate_study("spheres", size="small", seed=20, folder=folder, resources=Resources(threads=2))
    outcome = run(load_recipe(recipe), folder / "study.zarr", resources=Resources(threads=2), progress=Silent())
    assert not outcome.failed
    return Study.open(folder / "study.zarr")


@pytest.fixture(scope="module")
def rows(study: Study) -> dict[str, Comparison]:
    return {row.array: row for row in compare(study)}


def test_white_line_of_voxels_is_unbiased_with_an_honest_sigma(rows: dict[str, Comparison]) -> None:
    row = rows["white_line_energy"]
    assert row.n > 20_000
    assert abs(row.bias) < 0.01
    assert row.pull_mean == pytest.approx(0.0, abs=0.1)
    assert row.pull_width == pytest.approx(1.0, abs=0.15)


def test_edge_jump_is_unbiased_with_an_honest_sigma(rows: dict[str, Comparison]) -> None:
    row = rows["edge_jump"]
    assert row.pull_mean == pytest.approx(0.0, abs=0.1)
    assert row.pull_width == pytest.approx(1.0, abs=0.15)


def test_geometry_is_found(rows: dict[str, Comparison]) -> None:
    assert rows["rotation_axis"].rmse < 0.05
    assert rows["rotation_axis"].pull_width < 1.5
    # 0.1 px of jitter was put in; the share that is above the noise of the centre of mass is taken out
    assert rows["projection_shift"].rmse < 0.07
    assert rows["beam_intensity"].rmse < 1e-3


def test_particles_and_bad_pixels_are_found(study: Study) -> None:
    result, truth = study.read("result", "spheres"), study.read("truth", "spheres")
    found, true = result["particle_mask"].values, truth["particle_mask"].values
    assert 2 * (found & true).sum() / (found.sum() + true.sum()) > 0.97
    bad = result["bad_pixel_mask"].values
    assert (bad & truth["bad_pixel_mask"].values).sum() == truth["bad_pixel_mask"].values.sum()
    assert bad.mean() < 0.005


def attenuation(result: xr.Dataset, temperature: int, energy: int) -> np.ndarray:
    """What the spectral coefficients stand for at one energy, [z, y, x]."""
    vector = np.nan_to_num(result["spectral_vector"][temperature, :, energy].values)
    unit = float(result["attenuation_std"][temperature, energy])
    return unit * np.einsum("kzyx,k->zyx", np.nan_to_num(result["spectral_coefficient"][temperature].values), vector)


def test_attenuation_inside_is_right(study: Study) -> None:
    result, truth = study.read("result", "spheres"), study.read("truth", "spheres")
    inside = binary_erosion(truth["particle_mask"][0].values, iterations=4)
    for energy in (0, 18, 29):
        error = (attenuation(result, 0, energy) - truth["attenuation"][0, energy].values)[inside]
        assert abs(error.mean()) < 0.02 * truth["attenuation"][0, energy].values[inside].mean()
        # Half-sets see noise and streaks; the error has the ringing of the edges and uncorrected jitter besides.
        assert 0.7 * error.std() < float(result["half_set_spread"][0, energy])
        noise = float(result["attenuation_std"][0, energy])
        # of the noise of this energy alone, coefficients keep the share that their spectra can hold
        kept = np.sqrt((np.nan_to_num(result["spectral_vector"][0, :, energy].values) ** 2).sum())
        assert kept * noise < 1.05 * error.std()


def test_stated_noise_is_the_error_of_coefficients_that_hold_little_else(study: Study) -> None:
    result, truth = study.read("result", "spheres"), study.read("truth", "spheres")
    inside = binary_erosion(truth["particle_mask"][0].values, iterations=4)
    for temperature in (0, 1):
        vectors, std = np.nan_to_num(result["spectral_vector"][temperature].values), result["attenuation_std"]
        true = vectors @ (truth["attenuation"][temperature].values[:, inside] / std[temperature].values[:, None])
        error = result["spectral_coefficient"][temperature].values[:, inside] - true
        # those above the floor of noise, and one or another below, also hold the ringing of edges and jitter
        spread = error[int(result["spectral_rank"][temperature]) + 1 :].std(axis=1)
        assert np.median(spread[spread > 0]) == pytest.approx(1.0, abs=0.05)


def test_heating_lowers_the_white_line_as_it_was_made_to(study: Study) -> None:
    result, truth = study.read("result", "spheres"), study.read("truth", "spheres")
    mean, std = result["white_line_mean"].values, result["white_line_mean_std"].values
    true = truth["white_line_mean"].values
    assert (np.abs(mean - true) < 3 * std).all()
    assert np.diff(mean) == pytest.approx(np.diff(true), abs=0.03)
    width, width_true = result["white_line_width"].values, truth["white_line_width"].values
    np.testing.assert_allclose(width, width_true, rtol=0.05)


def test_every_sphere_moves_by_its_own_amount(study: Study) -> None:
    result, truth = study.read("result", "spheres"), study.read("truth", "spheres")
    moved = (result["white_line_energy"][1] - result["white_line_energy"][0]).values
    true = (truth["white_line_energy"][1] - truth["white_line_energy"][0]).values
    good = (result["white_line_flag"] == 0).all("temperature").values & np.isfinite(true)
    steps = np.unique(np.round(true[good], 2))
    assert len(steps) == 5
    for step in steps:
        one = good & (np.round(true, 2) == step)
        scatter = np.std(moved[one]) / np.sqrt(one.sum())
        assert np.mean(moved[one]) == pytest.approx(np.mean(true[one]), abs=0.01 + 3 * scatter)


def test_outside_of_particles_nothing_is_claimed(study: Study) -> None:
    result = study.read("result", "spheres")
    outside = ~result["particle_mask"].values
    assert np.isnan(result["white_line_energy"].values[outside]).all()
    assert (result["white_line_flag"].values[outside] == 100).all()


def test_results_speak_the_same_language_as_truth(study: Study) -> None:
    result, truth = study.read("result", "spheres"), study.read("truth", "spheres")
    for name in set(result.data_vars) & set(truth.data_vars):
        assert result[name].dims == truth[name].dims
        assert result[name].attrs["units"] == truth[name].attrs["units"]
    for name in ("x", "y", "z", "temperature", "energy"):
        xr.testing.assert_allclose(result[name], truth[name])
