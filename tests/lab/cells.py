"""Simulated records of cells for tests and benchmarks, from equations and without the code under test.

Open-circuit voltage with a plateau, a steep rise at the end of charge and a steep fall at the end of discharge; an
ohmic resistance, and one that relaxes. Currents are switched at times of their own, between two rows of the record.
What disturbs is added on demand: steps of the voltage that stay or relax, a dendrite that shorts, loss of electrolyte.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Cell:
    """A cell and how it is cycled; Ah, A, V, ohm, s."""

    capacity: float = 0.5e-9
    current: float = 0.25e-9
    window: tuple[float, float] = (2.8, 4.5)
    ohmic: float = 2e8
    slow: float = 1e8
    relaxation: float = 120.0
    rest: float = 600.0
    dt: float = 20.0
    voltage_noise: float = 1e-3
    current_noise: float = 1e-12


@dataclass(frozen=True)
class Fate:
    """What happens: a factor of the capacity and of the resistance per cycle, and disturbances in half cycles.

    ``jumps`` holds (half, share of its time, size in V, time constant in s), ``shorts`` (half, share, kind).
    """

    capacity: Array
    resistance: Array
    jumps: tuple[tuple[int, float, float, float], ...] = ()
    shorts: tuple[tuple[int, float, str], ...] = ()


@dataclass
class Trace:
    """The record and what is true of it."""

    time: Array
    voltage: Array
    current: Array
    charge: Array = field(default_factory=lambda: np.zeros(0))  # exact, of every half cycle, Ah
    jump_times: Array = field(default_factory=lambda: np.zeros(0))
    short_halves: tuple[int, ...] = ()


def open_circuit(x: Array) -> Array:
    """Voltage at the charged share x; the ends are steep."""
    return 3.55 + 0.5 * x + 0.15 * x**2 - 0.75 * np.exp(-x / 0.015) + 0.4 * np.exp((x - 1.0) / 0.02)


def steady(cycles: int) -> Fate:
    """A cell that stays as it is."""
    return Fate(np.ones(cycles), np.ones(cycles))


def simulated(cell: Cell, fate: Fate, rng: np.random.Generator) -> Trace:
    """The record of a cell, sampled every ``cell.dt`` from a random moment of its first rest on."""
    now, x, sign = cell.rest * (0.5 + rng.random()), 0.02, 1
    stretches: list[tuple[float, float, Array, Array]] = []  # begin, current, times from begin, voltages
    charges, jumps, relaxing = [], [], 0.0
    stretches.append((0.0, 0.0, *_sampled(0.0, now, cell.dt, lambda t: np.full(t.size, open_circuit(np.array(x))))))
    shorts = {half: (share, kind) for half, share, kind in fate.shorts}
    for half in range(2 * fate.capacity.size):
        whole = replace(
            cell,
            capacity=cell.capacity * fate.capacity[half // 2],
            ohmic=cell.ohmic * fate.resistance[half // 2],
            slow=cell.slow * fate.resistance[half // 2],
        )
        current = sign * cell.current
        duration, voltage = _half(whole, x, current, shorts.get(half), rng)
        times, values = _sampled(now, duration, cell.dt, voltage)
        for _, share, size, decay in (one for one in fate.jumps if one[0] == half):
            at = share * duration
            values = values + np.where(times >= at, size * np.exp(-np.maximum(times - at, 0.0) / decay), 0.0)
            jumps.append(now + at)
        stretches.append((now, current, times, values))
        charges.append(cell.current * duration / 3600.0)
        if half in shorts:
            x = 0.25 if shorts[half][1] == "soft" else 0.03
        else:
            x = x + current * duration / 3600.0 / whole.capacity
        x = float(np.clip(x, 0.0, 1.03))
        now, relaxing = now + duration, current * whole.slow
        length = cell.rest * (0.8 + 0.4 * rng.random())
        stretches.append((now, 0.0, *_sampled(now, length, cell.dt, _rest(whole, x, relaxing))))
        now, sign = now + length, -sign
    time = np.concatenate([begin + t for begin, _, t, _ in stretches])
    current_ = np.concatenate([np.full(t.size, i) for _, i, t, _ in stretches])
    voltage_ = np.concatenate([v for *_, v in stretches])
    return Trace(
        time=time,
        voltage=voltage_ + rng.normal(0.0, cell.voltage_noise, time.size),
        current=current_ + rng.normal(0.0, cell.current_noise, time.size),
        charge=np.array(charges),
        jump_times=np.array(jumps),
        short_halves=tuple(shorts),
    )


def _sampled(begin: float, length: float, dt: float, voltage) -> tuple[Array, Array]:
    """Rows of a stretch on the grid of the whole record."""
    first = np.ceil(begin / dt - 1e-9) * dt
    times = np.arange(first, begin + length, dt) - begin
    return times, np.asarray(voltage(times))


def _rest(cell: Cell, x: float, relaxing: float):
    return lambda t: open_circuit(np.array(x)) + relaxing * np.exp(-t / cell.relaxation)


def _half(cell: Cell, x: float, current: float, short: tuple[float, str] | None, rng: np.random.Generator):
    """Duration until a limit of the voltage, and the voltage at times since the switch."""

    def healthy(t: Array) -> Array:
        state = x + current * t / 3600.0 / cell.capacity
        slow = cell.slow * (1.0 - np.exp(-t / cell.relaxation))
        return open_circuit(np.clip(state, -0.05, 1.05)) + current * (cell.ohmic + slow)

    longest = 1.3 * 3600.0 * cell.capacity / abs(current)
    fine = np.linspace(0.0, longest, 40_001)
    volts = healthy(fine)
    past = volts >= cell.window[1] if current > 0 else volts <= cell.window[0]
    end = float(fine[np.argmax(past)]) if past.any() else longest
    end = max(end, 1.2 * cell.dt)  # a cycler writes every step
    if short is None:
        return end, healthy
    share, kind = short
    at = share * end
    return _shorted(healthy, at, end, kind, rng)


def _shorted(healthy, at: float, end: float, kind: str, rng: np.random.Generator):
    """A dendrite from ``at`` on: hard, the voltage falls to almost nothing; soft, it sags and staggers below."""
    before = float(healthy(np.array([at]))[0])
    length = end * (1.6 + 0.8 * rng.random())
    if kind == "hard":
        floor, fall = 0.05 + 0.3 * rng.random(), end * 0.002 * (1 + 4 * rng.random())
        return length, lambda t: np.where(
            t < at, healthy(t), floor + (before - floor) * np.exp(-np.maximum(t - at, 0.0) / fall)
        )
    sag, period = 0.2 + 0.3 * rng.random(), end * (0.03 + 0.05 * rng.random())
    phase = rng.random()

    def voltage(t: Array) -> Array:
        saw = np.mod(np.maximum(t - at, 0.0) / period + phase, 1.0)
        below = before - sag * (0.5 + 0.5 * saw)
        return np.where(t < at, healthy(t), below)

    return length, voltage


@dataclass(frozen=True)
class Troubles:
    """A cell, its fate, and what is to be found: half cycles with shorts, times of jumps, cycle of the loss or None."""

    cell: Cell
    fate: Fate
    shorts: tuple[int, ...]
    loss: int | None


def troubled(rng: np.random.Generator, cycles: int = 8) -> Troubles:
    """A cell with up to three jumps of 5 to 40 times the noise, up to two shorts, and maybe a loss of electrolyte.

    A third of the cells have none of these; all fade or grow, and change their resistance up to twice.
    """
    cell = Cell(
        capacity=0.5e-9 * rng.uniform(0.7, 1.3),
        current=0.25e-9 * rng.uniform(0.5, 2.0),
        voltage_noise=10 ** rng.uniform(-4.0, -2.5),
    )
    capacity, resistance = (
        np.linspace(1.0, rng.uniform(0.7, 1.1), cycles),
        np.linspace(1.0, rng.uniform(0.8, 2.0), cycles),
    )
    if rng.random() < 1 / 3:
        return Troubles(cell, Fate(capacity, resistance), (), None)
    loss = int(rng.integers(3, cycles - 1)) if rng.random() < 0.4 else None
    if loss is not None:
        capacity[loss:] *= rng.uniform(0.05, 0.4)
        resistance[loss:] *= rng.uniform(4.0, 8.0)
    healthy = cycles if loss is None else loss
    charges = 2 * rng.choice(healthy, rng.integers(0, 3), replace=False)
    shorts = tuple((int(h), rng.uniform(0.2, 0.8), str(rng.choice(["hard", "soft"]))) for h in charges)
    free = [half for half in range(2 * healthy) if half not in charges and half - 1 not in charges]
    size = cell.voltage_noise * rng.choice([-1.0, 1.0], 3) * rng.uniform(5.0, 40.0, 3)
    decay = cell.dt * 10 ** rng.uniform(1.0, 3.0, 3)
    places = sorted(int(half) for half in rng.choice(free, min(3, len(free)), replace=False))
    jumps = tuple((half, rng.uniform(0.15, 0.85), *one) for half, *one in zip(places, size, decay, strict=False))
    return Troubles(cell, Fate(capacity, resistance, jumps, shorts), tuple(sorted(map(int, charges))), loss)
