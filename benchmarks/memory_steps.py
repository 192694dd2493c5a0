"""Peak memory and processor time of single steps of a run, each in a process of its own.

    python -m benchmarks.memory_steps --study STUDY --recipe RECIPE --measurement NAME --steps "particle mask" clusters
        [--memory 4GB] [--times 2] [--temperatures 1] [--keep FOLDER]

What a step needs is read from a finished study, which is not written to; what it makes goes into a study of its own,
which is thrown away or kept in a folder, to compare two versions by. ``--times 2`` makes every voxel two along each
axis first: eight times the voxels, with what the real ones hold. Told is what a process held beyond what it holds with
everything imported, in bytes per voxel too.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from cathoscope.core.parallel import Resources, Silent
from cathoscope.core.study import NewArray, Study, Work
from cathoscope.flow.graph import Context, Step
from cathoscope.flow.raw import RawMeasurement
from cathoscope.flow.recipe import load_recipe
from cathoscope.flow.run import small_arrays_loaded
from cathoscope.flow.sections import MeasurementSection
from cathoscope.flow.steps import TECHNIQUES

BESIDES = 0.5e9  # bytes: interpreter, libraries, kernels
_SPACE = ("z", "y", "x")


class Told(Silent):
    """What a step remarks, on the standard error."""

    def remark(self, text: str) -> None:
        """Tell it."""
        print(text, file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; 1 if a step took more than it may."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--study", type=Path, required=True, help="a finished study")
    parser.add_argument("--recipe", type=Path, required=True, help="its recipe, for the choices of the steps")
    parser.add_argument("--measurement", required=True)
    parser.add_argument("--steps", nargs="+", required=True, help="names of steps")
    parser.add_argument("--memory", default="4GB")
    parser.add_argument("--times", type=int, default=1, help="make every voxel this many along each axis")
    parser.add_argument("--temperatures", type=int, help="only the first ones")
    parser.add_argument("--keep", type=Path, help="folder in which what the steps make is kept")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.alone:
        print(json.dumps(_measured(options)))
        return 0
    kept = [_holds(name, options) for name in options.steps]
    return 0 if all(kept) else 1


def _holds(name: str, options: argparse.Namespace) -> bool:
    """Run a step in a process of its own, print what it took, and say whether that was allowed."""
    with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
        study = options.study
        if options.times > 1 or options.temperatures:
            study = Path(scratch) / "enlarged.zarr"
            _enlarge(Study(options.study), Study.create(study), _step(name, options), options)
        given = {"--study": study, "--recipe": options.recipe, "--measurement": options.measurement, "--steps": name}
        given |= {"--memory": options.memory, "--keep": options.keep or Path(scratch) / "made"}
        words = [str(word) for pair in given.items() for word in pair]
        command = [sys.executable, "-m", "benchmarks.memory_steps", "--alone", *words]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    kept = bool(found["peak"] <= _bytes(options.memory) + BESIDES)
    beyond = found["peak"] - found["before"]
    print(
        f"{name:24} --memory {options.memory:6} peak {found['peak'] / 1e9:5.2f} GB, {beyond / found['voxels']:5.1f} "
        f"bytes per voxel, {found['seconds']:6.1f} s of processor time, {found['wall']:6.1f} s"
        f"{'' if kept else '  MORE than it may'}",
        flush=True,
    )
    return kept


def _bytes(words: str) -> float:
    return float(words.removesuffix("GB")) * 1e9


def _section(options: argparse.Namespace) -> MeasurementSection:
    return load_recipe(options.recipe).model.measurement[options.measurement]


def _step(name: str, options: argparse.Namespace) -> Step:
    """The step of a name that the recipe's choices ask for."""
    section = _section(options)
    return next(step for step in TECHNIQUES[section.technique].steps_for(section) if step.name == name)


def _uses(step: Step, study: Study, options: argparse.Namespace) -> list[str]:
    there = study.arrays("result", options.measurement)
    return [*step.needs, *(name for name in step.optional if name in there)]


def _measured(options: argparse.Namespace) -> dict[str, float]:
    """Run one step in this process."""
    step, section, study = _step(options.steps[0], options), _section(options), Study(options.study)
    data = small_arrays_loaded(study.read("result", options.measurement, _uses(step, study, options)))
    work = Work(Study.create(options.keep), "result", options.measurement, step.name.replace(" ", "-"))
    context = Context(
        name=options.measurement,
        raw=RawMeasurement(options.measurement, section),
        data=data,
        section=section,
        data_folder=options.recipe.parent,
        makes=step.makes,
        work=work,
        resources=Resources(memory=_bytes(options.memory)),
        progress=Told(),
    )
    before, began, used = _status("VmRSS"), time.perf_counter(), _processor()
    made = step.function(context)
    if made is not None:
        work.store_dataset(made[list(step.makes)])
    work.commit()
    return {
        "before": before,
        "peak": _status("VmHWM"),
        "seconds": _processor() - used,
        "wall": time.perf_counter() - began,
        "voxels": float(np.prod([data.sizes[dim] for dim in _SPACE])),
    }


def _status(key: str) -> float:
    """Memory of this process, bytes: now (VmRSS), or the most so far (VmHWM)."""
    return 1024.0 * int(Path("/proc/self/status").read_text().split(f"{key}:")[1].split()[0])


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


# -- the same study with more voxels, or fewer temperatures


def _enlarge(source: Study, target: Study, step: Step, options: argparse.Namespace) -> None:
    """What a step uses, written slab by slab."""
    data = source.read("result", options.measurement, _uses(step, source, options))
    count = data.sizes.get("temperature", 0)
    fewer = {"temperature": slice(0, options.temperatures)} if count else {}
    data = data.isel(fewer)
    coords: dict[Any, xr.DataArray] = dict(data.coords)
    for dim in _SPACE:
        values = data[dim].values
        step_size = float(values[1] - values[0])
        inside = (np.arange(options.times) - (options.times - 1) / 2) * step_size / options.times
        coords[dim] = xr.DataArray((values[:, None] + inside).ravel(), dims=dim, attrs=data[dim].attrs)
    work = Work(target, "result", options.measurement, "enlarged")
    for name, array in data.data_vars.items():
        dims = tuple(map(str, array.dims))
        shape = tuple(coords[dim].size if dim in coords else array.sizes[dim] for dim in dims)
        attrs = {key: _of_fewer(value, count, options.temperatures) for key, value in array.attrs.items()}
        work.prepare([NewArray(str(name), dims, shape, str(array.dtype), attrs)], coords)
        _fill(work, array, options.times)
    work.commit()


def _of_fewer(value: Any, count: int, kept: int | None) -> Any:
    """An attribute with one value for every temperature, for those that are kept."""
    return value[:kept] if isinstance(value, list) and len(value) == count else value


def _fill(work: Work, array: xr.DataArray, times: int) -> None:
    """Every voxel ``times`` along each axis, eight rows of the source at a time."""
    if not set(_SPACE) <= set(array.dims):
        work.store(str(array.name), (), np.asarray(array.values))
        return
    for index in np.ndindex(array.shape[:-3]):
        for start in range(0, array.sizes["z"], 8):
            values = array[index][start : start + 8].values
            for axis in range(3):
                values = np.repeat(values, times, axis=axis)
            work.store(str(array.name), (*index, slice(start * times, start * times + len(values))), values)


if __name__ == "__main__":
    sys.exit(main())
