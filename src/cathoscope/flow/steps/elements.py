"""Elemental analysis: contents of all specimens of a sample, formulas, ratios of metals, lithium that was removed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.core.schema import dataset, label
from cathoscope.flow.graph import RAW, Context, Step
from cathoscope.lab.composition import METALS, Formula, formula_of, lithium_removed, ratios_to
from cathoscope.numerics.estimate import Estimate

Floats = NDArray[np.float64]

_CONTENT = ("element_content", "element_content_std")
_DIMS = ("specimen", "element")


def contents(context: Context) -> xr.Dataset:
    """Contents of the specimens that belong to the sample, of all files, [specimen, element]."""
    wanted = context.section.elements.specimens
    rows: list[tuple[str, dict[str, Estimate]]] = []
    for _, scan in sorted(context.raw.scans.items()):
        rows += [one for one in _rows_of(scan) if not wanted or one[0] in wanted]
    if not rows:
        raise MeasurementError("there is no specimen", where=context.name, expected=" or ".join(wanted) or "a row")
    elements = list(dict.fromkeys(name for _, row in rows for name in row))
    table = np.full((2, len(rows), len(elements)), np.nan)
    for place, (_, row) in enumerate(rows):
        for name, one in row.items():
            table[:, place, elements.index(name)] = one.value, one.std
    specimen = label("specimen", np.arange(1, len(rows) + 1), ("specimen",))
    element = label("element", np.arange(1, len(elements) + 1), ("element",))
    specimen.attrs["names"], element.attrs["names"] = [name for name, _ in rows], elements
    coords = {"specimen": specimen, "element": element}
    return dataset(
        [
            label("element_content", table[0], _DIMS, coords=coords),
            label("element_content_std", table[1], _DIMS, coords=coords, std_source="stated"),
        ]
    )


def _rows_of(scan: xr.Dataset) -> list[tuple[str, dict[str, Estimate]]]:
    """Name and contents of every row of a table; an uncertainty that is not stated is NaN."""
    value = np.asarray(scan["element_content"].values, np.float64)
    std = scan["element_content_std"].values if "element_content_std" in scan else np.full_like(value, np.nan)
    elements = [str(name) for name in scan["element"].attrs["names"]]
    return [
        (str(name), {one: Estimate(float(value[row, k]), float(std[row, k])) for k, one in enumerate(elements)})
        for row, name in enumerate(scan["specimen"].attrs["names"])
    ]


def formulas(context: Context) -> xr.Dataset:
    """Shares of the metals, ratios to one of them and lithium per metal of every specimen, and what was removed."""
    data, section = context.data, context.section.elements
    names, elements = ([str(name) for name in data[dim].attrs["names"]] for dim in _DIMS)
    if section.relative_to not in METALS:
        raise MeasurementError(
            "elements.relative_to is no metal of a cathode",
            where=context.name,
            expected=" or ".join(METALS),
            found=section.relative_to,
        )
    table = {name: np.full((2, len(names), len(elements)), np.nan) for name in ("metal_share", "element_ratio")}
    lithium = np.full((2, len(names)), np.nan)
    found: dict[str, Formula] = {}
    remarks: list[str] = []
    for row, name in enumerate(names):
        content = _content(data, row, elements)
        try:
            found[name] = formula_of(content)
            ratios = ratios_to(content, section.relative_to)
        except MeasurementError as error:
            remarks.append(f"{name}: {error.problem} ({error.found})")
            ratios = {}
        _store(table["element_ratio"], row, elements, ratios)
        if name in found:
            _store(table["metal_share"], row, elements, found[name].share)
            remarks += [f"{name}: {remark}" for remark in found[name].remarks]
            own = found[name].lithium
            if own is not None:
                lithium[:, row] = own.value, own.std
    removed, told = _removed(section.before, section.after, found)
    arrays = _labelled(data, table, lithium, removed)
    arrays[0].attrs |= {"remarks": [*remarks, *told]}
    arrays[2].attrs |= {"relative_to": section.relative_to, "dissolved": _known(section.dissolved, names, context)}
    return dataset(arrays)


def _content(data: xr.Dataset, row: int, elements: Sequence[str]) -> dict[str, Estimate]:
    values, std = (np.asarray(data[name].values[row], np.float64) for name in _CONTENT)
    there = [k for k in range(len(elements)) if np.isfinite(values[k])]
    return {elements[k]: Estimate(float(values[k]), float(std[k])) for k in there}


def _store(table: Floats, row: int, elements: Sequence[str], found: Mapping[str, Estimate]) -> None:
    for name, one in found.items():
        table[:, row, elements.index(name)] = one.value, one.std


def _known(wanted: Sequence[str], names: Sequence[str], context: Context) -> list[str]:
    """Names of the solutions with what was dissolved.

    Raises
    ------
    MeasurementError
        If one of them is not among the specimens.
    """
    missing = [name for name in wanted if name not in names]
    if missing:
        raise MeasurementError(
            f"elements.dissolved: no specimen is called {missing[0]!r}",
            where=context.name,
            expected=" or ".join(names),
        )
    return list(wanted)


def _removed(before: str | None, after: str | None, found: Mapping[str, Formula]) -> tuple[Estimate, list[str]]:
    """Lithium per metal that left, and what is to be known of it."""
    none = Estimate(float("nan"), float("nan"))
    if before is None or after is None:
        return none, []
    for key, name in (("before", before), ("after", after)):
        if name not in found:
            return none, [f"elements.{key}: no specimen with a formula is called {name!r}: {', '.join(found)}"]
    try:
        removed = lithium_removed(found[before], found[after])
    except MeasurementError as error:
        return none, [f"elements.before, elements.after: {error.problem} ({error.found})"]
    return removed, ["lithium on surfaces (carbonate, hydroxide) counts as that of the oxide"]


def _labelled(data: xr.Dataset, table: Mapping[str, Floats], lithium: Floats, removed: Estimate) -> list[xr.DataArray]:
    coords = {dim: data[dim] for dim in _DIMS}
    arrays = []
    for name, (value, std) in table.items():
        arrays.append(label(name, value, _DIMS, coords=coords))
        arrays.append(label(f"{name}_std", std, _DIMS, coords=coords, std_source="stated"))
    arrays.append(label("lithium_per_metal", lithium[0], ("specimen",), coords=coords))
    arrays.append(label("lithium_per_metal_std", lithium[1], ("specimen",), coords=coords, std_source="stated"))
    arrays.append(label("lithium_removed", np.float64(removed.value), ()))
    arrays.append(label("lithium_removed_std", np.float64(removed.std), (), std_source="stated"))
    return arrays


_FORMULAS = ("metal_share", "element_ratio", "lithium_per_metal", "lithium_removed")

STEPS = (
    Step("contents", contents, needs=(RAW,), makes=_CONTENT, choices=("elements",)),
    Step(
        "formulas",
        formulas,
        needs=_CONTENT,
        makes=tuple(f"{name}{end}" for name in _FORMULAS for end in ("", "_std")),
        choices=("elements",),
    ),
)
TARGETS = ("metal_share",)
