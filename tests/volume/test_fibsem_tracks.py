"""Drift from walls that are followed: walls of known speed in closed form, and kernels compiled and as Python."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr

from cathoscope.volume.fibsem_bends import Bends, bends_of, uneven_steps
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
    found = bends_of(tracks, COUNT)
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
    position, found = solved(bends_of(tracks, COUNT))
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
    found = bends_of(Tracks(first, along, direction, np.ones((240, 25), bool), rng.integers(0, 16, 240)), 40)
    position, _ = solved(found)
    assert np.sqrt(np.mean(bent(position - true) ** 2)) < 0.15
    assert found.alike > 0.05**2


def test_a_place_and_a_speed_of_every_window_carry_no_information() -> None:
    """Whatever lines the windows follow: the product is zero, and so is the information on a constant drift."""
    rng = np.random.default_rng(2)
    k = np.arange(25)
    lines = rng.normal(size=(80, 1)) + rng.normal(size=(80, 1)) * k
    angle = rng.uniform(0, np.pi, 80)
    direction = np.stack([np.sin(angle), np.cos(angle)], axis=1)
    seen = rng.uniform(size=(80, 25)) > 0.2
    found = bends_of(Tracks(rng.integers(0, 6, 80), lines, direction, seen, rng.integers(0, 16, 80)), 30)
    scale = np.abs(found.information).max() * np.abs(lines).max()
    np.testing.assert_allclose(found.product / scale, 0, atol=1e-9)
    trend = np.kron(np.stack([np.ones(30), np.arange(30.0)]), np.eye(3))
    np.testing.assert_allclose(found.information @ trend.T / scale, 0, atol=1e-9)


def test_too_few_windows_say_nothing() -> None:
    flat = np.ones((6, 48, 48), np.float32)
    tracks = wall_tracks(flat.__getitem__, lambda n: np.ones((48, 48), np.float32), range(6))
    none = wall_tracks(flat.__getitem__, lambda n: np.zeros((48, 48), np.float32), range(6))
    for found in (bends_of(tracks, 6), bends_of(none, 6)):
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
