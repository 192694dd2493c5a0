"""The compiled peak of a diffractometer of constant wavelength, with its derivatives."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from scipy.special import roots_legendre

from cathoscope.powder.profile_gsas2_kernels import rings_gsas2
from cathoscope.powder.special_kernels import BLOCK, fill_exponential
from cathoscope.powder.voigt_kernels import LORENTZ_REACH, mixed_width

_INSIDE = 0.9  # of tan 2 theta: where the cone of a reflection nearly lies inside of the detector
_LEAST_ORDER, _ORDER_PER_SHIFT = 3.0, 9.0  # points of the integral over heights, for 3e-7 of the maximum
_ORDERS = np.array(
    [3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256, 320, 384, 512, 768, 1024]
)
_STARTS = np.concatenate([[0], np.cumsum(_ORDERS)])
_RULES = [roots_legendre(order) for order in _ORDERS]
_NODES = np.concatenate([0.5 * (nodes + 1) for nodes, _ in _RULES])
_WEIGHTS = np.concatenate([0.5 * weights for _, weights in _RULES])


@njit(cache=True, nogil=True)
def _height(two_theta, axial):  # type: ignore[no-untyped-def]
    """Largest height over the distance that adds to the peak, and whether ``axial`` is what limits it."""
    limit = _INSIDE * abs(math.tan(two_theta))
    return min(axial, limit), axial <= limit


@njit(cache=True, nogil=True)
def reach_cw(position, shape):  # type: ignore[no-untyped-def]
    """How far to the left and right of its position (deg) a peak is more than the smooth wings of a Lorentzian.

    Then how far its asymmetry alone reaches. ``shape`` = sigma2 (deg^2), gamma (deg), axial.
    """
    width, _, _, _, _, _ = mixed_width(shape[0], shape[1])
    two_theta = math.radians(position)
    height, _ = _height(two_theta, shape[2])
    shift = math.degrees(math.acos(math.cos(two_theta) * math.sqrt(1 + height * height))) - position
    left, right = max(-shift, 0.0), max(shift, 0.0)
    return left + LORENTZ_REACH * width, right + LORENTZ_REACH * width, left, right


@njit(cache=True, nogil=True)
def rings_of(position, width, axial):  # type: ignore[no-untyped-def]
    """The symmetric peaks that an asymmetric one is the sum of: the heights h of rays above the plane of scattering.

    Rows: shift from the position (deg), weight, derivatives of the weight to position (1/deg) and axial, those of the
    place (deg) to position and axial.
    """
    two_theta = math.radians(position)
    height, free = _height(two_theta, axial)
    cosine, sine = math.cos(two_theta), math.sin(two_theta)
    farthest = math.degrees(math.acos(cosine * math.sqrt(1 + height * height))) - position
    wanted = _LEAST_ORDER + _ORDER_PER_SHIFT * abs(farthest) / width
    rule = min(np.searchsorted(_ORDERS, wanted), _ORDERS.size - 1)
    first, order = _STARTS[rule], _ORDERS[rule]
    out = np.zeros((6, order))
    sums = np.zeros(3)
    for k in range(order):
        h = height * _NODES[first + k]
        stretch = math.sqrt(1 + h * h)
        angle = math.acos(cosine * stretch)
        tilt = math.sin(angle)
        w = _WEIGHTS[first + k] * (1 - h / axial) / (1 + h * h) / tilt
        out[0, k] = math.degrees(angle) - position
        out[1, k] = w
        out[4, k] = sine * stretch / tilt
        out[2, k] = -w / math.tan(angle) * out[4, k] * math.pi / 180
        if free:
            per_height = -cosine * h / (stretch * tilt) * _NODES[first + k]
            out[3, k] = w * (-2 * h / (1 + h * h) * _NODES[first + k] - per_height / math.tan(angle))
            out[5, k] = math.degrees(per_height)
        for j in range(3):
            sums[j] += out[1 + j, k]
    for k in range(order):
        out[1, k] /= sums[0]
        out[2, k] = (out[2, k] - out[1, k] * sums[1]) / sums[0]
        out[3, k] = (out[3, k] - out[1, k] * sums[2]) / sums[0]
    return out


@njit(cache=True, nogil=True, fastmath={"contract"})
def _add_ring(t, bell, mixture, ring, sums):  # type: ignore[no-untyped-def]
    """Add one symmetric peak at the distances ``t``; ``bell`` is its Gaussian of height one.

    Rows of ``sums``: the profile, its derivatives to position, axial, the width, the Lorentz share.
    """
    width, eta, variance = mixture
    half = 0.5 * width
    scale = (1 - eta) / math.sqrt(2 * math.pi * variance), eta * half / math.pi
    shift, weight, weight_position, weight_axial, place_position, place_axial = ring
    to_position, to_axial = weight * place_position, weight * place_axial
    value, position, axial, per_width, share = sums[0], sums[1], sums[2], sums[3], sums[4]
    for i in range(t.size):
        x = t[i] - shift
        pole = 1.0 / (x * x + half * half)
        g, lorentz = scale[0] * bell[i], scale[1] * pole
        slope = x * (g / variance + 2 * lorentz * pole)  # falls with x
        value[i] += weight * (g + lorentz)
        position[i] += weight_position * (g + lorentz) + to_position * slope
        axial[i] += weight_axial * (g + lorentz) + to_axial * slope
        per_width[i] += weight * (g * (x * x / variance - 1) + lorentz * (1 - 2 * half * half * pole)) / width
        share[i] += weight * (half / math.pi * pole - bell[i] / math.sqrt(2 * math.pi * variance))


@njit(cache=True, nogil=True, fastmath={"contract"})
def fill_cw(t, near, position, shape, gsas2, out):  # type: ignore[no-untyped-def]
    """The peak at the distances ``t`` (deg) from its position, and its derivatives.

    The first ``near`` distances are within `reach_cw`, the others beyond. ``shape`` as in `reach_cw`; ``gsas2``: axial
    divergence as GSAS-II sums it; ``out`` [6, n] receives the profile (1/deg), its derivatives to position, sigma2,
    gamma, axial, and zeros.
    """
    width, eta, width_s, width_g, eta_s, eta_g = mixed_width(shape[0], shape[1])
    variance = width * width / (8 * math.log(2.0))
    rings = np.array([[0.0], [1.0], [0.0], [0.0], [1.0], [0.0]])
    if shape[2] > 0 and gsas2:
        rings = rings_gsas2(position, shape[1], shape[2], _height(math.radians(position), shape[2])[0])
    elif shape[2] > 0:
        rings = rings_of(position, width, shape[2])
    power, bell = np.empty(BLOCK), np.zeros(BLOCK)
    for start in range(0, t.size, BLOCK):
        m = min(BLOCK, t.size - start)
        here = t[start : start + m]
        gauss = min(m, max(near - start, 0))
        bell[gauss:m] = 0.0
        sums = np.zeros((5, m))
        for k in range(rings.shape[1]):
            for i in range(gauss):
                x = here[i] - rings[0, k]
                power[i] = -0.5 * x * x / variance
            fill_exponential(power, gauss, bell)
            ring = (rings[0, k], rings[1, k], rings[2, k], rings[3, k], rings[4, k], rings[5, k])
            _add_ring(here, bell, (width, eta, variance), ring, sums)
        for i in range(m):
            out[0, start + i] = sums[0, i]
            out[1, start + i] = sums[1, i]
            out[2, start + i] = sums[3, i] * width_s + sums[4, i] * eta_s
            out[3, start + i] = sums[3, i] * width_g + sums[4, i] * eta_g
            out[4, start + i] = sums[2, i]
            out[5, start + i] = 0.0
