"""Sample against sample in the lab: differences of the numbers that both have, with 95 % intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import xarray as xr
from scipy import special

from cathoscope.report.dissolution import band_words, dissolved_rows, is_content, is_light
from cathoscope.report.figures.state_curves import ParticleResult
from cathoscope.report.heating import is_calorimetry, is_mass_loss, is_unlevel
from cathoscope.report.names import names_along
from cathoscope.report.style import axis_label
from cathoscope.report.tables import Column, Table

_LEVEL = 0.975
_NORMAL = 1.959964  # standard deviations of a 95 % interval


@dataclass(frozen=True)
class Value:
    """A number of a sample under a name; several of one name and sample are replicates."""

    quantity: str
    value: float
    std: float


Values = Callable[[xr.Dataset], list[Value]]


def _at(data: xr.Dataset, name: str, place: tuple[int, ...], words: str) -> list[Value]:
    value, std = float(data[name].values[place]), float(data[f"{name}_std"].values[place])
    unit = str(data[name].attrs.get("units", "1"))
    return [Value(axis_label(words, unit), value, std)] if np.isfinite(value) else []


def _rate_words(data: xr.Dataset, row: int) -> str:
    """The heating rate; only records of one rate are compared."""
    rate = float(data["heating_rate"].values[row]) if "heating_rate" in data else float("nan")
    if not np.isfinite(rate) or rate <= 0:
        return ""
    return f" at {rate:.2g} K/min"


_OF_MASS = {
    "rapid_loss_onset": "onset of rapid loss, tangents",
    "rapid_loss_deflection": "first deflection of rapid loss",
    "total_loss": "loss in all",
    "total_oxygen": "oxygen lost per formula unit",
}
_OF_EFFECTS = {"effect_onset": "onset", "effect_peak": "peak", "effect_enthalpy": "enthalpy"}


def mass_values(data: xr.Dataset) -> list[Value]:
    """Of ramps on a balance."""
    rows = range(data.sizes["record"]) if is_mass_loss(data) else ()
    return [
        one
        for row in rows
        for name, words in _OF_MASS.items()
        for one in _at(data, name, (row,), words + _rate_words(data, row))
    ]


def heat_values(data: xr.Dataset) -> list[Value]:
    """Of a calorimeter."""
    if not is_calorimetry(data) or "effect_enthalpy" not in data:
        return []
    return [
        one
        for column, effect in enumerate(names_along(data["effect_enthalpy"], "effect"))
        for row in range(data.sizes["record"])
        for name, words in _OF_EFFECTS.items()
        if name != "effect_enthalpy" or not is_unlevel(data, row, column)
        for one in _at(data, name, (row, column), f"{effect}: {words}{_rate_words(data, row)}")
    ]


def light_values(data: xr.Dataset) -> list[Value]:
    """Of spectra of solutions; every spectrum is a replicate."""
    rows = range(data.sizes["spectrum"]) if is_light(data) else ()
    return [one for row in rows for one in _at(data, "band_absorbance", (row,), f"absorbance, {band_words(data)}")]


def content_values(data: xr.Dataset) -> list[Value]:
    """Of elemental analysis: ratios of what is dissolved, and lithium removed."""
    if not is_content(data):
        return []
    base = str(data["element_ratio"].attrs.get("relative_to", ""))
    found = _at(data, "lithium_removed", (), "lithium removed per metal")
    for row in dissolved_rows(data):
        for k, name in enumerate(names_along(data["element_ratio"], "element")):
            found += _at(data, "element_ratio", (row, k), f"dissolved {name} : {base}") if name != base else []
    return found


def differences_table(results: Sequence[ParticleResult], values: Values, key: str, title: str) -> Table | None:
    """Every number that two samples share, and its difference."""
    found: dict[str, dict[str, list[Value]]] = {}
    for each in results:
        for one in values(each.data):
            found.setdefault(one.quantity, {}).setdefault(each.sample, []).append(one)
    rows = [
        (f"{quantity}, {first} − {second}", *_difference(of[first], of[second]))
        for quantity, of in found.items()
        for first, second in combinations(of, 2)
    ]
    if not rows:
        return None
    names, firsts, seconds, changes, words = zip(*rows, strict=True)
    heads = {"first": ("first sample", firsts), "second": ("second sample", seconds)}
    heads |= {"difference": ("difference", changes)}
    columns = tuple(
        Column("", head, "1", tuple(one for one, _ in pairs), tuple(std for _, std in pairs), csv_name=name)
        for name, (head, pairs) in heads.items()
    )
    return Table(key, title, "quantity", names, columns, words, _NOTES)


def lab_differences(results: Sequence[ParticleResult]) -> list[Table]:
    """Every table of differences that the measurements allow."""
    found = [
        differences_table(results, values, key, f"{title}, sample against sample") for key, title, values in _TABLES
    ]
    return [table for table in found if table is not None]


_TABLES: tuple[tuple[str, str, Values], ...] = (
    ("mass-differences", "Loss of mass", mass_values),
    ("heat-differences", "Heat", heat_values),
    ("absorbance-differences", "Absorbance", light_values),
    ("content-differences", "Elemental analysis", content_values),
)
_NOTES = (
    "Where a sample has one record, σ is that of its noise and the interval is normal: what another powder of the same "
    "sample would give is not in it. With two records or more of both, σ is that of the mean by their scatter, and the "
    "interval is Welch's",
)
_Pair = tuple[float, float]


def _difference(first: Sequence[Value], second: Sequence[Value]) -> tuple[_Pair, _Pair, _Pair, str]:
    """Both values, their difference, and its 95 % interval in words."""
    replicated = min(len(first), len(second)) > 1
    (a, sa), (b, sb) = (_mean(one, replicated) for one in (first, second))
    change, std = a - b, float(np.hypot(sa, sb))
    if not std > 0:
        return (a, sa), (b, sb), (change, float("nan")), "nothing tells how sure it is"
    reach = _NORMAL
    if replicated:
        reach = float(special.stdtrit(_freedom(sa, sb, len(first), len(second)), _LEVEL))
    low, high = change - reach * std, change + reach * std
    digits = int(np.clip(1 - np.floor(np.log10(std)), 0, 6))
    told = f"95 % from {low:.{digits}f} to {high:.{digits}f}".replace("-", "−")
    return (a, sa), (b, sb), (change, std), told + (f", {len(first)} and {len(second)} records" if replicated else "")


def _mean(values: Sequence[Value], replicated: bool) -> _Pair:
    """Mean with its uncertainty: by scatter where both samples have several, else by what each states."""
    x = np.array([one.value for one in values])
    if replicated:
        return float(x.mean()), float(x.std(ddof=1) / np.sqrt(x.size))
    return float(x.mean()), float(np.sqrt(np.sum([one.std**2 for one in values])) / x.size)


def _freedom(a: float, b: float, n: int, m: int) -> float:
    """Degrees of freedom of Welch and Satterthwaite."""
    return (a**2 + b**2) ** 2 / (a**4 / (n - 1) + b**4 / (m - 1))
