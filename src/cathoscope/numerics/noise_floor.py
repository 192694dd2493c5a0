"""What noise alone makes of the singular values of a table, so that what rises above it can be counted.

References
----------
.. [1] I. M. Johnstone, Ann. Stat. 29 (2001) 295.
.. [2] M. Gavish, D. L. Donoho, IEEE Trans. Inf. Theory 60 (2014) 5040.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cathoscope.numerics.spread import robust_std_along

FloatArray = NDArray[np.floating]
Float64Array = NDArray[np.float64]

_TRACY_WIDOM_999 = 3.2724  # 99.9 % point of the Tracy-Widom distribution of order 1 [1]_

_FEWEST_COLUMNS = 6  # what fewer have in common cannot be told from what one has alone
_FEWEST_SAMPLES = 200
_REFINEMENTS = 6
_LEAST_KEPT = 0.3  # share of a column's noise that must be left beside what is shared


def separable_noise(noise: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Pixel factor [pixel, 1] and energy factor [energy] whose product is closest to the noise in the logarithm."""
    logarithm = np.log(noise)
    energy_factor = logarithm.mean(axis=0)
    return np.exp(np.mean(logarithm - energy_factor, axis=1, keepdims=True)), np.exp(energy_factor)


def singular_value_floor(n: int, p: int, length: int) -> Float64Array:
    """99.9 % point of the largest singular value of unit noise, [component], for the rank left by those before [1]_.

    ``n`` and ``p`` are rows and columns of the table, ``length`` the number of components.
    """
    taken = np.arange(length)
    rows, columns = np.sqrt(np.maximum(n - taken - 1, 1)), np.sqrt(np.maximum(p - taken, 1))
    spread = (rows + columns) * (1.0 / rows + 1.0 / columns) ** (1.0 / 3.0)
    return np.asarray(np.sqrt((rows + columns) ** 2 + _TRACY_WIDOM_999 * spread), dtype=np.float64)


def noise_scale_of(values: Float64Array, floor: Float64Array, n: int, p: int) -> float:
    """Noise relative to the stated one, from the median singular value below the floor, until their number settles.

    The median of noise lies at that of the Marchenko-Pastur law [2]_. ``values`` are singular values, descending.
    """
    count, scale = 0, 1.0
    for _ in range(20):
        rest = values[count:]
        scale = float(np.median(rest) / np.sqrt(_marchenko_pastur_median(n - count, p - count)))
        above = values > floor * scale
        found = min(int(np.argmin(above)) if not above.all() else 0, values.size // 2)
        if found == count:
            break
        count = found
    return scale


def noise_apart_from_shared(table: FloatArray) -> Float64Array:
    """Noise of every column of ``table`` [sample, column] beside what columns have in common, [column].

    Differences of half-sets hold noise, which no two energies share, and streaks of few angles, which all of them have
    and of which the sum of both halves is free. This is factor analysis: one pattern of samples after another is taken
    off, in units of the noise that it leaves, until none rises above the floor of noise. A column that is mostly shared
    keeps its whole spread, as do all where there are fewer than six.
    """
    values = np.asarray(table, dtype=np.float64)
    whole = robust_std_along(values, 0)
    n, p = values.shape
    if p < _FEWEST_COLUMNS or n < _FEWEST_SAMPLES or not (whole > 0).all():
        return whole
    floor, noise = singular_value_floor(n, p, p), whole
    for count in range(p // 3):
        noise = _noise_beside(values, whole, noise, count)
        white = values / noise
        if np.sqrt(np.linalg.eigvalsh(white.T @ white)[-1 - count]) <= floor[count]:
            break
    return noise


def _noise_beside(values: Float64Array, whole: Float64Array, noise: Float64Array, count: int) -> Float64Array:
    """Spread [column] that ``count`` patterns leave of each column, set right for the noise that goes with them."""
    for _ in range(_REFINEMENTS if count else 0):
        white = values / noise
        shared = np.linalg.eigh(white.T @ white)[1][:, -count:]
        kept = 1.0 - (shared**2).sum(axis=1)
        rest = noise * robust_std_along(white - (white @ shared) @ shared.T, 0) / np.sqrt(np.maximum(kept, _LEAST_KEPT))
        noise = np.where(kept > _LEAST_KEPT, rest, whole)
    return noise


def _marchenko_pastur_median(n: int, p: int) -> float:
    """Median of the nonzero eigenvalues of N'N for unit noise N of n x p."""
    small, large = min(n, p), max(n, p)
    ratio = small / large
    low, high = (1 - np.sqrt(ratio)) ** 2, (1 + np.sqrt(ratio)) ** 2
    # x = low + (high - low) sin^2(a) takes the square-root ends out of the density
    angle = np.linspace(0.0, np.pi / 2, 2001)
    x = low + (high - low) * np.sin(angle) ** 2
    density = np.sin(2 * angle) ** 2 / np.maximum(x, 1e-12)
    cumulative = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    return float(large * np.interp(0.5 * cumulative[-1], cumulative, x))
