"""From where to where in temperature a phase comes or goes, and how cells expand beside that.

The share of a phase follows a step: one of three curves from a level to another, compared by AICc with no step at all.

    logistic  1 / (1 + exp(-(T - m) / w))
    early     exp(-exp(-(T - m) / w))           rises fast and ends slowly
    late      1 - exp(-exp((T - m) / w))        begins slowly and ends fast, as a reaction on a ramp

Onset and end are where 5 % and 95 % of the change are done. Their intervals hold the onsets and ends of all curves that
lose no more likelihood than 68 % allows. Where points scatter more than their uncertainties say, these are widened.

A change in two strides, or with a long foot, is none of these curves. Where the best of them is off by more than the
points scatter about a smooth course, the share is a monotone curve instead, that of weighted least squares (pool
adjacent violators); onset and end are where it is at 5 % and 95 % of its change, and their intervals those of 200
series that are drawn about it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import log

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import isotonic_regression
from scipy.special import chdtri

from cathoscope.numerics.trend import Axis, Family, Interval, Points, Trend, points_of, trends

Array = NDArray[np.float64]

_SHARE = 0.05
_LEVEL = 0.68
_ZOOMS = 3
_LOOKED_AT = 6.0  # loss of log-likelihood that a finer grid still holds
_FEWEST = 8  # temperatures
_OFF = 1.5  # scatter about the best step, over that about a smooth course, beyond which the step is the wrong curve
_DRAWS = 200
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
        Of the curve: "logistic", "early", "late" or "monotone".
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
_QUANTILES = {"logistic": (-_LOGIT, _LOGIT), "early": (-_FAST, _SLOW), "late": (-_SLOW, _FAST)}
_STEPS = (
    _family("logistic", lambda z: 1.0 / (1.0 + np.exp(-_bounded(z)))),
    _family("early", lambda z: np.exp(-np.exp(-_bounded(z)))),
    _family("late", lambda z: -np.expm1(-np.exp(_bounded(z)))),
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
    best = _best(points)
    scatter = float(np.sqrt(np.mean(((points.y - best.curve(points.x)) / points.std) ** 2)))
    own = max(_scatter(points), 1.0)
    if best.family.name != "none" and scatter > _OFF * own:
        return _monotone_step(points, own, x, known)
    if scatter > 1:
        points = replace(points, std=points.std * scatter)
        best = _best(points)
    if best.family.name == "none":
        return None
    curve = np.full(x.size, np.nan)
    curve[known] = best.curve(x[known])
    onset, end = (_place(best, quantile) for quantile in _QUANTILES[best.family.name])
    return Step(onset, end, curve, best.family.name)


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
    at, y, std = points.x[order], points.y[order], points.std[order] * scatter
    fits = {rises: isotonic_regression(y, weights=std**-2.0, increasing=rises).x for rises in (True, False)}
    rises = min(fits, key=lambda one: float(np.sum(((y - fits[one]) / std) ** 2)))
    rng = np.random.default_rng(0)
    drawn = fits[rises] + std * rng.standard_normal((_DRAWS, y.size))
    curves = [fits[rises], *(isotonic_regression(one, weights=std**-2.0, increasing=rises).x for one in drawn)]
    places = np.array([[_crossing(at, curve, share) for share in (_SHARE, 1 - _SHARE)] for curve in curves])
    half = 50 * (1 - _LEVEL)
    low, high = np.percentile(places[1:], (half, 100 - half), axis=0, method="nearest")
    onset, end = (
        Interval(float(places[0, k]), float(min(low[k], places[0, k])), float(max(high[k], places[0, k])))
        for k in range(2)
    )
    curve = np.full(x.size, np.nan)
    curve[known] = np.interp(x[known], at, fits[rises])
    return Step(onset, end, curve, "monotone")


def _crossing(at: Array, curve: Array, share: float) -> float:
    """Where a monotone curve has done a share of its change; infinite where it has no level before or after."""
    change = curve[-1] - curve[0]
    if change == 0:
        return np.inf
    done = (curve - curve[0]) / change
    if share < 0.5 and np.count_nonzero(done < share) < _PLATEAU:
        return -np.inf
    if share > 0.5 and np.count_nonzero(done > share) < _PLATEAU:
        return np.inf
    after = int(np.argmax(done >= share))
    rise = done[after] - done[after - 1]
    return float(at[after - 1] + (share - done[after - 1]) / rise * (at[after] - at[after - 1]))


def _best(points: Points) -> Trend:
    """The curve of the lowest AICc, on a grid fine enough for its likelihood."""
    found = [trends(points, (_NONE,))[0], *(_zoomed(points, family) for family in _STEPS)]
    return min(found, key=lambda one: one.aicc)


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


def _place(best: Trend, quantile: float) -> Interval:
    """Where curves are at a share of their rise, in degC."""
    origin, length = float(best.points.x.min()), best.points.length
    places = origin + length * (best.shapes[:, 0] + quantile * best.shapes[:, 1])
    allowed = places[best.log_likelihood >= best.log_likelihood.max() - 0.5 * chdtri(1, 1.0 - _LEVEL)]
    three = (places[best.best], allowed.min(), allowed.max())
    return Interval(*(_reached(float(one), origin, length) for one in three))


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
