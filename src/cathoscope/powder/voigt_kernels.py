"""The compiled pseudo-Voigt function: one width and one share of the Lorentzian for Gaussian and Lorentzian parts."""

from __future__ import annotations

import math

from numba import njit

PARTIALS = 6  # the profile, and its derivatives to five columns at most
LORENTZ_REACH = 4.0  # full widths within which a peak is computed point by point

FOUR_LN2 = 4 * math.log(2.0)


@njit(cache=True, nogil=True)
def mixed_width(sigma2, gamma):  # type: ignore[no-untyped-def]
    """Full width and Lorentz share of the pseudo-Voigt that a Gaussian and a Lorentzian fold to.

    Thompson, Cox and Hastings, J. Appl. Cryst. 20, 79 (1987). ``sigma2`` variance of the Gaussian, above 0,
    ``gamma`` full width of the Lorentzian, at least 0. Returns width, share, derivatives of the width to sigma2 and
    gamma, derivatives of the share to them.
    """
    g, f = math.sqrt(2 * FOUR_LN2 * sigma2), gamma
    g2, f2 = g * g, f * f
    fifth = g2 * g2 * (g + 2.69269 * f) + g2 * f2 * (2.42843 * g + 4.47163 * f) + f2 * f2 * (0.07842 * g + f)
    width = fifth**0.2
    per_fifth = 0.2 * width / fifth
    to_g = g2 * g * (5 * g + 4 * 2.69269 * f) + g * f2 * (3 * 2.42843 * g + 2 * 4.47163 * f) + 0.07842 * f2 * f2
    to_f = g2 * g * (2.69269 * g + 2 * 2.42843 * f) + f2 * (3 * 4.47163 * g2 + f * (4 * 0.07842 * g + 5 * f))
    width_s, width_f = per_fifth * to_g * FOUR_LN2 / g, per_fifth * to_f
    r = f / width
    share = r * (1.36603 + r * (-0.47719 + r * 0.11116))
    slope = 1.36603 + r * (-2 * 0.47719 + r * 3 * 0.11116)
    return width, share, width_s, width_f, -slope * r * width_s / width, slope * (1 - r * width_f) / width
