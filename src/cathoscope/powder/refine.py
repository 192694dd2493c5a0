"""Least squares: Levenberg and Marquardt's search with exact derivatives, and what is honest to say of its end.

The sum of squares of (observed - calculated) / sigma falls with every step that is taken. A search has arrived when the
next step would move no number by more than a hundredth of its uncertainty. It may also stall, end at a bound, leave a
combination of numbers undetermined, or diverge: drive a number to where the pattern no longer depends on it. Each has
its word.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.dual import Dual
from cathoscope.powder.parameters import Search, Values

Array = NDArray[np.float64]
Outcome = Literal["converged", "stalled", "diverged", "bound", "singular"]

ARRIVED = 0.01
"""Of its uncertainty: the largest step of any number that is none."""

_NEARLY = 0.2  # the same where weights are about to change
_SINGULAR = 1e-12  # smallest over largest eigenvalue of the normalised normal matrix that is told from zero
_LOST = 1e-6  # of what a number did to the pattern in the beginning, squared: it has left the pattern
_START, _MOST, _LEAST = 1e-3, 1e10, 1e-12  # Marquardt's factor
_GROWTH = 4.0  # of the factor after a step that failed; twice that after the next
_BOUNDS = 8  # times that coordinates are found to want beyond a bound, in one step
_CYCLES = 60


@dataclass(frozen=True)
class Residual:
    """One pattern against its calculation.

    Attributes
    ----------
    difference
        (Observed - calculated) / sigma, [m].
    jacobian
        Derivatives of the calculated pattern over sigma, [m, P].
    """

    difference: Array
    jacobian: Array


@dataclass(frozen=True, eq=False)
class Misfit:
    """A covariance that allows for local misfit of the patterns, see `cathoscope.powder.misfit`.

    Attributes
    ----------
    covariance
        Of u, [P, P].
    blocks
        On how many independent parts of the patterns the variance of each number rests, [P].
    """

    covariance: Array
    blocks: Array

    def widening(self, slope: Array, counting: Array, gof: float) -> float:
        """Variance over that of ``counting`` along a ``slope``, [P]: what is beyond the scatter of its estimate."""
        own = slope**2 * np.diag(counting)
        total = float(slope @ counting @ slope)
        if not total > 0:
            return 1.0
        scatter = gof**2 * float(np.sqrt(2.0 * (own @ (1 / self.blocks)) / own.sum()))
        return float(slope @ self.covariance @ slope) / total - scatter


@dataclass(frozen=True)
class Fit:
    """Where a search ended.

    Attributes
    ----------
    search
        What was free.
    u
        Where it ended, [P].
    covariance
        Of u, as counting statistics give it, [P, P]; infinite along what is not determined.
    chi2, points
        Sum of squares, and how many points it is over.
    outcome
        The word for the end.
    remarks
        What a person should know.
    cycles
        Steps that were tried since the last weighing.
    residuals
        The patterns against their calculation at u, as long as they are needed.
    misfit
        A covariance that allows for local misfit; None where it was not looked for.
    """

    search: Search
    u: Array
    covariance: Array
    chi2: float
    points: int
    outcome: Outcome
    remarks: tuple[str, ...]
    cycles: int
    residuals: tuple[Residual, ...] = field(default=(), repr=False)
    misfit: Misfit | None = None

    @property
    def gof(self) -> float:
        """Goodness of fit, the root of the reduced sum of squares: 1 where nothing but counting noise is left."""
        return float(np.sqrt(self.chi2 / max(self.points - len(self.search.free), 1)))

    def values(self) -> dict[str, float | Dual]:
        """All numbers with derivatives with respect to u: what further quantities are computed from."""
        return self.search.values(self.u)

    def numbers(self) -> dict[str, float]:
        """All numbers."""
        return {name: float(one.value) if isinstance(one, Dual) else one for name, one in self.values().items()}

    def std_of(self, quantity: float | Dual, *, widened: bool = True) -> float:
        """Standard uncertainty of a quantity computed from `values`, by its derivatives.

        ``widened``: by the goodness of fit or by local misfit, whichever is more and above 1, because what the model
        misses is no noise; else that of counting.
        """
        if not isinstance(quantity, Dual):
            return 0.0
        # what a quantity does not depend on may be undetermined without harm
        used = np.abs(quantity.slope) > 0
        slope, counting = quantity.slope[used], self.covariance[np.ix_(used, used)]
        variance = max(float(slope @ counting @ slope), 0.0) if slope.size else 0.0
        return float(np.sqrt(variance * (self.widening(quantity) if widened else 1.0)))

    def widening(self, quantity: float | Dual) -> float:
        """Variance of a quantity over that of counting, 1 or more: by the goodness of fit, or by local misfit."""
        gof = max(self.gof, 1.0)
        if self.misfit is None or not isinstance(quantity, Dual):
            return gof**2
        used = np.abs(quantity.slope) > 0
        if not used.any() or not np.all(np.isfinite(np.diag(self.covariance)[used])):
            return gof**2
        part = Misfit(self.misfit.covariance[np.ix_(used, used)], self.misfit.blocks[used])
        return max(gof**2, part.widening(quantity.slope[used], self.covariance[np.ix_(used, used)], gof))

    def std(self, name: str, *, widened: bool = True) -> float:
        """Standard uncertainty of one number."""
        return self.std_of(self.values()[name], widened=widened)

    def correlations(self) -> Array:
        """Correlations of the free numbers, [P, P]."""
        sigma = np.sqrt(np.diag(self.covariance))
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(self.covariance / np.outer(sigma, sigma))


Compare = Callable[[Values], Sequence[Residual]]
"""Numbers with derivatives to the patterns against their calculation."""


@dataclass(frozen=True)
class Weighing:
    """How weights are renewed on the way, from the patterns as they are calculated there.

    Attributes
    ----------
    weigh
        From patterns against their calculation to the same with new weights; what it says holds from then on.
    times
        How often: at the start if it is ``near`` the end, and whenever the search has arrived.
    """

    weigh: Callable[[Sequence[Residual]], Sequence[Residual]]
    times: int
    near: bool = False


@dataclass(frozen=True)
class _State:
    """Sum of squares, half its gradient and the normal matrix at u, and the patterns that they are of."""

    u: Array
    chi2: float
    gradient: Array
    normal: Array
    points: int
    residuals: Sequence[Residual]


def refined(
    search: Search,
    compare: Compare,
    *,
    cycles: int = _CYCLES,
    weighing: Weighing | None = None,
    arrived: float = ARRIVED,
) -> Fit:
    """The numbers that fit best, from where the search starts.

    Parameters
    ----------
    search
        What is free, see `parameters.search_of`.
    compare
        Patterns against their calculation at given numbers.
    cycles
        Steps to try at most, after each weighing.
    weighing
        How weights are renewed; None: they stay. Before the last renewal a fifth of an uncertainty is near enough.
    arrived
        The largest step of any number that is none, of its uncertainty.

    Raises
    ------
    MeasurementError
        If the start itself cannot be calculated.
    """
    state = _evaluated(search, compare, search.start)
    if state is None:
        raise MeasurementError(
            "the pattern cannot be calculated from the start of the refinement",
            expected="starting values near the truth",
            cure="check cells, scales and the numbers of the bank",
        )
    began = np.diag(state.normal)
    left = 0 if weighing is None else weighing.times
    if weighing is not None and weighing.near and left:
        state, left = _weighed(state, weighing), left - 1
    while True:
        state, outcome, tried = _descended(search, compare, state, cycles, max(arrived, _NEARLY if left else 0.0))
        if weighing is None or not left:
            return _ended(search, state, outcome, tried, began)
        # what did not arrive gets the same weights as what did, but no second chance
        state, left = _weighed(state, weighing), left - 1 if tried < cycles else 0


def _descended(
    search: Search, compare: Compare, state: _State, cycles: int, arrived: float
) -> tuple[_State, Outcome, int]:
    """Down to where no step is worth taking, the word for it, and how many steps were tried."""
    factor, growth = _START, _GROWTH
    for tried in range(1, cycles + 1):
        # how far it is to the end is what a step without damping says, however short the steps have become
        if _arrived(state, _step(search, state, _LEAST), arrived):
            return state, "converged", tried
        # a step cut by a bound or too long is tried again shorter
        step = np.clip(state.u + _step(search, state, factor), search.low, search.high) - state.u
        new = _evaluated(search, compare, state.u + step)
        if new is not None and new.chi2 <= state.chi2:
            small = state.chi2 - new.chi2 < 1e-9 * state.chi2 and factor >= 1.0
            factor, growth = max(factor * _eased(state, new, step), _LEAST), _GROWTH
            state = new
            if small:
                return state, "stalled", tried
        else:
            factor, growth = factor * growth, 2 * growth
            if factor > _MOST:
                return state, "stalled", tried
    return state, "stalled", cycles


def _eased(state: _State, new: _State, step: Array) -> float:
    """What Marquardt's factor is multiplied by after a step that was good.

    By how much of the decrease that the linear model promised came true: all, and the next step may be longer; half,
    and the factor stays, so that no second step overshoots where the pattern bends more than the model knows. Nielsen,
    Damping parameter in Marquardt's method, IMM-REP-1999-05 (1999), equation 2.5.
    """
    promised = float(step @ (2 * state.gradient - state.normal @ step))
    share = (state.chi2 - new.chi2) / promised if promised > 0 else 0.0
    return float(max(1 - (2 * min(share, 1.0) - 1) ** 3, 0.125))


def _evaluated(search: Search, compare: Compare, u: Array) -> _State | None:
    """The sums at u, or None if there is no pattern for these numbers."""
    try:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return _summed(u, compare(search.values(u)))
    except MeasurementError:
        return None


def _summed(u: Array, residuals: Sequence[Residual]) -> _State | None:
    """The sums over the patterns, or None if they are no numbers."""
    chi2, gradient, normal, points = 0.0, np.zeros(u.size), np.zeros((u.size, u.size)), 0
    for one in residuals:
        chi2 += float(one.difference @ one.difference)
        gradient += one.jacobian.T @ one.difference
        normal += one.jacobian.T @ one.jacobian
        points += one.difference.size
    finite = np.isfinite(chi2) and np.all(np.isfinite(gradient)) and np.all(np.isfinite(normal))
    return _State(u, chi2, gradient, normal, points, residuals) if finite else None


def _weighed(state: _State, weighing: Weighing) -> _State:
    """The same place with new weights."""
    new = _summed(state.u, weighing.weigh(state.residuals))
    if new is None:
        raise MeasurementError("the weights of a calculated pattern are no numbers")
    return new


def _scaled(state: _State) -> tuple[Array, Array]:
    """The normal matrix with ones on its diagonal, and the roots of the diagonal that was."""
    size = np.sqrt(np.diag(state.normal))
    size[size == 0] = 1.0
    return state.normal / np.outer(size, size), size


def _step(search: Search, state: _State, factor: float) -> Array:
    """Marquardt's step; coordinates that want beyond a bound go to it, and the others know that they do."""
    matrix, size = _scaled(state)
    held = (state.u <= search.low) & (state.gradient < 0) | (state.u >= search.high) & (state.gradient > 0)
    held |= np.diag(state.normal) <= 0
    step = np.zeros(state.u.size)
    for _ in range(_BOUNDS):
        go = np.flatnonzero(~held)
        step[go] = 0.0
        if go.size:
            values, vectors = np.linalg.eigh(matrix[np.ix_(go, go)])
            along = vectors.T @ ((state.gradient - state.normal @ step)[go] / size[go])
            sound = values > _SINGULAR * values[-1]
            step[go] = vectors[:, sound] @ (along[sound] / (values[sound] + factor)) / size[go]
        inside = np.clip(state.u + step, search.low, search.high) - state.u
        beyond = ~held & (inside != step) & (np.abs(inside - step) > 1e-12 * np.abs(step))
        if not beyond.any():
            break
        step[beyond], held = inside[beyond], held | beyond
    # half a unit of a logarithm is a factor of 1.6: more at once is a leap in the dark
    step[search.positive] = np.clip(step[search.positive], -1.0, 1.0)
    return step


