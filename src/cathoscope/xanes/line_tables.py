"""Tables for fitting white lines in a compressed basis: what all voxels measured at the same energies share.

A spectrum is whitened and projected onto K orthonormal vectors; K numbers z are all that is fitted. At the nodes of
a grid over line centre, edge distance and line width the Gauss-Newton step of a weighted fit is a fixed matrix, so
it is computed once and stored. The weight falls to zero outside a window that moves with the line.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.physics.edges import k_edge_within
from cathoscope.xanes.line_tiles import LANES, padded, tiled

Float64Array = NDArray[np.float64]
Float32Array = NDArray[np.float32]

N_COLUMNS = 7  # 1, t, edge, line, and derivatives to edge energy, line centre, line width
SLOPE_SCALE = 10.0  # eV of t
_TAPER_SHARPNESS = 2.0  # per eV
_SEARCH_STEP = 1.0  # eV between the centres that are looked at first
_SMALLEST_EIGENVALUE = 1e-7  # of the normal matrix with unit diagonal; below it a node is not determined


@dataclass(frozen=True)
class LineGrid:
    """Shapes at which steps are stored; energies and widths in eV.

    ``edge_energy`` is the tabulated energy of the K edge that ``centre_range`` counts from; without it the one
    K edge within the energies measured is taken. ``distance`` is the line centre minus the edge energy of the model,
    ``width`` the standard deviation of the Gaussian line, ``edge_width`` the fixed width of the arctangent.
    ``with_slope`` adds a straight slope to the model; in a window of a few eV it costs more noise than it saves
    bias, as long as the slope is below 0.1 % of the jump per eV.
    """

    edge_energy: float | None = None
    centre_range: tuple[float, float] = (11.2, 22.7)
    centre_step: float = 0.25
    distance_range: tuple[float, float] = (4.5, 9.5)
    distance_step: float = 1.0
    width_range: tuple[float, float] = (1.4, 3.8)
    width_step: float = 0.4
    edge_width: float = 2.0
    with_slope: bool = False


class Axes(NamedTuple):
    """First node, step and number of nodes of centre, distance and width, eV."""

    first: tuple[float, float, float]
    step: tuple[float, float, float]
    count: tuple[int, int, int]  # type: ignore[assignment]
    edge_width: float


class NodeTables(NamedTuple):
    """What the kernel needs; energies relative to the edge energy, node = (centre, distance, width) in C order.

    K is padded with zeros to a multiple of LANES. Tables for matrix products are flat and hold, for each group of
    LANES rows of the matrix, the columns one after the other: [group, column, LANES].
    """

    axes: Axes
    steps: Float32Array  # parameters from coefficients, [node, K, LANES]
    covariance: Float32Array  # of the parameters for unit noise, [node, LANES, LANES]
    second_order: Float32Array  # parameters from second derivatives (E0E0, cc, cs, ss), [node, 4, LANES]
    columns: Float32Array  # 1, t, (edge, derivative) of each distance, (line, 2 derivatives) of each width, as
    # coefficients, [centre, 2 + 2 distances + 3 widths, K]
    taper: Float32Array  # weight of the window in the compressed space, [centre, K / LANES, K, LANES]
    freedom: Float32Array  # expected weighted square sum of the residual of unit noise, [node]
    search_index: NDArray[np.int64]  # centres that are looked at first, [coarse]
    search: Float32Array  # (edge, line) there, orthonormal, of four centres at a time, [coarse / 4, K, LANES]


@dataclass(frozen=True)
class FitPlan:
    """What all spectra measured at the same energies with the same noise share.

    Attributes
    ----------
    energy
        Photon energies, eV, ``[energy]``.
    edge_energy
        Energy that the grid counts from, eV.
    projector
        ``z = spectrum @ projector``: noise of stated covariance becomes independent with unit variance,
        ``[energy, K]``.
    expansion
        ``spectrum = expansion @ z``, as far as the basis holds it, ``[energy, K]``.
    tables
        Stored steps, for the kernel.
    window
        Lowest and highest energy relative to the line centre, eV; None where all energies count.
    grid
        The shapes as asked for; nodes that the energies do not determine are left out at both ends of the centres.
    """

    energy: Float64Array
    edge_energy: float
    projector: Float64Array = field(repr=False)
    expansion: Float64Array = field(repr=False)
    tables: NodeTables = field(repr=False)
    window: tuple[float, float] | None
    grid: LineGrid

    @property
    def n_components(self) -> int:
        """Number of coefficients K."""
        return int(self.projector.shape[1])

    @property
    def centre_range(self) -> tuple[float, float]:
        """Lowest and highest line centre of the nodes, eV."""
        axes = self.tables.axes
        first = self.edge_energy + axes.first[0]
        return first, first + (axes.count[0] - 1) * axes.step[0]


def plan_fit(
    *,
    energy: ArrayLike,
    noise_std: ArrayLike | None = None,
    covariance: ArrayLike | None = None,
    basis: ArrayLike | None = None,
    n_components: int = 16,
    window: tuple[float, float] | None = (-12.0, 6.0),
    grid: LineGrid | None = None,
) -> FitPlan:
    r"""Plan the fit of white lines measured at ``energy``.

    With the noise covariance :math:`\Sigma = L L^T`, ``basis`` B and the model's columns J at a node,
    :math:`z = B^T L^{-1} y`, :math:`R = B^T L^{-1} J`, :math:`\Omega = B^T \mathrm{diag}(v) B` with v the window, and
    the stored step is :math:`M = (R^T \Omega R)^{-1} R^T \Omega`.

    Parameters
    ----------
    energy
        Photon energies in eV, strictly ascending, ``[energy]``.
    noise_std, covariance
        Noise of one spectrum, in its unit: standard deviation ``[energy]``, or covariance ``[energy, energy]`` where
        the noise of different energies is correlated. One of the two. A factor for each voxel may be given later.
    basis
        Orthonormal vectors in the whitened space, ``[energy, K]``, where spectra are known as such coefficients
        already. Without it, `model_basis`.
    n_components
        K without ``basis``.
    window
        Lowest and highest energy relative to the line centre, eV; None for all energies.
    grid
        Shapes at which steps are stored.

    Raises
    ------
    MeasurementError
        If shapes do not fit, energies do not ascend, the noise is not positive, the basis is not orthonormal, no
        K edge is found, or the energies do not determine a white line anywhere on the grid.
    """
    grid = grid or LineGrid()
    axis = _checked_energy(energy)
    root = _noise_root(axis, noise_std, covariance)
    edge_energy = _edge_energy(axis, grid)
    shapes = _Shapes(axis - edge_energy, root, grid, window)
    vectors = _vectors(shapes, n_components) if basis is None else _checked_basis(basis, axis.size)
    tables = _tables(shapes, vectors)
    projector = np.asarray(np.linalg.solve(root.T, vectors), dtype=np.float64)
    return FitPlan(axis, edge_energy, projector, root @ vectors, tables, window, grid)


def model_basis(
    *,
    energy: ArrayLike,
    noise_std: ArrayLike | None = None,
    covariance: ArrayLike | None = None,
    n_components: int = 16,
    window: tuple[float, float] | None = (-12.0, 6.0),
    grid: LineGrid | None = None,
) -> Float64Array:
    """Orthonormal vectors in the whitened space that hold the model's spectra best, ``[energy, K]``.

    The first two span a straight line; the others are the leading singular vectors of the model's columns at all nodes,
    each of unit length, with and without the window.

    Parameters and errors are those of `plan_fit`.
    """
    grid = grid or LineGrid()
    axis = _checked_energy(energy)
    root = _noise_root(axis, noise_std, covariance)
    return _vectors(_Shapes(axis - _edge_energy(axis, grid), root, grid, window), n_components)


def basis_with_data(
    *,
    energy: ArrayLike,
    noise_std: ArrayLike | None = None,
    covariance: ArrayLike | None = None,
    spectra: ArrayLike,
    n_model: int = 12,
    n_components: int = 20,
    grid: LineGrid | None = None,
) -> Float64Array:
    """`model_basis` of ``n_model`` vectors and the leading directions of measured spectra outside it, ``[energy, K]``.

    The model's vectors hold what the fit needs, the data's what real shapes have besides, which the highest point of a
    spectrum needs. ``spectra`` (``[spectrum, energy]``) should be averages of low noise that show all states; rows with
    NaN are left out. Other parameters and errors are those of `plan_fit`.
    """
    model = model_basis(
        energy=energy, noise_std=noise_std, covariance=covariance, n_components=n_model, window=(-12.0, 6.0), grid=grid
    )
    values = np.asarray(spectra, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != model.shape[0] or not n_model <= n_components <= model.shape[0]:
        raise MeasurementError(
            "the spectra or the number of components do not fit the energies",
            expected=f"[spectrum, {model.shape[0]}] and {n_model} to {model.shape[0]} components",
            found=f"shape {values.shape}, {n_components} components",
        )
    root = _noise_root(np.asarray(energy, dtype=np.float64), noise_std, covariance)
    white = np.linalg.solve(root, values[np.isfinite(values).all(axis=1)].T)
    rest = white - model @ (model.T @ white)
    leading = np.linalg.eigh(rest @ rest.T)[1][:, ::-1]
    return np.asarray(np.linalg.qr(np.concatenate([model, leading], axis=1))[0][:, :n_components])


class _Shapes:
    """The model's columns at all nodes, whitened; energies relative to the edge energy."""

    def __init__(
        self, energy: Float64Array, root: Float64Array, grid: LineGrid, window: tuple[float, float] | None
    ) -> None:
        self.grid, self.window, self.energy = grid, window, energy
        self.centre = _nodes(grid.centre_range, grid.centre_step)
        self.centre = self.centre[(self.centre > energy[0]) & (self.centre < energy[-1])]
        self.distance = _nodes(grid.distance_range, grid.distance_step)
        self.width = _nodes(grid.width_range, grid.width_step)
        self._inverse = np.linalg.inv(root)
        slope = (energy - sum(grid.centre_range) / 2) / SLOPE_SCALE
        self.background = self._whitened(np.stack([np.ones_like(energy), slope]))
        self.edge = self._whitened(self._edge_columns())
        self.line = self._whitened(self._line_columns())
        self.taper = self._taper()

    def _whitened(self, columns: Float64Array) -> Float64Array:
        return np.asarray(columns @ self._inverse.T)

    def _edge_columns(self) -> Float64Array:
        """Arctangent, its derivative to the edge energy and the second one, [centre, distance, 3, energy]."""
        width = self.grid.edge_width
        x = (self.energy - (self.centre[:, None] - self.distance)[..., None]) / width
        slope = 1.0 / (np.pi * width * (1.0 + x**2))
        return np.stack([0.5 + np.arctan(x) / np.pi, -slope, -2.0 * x * slope / (width * (1.0 + x**2))], axis=2)

    def _line_columns(self) -> Float64Array:
        """Gaussian, derivatives to centre and width and the second ones (cc, cs, ss), [centre, width, 6, energy]."""
        width = self.width[None, :, None]
        u = (self.energy - self.centre[:, None, None]) / width
        line = np.exp(-0.5 * u**2)
        first = [line, line * u / width, line * u**2 / width]
        second = [line * (u**2 - 1.0), line * u * (u**2 - 2.0), line * u**2 * (u**2 - 3.0)]
        return np.stack([*first, *(column / width**2 for column in second)], axis=2)

    def _taper(self) -> Float64Array:
        """Weight of the energies at each centre, [centre, energy]."""
        if self.window is None:
            return np.ones((self.centre.size, self.energy.size))
        offset = self.energy - self.centre[:, None]
        low, high = (_TAPER_SHARPNESS * (offset - end) for end in self.window)
        return np.asarray(0.25 * (1.0 + np.tanh(0.5 * low)) * (1.0 - np.tanh(0.5 * high)))


