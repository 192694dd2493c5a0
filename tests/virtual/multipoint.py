"""The transport equation of `transport` with the whole tensor: a symmetric multipoint flux around every vertex.

Around a vertex meet eight octants of cells. Each has the value u of its cell and one trace p on each of its three inner
faces, at the middle of the cell's face, hence one constant gradient

    G = sum_a e_a s_a (p_a - u) / (h / 2),    s_a = +1 where the vertex lies on the positive side of the cell.

The 24 traces of a vertex minimise the energy: h³/8 G.D A G / 2 of every octant, the jump of the traces over a boundary,
h²/4 (kappa / g) (p - p')² / 2, and the exchange h²/4 w k (p - target)² / 2. Inside a grain the traces are equal. What
remains is a quadratic form of the cells' values: symmetric, positive, exact for linear fields in a homogeneous crystal
of any orientation (the two-point flux is not), and equal to the two-point flux where the axes of the tensor are those
of the grid. Its matrix may have positive elements off the diagonal, so a maximum principle does not hold.

This is a check of the two-point operator on small grids (about 1 kB per cell), not meant for production.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array, csr_array, diags_array, eye_array
from scipy.sparse.linalg import cg

from cathoscope.core.errors import CathoscopeError
from cathoscope.virtual.transport import GAS, Polycrystal, Rates, Step

_VERTICES_AT_ONCE = 4096
_MOST_ITERATIONS = 20_000
# Octants of a vertex (octant, 3: x, y, z): 0 where the cell lies on the negative side of the vertex.
_OCTANTS = np.array([[octant & 1, octant >> 1 & 1, octant >> 2 & 1] for octant in range(8)])

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Operator:
    """Outflow (1/s) of each cell: ``cells @ field + gas @ target``, both (n, n).

    A row of both together sums to zero: a field equal to its target everywhere stays.
    """

    medium: Polycrystal
    cells: csr_array
    gas: csr_array


def operator(medium: Polycrystal, rates: Rates) -> Operator:
    """The multipoint operator of a medium at one temperature; see the head of the module."""
    n = medium.n_cells
    around = _octants_of_vertices(medium)
    cells, gas = csr_array((n, n)), csr_array((n, n))
    for first in range(0, len(around), _VERTICES_AT_ONCE):
        octants = around[first : first + _VERTICES_AT_ONCE]
        to_cells, to_gas = np.split(_local_operator(medium, rates, octants), 2, axis=2)
        cells = cells + _gather(to_cells, octants, n)
        gas = gas + _gather(to_gas, octants, n)
    scale = rates.diffusivity / (2 * medium.voxel**2)
    return Operator(medium, csr_array(scale * cells), csr_array(scale * gas))


def step(
    equation: Operator,
    field: ArrayLike,
    target: ArrayLike,
    duration: float,
    tolerance: float = 1e-9,
    source: ArrayLike = 0.0,
) -> Step:
    """One step of backward Euler, meaning and units as in `transport.step`.

    ``tolerance`` is the relative residual of the conjugate gradients; the rest of the balance is spread over all cells.

    Raises
    ------
    CathoscopeError
        If the iteration does not converge.
    """
    n = equation.medium.n_cells
    old = np.array(np.broadcast_to(np.asarray(field, dtype=np.float64), n))
    goal = np.broadcast_to(np.asarray(target, dtype=np.float64), n)
    from_gas = equation.gas @ goal
    matrix = csr_array(eye_array(n, format="csr") + duration * equation.cells)
    right = old + duration * (np.asarray(source, dtype=np.float64) - from_gas)
    new, failed = cg(
        matrix, right, x0=old, rtol=tolerance, maxiter=_MOST_ITERATIONS, M=diags_array(1 / matrix.diagonal())
    )
    if failed:
        raise CathoscopeError("the multipoint step did not converge", cure="use a shorter step or a larger tolerance")
    outflow = duration * float((equation.cells @ new + from_gas).sum()) * equation.medium.cell_volume
    return Step(new + (right - matrix @ new).mean(), outflow)


def _octants_of_vertices(medium: Polycrystal) -> NDArray[np.int64]:
    """Cells around every vertex that has one (vertex, octant), -1 where there is none."""
    number = np.full(medium.shape, -1, dtype=np.int64)
    number.flat[medium.cells] = np.arange(medium.n_cells)
    padded = np.pad(number, 1, constant_values=-1)
    z, y, x = padded.shape
    around = np.stack(
        [padded[k : z - 1 + k, j : y - 1 + j, i : x - 1 + i].ravel() for i, j, k in _OCTANTS.tolist()], axis=1
    )
    return np.asarray(around[(around >= 0).any(axis=1)])


def _tensors(medium: Polycrystal, cells: NDArray[np.int64], sides: NDArray[np.int64]) -> Floats:
    """s_a A_ab s_b of octants (octant, 3, 3) on the faces ``sides`` (3,) of ``cells``."""
    axis = medium.c_axis[medium.grain[cells]]
    tensor = np.eye(3) - (1 - medium.slow_ratio) * axis[:, :, None] * axis[:, None, :]
    along = 2 * (sides % 2) - 1
    return np.asarray(along[:, None] * tensor * along)


def _shares(resistance: ArrayLike, half_cell: float) -> tuple[Floats, Floats]:
    """R / (R + R0) and R0 / (R + R0), also for infinite R: the law flux R = jump without large numbers."""
    share = 1 / (1 + np.asarray(resistance, dtype=np.float64) / half_cell)
    return 1 - share, share


def _local_operator(medium: Polycrystal, rates: Rates, octants: NDArray[np.int64]) -> Floats:
    """Outflow of each octant from the values of the 8 cells and their 8 gases (vertex, 8, 16), in units of D h / 2.

    Equations for the traces (24, octant after octant): both fluxes cancel and drive the jump, or the flux drives the
    exchange, or it vanishes at a wall.
    """
    count = len(octants)
    flux = np.zeros((count, 24, 40))  # of each inner face, from traces (24), cells (8) and gases (8)
    for octant in range(8):
        here = np.flatnonzero(octants[:, octant] >= 0)
        tensor = _tensors(medium, octants[here, octant], 2 * np.arange(3) + 1 - _OCTANTS[octant])
        rows = slice(3 * octant, 3 * octant + 3)
        flux[here, rows, rows] = -tensor
        flux[here, rows, 24 + octant] = tensor.sum(axis=2)
    equations = np.zeros_like(flux)
    for octant in range(8):
        for axis in range(3):
            _set_equation(equations, flux, (medium, rates), octants, (octant, axis))
    traces = np.linalg.solve(equations[:, :, :24], -equations[:, :, 24:])
    flux_of_values = flux[:, :, :24] @ traces + flux[:, :, 24:]
    return np.asarray(flux_of_values.reshape(count, 8, 3, 16).sum(axis=2))


def _set_equation(
    equations: Floats,
    flux: Floats,
    model: tuple[Polycrystal, Rates],
    octants: NDArray[np.int64],
    face: tuple[int, int],
) -> None:
    """Fill the equation of one trace, that of ``face`` (octant, axis), for all vertices."""
    medium, rates = model
    octant, axis = face
    row = 3 * octant + axis
    partner = octant ^ (1 << axis)
    half_cell = medium.voxel / 2 / rates.diffusivity
    cell, beyond = octants[:, octant], octants[:, partner]
    equations[cell < 0, row, row] = 1
    side = 2 * axis + 1 - int(_OCTANTS[octant, axis])
    gas = (cell >= 0) & (medium.neighbours[cell, side] == GAS)
    equations[:, row] += np.where(((cell >= 0) & (beyond < 0))[:, None], flux[:, row], 0)
    open_faces = np.flatnonzero(gas)
    exchange = rates.surface * medium.face_weight[cell[open_faces], side]
    keep, drive = _shares(np.full(open_faces.size, inf) if rates.surface == 0 else 1 / exchange, half_cell)
    equations[open_faces, row] *= keep[:, None]
    equations[open_faces, row, row] -= drive
    equations[open_faces, row, 32 + octant] += drive
    pairs = np.flatnonzero((cell >= 0) & (beyond >= 0))
    if octant < partner:
        equations[pairs, row] = flux[pairs, row] + flux[pairs, 3 * partner + axis]
        return
    barrier = medium.barrier(medium.grain[cell[pairs]], medium.grain[beyond[pairs]])
    resistance = barrier / rates.boundary if rates.boundary > 0 else np.where(barrier > 0, inf, 0.0)
    keeps, drives = _shares(resistance, half_cell)
    equations[pairs, row] = keeps[:, None] * flux[pairs, row]
    equations[pairs, row, row] -= drives
    equations[pairs, row, 3 * partner + axis] += drives


def _gather(local: Floats, octants: NDArray[np.int64], n: int) -> csr_array:
    """Sum the matrices of vertices (vertex, 8, 8) into one of all cells."""
    rows = np.broadcast_to(octants[:, :, None], local.shape)
    columns = np.broadcast_to(octants[:, None, :], local.shape)
    real = (rows >= 0) & (columns >= 0) & (local != 0)
    return csr_array(coo_array((local[real], (rows[real], columns[real])), shape=(n, n)))
