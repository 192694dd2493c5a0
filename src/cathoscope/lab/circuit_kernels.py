"""Compiled impedance of circuits with its derivatives, and the search for the parameters that fit a spectrum.

A circuit is a list of nodes, children before parents: ``kind`` (the numbers below), ``parent`` (-1 for the last,
which is the whole) and ``first`` (where the parameters of an element begin). Parameters are all positive and enter
by their logarithms.
"""

from __future__ import annotations

import numpy as np
from numba import njit

RESISTOR, CAPACITOR, INDUCTOR, CONSTANT_PHASE, WARBURG, WARBURG_OPEN, WARBURG_SHORT, GERISCHER = range(8)
SERIES, PARALLEL = 8, 9

_LONGEST_STEP = 2.0  # of a logarithm
_SMALL = 1e-3  # below it, squared, tanh(s)/s is its series
_SUM_PRECISION, _STEP_PRECISION = 1e-11, 1e-7


@njit(cache=True, nogil=True, error_model="numpy")
def _diffusion(kind, resistance, s):  # type: ignore[no-untyped-def]
    """Impedance of a finite Warburg element and its derivative to the logarithm of its time constant."""
    if abs(s) < _SMALL and kind == WARBURG_SHORT:
        return resistance * (1.0 - s * s / 3.0), -resistance * s * s / 3.0
    e = np.exp(-2.0 * s)
    if kind == WARBURG_SHORT:
        t = (1.0 - e) / (1.0 + e)
        return resistance * t / s, 0.5 * resistance * (1.0 - t * t - t / s)
    c = (1.0 + e) / (1.0 - e) if abs(s) > _SMALL else 1.0 / s + s / 3.0
    return resistance * c / s, -0.5 * resistance * (c / s + c * c - 1.0)


@njit(cache=True, nogil=True, error_model="numpy")
def _element(kind, values, at, omega, z, slope, n):  # type: ignore[no-untyped-def]
    """Impedance of one element into ``z[n]``, its derivatives to the logarithms into ``slope[at:]``."""
    value = values[at]
    if kind == RESISTOR:
        z[n] = value
    elif kind == CAPACITOR:
        z[n] = -1j / (omega * value)
    elif kind == INDUCTOR:
        z[n] = 1j * omega * value
    elif kind == CONSTANT_PHASE:
        alpha, log_omega = values[at + 1], np.log(omega)
        angle = -0.5 * np.pi * alpha
        z[n] = np.exp(-alpha * log_omega) / value * (np.cos(angle) + 1j * np.sin(angle))
        slope[at + 1] = -alpha * (log_omega + 0.5j * np.pi) * z[n]
    elif kind == WARBURG:
        z[n] = value * (1.0 - 1.0j) / np.sqrt(omega)
    elif kind == GERISCHER:
        inner = 1j * omega * values[at + 1]
        z[n] = value / np.sqrt(1.0 + inner)
        slope[at + 1] = -0.5 * z[n] * inner / (1.0 + inner)
    else:
        half = np.sqrt(0.5 * omega * values[at + 1])
        z[n], slope[at + 1] = _diffusion(kind, value, half * (1.0 + 1.0j))
    slope[at] = -z[n] if kind in (CAPACITOR, CONSTANT_PHASE) else z[n]


@njit(cache=True, nogil=True, error_model="numpy")
def spectrum(kind, parent, first, values, omega, impedance, slopes):  # type: ignore[no-untyped-def]
    """Impedance [frequency] and its derivatives [parameter, frequency] to the logarithms of ``values``, both filled."""
    nodes, last = kind.size, kind.size - 1
    z, share, total = np.empty(nodes, np.complex128), np.empty(nodes, np.complex128), np.empty(nodes, np.complex128)
    slope = np.empty(values.size, np.complex128)
    for k in range(omega.size):
        for n in range(nodes):
            total[n] = 0.0
        for n in range(nodes):
            if kind[n] < SERIES:
                _element(kind[n], values, first[n], omega[k], z, slope, n)
            else:
                z[n] = total[n] if kind[n] == SERIES else 1.0 / total[n]
            if n < last:
                total[parent[n]] += z[n] if kind[parent[n]] == SERIES else 1.0 / z[n]
        impedance[k] = z[last]
        share[last] = 1.0
        for n in range(last, -1, -1):
            if n < last:
                above = parent[n]
                ratio = 1.0 if kind[above] == SERIES else z[above] / z[n]
                share[n] = share[above] * ratio * ratio
            if kind[n] < SERIES:
                end = first[n] + (1 if kind[n] < CONSTANT_PHASE or kind[n] == WARBURG else 2)
                for p in range(first[n], end):
                    slopes[p, k] = share[n] * slope[p]


