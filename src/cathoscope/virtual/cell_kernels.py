"""Diffusion of lithium in a grain that is charged or discharged with a given current: implicit finite volumes."""

from __future__ import annotations

import numpy as np
from numba import njit


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
    lower, diagonal, upper, right = np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n)
    width = edges[1] - edges[0]
    for k in range(n):
        inner = rate * edges[k] ** 2 / width if k > 0 else 0.0
        outer = rate * edges[k + 1] ** 2 / width if k < n - 1 else 0.0
        lower[k], upper[k] = -inner, -outer
        diagonal[k] = volumes[k] + inner + outer
        right[k] = volumes[k] * filling[k]
    right[n - 1] += flux
    for k in range(1, n):
        factor = lower[k] / diagonal[k - 1]
        diagonal[k] -= factor * upper[k - 1]
        right[k] -= factor * right[k - 1]
    filling[n - 1] = right[n - 1] / diagonal[n - 1]
    for k in range(n - 2, -1, -1):
        filling[k] = (right[k] - upper[k] * filling[k + 1]) / diagonal[k]
    # the gradient at the surface carries the flux
    gradient = flux / rate if rate > 0 else 0.0
    return filling[n - 1] + 0.5 * width * gradient
