"""Standard deviation of normal noise, told by a median: a few values far off do not count."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

MAD_TO_STD = 1.4826
"""Standard deviation of a normal distribution over the median of its absolute deviations: 1 / 0.67449."""

SECOND_DIFFERENCE = float(np.sqrt(6.0))
"""Standard deviation of second differences of white noise over that of the noise: the root of 1 + 4 + 1."""


def robust_std(deviations: ArrayLike) -> float:
    """Standard deviation of normal values, in their unit, by their ``deviations`` from a middle that is known.

    Subtract the median first where the middle is not known. Half of the values may be arbitrarily far off.
    """
    return MAD_TO_STD * float(np.median(np.abs(deviations)))


def robust_std_along(deviations: ArrayLike, axis: int, *, keepdims: bool = False) -> NDArray[np.float64]:
    """`robust_std` along one axis."""
    return np.asarray(MAD_TO_STD * np.median(np.abs(deviations), axis=axis, keepdims=keepdims), dtype=np.float64)


def robust_std_about_median(values: ArrayLike) -> float:
    """`robust_std` of values whose middle is not known: their deviations from their median."""
    given = np.asarray(values)
    return robust_std(given - np.median(given))
