"""Linear solver of `transport`: conjugate gradients, preconditioned by multigrid on aggregates of cells within grains.

The matrix of each level is symmetric with conductances off the diagonal, rows in compressed form: row i has the entries
``starts[i]`` to ``starts[i + 1]``; ``others`` are their columns, in rising order, and ``values`` their conductances
(positive; the matrix element is minus the conductance). The diagonal is kept apart.

A coarse unknown is the value of an aggregate of cells; its conductance to another is the sum over the faces between
them (Galerkin, constant in each aggregate). One cycle goes down the levels with Gauss-Seidel sweeps forwards and up
with sweeps backwards, hence it is symmetric and positive. Everything runs in one thread in a fixed order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

MOST_ITERATIONS = 500
_COARSER = 2  # times fewer unknowns make a level worth its work
_LAYERED = 16  # cells: blocks up to this size join only along directions of fast diffusion

Floats = NDArray[np.float64]
Integers = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Links:
    """Faces between cells, each from both sides, rising in ``first``, then in ``second``.

    ``same``: both cells are of one grain. ``strong``: diffusion across the face is fast in the first cell's grain.
    """

    first: Integers
    second: Integers
    same: NDArray[np.bool_]
    strong: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Level:
    """Pattern of the matrix of one level, whose unknowns are aggregates of cells.

    ``faces`` lie between different aggregates; ``slots`` are the entries of the matrix that they add to. ``parents``
    are the aggregates of the next level, none on the last.
    """

    starts: NDArray[np.int64]
    others: Integers
    faces: Integers
    slots: Integers
    parents: Integers


@dataclass(frozen=True, eq=False)
class Matrix:
    """Conductances of one level with the diagonal's own part (volume and surface), its total and its inverse."""

    level: Level
    values: Floats
    own: Floats
    total: Floats
    inverse: Floats


@njit(cache=True, nogil=True)
def conductances(faces, slots, bulk, barrier, scales, values):  # type: ignore[no-untyped-def]
    """Add to ``values[slot]`` the conductance scales[2] / (scales[0] bulk + scales[1] barrier) of each listed face."""
    values[:] = 0.0
    for k in range(faces.size):
        face = faces[k]
        resistance = scales[0] * bulk[face]
        if barrier[face] > 0.0:  # scales[1] may be infinite
            resistance += scales[1] * barrier[face]
        values[slots[k]] += scales[2] / resistance


@njit(cache=True, nogil=True)
def diagonal(starts, values, own, total):  # type: ignore[no-untyped-def]
    """Set ``total`` to ``own`` plus the sum of the conductances of each row."""
    for i in range(own.size):
        sum_of_row = own[i]
        for k in range(starts[i], starts[i + 1]):
            sum_of_row += values[k]
        total[i] = sum_of_row


@njit(cache=True, nogil=True)
def residual(starts, others, values, own, field, right):  # type: ignore[no-untyped-def]
    """Turn the right-hand side into the residual, as differences, so that what leaves a cell enters its neighbour."""
    largest = 0.0
    for i in range(own.size):
        here = field[i]
        left = right[i] - own[i] * here
        for k in range(starts[i], starts[i + 1]):
            left += values[k] * (field[others[k]] - here)
        right[i] = left
        largest = max(largest, abs(left))
    return largest


@njit(cache=True, nogil=True)
def apply(starts, others, values, total, field, out):  # type: ignore[no-untyped-def]
    """Set ``out`` to the matrix times ``field`` and return the product of both."""
    product = 0.0
    for i in range(total.size):
        sum_of_row = total[i] * field[i]
        for k in range(starts[i], starts[i + 1]):
            sum_of_row -= values[k] * field[others[k]]
        out[i] = sum_of_row
        product += field[i] * sum_of_row
    return product


@njit(cache=True, nogil=True)
def sweep_down(starts, others, values, inverse, right, field):  # type: ignore[no-untyped-def]
    """Gauss-Seidel from zero, first row to last."""
    for i in range(inverse.size):
        sum_of_row = right[i]
        for k in range(starts[i], starts[i + 1]):
            j = others[k]
            if j > i:
                break
            sum_of_row += values[k] * field[j]
        field[i] = sum_of_row * inverse[i]


