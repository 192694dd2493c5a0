"""Whether a pattern needs a phase more, or the cells of the phases that it has are spread in a way nobody asked for.

Cells that differ within a specimen give peaks shoulders and feet. Where peaks of another phase lie beside those of the
first, a little of it makes up for them, and no criterion that knows homogeneous phases alone sees that there is none.
So a phase more has a rival: a little more or less of every phase that is there already, with cells larger and smaller
by a third of a width of its peaks, edge by edge. With residuals r and derivatives J at the end of the refinement
without the phase, peaks R of the rivals, and R' what J cannot make up for of them,

    gain = r^T R' (R'^T R')^-1 R'^T r,        R' = R - J (J^T J)^-1 J^T R,

is what the sum of squares falls by with the rivals. A phase has to lower it by more, each counted with its numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from cathoscope.numerics.dual import value_of
from cathoscope.powder.misfit import widths_of
from cathoscope.powder.model import Model, part_of, peaks_of
from cathoscope.powder.strategy import Refinement

Array = NDArray[np.float64]

_APART = 0.3  # full widths of peaks by which cells of rivals differ: odd and even, they skew peaks and sharpen them
_EDGES = ("a", "b", "c")
_SMALL = 1e-4  # relative, of an edge: shows how far peaks move
_SOUND = 1e-5  # of the largest: the least that rivals have for themselves, of the square of their peaks


def gain_of_rivals(found: Refinement) -> tuple[float, int]:
    """By how much the sum of squares falls if the cells of all phases may be spread, and with how many numbers more."""
    jacobian = np.concatenate([one.jacobian for one in found.fit.residuals])
    difference = np.concatenate([one.difference for one in found.fit.residuals])
    peaks = np.stack([np.concatenate(one) for one in _rivals(found)], axis=1)
    # what was known before, after the patterns, knows nothing of rivals
    peaks = np.pad(peaks, ((0, difference.size - len(peaks)), (0, 0)))
    own = peaks - jacobian @ (np.linalg.pinv(jacobian.T @ jacobian, hermitian=True) @ (jacobian.T @ peaks))
    own /= np.maximum(np.linalg.norm(peaks, axis=0), 1e-300)
    along = own.T @ difference
    return float(along @ np.linalg.pinv(own.T @ own, rcond=_SOUND, hermitian=True) @ along), own.shape[1]


def _rivals(found: Refinement) -> Iterator[list[Array]]:
    """Peaks of the phases with other cells, over the noise of every pattern."""
    numbers = found.fit.numbers()
    for phase in found.model.phases:
        alone = part_of(found.model, [phase.phase.name])
        for edge in (one for one in phase.cell.names if one in _EDGES):
            for sign in (-_APART, _APART):
                yield [
                    value_of(peaks_of(alone, number, _spread(alone, number, numbers, {edge: sign}))) / std
                    for number, std in enumerate(found.std)
                ]


def _spread(alone: Model, number: int, numbers: Mapping[str, float], edges: Mapping[str, float]) -> dict[str, float]:
    """The numbers of a phase with edges moved by so many full widths of its peaks in a pattern."""
    everywhere = dict.fromkeys(_EDGES, _SMALL)
    place, width = widths_of(alone, number, numbers)
    step = np.abs(widths_of(alone, number, _moved(alone, number, numbers, everywhere))[0] - place) / _SMALL
    share = float(np.median(width / np.maximum(step, 1e-300))) if place.size else 0.0
    return _moved(alone, number, numbers, {edge: sign * share for edge, sign in edges.items()})


def _moved(alone: Model, number: int, numbers: Mapping[str, float], edges: Mapping[str, float]) -> dict[str, float]:
    """The same with edges longer by a share."""
    name, bank = alone.phases[0].phase.name, alone.patterns[number].name
    both = [(start, edge) for edge in edges for start in (name, f"{bank}.{name}") if f"{start}.{edge}" in numbers]
    return {**numbers} | {f"{one}.{edge}": numbers[f"{one}.{edge}"] * (1 + edges[edge]) for one, edge in both}
