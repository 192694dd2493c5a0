"""Diffusion in a polycrystal with resistive grain boundaries and surface exchange: finite volumes, implicit in time.

    du/dt = div(D A grad u) + s,    A = I - (1 - r) c c^T,    r = D along c / D across c

on the voxels of a particle. A face between two cells is a row of resistances (two-point flux): half a cell of either
side, and between two grains the boundary,

    flux = (u_i - u_j) / (h/2 / (D A_nn,i) + h/2 / (D A_nn,j) + g / kappa),    g = eps + (1 - eps) sin^2(c_i, c_j).

A face towards gas has (u - target) / (h/2 / (D A_nn) + 1 / (w k)), where w is the true area of the surface over that
of the face: a staircase has too many faces. w belongs to the exchange alone, since the way from the middle of a cell to
an oblique surface is w h/2 on average and crosses w of the face's area. Two-point fluxes neglect the tangential part of
A; the operator in tests/virtual/multipoint.py does not, and exists to measure what that costs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import inf

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import uniform_filter

from cathoscope.core.errors import CathoscopeError
from cathoscope.virtual import transport_kernels as kernels

GAS, WALL = -1, -2  # entries of the neighbour table that are no cells
_SMOOTHING = 5  # voxels: width of the box, applied twice, that turns a staircase into a smooth body
_RESTARTS = 4
_LEAST_WEIGHT = 0.05  # of a gas-facing face; adds 6e-5 to the area of a sphere

Floats = NDArray[np.float64]
Integers = NDArray[np.int32]


@dataclass(frozen=True)
class Rates:
    """Transport coefficients of one field at one temperature.

    ``diffusivity`` D (um²/s) across the c axis; ``boundary`` kappa (um/s) of a boundary with g = 1, infinite for none;
    ``surface`` k (um/s), zero for a particle that exchanges nothing, infinite for a surface that is always at target.
    """

    diffusivity: float
    boundary: float
    surface: float

    def __post_init__(self) -> None:
        if not (0 < self.diffusivity < inf and self.boundary >= 0 and self.surface >= 0):
            raise CathoscopeError(
                "these transport coefficients are not possible",
                expected="diffusivity above 0 and finite; boundary and surface 0 or more",
                found=str(self),
            )


@dataclass(frozen=True)
class Step:
    """The field (n,) after a step, and what left through the surface meanwhile (um³ times the unit of the field)."""

    field: Floats
    outflow: float


@dataclass(frozen=True, eq=False)
class Polycrystal:
    """The medium: who neighbours whom, and what lies between. Made by `polycrystal`.

    ``cells`` (n,) are flat indices into a grid of ``shape`` (z, y, x) with cubes of ``voxel`` um; ``grain`` (n,)
    numbers the grain of each cell and ``c_axis`` (grain, 3: x, y, z) are unit vectors. ``neighbours``
    (n, 6: -x +x -y +y -z +z) holds cells, -1 for gas, -2 for a wall without flux. ``face_weight`` (n, 6) is the true
    area behind a gas-facing face over that of the face.
    """

    shape: tuple[int, int, int]
    voxel: float
    cells: NDArray[np.intp]
    grain: Integers
    c_axis: Floats
    slow_ratio: float
    aligned_resistance: float
    neighbours: Integers
    face_weight: Floats

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return self.cells.size

    @property
    def cell_volume(self) -> float:
        """Volume of one cell, um³."""
        return self.voxel**3

    @property
    def surface_area(self) -> float:
        """Area open to gas, um²."""
        return float(self.face_weight.sum()) * self.voxel**2

    def on_grid(self, field: ArrayLike, outside: float = np.nan) -> Floats:
        """A field (n,) as an array (z, y, x), ``outside`` where there is gas."""
        volume = np.full(self.shape, outside)
        volume.flat[self.cells] = field
        return volume

    def barrier(self, first: Integers, second: Integers) -> Floats:
        """Resistance g (1) of the boundary between grains, 0 within a grain; see the head of the module."""
        aligned = (self.c_axis[first] * self.c_axis[second]).sum(axis=-1) ** 2
        g = self.aligned_resistance + (1 - self.aligned_resistance) * np.clip(1 - aligned, 0, 1)
        return np.asarray(np.where(first == second, 0.0, g))

    @cached_property
    def mobility(self) -> Floats:
        """A_nn (grain, 3) along x, y and z."""
        return np.asarray(1 - (1 - self.slow_ratio) * self.c_axis**2)

    @cached_property
    def network(self) -> Network:
        """Resistances of all faces and the levels of the solver."""
        return _network(self)


@dataclass(frozen=True, eq=False)
class Network:
    """Half-cell resistances (um, to be divided by D) and barriers (1) of all faces, gas-facing faces, and levels."""

    bulk: Floats
    barrier: Floats
    gas_cell: NDArray[np.intp]
    gas_bulk: Floats
    gas_weight: Floats
    levels: tuple[kernels.Level, ...]


def polycrystal(
    labels: ArrayLike,
    c_axis: ArrayLike,
    voxel: float,
    slow_ratio: float,
    aligned_resistance: float,
    closed: ArrayLike | None = None,
) -> Polycrystal:
    """The medium made of labelled voxels.

    The faces of a staircase have too much area. A gas-facing face counts with |n . e|, n the outward normal of the body
    smoothed by a box, taken in the middle of the face, e the axis of the face: the sum over the staircase in front of a
    plane is then its true area.

    Parameters
    ----------
    labels
        Number of the grain (z, y, x), -1 for gas.
    c_axis
        Axis of slow diffusion of every grain (grain, 3: x, y, z), of any length.
    voxel
        Edge of a voxel, um.
    slow_ratio
        r, diffusivity along c over that across.
    aligned_resistance
        eps, resistance of the boundary of two grains with parallel c axes over that of perpendicular ones.
    closed
        Gas voxels (z, y, x) that let no gas out.

    Raises
    ------
    CathoscopeError
        If there is no cell, a label without axis, or a parameter out of its range.
    """
    numbers = np.asarray(labels)
    axes = np.atleast_2d(np.asarray(c_axis, dtype=np.float64))
    _require_medium(numbers, axes, voxel, slow_ratio, aligned_resistance)
    cells = np.flatnonzero(numbers >= 0)
    number = np.full(numbers.shape, GAS, dtype=np.int32)
    number.flat[cells] = np.arange(cells.size, dtype=np.int32)
    shut = np.zeros(numbers.shape, dtype=np.bool_) if closed is None else np.asarray(closed, dtype=np.bool_)
    neighbours = np.empty((cells.size, 6), dtype=np.int32)
    kernels.neighbour_table(number, shut, neighbours)
    return Polycrystal(
        shape=(numbers.shape[0], numbers.shape[1], numbers.shape[2]),
        voxel=voxel,
        cells=cells,
        grain=numbers.flat[cells].astype(np.int32),
        c_axis=axes / np.linalg.norm(axes, axis=1, keepdims=True),
        slow_ratio=slow_ratio,
        aligned_resistance=aligned_resistance,
        neighbours=neighbours,
        face_weight=_face_weight(numbers >= 0, cells, neighbours == GAS),
    )


def _require_medium(
    labels: NDArray[np.integer], axes: Floats, voxel: float, slow_ratio: float, aligned_resistance: float
) -> None:
    """Refuse what cannot be a medium."""
    if labels.ndim != 3 or not (labels >= 0).any():
        raise CathoscopeError("a particle needs a grid (z, y, x) with at least one cell", found=f"{labels.shape}")
    if axes.shape[1] != 3 or labels.max() >= len(axes) or not (np.linalg.norm(axes, axis=1) > 0).all():
        raise CathoscopeError(
            "every grain needs a c axis (x, y, z) of positive length",
            expected=f"{labels.max() + 1} axes",
            found=f"an array of shape {axes.shape}",
        )
    if not (voxel > 0 and 0 < slow_ratio <= 1 and 0 <= aligned_resistance <= 1):
        raise CathoscopeError(
            "the medium has an impossible parameter",
            expected="voxel above 0 um, 0 < slow_ratio <= 1, 0 <= aligned_resistance <= 1",
            found=f"voxel {voxel}, slow_ratio {slow_ratio}, aligned_resistance {aligned_resistance}",
        )


def _face_weight(solid: NDArray[np.bool_], cells: NDArray[np.intp], faces: NDArray[np.bool_]) -> Floats:
    """|n . e| of every gas-facing face (n, 6), 0 for the others."""
    smooth = solid.astype(np.float64)
    for _ in range(2):
        smooth = uniform_filter(smooth, _SMOOTHING, mode="nearest")
    padded = np.pad(smooth, 1, mode="edge")
    inner = slice(1, -1)
    along = [padded[inner, inner, 2:] - padded[inner, inner, :-2]]
    along.append(padded[inner, 2:, inner] - padded[inner, :-2, inner])
    along.append(padded[2:, inner, inner] - padded[:-2, inner, inner])
    gradient = np.stack([part.ravel() for part in along], axis=-1)
    strides = (1, solid.shape[2], solid.shape[1] * solid.shape[2])
    weight = np.zeros(faces.shape)
    for side in range(6):
        axis, sign = side // 2, 2 * (side % 2) - 1
        here = np.flatnonzero(faces[:, side])
        normal = gradient[cells[here]] + gradient[cells[here] + sign * strides[axis]]
        length = np.linalg.norm(normal, axis=1)
        share = np.where(length > 0, np.abs(normal[:, axis]) / np.where(length > 0, length, 1), 1)
        weight[here, side] = np.maximum(share, _LEAST_WEIGHT)
    return weight


def _network(medium: Polycrystal) -> Network:
    """Resistances of all faces and the levels of the solver."""
    columns = [4, 2, 0, 1, 3, 5]  # neighbours of a cell in rising order
    table = medium.neighbours[:, columns]
    half = 0.5 * medium.voxel / medium.mobility[:, np.array(columns) // 2][medium.grain]
    inside = table >= 0
    cell = np.broadcast_to(np.arange(medium.n_cells, dtype=np.int32)[:, None], table.shape)[inside]
    other = table[inside]
    half_of_other = 0.5 * medium.voxel / medium.mobility[:, np.array(columns) // 2]
    side = np.broadcast_to(np.arange(6), table.shape)[inside]
    gas = table == GAS
    fast = medium.mobility > 0.25 * medium.mobility.max(axis=1, keepdims=True)
    links = kernels.Links(
        first=cell,
        second=other,
        same=medium.grain[cell] == medium.grain[other],
        strong=fast[medium.grain[cell], np.array(columns)[side] // 2],
    )
    return Network(
        bulk=half[inside] + half_of_other[medium.grain[other], side],
        barrier=medium.barrier(medium.grain[cell], medium.grain[other]),
        gas_cell=np.nonzero(gas)[0],
        gas_bulk=half[gas],
        gas_weight=medium.face_weight[:, columns][gas],
        levels=kernels.levels(np.stack(np.unravel_index(medium.cells, medium.shape), axis=1), links),
    )


def _reciprocal(value: float) -> float:
    """1 / value, with the limits 0 and infinity."""
    return inf if value == 0 else 1 / value


def _exchange(medium: Polycrystal, rates: Rates) -> Floats:
    """Rate (1/s) at which each cell approaches its target through gas-facing faces."""
    network = medium.network
    if rates.surface == 0:
        return np.zeros(medium.n_cells)
    resistance = network.gas_bulk / rates.diffusivity + 1 / (rates.surface * network.gas_weight)
    rate = 1 / resistance / medium.voxel
    return np.asarray(np.bincount(network.gas_cell, rate, medium.n_cells), dtype=np.float64)


def _solution(matrices: list[kernels.Matrix], start: Floats, right: Floats, tolerance: float) -> tuple[Floats, Floats]:
    """Solution of the first matrix for ``right``, and its residual."""
    first = matrices[0]
    pattern = (first.level.starts, first.level.others, first.values, first.own)
    field = start.copy()
    scale = max(np.abs(start).max(), np.abs(right / first.own).max())
    reachable = max(tolerance, 4 * np.finfo(float).eps * float(first.total.max()) * float(scale))
    for _ in range(_RESTARTS):  # the residual carried along drifts from the true one, so it is computed anew
        left = right.copy()
        if kernels.residual(*pattern, field, left) <= reachable:
            return field, left
        kernels.solve(matrices, field, left, 0.5 * reachable)
    raise CathoscopeError("the transport step did not converge", cure="use a shorter step or a larger tolerance")


def step(
    medium: Polycrystal,
    field: ArrayLike,
    rates: Rates,
    target: ArrayLike,
    duration: float,
    tolerance: float = 1e-8,
    source: ArrayLike = 0.0,
) -> Step:
    """One step of backward Euler.

    (u_new - u) / duration = div(D A grad u_new) + source, fluxes at the end of the step. The matrix M of the step has
    M 1 >= 1 and no positive element off the diagonal, hence |error| <= max |residual|: ``tolerance`` bounds the error
    of every cell. What the iteration leaves of the balance is spread over all cells, so content changes by
    source - outflow to rounding.

    Parameters
    ----------
    medium
        The cells.
    field
        Values (n,) before the step.
    rates
        At the temperature of the step.
    target
        Value with which the gas is in equilibrium, one for all or (n,).
    duration
        s.
    tolerance
        Largest error of the solution, in the unit of the field. A residual that is all rounding is accepted.
    source
        Added per second, one for all or (n,).

    Raises
    ------
    CathoscopeError
        If a value is not finite, the duration is negative, or the iteration does not converge.
    """
    if not 0 <= duration < inf:
        raise CathoscopeError("a step takes a finite time of 0 s or more", found=f"duration {duration} s")
    old = np.array(np.broadcast_to(np.asarray(field, dtype=np.float64), medium.n_cells))
    exchange = _exchange(medium, rates)
    goal = np.asarray(target, dtype=np.float64)
    right = old + duration * (np.asarray(source, dtype=np.float64) + exchange * goal)
    if not np.isfinite(right).all():
        raise CathoscopeError("field, target and source of a transport step must be finite")
    scales = np.array([1 / rates.diffusivity, _reciprocal(rates.boundary), duration / medium.voxel])
    network = medium.network
    matrices = kernels.matrices(network.levels, (network.bulk, network.barrier), scales, 1 + duration * exchange)
    new, left = _solution(matrices, old, right, tolerance)
    outflow = duration * kernels.dot(exchange, new - goal) * medium.cell_volume
    return Step(new + left.mean(), float(outflow))
