"""What the page says in words and tables about each measurement, from the study and its log."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from cathoscope.core.relations import is_relation
from cathoscope.core.schema import SCHEMA
from cathoscope.core.study import Study
from cathoscope.report.cells_tables import cell_numbers
from cathoscope.report.dissolution import solution_numbers
from cathoscope.report.figures.sections import section_numbers
from cathoscope.report.figures.slice_series import slice_numbers
from cathoscope.report.figures.spectromicroscopy import components_above_noise
from cathoscope.report.headlines import bulk_numbers, particle_numbers
from cathoscope.report.heating_tables import heating_numbers
from cathoscope.report.impedance_tables import impedance_numbers
from cathoscope.report.numbers import Number, Row, count_text, format_value, plain_number, size_text
from cathoscope.report.powder_tables import powder_numbers
from cathoscope.report.style import unit_text

# A series longer than this is summarised on the page; the files beside it have every value.
_CURRENTS = ("current", "offset")  # words in names of arrays in ampere
_LONG_SERIES = 12


@dataclass(frozen=True)
class MeasurementSummary:
    """One measurement in words."""

    name: str
    sample: str
    technique: str
    note: str
    status: str
    state: str  # ok, attention or failed: the colour of the status
    failure: str
    reason: str  # the failure in one line
    main_numbers: tuple[Row, ...]
    facts: tuple[Row, ...]
    set_aside: tuple[tuple[str, str], ...]
    remarks: tuple[str, ...]


def measurement_names(study: Study) -> list[str]:
    """Every measurement of the study: those of the last run in its order, then those left from before."""
    names = [str(item.get("name", "")) for item in _last_run(study).get("measurements", [])]
    names += [name for group in ("raw", "result") for name in study.measurements(group)]
    return [name for name in dict.fromkeys(names) if name and not is_relation(name)]


def _last_run(study: Study) -> Mapping[str, Any]:
    log = study.log()
    return log[-1] if log else {}


def summary_of(study: Study, name: str, data: xr.Dataset | None) -> MeasurementSummary:
    """What is known of one measurement; ``data`` are its results, None if there are none."""
    raw = {**_recipe_words(study, name), **study.attributes("raw", name)}
    runs: Sequence[Mapping[str, Any]] = _last_run(study).get("measurements", [])
    run = next((item for item in runs if item.get("name") == name), {})
    # The name stands beside it everywhere.
    failure = str(run.get("failure") or "").removeprefix(f"{name}: ")
    aside = raw.get("set_aside") or run.get("set_aside") or []
    set_aside = tuple((str(file), str(reason)) for file, reason in aside)
    missing = [str(text) for text in run.get("missing", [])]
    remarks = [str(text) for text in raw.get("remarks", [])] + missing
    if failure and data is not None:
        remarks.append("The last run failed; figures and numbers are from an earlier one.")
    if data is None and not failure:
        remarks.append("There are no results yet.")
    state, status = _status(failure, data is None, len(set_aside), len(missing))
    return MeasurementSummary(
        name=name,
        sample=_sample_words(raw),
        technique=str(raw.get("technique", "")),
        note=str(raw.get("note") or ""),
        status=status,
        state=state,
        failure=failure,
        reason=_in_one_line(failure),
        main_numbers=() if data is None else tuple(main_numbers(data)),
        facts=tuple(_facts(raw)),
        set_aside=set_aside,
        remarks=tuple(remarks),
    )


def _recipe_words(study: Study, name: str) -> dict[str, str]:
    """Sample, technique and note as the recipe of the last run states them, for what could not be opened."""
    try:
        recipe = tomllib.loads(str(_last_run(study).get("recipe", "")))
    except tomllib.TOMLDecodeError:
        return {}
    stated = recipe.get("measurement")
    section = stated.get(name) if isinstance(stated, Mapping) else None
    if not isinstance(section, Mapping):
        return {}
    return {key: str(section[key]) for key in ("sample", "particle", "technique", "note") if key in section}


def _sample_words(raw: Mapping[str, Any]) -> str:
    """The sample, and which of its particles."""
    words = [str(raw.get("sample", ""))]
    return ", ".join(words + ([f"particle {raw['particle']}"] if raw.get("particle") else []))


def _in_one_line(failure: str) -> str:
    """Problem and what was found; the cure stands in the section of the measurement."""
    lines = [" ".join(line.split()) for line in failure.splitlines() if line.strip()]
    return "; ".join([*lines[:1], *(line for line in lines[1:] if line.startswith("found:"))])


def _status(failure: str, empty: bool, n_aside: int, n_missing: int) -> tuple[str, str]:
    if failure:
        return "failed", "failed"
    if empty:
        return "attention", "no results"
    words = [f"{n_aside} set aside"] if n_aside else []
    words += [f"{n_missing} missing"] if n_missing else []
    return ("attention", ", ".join(words)) if words else ("ok", "ok")


def main_numbers(data: xr.Dataset) -> list[Row]:
    """The numbers a reader looks for first."""
    rows = [*_white_line_numbers(data), *_mixture_numbers(data), *bulk_numbers(data), *particle_numbers(data)]
    rows += [*_morphology_numbers(data), *slice_numbers(data), *section_numbers(data), *powder_numbers(data)]
    rows += [*cell_numbers(data), *impedance_numbers(data)]
    rows += [*heating_numbers(data), *solution_numbers(data)]
    return rows or [*_axis_numbers(data), *_volume_numbers(data)]


def _white_line_numbers(data: xr.Dataset) -> list[Row]:
    rows = []
    for name, words in (("white_line_mean", "mean white line"), ("white_line_width", "width")):
        if name in data:
            values, stds = np.atleast_1d(data[name].values), _stds(data, name)
            for index, value in enumerate(values):
                place = _condition(data[name], index)
                rows.append(Row(words + place, format_value(float(value), stds[index], "eV")))
    return rows


_MORPHOLOGY = {
    "porosity": "porosity",
    "envelope_volume": "volume within the surface",
    "relative_volume": "relative volume",
    "relative_core": "relative volume of the core",
    "core_volume": "hollow core",
    "crack_area": "crack area",
    "mean_opening": "mean crack opening",
    "wetted_surface": "wetted surface",
    "mean_path": "mean way to an open surface",
}


def _morphology_numbers(data: xr.Dataset) -> list[Row]:
    """What a particle's pores, cracks and surfaces sum to."""
    if "pore_kind" not in data:
        return []
    rows = []
    for name, words in _MORPHOLOGY.items():
        if name not in data:
            continue
        values, stds = np.atleast_1d(data[name].values), _stds(data, name)
        for index, value in enumerate(values):
            if np.isfinite(value) and stds[index] != 0:  # of a ratio to itself there is nothing to tell
                text = format_value(float(value), stds[index], str(data[name].attrs.get("units", "1")))
                rows.append(Row(words + _condition(data[name], index), text))
    return rows


