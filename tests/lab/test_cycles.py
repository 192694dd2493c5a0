"""Half cycles and cycles: charge, energy, efficiencies, what disturbs their tale, and records that are none."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cathoscope.core.errors import MeasurementError
from cathoscope.lab.cycles import cycles_of
from cathoscope.lab.half_cycles import half_cycles_of
from cathoscope.lab.record import Record, pieces_of, record_of, rest_level_of
from tests.lab.cells import Cell, Fate, simulated, steady


def linear(cycles: int = 3, rows: int = 101, step: float = 36.0, current: float = 1e-3) -> Record:
    """Voltage that rises from 3 to 4 V and falls from 3.9 to 2.9 V; switches right at rows, rests of nought."""
    up = np.linspace(3.0, 4.0, rows)
    voltage = np.concatenate([up, [3.95] * 5, up[::-1] - 0.1, [2.95] * 5])
    flow = np.concatenate([np.full(rows, current), np.zeros(5), np.full(rows, -current), np.zeros(5)])
    one = np.concatenate([np.arange(rows) * step, (rows - 1) * step + np.arange(5) * step])
    time = np.concatenate([one, one + one[-1]])
    both = np.concatenate([time + k * time[-1] for k in range(cycles)])
    return record_of(both, np.tile(voltage, cycles), np.tile(flow, cycles))


def test_charge_energy_and_voltages_of_straight_lines() -> None:
    """1 mA for an hour between 3 and 4 V: 1 mAh, 3.5 mWh; the discharge 0.1 V lower."""
    found = cycles_of(linear())
    assert found.number.tolist() == [1, 2, 3]
    np.testing.assert_allclose(found.charge, 1e-3, rtol=1e-12)
    np.testing.assert_allclose(found.discharge, 1e-3, rtol=1e-12)
    np.testing.assert_allclose(found.charge_energy, 3.5e-3, rtol=1e-12)
    np.testing.assert_allclose(found.energy_efficiency, 3.4 / 3.5, rtol=1e-12)
    np.testing.assert_allclose(found.polarisation, 0.1, rtol=1e-10)
    np.testing.assert_allclose(found.charge_current, 1e-3, rtol=1e-12)
    assert found.complete.all()
    assert found.remarks == ()


def test_an_anode_is_discharged_first() -> None:
    record = linear()
    found = cycles_of(
        replace(record, current=np.where(record.current < 0, 1.25, 1.0) * record.current), electrode="anode"
    )
    assert found.half[0].tolist() == [0, -1]
    np.testing.assert_allclose(found.efficiency[1:-1], 1 / 1.25, rtol=1e-12)
    np.testing.assert_array_equal(found.capacity, found.charge)
    assert "the first cycle has no discharge" in found.remarks


def test_pulls_of_the_charge_and_the_efficiency() -> None:
    """Switches fall between rows, currents are noisy: 28 records of 8 half cycles."""
    rng = np.random.default_rng(7)
    charges, efficiencies = [], []
    for _ in range(28):
        trace = simulated(Cell(capacity=0.05e-9, current=0.2e-9), Fate(rng.uniform(0.8, 1.2, 4), np.ones(4)), rng)
        found = cycles_of(record_of(trace.time, trace.voltage, trace.current))
        charges.append((found.halves.charge - trace.charge) / found.halves.charge_std)
        true = trace.charge[1::2] / trace.charge[::2]
        efficiencies.append((found.efficiency - true) / found.efficiency_std)
    for pulls in (np.concatenate(charges), np.concatenate(efficiencies)):
        assert abs(pulls.mean()) < 4 / np.sqrt(pulls.size)
        assert abs(pulls.std() - 1) < 4 / np.sqrt(2 * pulls.size)


def test_a_shared_switch_counts_twice_in_the_efficiency() -> None:
    """Without a rest, a later switch makes the charge larger and the discharge smaller."""
    rng = np.random.default_rng(3)
    pulls = []
    for _ in range(150):
        switches = 7200.0 * np.arange(5) + rng.random(5) * 100.0
        time = np.arange(-500.0, switches[-1] + 500.0, 100.0)
        part = np.searchsorted(switches, time)
        current = np.array([0.0, 1.0, -1.0, 1.0, -1.0, 0.0])[part]
        voltage = np.interp(time, switches, [3.0, 4.0, 3.0, 4.0, 3.0])
        found = cycles_of(record_of(time, voltage, current))
        length = np.diff(switches)
        pulls.append((found.efficiency - length[1::2] / length[::2]) / found.efficiency_std)
    assert abs(np.std(pulls) - 1) < 0.15


def test_interruptions_and_rests_within_do_not_divide() -> None:
    """Pauses, and pulses the other way that a programme uses to measure resistance."""
    rows = 3000
    current = np.concatenate([np.full(rows, 1.0), np.full(rows, -1.0)])
    current[500:520] = 0.0
    current[1000:1005] = -1.0
    current[4000:4003] = 1.0
    voltage = np.concatenate([np.linspace(3, 4, rows), np.linspace(4, 3, rows)])
    found = cycles_of(record_of(np.arange(2 * rows), voltage, current))
    assert found.number.size == 1
    assert found.charge[0] * 3600 == pytest.approx(rows - 20 - 2 * 5, abs=1.0)
    assert "2 interruptions of less than 2% of a half cycle were not counted" in found.remarks


@pytest.mark.parametrize("share", [0.0, 1e-4, 2e-3, 0.02])
def test_offset_and_noise_of_rests_are_told_from_rates(share: float) -> None:
    """An instrument of pA: rests show a leakage of up to 2 % of the current, and noise."""
    rng = np.random.default_rng(1)
    trace = simulated(Cell(), steady(5), rng)
    current = np.where(np.abs(trace.current) < 0.1e-9, share * 0.25e-9, trace.current) + rng.normal(
        0, 1e-13, trace.time.size
    )
    record = record_of(trace.time, trace.voltage, current)
    assert max(2e-13, share * 0.25e-9) < rest_level_of(record) < 0.25e-9
    assert half_cycles_of(record).sign.size == 10


def test_slow_rates_are_no_rest() -> None:
    """From C/20 to 5C in one record, with rests of nought: the slowest is 1 % of the fastest."""
    parts = [[rate] * int(1000 / rate) + [0.0] * 20 for rate in (0.05, 0.2, 1.0, 5.0, 0.05)]
    current = np.concatenate([[*part, *(-one for one in part)] for part in parts])
    voltage = 3.0 + np.cumsum(current) / 1000.0
    found = cycles_of(record_of(np.arange(current.size), voltage, current))
    assert found.number.size == 5
    np.testing.assert_allclose(found.charge * 3.6, 1.0, rtol=0.01)


def test_exchanged_charge_and_discharge_are_turned_and_said() -> None:
    right, record = cycles_of(linear()), linear()
    found = cycles_of(replace(record, current=-record.current))
    np.testing.assert_allclose(found.charge, right.charge)
    np.testing.assert_allclose(found.polarisation, right.polarisation)
    assert any("exchanged" in said for said in found.remarks)
    kept = cycles_of(replace(record, current=-record.current), turn=False)
    np.testing.assert_allclose(kept.polarisation[1:-1], -0.1)


def test_a_record_cut_at_both_ends_says_so() -> None:
    record = linear(cycles=5)
    rows = slice(60, record.time.size - 60)
    cut = Record(record.time[rows], record.voltage[rows], record.current[rows])
    found = cycles_of(cut)
    assert found.complete.tolist() == [False, True, True, True, False]
    assert "the first cycle is incomplete: its charge was cut short" in found.remarks
    assert "the last cycle is incomplete: its discharge was cut short" in found.remarks


@pytest.mark.parametrize("kind", ["sum", "both ways up", "set back"])
def test_counters_of_every_kind_agree_with_the_integral(kind: str) -> None:
    record = linear()
    step = np.diff(record.time, prepend=0.0) * record.current / 3600
    step[np.diff(record.current, prepend=0.0) != 0] = 0.0
    size = np.cumsum(np.abs(step))
    new = np.flatnonzero(np.diff(record.current, prepend=0.0) != 0)
    base = np.zeros(step.size)
    base[new] = np.diff(size[new], prepend=0.0)
    counter = {"sum": np.cumsum(step), "both ways up": size, "set back": size - np.cumsum(base)}[kind]
    found = cycles_of(replace(record, counter=counter), source="counter")
    np.testing.assert_allclose(found.charge, 1e-3, rtol=1e-9)
    np.testing.assert_allclose(found.halves.counted, found.halves.charge, rtol=1e-9)
    off = cycles_of(replace(record, counter=0.9 * counter))
    assert any("counter and the integral of the current differ by -10.0%" in said for said in off.remarks)


def test_a_missing_current_is_the_slope_of_the_counter() -> None:
    record = linear()
    step = np.diff(record.time, prepend=0.0) * record.current / 3600
    found = cycles_of(record_of(record.time, record.voltage, None, np.cumsum(step)))
    np.testing.assert_allclose(found.charge, 1e-3, rtol=0.02)
    assert "derived" in found.remarks[0]


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        (([0, 1, 2], [3, 3, 3], None), "no current"),
        (([0, 1, 2], [3, 3, 3], [np.nan] * 3), "no current"),
        (([0, 1], [3, 3, 3], [1, 1, 1]), "differ in length"),
        (([5.0], [3.0], [1.0]), "several rows"),
        (([0, 1, 2], [np.nan, 3, np.nan], [1, 1, 1]), "several rows"),
        (([0, 10, 20, 15, 30], [3] * 5, [1] * 5), "time runs back"),
        (([0, 10, 20, 0, 10], [3] * 5, [1] * 5), "two records in one file"),
    ],
)
def test_columns_that_are_no_record_are_refused(columns: tuple, problem: str) -> None:
    with pytest.raises(MeasurementError, match=problem):
        record_of(*columns)


def test_records_without_sign_or_without_current_are_refused() -> None:
    record = linear()
    with pytest.raises(MeasurementError, match="the current has no sign"):
        cycles_of(replace(record, current=np.abs(record.current)))
    with pytest.raises(MeasurementError, match="no current flows"):
        cycles_of(replace(record, current=np.zeros(record.time.size)))
    with pytest.raises(MeasurementError, match="no current flows"):
        cycles_of(replace(record, time=np.zeros(record.time.size)))
    with pytest.raises(MeasurementError, match="no counter"):
        cycles_of(record, source="counter")


def test_pieces_of_a_file_with_two_records() -> None:
    assert pieces_of(np.array([0.0, 1, 2, 0, 1])) == (slice(0, 3), slice(3, 5))


def test_rows_without_numbers_are_left_out_and_counted() -> None:
    record = linear()
    voltage = record.voltage.copy()
    voltage[10:13] = np.nan
    found = cycles_of(record_of(record.time, voltage, record.current))
    assert found.remarks[0].startswith("3 of ")
    np.testing.assert_allclose(found.charge, 1e-3, rtol=1e-3)


def test_neware_export_equals_its_own_counter(data_folder: Path) -> None:
    """A coin cell with several rates: every half cycle within 0.02 % of what the instrument counted."""
    with (data_folder / "lab" / "generic-csv-cellpy" / "neware_uio.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    clock = [[float(part) for part in row["Cumulative Time"].split(":")] for row in rows]
    time = np.array(clock) @ [3600, 60, 1]
    voltage, current, counter = (
        np.array([float(row[name]) for row in rows]) for name in ("Voltage(V)", "Current(A)", "Capacity(Ah)")
    )
    found = half_cycles_of(record_of(time, voltage, current, counter))
    np.testing.assert_allclose(found.counted, found.charge, rtol=2e-4)
