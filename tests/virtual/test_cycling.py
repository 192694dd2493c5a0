"""Cracks grow boundary by boundary; the network of boundaries is the one that voxels show."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage, stats

from cathoscope.core.errors import CathoscopeError
from cathoscope.virtual import near as near_module
from cathoscope.virtual.boundaries import Network, boundary_network, wetted
from cathoscope.virtual.cracks import solid
from cathoscope.virtual.cycling import (
    H_CYCLING,
    L_CYCLING,
    CycledParticle,
    CyclingLaw,
    _lives,
    cycle_particle,
    drawn,
)
from cathoscope.virtual.grains import Grains, draw_grains
from cathoscope.virtual.near import near_voxels, shares_of, widest_opening
from cathoscope.virtual.particle import GRAVEL, H_NMC, L_NMC, ParticleDesign
from tests.virtual.stereology import isotropic_crossings

BALL = replace(GRAVEL, diameter=2.6, core_radius=0.0, crack_share=0.0, crack_share_surface=0.0, roughness=0.0)
L_SMALL = replace(L_NMC, diameter=3.6, pore_radius=1.1, isotropic_radius=0.7)
H_SMALL = replace(H_NMC, diameter=3.6, pore_radius=1.35, isotropic_radius=0.7)
SMALL = {"L": (L_SMALL, L_CYCLING), "H": (H_SMALL, H_CYCLING)}


@pytest.fixture(scope="module", params=SMALL)
def small(request: pytest.FixtureRequest) -> CycledParticle:
    design, law = SMALL[request.param]
    return cycle_particle(draw_grains(design, 3), law, cycles=45)


def grid(grains: Grains, edge: float) -> NDArray[np.float64]:
    """Centres (n, n, n, 3) of voxels around a whole particle."""
    count = 2 * int(np.ceil(grains.outer.highest / edge + 1))
    axis = (np.arange(count) - (count - 1) / 2) * edge
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)


# -- voxels ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("design", [BALL, H_SMALL], ids=["gravel", "web"])
def test_voxels_hold_what_the_law_of_cracks_says(design: ParticleDesign) -> None:
    # the older law draws openings by radius; with all boundaries open alike both must agree
    cracked = replace(design, crack_share=1.0, crack_share_surface=1.0, crack_opening=0.08, crack_spread=0.0)
    grains = draw_grains(cracked, 4)
    network = boundary_network(grains)
    points = np.random.default_rng(1).uniform(-1.9, 1.9, (8_000, 3))
    near = near_voxels(grains, points, 0.04)
    known = network.faces_of(near)
    shares = shares_of(near, known, np.full(network.count, 0.08))
    expected = solid(grains, points, 0.04)
    unknown = np.add.reduceat(np.append(known < 0, False), near.starts[:-1]) * (np.diff(near.starts) > 0) > 0
    assert unknown.mean() < 0.02  # beside faces too small for the grid of the network
    np.testing.assert_allclose(shares.solid[~unknown], expected.fraction[~unknown], atol=2e-5)
    np.testing.assert_array_equal(near.label[near.envelope > 0], expected.label[near.envelope > 0])


def test_pores_before_the_first_cycle_are_those_of_the_design(small: CycledParticle) -> None:
    points = np.random.default_rng(4).uniform(-1.9, 1.9, (8_000, 3))
    shares = small.shares(near_voxels(small.grains, points, 0.04), 0.0)
    np.testing.assert_allclose(shares.solid, solid(small.grains, points, 0.04).fraction, atol=2e-5)
    assert small.porosity(0) == pytest.approx(0.03, abs=0.002)


def test_shares_make_a_whole(small: CycledParticle) -> None:
    near = near_voxels(small.grains, np.random.default_rng(2).uniform(-2, 2, (5000, 3)), 0.05)
    shares = small.shares(near, 40.0, layers=True)
    np.testing.assert_allclose(shares.solid + shares.crack + shares.pore, near.envelope, atol=1e-5)
    assert (shares.layer <= 1 - shares.solid + 1e-5).all()
    assert shares.layer.max() > 0.1


def test_kernels_are_the_same_as_python(small: CycledParticle) -> None:
    points = np.random.default_rng(3).uniform(-1.2, 1.2, (40, 3))
    near = near_voxels(small.grains, points, 0.05)
    slow = near_voxels(small.grains, points, 0.05, kernel=near_module._near.py_func)
    for one, other in zip(near, slow, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
    faces, openings, layers = small.network.faces_of(near), small.openings(40), small.layers(40)
    compiled = shares_of(near, faces, openings, layers)
    plain = shares_of(near, faces, openings, layers, kernel=near_module._fill.py_func)
    for one, other in zip(compiled, plain, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


# -- the network ----------------------------------------------------------------------------------


def test_area_of_the_faces_is_that_of_random_lines() -> None:
    grains = draw_grains(replace(BALL, diameter=3.2), 2)
    network = boundary_network(grains, spacing=0.06)
    lines = isotropic_crossings(grains, lines=4000, seed=1)
    # slivers between two points of the grid are not seen
    assert network.area.sum() / grains.design.envelope_volume == pytest.approx(lines.area_per_volume, rel=0.03)
    assert network.outer_area == pytest.approx(4 * np.pi * 1.6**2, rel=2e-3)  # but for the shape, 2 % aspherical
    assert network.grain_volume.sum() == pytest.approx(grains.design.envelope_volume, rel=0.01)
    np.testing.assert_allclose(np.linalg.norm(network.normal, axis=1), 1, atol=1e-9)


def reached_by_flood(
    grains: Grains, network: Network, openings: NDArray[np.float64], edge: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Crack volume of every face in voxels, and the part that a flood from outside fills."""
    points = grid(grains, edge)
    near = near_voxels(grains, points, edge)
    faces = network.faces_of(near)
    void = (shares_of(near, faces, openings).solid < 0.5).reshape(points.shape[:3])
    pools = ndimage.label(void, structure=np.ones((3, 3, 3)))[0].reshape(-1)
    own = np.repeat(np.arange(near.label.size), np.diff(near.starts))
    inside = (np.abs(near.distance) < np.maximum(openings[faces], 0) / 2) & (faces >= 0)
    inside &= void.reshape(-1)[own] & (near.envelope[own] > 0.99)
    total = np.bincount(faces[inside], minlength=network.count)
    flooded = inside & (pools[own] == pools[0])
    return total.astype(float), np.bincount(faces[flooded], minlength=network.count).astype(float)


