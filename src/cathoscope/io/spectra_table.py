"""Columns of numbers as bulk spectra: which column is the energy, which are detectors, and the absorption they make.

What is not stated in a `ColumnMap` is told by the names of the columns, as XDI and the beamlines use them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cathoscope.core.errors import MeasurementError
from cathoscope.io.spectra import (
    FEWEST_POINTS,
    STATE_COLUMNS,
    ColumnMap,
    Floats,
    Spectrum,
    energies_in_ev,
    unit_in_name,
)

# A detector that was off reads a few counts of either sign; one that measured is positive nearly everywhere.
_MEASURED_SHARE = 0.9
# Hard X-ray edges from P K to U K, in eV; only a column whose name says energy may go down to the C K edge.
_HARD_X_RAYS = (1e3, 1.5e5)
_NAMED_ENERGIES = (1e2, 1.5e5)
# An absorption scan to k = 20 / Angstrom above the Ti K edge ends at 1.3 times the energy where it begins.
_WIDEST_SCAN = 1.6
_MONOTONIC_SHARE = 0.9

ENERGY_NAME = re.compile(r"(?<![a-z])(energy|ene|photon|hv|hw|k?ev)(?![a-z])|^e$|^e\W*k?ev\b")
_NOENERGY_NAME = re.compile(r"gap|wh\b|wh/|shift|error|specific|charge|density|step")
_INCIDENT = re.compile(r"(?<![a-z0-9])(i_?0|i_?zero|io)(?![a-z0-9])")
_TRANSMITTED = re.compile(r"(?<![a-z0-9])(i_?t|i_?trans(mitted|mission)?|i_?1)(?![a-z0-9])")
_REFERENCE = re.compile(r"(?<![a-z0-9])(i_?ref(er|erence)?|i_?r|i_?2)(?![a-z0-9])")
_FLUORESCENCE = re.compile(r"(?<![a-z0-9])(i_?f|i_?fluo\w*|iff|fluo\w*|pips|[a-z]{1,2}k[ab]?1?_sum)(?![a-z0-9])")
_ABSORPTION = ("mutrans", "xmu", "mu", "mu(e)", "mu_e", "absorption", "absorbance", "normtrans", "norm", "flat")
_FLUORESCENCE_ABSORPTION = ("mufluor", "normfluor")
_REFERENCE_ABSORPTION = ("murefer", "muref", "mu_ref", "normrefer")


@dataclass(frozen=True)
class Table:
    """Numbers of a text file, shape (rows, columns), with the names of the columns if the file has them."""

    path: Path
    names: tuple[str, ...]
    values: Floats
    named: bool

    def column(self, key: str) -> Floats:
        """The column of this name or number.

        Raises
        ------
        MeasurementError
            If there is none.
        """
        if key in self.names:
            return self.values[:, self.names.index(key)]
        alike = [k for k, name in enumerate(self.names) if name.casefold() == key.casefold()]
        if len(alike) == 1:
            return self.values[:, alike[0]]
        if key.isdecimal() and 1 <= int(key[:9]) <= len(self.names):
            return self.values[:, int(key[:9]) - 1]
        raise MeasurementError(
            "the file has no such column",
            where=self.path,
            expected=", ".join(self.names) if self.named else f"a number from 1 to {len(self.names)}",
            found=key,
            cure=STATE_COLUMNS,
        )

    def key(self, position: int) -> str:
        """How `column` is asked for the column at ``position``."""
        name = self.names[position]
        return name if self.names.count(name) == 1 else str(position + 1)


def absorption_from_transmission(*, incident: Floats, transmitted: Floats) -> Floats:
    """Absorption mu d = ln(I0 / I) (Lambert and Beer), NaN where the ratio is not positive; any unit of intensity."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = incident / transmitted
        return np.log(np.where((ratio > 0) & np.isfinite(ratio), ratio, np.nan))