def _stds(data: xr.Dataset, name: str) -> list[float | None]:
    if f"{name}_std" not in data:
        return [None] * data[name].size
    return [float(std) for std in np.atleast_1d(data[f"{name}_std"].values)]


def _condition(array: xr.DataArray, index: int) -> str:
    if "temperature" not in array.coords or "temperature" not in array.dims:
        return ""
    return f", {float(array['temperature'][index]):g} °C"


def _mixture_numbers(data: xr.Dataset) -> list[Row]:
    rows = []
    count = components_above_noise(data)
    if count is not None:
        rows.append(Row("components above the noise", str(count)))
    if "mixture_residual" in data:
        values = data["mixture_residual"].values
        if np.isfinite(values).any():
            rows.append(Row("median residual", f"{np.nanmedian(values):.2g}"))
    return rows


def _axis_numbers(data: xr.Dataset) -> list[Row]:
    if "rotation_axis" not in data:
        return []
    values, stds = np.ravel(data["rotation_axis"].values), data.get("rotation_axis_std")
    if values.size == 1:
        std = None if stds is None else float(stds.values.ravel()[0])
        return [Row("rotation axis", format_value(float(values[0]), std, "px"))]
    finite = values[np.isfinite(values)]
    if not finite.size:
        return [Row("rotation axis", "no value")]
    return [Row("rotation axis", f"{finite.min():.2f} to {finite.max():.2f} px in {finite.size} scans")]


def _volume_numbers(data: xr.Dataset) -> list[Row]:
    volume = data.get("attenuation", data.get("edge_jump"))
    if volume is None:
        return []
    shape = " × ".join(str(volume.sizes[dim]) for dim in ("x", "y", "z") if dim in volume.dims)
    x = volume["x"].values if "x" in volume.coords else np.zeros(0)
    voxel = f" of {abs(x[1] - x[0]) * 1e3:.4g} nm" if x.size > 1 else ""
    return [Row("volume", f"{shape} voxels{voxel}")]


