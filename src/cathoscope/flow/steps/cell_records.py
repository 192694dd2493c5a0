"""Files of cells in order: one record for each cell, one spectrum for each sweep; what cannot be used, and why."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from cathoscope.core.errors import CathoscopeError, MeasurementError
from cathoscope.core.schema import dataset, label
from cathoscope.flow.cell_sections import CellColumnsSection
from cathoscope.flow.raw import RawMeasurement, SetAside, files_of, in_one_line
from cathoscope.flow.recipe import Recipe
from cathoscope.flow.sections import MeasurementSection
from cathoscope.flow.steps.particle_plan import particle_of, plan_of_section
from cathoscope.io import open_raw
from cathoscope.io.cycler import STATE_COLUMNS
from cathoscope.io.cycler_columns import CyclerColumns, open_cycler_columns
from cathoscope.lab.circuit_text import parse_circuit
from cathoscope.lab.impedance_spectrum import checked_spectrum
from cathoscope.lab.record import Record, record_of

_IN_NAME = re.compile(r"(?:cycle|cyc|c)[ _-]?(\d+)", re.IGNORECASE)
_FEWEST_POINTS = 10  # of a spectrum
_EVERY = "*"
_COLUMNS = 'cycling.columns = { time = "NAME", voltage = "NAME", current = "NAME" }'

_Opened = Sequence[tuple[float | None, xr.Dataset]]


def open_cell(section: MeasurementSection, path: Path) -> xr.Dataset:
    """The record of one cell, or a file of impedance spectra, checked as far as that needs no analysis.

    Raises
    ------
    MeasurementError
        Naming the file, what it lacks, and the key of the recipe that helps.
    """
    if section.technique == "impedance":
        return _require(open_raw(path, reader=section.reader), ("frequency", "impedance_real"), "impedance spectrum")
    columns = section.cycling.columns
    try:
        if columns == CellColumnsSection():
            scan = open_raw(path, reader=section.reader)
        else:
            scan = open_cycler_columns(path, CyclerColumns(**columns.model_dump()))
        scan = _require(scan, ("elapsed_time", "cell_voltage"), "record of a cell")
        record_of_scan(scan)
    except MeasurementError as error:
        raise MeasurementError(
            error.problem, where=path, expected=error.expected, found=error.found, cure=with_key(error)
        ) from None
    return scan


def with_key(error: MeasurementError) -> str | None:
    """What helps, with the key of the recipe that says it."""
    if "no reader recognises" in error.problem:
        return f"a table with other names of columns is read with  {_COLUMNS}"
    if error.cure is None:
        return None
    cure = error.cure.replace(STATE_COLUMNS, _COLUMNS).replace("rest_level", "cycling.rest_level")
    return cure.replace("name the column of the current, with its unit", _COLUMNS)


def _require(scan: xr.Dataset, needs: Sequence[str], what: str) -> xr.Dataset:
    if any(name not in scan.variables for name in needs):
        raise MeasurementError(
            f"the file holds no {what}",
            where=scan.attrs["source"],
            expected=" and ".join(name.replace("_", " ") for name in needs),
            found=f"{scan.attrs.get('format', 'something else')}: {', '.join(map(str, scan.data_vars))}",
            cure="choose another technique for it, or leave it out",
        )
    return scan


def record_of_scan(scan: xr.Dataset, *, offset: float = 0.0) -> Record:
    """The record of a file; rows of impedance, which a file may hold between cycles, are left out."""
    if "frequency" in scan.variables:
        scan = scan.isel(point=~(np.nan_to_num(scan["frequency"].values) > 0))
    current, counter = (
        scan[name].values if name in scan.variables else None for name in ("cell_current", "cell_charge")
    )
    return record_of(scan["elapsed_time"].values, scan["cell_voltage"].values, current, counter, offset=offset)


def arrange_cells(recipe: Recipe, raw: RawMeasurement, opened: _Opened) -> None:
    """Place the records of cells along the dim ``record``, or spectra along ``cycle``.

    The number of a record is the place of its file in the recipe, whatever is set aside.

    Raises
    ------
    RecipeError
        If the recipe gives cycles or masses that do not fit the files.
    """
    _check_words(recipe, raw)
    if raw.section.technique == "impedance":
        _arrange_spectra(recipe, raw, opened)
        return
    if not opened:  # a particle that is planned
        return
    every = _names(_files(recipe, raw))
    names = [every[int(scan.attrs["place"])] for _, scan in opened]
    _require_masses(recipe, raw, names, every)
    raw.dims = ("record",)
    numbers = [int(scan.attrs["place"]) + 1 for _, scan in opened]
    record = label("record", np.array(numbers), ("record",))
    record.attrs |= {"names": names, "temperatures": [_temperature(stated, scan) for stated, scan in opened]}
    raw.coords["record"] = record
    for place, (_, scan) in enumerate(opened):
        scan.attrs["digest"] = f"{scan.attrs['digest']}-{record.attrs['temperatures'][place]}"
        raw.scans[(place,)] = scan
        _remark(raw, scan)


def _check_words(recipe: Recipe, raw: RawMeasurement) -> None:
    """Refuse a circuit that cannot be read, names that it has not, and a particle that cannot be planned."""
    section = raw.section.impedance
    key: tuple[str, ...] = ("impedance", "circuit")
    try:
        if raw.section.technique == "particle-cell":
            key = ("particle_cell",)
            plan_of_section(particle_of(raw.section))
        if raw.section.technique == "impedance":
            circuit = parse_circuit(section.circuit)
            key = ("impedance", "compare")
            for text in section.compare:
                parse_circuit(text)
            key = ("impedance", "arc")
            names = (section.arc.series, section.arc.transfer)
            for name in names:
                circuit.number(name)
            circuit.number(section.arc.layer if section.arc.layer in circuit.names else f"{section.arc.layer}.Q")
            for table in ("start", "fixed", "bounds"):
                key = ("impedance", table)
                for name in getattr(section, table):
                    circuit.number(name)
    except CathoscopeError as error:
        raise recipe.mistake(
            ("measurement", raw.name, *key),
            f"{'.'.join(key)}: {error.problem}",
            expected=error.expected,
            found=error.found,
            cure=error.cure,
        ) from None


def _remark(raw: RawMeasurement, scan: xr.Dataset) -> None:
    file = Path(scan.attrs["source"]).name
    raw.remarks.extend(f"{file}: {remark}" for remark in scan.attrs.get("remarks", ()))


def _files(recipe: Recipe, raw: RawMeasurement) -> list[Path]:
    """All files of the measurement, also those that are set aside."""
    return [path for _, paths in files_of(recipe, raw.name) for path in paths]


def _names(paths: Sequence[Path]) -> list[str]:
    """Stems of files, with as many of their folders as it takes where some are alike."""
    names = [path.stem for path in paths]
    for depth in range(1, max((len(path.parts) for path in paths), default=1)):
        names = [
            name if names.count(name) == 1 else "/".join((*path.parent.parts[-depth:], path.stem))
            for name, path in zip(names, paths, strict=True)
        ]
    return names


def _temperature(stated: float | None, scan: xr.Dataset) -> float | None:
    """What the recipe says, else the median of what the cycler measured, degC."""
    if stated is not None or "cell_temperature" not in scan.variables:
        return stated
    measured = scan["cell_temperature"].values
    return float(np.round(np.nanmedian(measured))) if np.isfinite(measured).any() else None


def _require_masses(recipe: Recipe, raw: RawMeasurement, names: Sequence[str], every: Sequence[str]) -> None:
    """Masses of files that are set aside are no mistake."""
    unknown = [name for name in raw.section.cycling.mass if name not in (_EVERY, *every)]
    if unknown:
        raise recipe.mistake(
            ("measurement", raw.name, "cycling", "mass"),
            f"no file is called {unknown[0]!r}",
            expected=" or ".join(names),
            found=unknown[0],
            cure="masses have the names of the files without their endings",
        )


def mass_of(section: MeasurementSection, name: str) -> float | None:
    """Stated mass of active material of a cell, mg."""
    return section.cycling.mass.get(name, section.cycling.mass.get(_EVERY))


def _arrange_spectra(recipe: Recipe, raw: RawMeasurement, opened: _Opened) -> None:
    every = _every_sweep(recipe, raw, opened)
    sweeps = [sweep for sweep in every if sweep is not None]
    if not sweeps:
        reasons = "\n            ".join(f"{item.file}: {item.reason}" for item in raw.set_aside)
        raise MeasurementError("no spectrum can be used", where=raw.name, found=reasons)
    stated = raw.section.impedance.cycles
    if stated and len(stated) not in (len(every), len(sweeps)):
        aside = len(every) - len(sweeps)
        raise recipe.mistake(
            ("measurement", raw.name, "impedance", "cycles"),
            "cycles are not as many as spectra",
            expected=f"{len(every)}, one for each spectrum in the order of the files"
            + (f", {aside} that {'is' if aside == 1 else 'are'} set aside included" if aside else ""),
            found=f"{len(stated)}",
        )
    if len(stated) == len(every):
        stated = tuple(cycle for cycle, sweep in zip(stated, every, strict=True) if sweep is not None)
    cycles = list(stated) or _cycles_of_names(sweeps)
    order = np.argsort(cycles, kind="stable")
    raw.dims = ("cycle",)
    raw.coords["cycle"] = label("cycle", np.array(cycles, dtype=np.float64)[order], ("cycle",))
    for place, number in enumerate(order):
        raw.scans[(place,)] = sweeps[int(number)]
    for _, scan in opened:
        _remark(raw, scan)


def _every_sweep(recipe: Recipe, raw: RawMeasurement, opened: _Opened) -> list[xr.Dataset | None]:
    """Spectra of all files in order; None of one that is set aside, and of a file that could not be read."""
    by_place = {int(scan.attrs["place"]): scan for _, scan in opened}
    every: list[xr.Dataset | None] = []
    for place in range(len(_files(recipe, raw))):
        every += _sweeps(raw, by_place[place]) if place in by_place else [None]
    return every


def _sweeps(raw: RawMeasurement, scan: xr.Dataset) -> list[xr.Dataset | None]:
    """Spectra of a file; those that are none are set aside, and are None."""
    names = ("frequency", "impedance_real", "impedance_imaginary")
    frequency = np.asarray(scan["frequency"].values, np.float64)
    number = scan["sweep"].values if "sweep" in scan.variables else np.ones(frequency.size)
    limits = raw.section.impedance.range or (0.0, np.inf)
    inside = (frequency >= limits[0]) & (frequency <= limits[1])
    inside &= np.isfinite(scan["impedance_real"].values) & (frequency != 0)
    found: list[xr.Dataset | None] = []
    swept = np.isfinite(frequency) & (frequency != 0)  # rows between sweeps have none
    for sweep in np.unique(number[swept]) if swept.any() else [1]:
        rows = inside & (number == sweep)
        file = Path(scan.attrs["source"]).name
        arrays = [label(name, scan[name].values[rows], ("point",)) for name in names]
        attrs = {**scan.attrs, "digest": f"{scan.attrs['digest']}-{int(sweep)}", "sweep": int(sweep)}
        one = dataset(arrays, **{key: attrs[key] for key in ("source", "format", "digest", "sweep") if key in attrs})
        try:
            real, imaginary = one["impedance_real"].values, one["impedance_imaginary"].values
            checked_spectrum(one["frequency"].values, real + 1j * imaginary, fewest=_FEWEST_POINTS)
        except MeasurementError as error:
            several = f"sweep {int(sweep)}: " if np.unique(number).size > 1 else ""
            raw.set_aside.append(SetAside(file, f"{several}{in_one_line(error)}"))
            found.append(None)
            continue
        found.append(one)
    return found


def _cycles_of_names(sweeps: Sequence[xr.Dataset]) -> list[float]:
    """Cycle in the names of files, if every file has another and one sweep; else the order."""
    found = [_IN_NAME.findall(Path(sweep.attrs["source"]).stem) for sweep in sweeps]
    cycles = [float(one[-1]) for one in found if one]
    if len(cycles) == len(sweeps) == len(set(cycles)):
        return cycles
    return [float(number) for number in range(1, len(sweeps) + 1)]


def reason_of(error: MeasurementError) -> str:
    """Why a record is set aside, in one line, with the key that helps."""
    return in_one_line(MeasurementError(error.problem, found=error.found, cure=with_key(error)))
