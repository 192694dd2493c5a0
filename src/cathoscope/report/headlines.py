"""The first numbers of bulk spectra and of particles, one row per spectrum for a few, their range for many."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.report.figures.bulk import total_std
from cathoscope.report.groups import group_numbers
from cathoscope.report.names import names_along
from cathoscope.report.numbers import Row, count_text, format_value, plain_number
from cathoscope.report.style import unit_text

_MOST_SPECTRA = 4
_EDGE_WORDS = {
    "integral_edge": "integral edge",
    "half_height_edge": "half-height edge",
    "derivative_edge": "derivative edge",
}


def bulk_numbers(data: xr.Dataset) -> list[Row]:
    """Edge, white line and valence of the spectra, what groups of them rise by, and the weights of a combination."""
    rows: list[Row] = []
    edge = _edge_in_use(data)
    if edge:
        rows += _rows(data, edge, _EDGE_WORDS[edge])
    if _per_spectrum(data, "white_line_energy"):
        rows += _rows(data, "white_line_energy", "white line")
    if _per_spectrum(data, "valence"):
        rows += _rows(data, "valence", "valence")
    return rows + group_numbers(data) + _weight_rows(data)


def _per_spectrum(data: xr.Dataset, name: str) -> bool:
    return name in data and data[name].dims == ("spectrum",)


def _edge_in_use(data: xr.Dataset) -> str:
    """The edge that the valence is made from, else the first definition that has values."""
    chosen = str(data["valence"].attrs.get("edge", "")) if _per_spectrum(data, "valence") else ""
    for name in (chosen, *_EDGE_WORDS):
        if name in _EDGE_WORDS and _per_spectrum(data, name) and np.isfinite(data[name].values).any():
            return name
    return ""


def _rows(data: xr.Dataset, name: str, words: str) -> list[Row]:
    values, unit = np.asarray(data[name].values, np.float64), str(data[name].attrs.get("units", ""))
    # The calibration moves all energies of a spectrum, so its uncertainty is theirs too.
    std = total_std(data, name) if unit == "eV" else _std(data, name)
    names = names_along(data[name], "spectrum")
    if len(names) > _MOST_SPECTRA:
        return [_range_row(values, std, unit, words)]
    places = [""] if len(names) == 1 else [f", {each}" for each in names]
    return [
        Row(words + place, format_value(float(value), float(sigma), unit))
        for place, value, sigma in zip(places, values, std, strict=True)
    ]


def _std(data: xr.Dataset, name: str) -> NDArray[np.float64]:
    std = data.get(f"{name}_std")
    return np.full(data[name].shape, np.nan) if std is None else np.asarray(std.values, np.float64)


def _range_row(values: NDArray[np.float64], std: NDArray[np.float64], unit: str, words: str) -> Row:
    known = np.isfinite(values)
    if not known.any():
        return Row(words, "no value")
    decimals = 2 if unit == "eV" else 3
    ends = " to ".join(
        f"{value:.{decimals}f}".replace("-", "−") for value in (values[known].min(), values[known].max())
    )
    sigmas = std[known & np.isfinite(std)]
    text = f"{ends} {unit_text(unit)}".rstrip()
    text += f" (median σ {np.median(sigmas):.2g})" if sigmas.size else ""
    of = "" if known.all() else f" of {values.size}"
    return Row(f"{words}, {known.sum()}{of} spectra", text)


def _weight_rows(data: xr.Dataset) -> list[Row]:
    """Weights for one spectrum, their ranges for more; and the R-factor."""
    if "component_fraction" not in data or data["component_fraction"].dims != ("spectrum", "component"):
        return []
    weight, std = data["component_fraction"], _std(data, "component_fraction")
    components = names_along(weight, "component")
    rows = []
    for index, name in enumerate(components):
        values, sigmas = np.asarray(weight.values[:, index], np.float64), std[:, index]
        if values.size == 1:
            rows.append(Row(f"weight, {name}", format_value(float(values[0]), float(sigmas[0]), "1")))
        else:
            rows.append(_range_row(values, sigmas, "1", f"weight, {name}"))
    return rows + _r_factor_rows(data)


def _r_factor_rows(data: xr.Dataset) -> list[Row]:
    if not _per_spectrum(data, "r_factor"):
        return []
    values = data["r_factor"].values[np.isfinite(data["r_factor"].values)]
    if not values.size:
        return []
    return [Row("R-factor", _ends(values, 2))]


def particle_numbers(data: xr.Dataset) -> list[Row]:
    """How many particles, their sizes, and the jump of the largest."""
    if "particle_diameter" not in data or data["particle_diameter"].dims != ("particle",):
        return []
    diameter = np.asarray(data["particle_diameter"].values, np.float64)
    cut = int(data["particle_at_border"].values.sum()) if "particle_at_border" in data else 0
    rows = [Row("particles", count_text(diameter.size, "particle") + (f", {cut} cut by the border" if cut else ""))]
    if not np.isfinite(diameter).any():
        return rows
    rows.append(Row("diameter", f"{_ends(diameter[np.isfinite(diameter)], 3)} µm"))
    if "particle_jump" in data:
        value, sigma = float(data["particle_jump"].values[0]), float(_std(data, "particle_jump")[0])
        rows.append(Row("mean jump of the largest", format_value(value, sigma, "1")))
    return rows


def _ends(values: NDArray[np.float64] | Sequence[float], digits: int) -> str:
    """Lowest and highest value, or the one there is."""
    low, high = (plain_number(float(f"{limit:.{digits}g}")) for limit in (np.min(values), np.max(values)))
    return low if low == high else f"{low} to {high}"
