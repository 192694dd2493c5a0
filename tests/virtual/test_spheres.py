from __future__ import annotations

from itertools import combinations
from math import dist

import numpy as np
import pytest

from cathoscope.virtual.presets import SIZES
from cathoscope.virtual.spheres import spheres
from cathoscope.virtual.txm import TxmOptions


@pytest.mark.parametrize("asymmetry", [0.0, 0.5])
def test_every_sphere_reacts_to_heat_in_its_own_way(asymmetry: float) -> None:
    specimen = spheres(asymmetry=asymmetry)
    cold, hot = np.array([[s.white_line_energy() for s in sphere.spectra] for sphere in specimen.spheres]).T
    assert ((hot - cold) < -0.3).all()
    assert np.diff(np.sort(hot - cold)).min() > 0.3


def test_attenuation_is_that_of_layered_oxides() -> None:
    specimen = spheres()
    below, above = specimen.attenuation(0, [8320.0, 8400.0]).T
    # 1/um; LiNiO2 and NMC at 4.7 g/cm³ lie between these bounds
    assert ((below > 0.015) & (below < 0.05)).all()
    assert ((above - below > 0.03) & (above - below < 0.08)).all()


@pytest.mark.parametrize("size", SIZES)
def test_spheres_stay_in_view_and_share_no_voxel(size: str) -> None:
    specimen, grid = spheres(), SIZES[size].grid
    specimen.require_within(grid, sideways=TxmOptions().largest_axis_offset)
    for first, second in combinations(specimen.spheres, 2):
        gap = dist(first.centre, second.centre) - first.radius - second.radius
        assert gap > np.sqrt(3) * grid.pixel_size
