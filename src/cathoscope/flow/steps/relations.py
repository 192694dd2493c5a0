"""What several measurements tell together, in the order in which one may use another."""

from __future__ import annotations

from cathoscope.flow.relations import Relation

RELATIONS: tuple[Relation, ...] = ()
