"""Measurements that use what another measurement of the same study found: which, in what order, and from where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import xarray as xr

from cathoscope.core.errors import MeasurementError
from cathoscope.core.study import Study
from cathoscope.flow.recipe import Recipe
from cathoscope.flow.sections import MeasurementSection

BESIDE = "another measurement"
"""Input of a step that is another measurement's results."""


@dataclass(frozen=True)
class Beside:
    """Key of the recipe that names another measurement, its techniques, and the arrays that are used of it."""

    key: tuple[str, str]
    techniques: tuple[str, ...]
    arrays: tuple[str, ...]


_KEYS: Mapping[str, Beside] = {
    "cycling": Beside(
        ("cycling", "against"), ("cycling",), ("kept_share", "capacity_retention", "condition_of_record")
    ),
    "impedance": Beside(
        ("impedance", "surface_of"),
        ("tomography", "xanes-tomography", "fibsem-stack"),
        ("wetted_surface", "wetted_surface_std"),
    ),
}


def named_by(section: MeasurementSection) -> tuple[Beside, str] | None:
    """What a measurement uses of another one, and the name of that; None if of none."""
    one = _KEYS.get(section.technique)
    if one is None:
        return None
    name = getattr(getattr(section, one.key[0]), one.key[1])
    return None if name is None else (one, str(name))


def in_order(recipe: Recipe) -> list[str]:
    """Names of the measurements, those that others use first.

    Raises
    ------
    RecipeError
        If one that is named is not there, is of another technique, or uses the other itself.
    """
    order: list[str] = []
    for name in recipe.model.measurement:
        _append(recipe, name, order, ())
    return order


def _append(recipe: Recipe, name: str, order: list[str], above: tuple[str, ...]) -> None:
    if name in order:
        return
    used = named_by(recipe.model.measurement[name])
    if used is not None:
        other = checked(recipe, name)
        if other in above:
            key = used[0].key
            raise recipe.mistake(
                ("measurement", name, *key),
                f"{'.'.join(key)}: {other} uses {name} in turn, and neither can be first",
                cure=f"leave {'.'.join(key)} out of one of them",
            )
        _append(recipe, other, order, (*above, name))
    order.append(name)


def checked(recipe: Recipe, name: str) -> str:
    """Name of the other measurement.

    Raises
    ------
    RecipeError
        At the line of the key, if there is none of that name and technique.
    """
    found = named_by(recipe.model.measurement[name])
    if found is None:
        return name
    one, other = found
    fitting = [
        key for key, each in recipe.model.measurement.items() if each.technique in one.techniques and key != name
    ]
    if other not in fitting:
        there = recipe.model.measurement.get(other)
        raise recipe.mistake(
            ("measurement", name, *one.key),
            f"{'.'.join(one.key)} names no other measurement that can be used",
            expected=" or ".join(fitting) or f'a measurement with technique = "{one.techniques[0]}"',
            found=other if there is None else f'{other}, technique = "{there.technique}"',
        )
    return other


def read_beside(
    study: Study, section: MeasurementSection, addresses: Mapping[str, str | None] | None = None
) -> xr.Dataset:
    """Arrays of the other measurement, from the study; only those at ``addresses``, where these are given.

    The addresses are those of this run: where the other measurement failed, what an earlier run found lies at others.

    Raises
    ------
    MeasurementError
        If it has not given them.
    """
    found = named_by(section)
    if found is None:
        return xr.Dataset()
    one, other = found
    there = study.arrays("result", other) if other in study.measurements("result") else []
    names = [
        name
        for name in one.arrays
        if name in there and (addresses is None or study.address(other, name) == addresses.get(name))
    ]
    if not names:
        raise MeasurementError(
            f"{'.'.join(one.key)}: the measurement {other} has no {one.arrays[0].replace('_', ' ')}",
            found="no results of this run; see why it failed"
            if set(there) & set(one.arrays)
            else ", ".join(there[:6]) or "no results; see why it failed",
        )
    return study.read("result", other, names).load()
