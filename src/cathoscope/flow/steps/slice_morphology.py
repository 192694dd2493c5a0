"""One FIB/SEM slice after every cycle: outline and pores of each, then porosity against cycle."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.core.parallel import run_slabs
from cathoscope.core.schema import dataset, label
from cathoscope.core.study import NewArray
from cathoscope.flow.graph import RAW, Context, Step
from cathoscope.flow.raw import RawMeasurement, SetAside
from cathoscope.flow.sections import MeasurementSection, SlicesSection
from cathoscope.flow.steps.pixels import pixel_size_of
from cathoscope.volume.slice_series import SliceCurve, SliceSeries, SliceTable, fit_series, slice_series
from cathoscope.volume.slices import SECTORS, Slice, SliceChoices, analyse_slice

Floats = NDArray[np.float64]

_IMAGES = {"slice_pores": "float32", "slice_outline": "bool"}
_SUMS = ("sector_pore", "sector_total")
_MEASURED = ("porosity", "slice_porosity", "threshold_porosity", "section_area")
_PARTS = ("porosity", "slice_porosity", "section_area")  # with a systematic part beside
_PLAIN = ("unresolved_share", "sampling_error", "few_pores_error")
_STATISTICAL = tuple(f"{name}{suffix}" for name in _MEASURED for suffix in ("", "_std"))
_SYSTEMATIC = tuple(f"{name}_systematic" for name in _PARTS)
SLICES = (*_IMAGES, *_SUMS, *_STATISTICAL, *_SYSTEMATIC, *_PLAIN)
_REGION = ("region_porosity", "region_porosity_std", "region_porosity_systematic")
_TREND = ("porosity_trend", "porosity_trend_std", "slice_porosity_trend", "slice_porosity_trend_std")
_AT = ("asked_cycle", "porosity_at_cycle", "porosity_at_cycle_std", "porosity_at_cycle_systematic")
_REACHED = tuple(f"cycle_of_porosity{suffix}" for suffix in ("", "_std", "_low", "_high"))
CURVE = (*_TREND, *_AT, "independent_slices", "cut_height", "cut_height_std")
ASKED = ("asked_porosity", *_REACHED)
TARGETS = ("porosity", "porosity_trend")
_FEWEST = 4
_FAR_OFF = 3.0  # standard deviations between the cut's stated height and that by the areas
_MOST_NAMED = 6


def choices_of(section: MeasurementSection) -> SlicesSection:
    """What the recipe says about slices, or the defaults."""
    return section.slices or SlicesSection()


def arrange_slices(raw: RawMeasurement, opened: Sequence[xr.Dataset]) -> None:
    """Place slices by cycle; what has no cycle, another size, or a cycle that is taken already, is set aside.

    Raises
    ------
    MeasurementError
        If fewer than 4 are left, or the recipe gives another number of cycles than there are files.
    """
    if not opened:
        return
    cycles = _cycles(raw, opened)
    usable: dict[float, xr.Dataset] = {}
    shape = _commonest([(scan.sizes["row"], scan.sizes["column"]) for scan in opened])
    pixel = _commonest([round(float(scan.attrs.get("pixel_size", 0.0)), 9) for scan in opened])
    for cycle, scan in zip(cycles, opened, strict=True):
        problem = _problem(scan, cycle, (shape, pixel), usable)
        if problem:
            raw.set_aside.append(SetAside(_name(scan), problem))
        else:
            usable[cycle] = scan
    _require_enough(raw, usable)
    ordered = sorted(usable)
    raw.dims = ("cycle",)
    raw.coords["cycle"] = label("cycle", np.array(ordered), ("cycle",))
    depth = _depths([usable[cycle] for cycle in ordered])
    if np.isfinite(depth).all():
        raw.coords["slice_depth"] = label("slice_depth", depth, ("cycle",))
    for index, cycle in enumerate(ordered):
        raw.scans[(index,)] = usable[cycle]
    lost = [n for n in range(round(ordered[0]), round(ordered[-1]) + 1) if not any(abs(n - c) < 0.5 for c in ordered)]
    if lost and all(cycle == round(cycle) for cycle in ordered):
        names = ", ".join(map(str, lost[:_MOST_NAMED])) + (" and more" if len(lost) > _MOST_NAMED else "")
        raw.remarks.append(f"there is no slice of {'cycle' if len(lost) == 1 else 'cycles'} {names}")


def _cycles(raw: RawMeasurement, opened: Sequence[xr.Dataset]) -> list[float]:
    """Cycle of every file: the recipe's word, else the files'; NaN where neither says it."""
    stated = choices_of(raw.section).cycles
    if stated is not None:
        if len(stated) != len(opened):
            raise MeasurementError(
                "slices.cycles does not fit the files",
                where=raw.name,
                expected=f"{len(opened)} cycles, one for each file in the order of their names",
                found=str(len(stated)),
            )
        return list(stated)
    return [float(scan["page_cycle"].values[0]) if "page_cycle" in scan.variables else np.nan for scan in opened]


def _problem(
    scan: xr.Dataset, cycle: float, like: tuple[tuple[int, int], float], usable: dict[float, xr.Dataset]
) -> str | None:
    """Why a slice cannot be used."""
    shape, pixel = like
    if scan.sizes["page"] != 1:
        return f"it holds {scan.sizes['page']} images; one slice is wanted after every cycle"
    if not np.isfinite(cycle):
        return "it does not say after which cycle it was taken; give  slices.cycles = [0, 1, 2, ...]"
    if cycle in usable:
        return f"a second slice of cycle {cycle:g}; {_name(usable[cycle])} is used"
    if (scan.sizes["row"], scan.sizes["column"]) != shape:
        own = f"{scan.sizes['row']} x {scan.sizes['column']}"
        return f"its image is {own} pixels, those of the others {shape[0]} x {shape[1]}"
    if abs(float(scan.attrs.get("pixel_size", 0.0)) - pixel) > 1e-3 * pixel:
        return (
            f"its pixels are {1e3 * scan.attrs.get('pixel_size', 0):.4g} nm, those of the others {1e3 * pixel:.4g} nm"
        )
    return None


def _require_enough(raw: RawMeasurement, usable: dict[float, xr.Dataset]) -> None:
    if len(usable) < _FEWEST:
        reasons = "; ".join(f"{item.file}: {item.reason}" for item in raw.set_aside[:4])
        raise MeasurementError(
            "too few slices for a curve",
            where=raw.name,
            expected=f"{_FEWEST} or more, each of another cycle",
            found=f"{len(usable)}{'; ' + reasons if reasons else ''}",
        )


def _commonest(values: Sequence[Any]) -> Any:
    return max(dict.fromkeys(values), key=list(values).count)


def _name(scan: xr.Dataset) -> str:
    return Path(scan.attrs["source"]).name


def _depths(scans: Sequence[xr.Dataset]) -> Floats:
    """Nominal depth (um) of every slice below the first, NaN where the files do not say it."""
    known = [
        float(scan["slice_depth"].values[0])
        if "slice_depth" in scan.variables and "slice_number" in scan.variables
        else np.nan
        for scan in scans
    ]
    return np.asarray(known, dtype=np.float64) - known[0]


def _depths_of(raw: RawMeasurement) -> Floats:
    """Nominal depth (um) of every slice below the first; 0 where the files do not say it."""
    if "slice_depth" not in raw.coords:
        return np.zeros(raw.coords["cycle"].size)
    return np.asarray(raw.coords["slice_depth"].values, dtype=np.float64)


def slices(context: Context) -> None:
    """Outline, pores and sums of every slice; one that cannot be measured stays empty, and is told."""
    scans = context.raw.scans
    _prepare(context)
    context.progress.start(f"{context.name}: slices", len(scans), "slices")

    def one(index: tuple[int, ...]) -> None:
        """One slice, unless a killed run has finished it."""
        key = f"slice-{index[0]}"
        if not context.work.is_done(key):
            try:
                found = _analysed(context, index)
                _store(context, index, found)
                _tell(context, index, *found.flags)
            except MeasurementError as error:
                _tell(context, index, f"no porosity: {error}")
            context.work.mark_done(key)
        context.progress.advance()

    run_slabs(one, sorted(scans), threads=context.resources.threads)
    context.progress.finish()


def _tell(context: Context, index: tuple[int, ...], *words: str) -> None:
    for text in words:
        cycle = float(context.raw.coords["cycle"].values[index[0]])
        context.progress.remark(f"{context.name} after cycle {cycle:g}: {text}")


def _prepare(context: Context) -> None:
    """Room for all arrays."""
    raw = context.raw
    rows, columns = (raw.first.sizes[dim] for dim in ("row", "column"))
    size = pixel_size_of(raw)
    coords = {
        "cycle": raw.coords["cycle"],
        "weighting": label("weighting", np.arange(2), ("weighting",)),
        "sector": label("sector", np.arange(SECTORS), ("sector",)),
        "y": label("y", (np.arange(rows) - (rows - 1) / 2) * size, ("y",)),
        "x": label("x", (np.arange(columns) - (columns - 1) / 2) * size, ("x",)),
    }
    new = []
    for name in context.makes:
        more = ("y", "x") if name in _IMAGES else ("weighting", "sector") if name in _SUMS else ()
        shape = (raw.coords["cycle"].size, *(coords[dim].size for dim in more))
        attrs: dict[str, object] = {"std_source": "scatter"} if name.endswith("_std") else {}
        if f"{name}_std" in context.makes:
            beside = (f"{name}_std", f"{name}_systematic")
            attrs["ancillary_variables"] = " ".join(each for each in beside if each in context.makes)
        new.append(NewArray(name, ("cycle", *more), shape, _IMAGES.get(name, "float64"), attrs=attrs))
    context.work.prepare(new, coords)


def _analysed(context: Context, index: tuple[int, ...]) -> Slice:
    """One slice, with the recipe's choices."""
    section = choices_of(context.section)
    depth = float(_depths_of(context.raw)[index[0]])
    image = np.asarray(context.raw.scans[index]["pages"].isel(page=0).values)
    choices = SliceChoices(section.closing_radius, section.cut_height + depth, section.region)
    return analyse_slice(image, pixel_size=pixel_size_of(context.raw), choices=choices)


