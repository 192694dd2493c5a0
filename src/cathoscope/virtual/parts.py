"""A virtual study of several parts: one TOML file, one folder, one truth, one recipe.

title = "Both powders, all probes"
[[part]]
preset = "hou"                  # any preset but the spheres
particles = 3                   # of each sample; size = "small": where they differ from the command line
temperatures = [25, 150]        # what is different, as in a file of one preset
[part.sampling]                 # how finely: fields of the size's record
energies = 40
[[part]]
preset = "hou-lab"
[analysis.xanes-tomography]     # tables of the recipe for all measurements of a technique
morphology = {}
[analysis."tomography rod"]     # the same for those of one sample; they replace what is said for all
morphology = { composition = [[0, 1]] }
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from cathoscope.core.errors import CathoscopeError
from cathoscope.virtual.own_preset import changed, changed_preset, error_at, like, read_toml, require_known, table_of
from cathoscope.virtual.particle_presets import ParticlePreset

T = TypeVar("T")

_OWN = ("preset", "size", "particles", "sampling")
_BODY = re.compile(r"^(?:# )?\[+measurement\.", re.MULTILINE)
_LITHIUM = re.compile(r"^Li[0-9.]*")


@dataclass(frozen=True)
class Part:
    """One preset within a study; ``size`` and ``particles`` None: as the command line says."""

    preset: str
    size: str | None = None
    particles: int | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    sampling: Mapping[str, Any] = field(default_factory=dict)

    def changed(self, preset: T) -> T:
        """The preset with what is different.

        Raises
        ------
        CathoscopeError
            If a key is unknown or a value cannot be.
        """
        if isinstance(preset, ParticlePreset):
            return changed_preset(preset, self.changes)  # type: ignore[return-value]
        simple = [one.name for one in fields(preset) if isinstance(getattr(preset, one.name), int | float | tuple)]  # type: ignore[arg-type]
        require_known(f"the part {self.preset}", self.changes, simple)
        new = {key: like(key, getattr(preset, key), value) for key, value in self.changes.items()}
        return replace(preset, **new) if new else preset  # type: ignore[type-var]

    def sampled(self, size: T) -> T:
        """The size with what is different.

        Raises
        ------
        CathoscopeError
            If a key is unknown or a value cannot be.
        """
        return changed(f"[part.sampling] of {self.preset}", size, self.sampling)


@dataclass(frozen=True)
class Whole:
    """A study of several parts; ``analysis`` holds tables of the recipe by technique."""

    title: str
    parts: tuple[Part, ...]
    analysis: Mapping[str, Any] = field(default_factory=dict)


def load_parts(path: Path) -> Whole | None:
    """What a file of several parts describes; None if it has no parts.

    Raises
    ------
    CathoscopeError
        If the file cannot be read or is no TOML, or a part names no preset or has a key or value that cannot be.
    """
    values = read_toml(path)
    if "part" not in values:
        return None
    try:
        require_known("the file", values, ["title", "part", "analysis"])
        tables = values["part"]
        if not isinstance(tables, list) or not tables:
            raise CathoscopeError("parts are a list of tables", found=repr(tables)[:60], cure="[[part]]")
        return Whole(
            str(values.get("title", path.stem)),
            tuple(_part(table_of("a part", table)) for table in tables),
            _analysis(table_of("[analysis]", values.get("analysis", {}))),
        )
    except CathoscopeError as error:
        raise error_at(path, error) from None


def _part(table: Mapping[str, Any]) -> Part:
    if not isinstance(table.get("preset"), str):
        raise CathoscopeError("a part must name its preset", cure='preset = "hou"')
    size = table.get("size")
    particles = table.get("particles")
    return Part(
        table["preset"],
        None if size is None else like("size", "small", size),
        None if particles is None else like("particles", 1, particles),
        {key: value for key, value in table.items() if key not in _OWN},
        table_of("[part.sampling]", table.get("sampling", {})),
    )


def _analysis(techniques: Mapping[str, Any]) -> Mapping[str, Any]:
    for technique, tables in techniques.items():
        for name, table in table_of(f"[analysis.{technique}]", tables).items():
            table_of(f"{name} in [analysis.{technique}]", table)
    return techniques


def merged_recipe(whole: Whole, source: str, seed: int, texts: Sequence[str]) -> str:
    """One recipe of the recipes of all parts.

    A sample has the composition that the first part states; how much lithium is in it may change from probe to probe.

    Raises
    ------
    CathoscopeError
        If parts disagree about the metals of a sample, or two measurements have the same name.
    """
    samples: dict[str, Mapping[str, Any]] = {}
    measurements: dict[str, Mapping[str, Any]] = {}
    bodies = []
    for text in texts:
        values = tomllib.loads(text)
        for name, sample in values["sample"].items():
            _require_alike(name, samples.setdefault(name, sample), sample)
        for name, measurement in values.get("measurement", {}).items():
            if name in measurements:
                raise CathoscopeError(f"two parts have a measurement {name!r}", cure="leave one of the parts out")
            measurements[name] = measurement
        begin = _BODY.search(text)
        bodies.append(text[begin.start() :] if begin else "")
    head = [
        f"# Written by: cathoscope simulate {source}; seed {seed}.\n",
        f'[study]\ntitle = "{whole.title}, seed {seed}"\n',
    ]
    tables = [
        f"[sample.{name}]\n" + "".join(f'{key} = "{value}"\n' for key, value in sample.items())
        for name, sample in samples.items()
    ]
    asked = [
        f"[measurement.{name}.{key}]\n" + "".join(f"{word} = {_toml(value)}\n" for word, value in table.items())
        for name, measurement in measurements.items()
        for key, table in _asked(whole.analysis, measurement).items()
    ]
    return "\n".join([*head, *tables, *bodies, *asked])


def _asked(analysis: Mapping[str, Any], measurement: Mapping[str, Any]) -> Mapping[str, Any]:
    """Tables for a measurement: those of its technique, and in place of them those of its technique and sample."""
    technique, sample = measurement["technique"], measurement["sample"]
    return {**analysis.get(technique, {}), **analysis.get(f"{technique} {sample}", {})}


def _toml(value: Any) -> str:
    """A value as TOML."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_toml(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)


def _require_alike(name: str, first: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    known, found = (str(sample.get("composition", "")) for sample in (first, other))
    if _LITHIUM.sub("Li", known) != _LITHIUM.sub("Li", found):
        raise CathoscopeError(f"two parts disagree about the sample {name!r}", expected=known, found=found)