def _nodes(limits: tuple[float, float], step: float) -> Float64Array:
    count = int(np.floor((limits[1] - limits[0]) / step + 1e-9)) + 1
    return np.asarray(limits[0] + step * np.arange(count), dtype=np.float64)


def _vectors(shapes: _Shapes, n_components: int) -> Float64Array:
    n_energies = shapes.energy.size
    if not N_COLUMNS < n_components <= n_energies:
        raise MeasurementError(
            "the number of components does not fit the spectra",
            expected=f"more than {N_COLUMNS}, at most the {n_energies} energies",
            found=str(n_components),
        )
    straight = np.linalg.qr(shapes.background.T)[0]
    plain = [shapes.edge[:, :, :2], shapes.line[:, :, :3]]
    tapered = [shapes.taper[:, None, None] * columns for columns in plain] if shapes.window else []
    columns = np.concatenate([part.reshape(-1, n_energies) for part in plain + tapered])
    columns /= np.maximum(np.linalg.norm(columns, axis=1, keepdims=True), 1e-300)
    columns -= (columns @ straight) @ straight.T
    _, leading = np.linalg.eigh(columns.T @ columns)
    # orthonormal to rounding also where the columns span less than K directions
    return np.asarray(np.linalg.qr(np.concatenate([straight, leading[:, ::-1]], axis=1))[0][:, :n_components])


