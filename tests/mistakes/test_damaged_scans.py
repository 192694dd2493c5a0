"""Scans of one temperature that do not fit the others: each is named, set aside or used, and the series is solved."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from cathoscope.core.study import Study
from tests.conftest import SCANS
from tests.mistakes.damaged import NAME, Done, copied, file_of, keep_projections, run_steps

# Number of a scan and what is done to it.
TRUNCATED, HARDLY_BEGUN, ENDS_EARLY, A_LITTLE_SHORT, EVERY_THIRD_LOST = 2, 5, 8, 14, 15
WRONG_ENERGY, FLATS_OF_ANOTHER_DAY, OUT_OF_VIEW, NO_SPECIMEN = 16, 18, 25, 27
FINE = (0, 12, 20, 29)


def name_of(scan: int) -> str:
    return Path(file_of(25, scan)).name


def at(done: Done, scan: int) -> int:
    """Place of a scan among the energies."""
    files = {Path(one.attrs["source"]).name: index[-1] for index, one in done.plan.raw.scans.items()}
    return files[name_of(scan)]


@pytest.fixture(scope="module")
def damaged(spheres: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = copied(spheres, tmp_path_factory.mktemp("damaged"), {25: SCANS})
    path = {scan: folder / file_of(25, scan) for scan in SCANS}
    path[TRUNCATED].write_bytes(path[TRUNCATED].read_bytes()[:60_000])
    keep_projections(path[HARDLY_BEGUN], slice(0, 25))
    keep_projections(path[ENDS_EARLY], slice(0, 45))
    keep_projections(path[A_LITTLE_SHORT], slice(0, 54))
    keep_projections(path[EVERY_THIRD_LOST], [k for k in range(60) if k % 3 != 1])
    with h5py.File(path[WRONG_ENERGY], "r+") as file:
        file["X_eng"][...] = 8.325
    with h5py.File(path[FLATS_OF_ANOTHER_DAY], "r+") as file:
        dark = file["img_dark"][...].mean(axis=0)
        file["img_bkg"][...] = dark + (file["img_bkg"][...] - dark) / 1.8
    with h5py.File(path[OUT_OF_VIEW], "r+") as file:
        file["img_tomo"][...] = np.roll(file["img_tomo"][...], 12, axis=2)
    with h5py.File(path[NO_SPECIMEN], "r+") as file:
        file["img_tomo"][...] = np.resize(file["img_bkg"][...], file["img_tomo"].shape)
    return run_steps(folder, until="series geometry")


@pytest.fixture(scope="module")
def undisturbed_axis(spheres: Path) -> np.ndarray:
    """True axis of every scan at 25 C, px."""
    return Study.open(spheres / "study.zarr").truth(NAME)["rotation_axis"].values[0]


def test_a_file_that_was_cut_off_is_set_aside(damaged: Done) -> None:
    assert "truncated" in damaged.set_aside[name_of(TRUNCATED)]


def test_a_scan_with_fewer_than_half_of_the_projections_is_set_aside(damaged: Done) -> None:
    reason = damaged.set_aside[name_of(HARDLY_BEGUN)]
    assert "25 projections" in reason
    assert "60" in reason


def test_a_scan_that_ends_early_is_set_aside(damaged: Done) -> None:
    reason = damaged.set_aside[name_of(ENDS_EARLY)]
    assert "it covers 137 deg" in reason
    assert "the other scans 183 deg" in reason


@pytest.mark.parametrize(("scan", "count"), [(A_LITTLE_SHORT, 54), (EVERY_THIRD_LOST, 40)])
def test_a_scan_with_fewer_projections_that_covers_the_angles_is_used_and_named(
    damaged: Done, scan: int, count: int
) -> None:
    (remark,) = damaged.remarks_on(f"{count} projections")
    assert remark.startswith(name_of(scan))
    assert "it is used" in remark
    # the spheres jitter along rows alone
    found = damaged.study.read("result", NAME, ["projection_shift"])["projection_shift"].values[0, at(damaged, scan)]
    assert np.isfinite(found[:count]).all()
    assert np.count_nonzero(found[:count]) == count


def test_flats_of_another_day_are_named(damaged: Done) -> None:
    (remark,) = damaged.remarks_on("flats of another day")
    assert remark.startswith(name_of(FLATS_OF_ANOTHER_DAY))
    assert "factor 1.8" in remark
    assert name_of(FLATS_OF_ANOTHER_DAY) not in damaged.set_aside


def test_a_specimen_that_drifted_out_of_view_is_set_aside(damaged: Done) -> None:
    assert "field of view" in damaged.set_aside[name_of(OUT_OF_VIEW)]


def test_a_scan_without_specimen_is_set_aside(damaged: Done) -> None:
    assert "shows nothing" in damaged.set_aside[name_of(NO_SPECIMEN)]


def test_a_scan_recorded_with_a_wrong_energy_is_named(damaged: Done) -> None:
    (remark,) = damaged.remarks_on("energy out of place")
    assert remark.startswith(name_of(WRONG_ENERGY))
    assert "more" in remark


def test_nothing_else_is_said_of_scans_that_are_fine(damaged: Done) -> None:
    for scan in FINE:
        assert name_of(scan) not in damaged.set_aside
        assert not damaged.remarks_on(name_of(scan))


def test_the_rest_is_solved_as_if_nothing_had_happened(damaged: Done, undisturbed_axis: np.ndarray) -> None:
    found = damaged.study.read("result", NAME, ["rotation_axis"])["rotation_axis"].values[0]
    used = (*FINE, FLATS_OF_ANOTHER_DAY, WRONG_ENERGY, A_LITTLE_SHORT, EVERY_THIRD_LOST)
    off = {scan: found[at(damaged, scan)] - undisturbed_axis[scan] for scan in used}
    assert set(damaged.plan.raw.scans) == {(0, at(damaged, scan)) for scan in used}
    assert max(abs(off[scan]) for scan in (*FINE, FLATS_OF_ANOTHER_DAY, WRONG_ENERGY)) < 0.06
    # over a shorter arc the axis and a displacement of the specimen are told apart less well
    assert max(abs(off[scan]) for scan in (A_LITTLE_SHORT, EVERY_THIRD_LOST)) < 0.15
