"""A whole virtual diffraction study: its files parse back, its truth is what was put in, one seed makes one study."""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import replace
from pathlib import Path

import gemmi
import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from cathoscope.core.errors import CathoscopeError
from cathoscope.core.parallel import Resources
from cathoscope.core.study import Study
from cathoscope.virtual import families
from cathoscope.virtual import study as studies
from cathoscope.virtual.diffraction_banks import DIFFRACTOMETERS
from cathoscope.virtual.diffraction_files import instrument_text
from cathoscope.virtual.diffraction_pattern import sums_for
from cathoscope.virtual.diffraction_powder import ROD_CRYSTAL, starting_phases
from cathoscope.virtual.diffraction_study import (
    DIFFRACTION_PRESETS,
    Camera,
    DiffractionPlan,
    DiffractionPreset,
    DiffractionSize,
    heated_powder,
    truth_of,
)
from cathoscope.virtual.particle import ROD

TEMPERATURES = (25.0, 142.0, 250.0)
BANKS = ("nomad-67", "powgen")  # one file holds both
TINY = DiffractionPreset(
    "tiny",
    {"rod": (replace(ROD, diameter=3.0, core_radius=0.6, aspect=3.0), ROD_CRYSTAL)},
    sizes={"small": DiffractionSize(TEMPERATURES, {"nomad": BANKS}, ("11-ID-C", "11-3"), cells=20, kelvin=10.0)},
)

Columns = NDArray[np.float64]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate(tmp_path_factory.mktemp("powder") / "study", TINY)


def simulate(place: Path, preset: DiffractionPreset, threads: int = 1, seed: int = 4) -> Path:
    diffracted = families.family_of("hou-diffraction")
    assert diffracted is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(families, "FAMILIES", (diffracted._replace(presets={"tiny": preset}),))
        recipe = studies.simulate_study("tiny", size="small", seed=seed, folder=place, resources=Resources(threads))
    return recipe.parent


def parsed(path: Path) -> tuple[float, dict[str, tuple[list[str], Columns]]]:
    """Temperature (K) and the banks of a GSAS file: words of the BANK line and three columns, by the name above it."""
    kelvin, name, words, rows = 0.0, "", [""], []
    banks: dict[str, tuple[list[str], Columns]] = {}
    for line in [*path.read_text().splitlines()[1:], "# end"]:
        if line.startswith("# Temp (K)"):
            kelvin = float(line.split("=")[1])
        elif line.startswith("#"):
            if rows:
                banks[name] = words, np.array(rows)
            name, rows = line[2:], []
        elif line.startswith("BANK"):
            words = line.split()
        else:
            rows.append([float(word) for word in line.split()])
    return kelvin, banks


def plan_of(preset: DiffractionPreset) -> DiffractionPlan:
    return DiffractionPlan(preset, preset.sizes["small"], 4)


def test_patterns_parse_back_to_the_expected_intensity(folder: Path) -> None:
    plan = plan_of(TINY)
    powder = heated_powder(plan, "rod")
    for state in powder:
        kelvin, banks = parsed(folder / "raw" / "rod-nomad" / f"rod_nomad_{state.temperature:05.1f}C.gsa")
        assert kelvin == pytest.approx(state.temperature + 273.15)
        assert tuple(banks) == BANKS
        for number, (name, (words, columns)) in enumerate(banks.items(), start=1):
            one = DIFFRACTOMETERS[name]
            edges = one.grid()
            assert words[1:5] == [str(number), str(edges.size - 1), str(edges.size - 1), "SLOG"]
            assert [float(word) for word in words[5:8]] == pytest.approx([edges[0], edges[-1], one.step], rel=1e-7)
            assert words[-1] == "FXYE"
            np.testing.assert_allclose(columns[:, 0], edges[:-1], atol=1e-5)
            sums = [sums_for(one, phase) for phase in starting_phases(ROD.core_composition)]
            expected = Camera(plan, "rod", "nomad", (one,)).expected(one, state, sums)
            pulls = (columns[:, 1] - expected) / np.sqrt(expected / one.gain())
            assert (pulls**2).mean() == pytest.approx(1.0, abs=5 * np.sqrt(2 / pulls.size))
            assert abs(pulls.mean()) < 5 / np.sqrt(pulls.size)
            np.testing.assert_allclose(columns[:, 2] ** 2, columns[:, 1] / one.gain(), rtol=1e-4)


