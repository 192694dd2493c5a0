"""A particle is found where it was put, with honest errors, and what cannot be registered says why."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.blocks import blocks_of, share_within_blocks
from cathoscope.numerics.grey_comparison import Grey, correlation
from cathoscope.numerics.pyramid import binned, smoothed_level
from cathoscope.numerics.register import RegisterOptions, Registration, register, select_model
from cathoscope.numerics.register_kernels import accumulate, weighted_derivatives
from cathoscope.numerics.transform import Similarity, rotation_vector_of, turn_matrix
from cathoscope.virtual.heated import Placement

Array = NDArray[np.float64]
EDGE = 32
CENTRE = np.full(3, (EDGE - 1) / 2)
GRID = np.stack(np.meshgrid(*[np.arange(EDGE, dtype=float)] * 3, indexing="ij"), axis=-1)
SEEDS = np.random.default_rng(7).uniform(-12, 12, (60, 3))
LEVELS = np.random.default_rng(8).uniform(0.7, 1.0, 60)
TREE = cKDTree(SEEDS)
QUICK = RegisterOptions(largest_turn=0.0)


def particle(points: Array) -> Array:
    """A bumpy hollow ball of grains with cracks between them, at points (..., 3) from its middle, voxels."""
    flat = points.reshape(-1, 3)
    distance, grain = TREE.query(flat, k=2)
    radius = np.linalg.norm(flat, axis=1)
    direction = flat / np.maximum(radius, 1e-9)[:, None]
    surface = 11 + 0.5 * np.cos(3 * direction[:, 0] + 1) + 0.5 * np.sin(4 * direction[:, 1])
    filled = 1 / (1 + np.exp((radius - surface) / 0.5)) / (1 + np.exp((3 - radius) / 0.5))
    crack = 1 - 0.6 * np.exp(-((distance[:, 1] - distance[:, 0]) ** 2))
    return np.asarray((filled * crack * LEVELS[grain[:, 0]]).reshape(points.shape[:-1]))


FIXED = particle(GRID - CENTRE)


def placed(truth: Similarity) -> Array:
    """The particle as the moving volume shows it."""
    return particle(truth.inverse().to_moving(GRID) - CENTRE)


def similarity(shift: object, turn: object, scale: float = 1.0) -> Similarity:
    return Similarity(np.array(shift, dtype=float), np.array(turn, dtype=float), scale, CENTRE)


def errors_of(found: Similarity, truth: Similarity) -> Array:
    parts = [found.shift - truth.shift, found.rotation_vector - truth.rotation_vector, [found.scale - truth.scale]]
    return np.concatenate(parts)


# -- maps ----------------------------------------------------------------------------------------

NUMBERS = st.floats(-20, 20)
VECTORS = st.tuples(NUMBERS, NUMBERS, NUMBERS)


@settings(max_examples=30, deadline=None)
@given(shift=VECTORS, turn=VECTORS, scale=st.floats(0.5, 2), seed=st.integers(0, 99))
def test_maps_invert_and_compose(shift: tuple[float, ...], turn: tuple[float, ...], scale: float, seed: int) -> None:
    points = np.random.default_rng(seed).normal(0, 10, (5, 3))
    first, second = similarity(shift, turn, scale), similarity(turn, shift, 1.1)
    np.testing.assert_allclose(first.inverse().to_moving(first.to_moving(points)), points, atol=1e-9)
    both = second.after(first)
    np.testing.assert_allclose(both.to_moving(points), second.to_moving(first.to_moving(points)), atol=1e-9)
    np.testing.assert_allclose(turn_matrix(rotation_vector_of(turn_matrix(turn))), turn_matrix(turn), atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(shift=VECTORS, turn=VECTORS)
def test_the_convention_is_that_of_the_virtual_placement(shift: tuple[float, ...], turn: tuple[float, ...]) -> None:
    pixel = 0.2
    points = np.random.default_rng(0).uniform(0, EDGE, (6, 3))
    there = similarity(shift, turn).to_moving(points)
    placement = Placement(tuple(pixel * np.array(shift[::-1])), turn[::-1])  # type: ignore[arg-type]
    material = placement.to_particle((there - CENTRE)[:, ::-1] * pixel)
    np.testing.assert_allclose(material, (points - CENTRE)[:, ::-1] * pixel, atol=1e-9)


# -- where it was put ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shift", "turn"),
    [((0.5, -0.25, 0.3), (0.4, 0.2, -0.3)), ((3.3, -2.6, 4.2), (8.5, -2.0, 1.5)), ((-1.0, 2.0, 0.0), (-6.0, 1.0, 2.0))],
)
def test_without_noise_it_is_found_exactly(shift: tuple[float, ...], turn: tuple[float, ...]) -> None:
    truth = similarity(shift, turn)
    found = register(FIXED, 0.8 * placed(truth) + 0.1)
    assert found.reason is None
    assert np.abs(errors_of(found, truth)[:3]).max() < 0.01
    assert np.abs(errors_of(found, truth)[3:6]).max() < 0.05
    assert found.gain == pytest.approx(1 / 0.8, rel=0.01)
    assert found.offset == pytest.approx(-0.125, abs=0.01)
    assert found.correlation > 0.998 > found.correlation_before


def test_odd_edges_and_binning_do_not_move_it(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = similarity((0.5, -0.25, 0.3), (3.0, 0.2, -0.3))
    part = np.s_[:31, 1:, 2:31]
    monkeypatch.setattr("cathoscope.numerics.register._SEARCH_EDGE", 16)
    found = register(FIXED[part], placed(truth)[part], options=QUICK)
    begin = np.array([0.0, 1.0, 2.0])
    there = found.to_moving(GRID[part] - begin) + begin
    assert np.abs(there - truth.to_moving(GRID[part])).max() < 0.02
    # a coarse voxel is the mean of two: level 1 holds the middle of the volume exactly
    volume = np.zeros((5, 4, 4), np.float32)
    volume[2] = np.arange(4)
    level = smoothed_level((volume, volume), volume > 0, 2, np.array([2.0, 1.5, 1.5]), 0.5)
    np.testing.assert_allclose(level.centre, [0.75, 0.5, 0.5])
    assert binned(volume).shape == (3, 2, 2)


def test_the_way_back_is_the_inverse() -> None:
    truth = similarity((1.2, -0.7, 0.4), (3.0, -1.0, 1.0), 0.97)
    moving = placed(truth) + np.random.default_rng(1).normal(0, 0.03, FIXED.shape)
    there = register(FIXED, moving, model="similarity", options=QUICK)
    back = register(moving, FIXED, model="similarity", options=QUICK)
    round_trip = back.to_moving(there.to_moving(GRID[::6, ::6, ::6])) - GRID[::6, ::6, ::6]
    assert np.sqrt(np.mean(round_trip**2)) < 0.02
    # both ways see the same noise: they must agree better than either is known
    assert np.sqrt(np.mean(round_trip**2)) < 0.6 * np.sqrt(np.mean(there.displacement_std**2))


def test_errors_are_calibrated_for_noise_of_either_kind() -> None:
    pulls, spreads = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        truth = similarity(rng.uniform(-1, 1, 3), rng.uniform(-1, 1, 3), 0.98)
        noise = rng.normal(0, 1, (2, *FIXED.shape))
        if seed % 2:
            noise = np.stack([gaussian_filter(part, 0.7) for part in noise])
        noise *= 0.08 / noise.std()
        found = register(
            FIXED + noise[0], placed(truth) + noise[1], model="similarity", noise=(0.08, 0.08), options=QUICK
        )
        assert found.reason is None
        assert found.residual_over_noise == pytest.approx(1.0, abs=0.12)
        pulls.append(errors_of(found, truth) / np.sqrt(np.diag(found.covariance)))
        displaced = (found.to_moving(GRID) - truth.to_moving(GRID))[FIXED > 0.3]
        spreads.append(np.mean(displaced**2, axis=0) / found.displacement_std**2)
    pull = np.array(pulls)
    assert np.abs(pull.mean(axis=0)).max() < 1.0  # a standard error of 0.3 for each of 7
    assert abs(pull.mean()) < 0.25
    assert pull.std() == pytest.approx(1.0, abs=0.2)
    assert np.mean(spreads) == pytest.approx(1.0, abs=0.4)


def test_local_change_hardly_moves_it() -> None:
    truth = similarity((0.6, -0.8, 0.3), (1.0, 0.5, -1.0))
    moving = placed(truth)
    changed = moving * (1 - 0.3 * np.exp(-np.sum((GRID - CENTRE - (3, 4, 5)) ** 2, axis=-1) / 40))
    found = register(FIXED, changed, options=QUICK)
    assert np.abs(errors_of(found, truth)[:3]).max() < 0.1
    assert np.abs(errors_of(found, truth)[3:6]).max() < 0.5
    plain = register(FIXED, changed, options=replace(QUICK, huber=1e9))
    left = [np.sum((one.to_moving(GRID) - truth.to_moving(GRID))[FIXED > 0.3] ** 2) for one in (found, plain)]
    assert left[0] < 0.7 * left[1]


def test_a_scale_is_chosen_only_where_there_is_one() -> None:
    rng = np.random.default_rng(4)
    for scale, wanted in ((1.0, "rigid"), (0.985, "similarity")):
        truth = similarity((0.4, 0.1, -0.3), (0.5, 0.0, 0.2), scale)
        noise = rng.normal(0, 0.05, (2, *FIXED.shape))
        pair = FIXED + noise[0], placed(truth) + noise[1]
        both = [register(*pair, model=model, options=QUICK) for model in ("rigid", "similarity")]  # type: ignore[arg-type]
        chosen = select_model(*both)
        assert chosen.model == wanted
        assert chosen.scale == pytest.approx(scale, abs=0.002)


@pytest.mark.parametrize("blur", [0.0, 0.7, 1.0])
def test_sums_over_blocks_know_what_they_miss(blur: float) -> None:
    mask = np.ones((32, 32, 32), dtype=bool)
    blocks = blocks_of(mask)
    assert blocks.edges.tolist() == [4, 4, 4]
    block = blocks.numbers(mask)
    variances, shares = [], []
    for seed in range(4):
        noise = np.random.default_rng(seed).normal(size=(32, 32, 32))
        noise = gaussian_filter(noise, blur, mode="wrap") if blur else noise
        variances.append(np.mean(np.bincount(block, weights=noise.ravel()) ** 2))
        shares.append(share_within_blocks((noise - noise.mean()).astype(np.float32), mask, blocks.edges))
    # the blur keeps the sum of white noise: over 64 voxels its variance would be 64 if nothing were missed
    assert np.mean(variances) / 64 == pytest.approx(np.mean(shares), rel=0.15)


# -- what is compared ----------------------------------------------------------------------------


def test_gain_is_not_attenuated_by_noise() -> None:
    rng = np.random.default_rng(2)
    truth = rng.normal(0, 1, 20000)
    first, second = (2 * truth + 1 + rng.normal(0, 1, truth.size), truth + rng.normal(0, 0.5, truth.size))
    grey = Grey().matched(first.astype(np.float32), second.astype(np.float32), 1e9)
    assert grey.gain == pytest.approx(2.0, abs=0.03)
    assert grey.offset == pytest.approx(1.0, abs=0.03)
    assert grey.spread == pytest.approx(np.sqrt(2), rel=0.03)
    assert correlation(first.astype(np.float32), second.astype(np.float32)) == pytest.approx(0.8, abs=0.01)


def test_kernels_are_the_same_as_python() -> None:
    rng = np.random.default_rng(0)
    lever, gradients, values = (rng.normal(size=s).astype(np.float32) for s in ((9, 3), (2, 9, 3), (2, 9)))
    values[1, 4] = np.nan
    for size in (8, 9):
        found = []
        for one, other in ((accumulate, weighted_derivatives), (accumulate.py_func, weighted_derivatives.py_func)):
            sums, score, columns = np.zeros((2, size, size)), np.zeros(size), np.empty((size, 9), np.float32)
            one(lever, gradients, values, (1.1, 0.2, 0.7), sums, score)
            other(lever, gradients, values, (1.1, 0.2, 0.7), columns)
            found.append(np.concatenate([sums.ravel(), score, columns.ravel()]))
        np.testing.assert_allclose(found[0], found[1], atol=1e-5)
        residual = np.nan_to_num(values[0] - 1.1 * values[1] - 0.2)
        np.testing.assert_allclose(columns @ residual, score, atol=1e-4)


# -- what cannot be registered -------------------------------------------------------------------


def test_what_cannot_be_registered_says_why() -> None:
    ball = 1 / (1 + np.exp(np.linalg.norm(GRID - CENTRE, axis=-1) - 9))
    noise = np.random.default_rng(0).normal(0, 0.02, (2, *ball.shape))
    assert "turn is not determined" in str(register(ball + noise[0], ball + noise[1], options=QUICK).reason)
    other = np.random.default_rng(1).normal(0, 1, ball.shape)
    assert "do not resemble" in str(register(FIXED, other, options=QUICK).reason)
    gone = np.roll(FIXED, 16, axis=2)
    gone[:, :, :16] = 0
    assert register(FIXED, gone, options=QUICK).reason is not None
    stopped = register(
        FIXED, placed(similarity((2, 1, 1), (4, 0, 0))), options=replace(QUICK, iterations=2, tolerance=1e-9)
    )
    assert "no convergence" in str(stopped.reason)


def test_what_makes_no_pair_is_refused() -> None:
    with pytest.raises(MeasurementError, match="cannot be registered"):
        register(FIXED, FIXED[:-1])
    with pytest.raises(MeasurementError, match="without contrast"):
        register(np.ones_like(FIXED), FIXED)
    with pytest.raises(MeasurementError, match="mask leaves nothing"):
        register(FIXED, FIXED, mask=np.zeros(FIXED.shape, dtype=bool))


def test_a_registration_that_failed_is_never_preferred() -> None:
    good = register(FIXED, FIXED, options=QUICK)
    assert isinstance(good, Registration)
    assert select_model(good, replace(good, reason="no")) is good
    assert select_model(replace(good, reason="no"), good) is good
