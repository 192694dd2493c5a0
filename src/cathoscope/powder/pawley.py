"""Intensities of reflections as numbers of the least squares (Pawley, J. Appl. Cryst. 14, 357, 1981).

Numbers are not below zero. Of two reflections within half a width the pattern knows the sum well and the difference
badly, so the difference is held: by what is known before, that squared structure factors of neighbours are of one
distribution (Wilson, Acta Cryst. 2, 318, 1949; the standard deviation of an acentric one is its mean m), so

    F2 of one = F2 of the other +- m sqrt 2,

m being the mean over the reflections around. Where the pattern tells two reflections apart, that weighs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cathoscope.numerics.dual import Dual
from cathoscope.powder.extraction import Extraction, is_squared
from cathoscope.powder.model import Model, extractions_of
from cathoscope.powder.parameters import Values
from cathoscope.powder.refine import Fit, Residual

Array = NDArray[np.float64]

_NEAR = 0.5  # full widths
_AROUND = 10  # reflections to either side for the mean


@dataclass(frozen=True, eq=False)
class Restraints:
    """Pairs of numbers that are equal within ``std``, [n]; ``first`` and ``second`` are their names."""

    first: tuple[str, ...]
    second: tuple[str, ...]
    std: Array

    def residual(self, values: Values) -> Residual:
        """The pairs as further observations, each of a difference of zero."""
        differences = [values[one] - values[other] for one, other in zip(self.first, self.second, strict=True)]
        # numbers that are held have no derivatives, and those of others are as many as are free
        count = next((one.parameters for one in values.values() if isinstance(one, Dual)), 0)
        value = np.array([float(one.value) if isinstance(one, Dual) else one for one in differences])
        slope = np.zeros((value.size, count))
        for row, one in enumerate(differences):
            if isinstance(one, Dual):
                slope[row] = one.slope
        return Residual(-value / self.std, slope / self.std[:, None])


def refined_squares(model: Model) -> tuple[str, ...]:
    """Names of the squared structure factors that are refined with all the rest."""
    return tuple(
        f"{pattern.name}.{phase}.{name}"
        for number, pattern in enumerate(model.patterns)
        for phase, one in extractions_of(model, number).items()
        if one.way == "pawley"
        for name in one.numbers
    )


def restraints_of(model: Model, numbers: Mapping[str, float]) -> Restraints:
    """Those of all patterns; ``numbers`` are where a refinement starts, of which the means are taken."""
    found = [
        pair
        for number, pattern in enumerate(model.patterns)
        for phase, one in extractions_of(model, number).items()
        if one.way == "pawley"
        for pair in _pairs(f"{pattern.name}.{phase}", one, numbers)
    ]
    return Restraints(
        tuple(first for first, _, _ in found),
        tuple(second for _, second, _ in found),
        np.array([std for _, _, std in found], dtype=np.float64),
    )


def _pairs(prefix: str, one: Extraction, numbers: Mapping[str, float]) -> list[tuple[str, str, float]]:
    """Neighbours within half a width, with what they may differ by."""
    names = one.numbers
    first = np.array([one.names.index(name) for name in names])
    place, width = one.place[first], one.width[first]
    squared = np.array([numbers[f"{prefix}.{name}"] for name in names])
    least = 1e-3 * float(squared.mean()) + 1e-300
    pairs = []
    for k in np.flatnonzero(np.abs(np.diff(place)) < _NEAR * width[1:]):
        mean = max(float(squared[max(k - _AROUND, 0) : k + _AROUND + 2].mean()), least)
        pairs.append((f"{prefix}.{names[k]}", f"{prefix}.{names[k + 1]}", mean * float(np.sqrt(2))))
    return pairs


def summed_up(fit: Fit) -> Fit:
    """The fit with one remark for all squared structure factors that end at zero, which is no flaw of it."""
    zero = [
        name
        for name, u, low in zip(fit.search.free, fit.u, fit.search.low, strict=True)
        if is_squared(name) and u <= low
    ]
    if not zero:
        return fit
    others = tuple(one for one in fit.remarks if one.split(" ")[0] not in zero)
    bound = any(" ends at its bound" in one for one in others)
    outcome = "converged" if fit.outcome == "bound" and not bound else fit.outcome
    phases = sorted({name.split(".")[1] for name in zero})
    told = f"{len(zero)} reflections of {' and '.join(phases)} have no intensity"
    return replace(fit, outcome=outcome, remarks=(*others, told))
