"""White-line maximum from a polynomial that follows each spectrum's own maximum."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.xanes.polynomial import (
    MINIMUM_SIGNIFICANCE,
    MOST_FUNCTIONS,
    Array,
    arrays_of,
    chunks,
    empty_fit,
    polynomial_basis,
)
from cathoscope.xanes.whiteline import WhiteLineFit, WhiteLineFlag, checked_spectra

_REACH = 4.0  # eV on both sides of the maximum; on half-eV steps the best trade of noise against shape
_NODES = 17  # where the highest point is looked for first
_GOOD, _NO_MAXIMUM, _AT_LIMIT, _NON_FINITE = (
    int(flag)
    for flag in (WhiteLineFlag.GOOD, WhiteLineFlag.NO_MAXIMUM, WhiteLineFlag.AT_LIMIT, WhiteLineFlag.NON_FINITE)
)


class CentredFits(NamedTuple):
    """Polynomials in t = (E - centre) / 4 eV around each energy of a window, which begins at energy ``first``.

    ``coefficient`` [node, energy, 5] takes a spectrum to the polynomial, ``curved`` [node, energy, 3] to its
    coefficients on orthonormal functions beyond a straight line. ``limits`` [node, 3]: first energy used, first
    beyond, number of coefficients.
    """

    energy: Array
    weight: Array
    first: int
    coefficient: Array
    curved: Array
    limits: NDArray[np.int64]


def polynomial_around_maximum(
    *,
    spectra: ArrayLike,
    energy: ArrayLike,
    noise_std: ArrayLike,
    window: tuple[float, float],
    order: int = 4,
) -> WhiteLineFit:
    """Maximum of a polynomial fitted within 4 eV of each spectrum's own maximum, which follows the line.

    Starting at the highest running mean over five energies in the window, polynomials are fitted around neighbouring
    energies until two neighbours c1 < c2 hold the maximum between them: ``g1 = x(c1) - c1 >= 0 >= g2 = x(c2) - c2``,
    x(c) the maximum found from centre c. The result is where the line through both is zero, the centre that finds
    itself, so the energy does not jump when the nearest energy changes. Where fewer energies than coefficients + 2 lie
    within reach, the nearest ones make up the number.

    Flags as in ``basis_white_line``, for the fit around the energy nearest to the result; AT_LIMIT if the maximum
    climbs out of the window. Parameters: height, and curvature per eV^2.

    Parameters
    ----------
    spectra, energy, order
        As in ``polynomial_white_line``.
    noise_std
        Standard deviation of the noise, [energy].
    window
        Energies in eV between which the maximum is looked for; the fit itself reaches beyond.

    Raises
    ------
    MeasurementError
        As in ``polynomial_white_line``.
    """
    values, axis, weight = spectra_and_noise(spectra, energy, noise_std)
    low, high = indices_in(axis, window, len(polynomial_basis(order).names) + 1)
    fits = _centred_fits(axis, weight, order, (low, high))
    fit = empty_fit(values.shape[0], ("height", "curvature"))
    for rows, chunk in chunks(values):
        follow(chunk, fits, arrays_of(fit, rows))
    return unless_lost(fit, values)


def _centred_fits(axis: Array, weight: Array, order: int, window: tuple[int, int]) -> CentredFits:
    """Polynomials around each energy of the window."""
    n_nodes = window[1] - window[0]
    coefficient = np.zeros((n_nodes, axis.size, MOST_FUNCTIONS))
    curved = np.zeros((n_nodes, axis.size, MOST_FUNCTIONS - 2))
    limits = np.zeros((n_nodes, 3), dtype=np.int64)
    for k, node in enumerate(range(*window)):
        near = neighbours(axis, node, _REACH, order + 3)
        t = (axis[near] - axis[node]) / _REACH
        orthonormal, triangle = np.linalg.qr(np.vander(t, order + 1, increasing=True) * weight[near, np.newaxis])
        coefficient[k, near, : order + 1] = (np.linalg.solve(triangle, orthonormal.T) * weight[near]).T
        curved[k, near, : order - 1] = orthonormal[:, 2:] * weight[near, np.newaxis]
        limits[k] = near.start, near.stop, order + 1
    return CentredFits(axis, weight, window[0], coefficient, curved, limits)


def spectra_and_noise(spectra: ArrayLike, energy: ArrayLike, noise_std: ArrayLike) -> tuple[NDArray[Any], Array, Array]:
    """Spectra, energies and weights [energy], checked."""
    values, axis, weight = checked_spectra(spectra, energy, noise_std, None, minimum_count=8)
    if weight.shape[0] != 1:
        raise MeasurementError("this method needs one noise for all spectra", expected="noise_std [energy]")
    return values, axis, weight[0]


def indices_in(axis: Array, window: tuple[float, float], minimum_count: int) -> tuple[int, int]:
    """First index inside the window and first beyond it."""
    low, high = int(np.searchsorted(axis, window[0])), int(np.searchsorted(axis, window[1], side="right"))
    if high - low < minimum_count:
        raise MeasurementError(
            "too few energies for the white line",
            expected=f"at least {minimum_count} energies between {window[0]:g} and {window[1]:g} eV",
            found=str(high - low),
            cure="widen the window, in eV",
        )
    return low, high


def neighbours(axis: Array, node: int, reach: float, minimum_count: int) -> slice:
    """Neighbours of energy ``node`` within ``reach`` eV, or the nearest ones if there are fewer than needed."""
    distance = np.abs(axis - axis[node])
    inside = distance <= max(reach, np.partition(distance, minimum_count - 1)[minimum_count - 1]) + 1e-9
    return slice(int(np.argmax(inside)), int(axis.size - np.argmax(inside[::-1])))


def unless_lost(fit: WhiteLineFit, values: NDArray[Any]) -> WhiteLineFit:
    """The fit, with spectra that hold NaN or infinity anywhere flagged and their energies taken out."""
    lost = ~np.isfinite(values).all(axis=1)
    fit.flag[lost] = _NON_FINITE
    fit.white_line_energy[lost] = np.nan
    fit.white_line_energy_std[lost] = np.nan
    return fit


@njit(cache=True, nogil=True)
def running_mean(spectrum, i, reach):  # type: ignore[no-untyped-def]
    """Mean of energies i - reach to i + reach, as far as there are any."""
    low, high = max(i - reach, 0), min(i + reach + 1, spectrum.size)
    total = 0.0
    for j in range(low, high):
        total += spectrum[j]
    return total / (high - low)


@njit(cache=True, nogil=True)
def highest_running_mean(spectrum, low, high):  # type: ignore[no-untyped-def]
    """Index from ``low`` to before ``high`` where the running mean over five energies is highest."""
    best, height = low, -np.inf
    for j in range(low, high):
        mean = running_mean(spectrum, j, 2)
        if mean > height:
            best, height = j, mean
    return best


@njit(cache=True, nogil=True)
def follow(spectra, fits, out):  # type: ignore[no-untyped-def]
    """Energy, uncertainty, flag, reduced chi squared, and (height, curvature) of every spectrum, to ``out``."""
    energy, std, flag, chi2, top = out
    c, gap = np.zeros((2, MOST_FUNCTIONS)), np.zeros(2)
    n_nodes = fits.limits.shape[0]
    for i in range(spectra.shape[0]):
        flag[i] = _AT_LIMIT
        start = highest_running_mean(spectra[i], fits.first, fits.first + n_nodes)
        lower = bracket(spectra[i], fits, start - fits.first, c, gap)
        if lower >= 0:
            flag[i], energy[i], std[i], chi2[i], top[i, 0], top[i, 1] = assess(spectra[i], fits, lower, c, gap)


@njit(cache=True, nogil=True)
def bracket(spectrum, fits, node, c, gap):  # type: ignore[no-untyped-def]
    """The node that, with the next one, holds the maximum between them, or -1; their fits c and distances to it."""
    side, row = 0, 0
    while 0 <= node < fits.limits.shape[0]:
        gap[row] = peak_around(spectrum, fits, node, c[row])
        if side != 0 and gap[row] * side <= 0.0:
            return min(node, node - side)
        if side == 0:
            side = 1 if gap[row] >= 0.0 else -1
        # climbing up, row 0 keeps the node left behind; climbing down, row 1 does
        behind = 0 if side == 1 else 1
        gap[behind] = gap[row]
        for k in range(MOST_FUNCTIONS):
            c[behind, k] = c[row, k]
        row = 1 - behind
        node += side
    return -1


@njit(cache=True, nogil=True, error_model="numpy")
def peak_around(spectrum, fits, node, c):  # type: ignore[no-untyped-def]
    """Distance in eV from the energy of ``node`` to the highest point of the fit around it; its coefficients to c."""
    c0, c1, c2, c3, c4 = 0.0, 0.0, 0.0, 0.0, 0.0
    for e in range(fits.limits[node, 0], fits.limits[node, 1]):
        row = fits.coefficient[node, e]
        c0 += row[0] * spectrum[e]
        c1 += row[1] * spectrum[e]
        c2 += row[2] * spectrum[e]
        c3 += row[3] * spectrum[e]
        c4 += row[4] * spectrum[e]
    c[0], c[1], c[2], c[3], c[4] = c0, c1, c2, c3, c4
    best, height, spacing = -1.0, -np.inf, 2.0 / (_NODES - 1)
    for k in range(_NODES):
        t = -1.0 + k * spacing
        value = t * (c1 + t * (c2 + t * (c3 + t * c4)))
        if value > height:
            best, height = t, value
    position = best
    for _ in range(6):
        slope, curvature = slope_and_curvature(c, position)
        last = position
        if curvature < 0.0:
            position = min(max(position - slope / curvature, best - spacing), best + spacing)
        if abs(position - last) < 1e-9:
            break
    return _REACH * min(max(position, -1.0), 1.0)


@njit(cache=True, nogil=True)
def slope_and_curvature(c, t):  # type: ignore[no-untyped-def]
    """First and second derivative of the polynomial."""
    slope = c[1] + t * (2.0 * c[2] + t * (3.0 * c[3] + t * 4.0 * c[4]))
    return slope, 2.0 * c[2] + t * (6.0 * c[3] + t * 12.0 * c[4])


@njit(cache=True, nogil=True, error_model="numpy")
def assess(spectrum, fits, lower, c, gap):  # type: ignore[no-untyped-def]
    """Flag, energy, uncertainty, reduced chi squared, height and curvature of the maximum between two nodes."""
    spread = fits.energy[fits.first + lower + 1] - fits.energy[fits.first + lower]
    difference = gap[0] - gap[1]
    share = gap[0] / difference if difference > 0.0 else 0.0
    stretch = spread / difference if difference > 0.0 else 1.0
    nearest = int(share > 0.5)
    energy = fits.energy[fits.first + lower] + share * spread
    chi2, gain = misfit(spectrum, fits, lower + nearest, c[nearest])
    x = gap[nearest] / _REACH
    height = c[nearest, 0] + x * (c[nearest, 1] + x * (c[nearest, 2] + x * (c[nearest, 3] + x * c[nearest, 4])))
    curvature = slope_and_curvature(c[nearest], x)[1] / _REACH**2
    for side in range(2):
        t = gap[side] / _REACH
        bent = slope_and_curvature(c[side], t)[1]
        if not (bent < 0.0 and abs(t) < 1.0):
            return _NO_MAXIMUM, np.nan, np.nan, chi2, height, curvature
        # from here c is the derivative of the energy to the coefficients
        power = (share if side == 1 else 1.0 - share) / bent
        for k in range(1, MOST_FUNCTIONS):
            c[side, k] = k * power
            power *= t
    total = 0.0
    for e in range(fits.limits[lower, 0], fits.limits[lower + 1, 1]):
        slope = 0.0
        for k in range(1, MOST_FUNCTIONS):
            slope += c[0, k] * fits.coefficient[lower, e, k] + c[1, k] * fits.coefficient[lower + 1, e, k]
        total += (slope / fits.weight[e]) ** 2
    flag = _GOOD if gain > MINIMUM_SIGNIFICANCE**2 else _NO_MAXIMUM
    return flag, energy, _REACH * stretch * math.sqrt(total), chi2, height, curvature


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def misfit(spectrum, fits, node, c):  # type: ignore[no-untyped-def]
    """Reduced chi squared of the fit around ``node``, and what it removes beyond a straight line."""
    total, z0, z1, z2 = 0.0, 0.0, 0.0, 0.0
    first, beyond, n_coefficients = fits.limits[node]
    for e in range(first, beyond):
        t = (fits.energy[e] - fits.energy[fits.first + node]) / _REACH
        rest = spectrum[e] - c[0] - t * (c[1] + t * (c[2] + t * (c[3] + t * c[4])))
        total += (fits.weight[e] * rest) ** 2
        z0 += fits.curved[node, e, 0] * spectrum[e]
        z1 += fits.curved[node, e, 1] * spectrum[e]
        z2 += fits.curved[node, e, 2] * spectrum[e]
    return total / (beyond - first - n_coefficients), z0 * z0 + z1 * z1 + z2 * z2
