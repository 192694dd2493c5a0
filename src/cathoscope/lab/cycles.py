r"""Cycles of a cell: capacity, Coulombic and energy efficiency, mean voltages, polarisation.

A cycle of a cathode (or of a full cell) is a charge and the discharge after it; of an anode against lithium it is a
discharge, which fills it, and the charge after it:

    Coulombic efficiency = Q(discharge) / Q(charge)  for a cathode,  Q(charge) / Q(discharge)  for an anode
    energy efficiency    = E(discharge) / E(charge), what the cell gives over what it takes, for both
    polarisation         = mean voltage of charge - mean voltage of discharge, each E / Q
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.lab.half_cycles import HalfCycles, half_cycles_of, ratio_of
from cathoscope.lab.record import Array, Record

Electrode = Literal["cathode", "anode"]
Source = Literal["integration", "counter"]

_NEAR = 0.05  # of the voltage range: so near its end a half cycle has reached it
_ALIKE = 0.2  # of the charge: so near the others' a half cycle is one of them
_COUNTER = 0.01  # by how much the counter may differ from the integral before it is said


@dataclass(frozen=True, eq=False)
class Cycles:
    """Cycles of one cell; all arrays are ``[cycle]``, NaN where a half is missing.

    Attributes
    ----------
    number
        From 1.
    charge, discharge, charge_std, discharge_std
        Ah.
    charge_energy, discharge_energy
        Wh.
    efficiency, efficiency_std
        Coulombic efficiency.
    energy_efficiency
        Energy given over energy taken.
    charge_voltage, discharge_voltage, polarisation
        Mean voltages and their difference, V.
    charge_current, discharge_current
        Mean currents, A, above zero.
    complete
        Whether both halves are there and none was cut short.
    half
        Numbers of the charge and the discharge among ``halves``, ``[cycle, 2]``; -1 if missing.
    electrode
        The working electrode: "cathode" or "anode".
    halves
        The half cycles.
    remarks
        What was noticed, for the report.
    """

    number: NDArray[np.int64]
    charge: Array
    discharge: Array
    charge_std: Array
    discharge_std: Array
    charge_energy: Array
    discharge_energy: Array
    efficiency: Array
    efficiency_std: Array
    energy_efficiency: Array
    charge_voltage: Array
    discharge_voltage: Array
    polarisation: Array
    charge_current: Array
    discharge_current: Array
    complete: NDArray[np.bool_]
    half: NDArray[np.int64]
    electrode: Electrode
    halves: HalfCycles
    remarks: tuple[str, ...]

    @property
    def capacity(self) -> Array:
        """What the cell gives back, Ah: discharge of a cathode, charge of an anode."""
        return self.discharge if self.electrode == "cathode" else self.charge

    @property
    def capacity_std(self) -> Array:
        """Standard uncertainty of the capacity, Ah."""
        return self.discharge_std if self.electrode == "cathode" else self.charge_std


def cycles_of(
    record: Record,
    *,
    electrode: Electrode = "cathode",
    source: Source = "integration",
    rest_level: float | None = None,
    turn: bool | None = None,
) -> Cycles:
    """Cycles of a record.

    Parameters
    ----------
    electrode
        Which electrode works: "cathode" (also for a full cell) or "anode" (against lithium).
    source
        Whether charge is integrated, or taken from the instrument's counter.
    rest_level, turn
        As of `half_cycles_of`.

    Raises
    ------
    MeasurementError
        As `half_cycles_of`; and if a counter is asked for that is not there.
    """
    return cycles_of_halves(half_cycles_of(record, rest_level=rest_level, turn=turn), electrode, source)


def cycles_of_halves(halves: HalfCycles, electrode: Electrode = "cathode", source: Source = "integration") -> Cycles:
    """Cycles of half cycles; see `cycles_of`."""
    if source == "counter" and not np.isfinite(halves.counted).all():
        raise MeasurementError(
            "the record has no counter of charge",
            expected="a column with the charge that the instrument counted",
            found="none",
            cure='source="integration"',
        )
    begins = 1 if electrode == "cathode" else -1
    half = _pairs(halves.sign, begins)
    whole = complete_of(halves)
    q, e = _of(halves.counted if source == "counter" else halves.charge, half), _of(halves.energy, half)
    if source == "counter":
        e = ratio_of(e * q, _of(halves.charge, half))
    std, v, i = _of(halves.charge_std, half), _of(halves.mean_voltage, half), _of(halves.mean_current, half)
    out, taken = (1, 0) if electrode == "cathode" else (0, 1)
    remarks = (*halves.remarks, *_end_remarks(half, whole), *_counter_remarks(halves))
    return Cycles(
        number=np.arange(1, len(half) + 1),
        charge=q[:, 0],
        discharge=q[:, 1],
        charge_std=std[:, 0],
        discharge_std=std[:, 1],
        charge_energy=e[:, 0],
        discharge_energy=e[:, 1],
        efficiency=ratio_of(q[:, out], q[:, taken]),
        efficiency_std=_efficiency_std(halves, half, q, out),
        energy_efficiency=ratio_of(e[:, 1], e[:, 0]),
        charge_voltage=v[:, 0],
        discharge_voltage=v[:, 1],
        polarisation=v[:, 0] - v[:, 1],
        charge_current=i[:, 0],
        discharge_current=i[:, 1],
        complete=np.asarray(((half >= 0) & whole[half]).all(axis=1), dtype=np.bool_),
        half=half,
        electrode=electrode,
        halves=halves,
        remarks=remarks,
    )


def _pairs(sign: NDArray[np.int8], begins: int) -> NDArray[np.int64]:
    """Charge and discharge of each cycle; half cycles alternate."""
    first = np.flatnonzero(sign == begins)
    second = first + 1
    second = np.where(second < sign.size, second, -1)
    pairs = np.stack([first, second], axis=1)
    if sign[0] != begins:
        pairs = np.concatenate([[[-1, 0]], pairs])
    return np.asarray(pairs if begins == 1 else pairs[:, ::-1], dtype=np.int64)


def _of(values: Array, half: NDArray[np.int64]) -> Array:
    return np.where(half >= 0, values[half], np.nan)


def _efficiency_std(halves: HalfCycles, half: NDArray[np.int64], charge: Array, out: int) -> Array:
    """A later switch from one half to the next makes the one larger and the other smaller: both errors add up."""
    charge = np.where(charge > 0, charge, np.nan)
    relative = _of(halves.noise_std, half) / charge
    order = half[:, ::-1] if out == 0 else half  # in time
    q = charge[:, ::-1] if out == 0 else charge
    begin = np.where(order[:, 0] >= 0, halves.edge_std[order[:, 0], 0], np.nan) / q[:, 0]
    end = np.where(order[:, 1] >= 0, halves.edge_std[order[:, 1], 1], np.nan) / q[:, 1]
    middle = np.where(order[:, 0] >= 0, halves.edge_std[order[:, 0], 1], np.nan) / q[:, 0]
    next_begin = np.where(order[:, 1] >= 0, halves.edge_std[order[:, 1], 0], np.nan) / q[:, 1]
    shared = np.where(halves.joined[order[:, 1]], (middle + next_begin) ** 2, middle**2 + next_begin**2)
    efficiency = charge[:, out] / charge[:, 1 - out]
    return np.asarray(efficiency * np.sqrt((relative**2).sum(axis=1) + begin**2 + end**2 + shared))


def complete_of(halves: HalfCycles) -> NDArray[np.bool_]:
    """Whether each half cycle ran to its end.

    It did if its last voltage lies within 5 % of the voltage range of where half cycles of its kind usually end, or if
    its charge lies within 20 % of that of its neighbours of the same kind. The first one of a record must also begin
    where the others do, or hold as much charge: else the record began within it.
    """
    whole = np.ones(halves.sign.size, dtype=np.bool_)
    span = float(halves.high.max() - halves.low.min())
    for sign in (1, -1):
        kind = np.flatnonzero(halves.sign == sign)
        if kind.size < 2:
            continue
        alike = np.abs(ratio_of(halves.charge[kind], _neighbours(halves.charge[kind])) - 1) <= _ALIKE
        reached = np.where(sign > 0, halves.high[kind], halves.low[kind])
        whole[kind] = alike | (np.abs(reached - np.median(reached)) <= _NEAR * span)
        if kind[0] == 0 and halves.first[0] == 0:
            begin = halves.begin_voltage[kind]
            whole[0] &= bool(alike[0]) or abs(begin[0] - np.median(begin[1:])) <= 2 * _NEAR * span
    return whole


def _neighbours(charge: Array) -> Array:
    """Median of the charges within two places, without the value itself."""
    padded = np.pad(charge, 2, constant_values=np.nan)
    around = np.lib.stride_tricks.sliding_window_view(padded, 5)[:, [0, 1, 3, 4]]
    return np.asarray(np.nanmedian(around, axis=1))


def _end_remarks(half: NDArray[np.int64], whole: NDArray[np.bool_]) -> tuple[str, ...]:
    said = []
    for place, name in ((0, "first"), (-1, "last")):
        missing = [kind for kind, at in zip(("charge", "discharge"), half[place], strict=True) if at < 0]
        short = [kind for kind, at in zip(("charge", "discharge"), half[place], strict=True) if at >= 0 > whole[at] - 1]
        if missing:
            said.append(f"the {name} cycle has no {missing[0]}")
        elif short:
            said.append(f"the {name} cycle is incomplete: its {' and '.join(short)} was cut short")
        if len(half) == 1:
            break
    return tuple(said)


def _counter_remarks(halves: HalfCycles) -> tuple[str, ...]:
    if not np.isfinite(halves.counted).all():
        return ()
    ratio = ratio_of(halves.counted, halves.charge)
    off = np.abs(ratio - 1) > _COUNTER + 3 * ratio_of(halves.charge_std, halves.charge)
    if off.mean() <= 0.1:
        return ()
    return (
        f"the instrument's counter and the integral of the current differ by {np.median(ratio[off]) - 1:+.1%} "
        f"in {int(off.sum())} of {off.size} half cycles; the current is written in steps of {halves.resolution:.1g} A",
    )
