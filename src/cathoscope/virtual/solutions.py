"""Solutions: absorbance of dissolved metals, and what elemental analysis finds in them.

A solution of acetonitrile holds what a chemical oxidant has dissolved of an oxide. Its absorbance is that of the ions,
by Beer and Lambert, on light scattered by what the centrifuge has left; the spectrophotometer adds stray light, which
makes strong absorption look weaker, and noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from cathoscope.physics.species import atomic_mass

Array = NDArray[np.float64]

_BANDS: Mapping[str, tuple[tuple[float, float, float], ...]] = MappingProxyType(
    {
        "Ni": ((372.0, 6.1, 28.0), (585.0, 3.2, 45.0)),
        "Co": ((490.0, 18.0, 32.0),),
        "Mn": ((410.0, 1.5, 40.0),),
        "oxidant": ((330.0, 24.0, 55.0),),
    }
)
"""Middle (nm), molar absorption (L/(mol cm)) and standard width (nm) of the bands of ions in acetonitrile; rounded
values as of solvated complexes, not of one measurement."""


@dataclass(frozen=True)
class Dissolved:
    """Amounts in a solution, mmol/L."""

    amounts: Mapping[str, float]
    scattering: float = 0.02  # absorbance at 400 nm

    def absorbance(self, wavelength: Array, *, path: float = 1.0) -> Array:
        """At wavelengths (nm) through ``path`` cm."""
        total = self.scattering * (400.0 / wavelength) ** 4
        for ion, amount in self.amounts.items():
            for middle, height, width in _BANDS.get(ion, ()):
                band = np.exp(-0.5 * ((wavelength - middle) / width) ** 2)
                total = total + path * amount * 1e-3 * height * band
        return np.asarray(total)

    def contents(self) -> dict[str, float]:
        """Of the metals, mg/L."""
        return {name: amount * atomic_mass(species=name) for name, amount in self.amounts.items() if name in _METALS}


_METALS = ("Li", "Ni", "Co", "Mn")


@dataclass(frozen=True)
class Spectrophotometer:
    """Stray light as a share of the incident light, noise of the absorbance of a clear solution, offset of its zero."""

    stray: float = 3e-4
    noise: float = 4e-4
    offset: float = 0.003

    def shown(self, true: Array, rng: np.random.Generator) -> Array:
        """Absorbance that it shows."""
        through = (10.0 ** (-true) + self.stray) / (1.0 + self.stray)
        light = through * (1.0 + self.noise * np.log(10.0) * np.sqrt(1.0 / through) * rng.standard_normal(true.size))
        return np.asarray(self.offset - np.log10(np.maximum(light, 1e-6)))


@dataclass(frozen=True)
class Analyser:
    """Elemental analysis: relative standard deviation of a content, by element where it is another."""

    relative: float = 0.01
    of: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({"Li": 0.015}))

    def found(self, contents: Mapping[str, float], rng: np.random.Generator) -> dict[str, tuple[float, float]]:
        """Content and its stated standard deviation, mg/L."""
        result = {}
        for name, value in contents.items():
            share = self.of.get(name, self.relative)
            seen = value * (1.0 + share * rng.standard_normal())
            result[name] = seen, share * seen
        return result
