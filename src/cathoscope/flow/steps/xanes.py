"""XANES tomography, step by step: raw projections to maps of the white line and their statistics."""

from __future__ import annotations

from cathoscope.flow.graph import Step
from cathoscope.flow.sections import MeasurementSection
from cathoscope.flow.steps import (
    audit,
    clusters,
    coefficients,
    differences,
    energy_scale,
    flats,
    geometry,
    grain_map,
    mask,
    morphology,
    morphology_change,
    projections,
    registration,
    series,
    state_maps,
    statistics,
    volumes,
    whiteline,
)
from cathoscope.flow.steps.voxels import OF_COEFFICIENTS, OF_ENERGIES, on

_ALONE = (*projections.STEPS, flats.STEP, *geometry.STEPS)
_SERIES = (*projections.STEPS, flats.STEP, *geometry.SERIES_STEPS, series.STEP)

# The edge jump is the share of oxide times that of a solid voxel, whatever the state of charge.
_MORPHOLOGY = (*morphology.steps_on("edge_jump"), *morphology_change.steps_on("edge_jump", registered=True))

# Volumes of every energy, aligned, with the mask of the particle.
VOLUME_STEPS = (*_SERIES, *volumes.STEPS, *on(OF_ENERGIES, *mask.STEPS))
TARGETS = (*statistics.TARGETS, *clusters.TARGETS)
FIXABLE = (*geometry.FIXABLE, "magnification", "vertical_shift", "angle_offset")
# A volume that another program reconstructed comes without projections from which its noise could be found.
IF_POSSIBLE = ("attenuation_std",)


def every_energy(section: MeasurementSection) -> bool:
    """Whether volumes of every energy are made, or there from the start."""
    return "attenuation" in section.start or section.tomography.reconstruct == "energies"


def steps(section: MeasurementSection) -> tuple[Step, ...]:
    """Steps for the recipe's choices: with or without a common geometry, from energies or from coefficients."""
    chosen: tuple[Step, ...] = _SERIES if section.tomography.series else _ALONE
    if energy_scale.has_foil(section):
        chosen += (energy_scale.STEP,)
    chosen += (*state_maps.steps(section), *grain_map.steps(section))
    if every_energy(section):
        return (*chosen, coefficients.SURVEY_STEP, volumes.STEPS[-1], *on(OF_ENERGIES, *_maps(with_halves=False)))
    return (*chosen, coefficients.SURVEY_STEP, coefficients.STEP, *on(OF_COEFFICIENTS, *_maps(with_halves=True)))


def _maps(*, with_halves: bool) -> tuple[Step, ...]:
    return (
        *mask.STEPS,
        *whiteline.steps(with_halves=with_halves),
        *statistics.steps(with_halves=with_halves),
        *clusters.steps(with_halves=with_halves),
        audit.STEP,
        registration.STEP,
        *differences.steps(with_halves=with_halves),
        *_MORPHOLOGY,
    )


def asked_for(section: MeasurementSection) -> tuple[str, ...]:
    """Volumes of every energy where they are made, differences where there are several temperatures, and the state
    where the recipe gives its scale."""
    volumes_of_energies = ("attenuation",) if every_energy(section) else ()
    changes = ("white_line_difference",) if len(section.series) > 1 and "attenuation" not in section.start else ()
    noise_is_known = ("audit_bias",) if section.white_line.audit and "attenuation" not in section.start else ()
    more = (*state_maps.asked_for(section), *grain_map.asked_for(section), *morphology_change.asked_for(section))
    return ("particle_spectrum", *noise_is_known, *volumes_of_energies, *changes, *more)
