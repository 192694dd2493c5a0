"""Mistakes with powder patterns, instruments and structures: each named, with a cure, and the series goes on."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cathoscope.core.parallel import Resources, Silent
from cathoscope.core.study import Study
from cathoscope.flow.check import Finding, check_recipe
from cathoscope.flow.recipe import RecipeMistakes, load_recipe
from cathoscope.flow.run import run
from tests.flow.powders import CHEAP, FEW, write_beside, write_pattern, write_series

Rows = list[list[str]]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Sound files of three temperatures by their names."""
    folder = tmp_path_factory.mktemp("sound")
    write_series(folder, shares=FEW)
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.fixture
def folder(files: dict[str, str], tmp_path: Path) -> Path:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "study.toml").write_text(CHEAP)
    return tmp_path


def change(path: Path, made: Callable[[Rows], Rows]) -> None:
    """Change the rows of numbers of a file."""
    lines = path.read_text().splitlines()
    head = [line for line in lines if line.startswith("#")]
    rows = made([line.split() for line in lines if not line.startswith("#")])
    path.write_text("\n".join([*head, *(" ".join(row) for row in rows)]) + "\n")


def found(folder: Path) -> Finding:
    return check_recipe(load_recipe(folder / "study.toml"))[0]


def refused(folder: Path) -> str:
    with pytest.raises(RecipeMistakes) as caught:
        found(folder)
    return str(caught.value)


def test_counts_without_uncertainties_get_the_roots_of_counts(folder: Path) -> None:
    change(folder / "run_1.xye", lambda rows: [row[:2] for row in rows])
    assert any("states no uncertainties: the square roots" in remark for remark in found(folder).remarks)


def test_the_series_goes_on_without_temperatures_that_cannot_be_used(folder: Path) -> None:
    write_pattern(folder / "run_3.xye", 150.0, {"powgen.NMC.scale": 2000.0, "powgen.spinel.scale": 250.0})
    change(folder / "run_0.xye", lambda rows: [[x, "0", "0"] for x, *_ in rows])
    change(folder / "run_1.xye", lambda rows: [])
    (folder / "run_9.xye").write_text("")
    change(
        folder / "run_3.xye",
        lambda rows: [[x, "-3" if 20 < k < 25 else y, std] for k, (x, y, std) in enumerate(rows)],
    )
    finding = found(folder)
    assert any("170 of 170 points have no uncertainty" in remark for remark in finding.remarks)
    assert any("4 of 170 intensities of powgen are below zero" in remark for remark in finding.remarks)
    assert any(re.search(r"run_1.xye: no reader .*\(no line of numbers\)", text) for text in finding.problems)
    assert any("run_9.xye: the file is empty" in text for text in finding.problems)
    outcome = run(
        load_recipe(folder / "study.toml"), folder / "study.zarr", resources=Resources(threads=1), progress=Silent()
    )
    assert outcome.measurements[0].failure is None
    assert ("run_0.xye", "no point of its patterns has both a value and an uncertainty") in [
        tuple(one) for one in outcome.measurements[0].set_aside
    ]
    data = Study.open(folder / "study.zarr").read("result", "rod")
    good = np.isfinite(data["goodness_of_fit"].values)
    assert dict(zip(data["temperature"].values.tolist(), good.tolist(), strict=True)) == {
        25.0: False,
        150.0: True,
        180.0: True,
    }


NAMES = {"difC": "difC", "alpha": "alpha", "beta-0": "beta0", "sig-1": "sig1", "2-theta": "two_theta"}


@pytest.mark.parametrize(("key", "name"), NAMES.items())
def test_an_instrument_lacks_a_number(folder: Path, key: str, name: str) -> None:
    without(folder / "powgen.instprm", key)
    told = refused(folder)
    assert "study.toml, line 6" in told
    assert f"bank 1 has no {name}" in told


def without(path: Path, key: str) -> None:
    """Take a number out of an instrument file."""
    path.write_text("".join(line for line in path.read_text().splitlines(True) if not line.startswith(f"{key}:")))


def test_what_an_instrument_leaves_out_is_told(folder: Path) -> None:
    without(folder / "powgen.instprm", "Zero")
    assert any("zero 0" in remark for remark in found(folder).remarks)


