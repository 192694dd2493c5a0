"""What lies under the peaks: functions of the point, with coefficients that a refinement finds.

Linear backgrounds are matrices [point, coefficient]: a background is the matrix times its coefficients, and the matrix
is its derivative. Terms with places and widths of their own take arrays or duals.

Scales: on which measure of x functions are even, x itself (us or deg), log x, or 1/x. Peaks of time of flight crowd at
short times, where the inverse scale gives a background more freedom.
"""

from __future__ import annotations

from math import pi
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.dual import Graded
from cathoscope.powder.position import Number
from cathoscope.powder.width import EIGHT_LN2

Array = NDArray[np.float64]
Scale = Literal["linear", "log", "inverse"]


def chebyshev_basis(
    *, x: ArrayLike, count: int, span: tuple[float, float] | None = None, scale: Scale = "linear"
) -> Array:
    """Chebyshev polynomials of the first kind T_0 ... T_(count - 1) at ``x`` (m,): [m, count].

    T_k(u) = cos(k arccos u), u in -1 to 1 from the first to the last value of ``span``, by default of x. Outside of the
    span, where polynomials run away, they are those of the nearest end.
    """
    points = _scaled(np.asarray(x, dtype=np.float64), scale)
    low, high = (points[0], points[-1]) if span is None else _scaled(np.array(span, dtype=np.float64), scale)
    if count < 1 or low == high:
        raise MeasurementError(
            "no background can be made",
            expected="one coefficient or more, and points at two places or more",
            found=f"{count} coefficients from {low:g} to {high:g}",
        )
    u = np.clip((2 * points - low - high) / (high - low), -1, 1)
    return np.asarray(np.cos(np.arange(count) * np.arccos(u)[:, None]))


def knots_between(*, low: float, high: float, count: int, scale: Scale = "linear") -> Array:
    """``count`` places from ``low`` to ``high``, even on the scale."""
    ends = _scaled(np.array([low, high], dtype=np.float64), scale)
    return _unscaled(np.linspace(ends[0], ends[1], count), scale)


def interpolation_basis(*, x: ArrayLike, knots: ArrayLike, scale: Scale = "linear") -> Array:
    """Values at ``knots`` (k,), increasing, joined by straight lines on the scale: [m, k], constant beyond the ends."""
    points, places = np.asarray(x, dtype=np.float64), np.asarray(knots, dtype=np.float64)
    if places.size < 2 or np.any(np.diff(places) <= 0):
        raise MeasurementError(
            "the knots of a background do not increase",
            expected="two places or more, each larger than the one before",
            found=f"{places.size} places",
        )
    u, at = _scaled(points, scale), _scaled(places, scale)
    if at[0] > at[-1]:
        u, at = -u, -at
    left = np.clip(np.searchsorted(at, u, side="right") - 1, 0, at.size - 2)
    share = np.clip((u - at[left]) / (at[left + 1] - at[left]), 0, 1)
    out = np.zeros((points.size, places.size))
    rows = np.arange(points.size)
    out[rows, left], out[rows, left + 1] = 1 - share, share
    return out


def debye_term(*, d: ArrayLike, distance: Number, displacement: Number) -> Graded:
    """Scattering by pairs of atoms without order: sin(Q r) / (Q r) exp(-U Q^2), Q = 2 pi / d, times an amplitude.

    Debye, Ann. Phys. 351, 809 (1915), with the displacement factor as in GSAS-II.

    Parameters
    ----------
    d
        Lattice spacing at the points (m,), A.
    distance
        Between the atoms, A.
    displacement
        U, mean squared displacement of their distance, A^2.
    """
    q = 2 * pi / np.asarray(d, dtype=np.float64)
    phase = q * distance
    out: Graded = np.sin(phase) / phase * np.exp(-(q * q) * displacement)
    return out


def pseudo_voigt(*, x: ArrayLike, position: Number, sigma2: Number, gamma: Number) -> Graded:
    """A broad peak of area one, in the unit of 1/x, of a phase that is not modelled or of a sample holder.

    Thompson, Cox and Hastings, J. Appl. Cryst. 20, 79 (1987).

    Parameters
    ----------
    x
        Points (m,), us or deg.
    position
        In the unit of x.
    sigma2
        Variance of the Gaussian part, above 0.
    gamma
        Full width of the Lorentzian part, at least 0.
    """
    g, f = np.sqrt(EIGHT_LN2 * sigma2), gamma
    g2, f2 = g * g, f * f
    fifth = g2 * g2 * (g + 2.69269 * f) + g2 * f2 * (2.42843 * g + 4.47163 * f) + f2 * f2 * (0.07842 * g + f)
    width = fifth**0.2
    r = f / width
    share = r * (1.36603 + r * (-0.47719 + r * 0.11116))
    t = (np.asarray(x, dtype=np.float64) - position) / width
    gauss = np.exp(t * t * (-EIGHT_LN2 / 2)) * np.sqrt(EIGHT_LN2 / (2 * pi))
    lorentz = 2 / pi / (1.0 + 4.0 * (t * t))
    out: Graded = (gauss + share * (lorentz - gauss)) / width
    return out


def _scaled(x: Array, scale: Scale) -> Array:
    if scale == "linear":
        return x
    if np.any(x <= 0):
        raise MeasurementError(
            f"a background on the {scale} scale needs points above zero",
            expected="x above 0",
            found=f"x down to {x.min():g}",
            cure='use the scale "linear", or leave the points out',
        )
    return np.asarray(np.log(x) if scale == "log" else 1 / x)


def _unscaled(u: Array, scale: Scale) -> Array:
    if scale == "linear":
        return u
    return np.asarray(np.exp(u) if scale == "log" else 1 / u)
