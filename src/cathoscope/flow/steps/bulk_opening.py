"""Bulk spectra of several files as one Dataset."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from cathoscope.core.errors import MeasurementError
from cathoscope.core.schema import dataset, label
from cathoscope.flow.sections import ColumnsSection, MeasurementSection
from cathoscope.io import open_raw
from cathoscope.io.spectra import ColumnMap
from cathoscope.io.spectra_columns import open_table

_ARRAYS = ("scan_energy", "absorption", "reference_absorption")


def open_spectra(section: MeasurementSection, path: Path) -> xr.Dataset:
    """The spectra of one file; its columns are the recipe's word, where it has one.

    Raises
    ------
    MeasurementError
        If the file holds no spectrum.
    """
    if section.columns == ColumnsSection():
        data = open_raw(path, reader=section.reader)
    else:
        data = open_table(path, ColumnMap(**section.columns.model_dump()))
    if "scan_energy" not in data.variables:
        raise MeasurementError(
            "the file holds no bulk spectra",
            where=path,
            expected="XDI, Athena, or columns of energy and absorption",
            found=str(data.attrs.get("format", "something else")),
            cure="choose another technique for it, or leave it out",
        )
    return data


def joined_spectra(opened: Sequence[tuple[float | None, xr.Dataset]]) -> xr.Dataset:
    """Spectra of several files one after another; shorter ones are padded with NaN.

    The attribute ``names`` of the coordinate has their names, ``labels`` what files and recipe say of each, such as the
    voltage; two of one name are told apart by their file.
    """
    longest = max(data.sizes["point"] for _, data in opened)
    arrays = [
        label(name, np.concatenate([_padded(data, name, longest) for _, data in opened]), ("spectrum", "point"))
        for name in _ARRAYS
        if any(name in data.variables for _, data in opened)
    ]
    names = [(name, Path(data.attrs["source"]).stem) for _, data in opened for name in data["spectrum"].attrs["names"]]
    spectrum = label("spectrum", np.arange(1, len(names) + 1), ("spectrum",))
    spectrum.attrs["names"] = _told_apart(names)
    spectrum.attrs["labels"] = _joined_labels(opened)
    first = opened[0][1].attrs
    remarks = [
        f"{Path(data.attrs['source']).name}: {remark}" for _, data in opened for remark in data.attrs.get("remarks", ())
    ]
    attrs = {key: first[key] for key in ("element", "edge") if key in first}
    formats = " and ".join(dict.fromkeys(str(data.attrs["format"]) for _, data in opened))
    digest = "-".join(str(data.attrs["digest"]) for _, data in opened)
    joined = dataset(arrays, format=formats, source=first["source"], digest=digest, remarks=remarks, **attrs)
    return joined.assign_coords(spectrum=spectrum)


def _told_apart(names: Sequence[tuple[str, str]]) -> list[str]:
    """Names by their file where two are the same, and by a number where that does not help."""
    plain = [name for name, _ in names]
    several = len({file for _, file in names}) > 1
    longer = [f"{name} ({file})" if several and plain.count(name) > 1 else name for name, file in names]
    numbered = [f"{name} #{longer[: i + 1].count(name)}" for i, name in enumerate(longer)]
    return [number if longer.count(name) > 1 else name for name, number in zip(longer, numbered, strict=True)]


def _padded(data: xr.Dataset, name: str, longest: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    values = np.full((data.sizes["spectrum"], longest), np.nan)
    if name in data.variables:
        values[:, : data.sizes["point"]] = data[name].values
    return values


def _joined_labels(opened: Sequence[tuple[float | None, xr.Dataset]]) -> dict[str, list[Any]]:
    """Every label of any file for every spectrum; None where a file does not state it."""
    stated = []
    for temperature, data in opened:
        labels = dict(data.attrs.get("labels", {}))
        if temperature is not None:
            labels["temperature"] = [temperature] * data.sizes["spectrum"]
        stated.append((labels, data.sizes["spectrum"]))
    keys = list(dict.fromkeys(key for labels, _ in stated for key in labels))
    return {key: [value for labels, n in stated for value in labels.get(key, [None] * n)] for key in keys}
