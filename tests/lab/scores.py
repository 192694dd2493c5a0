"""How well disturbances of simulated cells are found: hits, misses and false alarms by kind."""

from __future__ import annotations

from collections import Counter

import numpy as np

from cathoscope.lab.cycles import cycles_of
from cathoscope.lab.disturbances import disturbances_of
from cathoscope.lab.record import record_of
from tests.lab.cells import simulated, troubled

KINDS = ("jump", "short", "electrolyte loss")


def scored(seeds: range) -> Counter[tuple[str, str]]:
    """Counts by kind and "hit", "miss" or "false", over cells of these seeds."""
    total: Counter[tuple[str, str]] = Counter()
    for seed in seeds:
        rng = np.random.default_rng(seed)
        case = troubled(rng)
        trace = simulated(case.cell, case.fate, rng)
        record = record_of(trace.time, trace.voltage, trace.current)
        found = disturbances_of(record, cycles_of(record))
        times = np.array([one.time for one in found if one.kind == "jump"])
        near = [np.abs(times - at).min(initial=np.inf) <= 1.5 * case.cell.dt for at in trace.jump_times]
        told = {
            "jump": (int(np.sum(near)), len(near), times.size),
            "short": _shared(case.shorts, [one.half for one in found if one.kind == "short"]),
            "electrolyte loss": _shared(
                [] if case.loss is None else [case.loss + 1],
                [one.cycle for one in found if one.kind == "electrolyte loss"],
            ),
        }
        for kind, (hit, true, said) in told.items():
            total[kind, "hit"] += hit
            total[kind, "miss"] += true - hit
            total[kind, "false"] += said - hit
    return total


def _shared(true, said) -> tuple[int, int, int]:
    return len(set(true) & set(said)), len(true), len(said)


def precision_and_recall(counts: Counter[tuple[str, str]], kind: str) -> tuple[float, float]:
    """Share of what was said that is true, and share of what is true that was said."""
    hit = counts[kind, "hit"]
    return hit / max(hit + counts[kind, "false"], 1), hit / max(hit + counts[kind, "miss"], 1)
