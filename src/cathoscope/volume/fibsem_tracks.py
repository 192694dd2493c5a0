"""What walls say about drift when they are followed over many slices.

A wall that inclines moves at a steady speed; what bends the paths of all walls alike is drift. Windows of a slice are
followed to the slices before and behind, each as far as its content is found again [1]_. Along the steepest gradient e
the displacement from slice n to n + k is

    u(k) = a + b k + e . (x(n + k) - x(n)) + noise

with a place and a speed of the window's own, so that a constant drift is never told from walls. With a and b eliminated
this is least squares for the positions x of all slices; places that do not fit count less (Student's distribution).

Windows overlap and walls bend, so that the errors of neighbours are alike. How much the equations say is therefore
taken from parts of the section that are solved against each other: the scatter of what they say about the slowest
motions, over what it would be if all windows were independent, divides the information. A wall runs on into the next
part, so that parts are not independent either: that counts twice.

References
----------
.. [1] B. D. Lucas, T. Kanade, Proc. 7th IJCAI (1981) 674.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cathoscope.volume.fibsem_tracks_kernels import add_windows, follow

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_REACH = 12  # slices followed to either side
HALF_WINDOW = 7
"""px from the middle of a window to its edge."""
_STRIDE = 2  # slices between those whose windows are followed
_MOST = 400  # windows of a slice
_FEWEST = 5  # slices in which a window has to be seen
_BOTH = 0.25  # of the steepest gradient's information: the direction across counts as well
_WEIGHTINGS, _FREEDOM = 4, 4.0  # of Student's distribution
_PARTS = 4  # along each edge of the field
_SLOWEST = 8  # motions whose scatter tells how independent windows are
_NOTHING = 1e-9  # of the largest eigenvalue: motions of which nothing is known
_LEAST_TRACKS = 50
_SHARED = 2.0  # parts that the same wall runs through


class Tracks(NamedTuple):
    """Windows that were followed: number of the slice of the first entry [window], displacement along ``direction``
    [window, 2] in every slice around, px, [window, slice], whether it was seen there, and the part of the section.
    """

    first: NDArray[np.int64]
    along: Float64Array
    direction: Float64Array
    seen: BoolArray
    part: NDArray[np.int64]


class Bends(NamedTuple):
    """Information on the positions of all slices (row, column of the first, of the second, ...), [2 slices, 2 slices],
    px⁻²; its product with them; how many tracks; and by how much overlapping windows and bent walls divided it.
    """

    information: Float64Array
    product: Float64Array
    tracks: int
    alike: float


def wall_tracks(
    load: Callable[[int], Float32Array], within: Callable[[int], Float32Array], slices: Sequence[int]
) -> Tracks:
    """Windows of every other slice, followed to both sides.

    Parameters
    ----------
    load
        Smoothed slice n [row, column], outside 0 and solid 1, moved back by what is known of its drift. It is asked
        for once per slice, in rising order; 25 of them are held.
    within
        1 where windows of slice n may lie, [row, column].
    slices
        Rising numbers, without gaps.
    """
    held: dict[int, Float32Array] = {}
    parts = []
    for middle in slices[:: min(_STRIDE, len(slices))]:
        around = [n for n in range(middle - _REACH, middle + _REACH + 1) if slices[0] <= n <= slices[-1]]
        held = {n: held[n] if n in held else load(n) for n in around}
        found = _followed(np.stack(list(held.values())), around, middle, within(middle))
        if found is not None:
            parts.append(found)
    if not parts:
        return Tracks(*(np.zeros((0, *shape), kind) for shape, kind in _EMPTY))
    return Tracks(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


_EMPTY: tuple[tuple[tuple[int, ...], Any], ...] = (
    ((), np.int64),
    ((2 * _REACH + 1,), np.float64),
    ((2,), np.float64),
    ((2 * _REACH + 1,), np.bool_),
    ((), np.int64),
)


def _followed(stack: Float32Array, around: list[int], middle: int, within: Float32Array) -> Tracks | None:
    """Tracks of the windows of one slice, each direction of steep gradients a track of its own."""
    places = _places(within)
    if not len(places):
        return None
    at = around.index(middle)
    moved = np.zeros((len(places), len(around), 2))
    information = np.zeros((len(places), 2, 2))
    seen = np.zeros((len(places), len(around)), dtype=bool)
    follow(stack, at, places, HALF_WINDOW, (moved, information, seen))
    value, vector = np.linalg.eigh(information)
    enough = seen.sum(axis=1) >= _FEWEST
    tracks = []
    for column, good in ((1, enough), (0, enough & (value[:, 0] > _BOTH * value[:, 1]))):
        direction = vector[good][:, :, column]
        along, kept = np.zeros((len(direction), 2 * _REACH + 1)), np.zeros((len(direction), 2 * _REACH + 1), bool)
        along[:, : len(around)] = np.einsum("pna,pa->pn", moved[good], direction)
        kept[:, : len(around)] = seen[good]
        part = places[good] * _PARTS // np.array(within.shape)
        tracks.append((np.full(len(direction), around[0]), along, direction, kept, part @ np.array([_PARTS, 1])))
    return Tracks(*(np.concatenate(arrays) for arrays in zip(*tracks, strict=True)))


def _places(within: Float32Array) -> NDArray[np.int64]:
    """Middles of windows on a square grid, as many as are wanted at most, [window, 2]."""
    step = max(HALF_WINDOW, int(np.ceil(np.sqrt(float(within.sum()) / _MOST))))
    rows, columns = (np.arange(HALF_WINDOW + 2, n - HALF_WINDOW - 2, step) for n in within.shape)
    grid = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2).astype(np.int64)
    return np.asarray(grid[within[grid[:, 0], grid[:, 1]] > 0])


def bends_of(tracks: Tracks, count: int) -> Bends:
    """What all tracks say about the positions of ``count`` slices together; nothing, if there are too few."""
    if len(tracks.first) < _LEAST_TRACKS:
        return Bends(np.zeros((2 * count, 2 * count)), np.zeros(2 * count), 0, 1.0)
    weight = np.ones(tracks.along.shape)
    normal, right, position = np.zeros(0), np.zeros(0), np.zeros(0)
    for number in range(_WEIGHTINGS):
        normal, right = _equations(tracks, tracks.along, weight, count)
        known = np.trace(normal) / len(normal) * _NOTHING * np.eye(len(normal))
        position = np.linalg.solve(normal + known, right.sum(axis=0))
        if number < _WEIGHTINGS - 1:
            weight = _weights(tracks, _left(tracks, position), weight)
    score = _equations(tracks, _left(tracks, position), weight, count)[1]
    alike = _alike(normal, score)
    return Bends(normal / alike, right.sum(axis=0) / alike, len(tracks.first), alike)


def _equations(
    tracks: Tracks, along: Float64Array, weight: Float64Array, count: int
) -> tuple[Float64Array, Float64Array]:
    """Normal matrix [2 slices, 2 slices] and right side by parts of the section [part, 2 slices]."""
    normal, right = np.zeros((2 * count, 2 * count)), np.zeros((_PARTS**2, 2 * count))
    add_windows(normal, right, (tracks.first, along, tracks.direction, tracks.seen), weight, tracks.part)
    return normal, right


def _left(tracks: Tracks, position: Float64Array) -> Float64Array:
    """Displacements less those by the positions found, [window, slice]."""
    padded = np.concatenate([position.reshape(-1, 2), np.zeros((2 * _REACH + 1, 2))])
    place = tracks.first[:, None] + np.arange(2 * _REACH + 1)
    return np.asarray(tracks.along - np.einsum("pna,pa->pn", padded[place], tracks.direction))


def _weights(tracks: Tracks, left: Float64Array, weight: Float64Array) -> Float64Array:
    """Weights of Student's distribution for what is left beside each window's own line, [window, slice]."""
    used = np.where(tracks.seen, weight, 0.0)
    k = np.arange(left.shape[1])
    total = used.sum(axis=1, keepdims=True)
    middle = (used * k).sum(axis=1, keepdims=True) / total
    mean = (used * left).sum(axis=1, keepdims=True) / total
    slope = (used * left * (k - middle)).sum(axis=1, keepdims=True) / (used * (k - middle) ** 2).sum(
        axis=1, keepdims=True
    )
    rest = left - mean - slope * (k - middle)
    scale = max(float(np.median(np.abs(rest[tracks.seen]))) / 0.6745, 1e-6)
    return np.asarray((_FREEDOM + 1) / (_FREEDOM + (rest / scale) ** 2))


def _alike(normal: Float64Array, score: Float64Array) -> float:
    """Variance of the parts' scores along the slowest motions that are known, over that of a unit of information."""
    value, vector = np.linalg.eigh(normal)
    slowest = np.flatnonzero(value > 100 * _NOTHING * value[-1])[:_SLOWEST]
    scatter = np.sum((score @ vector[:, slowest]) ** 2, axis=0) * len(score) / (len(score) - 1)
    return max(_SHARED * float(np.mean(scatter / value[slowest])), 1e-12)
