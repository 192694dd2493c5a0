"""Virtual records of the lab: conservation of heat and mass, Beer and Lambert, files that the readers understand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import h5py
import numpy as np
import pytest

from cathoscope.core.study import Study
from cathoscope.io import open_raw
from cathoscope.lab.composition import formula_of, lithium_removed, ratios_to
from cathoscope.lab.mass_loss import MassLossChoices, mass_curve, steps_of, without_blank
from cathoscope.lab.optical import band_absorbance
from cathoscope.numerics.estimate import Estimate
from cathoscope.virtual.balance import Balance, Calorimeter, lagged, rapid_loss_onset, smoothed_mass
from cathoscope.virtual.heating import Track
from cathoscope.virtual.lab_study import BASELINE, LAB_PRESETS, LabPlan, LabSize, lab_recipe, simulate_lab
from cathoscope.virtual.particle import ROD
from cathoscope.virtual.solutions import Dissolved, Spectrophotometer

TIME = np.arange(0.0, 3540.0, 2.0)
TEMPERATURE = 25.0 + 5.0 / 60.0 * TIME


def track() -> Track:
    """Two smooth transitions."""
    first, second = (1 / (1 + np.exp(-(TEMPERATURE - middle) / 5)) for middle in (150.0, 250.0))
    return Track(TIME, TEMPERATURE, first, second, first, 1.6 * first + 7 * second, first)


def test_the_heat_that_flows_is_the_enthalpy_of_what_has_reacted() -> None:
    quiet = Calorimeter(heat_capacity=0.0, bend=0.0, noise=0.0)
    flow = quiet.heat_flow(track(), TIME, 4.0, np.random.default_rng(0))
    assert np.trapezoid(flow, TIME) / 4.0 == pytest.approx(quiet.spinel + quiet.later, rel=1e-4)


def test_a_lag_keeps_the_area_and_delays_by_its_time() -> None:
    pulse = np.exp(-0.5 * ((TIME - 1500) / 100) ** 2)
    shown = lagged(pulse, TIME, 20.0)
    assert shown.sum() == pytest.approx(pulse.sum(), rel=1e-6)
    centre = float(np.average(TIME, weights=shown))
    assert centre == pytest.approx(1500 + 20, abs=2)


def test_the_blank_has_the_same_buoyancy_as_the_sample() -> None:
    balance = replace(Balance(), noise=0.0)
    rng = np.random.default_rng(0)
    loaded, empty = (balance.weight(np.full(TIME.size, m), TIME, TEMPERATURE, rng) for m in (12.0, 0.0))
    np.testing.assert_allclose(loaded - empty, 12.0, rtol=1e-12)
    # an ideal gas half as dense lifts half as much
    lift = balance.weight(np.zeros(2), np.zeros(2), np.array([0.0, 273.15]), rng)
    assert lift[1] - lift[0] == pytest.approx(balance.buoyancy / 2)


def test_the_onset_of_a_logistic_loss_on_a_line() -> None:
    temperature = np.arange(25.0, 300.0, 0.05)
    left = 100 - 5 / (1 + np.exp(-(temperature - 250) / 6)) - 0.01 * temperature
    assert rapid_loss_onset(temperature, left, after=200.0, baseline=(100.0, 150.0)) == pytest.approx(238.0, abs=0.01)


def test_the_onset_of_a_track_of_coarse_steps_is_that_of_fine_ones() -> None:
    steps = slice(None, None, 24)  # of 4 K, for a loss 20 K wide: no wave from step to step is the steepest
    fine, middle = track(), 1 / (1 + np.exp(-(TEMPERATURE - 250) / 6))
    fine = replace(fine, mass_loss=5 * middle + 0.01 * (TEMPERATURE - 25))
    names = ("time", "temperature", "mass_loss")
    coarse = replace(fine, **{name: getattr(fine, name)[steps] for name in names})
    seen = slice(0, int(np.searchsorted(TEMPERATURE, coarse.temperature[-1])))
    left = smoothed_mass(coarse, TIME[seen])
    assert np.diff(left).max() <= 0
    true = rapid_loss_onset(TEMPERATURE[seen], 100 - fine.mass_loss[seen], after=200.0, baseline=(100.0, 150.0))
    found = rapid_loss_onset(TEMPERATURE[seen], left, after=200.0, baseline=(100.0, 150.0))
    assert found == pytest.approx(true, abs=0.03)


def test_absorbance_grows_with_path_and_amount_until_stray_light_wins() -> None:
    wavelength = np.arange(400.0, 601.0)
    thin = Dissolved(MappingProxyType({"Co": 10.0}), 0.0)
    thick = Dissolved(MappingProxyType({"Co": 20.0}), 0.0)
    np.testing.assert_allclose(thick.absorbance(wavelength), thin.absorbance(wavelength, path=2.0), rtol=1e-12)
    blind = Spectrophotometer(stray=1e-3, noise=0.0, offset=0.0)
    assert blind.shown(np.array([8.0]), np.random.default_rng(0))[0] == pytest.approx(3.0, abs=1e-3)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A coarse study of the rod."""
    folder = tmp_path_factory.mktemp("lab")
    preset = LAB_PRESETS["rod-lab"]
    small = replace(preset.samples["rod"], design=replace(ROD, diameter=3.6, core_radius=0.7))
    plan = LabPlan(replace(preset, samples={"rod": small}), LabSize(30.0, 22, 6.0, (5.0,)), seed=1)
    simulate_lab(Study.create(folder / "study.zarr"), plan)
    assert "[sample.rod]" in lab_recipe("rod-lab", 1, plan)
    return folder


