"""Several heating rates taken together: conversion along each, and activation energies from all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.schema import label
from cathoscope.flow.sections import MeasurementSection
from cathoscope.lab.reaction_rates import (
    Activation,
    friedman,
    isoconversional,
    kissinger,
    temperatures_of_conversion,
)
from cathoscope.physics.kinetics import GAS_CONSTANT

Floats = NDArray[np.float64]

LEVELS = np.round(np.arange(0.1, 0.95, 0.1), 2)
FEWEST = 3
"""Heating rates for a straight line with an uncertainty."""
ENERGIES = ("kissinger_energy", "kissinger_factor", "kas_energy", "friedman_energy")
_NEAR = 0.02  # of the conversion, on either side, over which a speed is taken
_SAME = 0.02  # relative difference of rates that are the same


class Course(NamedTuple):
    """Temperatures (degC) at which shares of a reaction are done, and its speed there (1/min), [level]."""

    temperature: Floats
    speed: Floats


def no_course() -> Course:
    """Of a record without the reaction."""
    return Course(*np.full((2, LEVELS.size), np.nan))


def too_few(rates: Floats) -> str | None:
    """What is to be said if the heating rates (K/min) of a reaction are too few for its energies."""
    count = distinct(rates)
    return f"activation energies need three heating rates or more: there are {count}" if count < FEWEST else None


def course_of(time: Floats, temperature: Floats, conversion: Floats) -> Course:
    """Along a ramp: times s, temperatures degC, conversion from 0 to 1, (point,)."""
    before, after = (temperatures_of_conversion(time, conversion, LEVELS + side) for side in (-_NEAR, _NEAR))
    with np.errstate(invalid="ignore", divide="ignore"):
        speed = 60.0 * 2 * _NEAR / (after - before)
    return Course(temperatures_of_conversion(temperature, conversion, LEVELS), speed)


def distinct(rates: Floats) -> int:
    """How many of the rates differ."""
    found = np.sort(rates[np.isfinite(rates) & (rates > 0)])
    return int(np.count_nonzero(np.diff(np.log(found)) > _SAME)) + 1 if found.size else 0


class Energies(NamedTuple):
    """Values and standard uncertainties: Kissinger's energy and factor (2,), KAS and Friedman by level (level, 2)."""

    kissinger: Floats
    factor: Floats
    kas: Floats
    friedman: Floats


def energies_of(rates: Floats, peaks: Floats, peaks_std: Floats, courses: Sequence[Course]) -> Energies:
    """Of three rates or more (K/min), [record]: peaks in degC; NaN where records are too few."""
    none, empty = np.full(2, np.nan), np.full((LEVELS.size, 2), np.nan)
    good = np.isfinite(rates) & (rates > 0) & np.isfinite(peaks)
    if distinct(rates[good]) < FEWEST:
        return Energies(none, none, empty, empty)
    found = kissinger(rates=rates[good], peaks=peaks[good], peaks_std=peaks_std[good])
    there = [one for one, used in zip(courses, good, strict=True) if used]
    temperature, speed = (np.stack([getattr(one, name) for one in there]) for name in ("temperature", "speed"))
    kas, differential = empty.copy(), empty.copy()
    for column in range(LEVELS.size):
        here = slice(column, column + 1)
        known = np.isfinite(temperature[:, column]) & np.isfinite(speed[:, column]) & (speed[:, column] > 0)
        if distinct(rates[good][known]) < FEWEST:
            continue
        kas[column] = _pair(isoconversional(rates=rates[good][known], temperatures=temperature[known, here])[0])
        differential[column] = _pair(friedman(speeds=speed[known, here], temperatures=temperature[known, here])[0])
    energy, factor = (np.array([one.value, one.std]) for one in (found.energy, found.log_frequency))
    return Energies(energy, factor, kas, differential)


def _pair(found: Activation) -> Floats:
    return np.array([found.energy.value, found.energy.std])


def labelled_energies(found: Sequence[Energies], effect: xr.DataArray | None) -> list[xr.DataArray]:
    """Arrays of energies, with the dim ``effect`` if there is one, else of the one reaction."""
    level = label("conversion", LEVELS, ("conversion",))
    dims = () if effect is None else ("effect",)
    coords = {"conversion": level} | ({} if effect is None else {"effect": effect})
    arrays = []
    for name, part in zip(ENERGIES, Energies._fields, strict=True):
        table = np.stack([getattr(one, part) for one in found])
        table = table[0] if effect is None else table
        own = (*dims, "conversion") if name in ENERGIES[2:] else dims
        arrays.append(label(name, table[..., 0], own, coords=coords))
        arrays.append(label(f"{name}_std", table[..., 1], own, coords=coords, std_source="scatter"))
    arrays[0].attrs["gas_constant"] = 1e-3 * GAS_CONSTANT  # kJ/(mol K), for Kissinger's line
    return arrays


def names_with_std(names: Iterable[str]) -> tuple[str, ...]:
    """Names of arrays and of their uncertainties."""
    return tuple(f"{name}{end}" for name in names for end in ("", "_std"))


def several_files(section: MeasurementSection) -> bool:
    """Whether the files of a measurement may be so many that rates can be compared."""
    files = section.files or [name for entry in section.series for name in entry.files]
    return len(files) >= FEWEST or any(sign in name for name in files for sign in "*?[")
