"""What is computed row by row, from volumes of which only rows are read, is what whole arrays give."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from cathoscope.numerics.blocks import BlockSums, blocks_of
from cathoscope.numerics.blocks_kernels import lagged_product
from cathoscope.numerics.grey_comparison import Grey, Moments
from cathoscope.numerics.pyramid import binned, box_of, spread_places
from cathoscope.numerics.register import RegisterOptions, register
from cathoscope.numerics.register_kernels import (
    accumulate,
    accumulate_rows,
    derivative_rows,
    fixed_values,
    moved_values,
    weighted_derivatives,
)
from cathoscope.numerics.spline_pair import Pose, SplinePair
from cathoscope.numerics.transform import turn_matrix
from cathoscope.numerics.warp import sample, spline_coefficients

RNG = np.random.default_rng(3)
SHAPE = (6, 9, 8)
SPLINES = [spline_coefficients(RNG.normal(size=SHAPE).astype(np.float32)) for _ in range(2)]
MASK = RNG.random(SHAPE) > 0.4
MASK[:, 0], MASK[5] = False, False
CENTRE = (np.array(SHAPE) - 1) / 2
PAIR = SplinePair(1, CENTRE, MASK, *SPLINES)
POSE = Pose(turn_matrix([8.0, -5.0, 3.0]), np.array([0.4, -0.7, 0.2]), 1.05)
LAW = (1.1, 0.2, 0.7)


class OnDisk:
    """A volume that hands out rows and knows how many were asked for at a time."""

    def __init__(self, values: NDArray[np.float32]) -> None:
        self.values, self.shape, self.most = values, values.shape, 0

    def __getitem__(self, rows: slice) -> Any:
        found = self.values[rows]
        self.most = max(self.most, len(found))
        return found


def terms() -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Levers, gradients and values of all masked voxels at once, by the general spline."""
    places = np.argwhere(MASK).astype(np.float64)
    slopes = [np.empty((len(places), 3), np.float32) for _ in range(2)]
    matrix = POSE.scale * POSE.turn
    there = (places - CENTRE) @ matrix.T + CENTRE + POSE.shift
    values = [sample(spline, at, slope) for spline, at, slope in zip(SPLINES, (places, there), slopes, strict=True)]
    gradients = np.stack([slopes[0] @ (POSE.turn.T / POSE.scale), LAW[0] * slopes[1]]).astype(np.float32)
    return ((places - CENTRE) @ matrix.T).astype(np.float32), gradients, np.stack(values)


def test_values_of_rows_are_those_of_the_spline() -> None:
    _, _, values = terms()
    fixed, moved = np.empty((2, MASK.sum()), np.float32)
    motion = POSE.motion(CENTRE)
    for by_fixed, by_moved in ((fixed_values, moved_values), (fixed_values.py_func, moved_values.py_func)):
        by_fixed(SPLINES[0], MASK, 0, 6, fixed)
        by_moved(SPLINES[1], MASK, 0, 6, motion, moved)
        np.testing.assert_allclose(fixed, values[0], atol=1e-6)
        np.testing.assert_allclose(moved, values[1], atol=1e-6)
    assert 0 < np.isnan(moved).sum() < moved.size
    parts = [PAIR.values(POSE, slice(z, z + 1)) for z in range(6)]
    np.testing.assert_array_equal(np.concatenate([part[1] for part in parts]), moved)


