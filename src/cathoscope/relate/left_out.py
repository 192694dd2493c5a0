"""Predictions of what was left out, their scores, and what stands against them: a straight line between neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.special import ndtri

Floats = NDArray[np.float64]

LEVELS = (0.68, 0.95)


@dataclass(frozen=True)
class Bounds:
    """What is known of a number: median, intervals of `LEVELS` (level, 2), on which sides it is bounded (below, above).

    Bounded on both sides, the intervals are central. Bounded on one side, all go from the one-sided limit at 95 % to
    infinity: the limit is where the likelihood has fallen from its plateau to exp(-1.645²/2), and so does not depend on
    how far the plateau was followed; the median does. Bounded on none, they are infinite.
    """

    median: float
    interval: Floats
    bounded: tuple[bool, bool]


_BINS = (10, 20)
_IN_BIN = 25  # draws at least, on average
_ONE_SIDED = 0.26  # exp(-1.645²/2)
_OPEN = 0.3  # of the highest density, at the end of what was looked at


def bounds_of(values: ArrayLike, low: float, high: float, prior: ArrayLike | None = None) -> Bounds:
    """What equally likely ``values`` tell of a number that was looked for from ``low`` to ``high``.

    ``prior`` is the prior density at the values, up to a factor; even if not given.
    """
    drawn = np.asarray(values, dtype=np.float64)
    weight = np.ones(drawn.size) if prior is None else 1.0 / np.asarray(prior, dtype=np.float64)
    edges = np.linspace(low, high, int(np.clip(drawn.size / _IN_BIN, *_BINS)) + 1)
    density = np.histogram(drawn, edges, weights=weight)[0].astype(np.float64)
    density = np.convolve(np.pad(density, 1, mode="edge"), [0.25, 0.5, 0.25], mode="valid")
    density = density / density.max()
    bounded = bool(density[0] < _OPEN), bool(density[-1] < _OPEN)
    interval = np.array([[-np.inf, np.inf]] * len(LEVELS))
    if bounded == (True, True):
        interval = np.quantile(drawn, [[(1 - level) / 2, (1 + level) / 2] for level in LEVELS])
    elif bounded[0]:
        interval[:, 0] = _limit(density, edges)
    elif bounded[1]:
        interval[:, 1] = -_limit(density[::-1], -edges[::-1])
    return Bounds(float(np.median(drawn)), interval, bounded)


def _limit(density: Floats, edges: Floats) -> float:
    """Where a density, 1 at its highest, first rises above what a one-sided limit leaves out."""
    middle = 0.5 * (edges[1:] + edges[:-1])
    first = int(np.argmax(density > _ONE_SIDED))
    if first == 0:
        return float(edges[0])
    part = (_ONE_SIDED - density[first - 1]) / (density[first] - density[first - 1])
    return float(middle[first - 1] + part * (middle[first] - middle[first - 1]))


def interval_score(*, low: ArrayLike, high: ArrayLike, value: ArrayLike, level: float) -> Floats:
    """Width of a central interval plus 2/alpha times what a value lies beyond it; less is better.

    alpha = 1 - ``level``. Gneiting & Raftery, J. Am. Stat. Assoc. 102, 359 (2007), eq. 43: honest intervals score best.
    """
    lower, upper, found = (np.asarray(each, dtype=np.float64) for each in (low, high, value))
    beyond = np.maximum(lower - found, 0.0) + np.maximum(found - upper, 0.0)
    return np.asarray(upper - lower + 2 / (1 - level) * beyond)


def central(draws: ArrayLike, std: float, level: float, rng: np.random.Generator) -> tuple[float, float]:
    """Central interval of a value whose truth is drawn, measured with the standard uncertainty ``std``."""
    values = np.asarray(draws, dtype=np.float64)
    values = values + std * rng.standard_normal(values.shape)
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def straight_line(temperature: Sequence[float], mean: ArrayLike, std: ArrayLike, hold: int) -> tuple[float, float]:
    """Value and standard uncertainty at an inner ``hold`` from a straight line between its neighbours.

    How far a curve strays from its chords the other holds tell: between two of them it is a Brownian bridge of the
    variance rate mean(step² / kelvin) of the steps that are seen, the honest interval of one who knows no law.
    """
    places, values, stds = (np.delete(np.asarray(each, dtype=np.float64), hold) for each in (temperature, mean, std))
    left, right = places[hold - 1], places[hold]
    part = (temperature[hold] - left) / (right - left)
    value = (1 - part) * values[hold - 1] + part * values[hold]
    measured = ((1 - part) * stds[hold - 1]) ** 2 + (part * stds[hold]) ** 2
    rate = float(np.mean(np.diff(values) ** 2 / np.diff(places)))
    return float(value), float(np.sqrt(measured + rate * part * (1 - part) * (right - left)))


def normal_interval(value: float, std: float, level: float) -> tuple[float, float]:
    """Central interval of a normal distribution."""
    half = float(ndtri(0.5 + level / 2)) * std
    return value - half, value + half


def discrepancy_from_residuals(residuals: ArrayLike, stds: ArrayLike) -> float:
    """Standard deviation that predictions lack: the most likely one, given residuals and their stated uncertainties.

    Maximum of sum log N(r; 0, s² + x²), so that residuals of predictions that are wide anyway hardly count.
    """
    squares = np.asarray(residuals, dtype=np.float64) ** 2
    variances = np.asarray(stds, dtype=np.float64) ** 2

    def lost(extra: float) -> float:
        """Minus twice the log likelihood."""
        total = variances + extra**2
        return float(np.sum(squares / total + np.log(total)))

    most = float(np.sqrt(squares.max()))
    if most == 0:
        return 0.0
    found = minimize_scalar(lost, bounds=(0.0, most), method="bounded").x
    return float(found) if lost(float(found)) < lost(0.0) else 0.0
