"""Whether a pattern may hold a phase more, told without refining it.

Two looks, either of which is enough for a try. At the end of a refinement without the phase: of the peaks p of the
phase, what the free numbers cannot make up for is p' = p - J (J^T J)^-1 J^T p; fitted to what is left, r, it lowers the
sum of squares by (p' r)^2 / (p' p'). And at the start, by linear fits of scales and backgrounds with and without it:
because the phases that are refined may have moved to where it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log

import numpy as np
from numpy.typing import NDArray

from cathoscope.numerics.dual import value_of
from cathoscope.powder.model import Model, peaks_of
from cathoscope.powder.start import linear_fit
from cathoscope.powder.strategy import Refinement

Array = NDArray[np.float64]
Peaks = Sequence[Mapping[str, Array]]
"""Of every pattern, peaks of every phase with the scale one, at the used points."""

_PROMISING = 0.9  # of the gain that is needed: what is worth a refinement


def unit_peaks(model: Model, numbers: Mapping[str, float], names: Sequence[str] | None = None) -> Peaks:
    """Peaks of the phases of a model, or of those of these ``names``, with the scale one."""
    chosen = [phase.phase.name for phase in model.phases] if names is None else names
    units = {f"{pattern.name}.{name}.scale": 1.0 for pattern in model.patterns for name in chosen}
    values = {**numbers, **units}
    return [
        {name: value_of(peaks_of(model, number, values, name)) for name in chosen}
        for number in range(len(model.patterns))
    ]


def linear_chi2(model: Model, peaks: Peaks, names: Sequence[str]) -> float:
    """Sum of squares that the best scales and backgrounds leave with the phases of these names."""
    total = 0.0
    for pattern, own in zip(model.patterns, peaks, strict=True):
        chosen = [own[name] for name in names]
        solution = linear_fit(pattern, chosen)
        made = np.column_stack([*chosen, pattern.background[pattern.used]]) @ solution
        total += float(np.sum(((pattern.y[pattern.used] - made) / pattern.std[pattern.used]) ** 2))
    return total


def gain_at_start(model: Model, peaks: Peaks, names: Sequence[str], extra: str) -> float:
    """By how much the sum of squares falls with a phase more, in units of what stays per point."""
    more = linear_chi2(model, peaks, [*names, extra])
    points = sum(int(pattern.used.sum()) for pattern in model.patterns)
    return (linear_chi2(model, peaks, names) - more) / max(more / points, 1.0)


def gain_at_end(found: Refinement, peaks: Peaks, extra: str) -> float:
    """The same at the end of a refinement without the phase, if nothing bends."""
    residuals = found.fit.residuals
    gradient = sum(one.jacobian.T @ one.difference for one in residuals)
    inverse = np.linalg.pinv(sum(one.jacobian.T @ one.jacobian for one in residuals), hermitian=True)
    gain = 0.0
    for one, std, own in zip(residuals, found.std, peaks, strict=False):
        peak = own[extra] / std
        shared = one.jacobian.T @ peak
        along = float(peak @ one.difference - shared @ inverse @ gradient)
        alone = float(peak @ peak - shared @ inverse @ shared)
        gain += along**2 / alone if along > 0 and alone > 1e-6 * float(peak @ peak) else 0.0
    return gain / max(found.fit.gof, 1.0) ** 2


def is_promising(gain: float, points: int, patterns: int) -> bool:
    """Whether a gain comes near to what the information criterion wants for one scale in each pattern."""
    return gain > _PROMISING * patterns * log(max(points, 2))
