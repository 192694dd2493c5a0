"""Virtual cells as files: the readers give back what was simulated, and the analysis finds the truth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from cathoscope.core.study import Study
from cathoscope.flow.recipe import load_recipe
from cathoscope.io import open_raw
from cathoscope.lab.cycles import cycles_of
from cathoscope.lab.disturbances import disturbances_of
from cathoscope.lab.impedance_fit import fit_circuit
from cathoscope.lab.particle_cell import offset_of
from cathoscope.lab.record import record_of
from cathoscope.virtual.cell import Cell, Health
from cathoscope.virtual.cell_files import Spectrum, eclab_impedance_text, impedance_text
from cathoscope.virtual.cell_record import Sweep
from cathoscope.virtual.coin_cells import rate_capability, steady, theoretical_capacity
from cathoscope.virtual.coin_study import COIN_PRESETS, CoinPlan, CoinSample, coin_recipe, simulate_coins
from cathoscope.virtual.particle import L_NMC, ROD
from cathoscope.virtual.particle_cell_study import (
    PARTICLE_CELL_PRESETS,
    ParticleCellPlan,
    Trouble,
    particle_cell_recipe,
    simulate_particle_cells,
)

SMALL_ROD = replace(ROD, diameter=3.6, core_radius=0.7)
SMALL_L = replace(L_NMC, diameter=3.4, pore_radius=1.0, isotropic_radius=0.6)


def cycles_in(path: Path, offset: float = 0.0):  # type: ignore[no-untyped-def]
    data = open_raw(path)
    columns = [data[name].values for name in ("elapsed_time", "cell_voltage", "cell_current", "cell_charge")]
    record = record_of(*columns, offset=offset)
    return data, record, cycles_of(record)


@pytest.fixture(scope="module")
def coins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Few cycles of two cells each of a small rod particle."""
    folder = tmp_path_factory.mktemp("coins")
    programmes = {"25C": steady(0.2, 4, formation=0.1, temperature=25.0), "rate": rate_capability((0.2, 2.0), each=2)}
    preset = replace(COIN_PRESETS["rod-cells"], programmes=programmes, cells=2, ages=4)
    preset = replace(preset, samples=MappingProxyType({"rod": CoinSample(SMALL_ROD, 0.99)}))
    plan = CoinPlan(preset, preset.sizes["small"], seed=1)
    text = coin_recipe("rod-cells", 1, plan, simulate_coins(Study.create(folder / "study.zarr"), plan))
    (folder / "study.toml").write_text(text)
    return folder


@pytest.mark.parametrize(("kind", "end"), [("25C", "csv"), ("rate", "xlsx")])
def test_analysis_of_coin_cells_finds_their_capacities(coins: Path, kind: str, end: str) -> None:
    truth = Study.open(coins / "study.zarr").read("truth", f"rod-{kind}")
    for number in (1, 2):
        data, _, cycles = cycles_in(coins / "raw" / f"rod-{kind}" / f"rod_{kind}_{number}.{end}")
        true = truth["discharge_capacity"].values[number - 1]
        np.testing.assert_allclose(cycles.discharge, true, atol=5 * float(cycles.discharge_std.max()))
        np.testing.assert_allclose(cycles.discharge, true, rtol=3e-3)
        polarisation = truth["polarisation"].values[number - 1]
        np.testing.assert_allclose(cycles.polarisation, polarisation, atol=8e-3)
        assert data["file_cycle"].values.max() == 4
    assert "LAND" in str(data.attrs["metadata"])


def test_truth_tells_retention_of_the_second_cycle_and_the_cell_in_the_middle(coins: Path) -> None:
    truth = Study.open(coins / "study.zarr").read("truth", "rod-25C")
    capacity, kept = truth["discharge_capacity"].values, truth["capacity_retention"].values
    np.testing.assert_allclose(kept, capacity / capacity[:, 1:2])
    np.testing.assert_allclose(truth["specific_capacity"], 1e6 * capacity / truth["cell_mass"].values[:, None])
    assert truth["retention_mean"].dims == ("condition", "cycle")
    middle = truth["retention_mean"].values[0]
    assert (np.abs(kept - middle) < 0.01).all()
    assert truth["capacity_mean"].values[0, 1] == pytest.approx(
        truth["specific_capacity"].values[:, 1].mean(), rel=0.01
    )


def test_recipes_of_cells_are_accepted(coins: Path) -> None:
    recipe = load_recipe(coins / "study.toml")
    impedance = {"rod-25C-1-impedance", "rod-25C-2-impedance"}
    spectra = {"rod-xas", "rod-xas-Co", "rod-xas-Mn"}
    assert set(recipe.model.measurement) == {"rod-25C", "rod-rate"} | spectra | impedance


def test_nickel_is_oxidised_as_the_charge_tells_and_its_edge_moves(coins: Path) -> None:
    edges = Study.open(coins / "study.zarr").read("truth", "rod-xas")["derivative_edge"].values
    taken = 0.82 * (edges[1] - edges[0]) / 1.6  # lithium per metal: every one of them oxidises a nickel
    truth = Study.open(coins / "study.zarr").read("truth", "rod-25C")
    charge = 1e6 * truth["charge_capacity"].values[:, 0].mean() / truth["cell_mass"].values.mean()
    assert taken == pytest.approx(charge / theoretical_capacity(composition=ROD.core_composition), rel=0.03)
    for state in ("pristine", "charged"):
        data = open_raw(coins / "raw" / "rod-xas" / f"{state}.xdi")
        assert {"absorption", "reference_absorption"} <= set(data)


