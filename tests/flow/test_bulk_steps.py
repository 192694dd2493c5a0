"""Bulk spectra from file to result: calibration, repeats, valence, groups and combinations with a known truth.

Where a truth is exact, spectra differ by a shift of their energies only: one curve, one noise.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from cathoscope.core.parallel import Resources, Silent
from cathoscope.core.study import Study
from cathoscope.flow.recipe import load_recipe
from cathoscope.flow.run import RunOutcome, run
from cathoscope.physics.edges import FOIL_ENERGY
from cathoscope.virtual.bulk import bulk_energies, foil_spectrum, oxide_spectrum

RecipeWriter = Callable[..., Path]
Runner = Callable[..., tuple[RunOutcome, xr.Dataset]]
EDGES = ("half_height_edge", "derivative_edge", "integral_edge", "white_line_energy")

ENERGY = bulk_energies(edge_energy=8344.0, lowest=-150.0)
_NOISE = np.random.default_rng(3).normal(0.0, 2e-4, (2, ENERGY.size))
OXIDE = oxide_spectrum().absorption(ENERGY) + _NOISE[0]
FOIL = foil_spectrum().absorption(ENERGY) + _NOISE[1]
# eV; the steepest point of the foil's closed form
STEEPEST = float(ENERGY[0] + 0.001 * np.argmax(foil_spectrum().slope(np.arange(ENERGY[0], 8360.0, 0.001))))


@pytest.fixture
def result_of(write_recipe: RecipeWriter, tmp_path: Path) -> Runner:
    """Runs a measurement of files in the test's own folder, which must not fail, and reads its result."""

    def result(files: str, choices: str = "", tables: str = "") -> tuple[RunOutcome, xr.Dataset]:
        text = f"""
[sample.rod]
[measurement.rod]
sample = "rod"
technique = "xas"
{f"files = {files}" if files else ""}
{choices}
{tables}
"""
        recipe = load_recipe(write_recipe(text), data=tmp_path)
        outcome = run(recipe, tmp_path / "study.zarr", resources=Resources(), progress=Silent())
        assert outcome.failed == []
        return outcome, Study.open(outcome.study).read("result", "rod").load()

    return result


def remarks(outcome: RunOutcome) -> str:
    return "\n".join(Study.open(outcome.study).attributes("raw", "rod")["remarks"])


def write_table(path: Path, columns: Mapping[str, np.ndarray]) -> None:
    table = np.stack(list(columns.values()), axis=1)
    np.savetxt(path, table, fmt="%.12g", header=" ".join(columns), comments="")


def write_oxide(path: Path, shift: float = 0.0) -> None:
    write_table(path, {"energy": ENERGY + shift, "mu": OXIDE})


# -- opening -----------------------------------------------------------------------------------------


def write_xdi(path: Path, name: str, shift: float = 0.0, columns: int = 3) -> None:
    heads = [f"# Column.{k + 1}: {head}" for k, head in enumerate(("energy eV", "mutrans", "murefer")[:columns])]
    lines = ["# XDI/1.0", *heads, f"# Sample.name: {name}", "# Element.symbol: Ni", "# Element.edge: K", "#---"]
    table = np.stack([ENERGY + shift, OXIDE, FOIL][:columns], axis=1)
    np.savetxt(path, table, fmt="%.12g", header="\n".join(lines), comments="")


def write_json(path: Path, shifts: Mapping[str, float], **labels: list[object]) -> None:
    """Spectra by name, each on energies of its own; labels by name too."""
    content: dict[str, object] = {
        "hw": {name: (ENERGY + shift).tolist() for name, shift in shifts.items()},
        "intensity": {name: OXIDE.tolist() for name in shifts},
    }
    content |= {key: dict(zip(shifts, values, strict=True)) for key, values in labels.items()}
    path.write_text(json.dumps(content))