@njit(cache=True, nogil=True)
def restrict(starts, others, values, field, parents, coarse):  # type: ignore[no-untyped-def]
    """Sum over each aggregate what `sweep_down` left as residual: the entries right of the diagonal."""
    coarse[:] = 0.0
    for i in range(field.size):
        rest = 0.0
        for k in range(starts[i + 1] - 1, starts[i] - 1, -1):
            j = others[k]
            if j < i:
                break
            rest += values[k] * field[j]
        coarse[parents[i]] += rest


@njit(cache=True, nogil=True)
def prolong(parents, coarse, field):  # type: ignore[no-untyped-def]
    """Add to each unknown the correction of its aggregate."""
    for i in range(field.size):
        field[i] += coarse[parents[i]]


@njit(cache=True, nogil=True)
def sweep_up(starts, others, values, inverse, right, field):  # type: ignore[no-untyped-def]
    """Gauss-Seidel, last row to first."""
    for i in range(inverse.size - 1, -1, -1):
        sum_of_row = right[i]
        for k in range(starts[i], starts[i + 1]):
            sum_of_row += values[k] * field[others[k]]
        field[i] = sum_of_row * inverse[i]


@njit(cache=True, nogil=True)
def dot(first, second):  # type: ignore[no-untyped-def]
    """Scalar product, summed in the order of the cells whatever the number of threads."""
    product = 0.0
    for i in range(first.size):
        product += first[i] * second[i]
    return product


@njit(cache=True, nogil=True)
def advance(length, direction, image, field, left):  # type: ignore[no-untyped-def]
    """Move ``field`` along ``direction``, its residual ``left`` along ``image``; largest residual."""
    largest = 0.0
    for i in range(field.size):
        field[i] += length * direction[i]
        left[i] -= length * image[i]
        largest = max(largest, abs(left[i]))
    return largest


@njit(cache=True, nogil=True)
def turn(ratio, improved, direction):  # type: ignore[no-untyped-def]
    """Next conjugate direction."""
    for i in range(direction.size):
        direction[i] = improved[i] + ratio * direction[i]


@njit(cache=True, nogil=True)
def neighbour_table(number, closed, table):  # type: ignore[no-untyped-def]
    """Fill ``table`` (cell, 6: -x +x -y +y -z +z) from ``number`` (z, y, x), -1 where gas; see `Polycrystal`."""
    steps = np.array([[0, 0, -1], [0, 0, 1], [0, -1, 0], [0, 1, 0], [-1, 0, 0], [1, 0, 0]])
    n_z, n_y, n_x = number.shape
    for z in range(n_z):
        for y in range(n_y):
            for x in range(n_x):
                cell = number[z, y, x]
                if cell < 0:
                    continue
                for side in range(6):
                    i, j, k = z + steps[side, 0], y + steps[side, 1], x + steps[side, 2]
                    table[cell, side] = -2
                    if 0 <= i < n_z and 0 <= j < n_y and 0 <= k < n_x and not (number[i, j, k] < 0 and closed[i, j, k]):
                        table[cell, side] = number[i, j, k]


