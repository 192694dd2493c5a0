"""Instrument parameters from the refinement of a standard."""

from __future__ import annotations

import numpy as np
import xarray as xr

from cathoscope.core.bank import CW_VALUES, TOF_VALUES, Bank
from cathoscope.core.errors import MeasurementError
from cathoscope.core.schema import dataset, label
from cathoscope.flow.graph import REFERENCES, Context, Step
from cathoscope.flow.sections import MeasurementSection
from cathoscope.flow.steps.diffraction_files import banks_of_rows

_UNITS = {name: unit for values in (TOF_VALUES, CW_VALUES) for name, (unit, _) in values.items()}


def calibration(context: Context) -> xr.Dataset:
    """All numbers of every bank: refined ones with their uncertainties, the others as the file of the bank has them."""
    data = context.data
    if data["refined_number"].dims != ("number",):
        if data.sizes["temperature"] > 1:
            raise MeasurementError(
                "a standard is measured at one temperature",
                where=context.name,
                expected="patterns of one temperature",
                found=f"{data.sizes['temperature']} temperatures",
                cure="name the files of one of them",
            )
        data = data.isel(temperature=0)
    banks = banks_of_rows(context.section, context.data_folder, data)
    names = list(dict.fromkeys(name for bank in banks for name in bank.values))
    table = np.full((2, len(banks), len(names)), np.nan)
    for row, bank in enumerate(banks):
        for name, (value, std) in _refined(data, bank).items():
            table[:, row, names.index(name)] = value, std
    number = label("instrument_number", np.arange(1, len(names) + 1), ("instrument_number",))
    number.attrs |= {"names": names, "units_of": [_UNITS[name] for name in names]}
    coords = {"bank": data["bank"], "instrument_number": number}
    dims = ("bank", "instrument_number")
    values = label("instrument_value", table[0], dims, coords=coords)
    values.attrs |= {"kinds": [bank.kind for bank in banks], "radiations": [bank.radiation for bank in banks]}
    values.attrs["profile"] = context.section.diffraction.profile
    flag = int(data["refinement_flag"])
    if flag > 1:
        ended = data["refinement_flag"].attrs["flag_meanings"].split()[flag]
        values.attrs["remarks"] = [f"the refinement of the standard has {ended}: its numbers are no calibration"]
    error = label("instrument_value_std", table[1], dims, coords=coords, std_source="fit covariance")
    return dataset([values, error])


def _refined(data: xr.Dataset, bank: Bank) -> dict[str, tuple[float, float]]:
    """Numbers of a bank with their uncertainties; 0 where they were held."""
    found = {name: (float(value), 0.0) for name, value in bank.values.items()}
    for place, name in enumerate(data["number"].attrs["names"]):
        owner, _, last = name.partition(".")
        if owner == bank.name and last in found:
            found[last] = float(data["refined_number"].values[place]), float(data["refined_number_std"].values[place])
    return found


def steps(section: MeasurementSection) -> tuple[Step, ...]:
    """The step that reads the instrument off a standard, where the recipe calls the phases standards."""
    if section.calibration is None:
        return ()
    return (
        Step(
            "calibration",
            calibration,
            needs=(REFERENCES, "refined_number", "refined_number_std", "refinement_flag", "rwp"),
            makes=("instrument_value", "instrument_value_std"),
            choices=("instrument", "banks", "calibration", "diffraction"),
        ),
    )
