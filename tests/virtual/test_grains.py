"""The tessellation is exact; what is drawn has the stated volume, orientation and seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.spatial import cKDTree

from cathoscope.core.errors import CathoscopeError
from cathoscope.virtual.grains import Grains, _axes, _label, draw_grains, embedded
from cathoscope.virtual.particle import GRAVEL, L_NMC, ROD, ParticleDesign, watson_concentration

SMALL_ROD = replace(ROD, diameter=5.0, core_radius=1.0)
SMALL_GRAVEL = replace(GRAVEL, diameter=5.0, core_radius=1.0)
DESIGNS = {
    "rod": SMALL_ROD,
    "gravel": SMALL_GRAVEL,
    "uneven rod": replace(SMALL_ROD, grain_spread=0.4, aspect=3.0),
    "uneven gravel": replace(SMALL_GRAVEL, grain_spread=0.4),
    "rod without core": replace(SMALL_ROD, core_radius=0.0, aspect=2.5),
    "soft rod": replace(SMALL_ROD, core_radius=0.0, aspect=2.5, isotropic_radius=0.9),
    "uneven soft rod": replace(SMALL_ROD, core_radius=0.0, grain_spread=0.4, isotropic_radius=0.2),
    "fine": replace(SMALL_GRAVEL, diameter=4.0, grain_size=0.25, crack_opening=0.04),
}


def points_around(grains: Grains, count: int, seed: int = 0) -> NDArray[np.float64]:
    half = 1.02 * grains.outer.highest
    return np.random.default_rng(seed).uniform(-half, half, (count, 3))


def brute_force(grains: Grains, points: NDArray[np.float64]) -> NDArray[np.int64]:
    """Argument of the smallest power over all seeds, and -1 outside."""
    difference = embedded(grains, points)[:, None] - grains.embedded_seeds
    labels = np.argmin(np.sum(difference**2, axis=2) - grains.weights, axis=1)
    r = np.linalg.norm(points, axis=1)
    return np.where((r < grains.outer_radius(points)) & (r >= grains.core_radius(points)), labels, -1)


@pytest.mark.parametrize("name", DESIGNS)
def test_labels_are_those_of_all_seeds_compared(name: str) -> None:
    grains = draw_grains(DESIGNS[name], 3)
    points = points_around(grains, 1000)
    # also right beside the centre, where rods become needles
    points[:150] *= 0.02
    expected = brute_force(grains, points)
    assert (expected >= 0).sum() > 260
    np.testing.assert_array_equal(grains.labels(points), expected)


@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    rod=st.booleans(),
    aspect=st.floats(1, 20),
    spread=st.floats(0, 1),
    size=st.floats(0.35, 1.0),
    core=st.floats(0, 0.4),
    soft=st.floats(0, 1.5),
)
def test_labels_are_exact_for_any_design(
    seed: int, rod: bool, aspect: float, spread: float, size: float, core: float, soft: float
) -> None:
    design = ParticleDesign(
        "rod" if rod else "gravel",
        diameter=3.0,
        core_radius=core,
        grain_size=size,
        grain_spread=spread,
        aspect=aspect if rod else 1.0,
        isotropic_radius=soft if rod else 0.0,
    )
    grains = draw_grains(design, seed)
    points = points_around(grains, 400, seed)
    np.testing.assert_array_equal(grains.labels(points), brute_force(grains, points))


def crossing_rates(grains: Grains, radii: tuple[float, float], count: int) -> tuple[float, float]:
    """Boundaries per length (1/um) along the radius and across it, at uniform points between ``radii`` (um)."""
    rng, step = np.random.default_rng(0), 0.01
    radial, other = rng.standard_normal((2, count, 3))
    radial /= np.linalg.norm(radial, axis=1, keepdims=True)
    across = np.cross(radial, other)
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    points = radial * np.cbrt(rng.uniform(radii[0] ** 3, radii[1] ** 3, (count, 1)))
    rates = [
        np.mean(grains.labels(points - step / 2 * a) != grains.labels(points + step / 2 * a)) for a in (radial, across)
    ]
    return float(rates[0] / step), float(rates[1] / step)


def test_a_soft_embedding_makes_equiaxed_grains_at_the_centre_and_rods_outside() -> None:
    # mean intercepts are 0.6872 grain sizes (Poisson-Voronoi) over the stretch of the embedding
    s, stretched = L_NMC.isotropic_radius, np.hypot(0.7 * L_NMC.radius, L_NMC.isotropic_radius)
    particles = [draw_grains(L_NMC, seed) for seed in (1, 2, 3)]
    for low, high in ((0.0, 0.35), (0.45, 0.55), (0.9, 1.1), (1.4, 1.6)):
        rates = np.mean([crossing_rates(grains, (low * s, high * s), 20_000) for grains in particles], axis=0)
        r = s * np.cbrt((low**3 + high**3) / 2)
        rho = np.hypot(r, s)
        expected = np.array([np.hypot(stretched * s**2 / rho**3, r / (rho * L_NMC.aspect)), stretched / rho])
        np.testing.assert_allclose(rates * 0.6872 * L_NMC.grain_size, expected, rtol=0.12)
        if high < 0.4:
            assert rates[1] / rates[0] == pytest.approx(1, abs=0.15)


def test_equal_weights_make_the_voronoi_tessellation() -> None:
    grains = draw_grains(SMALL_GRAVEL, 2)
    points = points_around(grains, 20_000)
    labels = grains.labels(points)
    inside = labels >= 0
    np.testing.assert_array_equal(labels[inside], cKDTree(grains.positions).query(points[inside])[1])


def test_rods_are_the_voronoi_tessellation_of_the_embedding() -> None:
    grains = draw_grains(SMALL_ROD, 2)
    points = points_around(grains, 20_000)
    r = np.linalg.norm(points, axis=1, keepdims=True)
    mapped = np.hstack([0.7 * 2.5 * points / r, r / 6])
    labels = grains.labels(points)
    inside = labels >= 0
    np.testing.assert_array_equal(labels[inside], cKDTree(grains.embedded_seeds).query(mapped[inside])[1])


def test_the_kernel_runs_as_python() -> None:
    for name in ("rod", "gravel"):
        grains = draw_grains(DESIGNS[name], 3)
        points = points_around(grains, 60)
        np.testing.assert_array_equal(grains.labels(points, kernel=_label.py_func), grains.labels(points))


@pytest.mark.parametrize("design", [ROD, L_NMC], ids=["rod", "L"])
def test_the_particle_has_the_volume_of_its_sphere(design: ParticleDesign) -> None:
    grains = draw_grains(design, 1)
    spacing = 0.15
    half = int(grains.outer.highest / spacing) + 1
    axis = np.arange(-half, half + 1) * spacing
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)
    solid = np.count_nonzero(grains.labels(grid) >= 0) * spacing**3
    core = 4 / 3 * np.pi * design.core_radius**3
    assert solid == pytest.approx(np.pi / 6 * design.diameter**3 - core, rel=0.004)
    if core:
        r = np.linalg.norm(grid, axis=-1)
        hollow = np.count_nonzero((grains.labels(grid) < 0) & (r < 0.6 * design.radius)) * spacing**3
        assert hollow == pytest.approx(core, rel=0.01)


def test_the_mean_volume_of_gravel_is_that_of_its_grain_size() -> None:
    grains = draw_grains(SMALL_GRAVEL, 1)
    inner = np.linalg.norm(grains.positions, axis=1) < 2.0
    expected = 4 / 3 * np.pi * 2.0**3 / 0.5**3
    assert inner.sum() == pytest.approx(expected, abs=4 * np.sqrt(expected))


@pytest.mark.parametrize("alignment", [0.0, 0.05, 0.3, 0.7, 0.97, 0.999, 1.0])
def test_the_order_parameter_is_the_alignment(alignment: float) -> None:
    positions = np.random.default_rng(1).standard_normal((20_000, 3))
    in_plane = _axes(positions, alignment, np.random.default_rng(5))[0]
    order = 1.5 * np.sum(positions * in_plane, axis=1) ** 2 / np.sum(positions**2, axis=1) - 0.5
    assert order.mean() == pytest.approx(alignment, abs=4 * order.std() / np.sqrt(20_000) + 1e-12)


@pytest.mark.parametrize("name", ["rod", "gravel"])
def test_drawn_grains_have_the_alignment(name: str) -> None:
    grains = draw_grains(replace(DESIGNS[name], alignment=0.8), 5)
    radial = grains.positions / np.linalg.norm(grains.positions, axis=1, keepdims=True)
    order = 1.5 * np.sum(radial * grains.in_plane, axis=1) ** 2 - 0.5
    assert order.mean() == pytest.approx(0.8, abs=4 * order.std() / np.sqrt(grains.count))


@pytest.mark.parametrize("alignment", [1e-5, 0.01, 0.4, 0.9, 0.99])
def test_the_concentration_is_that_of_the_watson_distribution(alignment: float) -> None:
    kappa = watson_concentration(alignment)
    density = [quad(lambda t, n=n: t**n * np.exp(kappa * (t * t - 1)), 0, 1, epsabs=0, limit=200)[0] for n in (0, 2)]
    assert 1.5 * density[1] / density[0] - 0.5 == pytest.approx(alignment, rel=1e-4)


def test_axes_are_orthonormal_and_c_prefers_no_direction_around_110() -> None:
    grains = draw_grains(replace(GRAVEL, alignment=0.6), 5)
    np.testing.assert_allclose(np.linalg.norm(grains.in_plane, axis=1), 1)
    np.testing.assert_allclose(np.linalg.norm(grains.c_axis, axis=1), 1)
    np.testing.assert_allclose(np.sum(grains.in_plane * grains.c_axis, axis=1), 0, atol=1e-12)
    # around its own [110], c is uniform: the mean of the projector is that of the plane normal to it
    for axes in (grains.in_plane, grains.c_axis):
        mean = axes.T @ axes / grains.count
        np.testing.assert_allclose(mean, np.eye(3) / 3, atol=4 * 0.3 / np.sqrt(grains.count))


def test_one_seed_is_one_particle() -> None:
    first, again, other = (draw_grains(SMALL_ROD, seed) for seed in (7, 7, 8))
    points = points_around(first, 5000)
    np.testing.assert_array_equal(first.labels(points), again.labels(points))
    np.testing.assert_array_equal(first.c_axis, again.c_axis)
    np.testing.assert_array_equal(first.outer_radius(points), again.outer_radius(points))
    assert (first.labels(points) != other.labels(points)).mean() > 0.3
    assert np.abs(first.outer_radius(points) - other.outer_radius(points)).max() > 0.01


def test_labels_do_not_depend_on_how_points_are_split() -> None:
    grains = draw_grains(SMALL_GRAVEL, 7)
    points = points_around(grains, 4096)
    whole = grains.labels(points)
    np.testing.assert_array_equal(whole, np.concatenate([grains.labels(part) for part in np.split(points, 64)]))
    np.testing.assert_array_equal(whole.reshape(16, 256), grains.labels(points.reshape(16, 256, 3)))
    np.testing.assert_array_equal(whole, grains.labels(np.asfortranarray(points)))


def test_grains_too_large_for_a_polycrystal_are_refused() -> None:
    with pytest.raises(CathoscopeError, match="polycrystal") as caught:
        draw_grains(ParticleDesign("rod", diameter=1.0, grain_size=0.5), 1)
    assert "grain_size=" in str(caught.value.cure)
