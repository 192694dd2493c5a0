"""Records of battery cyclers: the Dataset that every reader of them gives, and what is checked in all of them.

Signs: a positive current charges the cell, so it raises the voltage; charge and energy grow on charge and fall on
discharge. `checked_columns` leaves out rows without a time and rows whose time runs back, and says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.core.schema import dataset, label, spec_of
from cathoscope.io.lazy import COPY_AGAIN

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

FEWEST_ROWS = 2
STATE_COLUMNS = "state the columns in the recipe, by name or by number"
CYCLING = (
    "elapsed_time",
    "cell_voltage",
    "cell_current",
    "cell_charge",
    "cell_energy",
    "cell_temperature",
    "file_cycle",
    "file_step",
)
IMPEDANCE = ("frequency", "impedance_real", "impedance_imaginary", "sweep")
# Of more rows than this share that are no good, the file is refused instead of the rows.
LARGEST_BAD_SHARE = 0.01
_HIGHEST_VOLTAGE = 100.0
_FEWEST_FOR_SIGNS = 20
_AGAINST_SHARE = 0.8
_LEAST_CHANGE = 0.02  # V
_CHARGE_FACTOR = 3.0
_SAMPLED = 4096  # steps of which the charge is compared with the current


@dataclass(frozen=True, eq=False)
class Columns:
    """Columns of a file.

    Parameters
    ----------
    named
        By the name of the schema and in its unit, shape (n,) each; NaN where there is no value.
    others
        Columns that have no name here, by the name the file has for them, as they are.
    places
        Line, row or record of each point in the file, counted from 1, shape (n,).
    place
        What ``places`` counts.
    """

    named: Mapping[str, Floats]
    others: Mapping[str, Floats]
    places: Integers
    place: str = "line"

    def rows(self, kept: NDArray[np.bool_] | NDArray[np.intp]) -> Columns:
        """The rows that are ``kept``."""
        named = {name: values[kept] for name, values in self.named.items()}
        others = {name: values[kept] for name, values in self.others.items()}
        return Columns(named, others, self.places[kept], self.place)

    def at(self, index: int) -> str:
        """Where the point ``index`` is in the file, for messages."""
        return f"{self.place} {int(self.places[index])}"

    def renamed(self, name: str, values: Floats) -> Columns:
        """With other values of the column ``name``."""
        return Columns({**self.named, name: values}, self.others, self.places, self.place)


def cycler_dataset(columns: Columns, path: Path, remarks: Sequence[str], **attrs: Any) -> xr.Dataset:
    """Columns as a labelled Dataset, after the checks of `checked_columns`.

    Parameters
    ----------
    columns
        As the file has them.
    path
        The file.
    remarks
        What was noticed before.
    attrs
        Further attributes; ``format`` among them.

    Raises
    ------
    MeasurementError
        If fewer than two rows are left, or too many rows are no good.
    """
    noticed = list(remarks)
    with np.errstate(over="ignore", invalid="ignore"):  # a damaged file may hold any number
        columns = checked_columns(columns, path, noticed)
    arrays = [label(name, _as_kind(name, values), ("point",)) for name, values in columns.named.items()]
    if columns.others:
        other = label("other", np.arange(len(columns.others)), ("other",))
        other.attrs["names"] = list(columns.others)
        values = np.array(list(columns.others.values()))
        arrays.append(label("other_column", values, ("other", "point"), coords={"other": other}))
    return dataset(arrays, source=str(path.absolute()), n_files=1, remarks=noticed, **attrs)


def _as_kind(name: str, values: Floats) -> Floats | Integers:
    if spec_of(name).kind != "i":
        return values
    if np.abs(values).max(initial=0) < 2**53:  # which NaN is not
        return values.astype(np.int64)
    return np.where(np.isfinite(values) & (np.abs(values) < 2**53), values, -1).astype(np.int64)


def checked_columns(columns: Columns, path: Path, remarks: list[str]) -> Columns:
    """The columns without what cannot be; ``remarks`` is extended by what was left out or looks wrong.

    Raises
    ------
    MeasurementError
        See `cycler_dataset`.
    """
    columns = _finite(columns, remarks)
    if "elapsed_time" in columns.named:
        columns = _in_time(columns, path, remarks)
    if columns.places.size < FEWEST_ROWS and "frequency" not in columns.named:
        raise MeasurementError(
            "the record has no rows",
            where=path,
            expected=f"at least {FEWEST_ROWS} rows with a time",
            found=str(columns.places.size),
            cure=COPY_AGAIN,
        )
    columns = _volts(columns, remarks)
    if "frequency" not in columns.named:
        remarks += sign_remarks(columns) + charge_remarks(columns) + cycle_remarks(columns)
    return columns


def _finite(columns: Columns, remarks: list[str]) -> Columns:
    """Infinities become NaN; of the columns that matter, values that are none are told."""
    for name, values in columns.named.items():
        bad = ~np.isfinite(values)
        if not bad.any():
            continue
        if name not in ("file_cycle", "file_step", "cell_temperature", "elapsed_time") and not bad.all():
            first = int(np.argmax(bad))
            remarks.append(
                f"{name}: {int(bad.sum())} of {bad.size} values are not numbers, first at {columns.at(first)}"
            )
        columns = columns.renamed(name, np.where(bad, np.nan, values))
    return columns


def _in_time(columns: Columns, path: Path, remarks: list[str]) -> Columns:
    """Rows that have a time, and none that lies before the time of a row above.

    A few rows out of order are left out; many are a second record, whose clock began anew.
    """
    time = columns.named["elapsed_time"]
    timed = np.isfinite(time)
    if not timed.all():
        first = int(np.argmin(timed))
        text = f"{int((~timed).sum())} rows have no time and are left out, first at {columns.at(first)}"
        if (~timed).sum() > max(1, LARGEST_BAD_SHARE * timed.size):
            raise _no_good(columns, path, first, "rows have no time", text)
        remarks.append(text)
        columns = columns.rows(timed)
        time = columns.named["elapsed_time"]
    if time.size < FEWEST_ROWS or (np.diff(time) >= 0).all():
        return columns
    back = time < np.maximum.accumulate(time)
    first = int(np.argmax(back))
    text = f"{time[first]:.10g} s after {time[first - 1]:.10g} s at {columns.at(first)}"
    if back.sum() > max(1, LARGEST_BAD_SHARE * back.size):
        raise _no_good(columns, path, first, "the time runs back", f"{text}; {int(back.sum())} rows lie before")
    remarks.append(f"the time runs back: {text}; {int(back.sum())} rows are left out")
    return columns.rows(~back)


def _no_good(columns: Columns, path: Path, index: int, problem: str, found: str) -> MeasurementError:
    return MeasurementError(
        problem,
        where=f"{path}, {columns.at(index)}",
        expected="a time that never falls from row to row",
        found=found,
        cure="if the file holds several records one after another, give each a file of its own",
    )


def _volts(columns: Columns, remarks: list[str]) -> Columns:
    """Voltages no cell has are millivolts, whatever the heading says."""
    voltage = columns.named.get("cell_voltage")
    if voltage is None or not (np.abs(voltage) > _HIGHEST_VOLTAGE).any():
        return columns
    if np.nanmedian(np.abs(voltage)) <= _HIGHEST_VOLTAGE:
        return columns
    remarks.append(f"voltages up to {np.nanmax(voltage):.6g} V cannot be: they are read as mV")
    return columns.renamed("cell_voltage", voltage / 1e3)


def sign_remarks(columns: Columns) -> list[str]:
    """A remark where the voltage falls while the current is positive: charge and discharge are swapped.

    The voltage of any cell rises on charge; four of five changes of voltage at constant sign of the current must
    go against that before it is said.
    """
    voltage, current = columns.named.get("cell_voltage"), columns.named.get("cell_current")
    if voltage is None or current is None or voltage.size < _FEWEST_FOR_SIGNS:
        return []
    sign = (current > 0).astype(np.int8) - (current < 0)
    run = np.flatnonzero(sign[1:] != sign[:-1]) + 1
    starts, stops = np.append(0, run), np.append(run, sign.size) - 1
    flows = (sign[starts] != 0) & (stops - starts >= _FEWEST_FOR_SIGNS)
    starts, stops = starts[flows], stops[flows]
    change = (voltage[stops] - voltage[starts + 1]) * sign[starts]
    change = change[np.abs(change) > _LEAST_CHANGE]  # a held voltage tells nothing
    if not change.size or (change < 0).mean() < _AGAINST_SHARE:
        return []
    return ["the voltage falls while the current is positive: charge and discharge may be swapped"]


def charge_remarks(columns: Columns) -> list[str]:
    """A remark where the charge that the file counts is not the integral of its current: a unit is wrong."""
    named = columns.named
    if not {"elapsed_time", "cell_current", "cell_charge"} <= set(named):
        return []
    here = np.arange(0, columns.places.size - 1, 1 + columns.places.size // _SAMPLED)
    charge, current, time = (named[name] for name in ("cell_charge", "cell_current", "elapsed_time"))
    counted = charge[here + 1] - charge[here]
    summed = (current[here + 1] + current[here]) / 2 * (time[here + 1] - time[here]) / 3600
    # Where a counter is set back to zero the step has the other sign, or is far too large.
    use = np.isfinite(counted) & (np.abs(summed) > 0) & (counted * summed > 0)
    if use.sum() < _FEWEST_FOR_SIGNS:
        return []
    ratio = float(np.median(counted[use] / summed[use]))
    if 1 / _CHARGE_FACTOR < ratio < _CHARGE_FACTOR:
        return []
    return [
        f"the charge of the file is {ratio:.3g} times the integral of its current: the unit of one of them is wrong"
    ]


def cycle_remarks(columns: Columns) -> list[str]:
    """A remark where the numbers of cycles fall or leave one out."""
    cycle = columns.named.get("file_cycle")
    if cycle is None:
        return []
    steps = np.diff(cycle)
    if ((steps == 0) | (steps == 1)).all():
        return []
    known = np.flatnonzero(np.isfinite(cycle))
    steps = np.diff(cycle[known])
    odd = np.flatnonzero((steps != 0) & (steps != 1))
    if not odd.size:
        return []
    before, after = known[odd[0]], known[odd[0] + 1]
    return [
        f"the number of the cycle goes from {cycle[before]:g} to {cycle[after]:g} at {columns.at(int(after))}"
        + (f", and so {odd.size} times" if odd.size > 1 else "")
    ]


def sweeps_of(frequency: Floats) -> Floats:
    """Number of the sweep of each point, from 1: a new one begins where the frequency turns round.

    Parameters
    ----------
    frequency
        Hz, shape (n,), in the order of the file.
    """
    number = np.ones(frequency.size)
    direction = 0.0
    for k in range(1, frequency.size):
        turn = np.sign(frequency[k] - frequency[k - 1])
        new = turn != 0 and direction != 0 and turn != direction
        number[k] = number[k - 1] + new
        direction = 0.0 if new else (turn or direction)
    return number
