"""A complete virtual study on disk: raw files, truth, and the recipe that analyses it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from cathoscope.core.errors import CathoscopeError, StudyError
from cathoscope.core.parallel import Progress, Resources, Silent
from cathoscope.core.study import Study
from cathoscope.virtual.cycling_study import chosen_size
from cathoscope.virtual.families import family_of, preset_names
from cathoscope.virtual.own_preset import load_preset
from cathoscope.virtual.particle_presets import PARTICLE_PRESETS, ParticlePreset, size_of
from cathoscope.virtual.particle_study import Plan, simulate_heating
from cathoscope.virtual.parts import Part, Whole, load_parts, merged_recipe
from cathoscope.virtual.presets import PRESETS, simulate
from cathoscope.virtual.pristine_study import simulate_nano_ct
from cathoscope.virtual.recipe_outline import Simulated, recipe_text

Maker = Callable[[Study, Resources, Progress], str]
"""What writes the raw files and the truth into a study, and returns the recipe."""


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

    Returns the recipe. ``preset`` is a name, a file that changes one, see `own_preset`, or a file of several parts, see
    `parts`; ``particles`` of each sample are imaged.

    Raises
    ------
    CathoscopeError
        If preset, size, seed or number of particles are not possible, or there is no room on the disk.
    StudyError
        If the folder holds something else or cannot be written.
    """
    recipe = folder / "study.toml"
    is_file = preset.endswith(".toml")
    whole = load_parts(Path(preset)) if is_file else None
    if not is_file:
        _require_preset(preset, [*PRESETS])
    if folder.exists() and not folder.is_dir():
        raise StudyError("this is not a folder", where=folder, cure="choose another one with --output")
    resources, progress = resources or Resources(), progress or Silent()
    if preset in PRESETS:
        text = recipe_text(preset, seed, _spheres(preset, size, seed, particles, folder, resources, progress))
    else:
        make = _maker(preset, size, seed, particles) if whole is None else _whole(preset, whole, size, seed, particles)
        place = folder / "study.zarr"
        new = not place.exists()
        study = Study.create(place)
        try:
            with study.locked():
                text = make(study, resources, progress)
        except CathoscopeError:
            # One that was refused before anything was written does not stay; another's is left alone.
            if new and not study.measurements("truth") and not any(folder.glob("raw/*")):
                shutil.rmtree(place)
            raise
    temporary = recipe.with_suffix(".toml.partial")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, recipe)
    return recipe


def _require_preset(preset: str, others: Sequence[str] = ()) -> None:
    names = [*PARTICLE_PRESETS, *preset_names(), *others]
    if preset not in names:
        known = " or ".join(names)
        raise CathoscopeError(f"unknown preset {preset!r}", expected=known, cure="simulate hou")


def _maker(preset: str, size: str, seed: int, particles: int) -> Maker:
    """Maker of a preset, or of a file that changes one.

    Raises
    ------
    CathoscopeError
        If size, seed or number of particles are not possible.
    """
    if preset.endswith(".toml"):
        return _imaged(preset, load_preset(Path(preset)), Part(preset, size), seed, particles)
    return _part_maker(Part(preset), size, seed, particles)


def _whole(source: str, whole: Whole, size: str, seed: int, particles: int) -> Maker:
    """Maker of a study of several parts; all of them are checked before the first one begins."""
    for part in whole.parts:
        _require_preset(part.preset)
    makers = [_part_maker(part, size, seed, particles) for part in whole.parts]

    def work(study: Study, resources: Resources, progress: Progress) -> str:
        """The recipe, after the files of all parts were made."""
        texts = [make(study, resources, progress) for make in makers]
        return merged_recipe(whole, source, seed, texts)

    return work


def _part_maker(part: Part, size: str, seed: int, particles: int) -> Maker:
    count, chosen = part.particles or particles, replace(part, size=part.size or size)
    family = family_of(part.preset)
    if family is None:
        return _imaged(part.preset, part.changed(PARTICLE_PRESETS[part.preset]), chosen, seed, count)
    preset = part.changed(family.presets[part.preset])
    plan = family.plan(preset, part.sampled(chosen_size(preset.sizes, chosen.size or size)), seed, count)
    return lambda study, resources, progress: family.make(part.preset, study, plan, resources, progress)


def _imaged(name: str, preset: ParticlePreset, part: Part, seed: int, particles: int) -> Maker:
    """Maker of single particles in an X-ray microscope."""
    plan = Plan(preset, part.sampled(size_of(preset, part.size or "")), seed, particles)
    simulated = simulate_heating if preset.temperatures else simulate_nano_ct
    return lambda study, resources, progress: recipe_text(
        name, seed, simulated(study, plan, resources=resources, progress=progress)
    )


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
