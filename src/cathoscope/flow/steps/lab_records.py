"""Files of lab instruments in order: one record for each file, with what its technique needs, and files beside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.core.schema import dataset, label
from cathoscope.flow.graph import Context
from cathoscope.flow.raw import RawMeasurement, SetAside
from cathoscope.flow.recipe import Recipe
from cathoscope.flow.sections import MeasurementSection
from cathoscope.io import open_raw

Floats = NDArray[np.float64]

NEEDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "mass-loss": ("sample_temperature", "sample_mass"),
        "calorimetry": ("sample_temperature", "heat_flow"),
        "uv-vis": ("wavelength", "absorbance"),
        "elements": ("element_content",),
    }
)
"""Techniques of which every file is a record by itself, and the arrays that it must hold."""

_WORDS = {
    "sample_mass": "a balance",
    "heat_flow": "a calorimeter",
    "absorbance": "a spectrophotometer",
    "element_content": "elemental analysis",
    "ion_signal": "a mass spectrometer",
}
_BACK = 3.0  # usual steps by which a time may run back, as clocks of two instruments make it
_MOST_BACK = 0.01  # share of the points of which a time may run back


def require_record(scan: xr.Dataset, technique: str) -> xr.Dataset:
    """A record that holds what its technique needs, without points at which its clock runs back.

    Raises
    ------
    MeasurementError
        If it does not, or its time begins anew.
    """
    _require(scan, NEEDS[technique], technique)
    return _in_time(scan)


def _require(scan: xr.Dataset, needs: Sequence[str], what: str) -> None:
    if any(name not in scan.variables for name in needs):
        raise MeasurementError(
            f"the file holds no record of {_WORDS[needs[-1]]}",
            where=scan.attrs["source"],
            expected=" and ".join(name.replace("_", " ") for name in needs),
            found=f"{scan.attrs.get('format', 'something else')}: {', '.join(map(str, scan.data_vars))}",
            cure=f"name a file of {_WORDS[needs[-1]]}, or choose another technique than {what!r}",
        )


def _in_time(scan: xr.Dataset) -> xr.Dataset:
    """Without single points at which time runs back.

    Raises
    ------
    MeasurementError
        If it begins anew: two records in one file.
    """
    if "elapsed_time" not in scan.variables:
        return scan
    time = np.asarray(scan["elapsed_time"].values, np.float64)
    late = np.maximum.accumulate(time)
    behind = np.flatnonzero(time < late)
    if not behind.size:
        return scan
    usual = float(np.median(np.diff(time)[np.diff(time) > 0])) if time.size > 1 else 0.0
    first = int(behind[0])
    if behind.size > max(1, _MOST_BACK * time.size) or float(np.max(late - time)) > _BACK * usual:
        raise MeasurementError(
            "time runs back in the record",
            where=scan.attrs["source"],
            expected="one record with rising times",
            found=f"{time[first - 1]:g} s, then {time[first]:g} s at row {first + 1} of {time.size}",
            cure="if the file holds two records, write each into a file of its own",
        )
    kept = scan.isel(point=np.setdiff1d(np.arange(time.size), behind))
    told = f"{behind.size} of {time.size} points at which time runs back are left out"
    return kept.assign_attrs(remarks=[*scan.attrs.get("remarks", ()), told])


def arrange_records(recipe: Recipe, raw: RawMeasurement, opened: Sequence[xr.Dataset]) -> None:
    """Place records along the dim ``record``; the number of a record is the place of its file in the recipe.

    Raises
    ------
    RecipeError
        If a spectrum or specimen that the recipe names is in no file.
    """
    composition = recipe.model.sample[raw.section.sample].composition
    usable = [scan for scan in opened if _is_own(recipe, raw, scan)]
    if not usable:
        found = "\n            ".join(f"{item.file}: {item.reason}" for item in raw.set_aside)
        raise MeasurementError("no file can be used", where=raw.name, found=found)
    _require_chosen(recipe, raw, usable)
    raw.dims = ("record",)
    numbers = [int(scan.attrs["place"]) + 1 for scan in usable]
    raw.coords["record"] = label("record", np.array(numbers), ("record",))
    raw.coords["record"].attrs["names"] = [Path(scan.attrs["source"]).stem for scan in usable]
    for place, scan in enumerate(usable):
        # what is computed depends on the sample's composition as on the file
        scan.attrs |= {"composition": composition, "digest": f"{scan.attrs['digest']}-{composition}"}
        raw.scans[(place,)] = scan
        file = Path(scan.attrs["source"]).name
        raw.remarks.extend(f"{file}: {remark}" for remark in scan.attrs.get("remarks", ()))


def chosen_of(section: MeasurementSection) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """Dim whose names the recipe may choose from, the key of the choice, and the names."""
    if section.technique == "elements":
        return "specimen", ("elements", "specimens"), section.elements.specimens
    return "spectrum", ("uv_vis", "spectra"), section.uv_vis.spectra


def _is_own(recipe: Recipe, raw: RawMeasurement, scan: xr.Dataset) -> bool:
    """Whether all that a file holds may be of this sample; one that names another sample is set aside."""
    dim, key, chosen = chosen_of(raw.section)
    if dim not in scan.coords or chosen:
        return True
    own, others = raw.section.sample, [name for name in recipe.model.sample if name != raw.section.sample]
    names = [str(name) for name in scan[dim].attrs["names"]]
    foreign = [name for name in names if own not in name and any(other in name for other in others)]
    if not foreign:
        return True
    mine = [name for name in names if name not in foreign]
    reason = f"it holds {', '.join(foreign)} of another sample: add  {'.'.join(key)} = {mine or ['NAME']}"
    raw.set_aside.append(SetAside(Path(scan.attrs["source"]).name, reason))
    return False


def _require_chosen(recipe: Recipe, raw: RawMeasurement, scans: Sequence[xr.Dataset]) -> None:
    dim, key, chosen = chosen_of(raw.section)
    there = [str(name) for scan in scans if dim in scan.coords for name in scan[dim].attrs["names"]]
    missing = [name for name in chosen if name not in there]
    if missing:
        raise recipe.mistake(
            ("measurement", raw.name, *key),
            f"no {dim} is called {missing[0]!r}",
            expected=" or ".join(dict.fromkeys(there)),
            found=missing[0],
        )


def open_beside(context: Context, file: str, key: str, needs: tuple[str, ...]) -> xr.Dataset:
    """The record of a file that a key of the recipe names beside the measurement's own.

    Raises
    ------
    MeasurementError
        Naming file and key, if it cannot be read or is of another instrument.
    """
    try:
        scan = open_raw(context.data_folder / file)
        _require(scan, needs, key)
        return _in_time(scan)
    except MeasurementError as error:
        raise MeasurementError(
            f"{key}: {error.problem}", where=file, expected=error.expected, found=error.found, cure=error.cure
        ) from None


def stacked(raw: RawMeasurement, name: str) -> Floats:
    """An array of all records, [record, point]; shorter ones end in NaN, and so is one that is set aside."""
    longest = max(scan.sizes["point"] for scan in raw.scans.values())
    out = np.full((raw.coords["record"].size, longest), np.nan)
    for (place,), scan in raw.scans.items():
        if name in scan.variables:
            out[place, : scan.sizes["point"]] = scan[name].values
    return out


def labelled_records(raw: RawMeasurement, names: Sequence[str], **attrs: list[str]) -> xr.Dataset:
    """Arrays (record, point) of all records; ``attrs`` go to the first."""
    arrays = [label(name, stacked(raw, name), ("record", "point"), coords=raw.coords) for name in names]
    arrays[0].attrs |= attrs
    return dataset(arrays)


def names_of_records(data: xr.Dataset) -> list[str]:
    """What a person calls the records."""
    return [str(name) for name in data["record"].attrs["names"]]


def known(*curves: Floats) -> tuple[Floats, ...]:
    """Curves of one record where all of them have a value."""
    good = np.logical_and.reduce([np.isfinite(one) for one in curves])
    return tuple(np.asarray(one, np.float64)[good] for one in curves)


def rate_of(time: Floats, temperature: Floats) -> float:
    """Heating rate of a ramp, K/min: the slope of the line through it; NaN without times."""
    t, celsius = known(time, temperature)
    if t.size < 2 or not np.ptp(t) > 0:
        return float("nan")
    return 60.0 * float(np.polyfit(t - t.mean(), celsius, 1)[0])
