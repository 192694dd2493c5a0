"""Compiled lower envelopes of parabolas along the lines of a volume."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def lower_envelope(field, spacing, places, found):  # type: ignore[no-untyped-def]
    """Least of field[a, b, i] + (x - x_i)^2 over i at the ``places`` x, rising, of every line: ``found`` [a, b, place].

    x_i = ``spacing`` i; inf in ``field`` stands for nothing. (Felzenszwalb and Huttenlocher, Theory Comput. 8, 415,
    2012.)
    """
    n = field.shape[2]
    own, ends, height = np.empty(n + 1), np.empty(n + 2), np.empty(n + 1)
    for a in range(field.shape[0]):
        for b in range(field.shape[1]):
            last = -1
            for i in range(n):
                here, x = float(field[a, b, i]), spacing * i
                if here == np.inf:
                    continue
                end = -np.inf
                while last >= 0:
                    end = 0.5 * ((here - height[last]) / (x - own[last]) + x + own[last])
                    if end > ends[last]:
                        break
                    last -= 1
                last += 1
                own[last], height[last], ends[last] = x, here, end if last > 0 else -np.inf
            ends[last + 1] = np.inf
            k = 0
            for j in range(places.size):
                while ends[k + 1] < places[j]:
                    k += 1
                found[a, b, j] = height[k] + (places[j] - own[k]) ** 2 if last >= 0 else np.inf
