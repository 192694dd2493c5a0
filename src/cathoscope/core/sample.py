"""What was measured: a frozen record per sample."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sample:
    """One material in one state of treatment.

    ``composition`` is a formula (``"LiNi0.8Mn0.1Co0.1O2"``); the other fields are free text for the report.
    """

    name: str
    composition: str = ""
    phases: tuple[str, ...] = ()
    particle: str = ""
    treatment: str = ""
