"""Foils of a series that contradict each other, or are no foils: each is named, and the others set the scale."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from cathoscope.core.parallel import Resources, Silent
from cathoscope.core.study import Study, Work
from cathoscope.flow.graph import Context
from cathoscope.flow.raw import RawMeasurement
from cathoscope.flow.steps.energy_scale import energy_scale, offset_at
from cathoscope.virtual.bulk import bulk_energies, foil_spectrum
from cathoscope.xanes.edge import calibration_shift_from_foil
from tests.mistakes.damaged import remarks_of, series_without_scans

ENERGY = bulk_energies(edge_energy=8333.0)
FOIL = foil_spectrum().absorption(ENERGY)
# An energy scale on which the virtual foil is not off. How well a foil calibrates is tested with the calibration.
TRUE_ENERGY = ENERGY + calibration_shift_from_foil(energy=ENERGY, absorption=FOIL, element="Ni").shift
ALIKE = {25: 0.30, 150: 0.32, 200: 0.29, 250: 0.31}


def scales(folder: Path, off: Mapping[int, float | None]) -> Context:
    """A series whose recorded energies are off by some eV at each temperature, as its foil says; None: no foil."""
    rng = np.random.default_rng(8)
    for temperature, by in off.items():
        if by is not None:
            mu = FOIL + 3e-4 * rng.standard_normal(ENERGY.size)
            table = np.stack([TRUE_ENERGY - by, mu], axis=1)
            np.savetxt(folder / f"foil_{temperature}.txt", table, header="energy mu", comments="")
    foils = {temperature: f"foil_{temperature}.txt" for temperature, by in off.items() if by is not None}
    raw: RawMeasurement = series_without_scans(foils, list(off))
    return Context(
        name="rod",
        raw=raw,
        data=None,  # type: ignore[arg-type]
        section=raw.section,
        data_folder=folder,
        makes=("energy_offset", "energy_offset_std"),
        work=Work(Study.create(folder / "study.zarr"), "result", "rod", "a"),
        resources=Resources(),
        progress=Silent(),
    )


def said_of(found: xr.Dataset) -> list[str]:
    """Remarks, but not the one that the virtual foil has too little fine structure to be checked by."""
    return [remark for remark in remarks_of(found) if "fewer than three derivative maxima" not in remark]


def test_foils_that_agree_are_not_spoken_of(tmp_path: Path) -> None:
    found = energy_scale(scales(tmp_path, ALIKE))
    assert said_of(found) == []
    np.testing.assert_allclose(found["energy_offset"], list(ALIKE.values()), atol=0.03)


@pytest.mark.parametrize("by", [2.5, -1.5])
def test_a_foil_that_contradicts_the_others_names_its_temperature(tmp_path: Path, by: float) -> None:
    found = energy_scale(scales(tmp_path, ALIKE | {200: by}))
    (remark,) = said_of(found)
    assert "the foil at 200 C" in remark
    assert f"{by:+.1f}" in remark
    assert "out of place" in remark
    # every temperature keeps the scale of its own foil, the others are not pulled
    np.testing.assert_allclose(found["energy_offset"], [0.30, 0.32, by, 0.31], atol=0.05)


def test_a_temperature_without_foil_takes_the_mean_of_the_others_and_is_less_certain(tmp_path: Path) -> None:
    found = energy_scale(scales(tmp_path, ALIKE | {250: None}))
    (remark,) = said_of(found)
    assert "1 of 4 temperatures have no foil" in remark
    assert offset_at(found, (3,)) == pytest.approx(0.303, abs=0.02)
    std = found["energy_offset_std"].values
    assert std[3] > std[:3].max()


def test_a_file_that_is_no_foil_is_named_and_not_used(tmp_path: Path) -> None:
    context = scales(tmp_path, ALIKE)
    (tmp_path / "foil_150.txt").write_text("energy mu\n8300 0.1\n8301 0.1\n")
    found = energy_scale(context)
    said = said_of(found)
    assert any(remark.startswith("foil_150.txt: the foil is not used") for remark in said)
    assert np.isfinite(found["energy_offset"]).all()
    np.testing.assert_allclose(found["energy_offset"], 0.30, atol=0.03)


def test_without_any_usable_foil_energies_stay_as_recorded(tmp_path: Path) -> None:
    context = scales(tmp_path, {25: 0.3, 150: None})
    (tmp_path / "foil_25.txt").write_text("energy mu\n8300 0.1\n8301 0.1\n")
    found = energy_scale(context)
    assert (found["energy_offset"] == 0).all()
    assert np.isnan(found["energy_offset_std"]).all()
    assert any("energies are as recorded" in remark for remark in said_of(found))
