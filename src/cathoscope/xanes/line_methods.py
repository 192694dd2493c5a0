"""Every way to put a number on a white line, under the name a person types in a recipe.

All take spectra [spectrum, energy] and one noise [energy] and return a `WhiteLineFit` with the noise carried to the
energy to first order (delta method), each spectrum by itself. What they measure differs: the energy of the maximum,
the energy of half its height on the edge, or the centroid of the line; `Method.measures` says which.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.xanes.around_maximum import (
    indices_in,
    neighbours,
    polynomial_around_maximum,
    running_mean,
    spectra_and_noise,
    unless_lost,
)
from cathoscope.xanes.polynomial import (
    Array,
    Basis,
    arrays_of,
    basis_white_line,
    chunks,
    empty_fit,
    polynomial_basis,
    polynomial_white_line,
    scaled,
    tabulate,
)
from cathoscope.xanes.whiteline import WhiteLineFit, WhiteLineFlag

MAXIMUM, HALF_HEIGHT, CENTROID = "maximum", "half height", "centroid"

_EDGE_REACH = 2.0  # eV on both sides of the half height
_EDGE_ORDER = 2
_PRE_EDGE_GAP, _POST_EDGE_GAP = 12.0, 5.0  # eV between the window and what lies before the edge and after the line
_NO_EDGE, _GOOD, _NO_MAXIMUM, _AT_LIMIT, _NON_FINITE = (
    int(WhiteLineFlag[name]) for name in ("NO_EDGE", "GOOD", "NO_MAXIMUM", "AT_LIMIT", "NON_FINITE")
)


class Estimator(Protocol):
    """Spectra [spectrum, energy], energies and window in eV, noise [energy], order of a polynomial, 2 to 4."""

    def __call__(
        self, *, spectra: ArrayLike, energy: ArrayLike, noise_std: ArrayLike, window: tuple[float, float], order: int
    ) -> WhiteLineFit:
        """White line of every spectrum."""


@dataclass(frozen=True)
class Method:
    """A way to find the white line: what computes it, what energy it gives, and whether the order matters to it."""

    estimator: Estimator
    measures: str
    uses_order: bool


def estimate(
    name: str,
    *,
    spectra: ArrayLike,
    energy: ArrayLike,
    noise_std: ArrayLike,
    window: tuple[float, float],
    order: int = 4,
) -> WhiteLineFit:
    """White line of every spectrum by the method called ``name``, a key of ``METHODS``.

    Parameters
    ----------
    spectra, energy, noise_std
        [spectrum, energy], eV and [energy], as in ``fit_white_line``; here one noise for all, and always stated.
    window
        Lowest and highest energy in eV between which the white line has its maximum.
    order
        Order of the polynomial, 2 to 4, for methods that use one.

    Raises
    ------
    MeasurementError
        If there is no such method, or as in ``fit_white_line``.
    """
    if name not in METHODS:
        raise MeasurementError(
            "there is no such way to find a white line", expected=", ".join(METHODS), found=name, cure="method = ..."
        )
    return METHODS[name].estimator(spectra=spectra, energy=energy, noise_std=noise_std, window=window, order=order)


def trigonometric_basis() -> Basis:
    """1, t, t^2, sin and cos of a period of 1.5 times the window."""
    rate = 2.0 * math.pi / 3.0

    def derivative(t: Array, times: int) -> Array:
        """Derivatives of the terms, ``[term, place]``."""
        phase = rate * t + 0.5 * math.pi * times
        waves = rate**times * np.stack([np.sin(phase), np.cos(phase)])
        return np.concatenate([polynomial_basis(2).derivative(t, times), waves])

    return Basis(("constant", "linear", "quadratic", "sine", "cosine"), derivative)


def trigonometric_white_line(
    *, spectra: ArrayLike, energy: ArrayLike, noise_std: ArrayLike, window: tuple[float, float], order: int = 2
) -> WhiteLineFit:
    """Maximum of a combination of a sine, a cosine and a polynomial of second order in a fixed window.

    Hou et al. name trigonometric and second-order polynomial functions combined, but their equation is unpublished.
    This is the linear form that does follow a moving line: {1, t, t^2, sin, cos} with a period of 1.5 times the
    window. ``order`` is not used. Flags, parameters and errors as in ``basis_white_line``.
    """
    del order
    return basis_white_line(
        spectra=spectra, energy=energy, window=window, basis=trigonometric_basis(), noise_std=noise_std
    )


def half_height_energy(
    *, spectra: ArrayLike, energy: ArrayLike, noise_std: ArrayLike, window: tuple[float, float], order: int = 4
) -> WhiteLineFit:
    """Energy on the edge where the spectrum has risen half-way from before the edge to the white-line maximum.

    ``mu(E) = (base + top) / 2``: base is the weighted mean of the energies more than 12 eV below the window (the lowest
    three if there are fewer), top the maximum of a polynomial in the window. From the maximum downwards, the first
    energy where a running mean of three falls below the half starts a local fit of second order within 2 eV, which is
    solved for the half and centred anew where that lies nearer to another energy. The noise of base, top and local fit
    is carried together. Not the energy of the maximum, though it moves with it where the edge keeps its shape.

    Flags as in ``basis_white_line``; NO_EDGE if the spectrum nowhere falls to the half. Parameters: base, top.
    Parameters and errors as in ``estimate``.
    """
    values, axis, weight = spectra_and_noise(spectra, energy, noise_std)
    line = polynomial_white_line(spectra=spectra, energy=energy, noise_std=noise_std, window=window, order=order)
    basis = polynomial_basis(order)
    low, high = indices_in(axis, window, len(basis.names) + 1)
    inside = slice(low, high)
    tables = tabulate(axis[inside], weight[inside], basis)
    top = np.zeros((len(basis.names), axis.size))
    top[:, inside] = tables.coefficient[: len(basis.names)] @ tables.projector
    base = _mean_weights(axis < axis[low] - _PRE_EDGE_GAP, weight, slice(0, 3))
    maximum = np.where(np.isfinite(line.white_line_energy), line.white_line_energy, axis[low])
    start = np.clip(np.searchsorted(axis, maximum), low, high - 1)
    t = scaled(maximum, axis[inside])
    weights = (base, top, *_local_fits(axis, weight))
    fit = empty_fit(values.shape[0], ("base", "top"))
    for rows, chunk in chunks(values):
        cross_half(
            chunk, axis, weight**-2.0, weights, (line.parameters[rows], t[rows], start[rows]), arrays_of(fit, rows)
        )
    flag = np.where(line.good, fit.flag, line.flag).astype(np.int8)
    return unless_lost(replace(fit, flag=flag, reduced_chi2=line.reduced_chi2), values)


def white_line_centroid(
    *, spectra: ArrayLike, energy: ArrayLike, noise_std: ArrayLike, window: tuple[float, float], order: int = 2
) -> WhiteLineFit:
    """Centroid of what rises above the edge step around the maximum.

    ``int (mu - step) E dE / int (mu - step) dE`` between the energies on both sides of the maximum where mu falls to
    the step: the weighted mean of the energies more than 5 eV above the window (the highest three if there are fewer).
    The maximum and the two crossings are those of a running mean over three energies, the maximum inside the window;
    the integrals are trapezoidal. The noise of the line, the step and the crossings is carried together. A line with a
    long tail has its centroid above its maximum. Where the noise is a tenth of the line's height or more, noise finds
    the crossings early, and the uncertainty comes out a fifth too small. ``order`` is not used.

    Flags: NO_MAXIMUM if the area is below 4 of its uncertainties, AT_LIMIT if the maximum lies at an end of
    the window or a crossing outside the energies, NON_FINITE. The reduced chi squared is NaN, as nothing is fitted.
    Parameters: step, area. Parameters and errors as in ``estimate``.
    """
    del order
    values, axis, weight = spectra_and_noise(spectra, energy, noise_std)
    low, high = indices_in(axis, window, 3)
    step = _mean_weights(axis > axis[high - 1] + _POST_EDGE_GAP, weight, slice(axis.size - 3, axis.size))
    fit = empty_fit(values.shape[0], ("step", "area"))
    for rows, chunk in chunks(values):
        centroids(chunk, axis, weight**-2.0, step, (low, high), arrays_of(fit, rows))
    return unless_lost(fit, values)


METHODS: Mapping[str, Method] = {
    "polynomial": Method(polynomial_white_line, MAXIMUM, uses_order=True),
    "polynomial around maximum": Method(polynomial_around_maximum, MAXIMUM, uses_order=True),
    "trigonometric": Method(trigonometric_white_line, MAXIMUM, uses_order=False),
    "half height": Method(half_height_energy, HALF_HEIGHT, uses_order=True),
    "centroid": Method(white_line_centroid, CENTROID, uses_order=False),
}


def _mean_weights(chosen: NDArray[np.bool_], weight: Array, otherwise: slice) -> Array:
    """Weights [energy] of the weighted mean of the chosen energies, or of ``otherwise`` if fewer than three are."""
    if chosen.sum() < 3:
        chosen = np.zeros_like(chosen)
        chosen[otherwise] = True
    squared = np.where(chosen, weight**2, 0.0)
    mean: Array = squared / squared.sum()
    return mean


def _local_fits(axis: Array, weight: Array) -> tuple[Array, NDArray[np.int64]]:
    """Per energy: what takes a spectrum to the local polynomial in E - that energy, and the first and last index."""
    fits = np.zeros((axis.size, _EDGE_ORDER + 1, axis.size))
    limits = np.zeros((axis.size, 2), dtype=np.int64)
    for node in range(axis.size):
        near = neighbours(axis, node, _EDGE_REACH, _EDGE_ORDER + 3)
        design = np.vander(axis[near] - axis[node], _EDGE_ORDER + 1, increasing=True) * weight[near, np.newaxis]
        fits[node][:, near] = np.linalg.pinv(design) * weight[near]
        limits[node] = near.start, near.stop
    return fits, limits


@njit(cache=True, nogil=True, error_model="numpy")
def cross_half(spectra, axis, variance, weights, line, out):  # type: ignore[no-untyped-def]
    """Energy, uncertainty, flag, and (base, top) of the half height on the edge of every spectrum, to ``out``.

    ``weights`` are what take a spectrum to base, to the coefficients of the line, to each local fit, and the limits of
    these; ``line`` the coefficients, the position t of the maximum and the index to start from.
    """
    base_weights, top_weights, local, limits = weights
    coefficients, position, start = line
    energy, std, flag, _, levels = out
    n, n_energies = spectra.shape
    powers = np.empty(coefficients.shape[1])
    for i in range(n):
        spectrum = spectra[i]
        base, top = 0.0, 0.0
        for k in range(powers.size):
            powers[k] = position[i] ** k
            top += coefficients[i, k] * powers[k]
        for e in range(n_energies):
            base += base_weights[e] * spectrum[e]
        levels[i, 0], levels[i, 1], flag[i] = base, top, _NO_EDGE
        half = 0.5 * (base + top)
        below = first_below(spectrum, half, start[i], -1)
        node, offset, slope = solve_locally(spectrum, axis, half, (local, limits), below)
        if below == 0 or not slope > 0.0:
            continue
        total = 0.0
        for e in range(n_energies):
            gain = 0.5 * base_weights[e]
            for k in range(powers.size):
                gain += 0.5 * powers[k] * top_weights[k, e]
            gain -= local[node, 0, e] + offset * (local[node, 1, e] + offset * local[node, 2, e])
            total += gain * gain * variance[e]
        energy[i], std[i], flag[i] = axis[node] + offset, math.sqrt(total) / slope, _GOOD


@njit(cache=True, nogil=True)
def first_below(spectrum, level, start, side):  # type: ignore[no-untyped-def]
    """The first index from ``start`` on, upwards or downwards, where the running mean is not above ``level``."""
    i = start
    while 0 <= i + side < spectrum.size and running_mean(spectrum, i, 1) > level:
        i += side
    return i


@njit(cache=True, nogil=True, error_model="numpy")
def solve_locally(spectrum, axis, level, fits, first):  # type: ignore[no-untyped-def]
    """Where the local parabola is at ``level``: nearest energy, offset from it, and slope there (0 if nowhere)."""
    local, limits = fits
    node, offset, slope = first, 0.0, 0.0
    fit = np.zeros(3)
    for attempt in range(4):
        fit[:] = 0.0
        for e in range(limits[node, 0], limits[node, 1]):
            for k in range(3):
                fit[k] += local[node, k, e] * spectrum[e]
        # the root on the rising branch, in the form that does not cancel
        rest = fit[1] * fit[1] - 4.0 * fit[2] * (fit[0] - level)
        if not (rest > 0.0 and fit[1] > 0.0):
            return node, 0.0, 0.0
        slope = math.sqrt(rest)
        offset = -2.0 * (fit[0] - level) / (fit[1] + slope)
        target = axis[node] + offset
        nearest = node
        while nearest > 0 and abs(axis[nearest - 1] - target) < abs(axis[nearest] - target):
            nearest -= 1
        while nearest < axis.size - 1 and abs(axis[nearest + 1] - target) < abs(axis[nearest] - target):
            nearest += 1
        if nearest == node or attempt == 3:
            break
        node = nearest
    return node, offset, slope


@njit(cache=True, nogil=True, error_model="numpy")
def centroids(spectra, axis, variance, step_weights, window, out):  # type: ignore[no-untyped-def]
    """Centroid, uncertainty, flag, and (step, area) of every spectrum's white line, to ``out``."""
    energy, std, flag, _, found = out
    n, n_energies = spectra.shape
    gain = np.empty(n_energies)
    for i in range(n):
        spectrum = spectra[i]
        top, height, step = window[0], -np.inf, 0.0
        for e in range(n_energies):
            step += step_weights[e] * spectrum[e]
        for e in range(window[0], window[1]):
            if running_mean(spectrum, e, 1) > height:
                top, height = e, running_mean(spectrum, e, 1)
        below, above = first_below(spectrum, step, top, -1), first_below(spectrum, step, top, 1)
        flag[i] = _AT_LIMIT
        if not height > step:
            flag[i] = _NO_MAXIMUM
            continue
        if running_mean(spectrum, below, 1) > step or running_mean(spectrum, above, 1) > step:
            continue
        centre, area, area_std = weigh(spectrum, axis, variance, step_weights, (below, above, step), gain)
        total = 0.0
        for e in range(n_energies):
            total += gain[e] * gain[e] * variance[e]
        energy[i], std[i], found[i, 0], found[i, 1] = centre, math.sqrt(total), step, area
        if not area > 4.0 * area_std:
            flag[i] = _NO_MAXIMUM
        elif window[0] < top < window[1] - 1:
            flag[i] = _GOOD


