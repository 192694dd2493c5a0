"""How wide a reflection is: what the instrument, the size of the crystallites and their strain add.

Size and strain broaden the lattice spacing: their laws give the full width of delta d / d, a number without unit that
is the same at every instrument,

    size      delta d / d = d / L                (Scherrer, K = 1; L the length of the columns of cells along hkl)
    strain    delta d / d = strain x 1e-6        (Stokes and Wilson)

and `tof_shape` and `cw_shape` turn it into us and deg, once for all:

    delta T = difC d (delta d / d),    delta 2 theta = 2 tan theta (delta d / d).

GSAS-II's microstrain is this strain for time of flight and twice this strain for a constant wavelength; its Stephens
coefficients are these for time of flight and four times these for a constant wavelength. Its sizes are the same.
GSAS and GSAS-II state U, V, W, X, Y, Z in centidegrees; they are so in a `Bank`, and become degrees here.

A share m (0 to 1) of a width is Lorentzian: gamma grows by m w, sigma2 by ((1 - m) w)^2 / (8 ln 2).

Spacings are A, sizes um, sigma2 us^2 or deg^2, gamma us or deg (full width at half maximum). Every law takes arrays
or duals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import log

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cathoscope.numerics.dual import Dual, Graded, graded, mapped, selected, value_of
from cathoscope.powder.position import Number, Values

Array = NDArray[np.float64]

EIGHT_LN2 = 8 * log(2.0)
"""Squared full width at half maximum of a Gaussian over its variance."""

STEPHENS_TERMS = tuple(powers for powers in product(range(4, -1, -1), repeat=3) if sum(powers) == 4)
"""Powers of h, k, l of the 15 coefficients of `strain_from_stephens`: S400 first, S004 last."""

_A_PER_UM = 1e4
_LEAST_VARIANCE = 1e-12  # of 1/d^2, below which the sum of Stephens counts as this


@dataclass(frozen=True)
class Broadening:
    """One reason why reflections are wide.

    Attributes
    ----------
    width
        Full width of delta d / d of every reflection, (n,).
    lorentz
        Share of it that is Lorentzian, 0 to 1.
    """

    width: Graded
    lorentz: Number = 1.0


def width_from_size(*, d: ArrayLike | Dual, size: ArrayLike | Dual) -> Graded:
    """Full width of delta d / d = d / L of crystallites of the column length ``size`` (um). Scherrer (1918), K = 1."""
    out: Graded = graded(d) / (graded(size) * _A_PER_UM)
    return out


def width_from_strain(*, strain: ArrayLike | Dual) -> Graded:
    """Full width of delta d / d of a ``strain`` stated in 1e-6. Stokes and Wilson, Proc. Phys. Soc. 56, 174 (1944)."""
    out: Graded = graded(strain) * 1e-6
    return out


def uniaxial(*, equatorial: Number, axial: Number, cosine2: ArrayLike | Dual) -> Graded:
    """Size or strain along a direction of an ellipsoid of revolution, in the unit of its half axes.

    p = e a / sqrt(e^2 cos^2 + a^2 sin^2) at the angle to the axis whose squared cosine is ``cosine2``: ``axial`` along
    the axis and ``equatorial`` across it.
    """
    c = graded(cosine2)
    out: Graded = equatorial * axial / np.sqrt(equatorial * equatorial * c + axial * axial * (1.0 - c))
    return out


def width_from_uniaxial_size(
    *, d: ArrayLike | Dual, equatorial: Number, axial: Number, cosine2: ArrayLike | Dual
) -> Graded:
    """Full width of delta d / d of uniaxial crystallites (um): the mean over the equivalents of each reflection.

    Parameters
    ----------
    cosine2
        As `cosine2_to_axis` gives for the equivalents, (n, g). With the listed hkl only, (n, 1), this is what
        GSAS-II computes, whose width depends on which equivalent is listed.
    """
    lengths = uniaxial(equatorial=equatorial, axial=axial, cosine2=cosine2)
    return width_from_size(d=d, size=1.0 / _mean(1.0 / lengths))


def width_from_uniaxial_strain(*, equatorial: Number, axial: Number, cosine2: ArrayLike | Dual) -> Graded:
    """Full width of delta d / d of a uniaxial strain (1e-6): the mean over the equivalents, as for sizes."""
    return width_from_strain(strain=_mean(uniaxial(equatorial=equatorial, axial=axial, cosine2=cosine2)))


def cosine2_to_axis(*, hkl: ArrayLike, axis: ArrayLike, metric: ArrayLike | Dual) -> Graded:
    """Squared cosine of the angle between the normals of planes (..., 3) and an axis.

    Parameters
    ----------
    hkl
        For a mean over equivalents all of them (n, g, 3), which differ by more than the sign.
    axis
        Indices of the plane (3,) that the axis is normal to.
    metric
        Reciprocal metric A (6,): 1/d^2 = A0 h^2 + A1 k^2 + A2 l^2 + A3 hk + A4 hl + A5 kl.
    """
    planes, normal = np.asarray(hkl, dtype=np.float64), np.asarray(axis, dtype=np.float64)
    with_axis = mapped(_product(planes, normal), metric)
    out: Graded = (
        with_axis * with_axis / (mapped(_product(planes, planes), metric) * mapped(_product(normal, normal), metric))
    )
    return out


def width_from_stephens(*, d: ArrayLike | Dual, hkl: ArrayLike, coefficients: ArrayLike | Dual) -> Graded:
    """Full width of delta d / d = 1e-6 d^2 sqrt(sum S_HKL h^H k^K l^L).

    Stephens, J. Appl. Cryst. 32, 281 (1999). Where the sum is not positive there is no such crystal, and no width.

    Parameters
    ----------
    hkl
        Indices (n, 3).
    coefficients
        S_HKL (15,) in the order of `STEPHENS_TERMS`, 1e-12 / A^4, equal or tied as the Laue class asks.
    """
    h = np.asarray(hkl, dtype=np.float64)
    terms = np.stack([np.prod(h ** np.array(powers), axis=-1) for powers in STEPHENS_TERMS], axis=-1)
    variance = mapped(terms, coefficients)
    positive = selected(value_of(variance) > _LEAST_VARIANCE, variance, np.full(variance.shape, _LEAST_VARIANCE))
    spacing = graded(d)
    out: Graded = 1e-6 * spacing * spacing * np.sqrt(positive)
    return out


def tof_shape(
    *, values: Values, d: ArrayLike | Dual, broadenings: Sequence[Broadening] = ()
) -> tuple[Graded, Graded, Graded, Graded]:
    """alpha, beta (1/us), sigma2 (us^2) and gamma (us) of reflections at ``d`` (A) in a bank of time of flight.

    alpha / d,  beta0 + beta1 / d^4 + betaq / d^2,  sig0 + sig1 d^2 + sig2 d^4 + sigq d,  X d + Y d^2 + Z as in GSAS-II
    and the broadenings of the sample with delta T = difC d (delta d / d), which leaves out 2 difA d / difC, below 1e-3.
    """
    s = graded(d)
    s2 = s * s
    alpha = values["alpha"] / s
    beta = values["beta0"] + values["beta1"] / (s2 * s2) + values["betaq"] / s2
    sigma2 = values["sig0"] + values["sig1"] * s2 + values["sig2"] * s2 * s2 + values["sigq"] * s
    gamma = values["X"] * s + values["Y"] * s2 + values["Z"]
    return alpha, beta, *_broadened(sigma2, gamma, values["difC"] * s, broadenings)


def cw_shape(
    *, values: Values, two_theta: ArrayLike | Dual, broadenings: Sequence[Broadening] = ()
) -> tuple[Graded, Graded]:
    """sigma2 (deg^2) and gamma (deg) of reflections at ``two_theta`` (deg) at a constant wavelength.

    U tan^2 + V tan + W (Caglioti, Paoletti and Ricci, Nucl. Instrum. 3, 223, 1958), X / cos + Y tan + Z of theta, and
    the broadenings of the sample with delta 2 theta = 2 tan theta (delta d / d).
    """
    theta = np.radians(graded(two_theta) / 2.0)
    tangent = np.tan(theta)
    sigma2 = (values["U"] * tangent * tangent + values["V"] * tangent + values["W"]) / 1e4
    gamma = (values["X"] / np.cos(theta) + values["Y"] * tangent + values["Z"]) / 100.0
    return _broadened(sigma2, gamma, np.degrees(2.0 * tangent), broadenings)


def _broadened(
    sigma2: Graded, gamma: Graded, per_width: Graded, broadenings: Sequence[Broadening]
) -> tuple[Graded, Graded]:
    """What broadenings add to a Gaussian variance and a Lorentzian width; ``per_width`` per delta d / d."""
    for one in broadenings:
        width = one.width * per_width
        gauss = (1.0 - one.lorentz) * width
        sigma2 = sigma2 + gauss * gauss / EIGHT_LN2
        gamma = gamma + one.lorentz * width
    return sigma2, gamma


def _mean(x: Graded) -> Graded:
    """Mean over the last axis of the values."""
    out: Graded = x.sum(axis=-1) / x.shape[-1]
    return out


def _product(p: Array, q: Array) -> Array:
    """What the reciprocal metric (6,) is multiplied with for the scalar product of indices (..., 3)."""
    cross = [p[..., i] * q[..., j] + p[..., j] * q[..., i] for i, j in ((0, 1), (0, 2), (1, 2))]
    return np.stack([*(p[..., i] * q[..., i] for i in range(3)), *(0.5 * one for one in cross)], axis=-1)
