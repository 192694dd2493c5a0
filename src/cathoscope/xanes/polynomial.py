"""White-line maximum from a polynomial, or any few smooth functions, in a fixed window: millions of spectra a second.

A linear combination of functions is fitted by one matrix product per spectrum. Its highest point is looked for on a
grid of nodes and refined by Newton's method on the Taylor series at the best node, whose derivatives are tabulated.
Spectra are worked on in blocks of ``LANES``, always full ones, so a result does not depend on its neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.xanes.whiteline import WhiteLineFit, WhiteLineFlag, checked_spectra

Array = NDArray[np.float64]

LANES = 64
CHUNK = 64 * LANES
NODES = 25
MOST_FUNCTIONS = 5
MINIMUM_SIGNIFICANCE = 4.0
"""Square root of the misfit that the curved functions must remove beyond a straight line."""

_GOOD, _NO_MAXIMUM, _AT_LIMIT, _NON_FINITE = (
    int(flag)
    for flag in (WhiteLineFlag.GOOD, WhiteLineFlag.NO_MAXIMUM, WhiteLineFlag.AT_LIMIT, WhiteLineFlag.NON_FINITE)
)


@dataclass(frozen=True)
class Basis:
    """Functions of t, which runs from -1 to 1 over the window; the first two are 1 and t.

    ``derivative(t, m)`` gives the m-th derivatives, m from 0 to 4, as [function, t].
    """

    names: tuple[str, ...]
    derivative: Callable[[Array, int], Array]


class Tables(NamedTuple):
    """What all spectra in one window share; where functions are counted in fives, missing ones are zero.

    ``projector`` [5, energy] takes a spectrum to its coefficients on orthonormal functions, ``fitted`` [5, energy]
    takes these to the weighted fit and ``coefficient`` [5, 5] to the coefficients on the basis as given.
    At each ``node`` of t, ``value`` [node, 5] holds the orthonormal functions, ``slope`` [node, 4, 5] the Taylor series
    of their slopes, and ``variance`` [node, 4] that of the sum of their squared slopes.
    """

    weight: Array
    projector: Array
    fitted: Array
    coefficient: Array
    node: Array
    value: Array
    slope: Array
    variance: Array


def polynomial_basis(order: int) -> Basis:
    """Powers of t up to ``order``, 2 to 4.

    Raises
    ------
    MeasurementError
        If the order is not 2, 3 or 4.
    """
    if order not in (2, 3, 4):
        raise MeasurementError("the polynomial cannot be fitted", expected="an order of 2, 3 or 4", found=str(order))

    def derivative(t: Array, times: int) -> Array:
        """Derivatives of the powers, ``[power, place]``."""
        rows = [
            math.perm(power, times) * t ** (power - times) if power >= times else np.zeros_like(t)
            for power in range(order + 1)
        ]
        return np.stack(rows)

    return Basis(tuple(f"coefficient_{power}" for power in range(order + 1)), derivative)


def polynomial_white_line(
    *,
    spectra: ArrayLike,
    energy: ArrayLike,
    window: tuple[float, float],
    order: int = 4,
    noise_std: ArrayLike | None = None,
) -> WhiteLineFit:
    """White-line maximum of each spectrum as the maximum of a polynomial in a fixed window.

    A simple alternative to compare with: it follows a moving line only as far as the window allows, which stretches or
    compresses the energy scale by 4 to 30 %; ``white_line_energy_std`` does not contain that bias.

    Parameters
    ----------
    spectra, energy
        As in ``fit_white_line``.
    window
        Lowest and highest energy used, eV.
    order
        Order of the polynomial, 2 to 4.
    noise_std
        Standard deviation of the noise, [energy]; without it the residual of each spectrum sets the scale.

    Raises
    ------
    MeasurementError
        If the order is not 2, 3 or 4, or as in ``fit_white_line``.
    """
    return basis_white_line(
        spectra=spectra, energy=energy, window=window, basis=polynomial_basis(order), noise_std=noise_std
    )


def basis_white_line(
    *,
    spectra: ArrayLike,
    energy: ArrayLike,
    window: tuple[float, float],
    basis: Basis,
    noise_std: ArrayLike | None = None,
) -> WhiteLineFit:
    """White-line maximum of each spectrum as the highest point of a least-squares fit in a fixed window.

    With ``f = sum z_k q_k`` on functions q_k orthonormal under the weights 1/noise^2, the maximum x has
    ``sigma^2 = sum q_k'(x)^2 / f''(x)^2``: the noise of f' divided by the curvature (delta method).

    A spectrum is flagged NON_FINITE if it holds NaN or infinity inside the window; AT_LIMIT if the fit is highest at an
    end of the window and bent downwards there, so that the maximum lies outside (its energy is then that end, without
    uncertainty); NO_MAXIMUM if it is highest at an end but bent upwards, or if the curved functions together remove
    less than ``MINIMUM_SIGNIFICANCE`` squared of the misfit, as one spectrum of pure noise in a thousand does not.

    Parameters
    ----------
    spectra
        [spectrum, energy] in any memory order; ``CHUNK`` spectra are copied at a time.
    energy, window, noise_std
        As in ``polynomial_white_line``.
    basis
        The functions fitted; ``parameters`` of the result are their coefficients.

    Raises
    ------
    MeasurementError
        As in ``fit_white_line``; fewer energies than functions + 1 are too few.
    """
    values, axis, weight = checked_spectra(spectra, energy, noise_std, window, minimum_count=len(basis.names) + 1)
    if weight.shape[0] != 1:
        raise MeasurementError("the polynomial needs one noise for all spectra", expected="noise_std [energy]")
    return fit_tabulated(values, axis, tabulate(axis, weight[0], basis), basis, noise_is_known=noise_std is not None)


def tabulate(axis: Array, weight: Array, basis: Basis) -> Tables:
    """Tables for spectra at energies ``axis``, the whole of which is the window, and weights one over noise."""
    node = np.linspace(-1.0, 1.0, NODES)
    orthonormal, triangle = np.linalg.qr(basis.derivative(scaled(axis, axis), 0).T * weight[:, np.newaxis])
    n_functions = len(basis.names)
    coefficient = np.zeros((MOST_FUNCTIONS, MOST_FUNCTIONS))
    coefficient[:n_functions, :n_functions] = np.linalg.inv(triangle)
    fitted = np.zeros((MOST_FUNCTIONS, axis.size))
    fitted[:n_functions] = orthonormal.T
    derivative = np.zeros((5, NODES, MOST_FUNCTIONS))
    for times in range(5):
        derivative[times] = basis.derivative(node, times).T @ coefficient[:n_functions]
    value, first, second, third, fourth = derivative
    slope = np.stack([first, second, third / 2, fourth / 6], axis=1)
    squares = [first**2, 2 * first * second, second**2 + first * third, second * third + first * fourth / 3]
    variance = np.stack([square.sum(axis=1) for square in squares], axis=1)
    return Tables(weight, fitted * weight, fitted, coefficient, node, value, slope, variance)


def scaled(energy: Array, axis: Array) -> Array:
    """t of ``energy``: -1 at the first and 1 at the last energy of ``axis``."""
    t: Array = (2.0 * energy - axis[0] - axis[-1]) / (axis[-1] - axis[0])
    return t


def fit_tabulated(
    values: NDArray[Any], axis: Array, tables: Tables, basis: Basis, *, noise_is_known: bool
) -> WhiteLineFit:
    """Fit spectra ``values`` [spectrum, energy] at the energies ``axis`` the tables were made for."""
    fit = empty_fit(values.shape[0], basis.names)
    for rows, chunk in chunks(values):
        find_maxima(chunk, tables, noise_is_known, arrays_of(fit, rows))
    half = 0.5 * (axis[-1] - axis[0])
    energies, std = fit.white_line_energy, fit.white_line_energy_std
    energies *= half
    energies += 0.5 * (axis[0] + axis[-1])
    std *= half
    return fit


def chunks(values: NDArray[Any]) -> Iterator[tuple[slice, Array]]:
    """Rows and their spectra as float64 in C order, so that kernels need not know how they were stored."""
    for first in range(0, values.shape[0], CHUNK):
        rows = slice(first, first + CHUNK)
        yield rows, np.ascontiguousarray(values[rows], dtype=np.float64)


def empty_fit(n: int, names: tuple[str, ...]) -> WhiteLineFit:
    """Room for the results of ``n`` spectra."""
    return WhiteLineFit(
        np.full(n, np.nan),
        np.full(n, np.nan),
        np.full(n, _NON_FINITE, dtype=np.int8),
        np.full(n, np.nan),
        np.full((n, len(names)), np.nan),
        names,
    )


def arrays_of(fit: WhiteLineFit, rows: slice) -> tuple[NDArray[Any], ...]:
    """What kernels write: energies, uncertainties, flags, reduced chi squared and parameters of some rows."""
    arrays = (fit.white_line_energy, fit.white_line_energy_std, fit.flag, fit.reduced_chi2, fit.parameters)
    return tuple(array[rows] for array in arrays)


@njit(cache=True, nogil=True)
def find_maxima(spectra, tables, noise_is_known, out):  # type: ignore[no-untyped-def]
    """Position (t), its uncertainty, flag, reduced chi squared and coefficients of every spectrum, to ``out``."""
    position, std, flag, chi2, parameters = out
    n, n_energies = spectra.shape
    n_functions = parameters.shape[1]
    data, z = np.zeros((n_energies, LANES)), np.zeros((MOST_FUNCTIONS, LANES))
    series, best = np.zeros((8, LANES)), np.zeros(LANES, dtype=np.int64)
    residual, step = np.zeros(LANES), np.zeros(LANES)
    for first in range(0, n, LANES):
        count = min(LANES, n - first)
        for i in range(count):
            for e in range(n_energies):
                data[e, i] = spectra[first + i, e]
        project(data, tables, z)
        square_residual(data, tables, z, residual)
        highest_node(tables.value, z, step, best)
        expand(tables, z, best, series)
        climb(series, 1.0001 * (tables.node[1] - tables.node[0]), step)
        for i in range(count):
            k = first + i
            chi2[k] = residual[i] / (n_energies - n_functions)
            scale = 1.0 if noise_is_known else chi2[k]
            flag[k], position[k], std[k] = verdict(series[:, i], z[:, i], tables.node[best[i]], step[i], scale)
        convert(tables.coefficient, z)
        for i in range(count):
            for j in range(n_functions):
                parameters[first + i, j] = z[j, i]


@njit(cache=True, nogil=True, fastmath={"contract"})
def project(data, tables, z):  # type: ignore[no-untyped-def]
    """Coefficients z [function, lane] of the spectra in ``data`` [energy, lane]."""
    z0, z1, z2, z3, z4 = z[0], z[1], z[2], z[3], z[4]
    z[:] = 0.0
    for e in range(data.shape[0]):
        p0, p1, p2 = tables.projector[0, e], tables.projector[1, e], tables.projector[2, e]
        p3, p4 = tables.projector[3, e], tables.projector[4, e]
        row = data[e]
        for i in range(LANES):
            z0[i] += p0 * row[i]
            z1[i] += p1 * row[i]
            z2[i] += p2 * row[i]
            z3[i] += p3 * row[i]
            z4[i] += p4 * row[i]


@njit(cache=True, nogil=True, fastmath={"contract"})
def square_residual(data, tables, z, residual):  # type: ignore[no-untyped-def]
    """Sum of squared weighted residuals of each lane."""
    z0, z1, z2, z3, z4 = z[0], z[1], z[2], z[3], z[4]
    residual[:] = 0.0
    for e in range(data.shape[0]):
        f0, f1, f2 = tables.fitted[0, e], tables.fitted[1, e], tables.fitted[2, e]
        f3, f4, weight = tables.fitted[3, e], tables.fitted[4, e], tables.weight[e]
        row = data[e]
        for i in range(LANES):
            rest = weight * row[i] - f0 * z0[i] - f1 * z1[i] - f2 * z2[i] - f3 * z3[i] - f4 * z4[i]
            residual[i] += rest * rest


@njit(cache=True, nogil=True, fastmath={"contract"})
def highest_node(value, z, height, best):  # type: ignore[no-untyped-def]
    """The node where each lane's fit is highest; ``value`` is [node, function], the first function constant."""
    z1, z2, z3, z4 = z[1], z[2], z[3], z[4]
    height[:] = -np.inf
    best[:] = 0
    for node in range(NODES):
        v1, v2, v3, v4 = value[node, 1], value[node, 2], value[node, 3], value[node, 4]
        for i in range(LANES):
            total = v1 * z1[i] + v2 * z2[i] + v3 * z3[i] + v4 * z4[i]
            higher = total > height[i]
            height[i] = total if higher else height[i]
            best[i] = node if higher else best[i]


