"""A complete virtual study on disk: raw files, truth, and the recipe that analyses it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from cathoscope.core.errors import CathoscopeError, StudyError
from cathoscope.core.parallel import Progress, Resources, Silent
from cathoscope.core.study import Study
from cathoscope.virtual.coin_study import COIN_PRESETS, CoinPlan, coin_recipe, simulate_coins
from cathoscope.virtual.cycling_study import (
    CYCLING_PRESETS,
    CyclingPlan,
    chosen_size,
    cycling_recipe,
    simulate_cycling,
)
from cathoscope.virtual.diffraction_study import (
    DIFFRACTION_PRESETS,
    DiffractionPlan,
    diffraction_recipe,
    simulate_diffraction,
)
from cathoscope.virtual.lab_study import LAB_PRESETS, LabPlan, lab_recipe, simulate_lab
from cathoscope.virtual.outline import Simulated, recipe_text
from cathoscope.virtual.own_preset import load_preset
from cathoscope.virtual.particle_cell_study import (
    PARTICLE_CELL_PRESETS,
    ParticleCellPlan,
    particle_cell_recipe,
    simulate_particle_cells,
)
from cathoscope.virtual.particle_presets import PARTICLE_PRESETS, ParticlePreset, size_of
from cathoscope.virtual.particle_study import Plan, simulate_heating
from cathoscope.virtual.presets import PRESETS, simulate
from cathoscope.virtual.pristine_study import simulate_nano_ct
from cathoscope.virtual.section_study import SECTION_PRESETS, SectionPlan, section_recipe, simulate_sections


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
    names = [
        *PARTICLE_PRESETS,
        *CYCLING_PRESETS,
        *SECTION_PRESETS,
        *DIFFRACTION_PRESETS,
        *LAB_PRESETS,
        *COIN_PRESETS,
        *PARTICLE_CELL_PRESETS,
        *PRESETS,
    ]
    if own is None and preset not in names:
        known = " or ".join(names)
        raise CathoscopeError(f"unknown preset {preset!r}", expected=known, cure="simulate hou")
    if folder.exists() and not folder.is_dir():
        raise StudyError("this is not a folder", where=folder, cure="choose another one with --output")
    resources, progress = resources or Resources(), progress or Silent()
    if preset in PRESETS:
        text = recipe_text(preset, seed, _spheres(preset, size, seed, particles, folder, resources, progress))
    else:
        make = _maker(preset, own, size, seed, particles)
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


def _maker(
    preset: str, own: ParticlePreset | None, size: str, seed: int, particles: int
) -> Callable[[Study, Resources, Progress], str]:
    """What writes the raw files and the truth of a preset and returns the recipe.

    Raises
    ------
    CathoscopeError
        If size, seed or number of particles are not possible.
    """
    if own is None and preset in CYCLING_PRESETS:
        cycling = CYCLING_PRESETS[preset]
        cycled = CyclingPlan(cycling, chosen_size(cycling.sizes, size), seed, particles)
        return lambda study, resources, progress: cycling_recipe(
            preset, seed, cycled, simulate_cycling(study, cycled, resources=resources, progress=progress)
        )
    if own is None and preset in SECTION_PRESETS:
        sections = SECTION_PRESETS[preset]
        cut = SectionPlan(sections, chosen_size(sections.sizes, size), seed, particles)
        return lambda study, resources, progress: section_recipe(
            preset, seed, cut, simulate_sections(study, cut, resources=resources, progress=progress)
        )
    if own is None and preset in DIFFRACTION_PRESETS:
        powders = DIFFRACTION_PRESETS[preset]
        exposed = DiffractionPlan(powders, chosen_size(powders.sizes, size), seed, particles)
        return lambda study, resources, progress: diffraction_recipe(
            preset, seed, exposed, simulate_diffraction(study, exposed, resources=resources, progress=progress)
        )
    if own is None and preset in LAB_PRESETS:
        lab = LAB_PRESETS[preset]
        weighed = LabPlan(lab, chosen_size(lab.sizes, size), seed, particles)

        def in_the_lab(study: Study, resources: Resources, progress: Progress) -> str:
            """The recipe, after the files were made."""
            simulate_lab(study, weighed, resources=resources, progress=progress)
            return lab_recipe(preset, seed, weighed)

        return in_the_lab
    if own is None and preset in COIN_PRESETS:
        coins = COIN_PRESETS[preset]
        built = CoinPlan(coins, chosen_size(coins.sizes, size), seed, particles)
        return lambda study, resources, progress: coin_recipe(
            preset, seed, built, simulate_coins(study, built, progress=progress)
        )
    if own is None and preset in PARTICLE_CELL_PRESETS:
        singles = PARTICLE_CELL_PRESETS[preset]
        wired = ParticleCellPlan(singles, chosen_size(singles.sizes, size), seed, particles)
        return lambda study, resources, progress: particle_cell_recipe(
            preset, seed, wired, simulate_particle_cells(study, wired, progress=progress)
        )
    chosen = own or PARTICLE_PRESETS[preset]
    plan = Plan(chosen, size_of(chosen, size), seed, particles)
    simulated = simulate_heating if chosen.temperatures else simulate_nano_ct
    return lambda study, resources, progress: recipe_text(
        preset, seed, simulated(study, plan, resources=resources, progress=progress)
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
