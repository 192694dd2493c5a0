"""Foils of a series help each other: how far each temperature's scale is off, and what is said of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from cathoscope.core.errors import MeasurementError
from cathoscope.core.parallel import Resources, Silent
from cathoscope.core.study import Study, Work
from cathoscope.flow.graph import Context
from cathoscope.flow.sections import MeasurementSection
from cathoscope.flow.steps import energy_scale as module
from cathoscope.flow.steps.energy_scale import STEP, energy_scale, has_foil, offset_at
from cathoscope.xanes.edge import FoilCalibration
from tests.mistakes.damaged import series_without_scans

TEMPERATURES = [25, 100, 150, 200, 250, 300]
LEVEL = 0.8  # eV


@pytest.fixture
def series(tmp_path: Path) -> Context:
    """Six temperatures with a foil each; what the foils say is stated by the test."""
    raw = series_without_scans({t: f"{t}" for t in TEMPERATURES}, TEMPERATURES)
    work = Work(Study.create(tmp_path / "study.zarr"), "result", "rod", "address")
    nothing = xr.Dataset()
    return Context("rod", raw, nothing, raw.section, tmp_path, STEP.makes, work, Resources(), Silent())


def say(monkeypatch: pytest.MonkeyPatch, shifts: dict[int, float], std: float) -> None:
    """Foils of some temperatures say these shifts; the others cannot be read."""

    def calibrated(context: Context, file: str) -> FoilCalibration:
        """What a foil says."""
        if int(file) not in shifts:
            raise MeasurementError("the file is empty")
        return FoilCalibration(shifts[int(file)], std, 8333.0, (np.nan, np.nan), (np.nan, np.nan), ("seen",))

    monkeypatch.setattr(module, "calibration_of_foil", calibrated)


@pytest.mark.parametrize(("drift", "left", "too_small"), [(0.0, 0.58, 1.05), (0.1, 0.87, 1.25), (0.4, 1.03, 1.1)])
def test_scales_scatter_as_they_say(drift: float, left: float, too_small: float) -> None:
    """Five foils drawn anew 1500 times, and a temperature without one.

    ``left`` is the error over that of each foil alone: foils that do not drift are averaged. The drift is found from
    five foils only. Where it is as large as their own error it is now missed and now not, and the stated uncertainty
    comes out ``too_small`` at most.
    """
    rng, std = np.random.default_rng(1), 0.1
    truth = LEVEL + drift * rng.standard_normal((1500, 6))
    found, sigma = truth + std * rng.standard_normal(truth.shape), np.full(truth.shape, std)
    found[:, -1] = sigma[:, -1] = np.nan
    for offset, uncertainty in zip(found, sigma, strict=True):
        module._shared(offset, uncertainty)
    error = found - truth
    assert np.abs(error.mean(axis=0)).max() < 4 * np.hypot(std, drift) / np.sqrt(1500)
    rms, stated = (np.sqrt(np.mean(values**2, axis=0)) for values in (error, sigma))
    assert rms[:-1].max() < left * std
    assert (rms / stated)[:-1].min() > 0.95
    assert (rms / stated)[:-1].max() < too_small
    # the one without a foil is at least as certain as said
    assert rms[-1] < 1.08 * stated[-1]


def test_what_foils_say_is_passed_on(series: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    say(monkeypatch, dict.fromkeys(TEMPERATURES[:-1], LEVEL), 0.05)
    found = energy_scale(series)
    remarks = found["energy_offset"].attrs["remarks"]
    assert [f"{t}: seen" for t in TEMPERATURES[:-1]] == [remark for remark in remarks if "seen" in remark]
    assert "300: the foil is not used: the file is empty" in remarks
    np.testing.assert_allclose(found["energy_offset"], LEVEL)
    # without drift all foils are one measurement
    np.testing.assert_allclose(found["energy_offset_std"], 0.05 / np.sqrt(5))
    assert offset_at(found, (5,)) == pytest.approx(LEVEL)
    assert offset_at(xr.Dataset(), (5,)) == 0.0


def test_one_foil_is_taken_for_all_with_its_own_uncertainty_as_drift(
    series: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(monkeypatch, {150: LEVEL}, 0.05)
    found = energy_scale(series)
    np.testing.assert_allclose(found["energy_offset"], LEVEL)
    others = np.array(TEMPERATURES) != 150
    assert (found["energy_offset_std"].values[others] > float(found["energy_offset_std"][2])).all()


def test_only_a_recipe_with_foils_has_this_step() -> None:
    alone = MeasurementSection(sample="rod", technique="xanes-tomography", files=["x"])
    assert not has_foil(alone)
    assert has_foil(series_without_scans({25: "foil.txt"}, [25, 150]).section)
