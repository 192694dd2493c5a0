"""Files of powder diffraction in order: patterns by temperature and bank, each bank with its instrument parameters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import xarray as xr

from cathoscope.core.bank import Bank
from cathoscope.core.errors import MeasurementError, RecipeError
from cathoscope.core.links import link_file
from cathoscope.core.schema import dataset, label
from cathoscope.core.units import convert
from cathoscope.flow.diffraction_sections import BankSection
from cathoscope.flow.raw import RawMeasurement, SetAside, find_files
from cathoscope.flow.recipe import Recipe
from cathoscope.flow.sections import MeasurementSection
from cathoscope.io import open_raw
from cathoscope.io.instrument import read_banks

PLACES = {"tof": "tof", "cw": "two_theta"}
"""Array of the places of a pattern, by the kind of the bank."""

_Dated = tuple[float, xr.Dataset]
_Named = tuple[str, xr.Dataset]

_ARRAYS = ("tof", "two_theta", "diffraction_counts", "diffraction_counts_std")
_SAME = 0.5  # K: patterns of two banks at one temperature
_DIFFERENT = 0.005  # K: patterns of one bank at two temperatures
_IN_NAME = re.compile(r"(?<![A-Za-z0-9.])T?[-_]?([-+]?\d+(?:\.\d+)?)[-_]?(degC|C|K)(?![A-Za-z0-9])")


class PlacedError(MeasurementError):
    """A mistake at a key of the measurement's table."""

    def __init__(self, error: MeasurementError, *key: str | int) -> None:
        super().__init__(error.problem, where=error.where, expected=error.expected, found=error.found, cure=error.cure)
        self.key = key

    def in_recipe(self, recipe: Recipe, name: str) -> RecipeError:
        """The same as a mistake of the recipe, at its line."""
        problem = self.problem if self.where is None else f"{self.where}: {self.problem}"
        words = {"expected": self.expected, "found": self.found, "cure": self.cure}
        return recipe.mistake(("measurement", name, *self.key), problem, **words)


def require_pattern(scan: xr.Dataset) -> xr.Dataset:
    """Refuse files without a powder pattern."""
    if "diffraction_counts" not in scan.variables:
        raise MeasurementError(
            "the file holds no powder pattern",
            where=scan.attrs["source"],
            expected="GSAS powder data, or columns of place, intensity, uncertainty",
            found=str(scan.attrs.get("format", "something else")),
        )
    return scan


def arrange_patterns(recipe: Recipe, raw: RawMeasurement, opened: Sequence[tuple[float | None, xr.Dataset]]) -> None:
    """Place patterns by temperature; further banks beside those of ``files``.

    A temperature stands in the recipe, else in the header of a file, else in its name.

    Raises
    ------
    RecipeError
        If an instrument file cannot be used, banks are called alike, or temperatures are not as many as files.
    MeasurementError
        If temperatures of several files are not known.
    """
    section = raw.section
    try:
        patterns = _by_temperature(raw, opened, section.diffraction.temperatures, ("diffraction",))
        numbers = [int(number) for number in patterns[0][1]["bank"].values]
        banks = main_banks(section, recipe.data_folder, numbers)
        for bank in banks:
            _require_kind(bank, patterns[0][1], ("instrument",))
        patterns = _with_all_banks(raw, patterns)
        rows = [[(bank.name, scan.isel(bank=place)) for place, bank in enumerate(banks)] for _, scan in patterns]
        for number, more in enumerate(section.banks):
            bank = bank_of_section(more, number, recipe.data_folder)
            found = _further(recipe, raw, more, number)
            _beside(raw, rows, [temperature for temperature, _ in patterns], (bank, more.bank), found)
            banks.append(bank)
        _require_unlike([bank.name for bank in banks], section)
    except PlacedError as error:
        raise error.in_recipe(recipe, raw.name) from None
    _place(raw, patterns, rows, banks)