def test_synchrotron_patterns_are_there_in_both_formats(folder: Path) -> None:
    kelvin, banks = parsed(folder / "raw" / "rod-11-ID-C" / "rod_11-ID-C_025.0C.fxye")
    words, columns = banks["11-ID-C"]
    grid = DIFFRACTOMETERS["11-ID-C"].grid()
    assert kelvin == pytest.approx(298.15)
    assert words[4:7] == ["CONS", "100.000000", "0.500000"]
    np.testing.assert_allclose(columns[:, 0], 100 * grid, atol=1e-5)  # centidegrees
    text = folder / "raw" / "rod-11-3" / "rod_11-3_025.0C.xye"
    assert "# Temp (K) = 298.15\n" in text.read_text()
    columns = np.loadtxt(text)
    np.testing.assert_allclose(columns[:, 0], DIFFRACTOMETERS["11-3"].grid(), atol=1e-5)
    counts = columns[:, 1] * DIFFRACTOMETERS["11-3"].gain()
    np.testing.assert_allclose(counts, np.round(counts), atol=0.01)
    first = (columns[:, 0] > 11) & (columns[:, 0] < 13)
    assert columns[first, 1].max() > 4 * np.median(columns[:, 1])  # 003


def test_temperatures_stand_in_a_table_beside(folder: Path) -> None:
    rows = (folder / "raw" / "rod-nomad" / "temperatures.csv").read_text().splitlines()
    assert rows[0] == "file,temperature (C)"
    for row, temperature in zip(rows[1:], TEMPERATURES, strict=True):
        name, value = row.split(",")
        assert float(value) == temperature
        assert (folder / "raw" / "rod-nomad" / name).is_file()


@pytest.mark.parametrize("name", list(DIFFRACTOMETERS))
def test_instrument_parameters_parse_back(name: str) -> None:
    bank = DIFFRACTOMETERS[name].stated
    lines = instrument_text(bank).splitlines()
    found = dict(line.split(":", 1) for line in lines if not line.startswith("#"))
    keys = {"beta-0": "beta0", "beta-1": "beta1", "sig-1": "sig1", "sig-q": "sigq", "Zero": "zero", "difB": "difB"}
    keys |= {
        "Lam": "wavelength",
        "SH/L": "axial",
        "Polariz.": "polarisation",
        "U": "U",
        "W": "W",
        "2-theta": "two_theta",
    }
    seen = {key: float(found[key]) for key in keys if key in found}
    assert seen == {key: bank.values[keys[key]] for key in seen}
    assert len(seen) >= 5
    assert found["Type"] == ("PNT" if bank.kind == "tof" else "PXC")


def test_another_program_reads_the_phases(folder: Path) -> None:
    for expected in starting_phases(ROD.core_composition):
        block = gemmi.cif.read(str(folder / "raw" / f"rod-{expected.name}.cif")).sole_block()
        structure = gemmi.make_small_structure_from_block(block)
        assert structure.cell.parameters == pytest.approx(expected.cell)
        assert structure.spacegroup.xhm() == expected.space_group
        assert [site.label for site in structure.sites] == [site.label for site in expected.sites]
        occupancies = [site.occ for site in structure.sites]
        assert occupancies == pytest.approx([site.occupancy for site in expected.sites], abs=1e-5)
        operations = block.find_loop("_symmetry_equiv_pos_as_xyz")
        assert len(operations) == len(list(gemmi.SpaceGroup(expected.space_group).operations()))


def test_the_truth_is_what_was_put_in(folder: Path) -> None:
    powder = heated_powder(plan_of(TINY), "rod")
    truth = Study.open(folder / "study.zarr").truth("rod-nomad")
    assert truth["temperature"].values.tolist() == list(TEMPERATURES)
    assert truth["phase"].attrs["names"] == ["layered", "spinel"]
    assert truth["lattice_a"].attrs["units"] == "A"
    for name in powder[0].found:
        assert truth[name].dims == ("temperature", "phase")
        np.testing.assert_array_equal(truth[name].values, [state.found[name] for state in powder])
    share = truth["weight_fraction"].values[:, 1]
    assert share[0] == 0 < share[1] < share[2] <= 1
    assert np.isnan(truth["lattice_a"].values[0, 1])
    cold = Study.open(folder / "study.zarr").truth("rod-11-3")
    np.testing.assert_array_equal(cold["lattice_c"].values, truth["lattice_c"].values[:1])
    with h5py.File(folder / "truth" / "rod-diffraction.h5") as file:
        plan = plan_of(TINY)
        for bank in (*BANKS, "11-ID-C", "11-3"):
            assert file[f"zero_offset/{bank}"][()] == plan.zero_offset("rod", bank) != 0
        np.testing.assert_allclose(file["metal_share"][()].sum(axis=1), 1.0, rtol=1e-9)


