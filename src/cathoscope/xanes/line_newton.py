"""Maxima of many white-line models at once."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

# What is known of a curve: the rows of a table [number, curve].
CENTRE, EDGE, WIDTH, SLOPE, JUMP, AMPLITUDE, POSITION, CURVATURE, BEFORE = range(9)
_STEPS = 5  # the start is within 0.5 eV, so Newton's method is there after three
_SETTLED = 0.01  # eV: where the last step is longer there is no maximum, or hardly one


@njit(cache=True, nogil=True, error_model="numpy")
def new_curves(count):  # type: ignore[no-untyped-def]
    """Room for ``count`` curves, [number, curve]."""
    return np.zeros((9, count), dtype=np.float32)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"}, forceinline=True)
def bell(u):  # type: ignore[no-untyped-def]
    """exp(-u^2 / 2) as the eighth power of its series, without a branch: good to 4e-6 for |u| < 1.5."""
    one, t = np.float32(1.0), np.float32(0.0625) * u * u
    root = one - t * (one - t * np.float32(1 / 2) * (one - t * np.float32(1 / 3) * (one - t * np.float32(1 / 4))))
    square = root * root
    return square * square * square * square


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def find_maxima(curves, edge_width):  # type: ignore[no-untyped-def]
    """Position and curvature of the maximum of every curve by Newton steps from the position it has.

    Loops without a branch that write one array: the compiler makes them treat many curves side by side.
    """
    centre, edge, width, slope = curves[CENTRE], curves[EDGE], curves[WIDTH], curves[SLOPE]
    jump, amplitude, position, curvature = curves[JUMP], curves[AMPLITUDE], curves[POSITION], curves[CURVATURE]
    one, by_edge, by_pi = np.float32(1.0), np.float32(1.0 / edge_width), np.float32(1.0 / math.pi)
    for step in range(_STEPS + 1):
        for i in range(curvature.size):
            x, by_width = (position[i] - edge[i]) * by_edge, one / width[i]
            u = (position[i] - centre[i]) * by_width
            line = amplitude[i] * bell(u) * by_width
            by = one / (one + x * x)
            curvature[i] = -(x + x) * jump[i] * by_pi * by_edge * by_edge * by * by - line * (one - u * u) * by_width
        if step == _STEPS:
            break
        if step == _STEPS - 1:
            curves[BEFORE] = position
        for i in range(curvature.size):
            x, by_width = (position[i] - edge[i]) * by_edge, one / width[i]
            u = (position[i] - centre[i]) * by_width
            line = amplitude[i] * bell(u) * by_width
            rise = jump[i] * by_pi * by_edge / (one + x * x)
            position[i] -= (slope[i] + rise - line * u) / curvature[i]


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def maximum_of(curves, i):  # type: ignore[no-untyped-def]
    """Position and curvature that `find_maxima` found for curve ``i``; NaN if there is no maximum near the line."""
    position, curvature = float(curves[POSITION, i]), float(curves[CURVATURE, i])
    settled = abs(position - curves[BEFORE, i]) < _SETTLED
    if settled and curvature < 0.0 and abs(position - curves[CENTRE, i]) < 1.5 * curves[WIDTH, i]:
        return position, curvature
    return math.nan, math.nan
