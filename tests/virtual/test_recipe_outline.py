"""The recipe of a virtual study is a recipe, and names every file."""

from __future__ import annotations

from pathlib import Path

import pytest

from cathoscope.flow.recipe import Recipe, load_recipe
from cathoscope.virtual.recipe_outline import Simulated, recipe_text
from cathoscope.virtual.truth import Windows

WINDOWS = Windows(below=(8245.0, 8325.0), above=(8375.0, 8455.0))


def heated(sample: str, particle: int) -> Simulated:
    name = f"{sample}-{particle}"
    patterns = {t: f"raw/{name}_{t:03.0f}C/fly_scan_id_*.h5" for t in (25.0, 150.0)}
    return Simulated(name, sample, "Li0.3Ni0.82Mn0.06Co0.12O2", particle, "xanes-tomography", patterns, WINDOWS)


PRISTINE = Simulated("L-NMC-1", "L-NMC", "LiNi0.8Mn0.1Co0.1O2", 1, "tomography", "raw/L-NMC-1/*.h5")


def loaded(folder: Path, *measurements: Simulated) -> Recipe:
    path = folder / "study.toml"
    path.write_text(recipe_text("hou", 7, measurements), encoding="utf-8")
    return load_recipe(path)


def test_a_heating_series_loads_with_every_pattern_and_temperature(tmp_path: Path) -> None:
    measurements = [heated("rod", 1), heated("rod", 2), heated("gravel", 1)]
    model = loaded(tmp_path, *measurements).model
    assert list(model.measurement) == ["rod-1", "rod-2", "gravel-1"]
    for one in measurements:
        section = model.measurement[one.name]
        assert (section.sample, section.technique) == (one.sample, "xanes-tomography")
        assert not isinstance(one.patterns, str)
        assert {entry.temperature: entry.files for entry in section.series} == {
            temperature: [pattern] for temperature, pattern in one.patterns.items()
        }
        assert section.edge.pre_edge == WINDOWS.below
        assert section.edge.post_edge == WINDOWS.above


def test_a_sample_is_named_once_with_its_composition(tmp_path: Path) -> None:
    recipe = loaded(tmp_path, heated("rod", 1), heated("rod", 2), heated("gravel", 1))
    assert list(recipe.samples()) == ["rod", "gravel"]
    assert recipe.samples()["rod"].composition == "Li0.3Ni0.82Mn0.06Co0.12O2"


def test_a_name_with_a_dash_and_one_file_pattern_loads(tmp_path: Path) -> None:
    model = loaded(tmp_path, PRISTINE).model
    section = model.measurement["L-NMC-1"]
    assert (section.sample, section.technique) == ("L-NMC", "tomography")
    assert section.files == ["raw/L-NMC-1/*.h5"]
    assert not section.series


def test_the_text_says_how_the_study_was_made() -> None:
    text = recipe_text("hou", 7, [PRISTINE])
    assert "cathoscope simulate hou" in text.splitlines()[0]
    assert "seed 7" in text.splitlines()[0]
    assert 'title = "Virtual experiment: hou, seed 7"' in text


@pytest.mark.parametrize("measurements", [[PRISTINE], [heated("rod", 1), PRISTINE]])
def test_data_lie_beside_the_recipe(
    tmp_path: Path, measurements: list[Simulated], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CATHOSCOPE_DATA", raising=False)
    assert loaded(tmp_path, *measurements).data_folder == tmp_path.resolve()
