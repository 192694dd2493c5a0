"""What a refined series says as a whole: onset and end of a transition, expansion, peaks that no phase explains."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.schema import dataset, label
from cathoscope.flow.graph import REFERENCES, Context, Step
from cathoscope.flow.sections import MeasurementSection
from cathoscope.flow.steps.diffraction_plan import patterns_of, powder_of
from cathoscope.powder.transition import Step as Transition
from cathoscope.powder.transition import expansion_of, step_of
from cathoscope.powder.unexplained import Series, Unexplained, through_series, unexplained_peaks

Floats = NDArray[np.float64]

_EDGES = ("lattice_a", "lattice_b", "lattice_c")
_PLACES = ("transition_onset", "transition_end")
_TRANSITION = (
    *(f"{name}{end}" for name in _PLACES for end in ("", "_std", "_low", "_high")),
    "weight_fraction_trend",
    "thermal_expansion",
    "thermal_expansion_std",
)
_UNEXPLAINED = tuple(f"unexplained_{part}" for part in ("spacing", "strength", "temperature", "count", "bank"))
_NEEDED = (*(f"{name}{end}" for name in (*_EDGES, "weight_fraction") for end in ("", "_std")),)
_PATTERNS = ("tof", "two_theta", "diffraction_counts", "diffraction_counts_std")
_CURVES = ("diffraction_difference", "diffraction_fit", "diffraction_background")


def transition(context: Context) -> xr.Dataset:
    """Onset and end of the change of every phase, and how its cell expands beside that."""
    data = context.data
    if "temperature" not in data["weight_fraction"].dims:
        data = data.expand_dims(temperature=[np.nan])  # a single pattern: there is nothing to follow
    temperature, phases = np.asarray(data["temperature"].values, dtype=np.float64), data.sizes["phase"]
    share, std = (np.asarray(data[f"weight_fraction{end}"].values) for end in ("", "_std"))
    found = [step_of(temperature, share[:, number], std[:, number]) for number in range(phases)]
    coords = {dim: data[dim] for dim in ("temperature", "phase")} | {"edge": label("edge", np.arange(3), ("edge",))}
    arrays = [_intervals(name, found, coords) for name in _PLACES]
    flat = [one for each in arrays for one in each]
    trend = np.full(share.shape, np.nan)
    for number, one in enumerate(found):
        if one is not None:
            trend[:, number] = one.curve
    dims = ("temperature", "phase") if "temperature" in context.data["weight_fraction"].dims else ("phase",)
    flat.append(label("weight_fraction_trend", trend if len(dims) == 2 else trend[0], dims, coords=coords))
    flat[-1].attrs["families"] = ["none" if one is None else one.family for one in found]
    flat += _expansions(data, temperature, found, coords)
    flat[0].attrs["remarks"] = _remarks(data, found)
    return dataset(flat)


def _intervals(name: str, found: Sequence[Transition | None], coords: dict[str, xr.DataArray]) -> list[xr.DataArray]:
    """A place in temperature of every phase, with the ends of its interval, and half of that as uncertainty."""
    which = "onset" if name.endswith("onset") else "end"
    table = np.array([(np.nan,) * 3 if one is None else tuple(getattr(one, which)) for one in found], dtype=np.float64)
    value, low, high = table.reshape(-1, 3).T
    with np.errstate(invalid="ignore"):
        half = np.where(np.isfinite(value) & np.isfinite(high - low), 0.5 * (high - low), np.nan)
    return [
        label(name, value, ("phase",), coords=coords),
        label(f"{name}_std", half, ("phase",), coords=coords, std_source="fit covariance"),
        label(f"{name}_low", low, ("phase",), coords=coords),
        label(f"{name}_high", high, ("phase",), coords=coords),
    ]


def _expansions(
    data: xr.Dataset, temperature: Floats, found: Sequence[Transition | None], coords: dict[str, xr.DataArray]
) -> list[xr.DataArray]:
    """Expansion of every edge below the onset of any change; of a phase that is not there then, above the end."""
    onsets = [one.onset.low for one in found if one is not None]
    ends = [one.end.high for one in found if one is not None]
    below = temperature < min(onsets, default=np.inf)
    above = temperature > max(ends, default=np.inf)
    table = np.full((2, data.sizes["phase"], len(_EDGES)), np.nan)
    for column, name in enumerate(_EDGES):
        edge, std = (np.asarray(data[f"{name}{end}"].values) for end in ("", "_std"))
        for number in range(data.sizes["phase"]):
            for part in (below, above):
                if np.isnan(table[0, number, column]):
                    table[:, number, column] = expansion_of(temperature[part], edge[part, number], std[part, number])
    dims = ("phase", "edge")
    return [
        label("thermal_expansion", table[0], dims, coords=coords),
        label("thermal_expansion_std", table[1], dims, coords=coords, std_source="fit covariance"),
    ]


def _remarks(data: xr.Dataset, found: Sequence[Transition | None]) -> list[str]:
    """What of a transition the series does not reach."""
    words = []
    for name, one in zip(data["phase"].attrs["names"], found, strict=True):
        if one is not None and not np.isfinite(one.onset.value):
            words.append(f"the change of {name} has begun before the first temperature")
        if one is not None and not np.isfinite(one.end.value):
            words.append(f"the change of {name} has not ended at the last temperature")
    return words


def unexplained(context: Context) -> xr.Dataset:
    """Peaks in what the refinements leave, taken together over the temperatures."""
    data = context.data
    powder = powder_of(context.section, context.data_folder, data)
    temperatures = data["temperature"].values if "temperature" in data["diffraction_fit"].dims else np.array([np.nan])
    names = [bank.name for bank in powder.banks]
    peaks: list[list[list[Unexplained]]] = []
    for place in range(temperatures.size):
        here = data.isel(temperature=place) if "temperature" in data["diffraction_fit"].dims else data
        found: list[list[Unexplained]] = [[] for _ in names]
        gof = float(here["goodness_of_fit"])
        for pattern in patterns_of(powder, here) if np.isfinite(gof) else ():
            row = names.index(pattern.name)
            left, fit, background = (_used(here[name], row, pattern.used) for name in _CURVES)
            std = pattern.std[pattern.used] * max(gof, 1.0)
            found[row] = unexplained_peaks(pattern, left, fit - background, std)
        peaks.append(found)
    series = through_series(peaks)
    return _listed(series, np.asarray(temperatures, dtype=np.float64), names)


def _used(array: xr.DataArray, row: int, used: NDArray[np.bool_]) -> Floats:
    values = np.asarray(array.values[row], dtype=np.float64)[: used.size]
    return np.nan_to_num(values[used])


def _listed(series: Sequence[Series], temperatures: Floats, names: Sequence[str]) -> xr.Dataset:
    coords = {"unexplained": label("unexplained", np.arange(1, len(series) + 1), ("unexplained",))}
    columns = {
        "unexplained_spacing": np.array([one.spacing for one in series], dtype=np.float64),
        "unexplained_strength": np.array([one.strength for one in series], dtype=np.float64),
        "unexplained_temperature": np.array([temperatures[one.where] for one in series], dtype=np.float64),
        "unexplained_count": np.array([one.count for one in series], dtype=np.int16),
        "unexplained_bank": np.array([one.bank + 1 for one in series], dtype=np.int16),
    }
    arrays = [label(name, values, ("unexplained",), coords=coords) for name, values in columns.items()]
    if series:
        told = ", ".join(f"{one.spacing:.4g} A ({one.strength:.0f} sigma, {names[one.bank]})" for one in series[:5])
        more = f" and {len(series) - 5} more" if len(series) > 5 else ""
        arrays[0].attrs["remarks"] = [f"peaks that no phase explains: {told}{more}"]
    return dataset(arrays)


def steps(section: MeasurementSection) -> tuple[Step, ...]:
    """The steps that look at a series as a whole."""
    return (
        Step("transition", transition, needs=_NEEDED, makes=_TRANSITION),
        Step(
            "unexplained peaks",
            unexplained,
            needs=(REFERENCES, *_PATTERNS, *_CURVES, "goodness_of_fit"),
            makes=_UNEXPLAINED,
            choices=("instrument", "phases", "banks", "diffraction"),
        ),
    )
