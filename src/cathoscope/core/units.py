"""Units as people write them, converted once, at the door, to the one unit the schema uses."""

from __future__ import annotations

import re

from cathoscope.core.errors import CathoscopeError

ZERO_CELSIUS = 273.15
"""0 degC in K."""

HC = 12398.419843320026
"""Photon energy times wavelength, eV A: Planck's constant times the speed of light; exact (SI 2019)."""

# quantity -> {spelling: factor to the canonical unit, which is the one with factor 1}
_FACTORS: dict[str, dict[str, float]] = {
    "energy": {"eV": 1.0, "keV": 1e3, "meV": 1e-3},
    "length": {"um": 1.0, "µm": 1.0, "μm": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6, "A": 1e-4, "Å": 1e-4},
    "angle": {"deg": 1.0, "rad": 57.29577951308232, "mrad": 0.05729577951308232},
    "time": {"s": 1.0, "ms": 1e-3, "us": 1e-6, "min": 60.0, "h": 3600.0, "d": 86400.0},
    "current": {"A": 1.0, "mA": 1e-3, "uA": 1e-6, "µA": 1e-6, "μA": 1e-6, "nA": 1e-9, "pA": 1e-12},
    "voltage": {"V": 1.0, "mV": 1e-3, "uV": 1e-6, "µV": 1e-6, "μV": 1e-6},
    "charge": {"Ah": 1.0, "mAh": 1e-3, "uAh": 1e-6, "µAh": 1e-6, "nAh": 1e-9, "C": 1 / 3600, "mC": 1e-3 / 3600},
    "mass": {"mg": 1.0, "g": 1e3, "ug": 1e-3, "µg": 1e-3, "ng": 1e-6, "kg": 1e6},
    "volume": {"um3": 1.0, "µm3": 1.0, "μm3": 1.0, "nm3": 1e-9, "mm3": 1e9},
    "area": {"um2": 1.0, "µm2": 1.0, "μm2": 1.0, "nm2": 1e-6, "mm2": 1e6, "cm2": 1e8, "m2": 1e12},
    "density": {"g/cm3": 1.0, "kg/m3": 1e-3},
    "specific charge": {"mAh/g": 1.0, "Ah/kg": 1.0, "Ah/g": 1e3},
    "temperature difference": {"K": 1.0, "mK": 1e-3, "C": 1.0, "°C": 1.0, "degC": 1.0},
    "heating rate": {"K/min": 1.0, "C/min": 1.0, "°C/min": 1.0, "K/s": 60.0, "K/h": 1 / 60},
    "activation energy": {"kJ/mol": 1.0, "eV": 96.48533212},
    "frequency": {"Hz": 1.0, "mHz": 1e-3, "kHz": 1e3, "MHz": 1e6},
    "memory": {"B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30},
}
_CELSIUS_OFFSETS = {"C": 0.0, "°C": 0.0, "degC": 0.0, "K": -ZERO_CELSIUS}
_QUANTITY = re.compile(r"^\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*([^\d\s].*?)?\s*$")


def convert(value: float, unit: str, quantity: str) -> float:
    """Value in the canonical unit of ``quantity``.

    These are eV, um, um2, um3, deg, s, Hz, A, V, Ah, mg, mAh/g, g/cm3, K/min and B; C for a temperature, K for a
    difference of temperatures.

    Raises
    ------
    CathoscopeError
        If the unit is not known for this quantity; the message lists those that are.
    """
    known = _CELSIUS_OFFSETS if quantity == "temperature" else _FACTORS[quantity]
    if unit not in known:
        raise CathoscopeError(
            f"unknown unit of {quantity}",
            expected=" or ".join(known),
            found=repr(unit),
            cure=f'write for example "{_EXAMPLES[quantity]}"',
        )
    if quantity == "temperature":
        return value + known[unit]
    return value * known[unit]


def parse(text: str | float, quantity: str) -> float:
    """Number with unit (``"20 nm"``, ``"8.35 keV"``, ``"4GB"``) in the canonical unit of ``quantity``.

    A bare number is refused: the reader of a recipe should never have to guess a unit.
    """
    match = _QUANTITY.match(text) if isinstance(text, str) else None
    if match is None or match.group(2) is None:
        raise CathoscopeError(
            f"{'an' if quantity[0] in 'aeiou' else 'a'} {quantity} needs a number and a unit",
            expected=f'for example "{_EXAMPLES[quantity]}"',
            found=repr(text),
        )
    return convert(float(match.group(1)), match.group(2), quantity)


_EXAMPLES = {"energy": "8.333 keV", "length": "20 nm", "angle": "0.5 deg", "memory": "4GB", "temperature": "150 C"}
_EXAMPLES |= {"volume": "300 um3", "area": "200 um2", "density": "4.7 g/cm3", "specific charge": "200 mAh/g"}
_EXAMPLES |= {"temperature difference": "6 K", "heating rate": "5 K/min", "frequency": "10 kHz"}
_EXAMPLES["activation energy"] = "180 kJ/mol"
_EXAMPLES |= {"time": "10 s", "current": "1 nA", "voltage": "3.8 V", "charge": "2.5 mAh", "mass": "12 mg"}
