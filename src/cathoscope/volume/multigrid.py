"""Solution of a large resistor network: conjugate gradients, made fast by ever coarser networks.

The parts of a block of 2 x 2 x 2 voxels that touch inside it become nodes of the next network, and so on with blocks of
twice the edge: parts on two sides of a wall stay apart. One Gauss-Seidel sweep in order, the coarse network's answer
and one sweep in reverse order make an approximate inverse. The coarse network itself is solved by two steps of
conjugate gradients with the same scheme (K-cycle; Notay and Vassilevski, Numer. Linear Algebra Appl. 15, 473, 2008),
which finds the right length of the coarse step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cathoscope.volume import multigrid_kernels as sparse
from cathoscope.volume import tortuosity_kernels as grid

Float32Array = NDArray[np.float32]
Int32Array = NDArray[np.int32]
Network = tuple[Float32Array, Float32Array, Float32Array, Float32Array]
Sparse = tuple[NDArray[np.int64], Int32Array, Float32Array, Float32Array]

_FEWEST = 50  # nodes of the coarsest network
_SWEEPS = 20  # on it
_LEAST_GAIN = 0.8  # nodes of a network over those of the finer one, else no further one is made
_ENOUGH = 0.25  # of the residual left: then the second step on a coarse network is not needed
_LOOK = 5  # steps between looks at the answer


@dataclass(frozen=True)
class Level:
    """A coarse network, the groups of the finer one that are its nodes, and room to work."""

    group: Int32Array
    network: Sparse
    answer: Float32Array
    residual: Float32Array
    first: tuple[Float32Array, Float32Array]
    second: tuple[Float32Array, Float32Array]


def levels_of(network: Network, field: Float32Array, electrodes: Float32Array) -> list[Level]:
    """The coarser networks, the next one first.

    ``field`` is 0 where no voxel conducts, and ``electrodes`` the conductance of each voxel to both electrodes; both
    float32 [z, y, x].
    """
    group = np.empty(field.shape, dtype=np.int32)
    blocks = sparse.group_voxels(network, field, group)
    entries = sparse.entries_of_voxels(network, group, len(blocks))
    ends = np.bincount(group[group >= 0], electrodes[group >= 0], minlength=len(blocks)).astype(np.float64)
    levels = [_level(group, entries, ends)]
    while len(blocks) > _FEWEST:
        finer = levels[-1].network
        nodes = np.empty(len(blocks), dtype=np.int32)
        coarser_blocks = sparse.group_nodes(finer, blocks, nodes)
        if len(coarser_blocks) > _LEAST_GAIN * len(blocks):
            break
        blocks = coarser_blocks
        entries = sparse.entries_of_groups(finer, nodes, len(blocks))
        ends = np.bincount(nodes, ends, minlength=len(blocks)).astype(np.float64)
        levels.append(_level(nodes, entries, ends))
    return levels


def _level(group: Int32Array, entries: tuple[Any, Any, Any], ends: NDArray[np.float64]) -> Level:
    """A network from its unsummed entries and the conductances of its nodes to the electrodes."""
    start, column, value = sparse.merged(*entries)
    n = ends.size
    rows = np.repeat(np.arange(n), np.diff(start))
    total = np.bincount(rows, value, minlength=n) + ends
    diagonal = np.where(total > 0, total, 1.0).astype(np.float32)
    room = [np.empty(n, dtype=np.float32) for _ in range(6)]
    return Level(group, (start, column, value, diagonal), room[0], room[1], (room[2], room[3]), (room[4], room[5]))


def _coarse_inverse(levels: list[Level], at: int, right: Float32Array, out: Float32Array) -> None:
    """``out`` becomes nearly the potential for the currents ``right`` in network ``at``: one K-cycle."""
    network = levels[at].network
    sparse.sweep_down(network, right, out)
    if at + 1 == len(levels):
        for _ in range(_SWEEPS):
            sparse.sweep_up(network, right, out)
        return
    coarser = levels[at + 1]
    sparse.remainder(network, out, coarser.group, coarser.residual)
    _two_steps(levels, at + 1)
    grid.correct(coarser.group, coarser.answer, out)
    sparse.sweep_up(network, right, out)


def _two_steps(levels: list[Level], at: int) -> None:
    """At most two steps of conjugate gradients from potential 0 in network ``at``; fills its answer."""
    level = levels[at]
    (step, change), (second, second_change) = level.first, level.second
    _coarse_inverse(levels, at, level.residual, step)
    stiffness = sparse.currents(level.network, step, change)
    before = sparse.dot(level.residual, level.residual)
    if not stiffness > 0.0:
        level.answer[:] = 0.0
        return
    length = sparse.dot(step, level.residual) / stiffness
    sparse.add(np.float32(-length), change, level.residual)
    np.multiply(step, np.float32(length), out=level.answer)
    if sparse.dot(level.residual, level.residual) < _ENOUGH**2 * before:
        return
    _coarse_inverse(levels, at, level.residual, second)
    factor = np.float32(-sparse.dot(second, change) / stiffness)
    sparse.add(factor, step, second)
    stiffness = sparse.currents(level.network, second, second_change)
    if stiffness > 0.0:
        sparse.add(np.float32(sparse.dot(second, level.residual) / stiffness), second, level.answer)


def _inverse(network: Network, levels: list[Level], right: Float32Array, out: Float32Array) -> None:
    """``out`` becomes nearly the potential for the currents ``right`` in the network of voxels."""
    grid.sweep_down(network, right, out)
    grid.remainder(network, out, levels[0].group, levels[0].residual)
    _two_steps(levels, 0)
    grid.correct(levels[0].group, levels[0].answer, out)
    grid.sweep_up(network, right, out)


def solve(
    network: Network,
    levels: list[Level],
    right: Float32Array,
    potential: Float32Array,
    done: Callable[[], bool],
    most: int,
) -> int:
    """Improve ``potential`` until ``done`` says so, asked every few steps; returns the number of steps.

    Flexible conjugate gradients: every direction is made conjugate to the one before, as the approximate inverse is
    not exactly linear. Ends after ``most`` steps at the latest.
    """
    residual, step, change, new = (np.empty_like(right) for _ in range(4))
    stiffness = 0.0
    for count in range(most):
        if count % _LOOK == 0:
            if done():
                return count
            # the residual carried along drifts from the true one
            grid.currents(network, potential, residual)
            np.subtract(right, residual, out=residual)
        _inverse(network, levels, residual, new)
        if count == 0:
            step[:] = new
        else:
            factor = np.float32(-sparse.dot(new.ravel(), change.ravel()) / stiffness)
            sparse.renew(factor, new.ravel(), step.ravel())
        stiffness = grid.currents(network, step, change)
        if not stiffness > 0.0:
            return count
        length = np.float32(sparse.dot(step.ravel(), residual.ravel()) / stiffness)
        sparse.add(length, step.ravel(), potential.ravel())
        sparse.add(-length, change.ravel(), residual.ravel())
    return most
