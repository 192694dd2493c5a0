"""Every named array, once: its dims, its unit, its kind and what it means.

Attributes are labels for disk and people. Steps compute on bare arrays in these units,
``label`` what they return and ``require`` what they are given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from cathoscope.core.array_spec import ArraySpec as ArraySpec
from cathoscope.core.cell_arrays import CELL_ARRAYS
from cathoscope.core.errors import SchemaError
from cathoscope.core.lab_arrays import LAB_ARRAYS
from cathoscope.core.powder_arrays import POWDER_ARRAYS
from cathoscope.core.relation_arrays import RELATION_ARRAYS

_CONDITION = ("temperature", "energy")
_VOXEL = ("z", "y", "x")

_SPECS = (
    # coordinates
    ArraySpec("temperature", ("temperature",), "degC", "f", "Sample temperature"),
    ArraySpec("energy", ("energy",), "eV", "f", "Photon energy"),
    ArraySpec("angle", (*_CONDITION, "projection"), "deg", "f", "Rotation angle of the sample about z"),
    ArraySpec("z", ("z",), "um", "f", "Position along the rotation axis, growing with the detector row"),
    ArraySpec("y", ("y",), "um", "f", "Position along the beam at 0 deg, zero on the rotation axis"),
    ArraySpec("x", ("x",), "um", "f", "Position along the detector rows at 0 deg, zero on the rotation axis"),
    ArraySpec("rank", ("rank",), "1", "i", "Number of a singular value, the largest being 1"),
    ArraySpec("component", ("component",), "1", "i", "Number of a component; the attribute names holds their names"),
    ArraySpec("spectrum", ("spectrum",), "1", "i", "Number of a spectrum; the attribute names holds their names"),
    ArraySpec("group", ("group",), "1", "i", "Number of a group of spectra; the attribute names holds their names"),
    ArraySpec("particle", ("particle",), "1", "i", "Number of a particle, the largest being 1"),
    ArraySpec("coefficient", ("coefficient",), "1", "i", "Number of a spectral coefficient, counted from 1"),
    ArraySpec("half", ("half",), "1", "i", "Half of the projections: 0 the odd ones, 1 the even ones"),
    ArraySpec("energy_bin", ("energy_bin",), "eV", "f", "Middle of a bin of a histogram of energies"),
    ArraySpec("step", ("step",), "1", "i", "Step from one temperature to the next; the attribute names says which"),
    ArraySpec("cluster", ("cluster",), "1", "i", "Number of a group of voxels of like white line, by rising energy"),
    ArraySpec("depth", ("depth",), "um", "f", "Depth below the surface of the particle"),
    ArraySpec("method", ("method",), "1", "i", "Number of a method; the attribute names holds their names"),
    ArraySpec("cycle", ("cycle",), "1", "f", "Number of cycles of the battery before"),
    ArraySpec("sector", ("sector",), "1", "i", "Number of a sector around the centre of a section"),
    ArraySpec("phase", ("phase",), "1", "i", "Number of a crystalline phase; the attribute names holds their names"),
    ArraySpec("weighting", ("weighting",), "1", "i", "What pixels stand for: 0 the section, 1 the particle"),
    ArraySpec(
        "bank", ("bank",), "1", "i", "Number of a bank of a diffractometer; the attribute names holds their names"
    ),
    # what files hold
    ArraySpec("counts", ("projection", "row", "column"), "count", "f", "Detector counts of the projections"),
    ArraySpec("flat_counts", ("flat", "row", "column"), "count", "f", "Detector counts without the sample"),
    ArraySpec("dark_counts", ("dark", "row", "column"), "count", "f", "Detector counts without the beam"),
    ArraySpec("image_counts", ("energy", "y", "x"), "count", "f", "Transmitted intensity of a scanned image stack"),
    ArraySpec("incident_counts", ("energy",), "count", "f", "Incident intensity of a scanned image stack"),
    ArraySpec("pages", ("page", "row", "column"), "1", "f", "Pages of an image stack whose meaning the recipe states"),
    ArraySpec("slice_number", ("page",), "1", "i", "Number of the slice that a page shows"),
    ArraySpec("slice_depth", ("cycle", "page"), "um", "f", "Nominal depth of a slice below the first"),
    ArraySpec("page_cycle", ("page",), "1", "f", "Cycles of the battery after which a page was taken"),
    ArraySpec("voxels", ("energy", *_VOXEL), "1", "f", "Voxel values of a volume whose meaning the recipe states"),
    ArraySpec("scan_energy", ("spectrum", "point"), "eV", "f", "Photon energy of each point of a bulk spectrum"),
    ArraySpec("absorption", ("spectrum", "point"), "1", "f", "X-ray absorption of a bulk spectrum, as recorded"),
    ArraySpec("reference_absorption", ("spectrum", "point"), "1", "f", "Absorption of the foil behind the sample"),
    ArraySpec("tof", ("temperature", "bank", "point"), "us", "f", "Time of flight at the middle of a bin of a pattern"),
    ArraySpec("two_theta", ("temperature", "bank", "point"), "deg", "f", "Scattering angle of a point of a pattern"),
    ArraySpec(
        "diffraction_counts",
        ("temperature", "bank", "point"),
        "1",
        "f",
        "Diffracted intensity per us of time of flight, or at each scattering angle, as the file is normalised",
    ),
    # tomography
    ArraySpec("beam_intensity", (*_CONDITION, "projection"), "1", "f", "Open-beam intensity relative to the flats"),
    ArraySpec("bad_pixel_mask", ("temperature", "row", "column"), "1", "b", "Dead, hot or unstable detector pixels"),
    ArraySpec("stripe_offset", ("temperature", "row", "column"), "1", "f", "Optical depth added by a wrong pixel gain"),
    ArraySpec(
        "flat_offset", (*_CONDITION, "row", "column"), "1", "f", "Optical depth added by the noise of a scan's flats"
    ),
    ArraySpec("rotation_axis", _CONDITION, "px", "f", "Detector column of the rotation axis, pixel centres at 0, 1, 2"),
    ArraySpec("rotation_axis_check", _CONDITION, "px", "f", "Rotation axis by a second, independent method"),
    ArraySpec("rotation_axis_method", _CONDITION, "1", "i", "Method that found the rotation axis; see flag_meanings"),
    ArraySpec("projection_shift", (*_CONDITION, "projection"), "px", "f", "Horizontal jitter of each projection"),
    ArraySpec("survey_axis", _CONDITION, "px", "f", "Rotation axis of each scan by itself"),
    ArraySpec("survey_axis_check", _CONDITION, "px", "f", "The same by a second, independent method"),
    ArraySpec("survey_shift", (*_CONDITION, "projection"), "px", "f", "Horizontal jitter of each scan by itself"),
    ArraySpec("angle_offset", _CONDITION, "deg", "f", "Turn of the sample against the reference of the series"),
    ArraySpec("geometry_residual", _CONDITION, "1", "f", "Misfit of the aligned projections, in units of the noise"),
    ArraySpec("unseen_share", _CONDITION, "1", "f", "Share of the aligned projections that the detector did not see"),
    ArraySpec("attenuation", (*_CONDITION, *_VOXEL), "1/um", "f", "Linear attenuation coefficient"),
    ArraySpec(
        "half_set_spread", _CONDITION, "1/um", "f", "Noise and streaks that odd and even projections do not share"
    ),
    ArraySpec(
        "spectral_vector",
        ("temperature", "coefficient", "energy"),
        "1",
        "f",
        "Orthonormal spectra, in units of the noise, whose weights are the spectral coefficients",
    ),
    ArraySpec(
        "spectral_rank", ("temperature",), "1", "i", "Number of orthogonal spectra that rise above the noise of bins"
    ),
    ArraySpec(
        "spectral_coefficient",
        ("temperature", "coefficient", *_VOXEL),
        "1",
        "f",
        "Weights of the spectral vectors in the attenuation, in units of its noise",
    ),
    ArraySpec(
        "half_difference",
        ("temperature", "coefficient", *_VOXEL),
        "1",
        "f",
        "Spectral coefficients of odd minus even projections: as noisy as those of all",
    ),
    # spectra
    ArraySpec("optical_depth", ("energy", "y", "x"), "1", "f", "Natural logarithm of incident over transmitted"),
    ArraySpec("edge_jump", ("temperature", *_VOXEL), "1/um", "f", "Attenuation above minus below the absorption edge"),
    ArraySpec("optical_depth_jump", ("temperature", "y", "x"), "1", "f", "Optical depth above minus below the edge"),
    ArraySpec("particle_mask", ("temperature", *_VOXEL), "1", "b", "Voxels that contain the absorbing element"),
    ArraySpec("particle_spectrum", _CONDITION, "1/um", "f", "Mean attenuation of the voxels of the particle"),
    ArraySpec("white_line_energy", ("spectrum", "temperature", *_VOXEL), "eV", "f", "Energy of the white-line maximum"),
    ArraySpec(
        "white_line_flag",
        ("spectrum", "temperature", *_VOXEL),
        "1",
        "i",
        "Why there is no trusted white line; 0 is good",
    ),
    ArraySpec(
        "white_line_half",
        ("half", "temperature", *_VOXEL),
        "eV",
        "f",
        "White-line energy from the odd and from the even projections alone",
    ),
    ArraySpec("white_line_mean", ("temperature",), "eV", "f", "Mean white-line energy of the good voxels"),
    ArraySpec("white_line_width", ("temperature",), "eV", "f", "Spread of the white-line energy, noise removed"),
    ArraySpec("audit_bias", ("method",), "eV", "f", "Mean error of a method on simulated spectra like the measured"),
    ArraySpec("audit_slope", ("method",), "1", "f", "Slope of a method's energies against the true ones"),
    ArraySpec("audit_rmse", ("method",), "eV", "f", "Root mean square error of a method"),
    ArraySpec("audit_bound", ("method",), "eV", "f", "Cramer-Rao bound of the error of any unbiased method"),
    ArraySpec("audit_pull_mean", ("method",), "1", "f", "Mean error over stated uncertainty"),
    ArraySpec("audit_pull_width", ("method",), "1", "f", "Spread of error over stated uncertainty"),
    ArraySpec("audit_failed", ("method",), "1", "f", "Share of simulated spectra without a trusted value"),
    ArraySpec("untrusted_share", ("temperature",), "1", "f", "Share of the particle's voxels without a trusted value"),
    ArraySpec(
        "white_line_discrepancy",
        ("temperature",),
        "1",
        "f",
        "Two ways to remove noise from the spread of the white line, their difference over its uncertainty",
    ),
    ArraySpec("independent_voxels", ("temperature",), "1", "f", "Number of independent voxels for the mean"),
    ArraySpec("white_line_density", ("temperature", "energy_bin"), "1/eV", "f", "Histogram of the white line, area 1"),
    ArraySpec(
        "white_line_true_density",
        ("temperature", "energy_bin"),
        "1/eV",
        "f",
        "Histogram of the white line with the noise removed, area 1",
    ),
    ArraySpec("white_line_profile", ("temperature", "depth"), "eV", "f", "Mean white line of shells below the surface"),
    ArraySpec("correlation_length", ("temperature",), "um", "f", "Size of domains of like white line: 1/e distance"),
    ArraySpec("cluster_energy", ("temperature", "cluster"), "eV", "f", "Mean white line of a group of voxels"),
    ArraySpec("cluster_width", ("temperature", "cluster"), "eV", "f", "Spread within a group of voxels, noise removed"),
    ArraySpec("cluster_share", ("temperature", "cluster"), "1", "f", "Share of the good voxels that are of a group"),
    ArraySpec(
        "state_of_charge",
        ("temperature", *_VOXEL),
        "1",
        "f",
        "State of charge from the white line: 0 discharged, 1 charged",
    ),
    ArraySpec("state_of_charge_mean", ("temperature",), "1", "f", "Mean state of charge of the good voxels"),
    ArraySpec("state_of_charge_width", ("temperature",), "1", "f", "Spread of the state of charge, noise removed"),
    ArraySpec(
        "white_line_shift", ("step",), "eV", "f", "Change of the mean white line from one temperature to the next"
    ),
    ArraySpec(
        "deformation",
        ("temperature", "axis", "node_z", "node_y", "node_x"),
        "px",
        "f",
        "Displacement (z, y, x; voxel) of the control points, beyond the similarity of the attribute bases",
    ),
    ArraySpec(
        "registration_error",
        ("temperature", "axis"),
        "um",
        "f",
        "Standard uncertainty of where the material lies, rms over the particle",
    ),
    ArraySpec("registration_scale", ("temperature",), "1", "f", "Size over that at the first temperature"),
    ArraySpec("registration_correlation", ("temperature",), "1", "f", "Correlation of the volumes after registration"),
    ArraySpec(
        "white_line_difference",
        ("step", *_VOXEL),
        "eV",
        "f",
        "Change of the white line from one temperature to the next, where the material was at the first",
    ),
    ArraySpec("white_line_significance", ("step", *_VOXEL), "1", "f", "The change over its standard uncertainty"),
    ArraySpec("difference_mean", ("step",), "eV", "f", "Mean change of the white line over voxels"),
    ArraySpec("difference_width", ("step",), "eV", "f", "Spread of the change over voxels, noise removed"),
    ArraySpec("changed_share", ("step",), "1", "f", "Share of voxels whose white line changed significantly"),
    # particles
    ArraySpec("particle_label", ("y", "x"), "1", "i", "Number of the particle at a pixel, 0 outside"),
    ArraySpec("particle_area", ("particle",), "um2", "f", "Projected area of a particle"),
    ArraySpec("particle_diameter", ("particle",), "um", "f", "Diameter of the disk of a particle's area"),
    ArraySpec("particle_y", ("particle",), "um", "f", "Centre of a particle along y"),
    ArraySpec("particle_x", ("particle",), "um", "f", "Centre of a particle along x"),
    ArraySpec("particle_jump", ("particle",), "1", "f", "Mean jump of optical depth of a particle at the edge"),
    ArraySpec("particle_at_border", ("particle",), "1", "b", "Whether a particle is cut by the border of the image"),
    ArraySpec("particle_number", _VOXEL, "1", "i", "Number of the particle at a voxel, 0 outside"),
    ArraySpec("particle_envelope_volume", ("particle",), "um3", "f", "Volume of a particle within its outer surface"),
    ArraySpec("equivalent_diameter", ("particle",), "um", "f", "Diameter of the sphere of a particle's volume"),
    ArraySpec("particle_sphericity", ("particle",), "1", "f", "Sphericity of the ellipsoid of a particle's moments"),
    ArraySpec("particle_elongation", ("particle",), "1", "f", "Longest over shortest axis of that ellipsoid"),
    ArraySpec("particle_z", ("particle",), "um", "f", "Centre of a particle along z"),
    # sections of particles
    ArraySpec("tile", ("tile",), "1", "i", "Number of a tile of a mosaic, counted from 1"),
    ArraySpec("section_image", ("y", "x"), "1", "f", "Grey values of a section, brightness evened out"),
    ArraySpec("tile_y", ("tile",), "um", "f", "Place of the first pixel of a tile down the field"),
    ArraySpec("tile_x", ("tile",), "um", "f", "Place of the first pixel of a tile across the field"),
    ArraySpec("tile_gain", ("tile",), "1", "f", "Brightness of a tile over the mean of all"),
    ArraySpec("grain_area", ("grain",), "um2", "f", "Area of a grain in the section"),
    ArraySpec("grain_aspect", ("grain",), "1", "f", "Long over short axis of a grain in the section"),
    ArraySpec("grain_angle", ("grain",), "deg", "f", "Angle of a grain's long axis to the radius through its centre"),
    ArraySpec("grain_direction", ("grain",), "deg", "f", "Direction of a grain's long axis, from x towards y"),
    ArraySpec("grain_y", ("grain",), "um", "f", "Centre of a grain along y"),
    ArraySpec("grain_x", ("grain",), "um", "f", "Centre of a grain along x"),
    ArraySpec("grain_alignment", ("temperature",), "1", "f", "Mean of cos 2 angle to the radius, weighted by area"),
    ArraySpec("grain_mean_aspect", ("temperature",), "1", "f", "Mean aspect of grains in a section, by area"),
    ArraySpec("grain_mean_diameter", ("temperature",), "um", "f", "Mean diameter of the disks of the grains' areas"),
    ArraySpec("grain_arrangement", ("temperature",), "1", "i", "How the grains lie; see flag_meanings"),
    ArraySpec("particle_circularity", ("particle",), "1", "f", "Circularity: 4 pi area over the perimeter squared"),
    ArraySpec("particle_porosity", ("particle",), "1", "f", "Share of a particle's section that is not oxide"),
    ArraySpec("particle_crack_share", ("particle",), "1", "f", "Share of a particle's section that is crack"),
    ArraySpec("particle_core_share", ("particle",), "1", "f", "Share of a particle's section that is a hollow"),
    ArraySpec("particle_cracked", ("particle",), "1", "b", "Whether cracks take more than 0.5 % of the section"),
    ArraySpec("particle_hollow", ("particle",), "1", "b", "Whether the section shows a hollow core"),
    ArraySpec("mean_porosity", ("temperature",), "1", "f", "Mean porosity of whole sections of particles"),
    ArraySpec("porosity_spread", ("temperature",), "1", "f", "Spread of the porosity between particles"),
    ArraySpec("cracked_share", ("temperature",), "1", "f", "Share of the particles that are cracked"),
    ArraySpec("hollow_share", ("temperature",), "1", "f", "Share of the particles that show a hollow core"),
    # polycrystalline particles
    ArraySpec("axis", ("axis",), "1", "i", "Direction in space: 0 is x, 1 is y, 2 is z"),
    ArraySpec("grain", ("grain",), "1", "i", "Number of a grain, counted from 1"),
    ArraySpec("grain_label", ("temperature", *_VOXEL), "1", "i", "Number of the grain at a voxel, 0 outside"),
    ArraySpec("grain_c_axis", ("grain", "axis"), "1", "f", "Unit vector along c of each grain before heating"),
    ArraySpec("grain_in_plane_axis", ("grain", "axis"), "1", "f", "Unit vector along [110] of each grain"),
    ArraySpec("solid_fraction", ("temperature", *_VOXEL), "1", "f", "Share of a voxel that is oxide"),
    ArraySpec("crack_fraction", ("temperature", *_VOXEL), "1", "f", "Share of a voxel that is open crack"),
    ArraySpec("crack_opening", ("temperature", *_VOXEL), "um", "f", "Opening of the crack nearby, 0 if there is none"),
    ArraySpec("spinel_fraction", ("temperature", *_VOXEL), "1", "f", "Share of the oxide that has become spinel"),
    ArraySpec("oxygen_loss", ("temperature", *_VOXEL), "wt%", "f", "Mass of oxygen lost, of the mass before heating"),
    ArraySpec(
        "envelope_mask", ("temperature", *_VOXEL), "1", "b", "Inside the outer surface, cracks and core included"
    ),
    ArraySpec("porosity", ("temperature", "cycle"), "1", "f", "Share of the envelope that is not oxide"),
    ArraySpec("envelope_volume", ("temperature",), "um3", "f", "Volume inside the outer surface"),
    # morphology
    ArraySpec("threshold", ("threshold",), "1", "f", "Share of oxide below which a voxel is counted as pore"),
    ArraySpec("shell", ("shell",), "1", "f", "Middle of a shell, of the radius: 0 at the centre, 1 at the surface"),
    ArraySpec("pore_kind", ("temperature", *_VOXEL), "1", "i", "Kind of pore at a voxel; see flag_meanings"),
    ArraySpec("crack_width", ("temperature", *_VOXEL), "um", "f", "Opening of the crack whose middle is in a voxel"),
    ArraySpec("path_length", ("temperature", *_VOXEL), "um", "f", "Way through the oxide to the nearest open surface"),
    ArraySpec("threshold_porosity", ("temperature", "cycle"), "1", "f", "Porosity by a threshold half-way to the void"),
    ArraySpec("shell_porosity", ("temperature", "shell"), "1", "f", "Porosity of shells of the particle"),
    ArraySpec("porosity_curve", ("temperature", "threshold"), "1", "f", "Porosity over the threshold"),
    ArraySpec("open_porosity_curve", ("temperature", "threshold"), "1", "f", "The part joined to the outside"),
    ArraySpec("solid_surface", ("temperature",), "um2", "f", "Surface of the oxide, closed pores included"),
    ArraySpec("wetted_surface", ("temperature",), "um2", "f", "Surface of the oxide that a liquid outside reaches"),
    ArraySpec("crack_volume", ("temperature",), "um3", "f", "Volume of the cracks that a threshold shows"),
    ArraySpec("void_volume", ("temperature",), "um3", "f", "Volume of the voids, hollow core left out"),
    ArraySpec("core_volume", ("temperature",), "um3", "f", "Volume of the hollow core by grey levels; 0 without one"),
    ArraySpec("crack_area", ("temperature",), "um2", "f", "Area of the cracks, one side"),
    ArraySpec("crack_density", ("temperature",), "1/um", "f", "Area of the cracks over the particle's volume"),
    ArraySpec("mean_opening", ("temperature",), "um", "f", "Mean opening of the cracks over their area"),
    ArraySpec("pore_thickness", ("temperature",), "um", "f", "Mean local thickness of cracks and voids"),
    ArraySpec("pore_evenness", ("temperature",), "1", "f", "Gini coefficient of the local thickness: 0 if even"),
    ArraySpec("mean_path", ("temperature",), "um", "f", "Mean way through the oxide to an open surface"),
    ArraySpec("longest_path", ("temperature",), "um", "f", "Longest way through the oxide to an open surface"),
    ArraySpec("path_tortuosity", ("temperature",), "1", "f", "Mean of that way over the straight distance"),
    ArraySpec("open_pore_share", ("temperature",), "1", "f", "Share of the pores that is joined to the outside"),
    ArraySpec("cut_off_share", ("temperature",), "1", "f", "Share of the oxide from which no way leads outside"),
    ArraySpec("euler_number", ("temperature",), "1", "f", "Parts less tunnels plus cavities of the oxide"),
    ArraySpec("domain_count", ("temperature",), "1", "f", "Domains of oxide that cracks and necks bound"),
    ArraySpec("isolated_domains", ("temperature",), "1", "f", "Domains without a contact to another"),
    ArraySpec("closing_radius", ("temperature",), "um", "f", "Radius that closes open cracks in the outer mask"),
    ArraySpec("solid_noise", ("temperature",), "1", "f", "Standard deviation of the noise of the share of solid"),
    ArraySpec("relative_volume", ("temperature",), "1", "f", "Volume inside the outer surface over the first one"),
    ArraySpec("error_source", ("error_source",), "1", "i", "Source of an error; the attribute names says which"),
    ArraySpec(
        "relative_volume_error", ("temperature", "error_source"), "1", "f", "Systematic error of the relative volume"
    ),
    ArraySpec(
        "cancelled_volume_error", ("temperature",), "1", "f", "Error that the relative volume is spared by one method"
    ),
    ArraySpec("porosity_change", ("temperature",), "1", "f", "Porosity minus that at the first temperature"),
    ArraySpec("relative_core", ("temperature",), "1", "f", "Volume of the hollow core over the first one"),
    ArraySpec(
        "solid_change", ("temperature", *_VOXEL), "1", "f", "Change of the share of oxide where the material lay"
    ),
    # slices of a FIB/SEM
    ArraySpec("oxide_share", _VOXEL, "1", "f", "Share of a voxel that is oxide, with the noise of the images"),
    ArraySpec("slice_pores", ("cycle", "y", "x"), "1", "f", "Share of pore in every pixel of a slice"),
    ArraySpec("slice_outline", ("cycle", "y", "x"), "1", "b", "Inside the outer surface, open cracks included"),
    ArraySpec("slice_porosity", ("cycle",), "1", "f", "Porosity of the very section"),
    ArraySpec("region_porosity", ("cycle",), "1", "f", "Porosity of the region of interest of the section"),
    ArraySpec("section_area", ("cycle",), "um2", "f", "Area of the section inside the outer surface"),
    ArraySpec("unresolved_share", ("cycle",), "1", "f", "Share of the pores in cracks too narrow to show their grey"),
    ArraySpec("sampling_error", ("cycle",), "1", "f", "Uncertainty of the porosity because one section is seen"),
    ArraySpec("few_pores_error", ("cycle",), "1", "f", "The part of it that wide pores have because they are few"),
    ArraySpec("sector_pore", ("cycle", "weighting", "sector"), "1", "f", "Pore pixels of a sector, weighted"),
    ArraySpec("sector_total", ("cycle", "weighting", "sector"), "1", "f", "All pixels of a sector, weighted"),
    ArraySpec("porosity_trend", ("cycle",), "1", "f", "Curve through the porosity of the particle"),
    ArraySpec("slice_porosity_trend", ("cycle",), "1", "f", "Curve through the porosity of the sections"),
    ArraySpec("asked_cycle", (), "1", "f", "Cycle that the recipe asks for"),
    ArraySpec("porosity_at_cycle", (), "1", "f", "Porosity of the particle at the cycle that the recipe asks for"),
    ArraySpec("asked_porosity", (), "1", "f", "Porosity that the recipe asks for"),
    ArraySpec("cycle_of_porosity", (), "1", "f", "Cycle at which the particle reaches the porosity asked for"),
    ArraySpec("cycle_of_porosity_low", (), "1", "f", "Lower end of its 68 % interval"),
    ArraySpec("cycle_of_porosity_high", (), "1", "f", "Upper end of its 68 % interval; infinite if open"),
    ArraySpec("independent_slices", (), "1", "f", "Slices that would say as much if they were independent"),
    ArraySpec("cut_height", (), "um", "f", "Height of the first cut beyond the middle of the particle"),
    ArraySpec("placement_shift", ("temperature", "axis"), "um", "f", "Displacement of the particle"),
    ArraySpec("placement_rotation", ("temperature", "axis"), "deg", "f", "Rotation vector of the particle"),
    ArraySpec("specimen_shift", (*_CONDITION, "axis"), "um", "f", "Displacement of the particle during one scan"),
    ArraySpec("vertical_shift", (*_CONDITION, "projection"), "px", "f", "Vertical jitter of each projection"),
    ArraySpec("magnification", _CONDITION, "1", "f", "Magnification over that of the middle of the series"),
    ArraySpec("energy_offset", ("temperature",), "eV", "f", "True minus recorded photon energy"),
    *POWDER_ARRAYS,
    *LAB_ARRAYS,
    *CELL_ARRAYS,
    *RELATION_ARRAYS,
    # bulk spectra
    ArraySpec("energy_shift", ("spectrum",), "eV", "f", "Added to the recorded energies to calibrate them"),
    ArraySpec("edge_step", ("spectrum",), "1", "f", "Edge jump of a bulk spectrum, by which it is normalised"),
    ArraySpec("normalised_absorption", ("spectrum", "point"), "1", "f", "Flattened absorption per edge jump"),
    ArraySpec("half_height_edge", ("spectrum",), "eV", "f", "Energy at which the edge reaches half its height"),
    ArraySpec("derivative_edge", ("spectrum",), "eV", "f", "Energy of the steepest rise of the edge"),
    ArraySpec("integral_edge", ("spectrum",), "eV", "f", "Mean energy of the rising edge (Dau's integral method)"),
    ArraySpec(
        "valence",
        ("spectrum", "temperature", *_VOXEL),
        "1",
        "f",
        "Mean valence of the absorbing element, from its edge",
    ),
    ArraySpec("valence_mean", ("temperature",), "1", "f", "Mean valence of the good voxels"),
    ArraySpec("valence_width", ("temperature",), "1", "f", "Spread of the valence over voxels, noise removed"),
    ArraySpec("group_edge", ("group",), "eV", "f", "Mean edge energy of the spectra of a group"),
    ArraySpec("group_edge_rise", ("group",), "eV", "f", "Mean edge energy of a group minus that of its reference"),
    ArraySpec("component_fraction", ("spectrum", "component"), "1", "f", "Weight of each component in a spectrum"),
    ArraySpec("component_curve", ("spectrum", "component", "point"), "1", "f", "Component times its weight"),
    ArraySpec("combination_fit", ("spectrum", "point"), "1", "f", "Sum of the components times their weights"),
    ArraySpec("r_factor", ("spectrum",), "1", "f", "Squared misfit of a combination over the squared spectrum"),
    ArraySpec("singular_value", ("rank",), "1", "f", "Singular values of the spectra, in units of the noise"),
    ArraySpec("noise_floor", ("rank",), "1", "f", "Singular values that noise alone stays below"),
    ArraySpec("singular_spectrum", ("rank", "energy"), "1", "f", "Orthogonal spectra that span the stack"),
    ArraySpec("component_spectrum", ("component", "energy"), "1", "f", "Spectrum of each component"),
    ArraySpec("component_weight", ("component", "y", "x"), "1", "f", "Amount of each component"),
    ArraySpec("mixture_residual", ("y", "x"), "1", "f", "Root mean square misfit of the mixture"),
)
SCHEMA: Mapping[str, ArraySpec] = {spec.name: spec for spec in _SPECS}

STD_SOURCES = ("counting", "fit covariance", "half-set", "scatter", "threshold", "stated")


def spec_of(name: str) -> ArraySpec:
    """The entry of ``name``; ``x_std`` has the dims and unit of ``x``, and so has its systematic part ``x_systematic``.

    Raises
    ------
    SchemaError
        If no array of that name is known.
    """
    base = name.removesuffix("_std").removesuffix("_systematic")
    spec = SCHEMA.get(base)
    if spec is None or (base != name and spec.kind != "f"):
        raise SchemaError(f"unknown array {name!r}", expected="a name of core/schema.py")
    if base == name:
        return spec
    part = "Standard uncertainty" if name.endswith("_std") else "Systematic part of the standard uncertainty"
    return ArraySpec(name, spec.dims, spec.unit, "f", f"{part}: {spec.meaning}")


def label(
    name: str,
    values: Any,
    dims: tuple[str, ...],
    *,
    coords: Mapping[Any, Any] | None = None,
    std_source: str | None = None,
) -> xr.DataArray:
    """Bare ``values`` in the schema's unit as a labelled array.

    Raises
    ------
    SchemaError
        If the dims are not those of the schema in the schema's order, or the shape or kind differ.
    """
    spec = spec_of(name)
    values = values if hasattr(values, "dtype") else np.asarray(values)
    _check(name, dims, values.dtype)
    attrs: dict[str, Any] = {"units": spec.unit, "long_name": spec.meaning}
    if name.endswith("_std"):
        if std_source not in STD_SOURCES:
            raise SchemaError(
                f"{name} must say where it comes from", expected=" or ".join(STD_SOURCES), found=str(std_source)
            )
        attrs["std_source"] = std_source
    if len(dims) != len(values.shape):
        raise SchemaError(f"{name} has the wrong number of dims", expected=str(dims), found=f"shape {values.shape}")
    known = {key: value for key, value in (coords or {}).items() if key in dims}
    return xr.DataArray(values, dims=dims, coords=known, name=name, attrs=attrs)


def dataset(arrays: Iterable[xr.DataArray], **attrs: Any) -> xr.Dataset:
    """Labelled arrays as one Dataset; each ``x`` is linked to its ``x_std`` and ``x_mask`` (CF ancillary variables)."""
    named = {str(array.name): array for array in arrays}
    for name, array in named.items():
        companions = [name + suffix for suffix in ("_std", "_mask") if name + suffix in named]
        if companions:
            array.attrs["ancillary_variables"] = " ".join(companions)
    return xr.Dataset(named, attrs=attrs)


def require(data: xr.Dataset, *names: str) -> None:
    """Check that ``data`` holds ``names`` with the schema's dims, unit and kind.

    Raises
    ------
    SchemaError
        Naming the first array that is missing or differs.
    """
    for name in names:
        if name not in data.variables:
            raise SchemaError(
                f"{name} is missing", expected=spec_of(name).meaning, found=", ".join(map(str, data.variables))
            )
        array = data[name]
        _check(name, tuple(map(str, array.dims)), array.dtype)
        unit = array.attrs.get("units")
        if unit != spec_of(name).unit:
            raise SchemaError(f"{name} has the wrong unit", expected=spec_of(name).unit, found=str(unit))


def _check(name: str, dims: tuple[str, ...], dtype: np.dtype[Any]) -> None:
    spec = spec_of(name)
    if dims != tuple(dim for dim in spec.dims if dim in dims):
        raise SchemaError(f"{name} has the wrong dims", expected=str(spec.dims), found=str(dims))
    kinds = {"f": "fiu", "i": "iu", "b": "b"}[spec.kind]
    if dtype.kind not in kinds:
        raise SchemaError(f"{name} has the wrong kind", expected=spec.kind, found=str(dtype))
