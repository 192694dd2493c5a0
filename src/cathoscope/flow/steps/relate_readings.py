"""What single measurements read of the quantities that samples are compared in: place, value, errors, doubts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from cathoscope.flow.relations import Member
from cathoscope.relate.sample_metrics import CYCLES, METRICS, Metric
from cathoscope.relate.samples import Reading

# read beside the quantities themselves: which conditions, what may be used, what to doubt
BESIDE = (
    "heating_rate",
    "energy_shift",
    "phase_present",
    "condition_of_record",
    "kept_share",
    "untrusted_share",
    "white_line_discrepancy",
    "asked_porosity",
    *sorted({metric.needs.removeprefix("not ") for metric in METRICS if metric.needs}),
)
_UNITS = {"cycling": "cell", "impedance": "cell", "uv-vis": "solution", "elements": "solution", "sections": "electrode"}
_MOST_VALUES = 100_000  # more is a map and no quantity
_FEW_CYCLES = 6  # a measurement with so few is compared at all of them
_MANY_UNTRUSTED = 0.05
_LARGE_DISCREPANCY = 3.0
_TO_SIGMA = 1 / 1.959964  # of an end with 95 %
_WIDE_ENDS = ("regime_change",)  # their ends hold 95 %, others 68 %


@dataclass(frozen=True)
class Found:
    """One reading, where it belongs and why it may be doubted.

    ``place`` is what both samples must share; ``series`` tells series of one sample apart that state no condition.
    """

    place: str
    series: str
    kind: str  # what one unit is: particle, cell, powder, solution
    reading: Reading
    doubts: tuple[str, ...] = ()


def readings_of(member: Member, metric: Metric) -> Iterator[Found]:
    """Every value of the quantity that the measurement has and that may be used."""
    array = member.data.get(metric.array)
    if array is None or array.size > _MOST_VALUES or metric.instead in member.data:
        return
    for index in np.ndindex(array.shape):
        at = dict(zip(map(str, array.dims), index, strict=True))
        place = _place(member, array, at)
        if place is None or not np.isfinite(array.values[index]) or not _usable(member.data, metric, at):
            continue
        reading = _reading(member, array, index, at)
        if reading is not None:
            yield Found(place, _series(member), unit_kind(member), reading, tuple(_doubts(member, metric, at)))


def unit_kind(member: Member) -> str:
    """What stands for the sample in a measurement."""
    return "particle" if member.particle is not None else _UNITS.get(member.technique, "powder")


def _series(member: Member) -> str:
    """The name without sample and number of the unit: ``rod-25C-1-impedance`` becomes ``25C-impedance``.

    The technique where nothing is left, so that one of several series is told from the others.
    """
    tokens = re.split(r"[-_. ]+", member.name.replace(member.sample, "", 1).strip("-_. "))
    number = str(member.particle) if member.particle is not None else next(filter(str.isdigit, tokens), "")
    if number in tokens:
        tokens.remove(number)
    return "-".join(tokens) or member.technique


def _place(member: Member, array: xr.DataArray, at: Mapping[str, int]) -> str | None:
    """The conditions in words; None where there is nothing to compare."""
    words = []
    for dim, index in at.items():
        word = _PLACES[dim](member, array, index) if dim in _PLACES else None
        if word is None:
            return None
        words.append(word)
    if array.name == "cycle_of_porosity":
        words.append(f"{100 * float(member.data['asked_porosity']):.3g} %")
    return ", ".join(filter(None, words))


def _temperature(member: Member, array: xr.DataArray, index: int) -> str:
    return f"{float(array['temperature'][index]):.0f} °C"


def _cycle(member: Member, array: xr.DataArray, index: int) -> str | None:
    cycles = np.asarray(array["cycle"].values, dtype=np.float64)
    chosen = CYCLES if cycles.size > _FEW_CYCLES else tuple(cycles)
    if "told" in member.data.coords:
        chosen = tuple(np.asarray(member.data["told"].values, dtype=np.float64))
    return f"cycle {cycles[index]:g}" if cycles[index] in chosen else None


def _record(member: Member, array: xr.DataArray, index: int) -> str:
    """Rate of heating, or temperature and rate of cells; cells of one condition are replicates."""
    data = member.data
    if "heating_rate" in data and data["heating_rate"].values[index] > 0:
        return f"{float(data['heating_rate'].values[index]):.2g} K/min"
    if "condition_of_record" not in data or "condition" not in data.coords:
        return ""
    names = data["condition"].attrs.get("names", ())
    number = int(data["condition_of_record"].values[index])
    return str(names[number - 1]) if 0 < number <= len(names) else ""


def _name(dim: str) -> Any:
    def word(member: Member, array: xr.DataArray, index: int) -> str:
        """What the coordinate calls it."""
        name = _names(array, dim)[index]
        return {"step": name.replace(" C", " °C"), "effect": f"effect {name}"}.get(dim, name)

    return word


def _names(array: xr.DataArray, dim: str) -> list[str]:
    names = array[dim].attrs.get("names", ()) if dim in array.coords else ()
    if len(names) != array.sizes[dim]:
        return [f"{dim} {number + 1}" for number in range(array.sizes[dim])]
    return [str(name) for name in names]


def _specimen(member: Member, array: xr.DataArray, index: int) -> str | None:
    """Only what is dissolved is compared."""
    dissolved = [str(name) for name in np.atleast_1d(array.attrs.get("dissolved", ()))]
    return "" if _names(array, "specimen")[index] in dissolved else None


def _element(member: Member, array: xr.DataArray, index: int) -> str | None:
    name, base = _names(array, "element")[index], str(array.attrs.get("relative_to", ""))
    return None if name == base else f"{name} : {base}"


def _spectrum(member: Member, array: xr.DataArray, index: int) -> str:
    """Spectra of solutions are replicates; of others the name without the sample's says which state."""
    name = _names(array, "spectrum")[index]
    return "" if member.technique == "uv-vis" else name.replace(member.sample, "").strip("-_. ")