def _arrived(state: _State, step: Array, arrived: float) -> bool:
    """Whether a step is small against the uncertainty of every number."""
    sigma = np.sqrt(np.diag(_covariance(state)[0]))
    moved = step != 0
    return bool(np.all(np.abs(step[moved]) < arrived * sigma[moved]))


def _covariance(state: _State) -> tuple[Array, list[Array]]:
    """Inverse of the normal matrix, and the directions that it does not determine, whose variance is infinite."""
    matrix, size = _scaled(state)
    values, vectors = np.linalg.eigh(matrix)
    sound = values > _SINGULAR * max(float(values[-1]) if values.size else 1.0, 1e-300)
    sound &= values > 0
    inverse = (vectors[:, sound] / values[sound]) @ vectors[:, sound].T / np.outer(size, size)
    loose = [vectors[:, number] for number in np.flatnonzero(~sound)]
    for one in loose:
        touched = np.abs(one) > 0.1
        inverse[touched, touched] = np.inf
    return inverse, loose


def _ended(search: Search, state: _State, outcome: Outcome, tried: int, began: Array) -> Fit:
    """The fit with its word and remarks; ``began`` is the diagonal of the normal matrix at the start."""
    covariance, loose = _covariance(state)
    remarks: list[str] = []
    lost = np.flatnonzero(np.diag(state.normal) < _LOST * began)
    for number in lost:
        value = search.numbers(state.u)[0][number]
        remarks.append(f"{search.free[number]} has run away to {value:.4g}, where the pattern does not depend on it")
    for direction in loose:
        names = [search.free[number] for number in np.flatnonzero(np.abs(direction) > 0.1)]
        remarks.append("the pattern does not determine " + " and ".join(names))
    at_bound = (state.u <= search.low) | (state.u >= search.high)
    for number in np.flatnonzero(at_bound):
        value = search.numbers(state.u)[0][number]
        remarks.append(f"{search.free[number]} ends at its bound, {value:.4g}")
    if lost.size:
        outcome = "diverged"
    elif loose and outcome == "converged":
        outcome = "singular"
    elif at_bound.any() and outcome == "converged":
        outcome = "bound"
    elif outcome == "stalled":
        remarks.append(f"no end was found in {tried} steps")
    return Fit(
        search,
        state.u,
        covariance,
        state.chi2,
        state.points,
        outcome,
        tuple(remarks),
        tried,
        tuple(state.residuals),
    )