def test_patterns_that_stand_twice(folder: Path) -> None:
    recipe = CHEAP + '[[measurement.rod.banks]]\nname = "second"\nfiles = "run_*.xye"\ninstrument = "powgen.instprm"\n'
    (folder / "study.toml").write_text(recipe)
    assert "the patterns of second are those of powgen: their points would count twice" in refused(folder)


def test_a_structure_without_occupancies_is_taken_as_full(folder: Path) -> None:
    path = folder / "spinel.cif"
    lines = path.read_text().splitlines()
    tags = [line for line in lines if line.startswith("_atom_site_") and "aniso" not in line]
    place = tags.index("_atom_site_occupancy")
    kept = [line for line in lines if line != "_atom_site_occupancy"]
    kept = [
        " ".join(word for k, word in enumerate(line.split()) if k != place) if len(line.split()) == len(tags) else line
        for line in kept
    ]
    path.write_text("\n".join(kept))
    assert any("no occupancy; all sites are taken as full" in remark for remark in found(folder).remarks)


def test_a_structure_with_a_bad_group(folder: Path) -> None:
    path = folder / "NMC.cif"
    bare = [line for line in path.read_text().splitlines() if not re.match(r"'.*,.*,.*'|_space_group_", line)]
    text = "\n".join(bare).replace("loop_\nloop_", "loop_")
    path.write_text(text.replace("data_NMC", "data_NMC\n_space_group_name_H-M_alt 'R -3 q:H'"))
    told = refused(folder)
    assert "line 8" in told
    assert "no space group that is known" in told
    assert "R -3 q:H" in told


def test_a_phase_without_a_reflection_in_the_range(folder: Path) -> None:
    (folder / "study.toml").write_text(CHEAP + 'range = ["2.06 A", "2.3 A"]\n')
    told = refused(folder)
    assert "no reflection of NMC lies in the patterns" in told
    assert "2.061 to 2.297 A" in told
    (folder / "study.toml").write_text(CHEAP + 'range = ["20 A", "30 A"]\n')
    assert "too few points of powgen can be used" in refused(folder)
    (folder / "study.toml").write_text(CHEAP + 'range = ["20 deg", "30 deg"]\n')
    assert "no bank has places in deg" in refused(folder)


def with_wavelength(folder: Path, wavelength: str) -> None:
    """Patterns of a constant wavelength in place of those of time of flight."""
    numbers = "Zero:0.0\nPolariz.:0.5\nU:2.0\nV:-2.0\nW:5.0\nX:0.0\nY:0.0\nZ:0.0\nSH/L:0.002\n"
    text = f"#GSAS-II instrument parameter file\nType:PXC\nLam:{wavelength}\n{numbers}"
    (folder / "powgen.instprm").write_text(text)
    rows = "".join(f"{10 + 0.02 * k:.2f} {100 + k % 7} 10\n" for k in range(900))
    for path in folder.glob("run_*.xye"):
        kelvin = 300 + 20 * int(path.stem[-1])
        path.write_text(f"# 2theta (deg)\n# Temp (K) = {kelvin}\n{rows}")


@pytest.mark.parametrize(("wavelength", "unit"), [("97.62", "pm"), ("9.762e-11", "nm")])
def test_a_wavelength_in_a_wrong_unit(folder: Path, wavelength: str, unit: str) -> None:
    with_wavelength(folder, wavelength)
    told = refused(folder)
    assert "the wavelength is in a wrong unit" in told
    assert f"{wavelength}, as if in {unit}" in told


def test_a_wavelength_that_may_be_in_nm(folder: Path) -> None:
    with_wavelength(folder, "0.09762")
    recipe = re.sub(r"\[measurement.rod.diffraction\].*", "", CHEAP, flags=re.DOTALL)
    (folder / "study.toml").write_text(recipe)
    assert any("is its wavelength, 0.09762, in Angstrom" in remark for remark in found(folder).remarks)


def test_an_instrument_of_another_kind(folder: Path) -> None:
    write_beside(folder)
    instrument = (folder / "powgen.instprm").read_text()
    with_wavelength(folder, "0.9762")
    (folder / "powgen.instprm").write_text(instrument)
    told = refused(folder)
    assert "is one of time of flight, and the pattern one of a constant wavelength" in told
