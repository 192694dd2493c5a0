"""Bulk X-ray absorption spectra: the Dataset that every reader of them gives, and how columns become absorption.

Schema
------
``scan_energy`` (spectrum, point), eV, ascending within a spectrum; ``absorption`` (spectrum, point), as recorded;
``reference_absorption`` (spectrum, point) where a foil behind the sample was measured in the same scan, NaN where
it was not. Rows of spectra that are shorter than the longest are filled with NaN at the end. Coordinate
``spectrum`` counts from 1; its attribute ``names`` has their names.

Uncertainties
-------------
None are stored.

Metadata
--------
Attributes ``format``, ``source``, ``remarks``, ``element`` and ``edge`` where the file has them, ``labels`` (values
of each spectrum that the file states, as lists in the order of the spectra) and ``metadata`` (the file's header).

File structure
--------------
See `spectra_xdi`, `spectra_athena` and `spectra_columns`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from cathoscope.core.errors import MeasurementError, RecipeError
from cathoscope.core.schema import dataset, label
from cathoscope.core.units import convert
from cathoscope.io.lazy import COPY_AGAIN
from cathoscope.io.repair import energy_in_ev

STATE_COLUMNS = "state the columns in the recipe, by name or by number"
FEWEST_POINTS = 5
_MOST_VALUES = 4_000_000
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ColumnMap:
    """Which columns of a table, or keys of a JSON file, are what; a column is given by its name or its number from 1.

    The spectrum is ``absorption`` as it stands; else ``fluorescence`` over ``i0``; else ln(``i0`` / ``transmitted``).
    If none of these is stated, it is chosen from the names.

    Parameters
    ----------
    energy
        Column of the photon energy.
    energy_unit
        ``"eV"`` or ``"keV"``; without it the magnitude tells.
    even_energy
        First energy and step (eV) and number of points, for files without an axis.
    absorption
        Column; or JSON key of a list, a list of lists or a dict of lists, one for each spectrum.
    i0, transmitted, fluorescence
        Intensities before the sample, behind it, and emitted from it.
    reference
        With ``transmitted``, the intensity behind the foil; without it, the foil's absorption.
    labels
        JSON keys whose values name the spectra, such as composition and voltage.

    Raises
    ------
    RecipeError
        If the even energies are not positive and finite in number, step and size, or an axis is stated twice.
    """

    energy: str | None = None
    energy_unit: str | None = None
    even_energy: tuple[float, float, int] | None = None
    absorption: str | None = None
    i0: str | None = None
    transmitted: str | None = None
    fluorescence: str | None = None
    reference: str | None = None
    labels: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.energy_unit not in (None, "eV", "keV"):
            raise RecipeError("unknown unit of the energies", expected="eV or keV", found=repr(self.energy_unit))
        if self.even_energy is None:
            return
        if self.energy is not None:
            raise RecipeError(
                "the energies are stated twice",
                expected="a column, or first energy, step and number",
                found="both",
                cure="leave one out",
            )
        first, step, number = self.even_energy
        if not (0 < first < np.inf and 0 < step < np.inf and number >= FEWEST_POINTS):
            raise RecipeError(
                "the even energies are no axis",
                expected=f"a first energy and a step above 0, and at least {FEWEST_POINTS} points",
                found=str(self.even_energy),
            )

    @property
    def states_signal(self) -> bool:
        """Whether the map says what the spectrum is made from."""
        return any((self.absorption, self.transmitted, self.fluorescence))

    def even_axis(self, n_points: int, where: Path) -> Floats:
        """The stated even energies, (n,) eV, for a spectrum of ``n_points``."""
        if self.even_energy is None or self.even_energy[2] != n_points:
            raise MeasurementError(
                "the stated energies do not belong to this spectrum",
                where=where,
                expected=f"{n_points} energies, one for each point",
                found="none" if self.even_energy is None else str(self.even_energy[2]),
                cure="correct the number of points in the recipe",
            )
        first, step, number = self.even_energy
        return np.asarray(first + step * np.arange(number, dtype=np.float64))


@dataclass(frozen=True)
class Spectrum:
    """One spectrum as a file has it.

    Parameters
    ----------
    name
        What the file calls it.
    energy
        eV, shape (n,), of any order.
    absorption
        Shape (n,).
    reference
        Absorption of the foil, shape (n,).
    labels
        Further values of this spectrum.
    """

    name: str
    energy: Floats
    absorption: Floats
    reference: Floats | None = None
    labels: Mapping[str, Any] = field(default_factory=dict)


def bulk_dataset(spectra: Sequence[Spectrum], path: Path, remarks: Sequence[str], **attrs: Any) -> xr.Dataset:
    """Spectra as the Dataset of the module's docstring; each is put in order, with a remark.

    Parameters
    ----------
    spectra
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
        If no spectrum has at least five points, or they are too many to hold.
    """
    notes: dict[str, list[str]] = {}
    ordered = [_in_order(spectrum, notes) for spectrum in spectra]
    kept = [spectrum for spectrum in ordered if spectrum.energy.size >= FEWEST_POINTS]
    if not kept:
        raise MeasurementError(
            "no spectrum is left",
            where=path,
            expected=f"at least {FEWEST_POINTS} points with finite energy and absorption",
            found=f"at most {max((spectrum.energy.size for spectrum in ordered), default=0)}",
            cure=f"{STATE_COLUMNS}, or {COPY_AGAIN}",
        )
    longest = max(spectrum.energy.size for spectrum in kept)
    if len(kept) * longest > _MOST_VALUES:
        raise MeasurementError(
            "the file has more than a set of spectra can have",
            where=path,
            expected=f"at most {_MOST_VALUES} values",
            found=f"{len(kept)} spectra of up to {longest} points",
            cure="split the file",
        )
    attrs = {"source": str(path.absolute()), **attrs, "remarks": [*remarks, *_joined(notes, len(spectra))]}
    keys = dict.fromkeys(key for spectrum in kept for key in spectrum.labels)
    if keys:
        attrs["labels"] = {key: [spectrum.labels.get(key) for spectrum in kept] for key in keys}
    return dataset(_padded(kept, longest), **attrs)


def _padded(spectra: Sequence[Spectrum], longest: int) -> list[xr.DataArray]:
    number = label("spectrum", np.arange(1, len(spectra) + 1), ("spectrum",))
    number.attrs["names"] = [spectrum.name for spectrum in spectra]
    rows: dict[str, list[Floats | None]] = {
        "scan_energy": [spectrum.energy for spectrum in spectra],
        "absorption": [spectrum.absorption for spectrum in spectra],
    }
    if any(spectrum.reference is not None for spectrum in spectra):
        rows["reference_absorption"] = [spectrum.reference for spectrum in spectra]
    arrays = []
    for name, values in rows.items():
        table = np.full((len(spectra), longest), np.nan)
        for k, row in enumerate(values):
            if row is not None:
                table[k, : row.size] = row
        arrays.append(label(name, table, ("spectrum", "point"), coords={"spectrum": number}))
    return arrays


def _in_order(spectrum: Spectrum, notes: dict[str, list[str]]) -> Spectrum:
    """The spectrum with finite points, ascending, one for each energy."""

    def note(text: str) -> None:
        """Keep what was noticed with the name of the spectrum."""
        notes.setdefault(text, []).append(spectrum.name)

    foil = spectrum.reference
    rows = np.column_stack([spectrum.energy, spectrum.absorption, *([] if foil is None else [foil])])
    finite = np.isfinite(rows[:, :2]).all(axis=1) & (rows[:, 0] > 0)
    if not finite.all():
        note(f"{np.count_nonzero(~finite)} of {finite.size} points have no finite energy and absorption; left out")
    rows = rows[finite]
    steps = np.diff(rows[:, 0])
    if (steps < 0).any():
        reversed_order = (steps <= 0).all()
        note(f"the energies were {'descending' if reversed_order else 'not in order'} and have been sorted")
    energies, inverse, counts = np.unique(rows[:, 0], return_inverse=True, return_counts=True)
    if (counts > 1).any():
        note(f"{np.count_nonzero(counts > 1)} energies occur more than once and have been averaged")
    means = [_group_means(rows[:, k], inverse, counts.size) for k in range(1, rows.shape[1])]
    if energies.size < FEWEST_POINTS:
        note(f"only {energies.size} points: set aside")
    return replace(spectrum, energy=energies, absorption=means[0], reference=None if foil is None else means[1])


def _group_means(values: Floats, group: npt.NDArray[np.intp], n_groups: int) -> Floats:
    """Mean of the finite values of each group; NaN without any."""
    finite = np.isfinite(values)
    counts = np.bincount(group[finite], minlength=n_groups)
    # Divided before they are added, so that the mean of large finite values is finite.
    sums = np.bincount(group[finite], weights=values[finite] / counts[group[finite]], minlength=n_groups)
    return np.where(counts > 0, sums, np.nan)


def _joined(notes: Mapping[str, list[str]], n_spectra: int) -> list[str]:
    """Each text once, with the names of the spectra it is about."""
    if n_spectra == 1:
        return list(notes)
    return [
        f"{'all spectra' if len(names) == n_spectra else ', '.join(dict.fromkeys(names))}: {text}"
        for text, names in notes.items()
    ]


def energies_in_ev(values: Floats, unit: str | None, name: str, where: Path) -> tuple[Floats, list[str]]:
    """Energies in eV; one judgement of the unit (see `repair.energy_in_ev`) for all.

    Raises
    ------
    MeasurementError
        If none is positive.
    """
    positive = values[np.isfinite(values) & (values > 0)]
    if not positive.size:
        raise MeasurementError(
            "the energies are no energies",
            where=where,
            expected=f"positive numbers in {name}",
            found=f"{values.size} values, none of them positive",
            cure=STATE_COLUMNS,
        )
    highest = float(positive.max())
    known = {"ev": "eV", "kev": "keV"}.get((unit or "").lower(), unit)
    energy, remarks = energy_in_ev(highest, known, name)
    return (values if energy == highest else values * convert(1.0, "keV", "energy")), remarks


def unit_in_name(name: str) -> str | None:
    """``eV`` or ``keV`` where the name of a column has it."""
    match = re.search(r"(?<![a-z])(kev|ev)(?![a-z])", name.lower())
    return None if match is None else {"ev": "eV", "kev": "keV"}[match.group(1)]
