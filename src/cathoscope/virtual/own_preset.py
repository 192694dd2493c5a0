"""A person's own virtual study: a TOML file that names a preset and says what is different.

preset = "hou"                  # what is changed
field_of_view = 13.0            # um; temperatures = [25, 150] in degC; grain_map = true: labels of grains, too
cycle = 35                      # of a nano-CT: how often the particles have been cycled before
[rod]                           # a sample: fields of `ParticleDesign`
diameter = 8.0
[optics]                        # fields of `Optics`; [detector] of `TxmOptions`; [mechanics] of `MechanicalLaw`
drift = 0.0
[law.spinel]                    # fields of `HeatingLaw`, here of its first process
boundary = 1e-4
[experiment]                    # rate (degC/min), hold (min), scans, moved (um), turned, tilted (deg)
hold = 30.0
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from cathoscope.core.errors import CathoscopeError
from cathoscope.virtual.particle_presets import PARTICLE_PRESETS, ParticlePreset

T = TypeVar("T")

_OF_EXPERIMENT = {"law": "law", "mechanics": "mechanics", "optics": "optics", "detector": "options"}
_OF_PRESET = ("temperatures", "field_of_view", "grain_map", "cycle")
_NUMBERS = ("rate", "hold", "scans", "moved", "turned", "tilted")


def load_preset(path: Path) -> ParticlePreset:
    """The preset that a file describes.

    Raises
    ------
    CathoscopeError
        If the file cannot be read or is no TOML, names no preset, or holds a key or a value that cannot be.
    """
    values = read_toml(path)
    name = values.pop("preset", None)
    if name not in PARTICLE_PRESETS:
        raise CathoscopeError(
            "the file must name the preset that it changes",
            where=path,
            expected=" or ".join(PARTICLE_PRESETS),
            found=repr(name),
            cure='preset = "hou"',
        )
    try:
        return changed_preset(PARTICLE_PRESETS[name], values)
    except CathoscopeError as error:
        raise error_at(path, error) from None


def read_toml(path: Path) -> dict[str, Any]:
    """What a TOML file holds.

    Raises
    ------
    CathoscopeError
        If the file cannot be read or is no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise CathoscopeError("this preset cannot be read", where=path, found=str(error)) from None
    except tomllib.TOMLDecodeError as error:
        raise CathoscopeError(f"this is not TOML: {error}", where=path, cure='name = "text" or name = 3.5') from None


def error_at(path: Path, error: CathoscopeError) -> CathoscopeError:
    """The same error, with the file that it is about."""
    return CathoscopeError(error.problem, where=path, expected=error.expected, found=error.found, cure=error.cure)


def changed_preset(preset: ParticlePreset, values: Mapping[str, Any]) -> ParticlePreset:
    """A preset with what ``values`` say is different.

    Raises
    ------
    CathoscopeError
        If a key is unknown or a value cannot be.
    """
    known = [*preset.samples, *_OF_EXPERIMENT, "experiment", *_OF_PRESET]
    require_known("the file", values, known)
    samples = {
        name: changed(f"[{name}]", design, table_of(f"[{name}]", values.get(name, {})))
        for name, design in preset.samples.items()
    }
    numbers = table_of("[experiment]", values.get("experiment", {}))
    require_known("[experiment]", numbers, _NUMBERS)
    experiment = changed("[experiment]", preset.experiment, numbers)
    for table, attribute in _OF_EXPERIMENT.items():
        part = changed(f"[{table}]", getattr(experiment, attribute), table_of(f"[{table}]", values.get(table, {})))
        experiment = replace(experiment, **{attribute: part})
    simple = {key: like(key, getattr(preset, key), values[key]) for key in _OF_PRESET if key in values}
    if bool(simple.get("temperatures", preset.temperatures)) != bool(preset.temperatures):
        raise CathoscopeError(
            "temperatures do not fit the preset",
            expected="one or more" if preset.temperatures else "none: a nano-CT is made at room temperature",
            found=str(values["temperatures"]),
            cure="temperatures = [25, 150]" if preset.temperatures else "leave temperatures out",
        )
    return replace(preset, samples=samples, experiment=experiment, **simple)


def changed(where: str, record: T, table: Mapping[str, Any]) -> T:
    """A dataclass with some fields replaced; tables within the table change dataclasses within it.

    Raises
    ------
    CathoscopeError
        If a key is unknown or a value has the wrong kind.
    """
    require_known(where, table, [field.name for field in fields(record)])  # type: ignore[arg-type]
    new = {}
    for key, value in table.items():
        old = getattr(record, key)
        if is_dataclass(old):
            new[key] = changed(f"{where[:-1]}.{key}]", old, table_of(key, value))
        else:
            new[key] = like(f"{key} in {where}", old, value)
    return replace(record, **new) if new else record  # type: ignore[type-var]


def table_of(where: str, value: Any) -> Mapping[str, Any]:
    """``value``, if it is a table.

    Raises
    ------
    CathoscopeError
        If it is not.
    """
    if not isinstance(value, Mapping):
        raise CathoscopeError(f"{where} must be a table", found=repr(value))
    return value


def like(where: str, old: Any, value: Any) -> Any:
    """``value``, if it is of the kind of ``old``.

    Raises
    ------
    CathoscopeError
        If it is not.
    """
    if isinstance(old, tuple) and isinstance(value, list) and all(_is_number(item) for item in value):
        whole = bool(old) and all(isinstance(item, int) for item in (*old, *value))
        return tuple(value) if whole else tuple(float(item) for item in value)
    if isinstance(old, Mapping) or old is None:
        if isinstance(value, Mapping) and all(_is_number(item) for item in value.values()):
            return dict(value)
    elif isinstance(old, bool) or isinstance(value, bool):
        if isinstance(old, bool) and isinstance(value, bool):
            return value
    elif isinstance(old, int) and isinstance(value, int):
        return value
    elif isinstance(old, float) and _is_number(value):
        return float(value)
    elif isinstance(old, str) and isinstance(value, str):
        return value
    raise CathoscopeError(f"{where} has the wrong kind", expected=f"a value like {old!r}", found=repr(value))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def require_known(where: str, table: Mapping[str, Any], known: list[str] | tuple[str, ...]) -> None:
    """Check that a table holds known keys only.

    Raises
    ------
    CathoscopeError
        Naming the first other one, and what it may have been meant to be.
    """
    for key in table:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            raise CathoscopeError(
                f"unknown key {key!r} in {where}",
                expected=" or ".join(known),
                cure=f"did you mean {close[0]}?" if close else None,
            )
