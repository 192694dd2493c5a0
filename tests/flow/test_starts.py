"""Measurements that start from a volume of another program: what it becomes, how little is read, what is refused."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile

from cathoscope.core.errors import CathoscopeError, MeasurementError, RecipeError
from cathoscope.core.parallel import Resources, Silent
from cathoscope.core.schema import require
from cathoscope.core.study import Study
from cathoscope.flow.recipe import Recipe, load_recipe
from cathoscope.flow.run import RunOutcome, run
from cathoscope.flow.steps import open_start

RNG = np.random.default_rng(9)
VOLUME = RNG.normal(0.4, 0.1, (9, 12, 10)).astype(np.float32)
CUBE = RNG.normal(0.4, 0.1, (3, 9, 12, 10)).astype(np.float32)
ENERGIES = [8320.0, 8345.0, 8370.0]  # eV
REGISTERED = "registration_results/reg_results/registered_xanes3D"
ENERGY_LIST = "registration_results/reg_results/eng_list"


def recipe_of(
    folder: Path,
    place: str,
    choices: str = 'pixel_size = "40 nm"',
    technique: str = "tomography",
    key: str = "attenuation",
) -> Recipe:
    """A recipe that starts from ``place``."""
    path = folder / "study.toml"
    path.write_text(f"""\
