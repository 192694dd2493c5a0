"""One particle as a cell: mass and current from its size, the plan, offset and leakage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cathoscope.core.errors import MeasurementError
from cathoscope.lab.cycles import cycles_of
from cathoscope.lab.particle_cell import (
    capacity_from_mass,
    current_from_rate,
    efficiency_factor_from_leakage,
    efficiency_without_leakage,
    mass_from_volume,
    offset_of,
    oxide_of,
    plan_of,
    rate_from_current,
    theoretical_capacity_from_formula,
    volume_from_diameter,
)
from cathoscope.lab.record import record_of
from cathoscope.numerics.estimate import Estimate
from tests.lab.cells import Cell, simulated, steady

SOLID = Estimate(4.7)
DENSE = Estimate(0.0)


def current_of(diameter: Estimate, specific: float, porosity: Estimate = DENSE) -> Estimate:
    mass = mass_from_volume(volume=volume_from_diameter(diameter=diameter), density=SOLID, porosity=porosity)
    return current_from_rate(capacity=capacity_from_mass(mass=mass, specific=Estimate(specific)), rate=1.0)


@pytest.mark.parametrize(
    ("formula", "capacity"),
    [
        ("LiNi0.8Mn0.1Co0.1O2", 275.5),
        ("LiNi0.6Mn0.2Co0.2O2", 276.5),
        ("Li(Ni0.333333Mn0.333333Co0.333334)O2", 277.9),
        ("LiNiO2", 274.5),
    ],
)
def test_theoretical_capacities(formula: str, capacity: float) -> None:
    """F n / (3.6 M) with molar masses of the IUPAC table, such as 97.28 g/mol of NMC811."""
    oxide = oxide_of(formula)
    assert theoretical_capacity_from_formula(oxide=oxide) == pytest.approx(capacity, abs=0.06)
    assert oxide.remarks == ()


def test_metals_that_sum_to_more_than_one_are_normalised_and_it_is_said() -> None:
    """The paper's low-gradient composition: 0.68 + 0.18 + 0.18 = 1.04."""
    oxide = oxide_of("Li(Ni0.68Co0.18Mn0.18)O2")
    assert oxide.amount["Ni"] == pytest.approx(0.68 / 1.04)
    assert sum(oxide.amount[name] for name in ("Ni", "Co", "Mn")) == pytest.approx(1.0)
    assert oxide.amount["Li"] == 1.0
    assert "sum to 1.04" in oxide.remarks[0]


@pytest.mark.parametrize("formula", ["", "NMC811", "LiO2", "NiO2", "LiXx0.5O2", "Li(NiO2"])
def test_what_is_no_cathode_is_refused(formula: str) -> None:
    with pytest.raises(MeasurementError, match="not the formula of a cathode"):
        oxide_of(formula)


@pytest.mark.parametrize(
    ("diameter", "at_200", "at_275"),
    [(5, 0.062, 0.085), (8, 0.252, 0.346), (10, 0.492, 0.677), (13, 1.081, 1.487), (15, 1.661, 2.284)],
)
def test_currents_of_one_c(diameter: float, at_200: float, at_275: float) -> None:
    """nA at 1C for 200 and 275 mAh/g and 4.7 g/cm3, computed by hand."""
    assert 1e9 * current_of(Estimate(diameter), 200).value == pytest.approx(at_200, abs=6e-4)
    assert 1e9 * current_of(Estimate(diameter), 275).value == pytest.approx(at_275, abs=6e-4)


def test_one_nanoampere_is_two_c_for_ten_um() -> None:
    capacity = Estimate(current_of(Estimate(10.0), 200).value)
    assert rate_from_current(capacity=capacity, current=1e-9).value == pytest.approx(2.03, abs=0.01)


def test_five_percent_of_diameter_are_fifteen_of_current() -> None:
    """First order, against values drawn at random; pores and scatter beside it."""
    found = current_of(Estimate(9.0, 0.0, 0.45), 200, Estimate(0.1, 0.02))
    assert found.systematic / found.value == pytest.approx(0.15)
    assert found.std / found.value == pytest.approx(0.02 / 0.9)
    rng = np.random.default_rng(0)
    drawn = np.pi / 6 * rng.normal(9.0, 0.45, 100_000) ** 3 * 4.7e-9 * 200e-6 * (1 - rng.normal(0.1, 0.02, 100_000))
    assert drawn.std() == pytest.approx(found.total, rel=0.02)