def absorption_from_fluorescence(*, incident: Floats, fluorescence: Floats) -> Floats:
    """Absorption in proportion to I_f / I0, NaN where I0 is zero.

    Valid for thin or dilute samples: self-absorption (Troeger et al., Phys. Rev. B 46, 3283, 1992) is not corrected.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = fluorescence / incident
        return np.where(np.isfinite(ratio), ratio, np.nan)


def guess_energy(table: Table) -> tuple[str | None, str]:
    """Key of the energy column, or None; and the reason, where there is none.

    A column whose name says energy is one if its numbers can be photon energies. Without such a name the first
    column is, if its numbers are a scan in the hard X-rays.
    """
    named = [
        k
        for k, name in enumerate(table.names)
        if ENERGY_NAME.search(name.lower()) and not _NOENERGY_NAME.search(name.lower())
    ]
    for position in named:
        if _is_scan(table.values[:, position], _NAMED_ENERGIES):
            return table.key(position), ""
    if _is_scan(table.values[:, 0], _HARD_X_RAYS):
        return table.key(0), ""
    first = table.values[:, 0][np.isfinite(table.values[:, 0])]
    span = f"{first[0]:g} to {first[-1]:g}" if first.size else "no finite number"
    return None, f"no column named energy, and the first ({span}) is no scan of hard X-ray energies"


def _is_scan(values: Floats, limits: tuple[float, float]) -> bool:
    finite = values[np.isfinite(values)]
    if finite.size < FEWEST_POINTS or finite.min() <= 0:
        return False
    factor = 1.0 if finite.max() > 100 else 1e3
    low, high = float(finite.min()) * factor, float(finite.max()) * factor
    steps = np.sign(np.diff(finite))
    in_order = abs(steps.sum()) >= _MONOTONIC_SHARE * steps.size
    return limits[0] <= low and high <= limits[1] and high <= _WIDEST_SCAN * low and bool(in_order)


def spectra_of_table(table: Table, columns: ColumnMap, name: str, remarks: list[str]) -> list[Spectrum]:
    """The spectra of a table, as the map states or, where it does not, as the names tell.

    Parameters
    ----------
    table
        The numbers.
    columns
        What is known.
    name
        Of the spectrum, if there is only one.
    remarks
        Is extended by what was taken, and what else is there.

    Raises
    ------
    MeasurementError
        If there is no energy, or it is not clear what the absorption is.
    """
    n_points = table.values.shape[0]
    if columns.even_energy is not None:
        energy_key, energies = None, columns.even_axis(n_points, table.path)
    else:
        energy_key, reason = (columns.energy, "") if columns.energy is not None else guess_energy(table)
        if energy_key is None:
            raise _unclear(table, "the file has no energies", reason)
        title = f"the energies of {'' if table.named else 'column '}{energy_key} up to"
        unit = columns.energy_unit or unit_in_name(energy_key)
        energies, said = energies_in_ev(table.column(energy_key), unit, title, table.path)
        remarks += said
    signals = [columns] if columns.states_signal else guess_signals(table, energy_key)
    spectra = []
    for signal in signals:
        absorption, reference, taken = measured_absorption(signal, table.column, table.path)
        several = len(signals) > 1
        spectra.append(Spectrum(str(signal.absorption) if several else name, energies, absorption, reference))
        if not several and (table.named or columns.states_signal):
            remarks.append(taken + _others(table, signal, energy_key))
    if len(signals) > 1:
        remarks.append(f"each of {len(signals)} columns is taken as a spectrum: {', '.join(s.name for s in spectra)}")
    return spectra


def _others(table: Table, used: ColumnMap, energy_key: str | None) -> str:
    taken = {energy_key, used.absorption, used.i0, used.transmitted, used.fluorescence, used.reference}
    names = [name for k, name in enumerate(table.names) if name not in taken and str(k + 1) not in taken]
    return f"; the file also has {', '.join(names)}" if names else ""


def _unclear(table: Table, problem: str, found: str) -> MeasurementError:
    return MeasurementError(
        problem,
        where=table.path,
        expected="a column of photon energies and one of absorption, or of I0 and It or If",
        found=found,
        cure=STATE_COLUMNS,
    )


def measured_absorption(
    columns: ColumnMap, get: Callable[[str], Floats], where: Path
) -> tuple[Floats, Floats | None, str]:
    """Absorption, foil's absorption and a text that says how they were made.

    Parameters
    ----------
    columns
        Must state a signal.
    get
        Numbers of a column.
    where
        The file, for messages.

    Raises
    ------
    MeasurementError
        If a column is missing.
    """
    if columns.absorption is not None:
        absorption, text = get(columns.absorption), f"absorption is {columns.absorption}"
    elif columns.fluorescence is not None and columns.i0 is not None:
        absorption = absorption_from_fluorescence(incident=get(columns.i0), fluorescence=get(columns.fluorescence))
        text = f"absorption is {columns.fluorescence} / {columns.i0}"
    elif columns.transmitted is not None and columns.i0 is not None:
        absorption = absorption_from_transmission(incident=get(columns.i0), transmitted=get(columns.transmitted))
        text = f"absorption is ln({columns.i0} / {columns.transmitted})"
    else:
        raise MeasurementError(
            "the intensity before the sample is not known",
            where=where,
            expected="i0",
            found=str(columns.fluorescence or columns.transmitted),
            cure=STATE_COLUMNS,
        )
    if columns.reference is None:
        return absorption, None, text
    if columns.transmitted is None:
        return absorption, get(columns.reference), f"{text}, that of the foil {columns.reference}"
    foil = absorption_from_transmission(incident=get(columns.transmitted), transmitted=get(columns.reference))
    return absorption, foil, f"{text}, that of the foil ln({columns.transmitted} / {columns.reference})"


def guess_signals(table: Table, energy_key: str | None) -> list[ColumnMap]:
    """What the names of the columns say: one map, or one for each column if no name is known.

    Transmission is preferred to fluorescence. A detector that is not positive at nine of ten points was off. Of
    several fluorescence lines the one that gains most counts is taken, with the I0 of the same device (the text
    before a colon) if it has one.

    Raises
    ------
    MeasurementError
        If the columns have no names and are more than one beside the energy, or there are detectors but no pair.
    """
    keys = [key for k in range(len(table.names)) if (key := table.key(k)) != energy_key]
    if not keys:
        raise _unclear(table, "the file has energies but no absorption", "one column of numbers, an energy list")
    if not table.named and len(keys) > 1:
        raise _unclear(table, "it is not clear what the columns are", f"{len(keys) + 1} columns without names")
    found = {
        role: [key for key in keys if pattern.search(key.lower()) and _is_measured(table, key)]
        for role, pattern in (("i0", _INCIDENT), ("it", _TRANSMITTED), ("ir", _REFERENCE), ("if", _FLUORESCENCE))
    }
    i0, transmitted = (next(iter(found[role]), None) for role in ("i0", "it"))
    direct = _first_named(keys, _ABSORPTION)
    foil = next(iter(found["ir"]), None) if transmitted else _first_named(keys, _REFERENCE_ABSORPTION)
    if direct is not None:
        return [ColumnMap(absorption=direct, transmitted=transmitted if foil else None, reference=foil)]
    if i0 and transmitted:
        return [ColumnMap(i0=i0, transmitted=transmitted, reference=foil)]
    direct = _first_named(keys, _FLUORESCENCE_ABSORPTION)
    if direct is not None:
        return [ColumnMap(absorption=direct, reference=foil)]
    if i0 and found["if"]:
        line = max(found["if"], key=lambda key: _gain(table.column(key)))
        return [ColumnMap(i0=_same_device(line, found["i0"]), fluorescence=line)]
    if any(pattern.search(key.lower()) for key in keys for pattern in (_INCIDENT, _TRANSMITTED, _FLUORESCENCE)):
        raise _unclear(table, "no pair of detectors measured", f"columns {', '.join(keys)}")
    return [ColumnMap(absorption=key) for key in keys]


def _first_named(keys: Sequence[str], wanted: Sequence[str]) -> str | None:
    known = {re.sub(r"[µμ]", "mu", key.lower()): key for key in reversed(keys)}
    return next((known[name] for name in wanted if name in known), None)


def _is_measured(table: Table, key: str) -> bool:
    return bool((table.column(key) > 0).mean() >= _MEASURED_SHARE)


def _gain(values: Floats) -> float:
    """Largest less smallest of the counts."""
    return float(np.nanmax(values) - np.nanmin(values))


def _same_device(line: str, incident: Sequence[str]) -> str:
    device = line.split(":")[0] if ":" in line else None
    return next((key for key in incident if device is not None and key.startswith(f"{device}:")), incident[0])