def test_one_spectrum_in_three_formats_has_one_result(result_of: Runner, tmp_path: Path) -> None:
    write_oxide(tmp_path / "a.txt")
    write_xdi(tmp_path / "b.xdi", "rod", columns=2)
    write_json(tmp_path / "c.json", {"1": 0.0})
    _, found = result_of('["a.txt", "b.xdi"]')
    assert found["spectrum"].attrs["names"] == ["a", "rod"]
    _, other = result_of('"c.json"', 'columns = { energy = "hw", absorption = "intensity" }')
    for name in ("edge_step", *EDGES):
        np.testing.assert_allclose(found[name], float(other[name][0]), atol=1e-6, err_msg=name)


def test_intensities_become_absorption_by_the_columns_of_the_recipe(result_of: Runner, tmp_path: Path) -> None:
    flux = np.linspace(2e5, 1e5, ENERGY.size)
    write_table(tmp_path / "scan.txt", {"position": ENERGY / 1e3, "a": flux, "b": flux * np.exp(-OXIDE)})
    outcome, found = result_of('"scan.txt"', 'columns = { energy = "position", i0 = "a", transmitted = "b" }')
    np.testing.assert_allclose(found["scan_energy"][0], ENERGY, rtol=1e-11)
    np.testing.assert_allclose(found["absorption"][0], OXIDE, atol=1e-10)
    assert "absorption is ln(a / b)" in remarks(outcome)


def test_spectra_of_one_name_are_told_apart_by_file_or_number(result_of: Runner, tmp_path: Path) -> None:
    write_xdi(tmp_path / "first.xdi", "rod")
    write_xdi(tmp_path / "second.xdi", "rod")
    write_xdi(tmp_path / "third.xdi", "gravel")
    _, found = result_of('"*.xdi"')
    assert found["spectrum"].attrs["names"] == ["rod (first)", "rod (second)", "gravel"]
    write_json(tmp_path / "many.json", {"x": 0.0, "y": 1.0, "z": 2.0}, sample=["rod", "gravel", "rod"])
    choices = 'columns = { energy = "hw", absorption = "intensity", labels = ["sample"] }'
    _, found = result_of('"many.json"', choices)
    assert found["spectrum"].attrs["names"] == ["rod #1", "gravel", "rod #2"]


def test_a_spectrum_does_not_depend_on_the_others(result_of: Runner, tmp_path: Path) -> None:
    """Neither on a longer one, which pads it, nor on one without an edge, which gets NaN and a reason."""
    short = ENERGY < 8500.0
    write_table(tmp_path / "short.txt", {"energy": ENERGY[short], "mu": OXIDE[short]})
    write_oxide(tmp_path / "long.txt", 2.0)
    write_table(tmp_path / "flat.txt", {"energy": ENERGY, "mu": 1.0 + _NOISE[0]})
    _, alone = result_of('"short.txt"')
    outcome, found = result_of('["short.txt", "long.txt", "flat.txt"]')
    assert int(found["absorption"][0].notnull().sum()) == np.count_nonzero(short)
    for name in EDGES:
        assert float(found[name][0]) == float(alone[name][0])
        assert np.isfinite(found[name].values).tolist() == [True, True, False]
    assert "flat: " in remarks(outcome)
    assert "edge" in remarks(outcome).split("flat: ")[1]


# -- calibration -------------------------------------------------------------------------------------


def test_a_shift_of_the_monochromator_is_undone_by_the_foil(result_of: Runner, tmp_path: Path) -> None:
    for name, shift in (("a", 0.0), ("b", 3.7), ("c", -1.2)):
        write_table(tmp_path / f"{name}.txt", {"energy": ENERGY + shift, "mu": OXIDE, "muref": FOIL})
    _, found = result_of('"?.txt"')
    np.testing.assert_allclose(found["energy_shift"] - found["energy_shift"][0], [0.0, -3.7, 1.2], atol=1e-6)
    np.testing.assert_allclose(found["scan_energy"], np.tile(found["scan_energy"][0], (3, 1)), atol=1e-6)
    for name in EDGES:
        np.testing.assert_allclose(found[name], float(found[name][0]), atol=1e-5)


