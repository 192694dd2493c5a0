"""First values of the parameters of a circuit, from the spectrum itself.

Every pair of resistor and capacitor, and every finite diffusion element, is a process with a time constant and a
resistance. Time constants are laid on a coarse grid within the frequencies measured, in every combination; the
resistance of a process is what the real part gains between the geometric means of its time constant and its
neighbours'. What is measured at the ends gives the rest: the real part at the highest frequency the resistors in
series, the imaginary parts at both ends inductors, capacitors and half-infinite diffusion.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import permutations
from math import factorial

import numpy as np
from numpy.typing import NDArray

from cathoscope.lab.circuit import Circuit, Element, Node, Parallel
from cathoscope.lab.impedance_spectrum import Array, Spectrum

_GRID = {1: 3, 2: 7, 3: 7, 4: 7}  # time constants that are tried, by the number of processes
_MOST_STARTS = 420
_ALPHA = 0.85
_CAPACITIVE, _FINITE = ("C", "CPE", "Q"), ("Wo", "Ws", "G")
_SMALLEST_SHARE = 0.01  # of the real part's range, that a process has at least


def first_values(circuit: Circuit, spectrum: Spectrum) -> Array:
    """Values of the parameters to search from, [start, parameter]."""
    places, count = _processes_of(circuit)
    tau, resistance = _processes(spectrum, count)
    columns: dict[str, Array | float] = {}
    _fill(circuit.root, places, (tau, resistance), spectrum, columns)
    starts = np.empty((tau.shape[0], len(circuit.names)))
    for number, name in enumerate(circuit.names):
        starts[:, number] = columns[name]
    return starts


def count_processes(circuit: Circuit) -> int:
    """How many pairs of resistor and capacitor, and finite diffusion elements, a circuit has."""
    return _processes_of(circuit)[1]


@lru_cache(maxsize=64)
def _processes_of(circuit: Circuit) -> tuple[dict[str, int], int]:
    places: dict[str, int] = {}
    return places, _number_processes(circuit.root, places, 0)


def _number_processes(node: Node, places: dict[str, int], count: int, above: int = -1) -> int:
    """Give each element (by name) the number of its process, -1 if it has none; the number of processes so far."""
    if isinstance(node, Element):
        if node.kind in _FINITE:
            places[node.name] = count
            return count + 1
        places[node.name] = above
        return count
    if isinstance(node, Parallel):
        above, count = count, count + 1
    for part in node.parts:
        count = _number_processes(part, places, count, above)
    return count


def _processes(spectrum: Spectrum, count: int) -> tuple[Array, Array]:
    """Time constants (s) and resistances (ohm) of the processes, [start, process]."""
    if not count:
        return np.empty((1, 0)), np.empty((1, 0))
    omega = spectrum.omega
    log_tau = np.linspace(-np.log(omega[0]), -np.log(omega[-1]), _GRID.get(count, count + 2) + 2)[1:-1]
    chosen, orders = _layout(log_tau.size, count)
    edges = np.empty((len(chosen), count + 1))
    edges[:, 0], edges[:, -1] = -np.log(omega[0]), -np.log(omega[-1])
    if count > 1:
        edges[:, 1:-1] = 0.5 * (log_tau[chosen[:, 1:]] + log_tau[chosen[:, :-1]])
    measured = spectrum.impedance.real
    real = np.interp(edges, -np.log(omega), measured)
    size = max(float(measured.max() - measured.min()), 1e-6 * float(np.abs(measured).max()), 1e-12)
    gain = np.maximum(real[:, 1:] - real[:, :-1], _SMALLEST_SHARE * size)
    tau = np.exp(log_tau)[chosen][:, orders].reshape(-1, count)
    return tau, gain[:, orders].reshape(-1, count)


@lru_cache(maxsize=16)
def _layout(total: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rising choices of ``count`` of ``total`` time constants [choice, number], and orders of processes among them."""
    places = min(count, 4)
    grid = np.stack(np.meshgrid(*[np.arange(total)] * places, indexing="ij"), axis=-1).reshape(-1, places)
    chosen = grid[np.all(np.diff(grid, axis=1) > 0, axis=1)]
    if count > places:  # too many to try all
        mixed = np.random.default_rng(0).permuted(np.tile(np.arange(total), (60, 1)), axis=1)
        chosen = np.sort(mixed[:, :count], axis=1)
    few = factorial(count) * len(chosen) <= _MOST_STARTS
    return chosen, np.array(list(permutations(range(count))) if few else [range(count)])


def _fill(
    node: Node,
    places: dict[str, int],
    processes: tuple[Array, Array],
    spectrum: Spectrum,
    columns: dict[str, Array | float],
) -> None:
    """Write the first values of every parameter, [start], under its name."""
    if not isinstance(node, Element):
        for part in node.parts:
            _fill(part, places, processes, spectrum, columns)
        return
    place = places[node.name]
    if place < 0 or node.kind == "W":
        values: tuple[Array | float, ...] = _in_series(node, spectrum)
    else:
        values = _of_process(node, processes[0][:, place], processes[1][:, place])
    for parameter, value in zip(node.parameters, values, strict=True):
        columns[parameter.name] = value


def _of_process(element: Element, tau: Array, resistance: Array) -> tuple[Array | float, ...]:
    if element.kind == "C":
        return (tau / resistance,)
    if element.kind in _CAPACITIVE:
        return tau**_ALPHA / resistance, _ALPHA
    if element.kind == "L":
        return (tau * resistance,)
    return (resistance, tau) if element.kind in _FINITE else (resistance,)


def _in_series(element: Element, spectrum: Spectrum) -> tuple[float, ...]:
    omega, z = spectrum.omega, spectrum.impedance
    size = float(np.abs(z).max())
    low, high = max(-float(z[-1].imag), 1e-3 * size), max(float(z[0].imag), 1e-3 * abs(complex(z[0])))
    if element.kind == "C":
        return (1.0 / (omega[-1] * low),)
    if element.kind in _CAPACITIVE:
        return 1.0 / (omega[-1] ** _ALPHA * low), _ALPHA
    if element.kind == "L":
        return (high / omega[0],)
    if element.kind == "W":
        return (low * np.sqrt(omega[-1]),)
    return (max(float(z.real.min()), 1e-3 * size),)
