"""Run a recipe: keep what is cached, resume what was killed, redo what a change touches."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import cathoscope
from cathoscope.core.errors import CathoscopeError, Interrupted, MeasurementError, not_enough_memory
from cathoscope.core.links import FileLink, link_file
from cathoscope.core.parallel import Errand, Progress, Resources, slabs_run_by
from cathoscope.core.relations import is_relation
from cathoscope.core.schema import dataset, label, spec_of
from cathoscope.core.study import Study, Work
from cathoscope.flow.beside import BESIDE, checked, in_order, named_by, read_beside
from cathoscope.flow.code_hash import digest_of_code
from cathoscope.flow.graph import RAW, REFERENCES, Context, Graph, Node, build_graph
from cathoscope.flow.raw import RawMeasurement, SetAside, missing_scans
from cathoscope.flow.recipe import Recipe
from cathoscope.flow.relations import RelationOutcome, require_known, run_relations
from cathoscope.flow.sources import Sources, changes_since
from cathoscope.flow.steps import TECHNIQUES, open_measurement, open_start
from cathoscope.flow.steps.relations import RELATIONS
from cathoscope.flow.steps.technique import Technique
from cathoscope.flow.takeover import foreign_arrays, take_over

_SMALL = 1 << 20  # bytes of an array that is read at once
_LOGGED_PACKAGES = ("numpy", "scipy", "numba", "xarray", "zarr", "h5py", "algotom", "scikit-image")


@dataclass
class MeasurementOutcome:
    """What a run did for one measurement."""

    name: str
    computed: list[str] = field(default_factory=list)
    cached: list[str] = field(default_factory=list)
    set_aside: list[tuple[str, str]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    failure: str | None = None


@dataclass
class RunOutcome:
    """What a run did, measurement by measurement, and what it found from several together."""

    study: Path
    measurements: list[MeasurementOutcome] = field(default_factory=list)
    relations: list[RelationOutcome] = field(default_factory=list)

    @property
    def failed(self) -> list[MeasurementOutcome]:
        """The measurements that gave no result."""
        return [outcome for outcome in self.measurements if outcome.failure]


@dataclass(frozen=True)
class Plan:
    """One measurement, opened, with its graph and the arrays given from outside."""

    raw: RawMeasurement
    technique: Technique
    graph: Graph
    given: xr.Dataset
    fixed: xr.Dataset
    data_folder: Path
    beside: Mapping[str, str | None] | None = None  # addresses of arrays of another measurement that is used
    starts: tuple[FileLink, ...] = ()  # of arrays that other studies hold

    def sources_of(self, node: Node) -> Sources:
        """The files that a step reads; none if it reads results of this study only."""
        reads = {RAW, REFERENCES, *map(str, self.given.data_vars)}.intersection(node.uses)
        return self.sources if reads else Sources(())

    @property
    def sources(self) -> Sources:
        """Every file of the measurement that is read while its steps run."""
        return Sources((*self.raw.links, *self.raw.references, *self.starts))


def run(recipe: Recipe, study_path: Path, *, resources: Resources, progress: Progress) -> RunOutcome:
    """Bring ``result/`` of the study up to date with the recipe.

    A measurement that cannot be used is reported in the outcome; the others go on.

    Raises
    ------
    RecipeError, StudyError
        If the recipe is wrong, the study cannot be written, or there is not enough memory.
    Interrupted
        On Ctrl-C; finished slabs are kept.
    """
    require_known(recipe, RELATIONS)
    study = Study.create(study_path)
    outcome = RunOutcome(study_path)
    with study.locked():
        began = time.perf_counter()
        try:
            study.set_title(recipe.model.study.title)
            # All files are opened before anything is computed: a mistake in the last measurement is found at once.
            plans: dict[str, Plan | MeasurementError] = {}
            for name in in_order(recipe):
                plans[name] = _plan_or_reason(recipe, name, plans)
            done = {name: _run_measurement(recipe, study, name, plans[name], resources, progress) for name in plans}
            outcome.measurements += [done[name] for name in recipe.model.measurement]
            _remove_measurements_left_over(study, recipe)
            outcome.relations = run_relations(recipe, study, RELATIONS, resources=resources, progress=progress)
            study.clear_work(keep=[item.name for item in outcome.failed])
        except KeyboardInterrupt:
            raise Interrupted(
                "stopped", where=study_path, cure="run again: it goes on where it stopped, with the same result"
            ) from None
        except MemoryError as error:
            raise not_enough_memory(error, where=study_path) from error
        finally:
            study.append_log(_log_record(recipe, resources, outcome, time.perf_counter() - began))
    return outcome


def plan_measurement(
    recipe: Recipe,
    name: str,
    *,
    raw: RawMeasurement | None = None,
    others: Mapping[str, Plan | MeasurementError] | None = None,
) -> Plan:
    """Open one measurement and order its steps; ``others`` are the plans of measurements that run before it.

    Raises
    ------
    RecipeError
        If files are missing, a fixed array is unknown, or a needed input cannot be made.
    MeasurementError
        If no file of the measurement can be used.
    """
    section = recipe.model.measurement[name]
    technique = TECHNIQUES[section.technique]
    raw = raw or open_measurement(recipe, name)
    started = open_start(recipe, name)
    for array in started.data_vars.values():
        raw.remarks += array.attrs.get("remarks", ())
        raw.links += [link_file(Path(file), recipe.data_folder) for file in array.attrs.get("files", ())]
    fixed = _fixed_arrays(recipe, name, raw, technique)
    given = {str(key): str(array.attrs["address"]) for key, array in started.data_vars.items()}
    given |= dict.fromkeys(map(str, fixed.data_vars), _digest_of_arrays(fixed))
    if raw.scans:
        given[RAW] = f"{raw.fingerprint}-{digest_of_code(open_measurement)[:20]}"
    if raw.references:
        given[REFERENCES] = _digest([link.sampled_hash for link in raw.references])
    beside = _addresses_beside(recipe, name, others)
    if beside is not None:
        given[BESIDE] = _digest(list(beside.values()))
    try:
        graph = build_graph(
            technique.steps_for(section),
            targets=(*technique.targets, *technique.asked_for(section)),
            given=given,
            choices=section.model_dump(mode="json"),
            if_possible=technique.if_possible,
        )
    except CathoscopeError as error:
        raise recipe.mistake(
            ("measurement", name), error.problem, expected=error.expected, found=error.found, cure=error.cure
        ) from None
    if not graph.nodes and not foreign_arrays(started).data_vars:
        raise recipe.mistake(
            ("measurement", name, "start"),
            f"{section.technique} makes nothing that is not there already",
            expected="a technique that makes more of this array",
            found=", ".join(section.start),
            cure='such as  technique = "xanes-tomography"',
        )
    beside = None if others is None else beside
    return Plan(raw, technique, graph, started, fixed, recipe.data_folder, beside, _links_of_starts(recipe, name))


def _links_of_starts(recipe: Recipe, name: str) -> tuple[FileLink, ...]:
    """What is another file once a start array in another study has been made anew."""
    places = [recipe.data_folder / place / key for key, place in recipe.model.measurement[name].start.items()]
    files = [place / "zarr.json" for place in places]
    return tuple(link_file(file, recipe.data_folder) for file in files if file.is_file())


def _addresses_beside(
    recipe: Recipe, name: str, others: Mapping[str, Plan | MeasurementError] | None
) -> dict[str, str | None] | None:
    """What the arrays of another measurement depend on; None if none is used."""
    found = named_by(recipe.model.measurement[name])
    if found is None:
        return None
    plan = (others or {}).get(checked(recipe, name))
    addresses = plan.graph.addresses if isinstance(plan, Plan) else {}
    return {array: addresses.get(array) for array in found[0].arrays}


def _plan_or_reason(
    recipe: Recipe, name: str, others: Mapping[str, Plan | MeasurementError]
) -> Plan | MeasurementError:
    try:
        return plan_measurement(recipe, name, others=others)
    except MeasurementError as error:
        return error


def _run_measurement(
    recipe: Recipe,
    study: Study,
    name: str,
    plan: Plan | MeasurementError,
    resources: Resources,
    progress: Progress,
) -> MeasurementOutcome:
    outcome = MeasurementOutcome(name)
    if isinstance(plan, MeasurementError):
        outcome.failure = _told(plan, name, progress)
        return outcome
    try:
        _tell_changes(study, plan, outcome, progress)
        study.write_raw(name, plan.raw.record())
        if plan.fixed.data_vars:
            study.write("result", name, plan.fixed, address=_digest_of_arrays(plan.fixed))
        if not plan.graph.nodes:
            _take_over(study, plan, outcome, resources, progress)
        for node in plan.graph.nodes:
            _run_node(recipe, study, plan, node, outcome, resources, progress)
            recall_remarks(study, plan.raw, node.makes)
    except MeasurementError as error:
        outcome.failure = _told(error, name, progress)
    _remove_arrays_left_over(study, name, plan)
    study.write_raw(name, plan.raw.record())
    outcome.set_aside = [(item.file, item.reason) for item in plan.raw.set_aside]
    outcome.missing = list(missing_scans(plan.raw))
    return outcome


def _tell_changes(study: Study, plan: Plan, outcome: MeasurementOutcome, progress: Progress) -> None:
    """Whether the files are others than those of the last run."""
    recorded = study.attributes("raw", plan.raw.name).get("files", ())
    outcome.changed += changes_since(recorded, (*plan.raw.links, *plan.raw.references), plan.data_folder)
    for text in outcome.changed:
        progress.remark(f"{plan.raw.name}: {text}")


def _take_over(study: Study, plan: Plan, outcome: MeasurementOutcome, resources: Resources, progress: Progress) -> None:
    """Nothing can be made of a volume here; it is what the study is to show and what others start from."""
    for name, array in foreign_arrays(plan.given).data_vars.items():
        work = Work(study, "result", plan.raw.name, str(array.attrs["address"]), plan.sources.require_unchanged)
        written = take_over(study, work, plan.raw.name, array, resources=resources, progress=progress)
        (outcome.computed if written else outcome.cached).append(f"{name} taken over")


def _told(error: MeasurementError, name: str, progress: Progress) -> str:
    """What failed, also shown to who watches; the measurement's name stands before it in any case."""
    text = str(error).removeprefix(f"{name}: ")
    progress.remark(f"{name}: {text}")
    return text


