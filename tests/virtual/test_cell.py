"""Virtual cells: lithium is kept, diffusion and kinetics agree with closed forms, and both limits of the impedance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cathoscope.physics.kinetics import FARADAY, GAS_CONSTANT
from cathoscope.virtual.cell import Cell, Cycler, Health, Protocol, equilibrium_voltage
from cathoscope.virtual.cell_kernels import stepped

HEALTH = Health(contact=1.0, area=2e-9, length=1.0, resistance=1e4)
CELL = Cell(sites=1.0e-9)
PROTOCOL = Protocol(current=2e-10, low=3.0, high=4.3, interval=60.0)


@pytest.mark.parametrize("kernel", [stepped, stepped.py_func])
def test_a_constant_flux_settles_to_the_parabola_of_a_sphere(kernel) -> None:  # type: ignore[no-untyped-def]
    """Far from the start x rises evenly and x(surface) - mean = j / 5 with the mean gaining 3 j each unit of time."""
    shells, rate, gain = 40, 2.0, 1e-3
    edges = np.linspace(0.0, 1.0, shells + 1)
    volumes, filling = np.diff(edges**3) / 3, np.zeros(shells)
    for _ in range(12):
        surface = kernel(filling, edges, volumes, rate, gain / 3)
    mean = 3 * float(volumes @ filling)
    assert mean == pytest.approx(12 * gain, rel=1e-12)
    assert surface - mean == pytest.approx(gain / 3 / rate / 5, rel=2e-3)


def test_lithium_that_goes_out_is_the_charge_that_has_passed() -> None:
    cycler = Cycler.fresh(CELL, PROTOCOL)
    edges = np.linspace(0.0, 1.0, cycler.filling.size + 1)
    weights = np.diff(edges**3)
    before = float(weights @ cycler.filling)
    charged = cycler.half(HEALTH, charge=True)
    assert before - float(weights @ cycler.filling) == pytest.approx(charged.charge[-1] / CELL.sites, rel=1e-9)
    assert charged.voltage[-1] == PROTOCOL.high
    assert (np.diff(charged.time) > 0).all()


def test_a_slow_cell_gives_the_equilibrium_capacity() -> None:
    slow = replace(PROTOCOL, current=1e-11, interval=600.0)
    cycler = Cycler.fresh(CELL, slow)
    cycler.half(HEALTH, charge=True)
    discharged = cycler.half(HEALTH, charge=False)
    x = np.linspace(0.02, 0.99, 20001)
    voltage = equilibrium_voltage(x)
    limits = [float(np.interp(-end, -voltage, x)) for end in (slow.high, slow.low)]
    assert discharged.charge[-1] / CELL.sites == pytest.approx(limits[1] - limits[0], abs=0.01)


def test_a_small_step_of_current_shows_the_charge_transfer_resistance() -> None:
    small = 1e-4 * GAS_CONSTANT * 298.15 / FARADAY / CELL.charge_transfer(HEALTH)
    lossless = replace(HEALTH, resistance=0.0)
    assert CELL.overvoltage(small, 0.5, lossless) / small == pytest.approx(CELL.charge_transfer(HEALTH), rel=1e-6)


def test_impedance_runs_from_the_series_resistance_to_that_of_the_reaction() -> None:
    high = CELL.impedance([1e9], 0.5, HEALTH)[0]
    assert high.real == pytest.approx(HEALTH.resistance, rel=1e-2)
    still = replace(CELL, diffusivity=1e9)  # diffusion is then a capacitor alone
    middle = still.impedance(np.geomspace(1e-3, 1e6, 400), 0.5, HEALTH)
    top = np.argmax(-middle.imag[200:]) + 200
    assert middle.real[top] - HEALTH.resistance == pytest.approx(CELL.charge_transfer(HEALTH) / 2, rel=0.05)
    # and at the slow end all lithium follows: Z -> dU/dQ / (i w)
    omega = 2 * np.pi * 1e-6
    slope = float(np.diff(equilibrium_voltage([0.4995, 0.5005]))[0]) / 1e-3
    assert CELL.impedance([1e-6], 0.5, HEALTH)[0].imag == pytest.approx(slope / (3600 * CELL.sites) / omega, rel=1e-2)


def test_cracks_help_until_grains_lose_contact() -> None:
    fast = replace(PROTOCOL, current=1e-9, interval=10.0)
    capacity = []
    for health in (
        replace(HEALTH, length=2.0),
        replace(HEALTH, length=1.0, area=4e-9),
        replace(HEALTH, length=1.0, area=4e-9, contact=0.6),
    ):
        cycler = Cycler.fresh(CELL, fast)
        cycler.half(health, charge=True)
        capacity.append(cycler.half(health, charge=False).charge[-1])
    assert capacity[1] > 1.1 * capacity[0]
    assert capacity[2] < 0.8 * capacity[1]


def test_the_equilibrium_voltage_falls_as_sites_fill() -> None:
    assert (np.diff(equilibrium_voltage(np.linspace(0.02, 0.99, 2000))) < 0).all()