@njit(cache=True, nogil=True, error_model="numpy")
def solve_positive(matrix, right):  # type: ignore[no-untyped-def]
    """Solution of a positive definite system by Cholesky; False beside it where the matrix is none."""
    size = right.size
    lower, x = np.zeros((size, size)), np.zeros(size)
    for i in range(size):
        for j in range(i + 1):
            rest = matrix[i, j]
            for k in range(j):
                rest -= lower[i, k] * lower[j, k]
            if i > j:
                lower[i, j] = rest / lower[j, j]
            elif rest > 0.0:
                lower[i, i] = np.sqrt(rest)
            else:
                return x, False
    for i in range(size):
        x[i] = right[i]
        for k in range(i):
            x[i] -= lower[i, k] * x[k]
        x[i] /= lower[i, i]
    for i in range(size - 1, -1, -1):
        for k in range(i + 1, size):
            x[i] -= lower[k, i] * x[k]
        x[i] /= lower[i, i]
    return x, True


@njit(cache=True, nogil=True, error_model="numpy")
def sum_of_squares(program, values, data, free, normal, score):  # type: ignore[no-untyped-def]
    """Weighted sum of squares; half its gradient into ``score``, its Gauss-Newton matrix into ``normal``.

    ``data`` = angular frequency, impedance, weight of the real and of the imaginary part; ``free`` are the numbers of
    the parameters that the matrix is of.
    """
    kind, parent, first = program
    omega, measured, weight_real, weight_imaginary = data
    z, slopes = np.empty(omega.size, np.complex128), np.empty((values.size, omega.size), np.complex128)
    spectrum(kind, parent, first, values, omega, z, slopes)
    total = 0.0
    for i in range(free.size):
        score[i] = 0.0
        for j in range(free.size):
            normal[i, j] = 0.0
    for k in range(omega.size):
        a, b = weight_real[k] ** 2, weight_imaginary[k] ** 2
        apart = z[k] - measured[k]
        total += a * apart.real**2 + b * apart.imag**2
        for i in range(free.size):
            s = slopes[free[i], k]
            score[i] += a * s.real * apart.real + b * s.imag * apart.imag
            for j in range(i + 1):
                t = slopes[free[j], k]
                normal[i, j] += a * s.real * t.real + b * s.imag * t.imag
    for i in range(free.size):
        for j in range(i):
            normal[j, i] = normal[i, j]
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _trial(normal, score, damping, u, bounds, free):  # type: ignore[no-untyped-def]
    """Logarithms after a damped step, and its length; a parameter at a bound that would leave it stays.

    The length is below zero where the system has no solution.
    """
    size = free.size
    matrix, right, stays = np.zeros((size, size)), np.zeros(size), np.zeros(size, np.bool_)
    for i in range(size):
        p = free[i]
        stays[i] = (u[p] <= bounds[0, p] and score[i] > 0.0) or (u[p] >= bounds[1, p] and score[i] < 0.0)
        right[i] = 0.0 if stays[i] else -score[i]
    for i in range(size):
        for j in range(size):
            matrix[i, j] = 0.0 if stays[i] or stays[j] else normal[i, j]
        matrix[i, i] = matrix[i, i] * (1.0 + damping) if matrix[i, i] > 0.0 else 1.0
    step, solved = solve_positive(matrix, right)
    trial, moved = u.copy(), 0.0
    if not solved:
        return trial, -1.0
    longest = _LONGEST_STEP
    for i in range(size):
        longest = max(longest, abs(step[i]))
    for i in range(size):
        p = free[i]
        trial[p] = min(max(u[p] + step[i] * _LONGEST_STEP / longest, bounds[0, p]), bounds[1, p])
        moved = max(moved, abs(trial[p] - u[p]))
    return trial, moved


@njit(cache=True, nogil=True, error_model="numpy")
def _values(u):  # type: ignore[no-untyped-def]
    """Exponentials."""
    values = np.empty(u.size)
    for i in range(u.size):
        values[i] = np.exp(u[i])
    return values


@njit(cache=True, nogil=True, error_model="numpy")
def search(program, start, bounds, data, free, most_steps):  # type: ignore[no-untyped-def]
    """Levenberg-Marquardt from ``start`` within ``bounds`` [low and high, parameter], all three of logarithms.

    Gives the logarithms, the sum of squares, the number of steps and whether the search came to rest.
    """
    u, size = start.copy(), free.size
    normal, score = np.empty((size, size)), np.empty(size)
    other_normal, other_score = np.empty((size, size)), np.empty(size)
    total = sum_of_squares(program, _values(u), data, free, normal, score)
    damping, growth = 1e-3, 2.0
    for count in range(most_steps):
        trial, moved = _trial(normal, score, damping, u, bounds, free)
        if 0.0 <= moved < 1e-14:
            return u, total, count, True
        other = np.inf
        if moved > 0.0:
            other = sum_of_squares(program, _values(trial), data, free, other_normal, other_score)
        if other <= total:
            rest = total - other <= _SUM_PRECISION * total and moved < _STEP_PRECISION**0.5
            u, total = trial, other
            normal, other_normal = other_normal, normal
            score, other_score = other_score, score
            damping, growth = max(damping * 0.1, 1e-12), 2.0
            if rest or moved < _STEP_PRECISION:
                return u, total, count + 1, True
        else:
            damping, growth = damping * growth, growth * 2.0
            if damping > 1e16:
                return u, total, count + 1, 0.0 <= moved < _STEP_PRECISION**0.5
    return u, total, most_steps, False
