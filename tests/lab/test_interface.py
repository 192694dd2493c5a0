"""The interface: its laws, their errors against differences and many seeds, and a cell over its cycles."""

from __future__ import annotations

import numpy as np
import pytest

from cathoscope.core.errors import MeasurementError
from cathoscope.lab.impedance_fit import fit_circuit
from cathoscope.lab.interface import (
    Arc,
    capacitance_from_brug,
    capacitance_from_hsu_mansfeld,
    exchange_current_density_from_resistance,
    interface_against_cycle,
    interface_of,
    specific_resistance_from_area,
)
from cathoscope.numerics.estimate import Estimate
from tests.lab.spectra import FREQUENCY, arc, noisy

CELL = 10.0 + arc(FREQUENCY, 80.0, 1e-2, 0.85)
Q = 1e-2**0.85 / 80.0


def test_a_capacitor_is_its_capacitance() -> None:
    assert capacitance_from_brug(q=2e-6, alpha=1.0, series=5.0, transfer=80.0) == 2e-6
    assert capacitance_from_hsu_mansfeld(q=2e-6, alpha=1.0, transfer=80.0) == 2e-6


def test_hsu_and_mansfeld_put_the_top_of_the_arc_at_its_time_constant() -> None:
    capacitance = capacitance_from_hsu_mansfeld(q=Q, alpha=0.85, transfer=80.0)
    assert 80.0 * capacitance == pytest.approx(1e-2, rel=1e-12)
    fine = np.logspace(0, 3, 4000)
    top = fine[np.argmin(arc(fine, 80.0, 1e-2, 0.85).imag)]
    assert 2 * np.pi * top * 80.0 * capacitance == pytest.approx(1.0, rel=2e-3)


def test_brug_gives_less_where_the_electrolyte_shunts() -> None:
    blocked = capacitance_from_brug(q=Q, alpha=0.85, series=10.0, transfer=1e12)
    assert blocked == pytest.approx((Q * 10.0 ** (1 - 0.85)) ** (1 / 0.85), rel=1e-9)
    assert capacitance_from_brug(q=Q, alpha=0.85, series=10.0, transfer=80.0) < blocked


def test_errors_are_those_of_many_seeds() -> None:
    found = []
    for seed in range(120):
        one = interface_of(fit_circuit("R0-p(R1,CPE1)", frequency=FREQUENCY, impedance=noisy(CELL, 0.005, seed)))
        found.append([*one.resistance[:2], *one.capacitance_brug[:2], *one.capacitance_hsu_mansfeld[:2]])
    truth = [
        80.0,
        capacitance_from_brug(q=Q, alpha=0.85, series=10.0, transfer=80.0),
        capacitance_from_hsu_mansfeld(q=Q, alpha=0.85, transfer=80.0),
    ]
    table = np.array(found)
    pulls = (table[:, ::2] - truth) / table[:, 1::2]
    assert np.abs(pulls.mean(axis=0)).max() < 3 / np.sqrt(120)
    assert np.abs(pulls.std(axis=0) - 1).max() < 3 / np.sqrt(240)


def test_a_capacitor_in_the_circuit_is_taken_as_it_is() -> None:
    z = noisy(10.0 + arc(FREQUENCY, 80.0, 1e-2), 0.005, 1)
    one = interface_of(fit_circuit("R0-p(R1,C1)", frequency=FREQUENCY, impedance=z), arc=Arc(layer="C1"))
    assert one.used
    assert one.alpha == (1.0, 0.0, 0.0)
    assert abs(one.capacitance_brug.value - 1e-2 / 80.0) < 4 * one.capacitance_brug.std


def test_area_and_exchange_current_carry_both_errors() -> None:
    resistance, area = Estimate(80.0, 0.8, 0.0), Estimate(2e-6, 0.0, 2e-7)
    specific = specific_resistance_from_area(resistance=resistance, area=area)
    np.testing.assert_allclose(specific, (1.6e-4, 1.6e-6, 1.6e-5))
    density = exchange_current_density_from_resistance(resistance=resistance, area=area, temperature=25.0)
    # R T / F at 25 degC is 25.692579 mV
    np.testing.assert_allclose(density, np.array([1.0, 0.01, 0.1]) * 0.025692579 / 1.6e-4, rtol=1e-6)
    with pytest.raises(MeasurementError):
        specific_resistance_from_area(resistance=resistance, area=Estimate(0.0))


def test_a_cell_over_its_cycles() -> None:
    cycles, truth = np.arange(6.0), np.linspace(120.0, 40.0, 6)
    spectra = [(FREQUENCY, noisy(10.0 + arc(FREQUENCY, float(r), r * 1e-4, 0.85), 0.005, int(r))) for r in truth]
    spectra[2] = (FREQUENCY, spectra[2][1] * (1 + 0.08 * np.linspace(0, 1, 60)))
    spectra[4] = (FREQUENCY[:1], CELL[:1])
    found = interface_against_cycle(cycles=cycles.tolist(), spectra=spectra, circuit="R0-p(R1,CPE1)")
    assert [one.used for one in found] == [True, True, False, True, False, True]
    assert "drifted" in found[2].reasons[0]
    assert found[4].reasons == ("too few points for an impedance spectrum",)
    for one, expected in zip(found, truth, strict=True):
        assert not one.used or abs(one.resistance.value - expected) < 4 * one.resistance.std


def test_what_does_not_belong_together_is_refused() -> None:
    with pytest.raises(MeasurementError, match="do not belong together"):
        interface_against_cycle(cycles=[1.0], spectra=[], circuit="R0-p(R1,CPE1)")
    with pytest.raises(MeasurementError, match="no parameter R1"):
        interface_against_cycle(cycles=[1.0], spectra=[(FREQUENCY, CELL)], circuit="R0-p(R2,CPE1)")
