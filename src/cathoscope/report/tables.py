"""Tables of what comes in rows: one per bulk spectrum, per particle; on the page in words, as CSV in full."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from cathoscope.core.brackets import with_uncertainty
from cathoscope.report.groups import groups_of
from cathoscope.report.names import names_along, remarks_of
from cathoscope.report.numbers import format_value, plain_number
from cathoscope.report.style import unit_text

NO_VALUE = "–"
_LEAST_CHANCE = 1e-3


@dataclass(frozen=True)
class Column:
    """One quantity of all rows.

    ``sigma`` is None where the quantity has no uncertainty; its cells then show ``digits`` digits. ``csv_name`` is the
    head in the CSV file, the name of the array if empty. ``sigma_digits`` are those of the uncertainty, by default two
    if the first is 1, else one.
    """

    array: str
    title: str
    unit: str
    values: tuple[float, ...]
    sigma: tuple[float, ...] | None = None
    csv_name: str = ""
    digits: int = 6
    sigma_digits: int | None = None
    is_count: bool = False
    brackets: bool = False  # 2.8403(9) in place of 2.8403 ± 0.0009
    own_digits: bool = False  # each value has ``digits`` digits of its own
    is_chance: bool = False  # a probability: below 0.001 it says no more than that
    csv_only: bool = False  # not on the page

    @property
    def is_empty(self) -> bool:
        """Whether no row has a value."""
        return not any(math.isfinite(value) for value in self.values)

    @property
    def head(self) -> str:
        """Title with the unit."""
        unit = unit_text(self.unit)
        return f"{self.title} ({unit})" if unit else self.title

    def cell(self, row: int) -> str:
        """Value with its uncertainty in words; an en dash where there is none."""
        value = self.values[row]
        if not math.isfinite(value):
            return NO_VALUE
        if self.is_count:
            return f"{value:.0f}"
        if self.is_chance and value < _LEAST_CHANCE:
            return f"< {_LEAST_CHANCE:g}"
        if self.own_digits or self.is_chance:
            return plain_number(float(f"{value:.{self.digits}g}")).replace("-", "−")
        if self.sigma is None:
            return self._fixed(value)
        if self.brackets:
            return with_uncertainty(value, self.sigma[row]).replace("-", "−")
        if value == 0 and self.sigma[row] == 0:
            return "0"  # by definition, as the remark says
        return format_value(value, self.sigma[row], "1", digits=self.sigma_digits).replace("-", "−")

    def _fixed(self, value: float) -> str:
        """A value with as many decimals as give the largest of the column ``digits`` digits."""
        largest = max(abs(each) for each in self.values if math.isfinite(each))
        decimals = self.digits - 1 - math.floor(math.log10(largest)) if largest > 0 else 0
        if not 0 <= decimals <= 2 + self.digits:
            return plain_number(float(f"{value:.{self.digits}g}")).replace("-", "−")
        return f"{value:.{decimals}f}".replace("-", "−")


@dataclass(frozen=True)
class Table:
    """Rows with names, columns of numbers, a last column of words, and what to know about missing values."""

    key: str
    title: str
    first: str
    names: tuple[str, ...]
    columns: tuple[Column, ...]
    words: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    words_from: str = ""  # the array that the words tell
    rows: tuple[int, ...] = ()  # those on the page; all if none are chosen
    covers: tuple[str, ...] = ()  # further arrays of which it shows what is to be known
    words_head: str = "remark"

    @property
    def arrays(self) -> frozenset[str]:
        """Arrays that the table shows in full."""
        return frozenset([*(column.array for column in self.columns), self.words_from, *self.covers])

    @property
    def shown(self) -> tuple[Column, ...]:
        """Columns of the page with at least one value; the notes say why the others have none."""
        return tuple(column for column in self.columns if not (column.is_empty or column.csv_only))

    @property
    def heads(self) -> tuple[str, ...]:
        """Heads of all columns."""
        return (self.first, *(column.head for column in self.shown), *((self.words_head,) if any(self.words) else ()))

    @property
    def cells(self) -> tuple[tuple[str, ...], ...]:
        """The rows on the page as text."""
        return tuple(
            (
                self.names[row],
                *(column.cell(row) for column in self.shown),
                *((self.words[row],) if any(self.words) else ()),
            )
            for row in self.rows or range(len(self.names))
        )

    def csv(self) -> str:
        """The table with all digits, a column of its own for each uncertainty; empty where there is no value."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        heads = [self.first]
        for column in self.columns:
            unit = "" if column.unit == "1" else f" ({column.unit})"
            name = column.csv_name or column.array
            heads += [f"{name}{unit}"] + ([] if column.sigma is None else [f"{name}_std{unit}"])
        writer.writerow([*heads, *([self.words_head] if any(self.words) else [])])
        for row, name in enumerate(self.names):
            fields = [name]
            for column in self.columns:
                value = column.cell(row) if column.is_count else _digits(column.values[row])
                fields += [value] + ([] if column.sigma is None else [_digits(column.sigma[row])])
            writer.writerow([*fields, *([self.words[row]] if any(self.words) else [])])
        return text.getvalue()


