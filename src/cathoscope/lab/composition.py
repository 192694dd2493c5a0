"""Elemental analysis: contents of solutions to ratios of metals and formulas, with propagated uncertainties.

Volumes and dilutions that all elements of a solution share cancel in ratios. Lithium of a cathode is stated per
transition metal; lithium on surfaces (carbonate, hydroxide) is not told from that of the oxide.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.estimate import Estimate
from cathoscope.physics.species import atomic_mass

METALS = ("Ni", "Co", "Mn", "Al")
_RELATIVE = 0.01  # of contents whose uncertainty is not stated: what elemental analysis usually reaches


@dataclass(frozen=True)
class Formula:
    """Atoms per transition metal.

    Attributes
    ----------
    share
        Of each metal, of sum 1.
    lithium
        Per metal; None where it was not measured.
    remarks
        What was assumed.
    """

    share: Mapping[str, Estimate]
    lithium: Estimate | None
    remarks: tuple[str, ...] = ()


def formula_of(content: Mapping[str, Estimate]) -> Formula:
    """Atoms per transition metal from contents in mg/L by element; one without an uncertainty is taken to have 1 %.

    n_i = c_i / M_i; x_i = n_i / sum n. Errors of the contents are independent.

    Raises
    ------
    MeasurementError
        If no transition metal was found, or a content is not positive.
    """
    metals = [name for name in content if name in METALS and np.isfinite(content[name].value)]
    amounts = {name: _amount(name, content[name]) for name in (*metals, *(["Li"] if "Li" in content else []))}
    if not metals or not sum(amounts[name].value for name in metals) > 0:
        raise MeasurementError(
            "there are no contents of transition metals",
            expected=" or ".join(METALS),
            found=", ".join(content) or "nothing",
        )
    total = sum(amounts[name].value for name in metals)
    spread = np.array([amounts[name].std for name in metals])
    share = {}
    for k, name in enumerate(metals):
        fraction = amounts[name].value / total
        slopes = (np.eye(len(metals))[k] - fraction) / total
        share[name] = Estimate(fraction, float(np.hypot.reduce(slopes * spread)))
    lithium = None
    if "Li" in amounts and np.isfinite(amounts["Li"].value):
        per_metal = amounts["Li"].value / total
        lithium = Estimate(per_metal, float(np.hypot(amounts["Li"].std, per_metal * np.hypot.reduce(spread)) / total))
    assumed = [name for name in amounts if not content[name].std > 0]
    remarks = (f"no uncertainty of {', '.join(assumed)} was stated: it is taken as {_RELATIVE:.0%}",) if assumed else ()
    return Formula(share, lithium, remarks)


def ratios_to(content: Mapping[str, Estimate], element: str) -> dict[str, Estimate]:
    """Atoms of every metal per atom of ``element``, such as Ni : Co : Mn = 8.30 : 1.04 : 1.

    Raises
    ------
    MeasurementError
        If the element was not found.
    """
    if element not in content or not content[element].value > 0:
        raise MeasurementError(
            f"no content of {element} to relate others to", expected="a content above 0", found=", ".join(content)
        )
    base = _amount(element, content[element])
    found = {}
    for name in (one for one in content if one in METALS):
        amount = _amount(name, content[name])
        ratio = amount.value / base.value
        own = 0.0 if name == element else np.hypot(amount.std / amount.value, base.std / base.value)
        found[name] = Estimate(ratio, float(ratio * own))
    return found


def lithium_removed(before: Formula, after: Formula) -> Estimate:
    """Lithium per metal that left between two analyses, as after chemical delithiation.

    Raises
    ------
    MeasurementError
        If lithium is missing in one of them.
    """
    if before.lithium is None or after.lithium is None:
        raise MeasurementError(
            "lithium was not measured",
            expected="Li in both analyses",
            found="Li in " + ("one" if before.lithium or after.lithium else "none"),
        )
    return Estimate(before.lithium.value - after.lithium.value, float(np.hypot(before.lithium.std, after.lithium.std)))


def _amount(name: str, content: Estimate) -> Estimate:
    """Millimoles per litre."""
    if content.value < 0:
        raise MeasurementError(
            f"the content of {name} is below zero", expected="0 or more", found=f"{content.value:g} mg/L"
        )
    std = content.std if content.std > 0 else _RELATIVE * content.value
    mass = atomic_mass(species=name)
    return Estimate(content.value / mass, std / mass)
