"""Numbers of a diffractometer from the pattern of a standard, whose cell is known and held.

What the file of the instrument states as zero is a term that the instrument is described without, so it stays zero
unless it is asked for. The wavelength and difC are found from the cell of the standard, and no better than that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from types import MappingProxyType

from cathoscope.core.bank import Bank
from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.dual import Dual
from cathoscope.powder.parameters import Values
from cathoscope.powder.refine import Fit

_STEPS = {
    "tof": (
        ("difC", "zero"),
        ("difA", "difB"),
        ("sig0", "sig1", "sig2", "sigq", "X", "Y", "Z"),
        ("alpha", "beta0", "beta1", "betaq"),
    ),
    "cw": (("zero", "wavelength"), ("U", "V", "W", "X", "Y", "Z"), ("axial", "polarisation")),
}
"""Numbers that can be refined, in the order in which they are freed."""

_ALWAYS = ("difC", "zero")
_ON_REQUEST = ("wavelength", "polarisation")


@dataclass(frozen=True)
class Calibrated:
    """A bank as a standard tells it.

    Attributes
    ----------
    bank
        With the refined numbers.
    std
        Standard uncertainties of those that were refined, by name.
    """

    bank: Bank
    std: dict[str, float]


def freed_numbers(bank: Bank, asked: Sequence[str] = ()) -> tuple[tuple[str, ...], ...]:
    """Numbers of a bank that are refined, in steps, without its name.

    ``asked``: names, or patterns such as ``sig*``; if there are none, difC and zero, and all but wavelength and
    polarisation that the file does not state as zero.

    Raises
    ------
    MeasurementError
        If a name is none of the numbers that can be refined.
    """
    known = [name for step in _STEPS[bank.kind] for name in step]
    for one in asked:
        if not any(fnmatchcase(name, one) for name in known):
            raise MeasurementError(
                f"{bank.name} has no number {one} that a standard tells", expected=" or ".join(known), found=one
            )

    def is_free(name: str) -> bool:
        """Whether a number is refined: one of those asked for; where none is, one that the bank uses."""
        if asked:
            return any(fnmatchcase(name, one) for one in asked)
        return name in _ALWAYS or (bank.values[name] != 0 and name not in _ON_REQUEST)

    steps = (tuple(name for name in step if is_free(name)) for step in _STEPS[bank.kind])
    return tuple(step for step in steps if step)


def calibration_stages(banks: Sequence[Bank], asked: Sequence[str] = ()) -> tuple[tuple[str, ...], ...]:
    """Stages of the refinement of a standard: scales and backgrounds, numbers of the banks, displacements of atoms.

    Raises
    ------
    MeasurementError
        If no bank has a number that is asked for.
    """
    _require_known(banks, asked)
    freed = [
        (bank, freed_numbers(bank, [one for one in asked if _has(bank, one)]))
        for bank in banks
        if not asked or any(_has(bank, one) for one in asked)
    ]
    longest = max(len(steps) for _, steps in freed)
    stages = tuple(
        tuple(f"{bank.name}.{name}" for bank, steps in freed if k < len(steps) for name in steps[k])
        for k in range(longest)
    )
    return (("*.scale", "*.background.*"), *stages, ("displacements",))


def _has(bank: Bank, asked: str) -> bool:
    return any(fnmatchcase(name, asked) for step in _STEPS[bank.kind] for name in step)


def _require_known(banks: Sequence[Bank], asked: Sequence[str]) -> None:
    for one in asked:
        if not any(_has(bank, one) for bank in banks):
            freed_numbers(banks[0], [one])


def calibrated(bank: Bank, fit: Fit) -> Calibrated:
    """The bank with the numbers of a fit, and their uncertainties, widened by the goodness of fit."""
    values: Values = fit.values()
    found, std = dict(bank.values), {}
    for name in bank.values:
        one = values.get(f"{bank.name}.{name}")
        if isinstance(one, Dual):
            found[name], std[name] = float(one.value), fit.std_of(one)
    return Calibrated(replace(bank, values=MappingProxyType(found), source=f"a standard, from {bank.source}"), std)
