"""The heated particle conserves nickel, lies where it was put, and is the same however it is cut into slices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cathoscope.core.parallel import run_slabs
from cathoscope.physics.xray import (
    NICKEL_K_EDGE,
    attenuation_ratio_from_energy,
    nickel_edge_attenuation_from_formula,
)
from cathoscope.virtual.heated import COMPONENTS, HeatedParticle, Placement
from cathoscope.virtual.nickel import HIGHEST_WHITE_LINE, LOWEST_WHITE_LINE, NODE_ENERGIES, NODES
from cathoscope.virtual.particle import ParticleDesign
from cathoscope.virtual.particle_presets import Experiment, ParticlePreset, Size
from cathoscope.virtual.particle_study import DENSITY, LITHIUM, Plan, heated_particle
from cathoscope.virtual.specimen import Grid
from cathoscope.virtual.txm import TxmOptions

CRACKED = {"crack_share": 0.3, "crack_share_surface": 0.1, "crack_opening": 0.06}
DESIGNS = {
    "rod": ParticleDesign("rod", diameter=3.0, core_radius=0.6, aspect=4.0, alignment=0.97, **CRACKED),
    "gravel": ParticleDesign("gravel", diameter=3.0, core_radius=0.6, **CRACKED),
}
TINY = Size(24, 24, 12, energies=30, cells=20)
WHOLE = slice(0, 48)


@pytest.fixture(scope="module", params=["rod", "gravel"])
def particle(request: pytest.FixtureRequest) -> HeatedParticle:
    sample = request.param
    preset = ParticlePreset("for tests", {sample: DESIGNS[sample]}, {"tiny": TINY}, 5.6, (25.0, 150.0, 250.0))
    plan = Plan(replace(preset, experiment=Experiment(options=TxmOptions(axis_offset=0.4))), TINY, 5)
    return heated_particle(plan, (sample, 1))


# -- places --------------------------------------------------------------------------------------

NUMBERS = st.floats(-3, 3)
VECTORS = st.tuples(NUMBERS, NUMBERS, NUMBERS)


@settings(max_examples=40, deadline=None)
@given(shift=VECTORS, rotation=st.tuples(*[st.floats(-90, 90)] * 3), seed=st.integers(0, 99))
def test_a_particle_is_moved_as_a_rigid_body(
    shift: tuple[float, float, float], rotation: tuple[float, float, float], seed: int
) -> None:
    points = np.random.default_rng(seed).normal(size=(6, 3))
    moved = Placement(shift, rotation).to_particle(points)
    before, after = (np.linalg.norm(one[:, None] - one[None], axis=-1) for one in (points, moved))
    np.testing.assert_allclose(after, before, atol=1e-12)
    assert np.linalg.det(moved[1:4] - moved[0]) == pytest.approx(np.linalg.det(points[1:4] - points[0]), abs=1e-9)
    np.testing.assert_allclose(Placement(shift, rotation).to_particle(np.array([shift])), 0, atol=1e-12)


def test_a_turn_about_z_goes_from_x_to_y() -> None:
    placement = Placement((1.0, 0.0, 0.0), (0.0, 0.0, 90.0))
    # what lies along y of the displaced centre now was along x of the particle
    np.testing.assert_allclose(placement.to_particle(np.array([[1.0, 2.0, 0.0]])), [[2, 0, 0]], atol=1e-12)


def test_the_particle_lies_where_it_was_put(particle: HeatedParticle) -> None:
    axis = particle.grid.positions(48)
    for index, instant in enumerate(particle.instants):
        filled = particle.voxels(index, WHOLE)
        volume = filled.on_grid(filled.filled.fraction).astype(float)
        centre = [(volume.sum(axis=rest) * axis).sum() / volume.sum() for rest in ((0, 1), (0, 2), (1, 2))]  # x, y, z
        np.testing.assert_allclose(centre, instant.placement.shift, atol=0.03)


def test_the_first_temperature_finds_it_straight_and_unchanged(particle: HeatedParticle) -> None:
    first = particle.instants[0]
    assert first.placement == Placement()
    assert (first.density, first.deformation.closed, first.deformation.strain) == (1.0, 0.0, 0.0)
    voxels = particle.voxels(0, WHOLE)
    middles = (np.argwhere(voxels.near)[:, ::-1] - 23.5) * particle.grid.pixel_size
    np.testing.assert_allclose(voxels.origin, middles, atol=1e-12)


# -- conservation --------------------------------------------------------------------------------


def test_nickel_is_neither_made_nor_lost(particle: HeatedParticle) -> None:
    fine = replace(particle, grid=Grid(72, 72, 5.6 / 72))
    amounts = []
    for index, instant in enumerate(particle.instants):
        fraction = fine.voxels(index, slice(0, 72)).filled.fraction
        amounts.append(fraction.sum(dtype=np.float64) * instant.density)
    np.testing.assert_allclose(np.array(amounts) / amounts[0], 1, atol=2e-3)


def test_the_core_closes_and_the_outside_follows(particle: HeatedParticle) -> None:
    volumes = []
    core_share = (particle.grains.design.core_radius / particle.grains.design.radius) ** 3
    for index in (0, 1):
        voxels = particle.voxels(index, WHOLE)
        inside = np.linalg.norm(voxels.origin, axis=1) < particle.grains.outer_radius(voxels.origin)
        volumes.append(inside.sum())
    expected = particle.instants[1].deformation.volume_ratio(core_share=core_share)
    assert volumes[1] / volumes[0] == pytest.approx(expected, abs=0.01)
    assert expected < 0.98


def test_cracks_narrow_and_never_widen(particle: HeatedParticle) -> None:
    cracks = [float(particle.voxels(index, WHOLE).filled.crack.sum(dtype=np.float64)) for index in range(3)]
    assert cracks[0] > 0
    assert cracks[2] < 0.4 * cracks[0]
    np.testing.assert_allclose(particle.instants[0].narrowing_at(particle.voxels(0, WHOLE).origin[::50]), 1, atol=1e-6)


# -- components ----------------------------------------------------------------------------------


def test_each_half_of_the_components_adds_up_to_the_jump_of_the_oxide(particle: HeatedParticle) -> None:
    for index, instant in enumerate(particle.instants):
        voxels = particle.voxels(index, slice(20, 28))
        components = particle.components_of(index, voxels)
        assert components.shape == (8, 48, 48, COMPONENTS)
        assert components.dtype == np.float32
        assert components.min() >= 0
        amount = voxels.on_grid(voxels.filled.fraction) * (particle.jump * instant.density)
        for half in (slice(0, NODES), slice(NODES, COMPONENTS)):
            np.testing.assert_allclose(components[..., half].sum(axis=-1), amount, atol=1e-6)


def test_the_components_carry_the_white_line_of_the_state(particle: HeatedParticle) -> None:
    """The mean of the nodes' energies is the voxel's white line where the nodes reach as far."""
    for index in range(3):
        voxels = particle.voxels(index, slice(20, 28))
        components = particle.components_of(index, voxels)[voxels.near].astype(np.float64)
        full = voxels.filled.fraction > 0.5
        for side, half in ((2, slice(0, NODES)), (5, slice(NODES, COMPONENTS))):
            mean = components[full][:, half] @ NODE_ENERGIES / components[full][:, half].sum(axis=1)
            wanted = voxels.fields[full, side].astype(np.float64)
            within = (wanted > LOWEST_WHITE_LINE + 1) & (wanted < HIGHEST_WHITE_LINE - 1)
            assert within.mean() > 0.9
            np.testing.assert_allclose(mean[within], wanted[within], atol=2e-3)


def test_the_two_moments_share_every_energy_between_them(particle: HeatedParticle) -> None:
    energies, when = particle.scan_times[0]
    weights = particle.weights(0, energies)
    spectra = weights[:, :NODES] + weights[:, NODES:]
    np.testing.assert_allclose(weights[:, NODES:], when[:, None] * spectra, atol=1e-12)
    assert not weights[0, NODES:].any()
    np.testing.assert_allclose(weights[-1, :NODES], 0, atol=1e-12)
    middle = particle.weights(0, [(energies[3] + energies[4]) / 2])
    share = middle[0, NODES:].sum() / middle.sum()
    assert when[3] < share < when[4]


def test_below_the_edge_the_oxide_absorbs_as_its_formula_says(particle: HeatedParticle) -> None:
    energy = 8150.0
    formula = {"Li": LITHIUM, **particle.grains.design.core_composition, "O": 2.0}
    background, jump = nickel_edge_attenuation_from_formula(formula=formula, density=DENSITY)
    assert particle.jump == pytest.approx(jump)
    wanted = background * attenuation_ratio_from_energy(energy=energy, reference=NICKEL_K_EDGE)
    attenuation = particle.slices(0, slice(22, 26)) @ particle.weights(0, [energy])[0]
    fraction = particle.voxels(0, slice(22, 26))
    full = fraction.on_grid(fraction.filled.fraction) > 0.999
    assert full.sum() > 100
    np.testing.assert_allclose(attenuation[full], wanted, rtol=0.01)


# -- cutting and threads -------------------------------------------------------------------------


@pytest.mark.parametrize("index", [0, 1])
def test_slices_are_the_same_however_they_are_cut(particle: HeatedParticle, index: int) -> None:
    whole = particle.slices(index, slice(10, 30))
    cut = np.concatenate([particle.slices(index, rows) for rows in (slice(10, 13), slice(13, 14), slice(14, 30))])
    np.testing.assert_array_equal(whole, cut)


def test_threads_make_the_same_slices(particle: HeatedParticle) -> None:
    made: dict[int, np.ndarray] = {}

    def work(start: int) -> None:
        made[start] = particle.slices(1, slice(start, start + 8))

    run_slabs(work, range(0, 48, 8), threads=2)
    together = np.concatenate([made[start] for start in sorted(made)])
    np.testing.assert_array_equal(together, particle.slices(1, WHOLE))


def test_there_is_nothing_beyond_the_particle(particle: HeatedParticle) -> None:
    for index in range(3):
        components = particle.slices(index, WHOLE)
        for axis in range(3):
            assert not np.moveaxis(components, axis, 0)[[0, -1]].any()
