"""The points of a pattern, and the intervals on which the far wings of its peaks are polynomials.

A Lorentzian never ends: cut at 25 full widths it loses 0.7 % of its intensity, at 50 still 0.25 %. So it is not cut.
Far from a peak its wing is smooth, and the farther the smoother. The points of a pattern are halved again and again
into intervals; on an interval that is at least as far from a peak as it is long, the wing of the peak is a polynomial
through eight Chebyshev points with an error of some 1e-6 of the wing. The wings of all peaks are summed there, and
the sums are handed down from interval to interval to the points. A peak costs some hundred values instead of
thousands.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cathoscope.core.errors import MeasurementError

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

NODES = 8
"""Chebyshev points of an interval."""

_LEAF = 24  # points of the smallest intervals
_CHEBYSHEV = np.cos(np.pi * (2 * np.arange(NODES) + 1) / (2 * NODES))


class Intervals(NamedTuple):
    """The tree of intervals; interval 0 holds all points, and children come after their parents."""

    x: Array
    first: Indices
    last: Indices
    child: Indices
    """First of two children, which are neighbours; 0: none."""
    centre: Array
    half: Array
    nodes: Array
    """Where its Chebyshev points are, [interval, NODES]."""


@dataclass(frozen=True)
class Grid:
    """Where a pattern is wanted.

    Attributes
    ----------
    x
        Time of flight (us) or two theta (deg) of its points, increasing.
    intervals
        The tree of intervals.
    parent
        Of every interval; its own number for the first.
    down
        From values at the Chebyshev points of the parent to those of the interval, [interval, NODES, NODES].
    leaf, spread
        Smallest interval that holds a point, and from its Chebyshev points to the point, [point], [point, NODES].
    """

    x: Array
    intervals: Intervals = field(repr=False)
    parent: Indices = field(repr=False)
    down: Array = field(repr=False)
    leaf: Indices = field(repr=False)
    spread: Array = field(repr=False)


def grid_of(x: ArrayLike) -> Grid:
    """The grid of the points ``x`` (n,): us or deg, finite and increasing; gaps may be anywhere.

    Make it once for a pattern and use it for every evaluation.

    Raises
    ------
    MeasurementError
        If there are no points, or they do not increase.
    """
    points = np.ascontiguousarray(x, dtype=np.float64)
    if points.ndim != 1 or points.size == 0 or not np.all(np.isfinite(points)) or np.any(np.diff(points) <= 0):
        raise MeasurementError(
            "the points of a pattern do not increase",
            expected="one or more finite values, each larger than the one before",
            found=f"{points.size} values" if points.size < 2 else f"a step of {np.min(np.diff(points)):g}",
            cure="sort the points and join those at one place",
        )
    first, last, parent, child = _halved(points.size)
    low, high = points[first], points[last - 1]
    centre, half = 0.5 * (low + high), np.maximum(0.5 * (high - low), 1e-12 * np.abs(high) + 1e-300)
    nodes = centre[:, None] + half[:, None] * _CHEBYSHEV
    down = _through((nodes - centre[parent, None]) / half[parent, None])
    leaf = np.repeat(np.flatnonzero(child == 0), (last - first)[child == 0])
    spread = np.empty((0, NODES))
    leaf = leaf[np.argsort(np.concatenate([np.arange(first[k], last[k]) for k in np.flatnonzero(child == 0)]))]
    spread = _through((points - centre[leaf]) / half[leaf])
    return Grid(points, Intervals(points, first, last, child, centre, half, nodes), parent, down, leaf, spread)


def _halved(size: int) -> tuple[Indices, Indices, Indices, Indices]:
    """First and last point, parent and first child of the intervals of ``size`` points, level by level."""
    spans, parent, child = [(0, size)], [0], [0]
    k = 0
    while k < len(spans):
        begin, end = spans[k]
        if end - begin > _LEAF:
            middle = (begin + end) // 2
            child[k] = len(spans)
            spans += [(begin, middle), (middle, end)]
            parent += [k, k]
            child += [0, 0]
        k += 1
    first, last = np.array(spans, dtype=np.int64).T
    return first.copy(), last.copy(), np.array(parent, dtype=np.int64), np.array(child, dtype=np.int64)


def _through(u: Array) -> Array:
    """Values at ``u`` (...), in -1 to 1, of the polynomials that are 1 at one Chebyshev point and 0 at the others."""
    k = np.arange(1, NODES)
    at_nodes = np.cos(k * np.arccos(_CHEBYSHEV)[:, None])
    at_points = np.cos(k * np.arccos(np.clip(u, -1, 1))[..., None])
    return np.asarray((1 + 2 * at_points @ at_nodes.T) / NODES)
