"""Temperatures at which something is missing: each is named, and the others come out as if nothing had happened."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from cathoscope.core.study import Study
from cathoscope.flow.raw import missing_scans
from cathoscope.flow.steps.whiteline import OUTSIDE
from cathoscope.xanes.whiteline import WhiteLineFlag
from tests.conftest import SCANS
from tests.mistakes.damaged import NAME, Done, again, copied, remarks_of, run_steps

MISSING = 18  # 8351 eV, on the white line
# What costs time and is not looked at here.
CHOICES = 'rows = [2, 18]\ntomography.stripes = "none"\nregistration.model = "rigid"'
_CHAIN = ("edge jump", "particle mask", "white line", "white-line statistics", "registration", "differences")


@pytest.fixture(scope="module")
def with_a_gap(spheres: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:
    """Two temperatures, the second without one of the energies."""
    scans = {25: SCANS, 150: [scan for scan in SCANS if scan != MISSING]}
    folder = copied(spheres, tmp_path_factory.mktemp("gap"), scans, CHOICES)
    return run_steps(folder, until="differences", without={"audit"})


def result(done: Done) -> xr.Dataset:
    return done.study.read("result", NAME).load()


def chain(done: Done, folder: Path, changed: xr.Dataset, steps: tuple[str, ...] = _CHAIN) -> xr.Dataset:
    """What the steps make one after the other of ``changed`` inputs."""
    for step in steps:
        made = again(done, step, folder, changed)
        changed = changed.drop_vars([name for name in made.data_vars if name in changed]).merge(made, compat="override")
    return changed


def only_noise(before: xr.Dataset) -> xr.DataArray:
    """Coefficients of nothing: by their definition noise of unit variance."""
    coefficient = before["spectral_coefficient"]
    rng = np.random.default_rng(6)
    return coefficient.copy(data=rng.standard_normal(coefficient.shape).astype(np.float32))


def same_at(found: xr.Dataset, expected: xr.Dataset, at: int) -> None:
    """Whether maps and numbers of one temperature are as they were."""
    for name in ("edge_jump", "particle_mask", "white_line_energy", "white_line_flag", "white_line_mean"):
        np.testing.assert_array_equal(found[name][at], expected[name][at])


def test_an_energy_missing_at_one_temperature_is_named_and_the_others_carry_its_map(
    with_a_gap: Done, spheres: Path
) -> None:
    (missing,) = missing_scans(with_a_gap.plan.raw)
    assert "150" in missing
    assert "8351" in missing
    assert with_a_gap.set_aside == {}
    data, truth = result(with_a_gap), Study.open(spheres / "study.zarr").truth(NAME)
    assert np.isnan(data["attenuation_std"].values[1]).sum() == 1
    assert (data["white_line_flag"] == WhiteLineFlag.GOOD).sum(("z", "y", "x")).min() > 200
    off = data["white_line_mean"] - truth["white_line_mean"].values
    assert (np.abs(off) < 4 * data["white_line_mean_std"]).all()
    assert np.isfinite(data["difference_mean"]).all()


def test_a_temperature_without_nickel_has_no_particle_and_the_other_is_as_it_was(
    with_a_gap: Done, tmp_path: Path
) -> None:
    before = result(with_a_gap)
    coefficient = before["spectral_coefficient"].copy()
    coefficient[1] = only_noise(before)[1]
    found = chain(with_a_gap, tmp_path, xr.Dataset({"spectral_coefficient": coefficient}))
    assert not found["particle_mask"][1].any()
    assert (found["white_line_flag"][1] == OUTSIDE).all()
    assert np.isnan(found["white_line_mean"][1])
    same_at(found, before, 0)
    said = remarks_of(found)
    for text in ("150 C: no voxel has an edge", "150 C has no statistics", "150 C could not be registered"):
        assert any(text in remark for remark in said), said
    assert np.isnan(found["white_line_difference"]).all()


def test_nickel_at_no_temperature_is_no_reason_to_stop(with_a_gap: Done, tmp_path: Path) -> None:
    before = result(with_a_gap)
    found = chain(with_a_gap, tmp_path, xr.Dataset({"spectral_coefficient": only_noise(before)}))
    assert np.isnan(found["white_line_mean"]).all()
    assert np.isnan(found["placement_shift"]).all()
    said = remarks_of(found)
    assert sum("no voxel has an edge" in remark for remark in said) == 2


def test_voxels_without_nickel_in_the_mask_are_flagged(with_a_gap: Done, tmp_path: Path) -> None:
    before = result(with_a_gap)
    everything = xr.ones_like(before["particle_mask"])
    flag = again(with_a_gap, "white line", tmp_path, xr.Dataset({"particle_mask": everything}))["white_line_flag"]
    jump, std = before["edge_jump"], before["edge_jump_std"]
    none = np.abs(jump) < 2 * std
    assert none.sum() > 40_000
    assert ((flag == WhiteLineFlag.GOOD) & none).sum() < 1e-3 * none.sum()
    assert ((flag == WhiteLineFlag.NO_EDGE) & none).sum() > 0.95 * none.sum()


def test_a_temperature_that_cannot_be_registered_keeps_its_map(with_a_gap: Done, tmp_path: Path) -> None:
    before = result(with_a_gap)
    other = before["edge_jump"].copy()
    rng = np.random.default_rng(3)
    other[1] = np.where(before["particle_mask"].values[0], 0.0, 1.0) * rng.random(other[1].shape)
    found = chain(with_a_gap, tmp_path, xr.Dataset({"edge_jump": other}), ("registration", "differences"))
    named = "150 C could not be registered and has no difference maps: "
    (remark,) = [remark for remark in remarks_of(found) if remark.startswith(named)]
    assert len(remark) > len(named)  # and why
    assert np.isnan(found["placement_shift"][1]).all()
    assert np.isnan(found["white_line_difference"]).all()
    assert any("no difference map of 25 to 150 C" in one for one in remarks_of(found))
    assert np.isfinite(found["white_line_shift"]).all()  # of the means: no placement is needed for it


def test_a_temperature_cut_short_below_the_edge_is_named(with_a_gap: Done, tmp_path: Path) -> None:
    before = result(with_a_gap)
    std = before["attenuation_std"].copy()
    std[1, -2:] = np.nan  # the scans above the edge were never taken
    found = chain(with_a_gap, tmp_path, xr.Dataset({"attenuation_std": std}))
    assert np.isnan(found["edge_jump"][1]).all()
    assert any(
        one.startswith("150 C: no edge jump: 2 energies below the edge and 0 above") for one in remarks_of(found)
    )
    same_at(found, before, 0)
