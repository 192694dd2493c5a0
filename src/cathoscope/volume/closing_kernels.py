"""Compiled lower envelopes of parabolas along the lines of a volume."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def lower_envelope(field, spacing, places, limit, found):  # type: ignore[no-untyped-def]
    """Least of field[a, b, i] + (x - x_i)^2 over i at the ``places`` x, rising, of every line: ``found`` [a, b, place].

    x_i = ``spacing`` i; values in ``field`` from ``limit`` on stand for nothing, and where there is nothing inf is.
    (Felzenszwalb and Huttenlocher, Theory Comput. 8, 415, 2012.)
    """
    n = field.shape[2]
    own, ends, height = np.empty(n + 1), np.empty(n + 2), np.empty(n + 1)
    for a in range(field.shape[0]):
        for b in range(field.shape[1]):
            last = -1
            for i in range(n):
                here, x = float(field[a, b, i]), spacing * i
                if here >= limit:
                    continue
                end = -np.inf
                while last >= 0:
                    end = 0.5 * ((here - height[last]) / (x - own[last]) + x + own[last])
                    if end > ends[last]:
                        break
                    last -= 1
                last += 1
                own[last], height[last], ends[last] = x, here, end if last > 0 else -np.inf
            if last < 0:
                for j in range(places.size):
                    found[a, b, j] = np.inf
                continue
            ends[last + 1] = np.inf
            k = 0
            for j in range(places.size):
                while ends[k + 1] < places[j]:
                    k += 1
                found[a, b, j] = height[k] + (places[j] - own[k]) ** 2


@njit(cache=True, nogil=True)
def mark_untouched(field, pitch, margin, untouched):  # type: ignore[no-untyped-def]
    """Set ``untouched`` [a, b, j] False where field[a, b, i] + (x - x_i)^2 <= 0 for an i, True elsewhere.

    x = ``pitch`` (j + ``margin``), x_i = 2 ``pitch`` i: what intervals around the x_i cover, from the left and from the
    right.
    """
    n, m = field.shape[2], untouched.shape[2]
    for a in range(field.shape[0]):
        for b in range(field.shape[1]):
            out, j, last = untouched[a, b], 0, -1.0
            for i in range(n):
                here, centre = field[a, b, i], 2 * i - margin
                while j < min(centre, m):
                    out[j] = j > last
                    j += 1
                if here <= 0:
                    last = max(last, centre + np.sqrt(-here) / pitch)
            while j < m:
                out[j] = j > last
                j += 1
            first = np.inf
            for i in range(n - 1, -1, -1):
                here, centre = field[a, b, i], 2 * i - margin
                if here <= 0:
                    first = min(first, centre - np.sqrt(-here) / pitch)
                for j in (centre, centre - 1):
                    if 0 <= j < m and j >= first:
                        out[j] = False