def _store(context: Context, index: tuple[int, ...], found: Slice) -> None:
    """Everything of one slice."""
    by_sector = found.sums[1, :, 0] / found.sums[1, :, 1].sum() - found.particle.value * (
        found.sums[1, :, 1] / found.sums[1, :, 1].sum()
    )
    sectors = float(np.sqrt(SECTORS / (SECTORS - 1) * np.sum(by_sector**2)))
    sampling = max(sectors, found.rare)
    particle = found.particle._replace(std=float(np.hypot(found.particle.std, sampling)))
    values: dict[str, Any] = {
        "slice_pores": found.pore,
        "slice_outline": found.outline,
        "sector_pore": found.sums[:, :, 0],
        "sector_total": found.sums[:, :, 1],
        "threshold_porosity": found.threshold.value,
        "threshold_porosity_std": 0.5 * (found.threshold.high - found.threshold.low),
        "unresolved_share": found.unresolved,
        "sampling_error": sampling,
        "few_pores_error": found.rare,
    }
    named = {"porosity": particle, "slice_porosity": found.section, "section_area": found.area}
    if found.region is not None:
        named["region_porosity"] = found.region
    for name, number in named.items():
        values |= {name: number.value, f"{name}_std": number.total, f"{name}_systematic": number.systematic}
    for name, value in values.items():
        if name in context.makes:
            context.work.store(name, index, np.asarray(value))


