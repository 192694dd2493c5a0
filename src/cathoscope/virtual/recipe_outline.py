"""What was simulated, as the recipe that analyses it."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from cathoscope.core.errors import CathoscopeError
from cathoscope.virtual.truth import Windows


@dataclass(frozen=True)
class Simulated:
    """One measurement.

    ``patterns`` are globs relative to the folder of the study, by temperature (degC), or one without; ``foils`` the
    files of the foil scanned beside, by temperature; ``note`` is of the conditions.
    """

    name: str
    sample: str
    composition: str
    particle: int | None
    technique: str
    patterns: Mapping[float, str] | tuple[str, ...] | str
    windows: Windows | None = None
    calibration: str | None = None
    foils: Mapping[float, str] = field(default_factory=dict)
    note: str = ""
    grains: tuple[str, str] | None = None
    """Files of the labels and of the directions of its grains."""


def recipe_text(preset: str, seed: int, measurements: Sequence[Simulated]) -> str:
    """The recipe of a virtual study, TOML."""
    head = f"""\
# Written by: cathoscope simulate {preset}; seed {seed}.

[study]
title = "Virtual experiment: {preset}, seed {seed}"
"""
    samples = {measurement.sample: measurement.composition for measurement in measurements}
    parts = [_sample(name, composition) for name, composition in samples.items()]
    return "\n".join([head, *parts, *map(_measurement, measurements)])


def _sample(name: str, composition: str) -> str:
    return f"""\
[sample.{name}]
composition = "{composition}"
particle = "virtual"
"""


def _measurement(one: Simulated) -> str:
    head = f"""\
[measurement.{one.name}]
sample = "{one.sample}"
technique = "{one.technique}"
""" + ("" if one.particle is None else f"particle = {one.particle}\n")
    head += f'note = "{one.note}"\n' if one.note else ""
    if not isinstance(one.patterns, Mapping):
        xas = f'\n[measurement.{one.name}.xas]\ncalibration = "{one.calibration}"\n' if one.calibration else ""
        return head + f"files = {_quoted(one.patterns)}\n{xas}"
    series = [
        f'[[measurement.{one.name}.series]]\ntemperature = "{temperature:g} C"\nfiles = "{pattern}"\n'
        + (f'foil = "{one.foils[temperature]}"\n' if temperature in one.foils else "")
        for temperature, pattern in one.patterns.items()
    ]
    return "\n".join([head, *_edge(one), *_grains(one), *series])


def _quoted(patterns: str | tuple[str, ...]) -> str:
    return f'"{patterns}"' if isinstance(patterns, str) else "[" + ", ".join(map(_quoted, patterns)) + "]"


def _edge(one: Simulated) -> list[str]:
    if one.windows is None:
        return []
    below, above = one.windows.below, one.windows.above
    return [
        f"""\
[measurement.{one.name}.edge]
pre_edge = ["{below[0]:g} eV", "{below[1]:g} eV"]
post_edge = ["{above[0]:g} eV", "{above[1]:g} eV"]
"""
    ]


def _grains(one: Simulated) -> list[str]:
    if one.grains is None:
        return []
    labels, axes = one.grains
    return [f'[measurement.{one.name}.grains]\nlabels = "{labels}"\naxes = "{axes}"\n']


class Preset(Protocol):
    """What is simulated, by sample."""

    @property
    def samples(self) -> Mapping[str, Any]:
        """Designs of the samples by name."""


P = TypeVar("P", bound=Preset)
S = TypeVar("S")


@dataclass(frozen=True)
class StudyPlan(Generic[P, S]):
    """A study to be simulated: what, how finely, with which random numbers, how many particles of each sample.

    Raises
    ------
    CathoscopeError
        If the seed is negative or there is not one particle.
    """

    preset: P
    size: S
    seed: int
    particles: int = 1

    def __post_init__(self) -> None:
        for name, value, least in (("seed", self.seed, 0), ("number of particles", self.particles, 1)):
            if value < least:
                raise CathoscopeError(f"the {name} is too small", expected=f"{least} or more", found=str(value))

    @property
    def jobs(self) -> list[tuple[str, int]]:
        """Sample and number of every particle."""
        return [(sample, number) for sample in self.preset.samples for number in range(1, self.particles + 1)]

    def key(self, job: tuple[str, int], kind: int) -> tuple[int, ...]:
        """Key of the random numbers of one kind for one particle."""
        return self.seed, zlib.crc32(job[0].encode()), job[1], kind

    def number(self, job: tuple[str, int], kind: int) -> int:
        """Seed of the random numbers of one kind for one particle."""
        return int(np.random.SeedSequence(self.key(job, kind)).generate_state(1)[0])

    def rng(self, *key: str | int) -> np.random.Generator:
        """Random numbers of one purpose: the same for the same seed and ``key``, whatever else is drawn."""
        numbers = (zlib.crc32(part.encode()) if isinstance(part, str) else part for part in key)
        return np.random.default_rng(np.random.SeedSequence((self.seed, *numbers)))
