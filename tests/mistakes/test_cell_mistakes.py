"""What a person may get wrong with records of cells and spectra: each has an answer that names file and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from cathoscope.core.errors import RecipeError
from cathoscope.flow.beside import in_order
from cathoscope.flow.check import check_recipe
from cathoscope.flow.recipe import load_recipe
from cathoscope.flow.run import plan_measurement
from tests.flow.cell_records import cell_text, spectrum_text

SOUND = cell_text([1.0] * 3)
HEAD, ROWS = SOUND.splitlines()[0], SOUND.splitlines()[1:]


def told(folder: Path, lines: str, technique: str = "cycling") -> str:
    """All that a check says of a measurement, in one line."""
    text = f'[sample.rod]\n[measurement.one]\nsample = "rod"\ntechnique = "{technique}"\n{lines}\n'
    (folder / "study.toml").write_text(text)
    (found,) = check_recipe(load_recipe(folder / "study.toml"))
    return " ".join(" ".join((*found.problems, *found.remarks)).split())


def refused(folder: Path, lines: str, technique: str = "cycling") -> str:
    with pytest.raises(RecipeError) as caught:
        told(folder, lines, technique)
    return str(caught.value)


def columns(rows: list[str], *places: int) -> list[str]:
    return [",".join(row.split(",")[place] for place in places) for row in rows]


def record(folder: Path, name: str, rows: list[str]) -> None:
    (folder / name).write_text("\n".join([*rows, ""]))


BAD = {
    "two.csv": ([HEAD, *ROWS, *ROWS], "the time runs back", "a file of its own"),
    "back.csv": ([HEAD, *ROWS[:150], *ROWS[60:]], "the time runs back", "at line 152"),
    "one.csv": ([HEAD, ROWS[0]], "no rows", ""),
    "none.csv": (columns([HEAD, *ROWS], 0, 1), "no cell current", "cycling.columns = { time"),
    "names.csv": (["t,U,strom", *ROWS], "no reader recognises", "cycling.columns = { time"),
}


def test_records_that_cannot_be_used_are_set_aside_and_the_rest_goes_on(tmp_path: Path) -> None:
    for name, (rows, *_) in BAD.items():
        record(tmp_path, name, rows)
    (tmp_path / "sound.csv").write_text(SOUND)
    found = told(tmp_path, 'files = "*.csv"').split("set aside ")
    for name, (_, problem, cure) in BAD.items():
        (line,) = [one for one in found if one.startswith(name)]
        assert problem in line
        assert cure in line


def test_records_that_need_a_word_are_read_with_a_remark(tmp_path: Path) -> None:
    turned = [HEAD, *(f"{a},{b},{-float(c)}" for a, b, c in (row.split(",") for row in ROWS))]
    record(tmp_path, "swapped.csv", turned)
    assert "charge and discharge may be swapped" in told(tmp_path, 'files = "swapped.csv"')
    record(tmp_path, "comma.csv", [row.replace(",", ";").replace(".", ",") for row in (HEAD, *ROWS)])
    assert "decimal comma" in told(tmp_path, 'files = "comma.csv"')
    (tmp_path / "cut.csv").write_text(SOUND[:-12])
    assert "may have been cut" in told(tmp_path, 'files = "cut.csv"')
    record(tmp_path, "names.csv", BAD["names.csv"][0])
    stated = 'files = "names.csv"\ncycling.columns = { time = "t", voltage = "U", current = "strom" }'
    assert "set aside" not in told(tmp_path, stated)


def test_spectra_that_are_none(tmp_path: Path) -> None:
    rows = spectrum_text(5e6, seed=1).splitlines()
    record(tmp_path, "one.csv", rows[:2])
    record(tmp_path, "below.csv", [rows[0], *(f"-{row}" for row in rows[1:])])
    record(tmp_path, "sound.csv", rows)
    found = told(tmp_path, 'files = "*.csv"', "impedance")
    assert "one.csv: too few points for an impedance spectrum (1 frequencies" in found
    assert "below.csv: no point of the spectrum is at a frequency above zero" in found


@pytest.mark.parametrize(
    ("technique", "lines", "words"),
    [
        ("cycling", 'files = "sound.csv"\ncycling.mass = "5 nm"', "unknown unit of mass"),
        ("cycling", 'files = "sound.csv"\ncycling.mass = { sund = "5 mg" }', "no file is called 'sund'"),
        ("cycling", 'files = "sound.csv"\ncycling.against = "gravel"', "cycling.against names no other measurement"),
        ("cycling", 'files = "sound.csv"\ncycling.refrence = 2', "did you mean reference?"),
        ("cycling", 'files = "sound.csv"\nimpedance.circuit = "R"', 'belongs to technique = "impedance"'),
        ("particle-cell", 'files = "sound.csv"', 'particle_cell.diameter = "8.5 um"'),
        ("particle-cell", 'particle_cell = { diameter = "8 um" }', "the composition of the particle is not known"),
        ("particle-cell", 'particle_cell = { diameter = "8 um", composition = "sand" }', "particle_cell.composition"),
        ("impedance", 'files = "z.csv"\nimpedance.circuit = "R0-p(R1,,CPE1)"', "character 9"),
        ("impedance", 'files = "z.csv"\nimpedance.fixed = { R7 = 1.0 }', "has no parameter R7"),
        ("impedance", 'files = "z.csv"\nimpedance.cycles = [1, 2]', "cycles are not as many as spectra"),
        ("impedance", 'files = "z.csv"\nimpedance.arc.layer = "C1"', "impedance.arc"),
    ],
)
def test_keys_that_make_no_sense_are_refused_at_their_line(
    tmp_path: Path, technique: str, lines: str, words: str
) -> None:
    (tmp_path / "sound.csv").write_text(SOUND)
    (tmp_path / "z.csv").write_text(spectrum_text(5e6, seed=1))
    answer = refused(tmp_path, lines, technique)
    assert words in answer
    assert "study.toml, line" in answer


def test_two_samples_that_are_held_against_each_other_are_refused(tmp_path: Path) -> None:
    pairs = (("rod", "gravel"), ("gravel", "rod"))
    parts = [
        f'[measurement.{own}]\nsample = "any"\ntechnique = "cycling"\nfiles = "*.csv"\ncycling.against = "{other}"\n'
        for own, other in pairs
    ]
    (tmp_path / "study.toml").write_text("\n".join(["[sample.any]", *parts]))
    with pytest.raises(RecipeError, match=r"rod uses gravel in turn") as caught:
        in_order(load_recipe(tmp_path / "study.toml"))
    assert "study.toml, line" in str(caught.value)
    (tmp_path / "study.toml").write_text("\n".join(["[sample.any]", *parts]).replace('cycling.against = "rod"', ""))
    assert in_order(load_recipe(tmp_path / "study.toml")) == ["gravel", "rod"]


@pytest.mark.parametrize(
    ("technique", "lines", "words"),
    [
        ("cycling", 'files = "sound.csv"\ncycling.mass = 5', 'a text with its unit, such as "5 mg"'),
        ("impedance", 'files = "z.csv"\nimpedance.range = [0.1, 1e5]', 'for example "10 kHz"'),
        ("eis", 'files = "z.csv"', "did you mean impedance?"),
        ("DSC", 'files = "z.csv"', "did you mean calorimetry?"),
        ("cyclng", 'files = "z.csv"', "did you mean cycling?"),
    ],
)
def test_what_to_type_is_said(tmp_path: Path, technique: str, lines: str, words: str) -> None:
    (tmp_path / "sound.csv").write_text(SOUND)
    (tmp_path / "z.csv").write_text(spectrum_text(5e6, seed=1))
    assert words in refused(tmp_path, lines, technique)


def test_cycles_count_spectra_that_are_set_aside(tmp_path: Path) -> None:
    """The cycle of a spectrum does not change because the one before it cannot be read."""
    rows = spectrum_text(5e6, seed=1).splitlines()
    for name, some in {"a": rows[:2], "b": rows, "c": ["no", "spectrum"], "d": rows}.items():
        record(tmp_path, f"{name}.csv", some)
    for stated, kept in (("[1, 5, 8, 10]", [5.0, 10.0]), ("[5, 10]", [5.0, 10.0])):
        text = '[sample.rod]\n[measurement.one]\nsample = "rod"\ntechnique = "impedance"\nfiles = "*.csv"\n'
        (tmp_path / "study.toml").write_text(f"{text}impedance.cycles = {stated}\n")
        plan = plan_measurement(load_recipe(tmp_path / "study.toml"), "one")
        assert plan.raw.coords["cycle"].values.tolist() == kept
        assert [str(scan.attrs["source"])[-5:] for _, scan in sorted(plan.raw.scans.items())] == ["b.csv", "d.csv"]
    assert "4, one for each spectrum in the order of the files, 2 that are set aside included" in refused(
        tmp_path, 'files = "*.csv"\nimpedance.cycles = [1, 2, 3]', "impedance"
    )


def test_files_of_one_name_in_several_folders_are_told_apart(tmp_path: Path) -> None:
    """Also where the folders are alike, and where one of the files is set aside."""
    for folder, text in (("x/rod", SOUND), ("y/rod", SOUND), ("z", "nothing")):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "cell.csv").write_text(text)
    lines = (
        '[sample.rod]\n[measurement.one]\nsample = "rod"\ntechnique = "cycling"\nfiles = ["*/rod/*.csv", "z/*.csv"]\n'
    )
    masses = '{ "x/rod/cell" = "5 mg", "y/rod/cell" = "6 mg", "z/cell" = "5 mg" }'
    (tmp_path / "study.toml").write_text(f"{lines}cycling.mass = {masses}\n")
    plan = plan_measurement(load_recipe(tmp_path / "study.toml"), "one")
    assert plan.raw.coords["record"].attrs["names"] == ["x/rod/cell", "y/rod/cell"]