@pytest.mark.parametrize("share", [0.07, 0.16])
def test_electrolyte_reaches_what_a_flood_of_voxels_reaches(share: float) -> None:
    grains = draw_grains(BALL, 7)
    network = boundary_network(grains, spacing=0.06)
    opened = np.random.default_rng(5).uniform(size=network.count) < share
    total, flooded = reached_by_flood(grains, network, np.where(opened, 0.1, 0.0), 0.035)
    graph = wetted(network, opened).faces
    assert total.sum() > 1000
    wrong = np.where(graph, total - flooded, flooded).sum() / total.sum()
    assert wrong < 0.06
    # it is not all or nothing
    assert 0.02 < flooded.sum() / total.sum() < 0.99


def test_nothing_is_reached_without_cracks_and_everything_when_all_are_open(small: CycledParticle) -> None:
    none = wetted(small.network, np.zeros(small.network.count, dtype=bool))
    assert not none.faces.any()
    assert not none.voids.any()
    assert wetted(small.network, np.ones(small.network.count, dtype=bool)).faces.all()


# -- the law --------------------------------------------------------------------------------------


def test_alone_a_boundary_opens_at_the_end_of_its_life() -> None:
    grains = draw_grains(BALL, 1)
    network = boundary_network(grains)
    law = CyclingLaw(life=20.0, modulus=2.0, variation=0.0)
    particle = cycle_particle(grains, law, cycles=40, network=network)
    life = _lives(grains, network, law, drawn(grains, network)[0])
    np.testing.assert_allclose(particle.opened[life < 39], life[life < 39], rtol=1e-9)
    assert np.isinf(particle.opened[life > 41]).all()


def test_lives_follow_weibull_and_nickel(small: CycledParticle) -> None:
    grains, network = small.grains, small.network
    law = CyclingLaw(life=20.0, modulus=2.5, exponent=3.0)
    life = _lives(grains, network, law, drawn(grains, network)[0])
    nickel = grains.design.composition(network.radius / grains.design.radius)["Ni"]
    nickel = nickel / grains.design.core_composition["Ni"]
    assert stats.kstest((life * nickel**3 / 20.0) ** 2.5, "expon").pvalue > 0.01
    shell = network.radius > 0.95 * grains.design.radius
    assert np.median(life[shell]) > 1.5 * np.median(life[network.radius < 0.5 * grains.design.radius])


@pytest.mark.parametrize("faster", [{"wetting": 3.0}, {"sharing": 3.0}])
def test_electrolyte_and_open_neighbours_only_hasten(small: CycledParticle, faster: dict[str, float]) -> None:
    grains, network = small.grains, small.network
    law = CyclingLaw(life=30.0, modulus=1.0, variation=0.0)
    slow = cycle_particle(grains, law, cycles=30, network=network)
    fast = cycle_particle(grains, replace(law, **faster), cycles=30, network=network)
    assert (fast.opened <= slow.opened + 1e-9).all()
    assert np.isfinite(fast.opened).sum() > 1.1 * np.isfinite(slow.opened).sum()


