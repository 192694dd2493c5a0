"""Records of cyclers: a text of a million rows and a thousand cycles read and summarised, a binary of 46 000 rows read.

Both are written here, in the layouts of Arbin and Bio-Logic. The summary is the charge, discharge and efficiency of
every cycle, from the current. Targets are CPU seconds; the peers are what a script would take: numpy and pandas.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cathoscope.io import open_raw
from tests.io.specimens_cycler import CYCLING, CYCLING_NUMBERS, mpr_bytes

ROWS, CYCLES = 1_000_000, 1000
BINARY_ROWS = 46_102
MOST_SECONDS, MOST_BINARY_SECONDS = 1.0, 5e-3
RUNS = 5


def _write_text(path: Path) -> None:
    """Cycles of half charge, half discharge, of which each gives 1e-4 less than the one before."""
    row = np.arange(ROWS)
    cycle, within = np.divmod(row, ROWS // CYCLES)
    half = ROWS // CYCLES // 2
    sign = np.where(within < half, 1, -1)
    current = sign * 1e-3 * (1 - 1e-4 * cycle)
    voltage = np.where(sign > 0, 3 + within / half, 5 - within / half)
    passed = np.abs(current) * 10 / 3600 * (within % half)
    columns = (row + 1, row * 10.0, cycle + 1, current, voltage, passed)
    table = pd.DataFrame(dict(zip(_NAMES, columns, strict=True)))
    table.to_csv(path, index=False, float_format="%.7g")


_NAMES = ("Data_Point", "Test_Time(s)", "Cycle_Index", "Current(A)", "Voltage(V)", "Capacity(Ah)")


def _write_binary(path: Path) -> None:
    names = CYCLING | {"ns": "<u2", "control": "<f4", "range": "<u2", "power": "<f4"}
    rows = np.zeros(BINARY_ROWS, list(names.items()))
    rows["flags"], rows["time"], rows["dq"] = 5, 10.0 * np.arange(BINARY_ROWS), 1e-3
    rows["ewe"] = 3 + np.arange(BINARY_ROWS) / BINARY_ROWS
    rows["q"] = 1e-3 * np.arange(BINARY_ROWS)
    path.write_bytes(mpr_bytes([*CYCLING_NUMBERS, 131, 5, 39, 70], rows, version=3))


def _summary(path: Path) -> np.ndarray:  # type: ignore[type-arg]
    """Charge, discharge (Ah) and efficiency of every cycle."""
    data = open_raw(path)
    time_, current = data["elapsed_time"].values, data["cell_current"].values
    cycle = data["file_cycle"].values - 1
    passed = np.append(0.0, np.diff(time_)) * current / 3600
    charged = np.bincount(cycle, np.maximum(passed, 0.0))
    discharged = np.bincount(cycle, np.maximum(-passed, 0.0))
    return np.column_stack([charged, discharged, discharged / charged])


def _least(work: Callable[[], Any], runs: int = RUNS) -> float:
    seconds = []
    for _ in range(runs):
        began = time.process_time()
        work()
        seconds.append(time.process_time() - began)
    return min(seconds)


def main() -> int:
    """Print the table; 1 if a target is missed or a sum is wrong."""
    with tempfile.TemporaryDirectory() as folder:
        text, binary = Path(folder) / "cell.csv", Path(folder) / "cell.mpr"
        _write_text(text)
        _write_binary(binary)
        print(
            f"\nRecords of cyclers: {ROWS} rows of text, {text.stat().st_size / 1e6:.0f} MB; {BINARY_ROWS} binary rows"
        )
        summary = _summary(text)
        ours, peer = _least(lambda: _summary(text)), _least(lambda: pd.read_csv(text))
        slow = _least(lambda: np.loadtxt(text, delimiter=",", skiprows=1), runs=1)
        quick = _least(lambda: open_raw(binary), runs=20)
    expected = 1e-3 * 10 / 3600 * (ROWS // CYCLES // 2) * (1 - 1e-4 * np.arange(CYCLES))
    # The first row of a cycle belongs to the step before it.
    wrong = float(np.abs(summary[1:, 0] / expected[1:] - 1).max())
    print(f"{'read and summarised by cathoscope':40s}{ours * 1e3:10.0f} ms")
    print(f"{'read by pandas, nothing checked':40s}{peer * 1e3:10.0f} ms")
    print(f"{'read by numpy.loadtxt':40s}{slow * 1e3:10.0f} ms")
    print(f"{'binary record':40s}{quick * 1e3:10.2f} ms")
    print(
        f"largest error of a capacity {wrong:.1e}; "
        f"must hold: below {MOST_SECONDS:g} s and {MOST_BINARY_SECONDS * 1e3:g} ms"
    )
    return int(ours > MOST_SECONDS or quick > MOST_BINARY_SECONDS or wrong > 1e-6)


if __name__ == "__main__":
    sys.exit(main())
