"""Cells, single particles and impedance from recipe to report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from cathoscope.core.parallel import Resources, Silent
from cathoscope.core.schema import dataset, label
from cathoscope.core.study import Study, Work
from cathoscope.flow.graph import Context
from cathoscope.flow.raw import RawMeasurement
from cathoscope.flow.recipe import load_recipe
from cathoscope.flow.run import RunOutcome, run
from cathoscope.flow.sections import MeasurementSection
from cathoscope.flow.steps.cell_conditions import COMPARED, comparison
from cathoscope.report.cells_tables import cell_numbers, cell_tables
from cathoscope.report.figures import cycling, impedance
from cathoscope.report.figures.cycling_samples import retention_samples_panel
from cathoscope.report.figures.particle_cells import cells_with_spectra, particle_cells_panel
from cathoscope.report.figures.state_curves import ParticleResult
from cathoscope.report.impedance_tables import impedance_tables
from cathoscope.report.style import journal_style
from tests.flow.cell_records import (
    CURRENT,
    CYCLES,
    FADES,
    RESISTANCES,
    cell_text,
    spectrum_text,
    write_cells,
    write_spectra,
)

RECIPE = """
[sample.rod]
composition = "LiNi0.8Mn0.1Co0.1O2"
[sample.gravel]

[measurement.rod]
sample = "rod"
technique = "cycling"
series = [{ temperature = "25 C", files = "rod-25/*.csv" }, { temperature = "40 C", files = "rod-40/*.csv" }]
cycling = { mass = "5 mg", one_c = "200 mAh/g", against = "gravel", smoothing = "20 mV" }

[measurement.gravel]
sample = "gravel"
technique = "cycling"
series = [{ temperature = "25 C", files = "gravel-25/*.csv" }, { temperature = "40 C", files = "gravel-40/*.csv" }]
cycling = { mass = "5 mg", one_c = "200 mAh/g", smoothing = "20 mV" }

[measurement.particle]
sample = "rod"
technique = "particle-cell"
files = "particle.csv"
cycling.smoothing = "20 mV"
[measurement.particle.particle_cell]
diameter = "8.5 um"
diameter_std = "0.3 um"
specific = "180 mAh/g"
rate = 0.5

[measurement.planned]
sample = "rod"
technique = "particle-cell"
particle_cell = { volume = "321.555 um3", density_std = "0 g/cm3" }

