"""Impedance: time of a fit, pulls of the charge-transfer resistance, alarms of the Kramers-Kronig gate.

    python -m benchmarks.lab_impedance              # 1600 seeds: 2 CPU minutes
    python -m benchmarks.lab_impedance --seeds 200

Exit code 1 if a fit of R-(R||CPE) to 60 points takes 0.5 ms of CPU or more, pulls of R_ct are not 0 +- 0.1 and
1 +- 0.1, the gate raises more than 5 % false alarms or misses more than 5 % of drifts of 8 % at 0.5 % noise. Power
curves of other drifts, and relaxation times, are printed. impedance.py is timed beside where it is installed.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Callable

import numpy as np

from cathoscope.lab.circuit_text import parse_circuit
from cathoscope.lab.impedance_fit import fit_circuit
from cathoscope.lab.interface import capacitance_from_hsu_mansfeld, interface_of
from cathoscope.lab.kramers_kronig import kramers_kronig
from cathoscope.lab.relaxation import relaxation_times

FREQUENCY = np.logspace(5, -2, 60)
OMEGA = 2 * np.pi * FREQUENCY
ALONG = np.linspace(0.0, 1.0, FREQUENCY.size)
NOISE = 0.005
LONGEST, LARGEST_PULL, MOST_ALARMS, LEAST_FOUND = 0.5, 0.1, 0.05, 0.95  # ms, -, -, -


def arc(resistance: float, tau: float, alpha: float = 1.0) -> np.ndarray:
    """Of a resistor beside a constant-phase element."""
    return resistance / (1 + (1j * OMEGA * tau) ** alpha)


def open_diffusion(resistance: float, tau: float) -> np.ndarray:
    """Finite diffusion into a particle."""
    s = np.sqrt(1j * OMEGA * tau)
    return resistance / (s * np.tanh(s))


CELL = 10 + arc(80.0, 1e-2, 0.85)
KINDS = {
    "R-(RC)": 10 + arc(80.0, 1e-2),
    "R-(RQ)": CELL,
    "R-(RQ)-(RQ)": 5 + arc(30.0, 1e-4, 0.8) + arc(60.0, 0.1, 0.9),
    "R-(RQ)-W": 5 + arc(30.0, 1e-3, 0.85) + 8 * (1 - 1j) / np.sqrt(OMEGA),
    "R-(RQ)-Wo": 5 + arc(30.0, 1e-3, 0.85) + open_diffusion(40.0, 5.0),
    "L-R-(RQ)-(RQ)": 1e-6j * OMEGA + 1 + arc(3.0, 1e-3, 0.8) + arc(5.0, 1.0, 0.95),
}
Disturbance = Callable[[np.ndarray, float], np.ndarray]
DISTURBANCES: dict[str, tuple[Disturbance, tuple[float, ...]]] = {
    "drift of all": (lambda z, d: z * (1 + d * ALONG), (0.005, 0.01, 0.02, 0.04, 0.08)),
    "drift of the last decade": (lambda z, d: z * (1 + d * np.clip(7 * ALONG - 6, 0, 1)), (0.02, 0.04, 0.08, 0.16)),
    "jump in the middle": (lambda z, d: z * (1 + d * (ALONG > 0.5)), (0.005, 0.01, 0.02, 0.04)),
    "R_ct grows": (lambda z, d: z + d * (z - z.real.min()) * ALONG, (0.01, 0.02, 0.04, 0.08)),
    "one point off": (lambda z, d: z * (1 + d * (np.arange(z.size) == 30)), (0.01, 0.02, 0.04)),
}


def noisy(impedance: np.ndarray, seed: int, level: float = NOISE) -> np.ndarray:
    """Noise of ``level`` of the modulus on both parts."""
    rng = np.random.default_rng(seed)
    return impedance + level * np.abs(impedance) * (rng.normal(size=60) + 1j * rng.normal(size=60))


def shortest(work: Callable[[], object], repeats: int, rounds: int = 7) -> float:
    """ms of CPU of one call: the least of some rounds."""
    times = []
    for _ in range(rounds):
        begin = time.process_time()
        for _ in range(repeats):
            work()
        times.append((time.process_time() - begin) / repeats * 1e3)
    return min(times)


def fit_time() -> bool:
    """Time of a fit with its uncertainties, and of the other program's."""
    circuit, z = parse_circuit("R0-p(R1,CPE1)"), noisy(CELL, 0)
    ours = shortest(lambda: fit_circuit(circuit, frequency=FREQUENCY, impedance=z).relative_std, 100)
    print(f"fit of R-(R||CPE), 60 points, starts from the data: {ours:.2f} ms of CPU (limit {LONGEST} ms)")
    try:
        theirs = importlib.import_module("impedance.models.circuits").CustomCircuit
    except ImportError:
        print("  impedance.py is not installed")
        return ours < LONGEST
    for name, guess in (("good", [9.0, 70.0, 2e-4, 0.8]), ("poor", [1.0, 1.0, 1e-2, 0.5])):
        other = theirs("R0-p(R1,CPE1)", initial_guess=guess)
        took = shortest(lambda other=other: other.fit(FREQUENCY, z, weight_by_modulus=True), 5, 3)  # type: ignore[misc]
        print(f"  impedance.py, {name} guess: {took:.1f} ms ({took / ours:.0f} times), R_ct {other.parameters_[1]:.5f}")
    print(f"  ours: R_ct {fit_circuit(circuit, frequency=FREQUENCY, impedance=z).values[1]:.5f}")
    return ours < LONGEST


