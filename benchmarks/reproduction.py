"""What both papers print against virtual studies of them: numbers found, numbers true, a page.

python -m benchmarks.reproduction small hou/study.zarr cadiou/study.zarr   reads the studies of this size, keeps what
                                                          it found in docs/reproduction.json and writes the page
python -m benchmarks.reproduction medium STUDY ...        the same beside it, as reproduction-medium; one paper will do
python -m benchmarks.reproduction                         writes the pages from what is kept
"""

from __future__ import annotations

import fnmatch
import json
import math
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

import cathoscope
from cathoscope.core.study import Study
from cathoscope.flow.compare import std_of

Floats = NDArray[np.float64]

DOCS = Path(__file__).parents[1] / "docs"
PANELS = DOCS / "panels.toml"
SIZES = ("small", "medium")
TWO_SIDED = 1.959964  # standard deviations of a 95 % interval
_PLACE = re.compile(r"^(?P<measurement>\S+): (?P<array>\w+)(?:\[(?P<select>.*)\])?$")
_LEVELS = {"transition_onset": 0.68, "transition_end": 0.68, "cycle_of_porosity": 0.68, "regime_change": 0.68}
"""Of the intervals that arrays with ``_low`` and ``_high`` hold; 95 % if not listed."""


@dataclass(frozen=True)
class Found:
    """A number with its standard uncertainties downwards and upwards, and the part of them that is the method's.

    That part is the same for all particles of a sample: the mean of many has all of it.
    """

    value: float
    below: float = math.nan
    above: float = math.nan
    method: float = 0.0

    def times(self, factor: float) -> Found:
        """Multiplied."""
        below, above, method = (abs(factor) * one for one in (self.below, self.above, self.method))
        ends = (below, above) if factor > 0 else (above, below)
        return Found(self.value * factor, *ends, method)

    def minus(self, other: Found) -> Found:
        """The difference of two that are independent."""
        return Found(self.value - other.value, math.hypot(self.below, other.above), math.hypot(self.above, other.below))

    def sigma(self, truth: float) -> float:
        """Standard uncertainty on the side on which the truth is."""
        return self.above if truth > self.value else self.below


@dataclass(frozen=True)
class Kept:
    """What was found for one number: ours with its 95 % interval, the truth, how many particles."""

    key: str
    ours: float | None
    low: float | None
    high: float | None
    truth: float | None
    pull: float | None
    particles: int


def main(arguments: Sequence[str]) -> None:
    """Read studies if there are any, keep what was found, and write the page."""
    from benchmarks.reproduction_page import page_of

    panels = load_panels()
    if arguments:
        size, *places = arguments
        kept = {"size": size, **collect(panels, [Path(one) for one in places], whole=size == SIZES[0])}
        files_of(size)[0].write_text(json.dumps(kept, indent=1) + "\n", "utf-8")
    for numbers, page in map(files_of, SIZES):
        page.write_text(page_of(panels, json.loads(numbers.read_text("utf-8"))), "utf-8")


def files_of(size: str) -> tuple[Path, Path]:
    """Where the numbers of studies of a size are kept, and their page."""
    name = "reproduction" if size == SIZES[0] else f"reproduction-{size}"
    return DOCS / f"{name}.json", DOCS / f"{name}.md"


def load_panels() -> dict[str, Any]:
    """The list of panels and numbers."""
    return tomllib.loads(PANELS.read_text("utf-8"))


def collect(panels: Mapping[str, Any], places: Iterable[Path], *, whole: bool = True) -> dict[str, Any]:
    """Every number that the studies hold; of a part of both papers, those alone that were measured."""
    studies = [Study.open(place) for place in places]
    entries = [entry for entry in panels["number"] if "find" in entry and (whole or _was_measured(entry, studies))]
    rows = [_looked_up(entry, studies) for entry in entries]
    return {
        "version": cathoscope.__version__,
        "studies": [study.title for study in studies],
        "numbers": {row.key: {k: v for k, v in asdict(row).items() if k != "key"} for row in rows},
    }


def _was_measured(entry: Mapping[str, Any], studies: Sequence[Study]) -> bool:
    """Whether some measurement has the number's array, and one that of what is taken off it."""
    places = [match for key in ("find", "minus") if (match := _PLACE.match(str(entry.get(key, ""))))]
    every = [(name, study.arrays("result", name)) for study in studies for name in study.measurements("result")]
    return all(
        any(fnmatch.fnmatchcase(name, place["measurement"]) and place["array"] in arrays for name, arrays in every)
        for place in places
    )


def _looked_up(entry: Mapping[str, Any], studies: Sequence[Study]) -> Kept:
    found, count = _combined(entry, studies, "result", str(entry["find"]))
    truth, _ = _true(entry, studies)
    if found is None:
        return Kept(entry["key"], None, None, None, _finite(None if truth is None else truth.value), None, 0)
    ours = found.times(float(entry.get("times", 1)))
    true = math.nan if truth is None else truth.value
    sigma = ours.sigma(true)
    # an interval that is open towards the truth holds it, however far it is
    known = sigma > 0 and math.isfinite(true)
    return Kept(
        entry["key"],
        _finite(ours.value),
        _finite(ours.value - TWO_SIDED * ours.below),
        _finite(ours.value + TWO_SIDED * ours.above),
        _finite(true),
        _finite((ours.value - true) / sigma) if known else None,
        count,
    )


def _true(entry: Mapping[str, Any], studies: Sequence[Study]) -> tuple[Found | None, int]:
    """The truth of an entry, in the unit of the page."""
    found, count = _combined(entry, studies, "truth", str(entry.get("truth", entry["find"])))
    return (None if found is None else found.times(float(entry.get("times", 1)))), count


