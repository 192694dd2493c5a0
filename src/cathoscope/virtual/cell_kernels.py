"""Diffusion of lithium in a grain that is charged or discharged with a given current: implicit finite volumes."""

from __future__ import annotations

import numpy as np
from numba import njit

_FINER, _REFINED = 8.0, 2  # steps that would pass the end are made so much finer, so many times


@njit(cache=True, nogil=True)
def open_circuit(x):  # type: ignore[no-untyped-def]
    """U(x) of NMC811 against lithium, V: Chen et al., J. Electrochem. Soc. 167 (2020) 080534, its ends continued."""
    bulk = -0.8090 * x + 4.4875 - 0.0428 * np.tanh(18.5138 * (x - 0.5542))
    bulk = bulk - 17.7326 * np.tanh(15.7890 * (x - 0.3117)) + 17.5842 * np.tanh(15.9308 * (x - 0.3120))
    return bulk - 0.6 * np.exp((x - 0.985) / 0.012) + 0.5 * np.exp((0.02 - x) / 0.012)


@njit(cache=True, nogil=True)
def stepped(filling, edges, volumes, rate, flux):  # type: ignore[no-untyped-def]
    """One implicit step of the shells of a sphere of radius 1, in place; returns the filling at the surface.

    Parameters
    ----------
    filling
        Lithium per site, (shell,), changed.
    edges, volumes
        Radii of the shells' edges, (shell + 1,), and r^3/3 differences, (shell,).
    rate
        Diffusivity times the step over the radius squared.
    flux
        Lithium that enters through the surface in the step, per site of the sphere and unit area: gain of the mean
        filling over 3.
    """
    n = filling.size
    diagonal, right = np.empty(n), np.empty(n)
    width = edges[1] - edges[0]
    for k in range(n):
        inner = rate * edges[k] ** 2 / width if k > 0 else 0.0
        outer = rate * edges[k + 1] ** 2 / width if k < n - 1 else 0.0
        diagonal[k] = volumes[k] + inner + outer
        right[k] = volumes[k] * filling[k]
    right[n - 1] += flux
    for k in range(1, n):
        inner = rate * edges[k] ** 2 / width
        factor = inner / diagonal[k - 1]
        diagonal[k] -= factor * inner
        right[k] += factor * right[k - 1]
    filling[n - 1] = right[n - 1] / diagonal[n - 1]
    for k in range(n - 2, -1, -1):
        filling[k] = (right[k] + rate * edges[k + 1] ** 2 / width * filling[k + 1]) / diagonal[k]
    # the gradient at the surface carries the flux
    gradient = flux / rate if rate > 0 else 0.0
    return filling[n - 1] + 0.5 * width * gradient


@njit(cache=True, nogil=True)
def galvanostatic(filling, electrode, side, drive):  # type: ignore[no-untyped-def]
    """A constant current until a voltage or a time is reached; rows (time s, voltage V, current of lithium A).

    Parameters
    ----------
    filling
        Lithium per site, (shell,), changed.
    electrode
        Charge of the sites (C), diffusivity over the squared radius (1/s), 2 R T / F (V), exchange current at half
        filling (A), resistance (ohm).
    side
        Leakage (S); current (A) that oxidises electrolyte at a voltage (V), and in how many volts it grows e-fold.
    drive
        Current (A, positive charges), voltage of its end, step (s), longest time (s).
    """
    sites, spread, thermal, exchange, resistance = electrode
    leak, oxidised, oxidised_at, oxidised_in = side
    current, end, step, longest = drive
    n = filling.size
    edges = np.linspace(0.0, 1.0, n + 1)
    volumes = np.diff(edges**3) / 3.0
    sign = 1.0 if current >= 0 else -1.0
    rows = np.empty((int(longest / step) + 2 * int(_FINER) * _REFINED + 4, 3))
    time, count, refined = 0.0, 1, 0
    surface = filling[n - 1]
    voltage = open_circuit(surface)
    through = current - leak * voltage - oxidised * np.exp((voltage - oxidised_at) / oxidised_in)
    x = min(max(surface, 1e-3), 1.0 - 1e-3)
    voltage += thermal * np.arcsinh(through / (4.0 * exchange * np.sqrt(x * (1.0 - x)))) + current * resistance
    rows[0] = (0.0, voltage, through)
    while time < longest * (1.0 - 1e-9) and count < rows.shape[0]:
        kept, before = filling.copy(), voltage
        length = min(step, longest - time)
        through = current - leak * before - oxidised * np.exp((before - oxidised_at) / oxidised_in)
        surface = stepped(filling, edges, volumes, spread * length, -through * length / sites / 3.0)
        x = min(max(surface, 1e-3), 1.0 - 1e-3)
        voltage = open_circuit(surface) + current * resistance
        voltage += thermal * np.arcsinh(through / (4.0 * exchange * np.sqrt(x * (1.0 - x))))
        if (voltage - end) * sign < 0:
            time += length
            rows[count] = (time, voltage, through)
            count += 1
        elif refined < _REFINED:
            filling[:] = kept
            voltage, step, refined = before, step / _FINER, refined + 1
        else:
            share = min(max((end - before) / (voltage - before), 0.0), 1.0) if voltage != before else 0.0
            filling[:] = kept + share * (filling - kept)
            if share > 0:
                rows[count] = (time + share * length, end, through)
                count += 1
            break
    return rows[:count]
