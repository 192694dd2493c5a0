from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import inf, pi

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import brentq

from cathoscope.core.errors import CathoscopeError
from cathoscope.virtual import transport, transport_kernels
from cathoscope.virtual.transport import GAS, WALL, Polycrystal, Rates, polycrystal, step

Floats = NDArray[np.float64]
X, Y, Z = np.eye(3)


def grains(n: int, count: int, seed: int, core: float = 0.0, **medium: float) -> Polycrystal:
    """Voronoi grains in a ball of 0.1 um voxels whose middle may be hollow."""
    rng = np.random.default_rng(seed)
    place = np.moveaxis(np.indices((n, n, n)), 0, -1) - (n - 1) / 2
    seeds = rng.uniform(-n / 2, n / 2, (count, 3))
    labels = np.argmin(((place[..., None, :] - seeds) ** 2).sum(axis=-1), axis=-1)
    radius = np.linalg.norm(place, axis=-1)
    labels[(radius > 0.48 * n) | (radius < core * n)] = -1
    given_or_not = {"voxel": 0.1, "slow_ratio": 0.05, "aligned_resistance": 0.1} | medium
    return polycrystal(labels, rng.normal(size=(count, 3)), **given_or_not)


def ball(n: int, radius: float, inner: float = 0.0, closed: bool = False) -> Polycrystal:
    """An isotropic ball (um) in n voxels across 2.2 radii."""
    voxel = 2.2 * radius / n
    at = (np.arange(n) - (n - 1) / 2) * voxel
    distance = np.sqrt(at[:, None, None] ** 2 + at[:, None] ** 2 + at**2)
    labels = np.where((distance < radius) & (distance >= inner), 0, -1)
    return polycrystal(labels, Z, voxel, 1.0, 1.0, closed=(distance < inner) if closed else None)


def slab(n: int, axes: list[Floats], both_ends: bool = False, **medium: float) -> Polycrystal:
    """A bar along x of 1 um, a grain for each of ``axes`` from left to right, gas at its left or both ends."""
    labels = np.full((2, 2, n + 1 + both_ends), -1)
    labels[:, :, 1 : n + 1] = np.arange(n) * len(axes) // n
    return polycrystal(labels, axes, 1 / n, **({"slow_ratio": 0.2, "aligned_resistance": 0.1} | medium))


def mean_after(medium: Polycrystal, rates: Rates, time: float, steps: int) -> float:
    """Mean of a field that starts at 0, gas at 1, extrapolated to infinitely many steps."""
    means = []
    for count in (steps, 2 * steps):
        field = np.zeros(medium.n_cells)
        for _ in range(count):
            field = step(medium, field, rates, 1.0, time / count, 1e-7).field
        means.append(field.mean())
    return float(2 * means[1] - means[0])


def roots(law: Callable[[float], float], count: int) -> Floats:
    """The root of ``law`` between each two multiples of pi."""
    return np.array([brentq(law, i * pi + 1e-9, (i + 1) * pi - 1e-9) for i in range(count)])


def slab_uptake(fourier: float, biot: float) -> float:
    """Mean of a plate of half-width L, D t / L² = fourier, k L / D = biot (Crank, eq. 4.18 and 4.53)."""
    if biot == inf:
        beta = (np.arange(60) + 0.5) * pi
        weight = 2 / beta**2
    else:
        beta = roots(lambda b: b * np.sin(b) - biot * np.cos(b), 60)
        weight = 2 * biot**2 / (beta**2 * (beta**2 + biot**2 + biot))
    return float(1 - (weight * np.exp(-(beta**2) * fourier)).sum())


def sphere_uptake(fourier: float, biot: float) -> float:
    """Mean of a ball of radius a, D t / a² = fourier, k a / D = biot (Crank, eq. 6.20 and 6.45)."""
    if biot == inf:
        beta = np.arange(1, 200) * pi
        weight = 6 / beta**2
    else:
        beta = roots(lambda b: b * np.cos(b) - (1 - biot) * np.sin(b), 200)
        weight = 6 * biot**2 / (beta**2 * (beta**2 + biot * (biot - 1)))
    return float(1 - (weight * np.exp(-(beta**2) * fourier)).sum())