def curve(context: Context) -> xr.Dataset:
    """Curves through the porosities of particle and sections, and the numbers that the recipe asks for."""
    series = _series(context)
    fitted = fit_series(series)
    sections = fit_series(series, "section")
    cycle = context.data["cycle"]
    arrays = []
    for name, one in (("porosity_trend", fitted), ("slice_porosity_trend", sections)):
        values, std = one.curve(cycle.values)
        trend = label(name, values, ("cycle",), coords={"cycle": cycle})
        trend.attrs |= {"family": one.family, "scatter": one.scatter}
        arrays += [trend, label(f"{name}_std", std, ("cycle",), coords={"cycle": cycle}, std_source="fit covariance")]
    arrays[0].attrs["remarks"] = _remarks(context, series, fitted)
    section = choices_of(context.section)
    at = float(series.cycle[-1]) if section.at_cycle is None else section.at_cycle
    _require_within(context, series, at)
    found = fitted.at(at)
    numbers = {"asked_cycle": at, "porosity_at_cycle": found.value, "independent_slices": series.independent_slices}
    systematic = {"porosity_at_cycle_systematic": found.systematic}
    arrays += [label(name, np.float64(value), ()) for name, value in (numbers | systematic).items()]
    arrays.append(label("porosity_at_cycle_std", np.float64(found.total), (), std_source="fit covariance"))
    arrays += _height(series)
    if section.porosity is not None:
        arrays += _reached(fitted, section.porosity, float(series.cycle[-1]))
    return dataset(arrays)


