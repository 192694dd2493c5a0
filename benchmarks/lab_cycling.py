"""Cycling: speed, pulls of the capacity, coverage of intervals, precision and recall of disturbances.

Cells are simulated by `tests.lab.cells`, which knows nothing of the code measured here. Seeds are 0 to 1599.

Run with: python -m benchmarks.lab_cycling
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from cathoscope.lab.cycles import cycles_of
from cathoscope.lab.record import Record, record_of
from cathoscope.lab.replicates import compared, replicates_of
from cathoscope.lab.retention import retention_of
from tests.lab.cells import Cell, Fate, simulated
from tests.lab.scores import KINDS, precision_and_recall, scored

Array = NDArray[np.float64]

SEEDS = 1600
MOST_SECONDS = 1.0  # of CPU, 1e6 rows in 1000 cycles
MOST_BIAS, MOST_WIDTH = 0.1, 0.1  # of pulls
LEAST_SHARE = 0.95  # precision and recall
RECORDS = 300
LEVEL = 0.95


def long_record(cycles: int = 1000, rows: int = 490, rest: int = 10) -> Record:
    """1e6 rows of noisy charges, discharges and rests."""
    rng = np.random.default_rng(1)
    x = np.linspace(0.0, 1.0, rows)
    up = 3.6 + 0.5 * x + 0.2 * x**8
    voltage = np.tile(np.concatenate([up, np.full(rest, 4.2), up[::-1] - 0.1, np.full(rest, 3.6)]), cycles)
    current = np.tile(np.repeat([1e-3, 0.0, -1e-3, 0.0], [rows, rest, rows, rest]), cycles)
    noise = rng.normal(0.0, 1.0, (2, voltage.size))
    return record_of(10.0 * np.arange(voltage.size), voltage + 1e-3 * noise[0], current + 1e-6 * noise[1])


def speed() -> bool:
    """Print the time of a long record; whether the target holds."""
    record = long_record()
    best = np.inf
    for _ in range(5):
        start = time.process_time()
        found = cycles_of(record)
        best = min(best, time.process_time() - start)
    print(f"{record.time.size:.0e} rows, {found.number.size} cycles: {best:.3f} CPU s (at most {MOST_SECONDS:g})")
    return best <= MOST_SECONDS and found.number.size == 1000


def capacity_pulls() -> bool:
    """One record of two cycles per seed; pulls of the second discharge and of its efficiency."""
    pulls = np.empty((SEEDS, 2))
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        cell = Cell(capacity=0.05e-9 * rng.uniform(0.8, 1.2), current=0.2e-9, current_noise=2e-12)
        trace = simulated(cell, Fate(rng.uniform(0.9, 1.1, 2), np.ones(2)), rng)
        found = cycles_of(record_of(trace.time, trace.voltage, trace.current))
        pulls[seed, 0] = (found.capacity[1] - trace.charge[3]) / found.capacity_std[1]
        pulls[seed, 1] = (found.efficiency[1] - trace.charge[3] / trace.charge[2]) / found.efficiency_std[1]
    for name, one in zip(("capacity", "efficiency"), pulls.T, strict=True):
        print(f"pulls of the {name}, {SEEDS} seeds: mean {one.mean():+.3f}, width {one.std():.3f}")
    return bool((np.abs(pulls.mean(axis=0)) <= MOST_BIAS).all() and (np.abs(pulls.std(axis=0) - 1) <= MOST_WIDTH).all())


def covered(name: str, held: Callable[[np.random.Generator], bool | None]) -> bool:
    """Print how often stated intervals hold the truth; whether that lies inside the 99 % range of the binomial law."""
    found = [held(np.random.default_rng(seed)) for seed in range(SEEDS)]
    stated = [one for one in found if one is not None]
    share, count = sum(stated) / len(stated), len(stated)
    low, high = (float(one) / count for one in stats.binom.ppf([0.005, 0.995], count, LEVEL))
    print(f"{name}: {share:.4f} of {count} intervals of {LEVEL:g} hold the truth (99 % range {low:.4f} to {high:.4f}); "
          f"stated for {count} of {SEEDS} seeds")  # fmt: skip
    return low <= share <= high


def retention_held(rng: np.random.Generator) -> bool:
    """Three cells that keep 85 % with a spread of 0.7 %, capacities measured with 0.2 %."""
    kept = rng.normal(0.85, 0.007, 3)
    capacity = rng.normal(211.1, 3.0, 3)[:, None] * np.stack([np.ones(3), kept], axis=1)
    capacity *= 1.0 + rng.normal(0.0, 0.002, capacity.shape)
    shares = [retention_of([2, 150], one, 0.002 * one, reference=2).value[1] for one in capacity]
    low, high = replicates_of(shares, level=LEVEL).interval
    return low < 0.85 < high


def effect_held(rng: np.random.Generator) -> bool:
    """Two kinds of three cells whose means differ by 3.7 of their spread."""
    low, high = compared(rng.normal(85.0, 0.7, 3), rng.normal(82.4, 0.7, 3), level=LEVEL).effect_interval
    return low < 2.6 / 0.7 < high


def disturbances() -> bool:
    """Print precision and recall by kind; whether all hold."""
    start = time.process_time()
    counts = scored(range(RECORDS))
    spent = time.process_time() - start
    held = True
    for kind in KINDS:
        precision, recall = precision_and_recall(counts, kind)
        print(f"{kind}: precision {precision:.3f}, recall {recall:.3f} of {counts[kind, 'hit'] + counts[kind, 'miss']}")
        held &= precision > LEAST_SHARE and recall > LEAST_SHARE
    print(f"{RECORDS} records of 8 cycles simulated and searched in {spent:.0f} CPU s")
    return held


def main() -> int:
    """Run all; 1 if a target is missed."""
    held = [
        speed(),
        capacity_pulls(),
        covered("retention from three cells", retention_held),
        covered("effect of two kinds of three cells", effect_held),
        disturbances(),
    ]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