def _run_node(
    recipe: Recipe,
    study: Study,
    plan: Plan,
    node: Node,
    outcome: MeasurementOutcome,
    resources: Resources,
    progress: Progress,
) -> None:
    name = plan.raw.name
    if all(study.address(name, made) == node.address for made in node.makes):
        outcome.cached.append(node.step.name)
        return
    began = time.perf_counter()
    sources = plan.sources_of(node)
    work = Work(study, "result", name, node.address, sources.require_unchanged)
    context = context_of(plan, node, work, study=study, resources=resources, progress=progress)
    errand = Errand(recipe.path.resolve(), recipe.text, recipe.data_folder, study.path.resolve(), name, node.address)
    helpers, short = resources.helpers, node.step.shortage(context.data, resources)
    if short is not None:
        progress.remark(f"{name}: {short}")
    try:
        with slabs_run_by(None if helpers is None else helpers.runner(errand, work, progress)):
            made = node.step.function(context)
    except Exception:
        sources.require_unchanged()  # that a file changed says more than what came of it
        raise
    if made is not None:
        work.store_dataset(made[list(node.makes)])
    work.commit()
    outcome.computed.append(node.step.name)
    outcome.seconds[node.step.name] = time.perf_counter() - began


def context_of(
    plan: Plan, node: Node, work: Work, *, study: Study, resources: Resources, progress: Progress
) -> Context:
    """What the step of a node is given; its large inputs are read from the study as the step asks for them."""
    name = plan.raw.name
    stored = [use for use in node.uses if use not in (RAW, REFERENCES, BESIDE) and use not in plan.given]
    inputs = plan.given[[use for use in node.uses if use in plan.given]]
    if stored:
        inputs = xr.merge([inputs, small_arrays_loaded(study.read("result", name, stored))], compat="override")
    return Context(
        name=name,
        raw=plan.raw,
        data=inputs,
        section=plan.raw.section,
        data_folder=plan.data_folder,
        makes=node.makes,
        work=work,
        resources=resources,
        progress=progress,
        beside=read_beside(study, plan.raw.section, plan.beside) if BESIDE in node.uses else xr.Dataset(),
    )


