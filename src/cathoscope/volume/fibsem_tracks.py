"""Windows on walls, followed over many slices.

A window of a slice is followed to the slices before and behind by least squares on gradients [1]_, at first by what it
was in its own slice. Where its content is not found again, it is looked for by what it had become in the slice before;
so a wall is followed on while a crack widens or the grain beside it ends. Which windows see the same wall is found in
`fibsem_same_wall`, what the paths say of drift in `fibsem_bends`.

References
----------
.. [1] B. D. Lucas, T. Kanade, Proc. 7th IJCAI (1981) 674.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cathoscope.volume.fibsem_same_wall import Sight, wall_numbers, wall_places
from cathoscope.volume.fibsem_tracks_kernels import follow

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_REACH = 12  # slices followed to either side
HALF_WINDOW = 7
"""px from the middle of a window to its edge."""
_STRIDE = 4  # slices between those whose windows are followed
_MOST = 400  # windows of a slice
_FEWEST = 5  # slices in which a window has to be seen
_BOTH = 0.25  # of the steepest gradient's information: the direction across counts as well


class Tracks(NamedTuple):
    """Windows that were followed: number of the slice of the first entry [window], displacement along ``direction``
    [window, 2] in every slice around, px, [window, slice], whether it was seen there, the number of its wall, and how
    many windows see the same pixel of a slice [window].
    """

    first: NDArray[np.int64]
    along: Float64Array
    direction: Float64Array
    seen: BoolArray
    wall: NDArray[np.int64]
    overlap: Float64Array


def wall_tracks(
    load: Callable[[int], Float32Array], within: Callable[[int], Float32Array], slices: Sequence[int]
) -> Tracks:
    """Windows of every fourth slice, followed to both sides.

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
    sights, overlap = [], []
    for middle in slices[:: min(_STRIDE, len(slices))]:
        around = [n for n in range(middle - _REACH, middle + _REACH + 1) if slices[0] <= n <= slices[-1]]
        held = {n: held[n] if n in held else load(n) for n in around}
        inside = within(middle)
        step = _step(inside)
        found = _followed(np.stack(list(held.values())), around, middle, (inside, step))
        if found is not None:
            sights.append(found)
            overlap.append(np.full(len(found.place), _overlap(step)))
    if not sights:
        return Tracks(*(np.zeros((0, *shape), kind) for shape, kind in _EMPTY))
    return Tracks(
        first=np.concatenate([np.full(len(one.place), one.first) for one in sights]),
        along=np.concatenate([np.einsum("pna,pa->pn", one.moved, one.normal) for one in sights]),
        direction=np.concatenate([one.normal for one in sights]),
        seen=np.concatenate([one.seen for one in sights]),
        wall=wall_numbers(sights),
        overlap=np.concatenate(overlap),
    )


_EMPTY: tuple[tuple[tuple[int, ...], Any], ...] = (
    ((), np.int64),
    ((2 * _REACH + 1,), np.float64),
    ((2,), np.float64),
    ((2 * _REACH + 1,), np.bool_),
    ((), np.int64),
    ((), np.float64),
)


def _followed(stack: Float32Array, around: list[int], middle: int, grid: tuple[Float32Array, int]) -> Sight | None:
    """Windows of one slice, each direction of steep gradients a window of its own; None if there is none.

    ``grid``: where they may lie, and px between them.
    """
    places = _places(*grid)
    if not len(places):
        return None
    at = around.index(middle)
    moved = np.zeros((len(places), len(around), 2))
    information = np.zeros((len(places), 2, 2))
    seen = np.zeros((len(places), len(around)), dtype=bool)
    follow(stack, at, places, HALF_WINDOW, (moved, information, seen))
    value, vector = np.linalg.eigh(information)
    enough = seen.sum(axis=1) >= _FEWEST
    both = np.flatnonzero(enough & (value[:, 0] > _BOTH * value[:, 1]))
    window = np.concatenate([np.flatnonzero(enough), both])
    normal = np.concatenate([vector[enough][:, :, 1], vector[both][:, :, 0]])
    padding = ((0, 0), (0, 2 * _REACH + 1 - len(around)))
    return Sight(
        slice=middle,
        step=grid[1],
        first=around[0],
        place=wall_places(stack[at], places[window], normal, HALF_WINDOW),
        normal=normal,
        moved=np.pad(moved[window], (*padding, (0, 0))),
        seen=np.pad(seen[window], padding),
    )


def _step(within: Float32Array) -> int:
    """px between windows, so that there are as many as are wanted at most."""
    return max(HALF_WINDOW, int(np.ceil(np.sqrt(float(within.sum()) / _MOST))))


def _overlap(step: int) -> float:
    """How many windows see the same pixel of a slice, those of other slices that are followed to it counted."""
    return max(1.0, (2 * HALF_WINDOW + 1) / step) ** 2 * (2 * _REACH + 1) / _STRIDE


def _places(within: Float32Array, step: int) -> NDArray[np.int64]:
    """Middles of windows on a square grid, [window, 2]."""
    rows, columns = (np.arange(HALF_WINDOW + 2, n - HALF_WINDOW - 2, step) for n in within.shape)
    grid = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2).astype(np.int64)
    return np.asarray(grid[within[grid[:, 0], grid[:, 1]] > 0])
