"""Named arrays of what is found from several measurements together; see `cathoscope.core.schema`."""

from __future__ import annotations

from cathoscope.core.array_spec import ArraySpec

RELATION_ARRAYS: tuple[ArraySpec, ...] = ()