def small_arrays_loaded(data: xr.Dataset) -> xr.Dataset:
    """The same arrays; those of up to ``_SMALL`` bytes are read now, for steps ask for their values one by one."""
    for array in data.variables.values():
        if array.nbytes <= _SMALL:
            array.load()
    return data


def _fixed_arrays(recipe: Recipe, name: str, raw: RawMeasurement, technique: Technique) -> xr.Dataset:
    """The values the recipe fixes, spread over the scans they hold for, with zero uncertainty."""
    arrays = []
    for key, value in raw.section.fix.items():
        if key not in technique.fixable:
            raise recipe.mistake(
                ("measurement", name, "fix", key),
                f"{key} cannot be fixed",
                expected=" or ".join(technique.fixable),
                found=key,
            )
        dims = tuple(dim for dim in spec_of(key).dims if dim in raw.dims)
        shape = tuple(raw.coords[dim].size for dim in dims)
        try:
            values = np.broadcast_to(np.asarray(value, dtype=np.float64), shape)
        except ValueError:
            raise recipe.mistake(
                ("measurement", name, "fix", key),
                f"{key} has the wrong number of values",
                expected=f"one number, or {shape[-1] if shape else 1}",
                found=str(np.size(value)),
            ) from None
        arrays.append(label(key, values, dims, coords=raw.coords))
        arrays.append(label(f"{key}_std", np.zeros(shape), dims, coords=raw.coords, std_source="stated"))
    return dataset(arrays)


