"""Where a refinement starts: all numbers of a model, with scales and backgrounds that fit the patterns as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import lsq_linear

from cathoscope.numerics.dual import value_of
from cathoscope.powder.crystallite import numbers_of
from cathoscope.powder.extraction import numbers_of_extraction
from cathoscope.powder.model import Model, Pattern, extractions_of, peaks_of
from cathoscope.powder.parameters import Parameter, Parameters

Array = NDArray[np.float64]

_FAINT = 1e-3  # of the others: where a phase starts that a linear fit leaves out


def parameters_of(model: Model) -> Parameters:
    """All numbers of a model: of its phases as their files state them, of its banks, and fitted scales and backgrounds.

    Scales and backgrounds are linear in the pattern: they come from one linear fit, so no start of theirs is too far.
    """
    return with_linear_start(model, stated_parameters(model))


def stated_parameters(model: Model) -> Parameters:
    """The same before anything is fitted: scales are one, backgrounds zero."""
    numbers: dict[str, Parameter] = {}
    for phase in model.phases:
        numbers |= {f"{phase.phase.name}.{name}": one for name, one in numbers_of(phase).items()}
    for pattern in model.patterns:
        numbers |= {f"{pattern.name}.{name}": Parameter(float(value)) for name, value in pattern.bank.values.items()}
        numbers |= {f"{pattern.name}.{name}": Parameter(0.0) for name in pattern.effects}
        numbers |= {f"{pattern.name}.background.{k}": Parameter(0.0) for k in range(pattern.background.shape[1])}
        numbers |= {f"{pattern.name}.{phase.phase.name}.scale": Parameter(1.0) for phase in model.phases}
    parameters = Parameters(numbers)
    for number, pattern in enumerate(model.patterns):
        for name, one in extractions_of(model, number).items():
            more = numbers_of_extraction(f"{pattern.name}.{name}", one)
            parameters = replace(parameters, numbers={**parameters.numbers, **more})
            parameters = parameters.tied(f"{pattern.name}.{name}.scale", 1.0)
    return parameters


def with_linear_start(model: Model, parameters: Parameters) -> Parameters:
    """The same with scales and backgrounds from a linear fit of every pattern, scales not below zero."""
    values = {name: one.value for name, one in parameters.numbers.items()}
    found: dict[str, float] = {}
    for number, pattern in enumerate(model.patterns):
        scales = [f"{pattern.name}.{phase.phase.name}.scale" for phase in model.phases]
        units = values | dict.fromkeys(scales, 1.0)
        peaks = [value_of(peaks_of(model, number, units, phase.phase.name)) for phase in model.phases]
        solution = linear_fit(pattern, peaks)
        found |= dict(zip(scales, solution[: len(scales)], strict=True))
        found |= _squared_start(model, number, values, found)
        rest = solution[len(scales) :]
        found |= {f"{pattern.name}.background.{k}": value for k, value in enumerate(rest)}
    return parameters.starting(found)


def _squared_start(
    model: Model, number: int, values: Mapping[str, float], scales: Mapping[str, float]
) -> dict[str, float]:
    """Squared structure factors that are numbers take up what their phase was scaled by."""
    pattern, found = model.patterns[number], dict[str, float]()
    for name, one in extractions_of(model, number).items():
        prefix = f"{pattern.name}.{name}"
        # from nothing no way leads back
        factor = scales[f"{prefix}.scale"] or _FAINT * max(scales.values()) or 1.0
        found |= {f"{prefix}.{key}": factor * values[f"{prefix}.{key}"] for key in one.numbers}
        found[f"{prefix}.scale"] = 1.0
    return found


def linear_fit(pattern: Pattern, peaks: Sequence[Array]) -> Array:
    """Scales of the phases and coefficients of the background of one pattern."""
    weight = 1 / pattern.std[pattern.used]
    design = np.column_stack([*peaks, pattern.background[pattern.used]]) * weight[:, None]
    size = np.linalg.norm(design, axis=0)
    size[size == 0] = 1.0
    low = np.r_[np.zeros(len(peaks)), np.full(pattern.background.shape[1], -np.inf)]
    solved = lsq_linear(design / size, pattern.y[pattern.used] * weight, bounds=(low, np.inf))
    return np.asarray(solved.x / size)