@pytest.mark.parametrize(("axis", "diffusivity"), [(X, 0.2), (Y, 1.0), (Z, 1.0)])
@pytest.mark.parametrize("surface", [inf, 3.0, 0.3])
def test_a_slab_takes_up_as_the_series_says(axis: Floats, diffusivity: float, surface: float) -> None:
    medium = slab(40, [axis])
    time = 0.3 / diffusivity
    found = mean_after(medium, Rates(1.0, 1.0, surface), time, 40)
    assert found == pytest.approx(slab_uptake(0.3, surface / diffusivity), abs=5e-4)


def test_the_profile_of_a_slab_is_that_of_the_series() -> None:
    medium = slab(50, [X], slow_ratio=1.0)
    field = np.zeros(medium.n_cells)
    for _ in range(400):
        field = step(medium, field, Rates(1.0, 1.0, inf), 1.0, 0.1 / 400, 1e-10).field
    depth = 1 - (np.arange(50) + 0.5) / 50
    beta = (np.arange(60) + 0.5) * pi
    terms = 2 * (-1) ** np.arange(60) / beta * np.exp(-(beta**2) * 0.1)
    expected = 1 - np.cos(np.outer(depth, beta)) @ terms
    np.testing.assert_allclose(medium.on_grid(field)[0, 0, 1:], expected, atol=2e-3)


@pytest.mark.parametrize(("angle", "g"), [(0, 0.1), (45, 0.55), (90, 1.0)])
@pytest.mark.parametrize("boundary", [0.02, 5.0, inf])
def test_boundary_bulk_and_surface_are_resistances_in_series(angle: float, g: float, boundary: float) -> None:
    turned = np.array([0, np.sin(np.radians(angle)), np.cos(np.radians(angle))])
    medium = slab(20, [Z, turned], both_ends=True)
    rates = Rates(0.5, boundary, 2.0)
    target = np.where(medium.cells % 22 <= 10, 1.0, 0.0)
    field = step(medium, np.zeros(medium.n_cells), rates, target, 1e8, 1e-10).field
    flux = 1 / (1 / 0.5 + g / boundary + 2 / 2.0)
    steady = medium.on_grid(field)[1, 1]
    np.testing.assert_allclose(-np.diff(steady[1:11]) * 0.5 * 20, flux, rtol=1e-5)
    np.testing.assert_allclose(-np.diff(steady[11:21]) * 0.5 * 20, flux, rtol=1e-5)


@pytest.mark.parametrize("biot", [inf, 5.0, 0.5])
def test_a_ball_takes_up_as_the_series_says_the_better_the_finer(biot: float) -> None:
    rates = Rates(1.0, 1.0, biot / 2)
    time = 0.05 * 4 if biot > 1 else 0.3 * 4
    expected = sphere_uptake(time / 4, biot)
    errors = [abs(mean_after(ball(n, 2.0), rates, time, 16) / expected - 1) for n in (11, 20, 36)]
    assert errors[2] < 0.01
    assert errors[2] < 0.6 * errors[0]


def test_the_error_of_a_step_is_of_first_order() -> None:
    medium, rates = grains(10, 8, 1), Rates(0.02, 0.01, 0.1)

    def final(count: int) -> Floats:
        field = np.zeros(medium.n_cells)
        for _ in range(count):
            field = step(medium, field, rates, 1.0, 4.0 / count, 1e-11).field
        return field

    coarse, middle, fine = final(20), final(40), final(80)
    ratio = np.abs(coarse - middle).max() / np.abs(middle - fine).max()
    assert ratio == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("n", [31, 48])
@pytest.mark.parametrize("inner", [0.0, 0.6])
def test_weighted_faces_have_the_area_of_the_smooth_body(n: int, inner: float) -> None:
    area = 4 * pi * (2.0**2 + inner**2)
    assert ball(n, 2.0, inner).surface_area == pytest.approx(area, rel=0.015)
    assert ball(n, 2.0, inner, closed=True).surface_area == pytest.approx(4 * pi * 2.0**2, rel=0.015)


@pytest.mark.parametrize("normal", [(1, 1, 0), (3, 1, 2), (5, 1, 0)])
def test_weighted_faces_have_the_area_of_a_tilted_plane(normal: tuple[int, int, int]) -> None:
    z, y, x = np.indices((30, 30, 30))
    solid = (np.stack([x, y, z], axis=-1) - 14.5) @ np.array(normal) < 0.1
    medium = polycrystal(np.where(solid, 0, -1), Z, 1.0, 1.0, 1.0)
    place = np.stack(np.unravel_index(medium.cells, medium.shape), axis=1)
    inner = ((place >= 8) & (place < 22)).all(axis=1)
    # each face in front of the plane projects onto it with |n . e| of its own area
    expected = np.abs(normal) / np.linalg.norm(normal)
    for axis in range(3):
        weights = medium.face_weight[inner, 2 * axis + 1]
        found = weights[weights > 0]
        if expected[axis] > 0:
            np.testing.assert_allclose(found, expected[axis], atol=0.06)
            assert found.mean() == pytest.approx(expected[axis], abs=0.02)


