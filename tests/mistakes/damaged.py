"""Raw files of the virtual spheres to do something to, and their steps one after the other."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np
import xarray as xr

from cathoscope.core.parallel import Resources, Silent
from cathoscope.core.schema import label
from cathoscope.core.study import Study, Work
from cathoscope.flow.raw import RawMeasurement
from cathoscope.flow.recipe import load_recipe
from cathoscope.flow.run import Plan, context_of, plan_measurement, recall_remarks
from cathoscope.flow.sections import MeasurementSection

NAME = "spheres"
_FOLDERS = {25: ("raw/spheres_025C", 100_101), 150: ("raw/spheres_150C", 100_131)}


def file_of(temperature: int, scan: int) -> str:
    """Raw file of a scan, relative to the folder of the virtual experiment."""
    folder, first = _FOLDERS[temperature]
    return f"{folder}/fly_scan_id_{first + scan}.h5"


def copied(spheres: Path, folder: Path, scans: Mapping[int, Iterable[int]], choices: str = "") -> Path:
    """A folder with copies of some scans of each temperature, and a recipe of them with some ``choices``."""
    lines = [f'[sample.{NAME}]\n[measurement.{NAME}]\nsample = "{NAME}"\ntechnique = "xanes-tomography"', choices]
    for temperature, numbers in scans.items():
        files = [file_of(temperature, number) for number in numbers]
        for file in files:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(spheres / file, folder / file)
        listed = ", ".join(f'"{file}"' for file in files)
        lines.append(f'[[measurement.{NAME}.series]]\ntemperature = "{temperature} C"\nfiles = [{listed}]')
    (folder / "study.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def keep_projections(path: Path, kept: slice | Iterable[int]) -> None:
    """Write a scan again with some of its projections."""
    chosen = kept if isinstance(kept, slice) else list(kept)
    with h5py.File(path, "r+") as file:
        for name in ("img_tomo", "angle"):
            values = file[name][chosen]
            del file[name]
            file[name] = values


@dataclass(frozen=True)
class Done:
    """Steps of the measurement that were run, and where their arrays are."""

    study: Study
    plan: Plan

    @property
    def set_aside(self) -> dict[str, str]:
        """Files and reasons."""
        return {item.file: item.reason for item in self.plan.raw.set_aside}

    def remarks_on(self, text: str) -> list[str]:
        """Remarks that hold a text."""
        return [remark for remark in self.plan.raw.remarks if text in remark]


def run_steps(folder: Path, *, until: str, without: Collection[str] = ()) -> Done:
    """Run the steps of the recipe in ``folder`` as a run does, as far as ``until``."""
    plan = plan_measurement(load_recipe(folder / "study.toml", data=folder), NAME)
    study = Study.create(folder / "study.zarr")
    for node in plan.graph.nodes:
        if node.step.name in without:
            continue
        work = Work(study, "result", NAME, node.address)
        context = context_of(plan, node, work, study=study, resources=Resources(threads=1), progress=Silent())
        made = node.step.function(context)
        if made is not None:
            work.store_dataset(made[list(node.makes)])
        work.commit()
        recall_remarks(study, plan.raw, node.makes)
        if node.step.name == until:
            break
    return Done(study, plan)


def again(done: Done, step: str, folder: Path, changed: xr.Dataset) -> xr.Dataset:
    """What a step makes where some of its inputs are ``changed``."""
    node = next(node for node in done.plan.graph.nodes if node.step.name == step)
    study = Study.create(folder / f"{step}.zarr")
    work = Work(study, "result", NAME, node.address)
    context = context_of(done.plan, node, work, study=done.study, resources=Resources(threads=1), progress=Silent())
    data = context.data.assign({str(name): array for name, array in changed.data_vars.items() if name in context.data})
    made = node.step.function(replace(context, data=data))
    if made is not None:
        work.store_dataset(made[list(node.makes)])
    work.commit()
    return study.read("result", NAME).load()


def remarks_of(data: xr.Dataset) -> list[str]:
    """Remarks on all arrays."""
    return [remark for array in data.data_vars.values() for remark in array.attrs.get("remarks", ())]


def series_without_scans(foils: Mapping[int, str], temperatures: Sequence[int]) -> RawMeasurement:
    """A measurement of which only its temperatures and their foils are known."""
    series = [
        {"temperature": f"{t} C", "files": ["*.h5"], **({"foil": foils[t]} if t in foils else {})} for t in temperatures
    ]
    section = MeasurementSection.model_validate({"sample": "rod", "technique": "xanes-tomography", "series": series})
    raw = RawMeasurement("rod", section, dims=("temperature", "energy"))
    raw.coords["temperature"] = label("temperature", np.array(temperatures, dtype=float), ("temperature",))
    raw.coords["energy"] = label("energy", np.array([8300.0, 8400.0]), ("energy",))
    return raw
