"""The numbers of a refinement by their names: fixed, free, tied to one another, positive, within bounds.

All numbers p follow from the free ones q by p = C q + k. What must be positive is refined as its logarithm, so q and
its derivatives come from the coordinates u of the search: q = exp(u) there, and q = u elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.dual import Dual

Array = NDArray[np.float64]
Values = Mapping[str, float | Dual]
"""Numbers by name; those that depend on free ones with derivatives."""


@dataclass(frozen=True)
class Parameter:
    """One number.

    Attributes
    ----------
    value
        Where it starts.
    positive
        Whether it is refined as its logarithm.
    low, high
        What it is kept within; a refinement that ends there says so.
    """

    value: float
    positive: bool = False
    low: float = -np.inf
    high: float = np.inf


@dataclass(frozen=True)
class Tie:
    """A number that follows from others: ``constant`` plus the sum of factors times numbers."""

    constant: float
    factors: Mapping[str, float]


@dataclass(frozen=True)
class Parameters:
    """All numbers of a refinement, and which of them follow from others.

    Attributes
    ----------
    numbers
        By name.
    ties
        By the name of what follows; what it follows from is tied to nothing.
    """

    numbers: Mapping[str, Parameter]
    ties: Mapping[str, Tie] = field(default_factory=dict)

    def tied(self, name: str, constant: float = 0.0, **factors: float) -> Parameters:
        """With one tie more: ``name`` = constant + sum of factor x number; see `tied_to` for names with dots."""
        return self.tied_to(name, factors, constant)

    def tied_to(self, name: str, factors: Mapping[str, float], constant: float = 0.0) -> Parameters:
        """With one tie more: ``name`` = constant + sum of factor x number.

        Raises
        ------
        MeasurementError
            If a name is unknown, or what it is tied to is itself tied.
        """
        for one in (name, *factors):
            self._require(one)
        chained = [one for one in factors if one in self.ties or one == name]
        if chained or any(name in tie.factors for tie in self.ties.values()):
            raise MeasurementError(
                f"{name} cannot be tied to {', '.join(factors)}",
                expected="ties to numbers that are not tied themselves",
                found=f"{', '.join(chained) or name} stands in another tie",
                cure="tie both to the same number",
            )
        return replace(self, ties={**self.ties, name: Tie(constant, dict(factors))})

    def starting(self, values: Mapping[str, float]) -> Parameters:
        """With other values to start from; names that are not here are left alone."""
        known = {name: value for name, value in values.items() if name in self.numbers}
        changed = {name: replace(self.numbers[name], value=float(value)) for name, value in known.items()}
        return replace(self, numbers={**self.numbers, **changed})

    def named(self, patterns: Iterable[str]) -> tuple[str, ...]:
        """Names that fit any pattern such as ``*.scale``, without those that are tied.

        Raises
        ------
        MeasurementError
            If a pattern fits nothing.
        """
        chosen: dict[str, None] = {}
        for pattern in patterns:
            found = [name for name in self.numbers if fnmatchcase(name, pattern)]
            if not found:
                raise MeasurementError(
                    f"no number of the refinement is called {pattern}",
                    expected="one of " + ", ".join(sorted({name.rsplit(".", 1)[-1] for name in self.numbers})),
                    found=pattern,
                )
            chosen |= dict.fromkeys(name for name in found if name not in self.ties)
        return tuple(chosen)

    def _require(self, name: str) -> None:
        if name not in self.numbers:
            raise MeasurementError(
                f"no number of the refinement is called {name}", expected=", ".join(list(self.numbers)[:20])
            )


@dataclass(frozen=True)
class Search:
    """The free numbers as coordinates u of a search, and all numbers from them.

    Attributes
    ----------
    names
        Of all numbers, [n].
    free
        Of the free ones, [P].
    matrix, constant
        C, [n, P], and k, [n].
    positive
        Which free ones are refined as logarithms, [P].
    low, high
        Bounds of u, [P].
    start
        u to begin with, [P].
    """

    names: tuple[str, ...]
    free: tuple[str, ...]
    matrix: Array
    constant: Array
    positive: NDArray[np.bool_]
    low: Array
    high: Array
    start: Array

    def numbers(self, u: Array) -> tuple[Array, Array]:
        """Free numbers q at u, and dq/du, both [P]."""
        q = np.where(self.positive, np.exp(np.where(self.positive, u, 0.0)), u)
        return q, np.where(self.positive, q, 1.0)

    def values(self, u: Array) -> dict[str, float | Dual]:
        """All numbers by name, those that depend on free ones with derivatives with respect to u."""
        q, per_u = self.numbers(u)
        everything = self.matrix @ q + self.constant
        slopes = self.matrix * per_u
        moving = np.any(self.matrix != 0, axis=1)
        return {
            name: Dual(value, slope) if moves else float(value)
            for name, value, slope, moves in zip(self.names, everything, slopes, moving, strict=True)
        }


def search_of(parameters: Parameters, free: Iterable[str]) -> Search:
    """The search for the ``free`` numbers; all others keep their values.

    Raises
    ------
    MeasurementError
        If a free number is tied or unknown, or one that must be positive starts at zero or below.
    """
    names, wanted = tuple(parameters.numbers), tuple(dict.fromkeys(free))
    for name in wanted:
        parameters._require(name)
        if name in parameters.ties:
            raise MeasurementError(f"{name} follows from other numbers and cannot be free")
    place = {name: row for row, name in enumerate(names)}
    column = {name: number for number, name in enumerate(wanted)}
    matrix = np.zeros((len(names), len(wanted)))
    constant = np.array([one.value for one in parameters.numbers.values()], dtype=np.float64)
    fixed = constant.copy()
    for name, number in column.items():
        matrix[place[name], number], constant[place[name]] = 1.0, 0.0
    for name, tie in parameters.ties.items():
        constant[place[name]] = tie.constant
        for other, factor in tie.factors.items():
            if other in column:
                matrix[place[name], column[other]] += factor
            else:
                constant[place[name]] += factor * fixed[place[other]]
    chosen = [parameters.numbers[name] for name in wanted]
    positive = np.array([one.positive for one in chosen], dtype=np.bool_)
    bounds = [np.array([getattr(one, side) for one in chosen], dtype=np.float64) for side in ("low", "high", "value")]
    _require_positive(wanted, positive, bounds[2])
    low, high, start = (_logarithm(one, positive) for one in bounds)
    return Search(names, wanted, matrix, constant, positive, low, high, np.clip(start, low, high))


def _logarithm(values: Array, positive: NDArray[np.bool_]) -> Array:
    """Logarithms where the number is positive; of bounds at or below zero minus infinity."""
    with np.errstate(divide="ignore"):
        return np.where(positive, np.log(np.where(positive, np.maximum(values, 0.0), 1.0)), values)


def _require_positive(names: tuple[str, ...], positive: NDArray[np.bool_], start: Array) -> None:
    bad = np.flatnonzero(positive & ~(start > 0))
    if bad.size:
        raise MeasurementError(
            f"{names[bad[0]]} has to be above zero to be refined",
            expected="a start above 0",
            found=f"{start[bad[0]]:g}",
        )
