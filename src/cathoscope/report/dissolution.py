"""Tables and first numbers of solutions: absorbance of a band, formulas, ratios of metals, lithium that was removed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.brackets import with_uncertainty
from cathoscope.report.names import names_along
from cathoscope.report.numbers import Row, format_value
from cathoscope.report.tables import Column, Table

Floats = NDArray[np.float64]

_MOST_ROWS = 6


def is_light(data: xr.Dataset) -> bool:
    """Whether these are spectra of solutions."""
    return "band_absorbance" in data and "net_absorbance" in data


def is_content(data: xr.Dataset) -> bool:
    """Whether these are contents of elements."""
    return "metal_share" in data and "element_content" in data


def band_words(data: xr.Dataset) -> str:
    """``400 to 600 nm``."""
    low, high = data["net_absorbance"].attrs.get("band", (np.nan, np.nan))
    return f"{low:g} to {high:g} nm"


def with_std(data: xr.Dataset, name: str) -> tuple[Floats, Floats]:
    """Values and their standard uncertainties."""
    return np.asarray(data[name].values, np.float64), np.asarray(data[f"{name}_std"].values, np.float64)


def metals_of(data: xr.Dataset) -> list[int]:
    """Places of the elements that are metals of the oxide: those that have a share."""
    return [int(k) for k in np.flatnonzero(np.isfinite(data["metal_share"].values).any(axis=0))]


def ratio_words(data: xr.Dataset, row: int) -> str:
    """``Ni : Co : Mn = 8.30(12) : 1.04(1) : 1`` of a specimen; nothing without the metal that others are related to."""
    value, std = with_std(data, "element_ratio")
    elements = names_along(data["element_ratio"], "element")
    there = [k for k in range(len(elements)) if np.isfinite(value[row, k])]
    if len(there) < 2:
        return ""
    numbers = [with_uncertainty(value[row, k], std[row, k]) if std[row, k] > 0 else f"{value[row, k]:g}" for k in there]
    return f"{' : '.join(elements[k] for k in there)} = {' : '.join(numbers)}"


def solution_tables(data: xr.Dataset) -> list[Table]:
    """Every table of solutions that the arrays allow."""
    found = [_band_table(data)] if is_light(data) else []
    return [*found, *([_formula_table(data), _content_table(data)] if is_content(data) else [])]


def _band_table(data: xr.Dataset) -> Table:
    value, std = with_std(data, "band_absorbance")
    share = np.asarray(data["band_saturated"].values, np.float64)
    title = f"mean absorbance, {band_words(data)}"
    column = Column("band_absorbance", title, "1", tuple(value.tolist()), tuple(std.tolist()))
    words = tuple(f"a lower bound: {one:.0%} of the band is saturated" if one > 0 else "" for one in share)
    names = tuple(names_along(data["band_absorbance"], "spectrum"))
    notes = ("σ holds the noise of spectrum and blank, and the level of the baseline if one is taken",)
    covers = ("band_saturated", "band_absorbance_systematic")
    return Table("band", "Absorbance", "spectrum", names, (column,), words, notes, "band_saturated", covers=covers)


def _formula_table(data: xr.Dataset) -> Table:
    elements = names_along(data["metal_share"], "element")
    value, std = with_std(data, "metal_share")
    columns = [
        Column("metal_share", f"{elements[k]} in the metals", "1", *_both(value[:, k], std[:, k]), csv_name=elements[k])
        for k in metals_of(data)
    ]
    lithium = with_std(data, "lithium_per_metal")
    columns.append(Column("lithium_per_metal", "Li per metal", "1", *_both(*lithium)))
    names = tuple(names_along(data["metal_share"], "specimen"))
    words = tuple(ratio_words(data, row) for row in range(len(names)))
    notes = ["By atoms; errors of the contents are independent, volumes and dilutions cancel"]
    removed = _removed(data)
    if removed is not None:
        notes.append(
            f"Lithium removed per metal: {format_value(*removed, '1')}; that of surfaces counts as the oxide's"
        )
    covers = ("element_ratio", "lithium_removed")
    return Table("formulas", "Formulas", "specimen", names, tuple(columns), words, tuple(notes), covers=covers)


def _both(value: Floats, std: Floats) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return tuple(value.tolist()), tuple(std.tolist())


def _content_table(data: xr.Dataset) -> Table:
    elements = names_along(data["element_content"], "element")
    value, std = with_std(data, "element_content")
    columns = tuple(
        Column("element_content", name, "mg/L", *_both(value[:, k], std[:, k]), csv_name=name)
        for k, name in enumerate(elements)
    )
    return Table("contents", "Contents", "specimen", tuple(names_along(data["element_content"], "specimen")), columns)


def _removed(data: xr.Dataset) -> tuple[float, float] | None:
    value = float(data["lithium_removed"].values)
    return (value, float(data["lithium_removed_std"].values)) if np.isfinite(value) else None


def dissolved_rows(data: xr.Dataset) -> list[int]:
    """Places of the solutions of what has been dissolved."""
    wanted: Sequence[str] = data["element_ratio"].attrs.get("dissolved", [])
    return [row for row, name in enumerate(names_along(data["element_ratio"], "specimen")) if name in wanted]


def solution_numbers(data: xr.Dataset) -> list[Row]:
    """The first numbers of solutions."""
    rows: list[Row] = []
    if is_light(data):
        value, std = with_std(data, "band_absorbance")
        names = names_along(data["band_absorbance"], "spectrum")
        for row, name in list(enumerate(names))[:_MOST_ROWS]:
            place = f", {name}" if len(names) > 1 else ""
            least = "at least " if float(data["band_saturated"].values[row]) > 0 else ""
            text = least + format_value(value[row], std[row], "1")
            rows.append(Row(f"absorbance, {band_words(data)}{place}", text, "σ of noise along the band"))
    if is_content(data):
        names = names_along(data["element_ratio"], "specimen")
        note = "σ of the contents as stated, or 1 % where none was"
        rows += [Row(f"dissolved, {names[row]}", ratio_words(data, row), note) for row in dissolved_rows(data)]
        others = [row for row in range(len(names)) if row not in dissolved_rows(data)]
        rows += [Row(names[row], formula_words(data, row), note) for row in others]
        removed = _removed(data)
        rows += [] if removed is None else [Row("lithium removed per metal", format_value(*removed, "1"), note)]
    return rows[: 2 * _MOST_ROWS]


def formula_words(data: xr.Dataset, row: int) -> str:
    """``Li0.100(2) Ni0.803(3) Co0.101(1) Mn0.097(1)``."""
    elements = names_along(data["metal_share"], "element")
    share, std = with_std(data, "metal_share")
    parts = [f"{elements[k]} {with_uncertainty(share[row, k], std[row, k])}" for k in metals_of(data)]
    lithium, own = (one[row] for one in with_std(data, "lithium_per_metal"))
    return ", ".join([*([f"Li {with_uncertainty(lithium, own)}"] if np.isfinite(lithium) else []), *parts])
