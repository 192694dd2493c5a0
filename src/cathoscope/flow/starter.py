"""The recipe that ``cathoscope new`` writes."""

STARTER_RECIPE = """\
# A recipe of cathoscope: what was measured, and how to analyse it.
# Fill it in, then:  cathoscope check study.toml   and   cathoscope run study.toml
# Numbers with a unit are written as text: "20 nm", "8.333 keV", "150 C".

[study]
title = "Rod and gravel NMC heated to 250 C"
data = "."                      # folder of the measured files, relative to this recipe

[sample.gravel]
composition = "LiNi0.8Mn0.1Co0.1O2"
particle = "random, gravel-shaped grains"
treatment = "charged to 4.5 V, heated in argon"

# XANES nano-tomography: one file per energy (and temperature).
[measurement.gravel]
sample = "gravel"
technique = "xanes-tomography"  # or "tomography", "spectromicroscopy", "xas", ...: see below
# pixel_size = "20 nm"          # only if the files do not say
# rows = [100, 900]             # only these detector rows

[[measurement.gravel.series]]
temperature = "25 C"
files = "gravel_025C/*.h5"      # one name, a pattern, or a list of them

[[measurement.gravel.series]]
temperature = "150 C"
files = "gravel_150C/*.h5"
# foil = "gravel_150C/foil.xdi"  # spectrum of a foil measured beside: the energy scale of this temperature

# Every value the program estimates can be fixed instead:
# [measurement.gravel.fix]
# rotation_axis = 639.5         # detector column; one number, or one per energy
# projection_shift = 0.0        # no jitter correction; also vertical_shift, magnification, angle_offset

# Choices, with their defaults:
# [measurement.gravel.tomography]
# stripes = "gain"              # or "sorting", "all", "none"
# zinger_sigma = 8.0            # 0 leaves zingers alone
# normalise_beam = true         # beam intensity from the open columns of each projection
# jitter = "auto"               # or "none", "centre of mass"
# series = true                 # geometry of all energies of a temperature together
# magnification = "files"       # or "estimated", "constant"
# angle_offset = false          # true: look for turns of the sample between energies
# reconstruct = "coefficients"  # or "energies": attenuation at every energy, and no difference maps
# method = "fbp"                # or "cgls", "tv" (tv_strength, iterations, non_negative)
# [measurement.gravel.edge]
# edge_energy = "8333 eV"
# pre_edge = ["8250 eV", "8320 eV"]
# post_edge = ["8380 eV", "8420 eV"]
# [measurement.gravel.white_line]
# method = "auto"               # or "model", "polynomial", "polynomial around maximum", "trigonometric", ...
# order = 4                     # of the polynomial
# self_calibration = true       # of the compressed model, on the shapes of the data
# window = ["8320 eV", "8390 eV"]  # of all methods but the compressed model
# [measurement.gravel.registration]
# model = "auto"                # or "rigid", "similarity", "deformation"

# A single scan, or a TIFF sequence of line integrals without angles:
# [measurement.pillar]
# sample = "gravel"
# technique = "tomography"
# files = "pillar/*.tiff"
# content = "optical depth"
# angle_range = [0, 180]
# pixel_size = "20 nm"

# A scanned image stack with component spectra (energy and intensity in two columns):
# [measurement.map]
# sample = "gravel"
# technique = "spectromicroscopy"
# files = "map/map.hdr"
# mixture = { references = { oxidised = "map/oxidised.txt", reduced = "map/reduced.txt" } }

# Bulk spectra with a foil behind the sample (what a file holds: cathoscope inspect FILE):
# [measurement.powder]
# sample = "gravel"
# technique = "xas"
# files = "powder/*.xdi"
# [measurement.powder.xas]
# element = "Ni"
# calibration = "auto"          # or "reference", "self", "none"; foil = "foil.xdi" for a foil measured apart
# edge = "integral"             # or "half height", "derivative"
# valence = { "NiO" = 2.0, "LiNiO2" = 3.0 }  # standards among the spectra, by name
# [measurement.powder.combination]
# library = "library/Ni.prj"
# components = ["NiO", "LiNiO2"]

# Frames of a full-field microscope at a few energies, without rotation:
# [measurement.frames]
# sample = "gravel"
# technique = "xanes-imaging"
# files = "frames/*.xrm"
# imaging = { magnification = "proportional to energy", smallest_particle = "2 um" }

# Powder patterns along temperature, with instrument parameters and structures:
# [measurement.neutrons]
# sample = "gravel"
# technique = "diffraction"
# files = "nomad/*.gsa"
# instrument = "nomad.instprm"
# [measurement.neutrons.phases]
# layered = { file = "NMC.cif", exchange = ["Li1", "Ni1"] }
# spinel = { file = "spinel.cif" }

# Records of a balance (TGA) with the blank of the empty crucible; of a calorimeter (DSC); solutions:
# [measurement.balance]
# sample = "gravel"
# technique = "mass-loss"
# files = "tga/gravel.txt"
# mass_loss = { blank = "tga/blank.txt", formula = "Li0.1Ni0.8Mn0.1Co0.1O2" }
# [measurement.heat]
# sample = "gravel"
# technique = "calorimetry"
# files = "dsc/gravel_*.txt"
# calorimetry.effects = { spinel = ["120 C", "185 C"] }
# [measurement.solution]
# sample = "gravel"
# technique = "uv-vis"
# files = "uv/gravel.txt"
# uv_vis = { blank = "uv/acetonitrile.txt" }
# [measurement.contents]
# sample = "gravel"
# technique = "elements"
# files = "icp.csv"
# elements = { before = "gravel pristine", after = "gravel charged" }

# Coin cells, each file one cell (mass of the active material); cells of one temperature and rate are replicates:
# [measurement.cells]
# sample = "gravel"
# technique = "cycling"
# series = [{ temperature = "25 C", files = "cells-25C/*.mpr" }, { temperature = "40 C", files = "cells-40C/*.mpr" }]
# cycling = { mass = "5 mg", one_c = "200 mAh/g", at = [50, 150] }  # against = "rod" compares two samples

# A single particle as a cell (without files: only its plan), and its impedance after some cycles:
# [measurement.particle]
# sample = "gravel"
# technique = "particle-cell"
# files = "particle.mpt"
# particle_cell = { diameter = "8.5 um", diameter_std = "0.2 um", porosity = 0.04, rate = 0.5 }
# [measurement.spectra]
# sample = "gravel"
# technique = "impedance"
# files = "impedance/cycle_*.mpt"
# impedance = { circuit = "R0-p(R1-W1,CPE1)", compare = "R0-p(R1,CPE1)", surface = "250 um2" }

# Start from an array of an earlier study instead of raw files:
# [measurement.again]
# sample = "gravel"
# technique = "xanes-tomography"
# start = { attenuation = "earlier.zarr/result/gravel" }  # or slices of another program: "recon/*.tiff"
"""