@pytest.mark.parametrize(
    ("choices", "calibrated"),
    [
        ("", True),
        ('calibration = "reference"', True),
        ('calibration = "none"', False),
        ('calibration = "auto"\nfoil = "foil.txt"', True),
    ],
)
def test_the_foil_comes_to_its_tabulated_energy(
    result_of: Runner, tmp_path: Path, choices: str, calibrated: bool
) -> None:
    offset = -1.3
    columns = {"energy": ENERGY + offset, "mu": OXIDE, "muref": FOIL}
    if "foil.txt" in choices:
        del columns["muref"]
        write_table(tmp_path / "foil.txt", {"energy": ENERGY + offset, "mu": FOIL})
    write_table(tmp_path / "scan.txt", columns)
    outcome, found = result_of('"scan.txt"', tables=f"[measurement.rod.xas]\n{choices}")
    shift = float(found["energy_shift"][0])
    np.testing.assert_allclose(found["scan_energy"][0], ENERGY + offset + shift, atol=1e-6)
    if calibrated:
        (maxima,) = found["energy_shift"].attrs["foil_maxima"]
        assert maxima[0] + shift == pytest.approx(FOIL_ENERGY["Ni"], abs=1e-9)
        # the smoothing of finite resolution moves the steepest point by less than this
        assert maxima[0] == pytest.approx(STEEPEST + offset, abs=0.1)
        assert 0 < float(found["energy_shift_std"][0]) < 0.05
    else:
        assert shift == 0.0
        assert np.isnan(found["energy_shift_std"]).all()
        assert "1 of 1 spectra are not calibrated on a foil" in remarks(outcome)


def test_a_foil_calibrates_itself(result_of: Runner, tmp_path: Path) -> None:
    for name, shift in (("one", 0.8), ("two", -2.1)):
        write_table(tmp_path / f"{name}.txt", {"energy": ENERGY + shift, "mu": FOIL})
    _, found = result_of('["one.txt", "two.txt"]', 'xas.calibration = "self"')
    np.testing.assert_allclose(found["derivative_edge"], FOIL_ENERGY["Ni"], atol=0.02)
    np.testing.assert_allclose(np.diff(found["energy_shift"]), [2.9], atol=1e-6)
    first, second = found["energy_shift"].attrs["foil_maxima"]
    np.testing.assert_allclose(first[1:], second[1:], atol=1e-5)


def test_without_a_foil_energies_stay_and_the_result_says_so(result_of: Runner, tmp_path: Path) -> None:
    write_oxide(tmp_path / "bare.txt")
    write_table(tmp_path / "foil.txt", {"energy": ENERGY + 1.0, "mu": OXIDE, "muref": FOIL})
    outcome, found = result_of('["bare.txt", "foil.txt"]')
    assert float(found["energy_shift"][0]) == 0.0
    assert np.isnan(found["energy_shift_std"].values).tolist() == [True, False]
    assert found["energy_shift"].attrs["foil_maxima"][0] is None
    assert "1 of 2 spectra are not calibrated on a foil" in remarks(outcome)


def test_a_foil_that_shows_no_edge_leaves_its_spectrum_as_recorded(result_of: Runner, tmp_path: Path) -> None:
    write_table(tmp_path / "scan.txt", {"energy": ENERGY, "mu": OXIDE, "muref": 0.5 + _NOISE[1]})
    outcome, found = result_of('"scan.txt"')
    np.testing.assert_allclose(found["scan_energy"][0], ENERGY, atol=1e-9)
    assert "scan: not calibrated" in remarks(outcome)


# -- repeats -----------------------------------------------------------------------------------------


def test_repeats_are_calibrated_one_by_one_and_merged(result_of: Runner, tmp_path: Path) -> None:
    """Four repeats with a monochromator that wanders, one of them with a glitch."""
    noise = 2e-3
    rng = np.random.default_rng(8)
    clean, point = oxide_spectrum().absorption(ENERGY), 40
    for number, shift in enumerate((0.0, 2.0, -1.5, 1.0)):
        mu = clean + rng.normal(0.0, noise, ENERGY.size)
        mu[point] += 0.2 * (number == 2)
        write_table(tmp_path / f"repeat{number}.txt", {"energy": ENERGY + shift, "mu": mu, "muref": FOIL})
    outcome, found = result_of('"repeat*.txt"', "xas.merge_repeats = true")
    assert found["spectrum"].attrs["names"] == ["mean of 4"]
    np.testing.assert_allclose(found["energy_shift"], FOIL_ENERGY["Ni"] - STEEPEST - 0.375, atol=0.1)
    error = found["absorption"][0].values - clean
    # A mean of four has half the noise; that of the glitch, were it averaged, would be fifty times as large.
    assert error.std() == pytest.approx(noise / 2, rel=0.15)
    assert abs(error[point]) < 4 * noise / np.sqrt(3)
    assert "set aside" in remarks(outcome)


