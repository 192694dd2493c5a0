"""Ageing of virtual cells: closed forms of openness, layers and charge; what rates do to rods and gravel.

That rod and gravel keep 85.0 and 82.4 % after 150 cycles is held by the page on virtual cells.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cathoscope.physics.kinetics import GAS_CONSTANT
from cathoscope.virtual.cell import Cell, Cycler, Health, Protocol, Side
from cathoscope.virtual.cell_health import Ageing, Wear, course_of, entered, faster, misfit, openness_from_axes
from cathoscope.virtual.cell_kernels import galvanostatic
from cathoscope.virtual.cell_truth import cycle_numbers
from cathoscope.virtual.coin_cells import CoinLaw, Replicate, rate_capability, theoretical_capacity, turns
from cathoscope.virtual.particle_cell_study import PARTICLE_CELL_PRESETS, ParticleCellPlan, cycled_cell

AGE = np.arange(41.0)
STILL = Wear(AGE, np.full(41, 250.0), np.ones(41), 350.0, openness=1.0, outer=0.9)
QUIET = Ageing(entering=0.0, layer=0.0, oxygen=0.0)


def growing(held: float = 1.0) -> Wear:
    """A particle that electrolyte enters within some cycles, and of which a part is lost at last."""
    area = 250.0 + 2500.0 / (1.0 + np.exp(-(AGE - 8.0) / 2.0))
    return Wear(AGE, area, 1.0 - (1.0 - held) / (1.0 + np.exp(-(AGE - 30.0) / 3.0)), 350.0, 0.7, 0.9)


def test_openness_is_that_of_an_effective_medium() -> None:
    """Grains with D, D, 0 in random directions: sum of (D_i - D) / (D_i + 2 D) over the three axes is 0."""
    effective = openness_from_axes(cosine_squared=1 / 3)
    assert 2 * (1 - effective) / (1 + 2 * effective) + (0 - effective) / (2 * effective) == pytest.approx(0)
    assert openness_from_axes(cosine_squared=0.0) == 1.0


def test_a_layer_grows_with_the_root_of_time_and_arrhenius() -> None:
    ageing = replace(QUIET, layer=1e-3, layer_activation=60.0)
    course = course_of(STILL, ageing, cycles=100, hours=4.0, temperature=40.0)
    warmer = np.exp(60e3 / GAS_CONSTANT * (1 / 298.15 - 1 / 313.15))
    np.testing.assert_allclose(course.layer, 1e-3 * np.sqrt(4.0 * np.arange(101) * warmer), rtol=1e-9)
    np.testing.assert_allclose(course.contact, np.exp(-course.layer * 250.0 / 350.0), rtol=1e-9)
    np.testing.assert_allclose(course.length, 3 * 350.0 / 250.0)


def test_oxygen_leaves_only_grains_that_reach_the_surface() -> None:
    course = course_of(STILL, replace(QUIET, oxygen=1.0), cycles=40, hours=10.0, temperature=25.0)
    assert course.contact[-1] == pytest.approx(1.0 - STILL.outer)
    assert faster(130.0, 25.0) == pytest.approx(1.0)


def test_what_opens_is_filled_exponentially() -> None:
    area = np.append(100.0, np.full(40, 300.0))
    filled = entered(area, 5.0)
    np.testing.assert_allclose(filled[1:], 100.0 + 200.0 * -np.expm1(-(np.arange(40)) / 5.0), rtol=1e-12)


def test_counted_charge_is_lithium_and_what_flows_beside() -> None:
    """The instrument counts I t; of that, the leakage's share V / R moves no lithium."""
    health, cell = Health(1.0, 2e-9, 1.0, 1e4), Cell(sites=1e-9)
    cycler = Cycler.fresh(cell, Protocol(2e-10, 3.0, 4.3, 20.0))
    before = cycler.mean_filling
    points = cycler.half(health, charge=True, side=Side(leak=2e-12))
    beside = 2e-12 * np.trapezoid(points.voltage, points.time) / 3600.0
    moved = (before - cycler.mean_filling) * cell.sites
    assert points.charge[-1] == pytest.approx(moved + beside, rel=1e-4)
    assert beside > 0.02 * moved


