"""The recipe's table about what is found from several measurements together."""

from __future__ import annotations

from cathoscope.flow.section import Section


class RelateSection(Section):
    """What several measurements tell together: everything that the study allows, unless it is left out here."""

    leave_out: tuple[str, ...] = ()
