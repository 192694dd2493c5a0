"""Compiled fit of compressed spectra with stored Gauss-Newton steps: one spectrum after the other.

Nothing passes from one spectrum to the next, so a result does not depend on which others are in the batch.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.xanes.line_newton import (
    AMPLITUDE,
    CENTRE,
    EDGE,
    JUMP,
    POSITION,
    SLOPE,
    WIDTH,
    bell,
    find_maxima,
    maximum_of,
    new_curves,
)
from cathoscope.xanes.line_tables import N_COLUMNS, SLOPE_SCALE, FitPlan
from cathoscope.xanes.line_tiles import LANES, padded, tile_product, tiled
from cathoscope.xanes.whiteline import PARAMETERS, WhiteLineFit

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]

GOOD, NO_EDGE, NO_MAXIMUM, NO_CONVERGENCE, AT_LIMIT, NON_FINITE = range(6)  # of WhiteLineFlag

_ITERATIONS = 8
_LONGEST = (1.0, 2.0, 0.6)  # eV: steps of centre, edge energy and width are cut to these
_AGREEMENT = 0.1  # eV: two nodes that point at each other may differ by this and three standard uncertainties
_USUAL_OFFSET = 0.12  # eV from the line's centre to the maximum, where the search begins
_NARROWEST = 0.3  # eV
_BATCH = 4096  # spectra that pass through all kernels at a time
_LEAST_FREEDOM = 0.5  # below it the residual says nothing


def compress(plan: FitPlan, spectra: ArrayLike) -> Float32Array:
    """Coefficients z = B' L^-1 spectrum, ``[spectrum, K]``, of ``spectra`` ``[spectrum, energy]``.

    Spectra are in the unit in which the noise of the plan was stated. A spectrum with NaN or infinity gives NaN.

    Raises
    ------
    MeasurementError
        If the spectra do not have the energies of the plan.
    """
    values = np.asarray(spectra)
    if values.ndim != 2 or values.shape[1] != plan.energy.size:
        raise MeasurementError(
            "spectra do not match the energies of the plan",
            expected=f"[spectrum, {plan.energy.size}]",
            found=f"shape {values.shape}",
        )
    values = np.ascontiguousarray(values, dtype=np.float32)
    z = np.zeros((values.shape[0], plan.n_components), dtype=np.float32)
    project_rows(values, tiled(padded(plan.projector.T)), z)
    return z


def fit_compressed(
    plan: FitPlan, z: ArrayLike, *, noise_scale: ArrayLike = 1.0, minimum_significance: float = 6.0
) -> WhiteLineFit:
    r"""White-line maximum of each spectrum from its coefficients, with its standard uncertainty.

    Each stored step gives all parameters of the model linearised at a node, :math:`p = M z`; the shape moves by
    :math:`p_{c}/A, p_{E_0}/\mathrm{jump}, p_{s}/A`, and the node nearest to it is next, until a node repeats. The
    second derivatives of the model at the last node correct p (stored as well), and the energy of the maximum is
    interpolated between the two nearest line centres, because the window moves from node to node. Its uncertainty is
    the covariance of p carried to the maximum.

    Parameters
    ----------
    plan
        From `plan_fit`.
    z
        Coefficients, ``[spectrum, K]``.
    noise_scale
        Factor on the covariance of the noise stated in the plan, one for all or ``[spectrum]``.
    minimum_significance
        Square root of the misfit that edge and line together must remove beyond a straight line.

    Returns
    -------
    WhiteLineFit
        ``reduced_chi2`` is the square sum of the residual inside the window and the basis over its expectation, NaN
        where the basis leaves less than half a degree of freedom. Spectra without a significant edge have NaN.

    Raises
    ------
    MeasurementError
        If shapes do not fit.
    """
    coefficients, scale = checked_coefficients(plan.n_components, z, noise_scale)
    n = coefficients.shape[0]
    energy, std, chi2 = np.full(n, np.nan), np.full(n, np.nan), np.full(n, np.nan)
    flag = np.full(n, NON_FINITE, dtype=np.int8)
    result = WhiteLineFit(energy, std, flag, chi2, np.full((n, len(PARAMETERS)), np.nan), PARAMETERS)
    for begin in range(0, n, _BATCH):
        rows = slice(begin, begin + _BATCH)
        some = coefficients[rows] if plan.n_components % LANES == 0 else padded(coefficients[rows])
        _fit_some(plan, some, scale[rows] if scale.size > 1 else scale, minimum_significance, result, rows)
    result.white_line_energy[:] += plan.edge_energy
    result.parameters[:, 4:6] += plan.edge_energy
    # the curve's slope counts from the mean of the energies
    middle = plan.edge_energy + 0.5 * sum(plan.grid.centre_range)
    if plan.grid.with_slope:
        result.parameters[:, 0] += result.parameters[:, 1] * (plan.energy.mean() - middle)
    return result


def _fit_some(
    plan: FitPlan, z: Float32Array, scale: Float64Array, least: float, result: WhiteLineFit, rows: slice
) -> None:
    """Fit so few spectra that what passes between the kernels stays in the cache."""
    tables, (n, k), flat = plan.tables, z.shape, z.ravel()
    start, walk = np.empty(n, dtype=np.int64), np.full((n, 7), -1, dtype=np.int64)
    p, place, joined = np.full((n, LANES), np.nan, dtype=np.float32), np.full((n, 5), np.nan), np.zeros((n, 2))
    variance = np.full(n, np.nan)
    find_rows(flat, k, least**2 * scale, tables.search, tables.search_index, start)
    result.flag[rows][start == -1] = NO_EDGE
    settle_rows(flat, k, start, tables.steps, tables.axes, p, walk)
    misfit_rows(flat, p, walk, tables, result.reduced_chi2[rows])
    maximum_rows(p, walk, tables.second_order, tables.axes, place)
    join_rows(flat, k, walk, place, tables, joined)
    variance_rows(tables.covariance, walk, place, tables.axes, variance)
    variance *= scale
    result.reduced_chi2[rows] /= scale
    out = (result.white_line_energy[rows], result.white_line_energy_std[rows], result.flag[rows])
    finish_rows(p, walk, place, joined, variance, tables.axes, (*out, result.parameters[rows]))


def checked_coefficients(n_components: int, z: ArrayLike, noise_scale: ArrayLike) -> tuple[Float32Array, Float64Array]:
    """Coefficients [spectrum, K] and the variance of their noise [spectrum or 1], checked."""
    coefficients = np.ascontiguousarray(z, dtype=np.float32)
    if coefficients.ndim != 2 or coefficients.shape[1] != n_components:
        raise MeasurementError(
            "the coefficients do not match the plan",
            expected=f"[spectrum, {n_components}]",
            found=f"shape {coefficients.shape}",
        )
    scale = np.atleast_1d(np.asarray(noise_scale, dtype=np.float64))
    if scale.shape not in ((1,), (coefficients.shape[0],)):
        raise MeasurementError(
            "the noise scale does not match the spectra", expected="one number or [spectrum]", found=f"{scale.shape}"
        )
    return coefficients, scale


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def project_rows(spectra, projector, z):  # type: ignore[no-untyped-def]
    """z = spectra @ projector, row by row; ``projector`` is tiled, its energies padded to a multiple of LANES."""
    n = LANES * ((spectra.shape[1] + LANES - 1) // LANES)
    row = np.zeros(n, dtype=np.float32)
    out = np.zeros(LANES, dtype=np.float32)
    for i in range(spectra.shape[0]):
        for e in range(spectra.shape[1]):
            row[e] = spectra[i, e]
        for first in range(0, z.shape[1], LANES):
            tile_product(projector, first * n, row, 0, n, out)
            for k in range(first, min(first + LANES, z.shape[1])):
                z[i, k] = out[k - first]


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"}, forceinline=True)
def offset(moment, size, longest):  # type: ignore[no-untyped-def]
    """How far a shape lies from its node, ``moment / size`` cut to +- ``longest``; 0 where it has no size."""
    by = np.float32(1.0) / size if size > np.float32(0.0) else np.float32(0.0)
    return min(max(moment * by, np.float32(-longest)), np.float32(longest))


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"}, forceinline=True)
def offsets(p):  # type: ignore[no-untyped-def]
    """`offset` of centre, edge energy and width, eV."""
    return offset(p[5], p[3], _LONGEST[0]), offset(p[4], p[2], _LONGEST[1]), offset(p[6], p[3], _LONGEST[2])


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"}, forceinline=True)
def nearest(value, count):  # type: ignore[no-untyped-def]
    """Index of the node nearest to ``value``, steps from the first, along one axis."""
    index = int(value + 0.5)  # rounds towards zero, so what lies below the first node ends at it
    index = index if index > 0 else 0
    return index if index < count else count - 1


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"}, forceinline=True)
def best_centre(gain, search_index):  # type: ignore[no-untyped-def]
    """Node of the centre where the gain is highest, between those looked at by a parabola, and the highest gain."""
    best = 0
    for j in range(1, search_index.size):
        if gain[j] > gain[best]:
            best = j
    if 0 < best < search_index.size - 1:
        lower, upper = gain[best] - gain[best - 1], gain[best + 1] - gain[best]
        spacing = search_index[best + 1] - search_index[best]
        if lower > upper and spacing == search_index[best] - search_index[best - 1]:
            shift = 0.5 * spacing * (lower + upper) / (lower - upper)
            return search_index[best] + math.floor(shift + 0.5), gain[best]
    return search_index[best], gain[best]


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def find_rows(z, n, least, search, search_index, start):  # type: ignore[no-untyped-def]
    """Node of the centre where each walk starts; -1 where edge and line explain less than ``least``, -2 for NaN.

    ``z`` is flat, ``n`` coefficients to a spectrum.
    """
    gain = np.empty(search_index.size, dtype=np.float32)
    out = np.empty(LANES, dtype=np.float32)
    for i in range(start.size):
        total = np.float32(0.0)
        for first in range(0, gain.size, LANES // 2):
            tile_product(search, 2 * first * n, z, i * n, n, out)
            for j in range(LANES // 2):
                gain[first + j] = out[2 * j] * out[2 * j] + out[2 * j + 1] * out[2 * j + 1]
                total += gain[first + j]
        limit = least[i if least.size > 1 else 0]
        start[i] = -2
        if math.isfinite(total) and math.isfinite(limit) and limit >= 0.0:
            node, most = best_centre(gain, search_index)
            start[i] = node if most >= limit else -1


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"}, forceinline=True)
def settle(z, place, n, steps, axes, start, p):  # type: ignore[no-untyped-def]
    """Walk from node to node; the last node, the one before it, and whether the walk ended (1) or circles (2).

    A node is (centre, distance, width) index. The spectrum is the ``n`` coefficients from ``place`` on. Leaves the
    parameters of the last node in ``p``.
    """
    _, step, count, _ = axes
    per_centre, per_edge, per_width = 1.0 / step[0], 1.0 / step[1], 1.0 / step[2]
    node, before = (start, count[1] // 2, count[2] // 2), (-1, -1, -1)
    for _ in range(_ITERATIONS):
        index = (node[0] * count[1] + node[1]) * count[2] + node[2]
        tile_product(steps, LANES * n * index, z, place, n, p)
        to_centre, to_edge, to_width = offsets(p)
        following = (
            nearest(node[0] + to_centre * per_centre, count[0]),
            nearest(node[1] + (to_centre - to_edge) * per_edge, count[1]),
            nearest(node[2] + to_width * per_width, count[2]),
        )
        if following == node:
            return node, before, 1
        if following == before:
            return node, before, 2
        before, node = node, following
    # circles through more than two nodes around a common corner end like those through two; p is that of the last
    return before, node, 2


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def settle_rows(z, n, start, steps, axes, p, walk):  # type: ignore[no-untyped-def]
    """Parameters at the last node, and [last node, node before it, how the walk ended], of each spectrum."""
    work = np.empty(LANES, dtype=np.float32)
    for i in range(start.size):
        if start[i] < 0:
            continue
        node, before, ended = settle(z, i * n, n, steps, axes, start[i], work)
        walk[i, 0], walk[i, 1], walk[i, 2] = node
        walk[i, 3], walk[i, 4], walk[i, 5] = before
        walk[i, 6] = ended
        for j in range(LANES):
            p[i, j] = work[j]


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def move_all(p, moves):  # type: ignore[no-untyped-def]
    """`offsets` of all spectra, centre, edge energy and width, [3, spectrum], from ``p`` [parameter, spectrum]."""
    jump, amplitude, along_edge, along_centre, along_width = p[2], p[3], p[4], p[5], p[6]
    centre, edge, width = moves[0], moves[1], moves[2]
    # a loop for each: what writes one array the compiler does for several spectra at a time
    for i in range(centre.size):
        centre[i] = offset(along_centre[i], amplitude[i], _LONGEST[0])
    for i in range(centre.size):
        width[i] = offset(along_width[i], amplitude[i], _LONGEST[2])
    for i in range(centre.size):
        edge[i] = offset(along_edge[i], jump[i], _LONGEST[1])


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def correct_all(p, node, second_order, axes, curves):  # type: ignore[no-untyped-def]
    """Removes the second order of the model from the parameters, p -= M h(p), and tells ``curves`` their shapes.

    ``p`` is [parameter, spectrum], ``node`` [axis, spectrum]; spectra whose node is -1 are left out.
    """
    count, n = axes.count, p.shape[1]
    moves, terms, change = np.empty((3, n), np.float32), np.empty(4, np.float32), np.empty(LANES, np.float32)
    move_all(p, moves)
    for i in range(n):
        if node[0, i] < 0:
            continue
        centre, edge, width = moves[0, i], moves[1, i], moves[2, i]
        half_amplitude = np.float32(0.5) * p[3, i]
        terms[0] = np.float32(0.5) * p[2, i] * edge * edge
        terms[1] = half_amplitude * centre * centre
        terms[2] = p[3, i] * centre * width
        terms[3] = half_amplitude * width * width
        index = (node[0, i] * count[1] + node[1, i]) * count[2] + node[2, i]
        tile_product(second_order, 4 * LANES * index, terms, 0, 4, change)
        for j in range(N_COLUMNS):
            p[j, i] -= change[j]
    move_all(p, moves)
    shape_all(p, node, moves, axes, curves)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def shape_all(p, node, moves, axes, curves):  # type: ignore[no-untyped-def]
    """Numbers of the models at their nodes, moved by ``moves``, into ``curves``; their position is left as it is."""
    first, step, _, _ = axes
    for i in range(p.shape[1]):
        centre = first[0] + node[0, i] * step[0]
        curves[CENTRE, i] = centre + moves[0, i]
        curves[EDGE, i] = centre - first[1] - node[1, i] * step[1] + moves[1, i]
        curves[WIDTH, i] = max(first[2] + node[2, i] * step[2] + moves[2, i], _NARROWEST)
        curves[SLOPE, i] = p[1, i] / SLOPE_SCALE
        curves[JUMP, i], curves[AMPLITUDE, i] = p[2, i], p[3, i]


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def maximum_rows(p, walk, second_order, axes, place):  # type: ignore[no-untyped-def]
    """Corrects the parameters ``p``; (energy, curvature, centre, edge energy, width) of each spectrum's maximum."""
    n = p.shape[0]
    columns, node, curves = np.zeros((N_COLUMNS, n), np.float32), np.empty((3, n), np.int64), new_curves(n)
    for i in range(n):
        for axis in range(3):
            node[axis, i] = walk[i, axis]
        if walk[i, 0] >= 0:
            for j in range(N_COLUMNS):
                columns[j, i] = p[i, j]
    correct_all(columns, node, second_order, axes, curves)
    curves[POSITION] = curves[CENTRE] + np.float32(_USUAL_OFFSET)
    find_maxima(curves, axes.edge_width)
    for i in range(n):
        if walk[i, 0] < 0:
            continue
        place[i, 0], place[i, 1] = maximum_of(curves, i)
        place[i, 2], place[i, 3], place[i, 4] = curves[CENTRE, i], curves[EDGE, i], curves[WIDTH, i]
        for j in range(N_COLUMNS):
            p[i, j] = columns[j, i]


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"}, forceinline=True)
def other_node(walk, i, offset, count):  # type: ignore[no-untyped-def]
    """The node beyond the line's centre, or the other one of a cycle; its centre is -1 where there is none."""
    if walk[i, 6] == 2:
        return walk[i, 3], walk[i, 4], walk[i, 5]
    side = walk[i, 0] + (1 if offset > 0.0 else -1)
    return side if side < count[0] else -1, walk[i, 1], walk[i, 2]


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def join_rows(z, n, walk, place, tables, joined):  # type: ignore[no-untyped-def]
    """Energy as the other node sees it, and that node's share (0 to 1/2), of each spectrum, [spectrum, 2]."""
    first, step, count, edge_width = tables.axes
    rows = walk.shape[0]
    columns, node, curves = np.zeros((N_COLUMNS, rows), np.float32), np.full((3, rows), -1), new_curves(rows)
    p = np.empty(LANES, dtype=np.float32)
    for i in range(rows):
        joined[i, 0] = joined[i, 1] = 0.0
        if walk[i, 0] < 0 or not math.isfinite(place[i, 0]):
            continue
        offset = place[i, 2] - first[0] - walk[i, 0] * step[0]
        node[0, i], node[1, i], node[2, i] = other_node(walk, i, offset, count)
        if node[0, i] < 0:
            continue
        index = (node[0, i] * count[1] + node[1, i]) * count[2] + node[2, i]
        tile_product(tables.steps, LANES * n * index, z, i * n, n, p)
        for j in range(N_COLUMNS):
            columns[j, i] = p[j]
        curves[POSITION, i] = place[i, 0]
        joined[i, 1] = 0.5 if walk[i, 6] == 2 else min(abs(offset) / step[0], 0.5)
    correct_all(columns, node, tables.second_order, tables.axes, curves)
    find_maxima(curves, edge_width)
    for i in range(rows):
        energy, _ = maximum_of(curves, i)
        if joined[i, 1] > 0.0 and math.isfinite(energy):
            joined[i, 0] = energy
        else:
            joined[i, 1] = 0.0


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def variance_rows(covariance, walk, place, axes, variance):  # type: ignore[no-untyped-def]
    """Variance of the maximum for unit noise: G'CG, G its derivative to the parameters."""
    edge_width = axes.edge_width
    gradient, out = np.zeros(LANES, dtype=np.float32), np.empty(LANES, dtype=np.float32)
    gradient[1] = 1.0 / SLOPE_SCALE
    for i in range(place.shape[0]):
        if walk[i, 0] < 0:
            continue
        node = (walk[i, 0] * axes.count[1] + walk[i, 1]) * axes.count[2] + walk[i, 2]
        by_width = 1.0 / place[i, 4]
        x = (place[i, 0] - place[i, 3]) / edge_width
        u = (place[i, 0] - place[i, 2]) * by_width
        line = bell(u) * by_width
        by = 1.0 / (1.0 + x * x)
        rise = by / (math.pi * edge_width)
        gradient[2] = rise
        gradient[3] = -line * u
        gradient[4] = 2.0 * rise * x * by / edge_width
        gradient[5] = line * (1.0 - u * u) * by_width
        gradient[6] = line * u * (2.0 - u * u) * by_width
        tile_product(covariance, LANES * LANES * node, gradient, 0, LANES, out)
        total = 0.0
        for j in range(1, N_COLUMNS):
            total += gradient[j] * out[j]
        variance[i] = total / (place[i, 1] * place[i, 1])


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def misfit_rows(z, p, walk, tables, misfit):  # type: ignore[no-untyped-def]
    """Square sum of what the model linearised at the last node leaves inside the window, over its expectation."""
    columns, taper, freedom, count = tables.columns, tables.taper, tables.freedom, tables.axes.count
    n, n_distances = columns.shape[2], count[1]
    residual = np.zeros(n, dtype=np.float32)
    out = np.empty(LANES, dtype=np.float32)
    for i in range(walk.shape[0]):
        c, d, s = walk[i, 0], 2 + 2 * walk[i, 1], 2 + 2 * n_distances + 3 * walk[i, 2]
        if c < 0:
            continue
        p0, p1, p2, p3, p4, p5, p6 = p[i, 0], p[i, 1], p[i, 2], p[i, 3], p[i, 4], p[i, 5], p[i, 6]
        for k in range(n):
            model = p0 * columns[c, 0, k] + p1 * columns[c, 1, k] + p2 * columns[c, d, k] + p4 * columns[c, d + 1, k]
            line = p3 * columns[c, s, k] + p5 * columns[c, s + 1, k] + p6 * columns[c, s + 2, k]
            residual[k] = z[i * n + k] - model - line
        total = np.float32(0.0)
        for first in range(0, n, LANES):
            tile_product(taper, (c * n + first) * n, residual, 0, n, out)
            for k in range(LANES):
                total += out[k] * residual[first + k]
        expected = freedom[(c * count[1] + walk[i, 1]) * count[2] + walk[i, 2]]
        if expected > _LEAST_FREEDOM:
            misfit[i] = total / expected


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"}, forceinline=True)
def verdict(p, node, ended, centre, energy, axes):  # type: ignore[no-untyped-def]
    """Flag of a fit from jump and amplitude (``p``), the last node and how the walk ended (1: well)."""
    first, step, count, _ = axes
    if not p[2] > 0.0:
        return NO_EDGE
    if not (p[3] > 0.0 and math.isfinite(energy)):
        return NO_MAXIMUM
    if (
        node == 0
        or node == count[0] - 1
        or abs(centre - first[0] - 0.5 * (count[0] - 1) * step[0]) > (0.5 * count[0] * step[0])
    ):
        return AT_LIMIT
    return GOOD if ended == 1 else NO_CONVERGENCE


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def finish_rows(p, walk, place, joined, variance, axes, out):  # type: ignore[no-untyped-def]
    """Joined energies, uncertainties, flags and parameters into ``out``."""
    energy, std, flag, parameters = out
    for i in range(place.shape[0]):
        if walk[i, 0] < 0:
            continue
        std[i] = math.sqrt(variance[i])
        ended = walk[i, 6]
        apart = abs(joined[i, 0] - place[i, 0])
        energy[i] = place[i, 0]
        if ended == 2 and joined[i, 1] > 0.0 and apart < 3.0 * std[i] + _AGREEMENT:
            ended = 1
            std[i] = math.hypot(std[i], 0.5 * apart)
        if ended == 1:
            energy[i] += joined[i, 1] * (joined[i, 0] - place[i, 0])
        flag[i] = verdict(p[i], walk[i, 0], ended, place[i, 2], energy[i], axes)
        parameters[i, 0], parameters[i, 1] = p[i, 0], p[i, 1] / SLOPE_SCALE
        parameters[i, 2], parameters[i, 3] = p[i, 2], p[i, 3]
        parameters[i, 4], parameters[i, 5], parameters[i, 6] = place[i, 3], place[i, 2], place[i, 4]
