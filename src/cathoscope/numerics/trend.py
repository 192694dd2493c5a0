r"""How a quantity changes along a series: families of curves, compared, with intervals from the profile likelihood.

A value at x (a cycle, a temperature) of a particle is :math:`y = f(x) + u + e`, with the deviation u of the particle,
normal with standard deviation tau and the same for all its values, and the stated uncertainty of the value. All
families are linear but in one or two shape numbers:

    linear       a + b x
    exponential  a + b (exp(k x) - 1) / k      k < 0 saturates, k > 0 accelerates, k = 0 is the straight line
    power        a + b x^p
    sigmoid      a + b / (1 + exp(-(x - m) / w))

Over a grid of shape numbers and tau the linear ones have a normal likelihood in closed form, so that the profile
likelihood of f(x), or of where two curves meet, needs no search that could fail. tau follows from the restricted
likelihood, which does not take the scatter lost to fitted parameters for agreement; families are compared by AICc.

References
----------
.. [1] C. M. Hurvich, C.-L. Tsai, Biometrika 76 (1989) 297 (AICc).
.. [2] D. A. Harville, J. Am. Stat. Assoc. 72 (1977) 320 (restricted likelihood).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtri

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.estimate import Estimate

Array = NDArray[np.float64]

_TAUS = 25  # values of the deviation of particles, the first is zero
_WORTH_A_LOOK = 4.0  # loss of log-likelihood: beyond it nothing is in an interval of 99 %
_FINE = 400  # places along the series at which curves are looked at for their meeting


class Axis(NamedTuple):
    """Values of a shape number that are looked at: between ``low`` and ``high``, evenly, or evenly in the logarithm."""

    name: str
    low: float
    high: float
    steps: int
    logarithmic: bool = False

    def values(self, low: float, high: float) -> Array:
        """As many values as there are, from low to high."""
        return np.geomspace(low, high, self.steps) if self.logarithmic else np.linspace(low, high, self.steps)

    def around(self, values: Array) -> tuple[float, float]:
        """The range of ``values``, and a step on either side."""
        ratio = (self.high / self.low) ** (1 / (self.steps - 1)) if self.logarithmic else 1.0
        step = 0.0 if self.logarithmic else (self.high - self.low) / (self.steps - 1)
        low, high = float(values.min()) / ratio - step, float(values.max()) * ratio + step
        return max(low, self.low), min(high, self.high)


@dataclass(frozen=True)
class Family:
    """Curves of one form: ``basis`` gives the functions [curve, place, function] that are summed, for places in units
    of the series' length (0 to 1) and shape numbers [curve, number] on ``axes``."""

    name: str
    axes: tuple[Axis, ...]
    basis: Callable[[Array, Array], Array]

    def grid(self, ranges: Sequence[tuple[float, float]]) -> Array:
        """Shape numbers [curve, number] that fill ``ranges``."""
        values = [axis.values(*ends) for axis, ends in zip(self.axes, ranges, strict=True)]
        return np.stack([one.ravel() for one in np.meshgrid(*values, indexing="ij")], axis=1) if values else _NO_SHAPE


_NO_SHAPE = np.zeros((1, 0))


def _linear(t: Array, shapes: Array) -> Array:
    return np.broadcast_to(np.stack([np.ones_like(t), t], axis=1), (len(shapes), t.size, 2))


def _exponential(t: Array, shapes: Array) -> Array:
    k = shapes[:, :1]
    rise = np.where(np.abs(k) < 1e-9, t, np.expm1(k * t) / np.where(np.abs(k) < 1e-9, 1.0, k))
    return np.stack([np.ones_like(rise), rise], axis=2)


def _power(t: Array, shapes: Array) -> Array:
    rise = np.maximum(t, 0.0) ** shapes[:, :1]
    return np.stack([np.ones_like(rise), rise], axis=2)


def _sigmoid(t: Array, shapes: Array) -> Array:
    rise = 1.0 / (1.0 + np.exp(-(t - shapes[:, :1]) / shapes[:, 1:2]))
    return np.stack([np.ones_like(rise), rise], axis=2)


FAMILIES = (
    Family("linear", (), _linear),
    Family("exponential", (Axis("rate", -8.0, 8.0, 41),), _exponential),
    Family("power", (Axis("exponent", 0.15, 6.0, 41, logarithmic=True),), _power),
    Family("sigmoid", (Axis("middle", -0.1, 1.3, 21), Axis("width", 0.02, 0.4, 9, logarithmic=True)), _sigmoid),
)


