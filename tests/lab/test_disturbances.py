"""Beam jumps, shorts and loss of electrolyte in simulated records; what looks like them and is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cathoscope.io.cycler_mpr import open_mpr
from cathoscope.lab.cycles import Cycles, cycles_of
from cathoscope.lab.disturbances import Disturbance, disturbances_of, resistances_of, used_cycles
from cathoscope.lab.record import Record, record_of
from tests.lab.cells import Cell, Fate, Trace, simulated, steady
from tests.lab.scores import KINDS, precision_and_recall, scored


def searched(cell: Cell, fate: Fate, **choices) -> tuple[Trace, Record, Cycles, tuple[Disturbance, ...]]:
    trace = simulated(cell, fate, np.random.default_rng(11))
    record = record_of(trace.time, trace.voltage, trace.current)
    cycles = cycles_of(record)
    return trace, record, cycles, disturbances_of(record, cycles, **choices)


def test_precision_and_recall_of_fourteen_cells() -> None:
    """A small version of the benchmark, with other seeds."""
    counts = scored(range(5000, 5014))
    for kind in KINDS:
        precision, recall = precision_and_recall(counts, kind)
        assert precision > 0.95, kind
        assert recall > 0.95, kind


@pytest.mark.parametrize("noise", [1e-4, 1e-3, 3e-3])
def test_switches_relaxation_and_steep_ends_are_no_disturbance(noise: float) -> None:
    """Fast and slow cells whose voltage ends steeply and relaxes in rests."""
    for current in (0.1e-9, 0.6e-9):
        cell = Cell(current=current, voltage_noise=noise)
        assert searched(cell, Fate(np.linspace(1, 0.6, 4), np.linspace(1, 2, 4)))[3] == ()


def test_a_jump_is_told_with_size_place_and_beam() -> None:
    """20 mV that relax in 1500 s, in the discharge of the second cycle, as the beam goes on."""
    fate = Fate(np.ones(3), np.ones(3), jumps=((3, 0.5, 0.02, 1500.0),))
    first = simulated(Cell(), fate, np.random.default_rng(11)).jump_times[0]
    trace, record, cycles, found = searched(Cell(), fate, beam=[(first, first + 300.0)])
    (jump,) = found
    assert (jump.kind, jump.half, jump.cycle) == ("jump", 3, 2)
    assert abs(jump.time - trace.jump_times[0]) <= 20.0
    assert record.time[jump.row] == jump.time
    assert jump.size == pytest.approx(0.02, abs=0.003)
    assert "rises by" in jump.reason
    assert "as the beam was switched" in jump.reason
    left = used_cycles(cycles, found)
    assert left.used.tolist() == [True, False, True]
    assert left.reasons[1][0].startswith("jump: the voltage rises")
    assert used_cycles(cycles, found, kinds=("short",)).used.all()


@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_a_short_is_told_where_it_begins(kind: str) -> None:
    fate = Fate(np.ones(5), np.ones(5), shorts=((4, 0.6, kind),))
    trace, record, cycles, (short,) = searched(Cell(), fate)
    assert (short.kind, short.half, short.cycle) == ("short", 4, 3)
    rows = record.time[cycles.halves.first[4] : cycles.halves.stop[4]]
    begin = rows[0] + 0.6 * (trace.charge[0] * 3600 / 0.25e-9)
    assert abs(short.time - begin) < 0.08 * (trace.charge[0] * 3600 / 0.25e-9)
    assert short.size > 0.15
    assert ("collapses to" if kind == "hard" else "while charge flows in") in short.reason


def test_exchanged_charge_and_discharge_hide_nothing() -> None:
    fate = Fate(np.ones(5), np.ones(5), jumps=((1, 0.5, 0.02, 1500.0),), shorts=((4, 0.6, "soft"),))
    _, record, _, found = searched(Cell(), fate)
    other = Record(record.time, record.voltage, -record.current)
    again = disturbances_of(other, cycles_of(other))
    assert [(one.kind, one.row, one.cycle) for one in again] == [(one.kind, one.row, one.cycle) for one in found]
    assert len(found) == 2


def test_a_creeping_short_is_told_by_the_charge_alone() -> None:
    """Voltage as usual, but every charge takes half as much again as all lithium."""
    trace = simulated(Cell(), steady(4), np.random.default_rng(2))
    record = record_of(trace.time, trace.voltage, np.where(trace.current > 0.1e-9, 1.5, 1.0) * trace.current)
    found = disturbances_of(record, cycles_of(record), all_lithium=0.6e-9)
    assert [one.kind for one in found] == ["short"] * 4
    assert all("times the charge of all lithium" in one.reason for one in found)


def test_a_collapse_at_rest_is_a_short() -> None:
    trace = simulated(Cell(rest=3000.0), steady(4), np.random.default_rng(3))
    record = record_of(trace.time, trace.voltage, trace.current)
    rest = int(cycles_of(record).halves.stop[2]) + 40
    voltage = record.voltage.copy()
    voltage[rest : rest + 60] = 0.1
    record = Record(record.time, voltage, record.current)
    found = [one for one in disturbances_of(record, cycles_of(record)) if one.kind == "short"]
    assert [(one.half, one.cycle) for one in found] == [(2, 2)]
    assert abs(found[0].row - rest) <= 2


def test_lost_electrolyte_is_told_from_fade() -> None:
    """Capacity to a fifth and resistance five-fold at once is a loss; both slowly is ageing."""
    slow = Fate(np.linspace(1.0, 0.3, 12), np.linspace(1.0, 5.0, 12))
    assert [one.kind for one in searched(Cell(), slow)[3]] == []
    capacity, resistance = np.ones(8), np.ones(8)
    capacity[5:], resistance[5:] = 0.2, 5.0
    _, record, cycles, (loss,) = searched(Cell(), Fate(capacity, resistance))
    assert (loss.kind, loss.cycle) == ("electrolyte loss", 6)
    assert loss.size > 2.5
    left = used_cycles(cycles, (loss,))
    assert left.used.tolist() == [True] * 5 + [False] * 3
    assert left.reasons[7][-1] == "after the loss of electrolyte in cycle 6"
    assert resistances_of(record, cycles.halves)[13] > 3 * resistances_of(record, cycles.halves)[3]


def test_measured_cells_without_a_beam_show_none(data_folder: Path) -> None:
    """A sodium coin cell, 46 000 rows: its noise lasts over rows and is written in steps, and is no jump."""
    file = data_folder / "lab" / "biologic-gcpl-naxcoo2" / "jdb11-1_c3_gcpl_5cycles_2V-3p8V_C-24_data_C09.mpr"
    data = open_mpr([file], None)
    columns = (data[name].to_numpy() for name in ("elapsed_time", "cell_voltage", "cell_current", "cell_charge"))
    record = record_of(*columns)
    cycles = cycles_of(record)
    assert cycles.complete[1:].all()
    np.testing.assert_allclose(cycles.halves.counted, cycles.halves.charge, rtol=1e-3)
    assert disturbances_of(record, cycles) == ()


def test_steps_of_the_converter_and_uneven_rows_are_no_jump() -> None:
    """A voltage written in steps of 1 mV; and a programme that writes a row every 20 s, then every 300 s."""
    trace = simulated(Cell(voltage_noise=1e-5), steady(4), np.random.default_rng(5))
    coarse = record_of(trace.time, np.round(trace.voltage, 3), trace.current)
    assert disturbances_of(coarse, cycles_of(coarse)) == ()
    rows = np.concatenate([np.arange(600), np.arange(600, trace.time.size, 15)])
    sparse = record_of(trace.time[rows], trace.voltage[rows], trace.current[rows])
    assert [one for one in disturbances_of(sparse, cycles_of(sparse)) if one.kind == "jump"] == []


def test_incomplete_cycles_are_not_used_and_it_is_said() -> None:
    trace = simulated(Cell(), steady(4), np.random.default_rng(1))
    rows = slice(200, trace.time.size - 200)
    record = record_of(trace.time[rows], trace.voltage[rows], trace.current[rows])
    left = used_cycles(cycles_of(record), ())
    assert left.used.tolist() == [False, True, True, False]
    assert left.reasons[0] == ("incomplete",)
