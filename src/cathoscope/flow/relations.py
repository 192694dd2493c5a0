"""What is found from several measurements together, after each has its own results.

A relation is to the study what a step is to a measurement: a function from named arrays to named arrays. Its results
stand in ``result/`` beside those of the measurements, under a name that no measurement may have.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import xarray as xr

from cathoscope.core.errors import CathoscopeError, MeasurementError
from cathoscope.core.parallel import Progress, Resources
from cathoscope.core.relations import is_relation, place_of
from cathoscope.core.sample import Sample
from cathoscope.core.study import Study
from cathoscope.flow.code_hash import digest_of_code
from cathoscope.flow.recipe import Recipe
from cathoscope.flow.relate_sections import RelateSection
from cathoscope.flow.sections import MeasurementSection

_COMPANIONS = ("", "_std", "_systematic", "_low", "_high", "_mask")


@dataclass(frozen=True)
class Member:
    """One measurement with results, as a relation sees it.

    ``data`` holds of its results the arrays that the relation uses, with their uncertainties; large ones are read when
    their values are asked for. A relation that ran before is a member too: its technique is ``"relation"``.
    """

    name: str
    sample: str
    particle: int | None
    technique: str
    section: MeasurementSection | None
    data: xr.Dataset


@dataclass(frozen=True)
class Gathered:
    """What a relation is given: measurements in the order of the recipe, samples, its choices, the means to work."""

    members: tuple[Member, ...]
    samples: dict[str, Sample]
    choices: RelateSection
    resources: Resources
    progress: Progress
    remarks: list[str] = field(default_factory=list)

    def having(self, *names: str) -> Iterator[Member]:
        """The members whose results hold all of ``names``."""
        return (member for member in self.members if all(name in member.data for name in names))

    def remark(self, text: str) -> None:
        """Something a reader should know before trusting what is found."""
        if text not in self.remarks:
            self.remarks.append(text)


@dataclass(frozen=True)
class Relation:
    """A function of what was gathered; it returns None where the study does not hold what it needs.

    ``uses`` are the arrays it reads, each with its uncertainties; ``choices`` the keys of the recipe's table ``relate``
    that it depends on, ``of_members`` those of the tables of the measurements.
    """

    name: str
    title: str
    function: Callable[[Gathered], xr.Dataset | None]
    uses: tuple[str, ...]
    choices: tuple[str, ...] = ()
    of_members: tuple[str, ...] = ()


@dataclass
class RelationOutcome:
    """What a run did for one relation."""

    name: str
    computed: bool = False
    found: bool = False
    seconds: float = 0.0
    remarks: list[str] = field(default_factory=list)
    failure: str | None = None


def run_relations(
    recipe: Recipe, study: Study, relations: Sequence[Relation], *, resources: Resources, progress: Progress
) -> list[RelationOutcome]:
    """Bring what is found from several measurements up to date; a relation that fails does not stop the others."""
    outcomes = []
    for relation in relations:
        if relation.name in recipe.model.relate.leave_out:
            _forget(study, relation)
        else:
            outcomes.append(_run_one(recipe, study, relation, resources, progress))
    known = [place_of(relation.name) for relation in relations]
    for place in filter(is_relation, study.measurements("result")):
        if place not in known:
            study.remove("result", place, "")
    return outcomes


def _run_one(
    recipe: Recipe, study: Study, relation: Relation, resources: Resources, progress: Progress
) -> RelationOutcome:
    outcome = RelationOutcome(relation.name)
    members = gathered_members(recipe, study, relation)
    address = _address(recipe, study, relation, members)
    kept = study.attributes("result", place_of(relation.name))
    if kept.get("address") == address:
        outcome.found, outcome.remarks = True, list(kept.get("remarks", []))
        return outcome
    began = time.perf_counter()
    gathered = Gathered(members, recipe.samples(), recipe.model.relate, resources, progress)
    _forget(study, relation)
    try:
        found = relation.function(gathered) if members else None
    except MeasurementError as error:
        outcome.failure = str(error)
        progress.remark(f"{relation.title}: {error}")
        found = None
    outcome.computed, outcome.seconds = True, time.perf_counter() - began
    if found is not None:
        outcome.found, outcome.remarks = True, gathered.remarks
        study.write("result", place_of(relation.name), found, address=address)
        study.describe("result", place_of(relation.name), address=address, remarks=gathered.remarks)
    return outcome


def _forget(study: Study, relation: Relation) -> None:
    study.remove("result", place_of(relation.name), "")


def gathered_members(recipe: Recipe, study: Study, relation: Relation) -> tuple[Member, ...]:
    """The measurements and earlier relations that have any of the arrays the relation uses."""
    names = [name for name in recipe.model.measurement if name in study.measurements("result")]
    names += [name for name in study.measurements("result") if is_relation(name) and name != place_of(relation.name)]
    found = []
    for name in names:
        there = study.arrays("result", name)
        used = [use + suffix for use in relation.uses for suffix in _COMPANIONS if use + suffix in there]
        if used:
            section = recipe.model.measurement.get(name)
            found.append(
                Member(
                    name=name,
                    sample=section.sample if section else "",
                    particle=section.particle if section else None,
                    technique=section.technique if section else "relation",
                    section=section,
                    data=study.read("result", name, used),
                )
            )
    return tuple(found)


def _address(recipe: Recipe, study: Study, relation: Relation, members: Sequence[Member]) -> str:
    """Hash of the relation's own code, of where its inputs come from and of its choices."""
    choices = recipe.model.relate.model_dump(mode="json")
    content: dict[str, Any] = {
        "code": digest_of_code(relation.function),
        "choices": {key: choices.get(key) for key in relation.choices},
        "samples": {name: section.model_dump(mode="json") for name, section in recipe.model.sample.items()},
        "members": [
            [
                member.name,
                member.sample,
                member.particle,
                member.technique,
                {str(name): study.address(member.name, str(name)) for name in member.data.variables},
                member.section.model_dump(mode="json", include=set(relation.of_members)) if member.section else {},
            ]
            for member in members
        ],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:20]


def require_known(recipe: Recipe, relations: Sequence[Relation]) -> None:
    """Refuse a name in ``leave_out`` that is no relation's.

    Raises
    ------
    RecipeError
        At the line of the key.
    """
    known = [relation.name for relation in relations]
    unknown: list[str] = [name for name in recipe.model.relate.leave_out if name not in known]
    if unknown:
        mistake: CathoscopeError = recipe.mistake(
            ("relate", "leave_out"),
            f"nothing that several measurements tell together is called {unknown[0]!r}",
            expected=" or ".join(known),
        )
        raise mistake