class Interval(NamedTuple):
    """A value and the ends of its interval; an end that the data do not bound is infinite."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Points:
    """Values of a series.

    Attributes
    ----------
    x, y, std
        Place, value and its stated standard uncertainty, ``[point]``.
    particle
        Number of the particle, ``[point]``.
    """

    x: Array
    y: Array
    std: Array
    particle: NDArray[np.int64]

    @property
    def length(self) -> float:
        """From the origin of the curves, the smallest x, to the largest."""
        return float(np.ptp(self.x))


@dataclass(frozen=True)
class Trend:
    """The curves of one family that the points allow.

    Attributes
    ----------
    family, points
        What was fitted to what.
    aicc
        Corrected Akaike criterion; infinite where there are too few points for the family.
    shapes, tau
        Of every member of the grid, ``[member, number]`` and ``[member]``; rates are per ``points.length``.
    coefficient, covariance
        Of the functions, ``[member, function]`` and ``[member, function, function]``.
    log_likelihood
        Restricted, of every member.
    """

    family: Family
    points: Points
    aicc: float
    shapes: Array
    tau: Array
    coefficient: Array
    covariance: Array
    log_likelihood: Array

    @property
    def best(self) -> int:
        """The most likely member."""
        return int(np.argmax(self.log_likelihood))

    @property
    def particle_std(self) -> float:
        """Standard deviation from particle to particle; NaN for a single one, of which it cannot be told."""
        return float(self.tau[self.best]) if self.points.particle.max() > 0 else float("nan")

    def curve(self, x: ArrayLike) -> Array:
        """The most likely curve at ``x``."""
        return np.asarray(self._members(np.atleast_1d(np.asarray(x, dtype=np.float64)), np.array([self.best]))[0][0])

    def at(self, x: float, *, level: float = 0.68) -> Interval:
        """The mean over particles at ``x`` with its profile-likelihood interval."""
        value, variance = (part[:, 0] for part in self._members(np.array([float(x)]), np.arange(self.tau.size)))
        reach = chdtri(1, 1.0 - level) - 2.0 * (self.log_likelihood.max() - self.log_likelihood)
        allowed = reach >= 0
        half = np.sqrt(variance[allowed] * reach[allowed])
        within = value[allowed]
        return Interval(float(value[self.best]), float((within - half).min()), float((within + half).max()))

    def shape(self, number: int, *, level: float = 0.68) -> Interval:
        """A shape number and its interval; an end at the rim of the grid is not bounded."""
        near = self.log_likelihood >= self.log_likelihood.max() - 0.5 * chdtri(1, 1.0 - level)
        values, allowed = self.shapes[:, number], self.shapes[near, number]
        low, high, axis = float(allowed.min()), float(allowed.max()), self.family.axes[number]
        return Interval(
            float(values[self.best]),
            -np.inf if low <= axis.low else low,
            np.inf if high >= axis.high else high,
        )

    def _members(self, x: Array, members: NDArray[np.int64]) -> tuple[Array, Array]:
        """Values and variances [member, place] of some members."""
        t = (x - self.points.x.min()) / self.points.length
        basis = self.family.basis(t, self.shapes[members])
        value = np.einsum("mxp,mp->mx", basis, self.coefficient[members])
        return value, np.einsum("mxp,mpq,mxq->mx", basis, self.covariance[members], basis)

    def likely(self, x: Array, deficit: float) -> tuple[Array, Array, Array]:
        """Loss of log-likelihood [member], value and variance [member, place] of members that lose at most that."""
        loss = self.log_likelihood.max() - self.log_likelihood
        members = np.flatnonzero(loss <= deficit)
        return loss[members], *self._members(x, members)


def points_of(x: ArrayLike, y: ArrayLike, std: ArrayLike, particle: Sequence[object] | None = None) -> Points:
    """Values of a series, checked; each its own particle where none is named.

    Raises
    ------
    MeasurementError
        If lengths differ, a value is not finite, an uncertainty is not positive, or there are fewer than 3 places.
    """
    arrays = [np.atleast_1d(np.asarray(one, dtype=np.float64)) for one in np.broadcast_arrays(x, y, std)]
    names = [str(name) for name in (range(arrays[0].size) if particle is None else particle)]
    good = np.isfinite(np.stack(arrays)).all() and (arrays[2] > 0).all()
    if len(names) != arrays[0].size or not good or np.unique(arrays[0]).size < 3:
        raise MeasurementError(
            "these values make no series",
            expected="3 or more different places, finite values, positive uncertainties, a particle for each value",
            found=f"{arrays[0].size} values at {np.unique(arrays[0]).size} places, {len(names)} particles",
        )
    return Points(arrays[0], arrays[1], arrays[2], np.unique(names, return_inverse=True)[1].astype(np.int64))


def trends(points: Points, families: Sequence[Family] = FAMILIES) -> tuple[Trend, ...]:
    """Every family fitted, the one of the lowest AICc first."""
    return tuple(sorted((_fitted(points, family) for family in families), key=lambda one: one.aicc))


def _fitted(points: Points, family: Family) -> Trend:
    """On the whole grid, and then on a fine one where the likelihood of the whole is worth a look."""
    coarse = _on_grid(points, family, family.grid([(axis.low, axis.high) for axis in family.axes]))
    near = coarse.log_likelihood >= coarse.log_likelihood.max() - _WORTH_A_LOOK
    return _on_grid(
        points,
        family,
        family.grid([axis.around(coarse.shapes[near, n]) for n, axis in enumerate(family.axes)]),
    )


def _on_grid(points: Points, family: Family, shapes: Array) -> Trend:
    t = (points.x - points.x.min()) / points.length
    basis = family.basis(t, shapes)
    orthogonal, upper = np.linalg.qr(basis)
    pieces = [_at_tau(points, orthogonal, tau) for tau in _taus(points)]
    coefficient, covariance, restricted, full = (np.concatenate(part) for part in zip(*pieces, strict=True))
    back = np.tile(np.linalg.pinv(upper), (len(pieces), 1, 1))
    number = basis.shape[2] + shapes.shape[1] + 1
    left = points.x.size - number - 1
    penalty = 2.0 * number * (1.0 + (number + 1) / left) if left > 0 else np.inf
    return Trend(
        family,
        points,
        float(penalty - 2.0 * full.max()),
        np.tile(shapes, (len(pieces), 1)),
        np.repeat(_taus(points), len(shapes)),
        np.einsum("mij,mj->mi", back, coefficient),
        back @ covariance @ back.transpose(0, 2, 1),
        restricted,
    )


def _taus(points: Points) -> Array:
    """Zero, and from a tenth of the smallest uncertainty to twice the spread of the values."""
    if points.particle.max() == 0:  # the deviation of a single particle is part of its curve
        return np.zeros(1)
    largest = max(2.0 * float(points.y.std()), float(points.std.max()))
    return np.concatenate([[0.0], np.geomspace(0.1 * float(points.std.min()), largest, _TAUS - 1)])


def _at_tau(points: Points, basis: Array, tau: float) -> tuple[Array, Array, Array, Array]:
    """Coefficients, their covariance, restricted and full log-likelihood of every shape [shape, ...] for one tau."""
    same = points.particle[:, None] == points.particle
    covariance = np.diag(points.std**2) + tau**2 * same
    inverse = np.linalg.inv(covariance)
    _, log_determinant = np.linalg.slogdet(covariance)
    weighted = inverse @ basis
    normal = basis.transpose(0, 2, 1) @ weighted
    found = np.linalg.inv(normal)
    coefficient = np.einsum("spq,snq,n->sp", found, weighted, points.y, optimize=True)
    residual = points.y - np.einsum("snp,sp->sn", basis, coefficient)
    square = np.sum(residual * (residual @ inverse), axis=1)
    full = -0.5 * (square + log_determinant + points.x.size * np.log(2.0 * np.pi))
    return coefficient, np.asarray(found), full - 0.5 * np.linalg.slogdet(normal)[1], full


def place_of_equal(
    first: Trend, second: Trend | Estimate, *, within: tuple[float, float] | None = None, level: float = 0.68
) -> Interval | None:
    """Where the mean of ``first`` meets that of ``second``, or reaches a level; None if nowhere ``within``.

    The interval holds all places at which some curves of both that meet there lose no more likelihood than ``level``
    allows. An end is infinite where that is still so at the end of ``within`` (by default where first has points).

    Raises
    ------
    MeasurementError
        If ``within`` is no range.
    """
    low, high = within or (float(first.points.x.min()), float(first.points.x.max()))
    if not low < high:
        raise MeasurementError("places to be looked at are no range", expected="low < high", found=f"{low} to {high}")
    x = np.linspace(low, high, _FINE + 1)
    limit = 0.5 * float(chdtri(1, 1.0 - level))
    loss = _loss_of_meeting(first, second, x, limit)
    apart = first.curve(x) - (second.curve(x) if isinstance(second, Trend) else second.value)
    allowed = np.flatnonzero(loss <= limit)
    crossing = np.flatnonzero(np.diff(np.sign(apart)) != 0)
    if not crossing.size and not allowed.size:
        return None
    if not crossing.size:  # the likeliest curves meet elsewhere, but not by much
        value = np.inf if allowed[-1] == _FINE else -np.inf
    else:
        at = crossing[0]
        value = float(x[at] + (x[at + 1] - x[at]) * apart[at] / (apart[at] - apart[at + 1]))
    ends = (allowed[0], allowed[-1]) if allowed.size else (crossing[0], crossing[0] + 1)
    return Interval(
        value,
        -np.inf if ends[0] == 0 else float(x[ends[0]]),
        np.inf if ends[1] == _FINE else float(x[ends[1]]),
    )


def _loss_of_meeting(first: Trend, second: Trend | Estimate, x: Array, limit: float) -> Array:
    """Least loss of log-likelihood [place] with which the two meet at each place."""
    loss, value, variance = first.likely(x, limit)
    if isinstance(second, Trend):
        others = second.likely(x, limit)
    else:
        level = np.full((1, x.size), second.value)
        others = np.zeros(1), level, np.full_like(level, second.total**2)
    least = np.full(x.size, np.inf)
    for other_loss, other_value, other_variance in zip(*others, strict=True):
        apart = (value - other_value) ** 2 / np.maximum(2.0 * (variance + other_variance), 1e-300)
        least = np.minimum(least, (loss[:, None] + other_loss + apart).min(axis=0))
    return least
