"""What is known of a number before its pattern is looked at, so that no number wanders where the pattern is silent.

The displacement of an atom that hardly scatters, the shape of domains of which there are few, an occupancy that two
species make up: a pattern may leave such a number open within any bounds, and a search for it does not end. What is
known before enters the least squares as one more observation of each number,

    number = value +- std                    ln number = ln value +- std where it must be positive,

with a std far wider than what patterns usually tell: then it weighs nothing. Where they tell nothing, the number stays
where it is likely, and its uncertainty says so.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import log

import numpy as np
from numpy.typing import NDArray

from cathoscope.numerics.dual import Dual
from cathoscope.physics.species import species_of
from cathoscope.powder.crystallite import Crystallite, numbers_of
from cathoscope.powder.model import Pattern
from cathoscope.powder.parameters import Parameter, Values
from cathoscope.powder.refine import Fit, Residual

Array = NDArray[np.float64]

DISPLACEMENT_STD = 0.01
"""A^2: as much as the displacements of atoms in crystals differ."""

LITHIUM = (0.015, 0.03)
"""A^2, value and standard deviation of its displacement: it is bound more loosely than other ions of oxides, and what
files state of it is often rounded."""

OCCUPANCY_STD = 0.2
"""How far an occupancy may be from its file's."""

CELL_STD = 0.01
"""Of edges, relative: files of structures are nearer."""

ZERO_STD = {"tof": 1e-3, "cw": 0.1}
"""Of the zero of a bank: of its median time of flight, relative; deg."""

WIDTH_STD = 1.0
"""Of the logarithm of sizes and strains: a factor of 2.7."""

_EDGES = ("a", "b", "c")
_TIGHT_EDGE, _TIGHT_RELATIVE, _GUESSED = 2e-3, 0.3, 3.0
_TIGHT = {"occupancy": 0.05, "u": 0.005, "U": 0.005, "x": 0.005, "y": 0.005, "z": 0.005}
_TIGHT |= dict.fromkeys(("alpha", "beta", "gamma"), 0.2)  # deg


@dataclass(frozen=True)
class Prior:
    """What is known of one number: value and standard deviation, of the logarithm if ``relative``."""

    value: float
    std: float
    relative: bool = False


Priors = Mapping[str, Prior]
"""By the name of the number."""


@dataclass(frozen=True, eq=False)
class Known:
    """Priors of the free numbers of a refinement as observations.

    Attributes
    ----------
    names
        Of the numbers, [n].
    priors
        Of each.
    """

    names: tuple[str, ...] = ()
    priors: tuple[Prior, ...] = field(default=())

    def residual(self, values: Values) -> Residual:
        """The numbers against what is known of them."""
        rows = [self._row(values[name], prior) for name, prior in zip(self.names, self.priors, strict=True)]
        return Residual(np.array([difference for difference, _ in rows]), np.array([slope for _, slope in rows]))

    def share(self, fit: Fit) -> float:
        """How many numbers the priors determine and not the patterns: 1 for one of which patterns tell nothing."""
        at = [fit.search.free.index(name) for name in self.names]
        slope = self.residual(fit.values()).jacobian[np.arange(len(at)), at] if at else np.zeros(0)
        return float(np.sum(np.diag(fit.covariance)[at] * slope**2))

    @staticmethod
    def _row(number: float | Dual, prior: Prior) -> tuple[float, Array]:
        if not isinstance(number, Dual):
            raise TypeError("only free numbers have priors")
        known, here, slope = prior.value, float(number.value), number.slope
        if prior.relative:
            known, here, slope = log(known), log(here), slope / here
        return (known - here) / prior.std, slope / prior.std


def known_of(priors: Priors | None, free: Iterable[str]) -> Known:
    """Those of the ``free`` numbers."""
    names = tuple(name for name in free if name in (priors or {}))
    return Known(names, tuple((priors or {})[name] for name in names))


def usual_priors(
    phases: Sequence[Crystallite], start: Mapping[str, float] | None = None, own: Iterable[str] = ()
) -> dict[str, Prior]:
    """Of edges, isotropic displacements, occupancies, sizes and strains of the phases, around where they start.

    ``start`` goes before what the phases say; ``own`` are numbers that banks have for themselves.
    """
    found: dict[str, Prior] = {}
    for phase in phases:
        lithium = {site.label for site in phase.phase.sites if species_of(site.species).element == "Li"}
        for name, one in numbers_of(phase).items():
            prior = _prior(name, one, lithium)
            if prior is not None:
                found[f"{phase.phase.name}.{name}"] = prior
    found |= {name: found[name.partition(".")[2]] for name in own if name.partition(".")[2] in found}
    stated = {name: value for name, value in (start or {}).items() if name in found}
    return found | {name: Prior(value, found[name].std, found[name].relative) for name, value in stated.items()}


def _prior(name: str, one: Parameter, lithium: Container[str]) -> Prior | None:
    """Of a number of a phase, by the last part of its name and the labels of the sites of ``lithium``."""
    site, _, kind = name.rpartition(".")
    if kind == "u":
        return Prior(*LITHIUM) if site in lithium else Prior(one.value, DISPLACEMENT_STD)
    if kind in _EDGES and not site:
        return Prior(one.value, CELL_STD * one.value)
    if kind == "occupancy":
        return Prior(one.value, OCCUPANCY_STD)
    if one.positive and kind.partition("_")[0] in ("size", "strain"):
        return Prior(one.value, WIDTH_STD, relative=True)
    return None


def zero_priors(patterns: Iterable[Pattern]) -> dict[str, Prior]:
    """Of the zeros of banks, around those of their files."""
    found = {}
    for one in patterns:
        scale = float(np.median(one.x[one.used])) if one.bank.kind == "tof" else 1.0
        found[f"{one.name}.zero"] = Prior(one.bank.values["zero"], ZERO_STD[one.bank.kind] * scale)
    return found


def tight_priors(
    numbers: Mapping[str, Parameter], names: Iterable[str], guessed: Container[str] = ()
) -> dict[str, Prior]:
    """Around where numbers start: what may differ between neighbours of a series, three times that if ``guessed``.

    How much there is of a weak phase then has an uncertainty that allows for what the pattern does not tell of the
    rest.
    """
    found = {name: _tight(name.rsplit(".", 1)[-1], numbers[name]) for name in names}
    return {
        name: replace(prior, std=_GUESSED * prior.std) if name in guessed else prior for name, prior in found.items()
    }


def _tight(kind: str, one: Parameter) -> Prior:
    if one.positive:
        return Prior(one.value, _TIGHT_RELATIVE, relative=True)
    if kind in _EDGES:
        return Prior(one.value, _TIGHT_EDGE * abs(one.value))
    return Prior(one.value, _TIGHT.get(kind[0] if kind[0] in "uU" else kind, _TIGHT_RELATIVE * abs(one.value) + 1e-3))
