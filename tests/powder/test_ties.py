"""Ties as text, of atoms that share a place, and of an exchange."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cathoscope.core.crystal import Phase, Site
from cathoscope.core.errors import MeasurementError
from cathoscope.powder.structure import cell_mass
from cathoscope.powder.ties import resolved_ties, shared_ties, tie_of_text, with_exchange
from tests.powder.crystals import ANGLESITE, NMC


@pytest.mark.parametrize(
    ("text", "constant", "factors"),
    [
        ("NMC.Ni2.occupancy", 0.0, {"NMC.Ni2.occupancy": 1.0}),
        ("0.8 - NMC.Ni2.occupancy", 0.8, {"NMC.Ni2.occupancy": -1.0}),
        ("-NMC.Ni2.u + 1", 1.0, {"NMC.Ni2.u": -1.0}),
        ("- 0.5 * a.b + 2*c.d - a.b*1.5", 0.0, {"a.b": -2.0, "c.d": 2.0}),
        ("11-ID-C.zero", 0.0, {"11-ID-C.zero": 1.0}),
        ("-1e-3 * 2 * NMC.C4,1 + 3 - 1", 2.0, {"NMC.C4,1": -0.002}),
        ("0.04", 0.04, {}),
    ],
)
def test_sums_are_read(text: str, constant: float, factors: dict[str, float]) -> None:
    found = tie_of_text(text)
    assert found[0] == pytest.approx(constant)
    assert found[1] == pytest.approx(factors)


@pytest.mark.parametrize(
    "text", ["", "a.b *", "* a.b", "a.b c.d", "a.b * c.d", "a.b + - c.d", "a.b -", "+", "2 ** a.b", "1 - - 2"]
)
def test_what_is_no_sum_is_refused(text: str) -> None:
    with pytest.raises(MeasurementError, match="is no sum of numbers"):
        tie_of_text(text)


@given(st.floats(-9, 9), st.dictionaries(st.sampled_from(["NMC.a", "b-1.x", "S.O1.u"]), st.floats(-9, 9), max_size=3))
def test_what_is_written_is_what_is_read(constant: float, factors: dict[str, float]) -> None:
    text = f"{constant!r}" + "".join(f" + {factor!r} * {name}" for name, factor in factors.items()).replace("+ -", "- ")
    text = text.replace("e-", "E-").replace("e+", "e")
    found = tie_of_text(text)
    assert found[0] == pytest.approx(constant)
    assert found[1] == pytest.approx(factors)


def test_atoms_on_one_place_move_together() -> None:
    ties = shared_ties(NMC)
    assert ties["NMC.Ni2.u"] == (0.0, {"NMC.Li1.u": 1.0})
    assert {name for name, (_, factors) in ties.items() if "NMC.Ni1.u" in factors} == {
        "NMC.Mn1.u",
        "NMC.Co1.u",
        "NMC.Li2.u",
    }
    assert not any(name.startswith("NMC.O1") for name in ties)
    assert shared_ties(ANGLESITE) == {}


def test_an_exchange_moves_atoms_and_makes_none() -> None:
    phase, ties, free = with_exchange(NMC, "Li1", "Ni1")
    assert phase == NMC
    assert free == "NMC.Ni2.occupancy"
    filled = {site.label: site.occupancy for site in exchanged(phase, ties, free, 0.10).sites}
    assert filled == pytest.approx(
        {"Li1": 0.40, "Ni2": 0.10, "Ni1": 0.70, "Mn1": 0.1, "Co1": 0.1, "Li2": 0.10, "O1": 1.0}
    )


def exchanged(phase: Phase, ties: dict, free: str, x: float) -> Phase:
    sites = []
    for site in phase.sites:
        name = f"{phase.name}.{site.label}.occupancy"
        constant, factors = ties.get(name, (x if name == free else site.occupancy, {}))
        sites.append(replace(site, occupancy=constant + sum(factor * x for factor in factors.values())))
    return replace(phase, sites=tuple(sites))


def test_sites_that_a_file_leaves_out_are_made() -> None:
    """In spinel the octahedral site is twice as many: an atom that comes from there leaves half as much of it."""
    ordered = Phase(
        "spinel",
        "F d -3 m:2",
        (8.12, 8.12, 8.12, 90, 90, 90),
        (
            Site("Li1", "Li+", (0.125, 0.125, 0.125), 1.0, 0.012),
            Site("Ni1", "Ni", (0.5, 0.5, 0.5), 1.0, 0.005),
            Site("O1", "O", (0.263, 0.263, 0.263), 1.0, 0.008),
        ),
    )
    phase, ties, free = with_exchange(ordered, "Li1", "Ni1")
    assert free == "spinel.Ni1_Li1.occupancy"
    assert [site.label for site in phase.sites] == ["Li1", "Ni1", "O1", "Ni1_Li1", "Li1_Ni1"]
    assert phase.sites[3].u_iso == 0.012
    moved = exchanged(phase, ties, free, 0.2)
    assert {site.label: site.occupancy for site in moved.sites} == pytest.approx(
        {"Li1": 0.8, "Ni1": 0.9, "O1": 1.0, "Ni1_Li1": 0.2, "Li1_Ni1": 0.1}
    )
    assert cell_mass(moved) == pytest.approx(cell_mass(ordered))


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        (("Li1", "Ni9"), "NMC has no site Ni9"),
        (("Li1", "Li2"), "cannot change places"),
        (("Ni1", "Mn1"), "cannot change places"),
    ],
)
def test_what_cannot_be_exchanged_is_named(pair: tuple[str, str], said: str) -> None:
    with pytest.raises(MeasurementError, match=said):
        with_exchange(NMC, *pair)


def test_ties_of_ties_are_ties_of_what_is_free() -> None:
    found = resolved_ties({"c": (1.0, {"b": 2.0, "x": 1.0}), "b": (0.5, {"a": -1.0, "x": 3.0}), "d": (0.0, {"a": 1.0})})
    assert found["c"] == (2.0, {"a": -2.0, "x": 7.0})
    assert found["b"] == (0.5, {"a": -1.0, "x": 3.0})
    assert found["d"] == (0.0, {"a": 1.0})


def test_a_circle_of_ties_is_refused() -> None:
    with pytest.raises(MeasurementError, match="follows from itself"):
        resolved_ties({"a": (0.0, {"b": 1.0}), "b": (0.0, {"c": 1.0}), "c": (0.0, {"a": 1.0})})