def _tables(shapes: _Shapes, vectors: Float64Array) -> NodeTables:
    background, edge, line = shapes.background @ vectors, shapes.edge @ vectors, shapes.line @ vectors
    taper = np.einsum("ek,ce,el->ckl", vectors, shapes.taper, vectors, optimize=True)
    n_centre, n_nodes = shapes.centre.size, shapes.distance.size * shapes.width.size
    steps = np.zeros((n_centre, n_nodes, LANES, vectors.shape[1]))
    second_order = np.zeros((n_centre, n_nodes, 4, LANES))
    freedom = np.zeros((n_centre, n_nodes))
    determined = np.zeros(n_centre, dtype=bool)
    used = np.flatnonzero([True, shapes.grid.with_slope] + [True] * (N_COLUMNS - 2))
    for c in range(n_centre):
        columns = _node_columns(background, edge[c], line[c])
        step, smallest = _stored_step(columns[:, used], taper[c])
        determined[c] = smallest > _SMALLEST_EIGENVALUE
        steps[c][:, used] = step
        second_order[c][:, :, used] = columns[:, N_COLUMNS:] @ step.transpose(0, 2, 1)
        explained = np.einsum("npl,npl->n", columns[:, used] @ taper[c], step)
        freedom[c] = np.trace(taper[c]) - explained
    kept = _longest_run(determined)
    coarse = _coarse_centres(shapes.grid, shapes.centre[kept].size)
    return NodeTables(
        axes=_axes(shapes, kept),
        steps=tiled(steps[kept]),
        covariance=tiled(steps[kept] @ steps[kept].swapaxes(2, 3)),
        second_order=second_order[kept].astype(np.float32).ravel(),
        columns=padded(_flat_columns(background, edge[kept], line[kept])),
        taper=tiled(padded(taper[kept]).swapaxes(1, 2)),
        freedom=freedom[kept].ravel().astype(np.float32),
        search_index=coarse,
        search=tiled(_search(background, edge[kept][coarse], line[kept][coarse]).reshape(-1, LANES, vectors.shape[1])),
    )


