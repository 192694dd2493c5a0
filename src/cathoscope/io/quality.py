"""Cheap checks of opened measurements: a few rows are read, never a whole stack."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from cathoscope.core.errors import MeasurementError
from cathoscope.core.schema import require

_BAND_ROWS = 16


def check_projections(data: xr.Dataset) -> list[str]:
    """Look at a band of rows in the middle of all flats and darks and of the first, middle and last projection.

    Parameters
    ----------
    data
        Projections as a reader opened them: counts, flat_counts, dark_counts, angle.

    Returns
    -------
    list of str
        What a person should know but can be worked with: dead frames, NaN or saturated pixels.

    Raises
    ------
    MeasurementError
        If a read fails, all flats are zero, or the flats are no brighter than the darks.
    SchemaError
        If an array is missing or not as the schema states.
    """
    require(data, "counts", "flat_counts", "dark_counts", "angle")
    rows = _middle_rows(data.sizes["row"])
    last = data.sizes["projection"] - 1
    bands = {
        "projections": data["counts"].isel(projection=sorted({0, last // 2, last}), row=rows).values,
        "flats": data["flat_counts"].isel(row=rows).values,
        "darks": data["dark_counts"].isel(row=rows).values,
    }
    remarks = _flats_against_darks(data, bands["flats"], bands["darks"])
    for name, band in bands.items():
        remarks += _invalid_remarks(name, band)
    return remarks


def drop_dead_frames(data: xr.Dataset) -> tuple[xr.Dataset, list[str]]:
    """``data`` without the flats that are zero all over a band of rows (the shutter was closed), and what was dropped.

    Raises
    ------
    MeasurementError
        If no flat is left.
    """
    band = data["flat_counts"].isel(row=_middle_rows(data.sizes["row"])).values
    dead = _dead_frames(band)
    if len(dead) == len(band):
        raise _all_flats_zero(data, len(band))
    if not dead:
        return data, []
    alive = [k for k in range(len(band)) if k not in dead]
    return data.isel(flat=alive), [f"flat {k + 1} of {len(band)} is zero everywhere and is set aside" for k in dead]


def count_invalid(counts: npt.NDArray[Any], saturation: float | None) -> tuple[int, int]:
    """Numbers of pixels that are no number (NaN, infinity) and that are saturated.

    Parameters
    ----------
    counts
        Detector counts, any shape.
    saturation
        Counts from which a pixel is saturated; None takes the largest number of an integer type, and
        counts no saturated pixel of a floating-point type.
    """
    if saturation is None and counts.dtype.kind in "iu":
        saturation = float(np.iinfo(counts.dtype).max)
    n_saturated = 0 if saturation is None else int(np.count_nonzero(counts >= saturation))
    if counts.dtype.kind != "f":
        return 0, n_saturated
    n_infinite = int(np.count_nonzero(~np.isfinite(counts)))
    return n_infinite, n_saturated


def _middle_rows(n_rows: int) -> slice:
    start = max(0, (n_rows - _BAND_ROWS) // 2)
    return slice(start, start + _BAND_ROWS)


def _dead_frames(band: npt.NDArray[Any]) -> list[int]:
    return [k for k, frame in enumerate(band) if not frame.any()]


def _median(counts: npt.NDArray[Any]) -> float:
    finite = counts[np.isfinite(counts)]
    return float(np.median(finite)) if finite.size else float("nan")


def _all_flats_zero(data: xr.Dataset, n_flats: int) -> MeasurementError:
    return MeasurementError(
        "the flats are zero",
        where=data.attrs.get("source"),
        expected="counts of the open beam",
        found=f"{n_flats} flats without a count: the shutter was closed or the detector off",
        cure="take flats from a scan with the same exposure, or leave the file out of the recipe",
    )


def _flats_against_darks(data: xr.Dataset, flats: npt.NDArray[Any], darks: npt.NDArray[Any]) -> list[str]:
    dead = _dead_frames(flats)
    if len(dead) == len(flats):
        raise _all_flats_zero(data, len(flats))
    alive = [k for k in range(len(flats)) if k not in dead]
    bright, dim = _median(flats[alive]), _median(darks)
    # Without a finite count the median is NaN, which fails this comparison and is named as what was found.
    if not bright > dim:
        raise MeasurementError(
            "the flats are no brighter than the darks",
            where=data.attrs.get("source"),
            expected="flats with the beam, darks without",
            found=f"median {bright:g} in the flats, {dim:g} in the darks",
            cure="check whether flats and darks are exchanged, or take them from another scan",
        )
    return [f"flat {k + 1} of {len(flats)} is zero" for k in dead]


def _invalid_remarks(name: str, band: npt.NDArray[Any]) -> list[str]:
    n_nan, n_saturated = count_invalid(band, None)
    return [
        f"{number} of {band.size} looked-at pixels of the {name} are {problem}"
        for number, problem in ((n_nan, "NaN or infinite"), (n_saturated, "saturated"))
        if number
    ]