@given(st.floats(1.0, 50.0), st.floats(0.05, 5.0), st.floats(100.0, 280.0))
def test_rate_goes_back(diameter: float, rate: float, specific: float) -> None:
    mass = mass_from_volume(volume=volume_from_diameter(diameter=Estimate(diameter)), density=SOLID, porosity=DENSE)
    capacity = capacity_from_mass(mass=mass, specific=Estimate(specific))
    current = current_from_rate(capacity=capacity, rate=rate)
    assert rate_from_current(capacity=capacity, current=current.value).value == pytest.approx(rate)


def test_the_plan_states_what_to_set() -> None:
    mass = mass_from_volume(volume=Estimate(420.0, 0.0, 20.0), density=SOLID, porosity=Estimate(0.04, 0.0, 0.02))
    plan = plan_of(mass=mass, oxide=oxide_of("Li(Ni0.68Co0.18Mn0.18)O2"), specific=Estimate(180.0), rate=0.5)
    assert plan.current.value == pytest.approx(0.5 * mass.value * 180e-6)
    assert plan.duration.value == pytest.approx(7200.0)
    assert plan.duration.systematic / 7200.0 == pytest.approx(mass.systematic / mass.value)
    assert plan.charge_limit > plan.theoretical.value > plan.capacity.value
    assert efficiency_factor_from_leakage(current=plan.current.value, leakage=plan.largest_offset) == pytest.approx(
        0.99, abs=1e-4
    )
    sheet = "\n".join(plan.lines())
    assert "1C is taken as 180 mAh/g" in sheet
    assert "normalised" in sheet
    too_much = plan_of(mass=mass, oxide=oxide_of("LiNiO2"), specific=Estimate(300.0), rate=1.0)
    assert "more is expected than all its lithium holds" in too_much.remarks


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: volume_from_diameter(diameter=Estimate(0.0)),
        lambda: mass_from_volume(volume=Estimate(1.0), density=SOLID, porosity=Estimate(12.0)),
        lambda: mass_from_volume(volume=Estimate(1.0), density=Estimate(-1.0), porosity=DENSE),
        lambda: plan_of(mass=Estimate(1e-6), oxide=oxide_of("LiNiO2"), specific=Estimate(200.0), rate=0.0),
        lambda: efficiency_without_leakage(efficiency=Estimate(1.0), current=1e-12, leakage=Estimate(2e-12)),
    ],
)
def test_senseless_numbers_are_refused(wrong) -> None:
    with pytest.raises(MeasurementError):
        wrong()


def test_the_efficiency_is_freed_from_an_offset() -> None:
    """An instrument that shows 2 pA more than flows: the rests tell it, and it can be taken off."""
    trace = simulated(Cell(), steady(6), np.random.default_rng(6))
    record = record_of(trace.time, trace.voltage, trace.current + 2e-12)
    offset = offset_of(record)
    assert abs(offset.value - 2e-12) < 4 * offset.std
    assert offset.std < 0.2e-12
    wrong = cycles_of(record)
    true = trace.charge[1::2] / trace.charge[::2]
    assert (np.abs(wrong.efficiency / true - (0.25 - 0.002) / (0.25 + 0.002)) < 6e-3).all()
    cleared = cycles_of(record_of(trace.time, trace.voltage, trace.current + 2e-12, offset=offset.value))
    assert (np.abs(cleared.efficiency / true - 1) < 6e-3).all()
    # the set current stays 0.25 nA, what flows is more on charge and less on discharge
    freed = efficiency_without_leakage(
        efficiency=Estimate(float(wrong.efficiency[2]), float(wrong.efficiency_std[2])), current=0.25e-9, leakage=offset
    )
    assert freed.value == pytest.approx(wrong.efficiency[2] * 252 / 248, rel=2e-3)
    assert freed.systematic == pytest.approx(2 * offset.std / 0.25e-9 * freed.value, rel=0.01)


def test_a_record_without_rests_tells_no_offset() -> None:
    time = np.arange(100.0)
    with pytest.raises(MeasurementError, match="no rest"):
        offset_of(record_of(time, 3 + 0.01 * time, np.ones(100)))
