"""Compiled passes over the interior of a particle, by classes of its radius."""

from __future__ import annotations

from numba import njit


@njit(cache=True, nogil=True)
def mark_below(values, place, limit, found):  # type: ignore[no-untyped-def]
    """Set ``found`` where a value is below the ``limit`` [class] of its ``place``; all are [z, y, x]."""
    grey, kind, out = values.ravel(), place.ravel(), found.ravel()
    for i in range(grey.size):
        out[i] = kind[i] < limit.size and grey[i] < limit[kind[i]]


@njit(cache=True, nogil=True)
def keep_away(near, place, measured, kept, sums):  # type: ignore[no-untyped-def]
    """Set ``kept`` where a voxel is not ``near`` and of a class; ``sums`` [class, 4] of what is kept.

    ``measured`` are radius and value; the sums are number, radii, values and squares of values.
    """
    far, kind, out = near.ravel(), place.ravel(), kept.ravel()
    radius, values = measured[0].ravel(), measured[1].ravel()
    sums[:] = 0.0
    for i in range(far.size):
        k = kind[i]
        out[i] = not far[i] and k < sums.shape[0]
        if out[i]:
            value = float(values[i])
            sums[k, 0] += 1.0
            sums[k, 1] += radius[i]
            sums[k, 2] += value
            sums[k, 3] += value * value
