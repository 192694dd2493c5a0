"""The order of steps, and the address of what they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from cathoscope.core.errors import CathoscopeError
from cathoscope.core.parallel import Resources
from cathoscope.flow.graph import Context, Graph, Step, build_graph


def nothing(context: Context) -> None:
    """A step that does nothing."""


def something(context: Context) -> None:
    """A step with other code."""
    context.progress.remark("done")


def step(name: str, needs: str, makes: str, **words: Any) -> Step:
    return Step(name, words.pop("function", nothing), tuple(needs.split()), tuple(makes.split()), **words)


STEPS = (
    step("geometry", "raw", "axis shift", choices=("tomography",)),
    step("reconstruction", "raw axis shift", "volume", choices=("tomography",)),
    step("noise", "raw axis", "volume_std"),
    step("edge", "volume", "jump", choices=("edge",), optional=("volume_std",)),
    step("maps", "jump references", "map"),
)


def build(
    targets: Sequence[str] = ("jump",),
    given: Mapping[str, str] | None = None,
    choices: Mapping[str, Any] | None = None,
    **words: Any,
) -> Graph:
    return build_graph(
        words.pop("steps", STEPS), targets=targets, given=given or {"raw": "r"}, choices=choices or {}, **words
    )


def names(graph: Graph) -> list[str]:
    return [node.step.name for node in graph.nodes]


def test_steps_run_after_what_they_need_and_only_if_wanted() -> None:
    assert names(build(["jump"])) == ["geometry", "reconstruction", "noise", "edge"]
    assert names(build(["volume"])) == ["geometry", "reconstruction"]
    assert names(build([])) == []


@given(st.permutations(STEPS[:4]), st.permutations(["jump", "volume", "axis", "volume_std"]))
@settings(max_examples=30, deadline=None)
def test_neither_the_order_of_steps_nor_of_targets_changes_an_address(
    steps: Sequence[Step], targets: Sequence[str]
) -> None:
    assert build(targets, steps=steps).addresses == build().addresses


def test_what_is_given_is_not_made() -> None:
    graph = build(given={"raw": "r", "volume": "v", "volume_std": "s"})
    assert names(graph) == ["edge"]
    assert graph.addresses["volume"] == "v"


def test_a_value_fixed_in_the_recipe_leaves_the_rest_of_its_step() -> None:
    graph = build(given={"raw": "r", "axis": "fixed"})
    geometry = graph.nodes[0]
    assert (geometry.step.name, geometry.makes) == ("geometry", ("shift",))
    assert graph.addresses["axis"] == "fixed"


def test_an_optional_input_is_used_only_where_it_can_be_made() -> None:
    assert build().nodes[-1].uses == ("volume", "volume_std")
    assert build(given={"volume": "v"}).nodes[-1].uses == ("volume",)


def test_a_target_that_is_possible_is_made_and_another_is_left_out() -> None:
    assert "maps" not in names(build(if_possible=["map"]))
    assert names(build(given={"raw": "r", "references": "s"}, if_possible=["map"]))[-1] == "maps"


def test_an_input_that_nothing_makes_names_the_step_that_wants_it() -> None:
    with pytest.raises(CathoscopeError, match="step 'maps' needs references") as caught:
        build(["map"])
    assert "raw" in str(caught.value.found).split(", ")
    assert "start array" in str(caught.value.cure)


def test_a_target_that_nothing_makes() -> None:
    with pytest.raises(CathoscopeError, match="this technique needs colour") as caught:
        build_graph((), targets=["colour"], given={}, choices={})
    assert caught.value.found == "nothing given"


def changed(before: Graph, after: Graph) -> set[str]:
    return {name for name in before.addresses if before.addresses[name] != after.addresses[name]}


def test_a_choice_changes_what_depends_on_it_and_nothing_else() -> None:
    assert changed(build(), build(choices={"edge": 1})) == {"jump"}
    assert changed(build(), build(choices={"tomography": 1})) == {"axis", "shift", "volume", "volume_std", "jump"}
    assert changed(build(), build(choices={"mixture": 1})) == set()


def test_other_raw_files_change_everything() -> None:
    assert changed(build(), build(given={"raw": "other"})) == set(build().addresses)


def test_other_code_changes_what_depends_on_it() -> None:
    steps = (STEPS[0], STEPS[1], step("noise", "raw axis", "volume_std", function=something), STEPS[3])
    assert changed(build(), build(steps=steps)) == {"volume_std", "jump"}


def test_two_steps_with_one_function_have_two_addresses() -> None:
    addresses = list(build().addresses.values())
    assert len(set(addresses)) == len(addresses) - 1  # axis and shift are made together


def test_an_address_does_not_depend_on_the_order_of_keys() -> None:
    one, two = {"edge": {"a": 1, "b": 2}}, {"edge": {"b": 2, "a": 1}}
    assert build(choices=one).addresses == build(choices=two).addresses


def test_a_step_that_holds_whole_volumes_tells_what_it_takes_if_that_is_too_much() -> None:
    whole = step("maps", "volume", "map", per_voxel=50.0)
    data = xr.Dataset({"volume": (("temperature", "z", "y", "x"), np.zeros((2, 100, 200, 300), np.int8))})
    assert whole.shortage(data, Resources(memory=3e8)) is None
    text = str(whole.shortage(data, Resources(memory=2.9e8)))
    assert text.startswith("maps holds whole volumes, here of 100 x 200 x 300 voxels")
    assert "0.3 GB, more than the 0.3 GB" in text
    assert STEPS[0].shortage(data, Resources(memory=1e8)) is None
    assert whole.shortage(xr.Dataset(), Resources(memory=1e8)) is None
