"""What an analysis of cells should find: numbers of every cycle without noise, as named arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core import schema
from cathoscope.virtual.cell import Cell, Health
from cathoscope.virtual.cell_record import mean_voltage, moved
from cathoscope.virtual.coin_cells import Turn

Array = NDArray[np.float64]


def impedance_truth(cell: Cell, looked: Sequence[tuple[int, Health]]) -> xr.Dataset:
    """Charge-transfer resistance, capacitance and exponent of the double layer, by cycle."""
    cycle = schema.label("cycle", np.array([float(number) for number, _ in looked]), ("cycle",))
    values = {
        "transfer_resistance": [cell.charge_transfer(health) for _, health in looked],
        "layer_capacitance": [cell.capacitance * health.area for _, health in looked],
        "layer_exponent": [cell.dispersion for _ in looked],
    }
    arrays = [schema.label(key, np.array(one), ("cycle",), coords={"cycle": cycle}) for key, one in values.items()]
    return schema.dataset(arrays)


def cycle_numbers(done: Sequence[Turn]) -> dict[str, Array]:
    """What every cycle gives, without noise, (cycle,): Ah, 1 and V."""
    charge = np.array([moved(one.charge) for one in done])
    discharge = np.array([moved(one.discharge) for one in done])
    voltages = np.array([[mean_voltage(one.charge), mean_voltage(one.discharge)] for one in done])
    return {
        "charge_capacity": charge,
        "discharge_capacity": discharge,
        "cell_capacity": discharge,
        "coulombic_efficiency": discharge / charge,
        "charge_voltage": voltages[:, 0],
        "discharge_voltage": voltages[:, 1],
        "polarisation": voltages[:, 0] - voltages[:, 1],
    }


def truth_of_cycles(cells: Sequence[Mapping[str, Array]], masses: Sequence[float], reference: int) -> dict[str, Array]:
    """The same of several cells, (record, cycle), with retention of cycle ``reference``, and masses (mg)."""
    values = {name: np.stack([one[name] for one in cells]) for name in cells[0]}
    capacity = values["discharge_capacity"]
    values["capacity_retention"] = capacity / capacity[:, reference - 1 : reference]
    values["specific_capacity"] = 1e6 * capacity / np.array(masses)[:, None]
    return values


def labelled_cycles(values: Mapping[str, Array], masses: Sequence[float]) -> list[xr.DataArray]:
    """`truth_of_cycles` as named arrays."""
    record = schema.label("record", np.arange(1, len(masses) + 1), ("record",))
    cycle = schema.label("cycle", np.arange(1.0, values["cell_capacity"].shape[1] + 1), ("cycle",))
    coords = {"record": record, "cycle": cycle}
    arrays = [schema.label(name, one, ("record", "cycle"), coords=coords) for name, one in values.items()]
    return [*arrays, schema.label("cell_mass", np.array(masses), ("record",), coords={"record": record})]