@njit(cache=True, nogil=True, fastmath={"contract"})
def expand(tables, z, best, series):  # type: ignore[no-untyped-def]
    """Taylor series of the slope (rows 0 to 3) and of its variance (rows 4 to 7) at each lane's best node."""
    for i in range(LANES):
        node = best[i]
        z1, z2, z3, z4 = z[1, i], z[2, i], z[3, i], z[4, i]
        for m in range(4):
            row = tables.slope[node, m]
            series[m, i] = row[1] * z1 + row[2] * z2 + row[3] * z3 + row[4] * z4
            series[4 + m, i] = tables.variance[node, m]


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def climb(series, spacing, step):  # type: ignore[no-untyped-def]
    """Newton steps from each lane's best node to where the slope vanishes, at most ``spacing`` away."""
    s0, s1, s2, s3 = series[0], series[1], series[2], series[3]
    step[:] = 0.0
    for _ in range(5):
        for i in range(LANES):
            d = step[i]
            slope = s0[i] + d * (s1[i] + d * (s2[i] + d * s3[i]))
            curvature = s1[i] + d * (2.0 * s2[i] + d * 3.0 * s3[i])
            d -= slope / curvature
            d = d if d < spacing else spacing
            step[i] = d if d > -spacing else -spacing


@njit(cache=True, nogil=True, error_model="numpy")
def verdict(series, z, node, step, scale):  # type: ignore[no-untyped-def]
    """Flag, position and uncertainty of one lane's maximum; ``scale`` is the variance of unit weight."""
    gain = z[2] ** 2 + z[3] ** 2 + z[4] ** 2
    if not math.isfinite(z[0] + z[1] + gain + scale):
        return _NON_FINITE, np.nan, np.nan
    curvature = series[1] + step * (2.0 * series[2] + step * 3.0 * series[3])
    if not curvature < 0.0:
        return _NO_MAXIMUM, np.nan, np.nan
    position = node + step
    if not abs(position) < 1.0:
        return _AT_LIMIT, math.copysign(1.0, position), np.nan
    variance = series[4] + step * (series[5] + step * (series[6] + step * series[7]))
    std = math.sqrt(max(variance, 0.0) * scale) / -curvature
    return (_GOOD if gain > MINIMUM_SIGNIFICANCE**2 * scale else _NO_MAXIMUM), position, std


@njit(cache=True, nogil=True, fastmath={"contract"})
def convert(coefficient, z):  # type: ignore[no-untyped-def]
    """Coefficients on orthonormal functions, ``z`` [function, lane], become those on the basis as given."""
    for j in range(MOST_FUNCTIONS):
        c0, c1, c2 = coefficient[j, 0], coefficient[j, 1], coefficient[j, 2]
        c3, c4 = coefficient[j, 3], coefficient[j, 4]
        z0, z1, z2, z3, z4 = z[0], z[1], z[2], z[3], z[4]
        row = z[j]
        # the matrix is upper triangular: row j needs no row above it, so they may be overwritten one by one
        for i in range(LANES):
            row[i] = c0 * z0[i] + c1 * z1[i] + c2 * z2[i] + c3 * z3[i] + c4 * z4[i]
