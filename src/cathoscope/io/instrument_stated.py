"""What a file states of a bank, before it is checked; and the checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np

from cathoscope.core.bank import CW_VALUES, TOF_VALUES, Bank
from cathoscope.core.errors import MeasurementError

Kind = Literal["tof", "cw"]
Radiation = Literal["neutron", "xray"]

_REQUIRED = {
    "tof": ("difC", "two_theta", "alpha", "beta0", "sig1"),
    "cw": ("wavelength", "U", "V", "W"),
}
_USUAL = {"ratio": 0.5, "polarisation": 0.5, "radius": 200.0}
"""Of values that a file may leave out; all others are 0. The radius is GSAS-II's."""

_WAVELENGTHS = {"neutron": (0.4, 10.0), "xray": (0.04, 5.0)}  # A, of diffractometers
_TUBES = {
    "Ag": 0.559421,
    "Mo": 0.709317,
    "Cu": 1.540593,
    "Co": 1.789010,
    "Fe": 1.936042,
    "Cr": 2.289760,
}  # K-alpha 1, A: Hoelzer et al., Phys. Rev. A 56, 4554 (1997); Ag, Mo: Deslattes et al., Rev. Mod. Phys. 75, 35 (2003)
_LINE_WIDTH = 0.001  # relative: files round, and take means of K-alpha 1 and 2


@dataclass(frozen=True)
class Stated:
    """One bank as a file has it.

    Attributes
    ----------
    number
        As the file counts.
    kind, radiation
        What is scattered, and how it is sorted.
    values
        Numbers by the names of `cathoscope.core.bank`, in its units; what the file leaves out is absent.
    lines
        Where each of them stands, from 1.
    remarks
        What the file holds and a bank does not.
    """

    number: int
    kind: Kind
    radiation: Radiation
    values: Mapping[str, float]
    lines: Mapping[str, int]
    remarks: tuple[str, ...] = ()


_SELDOM = ("wavelength2", "ratio", "radius")  # most files have no second wavelength and need no radius


def bank_of(stated: Stated, path: Path, name: str) -> tuple[Bank, tuple[str, ...]]:
    """The bank, with what the file leaves out filled in, and remarks on that.

    Raises
    ------
    MeasurementError
        If a number that nothing can be computed without is missing, one is impossible, or a wavelength is in a wrong
        unit.
    """
    known = TOF_VALUES if stated.kind == "tof" else CW_VALUES
    missing = [one for one in _REQUIRED[stated.kind] if one not in stated.values]
    if missing:
        raise MeasurementError(
            f"bank {stated.number} has no {' and no '.join(missing)}",
            where=path,
            expected=", ".join(f"{one} ({known[one][1]}, {known[one][0]})" for one in missing),
            found=", ".join(stated.values) or "no numbers",
            cure="take the file of the instrument, or refine a standard and write one",
        )
    for one, value in stated.values.items():
        _check(stated, path, one, value)
    absent = {one: _usual(one, stated.values) for one in known if one not in stated.values}
    values = {one: stated.values.get(one, absent.get(one, 0.0)) for one in known}
    told = ", ".join(f"{one} {value:g}" for one, value in absent.items() if one not in _SELDOM)
    remarks = (*stated.remarks, *([f"not stated and taken as: {told}"] if told else []))
    return Bank(name, stated.kind, stated.radiation, MappingProxyType(values), str(path)), remarks


def _usual(name: str, values: Mapping[str, float]) -> float:
    """What a value is where a file leaves it out."""
    if name == "ratio" and not values.get("wavelength2"):
        return 0.0
    return _USUAL.get(name, 0.0)


def _check(stated: Stated, path: Path, name: str, value: float) -> None:
    """Refuse what no instrument has."""
    where = f"{path}, line {stated.lines[name]}" if name in stated.lines else str(path)
    if name in ("wavelength", "wavelength2") and (value or name == "wavelength"):
        _check_wavelength(value, stated.radiation, where)
    positive = name in ("difC", "alpha", "radius") or (name == "beta0" and not stated.values.get("beta1"))
    bounded = {"two_theta": (0, 180), "polarisation": (0, 1), "ratio": (0, 1.5), "axial": (0, 1)}.get(name)
    bad = not np.isfinite(value) or (positive and value <= 0)
    if bad or (bounded is not None and not bounded[0] <= value <= bounded[1]):
        limits = "above 0" if bounded is None else f"{bounded[0]} to {bounded[1]}"
        raise MeasurementError(
            f"{name} of bank {stated.number} cannot be",
            where=where,
            expected=limits if positive or bounded else "a finite number",
            found=f"{value:g}",
            cure="check the file, and that no field has slipped into another column",
        )


def _check_wavelength(value: float, radiation: Radiation, where: str) -> None:
    """Refuse a wavelength in nm or pm: by the range of diffractometers, and by the lines of X-ray tubes."""
    low, high = _WAVELENGTHS[radiation]
    tube = next((k for k, line in _TUBES.items() if abs(value * 10 / line - 1) < _LINE_WIDTH), None)
    if low <= value <= high and not (radiation == "xray" and tube):
        return
    guess = {0: "nm", 1: "pm"}[int(value > high)]
    raise MeasurementError(
        "the wavelength is in a wrong unit",
        where=where,
        expected=f"Angstrom: {low} to {high} for {'neutrons' if radiation == 'neutron' else 'X-rays'}",
        found=f"{value:g}" + (f", K-alpha of {tube} in nm" if tube else f", as if in {guess}"),
        cure=f"write {value * (10 if guess == 'nm' else 0.01):g}",
    )