def levels(place: NDArray[np.intp], links: Links) -> tuple[Level, ...]:
    """Patterns of all levels, finest first, for cells at ``place`` (n, 3: voxels)."""
    aggregates = _aggregates(place, links)
    found = []
    for aggregate, coarser in zip(aggregates, [*aggregates[1:], None], strict=True):
        count = int(aggregate.max()) + 1
        row, column = aggregate[links.first], aggregate[links.second]
        faces = np.flatnonzero(row != column)
        pairs, slots = np.unique(row[faces] * count + column[faces], return_inverse=True)
        parents = np.empty(0 if coarser is None else count, dtype=np.int32)
        if coarser is not None:
            parents[aggregate] = coarser
        found.append(
            Level(
                starts=np.searchsorted(pairs // count, np.arange(count + 1)).astype(np.int64),
                others=(pairs % count).astype(np.int32),
                faces=faces.astype(np.int32),
                slots=slots.astype(np.int32),
                parents=parents,
            )
        )
    return tuple(found)


def _aggregates(place: NDArray[np.intp], links: Links) -> list[NDArray[np.int64]]:
    """For each level, the aggregate of every cell: blocks within grains, then grains, then groups of grains.

    The grains must be among them: a resistive boundary makes each connected part of a grain a slow mode of its own.
    Small blocks are layers where diffusion along an axis is slow: a sweep over cells smooths nothing along that axis.
    """
    n = len(place)
    first, second, strong = links.first[links.same], links.second[links.same], links.strong[links.same]
    grain = _connected(first, second, n)
    cells_of = np.bincount(grain)
    chosen = [np.arange(n)]
    size = 2
    while size <= place.max():
        block = place // size
        together = (block[first] == block[second]).all(axis=1) & (strong | (size > _LAYERED))
        pieces = _connected(first[together], second[together], n)
        if _COARSER * cells_of.size < pieces.max() < chosen[-1].max() / _COARSER:
            chosen.append(pieces)
        size *= 2
    chosen.append(grain)
    centre = np.stack([np.bincount(grain, weights=along) / cells_of for along in place.T], axis=1)
    size = 2
    while chosen[-1].max() > 0:
        group = np.unique((centre // size).astype(np.int64), axis=0, return_inverse=True)[1]
        if group.max() < chosen[-1].max() / _COARSER:
            chosen.append(group[grain])
        size *= 2
    return chosen


def _connected(first: Integers, second: Integers, count: int) -> NDArray[np.int64]:
    """Number of the connected part in which each cell lies, given the faces that connect."""
    graph = coo_array((np.ones(first.size, dtype=np.bool_), (first, second)), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def matrices(levels: Sequence[Level], resistances: tuple[Floats, Floats], scales: Floats, own: Floats) -> list[Matrix]:
    """Matrices of all levels: own + sum of scales[2] / (scales[0] bulk + scales[1] barrier) over the faces."""
    found = []
    for level in levels:
        values, total = np.empty(level.others.size), np.empty(own.size)
        conductances(level.faces, level.slots, *resistances, scales, values)
        diagonal(level.starts, values, own, total)
        found.append(Matrix(level, values, own, total, 1 / total))
        if level.parents.size:
            own = np.asarray(np.bincount(level.parents, own), dtype=np.float64)
    return found


def improve(matrices: Sequence[Matrix], right: Floats) -> Floats:
    """Approximate solution of the first matrix: one symmetric multigrid cycle."""
    first = matrices[0]
    level = first.level
    pattern = (level.starts, level.others, first.values)
    field = np.empty(right.size)
    sweep_down(*pattern, first.inverse, right, field)
    if len(matrices) > 1:
        coarse = np.empty(matrices[1].total.size)
        restrict(*pattern, field, level.parents, coarse)
        prolong(level.parents, improve(matrices[1:], coarse), field)
        sweep_up(*pattern, first.inverse, right, field)
    return field


def solve(matrices: Sequence[Matrix], field: Floats, left: Floats, tolerance: float) -> int:
    """Conjugate gradients from ``field`` with residual ``left`` until none is above ``tolerance``.

    Both arrays are changed in place. Returns the number of iterations, at most `MOST_ITERATIONS`.
    """
    first = matrices[0]
    pattern = (first.level.starts, first.level.others, first.values)
    direction, image = np.zeros(field.size), np.empty(field.size)
    before = inf
    for iteration in range(MOST_ITERATIONS):
        improved = improve(matrices, left)
        product = dot(left, improved)
        turn(product / before, improved, direction)
        before = product
        length = product / apply(*pattern, first.total, direction, image)
        if advance(length, direction, image, field, left) <= tolerance:
            return iteration + 1
    return MOST_ITERATIONS