def _series(context: Context) -> SliceSeries:
    """The slices that were measured, as a series."""
    data = {name: np.asarray(context.data[name].values, dtype=np.float64) for name in _NEEDED}
    good = np.isfinite(data["porosity"]) & np.isfinite(data["slice_porosity"]) & (data["section_area"] > 0)
    sums = np.stack([data["sector_pore"], data["sector_total"]], axis=-1)[good]
    noise = [_noise(data, "slice_porosity", 0.0)[good], _noise(data, "porosity", data["sampling_error"])[good]]
    systematic = np.stack([data["slice_porosity_systematic"], data["porosity_systematic"]])[:, good]
    table = SliceTable(sums, np.stack(noise), systematic, data["few_pores_error"][good], data["section_area"][good])
    depth = _depths_of(context.raw)
    return slice_series(context.raw.coords["cycle"].values[good], table, depth=depth[good])


def _noise(data: dict[str, Floats], name: str, sampling: Floats | float) -> Floats:
    """The measurement's own uncertainty: what sampling and the systematic part leave of the total."""
    square = data[f"{name}_std"] ** 2 - data[f"{name}_systematic"] ** 2 - np.square(sampling)
    return np.asarray(np.sqrt(np.maximum(square, 0.0)))


def _require_within(context: Context, series: SliceSeries, cycle: float) -> None:
    low, high = float(series.cycle[0]), float(series.cycle[-1])
    if not low <= cycle <= high:
        raise MeasurementError(
            f"slices.at_cycle = {cycle:g} is not within the series",
            where=context.name,
            expected=f"{low:g} to {high:g}",
            found=f"{cycle:g}",
            cure=f"at_cycle = {high:g}",
        )


def _height(series: SliceSeries) -> list[xr.DataArray]:
    """Height of the first cut by the areas; NaN where depths are not known."""
    value, std = series.cut_height()[0][:2] if np.ptp(series.depth) > 0 else (np.nan, np.nan)
    return [
        label("cut_height", np.float64(value), ()),
        label("cut_height_std", np.float64(std), (), std_source="fit covariance"),
    ]


def _reached(fitted: SliceCurve, porosity: float, last: float) -> list[xr.DataArray]:
    """The cycle at which the particle reaches a porosity; NaN if it does not, infinite if beyond what can be told."""
    found = fitted.reaches(porosity)
    value, low, high = (np.nan, np.nan, np.nan) if found is None else found
    std = 0.5 * (high - low) if np.isfinite([low, high]).all() else np.nan
    numbers = {
        "asked_porosity": porosity,
        "cycle_of_porosity": value,
        "cycle_of_porosity_low": low,
        "cycle_of_porosity_high": high,
    }
    arrays = [label(name, np.float64(number), ()) for name, number in numbers.items()]
    if last < value < np.inf:
        words = f"a porosity of {100 * porosity:.3g} % lies beyond the last cycle, {last:g}: the curve is drawn on"
        arrays[1].attrs["remarks"] = [words]
    return [*arrays, label("cycle_of_porosity_std", np.float64(std), (), std_source="fit covariance")]


def _remarks(context: Context, series: SliceSeries, fitted: SliceCurve) -> list[str]:
    """What a reader of the curve has to know."""
    words = [f"the curve is of the family {fitted.family}; {series.independent_slices:.1f} independent slices"]
    stated = choices_of(context.section).cut_height
    if np.ptp(series.depth) > 0:
        height, _ = series.cut_height()
        if abs(height.value - stated) > max(_FAR_OFF * height.std, 0.5):
            words.append(
                f"the sections shrink as if the first cut lay {height.value:.2f} um beyond the middle of the particle, "
                f"not {stated:g} um; say  slices.cut_height"
            )
    return words


_NEEDED = (
    *_SUMS,
    *(f"{name}{part}" for name in ("porosity", "slice_porosity") for part in ("", "_std", "_systematic")),
    "sampling_error",
    "few_pores_error",
    "section_area",
)


def steps(section: MeasurementSection) -> tuple[Step, ...]:
    """The steps, with what the recipe asks for beside."""
    chosen = choices_of(section)
    images = (*SLICES, *_REGION) if chosen.region is not None else SLICES
    numbers = (*CURVE, *ASKED) if chosen.porosity is not None else CURVE
    return (
        Step("slices", slices, needs=(RAW,), makes=images, choices=("slices", "pixel_size")),
        Step("porosity curve", curve, needs=(RAW, *_NEEDED), makes=numbers, choices=("slices",)),
    )