def _axes(shapes: _Shapes, kept: slice) -> Axes:
    grid, centre = shapes.grid, shapes.centre[kept]
    return Axes(
        (float(centre[0]), float(shapes.distance[0]), float(shapes.width[0])),
        (float(grid.centre_step), float(grid.distance_step), float(grid.width_step)),
        (int(centre.size), int(shapes.distance.size), int(shapes.width.size)),
        float(grid.edge_width),
    )


def _coarse_centres(grid: LineGrid, n_centres: int) -> NDArray[np.int64]:
    """Every centre node about 1 eV from the next, the last one repeated to a multiple of four."""
    index = np.arange(0, n_centres, max(1, round(_SEARCH_STEP / grid.centre_step)))
    return np.pad(index, (0, -index.size % 4), mode="edge")


def _node_columns(background: Float64Array, edge: Float64Array, line: Float64Array) -> Float64Array:
    """Columns of the model and its second derivatives at the nodes of one centre, [node, 11, K]."""
    n_distance, n_width = edge.shape[0], line.shape[0]
    shape = (n_distance, n_width, background.shape[1])
    e = np.broadcast_to(edge[:, None], (*shape[:2], *edge.shape[1:]))
    g = np.broadcast_to(line[None], (*shape[:2], *line.shape[1:]))
    order = [background[0], background[1], e[:, :, 0], g[:, :, 0], e[:, :, 1], g[:, :, 1], g[:, :, 2]]
    order += [e[:, :, 2], g[:, :, 3], g[:, :, 4], g[:, :, 5]]
    return np.stack([np.broadcast_to(column, shape) for column in order], axis=2).reshape(-1, len(order), shape[2])


def _flat_columns(background: Float64Array, edge: Float64Array, line: Float64Array) -> Float64Array:
    n_centre, n_components = edge.shape[0], background.shape[1]
    first = np.broadcast_to(background, (n_centre, *background.shape))
    rest = [edge[:, :, :2].reshape(n_centre, -1, n_components), line[:, :, :3].reshape(n_centre, -1, n_components)]
    return np.concatenate([first, *rest], axis=1)