def test_cracks_grow_from_nothing_without_a_jump(small: CycledParticle) -> None:
    cycles = np.linspace(0, 45, 181)
    openings = np.array([small.openings(cycle) for cycle in cycles])
    assert (openings[0] == 0).all()
    steps = np.diff(openings, axis=0)
    assert (steps >= 0).all()
    # no faster than at the moment at which it opens
    assert (steps <= small.final_opening * 0.25 / small.law.growth + 1e-12).all()
    assert openings.max() <= widest_opening(small.grains)
    porosities = np.array([small.porosity(cycle) for cycle in range(0, 46, 5)])
    assert (np.diff(porosities) >= -1e-9).all()
    states = [small.state(cycle) for cycle in (0, 15, 30, 45)]
    for name in ("open_share", "wetted_area", "loose_grains"):
        assert (np.diff([getattr(state, name) for state in states]) >= 0).all()
    assert (np.diff([state.attached_share for state in states]) <= 0).all()
    assert states[0].wetted_area == pytest.approx(small.network.outer_area)
    assert states[0].loose_grains == 0


def test_once_wet_always_wet(small: CycledParticle) -> None:
    early, late = (wetted(small.network, small.openings(cycle) > 0).faces for cycle in (12, 30))
    assert not (early & ~late).any()
    # the cycle that is kept is that of the end of the step in which electrolyte came, or that of the crack
    assert (small.wet_faces[early] <= 12).all()


def test_the_same_seed_makes_the_same_particle() -> None:
    one, other = (cycle_particle(draw_grains(BALL, 9), H_CYCLING, cycles=10) for _ in range(2))
    np.testing.assert_array_equal(one.opened, other.opened)
    np.testing.assert_array_equal(one.final_opening, other.final_opening)
    assert one.load == other.load


def test_particles_differ_by_their_load() -> None:
    loads = [
        np.exp(0.04 * np.random.default_rng(np.random.SeedSequence((seed, 6))).standard_normal()) for seed in range(3)
    ]
    particles = [
        cycle_particle(draw_grains(replace(BALL, diameter=1.6), seed), L_CYCLING, cycles=1) for seed in range(3)
    ]
    np.testing.assert_allclose([particle.load for particle in particles], loads, rtol=1e-9)


# -- the paper's numbers --------------------------------------------------------------------------


def test_low_and_high_gradient_reach_the_porosities_of_the_paper() -> None:
    """Cadiou: H about 22 % at cycle 35; L 12 % then and about 22 % at 42 to 45, at the mean load."""
    numbers = {}
    for name, (design, law) in {"L": (L_NMC, L_CYCLING), "H": (H_NMC, H_CYCLING)}.items():
        grains = draw_grains(design, 21)
        network = boundary_network(grains, spacing=0.125)
        particle = cycle_particle(grains, replace(law, variation=0.0), cycles=45, network=network)
        numbers[name] = {cycle: 100 * particle.porosity(cycle) for cycle in (0, 8, 20, 35, 43.5)}
    low, high = numbers["L"], numbers["H"]
    assert (low[0], high[0]) == pytest.approx((3, 3), abs=0.3)
    assert low[35] == pytest.approx(12, abs=1.0)
    assert low[43.5] == pytest.approx(22, abs=1.5)
    assert high[35] == pytest.approx(22, abs=1.0)
    # fast and saturating against accelerating
    assert high[8] - high[0] > 0.4 * (high[35] - high[0])
    assert high[43.5] - high[35] < 0.08 * (high[35] - high[0])
    assert low[43.5] - low[35] > 0.8 * (low[35] - low[0])


# -- refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"life": 0.0}, "life"),
        ({"modulus": 0.0}, "modulus"),
        ({"wetting": -1.0}, "wetting"),
        ({"growth": np.nan}, "growth"),
    ],
)
def test_impossible_laws_are_refused(wrong: dict[str, float], word: str) -> None:
    with pytest.raises(CathoscopeError, match=word) as caught:
        replace(L_CYCLING, **wrong)
    assert caught.value.cure


def test_impossible_cycles_openings_and_grids_are_refused(small: CycledParticle) -> None:
    with pytest.raises(CathoscopeError, match="backwards"):
        cycle_particle(small.grains, L_CYCLING, cycles=-1, network=small.network)
    with pytest.raises(CathoscopeError, match="too wide"):
        cycle_particle(small.grains, replace(L_CYCLING, opening=0.4), cycles=1, network=small.network)
    for cycle in (-1, 46, np.nan):
        with pytest.raises(CathoscopeError, match="not followed"):
            small.openings(cycle)
    with pytest.raises(CathoscopeError, match="too coarse"):
        boundary_network(small.grains, spacing=0.2)
    for voxel in (0.0, 0.3):
        with pytest.raises(CathoscopeError, match="voxel"):
            near_voxels(small.grains, np.zeros((1, 3)), voxel)
