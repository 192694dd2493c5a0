"""A check finds out what a run would, and computes nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from cathoscope.flow.check import check_recipe
from cathoscope.flow.recipe import load_recipe

RecipeWriter = Callable[..., Path]


def test_a_good_measurement(write_recipe: RecipeWriter, spheres: Path, tmp_path: Path) -> None:
    (finding,) = check_recipe(load_recipe(write_recipe(scans=(0, 2, 5)), data=spheres))
    assert (finding.measurement, finding.technique) == ("spheres", "xanes-tomography")
    assert finding.scans == "3 (1 temperature x 3 energy)"
    assert finding.images == "60 projection x 20 row x 40 column"
    assert (finding.problems, finding.unusable) == ((), False)
    assert [entry.name for entry in tmp_path.iterdir()] == ["study.toml"]


def test_a_single_scan(write_recipe: RecipeWriter, spheres: Path) -> None:
    text = """
    [sample.rod]
    [measurement.rod]
    sample = "rod"
    technique = "tomography"
    files = "raw/spheres_025C/fly_scan_id_100101.h5"
    """
    (finding,) = check_recipe(load_recipe(write_recipe(text), data=spheres))
    assert finding.scans == "1"


def test_a_bad_file_is_a_problem_and_the_rest_can_be_used(
    write_recipe: RecipeWriter, spheres: Path, tmp_path: Path
) -> None:
    shutil.copytree(spheres / "raw" / "spheres_025C", tmp_path / "raw" / "spheres_025C")
    os.truncate(tmp_path / "raw" / "spheres_025C" / "fly_scan_id_100103.h5", 5_000)
    (finding,) = check_recipe(load_recipe(write_recipe(scans=(0, 2, 5)), data=tmp_path))
    assert finding.scans == "2 (1 temperature x 2 energy)"
    assert not finding.unusable
    assert len(finding.problems) == 1
    assert "set aside fly_scan_id_100103.h5" in finding.problems[0]


def test_nothing_that_can_be_used(write_recipe: RecipeWriter, tmp_path: Path) -> None:
    folder = tmp_path / "raw" / "spheres_025C"
    folder.mkdir(parents=True)
    for number in (101, 103):
        (folder / f"fly_scan_id_100{number}.h5").write_text("not HDF5")
    (finding,) = check_recipe(load_recipe(write_recipe(scans=(0, 2)), data=tmp_path))
    assert finding.unusable
    assert "fly_scan_id_100101.h5" in finding.problems[0]
    assert "fly_scan_id_100103.h5" in finding.problems[0]


def test_an_energy_missing_at_one_temperature(write_recipe: RecipeWriter, spheres: Path) -> None:
    entry = """
[[measurement.spheres.series]]
temperature = "150 C"
files = "raw/spheres_150C/fly_scan_id_100131.h5"
"""
    (finding,) = check_recipe(load_recipe(write_recipe(scans=(0, 2), entry=entry), data=spheres))
    assert finding.scans == "3 (2 temperature x 2 energy)"
    assert finding.problems == ("no usable scan at temperature 150 degC, energy 8320 eV",)


def test_a_start_array_needs_no_files(write_recipe: RecipeWriter, spheres: Path) -> None:
    text = f"""
    [sample.rod]
    [measurement.rod]
    sample = "rod"
    technique = "xanes-tomography"
    start = {{ attenuation = "{spheres}/study.zarr/truth/spheres" }}
    """
    (finding,) = check_recipe(load_recipe(write_recipe(text)))
    assert (finding.scans, finding.images, finding.problems) == ("start array", "", ())


def test_a_remark_that_is_true_of_many_files_is_told_once(
    write_recipe: RecipeWriter, spheres: Path, tmp_path: Path
) -> None:
    import h5py

    shutil.copytree(spheres / "raw" / "spheres_025C", tmp_path / "raw" / "spheres_025C")
    for number in (101, 103, 106):
        with h5py.File(tmp_path / "raw" / "spheres_025C" / f"fly_scan_id_100{number}.h5", "r+") as file:
            file["img_bkg"][2] = 0
    (finding,) = check_recipe(load_recipe(write_recipe(scans=(0, 2, 5)), data=tmp_path))
    assert [remark for remark in finding.remarks if "flat 3 of 10" in remark] == [
        "flat 3 of 10 is zero everywhere and is set aside (3 files)"
    ]
