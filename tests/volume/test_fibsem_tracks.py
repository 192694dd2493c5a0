"""Drift from walls that are followed: walls of known speed in closed form, and kernels compiled and as Python."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr

from cathoscope.volume.fibsem_bends import Bends, bends_of, uneven_steps
from cathoscope.volume.fibsem_same_wall import Sight, wall_numbers, wall_places, windows_on_wall
from cathoscope.volume.fibsem_tracks import Tracks, wall_tracks
from cathoscope.volume.fibsem_tracks_kernels import follow

SIZE, COUNT = 120, 30


def moving_walls(drift: np.ndarray, height: np.ndarray) -> np.ndarray:
    """Cracks 4 px wide and 22 px long at places of a grid, each with a direction and a speed of its own.

    Slice n is cut ``height`` [slice] (slices) later than an even cut.
    """
    rng = np.random.default_rng(3)
    y, x = np.arange(SIZE)[:, None], np.arange(SIZE)
    stack = np.ones((len(drift), SIZE, SIZE))
    for place in np.stack(np.meshgrid(*2 * [np.arange(20, 110, 26)], indexing="ij"), axis=-1).reshape(-1, 2):
        angle, speed = rng.uniform(0, np.pi), rng.uniform(-0.35, 0.35)
        normal = np.array([np.sin(angle), np.cos(angle)])
        for n, moved in enumerate(drift):
            centre = place + moved + speed * (n + height[n] - len(drift) / 2) * normal
            across = (y - centre[0]) * normal[0] + (x - centre[1]) * normal[1]
            along = (y - centre[0]) * normal[1] - (x - centre[1]) * normal[0]
            width = ndtr((across + 2) / 1.5) - ndtr((across - 2) / 1.5)
            stack[n] -= width * (ndtr((along + 11) / 1.5) - ndtr((along - 11) / 1.5))
    return stack.astype(np.float32)


def bent(series: np.ndarray) -> np.ndarray:
    """A series without its line."""
    place = np.arange(len(series)) - (len(series) - 1) / 2
    return series - series.mean(axis=0) - np.outer(place, place @ series / (place @ place))


def settle(information: np.ndarray, product: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions and heights and their covariance, if of positions hardly anything else is known."""
    prior = 1e-4 * np.eye(len(product))
    prior[2::3, 2::3] = uneven_steps(len(product) // 3)
    covariance = np.linalg.inv(information + prior)
    return (covariance @ product).reshape(-1, 3), covariance


def solved(found: Bends) -> tuple[np.ndarray, np.ndarray]:
    """Positions [slice, 2] and heights [slice] of the most likely paths."""
    prior = np.zeros_like(found.information)
    prior[2::3, 2::3] = uneven_steps(len(prior) // 3)
    whole = np.linalg.pinv(found.information + prior, rcond=1e-8, hermitian=True) @ found.product
    return whole.reshape(-1, 3)[:, :2], whole[2::3]


@pytest.fixture(scope="module")
def drift() -> np.ndarray:
    return np.cumsum(0.4 * np.random.default_rng(1).standard_normal((COUNT, 2)), axis=0)


def test_steady_walls_do_not_hide_the_bends_of_the_drift(drift: np.ndarray) -> None:
    """Sixteen walls that move by up to 0.35 px per slice: 5 px over the stack, which chained steps would sum up."""
    stack = moving_walls(drift, np.zeros(COUNT))
    tracks = wall_tracks(stack.__getitem__, lambda n: np.ones((SIZE, SIZE), np.float32), range(COUNT))
    found = bends_of(tracks, COUNT, settle)
    position, _ = solved(found)
    left = np.sqrt(np.mean(bent(position - drift) ** 2))
    assert left < 0.05
    assert left < 0.1 * np.sqrt(np.mean(bent(drift) ** 2))
    assert found.tracks > 200


def test_a_thicker_slice_is_no_drift(drift: np.ndarray) -> None:
    """Cuts that are uneven by an eighth of a slice: each wall moves on by its own speed, and none of it is drift."""
    height = 0.125 * np.random.default_rng(4).standard_normal(COUNT)
    stack = moving_walls(drift, height)
    tracks = wall_tracks(stack.__getitem__, lambda n: np.ones((SIZE, SIZE), np.float32), range(COUNT))
    position, found = solved(bends_of(tracks, COUNT, settle))
    assert np.sqrt(np.mean(bent(position - drift) ** 2)) < 0.05
    left, true = np.diff(found) - np.diff(height), np.diff(height)
    assert np.std(left) < 0.4 * np.std(true)
    assert np.corrcoef(np.diff(found), true)[0, 1] > 0.9


def test_bent_walls_do_not_outweigh_straight_ones() -> None:
    """Every third wall bends by up to 0.02 px per slice squared, all to one side: what straight ones say stays."""
    rng = np.random.default_rng(5)
    true = np.cumsum(0.3 * rng.standard_normal((40, 2)), axis=0)
    angle, k = rng.uniform(0, np.pi, 240), np.arange(25) - 12
    direction = np.stack([np.sin(angle), np.cos(angle)], axis=1)
    first = rng.integers(0, 16, 240)
    moved = np.einsum("pna,pa->pn", true[first[:, None] + np.arange(25)], direction)
    bends = np.where(np.arange(240) % 3 == 0, rng.uniform(0, 0.02, 240) * np.sign(direction[:, 1]), 0.0)
    along = moved + rng.normal(size=(240, 1)) * k + bends[:, None] * k**2 + 0.05 * rng.standard_normal((240, 25))
    tracks = Tracks(first, along, direction, np.ones((240, 25), bool), np.arange(240), np.ones(240))
    found = bends_of(tracks, 40, settle)
    position, _ = solved(found)
    assert np.sqrt(np.mean(bent(position - true) ** 2)) < 0.15
    assert found.noise == pytest.approx(0.05, abs=0.01)


def test_a_wall_of_many_windows_is_one_wall() -> None:
    """A wall that 200 windows see bends by 0.006 px per slice squared, 80 others hardly: counted as one, it yields."""
    rng = np.random.default_rng(6)
    many, others, k = 200, 80, np.arange(25) - 12
    true = np.cumsum(0.3 * rng.standard_normal((25, 2)), axis=0)
    angle = np.concatenate([np.full(many, 0.7), rng.uniform(0, np.pi, others)])
    direction = np.stack([np.sin(angle), np.cos(angle)], axis=1)
    bends = np.concatenate([np.full(many, 0.006), rng.normal(0, 5e-4, others)])
    along = direction @ true.T + rng.normal(size=(len(angle), 1)) * k + np.outer(bends, k**2)
    along += 0.05 * rng.standard_normal(along.shape)
    left = []
    for wall in (np.arange(many + others), np.maximum(np.arange(many + others) - many + 1, 0)):
        shape = len(angle), 25
        tracks = Tracks(np.zeros(len(angle), int), along, direction, np.ones(shape, bool), wall, np.ones(len(angle)))
        position, _ = solved(bends_of(tracks, 25, settle))
        left.append(np.sqrt(np.mean(bent(position - true) ** 2)))
    assert left[1] < 0.06
    assert left[1] < 0.5 * left[0]


def test_windows_of_a_wall_are_found_in_slices_around() -> None:
    """Two cracks that no window sees together, one inclined by 0.5 px per slice; windows on a grid beside them."""
    y, x = np.arange(60.0)[:, None], np.arange(60.0)
    middle = np.stack(np.meshgrid([12, 20, 28], [14, 44], indexing="ij"), axis=-1).reshape(-1, 2)
    normal = np.tile([0.0, -1.0], (6, 1))
    sights = []
    for n in (0, 4):
        image = 1 - np.exp(-((x - 16.3 - 0.5 * n) ** 2) / 4) - np.exp(-((x - 42.6) ** 2) / 4) + 0 * y
        place = wall_places(image.astype(np.float32), middle, normal, 7)
        at = np.where(middle[:, 1] == 14, 16.3 + 0.5 * n, 42.6)
        assert (np.abs(place[:, 1] - at) < 0.25 * np.abs(middle[:, 1] - at)).all()  # drawn to the middle by its weights
        np.testing.assert_allclose(place[:, 0], middle[:, 0])
        moved = np.zeros((6, 9, 2))
        moved[middle[:, 1] == 14, :, 1] = 0.5 * (np.arange(9) - n)
        sights.append(Sight(n, 8, 0, place, normal, moved, np.ones((6, 9), bool)))
    number = wall_numbers(sights)
    expected = np.tile(middle[:, 1] == 14, 2)
    assert (number[expected] == number[0]).all()
    assert (number[~expected] == number[1]).all()
    assert number[0] != number[1]
    turned = sights[1]._replace(normal=np.tile([0.6, 0.8], (6, 1)))
    assert not np.isin(wall_numbers([sights[0], turned])[:6], wall_numbers([sights[0], turned])[6:]).any()


def test_windows_that_see_a_wall_are_counted_in_slices_where_any_does() -> None:
    seen = np.array([[True, True, False], [True, True, True], [False, True, False]])
    # wall 0: in slices 2, 3, 4, 5, 6; then in 2, 3 (twice), 4, 5
    assert windows_on_wall(np.array([0, 0, 1]), np.array([2, 4, 0]), seen) == pytest.approx([5 / 5, 5 / 5, 1])
    assert windows_on_wall(np.array([0, 0, 1]), np.array([2, 3, 0]), seen) == pytest.approx([5 / 4, 5 / 4, 1])


def test_a_place_and_a_speed_of_every_window_carry_no_information() -> None:
    """Whatever lines the windows follow: the product is zero, and so is the information on a constant drift."""
    rng = np.random.default_rng(2)
    k = np.arange(25)
    lines = rng.normal(size=(80, 1)) + rng.normal(size=(80, 1)) * k
    angle = rng.uniform(0, np.pi, 80)
    direction = np.stack([np.sin(angle), np.cos(angle)], axis=1)
    seen = rng.uniform(size=(80, 25)) > 0.2
    tracks = Tracks(rng.integers(0, 6, 80), lines, direction, seen, np.arange(80), np.ones(80))
    found = bends_of(tracks, 30, settle)
    scale = np.abs(found.information).max() * np.abs(lines).max()
    np.testing.assert_allclose(found.product / scale, 0, atol=1e-9)
    trend = np.kron(np.stack([np.ones(30), np.arange(30.0)]), np.eye(3))
    np.testing.assert_allclose(found.information @ trend.T / scale, 0, atol=1e-9)


def test_too_few_windows_say_nothing() -> None:
    flat = np.ones((6, 48, 48), np.float32)
    tracks = wall_tracks(flat.__getitem__, lambda n: np.ones((48, 48), np.float32), range(6))
    none = wall_tracks(flat.__getitem__, lambda n: np.zeros((48, 48), np.float32), range(6))
    for found in (bends_of(tracks, 6, settle), bends_of(none, 6, settle)):
        assert found.tracks == 0
        assert not found.information.any()


def test_kernel_is_the_same_as_python() -> None:
    y, x = np.arange(24)[:, None], np.arange(24)
    stack = np.stack([ndtr((x - 0.4 * y - 8 - 0.3 * n) / 1.5) + 0 * y for n in range(6)]).astype(np.float32)
    places = np.array([[12, 13], [3, 3], [11, 12]])
    results = []
    for kernel in (follow, follow.py_func):
        moved, information, seen = np.zeros((3, 6, 2)), np.zeros((3, 2, 2)), np.zeros((3, 6), dtype=bool)
        kernel(stack, 2, places, 5, (moved, information, seen))
        results.append((moved, information, seen))
    for compiled, plain in zip(*results, strict=True):
        np.testing.assert_allclose(compiled, plain, atol=1e-5)
    moved, _, seen = results[0]
    assert seen[0].all()
    assert not seen[1].any()  # too near to the face of the field
    across = moved[0] @ np.array([-0.4, 1.0]) / 1.16
    np.testing.assert_allclose(across, 0.3 * (np.arange(6) - 2) / 1.16, atol=0.03)
