"""The shape of a peak at a constant wavelength.

A pseudo-Voigt with the full width G of both parts and the Lorentz share eta from the Gaussian variance sigma2 and the
Lorentzian full width gamma (Thompson, Cox and Hastings, J. Appl. Cryst. 20, 79, 1987), made asymmetric by axial
divergence: rays that leave the plane of scattering, from a sample of half height S to a detector of half height H at
the distance L, S = H, reach the detector at

    cos 2 phi = cos 2 theta sqrt(1 + h^2),    0 < h < axial = (S + H) / L,

each h with the weight (axial - h) / ((1 + h^2) sin 2 phi) dh. This is the law of Finger, Cox and Jephcoat, J. Appl.
Cryst. 27, 892 (1994), with h in place of 2 phi as the variable, which takes the singularity away. The integral is a
Gauss-Legendre sum of as many points as 3e-7 of the maximum needs. GSAS's SH/L is this ``axial``.

Below 2 theta = axial (rad) the cone of a reflection lies inside of the detector, and this geometry ends: there axial
counts as 0.9 tan 2 theta.

GSAS-II sums so few points that they mostly are one: a symmetric peak at 1 - 1/sqrt 3 of the largest shift, where the
mean of the integral is at a sixth of it. ``law="gsas2"`` repeats that, and its least axial of 0.002, so that cells
published with it can be compared: those of the integral are smaller, by 1.1e-5 on a synchrotron.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cathoscope.powder.profile_cw_kernels import fill_cw
from cathoscope.powder.voigt_kernels import PARTIALS

Array = NDArray[np.float64]
AxialLaw = Literal["exact", "gsas2"]

GSAS2_LEAST_AXIAL = 0.002
"""Below this GSAS-II takes this."""


def cw_profile(
    *,
    two_theta: ArrayLike,
    position: float,
    sigma2: float,
    gamma: float,
    axial: float = 0.0,
    law: AxialLaw = "exact",
) -> Array:
    """A peak of unit area and its derivatives (5, n): value, then to position, sigma2, gamma and axial.

    Parameters
    ----------
    two_theta
        Points (n,), deg.
    position
        Of the reflection, deg, above 0 and below 180.
    sigma2
        Variance of the Gaussian, deg^2, above 0.
    gamma
        Full width of the Lorentzian at half maximum, deg, at least 0.
    axial
        (S + H) / L, at least 0; 0 leaves the peak symmetric.
    law
        The integral, or what GSAS-II sums.

    Returns
    -------
    Row 0 in 1/deg, the others per unit of their parameter.
    """
    t = np.atleast_1d(np.asarray(two_theta, dtype=np.float64)) - position
    out = np.empty((PARTIALS, t.size))
    fill_cw(t, t.size, float(position), (float(sigma2), float(gamma), float(axial)), law == "gsas2", out)
    return out[:-1]