def test_every_gas_facing_face_keeps_some_weight() -> None:
    medium = grains(20, 30, 2, core=0.15)
    gas = medium.neighbours == GAS
    assert medium.face_weight[gas].min() >= 0.05
    assert medium.face_weight.max() <= 1
    np.testing.assert_array_equal(medium.face_weight[~gas], 0)


def test_neighbours_are_mutual_and_edges_of_the_grid_are_walls() -> None:
    medium = slab(6, [X, Y])
    place = np.stack(np.unravel_index(medium.cells, medium.shape), axis=1)
    for cell in range(medium.n_cells):
        for side, offset in enumerate([(0, 0, -1), (0, 0, 1), (0, -1, 0), (0, 1, 0), (-1, 0, 0), (1, 0, 0)]):
            there = place[cell] + offset
            other = medium.neighbours[cell, side]
            if (there < 0).any() or (there >= medium.shape).any():
                assert other == WALL
            elif there[2] == 0:
                assert other == GAS
            else:
                np.testing.assert_array_equal(place[other], there)
                assert medium.neighbours[other, side ^ 1] == cell


def brute_force(medium: Polycrystal, rates: Rates, duration: float) -> tuple[Floats, Floats]:
    """Matrix and exchange of a step, face by face from the equations."""
    matrix = np.eye(medium.n_cells)
    exchange = np.zeros(medium.n_cells)
    h = medium.voxel
    for cell in range(medium.n_cells):
        for side in range(6):
            other = medium.neighbours[cell, side]
            e = np.eye(3)[side // 2]
            c = medium.c_axis[medium.grain[cell]]
            half = h / 2 / (rates.diffusivity * (1 - (1 - medium.slow_ratio) * (c @ e) ** 2))
            if other >= 0:
                d = medium.c_axis[medium.grain[other]]
                resistance = half + h / 2 / (rates.diffusivity * (1 - (1 - medium.slow_ratio) * (d @ e) ** 2))
                if medium.grain[cell] != medium.grain[other]:
                    sine_squared = np.linalg.norm(np.cross(c, d)) ** 2
                    eps = medium.aligned_resistance
                    resistance += (eps + (1 - eps) * sine_squared) / rates.boundary
                matrix[cell, cell] += duration / resistance / h
                matrix[cell, other] -= duration / resistance / h
            elif other == GAS:
                exchange[cell] += 1 / (half + 1 / (rates.surface * medium.face_weight[cell, side])) / h
    return matrix + duration * np.diag(exchange), exchange


@pytest.mark.parametrize("boundary", [1e-4, 0.1, 1e3])
@pytest.mark.parametrize("tolerance", [1e-4, 1e-9])
def test_no_cell_is_further_from_the_direct_solution_than_the_tolerance(boundary: float, tolerance: float) -> None:
    medium, rates = grains(9, 12, 3, core=0.1), Rates(0.02, boundary, 0.05)
    rng = np.random.default_rng(0)
    field, target, source = rng.random((3, medium.n_cells))
    matrix, exchange = brute_force(medium, rates, 30.0)
    expected = np.linalg.solve(matrix, field + 30 * (source + exchange * target))
    found = step(medium, field, rates, target, 30.0, tolerance, source)
    # twice: once for the residual, once for the share of the balance
    assert np.abs(found.field - expected).max() <= 2 * tolerance
    outflow = 30 * (exchange * (expected - target)).sum() * medium.cell_volume
    assert found.outflow == pytest.approx(outflow, rel=10 * tolerance)


@pytest.mark.parametrize("temperature_factor", [1e-3, 1.0, 1e3])
def test_what_leaves_the_cells_passes_the_surface(temperature_factor: float) -> None:
    medium = grains(16, 40, 4, core=0.12)
    rates = Rates(0.02 * temperature_factor, 2e-5 * temperature_factor, 0.02 * temperature_factor)
    rng = np.random.default_rng(1)
    field, source = rng.random((2, medium.n_cells))
    found = step(medium, field, rates, 0.3, 100.0, 1e-6, source)
    content = field.sum() * medium.cell_volume
    change = (found.field - field - 100 * source).sum() * medium.cell_volume
    assert change + found.outflow == pytest.approx(0, abs=1e-10 * content)


def test_the_balance_of_a_whole_programme_closes() -> None:
    medium = grains(16, 40, 5)
    field, out = np.zeros(medium.n_cells), 0.0
    for factor in np.geomspace(1e-2, 1e4, 40):
        done = step(medium, field, Rates(0.02 * factor, 2e-5 * factor, 0.02 * factor), 1.0, 60.0, 1e-6)
        field, out = done.field, out + done.outflow
    assert field.mean() > 0.99
    assert field.sum() * medium.cell_volume == pytest.approx(-out, rel=1e-6)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    logarithms=st.tuples(*[st.floats(-5, 3)] * 4),
    slow_ratio=st.floats(0.01, 1),
    eps=st.floats(0, 1),
)
def test_nothing_leaves_the_range_of_field_and_target(
    seed: int, logarithms: tuple[float, ...], slow_ratio: float, eps: float
) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(-1, 4, (4, 5, 6))
    labels[0, 0, 0] = 0
    closed = rng.random(labels.shape) < 0.3
    medium = polycrystal(labels, rng.normal(size=(4, 3)), 0.1, slow_ratio, eps, closed=closed)
    field, target = rng.integers(0, 2, (2, medium.n_cells)).astype(float)
    diffusivity, boundary, surface, duration = 10.0 ** np.array(logarithms)
    found = step(medium, field, Rates(diffusivity, boundary, surface), target, duration, 1e-6).field
    assert found.min() >= -2e-6
    assert found.max() <= 1 + 2e-6


