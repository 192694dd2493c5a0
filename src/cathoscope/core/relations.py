"""Where a study keeps what is found from several measurements together: beside them, under names of its own."""

from __future__ import annotations

_PREFIX = "across-"


def place_of(relation: str) -> str:
    """Name under ``result/`` of a relation's results."""
    return _PREFIX + relation


def is_relation(name: str) -> bool:
    """Whether a name under ``result/`` is that of a relation and not of a measurement."""
    return name.startswith(_PREFIX)
