"""After how many cycles one sample is as porous as another is after fewer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Reached:
    """Cycle at which a curve reaches a level, with its 68 % interval; NaN or infinite where it does not."""

    cycle: float
    low: float
    high: float


def cycle_reaching(
    *, cycle: ArrayLike, curve: ArrayLike, curve_std: ArrayLike, level: float, level_std: float
) -> Reached:
    """Where a rising ``curve [cycle]`` with its standard uncertainty first reaches ``level``.

    The ends are where the curve, moved up and down by the standard uncertainty of its distance to the level, does: for
    a straight curve value ± (curve_std² + level_std²)^½ / slope. ``low`` is the first cycle, and ``high`` infinite,
    where the curve moved so reaches the level before its first point or not at all.
    """
    x = np.asarray(cycle, dtype=np.float64)
    y, s = np.broadcast_arrays(np.asarray(curve, dtype=np.float64), np.asarray(curve_std, dtype=np.float64))
    known = np.isfinite(y) & np.isfinite(s)
    x, y, s = x[known], y[known], np.hypot(s[known], level_std)
    if x.size < 2:
        return Reached(np.nan, np.nan, np.nan)
    value, low, high = (_first(x, y + move * s, level) for move in (0.0, 1.0, -1.0))
    return Reached(np.nan if np.isinf(value) else value, low, high)


def _first(x: FloatArray, y: FloatArray, level: float) -> float:
    """The first place at which ``y`` is at ``level`` or above, on straight lines between points."""
    above = np.flatnonzero(y >= level)
    if not above.size:
        return np.inf
    place = int(above[0])
    if place == 0:
        return float(x[0])
    share = (level - y[place - 1]) / (y[place] - y[place - 1])
    return float(x[place - 1] + share * (x[place] - x[place - 1]))