def test_merged_repeats_share_the_uncertainty_of_the_calibration(result_of: Runner, tmp_path: Path) -> None:
    for number in range(4):
        write_table(tmp_path / f"r{number}.txt", {"energy": ENERGY, "mu": OXIDE + 1e-6 * number, "muref": FOIL})
    _, single = result_of('"r0.txt"')
    _, merged = result_of('"r?.txt"', "xas.merge_repeats = true")
    assert float(merged["energy_shift_std"][0]) == pytest.approx(float(single["energy_shift_std"][0]) / 2)


# -- valence -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("edge", ["integral", "half height", "derivative"])
def test_standards_on_a_line_give_the_exact_valence(result_of: Runner, tmp_path: Path, edge: str) -> None:
    slope = 1.5
    valences = {"NiO": 2.0, "mixed": 2.4, "LiNiO2": 3.0, "unknown": 2.7, "charged": 3.6}
    for name, valence in valences.items():
        write_oxide(tmp_path / f"{name}.txt", slope * valence)
    standards = "\n".join(f"{name} = {valences[name]}" for name in ("NiO", "mixed", "LiNiO2"))
    files = json.dumps([f"{name}.txt" for name in valences])
    _, found = result_of(files, f'xas.edge = "{edge}"', f"[measurement.rod.xas.valence]\n{standards}")
    valence = found["valence"]
    np.testing.assert_allclose(valence, list(valences.values()), atol=1e-5)
    assert valence.attrs["slope"] == pytest.approx(slope, abs=1e-5)
    assert valence.attrs["scatter"] == 0.0
    np.testing.assert_allclose(valence.attrs["left_out_error"], 0.0, atol=1e-4)
    assert valence.attrs["standards"] == [1, 2, 3]
    # the last lies beyond the highest standard
    assert valence.attrs["extrapolated"][-2:] == [False, True]
    assert (np.array(valence.attrs["lower"]) < valence.values).all()
    assert (np.array(valence.attrs["upper"]) > valence.values).all()
    assert float(found["valence_std"][4]) > float(found["valence_std"][3]) > 0


def test_uncertainty_of_the_calibration_is_part_of_the_valence(result_of: Runner, tmp_path: Path) -> None:
    """A noisy foil makes all edges less certain than their own noise does."""
    names = {"a": 2.0, "b": 2.5, "c": 3.0, "x": 2.7}
    rng = np.random.default_rng(5)
    spread = {}
    for noise in (2e-4, 2e-2):
        for name, valence in names.items():
            axis = ENERGY + 2.0 * valence
            foil = foil_spectrum().absorption(axis) + rng.normal(0.0, noise, ENERGY.size)
            columns = {"energy": axis, "mu": OXIDE, "muref": foil}
            write_table(tmp_path / f"{name}.txt", columns)
        _, found = result_of('"?.txt"', tables="[measurement.rod.xas.valence]\na = 2.0\nb = 2.5\nc = 3.0")
        spread[noise] = float(found["valence_std"][3])
        assert abs(float(found["valence"][3]) - names["x"]) < 4 * spread[noise]
    assert spread[2e-2] > 5 * spread[2e-4]


# -- groups ------------------------------------------------------------------------------------------

SHIFTS = {"1": 0.0, "2": 0.2, "3": 2.1, "4": 2.3, "5": 2.5, "6": 1.0, "7": 3.0}
COMPOSITION = ["A", "A", "A", "A", "A", "B", "B"]
VOLTAGE = ["N/A", "N/A", 4.3, 4.3, 4.3, "N/A", 4.3]
GROUPED = """
columns = { energy = "hw", absorption = "intensity", labels = ["composition", "voltage"] }
xas = { group_by = ["composition", "voltage"], against = { voltage = "N/A" } }
"""


