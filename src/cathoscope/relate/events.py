"""Whether two changes on heating, seen by different probes or in different samples, are one event.

An event is a temperature with its uncertainty, or a bracket: where a probe looked at a few temperatures only, it is
known to lie between two of them and nothing more. The difference of two events is known up to a set, whose ends have
errors:

    first - second - s - d  in  [low1 - high2 - s_high - d_high,  high1 - low2 - s_low - d_low]

s is what another rate of heating makes of one and the same event, by Kissinger's law

    E / R (1 / T1 - 1 / T2) - 2 ln(T1 / T2) + ln(rate1 / rate2) = 0,

for the activation energies and rates that are possible; d is what another definition of the place makes of it, in
units of w = R T^2 / E, the width of a first-order reaction on a ramp. Intervals of a difference that is known up to a
set hold the true value, not the whole set, with the stated chance [1]_, and a test is their inversion. Errors of a
thermometer are common to all that it reads, and cancel there. Probabilities of all pairs are corrected by Holm [2]_.

References
----------
.. [1] G. W. Imbens, C. F. Manski, Econometrica 72 (2004) 1845.
.. [2] S. Holm, Scand. J. Stat. 6 (1979) 65.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import product
from math import e, hypot, inf, isfinite, log, nan, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import ndtr

from cathoscope.core.errors import MeasurementError
from cathoscope.physics.kinetics import GAS_CONSTANT, ZERO_CELSIUS
from cathoscope.relate.multiple_tests import holm

Floats = NDArray[np.float64]

_SEEN = 3.0  # standard deviations by which a point lies before or after a level
_CHANGED = 5.0  # standard deviations of a change that is a change
_PER_KILOJOULE = 1e3
# A step 1 - exp(-exp(z)): 5 % are done at ln(-ln 0.95); its steepest tangent, at z = 0, meets zero at 1 - e.
_TANGENT_LATER = (1 - e) - log(-log(0.95))
_HALF_EARLIER = -log(log(2.0))

OFFSETS = {
    "share": (0.0, 0.0),
    "tangent": (0.0, 2 * _TANGENT_LATER),
    "half": (0.0, 0.0),
    "steepest": (-2 * _HALF_EARLIER, 2 * _HALF_EARLIER),
}
"""How much later than a share of the change (5 % of an onset, half of a middle) a place is found, in w.

