"""Compiled passes of the porosity do as Python does, and what plain array arithmetic does."""

from __future__ import annotations

import numpy as np
import pytest

from cathoscope.volume import envelope_kernels, porosity_kernels, segment_kernels, solid_level_kernels
from cathoscope.volume.solid_level import _hats

RNG = np.random.default_rng(0)
SHAPE = (4, 5, 6)


def both(kernel):
    """The kernel compiled, and as Python."""
    return kernel, kernel.py_func


@pytest.fixture(params=[False, True], ids=["compiled", "python"])
def plain(request):
    """Whether kernels run as Python, those that they call too."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param:
            patch.setattr(porosity_kernels, "_place", porosity_kernels._place.py_func)
            patch.setattr(porosity_kernels, "_level", porosity_kernels._level.py_func)
        yield request.param


def test_sums_by_class_and_by_shell(plain):
    place = RNG.integers(0, 4, SHAPE).astype(np.uint8)
    radius, values = RNG.random((2, *SHAPE)).astype(np.float32)
    kept, sums, limit = np.empty(SHAPE, bool), np.empty((3, 4)), np.array([0.2, 0.5, 0.9])
    both(solid_level_kernels.mark_below)[plain](values, place, limit, kept)
    np.testing.assert_array_equal(kept, (place < 3) & (values < np.append(limit, 0)[place]))
    near = kept.copy()
    both(solid_level_kernels.keep_away)[plain](near, place, (radius, values), kept, sums)
    np.testing.assert_array_equal(kept, ~near & (place < 3))
    for k in range(3):
        mine = kept & (place == k)
        expected = [mine.sum(), radius[mine].sum(), values[mine].sum(), (values[mine] ** 2).sum()]
        np.testing.assert_allclose(sums[k], expected, rtol=1e-5)


@pytest.mark.parametrize("knots", [np.array([0.5]), np.array([0.1, 0.4, 0.8])])
def test_sums_of_a_region(plain, knots):
    solid, envelope, radius = RNG.random((3, *SHAPE)).astype(np.float32)
    depth = RNG.uniform(-3, 3, SHAPE).astype(np.float32)
    above, inside = RNG.integers(0, 4, SHAPE).astype(np.uint8), RNG.random(SHAPE) > 0.3
    contrast, edges = np.linspace(1.0, 1.4, knots.size), np.array([0.1, 0.5, np.inf])
    sums = np.zeros((2, 9 + knots.size))
    fields = (solid, envelope, depth, radius)
    both(porosity_kernels.region_sums)[plain](fields, above, inside, edges, (knots, contrast, 0.4), sums)
    for k, (low, high) in enumerate(((0.1, 0.5), (0.5, np.inf))):
        mine = inside & (radius >= low) & (radius < high)
        f, c = solid[mine].astype(float), np.interp(radius[mine], knots, contrast)
        close = np.abs(depth[mine]) < 6 * 0.4
        expected = [mine.sum(), envelope[mine].sum(), f.sum()]
        expected += [np.exp(-0.5 * (depth[mine][close] / 0.4) ** 2).sum(), np.sum((1 - f) / c), (depth[mine] > 0).sum()]
        expected += [np.sum((above[mine] >= limits) & (depth[mine] > 0)) for limits in (2, 1, 3)]
        np.testing.assert_allclose(sums[k, :9], expected, rtol=1e-5)
        np.testing.assert_allclose(sums[k, 9:], _hats(radius[mine].astype(float), knots, f / c), rtol=1e-5)


def test_tail_sums_are_those_of_single_samples(plain):
    rng = np.random.default_rng(4)
    grey, model = rng.random((2, 5, 6, 7), dtype=np.float32)
    start, direction, depth = rng.uniform(-1, 6, (9, 3)), rng.standard_normal((9, 3)), rng.uniform(-1, 1, 9)
    steps, weights, used = np.arange(-2.0, 0.1, 0.25), rng.random(9), np.arange(9) % 3 > 0
    shift, profile = np.empty(9), np.empty(steps.size)
    tail_sums = both(envelope_kernels.tail_sums)[plain]
    tail_sums(grey, model, (start, direction, depth), (steps, weights), used, shift, profile)
    samples = envelope_kernels.sample_columns(grey - model, start, direction, steps - depth[:, None])
    np.testing.assert_allclose(shift, samples @ weights, atol=2e-3)  # it stops 0.0001 voxel before the last voxel
    np.testing.assert_allclose(profile, samples[used].sum(axis=0), atol=2e-3)


@pytest.mark.parametrize("every", [1, 2])
def test_steps_between_neighbours_by_their_grey_value(plain, every):
    volume = np.random.default_rng(5).random((5, 4, 6), dtype=np.float32)
    square, number = np.zeros(7), np.zeros(7)
    both(segment_kernels.add_steps)[plain](volume, every, (0.2, 0.9), square, number)
    expected, count = np.zeros(7), np.zeros(7)
    for axis in range(3):
        pairs = np.stack([np.delete(volume, -1, axis), np.delete(volume, 0, axis)])[:, ::every]
        middle, step = pairs.mean(axis=0), np.diff(pairs, axis=0)[0]
        count += np.histogram(middle, 7, (0.2, 0.9))[0]
        expected += np.histogram(middle, 7, (0.2, 0.9), weights=step.astype(float) ** 2)[0]
    np.testing.assert_array_equal(number, count)
    np.testing.assert_allclose(square, expected, rtol=1e-5)


@pytest.mark.parametrize("knots", [[0.4], [0.1, 0.5, 0.8]])
def test_shares_of_solid_are_those_of_interpolated_levels(plain, knots):
    knots = np.array(knots)
    levels, void = 2 + knots, 0.3
    values, radius = RNG.uniform(0, 3, SHAPE).astype(np.float32), RNG.uniform(0, 1, SHAPE).astype(np.float32)
    within = RNG.random(SHAPE) < 0.7
    level = np.interp(radius, knots, levels).astype(np.float32)
    expected = (values - np.float32(void)) / (level - np.float32(void))
    first, second = values.copy(), 2 * values
    both(porosity_kernels.scale_both)[plain](first, second, radius, (knots, levels, void))
    np.testing.assert_allclose(first, expected, rtol=1e-6)
    np.testing.assert_allclose(second - first, values / (level - np.float32(void)), rtol=1e-5, atol=1e-8)
    mean = both(porosity_kernels.mean_level)[plain](radius, within, (knots, levels))
    assert mean == pytest.approx(level[within].mean(dtype=float))


def test_halves_of_a_split_volume_are_joined_again(plain):
    share, noise = RNG.random((2, *SHAPE)).astype(np.float32)
    within = RNG.random(SHAPE) < 0.7
    first, second = share + 0.7 * noise, share - noise / 0.7
    both(porosity_kernels.joined_shares)[plain](first, second, 0.7, within, first)
    np.testing.assert_allclose(first, np.where(within, share, 0), atol=1e-6)


def test_limits_exceeded_are_counted(plain):
    values, found = np.array([0.0, 0.2, 0.3, 0.5, 0.9], np.float32), np.empty(5, np.uint8)
    both(porosity_kernels.count_above)[plain](values, (0.1, 0.3, 0.5), found)
    assert found.tolist() == [0, 1, 1 + (values[2] > np.float32(0.3)), 2, 3]
