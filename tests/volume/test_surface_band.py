"""Passes over the blocks near a surface find what passes over the whole volume do."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from cathoscope.volume import surface_band_kernels as kernels
from cathoscope.volume.envelope import Surface, halved
from cathoscope.volume.smoothing import gaussian_half

EDGES = np.array([1.25, 1.0, 0.8])
_NAMES = (
    "depth_at",
    "depth_row",
    "smooth_blocks",
    "_fill_away",
    "_parts_of_plane",
    "_places_near",
    "_run",
    "_voxels_of",
)


@pytest.fixture(params=[False, True], ids=["compiled", "python"])
def plain(request):
    """Whether kernels run as Python, those that they call too."""
    with pytest.MonkeyPatch.context() as patch:
        for name in _NAMES if request.param else ():
            patch.setattr(kernels, name, getattr(kernels, name).py_func)
        yield request.param


def run(name, plain, *arguments):
    """A kernel, compiled or as Python."""
    kernel = getattr(kernels, name)
    return (getattr(kernel, "py_func", kernel) if plain else kernel)(*arguments)


def ball(shape, radius):
    """Coarse and fine depth of a ball, voxels."""
    middle = (np.array(shape) - 1) / 2 + 0.3
    fine = radius - np.linalg.norm((np.indices(shape).transpose(1, 2, 3, 0) - middle) * EDGES, axis=-1)
    return halved(fine.astype(np.float32)), fine


def test_depth_is_linear_between_points_and_flat_beyond(plain):
    z, y, x = (2 * np.indices((3, 4, 4)) + 0.5).astype(np.float32)
    depth = np.empty((5, 7, 8), np.float32)
    run("depths", plain, 0.3 * z + 0.2 * y - 0.1 * x, depth)
    fine = np.indices(depth.shape)
    expected = 0.3 * fine[0] + 0.2 * fine[1] - 0.1 * fine[2]
    inner = np.s_[1:5, 1:7, 1:7]
    np.testing.assert_allclose(depth[inner], expected[inner], atol=1e-5)
    np.testing.assert_allclose(depth[0][inner[1:]], expected[0][inner[1:]] + 0.3 * 0.5, atol=1e-5)
    one = run("depth_at", plain, 0.3 * z + 0.2 * y - 0.1 * x, 3, 4, 5)
    assert one == depth[3, 4, 5]


def test_halves_are_means_of_eight_points_and_odd_ends_repeat(plain):
    field, found = np.random.default_rng(1).random((5, 6, 7), dtype=np.float32), np.empty((3, 3, 4), np.float32)
    run("halve", plain, field, found)
    padded = np.pad(field, [(0, 1), (0, 0), (0, 1)], mode="edge")
    np.testing.assert_allclose(found, padded.reshape(3, 2, 3, 2, 4, 2).mean(axis=(1, 3, 5)), rtol=1e-6)


@pytest.mark.parametrize("shape", [(33, 38, 45), (9, 40, 17)])
def test_blurred_share_is_that_of_the_whole_volume(shape):
    coarse, _ = ball(shape, 14.0)
    surface = Surface(coarse, 0.9, EDGES, shape)
    parts = np.clip(surface.depth() + 0.5, 0, 1)
    expected = gaussian_filter(parts, 0.9 / EDGES, truncate=4.0)
    np.testing.assert_allclose(surface.share(), expected, atol=1e-6)
    box = np.s_[2:7, 5:17, 3:12]
    np.testing.assert_array_equal(surface._replace(box=box).share(), surface.share()[box])
    np.testing.assert_array_equal(surface._replace(box=box).depth(), surface.depth()[box])


def test_what_is_dark_near_the_surface_is_what_is_dark_in_the_whole_volume(plain):
    shape = (12, 13, 14)
    coarse, _ = ball(shape, 5.0)
    depth = Surface(coarse, 1.0, EDGES, shape).depth()
    rng = np.random.default_rng(0)
    grey, share = rng.random((2, *shape), dtype=np.float32)
    kind = np.empty((3, 4, 4), np.uint8)
    run("kinds_of_blocks", plain, coarse, 1.0, 1.5, kind)
    assert set(np.unique(kind)) == {kernels.OUTSIDE, kernels.NEAR, kernels.INSIDE}
    near = np.kron(kind, np.ones((4, 4, 4), np.uint8))[tuple(map(slice, shape))]
    half = gaussian_half(1.0, 3.0)
    used, around = (kind != kernels.OUTSIDE).astype(np.uint8), [np.empty_like(kind), np.empty_like(kind)]
    for chosen, found in zip((used, kind), around, strict=True):
        run("blocks_around", plain, chosen, np.array([0, 1, 1]), found)
    packed, deep = np.empty(near.size, np.float32), np.empty(2)
    count = run("smooth_and_pack", plain, grey + 0.5, kind, (used, around[0]), (half,) * 3, packed, deep)
    smooth = gaussian_filter(grey + np.float32(0.5), 1.0, truncate=3.0)
    np.testing.assert_allclose(packed[:count], smooth[near == kernels.NEAR], rtol=1e-5)
    excess = smooth[near == kernels.INSIDE] - 1
    np.testing.assert_allclose(deep, [(excess > 0).sum(), (excess[excess > 0] ** 2).sum()], rtol=1e-4)

    residual, sums = np.empty(count, np.float32), np.zeros((5, 2))
    surface, layers = (coarse, kind, around[1]), (0.5, 0.5)
    run("residuals", plain, packed[:count], share, surface, (half,) * 3, layers, residual, sums)
    left = smooth - gaussian_filter(share, 1.0, truncate=3.0)
    np.testing.assert_allclose(residual, left[near == kernels.NEAR], atol=1e-5)
    layer = np.minimum((depth / 0.5).astype(int), 4)
    for k in range(5):
        part = left[(near == kernels.NEAR) & (layer == k) & (depth >= 0.5) & (left > 0)]
        np.testing.assert_allclose(sums[k], [part.size, np.sum(part**2)], rtol=1e-5)
    limit, dark = np.array([-0.6, -0.5, -0.7, -0.2, 0.0]), np.zeros(shape, bool)
    run("mark_dark", plain, residual, surface, layers, limit, dark)
    np.testing.assert_array_equal(dark, (near == kernels.NEAR) & (depth >= 0.5) & (-left > limit[np.maximum(layer, 0)]))


def test_columns_start_at_the_surface_along_its_normal(plain):
    z, y, _ = (2 * np.indices((4, 5, 4)) + 0.5).astype(np.float32)
    coarse = (0.6 * (2 * z - 7) + 0.8 * (y - 3)).astype(np.float32)  # edges 2, 1, 1
    kind = np.empty((2, 3, 2), np.uint8)
    run("kinds_of_blocks", plain, coarse, 4.0, 4.0, kind)
    start, direction, at = run("surface_columns", plain, coarse, kind, (8, 10, 7), 0.9, np.array([2.0, 1.0, 1.0]))
    assert len(start) > 5
    assert start.min() == 1
    assert (start.max(axis=0) <= (6, 8, 5)).all()
    inner = ((start >= 2) & (start <= (5, 7, 4))).all(axis=1)  # the ends continue flat
    assert inner.sum() > 5
    np.testing.assert_allclose(direction[inner], np.tile([0.3, 0.8, 0.0], (inner.sum(), 1)), atol=1e-5)
    expected = 0.6 * (2 * start[inner, 0] - 7) + 0.8 * (start[inner, 1] - 3)
    np.testing.assert_allclose(at[inner], expected, atol=1e-5)
