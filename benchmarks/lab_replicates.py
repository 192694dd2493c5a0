"""How well three virtual coin cells of each kind tell rod from gravel: batches of seeds 1 to 10.

One particle of each kind (seed 1) stands for all; cells differ in mass, load, layer, resistance and oxidation. Held if
in most batches the 95 % interval of the difference in retention is no wider than half of it.

Run with: python -m benchmarks.lab_replicates
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

import numpy as np

from cathoscope.lab.replicates import Comparison, compared
from cathoscope.virtual.cell_health import Wear
from cathoscope.virtual.cell_truth import cycle_numbers
from cathoscope.virtual.coin_cells import turns
from cathoscope.virtual.coin_study import COIN_PRESETS, REFERENCE, CoinPlan

SEEDS = range(1, 11)
CASES = {"25C": 150, "40C": 300}
LEVEL = 0.95


def difference(seed: int, kind: str, cycle: int, wears: Mapping[str, Wear]) -> Comparison:
    """Retention of rod's cells minus that of gravel's, per cent."""
    preset = COIN_PRESETS["hou-cells"]
    plan = CoinPlan(preset, preset.sizes["small"], seed)
    kept: dict[str, list[float]] = {name: [] for name in ("rod", "gravel")}
    for name, found in kept.items():
        for number in range(1, preset.cells + 1):
            cell, _ = plan.replicate(name, kind, number)
            done = turns(wears[name], preset.law, cell, preset.programmes[kind], preset.samples[name].specific)
            capacity = cycle_numbers(done)["discharge_capacity"]
            found.append(100.0 * float(capacity[cycle - 1] / capacity[REFERENCE - 1]))
    return compared(kept["rod"], kept["gravel"], level=LEVEL)


def main() -> int:
    """Print every batch; 1 if intervals are too wide in half of them or more."""
    preset = COIN_PRESETS["hou-cells"]
    plan = CoinPlan(preset, preset.sizes["small"], 1)
    wears = {name: plan.wear(name) for name in preset.samples}
    held = True
    for kind, cycle in CASES.items():
        narrow = []
        for seed in SEEDS:
            one = difference(seed, kind, cycle, wears)
            low, high = one.interval
            narrow.append(high - low <= 0.5 * abs(one.difference))
            print(f"{kind}, cycle {cycle}, batch {seed}: {one.difference:+.2f} % ({low:.2f} to {high:.2f})")
        print(f"{kind}: no wider than half the effect in {sum(narrow)} of {len(narrow)} batches")
        held &= bool(np.mean(narrow) > 0.5)
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