def recall_remarks(study: Study, raw: RawMeasurement, arrays: Sequence[str]) -> None:
    """What a step remarked and set aside, also if its results were kept from an earlier run."""
    for array in arrays:
        attrs = study.attributes("result", raw.name, array)
        raw.remarks.extend(remark for remark in attrs.get("remarks", ()) if remark not in raw.remarks)
        recalled = attrs.get("set_aside", ())
        items = [SetAside(file, why) for file, why, _ in recalled]
        raw.set_aside.extend(item for item in items if item not in raw.set_aside)
        digests = {digest for _, _, digest in recalled}
        raw.scans = {index: scan for index, scan in raw.scans.items() if scan.attrs["digest"] not in digests}


def _remove_arrays_left_over(study: Study, name: str, plan: Plan) -> None:
    """Delete results of other recipes and their coordinates, so that result/ is what the recipe says."""
    addresses = {made: node.address for node in plan.graph.nodes for made in node.makes}
    addresses |= dict.fromkeys(map(str, plan.fixed.data_vars), _digest_of_arrays(plan.fixed))
    if not plan.graph.nodes:
        addresses |= {str(key): str(array.attrs["address"]) for key, array in plan.given.data_vars.items()}
    there = study.arrays("result", name)
    kept = [array for array in there if array in addresses and study.address(name, array) == addresses[array]]
    with_coords = set(study.read("result", name, kept).variables) if kept else set()
    for array in there:
        if array not in with_coords:
            study.remove("result", name, array)


def _remove_measurements_left_over(study: Study, recipe: Recipe) -> None:
    for group in ("result", "raw"):
        for name in study.measurements(group):
            if name not in recipe.model.measurement and not is_relation(name):
                study.remove(group, name, "")


def _log_record(recipe: Recipe, resources: Resources, outcome: RunOutcome, seconds: float) -> Mapping[str, Any]:
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 2),
        "cathoscope": cathoscope.__version__,
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in _LOGGED_PACKAGES},
        "machine": f"{platform.system()} {platform.machine()}",
        "threads": resources.threads,
        "memory_bytes": resources.memory,
        "recipe": recipe.text,
        "measurements": [asdict(item) for item in outcome.measurements],
        "relations": [asdict(item) for item in outcome.relations],
    }


def _digest_of_arrays(data: xr.Dataset) -> str:
    return _digest({str(key): array.values.tolist() for key, array in data.data_vars.items()})


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:20]
