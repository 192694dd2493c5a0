"""From squared structure factors to areas of peaks: Lorentz factor, polarisation, absorption, extinction, fractions.

The area of a reflection is scale x phase scale x multiplicity x |F|^2 / V x Lorentz factor x polarisation x texture x
transmission x extinction. The phase scale is then proportional to the number of unit cells of the phase in the beam,
and its share of the mass to phase scale times mass of the cell (Hill & Howard, J. Appl. Cryst. 20, 467 (1987); with
the volume of the cell in the scale there). All laws take plain arrays or numbers with derivatives.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import i0e, i1e

from cathoscope.numerics.dual import Dual, Graded, chained, graded, selected, stacked, value_of

_THOMSON = 0.0794  # square of the classical electron radius, barn: |F|^2 of X-rays to that of neutrons
_THIN = 3.0  # muR below which the first fit of the transmission of a cylinder holds


def lorentz_from_spacing(*, d: ArrayLike | Dual, two_theta: float) -> Graded:
    """Lorentz factor of time of flight, A^4: d^4 sin(theta) (Buras & Gerward, Acta Cryst. A31, 372 (1975)).

    ``d`` in A; ``two_theta`` of the bank, deg. For areas over time of flight divided by the incident spectrum.
    """
    factor: Graded = graded(d) ** 4 * float(np.sin(np.radians(two_theta) / 2))
    return factor


def lorentz_from_angle(*, theta: ArrayLike | Dual) -> Graded:
    """Lorentz factor of constant wavelength: 1 / (2 sin^2(theta) cos(theta)); ``theta`` is the Bragg angle, rad.

    International Tables for Crystallography C (2004), 6.2.5.
    """
    sine = np.sin(graded(theta))
    factor: Graded = 0.5 / (sine * sine * np.cos(graded(theta)))
    return factor


def polarisation_from_angle(
    *, two_theta: ArrayLike | Dual, polarisation: ArrayLike | Dual, azimuth: float = 0.0
) -> Graded:
    """Polarisation factor of X-rays, 1 forwards.

    ((1 - P) cos^2 A + P sin^2 A) cos^2 2theta + (1 - P) sin^2 A + P cos^2 A, P being the share of the beam that is
    polarised in the plane of scattering of azimuth A = 90 deg, so 0.5 for a tube, 0.99 for an undulator whose beam is
    scattered upwards at A = 0 (Kahn et al., J. Appl. Cryst. 15, 330 (1982)).

    Parameters
    ----------
    two_theta
        rad.
    azimuth
        deg.
    """
    across, along = np.sin(np.radians(azimuth)) ** 2, np.cos(np.radians(azimuth)) ** 2
    cosine = np.cos(graded(two_theta))
    share = graded(polarisation)
    factor: Graded = (along * (1.0 - share) + across * share) * (cosine * cosine) + (
        across * (1.0 - share) + along * share
    )
    return factor


def transmission_of_cylinder(*, theta: ArrayLike | Dual, absorption: ArrayLike | Dual) -> Graded:
    """Share of the scattered radiation that a cylinder of the beam's height lets through, 0 to 1.

    The fits of Lobanov & Alte da Veiga, 6th European Powder Diffraction Conference (1998), abstract P12-16: one up to
    muR = 3, one above. Within 1.2 % of the integral up to muR = 10; far too high at small angles from muR = 20 on.

    Parameters
    ----------
    theta
        Bragg angle, rad, above 0; of time of flight half the angle of the bank.
    absorption
        muR, absorption coefficient times radius; of time of flight muR at 1 A times the wavelength of each reflection.
    """
    sine = np.sin(graded(theta))
    square = sine * sine
    given = graded(absorption)
    thick = value_of(given) > _THIN
    if not np.any(thick):
        return _thin_cylinder(given, square)
    low = _thin_cylinder(selected(thick, np.full(np.shape(value_of(given)), _THIN), given), square)
    high = _thick_cylinder(selected(thick, given, np.full(np.shape(value_of(given)), _THIN)), square)
    return selected(np.broadcast_to(thick, np.shape(value_of(low))), high, low)


def _thin_cylinder(m: Graded, s: Graded) -> Graded:
    """The fit for muR up to 3, a cumulant series; ``s`` is sin^2(theta)."""
    first = 16 / (3 * np.pi)
    second = (25.99978 - 0.01911 * s**0.25) * np.exp(-0.024551 * s) + 0.109561 * np.sqrt(s) - 26.04556
    third = -0.02489 - 0.39499 * s + 1.219077 * s**1.5 - 1.31268 * s**2 + 0.871081 * s**2.5 - 0.2327 * s**3
    fourth = 0.003045 + 0.018167 * s - 0.03305 * s**2
    transmission: Graded = np.exp(-m * (first + m * (second + m * (third + m * fourth))))
    return transmission


def _thick_cylinder(m: Graded, s: Graded) -> Graded:
    """The fit for muR above 3."""
    at_three = 1.433902 + 11.07504 * s - 8.77629 * s**2 + 10.02088 * s**3 - 3.36778 * s**4
    rate = (0.013869 - 0.01249 * s) * np.exp(3.27094 * s)
    rate = rate + (0.337894 + 13.77317 * s) / (1.0 + 11.53544 * s) ** 1.555039
    power = 1.933433 / (1.0 + 23.12967 * s) ** 1.686715 - 0.13576 * np.sqrt(s) + 1.163198
    rest = 0.044365 - 0.04259 / (1.0 + 0.41051 * s) ** 148.4202
    fall = np.exp(-power * np.log(1.0 + rate * (m - _THIN)))
    transmission: Graded = 0.01 * ((at_three - rest) * fall + rest)
    return transmission


def extinction_from_strength(*, strength: ArrayLike | Dual, theta: ArrayLike | Dual) -> Graded:
    """Share of intensity that primary extinction in the grains of a powder leaves, 0 to 1.

    E = E_B sin^2(theta) + E_L cos^2(theta), E_B = (1 + x)^-1/2, E_L = exp(-x) [I0(x) + I1(x)] (Sabine, Acta Cryst. A44,
    368 (1988); E_L in closed form instead of its two series, with which it agrees within 1.4 %).

    Parameters
    ----------
    strength
        x of `extinction_strength`, 0 or above.
    theta
        Bragg angle, rad; of time of flight half the angle of the bank.
    """
    x = value_of(strength)
    laue_value = i0e(x) + i1e(x)
    small = x < 1e-9
    fall = np.where(small, -0.5, -i1e(x) / np.where(small, 1.0, x))
    laue = chained(laue_value, (fall, strength if isinstance(strength, Dual) else x))
    sine = np.sin(graded(theta))
    share = sine * sine
    factor: Graded = share / np.sqrt(1.0 + graded(strength)) + (1.0 - share) * laue
    return factor


def extinction_strength(
    *,
    extinction: ArrayLike | Dual,
    squared_factor: ArrayLike | Dual,
    wavelength: ArrayLike | Dual,
    volume: ArrayLike | Dual,
    two_theta: ArrayLike | Dual | None = None,
) -> Graded:
    """x = E (wavelength F / V)^2 of Sabine's extinction.

    Parameters
    ----------
    extinction
        E, the square of the size of a coherent block, um^2.
    squared_factor
        |F|^2 of the cell: barn (neutrons), or electrons^2 (X-rays).
    wavelength, volume
        A and A^3.
    two_theta
        Scattering angle of X-rays, rad, for their polarisation; left out for neutrons.
    """
    ratio = graded(wavelength) / graded(volume)
    strength: Graded = graded(extinction) * graded(squared_factor) * ratio * ratio
    if two_theta is None:
        return strength
    cosine = np.cos(graded(two_theta))
    polarised: Graded = strength * (_THOMSON / 2) * (1.0 + cosine * cosine)
    return polarised


def mass_shares(*, scales: Sequence[ArrayLike | Dual], masses: Sequence[ArrayLike | Dual]) -> Graded:
    """Shares of the mass of the crystalline phases, (p,): scale x cell mass over the sum of these.

    ``scales`` are those of the phases, proportional to numbers of cells; ``masses`` those of their cells, u.
    """
    parts = stacked([graded(scale) * graded(mass) for scale, mass in zip(scales, masses, strict=True)])
    share: Graded = parts / parts.sum(axis=0)
    return share
