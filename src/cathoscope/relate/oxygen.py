"""One balance of oxygen on heating from probes that each see another side of it.

Every probe gives the oxygen d(T) that a formula unit Li_x M O2 has lost since before heating, M being one metal:

    balance       d = loss x M / M(O)
    white line    2 d = -a (v(T) - v(25)),       charges balance: x + a v + 4 b + 3 c = 2 (2 - d); Li, Mn, Co as before
    occupancies   d = sum over phases of their metals (2 - oxygen per metal), less that before heating
    spinel        d = share of the metal in the spinel x (2 - oxygen per metal of an ideal spinel)

with a, b, c the shares of Ni, Mn(4+) and Co(3+) in the metals and v the valence of nickel. Errors of one probe are of
three kinds: independent at every temperature; common to all temperatures with a stated course (a first value that all
are related to, a shift of the thermometer); and a factor (energy per valence, the amounts that a model assumes). So its
covariance is

    C = diag(s^2) + sum_k u_k u_k^T + f^2 d d^T,

with d of the last term from all probes together, not from the probe itself: else low values would weigh more [1]_. The
best d is that of generalised least squares, and each probe is tested against that of the others.

References
----------
.. [1] R. W. Peelle, Oak Ridge National Laboratory (1987); G. D'Agostini, Nucl. Instrum. Methods A 346 (1994) 306.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtrc

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.estimate import Estimate
from cathoscope.relate.multiple_tests import holm

Floats = NDArray[np.float64]

FIXED_VALENCES = {"Mn": 4.0, "Co": 3.0, "Al": 3.0}
"""Valences that heating to 300 degC is taken to leave: nickel gives way first."""
_TIMES = 20  # at most, until the joint estimate stays
_STAYS = 1e-7
_CONTRADICTION = 0.05
_LEAST_CHANGE = 1e-4  # oxygen per formula unit: less is no loss whose factor could be told


@dataclass(frozen=True, eq=False)
class Course:
    """Oxygen per formula unit that one probe finds lost since before heating.

    Attributes
    ----------
    name
        Of the probe.
    temperature, lost, std
        degC ascending, lost oxygen and its independent standard uncertainty, [n].
    common
        Standard uncertainties that all temperatures share, each with its own course, [k, n].
    factor_std
        Relative standard uncertainty of a factor that all values share.
    """

    name: str
    temperature: Floats
    lost: Floats
    std: Floats
    common: Floats
    factor_std: float = 0.0

    def __post_init__(self) -> None:
        n = self.temperature.size
        if self.lost.shape != (n,) or self.std.shape != (n,) or self.common.shape[1:] != (n,):
            raise MeasurementError(
                f"the course of {self.name} does not hold one value per temperature",
                expected=f"{n} values",
                found=f"{self.lost.shape}, {self.std.shape}, {self.common.shape}",
            )

    def covariance(self, lost: Floats) -> Floats:
        """Of its values, where ``lost`` is what all probes together say, [n, n]."""
        return np.asarray(
            np.diag(self.std**2) + self.common.T @ self.common + self.factor_std**2 * np.outer(lost, lost)
        )

    @property
    def total_std(self) -> Floats:
        """Standard uncertainty of every value, all kinds together, [n]."""
        return np.asarray(np.sqrt(np.diag(self.covariance(self.lost))))


@dataclass(frozen=True)
class Discrepancy:
    """One probe against all others.

    Attributes
    ----------
    name
        Of the probe.
    chi2, degrees, probability, corrected
        Squares of what parts it from the others, in units of the covariance; how often chance alone gives more, and
        that corrected for the number of probes.
    factor, factor_std
        How many times as much as the others it finds; NaN where they find no loss.
    rest
        How often chance alone parts the others from each other as far as they are; NaN if there is one other only.
        Where all probes together do not agree and the rest does, this one is the odd one.
    """

    name: str
    chi2: float
    degrees: int
    probability: float
    corrected: float
    factor: float
    factor_std: float
    rest: float = float("nan")


@dataclass(frozen=True, eq=False)
class Balance:
    """What all probes say together.

    Attributes
    ----------
    temperature, lost, covariance
        degC, oxygen lost per formula unit, [n], and its covariance, [n, n]; where chance alone does not explain what
        parts the probes, it is widened by chi squared over the degrees of freedom.
    chi2, degrees, probability
        Of all probes about it.
    each
        Every probe against the others.
    """

    temperature: Floats
    lost: Floats
    covariance: Floats
    chi2: float
    degrees: int
    probability: float
    each: tuple[Discrepancy, ...]

    @property
    def std(self) -> Floats:
        """Standard uncertainty of the lost oxygen, [n]."""
        return np.asarray(np.sqrt(np.diag(self.covariance)))


def lost_from_valence(*, change: ArrayLike, nickel: float) -> Floats:
    """Oxygen lost per formula unit where the valence of nickel has changed by ``change``: -a dv / 2.

    ``nickel`` is its share a in the metals. Holds while lithium stays and no other metal changes its valence.
    """
    return np.asarray(-0.5 * nickel * np.asarray(change, dtype=np.float64))


def oxygen_from_charges(*, lithium: float, nickel_valence: float, shares: Mapping[str, float]) -> float:
    """Oxygen per metal that balances the charges: (x + a v + sum of the others' valences) / 2.

    Raises
    ------
    MeasurementError
        If a metal has no known valence.
    """
    others = {metal: share for metal, share in shares.items() if metal != "Ni" and share > 0}
    unknown = [metal for metal in others if metal not in FIXED_VALENCES]
    if unknown:
        raise MeasurementError(
            f"the valence of {unknown[0]} is not known", expected=f"Ni, {', '.join(FIXED_VALENCES)}", found=unknown[0]
        )
    charge = lithium + shares.get("Ni", 0.0) * nickel_valence
    return 0.5 * (charge + sum(share * FIXED_VALENCES[metal] for metal, share in others.items()))


def oxygen_per_metal(*, structure: str, occupancy: ArrayLike, antisite: ArrayLike, exchanged: bool) -> Floats:
    """Oxygen per metal of a phase from refined occupancies.

    "layered", R-3m: 2 g(O) / (1 + m); "spinel", Fd-3m: 4 g(O) / (2 + m), where m is the share of the lithium site that
    holds nickel on top of the full metal sites; nickel that has changed places with lithium is no more metal.

    Raises
    ------
    MeasurementError
        If the structure is another one.
    """
    metals = {"layered": 1.0, "spinel": 2.0}.get(structure)
    if metals is None:
        raise MeasurementError("this structure has no known metals", expected="layered or spinel", found=structure)
    more = np.zeros_like(np.asarray(antisite, np.float64)) if exchanged else np.asarray(antisite, np.float64)
    return np.asarray(2.0 * metals * np.asarray(occupancy, np.float64) / (metals + more))


def ideal_spinel_oxygen(*, lithium: float) -> float:
    """Oxygen per metal of a spinel A3O4 of all metal and lithium: 4 (1 + x) / 3."""
    return 4.0 * (1.0 + lithium) / 3.0


def at_temperatures(course: Course, temperature: ArrayLike) -> Course:
    """A course at other temperatures: straight between neighbours, NaN beyond the ends.

    The true course may pass anywhere between two neighbours as long as it goes one way: the difference of both, as a
    rectangle that closes towards either of them, is added to the independent uncertainty.
    """
    t = np.asarray(temperature, dtype=np.float64)
    inside = (t >= course.temperature[0]) & (t <= course.temperature[-1])
    left = np.clip(np.searchsorted(course.temperature, t, side="right") - 1, 0, max(course.temperature.size - 2, 0))
    right = np.minimum(left + 1, course.temperature.size - 1)
    gap = course.temperature[right] - course.temperature[left]
    share = np.where(gap > 0, (t - course.temperature[left]) / np.where(gap > 0, gap, 1.0), 0.0)

    def between(values: Floats) -> Floats:
        """Straight between the neighbours, along the last axis."""
        return np.where(inside, (1 - share) * values[..., left] + share * values[..., right], np.nan)

    unknown = (course.lost[right] - course.lost[left]) * np.sqrt(np.maximum(share * (1 - share), 0.0) / 3.0)
    own = np.hypot((1 - share) * course.std[left], share * course.std[right])
    return replace(
        course,
        temperature=t,
        lost=between(course.lost),
        std=np.where(inside, np.hypot(own, unknown), np.nan),
        common=between(course.common),
    )


def moved(course: Course, least: float, most: float) -> Course:
    """A course as it would be where everything happens ``least`` to ``most`` K earlier, as on a slower ramp.

    The course between both is taken; what they differ by is the width of a rectangle in which the true one lies, of
    which half the variance is common to all temperatures: what goes on at others has another energy.
    """
    shifted = [at_temperatures(course, course.temperature + by) for by in (least, most)]
    ends = [np.where(np.isfinite(one.lost), one.lost, course.lost) for one in shifted]
    stds = [np.where(np.isfinite(one.std), one.std, course.std) for one in shifted]
    middle = replace(course, lost=0.5 * (ends[0] + ends[1]), std=np.maximum(*stds))
    return _half_common(middle, (ends[1] - ends[0]) / np.sqrt(12.0))


def with_thermometer(course: Course, std: float) -> Course:
    """A course with the uncertainty ``std`` (K) of its thermometer: root mean square of what that moves it.

    Where a course bends, slope times std is too little: it is taken at two places, sqrt(3) std to either side, whose
    mean square is exact for bends. Half the variance is common to all temperatures: an error of the scale is not the
    same everywhere.
    """
    if course.temperature.size < 2 or std == 0:
        return course
    slope = std * np.gradient(course.lost, course.temperature)
    sides = [
        at_temperatures(course, course.temperature + by * np.sqrt(3.0) * std).lost - course.lost for by in (-1.0, 1.0)
    ]
    squares = (sides[0] ** 2 + sides[1] ** 2) / 6.0
    return _half_common(course, np.sign(slope) * np.where(np.isfinite(squares), np.sqrt(squares), np.abs(slope)))


def _half_common(course: Course, error: Floats) -> Course:
    half = np.sqrt(0.5) * error
    return replace(course, std=np.hypot(course.std, half), common=np.concatenate([course.common, half[None]]))


def balance_of(courses: Sequence[Course]) -> Balance:
    """The oxygen lost by all courses together, and every course against the others.

    Courses have the same temperatures; NaN where a course has no value. Every temperature needs one value at least.

    Raises
    ------
    MeasurementError
        If there are fewer than two courses, temperatures differ, or one has no value.
    """
    if len(courses) < 2:
        raise MeasurementError("a balance needs two probes at least", found=str(len(courses)))
    temperature = courses[0].temperature
    if any(not np.array_equal(one.temperature, temperature) for one in courses):
        raise MeasurementError("the probes have other temperatures", cure="interpolate them with at_temperatures")
    lost, covariance = _joint(courses)
    each = [against(one, [other for other in courses if other is not one]) for one in courses]
    corrected = holm([one.probability for one in each])
    chi2, degrees, probability = _agreement(courses, lost)
    widening = chi2 / degrees if degrees > 0 and probability < _CONTRADICTION else 1.0
    return Balance(
        temperature=temperature,
        lost=lost,
        covariance=covariance * max(widening, 1.0),
        chi2=chi2,
        degrees=degrees,
        probability=probability,
        each=tuple(replace(one, corrected=float(p)) for one, p in zip(each, corrected, strict=True)),
    )


def _agreement(courses: Sequence[Course], lost: Floats) -> tuple[float, int, float]:
    """Chi squared of courses about their joint estimate, its degrees of freedom, and how often chance exceeds it."""
    chi2 = sum(_squares(one, lost) for one in courses)
    degrees = sum(int(np.isfinite(one.lost).sum()) for one in courses) - lost.size
    return chi2, degrees, float(chdtrc(degrees, chi2)) if degrees > 0 else float("nan")


def _known(course: Course) -> NDArray[np.intp]:
    return np.flatnonzero(np.isfinite(course.lost))


def _weight(course: Course, lost: Floats) -> Floats:
    """Inverse covariance of the known values, zeros elsewhere, [n, n]."""
    known = _known(course)
    weight = np.zeros((lost.size, lost.size))
    if known.size:
        block = np.ix_(known, known)
        weight[block] = np.linalg.inv(_filled(course).covariance(lost)[block])
    return weight


def _filled(course: Course) -> Course:
    """NaN as zero, for products of which the known block is taken."""
    return replace(
        course,
        lost=np.nan_to_num(course.lost),
        std=np.nan_to_num(course.std, nan=1.0),
        common=np.nan_to_num(course.common),
    )


def _joint(courses: Sequence[Course]) -> tuple[Floats, Floats]:
    """Generalised least squares, with factors about the joint estimate itself."""
    start = np.array([one.lost for one in courses])
    if not np.isfinite(start).any(axis=0).all():
        raise MeasurementError("at a temperature no probe has a value", cure="leave the temperature out")
    lost = np.nanmean(start, axis=0)
    covariance = np.eye(lost.size)
    for _ in range(_TIMES):
        weights = [_weight(one, lost) for one in courses]
        covariance = np.linalg.inv(np.sum(weights, axis=0))
        better = covariance @ sum(
            weight @ np.nan_to_num(one.lost) for weight, one in zip(weights, courses, strict=True)
        )
        change, lost = float(np.abs(better - lost).max()), better
        if change < _STAYS:
            break
    return lost, covariance


def _squares(course: Course, lost: Floats) -> float:
    """Chi squared of one course about the joint estimate."""
    away = np.nan_to_num(course.lost) - lost
    return float(away @ _weight(course, lost) @ away)


def against(course: Course, others: Sequence[Course]) -> Discrepancy:
    """One course against the joint estimate of others, where both have values; it is not corrected for their number."""
    shared = np.isfinite(course.lost) & np.isfinite([one.lost for one in others]).any(axis=0)
    nothing = Discrepancy(course.name, 0.0, 0, float("nan"), float("nan"), float("nan"), float("nan"))
    if not shared.any():
        return nothing
    own, rest = _at(course, shared), [_at(one, shared) for one in others]
    lost, covariance = _joint(rest) if len(rest) > 1 else (rest[0].lost, rest[0].covariance(rest[0].lost))
    variance = own.covariance(lost) + covariance
    away = own.lost - lost
    chi2, degrees = float(away @ np.linalg.solve(variance, away)), int(shared.sum())
    factor, factor_std = _factor(own, lost, covariance)
    return replace(
        nothing,
        chi2=chi2,
        degrees=degrees,
        probability=float(chdtrc(degrees, chi2)),
        factor=factor,
        factor_std=factor_std,
        rest=_agreement(rest, lost)[2] if len(rest) > 1 else float("nan"),
    )


def _at(course: Course, which: NDArray[np.bool_]) -> Course:
    return replace(
        course,
        temperature=course.temperature[which],
        lost=course.lost[which],
        std=course.std[which],
        common=course.common[:, which],
    )


def _factor(course: Course, lost: Floats, covariance: Floats) -> tuple[float, float]:
    """g of course = g lost, both with errors; NaN where nothing is lost."""
    if not np.any(np.abs(lost) > np.maximum(3 * np.sqrt(np.diag(covariance)), _LEAST_CHANGE)):
        return float("nan"), float("nan")
    factor, variance = 1.0, 1.0
    for _ in range(_TIMES):
        # the factor's own uncertainty moves the factor and not its weights
        weight = np.linalg.inv(replace(course, factor_std=0.0).covariance(lost) + factor**2 * covariance)
        variance = 1.0 / float(lost @ weight @ lost)
        better = variance * float(lost @ weight @ course.lost)
        change, factor = abs(better - factor), better
        if change < _STAYS:
            break
    return factor, float(np.hypot(np.sqrt(variance), factor * course.factor_std))


def start_discrepancy(*, lithium: Estimate, nickel_valence: Estimate, shares: Mapping[str, float]) -> Estimate:
    """Oxygen per metal by the charges before heating less the 2 of the formula, with its uncertainty.

    What is beyond its uncertainty says that lithium content and scale of the valence do not belong together, or that
    oxygen was missing before.
    """
    found = oxygen_from_charges(lithium=lithium.value, nickel_valence=nickel_valence.value, shares=shares)
    nickel = shares.get("Ni", 0.0)
    return Estimate(
        found - 2.0,
        0.5 * float(np.hypot(lithium.std, nickel * nickel_valence.std)),
        0.5 * float(np.hypot(lithium.systematic, nickel * nickel_valence.systematic)),
    )