def _with_all_banks(raw: RawMeasurement, patterns: Sequence[_Dated]) -> list[_Dated]:
    """Files with the banks of the first; others are set aside."""
    wanted = patterns[0][1]["bank"].values.tolist()
    usable = [one for one in patterns if one[1]["bank"].values.tolist() == wanted]
    for _, scan in patterns:
        found = scan["bank"].values.tolist()
        if found != wanted:
            raw.set_aside.append(SetAside(_name(scan), f"it has the banks {found}, the first file {wanted}"))
    return usable


def _by_temperature(
    raw: RawMeasurement,
    opened: Sequence[tuple[float | None, xr.Dataset]],
    stated: Sequence[float],
    key: tuple[str | int, ...],
) -> list[_Dated]:
    """Files in the order of their temperatures; the second of two at one temperature is set aside."""
    if stated and len(stated) != len(opened):
        error = MeasurementError(
            "temperatures are not as many as files", expected=f"{len(opened)}", found=f"{len(stated)}"
        )
        raise PlacedError(error, *key, "temperatures")
    known = [
        (temperature if temperature is not None else stated[place] if stated else _temperature_of(scan), scan)
        for place, (temperature, scan) in enumerate(opened)
    ]
    if len(known) == 1:
        return known
    usable: list[_Dated] = []
    for temperature, scan in known:
        same = [_name(other) for value, other in usable if abs(value - temperature) < _DIFFERENT]
        if np.isnan(temperature):
            raw.set_aside.append(SetAside(_name(scan), "neither its header nor its name says its temperature"))
        elif same:
            raw.set_aside.append(SetAside(_name(scan), f"a second pattern at {temperature:g} C; {same[0]} is used"))
        else:
            usable.append((temperature, scan))
    if not usable:
        raise MeasurementError(
            "the temperatures of the patterns are not known",
            where=raw.name,
            expected="in the headers or names of the files, such as rod_150C.gsa",
            found=", ".join(_name(scan) for _, scan in known[:3]),
            cure='add  diffraction.temperatures = ["25 C", "26 C", ...]  in the order of the names',
        )
    return sorted(usable, key=lambda one: one[0])


def _temperature_of(scan: xr.Dataset) -> float:
    """What the header says, else the name of the file; NaN if neither does."""
    if "temperature" in scan.coords:
        return float(scan["temperature"])
    match = _IN_NAME.search(Path(scan.attrs["source"]).stem)
    return float("nan") if match is None else convert(float(match[1]), match[2], "temperature")


def main_banks(section: MeasurementSection, folder: Path, numbers: Sequence[int]) -> list[Bank]:
    """Instrument parameters of the banks of ``files``: one file for each, or one with all of them.

    ``numbers`` are those of the banks in the files.

    Raises
    ------
    PlacedError
        If a file cannot be used, or files and banks do not agree.
    """
    read = [_read(folder / file, "instrument", place) for place, file in enumerate(section.instrument)]
    if len(read) == 1 and len(numbers) > 1:
        found = [read[0].get(number) for number in numbers]
    else:
        pairs = zip(read, numbers, strict=False)
        found = [next(iter(one.values())) if len(one) == 1 else one.get(number) for one, number in pairs]
    chosen = [bank for bank in found if bank is not None]
    if len(chosen) != len(numbers) or len(read) > len(numbers):
        error = MeasurementError(
            "instruments and banks do not agree",
            expected=f"one instrument file for each of {len(numbers)} banks, or one with all of them",
            found=f"{len(section.instrument)} files with {sum(map(len, read))} banks",
        )
        raise PlacedError(error, "instrument")
    return [_renamed(bank) for bank in chosen]


def banks_of_rows(section: MeasurementSection, folder: Path, scan: xr.Dataset) -> list[Bank]:
    """The banks of the rows of the patterns, named as the rows are."""
    names = list(scan["bank"].attrs["names"])
    main = len(names) - len(section.banks)
    banks = main_banks(section, folder, [int(one) for one in scan["bank"].attrs["numbers"][:main]])
    banks += [bank_of_section(more, number, folder) for number, more in enumerate(section.banks)]
    return banks


