"""What is stated once about every named array."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ArraySpec:
    """One named array.

    ``dims`` is the longest form. An array may lack dims that its measurement does not
    scan (a room-temperature volume has no ``temperature``), but never reorders them.
    """

    name: str
    dims: tuple[str, ...]
    unit: str
    kind: str  # numpy dtype kind: f float, i integer, b boolean
    meaning: str
