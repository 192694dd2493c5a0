"""A particle that lost a tenth of its volume is followed to a fraction of a voxel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics import deform as module
from cathoscope.numerics.bending import stiffness
from cathoscope.numerics.deform import Bent, Deformation, DeformOptions, deform
from cathoscope.numerics.pyramid import smoothed_level
from cathoscope.numerics.register import RegisterOptions, register
from cathoscope.numerics.transform import Similarity, rigid_part, turn_matrix
from cathoscope.numerics.warp import warp

Array = NDArray[np.float64]
EDGE = 40
CENTRE = np.full(3, (EDGE - 1) / 2)
GRID = np.stack(np.meshgrid(*[np.arange(EDGE, dtype=float)] * 3, indexing="ij"), axis=-1)
RADIUS, CORE = 15.0, 6.5
TEXTURE = gaussian_filter(np.random.default_rng(3).normal(size=(80, 80, 80)), 2.0)
TEXTURE *= 0.15 / TEXTURE.std()
PLACED = Similarity(np.array([0.7, -0.4, 0.9]), np.array([2.0, -0.5, 1.0]), 1.0, CENTRE)
OPTIONS = DeformOptions(spacing=6.0)


def particle(points: Array) -> Array:
    """A bumpy shell with texture, at points (..., 3) from its middle, voxels."""
    radius = np.linalg.norm(points, axis=-1)
    x, y = (points[..., axis] / np.maximum(radius, 1e-9) for axis in (2, 1))
    surface = RADIUS + 0.7 * np.cos(3 * x + 1) + 0.7 * np.sin(4 * y)
    filled = 1 / (1 + np.exp((radius - surface) / 0.5)) / (1 + np.exp((CORE - radius) / 0.5))
    texture = map_coordinates(TEXTURE, np.moveaxis(points + 39.5, -1, 0), order=3, mode="nearest")
    return np.asarray(filled * (1 + texture))


def collapsed(points: Array, volume: float) -> Array:
    """Where material goes when the core loses ``volume`` (a radius cubed) and every direction keeps its material."""
    radius = np.linalg.norm(points, axis=-1, keepdims=True)
    return np.asarray(points / np.maximum(radius, 1e-9) * np.cbrt(np.maximum(radius**3 - volume, 0)))


def pair(volume: float, noise: float, seed: int = 0) -> tuple[Array, Array, Array]:
    """Both volumes, and where the material of every voxel of the first lies in the second."""
    rng = np.random.default_rng(seed)
    moving = particle(collapsed(PLACED.inverse().to_moving(GRID) - CENTRE, -volume))
    fixed = particle(GRID - CENTRE)
    there = PLACED.to_moving(collapsed(GRID - CENTRE, volume) + CENTRE)
    return fixed + rng.normal(0, noise, fixed.shape), moving + rng.normal(0, noise, fixed.shape), there


def shell(inner: float, outer: float) -> NDArray[np.bool_]:
    radius = np.linalg.norm(GRID - CENTRE, axis=-1)
    return np.asarray((radius > inner) & (radius < outer))


@pytest.fixture(scope="module")
def tenth() -> tuple[Array, Array, Array, Similarity, Deformation]:
    lost = 0.8 * CORE**3  # 7 % of the ball, 8 % of the material's envelope
    fixed, moving, there = pair(lost, 0.03)
    start = register(fixed, moving, model="similarity", options=RegisterOptions(largest_turn=2.5))
    return fixed, moving, there, start, deform(fixed, moving, start, options=OPTIONS)


def test_a_collapse_is_followed(tenth: tuple[Array, Array, Array, Similarity, Deformation]) -> None:
    _, _, there, start, found = tenth
    assert found.reason is None
    middle = shell(9.0, 15.0)  # material near the core is squeezed within two voxels
    before, after = (np.sqrt(np.mean((m.to_moving(GRID) - there)[middle] ** 2)) for m in (start, found))
    assert after < 0.12
    assert after < 0.4 * before
    assert found.correlation > found.correlation_before
    assert found.misfit < 0.7 * found.misfit_before
    assert 0.3 < found.smallest_jacobian < found.volume_ratio < 1.05


def test_the_turn_is_better_after_a_collapse(tenth: tuple[Array, Array, Array, Similarity, Deformation]) -> None:
    *_, found = tenth
    assert np.abs(found.rigid.rotation_vector - PLACED.rotation_vector).max() < 0.2
    assert np.abs(found.rigid.shift - PLACED.shift).max() < 0.05
    error = np.concatenate([found.rigid.shift - PLACED.shift, found.rigid.rotation_vector - PLACED.rotation_vector])
    assert np.abs(error / found.rigid_std).max() < 4
    assert found.rigid_std[3:].max() < 0.5


def test_the_warped_volume_is_the_fixed_one(tenth: tuple[Array, Array, Array, Similarity, Deformation]) -> None:
    fixed, moving, _, start, found = tenth
    outer = shell(9.0, 17.0)
    left = []
    for one in (start, found):
        difference = np.nan_to_num(warp(moving, one, slice(0, EDGE)) - fixed)
        left.append(np.std(gaussian_filter(difference, 1.5)[outer]))  # the noise alone would leave 0.003
    assert left[1] < 0.5 * left[0]


def test_nothing_moves_where_nothing_has_moved() -> None:
    square = []
    for seed in range(2):
        fixed, moving, there = pair(0.0, 0.05, seed)
        found = deform(fixed, moving, PLACED, options=OPTIONS)
        error = (found.to_moving(GRID) - there)[fixed > 0.5]
        square.append(np.mean(error**2, axis=0) / found.displacement_std**2)
        assert found.volume_ratio == pytest.approx(1.0, abs=0.01)
        assert np.sqrt(np.mean(error**2)) < 0.15
    # prior and noise together: the stated uncertainty is not exceeded, nor ten times too large
    assert 0.05 < np.mean(square) < 1.3


def test_displacement_is_a_spline_of_the_control_points() -> None:
    control = np.zeros((3, 10, 10, 10))
    lattice = np.stack(np.meshgrid(*[np.arange(10.0) - 1] * 3, indexing="ij")) * 6.0
    control[:] = 0.1 * lattice[::-1] + 0.5  # control points on a plane make a plane
    found = Bent(PLACED, control, 6.0, (EDGE, EDGE, EDGE))
    points = np.random.default_rng(0).uniform(0, EDGE - 1, (20, 3))
    np.testing.assert_allclose(found.displacement(points), 0.1 * points[:, ::-1] + 0.5, atol=1e-5)
    np.testing.assert_allclose(found.to_moving(points), PLACED.to_moving(points) + found.displacement(points))


def test_operators_are_adjoint_and_a_linear_deformation_is_free() -> None:
    rng = np.random.default_rng(0)
    fixed, moving, _ = pair(0.0, 0.01)
    mask = np.zeros(fixed.shape, dtype=bool)
    mask[5:31, 8:35, 7:33] = True
    level = smoothed_level((fixed.astype(np.float32), moving.astype(np.float32)), mask, 1, CENTRE, 1.0)
    problem = module._problem(level, fixed.shape, 6.0, OPTIONS)
    control, field = rng.normal(size=(3, 10, 10, 10)), rng.normal(size=(3, *problem.box)).astype(np.float32)
    left = float(np.sum(problem.expanded(control).astype(float) * field))
    assert left == pytest.approx(float(np.sum(control * problem.gathered(field))), rel=1e-4, abs=1e-2)
    lattice = np.stack(np.meshgrid(*[np.arange(10.0)] * 3, indexing="ij"))
    assert np.abs(stiffness(np.einsum("ab,bzyx->azyx", rng.normal(size=(3, 3)), lattice))).max() < 1e-10
    other = rng.normal(size=control.shape)
    assert np.sum(other * stiffness(control)) == pytest.approx(np.sum(control * stiffness(other)))
    draws = [module._prior_draw(problem, control.shape, np.random.default_rng(seed)) for seed in range(200)]
    expected = float(np.sum(other * module._prior(problem, other)))
    assert np.var([np.sum(other * draw) for draw in draws]) == pytest.approx(expected, rel=0.25)


def test_what_cannot_be_deformed_is_named() -> None:
    fixed, moving, _ = pair(0.0, 0.02)
    with pytest.raises(MeasurementError, match="differ"):
        deform(fixed, moving[:-1], PLACED)
    with pytest.raises(MeasurementError, match="mask leaves nothing"):
        deform(fixed, moving, PLACED, mask=np.zeros(fixed.shape, dtype=bool))
    noise = np.random.default_rng(0).normal(size=fixed.shape)
    hurried = replace(OPTIONS, steps=1, draws=1, solver_steps=3)
    assert deform(fixed, noise, PLACED, options=hurried).reason is not None


def test_the_rigid_part_of_a_small_motion_is_that_motion() -> None:
    """Whatever swells beside it."""
    points = np.random.default_rng(2).uniform(-10, 10, (500, 3)) + 20
    lever = points - points.mean(axis=0)
    for axis in range(3):
        turn = np.zeros(3)
        turn[axis] = 0.01
        moved = lever @ turn_matrix(turn).T - lever + [0.3, -0.2, 0.1]
        np.testing.assert_allclose(rigid_part(points, moved), [0.3, -0.2, 0.1, *turn], atol=1e-6)
    np.testing.assert_allclose(rigid_part(points, 0.1 * lever), 0.0, atol=1e-12)
