"""Uncertainties of a series, evened over neighbours where the noise of one pattern decides them.

What a site scatters is a product: how many atoms there are, and how far they are displaced. How sure a pattern is of
the one depends on where its noise put the other. So an uncertainty is small just where a number was found on one side:
the numbers themselves have no bias, but errors in units of uncertainties have one.

Neighbours of a series have other noise and nearly the same truth. Of numbers that are such products the logarithm of
the uncertainty is taken from a parabola through those of the neighbours, as for a smooth course (Savitzky and Golay,
Anal. Chem. 36, 1627, 1964). Correlations stay those of the pattern. Sizes and strains, which are refined as logarithms,
and all else keep what their own pattern says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cathoscope.powder.member import Member
from cathoscope.powder.refine import Fit

Array = NDArray[np.float64]

REACH = 6
"""Neighbours on either side that count."""

_FEWEST = 7  # that count, with the pattern itself: a parabola has three numbers
_ALIKE = 0.1  # of the logarithm: what is recorded longer or shorter has other uncertainties, and counts for nobody else
_PRODUCTS = ("occupancy", "u")


def evened(members: Sequence[Member]) -> list[Member]:
    """The series with uncertainties of occupancies and displacements that neighbours agree on.

    Only patterns with the same free numbers and the same weak phases are neighbours, and only those whose other
    uncertainties are alike; where there are fewer than seven of them, a pattern keeps its own.
    """
    out = list(members)
    alike: dict[tuple[tuple[str, ...], ...], list[int]] = {}
    for number, member in enumerate(members):
        if member.fit is not None and member.fit.outcome in ("converged", "bound"):
            alike.setdefault((member.fit.search.free, member.weak), []).append(number)
    for (free, _), numbers in alike.items():
        products = np.array([name.rpartition(".")[2] in _PRODUCTS for name in free])
        own = np.array([_log_std(fit) for number in numbers if (fit := members[number].fit) is not None])
        for row, factor in enumerate(_factors(np.array(numbers), own, products)):
            fit = members[numbers[row]].fit
            if fit is not None and np.any(factor != 1):
                out[numbers[row]] = replace(members[numbers[row]], fit=_scaled(fit, factor))
    return out


def _log_std(fit: Fit) -> Array:
    """Logarithms of the uncertainties, [P]; NaN where a number is not determined."""
    variance = np.diag(fit.covariance)
    sound = np.isfinite(variance) & (variance > 0)
    return np.where(sound, 0.5 * np.log(np.where(sound, variance, 1.0)), np.nan)


def _factors(place: Array, own: Array, products: NDArray[np.bool_]) -> Array:
    """What uncertainties are multiplied by, [pattern, P], from their logarithms ``own`` at these places."""
    found = np.ones(own.shape)
    if not products.any() or products.all():
        return found
    for row in range(len(own)):
        close = np.flatnonzero(np.abs(place - place[row]) <= REACH)
        apart = np.nanmedian(own[close][:, ~products] - own[row, ~products], axis=1)
        near = close[np.abs(apart) <= _ALIKE]
        if near.size >= _FEWEST:
            powers = np.vander(place[near] - place[row], 3, increasing=True)
            even = np.linalg.pinv(powers)[0] @ own[near][:, products]
            found[row, products] = np.where(np.isfinite(even), np.exp(even - own[row, products]), 1.0)
    return found


def _scaled(fit: Fit, factor: Array) -> Fit:
    """The fit with uncertainties times a factor, [P]."""
    both = np.outer(factor, factor)
    misfit = fit.misfit and replace(fit.misfit, covariance=both * fit.misfit.covariance)
    return replace(fit, covariance=both * fit.covariance, misfit=misfit)
