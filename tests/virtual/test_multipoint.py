from __future__ import annotations

from math import inf

import numpy as np
import pytest
from numpy.typing import NDArray

from cathoscope.core.errors import CathoscopeError
from cathoscope.virtual import transport
from cathoscope.virtual.transport import Polycrystal, Rates, polycrystal
from tests.virtual import multipoint

Floats = NDArray[np.float64]
X, Y, Z = np.eye(3)
OBLIQUE = np.array([3.0, -2.0, 1.0]) / np.sqrt(14)


def crystal(n: int, axis: Floats, voxel: float = 0.1, slow_ratio: float = 0.05) -> Polycrystal:
    """A cube of one grain between walls."""
    return polycrystal(np.zeros((n, n, n), dtype=int), axis, voxel, slow_ratio, 0.1)


def particle(axes: Floats, n: int = 10, seed: int = 0) -> Polycrystal:
    """Random blobs of grains with pores, partly closed ones."""
    rng = np.random.default_rng(seed)
    place = np.moveaxis(np.indices((n, n, n)), 0, -1) - (n - 1) / 2
    seeds = rng.uniform(-n / 2, n / 2, (len(axes), 3))
    labels = np.argmin(((place[..., None, :] - seeds) ** 2).sum(axis=-1), axis=-1)
    labels[(np.linalg.norm(place, axis=-1) > 0.48 * n) | (rng.random((n, n, n)) < 0.05)] = -1
    return polycrystal(labels, axes, 0.1, 0.05, 0.1, closed=rng.random((n, n, n)) < 0.3)


def random_axes(count: int) -> Floats:
    return np.random.default_rng(5).normal(size=(count, 3))


def positions(medium: Polycrystal) -> Floats:
    """Centres of the cells (n, 3: x, y, z), um, from the middle of the grid."""
    place = np.stack(np.unravel_index(medium.cells, medium.shape), axis=1)[:, ::-1]
    return (place - (np.array(medium.shape[::-1]) - 1) / 2) * medium.voxel


@pytest.mark.parametrize("axis", [Z, OBLIQUE, np.array([1.0, 1, 1])])
@pytest.mark.parametrize("gradient", [X, np.array([1.0, -2, 0.5])])
def test_a_linear_field_in_a_crystal_of_any_orientation_has_no_divergence(axis: Floats, gradient: Floats) -> None:
    medium = crystal(7, axis)
    outflow = multipoint.operator(medium, Rates(1.0, 1.0, 0.0)).cells @ (positions(medium) @ gradient)
    inner = (np.abs(positions(medium)) < 0.25).all(axis=1)
    assert np.abs(outflow[inner]).max() < 1e-8 * np.abs(gradient).max() / medium.voxel


@pytest.mark.parametrize(("i", "j"), [(0, 0), (0, 1), (1, 2), (2, 2)])
def test_a_quadratic_field_shows_each_element_of_the_tensor(i: int, j: int) -> None:
    medium = crystal(7, OBLIQUE)
    at = positions(medium)
    outflow = multipoint.operator(medium, Rates(2.0, 1.0, 0.0)).cells @ (at[:, i] * at[:, j])
    inner = (np.abs(at) < 0.25).all(axis=1)
    tensor = 2.0 * (np.eye(3) - 0.95 * np.outer(OBLIQUE, OBLIQUE))
    np.testing.assert_allclose(outflow[inner], -2 * tensor[i, j], rtol=1e-9)


@pytest.mark.parametrize("surface", [0.0, 0.02, inf])
@pytest.mark.parametrize("boundary", [0.0, 1e-3, inf])
def test_the_matrix_is_symmetric_positive_and_keeps_constants(boundary: float, surface: float) -> None:
    medium = particle(random_axes(8), n=8)
    equation = multipoint.operator(medium, Rates(0.02, boundary, surface))
    matrix, gas = equation.cells.toarray(), equation.gas.toarray()
    size = np.abs(matrix).max()
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-13 * size)
    np.testing.assert_allclose(matrix.sum(axis=1) + gas.sum(axis=1), 0, atol=1e-13 * size)
    eigenvalues = np.linalg.eigvalsh(matrix)
    assert eigenvalues.min() > -1e-12 * size
    if surface > 0 and boundary > 0:
        assert eigenvalues.min() > 1e-9 * size


@pytest.mark.parametrize("boundary", [0.0, 1e-3, inf])
@pytest.mark.parametrize("surface", [0.0, 0.02, inf])
def test_both_operators_agree_where_the_tensor_is_aligned_with_the_grid(boundary: float, surface: float) -> None:
    medium = particle(np.eye(3)[np.arange(12) % 3])
    rates = Rates(0.02, boundary, surface)
    field, target, source = np.random.default_rng(1).random((3, medium.n_cells))
    two_point = transport.step(medium, field, rates, target, 20.0, 1e-13, source)
    equation = multipoint.operator(medium, rates)
    found = multipoint.step(equation, field, target, 20.0, 1e-14, source)
    np.testing.assert_allclose(found.field, two_point.field, atol=1e-10)
    assert found.outflow == pytest.approx(two_point.outflow, abs=1e-10)


