"""What headings of impedance tables mean: ``freq/Hz``, ``Zre (ohms)``, ``Z''(b)``, ``-Im(Z)/Ohm``, ``Phase(Z)/deg``.

A heading is a stem and perhaps a unit in brackets or behind a slash; without one it is in Hz, ohm, deg, s, V or A.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

# Roles beside the names of the schema.
MODULUS, PHASE = "modulus", "phase"

_UNIT = re.compile(r"^(.*?)\s*(?:[(\[]\s*([^()\[\]]*)\s*[)\]]|/\s*([^/]+?))\s*$")
_ROLES: tuple[tuple[str, str, re.Pattern[str]], ...] = tuple(
    (role, quantity, re.compile(pattern))
    for role, quantity, pattern in (
        ("frequency", "frequency", r"freq(?:uency)?|f"),
        ("impedance_real", "resistance", r"z ?'|z ?(?:re|real)|re ?\(?z\)?|real(?: ?z)?|r(?:eal)? ?part"),
        (
            "impedance_imaginary",
            "resistance",
            r"(?P<minus>-)? ?(?:z ?(?:''|\")|z ?(?:im|img|imag|imaginary)|im ?\(?z\)?|imag(?:inary)?(?: ?z)?)",
        ),
        (MODULUS, "resistance", r"\|z\||z ?mod(?:ulus)?|z|\|z"),
        (PHASE, "angle", r"phase(?: ?\(?z\)?)?(?: ?angle)?|z ?phz|theta"),
        ("elapsed_time", "time", r"(?:elapsed |test )?time"),
        ("cell_voltage", "voltage", r"v ?dc|e ?dc|<?ewe>?|e|potential|voltage"),
        ("cell_current", "current", r"i ?dc|<?i>?|current"),
        ("sweep", "number", r"loop ?(?:index|number)|sweep"),
    )
)
_FACTORS = {
    "frequency": {"": 1.0, "hz": 1.0, "khz": 1e3, "mhz": 1e6},
    "angle": {"": 1.0, "deg": 1.0, "degree": 1.0, "degrees": 1.0, "°": 1.0, "rad": 57.29577951308232},
    "time": {"": 1.0, "s": 1.0, "sec": 1.0, "ms": 1e-3, "min": 60.0, "h": 3600.0},
    "voltage": {"": 1.0, "v": 1.0, "mv": 1e-3},
    "current": {"": 1.0, "a": 1.0, "ma": 1e-3, "ua": 1e-6, "µa": 1e-6, "na": 1e-9},
    "number": {"": 1.0, "#": 1.0},
}
_OHMS = {"": 1.0, "mohm": 1e-3, "kohm": 1e3, "Mohm": 1e6, "Gohm": 1e9, "ohm": 1.0}
_LETTERS = ("a", "b")  # ZPlot writes Z'(a), Z''(b)


@dataclass(frozen=True)
class Meaning:
    """What a heading means: a role, and by what its values are multiplied to be in the unit of the schema."""

    role: str
    factor: float


def meaning_of(heading: str, unit: str = "") -> Meaning | None:
    """What a heading means, with the unit of a line of units below it; None if that is not known."""
    text = " ".join(heading.strip().strip('"').split())
    readings = [(text, unit)]
    if match := _UNIT.match(text):
        readings.insert(0, (match[1], (match[2] if match[2] is not None else match[3]) or unit))
    for stem, stated in readings:
        for role, quantity, pattern in _ROLES:
            found = pattern.fullmatch(stem.strip().lower().replace("_", " "))
            factor = None if found is None else _factor(quantity, stated)
            if found is not None and factor is not None:
                return Meaning(role, -factor if found.groupdict().get("minus") else factor)
    return None


def meanings_of(headings: Sequence[str], units: Sequence[str] = ()) -> dict[str, tuple[int, float]] | None:
    """Column and factor of every role, the first that has it; None if they are no impedance over frequency."""
    found: dict[str, tuple[int, float]] = {}
    for place, heading in enumerate(headings):
        meaning = meaning_of(heading, units[place] if place < len(units) else "")
        if meaning is not None and meaning.role not in found:
            found[meaning.role] = (place, meaning.factor)
    parts = {"impedance_real", "impedance_imaginary"} <= set(found) or {MODULUS, PHASE} <= set(found)
    return found if "frequency" in found and parts else None


def _factor(quantity: str, unit: str) -> float | None:
    plain = unit.strip()
    if quantity == "resistance":
        plain = re.sub(r"(?i)ohms?$|Ω$|Ω$", "ohm", plain)
        return 1.0 if plain in _LETTERS else _OHMS.get(plain)
    return _FACTORS[quantity].get(plain.lower())