[sample.rod]
[measurement.rod]
sample = "rod"
technique = "{technique}"
{choices}
start.{key} = {json.dumps(place)}
""")
    return load_recipe(path, data=folder)


def run_recipe(recipe: Recipe) -> tuple[RunOutcome, Study]:
    outcome = run(recipe, recipe.path.with_suffix(".zarr"), resources=Resources(), progress=Silent())
    return outcome, Study.open(outcome.study)


def write_slices(folder: Path, numbers: range | list[int] = range(9)) -> None:
    for number in numbers:
        tifffile.imwrite(folder / f"recon_fly_scan_id_7_{number:05d}.tiff", VOLUME[number], photometric="minisblack")


def write_hdf5(path: Path, **content: object) -> None:
    with h5py.File(path, "w") as file:
        for name, values in content.items():
            file[name] = values


def write_cube(path: Path, cube: np.ndarray, energies: object) -> None:
    """As TXM-Sandbox writes it."""
    with h5py.File(path, "w") as file:
        file[REGISTERED], file[ENERGY_LIST] = cube, energies


# -- what a volume becomes ---------------------------------------------------------------------------


def test_slices_of_a_pattern_are_a_volume_about_the_axis(tmp_path: Path) -> None:
    write_slices(tmp_path)
    data = open_start(recipe_of(tmp_path, "recon_*.tiff"), "rod")
    require(data, "attenuation", "z", "y", "x")
    np.testing.assert_array_equal(data["attenuation"], VOLUME)
    for dim, size in zip("zyx", VOLUME.shape, strict=True):
        np.testing.assert_allclose(data[dim], 0.04 * (np.arange(size) - (size - 1) / 2), atol=1e-12)


def test_grey_levels_of_integers_become_floats_of_the_same_value(tmp_path: Path) -> None:
    grey = RNG.integers(0, 60_000, VOLUME.shape).astype(np.uint16)
    write_hdf5(tmp_path / "grey.h5", volume=grey)
    data = open_start(recipe_of(tmp_path, "grey.h5"), "rod")
    assert data["attenuation"].dtype == np.float32
    np.testing.assert_array_equal(data["attenuation"][2:7:2, 3], grey[2:7:2, 3])


def test_energies_beside_the_volumes_are_their_coordinate(tmp_path: Path) -> None:
    write_hdf5(tmp_path / "volumes.h5", data=CUBE[::-1], energy=ENERGIES[::-1])
    data = open_start(recipe_of(tmp_path, "volumes.h5", technique="xanes-tomography"), "rod")
    assert data["attenuation"].dims == ("energy", "z", "y", "x")
    np.testing.assert_allclose(data["energy"], ENERGIES)
    np.testing.assert_array_equal(data["attenuation"], CUBE)


def test_the_recipe_has_the_last_word_on_the_size_of_a_voxel(tmp_path: Path) -> None:
    write_hdf5(tmp_path / "volume.h5", data=VOLUME)
    with h5py.File(tmp_path / "volume.h5", "r+") as file:
        file["data"].attrs["pixel_size"] = "20 nm"
    stated = open_start(recipe_of(tmp_path, "volume.h5"), "rod")
    recorded = open_start(recipe_of(tmp_path, "volume.h5", choices=""), "rod")
    np.testing.assert_allclose(np.diff(stated["x"]), 0.04)
    np.testing.assert_allclose(np.diff(recorded["x"]), 0.02)
    assert stated["attenuation"].attrs["address"] != recorded["attenuation"].attrs["address"]


@pytest.mark.parametrize("layout", ["sandbox_cube", "hdf5_volume"])
def test_a_cube_leads_to_the_result_of_the_same_volumes_in_a_study(spheres: Path, tmp_path: Path, layout: str) -> None:
    """Steps see arrays, not files: bit for bit the same white lines."""
    truth = Study.open(spheres / "study.zarr").read("truth", "spheres")["attenuation"].isel(temperature=0)
    size = float(np.diff(truth["x"])[0])
    if layout == "sandbox_cube":
        write_cube(tmp_path / "cube.h5", truth.values, truth["energy"].values / 1e3)
    else:
        write_hdf5(tmp_path / "cube.h5", volume=truth.values, energy=truth["energy"].values / 1e3)
    recipe = recipe_of(tmp_path, "cube.h5", f'pixel_size = "{size} um"', "xanes-tomography")
    outcome, study = run_recipe(recipe)
    assert outcome.failed == []
    found = study.read("result", "rod").load()
    place = str(spheres / "study.zarr" / "truth" / "spheres")
    _, other = run_recipe(recipe_of(tmp_path, place, technique="xanes-tomography"))
    expected = other.read("result", "rod").isel(temperature=0)
    np.testing.assert_array_equal(found["particle_mask"], expected["particle_mask"])
    for name in ("edge_jump", "white_line_energy"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-6, err_msg=name)
    np.testing.assert_allclose(found["x"], truth["x"], atol=1e-9)


def test_a_start_is_computed_once_and_again_when_its_file_changes(spheres: Path, tmp_path: Path) -> None:
    truth = Study.open(spheres / "study.zarr").read("truth", "spheres")["attenuation"].isel(temperature=0).load()
    recipe = recipe_of(tmp_path, "cube.h5", technique="xanes-tomography")
    write_cube(tmp_path / "cube.h5", truth.values, truth["energy"].values)
    first, _ = run_recipe(recipe)
    again, _ = run_recipe(recipe)
    write_cube(tmp_path / "cube.h5", 0.5 * truth.values, truth["energy"].values)
    changed, _ = run_recipe(recipe)
    assert again.measurements[0].cached == first.measurements[0].computed == changed.measurements[0].computed
    assert again.measurements[0].computed == []


def test_missing_slices_are_remarked_in_the_study(tmp_path: Path) -> None:
    write_slices(tmp_path, [0, 1, 2, 5, 6])
    _, study = run_recipe(recipe_of(tmp_path, "recon_*.tiff"))
    remarks = study.attributes("raw", "rod")["remarks"]
    assert "started from recon_fly_scan_id_7_00000.tiff" in remarks
    assert "slices 0 to 6: 3-4 missing; z counts the slices that are there" in remarks


def test_a_volume_of_which_nothing_is_made_is_taken_over(tmp_path: Path) -> None:
    write_slices(tmp_path, [0, 1, 2])
    recipe = recipe_of(tmp_path, "recon_*.tiff")
    outcome, study = run_recipe(recipe)
    (item,) = outcome.measurements
    assert item.computed == ["attenuation taken over"]
    np.testing.assert_array_equal(study.read("result", "rod")["attenuation"], open_start(recipe, "rod")["attenuation"])
    assert len(study.attributes("raw", "rod")["files"]) == 3
    again, _ = run_recipe(recipe)
    assert again.measurements[0].cached == ["attenuation taken over"]


# -- how little is read ------------------------------------------------------------------------------


def test_a_large_volume_is_not_read_when_it_is_opened(tmp_path: Path) -> None:
    shape = (8, 1000, 1000, 1000)  # 32 GB; all but one block was never written
    with h5py.File(tmp_path / "large.h5", "w") as file:
        data = file.create_dataset("volume", shape, "f4", chunks=(1, 10, 100, 100), fillvalue=2.0)
        data[3, :10, :100, :100] = 5.0
        file["energy"] = np.linspace(8320.0, 8370.0, 8)
    recipe = recipe_of(tmp_path, "large.h5", technique="xanes-tomography")
    tracemalloc.start()
    try:
        volume = open_start(recipe, "rod")["attenuation"]
        part = volume[2:4, 5, 90:110, 50].values
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert volume.shape == shape
    np.testing.assert_array_equal(part, [[2.0] * 20, [5.0] * 10 + [2.0] * 10])
    assert peak < 5e6


def test_slices_are_read_one_by_one_when_they_are_asked_for(tmp_path: Path) -> None:
    """A slice that vanished after the volume was opened is missed by who asks for it, and by nobody else."""
    write_slices(tmp_path)
    volume = open_start(recipe_of(tmp_path, "recon_*.tiff"), "rod")["attenuation"]
    (tmp_path / "recon_fly_scan_id_7_00004.tiff").unlink()
    np.testing.assert_array_equal(volume[5:, 2:4].values, VOLUME[5:, 2:4])
    with pytest.raises(MeasurementError, match=r"recon_fly_scan_id_7_00004\.tiff"):
        volume[4].load()


# -- what is refused ---------------------------------------------------------------------------------


def refusal(recipe: Recipe) -> CathoscopeError:
    with pytest.raises(CathoscopeError) as caught:
        open_start(recipe, "rod")
    return caught.value


def test_a_volume_without_the_size_of_its_voxels(tmp_path: Path) -> None:
    write_slices(tmp_path)
    error = refusal(recipe_of(tmp_path, "recon_*.tiff", choices=""))
    assert isinstance(error, RecipeError)
    assert error.where == "study.toml, line 6"
    assert error.problem == "the size of a voxel is not known"
    assert error.cure == 'add  pixel_size = "20 nm"'


def test_a_folder_instead_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "recon").mkdir()
    write_slices(tmp_path / "recon")
    error = refusal(recipe_of(tmp_path, "recon"))
    assert isinstance(error, RecipeError)
    assert error.problem == "this is a folder"
    assert "recon/*.tiff" in str(error.cure)


def test_files_that_hold_no_volume(tmp_path: Path) -> None:
    np.savetxt(tmp_path / "spectrum.txt", np.stack([np.linspace(8300, 8400, 30), np.linspace(0, 1, 30)], axis=1))
    error = refusal(recipe_of(tmp_path, "spectrum.txt"))
    assert isinstance(error, RecipeError)
    assert error.problem == "this cannot be attenuation"
    assert error.expected == "a volume, such as slices in TIFF or one HDF5 dataset"
    assert error.found == "columns in spectrum.txt"


def test_an_array_that_is_no_volume(tmp_path: Path) -> None:
    write_slices(tmp_path)
    error = refusal(recipe_of(tmp_path, "recon_*.tiff", key="rotation_axis"))
    assert error.problem == "this cannot be rotation_axis"


def test_a_name_that_no_array_has(tmp_path: Path) -> None:
    write_slices(tmp_path)
    error = refusal(recipe_of(tmp_path, "recon_*.tiff", key="attenuaton"))
    assert isinstance(error, RecipeError)
    assert error.where == "study.toml, line 6"
    assert "attenuaton" in str(error)


def test_a_pattern_that_matches_nothing(tmp_path: Path) -> None:
    write_slices(tmp_path)
    error = refusal(recipe_of(tmp_path, "rekon_*.tiff"))
    assert error.problem == "no such file"
    assert error.where == "study.toml, line 6"
    assert "recon_fly_scan_id_7_00000.tiff" in str(error.found)


@pytest.mark.parametrize(("volumes", "extra"), [(VOLUME, {"energy": 8345.0}), (CUBE, {})])
def test_energies_that_nobody_knows(tmp_path: Path, volumes: np.ndarray, extra: dict[str, float]) -> None:
    """One volume, or several whose energies are not in the file, cannot show an edge."""
    write_hdf5(tmp_path / "volume.h5", data=volumes, **extra)
    error = refusal(recipe_of(tmp_path, "volume.h5", technique="xanes-tomography"))
    assert isinstance(error, RecipeError)
    assert error.problem == "the photon energies of the volumes are not known"
    assert str(volumes.shape) in str(error.found)
    open_start(recipe_of(tmp_path, "volume.h5"), "rod")


def test_a_damaged_volume_is_named_and_the_other_measurement_goes_on(tmp_path: Path) -> None:
    write_hdf5(tmp_path / "volume.h5", data=VOLUME)
    whole = (tmp_path / "volume.h5").read_bytes()
    (tmp_path / "volume.h5").write_bytes(whole[: len(whole) // 2])
    outcome, _ = run_recipe(recipe_of(tmp_path, "volume.h5"))
    assert "volume.h5: the HDF5 file is truncated" in str(outcome.failed[0].failure)


def test_several_volumes_are_not_one(tmp_path: Path) -> None:
    for name in "ab":
        write_hdf5(tmp_path / f"{name}.h5", data=VOLUME)
    with pytest.raises(MeasurementError, match="2 files are given where one makes a measurement"):
        open_start(recipe_of(tmp_path, "?.h5"), "rod")
