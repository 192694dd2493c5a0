"""Balance, calorimeter, spectra and contents from files through a recipe to the study and its report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from cathoscope.core.parallel import Resources, Silent
from cathoscope.core.study import Study
from cathoscope.flow.recipe import load_recipe
from cathoscope.flow.run import run
from cathoscope.report.figures import panels_without_layout
from cathoscope.report.figures.lab_samples import dissolved_samples_panel
from cathoscope.report.figures.state_curves import ParticleResult
from cathoscope.report.heating_tables import heating_tables
from cathoscope.report.style import journal_style
from cathoscope.report.summary import main_numbers
from tests.flow.lab_records import (
    HOLDS,
    TEMPERATURE,
    balance_text,
    hold_rate,
    mass_left,
    write_balance,
    write_calorimeter,
    write_contents,
    write_gas,
    write_holds,
    write_light,
)

RECIPE = """
[sample.rod]
composition = "Li0.1Ni0.8Mn0.1Co0.1O2"
[sample.gravel]

[measurement.mass]
sample = "rod"
technique = "mass-loss"
files = "rod.txt"
mass_loss.blank = "blank.txt"

[measurement.heat]
sample = "rod"
technique = "calorimetry"
files = "dsc_*.txt"
calorimetry.effects = { reaction = ["60 C", "270 C"] }

[measurement.light]
sample = "rod"
technique = "uv-vis"
files = "rod-uv.txt"
uv_vis.blank = "solvent-uv.txt"

[measurement.icp]
sample = "rod"
technique = "elements"
files = "icp.csv"
[measurement.icp.elements]
specimens = ["rod solution", "rod pristine", "rod charged"]
dissolved = "rod solution"
before = "rod pristine"
after = "rod charged"
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("lab")
    for write in (write_balance, write_calorimeter, write_light, write_contents):
        write(folder)
    (folder / "study.toml").write_text(RECIPE)
    outcome = run(
        load_recipe(folder / "study.toml"), folder / "study.zarr", resources=Resources(threads=1), progress=Silent()
    )
    assert [one.failure for one in outcome.measurements] == [None] * 4
    return Study.open(folder / "study.zarr")


def pulls(data: xr.Dataset, name: str, true: object) -> np.ndarray:
    return np.abs((data[name].values - np.asarray(true)) / data[f"{name}_std"].values)


def test_mass_onset_and_oxygen_are_those_that_were_put_in(study: Study) -> None:
    data = study.read("result", "mass").load()
    grid = data["temperature"].values
    assert pulls(data, "mass_left", np.interp(grid, TEMPERATURE, mass_left())).mean() < 1.3
    # a logistic step: its steepest tangent runs from two widths before its middle
    assert pulls(data, "rapid_loss_onset", 230.0).max() < 4
    assert data["rapid_loss_deflection"].values[0] < data["rapid_loss_onset"].values[0]
    mass = 0.1 * 6.94 + 0.8 * 58.693 + 0.1 * 54.938 + 0.1 * 58.933 + 2 * 15.999
    assert data["total_oxygen"].values[0] == pytest.approx(0.06 * mass / 15.999, abs=0.003)
    assert float(data["spinel_oxygen"]) == pytest.approx(4.4 / 3, abs=1e-6)
    assert float(data["rock_salt_oxygen"]) == pytest.approx(1.1, abs=1e-6)


def test_heat_and_activation_energies_are_those_that_were_put_in(study: Study) -> None:
    data = study.read("result", "heat").load()
    np.testing.assert_allclose(data["heating_rate"], [10.0, 2.5, 5.0], rtol=1e-6)  # by the names of the files
    assert pulls(data, "effect_enthalpy", -120.0).max() < 4
    assert data["kissinger_energy"].values[0] == pytest.approx(150.0, rel=0.02)
    assert data["kissinger_factor"].values[0] == pytest.approx(38.0, abs=0.8)
    # from 20 % on: before, the noise of the baseline is as large as what has flowed
    np.testing.assert_allclose(data["kas_energy"].values[0, 1:], 150.0, rtol=0.03)
    np.testing.assert_allclose(data["friedman_energy"].values[0, 1:], 150.0, rtol=0.04)


def test_a_limit_at_which_heat_flows_is_told(tmp_path: Path) -> None:
    write_calorimeter(tmp_path, (5.0,))
    text = '[sample.rod]\n[measurement.heat]\nsample = "rod"\ntechnique = "calorimetry"\nfiles = "dsc_5.txt"\n'
    text += 'calorimetry.effects = { cut = ["110 C", "190 C"], whole = ["110 C", "270 C"] }\n'
    data = result_of(tmp_path, text, "heat")
    assert data["effect_unlevel"].values.tolist() == [[True, False]]
    assert "calorimetry.effects.cut: at 190 C the heat flow leaves the baseline" in " ".join(
        data["effect_enthalpy"].attrs["remarks"]
    )


def test_holds_give_avramis_numbers_back(tmp_path: Path) -> None:
    write_holds(tmp_path)
    text = '[sample.rod]\n[measurement.hold]\nsample = "rod"\ntechnique = "mass-loss"\nfiles = "hold_*.txt"\n'
    data = result_of(tmp_path, text + 'mass_loss = { programme = "hold", whole_loss = 5.0 }\n', "hold")
    np.testing.assert_allclose(data["avrami_exponent"], 1.5, atol=0.04)
    np.testing.assert_allclose(data["avrami_rate"], [hold_rate(one) for one in HOLDS], rtol=0.02)
    assert pulls(data, "hold_energy", 150.0) < 4
    # what is lost later is not known without the recipe
    data = result_of(tmp_path, text + 'mass_loss.programme = "hold"\n', "hold")
    told = [one for one in data["hold_temperature"].attrs["remarks"] if "still lost" in one]
    assert ["hold_190" in one for one in told] == [True]