@njit(cache=True, nogil=True, error_model="numpy")
def crossing(spectrum, axis, step, outer, inner):  # type: ignore[no-untyped-def]
    """Where the running mean falls to ``step`` between two energies, and its derivative to outer and inner mean."""
    width = axis[outer] - axis[inner]
    high, low = running_mean(spectrum, inner, 1), running_mean(spectrum, outer, 1)
    share = (high - step) / (high - low)
    return axis[inner] + share * width, share * width / (high - low), (1.0 - share) * width / (high - low)


@njit(cache=True, nogil=True, error_model="numpy")
def weigh(spectrum, axis, variance, step_weights, limits, gain):  # type: ignore[no-untyped-def]
    """Centroid, area and its uncertainty between two crossings; ``gain`` becomes the derivative of the centroid."""
    below, above, step = limits
    first, by_outer_low, by_inner_low = crossing(spectrum, axis, step, below, below + 1)
    last, by_outer_high, by_inner_high = crossing(spectrum, axis, step, above, above - 1)
    area, moment, width, area_variance = 0.0, 0.0, 0.0, 0.0
    for e in range(below + 1, above):
        left = first if e == below + 1 else axis[e - 1]
        right = last if e == above - 1 else axis[e + 1]
        gain[e] = 0.5 * (right - left)
        area += gain[e] * (spectrum[e] - step)
        moment += gain[e] * (spectrum[e] - step) * axis[e]
        width += gain[e]
        area_variance += gain[e] * gain[e] * variance[e]
    centre = moment / area
    by_step = 0.0
    for e in range(axis.size):
        gain[e] = gain[e] * (axis[e] - centre) / area if below < e < above else 0.0
        by_step -= gain[e]
    for inner, outer, sign, by_outer, by_inner in (
        (below + 1, below, -0.5, by_outer_low, by_inner_low),
        (above - 1, above, 0.5, by_outer_high, by_inner_high),
    ):
        by_end = sign * (spectrum[inner] - step) * (axis[inner] - centre) / area
        by_step -= by_end * (by_outer + by_inner)
        for middle, by_mean in ((outer, by_outer), (inner, by_inner)):
            low, high = max(middle - 1, 0), min(middle + 2, axis.size)
            for e in range(low, high):
                gain[e] += by_end * by_mean / (high - low)
    for e in range(axis.size):
        area_variance += (width * step_weights[e]) ** 2 * variance[e]
        gain[e] += by_step * step_weights[e]
    return centre, area, math.sqrt(area_variance)
