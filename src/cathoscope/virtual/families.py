"""Virtual studies that are no single imaged particles: by name, what plans them, makes their files, writes a recipe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from cathoscope.core.parallel import Progress, Resources
from cathoscope.core.study import Study
from cathoscope.virtual.coin_study import COIN_PRESETS, CoinPlan, coin_recipe, simulate_coins
from cathoscope.virtual.cycling_study import CYCLING_PRESETS, CyclingPlan, cycling_recipe, simulate_cycling
from cathoscope.virtual.diffraction_study import (
    DIFFRACTION_PRESETS,
    DiffractionPlan,
    diffraction_recipe,
    simulate_diffraction,
)
from cathoscope.virtual.lab_study import LAB_PRESETS, LabPlan, lab_recipe, simulate_lab
from cathoscope.virtual.particle_cell_study import (
    PARTICLE_CELL_PRESETS,
    ParticleCellPlan,
    particle_cell_recipe,
    simulate_particle_cells,
)
from cathoscope.virtual.section_study import SECTION_PRESETS, SectionPlan, section_recipe, simulate_sections


class Family(NamedTuple):
    """Studies of one kind.

    ``plan`` takes preset, size, seed and number of particles; ``make`` takes the preset's name, the study, the plan,
    resources and progress, writes raw files and truth, and returns the recipe.
    """

    presets: Mapping[str, Any]
    plan: Callable[[Any, Any, int, int], Any]
    make: Callable[[str, Study, Any, Resources, Progress], str]


def _cycled(name: str, study: Study, plan: CyclingPlan, resources: Resources, progress: Progress) -> str:
    made = simulate_cycling(study, plan, resources=resources, progress=progress)
    return cycling_recipe(name, plan.seed, plan, made)


def _cut(name: str, study: Study, plan: SectionPlan, resources: Resources, progress: Progress) -> str:
    made = simulate_sections(study, plan, resources=resources, progress=progress)
    return section_recipe(name, plan.seed, plan, made)


def _diffracted(name: str, study: Study, plan: DiffractionPlan, resources: Resources, progress: Progress) -> str:
    made = simulate_diffraction(study, plan, resources=resources, progress=progress)
    return diffraction_recipe(name, plan.seed, plan, made)


def _weighed(name: str, study: Study, plan: LabPlan, resources: Resources, progress: Progress) -> str:
    simulate_lab(study, plan, resources=resources, progress=progress)
    return lab_recipe(name, plan.seed, plan)


def _built(name: str, study: Study, plan: CoinPlan, resources: Resources, progress: Progress) -> str:
    return coin_recipe(name, plan.seed, plan, simulate_coins(study, plan, progress=progress))


def _wired(name: str, study: Study, plan: ParticleCellPlan, resources: Resources, progress: Progress) -> str:
    return particle_cell_recipe(name, plan.seed, plan, simulate_particle_cells(study, plan, progress=progress))


FAMILIES = (
    Family(CYCLING_PRESETS, CyclingPlan, _cycled),
    Family(SECTION_PRESETS, SectionPlan, _cut),
    Family(DIFFRACTION_PRESETS, DiffractionPlan, _diffracted),
    Family(LAB_PRESETS, LabPlan, _weighed),
    Family(COIN_PRESETS, CoinPlan, _built),
    Family(PARTICLE_CELL_PRESETS, ParticleCellPlan, _wired),
)


def family_of(preset: str) -> Family | None:
    """The kind of study that a preset is, if it is none of single imaged particles."""
    return next((family for family in FAMILIES if preset in family.presets), None)


def preset_names() -> list[str]:
    """Names of all presets of these kinds."""
    return [name for family in FAMILIES for name in family.presets]
