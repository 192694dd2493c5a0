"""How the report shows what several measurements tell together: tables, figures and sentences of each relation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import xarray as xr

from cathoscope.core.errors import StudyError
from cathoscope.core.relations import place_of
from cathoscope.core.study import Study
from cathoscope.report import (
    relate_cycles,
    relate_events,
    relate_kinetics,
    relate_oxygen,
    relate_place,
    relate_samples,
)
from cathoscope.report.style import Panel
from cathoscope.report.tables import Table


def _no_tables(data: xr.Dataset) -> Sequence[Table]:
    return ()


def _no_panels(data: xr.Dataset) -> Sequence[Panel]:
    return ()


def _no_sentences(data: xr.Dataset) -> Sequence[str]:
    return ()


@dataclass(frozen=True)
class RelationView:
    """How the results of one relation are shown.

    ``sentences`` are whole, generated from the numbers; ``heads`` are those for the head of the page, of every sample.
    """

    name: str
    title: str
    tables: Callable[[xr.Dataset], Sequence[Table]] = _no_tables
    panels: Callable[[xr.Dataset], Sequence[Panel]] = _no_panels
    sentences: Callable[[xr.Dataset], Sequence[str]] = _no_sentences
    heads: Callable[[xr.Dataset], Sequence[str]] | None = None


@dataclass(frozen=True)
class RelationPart:
    """One relation on the page."""

    name: str
    title: str
    sentences: tuple[str, ...]
    panels: tuple[Panel, ...]
    tables: tuple[Table, ...]
    remarks: tuple[str, ...]
    heads: tuple[str, ...] = ()


# In the order of the page.
VIEWS: tuple[RelationView, ...] = (
    RelationView(
        "samples", "Sample against sample", relate_samples.tables, relate_samples.panels, relate_samples.sentences
    ),
    RelationView(
        "events",
        "Events on heating",
        relate_events.tables,
        relate_events.panels,
        relate_events.sentences,
        relate_events.heads,
    ),
    RelationView(
        "oxygen",
        "Balance of oxygen",
        relate_oxygen.tables,
        relate_oxygen.panels,
        relate_oxygen.sentences,
        relate_oxygen.heads,
    ),
    RelationView(
        "place",
        "Chemistry against place",
        relate_place.tables,
        relate_place.panels,
        relate_place.sentences,
        relate_place.heads,
    ),
    RelationView(
        "kinetics",
        "Kinetics of oxygen release",
        relate_kinetics.tables,
        relate_kinetics.panels,
        relate_kinetics.sentences,
    ),
    RelationView(
        "cycles",
        "Surface, resistance and capacity by cycle",
        relate_cycles.tables,
        relate_cycles.panels,
        relate_cycles.sentences,
        relate_cycles.heads,
    ),
)


def relation_parts(study: Study) -> tuple[RelationPart, ...]:
    """What the study holds of relations, ready to be shown; call it within the journal's style.

    Raises
    ------
    StudyError
        If results lack an array that is shown: another version of this program made them.
    """
    return tuple(_part(study, view) for view in VIEWS if study.arrays("result", place_of(view.name)))


def _part(study: Study, view: RelationView) -> RelationPart:
    place = place_of(view.name)
    data = study.read("result", place).load()
    remarks = tuple(map(str, study.attributes("result", place).get("remarks", ())))
    try:
        return RelationPart(
            view.name,
            view.title,
            tuple(view.sentences(data)),
            tuple(view.panels(data)),
            tuple(view.tables(data)),
            remarks,
            tuple((view.heads or view.sentences)(data)),
        )
    except KeyError as error:
        raise StudyError(
            f"{place} was made by another version of cathoscope",
            where=study.path,
            expected=f"an array {error.args[0]}",
            found="none of this name",
            cure="run the recipe again: cathoscope run RECIPE; what has not changed is kept",
        ) from error
