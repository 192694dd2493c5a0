"""What a refinement makes of a pattern: curves at its points, and where the reflections lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.dual import value_of
from cathoscope.powder.crystallite import Crystallite
from cathoscope.powder.model import (
    Model,
    Pattern,
    background_of,
    bank_values,
    displacement_of,
    numbers_in,
    peaks_of,
    spacing_range,
    spacings_of,
)
from cathoscope.powder.parameters import Values
from cathoscope.powder.position import tof_from_spacing, two_theta_from_spacing
from cathoscope.powder.structure import Reflections, metric_from_cell, reflections_between, spacing_from_metric

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Curves:
    """Curves of one pattern at all its points, [m]; NaN at points that are not used.

    Attributes
    ----------
    fit, background, difference
        Calculated intensity, its background, and observed minus calculated.
    parts
        What each phase adds, by its name.
    """

    fit: Array
    background: Array
    difference: Array
    parts: dict[str, Array]


def curves_of(model: Model, number: int, values: Values) -> Curves:
    """The curves of pattern ``number``."""
    pattern = model.patterns[number]

    def everywhere(part: Array) -> Array:
        """Values of the points in use at all points of the pattern, NaN at the others."""
        out = np.full(pattern.x.size, np.nan)
        out[pattern.used] = part
        return out

    background = value_of(background_of(model, number, values))
    names = [phase.phase.name for phase in model.phases]
    parts = {name: value_of(peaks_of(model, number, values, name)) for name in names}
    fit = background + sum(parts.values())
    observed = pattern.y[pattern.used]
    return Curves(
        everywhere(fit),
        everywhere(background),
        everywhere(observed - fit),
        {name: everywhere(one) for name, one in parts.items()},
    )


def reflections_in(phase: Crystallite, pattern: Pattern) -> Reflections:
    """Reflections of a phase in the range of a pattern, by the cell of its file; none if there are none."""
    low, high = spacing_range(pattern)
    if pattern.bank.kind == "cw":
        low = max(low, 0.5001 * pattern.bank.values["wavelength"])
    try:
        return reflections_between(phase.symmetry, phase.phase.cell, low, high)
    except MeasurementError:
        return Reflections(np.zeros((0, 3), dtype=np.int64), np.zeros(0, dtype=np.int64))


def apparent_spacings(phase: Crystallite, pattern: Pattern, hkl: NDArray[np.int64], values: Values) -> Array:
    """Where reflections (n, 3) lie in a pattern, as the spacings (A) that its points have by the file of the bank.

    Refined zeros and displacements move reflections against the file, and so do these.
    """
    own = numbers_in(pattern.name, phase.phase.name, values)
    d = value_of(spacing_from_metric(hkl=hkl, metric=metric_from_cell(cell=phase.cell_from(own))))
    bank = {name: float(value_of(one)) for name, one in bank_values(pattern, values).items()}
    if pattern.bank.kind == "tof":
        return spacings_of(pattern.bank, value_of(tof_from_spacing(d=d, values=bank)))
    out = np.full(d.size, np.nan)
    seen = 2 * d > bank["wavelength"]
    displacement = displacement_of(pattern, bank, values)
    place = two_theta_from_spacing(
        d=d[seen], wavelength=bank["wavelength"], zero=bank["zero"], displacement=displacement
    )
    out[seen] = spacings_of(pattern.bank, value_of(place))
    return out
