"""Named arrays of powder diffraction, a part of the schema."""

from __future__ import annotations

from cathoscope.core.array_spec import ArraySpec

_PHASE = ("temperature", "phase")
_PATTERN = ("temperature", "bank", "point")
_PEAK = ("temperature", "bank", "peak")
_REFLECTION = ("temperature", "bank", "phase", "reflection")

POWDER_ARRAYS = (
    # coordinates
    ArraySpec(
        "site", ("site",), "1", "i", "Number of a site of a phase; the attribute labels holds those of all phases"
    ),
    ArraySpec("number", ("number",), "1", "i", "Number of a refined number; the attribute names holds their names"),
    ArraySpec(
        "instrument_number", ("instrument_number",), "1", "i", "Number of an instrument; the attribute names says which"
    ),
    ArraySpec("edge", ("edge",), "1", "i", "Edge of the unit cell: 0 is a, 1 is b, 2 is c"),
    ArraySpec("tensor", ("tensor",), "1", "i", "Component of a displacement tensor: U11, U22, U33, U12, U13, U23"),
    ArraySpec("unexplained", ("unexplained",), "1", "i", "Number of a peak that no phase explains"),
    ArraySpec("size_model", ("size_model",), "1", "i", "Model of size and strain; the attribute names says which"),
    ArraySpec("peak", ("peak",), "1", "i", "Number of a peak; the attribute listed has where it is looked for, A"),
    # what a refinement finds
    ArraySpec("lattice_a", _PHASE, "A", "f", "Edge a of the unit cell"),
    ArraySpec("lattice_c", _PHASE, "A", "f", "Edge c of the unit cell; of a cubic phase the same as a"),
    ArraySpec("weight_fraction", _PHASE, "1", "f", "Mass of a phase over that of all crystalline phases"),
    ArraySpec("antisite", _PHASE, "1", "f", "Share of the lithium site that holds nickel"),
    ArraySpec("oxygen_occupancy", _PHASE, "1", "f", "Share of the oxygen site that is filled"),
    ArraySpec("lithium_occupancy", _PHASE, "1", "f", "Share of the lithium site that holds lithium"),
    ArraySpec("domain_size", _PHASE, "um", "f", "Coherent domains across their axis: Scherrer length, K = 1"),
    ArraySpec("domain_aspect", _PHASE, "1", "f", "Size of the coherent domains along their axis over that across it"),
    ArraySpec("microstrain", _PHASE, "1", "f", "Full width of the relative spread of lattice spacings, in 1e-6"),
    ArraySpec("lattice_b", _PHASE, "A", "f", "Edge b of the unit cell"),
    ArraySpec(
        "lattice_angle", (*_PHASE, "edge"), "deg", "f", "Angle of the unit cell opposite to an edge: alpha first"
    ),
    ArraySpec("cell_volume", _PHASE, "A3", "f", "Volume of the unit cell"),
    ArraySpec("phase_present", _PHASE, "1", "b", "Whether the pattern supports a phase"),
    ArraySpec("bank_weight_fraction", (*_PATTERN[:2], "phase"), "1", "f", "Weight fraction by one bank alone"),
    ArraySpec("site_occupancy", (*_PHASE, "site"), "1", "f", "Share of a site that its kind of atom fills"),
    ArraySpec("site_position", (*_PHASE, "site", "edge"), "1", "f", "Fractional coordinates of a site"),
    ArraySpec("site_displacement", (*_PHASE, "site"), "A2", "f", "Mean squared displacement of the atoms of a site"),
    ArraySpec("site_tensor", (*_PHASE, "site", "tensor"), "A2", "f", "The same where it is anisotropic"),
    ArraySpec(
        "refined_number", ("temperature", "number"), "1", "f", "Refined number; the attribute units_of has its unit"
    ),
    ArraySpec(
        "misfit_widening",
        ("temperature", "number"),
        "1",
        "f",
        "Uncertainty of a refined number over that of counting: 1 or more, by goodness of fit or local misfit",
    ),
    ArraySpec("rwp", _PATTERN[:2], "1", "f", "Weighted profile residual of a pattern"),
    ArraySpec("goodness_of_fit", ("temperature",), "1", "f", "Root of the reduced sum of squares: 1 if noise is left"),
    ArraySpec("refinement_flag", ("temperature",), "1", "i", "How a refinement ended; 0 is good, see flag_meanings"),
    ArraySpec("point_spacing", _PATTERN, "A", "f", "Lattice spacing that a point shows, by the file of the bank"),
    ArraySpec("diffraction_fit", _PATTERN, "1", "f", "Calculated intensity; none where points are left out"),
    ArraySpec("diffraction_background", _PATTERN, "1", "f", "Background of the calculated intensity"),
    ArraySpec("diffraction_difference", _PATTERN, "1", "f", "Observed minus calculated intensity"),
    ArraySpec(
        "diffraction_part",
        ("temperature", "bank", "phase", "point"),
        "1",
        "f",
        "What a phase adds to the calculated intensity",
    ),
    ArraySpec("reflection_spacing", _REFLECTION, "A", "f", "Where a reflection lies in point_spacing"),
    ArraySpec(
        "extracted_intensity",
        _REFLECTION,
        "1",
        "f",
        "Scale times |F|^2 of a reflection, from the pattern without a structure; reflections at one place share it",
    ),
    ArraySpec("miller_index", (*_REFLECTION[1:], "edge"), "1", "i", "Indices h, k, l of a reflection"),
    ArraySpec("transition_onset", ("phase",), "degC", "f", "Temperature at which 5 % of the change of a phase is done"),
    ArraySpec("transition_onset_low", ("phase",), "degC", "f", "Lower end of its 68 % interval; infinite if open"),
    ArraySpec("transition_onset_high", ("phase",), "degC", "f", "Upper end of its 68 % interval; infinite if open"),
    ArraySpec("transition_end", ("phase",), "degC", "f", "Temperature at which 95 % of it is done; infinite if later"),
    ArraySpec("transition_end_low", ("phase",), "degC", "f", "Lower end of its 68 % interval; infinite if open"),
    ArraySpec("transition_end_high", ("phase",), "degC", "f", "Upper end of its 68 % interval; infinite if open"),
    ArraySpec(
        "weight_fraction_trend", _PHASE, "1", "f", "Curve through the weight fraction, of which the onset is read"
    ),
    ArraySpec("thermal_expansion", ("phase", "edge"), "1/K", "f", "Relative expansion of an edge, off the transition"),
    ArraySpec("unexplained_spacing", ("unexplained",), "A", "f", "Lattice spacing of a peak that no phase explains"),
    ArraySpec(
        "unexplained_strength", ("unexplained",), "1", "f", "Its area over the uncertainty, where it is strongest"
    ),
    ArraySpec("unexplained_temperature", ("unexplained",), "degC", "f", "Where it is strongest"),
    ArraySpec("unexplained_count", ("unexplained",), "1", "i", "Number of temperatures at which it is seen"),
    ArraySpec("unexplained_bank", ("unexplained",), "1", "i", "Number of the bank that sees it strongest"),
    ArraySpec(
        "instrument_value",
        ("bank", "instrument_number"),
        "1",
        "f",
        "Number of a bank from a standard; the attribute units_of has units; uncertainty 0: held",
    ),
    # single peaks
    ArraySpec(
        "peak_spacing", _PEAK, "A", "f", "Lattice spacing of a peak by the file of the bank; none without a peak"
    ),
    ArraySpec("peak_area", _PEAK, "1", "f", "Area of a peak, in the unit of the pattern times us or deg"),
    ArraySpec("peak_width", _PEAK, "A", "f", "Full width of a peak at half maximum"),
    ArraySpec("peak_asymmetry", _PEAK, "1", "f", "Asymmetry of a peak above that of the instrument, 1 at most"),
    ArraySpec("peak_centre", _PEAK, "A", "f", "Mean spacing of the intensity in the window of a group of peaks"),
    ArraySpec("peak_present", _PEAK, "1", "b", "Whether a peak stands out"),
    ArraySpec("peak_onset", _PEAK[1:], "degC", "f", "Temperature at which 5 % of the change of its area is done"),
    ArraySpec("peak_end", _PEAK[1:], "degC", "f", "Temperature at which 95 % of it is done; infinite if later"),
    ArraySpec(
        "size_model_bic", ("phase", "size_model"), "1", "f", "Information criterion above that of the best model"
    ),
)
