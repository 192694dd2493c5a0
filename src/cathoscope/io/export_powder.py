"""Results of powder diffraction as text: CIF of the refined phases, CSV of numbers and patterns.

File structure
--------------
``cif``: ``MEASUREMENT/PHASE_NN_TEMPERATUREC.cif`` for every temperature at which more than the amount of a phase was
refined, with uncertainties in brackets; numbers without brackets were fixed. A phase without a structure has none.

``csv``: ``MEASUREMENT/numbers.csv``, a row for each temperature and a column for each number and its ``_std``, units in
the heads; ``MEASUREMENT/pattern_NN_TEMPERATUREC_BANK.csv``, a row for each point: place, lattice spacing, observed,
its uncertainty, calculated, observed minus calculated, background, and what each phase adds. Empty: no value. Where
intensities were found without a structure, ``reflections_NN_TEMPERATUREC_BANK.csv`` has them.

``instprm``: ``MEASUREMENT/BANK.instprm``, the instrument as a standard tells it, for GSAS-II and for recipes; comments
have the uncertainties of the refined numbers.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope import __version__
from cathoscope.core.bank import Bank
from cathoscope.core.crystal import Phase, Site
from cathoscope.core.errors import StudyError
from cathoscope.core.parallel import Progress
from cathoscope.core.study import Study
from cathoscope.io.crystal_cif_write import written_cif
from cathoscope.io.export_target import refuse_existing, whole
from cathoscope.io.instrument_gsas2 import written_instprm

Floats = NDArray[np.float64]

FORMS = ("cif", "csv", "instprm")
_NEEDED = "diffraction_fit"
_POINTS = {
    "tof": "time of flight (us)",
    "two_theta": "two theta (deg)",
    "point_spacing": "d (A)",
    "diffraction_counts": "observed",
    "diffraction_counts_std": "observed_std",
    "diffraction_fit": "calculated",
    "diffraction_difference": "difference",
    "diffraction_background": "background",
}
_EDGES = ("lattice_a", "lattice_b", "lattice_c")


@dataclass(frozen=True)
class _File:
    """A file of an export: where, and what makes its text."""

    target: Path
    text: Callable[[], str]


def export_powder(
    study: Study, folder: Path, form: str, measurements: Sequence[str], *, overwrite: bool, progress: Progress
) -> list[Path]:
    """Write the refinements of ``measurements`` into ``folder``; returns the files.

    Raises
    ------
    StudyError
        If none of the measurements has a refinement, or the folder cannot be written.
    CathoscopeError
        If a file is there and ``overwrite`` is false.
    """
    needed = "instrument_value" if form == "instprm" else _NEEDED
    chosen = [name for name in measurements if needed in study.arrays("result", name)]
    if not chosen:
        raise StudyError(
            f"there is no refinement of powder patterns to be written as {form}",
            where=study.path,
            found=", ".join(measurements),
            cure='--as csv and --as cif are for  technique = "diffraction", --as instprm for one with  calibration',
        )
    made = {"cif": _cifs, "csv": _tables, "instprm": _instruments}[form]
    files = [file for name in chosen for file in made(_with_temperature(study.read("result", name)), folder / name)]
    if not files:
        raise StudyError("no phase with a structure was refined", where=study.path, cure="--as csv writes the numbers")
    if not overwrite:
        refuse_existing([file.target for file in files])
    progress.start(f"export {form}", len(files), "files")
    for file in files:
        with whole(file.target) as part:
            part.write_text(file.text(), encoding="utf-8")
        progress.advance()
    progress.finish()
    return [file.target for file in files]


def _with_temperature(data: xr.Dataset) -> xr.Dataset:
    """Along the temperature, even where there is one pattern; then it is NaN."""
    if "temperature" in data["goodness_of_fit"].dims:
        return data
    shared = {"point_spacing", "tof", "two_theta", "miller_index"}
    whole_series = [name for name in data.data_vars if str(name).startswith(("transition", "thermal", "unexplained"))]
    own = [name for name in data.data_vars if name not in shared and name not in whole_series]
    own = [name for name in own if data[name].dims != ("phase", "size_model")]
    return data.assign({name: data[name].expand_dims(temperature=[np.nan]) for name in own})


def _small(data: xr.Dataset) -> xr.Dataset:
    """Everything but curves and reflections, read once."""
    large = [name for name, array in data.data_vars.items() if {"point", "reflection"} & set(array.dims)]
    return data.drop_vars(large).load()


def _places(data: xr.Dataset) -> list[str]:
    """What is added to the name of a file for every temperature: number and value."""
    values = np.asarray(data["temperature"].values, np.float64)
    return [f"_{n:02d}_{value:.6g}C" if math.isfinite(value) else "" for n, value in enumerate(values, start=1)]


def _safe(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name)


def _cifs(data: xr.Dataset, folder: Path) -> Iterator[_File]:
    """A CIF for every phase and temperature."""
    data = _small(data)
    if "site_position" not in data:
        return
    there = np.isfinite(data["site_occupancy"].values).any(axis=-1)
    names = [str(name) for name in data["phase"].attrs["names"]]
    gof = np.asarray(data["goodness_of_fit"].values, np.float64)
    for place, words in enumerate(_places(data)):
        remarks = [f"refined by cathoscope {__version__}, goodness of fit {gof[place]:.4g}"]
        remarks += [f"temperature {words.rsplit('_', 1)[-1].removesuffix('C')} C"] if words else []
        for number, name in enumerate(names):
            if not (there[place, number] and np.isfinite(data["lattice_a"].values[place, number])):
                continue
            target = folder / f"{_safe(name)}{words}.cif"
            yield _File(target, partial(_cif, data, place, number, remarks))


def _cif(data: xr.Dataset, place: int, number: int, remarks: Sequence[str]) -> str:
    """The text of one CIF."""
    phase, cell_std, site_std = _phase(data, place, number)
    return written_cif(phase, cell_std=cell_std, site_std=site_std, remarks=remarks)


def _phase(data: xr.Dataset, place: int, number: int) -> tuple[Phase, list[float], dict[str, dict[str, float]]]:
    """A phase as it was refined, and the uncertainties of its cell and sites."""
    attrs = data["phase"].attrs

    def of(name: str) -> Floats:
        """The values of the array ``name`` for this phase at this place."""
        return np.asarray(data[name].values[place, number], np.float64)

    cell = [float(of(name)) for name in _EDGES] + of("lattice_angle").tolist()
    std = [float(of(f"{name}_std")) for name in _EDGES] + of("lattice_angle_std").tolist()
    sites, errors = [], {}
    for at, label in enumerate(data["site"].attrs["labels"][number]):
        species = str(data["site"].attrs["species"][number][at])
        sites.append(_site(of, at, (str(label), species)))
        errors[str(label)] = _errors(of, at)
    a, b, c, alpha, beta, gamma = (float(one) for one in cell)
    name, group = str(attrs["names"][number]), str(attrs["space_groups"][number])
    phase = Phase(name, group, (a, b, c, alpha, beta, gamma), tuple(sites))
    return phase, [float(np.nan_to_num(one)) for one in std], errors


def _site(of: Any, at: int, words: tuple[str, str]) -> Site:
    """One site with its numbers."""
    x, y, z = (float(one) for one in of("site_position")[at])
    occupancy, u_iso = float(of("site_occupancy")[at]), float(of("site_displacement")[at])
    tensor = of("site_tensor")[at]
    if np.isfinite(tensor).all():
        u11, u22, u33, u12, u13, u23 = (float(one) for one in tensor)
        return Site(*words, (x, y, z), occupancy, u_aniso=(u11, u22, u33, u12, u13, u23))
    return Site(*words, (x, y, z), occupancy, u_iso)


def _errors(of: Any, at: int) -> dict[str, float]:
    """Uncertainties of one site that are not zero."""
    found = dict(zip("xyz", of("site_position_std")[at].tolist(), strict=True))
    found |= {"occupancy": float(of("site_occupancy_std")[at]), "U_iso": float(of("site_displacement_std")[at])}
    tensor = of("site_tensor_std")[at].tolist()
    found |= dict(zip(("U11", "U22", "U33", "U12", "U13", "U23"), tensor, strict=True))
    return {name: std for name, std in found.items() if math.isfinite(std) and std > 0}


def _instruments(data: xr.Dataset, folder: Path) -> Iterator[_File]:
    """An instrument file for every bank."""
    for row, name in enumerate(data["bank"].attrs["names"]):
        yield _File(folder / f"{_safe(str(name))}.instprm", partial(_instrument, data, row))


def _instrument(data: xr.Dataset, row: int) -> str:
    """The text of one instrument file."""
    both = (data[f"instrument_value{end}"] for end in ("", "_std"))
    values, std = (np.asarray(one.isel(bank=row).values, np.float64).ravel() for one in both)
    names, attrs = data["instrument_number"].attrs["names"], data["instrument_value"].attrs
    known = {name: float(value) for name, value in zip(names, values, strict=True) if math.isfinite(value)}
    bank = Bank(str(data["bank"].attrs["names"][row]), attrs["kinds"][row], attrs["radiations"][row], known)
    phases = ", ".join(map(str, data["phase"].attrs["names"]))
    remarks = [f"from a refinement of {phases} by cathoscope {__version__}, profile {attrs['profile']}"]
    refined = [f"{name} {known[name]:.8g} +- {error:.2g}" for name, error in zip(names, std, strict=True) if error > 0]
    remarks += [f"refined: {one}" for one in refined]
    return written_instprm([bank], remarks=remarks)


def _tables(data: xr.Dataset, folder: Path) -> Iterator[_File]:
    """The numbers, and every pattern."""
    yield _File(folder / "numbers.csv", partial(_numbers, data))
    banks = [str(name) for name in data["bank"].attrs["names"]]
    there = np.isfinite(data["diffraction_counts"].values).any(axis=-1)
    extracted = np.zeros_like(there)
    if "extracted_intensity" in data:
        extracted = np.isfinite(data["extracted_intensity"].values).any(axis=(-2, -1))
    for place, words in enumerate(_places(data)):
        for row, bank in enumerate(banks):
            if there[place, row]:
                yield _File(folder / f"pattern{words}_{_safe(bank)}.csv", partial(_pattern, data, place, row))
            if extracted[place, row]:
                yield _File(folder / f"reflections{words}_{_safe(bank)}.csv", partial(_reflections, data, place, row))


def _numbers(data: xr.Dataset) -> str:
    """A row for every temperature."""
    data = _small(data)
    heads, columns = ["temperature (degC)"], [np.asarray(data["temperature"].values, np.float64)]
    words = str(data["refinement_flag"].attrs.get("flag_meanings", "")).split()
    for head, column in _columns(data):
        heads.append(head)
        columns.append(column)
    ended = [words[flag] if flag < len(words) else str(flag) for flag in data["refinement_flag"].values]
    rows = zip(*columns, strict=True)
    return _csv([[*heads, "ended"], *([*map(_text, row), end] for row, end in zip(rows, ended, strict=True))])


def _columns(data: xr.Dataset) -> Iterator[tuple[str, Floats]]:
    """Heads and values of all numbers: of the whole, of banks, of phases, refined."""
    yield "goodness_of_fit", np.asarray(data["goodness_of_fit"].values, np.float64)
    for dim in ("bank", "phase"):
        there = [name for name in sorted(map(str, data.data_vars)) if data[name].dims == ("temperature", dim)]
        there = [name for name in there if np.isfinite(data[name].values.astype(float)).any()]
        for at, owner in enumerate(data[dim].attrs["names"]):
            for name in there:
                unit = _unit(str(data[name].attrs.get("units", "1")))
                yield f"{owner}.{name}{unit}", np.asarray(data[name].values[:, at], np.float64)
    numbers = data["number"].attrs
    for at, (name, unit) in enumerate(zip(numbers["names"], numbers["units_of"], strict=True)):
        for end in ("", "_std"):
            values = np.asarray(data[f"refined_number{end}"].values[:, at], np.float64)
            yield f"refined {name}{end}{_unit(str(unit))}", values


def _unit(unit: str) -> str:
    return "" if unit == "1" else f" ({unit})"


def _pattern(data: xr.Dataset, place: int, row: int) -> str:
    """A row for every point of a bank."""
    names = [name for name in (*_POINTS, "diffraction_part") if name in data]
    here = data[names].isel(temperature=place, bank=row).load()
    columns = [(head, np.asarray(here[name].values, np.float64)) for name, head in _POINTS.items() if name in here]
    for phase, part in zip(data["phase"].attrs["names"], here["diffraction_part"].values, strict=True):
        columns.append((str(phase), np.asarray(part, np.float64)))
    used = [(head, values) for head, values in columns if np.isfinite(values).any()]
    there = np.isfinite(dict(columns)["observed"])
    rows = zip(*(values[there] for _, values in used), strict=True)
    return _csv([[head for head, _ in used], *(list(map(_text, one)) for one in rows)])


def _reflections(data: xr.Dataset, place: int, row: int) -> str:
    """A row for every reflection of a phase without a structure."""
    rows = [["phase", "h", "k", "l", "d (A)", "intensity", "intensity_std"]]
    names = ("reflection_spacing", "extracted_intensity", "extracted_intensity_std")
    table = [np.asarray(data[name].values[place, row], np.float64) for name in names]
    for number, phase in enumerate(data["phase"].attrs["names"]):
        for at in np.flatnonzero(np.isfinite(table[1][number])):
            hkl = data["miller_index"].values[row, number, at]
            rows.append([str(phase), *map(str, hkl.tolist()), *(_text(float(one[number, at])) for one in table)])
    return _csv(rows)


def _text(value: float) -> str:
    """A number as short as its digits allow; nothing where there is none."""
    return f"{value:.9g}" if math.isfinite(value) else ""


def _csv(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
