"""Flats of another day where the beam is not normalised: the scan cannot be used, and the others are solved."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from tests.mistakes.damaged import NAME, copied, file_of, run_steps

DIMMER = 20


def test_a_background_far_below_zero_sets_its_scan_aside(spheres: Path, tmp_path: Path) -> None:
    scans = (0, 12, 16, DIMMER, 29)
    folder = copied(spheres, tmp_path, {25: scans}, "tomography.normalise_beam = false")
    with h5py.File(folder / file_of(25, DIMMER), "r+") as file:
        dark = file["img_dark"][...].mean(axis=0)
        file["img_bkg"][...] = dark + (file["img_bkg"][...] - dark) / 1.8
    done = run_steps(folder, until="series geometry")
    ((name, reason),) = done.set_aside.items()
    assert name == Path(file_of(25, DIMMER)).name
    assert f"the optical depth beside the specimen is {-np.log(1.8):.2f}" in reason
    assert "flats of another day" in reason
    axis = done.study.read("result", NAME, ["rotation_axis"])["rotation_axis"].values[0]
    assert np.isfinite(axis).sum() == len(scans) - 1
