"""Do the numbers of a report hold over seeds? Whole virtual studies, every number of the comparison of samples.

Every seed is another specimen of each sample, measured with other noise. A study is made in parts (lab, cells, ...),
each as small as its preset allows, read from its raw files and analysed as a person would, without the report. Kept of
it: every reading that samples are compared by, with its interval and its truth, and every difference with its own.
What is kept for a part and seed stands in a file of the folder, so that a run goes on where it was stopped; raw files
and studies are removed as soon as their numbers are taken.

python -m benchmarks.summary FOLDER [PART ...]   makes what is missing of these parts (all), seed after seed
python -m benchmarks.summary FOLDER tables       prints the tables of what is there
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr

from cathoscope.core.parallel import Resources, Silent
from cathoscope.core.study import Study
from cathoscope.flow.recipe import Recipe, load_recipe
from cathoscope.flow.relations import Member, gathered_members
from cathoscope.flow.run import run
from cathoscope.flow.steps.relate_readings import Found, readings_of
from cathoscope.flow.steps.relate_samples import SAMPLES
from cathoscope.relate.sample_metrics import METRICS
from cathoscope.virtual.study import simulate_study

SEEDS = range(1, 21)
_DIFFRACTION = """[[part]]
preset = "hou-diffraction-specimen"
[part.sampling]
temperatures = [25.0, 138.0, 160.0, 250.0]
xrays = []
kelvin = 8.0
"""
_XANES = """[[part]]
preset = "hou"
temperatures = [25, 150]
[part.sampling]
columns = 48
rows = 48
projections = 60
cells = 53
"""
PARTS: Mapping[str, str] = {
    "lab": '[[part]]\npreset = "hou-lab"\n[part.sampling]\nkelvin = 8.0\n',
    "cells": '[[part]]\npreset = "hou-cells"\n[part.sampling]\ninterval = 0.3\nstep = 0.1\n',
    "diffraction": _DIFFRACTION,
    "xanes": _XANES,
    "slices": '[[part]]\npreset = "cadiou-cycling"\nstacks = []\n',
    "particle-cells": '[[part]]\npreset = "cadiou-cells"\n',
}
LEAVE_OUT = ("events", "oxygen", "place", "cycles", "kinetics")
"""Relations whose intervals have benchmarks of their own."""
STATED = ("metal_share", "lithium_per_metal", "porosity_at_cycle")
"""Numbers that a report states of one measurement beside those that samples are compared by."""
_PHASE_BEGINS, _PHASE_ENDS = 0.05, 0.95  # share of spinel, at which a transition begins and is complete
_COMPARED = {metric.array for metric in METRICS}
_SAME = 0.5  # degC, eV or cycles
_FINE = 5.0  # K
_NOMINAL = {"specific_capacity", "capacity_retention"}  # of the cell in the middle of the scatter, in a file beside


@dataclass(frozen=True)
class Value:
    """A reading with its standard uncertainties downwards and upwards, its truth, and what others share of it."""

    quantity: str
    member: str
    sample: str
    place: str
    series: str
    unit: str
    kind: str
    value: float
    below: float
    above: float
    truth: float | None
    std: float
    causes: Mapping[str, float]


@dataclass(frozen=True)
class Compared:
    """A difference of samples: ends of its intervals, truth, chance, scope."""

    quantity: str
    place: str
    kind: str
    scope: int
    value: float
    interval: tuple[float, float]
    wide_interval: tuple[float, float]
    std: float
    probability: float
    truth: float | None


# -- truths ---------------------------------------------------------------------------------------------------------


def true_data(data: xr.Dataset, truth: xr.Dataset) -> xr.Dataset:
    """The results with their values replaced by true ones, NaN where the truth does not say."""
    out = data.load().copy(deep=True)
    for name in map(str, data.data_vars):
        if name not in _COMPARED and name not in STATED:
            continue
        out[name] = data[name].copy(data=_true_values(name, data[name], truth))
    return out


def _true_values(name: str, array: xr.DataArray, truth: xr.Dataset) -> np.ndarray:
    if name == "difference_mean":
        return _steps(array, truth)
    if name in ("transition_onset", "transition_end"):
        return np.full(array.shape, _crossing(truth, _PHASE_BEGINS if name == "transition_onset" else _PHASE_ENDS))
    source = "porosity" if name == "porosity_trend" else name
    nothing = np.full(array.shape, np.nan)
    if source not in truth or set(truth[source].dims) != set(array.dims):
        return nothing
    true = truth[source].transpose(*array.dims)
    places = [_matched(array, true, str(dim)) for dim in array.dims]
    if not places:
        return np.asarray(true.values, dtype=np.float64)
    values = np.asarray(true.values[np.ix_(*[np.maximum(one, 0) for one in places])], dtype=np.float64)
    return np.where(reduce(np.minimum, np.ix_(*places)) >= 0, values, np.nan)


def _matched(array: xr.DataArray, true: xr.DataArray, dim: str) -> np.ndarray:
    """Where along the truth's dimension each place of the result's lies; -1 for nowhere."""
    ours, theirs = (_names(one, dim) for one in (array, true))
    if ours and theirs:
        return np.array([next((k for k, one in enumerate(theirs) if _alike(name, one)), -1) for name in ours])
    if dim in array.coords and dim in true.coords:
        gap = np.abs(np.subtract.outer(array[dim].values.astype(float), true[dim].values.astype(float)))
        return np.where(gap.min(axis=1) <= _SAME, gap.argmin(axis=1), -1)
    return np.arange(array.sizes[dim]) if array.sizes[dim] == true.sizes[dim] else np.full(array.sizes[dim], -1)


def _names(array: xr.DataArray, dim: str) -> list[str]:
    return list(map(str, array[dim].attrs.get("names", ()))) if dim in array.coords else []


def _alike(ours: str, theirs: str) -> bool:
    """A truth calls its spectra by their state alone."""
    return ours == theirs or ours.endswith(f" {theirs}")


def _steps(array: xr.DataArray, truth: xr.Dataset) -> np.ndarray:
    """Mean shifts from temperature to temperature."""
    if "white_line_mean" not in truth:
        return np.full(array.shape, np.nan)
    return np.diff(truth["white_line_mean"].values)[: array.size]


def _crossing(truth: xr.Dataset, level: float) -> float:
    """Temperature at which the share of spinel first passes ``level``."""
    if "weight_fraction" not in truth or truth.sizes.get("temperature", 0) < 2:
        return np.nan
    share = np.nan_to_num(truth["weight_fraction"].isel(phase=-1).values)
    after = np.flatnonzero(share >= level)
    if not after.size or after[0] == 0:
        return np.nan
    pair = slice(int(after[0]) - 1, int(after[0]) + 1)
    if np.ptp(truth["temperature"].values[pair]) > _FINE:
        return np.nan  # the truth is told at the temperatures of the patterns only
    return float(np.interp(level, share[pair], truth["temperature"].values[pair]))


# -- one study ------------------------------------------------------------------------------------------------------


def made(part: str, seed: int, folder: Path) -> tuple[Recipe, Study]:
    """One part of the study of a seed, simulated and analysed without a report."""
    whole = folder / "whole.toml"
    whole.write_text(f'title = "{part}"\n{PARTS[part]}', "utf-8")
    simulate_study(str(whole), size="small", seed=seed, folder=folder / "s", resources=Resources(threads=1))
    text = (folder / "s" / "study.toml").read_text("utf-8")
    (folder / "s" / "study.toml").write_text(f"{text}\n[relate]\nleave_out = {json.dumps(LEAVE_OUT)}\n", "utf-8")
    recipe = load_recipe(folder / "s" / "study.toml")
    outcome = run(recipe, folder / "s" / "study.zarr", resources=Resources(threads=1), progress=Silent())
    for failed in outcome.failed:
        print(f"{part}, seed {seed}, {failed.name}: {failed.failure}", flush=True)
    return recipe, Study.open(folder / "s" / "study.zarr")


def taken(recipe: Recipe, study: Study) -> dict[str, Any]:
    """Readings, differences and what identical samples are tested by."""
    values = [one for member in _members(recipe, study) for one in _values(study, member)]
    return {"values": values, "compared": list(_compared(study, values))}


def _members(recipe: Recipe, study: Study) -> list[Member]:
    """Measurements with what samples are compared by, and the other numbers of a report."""
    wider = replace(SAMPLES, uses=(*SAMPLES.uses, *STATED))
    return [one for one in gathered_members(recipe, study, wider) if one.technique != "relation"]


def _values(study: Study, member: Member) -> Iterator[Value]:
    data = member.data.load()
    member = replace(member, data=data)
    truths = study.truth(member.name) if member.name in study.measurements("truth") else xr.Dataset()
    true = replace(member, data=true_data(data, truths))
    for metric in METRICS:
        known = {_key(one): one.reading.value for one in readings_of(true, metric)}
        yield from (_value(metric.array, member, one, known.get(_key(one))) for one in readings_of(member, metric))
    for name in STATED:
        if name in data and f"{name}_std" in data and name not in _COMPARED:
            yield from _stated(name, member, true.data)


def _key(found: Found) -> tuple[str, str, str]:
    return found.place, found.series, found.reading.unit


def _value(name: str, member: Member, found: Found, truth: float | None) -> Value:
    one = found.reading
    shared = float(np.sqrt(sum(std**2 for std in one.causes.values())))
    below, above = (float(np.hypot(end, shared)) for end in one.ends or (one.std, one.std))
    place, numbers = (found.place, found.series, one.unit, found.kind), (one.value, below, above)
    return Value(name, member.name, member.sample, *place, *numbers, truth, one.std, dict(one.causes))


def _stated(name: str, member: Member, true: xr.Dataset) -> Iterator[Value]:
    """All values of an array that have an uncertainty, each by the names of its places."""
    array, std = member.data[name], np.asarray(member.data[f"{name}_std"].values, np.float64)
    for index in np.ndindex(array.shape):
        value, sigma, truth = float(array.values[index]), float(std[index]), float(true[name].values[index])
        if not np.isfinite([value, truth]).all() or not sigma > 0:
            continue
        of = zip(map(str, array.dims), index, strict=True)
        words = [_name(array, dim, at).replace(member.sample, "").strip() for dim, at in of]
        place = ", ".join(filter(None, words))
        yield Value(name, member.name, member.sample, place, "", "", "", value, sigma, sigma, truth, sigma, {})


def _name(array: xr.DataArray, dim: str, index: int) -> str:
    names = _names(array, dim)
    return names[index] if names else f"{dim} {index + 1}"


def _compared(study: Study, values: Sequence[Value]) -> Iterator[Compared]:
    """Rows of the comparison of samples; the truth of samples of several cells is that of the cell in the middle."""
    found = study.read("result", "across-samples")
    about = found["comparison"].attrs
    for row in range(found.sizes["comparison"]):
        name, place, kind = (about[key][row] for key in ("arrays", "places", "kinds"))
        at = {
            key: float(found[f"comparison_{key}"][row])
            for key in ("difference", "low", "high", "wide_low", "wide_high", "difference_std", "probability", "scope")
        }
        sides = [_side(study, values, (name, place), about[key][row]) for key in ("first", "second")]
        truth = None if None in sides else sides[0] - sides[1]
        yield Compared(
            name,
            place,
            kind,
            int(at["scope"]),
            at["difference"],
            (at["low"], at["high"]),
            (at["wide_low"], at["wide_high"]),
            at["difference_std"],
            at["probability"],
            truth,
        )


def _side(study: Study, values: Sequence[Value], what: tuple[str, str], sample: str) -> float | None:
    """Truth of one sample in one comparison."""
    name, place = what
    of = [one for one in values if one.quantity == name and one.sample == sample]
    of = [one for one in of if place in (one.place, ", ".join(filter(None, (one.place, one.series))))]
    if name in _NOMINAL and of and of[0].kind == "cell":
        return _in_the_middle(study, of[0])
    truths = [one.truth for one in of]
    return None if not truths or None in truths else float(np.mean(truths))


def _in_the_middle(study: Study, one: Value) -> float | None:
    """Capacity or retention of the cell from which those of a sample depart."""
    place = study.path.parent / "truth" / f"{one.member}.h5"
    if not place.exists():
        return None
    with h5py.File(place) as file:
        if one.quantity not in file:
            return one.truth  # a single particle is its own
        cycles = np.asarray(file["cycle"])
        number = next((float(word.removeprefix("cycle ")) for word in one.place.split(", ") if "cycle" in word), None)
        at = np.flatnonzero(cycles == number)
        return float(file[one.quantity][at[0]]) if at.size else None


# -- all of them ----------------------------------------------------------------------------------------------------


def keep(folder: Path, part: str, seed: int) -> None:
    """Make one part of one seed, unless it is there."""
    place = folder / f"{part}-{seed:02d}.json"
    if place.exists():
        return
    began, cpu = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as scratch:
        recipe, study = made(part, seed, Path(scratch))
        found = taken(recipe, study)
    found = {key: [asdict(one) for one in rows] for key, rows in found.items()}
    found["seconds"] = [time.perf_counter() - began, time.process_time() - cpu]
    partial = place.with_suffix(".partial")
    partial.write_text(json.dumps(found), "utf-8")
    partial.replace(place)
    words = f"{len(found['values'])} numbers, {len(found['compared'])} differences"
    print(f"{part}, seed {seed}: {words}, {found['seconds'][1]:.0f} s of one core", flush=True)


def kept(folder: Path, parts: Iterable[str]) -> Iterator[tuple[str, int, list[Value], list[Compared]]]:
    """What the folder holds: part, seed, readings, differences."""
    for part in parts:
        for seed in SEEDS:
            place = folder / f"{part}-{seed:02d}.json"
            if place.exists():
                found = json.loads(place.read_text("utf-8"))
                values = [Value(**one) for one in found["values"]]
                yield part, seed, values, [Compared(**one) for one in found["compared"]]


def main(arguments: Sequence[str]) -> int:
    """Make what is missing, or print tables; 1 if a table shows a failure."""
    if not arguments:
        print(__doc__)
        return 2
    folder, chosen = Path(arguments[0]), arguments[1:] or list(PARTS)
    if chosen == ["tables"]:
        from benchmarks.summary_tables import tables

        return tables(list(kept(folder, PARTS)))
    folder.mkdir(parents=True, exist_ok=True)
    for seed in SEEDS:
        for part in chosen:
            keep(folder, part, seed)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
