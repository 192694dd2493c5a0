"""Intensities that were taken from a pattern without a structure, as a table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.dual import value_of
from cathoscope.powder.extraction import Extraction
from cathoscope.powder.le_bail import uncertainties
from cathoscope.powder.model import Model, extractions_of, numbers_in, reflections_seen
from cathoscope.powder.parameters import Values
from cathoscope.powder.refine import Fit
from cathoscope.powder.structure import metric_from_cell, spacing_from_metric

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Extracted:
    """Reflections of one phase in one pattern, by falling spacing.

    Attributes
    ----------
    hkl, multiplicity
        Indices of one of the equivalents, [n, 3], and how many there are, [n].
    spacing
        By the refined cell, A, [n].
    squared, std
        Scale x |F|^2 and its standard uncertainty, widened by the goodness of fit, [n].
    together
        Number of the first reflection that the same number stands for, [n]: of those, only the sum is known.
    """

    hkl: NDArray[np.int64]
    multiplicity: NDArray[np.int64]
    spacing: Array
    squared: Array
    std: Array
    together: NDArray[np.int64]


def extracted_of(model: Model, fit: Fit, phase: str, number: int = 0) -> Extracted:
    """Intensities of a phase in pattern ``number``.

    Uncertainties of a Le Bail fit are those of its division, with all other numbers held.

    Raises
    ------
    MeasurementError
        If the intensities of the phase follow from a structure.
    """
    one = extractions_of(model, number).get(phase)
    if one is None:
        raise MeasurementError(
            f"intensities of {phase} follow from its structure",
            expected='a phase with  intensities = "le-bail" | "pawley"',
        )
    pattern, values = model.patterns[number].name, fit.values()
    reflections = reflections_seen(model, number, phase)
    crystallite = next(each for each in model.phases if each.phase.name == phase)
    cell = crystallite.cell_from(numbers_in(pattern, phase, values))
    spacing = value_of(spacing_from_metric(hkl=reflections.hkl, metric=metric_from_cell(cell=cell)))
    std = dict(zip(one.numbers, _uncertainties(model, fit, number, phase, one), strict=True))
    return Extracted(
        reflections.hkl,
        reflections.multiplicity,
        spacing,
        np.array([float(value_of(values[f"{pattern}.{phase}.{name}"])) for name in one.names]),
        np.array([std[name] for name in one.names]),
        np.array([one.names.index(name) for name in one.names]),
    )


def _uncertainties(model: Model, fit: Fit, number: int, phase: str, one: Extraction) -> list[float]:
    """Of its numbers."""
    pattern = model.patterns[number]
    names = [f"{pattern.name}.{phase}.{name}" for name in one.numbers]
    if one.way == "pawley":
        values: Values = fit.values()
        return [fit.std_of(values[name]) for name in names]
    return list(uncertainties(model, number, fit.numbers(), phase) * max(fit.gof, 1.0))


def table_of_extracted(found: Extracted) -> str:
    """One line for each reflection: h k l, multiplicity, spacing, scale x |F|^2 and its uncertainty.

    A star stands where the number is shared with the reflection above.
    """
    lines = [f"{'h':>4}{'k':>4}{'l':>4}{'mult':>6}{'d (A)':>11}{'F2':>14}{'std':>12}"]
    for k, (h, count) in enumerate(zip(found.hkl.tolist(), found.multiplicity.tolist(), strict=True)):
        shared = " *" if found.together[k] < k else ""
        lines.append(
            f"{h[0]:4d}{h[1]:4d}{h[2]:4d}{count:6d}{found.spacing[k]:11.6f}"
            f"{found.squared[k]:14.6g}{found.std[k]:12.3g}{shared}"
        )
    return "\n".join(lines)
