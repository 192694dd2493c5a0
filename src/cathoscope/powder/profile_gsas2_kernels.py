"""GSAS-II's sum over heights for axial divergence at a constant wavelength, compiled."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from scipy.special import roots_legendre

_ORDERS = np.r_[np.arange(2, 31, 2), np.arange(40, 121, 10), np.arange(140, 301, 20), 400]
_STARTS = np.concatenate([[0], np.cumsum(_ORDERS // 2)])
_RULES = [roots_legendre(order) for order in _ORDERS]
_NODES = np.concatenate([nodes[nodes > 0] for nodes, _ in _RULES])
_WEIGHTS = np.concatenate([weights[nodes > 0] for nodes, weights in _RULES])
_PER_SHIFT = 200.0  # points of the sum for a degree, where there is no Lorentzian width
_PER_WIDTHS = 3.0  # points of the sum for a shift of one Lorentzian width


@njit(cache=True, nogil=True)
def rings_gsas2(position, gamma, axial, height):  # type: ignore[no-untyped-def]
    """The symmetric peaks that GSAS-II sums, in the rows of `profile_cw_kernels.rings_of`.

    ``height`` is ``axial`` or, at lowest angles, what limits it. The points are the positive half of a Gauss-Legendre
    rule in 2 phi. The order of the rule is three for a shift of one gamma (deg), so there is one point where the shift
    is small: a symmetric peak at 1 - 1/sqrt 3 of the largest shift.
    """
    two_theta = math.radians(position)
    cosine, sine = math.cos(two_theta), math.sin(two_theta)
    stretch = math.sqrt(1 + height * height)
    end = math.acos(cosine * stretch)
    span = abs(math.degrees(end) - position)
    wanted = int(_PER_WIDTHS * span / gamma) if gamma > 0 else int(_PER_SHIFT * span)
    rule = min(np.searchsorted(_ORDERS, wanted), _ORDERS.size - 1)
    first, count = _STARTS[rule], _ORDERS[rule] // 2
    out = np.zeros((6, count))
    end_position, end_axial = sine * stretch / math.sin(end), 0.0
    if height == axial:
        end_axial = -cosine * axial / (stretch * math.sin(end))
    for k in range(count):
        x, w = _NODES[first + k], _WEIGHTS[first + k]
        angle = end + (two_theta - end) * x
        out[0, k] = math.degrees(angle) - position
        out[1, k] = w
        out[4, k] = x + (1 - x) * end_position
        out[5, k] = math.degrees((1 - x) * end_axial)
    if count > 1:
        _weigh(out, two_theta, axial)
    total, per_position, per_axial = out[1].sum(), out[2].sum(), out[3].sum()
    for k in range(count):
        out[1, k] /= total
        out[2, k] = (out[2, k] - out[1, k] * per_position) / total
        out[3, k] = (out[3, k] - out[1, k] * per_axial) / total
    return out


@njit(cache=True, nogil=True)
def _weigh(out, two_theta, axial):  # type: ignore[no-untyped-def]
    """Times the weights of Finger, Cox and Jephcoat, (axial |cos 2 theta| / root - 1) / cos 2 phi, and derivatives."""
    cosine = math.cos(two_theta)
    size = abs(cosine)
    size_position = -math.sin(two_theta) * math.copysign(1.0, cosine)
    for k in range(out.shape[1]):
        angle = two_theta + math.radians(out[0, k])
        c, s = math.cos(angle), math.sin(angle)
        square = c * c - size * size
        if square <= 0:
            square = 1e-300
        root = math.sqrt(square)
        f, cube = size / root, root * square
        g = (axial * f - 1) / c
        g_angle = (axial * size * c * s / cube + (axial * f - 1) * s / c) / c
        g_position = axial * c * c / cube * size_position / c
        w = out[1, k]
        out[1, k] = w * g
        # position in degrees, the angles' own derivative is degrees per degree
        out[2, k] = w * (g_angle * out[4, k] + g_position) * math.pi / 180
        out[3, k] = w * (g_angle * math.radians(out[5, k]) + f / c)
