"""What a technique is to the flow: its steps, what is wanted of it, and what may be fixed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cathoscope.flow.graph import Step
from cathoscope.flow.sections import MeasurementSection


def _nothing(section: MeasurementSection) -> tuple[str, ...]:
    return ()


@dataclass(frozen=True)
class Technique:
    """Steps of one technique: ``targets`` are made in every run, those ``if_possible`` where their inputs are there,
    those ``asked_for`` where the recipe's section asks for them; ``fixable`` arrays may be given in the recipe."""

    title: str
    steps: tuple[Step, ...] | Callable[[MeasurementSection], tuple[Step, ...]]
    targets: tuple[str, ...]
    fixable: tuple[str, ...] = ()
    if_possible: tuple[str, ...] = ()
    asked_for: Callable[[MeasurementSection], tuple[str, ...]] = _nothing

    def steps_for(self, section: MeasurementSection) -> tuple[Step, ...]:
        """The steps that suit the choices of a recipe."""
        return self.steps(section) if callable(self.steps) else self.steps
