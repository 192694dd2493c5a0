"""The one place that imports techniques and readers: what each technique does, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from cathoscope.flow.steps import (
    bulk,
    bulk_state,
    calorimetry,
    cycling,
    diffraction,
    elements,
    geometry,
    imaging,
    impedance,
    mass_loss,
    mixture,
    morphology,
    morphology_change,
    particle_cell,
    particles_3d,
    projections,
    regions,
    sections,
    slice_morphology,
    slice_stack,
    uv_vis,
    volumes,
    xanes,
)
from cathoscope.flow.steps.opening import open_measurement
from cathoscope.flow.steps.starts import open_start
from cathoscope.flow.steps.technique import Technique

# A volume that another program reconstructed comes without projections from which its noise could be found.
_NOISE = ("attenuation_std",)

_MORPHOLOGY = (
    *morphology.steps_on("attenuation"),
    *morphology_change.steps_on("attenuation", registered=False),
    *particles_3d.steps_on("attenuation"),
)
_TOMOGRAPHY = (*projections.STEPS, *geometry.STEPS, *volumes.STEPS, *_MORPHOLOGY)

TECHNIQUES: Mapping[str, Technique] = MappingProxyType(
    {
        "tomography": Technique(
            "Tomography",
            _TOMOGRAPHY,
            targets=("attenuation",),
            fixable=geometry.FIXABLE,
            if_possible=_NOISE,
            asked_for=lambda section: (*morphology_change.asked_for(section), *particles_3d.asked_for(section)),
        ),
        "xanes-tomography": Technique(
            "XANES tomography",
            xanes.steps,
            targets=xanes.TARGETS,
            fixable=xanes.FIXABLE,
            if_possible=xanes.IF_POSSIBLE,
            asked_for=xanes.asked_for,
        ),
        "xanes-regions": Technique(
            "Bulk XAS of regions of a volume",
            (*xanes.VOLUME_STEPS, *regions.STEPS, *bulk.EDGE_STEPS, *bulk_state.STEPS),
            targets=bulk.TARGETS,
            fixable=geometry.FIXABLE,
            if_possible=_NOISE,
            asked_for=bulk_state.asked_for,
        ),
        "spectromicroscopy": Technique(
            "Spectromicroscopy", mixture.STEPS, targets=mixture.TARGETS, if_possible=mixture.IF_POSSIBLE
        ),
        "xas": Technique(
            "Bulk XAS", (*bulk.STEPS, *bulk_state.STEPS), targets=bulk.TARGETS, asked_for=bulk_state.asked_for
        ),
        "xanes-imaging": Technique("XANES imaging", imaging.STEPS, targets=imaging.TARGETS),
        "fibsem-stack": Technique(
            "FIB/SEM stack",
            (*slice_stack.STEPS, *morphology.steps_on("oxide_share"), *particles_3d.steps_on("oxide_share")),
            targets=slice_stack.TARGETS,
            asked_for=lambda section: (*morphology.asked_for(section), *particles_3d.asked_for(section)),
        ),
        "fibsem-series": Technique(
            "FIB/SEM slices over cycles", slice_morphology.steps, targets=slice_morphology.TARGETS
        ),
        "sem-section": Technique("Etched section", sections.SECTION_STEPS, targets=sections.SECTION_TARGETS),
        "diffraction": Technique(
            "Powder diffraction", diffraction.steps, targets=diffraction.TARGETS, asked_for=diffraction.asked_for
        ),
        "cycling": Technique("Cycling", cycling.steps, targets=cycling.TARGETS, asked_for=cycling.asked_for),
        "particle-cell": Technique(
            "Single particle", particle_cell.steps, targets=particle_cell.TARGETS, asked_for=particle_cell.asked_for
        ),
        "impedance": Technique("Impedance", impedance.steps, targets=impedance.TARGETS, asked_for=impedance.asked_for),
        "mass-loss": Technique(
            "Thermogravimetry", mass_loss.steps, targets=mass_loss.TARGETS, asked_for=mass_loss.asked_for
        ),
        "calorimetry": Technique(
            "Calorimetry", calorimetry.steps, targets=calorimetry.TARGETS, asked_for=calorimetry.asked_for
        ),
        "uv-vis": Technique("UV-Vis spectra", uv_vis.STEPS, targets=uv_vis.TARGETS),
        "elements": Technique("Elemental analysis", elements.STEPS, targets=elements.TARGETS),
        "mosaic": Technique("Mosaic of sections", sections.MOSAIC_STEPS, targets=sections.MOSAIC_TARGETS),
    }
)

__all__ = ["TECHNIQUES", "Technique", "open_measurement", "open_start"]
