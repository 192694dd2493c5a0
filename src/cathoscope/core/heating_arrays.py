"""Named arrays of what heating in the lab and analyses of solutions say, a part of the schema."""

from __future__ import annotations

from cathoscope.core.array_spec import ArraySpec

_RECORD = ("record",)
_CURVE = ("record", "temperature")
_STEP = ("record", "loss_step")
_EFFECT = ("record", "effect")
_CONTENT = ("specimen", "element")

HEATING_ARRAYS = (
    # coordinates
    ArraySpec(
        "record", _RECORD, "1", "i", "Number of a record of a measurement; the attribute names holds their names"
    ),
    ArraySpec("loss_step", ("loss_step",), "1", "i", "Number of a step of mass loss, by rising temperature"),
    ArraySpec("effect", ("effect",), "1", "i", "Number of a heat effect; the attribute names holds their names"),
    ArraySpec("conversion", ("conversion",), "1", "f", "Share of a reaction that is done"),
    # balance
    ArraySpec("heating_rate", _RECORD, "K/min", "f", "Mean rate at which a ramp heats"),
    ArraySpec("mass_left", _CURVE, "wt%", "f", "Mass that is left, of the mass at the start, smoothed"),
    ArraySpec("mass_rate", _CURVE, "wt%/K", "f", "Slope of the mass that is left"),
    ArraySpec("oxygen_content", _CURVE, "1", "f", "Oxygen per formula unit, if oxygen is all that leaves"),
    ArraySpec("spinel_oxygen", (), "1", "f", "Oxygen per formula unit once all is spinel"),
    ArraySpec("rock_salt_oxygen", (), "1", "f", "Oxygen per formula unit once all is rock salt"),
    ArraySpec("total_loss", _RECORD, "wt%", "f", "Mass that is lost at the end of a record"),
    ArraySpec("total_oxygen", _RECORD, "1", "f", "Oxygen per formula unit that is lost at the end of a record"),
    ArraySpec("step_begin", _STEP, "degC", "f", "Where a step sets in, as far as the rate of loss tells"),
    ArraySpec("step_end", _STEP, "degC", "f", "Where a step ends, as far as the rate of loss tells"),
    ArraySpec("step_loss", _STEP, "wt%", "f", "Mass that a step loses beyond what the stretch before it loses"),
    ArraySpec("step_oxygen", _STEP, "1", "f", "Oxygen per formula unit that a step loses"),
    ArraySpec("step_onset", _STEP, "degC", "f", "Extrapolated onset of a step: tangents of ISO 11358-1"),
    ArraySpec(
        "step_deflection", _STEP, "degC", "f", "First deflection of a step out of the line before it: ASTM E2550"
    ),
    ArraySpec("step_meeting", _STEP, "wt%", "f", "Mass left where the tangent of a step meets the line before it"),
    ArraySpec("step_line", _STEP, "wt%/K", "f", "Slope of the line before a step"),
    ArraySpec("step_steepest", _STEP, "degC", "f", "Temperature of the fastest loss of a step"),
    ArraySpec("step_rate", _STEP, "wt%/K", "f", "Fastest loss of a step"),
    ArraySpec("rapid_loss_onset", _RECORD, "degC", "f", "Extrapolated onset of the step of rapid loss: ISO 11358-1"),
    ArraySpec("rapid_loss_deflection", _RECORD, "degC", "f", "First deflection of the step of rapid loss: ASTM E2550"),
    ArraySpec("gas_signal", ("ion", "temperature"), "1", "f", "Signal of an ion, in the unit of the attribute unit"),
    ArraySpec("hold_temperature", _RECORD, "degC", "f", "Mean temperature of a hold"),
    ArraySpec("hold_time", ("record", "point"), "s", "f", "Time since a hold began"),
    ArraySpec("hold_conversion", ("record", "point"), "1", "f", "Share of the mass lost in a hold that has been lost"),
    ArraySpec("avrami_exponent", _RECORD, "1", "f", "Exponent n of 1 - exp(-(k t)^n) in a hold"),
    ArraySpec("avrami_rate", _RECORD, "1/s", "f", "Rate k of 1 - exp(-(k t)^n) in a hold"),
    # calorimeter
    ArraySpec("heat_baseline", ("record", "point"), "mW", "f", "Baseline below heat effects; none between them"),
    ArraySpec("effect_enthalpy", _EFFECT, "J/g", "f", "Heat of an effect; positive if endothermic"),
    ArraySpec("effect_onset", _EFFECT, "degC", "f", "Extrapolated onset of a heat effect: ISO 11357-1"),
    ArraySpec("effect_peak", _EFFECT, "degC", "f", "Temperature of the highest heat flow of an effect"),
    ArraySpec("effect_unlevel", _EFFECT, "1", "b", "Whether heat still flows at a limit of an effect"),
    ArraySpec("effect_height", _EFFECT, "mW", "f", "Highest heat flow of an effect above its baseline"),
    # several rates; without the dim effect they are of the rapid loss of mass
    ArraySpec("kissinger_energy", ("effect",), "kJ/mol", "f", "Activation energy from peaks: Kissinger"),
    ArraySpec("kissinger_factor", ("effect",), "1", "f", "Logarithm of the frequency factor in 1/min: Kissinger"),
    ArraySpec("kas_energy", ("effect", "conversion"), "kJ/mol", "f", "Activation energy: Kissinger, Akahira, Sunose"),
    ArraySpec("friedman_energy", ("effect", "conversion"), "kJ/mol", "f", "Activation energy: Friedman"),
    ArraySpec("hold_energy", (), "kJ/mol", "f", "Activation energy from Avrami's rates of holds: Arrhenius"),
    # solutions
    ArraySpec("net_absorbance", ("spectrum", "point"), "1", "f", "Absorbance less that of the blank"),
    ArraySpec("band_absorbance", ("spectrum",), "1", "f", "Mean absorbance of a band, less blank and baseline"),
    ArraySpec("band_saturated", ("spectrum",), "1", "f", "Share of the band at which next to no light came through"),
    ArraySpec("metal_share", _CONTENT, "1", "f", "Share of a metal in the transition metals, by atoms"),
    ArraySpec("element_ratio", _CONTENT, "1", "f", "Atoms of a metal per atom of a stated one"),
    ArraySpec("lithium_per_metal", ("specimen",), "1", "f", "Lithium per transition metal, by atoms"),
    ArraySpec("lithium_removed", (), "1", "f", "Lithium per transition metal that has been removed"),
)