def test_gas_belongs_to_the_first_record_that_is_used(tmp_path: Path) -> None:
    """A record of which nothing is left has no ramp along which a gas is seen."""
    write_balance(tmp_path)
    (tmp_path / "a.txt").write_text(balance_text(np.full_like(TEMPERATURE, -5.0), seed=3), encoding="utf-16")
    write_gas(tmp_path / "gas.asc", 240.0)
    text = '[sample.rod]\n[measurement.mass]\nsample = "rod"\ntechnique = "mass-loss"\nfiles = ["a.txt", "rod.txt"]\n'
    data = result_of(tmp_path, text + 'mass_loss.gas = "gas.asc"\n', "mass")
    assert np.isfinite(data["mass_left"]).any(axis=1).values.tolist() == [False, True]
    signal = data["gas_signal"]
    assert signal.attrs["row"] == 1
    assert float(data["temperature"][int(np.argmax(signal[0].values))]) == pytest.approx(240.0, abs=1.0)


def result_of(folder: Path, text: str, name: str) -> xr.Dataset:
    (folder / "study.toml").write_text(text)
    run(load_recipe(folder / "study.toml"), folder / "study.zarr", resources=Resources(threads=1), progress=Silent())
    return Study.open(folder / "study.zarr").read("result", name).load()


def test_solutions_are_what_was_put_in(study: Study) -> None:
    light, icp = (study.read("result", name).load() for name in ("light", "icp"))
    assert pulls(light, "band_absorbance", 0.2).max() < 4
    np.testing.assert_allclose(icp["metal_share"].values[1, 1:], [0.8, 0.1, 0.1], atol=2e-4)
    assert float(icp["lithium_removed"]) == pytest.approx(0.9, abs=1e-3)
    assert icp["specimen"].attrs["names"] == ["rod solution", "rod pristine", "rod charged"]


def test_the_report_shows_each(study: Study) -> None:
    data = {name: study.read("result", name).load() for name in ("mass", "heat", "light", "icp")}
    panels = {panel.key for one in data.values() for panel in panels_without_layout(one)}
    assert panels == {"mass-loss", "heat", "activation", "absorbance", "contents"}
    told = {row.name: row.value for one in data.values() for row in main_numbers(one)}
    assert told["onset of rapid loss, tangents"].endswith("°C")
    assert told["dissolved, rod solution"].startswith("Ni : Co : Mn = 15.")
    tables = {table.key: table for one in data.values() for table in heating_tables(one)}
    assert set(tables) == {"steps", "records", "effects", "energies"}
    assert tables["steps"].words == ("rapid loss",)


def test_a_metal_that_was_not_analysed_has_no_bar(study: Study) -> None:
    data = study.read("result", "icp").load()
    elements = data["element"].attrs["names"]
    kept = [k for k, name in enumerate(elements) if name != "Co"]
    fewer = data.isel(element=kept)
    fewer["element"].attrs["names"] = [elements[k] for k in kept]
    with journal_style():
        panel = dissolved_samples_panel([ParticleResult("a", "a", data), ParticleResult("b", "b", fewer)])
    assert panel is not None
    (axes,) = panel.figure.axes
    whole, less = ([bar.get_height() for bar in bars] for bars in axes.containers if hasattr(bars, "patches"))
    assert len(whole) == len(less) + 1
    assert set(less) <= set(whole)


def test_contents_without_an_uncertainty_have_none(tmp_path: Path) -> None:
    """It is taken as 1 % for what follows, and that is said."""
    write_contents(tmp_path)
    rows = [line.split(",") for line in (tmp_path / "icp.csv").read_text().splitlines()]
    (tmp_path / "icp.csv").write_text("\n".join(",".join([row[0], *row[1::2]]) for row in rows) + "\n")
    text = '[sample.rod]\n[measurement.icp]\nsample = "rod"\ntechnique = "elements"\nfiles = "icp.csv"\n'
    data = result_of(tmp_path, text + 'elements.specimens = ["rod pristine"]\n', "icp")
    assert np.isnan(data["element_content_std"].values).all()
    assert "no uncertainty of Ni, Co, Mn, Li was stated: it is taken as 1%" in data["metal_share"].attrs["remarks"][0]
    assert data["lithium_per_metal_std"].values[0] == pytest.approx(0.01 * np.sqrt(1 + 0.66), rel=1e-3)


def test_a_blank_that_is_too_short_is_told(tmp_path: Path) -> None:
    """Heat flow beyond it is not known; a record beside it is set aside."""
    write_calorimeter(tmp_path, (5.0, 10.0))
    lines = (tmp_path / "dsc_5.txt").read_text(encoding="latin-1").splitlines()
    (tmp_path / "blank.txt").write_text("\n".join(lines[:-150]) + "\n", encoding="latin-1")
    text = '[sample.rod]\n[measurement.heat]\nsample = "rod"\ntechnique = "calorimetry"\nfiles = "dsc_*.txt"\n'
    data = result_of(tmp_path, text + 'calorimetry.blank = "blank.txt"\n', "heat")
    told = [
        one
        for one in data["elapsed_time"].attrs["remarks"]
        if "the blank runs from 27 to 164 C; 47% of the record" in one
    ]
    assert [one.split(":")[0] for one in told] == ["dsc_10", "dsc_5"]
    assert np.isnan(data["heat_flow"].values[0][-149:]).all()