def test_the_analysis_finds_the_onset_of_the_rapid_loss(lab: Path) -> None:
    sample, blank = (open_raw(lab / "raw" / "rod-tga" / f"{name}.txt") for name in ("rod", "blank"))
    temperature = sample["sample_temperature"].values
    empty = blank["sample_temperature"].values, blank["sample_mass"].values
    mass = without_blank(temperature, sample["sample_mass"].values, *empty)
    last = steps_of(mass_curve(temperature, mass), MassLossChoices(baseline=BASELINE))[-1]
    with h5py.File(lab / "truth" / "rod-lab.h5") as truth:
        true = float(truth["rapid_loss_onset"][()])
    assert abs(last.onset.value - true) < 5 * last.onset.total
    assert last.onset.total < 1.0


def test_solutions_and_powders_have_the_stated_metals_and_lithium(lab: Path) -> None:
    data = open_raw(lab / "raw" / "icp.csv")
    rows = {
        name: {
            element: Estimate(float(data["element_content"][k, j]), float(data["element_content_std"][k, j]))
            for j, element in enumerate(data["element"].attrs["names"])
        }
        for k, name in enumerate(data["specimen"].attrs["names"])
    }
    ratios = ratios_to(rows["rod solution"], "Mn")
    for metal, true in (("Ni", 15.28), ("Co", 2.17)):
        assert abs(ratios[metal].value - true) < 4 * ratios[metal].std
    removed = lithium_removed(formula_of(rows["rod pristine"]), formula_of(rows["rod charged"]))
    assert abs(removed.value - 0.70) < 4 * removed.std
    solution, solvent = (open_raw(lab / "raw" / "rod-uv" / f"{name}.txt") for name in ("rod", "acetonitrile"))
    found = band_absorbance(
        solution["wavelength"].values[0],
        solution["absorbance"].values[0],
        blank=(solvent["wavelength"].values[0], solvent["absorbance"].values[0]),
    )
    wavelength = np.arange(400.0, 601.0)
    true_curve = LAB_PRESETS["rod-lab"].samples["rod"].dissolved.absorbance(wavelength)
    assert found.mean.value == pytest.approx(np.trapezoid(true_curve, wavelength) / 200, abs=2e-3)


def test_heat_flow_has_no_stairs_and_mass_never_rises() -> None:
    """A track of coarse steps is joined by a curve without corners that goes nowhere beyond its steps."""
    time = np.arange(0.0, 3600.0, 48.0)
    done = 1 / (1 + np.exp(-(time - 1800) / 60))
    track = Track(time, 25.0 + time / 12, done, 0 * done, 0 * done, 5.0 * done, done)
    fine = np.arange(0.0, 3500.0, 2.0)
    flow = Calorimeter(noise=0.0, bend=0.0, lag=1e-6).heat_flow(track, fine, 4.0, np.random.default_rng(0))
    assert np.abs(np.diff(flow)).max() < 0.05 * np.ptp(flow)
    assert (np.diff(smoothed_mass(track, fine)) <= 1e-12).all()
