"""Segmented battery electrodes with published volume shares, percolation and tortuosity."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from cathoscope.volume.connection import percolation
from cathoscope.volume.domains import crack_bounded_domains
from cathoscope.volume.tortuosity import tortuosity

PORE, OXIDE, BINDER = 0, 85, 170
VOXEL = 100 / 256  # um; the box is 100 um wide
# of the pore along the first axis, by TauFactor, and its conductivity
PUBLISHED_TORTUOSITY, PUBLISHED_CONDUCTIVITY = 2.0776, 0.2166


@pytest.fixture(scope="module")
def electrode(data_folder: Path) -> np.ndarray:
    return np.ascontiguousarray(tifffile.imread(data_folder / "imaging" / "taufactor-electrode" / "electrode.tiff"))


@pytest.mark.parametrize(
    ("phase", "share", "connected"), [(PORE, 0.44992, 0.9989), (OXIDE, 0.40047, 0.9611), (BINDER, 0.14962, 0.9740)]
)
def test_volume_share_and_percolation_are_those_published(
    electrode: np.ndarray, phase: int, share: float, connected: float
) -> None:
    mask = electrode == phase
    assert mask.mean() == pytest.approx(share, abs=5e-6)
    assert percolation(mask, axis=0) == pytest.approx(connected, abs=5e-5)


def test_tortuosity_of_the_pore_is_that_published(electrode: np.ndarray) -> None:
    found = tortuosity(electrode == PORE, voxel_size=(VOXEL,) * 3, tolerance=3e-3)
    assert found.tortuosity.value == pytest.approx(PUBLISHED_TORTUOSITY, rel=2e-3)
    assert found.relative_conductivity.value == pytest.approx(PUBLISHED_CONDUCTIVITY, rel=2e-3)
    assert found.flux_in == pytest.approx(found.flux_out, rel=3e-3)


@pytest.fixture(scope="module")
def calendered(data_folder: Path) -> np.ndarray:
    file = data_folder / "imaging" / "matbox-nmc1cal" / "nmc-1-cal_generatedCBD_bridge.tif"
    return np.ascontiguousarray(tifffile.imread(file))


def test_shares_of_the_calendered_electrode_are_those_of_the_provenance(calendered: np.ndarray) -> None:
    shares = [np.count_nonzero(calendered == phase) / calendered.size for phase in (0, 1, 2)]
    assert shares == pytest.approx([0.4005, 0.4995, 0.1000], abs=6e-5)


def test_a_calendered_electrode_is_more_tortuous_across_the_layers_and_with_binder_in_its_pores(
    calendered: np.ndarray,
) -> None:
    piece = calendered[:64, :64, :64]
    bare, bound = (
        [tortuosity(mask, voxel_size=(0.4,) * 3, axis=k).tortuosity.value for k in range(3)]
        for mask in (piece != 1, piece == 0)
    )
    assert bare[0] > max(bare[1:])
    assert np.all(np.array(bound) > 1.2 * np.array(bare))


def test_domains_of_the_calendered_electrode_touch(calendered: np.ndarray) -> None:
    found = crack_bounded_domains(calendered[:96, :96, :96] == 1, voxel_size=(0.4,) * 3)
    inside = found.volume[~found.on_rim]
    assert inside.size > 20
    # particles of the NMC are a few um across
    diameter = np.cbrt(6 * inside / np.pi)
    assert 2 < np.median(diameter) < 12
    assert 2 < np.mean(found.coordination) < 12
