"""Probabilities of many tests at once, corrected for their number.

References
----------
.. [1] S. Holm, Scand. J. Stat. 6 (1979) 65.
.. [2] Y. Benjamini, Y. Hochberg, J. R. Stat. Soc. B 57 (1995) 289.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


def holm(probability: ArrayLike) -> FloatArray:
    """Below a level, the chance of any false alarm among all of them is below it too [1]_.

    p(k) of rising order becomes the largest of (m - j + 1) p(j) up to j = k, at most 1. NaN stays and does not count.
    """
    return _adjusted(probability, lambda p: np.maximum.accumulate(p * np.arange(p.size, 0, -1)))


def false_discovery(probability: ArrayLike) -> FloatArray:
    """Share of false ones to be expected among the alarms, if this one is an alarm and all of lower probability [2]_.

    p(k) of rising order becomes the smallest of m p(j) / j from j = k on. NaN stays and does not count.
    """
    return _adjusted(probability, lambda p: np.minimum.accumulate((p * p.size / np.arange(1, p.size + 1))[::-1])[::-1])


def _adjusted(probability: ArrayLike, rule: Callable[[FloatArray], FloatArray]) -> FloatArray:
    p = np.asarray(probability, dtype=np.float64)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    found = np.full(p.shape, np.nan)
    found[order] = np.minimum(rule(p[order]), 1.0)
    return found