def _digits(value: float) -> str:
    return repr(value) if math.isfinite(value) else ""


def tables_of(data: xr.Dataset) -> list[Table]:
    """Every table that the arrays of a measurement allow."""
    return [
        table
        for make in (_group_table, _valence_table, _spectra_table, _weights_table, _particle_table)
        if (table := make(data)) is not None
    ]


# Title of each array of a bulk spectrum, and the words by which a remark speaks of it.
_SPECTRUM_COLUMNS = {
    "half_height_edge": ("half-height edge", ("half height", "half-height")),
    "derivative_edge": ("derivative edge", ("derivative", "steepest rise")),
    "integral_edge": ("integral edge", ("integral edge",)),
    "white_line_energy": ("white line", ("white line",)),
    "edge_step": ("edge step", ("edge step",)),
    "energy_shift": ("energy added", ("calibrated",)),
}


def _spectra_table(data: xr.Dataset) -> Table | None:
    there = [name for name in _SPECTRUM_COLUMNS if name in data and data[name].dims == ("spectrum",)]
    if not there:
        return None
    columns = [_column(data, name, _SPECTRUM_COLUMNS[name][0]) for name in there]
    notes = [note for column in columns for note in _missing_notes(data, column)]
    notes += _sigma_notes(data)
    names = tuple(names_along(data[there[0]], "spectrum"))
    return Table("spectra", "Spectra", "spectrum", names, tuple(columns), notes=tuple(notes))


def _sigma_notes(data: xr.Dataset) -> list[str]:
    """What the uncertainty of an edge does not hold."""
    notes = []
    shift = data.get("energy_shift_std")
    if shift is not None and np.isfinite(shift.values).any():
        notes.append("σ of an edge is that of the fit alone; that of the energy added comes on top")
    scatter = groups_of(data).scatter if "group_edge" in data and data["group_edge"].dims == ("group",) else math.nan
    if math.isfinite(scatter):
        size = f"{plain_number(float(f'{scatter:.2g}'))} eV"
        notes.append(f"σ is that of the fit alone: spectra of one group scatter by {size}")
    return notes


def _column(data: xr.Dataset, name: str, title: str) -> Column:
    array, std = data[name], data.get(f"{name}_std")
    values = np.asarray(array.values, np.float64)
    sigma = None if std is None else np.asarray(std.values, np.float64)
    if name == "energy_shift" and sigma is not None:
        # Without a foil nothing was added, and that is no measurement of zero.
        values = np.where(np.isfinite(sigma), values, np.nan)
    unit = str(array.attrs.get("units", ""))
    return Column(name, title, unit, tuple(values.tolist()), None if sigma is None else tuple(sigma.tolist()))


def _missing_notes(data: xr.Dataset, column: Column) -> list[str]:
    """Why a column has no value in some rows: what the analysis remarked on it."""
    if all(math.isfinite(value) for value in column.values):
        return []
    words = _SPECTRUM_COLUMNS[column.array][1] if column.array in _SPECTRUM_COLUMNS else (column.title,)
    said = [remark for remark in remarks_of(data) if any(word in remark.lower() for word in words) and _is_lack(remark)]
    if not said and column.array == "energy_shift":
        said = ["energies are as recorded, there is no foil"]
    head = f"No row has a value of {column.title}" if column.is_empty else f"{NO_VALUE} in the column {column.title}"
    return [f"{head}: {'; '.join(said) or 'the analysis found no value'}"]


def _is_lack(remark: str) -> bool:
    """Whether a remark says that something is not there (``no edge``, ``no convergence``, ``not calibrated``)."""
    return any(f" {word} " in f" {remark.lower()} " for word in ("no", "not", "without"))


def _group_table(data: xr.Dataset) -> Table | None:
    if "group_edge" not in data or data["group_edge"].dims != ("group",):
        return None
    groups = groups_of(data)
    edge = groups.edge.replace("_", " ").replace("half height", "half-height") or "edge"
    columns = [
        replace(_column(data, name, title), sigma_digits=2)
        for name, title in (("group_edge", f"mean {edge}"), ("group_edge_rise", "rise against the reference"))
        if name in data
    ]
    if any(groups.count):
        count = tuple(float(each) for each in groups.count)
        columns.insert(0, Column("count", "spectra", "1", count, is_count=True))
    words = tuple("reference" if groups.is_reference(row) else "" for row in range(len(groups.names)))
    notes = [f"The reference of a group is the group with {groups.against_words}"] if any(words) else []
    notes += [groups.sigma_words.rstrip(".")] if groups.sigma_words else []
    return Table("groups", "Groups of spectra", "group", tuple(groups.names), tuple(columns), words, tuple(notes))


