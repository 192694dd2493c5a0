"""Figures of a measurement, in the order in which a reader wants them."""

from __future__ import annotations

from collections.abc import Callable

import xarray as xr

from cathoscope.report.figures import (
    bulk,
    calorimetry,
    combination,
    cycling,
    diffraction_curves,
    diffraction_patterns,
    diffraction_peaks,
    geometry,
    groups,
    imaging,
    impedance,
    mass_loss,
    morphology,
    morphology_change,
    motion,
    network,
    sections,
    slice_series,
    solutions,
    spectra,
    spectromicroscopy,
    state_curves,
    states,
    tomography,
    valence,
    xanes,
)
from cathoscope.report.figures.truth import truth_panels
from cathoscope.report.style import Panel, freeze_layout, journal_style

MakePanel = Callable[[xr.Dataset], Panel | None]

# A panel is left out where its arrays are missing, so one list serves every technique.
PANELS: tuple[MakePanel, ...] = (
    states.particle_panel,
    morphology.pores_panel,
    network.network_panel,
    morphology.porosity_panel,
    morphology_change.change_panel,
    slice_series.porosity_panel,
    slice_series.slices_panel,
    slice_series.stack_panel,
    sections.grains_panel,
    sections.particles_panel,
    sections.histograms_panel,
    states.state_views_panel,
    xanes.white_line_maps_panel,
    state_curves.state_histogram_panel,
    states.difference_maps_panel,
    state_curves.difference_histogram_panel,
    xanes.white_line_difference_panel,
    xanes.white_line_mean_panel,
    state_curves.profile_panel,
    bulk.spectra_panel,
    bulk.edges_panel,
    groups.groups_panel,
    valence.valence_panel,
    combination.combination_fit_panel,
    combination.combination_weights_panel,
    imaging.jump_panel,
    imaging.energy_images_panel,
    diffraction_patterns.map_panel,
    diffraction_patterns.refinements_panel,
    diffraction_patterns.banks_panel,
    diffraction_curves.cells_panel,
    diffraction_curves.fractions_panel,
    diffraction_curves.sites_panel,
    diffraction_curves.domains_panel,
    diffraction_peaks.peaks_panel,
    diffraction_curves.models_panel,
    diffraction_curves.expansion_panel,
    diffraction_curves.quality_panel,
    mass_loss.mass_panel,
    mass_loss.gas_panel,
    mass_loss.hold_panel,
    calorimetry.heat_panel,
    calorimetry.energies_panel,
    solutions.light_panel,
    solutions.contents_panel,
    cycling.retention_panel,
    cycling.cells_panel,
    cycling.curves_panel,
    cycling.differential_panel,
    cycling.regimes_panel,
    cycling.rates_panel,
    cycling.slippage_panel,
    impedance.nyquist_panel,
    impedance.interface_panel,
    impedance.relaxation_panel,
    impedance.bode_panel,
    impedance.gate_panel,
    spectromicroscopy.component_maps_panel,
    spectromicroscopy.component_spectra_panel,
    spectromicroscopy.singular_values_panel,
    spectromicroscopy.optical_depth_panel,
    spectra.mean_spectrum_panel,
    xanes.edge_jump_panel,
    xanes.white_line_sigma_panel,
    spectra.flag_panel,
    spectromicroscopy.residual_panel,
    tomography.slices_panel,
    geometry.rotation_axis_panel,
    motion.motion_panel,
    geometry.jitter_panel,
    geometry.beam_panel,
    geometry.detector_panel,
)


# The only panels that draw what has one value, or one curve, per spectrum.
_OF_SPECTRA = frozenset(
    {
        bulk.spectra_panel,
        bulk.edges_panel,
        groups.groups_panel,
        valence.valence_panel,
        combination.combination_fit_panel,
        combination.combination_weights_panel,
        solutions.light_panel,
    }
)


def panels_of(data: xr.Dataset) -> list[Panel]:
    """Every figure that the arrays of a measurement allow."""
    panels = panels_without_layout(data)
    for panel in panels:
        freeze_layout(panel.figure)
    return panels


def panels_without_layout(data: xr.Dataset) -> list[Panel]:
    """As `panels_of`, before the figures are laid out, which takes most of the time."""
    images = data.drop_vars([name for name, array in data.data_vars.items() if "spectrum" in array.dims])
    with journal_style():
        made = [make(data if make in _OF_SPECTRA else images) for make in PANELS]
    return [panel for panel in made if panel is not None]


def comparison_panels(result: xr.Dataset, truth: xr.Dataset) -> list[Panel]:
    """Every figure that compares a measurement with its truth."""
    with journal_style():
        panels = truth_panels(result, truth)
    for panel in panels:
        freeze_layout(panel.figure)
    return panels
