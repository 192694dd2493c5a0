"""Chemistry against place: the white line of every voxel, and its change, against distances, for every particle."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes

from cathoscope.core.errors import MeasurementError
from cathoscope.core.schema import dataset, label
from cathoscope.flow.relations import Gathered, Member, Relation
from cathoscope.relate.distances import (
    MIDDLE,
    PORE_CRACK,
    PORE_VOID,
    SURFACE,
    TURN,
    UNITS,
    VOID,
    WAY,
    away_from_edges,
    distances,
    turn_from_radius,
)
from cathoscope.relate.place import BINS, Places, Relations, of_particles, places_of, relations

Floats = NDArray[np.float64]

_VARIABLES = (SURFACE, PORE_CRACK, PORE_VOID, WAY, MIDDLE, TURN)
_MORPHOLOGY = ("pore_kind", "path_length", "envelope_mask")
_GRAINS = ("grain_label", "grain_c_axis")
_STATE, _CHANGE = "white_line_energy", "white_line_difference"


@dataclass(frozen=True, eq=False)
class Case:
    """One map of one particle and what is found of it."""

    name: str
    member: Member
    change: bool
    order: int
    mean: float
    found: Relations
    voxel: float


def place(gathered: Gathered) -> xr.Dataset | None:
    """Lines, correlations and curves of all maps of all particles."""
    members = [one for one in gathered.having(_STATE, "white_line_flag", "particle_mask") if _is_volume(one)]
    if not members:
        return None
    _remarks(gathered, members)
    cases: list[Case] = []
    gathered.progress.start("chemistry against place", len(members), "particles")
    for member in members:
        cases.extend(_cases(gathered, member))
        gathered.progress.advance()
    gathered.progress.finish()
    return _arrays(cases) if cases else None


def _is_volume(member: Member) -> bool:
    dims = member.data[_STATE].dims
    return {"z", "y", "x"} <= set(dims) and f"{_STATE}_std" in member.data and "temperature" in dims


def _remarks(gathered: Gathered, members: list[Member]) -> None:
    gathered.remark("voxels of the outermost shell and next to a pore are left out: they are partly empty")
    without = [one.name for one in members if "pore_kind" not in one.data]
    if without:
        gathered.remark(
            f"{', '.join(without)}: no morphology, so nothing of cracks; voids are the holes of the mask "
            "(a table morphology in the measurement adds cracks and ways through the oxide)"
        )
    if not all(set(_GRAINS) <= set(one.data) for one in members):
        gathered.remark("orientations of grains are not known")


def _cases(gathered: Gathered, member: Member) -> Iterator[Case]:
    temperatures = [float(one) for one in member.data["temperature"].values]
    first = len(temperatures)
    for row, temperature in enumerate(temperatures):
        good = _at(member, "white_line_flag", row) == 0
        places = _places(gathered, member, row, good)
        if places is None:
            continue
        first = min(first, row)
        yield from _case(gathered, member, (_STATE, row), places, f"{temperature:g} °C")
    if _CHANGE not in member.data or first == len(temperatures):
        return
    names = member.data["step"].attrs.get("names", [])
    for row in range(member.data.sizes["step"]):
        good = np.isfinite(member.data[_CHANGE].isel(step=row).values)
        places = _places(gathered, member, first, good)
        if places is not None:
            words = str(names[row]) if row < len(names) else f"step {row + 1}"
            yield from _case(gathered, member, (_CHANGE, row), places, words.replace(" C", " °C"))


def _at(member: Member, name: str, row: int) -> NDArray[np.generic]:
    array = member.data[name]
    return np.asarray(array.isel(temperature=row).values if "temperature" in array.dims else array.values)


def _voxel(member: Member) -> float:
    return float(np.diff(member.data["x"].values[:2])[0])


def _places(gathered: Gathered, member: Member, row: int, good: NDArray[np.bool_]) -> Places | None:
    """Where the trusted voxels of a temperature lie, away from edges; None if there are none."""
    shaped = {"envelope_mask", "pore_kind"} <= set(member.data) and bool(_at(member, "envelope_mask", row).any())
    oxide = _at(member, "envelope_mask" if shaped else "particle_mask", row).astype(bool)
    inside = np.asarray(binary_fill_holes(oxide))
    if not inside.any():
        return None
    if "envelope_mask" in member.data and not shaped:
        temperature = float(np.atleast_1d(member.data["temperature"].values)[row])
        gathered.remark(f"{member.name}, {temperature:g} °C: no morphology was found, so the mask of the edge is used")
    pores = _at(member, "pore_kind", row) if shaped else VOID * (inside & ~oxide)
    good = good & inside & away_from_edges(inside, pores)
    way = _at(member, "path_length", row) if shaped and "path_length" in member.data else None
    known: dict[str, Floats] = {}
    for name, values in distances(inside, voxel=_voxel(member), pore_kind=pores, path_length=way):
        known[name] = np.asarray(values[good], np.float64)
    if set(_GRAINS) <= set(member.data):
        axes = member.data["grain_c_axis"].values[:, ::-1]  # x, y, z
        known[TURN] = turn_from_radius(inside, _at(member, "grain_label", row), axes)[good]
    try:
        return places_of(good, known)
    except MeasurementError as error:
        gathered.remark(f"{member.name}: {error.problem}")
        return None


def _case(gathered: Gathered, member: Member, of: tuple[str, int], places: Places, words: str) -> Iterator[Case]:
    name, row = of
    dim = "temperature" if name == _STATE else "step"
    values = np.asarray(member.data[name].isel({dim: row}).values[places.good], np.float64)
    # the uncertainty of a change holds what all voxels share, and is not its noise
    std = None if name == _CHANGE else member.data[f"{name}_std"].isel({dim: row}).values[places.good]
    try:
        if not np.isfinite(values).all():
            raise MeasurementError("a trusted voxel has no value")
        found = relations(places, values, std)
    except MeasurementError as error:
        gathered.remark(f"{member.name}, {words}: {error.problem}")
        return
    yield Case(f"{member.name}, {words}", member, name == _CHANGE, row, float(values.mean()), found, _voxel(member))


_OF_VARIABLE = {
    "place_effect": "effect",
    "place_correlation": "correlation",
    "place_true_correlation": "true_correlation",
    "place_rank_correlation": "rank_correlation",
    "place_probability": "probability",
    "place_rank_probability": "rank_probability",
    "place_freedom": "freedom",
    "place_partial_effect": "partial_effect",
    "place_partial_correlation": "partial_correlation",
    "place_partial_true": "partial_true",
    "place_partial_rank": "partial_rank",
    "place_partial_probability": "partial_probability",
}
_WITH_STD = ("place_effect", "place_partial_effect", "place_correlation")


def _arrays(cases: list[Case]) -> xr.Dataset:
    known = [name for name in _VARIABLES if any(name in one.found.names for one in cases)]
    case = label("case", np.arange(1, len(cases) + 1), ("case",))
    case.attrs |= {
        "names": [one.name for one in cases],
        "members": [one.member.name for one in cases],
        "samples": [one.member.sample for one in cases],
        "particles": [one.member.particle or 0 for one in cases],
        "order": [one.order for one in cases],
    }
    variable = label("place", np.arange(1, len(known) + 1), ("place",))
    variable.attrs |= {"names": known, "units_of": [UNITS[name] for name in known]}
    bins = label("place_bin", np.arange(1, BINS + 1), ("place_bin",))
    coords = {"case": case, "place": variable, "place_bin": bins}
    dims = ("case", "place")

    def table(attribute: str) -> Floats:
        """Values of all cases and variables; none where a case does not know a variable."""
        rows = [[_of(one.found, attribute, name) for name in known] for one in cases]
        return np.array(rows, np.float64)

    arrays = [label(name, table(own), dims, coords=coords) for name, own in _OF_VARIABLE.items()]
    arrays += [
        label(f"{name}_std", table(f"{_OF_VARIABLE[name]}_std"), dims, coords=coords, std_source="scatter")
        for name in _WITH_STD
    ]
    curve = (*dims, "place_bin")
    arrays += [
        label("place_at", table("curve_at"), curve, coords=coords),
        label("place_curve", table("curve"), curve, coords=coords),
        label("place_curve_std", table("curve_std"), curve, coords=coords, std_source="scatter"),
    ]
    single = {
        "place_change": np.array([one.change for one in cases]),
        "place_mean": np.array([one.mean for one in cases]),
        "place_reliability": np.array([one.found.reliability for one in cases]),
        "place_length": np.array([one.found.length * one.voxel for one in cases]),
        "place_partial_freedom": np.array([one.found.partial_freedom for one in cases]),
    }
    arrays += [label(name, values, ("case",), coords=coords) for name, values in single.items()]
    return dataset([*arrays, *_first(cases, known, variable)])


def _first(cases: list[Case], known: list[str], variable: xr.DataArray) -> list[xr.DataArray]:
    """What the particles of a sample say together of the first change."""
    first = [one for one in cases if one.change and one.order == 0]
    samples = list(dict.fromkeys(one.member.sample for one in first))
    if not samples:
        return []
    number = label("place_sample", np.arange(1, len(samples) + 1), ("place_sample",))
    own = [[one for one in first if one.member.sample == name] for name in samples]
    number.attrs |= {
        "names": samples,
        "particles": [len(each) for each in own],
        "steps": [each[0].name.split(", ", 1)[1] for each in own],
        "means": [float(np.mean([one.mean for one in each])) for each in own],
    }
    coords = {"place_sample": number, "place": variable}
    dims = ("place_sample", "place")
    arrays = []
    for name, attribute, freedom in (
        ("place_first", "effect", "freedom"),
        ("place_first_partial", "partial_effect", "partial_freedom"),
    ):
        rows = []
        for each in own:
            value, std, free = (
                np.array([[_of(one.found, key, place) for place in known] for one in each], np.float64)
                for key in (attribute, f"{attribute}_std", freedom)
            )
            rows.append(of_particles(value, std, free))
        arrays += [
            label(f"{name}_effect", np.array([one[0] for one in rows]), dims, coords=coords),
            label(f"{name}_effect_std", np.array([one[1] for one in rows]), dims, coords=coords, std_source="scatter"),
            label(f"{name}_probability", np.array([one[2] for one in rows]), dims, coords=coords),
        ]
    return arrays


def _of(found: Relations, attribute: str, name: str) -> Floats | float:
    values: Floats = np.asarray(getattr(found, attribute))
    if values.ndim == 0:
        return float(values)
    if name not in found.names:
        return np.full(values.shape[1:], np.nan) if values.ndim > 1 else float("nan")
    return np.asarray(values[found.names.index(name)])


PLACE = Relation(
    "place",
    "Chemistry against place",
    place,
    (_STATE, "white_line_flag", _CHANGE, "particle_mask", *_MORPHOLOGY, *_GRAINS),
)
