"""A complete virtual study on disk: raw files, truth, and the recipe that analyses it."""

from __future__ import annotations

import os
from pathlib import Path

from cathoscope.core.errors import StudyError
from cathoscope.core.parallel import Progress
from cathoscope.core.study import Study
from cathoscope.virtual.presets import SimulatedStudy, simulate


def simulate_study(
    preset: str, *, size: str, seed: int, folder: Path, progress: Progress | None = None, threads: int = 1
) -> Path:
    """Write ``folder/raw``, the truth into ``folder/study.zarr`` and the recipe ``folder/study.toml``.

    Returns the recipe.

    Raises
    ------
    CathoscopeError
        If preset, size or seed are not known.
    StudyError
        If the folder holds something else or cannot be written.
    """
    recipe = folder / "study.toml"
    if folder.exists() and not folder.is_dir():
        raise StudyError("this is not a folder", where=folder, cure="choose another one with --output")
    simulated = simulate(preset, size=size, seed=seed, folder=folder, progress=progress, threads=threads)
    study = Study.create(folder / "study.zarr")
    with study.locked():
        for measurement, truth in simulated.truth.items():
            study.write("truth", measurement, truth)
    temporary = recipe.with_suffix(".toml.partial")
    temporary.write_text(_recipe_text(preset, seed, simulated), encoding="utf-8")
    os.replace(temporary, recipe)
    return recipe


def _recipe_text(preset: str, seed: int, simulated: SimulatedStudy) -> str:
    name = simulated.measurement
    below, above = simulated.windows.below, simulated.windows.above
    series = "\n".join(
        f'[[measurement.{name}.series]]\ntemperature = "{temperature:g} C"\nfiles = "{pattern}"\n'
        for temperature, pattern in simulated.patterns.items()
    )
    return f"""\
# Written by: cathoscope simulate {preset}; seed {seed}.

[study]
title = "Virtual experiment: {preset}, seed {seed}"

[sample.{name}]
composition = "LiNi0.8Mn0.1Co0.1O2"
particle = "virtual"

[measurement.{name}]
sample = "{name}"
technique = "xanes-tomography"

[measurement.{name}.edge]
pre_edge = ["{below[0]:g} eV", "{below[1]:g} eV"]
post_edge = ["{above[0]:g} eV", "{above[1]:g} eV"]

{series}"""
