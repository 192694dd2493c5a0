"""What a person may get wrong with records of the lab: each has an answer that names file and key."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from cathoscope.core.errors import RecipeError
from cathoscope.core.parallel import Resources, Silent
from cathoscope.core.study import Study
from cathoscope.flow.raw import RawMeasurement
from cathoscope.flow.recipe import load_recipe
from cathoscope.flow.run import MeasurementOutcome, plan_measurement, run
from tests.flow.lab_records import (
    TEMPERATURE,
    balance_text,
    write_balance,
    write_calorimeter,
    write_contents,
    write_light,
)

Outcomes = Callable[[str, str], dict[str, MeasurementOutcome]]


@pytest.fixture
def outcomes(tmp_path: Path) -> Outcomes:
    """Run a measurement beside one without mistake, which goes on in any case."""
    write_contents(tmp_path)

    def of(technique: str, lines: str) -> dict[str, MeasurementOutcome]:
        text = '[sample.rod]\ncomposition = "Li0.1Ni0.8Mn0.1Co0.1O2"\n[sample.gravel]\n'
        text += f'[measurement.one]\nsample = "rod"\ntechnique = "{technique}"\n{lines}\n'
        text += '[measurement.sound]\nsample = "rod"\ntechnique = "elements"\nfiles = "icp.csv"\n'
        text += 'elements.specimens = "rod pristine"\n'
        (tmp_path / "study.toml").write_text(text)
        recipe = load_recipe(tmp_path / "study.toml")
        done = run(recipe, tmp_path / "study.zarr", resources=Resources(threads=1), progress=Silent())
        found = {one.name: one for one in done.measurements}
        assert found["sound"].failure is None
        return found

    return of


def refused(folder: Path, lines: str) -> str:
    (folder / "study.toml").write_text(f'[sample.rod]\n[measurement.one]\nsample = "rod"\n{lines}\n')
    with pytest.raises(RecipeError) as caught:
        plan_measurement(load_recipe(folder / "study.toml"), "one")
    return str(caught.value)


def test_a_blank_that_is_not_there(tmp_path: Path) -> None:
    write_balance(tmp_path)
    told = refused(tmp_path, 'technique = "mass-loss"\nfiles = "rod.txt"\nmass_loss.blank = "empty.txt"')
    assert "study.toml, line 6" in told
    assert "empty.txt" in told


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('technique = "mass-loss"\nfiles = "a"\nmass_loss.baseline = ["190 C", "150 C"]', "first must be below"),
        ('technique = "mass-loss"\nfiles = "a"\nmass_loss.dry = "120 nm"', "unknown unit of temperature"),
        ('technique = "mass-loss"\nfiles = "a"\ncalorimetry.mass = "4 mg"', 'belongs to technique = "calorimetry"'),
        ('technique = "calorimetry"\nfiles = "a"\ncalorimetry.mass = 4', "a mass needs a number and a unit"),
    ],
)
def test_keys_that_make_no_sense(tmp_path: Path, lines: str, words: str) -> None:
    assert words in refused(tmp_path, lines)


def opened(folder: Path, lines: str) -> RawMeasurement:
    """A measurement whose files are opened, and nothing is computed."""
    (folder / "study.toml").write_text(f'[sample.rod]\n[measurement.one]\nsample = "rod"\n{lines}\n')
    return plan_measurement(load_recipe(folder / "study.toml"), "one").raw


def test_time_that_runs_back_is_two_samples_in_one_file(tmp_path: Path) -> None:
    write_balance(tmp_path)
    head, body = (tmp_path / "rod.txt").read_text("utf-16").split("StartOfData\n")
    (tmp_path / "two.txt").write_text(f"{head}StartOfData\n{body}{body}", "utf-16")
    raw = opened(tmp_path, 'technique = "mass-loss"\nfiles = ["two.txt", "rod.txt"]')
    assert raw.coords["record"].values.tolist() == [2]  # the number of a record is that of its file
    (aside,) = raw.set_aside
    assert aside.file == "two.txt"
    assert "time runs back" in aside.reason
    assert "write each into a file of its own" in aside.reason
    assert f"at row {TEMPERATURE.size + 1} of {2 * TEMPERATURE.size}" in aside.reason


def test_single_points_at_which_time_runs_back_are_left_out(tmp_path: Path) -> None:
    write_balance(tmp_path)
    lines = (tmp_path / "rod.txt").read_text("utf-16").splitlines()
    lines[100], lines[101] = lines[101], lines[100]
    (tmp_path / "rod.txt").write_text("\n".join(lines), "utf-16")
    raw = opened(tmp_path, 'technique = "mass-loss"\nfiles = "rod.txt"')
    assert raw.first.sizes["point"] == TEMPERATURE.size - 1
    assert f"rod.txt: 1 of {TEMPERATURE.size} points at which time runs back are left out" in raw.remarks


def test_a_cut_record_is_set_aside(tmp_path: Path) -> None:
    write_balance(tmp_path)
    text = (tmp_path / "rod.txt").read_text("utf-16")
    (tmp_path / "cut.txt").write_text(text[: len(text) // 60], "utf-16")
    raw = opened(tmp_path, 'technique = "mass-loss"\nfiles = ["rod.txt", "cut.txt"]')
    assert [one.file for one in raw.set_aside] == ["cut.txt"]
    assert len(raw.scans) == 1


def test_mixed_units_are_those_of_the_columns(tmp_path: Path) -> None:
    write_balance(tmp_path)
    rows = zip((TEMPERATURE - 25) / 5, TEMPERATURE + 273.15, 0.012 - 1e-9 * TEMPERATURE, strict=True)
    table = "\n".join(["time (min),temperature (K),mass (g)", *(f"{a},{b},{c}" for a, b, c in rows)])
    (tmp_path / "kelvin.csv").write_text(table)
    raw = opened(tmp_path, 'technique = "mass-loss"\nfiles = ["rod.txt", "kelvin.csv"]')
    for scan in raw.scans.values():
        assert float(scan["sample_temperature"][0]) == pytest.approx(25.0, abs=1e-3)
        assert float(scan["sample_mass"][0]) == pytest.approx(12.0, abs=0.02)


def test_a_blank_that_is_too_short(tmp_path: Path, outcomes: Outcomes) -> None:
    write_balance(tmp_path)
    lines = (tmp_path / "blank.txt").read_text("utf-16").splitlines()
    (tmp_path / "blank.txt").write_text("\n".join(lines[:300]), "utf-16")
    failure = outcomes("mass-loss", 'files = "rod.txt"\nmass_loss.blank = "blank.txt"')["one"].failure
    assert failure is not None
    assert "mass_loss.blank: the blank does not span the record" in failure
    assert "rod.txt" in failure


def test_files_of_another_instrument(tmp_path: Path, outcomes: Outcomes) -> None:
    write_balance(tmp_path)
    write_light(tmp_path)
    failure = outcomes("calorimetry", 'files = "rod.txt"')["one"].failure
    assert failure is not None
    assert "no record of a calorimeter" in failure
    failure = outcomes("mass-loss", 'files = "rod.txt"\nmass_loss.blank = "rod-uv.txt"')["one"].failure
    assert failure is not None
    assert "mass_loss.blank: the file holds no record of a balance" in failure


def test_what_is_saturated_is_told(tmp_path: Path, outcomes: Outcomes) -> None:
    write_light(tmp_path, height=3.1)
    outcomes("uv-vis", 'files = "rod-uv.txt"\nuv_vis.blank = "solvent-uv.txt"')
    study = Study.open(tmp_path / "study.zarr")
    assert study.read("result", "one")["band_saturated"].values[0] == 1.0
    assert "100% of the band is above an absorbance of 2.5" in " ".join(study.attributes("raw", "one")["remarks"])


def test_a_table_of_two_samples_asks_which_rows(tmp_path: Path, outcomes: Outcomes) -> None:
    failure = outcomes("elements", 'files = "icp.csv"')["one"].failure
    assert failure is not None
    assert "it holds gravel pristine of another sample" in failure
    assert "elements.specimens = ['rod solution', 'rod pristine', 'rod charged']" in failure
    told = refused(tmp_path, 'technique = "elements"\nfiles = "icp.csv"\nelements.specimens = "rods"')
    assert "no specimen is called 'rods'" in told


def test_a_record_without_a_step_says_so(tmp_path: Path, outcomes: Outcomes) -> None:
    (tmp_path / "flat.txt").write_text(balance_text(12.0 + 0 * TEMPERATURE, seed=3, lift=0 * TEMPERATURE), "utf-16")
    assert outcomes("mass-loss", 'files = "flat.txt"')["one"].failure is None
    remarks = Study.open(tmp_path / "study.zarr").attributes("raw", "one")["remarks"]
    assert any("no step of mass loss stands out" in one for one in remarks)
    assert any("no blank is taken off" in one for one in remarks)


def test_a_mass_that_nobody_typed_is_asked_for(tmp_path: Path, outcomes: Outcomes) -> None:
    write_calorimeter(tmp_path, (5.0,))
    text = (tmp_path / "dsc_5.txt").read_text("cp1252")
    for mass in ("0", "-"):
        (tmp_path / "dsc_5.txt").write_text(re.sub(r"(?m)^(Size\s+)\S+", rf"\g<1>{mass}", text), "cp1252")
        lines = 'files = "dsc_5.txt"\ncalorimetry.effects = { all = ["60 C", "270 C"] }'
        failure = outcomes("calorimetry", lines)["one"].failure
        assert failure is not None
        assert 'neither in the file nor in the recipe; add calorimetry.mass = "4 mg"' in " ".join(failure.split())