def test_the_kernel_is_the_same_as_python() -> None:
    electrode, drive = (1e-3, 1e-3, 0.05, 1e-6, 50.0), (1e-6, 4.3, 60.0, 300.0)
    made = []
    for kernel in (galvanostatic, galvanostatic.py_func):
        filling = np.full(5, 0.9)
        made.append((kernel(filling, electrode, (1e-9, 1e-9, 4.5, 0.1), drive), filling))
    np.testing.assert_allclose(made[0][0], made[1][0], rtol=1e-12)
    np.testing.assert_allclose(made[0][1], made[1][1], rtol=1e-12)
    assert made[0][0][-1, 0] == pytest.approx(300.0)


def test_a_higher_rate_gives_less_and_more_so_where_planes_are_random() -> None:
    programme = rate_capability((0.1, 1.0, 0.1), each=1)
    kept = []
    for openness in (1.0, 0.5):
        done = turns(
            replace(STILL, openness=openness),
            CoinLaw(ageing=QUIET, growth=0.0, diffusivity=4e-3),  # slow enough to matter
            Replicate(3.0),
            programme,
            270,
        )
        kept.append(cycle_numbers(done)["discharge_capacity"])
    slow, fast, again = np.transpose(kept)
    assert (fast < 0.97 * slow).all()
    assert fast[1] / slow[1] < 0.97 * fast[0] / slow[0]
    np.testing.assert_allclose(again, slow, rtol=0.02)


def test_a_single_particle_rises_and_fades_while_charge_transfer_gets_easier() -> None:
    preset = PARTICLE_CELL_PRESETS["L-NMC-cells"]
    size = replace(preset.sizes["small"], cycles=40, interval=60.0)
    cycled = cycled_cell(ParticleCellPlan(preset, size, seed=1), ("L-NMC", 1), growing(held=0.7), 8.5)
    capacity = cycle_numbers(cycled.done)["discharge_capacity"]
    largest = int(np.argmax(capacity))
    assert 5 < largest < 25
    assert capacity[largest] > 1.05 * capacity[0]
    assert capacity[-1] < 0.85 * capacity[largest]
    transfer = [cycled.cell.charge_transfer(one.health) for one in cycled.done]
    assert transfer[largest] < 0.3 * transfer[0]
    assert 1e-10 < capacity[0] < 1e-9  # a tenth of a nAh to a nAh
    # the current is that of 1C of the estimated volume: I = 2.461e-3 d^3 q / 1000, nA
    assert 1e9 * cycled.current == pytest.approx(2.461e-3 * 8.5**3 * 0.2 * (1 - 0.03), rel=1e-3)


def test_theoretical_capacity_of_nmc811() -> None:
    assert theoretical_capacity(composition={"Ni": 0.8, "Mn": 0.1, "Co": 0.1}) == pytest.approx(275.5, abs=0.1)


def test_rods_fit_each_other_better_than_gravel() -> None:
    """The mean square of sin(c, c') is 1/2 for axes at random in a plane, 2/3 in space."""
    rng = np.random.default_rng(1)
    pairs = np.stack([np.arange(0, 4000, 2), np.arange(1, 4000, 2)], axis=1)
    network = type("Faces", (), {"pairs": pairs, "area": np.ones(len(pairs))})
    for dims, expected in ((2, 1 / 2), (3, 2 / 3)):
        axes = np.zeros((4000, 3))
        axes[:, :dims] = rng.standard_normal((4000, dims))
        grains = type("Axes", (), {"c_axis": axes / np.linalg.norm(axes, axis=1, keepdims=True)})
        assert misfit(grains, network) ** 2 == pytest.approx(expected, abs=0.02)  # type: ignore[arg-type]
