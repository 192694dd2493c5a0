"""The energy scale of every temperature, from a foil measured beside it."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.errors import CathoscopeError
from cathoscope.core.schema import dataset, label
from cathoscope.flow.graph import RAW, REFERENCES, Context, Step
from cathoscope.flow.sections import MeasurementSection, SeriesEntry
from cathoscope.flow.steps.bulk import calibration_of_foil

Floats = NDArray[np.float64]

# Scales of the foils of one series that differ by more than this say that one of them is out of place.
_OUT_OF_PLACE = 0.5  # eV


def has_foil(section: MeasurementSection) -> bool:
    """Whether the recipe names a foil at any temperature."""
    return any(entry.foil is not None for entry in section.series)


def energy_scale(context: Context) -> xr.Dataset:
    """True minus recorded energy at every temperature; nan uncertainty where no foil says how far energies are off.

    A temperature without a usable foil takes the mean of the others, and their scatter as its uncertainty.
    """
    raw = context.raw
    conditions = raw.dims[:-1]
    offset, std = np.full(raw.shape[:-1], np.nan), np.full(raw.shape[:-1], np.nan)
    remarks: list[str] = []
    for entry in context.section.series:
        at = _index_of(context, entry)
        if entry.foil is None or at is None:
            continue
        try:
            found = calibration_of_foil(context, entry.foil)
        except CathoscopeError as error:
            remarks.append(f"{entry.foil}: the foil is not used: {error.problem}")
            continue
        offset[at], std[at] = found.shift, found.shift_std
        remarks += [f"{entry.foil}: {remark}" for remark in found.remarks]
    remarks += _out_of_place(offset, raw.coords["temperature"].values if conditions else np.zeros(1))
    remarks += _shared(offset, std)
    arrays = [
        label("energy_offset", offset, conditions, coords=raw.coords),
        label("energy_offset_std", std, conditions, coords=raw.coords, std_source="fit covariance"),
    ]
    arrays[0].attrs["remarks"] = remarks
    return dataset(arrays)


def _index_of(context: Context, entry: SeriesEntry) -> tuple[int, ...] | None:
    if entry.temperature is None:
        return ()
    at = np.flatnonzero(context.raw.coords["temperature"].values == entry.temperature)
    return (int(at[0]),) if at.size else None


def _out_of_place(offset: Floats, temperature: Floats) -> list[str]:
    """Foils that say that the energies of their temperature are off by another amount than those of the others."""
    middle = float(np.nanmedian(offset)) if np.isfinite(offset).any() else np.nan
    far = np.flatnonzero(np.abs(offset.ravel() - middle) > _OUT_OF_PLACE)
    return [
        f"the foil at {temperature[position]:g} C says that the energies there are off by "
        f"{offset.flat[position]:+.2f} eV, the middle of all foils by {middle:+.2f} eV: an energy out of place"
        for position in far
    ]


def _shared(offset: Floats, std: Floats) -> list[str]:
    """Let foils that agree help each other, and temperatures without one take what the others say, in place.

    Offsets are taken as scattered about their mean by a drift of variance tau^2, what their scatter exceeds their own
    uncertainties by; each is the mean of its own foil and of all, weighted by s^2 and tau^2 (empirical Bayes: Efron and
    Morris, J. Am. Stat. Assoc. 70, 311, 1975). Without drift all temperatures get the mean of the foils. The drift is
    itself found from the few foils: where it is as large as their uncertainties, what is stated is a fifth too small.
    """
    known = np.isfinite(offset)
    count = int(known.sum())
    if count == 0:
        offset[...] = 0.0
        return ["no foil could be used: energies are as recorded"]
    remarks = []
    if count < known.size:
        remarks.append(
            f"{known.size - count} of {known.size} temperatures have no foil and take the mean of the others"
        )
    mean, squares = float(np.mean(offset[known])), std[known] ** 2
    scatter = float(np.var(offset[known], ddof=1)) if count > 1 else float(np.mean(squares))
    drift = max(scatter - float(np.mean(squares)), 0.0) if count > 1 else scatter
    of_mean = (float(np.mean(squares)) + drift) / count
    share = drift / (drift + squares)
    offset[known] = mean + share * (offset[known] - mean)
    std[known] = np.sqrt(share * squares + (1 - share) ** 2 * of_mean)
    offset[~known], std[~known] = mean, np.sqrt(drift + of_mean)
    return remarks


def offset_at(data: xr.Dataset, condition: tuple[int, ...]) -> float:
    """True minus recorded energy of one temperature, eV; zero where no foil was measured."""
    return float(data["energy_offset"][condition]) if "energy_offset" in data else 0.0


STEP = Step(
    "energy scale",
    energy_scale,
    needs=(RAW, REFERENCES),
    makes=("energy_offset", "energy_offset_std"),
    choices=("series", "xas"),
)
