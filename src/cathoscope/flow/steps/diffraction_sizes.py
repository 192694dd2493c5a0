"""Models of size and strain compared: which of them the patterns support."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import xarray as xr

from cathoscope.core.errors import MeasurementError
from cathoscope.core.parallel import run_on_threads
from cathoscope.core.schema import dataset, label
from cathoscope.flow.graph import REFERENCES, Context, Step
from cathoscope.flow.steps.diffraction_plan import Powder, patterns_of, powder_of
from cathoscope.powder.crystallite import Crystallite, CrystalliteChoices, crystallite_of
from cathoscope.powder.model import Pattern
from cathoscope.powder.strategy import refine
from cathoscope.powder.usual import for_phases

MODELS: Mapping[str, Mapping[str, object]] = {
    "none": {"size": "none", "strain": "none"},
    "isotropic": {"size": "isotropic", "strain": "isotropic"},
    "uniaxial 001": {"size": "uniaxial", "size_axis": (0, 0, 1), "strain": "isotropic"},
    "uniaxial 110": {"size": "uniaxial", "size_axis": (1, 1, 0), "strain": "isotropic"},
    "stephens": {"size": "isotropic", "strain": "stephens"},
}
"""What a phase is tried with, while the others stay as the recipe has them."""

_TEMPERATURES = 5
_NEEDED = ("tof", "two_theta", "diffraction_counts", "diffraction_counts_std", "phase_present", "refined_number")


def sizes(context: Context) -> xr.Dataset:
    """Information criterion of every model for every phase, summed over a few temperatures, above that of the best."""
    data = context.data
    powder = powder_of(context.section, context.data_folder, data)
    series = "temperature" in data["phase_present"].dims
    places: list[tuple[int, ...]] = _chosen(np.atleast_2d(data["phase_present"].values)) if series else [()]
    tries = [(k, model, place) for k in range(len(powder.phases)) for model in MODELS for place in places]
    found = np.full((len(powder.phases), len(MODELS), len(places)), np.nan)
    context.progress.start(f"{context.name}: sizes", len(tries), "refinements")

    def one(what: tuple[int, str, tuple[int, ...]]) -> None:
        """One phase with one model at one temperature."""
        number, model, place = what
        here = data.isel(temperature=place[0]) if place else data
        found[number, list(MODELS).index(model), places.index(place)] = _bic(powder, here, number, model)
        context.progress.advance()

    run_on_threads(one, tries, threads=context.resources.threads)
    context.progress.finish()
    # a temperature counts if all models could be refined there
    total = np.where(np.isfinite(found).all(axis=1, keepdims=True), found, 0.0).sum(axis=2)
    there = np.isfinite(found).all(axis=1).any(axis=1)
    above = np.where(there[:, None], total - total.min(axis=1, keepdims=True), np.nan)
    coords = {"phase": data["phase"], "size_model": label("size_model", np.arange(1, len(MODELS) + 1), ("size_model",))}
    coords["size_model"].attrs["names"] = list(MODELS)
    return dataset([label("size_model_bic", above, ("phase", "size_model"), coords=coords)])


def _chosen(present: np.ndarray) -> list[tuple[int, ...]]:
    """A few temperatures with a refinement, from the first to the last."""
    good = np.flatnonzero(present.any(axis=1))
    even = np.unique(np.linspace(0, good.size - 1, min(_TEMPERATURES, good.size)).round().astype(int))
    return [(int(good[number]),) for number in even]


def _bic(powder: Powder, data: xr.Dataset, number: int, model: str) -> float:
    """The criterion with one model of one phase; NaN where the phase is not there or no refinement ends."""
    present = np.asarray(data["phase_present"].values, dtype=bool)
    if not present[number]:
        return float("nan")
    phases = [_tried(phase, model) if k == number else phase for k, phase in enumerate(powder.phases) if present[k]]
    try:
        return _refined(powder, patterns_of(powder, data), phases, data)
    except MeasurementError:
        return float("nan")


def _refined(powder: Powder, patterns: Sequence[Pattern], phases: Sequence[Crystallite], data: xr.Dataset) -> float:
    numbers = dict(zip(data["number"].attrs["names"], data["refined_number"].values.tolist(), strict=True))
    kept = {name: value for name, value in numbers.items() if np.isfinite(value)}
    plan = for_phases(powder.plan, patterns, phases, {**kept, **(powder.plan.start or {})})
    found = refine(patterns, phases, plan)
    return found.bic if found.fit.outcome in ("converged", "bound") else float("nan")


def _tried(phase: Crystallite, model: str) -> Crystallite:
    choices: CrystalliteChoices = replace(phase.choices, **MODELS[model])  # type: ignore[arg-type]
    return crystallite_of(phase.phase, choices)


STEPS = (
    Step(
        "sizes",
        sizes,
        needs=(REFERENCES, *_NEEDED),
        makes=("size_model_bic",),
        choices=("instrument", "phases", "banks", "diffraction"),
    ),
)