def test_means_of_groups_and_their_rises_are_exact(result_of: Runner, tmp_path: Path) -> None:
    write_json(tmp_path / "cells.json", SHIFTS, composition=COMPOSITION, voltage=VOLTAGE)
    _, found = result_of('"cells.json"', GROUPED)
    assert found["group"].attrs["names"] == ["A N/A", "A 4.3", "B N/A", "B 4.3"]
    assert found["group"].attrs["count"] == [2, 3, 1, 1]
    base = float(found["integral_edge"][0])
    np.testing.assert_allclose(found["group_edge"], base + np.array([0.1, 2.3, 1.0, 3.0]), atol=1e-5)
    np.testing.assert_allclose(found["group_edge_rise"], [0.0, 2.2, 0.0, 2.0], atol=1e-5)
    # scatter about the group means, pooled: 2 * 0.1^2 + 2 * 0.2^2 with 1 + 2 degrees of freedom
    single = np.sqrt(0.1 / 3)
    np.testing.assert_allclose(found["group_edge_std"], single / np.sqrt([2, 3, 1, 1]), rtol=1e-3)
    rises = single * np.array([0.0, np.sqrt(1 / 2 + 1 / 3), 0.0, np.sqrt(2)])
    np.testing.assert_allclose(found["group_edge_rise_std"], rises, rtol=1e-3)


def test_groups_without_a_reference_have_no_rise(result_of: Runner, tmp_path: Path) -> None:
    voltage = [4.3 if composition == "B" else value for composition, value in zip(COMPOSITION, VOLTAGE, strict=True)]
    write_json(tmp_path / "cells.json", SHIFTS, composition=COMPOSITION, voltage=voltage)
    _, found = result_of('"cells.json"', GROUPED)
    assert np.isfinite(found["group_edge_rise"].values).tolist() == [True, True, False]
    assert np.isfinite(found["group_edge"].values).all()


def test_spectra_are_grouped_by_the_temperature_of_the_recipe(result_of: Runner, tmp_path: Path) -> None:
    for name, shift in (("cold", 0.0), ("hot1", -0.4), ("hot2", -0.6)):
        write_oxide(tmp_path / f"{name}.txt", shift)
    series = "".join(
        f'[[measurement.rod.series]]\ntemperature = "{temperature} C"\nfiles = "{files}"\n'
        for temperature, files in ((25, "cold.txt"), (180, "hot*.txt"))
    )
    choices = 'xas = { group_by = ["temperature"], against = { temperature = "25.0" } }'
    _, found = result_of("", choices, series)
    assert found["group"].attrs["labels"] == {"temperature": ["25.0", "180.0"]}
    np.testing.assert_allclose(found["group_edge_rise"], [0.0, -0.5], atol=1e-5)


# -- combination -------------------------------------------------------------------------------------

LIBRARY = {
    "energy": ENERGY,
    "reduced": oxide_spectrum().absorption(ENERGY),
    "oxidised": oxide_spectrum(edge_shift=1.8).absorption(ENERGY),
    "metal": foil_spectrum().absorption(ENERGY),
}
COMBINATION = """
[measurement.rod.combination]
library = "library.txt"
components = ["oxidised", "reduced"]
of = "absorption"
"""


def write_mixture(folder: Path, weights: Mapping[str, float]) -> None:
    write_table(folder / "library.txt", LIBRARY)
    mu = sum(weight * LIBRARY[name] for name, weight in weights.items())
    write_table(folder / "mixture.txt", {"energy": ENERGY, "mu": mu})


def test_a_mixture_is_recovered_through_its_files(result_of: Runner, tmp_path: Path) -> None:
    write_mixture(tmp_path, {"reduced": 0.3, "oxidised": 0.7})
    _, found = result_of('"mixture.txt"', tables=COMBINATION)
    assert found["component"].attrs["names"] == ["oxidised", "reduced"]
    np.testing.assert_allclose(found["component_fraction"], [[0.7, 0.3]], atol=1e-8)
    assert float(found["r_factor"][0]) < 1e-16
    np.testing.assert_allclose(found["combination_fit"], found["absorption"], atol=1e-9)
    np.testing.assert_allclose(found["component_curve"].sum("component"), found["combination_fit"], atol=1e-12)