def _stored_step(design: Float64Array, taper: Float64Array) -> tuple[Float64Array, float]:
    """M of each node, [node, parameter, K], and the smallest eigenvalue of the scaled normal matrices."""
    weighted = design @ taper
    normal = weighted @ design.transpose(0, 2, 1)
    scale = 1.0 / np.sqrt(np.maximum(np.diagonal(normal, axis1=1, axis2=2), 1e-300))
    scaled = normal * scale[:, :, None] * scale[:, None, :]
    smallest = float(np.linalg.eigvalsh(scaled)[:, 0].min())
    if not smallest > _SMALLEST_EIGENVALUE:
        return np.zeros_like(weighted), smallest
    return np.asarray(scale[:, :, None] * np.linalg.solve(scaled, scale[:, :, None] * weighted)), smallest


def _longest_run(determined: NDArray[np.bool_]) -> slice:
    ends = np.flatnonzero(np.diff(np.concatenate([[False], determined, [False]]).astype(np.int8)))
    starts, stops = ends[::2], ends[1::2]
    if starts.size == 0 or (stops - starts).max() < 3:
        raise MeasurementError(
            "the energies do not determine a white line",
            expected="energies every 1 eV or closer from 12 eV below to 6 eV above where the line may be",
            cure="give the energy of the edge, or a wider window",
        )
    longest = int(np.argmax(stops - starts))
    return slice(int(starts[longest]), int(stops[longest]))


def _search(background: Float64Array, edge: Float64Array, line: Float64Array) -> Float64Array:
    """Edge and line at the middle shape, orthonormal to the straight line and to each other, [centre, 2, K]."""
    pair = np.stack([edge[:, edge.shape[1] // 2, 0], line[:, line.shape[1] // 2, 0]], axis=2)
    straight = np.broadcast_to(background.T, (pair.shape[0], *background.T.shape))
    orthonormal = np.linalg.qr(np.concatenate([straight, pair], axis=2))[0][:, :, 2:]
    return np.asarray(orthonormal.transpose(0, 2, 1))


def _edge_energy(energy: Float64Array, grid: LineGrid) -> float:
    if grid.edge_energy is not None:
        return float(grid.edge_energy)
    found = k_edge_within(lowest=float(energy[0]), highest=float(energy[-1]))
    if found is None:
        raise MeasurementError(
            "no single K edge lies within the energies",
            found=f"{energy[0]:g} to {energy[-1]:g} eV",
            cure="give the edge energy in eV",
        )
    return found


def _checked_energy(energy: ArrayLike) -> Float64Array:
    axis = np.array(energy, dtype=np.float64)
    if axis.ndim != 1 or axis.size <= N_COLUMNS or not np.all(np.diff(axis) > 0):
        raise MeasurementError(
            "the energies do not make a spectrum",
            expected=f"more than {N_COLUMNS} strictly ascending, finite energies in eV",
            found=f"shape {axis.shape}",
        )
    return axis


def _noise_root(energy: Float64Array, noise_std: ArrayLike | None, covariance: ArrayLike | None) -> Float64Array:
    """L with L L' the covariance of the noise, [energy, energy]."""
    if (noise_std is None) == (covariance is None):
        raise MeasurementError("the noise is not stated once", expected="either noise_std or covariance")
    n = energy.size
    if noise_std is not None:
        std = np.asarray(noise_std, dtype=np.float64)
        if std.shape != (n,) or not np.all(np.isfinite(std) & (std > 0)):
            raise MeasurementError(
                "the noise does not fit the energies",
                expected=f"{n} finite standard deviations above zero",
                found=f"shape {std.shape}",
            )
        return np.diag(std)
    matrix = np.asarray(covariance, dtype=np.float64)
    if matrix.shape == (n, n) and np.isfinite(matrix).all():
        try:
            return np.asarray(np.linalg.cholesky(0.5 * (matrix + matrix.T)))
        except np.linalg.LinAlgError:
            pass
    raise MeasurementError(
        "the covariance of the noise cannot be used",
        expected=f"a finite, positive definite matrix of {n} x {n} energies",
        found=f"shape {matrix.shape}",
    )


def _checked_basis(basis: ArrayLike, n_energies: int) -> Float64Array:
    vectors = np.array(basis, dtype=np.float64)
    fits = vectors.ndim == 2 and vectors.shape[0] == n_energies and N_COLUMNS < vectors.shape[1] <= n_energies
    if not fits or not np.allclose(vectors.T @ vectors, np.eye(vectors.shape[1]), atol=1e-5):
        raise MeasurementError(
            "the basis does not fit the fit",
            expected=f"orthonormal vectors [{n_energies} energies, more than {N_COLUMNS}] in the whitened space",
            found=f"shape {vectors.shape}",
        )
    return vectors
