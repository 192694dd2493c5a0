r"""Several cells of one kind, and two kinds compared. A replicate is a cell: cycles of one cell are none.

    mean, s (n - 1), interval      m ± t(n - 1) s / sqrt n
    two samples                    Welch's t = (m1 - m2) / (s1²/n1 + s2²/n2)^½ with Satterthwaite's degrees of freedom
    size of the effect             Hedges' g = J(f) (m1 - m2) / s,   s² = ((n1 - 1) s1² + (n2 - 1) s2²) / f,
                                   f = n1 + n2 - 2,   J(f) = Gamma(f/2) / (sqrt(f/2) Gamma((f - 1)/2))

The interval of the effect inverts the noncentral t distribution of t = d (n1 n2 / (n1 + n2))^½: it is exact for two
normal populations of one spread.

References
----------
.. [1] B. L. Welch, Biometrika 34 (1947) 28.
.. [2] L. V. Hedges, J. Educ. Stat. 6 (1981) 107.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special
from scipy.optimize import brentq

from cathoscope.core.errors import MeasurementError
from cathoscope.lab.record import Array
from cathoscope.numerics.two_samples import hedges_factor, welch_freedom

_STEPS = 800  # of an integral over the spread


@dataclass(frozen=True)
class Replicates:
    """Mean, standard deviation and number of cells, and the interval of the mean at ``level``."""

    mean: float
    spread: float
    count: int
    interval: tuple[float, float]
    level: float

    @property
    def mean_std(self) -> float:
        """Standard uncertainty of the mean; an interval of few cells is wider than normal ones (Student's t)."""
        return self.spread / float(np.sqrt(self.count))


@dataclass(frozen=True)
class Comparison:
    """Two samples of cells.

    Attributes
    ----------
    difference, interval
        Mean of the first minus that of the second, and its interval.
    t, freedom, p
        Welch's t, its degrees of freedom, and how likely so large a |t| is where there is no difference.
    effect, effect_interval
        Hedges' g and the interval of the difference in units of the spread.
    level
        Of the intervals.
    """

    difference: float
    interval: tuple[float, float]
    t: float
    freedom: float
    p: float
    effect: float
    effect_interval: tuple[float, float]
    level: float


def replicates_of(values: ArrayLike, *, level: float = 0.95) -> Replicates:
    """What cells of one kind say; one value per cell, those that are not known are left out.

    Raises
    ------
    MeasurementError
        If there are fewer than two.
    """
    x = _known(values)
    half = float(special.stdtrit(x.size - 1, 0.5 + level / 2) * x.std(ddof=1) / np.sqrt(x.size))
    mean = float(x.mean())
    return Replicates(mean, float(x.std(ddof=1)), int(x.size), (mean - half, mean + half), level)


@dataclass(frozen=True, eq=False)
class Course:
    """Cells of one kind along cycles, ``[cycle]``: mean, standard deviation, number of cells, ends of the interval.

    Where fewer than two cells have a value, spread and interval are NaN.
    """

    mean: Array
    spread: Array
    count: Array
    low: Array
    high: Array
    level: float


def course_of(values: ArrayLike, *, level: float = 0.95) -> Course:
    """Mean over cells of ``values [cell, cycle]`` at every cycle; NaN is left out."""
    x = np.atleast_2d(np.asarray(values, dtype=np.float64))
    known = np.isfinite(x)
    count = known.sum(axis=0).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(known, x, 0.0).sum(axis=0) / count
        square = np.where(known, (x - mean) ** 2, 0.0).sum(axis=0)
        spread = np.where(count > 1, np.sqrt(square / (count - 1)), np.nan)
        half = special.stdtrit(np.maximum(count - 1, 1), 0.5 + level / 2) * spread / np.sqrt(count)
    return Course(mean, spread, count, mean - half, mean + half, level)


@dataclass(frozen=True, eq=False)
class Apart:
    """Two samples of cells along cycles, ``[cycle]``: difference of their means and the ends of its interval.

    NaN where one of them has fewer than two cells.
    """

    difference: Array
    low: Array
    high: Array
    level: float


def apart_of(first: ArrayLike, second: ArrayLike, *, level: float = 0.95) -> Apart:
    """Mean of ``first [cell, cycle]`` minus that of ``second [cell, cycle]`` at every cycle, by Welch."""
    a, b = course_of(first, level=level), course_of(second, level=level)
    with np.errstate(invalid="ignore", divide="ignore"):
        errors = np.array([a.spread**2 / a.count, b.spread**2 / b.count])
    freedom = welch_freedom(errors, np.array([a.count - 1, b.count - 1]))
    scale = np.sqrt(errors.sum(axis=0))
    half = special.stdtrit(np.where(np.isfinite(freedom), freedom, np.nan), 0.5 + level / 2) * scale
    difference = np.where(np.isfinite(half), a.mean - b.mean, np.nan)
    return Apart(difference, difference - half, difference + half, level)


def compared(first: ArrayLike, second: ArrayLike, *, level: float = 0.95) -> Comparison:
    """Two samples of cells compared, one value per cell.

    Raises
    ------
    MeasurementError
        If one has fewer than two values, or no cell differs from another of its kind.
    """
    a, b = _known(first), _known(second)
    error = np.array([a.var(ddof=1) / a.size, b.var(ddof=1) / b.size])
    if not error.sum() > 0:
        raise MeasurementError(
            "cells of one kind do not differ at all: nothing says how sure their means are",
            expected="values measured one by one",
            found=f"{a.size} times {a[0]:g} and {b.size} times {b[0]:g}",
        )
    difference = float(a.mean() - b.mean())
    scale = float(np.sqrt(error.sum()))
    freedom = float(welch_freedom(error, [a.size - 1, b.size - 1]))
    half = float(special.stdtrit(freedom, 0.5 + level / 2)) * scale
    t = difference / scale
    effect, ends = _effect(a, b, level)
    return Comparison(
        difference=difference,
        interval=(difference - half, difference + half),
        t=t,
        freedom=freedom,
        p=float(2 * special.stdtr(freedom, -abs(t))),
        effect=effect,
        effect_interval=ends,
        level=level,
    )


def _known(values: ArrayLike) -> Array:
    x = np.asarray(values, dtype=np.float64).ravel()
    x = x[np.isfinite(x)]
    if x.size < 2:
        raise MeasurementError(
            "one cell says nothing about the scatter of cells", expected="2 cells or more", found=str(x.size)
        )
    return x


def _effect(a: Array, b: Array, level: float) -> tuple[float, tuple[float, float]]:
    """Hedges' g and the interval of the effect."""
    freedom = a.size + b.size - 2
    pooled = np.sqrt((a.var(ddof=1) * (a.size - 1) + b.var(ddof=1) * (b.size - 1)) / freedom)
    d = float((a.mean() - b.mean()) / pooled)
    scale = float(np.sqrt(a.size * b.size / (a.size + b.size)))
    low = _noncentral(freedom, d * scale, 0.5 + level / 2)
    high = _noncentral(freedom, d * scale, 0.5 - level / 2)
    return hedges_factor(freedom) * d, (low / scale, high / scale)


def _noncentral(freedom: int, t: float, probability: float) -> float:
    """Noncentrality at which Student's t lies below ``t`` with ``probability``.

    T = (Z + shift) / S, Z normal and f S² of the chi-squared distribution, so that P(T < t) is the mean of
    Phi(t S - shift) over S, here by the trapezoidal rule in ln S.
    """
    x = np.linspace(-45.0 / freedom - 0.2, 0.5 * np.log(90.0 / freedom + 3.0), _STEPS)
    log_weight = freedom * (x - 0.5 * np.expm1(2 * x))
    weight = np.exp(log_weight - log_weight.max())
    weight, place = weight / weight.sum(), t * np.exp(x)

    def beyond(shift: float) -> float:
        """By how much the chance of T < ``t`` at the noncentrality ``shift`` is above ``probability``."""
        return float(weight @ special.ndtr(place - shift)) - probability

    reach = 10.0 + abs(t) * float(np.exp(x[-1]))
    return float(brentq(beyond, -reach, reach, xtol=1e-9))
