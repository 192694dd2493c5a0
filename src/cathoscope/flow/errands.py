"""What a helper process does for a run: it finds the step of an errand and does slabs of it.

Nothing but words travels to a helper. It plans the measurement itself, runs the function of the step up to its slabs
and keeps what does them, so that every further slab costs nothing but itself.
"""

from __future__ import annotations

import threading
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import xarray as xr

from cathoscope.core.errors import CathoscopeError, StudyError
from cathoscope.core.parallel import Errand, Resources, Silent, run_on_threads, slabs_run_by
from cathoscope.core.study import NewArray, Study, Work
from cathoscope.flow.graph import RAW, REFERENCES, Node
from cathoscope.flow.recipe import Recipe
from cathoscope.flow.run import Plan, context_of, plan_measurement, recall_remarks
from cathoscope.flow.sections import RecipeModel

# Network file systems show a new file to other machines up to a minute late.
_PATIENCE = 90.0  # seconds
_LOCK = threading.Lock()


def do_slab(slab: Any, errand: Errand, resources: Resources, run: str) -> bool | CathoscopeError:
    """Do one slab of a step.

    Parameters
    ----------
    slab
        As the run found it; the helper does not cut slabs itself.
    run
        A word that no other run has: what was kept for another run is not used.

    Returns
    -------
    Whether the slab is on disk, so that nobody has to do it again; or the error that ended it, which trying again
    would not cure.
    """
    try:
        with _LOCK:
            do, work = _work_of(errand, resources, run)
        work.begin_slab()
        do(slab)
        return work.slab_is_on_disk
    except CathoscopeError as error:
        return error


class _Joined(Work):
    """Arrays that the run has prepared, and that several processes fill."""

    def __init__(self, study: Study, measurement: str, address: str, allow: Callable[[], None]) -> None:
        super().__init__(study, "result", measurement, address, allow)
        self._slab = threading.local()

    def prepare(self, arrays: Sequence[NewArray], coords: Mapping[Any, xr.DataArray]) -> None:
        """Open the arrays; the run has written the coordinates."""
        super().prepare(arrays, {})

    def begin_slab(self) -> None:
        """Forget about the slab before."""
        self._slab.on_disk = False

    @property
    def slab_is_on_disk(self) -> bool:
        """Whether this thread has finished its slab, or found it finished."""
        return bool(self._slab.on_disk)

    def is_done(self, slab: str) -> bool:
        """Whether somebody had finished this slab."""
        done = super().is_done(slab)
        self._slab.on_disk = done
        return done

    def mark_done(self, slab: str, note: str = "") -> None:
        """Remember that everything of this slab is on disk."""
        super().mark_done(slab, note)
        self._slab.on_disk = True


class _Reached(BaseException):
    """Ends the function of a step where its slabs begin; no step catches it."""

    def __init__(self, do: Callable[[Any], None]) -> None:
        self.do = do


@lru_cache(maxsize=2)
def _work_of(errand: Errand, resources: Resources, run: str) -> tuple[Callable[[Any], None], _Joined]:
    plan = _plan_of(replace(errand, address=""), run)
    node = _node_of(plan, errand)
    study = Study.open(errand.study)
    _wait_for_inputs(study, plan, node)
    for earlier in plan.graph.nodes[: plan.graph.nodes.index(node)]:
        recall_remarks(study, plan.raw, earlier.makes)
    work = _Joined(study, errand.measurement, errand.address, plan.sources_of(node).require_unchanged)

    def stop_at_slabs(do: Callable[[Any], None], slabs: Sequence[Any], *, threads: int) -> None:
        """End the step where its slabs begin, and keep what is done with one."""
        if work.is_prepared:
            raise _Reached(do)
        run_on_threads(do, slabs, threads=threads)

    context = context_of(plan, node, work, study=study, resources=resources, progress=Silent())
    with slabs_run_by(stop_at_slabs):
        try:
            node.step.function(context)
        except _Reached as reached:
            return reached.do, work
    raise CathoscopeError(f"the step {node.step.name!r} has no slabs on this worker")


@lru_cache(maxsize=2)
def _plan_of(errand: Errand, run: str) -> Plan:
    model = RecipeModel.model_validate(tomllib.loads(errand.text))
    return plan_measurement(Recipe(errand.recipe, errand.text, model, errand.data_folder), errand.measurement)


def _node_of(plan: Plan, errand: Errand) -> Node:
    """The step whose results have the address that the run asks for: same files, same choices, same code."""
    for node in plan.graph.nodes:
        if node.address == errand.address:
            return node
    raise CathoscopeError(
        "a worker of the cluster finds other raw files than the run, or is another version of this program",
        where=errand.data_folder,
        cure="give the data and the study as folders that all machines see, and restart the workers",
    )


def _wait_for_inputs(study: Study, plan: Plan, node: Node) -> None:
    """Return when this machine sees the results that the run has made for the step."""
    stored = [use for use in node.uses if use not in (RAW, REFERENCES) and use not in plan.given]
    deadline = time.monotonic() + _PATIENCE
    while unseen := [use for use in stored if study.address(plan.raw.name, use) != plan.graph.addresses[use]]:
        if time.monotonic() > deadline:
            raise StudyError(
                "a worker of the cluster does not see what the run has written",
                where=study.path,
                found=f"no {', '.join(unseen)}",
                cure="put the study into a folder that all machines see",
            )
        time.sleep(0.5)
