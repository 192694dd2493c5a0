"""Named arrays of the lab probes (cyclers, impedance, balances, spectrophotometers), a part of the schema.

Signs: a positive current charges the cell, a positive heat flow is taken up by the sample (endothermic).
"""

from __future__ import annotations

from cathoscope.core.array_spec import ArraySpec
from cathoscope.core.heating_arrays import HEATING_ARRAYS

_POINT = ("point",)
_CURVE = ("spectrum", "point")
_SWEEP = ("cycle", "point")
_RECORDS = ("record", "point")

LAB_ARRAYS = (
    # what files of cyclers hold
    ArraySpec("elapsed_time", _RECORDS, "s", "f", "Time since the start of a record"),
    ArraySpec("cell_voltage", _POINT, "V", "f", "Voltage of the working electrode against the counter electrode"),
    ArraySpec("cell_current", _POINT, "A", "f", "Current; positive charges the cell"),
    ArraySpec("cell_charge", _POINT, "Ah", "f", "Charge that has passed, as the instrument counts it"),
    ArraySpec("cell_energy", _POINT, "Wh", "f", "Energy that has passed, as the instrument counts it"),
    ArraySpec("cell_temperature", _POINT, "degC", "f", "Temperature at the cell"),
    ArraySpec("file_cycle", _POINT, "1", "i", "Number of a cycle as the file counts; -1 where it does not say"),
    ArraySpec("file_step", _POINT, "1", "i", "Number of a step of the programme as the file counts"),
    ArraySpec("other", ("other",), "1", "i", "Number of a further column; the attribute names holds their names"),
    ArraySpec("other_column", ("other", "point"), "1", "f", "Columns of a file that have no name here, as they are"),
    # impedance
    ArraySpec("frequency", _SWEEP, "Hz", "f", "Frequency of the excitation"),
    ArraySpec("impedance_real", _SWEEP, "ohm", "f", "Real part of the impedance"),
    ArraySpec("impedance_imaginary", _SWEEP, "ohm", "f", "Imaginary part of the impedance; below zero if capacitive"),
    ArraySpec("sweep", _POINT, "1", "i", "Number of a sweep over the frequencies within a file, from 1"),
    # heating
    ArraySpec("sample_temperature", _RECORDS, "degC", "f", "Temperature of the sample of a balance or calorimeter"),
    ArraySpec("sample_mass", _RECORDS, "mg", "f", "Mass that a balance shows"),
    ArraySpec("heat_flow", _RECORDS, "mW", "f", "Heat flow into the sample; positive if endothermic"),
    ArraySpec("ion", ("ion",), "1", "i", "Number of a kind of ion; the attribute names holds their names"),
    ArraySpec("ion_time", ("ion", "point"), "s", "f", "Time at which a mass spectrometer looked at an ion"),
    ArraySpec("ion_signal", ("ion", "point"), "1", "f", "What it saw, in the unit of the file: the attribute unit"),
    # light
    ArraySpec("wavelength", _CURVE, "nm", "f", "Wavelength of light in vacuum"),
    ArraySpec("absorbance", _CURVE, "1", "f", "Decadic logarithm of incident over transmitted light"),
    # composition
    ArraySpec("specimen", ("specimen",), "1", "i", "Number of a solution; the attribute names holds their names"),
    ArraySpec("element", ("element",), "1", "i", "Number of an element; the attribute names holds their symbols"),
    ArraySpec("element_content", ("specimen", "element"), "mg/L", "f", "Content of an element in a solution"),
    *HEATING_ARRAYS,
)
