"""What the paths of walls say about drift and about the heights of slices.

A wall that inclines moves at a speed b per slice, which changes little. In slice n + k a window that was followed along
its steepest gradient e (`fibsem_tracks`) has moved by

    u(k) = a + b (k + h(n + k) - h(n)) + s g(k) + e . (x(n + k) - x(n)) + noise

x is the drift and h how much later (in slices) than an even cut the slice was cut: a slice that is thicker moves every
wall by its own speed times the excess, which would else be taken for drift. Place a and speed b are the window's own,
so that a constant drift is never told from walls. g is how walls bend: the speed walks at random (a cubic smoothing
spline [1]_), so that a wall may be followed as long as it is seen. How much, s, is each window's own, of Cauchy's
distribution about 0: most walls are nearly plane, and these tell the slow motions; few are bent by much, and they tell
little. Places that do not fit count less (Student's distribution).

x and h are solved with all else that is known of them, so that s is not what the drift, unknown as it is, could take
over: the expectation of g² over the joint distribution gives s, and s the next distribution [2]_.

Windows are not independent. As many as see the same pixel, v, share its errors; and the windows of one wall
(`fibsem_same_wall`), m of them in a slice, share its bends, however many there are. What each says is divided by
v + 2 m, the 2 for bends that are a wall's rather than a window's.

References
----------
.. [1] G. Wahba, J. R. Statist. Soc. B 40 (1978) 364.
.. [2] A. P. Dempster, N. M. Laird, D. B. Rubin, J. R. Statist. Soc. B 39 (1977) 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cathoscope.volume.fibsem_same_wall import windows_on_wall
from cathoscope.volume.fibsem_tracks import Tracks

Float64Array = NDArray[np.float64]
Settle = Callable[[Float64Array, Float64Array], tuple[Float64Array, Float64Array]]
"""Positions and heights [slice, 3] and their covariance [3 slices, 3 slices], from information and its product."""

_PASSES, _FREEDOM = 8, 4.0  # of the solution; of Student's distribution
_FEWEST = 5  # slices in which a window has to be seen
_BENDS = 8  # independent parts of a bend
_UNEVEN = 0.15  # standard deviation of the thickness of a slice, relative: no instrument is known to cut more evenly
_AWAY = 3.0  # slices that a height may be off the even cut
_LEAST_TRACKS = 50
_FINEST = 0.001  # px: no path is better known
_FASTEST = 4.0  # px per slice
_SHARED = 2.0  # variance of the bends that the windows of a wall share, over that of each one's own
_NOISE, _SCALE = 0.07, 0.01  # px and px per slice^1.5, where the search begins


class Bends(NamedTuple):
    """Information on (row, column, height) of the first slice, of the second, ..., [3 slices, 3 slices], px⁻² and per
    slice; its product with them; how many tracks; noise of a window, px; and by how much each was divided, mean.
    """

    information: Float64Array
    product: Float64Array
    tracks: int
    noise: float
    shared: float


@dataclass
class _Paths:
    """What is known of the windows: weights [window, slice], scale s² of the bend and speed [window], noise, px."""

    weight: Float64Array
    square: Float64Array
    speed: Float64Array
    noise: float
    usual: float


def uneven_steps(count: int) -> Float64Array:
    """Prior information on the heights of ``count`` slices whose thickness is uneven, [slice, slice]."""
    step = np.diff(np.eye(count), axis=0)
    return np.asarray(step.T @ step / _UNEVEN**2 + np.eye(count) / _AWAY**2)


def bends_of(tracks: Tracks, count: int, settle: Settle) -> Bends:
    """What all tracks say about the positions and heights of ``count`` slices; nothing, if there are too few.

    ``settle`` solves for both with whatever else is known.
    """
    tracks = Tracks(*(part[tracks.seen.sum(axis=1) >= _FEWEST] for part in tracks))
    windows = len(tracks.first)
    if windows < _LEAST_TRACKS:
        return Bends(np.zeros((3 * count, 3 * count)), np.zeros(3 * count), 0, np.nan, 1.0)
    basis = _Basis.of(tracks.along.shape[1])
    shared = tracks.overlap + _SHARED * windows_on_wall(tracks.wall, tracks.first, tracks.seen)
    paths = _Paths(tracks.seen.astype(np.float64), np.full(windows, _SCALE**2), np.zeros(windows), _NOISE, _SCALE)
    for number in range(_PASSES):
        information, product = _equations(tracks, basis, paths, shared, count)
        if number < _PASSES - 1:
            paths = _told(tracks, basis, paths, shared, settle(information, product))
    return Bends(information, product, windows, paths.noise, float(np.mean(shared)))


class _Basis(NamedTuple):
    """Constant, line and bends [2 + bend, slice], orthogonal, and the variances of the bends for s = 1, [bend]."""

    parts: Float64Array
    variance: Float64Array

    @staticmethod
    def of(width: int) -> _Basis:
        """Largest parts of a speed that walks at random, beside the line."""
        k = np.arange(width, dtype=np.float64)
        early, late = np.minimum.outer(k, k), np.maximum.outer(k, k)
        line = np.stack([np.ones(width), k - k.mean()])
        beside = np.eye(width) - np.linalg.pinv(line) @ line
        value, vector = np.linalg.eigh(beside @ (early**2 * (3 * late - early) / 6) @ beside)
        largest = np.argsort(value)[::-1][:_BENDS]
        return _Basis(np.concatenate([line, vector[:, largest].T]), value[largest])


class _Own(NamedTuple):
    """Of some windows: covariance of place, speed and bends [window, part, part], and the basis under the weights
    [window, part, slice].
    """

    covariance: Float64Array
    weighted: Float64Array

    def parts(self, moved: Float64Array) -> Float64Array:
        """Place, speed and bends from displacements [window, slice], [window, part]."""
        return np.asarray((self.covariance @ (self.weighted @ moved[..., None]))[..., 0])


def _own(mine: NDArray[np.int64], basis: _Basis, paths: _Paths) -> _Own:
    """Of windows ``mine``, in units of the noise."""
    weighted = paths.weight[mine, None, :] * basis.parts
    matrix = weighted @ basis.parts.T
    bend = np.arange(2, len(basis.parts))
    matrix[:, bend, bend] += paths.noise**2 / (paths.square[mine, None] * basis.variance)
    return _Own(np.asarray(np.linalg.inv(matrix), dtype=np.float64), weighted)


def _design(tracks: Tracks, mine: NDArray[np.int64], paths: _Paths) -> Float64Array:
    """Displacement of windows per px of a slice's row and column and per slice of its height, [window, 3]."""
    return np.concatenate([tracks.direction[mine], paths.speed[mine, None]], axis=1)