def test_the_step_is_self_adjoint_and_linear() -> None:
    medium, rates = grains(12, 20, 6, core=0.1), Rates(0.02, 0.003, 0.02)
    first, second, target = np.random.default_rng(2).random((3, medium.n_cells))

    def stepped(field: Floats, goal: Floats | float) -> Floats:
        return step(medium, field, rates, goal, 50.0, 1e-12).field

    assert first @ stepped(second, 0.0) == pytest.approx(second @ stepped(first, 0.0), rel=1e-10)
    together = stepped(2 * first - 3 * second, 2 * target)
    np.testing.assert_allclose(together, 2 * stepped(first, target) - 3 * stepped(second, 0.0), atol=1e-10)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_mirrored_particle_has_the_mirrored_field(axis: int) -> None:
    medium, rates = grains(12, 20, 7, core=0.1), Rates(0.02, 0.003, 0.02)
    labels = medium.on_grid(medium.grain, outside=-1).astype(int)
    signs = np.where(np.arange(3) == 2 - axis, -1, 1)
    mirrored = polycrystal(np.flip(labels, axis), medium.c_axis * signs, 0.1, 0.05, 0.1)
    one, other = (m.on_grid(step(m, np.zeros(m.n_cells), rates, 1.0, 50.0, 1e-10).field) for m in (medium, mirrored))
    np.testing.assert_allclose(np.flip(other, axis), one, atol=1e-9)


def test_a_closed_surface_keeps_the_mean_and_evens_out() -> None:
    medium = grains(14, 25, 8)
    field = np.random.default_rng(3).random(medium.n_cells)
    found = step(medium, field, Rates(0.02, 0.01, 0.0), 5.0, 20.0, 1e-6)
    assert found.outflow == 0
    assert found.field.mean() == pytest.approx(field.mean(), rel=1e-13)
    assert found.field.std() < 0.5 * field.std()
    even = step(medium, field, Rates(0.02, 0.01, 0.0), 5.0, 1e7, 1e-8)
    np.testing.assert_allclose(even.field, field.mean(), atol=1e-6)


def test_a_closed_core_lets_nothing_out() -> None:
    rates = Rates(1.0, 1.0, inf)
    outer, free = ball(30, 2.0, 1.2, closed=True), ball(30, 2.0, 1.2)
    assert mean_after(outer, rates, 0.1, 5) < 0.75 * mean_after(free, rates, 0.1, 5)


def test_boundaries_that_let_nothing_through_part_the_grains() -> None:
    medium = slab(10, [Z, Y])
    found = step(medium, np.zeros(medium.n_cells), Rates(1.0, 0.0, inf), 1.0, 1e9, 1e-8).field
    np.testing.assert_allclose(found, medium.grain == 0, atol=1e-6)


