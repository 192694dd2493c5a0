"""What a run computes: single scans, image stacks, start arrays, fixed values. Mishaps are in tests/mistakes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile

from cathoscope.core.parallel import Resources, Silent
from cathoscope.core.study import Study
from cathoscope.flow.recipe import load_recipe
from cathoscope.flow.run import RunOutcome, run

RecipeWriter = Callable[..., Path]

SCAN = "raw/spheres_025C/fly_scan_id_100127.h5"


def run_recipe(recipe: Path, data: Path, progress: Silent | None = None) -> tuple[RunOutcome, Study]:
    study = recipe.with_suffix(".zarr")
    outcome = run(load_recipe(recipe, data=data), study, resources=Resources(), progress=progress or Silent())
    return outcome, Study.open(study)


def single(choices: str = "", files: str = SCAN, name: str = "rod") -> str:
    return f"""\
[sample.{name}]
[measurement.{name}]
sample = "{name}"
technique = "tomography"
files = "{files}"
{choices}
"""


def test_a_single_scan_gives_a_volume_near_its_truth(write_recipe: RecipeWriter, spheres: Path) -> None:
    outcome, study = run_recipe(write_recipe(single()), spheres)
    assert outcome.failed == []
    assert outcome.measurements[0].computed == ["bad pixels", "stripes", "geometry", "reconstruction", "noise"]
    result = study.read("result", "rod")
    assert result["attenuation"].dims == ("z", "y", "x")
    truth = Study.open(spheres / "study.zarr").read("truth", "spheres").isel(temperature=0, energy=26)
    deep_inside = truth["attenuation"].values > 0.99 * truth["attenuation"].values.max()
    found = result["attenuation"].values[deep_inside].mean()
    assert found == pytest.approx(truth["attenuation"].values.max(), rel=0.05)
    assert result["rotation_axis"].item() == pytest.approx(truth["rotation_axis"].item(), abs=0.2)
    np.testing.assert_allclose(result["z"], truth["z"])


def test_a_fixed_value_is_used_as_it_is_and_marked_as_stated(write_recipe: RecipeWriter, spheres: Path) -> None:
    choices = "fix = { rotation_axis = 19.5, projection_shift = 0.0, beam_intensity = 1.0 }"
    _, study = run_recipe(write_recipe(single(choices)), spheres)
    result = study.read("result", "rod")
    assert result["rotation_axis"].item() == 19.5
    assert result["rotation_axis_std"].item() == 0.0
    assert result["rotation_axis_std"].attrs["std_source"] == "stated"
    assert result["projection_shift"].dims == ()
    assert "angle" not in result.coords
    again, _ = run_recipe(write_recipe(single(choices.replace("19.5", "20.5"))), spheres)
    assert again.measurements[0].cached == ["bad pixels", "stripes"]
    assert study.read("result", "rod")["rotation_axis"].item() == 20.5


def test_line_integrals_in_a_tiff_sequence_become_the_same_volume(write_recipe: RecipeWriter, tmp_path: Path) -> None:
    """A disc of known attenuation: its line integrals are chords."""
    size, radius, value, pixel = 48, 14.0, 0.03, 0.5
    chord = 2 * np.sqrt(np.maximum(radius**2 - (np.arange(size) - 23.5) ** 2, 0.0)) * value * pixel
    image = np.tile(chord.astype(np.float32), (10, 1))
    (tmp_path / "pillar").mkdir()
    for number in range(60):
        tifffile.imwrite(tmp_path / "pillar" / f"p_{number}.tiff", image)
    choices = 'content = "optical depth"\nangle_range = [0, 177]\npixel_size = "500 nm"'
    text = single(choices, files="pillar/*.tiff", name="pillar")
    outcome, study = run_recipe(write_recipe(text), tmp_path)
    assert outcome.failed == []
    volume = study.read("result", "pillar")["attenuation"].values
    assert volume.shape == (10, size, size)
    y, x = np.indices((size, size)) - 23.5
    assert volume[:, np.hypot(x, y) < radius - 3].mean() == pytest.approx(value, rel=0.02)
    assert abs(volume[:, np.hypot(x, y) > radius + 3].mean()) < 0.02 * value


@pytest.mark.parametrize("choices", ['pixel_size = "1 um"', 'content = "optical depth"'])
def test_a_tiff_sequence_whose_meaning_is_not_stated(write_recipe: RecipeWriter, tmp_path: Path, choices: str) -> None:
    tifffile.imwrite(tmp_path / "p.tiff", np.zeros((3, 4, 5), np.float32), photometric="minisblack")
    outcome, _ = run_recipe(write_recipe(single(choices, files="p.tiff")), tmp_path)
    assert "does not say what its pages are" in str(outcome.failed[0].failure)


def test_rows_beyond_the_detector(write_recipe: RecipeWriter, spheres: Path) -> None:
    outcome, _ = run_recipe(write_recipe(single("rows = [10, 30]")), spheres)
    assert "rows asked for are not on the detector" in str(outcome.failed[0].failure)
    assert "rows = [10, 30]" in str(outcome.failed[0].failure)


def test_one_measurement_that_fails_does_not_stop_the_other(write_recipe: RecipeWriter, spheres: Path) -> None:
    bad = single("rows = [10, 30]", name="bad")
    outcome, study = run_recipe(write_recipe(bad + single("rows = [4, 12]", name="good")), spheres)
    assert [item.name for item in outcome.failed] == ["bad"]
    assert study.measurements("result") == ["good"]
    log = study.log()[-1]
    assert [item["failure"] is None for item in log["measurements"]] == [False, True]
    assert log["recipe"].startswith("[sample.bad]")
    assert log["packages"]["numpy"] == np.__version__


def test_a_scan_without_geometry_is_set_aside_after_it_was_opened(
    write_recipe: RecipeWriter, spheres: Path, tmp_path: Path
) -> None:
    """Projections without an object pass the look at the file; only the geometry shows that there is none."""
    folder = tmp_path / "raw" / "spheres_025C"
    folder.mkdir(parents=True)
    for number in (101, 103, 106):
        shutil.copy(spheres / "raw" / "spheres_025C" / f"fly_scan_id_100{number}.h5", folder)
    with h5py.File(folder / "fly_scan_id_100103.h5", "r+") as file:
        file["img_tomo"][...] = (1.05 * file["img_bkg"][0]).astype(np.uint16)  # brighter than the open beam
        file["angle"][...] = np.linspace(0.0, 30.0, 60)  # no two projections mirror each other
    choices = 'rows = [4, 12]\ntomography = { normalise_beam = false, reconstruct = "energies" }'
    recipe = write_recipe(scans=(0, 2, 5), choices=choices)
    outcome, study = run_recipe(recipe, tmp_path)
    (item,) = outcome.measurements
    assert [file for file, _ in item.set_aside] == ["fly_scan_id_100103.h5"]
    assert item.missing == ["no usable scan at temperature 25 degC, energy 8320 eV"]
    volume = study.read("result", "spheres")["attenuation"].values
    assert np.isnan(volume[0, 1]).all()
    assert np.isfinite(volume[0, [0, 2]]).all()
    again, _ = run_recipe(recipe, tmp_path)
    assert again.measurements[0].set_aside == item.set_aside
    assert again.measurements[0].missing == item.missing


def start_from(place: Path, names: str = "attenuation") -> str:
    return f"""
