"""What the columns of Bio-Logic's EC-Lab mean, binary or text: time, voltage, current, charge, cycles, impedance.

EC-Lab counts a positive current as an oxidation at the working electrode: with the cathode as working electrode it
charges the cell, which is the sign used here.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cathoscope.io.cycler import Columns, Floats, Integers, sweeps_of

# Name of the schema: names of EC-Lab, the best first, and the factor to the unit of the schema.
_DIRECT: tuple[tuple[str, tuple[str, ...], float], ...] = (
    ("elapsed_time", ("time/s",), 1.0),
    ("cell_voltage", ("Ecell/V", "<Ecell>/V", "Ewe/V", "<Ewe>/V", "<Ewe/V>"), 1.0),
    ("cell_current", ("I/mA", "<I>/mA"), 1e-3),
    ("cell_charge", ("Q charge/discharge/mA.h",), 1e-3),
    ("cell_temperature", ("Temperature/°C",), 1.0),
    ("file_step", ("Ns",), 1.0),
    ("frequency", ("freq/Hz",), 1.0),
    ("impedance_real", ("Re(Z)/Ohm",), 1.0),
    ("impedance_imaginary", ("-Im(Z)/Ohm",), -1.0),
)
_COUNTER_VOLTAGE = ("Ece/V", "<Ece>/V")
_GALVANOSTATIC, _REST = 1, 3
_PER_HOUR = 3600.0


def eclab_columns(raw: Mapping[str, Floats], places: Integers, place: str, remarks: list[str]) -> Columns:
    """Columns of a record of EC-Lab by the names of the schema.

    Parameters
    ----------
    raw
        Columns by EC-Lab's names, as they are, shape (n,) each.
    places, place
        See `Columns`.
    remarks
        Is extended by how voltage, current and cycles were told where they are no columns.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # a damaged file may hold any number
        return _columns(raw, places, place, remarks)


def _columns(raw: Mapping[str, Floats], places: Integers, place: str, remarks: list[str]) -> Columns:
    named: dict[str, Floats] = {}
    used = set()
    for name, choices, factor in _DIRECT:
        found = next((choice for choice in choices if choice in raw), None)
        if found is not None:
            named[name] = raw[found] if factor == 1 else raw[found] * factor
            used.add(found)
    used -= _set_voltage(raw, named, remarks)
    if "cell_current" not in named:
        current = _current(raw, remarks)
        if current is not None:
            named["cell_current"] = current
    if {"Energy charge/W.h", "Energy discharge/W.h"} <= set(raw):
        named["cell_energy"] = raw["Energy charge/W.h"] - raw["Energy discharge/W.h"]
    cycle = _cycle(raw, remarks)
    if cycle is not None:
        named["file_cycle"] = cycle
    if "frequency" in named:
        named["sweep"] = sweeps_of(named["frequency"])
    others = {name: values for name, values in raw.items() if name not in used and name != "cycle number"}
    return Columns(named, others, places, place)


def _set_voltage(raw: Mapping[str, Floats], named: dict[str, Floats], remarks: list[str]) -> set[str]:
    """The voltage of a cell with a reference electrode; names of the columns that are no voltage of the cell then."""
    working = next((name for name in ("Ewe/V", "<Ewe>/V", "<Ewe/V>") if name in raw), None)
    counter = next((name for name in _COUNTER_VOLTAGE if name in raw), None)
    if working is None or counter is None or "Ecell/V" in raw:
        return set()
    named["cell_voltage"] = raw[working] - raw[counter]
    remarks.append(f"the voltage of the cell is {working} minus {counter}, both against the reference electrode")
    return {working}


def _current(raw: Mapping[str, Floats], remarks: list[str]) -> Floats | None:
    """Current (A) of a record without one: charge over time of each step, else what the programme asked for."""
    mode = raw.get("mode")
    if "dq/mA.h" in raw and "time/s" in raw:
        remarks.append("the current is dq over the time since the row above: the file has no column of it")
        return current_from_charge_steps(steps=raw["dq/mA.h"] * 1e-3, time=raw["time/s"])
    asked = raw.get("control/mA", raw.get("control/V/mA"))
    if mode is not None and asked is not None and np.isin(mode, (_GALVANOSTATIC, _REST)).all():
        remarks.append("the current is what was asked for (control): the file has no column of it")
        return np.where(mode == _GALVANOSTATIC, asked * 1e-3, 0.0)
    if mode is not None and (mode == _REST).all():
        remarks.append("the cell was at rest all the time: the current is zero, the file has no column of it")
        return np.zeros(mode.size)
    remarks.append("the file has no current, and nothing that tells it")
    return None


def current_from_charge_steps(*, steps: Floats, time: Floats) -> Floats:
    """Mean current I_k = 3600 dq_k / (t_k - t_(k-1)) in A between a row and the one above; 0 at the first.

    Parameters
    ----------
    steps
        Charge dq since the row above, Ah, shape (n,).
    time
        s, shape (n,). Where it stands still the current of the row above is kept.
    """
    current = np.zeros(time.size)
    passed = np.diff(time)
    moving = passed > 0
    if moving.all():
        np.divide(_PER_HOUR * steps[1:], passed, out=current[1:])
        return current
    current[1:][moving] = _PER_HOUR * steps[1:][moving] / passed[moving]
    last = np.maximum.accumulate(np.where(np.append(True, moving), np.arange(time.size), 0))
    return np.asarray(current[last])


def _cycle(raw: Mapping[str, Floats], remarks: list[str]) -> Floats | None:
    """Numbers of the cycles, from 0: EC-Lab's own, else from half cycles, else from the flags."""
    if "cycle number" in raw:
        return raw["cycle number"]
    if "half cycle" in raw:
        remarks.append("numbers of cycles are half cycles over two, as EC-Lab counts: a cycle begins with its charge")
        return np.floor(raw["half cycle"] / 2)
    if {"ox/red", "mode"} <= set(raw):
        charging = _state_kept(raw["ox/red"], raw["mode"] != _REST)
        remarks.append("numbers of cycles count how often the flag ox/red turned to oxidation: a cycle begins with it")
        return np.append(0.0, np.cumsum((charging[1:] > 0) & (charging[:-1] == 0)))
    return None


def _state_kept(flag: Floats, flows: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Floats:
    """The flag where a current flows, at rest that of the last row where one did; -1 before the first."""
    last = np.maximum.accumulate(np.where(flows, np.arange(flag.size), -1))
    return np.where(last >= 0, flag[last], -1.0)