def test_iterations_do_not_depend_on_the_resistance_of_boundaries(monkeypatch: pytest.MonkeyPatch) -> None:
    medium = grains(24, 150, 9)
    taken = []
    solve = transport_kernels.solve
    monkeypatch.setattr(transport_kernels, "solve", lambda *given: taken.append(solve(*given)))
    for boundary in (0.0, 1e-6, 1e-4, 1e-2, 1.0, inf):
        step(medium, np.zeros(medium.n_cells), Rates(2.0, boundary, 2.0), 1.0, 100.0, 1e-8)
    assert max(taken) < 2.5 * min(taken)
    assert max(taken) < 60


def test_compiled_and_interpreted_loops_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    def result() -> Floats:
        medium = grains(6, 5, 10)
        return step(medium, np.zeros(medium.n_cells), Rates(0.02, 0.001, 0.02), 1.0, 50.0, 1e-9).field

    compiled = result()
    for name, loop in vars(transport_kernels).copy().items():
        if hasattr(loop, "py_func"):
            monkeypatch.setattr(transport_kernels, name, loop.py_func)
    np.testing.assert_allclose(result(), compiled, atol=1e-13)


def test_a_field_goes_back_onto_the_grid() -> None:
    labels = np.array([[[-1, 0, 1]]])
    medium = polycrystal(labels, [X, Y], 0.1, 0.5, 0.1)
    np.testing.assert_array_equal(medium.on_grid([3.0, 4.0]), [[[np.nan, 3, 4]]])
    assert medium.n_cells == 2
    assert medium.cell_volume == pytest.approx(1e-3)


def test_a_single_cell_approaches_its_target() -> None:
    labels = np.full((3, 3, 3), -1)
    labels[1, 1, 1] = 0
    medium = polycrystal(labels, X, 0.5, 1.0, 0.1)
    rate = (1 / (0.25 / 2.0 + 1 / (3.0 * medium.face_weight))).sum() / 0.5
    found = step(medium, [0.2], Rates(2.0, 1.0, 3.0), 1.0, 0.7)
    assert found.field[0] == pytest.approx(1 - 0.8 / (1 + 0.7 * rate))


@pytest.mark.parametrize(
    "change", [{"diffusivity": 0.0}, {"diffusivity": inf}, {"boundary": -1.0}, {"surface": float("nan")}]
)
def test_impossible_rates_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(CathoscopeError, match="coefficients"):
        replace(Rates(1.0, 1.0, 1.0), **change)


@pytest.mark.parametrize(
    ("labels", "axes", "numbers"),
    [
        (np.full((2, 2, 2), -1), [X], (0.1, 0.5, 0.5)),
        (np.zeros((2, 2), int), [X], (0.1, 0.5, 0.5)),
        (np.ones((2, 2, 2), int), [X], (0.1, 0.5, 0.5)),
        (np.zeros((2, 2, 2), int), [0 * X], (0.1, 0.5, 0.5)),
        (np.zeros((2, 2, 2), int), [X], (0.0, 0.5, 0.5)),
        (np.zeros((2, 2, 2), int), [X], (0.1, 0.0, 0.5)),
        (np.zeros((2, 2, 2), int), [X], (0.1, 0.5, 1.5)),
    ],
)
def test_impossible_media_are_refused(
    labels: NDArray[np.int_], axes: list[Floats], numbers: tuple[float, float, float]
) -> None:
    with pytest.raises(CathoscopeError):
        polycrystal(labels, axes, *numbers)


@pytest.mark.parametrize(("field", "duration"), [(np.nan, 1.0), (0.0, -1.0), (0.0, inf)])
def test_impossible_steps_are_refused(field: float, duration: float) -> None:
    medium = slab(5, [X])
    with pytest.raises(CathoscopeError, match="finite"):
        step(medium, np.full(medium.n_cells, field), Rates(1.0, 1.0, 1.0), 1.0, duration)


def test_an_iteration_that_ends_too_early_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_kernels, "MOST_ITERATIONS", 1)
    medium = grains(12, 20, 11)
    with pytest.raises(CathoscopeError, match="converge"):
        transport.step(medium, np.zeros(medium.n_cells), Rates(1.0, 1e-3, 1.0), 1.0, 1e3, 1e-9)
