"""The audit of the ways to find a white line, and the changes between temperatures, as tables."""

from __future__ import annotations

import numpy as np
import xarray as xr

from cathoscope.report.names import names_along
from cathoscope.report.tables import Column, Table

_AUDIT = {
    "audit_bias": ("bias", 2),
    "audit_slope": ("slope", 3),
    "audit_rmse": ("root mean square error", 2),
    "audit_bound": ("Cramér-Rao bound", 2),
    "audit_pull_mean": ("pull, mean", 2),
    "audit_pull_width": ("pull, width", 2),
    "audit_failed": ("not trusted", 2),
}
_CHANGES = {
    "white_line_shift": "change of the mean",
    "difference_mean": "mean of the difference map",
    "difference_width": "spread of the difference map",
    "changed_share": "voxels changed significantly",
}


def audit_table(data: xr.Dataset) -> Table | None:
    """How every method does on simulated spectra like those measured."""
    if "audit_bias" not in data or data["audit_bias"].sizes.get("method", 0) == 0:
        return None
    names = tuple(names_along(data["audit_bias"], "method"))
    attrs = data["audit_bias"].attrs
    words = tuple("used here" if name == attrs.get("chosen") else "" for name in names)
    columns = tuple(
        Column(name, title, str(data[name].attrs.get("units", "")), tuple(data[name].values.tolist()), digits=digits)
        for name, (title, digits) in _AUDIT.items()
        if name in data
    )
    notes = (
        "Simulated spectra with the shapes, energies and noise of this measurement; half height and centroid measure "
        "another energy than the maximum, and their mean distance from it is taken off",
    )
    return Table("audit", "Audit of the methods", "method", names, columns, words, notes)


def changes_table(data: xr.Dataset) -> Table | None:
    """Change of the white line from every temperature to the next."""
    there = [name for name in _CHANGES if name in data and data[name].dims == ("step",)]
    if not there or "step" not in data:
        return None
    columns = []
    for name in there:
        std = data.get(f"{name}_std")
        sigma = None if std is None else tuple(np.asarray(std.values, np.float64).tolist())
        unit = str(data[name].attrs.get("units", ""))
        columns.append(Column(name, _CHANGES[name], unit, tuple(data[name].values.tolist()), sigma, digits=3))
    names = tuple(name.removesuffix(" C") + " °C" for name in names_along(data[there[0]], "step"))
    told = (
        "voxels changed significantly: of those that are counted 5 % at most are expected to be unchanged (Benjamini "
        "and Hochberg); figures mark every change of 2 σ or more, and chance alone gives such to 5 % of the voxels",
    )
    notes = told if "changed_share" in there else ()
    return Table("changes", "From temperature to temperature", "step", names, tuple(columns), notes=notes)


def white_line_tables(data: xr.Dataset) -> list[Table]:
    """The tables of a white-line analysis that its arrays allow."""
    return [table for make in (changes_table, audit_table) if (table := make(data)) is not None]
