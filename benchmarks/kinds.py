"""Benchmarks over many seeds of a few kinds of particles: the command line, and how often an interval may hold."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

Measured = Callable[[str, int], Sequence[float] | NDArray[np.float64]]
Told = Callable[[str, NDArray[np.float64]], bool]


def run_kinds(
    words: str, kinds: Sequence[str], seeds: str, measured: Measured, told: Told, arguments: list[str] | None
) -> int:
    """Measure every seed of every kind and tell; 1 if a kind misses what it must hold.

    What is measured of each seed goes to the standard error output as it comes.
    """
    parser = argparse.ArgumentParser(description=words.splitlines()[0])
    parser.add_argument("--seeds", default=seeds, help="first:end")
    parser.add_argument("--kinds", nargs="*", default=list(kinds), choices=list(kinds))
    options = parser.parse_args(arguments)
    first, end = (int(part) for part in options.seeds.split(":"))
    results = []
    for kind in options.kinds:
        rows = []
        for seed in range(first, end):
            rows.append(np.asarray(measured(kind, seed)))
            print(kind, seed, " ".join(f"{value:.6g}" for value in rows[-1].ravel()), file=sys.stderr, flush=True)
        results.append(told(kind, np.array(rows)))
    return 0 if all(results) else 1


def least_and_most_held(count: int) -> tuple[int, int]:
    """How many of ``count`` true 68 % intervals hold the truth, in 99 % of all cases."""
    least, most = binom.interval(0.99, count, 0.6827)
    return int(least), int(most)
