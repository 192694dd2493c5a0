"""Mistakes of recipes and files of bulk spectra and of frames: each is named, with what to type instead."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from cathoscope.core.errors import RecipeError
from cathoscope.core.parallel import Resources, Silent
from cathoscope.core.study import Study
from cathoscope.flow.check import check_recipe
from cathoscope.flow.recipe import load_recipe
from cathoscope.flow.run import MeasurementOutcome, run
from cathoscope.virtual.bulk import bulk_energies, foil_spectrum, oxide_spectrum

RecipeWriter = Callable[..., Path]

ENERGY = bulk_energies(edge_energy=8344.0)
OXIDE = oxide_spectrum().absorption(ENERGY) + np.random.default_rng(1).normal(0.0, 2e-4, ENERGY.size)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two spectra in columns, four in JSON, a library and a foil."""
    for name, shift in (("NiO", 0.0), ("LiNiO2", 1.8)):
        write_table(tmp_path / f"{name}.txt", ENERGY + shift, mu=OXIDE)
    write_table(
        tmp_path / "library.txt", ENERGY, reduced=OXIDE, oxidised=oxide_spectrum(edge_shift=1.8).absorption(ENERGY)
    )
    content = {
        "hw": ENERGY.tolist(),
        "intensity": {str(number): OXIDE.tolist() for number in range(4)},
        "voltage": dict(zip("0123", [3.0, 3.0, 4.3, 4.3], strict=True)),
    }
    (tmp_path / "cells.json").write_text(json.dumps(content))
    return tmp_path


def write_table(path: Path, energy: np.ndarray, **columns: np.ndarray) -> None:
    table = np.stack([energy, *columns.values()], axis=1)
    np.savetxt(path, table, header=" ".join(("energy", *columns)), comments="")


def recipe_text(files: str = '"*NiO*.txt"', choices: str = "", technique: str = "xas") -> str:
    return f"""\
[sample.rod]
[measurement.rod]
sample = "rod"
technique = "{technique}"
files = {files}
{choices}
"""


@pytest.fixture
def outcome_of(write_recipe: RecipeWriter, folder: Path) -> Callable[..., MeasurementOutcome]:
    def outcome(*parts: str, technique: str = "xas") -> MeasurementOutcome:
        recipe = load_recipe(write_recipe(recipe_text(*parts, technique=technique)), data=folder)
        return run(recipe, folder / "study.zarr", resources=Resources(), progress=Silent()).measurements[0]

    return outcome


Outcomes = Callable[..., MeasurementOutcome]


def refused(write_recipe: RecipeWriter, folder: Path, *parts: str) -> RecipeError:
    """The error of the recipe, found on reading it or on opening its files."""
    with pytest.raises(RecipeError) as caught:
        check_recipe(load_recipe(write_recipe(recipe_text(*parts)), data=folder))
    return caught.value


def test_a_recipe_without_mistake_is_checked_and_run(
    write_recipe: RecipeWriter, folder: Path, outcome_of: Outcomes
) -> None:
    (finding,) = check_recipe(load_recipe(write_recipe(recipe_text()), data=folder))
    assert not finding.unusable
    assert finding.problems == ()
    assert finding.images == f"2 spectrum x {ENERGY.size} point"
    assert outcome_of().failure is None


# -- choices that the recipe alone shows to be wrong -------------------------------------------------


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ("xas.valance = { NiO = 2.0 }", ["unknown key 'valance'", "did you mean valence?"]),
        ('xas.edge = "halfheight"', ["xas.edge", "'half height'", "halfheight"]),
        ('xas = { against = { voltage = "3.0" } }', ["against may only name labels of group_by"]),
        (
            'xas = { foil = "NiO.txt", calibration = "none" }',
            ['a foil measured apart contradicts calibration = "none"'],
        ),
        (
            'xas = { foil = "NiO.txt", calibration = "self" }',
            ['a foil measured apart contradicts calibration = "self"'],
        ),
        ('combination.library = "library.txt"', ["library and components belong together"]),
        ('combination.components = ["reduced"]', ["library and components belong together"]),
        ('combination.window = ["8400 eV", "8300 eV"]', ["the first must be below the second"]),
        ('imaging.background = "flat"', ["imaging.background", "'surface'", "flat"]),
    ],
)
def test_choices_that_make_no_sense(write_recipe: RecipeWriter, folder: Path, choices: str, words: list[str]) -> None:
    error = refused(write_recipe, folder, '"NiO.txt"', choices)
    assert "study.toml, line 6" in str(error)
    for word in words:
        assert word in str(error)


@pytest.mark.parametrize(
    "choices", ['xas.foil = "foil.txt"', 'combination = { library = "foil.txt", components = ["a"] }']
)
def test_reference_files_that_are_not_there(write_recipe: RecipeWriter, folder: Path, choices: str) -> None:
    error = refused(write_recipe, folder, '"NiO.txt"', choices)
    assert "no such file" in str(error)
    assert "foil.txt" in str(error)
    assert "NiO.txt" in str(error)  # what there is instead


def test_energies_stated_twice(write_recipe: RecipeWriter, folder: Path) -> None:
    choices = (
        f'columns = {{ energy = "hw", even_energy = ["8300 eV", "1 eV", {ENERGY.size}], absorption = "intensity" }}'
    )
    assert "the energies are stated twice" in str(refused(write_recipe, folder, '"cells.json"', choices))


# -- choices that the files contradict ---------------------------------------------------------------


