"""The compiled peak of a time-of-flight diffractometer, with its derivatives."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from cathoscope.powder.special_kernels import fill_erfcx, fill_exponential_integral
from cathoscope.powder.voigt_kernels import LORENTZ_REACH, mixed_width

_GAUSS_REACH = 6.5  # standard deviations beyond which a Gaussian is below 1e-9 of its maximum
_DECAY_REACH = 20.0  # decay lengths beyond which an exponential is below 1e-8 of its maximum


@njit(cache=True, nogil=True)
def reach_tof(shape):  # type: ignore[no-untyped-def]
    """How far to the left and right of its position (us) a peak is more than the smooth wings of a Lorentzian.

    ``shape`` = alpha, beta (1/us), sigma2 (us^2), gamma (us), sign of the Lorentz part (1: exact, -1: gsas2).
    """
    alpha, beta, sigma2, gamma, sign = shape
    width, _, _, _, _, _ = mixed_width(sigma2, gamma)
    gauss = _GAUSS_REACH * width / 2.3548200450309493
    slowest = min(alpha, beta) if sign < 0 else beta
    left, right = gauss + _DECAY_REACH / alpha, gauss + _DECAY_REACH / slowest
    return max(left, LORENTZ_REACH * width), max(right, LORENTZ_REACH * width)


@njit(cache=True, nogil=True, fastmath={"contract"})
def _gauss(t, near, shape, variance, out):  # type: ignore[no-untyped-def]
    """Gaussian folded with the two exponentials, for the first ``near`` points; the others are too far.

    Rows of ``out``: the profile, its derivatives to t, alpha, beta and the Gaussian's variance.
    """
    alpha, beta = shape[0], shape[1]
    norm = alpha * beta / (2 * (alpha + beta))
    per_alpha, per_beta = beta / (alpha * (alpha + beta)), alpha / (beta * (alpha + beta))
    root = 1.0 / math.sqrt(2 * variance)
    peak = math.sqrt(2 / (math.pi * variance))
    y, z = np.empty(near), np.empty(near)
    first, second = np.empty(near), np.empty(near)
    for i in range(near):
        y[i], z[i] = abs(alpha * variance + t[i]) * root, abs(beta * variance - t[i]) * root
    fill_erfcx(y, near, first)
    fill_erfcx(z, near, second)
    for i in range(near):
        rise, fall = alpha * variance + t[i], beta * variance - t[i]
        bell = math.exp(-t[i] * t[i] * root * root)
        g, h = bell * first[i], bell * second[i]
        if rise < 0:
            g = 2 * math.exp(alpha * (t[i] + 0.5 * alpha * variance)) - g
        if fall < 0:
            h = 2 * math.exp(-beta * (t[i] - 0.5 * beta * variance)) - h
        c = peak * bell
        total = norm * (g + h)
        out[0, i] = total
        out[1, i] = norm * (alpha * g - beta * h)
        out[2, i] = total * per_alpha + norm * (rise * g - variance * c)
        out[3, i] = total * per_beta + norm * (fall * h - variance * c)
        out[4, i] = 0.5 * norm * (alpha * alpha * g + beta * beta * h - c * (alpha + beta))
    out[:5, near:] = 0.0


@njit(cache=True, nogil=True, fastmath={"contract"})
def _lorentz(t, shape, half, out):  # type: ignore[no-untyped-def]
    """Lorentzian of the half width ``half`` folded with the two exponentials.

    Rows of ``out``: the profile, its derivatives to t, alpha, beta and the half width.
    """
    alpha, beta, sign = shape[0], shape[1], shape[4]
    scale = -alpha * beta / (math.pi * (alpha + beta))
    per_alpha, per_beta = beta / (alpha * (alpha + beta)), alpha / (beta * (alpha + beta))
    n = t.size
    x, a_re, a_im = np.empty(n), np.empty(n), np.empty(n)
    b_re, b_im = np.empty(n), np.empty(n)
    for i in range(n):
        x[i] = sign * alpha * t[i]
    fill_exponential_integral(x, alpha * half, a_re, a_im)
    for i in range(n):
        x[i] = -beta * t[i]
    fill_exponential_integral(x, beta * half, b_re, b_im)
    for i in range(n):
        lag = (1.0 - sign) / (t[i] * t[i] + half * half)
        total = scale * (a_im[i] + b_im[i])
        out[0, i] = total
        out[1, i] = scale * (sign * alpha * a_im[i] - beta * b_im[i] - half * lag)
        out[2, i] = total * per_alpha + scale * (sign * t[i] * a_im[i] + half * a_re[i])
        out[3, i] = total * per_beta + scale * (half * b_re[i] - t[i] * b_im[i])
        out[4, i] = scale * (alpha * a_re[i] + beta * b_re[i] + t[i] * lag)


@njit(cache=True, nogil=True, fastmath={"contract"})
def fill_tof(t, near, shape, out):  # type: ignore[no-untyped-def]
    """The peak at the distances ``t`` (us) from its position, and its derivatives.

    The first ``near`` distances are within `reach_tof`, the others beyond. ``shape`` as in `reach_tof`; ``out``
    [6, n] receives the profile (1/us) and its derivatives to position, alpha, beta, sigma2, gamma.
    """
    n = t.size
    width, eta, width_s, width_g, eta_s, eta_g = mixed_width(shape[2], shape[3])
    variance, half = width * width / (8 * math.log(2.0)), 0.5 * width
    per_width = 2 * variance / width
    gauss, lorentz = np.empty((5, n)), np.empty((5, n))
    _gauss(t, near, shape, variance, gauss)
    _lorentz(t, shape, half, lorentz)
    for i in range(n):
        excess = lorentz[0, i] - gauss[0, i]
        to_width = (1 - eta) * gauss[4, i] * per_width + eta * lorentz[4, i] * 0.5
        out[0, i] = gauss[0, i] + eta * excess
        out[1, i] = -(gauss[1, i] + eta * (lorentz[1, i] - gauss[1, i]))
        out[2, i] = gauss[2, i] + eta * (lorentz[2, i] - gauss[2, i])
        out[3, i] = gauss[3, i] + eta * (lorentz[3, i] - gauss[3, i])
        out[4, i] = to_width * width_s + excess * eta_s
        out[5, i] = to_width * width_g + excess * eta_g
