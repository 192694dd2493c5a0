"""When two samples are equally porous, from the curves of porosity of slices cut after every cycle."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import xarray as xr

from cathoscope.core.schema import label
from cathoscope.flow.relations import Gathered, Member
from cathoscope.relate.equal_cycle import Reached, cycle_reaching

USES = ("porosity_trend", "asked_cycle")
_DIM = ("equal",)


@dataclass(frozen=True)
class _Equal:
    """The sample that is reached after some cycles, and the one that takes longer."""

    first: str
    second: str
    after: float
    porosity: tuple[float, float]
    reached: Reached


def equal_arrays(gathered: Gathered) -> list[xr.DataArray]:
    """For every pair of samples with such curves; empty without."""
    curves: dict[str, Member] = {}
    for member in gathered.having("porosity_trend", "porosity_trend_std"):
        curves.setdefault(member.sample, member)
    found = [one for a, b in combinations(curves.values(), 2) for one in _pair(a, b)]
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


def _pair(a: Member, b: Member) -> Iterator[_Equal]:
    """The one that is more porous at a cycle that the recipe asks for, or the last of both, sets the porosity."""
    last = min(float(one.data["cycle"].values[-1]) for one in (a, b))
    asked = [float(one.data["asked_cycle"]) for one in (a, b) if "asked_cycle" in one.data]
    after = min([last, *asked])
    first, second = sorted((a, b), key=lambda one: -_at(one, "porosity_trend", after))
    porosity, std = _at(first, "porosity_trend", after), _at(first, "porosity_trend_std", after)
    if np.isfinite([porosity, std]).all():
        reached = cycle_reaching(
            cycle=second.data["cycle"].values,
            curve=second.data["porosity_trend"].values,
            curve_std=second.data["porosity_trend_std"].values,
            level=porosity,
            level_std=std,
        )
        yield _Equal(first.sample, second.sample, after, (porosity, std), reached)


def _at(member: Member, name: str, cycle: float) -> float:
    return float(np.interp(cycle, member.data["cycle"].values, member.data[name].values))