[sample.rod]
[measurement.rod]
sample = "rod"
technique = "xanes-tomography"
white_line = {{ audit = false }}
start = {{ {", ".join(f'{name} = "{place}"' for name in names.split())} }}
"""


def test_a_start_array_leads_to_the_same_result(write_recipe: RecipeWriter, undisturbed: Path, tmp_path: Path) -> None:
    names = "spectral_coefficient half_difference attenuation_std half_set_spread spectral_vector spectral_rank"
    outcome, study = run_recipe(write_recipe(start_from(undisturbed / "result" / "spheres", names)), tmp_path)
    assert outcome.failed == []
    maps = ["edge jump", "particle mask", "white line", "white-line statistics", "clusters"]
    assert outcome.measurements[0].computed == [*maps, "mean spectrum"]
    found, expected = study.read("result", "rod"), Study.open(undisturbed).read("result", "spheres")
    for name in found.data_vars:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=str(name))
    again, _ = run_recipe(write_recipe(start_from(undisturbed / "result" / "spheres", names)), tmp_path)
    assert again.measurements[0].computed == []


def test_a_volume_of_another_program_needs_no_uncertainty(
    write_recipe: RecipeWriter, spheres: Path, tmp_path: Path
) -> None:
    """The truth stands for it: it has no address and no sigma, and the white line found in it is nearly exact."""
    outcome, study = run_recipe(write_recipe(start_from(spheres / "study.zarr" / "truth" / "spheres")), tmp_path)
    assert outcome.failed == []
    result = study.read("result", "rod")
    truth = Study.open(spheres / "study.zarr").read("truth", "spheres")
    np.testing.assert_allclose(result["white_line_mean"], truth["white_line_mean"], atol=0.1)


def test_a_stack_with_references_gives_their_amounts(write_recipe: RecipeWriter, tmp_path: Path) -> None:
    """Two spectra, mixed linearly along x; the counts are exact, so the amounts are found again."""
    energies = np.linspace(700.0, 730.0, 31)
    spectra = np.stack([np.exp(-((energies - centre) ** 2) / 8.0) for centre in (708.0, 722.0)])
    amount = np.linspace(0.0, 1.0, 6)
    depth = amount[:, None] * spectra[0] + (1.0 - amount)[:, None] * spectra[1]  # [x, energy]
    write_stxm(tmp_path, energies, 1e6 * np.exp(-depth.T)[:, None, :].repeat(5, axis=1))
    for name, spectrum in zip("ab", spectra, strict=True):
        np.savetxt(tmp_path / f"{name}.txt", np.stack([energies, spectrum], axis=1))
    text = """
