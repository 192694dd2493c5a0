"""The shape of a peak of a time-of-flight diffractometer.

The pulse of the moderator rises and falls exponentially, the instrument and the sample blur it by a pseudo-Voigt:

    f(t) = integral pulse(u) [(1 - eta) Gauss(t - u) + eta Lorentz(t - u)] du,   area 1,
    pulse(u) = alpha beta / (alpha + beta) * (exp(alpha u) for u < 0, exp(-beta u) for u > 0)

with the full width G of both parts and eta from the Gaussian variance sigma2 and the Lorentzian full width gamma
(Thompson, Cox and Hastings, J. Appl. Cryst. 20, 79, 1987; the folding: Von Dreele, Jorgensen and Windsor, J. Appl.
Cryst. 15, 581, 1982). With s^2 = G^2 / (8 ln 2), h = G/2 and N = alpha beta / (2 (alpha + beta))

    Gauss part     N [exp(u) erfc(y) + exp(v) erfc(z)]
                   u = alpha (alpha s^2 + 2 t) / 2,    y = (alpha s^2 + t) / (s sqrt 2)
                   v = beta (beta s^2 - 2 t) / 2,      z = (beta s^2 - t) / (s sqrt 2)
    Lorentz part   -(2 N / pi) Im[F(P) + F(Q)],  F(z) = exp(z) E1(z),  P = alpha (t + i h),  Q = -beta (t - i h)

The position of a peak is where the pulse turns, not the maximum.

GSAS and GSAS-II have P = alpha (-t + i h) instead. That is no convolution: it differs by up to 6 % of the maximum.
``lorentz="gsas2"`` repeats it, so that widths and cells published with it can be compared; parameters of an
instrument that were refined with one of the two hold for that one only.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cathoscope.powder.profile_tof_kernels import fill_tof
from cathoscope.powder.voigt_kernels import PARTIALS

Array = NDArray[np.float64]
LorentzPart = Literal["exact", "gsas2"]

LORENTZ_SIGN = {"exact": 1.0, "gsas2": -1.0}
"""The sign of t in P, by the name of the variant."""


def tof_profile(
    *,
    t: ArrayLike,
    alpha: float,
    beta: float,
    sigma2: float,
    gamma: float,
    lorentz: LorentzPart = "exact",
) -> Array:
    """A peak of unit area and its derivatives (6, n): value, then to position, alpha, beta, sigma2 and gamma.

    Parameters
    ----------
    t
        Time of flight minus that of the reflection (n,), us.
    alpha, beta
        Rise and decay of the pulse, 1/us, above 0.
    sigma2
        Variance of the Gaussian, us^2, above 0.
    gamma
        Full width of the Lorentzian at half maximum, us, at least 0.
    lorentz
        The convolution, or what GSAS-II computes.

    Returns
    -------
    Row 0 in 1/us, the others per unit of their parameter. Position is the time of flight of the reflection: its
    derivative is minus that to ``t``.
    """
    points = np.atleast_1d(np.asarray(t, dtype=np.float64))
    out = np.empty((PARTIALS, points.size))
    fill_tof(points, points.size, (float(alpha), float(beta), float(sigma2), float(gamma), LORENTZ_SIGN[lorentz]), out)
    return out
