"""A cycled particle: does its wetted surface explain the resistance of charge transfer, and what explains its capacity?

A surface A that reacts alike everywhere has the resistance

    R = r / A,        ln R = ln r - ln A

so the exponent of R against A is -1 and R A is constant. Both are measured with errors: the line through the logarithms
is York's (1968, 2004), with a further scatter of R where the errors do not explain the misfit (Paule and Mandel). Of
the overvoltages of charge and discharge at the current I, R takes (Butler and Volmer, equal transfer coefficients)

    P = 4 (R_g T / F) asinh(F I R / (2 R_g T))        which is 2 I R for small I R

References
----------
.. [1] D. York et al., Am. J. Phys. 72 (2004) 367 (line with errors in both coordinates).
.. [2] R. C. Paule, J. Mandel, J. Res. Natl. Bur. Stand. 87 (1982) 377 (further scatter).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import chdtrc, stdtrit

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.estimate import Estimate
from cathoscope.physics.kinetics import FARADAY, GAS_CONSTANT, ZERO_CELSIUS

Array = NDArray[np.float64]

_STEPS = 100
_FEWEST = 3


@dataclass(frozen=True)
class Power:
    """ln y against ln x: exponent, its uncertainty and how far the points lie from the line.

    Attributes
    ----------
    exponent, std
        With its standard uncertainty: the further scatter is in it, and points that lie nearer to the line than their
        errors make it smaller, so that Student's interval holds with and without further scatter.
    freedom
        Points less two.
    chance
        How often errors alone leave a misfit as large, without further scatter.
    scatter
        Further standard deviation of ln y; 0 if errors explain the misfit.
    """

    exponent: float
    std: float
    freedom: float
    chance: float
    scatter: float

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Student's interval of the exponent."""
        reach = float(stdtrit(self.freedom, 0.5 + level / 2)) * self.std
        return self.exponent - reach, self.exponent + reach


def power_law(x: ArrayLike, x_std: ArrayLike, y: ArrayLike, y_std: ArrayLike) -> Power:
    """Exponent of positive values against positive values, each with an independent standard uncertainty.

    Raises
    ------
    MeasurementError
        With fewer than three points, values not above zero, or the same x everywhere.
    """
    a, b = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if a.size < _FEWEST:
        raise MeasurementError("an exponent needs several points", expected="3 or more", found=str(a.size))
    if not ((a > 0).all() and (b > 0).all() and np.ptp(a) > 0):
        raise MeasurementError("an exponent needs values above zero that differ", found=f"{a.min():g} to {a.max():g}")
    errors = np.asarray(x_std, np.float64) / a, np.asarray(y_std, np.float64) / b
    u, v = np.log(a), np.log(b)
    freedom = a.size - 2

    def surplus(scatter: float) -> float:
        """Misfit less what is expected, with a further scatter."""
        return _york(u, v, errors[0] ** 2, errors[1] ** 2 + scatter**2)[2] - freedom

    misfit = surplus(0.0) + freedom
    scatter = 0.0
    if misfit > freedom:
        top = 2 * float(np.ptp(v)) + 1e-9
        scatter = float(brentq(surplus, 0.0, top, xtol=1e-9)) if surplus(top) < 0 else top
    slope, std, left = _york(u, v, errors[0] ** 2, errors[1] ** 2 + scatter**2)
    scale = np.sqrt(min(left / freedom, 1.0))  # with Student's quantiles else too wide: measured
    return Power(slope, float(std * scale), float(freedom), float(chdtrc(freedom, misfit)), scatter)


