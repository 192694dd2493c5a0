"""Named arrays of cells and of impedance, a part of the schema.

A record is one cell, a condition all cells of one temperature and rate. Charges are Ah, also of single particles.
"""

from __future__ import annotations

from cathoscope.core.array_spec import ArraySpec

_CYCLE = ("record", "cycle")
_CURVE = ("record", "curve", "direction", "point")
_BIN = ("record", "curve", "direction", "voltage_bin")
_MEAN = ("condition", "cycle")
_TOLD = ("condition", "told")
_RATE = ("record", "rate_step")
_CHANGE = ("record",)
_DISTURBANCE = ("disturbance",)
_SPECTRUM = ("cycle", "point")
_GATE = ("cycle",)
_CIRCUIT = ("cycle", "circuit")
_PROCESS = ("cycle", "process")


def _interval(name: str, dims: tuple[str, ...], unit: str, meaning: str) -> tuple[ArraySpec, ...]:
    """A quantity and the ends of its interval, whose level its coordinate states."""
    return (
        ArraySpec(name, dims, unit, "f", meaning),
        ArraySpec(f"{name}_low", dims, unit, "f", f"Lower end of its interval: {meaning}"),
        ArraySpec(f"{name}_high", dims, unit, "f", f"Upper end of its interval: {meaning}"),
    )


