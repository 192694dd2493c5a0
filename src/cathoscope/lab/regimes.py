r"""Whether and where a quantity changes its course along cycles: rise then fade, a knee, an easing fade.

    y(n) = a + b n + c max(n - m, 0) + e,        slopes b before the change m and b + c after it

Errors e have one unknown scale, times stated uncertainties, and may hang together from cycle to cycle: their
correlation is r^d at the distance d (in usual steps), r from -0.6 to 0.95. For every m and r the rest is linear. The
likelihood L of m and r is the restricted one, which does not take scatter lost to fitted numbers for agreement. How
sure m is depends on r, which the same few values have to tell; so r is not set to its likeliest value, but summed over:

    p(m) = sum over r of sqrt(1 - r^2) exp L(m, r)

The interval of m are the places of highest p that hold the share ``level`` of its sum; for a linear number and one r it
is Student's with N - 4 degrees of freedom. A change is accepted over one line if BIC falls by more than 6, and over
smooth curves (exponential, power, sigmoid, parabola) if it falls by more than 2 below the best of them.

References
----------
.. [1] D. W. Bacon, D. G. Watts, Biometrika 58 (1971) 525 (two lines that meet).
.. [2] P. Fermín-Cueto et al., Energy and AI 1 (2020) 100006 (knees of capacity).
.. [3] R. E. Kass, A. E. Raftery, J. Am. Stat. Assoc. 90 (1995) 773 (what a difference of BIC says).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from cathoscope.core.errors import MeasurementError
from cathoscope.lab.record import Array, Rows
from cathoscope.numerics.estimate import Estimate
from cathoscope.numerics.trend import FAMILIES, Axis, Family, Interval

Verdict = Literal["one line", "change", "smooth curve", "change or smooth curve"]

_OVER_LINE = 6.0
_OVER_CURVE = 2.0
_FEWEST = 8
_CORRELATIONS = np.array([-0.6, -0.45, -0.3, -0.15, 0.0, 0.15, 0.3, 0.45, 0.6, 0.7, 0.8, 0.88, 0.95])
# each stands for what lies nearest to it
_WEIGHTS = np.log(np.gradient(_CORRELATIONS) * np.sqrt(1.0 - _CORRELATIONS**2))
_PLACES = 161
_ZOOM = 8.0  # loss of log-likelihood within which a finer grid is laid
_RIM = 0.02  # share of the series at either end in which no change can be told


@dataclass(frozen=True, eq=False)
class Regimes:
    """What the series shows.

    Attributes
    ----------
    verdict
        "one line", "change", "smooth curve", or "change or smooth curve" where BIC cannot tell the two.
    kind
        Of the change: "rise then fade", "knee" (fades faster), "easing" (fades slower), "fade then rise" or
        "rise changes"; empty without one.
    change
        Where, with its interval at ``level``; an end that the data do not bound is infinite. None without a change.
    before, after
        Slopes per cycle, the uncertainty of the change's place included.
    correlation
        Of errors one usual step apart, the likeliest.
    bic
        Of every model, by name; the smallest is the best.
    curve
        The two lines at the cycles given, ``[point]``; the one line without a change.
    level
        Of the interval.
    """

    verdict: Verdict
    kind: str
    change: Interval | None
    before: Estimate
    after: Estimate
    correlation: float
    bic: Mapping[str, float]
    curve: Array
    level: float


class _Series(NamedTuple):
    """Places in units of the series' length, values and relative uncertainties, ``[point]``."""

    t: Array
    y: Array
    std: Array


class _Fit(NamedTuple):
    """Of one family, ``[shape, correlation]``: shapes, restricted and full log-likelihood."""

    family: Family
    shapes: Array
    restricted: Array
    full: Array


def _joined(t: Array, shapes: Array) -> Array:
    rest = np.maximum(t - shapes[:, :1], 0.0)
    line = np.broadcast_to(t, rest.shape)
    return np.stack([np.ones_like(rest), line, rest], axis=2)


def _parabola(t: Array, shapes: Array) -> Array:
    return np.broadcast_to(np.stack([np.ones_like(t), t, t**2], axis=1), (len(shapes), t.size, 3))


_LINE = FAMILIES[0]
_SMOOTH = (*FAMILIES[1:], Family("parabola", (), _parabola))
_CHANGE = Family("change", (Axis("place", _RIM, 1.0 - _RIM, _PLACES),), _joined)