@pytest.mark.parametrize("element", ["Co", "Mn"])
def test_cobalt_and_manganese_change_in_shape_and_not_in_energy(coins: Path, element: str) -> None:
    study = Study.open(coins / "study.zarr")
    truth, nickel = study.read("truth", f"rod-xas-{element}"), study.read("truth", "rod-xas")
    for name in ("half_height_edge", "integral_edge"):  # the steepest point is one of the shape
        moved, of_nickel = (float(np.diff(one[name].values)[0]) for one in (truth, nickel))
        assert abs(moved) < 0.1 * of_nickel
    folder = coins / "raw" / f"rod-xas-{element}"
    before, after = (open_raw(folder / f"{state}.xdi") for state in ("pristine", "charged"))
    assert before.attrs["element"] == element
    top = [float(one["absorption"].max() - one["absorption"][0, 0]) for one in (before, after)]
    assert top[1] < top[0] - 0.05  # of an edge step of one


def test_one_seed_makes_the_same_bytes(coins: Path, tmp_path: Path) -> None:
    preset = COIN_PRESETS["rod-cells"]
    preset = replace(preset, programmes={"rate": rate_capability((0.2, 2.0), each=2)}, cells=1, ages=4)
    preset = replace(preset, samples=MappingProxyType({"rod": CoinSample(SMALL_ROD, 0.99)}))
    simulate_coins(Study.create(tmp_path / "study.zarr"), CoinPlan(preset, preset.sizes["small"], seed=1))
    name = Path("raw") / "rod-rate" / "rod_rate_1.xlsx"
    assert (tmp_path / name).read_bytes() == (coins / name).read_bytes()


@pytest.fixture(scope="module")
def particle(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ParticleCellPlan]:
    """A small particle with everything that may go wrong."""
    folder = tmp_path_factory.mktemp("particle")
    preset = PARTICLE_CELL_PRESETS["cadiou-cells-disturbed"]
    law = preset.samples["L-NMC"][1]
    trouble = Trouble(beam=3, short=8, leaky=(5, 6))
    preset = replace(preset, samples=MappingProxyType({"L-NMC": (SMALL_L, law)}), trouble=trouble, rest=600.0)
    plan = ParticleCellPlan(preset, replace(preset.sizes["small"], cycles=9), seed=1)
    text = particle_cell_recipe("x", 1, plan, simulate_particle_cells(Study.create(folder / "study.zarr"), plan))
    (folder / "study.toml").write_text(text)
    return folder, plan


def test_analysis_of_a_particle_finds_offset_capacities_and_disturbances(
    particle: tuple[Path, ParticleCellPlan],
) -> None:
    folder, _ = particle
    truth = Study.open(folder / "study.zarr").read("truth", "L-NMC-1-cell")
    path = folder / "raw" / "L-NMC-1-cell" / "cycling.mpt"
    _, record, _ = cycles_in(path)
    offset = offset_of(record)
    true = float(truth["current_offset"].values[0])
    assert abs(offset.value - true) < 5 * offset.total
    _, record, cycles = cycles_in(path, true)
    used = truth["cycle_used"].values[0]
    errors = (cycles.discharge - truth["discharge_capacity"].values[0])[used] / cycles.discharge_std[used]
    assert (np.abs(errors) < 4).all()
    efficiency = truth["coulombic_efficiency"].values[0]
    assert efficiency[5] < efficiency[3] - 0.03  # the leakage
    found = {(one.kind, one.cycle) for one in disturbances_of(record, cycles)}
    assert {("jump", 3), ("short", 8)} <= found
    recipe = load_recipe(folder / "study.toml")
    assert recipe.model.measurement["L-NMC-1-cell"].technique == "particle-cell"


def test_a_sweep_without_noise_holds_the_limits_of_the_circuit(tmp_path: Path) -> None:
    """Bio-Logic text and plain tables give the same impedance back; R at the fast end is that in series."""
    cell, health = Cell(sites=3e-10, diffusivity=4e-3), Health(1.0, 1e-9, 1.0, 4e6)
    spectrum = Sweep(1e7, 0.1, 30, noise=0.0).spectrum(cell, health, np.random.default_rng(0))
    np.testing.assert_allclose(spectrum.impedance, cell.impedance(spectrum.frequency, 0.5, health))
    (tmp_path / "z.mpt").write_text(eclab_impedance_text(spectrum, voltage=3.9, note=""), encoding="latin-1")
    (tmp_path / "z.csv").write_text(impedance_text(spectrum))
    for name in ("z.mpt", "z.csv"):
        data = open_raw(tmp_path / name)
        found = data["impedance_real"].values + 1j * data["impedance_imaginary"].values
        np.testing.assert_allclose(found, spectrum.impedance, rtol=1e-6)
    assert spectrum.impedance[0].real == pytest.approx(4e6, rel=0.02)
    assert isinstance(spectrum, Spectrum)


@pytest.mark.parametrize("area", [2.3e-10, 1e-9])
def test_a_circuit_with_diffusion_finds_charge_transfer_and_one_without_it_too_much(area: float) -> None:
    cell, health = Cell(sites=4e-10, diffusivity=3e-3), Health(1.0, area, 9.4e-10 / area, 4e6)
    spectrum = Sweep(1e5, 0.2, 45).spectrum(cell, health, np.random.default_rng(1))
    true = cell.charge_transfer(health)
    found = {
        text: fit_circuit(text, frequency=spectrum.frequency, impedance=spectrum.impedance).estimate("R1")
        for text in ("R0-p(R1-W1,CPE1)", "R0-p(R1,CPE1)")
    }
    assert abs(found["R0-p(R1-W1,CPE1)"].value - true) < 4 * found["R0-p(R1-W1,CPE1)"].std
    assert found["R0-p(R1,CPE1)"].value > 1.02 * true