def pulls(seeds: int) -> bool:
    """Pulls of resistance and capacitance of simulated cells."""
    capacitance = capacitance_from_hsu_mansfeld(q=1e-2**0.85 / 80.0, alpha=0.85, transfer=80.0)
    table = []
    for seed in range(seeds):
        one = interface_of(fit_circuit("R0-p(R1,CPE1)", frequency=FREQUENCY, impedance=noisy(CELL, seed)))
        values = (one.resistance, 80.0), (one.capacitance_hsu_mansfeld, capacitance)
        table.append([(estimate.value - truth) / estimate.std for estimate, truth in values])
    mean, width = np.mean(table, axis=0), np.std(table, axis=0)
    print(
        f"pulls over {seeds} seeds: R_ct {mean[0]:+.3f}, width {width[0]:.3f}; C {mean[1]:+.3f}, width {width[1]:.3f}"
    )
    return bool(np.all(np.abs(mean) < LARGEST_PULL) and np.all(np.abs(width - 1) < LARGEST_PULL))


def alarms(impedance: np.ndarray, seeds: int, level: float = NOISE, first: int = 0) -> tuple[float, float]:
    """Share of spectra that do not pass, by the gate and by runs of signs alone."""
    gate = runs = 0
    for seed in range(first, first + seeds):
        test = kramers_kronig(frequency=FREQUENCY, impedance=noisy(impedance, seed, level))
        gate += not test.passes
        runs += min(run.chance for run in test.runs) < 0.025
    return gate / seeds, runs / seeds


def gate(seeds: int) -> bool:
    """False alarms and detected drifts of several cells, then power curves."""
    right, each = True, max(seeds // len(KINDS), 20)
    false = [alarms(z, each, first=1000 * k) for k, z in enumerate(KINDS.values())]
    for (name, z), share in zip(KINDS.items(), false, strict=True):
        found = alarms(z * (1 + 0.08 * ALONG), each // 3)
        right &= found[0] >= LEAST_FOUND
        print(f"gate, {name:14} false alarms {100 * share[0]:.1f} %, 8 % drift found {100 * found[0]:.0f} %", end="")
        print(f" (runs of signs alone {100 * share[1]:.1f} %, {100 * found[1]:.0f} %)")
    overall = float(np.mean([share[0] for share in false]))
    print(f"gate, all: false alarms {100 * overall:.1f} % of {each * len(KINDS)} (limit {100 * MOST_ALARMS:.0f} %)")
    for name, (disturbed, sizes) in DISTURBANCES.items():
        for level in (0.002, 0.005, 0.01):
            shares = [alarms(disturbed(KINDS["R-(RQ)-(RQ)"], size), max(each // 8, 20), level)[0] for size in sizes]
            curve = "  ".join(
                f"{100 * size:g} %: {100 * share:3.0f} %" for size, share in zip(sizes, shares, strict=True)
            )
            print(f"  found, {name:25} noise {100 * level:g} %:  {curve}")
    return right and overall <= MOST_ALARMS


def relaxation(seeds: int) -> None:
    """Peaks of two arcs three decades apart."""
    truth, found, wrong = {1e-4: 30.0, 0.1: 60.0}, [], 0
    z = 5 + arc(30.0, 1e-4, 0.8) + arc(60.0, 0.1, 0.9)
    for seed in range(seeds):
        peaks = relaxation_times(frequency=FREQUENCY, impedance=noisy(z, seed)).peaks
        if len(peaks) != len(truth):
            wrong += 1
            continue
        pairs = zip(peaks, truth.items(), strict=True)
        found.append([(np.log10(p.time_constant / tau), p.resistance.value / r - 1) for p, (tau, r) in pairs])
    mean, width = np.mean(found, axis=0), np.std(found, axis=0)
    took = shortest(lambda: relaxation_times(frequency=FREQUENCY, impedance=noisy(z, 0)), 1, 3)
    print(f"relaxation times, {seeds} seeds: two peaks in all but {wrong}; {took:.0f} ms of CPU")
    for k, tau in enumerate(truth):
        place, area = f"{mean[k, 0]:+.3f} +- {width[k, 0]:.3f}", f"{100 * mean[k, 1]:+.1f} +- {100 * width[k, 1]:.1f} %"
        print(f"  {tau:g} s: place {place} decades, area {area}")


def main(arguments: list[str] | None = None) -> int:
    """Run it; 1 if something misses what it must hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1600)
    seeds = parser.parse_args(arguments).seeds
    results = [fit_time(), pulls(seeds), gate(seeds)]
    relaxation(max(seeds // 20, 10))
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
