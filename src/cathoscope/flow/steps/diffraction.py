"""Powder diffraction: patterns in order, refined along temperature, with what they say of every phase."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.core.schema import dataset, label
from cathoscope.flow.graph import RAW, REFERENCES, Context, Step
from cathoscope.flow.raw import RawMeasurement
from cathoscope.flow.sections import MeasurementSection
from cathoscope.flow.steps import diffraction_calibration, diffraction_findings, diffraction_peaks, diffraction_sizes
from cathoscope.flow.steps.diffraction_files import PLACES, banks_of_rows
from cathoscope.flow.steps.diffraction_plan import Powder, patterns_of, powder_of
from cathoscope.flow.steps.diffraction_results import makes_of, prepare_arrays, shape_of, store_shared, values_of
from cathoscope.powder.member import Member
from cathoscope.powder.model import Pattern, spacings_of
from cathoscope.powder.sequence import Means, follow

Floats = NDArray[np.float64]

PATTERNS = ("tof", "two_theta", "point_spacing", "diffraction_counts", "diffraction_counts_std")
_COUNTS = PATTERNS[3:]
_CHOICES = ("instrument", "phases", "banks", "diffraction", "calibration")
_MOST_REMARKS = 12


def patterns(context: Context) -> xr.Dataset:
    """All patterns side by side, with the lattice spacing of every point by the file of its bank."""
    raw = context.raw
    coords = {**raw.coords, "bank": raw.first["bank"]}
    arrays = []
    for name in PATTERNS:
        if name == "point_spacing":
            continue
        values = _stacked(raw, name)
        arrays.append(_labelled(raw, name, values if name in _COUNTS else _common(values, raw), coords))
    banks = banks_of_rows(context.section, context.data_folder, raw.first)
    places = {str(array.name): array.values for array in arrays}
    spacing = np.full(np.broadcast_shapes(*(places[name].shape for name in PLACES.values())), np.nan)
    for row, bank in enumerate(banks):
        x = np.broadcast_to(places[PLACES[bank.kind]], spacing.shape)[..., row, :]
        sound = np.isfinite(x) & (x > (bank.values["zero"] if bank.kind == "cw" else 0.0))
        spacing[..., row, :][sound] = spacings_of(bank, x[sound])
    arrays.append(_labelled(raw, "point_spacing", spacing, coords))
    return dataset(arrays)


def _stacked(raw: RawMeasurement, name: str) -> Floats:
    """One array of all temperatures, [(temperature,) bank, point]; NaN where a temperature is set aside."""
    shape = tuple(raw.first.sizes[dim] for dim in ("bank", "point"))
    out = np.full((*raw.shape, *shape), np.nan)
    for index, scan in raw.scans.items():
        if name in scan.variables:
            out[index] = scan[name].values
    return out


def _common(values: Floats, raw: RawMeasurement) -> Floats:
    """Places without their temperatures where they are the same at all."""
    if not raw.dims:
        return values
    here = values[[index[0] for index in sorted(raw.scans)]]
    return here[0] if np.array_equal(here, np.broadcast_to(here[:1], here.shape), equal_nan=True) else values


def _labelled(raw: RawMeasurement, name: str, values: Floats, coords: dict[str, xr.DataArray]) -> xr.DataArray:
    dims = (*raw.dims, "bank", "point")[-values.ndim :]
    return label(name, values, dims, coords=coords, std_source="counting" if name.endswith("_std") else None)


def refinement(context: Context) -> None:
    """Every temperature refined; one that cannot be is set aside with its reason, and the others go on."""
    data = context.data
    powder = powder_of(context.section, context.data_folder, data)
    places: list[tuple[int, ...]] = sorted(context.raw.scans)

    def load(number: int) -> list[Pattern]:
        """Patterns of one temperature."""
        return patterns_of(powder, at_place(data, places[number]))

    means = Means(context.resources.threads, context.progress, context.work)
    members = follow(load, len(places), powder.phases, powder.plan, powder.sequence, means)
    if all(member.fit is None for member in members):
        raise MeasurementError(
            "no temperature can be refined", where=context.name, found=members[0].remarks[0] if members else "nothing"
        )
    good = [number for number, member in enumerate(members) if member.fit is not None]
    shape = shape_of(powder, (load(number) for number in good), data, members)
    attrs = {"goodness_of_fit": _told(context, powder, places, members)}
    prepare_arrays(context.work, context.makes, shape, attrs)
    store_shared(context.work, context.makes, shape)
    context.progress.start(f"{context.name}: results", len(places), "patterns")
    for number, (place, member) in enumerate(zip(places, members, strict=True)):
        own = [] if member.fit is None else load(number)
        for name, values in values_of(context.makes, shape, member, own).items():
            context.work.store(name, place, values)
        context.progress.advance()
    context.progress.finish()


def at_place(data: xr.Dataset, place: tuple[int, ...]) -> xr.Dataset:
    """The patterns of one temperature, those of it alone and those of all."""
    return data.isel(temperature=place[0]) if place else data


def _told(
    context: Context, powder: Powder, places: Sequence[tuple[int, ...]], members: Sequence[Member]
) -> dict[str, Any]:
    """What is set aside, and what a person should know; told once each."""
    aside = [
        context.raw.put_aside(place, "; ".join(member.remarks))
        for place, member in zip(places, members, strict=True)
        if member.fit is None
    ]
    remarks = [*powder.remarks, *_grouped(context, places, members)]
    for text in remarks:
        context.progress.remark(f"{context.name}: {text}")
    return {"remarks": remarks, "set_aside": aside}


def _grouped(context: Context, places: Sequence[tuple[int, ...]], members: Sequence[Member]) -> list[str]:
    """Remarks of the temperatures, each once with the temperatures that it is of."""
    of: dict[str, list[float]] = {}
    for place, member in zip(places, members, strict=True):
        told = list(member.remarks) if member.fit is not None else []
        if member.fit is not None and member.fit.outcome in ("stalled", "singular", "diverged"):
            told.append(f"the refinement {'has ' if member.fit.outcome == 'diverged' else 'is '}{member.fit.outcome}")
        for remark in dict.fromkeys(told):
            temperature = context.raw.coords["temperature"].values[place[0]] if place else np.nan
            of.setdefault(remark, []).append(float(temperature))
    found = [f"{_at(temperatures)}{remark}" for remark, temperatures in of.items()]
    more = len(found) - _MOST_REMARKS
    return [*found[:_MOST_REMARKS], f"and {more} remarks more"] if more > 0 else found


def _at(temperatures: Sequence[float]) -> str:
    if np.isnan(temperatures[0]):
        return ""
    if len(temperatures) < 4:
        return f"at {', '.join(f'{one:g}' for one in temperatures)} C: "
    return f"at {len(temperatures)} temperatures from {min(temperatures):g} to {max(temperatures):g} C: "


def steps(section: MeasurementSection) -> tuple[Step, ...]:
    """The steps of a measurement of powder diffraction."""
    return (
        Step("patterns", patterns, needs=(RAW, REFERENCES), makes=PATTERNS, choices=("instrument", "banks")),
        Step(
            "refinement",
            refinement,
            needs=(RAW, REFERENCES, *PATTERNS),
            makes=makes_of(section),
            choices=_CHOICES,
        ),
        *diffraction_findings.steps(section),
        *diffraction_sizes.STEPS,
        *diffraction_peaks.steps(section),
        *diffraction_calibration.steps(section),
    )


TARGETS = ("goodness_of_fit", "transition_onset", "unexplained_spacing")


def asked_for(section: MeasurementSection) -> tuple[str, ...]:
    """A comparison of sizes, single peaks, a calibrated instrument: what the recipe asks for."""
    sizes = ("size_model_bic",) if section.diffraction.compare_sizes else ()
    peaks = ("peak_onset",) if section.peaks is not None else ()
    return (*sizes, *peaks, *(("instrument_value",) if section.calibration is not None else ()))
