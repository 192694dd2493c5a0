"""Temperatures of which nothing can be used: their scans are set aside with the reason, the others are solved."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from cathoscope.core.errors import MeasurementError
from tests.mistakes.damaged import NAME, copied, file_of, run_steps

FINE = (0, 12, 20, 29)


def without_specimen(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["img_tomo"][...] = np.resize(file["img_bkg"][...], file["img_tomo"].shape)


@pytest.mark.parametrize(
    ("scans", "reason"),
    [
        ((12,), "it is the only usable scan of its temperature"),
        ((0, 12, 29), "no scan of this temperature has a rotation axis"),
    ],
)
def test_a_temperature_without_a_usable_series_does_not_stop_the_others(
    spheres: Path, tmp_path: Path, scans: tuple[int, ...], reason: str
) -> None:
    folder = copied(spheres, tmp_path, {25: FINE, 150: scans})
    if len(scans) > 1:
        for scan in scans:
            without_specimen(folder / file_of(150, scan))
    done = run_steps(folder, until="series geometry")
    assert set(done.set_aside) == {Path(file_of(150, scan)).name for scan in scans}
    assert all(reason in why for why in done.set_aside.values()), done.set_aside
    axis = done.study.read("result", NAME, ["rotation_axis"])["rotation_axis"].values
    assert np.isfinite(axis[0]).all()
    assert np.isnan(axis[1]).all()


def test_where_no_temperature_has_a_usable_series_the_reasons_are_said(spheres: Path, tmp_path: Path) -> None:
    folder = copied(spheres, tmp_path, {25: (12,), 150: (20,)})
    with pytest.raises(MeasurementError, match="no scan fits into a series") as caught:
        run_steps(folder, until="series geometry")
    assert "the only usable scan of its temperature" in str(caught.value.found)