[sample.rod]
[measurement.map]
sample = "rod"
technique = "spectromicroscopy"
files = "scan.hdr"
mixture = { references = { oxidised = "a.txt", reduced = "b.txt" }, background = "none" }
"""
    outcome, study = run_recipe(write_recipe(text), tmp_path)
    assert outcome.failed == []
    result = study.read("result", "map")
    assert result["component"].attrs["names"] == ["oxidised", "reduced"]
    np.testing.assert_allclose(result["component_weight"][0], np.tile(amount, (5, 1)), atol=2e-3)
    assert result["singular_value"].attrs["count_above_noise"] == 2
    without = text.replace('references = { oxidised = "a.txt", reduced = "b.txt" }, ', "")
    again, _ = run_recipe(write_recipe(without), tmp_path)
    assert again.measurements[0].computed == []
    assert "component_weight" not in study.arrays("result", "map")


def write_stxm(folder: Path, energies: np.ndarray, images: np.ndarray) -> None:
    """A stack as the microscope writes it: header, one text image per energy, and the incident intensity."""

    def axis(name: str, unit: str, points: np.ndarray) -> str:
        numbers = ", ".join(f"{value:.4f}" for value in points)
        return f'{{ Name = "{name}"; Unit = "{unit}"; Dir = 1;\n\tPoints = ({len(points)}, {numbers});\n}};\n'

    rows, columns = images.shape[1:]
    region = (
        f"{{\n PAxis = {axis('Sample X', 'um', np.arange(columns))} QAxis = {axis('Sample Y', 'um', np.arange(rows))}}}"
    )
    (folder / "scan.hdr").write_text(
        'ScanDefinition = { Label = "scan.hdr"; Type = "NEXAFS Image Scan"; Flags = "Image Stack"; Dwell = 0.5;\n'
        f" Regions = (1,\n{region});\n\n StackAxis = {axis('Energy', 'eV', energies)}\n"
        ' Channels = (1,\n{ Name = "counter1"; Unit = "counts";});\n};\n'
    )
    for number, image in enumerate(images):
        np.savetxt(folder / f"scan_a{number:03d}.xim", image, delimiter="\t")
    np.savetxt(folder / "i0.xsp", np.stack([energies, np.full(energies.size, 1e6)], axis=1))