def test_the_operators_differ_where_it_is_not() -> None:
    medium = particle(random_axes(12))
    rates = Rates(0.02, inf, 0.02)
    equation = multipoint.operator(medium, rates)
    found = multipoint.step(equation, np.zeros(medium.n_cells), 1.0, 20.0).field
    two_point = transport.step(medium, np.zeros(medium.n_cells), rates, 1.0, 20.0).field
    assert np.abs(found - two_point).max() > 0.02


@pytest.mark.parametrize(("angle", "g"), [(0, 0.1), (45, 0.55), (90, 1.0)])
def test_boundary_bulk_and_surface_are_resistances_in_series(angle: float, g: float) -> None:
    labels = np.full((2, 2, 12), -1)
    labels[:, :, 1:6], labels[:, :, 6:11] = 0, 1
    turned = np.array([0, np.sin(np.radians(angle)), np.cos(np.radians(angle))])
    medium = polycrystal(labels, [Z, turned], 0.1, 0.2, 0.1)
    equation = multipoint.operator(medium, Rates(0.5, 0.02, 2.0))
    target = np.where(medium.cells % 12 <= 5, 1.0, 0.0)
    field = multipoint.step(equation, np.zeros(medium.n_cells), target, 1e7, 1e-13).field
    flux = 1 / (1 / 0.5 + g / 0.02 + 2 / 2.0)
    steady = medium.on_grid(field)[1, 1]
    np.testing.assert_allclose(-np.diff(steady[1:6]) * 0.5 / 0.1, flux, rtol=1e-5)
    np.testing.assert_allclose(-np.diff(steady[6:11]) * 0.5 / 0.1, flux, rtol=1e-5)


def spread(medium: Polycrystal, field: Floats) -> Floats:
    """Second moments (3, 3) of a field about the middle."""
    at = positions(medium)
    return np.asarray((field[:, None, None] * at[:, :, None] * at[:, None, :]).sum(axis=0) / field.sum())


def gaussian(medium: Polycrystal, covariance: Floats) -> Floats:
    at = positions(medium)
    shape = np.exp(-0.5 * (at @ np.linalg.inv(covariance) * at).sum(axis=1))
    return np.asarray(shape / np.sqrt(np.linalg.det(2 * np.pi * covariance)))


@pytest.mark.parametrize("axis", [Z, np.array([0.0, 1, 1]) / np.sqrt(2), OBLIQUE])
def test_a_rotated_crystal_spreads_the_rotated_cloud(axis: Floats) -> None:
    errors, plain_errors = [], []
    for n in (14, 28):
        medium = crystal(n, axis, voxel=1.6 / n)
        tensor = np.eye(3) - 0.95 * np.outer(axis, axis)
        start, rates = 0.16**2 * np.eye(3), Rates(1.0, 1.0, 0.0)
        end = start + 2 * 0.012 * tensor
        equation = multipoint.operator(medium, rates)
        field = plain = gaussian(medium, start)
        for _ in range(16):
            field = multipoint.step(equation, field, 0.0, 0.012 / 16).field
            plain = transport.step(medium, plain, rates, 0.0, 0.012 / 16, 1e-7).field
        errors.append(np.abs(field - gaussian(medium, end)).max() / gaussian(medium, end).max())
        plain_errors.append(np.abs(plain - gaussian(medium, end)).max() / gaussian(medium, end).max())
        np.testing.assert_allclose(spread(medium, field), end, atol=0.02 * end.max())
    assert errors[1] < 0.03
    assert errors[1] < 0.6 * errors[0]
    if np.abs(axis).max() < 1:  # the two-point flux knows nothing of the oblique part, however fine the grid
        assert min(plain_errors) > 0.08
        off_diagonal = end - np.diag(np.diag(end))
        assert np.abs(spread(medium, plain) - end).max() == pytest.approx(np.abs(off_diagonal).max(), rel=0.02)


def test_what_leaves_the_cells_passes_the_surface() -> None:
    medium = particle(random_axes(12), seed=3)
    equation = multipoint.operator(medium, Rates(0.02, 1e-4, 0.02))
    field, source = np.random.default_rng(2).random((2, medium.n_cells))
    found = multipoint.step(equation, field, 0.3, 100.0, 1e-6, source)
    content = field.sum() * medium.cell_volume
    change = (found.field - field - 100 * source).sum() * medium.cell_volume
    assert change + found.outflow == pytest.approx(0, abs=1e-10 * content)


def test_an_iteration_that_ends_too_early_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multipoint, "_MOST_ITERATIONS", 2)
    medium = particle(random_axes(12))
    equation = multipoint.operator(medium, Rates(0.02, 1e-4, 0.02))
    with pytest.raises(CathoscopeError, match="converge"):
        multipoint.step(equation, np.zeros(medium.n_cells), 1.0, 1e5)