A first-order reaction has 1.25 (tangents) and 0.37 (steepest); from none to twice that is allowed for, and of the
steepest, which lies before the half where a change ends slowly, to both sides.
"""


class Verdict(IntEnum):
    """What is found of two events."""

    SAME = 0
    DIFFERENT = 1
    NOT_DISTINGUISHABLE = 2
    NOT_COMPARABLE = 3

    @property
    def words(self) -> str:
        """As a reader has it."""
        return self.name.lower().replace("_", " ")


@dataclass(frozen=True)
class Event:
    """Where something happens, degC.

    Attributes
    ----------
    low, high
        The bracket that holds it; the same where a temperature was measured. Infinite where a side is open.
    below, above
        Standard uncertainty towards lower and higher temperatures; of a measured temperature.
    systematic
        Uncertainty that another measurement alike would share, but for the thermometer's.
    thermometer, thermometer_std
        Whose temperature it is, and how well that is known: common to all events of one thermometer.
    rates
        Least and greatest possible rate of heating, K/min.
    programme
        How it was heated: events of one programme have one rate, whatever it is.
    definition
        One of `OFFSETS`.
    doubt
        Chance of the bracket not holding the event.
    """

    low: float
    high: float
    below: float = 0.0
    above: float = 0.0
    systematic: float = 0.0
    thermometer: str = ""
    thermometer_std: float = 0.0
    rates: tuple[float, float] = (nan, nan)
    programme: str = ""
    definition: str = "share"
    doubt: float = 0.0

    @property
    def value(self) -> float:
        """Its temperature; of a bracket the middle, or the end that is not open."""
        if isfinite(self.low) and isfinite(self.high):
            return 0.5 * (self.low + self.high)
        return self.low if isfinite(self.low) else self.high

    @property
    def is_bracket(self) -> bool:
        """Whether nothing but a bracket is known."""
        return self.high > self.low


@dataclass(frozen=True)
class Energy:
    """Activation energy, kJ/mol: a measured one has ``low`` equal to ``high`` and ``std``, an assumed one a range."""

    low: float
    high: float
    std: float = 0.0

    def __post_init__(self) -> None:
        if not (0 < self.low <= self.high < inf and self.std >= 0):
            raise MeasurementError(
                "an activation energy is out of range", expected="above 0", found=f"{self.low:g} to {self.high:g}"
            )


@dataclass(frozen=True)
class Difference:
    """First event minus second, K, once rate and definition are alike.

    Attributes
    ----------
    value
        Middle of the set that the difference is known up to; its finite end if a side is open.
    low, high
        Interval at the level asked for.
    shift
        Least and greatest shift by the rates of heating, which is taken off.
    probability
        How often two events that are one are found this far apart.
    """

    value: float
    low: float
    high: float
    shift: tuple[float, float]
    probability: float


def temperature_from_rate(*, rate: float, temperature: float, reference_rate: float, activation_energy: float) -> float:
    """Temperature (degC) of an event at ``rate``, which is at ``temperature`` at ``reference_rate`` (both K/min).

    Kissinger, Anal. Chem. 29, 1702 (1957): ln(rate / T^2) + E / (R T) is the same at every rate; E in kJ/mol. Exact
    for the steepest place of a first-order reaction, and for equal conversion of any with one energy.
    """
    before = temperature + ZERO_CELSIUS
    per_energy = GAS_CONSTANT / (_PER_KILOJOULE * activation_energy)
    after = before
    for _ in range(60):
        after = 1.0 / (1.0 / before - per_energy * (log(rate / reference_rate) - 2.0 * log(after / before)))
    return after - ZERO_CELSIUS


def width_from_energy(*, temperature: float, activation_energy: float) -> float:
    """R T^2 / E, K: how wide a first-order reaction is on a ramp at ``temperature`` (degC); E in kJ/mol."""
    return GAS_CONSTANT * (temperature + ZERO_CELSIUS) ** 2 / (_PER_KILOJOULE * activation_energy)


def rate_from_hold(*, hold: float, temperature: float, activation_energy: float) -> float:
    """Rate (K/min) of a ramp on which as much has happened at ``temperature`` (degC) as in a hold of ``hold`` s there.

    R T^2 / (E t): the integral of k(T) dt along a ramp is k R T^2 / (E rate) but for terms of order R T / E.
    """
    return width_from_energy(temperature=temperature, activation_energy=activation_energy) / (hold / 60.0)


def bracket_of_change(
    temperature: ArrayLike, value: ArrayLike, std: ArrayLike, *, share: float
) -> tuple[float, float, float] | None:
    """Between which temperatures a share of a change is passed, and the chance that this is wrong.

    The change is that from the first to the last temperature. A temperature bounds the bracket if it lies on its side
    of the level by three standard deviations; what is nearer to the level stays inside.

    Parameters
    ----------
    temperature, value, std
        degC ascending, value and its standard uncertainty, independent of the others, [n].
    share
        0 to 1.

    Returns
    -------
    Low and high (degC) and the chance; None if there is no change, or one that turns round at the level.
    """
    t, y, s = (np.asarray(one, dtype=np.float64) for one in (temperature, value, std))
    known = np.isfinite(t) & np.isfinite(y) & np.isfinite(s) & (s > 0)
    t, y, s = t[known], y[known], s[known]
    if t.size < 2 or not abs(y[-1] - y[0]) > _CHANGED * hypot(s[0], s[-1]):
        return None
    weights = np.eye(t.size)
    weights[:, 0] -= 1 - share
    weights[:, -1] -= share
    beyond = np.sign(y[-1] - y[0]) * (weights @ y) / np.sqrt(weights**2 @ s**2)
    before, after = np.flatnonzero(beyond < -_SEEN), np.flatnonzero(beyond > _SEEN)
    if before[-1] > after[0]:
        return None
    doubt = float(ndtr(beyond[before[-1]]) + ndtr(-beyond[after[0]]))
    return float(t[before[-1]]), float(t[after[0]]), doubt


def difference_of(first: Event, second: Event, energy: Energy, *, level: float = 0.95) -> Difference:
    """How far apart two events are, and how often chance alone puts one event this far from itself."""
    shift, shift_std = _shift(first, second, energy)
    offset = _offset(first, second, energy)
    low = first.low - second.high - shift[1] - offset[1]
    high = first.high - second.low - shift[0] - offset[0]
    common = hypot(first.systematic, second.systematic, shift_std)
    if first.thermometer != second.thermometer:
        common = hypot(common, first.thermometer_std, second.thermometer_std)
    below = hypot(common, first.below, second.above)
    above = hypot(common, first.above, second.below)
    doubt = first.doubt + second.doubt
    reach = _reach(level, high - low, max(below, above))
    probability = min(1.0, _probability(low, high, below, above) + doubt)
    return Difference(
        value=_middle(low, high),
        low=low - reach * below if below else low,
        high=high + reach * above if above else high,
        shift=shift,
        probability=probability,
    )


def _middle(low: float, high: float) -> float:
    if isfinite(low) and isfinite(high):
        return 0.5 * (low + high)
    return low if isfinite(low) else high if isfinite(high) else nan


def _shift(first: Event, second: Event, energy: Energy) -> tuple[tuple[float, float], float]:
    """What the rates make of first minus second: least and greatest, and the uncertainty by a measured energy."""
    alike = bool(first.programme) and first.programme == second.programme
    if alike or not np.isfinite([*first.rates, *second.rates]).all():
        return (0.0, 0.0), 0.0
    return shift_by_rates(_place(first, second), first.rates, second.rates, energy)


def shift_by_rates(
    temperature: float, rates: tuple[float, float], others: tuple[float, float], energy: Energy
) -> tuple[tuple[float, float], float]:
    """How much later an event at ``temperature`` (degC) is at ``rates`` than at ``others``, each least and greatest.

    Least and greatest of it, K, and its uncertainty by that of a measured energy.
    """

    def moved(own: float, other: float, kilojoule: float) -> float:
        """From one rate to the other, about the middle of both."""
        middle = sqrt(own * other)
        upper, lower = (
            temperature_from_rate(
                rate=rate, temperature=temperature, reference_rate=middle, activation_energy=kilojoule
            )
            for rate in (own, other)
        )
        return upper - lower

    corners = [moved(*one) for one in product(rates, others, (energy.low, energy.high))]
    step = 0.01 * energy.low
    slopes = [
        (moved(own, other, energy.low + step) - moved(own, other, energy.low)) / step
        for own, other in zip(rates, others, strict=True)
    ]
    return (min(corners), max(corners)), max(map(abs, slopes)) * energy.std


def _place(first: Event, second: Event) -> float:
    """About where both are, degC."""
    known = [one.value for one in (first, second) if isfinite(one.value)]
    return float(np.mean(known)) if known else 150.0


def _offset(first: Event, second: Event, energy: Energy) -> tuple[float, float]:
    """What the definitions make of first minus second: least and greatest."""
    if first.definition == second.definition:
        return 0.0, 0.0
    width = width_from_energy(temperature=_place(first, second), activation_energy=energy.low)
    (least, most), (other_least, other_most) = OFFSETS[first.definition], OFFSETS[second.definition]
    return width * (least - other_most), width * (most - other_least)


def _reach(level: float, length: float, std: float) -> float:
    """Standard deviations beyond both ends of a set of some length, at which one true value in it is held."""
    extra = length / std if std > 0 else inf
    return float(brentq(lambda c: ndtr(c + extra) - ndtr(-c) - level, 0.0, 40.0))


def _probability(low: float, high: float, below: float, above: float) -> float:
    """Chance of a set as far from zero as this one, if the difference is zero."""
    if low < 0 < high or (low == high == 0):
        return 1.0
    away, std = (low, below) if low >= 0 else (-high, above)
    largest = max(below, above)
    if std == 0:
        return 0.0  # two brackets that do not overlap; both are open where they touch
    extra = (high - low) / largest
    return float(min(1.0, ndtr(-away / std) + ndtr(-away / std - extra)))


def verdicts_of(
    differences: Sequence[Difference], comparable: Iterable[bool], *, margin: float, level: float = 0.05
) -> tuple[list[Verdict], Floats]:
    """What is found of every pair, and the corrected probabilities; NaN of pairs that are not comparable.

    Two events are different if the corrected probability is below ``level``; else they are the same if the whole
    interval of their difference lies within ``margin`` (K): that no difference is significant says nothing.
    """
    usable = np.fromiter(comparable, dtype=bool, count=len(differences))
    corrected = holm([one.probability if use else nan for one, use in zip(differences, usable, strict=True)])
    found = []
    for one, use, p in zip(differences, usable, corrected, strict=True):
        if not use:
            found.append(Verdict.NOT_COMPARABLE)
        elif p < level:
            found.append(Verdict.DIFFERENT)
        else:
            within = -margin <= one.low and one.high <= margin
            found.append(Verdict.SAME if within else Verdict.NOT_DISTINGUISHABLE)
    return found, corrected


def mean_of_particles(value: ArrayLike, std: ArrayLike) -> tuple[Floats, Floats]:
    """Mean over particles at every temperature, and its standard uncertainty: (particle, temperature) to (temperature).

    Particles are a sample of the powder: with three or more their own scatter is in the uncertainty, as variance about
    the mean; with fewer that of the measurements is all there is.
    """
    y, s = np.atleast_2d(np.asarray(value, np.float64)), np.atleast_2d(np.asarray(std, np.float64))
    count = y.shape[0]
    own = np.sqrt(np.sum(s**2, axis=0)) / count
    if count < 3:
        return y.mean(axis=0), own
    return y.mean(axis=0), np.maximum(own, y.std(axis=0, ddof=1) / sqrt(count))