def regimes_of(cycle: ArrayLike, value: ArrayLike, std: ArrayLike = 1.0, *, level: float = 0.95) -> Regimes:
    """Change of course of ``value`` along ``cycle``.

    Parameters
    ----------
    cycle, value, std
        Number (not necessarily each), value and its uncertainty, ``[point]``; only ratios of ``std`` count, as the
        scatter about the lines holds more than the error of a value. Unknown values are left out.
    level
        Of the interval of the change.

    Raises
    ------
    MeasurementError
        If fewer than 8 values are left, cycles do not rise, or an uncertainty is not positive.
    """
    x, y, s = (np.array(one, dtype=np.float64) for one in np.broadcast_arrays(cycle, value, std))
    known = np.isfinite(x) & np.isfinite(y) & np.isfinite(s)
    x, y, s = x[known], y[known], s[known]
    if x.size < _FEWEST or (np.diff(x) <= 0).any() or (s <= 0).any():
        raise MeasurementError(
            "no course can be told from this series",
            expected=f"{_FEWEST} known values or more, cycles in rising order, uncertainties above zero",
            found=f"{x.size} known values",
        )
    length, size = float(np.ptp(x)), float(np.ptp(y)) or 1.0
    series = _Series((x - x[0]) / length, (y - y.mean()) / size, s / s.mean())
    fits = {family.name: _zoomed(series, family) for family in (_LINE, _CHANGE, *_SMOOTH)}
    bic = {name: _bic(fit, series.t.size) for name, fit in fits.items()}
    verdict = _verdict(bic)
    if verdict in ("one line", "smooth curve"):
        return _without(series, fits["linear"], verdict, bic, (x, y, level))
    return _with(series, fits["change"], verdict, bic, (x, y, level))


def _verdict(bic: Mapping[str, float]) -> Verdict:
    smooth = min(bic[family.name] for family in _SMOOTH)
    over_line, over_curve = bic["linear"] - bic["change"], smooth - bic["change"]
    if over_line <= _OVER_LINE or over_curve < -_OVER_CURVE:
        return "smooth curve" if bic["linear"] - smooth > _OVER_LINE else "one line"
    return "change" if over_curve > _OVER_CURVE else "change or smooth curve"


def _bic(fit: _Fit, count: int) -> float:
    """Numbers: those of the sum, the shapes, the scale of errors and their correlation."""
    functions = fit.family.basis(np.linspace(0, 1, 3), fit.shapes[:1]).shape[2]
    number = functions + fit.shapes.shape[1] + 2
    return float(number * np.log(count) - 2.0 * fit.full.max())


def _zoomed(series: _Series, family: Family) -> _Fit:
    """On the whole grid, and on a finer one around where it is likely."""
    every = np.arange(_CORRELATIONS.size)
    first = every[::2] if family.axes else every
    fit = _on_grid(series, family, family.grid([(axis.low, axis.high) for axis in family.axes]), first)
    for _ in range(2 if family is _CHANGE else 1 if family.axes else 0):
        best = fit.restricted.max(axis=1)
        near = fit.shapes[best >= best.max() - _ZOOM]
        axes = tuple(
            axis._replace(low=low, high=high)
            for axis, (low, high) in zip(
                fit.family.axes,
                (axis.around(near[:, n]) for n, axis in enumerate(fit.family.axes)),
                strict=True,
            )
        )
        finer = replace(family, axes=axes)
        likely = np.flatnonzero(fit.restricted.max(axis=0) >= best.max() - _ZOOM)
        beside = every[max(likely[0] - 1, 0) : likely[-1] + 2]
        fit = _on_grid(series, finer, finer.grid([(axis.low, axis.high) for axis in axes]), beside)
    return fit


def _on_grid(series: _Series, family: Family, shapes: Array, places: Rows) -> _Fit:
    """Of every shape, at these places among the correlations."""
    basis = family.basis(series.t, shapes)
    plain = _solved(basis, series.y)[1]
    restricted, full = (np.full((len(shapes), _CORRELATIONS.size), -np.inf) for _ in range(2))
    count, number = basis.shape[1:]
    for place in places:
        white, y, log_determinant = _whitened(series, basis, float(_CORRELATIONS[place]))
        square, determinant, _, _ = _solved(white, y)
        full[:, place] = -0.5 * (count * np.log(square / count) + log_determinant)
        restricted[:, place] = -0.5 * (
            (count - number) * np.log(square / (count - number)) + log_determinant + determinant - plain
        )
    return _Fit(family, shapes, restricted, full)


def _whitened(series: _Series, basis: Array, correlation: float) -> tuple[Array, Array, float]:
    """Functions and values with independent errors, and the logarithm of the determinant of their correlation."""
    scaled, y = basis / series.std[:, None], series.y / series.std
    if correlation == 0:
        return scaled, y, 0.0
    steps = np.diff(series.t) / np.median(np.diff(series.t))
    r = np.sign(correlation) ** np.rint(steps) * abs(correlation) ** steps
    left = np.sqrt(1.0 - r**2)
    white = scaled.copy()
    white[:, 1:] = (scaled[:, 1:] - r[:, None] * scaled[:, :-1]) / left[:, None]
    z = y.copy()
    z[1:] = (y[1:] - r * y[:-1]) / left
    return white, z, float(2.0 * np.log(left).sum())


