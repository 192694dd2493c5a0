"""A heated particle changes shape by one law that keeps the shell's volume and can be undone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cathoscope.core.errors import CathoscopeError
from cathoscope.virtual.collapse import Deformation, MechanicalLaw
from cathoscope.virtual.grains import Grains, draw_grains
from cathoscope.virtual.particle import ParticleDesign

Array = NDArray[np.float64]
HOLLOW = ParticleDesign("gravel", diameter=4.0, core_radius=1.0, grain_size=0.8, roughness=0.02, asphericity=0.05)


@pytest.fixture(scope="module")
def grains() -> Grains:
    return draw_grains(HOLLOW, 4)


def places_in_shell(grains: Grains, count: int, seed: int = 0) -> Array:
    """Points between core and surface, (n, 3)."""
    rng = np.random.default_rng(seed)
    directions = rng.standard_normal((count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    inner, outer = grains.core_radius(directions), grains.outer_radius(directions)
    return np.asarray(directions * (inner + (outer - inner) * rng.uniform(0.01, 0.99, count))[:, None])


@settings(max_examples=25, deadline=None)
@given(closed=st.floats(0, 1), strain=st.floats(-0.02, 0.02), seed=st.integers(0, 99))
def test_there_and_back_is_nothing(grains: Grains, closed: float, strain: float, seed: int) -> None:
    points = places_in_shell(grains, 50, seed)
    deformation = Deformation(closed, strain)
    there = deformation.from_reference(points, grains)
    np.testing.assert_allclose(deformation.to_reference(there, grains), points, atol=1e-9)


def test_a_particle_that_has_not_reacted_keeps_its_shape(grains: Grains) -> None:
    points = places_in_shell(grains, 20)
    np.testing.assert_array_equal(Deformation().from_reference(points, grains), points)
    np.testing.assert_array_equal(Deformation().to_reference(points, grains), points)
    stretched = Deformation(0.0, 0.01).from_reference(points, grains)
    np.testing.assert_allclose(stretched, 1.01 * points, rtol=1e-14)


def test_a_compact_particle_cannot_collapse() -> None:
    compact = draw_grains(ParticleDesign("gravel", diameter=4.0, grain_size=0.8), 4)
    points = np.array([[1.0, 0.5, -0.3], [0.0, 0.0, 0.0]])
    np.testing.assert_array_equal(Deformation(0.7, 0.0).from_reference(points, compact), points)


@pytest.mark.parametrize(("closed", "strain"), [(0.0, 0.01), (0.4, 0.0), (0.9, 0.004), (1.0, -0.01)])
def test_every_piece_of_the_shell_keeps_its_volume_but_for_the_strain(
    grains: Grains, closed: float, strain: float
) -> None:
    points, deformation, step = places_in_shell(grains, 200), Deformation(closed, strain), 1e-5
    columns = [
        (deformation.from_reference(points + along, grains) - deformation.from_reference(points - along, grains))
        / (2 * step)
        for along in step * np.eye(3)
    ]
    volumes = np.linalg.det(np.stack(columns, axis=-1))
    np.testing.assert_allclose(volumes, (1 + strain) ** 3, rtol=1e-5)


@pytest.mark.parametrize("closed", [0.25, 0.8])
def test_the_core_that_remains_has_the_volume_that_has_not_closed(grains: Grains, closed: float) -> None:
    directions = places_in_shell(grains, 100)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    wall = grains.core_radius(directions)[:, None] * directions
    now = np.linalg.norm(Deformation(closed, 0.003).from_reference(wall, grains), axis=1)
    np.testing.assert_allclose(now, 1.003 * np.cbrt(1 - closed) * grains.core_radius(directions), rtol=1e-9)


def test_directions_stay(grains: Grains) -> None:
    points = places_in_shell(grains, 100)
    moved = Deformation(0.6, 0.002).from_reference(points, grains)
    np.testing.assert_allclose(np.cross(points, moved), 0, atol=1e-12)
    assert (np.linalg.norm(moved, axis=1) < np.linalg.norm(points, axis=1)).all()


@pytest.mark.parametrize(("closed", "strain"), [(0.0, 0.0), (0.5, 0.003), (1.0, 0.0)])
def test_the_volume_is_that_of_random_points_inside_the_moved_surface(
    grains: Grains, closed: float, strain: float
) -> None:
    deformation, count = Deformation(closed, strain), 400_000
    half = 1.1 * grains.outer.highest
    points = np.random.default_rng(1).uniform(-half, half, (count, 3))
    before = deformation.to_reference(points, grains)
    inside = np.linalg.norm(before, axis=1) < grains.outer_radius(before)
    share = inside.mean()
    volume = share * (2 * half) ** 3 / HOLLOW.envelope_volume
    error = np.sqrt((1 - share) / (share * count))
    core_share = (HOLLOW.core_radius / HOLLOW.radius) ** 3
    assert volume == pytest.approx(deformation.volume_ratio(core_share=core_share), rel=4 * error)


def test_the_law_multiplies_conversion_by_span_and_adds_the_strains() -> None:
    law = MechanicalLaw(expansion=1e-5, swelling=3e-3)
    still = law.deformation(conversion=0.0, radial_span=0.9, temperature=25.0)
    assert still == Deformation(0.0, 0.0)
    done = law.deformation(conversion=0.5, radial_span=0.8, temperature=225.0)
    assert done.closed == pytest.approx(0.4)
    assert done.strain == pytest.approx(200e-5 + 1.5e-3)


def test_interlocked_grains_shrink_less_and_later_all_expand() -> None:
    law, core_share = MechanicalLaw(), 0.09
    rod, gravel = (law.deformation(conversion=1.0, radial_span=span, temperature=150.0) for span in (0.9, 0.2))
    assert rod.volume_ratio(core_share=core_share) < gravel.volume_ratio(core_share=core_share) < 1
    hotter = law.deformation(conversion=1.0, radial_span=0.2, temperature=250.0)
    assert hotter.volume_ratio(core_share=core_share) > gravel.volume_ratio(core_share=core_share)


@pytest.mark.parametrize("filling", [-0.1, 1.1, float("nan")])
def test_cracks_cannot_close_more_than_wholly(filling: float) -> None:
    with pytest.raises(CathoscopeError, match="more than wholly"):
        MechanicalLaw(filling=filling)
