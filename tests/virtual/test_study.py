"""A study on disk is complete: raw files, truth and a recipe that finds them; what cannot be is refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import MappingProxyType, SimpleNamespace

import pytest

from cathoscope.core.errors import CathoscopeError, StudyError
from cathoscope.core.study import Study
from cathoscope.flow.recipe import Recipe, load_recipe
from cathoscope.virtual import study as study_module
from cathoscope.virtual.particle import ParticleDesign
from cathoscope.virtual.particle_presets import PARTICLE_PRESETS, ParticlePreset, Size
from cathoscope.virtual.particle_truth import AT_INSTRUMENT
from cathoscope.virtual.presets import PRESETS
from cathoscope.virtual.study import simulate_study

GRAVEL = ParticleDesign("gravel", diameter=3.0, core_radius=0.6)
PRISTINE = ParticleDesign("rod", diameter=3.0, aspect=2.5)
HEATED = ParticlePreset("heated", {"g-r": GRAVEL}, {"tiny": Size(24, 24, 8, energies=30, cells=20)}, 6.8, (25.0, 150.0))
SCANNED = ParticlePreset("scanned", {"L-NMC": PRISTINE}, {"tiny": Size(24, 24, 8)}, 6.0)


@pytest.fixture(autouse=True)
def _with_small_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    small = MappingProxyType({**PARTICLE_PRESETS, "heated": HEATED, "scanned": SCANNED})
    monkeypatch.setattr(study_module, "PARTICLE_PRESETS", small)
    monkeypatch.delenv("CATHOSCOPE_DATA", raising=False)


def files_of(recipe: Recipe) -> dict[str, list[Path]]:
    """Files that every pattern of a recipe finds."""
    found: dict[str, list[Path]] = {}
    for section in recipe.model.measurement.values():
        patterns = [pattern for entry in section.series for pattern in entry.files] + list(section.files or [])
        found |= {pattern: sorted(recipe.data_folder.glob(pattern)) for pattern in patterns}
    return found


def test_a_heated_study_has_a_recipe_that_finds_all_its_files(tmp_path: Path) -> None:
    path = simulate_study("heated", size="tiny", seed=2, folder=tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / "study.toml"
    recipe = load_recipe(path)
    found = files_of(recipe)
    assert [len(files) for pattern, files in found.items() if "fly_scan" in pattern] == [30, 30]
    everything = {file for file in (path.parent / "raw").rglob("*") if file.is_file()}
    assert {file for files in found.values() for file in files} == everything
    study = Study.open(path.parent / "study.zarr")
    assert "g-r-1" in recipe.model.measurement
    assert set(study.measurements("truth")) - {"at_instrument"} <= set(recipe.model.measurement)
    assert study.measurements(AT_INSTRUMENT) == ["g-r-1"]
    assert recipe.samples()["g-r"].composition == "Li0.3Ni0.8Mn0.1Co0.1O2"


def test_a_nano_ct_study_has_a_recipe_that_finds_its_file(tmp_path: Path) -> None:
    path = simulate_study("scanned", size="tiny", seed=2, folder=tmp_path, particles=2)
    recipe = load_recipe(path)
    assert list(recipe.model.measurement) == ["L-NMC-1", "L-NMC-2"]
    assert [len(files) for files in files_of(recipe).values()] == [1, 1]
    assert Study.open(tmp_path / "study.zarr").measurements(AT_INSTRUMENT) == ["L-NMC-1", "L-NMC-2"]


def test_spheres_are_a_study_too(spheres: Path) -> None:
    recipe = load_recipe(spheres / "study.toml")
    found = files_of(recipe)
    assert found
    assert all(len(files) == 30 for files in found.values())
    assert Study.open(spheres / "study.zarr").measurements("truth")


def test_nothing_is_left_half_done(tmp_path: Path) -> None:
    simulate_study("scanned", size="tiny", seed=2, folder=tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.suffix in {".part", ".partial"}]
    assert not any((tmp_path / "study.zarr" / "log").glob("work/*/*"))


# -- refused -------------------------------------------------------------------------------------


def test_an_unknown_preset_is_refused_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(CathoscopeError, match="unknown preset 'hoo'") as caught:
        simulate_study("hoo", size="small", seed=1, folder=tmp_path / "new")
    for name in (*PARTICLE_PRESETS, *PRESETS):
        assert name in str(caught.value.expected)
    assert caught.value.cure
    assert not (tmp_path / "new").exists()


def test_an_unknown_size_is_refused_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(CathoscopeError, match="unknown size 'huge'") as caught:
        simulate_study("hou", size="huge", seed=1, folder=tmp_path / "new")
    assert "small or medium or large" in str(caught.value.expected)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(("seed", "particles", "word"), [(-1, 1, "seed"), (1, 0, "number of particles")])
def test_impossible_numbers_are_refused(tmp_path: Path, seed: int, particles: int, word: str) -> None:
    with pytest.raises(CathoscopeError, match=word):
        simulate_study("hou", size="small", seed=seed, folder=tmp_path / "new", particles=particles)
    assert not (tmp_path / "new").exists()


def test_spheres_are_one_measurement(tmp_path: Path) -> None:
    with pytest.raises(CathoscopeError, match="all together"):
        simulate_study("spheres", size="tiny", seed=1, folder=tmp_path, particles=2)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_text("mine")
    with pytest.raises(StudyError, match="not a folder") as caught:
        simulate_study("scanned", size="tiny", seed=1, folder=place)
    assert "--output" in str(caught.value.cure)
    assert place.read_text() == "mine"


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "study.zarr").mkdir()
    (tmp_path / "study.zarr" / "thesis.txt").write_text("mine")
    with pytest.raises(StudyError, match="not a study"):
        simulate_study("scanned", size="tiny", seed=1, folder=tmp_path)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["thesis.txt"]


@pytest.mark.parametrize("preset", ["heated", "scanned"])
def test_a_study_without_room_leaves_neither_raw_files_nor_a_recipe(
    tmp_path: Path, preset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(total=1e12, used=0, free=10_000))
    with pytest.raises(CathoscopeError, match="do not fit on the disk") as caught:
        simulate_study(preset, size="tiny", seed=1, folder=tmp_path)
    assert "--size" in str(caught.value.cure)
    assert not (tmp_path / "raw").exists()
    assert not (tmp_path / "study.toml").exists()
    assert not (tmp_path / "study.zarr").exists()


def test_a_study_that_another_run_holds_is_left_alone(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study.zarr")
    (study.path / "log" / "work").mkdir()
    with study.locked(), pytest.raises(StudyError):
        simulate_study("heated", size="tiny", seed=1, folder=tmp_path)
    assert (study.path / "log" / "work").is_dir()