def bank_of_section(section: BankSection, number: int, folder: Path) -> Bank:
    """Instrument parameters of a further bank, with its name in the recipe."""
    read = _read(folder / section.instrument, "banks", number, "instrument")
    bank = next(iter(read.values())) if len(read) == 1 else read.get(section.bank or 1)
    if bank is None:
        error = MeasurementError(
            f"the instrument file has no bank {section.bank or 1}",
            expected=" or ".join(map(str, read)),
            cure="say which with  bank = NUMBER",
        )
        raise PlacedError(error, "banks", number, "instrument")
    return _renamed(bank, section.name)


def _read(path: Path, *key: str | int) -> dict[int, Bank]:
    try:
        return read_banks(path)[0]
    except MeasurementError as error:
        raise PlacedError(error, *key) from None


def instrument_remarks(section: MeasurementSection, folder: Path) -> list[str]:
    """What the instrument files leave out, and what was made of that."""
    files = [*section.instrument, *(bank.instrument for bank in section.banks)]
    return [f"{Path(file).name}: {remark}" for file in dict.fromkeys(files) for remark in read_banks(folder / file)[1]]


def _renamed(bank: Bank, name: str | None = None) -> Bank:
    """With a name that can be the first part of the names of numbers."""
    return replace(bank, name=name or re.sub(r"[\s.*?\[\]]+", "_", bank.name))


def _require_kind(bank: Bank, scan: xr.Dataset, key: tuple[str | int, ...]) -> None:
    if PLACES[bank.kind] not in scan.variables:
        kinds = {"tof": "time of flight", "cw": "a constant wavelength"}
        other = "cw" if bank.kind == "tof" else "tof"
        error = MeasurementError(
            f"the instrument {bank.name} is one of {kinds[bank.kind]}, and the pattern one of {kinds[other]}",
            found=_name(scan),
            cure="name the instrument file that belongs to the patterns",
        )
        raise PlacedError(error, *key)


def _require_unlike(banks: Sequence[str], section: MeasurementSection) -> None:
    names = [*banks, *section.phases]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        error = MeasurementError(
            f"{' and '.join(twice)} is the name of more than one bank or phase",
            expected="names that are unlike",
            cure='rename the phase, or give the bank a name, such as  name = "xray"  in its [[banks]]',
        )
        raise PlacedError(error, "banks" if section.banks else "instrument")


def _further(recipe: Recipe, raw: RawMeasurement, section: BankSection, number: int) -> list[_Dated]:
    """The files of a further bank; one that cannot be used is set aside."""
    key: tuple[str | int, ...] = ("measurement", raw.name, "banks", number, "files")
    opened: list[tuple[float | None, xr.Dataset]] = []
    for path in (path for pattern in section.files for path in find_files(recipe, pattern, key)):
        try:
            scan = require_pattern(open_raw([path], reader=raw.section.reader))
        except MeasurementError as error:
            raw.set_aside.append(SetAside(path.name, " ".join(str(error).split())))
            continue
        link = link_file(path, recipe.data_folder)
        scan.attrs["digest"] = link.sampled_hash
        raw.links.append(link)
        opened.append((None, scan))
    if not opened:
        raise MeasurementError("no file of a further bank can be used", where=raw.name, found=", ".join(section.files))
    return _by_temperature(raw, opened, section.temperatures, ("banks", number))


