"""Voxels in reach of a mask are those that a distance transform finds there."""

from __future__ import annotations

import edt
import numpy as np
import pytest

from cathoscope.volume.reach import beyond_reach, within_reach
from cathoscope.volume.reach_kernels import mark_reach

FIBSEM = (0.019, 0.0135, 0.0135)


@pytest.mark.parametrize("voxel_size", [(1.0, 1.0, 1.0), (0.03, 0.03, 0.03), FIBSEM])
@pytest.mark.parametrize("reach", [0.4, 1.0, 2.0, 3.5, 7.3, 30.0])
def test_reach_is_that_of_the_distance(voxel_size, reach):
    mask = np.random.default_rng(0).random((19, 24, 37)) > 0.995
    reach *= np.prod(voxel_size) ** (1 / 3)
    distance = edt.edt(~mask, anisotropy=voxel_size, black_border=False)
    # whole edges are as long as the reach: they count, whatever the last digit of a float
    np.testing.assert_array_equal(within_reach(mask, reach, voxel_size), distance <= reach * (1 + 1e-6))
    inside = edt.edt(mask | (distance < 4 * voxel_size[0]), anisotropy=voxel_size, black_border=False)
    grown = mask | (distance < 4 * voxel_size[0])
    np.testing.assert_array_equal(beyond_reach(grown, reach, voxel_size), inside > reach * (1 + 1e-6))


def test_nothing_is_in_reach_of_nothing_and_faces_are_no_end():
    nothing = np.zeros((5, 6, 7), bool)
    assert not within_reach(nothing, 2.0, (1.0, 1.0, 1.0)).any()
    assert beyond_reach(~nothing, 2.0, (1.0, 1.0, 1.0)).all()


def test_kernel_does_as_python_does():
    mask = (np.random.default_rng(1).random((4, 5, 9)) > 0.9).view(np.uint8)
    steps = np.array([[0, 0, 2], [1, 0, 1], [0, -1, 11]])
    found = [np.zeros_like(mask) for _ in range(2)]
    mark_reach(mask, steps, found[0])
    mark_reach.py_func(mask, steps, found[1])
    np.testing.assert_array_equal(*found)
    assert mask.sum() < found[0].sum() < mask.size