def _solved(white: Array, y: Array) -> tuple[Array, Array, Array, Array]:
    """Sum of squares, log-determinant of the normal matrix, coefficients, its inverse, ``[shape, ...]``."""
    normal = white.transpose(0, 2, 1) @ white
    normal += 1e-13 * np.trace(normal, axis1=1, axis2=2)[:, None, None] * np.eye(normal.shape[1])
    inverse = np.linalg.inv(normal)
    coefficient = np.einsum("spq,sq->sp", inverse, y @ white)
    residual = y - (white @ coefficient[:, :, None])[:, :, 0]
    square = np.maximum((residual**2).sum(axis=1), 1e-24 * y.size)
    return square, np.linalg.slogdet(normal)[1], coefficient, np.asarray(inverse)


def _without(
    series: _Series, fit: _Fit, verdict: Verdict, bic: Mapping[str, float], told: tuple[Array, Array, float]
) -> Regimes:
    x, y, level = told
    r = float(_CORRELATIONS[np.argmax(fit.restricted[0])])
    basis = fit.family.basis(series.t, fit.shapes)
    coefficient, covariance = _estimated(series, basis, r, basis.shape[2])
    scale = (np.ptp(y) or 1.0) / np.ptp(x)
    slope = Estimate(float(coefficient[1] * scale), float(np.sqrt(covariance[1, 1]) * scale))
    curve = y.mean() + (np.ptp(y) or 1.0) * (basis[0] @ coefficient)
    return Regimes(verdict, "", None, slope, slope, r, bic, curve, level)


def _with(
    series: _Series, fit: _Fit, verdict: Verdict, bic: Mapping[str, float], told: tuple[Array, Array, float]
) -> Regimes:
    x, y, level = told
    best, place = (int(one) for one in np.unravel_index(np.argmax(fit.restricted), fit.restricted.shape))
    r, at = float(_CORRELATIONS[place]), float(fit.shapes[best, 0])
    basis = fit.family.basis(series.t, fit.shapes[best : best + 1])
    coefficient, covariance = _bent(series, basis, at, fit.restricted)
    scale = np.ptp(y) / np.ptp(x)
    sums = np.array([[0.0, 1.0, 0.0, 0.0], [0.0, 1.0, 1.0, 0.0]])
    slopes = sums[:, :3] @ coefficient * scale
    spreads = np.sqrt(np.einsum("ip,pq,iq->i", sums, covariance, sums)) * scale
    before, after = (Estimate(float(b), float(s)) for b, s in zip(slopes, spreads, strict=True))
    low, high = _ends(fit, level)
    change = Interval(*(float(x[0] + np.ptp(x) * one) for one in (at, low, high)))
    curve = y.mean() + np.ptp(y) * (basis[0] @ coefficient)
    return Regimes(verdict, _kind(before.value, after.value), change, before, after, r, bic, curve, level)


def _estimated(series: _Series, basis: Array, correlation: float, numbers: int) -> tuple[Array, Array]:
    """Coefficients and their covariance for one shape; ``numbers`` were fitted in all."""
    white, y, _ = _whitened(series, basis, correlation)
    square, _, coefficient, inverse = _solved(white, y)
    return coefficient[0], inverse[0] * square[0] / (y.size - numbers)


def _bent(series: _Series, basis: Array, at: float, likelihood: Array) -> tuple[Array, Array]:
    """Coefficients and covariance of two lines that meet there, their place unsure, over all correlations."""
    weight = special.softmax(likelihood.max(axis=0) + _WEIGHTS)
    likely = np.flatnonzero(weight > 0)
    coefficients, covariances = [], []
    for place in likely:
        coefficient, _ = _estimated(series, basis, float(_CORRELATIONS[place]), 4)
        moved = -coefficient[2] * (series.t > at)  # what a later change would do
        both = np.concatenate([basis, moved[None, :, None]], axis=2)
        _, covariance = _estimated(series, both, float(_CORRELATIONS[place]), 4)
        coefficients.append(coefficient)
        covariances.append(covariance)
    mean = weight[likely] @ np.array(coefficients)
    total = np.einsum("r,rpq->pq", weight[likely], np.array(covariances))
    apart = np.array(coefficients) - mean
    total[:3, :3] += np.einsum("r,rp,rq->pq", weight[likely], apart, apart)
    return mean, total


def _ends(fit: _Fit, level: float) -> tuple[float, float]:
    """Of the places of highest weight that hold ``level`` of it; between places of the grid on a straight line."""
    weight = special.logsumexp(fit.restricted + _WEIGHTS, axis=1)
    falling = np.sort(weight)[::-1]
    share = special.softmax(falling)
    allowed = float(np.interp(level, np.cumsum(share) - 0.5 * share, falling))
    at = fit.shapes[:, 0]
    inside = np.flatnonzero(weight >= allowed)
    ends = []
    for place, step in ((inside[0], -1), (inside[-1], 1)):
        beyond = place + step
        if not 0 <= beyond < at.size:
            ends.append(step * np.inf)
            continue
        part = (weight[place] - allowed) / (weight[place] - weight[beyond])
        ends.append(float(at[place] + part * (at[beyond] - at[place])))
    return ends[0], ends[1]


def _kind(before: float, after: float) -> str:
    if before > 0:
        return "rise then fade" if after < 0 else "rise changes"
    if after > 0:
        return "fade then rise"
    return "knee" if after < before else "easing"
