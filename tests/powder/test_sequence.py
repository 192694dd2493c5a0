"""A series of small patterns: phases come and go, failures are set aside, threads and kills change nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from cathoscope.core.errors import MeasurementError
from cathoscope.powder import sequence
from cathoscope.powder.crystallite import CrystalliteChoices, crystallite_of
from cathoscope.powder.member import Member, member_of_text, text_of_member
from cathoscope.powder.model import Pattern
from cathoscope.powder.sequence import Means, SequenceChoices, follow
from cathoscope.powder.strategy import Plan
from tests.powder.crystals import NMC, SPINEL
from tests.powder.patterns import POWGEN, pattern_on, recorded

X = np.geomspace(22600 * 1.35, 22600 * 2.6, 170)
LAYERED = crystallite_of(NMC, CrystalliteChoices(size="isotropic"))
CUBIC = crystallite_of(SPINEL, CrystalliteChoices(size="isotropic"))
PLAN = Plan(stages=(("*.scale", "*.background.*"), ("cells",), ("NMC.size",)), start={"spinel.size": 0.05})
SHARE = (0.0, 0.0, 0.0, 0.03, 0.3, 0.9, 1.0)  # of spinel, by temperature
EITHER = SequenceChoices(optional=("spinel", "NMC"))


def pattern_at(number: int) -> Pattern:
    share = SHARE[number]
    truth = {
        "NMC.a": 2.840 + 0.002 * number,
        "NMC.c": 14.30 + 0.01 * number,
        "NMC.size": 0.08,
        "spinel.a": 8.12 + 0.004 * number,
        "spinel.size": 0.05,
        "powgen.NMC.scale": 4000.0 * (1 - share),
        "powgen.spinel.scale": 500.0 * share,
        "powgen.background.0": 120.0,
    }
    return recorded(pattern_on(POWGEN, X), [LAYERED, CUBIC], truth, seed=100 + number, counts=20.0)


PATTERNS = [pattern_at(number) for number in range(len(SHARE))]


def load(number: int) -> Sequence[Pattern]:
    if number == 2:
        raise MeasurementError("the file is empty", where="two.gsa")
    return [PATTERNS[number]]


@dataclass
class Memory:
    """Remembers in a dict."""

    notes: dict[str, str] = field(default_factory=dict)

    def note_of(self, slab: str) -> str | None:
        return self.notes.get(slab)

    def mark_done(self, slab: str, note: str = "") -> None:
        self.notes[slab] = note


def series(**means: object) -> list[Member]:
    return follow(load, len(SHARE), [LAYERED, CUBIC], PLAN, EITHER, Means(**means))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def members() -> list[Member]:
    return series()


def test_phases_are_switched_on_and_off(members: list[Member]) -> None:
    assert [one.present for one in members] == [
        ("NMC",),
        ("NMC",),
        (),
        ("NMC", "spinel"),
        ("NMC", "spinel"),
        ("NMC", "spinel"),
        ("spinel",),
    ]


def test_of_little_all_but_the_amount_is_held_near_the_neighbour(members: list[Member]) -> None:
    one = members[3]
    assert one.fit is not None
    assert one.weak == ("spinel",)
    assert one.remarks == ("of spinel there is little: all but its amount is held near its neighbour",)
    # its cell is that of the neighbour, not of the file, and no surer than neighbours are alike
    assert one.fit.numbers()["spinel.a"] == pytest.approx(8.136, abs=0.01)
    assert 0.002 < one.fit.std("spinel.a") < 0.02
    # and its amount is right within what that leaves open
    assert abs(one.fit.numbers()["powgen.spinel.scale"] - 15.0) < 3 * one.fit.std("powgen.spinel.scale")


def test_every_temperature_finds_its_cell(members: list[Member]) -> None:
    for number, member in enumerate(members):
        if member.fit is None:
            continue
        fit = member.fit
        assert fit.outcome == "converged"
        assert fit.gof == pytest.approx(1.0, abs=0.2)
        for name, start, slope in (("NMC.a", 2.840, 0.002), ("spinel.a", 8.12, 0.004)):
            if name in fit.search.free:
                assert abs(fit.numbers()[name] - start - slope * number) < 4 * fit.std(name)


def test_a_temperature_that_fails_is_set_aside_with_its_reason(members: list[Member]) -> None:
    assert members[2].fit is None
    assert members[2].remarks == ("two.gsa: the file is empty",)


def same(one: Member, other: Member) -> bool:
    return text_of_member(one) == text_of_member(other)


def test_threads_blocks_and_kills_do_not_change_a_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequence, "_BLOCK", 2)
    plan = replace(PLAN, stages=PLAN.stages[:2])

    def part(**means: object) -> list[Member]:
        return follow(load, 5, [LAYERED, CUBIC], plan, EITHER, Means(**means))  # type: ignore[arg-type]

    memory = Memory()
    alone = part(memory=memory)
    assert {key for key in memory.notes if key.startswith("way+1")} == {f"way+1-{number}" for number in range(5)}
    assert any(key.startswith("way-1") for key in memory.notes)
    kept = dict(list(memory.notes.items())[::2])
    after_a_kill = part(threads=3, memory=Memory(kept))
    assert all(map(same, alone, after_a_kill))


def test_a_member_as_text_is_the_member(members: list[Member]) -> None:
    for member in members:
        again = member_of_text(text_of_member(member))
        assert (again.present, again.rwp, again.bic, again.remarks) == (
            member.present,
            member.rwp,
            member.bic,
            member.remarks,
        )
        assert (again.fit is None) == (member.fit is None)
        if member.fit is not None and again.fit is not None:
            assert again.fit.numbers() == member.fit.numbers()
            assert again.fit.std("powgen.background.0") == member.fit.std("powgen.background.0")
    assert json.loads(text_of_member(members[2])) == {
        "present": [],
        "rwp": [],
        "bic": float("inf"),
        "remarks": ["two.gsa: the file is empty"],
        "weak": [],
    }


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_one_way_is_enough_for_an_easy_series(direction: str) -> None:
    choices = replace(EITHER, direction=direction)
    found = follow(lambda number: [PATTERNS[4 + number]], 2, [LAYERED, CUBIC], PLAN, choices)
    assert all(one.fit is not None and one.fit.outcome == "converged" for one in found)


def test_single_phase_patterns_get_no_second_phase() -> None:
    """16 patterns without spinel: the criterion is passed by chance in less than 1 of 200."""
    truth = {"NMC.size": 0.2, "powgen.NMC.scale": 4000.0, "powgen.background.0": 120.0}
    plan = replace(PLAN, stages=PLAN.stages[:2])
    patterns = [recorded(pattern_on(POWGEN, X), [LAYERED], truth, seed=seed) for seed in range(16)]
    choices = SequenceChoices(("spinel",), "forward")
    found = follow(lambda number: [patterns[number]], len(patterns), [LAYERED, CUBIC], plan, choices)
    assert sum("spinel" in one.present for one in found) == 0


def test_an_unknown_name_is_a_mistake_of_every_pattern() -> None:
    plan = replace(PLAN, stages=(("NMC.q",),))
    (member,) = follow(lambda number: [PATTERNS[0]], 1, [LAYERED], plan, SequenceChoices(direction="forward"))
    assert "no number of the refinement is called NMC.q" in member.remarks[0]


def test_names_of_absent_phases_are_no_mistake() -> None:
    plan = replace(PLAN, stages=(*PLAN.stages, ("spinel.O1.x",)), ties={"spinel.O1.u": (0.0, {"spinel.Li1.u": 1.0})})
    choices = SequenceChoices(("spinel",), "forward")
    (member,) = follow(lambda number: [PATTERNS[0]], 1, [LAYERED, CUBIC], plan, choices)
    assert member.present == ("NMC",)
    assert member.fit is not None