@pytest.mark.parametrize("size", [8, 9])
def test_sums_over_rows_are_those_over_voxels(size: int) -> None:
    sums, score = np.zeros((2, size, size)), np.zeros(size)
    accumulate(*terms(), LAW, sums, score)
    columns = np.empty((size, MASK.sum()), np.float32)
    weighted_derivatives(*terms(), LAW, columns)
    found = PAIR.normal_equations(POSE, LAW, size)
    np.testing.assert_allclose(found[0], sums, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(found[1], score, rtol=1e-5, atol=1e-4)
    box = box_of(MASK, 1)
    volumes = PAIR.derivatives(POSE, LAW, box, size)
    np.testing.assert_allclose(volumes[:, MASK[box]], columns, atol=1e-5)
    assert not volumes[:, ~MASK[box]].any()
    again = np.zeros((2, size, size)), np.zeros(size)
    accumulate_rows.py_func((*SPLINES, MASK), (0, 6), POSE.motion(CENTRE), LAW, *again)
    np.testing.assert_allclose(again[0], found[0], rtol=1e-9)
    pure = np.zeros_like(volumes)
    derivative_rows.py_func((*SPLINES, MASK), tuple(part.start for part in box), POSE.motion(CENTRE), LAW, pure)
    np.testing.assert_array_equal(pure, volumes)


def test_grey_values_are_matched_as_in_arrays() -> None:
    _, _, values = terms()
    grey = Grey(0.9, 0.1, 0.8)
    found, whole = PAIR.matched(POSE, grey, 2.0), grey.matched(*values, 2.0)
    assert found is not None
    for one in ("gain", "offset", "spread"):
        assert getattr(found, one) == pytest.approx(getattr(whole, one), rel=1e-5)
    far = Pose(np.eye(3), np.array([30.0, 0.0, 0.0]))
    assert PAIR.matched(far, grey, 2.0) is None
    assert PAIR.correlation(far) == 0.0
    inside = np.isfinite(values[1])
    assert PAIR.correlation(POSE) == pytest.approx(np.corrcoef(values[:, inside])[0, 1], abs=1e-6)


@settings(max_examples=20, deadline=None)
@given(cut=st.integers(0, 40), offset=st.floats(-1e4, 1e4))
def test_moments_of_parts_are_those_of_the_whole(cut: int, offset: float) -> None:
    first, second = np.random.default_rng(cut).normal(offset, 1.0, (2, 40))
    weight = np.linspace(0.1, 1.0, 40)
    parts = [Moments.of(first[part], second[part], weight[part]) for part in (slice(0, cut), slice(cut, None))]
    together, whole = parts[0] + parts[1], Moments.of(first, second, weight)
    assert together.weight == pytest.approx(whole.weight)
    np.testing.assert_allclose(together.means, whole.means, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(together.products, whole.products, rtol=1e-7)


def test_blocks_of_parts_are_those_of_the_whole() -> None:
    blocks, values = blocks_of(MASK), RNG.normal(size=MASK.shape) * MASK
    assert [part.start for part in box_of(MASK)] == blocks.low.tolist() == [0, 1, 0]
    whole = BlockSums.of(values[MASK], blocks.numbers(MASK), blocks.count)
    parts = [
        BlockSums.of(values[z][MASK[z]], blocks.numbers(MASK[z : z + 1], (z, 0, 0)), blocks.count) for z in range(6)
    ]
    np.testing.assert_allclose(sum(parts[1:], parts[0]).sums, whole.sums)
    assert whole.sums[0].sum() == MASK.sum()
    # one value for a whole block: as many independent values as there are blocks
    same = BlockSums(np.array([[8.0] * 4, [8.0, -8.0, 8.0, -8.0], [8.0] * 4]))
    assert same.independent == pytest.approx(4.0)
    for shift in ((0, 0, 0), (2, 0, 0), (0, 1, 0), (0, 0, 3)):
        here = tuple(slice(0, size - lag) for size, lag in zip(SHAPE, shift, strict=True))
        there = tuple(slice(lag, None) for lag in shift)
        expected = np.sum(values[here] * values[there]), np.sum(MASK[here] & MASK[there])
        assert lagged_product(values, MASK, np.array(shift)) == pytest.approx(expected)
        assert lagged_product.py_func(values, MASK, np.array(shift)) == pytest.approx(expected)


@settings(max_examples=20, deadline=None)
@given(count=st.integers(1, 400))
def test_places_are_spread_evenly(count: int) -> None:
    places = np.argwhere(MASK)
    np.testing.assert_array_equal(spread_places(MASK, count), places[:: max(len(places) // count, 1)])


def test_volumes_on_disk_are_registered_as_arrays_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cathoscope.numerics.register._SEARCH_EDGE", 40)
    rng = np.random.default_rng(0)
    volume = gaussian_filter(np.where(rng.random((75, 24, 24)) > 0.5, 1.0, 0.0), 2.0).astype(np.float32)
    volume[:8], volume[-8:], volume[:, :4] = 0.0, np.nan, 0.0
    moved = np.roll(volume, (2, -1, 1), axis=(0, 1, 2))
    options = RegisterOptions(largest_turn=0.0)
    on_disk = OnDisk(volume), OnDisk(moved)
    found = register(*on_disk, model="similarity", options=options)
    assert max(one.most for one in on_disk) < 75
    np.testing.assert_allclose(found.shift, [2.0, -1.0, 1.0], atol=0.01)
    whole = register(volume, moved, model="similarity", options=options)
    for field in fields(found):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(whole, field.name))
    np.testing.assert_array_equal(binned(OnDisk(moved)), binned(moved))