_PLACES = {
    "temperature": _temperature,
    "cycle": _cycle,
    "record": _record,
    "specimen": _specimen,
    "element": _element,
    "spectrum": _spectrum,
    **{dim: _name(dim) for dim in ("step", "phase", "effect", "condition")},
}


def _usable(data: xr.Dataset, metric: Metric, at: Mapping[str, int]) -> bool:
    if "phase" in at and "temperature" in at and "phase_present" in data and not _at(data["phase_present"], at):
        return False
    name = metric.needs.removeprefix("not ")
    return not name or name not in data or bool(_at(data[name], at)) != metric.needs.startswith("not ")


def _at(array: xr.DataArray, at: Mapping[str, int]) -> float:
    return float(array.isel({dim: at[str(dim)] for dim in array.dims}).values)


def _reading(member: Member, array: xr.DataArray, index: tuple[int, ...], at: Mapping[str, int]) -> Reading | None:
    """Value with its random part, shared causes and, where they are known, uneven ends."""
    name, data = str(array.name), member.data
    value = float(array.values[index])
    causes = dict(_causes(member, array, index, at))
    whole = float(data[f"{name}_std"].values[index]) if f"{name}_std" in data else np.nan
    if whole == 0:
        return None  # fixed by a person or by definition
    ends = _ends(data, name, index, value)
    std = float(np.sqrt(max(whole**2 - sum(part**2 for part in causes.values()), 0.0)))
    if np.isnan(std) and ends is not None:  # an end that is open says nothing, the other does
        closed = [end for end in ends if np.isfinite(end)]
        std = sum(closed) / len(closed) if closed else np.inf
    causes |= _calibration(member, array, at)
    return Reading(value, std, causes, ends, _unit(member, array, at))


def _unit(member: Member, array: xr.DataArray, at: Mapping[str, int]) -> str:
    if member.particle is not None:
        return f"particle {member.particle}"
    for dim in ("record", "spectrum"):
        if dim in at and (dim == "record" or member.technique == "uv-vis"):
            return f"{member.name}: {_names(array, dim)[at[dim]]} {at[dim]}"
    return member.name


def _ends(data: xr.Dataset, name: str, index: tuple[int, ...], value: float) -> tuple[float, float] | None:
    if f"{name}_low" not in data or f"{name}_high" not in data:
        return None
    scale = _TO_SIGMA if name in _WIDE_ENDS else 1.0
    low, high = (float(data[name + end].values[index]) for end in ("_low", "_high"))
    return (scale * (value - low), scale * (high - value)) if not np.isnan([low, high]).any() else None


def _causes(
    member: Member, array: xr.DataArray, index: tuple[int, ...], at: Mapping[str, int]
) -> Iterator[tuple[str, float]]:
    """What other readings may share: the foil by its file, the method's own systematic part by the sample."""
    stated = array.attrs.get("systematic_std")
    if stated is not None and len(stated) == array.size:
        for cause, std in stated[int(np.ravel_multi_index(index, array.shape)) if index else 0]:
            own = f"{member.name}, {index}: {cause}"
            yield (_foil(member, array, at) or own) if cause == "foil" else own, float(std)
    part = member.data.get(f"{array.name}_systematic")
    if part is not None and np.isfinite(part.values[index]):
        yield f"{member.sample}: method", float(part.values[index])


def _calibration(member: Member, array: xr.DataArray, at: Mapping[str, int]) -> dict[str, float]:
    """The error of the shift that calibrates a bulk spectrum, which those of its edges do not hold."""
    if "spectrum" not in at or array.attrs.get("units") != "eV" or "energy_shift_std" not in member.data:
        return {}
    std = _at(member.data["energy_shift_std"], at)
    foil = getattr(getattr(member.section, "xas", None), "foil", None)
    name = f"foil {foil}" if foil else f"{member.name}: calibration of {at['spectrum']}"
    return {name: std} if np.isfinite(std) else {}


def _foil(member: Member, array: xr.DataArray, at: Mapping[str, int]) -> str:
    """The file that the energies of a temperature are calibrated by."""
    temperature = float(array["temperature"][at["temperature"]]) if "temperature" in at else None
    for entry in getattr(member.section, "series", ()):
        if entry.foil and (temperature is None or entry.temperature == temperature):
            return f"foil {entry.foil}"
    return ""


def _doubts(member: Member, metric: Metric, at: Mapping[str, int]) -> Iterator[str]:
    """Why a value may be less sure than it says."""
    data = member.data
    if metric.array.startswith("white_line") and "temperature" in at:
        if "untrusted_share" in data and _at(data["untrusted_share"], at) > _MANY_UNTRUSTED:
            yield f"{_at(data['untrusted_share'], at):.0%} of the voxels of {member.name} have no trusted white line"
        gap = _at(data["white_line_discrepancy"], at) if "white_line_discrepancy" in data else 0.0
        if metric.array == "white_line_width" and abs(gap) > _LARGE_DISCREPANCY:
            yield "two ways to take the noise off the width disagree by more than their errors"
    beyond = np.atleast_1d(data[metric.array].attrs.get("extrapolated", ()))
    if "spectrum" in at and beyond.size > at["spectrum"] and beyond[at["spectrum"]]:
        yield f"a spectrum of {member.name} lies beyond the standards"
