from __future__ import annotations

from pathlib import Path

import pytest

from cathoscope.core.errors import CathoscopeError
from cathoscope.virtual.own_preset import load_preset
from cathoscope.virtual.particle_presets import PARTICLE_PRESETS


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mine.toml"


def test_a_file_that_changes_nothing_is_the_preset(file: Path) -> None:
    file.write_text('preset = "cadiou"\n', encoding="utf-8")
    assert load_preset(file) == PARTICLE_PRESETS["cadiou"]


def test_only_what_is_stated_changes(file: Path) -> None:
    file.write_text(
        """\
preset = "hou"
temperatures = [25, 180]
field_of_view = 12.5
[rod]
diameter = 8
core_composition = { Ni = 0.9, Mn = 0.05, Co = 0.05 }
[optics]
drift = 0.0
magnification_reported = false
[detector]
photons = 5000
flats = 20
[law]
line_of_spinel = 1.5
[law.spinel]
boundary = 1e-4
[mechanics]
filling = 0.5
[experiment]
hold = 30
""",
        encoding="utf-8",
    )
    mine, hou = load_preset(file), PARTICLE_PRESETS["hou"]
    assert (mine.temperatures, mine.field_of_view) == ((25.0, 180.0), 12.5)
    assert mine.samples["gravel"] == hou.samples["gravel"]
    rod = mine.samples["rod"]
    assert (rod.diameter, rod.core_composition["Ni"], rod.aspect) == (8.0, 0.9, hou.samples["rod"].aspect)
    assert (mine.experiment.optics.drift, mine.experiment.optics.magnification_reported) == (0.0, False)
    assert (mine.experiment.options.photons, mine.experiment.options.flats) == (5000.0, 20)
    law = mine.experiment.law
    assert (law.line_of_spinel, law.spinel.boundary, law.spinel.surface) == (
        1.5,
        1e-4,
        hou.experiment.law.spinel.surface,
    )
    assert (mine.experiment.mechanics.filling, mine.experiment.hold, mine.experiment.rate) == (0.5, 30.0, 10.0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('preset = "huo"', "hou or rod"),
        ("[rod]\ndiameter = 8", "hou or rod"),
        ('preset = "hou"\n[rod]\ndiametre = 8', "did you mean diameter?"),
        ('preset = "hou"\n[L-NMC]\ndiameter = 8', "unknown key 'L-NMC'"),
        ('preset = "hou"\n[rod]\nporosity = 1.2', "0 to 0.5"),
        ('preset = "hou"\n[rod]\ndiameter = -1', "0.1 to 1000"),
        ('preset = "hou"\n[rod]\ndiameter = "8 um"', "a value like 9.0"),
        ('preset = "hou"\n[rod]\ndiameter = true', "a value like 9.0"),
        ('preset = "hou"\nrod = 3', "must be a table"),
        ('preset = "hou"\n[law.spinel]\nspeed = 3', "unknown key 'speed' in [law.spinel]"),
        ('preset = "hou"\n[detector]\nflats = 2.5', "a value like 10"),
        ('preset = "hou"\n[optics]\nresolution = -1', "0 or more"),
        ('preset = "hou"\n[experiment]\nscans = 2', "0 to 1"),
        ('preset = "hou"\n[experiment]\nlaw = 2', "unknown key 'law' in [experiment]"),
        ('preset = "hou', "this is not TOML"),
        ('preset = "hou"\ntemperatures = []', "one or more"),
        ('preset = "cadiou"\ntemperatures = [25, 150]', "leave temperatures out"),
        ('preset = "hou"\n[law.spinel]\ndiffusivity = -1', "above 0"),
        ('preset = "hou"\n[law.lithium]\nsurface = nan', "0 or more"),
        ('preset = "hou"\n[law.spinel_transition]\nwidth = 0', "above 0"),
        ('preset = "hou"\n[law]\nslow_ratio = 0', "0 to 1"),
        ('preset = "hou"\n[law]\nfrozen_share = 1.2', "0 to 1"),
        ('preset = "hou"\n[mechanics]\nfilling = 2', "0 to 1"),
        ('preset = "hou"\n[experiment]\nmoved = -1', "0 or more"),
    ],
)
def test_mistakes_say_what_to_type(file: Path, text: str, expected: str) -> None:
    file.write_text(text, encoding="utf-8")
    with pytest.raises(CathoscopeError) as caught:
        load_preset(file)
    assert expected in str(caught.value)
    assert str(file) in str(caught.value)


def test_a_file_that_is_not_there(file: Path) -> None:
    with pytest.raises(CathoscopeError, match="cannot be read"):
        load_preset(file)