def _valence_table(data: xr.Dataset) -> Table | None:
    if "valence" not in data or data["valence"].dims != ("spectrum",):
        return None
    column = _column(data, "valence", "valence")
    names = tuple(names_along(data["valence"], "spectrum"))
    notes = tuple(_missing_notes(data, column))
    return Table("valence", "Valence", "spectrum", names, (column,), _valence_words(data, len(names)), notes)


def _valence_words(data: xr.Dataset, n: int) -> tuple[str, ...]:
    """Interval of the valence, and whether a spectrum is a standard."""
    attrs = data["valence"].attrs
    lower, upper = (np.asarray(attrs.get(key, np.full(n, np.nan)), np.float64) for key in ("lower", "upper"))
    stated = dict(zip(attrs.get("standards", ()), attrs.get("standard_valences", ()), strict=False))
    beyond = np.asarray(attrs.get("extrapolated", np.zeros(n)), bool)
    words = []
    for index in range(n):
        parts = [f"standard, stated {stated[index + 1]:g}"] if index + 1 in stated else []
        if np.isfinite([lower[index], upper[index]]).all():
            parts.append(f"95 % from {lower[index]:.2f} to {upper[index]:.2f}")
        elif not np.isnan([lower[index], upper[index]]).any():
            parts.append("95 % interval open")
        parts += ["beyond the standards"] if beyond[index] and index + 1 not in stated else []
        words.append(", ".join(parts))
    return tuple(words)


def _weights_table(data: xr.Dataset) -> Table | None:
    if "component_fraction" not in data or data["component_fraction"].dims != ("spectrum", "component"):
        return None
    weight, std = data["component_fraction"], data.get("component_fraction_std")
    columns = []
    for index, name in enumerate(names_along(weight, "component")):
        values = tuple(weight.values[:, index].tolist())
        sigma = None if std is None else tuple(std.values[:, index].tolist())
        columns.append(Column("component_fraction", name, "1", values, sigma, csv_name=name))
    if "r_factor" in data and data["r_factor"].dims == ("spectrum",):
        columns.append(replace(_column(data, "r_factor", "R-factor"), digits=3))
    names = tuple(names_along(weight, "spectrum"))
    return Table("weights", "Weights of the components", "spectrum", names, tuple(columns))


_PARTICLE_COLUMNS = {
    "particle_diameter": "diameter",
    "particle_area": "area",
    "particle_x": "centre x",
    "particle_y": "centre y",
    "particle_jump": "mean jump of optical depth",
}


def _particle_table(data: xr.Dataset) -> Table | None:
    there = [name for name in _PARTICLE_COLUMNS if name in data and data[name].dims == ("particle",)]
    if not there or not data.sizes["particle"]:
        return None
    columns = tuple(replace(_column(data, name, _PARTICLE_COLUMNS[name]), digits=4) for name in there)
    n = data.sizes["particle"]
    numbers = data["particle"].values if "particle" in data.coords else np.arange(1, n + 1)
    cut = data["particle_at_border"].values if "particle_at_border" in data else np.zeros(n, bool)
    words = tuple("cut by the border: size and centre are of the part in view" if each else "" for each in cut)
    notes = [
        f"{NO_VALUE} {column.title}: the particle has no pixel with a value"
        for column in columns
        if not all(math.isfinite(value) for value in column.values)
    ]
    notes += _jump_source(data)
    return Table(
        "particles", "Particles", "number", tuple(map(str, numbers)), columns, words, tuple(notes), "particle_at_border"
    )


_JUMP_SOURCES = {
    "counting": "the counts alone",
    "scatter": "the scatter of equal areas of the empty field, and the counts",
}


def _jump_source(data: xr.Dataset) -> list[str]:
    """Where the uncertainty of the mean jump comes from."""
    std = data.get("particle_jump_std")
    source = "" if std is None else str(std.attrs.get("std_source", ""))
    return [f"σ of the mean jump is from {_JUMP_SOURCES.get(source, source)}"] if source else []


def arrays_in(tables: Sequence[Table]) -> frozenset[str]:
    """Arrays that are shown in full by some table."""
    return frozenset().union(*(table.arrays for table in tables))
