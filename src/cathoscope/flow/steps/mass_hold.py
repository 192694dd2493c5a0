"""Records of a balance at a constant temperature: conversion in time, Avrami's law, and energies from several holds."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.core.schema import dataset, label
from cathoscope.flow.graph import RAW, Context, Step
from cathoscope.flow.raw import in_one_line
from cathoscope.flow.steps.lab_records import known, names_of_records
from cathoscope.lab.reaction_rates import avrami, straight_line
from cathoscope.numerics.local_polynomial import local_polynomial
from cathoscope.physics.kinetics import GAS_CONSTANT, ZERO_CELSIUS

Floats = NDArray[np.float64]

_HELD = 1.5  # K within which a temperature is held
_FEWEST = 40  # points of a hold
_WINDOWS = 25.0  # half-widths of the smoothing windows in a hold
_STILL = 0.05  # of the fastest rate, at which a loss has not ended
_NUMBERS = ("avrami_exponent", "avrami_rate")
_CURVES = ("hold_time", "hold_conversion")
_RECORDS = ("elapsed_time", "sample_temperature", "sample_mass")


def hold(context: Context) -> xr.Dataset:
    """Conversion in every hold, with exponent and rate of Avrami's law; a record without a hold is set aside."""
    data, raw = context.data, context.raw
    shape = data["sample_mass"].shape
    curves = {name: np.full(shape, np.nan) for name in _CURVES}
    numbers = {name: np.full(shape[0], np.nan) for name in ("hold_temperature", *_NUMBERS)}
    std = {name: np.full(shape[0], np.nan) for name in _NUMBERS}
    whole = context.section.mass_loss.whole_loss
    aside, remarks = [], [] if whole else ["a conversion of 1 is the mass lost by the end of the hold"]
    for (row,) in sorted(raw.scans):
        try:
            time, celsius, mass = _held(known(*(data[name].values[row] for name in _RECORDS)))
            conversion, goes_on = _conversion(time, mass, whole)
            # neighbours within a window are smoothed together and count once
            apart = np.linspace(0.0, time[-1], int(_WINDOWS) + 1)
            found = avrami(time=apart, conversion=np.interp(apart, time, conversion))
        except MeasurementError as error:
            aside.append(raw.put_aside((row,), in_one_line(error)))
            continue
        if goes_on and not whole:
            remarks.append(f"{names_of_records(data)[row]}: {_GOES_ON.format(goes_on)}")
        numbers["hold_temperature"][row] = celsius.mean()
        curves["hold_time"][row, : time.size], curves["hold_conversion"][row, : time.size] = time, conversion
        for name, one in zip(_NUMBERS, found, strict=True):
            numbers[name][row], std[name][row] = one.value, one.std
    if not raw.scans:
        raise MeasurementError("no record can be used", where=context.name, found=f"{aside[0][0]}: {aside[0][1]}")
    coords = {"record": data["record"]}
    arrays = [label(name, values, ("record",), coords=coords) for name, values in numbers.items()]
    arrays += [
        label(f"{name}_std", values, ("record",), coords=coords, std_source="scatter") for name, values in std.items()
    ]
    arrays += [label(name, values, ("record", "point"), coords=coords) for name, values in curves.items()]
    arrays[0].attrs |= {"remarks": remarks, "set_aside": aside}
    return dataset(arrays)


def _held(record: tuple[Floats, ...]) -> tuple[Floats, Floats, Floats]:
    """Time since the hold began, temperature and mass of the longest stretch near the highest temperature held."""
    time, temperature, mass = record
    if not time.size:
        raise MeasurementError("a hold needs times", expected="elapsed times in the file", found="none")
    held = float(np.median(temperature[temperature > temperature.max() - 2 * _HELD]))
    near = np.concatenate([[False], np.abs(temperature - held) <= _HELD, [False]])
    edges = np.flatnonzero(np.diff(near.astype(np.int8)))
    first, last = max(zip(edges[::2], edges[1::2], strict=True), key=lambda ends: ends[1] - ends[0])
    if last - first < _FEWEST:
        raise MeasurementError(
            "the record has no hold",
            expected=f"{_FEWEST} points or more within {_HELD:g} K",
            found=f"{last - first} points about {held:.0f} C",
        )
    piece = slice(int(first), int(last))
    return time[piece] - time[first], temperature[piece], mass[piece]


_GOES_ON = (
    "mass is still lost at the end of the hold, at {:.0%} of the fastest rate: exponent and rate are too large "
    "(mass_loss.whole_loss)"
)


def _conversion(time: Floats, mass: Floats, whole: float | None) -> tuple[Floats, float]:
    """Share of the loss that is done, of the smoothed mass; and the rate at the end over the fastest, 0 if small."""
    places = np.linspace(0.0, time[-1], 8 * int(_WINDOWS))
    weights = local_polynomial(time, places, time[-1] / _WINDOWS, order=2)
    smooth = weights.value @ mass
    if not smooth[0] > smooth[-1]:
        raise MeasurementError("no mass is lost in the hold", expected="less mass at its end", found="as much or more")
    total = smooth[0] - smooth[-1] if whole is None else 0.01 * whole * smooth[0]
    slope = -(weights.slope @ mass)
    last = float(slope[-int(_WINDOWS) :].mean() / slope.max())
    return np.asarray(np.interp(time, places, (smooth[0] - smooth) / total)), last if last > _STILL else 0.0


def hold_energy(context: Context) -> xr.Dataset:
    """Activation energy from the rates of three holds or more: ln k = const - E / (R T)."""
    data = context.data
    rate, std = (np.asarray(data[f"avrami_rate{end}"].values, np.float64) for end in ("", "_std"))
    kelvin = np.asarray(data["hold_temperature"].values, np.float64) + ZERO_CELSIUS
    good = np.isfinite(rate) & (rate > 0) & np.isfinite(kelvin)
    value, error, remarks = np.nan, np.nan, []
    if np.unique(np.rint(kelvin[good])).size < 3:
        remarks.append(f"an activation energy needs holds at three temperatures: {', '.join(names_of_records(data))}")
    else:
        line = straight_line(1000.0 / (GAS_CONSTANT * kelvin[good]), np.log(rate[good]), std[good] / rate[good])
        value, error = -line.slope.value, line.slope.std
    arrays = [label("hold_energy", np.float64(value), ())]
    arrays.append(label("hold_energy_std", np.float64(error), (), std_source="scatter"))
    arrays[0].attrs["remarks"] = remarks
    return dataset(arrays)


STEPS = (
    Step(
        "hold",
        hold,
        needs=(RAW, *_RECORDS),
        makes=("hold_temperature", *_NUMBERS, *(f"{name}_std" for name in _NUMBERS), *_CURVES),
        choices=("mass_loss",),
    ),
    Step(
        "hold energy",
        hold_energy,
        needs=("hold_temperature", "avrami_rate", "avrami_rate_std"),
        makes=("hold_energy", "hold_energy_std"),
    ),
)
