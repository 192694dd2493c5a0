"""What headings of cycler tables mean: ``Test_Time(s)``, ``Voltage/V``, ``current_ampere``, ``mAmp-hr``.

A heading is a stem and a unit. The stem tells the quantity, the unit the factor to the unit of the schema; a heading
without a unit is taken to be in s, V, A, Ah, Wh and degC.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from cathoscope.core.errors import CathoscopeError
from cathoscope.core.units import convert

# Roles beside the names of the schema: what is charged and discharged apart, and what tells the sign.
CHARGING, DISCHARGING = "charging", "discharging"
CHARGING_ENERGY, DISCHARGING_ENERGY = "charging_energy", "discharging_energy"
STATE = "state"

_IN_BRACKETS = re.compile(r"^(.*?)[\s_]*[(\[{]([^()\[\]{}]*)[)\]}]\s*$", re.DOTALL)
_BEHIND_SLASH = re.compile(r"^(.*?)\s*/\s*([^/]+)$", re.DOTALL)
_BEHIND_LINE = re.compile(r"^(.*)_([A-Za-zµ]+)$", re.DOTALL)
# Spellings of units -> quantity and the unit of core.units, or the factor where that has none.
_UNITS: dict[str, tuple[str, str | float]] = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), ("time", "s")),
    **dict.fromkeys(("ms", "millisecond"), ("time", "ms")),
    **dict.fromkeys(("min", "minute", "minutes"), ("time", "min")),
    **dict.fromkeys(("h", "hr", "hour", "hours"), ("time", "h")),
    **dict.fromkeys(("d", "day", "days"), ("time", "d")),
    **dict.fromkeys(("v", "volt", "volts"), ("voltage", "V")),
    **dict.fromkeys(("mv", "millivolt", "mvolts"), ("voltage", "mV")),
    **dict.fromkeys(("uv", "µv", "μv"), ("voltage", "uV")),
    **dict.fromkeys(("a", "amp", "amps", "ampere"), ("current", "A")),
    **dict.fromkeys(("ma", "mamps", "milliampere"), ("current", "mA")),
    **dict.fromkeys(("ua", "µa", "μa", "uamps", "microampere"), ("current", "uA")),
    "na": ("current", "nA"),
    "pa": ("current", "pA"),
    **dict.fromkeys(("ah", "a.h", "amp-hr", "amphr", "a*h", "ampere hour"), ("charge", "Ah")),
    **dict.fromkeys(("mah", "ma.h", "mamp-hr", "mamphr", "ma*h"), ("charge", "mAh")),
    **dict.fromkeys(("uah", "µah", "μah", "ua.h", "µa.h"), ("charge", "uAh")),
    "nah": ("charge", "nAh"),
    **dict.fromkeys(("as", "a.s", "coulomb"), ("charge", "C")),
    **dict.fromkeys(("mas", "ma.s"), ("charge", "mC")),
    **dict.fromkeys(("wh", "w.h", "watt-hr", "watthr", "w*h"), ("energy", 1.0)),
    **dict.fromkeys(("mwh", "mw.h", "mwatt-hr", "mwatthr", "mw*h"), ("energy", 1e-3)),
    **dict.fromkeys(("uwh", "µwh", "μwh", "uw.h"), ("energy", 1e-6)),
    **dict.fromkeys(("ws", "j"), ("energy", 1 / 3600)),
    **dict.fromkeys(("mws", "mj"), ("energy", 1 / 3.6e6)),
    **dict.fromkeys(("c", "°c", "℃", "degc", "oc", "celsius"), ("temperature", "C")),
    **dict.fromkeys(("k", "kelvin"), ("temperature", "K")),
    "1": ("number", 1.0),
}
_CHARGE_WORD = r"(?:chg|charge|charging)"
_DISCHARGE_WORD = r"(?:d[ci]?s?chg|dischg|discharge|discharging)"
_CAPACITY_WORD = r"(?:cap|capacity|capacitance)"
_ENERGY_WORD = r"(?:energy|engy)"
# Role, quantity, rank (the lowest is taken) and what the stem is.
_ROLES: tuple[tuple[str, str, int, re.Pattern[str]], ...] = tuple(
    (role, quantity, rank, re.compile(pattern))
    for role, quantity, rank, pattern in (
        ("elapsed_time", "time", 0, r"(?:test|total|cumulative|elapsed|run) ?time|测试时间|总时间|test"),
        ("elapsed_time", "time", 1, r"~?time|seconds|sec"),
        ("cell_voltage", "voltage", 0, r"(?:cell )?(?:voltage|potential)|m?volts?|ecell|电压|u"),
        ("cell_voltage", "voltage", 1, r"<?ewe>?|e|v"),
        ("cell_current", "current", 0, r"current|cur|[mu]?amps|<?i>?|电流"),
        (CHARGING, "charge", 0, rf"(?:q )?{_CHARGE_WORD} {_CAPACITY_WORD}|{_CAPACITY_WORD} {_CHARGE_WORD}|q charge"),
        (
            DISCHARGING,
            "charge",
            0,
            rf"(?:q )?{_DISCHARGE_WORD} {_CAPACITY_WORD}|{_CAPACITY_WORD} {_DISCHARGE_WORD}|q discharge",
        ),
        ("cell_charge", "charge", 0, rf"(?:net )?{_CAPACITY_WORD}|[mu]?amp ?hr|a?h|charge|容量"),
        (CHARGING_ENERGY, "energy", 0, rf"{_CHARGE_WORD} {_ENERGY_WORD}|{_ENERGY_WORD} {_CHARGE_WORD}"),
        (DISCHARGING_ENERGY, "energy", 0, rf"{_DISCHARGE_WORD} {_ENERGY_WORD}|{_ENERGY_WORD} {_DISCHARGE_WORD}"),
        ("cell_energy", "energy", 0, rf"(?:net )?{_ENERGY_WORD}|m?watt ?hr|能量"),
        ("cell_temperature", "temperature", 0, r"(?:cell|surface) ?temp(?:erature)?(?: ?t?\d+)?"),
        ("cell_temperature", "temperature", 1, r"(?:aux )?(?:ambient )?temp(?:erature)?(?: ?t?\d+)?|t\d+|温度"),
        ("file_cycle", "number", 0, r"(?:total )?cyc(?:le)?(?: ?(?:index|number|id|count|no))?|循环序号|循环号"),
        ("file_step", "number", 0, r"step(?: ?(?:index|number|id|no))?|ns|工步序号|工步号"),
        ("file_step", "number", 1, r"step count"),
        (STATE, "", 0, r"state|md|(?:step )?(?:type|status|mode)|step name|工步类型"),
    )
)
_IMPEDANCE = re.compile(r"^(?:freq|frequency|zreal|z'|re ?\(?z\)?|\|z\|)", re.IGNORECASE)
_FEWEST_UNITS = 2


@dataclass(frozen=True)
class Meaning:
    """What a heading means.

    Parameters
    ----------
    role
        A name of the schema, or one of the roles of this module.
    factor, offset
        The value in the schema's unit is factor times value plus offset.
    unit
        As the heading has it; empty without one.
    rank
        Of several headings with one role that of the lowest rank is taken.
    """

    role: str
    factor: float = 1.0
    offset: float = 0.0
    unit: str = ""
    rank: int = 0


def meaning_of(heading: str) -> Meaning | None:
    """What a heading means; None if that is not known.

    Quantities per mass or area, step times, dates, extremes and derivatives are not known on purpose.
    """
    text = heading.strip().strip('"').strip()
    for stem, unit in _readings(text):
        quantity, to_unit = _UNITS.get(unit.lower(), ("", 1.0)) if unit else ("", 1.0)
        spellings = (_plain(stem), _plain(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", stem)))
        for role, wanted, rank, pattern in _ROLES:
            fits = any(pattern.fullmatch(spelling) for spelling in spellings)
            if fits and (not unit or quantity == wanted or _is_clock(unit, wanted)):
                factor, offset = _conversion(wanted, to_unit if quantity else 1.0)
                return Meaning(role, factor, offset, unit, rank)
    return None


def _readings(text: str) -> list[tuple[str, str]]:
    """Ways to take the heading apart, the surest first."""
    for pattern in (_IN_BRACKETS, _BEHIND_SLASH):
        match = pattern.match(text)
        if match:
            return [(match.group(1), match.group(2).strip())]
    readings = []
    match = _BEHIND_LINE.match(text)
    if match and match.group(2).lower() in _UNITS:
        readings.append((match.group(1), match.group(2)))
    elif match and text.lower().endswith("ampere_hour"):
        readings.append((text[: -len("_ampere_hour")], "ah"))
    readings.append((text, ""))
    # The unit is the name: Volts, mAmps, mAmp-hr, Seconds.
    quantity, _ = _UNITS.get(text.lower(), ("", 1.0))
    return [(text, text.lower())] if quantity and len(text) > 1 else readings


def _plain(stem: str) -> str:
    """Words in lower case with single blanks: Cycle-Index, cycle_index and Cycle Index are one."""
    return " ".join(re.sub(r"[_\-.#:]+", " ", stem).lower().split())


def _is_clock(unit: str, wanted: str) -> bool:
    """Whether times are written hours:minutes:seconds."""
    return (
        wanted == "time" and re.fullmatch(r"h\w*:m\w*:s[\w.]*|hh:mm:ss.*|d\D+h\w*:m\w*:s.*", unit.lower()) is not None
    )


def _conversion(quantity: str, unit: str | float) -> tuple[float, float]:
    if isinstance(unit, float):
        return unit, 0.0
    if quantity == "temperature":
        return 1.0, convert(0.0, unit, quantity)
    return convert(1.0, unit, quantity), 0.0


def meanings_of(headings: Sequence[str]) -> dict[str, tuple[int, Meaning]]:
    """Position and meaning of the column of each role; of several the one of lowest rank, then the first."""
    found: dict[str, tuple[int, Meaning]] = {}
    for position, heading in enumerate(headings):
        meaning = meaning_of(heading)
        if meaning is None:
            continue
        before = found.get(meaning.role)
        if before is None or meaning.rank < before[1].rank:
            found[meaning.role] = (position, meaning)
    return found


def stated_meaning(role: str, heading: str, unit: str | None) -> Meaning:
    """The meaning of a column whose role is stated; the unit is that of the heading where none is stated.

    Parameters
    ----------
    role
        A name of the schema, or one of the roles of this module.
    heading
        The column's name.
    unit
        As a person writes it, such as ``"mA"``.

    Raises
    ------
    CathoscopeError
        If the unit is none of this quantity.
    """
    wanted = next((quantity for known, quantity, _, _ in _ROLES if known == role), "")
    units = [unit] if unit is not None else [found for _, found in _readings(heading) if found]
    for text in units:
        quantity, to_unit = _UNITS.get(text.lower(), ("", 1.0))
        if quantity == wanted:
            return Meaning(role, *_conversion(wanted, to_unit), text)
    if unit is not None:
        raise CathoscopeError(
            f"unknown unit of {role.replace('_', ' ')}",
            expected=" or ".join(text for text, (quantity, _) in _UNITS.items() if quantity == wanted) or "none",
            found=repr(unit),
        )
    return Meaning(role)


def units_below(headings: Sequence[str], fields: Sequence[str]) -> tuple[str, ...] | None:
    """Headings with the units of a row of units below them; None if the row is none.

    Parameters
    ----------
    headings
        Names without units.
    fields
        Of the first row below.
    """
    units = [field.strip().strip("[]()").strip() for field in fields]
    known = [unit.lower() in _UNITS for unit in units]
    if sum(known) < _FEWEST_UNITS or any(
        unit and not is_unit and unit[0].isdigit() for unit, is_unit in zip(units, known, strict=True)
    ):
        return None
    return tuple(
        f"{name} ({unit})" if is_unit and not _readings(name)[0][1] else name
        for name, unit, is_unit in zip(headings, units, known, strict=True)
    )


def is_cycler_heading(headings: Sequence[str]) -> bool:
    """Whether the names have a time and a voltage, and are not those of impedance.

    A bare letter, which may mean an energy, is a voltage only beside a current.
    """
    if any(_IMPEDANCE.match(name.strip()) for name in headings):
        return False
    found = meanings_of(headings)
    if not {"elapsed_time", "cell_voltage"} <= set(found):
        return False
    return len(headings[found["cell_voltage"][0]].strip()) > 1 or "cell_current" in found