def _beside(
    raw: RawMeasurement,
    rows: list[list[_Named]],
    temperatures: Sequence[float],
    of: tuple[Bank, int | None],
    found: Sequence[_Dated],
) -> None:
    """The patterns of a further bank beside those of the same temperature; those of no temperature are set aside."""
    bank, number = of
    for temperature, scan in found:
        alone = len(rows) == len(found) == 1
        near = [place for place, other in enumerate(temperatures) if alone or abs(other - temperature) < _SAME]
        if not near:
            raw.set_aside.append(SetAside(_name(scan), "no pattern of the measurement has its temperature"))
            continue
        _require_kind(bank, scan, ("banks",))
        numbers = [int(one) for one in scan["bank"].values]
        if (number is None and len(numbers) > 1) or (number is not None and number not in numbers):
            error = MeasurementError(
                f"which bank of {_name(scan)} is meant?",
                expected=" or ".join(f"bank = {one}" for one in numbers),
                found="none" if number is None else f"bank = {number}",
            )
            raise PlacedError(error, "banks")
        beside = scan.isel(bank=0 if number is None else numbers.index(number))
        _require_other_points(bank.name, beside, rows[near[0]])
        rows[near[0]].append((bank.name, beside))
    without = len(rows) - sum(any(name == bank.name for name, _ in row) for row in rows)
    if without:
        raw.remarks.append(f"{without} of {len(rows)} temperatures have no pattern of {bank.name}")


def _require_other_points(name: str, scan: xr.Dataset, row: Sequence[_Named]) -> None:
    """Refuse a pattern that is there already: its points would count twice."""
    for other, there in row:
        if np.array_equal(scan["diffraction_counts"], there["diffraction_counts"], equal_nan=True):
            error = MeasurementError(
                f"the patterns of {name} are those of {other}: their points would count twice",
                found=_name(scan),
                cure="leave one of them out",
            )
            raise PlacedError(error, "banks")


def _below_zero(first: xr.Dataset, row: Sequence[_Named]) -> list[str]:
    """What to know of intensities below zero, which counts are not."""
    found = []
    for name, scan in row:
        below = int((scan["diffraction_counts"].values < 0).sum())
        if below:
            found.append(f"{_name(first)}: {below} of {scan.sizes['point']} intensities of {name} are below zero")
    return found


def _place(
    raw: RawMeasurement, patterns: Sequence[_Dated], rows: Sequence[Sequence[_Named]], banks: Sequence[Bank]
) -> None:
    """All patterns of a temperature as one scan."""
    longest = max(scan.sizes["point"] for row in rows for _, scan in row)
    coord = label("bank", np.arange(1, len(banks) + 1), ("bank",))
    coord.attrs["names"] = [bank.name for bank in banks]
    coord.attrs["numbers"] = [int(number) for number in patterns[0][1]["bank"].values]
    names = [name for name in _ARRAYS if any(name in scan.variables for row in rows for _, scan in row)]
    single = len(patterns) == 1 and bool(np.isnan(patterns[0][0]))
    if not single:
        temperatures = np.array([temperature for temperature, _ in patterns])
        raw.dims = ("temperature",)
        raw.coords["temperature"] = label("temperature", temperatures, ("temperature",))
    for place, (row, (_, first)) in enumerate(zip(rows, patterns, strict=True)):
        arrays = [_table(name, row, coord, longest) for name in names]
        digests = list(dict.fromkeys(str(scan.attrs["digest"]) for _, scan in row))
        attrs = {"source": first.attrs["source"], "format": first.attrs.get("format", ""), "digest": "-".join(digests)}
        raw.scans[() if single else (place,)] = dataset(arrays, **attrs)
        raw.remarks += [f"{_name(first)}: {remark}" for remark in first.attrs.get("remarks", ())]
        raw.remarks += _below_zero(first, row)


def _table(name: str, row: Sequence[_Named], banks: xr.DataArray, longest: int) -> xr.DataArray:
    """One array of all banks at one temperature; shorter patterns end in NaN, and so do those that are not there."""
    values = np.full((banks.size, longest), np.nan)
    for bank, scan in row:
        if name in scan.variables:
            values[banks.attrs["names"].index(bank), : scan.sizes["point"]] = scan[name].values
    source = "counting" if name.endswith("_std") else None
    return label(name, values, ("bank", "point"), coords={"bank": banks}, std_source=source)


def _name(scan: xr.Dataset) -> str:
    return Path(scan.attrs["source"]).name
