"""Numbers for people and machines: value with uncertainty in words, and every scalar or series of a study."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, TextIO

import numpy as np
import xarray as xr

from cathoscope.core.schema import SCHEMA
from cathoscope.core.study import Study
from cathoscope.report.names import names_along
from cathoscope.report.style import unit_text

_PIXEL_DIMS = frozenset({"z", "y", "x", "row", "column", "point", "reflection", "voltage_bin", "relaxation_bin"})
_NAMED_DIMS = frozenset({"spectrum", "component", "group", "phase", "bank", "number", "size_model"})
_NAMED_DIMS |= {"record", "condition", "circuit"}
_ORDER = {name: position for position, name in enumerate(SCHEMA)}
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
# Outside these decades numbers are written with a power of ten.
_PLAIN = (-4, 6)


@dataclass(frozen=True)
class Number:
    """One scalar result and where it comes from; ``place`` holds its coordinates (temperature, energy, ...)."""

    measurement: str
    array: str
    unit: str
    place: dict[str, Any]
    value: float
    sigma: float | None
    std_source: str
    address: str


@dataclass(frozen=True)
class Row:
    """A line of a table: what, its value in words, and a remark."""

    name: str
    value: str
    note: str = ""


def significant_decimals(std: float, digits: int | None = None) -> int:
    """Decimal places that show ``digits`` of ``std``, by default two if the first is 1, else one (negative: tens)."""
    exponent = Decimal(repr(std)).adjusted()
    if digits is not None:
        # 0.0996 shown with two digits is 0.10
        return digits - 1 - _rounded(std, digits - 1 - exponent).adjusted()
    rounded = _rounded(std, -exponent)
    leading_one = Decimal(repr(std)).as_tuple().digits[0] == 1
    if leading_one:
        return -exponent + 1
    # 0.96 shown with one digit is 1, whose leading digit is 1 again
    return -rounded.adjusted() + 1 if rounded.adjusted() > exponent else -exponent


def _rounded(value: float, decimals: int) -> Decimal:
    number = Decimal(repr(float(value)))
    # Decimal's default context has 28 digits, enough for any float here
    return number.quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_HALF_EVEN)


def format_value(value: float, std: float | None, unit: str, *, digits: int | None = None) -> str:
    """``8349.12 ± 0.03 eV``: value and standard uncertainty, both rounded to what the uncertainty allows.

    The uncertainty keeps ``digits``, by default two if the first is 1, else one. A value without uncertainty keeps six
    digits and says so; an uncertainty of zero means that the value was fixed.
    """
    name = unit_text(unit)
    suffix = f" {name}" if name and name != "°" else name
    if not math.isfinite(value):
        return "no value"
    if std is None or not math.isfinite(std) or std < 0:
        return f"{plain_number(value)}{suffix} (no uncertainty)"
    if std == 0:
        return f"{plain_number(value)}{suffix} (fixed)"
    size = max(abs(value), std)
    exponent = Decimal(repr(float(size))).adjusted()
    power = 0 if _PLAIN[0] <= exponent < _PLAIN[1] else exponent
    scaled, scaled_std = (float(Decimal(repr(float(item))).scaleb(-power)) for item in (value, std))
    decimals = significant_decimals(scaled_std, digits)
    if decimals > 15:  # finer than a float resolves
        return f"{plain_number(value)} ± {plain_number(std)}{suffix}"
    text = f"{_fixed(scaled, decimals)} ± {_fixed(scaled_std, decimals)}"
    if power:
        return f"({text}) × 10{str(power).translate(_SUPERSCRIPTS)}{suffix}"
    return f"({text}){suffix}" if suffix == "°" else f"{text}{suffix}"


def _fixed(value: float, decimals: int) -> str:
    text = f"{_rounded(value, decimals):.{max(decimals, 0)}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def plain_number(value: float) -> str:
    """Six significant digits at most, with a power of ten where it is shorter."""
    if not math.isfinite(value):
        return "no value"
    text = f"{value:.6g}"
    if "e" not in text:
        return text
    mantissa, exponent = text.split("e")
    return f"{mantissa} × 10{str(int(exponent)).translate(_SUPERSCRIPTS)}"


def count_text(n: int, noun: str) -> str:
    """``1 file``, ``2 files``, ``2 spectra``."""
    plural = "spectra" if noun == "spectrum" else f"{noun}s"
    return f"{n:,} {noun if n == 1 else plural}".replace(",", " ")


def size_text(n_bytes: float) -> str:
    """Bytes as people read them (powers of 1000)."""
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.3g} TB"


@dataclass(frozen=True)
class Numbers:
    """The numbers of some measurements, made when they are asked for, array by array: a large study has millions."""

    study: Study
    measurements: tuple[str, ...]

    def __iter__(self) -> Iterator[Number]:
        for measurement, data, name in self._arrays():
            yield from _numbers_of_array(self.study, measurement, data, name)

    @property
    def dims(self) -> list[str]:
        """What tells their places, in the order of the numbers."""
        found = (data[name] for _, data, name in self._arrays())
        return list(dict.fromkeys(str(dim) for array in found if array.size for dim in array.dims))

    def _arrays(self) -> Iterator[tuple[str, xr.Dataset, str]]:
        there = self.study.measurements("result")
        for measurement in self.measurements:
            if measurement in there:
                data = self.study.read("result", measurement)
                yield from ((measurement, data, name) for name in _names_of_numbers(data))


def numbers_of(study: Study, *measurements: str) -> Numbers:
    """Every result of measurements that is a number or a series of numbers (no images, volumes or curves)."""
    return Numbers(study, measurements)


def _names_of_numbers(data: xr.Dataset) -> list[str]:
    """The arrays that are numbers, without the uncertainties of others."""
    names = [
        name
        for name in map(str, data.data_vars)
        if not _PIXEL_DIMS & set(data[name].dims) and "flag_meanings" not in data[name].attrs
    ]
    names.sort(key=lambda name: (_ORDER.get(name.removesuffix("_std"), len(_ORDER)), name))  # disks list in any order
    return [name for name in names if not (name.endswith("_std") and name.removesuffix("_std") in names)]


def _numbers_of_array(study: Study, measurement: str, data: xr.Dataset, name: str) -> Iterator[Number]:
    array, std = data[name], data.get(f"{name}_std")
    values = np.asarray(array.values)
    sigmas = np.asarray(std.values) if std is not None and std.dims == array.dims else None
    places = {str(dim): _places(array, str(dim)) for dim in array.dims}
    address = study.address(measurement, name) or ""
    for index in np.ndindex(values.shape):
        yield Number(
            measurement,
            name,
            str(array.attrs.get("units", "")),
            {dim: _bare(coord[i]) for (dim, coord), i in zip(places.items(), index, strict=True)},
            float(values[index]),
            None if sigmas is None else float(sigmas[index]),
            str((array if std is None else std).attrs.get("std_source", "")),
            address,
        )


def _places(array: xr.DataArray, dim: str) -> Sequence[Any]:
    """What tells the values along ``dim`` apart: names of spectra and components, else the coordinate."""
    if dim in _NAMED_DIMS:
        return names_along(array, dim)
    if dim == "edge":
        return ["a", "b", "c"]
    if dim == "peak" and "listed" in array[dim].attrs:
        return [f"{spacing:.5g} A" for spacing in array[dim].attrs["listed"]]
    return list(array[dim].values) if dim in array.coords else range(array.sizes[dim])


def _bare(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def write_csv(numbers: Numbers, file: TextIO) -> None:
    """The numbers as CSV: one line each, coordinates in columns of their own, empty where there is no value."""
    dims = numbers.dims
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["measurement", "array", *dims, "value", "sigma", "unit", "std_source", "address"])
    for number in numbers:
        place = [number.place.get(dim, "") for dim in dims]
        tail = [_digits(number.value), _digits(number.sigma), number.unit, number.std_source, number.address]
        writer.writerow([number.measurement, number.array, *place, *tail])


def _digits(value: float | None) -> str:
    return repr(value) if value is not None and math.isfinite(value) else ""


def write_json(numbers: Numbers, file: TextIO) -> None:
    """The numbers as JSON: a list of objects; null stands for no value and for no uncertainty."""
    # one line each: easy to compare, and an indented text takes the library four times as long
    before = "[\n"
    for number in numbers:
        record = {
            "measurement": number.measurement,
            "array": number.array,
            **({"at": number.place} if number.place else {}),
            "value": _finite(number.value),
            "sigma": _finite(number.sigma),
            "unit": number.unit,
            "std_source": number.std_source,
            "address": number.address,
        }
        file.write(before + json.dumps(record, ensure_ascii=False, allow_nan=False))
        before = ",\n"
    file.write("\n]\n" if before != "[\n" else "[\n\n]\n")


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