def _facts(raw: Mapping[str, Any]) -> list[Row]:
    """What was measured: files, format, shape, conditions."""
    files = raw.get("files") or []
    rows = []
    if files:
        total = sum(float(file.get("size", 0)) for file in files)
        rows.append(Row("files", f"{count_text(len(files), 'file')}, {size_text(total)}"))
    formats = raw.get("format") or []
    rows += [Row("format", formats if isinstance(formats, str) else ", ".join(map(str, formats)))] if formats else []
    shape = raw.get("shape") or {}
    if isinstance(shape, Mapping) and shape:
        rows.append(
            Row(
                "size" if "spectrum" in shape else "one scan",
                ", ".join(_length_words(str(dim), int(size)) for dim, size in shape.items()),
            )
        )
    for name, values in (raw.get("scans") or {}).items():
        if values:
            rows.append(Row(str(name), _series_words(str(name), values)))
    return rows


def _length_words(dim: str, size: int) -> str:
    if len(dim) == 1:
        return f"{size} along {dim}"
    return f"{size} energies" if dim == "energy" else count_text(size, dim)


def _series_words(name: str, values: Sequence[float]) -> str:
    unit = unit_text(SCHEMA[name].unit) if name in SCHEMA else ""
    if len(values) <= 6:
        return f"{', '.join(f'{value:g}' if unit != 'eV' else f'{value:.2f}' for value in values)} {unit}".rstrip()
    return f"{len(values)} values, {min(values):.2f} to {max(values):.2f} {unit}".rstrip()


def number_rows(numbers: Iterable[Number]) -> list[Row]:
    """The numbers of a measurement, array after array, as table rows; long series as their range."""
    rows: list[Row] = []
    for array, together in itertools.groupby(numbers, key=lambda number: number.array):
        series = list(together)
        if len(series) > _LONG_SERIES:
            rows.append(_range_row(array, series))
        else:
            rows += [_number_row(number) for number in series]
    return rows


def _number_row(number: Number) -> Row:
    place = ", ".join(_place_words(dim, value) for dim, value in number.place.items())
    is_uncertainty = number.array.endswith(("_std", "_systematic"))  # has none of its own
    if is_uncertainty and np.isfinite(number.value):
        value = f"{plain_number(float(f'{number.value:.2g}'))} {unit_text(number.unit)}".rstrip()
    else:
        value = format_value(number.value, number.sigma, _printed(number.array, number.unit))
    name = f"{words_of(number.array)}{', ' + place if place else ''}"
    return Row(name, value, number.std_source if np.isfinite(number.value) else "")


def _printed(array: str, unit: str) -> str:
    """The unit to print; A is the ampere of a current, the angstrom of anything else."""
    return "ampere" if unit == "A" and any(word in array for word in _CURRENTS) else unit


def _place_words(dim: str, value: Any) -> str:
    if dim == "temperature":
        return f"{value:g} °C"
    if dim == "energy":
        return f"{value:.2f} eV"
    return str(value) if isinstance(value, str) else f"{dim} {value:g}"


def _range_row(array: str, series: Sequence[Number]) -> Row:
    values = np.array([number.value for number in series])
    finite = values[np.isfinite(values)]
    unit = unit_text(_printed(array, series[0].unit))
    if not finite.size:
        return Row(words_of(array), "no value")
    low, high = (plain_number(float(f"{limit:.5g}")) for limit in (finite.min(), finite.max()))
    text = f"{low} to {high} {unit}".rstrip()
    sigmas = [number.sigma for number in series if number.sigma is not None and np.isfinite(number.sigma)]
    note = f"{finite.size} values" + (f", median σ {np.median(sigmas):.2g}" if sigmas else "")
    return Row(words_of(array), text, f"{note}; all in numbers.csv")


def words_of(array: str) -> str:
    """The name of an array as words."""
    base = array.removesuffix("_std")
    return ("σ of " if base != array else "") + base.replace("_", " ")


def comparison_rows(comparison: Sequence[Mapping[str, object]]) -> list[dict[str, str]]:
    """Rows of `cathoscope compare` as text."""
    rows = []
    for record in comparison:
        unit = str(record.get("unit") or "")
        width = _number(record.get("pull_width"))
        mean = _number(record.get("pull_mean"))
        rows.append(
            {
                "measurement": str(record.get("measurement", "")),
                "array": words_of(str(record.get("array", ""))),
                "n": str(record.get("n", "")),
                "bias": _signed(record.get("bias"), unit),
                "rmse": _signed(record.get("rmse"), unit, sign=""),
                "pull": "" if mean is None else f"{mean:+.2f}" + ("" if width is None else f" ± {width:.2f}"),
                "note": str(record.get("note") or ""),
            }
        )
    return rows


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and np.isfinite(value) else None


def _signed(value: object, unit: str, sign: str = "+") -> str:
    number = _number(value)
    if number is None:
        return "no value"
    text = f"{number:{sign}.3g}".replace("-", "−")
    return f"{text} {unit_text(unit)}".rstrip()
