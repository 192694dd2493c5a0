"""Results of cells as figures and tables need them: units that suit the size of a cell, names, conditions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.report.names import names_along

Floats = NDArray[np.float64]

_PREFIXES = ((1.0, ""), (1e3, "m"), (1e6, "µ"), (1e9, "n"), (1e12, "p"))


@dataclass(frozen=True)
class Scale:
    """A unit with a prefix, and by what values in the plain unit are multiplied."""

    factor: float
    unit: str


def scale_of(values: Floats, unit: str) -> Scale:
    """The prefix with which the largest value is between 0.1 and 100."""
    known = np.abs(values[np.isfinite(values)])
    largest = float(known.max()) if known.size else 1.0
    for factor, prefix in _PREFIXES:
        if largest * factor >= 0.1:
            return Scale(factor, f"{prefix}{unit}")
    return Scale(*_PREFIXES[-1][:1], f"p{unit}")


def is_cells(data: xr.Dataset) -> bool:
    """Whether these are results of cycled cells."""
    return "cell_capacity" in data and "cycle_used" in data


def is_particle(data: xr.Dataset) -> bool:
    """Whether these are results of a single particle, or its plan."""
    return "planned_current" in data


def is_impedance(data: xr.Dataset) -> bool:
    """Whether these are results of impedance spectra."""
    return "circuit_value" in data and "gate_passed" in data


def record_names(data: xr.Dataset) -> list[str]:
    """Names of the cells."""
    return names_along(data["cell_capacity"], "record")


def condition_names(data: xr.Dataset) -> list[str]:
    """Names of the conditions."""
    return names_along(data["retention_mean"], "condition")


def used(data: xr.Dataset, name: str) -> Floats:
    """Values of cycles that are used, [record, cycle]."""
    return np.where(data["cycle_used"].values, np.asarray(data[name].values, np.float64), np.nan)


def cycles_of(data: xr.Dataset) -> Floats:
    """Numbers of the cycles."""
    return np.asarray(data["cycle"].values, np.float64)


def there(data: xr.Dataset) -> list[int]:
    """Places of the cells that have cycles."""
    return [int(one) for one in np.flatnonzero(np.isfinite(data["cell_capacity"].values).any(axis=1))]


def level_words(data: xr.Dataset) -> str:
    """``95 %``."""
    level = data["condition"].attrs.get("level") if "condition" in data.coords else None
    return f"{100 * float(level or 0.95):g} %"


def reference_words(data: xr.Dataset) -> str:
    """``cycle 2``."""
    attrs = data["capacity_retention"].attrs if "capacity_retention" in data else {}
    stated = attrs.get("reference") or (
        data["condition"].attrs.get("reference") if "condition" in data.coords else None
    )
    return f"cycle {int(stated)}" if stated else "the reference cycle"


def excluded(data: xr.Dataset) -> list[tuple[str, int, str]]:
    """Cycles that are not used: cell, cycle, reason."""
    names = record_names(data)
    return [
        (names[int(place)], int(cycle), str(why)) for place, cycle, why in data["cycle_used"].attrs.get("reasons", [])
    ]


def disturbances(data: xr.Dataset) -> list[tuple[int, int, str, str]]:
    """Place of the cell, cycle, kind and what was seen of every disturbance."""
    if "disturbance_kind" not in data:
        return []
    words = str(data["disturbance_kind"].attrs.get("flag_meanings", "")).split()
    numbers = [int(one) for one in data["record"].values]
    reasons = data["disturbance"].attrs.get("reasons", [])
    return [
        (numbers.index(int(record)), int(cycle), words[int(kind)].replace("_", " "), str(why))
        for record, cycle, kind, why in zip(
            data["disturbance_record"].values,
            data["disturbance_cycle"].values,
            data["disturbance_kind"].values,
            reasons,
            strict=True,
        )
    ]


def flag_words(array: xr.DataArray) -> list[str]:
    """What the numbers of a flag mean."""
    return [word.replace("_", " ") for word in str(array.attrs.get("flag_meanings", "")).split()]
