"""A closing holds what no empty ball of its radius reaches, whichever way it is found."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from cathoscope.volume import closing
from cathoscope.volume.closing import closed_with_ball
from cathoscope.volume.closing_kernels import lower_envelope, mark_untouched

FIBSEM = (0.019, 0.0135, 0.0135)


def slotted(shape, radius):
    """A ball of voxels with a slot as wide as a fifth of its radius and a bite."""
    z, y, x = np.indices(shape) - (np.reshape(shape, (3, 1, 1, 1)) - 1) / 2
    solid = z**2 + y**2 + x**2 < radius**2
    solid &= ~((np.abs(z) < radius / 10) & (y > 0))
    return solid & (z**2 + y**2 + (x - 1.3 * radius) ** 2 > (0.6 * radius) ** 2)


def tried_everywhere(solid, radius, voxel_size, margin):
    """What no ball on any voxel, of the field or a margin around it, reaches without touching the solid."""
    where = np.argwhere(np.pad(~solid, margin, constant_values=True)) - margin
    edges = np.asarray(voxel_size)
    free = cKDTree(np.argwhere(solid) * edges).query(where * edges)[0] > radius
    outside = np.argwhere(~solid)
    reached = cKDTree(where[free] * edges).query(outside * edges)[0] <= radius
    closed = solid.copy()
    closed[tuple(outside[~reached].T)] = True
    return closed


@pytest.mark.parametrize("voxel_size", [(1.0, 1.0, 1.0), FIBSEM])
def test_small_balls_are_tried_everywhere(voxel_size):
    solid = slotted((26, 26, 26), 10)
    radius = 4.2 * np.prod(voxel_size) ** (1 / 3)
    expected = tried_everywhere(solid, radius, voxel_size, 8)
    np.testing.assert_array_equal(closed_with_ball(solid, radius, voxel_size), expected)


@pytest.mark.parametrize("voxel_size", [(1.0, 1.0, 1.0), FIBSEM])
def test_large_balls_on_every_second_voxel_differ_by_parts_of_a_voxel(voxel_size):
    solid = slotted((36, 36, 36), 14.5)
    radius = 13.0 * np.prod(voxel_size) ** (1 / 3)
    expected = tried_everywhere(solid, radius, voxel_size, 20)
    found = closed_with_ball(solid, radius, voxel_size)
    assert found[solid].all()
    assert np.count_nonzero(expected & ~solid) > 500
    # a twentieth of a voxel in the mean over the surface, and few single voxels
    surface = 4 * np.pi * 14.5**2
    assert abs(np.count_nonzero(found) - np.count_nonzero(expected)) < 0.05 * surface
    assert np.count_nonzero(found ^ expected) < 0.08 * surface


def test_empty_balls_of_a_larger_reach_close_as_those_of_the_radius():
    solid = slotted((36, 36, 36), 14.5)
    balls = closing.empty_balls(solid, 20.0, (1.0, 1.0, 1.0))
    for radius in (6.0, 13.0, 17.0):
        alone = closed_with_ball(solid, radius, (1.0, 1.0, 1.0))
        shared = closed_with_ball(solid, radius, (1.0, 1.0, 1.0), balls)
        assert np.count_nonzero(shared ^ alone) < 0.05 * 4 * np.pi * 14.5**2  # the grids lie differently
    assert closing.empty_balls(solid, 12.0, (1.0, 1.0, 1.0)) is None


def test_what_touches_a_face_goes_on_beyond_it(monkeypatch):
    solid = slotted((36, 36, 36), 14)[18:]
    for small in (12.0, 2.0):
        monkeypatch.setattr(closing, "_SMALL", small)
        closed = closed_with_ball(solid, 8.0, (1.0, 1.0, 1.0))
        assert closed[0, 18, 18:27].all()
        assert not closed[0, 0].any()


def test_all_is_closed_where_no_ball_fits():
    solid = np.zeros((8, 8, 7), bool)
    solid[:, :, ::3] = True
    assert closed_with_ball(solid, 20.0, (1.0, 1.0, 1.0)).all()


def test_the_lower_envelope_is_the_least_parabola():
    field = np.random.default_rng(0).uniform(-9, 9, (2, 3, 11)).astype(np.float32)
    field[field > 4] = np.inf
    field[1, 2] = np.inf
    places = np.linspace(-3.0, 9.0, 17)
    expected = np.min(field[..., None] + (places - 0.5 * np.arange(11)[:, None]) ** 2, axis=2)
    for run in (lower_envelope, lower_envelope.py_func):
        found = np.empty((2, 3, 17), np.float32)
        run(field, 0.5, places, np.inf, found)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        low = np.min(
            np.where(field < 0, field, np.inf)[..., None] + (places - 0.5 * np.arange(11)[:, None]) ** 2, axis=2
        )
        run(field, 0.5, places, 0.0, found)
        np.testing.assert_allclose(found, low, atol=1e-5)


def test_what_no_interval_covers_is_untouched():
    field = np.random.default_rng(1).uniform(-6, 3, (3, 4, 9)).astype(np.float32)
    field[field > 0] = np.inf
    field[2, 3] = np.inf
    places = 0.5 * (np.arange(13) + 3)
    expected = np.min(field[..., None] + (places - np.arange(9.0)[:, None]) ** 2, axis=2) > 0
    for run in (mark_untouched, mark_untouched.py_func):
        found = np.empty((3, 4, 13), bool)
        run(field, 0.5, 3, found)
        np.testing.assert_array_equal(found, expected)
    assert 0 < expected[:2].sum() < expected[:2].size
    assert expected[2, 3].all()
