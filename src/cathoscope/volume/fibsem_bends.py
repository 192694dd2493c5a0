"""What the paths of walls say about drift and about the heights of slices.

A wall that inclines moves at a steady speed b per slice. In slice n + k a window that was followed along its steepest
gradient e (`fibsem_tracks`) has moved by

    u(k) = a + b (k + h(n + k) - h(n)) + c k² + e . (x(n + k) - x(n)) + noise

x is the drift and h how much later (in slices) than an even cut the slice was cut: a slice that is thicker moves every
wall by its own speed times the excess, which would else be taken for drift. Place a and speed b are the window's own,
so that a constant drift is never told from walls. The bend c is of Cauchy's distribution about 0: most walls are
nearly plane, and these tell the slow motions; few are bent by much, and they tell little. With a, b and c eliminated
this is least squares for x and h of all slices together; places that do not fit count less (Student's distribution).

Windows overlap, so that the errors of neighbours are alike. How much the equations say is therefore taken from parts
of the section that are solved against each other: the scatter of what they say about the slowest motions, over what it
would be if all windows were independent, divides the information. A wall runs on into the next parts, so that parts are
not independent either: that counts four times. And the likelihood of Cauchy's distribution is, at its own scatter,
half as curved as weighted squares are, so that the variance is four times as large.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cathoscope.volume.fibsem_tracks import PARTS, Tracks

Float64Array = NDArray[np.float64]

_PASSES, _FREEDOM = 6, 4.0  # of the solution; of Student's distribution
_FEWEST = 5  # slices in which a window has to be seen
_LONGEST = 0.75  # quantile of the spans of windows from which bends are seen
_UNEVEN = 0.15  # standard deviation of the thickness of a slice, relative: no instrument is known to cut more evenly
_AWAY = 3.0  # slices that a height may be off the even cut
_SLOWEST = 8  # motions whose scatter tells how independent windows are
_NOTHING = 1e-9  # of the largest eigenvalue: motions of which nothing is known
_LEAST_TRACKS = 50
_FINEST = 0.01  # px, to which a window is followed: no path is better known
_SHARED = 4.0  # parts that the same wall runs through
_FLATTER = 4.0  # Cauchy's likelihood is half as curved as its weights say: a variance is that much larger


class Bends(NamedTuple):
    """Information on (row, column, height) of the first slice, of the second, ..., [3 slices, 3 slices], px⁻² and per
    slice; its product with them; how many tracks; and by how much overlapping windows divided it.
    """

    information: Float64Array
    product: Float64Array
    tracks: int
    alike: float


class _Own(NamedTuple):
    """Polynomials of each window [3, window, slice], orthogonal to each other under its weights [window, slice]; their
    squares' sums [3, window], to which that of the bend has its prior added.
    """

    polynomials: Float64Array
    weight: Float64Array
    norm: Float64Array


def uneven_steps(count: int) -> Float64Array:
    """Prior information on the heights of ``count`` slices whose thickness is uneven, [slice, slice]."""
    step = np.diff(np.eye(count), axis=0)
    return np.asarray(step.T @ step / _UNEVEN**2 + np.eye(count) / _AWAY**2)


def bends_of(tracks: Tracks, count: int) -> Bends:
    """What all tracks say about the positions and heights of ``count`` slices; nothing, if there are too few."""
    tracks = Tracks(*(part[tracks.seen.sum(axis=1) >= _FEWEST] for part in tracks))
    if len(tracks.first) < _LEAST_TRACKS:
        return Bends(np.zeros((3 * count, 3 * count)), np.zeros(3 * count), 0, 1.0)
    weight, stiffness = np.ones(tracks.along.shape), np.ones(len(tracks.first))
    speed, found = np.zeros(len(tracks.first)), np.zeros((count, 3))
    alike, normal, right = 1.0, np.zeros(0), np.zeros(0)
    for number in range(_PASSES):
        own = _own(tracks, weight, stiffness)
        left = _left(tracks, speed, found)
        coefficients = _coefficients(own, left)
        speed = coefficients[1]
        normal, right = _equations(tracks, own, speed, tracks.along, count)
        found, alike = _solved(tracks, own, speed, (normal, right.sum(axis=0)), alike if number else None)
        if number < _PASSES - 1:
            weight, stiffness = _weights(tracks, own, _left(tracks, speed, found))
    return Bends(normal / alike, right.sum(axis=0) / alike, len(tracks.first), alike)


def _own(tracks: Tracks, weight: Float64Array, stiffness: Float64Array) -> _Own:
    """Constant, line and parabola of every window under its weights."""
    weight = np.where(tracks.seen, weight, 0.0)
    k = np.arange(weight.shape[1], dtype=np.float64)
    polynomials = np.zeros((3, *weight.shape))
    norm = np.zeros((3, len(weight)))
    for power in range(3):
        one = np.broadcast_to((k - k.mean()) ** power, weight.shape).copy()
        for lower in range(power):
            share = np.sum(weight * one * polynomials[lower], axis=1) / np.maximum(norm[lower], 1e-12)
            one -= share[:, None] * polynomials[lower]
        polynomials[power], norm[power] = one, np.sum(weight * one**2, axis=1)
    norm[2] += stiffness
    return _Own(polynomials, weight, norm)


def _coefficients(own: _Own, left: Float64Array) -> Float64Array:
    """Place, speed and bend of every window from displacements [window, slice], [3, window]."""
    return np.asarray(np.sum(own.weight * own.polynomials * left, axis=2) / own.norm)


def _design(tracks: Tracks, speed: Float64Array) -> Float64Array:
    """Displacement of a window per px of its slice's row and column and per slice of its height, [window, 3]."""
    return np.concatenate([tracks.direction, speed[:, None]], axis=1)


