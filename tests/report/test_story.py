"""The summary and the methods in words: made from numbers, in whole sentences, honest about what they hold for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from cathoscope.core.schema import dataset, label
from cathoscope.core.study import Study
from cathoscope.flow.sections import MeasurementSection
from cathoscope.report.comparisons import Compared, amount, chance, conditions, grouped
from cathoscope.report.doubts import doubts_of
from cathoscope.report.method_words import CHOICES
from cathoscope.report.methods import methods_of
from cathoscope.report.relations import RelationPart
from cathoscope.report.story import _clauses, _of_relations, _reduced_earlier, _safer

_ONE = Compared(
    array="rapid_loss_onset",
    words="onset of rapid mass loss",
    place="5 K/min",
    unit="degC",
    samples=("rod", "gravel"),
    topic="heat",
    lower="loses mass rapidly at a lower temperature",
    higher="keeps its mass to a higher temperature",
    safer="higher",
    kind="powder",
    doubts=(),
    value=-13.31,
    ends=(-13.86, -12.77),
    corrected=1e-9,
    discovery=1e-9,
    counts=(1, 1),
    scope=2,
    verdict=2,
)
_LINE = replace(
    _ONE,
    array="white_line_mean",
    words="mean white line",
    place="150 °C",
    unit="eV",
    lower="is more reduced",
    higher="is less reduced",
    kind="particle",
    value=-1.04,
    ends=(-1.10, -0.97),
    corrected=2e-5,
    counts=(3, 3),
    scope=0,
    verdict=1,
)


def test_numbers_have_the_digits_of_their_interval() -> None:
    assert amount(_ONE) == "by 13.3 K at 5 K/min; 95 %: 12.8 to 13.9"
    assert amount(replace(_ONE, value=0.27, ends=(-0.5, 1.0))) == "by 0.3 K at 5 K/min; 95 %: −0.5 to 1.0"
    share = replace(_ONE, array="capacity_retention", unit="1", place="cycle 150", value=0.025, ends=(0.0194, 0.0306))
    assert amount(share) == "by 2.5 percentage points at cycle 150; 95 %: 1.9 to 3.1"
    assert chance(2e-5) == "0.002 %"
    assert chance(1e-20) == "less than 0.0001 %"


def test_conditions_say_what_they_share_once() -> None:
    assert conditions(["25 °C", "200 °C", "250 °C"]) == "25, 200 and 250 °C"
    assert conditions(["40 °C, 1C, cycle 100", "40 °C, 1C, cycle 150"]) == "40 °C, 1C, cycle 100 and 150"
    assert conditions(["", "5 K/min"]) == "5 K/min"
    assert conditions([f"{k} °C, layered" for k in range(9)]).endswith("3 °C, layered and 5 more")
    assert conditions([]) == ""
    places = ["25 °C, layered, a", "80 °C, layered", "148 °C, spinel"]
    assert conditions(places) == "25 °C, layered, a; 80 °C, layered and 148 °C, spinel"


def test_opposite_differences_of_one_quantity_are_told_apart() -> None:
    groups = grouped([_LINE, replace(_LINE, place="200 °C", value=0.5, ends=(0.4, 0.6))])
    assert [len(group) for group in groups] == [1, 1]


def test_which_sample_is_safer_says_how_sure() -> None:
    sure = _safer([_LINE])
    assert sure.startswith("gravel stands heat better than rod by the one quantity")
    assert "3 particles of each" in sure
    assert "0.002 %" in sure
    single = _safer([_ONE])
    assert "how much others of the same sample would differ is not known" in single
    divided = _safer([_LINE, replace(_ONE, value=13.31, ends=(12.77, 13.86))])
    assert divided.startswith("The probes do not agree")
    assert _safer([replace(_LINE, verdict=0)]).startswith("Neither")
    assert _safer([replace(_LINE, safer="")]) == ""


def test_a_difference_before_heating_says_nothing_of_safety() -> None:
    assert _safer([replace(_LINE, place="25 °C")]) == ""
    assert _reduced_earlier([replace(_LINE, place="25 °C")]) == ""


def test_what_is_reduced_earlier_is_so_at_the_lowest_temperature() -> None:
    rows = [replace(_LINE, place="200 °C", value=-0.5), _LINE, replace(_LINE, place="250 °C", verdict=0)]
    told = _reduced_earlier(rows)
    assert told.startswith("rod: its mean white line lies lower than that of gravel (by 1.04 eV at 150 °C")
    assert told.endswith("not distinguishable in mean white line (250 °C).")


def test_clauses_name_the_clearest_condition_and_count_the_rest() -> None:
    rows = [replace(_LINE, array=f"a{k}", words=f"quantity {k}", corrected=10.0**-k) for k in range(3, 10)]
    text = _clauses(rows)
    assert text.startswith("rod is more reduced (quantity 9 lower by 1.04 eV")
    assert text.endswith("2 more quantities differ.")


def test_what_is_not_to_be_trusted_comes_with_its_reason() -> None:
    unlevel = label("effect_unlevel", np.array([[True]]), ("record", "effect"))
    used = label("impedance_used", np.array([True, False]), ("cycle",))
    results = {"dsc": dataset([unlevel]), "cell": dataset([used]), "other": xr.Dataset()}
    doubts = doubts_of((), results, [_ONE, replace(_LINE, doubts=("20 % of the voxels are flagged",))])
    assert "the resistances of cell, because 1 of 2 spectra fail the Kramers-Kronig test" in doubts[0]
    assert "because heat still flows at a limit of the integral" in doubts[1]
    assert (
        doubts[2] == "onset of rapid mass loss as a difference of the samples, because one powder of each was measured"
    )
    assert doubts[3] == "the differences in mean white line (150 °C), because 20 % of the voxels are flagged"


@pytest.mark.parametrize("technique", CHOICES)
def test_choices_that_methods_tell_have_the_defaults_of_the_recipe(technique: str) -> None:
    section = MeasurementSection.model_construct()
    for key, default in CHOICES[technique].items():
        if key == "particle_cell.offset":
            continue  # a table that must be given
        found = section
        for part in key.split("."):
            found = getattr(found, part)
        assert found == default, key


def test_methods_are_told_from_the_recipe_with_numbered_references(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study.zarr")
    recipe = (
        '[sample.rod]\ncomposition = "LiNiO2"\nphases = ["layered", "spinel"]\ntreatment = "heated in argon"\n'
        '[measurement.rod]\nsample = "rod"\ntechnique = "mass-loss"\n[measurement.rod.mass_loss]\nblank = "b.txt"\n'
    )
    study.describe("raw", "rod", sample="rod", technique="mass-loss", files=[{"path": "a"}], format=["thermal"])
    study.append_log({"recipe": recipe, "cathoscope": "1", "python": "3", "packages": {"numpy": "2"}})
    methods = methods_of(study)
    samples, heating, programs = methods.paragraphs
    assert samples.text == "rod: LiNiO2; layered and spinel; heated in argon."
    assert heating.text.startswith("Rod: 1 file (thermal). The record of the empty crucible was taken off. Onsets")
    assert "tangents [1]" in heating.text
    assert programs.text.startswith("The analysis was made with cathoscope 1 on Python 3, with numpy 2 [3]")
    assert [one.source.split(" ")[0] for one in methods.references] == ["Plastics:", "Standard", "Nature"]
    assert methods_of(Study.create(tmp_path / "empty.zarr")).paragraphs == ()


def test_quantities_that_do_not_tell_the_samples_apart_are_named() -> None:
    alike = replace(_ONE, array="total_loss", words="loss of mass in all", verdict=0)
    told = _safer([replace(_ONE, doubts=("noise alone",)), alike])
    assert "in 1 of 2 quantities that bear on it, and rod in none (loss of mass in all: not distinguishable)" in told
    assert told.endswith("Doubts on onset of rapid mass loss are below.")


def test_large_resistances_are_in_megohms_and_no_zero_has_a_sign() -> None:
    large = replace(_ONE, unit="ohm", place="cycle 10", value=1.36e7, ends=(1.32e7, 1.40e7))
    assert amount(large) == "by 13.6 MΩ at cycle 10; 95 %: 13.2 to 14.0"
    small = replace(large, value=9.2, ends=(7.9, 10.5))
    assert amount(small) == "by 9.2 Ω at cycle 10; 95 %: 7.9 to 10.5"
    assert amount(replace(small, value=0.41, ends=(-0.001, 0.82))) == "by 0.4 Ω at cycle 10; 95 %: 0.0 to 0.8"


def test_the_head_of_the_page_takes_the_heads_of_relations() -> None:
    part = RelationPart("place", "Chemistry against place", ("a. ", "b."), (), (), (), ("rod.", "gravel."))
    assert [point.text for point in _of_relations([part])] == ["Rod. Gravel."]
