"""Which windows lie on the same wall.

Windows are laid on a grid, and each sees whatever wall runs through it. Where that wall is within the window, the mean
of its squared gradients says: the edges of a crack lie to both sides of its middle. Two windows see one wall if what
the first has followed to the second one's slice lies on the line of the second, to a pixel across and a step of the
grid along, and both run the same way. Windows that are linked so, directly or over others, are one wall. Walls that go
on into each other without a kink cannot be told apart.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from cathoscope.volume.fibsem_tracks_kernels import STEEP

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_ACROSS, _ALONG = 1.0, 1.15  # px, and steps of the grid, between the places of windows on one wall
_SAME_WAY = 0.98  # cosine of the angle between their normals
_LINKED = 12  # slices between windows that are compared, at most
_FALL = 1.5  # weight of a window, exp(-1.5 (r / half)²), as where it is followed


class Sight(NamedTuple):
    """Windows of one slice: its number, px between them, place of the wall [window, 2] (row, column; px), its normal
    [window, 2], how far it has moved in the slices from ``first`` on, [window, slice, 2], and whether it was seen there
    [window, slice].
    """

    slice: int
    step: int
    first: int
    place: Float64Array
    normal: Float64Array
    moved: Float64Array
    seen: BoolArray


def wall_places(image: Float32Array, middle: NDArray[np.int64], normal: Float64Array, half: int) -> Float64Array:
    """Where the wall lies in windows of an image [row, column] around ``middle`` [window, 2]: its place along
    ``normal`` [window, 2], from the mean of squared gradients along it, [window, 2], px.
    """
    if not len(middle):
        return np.zeros((0, 2))
    gradient = np.gradient(image)
    steep = gradient[0] ** 2 + gradient[1] ** 2 > STEEP**2
    offset = np.arange(-half, half + 1)
    rows, columns = np.meshgrid(offset, offset, indexing="ij")
    fall = np.exp(-_FALL * (rows**2 + columns**2) / half**2)
    at = (middle[:, 0, None, None] + rows, middle[:, 1, None, None] + columns)
    slope = gradient[0][at] * normal[:, 0, None, None] + gradient[1][at] * normal[:, 1, None, None]
    across = rows * normal[:, 0, None, None] + columns * normal[:, 1, None, None]
    weight = slope**2 * steep[at] * fall
    total = np.maximum(weight.sum(axis=(1, 2)), 1e-12)
    return np.asarray(middle + ((weight * across).sum(axis=(1, 2)) / total)[:, None] * normal)


def wall_numbers(sights: list[Sight]) -> NDArray[np.int64]:
    """Number of the wall of every window, those of the first slice first, [window]; ``sights`` in rising order."""
    start = np.cumsum([0, *(len(one.place) for one in sights)])
    pairs = [np.zeros((2, 0), dtype=np.int64)]
    for i, one in enumerate(sights):
        for j in range(i, len(sights)):
            other = sights[j]
            if other.slice - one.slice > _LINKED or other.slice - one.first >= one.seen.shape[1]:
                break
            linked = np.stack(np.nonzero(_linked(one, other)))
            pairs.append(linked + np.array([[start[i]], [start[j]]]))
    first, second = np.concatenate(pairs, axis=1)
    graph = coo_matrix((np.ones(first.size, bool), (first, second)), shape=(start[-1], start[-1]))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def _linked(one: Sight, other: Sight) -> BoolArray:
    """Which windows of ``one``, followed to the slice of the ``other``, lie on walls there, [window, window]."""
    at = other.slice - one.first
    apart = (one.place + one.moved[:, at])[:, None] - other.place
    across = np.einsum("pqa,qa->pq", apart, other.normal)
    along = np.sqrt(np.maximum(np.sum(apart**2, axis=2) - across**2, 0.0))
    same_way = np.abs(one.normal @ other.normal.T) > _SAME_WAY
    return np.asarray((np.abs(across) < _ACROSS) & (along < _ALONG * other.step) & same_way & one.seen[:, at, None])


def windows_on_wall(wall: NDArray[np.int64], first: NDArray[np.int64], seen: BoolArray) -> Float64Array:
    """How many windows see the wall of every window [window] in a slice, mean over the slices where any does.

    ``first`` [window] is the number of the slice of the first entry of ``seen`` [window, slice].
    """
    slices = first[:, None] + np.arange(seen.shape[1])
    count = coo_matrix(
        (np.ones(np.count_nonzero(seen)), (np.broadcast_to(wall[:, None], seen.shape)[seen], slices[seen]))
    ).tocsr()
    total, live = np.asarray(count.sum(axis=1)).ravel(), np.diff(count.indptr)
    return np.asarray((total / np.maximum(live, 1))[wall])
