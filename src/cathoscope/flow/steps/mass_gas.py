"""What a mass spectrometer sees in the gas of a balance, against the temperature of the sample."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.core.schema import dataset, label
from cathoscope.flow.graph import REFERENCES, Context, Step
from cathoscope.flow.steps.lab_records import known, open_beside
from cathoscope.lab.mass_loss import heating_ramp

Floats = NDArray[np.float64]

_KEY = "mass_loss.gas"


def gas(context: Context) -> xr.Dataset:
    """Mean signal of every ion on whole degrees, along the ramp of the first record that is used.

    Both clocks start together.

    Raises
    ------
    MeasurementError
        If the file is no record of a mass spectrometer, or the balance has no times.
    """
    data, section = context.data, context.section.mass_loss
    found = open_beside(context, str(section.gas), _KEY, ("ion_time", "ion_signal"))
    first = int(np.argmax(np.isfinite(data["mass_left"].values).any(axis=1)))
    time, temperature = known(*(data[name].values[first] for name in ("elapsed_time", "sample_temperature")))
    if not time.size:
        raise MeasurementError(
            f"{_KEY}: the record of the balance has no times to which those of the gas belong",
            where=context.name,
            expected="elapsed times in both files",
        )
    ramp = heating_ramp(temperature)
    grid = np.asarray(data["temperature"].values, np.float64)
    signal = np.full((found.sizes["ion"], grid.size), np.nan)
    for row in range(found.sizes["ion"]):
        seconds, seen = known(found["ion_time"].values[row], found["ion_signal"].values[row])
        at = np.interp(seconds - (section.gas_delay or 0.0), time[ramp], temperature[ramp], left=np.nan, right=np.nan)
        signal[row] = _on_degrees(at, seen, grid)
    if not np.isfinite(signal).any():
        raise MeasurementError(
            f"{_KEY}: the gas was not looked at while the sample was heated",
            where=str(section.gas),
            expected=f"times from {time[ramp][0]:g} to {time[ramp][-1]:g} s",
            found=f"{np.nanmin(found['ion_time'].values):g} to {np.nanmax(found['ion_time'].values):g} s",
        )
    coords = {"ion": found["ion"], "temperature": data["temperature"]}
    array = label("gas_signal", signal, ("ion", "temperature"), coords=coords)
    remarks = list(found.attrs.get("remarks", ()))
    array.attrs |= {"row": first, "unit": str(found.attrs.get("unit", "")), "remarks": remarks}
    return dataset([array])


def _on_degrees(temperature: Floats, signal: Floats, grid: Floats) -> Floats:
    """Means over a degree about each place of the grid; between them where a degree has no point."""
    place = np.rint(temperature - grid[0])
    inside = np.isfinite(place) & (place >= 0) & (place < grid.size)
    bins = place[inside].astype(np.int64)
    count = np.bincount(bins, minlength=grid.size)
    total = np.bincount(bins, weights=signal[inside], minlength=grid.size)
    there = np.flatnonzero(count)
    if not there.size:
        return np.full(grid.size, np.nan)
    means = total[there] / count[there]
    return np.asarray(np.interp(grid, grid[there], means, left=np.nan, right=np.nan))


STEPS = (
    Step(
        "gas",
        gas,
        needs=(REFERENCES, "elapsed_time", "sample_temperature", "mass_left"),
        makes=("gas_signal",),
        choices=("mass_loss",),
    ),
)
