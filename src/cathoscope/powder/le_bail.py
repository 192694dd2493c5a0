"""Intensities of reflections by division of what is observed (Le Bail, Duroy and Fourquet, Mat. Res. Bull. 23, 447,
1988).

At every point each reflection gets the share of the observed intensity above the background that it has of the
calculated one; its intensity is the sum of what it got. All other numbers are refined with these intensities held, and
both are repeated in turns until the fit no longer changes. Uncertainties of the other numbers therefore leave out those
of the intensities: Pawley's have them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cathoscope.numerics.dual import Dual, seeded, value_of
from cathoscope.powder.model import Model, background_of, extractions_of, peaks_of
from cathoscope.powder.parameters import Parameters, search_of
from cathoscope.powder.refine import Compare, Fit, refined

Array = NDArray[np.float64]

_ROUNDS = 40
_DIVISIONS = 6  # of one round
_STEPS = 4  # of the refinement of one round
_SETTLED = 0.5  # in the sum of squares, in units of its mean: a change that is none
_INSIDE = 0.05  # of its height: how far a reflection takes part in the division
_TINY = 1e-9  # of the largest singular value
_LEAST = 1e-6  # of the mean: from nothing no way leads back


def has_le_bail(model: Model) -> bool:
    """Whether a model has a phase whose intensities are divided."""
    every = (one for number in range(len(model.patterns)) for one in extractions_of(model, number).values())
    return any(one.way == "le-bail" for one in every)


def settled(parameters: Parameters, model: Model, free: Sequence[str], compare: Compare, cycles: int) -> Fit:
    """The fit of the ``free`` numbers in turns with the division; its numbers hold the intensities that were found.

    Parameters
    ----------
    compare
        Patterns against their calculation, as of `refine.refined`.
    cycles
        Steps of the last refinement at most.
    """
    last = np.inf
    for _ in range(_ROUNDS):
        parameters = divided(parameters, model)
        fit = refined(search_of(parameters, free), compare, cycles=_STEPS)
        parameters = parameters.starting(fit.numbers())
        if abs(last - fit.chi2) < _SETTLED * max(fit.gof, 1.0) ** 2:
            return refined(search_of(parameters, free), compare, cycles=cycles)
        last = fit.chi2
    fit = refined(search_of(parameters, free), compare, cycles=cycles)
    if fit.outcome != "converged":
        return fit
    told = f"intensities still change after {_ROUNDS} divisions"
    return replace(fit, outcome="stalled", remarks=(*fit.remarks, told))


def divided(parameters: Parameters, model: Model) -> Parameters:
    """The same with intensities divided anew, a few times, with all other numbers held."""
    numbers = {name: one.value for name, one in parameters.numbers.items()}
    for number in range(len(model.patterns)):
        names = _names(model, number)
        if names:
            found = _divided(model, number, numbers, names)
            parameters = parameters.starting(dict(zip(names, found.tolist(), strict=True)))
    return parameters


def _names(model: Model, number: int) -> list[str]:
    """Whole names of the intensities of one pattern that are divided."""
    pattern = model.patterns[number]
    every = extractions_of(model, number).items()
    return [f"{pattern.name}.{phase}.{name}" for phase, one in every if one.way == "le-bail" for name in one.numbers]


def _divided(model: Model, number: int, numbers: dict[str, float], names: list[str]) -> Array:
    """Intensities after the divisions, in the order of the names."""
    start = np.array([numbers[name] for name in names])
    made = _per_number(model, number, numbers, names)
    rest = value_of(background_of(model, number, numbers)) + made.value - made.slope @ start
    pattern = model.patterns[number]
    observed = pattern.y[pattern.used] - rest
    share = _shares(made.slope)
    total = np.maximum(share.sum(axis=0), 1e-300)
    squared = np.maximum(start, _LEAST * float(np.abs(start).mean()) + 1e-300)
    for _ in range(_DIVISIONS):
        ratio = observed / np.maximum(made.slope @ squared, 1e-300)
        squared = np.maximum(squared * (ratio @ share) / total, _LEAST * float(squared.mean()))
    return np.asarray(squared)


def _shares(slope: Array) -> Array:
    """Peaks [point, number] where they take part in the division."""
    return np.where(slope > _INSIDE * slope.max(axis=0), slope, 0.0)


def uncertainties(model: Model, number: int, numbers: dict[str, float], phase: str) -> Array:
    """Standard uncertainties of the intensities of a phase by counting, all other numbers held.

    The division ends where the sum of share x (observed / calculated - 1) is zero for every reflection; what noise in
    the observed does to the intensities follows from the derivatives of that.
    """
    pattern = model.patterns[number]
    every = _names(model, number)
    slope = _per_number(model, number, numbers, every).slope
    peaks = np.maximum(slope @ np.array([numbers[name] for name in every]), 1e-300)
    weight = _shares(slope) / peaks[:, None]
    size = np.sqrt(np.maximum(np.sum(weight * slope, axis=0), 1e-300))
    matrix = np.linalg.pinv(weight.T @ slope / np.outer(size, size), rcond=_TINY)
    noise = weight * pattern.std[pattern.used][:, None] / size
    covariance = matrix @ (noise.T @ noise) @ matrix.T
    found = np.sqrt(np.maximum(np.diag(covariance), 0.0)) / size
    own = f"{pattern.name}.{phase}."
    return np.asarray(found[[name.startswith(own) for name in every]])


def _per_number(model: Model, number: int, numbers: dict[str, float], names: Sequence[str]) -> Dual:
    """All peaks of pattern ``number`` at its used points, with derivatives with respect to these numbers alone."""
    start = seeded([numbers[name] for name in names])
    made = peaks_of(model, number, {**numbers, **{name: start[k] for k, name in enumerate(names)}})
    if not isinstance(made, Dual):
        return Dual(made, np.zeros((made.size, len(names))))
    return made
