"""Outer masks and tables of particles whose volumes, places and shapes are known."""

from __future__ import annotations

import numpy as np
import pytest

from cathoscope.core.errors import MeasurementError
from cathoscope.volume.particle import outer_mask, signed_depth

UM = (0.05, 0.05, 0.05)
FIBSEM = (0.019, 0.0135, 0.0135)


def points(shape, voxel_size, centre):
    """Positions (um) of voxel centres relative to ``centre``, [z, y, x, 3]."""
    grid = (np.indices(shape).transpose(1, 2, 3, 0) + 0.5) * np.asarray(voxel_size)
    return grid - np.asarray(centre)


def cracked_ball(shape, voxel_size, radius, crack, core=0.0):
    """A ball with three open cracks through its middle, across one another, and a hollow core; and the whole ball."""
    centre = np.multiply(shape, voxel_size) / 2 + 0.3 * np.asarray(voxel_size)
    where = points(shape, voxel_size, centre)
    r = np.linalg.norm(where, axis=-1)
    whole = r < radius
    open_crack = np.any(np.abs(where - 0.25 * radius) < crack / 2, axis=-1)
    return whole & ~open_crack & (r >= core), whole


@pytest.mark.parametrize(("voxel_size", "shape"), [(UM, (64, 64, 64)), (FIBSEM, (48, 66, 66))])
@pytest.mark.parametrize("core", [0.0, 0.35])
def test_mask_closes_cracks_and_core(voxel_size, shape, core):
    radius = 0.42 * min(np.multiply(shape, voxel_size))
    crack = 2.2 * max(voxel_size)
    solid, whole = cracked_ball(shape, voxel_size, radius, crack, core * radius)
    found = outer_mask(solid, voxel_size=voxel_size)
    assert found.particle[solid].all()
    volume = np.prod(voxel_size) * np.count_nonzero(whole)
    assert np.count_nonzero(solid) < 0.9 * np.count_nonzero(whole)
    # what lacks are mouths of cracks, into which the ball dips, in whole voxels; `envelope` does better
    assert found.volume.value == pytest.approx(volume, rel=0.01)
    assert found.closing_radius > crack
    assert found.volume.systematic < 0.01 * volume
    assert found.plateau[0] <= found.plateau[1] <= found.plateau[2]


def test_stated_radius_is_used_and_too_small_a_one_shows_in_the_plateau():
    solid, _ = cracked_ball((64, 64, 64), UM, 1.3, 0.25)
    good, small = (outer_mask(solid, voxel_size=UM, closing_radius=r) for r in (0.4, 0.1))
    assert good.closing_radius == 0.4
    assert small.volume.systematic > 3 * good.volume.systematic
    assert small.volume.value < good.volume.value


def test_particle_cut_by_the_field_keeps_its_core_closed():
    solid, whole = cracked_ball((64, 64, 64), UM, 1.3, 0.1, 0.5)
    found = outer_mask(solid[32:], voxel_size=UM, closing_radius=0.3)
    assert np.count_nonzero(found.particle) == pytest.approx(np.count_nonzero(whole[32:]), rel=0.006)


def test_largest_piece_counts():
    solid, _ = cracked_ball((64, 64, 64), UM, 1.2, 0.1)
    speck = solid.copy()
    speck[1:4, 1:4, 1:4] = True
    first, second = (outer_mask(mask, voxel_size=UM, closing_radius=0.2) for mask in (solid, speck))
    np.testing.assert_array_equal(first.particle, second.particle)


def test_signed_depth_of_a_half_space():
    mask = np.zeros((8, 5, 5), bool)
    mask[4:] = True
    depth = signed_depth(mask, (0.02, 0.02, 0.02))
    np.testing.assert_allclose(depth[:, 2, 2], (np.arange(8) - 3.5) * 0.02, atol=1e-6)
    assert (signed_depth(np.ones((4, 4, 4), bool), UM) > 0).all()


BALLS = (((1.0, 1.1, 1.0), 0.72), ((1.05, 2.35, 1.2), 0.5), ((2.3, 1.1, 2.4), 0.61), ((0.2, 0.45, 2.5), 0.4))


def balls():
    """Four balls: the first two touch, the last is cut by two faces."""
    shape = (64, 64, 64)
    solid = np.zeros(shape, bool)
    for centre, radius in BALLS:
        solid |= np.linalg.norm(points(shape, UM, centre), axis=-1) < radius
    return solid


@pytest.mark.parametrize(
    ("solid", "words"),
    [
        (np.zeros((8, 8, 8), bool), "no particle"),
        (np.ones((8, 8, 8), bool), "all of the field"),
        (np.ones((8, 8, 8), np.uint8), "all of the field"),
        (np.zeros((8, 8), bool), "no volume"),
    ],
)
def test_bad_masks_are_refused(solid, words):
    with pytest.raises(MeasurementError, match=words):
        outer_mask(solid, voxel_size=UM)


def test_impossible_requests_are_refused():
    with pytest.raises(MeasurementError, match="closing radius"):
        outer_mask(balls(), voxel_size=UM, closing_radius=0.0)
    with pytest.raises(MeasurementError, match="size of the voxels"):
        outer_mask(balls(), voxel_size=(0.05, 0.05, 50.0))
