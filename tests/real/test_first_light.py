"""The recipe of first light on measured data, against what is known of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import xarray as xr

from cathoscope.core.parallel import Resources, Silent
from cathoscope.core.study import Study
from cathoscope.flow.check import check_recipe
from cathoscope.flow.recipe import Recipe, load_recipe
from cathoscope.flow.run import RunOutcome, run
from cathoscope.tomography.correct import stripes_removed
from cathoscope.tomography.reconstruct import plan_reconstruction, reconstruct

RECIPE = Path(__file__).parents[2] / "recipes" / "real" / "first-light.toml"


@pytest.fixture(scope="module")
def recipe(data_folder: Path) -> Recipe:
    return load_recipe(RECIPE, data=data_folder)


@pytest.fixture(scope="module")
def outcome(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> RunOutcome:
    return run(
        recipe, tmp_path_factory.mktemp("real") / "study.zarr", resources=Resources(threads=2), progress=Silent()
    )


def result(outcome: RunOutcome, measurement: str) -> xr.Dataset:
    return Study.open(outcome.study).read("result", measurement)


def test_check_finds_nothing_wrong(recipe: Recipe) -> None:
    assert [(finding.measurement, finding.problems) for finding in check_recipe(recipe)] == [
        ("tooth", ()),
        ("gold", ()),
        ("plume", ()),
    ]


def test_every_measurement_gives_a_result(outcome: RunOutcome) -> None:
    assert [item.failure for item in outcome.measurements] == [None, None, None]


def test_tooth_axis_is_where_tomopy_finds_it(outcome: RunOutcome) -> None:
    # The notebook of tomopy (source/tomopy/data/tooth.h5) ends its searches between 295.9 and 296.3.
    tooth = result(outcome, "tooth")
    assert 295.85 < float(tooth["rotation_axis"]) < 296.35
    assert abs(float(tooth["rotation_axis"]) - 296.1) < 2 * float(tooth["rotation_axis_std"])


def test_tooth_is_solid_inside_and_empty_outside(outcome: RunOutcome) -> None:
    slice_ = result(outcome, "tooth")["attenuation"][0].values
    solid = np.median(slice_[350:370, 300:330])
    empty = np.median(slice_[150:170, 150:170])
    noise = float(result(outcome, "tooth")["attenuation_std"])
    assert solid > 5 * abs(empty)
    assert solid > 2 * noise


def test_gold_axis_is_that_of_opposite_projections(outcome: RunOutcome) -> None:
    # The provenance of the data gives about 39.0 from the projections at 0 and 180 degrees.
    gold = result(outcome, "gold")
    assert float(gold["rotation_axis"]) == pytest.approx(39.0, abs=0.15)


def test_gold_remark_says_that_the_pillar_leaves_the_view(outcome: RunOutcome) -> None:
    remarks = Study.open(outcome.study).attributes("raw", "gold")["remarks"]
    assert any("centre of mass" in remark and "varies" in remark for remark in remarks)


def test_gold_volume_is_what_its_projections_give_one_row_at_a_time(outcome: RunOutcome, data_folder: Path) -> None:
    gold = result(outcome, "gold")
    files = sorted((data_folder / "imaging/npg-nanotomo-tomo77/tiff_sequence").glob("*.tiff"))
    plan = plan_reconstruction(np.linspace(0.0, 180.0, len(files)), gold.sizes["x"])
    for row in (3, 40, 78):
        page = np.stack([tifffile.imread(file)[row] for file in files])
        sinogram = stripes_removed(page[None], "gain")
        alone = reconstruct(plan, sinogram, float(gold["rotation_axis"]), None, 1.0)[0]
        np.testing.assert_allclose(gold["attenuation"][row].values, alone, atol=1e-5 * np.abs(alone).max())


def test_plume_is_explained_by_two_valences(outcome: RunOutcome) -> None:
    plume = result(outcome, "plume")
    assert plume["optical_depth"].shape == (123, 125, 125)
    energy = plume["energy"].values
    np.testing.assert_allclose(energy[[0, -1]], [700.0, 730.353], atol=1e-3)
    spectra = plume["component_spectrum"].values
    # Fe(III) has its white line above Fe(II) (L3 edge).
    oxidised, reduced = energy[np.argmax(spectra, axis=1)]
    assert 1.0 < oxidised - reduced < 2.0
    # Where there is iron, the two valences leave little of what varies with energy.
    signal = plume["optical_depth"].std("energy").values
    iron = signal > np.quantile(signal, 0.8)
    assert np.median(plume["mixture_residual"].values[iron] / signal[iron]) < 0.4
    weights = plume["component_weight"].values
    assert (weights >= 0).all()
    assert int(plume["singular_value"].attrs["count_above_noise"]) >= 2


def test_plume_counts_are_recognised_as_no_photons(outcome: RunOutcome) -> None:
    remarks = Study.open(outcome.study).attributes("raw", "plume")["remarks"]
    assert any("not single photons" in remark for remark in remarks)
