"""What a study holds, in a table for notebooks and terminals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from cathoscope.core.relations import is_relation

if TYPE_CHECKING:
    from cathoscope.core.study import Study

_SERIES = ("temperature", "cycle", "energy")


@dataclass(frozen=True)
class OverviewRow:
    """One measurement: what was measured on what, under which conditions, and how many results there are."""

    name: str
    sample: str
    technique: str
    conditions: str
    arrays: int
    truth: int

    def cells(self) -> tuple[str, ...]:
        """The row as text."""
        return (self.name, self.sample, self.technique, self.conditions, str(self.arrays), str(self.truth))


_HEADS = ("measurement", "sample", "technique", "conditions", "results", "truth")


def overview(study: Study) -> list[OverviewRow]:
    """One row for everything that has files, results or truth."""
    names = {name for group in ("raw", "result", "truth") for name in study.measurements(group)}
    return [_row(study, name) for name in sorted(names)]


def _row(study: Study, name: str) -> OverviewRow:
    raw = study.attributes("raw", name)
    particle = f", particle {raw['particle']}" if raw.get("particle") else ""
    return OverviewRow(
        name=name,
        sample=f"{raw.get('sample', '')}{particle}",
        technique="several measurements together" if is_relation(name) else str(raw.get("technique", "")),
        conditions=_conditions(study, name),
        arrays=_count(study, "result", name),
        truth=_count(study, "truth", name),
    )


def _count(study: Study, group: str, name: str) -> int:
    """Arrays, uncertainties apart."""
    return sum(not array.endswith(("_std", "_systematic")) for array in study.arrays(group, name))


def _conditions(study: Study, name: str) -> str:
    group = "result" if study.arrays("result", name) else "truth"
    there = [dim for dim in _SERIES if dim in study.arrays(group, name)]
    if not there:
        return ""
    coords: Mapping[Any, Any] = study.read(group, name, there).coords
    words = []
    for dim in there:
        values, unit = coords[dim].values, str(coords[dim].attrs.get("units", ""))
        ends = f"{values.min():g}" if values.size == 1 else f"{values.min():g} to {values.max():g}"
        count = "" if values.size == 1 else f"{values.size} x "
        words.append(f"{count}{dim} {ends}{'' if unit in ('', '1') else ' ' + unit.replace('degC', '°C')}")
    return ", ".join(words)


def overview_text(study: Study) -> str:
    """The table in columns of text."""
    rows = [_HEADS, *(row.cells() for row in overview(study))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([f"study {study.title!r}, {study.path}", *lines])


def overview_html(study: Study) -> str:
    """The table for a notebook."""
    heads = "".join(f"<th style='text-align:left'>{head}</th>" for head in _HEADS)
    rows = "".join(
        "<tr>" + "".join(f"<td style='text-align:left'>{escape(cell)}</td>" for cell in row.cells()) + "</tr>"
        for row in overview(study)
    )
    title = f"<strong>{escape(study.title)}</strong> <code>{escape(str(study.path))}</code>"
    return f"<div>{title}<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