def _left(tracks: Tracks, speed: Float64Array, found: Float64Array) -> Float64Array:
    """Displacements less those by the positions and heights found [slice, 3], [window, slice]."""
    padded = np.concatenate([found, np.zeros((tracks.along.shape[1], 3))])
    place = tracks.first[:, None] + np.arange(tracks.along.shape[1])
    return np.asarray(tracks.along - np.einsum("pna,pa->pn", padded[place], _design(tracks, speed)))


def _equations(
    tracks: Tracks, own: _Own, speed: Float64Array, along: Float64Array, count: int
) -> tuple[Float64Array, Float64Array]:
    """Normal matrix [3 slices, 3 slices] and right side by parts of the section [part, 3 slices].

    A window says weight (1 - P), P projecting on what is its own: the sum over windows of one first slice at a time.
    """
    width = along.shape[1]
    design = _design(tracks, speed)
    normal = np.zeros((3 * (count + width), 3 * (count + width)))
    right = np.zeros((PARTS**2, 3 * (count + width)))
    rest = own.weight * (along - np.einsum("bpn,bp->pn", own.polynomials, _coefficients(own, along)))
    projected = own.weight * own.polynomials / np.sqrt(own.norm)[:, :, None]
    for first in np.unique(tracks.first):
        mine = np.flatnonzero(tracks.first == first)
        at = slice(3 * first, 3 * (first + width))
        d = design[mine]
        vectors = (projected[:, mine, :, None] * d[None, :, None, :]).reshape(-1, 3 * width)
        block = -vectors.T @ vectors
        alone = np.einsum("pn,pa,pb->nab", own.weight[mine], d, d)
        for k in range(width):
            block[3 * k : 3 * k + 3, 3 * k : 3 * k + 3] += alone[k]
        normal[at, at] += block
        says = (rest[mine, :, None] * d[:, None, :]).reshape(len(mine), -1)
        np.add.at(right[:, at], tracks.part[mine], says)
    return normal[: 3 * count, : 3 * count], right[:, : 3 * count]


def _solved(
    tracks: Tracks, own: _Own, speed: Float64Array, equations: tuple[Float64Array, Float64Array], alike: float | None
) -> tuple[Float64Array, float]:
    """Positions and heights [slice, 3], and what the scatter of the parts divides the information by."""
    normal, right = equations
    count = len(right) // 3
    height = np.arange(3 * count) % 3 == 2
    if alike is None:  # a guess, which only the prior of the heights depends on
        rest = _left(tracks, speed, np.zeros((count, 3)))
        rest = rest - np.einsum("bpn,bp->pn", own.polynomials, _coefficients(own, rest))
        alike = 30 * _scale(rest[tracks.seen]) ** 2
    matrix = normal[np.ix_(height, height)] + alike * uneven_steps(count)
    beside = np.linalg.solve(matrix, normal[np.ix_(height, ~height)]).T
    position = normal[np.ix_(~height, ~height)] - beside @ normal[np.ix_(height, ~height)]
    known = np.trace(position) / len(position) * _NOTHING * np.eye(len(position))
    found = np.zeros(3 * count)
    found[~height] = np.linalg.solve(position + known, right[~height] - beside @ right[height])
    found[height] = np.linalg.solve(matrix, right[height] - normal[np.ix_(height, ~height)] @ found[~height])
    result = found.reshape(count, 3)
    score = _equations(tracks, own, speed, _left(tracks, speed, result), count)[1]
    return result, _alike(position, score[:, ~height] - score[:, height] @ beside.T)


def _weights(tracks: Tracks, own: _Own, left: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Weights [window, slice] by what is left beside each window's own motion, and the prior of its bend [window]."""
    coefficients = _coefficients(own, left)
    rest = left - np.einsum("bpn,bp->pn", own.polynomials, coefficients)
    noise = _scale(rest[tracks.seen])
    weight = (_FREEDOM + 1) / (_FREEDOM + (rest / noise) ** 2)
    free = np.maximum(np.sum(own.weight * own.polynomials[2] ** 2, axis=1), 1e-12)
    measured = np.abs(coefficients[2]) * own.norm[2] / free
    span = tracks.seen.sum(axis=1)
    usual = max(float(np.median(measured[span >= np.quantile(span, _LONGEST)])), 1e-6)
    square = coefficients[2] ** 2 + noise**2 / own.norm[2]
    return np.asarray(weight), np.asarray(2 / (1 + square / usual**2) * (noise / usual) ** 2)


def _scale(values: Float64Array) -> float:
    """Standard deviation from the median of absolute values."""
    return max(float(np.median(np.abs(values))) / 0.6745, 0.1 * _FINEST)


def _alike(normal: Float64Array, score: Float64Array) -> float:
    """Variance of the parts' scores along the slowest motions that are known, over that of a unit of information."""
    value, vector = np.linalg.eigh(normal)
    slowest = np.flatnonzero(value > 100 * _NOTHING * value[-1])[:_SLOWEST]
    scatter = np.sum((score @ vector[:, slowest]) ** 2, axis=0) * len(score) / (len(score) - 1)
    return max(_FLATTER * _SHARED * float(np.mean(scatter / value[slowest])), _FINEST**2)
