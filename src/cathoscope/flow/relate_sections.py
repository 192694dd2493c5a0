"""The recipe's table about what is found from several measurements together."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from cathoscope.flow.section import Section, Temperature, ascending, quantity
from cathoscope.flow.state_sections import StateSection

_Kelvins = Annotated[float, quantity("temperature difference"), Field(gt=0)]
_Rate = Annotated[float, quantity("heating rate"), Field(gt=0)]
_Time = Annotated[float, quantity("time"), Field(gt=0)]
_Energy = Annotated[float, quantity("activation energy"), Field(gt=0)]
_Length = Annotated[float, quantity("length"), Field(gt=0)]
_Energies = Annotated[tuple[_Energy, _Energy], AfterValidator(ascending)]


class ConditionsSection(Section):
    """How a measurement was heated, where its files do not say: other conditions move what happens."""

    atmosphere: str | None = Field(default=None, description='such as "vacuum", "argon", "air", "oxygen"')
    rate: _Rate | None = None
    hold: _Time | None = Field(default=None, description="at every temperature, where it was heated in steps")
    charge: str | None = Field(default=None, description="state of charge in words; others are not compared")
    temperature_std: _Kelvins | None = Field(default=None, description="of its thermometer; 2 K if not given")


class KineticsSection(Section):
    """How particles were heated where `ConditionsSection` does not say, and what the fit looks at."""

    rate: _Rate = Field(default=10.0, description="between the holds")
    hold: _Time = Field(default=3600.0, description="at every temperature")
    scans: float = Field(default=0.33, ge=0, lt=1, description="share of a hold after which the scans begin")
    reference: Temperature | None = Field(default=None, description="of the release times; the second if not given")
    activation_energy: _Energies = Field(default=(30.0, 340.0), description="between which it is looked for")
    levelling: _Length = Field(default=2.0, description="longest distance over which lithium evens maps out")
    discrepancy: float = Field(default=0.03, gt=0, description="eV that a radial model leaves out, expected")


class RelateSection(Section):
    """What several measurements tell together: everything that the study allows, unless it is left out here."""

    leave_out: tuple[str, ...] = ()
    conditions: dict[str, ConditionsSection] = Field(default_factory=dict, description="by name of the measurement")
    activation_energy: _Energies = Field(default=(100.0, 250.0), description="possible ones, where none is measured")
    state: StateSection = Field(default=StateSection(), description="of all maps without a scale of their own")
    same_within: _Kelvins = Field(default=10.0, description="events this near are called one")
    pairs: Literal["all", "first"] = Field(
        default="all", description="samples against each other, or the first with each"
    )
    kinetics: KineticsSection = Field(default=KineticsSection(), description="of the release of oxygen")