def test_a_standard_that_no_spectrum_is_called(outcome_of: Outcomes) -> None:
    failure = str(outcome_of('"*NiO*.txt"', "xas.valence = { NiO = 2.0, LiNiO = 3.0 }").failure)
    assert failure.splitlines() == [
        "no spectrum is called 'LiNiO'",
        "  expected: LiNiO2 or NiO",
        "  found:    LiNiO",
        "  cure:     correct the name in  xas.valence",
    ]


def test_one_standard_makes_no_line(outcome_of: Outcomes) -> None:
    failure = str(outcome_of('"*NiO*.txt"', "xas.valence = { NiO = 2.0 }").failure)
    assert "standards" in failure
    assert "found:    1" in failure


CELLS = 'columns = { energy = "hw", absorption = "intensity", labels = ["voltage"] }'


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        (
            f'{CELLS}\nxas.group_by = ["cycle"]',
            ["no spectrum has a label 'cycle'", "expected: voltage", "correct xas.group_by"],
        ),
        (
            f'{CELLS}\nxas = {{ group_by = ["voltage"], against = {{ voltage = "2.5" }} }}',
            ["no group has the labels of the reference", "labels such as 3.0; 4.3", "voltage = 2.5", "against"],
        ),
        (CELLS.replace("voltage", "volt"), ["there is no key 'volt'", "keys hw, intensity, voltage"]),
        (CELLS.replace('"hw"', '"energy"'), ["there is no key 'energy'"]),
        ('columns = { absorption = "intensity" }', ["the recipe does not say what is the energy"]),
        (
            'columns = { even_energy = ["8300 eV", "1 eV", 100], absorption = "intensity" }',
            ["the stated energies do not belong to this spectrum", "100"],
        ),
        ("", ["JSON, of which a recipe must state the keys"]),
    ],
)
def test_labels_and_keys_of_json(outcome_of: Outcomes, choices: str, words: list[str]) -> None:
    failure = str(outcome_of('"cells.json"', choices).failure)
    for word in words:
        assert word in failure


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ('energy = "hv"', ["the file has no such column", "hv"]),
        ('absorption = "7"', ["the file has no such column", "7"]),
        ('transmitted = "mu"', ["the intensity before the sample is not known"]),
        ('labels = ["voltage"]', ["labels are stated for a file that has no keys"]),
    ],
)
def test_columns_that_the_file_does_not_have(outcome_of: Outcomes, columns: str, words: list[str]) -> None:
    failure = str(outcome_of('"NiO.txt"', f"columns = {{ {columns} }}").failure)
    assert "NiO.txt: " in failure
    for word in words:
        assert word in failure


def test_a_component_that_the_library_does_not_have(outcome_of: Outcomes) -> None:
    choices = 'combination = { library = "library.txt", components = ["reduced", "Oxidised"] }'
    failure = str(outcome_of('"NiO.txt"', choices).failure)
    assert "library.txt: the library has no spectrum 'Oxidised'" in failure
    assert "reduced or oxidised" in failure


def test_a_library_and_a_foil_that_hold_no_spectra(outcome_of: Outcomes, folder: Path) -> None:
    tifffile.imwrite(folder / "image.tiff", np.zeros((3, 4, 5), np.float32), photometric="minisblack")
    library = 'combination = { library = "image.tiff", components = ["reduced"] }'
    assert "the library holds no spectra" in str(outcome_of('"NiO.txt"', library).failure)
    assert "the foil is no bulk spectrum" in str(outcome_of('"NiO.txt"', 'xas.foil = "image.tiff"').failure)


def test_a_foil_of_an_unknown_element(outcome_of: Outcomes, folder: Path) -> None:
    """Its energies hold no tabulated K edge, and neither file nor recipe names the element."""
    shifted = ENERGY + 4000.0
    write_table(folder / "foil.txt", shifted, mu=foil_spectrum().absorption(ENERGY))
    failure = str(outcome_of('"NiO.txt"', 'xas.foil = "foil.txt"').failure)
    assert "the absorbing element is not known" in failure
    assert "no K edge between" in failure
    assert 'xas.element = "Ni"' in failure
    unknown = str(outcome_of('"NiO.txt"', 'xas = { foil = "foil.txt", element = "Pb" }').failure)
    assert "no foil energy is tabulated" in unknown


def test_a_spectrum_of_an_unknown_element_is_used_as_recorded(outcome_of: Outcomes, folder: Path) -> None:
    write_table(folder / "far.txt", ENERGY + 4000.0, mu=OXIDE)
    outcome = outcome_of('"far.txt"', 'xas.calibration = "self"')
    assert outcome.failure is None
    remarks = Study.open(folder / "study.zarr").attributes("raw", "rod")["remarks"]
    assert "far: not calibrated: the absorbing element is not known" in remarks


# -- files of another technique ----------------------------------------------------------------------


def test_an_image_among_the_spectra_is_set_aside(outcome_of: Outcomes, folder: Path) -> None:
    tifffile.imwrite(folder / "NiO_image.txt", np.zeros((3, 4, 5), np.float32), photometric="minisblack")
    outcome = outcome_of('"NiO*.txt"')
    assert outcome.failure is None
    assert outcome.set_aside == [("NiO_image.txt", "the file holds no bulk spectra (tiff)")]


def test_spectra_among_the_frames_leave_nothing(outcome_of: Outcomes) -> None:
    outcome = outcome_of('"*NiO*.txt"', 'pixel_size = "50 nm"', technique="xanes-imaging")
    failure = str(outcome.failure)
    assert "no energy has frames with and without the sample" in failure
    assert "LiNiO2.txt: it is no image of a full-field microscope" in failure
