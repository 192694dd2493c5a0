"""Squared structure factors that are numbers of their own: a phase of which the cell is known and no structure.

    bank1.NMC.F2.1,0,4      scale x |F|^2 of the reflection, not below 0, in the unit in which the scale is one

The area of a reflection is this number in place of scale x |F|^2; all else, multiplicity, Lorentz factor,
polarisation, volume of the cell, stays, so numbers of all reflections and banks can be compared with those of a
structure. Reflections nearer than a twentieth of the width that the bank gives them share one number: no pattern tells
them apart.

Two ways lead to the numbers: `le_bail` divides what is observed among the reflections, in turns with a refinement of
all the rest; `pawley` refines them with all the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cathoscope.core.bank import Bank
from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.dual import Graded, stacked
from cathoscope.powder.parameters import Parameter, Values
from cathoscope.powder.resolution import full_width, place_of_spacing
from cathoscope.powder.structure import Reflections

Array = NDArray[np.float64]
Way = Literal["le-bail", "pawley"]

KEY = "F2"
_APART = 0.05  # of a full width: reflections that are nearer share one number
_REACH = 0.6  # full widths around a reflection in which there has to be a point


@dataclass(frozen=True, eq=False)
class Extraction:
    """Numbers in place of squared structure factors.

    Attributes
    ----------
    way
        How they are found.
    names
        Number of every reflection, without those of bank and phase, [n]; some share one.
    place, width
        Where reflections lie by the file of the bank, and how wide the bank makes them (us or deg), [n].
    """

    way: Way
    names: tuple[str, ...]
    place: Array
    width: Array

    @property
    def numbers(self) -> tuple[str, ...]:
        """Names, each once, by falling spacing."""
        return tuple(dict.fromkeys(self.names))

    def squared(self, own: Values) -> Graded:
        """Squared structure factors of the reflections, (n,)."""
        return stacked([own[name] for name in self.names])


def extraction_of(way: Way, bank: Bank, x: Array, reflections: Reflections, d: Array) -> tuple[Reflections, Extraction]:
    """The reflections of a phase that show on the points ``x``, and their numbers.

    Parameters
    ----------
    x
        Used points of the pattern, (m,).
    d
        Spacings of the reflections, falling, (n,), A.

    Raises
    ------
    MeasurementError
        If no reflection shows.
    """
    place = place_of_spacing(bank, d)
    steps = np.pad(np.diff(x), 1, mode="edge")
    # the smaller step to either side: a gap is no step
    width = np.maximum(full_width(bank, d), 2 * np.interp(place, x, np.minimum(steps[1:], steps[:-1])))
    with np.errstate(invalid="ignore"):
        first, last = (np.searchsorted(x, place + side * _REACH * width) for side in (-1, 1))
    shown = np.isfinite(place) & (last > first)
    if not shown.any():
        raise MeasurementError(
            "no reflection lies on the points that are used",
            expected="reflections in the range of the pattern, and not only in excluded parts",
            found=f"{place.size} beside it",
        )
    kept = Reflections(reflections.hkl[shown], reflections.multiplicity[shown])
    place, width = place[shown], width[shown]
    return kept, Extraction(way, _names(kept.hkl, place, width), place, width)


def _names(hkl: NDArray[np.int64], place: Array, width: Array) -> tuple[str, ...]:
    names: list[str] = []
    start = -1
    for k, indices in enumerate(hkl):
        if start >= 0 and abs(place[k] - place[start]) < _APART * width[k]:
            names.append(names[start])
        else:
            start = k
            names.append(f"{KEY}.{','.join(map(str, indices))}")
    return tuple(names)


def numbers_of_extraction(prefix: str, extraction: Extraction) -> dict[str, Parameter]:
    """Its numbers by their whole names, equal to begin with; ``prefix`` is bank.phase."""
    low = 0.0 if extraction.way == "pawley" else -np.inf
    return {f"{prefix}.{name}": Parameter(1.0, low=low) for name in extraction.numbers}


def is_squared(name: str) -> bool:
    """Whether a number of a refinement is one of these."""
    return f".{KEY}." in name