[measurement.impedance]
sample = "rod"
technique = "impedance"
files = "spectra/*.csv"
impedance = { surface = "250 um2", compare = ["R0-p(R1,C1)"], relaxation = false }
"""

PARTICLE = [*np.linspace(1.0, 1.1, 6), *np.linspace(1.07, 0.95, 5)]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, RunOutcome]:
    folder = tmp_path_factory.mktemp("cells")
    write_cells(folder)
    write_spectra(folder / "spectra")
    nano = 0.25e-6  # of the current and capacity of a coin cell
    (folder / "particle.csv").write_text(cell_text(PARTICLE, unit=nano, jump=3))
    (folder / "study.toml").write_text(RECIPE)
    done = run(load_recipe(folder / "study.toml"), folder / "study.zarr", resources=Resources(), progress=Silent())
    return Study.open(folder / "study.zarr"), done


def read(outcome: tuple[Study, RunOutcome], name: str) -> xr.Dataset:
    return outcome[0].read("result", name)


def test_everything_is_used(outcome: tuple[Study, RunOutcome]) -> None:
    assert [one.failure for one in outcome[1].measurements] == [None] * 5
    assert [one.name for one in outcome[1].measurements] == ["rod", "gravel", "particle", "planned", "impedance"]
    assert [len(one.set_aside) for one in outcome[1].measurements] == [0] * 5


def test_capacity_and_retention_are_those_that_were_put_in(outcome: tuple[Study, RunOutcome]) -> None:
    data = read(outcome, "rod")
    fades = np.array([*FADES["rod", 25], *FADES["rod", 40]])
    truth = fades[:, None] ** np.arange(CYCLES - 1)
    # rows stand for half the time to their neighbours: a half cycle of 40 rows has lost none of its charge
    assert np.asarray(data["capacity_retention"])[:, 1:] == pytest.approx(truth, rel=2e-5)
    assert float(data["cell_capacity"][0, 1]) == pytest.approx(CURRENT, rel=0.02)
    assert float(data["specific_capacity"][0, 1]) == pytest.approx(
        1e6 * float(data["cell_capacity"][0, 1]) / 5, rel=1e-9
    )
    assert data["condition"].attrs["names"] == ["25 °C, 1C", "40 °C, 1C"]
    assert np.asarray(data["condition_of_record"]).tolist() == [1, 1, 1, 2, 2, 2]


def test_means_of_replicates_and_the_reversal_at_a_higher_temperature(outcome: tuple[Study, RunOutcome]) -> None:
    data = read(outcome, "rod")
    kept = {key: np.array(fades) ** (CYCLES - 2) for key, fades in FADES.items()}
    assert np.asarray(data["told"]).tolist() == [CYCLES]
    for row, temperature in enumerate((25, 40)):
        own, other = kept["rod", temperature], kept["gravel", temperature]
        assert float(data["kept_share"][row, 0]) == pytest.approx(own.mean(), rel=1e-4)
        assert float(data["kept_spread"][row, 0]) == pytest.approx(own.std(ddof=1), rel=0.02)
        difference = float(data["kept_difference"][row, 0])
        assert difference == pytest.approx(own.mean() - other.mean(), rel=0.01)
        low, high = float(data["kept_difference_low"][row, 0]), float(data["kept_difference_high"][row, 0])
        assert low < difference < high
        assert 0.5 * (high - low) < 0.5 * abs(difference)
        assert low * high > 0
    assert np.sign(np.asarray(data["kept_difference"])[:, 0]).tolist() == [1, -1]


def test_a_disturbed_cycle_is_left_out_and_said_to_be(outcome: tuple[Study, RunOutcome]) -> None:
    data = read(outcome, "particle")
    assert np.asarray(data["disturbance_cycle"]).tolist() == [4]
    assert np.flatnonzero(~np.asarray(data["cycle_used"])[0]).tolist() == [3]
    assert np.isnan(float(data["capacity_retention"][0, 3]))
    assert np.isfinite(float(data["cell_capacity"][0, 3]))
    assert "jump" in data["cycle_used"].attrs["reasons"][0][2]
    assert "left out" in " ".join(table.key for table in cell_tables(data)).replace("-", " ")


def test_ends_of_charge_are_followed_up_to_a_cycle_that_is_not_used(outcome: tuple[Study, RunOutcome]) -> None:
    """What flowed in that cycle is not known, and so is where the next ones begin."""
    data = read(outcome, "particle")
    for name in ("charge_end", "discharge_end"):
        assert np.isfinite(np.asarray(data[name])[0]).tolist() == [True] * 3 + [False] * (len(PARTICLE) - 3)
    assert "up to cycle 3, the next is not used" in " ".join(data["charge_end"].attrs["remarks"])


def test_rise_then_fade_of_a_particle_is_found(outcome: tuple[Study, RunOutcome]) -> None:
    data = read(outcome, "particle")
    kinds = data["regime_kind"].attrs["flag_meanings"].split()
    assert kinds[int(data["regime_kind"][0])] == "rise_then_fade"
    assert float(data["regime_change_low"][0]) <= 6.0 <= float(data["regime_change_high"][0])
    assert float(data["slope_before"][0]) == pytest.approx(0.02, rel=0.02)


def test_the_plan_follows_from_the_size(outcome: tuple[Study, RunOutcome]) -> None:
    data, sphere = read(outcome, "planned"), read(outcome, "particle")
    assert float(data["particle_mass"]) == pytest.approx(321.555 * 4.7e-9)
    assert float(data["planned_current"]) == pytest.approx(321.555 * 4.7e-15 * 200, rel=1e-9)
    assert float(data["planned_current_std"]) == pytest.approx(0.0, abs=1e-20)
    # 3.5 % of the diameter are thrice as much of the mass; the density adds 1.06 %
    share = float(sphere["particle_mass_std"] / sphere["particle_mass"])
    assert share == pytest.approx(np.hypot(3 * 0.3 / 8.5, 0.05 / 4.7), rel=1e-6)
    assert "pA" in " ".join(row.value for row in cell_numbers(data))


def test_resistance_falls_and_a_drifting_spectrum_is_not_used(outcome: tuple[Study, RunOutcome]) -> None:
    data = read(outcome, "impedance")
    assert np.asarray(data["cycle"]).tolist() == list(RESISTANCES)
    used = np.asarray(data["impedance_used"])
    assert used.tolist() == [True, True, False, True]
    pulls = (np.asarray(data["transfer_resistance"]) - list(RESISTANCES.values())) / data["transfer_resistance_std"]
    assert (np.abs(np.asarray(pulls)[used]) < 3).all()
    specific = np.asarray(data["specific_resistance"])
    assert specific == pytest.approx(np.asarray(data["transfer_resistance"]) * 250e-8)
    assert (np.asarray(data["circuit_criterion"])[used, 0] == 0).all()
    assert (np.asarray(data["circuit_criterion"])[used, 1] > 10).all()


def test_figures_and_tables(outcome: tuple[Study, RunOutcome]) -> None:
    with journal_style():
        both = [ParticleResult(name, name, read(outcome, name)) for name in ("rod", "gravel")]
        panel = retention_samples_panel(both)
        assert panel is not None
        assert "rod minus gravel, 40 °C, 1C" in panel.caption
        spectra = read(outcome, "impedance")
        assert impedance.interface_panel(spectra) is not None
        assert cycling.regimes_panel(read(outcome, "particle")) is not None
    assert [table.key for table in cell_tables(both[0].data)][:3] == ["cells", "retention", "comparison"]
    assert [table.key for table in impedance_tables(spectra)] == ["circuit", "interface", "circuits"]


def test_another_range_of_frequencies_is_another_result(tmp_path: Path) -> None:
    (tmp_path / "z.csv").write_text(spectrum_text(5e6, seed=1))
    text = '[sample.rod]\n[measurement.z]\nsample = "rod"\ntechnique = "impedance"\nfiles = "z.csv"\n'
    for lowest in (0.1, 1.0):
        chosen = f'impedance = {{ range = ["{lowest} Hz", "100 kHz"], compare = [], relaxation = false }}\n'
        (tmp_path / "study.toml").write_text(text + chosen)
        run(load_recipe(tmp_path / "study.toml"), tmp_path / "study.zarr", resources=Resources(), progress=Silent())
        assert float(Study.open(tmp_path / "study.zarr").read("result", "z")["frequency"].min()) >= lowest


def test_a_particle_is_shown_with_its_own_spectra_only(outcome: tuple[Study, RunOutcome]) -> None:
    cell, spectra = (read(outcome, name) for name in ("particle", "impedance"))
    results = [ParticleResult("rod", "particle", cell), ParticleResult("rod", "impedance", spectra)]
    assert cells_with_spectra(results) == [(results[0], results[1])]
    for sample, number in (("gravel", "impedance"), ("rod", "2")):
        assert cells_with_spectra([results[0], ParticleResult(sample, number, spectra)]) == []
    with journal_style():
        panel = particle_cells_panel(results)
    assert panel is not None
    assert "in cycle 6, resistance from" in panel.caption
    assert panel.caption.endswith("MΩ (cycle 20).")
    curves, nyquist, course = panel.figure.axes[:3]
    assert len(nyquist.lines) == 2 * 3  # the spectrum that drifts is left out
    shown = set(read(outcome, "particle")["curve"].values.tolist()) - {4}
    assert len(curves.lines) == 2 * len(shown)
    assert np.isnan(np.asarray(course.lines[0].get_ydata(), np.float64)).sum() == 1


def conditions_of_cells(rates: list[float], unit: str) -> xr.Dataset:
    """Two cells at each of some rates at 25 C, after one cycle."""
    condition = label("condition", np.arange(1, len(rates) + 1), ("condition",))
    names = [f"25 °C, {rate:g} {unit}" for rate in rates]
    condition.attrs |= {"names": names, "temperatures": [25.0] * len(rates), "rates": rates, "rate_unit": unit}
    record = label("record", np.arange(1, 2 * len(rates) + 1), ("record",))
    kept = np.linspace(0.8, 0.9, record.size)[:, None]
    coords = {"record": record, "cycle": label("cycle", np.array([9.0]), ("cycle",)), "condition": condition}
    told = label("told", np.array([9.0]), ("told",))
    return dataset(
        [
            label("capacity_retention", kept, ("record", "cycle"), coords=coords),
            label("condition_of_record", np.repeat(condition.values, 2), ("record",), coords=coords),
            label("kept_share", kept[::2], ("condition", "told"), coords={**coords, "told": told}),
        ]
    )


def test_rates_that_cannot_be_compared_are_not_taken_for_the_same(tmp_path: Path) -> None:
    """Where the mass of one sample is not known, cells at one of several rates have no sure partner."""
    section = MeasurementSection.model_validate(
        {"sample": "a", "technique": "cycling", "files": ["x"], "cycling": {"against": "b"}}
    )
    raw, work = RawMeasurement("a", section), Work(Study.create(tmp_path / "s.zarr"), "result", "a", "address")
    for rates, sure in (([1e-3], True), ([1e-3, 2e-3], False)):
        own, beside = conditions_of_cells([1.0], "C"), conditions_of_cells(rates, "A")
        found = comparison(Context("a", raw, own, section, tmp_path, COMPARED, work, Resources(), Silent(), beside))
        assert bool(np.isfinite(found["kept_difference"]).all()) == sure
        told = " ".join(found["retention_difference"].attrs["remarks"])
        assert ("state cycling.mass of both" in told) != sure


def test_rates_are_named_above_their_cycles() -> None:
    capacity = np.repeat([2.0, 1.5, 1.0, 1.9], 2) * 1e-3
    along = {"first": [1, 3, 5, 7], "last": [2, 4, 6, 8], "capacity": capacity[::2], "multiple": [0.2, 1, 2, 0.2]}
    data = xr.Dataset(
        {
            "cell_capacity": (("record", "cycle"), capacity[None], {"names": ["one"]}),
            "cycle_used": (("record", "cycle"), np.ones((1, 8), dtype=np.bool_)),
            **{f"rate_{name}": (("record", "rate_step"), np.array([values])) for name, values in along.items()},
        },
        coords={"cycle": np.arange(1.0, 9.0), "record": [0]},
    )
    with journal_style():
        panel = cycling.rates_panel(data)
    assert panel is not None
    (axes,) = panel.figure.axes
    assert [(text.get_text(), text.xy) for text in axes.texts] == [  # type: ignore[attr-defined]
        ("0.2C", (1.5, 2.0)), ("1C", (3.5, 1.5)), ("2C", (5.5, 1.0)), ("0.2C", (7.5, 1.9)),
    ]  # fmt: skip
    assert axes.lines[0].get_ydata() == pytest.approx(1e3 * capacity)
