"""Single peaks of powder patterns along temperature, without a phase."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.core.parallel import run_on_threads
from cathoscope.core.schema import dataset, label
from cathoscope.flow.graph import REFERENCES, Context, Step
from cathoscope.flow.sections import MeasurementSection
from cathoscope.flow.steps.diffraction_plan import Powder, groups_of, patterns_of, powder_of
from cathoscope.powder.peak_tracks import WIDER, follow_peaks
from cathoscope.powder.peaks import Cut, Group, PeakFit, cut_of
from cathoscope.powder.transition import Step as Transition
from cathoscope.powder.transition import step_of

Floats = NDArray[np.float64]

_MEASURED = ("peak_spacing", "peak_area", "peak_width", "peak_asymmetry", "peak_centre")
_PLACES = ("peak_onset", "peak_end")
_MAKES = (*(name + end for name in (*_MEASURED, *_PLACES) for end in ("", "_std")), "peak_present")
_NEEDED = ("tof", "two_theta", "diffraction_counts", "diffraction_counts_std")


def peaks(context: Context) -> xr.Dataset:
    """Place, area, width, asymmetry and centre of every peak that the recipe lists, in every bank that shows it."""
    data = context.data
    powder = powder_of(context.section, context.data_folder, data)
    groups = groups_of(context.section)
    series = "temperature" in data["diffraction_counts"].dims
    temperatures = np.asarray(data["temperature"].values, dtype=np.float64) if series else np.array([np.nan])
    cuts = [_cuts(powder, data.isel(temperature=k) if series else data, groups) for k in range(temperatures.size)]
    tasks = [(bank, group) for bank in range(len(powder.banks)) for group in range(len(groups))]
    tracks: dict[tuple[int, int], list[PeakFit | None]] = {}
    context.progress.start(f"{context.name}: peaks", len(tasks), "peaks")

    def follow(task: tuple[int, int]) -> None:
        """One group in one bank."""
        tracks[task] = follow_peaks([one[task] for one in cuts])
        context.progress.advance()

    run_on_threads(follow, tasks, threads=context.resources.threads)
    context.progress.finish()
    return _labelled(_tables(tracks, groups, temperatures, len(powder.banks)), groups, data)


def _cuts(powder: Powder, data: xr.Dataset, groups: Sequence[Group]) -> dict[tuple[int, int], Cut | None]:
    """Windows of all banks and groups at one temperature."""
    names = [bank.name for bank in powder.banks]
    found: dict[tuple[int, int], Cut | None] = {
        (bank, group): None for bank in range(len(names)) for group in range(len(groups))
    }
    try:
        patterns = patterns_of(powder, data)
    except MeasurementError:
        return found  # a temperature that is set aside
    for pattern in patterns:
        for number, group in enumerate(groups):
            found[names.index(pattern.name), number] = cut_of(pattern, group, wider=WIDER)
    return found


def _tables(
    tracks: dict[tuple[int, int], list[PeakFit | None]], groups: Sequence[Group], temperatures: Floats, banks: int
) -> dict[str, NDArray[np.generic]]:
    """All arrays by name, [temperature, bank, peak] and [bank, peak]."""
    sizes = [len(group.spacings) for group in groups]
    first = np.cumsum([0, *sizes])
    shape = (temperatures.size, banks, int(first[-1]))
    tables = {name: np.full((*shape, 2), np.nan) for name in _MEASURED}
    onset = {name: np.full((*shape[1:], 2), np.nan) for name in _PLACES}
    present = np.zeros(shape, dtype=np.bool_)
    for (bank, group), track in tracks.items():
        places = slice(int(first[group]), int(first[group + 1]))
        for k, fit in enumerate(track):
            if fit is not None:
                for name in _MEASURED:
                    tables[name][k, bank, places] = getattr(fit, name.removeprefix("peak_"))
                present[k, bank, places] = np.isfinite(fit.spacing[:, 0])
        for peak in range(places.start, places.stop):
            value, std = tables["peak_area"][:, bank, peak].T
            step = step_of(temperatures, value, std)
            for name in _PLACES:
                onset[name][bank, peak] = _interval(step, name)
    flat = {name + end: table[..., k] for name, table in (tables | onset).items() for k, end in enumerate(("", "_std"))}
    return {**flat, "peak_present": present}


def _interval(step: Transition | None, name: str) -> tuple[float, float]:
    """A place in temperature and half of its interval."""
    if step is None:
        return np.nan, np.nan
    value, low, high = getattr(step, name.removeprefix("peak_"))
    return value, 0.5 * (high - low) if np.isfinite([low, value, high]).all() else np.nan


def _labelled(tables: dict[str, NDArray[np.generic]], groups: Sequence[Group], data: xr.Dataset) -> xr.Dataset:
    """The arrays with their coordinates; a single pattern has no temperature."""
    listed = [one for group in groups for one in group.spacings]
    peak = label("peak", np.arange(1, len(listed) + 1), ("peak",))
    peak.attrs["listed"] = listed
    peak.attrs["groups"] = [number + 1 for number, group in enumerate(groups) for _ in group.spacings]
    coords = {"bank": data["bank"], "peak": peak}
    series = "temperature" in data["diffraction_counts"].dims
    if series:
        coords["temperature"] = data["temperature"]
    arrays = []
    for name, table in tables.items():
        dims: tuple[str, ...] = ("bank", "peak")
        if table.ndim == 3:
            dims, table = (("temperature", *dims), table) if series else (dims, table[0])
        arrays.append(label(name, table, dims, coords=coords, std_source="fit covariance" if "_std" in name else None))
    return dataset(arrays)


def steps(section: MeasurementSection) -> tuple[Step, ...]:
    """The step of single peaks, where the recipe lists some."""
    if section.peaks is None:
        return ()
    return (
        Step(
            "peaks",
            peaks,
            needs=(REFERENCES, *_NEEDED),
            makes=_MAKES,
            choices=("instrument", "phases", "banks", "diffraction", "peaks"),
        ),
    )
