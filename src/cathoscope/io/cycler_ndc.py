"""Pages of records inside Neware's ``.ndax`` archives, and the rows that a test is made of.

Layouts were found by comparing files with the tables that the vendor's program exports of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cathoscope.io.cycler import Floats, Integers

_PAGE = 4096
_FIRST = 132  # byte of the first record of a page
VERSION = 17
DATA, AUXILIARY, STEPS, RUN = 1, 5, 7, 18
_CHARGE_TYPES, _DISCHARGE_TYPES = (1, 3, 7), (2, 8, 19, 20)

_VALUES = np.dtype({"names": ["voltage", "current"], "formats": ["<f4", "<f4"], "offsets": [0, 4], "itemsize": 8})
_TEMPERATURE = np.dtype([("temperature", "<f4")])
_STEP = np.dtype(
    {"names": ["cycle", "step", "kind"], "formats": ["<u4", "<u4", "u1"], "offsets": [0, 4, 24], "itemsize": 100}
)
_RUN = np.dtype(
    {
        "names": ["time", "charged", "discharged", "energy_in", "energy_out", "passed", "date", "count", "row", "ms"],
        "formats": ["<u4", "<f4", "<f4", "<f4", "<f4", "<u4", "<u4", "<u4", "<u4", "<u2"],
        "offsets": [0, 5, 9, 13, 17, 29, 33, 37, 41, 45],
        "itemsize": 100,
    }
)
_KINDS = {DATA: _VALUES, AUXILIARY: _TEMPERATURE, STEPS: _STEP, RUN: _RUN}


class UnknownLayout(Exception):
    """The pages are of a kind or version that is not read here; the text says which."""


def records(content: bytes, kind: int) -> NDArray[Any]:
    """The valid records of all pages, as a structured array, as far as the file goes.

    A file is a page of header, whose first byte is the kind and whose third is the version, and pages of a header, a
    bit for each record that says whether it is one, and records.

    Raises
    ------
    UnknownLayout
        If kind or version are others.
    """
    if len(content) < 4 or content[0] != kind or content[2] != VERSION:
        raise UnknownLayout(f"kind {content[0] if content else '-'}, version {content[2] if len(content) > 2 else '-'}")
    dtype = _KINDS[kind]
    n_pages = len(content) // _PAGE - 1
    if n_pages < 1:
        return np.zeros(0, dtype)
    pages = np.frombuffer(content, np.uint8, n_pages * _PAGE, _PAGE).reshape(n_pages, _PAGE)
    n_records = (_PAGE - _FIRST) // dtype.itemsize
    bits = np.unpackbits(pages[:, 4:_FIRST], axis=1, bitorder="little")
    valid = np.zeros((n_pages, n_records), np.bool_)
    valid[:, : bits.shape[1]] = bits[:, :n_records]
    bodies = np.ascontiguousarray(pages[:, _FIRST : _FIRST + n_records * dtype.itemsize])
    return bodies.view(dtype)[valid]


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of a test in the schema's units, shape (n,) each; the step is that of the programme."""

    time: Floats
    voltage: Floats
    current: Floats
    charge: Floats
    energy: Floats
    cycle: Integers
    step: Integers
    started: int  # s since 1970


def rows_of(values: NDArray[Any], runs: NDArray[Any], steps: NDArray[Any], by_charge: bool) -> Rows:
    """Every row of a test, from the values of all and the times of some.

    A row that has no record of its time comes as long after the row above as that row after the one above it. Charge
    and energy, which such records hold too, are continued with the row's own current and voltage.

    Parameters
    ----------
    values
        Voltage and current of all rows.
    runs
        Records of times.
    steps
        Cycle, step and kind of every step of the test.
    by_charge
        Whether a charge after a discharge begins a cycle, instead of the loops of the programme.

    Raises
    ------
    UnknownLayout
        If the records do not belong together.
    """
    runs = runs[(runs["row"] > 0) & (runs["row"] <= values.size)]
    places = runs["row"].astype(np.int64) - 1
    kept = np.append(True, np.diff(places) > 0)
    runs, places = runs[kept], places[kept]
    if not places.size or places[0] != 0 or (np.diff(places) <= 0).any():
        raise UnknownLayout("records of times out of order")
    if runs["count"].max() > steps.size or runs["count"].min() < 1:
        raise UnknownLayout(f"{steps.size} steps where a record counts {runs['count'].max()}")
    last = np.searchsorted(places, np.arange(values.size), side="right") - 1
    since = (np.arange(values.size) - places[last]) * (runs["passed"][last] / 1e3)
    in_step = runs["time"][last] / 1e3 + since
    count = runs["count"][last].astype(np.int64) - 1
    with np.errstate(invalid="ignore", over="ignore"):
        voltage, current = values["voltage"].astype(np.float64), values["current"].astype(np.float64)
        charge = _continued(runs["charged"], runs["discharged"], current, runs["passed"] / 3.6e6, places, last)
        energy = _continued(
            runs["energy_in"], runs["energy_out"], current * voltage, runs["passed"] / 3.6e6, places, last
        )
    cycles = cycles_by_charge(steps["kind"]) if by_charge else steps["cycle"].astype(np.int64) + 1
    return Rows(
        _since_start(in_step, count),
        voltage,
        current,
        charge,
        energy,
        cycles[count],
        steps["step"].astype(np.int64)[count],
        int(runs["date"][0]),
    )


def _continued(
    more: NDArray[Any], less: NDArray[Any], rate: Floats, passed: Floats, places: Integers, last: Integers
) -> Floats:
    """Sums at some rows, and at those between them continued by rate times the time between rows."""
    known = more.astype(np.float64) - less.astype(np.float64)
    added = rate * passed[last]
    added[places] = 0.0
    total = np.cumsum(added)
    return np.asarray(known[last] + total - total[places][last])


def _since_start(in_step: Floats, count: Integers) -> Floats:
    """Times since the start: those in each step behind the last of the step before."""
    first = np.flatnonzero(np.diff(count)) + 1
    offset = np.zeros(in_step.size)
    offset[first] = in_step[first - 1]
    return np.asarray(in_step + np.cumsum(offset))


def cycles_by_charge(kinds: NDArray[Any]) -> Integers:
    """Number of the cycle of each step, from 1: a charge that follows a discharge begins the next."""
    number, discharged = 1, False
    numbers = []
    for kind in kinds.tolist():
        if kind in _CHARGE_TYPES and discharged:
            number, discharged = number + 1, False
        discharged |= kind in _DISCHARGE_TYPES
        numbers.append(number)
    return np.array(numbers, dtype=np.int64)