def test_what_the_components_cannot_make_shows_in_the_residual(result_of: Runner, tmp_path: Path) -> None:
    write_mixture(tmp_path, {"reduced": 0.3, "oxidised": 0.5, "metal": 0.2})
    _, two = result_of('"mixture.txt"', tables=COMBINATION)
    _, three = result_of('"mixture.txt"', tables=COMBINATION.replace('["oxi', '["metal", "oxi'))
    np.testing.assert_allclose(three["component_fraction"], [[0.2, 0.5, 0.3]], atol=1e-8)
    residual = two["absorption"] - two["combination_fit"]
    expected = float((residual**2).sum() / (two["absorption"] ** 2).sum())
    assert float(two["r_factor"][0]) == pytest.approx(expected, rel=1e-6)
    assert float(two["r_factor"][0]) > 1e3 * float(three["r_factor"][0])


def test_a_shift_of_energy_is_found_with_the_combination(result_of: Runner, tmp_path: Path) -> None:
    write_mixture(tmp_path, {"reduced": 0.4, "oxidised": 0.6})
    shifted = 0.4 * oxide_spectrum(edge_shift=0.5).absorption(ENERGY)
    shifted += 0.6 * oxide_spectrum(edge_shift=2.3).absorption(ENERGY)
    write_table(tmp_path / "mixture.txt", {"energy": ENERGY, "mu": shifted})
    _, fixed = result_of('"mixture.txt"', tables=COMBINATION)
    _, free = result_of('"mixture.txt"', tables=f'{COMBINATION}max_energy_shift = "1 eV"')
    np.testing.assert_allclose(free["component_fraction"], [[0.6, 0.4]], atol=0.02)
    assert abs(float(fixed["component_fraction"][0, 0]) - 0.6) > 0.1
    assert float(free["r_factor"][0]) < 0.1 * float(fixed["r_factor"][0])


# -- what is redone ----------------------------------------------------------------------------------


def test_only_what_a_choice_touches_is_computed_again(result_of: Runner, tmp_path: Path) -> None:
    write_mixture(tmp_path, {"reduced": 0.3, "oxidised": 0.7})
    first, before = result_of('"mixture.txt"', tables=COMBINATION)
    assert first.measurements[0].computed == ["calibration", "edges", "combination"]
    again, _ = result_of('"mixture.txt"', 'note = "the same"', COMBINATION)
    assert again.measurements[0].computed == []
    fewer, _ = result_of('"mixture.txt"', tables=COMBINATION + "sum_to_one = true")
    assert fewer.measurements[0].cached == ["calibration", "edges"]
    assert fewer.measurements[0].computed == ["combination"]
    # The choices of [xas] are one: any of them redoes what depends on it, with the same numbers where it does not.
    windows, after = result_of('"mixture.txt"', "xas.post_edge = [60.0, 250.0]", COMBINATION)
    assert windows.measurements[0].cached == []
    np.testing.assert_array_equal(after["scan_energy"], before["scan_energy"])
    assert float(after["edge_step"][0]) != float(before["edge_step"][0])


def test_another_library_redoes_the_combination_and_without_one_it_goes(result_of: Runner, tmp_path: Path) -> None:
    write_mixture(tmp_path, {"reduced": 0.3, "oxidised": 0.7})
    result_of('"mixture.txt"', tables=COMBINATION)
    doubled = {name: values * (1.0 if name == "energy" else 2.0) for name, values in LIBRARY.items()}
    write_table(tmp_path / "library.txt", doubled)
    outcome, found = result_of('"mixture.txt"', tables=COMBINATION)
    assert "combination" in outcome.measurements[0].computed
    np.testing.assert_allclose(found["component_fraction"], [[0.35, 0.15]], atol=1e-8)
    _, without = result_of('"mixture.txt"')
    assert "component_fraction" not in without.variables
    assert "integral_edge" in without.variables
