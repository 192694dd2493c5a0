"""Mean of a population from members measured with different uncertainties, and how much the members differ.

x_i = mean + u_i + e_i, where u_i is a member's own departure of variance tau² and e_i the error of its measurement, of
known variance. tau² makes the weighted squares equal to their expectation (Paule and Mandel, J. Res. Natl. Bur. Stand.
87 (1982) 377); its interval inverts the same law (Q profile: Viechtbauer, Stat. Med. 26 (2007) 37); the mean's
interval is that of Hartung and Knapp (Stat. Med. 20 (2001) 1771), which holds for few members too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special
from scipy.optimize import brentq

from cathoscope.core.errors import MeasurementError

FloatArray = NDArray[np.float64]

_LEVEL = 0.6827
_FEWEST = 2


@dataclass(frozen=True)
class Population:
    """What several members say of all.

    Attributes
    ----------
    mean, mean_std
        Of the population, and its standard uncertainty.
    interval
        68 % interval of the mean.
    spread
        Standard deviation between members, measurement taken off; 0 if the measurement explains all of it.
    spread_interval
        68 % interval of the spread.
    excess
        Share of the observed variance that is between members (I²).
    count
        Members.
    """

    mean: float
    mean_std: float
    interval: tuple[float, float]
    spread: float
    spread_interval: tuple[float, float]
    excess: float
    count: int


def population_of(values: ArrayLike, std: ArrayLike) -> Population:
    """Mean of a population and the spread between its members; ``std`` is that of each measurement alone.

    Members whose value or uncertainty is not known are left out.

    Raises
    ------
    MeasurementError
        If fewer than two members are left, or an uncertainty is not positive.
    """
    x, s = np.broadcast_arrays(np.asarray(values, dtype=np.float64), np.asarray(std, dtype=np.float64))
    known = np.isfinite(x) & np.isfinite(s)
    x, variance = x[known], s[known] ** 2
    if x.size < _FEWEST:
        raise MeasurementError(
            "a spread needs several members",
            expected=f"{_FEWEST} or more with a value and an uncertainty",
            found=str(x.size),
        )
    if (variance <= 0).any():
        raise MeasurementError(
            "an uncertainty is not positive", expected="standard uncertainties above 0", found=f"{s[known].min():g}"
        )
    between = _between(x, variance, x.size - 1)
    weight = 1 / (variance + between)
    mean = float(np.average(x, weights=weight))
    scale = float((weight * (x - mean) ** 2).sum() / (x.size - 1))
    mean_std = float(np.sqrt(max(scale, 1.0 if between == 0 else 0.0) / weight.sum()))
    reach = float(special.stdtrit(x.size - 1, 0.5 + _LEVEL / 2)) * mean_std
    # quantiles of the chi-squared distribution
    limits = (float(2 * special.gammaincinv((x.size - 1) / 2, 0.5 + sign * _LEVEL / 2)) for sign in (1, -1))
    low, high = (_between(x, variance, limit) for limit in limits)
    typical = float(x.size / (1 / variance).sum())
    return Population(
        mean=mean,
        mean_std=mean_std,
        interval=(mean - reach, mean + reach),
        spread=float(np.sqrt(between)),
        spread_interval=(float(np.sqrt(low)), float(np.sqrt(high))),
        excess=between / (between + typical),
        count=int(x.size),
    )


def _between(x: FloatArray, variance: FloatArray, wanted: float) -> float:
    """The variance between members at which the weighted squares are ``wanted``; 0 if they never reach it."""

    def surplus(between: float) -> float:
        """By how much the weighted squares exceed what is wanted."""
        weight = 1 / (variance + between)
        mean = (weight * x).sum() / weight.sum()
        return float((weight * (x - mean) ** 2).sum() - wanted)

    if surplus(0.0) <= 0:
        return 0.0
    top = float(((x - x.mean()) ** 2).sum()) / max(wanted, 1e-12) + 1e-300
    return float(brentq(surplus, 0.0, 1.01 * top, xtol=1e-15 * top + 1e-300, rtol=1e-12))