def _york(u: Array, v: Array, u_variance: Array, v_variance: Array) -> tuple[float, float, float]:
    """Slope, its standard uncertainty and the weighted squares of York's line [1]."""
    slope = float(np.polyfit(u, v, 1)[0])
    for _ in range(_STEPS):
        weight = 1.0 / np.maximum(v_variance + slope**2 * u_variance, 1e-300)
        x, y = u - np.average(u, weights=weight), v - np.average(v, weights=weight)
        moved = weight * (x * v_variance + slope * y * u_variance)
        before, slope = slope, float((weight * moved * y).sum() / (weight * moved * x).sum())
        if abs(slope - before) < 1e-12 * max(abs(slope), 1.0):
            break
    weight = 1.0 / np.maximum(v_variance + slope**2 * u_variance, 1e-300)
    x, y = u - np.average(u, weights=weight), v - np.average(v, weights=weight)
    adjusted = weight * (x * v_variance + slope * y * u_variance)
    spread = adjusted - np.average(adjusted, weights=weight)
    std = 1.0 / np.sqrt((weight * spread**2).sum())
    return slope, float(std), float((weight * (y - slope * x) ** 2).sum())


def exponent_between(*, area: tuple[Estimate, Estimate], resistance: tuple[Estimate, Estimate]) -> Estimate:
    """ln(R2/R1) / ln(A2/A1) of two states; errors common to both areas cancel."""
    fall, rise = _ratio(*resistance), _ratio(*area)
    exponent = fall.value / rise.value
    return Estimate(exponent, float(np.hypot(fall.std / rise.value, exponent * rise.std / rise.value)))


def share_of_fall(*, area: tuple[Estimate, Estimate], resistance: tuple[Estimate, Estimate]) -> Estimate:
    """-ln(A2/A1) / ln(R2/R1): the part of the change of R, in logarithms, that R = r / A gives; 1 if it gives all."""
    fall, rise = _ratio(*resistance), _ratio(*area)
    share = -rise.value / fall.value
    return Estimate(share, float(np.hypot(rise.std / fall.value, share * fall.std / fall.value)))


def _ratio(first: Estimate, last: Estimate) -> Estimate:
    """Logarithm of the ratio."""
    return Estimate(
        float(np.log(last.value / first.value)), float(np.hypot(first.std / first.value, last.std / last.value))
    )


@dataclass(frozen=True, eq=False)
class Course:
    """A quantity at some cycles, with its standard uncertainty."""

    cycle: Array
    value: Array
    std: Array

    def at(self, cycle: ArrayLike) -> tuple[Array, Array]:
        """Value and uncertainty at other cycles, straight in the logarithm; nan outside."""
        asked = np.asarray(cycle, np.float64)
        values = np.exp(np.interp(asked, self.cycle, np.log(self.value), left=np.nan, right=np.nan))
        return values, values * np.interp(asked, self.cycle, self.std / self.value, left=np.nan, right=np.nan)


def areas_from_porosity(known: Course, porosity: Course, *, draws: int = 200, seed: int = 0) -> tuple[Array, Array]:
    """Surface at every cycle of ``porosity`` between the first and last that ``known`` has; draws, [draw, cycle].

    Between two known areas the surface grows as what the porosity has gained, to a power p: one if cracks grow in
    number, one half if each opens as much as it grows. What is not known, p evenly from 0.4 to 1.1, the areas and the
    porosity (one error for all cycles, as of a curve) is drawn. Returns the cycles and the draws.
    """
    inside = (porosity.cycle >= known.cycle[0]) & (porosity.cycle <= known.cycle[-1])
    cycle = porosity.cycle[inside]
    rng = np.random.default_rng(seed)
    found = np.empty((draws, cycle.size))
    for draw in range(draws):
        areas = known.value * np.exp(known.std / known.value * rng.standard_normal(known.value.size))
        moved = porosity.value + porosity.std * rng.standard_normal()
        gained = np.maximum.accumulate(moved - float(np.interp(known.cycle[0], porosity.cycle, moved)))
        risen = np.maximum(gained, 0.0) ** rng.uniform(0.4, 1.1)
        at_known = np.interp(known.cycle, porosity.cycle, risen)
        at_known += 1e-12 * np.arange(at_known.size)  # ascending where nothing grows
        found[draw] = np.interp(risen[inside], at_known, areas)
    return cycle, found