CELL_ARRAYS = (
    # coordinates
    ArraySpec("condition", ("condition",), "1", "i", "Number of a temperature and rate; the attribute names says them"),
    ArraySpec("told", ("told",), "1", "f", "Cycle at which cells are compared"),
    ArraySpec("curve", ("curve",), "1", "f", "Cycle of which a voltage curve is kept"),
    ArraySpec("direction", ("direction",), "1", "i", "Half of a cycle: 0 charge, 1 discharge"),
    ArraySpec("voltage_bin", ("voltage_bin",), "V", "f", "Voltage of a differential capacity"),
    ArraySpec("rate_step", ("rate_step",), "1", "i", "Number of a stretch of cycles at one current"),
    ArraySpec("disturbance", ("disturbance",), "1", "i", "Number of a disturbance; the attributes say kind and reason"),
    ArraySpec("circuit", ("circuit",), "1", "i", "Number of a circuit; the attribute names holds their texts"),
    ArraySpec("process", ("process",), "1", "i", "Number of a process, by rising time constant"),
    ArraySpec("relaxation_bin", ("relaxation_bin",), "1", "i", "Number of a relaxation time"),
    # cycles of a cell
    ArraySpec("charge_capacity", _CYCLE, "Ah", "f", "Charge that goes in when a cell is charged"),
    ArraySpec("discharge_capacity", _CYCLE, "Ah", "f", "Charge that comes out when a cell is discharged"),
    ArraySpec("cell_capacity", _CYCLE, "Ah", "f", "What a cell gives back: discharge of a cathode, charge of an anode"),
    ArraySpec("specific_capacity", _CYCLE, "mAh/g", "f", "What a cell gives back over the mass of active material"),
    ArraySpec("coulombic_efficiency", _CYCLE, "1", "f", "Charge given over charge taken"),
    ArraySpec("energy_efficiency", _CYCLE, "1", "f", "Energy given over energy taken"),
    ArraySpec("charge_voltage", _CYCLE, "V", "f", "Mean voltage of charge, energy over charge"),
    ArraySpec("discharge_voltage", _CYCLE, "V", "f", "Mean voltage of discharge, energy over charge"),
    ArraySpec("polarisation", _CYCLE, "V", "f", "Mean voltage of charge minus that of discharge"),
    ArraySpec("cycle_current", _CYCLE, "A", "f", "Mean current of what a cell gives back"),
    ArraySpec("cycle_rate", _CYCLE, "1", "f", "The same as a multiple of the current of 1C"),
    ArraySpec("cycle_used", _CYCLE, "1", "b", "Whether a cycle is complete and undisturbed"),
    ArraySpec("charge_end", _CYCLE, "Ah", "f", "Charge at the end of charge since the first cycle began"),
    ArraySpec("discharge_end", _CYCLE, "Ah", "f", "Charge at the end of discharge since the first cycle began"),
    ArraySpec("capacity_retention", _CYCLE, "1", "f", "Capacity as a share of that of the reference cycle"),
    ArraySpec("regime_curve", _CYCLE, "1", "f", "Lines through the retention, which meet at the change of regime"),
    # what its cycles tell
    ArraySpec("cell_mass", ("record",), "mg", "f", "Mass of the active material of a cell"),
    ArraySpec("charge_slippage", ("record",), "Ah", "f", "By how much the end of charge moves per cycle"),
    ArraySpec("discharge_slippage", ("record",), "Ah", "f", "By how much the end of discharge moves per cycle"),
    ArraySpec("condition_of_record", ("record",), "1", "i", "Number of the condition of a cell"),
    *_interval("regime_change", _CHANGE, "1", "Cycle at which the course of the retention changes"),
    ArraySpec("regime_kind", _CHANGE, "1", "i", "How its course changes; see flag_meanings"),
    ArraySpec("slope_before", _CHANGE, "1", "f", "Change of the retention per cycle before, or of all cycles"),
    ArraySpec("slope_after", _CHANGE, "1", "f", "Change of the retention per cycle after the change of regime"),
    ArraySpec("rate_current", _RATE, "A", "f", "Current of a stretch of cycles"),
    ArraySpec("rate_multiple", _RATE, "1", "f", "The same as a multiple of the current of 1C"),
    ArraySpec("rate_capacity", _RATE, "Ah", "f", "Mean capacity of a stretch of cycles"),
    ArraySpec("rate_spread", _RATE, "Ah", "f", "Standard deviation between the cycles of a stretch"),
    ArraySpec("rate_share", _RATE, "1", "f", "Mean capacity over that of the first stretch"),
    ArraySpec("rate_first", _RATE, "1", "i", "First cycle of a stretch; 0 if there is none"),
    ArraySpec("rate_last", _RATE, "1", "i", "Last cycle of a stretch; 0 if there is none"),
    # curves
    ArraySpec("curve_voltage", _CURVE, "V", "f", "Voltage along a charge or discharge"),
    ArraySpec("curve_charge", _CURVE, "Ah", "f", "Charge passed since it began"),
    ArraySpec(
        "differential_capacity",
        _BIN,
        "Ah/V",
        "f",
        "Smoothed dQ/dV of a charge or discharge",
    ),
    # cells of one condition
    *_interval("retention_mean", _MEAN, "1", "Mean retention of the cells of a condition"),
    ArraySpec("retention_spread", _MEAN, "1", "f", "Standard deviation of the retention between cells"),
    ArraySpec("retention_count", _MEAN, "1", "i", "Number of cells with a retention"),
    ArraySpec("capacity_mean", _MEAN, "mAh/g", "f", "Mean specific capacity of the cells of a condition"),
    ArraySpec("capacity_spread", _MEAN, "mAh/g", "f", "Standard deviation of the specific capacity between cells"),
    ArraySpec("efficiency_mean", _MEAN, "1", "f", "Mean Coulombic efficiency of the cells of a condition"),
    ArraySpec("efficiency_spread", _MEAN, "1", "f", "Standard deviation of the Coulombic efficiency between cells"),
    *_interval("kept_share", _TOLD, "1", "Mean retention of the cells of a condition at a stated cycle"),
    ArraySpec("kept_spread", _TOLD, "1", "f", "Standard deviation of it between cells"),
    ArraySpec("kept_count", _TOLD, "1", "i", "Number of cells"),
    # against another sample
    *_interval("retention_difference", _MEAN, "1", "Mean retention minus that of another sample"),
    *_interval("kept_difference", _TOLD, "1", "Mean retention at a stated cycle minus that of another sample"),
    ArraySpec("kept_other", _TOLD, "1", "f", "Mean retention of the other sample at a stated cycle"),
    ArraySpec("kept_t", _TOLD, "1", "f", "Welch's t of the difference"),
    ArraySpec("kept_freedom", _TOLD, "1", "f", "Its degrees of freedom"),
    ArraySpec("kept_probability", _TOLD, "1", "f", "How likely so large a |t| is where there is no difference"),
    *_interval("kept_effect", _TOLD, "1", "Difference in units of the spread between cells, Hedges' g"),
    # a single particle
    ArraySpec("particle_volume", (), "um3", "f", "Volume of the particle, pores included"),
    ArraySpec("particle_mass", (), "mg", "f", "Mass of the particle"),
    ArraySpec("planned_capacity", (), "Ah", "f", "Charge that is expected in the window of voltage"),
    ArraySpec("lithium_capacity", (), "Ah", "f", "Charge of all lithium of the particle"),
    ArraySpec("planned_current", (), "A", "f", "Current of the planned rate"),
    ArraySpec("planned_duration", (), "s", "f", "Duration of a half cycle at this current"),
    ArraySpec("charge_limit", (), "Ah", "f", "Charge at which a half cycle is to be ended as shorted"),
    ArraySpec("time_limit", (), "s", "f", "Time at which a half cycle is to be ended as shorted"),
    ArraySpec("row_time", (), "s", "f", "Time between the rows of a record that shows a half cycle well"),
    ArraySpec("largest_offset", (), "A", "f", "Current beside the reaction at which the efficiency is 1 % off"),
    ArraySpec("current_offset", ("record",), "A", "f", "Current that the instrument shows in rests"),
    ArraySpec("measured_rate", ("record",), "1", "f", "Rate at which a particle was cycled, by its expected capacity"),
    ArraySpec("disturbance_record", _DISTURBANCE, "1", "i", "Number of the record of a disturbance"),
    ArraySpec("disturbance_cycle", _DISTURBANCE, "1", "i", "Cycle of a disturbance"),
    ArraySpec("disturbance_time", _DISTURBANCE, "s", "f", "When a disturbance was seen"),
    ArraySpec("disturbance_size", _DISTURBANCE, "1", "f", "Its step or fall, V; of lost electrolyte the resistance"),
    ArraySpec("disturbance_kind", _DISTURBANCE, "1", "i", "What it was; see flag_meanings"),
    # impedance
    ArraySpec("impedance_fit_real", _SPECTRUM, "ohm", "f", "Real part of the fitted circuit"),
    ArraySpec("impedance_fit_imaginary", _SPECTRUM, "ohm", "f", "Imaginary part of the fitted circuit"),
    ArraySpec("gate_residual_real", _SPECTRUM, "1", "f", "Real part left by the chain of pairs, over the modulus"),
    ArraySpec("gate_residual_imaginary", _SPECTRUM, "1", "f", "Imaginary part left by it, over the modulus"),
    ArraySpec("gate_noise", _GATE, "1", "f", "Noise of a spectrum over its modulus, by the chain of pairs"),
    ArraySpec("spectrum_drift", _GATE, "1", "f", "Growth of the impedance during a sweep"),
    ArraySpec("gate_passed", _GATE, "1", "b", "Whether a spectrum obeys the Kramers-Kronig relations"),
    ArraySpec("circuit_value", ("cycle", "number"), "1", "f", "Parameter of the circuit; units_of has its unit"),
    ArraySpec("circuit_criterion", _CIRCUIT, "1", "f", "Corrected Akaike criterion above that of the best circuit"),
    ArraySpec("circuit_outcome", _CIRCUIT, "1", "i", "What came of the fit of a circuit; see flag_meanings"),
    ArraySpec("circuit_misfit", _CIRCUIT, "1", "f", "Median residual of a circuit over the modulus"),
    ArraySpec("relaxation_time", ("relaxation_bin",), "s", "f", "Relaxation time"),
    ArraySpec("relaxation_density", ("cycle", "relaxation_bin"), "ohm", "f", "Resistance per natural logarithm of it"),
    ArraySpec("process_time", _PROCESS, "s", "f", "Time constant of a process"),
    ArraySpec("process_resistance", _PROCESS, "ohm", "f", "Resistance of a process"),
    ArraySpec("transfer_resistance", _GATE, "ohm", "f", "Charge-transfer resistance"),
    ArraySpec("layer_capacitance", _GATE, "F", "f", "Capacitance of the double layer by Hsu and Mansfeld"),
    ArraySpec("layer_capacitance_brug", _GATE, "F", "f", "Capacitance of the double layer by Brug"),
    ArraySpec("layer_exponent", _GATE, "1", "f", "Exponent of its constant-phase element; 1 of a capacitor"),
    ArraySpec("electrode_area", _GATE, "um2", "f", "Wetted surface that resistances are related to"),
    ArraySpec("specific_resistance", _GATE, "ohm cm2", "f", "Charge-transfer resistance times the wetted surface"),
    ArraySpec("exchange_current_density", _GATE, "A/cm2", "f", "By the charge-transfer resistance and wetted surface"),
    ArraySpec("impedance_used", _GATE, "1", "b", "Whether a spectrum passes the gate and its parameters are known"),
)
