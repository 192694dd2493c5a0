"""The recipe's table about the scale from a white line to a state."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from cathoscope.flow.section import Section, quantity

Energy = Annotated[float, quantity("energy")]


class StateSection(Section):
    """Scale from the white line to a state: two end points to the state of charge, or standards to the valence."""

    discharged: Energy | None = Field(default=None, description="white line of the fully discharged material")
    charged: Energy | None = Field(default=None, description="white line of the fully charged material")
    discharged_std: Energy | None = Field(default=None, ge=0, description="standard uncertainty")
    charged_std: Energy | None = Field(default=None, ge=0, description="standard uncertainty")
    standards: dict[str, tuple[Energy, float]] = Field(default_factory=dict, description="white line and valence")
    standards_std: Energy | None = Field(default=None, gt=0, description="standard uncertainty of every white line")

    @property
    def quantity(self) -> Literal["state_of_charge", "valence"] | None:
        """What is asked for."""
        if self.charged is not None:
            return "state_of_charge"
        return "valence" if self.standards else None

    @model_validator(mode="after")
    def _one_scale(self) -> StateSection:
        of_valence = {"standards", "standards_std"} & self.model_fields_set
        of_charge = self.model_fields_set - of_valence
        if of_charge and of_valence:
            raise ValueError("two end points give a state of charge, standards a valence: leave one of them out")
        if of_charge and (self.discharged is None or self.charged is None):
            raise ValueError('discharged and charged belong together, such as charged = "8350.5 eV"')
        if of_charge and self.discharged == self.charged:
            raise ValueError("discharged and charged must differ")
        if of_valence:
            self._check_standards()
        return self

    def _check_standards(self) -> None:
        if len({valence for _, valence in self.standards.values()}) < 2:
            raise ValueError('a valence needs two standards of different valence, each like NiO = ["8347.0 eV", 2]')
        if len(self.standards) == 2 and self.standards_std is None:
            raise ValueError('two standards need their uncertainty, such as standards_std = "0.1 eV"')