def test_one_seed_makes_one_study_on_any_number_of_threads(folder: Path, tmp_path: Path) -> None:
    again, other = simulate(tmp_path / "again", TINY, threads=2), simulate(tmp_path / "other", TINY, seed=5)

    def digests(place: Path) -> dict[str, str]:
        files = [file for file in sorted((place / "raw").rglob("*")) if file.is_file()]
        return {file.relative_to(place).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}

    first = digests(folder)
    assert digests(again) == first
    changed = {name for name, digest in digests(other).items() if digest != first[name]}
    assert {name for name in first if name.endswith((".gsa", ".xye", ".fxye"))} == changed


def test_the_distribution_widens_peaks_but_changes_no_truth() -> None:
    plans = plan_of(TINY), plan_of(replace(TINY, classes=8))
    powders = [heated_powder(plan, "rod") for plan in plans]
    homogeneous, distributed = (truth_of(powder) for powder in powders)
    for name, array in homogeneous.data_vars.items():
        np.testing.assert_allclose(distributed[name].values, array.values, rtol=1e-12)
    one = DIFFRACTOMETERS["11-3"]
    sums = [sums_for(one, phase) for phase in starting_phases(ROD.core_composition)]
    even, wide = (
        Camera(plan, "rod", "11-3", (one,)).expected(one, powder[0], sums)
        for plan, powder in zip(plans, powders, strict=True)
    )
    assert wide.sum() == pytest.approx(even.sum(), rel=1e-4)
    assert wide.max() < 0.97 * even.max()


def test_patterns_of_another_study_do_not_stay(tmp_path: Path) -> None:
    cold = replace(TINY.sizes["small"], temperatures=(25.0, 30.0), neutrons={"nomad": BANKS[:1]}, xrays=())
    few = replace(TINY, sizes={"small": cold})
    place = simulate(tmp_path / "study", few)
    stale = place / "raw" / "rod-nomad" / "rod_nomad_099.0C.gsa"
    stale.write_text("left over")
    simulate(place, few)
    assert not stale.exists()
    assert len(list(stale.parent.glob("*.gsa"))) == 2


def test_the_recipe_names_what_is_there(folder: Path) -> None:
    values = tomllib.loads((folder / "study.toml").read_text())
    assert values["sample"]["rod"]["composition"] == "Li0.3Ni0.82Mn0.06Co0.12O2"
    assert list(values["measurement"]) == ["rod-nomad", "rod-11-ID-C", "rod-11-3", "rod-joint"]
    study = Study.open(folder / "study.zarr")
    for name, one in values["measurement"].items():
        assert one["technique"] == "diffraction"
        patterns = [one, *one.get("banks", [])]
        instruments = [place for each in patterns for place in np.atleast_1d(each["instrument"])]
        assert all(list(folder.glob(each["files"])) for each in patterns)
        assert all((folder / place).is_file() for place in (*instruments, *(p["file"] for p in one["phases"].values())))
        assert study.truth(name)["phase"].attrs["names"] == list(one["phases"])
    assert len(values["measurement"]["rod-joint"]["banks"]) == 2
    assert values["measurement"]["rod-nomad"]["phases"]["layered"]["size_axis"] == [1, 1, 0]


def test_presets_and_sizes() -> None:
    assert {"hou-diffraction", "rod-diffraction", "gravel-diffraction-specimen"} <= set(DIFFRACTION_PRESETS)
    assert list(DIFFRACTION_PRESETS["hou-diffraction"].samples) == ["rod", "gravel"]
    for preset in DIFFRACTION_PRESETS.values():
        assert len(preset.sizes["medium"].temperatures) == 226
        assert len(preset.sizes["small"].temperatures) == 12
    with pytest.raises(CathoscopeError, match="unknown size"):
        studies.simulate_study("hou-diffraction", size="huge", seed=1, folder=Path("nowhere-at-all"))
    with pytest.raises(CathoscopeError, match="seed"):
        DiffractionPlan(TINY, TINY.sizes["small"], -1)
