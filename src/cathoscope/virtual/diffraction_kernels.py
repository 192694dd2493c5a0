"""Compiled sums of peak profiles: a table of each profile by quadrature, then its shares of every bin or point.

A table holds the profile's cumulative F, its density f and two derivatives on an even grid about the reflection. It
is read by the polynomial of degree 5 that has the values and two derivatives of both neighbours. Beyond a table the
profile is its Lorentzian, spread by the moments of whatever it was convolved with.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

REACH = 12.0
"""Half width of a table, in full widths at half maximum, besides what the exponentials or the axial divergence take."""

_DECAYS = 20.0  # of the slower exponential on either side
_PER_SIGMA = 8.0  # grid points per standard deviation of the Gaussian of the same width
_LOG2 = math.log(2.0)
# Gauss-Legendre nodes and weights on 0..1
_NODES = (0.5 - 0.5 * math.sqrt(0.6), 0.5, 0.5 + 0.5 * math.sqrt(0.6))
_WEIGHTS = (5.0 / 18.0, 8.0 / 18.0, 5.0 / 18.0)


@njit(cache=True, nogil=True)
def pseudo_voigt_of(sigma2, gamma):  # type: ignore[no-untyped-def]
    """Full width G and Lorentzian share of the pseudo-Voigt of a Gaussian variance and a Lorentzian full width.

    Thompson, Cox and Hastings, J. Appl. Cryst. 20, 79 (1987).
    """
    g = math.sqrt(8.0 * _LOG2 * sigma2)
    fifth = g**5 + 2.69269 * g**4 * gamma + 2.42843 * g**3 * gamma**2
    fifth += 4.47163 * g**2 * gamma**3 + 0.07842 * g * gamma**4 + gamma**5
    width = fifth**0.2
    ratio = gamma / width
    return width, ratio * (1.36603 + ratio * (-0.47719 + ratio * 0.11116))


@njit(cache=True, nogil=True)
def _voigt(v, width, share):  # type: ignore[no-untyped-def]
    """Density of the pseudo-Voigt at ``v``."""
    x = 2.0 * v / width
    square = x * x
    gauss = math.exp(-_LOG2 * square) * math.sqrt(_LOG2 / math.pi) if square < 100.0 else 0.0
    return 2.0 / width * ((1.0 - share) * gauss + share / (math.pi * (1.0 + square)))


@njit(cache=True, nogil=True)
def _voigt_below(v, width, share):  # type: ignore[no-untyped-def]
    """Integral of the pseudo-Voigt up to ``v``."""
    x = 2.0 * v / width
    lorentz = 0.5 + math.atan(x) / math.pi
    return (1.0 - share) * 0.5 * math.erfc(-math.sqrt(_LOG2) * x) + share * lorentz


@njit(cache=True, nogil=True)
def _far(rate, distance):  # type: ignore[no-untyped-def]
    """Integral over s > 0 of exp(-rate s) / (distance + s)^2, times distance^2, for rate distance >= 20."""
    q = 1.0 / (rate * distance)
    return (1.0 - q * (2.0 - q * (6.0 - q * (24.0 - q * 120.0)))) / rate


@njit(cache=True, nogil=True)
def tof_table(shape):  # type: ignore[no-untyped-def]
    """Table of exp(alpha t), t < 0, and exp(-beta t), t > 0, convolved with a pseudo-Voigt; ``shape`` as `add_tof`.

    E_b(t) = integral of exp(-b (t - v)) p(v) over v < t obeys E_b' = p - b E_b, and E_a alike from the other side:
    each step is solved exactly but for the quadrature of p. Then f = N (E_a + E_b), N = a b / (a + b), and
    F = P + N (E_a / a - E_b / b), P being the cumulative of p. Returns origin, step, table (n, 4) and tail (6,).
    """
    alpha, beta, sigma2, gamma = shape[0], shape[1], shape[2], shape[3]
    width, share = pseudo_voigt_of(sigma2, gamma)
    step = min(width / math.sqrt(8.0 * _LOG2) / _PER_SIGMA, 0.5 / max(alpha, beta))
    half = REACH * width + _DECAYS / min(alpha, beta)
    count = int(2.0 * half / step) + 2
    early, late = np.empty(count), np.empty(count)
    rise, fall = math.exp(-alpha * step), math.exp(-beta * step)
    samples = np.empty((count - 1, 3))
    for i in range(count - 1):
        for k in range(3):
            samples[i, k] = _voigt(-half + (i + _NODES[k]) * step, width, share)
    late[0] = _voigt(-half, width, share) * _far(beta, half)
    for i in range(count - 1):
        total = 0.0
        for k in range(3):
            total += _WEIGHTS[k] * math.exp(-beta * step * (1.0 - _NODES[k])) * samples[i, k]
        late[i + 1] = late[i] * fall + total * step
    end = -half + (count - 1) * step
    early[count - 1] = _voigt(end, width, share) * _far(alpha, end)
    for i in range(count - 2, -1, -1):
        total = 0.0
        for k in range(3):
            total += _WEIGHTS[k] * math.exp(-alpha * step * _NODES[k]) * samples[i, k]
        early[i] = early[i + 1] * rise + total * step
    table = np.empty((count, 4))
    norm = alpha * beta / (alpha + beta)
    for i in range(count):
        v = -half + i * step
        p = _voigt(v, width, share)
        table[i, 0] = _voigt_below(v, width, share) + norm * (early[i] / alpha - late[i] / beta)
        table[i, 1] = norm * (early[i] + late[i])
        table[i, 2] = norm * (alpha * early[i] - beta * late[i])
        table[i, 3] = norm * (alpha * alpha * early[i] + beta * beta * late[i] - (alpha + beta) * p)
    a, b = 1.0 / alpha, 1.0 / beta
    fourth = 9.0 * (a**4 + b**4) + 6.0 * a * a * b * b
    tail = np.array([share, width, b - a, a * a + b * b, 2.0 * (b**3 - a**3), fourth])
    return -half, step, table, tail


@njit(cache=True, nogil=True)
def cw_table(shape, shifts, shares):  # type: ignore[no-untyped-def]
    """Table of a pseudo-Voigt (``shape``: variance, Lorentzian width) at ``shifts`` with ``shares`` that add up to 1.

    Returns as `tof_table`.
    """
    width, share = pseudo_voigt_of(shape[0], shape[1])
    step = width / math.sqrt(8.0 * _LOG2) / _PER_SIGMA
    # Two ranges of shifts further out, their first four moments say all that matters.
    margin = REACH * width + 2.0 * (shifts.max() - shifts.min())
    lowest, highest = shifts.min() - margin, shifts.max() + margin
    count = int((highest - lowest) / step) + 2
    table = np.zeros((count, 4))
    g, b = 4.0 * _LOG2 / width**2, 4.0 / width**2
    gauss_top, lorentz_top = 2.0 / width * math.sqrt(_LOG2 / math.pi), 2.0 / (math.pi * width)
    for i in range(count):
        for k in range(shifts.size):
            v = lowest + i * step - shifts[k]
            gauss = (1.0 - share) * gauss_top * math.exp(-min(g * v * v, 700.0))
            flat = 1.0 / (1.0 + b * v * v)
            lorentz = share * lorentz_top * flat
            table[i, 0] += shares[k] * _voigt_below(v, width, share)
            table[i, 1] += shares[k] * (gauss + lorentz)
            table[i, 2] += shares[k] * (-2.0 * g * v * gauss - 2.0 * b * v * flat * lorentz)
            curved = (8.0 * b * v * v * flat - 2.0) * b * flat * lorentz
            table[i, 3] += shares[k] * ((4.0 * g * v * v - 2.0) * g * gauss + curved)
    tail = np.zeros(6)
    tail[0], tail[1] = share, width
    for k in range(shifts.size):
        tail[2] += shares[k] * shifts[k]
    for k in range(shifts.size):
        away = shifts[k] - tail[2]
        for power in range(2, 5):
            tail[1 + power] += shares[k] * away**power
    return lowest, step, table, tail


@njit(cache=True, nogil=True)
def _read(table, column, place, step):  # type: ignore[no-untyped-def]
    """Column 0 or 1 of a table at ``place`` grid steps from its origin."""
    i = min(int(place), table.shape[0] - 2)
    t = place - i
    y, c1, c2 = table[i, column], table[i, column + 1] * step, 0.5 * table[i, column + 2] * step * step
    d = table[i + 1, column] - y - c1 - c2
    d1 = table[i + 1, column + 1] * step - c1 - 2.0 * c2
    d2 = table[i + 1, column + 2] * step * step - 2.0 * c2
    c3, c4, c5 = 10.0 * d - 4.0 * d1 + 0.5 * d2, -15.0 * d + 7.0 * d1 - d2, 6.0 * d - 3.0 * d1 + 0.5 * d2
    return y + t * (c1 + t * (c2 + t * (c3 + t * (c4 + t * c5))))


@njit(cache=True, nogil=True)
def _tail(u, tail):  # type: ignore[no-untyped-def]
    """Density far from the peak: the Lorentzian and the first terms of its expansion in the moments of the spread."""
    w = u - tail[2]
    q = 1.0 / w
    spread = 1.0 + q * q * (3.0 * tail[3] + q * (4.0 * tail[4] + q * 5.0 * tail[5]))
    return tail[0] * tail[1] / (2.0 * math.pi) / (w * w + 0.25 * tail[1] * tail[1]) * spread


@njit(cache=True, nogil=True)
def _tail_share(left, right, tail):  # type: ignore[no-untyped-def]
    """Integral of the tail over a bin that is small against its distance, where f'' is 6 f / u^2."""
    width, u = right - left, 0.5 * (left + right)
    return width * _tail(u, tail) * (1.0 + 0.25 * width * width / (u * u))


@njit(cache=True, nogil=True)
def _place_bins(out, edges, centre, area, made, lowest, highest):  # type: ignore[no-untyped-def]
    """Add the integral of one profile to the bins ``lowest`` to ``highest`` (excluded)."""
    origin, step, table, tail = made
    last = table.shape[0] - 1
    before, known = 0.0, False
    for j in range(lowest, highest):
        left, right = edges[j] - centre, edges[j + 1] - centre
        start, end = (left - origin) / step, (right - origin) / step
        if start < 0.0 or end > last:
            out[j] += area * _tail_share(left, right, tail)
            known = False
            continue
        if not known:
            before = _read(table, 0, start, step)
        after = _read(table, 0, end, step)
        out[j] += area * (after - before)
        before, known = after, True


@njit(cache=True, nogil=True)
def _place_points(out, points, centre, area, made, lowest, highest):  # type: ignore[no-untyped-def]
    """Add the density of one profile at the points ``lowest`` to ``highest`` (excluded)."""
    origin, step, table, tail = made
    last = table.shape[0] - 1
    for j in range(lowest, highest):
        u = points[j] - centre
        place = (u - origin) / step
        out[j] += area * (_tail(u, tail) if place < 0.0 or place > last else _read(table, 1, place, step))


@njit(cache=True, nogil=True)
def _spread_further(tail, offsets, weights):  # type: ignore[no-untyped-def]
    """The tail of all classes together: mean and central moments 2 to 4 of both spreads, one after the other."""
    mean, moments = 0.0, np.zeros(3)
    for k in range(weights.size):
        mean += weights[k] * offsets[k]
    for k in range(weights.size):
        away = offsets[k] - mean
        for power in range(3):
            moments[power] += weights[k] * away ** (power + 2)
    far = tail.copy()
    far[2] += mean
    far[3] += moments[0]
    far[4] += moments[1]
    far[5] += moments[2] + 6.0 * tail[3] * moments[0]
    return far


@njit(cache=True, nogil=True)
def _add(out, x, by_bin, line, made, offsets, weights):  # type: ignore[no-untyped-def]
    """Add one reflection (``line``: area, position), its classes displaced by ``offsets``: near each by itself."""
    origin, step, table, tail = made
    area, position = line[0], line[1]
    margin = 2.0 * (offsets.max() - offsets.min())
    end = origin + step * table.shape[0]
    near = position + np.array([offsets.min() + origin - margin, offsets.max() + end + margin])
    lowest, highest = np.searchsorted(x, near)
    if by_bin:
        lowest, highest = max(lowest - 1, 0), min(highest, out.size)
    for k in range(weights.size):
        if by_bin:
            _place_bins(out, x, position + offsets[k], area * weights[k], made, lowest, highest)
        else:
            _place_points(out, x, position + offsets[k], area * weights[k], made, lowest, highest)
    far = _spread_further(tail, offsets, weights)
    for part in range(2):
        for j in range(0 if part == 0 else highest, lowest if part == 0 else out.size):
            if by_bin:
                out[j] += area * _tail_share(x[j] - position, x[j + 1] - position, far)
            else:
                out[j] += area * _tail(x[j] - position, far)


@njit(cache=True, nogil=True)
def add_tof(out, x, by_bin, lines, shapes, offsets, weights):  # type: ignore[no-untyped-def]
    """Add reflections of a time-of-flight pattern.

    ``out`` (n,) takes integrals over the bins whose edges ``x`` (n + 1,; us) are, or, not ``by_bin``, densities at
    the points ``x`` (n,). ``lines`` (r, 2): area and position (us); ``shapes`` (r, 4): alpha, beta (1/us), sigma^2
    (us^2), gamma (us); ``offsets`` (r, k; us) and ``weights`` (k,) of the classes of a distribution.
    """
    for r in range(lines.shape[0]):
        if lines[r, 0] != 0.0:
            _add(out, x, by_bin, lines[r], tof_table(shapes[r]), offsets[r], weights)


@njit(cache=True, nogil=True)
def add_cw(out, x, lines, shapes, axial, offsets, weights):  # type: ignore[no-untyped-def]
    """Add the densities of reflections at constant wavelength at the points ``x`` (n,; deg) to ``out``.

    ``lines`` (r, 2): area and position (deg); ``shapes`` (r, 2): sigma^2 (deg^2), gamma (deg); ``axial`` (r, 2, m):
    shifts (deg) and shares of the axial divergence; ``offsets`` and ``weights`` as in `add_tof`.
    """
    for r in range(lines.shape[0]):
        if lines[r, 0] != 0.0:
            made = cw_table(shapes[r], axial[r, 0], axial[r, 1])
            _add(out, x, False, lines[r], made, offsets[r], weights)