def _combined(entry: Mapping[str, Any], studies: Sequence[Study], group: str, place: str) -> tuple[Found | None, int]:
    """The mean over particles, less what is to be subtracted."""
    found = _each(studies, group, place, entry)
    if group == "truth" and "over" in entry:
        below = _each(studies, group, entry["over"], entry)
        found = [Found(a.value / b.value - float(entry.get("less", 0))) for a, b in zip(found, below, strict=True)]
    elif "less" in entry:
        found = [replace(one, value=one.value - float(entry["less"])) for one in found]
    if not found:
        return None, 0
    mean = mean_of(found)
    if "minus" in entry:
        others = _each(studies, group, entry["minus"], entry)
        if not others:
            return None, 0
        mean = mean.minus(mean_of(others))
    return mean, len(found)


def mean_of(found: Sequence[Found]) -> Found:
    """The mean of numbers that share the error of their method, and nothing else."""
    n, method = len(found), float(np.mean([one.method for one in found]))
    below, above = (
        math.hypot(math.sqrt(sum(max(end**2 - one.method**2, 0.0) for end, one in of)) / n, method)
        for of in ([(one.below, one) for one in found], [(one.above, one) for one in found])
    )
    return Found(float(np.mean([one.value for one in found])), below, above, method)


def _each(studies: Sequence[Study], group: str, place: str, entry: Mapping[str, Any]) -> list[Found]:
    """The number of every measurement that a place names, where there is one."""
    match = _PLACE.match(place)
    if match is None:
        raise ValueError(f"{entry['key']}: {place!r} is not MEASUREMENT: array[dim=value]")
    select = _selection(match["select"] or "")
    found = []
    for study in studies:
        for name in sorted(study.measurements(group)):
            if fnmatch.fnmatchcase(name, match["measurement"]) and match["array"] in study.arrays(group, name):
                data = study.truth(name) if group == "truth" else study.read(group, name)
                one = (
                    _crossing(data, match["array"], select, entry)
                    if group == "truth" and "crossing" in entry
                    else (_number(data, match["array"], select))
                )
                if one is not None:
                    found.append(_transformed(one, entry))
    return found


def _selection(text: str) -> dict[str, str]:
    return dict(part.strip().split("=", 1) for part in text.split(",") if part.strip())  # type: ignore[misc]


def _number(data: xr.Dataset, name: str, select: Mapping[str, str]) -> Found | None:
    """One number of an array; over what is not selected (cells, conditions) the mean is taken."""
    value = _picked(data[name], select)
    if value is None or not np.isfinite(value).any():
        return None
    scale = 1.0 if _LEVELS.get(name, 0.95) == 0.68 else TWO_SIDED
    low, high = (_beside(data, f"{name}{end}", select) for end in ("_low", "_high"))
    stated = std_of(data, name)
    std = None if stated is None else _picked(stated, select)
    if low is not None and high is not None:
        below, above = np.abs(value - low) / scale, np.abs(high - value) / scale
    else:
        below = above = np.full(value.shape, np.nan) if std is None else std
    part = _beside(data, f"{name}_systematic", select)
    method = np.zeros(value.shape) if part is None else np.nan_to_num(part)
    numbers = [Found(*map(float, one)) for one in zip(value, below, above, method, strict=True) if np.isfinite(one[0])]
    # what others are told against is 1 without an uncertainty: it was not measured
    told = [one for one in numbers if one.below > 0 or one.above > 0 or np.isnan(one.below)]
    return mean_of(told) if told else None


def _beside(data: xr.Dataset, name: str, select: Mapping[str, str]) -> Floats | None:
    return _picked(data[name], select) if name in data else None


def _picked(array: xr.DataArray, select: Mapping[str, str]) -> Floats | None:
    """Values at the selected places, flat; None where there are none."""
    for dim, wanted in select.items():
        if dim not in array.dims:
            continue
        labelled = (array[dim], array) if dim in array.coords else (array,)
        names = next((list(map(str, one.attrs["names"])) for one in labelled if "names" in one.attrs), [])
        if names:
            # a truth calls its spectra by their state alone
            places = [place for place, name in enumerate(names) if wanted == name or wanted.endswith(f" {name}")]
            if not places:
                return None
            array = array.isel({dim: places[0]})
        else:
            near = np.abs(np.asarray(array[dim].values, dtype=np.float64) - float(wanted))
            if near.min() > 0.5:
                return None
            array = array.isel({dim: int(near.argmin())})
    return np.atleast_1d(np.asarray(array.values, dtype=np.float64)).ravel()


def _crossing(data: xr.Dataset, name: str, select: Mapping[str, str], entry: Mapping[str, Any]) -> Found | None:
    """The temperature at which a true course first passes a value."""
    curve = _picked(data[name], select)
    if curve is None:
        return None
    temperature, level = np.asarray(data["temperature"].values, dtype=np.float64), float(entry["crossing"])
    course = np.nan_to_num(curve)
    after = np.flatnonzero(course >= level)
    if after.size == 0 or after[0] == 0:
        return None
    pair = slice(int(after[0]) - 1, int(after[0]) + 1)
    return Found(float(np.interp(level, course[pair], temperature[pair])))


def _transformed(one: Found, entry: Mapping[str, Any]) -> Found:
    """A number as the paper tells it."""
    if entry.get("transform") == "diameter of a disk":
        diameter = math.sqrt(4 * one.value / math.pi)
        return Found(diameter, *(0.5 * diameter * part / one.value for part in (one.below, one.above, one.method)))
    return one


def _finite(value: float | None) -> float | None:
    """A number that JSON knows, with the digits that matter."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.8g}")


if __name__ == "__main__":
    main(sys.argv[1:])
