"""Studies of several parts: each part is its preset with what is different, and their recipes are one."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from cathoscope.core.errors import CathoscopeError
from cathoscope.flow.recipe import load_recipe
from cathoscope.virtual.cycling_study import CYCLING_PRESETS
from cathoscope.virtual.families import FAMILIES
from cathoscope.virtual.particle_presets import PARTICLE_PRESETS, ParticlePreset
from cathoscope.virtual.parts import Part, Whole, load_parts, merged_recipe

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
PRESETS = {**PARTICLE_PRESETS, **{name: preset for family in FAMILIES for name, preset in family.presets.items()}}

HEATED = """\
# Written by: cathoscope simulate hou; seed 7.

[study]
title = "one"

[sample.rod]
composition = "Li0.3Ni0.82Mn0.06Co0.12O2"
particle = "virtual"

[measurement.rod-1]
sample = "rod"
technique = "tomography"
files = "raw/rod-1/*.h5"
"""
CELLS = """\
[study]
title = "another"

[sample.rod]
composition = "LiNi0.82Mn0.06Co0.12O2"
particle = "virtual"

# [measurement.rod-9]  # a remark
# sample = "rod"

[measurement.rod-25C]
sample = "rod"
technique = "cycling"
files = "raw/rod-25C/*.csv"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mine.toml"


@pytest.mark.parametrize("name", sorted(path.name for path in RECIPES.glob("*.toml")))
def test_the_kept_recipes_name_presets_and_sizes_that_are(name: str) -> None:
    whole = load_parts(RECIPES / name)
    assert whole is not None
    for part in whole.parts:
        preset = part.changed(PRESETS[part.preset])
        for size in [part.size] if part.size else ["small", "medium"]:
            assert part.sampled(preset.sizes[size]) is not None


def test_a_part_changes_what_it_states_and_nothing_else(file: Path) -> None:
    file.write_text(
        """\
title = "both"
[[part]]
preset = "hou"
particles = 2
temperatures = [25, 150]
[part.rod]
diameter = 8.0
[part.sampling]
energies = 40
[[part]]
preset = "cadiou-cycling"
size = "medium"
cycles = 20
stacks = [0, 10]
[part.sampling]
stack_slices = 5
""",
        encoding="utf-8",
    )
    whole = load_parts(file)
    assert whole is not None
    heated, cycled = whole.parts
    hou, cadiou = PARTICLE_PRESETS["hou"], CYCLING_PRESETS["cadiou-cycling"]
    mine = heated.changed(hou)
    assert isinstance(mine, ParticlePreset)
    assert (heated.particles, heated.size, mine.temperatures) == (2, None, (25.0, 150.0))
    assert (mine.samples["rod"].diameter, mine.samples["gravel"]) == (8.0, hou.samples["gravel"])
    assert heated.sampled(hou.sizes["small"]).energies == 40
    changed = cycled.changed(cadiou)
    assert (changed.cycles, changed.stacks, changed.samples) == (20, (0, 10), cadiou.samples)
    assert cycled.sampled(cadiou.sizes["medium"]).pixel == cadiou.sizes["medium"].pixel


def test_a_file_of_one_preset_has_no_parts(file: Path) -> None:
    file.write_text('preset = "hou"\n', encoding="utf-8")
    assert load_parts(file) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("part = 3", "[[part]]"),
        ("[[part]]\nsize = 'small'", 'preset = "hou"'),
        ("[[part]]\npreset = 'hou'\nparticles = 1.5", "a value like 1"),
        ("sizes = 3\n[[part]]\npreset = 'hou'", "unknown key 'sizes'"),
        ("[[part]]\npreset = 'hou'\n[analysis.cycling]\nformation = 1", "must be a table"),
    ],
)
def test_mistakes_say_what_to_type(file: Path, text: str, expected: str) -> None:
    file.write_text(text, encoding="utf-8")
    with pytest.raises(CathoscopeError) as caught:
        load_parts(file)
    assert expected in str(caught.value)
    assert str(file) in str(caught.value)


def test_what_a_preset_does_not_have_cannot_be_changed() -> None:
    preset = CYCLING_PRESETS["cadiou-cycling"]
    with pytest.raises(CathoscopeError, match="unknown key 'cycle'"):
        Part("cadiou-cycling", changes={"cycle": 3}).changed(preset)
    with pytest.raises(CathoscopeError, match="unknown key 'pixels'"):
        Part("cadiou-cycling", sampling={"pixels": 3}).sampled(preset.sizes["small"])


def test_recipes_of_parts_are_one_recipe(tmp_path: Path) -> None:
    whole = Whole("both", (), {"cycling": {"cycling": {"reference": 2, "mass": {"a b": "3 mg"}}}})
    path = tmp_path / "study.toml"
    text = merged_recipe(whole, "mine.toml", 7, [HEATED, CELLS])
    path.write_text(text, encoding="utf-8")
    model = load_recipe(path).model
    assert list(model.measurement) == ["rod-1", "rod-25C"]
    assert model.sample["rod"].composition == "Li0.3Ni0.82Mn0.06Co0.12O2"
    values = tomllib.loads(text)
    assert values["study"]["title"] == "both, seed 7"
    assert values["measurement"]["rod-25C"]["cycling"] == {"reference": 2, "mass": {"a b": "3 mg"}}
    assert "# [measurement.rod-9]" in text


def test_what_is_said_for_a_sample_replaces_what_is_said_for_all() -> None:
    tables = {"cycling": {"cycling": {"reference": 2}}, "cycling rod": {"cycling": {"reference": 3}}}
    text = merged_recipe(Whole("both", (), tables), "mine.toml", 7, [HEATED, CELLS])
    assert tomllib.loads(text)["measurement"]["rod-25C"]["cycling"] == {"reference": 3}
    tables["cycling gravel"] = tables.pop("cycling rod")
    text = merged_recipe(Whole("both", (), tables), "mine.toml", 7, [HEATED, CELLS])
    assert tomllib.loads(text)["measurement"]["rod-25C"]["cycling"] == {"reference": 2}


def test_parts_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(CathoscopeError, match="two parts have a measurement 'rod-1'"):
        merged_recipe(Whole("twice", ()), "mine.toml", 1, [HEATED, HEATED])
    other = CELLS.replace("Ni0.82Mn0.06", "Ni0.80Mn0.08")
    with pytest.raises(CathoscopeError, match="disagree about the sample 'rod'"):
        merged_recipe(Whole("other", ()), "mine.toml", 1, [HEATED, other])