def _equations(
    tracks: Tracks, basis: _Basis, paths: _Paths, shared: Float64Array, count: int
) -> tuple[Float64Array, Float64Array]:
    """Information on positions and heights [3 slices, 3 slices] and its product with them [3 slices].

    A window says weight (1 - P), P projecting on what is its own: the sum over windows of one first slice at a time.
    """
    width = tracks.along.shape[1]
    normal, right = np.zeros((3 * (count + width), 3 * (count + width))), np.zeros(3 * (count + width))
    for first in np.unique(tracks.first):
        mine = np.flatnonzero(tracks.first == first)
        own, d = _own(mine, basis, paths), _design(tracks, mine, paths)
        says = 1 / (shared[mine] * paths.noise**2)
        rest = paths.weight[mine] * (tracks.along[mine] - own.parts(tracks.along[mine]) @ basis.parts)
        root = np.linalg.cholesky(own.covariance)
        projected = root.transpose(0, 2, 1) @ own.weighted * np.sqrt(says)[:, None, None]
        vectors = (projected[..., None] * d[:, None, None, :]).reshape(-1, 3 * width)
        block = -vectors.T @ vectors
        alone = np.einsum("pn,pa,pb->nab", paths.weight[mine] * says[:, None], d, d, optimize=True)
        for k in range(width):
            block[3 * k : 3 * k + 3, 3 * k : 3 * k + 3] += alone[k]
        at = slice(3 * first, 3 * (first + width))
        normal[at, at] += block
        right[at] += (rest.T @ (says[:, None] * d)).ravel()
    return normal[: 3 * count, : 3 * count], right[: 3 * count]


def _told(
    tracks: Tracks,
    basis: _Basis,
    paths: _Paths,
    shared: Float64Array,
    settled: tuple[Float64Array, Float64Array],
) -> _Paths:
    """Weights, scales of the bends, speeds and noise by what positions and heights leave, their covariance allowed."""
    found, covariance = settled
    width = tracks.along.shape[1]
    padded = np.concatenate([found, np.zeros((width, 3))])
    wide = np.pad(covariance, (0, 3 * width))
    rest, speed = np.zeros(tracks.along.shape), np.zeros(len(tracks.first))
    square, taken = np.zeros(len(tracks.first)), 0.0
    for first in np.unique(tracks.first):
        mine = np.flatnonzero(tracks.first == first)
        own, d = _own(mine, basis, paths), _design(tracks, mine, paths)
        left = tracks.along[mine] - d @ padded[first : first + width].T
        parts = own.parts(left)
        rest[mine], speed[mine] = left - parts @ basis.parts, parts[:, 1]
        at = slice(3 * first, 3 * (first + width))
        gain = own.covariance @ own.weighted
        turned = (gain[:, 2:, :, None] * d[:, None, None, :]).reshape(-1, 3 * width)
        unknown = np.sum((turned @ wide[at, at]) * turned, axis=1).reshape(len(mine), -1)
        unknown += paths.noise**2 * np.einsum("pii->pi", own.covariance)[:, 2:]
        square[mine] = np.sum((parts[:, 2:] ** 2 + unknown) / basis.variance, axis=1)
        taken += float(np.sum(gain * basis.parts))
    free = max(1 - taken / float(paths.weight.sum()), 0.1)
    noise = max(float(np.median(np.abs(rest[tracks.seen]))) / 0.6745 / np.sqrt(free), _FINEST)
    weight = np.where(tracks.seen, (_FREEDOM + 1) / (_FREEDOM + (rest / noise) ** 2), 0.0)
    scale, usual = _scales(square, 1 / shared, paths.usual)
    return _Paths(weight, scale, np.clip(speed, -_FASTEST, _FASTEST), noise, usual)


def _scales(square: Float64Array, counts: Float64Array, usual: float) -> tuple[Float64Array, float]:
    """s² of every window from the expected sum of squares of its bends, and the scale of Cauchy's distribution."""
    inverse = np.zeros_like(square)
    for _ in range(5):
        inverse = (1 + _BENDS) / (usual**2 + square)
        usual = max(float(np.average(inverse, weights=counts) ** -0.5), 1e-6)
    return 1 / inverse, usual
