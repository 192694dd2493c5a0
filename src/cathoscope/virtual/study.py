"""A complete virtual study on disk: raw files, truth, and the recipe that analyses it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from cathoscope.core.errors import CathoscopeError, StudyError
from cathoscope.core.parallel import Progress, Resources, Silent
from cathoscope.core.study import Study
from cathoscope.virtual.outline import Simulated, recipe_text
from cathoscope.virtual.own_preset import load_preset
from cathoscope.virtual.particle_presets import PARTICLE_PRESETS, size_of
from cathoscope.virtual.particle_study import Plan, simulate_heating
from cathoscope.virtual.presets import PRESETS, simulate
from cathoscope.virtual.pristine_study import simulate_nano_ct


def simulate_study(
    preset: str,
    *,
    size: str,
    seed: int,
    folder: Path,
    particles: int = 1,
    resources: Resources | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write ``folder/raw``, the truth into ``folder/study.zarr`` and the recipe ``folder/study.toml``.

    Returns the recipe. ``preset`` is a name, or a file that changes one, see `own_preset`; ``particles`` of each sample
    are imaged.

    Raises
    ------
    CathoscopeError
        If preset, size, seed or number of particles are not possible, or there is no room on the disk.
    StudyError
        If the folder holds something else or cannot be written.
    """
    recipe = folder / "study.toml"
    own = load_preset(Path(preset)) if preset.endswith(".toml") else None
    if own is None and preset not in {**PARTICLE_PRESETS, **PRESETS}:
        known = " or ".join([*PARTICLE_PRESETS, *PRESETS])
        raise CathoscopeError(f"unknown preset {preset!r}", expected=known, cure="simulate hou")
    if folder.exists() and not folder.is_dir():
        raise StudyError("this is not a folder", where=folder, cure="choose another one with --output")
    resources, progress = resources or Resources(), progress or Silent()
    if preset in PRESETS:
        measurements = _spheres(preset, size, seed, particles, folder, resources, progress)
    else:
        chosen = own or PARTICLE_PRESETS[preset]
        plan = Plan(chosen, size_of(chosen, size), seed, particles)
        place = folder / "study.zarr"
        new = not place.exists()
        study = Study.create(place)
        make = simulate_heating if chosen.temperatures else simulate_nano_ct
        try:
            with study.locked():
                measurements = make(study, plan, resources=resources, progress=progress)
        except CathoscopeError:
            # One that was refused before anything was written does not stay; another's is left alone.
            if new and not study.measurements("truth") and not any(folder.glob("raw/*")):
                shutil.rmtree(place)
            raise
    temporary = recipe.with_suffix(".toml.partial")
    temporary.write_text(recipe_text(preset, seed, measurements), encoding="utf-8")
    os.replace(temporary, recipe)
    return recipe


def _spheres(
    preset: str, size: str, seed: int, particles: int, folder: Path, resources: Resources, progress: Progress
) -> Sequence[Simulated]:
    """Spheres are one measurement of all of them at once."""
    if particles != 1:
        raise CathoscopeError(
            "the spheres are simulated all together", expected="--particles 1", found=f"--particles {particles}"
        )
    simulated = simulate(preset, size=size, seed=seed, folder=folder, progress=progress, threads=resources.threads)
    study = Study.create(folder / "study.zarr")
    with study.locked():
        for measurement, truth in simulated.truth.items():
            study.write("truth", measurement, truth)
    name = simulated.measurement
    return [
        Simulated(name, name, "LiNi0.8Mn0.1Co0.1O2", None, "xanes-tomography", simulated.patterns, simulated.windows)
    ]