def power_of_draws(areas: Array, y: Array, y_std: Array) -> Power:
    """Exponent of y against areas that are drawn [draw, point]: their errors are common to the points of a draw."""
    each = [power_law(one, np.zeros_like(one), y, y_std) for one in areas]
    values = np.array([one.exponent for one in each])
    within = float(np.mean([one.std**2 for one in each]))
    return Power(
        float(values.mean()),
        float(np.sqrt(within + values.var(ddof=1))),
        each[0].freedom,
        float(np.median([one.chance for one in each])),
        float(np.median([one.scatter for one in each])),
    )


def polarisation_from_resistance(*, resistance: ArrayLike, current: ArrayLike, temperature: float = 25.0) -> Array:
    """P of the module's equation, V: ohm, A, degC. For a reaction with transfer coefficients of 1/2 at half filling."""
    thermal = GAS_CONSTANT * (temperature + ZERO_CELSIUS) / FARADAY
    drop = np.abs(np.asarray(current, np.float64)) * np.asarray(resistance, np.float64)
    return np.asarray(4.0 * thermal * np.arcsinh(drop / (2.0 * thermal)))


@dataclass(frozen=True)
class Explained:
    """How much of the rise and the fade of a capacity goes with the polarisation of charge transfer.

    Attributes
    ----------
    peak
        Cycle of the largest capacity.
    rise, fade
        Change up to it and after it, over the largest capacity.
    of_rise, of_fade
        Parts of them; nan where nothing changes or the rise has fewer than three points. ``of_rise`` is the share of
        the variance on the line through the rise, ``of_fade`` what this line predicts over what is found.
    """

    peak: float
    rise: float
    fade: float
    of_rise: Estimate
    of_fade: Estimate


def capacity_explained(*, cycle: Array, capacity: Array, polarisation: Array, draws: int = 400) -> Explained:
    """The line of capacity against polarisation on the rise, and what it predicts of the fade; bootstrap of the rise.

    What the line leaves is taken as independent from cycle to cycle.
    """
    peak = int(np.argmax(capacity))
    top = float(capacity[peak])
    rise, fade = (top - float(capacity[0])) / top, (top - float(capacity[-1])) / top
    unknown = Estimate(np.nan, np.nan)
    if peak + 1 < _FEWEST or np.ptp(polarisation[: peak + 1]) == 0:
        return Explained(float(cycle[peak]), rise, fade, unknown, unknown)
    x, y = polarisation[: peak + 1], capacity[: peak + 1]
    slope, _, share = _fit(x, y)
    rng = np.random.default_rng(0)
    picks = [rng.integers(0, x.size, x.size) for _ in range(draws)]
    found = np.array([_fit(x[one], y[one])[::2] for one in picks if np.ptp(x[one]) > 0])
    of_rise = Estimate(share, float(found[:, 1].std()))
    risen = float(polarisation[-1] - polarisation[peak])
    if fade <= 0:
        return Explained(float(cycle[peak]), rise, fade, of_rise, unknown)
    scale = risen / (fade * top)
    return Explained(
        float(cycle[peak]), rise, fade, of_rise, Estimate(-slope * scale, float(found[:, 0].std()) * abs(scale))
    )


def _fit(x: Array, y: Array) -> tuple[float, float, float]:
    """Slope, constant and share of the variance of a line."""
    slope, constant = np.polyfit(x, y, 1)
    total = float(np.var(y))
    left = float(np.var(y - slope * x - constant))
    return float(slope), float(constant), 1.0 - left / total if total > 0 else 0.0


def loss_by_isolation(*, isolated: Estimate, lost: Estimate) -> Estimate:
    """Share of a lost capacity that oxide without contact gives, if all of it had taken part before."""
    share = isolated.value / lost.value
    return Estimate(share, float(np.hypot(isolated.total / lost.value, share * lost.total / lost.value)))
