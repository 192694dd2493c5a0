r"""One sample against another in one number: difference, intervals, size of the effect, chance, many tests at once.

A sample is a population of units (particles, cells); a reading is one unit's value with what is not known of it. With n
units of each of two samples, m their mean and s their standard deviation

    difference   d = m1 - m2,   S² = s1²/n1 + s2²/n2,   c² = (what each sample's units share and the other's do not)²
    interval     d ± ((t(f) S)² + (z c)²)^½, t of Student, f of Welch and Satterthwaite, z of the normal law
    chance       the level at which this interval just reaches zero
    effect       Hedges' g = J(f) d / s, s pooled over units

Where n1 and n2 differ, f is at most 1.5 (min n - 1): of 2 against 6 units, and a spread of 3 against 1, Welch's alone
calls 11 % different at 5 %, and 2 % at 0.1 %. S and c are not summed before: few units scatter little by chance, and
a known c beside would hide how poorly S is known.

The scatter between units holds their own departures and their measurement. What all units of a sample share (a foil, a
magnification) it does not show: such a cause is added once per sample, and cancels as far as both samples share it.
Where one sample has a single unit, it is taken to scatter as the other's do: f = n - 1, Var d = s² (1 + 1/n). Where
both have one, the uncertainty of the readings is all there is: what is found holds for these units, not the samples.

Several tests: Holm's adjusted probabilities keep the chance of any false alarm among all tests below their level,
whatever the dependence; those of Benjamini and Hochberg the share of false ones among the alarms.

References
----------
.. [1] B. L. Welch, Biometrika 34 (1947) 28.
.. [2] L. V. Hedges, J. Educ. Stat. 6 (1981) 107.
.. [3] S. Holm, Scand. J. Stat. 6 (1979) 65.
.. [4] Y. Benjamini, Y. Hochberg, J. R. Stat. Soc. B 57 (1995) 289.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import hypot

import numpy as np
from numpy.typing import NDArray
from scipy import special
from scipy.optimize import brentq

from cathoscope.numerics.two_samples import hedges_factor, welch_freedom

FloatArray = NDArray[np.float64]

ONE_SIGMA, TWO_SIGMA = 0.6827, 0.95
_TOO_EVEN = 0.01  # chance of so small a scatter, below which it is rounding and not scatter
_ROUNDING = 1e-12  # relative; closer values differ by the arithmetic alone
_NORMAL_TWO_SIGMA = 1.959964
_LEAST_CHANCE = 1e-60  # told as such; quantiles beyond are not sure
_MOST_FREEDOM = 1.5  # over that of the smaller sample: Welch's alone gives 2 against 6 units 10 % false alarms for 5

REPLICATED, ONE_SPREAD, SINGLE = 0, 1, 2


@dataclass(frozen=True)
class Reading:
    """One unit's value.

    Attributes
    ----------
    value, std
        And its own standard uncertainty, that no other reading shares; NaN if it is not known.
    causes
        Standard uncertainty by cause, of what other readings may share.
    ends
        Distances from the value to the ends of a 68 % interval that is not symmetric; ``std`` on both sides if None.
    unit
        Which particle or cell.
    """

    value: float
    std: float
    causes: Mapping[str, float] = field(default_factory=dict)
    ends: tuple[float, float] | None = None
    unit: str = ""


@dataclass(frozen=True)
class Difference:
    """First sample minus second.

    Attributes
    ----------
    first, first_std, second, second_std
        Mean of the units of each, with its standard uncertainty.
    value, std
        Of the difference.
    interval, wide_interval
        With 68 and 95 %.
    effect, effect_in_spread
        The difference in units of the spread between particles or cells (Hedges' g), or, where nothing is replicated,
        of its own standard uncertainty.
    freedom, probability
        Degrees of freedom; how likely so large a difference is without any, two-sided.
    scope
        ``REPLICATED``: of the samples; ``ONE_SPREAD``: of the samples if both scatter alike; ``SINGLE``: of two units.
    systematic
        The part of ``std`` that repeating the measurement would not reduce.
    """

    first: float
    first_std: float
    second: float
    second_std: float
    value: float
    std: float
    interval: tuple[float, float]
    wide_interval: tuple[float, float]
    effect: float
    effect_in_spread: bool
    freedom: float
    probability: float
    scope: int
    systematic: float


@dataclass(frozen=True)
class _Side:
    """One sample: mean, variance of the mean by scatter (or of its one reading), degrees of freedom, shared causes."""

    mean: float
    variance: float
    freedom: float
    spread: float
    count: int
    causes: Mapping[str, float]
    ends: tuple[float, float]


def difference_of(first: Sequence[Reading], second: Sequence[Reading]) -> Difference | None:
    """Compare two samples; several readings of one unit are averaged before.

    None if a sample has no finite value, or nothing says how sure the values are.
    """
    a, b = _units(first), _units(second)
    if not a or not b:
        return None
    if len(a) == 1 and len(b) == 1:
        return _of_single(_side(a), _side(b))
    if min(len(a), len(b)) == 1:
        return _of_one_spread(_side(a), _side(b))
    return _of_replicated(_side(a), _side(b))


def _units(readings: Sequence[Reading]) -> list[Reading]:
    """One reading per unit: repeated ones are averaged, their own errors being independent."""
    of: dict[str, list[Reading]] = {}
    for place, reading in enumerate(readings):
        if np.isfinite(reading.value):
            of.setdefault(reading.unit or f"#{place}", []).append(reading)
    return [each[0] if len(each) == 1 else _averaged(each) for each in of.values()]


def _averaged(readings: Sequence[Reading]) -> Reading:
    n = len(readings)
    names = {name for reading in readings for name in reading.causes}
    return Reading(
        value=float(np.mean([reading.value for reading in readings])),
        std=float(np.sqrt(np.sum([reading.std**2 for reading in readings]))) / n,
        causes={name: sum(reading.causes.get(name, 0.0) for reading in readings) / n for name in names},
        unit=readings[0].unit,
    )


def _side(units: Sequence[Reading]) -> _Side:
    """Of several units, causes that only one has are in the scatter already."""
    n, x = len(units), np.array([unit.value for unit in units])
    names = [name for unit in units for name in unit.causes]
    shared = {name for name in names if n == 1 or names.count(name) > 1}
    causes = {name: sum(unit.causes.get(name, 0.0) for unit in units) / n for name in shared}
    if n == 1:
        own = units[0].std
        ends = units[0].ends or (own, own)
        return _Side(float(x[0]), own**2, np.inf, np.nan, 1, causes, ends)
    variance = _scatter(x, np.array([hypot(unit.std, _own_causes(unit, shared)) for unit in units]))
    reach = float(np.sqrt(variance / n))
    return _Side(float(x.mean()), variance / n, n - 1.0, float(np.sqrt(variance)), n, causes, (reach, reach))


def _own_causes(unit: Reading, shared: set[str]) -> float:
    return float(np.sqrt(sum(std**2 for name, std in unit.causes.items() if name not in shared)))


def _scatter(x: FloatArray, std: FloatArray) -> float:
    """Variance between units; where values agree better than chance allows (rounding), that of their measurement."""
    seen, stated = float(x.var(ddof=1)), float(np.mean(std**2))
    if not np.isfinite(stated):
        return seen if seen > (_ROUNDING * float(np.abs(x).max())) ** 2 else 0.0
    least = stated * float(special.gammaincinv(0.5 * (x.size - 1), _TOO_EVEN)) / (0.5 * (x.size - 1))
    return stated if seen < least else seen


def _remaining(a: _Side, b: _Side) -> float:
    """What is left of shared causes in the difference."""
    names = {*a.causes, *b.causes}
    return float(np.sqrt(sum((a.causes.get(name, 0.0) - b.causes.get(name, 0.0)) ** 2 for name in names)))


def _all_causes(side: _Side) -> float:
    return float(np.sqrt(sum(std**2 for std in side.causes.values())))


def _of_replicated(a: _Side, b: _Side) -> Difference | None:
    parts = np.array([a.variance, b.variance])
    scattered = float(parts.sum())
    freedom = float(welch_freedom(parts, [a.freedom, b.freedom])) if scattered > 0 else np.inf
    if a.count != b.count:
        freedom = min(freedom, _MOST_FREEDOM * min(a.freedom, b.freedom))
    f = a.count + b.count - 2
    pooled = float(np.sqrt((a.freedom * a.spread**2 + b.freedom * b.spread**2) / f))
    effect = hedges_factor(f) * (a.mean - b.mean) / pooled if pooled > 0 else np.nan
    return _told(a, b, (scattered, freedom), effect, REPLICATED)


def _of_one_spread(a: _Side, b: _Side) -> Difference | None:
    several, single = (a, b) if a.count > 1 else (b, a)
    # the one unit scatters as the others do, errors of measurement included, unless its own is larger
    scattered = several.spread**2 / several.count + max(several.spread**2, single.variance)
    if not scattered > 0:
        return None
    effect = hedges_factor(several.count - 1) * (a.mean - b.mean) / several.spread
    return _told(a, b, (scattered, several.freedom), effect, ONE_SPREAD)


def _of_single(a: _Side, b: _Side) -> Difference | None:
    common = _remaining(a, b)
    low, high = (float(np.sqrt(p**2 + q**2 + common**2)) for p, q in ((a.ends[0], b.ends[1]), (a.ends[1], b.ends[0])))
    change = a.mean - b.mean
    toward_zero = low if change > 0 else high
    if not toward_zero > 0 or not np.isfinite(change):
        return None
    z = change / toward_zero
    std = 0.5 * (low + high)
    return Difference(
        first=a.mean,
        first_std=hypot(0.5 * sum(a.ends), _all_causes(a)),
        second=b.mean,
        second_std=hypot(0.5 * sum(b.ends), _all_causes(b)),
        value=change,
        std=std,
        interval=(change - low, change + high),
        wide_interval=(change - _NORMAL_TWO_SIGMA * low, change + _NORMAL_TWO_SIGMA * high),
        effect=z,
        effect_in_spread=False,
        freedom=np.inf,
        probability=float(2 * special.ndtr(-abs(z))),
        scope=SINGLE,
        systematic=common,
    )


def _told(a: _Side, b: _Side, scatter: tuple[float, float], effect: float, scope: int) -> Difference | None:
    """The record of a difference whose scatter has a variance and degrees of freedom."""
    change, common = a.mean - b.mean, _remaining(a, b)
    std = hypot(np.sqrt(scatter[0]), common)
    if not std > 0:
        return None
    near, wide = (_reach(1 - level, scatter, common) for level in (ONE_SIGMA, TWO_SIGMA))
    return Difference(
        first=a.mean,
        first_std=hypot(np.sqrt(a.variance), _all_causes(a)),
        second=b.mean,
        second_std=hypot(np.sqrt(b.variance), _all_causes(b)),
        value=change,
        std=std,
        interval=(change - near, change + near),
        wide_interval=(change - wide, change + wide),
        effect=float(effect),
        effect_in_spread=True,
        freedom=scatter[1],
        probability=_two_sided(abs(change), scatter, common),
        scope=scope,
        systematic=common,
    )


def _reach(chance: float, scatter: tuple[float, float], common: float) -> float:
    """Half of the interval that misses with ``chance``: reach of the scatter and of the known part in quadrature."""
    variance, freedom = scatter
    by_scatter = -float(special.stdtrit(freedom, chance / 2)) * np.sqrt(variance) if variance > 0 else 0.0
    return hypot(by_scatter, float(special.ndtri(chance / 2)) * common)


def _two_sided(change: float, scatter: tuple[float, float], common: float) -> float:
    """Chance at which the interval just reaches ``change``."""
    variance, freedom = scatter
    if common == 0:
        return float(2 * special.stdtr(freedom, -change / np.sqrt(variance)))
    if variance == 0:
        return float(2 * special.ndtr(-change / common))
    if change <= _reach(1.0, scatter, common):
        return 1.0
    if _reach(_LEAST_CHANCE, scatter, common) <= change:
        return _LEAST_CHANCE
    place = brentq(lambda log: _reach(np.exp(log), scatter, common) - change, np.log(_LEAST_CHANCE), 0.0)
    return float(np.exp(place))
