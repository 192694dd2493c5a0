"""The foil scan: deterministic bytes, read back exactly, and calibrated to the offset within its sigma."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import chi2

from cathoscope.core.errors import CathoscopeError
from cathoscope.io.registry import open_raw
from cathoscope.virtual.bulk import bulk_energies
from cathoscope.virtual.foil import calibrated_foil, write_foil_scan
from cathoscope.xanes.bulk import FoilCalibration, calibration_shift_from_foil


def calibration_of(path: Path) -> FoilCalibration:
    data = open_raw([path])
    return calibration_shift_from_foil(
        energy=data["scan_energy"].values[0], absorption=data["absorption"].values[0], element="Ni"
    )


def test_the_file_reads_back_as_it_was_recorded(tmp_path: Path) -> None:
    energies = bulk_energies(edge_energy=8333.0)
    data = open_raw([write_foil_scan(tmp_path / "foil.xdi", energy_offset=1.5, seed=3, photons=1e9)])
    np.testing.assert_allclose(data["scan_energy"].values[0], energies - 1.5, atol=1e-5)
    np.testing.assert_allclose(data["absorption"].values[0], calibrated_foil().absorption(energies), atol=1e-3)
    assert (data.attrs["format"], data.attrs["element"], data.attrs["edge"]) == ("xdi", "Ni", "K")


def test_counts_and_absorption_agree(tmp_path: Path) -> None:
    path = write_foil_scan(tmp_path / "foil.xdi", energy_offset=0.0, seed=1)
    _, before, behind, depth = np.loadtxt(path).T
    np.testing.assert_allclose(depth, np.log(before / behind), atol=1e-9)
    index_of_dispersion = ((before - 1e6) ** 2).sum() / 1e6
    assert 1e-4 < chi2.cdf(index_of_dispersion, before.size) < 1 - 1e-4


def test_bytes_depend_on_the_arguments_only(tmp_path: Path) -> None:
    first, again, other, moved = (
        write_foil_scan(tmp_path / f"{k}.xdi", energy_offset=offset, seed=seed).read_bytes()
        for k, (offset, seed) in enumerate([(0.7, 1), (0.7, 1), (0.7, 2), (0.8, 1)])
    )
    assert first == again
    assert first != other
    assert first != moved


def test_the_found_shift_is_the_offset_within_its_sigma(tmp_path: Path) -> None:
    """No bias beyond the noise of the mean, and a spread as stated."""
    pulls = []
    for seed in range(40):
        offset = -2.0 + 0.1 * seed
        found = calibration_of(write_foil_scan(tmp_path / "foil.xdi", energy_offset=offset, seed=seed))
        assert 0 < found.shift_std < 0.05
        pulls.append((found.shift - offset) / found.shift_std)
    assert np.mean(pulls) == pytest.approx(0.0, abs=4 / np.sqrt(40))
    assert 1e-4 < chi2.cdf(np.sum(np.square(pulls)), 40) < 1 - 1e-4


def test_other_energies_are_recorded_as_asked(tmp_path: Path) -> None:
    energies = np.arange(8300.0, 8400.0, 0.5)
    path = write_foil_scan(tmp_path / "foil.xdi", energy_offset=-0.4, seed=1, energies=energies)
    np.testing.assert_allclose(np.loadtxt(path)[:, 0], energies + 0.4, atol=1e-5)
    assert abs(calibration_of(path).shift + 0.4) < 0.05


@pytest.mark.parametrize(
    "options",
    [{"photons": 0.0}, {"energy_offset": np.nan}, {"energies": [8340.0, 8330.0]}, {"photons": 1.0}],
)
def test_impossible_scans_are_refused(tmp_path: Path, options: dict[str, object]) -> None:
    with pytest.raises(CathoscopeError, match="photons"):
        write_foil_scan(tmp_path / "foil.xdi", **{"energy_offset": 0.0, "seed": 1, **options})  # type: ignore[arg-type]
    assert not (tmp_path / "foil.xdi").exists()
