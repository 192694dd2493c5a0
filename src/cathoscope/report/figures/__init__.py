"""Figures of a measurement, in the order in which a reader wants them."""

from __future__ import annotations

from collections.abc import Callable

import xarray as xr

from cathoscope.report.figures import geometry, spectra, spectromicroscopy, tomography, xanes
from cathoscope.report.figures.truth import truth_panels
from cathoscope.report.style import Panel, freeze_layout, journal_style

MakePanel = Callable[[xr.Dataset], Panel | None]

# A panel is left out where its arrays are missing, so one list serves every technique.
PANELS: tuple[MakePanel, ...] = (
    xanes.white_line_maps_panel,
    xanes.white_line_histogram_panel,
    xanes.white_line_difference_panel,
    xanes.white_line_mean_panel,
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
    geometry.jitter_panel,
    geometry.beam_panel,
    geometry.detector_panel,
)


def panels_of(data: xr.Dataset) -> list[Panel]:
    """Every figure that the arrays of a measurement allow."""
    with journal_style():
        panels = [panel for make in PANELS if (panel := make(data)) is not None]
    for panel in panels:
        freeze_layout(panel.figure)
    return panels


def comparison_panels(result: xr.Dataset, truth: xr.Dataset) -> list[Panel]:
    """Every figure that compares a measurement with its truth."""
    with journal_style():
        panels = truth_panels(result, truth)
    for panel in panels:
        freeze_layout(panel.figure)
    return panels
