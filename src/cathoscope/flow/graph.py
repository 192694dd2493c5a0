"""Steps, and the order in which a measurement needs them.

A step says which named arrays it needs and makes. The graph is built backwards from what is wanted,
so an input that nothing makes is a mistake found at once, not after an hour.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from cathoscope.core.errors import CathoscopeError
from cathoscope.core.parallel import Progress, Resources
from cathoscope.core.study import Work
from cathoscope.flow.code_hash import digest_of_code

if TYPE_CHECKING:
    from cathoscope.flow.raw import RawMeasurement
    from cathoscope.flow.sections import MeasurementSection

# Inputs that are files rather than named arrays.
RAW = "raw files"
REFERENCES = "reference spectra"


@dataclass(frozen=True)
class Context:
    """What a step is given: its inputs, the recipe's choices, what of its arrays is wanted, and the means to work.

    ``beside`` are arrays of another measurement, for steps that need them.
    """

    name: str
    raw: RawMeasurement
    data: xr.Dataset
    section: MeasurementSection
    data_folder: Path
    makes: tuple[str, ...]
    work: Work
    resources: Resources
    progress: Progress
    beside: xr.Dataset = field(default_factory=xr.Dataset)


@dataclass(frozen=True)
class Step:
    """A function from named arrays to named arrays.

    ``function`` returns its arrays as one Dataset, or, where they are larger than memory, fills
    ``context.work`` slab by slab and returns None. ``choices`` names the recipe's keys it depends on. A step that
    holds whole volumes states the memory it then takes, measured, in bytes ``per_voxel`` of one temperature.
    """

    name: str
    function: Callable[[Context], xr.Dataset | None]
    needs: tuple[str, ...]
    makes: tuple[str, ...]
    choices: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    per_voxel: float = 0.0

    def shortage(self, data: xr.Dataset, resources: Resources) -> str | None:
        """What to tell if whole volumes of the size of those in ``data`` take more memory than is allowed."""
        sizes = [data.sizes.get(dim, 0) for dim in ("z", "y", "x")]
        needed = self.per_voxel * math.prod(sizes)
        if needed <= resources.memory:
            return None
        return (
            f"{self.name} holds whole volumes, here of {' x '.join(map(str, sizes))} voxels: it takes "
            f"{needed / 1e9:.1f} GB, more than the {resources.memory / 1e9:.1f} GB allowed"
        )


@dataclass(frozen=True)
class Node:
    """A step in its place: the arrays it uses and the address its results get."""

    step: Step
    uses: tuple[str, ...]
    makes: tuple[str, ...]
    address: str


@dataclass
class Graph:
    """The nodes of one measurement in the order they run, and the address of every array."""

    nodes: list[Node] = field(default_factory=list)
    addresses: dict[str, str] = field(default_factory=dict)


def build_graph(
    steps: Iterable[Step],
    *,
    targets: Iterable[str],
    given: Mapping[str, str],
    choices: Mapping[str, Any],
    if_possible: Iterable[str] = (),
) -> Graph:
    """Order the steps that make ``targets`` from what is ``given``.

    Parameters
    ----------
    given
        Address of every array that is there already: the raw files, start arrays, fixed values.
        A given array is never made again.
    choices
        The recipe's choices by key; a step's address holds only those it names.
    if_possible
        Further targets, made only if their inputs are there.

    Raises
    ------
    CathoscopeError
        If an array is needed that is neither given nor made by any step.
    """
    makers = {name: step for step in steps for name in step.makes}
    graph = Graph(addresses=dict(given))
    for target in targets:
        _provide(target, makers, graph, choices, wanted_by=None)
    for target in if_possible:
        if _can_provide(target, makers, graph):
            _provide(target, makers, graph, choices, wanted_by=None)
    return graph


def _provide(
    name: str, makers: Mapping[str, Step], graph: Graph, choices: Mapping[str, Any], *, wanted_by: str | None
) -> None:
    if name in graph.addresses:
        return
    step = makers.get(name)
    if step is None:
        who = f"step {wanted_by!r}" if wanted_by else "this technique"
        raise CathoscopeError(
            f"{who} needs {name}, which is neither given nor made by any step",
            found=", ".join(sorted(graph.addresses)) or "nothing given",
            cure="give files, or a start array from which it can be made",
        )
    for need in step.needs:
        _provide(need, makers, graph, choices, wanted_by=step.name)
    optional = [extra for extra in step.optional if _can_provide(extra, makers, graph)]
    for extra in optional:
        _provide(extra, makers, graph, choices, wanted_by=step.name)
    uses = (*step.needs, *optional)
    makes = tuple(made for made in step.makes if made not in graph.addresses)
    address = _address(step, makes, {use: graph.addresses[use] for use in uses}, choices)
    graph.nodes.append(Node(step, uses, makes, address))
    graph.addresses.update(dict.fromkeys(makes, address))


def _can_provide(name: str, makers: Mapping[str, Step], graph: Graph) -> bool:
    if name in graph.addresses:
        return True
    return name in makers and all(_can_provide(need, makers, graph) for need in makers[name].needs)


def _address(step: Step, makes: tuple[str, ...], inputs: Mapping[str, str], choices: Mapping[str, Any]) -> str:
    """Hash of the step's own code, what it makes, its inputs and its choices; nothing else can change its result."""
    content = {
        "step": step.name,
        "code": digest_of_code(step.function),
        "makes": makes,
        "inputs": dict(inputs),
        "choices": {key: choices.get(key) for key in step.choices},
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:20]
