"""When two samples are equally porous, from the curves of porosity of slices cut after every cycle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.schema import label
from cathoscope.flow.relations import Gathered, Member
from cathoscope.relate.equal_cycle import Reached, cycle_reaching

USES = ("porosity_trend", "asked_cycle")
_TREND = ("porosity_trend", "porosity_trend_std")
_DIM = ("equal",)

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class _Equal:
    """The sample that is reached after some cycles, and the one that takes longer."""

    first: str
    second: str
    after: float
    porosity: tuple[float, float]
    reached: Reached


@dataclass(frozen=True, eq=False)
class _Curve:
    """Porosity of a sample along the cycles."""

    sample: str
    cycle: FloatArray
    mean: FloatArray
    std: FloatArray
    asked: float


def equal_arrays(gathered: Gathered) -> list[xr.DataArray]:
    """For every pair of samples with such curves; empty without."""
    members: dict[str, list[Member]] = {}
    for member in gathered.having("porosity_trend", "porosity_trend_std"):
        members.setdefault(member.sample, []).append(member)
    curves = [_curve(sample, of) for sample, of in members.items()]
    found = [one for a, b in combinations(curves, 2) for one in _pair(a, b)]
    if not found:
        return []
    coordinate = label("equal", np.arange(1, len(found) + 1), _DIM)
    coordinate.attrs |= {"first": [one.first for one in found], "second": [one.second for one in found]}
    columns = {
        "equal_after": [one.after for one in found],
        "equal_porosity": [one.porosity[0] for one in found],
        "equal_porosity_std": [one.porosity[1] for one in found],
        "equal_cycle": [one.reached.cycle for one in found],
        "equal_cycle_low": [one.reached.low for one in found],
        "equal_cycle_high": [one.reached.high for one in found],
    }
    return [
        label(
            name,
            np.array(values, np.float64),
            _DIM,
            coords={"equal": coordinate},
            std_source="fit covariance" if name.endswith("_std") else None,
        )
        for name, values in columns.items()
    ]


def _curve(sample: str, members: Sequence[Member]) -> _Curve:
    """The mean of the particles of a sample, by the scatter between them or their own errors, whichever is larger."""
    cycle = np.asarray(members[0].data["cycle"].values, dtype=np.float64)
    curves, stds = (np.array([_on(one, name, cycle) for one in members]) for name in _TREND)
    n = len(members)
    std = np.sqrt((stds**2).sum(axis=0)) / n
    if n > 1:
        std = np.maximum(std, curves.std(axis=0, ddof=1) / np.sqrt(n))
    asked = [float(one.data["asked_cycle"]) for one in members if "asked_cycle" in one.data]
    return _Curve(sample, cycle, curves.mean(axis=0), std, min([float(cycle[-1]), *asked]))


def _on(member: Member, name: str, cycle: FloatArray) -> FloatArray:
    there = np.asarray(member.data["cycle"].values, dtype=np.float64)
    values = np.asarray(member.data[name].values, dtype=np.float64)
    return np.interp(cycle, there, values, left=np.nan, right=np.nan)


def _pair(a: _Curve, b: _Curve) -> Iterator[_Equal]:
    """The one that is more porous at a cycle that the recipe asks for, or the last of both, sets the porosity."""
    after = min(a.asked, b.asked)
    levels = {one: (np.interp(after, one.cycle, one.mean), np.interp(after, one.cycle, one.std)) for one in (a, b)}
    first, second = sorted((a, b), key=lambda one: -levels[one][0])
    porosity, std = map(float, levels[first])
    if np.isfinite([porosity, std]).all():
        reached = cycle_reaching(
            cycle=second.cycle, curve=second.mean, curve_std=second.std, level=porosity, level_std=std
        )
        yield _Equal(first.sample, second.sample, after, (porosity, std), reached)
