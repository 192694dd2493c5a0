"""From where to where in temperature a phase comes or goes, and how cells expand beside that.

The share of a phase follows a step: one of five curves from a level to another, compared by AICc with no step at all.

    logistic  1 / (1 + exp(-(T - m) / w))
    early     exp(-exp(-(T - m) / w))           rises fast and ends slowly
    late      1 - exp(-exp((T - m) / w))        begins slowly and ends fast, as a reaction on a ramp
    corner    1 - exp(-(T - m) / w)             from m on: begins at once
    bend      1 - exp(-((T - m) / w)^2)         from m on: Avrami's law, between the two

Onset and end are where 5 % and 95 % of the change are done. Their intervals hold the onsets and ends of all curves that
lose no more likelihood than 68 % allows, of the likeliest form and of every other that its AICc does not rule out at
99 %: which form it is, is not known either. Where points scatter more than their uncertainties say, these are widened.

A change in two strides, or with a long foot, is none of these curves; and where only a few points lie in a change, they
do not tell its form. Where the best curve misses the points of the change by more than they scatter, or there are fewer
than six, the share is a monotone curve instead, that of weighted least squares (pool adjacent violators), between the
levels before and after it. Onset and end are where it is at 5 % and 95 %. Their intervals hold all places T at which a
monotone curve may be at that level: the best that is below it before T and above it after T loses less in the sum of
squares than the 68 % quantile of Banerjee and Wellner, which is 0.60 whatever the curve. How a curve runs between two
temperatures nothing says, so 68 % of the way between them is in each interval.

References
----------
.. [1] M. Banerjee, J. A. Wellner, Ann. Stat. 29 (2001) 1699.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import log

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import isotonic_regression
from scipy.special import chdtrc, chdtri

from cathoscope.numerics.trend import Axis, Family, Interval, Points, Trend, points_of, trends

Array = NDArray[np.float64]

_SHARE = 0.05
_LEVEL = 0.68
_ZOOMS = 3
_LOOKED_AT = 6.0  # loss of log-likelihood that a finer grid still holds
_FEWEST = 8  # temperatures
_OFF = 1.5  # scatter about the best step, over that about a smooth course, beyond which the step is the wrong curve
_MISSED = 0.01  # chance of the points of a change being as far off the best step, below which it is the wrong curve
_CHANGING = 0.01  # of the change: what is done before its first and left after its last point
_FEWEST_INSIDE = 6  # points in a change that tell its form
_RULED_OUT = 6.6  # by how much the AICc of a form is higher: 99 % of squared normal numbers
_MONOTONE = 0.60  # 68 % quantile of the loss of Banerjee and Wellner
_AROUND = 30  # temperatures to either side of a place at which a monotone curve may be instead
_SHAPES = 4  # levels, place and width of a step
_PLATEAU = 2  # temperatures at least before an onset or after an end, or the series does not reach it
_AXES = (Axis("middle", -0.1, 1.2, 21), Axis("width", 0.003, 0.4, 11, logarithmic=True))


@dataclass(frozen=True)
class Step:
    """The step of a phase along temperature, degC.

    Attributes
    ----------
    onset, end
        With their 68 % intervals; infinite where the series does not reach them.
    curve
        The likeliest curve at the temperatures, [n]; NaN where there is no value.
    family
        Of the curve: "logistic", "early", "late", "corner", "bend" or "monotone".
    """

    onset: Interval
    end: Interval
    curve: Array
    family: str


def _family(name: str, rise: Callable[[Array], Array]) -> Family:
    def basis(t: Array, shapes: Array) -> Array:
        """A constant and the rise at the temperatures ``t``, for rows (middle, width) of ``shapes``: [shape, n, 2]."""
        part = rise((t - shapes[:, :1]) / shapes[:, 1:2])
        return np.stack([np.ones_like(part), part], axis=2)

    return Family(name, _AXES, basis)


def _no_step(t: Array, shapes: Array) -> Array:
    return np.broadcast_to(np.stack([np.ones_like(t), t], axis=1), (len(shapes), t.size, 2))


def _bounded(z: Array) -> Array:
    return np.clip(z, -500.0, 500.0)


_LOGIT = log(1 / _SHARE - 1)
_SLOW, _FAST = -log(-log(1 - _SHARE)), log(-log(_SHARE))
_LEFT, _DONE = -log(1 - _SHARE), -log(_SHARE)
_QUANTILES = {"logistic": (-_LOGIT, _LOGIT), "early": (-_FAST, _SLOW), "late": (-_SLOW, _FAST)}
_QUANTILES |= {"corner": (_LEFT, _DONE), "bend": (_LEFT**0.5, _DONE**0.5)}
_STEPS = (
    _family("logistic", lambda z: 1.0 / (1.0 + np.exp(-_bounded(z)))),
    _family("early", lambda z: np.exp(-np.exp(-_bounded(z)))),
    _family("late", lambda z: -np.expm1(-np.exp(_bounded(z)))),
    _family("corner", lambda z: -np.expm1(-np.clip(z, 0.0, 500.0))),
    _family("bend", lambda z: -np.expm1(-(np.clip(z, 0.0, 500.0) ** 2))),
)
_NONE = Family("none", (), _no_step)


def step_of(temperature: ArrayLike, share: ArrayLike, std: ArrayLike) -> Step | None:
    """The step in the share of a phase; None if the series shows none, or is shorter than 8 temperatures.

    Parameters
    ----------
    temperature, share, std
        degC, share and its standard uncertainty, [n]. Temperatures without a share are left out; a share without an
        uncertainty, of a phase that is not there, has the smallest of the others.
    """
    x, y, sigma = (np.asarray(one, dtype=np.float64) for one in (temperature, share, std))
    known = np.isfinite(x) & np.isfinite(y)
    sure = known & np.isfinite(sigma) & (sigma > 0)
    if known.sum() < _FEWEST or not sure.any() or np.ptp(y[known]) == 0:
        return None
    sigma = np.where(sure, sigma, sigma[sure].min())
    points = points_of(x[known], y[known], sigma[known], ["phase"] * int(known.sum()))
    best, *others = _ranked(points)
    scatter = float(np.sqrt(np.mean(((points.y - best.curve(points.x)) / points.std) ** 2)))
    own = max(_scatter(points), 1.0)
    if best.family.name != "none" and (scatter > _OFF * own or _is_missed(best, own)):
        return _monotone_step(points, own, x, known)
    if scatter > 1:
        points = replace(points, std=points.std * scatter)
        best, *others = _ranked(points)
    if best.family.name == "none":
        return None
    curve = np.full(x.size, np.nan)
    curve[known] = best.curve(x[known])
    onset, end = (_place([best, *others], number) for number in range(2))
    return Step(onset, end, curve, best.family.name)


def _is_missed(best: Trend, scatter: float) -> bool:
    """Whether too few points lie in the change for its form, or the step misses them; levels say nothing of a form."""
    done = (curve := best.curve(best.points.x)) - curve[0]
    done /= done[-1] if done[-1] else 1.0
    inside = (done > _CHANGING) & (done < 1 - _CHANGING)
    left = int(inside.sum()) - _SHAPES
    if left < _FEWEST_INSIDE - _SHAPES:
        return True
    away = (best.points.y - curve)[inside] / (best.points.std[inside] * scatter)
    return float(chdtrc(left, np.sum(away**2))) < _MISSED


def _scatter(points: Points) -> float:
    """Scatter about a smooth course, over the uncertainties: every point against the line of its neighbours."""
    order = np.argsort(points.x)
    x, y, variance = points.x[order], points.y[order], points.std[order] ** 2
    gap = np.maximum(x[2:] - x[:-2], 1e-12)
    left, right = (x[2:] - x[1:-1]) / gap, (x[1:-1] - x[:-2]) / gap
    away = (y[1:-1] - left * y[:-2] - right * y[2:]) ** 2
    expected = variance[1:-1] + left**2 * variance[:-2] + right**2 * variance[2:]
    # the median of a squared normal number is 0.4549: where the course bends, a few are large
    return float(np.sqrt(np.median(away / expected) / 0.4549))


def _monotone_step(points: Points, scatter: float, x: Array, known: NDArray[np.bool_]) -> Step:
    """Onset and end of a change that only rises or only falls, whatever its curve."""
    order = np.argsort(points.x, kind="stable")
    at, y, weight = points.x[order], points.y[order], (points.std[order] * scatter) ** -2.0
    fits = {sign: sign * _rising(sign * y, weight) for sign in (1.0, -1.0)}
    sign = min(fits, key=lambda one: float(np.sum(weight * (y - fits[one]) ** 2)))
    rising, levels = sign * fits[sign], _levels(sign * y, weight, sign * fits[sign])
    places = (_crossing(_Rise(at, sign * y, weight, rising), levels, share) for share in (_SHARE, 1 - _SHARE))
    onset, end = places
    curve = np.full(x.size, np.nan)
    curve[known] = np.interp(x[known], at, fits[sign])
    return Step(onset, end, curve, "monotone")


@dataclass(frozen=True)
class _Rise:
    """Points in order, their weights, and the rising curve that fits best, [n]."""

    x: Array
    y: Array
    weight: Array
    curve: Array


def _rising(y: Array, weight: Array) -> Array:
    return np.asarray(isotonic_regression(y, weights=weight).x) if y.size else y


def _levels(y: Array, weight: Array, curve: Array) -> tuple[float, float]:
    """Means of the points before and after a change: the ends of a rising curve itself lean to the extremes."""
    low, high = float(curve[0]), float(curve[-1])
    for _ in range(2):
        done = (curve - low) / max(high - low, 1e-300)
        before, after = done < 2 * _CHANGING, done > 1 - 2 * _CHANGING
        before[:_PLATEAU], after[-_PLATEAU:] = True, True
        low, high = (float(np.average(y[part], weights=weight[part])) for part in (before, after))
    return low, high


def _crossing(rise: _Rise, levels: tuple[float, float], share: float) -> Interval:
    """Where a rising curve has done a share of its change; infinite where it has no level before or after."""
    level = levels[0] + share * (levels[1] - levels[0])
    below = int(np.count_nonzero(rise.curve < level))
    done = (rise.curve - rise.curve[0]) / max(rise.curve[-1] - rise.curve[0], 1e-300)
    beyond = np.count_nonzero(done < share if share < 0.5 else done > share)
    if beyond < _PLATEAU or not 0 < below < rise.x.size:
        place = -np.inf if share < 0.5 else np.inf
        return Interval(place, place, place)
    before, after = rise.curve[below - 1], rise.curve[below]
    gap = float(rise.x[below] - rise.x[below - 1])
    value = float(rise.x[below - 1] + gap * (level - before) / (after - before))
    low, high = _allowed(rise, level, below)
    half = 0.5 * _LEVEL * gap
    down, up = (float(np.hypot(max(one, 0.0), half)) for one in (value - low, high - value))
    return Interval(value, value - down, value + up)


def _allowed(rise: _Rise, level: float, below: int) -> tuple[float, float]:
    """First and last middle between two temperatures at which a rising curve may pass a level."""
    x, y, weight = rise.x, rise.y, rise.weight
    cuts = np.arange(max(below - _AROUND, 1), min(below + _AROUND, x.size))
    loss = np.empty(cuts.size)
    for number, cut in enumerate(cuts):
        left, right = (_rising(y[part], weight[part]) for part in (slice(cut), slice(cut, None)))
        forced = np.concatenate([np.minimum(left, level), np.maximum(right, level)])
        loss[number] = np.sum(weight * ((y - forced) ** 2 - (y - rise.curve) ** 2))
    middle, first = 0.5 * (x[cuts - 1] + x[cuts]), int(np.flatnonzero(cuts == below)[0])
    last = first
    while first > 0 and loss[first - 1] <= _MONOTONE:
        first -= 1
    while last < cuts.size - 1 and loss[last + 1] <= _MONOTONE:
        last += 1
    ends = []
    for end, beyond in ((first, max(first - 1, 0)), (last, min(last + 1, cuts.size - 1))):
        part = (_MONOTONE - loss[end]) / max(loss[beyond] - loss[end], 1e-300)
        ends.append(float(middle[end] + (middle[beyond] - middle[end]) * np.clip(part, 0.0, 1.0)))
    return ends[0], ends[1]


def _ranked(points: Points) -> list[Trend]:
    """All curves, that of the lowest AICc first, each on a grid fine enough for its likelihood."""
    found = [trends(points, (_NONE,))[0], *(_zoomed(points, family) for family in _STEPS)]
    return sorted(found, key=lambda one: one.aicc)


def _zoomed(points: Points, family: Family) -> Trend:
    """One family on finer and finer grids around where it is likely."""
    found = trends(points, (family,))[0]
    for _ in range(_ZOOMS):
        near = found.log_likelihood >= found.log_likelihood.max() - _LOOKED_AT
        axes = tuple(
            axis._replace(low=low, high=high)
            for number, axis in enumerate(found.family.axes)
            for low, high in [axis.around(found.shapes[near, number])]
        )
        family = replace(family, axes=axes)
        finer = trends(points, (family,))[0]
        found = finer if finer.log_likelihood.max() >= found.log_likelihood.max() else found
    return found


def _place(ranked: Sequence[Trend], number: int) -> Interval:
    """Onset (0) or end (1) of the first curve, in degC, and of all that are as likely but for what 68 % allows."""
    origin, length = float(ranked[0].points.x.min()), ranked[0].points.length
    reach, found = 0.5 * chdtri(1, 1.0 - _LEVEL), []
    likely = [one for one in ranked if one.family.name != "none" and one.aicc - ranked[0].aicc <= _RULED_OUT]
    for one in likely:
        places = origin + length * (one.shapes[:, 0] + _QUANTILES[one.family.name][number] * one.shapes[:, 1])
        found.append((places[one.best], places[one.log_likelihood >= one.log_likelihood.max() - reach]))
    every = np.concatenate([allowed for _, allowed in found])
    return Interval(*(_reached(float(one), origin, length) for one in (found[0][0], every.min(), every.max())))


def _reached(place: float, origin: float, length: float) -> float:
    if place < origin:
        return -np.inf
    return np.inf if place > origin + length else place


def expansion_of(temperature: ArrayLike, edge: ArrayLike, std: ArrayLike) -> tuple[float, float]:
    """Relative expansion per K and its standard uncertainty: a weighted line over its value at the lowest temperature.

    NaN if there are fewer than 4 temperatures with a value and an uncertainty. The uncertainty is widened by the
    scatter about the line.
    """
    x, y, sigma = (np.asarray(one, dtype=np.float64) for one in (temperature, edge, std))
    known = np.isfinite(x) & np.isfinite(y) & np.isfinite(sigma) & (sigma > 0)
    if known.sum() < 4 or np.ptp(x[known]) == 0:
        return float("nan"), float("nan")
    x, y, sigma = x[known] - x[known].min(), y[known], sigma[known]
    design = np.stack([np.ones_like(x), x], axis=1) / sigma[:, None]
    covariance = np.linalg.inv(design.T @ design)
    level, slope = covariance @ design.T @ (y / sigma)
    scatter = np.sum(((y - level - slope * x) / sigma) ** 2) / (x.size - 2)
    return float(slope / level), float(np.sqrt(covariance[1, 1] * max(scatter, 1.0)) / level)
