"""Results of heating in the lab as figures and tables need them: records, steps, effects, in words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.report.names import names_along

Floats = NDArray[np.float64]


def is_mass_loss(data: xr.Dataset) -> bool:
    """Whether these are results of ramps on a balance."""
    return "mass_left" in data and "rapid_loss_onset" in data


def is_hold(data: xr.Dataset) -> bool:
    """Whether these are results of holds on a balance."""
    return "hold_conversion" in data


def is_calorimetry(data: xr.Dataset) -> bool:
    """Whether these are records of a calorimeter."""
    return "heat_flow" in data and "record" in data["heat_flow"].dims


def record_names(data: xr.Dataset) -> list[str]:
    """What the records are called; several heating rates are called by them."""
    names = names_along(data["elapsed_time"], "record")
    if "heating_rate" not in data or len(names) == 1:
        return names
    rates = np.asarray(data["heating_rate"].values, np.float64)
    words = [f"{rate:.3g} K/min" if np.isfinite(rate) else name for rate, name in zip(rates, names, strict=True)]
    return words if len(set(words)) == len(words) else names


def in_order(data: xr.Dataset) -> list[int]:
    """Places of the records by rising heating rate, or as they are where rates are not known."""
    rates = np.asarray(data["heating_rate"].values, np.float64) if "heating_rate" in data else np.full(1, np.nan)
    if not np.isfinite(rates).all():
        return list(range(data.sizes["record"]))
    return [int(row) for row in np.argsort(rates, kind="stable")]


def pair(data: xr.Dataset, name: str, place: tuple[int, ...] = ()) -> tuple[float, float]:
    """A value and its standard uncertainty, NaN if there is none."""
    value = float(np.asarray(data[name].values)[place])
    std = float(np.asarray(data[f"{name}_std"].values)[place]) if f"{name}_std" in data else float("nan")
    return value, std


def is_unlevel(data: xr.Dataset, row: int, column: int) -> bool:
    """Whether heat still flows at a limit of an effect, so that its enthalpy is that of the limit."""
    return "effect_unlevel" in data and bool(data["effect_unlevel"].values[row, column])


def rapid_step(data: xr.Dataset, row: int) -> int | None:
    """Place of the step of rapid loss of a record."""
    onset = float(data["rapid_loss_onset"].values[row])
    onsets = np.asarray(data["step_onset"].values[row], np.float64)
    if not np.isfinite(onset) or not np.isfinite(onsets).any():
        return None
    return int(np.nanargmin(np.abs(onsets - onset)))


def reactions_of(data: xr.Dataset) -> list[tuple[tuple[int, ...], str]]:
    """Places and names of the reactions that activation energies are of; the rapid loss of mass has no name."""
    if "effect" not in data["kissinger_energy"].dims:
        return [((), "")]
    return [((number,), name) for number, name in enumerate(names_along(data["kissinger_energy"], "effect"))]


@dataclass(frozen=True)
class Tangents:
    """The two lines that meet at an extrapolated onset: places (degC) and heights (wt%) of their ends."""

    line: tuple[Floats, Floats]
    tangent: tuple[Floats, Floats]


_LONG, _BEYOND = 45.0, 8.0  # K that a line is drawn before and beyond what it is of


def tangents_of(data: xr.Dataset, row: int) -> Tangents | None:
    """Lines that meet at the onset of the rapid loss."""
    step = rapid_step(data, row)
    if step is None:
        return None
    names = ("step_onset", "step_meeting", "step_line", "step_rate", "step_steepest")
    onset, height, slope, rate, steepest = (float(data[name].values[row, step]) for name in names)
    before = np.array([onset - _LONG, onset + _BEYOND])
    along = np.array([onset - 0.3 * _BEYOND, steepest + _BEYOND])
    return Tangents((before, height + slope * (before - onset)), (along, height - rate * (along - onset)))
